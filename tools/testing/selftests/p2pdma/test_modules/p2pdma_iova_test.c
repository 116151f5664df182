// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of IOVA space (<linux/dma-iova.h>) and of lists of physical memory
 * (<linux/p2pdma-phys-list.h>) on a real device.
 *
 * The parameters client and provider name two PCI devices, the provider one
 * with a CMB.  Each case needs a certain kind of machine, and fails on others:
 * selftests/p2pdma/iova.c selects one by kunit.filter_glob.
 *
 * Addresses are compared with the IOMMU's page tables.  Cases that change a
 * device, or let it do DMA, need QEMU's edu device as the client.  This module
 * is its driver; edu copies between its own memory of 4 KiB and other memory.
 */

#include <kunit/test.h>

#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/p2pdma-phys-list.h>
#include <linux/pci-ats.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "p2pdma_internal.h"

static char *client = "";
module_param(client, charp, 0444);
MODULE_PARM_DESC(client, "PCI device that accesses memory");

static char *provider = "";
module_param(provider, charp, 0444);
MODULE_PARM_DESC(provider, "PCI device with published memory");

#define MEMORY_SIZE	SZ_128K		/* of each kind */
#define FEW_BITS	24		/* of a small DMA mask */
#define MOST		SZ_8M		/* in one piece, if all is free */

/* The devices of a case, and memory for it */
struct iova_test {
	struct device *dev;		/* the client */
	struct iommu_domain *domain;	/* NULL: no IOMMU that the DMA API drives */
	void __iomem *edu;		/* NULL: it is another device */
	u64 dma_mask;			/* before limit_mask() */
	struct dma_iova_state space;	/* freed at the end of the case */
	struct p2pdma_provider *provider;
	struct pci_dev *owner;
	void *bar_addr;			/* memory of @owner */
	phys_addr_t bar;
	dma_addr_t bar_bus;		/* its bus address */
	void *ram_addr;
	phys_addr_t ram;
};

/* The physical address behind a DMA address of the client, or 0 */
static phys_addr_t behind(struct iova_test *t, dma_addr_t addr)
{
	return t->domain ? iommu_iova_to_phys(t->domain, addr) : addr;
}

/* Is [addr, +size) mapped to @phys?  With @phys 0: is it unmapped? */
static bool is_mapped(struct iova_test *t, dma_addr_t addr, phys_addr_t phys,
		      size_t size)
{
	size_t at, step;

	for (at = 0; at < size; at += step) {
		if (behind(t, addr + at) != (phys ? phys + at : 0))
			return false;
		step = min(size - at, PAGE_SIZE - offset_in_page(addr + at));
	}
	size--;
	return behind(t, addr + size) == (phys ? phys + size : 0);
}

static int link_at(struct iova_test *t, struct dma_iova_state *state,
		   phys_addr_t phys, size_t offset, size_t size)
{
	return dma_iova_link(t->dev, state, phys, offset, size,
			     DMA_BIDIRECTIONAL, 0);
}

static int link_bar(struct iova_test *t, struct dma_iova_state *state,
		    phys_addr_t phys, size_t offset, size_t size,
		    enum dma_data_direction dir)
{
	return dma_iova_link(t->dev, state, phys, offset, size, dir,
			     DMA_ATTR_MMIO);
}

/* ---- Cleanup at the end of a case, even if it is aborted ---- */

static void add_action(struct kunit *test, kunit_action_t *action, void *data)
{
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, action, data), 0);
}

static void restore_mask(void *data)
{
	struct iova_test *t = data;

	dma_set_mask(t->dev, t->dma_mask);
}

static void limit_mask(struct kunit *test)
{
	struct iova_test *t = test->priv;

	KUNIT_ASSERT_TRUE_MSG(test, t->edu, "the client is no edu device");
	t->dma_mask = dma_get_mask(t->dev);
	KUNIT_ASSERT_EQ(test, dma_set_mask(t->dev, DMA_BIT_MASK(FEW_BITS)), 0);
	add_action(test, restore_mask, t);
}

static void trust(void *pdev)
{
	((struct pci_dev *)pdev)->untrusted = false;
	pci_p2pdma_fabric_changed();
}

static void free_space(void *data)
{
	struct iova_test *t = data;

	dma_iova_free(t->dev, &t->space);
}

static struct dma_iova_state *make_space(struct kunit *test, size_t size)
{
	struct iova_test *t = test->priv;

	KUNIT_ASSERT_TRUE(test, dma_iova_try_alloc(t->dev, &t->space, 0, size));
	add_action(test, free_space, t);
	return &t->space;
}

/* ---- IOVA space ---- */

static void without(struct kunit *test)
{
	struct dma_iova_state state = { .addr = 1, .__size = 1 };
	struct iova_test *t = test->priv;

	KUNIT_EXPECT_NULL(test, t->domain);
	KUNIT_EXPECT_FALSE(test, dma_iova_try_alloc(t->dev, &state, t->ram,
						    SZ_4K));
	KUNIT_EXPECT_FALSE(test, dma_use_iova(&state));
	KUNIT_EXPECT_EQ(test, state.addr, 0);
	KUNIT_EXPECT_EQ(test, link_at(t, &state, t->ram, 0, SZ_4K), -EINVAL);
}

