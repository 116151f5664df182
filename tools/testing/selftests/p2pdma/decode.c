// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that doesn't answer: an administrator turns a device's memory decoding
 * off or resets the device while memory of it is mapped and allocated, or the
 * memory ignores writes.
 *
 * The provider is a device of the test module.  One device of the lab ignores
 * writes and reads as all ones, as a device does that doesn't answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define LENGTH		(1 * MiB)

static size_t page;

static int heap_of(const char *bdf)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/dma_heap/p2pmem-%s", bdf);
	wait_for((fd = open(path, O_RDWR | O_CLOEXEC)) >= 0, 10);
	return fd;
}

/* Published memory, mapped from p2pmem/allocate (@p) and from the heap (@q) */
FIXTURE(decode)
{
	char bdf[BDF_LEN];
	int bar;
	struct bar big;
	int heap, buffer;
	char *p, *q;
};

FIXTURE_SETUP(decode)
{
	const char *why;

	page = sysconf(_SC_PAGESIZE);
	why = test_device(self->bdf, &self->bar, &self->big);
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, test_add(self->bdf, self->bar, 0, 0));
	ASSERT_EQ(0, test_call(self->bdf, "publish", "1"));

	self->p = p2pmem_map(self->bdf, LENGTH);
	ASSERT_NE(MAP_FAILED, (void *)self->p);
	self->heap = heap_of(self->bdf);
	ASSERT_LE(0, self->heap);
	self->buffer = heap_allocate(self->heap, LENGTH, O_RDWR);
	ASSERT_LE(0, self->buffer);
	self->q = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED,
		       self->buffer, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->q);
	fill(self->p, LENGTH, 1);
	fill(self->q, LENGTH, 2);
}

FIXTURE_TEARDOWN(decode)
{
	munmap(self->p, LENGTH);
	munmap(self->q, LENGTH);
	close(self->buffer);
	close(self->heap);
	if (p2pmem_exists(self->bdf))
		EXPECT_TRUE(wait_for(p2pmem_number(self->bdf, "available") ==
				     (long long)self->big.length, 10));
	EXPECT_EQ(0, module_unload());
}

static int set_decoding(const char *bdf, bool on)
{
	int config = pci_config_open(bdf), error;

	if (config < 0)
		return config;
	error = pci_config_change(config, PCI_COMMAND, PCI_COMMAND_MEMORY,
				  on ? PCI_COMMAND_MEMORY : 0);
	close(config);
	return error;
}

/* Can all of the rest be mapped, and is it zeroed? */
static void expect_new(struct __test_metadata *_metadata,
		       FIXTURE_DATA(decode) * self)
{
	size_t rest = self->big.length - 2 * LENGTH;
	char *p;

	/* The memory of a file is freed a little after close(). */
	ASSERT_TRUE(wait_for(p2pmem_number(self->bdf, "available") ==
			     (long long)rest, 10));
	p = p2pmem_map(self->bdf, rest);
	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ(-1, first_nonzero(p, rest));
	fill(p, rest, 3);
	EXPECT_EQ(-1, first_wrong(p, rest, 3));
	EXPECT_EQ(-1, first_wrong(self->p, LENGTH, 1));
	EXPECT_EQ(-1, first_wrong(self->q, LENGTH, 2));
	munmap(p, rest);
}

/* Only writes while decoding is off are lost. */
TEST_F(decode, off_and_on)
{
	void *unmapped = p2pmem_map(self->bdf, LENGTH);
	int closed = heap_allocate(self->heap, LENGTH, O_RDWR);

	ASSERT_NE(MAP_FAILED, unmapped);
	ASSERT_LE(0, closed);
	fill(unmapped, LENGTH, 4);
	ASSERT_EQ(0, set_decoding(self->bdf, false));
	EXPECT_TRUE(can_touch(self->p));
	EXPECT_TRUE(can_touch(self->q));
	/* A device may read as all ones; QEMU's reads as zeros. */
	EXPECT_EQ(0, first_wrong(self->p, LENGTH, 1));
	EXPECT_EQ(0, first_wrong(self->q, LENGTH, 2));
	clear(self->p, LENGTH);
	clear(self->q, LENGTH);
	munmap(unmapped, LENGTH);
	close(closed);

	ASSERT_EQ(0, set_decoding(self->bdf, true));
	EXPECT_EQ(-1, first_wrong(self->p, LENGTH, 1));
	EXPECT_EQ(-1, first_wrong(self->q, LENGTH, 2));
	expect_new(_metadata, self);
}

