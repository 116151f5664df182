// SPDX-License-Identifier: GPL-2.0
/*
 * A module that isn't the device's driver registers a BAR, puts page map
 * operations of its own over the core's, sets page counts, maps the pages to
 * programs itself, and removes them by devm_memunmap_pages() when it is unloaded,
 * as GPU vendors' modules do (see test_modules/p2pdma_gpu_test.c).  It can be
 * loaded and unloaded any number of times, whatever the bound driver does in
 * between, and each time the pages, their operations and the device's other
 * memory are as expected.
 *
 * A disk reads and writes the pages by O_DIRECT.  The module waits for I/O that is
 * in flight when it takes pages back; then the I/O is done, and its data is right.
 * Data is compared at both ends: on the disk through system memory, and in the BAR
 * through the device's resource file.
 *
 * I/O is tested with a second module, too, which allocates the pages of the BAR by
 * p2pdma_add_pages() (test_modules/p2pdma_pages_test.c): programs and disks notice no
 * difference.
 *
 * The bound driver is p2pdma_test.  Writes to the disks in P2PDMA_SCRATCH and to no
 * other.
 */
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define WORKAROUND	"p2pdma_gpu_test"
#define PAGES		"p2pdma_pages_test"
#define LENGTH		(256 * 1024UL)
#define ROUNDS		5

/*
 * O_DIRECT: this many requests at once, which aren't adjacent, nor large, so that
 * the block layer passes them on all together
 */
#define QUEUE		32
#define PIECE		(64 * 1024UL)
#define BUFFER		(QUEUE * PIECE)
#define DISK_OFFSET	((off_t)MiB)
#define SLOW		((long)(4 * MiB))	/* bytes per second */
#define SLOW_ROUNDS	2

static long page;
static const char *module = WORKAROUND;

FIXTURE(gpu)
{
	char bdf[BDF_LEN];
	int bar;
	struct bar big;
};

FIXTURE_SETUP(gpu)
{
	const char *why;

	page = sysconf(_SC_PAGESIZE);
	why = test_device(self->bdf, &self->bar, &self->big);
	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(gpu)
{
	module_unload_named(module);
	EXPECT_EQ(0, module_unload());
	EXPECT_FALSE(p2pmem_exists(self->bdf));
}

static int load(const char *bdf, int bar)
{
	char parameters[64];

	snprintf(parameters, sizeof(parameters), "device=%s bar=%d", bdf, bar);
	return module_load_with(module, parameters);
}

static long long count(const char *what)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", module,
		 what);
	return file_number(path);
}

static int open_module(void)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/dev/%s", module);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* A mapping of the module's pages, or MAP_FAILED */
static void *map_pages(size_t length)
{
	int fd = open_module();
	size_t at;
	char *p;

	if (fd < 0)
		return MAP_FAILED;
	p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	/* One of the modules gives a page on the first access. */
	for (at = 0; p != MAP_FAILED && at < length; at += page)
		clear(p + at, sizeof(__u64));
	return p;
}

/* Maps pages and has the module get them back: NULL, or what is wrong. */
static const char *use_pages(void)
{
	long long before = count("freed");
	void *p, *q;
	const char *wrong = NULL;

	p = map_pages(LENGTH);
	q = map_pages(LENGTH);
	if (p == MAP_FAILED || q == MAP_FAILED)
		return "can't be mapped";
	fill(p, LENGTH, 1);
	fill(q, LENGTH, 2);
	if (first_wrong(p, LENGTH, 1) != -1 || first_wrong(q, LENGTH, 2) != -1)
		wrong = "doesn't keep what is written";
	munmap(p, LENGTH);
	if (count("freed") != before + (long long)LENGTH / page)
		wrong = "doesn't come back to the module";
	munmap(q, LENGTH);
	return wrong;
}

TEST_F(gpu, loaded_again)
{
	const char *wrong;
	int round;

	for (round = 0; round < ROUNDS; round++) {
		ASSERT_EQ(0, load(self->bdf, self->bar)) TH_LOG("round %d", round);
		wrong = use_pages();
		EXPECT_EQ(NULL, wrong) TH_LOG("round %d: %s", round, wrong);
		EXPECT_EQ(0, p2pmem_number(self->bdf, "published"));
		ASSERT_EQ(0, module_unload_named(module));
	}
}