static void alloc(struct kunit *test)
{
	static const size_t none[] = { 0, SIZE_MAX, SIZE_MAX - SZ_4K + 1,
				       (size_t)SZ_1G << 20 };
	struct dma_iova_state state, *space;
	struct iova_test *t = test->priv;
	phys_addr_t phys = t->ram + SZ_4K - 2;
	int i;

	for (i = 0; i < ARRAY_SIZE(none); i++) {
		state = (struct dma_iova_state) { .addr = 1, .__size = 1 };
		KUNIT_EXPECT_FALSE_MSG(test, dma_iova_try_alloc(t->dev, &state,
								0x123, none[i]),
				       "size %d", i);
		KUNIT_EXPECT_FALSE_MSG(test, dma_use_iova(&state), "size %d", i);
		KUNIT_EXPECT_EQ_MSG(test, state.addr, 0, "size %d", i);
	}

	space = make_space(test, SZ_64K);
	KUNIT_EXPECT_TRUE(test, dma_use_iova(space));
	KUNIT_EXPECT_EQ(test, dma_iova_size(space), SZ_64K);
	KUNIT_EXPECT_EQ(test, offset_in_page(space->addr), 0);
	KUNIT_EXPECT_TRUE(test, is_mapped(t, space->addr, 0, SZ_64K));

	/* Five bytes, and two pages */
	KUNIT_ASSERT_TRUE(test, dma_iova_try_alloc(t->dev, &state, phys, 5));
	KUNIT_EXPECT_EQ(test, dma_iova_size(&state), 5);
	KUNIT_EXPECT_EQ(test, offset_in_page(state.addr), SZ_4K - 2);
	KUNIT_EXPECT_TRUE(test, state.addr + 5 + SZ_4K - 3 <= space->addr ||
			  space->addr + SZ_64K <= state.addr - (SZ_4K - 2));
	KUNIT_EXPECT_EQ(test, link_at(t, &state, phys, 0, 5), 0);
	KUNIT_EXPECT_TRUE(test, is_mapped(t, state.addr - (SZ_4K - 2), t->ram,
					  SZ_8K));
	dma_iova_destroy(t->dev, &state, 5, DMA_BIDIRECTIONAL, 0);
	KUNIT_EXPECT_TRUE(test, is_mapped(t, state.addr - (SZ_4K - 2), 0,
					  SZ_8K));
}

/* IOVA space of 0x3010 bytes that starts 0x80 bytes into a page */
#define HEAD	(SZ_4K - 0x80)		/* up to the next page */
#define SPACE	(HEAD + SZ_8K + 0x90)

static void refused(struct kunit *test)
{
	struct iova_test *t = test->priv;
	const struct {
		phys_addr_t phys;
		size_t offset, size;
	} links[] = {
		{ t->ram + 0x80, 0, 0 },
		{ t->ram + 0x80, 0, SPACE + 1 },
		{ t->ram + 0x80, 0, SIZE_MAX },
		{ t->ram, 0, SZ_4K },			/* not as promised */
		{ t->ram + 0x81, 0, SZ_1K },
		{ t->ram + 0x80 + SZ_1K, SZ_1K, SZ_1K }, /* within a page */
		{ t->ram + 1, HEAD, SZ_4K },
		{ t->ram, HEAD + 1, SZ_1K },
		{ t->ram, HEAD, SPACE - HEAD + 1 },
		{ t->ram, HEAD, SIZE_MAX },
		{ t->ram, HEAD + SZ_8K + SZ_4K, 1 },
		{ t->ram, SPACE, 1 },
		{ t->ram, SIZE_MAX, 1 },
		{ t->ram, HEAD - SZ_4K, SZ_4K },	/* in front of it all */
	};
	struct dma_iova_state state;
	int i;

	KUNIT_ASSERT_TRUE(test, dma_iova_try_alloc(t->dev, &state, 0x80, SPACE));
	for (i = 0; i < ARRAY_SIZE(links); i++)
		KUNIT_EXPECT_EQ_MSG(test, link_at(t, &state, links[i].phys,
						  links[i].offset,
						  links[i].size), -EINVAL,
				    "link %d", i);
	KUNIT_EXPECT_EQ(test, dma_iova_link(t->dev, &state, t->ram, HEAD, SZ_4K,
					    DMA_NONE, 0), -EINVAL);
	KUNIT_EXPECT_TRUE(test, is_mapped(t, state.addr - 0x80, 0, 4 * SZ_4K));
	dma_iova_free(t->dev, &state);
}

