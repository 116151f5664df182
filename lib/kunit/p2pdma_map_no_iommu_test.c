// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit test of DMA mapping in two steps where the DMA API drives no IOMMU.
 *
 * Kernels that PCI fabrics can be made in have IOMMU_DMA, so a suite can't run
 * on one without.  What drivers get there is all in the header, though: this file
 * sees it as they do, and passes no device to any other code.
 */

#undef CONFIG_IOMMU_DMA

#include <kunit/test.h>

#include <linux/dma-mapping.h>
#include <linux/errno.h>
#include <linux/sizes.h>
#include <linux/string.h>

/* There is no IOVA space, whatever was in @state before. */
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