/* The driver may be unbound while decoding is off. */
TEST_F(decode, off_and_unbound)
{
	ASSERT_EQ(0, set_decoding(self->bdf, false));
	ASSERT_EQ(0, pci_unbind(self->bdf));
	EXPECT_FALSE(can_touch(self->p));
	EXPECT_FALSE(can_touch(self->q));
	EXPECT_EQ(-ENODEV, heap_allocate(self->heap, page, O_RDWR));
	ASSERT_EQ(0, set_decoding(self->bdf, true));
	ASSERT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
	EXPECT_FALSE(can_touch(self->p));
	EXPECT_FALSE(can_touch(self->q));
}

/* The PCI core restores config space after a reset. */
TEST_F(decode, reset)
{
	char path[PATH_MAX];
	int i;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset",
		 self->bdf);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, file_write(path, "1"));
		/* QEMU's device keeps its memory. */
		expect_new(_metadata, self);
	}
}

/* A device whose memory can't be cleared */
FIXTURE(silent)
{
	char bdf[BDF_LEN];
	struct bar memory;
};

#define BAR		2		/* ivshmem's memory */

static bool reads_as_ones(const char *bdf)
{
	char path[PATH_MAX];
	__u64 *word;
	bool ones;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource%d", bdf,
		 BAR);
	fd = open(path, O_RDWR | O_CLOEXEC);
	word = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (word == MAP_FAILED)
		return false;
	ones = __atomic_load_n(word, __ATOMIC_RELAXED) == ~0ULL;
	munmap(word, page);
	return ones;
}

FIXTURE_SETUP(silent)
{
	struct devices all;
	struct bar bars[6];
	int i;

	page = sysconf(_SC_PAGESIZE);
	if (getuid())
		SKIP(return, "needs root");
	ASSERT_EQ(0, module_load());
	find_test_devices(&all);
	for (i = 0; i < all.nr; i++)
		if (reads_as_ones(all.name[i]))
			snprintf(self->bdf, BDF_LEN, "%s", all.name[i]);
	if (!*self->bdf) {
		module_unload();
		SKIP(return, "no device whose memory reads as all ones");
	}
	ASSERT_EQ(0, pci_bars(self->bdf, bars));
	self->memory = bars[BAR];
	ASSERT_EQ(0, test_add(self->bdf, BAR, 0, 0));
	ASSERT_EQ(0, test_call(self->bdf, "publish", "1"));
}

FIXTURE_TEARDOWN(silent)
{
	EXPECT_EQ((long long)self->memory.length,
		  p2pmem_number(self->bdf, "available"));
	EXPECT_EQ(0, module_unload());
}

/* Memory that can't be cleared isn't given out: it may hold another's data. */
TEST_F(silent, map)
{
	const size_t sizes[] = { page, self->memory.length };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		errno = 0;
		EXPECT_EQ(MAP_FAILED, p2pmem_map(self->bdf, sizes[i]));
		EXPECT_EQ(EIO, errno) TH_LOG("%zu: %m", sizes[i]);
	}
}

TEST_F(silent, heap)
{
	int heap = heap_of(self->bdf);

	ASSERT_LE(0, heap);
	EXPECT_EQ(-EIO, heap_allocate(heap, page, O_RDWR));
	EXPECT_EQ(-EIO, heap_allocate(heap, self->memory.length, O_RDWR));
	close(heap);
}

TEST_HARNESS_MAIN