/* The module finds the pages that it gets back as it left them, and free. */
TEST_F(gpu, pages_taken_again)
{
	size_t length = self->big.length / 4 * 3;
	char *p;
	int i;

	ASSERT_EQ(0, load(self->bdf, self->bar));
	for (i = 1; i <= 3; i++) {
		p = map_pages(length);
		ASSERT_NE(MAP_FAILED, (void *)p);
		EXPECT_EQ((long long)length / page, count("out"));
		EXPECT_EQ(MAP_FAILED, map_pages(length));
		EXPECT_EQ(ENOMEM, errno);
		munmap(p, length);
		EXPECT_EQ(0, count("out"));
		/* Of the mapping that failed, a quarter of the BAR was taken. */
		EXPECT_EQ(i * (long long)self->big.length / page,
			  count("freed"));
	}
	ASSERT_EQ(0, module_unload_named(module));
}

TEST_F(gpu, driver_unbound_between_loads)
{
	const char *wrong;
	int round;

	for (round = 0; round < ROUNDS; round++) {
		ASSERT_EQ(0, load(self->bdf, self->bar)) TH_LOG("round %d", round);
		wrong = use_pages();
		EXPECT_EQ(NULL, wrong) TH_LOG("round %d: %s", round, wrong);
		ASSERT_EQ(0, module_unload_named(module));
		ASSERT_EQ(0, pci_unbind(self->bdf));
		EXPECT_FALSE(p2pmem_exists(self->bdf));
		ASSERT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
	}
}

/* Unbinding the driver removes the pages, and the module is told. */
TEST_F(gpu, driver_unbound_while_loaded)
{
	const char *wrong;
	int round;

	for (round = 0; round < ROUNDS; round++) {
		ASSERT_EQ(0, load(self->bdf, self->bar)) TH_LOG("round %d", round);
		wrong = use_pages();
		EXPECT_EQ(NULL, wrong) TH_LOG("round %d: %s", round, wrong);
		ASSERT_EQ(0, pci_unbind(self->bdf));
		EXPECT_FALSE(p2pmem_exists(self->bdf));
		EXPECT_EQ(MAP_FAILED, map_pages(LENGTH));
		EXPECT_EQ(ENODEV, errno);
		ASSERT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
		ASSERT_EQ(0, module_unload_named(module));
	}
}

/*
 * After the module is unloaded nothing can be allocated from the pool, and the
 * driver may register the same range: it gets pages with the core's operations.
 */
TEST_F(gpu, driver_registers_next)
{
	void *p;

	ASSERT_EQ(0, load(self->bdf, self->bar));
	ASSERT_EQ(0, module_unload_named(module));
	EXPECT_EQ(-ENOMEM, test_call(self->bdf, "alloc", "%ld", page));

	ASSERT_EQ(0, test_add(self->bdf, self->bar, 0, 0));
	EXPECT_EQ(0, test_call(self->bdf, "alloc", "%ld", page));
	ASSERT_EQ(0, test_call(self->bdf, "publish", "1"));
	p = p2pmem_map(self->bdf, LENGTH);
	ASSERT_NE(MAP_FAILED, p);
	fill(p, LENGTH, 3);
	EXPECT_EQ(-1, first_wrong(p, LENGTH, 3));
	munmap(p, LENGTH);
}

/* Memory that is registered again is counted once, and is then taken. */
TEST_F(gpu, driver_registers_all)
{
	ASSERT_EQ(0, load(self->bdf, self->bar));
	ASSERT_EQ(0, module_unload_named(module));
	ASSERT_EQ(0, test_add(self->bdf, self->bar, 0, 0));
	EXPECT_EQ((long long)self->big.length,
		  p2pmem_number(self->bdf, "available"));
	EXPECT_EQ((long long)self->big.length,
		  p2pmem_number(self->bdf, "size"));
	EXPECT_EQ(-EBUSY, load(self->bdf, self->bar));
	EXPECT_EQ(0, test_call(self->bdf, "alloc", "%ld", page));
}

