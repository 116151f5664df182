// SPDX-License-Identifier: GPL-2.0
/*
 * A module that isn't the device's driver registers a BAR, puts page map
 * operations of its own over the core's, maps the pages to programs itself, and
 * removes them by devm_memunmap_pages() when it is unloaded, as GPU vendors'
 * modules do (see test_modules/p2pdma_gpu_test.c).  It can be loaded and
 * unloaded any number of times, whatever the bound driver does in between, and
 * each time the pages, their operations and the device's other memory are as
 * expected.
 *
 * The bound driver is p2pdma_test.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define MODULE		"p2pdma_gpu_test"
#define LENGTH		(256 * 1024UL)
#define ROUNDS		5

static long page;

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
	module_unload_named(MODULE);
	EXPECT_EQ(0, module_unload());
	EXPECT_FALSE(p2pmem_exists(self->bdf));
}

static int load(FIXTURE_DATA(gpu) * self)
{
	char parameters[64];

	snprintf(parameters, sizeof(parameters), "device=%s bar=%d", self->bdf,
		 self->bar);
	return module_load_with(MODULE, parameters);
}

static long long freed(void)
{
	return file_number("/sys/module/" MODULE "/parameters/freed");
}

/* A mapping of the module's pages, or MAP_FAILED */
static void *map_pages(size_t length)
{
	int fd = open("/dev/" MODULE, O_RDWR | O_CLOEXEC);
	void *p;

	if (fd < 0)
		return MAP_FAILED;
	p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p;
}

/* Maps pages and has the module get them back: NULL, or what is wrong. */
static const char *use_pages(void)
{
	long long before = freed();
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
	if (freed() != before + (long long)LENGTH / page)
		wrong = "doesn't come back to the module";
	munmap(q, LENGTH);
	return wrong;
}

TEST_F(gpu, loaded_again)
{
	const char *wrong;
	int round;

	for (round = 0; round < ROUNDS; round++) {
		ASSERT_EQ(0, load(self)) TH_LOG("round %d", round);
		wrong = use_pages();
		EXPECT_EQ(NULL, wrong) TH_LOG("round %d: %s", round, wrong);
		EXPECT_EQ(0, p2pmem_number(self->bdf, "published"));
		ASSERT_EQ(0, module_unload_named(MODULE));
	}
}

TEST_F(gpu, driver_unbound_between_loads)
{
	const char *wrong;
	int round;

	for (round = 0; round < ROUNDS; round++) {
		ASSERT_EQ(0, load(self)) TH_LOG("round %d", round);
		wrong = use_pages();
		EXPECT_EQ(NULL, wrong) TH_LOG("round %d: %s", round, wrong);
		ASSERT_EQ(0, module_unload_named(MODULE));
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
		ASSERT_EQ(0, load(self)) TH_LOG("round %d", round);
		wrong = use_pages();
		EXPECT_EQ(NULL, wrong) TH_LOG("round %d: %s", round, wrong);
		ASSERT_EQ(0, pci_unbind(self->bdf));
		EXPECT_FALSE(p2pmem_exists(self->bdf));
		EXPECT_EQ(MAP_FAILED, map_pages(LENGTH));
		EXPECT_EQ(ENODEV, errno);
		ASSERT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
		ASSERT_EQ(0, module_unload_named(MODULE));
	}
}

/*
 * After the module is unloaded nothing can be allocated from the pool, and the
 * driver may register the same range: it gets pages with the core's operations.
 */
TEST_F(gpu, driver_registers_next)
{
	void *p;

	ASSERT_EQ(0, load(self));
	ASSERT_EQ(0, module_unload_named(MODULE));
	EXPECT_EQ(-ENOMEM, test_call(self->bdf, "alloc", "%ld", page));

	ASSERT_EQ(0, test_add(self->bdf, self->bar, 0, 0));
	EXPECT_EQ(0, test_call(self->bdf, "alloc", "%ld", page));
	ASSERT_EQ(0, test_call(self->bdf, "publish", "1"));
	p = p2pmem_map(self->bdf, LENGTH);
	ASSERT_NE(MAP_FAILED, p);
	fill(p, LENGTH, 3);
	EXPECT_EQ(-1, first_wrong(p, LENGTH, 3));
	munmap(p, LENGTH);
	EXPECT_EQ((long long)self->big.length,
		  p2pmem_number(self->bdf, "available"));
	EXPECT_EQ((long long)self->big.length,
		  p2pmem_number(self->bdf, "size"));

	/* Now the range is taken. */
	EXPECT_EQ(-EBUSY, load(self));
	EXPECT_EQ(0, test_call(self->bdf, "alloc", "%ld", page));
}

/* Only the whole range can be registered again, until the driver is rebound. */
TEST_F(gpu, driver_registers_a_part)
{
	__u64 half = self->big.length / 2;

	ASSERT_EQ(0, load(self));
	ASSERT_EQ(0, module_unload_named(MODULE));
	EXPECT_EQ(-EBUSY, test_add(self->bdf, self->bar, half, 0));
	EXPECT_EQ(-EBUSY, test_add(self->bdf, self->bar, half, half));
	EXPECT_EQ(0, load(self));
	ASSERT_EQ(0, module_unload_named(MODULE));

	ASSERT_EQ(0, pci_unbind(self->bdf));
	ASSERT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
	EXPECT_EQ(0, test_add(self->bdf, self->bar, half, half));
	EXPECT_EQ(0, test_call(self->bdf, "alloc", "%ld", page));
}

TEST_HARNESS_MAIN