static void link(struct kunit *test)
{
	struct iova_test *t = test->priv;
	phys_addr_t ram = t->ram, bar = t->bar;
	struct dma_iova_state state;
	dma_addr_t addr, second, third, last;

	KUNIT_ASSERT_TRUE(test, dma_iova_try_alloc(t->dev, &state, ram + 0x80,
						   SPACE));
	addr = state.addr;
	second = addr + HEAD;
	third = second + SZ_4K;
	last = second + SZ_8K;

	/* Link pages in any order, from any memory */
	KUNIT_EXPECT_EQ(test, link_at(t, &state, ram + SZ_64K, HEAD, SZ_4K), 0);
	KUNIT_EXPECT_TRUE(test, is_mapped(t, addr, 0, HEAD));
	KUNIT_EXPECT_TRUE(test, is_mapped(t, second, ram + SZ_64K, SZ_4K));
	KUNIT_EXPECT_TRUE(test, is_mapped(t, third, 0, SZ_4K));
	KUNIT_EXPECT_EQ(test, link_at(t, &state, ram + 0x80, 0, HEAD), 0);
	KUNIT_EXPECT_EQ(test, link_bar(t, &state, bar + SZ_8K, HEAD + SZ_4K,
				       SZ_4K, DMA_TO_DEVICE), 0);
	KUNIT_EXPECT_EQ(test, link_at(t, &state, ram + SZ_32K, HEAD + SZ_8K,
				      0x90), 0);
	KUNIT_EXPECT_EQ(test, dma_iova_sync(t->dev, &state, 0, SPACE), 0);
	KUNIT_EXPECT_TRUE(test, is_mapped(t, addr, ram + 0x80, HEAD));
	KUNIT_EXPECT_TRUE(test, is_mapped(t, second, ram + SZ_64K, SZ_4K));
	KUNIT_EXPECT_TRUE(test, is_mapped(t, third, bar + SZ_8K, SZ_4K));
	KUNIT_EXPECT_TRUE(test, is_mapped(t, last, ram + SZ_32K, 0x90));

	/* Unlink the middle, and link other memory there. */
	dma_iova_unlink(t->dev, &state, HEAD, SZ_8K, DMA_BIDIRECTIONAL,
			DMA_ATTR_MMIO);
	KUNIT_EXPECT_TRUE(test, is_mapped(t, addr, ram + 0x80, HEAD));
	KUNIT_EXPECT_TRUE(test, is_mapped(t, second, 0, SZ_8K));
	KUNIT_EXPECT_TRUE(test, is_mapped(t, last, ram + SZ_32K, 0x90));
	KUNIT_EXPECT_EQ(test, link_bar(t, &state, bar, HEAD, SZ_8K,
				       DMA_BIDIRECTIONAL), 0);
	KUNIT_EXPECT_TRUE(test, is_mapped(t, second, bar, SZ_8K));

	/* The same at the start, which isn't page-aligned */
	dma_iova_unlink(t->dev, &state, 0, HEAD, DMA_BIDIRECTIONAL, 0);
	KUNIT_EXPECT_TRUE(test, is_mapped(t, addr - 0x80, 0, SZ_4K));
	KUNIT_EXPECT_EQ(test, link_at(t, &state, ram + SZ_16K + 0x80, 0, HEAD),
			0);
	KUNIT_EXPECT_TRUE(test, is_mapped(t, addr, ram + SZ_16K + 0x80, HEAD));

	dma_iova_destroy(t->dev, &state, SPACE, DMA_BIDIRECTIONAL, 0);
	KUNIT_EXPECT_TRUE(test, is_mapped(t, addr - 0x80, 0, 4 * SZ_4K));
}

/* Retries, as freed IOVA space may become available a little later */
static bool gets_space(struct iova_test *t, phys_addr_t phys, size_t size,
		       struct dma_iova_state *state)
{
	int i;

	for (i = 0; i < 100; i++) {
		if (dma_iova_try_alloc(t->dev, state, phys, size))
			return true;
		msleep(20);
	}
	return false;
}

/* All IOVA space is freed: otherwise these rounds would run out of it. */
static void freed(struct kunit *test)
{
	struct iova_test *t = test->priv;
	struct dma_iova_state state;
	int i, ret;

	limit_mask(test);
	for (i = 0; i < 100; i++) {
		/* The rest of the first page counts as allocated, too. */
		KUNIT_ASSERT_TRUE_MSG(test, gets_space(t, 0xfff, MOST - 0xfff,
						       &state), "round %d", i);
		KUNIT_EXPECT_EQ_MSG(test, state.addr,
				    BIT(FEW_BITS) - MOST + 0xfff, "round %d", i);
		if (i & 1) {
			ret = link_at(t, &state, t->ram + 0xfff, 0, SZ_8K);
			KUNIT_EXPECT_EQ_MSG(test, ret, 0, "round %d", i);
			dma_iova_destroy(t->dev, &state, SZ_8K,
					 DMA_BIDIRECTIONAL, 0);
		} else if (i & 2) {
			dma_iova_destroy(t->dev, &state, 0, DMA_BIDIRECTIONAL,
					 0);
		} else {
			dma_iova_free(t->dev, &state);
		}
	}
}

/* ---- Lists ---- */

/* Part of a list, by its offset in the case's peer or system memory */
struct part {
	bool peer;
	size_t offset, size;
};

#define PAGES(n)	((n) * SZ_4K)

static const struct part mixed[] = {
	{ false, PAGES(3) + 0x700, SZ_4K - 0x700 },
	{ true, PAGES(5), PAGES(3) },
	{ false, PAGES(9), PAGES(1) },
	{ false, PAGES(1), PAGES(2) },
	{ true, PAGES(20), PAGES(1) },
	{ true, PAGES(1), PAGES(2) },
	{ false, PAGES(8), 0x123 },
};

/* All of the case's system and peer memory */
static const struct part aligned[] = {
	{ false, 0, MEMORY_SIZE }, { true, 0, MEMORY_SIZE },
};

KUNIT_DEFINE_ACTION_WRAPPER(free_list, p2pdma_phys_list_free,
			    struct p2pdma_phys_list *);

/* A list of all parts in their order, repeated @times */
static struct p2pdma_phys_list *make_list(struct kunit *test,
					  const struct part *parts, int count,
					  int times)
{
	struct p2pdma_phys_list *list = p2pdma_phys_list_create(GFP_KERNEL);
	struct iova_test *t = test->priv;
	const struct part *part;
	phys_addr_t start;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, list);
	add_action(test, free_list, list);
	for (i = 0; i < count * times; i++) {
		part = &parts[i % count];
		start = part->offset + (part->peer ? t->bar : t->ram);
		KUNIT_ASSERT_EQ(test, p2pdma_phys_list_add(list, part->peer ?
							   t->provider : NULL,
							   start, part->size,
							   GFP_KERNEL), 0);
	}
	return list;
}

