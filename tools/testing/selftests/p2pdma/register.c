// SPDX-License-Identifier: GPL-2.0
/*
 * pci_p2pdma_add_resource() and the in-kernel interface to the registered
 * memory, called through the test module: refused arguments, their errno, and
 * that they change nothing; several BARs and parts of BARs in one device;
 * concurrent callers; every memory allocation failing in turn; allocation and
 * bus addresses; the helper for configfs.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define DRIVER		"p2pdma_test"
#define UNIT		(2 * MiB)	/* alignment of registered memory */

static size_t page;

/* A test device without a region. */
FIXTURE(device)
{
	char bdf[BDF_LEN];
	int bar;
	struct bar big;
};

FIXTURE_SETUP(device)
{
	const char *why;

	page = sysconf(_SC_PAGESIZE);
	why = test_device(self->bdf, &self->bar, &self->big);
	if (why)
		SKIP(return, "%s", why);
	EXPECT_FALSE(p2pmem_exists(self->bdf));
}

FIXTURE_TEARDOWN(device)
{
	EXPECT_EQ(0, module_unload());
	EXPECT_FALSE(p2pmem_exists(self->bdf));
}

static void start_again(const char *bdf)
{
	pci_unbind(bdf);
	pci_bind(bdf, DRIVER);
}

/* Arguments that are refused for a BAR of @length. */
struct refused {
	const char *name;
	int bar;
	__u64 size, offset;
	int error;
};

#define MAX_REFUSED 40

static int bad_arguments(const char *bdf, int bar, __u64 length,
			 struct refused to[MAX_REFUSED])
{
	const struct refused fixed[] = {
		{ "bar -1",			-1, 0, 0, EINVAL },
		{ "bar 6",			6, 0, 0, EINVAL },
		{ "bar 100",			100, 0, 0, EINVAL },
		{ "nothing after offset",	bar, 0, length, EINVAL },
		{ "offset one page beyond",	bar, 0, length + page, EINVAL },
		{ "offset far beyond",		bar, UNIT, 1ULL << 40, EINVAL },
		{ "offset beyond, with size",	bar, UNIT, length, EINVAL },
		{ "size beyond",		bar, length + UNIT, 0, EINVAL },
		{ "end beyond",			bar, length, UNIT, EINVAL },
		{ "end one unit beyond",	bar, 2 * UNIT, length - UNIT,
		  EINVAL },
		{ "size wraps offset",		bar, UNIT, -UNIT, EINVAL },
		{ "largest size",		bar, UINT64_MAX, 0, EINVAL },
		{ "largest offset",		bar, 0, UINT64_MAX, EINVAL },
		{ "start not aligned: page",	bar, UNIT, page, EINVAL },
		{ "start not aligned: 1 MiB",	bar, UNIT, MiB, EINVAL },
		{ "rest not aligned",		bar, 0, page, EINVAL },
		{ "length not aligned: page",	bar, page, 0, EINVAL },
		{ "length not aligned: 1 MiB",	bar, UNIT + MiB, UNIT, EINVAL },
	};
	int nr = ARRAY_SIZE(fixed), i;
	struct bar bars[6];

	memcpy(to, fixed, sizeof(fixed));
	if (pci_bars(bdf, bars))
		return nr;

	/* The device's other BARs. */
	for (i = 0; i < 6; i++) {
		const char *name = NULL;

		if (!bars[i].length)
			name = "BAR that isn't there";
		else if (bars[i].flags & BAR_IO)
			name = "BAR of I/O ports";
		else if (bars[i].length < UNIT && bars[i].length >= page)
			name = "BAR that is too small";
		if (name)
			to[nr++] = (struct refused){ name, i, 0, 0, EINVAL };
	}
	return nr;
}

