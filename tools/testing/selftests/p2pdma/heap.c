// SPDX-License-Identifier: GPL-2.0
/*
 * Peer memory as dma-bufs: the heap that programs allocate from, mappings of
 * its buffers, importers, and their revocation when the provider's driver is
 * unbound. `available` is compared exactly after every step.
 *
 * The provider is an NVMe controller with a CMB, or else a device of the test
 * module. The module p2pdma_importer imports on behalf of a disk; no device
 * does DMA.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/vfio.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/uio.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define MODULE		"p2pdma_test"
#define DEBUG		"/sys/kernel/debug/"
#define SECONDS		90		/* for a device to come back */
#define CYCLES		40		/* of a device of the module */
#define CYCLES_SLOW	10		/* of controllers, and of large memory */
#define LARGE		(1024 * MiB)	/* clearing more takes too long */
#define ROUNDS		5
#define LAST_ROUND	60		/* of a race that must happen by then */
#define ALIVE		16		/* buffers of unbound providers */
#define HOLES		128		/* free pages between used ones */

static size_t page;

/* ---- A device with published memory ---- */

static struct source {
	char bdf[BDF_LEN];
	char driver[NAME_MAX];
	char heap[64];			/* path */
	int bar;			/* where the memory is */
	struct bar memory;		/* that BAR */
	long long all;			/* available when the test began */
} source;

static bool of_module(void)
{
	return !strcmp(source.driver, MODULE);
}

static bool heap_exists(void)
{
	return !access(source.heap, F_OK);
}

static long long available(void)
{
	return p2pmem_number(source.bdf, "available");
}

static int go(void)
{
	return pci_unbind(source.bdf);
}

/* Binds the driver; returns when the heap exists again. */
static int come(void)
{
	int error = pci_bind(source.bdf, source.driver);

	if (!error && of_module())
		error = test_add(source.bdf, source.bar, 0, 0);
	if (!error && of_module())
		error = test_call(source.bdf, "publish", "1");
	if (!error && !wait_for(heap_exists() && available() == source.all,
				SECONDS))
		error = -ETIMEDOUT;
	return error;
}

/* NULL, or why there is no provider to test with. */
static const char *find_source(void)
{
	const char *bdf = provider(), *why;
	struct bar bars[6];
	int i;

	page = sysconf(_SC_PAGESIZE);
	if (getuid())
		return "needs root";
	if (bdf) {
		snprintf(source.bdf, BDF_LEN, "%s", bdf);
		if (pci_driver(bdf, source.driver) || pci_bars(bdf, bars))
			return "the provider has no driver";
		/* The CMB is the only prefetchable BAR, and the largest. */
		for (i = 0; i < 6; i++) {
			if (!(bars[i].flags & BAR_MEM) ||
			    bars[i].length <= source.memory.length)
				continue;
			source.bar = i;
			source.memory = bars[i];
		}
	} else {
		why = test_device(source.bdf, &source.bar, &source.memory);
		if (why)
			return why;
		if (test_add(source.bdf, source.bar, 0, 0) ||
		    test_call(source.bdf, "publish", "1")) {
			module_unload();
			return "no device with peer memory";
		}
		snprintf(source.driver, sizeof(source.driver), MODULE);
	}
	snprintf(source.heap, sizeof(source.heap), "/dev/dma_heap/p2pmem-%s",
		 source.bdf);
	source.all = available();
	if (!wait_for(heap_exists(), 10))
		return access("/dev/dma_heap", F_OK) ?
			"this kernel has no dma-heaps" :
			"this kernel has no heap for peer memory";
	return NULL;
}

static int limit(long long bytes)
{
	char path[PATH_MAX], text[32];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/p2pmem/user_limit",
		 source.bdf);
	snprintf(text, sizeof(text), "%lld", bytes);
	return file_write(path, text);
}

static void end_source(struct __test_metadata *_metadata)
{
	char driver[NAME_MAX];

	if (pci_driver(source.bdf, driver))
		EXPECT_EQ(0, come());
	/* The memory of a file is freed a little after close(). */
	EXPECT_TRUE(wait_for(available() == source.all, 10))
		TH_LOG("available %lld, was %lld", available(), source.all);
	if (of_module())
		EXPECT_EQ(0, module_unload());
}

/* ---- Buffers ---- */

