// SPDX-License-Identifier: GPL-2.0
/*
 * User mappings of p2pmem/allocate: what can be mapped, its content, who shares
 * it, and that every page is freed exactly when its last user is gone:
 * `available` is compared exactly after every step.
 * No I/O; see io.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

static const char *bdf;
static size_t page;

static long long available(void)
{
	return p2pmem_number(bdf, "available");
}

FIXTURE(pool)
{
	int fd;
	long long all;		/* available when the test began */
};

FIXTURE_SETUP(pool)
{
	page = sysconf(_SC_PAGESIZE);
	bdf = provider();
	if (!bdf)
		SKIP(return, "no device with published peer memory");
	self->fd = p2pmem_open(bdf, O_RDWR);
	if (self->fd == -EACCES)
		SKIP(return, "may not open p2pmem/allocate of %s", bdf);
	ASSERT_LE(0, self->fd);
	self->all = available();
	ASSERT_LE((long long)(64 * page), self->all);
}

FIXTURE_TEARDOWN(pool)
{
	EXPECT_EQ(self->all, available());
	close(self->fd);
}

static void *map(int fd, size_t length)
{
	return mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

#define EXPECT_TAKEN(bytes) \
	EXPECT_EQ(self->all - (long long)(bytes), available())

/* Waits for a child; its exit status, or minus the signal that ended it. */
static int end_of(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child)
		return -1000;
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

TEST_F(pool, map_and_unmap)
{
	static const size_t pages[] = { 1, 2, 3, 7, 16, 17, 64 };
	size_t i, length;
	void *p;

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		length = pages[i] * page;
		p = map(self->fd, length);
		ASSERT_NE(MAP_FAILED, p) TH_LOG("%zu pages: %m", pages[i]);
		EXPECT_TAKEN(length);
		fill(p, length, i);
		EXPECT_EQ(-1, first_wrong(p, length, i));
		ASSERT_EQ(0, munmap(p, length));
		EXPECT_TAKEN(0);
	}
}

/* A length that is no multiple of the page size is rounded up by mmap(). */
TEST_F(pool, odd_length)
{
	void *p = map(self->fd, page + 1);

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_TAKEN(2 * page);
	munmap(p, page + 1);
}

/* Each mapping is memory of its own, also through the same open file. */
TEST_F(pool, mappings_are_distinct)
{
	void *a = map(self->fd, 4 * page);
	void *b = map(self->fd, 4 * page);

	ASSERT_NE(MAP_FAILED, a);
	ASSERT_NE(MAP_FAILED, b);
	EXPECT_TAKEN(8 * page);
	fill(a, 4 * page, 1);
	fill(b, 4 * page, 2);
	EXPECT_EQ(-1, first_wrong(a, 4 * page, 1));
	EXPECT_EQ(-1, first_wrong(b, 4 * page, 2));
	munmap(a, 4 * page);
	EXPECT_TAKEN(4 * page);
	EXPECT_EQ(-1, first_wrong(b, 4 * page, 2));
	munmap(b, 4 * page);
}

TEST_F(pool, outlives_its_file)
{
	int fd = p2pmem_open(bdf, O_RDWR);
	void *p;

	ASSERT_LE(0, fd);
	p = map(fd, page);
	ASSERT_NE(MAP_FAILED, p);
	close(fd);
	EXPECT_TAKEN(page);
	fill(p, page, 3);
	EXPECT_EQ(-1, first_wrong(p, page, 3));
	munmap(p, page);
}

struct refused {
	const char *name;
	int prot, flags;
	off_t offset;
	int error;
};