static struct p2pdma_phys_mapping *map(struct iova_test *t,
				       const struct p2pdma_phys_list *list,
				       enum dma_data_direction dir)
{
	return p2pdma_phys_list_map(t->dev, list, dir, 0, GFP_KERNEL);
}

/* Map a list and unmap it: how many ranges it was, or -errno */
static int map_once(struct iova_test *t, const struct p2pdma_phys_list *list,
		    enum dma_data_direction dir)
{
	struct p2pdma_phys_mapping *mapping = map(t, list, dir);
	int count;

	if (IS_ERR(mapping))
		return PTR_ERR(mapping);
	count = mapping->count;
	p2pdma_phys_list_unmap(mapping);
	return count;
}

KUNIT_DEFINE_ACTION_WRAPPER(unmap_action, p2pdma_phys_list_unmap,
			    struct p2pdma_phys_mapping *);

static struct p2pdma_phys_mapping *make_mapping(struct kunit *test,
						const struct p2pdma_phys_list *list,
						enum dma_data_direction dir)
{
	struct p2pdma_phys_mapping *mapping = map(test->priv, list, dir);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mapping);
	add_action(test, unmap_action, mapping);
	return mapping;
}

static void unmap(struct kunit *test, struct p2pdma_phys_mapping *mapping)
{
	kunit_release_action(test, unmap_action, mapping);
}

/* The ranges cover all memory of list @nr, in its order. */
static void expect_mapped(struct kunit *test, int nr,
			  const struct p2pdma_phys_list *list,
			  const struct p2pdma_phys_mapping *mapping)
{
	struct iova_test *t = test->priv;
	const struct p2pdma_dma_range *range = mapping->ranges;
	const struct p2pdma_dma_range *end = range + mapping->count;
	struct p2pdma_phys_iter iter = { };
	size_t at = 0, done, piece;

	while (p2pdma_phys_list_next(list, &iter)) {
		for (done = 0; done < iter.size; done += piece) {
			if (range < end && at == range->size) {
				range++;
				at = 0;
			}
			KUNIT_ASSERT_TRUE_MSG(test, range < end, "list %d", nr);
			piece = min(iter.size - done, range->size - at);
			KUNIT_EXPECT_TRUE_MSG(test, is_mapped(t, range->addr + at,
							      iter.start + done,
							      piece),
					      "list %d", nr);
			at += piece;
		}
	}
	KUNIT_EXPECT_PTR_EQ_MSG(test, range + 1, end, "list %d", nr);
	KUNIT_EXPECT_EQ_MSG(test, at, range->size, "list %d", nr);
}

/* List @nr is mapped as @ranges ranges, and unmapped completely. */
static void expect_maps(struct kunit *test, int nr, const struct part *parts,
			int count, unsigned int ranges)
{
	struct p2pdma_phys_list *list = make_list(test, parts, count, 1);
	struct iova_test *t = test->priv;
	struct p2pdma_phys_mapping *mapping;
	struct p2pdma_dma_range first;

	/* CONFIG_DMA_API_DEBUG accepts overlaps only for DMA_TO_DEVICE. */
	mapping = make_mapping(test, list, DMA_TO_DEVICE);
	first = mapping->ranges[0];
	KUNIT_EXPECT_EQ_MSG(test, mapping->count, ranges, "list %d", nr);
	expect_mapped(test, nr, list, mapping);
	unmap(test, mapping);
	if (t->domain)
		KUNIT_EXPECT_TRUE_MSG(test, is_mapped(t, first.addr, 0,
						      first.size),
				      "list %d", nr);
}

/* Any mix of memory is mapped as one contiguous range. */
static void list(struct kunit *test)
{
	static const struct part peers[] = {
		{ true, 0x10, PAGES(2) - 0x10 }, { true, PAGES(7), 0x80 },
	};
	static const struct part one[] = { { false, 0x777, 3 } };

	expect_maps(test, 0, mixed, ARRAY_SIZE(mixed), 1);
	expect_maps(test, 1, peers, ARRAY_SIZE(peers), 1);
	expect_maps(test, 2, one, ARRAY_SIZE(one), 1);
	expect_maps(test, 3, peers, 1, 1);
}

/* A list with unaligned inner borders is mapped range by range. */
static void list_gap(struct kunit *test)
{
	static const struct part gaps[][3] = {
		{ { false, 0, SZ_4K }, { true, 0x100, 0x80 }, { false, 0, SZ_4K } },
		{ { false, 0, SZ_4K }, { true, 0, 0x80 }, { false, 0, SZ_4K } },
		{ { true, 0, SZ_4K }, { true, PAGES(4), 1 }, { true, PAGES(2), 1 } },
		{ { false, 1, SZ_4K }, { false, PAGES(3), 5 }, { true, 0, 1 } },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(gaps); i++)
		expect_maps(test, i, gaps[i], 3, 3);
}

/* The root complex forwards only writes, also for IOVAs. */
static void list_writes(struct kunit *test)
{
	static const enum dma_data_direction lost[] = {
		DMA_TO_DEVICE, DMA_BIDIRECTIONAL,
	};
	struct p2pdma_phys_mapping *mapping;
	struct iova_test *t = test->priv;
	struct p2pdma_phys_list *list;
	int i;

	list = make_list(test, mixed, ARRAY_SIZE(mixed), 1);
	KUNIT_ASSERT_NOT_NULL(test, t->domain);
	for (i = 0; i < ARRAY_SIZE(lost); i++)
		KUNIT_EXPECT_EQ_MSG(test, map_once(t, list, lost[i]),
				    -EREMOTEIO, "direction %d", i);
	mapping = make_mapping(test, list, DMA_FROM_DEVICE);
	KUNIT_EXPECT_EQ(test, mapping->count, 1);
	expect_mapped(test, 0, list, mapping);
}