static int heap_open(void)
{
	int fd = open(source.heap, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static void *map(int fd, size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static int sync_cpu(int fd, __u64 flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	return ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync) ? -errno : 0;
}

static int begin(int fd)
{
	return sync_cpu(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
}

static int end(int fd)
{
	return sync_cpu(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
}

#define EXPECT_TAKEN(bytes) \
	EXPECT_EQ(source.all - (long long)(bytes), available())

/* Is the buffer of @fd, mapped at @p, revoked? */
static void expect_revoked(struct __test_metadata *_metadata, int fd, char *p,
			   size_t size)
{
	EXPECT_FALSE(can_touch(p));
	EXPECT_FALSE(can_touch(p + size - 1));
	EXPECT_EQ(-ENODEV, begin(fd));
	EXPECT_EQ(-ENODEV, end(fd));
	errno = 0;
	EXPECT_EQ(MAP_FAILED, map(fd, size));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ((off_t)size, lseek(fd, 0, SEEK_END));
}

/* ---- The heap ---- */

FIXTURE(heap)
{
	int fd;
};

FIXTURE_SETUP(heap)
{
	const char *why = find_source();

	if (why)
		SKIP(return, "%s", why);
	self->fd = heap_open();
	ASSERT_LE(0, self->fd);
	ASSERT_LE((long long)(8 * MiB), source.all);
}

FIXTURE_TEARDOWN(heap)
{
	close(self->fd);
	end_source(_metadata);
}

TEST_F(heap, sizes)
{
	static const struct {
		__u64 size;
		int error;
	} refused[] = {
		{ 0, -EINVAL },
		{ ~0ULL, -EINVAL },		/* 0 when rounded up */
		{ ~0ULL << 12, -ENOMEM },
		{ 1ULL << 63, -ENOMEM },
		{ 1ULL << 32 << 10, -ENOMEM },
	};
	static const size_t sizes[] = {
		1, 4095, 4096, 4097, 65536, 65537, MiB, MiB + 1, 4 * MiB,
	};
	size_t i, pages;
	int fd;

	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		EXPECT_EQ(refused[i].error,
			  heap_allocate(self->fd, refused[i].size, O_RDWR))
			TH_LOG("%#llx bytes", refused[i].size);
		EXPECT_TAKEN(0);
	}
	EXPECT_EQ(-ENOMEM, heap_allocate(self->fd, source.all + 1, O_RDWR));
	EXPECT_TAKEN(0);

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		pages = (sizes[i] + page - 1) / page;
		fd = heap_allocate(self->fd, sizes[i], O_RDWR);
		ASSERT_LE(0, fd) TH_LOG("%zu bytes", sizes[i]);
		EXPECT_TAKEN(pages * page);
		EXPECT_EQ((off_t)(pages * page), lseek(fd, 0, SEEK_END));
		close(fd);
		EXPECT_TAKEN(0);
	}
}

TEST_F(heap, flags)
{
	struct dma_heap_allocation_data data;

	EXPECT_EQ(-EINVAL, heap_allocate(self->fd, page, O_RDWR | O_DIRECT));

	data = (struct dma_heap_allocation_data){ .len = page, .heap_flags = 1 };
	EXPECT_EQ(-1, ioctl(self->fd, DMA_HEAP_IOCTL_ALLOC, &data));
	EXPECT_EQ(EINVAL, errno);
	data = (struct dma_heap_allocation_data){ .len = page, .fd = 1 };
	EXPECT_EQ(-1, ioctl(self->fd, DMA_HEAP_IOCTL_ALLOC, &data));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, ioctl(self->fd, DMA_HEAP_IOCTL_ALLOC, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_TAKEN(0);
}

TEST_F(heap, exhausted)
{
	/* The rest that is too small for one size holds buffers of the next. */
	const size_t sizes[] = { source.all / 8 & ~(MiB - 1), MiB, 16 * page, page };
	int fd[4096], nr = 0, last = 0, large = 0;
	long long taken = 0;
	unsigned int i;

	if (source.all > (long long)LARGE)
		SKIP(return, "takes too long with so much memory");

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		while (nr < 4096) {
			last = heap_allocate(self->fd, sizes[i], O_RDWR);
			if (last < 0)
				break;
			fd[nr++] = last;
			taken += sizes[i];
			EXPECT_TAKEN(taken);
		}
		EXPECT_EQ(-ENOMEM, last);
		if (!i)
			large = nr;
	}
	EXPECT_EQ(source.all, taken);
	EXPECT_EQ(0, available());

	ASSERT_LT(1, large);
	close(fd[0]);
	fd[0] = heap_allocate(self->fd, sizes[0], O_RDWR);
	EXPECT_LE(0, fd[0]);
	while (nr)
		close(fd[--nr]);
	EXPECT_TAKEN(0);
}

/* Every other page is free: one buffer can have all of them. */
TEST_F(heap, fragmented)
{
	int rest, single[2 * HOLES], fd, i;
	char *p, *all;

	if (source.all > (long long)LARGE)
		SKIP(return, "takes too long with so much memory");

	rest = heap_allocate(self->fd, source.all - 2 * HOLES * page, O_RDWR);
	ASSERT_LE(0, rest);
	for (i = 0; i < 2 * HOLES; i++) {
		single[i] = heap_allocate(self->fd, page, O_RDWR);
		ASSERT_LE(0, single[i]);
	}
	EXPECT_EQ(0, available());
	for (i = 1; i < 2 * HOLES; i += 2)
		close(single[i]);
	EXPECT_TRUE(wait_for(available() == (long long)(HOLES * page), 10));
	for (i = 0; i < 2 * HOLES; i += 2) {
		p = map(single[i], page);
		ASSERT_NE(MAP_FAILED, (void *)p);
		fill(p, page, i);
		munmap(p, page);
	}

	EXPECT_EQ(-ENOMEM, heap_allocate(self->fd, (HOLES + 1) * page, O_RDWR));
	EXPECT_EQ((long long)(HOLES * page), available());
	fd = heap_allocate(self->fd, HOLES * page, O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, available());
	all = map(fd, HOLES * page);
	ASSERT_NE(MAP_FAILED, (void *)all);
	EXPECT_EQ(-1, first_nonzero(all, HOLES * page));
	fill(all, HOLES * page, 1);

	for (i = 0; i < 2 * HOLES; i += 2) {
		p = map(single[i], page);
		ASSERT_NE(MAP_FAILED, (void *)p);
		EXPECT_EQ(-1, first_wrong(p, page, i)) TH_LOG("page %d", i);
		munmap(p, page);
		close(single[i]);
	}
	EXPECT_EQ(-1, first_wrong(all, HOLES * page, 1));
	munmap(all, HOLES * page);
	close(fd);
	close(rest);
}

/* Zeroed after use by another buffer and by a mapping of p2pmem/allocate */
TEST_F(heap, zeroed)
{
	size_t size = MiB;
	int round, fd;
	char *p;

	for (round = 0; round < 3; round++) {
		p = p2pmem_map(source.bdf, size);
		ASSERT_NE(MAP_FAILED, (void *)p);
		fill(p, size, 101 + round);
		munmap(p, size);

		fd = heap_allocate(self->fd, size, O_RDWR);
		ASSERT_LE(0, fd);
		p = map(fd, size);
		ASSERT_NE(MAP_FAILED, (void *)p);
		EXPECT_EQ(-1, first_nonzero(p, size));
		fill(p, size, 111 + round);
		munmap(p, size);
		close(fd);
	}
	fd = heap_allocate(self->fd, size, O_RDWR);
	p = map(fd, size);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(-1, first_nonzero(p, size));
	munmap(p, size);
	close(fd);
}

/* The test module unpublishes its memory: the heap goes, buffers stay. */
TEST_F(heap, unpublished)
{
	int heap, fd;
	char *p;

	if (!of_module())
		SKIP(return, "the driver publishes for good");

	fd = heap_allocate(self->fd, page, O_RDWR);
	ASSERT_LE(0, fd);
	p = map(fd, page);
	ASSERT_NE(MAP_FAILED, (void *)p);

	ASSERT_EQ(0, test_call(source.bdf, "publish", "0"));
	EXPECT_EQ(-ENODEV, heap_allocate(self->fd, page, O_RDWR));
	EXPECT_TRUE(wait_for(!heap_exists(), 10));
	EXPECT_EQ(-ENODEV, heap_allocate(self->fd, page, O_RDWR));

	/* The allocated buffer still works. */
	EXPECT_EQ(0, begin(fd));
	fill(p, page, 121);
	EXPECT_EQ(-1, first_wrong(p, page, 121));

	ASSERT_EQ(0, test_call(source.bdf, "publish", "1"));
	EXPECT_TRUE(wait_for(heap_exists(), 10));
	/* The heap is a new one: open files of the old one stay dead. */
	EXPECT_EQ(-ENODEV, heap_allocate(self->fd, page, O_RDWR));
	heap = heap_open();
	ASSERT_LE(0, heap);
	EXPECT_TAKEN(page);
	munmap(p, page);
	close(fd);
	fd = heap_allocate(heap, page, O_RDWR);
	EXPECT_LE(0, fd);
	close(fd);
	close(heap);
}

/* After many changes in a row the last one counts. */
TEST_F(heap, published_again_and_again)
{
	int i;

	if (!of_module())
		SKIP(return, "the driver publishes for good");

	for (i = 0; i < 201; i++)
		ASSERT_EQ(0, test_call(source.bdf, "publish", "%d", i % 2));
	EXPECT_TRUE(wait_for(!heap_exists(), 10));
	for (i = 0; i < 200; i++)
		ASSERT_EQ(0, test_call(source.bdf, "publish", "%d", i % 2));
	EXPECT_TRUE(wait_for(heap_exists(), 10));
}

/* ---- The limit of what programs may hold ---- */

FIXTURE(limit)
{
	int fd;
};

FIXTURE_SETUP(limit)
{
	const char *why = find_source();

	if (why)
		SKIP(return, "%s", why);
	self->fd = heap_open();
	ASSERT_LE(0, self->fd);
	ASSERT_LT((long long)(4 * HOLES * page), source.all);
}

FIXTURE_TEARDOWN(limit)
{
	EXPECT_EQ(0, limit(LLONG_MAX));
	close(self->fd);
	end_source(_metadata);
}

/* Buffers of the heap and mappings of p2pmem/allocate count together. */
TEST_F(limit, together)
{
	int fd[2];
	char *p;

	ASSERT_EQ(0, limit(8 * page + 1));
	EXPECT_EQ(-ENOMEM, heap_allocate(self->fd, 9 * page, O_RDWR));
	errno = 0;
	EXPECT_EQ(MAP_FAILED, p2pmem_map(source.bdf, 9 * page));
	EXPECT_EQ(ENOMEM, errno);
	EXPECT_TAKEN(0);

	fd[0] = heap_allocate(self->fd, 5 * page, O_RDWR);
	ASSERT_LE(0, fd[0]);
	errno = 0;
	EXPECT_EQ(MAP_FAILED, p2pmem_map(source.bdf, 4 * page));
	EXPECT_EQ(ENOMEM, errno);
	p = p2pmem_map(source.bdf, 2 * page);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(-ENOMEM, heap_allocate(self->fd, page + 1, O_RDWR));
	fd[1] = heap_allocate(self->fd, page, O_RDWR);
	ASSERT_LE(0, fd[1]);
	EXPECT_TAKEN(8 * page);
	EXPECT_EQ(-ENOMEM, heap_allocate(self->fd, 1, O_RDWR));
	errno = 0;
	EXPECT_EQ(MAP_FAILED, p2pmem_map(source.bdf, 1));
	EXPECT_EQ(ENOMEM, errno);

	/* Each way of freeing makes room for as much. */
	munmap(p + page, page);
	EXPECT_EQ(-ENOMEM, heap_allocate(self->fd, 2 * page, O_RDWR));
	close(fd[1]);
	EXPECT_EQ(-ENOMEM, heap_allocate(self->fd, 3 * page, O_RDWR));
	fd[1] = heap_allocate(self->fd, 2 * page, O_RDWR);
	EXPECT_LE(0, fd[1]);
	EXPECT_EQ(-ENOMEM, heap_allocate(self->fd, 1, O_RDWR));
	close(fd[1]);
	close(fd[0]);
	munmap(p, page);
	EXPECT_TAKEN(0);
}

/* A limit below what is held only stops new allocations. */
TEST_F(limit, lowered)
{
	int fd[4], again, i;
	char *p;

	for (i = 0; i < 4; i++) {
		fd[i] = heap_allocate(self->fd, 2 * page, O_RDWR);
		ASSERT_LE(0, fd[i]);
	}
	p = map(fd[3], 2 * page);
	ASSERT_NE(MAP_FAILED, (void *)p);
	ASSERT_EQ(0, limit(5 * page));
	fill(p, 2 * page, 171);
	EXPECT_EQ(0, begin(fd[3]));
	EXPECT_EQ(-1, first_wrong(p, 2 * page, 171));
	EXPECT_TAKEN(8 * page);
	EXPECT_EQ(-ENOMEM, heap_allocate(self->fd, page, O_RDWR));
	close(fd[0]);
	EXPECT_EQ(-ENOMEM, heap_allocate(self->fd, page, O_RDWR));
	close(fd[1]);
	EXPECT_EQ(-ENOMEM, heap_allocate(self->fd, 2 * page, O_RDWR));
	again = heap_allocate(self->fd, page, O_RDWR);
	EXPECT_LE(0, again);
	close(again);

	ASSERT_EQ(0, limit(0));
	EXPECT_EQ(-ENOMEM, heap_allocate(self->fd, page, O_RDWR));
	ASSERT_EQ(0, limit(source.all));
	again = heap_allocate(self->fd, 64 * page, O_RDWR);
	EXPECT_LE(0, again);
	close(again);
	munmap(p, 2 * page);
	close(fd[2]);
	close(fd[3]);
}

/* Pieces of a buffer count as one, and a revoked buffer doesn't count. */
TEST_F(limit, fragmented_and_revoked)
{
	int single[2 * HOLES], heap, fd, again, i;

	if (source.all > (long long)LARGE)
		SKIP(return, "takes too long with so much memory");

	fd = heap_allocate(self->fd, source.all - 2 * HOLES * page, O_RDWR);
	ASSERT_LE(0, fd);
	for (i = 0; i < 2 * HOLES; i++) {
		single[i] = heap_allocate(self->fd, page, O_RDWR);
		ASSERT_LE(0, single[i]);
	}
	close(fd);
	for (i = 1; i < 2 * HOLES; i += 2)
		close(single[i]);
	EXPECT_TRUE(wait_for(available() ==
			     source.all - (long long)(HOLES * page), 10));
	fd = heap_allocate(self->fd, source.all - 2 * HOLES * page, O_RDWR);
	ASSERT_LE(0, fd);

	ASSERT_EQ(0, limit(source.all - 2 * page));
	EXPECT_EQ(-ENOMEM, heap_allocate(self->fd, (HOLES - 1) * page, O_RDWR));
	again = heap_allocate(self->fd, (HOLES - 2) * page, O_RDWR);
	ASSERT_LE(0, again);
	EXPECT_EQ(-ENOMEM, heap_allocate(self->fd, page, O_RDWR));
	EXPECT_EQ((long long)(2 * page), available());
	close(fd);
	for (i = 2; i < 2 * HOLES; i += 2)
		close(single[i]);

	/* What is held: a page, and the buffer of HOLES - 2 pages */
	ASSERT_EQ(0, limit(HOLES * page));
	EXPECT_EQ(-ENOMEM, heap_allocate(self->fd, 2 * page, O_RDWR));
	ASSERT_EQ(0, go());
	ASSERT_EQ(0, come());
	EXPECT_EQ(p2pmem_number(source.bdf, "size"),
		  p2pmem_number(source.bdf, "user_limit"));
	ASSERT_EQ(0, limit(HOLES * page));
	heap = heap_open();
	ASSERT_LE(0, heap);
	fd = heap_allocate(heap, HOLES * page, O_RDWR);
	ASSERT_LE(0, fd);
	close(again);
	close(single[0]);
	EXPECT_EQ(-ENOMEM, heap_allocate(heap, page, O_RDWR));
	close(fd);
	close(heap);
}

/* ---- Mappings ---- */

FIXTURE(buffer)
{
	int heap, fd;
	size_t size;
};

FIXTURE_SETUP(buffer)
{
	const char *why = find_source();

	if (why)
		SKIP(return, "%s", why);
	self->heap = heap_open();
	ASSERT_LE(0, self->heap);
	self->size = 64 * page;
	self->fd = heap_allocate(self->heap, self->size, O_RDWR);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(buffer)
{
	close(self->fd);
	close(self->heap);
	end_source(_metadata);
}

TEST_F(buffer, shared)
{
	char *p = map(self->fd, self->size), *q, *r;
	int status;
	pid_t child;

	ASSERT_NE(MAP_FAILED, (void *)p);
	q = map(self->fd, self->size);
	ASSERT_NE(MAP_FAILED, (void *)q);
	r = mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, self->fd, 3 * page);
	ASSERT_NE(MAP_FAILED, (void *)r);

	EXPECT_EQ(0, begin(self->fd));
	fill(p, self->size, 131);
	EXPECT_EQ(0, end(self->fd));
	EXPECT_EQ(-1, first_wrong(q, self->size, 131));
	EXPECT_EQ(0, memcmp(r, p + 3 * page, 8));

	child = fork();
	if (!child) {
		fill(q, self->size, 132);
		_exit(first_wrong(p, self->size, 132) == -1 ? 0 : 1);
	}
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(-1, first_wrong(p, self->size, 132));

	EXPECT_EQ(0, munmap(p + page, page));
	EXPECT_TRUE(can_touch(p + 2 * page));

	EXPECT_TAKEN(self->size);
	munmap(q, self->size);
	munmap(r, 2 * page);
	munmap(p, self->size);
}

TEST_F(buffer, outlives_its_file)
{
	int fd = heap_allocate(self->heap, page, O_RDWR);
	char *p = map(fd, page);

	ASSERT_NE(MAP_FAILED, (void *)p);
	close(fd);
	EXPECT_TAKEN(self->size + page);
	fill(p, page, 133);
	EXPECT_EQ(-1, first_wrong(p, page, 133));
	munmap(p, page);
	EXPECT_TAKEN(self->size);
}

TEST_F(buffer, refused)
{
	const int rw = PROT_READ | PROT_WRITE;
	const struct {
		const char *name;
		size_t length;
		int prot, flags;
		off_t offset;
	} cases[] = {
		{ "private",	 page, rw, MAP_PRIVATE, 0 },
		{ "private, r/o", page, PROT_READ, MAP_PRIVATE, 0 },
		{ "too long",	 self->size + page, rw, MAP_SHARED, 0 },
		{ "beyond",	 page, rw, MAP_SHARED, self->size },
		{ "half beyond", 2 * page, rw, MAP_SHARED, self->size - page },
		{ "far beyond",	 page, rw, MAP_SHARED, 1LL << 50 },
	};
	struct iovec iov;
	int pipes[2];
	char *p;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		errno = 0;
		EXPECT_EQ(MAP_FAILED, mmap(NULL, cases[i].length, cases[i].prot,
					   cases[i].flags, self->fd,
					   cases[i].offset))
			TH_LOG("%s: not refused", cases[i].name);
		EXPECT_EQ(EINVAL, errno) TH_LOG("%s: %m", cases[i].name);
	}

	/* No growing: there is no memory behind the added part. */
	p = map(self->fd, page);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(MAP_FAILED, mremap(p, page, 2 * page, MREMAP_MAYMOVE));
	munmap(p, page);

	/* No pages to pin */
	p = map(self->fd, page);
	ASSERT_NE(MAP_FAILED, (void *)p);
	ASSERT_EQ(0, pipe(pipes));
	iov = (struct iovec){ .iov_base = p, .iov_len = page };
	EXPECT_EQ(-1, vmsplice(pipes[1], &iov, 1, 0));
	EXPECT_EQ(EEXIST, errno);
	close(pipes[0]);
	close(pipes[1]);
	munmap(p, page);

	EXPECT_EQ(-EINVAL, sync_cpu(self->fd, 0));
	EXPECT_EQ(-EINVAL, sync_cpu(self->fd, 8 | DMA_BUF_SYNC_RW));
}

TEST_F(buffer, protection)
{
	int fd = heap_allocate(self->heap, page, O_RDONLY);
	char *p;

	ASSERT_LE(0, fd);
	errno = 0;
	EXPECT_EQ(MAP_FAILED, map(fd, page));
	EXPECT_EQ(EACCES, errno);
	p = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_TRUE(can_touch(p));
	EXPECT_EQ(-1, first_nonzero(p, page));
	EXPECT_EQ(-1, mprotect(p, page, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	munmap(p, page);
	close(fd);

	p = map(self->fd, self->size);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(0, write_after_protection(p, self->size));
	munmap(p, self->size);
}

/* ---- The provider leaves ---- */

TEST_F(buffer, unbound)
{
	int copy = dup(self->fd), heap, status;
	char *p = map(self->fd, self->size), *untouched, *q;
	pid_t child;

	ASSERT_NE(MAP_FAILED, (void *)p);
	fill(p, self->size, 141);
	untouched = map(self->fd, self->size);
	child = fork();
	if (!child) {
		/* The mapping of another process is revoked, too. */
		_exit(!wait_for(!can_touch(p), SECONDS) ||
		      can_touch(p + self->size - 1));
	}

	ASSERT_EQ(0, go());
	EXPECT_FALSE(heap_exists());
	expect_revoked(_metadata, self->fd, p, self->size);
	EXPECT_FALSE(can_touch(untouched));
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(-ENODEV, heap_allocate(self->heap, page, O_RDWR));
	close(copy);

	/* All memory is free, and there is a new heap. */
	ASSERT_EQ(0, come());
	EXPECT_TAKEN(0);
	expect_revoked(_metadata, self->fd, p, self->size);
	EXPECT_EQ(-ENODEV, heap_allocate(self->heap, page, O_RDWR));
	heap = heap_open();
	ASSERT_LE(0, heap);
	copy = heap_allocate(heap, self->size, O_RDWR);
	ASSERT_LE(0, copy);
	q = map(copy, self->size);
	ASSERT_NE(MAP_FAILED, (void *)q);
	EXPECT_EQ(-1, first_nonzero(q, self->size));
	EXPECT_FALSE(can_touch(p));
	munmap(q, self->size);
	close(copy);
	close(heap);
	munmap(p, self->size);
	munmap(untouched, self->size);
}

/*
 * An O_PATH descriptor keeps the buffer's file in the kernel, but gives no
 * access to it: unbinding must not wait for such a file.
 */
TEST_F(buffer, unbound_with_path)
{
	char link[64];
	int path, status;
	pid_t child;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", self->fd);
	path = open(link, O_PATH | O_CLOEXEC);
	ASSERT_LE(0, path);
	close(self->fd);
	self->fd = -1;
	EXPECT_TAKEN(self->size);

	child = fork();
	if (!child)
		_exit(go() ? 1 : 0);
	ASSERT_TRUE(wait_for(waitpid(child, &status, WNOHANG) == child,
			     SECONDS));
	EXPECT_EQ(0, status);
	ASSERT_EQ(0, come());
	EXPECT_TAKEN(0);
	close(path);
	EXPECT_TAKEN(0);
}

/* Unbinds with a mapped buffer, and revoked ones of earlier rounds open. */
TEST_F_TIMEOUT(buffer, many_times_unbound, 900)
{
	bool quick = of_module() && source.all <= (long long)LARGE;
	int cycles = times(quick ? CYCLES : CYCLES_SLOW);
	int fd[ALIVE], heap, i, nr;
	char *p[ALIVE];

	if (strcmp(expected_route(), "bus-address"))
		SKIP(return, "takes long, and no device takes part: one route will do");
	for (i = 0; i < ALIVE; i++)
		fd[i] = -1;
	for (nr = 0; nr < cycles; nr++) {
		i = nr % ALIVE;
		if (fd[i] >= 0) {
			munmap(p[i], self->size);
			close(fd[i]);
		}

		heap = heap_open();
		ASSERT_LE(0, heap) TH_LOG("round %d", nr);
		fd[i] = heap_allocate(heap, self->size, O_RDWR);
		close(heap);
		ASSERT_LE(0, fd[i]) TH_LOG("round %d", nr);
		p[i] = map(fd[i], self->size);
		ASSERT_NE(MAP_FAILED, (void *)p[i]);
		fill(p[i], page, nr);
		ASSERT_EQ(-1, first_wrong(p[i], page, nr));

		ASSERT_EQ(0, go());
		ASSERT_FALSE(can_touch(p[i])) TH_LOG("round %d", nr);
		ASSERT_EQ(-ENODEV, begin(fd[i])) TH_LOG("round %d", nr);
		ASSERT_EQ(0, come()) TH_LOG("round %d", nr);
	}
	TH_LOG("%d times", nr);
	for (i = 0; i < ALIVE && fd[i] >= 0; i++) {
		expect_revoked(_metadata, fd[i], p[i], self->size);
		munmap(p[i], self->size);
		close(fd[i]);
	}
}

/* Allocate, map, touch and close, without regard to the provider's driver. */
static void use_until_refused(struct racer *racer)
{
	int heap = heap_open(), fd;
	char *p;

	if (heap < 0)
		return;
	while ((fd = heap_allocate(heap, 16 * page, O_RDWR)) >= 0) {
		racer->count[RACE_HAD]++;
		p = map(fd, 16 * page);
		if (p != MAP_FAILED) {
			begin(fd);
			race_touch(racer, p + 15 * page);
			end(fd);
			munmap(p, 16 * page);
		}
		close(fd);
	}
	racer->count[RACE_REFUSED] += fd == -ENODEV;
	close(heap);
}

TEST_F_TIMEOUT(buffer, unbound_in_use, 300)
{
	struct race race;
	int round = 0;

	if (strcmp(expected_route(), "bus-address"))
		SKIP(return, "takes long, and no device takes part: one route will do");
	race_start(&race, 3, use_until_refused, source.heap);
	do {
		ASSERT_TRUE(wait_for(race_each(&race, RACE_HAD), SECONDS))
			TH_LOG("round %d: somebody can't allocate", round);
		ASSERT_EQ(0, go());
		EXPECT_FALSE(heap_exists());
		ASSERT_TRUE(wait_for(race_each(&race, RACE_REFUSED), SECONDS))
			TH_LOG("round %d: somebody isn't refused", round);
		ASSERT_EQ(0, pci_bind(source.bdf, source.driver));
		if (of_module()) {
			ASSERT_EQ(0, test_add(source.bdf, source.bar, 0, 0));
			ASSERT_EQ(0, test_call(source.bdf, "publish", "1"));
		}
		ASSERT_TRUE(wait_for(heap_exists(), SECONDS));
		round++;
	} while (round < times(ROUNDS) ||
		 (!race_total(&race, RACE_LOST) && round < LAST_ROUND));

	TH_LOG("%d rounds, %ld buffers, %ld of them lost", round,
	       race_total(&race, RACE_HAD), race_total(&race, RACE_LOST));
	EXPECT_LT(0, race_total(&race, RACE_LOST));
	race_stop(&race);
}

/* ---- Importers ---- */

#define IMPORTER	"/sys/kernel/debug/p2pdma_importer/"

FIXTURE(import)
{
	int heap, fd;
	size_t size;
	char client[BDF_LEN];
};

FIXTURE_SETUP(import)
{
	const char *why;
	struct disks disks;

	scratch_disks(&disks);
	if (!disks.nr || disk_bdf(disks.path[0], self->client))
		SKIP(return, "no disk in P2PDMA_SCRATCH");
	why = find_source();
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, module_load_named("p2pdma_importer"));
	self->heap = heap_open();
	ASSERT_LE(0, self->heap);
	self->size = MiB;
	self->fd = heap_allocate(self->heap, self->size, O_RDWR);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(import)
{
	close(self->fd);
	close(self->heap);
	EXPECT_EQ(0, module_unload_named("p2pdma_importer"));
	end_source(_metadata);
}

static int say(int fd, const char *format, ...) __printf(2, 3);

static int say(int fd, const char *format, ...)
{
	char line[128];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	return write(fd, line, strlen(line)) < 0 ? -errno : 0;
}

static int importer_open(void)
{
	int fd = open(IMPORTER "importer", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* A dma-buf, or -errno */
static int export(const char *bdf, int bar, __u64 offset, __u64 size)
{
	int fd = open(IMPORTER "exporter", O_RDWR | O_CLOEXEC), error;
	char answer[16];

	if (fd < 0)
		return -errno;
	error = say(fd, "%s %d %lld %lld", bdf, bar, (long long)offset,
		    (long long)size);
	if (!error)
		error = test_answer(fd, answer, sizeof(answer));
	close(fd);
	return error ?: atoi(answer);
}

/* An importer that has attached, or -errno. */
static int import_buffer(int buffer, const char *client, const char *kind)
{
	int fd = importer_open(), error;

	if (fd < 0)
		return fd;
	error = say(fd, "attach %d %s %s", buffer, client, kind);
	if (error)
		close(fd);
	return error ?: fd;
}

#define MAX_RANGES	16

struct told {
	int notified, signaled;
	unsigned long long value;
	int nr;
	unsigned long long address[MAX_RANGES], length[MAX_RANGES];
};

static struct told ask(int fd)
{
	struct told told = {};
	char answer[512] = "";
	int n = 0, at;

	test_answer(fd, answer, sizeof(answer));
	if (sscanf(answer, "%d %d %llx%n", &told.notified, &told.signaled,
		   &told.value, &at) != 3)
		return told;
	while (told.nr < MAX_RANGES &&
	       sscanf(answer + at, " %llx %llx%n", &told.address[told.nr],
		      &told.length[told.nr], &n) == 2) {
		told.nr++;
		at += n;
	}
	return told;
}

/* Are the addresses of the last mapping those of the expected route? */
static void expect_mapped(struct __test_metadata *_metadata, int fd,
			  const struct bar *bar, size_t size)
{
	struct told told = ask(fd);
	unsigned long long total = 0;
	int i;

	EXPECT_LT(0, told.nr);
	for (i = 0; i < told.nr; i++) {
		EXPECT_EQ(0UL, told.address[i] % page);
		if (i)
			EXPECT_EQ(told.address[i - 1] + told.length[i - 1],
				  told.address[i]);
		total += told.length[i];
		if (!strcmp(expected_route(), "iova")) {
			/* An IOVA is no address of the BAR. */
			EXPECT_TRUE(told.address[i] + told.length[i] <=
				    bar->start ||
				    told.address[i] >= bar->start + bar->length);
			continue;
		}
		EXPECT_LE(bar->start, told.address[i]);
		EXPECT_GE(bar->start + bar->length,
			  told.address[i] + told.length[i]);
	}
	EXPECT_EQ(size, total);
}

TEST_F(import, attach)
{
	int fd = import_buffer(self->fd, self->client, "dynamic");

	if (is_refused()) {
		EXPECT_EQ(-EREMOTEIO, fd);
		EXPECT_EQ(-EREMOTEIO, import_buffer(self->fd, self->client,
						    "revocable"));
		return;
	}
	ASSERT_LE(0, fd);
	close(fd);

	/* The importer holds the buffer after its file is closed. */
	fd = import_buffer(self->fd, self->client, "dynamic");
	ASSERT_LE(0, fd);
	close(self->fd);
	self->fd = -1;
	EXPECT_TAKEN(self->size);
	close(fd);
	EXPECT_TAKEN(0);
}

/* Importers without move_notify() or peer-to-peer are refused on any route. */
TEST_F(import, attach_others)
{
	EXPECT_EQ(-EOPNOTSUPP, import_buffer(self->fd, self->client, "static"));
	EXPECT_EQ(-EOPNOTSUPP, import_buffer(self->fd, self->client, "pages"));
}

TEST_F(import, provider_itself)
{
	int fd = import_buffer(self->fd, source.bdf, "dynamic");

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, say(fd, "map both"));
	EXPECT_EQ(1, ask(fd).nr);
	close(fd);
}

TEST_F(import, map)
{
	static const char * const directions[] = { "read", "write", "both" };
	struct told first;
	size_t i;
	int fd;

	if (is_refused())
		SKIP(return, "P2PDMA_ROUTE says there is no route");
	fd = import_buffer(self->fd, self->client, "dynamic");
	ASSERT_LE(0, fd);
	for (i = 0; i < ARRAY_SIZE(directions); i++) {
		ASSERT_EQ(0, say(fd, "map %s", directions[i]));
		expect_mapped(_metadata, fd, &source.memory, self->size);
	}
	EXPECT_EQ(0, say(fd, "unmap"));
	first = ask(fd);
	EXPECT_EQ(0, say(fd, "map both"));
	EXPECT_EQ(first.nr, ask(fd).nr);
	EXPECT_EQ(0, ask(fd).notified);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, say(fd, "unmap"));
	EXPECT_EQ(0, say(fd, "detach"));
	close(fd);
}

/*
 * Pins and kernel mappings are refused: they couldn't be revoked.  Only pins of
 * an importer that says it can be revoked are accepted.
 */
TEST_F(import, neither_pinned_nor_vmapped)
{
	/* Any device will do. */
	int fd = import_buffer(self->fd, source.bdf, "dynamic");
	int revocable = import_buffer(self->fd, source.bdf, "revocable");

	ASSERT_LE(0, fd);
	ASSERT_LE(0, revocable);
	EXPECT_EQ(0, say(revocable, "pin"));
	EXPECT_EQ(-EOPNOTSUPP, say(fd, "pin"));
	EXPECT_EQ(-EINVAL, say(fd, "vmap"));
	EXPECT_EQ(-EINVAL, say(revocable, "vmap"));
	EXPECT_EQ(0, say(revocable, "unpin"));
	close(revocable);
	close(fd);
}

/* A pinned buffer's memory is freed when the importer drops it. */
TEST_F(import, pinned_and_closed)
{
	int fd = import_buffer(self->fd, source.bdf, "revocable");

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, say(fd, "pin"));
	EXPECT_EQ(0, say(fd, "map both"));
	close(self->fd);
	self->fd = -1;
	EXPECT_TAKEN(self->size);
	EXPECT_EQ(0, ask(fd).notified);
	close(fd);
	EXPECT_TAKEN(0);
}

TEST_F(import, unbound)
{
	int fd, other;

	if (is_refused())
		SKIP(return, "P2PDMA_ROUTE says there is no route");
	fd = import_buffer(self->fd, self->client, "dynamic");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, say(fd, "map read"));
	ASSERT_EQ(0, say(fd, "map write"));
	other = import_buffer(self->fd, self->client, "dynamic");
	ASSERT_LE(0, other);
	ASSERT_EQ(0, say(other, "map both"));

	/* Each importer is told once; none of them has to unmap. */
	ASSERT_EQ(0, go());
	EXPECT_EQ(1, ask(fd).notified);
	EXPECT_EQ(1, ask(other).notified);
	EXPECT_EQ(-ENODEV, say(fd, "map read"));
	EXPECT_EQ(-ENODEV, import_buffer(self->fd, self->client, "dynamic"));
	EXPECT_EQ(0, say(fd, "unmap"));

	ASSERT_EQ(0, come());
	EXPECT_TAKEN(0);
	EXPECT_EQ(-ENODEV, say(fd, "map read"));
	EXPECT_EQ(0, say(fd, "unmap"));
	EXPECT_EQ(0, say(fd, "detach"));
	EXPECT_EQ(1, ask(fd).notified);
	close(fd);
	close(other);	/* with what it has mapped */
}

/* Unbinding waits for the fence of a device that still does DMA. */
TEST_F(import, slow)
{
	struct told told;
	int fd;

	if (is_refused())
		SKIP(return, "P2PDMA_ROUTE says there is no route");
	fd = import_buffer(self->fd, self->client, "slow");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, say(fd, "map both"));
	ASSERT_EQ(0, go());
	told = ask(fd);
	EXPECT_EQ(1, told.notified);
	EXPECT_EQ(1, told.signaled);
	close(fd);
}