TEST_F(device, refused_as_first)
{
	struct refused cases[MAX_REFUSED];
	int i, nr;

	nr = bad_arguments(self->bdf, self->bar, self->big.length, cases);
	for (i = 0; i < nr; i++) {
		EXPECT_EQ(-cases[i].error,
			  test_add(self->bdf, cases[i].bar, cases[i].size,
				   cases[i].offset))
			TH_LOG("%s (bar %d)", cases[i].name, cases[i].bar);
		EXPECT_FALSE(p2pmem_exists(self->bdf)) {
			TH_LOG("%s: p2pmem/ is left", cases[i].name);
			start_again(self->bdf);
		}
	}

	/* Valid arguments are still accepted. */
	EXPECT_EQ(0, test_add(self->bdf, self->bar, 0, 0));
	EXPECT_EQ((long long)self->big.length,
		  p2pmem_number(self->bdf, "size"));
}

/* I/O ports and small or empty BARs of the other test devices. */
TEST_F(device, refused_on_others)
{
	struct refused cases[MAX_REFUSED];
	struct devices all;
	int i, j, nr, fixed;

	fixed = bad_arguments("none", 0, 0, cases);
	find_test_devices(&all);
	for (i = 0; i < all.nr; i++) {
		nr = bad_arguments(all.name[i], 0, 0, cases);
		for (j = fixed; j < nr; j++) {
			EXPECT_EQ(-EINVAL,
				  test_add(all.name[i], cases[j].bar, 0, 0))
				TH_LOG("%s: %s (bar %d)", all.name[i],
				       cases[j].name, cases[j].bar);
			EXPECT_FALSE(p2pmem_exists(all.name[i]));
		}
	}
}

/*
 * A device with two units in use, from UNIT on: refusals leave size, available,
 * a mapping and `allocate` alone.
 */
TEST_F(device, refused_as_second)
{
	const struct refused taken[] = {
		{ "twice the same",	self->bar, 2 * UNIT, UNIT, EBUSY },
		{ "its first half",	self->bar, UNIT, UNIT, EBUSY },
		{ "its second half",	self->bar, UNIT, 2 * UNIT, EBUSY },
		{ "overlap at the start", self->bar, 2 * UNIT, 0, EBUSY },
		{ "overlap at the end",	self->bar, 2 * UNIT, 2 * UNIT, EBUSY },
		{ "all around it",	self->bar, 4 * UNIT, 0, EBUSY },
		{ "the whole BAR",	self->bar, 0, 0, EBUSY },
		{ "the rest from it on", self->bar, 0, 2 * UNIT, EBUSY },
	};
	struct refused cases[MAX_REFUSED];
	void *p, *q;
	int i, nr;

	nr = bad_arguments(self->bdf, self->bar, self->big.length, cases);
	memcpy(&cases[nr], taken, sizeof(taken));
	nr += ARRAY_SIZE(taken);
	ASSERT_LE(nr, MAX_REFUSED);

	ASSERT_EQ(0, test_add(self->bdf, self->bar, 2 * UNIT, UNIT));
	ASSERT_EQ(0, test_call(self->bdf, "publish", "1"));
	p = p2pmem_map(self->bdf, 4 * page);
	ASSERT_NE(MAP_FAILED, p);
	fill(p, 4 * page, 1);

	for (i = 0; i < nr; i++) {
		EXPECT_EQ(-cases[i].error,
			  test_add(self->bdf, cases[i].bar, cases[i].size,
				   cases[i].offset))
			TH_LOG("%s (bar %d)", cases[i].name, cases[i].bar);
		EXPECT_EQ((long long)(2 * UNIT),
			  p2pmem_number(self->bdf, "size"))
			TH_LOG("%s", cases[i].name);
		EXPECT_EQ((long long)(2 * UNIT - 4 * page),
			  p2pmem_number(self->bdf, "available"))
			TH_LOG("%s", cases[i].name);
		EXPECT_EQ(1, p2pmem_number(self->bdf, "published"));

		ASSERT_TRUE(can_touch(p))
			TH_LOG("%s: the mapping is gone", cases[i].name);
		q = p2pmem_map(self->bdf, page);
		EXPECT_NE(MAP_FAILED, q)
			TH_LOG("%s: no mapping: %m", cases[i].name);
		if (q != MAP_FAILED)
			munmap(q, page);
	}
	EXPECT_EQ(-1, first_wrong(p, 4 * page, 1));
	munmap(p, 4 * page);

	/* The unregistered parts can still be added, one by one. */
	EXPECT_EQ(0, test_add(self->bdf, self->bar, UNIT, 0));
	EXPECT_EQ((long long)(3 * UNIT), p2pmem_number(self->bdf, "size"));
	EXPECT_EQ(0, test_add(self->bdf, self->bar, 0, 3 * UNIT));
	EXPECT_EQ((long long)self->big.length,
		  p2pmem_number(self->bdf, "size"));
	EXPECT_EQ((long long)self->big.length,
		  p2pmem_number(self->bdf, "available"));
}

