// SPDX-License-Identifier: GPL-2.0
/*
 * O_DIRECT I/O between NVMe disks and memory of a process that lives on a device
 * (device private memory), with the driver samples/p2pdma/p2pdma_gpu.c and an
 * ivshmem as the device: data in both directions, compared at both ends; what
 * must take the usual way, by system memory; and what can happen to the memory
 * while I/O is in flight. Where the lab traces DMA from outside, it is asked
 * which addresses the controller got. Where the devices can't reach each other,
 * I/O must be refused, and work once a CPU has touched the memory.
 *
 * Writes to the first and to the last disk in P2PDMA_SCRATCH. I/O in flight is
 * that of the last one, which may be a slow one for this.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "../../../../samples/p2pdma/p2pdma_samples.h"
#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define KiB		1024UL
#define PAGE		4096UL
#define DRIVER		"p2pdma_gpu"
#define QUEUE		16
#define PIECE		(64 * KiB)
#define SIZE		(QUEUE * PIECE)
#define PAGES		((long)(SIZE / PAGE))
#define DISK_OFFSET	(1 * MiB)	/* where tests write */
#define LAST_ROUND	100		/* of a race that must happen by then */
#define HIGHMEM		"/sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem"

/* What all tests have: the device, a disk, memory that is to live on the device */
struct setup {
	char bdf[BDF_LEN];
	int gpu;		/* file of the device */
	int disk;		/* O_DIRECT, as the next */
	int slow;
	char *memory;
	char *system;		/* memory that stays in the system */
	long long available;	/* memory of the device without any use */
};