/* A child's exit code; -1 and @late if it is still running. */
static int ended(pid_t child, bool *late)
{
	int status;

	*late = !wait_for(waitpid(child, &status, WNOHANG) == child, SECONDS);
	return !*late && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/*
 * A timeline of sw_sync, for a fence in a buffer's reservation: signaled by
 * fence_signal(), and when the timeline is closed.
 */
static int fence_open(void)
{
	int fd = open(DEBUG "sync/sw_sync", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Not in <linux/sync_file.h>: sw_sync is for tests alone. */
struct sw_sync_create_fence_data {
	__u32 value;
	char name[32];
	__s32 fence;
};

#define SW_SYNC_IOC_CREATE_FENCE \
	_IOWR('W', 0, struct sw_sync_create_fence_data)
#define SW_SYNC_IOC_INC		_IOW('W', 1, __u32)

static int fence_add(int timeline, int buffer)
{
	struct sw_sync_create_fence_data data = { .value = 1 };
	struct dma_buf_import_sync_file import = { .flags = DMA_BUF_SYNC_RW };
	int error;

	if (ioctl(timeline, SW_SYNC_IOC_CREATE_FENCE, &data))
		return -errno;
	import.fd = data.fence;
	error = ioctl(buffer, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import) ?
		-errno : 0;
	close(data.fence);
	return error;
}

static int fence_signal(int timeline)
{
	__u32 steps = 1;

	return ioctl(timeline, SW_SYNC_IOC_INC, &steps) ? -errno : 0;
}

/* close() doesn't wait for a fence while no importer has mapped the buffer. */
TEST_F(import, closed_with_fence)
{
	int fence = fence_open(), fd;
	pid_t child;
	bool late;

	ASSERT_LE(0, fence);
	child = fork();
	if (!child) {
		fd = heap_allocate(self->heap, page, O_RDWR);
		if (fence_add(fence, fd))
			_exit(2);
		close(fd);
		_exit(available() == source.all - (long long)self->size ? 0 : 1);
	}
	EXPECT_EQ(0, ended(child, &late));
	EXPECT_EQ(0, fence_signal(fence));
	if (late)
		waitpid(child, NULL, 0);
	close(fence);
}

/*
 * Nor do mmap() and page faults.  What waits for it by contract, SYNC_START, is
 * ended by a kill, and the memory is free.
 */
TEST_F(import, killed_with_fence)
{
	int fence = fence_open(), pipes[2], fd, status;
	pid_t child;
	char *p, c;

	ASSERT_LE(0, fence);
	ASSERT_EQ(0, pipe(pipes));
	child = fork();
	if (!child) {
		alarm(SECONDS);
		fd = heap_allocate(self->heap, page, O_RDWR);
		if (fence_add(fence, fd))
			_exit(2);
		p = map(fd, page);
		if (p == MAP_FAILED || !can_touch(p))
			_exit(3);
		fill(p, page, 151);
		if (write(pipes[1], "", 1) != 1)
			_exit(4);
		begin(fd);
		_exit(5);
	}
	close(pipes[1]);
	ASSERT_EQ(1, read(pipes[0], &c, 1));
	usleep(100000);
	EXPECT_EQ(0, waitpid(child, &status, WNOHANG));
	kill(child, SIGKILL);
	EXPECT_TRUE(wait_for(waitpid(child, &status, WNOHANG) == child,
			     SECONDS));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	EXPECT_TAKEN(self->size);
	EXPECT_EQ(0, fence_signal(fence));
	close(fence);
	close(pipes[0]);
}

/* Unbinding doesn't wait for it, either. */
TEST_F(import, unbound_with_fence)
{
	int fence = fence_open(), status;
	pid_t unbinder;
	bool late;

	ASSERT_LE(0, fence);
	ASSERT_EQ(0, fence_add(fence, self->fd));
	unbinder = fork();
	if (!unbinder)
		_exit(go() ? 1 : 0);
	EXPECT_EQ(0, ended(unbinder, &late));
	EXPECT_EQ(-ENODEV, begin(self->fd));
	EXPECT_EQ(0, fence_signal(fence));
	if (late)
		waitpid(unbinder, &status, 0);
	close(fence);
}

/*
 * A pinned importer unmaps when it is told: unbinding doesn't wait for a fence
 * then, and the importer can't pin again.
 */
TEST_F(import, pinned_and_unbound)
{
	int fence = fence_open(), fd, other;
	pid_t unbinder;
	bool late;

	if (is_refused())
		SKIP(return, "P2PDMA_ROUTE says there is no route");
	fd = import_buffer(self->fd, self->client, "revocable");
	ASSERT_LE(0, fd);
	other = import_buffer(self->fd, self->client, "dynamic");
	ASSERT_LE(0, other);
	ASSERT_EQ(0, say(fd, "pin"));
	ASSERT_EQ(0, say(fd, "pin"));
	ASSERT_EQ(0, say(fd, "map read"));
	ASSERT_EQ(0, say(fd, "map both"));
	expect_mapped(_metadata, fd, &source.memory, self->size);
	EXPECT_EQ(-EOPNOTSUPP, say(other, "pin"));
	ASSERT_LE(0, fence);
	ASSERT_EQ(0, fence_add(fence, self->fd));

	unbinder = fork();
	if (!unbinder)
		_exit(go() ? 1 : 0);
	EXPECT_EQ(0, ended(unbinder, &late));
	EXPECT_EQ(1, ask(fd).notified);
	EXPECT_EQ(0, ask(fd).nr);
	EXPECT_EQ(0, fence_signal(fence));
	if (late)
		waitpid(unbinder, NULL, 0);

	EXPECT_EQ(-ENODEV, say(fd, "pin"));
	EXPECT_EQ(-ENODEV, say(fd, "map both"));
	EXPECT_EQ(-ENODEV, say(other, "pin"));
	ASSERT_EQ(0, come());
	EXPECT_TAKEN(0);
	EXPECT_EQ(-ENODEV, say(fd, "pin"));
	EXPECT_EQ(1, ask(fd).notified);
	close(fd);
	close(other);
	close(fence);
}

/* What a program may be doing when the memory is revoked */
static int do_map(int fd, char *p)
{
	return map(fd, page) == MAP_FAILED && errno == ENODEV;
}

static int do_begin(int fd, char *p)
{
	return begin(fd) == -ENODEV;
}

static int do_end(int fd, char *p)
{
	return end(fd) == -ENODEV;
}

static int do_poll(int fd, char *p)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN | POLLOUT };

	return poll(&pollfd, 1, 0) >= 0;
}

static int do_touch(int fd, char *p)
{
	return !can_touch(p);
}

static int do_fault_in_kernel(int fd, char *p)
{
	int zero = open("/dev/zero", O_RDONLY);

	return read(zero, p, page) == -1 && errno == EFAULT;
}

/* The same while signals come, which handlers take without an effect */
static void take_signal(int signal)
{
}

static void send_signals(void)
{
	const struct itimerval often = { { 0, 1000 }, { 0, 1000 } };
	struct sigaction action = { .sa_handler = take_signal };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
}

static int do_touch_with_signals(int fd, char *p)
{
	int i;

	send_signals();
	for (i = 0; i < 100; i++)
		if (can_touch(p))
			return 0;
	return 1;
}

static int do_fault_in_kernel_with_signals(int fd, char *p)
{
	int zero = open("/dev/zero", O_RDONLY), i;
	ssize_t n;

	send_signals();
	for (i = 0; i < 100; i++) {
		n = read(zero, p, page);
		if (n != -1 || (errno != EFAULT && errno != EINTR))
			return 0;
	}
	return 1;
}

/*
 * Unbinding waits for the fence of a mapped buffer, and no user of the buffer
 * waits meanwhile.  Once the importer has unmapped it, unbinding goes on.
 */
TEST_F(import, slow_without_end)
{
	static const struct {
		const char *name;
		int (*run)(int fd, char *p);
	} uses[] = {
		{ "mmap", do_map }, { "SYNC_START", do_begin },
		{ "SYNC_END", do_end }, { "poll", do_poll },
		{ "fault", do_touch }, { "fault in the kernel", do_fault_in_kernel },
		{ "fault with signals", do_touch_with_signals },
		{ "fault in the kernel with signals",
		  do_fault_in_kernel_with_signals },
	};
	char *p = map(self->fd, self->size);
	pid_t unbinder, user[ARRAY_SIZE(uses)];
	int fence = fence_open(), fd;
	bool late;
	size_t i;

	if (is_refused())
		SKIP(return, "P2PDMA_ROUTE says there is no route");
	ASSERT_NE(MAP_FAILED, (void *)p);
	fd = import_buffer(self->fd, self->client, "dynamic");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, say(fd, "map both"));
	ASSERT_LE(0, fence);
	ASSERT_EQ(0, fence_add(fence, self->fd));

	unbinder = fork();
	if (!unbinder)
		_exit(go() ? 1 : 0);
	EXPECT_TRUE(wait_for(ask(fd).notified, SECONDS));
	for (i = 0; i < ARRAY_SIZE(uses); i++) {
		user[i] = fork();
		if (!user[i])
			_exit(uses[i].run(self->fd, p) ? 0 : 1);
	}
	for (i = 0; i < ARRAY_SIZE(uses); i++) {
		EXPECT_EQ(0, ended(user[i], &late)) TH_LOG("%s", uses[i].name);
		/* Otherwise the test would hang with its children. */
		if (late)
			fence_signal(fence);
	}
	EXPECT_EQ(0, waitpid(unbinder, NULL, WNOHANG));
	EXPECT_EQ(0, say(fd, "unmap"));
	EXPECT_EQ(0, ended(unbinder, &late));

	EXPECT_EQ(0, fence_signal(fence));
	if (late)
		waitpid(unbinder, NULL, 0);
	munmap(p, self->size);
	close(fd);
	close(fence);
}

