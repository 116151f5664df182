// SPDX-License-Identifier: GPL-2.0
/*
 * The sample RDMA adapter: its verbs and connections, and what it refuses to be
 * made of.
 *
 * The checks are the KUnit cases of the module p2pdma_rnic_test, with queue pairs
 * of one adapter on an LSI 53C895A.  This program makes the adapter, and reports
 * the results.  The kernel needs kunit.enable=1.  What the NVMe
 * target does with the adapter is the subject of nvmet_rdma.c.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define ADAPTER		"p2pdma_rnic"
#define TESTS		"p2pdma_rnic_test"
#define NETDEV		"dummy0"
#define ADDRESS		"10.0.0.1"

/* The network interface, the engine and the ULP's module; NULL, or what is missing */
static const char *set_up(void)
{
	struct devices engines;

	if (getuid())
		return "needs root";
	if (module_probe("-n -q", ADAPTER))
		return "no module " ADAPTER " (CONFIG_SAMPLE_P2PDMA_RNIC)";
	module_unload_named(ADAPTER);
	if (module_probe("", "dummy numdummies=1") ||
	    netdev_up(NETDEV, ADDRESS))
		return "no network interface " NETDEV " (CONFIG_DUMMY)";
	if (module_probe("", ENGINE))
		return "no module " ENGINE " (CONFIG_SAMPLE_P2PDMA)";
	find_bound(ENGINE, &engines);
	if (!engines.nr)
		return "no LSI 53C895A";
	return NULL;
}

static void tear_down(void)
{
	module_unload_named(ADAPTER);
	module_unload_named(ENGINE);
	/* Others want more interfaces. */
	module_unload_named("dummy");
}

FIXTURE(verbs)
{
};

FIXTURE_SETUP(verbs)
{
	const char *why = set_up();

	if (why)
		SKIP(return, "%s", why);
	if (!have_kunit())
		SKIP(return, "no KUnit in this kernel");
	ASSERT_EQ(0, module_probe("", "rdma_cm"));
	ASSERT_EQ(0, module_probe("", ADAPTER " netdev=" NETDEV));
}

FIXTURE_TEARDOWN(verbs)
{
	tear_down();
}

/* As KUnit says */
static void run_suite(struct __test_metadata *_metadata, const char *suite)
{
	run_kunit_case(TESTS, "address=" ADDRESS, suite, NULL);
}

TEST_F(verbs, hold)
{
	run_suite(_metadata, "p2pdma_rnic");
}

TEST_F(verbs, no_memory)
{
	if (!inject_faults(false))
		SKIP(return, "no fault injection in this kernel");
	run_suite(_metadata, "p2pdma_rnic_failing");
}

FIXTURE(adapter)
{
};

FIXTURE_SETUP(adapter)
{
	const char *why = set_up();

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(adapter)
{
	tear_down();
}

#define RDMA_CLASS	"/sys/class/infiniband/p2prnic0"

TEST_F(adapter, refused)
{
	static const char * const parameters[] = {
		"", "netdev=none", "netdev=" NETDEV " engine=none",
		"netdev=" NETDEV " engine=0000:00:00.0",
		/* There is one adapter for each engine. */
		"netdev=dummy0,dummy0,dummy0,dummy0",
	};
	char text[256];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(parameters); i++) {
		snprintf(text, sizeof(text), ADAPTER " %s", parameters[i]);
		EXPECT_NE(0, module_probe("", text)) TH_LOG("%s", text);
		EXPECT_NE(0, access("/sys/module/" ADAPTER, F_OK));
		EXPECT_NE(0, access(RDMA_CLASS, F_OK));
	}

	/* Nothing is left in the way of a good one. */
	EXPECT_EQ(0, module_probe("", ADAPTER " netdev=" NETDEV));
	EXPECT_EQ(0, access(RDMA_CLASS, F_OK));
}

/* The named engine is taken, and is the adapter's parent. */
TEST_F(adapter, engine)
{
	char text[256], path[PATH_MAX];
	struct devices engines;
	int i;

	find_bound(ENGINE, &engines);
	for (i = 0; i < engines.nr; i++) {
		snprintf(text, sizeof(text), ADAPTER " netdev=" NETDEV " engine=%s",
			 engines.name[i]);
		ASSERT_EQ(0, module_probe("", text)) TH_LOG("%s", text);
		snprintf(path, sizeof(path),
			 "/sys/bus/pci/devices/%s/infiniband/p2prnic0",
			 engines.name[i]);
		EXPECT_EQ(0, access(path, F_OK)) TH_LOG("%s", path);
		EXPECT_EQ(0, module_unload_named(ADAPTER));
		EXPECT_NE(0, access(path, F_OK));
	}
}

/* The adapter goes with its engine, or with its network interface. */
TEST_F(adapter, engine_unbound)
{
	struct devices engines;
	char text[256];

	find_bound(ENGINE, &engines);
	snprintf(text, sizeof(text), ADAPTER " netdev=" NETDEV " engine=%s",
		 engines.name[0]);
	ASSERT_EQ(0, module_probe("", text));
	/* The driver waits until nobody has the channel. */
	EXPECT_EQ(0, pci_unbind(engines.name[0]));
	EXPECT_NE(0, access(RDMA_CLASS, F_OK));
	EXPECT_EQ(0, module_unload_named(ADAPTER));
}

TEST_F(adapter, netdev_gone)
{
	ASSERT_EQ(0, module_probe("", ADAPTER " netdev=" NETDEV));
	EXPECT_EQ(0, module_unload_named("dummy"));
	/* That waits until nobody has it. */
	EXPECT_TRUE(wait_for(access(RDMA_CLASS, F_OK), 60));
	EXPECT_EQ(0, module_unload_named(ADAPTER));
}

TEST_HARNESS_MAIN