/* Only the whole range can be registered again, until the driver is rebound. */
TEST_F(gpu, driver_registers_a_part)
{
	__u64 half = self->big.length / 2;

	ASSERT_EQ(0, load(self->bdf, self->bar));
	ASSERT_EQ(0, module_unload_named(module));
	EXPECT_EQ(-EBUSY, test_add(self->bdf, self->bar, half, 0));
	EXPECT_EQ(-EBUSY, test_add(self->bdf, self->bar, half, half));
	EXPECT_EQ(0, load(self->bdf, self->bar));
	ASSERT_EQ(0, module_unload_named(module));

	ASSERT_EQ(0, pci_unbind(self->bdf));
	ASSERT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
	EXPECT_EQ(0, test_add(self->bdf, self->bar, half, half));
	EXPECT_EQ(0, test_call(self->bdf, "alloc", "%ld", page));
}

/*
 * The core shows the memory of the module, and gives it to nobody but who asks for
 * memory of this device in the kernel.
 */
TEST_F(gpu, beside_the_core)
{
	ASSERT_EQ(0, load(self->bdf, self->bar));
	EXPECT_EQ((long long)self->big.length,
		  p2pmem_number(self->bdf, "size"));
	EXPECT_EQ((long long)self->big.length,
		  p2pmem_number(self->bdf, "available"));
	EXPECT_EQ(0, p2pmem_number(self->bdf, "published"));
	EXPECT_EQ(0, test_call(self->bdf, "alloc", "%ld", page));
	EXPECT_EQ((long long)self->big.length,
		  p2pmem_number(self->bdf, "available"));
	EXPECT_EQ(NULL, use_pages());
	ASSERT_EQ(0, module_unload_named(module));
}

TEST_F(gpu, not_for_programs)
{
	char heap[PATH_MAX];

	ASSERT_EQ(0, load(self->bdf, self->bar));
	EXPECT_EQ(MAP_FAILED, p2pmem_map(self->bdf, page));
	EXPECT_EQ(ENODEV, errno);
	snprintf(heap, sizeof(heap), "/dev/dma_heap/p2pmem-%s", self->bdf);
	EXPECT_NE(0, access(heap, F_OK));
	EXPECT_EQ(NULL, use_pages());
	ASSERT_EQ(0, module_unload_named(module));
}

FIXTURE(direct)
{
	char bdf[BDF_LEN];
	int bar;
	int disk;		/* O_DIRECT */
	char path[NAME_MAX];	/* its */
	char *system;		/* memory, for the other end of transfers */
	char *vram;		/* the BAR, by the resource file */
	io_context_t ctx;
	__u64 seed;
};

FIXTURE_VARIANT(direct)
{
	const char *module;
	bool write;		/* to the disk */
};

FIXTURE_VARIANT_ADD(direct, disk_to_gpu)
{
	.module = WORKAROUND,
	.write = false,
};

FIXTURE_VARIANT_ADD(direct, gpu_to_disk)
{
	.module = WORKAROUND,
	.write = true,
};

FIXTURE_VARIANT_ADD(direct, disk_to_pages)
{
	.module = PAGES,
	.write = false,
};

FIXTURE_VARIANT_ADD(direct, pages_to_disk)
{
	.module = PAGES,
	.write = true,
};

FIXTURE_SETUP(direct)
{
	struct disks disks;
	struct bar big;
	const char *why;

	page = sysconf(_SC_PAGESIZE);
	module = variant->module;
	scratch_disks(&disks);
	if (!disks.nr)
		SKIP(return, "no disk in P2PDMA_SCRATCH");
	snprintf(self->path, sizeof(self->path), "%s", disks.path[0]);
	why = test_device(self->bdf, &self->bar, &big);
	if (why)
		SKIP(return, "%s", why);
	self->disk = open(self->path, O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, self->disk) TH_LOG("%s", self->path);
	self->system = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->system);
	self->vram = pci_bar_map(self->bdf, self->bar, BUFFER);
	ASSERT_NE(MAP_FAILED, (void *)self->vram);
	ASSERT_EQ(0, io_setup(QUEUE, &self->ctx));
}

