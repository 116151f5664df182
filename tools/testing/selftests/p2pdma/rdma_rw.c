// SPDX-License-Identifier: GPL-2.0
/*
 * The RDMA core's READ and WRITE contexts with peer memory: addresses in SGEs and
 * MRs, memory without pages, and what is left after a failure at each place.
 *
 * The checks are the KUnit cases of the module p2pdma_rdma_rw_test, on devices that
 * are made in software, and for IOVAs on QEMU's edu device.  This program loads the
 * RDMA core, selects a case, and reports its result.  The kernel needs
 * kunit.enable=1.
 */
#include <stdio.h>
#include <string.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define MODULE		"p2pdma_rdma_rw_test"
#define SUITE		"p2pdma_rdma_rw"

/* NULL, or why there is nothing to test */
static const char *set_up(void)
{
	if (getuid())
		return "needs root";
	if (!have_kunit())
		return "no KUnit in this kernel";
	if (module_probe("", "ib_core"))
		return "no module ib_core";
	return NULL;
}

/* One case of the suite, which passes, fails or is skipped as KUnit says */
static void run_case(struct __test_metadata *_metadata, const char *name,
		     const char *parameters)
{
	run_kunit_case(MODULE, parameters, SUITE, name);
}

FIXTURE(check)
{
};

FIXTURE_VARIANT(check)
{
	const char *name;
};

FIXTURE_VARIANT_ADD(check, addresses) { "addresses" };
FIXTURE_VARIANT_ADD(check, allocated) { "allocated" };
FIXTURE_VARIANT_ADD(check, entry_refused) { "entry_refused" };
FIXTURE_VARIANT_ADD(check, pool_empty) { "pool_empty" };
FIXTURE_VARIANT_ADD(check, mr_not_mapped) { "mr_not_mapped" };
FIXTURE_VARIANT_ADD(check, unfit_for_mrs) { "unfit_for_mrs" };
FIXTURE_VARIANT_ADD(check, no_pool) { "no_pool" };
FIXTURE_VARIANT_ADD(check, integrity) { "integrity" };
FIXTURE_VARIANT_ADD(check, without_pages) { "without_pages" };
FIXTURE_VARIANT_ADD(check, mr_without_pages) { "mr_without_pages" };
FIXTURE_VARIANT_ADD(check, without_pages_refused) { "without_pages_refused" };

FIXTURE_SETUP(check)
{
	const char *why = set_up();

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(check)
{
}

TEST_F(check, holds)
{
	run_case(_metadata, variant->name, "");
}

FIXTURE(failing)
{
};

FIXTURE_VARIANT(failing)
{
	const char *name;
};

FIXTURE_VARIANT_ADD(failing, no_memory) { "no_memory" };
FIXTURE_VARIANT_ADD(failing, no_memory_integrity) { "no_memory_integrity" };
FIXTURE_VARIANT_ADD(failing, no_memory_without_pages) { "no_memory_without_pages" };

FIXTURE_SETUP(failing)
{
	const char *why = set_up();

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(failing)
{
}

TEST_F(failing, unwinds)
{
	/* Not pages: how many the slab allocator needs is different each time. */
	if (!inject_faults(false))
		SKIP(return, "no fault injection in this kernel");
	run_case(_metadata, variant->name, "");
}

FIXTURE(iova)
{
	char parameters[64];
};

FIXTURE_VARIANT(iova)
{
	const char *name;
	bool faults;
};

FIXTURE_VARIANT_ADD(iova, addresses) { "iova_addresses" };
FIXTURE_VARIANT_ADD(iova, full) { "iova_full" };
FIXTURE_VARIANT_ADD(iova, no_memory) { "no_memory_iova", true };

FIXTURE_SETUP(iova)
{
	const char *why = set_up();
	char client[BDF_LEN];

	if (why)
		SKIP(return, "%s", why);
	if (strcmp(expected_route(), "iova"))
		SKIP(return, "no IOMMU on the way");
	if (!provider())
		SKIP(return, "no provider");
	if (find_device(EDU_IDS, client))
		SKIP(return, "no edu device");
	snprintf(self->parameters, sizeof(self->parameters),
		 "client=%s provider=%s", client, provider());
}

FIXTURE_TEARDOWN(iova)
{
}

TEST_F(iova, holds)
{
	if (variant->faults && !inject_faults(true))
		SKIP(return, "no fault injection in this kernel");
	run_case(_metadata, variant->name, self->parameters);
}

TEST_HARNESS_MAIN