TEST_F(pool, refused)
{
	const int rw = PROT_READ | PROT_WRITE;
	const struct refused cases[] = {
		{ "private",		 rw, MAP_PRIVATE, 0, EINVAL },
		{ "private, read-only",	 PROT_READ, MAP_PRIVATE, 0, EINVAL },
		{ "offset of a page",	 rw, MAP_SHARED, page, EINVAL },
		{ "offset of 1 GiB",	 rw, MAP_SHARED, 1 << 30, EINVAL },
		{ "private with offset", rw, MAP_PRIVATE, page, EINVAL },
	};
	size_t i;
	void *p;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		errno = 0;
		p = mmap(NULL, 2 * page, cases[i].prot, cases[i].flags, self->fd,
			 cases[i].offset);
		EXPECT_EQ(MAP_FAILED, p) {
			TH_LOG("%s: not refused", cases[i].name);
			munmap(p, 2 * page);
		}
		EXPECT_EQ(cases[i].error, errno)
			TH_LOG("%s: %m", cases[i].name);
		EXPECT_TAKEN(0);
	}
}

TEST_F(pool, read_only)
{
	void *p;
	int fd;

	fd = p2pmem_open(bdf, O_RDONLY);
	ASSERT_LE(0, fd);
	errno = 0;
	EXPECT_EQ(MAP_FAILED, map(fd, page));
	EXPECT_EQ(EACCES, errno);

	p = mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p) TH_LOG("mmap: %m");
	EXPECT_TAKEN(2 * page);
	EXPECT_TRUE(can_touch(p));
	errno = 0;
	EXPECT_EQ(-1, mprotect(p, 2 * page, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	munmap(p, 2 * page);
	close(fd);
}

TEST_F(pool, protection_changes)
{
	void *p = map(self->fd, 2 * page);

	ASSERT_NE(MAP_FAILED, p);
	fill(p, 2 * page, 4);
	EXPECT_EQ(0, mprotect(p, page, PROT_NONE));
	EXPECT_TAKEN(2 * page);
	EXPECT_EQ(0, mprotect(p, page, PROT_READ | PROT_WRITE));
	EXPECT_EQ(-1, first_wrong(p, 2 * page, 4));
	munmap(p, 2 * page);
}

/* Also for a page that was never written, and so isn't dirty. */
TEST_F(pool, written_after_protection)
{
	void *p = map(self->fd, 4 * page);

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(0, write_after_protection(p, 2 * page));
	fill(p, 4 * page, 15);
	EXPECT_EQ(0, write_after_protection(p, 4 * page));
	EXPECT_EQ(-1, first_wrong(p, 4 * page, 91));
	munmap(p, 4 * page);
}

TEST_F(pool, partial_unmap)
{
	char *p = map(self->fd, 16 * page);

	ASSERT_NE(MAP_FAILED, (void *)p);
	fill(p, 16 * page, 5);
	EXPECT_EQ(0, munmap(p + 4 * page, page));
	EXPECT_TAKEN(15 * page);
	EXPECT_EQ(0, munmap(p, 2 * page));
	EXPECT_TAKEN(13 * page);
	EXPECT_EQ(0, munmap(p + 15 * page, page));
	EXPECT_TAKEN(12 * page);
	munmap(p, 16 * page);
	EXPECT_TAKEN(0);
}

/* MADV_DONTNEED frees the pages, and a fault doesn't bring new ones. */
TEST_F(pool, dontneed)
{
	char *p = map(self->fd, 4 * page);

	ASSERT_NE(MAP_FAILED, (void *)p);
	fill(p, 4 * page, 6);
	ASSERT_EQ(0, madvise(p + page, page, MADV_DONTNEED));
	EXPECT_TAKEN(3 * page);
	EXPECT_TRUE(can_touch(p));
	EXPECT_FALSE(can_touch(p + page));
	EXPECT_TRUE(can_touch(p + 2 * page));
	EXPECT_TAKEN(3 * page);
	munmap(p, 4 * page);
}

TEST_F(pool, mremap)
{
	char *p = map(self->fd, 8 * page), *q;

	ASSERT_NE(MAP_FAILED, (void *)p);
	fill(p, 8 * page, 7);

	/* No growing: there is no memory behind the added part. */
	errno = 0;
	q = mremap(p, 8 * page, 16 * page, MREMAP_MAYMOVE);
	EXPECT_EQ(MAP_FAILED, (void *)q) {
		TH_LOG("mremap() made the mapping larger");
		p = q;
	}
	EXPECT_EQ(EFAULT, errno);
	EXPECT_TAKEN(8 * page);

	/* It may move with all its data, and shrink. */
	q = mremap(p, 8 * page, 8 * page, MREMAP_MAYMOVE | MREMAP_FIXED,
		   p + 1024 * page);
	EXPECT_EQ(p + 1024 * page, q) TH_LOG("%m");
	if ((void *)q != MAP_FAILED)
		p = q;
	EXPECT_EQ(-1, first_wrong(p, 8 * page, 7));
	EXPECT_TAKEN(8 * page);

	EXPECT_EQ(p, mremap(p, 8 * page, 3 * page, 0));
	EXPECT_TAKEN(3 * page);
	munmap(p, 16 * page);
}

TEST_F(pool, fork_shares)
{
	void *p = map(self->fd, 4 * page);
	pid_t child;

	ASSERT_NE(MAP_FAILED, p);
	fill(p, 4 * page, 8);
	child = fork();
	if (!child) {
		if (first_wrong(p, 4 * page, 8) != -1)
			_exit(1);
		if (available() != self->all - (long long)(4 * page))
			_exit(2);
		fill(p, 4 * page, 9);
		_exit(0);
	}
	EXPECT_EQ(0, end_of(child));
	EXPECT_EQ(-1, first_wrong(p, 4 * page, 9));
	EXPECT_TAKEN(4 * page);
	munmap(p, 4 * page);
}

/* A child that unmaps at the first byte it gets, and exits at the second. */
static pid_t holder(void *p, size_t length, int *tell, int *hear)
{
	int to[2], from[2];
	pid_t child;
	char byte;

	if (pipe(to) || pipe(from))
		return -1;
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (read(to[0], &byte, 1) == 1 && !munmap(p, length) &&
		    write(from[1], &byte, 1) == 1 && read(to[0], &byte, 1) == 1)
			_exit(0);
		_exit(1);
	}
	close(to[0]);
	close(from[1]);
	*tell = to[1];
	*hear = from[0];
	return child;
}