FIXTURE_TEARDOWN(direct)
{
	if (have_lab())
		EXPECT_EQ(0, disk_limit(self->path, 0));
	io_destroy(self->ctx);
	munmap(self->vram, BUFFER);
	close(self->disk);
	module_unload_named(module);
	EXPECT_EQ(0, module_unload());
}

/*
 * After the module was loaded, the first mapping is the start of the BAR.  Puts
 * data at the end of the transfer that is read, and clears the other one.
 */
static bool prepare(FIXTURE_DATA(direct) * self, bool write)
{
	self->seed++;
	if (write) {
		fill(self->vram, BUFFER, self->seed);
		clear(self->system, BUFFER);
	} else {
		clear(self->vram, BUFFER);
		fill(self->system, BUFFER, self->seed);
	}
	return pwrite(self->disk, self->system, BUFFER, DISK_OFFSET) ==
	       (ssize_t)BUFFER;
}

/* Did all of the data arrive? */
static bool arrived(FIXTURE_DATA(direct) * self, bool write)
{
	if (!write)
		return first_wrong(self->vram, BUFFER, self->seed) == -1;
	clear(self->system, BUFFER);
	return pread(self->disk, self->system, BUFFER, DISK_OFFSET) ==
	       (ssize_t)BUFFER &&
	       first_wrong(self->system, BUFFER, self->seed) == -1;
}

static bool start(FIXTURE_DATA(direct) * self, char *p, bool write)
{
	struct iocb iocb[QUEUE], *list[QUEUE];
	size_t at;
	int i;

	for (i = 0; i < QUEUE; i++) {
		at = i * 5 % QUEUE * PIECE;
		list[i] = &iocb[i];
		if (write)
			io_prep_pwrite(list[i], self->disk, p + at, PIECE,
				       DISK_OFFSET + at);
		else
			io_prep_pread(list[i], self->disk, p + at, PIECE,
				      DISK_OFFSET + at);
	}
	return io_submit(self->ctx, QUEUE, list) == QUEUE;
}

/* Requests of start() that have ended by now, or that one has failed: -EIO */
static int ended(FIXTURE_DATA(direct) * self)
{
	struct timespec now = {};
	struct io_event event[QUEUE];
	int i, n;

	n = io_getevents(self->ctx, 0, QUEUE, event, &now);
	for (i = 0; i < n; i++)
		if (event[i].res != PIECE)
			return -EIO;
	return n;
}

/* The module gets all pages back: 1, or -1 */
static int reclaim(void)
{
	int fd = open_module(), n = write(fd, "1", 1);

	close(fd);
	return n;
}

static char *load_and_map(FIXTURE_DATA(direct) * self)
{
	return load(self->bdf, self->bar) ? MAP_FAILED : map_pages(BUFFER);
}

/* As traced outside of the guest, all data goes to the BAR or comes from there. */
TEST_F(direct, no_byte_elsewhere)
{
	long long peer, other;
	char answer[128], *p;
	ssize_t n;

	if (!route_is_traced())
		SKIP(return, "no lab that traces DMA on this route");
	p = load_and_map(self);
	ASSERT_NE(MAP_FAILED, (void *)p);
	ASSERT_TRUE(prepare(self, variant->write));
	ASSERT_EQ(0, lab(answer, sizeof(answer), "dma-begin"));
	n = variant->write ? pwrite(self->disk, p, BUFFER, DISK_OFFSET) :
			     pread(self->disk, p, BUFFER, DISK_OFFSET);
	EXPECT_EQ((ssize_t)BUFFER, n);
	ASSERT_EQ(0, traced(&peer, &other));
	EXPECT_EQ((long long)BUFFER, peer);
	EXPECT_EQ(0, other);
	EXPECT_TRUE(arrived(self, variant->write));
	if (!variant->write)
		EXPECT_EQ(-1, first_wrong(p, BUFFER, self->seed));

	munmap(p, BUFFER);
	EXPECT_EQ(0, count("out"));
	EXPECT_EQ((long long)BUFFER / page, count("freed"));
}