/* Without an IOMMU: physical addresses, and each part is a range */
static void list_without(struct kunit *test)
{
	struct iova_test *t = test->priv;

	KUNIT_EXPECT_NULL(test, t->domain);
	expect_maps(test, 0, mixed, ARRAY_SIZE(mixed), ARRAY_SIZE(mixed));
}

/* The client's own memory has bus addresses; the rest is contiguous. */
static void list_own(struct kunit *test)
{
	static const struct part parts[] = {
		{ false, 0x80, SZ_4K - 0x80 },
		{ true, 0x123, PAGES(2) },
		{ false, PAGES(7), 0x10 },
	};
	struct p2pdma_phys_mapping *mapping;
	struct p2pdma_dma_range *range, last;
	struct iova_test *t = test->priv;
	struct p2pdma_phys_list *list;

	list = make_list(test, parts, ARRAY_SIZE(parts), 1);
	KUNIT_EXPECT_PTR_EQ(test, t->dev, t->provider->owner);
	mapping = make_mapping(test, list, DMA_TO_DEVICE);
	range = mapping->ranges;
	KUNIT_ASSERT_EQ(test, mapping->count, ARRAY_SIZE(parts));
	KUNIT_EXPECT_EQ(test, range[1].addr,
			t->bar + 0x123 + t->provider->bus_offset);
	if (t->domain)
		KUNIT_EXPECT_EQ(test, range[2].addr,
				range[0].addr + range[0].size);
	KUNIT_EXPECT_TRUE(test, is_mapped(t, range[0].addr, t->ram + 0x80,
					  range[0].size));
	KUNIT_EXPECT_TRUE(test, is_mapped(t, range[2].addr, t->ram + PAGES(7),
					  range[2].size));
	last = range[2];
	unmap(test, mapping);
	if (t->domain)
		KUNIT_EXPECT_TRUE(test, is_mapped(t, last.addr, 0, last.size));
}

/* Retries, as freed IOVA space may become available a little later */
static bool maps_whole(struct iova_test *t, const struct p2pdma_phys_list *list)
{
	int i;

	for (i = 0; i < 100; i++) {
		if (map_once(t, list, DMA_TO_DEVICE) == 1)
			return true;
		msleep(20);
	}
	return false;
}

static struct p2pdma_phys_list *make_most(struct kunit *test)
{
	return make_list(test, aligned, 2, MOST / (2 * MEMORY_SIZE));
}

/* IOVA space runs out during a mapping: all of it is free afterwards. */
static void list_full(struct kunit *test)
{
	static const struct part apart[] = {
		{ false, 0x10, SZ_64K }, { true, 0x10, SZ_64K },
	};
	struct p2pdma_phys_list *most, *pieces, *whole;
	struct iova_test *t = test->priv;
	int i;

	limit_mask(test);
	most = make_most(test);
	pieces = make_list(test, apart, 2, 128);
	whole = make_list(test, aligned, 2, 64);
	for (i = 0; i < 5; i++) {
		KUNIT_EXPECT_EQ_MSG(test, map_once(t, pieces, DMA_TO_DEVICE),
				    -ENOMEM, "round %d", i);
		KUNIT_EXPECT_TRUE_MSG(test, maps_whole(t, most), "round %d", i);
		/* Too large for one piece, and too large range by range */
		KUNIT_EXPECT_EQ_MSG(test, map_once(t, whole, DMA_TO_DEVICE),
				    -ENOMEM, "round %d", i);
		KUNIT_EXPECT_TRUE_MSG(test, maps_whole(t, most), "round %d", i);
	}
}

#ifdef CONFIG_FAULT_INJECTION

/*
 * Each allocation of a mapping fails in turn, and each mapping needs all of the
 * IOVA space.  /sys/kernel/debug/{failslab,fail_page_alloc} say which
 * allocations can fail.
 */
static void no_memory(struct kunit *test)
{
	struct iova_test *t = test->priv;
	struct p2pdma_phys_mapping *mapping;
	struct p2pdma_phys_list *list;
	struct dma_iova_state room;
	int nth, to_the_end = 0;
	bool failed = true;

	limit_mask(test);
	list = make_most(test);
	for (nth = 1; failed; nth++) {
		KUNIT_ASSERT_LT(test, nth, 1000);
		/* Wait for IOVA space that is freed late. */
		KUNIT_ASSERT_TRUE_MSG(test, gets_space(t, 0, MOST, &room),
				      "allocation %d", nth);
		dma_iova_free(t->dev, &room);

		current->fail_nth = nth;
		mapping = map(t, list, DMA_TO_DEVICE);
		failed = !current->fail_nth;
		current->fail_nth = 0;

		/* It may succeed without an allocation it can do without. */
		if (IS_ERR(mapping)) {
			KUNIT_EXPECT_TRUE_MSG(test, failed, "allocation %d",
					      nth);
			KUNIT_EXPECT_EQ_MSG(test, PTR_ERR(mapping), -ENOMEM,
					    "allocation %d", nth);
			to_the_end++;
		} else {
			p2pdma_phys_list_unmap(mapping);
		}
		/* A failed or undone mapping keeps no IOVA space. */
		KUNIT_EXPECT_TRUE_MSG(test, maps_whole(t, list),
				      "allocation %d", nth);
	}
	kunit_info(test, "%d allocations failed in turn, %d of them to the end",
		   nth - 2, to_the_end);
	/* The mapping itself, and a page table for each 2 MiB */
	KUNIT_EXPECT_GE(test, to_the_end, 1 + MOST / SZ_2M);
}