/* The reservation may still hold fences after the importer's module is gone. */
TEST_F(import, module_gone)
{
	int fd;

	if (is_refused())
		SKIP(return, "P2PDMA_ROUTE says there is no route");
	fd = import_buffer(self->fd, self->client, "slow");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, say(fd, "map both"));
	ASSERT_EQ(0, go());
	close(fd);
	EXPECT_EQ(0, module_unload_named("p2pdma_importer"));
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(0, module_load_named("p2pdma_importer"));
}

/* The client's driver may be unbound as well. */
TEST_F(import, unbound_many_times)
{
	int fd[ALIVE], i, heap, buffer;

	if (is_refused())
		SKIP(return, "P2PDMA_ROUTE says there is no route");
	for (i = 0; i < ALIVE; i++) {
		heap = heap_open();
		ASSERT_LE(0, heap);
		buffer = heap_allocate(heap, self->size, O_RDWR);
		ASSERT_LE(0, buffer);
		close(heap);
		fd[i] = import_buffer(buffer, self->client, i % 2 ? "dynamic" : "slow");
		close(buffer);
		ASSERT_LE(0, fd[i]);
		ASSERT_EQ(0, say(fd[i], "map both"));
		ASSERT_EQ(0, go());
		EXPECT_EQ(1, ask(fd[i]).notified);
		ASSERT_EQ(0, come());
	}
	for (i = 0; i < ALIVE; i++)
		close(fd[i]);
}