static int set_up_all(const char *bdf, const struct bar bars[6], __u64 *total)
{
	int i, nr = 0, error;

	*total = 0;
	for (i = 0; i < 6; i++) {
		if (!(bars[i].flags & BAR_MEM) || bars[i].length < 2 * UNIT)
			continue;
		error = test_add(bdf, i, UNIT, 0) ?:
			test_add(bdf, i, 0, UNIT);
		if (error)
			return error;
		*total += bars[i].length;
		nr++;
	}
	return nr;
}

/* Is [bus, bus + size) in one of the BARs? */
static bool in_bars(const struct bar bars[6], __u64 bus, __u64 size)
{
	int i;

	for (i = 0; i < 6; i++)
		if (bars[i].flags & BAR_MEM && bus >= bars[i].start &&
		    bus + size <= bars[i].start + bars[i].length)
			return true;
	return false;
}

/* Several BARs, each in two parts; user and kernel get memory of all BARs. */
TEST_F(device, several_bars)
{
	unsigned long long bus;
	struct devices all;
	struct bar bars[6];
	__u64 total;
	char answer[64];
	int i, nr = 0, fd[2];
	void *p;

	find_test_devices(&all);
	for (i = 0; i < all.nr && nr < 2; i++) {
		start_again(all.name[i]);
		ASSERT_EQ(0, pci_bars(all.name[i], bars));
		nr = set_up_all(all.name[i], bars, &total);
		ASSERT_LE(0, nr);
	}
	if (nr < 2)
		SKIP(return, "no test device with two BARs of 4 MiB");
	i--;

	EXPECT_EQ((long long)total, p2pmem_number(all.name[i], "size"));
	EXPECT_EQ(0, test_call(all.name[i], "publish", "1"));
	p = p2pmem_map(all.name[i], total);
	ASSERT_NE(MAP_FAILED, p) TH_LOG("all of several regions: %m");
	EXPECT_EQ(0, p2pmem_number(all.name[i], "available"));
	fill(p, total, 2);
	EXPECT_EQ(-1, first_wrong(p, total, 2));
	munmap(p, total);
	EXPECT_EQ((long long)total, p2pmem_number(all.name[i], "available"));

	/* Kernel allocations are contiguous, but may lie in any region. */
	for (nr = 0; nr < 2; nr++) {
		fd[nr] = test_open(all.name[i], "alloc", "%zu", UNIT);
		ASSERT_LE(0, fd[nr]);
		ASSERT_EQ(0, test_answer(fd[nr], answer, sizeof(answer)));
		bus = strtoull(answer, NULL, 0);
		EXPECT_TRUE(in_bars(bars, bus, UNIT));
	}
	close(fd[0]);
	close(fd[1]);
	EXPECT_EQ((long long)total, p2pmem_number(all.name[i], "available"));
}

/* D5: concurrent callers. */
struct caller {
	pthread_t thread;
	pthread_barrier_t *barrier;
	const char *bdf;
	int bar;
	__u64 offset;
	int error;
};

