// SPDX-License-Identifier: GPL-2.0
/*
 * The two-step IOVA API, and lists of physical memory, for a real device: with
 * and without an IOMMU, mixed memory, unlinked parts, IOVA space that runs out,
 * each allocation failing in turn, an untrusted device, and DMA of a device
 * through such a mapping.
 *
 * The checks are the KUnit cases of the module p2pdma_iova_test.  This program
 * selects a case by what the machine has, passes it the devices, and reports
 * its result.  The kernel needs kunit.enable=1.
 */
#include <errno.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define MODULE		"p2pdma_iova_test"
#define SUITE		"p2pdma_iova"

/* What a case needs of the machine */
enum needs {
	ANY,
	NO_IOMMU,
	IOMMU,
	EDU,			/* QEMU's edu as a client, and an IOMMU */
	WRITES,			/* EDU, and only writes are forwarded */
	ATS,			/* virtio's rng as a client, with ATS and an IOMMU */
};

/* The devices of a case */
struct setting {
	char client[BDF_LEN];
	const char *provider;
};

/* Does the command line say that the host bridge forwards writes only? */
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
	struct disks disks;

	if (needs == NO_IOMMU && strcmp(route, "bus-address") &&
	    strcmp(route, "host-bridge"))
		return "no way to the provider without an IOMMU";
	if ((needs == IOMMU || needs == EDU || needs == ATS) && strcmp(route, "iova"))
		return "no IOMMU on the way";
	if (needs == WRITES && !writes_alone())
		return "host bridges forward reads, or nothing";

	if (!find_device(needs == ATS ? RNG_IDS : EDU_IDS, set->client))
		return NULL;
	if (needs >= EDU)
		return needs == ATS ? "no virtio rng" : "no edu device";
	scratch_disks(&disks);
	if (!disks.nr || disk_bdf(disks.path[0], set->client))
		return "no device that could be a client";
	return NULL;
}

/* NULL, or why there is nothing to test */
static const char *set_up(struct setting *set, enum needs needs)
{
	if (getuid())
		return "needs root";
	if (!have_kunit())
		return "no KUnit in this kernel";
	set->provider = provider();
	if (!set->provider)
		return "no provider";
	return missing(set, needs);
}

/* One case of the suite, which passes, fails or is skipped as KUnit says */
static void run_case(struct __test_metadata *_metadata, const char *name,
		     const char *client, const char *provider)
{
	char parameters[64];

	snprintf(parameters, sizeof(parameters), "client=%s provider=%s",
		 client, provider);
	run_kunit_case(MODULE, parameters, SUITE, name);
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
FIXTURE_VARIANT_ADD(check, bus_address) { "bus_address", IOMMU };
FIXTURE_VARIANT_ADD(check, ats) { "ats", ATS };

FIXTURE_SETUP(check)
{
	const char *why = set_up(&self->set, variant->needs);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(check)
{
}

TEST_F(check, holds)
{
	const char *provider = self->set.provider;

	run_case(_metadata, variant->name, variant->own_memory ?
		 provider : self->set.client, provider);
}

FIXTURE(failing)
{
	struct setting set;
};

FIXTURE_SETUP(failing)
{
	const char *why = set_up(&self->set, EDU);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(failing)
{
}

TEST_F_TIMEOUT(failing, no_memory, 900)
{
	if (!inject_faults(true))
		SKIP(return, "no fault injection in this kernel");
	run_case(_metadata, "no_memory", self->set.client, self->set.provider);
}

TEST_HARNESS_MAIN