TEST_F(pool, fork_parent_unmaps_first)
{
	void *p = map(self->fd, 4 * page);
	int tell, hear;
	pid_t child;
	char byte = 0;

	ASSERT_NE(MAP_FAILED, p);
	child = holder(p, 4 * page, &tell, &hear);
	ASSERT_LT(0, child);
	munmap(p, 4 * page);
	EXPECT_TAKEN(4 * page);
	EXPECT_EQ(1, write(tell, &byte, 1));
	EXPECT_EQ(1, read(hear, &byte, 1));
	EXPECT_TAKEN(0);
	EXPECT_EQ(1, write(tell, &byte, 1));
	EXPECT_EQ(0, end_of(child));
}

TEST_F(pool, fork_child_unmaps_first)
{
	void *p = map(self->fd, 4 * page);
	int tell, hear;
	pid_t child;
	char byte = 0;

	ASSERT_NE(MAP_FAILED, p);
	fill(p, 4 * page, 10);
	child = holder(p, 4 * page, &tell, &hear);
	ASSERT_LT(0, child);
	EXPECT_EQ(1, write(tell, &byte, 1));
	EXPECT_EQ(1, read(hear, &byte, 1));
	EXPECT_TAKEN(4 * page);
	EXPECT_EQ(-1, first_wrong(p, 4 * page, 10));
	EXPECT_EQ(1, write(tell, &byte, 1));
	EXPECT_EQ(0, end_of(child));
	munmap(p, 4 * page);
	EXPECT_TAKEN(0);
}