#else

static void no_memory(struct kunit *test)
{
	kunit_skip(test, "no fault injection in this kernel");
}

#endif

/* DMA of an untrusted device is bounced: no peer memory, and no IOVA space. */
static void untrusted(struct kunit *test)
{
	static const struct part ram = { false, 0, MEMORY_SIZE };
	struct iova_test *t = test->priv;
	struct pci_dev *pdev = to_pci_dev(t->dev);
	struct dma_iova_state state, *before;
	struct scatterlist sg[2];
	struct sg_table table = { .sgl = sg, .nents = 2, .orig_nents = 2 };
	struct p2pdma_phys_list *both;

	KUNIT_ASSERT_TRUE_MSG(test, t->edu, "the client is no edu device");
	both = make_list(test, aligned, 2, 1);
	before = make_space(test, SZ_8K);

	pdev->untrusted = true;
	pci_p2pdma_fabric_changed();
	add_action(test, trust, pdev);
	KUNIT_EXPECT_FALSE(test, dma_iova_try_alloc(t->dev, &state, 0, SZ_4K));
	KUNIT_EXPECT_FALSE(test, dma_use_iova(&state));
	KUNIT_EXPECT_EQ(test, link_at(t, before, t->ram, 0, SZ_4K), -EPERM);
	KUNIT_EXPECT_EQ(test, link_bar(t, before, t->bar, 0, SZ_4K,
				       DMA_TO_DEVICE), -EPERM);
	KUNIT_EXPECT_TRUE(test, is_mapped(t, before->addr, 0, SZ_8K));

	KUNIT_EXPECT_EQ(test, map_once(t, both, DMA_TO_DEVICE), -EREMOTEIO);
	expect_maps(test, 0, &ram, 1, 1);

	sg_init_table(sg, 2);
	sg_set_page(&sg[0], virt_to_page(t->ram_addr), SZ_4K, 0);
	sg_set_page(&sg[1], virt_to_page(t->bar_addr), SZ_4K, 0);
	KUNIT_EXPECT_EQ(test, dma_map_sgtable(t->dev, &table, DMA_TO_DEVICE, 0),
			-EREMOTEIO);
	kunit_release_action(test, trust, pdev);

	/* The refusals have no effect on ordinary mappings. */
	KUNIT_ASSERT_EQ(test, dma_map_sgtable(t->dev, &table, DMA_TO_DEVICE, 0),
			0);
	dma_unmap_sgtable(t->dev, &table, DMA_TO_DEVICE, 0);
}

/* ---- Data ---- */

#define EDU_SOURCE	0x80
#define EDU_TARGET	0x88
#define EDU_COUNT	0x90
#define EDU_COMMAND	0x98
#define EDU_START	BIT(0)
#define EDU_WRITE	BIT(1)		/* from its own memory */
#define EDU_MEMORY	0x40000
#define EDU_SIZE	SZ_2K		/* half: all of it crashes QEMU 7.2 */

static void edu_transfer(struct kunit *test, u64 source, u64 target,
			 u64 command)
{
	struct iova_test *t = test->priv;
	u64 state;
	int ret;

	writeq(source, t->edu + EDU_SOURCE);
	writeq(target, t->edu + EDU_TARGET);
	writeq(EDU_SIZE, t->edu + EDU_COUNT);
	writeq(command | EDU_START, t->edu + EDU_COMMAND);
	ret = readq_poll_timeout(t->edu + EDU_COMMAND, state,
				 !(state & EDU_START), 1000,
				 60 * USEC_PER_SEC);
	KUNIT_ASSERT_EQ_MSG(test, ret, 0, "from %#llx to %#llx", source, target);
}

static void edu_copy(struct kunit *test, dma_addr_t from, dma_addr_t to)
{
	edu_transfer(test, from, EDU_MEMORY, 0);
	edu_transfer(test, EDU_MEMORY, to, EDU_WRITE);
}

/*
 * The device reads and writes one contiguous range: a page of RAM, of the peer,
 * and of RAM.  Some transfers cross a border between two of these pages.
 */