static void *call_add(void *data)
{
	struct caller *caller = data;

	pthread_barrier_wait(caller->barrier);
	caller->error = test_add(caller->bdf, caller->bar, UNIT,
				 caller->offset);
	return NULL;
}

#define CALLERS	4
#define ROUNDS	10

static void call_at_once(struct caller callers[CALLERS], const char *bdf,
			 int bar, __u64 distance)
{
	pthread_barrier_t barrier;
	int i;

	pthread_barrier_init(&barrier, NULL, CALLERS);
	for (i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller){
			.barrier = &barrier,
			.bdf = bdf,
			.bar = bar,
			.offset = i * distance,
		};
		pthread_create(&callers[i].thread, NULL, call_add, &callers[i]);
	}
	for (i = 0; i < CALLERS; i++)
		pthread_join(callers[i].thread, NULL);
	pthread_barrier_destroy(&barrier);
}

TEST_F(device, callers_at_once)
{
	struct caller callers[CALLERS];
	int i, round;

	for (round = 0; round < times(ROUNDS); round++) {
		call_at_once(callers, self->bdf, self->bar, UNIT);
		for (i = 0; i < CALLERS; i++) {
			EXPECT_EQ(0, callers[i].error)
				TH_LOG("round %d", round);
		}
		ASSERT_EQ((long long)(CALLERS * UNIT),
			  p2pmem_number(self->bdf, "size"))
			TH_LOG("round %d", round);
		start_again(self->bdf);
	}
}

TEST_F(device, callers_at_once_want_the_same)
{
	struct caller callers[CALLERS];
	int i, round, had;

	for (round = 0; round < times(ROUNDS); round++) {
		call_at_once(callers, self->bdf, self->bar, 0);
		for (i = 0, had = 0; i < CALLERS; i++) {
			had += !callers[i].error;
			if (callers[i].error)
				EXPECT_EQ(-EBUSY, callers[i].error);
		}
		EXPECT_EQ(1, had);
		ASSERT_EQ((long long)UNIT, p2pmem_number(self->bdf, "size"))
			TH_LOG("round %d", round);
		start_again(self->bdf);
	}
}

/*
 * D20: each allocation failing in turn. Page allocations are left out: arch
 * code that maps memory doesn't handle a failure to allocate page tables.
 */
struct add {
	int fd;
	char args[64];
};

static int call_add_failing(void *data)
{
	struct add *add = data;

	return write(add->fd, add->args, strlen(add->args)) < 0 ? -errno : 0;
}

/*
 * Registers with the @nth allocation failing: 0 or -errno, and whether there
 * was such an allocation.
 */
static int add_failing(const char *bdf, int bar, __u64 size, __u64 offset,
		       int nth, bool *failed)
{
	char path[PATH_MAX];
	struct add add;
	int error;

	snprintf(path, sizeof(path), TEST_DEBUGFS "%s/add", bdf);
	snprintf(add.args, sizeof(add.args), "%d %#llx %#llx", bar,
		 (unsigned long long)size, (unsigned long long)offset);
	add.fd = open(path, O_WRONLY);
	if (add.fd < 0)
		return -ENODEV;
	error = call_failing(nth, call_add_failing, &add, failed);
	close(add.fd);
	return error;
}

/*
 * Registers @size bytes at @offset, with @before bytes from 0 on already
 * registered; returns how many allocations failed, one in each round.
 */