TEST_F(pool, dontfork)
{
	char *p = map(self->fd, 2 * page);
	pid_t child;

	ASSERT_NE(MAP_FAILED, (void *)p);
	ASSERT_EQ(0, madvise(p, 2 * page, MADV_DONTFORK));
	child = fork();
	if (!child)
		_exit(first_wrong(p, page, 0) == -1);
	EXPECT_EQ(-SIGSEGV, end_of(child));
	EXPECT_TAKEN(2 * page);
	munmap(p, 2 * page);
}

TEST_F(pool, exit_without_unmap)
{
	pid_t child = fork();

	if (!child) {
		_exit(map(self->fd, 32 * page) == MAP_FAILED ||
		      available() != self->all - (long long)(32 * page));
	}
	EXPECT_EQ(0, end_of(child));
	EXPECT_TAKEN(0);
}

TEST_F(pool, killed)
{
	int ready[2];
	pid_t child;
	char byte = 0;

	ASSERT_EQ(0, pipe(ready));
	child = fork();
	if (!child) {
		if (map(self->fd, 32 * page) == MAP_FAILED ||
		    write(ready[1], &byte, 1) != 1)
			_exit(1);
		pause();
	}
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_TAKEN(32 * page);
	kill(child, SIGKILL);
	EXPECT_EQ(-SIGKILL, end_of(child));
	EXPECT_TAKEN(0);
}

/* Killed during mmap(): no more pages are taken. */
TEST_F(pool, killed_in_mmap)
{
	int round, stopped = 0;
	long long least;
	bool *mapped;
	pid_t child;

	mapped = mmap(NULL, page, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mapped);

	/* With fast memory mmap() may return before the child is killed. */
	for (round = 0; round < 10 && !stopped; round++) {
		*mapped = false;
		child = fork();
		if (!child) {
			map(self->fd, self->all);
			*mapped = true;
			pause();
		}
		while (available() == self->all && !*mapped)
			sched_yield();
		kill(child, SIGKILL);
		for (least = self->all; !waitpid(child, NULL, WNOHANG);) {
			if (least > available())
				least = available();
		}
		EXPECT_TAKEN(0);
		stopped += !*mapped && least;
	}
	EXPECT_EQ(1, stopped);
	munmap(mapped, page);
}

/* A place for a mapping that crosses the border of two page tables */
struct place {
	int fd;
	char *reserved, *start;
	size_t length;
};

static int call_map(void *data)
{
	struct place *place = data;
	void *p = mmap(place->start, place->length, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED, place->fd, 0);

	return p == MAP_FAILED ? -errno : 0;
}

/* Each allocation failing in turn: a failed mmap() leaves nothing mapped. */
TEST_F(pool, no_memory)
{
	const size_t table = 2 * MiB, span = 3 * table;
	struct place place = { .fd = self->fd, .length = 32 * page };
	bool failed = true;
	int nth, ret;

	if (!inject_faults(true))
		SKIP(return, "no fault injection in this kernel");

	for (nth = 1; failed; nth++) {
		ASSERT_GT(1000, nth);
		/* Reserved, so that the range has no page tables yet */
		place.reserved = mmap(NULL, span, PROT_NONE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, (void *)place.reserved);
		place.start = (char *)(((uintptr_t)place.reserved / table + 2) *
				       table) - place.length / 2;

		ret = call_failing(nth, call_map, &place, &failed);
		if (ret) {
			EXPECT_TRUE(failed);
			EXPECT_EQ(-ENOMEM, ret) TH_LOG("allocation %d", nth);
			EXPECT_TAKEN(0);
		} else {
			EXPECT_TAKEN(place.length);
			EXPECT_EQ(-1, first_nonzero(place.start, place.length));
		}
		munmap(place.reserved, span);
		EXPECT_TAKEN(0);
	}
	TH_LOG("%d allocations failed in turn", nth - 2);
	/* A struct vm_area_struct, and two page tables */
	EXPECT_LT(2, nth - 2);
}

