// SPDX-License-Identifier: GPL-2.0
/*
 * IOVA space in two steps, and lists of physical memory, for a real device: with
 * and without an IOMMU, mixed memory, unlinked parts, space that runs out,
 * allocations that fail in turn, a device that isn't trusted, and data that a
 * device moves through such a mapping.  The checks are in the module
 * p2pdma_iova_test; here they are chosen by what the machine has.
 */
#include <errno.h>
#include <fcntl.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define MODULE		"p2pdma_iova_test"
#define CHECKS		"/sys/kernel/debug/" MODULE "/"

/* What a check wants of the machine */
enum needs {
	ANY,
	NO_IOMMU,
	IOMMU,
	EDU,			/* QEMU's device as a client, and an IOMMU */
	WRITES,			/* those, and nobody forwards reads */
};

/* Who is tested with */
struct setting {
	char client[BDF_LEN];
	const char *provider;
};

/* The machine's host bridge is one that the command line names. */
static bool writes_alone(void)
{
	char line[4096];

	return file_read("/proc/cmdline", line, sizeof(line)) > 0 &&
	       strstr(line, "intel_iommu=on") &&
	       strstr(line, "pci_p2pdma.host_bridge=8086:29c0:w");
}

static const char *missing(struct setting *set, enum needs needs)
{
	const char *route = expected_route();
	struct devices found;
	struct disks disks;

	if (needs == NO_IOMMU && strcmp(route, "bus-address") &&
	    strcmp(route, "host-bridge"))
		return "no way to the provider without an IOMMU";
	if ((needs == IOMMU || needs == EDU) && strcmp(route, "iova"))
		return "no IOMMU on the way";
	if (needs == WRITES && !writes_alone())
		return "host bridges forward reads, or nothing";

	find_bound(MODULE, &found);
	scratch_disks(&disks);
	if (found.nr)
		snprintf(set->client, BDF_LEN, "%s", found.name[0]);
	else if (needs >= EDU)
		return "no edu device";
	else if (!disks.nr || disk_bdf(disks.path[0], set->client))
		return "no device that could be a client";
	return NULL;
}

/* Loads the module: 0, -errno, or 1 and why there is nothing to test */
static int set_up(struct setting *set, enum needs needs, const char **why)
{
	int error;

	*why = "needs root";
	if (getuid())
		return 1;
	*why = "no provider";
	set->provider = provider();
	if (!set->provider)
		return 1;
	*why = "no test_modules/" MODULE ".ko";
	error = module_load_named(MODULE);
	if (error)
		return error == -ENOENT ? 1 : error;
	*why = missing(set, needs);
	if (!*why)
		return 0;
	module_unload_named(MODULE);
	return 1;
}

/* The answer of a check, or its errno */
static const char *ask(int fd, const char *args)
{
	static char answer[256];

	if (fd < 0 || write(fd, args, strlen(args)) < 0)
		snprintf(answer, sizeof(answer), "error %d", errno);
	else
		test_answer(fd, answer, sizeof(answer));
	return answer;
}

static int check_open(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), CHECKS "%s", name);
	return open(path, O_RDWR | O_CLOEXEC);
}

static const char *check(const char *name, const char *client,
			 const char *provider)
{
	int fd = check_open(name);
	const char *answer;
	char args[64];

	snprintf(args, sizeof(args), "%s %s", client, provider);
	answer = ask(fd, args);
	close(fd);
	return answer;
}

FIXTURE(check)
{
	struct setting set;
};

FIXTURE_VARIANT(check)
{
	const char *name;
	enum needs needs;
	bool own_memory;	/* the provider is the client, too */
};

FIXTURE_VARIANT_ADD(check, without) { "without", NO_IOMMU };
FIXTURE_VARIANT_ADD(check, alloc) { "alloc", IOMMU };
FIXTURE_VARIANT_ADD(check, refused) { "refused", IOMMU };
FIXTURE_VARIANT_ADD(check, link) { "link", IOMMU };
FIXTURE_VARIANT_ADD(check, freed) { "freed", EDU };
FIXTURE_VARIANT_ADD(check, list) { "list", IOMMU };
FIXTURE_VARIANT_ADD(check, list_gap) { "list_gap", IOMMU };
FIXTURE_VARIANT_ADD(check, list_writes) { "list_writes", WRITES };
FIXTURE_VARIANT_ADD(check, list_without) { "list_without", NO_IOMMU };
FIXTURE_VARIANT_ADD(check, list_own) { "list_own", ANY, true };
FIXTURE_VARIANT_ADD(check, list_full) { "list_full", EDU };
FIXTURE_VARIANT_ADD(check, untrusted) { "untrusted", EDU };
FIXTURE_VARIANT_ADD(check, transfer) { "transfer", EDU };

FIXTURE_SETUP(check)
{
	const char *why;
	int error = set_up(&self->set, variant->needs, &why);

	if (error > 0)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, error);
}

FIXTURE_TEARDOWN(check)
{
	EXPECT_EQ(0, module_unload_named(MODULE));
}

TEST_F(check, holds)
{
	const char *provider = self->set.provider;

	EXPECT_STREQ("ok", check(variant->name, variant->own_memory ?
				 provider : self->set.client, provider));
}

struct question {
	int fd;
	const char *args, *answer;
};

static int call_ask(void *data)
{
	struct question *question = data;

	question->answer = ask(question->fd, question->args);
	return 0;
}

FIXTURE(failing)
{
	struct setting set;
};

FIXTURE_SETUP(failing)
{
	const char *why;
	int error = set_up(&self->set, EDU, &why);

	if (error > 0)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, error);
}

FIXTURE_TEARDOWN(failing)
{
	EXPECT_EQ(0, module_unload_named(MODULE));
}

/* Each mapping takes the only place that there is for it. */
TEST_F_TIMEOUT(failing, no_memory, 900)
{
	const char *client = self->set.client, *provider = self->set.provider;
	struct question map;
	int nth, refused = 0;
	bool failed = true;
	char args[64];

	if (!inject_faults(true))
		SKIP(return, "no fault injection in this kernel");
	snprintf(args, sizeof(args), "%s %s", client, provider);
	map.args = args;
	map.fd = check_open("map");
	ASSERT_LE(0, map.fd);

	for (nth = 1; failed; nth++) {
		ASSERT_GT(1000, nth);
		ASSERT_EQ(0, call_failing(nth, call_ask, &map, &failed));
		/* What can do without is free to succeed. */
		if (strcmp(map.answer, "ok")) {
			EXPECT_TRUE(failed);
			EXPECT_STREQ("error 12", map.answer)
				TH_LOG("allocation %d", nth);
			refused++;
		}
		EXPECT_STREQ("ok", check("map_again", client, provider))
			TH_LOG("allocation %d", nth);
	}
	close(map.fd);
	TH_LOG("%d allocations failed in turn, %d of them to the end", nth - 2,
	       refused);
	EXPECT_LT(5, refused);
}

TEST_HARNESS_MAIN