static void transfer(struct kunit *test)
{
	static const struct part parts[] = {
		{ false, PAGES(2), SZ_4K },
		{ true, PAGES(6), SZ_4K },
		{ false, PAGES(5), SZ_4K },
	};
	struct p2pdma_phys_mapping *mapping;
	struct iova_test *t = test->priv;
	struct p2pdma_phys_list *list;
	void __iomem *bar = (void __iomem *)t->bar_addr + PAGES(6);
	u8 *ram = t->ram_addr;
	dma_addr_t addr;
	int i;

	KUNIT_ASSERT_TRUE_MSG(test, t->edu, "the client is no edu device");
	list = make_list(test, parts, ARRAY_SIZE(parts), 1);

	for (i = 0; i < SZ_4K; i++)
		ram[PAGES(2) + i] = i * 7 + (i >> 8);
	memset(ram + PAGES(5), 0, SZ_4K);
	memset_io(bar, 0, SZ_4K);

	mapping = make_mapping(test, list, DMA_BIDIRECTIONAL);
	addr = mapping->ranges[0].addr;
	KUNIT_EXPECT_EQ(test, mapping->ranges[0].size, PAGES(3));

	/* From RAM to the peer, from there to RAM, and across both borders */
	edu_copy(test, addr, addr + PAGES(1));
	edu_copy(test, addr + PAGES(1), addr + PAGES(2) + SZ_2K);
	edu_copy(test, addr + PAGES(1) - SZ_1K, addr + PAGES(2) - SZ_1K);
	unmap(test, mapping);

	memcpy_fromio(ram, bar, SZ_4K);
	KUNIT_EXPECT_TRUE(test, !memcmp(ram, ram + PAGES(2), SZ_2K));
	KUNIT_EXPECT_NULL(test, memchr_inv(ram + SZ_2K, 0, SZ_1K));
	KUNIT_EXPECT_TRUE(test, !memcmp(ram + SZ_1K * 3, ram + PAGES(3) - SZ_1K,
					SZ_1K));
	KUNIT_EXPECT_TRUE(test, !memcmp(ram + PAGES(5), ram + PAGES(2), SZ_1K));
	KUNIT_EXPECT_NULL(test, memchr_inv(ram + PAGES(5) + SZ_1K, 0, SZ_1K));
	KUNIT_EXPECT_TRUE(test, !memcmp(ram + PAGES(5) + SZ_2K, ram + PAGES(2),
					SZ_2K));
}

/* ---- Bus addresses ---- */

static void unmap_address(void *data)
{
	struct iova_test *t = data;

	iommu_unmap(t->domain, t->bar_bus, PAGE_SIZE);
}

/*
 * A bus address is no IOVA, unless the IOMMU knows it: behind a VMD the windows of
 * the device's own host bridge aren't reserved.
 */
static void bus_address(struct kunit *test)
{
	struct iova_test *t = test->priv;

	t->bar_bus = pci_p2pdma_bus_addr_map(t->provider, t->bar);
	KUNIT_EXPECT_TRUE(test, p2pdma_is_bus_addr(t->dev, t->bar_bus));
	KUNIT_EXPECT_FALSE(test, p2pdma_is_bus_addr(t->dev, SZ_64K));

	KUNIT_ASSERT_EQ(test, iommu_map(t->domain, t->bar_bus, t->ram, PAGE_SIZE,
					IOMMU_READ, GFP_KERNEL), 0);
	add_action(test, unmap_address, t);
	KUNIT_EXPECT_FALSE(test, p2pdma_is_bus_addr(t->dev, t->bar_bus));
}

/* ---- ATS ---- */

/* Map a page of the provider by a scatterlist: how, and to which address? */
static enum pci_p2pdma_map_type map_page(struct kunit *test, dma_addr_t *addr)
{
	struct iova_test *t = test->priv;
	enum pci_p2pdma_map_type how;
	struct scatterlist sg;
	struct sg_table table = { .sgl = &sg, .nents = 1, .orig_nents = 1 };
	int ret;

	sg_init_table(&sg, 1);
	sg_set_page(&sg, virt_to_page(t->bar_addr), PAGE_SIZE, 0);
	ret = dma_map_sgtable(t->dev, &table, DMA_BIDIRECTIONAL, 0);
	KUNIT_ASSERT_EQ(test, ret, 0);
	*addr = sg_dma_address(&sg);
	how = sg_dma_is_bus_address(&sg) ? PCI_P2PDMA_MAP_BUS_ADDR :
					   PCI_P2PDMA_MAP_THRU_HOST_BRIDGE;
	if (how == PCI_P2PDMA_MAP_THRU_HOST_BRIDGE)
		KUNIT_EXPECT_EQ(test, behind(t, *addr), t->bar);
	dma_unmap_sgtable(t->dev, &table, DMA_BIDIRECTIONAL, 0);
	return how;
}

static void choose_nothing(void *pdev)
{
	pci_p2pdma_set_tlp_choice(pdev, false);
}

/*
 * Client and provider are below one switch.  The client's ATS would ask the IOMMU
 * to translate a bus address, which it doesn't know.
 */