static int fail_in_turn(struct __test_metadata *_metadata,
			FIXTURE_DATA(device) * self, __u64 before,
			__u64 offset, __u64 size)
{
	bool failed = true;
	int nth, error, fd;

	for (nth = 1; failed; nth++) {
		ASSERT_GT(1000, nth);
		if (before) {
			ASSERT_EQ(0, test_add(self->bdf, self->bar, before, 0));
			ASSERT_EQ(0, test_call(self->bdf, "publish", "1"));
		}
		error = add_failing(self->bdf, self->bar, size, offset, nth,
				    &failed);

		/* It may succeed without an allocation it can do without. */
		if (error) {
			EXPECT_TRUE(failed);
			EXPECT_EQ(-ENOMEM, error) TH_LOG("allocation %d", nth);
			EXPECT_EQ(before ? (long long)before : -ENOENT,
				  p2pmem_number(self->bdf, "size"))
				TH_LOG("allocation %d", nth);
			EXPECT_EQ(before ? (long long)before : -ENOENT,
				  p2pmem_number(self->bdf, "available"))
				TH_LOG("allocation %d", nth);
			fd = p2pmem_open(self->bdf, O_RDWR);
			EXPECT_EQ(before > 0, fd >= 0)
				TH_LOG("allocation %d: open: %d", nth, fd);
			close(fd);

			/* Nothing is left that would make a retry fail. */
			error = test_add(self->bdf, self->bar, size, offset);
			EXPECT_EQ(0, error)
				TH_LOG("allocation %d, next try", nth);
		}
		EXPECT_EQ((long long)(before + size),
			  p2pmem_number(self->bdf, "size"));
		start_again(self->bdf);
		EXPECT_FALSE(p2pmem_exists(self->bdf));
	}
	return nth - 2;
}

static const struct {
	const char *name;
	__u64 before, offset, size;
} failing[] = {
	{ "first region",		0, 0, UNIT },
	{ "second region",		UNIT, UNIT, UNIT },
	{ "apart, odd length",		UNIT, 2 * UNIT, UNIT },
	{ "from the middle, odd length", 0, UNIT, 3 * UNIT },
	/* Its struct pages are made section by section. */
	{ "several sections",		0, UNIT, 130 * MiB },
};

TEST_F_TIMEOUT(device, no_memory, 900)
{
	size_t i;
	int nr;

	if (!inject_faults(false))
		SKIP(return, "no fault injection in this kernel");
	for (i = 0; i < ARRAY_SIZE(failing); i++) {
		if (failing[i].offset + failing[i].size > self->big.length)
			continue;
		nr = fail_in_turn(_metadata, self, failing[i].before,
				  failing[i].offset, failing[i].size);
		TH_LOG("%s: %d allocations failed in turn", failing[i].name,
		       nr);
		EXPECT_LT(2, nr);
	}
}

/* A test device with all its memory registered. */
FIXTURE(memory)
{
	char bdf[BDF_LEN];
	int bar;
	struct bar big;
};

FIXTURE_SETUP(memory)
{
	device_setup(_metadata, (void *)self, NULL);
	if (!_metadata->exit_code)
		ASSERT_EQ(0, test_add(self->bdf, self->bar, 0, 0));
}

FIXTURE_TEARDOWN(memory)
{
	EXPECT_EQ((long long)self->big.length,
		  p2pmem_number(self->bdf, "available"));
	EXPECT_EQ(0, module_unload());
}

TEST_F(memory, allocation)
{
	static const size_t sizes[] = {
		1, 8, 511, 4095, 4096, 4097, 12288, 65536, 65537, MiB, UNIT,
		UNIT + 4096, 4 * MiB,
	};
	unsigned long long bus;
	char answer[64];
	size_t i, taken;
	int fd;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		fd = test_open(self->bdf, "alloc", "%zu", sizes[i]);
		ASSERT_LE(0, fd) TH_LOG("%zu bytes: %d", sizes[i], fd);
		taken = (sizes[i] + page - 1) / page * page;
		EXPECT_EQ((long long)(self->big.length - taken),
			  p2pmem_number(self->bdf, "available"))
			TH_LOG("%zu bytes", sizes[i]);

		/* Bus addresses are CPU addresses in a PC. */
		ASSERT_EQ(0, test_answer(fd, answer, sizeof(answer)));
		bus = strtoull(answer, NULL, 0);
		EXPECT_LE(self->big.start, bus);
		EXPECT_LE(bus + taken, self->big.start + self->big.length);
		EXPECT_EQ(0ULL, bus % page);
		close(fd);
		EXPECT_EQ((long long)self->big.length,
			  p2pmem_number(self->bdf, "available"));
	}
}