/* Too large a mapping takes nothing; all of it fits; then not one page. */
TEST_F(pool, exhaustion)
{
	void *p, *q;

	errno = 0;
	EXPECT_EQ(MAP_FAILED, map(self->fd, self->all + page));
	EXPECT_EQ(ENOMEM, errno);
	EXPECT_TAKEN(0);

	p = map(self->fd, self->all - page);
	ASSERT_NE(MAP_FAILED, p) TH_LOG("all but a page: %m");
	EXPECT_EQ((long long)page, available());
	errno = 0;
	EXPECT_EQ(MAP_FAILED, map(self->fd, 2 * page));
	EXPECT_EQ(ENOMEM, errno);
	EXPECT_EQ((long long)page, available());

	q = map(self->fd, page);
	ASSERT_NE(MAP_FAILED, q) TH_LOG("the last page: %m");
	EXPECT_EQ(0, available());
	errno = 0;
	EXPECT_EQ(MAP_FAILED, map(self->fd, page));
	EXPECT_EQ(ENOMEM, errno);

	munmap(q, page);
	EXPECT_EQ((long long)page, available());
	q = map(self->fd, page);
	EXPECT_NE(MAP_FAILED, q);
	munmap(q, page);
	munmap(p, self->all - page);
	EXPECT_TAKEN(0);

	p = map(self->fd, self->all);
	ASSERT_NE(MAP_FAILED, p) TH_LOG("all: %m");
	EXPECT_EQ(0, available());
	munmap(p, self->all);
}

/* Only the first and the last word of each page, to save time. */
static void mark(char *p, size_t length)
{
	size_t at;

	for (at = 0; at < length; at += page) {
		fill(p + at, 8, at + 1);
		fill(p + at + page - 8, 8, at + 2);
	}
}

static bool is_marked(char *p, size_t length)
{
	size_t at;

	for (at = 0; at < length; at += page)
		if (first_wrong(p + at, 8, at + 1) != -1 ||
		    first_wrong(p + at + page - 8, 8, at + 2) != -1)
			return false;
	return true;
}

/* D16: a process doesn't see the data of the previous user. */
TEST_F(pool, zeroed_for_the_next_process)
{
	ssize_t left;
	pid_t child;
	void *p;

	child = fork();
	if (!child) {
		p = map(self->fd, self->all);
		if (p == MAP_FAILED)
			_exit(1);
		fill(p, self->all, 11);
		mark(p, self->all);
		_exit(!is_marked(p, self->all));
	}
	ASSERT_EQ(0, end_of(child));
	EXPECT_TAKEN(0);

	p = map(self->fd, self->all);
	ASSERT_NE(MAP_FAILED, p);
	left = first_nonzero(p, self->all);
	EXPECT_EQ(-1, left) TH_LOG("data of another process at %zd", left);
	munmap(p, self->all);
}

/* D16, for pages that are freed one at a time */
TEST_F(pool, zeroed_page_by_page)
{
	ssize_t left = -1;
	char *p;
	int i;

	p = map(self->fd, 16 * page);
	ASSERT_NE(MAP_FAILED, (void *)p);
	fill(p, 16 * page, 12);
	for (i = 0; i < 16; i += 2)
		munmap(p + i * page, page);
	for (i = 0; i < 16; i += 2) {
		void *q = map(self->fd, page);

		ASSERT_NE(MAP_FAILED, q);
		if (left == -1)
			left = first_nonzero(q, page);
		fill(q, page, 13);
		munmap(q, page);
	}
	EXPECT_EQ(-1, left);
	munmap(p, 16 * page);
}

