// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit test of two-step DMA mapping in kernels without CONFIG_IOMMU_DMA.
 *
 * Kernels with PCI fabrics have IOMMU_DMA, so the suite can't run on a kernel
 * without.  But there all functions are stubs in the header: this file includes
 * them without the option, and passes no device to any other code.
 */

#undef CONFIG_IOMMU_DMA

#include <kunit/test.h>

#include <linux/dma-mapping.h>
#include <linux/errno.h>
#include <linux/sizes.h>
#include <linux/string.h>

/* Allocating IOVA space fails, whatever @state holds. */
static void no_iova_space(struct kunit *test)
{
	struct dma_iova_state state;

	memset(&state, 0xff, sizeof(state));
	KUNIT_EXPECT_FALSE(test, dma_iova_try_alloc(NULL, &state, 0, SZ_4K));
	KUNIT_EXPECT_FALSE(test, dma_use_iova(&state));
	KUNIT_EXPECT_EQ(test, dma_iova_size(&state), 0);
}

static void nothing_linked(struct kunit *test)
{
	struct dma_iova_state state = {};

	KUNIT_EXPECT_EQ(test, dma_iova_link(NULL, &state, 0, 0, SZ_4K,
					    DMA_TO_DEVICE, 0), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, dma_iova_sync(NULL, &state, 0, SZ_4K),
			-EOPNOTSUPP);
	KUNIT_EXPECT_FALSE(test, dma_use_iova(&state));
}

static struct kunit_case no_iommu_cases[] = {
	KUNIT_CASE(no_iova_space),
	KUNIT_CASE(nothing_linked),
	{ }
};

static struct kunit_suite no_iommu_suite = {
	.name = "p2pdma_map_no_iommu",
	.test_cases = no_iommu_cases,
};

kunit_test_suite(no_iommu_suite);