/* ---- VFIO ---- */

static int vfio_bind(const char *bdf)
{
	char path[PATH_MAX];
	int error;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override",
		 bdf);
	error = file_write(path, "vfio-pci");
	return error ?: pci_bind(bdf, "vfio-pci");
}

static int vfio_unbind(const char *bdf)
{
	char path[PATH_MAX];
	int error = pci_unbind(bdf);

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override",
		 bdf);
	return error ?: file_write(path, "\n");
}

/* A container that has the device's @group in it, or -errno */
static int vfio_open(const char *bdf, int *group)
{
	char path[PATH_MAX], link[PATH_MAX];
	int container;
	ssize_t n;

	/* The lab's IOMMU doesn't remap interrupts. */
	file_write("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
		   "1");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return -errno;
	link[n] = '\0';
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	*group = open(path, O_RDWR | O_CLOEXEC);
	if (*group < 0)
		return -errno;
	container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (container < 0 ||
	    ioctl(*group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -errno;
	return container;
}

#define IOVA	(16 * MiB)

static int vfio_map(int container, const void *p, size_t size, __u32 flags)
{
	struct vfio_iommu_type1_dma_map dma = {
		.argsz = sizeof(dma),
		.flags = flags,
		.vaddr = (__u64)p,
		.iova = IOVA,
		.size = size,
	};

	return ioctl(container, VFIO_IOMMU_MAP_DMA, &dma) ? -errno : 0;
}

static int vfio_unmap(int container, size_t size)
{
	struct vfio_iommu_type1_dma_unmap dma = {
		.argsz = sizeof(dma),
		.iova = IOVA,
		.size = size,
	};

	return ioctl(container, VFIO_IOMMU_UNMAP_DMA, &dma) ? -errno : 0;
}

/*
 * VFIO keeps its mappings, and isn't told when memory is revoked, so it gets no
 * peer memory: neither with pages (heap) nor without (the client's registers).
 */
TEST_F(import, not_for_vfio)
{
	const __u32 flags[] = {
		VFIO_DMA_MAP_FLAG_READ,
		VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
	};
	int container, group, pageless, error;
	char edu[BDF_LEN];
	char *p[3];
	size_t i, j;

	if (find_device(EDU_IDS, edu))
		SKIP(return, "no edu device to give to VFIO");
	if (strcmp(expected_route(), "iova"))
		SKIP(return, "no IOMMU for VFIO");
	ASSERT_EQ(0, vfio_bind(edu));
	container = vfio_open(edu, &group);
	ASSERT_LE(0, container);

	p[0] = mmap(NULL, page, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	p[1] = map(self->fd, page);
	pageless = export(self->client, 0, 0, page);
	ASSERT_LE(0, pageless);
	p[2] = map(pageless, page);
	for (i = 0; i < ARRAY_SIZE(p); i++) {
		ASSERT_NE(MAP_FAILED, (void *)p[i]);
		/* With and without its page table entry */
		for (j = 0; j < 2 * ARRAY_SIZE(flags); j++) {
			if (j == ARRAY_SIZE(flags))
				EXPECT_TRUE(can_touch(p[i]));
			error = vfio_map(container, p[i], page,
					 flags[j % ARRAY_SIZE(flags)]);
			EXPECT_EQ(i ? -EEXIST : 0, error)
				TH_LOG("mapping %zu, try %zu", i, j);
			vfio_unmap(container, page);
		}
		munmap(p[i], page);
	}
	close(pageless);
	close(container);
	close(group);
	EXPECT_EQ(0, vfio_unbind(edu));
}

/* ---- Every allocation failing in turn ---- */

struct call {
	int fd, buffer;
	size_t size;
	const char *client;
};

static int call_allocate(void *data)
{
	struct call *call = data;

	return heap_allocate(call->fd, call->size, O_RDWR);
}

static int call_attach(void *data)
{
	struct call *call = data;

	return say(call->fd, "attach %d %s dynamic", call->buffer, call->client);
}

static int call_map(void *data)
{
	struct call *call = data;

	return say(call->fd, "map both");
}

TEST_F_TIMEOUT(import, no_memory, 600)
{
	struct call alloc = { .fd = self->heap, .size = page };
	struct call import = { .buffer = self->fd, .client = self->client };
	const struct {
		int (*call)(void *data);
		const char *undo;
	} calls[] = { { call_attach, "detach" }, { call_map, "unmap" } };
	bool failed = true;
	int nth, ret;
	size_t i;

	if (!inject_faults(false))
		SKIP(return, "no fault injection in this kernel");

	/* A failed allocation doesn't count: the last one succeeds. */
	ASSERT_EQ(0, limit(self->size + page));
	for (nth = 1; failed; nth++) {
		ASSERT_GT(1000, nth);
		ret = call_failing(nth, call_allocate, &alloc, &failed);
		if (ret < 0) {
			EXPECT_TRUE(failed);
			EXPECT_EQ(-ENOMEM, ret) TH_LOG("allocation %d", nth);
			EXPECT_TRUE(wait_for(available() == source.all -
					     (long long)self->size, 10));
		} else {
			close(ret);
		}
	}
	EXPECT_LE(0, ret);
	EXPECT_EQ(0, limit(LLONG_MAX));
	TH_LOG("allocate: %d allocations failed in turn", nth - 2);
	EXPECT_LT(2, nth - 2);

	if (is_refused())
		return;
	import.fd = importer_open();
	ASSERT_LE(0, import.fd);
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		failed = true;
		for (nth = 1; failed; nth++) {
			ASSERT_GT(1000, nth);
			ret = call_failing(nth, calls[i].call, &import,
					   &failed);
			if (ret < 0) {
				EXPECT_TRUE(failed);
				EXPECT_EQ(-ENOMEM, ret)
					TH_LOG("call %zu, allocation %d", i,
					       nth);
			} else if (failed) {
				EXPECT_EQ(0, say(import.fd, "%s", calls[i].undo));
			}
		}
		TH_LOG("call %zu: %d allocations failed in turn", i, nth - 2);
		EXPECT_LT(0, nth - 2);
	}
	close(import.fd);
}

/* ---- Memory without pages ---- */

FIXTURE(export)
{
	char bdf[BDF_LEN];
	int bar;
	struct bar big;
};

FIXTURE_SETUP(export)
{
	const char *why;
	int fd;

	page = sysconf(_SC_PAGESIZE);
	why = test_device(self->bdf, &self->bar, &self->big);
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, module_load_named("p2pdma_importer"));
	fd = open(IMPORTER "exporter", O_RDWR | O_CLOEXEC);
	if (say(fd, "%s 0 0 0", self->bdf) == -EOPNOTSUPP) {
		close(fd);
		module_unload_named("p2pdma_importer");
		module_unload();
		SKIP(return, "this kernel doesn't export peer memory");
	}
	close(fd);
}

FIXTURE_TEARDOWN(export)
{
	EXPECT_EQ(0, module_unload_named("p2pdma_importer"));
	EXPECT_EQ(0, module_unload());
}

static long long released(void)
{
	return file_number(IMPORTER "released");
}

TEST_F(export, refused)
{
	const __u64 length = self->big.length;
	const struct {
		__u64 offset, size;
	} cases[] = {
		{ 0, 0 }, { 0, page - 1 }, { 0, page + 8 }, { 8, page },
		{ 0, length + page }, { length, page },
		{ length - page, 2 * page }, { -page, page }, { 0, -page },
		{ page, -page }, { page, 0 - 2 * page },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		EXPECT_EQ(-EINVAL, export(self->bdf, self->bar, cases[i].offset,
					  cases[i].size))
			TH_LOG("case %zu", i);
	EXPECT_EQ(-ENXIO, export(self->bdf, 6, 0, page));
	EXPECT_EQ(-ENXIO, export(self->bdf, -1, 0, page));
	EXPECT_EQ(0, released());
	EXPECT_FALSE(p2pmem_exists(self->bdf));
}

TEST_F(export, mapped)
{
	size_t size = 2 * MiB;
	int fd = export(self->bdf, self->bar, MiB, size), again;
	char *p, *q;

	ASSERT_LE(0, fd);
	EXPECT_FALSE(p2pmem_exists(self->bdf));
	p = map(fd, size);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(0, begin(fd));
	fill(p, size, 161);
	EXPECT_EQ(0, end(fd));

	/* The offset is right: a buffer of the second half shares its data. */
	again = export(self->bdf, self->bar, 2 * MiB, MiB);
	ASSERT_LE(0, again);
	q = map(again, MiB);
	ASSERT_NE(MAP_FAILED, (void *)q);
	EXPECT_EQ(*(__u64 *)(p + MiB), *(__u64 *)q);
	EXPECT_EQ(*(__u64 *)(p + size - 8), *(__u64 *)(q + MiB - 8));
	clear(q, MiB);
	EXPECT_EQ(-1, first_nonzero(p + MiB, MiB));
	EXPECT_EQ((ssize_t)MiB, first_wrong(p, size, 161));

	EXPECT_EQ(0, released());
	munmap(q, MiB);
	close(again);
	EXPECT_EQ(1, released());
	close(fd);
	EXPECT_EQ(1, released());
	munmap(p, size);
	EXPECT_EQ(2, released());
}

/* A buffer holds the module that the end of the buffer calls. */
TEST_F(export, holds_module)
{
	int fd = export(self->bdf, self->bar, 0, page);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EAGAIN, module_unload_named("p2pdma_importer"));
	EXPECT_EQ(0, released());
	close(fd);
	EXPECT_EQ(1, released());
	EXPECT_EQ(0, module_unload_named("p2pdma_importer"));
	EXPECT_EQ(0, module_load_named("p2pdma_importer"));
}

/* All of a BAR, in as many entries as it takes. */
TEST_F(export, imported)
{
	char client[BDF_LEN];
	struct disks disks;
	int buffer, fd;

	scratch_disks(&disks);
	if (!disks.nr || disk_bdf(disks.path[0], client))
		SKIP(return, "no disk in P2PDMA_SCRATCH");

	buffer = export(self->bdf, self->bar, 0, self->big.length);
	ASSERT_LE(0, buffer);
	fd = import_buffer(buffer, client, "dynamic");
	if (is_refused()) {
		EXPECT_EQ(-EREMOTEIO, fd);
		close(buffer);
		return;
	}
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, say(fd, "map both"));
	expect_mapped(_metadata, fd, &self->big, self->big.length);
	EXPECT_EQ((int)((self->big.length + (1ULL << 31) - 1) >> 31),
		  ask(fd).nr);
	close(buffer);
	EXPECT_EQ(0, released());

	ASSERT_EQ(0, pci_unbind(self->bdf));
	EXPECT_EQ(1, ask(fd).notified);
	EXPECT_EQ(1, released());
	EXPECT_EQ(-ENODEV, say(fd, "map both"));
	ASSERT_EQ(0, pci_bind(self->bdf, MODULE));
	close(fd);
	EXPECT_EQ(1, released());
}

TEST_F(export, unbound)
{
	int fd[3], i;
	char *p[3];

	for (i = 0; i < 3; i++) {
		fd[i] = export(self->bdf, self->bar, i * page, 2 * page);
		ASSERT_LE(0, fd[i]);
		p[i] = map(fd[i], 2 * page);
		ASSERT_NE(MAP_FAILED, (void *)p[i]);
		fill(p[i], 2 * page, i);
	}
	ASSERT_EQ(0, pci_unbind(self->bdf));
	EXPECT_EQ(3, released());
	EXPECT_EQ(-ENXIO, export(self->bdf, self->bar, 0, page));
	for (i = 0; i < 3; i++) {
		expect_revoked(_metadata, fd[i], p[i], 2 * page);
		munmap(p[i], 2 * page);
		close(fd[i]);
	}
	EXPECT_EQ(3, released());
	ASSERT_EQ(0, pci_bind(self->bdf, MODULE));
}

TEST_HARNESS_MAIN