/* D17: a mapping can use scattered free pages. */
TEST_F(pool, checkerboard)
{
	size_t count = self->all / page, half = count / 2, i;
	char **one = calloc(count, sizeof(*one));
	char *p;

	ASSERT_NE(NULL, one);
	for (i = 0; i < count; i++) {
		one[i] = map(self->fd, page);
		ASSERT_NE(MAP_FAILED, (void *)one[i])
			TH_LOG("page %zu of %zu: %m", i, count);
		fill(one[i], 8, i);
	}
	EXPECT_EQ(0, available());

	for (i = 0; i < count; i += 2)
		munmap(one[i], page);
	EXPECT_EQ((long long)((count + 1) / 2 * page), available());

	p = map(self->fd, half * page);
	EXPECT_NE(MAP_FAILED, (void *)p)
		TH_LOG("%zu of %lld free bytes in one mapping: %m",
		       half * page, available());
	if ((void *)p != MAP_FAILED) {
		EXPECT_EQ((long long)(count % 2 * page), available());
		mark(p, half * page);
		EXPECT_TRUE(is_marked(p, half * page));
		munmap(p, half * page);
	}

	/* No page of another mapping was given out. */
	for (i = 1; i < count; i += 2) {
		if (first_wrong(one[i], 8, i) != -1)
			break;
		munmap(one[i], page);
	}
	EXPECT_LE(count, i) TH_LOG("page %zu was overwritten", i);
	free(one);
}

/* Four processes at once: each sees only its own data. */
TEST_F(pool, many_processes)
{
	const int children = 4, rounds = times(50);
	pid_t child[children];
	int i, round;

	for (i = 0; i < children; i++) {
		child[i] = fork();
		if (child[i])
			continue;
		for (round = 0; round < rounds; round++) {
			size_t length = (1 + (round * 7 + i) % 12) * page;
			__u64 seed = i * 1000 + round;
			void *p = map(self->fd, length);

			if (p == MAP_FAILED)
				_exit(1);
			if (first_nonzero(p, length) != -1)
				_exit(2);
			fill(p, length, seed);
			sched_yield();
			if (first_wrong(p, length, seed) != -1)
				_exit(3);
			munmap(p, length);
		}
		_exit(0);
	}
	for (i = 0; i < children; i++)
		EXPECT_EQ(0, end_of(child[i]));
	EXPECT_TAKEN(0);
}

/* D22: memory that its driver has not published is the driver's. */
TEST(unpublished)
{
	char dev[BDF_LEN];
	const char *why;
	struct bar big;
	int bar, fd;
	void *p, *q;

	page = sysconf(_SC_PAGESIZE);
	why = test_device(dev, &bar, &big);
	if (why)
		SKIP(return, "%s", why);
	bdf = dev;

	EXPECT_EQ(0, test_add(dev, bar, 4 * MiB, 0));
	EXPECT_EQ(0, p2pmem_number(dev, "published"));
	errno = 0;
	p = p2pmem_map(dev, page);
	EXPECT_EQ(MAP_FAILED, p) {
		TH_LOG("unpublished memory can be mapped");
		munmap(p, page);
	}
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ((long long)(4 * MiB), available());

	EXPECT_EQ(0, test_call(dev, "publish", "1"));
	EXPECT_EQ(1, p2pmem_number(dev, "published"));
	fd = p2pmem_open(dev, O_RDWR);
	EXPECT_LE(0, fd);
	p = map(fd, page);
	EXPECT_NE(MAP_FAILED, p);

	/* Unpublished: no new mappings, but existing ones stay. */
	EXPECT_EQ(0, test_call(dev, "publish", "0"));
	EXPECT_EQ(0, p2pmem_number(dev, "published"));
	errno = 0;
	q = map(fd, page);
	EXPECT_EQ(MAP_FAILED, q)
		munmap(q, page);
	EXPECT_EQ(ENODEV, errno);
	if (p != MAP_FAILED) {
		fill(p, page, 14);
		EXPECT_EQ(-1, first_wrong(p, page, 14));
		munmap(p, page);
	}
	EXPECT_EQ((long long)(4 * MiB), available());
	close(fd);
	EXPECT_EQ(0, module_unload());
	EXPECT_FALSE(p2pmem_exists(dev));
}

TEST_HARNESS_MAIN