static char *map(size_t length)
{
	return mmap(NULL, length, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* Number of pages that have moved, or -errno */
static long migrate(int gpu, unsigned long request, void *start, size_t size)
{
	struct p2pdma_gpu_range range = {
		.start = (unsigned long)start,
		.size = size,
	};

	return ioctl(gpu, request, &range) ? -errno : (long)range.pages;
}

static long to_device(const struct setup *s, void *start, size_t size)
{
	return migrate(s->gpu, P2PDMA_GPU_TO_DEVICE, start, size);
}

static long to_system(const struct setup *s, void *start, size_t size)
{
	return migrate(s->gpu, P2PDMA_GPU_TO_SYSTEM, start, size);
}

static bool disk_fill(const struct setup *s, __u64 seed)
{
	fill(s->system, SIZE, seed);
	return pwrite(s->disk, s->system, SIZE, DISK_OFFSET) == (ssize_t)SIZE;
}

static bool disk_has(const struct setup *s, __u64 seed)
{
	clear(s->system, SIZE);
	return pread(s->disk, s->system, SIZE, DISK_OFFSET) == (ssize_t)SIZE &&
	       first_wrong(s->system, SIZE, seed) == -1;
}

/* All of the memory with data, and on the device? */
static bool memory_fill(const struct setup *s, __u64 seed)
{
	fill(s->memory, SIZE, seed);
	return to_device(s, s->memory, SIZE) == PAGES;
}

static bool memory_has(const struct setup *s, __u64 seed)
{
	return first_wrong(s->memory, SIZE, seed) == -1;
}

static ssize_t memory_read(const struct setup *s)
{
	return pread(s->disk, s->memory, SIZE, DISK_OFFSET);
}

static ssize_t memory_write(const struct setup *s)
{
	return pwrite(s->disk, s->memory, SIZE, DISK_OFFSET);
}

/* Is all of the device's memory free? That of I/O is so a little after its end. */
static bool all_free(const struct setup *s)
{
	return wait_for(p2pmem_number(s->bdf, "available") == s->available, 20);
}

static int open_device(struct setup *s)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/p2pdma-gpu-%s", s->bdf);
	s->gpu = open(path, O_RDWR | O_CLOEXEC);
	return s->gpu < 0 ? -errno : 0;
}

/* NULL, or why not */
static const char *set_up(struct setup *s)
{
	struct devices bound;
	struct disks disks;

	scratch_disks(&disks);
	if (!disks.nr)
		return "no disk in P2PDMA_SCRATCH";
	if (getuid())
		return "needs root";
	if (module_probe("", DRIVER))
		return "no module " DRIVER " (CONFIG_SAMPLE_P2PDMA_GPU)";
	find_bound(DRIVER, &bound);
	if (!bound.nr) {
		module_unload_named(DRIVER);
		return "no ivshmem without a driver";
	}

	/* The tests check these. */
	snprintf(s->bdf, sizeof(s->bdf), "%s", bound.name[0]);
	open_device(s);
	s->disk = open(disks.path[0], O_RDWR | O_DIRECT | O_CLOEXEC);
	s->slow = open(disks.path[disks.nr - 1], O_RDWR | O_DIRECT | O_CLOEXEC);
	s->memory = map(SIZE);
	s->system = map(SIZE);
	s->available = p2pmem_number(s->bdf, "available");
	return NULL;
}

/* The driver must get all its memory back, and go. */
static const char *tear_down(struct setup *s)
{
	const char *wrong = NULL;

	munmap(s->memory, SIZE);
	if (!all_free(s))
		wrong = "memory of the device isn't freed";
	close(s->gpu);
	close(s->disk);
	close(s->slow);
	if (module_unload_named(DRIVER))
		wrong = "the module can't be unloaded";
	return wrong;
}

static void expect_set_up(struct __test_metadata *_metadata, struct setup *s)
{
	ASSERT_LE(0, s->gpu);
	ASSERT_LE(0, s->disk);
	ASSERT_LE(0, s->slow);
	ASSERT_NE(MAP_FAILED, (void *)s->memory);
	ASSERT_NE(MAP_FAILED, (void *)s->system);
	ASSERT_LE((long long)(2 * SIZE), s->available);
}

/* ---- The route of data, as traced outside of the guest ---- */

struct traced {
	long long peer;		/* bytes at addresses in a BAR */
	long long other;
};

static bool trace_begin(void)
{
	char answer[128];

	return !lab(answer, sizeof(answer), "dma-begin");
}

static bool trace_end(struct traced *found)
{
	return !traced(&found->peer, &found->other);
}

/* ---- Where devices reach each other ---- */

FIXTURE(direct)
{
	struct setup s;
};

FIXTURE_SETUP(direct)
{
	const char *missing = set_up(&self->s);

	if (missing)
		SKIP(return, "%s", missing);
	expect_set_up(_metadata, &self->s);
	if (!*expected_route() || is_refused())
		SKIP(return, "P2PDMA_ROUTE names no route");
}

FIXTURE_TEARDOWN(direct)
{
	EXPECT_EQ(NULL, tear_down(&self->s));
}

/* The disk gets addresses in the BAR, for private memory and for no other. */
TEST_F(direct, no_byte_elsewhere)
{
	struct setup *s = &self->s;
	struct traced found;

	ASSERT_TRUE(memory_fill(s, 1));
	ASSERT_TRUE(trace_begin());
	EXPECT_EQ((ssize_t)SIZE, memory_write(s));
	ASSERT_TRUE(trace_end(&found));
	EXPECT_EQ((long long)SIZE, found.peer);
	EXPECT_EQ(0, found.other);
	EXPECT_TRUE(disk_has(s, 1));

	ASSERT_TRUE(disk_fill(s, 2));
	ASSERT_TRUE(trace_begin());
	EXPECT_EQ((ssize_t)SIZE, memory_read(s));
	ASSERT_TRUE(trace_end(&found));
	EXPECT_EQ((long long)SIZE, found.peer);
	EXPECT_EQ(0, found.other);

	/* All of it is still there; touched, it is in the system. */
	EXPECT_EQ(PAGES, to_system(s, s->memory, SIZE));
	EXPECT_TRUE(memory_has(s, 2));
	ASSERT_TRUE(trace_begin());
	EXPECT_EQ((ssize_t)SIZE, memory_read(s));
	ASSERT_TRUE(trace_end(&found));
	EXPECT_EQ(0, found.peer);
	EXPECT_EQ((long long)SIZE, found.other);
}

TEST_F(direct, read_and_write)
{
	struct setup *s = &self->s;

	ASSERT_TRUE(memory_fill(s, 11));
	EXPECT_EQ((ssize_t)SIZE, memory_write(s));
	EXPECT_TRUE(disk_has(s, 11));
	ASSERT_TRUE(disk_fill(s, 12));
	EXPECT_EQ((ssize_t)SIZE, memory_read(s));
	/* I/O didn't bring it back, and this does. */
	EXPECT_EQ(s->available - (long long)SIZE,
		  p2pmem_number(s->bdf, "available"));
	EXPECT_TRUE(memory_has(s, 12));
	EXPECT_TRUE(all_free(s));
}

static const struct part {
	size_t offset;
	size_t length;
} parts[] = {
	{ 0, 512 }, { 512, 512 }, { 3584, 1024 }, { 4096, 4096 },
	{ 4608, 8192 }, { 1024, 65 * KiB }, { 0, SIZE - PAGE },
};

/* Parts of pages; what is around stays. */
TEST_F(direct, parts)
{
	struct setup *s = &self->s;
	const struct part *part;
	size_t end;

	ASSERT_TRUE(disk_fill(s, 21));
	for (part = parts; part < parts + ARRAY_SIZE(parts); part++) {
		end = part->offset + part->length;
		clear(s->memory, SIZE);
		ASSERT_EQ(PAGES, to_device(s, s->memory, SIZE));
		EXPECT_EQ((ssize_t)part->length,
			  pread(s->disk, s->memory + part->offset, part->length,
				DISK_OFFSET));
		EXPECT_EQ(PAGES, to_system(s, s->memory, SIZE));
		EXPECT_EQ(-1, first_wrong(s->memory + part->offset,
					  part->length, 21))
			TH_LOG("%zu at %zu", part->length, part->offset);
		EXPECT_EQ(-1, first_nonzero(s->memory, part->offset));
		EXPECT_EQ(-1, first_nonzero(s->memory + end, SIZE - end));
	}
}

/* Each access brings back its page and no other. */
TEST_F(direct, touched)
{
	struct setup *s = &self->s;

	ASSERT_TRUE(memory_fill(s, 31));
	ASSERT_TRUE(disk_fill(s, 32));
	EXPECT_EQ((ssize_t)SIZE, memory_read(s));
	EXPECT_TRUE(can_touch(s->memory + 5 * PAGE));
	EXPECT_EQ(0, to_system(s, s->memory + 5 * PAGE, PAGE));
	s->memory[9 * PAGE]++;
	s->memory[9 * PAGE]--;
	EXPECT_EQ(0, to_system(s, s->memory + 9 * PAGE, PAGE));
	/* Part of it is in the system. */
	EXPECT_EQ((ssize_t)SIZE, memory_write(s));
	EXPECT_TRUE(disk_has(s, 32));
	EXPECT_EQ(PAGES - 2, to_system(s, s->memory, SIZE));
	EXPECT_TRUE(memory_has(s, 32));
}

/*
 * Two processes that touch the same pages at the same time, after a fork, and
 * neither is kept from its page by the other.
 */
TEST_F(direct, touched_at_once)
{
	const int rounds = times(10);
	struct setup *s = &self->s;
	int i, status, *ready;
	pid_t child;

	ready = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)ready);
	for (i = 1; i <= rounds; i++) {
		ASSERT_TRUE(memory_fill(s, i));
		child = fork();
		__atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(ready, __ATOMIC_SEQ_CST) < 2 * i)
			sched_yield();
		if (!child)
			_exit(!memory_has(s, i));
		EXPECT_TRUE(memory_has(s, i));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_EQ(0, status);
	}
}