/* The module takes pages back that programs have mapped, with I/O in flight. */
TEST_F(direct, reclaimed)
{
	int round, before;
	char *p;

	if (!have_lab())
		SKIP(return, "no lab that limits the disk");
	for (round = 0; round < times(SLOW_ROUNDS); round++) {
		p = load_and_map(self);
		ASSERT_NE(MAP_FAILED, (void *)p);
		ASSERT_TRUE(prepare(self, variant->write));
		ASSERT_EQ(0, disk_limit(self->path, SLOW));
		ASSERT_TRUE(start(self, p, variant->write));
		before = ended(self);
		ASSERT_LE(0, before);
		ASSERT_EQ(1, reclaim());
		EXPECT_LT(0, count("pinned"));
		EXPECT_EQ(0, count("out"));
		EXPECT_EQ(QUEUE - before, ended(self));
		ASSERT_EQ(0, disk_limit(self->path, 0));
		EXPECT_TRUE(arrived(self, variant->write));

		/* The pages are gone; one of the modules gives others. */
		if (!strcmp(module, PAGES)) {
			EXPECT_TRUE(can_touch(p));
			EXPECT_EQ(1, count("out"));
		} else {
			EXPECT_FALSE(can_touch(p));
			EXPECT_EQ(-1, pwrite(self->disk, p, PIECE, DISK_OFFSET));
			EXPECT_EQ(EFAULT, errno);
		}
		munmap(p, BUFFER);
		EXPECT_EQ(NULL, use_pages());
		ASSERT_EQ(0, module_unload_named(module));
	}
}

/* Unloading waits for I/O to pages that aren't mapped any more. */
TEST_F(direct, unloaded)
{
	int round, before;
	char *p;

	if (!have_lab())
		SKIP(return, "no lab that limits the disk");
	for (round = 0; round < times(SLOW_ROUNDS); round++) {
		p = load_and_map(self);
		ASSERT_NE(MAP_FAILED, (void *)p);
		ASSERT_TRUE(prepare(self, variant->write));
		ASSERT_EQ(0, disk_limit(self->path, SLOW));
		ASSERT_TRUE(start(self, p, variant->write));
		munmap(p, BUFFER);
		before = ended(self);
		ASSERT_LE(0, before);
		EXPECT_LT(0, count("out"));
		ASSERT_EQ(0, module_unload_named(module));
		EXPECT_EQ(QUEUE - before, ended(self));
		ASSERT_EQ(0, disk_limit(self->path, 0));
		EXPECT_TRUE(arrived(self, variant->write));
	}
}

/* So does unbinding the driver, with pages mapped. */
TEST_F(direct, driver_unbound)
{
	int round, before;
	char *p, *idle;

	if (!have_lab())
		SKIP(return, "no lab that limits the disk");
	for (round = 0; round < times(SLOW_ROUNDS); round++) {
		p = load_and_map(self);
		ASSERT_NE(MAP_FAILED, (void *)p);
		idle = map_pages(LENGTH);
		ASSERT_NE(MAP_FAILED, (void *)idle);
		ASSERT_TRUE(prepare(self, variant->write));
		ASSERT_EQ(0, disk_limit(self->path, SLOW));
		ASSERT_TRUE(start(self, p, variant->write));
		before = ended(self);
		ASSERT_LE(0, before);
		ASSERT_EQ(0, pci_unbind(self->bdf));
		EXPECT_LT(0, count("pinned"));
		EXPECT_EQ(0, count("out"));
		EXPECT_EQ(QUEUE - before, ended(self));
		ASSERT_EQ(0, disk_limit(self->path, 0));
		EXPECT_TRUE(arrived(self, variant->write));

		EXPECT_FALSE(can_touch(p));
		EXPECT_FALSE(can_touch(idle));
		EXPECT_FALSE(p2pmem_exists(self->bdf));
		munmap(p, BUFFER);
		munmap(idle, LENGTH);
		ASSERT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
		ASSERT_EQ(0, module_unload_named(module));
	}
}

TEST_HARNESS_MAIN
