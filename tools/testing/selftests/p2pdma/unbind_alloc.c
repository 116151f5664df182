// SPDX-License-Identifier: GPL-2.0
/*
 * D2: kernel users allocate and free without pause while the provider loses
 * its driver and gets it back, many times. The threads of the test module hold
 * a reference on the device and nothing else, as clients do that found it with
 * pci_p2pmem_find(). What goes wrong shows as a splat, of KASAN above all; what
 * can be told from here is that memory can be had in between, that none is
 * lost, and that nothing hangs.
 */
#include <errno.h>
#include <fcntl.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define ROUNDS		10
#define THREADS		2

FIXTURE(hammered)
{
	char bdf[BDF_LEN];
	int bar;
	struct bar big;
	int hammer;
};

FIXTURE_SETUP(hammered)
{
	int error;

	if (getuid())
		SKIP(return, "needs root");
	error = module_load();
	if (error == -ENOENT)
		SKIP(return, "no test_modules/p2pdma_test.ko");
	ASSERT_EQ(0, error);
	if (test_device(self->bdf, &self->bar, &self->big)) {
		module_unload();
		SKIP(return, "no test device with 8 MiB of memory");
	}
	self->hammer = test_open("", "hammer", "%s %d", self->bdf, THREADS);
	ASSERT_LE(0, self->hammer);
}

FIXTURE_TEARDOWN(hammered)
{
	if (self->hammer >= 0)
		close(self->hammer);
	EXPECT_EQ(0, module_unload());
	EXPECT_FALSE(p2pmem_exists(self->bdf));
}

/* Allocations that the threads had so far. */
static long had(int hammer)
{
	char answer[64];

	return test_answer(hammer, answer, sizeof(answer)) ?
		-1 : strtol(answer, NULL, 10);
}

TEST_F(hammered, unbind)
{
	long before;
	int round;

	for (round = 0; round < times(ROUNDS); round++) {
		before = had(self->hammer);
		ASSERT_EQ(0, test_add(self->bdf, self->bar, 0, 0));
		ASSERT_TRUE(wait_for(had(self->hammer) > before + 100, 60))
			TH_LOG("round %d: no memory to be had", round);
		ASSERT_EQ(0, pci_unbind(self->bdf));
		EXPECT_FALSE(p2pmem_exists(self->bdf));
		before = had(self->hammer);
		ASSERT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
		EXPECT_EQ(before, had(self->hammer))
			TH_LOG("round %d: memory without a provider", round);
	}
}

/* The same while user space maps and unmaps. */
TEST_F(hammered, unbind_with_mappings)
{
	int round, status;
	pid_t child;

	child = fork();
	if (!child) {
		close(self->hammer);
		for (;;) {
			void *p = p2pmem_map(self->bdf, 64 * 1024);

			if (p != MAP_FAILED)
				munmap(p, 64 * 1024);
		}
	}

	for (round = 0; round < times(ROUNDS); round++) {
		ASSERT_EQ(0, test_add(self->bdf, self->bar, 0, 0));
		ASSERT_EQ(0, test_call(self->bdf, "publish", "1"));
		usleep(20 * 1000);
		ASSERT_EQ(0, pci_unbind(self->bdf));
		EXPECT_FALSE(p2pmem_exists(self->bdf));
		ASSERT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
	}
	kill(child, SIGKILL);
	EXPECT_EQ(child, waitpid(child, &status, 0));
}

/* When all is quiet again, all is there. */
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