TEST_F(memory, allocation_of_all)
{
	unsigned long long length = self->big.length;
	char answer[64];
	int fd;

	EXPECT_EQ(-ENOMEM, test_call(self->bdf, "alloc", "%llu", length + 1));
	EXPECT_EQ(-ENOMEM, test_call(self->bdf, "alloc", "%#lx", ULONG_MAX));

	fd = test_open(self->bdf, "alloc", "%llu", length);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, test_answer(fd, answer, sizeof(answer)));
	EXPECT_EQ(self->big.start, strtoull(answer, NULL, 0));
	EXPECT_EQ(0, p2pmem_number(self->bdf, "available"));
	EXPECT_EQ(-ENOMEM, test_call(self->bdf, "alloc", "1"));
	EXPECT_EQ(-ENOMEM, test_call(self->bdf, "sgl", "1"));
	close(fd);
}

TEST_F(memory, allocations_are_distinct)
{
	unsigned long long bus[32];
	char answer[64];
	int fd[32], i, j;

	for (i = 0; i < 32; i++) {
		fd[i] = test_open(self->bdf, "alloc", "%zu", 3 * page);
		ASSERT_LE(0, fd[i]);
		ASSERT_EQ(0, test_answer(fd[i], answer, sizeof(answer)));
		bus[i] = strtoull(answer, NULL, 0);
		for (j = 0; j < i; j++)
			EXPECT_TRUE(bus[i] >= bus[j] + 3 * page ||
				    bus[j] >= bus[i] + 3 * page);
	}
	/* Freed in another order. */
	for (i = 0; i < 32; i++)
		close(fd[i * 13 % 32]);
}

TEST_F(memory, scatterlist)
{
	unsigned int nents, length;
	unsigned long long bus;
	char answer[64];
	int fd, nr;

	fd = test_open(self->bdf, "sgl", "%zu", 5 * page);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, test_answer(fd, answer, sizeof(answer)));
	nr = sscanf(answer, "%u %u %llx", &nents, &length, &bus);
	ASSERT_EQ(3, nr);
	EXPECT_EQ(1U, nents);
	EXPECT_EQ(5 * page, length);
	EXPECT_LE(self->big.start, bus);
	EXPECT_LE(bus + length, self->big.start + self->big.length);
	EXPECT_EQ((long long)(self->big.length - 5 * page),
		  p2pmem_number(self->bdf, "available"));
	close(fd);
}

/* Memory that isn't the provider's has no bus address. */
TEST_F(memory, foreign_address)
{
	char answer[64];
	int fd;

	fd = test_open(self->bdf, "foreign", "x");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, test_answer(fd, answer, sizeof(answer)));
	EXPECT_STREQ("0x0 0x0", answer);
	close(fd);
}

static void answer_of(const char *bdf, const char *command, const char *args,
		      char *answer, size_t size)
{
	int fd = test_open(bdf, command, "%s", args);

	if (fd < 0)
		snprintf(answer, size, "error %d", -fd);
	else
		test_answer(fd, answer, size);
	if (fd >= 0)
		close(fd);
}

/* Its own memory is nearest to a device, once it is published. */
TEST_F(memory, publish_and_find)
{
	char answer[64];

	EXPECT_EQ(0, p2pmem_number(self->bdf, "published"));
	answer_of("", "find", self->bdf, answer, sizeof(answer));
	EXPECT_STRNE(self->bdf, answer);

	answer_of(self->bdf, "publish", "1", answer, sizeof(answer));
	EXPECT_STREQ("1", answer);
	EXPECT_EQ(1, p2pmem_number(self->bdf, "published"));
	answer_of("", "find", self->bdf, answer, sizeof(answer));
	EXPECT_STREQ(self->bdf, answer);
	answer_of(self->bdf, "distance", self->bdf, answer, sizeof(answer));
	EXPECT_STREQ("0", answer);

	answer_of(self->bdf, "publish", "0", answer, sizeof(answer));
	EXPECT_STREQ("0", answer);
	EXPECT_EQ(0, p2pmem_number(self->bdf, "published"));
	answer_of("", "find", self->bdf, answer, sizeof(answer));
	EXPECT_STRNE(self->bdf, answer);
}