static void ats(struct kunit *test)
{
	struct iova_test *t = test->priv;
	struct pci_dev *pdev = to_pci_dev(t->dev);
	struct p2pdma_route route;
	dma_addr_t addr;

	KUNIT_ASSERT_TRUE_MSG(test, pdev->ats_enabled, "ATS is off");
	KUNIT_EXPECT_EQ(test, pci_p2pdma_route(t->owner, t->dev, &route), 0);
	KUNIT_EXPECT_EQ(test, route.map_type, PCI_P2PDMA_MAP_THRU_HOST_BRIDGE);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(t->provider, t->dev),
			PCI_P2PDMA_MAP_THRU_HOST_BRIDGE);
	KUNIT_EXPECT_EQ(test, map_page(test, &addr),
			PCI_P2PDMA_MAP_THRU_HOST_BRIDGE);
	KUNIT_EXPECT_NE(test, addr,
			pci_p2pdma_bus_addr_map(t->provider, t->bar));

	/* Translated Requests that the driver makes from bus addresses */
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type_tlp(t->provider, t->dev,
						      PCI_P2PDMA_TLP_TRANSLATED),
			PCI_P2PDMA_MAP_BUS_ADDR);

	/* Untranslated ones, as its driver says */
	pci_p2pdma_set_tlp_choice(pdev, true);
	add_action(test, choose_nothing, pdev);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(t->provider, t->dev),
			PCI_P2PDMA_MAP_BUS_ADDR);
	KUNIT_EXPECT_EQ(test, map_page(test, &addr), PCI_P2PDMA_MAP_BUS_ADDR);
	KUNIT_EXPECT_EQ(test, addr,
			pci_p2pdma_bus_addr_map(t->provider, t->bar));

	/* Without ATS there is nothing to choose, and verdicts are forgotten. */
	pci_p2pdma_set_tlp_choice(pdev, false);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(t->provider, t->dev),
			PCI_P2PDMA_MAP_THRU_HOST_BRIDGE);
	pci_disable_ats(pdev);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(t->provider, t->dev),
			PCI_P2PDMA_MAP_BUS_ADDR);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type_tlp(t->provider, t->dev,
						      PCI_P2PDMA_TLP_TRANSLATED),
			PCI_P2PDMA_MAP_NOT_SUPPORTED);
	KUNIT_ASSERT_EQ(test, pci_enable_ats(pdev, PAGE_SHIFT), 0);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(t->provider, t->dev),
			PCI_P2PDMA_MAP_THRU_HOST_BRIDGE);

	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type_tlp(t->provider, t->dev,
						      PCI_P2PDMA_TLP_CLASSES),
			PCI_P2PDMA_MAP_NOT_SUPPORTED);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_route_tlp(t->owner, t->dev,
						   PCI_P2PDMA_TLP_CLASSES,
						   &route), -EINVAL);

	/* The choice ends with the driver that made it. */
	pci_p2pdma_set_tlp_choice(pdev, true);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(t->provider, t->dev),
			PCI_P2PDMA_MAP_BUS_ADDR);
	device_release_driver(t->dev);
	KUNIT_ASSERT_EQ(test, device_attach(t->dev), 1);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(t->provider, t->dev),
			PCI_P2PDMA_MAP_THRU_HOST_BRIDGE);
}

/* ---- The driver of edu ---- */

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = dma_set_mask(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	if (!pcim_iomap(pdev, 0, 0))
		return -ENOMEM;
	pci_set_master(pdev);
	return 0;
}

static const struct pci_device_id edu_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{ }
};

static struct pci_driver edu_driver = {
	.name = KBUILD_MODNAME,
	.id_table = edu_ids,
	.probe = edu_probe,
	/* KUnit runs the suite as soon as the module's init function is done. */
	.driver.probe_type = PROBE_FORCE_SYNCHRONOUS,
};
module_pci_driver(edu_driver);

/* ---- The suite ---- */

KUNIT_DEFINE_ACTION_WRAPPER(put_pdev, pci_dev_put, struct pci_dev *);

static struct pci_dev *get_device_named(struct kunit *test, const char *name,
					const char *parameter)
{
	struct device *dev = bus_find_device_by_name(&pci_bus_type, NULL, name);
	struct pci_dev *pdev;

	if (!dev)
		KUNIT_FAIL_AND_ABORT(test, "%s=%s: there is no such PCI device",
				     parameter, name);
	pdev = to_pci_dev(dev);
	add_action(test, put_pdev, pdev);
	return pdev;
}

static void free_bar(void *data)
{
	struct iova_test *t = data;

	pci_free_p2pmem(t->owner, t->bar_addr, MEMORY_SIZE);
}

static int iova_test_init(struct kunit *test)
{
	struct iova_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	struct iommu_domain *domain;
	struct pci_dev *pdev;
	int bar;

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	pdev = get_device_named(test, client, "client");
	t->dev = &pdev->dev;
	t->owner = get_device_named(test, provider, "provider");

	domain = iommu_get_domain_for_dev(t->dev);
	if (domain && domain->type & __IOMMU_DOMAIN_DMA_API)
		t->domain = domain;
	if (t->dev->driver == &edu_driver.driver)
		t->edu = pcim_iomap_table(pdev)[0];

	t->bar_addr = pci_alloc_p2pmem(t->owner, MEMORY_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, t->bar_addr);
	add_action(test, free_bar, t);
	t->bar = virt_to_phys(t->bar_addr);
	t->ram_addr = kunit_kmalloc(test, MEMORY_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->ram_addr);
	t->ram = virt_to_phys(t->ram_addr);

	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		if (pci_resource_start(t->owner, bar) <= t->bar &&
		    pci_resource_end(t->owner, bar) >= t->bar)
			t->provider = pcim_p2pdma_provider(t->owner, bar);
	}
	KUNIT_ASSERT_NOT_NULL(test, t->provider);
	return 0;
}

static struct kunit_case iova_test_cases[] = {
	KUNIT_CASE(without),
	KUNIT_CASE(alloc),
	KUNIT_CASE(refused),
	KUNIT_CASE(link),
	KUNIT_CASE_SLOW(freed),
	KUNIT_CASE(list),
	KUNIT_CASE(list_gap),
	KUNIT_CASE(list_writes),
	KUNIT_CASE(list_without),
	KUNIT_CASE(list_own),
	KUNIT_CASE_SLOW(list_full),
	KUNIT_CASE(untrusted),
	KUNIT_CASE_SLOW(transfer),
	KUNIT_CASE(bus_address),
	KUNIT_CASE(ats),
	KUNIT_CASE_SLOW(no_memory),
	{}
};

static struct kunit_suite iova_test_suite = {
	.name = "p2pdma_iova",
	.init = iova_test_init,
	.test_cases = iova_test_cases,
};

kunit_test_suite(iova_test_suite);

MODULE_DESCRIPTION("KUnit tests of IOVA space and lists of physical memory");
MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_LICENSE("GPL");
