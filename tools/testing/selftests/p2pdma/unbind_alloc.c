// SPDX-License-Identifier: GPL-2.0
/*
 * D2: kernel users allocate and free without pause while the provider's driver
 * is unbound and bound again, many times. The threads of the test module hold a
 * reference on the device and nothing else, as clients do that found it with
 * pci_p2pmem_find(). Errors show as a splat, mostly of KASAN; this program
 * checks that allocations succeed in between and while the driver is unbound,
 * that no memory is lost, and that nothing hangs.
 */
#include <errno.h>
#include <fcntl.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define ROUNDS		10
#define LAST_ROUND	100		/* of a race that must happen by then */
#define THREADS		2
#define PIECE		(64 * 1024UL)
#define CPU_ONLINE	"/sys/devices/system/cpu/cpu1/online"

FIXTURE(hammered)
{
	char bdf[BDF_LEN];
	int bar;
	struct bar big;
	int hammer;
};

FIXTURE_SETUP(hammered)
{
	const char *why;

	why = test_device(self->bdf, &self->bar, &self->big);
	if (why)
		SKIP(return, "%s", why);
	self->hammer = test_open("", "hammer", "%s %d", self->bdf, THREADS);
	ASSERT_LE(0, self->hammer);
}

FIXTURE_TEARDOWN(hammered)
{
	file_write(CPU_ONLINE, "1");
	if (self->hammer >= 0)
		close(self->hammer);
	EXPECT_EQ(0, module_unload());
	EXPECT_FALSE(p2pmem_exists(self->bdf));
}

/* Allocations of the threads so far. */
static long had(int hammer)
{
	char answer[64];

	return test_answer(hammer, answer, sizeof(answer)) ?
		-1 : strtol(answer, NULL, 10);
}

TEST_F(hammered, unbind)
{
	long before, during = 0;
	int round = 0;

	do {
		before = had(self->hammer);
		ASSERT_EQ(0, test_add(self->bdf, self->bar, 0, 0));
		ASSERT_TRUE(wait_for(had(self->hammer) > before + 100, 60))
			TH_LOG("round %d: no memory to be had", round);
		before = had(self->hammer);
		ASSERT_EQ(0, pci_unbind(self->bdf));
		EXPECT_FALSE(p2pmem_exists(self->bdf));
		during += had(self->hammer) > before;
		before = had(self->hammer);
		ASSERT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
		EXPECT_EQ(before, had(self->hammer))
			TH_LOG("round %d: memory without a provider", round);
		round++;
	} while (round < times(ROUNDS) || (!during && round < LAST_ROUND));
	TH_LOG("memory was had while the driver left in %ld of %d rounds",
	       during, round);
	EXPECT_LT(0, during);
}

static void map_until_refused(struct racer *racer)
{
	int fd = p2pmem_open(racer->what, O_RDWR);
	void *p;

	if (fd < 0)
		return;
	while ((p = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			 0)) != MAP_FAILED) {
		racer->count[RACE_HAD]++;
		race_touch(racer, p);
		munmap(p, PIECE);
	}
	racer->count[RACE_REFUSED] += errno == ENODEV;
	close(fd);
}

/* As above, while user space maps and unmaps. */
TEST_F(hammered, unbind_with_mappings)
{
	struct race race;
	int round = 0;

	race_start(&race, 2, map_until_refused, self->bdf);
	do {
		ASSERT_EQ(0, test_add(self->bdf, self->bar, 0, 0));
		ASSERT_EQ(0, test_call(self->bdf, "publish", "1"));
		ASSERT_TRUE(wait_for(race_each(&race, RACE_HAD), 60))
			TH_LOG("round %d: nothing can be mapped", round);
		ASSERT_EQ(0, pci_unbind(self->bdf));
		EXPECT_FALSE(p2pmem_exists(self->bdf));
		ASSERT_TRUE(wait_for(race_each(&race, RACE_REFUSED), 60))
			TH_LOG("round %d: mapping isn't refused", round);
		ASSERT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
		round++;
	} while (round < times(ROUNDS) ||
		 (!race_total(&race, RACE_LOST) && round < LAST_ROUND));
	TH_LOG("%d rounds, %ld mappings, %ld of them lost", round,
	       race_total(&race, RACE_HAD), race_total(&race, RACE_LOST));
	EXPECT_LT(0, race_total(&race, RACE_LOST));
	race_stop(&race);
}

/*
 * A CPU goes offline and online while it allocates and frees.  Memory that it
 * caches isn't lost: afterwards the whole pool can be allocated in one piece.
 */
TEST_F(hammered, cpu_offline)
{
	long before, during = 0;
	struct race race;
	int round, memory;

	ASSERT_EQ(0, test_add(self->bdf, self->bar, 0, 0));
	ASSERT_EQ(0, test_call(self->bdf, "publish", "1"));
	for (round = 0; round < times(6); round++) {
		race_start(&race, 2, map_until_refused, self->bdf);
		ASSERT_TRUE(wait_for(race_each(&race, RACE_HAD), 60));
		before = had(self->hammer);
		ASSERT_TRUE(wait_for(had(self->hammer) > before + 100, 60));

		before = had(self->hammer);
		ASSERT_EQ(0, file_write(CPU_ONLINE, round % 2 ? "1" : "0"));
		ASSERT_EQ(round % 2, file_number(CPU_ONLINE));
		during += had(self->hammer) - before;

		race_stop(&race);
		close(self->hammer);
		EXPECT_EQ((long long)self->big.length,
			  p2pmem_number(self->bdf, "available"));
		memory = test_open(self->bdf, "alloc", "%lld",
				   (long long)self->big.length);
		EXPECT_LE(0, memory) TH_LOG("round %d", round);
		close(memory);
		self->hammer = test_open("", "hammer", "%s %d", self->bdf,
					 THREADS);
		ASSERT_LE(0, self->hammer);
	}
	TH_LOG("memory was had %ld times while CPU 1 left or came", during);
	EXPECT_LT(0, during);
}

/* After the threads have ended, all memory is available. */
TEST_F(hammered, nothing_is_lost)
{
	ASSERT_EQ(0, test_add(self->bdf, self->bar, 0, 0));
	ASSERT_TRUE(wait_for(had(self->hammer) > 1000, 60));
	close(self->hammer);
	self->hammer = -1;
	EXPECT_EQ((long long)self->big.length,
		  p2pmem_number(self->bdf, "available"));
}

TEST_HARNESS_MAIN