/* Values that configfs attributes accept, and what they then show. */
TEST_F(memory, enable)
{
	static const struct {
		const char *stored, *shown;
	} cases[] = {
		{ "0", "0" },		{ "0\n", "0" },
		{ "n", "0" },		{ "N\n", "0" },
		{ "no", "0" },		{ "off", "0" },
		{ "1", "1" },		{ "1\n", "1" },
		{ "y", "1" },		{ "Y\n", "1" },
		{ "yes", "1" },		{ "on\n", "1" },
		{ "", "error 19" },	{ "\n", "error 19" },
		{ "10", "error 19" },	{ "00", "error 19" },
		{ "0x", "error 19" },	{ "2", "error 19" },
		{ "maybe", "error 19" },
		{ "0000:ff:1f.7", "error 19" },
		{ "0000:ff:1f.7\n", "error 19" },
		{ "1000:00:00.0", "error 19" },
		{ "0000:01:00.1x", "error 19" },
	};
	char name[64], answer[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		/* write() of 0 bytes may not reach the file. */
		if (!*cases[i].stored)
			continue;
		answer_of("", "enable", cases[i].stored, answer,
			  sizeof(answer));
		EXPECT_STREQ(cases[i].shown, answer)
			TH_LOG("stored \"%s\"", cases[i].stored);
	}

	/* A device by its name, if it has published memory. */
	answer_of("", "enable", self->bdf, answer, sizeof(answer));
	EXPECT_STREQ("error 19", answer);
	EXPECT_EQ(0, test_call(self->bdf, "publish", "1"));
	answer_of("", "enable", self->bdf, answer, sizeof(answer));
	EXPECT_STREQ(self->bdf, answer);
	snprintf(name, sizeof(name), "%s\n", self->bdf);
	answer_of("", "enable", name, answer, sizeof(answer));
	EXPECT_STREQ(self->bdf, answer);
	snprintf(name, sizeof(name), "%sx", self->bdf);
	answer_of("", "enable", name, answer, sizeof(answer));
	EXPECT_STREQ("error 19", answer);
}

/* A driver's unbind waits for the memory that kernel users still have. */
TEST_F(memory, unbind_waits_for_allocations)
{
	pid_t child;
	int fd, status;

	fd = test_open(self->bdf, "alloc", "%zu", page);
	ASSERT_LE(0, fd);
	child = fork();
	if (!child) {
		close(fd);
		_exit(pci_unbind(self->bdf) != 0);
	}

	usleep(500 * 1000);
	EXPECT_EQ(0, waitpid(child, &status, WNOHANG))
		TH_LOG("unbound with memory in use");
	close(fd);
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_FALSE(p2pmem_exists(self->bdf));

	/* The next driver can register all of it. */
	EXPECT_EQ(0, pci_bind(self->bdf, DRIVER));
	EXPECT_EQ(0, test_add(self->bdf, self->bar, 0, 0));
}

/* Several providers, each nearest to a client of its own. */
struct choice {
	char client[BDF_LEN], nearest[BDF_LEN];
};

FIXTURE(choice)
{
	struct choice of[MAX_DEVS];
	int nr;
};

FIXTURE_SETUP(choice)
{
	const char *given = getenv("P2PDMA_NEAREST") ?: "";
	int n;

	if (getuid())
		SKIP(return, "needs root");
	while (self->nr < MAX_DEVS &&
	       sscanf(given, " %15[^= ]=%15s%n", self->of[self->nr].client,
		      self->of[self->nr].nearest, &n) == 2) {
		self->nr++;
		given += n;
	}
	if (self->nr < 2)
		SKIP(return, "P2PDMA_NEAREST doesn't name two clients");
	ASSERT_EQ(0, module_load());
}