/* Memory that has never been touched is zero, whatever was there before. */
TEST_F(direct, zero)
{
	struct setup *s = &self->s;
	char *zero = map(SIZE);

	ASSERT_TRUE(memory_fill(s, 41));
	munmap(s->memory, SIZE);
	s->memory = zero;
	EXPECT_EQ(PAGES, to_device(s, zero, SIZE));
	EXPECT_EQ((ssize_t)SIZE, memory_write(s));
	EXPECT_EQ((ssize_t)SIZE, pread(s->disk, s->system, SIZE, DISK_OFFSET));
	EXPECT_EQ(-1, first_nonzero(s->system, SIZE));
}

TEST_F(direct, moved_mapping)
{
	struct setup *s = &self->s;
	char *to;

	ASSERT_TRUE(memory_fill(s, 51));
	to = map(SIZE);
	ASSERT_EQ((void *)to, mremap(s->memory, SIZE, SIZE,
				     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	s->memory = to;
	EXPECT_EQ((ssize_t)SIZE, memory_write(s));
	EXPECT_TRUE(disk_has(s, 51));
	ASSERT_TRUE(disk_fill(s, 52));
	EXPECT_EQ((ssize_t)SIZE, memory_read(s));
	EXPECT_EQ(PAGES, to_system(s, to, SIZE));
	EXPECT_TRUE(memory_has(s, 52));
}

/*
 * MADV_FREE lets the kernel drop pages that weren't written since; what the disk
 * has written counts as written.
 */
TEST_F(direct, written_after_madv_free)
{
	struct setup *s = &self->s;

	fill(s->memory, SIZE, 61);
	ASSERT_EQ(0, madvise(s->memory, SIZE, MADV_FREE));
	ASSERT_EQ(PAGES, to_device(s, s->memory, SIZE));
	ASSERT_TRUE(disk_fill(s, 62));
	EXPECT_EQ((ssize_t)SIZE, memory_read(s));
	EXPECT_EQ(PAGES, to_system(s, s->memory, SIZE));
	EXPECT_EQ(0, madvise(s->memory, SIZE, MADV_PAGEOUT));
	EXPECT_TRUE(memory_has(s, 62));

	/* Such pages are dropped indeed. */
	fill(s->memory, SIZE, 63);
	ASSERT_EQ(0, madvise(s->memory, SIZE, MADV_FREE));
	EXPECT_EQ(0, madvise(s->memory, SIZE, MADV_PAGEOUT));
	EXPECT_FALSE(memory_has(s, 63));
}

/* ---- What takes the usual way, by system memory ---- */

TEST_F(direct, not_writable)
{
	struct setup *s = &self->s;

	ASSERT_TRUE(memory_fill(s, 71));
	ASSERT_EQ(0, mprotect(s->memory, SIZE, PROT_READ));
	errno = 0;
	EXPECT_EQ(-1, memory_read(s));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ((ssize_t)SIZE, memory_write(s));
	EXPECT_EQ(0, to_system(s, s->memory, SIZE));
	EXPECT_TRUE(disk_has(s, 71));
	EXPECT_TRUE(memory_has(s, 71));
	ASSERT_EQ(0, mprotect(s->memory, SIZE, PROT_READ | PROT_WRITE));
}

/* After a fork, both have their own. */
TEST_F(direct, forked)
{
	struct setup *s = &self->s;
	int go[2], status;
	pid_t child;
	char byte;

	ASSERT_TRUE(memory_fill(s, 81));
	ASSERT_EQ(0, pipe(go));
	child = fork();
	if (!child) {
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		if (memory_write(s) != (ssize_t)SIZE || !disk_has(s, 81))
			_exit(2);
		_exit(memory_has(s, 81) ? 0 : 3);
	}
	ASSERT_TRUE(disk_fill(s, 82));
	EXPECT_EQ((ssize_t)SIZE, memory_read(s));
	EXPECT_EQ(0, to_system(s, s->memory, SIZE));
	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(memory_has(s, 82));
}

/* Long-term pins, and users of pages that don't know of peer memory */
TEST_F(direct, long_term_pins)
{
	struct setup *s = &self->s;
	struct iovec iov = { s->memory, SIZE };
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct io_uring ring;

	ASSERT_TRUE(memory_fill(s, 91));
	ASSERT_TRUE(disk_fill(s, 92));
	ASSERT_EQ(0, io_uring_queue_init(QUEUE, &ring, 0));
	ASSERT_EQ(0, io_uring_register_buffers(&ring, &iov, 1));
	EXPECT_EQ(0, to_system(s, s->memory, SIZE));
	EXPECT_TRUE(memory_has(s, 91));
	/* Pinned, they stay. */
	EXPECT_EQ(0, to_device(s, s->memory, SIZE));

	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_read_fixed(sqe, s->disk, s->memory, SIZE, DISK_OFFSET, 0);
	ASSERT_EQ(1, io_uring_submit(&ring));
	ASSERT_EQ(0, io_uring_wait_cqe(&ring, &cqe));
	EXPECT_EQ((int)SIZE, cqe->res);
	io_uring_cqe_seen(&ring, cqe);
	io_uring_queue_exit(&ring);
	EXPECT_TRUE(memory_has(s, 92));
}

TEST_F(direct, vmsplice)
{
	struct setup *s = &self->s;
	struct iovec iov = { s->memory, 8 * PAGE };
	char data[8 * PAGE];
	int fd[2];

	ASSERT_TRUE(memory_fill(s, 101));
	ASSERT_EQ(0, pipe(fd));
	ASSERT_EQ((ssize_t)sizeof(data), vmsplice(fd[1], &iov, 1, 0));
	EXPECT_EQ(PAGES - 8, to_system(s, s->memory, SIZE));
	ASSERT_EQ((ssize_t)sizeof(data), read(fd[0], data, sizeof(data)));
	EXPECT_EQ(0, memcmp(data, s->memory, sizeof(data)));
	EXPECT_TRUE(memory_has(s, 101));
	close(fd[0]);
	close(fd[1]);
}

/* ---- The interface ---- */

TEST_F(direct, bad_ranges)
{
	struct setup *s = &self->s;
	char *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *gone = map(2 * PAGE);

	munmap(gone + PAGE, PAGE);
	fill(s->memory, SIZE, 111);
	EXPECT_EQ(-EINVAL, to_device(s, s->memory + 1, PAGE));
	EXPECT_EQ(-EINVAL, to_device(s, s->memory, PAGE + 1));
	EXPECT_EQ(-EINVAL, to_device(s, s->memory, 0));
	EXPECT_EQ(-EINVAL, to_device(s, s->memory, -PAGE));
	EXPECT_EQ(-EINVAL, to_device(s, shared, PAGE));
	EXPECT_EQ(-EFAULT, to_device(s, gone, 2 * PAGE));
	EXPECT_EQ(-EFAULT, to_system(s, gone + PAGE, PAGE));
	EXPECT_EQ(-EFAULT, ioctl(s->gpu, P2PDMA_GPU_TO_DEVICE, NULL) ?
			   -errno : 0);
	EXPECT_EQ(-ENOTTY, ioctl(s->gpu, P2PDMA_EXPORT, NULL) ? -errno : 0);
	EXPECT_EQ(0, to_system(s, s->memory, SIZE));
	EXPECT_TRUE(memory_has(s, 111));
	munmap(gone, PAGE);
}

/* More memory than the device has: the rest stays in the system. */
TEST_F(direct, exhausted)
{
	struct setup *s = &self->s;
	size_t size = s->available + SIZE;
	struct p2pdma_gpu_range range;
	char *large = map(size);

	ASSERT_NE(MAP_FAILED, (void *)large);
	fill(large, size, 121);
	range.start = (unsigned long)large;
	range.size = size;
	EXPECT_EQ(-1, ioctl(s->gpu, P2PDMA_GPU_TO_DEVICE, &range));
	EXPECT_EQ(ENOMEM, errno);
	EXPECT_EQ(s->available, (long long)(range.pages * PAGE));
	EXPECT_EQ(0, p2pmem_number(s->bdf, "available"));
	EXPECT_EQ(-1, first_wrong(large, size, 121));
	munmap(large, size);
}

struct failing {
	struct setup *s;
	unsigned long request;
};

static int migrate_all(void *data)
{
	struct failing *failing = data;
	long ret = migrate(failing->s->gpu, failing->request,
			   failing->s->memory, 4 * PAGE);

	return ret < 0 ? ret : 0;
}

/* Without memory in the system, pages stay where they are. */
TEST_F(direct, no_memory)
{
	static const unsigned long requests[] = {
		P2PDMA_GPU_TO_DEVICE, P2PDMA_GPU_TO_SYSTEM
	};
	struct setup *s = &self->s;
	struct failing failing = { .s = s };
	int i, nth, ret, refused = 0;
	bool failed;

	if (!inject_faults(true))
		SKIP(return, "no fault injection in this kernel");
	/* Pages of programs count, too. */
	ASSERT_EQ(0, file_write(HIGHMEM, "N"));
	fill(s->memory, SIZE, 131);
	for (i = 0; i < (int)ARRAY_SIZE(requests); i++) {
		failing.request = requests[i];
		for (nth = 1, failed = true; failed && nth < 100; nth++) {
			ret = call_failing(nth, migrate_all, &failing, &failed);
			EXPECT_TRUE(ret == 0 || ret == -ENOMEM) TH_LOG("%d", ret);
			refused += ret == -ENOMEM;
		}
		EXPECT_FALSE(failed);
		EXPECT_EQ(0, ret);
	}
	EXPECT_LT(0, refused);
	EXPECT_TRUE(memory_has(s, 131));
}

/* ---- I/O in flight ---- */

/* In an order in which the block layer finds nothing to merge */
static int submit(struct io_uring *ring, const struct setup *s, bool write)
{
	struct io_uring_sqe *sqe;
	int i;

	for (i = 0; i < QUEUE; i++) {
		off_t at = i * 5 % QUEUE * PIECE;

		sqe = io_uring_get_sqe(ring);
		if (write)
			io_uring_prep_write(sqe, s->disk, s->memory + at, PIECE,
					    DISK_OFFSET + at);
		else
			io_uring_prep_read(sqe, s->disk, s->memory + at, PIECE,
					   DISK_OFFSET + at);
	}
	return io_uring_submit(ring) == QUEUE ? 0 : -EIO;
}

static int wait_all(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int i, error = 0;

	for (i = 0; i < QUEUE; i++) {
		if (io_uring_wait_cqe(ring, &cqe))
			return -EIO;
		if (cqe->res != (int)PIECE)
			error = cqe->res < 0 ? cqe->res : -EIO;
		io_uring_cqe_seen(ring, cqe);
	}
	return error;
}

static bool is_in_flight(struct io_uring *ring)
{
	return io_uring_cq_ready(ring) < QUEUE;
}

struct flight {
	struct setup s;
	struct io_uring ring;
	int round;
	int seen;		/* rounds in which I/O was in flight */
};

FIXTURE(in_flight)
{
	struct flight f;
};

FIXTURE_SETUP(in_flight)
{
	struct flight *f = &self->f;
	const char *missing = set_up(&f->s);

	if (missing)
		SKIP(return, "%s", missing);
	expect_set_up(_metadata, &f->s);
	if (!*expected_route() || is_refused())
		SKIP(return, "P2PDMA_ROUTE names no route");
	close(f->s.disk);
	f->s.disk = dup(f->s.slow);
	ASSERT_LE(0, f->s.disk);
	ASSERT_EQ(0, io_uring_queue_init(QUEUE, &f->ring, 0));
	f->round = 0;
	f->seen = 0;
}

FIXTURE_TEARDOWN(in_flight)
{
	io_uring_queue_exit(&self->f.ring);
	EXPECT_EQ(NULL, tear_down(&self->f.s));
}

/* At least some rounds, and then until I/O was in flight */
static bool another_round(struct flight *f, int rounds)
{
	f->round++;
	return f->round <= times(rounds) ||
	       (!f->seen && f->round <= LAST_ROUND);
}

/* The memory on the device, and a read of other data from the disk begun? */
static bool begin(struct flight *f)
{
	return disk_fill(&f->s, 2 * f->round + 1) &&
	       memory_fill(&f->s, 2 * f->round) &&
	       !submit(&f->ring, &f->s, false);
}

static bool has_read(struct flight *f)
{
	return memory_has(&f->s, 2 * f->round + 1);
}

/* Memory that is given up is free only after the I/O. */
TEST_F(in_flight, dontneed)
{
	struct flight *f = &self->f;
	struct setup *s = &f->s;
	char *next = map(SIZE);

	while (another_round(f, 10)) {
		ASSERT_TRUE(begin(f));
		ASSERT_EQ(0, madvise(s->memory, SIZE, MADV_DONTNEED));
		f->seen += p2pmem_number(s->bdf, "available") < s->available;
		/* Other memory on the device isn't that of the I/O. */
		ASSERT_EQ(PAGES, to_device(s, next, SIZE));
		EXPECT_EQ(-1, first_nonzero(s->memory, SIZE));
		ASSERT_EQ(0, wait_all(&f->ring));
		EXPECT_EQ(-1, first_nonzero(next, SIZE));
		EXPECT_EQ(-1, first_nonzero(s->memory, SIZE));
		ASSERT_TRUE(all_free(s));
	}
	TH_LOG("I/O was in flight in %d rounds", f->seen);
	EXPECT_LT(0, f->seen);
	munmap(next, SIZE);
}

TEST_F(in_flight, munmap)
{
	struct flight *f = &self->f;
	struct setup *s = &f->s;

	while (another_round(f, 10)) {
		ASSERT_TRUE(begin(f));
		munmap(s->memory, SIZE);
		f->seen += p2pmem_number(s->bdf, "available") < s->available;
		ASSERT_EQ(0, wait_all(&f->ring));
		ASSERT_TRUE(all_free(s));
		s->memory = map(SIZE);
	}
	TH_LOG("I/O was in flight in %d rounds", f->seen);
	EXPECT_LT(0, f->seen);
}

TEST_F(in_flight, mremap)
{
	struct flight *f = &self->f;
	struct setup *s = &f->s;
	char *to;

	while (another_round(f, 10)) {
		ASSERT_TRUE(begin(f));
		to = map(SIZE);
		f->seen += is_in_flight(&f->ring);
		ASSERT_EQ((void *)to, mremap(s->memory, SIZE, SIZE,
					     MREMAP_MAYMOVE | MREMAP_FIXED,
					     to));
		s->memory = to;
		/* Waits for the I/O */
		EXPECT_TRUE(has_read(f));
		ASSERT_EQ(0, wait_all(&f->ring));
	}
	TH_LOG("I/O was in flight in %d rounds", f->seen);
	EXPECT_LT(0, f->seen);
}

/* A process ends while its I/O is in flight. */
TEST_F(in_flight, exit)
{
	struct flight *f = &self->f;
	struct setup *s = &f->s;
	struct io_uring ring;
	pid_t child;
	int status;

	while (another_round(f, 10)) {
		child = fork();
		if (!child) {
			if (!memory_fill(s, 1) ||
			    io_uring_queue_init(QUEUE, &ring, 0) ||
			    submit(&ring, s, true))
				_exit(2);
			_exit(is_in_flight(&ring));
		}
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_TRUE(WIFEXITED(status));
		ASSERT_GT(2, WEXITSTATUS(status));
		f->seen += WEXITSTATUS(status);
		ASSERT_TRUE(all_free(s));
	}
	TH_LOG("I/O was in flight in %d rounds", f->seen);
	EXPECT_LT(0, f->seen);
}

/*
 * The parent gets all data that the disk wrote; the child may see it or not, and
 * nothing else.
 */
TEST_F(in_flight, fork)
{
	struct flight *f = &self->f;
	struct setup *s = &f->s;
	char *before = map(SIZE), *after = map(SIZE);
	pid_t child;
	int status;
	size_t at;

	while (another_round(f, 5)) {
		fill(before, SIZE, 2 * f->round);
		fill(after, SIZE, 2 * f->round + 1);
		ASSERT_TRUE(begin(f));
		f->seen += is_in_flight(&f->ring);
		child = fork();
		if (!child) {
			for (at = 0; at < SIZE; at += 512)
				if (memcmp(s->memory + at, before + at, 512) &&
				    memcmp(s->memory + at, after + at, 512))
					_exit(1);
			_exit(0);
		}
		EXPECT_TRUE(has_read(f));
		/* Writes of the one aren't seen by the other. */
		fill(s->memory, SIZE, 2 * f->round + 1);
		ASSERT_EQ(0, wait_all(&f->ring));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_EQ(0, status);
		EXPECT_TRUE(has_read(f));
	}
	TH_LOG("I/O was in flight in %d rounds", f->seen);
	EXPECT_LT(0, f->seen);
}

/* Pages with I/O aren't moved on demand. */
TEST_F(in_flight, migration)
{
	struct flight *f = &self->f;
	struct setup *s = &f->s;
	long moved;

	while (another_round(f, 20)) {
		ASSERT_TRUE(begin(f));
		moved = to_system(s, s->memory, SIZE);
		f->seen += moved < PAGES;
		ASSERT_EQ(0, wait_all(&f->ring));
		/* The last pins may be dropped a little later. */
		EXPECT_TRUE(wait_for((moved += to_system(s, s->memory, SIZE)) ==
				     PAGES, 20));
		EXPECT_TRUE(has_read(f));
	}
	TH_LOG("I/O was in flight in %d rounds", f->seen);
	EXPECT_LT(0, f->seen);
}

/* A CPU that touches a page waits for its I/O, from the last piece on. */
TEST_F(in_flight, touch)
{
	struct flight *f = &self->f;
	struct setup *s = &f->s;
	int wrong;
	size_t at;

	while (another_round(f, 10)) {
		ASSERT_TRUE(begin(f));
		f->seen += is_in_flight(&f->ring);
		fill(s->system, SIZE, 2 * f->round + 1);
		for (at = SIZE, wrong = 0; at; at -= PAGE)
			wrong += !!memcmp(s->memory + at - PAGE,
					  s->system + at - PAGE, PAGE);
		EXPECT_EQ(0, wrong);
		ASSERT_EQ(0, wait_all(&f->ring));
	}
	TH_LOG("I/O was in flight in %d rounds", f->seen);
	EXPECT_LT(0, f->seen);
}

/* The driver leaves: the data comes back, after the I/O. */
TEST_F(in_flight, unbind)
{
	struct flight *f = &self->f;
	struct setup *s = &f->s;

	while (another_round(f, 5)) {
		ASSERT_TRUE(begin(f));
		f->seen += is_in_flight(&f->ring);
		ASSERT_EQ(0, pci_unbind(s->bdf));
		EXPECT_TRUE(has_read(f));
		ASSERT_EQ(0, wait_all(&f->ring));
		EXPECT_EQ(-ENODEV, to_device(s, s->memory, SIZE));
		/* In the system, I/O works as ever. */
		EXPECT_EQ((ssize_t)SIZE, memory_write(s));

		close(s->gpu);
		ASSERT_EQ(0, pci_bind(s->bdf, DRIVER));
		ASSERT_EQ(0, open_device(s));
	}
	TH_LOG("I/O was in flight in %d rounds", f->seen);
	EXPECT_LT(0, f->seen);
}

/* ---- Migration, and I/O all the time ---- */

struct io {
	const struct setup *s;
	int disk;
	size_t length;		/* of one request */
	bool write;
	bool done;
	bool wrong;
};

#define RACE		(8 * PAGE)	/* bytes of a round */

static void *do_io(void *data)
{
	struct io *io = data;
	ssize_t n;
	size_t at;

	for (at = 0; at < RACE && !io->wrong; at += io->length) {
		n = io->write ? pwrite(io->disk, io->s->memory + at, io->length,
				       DISK_OFFSET + at) :
				pread(io->disk, io->s->memory + at, io->length,
				      DISK_OFFSET + at);
		io->wrong = n != (ssize_t)io->length;
	}
	__atomic_store_n(&io->done, true, __ATOMIC_RELEASE);
	return NULL;
}

struct moves {
	long there;
	long back;
	long busy;		/* moved neither there nor back, for I/O */
	long touched;
};

/* Migrate page by page, and touch some, until the I/O is done. */
static void move_around(const struct setup *s, struct io *io,
			unsigned int *random, struct moves *moves)
{
	char *page;
	long back;

	do {
		page = s->memory + rand_r(random) % (RACE / PAGE) * PAGE;
		moves->there += to_device(s, page, PAGE);
		switch (rand_r(random) % 4) {
		case 0:
			moves->touched += can_touch(page);
			break;
		case 1:
		case 2:
			back = to_system(s, page, PAGE);
			moves->back += back;
			moves->busy += !back;
			break;
		default:
			break;
		}
	} while (!__atomic_load_n(&io->done, __ATOMIC_ACQUIRE));
}

/*
 * In each round the disk reads or writes memory that is migrated meanwhile, and
 * every byte is compared.
 */
TEST_F_TIMEOUT(direct, migration_against_io, 3600)
{
	const int rounds = times(300);
	struct setup *s = &self->s;
	unsigned int random = 1;
	struct moves moves = {};
	pthread_t thread;
	int round;

	for (round = 0; round < rounds; round++) {
		struct io io = {
			.s = s,
			.disk = round % 32 < 2 ? s->slow : s->disk,
			.length = RACE / (1 << (round / 2 % 4)),
			.write = round % 2,
		};

		fill(s->system, RACE, 2 * round);
		fill(s->memory, RACE, 2 * round + 1);
		if (!io.write)
			ASSERT_EQ((ssize_t)RACE, pwrite(io.disk, s->system,
							RACE, DISK_OFFSET));
		to_device(s, s->memory, RACE);
		ASSERT_EQ(0, pthread_create(&thread, NULL, do_io, &io));
		move_around(s, &io, &random, &moves);
		ASSERT_EQ(0, pthread_join(thread, NULL));
		ASSERT_FALSE(io.wrong);

		if (io.write)
			ASSERT_EQ((ssize_t)RACE, pread(io.disk, s->system, RACE,
						       DISK_OFFSET));
		ASSERT_EQ(-1, first_wrong(io.write ? s->system : s->memory, RACE,
					  2 * round + io.write))
			TH_LOG("round %d", round);
		ASSERT_EQ(-1, first_wrong(io.write ? s->memory : s->system, RACE,
					  2 * round + io.write));
	}
	TH_LOG("%d rounds: %ld pages moved there, %ld back, %ld touched, %ld busy",
	       rounds, moves.there, moves.back, moves.touched, moves.busy);
	EXPECT_LT(0, moves.back);
	EXPECT_LT(0, moves.touched);
	EXPECT_LT(0, moves.busy);
}

static bool stop_touching;

static void *touch_all(void *data)
{
	const struct setup *s = data;
	size_t at;

	while (!__atomic_load_n(&stop_touching, __ATOMIC_ACQUIRE)) {
		to_device(s, s->memory, RACE);
		for (at = 0; at < RACE; at += PAGE)
			can_touch(s->memory + at);
	}
	return NULL;
}

/*
 * One request with many parts in one page. Who touches the page meanwhile waits
 * for the request, which must not wait for that.
 */
TEST_F(direct, page_again_and_again)
{
	struct setup *s = &self->s;
	const int rounds = times(100);
	struct iovec iov[RACE / 512];
	pthread_t thread;
	int i, round;

	fill(s->system, RACE, 141);
	ASSERT_EQ((ssize_t)RACE, pwrite(s->disk, s->system, RACE, DISK_OFFSET));
	/* The parts of a page lie far from each other in the request. */
	for (i = 0; i < (int)ARRAY_SIZE(iov); i++) {
		iov[i].iov_base = s->memory + i % 8 * PAGE + i / 8 * 512;
		iov[i].iov_len = 512;
	}
	stop_touching = false;
	ASSERT_EQ(0, pthread_create(&thread, NULL, touch_all, s));
	for (round = 0; round < rounds; round++)
		EXPECT_EQ((ssize_t)RACE, preadv(s->disk, iov, ARRAY_SIZE(iov),
						DISK_OFFSET));
	__atomic_store_n(&stop_touching, true, __ATOMIC_RELEASE);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	for (i = 0; i < (int)ARRAY_SIZE(iov); i++)
		EXPECT_EQ(0, memcmp(iov[i].iov_base, s->system + i * 512, 512));
}

/* ---- Where there is no route ---- */

FIXTURE(refused)
{
	struct setup s;
};

FIXTURE_SETUP(refused)
{
	const char *missing = set_up(&self->s);

	if (missing)
		SKIP(return, "%s", missing);
	expect_set_up(_metadata, &self->s);
	if (!is_refused())
		SKIP(return, "P2PDMA_ROUTE isn't \"refused\"");
}

FIXTURE_TEARDOWN(refused)
{
	EXPECT_EQ(NULL, tear_down(&self->s));
}

TEST_F(refused, read)
{
	struct setup *s = &self->s;

	ASSERT_TRUE(disk_fill(s, 1));
	ASSERT_TRUE(memory_fill(s, 2));
	errno = 0;
	EXPECT_EQ(-1, memory_read(s));
	EXPECT_EQ(EREMOTEIO, errno);
	/* Nothing has changed, and now a CPU has touched it. */
	EXPECT_TRUE(memory_has(s, 2));
	EXPECT_EQ((ssize_t)SIZE, memory_read(s));
	EXPECT_TRUE(memory_has(s, 1));
}

TEST_F(refused, write)
{
	struct setup *s = &self->s;

	ASSERT_TRUE(disk_fill(s, 11));
	ASSERT_TRUE(memory_fill(s, 12));
	errno = 0;
	EXPECT_EQ(-1, memory_write(s));
	EXPECT_EQ(EREMOTEIO, errno);
	EXPECT_TRUE(disk_has(s, 11));
	EXPECT_TRUE(memory_has(s, 12));
	EXPECT_EQ((ssize_t)SIZE, memory_write(s));
	EXPECT_TRUE(disk_has(s, 12));
}

TEST_HARNESS_MAIN