FIXTURE_TEARDOWN(choice)
{
	EXPECT_EQ(0, module_unload());
}

TEST_F(choice, nearest)
{
	const struct choice *choice, *other;
	char answer[64], driver[NAME_MAX];
	int i;

	for (i = 0; i < self->nr; i++) {
		choice = &self->of[i];
		other = &self->of[(i + 1) % self->nr];
		ASSERT_STRNE(choice->nearest, other->nearest);
		answer_of("", "find", choice->client, answer, sizeof(answer));
		EXPECT_STREQ(choice->nearest, answer);

		/* Without the nearest provider, another one is found. */
		ASSERT_EQ(0, pci_driver(choice->nearest, driver));
		ASSERT_EQ(0, pci_unbind(choice->nearest));
		answer_of("", "find", choice->client, answer, sizeof(answer));
		EXPECT_STREQ(other->nearest, answer);
		ASSERT_EQ(0, pci_bind(choice->nearest, driver));
		ASSERT_TRUE(wait_for(p2pmem_number(choice->nearest,
						   "published") == 1, 60));
		answer_of("", "find", choice->client, answer, sizeof(answer));
		EXPECT_STREQ(choice->nearest, answer);
	}
}

/*
 * D4, D19: sizes that wrap around 64 bits with their offset, and regions that
 * don't begin or end at a page. A core that accepts these maps memory that it
 * can't unmap again (the stock core oopses in this test), and the kernel can't
 * be relied on afterwards: so this is the last test, and in the Makefile this
 * program is the last of those that use the module.
 */
FIXTURE(fatal)
{
	char bdf[BDF_LEN];
	int bar;
	struct bar big;
};

FIXTURE_SETUP(fatal)
{
	device_setup(_metadata, (void *)self, NULL);
}

FIXTURE_TEARDOWN(fatal)
{
	EXPECT_EQ(0, module_unload());
}

TEST_F(fatal, refused)
{
	const struct refused cases[] = {
		{ "sum is 0",		self->bar, -UNIT, UNIT, EINVAL },
		{ "sum is in the BAR",	self->bar, -UNIT, 2 * UNIT, EINVAL },
		{ "sum isn't aligned",	self->bar, UINT64_MAX, UNIT, EINVAL },
		{ "start is no page",	self->bar, UNIT, UNIT + 1, EINVAL },
		{ "length is no page",	self->bar, UNIT + 1, UNIT, EINVAL },
		{ "one byte",		self->bar, 1, UNIT, EINVAL },
	};
	struct bar bars[6];
	int round;
	size_t i;

	ASSERT_EQ(0, pci_bars(self->bdf, bars));
	for (i = 0; i < 6; i++) {
		if (bars[i].flags & BAR_MEM && bars[i].length < page) {
			EXPECT_EQ(-EINVAL, test_add(self->bdf, i, 0, 0))
				TH_LOG("BAR %zu, smaller than a page", i);
		}
	}

	/* As the device's first region, then as its second. */
	for (round = 0; round < 2; round++) {
		for (i = 0; i < ARRAY_SIZE(cases); i++) {
			EXPECT_EQ(-cases[i].error,
				  test_add(self->bdf, cases[i].bar,
					   cases[i].size, cases[i].offset))
				TH_LOG("%s", cases[i].name);
			EXPECT_EQ(round ? (long long)UNIT : -ENOENT,
				  p2pmem_number(self->bdf, "size"))
				TH_LOG("%s: size has changed", cases[i].name);
		}
		if (!round)
			ASSERT_EQ(0, test_add(self->bdf, self->bar, UNIT, 0));
	}
}

TEST_HARNESS_MAIN
