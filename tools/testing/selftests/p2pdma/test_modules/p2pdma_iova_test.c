// SPDX-License-Identifier: GPL-2.0
/*
 * Checks IOVA space (<linux/dma-iova.h>) and lists of physical memory
 * (<linux/p2pdma-phys-list.h>) on a real device, for the selftests.
 *
 * /sys/kernel/debug/p2pdma_iova_test/<check>: open it, write "client provider"
 * (PCI devices by name, the provider one with a CMB), and read "ok", or what
 * was wrong.  write() fails with the errno of what isn't a matter of the check.
 *
 * Addresses are compared with what the IOMMU's page tables say.  Checks that
 * change a device, or let it move data, want QEMU's edu device as a client,
 * which this is the driver of: it copies 4 KiB at a time from and to its own
 * memory.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/p2pdma-phys-list.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#define MEMORY_SIZE	SZ_128K		/* of each kind */
#define LINE_LENGTH	160
#define FEW_BITS	24		/* of addresses, to run out of soon */
#define MOST		SZ_8M		/* in one piece, if nothing is in the way */

/* What a check has to do with, and what it says in the end */
struct check {
	struct device *dev;		/* the client */
	struct iommu_domain *domain;	/* NULL: no IOMMU that the DMA API drives */
	void __iomem *edu;		/* NULL: it is another device */
	struct p2pdma_provider *provider;
	struct pci_dev *owner;
	void *bar_addr;			/* memory of it */
	phys_addr_t bar;
	void *ram_addr;
	phys_addr_t ram;
	char answer[LINE_LENGTH];
};

/* Only what is wrong first is told. */
static bool expect_true(struct check *check, int line, const char *what,
			bool holds)
{
	if (!holds && !check->answer[0])
		scnprintf(check->answer, LINE_LENGTH, "line %d: %s\n", line,
			  what);
	return holds;
}

#define expect(check, condition)					\
	expect_true(check, __LINE__, #condition, condition)

static void expect_value(struct check *check, int line, const char *what,
			 u64 value, u64 wanted)
{
	if (value == wanted || check->answer[0])
		return;
	scnprintf(check->answer, LINE_LENGTH, "line %d: %s is %#llx, not %#llx\n",
		  line, what, value, wanted);
}

#define expect_eq(check, value, wanted)					\
	expect_value(check, __LINE__, #value, value, wanted)

/* What is behind an address of the client's; 0 where nothing is */
static phys_addr_t behind(struct check *check, dma_addr_t addr)
{
	return check->domain ? iommu_iova_to_phys(check->domain, addr) : addr;
}

/* Is [addr, +size) the memory at @phys?  With @phys 0, is it nothing at all? */
static bool is_mapped(struct check *check, dma_addr_t addr, phys_addr_t phys,
		      size_t size)
{
	size_t at, step;

	for (at = 0; at < size; at += step) {
		if (behind(check, addr + at) != (phys ? phys + at : 0))
			return false;
		step = min(size - at, PAGE_SIZE - offset_in_page(addr + at));
	}
	size--;
	return behind(check, addr + size) == (phys ? phys + size : 0);
}

static int link(struct check *check, struct dma_iova_state *state,
		phys_addr_t phys, size_t offset, size_t size)
{
	return dma_iova_link(check->dev, state, phys, offset, size,
			     DMA_BIDIRECTIONAL, 0);
}

/* ---- IOVA space ---- */

static void check_without(struct check *check)
{
	struct dma_iova_state state = { .addr = 1, .__size = 1 };

	expect(check, !check->domain);
	expect(check, !dma_iova_try_alloc(check->dev, &state, check->ram,
					  SZ_4K));
	expect(check, !dma_use_iova(&state) && !state.addr);
	expect_eq(check, link(check, &state, check->ram, 0, SZ_4K), -EINVAL);
}

static void check_alloc(struct check *check)
{
	static const size_t none[] = { 0, SIZE_MAX, SIZE_MAX - SZ_4K + 1,
				       (size_t)SZ_1G << 20 };
	struct dma_iova_state state, other;
	int i;

	for (i = 0; i < ARRAY_SIZE(none); i++) {
		state = (struct dma_iova_state) { .addr = 1, .__size = 1 };
		expect(check, !dma_iova_try_alloc(check->dev, &state, 0x123,
						  none[i]));
		expect(check, !dma_use_iova(&state) && !state.addr);
	}

	if (!expect(check, dma_iova_try_alloc(check->dev, &state, 0, SZ_64K)))
		return;
	expect(check, dma_use_iova(&state));
	expect_eq(check, dma_iova_size(&state), SZ_64K);
	expect_eq(check, offset_in_page(state.addr), 0);
	expect(check, is_mapped(check, state.addr, 0, SZ_64K));

	/* Five bytes, and two pages */
	if (expect(check, dma_iova_try_alloc(check->dev, &other,
					     check->ram + SZ_4K - 2, 5))) {
		expect_eq(check, dma_iova_size(&other), 5);
		expect_eq(check, offset_in_page(other.addr), SZ_4K - 2);
		expect(check, other.addr + 5 + SZ_4K - 3 <= state.addr ||
		       state.addr + SZ_64K <= other.addr - (SZ_4K - 2));
		expect_eq(check, link(check, &other, check->ram + SZ_4K - 2, 0,
				      5), 0);
		expect(check, is_mapped(check, other.addr - (SZ_4K - 2),
					check->ram, SZ_8K));
		dma_iova_destroy(check->dev, &other, 5, DMA_BIDIRECTIONAL, 0);
		expect(check, is_mapped(check, other.addr - (SZ_4K - 2), 0,
					SZ_8K));
	}
	dma_iova_free(check->dev, &state);
}

/* Space of 0x3010 bytes, from 0x80 behind the begin of a page on */
#define HEAD	(SZ_4K - 0x80)		/* what comes before the next page */
#define SPACE	(HEAD + SZ_8K + 0x90)

static void check_refused(struct check *check)
{
	const struct {
		phys_addr_t phys;
		size_t offset, size;
	} cases[] = {
		{ check->ram + 0x80, 0, 0 },
		{ check->ram + 0x80, 0, SPACE + 1 },
		{ check->ram + 0x80, 0, SIZE_MAX },
		{ check->ram, 0, SZ_4K },		/* not as promised */
		{ check->ram + 0x81, 0, SZ_1K },
		{ check->ram + 0x80 + SZ_1K, SZ_1K, SZ_1K }, /* within a page */
		{ check->ram + 1, HEAD, SZ_4K },
		{ check->ram, HEAD + 1, SZ_1K },
		{ check->ram, HEAD, SPACE - HEAD + 1 },
		{ check->ram, HEAD, SIZE_MAX },
		{ check->ram, HEAD + SZ_8K + SZ_4K, 1 },
		{ check->ram, SPACE, 1 },
		{ check->ram, SIZE_MAX, 1 },
		{ check->ram, HEAD - SZ_4K, SZ_4K },	/* in front of it all */
	};
	struct dma_iova_state state;
	int i;

	if (!expect(check, dma_iova_try_alloc(check->dev, &state, 0x80, SPACE)))
		return;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (link(check, &state, cases[i].phys, cases[i].offset,
			 cases[i].size) != -EINVAL)
			scnprintf(check->answer, LINE_LENGTH,
				  "case %d isn't refused\n", i);
	}
	expect_eq(check, dma_iova_link(check->dev, &state, check->ram, HEAD,
				       SZ_4K, DMA_NONE, 0), -EINVAL);
	expect(check, is_mapped(check, state.addr - 0x80, 0, 4 * SZ_4K));
	dma_iova_free(check->dev, &state);
}

static void check_link(struct check *check)
{
	struct device *dev = check->dev;
	phys_addr_t ram = check->ram, bar = check->bar;
	struct dma_iova_state state;
	dma_addr_t addr;

	if (!expect(check, dma_iova_try_alloc(dev, &state, ram + 0x80, SPACE)))
		return;
	addr = state.addr;

	/* In any order, from anywhere */
	expect_eq(check, link(check, &state, ram + SZ_64K, HEAD, SZ_4K), 0);
	expect(check, is_mapped(check, addr, 0, HEAD));
	expect(check, is_mapped(check, addr + HEAD, ram + SZ_64K, SZ_4K));
	expect(check, is_mapped(check, addr + HEAD + SZ_4K, 0, SZ_4K));
	expect_eq(check, link(check, &state, ram + 0x80, 0, HEAD), 0);
	expect_eq(check, dma_iova_link(dev, &state, bar + SZ_8K, HEAD + SZ_4K,
				       SZ_4K, DMA_TO_DEVICE, DMA_ATTR_MMIO), 0);
	expect_eq(check, link(check, &state, ram + SZ_32K, HEAD + SZ_8K, 0x90),
		  0);
	expect_eq(check, dma_iova_sync(dev, &state, 0, SPACE), 0);
	expect(check, is_mapped(check, addr, ram + 0x80, HEAD));
	expect(check, is_mapped(check, addr + HEAD, ram + SZ_64K, SZ_4K));
	expect(check, is_mapped(check, addr + HEAD + SZ_4K, bar + SZ_8K,
				SZ_4K));
	expect(check, is_mapped(check, addr + HEAD + SZ_8K, ram + SZ_32K,
				0x90));

	/* What is in the middle goes, and something else comes. */
	dma_iova_unlink(dev, &state, HEAD, SZ_8K, DMA_BIDIRECTIONAL,
			DMA_ATTR_MMIO);
	expect(check, is_mapped(check, addr, ram + 0x80, HEAD));
	expect(check, is_mapped(check, addr + HEAD, 0, SZ_8K));
	expect(check, is_mapped(check, addr + HEAD + SZ_8K, ram + SZ_32K,
				0x90));
	expect_eq(check, dma_iova_link(dev, &state, bar, HEAD, SZ_8K,
				       DMA_BIDIRECTIONAL, DMA_ATTR_MMIO), 0);
	expect(check, is_mapped(check, addr + HEAD, bar, SZ_8K));

	/* At the start, which isn't aligned, too */
	dma_iova_unlink(dev, &state, 0, HEAD, DMA_BIDIRECTIONAL, 0);
	expect(check, is_mapped(check, addr - 0x80, 0, SZ_4K));
	expect_eq(check, link(check, &state, ram + SZ_16K + 0x80, 0, HEAD), 0);
	expect(check, is_mapped(check, addr, ram + SZ_16K + 0x80, HEAD));

	dma_iova_destroy(dev, &state, SPACE, DMA_BIDIRECTIONAL, 0);
	expect(check, is_mapped(check, addr - 0x80, 0, 4 * SZ_4K));
}

/* Does it get @size bytes of space?  What was freed may come back later. */
static bool gets_space(struct check *check, phys_addr_t phys, size_t size,
		       struct dma_iova_state *state)
{
	int i;

	for (i = 0; i < 100; i++) {
		if (dma_iova_try_alloc(check->dev, state, phys, size))
			return true;
		msleep(20);
	}
	return false;
}

/* Space comes back whole: it would run out soon. */
static void check_freed(struct check *check)
{
	u64 mask = dma_get_mask(check->dev);
	struct dma_iova_state state;
	int i, ret;

	if (!expect(check, check->edu))
		return;
	expect_eq(check, dma_set_mask(check->dev, DMA_BIT_MASK(FEW_BITS)), 0);

	for (i = 0; i < 100; i++) {
		/* From the last byte of a page on: the others count, too. */
		if (!expect(check, gets_space(check, 0xfff, MOST - 0xfff,
					      &state)))
			break;
		expect_eq(check, state.addr, BIT(FEW_BITS) - MOST + 0xfff);
		if (i & 1) {
			ret = link(check, &state, check->ram + 0xfff, 0, SZ_8K);
			expect_eq(check, ret, 0);
			dma_iova_destroy(check->dev, &state, SZ_8K,
					 DMA_BIDIRECTIONAL, 0);
		} else if (i & 2) {
			dma_iova_destroy(check->dev, &state, 0,
					 DMA_BIDIRECTIONAL, 0);
		} else {
			dma_iova_free(check->dev, &state);
		}
	}
	dma_set_mask(check->dev, mask);
}

/* ---- Lists ---- */

/* Memory of a list, by its place in the check's */
struct part {
	bool peer;
	size_t offset, size;
};

static struct p2pdma_phys_list *make_list(struct check *check,
					  const struct part *parts, int count,
					  int times)
{
	struct p2pdma_phys_list *list = p2pdma_phys_list_create(GFP_KERNEL);
	int i, ret;

	for (i = 0; list && i < count * times; i++) {
		const struct part *part = &parts[i % count];

		ret = p2pdma_phys_list_add(list, part->peer ? check->provider :
					   NULL, part->offset +
					   (part->peer ? check->bar : check->ram),
					   part->size, GFP_KERNEL);
		if (ret) {
			p2pdma_phys_list_free(list);
			list = NULL;
		}
	}
	return list;
}

/* All of the list is mapped, one byte after the other, through the IOMMU. */
static void expect_list(struct check *check, const struct p2pdma_phys_list *list,
			const struct p2pdma_phys_mapping *mapping)
{
	struct p2pdma_phys_iter iter = { };
	size_t at = 0, done, piece;
	unsigned int i = 0;

	while (p2pdma_phys_list_next(list, &iter)) {
		for (done = 0; done < iter.size; done += piece) {
			if (i < mapping->count && at == mapping->ranges[i].size) {
				i++;
				at = 0;
			}
			if (!expect(check, i < mapping->count))
				return;
			piece = min(iter.size - done,
				    mapping->ranges[i].size - at);
			expect(check, is_mapped(check, mapping->ranges[i].addr +
						at, iter.start + done, piece));
			at += piece;
		}
	}
	expect_eq(check, i + 1, mapping->count);
	expect_eq(check, at, mapping->ranges[i].size);
}

/* Map a list, and see that it is @ranges ranges and that nothing is left of it */
static void expect_maps(struct check *check, const struct part *parts,
			int count, unsigned int ranges)
{
	struct p2pdma_phys_list *list = make_list(check, parts, count, 1);
	struct p2pdma_phys_mapping *mapping;
	struct p2pdma_dma_range first;

	if (!expect(check, list))
		return;
	/* A kernel that checks mappings lets what is only read be mapped twice. */
	mapping = p2pdma_phys_list_map(check->dev, list, DMA_TO_DEVICE, 0,
				       GFP_KERNEL);
	if (expect(check, !IS_ERR(mapping))) {
		first = mapping->ranges[0];
		expect_eq(check, mapping->count, ranges);
		expect_list(check, list, mapping);
		p2pdma_phys_list_unmap(mapping);
		expect(check, !check->domain ||
		       is_mapped(check, first.addr, 0, first.size));
	}
	p2pdma_phys_list_free(list);
}

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

/* One contiguous range, whatever memory it is and wherever */
static void check_list(struct check *check)
{
	static const struct part peers[] = {
		{ true, 0x10, PAGES(2) - 0x10 }, { true, PAGES(7), 0x80 },
	};
	static const struct part one[] = { { false, 0x777, 3 } };

	expect_maps(check, mixed, ARRAY_SIZE(mixed), 1);
	expect_maps(check, peers, ARRAY_SIZE(peers), 1);
	expect_maps(check, one, ARRAY_SIZE(one), 1);
	expect_maps(check, peers, 1, 1);
}

/* What would leave a gap is mapped range by range. */
static void check_list_gap(struct check *check)
{
	static const struct part gaps[][3] = {
		{ { false, 0, SZ_4K }, { true, 0x100, 0x80 }, { false, 0, SZ_4K } },
		{ { false, 0, SZ_4K }, { true, 0, 0x80 }, { false, 0, SZ_4K } },
		{ { true, 0, SZ_4K }, { true, PAGES(4), 1 }, { true, PAGES(2), 1 } },
		{ { false, 1, SZ_4K }, { false, PAGES(3), 5 }, { true, 0, 1 } },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(gaps); i++)
		expect_maps(check, gaps[i], 3, 3);
}

/* The root complex forwards writes alone: an IOMMU would hide what is lost. */
static void check_list_writes(struct check *check)
{
	static const enum dma_data_direction refused[] = {
		DMA_TO_DEVICE, DMA_BIDIRECTIONAL,
	};
	struct p2pdma_phys_mapping *mapping;
	struct p2pdma_phys_list *list;
	int i;

	list = make_list(check, mixed, ARRAY_SIZE(mixed), 1);
	if (!expect(check, list) || !expect(check, check->domain))
		goto out;
	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		mapping = p2pdma_phys_list_map(check->dev, list, refused[i], 0,
					       GFP_KERNEL);
		if (!expect(check, mapping == ERR_PTR(-EREMOTEIO)))
			goto out;
	}
	mapping = p2pdma_phys_list_map(check->dev, list, DMA_FROM_DEVICE, 0,
				       GFP_KERNEL);
	if (expect(check, !IS_ERR(mapping))) {
		expect_eq(check, mapping->count, 1);
		expect_list(check, list, mapping);
		p2pdma_phys_list_unmap(mapping);
	}
out:
	p2pdma_phys_list_free(list);
}

/* Without an IOMMU: addresses as they are, and what touches is one range */
static void check_list_without(struct check *check)
{
	expect(check, !check->domain);
	expect_maps(check, mixed, ARRAY_SIZE(mixed), ARRAY_SIZE(mixed));
}

/* Its own memory goes by bus address; what is around it is contiguous. */
static void check_list_own(struct check *check)
{
	static const struct part parts[] = {
		{ false, 0x80, SZ_4K - 0x80 },
		{ true, 0x123, PAGES(2) },
		{ false, PAGES(7), 0x10 },
	};
	struct p2pdma_phys_mapping *mapping;
	struct p2pdma_dma_range *range, last;
	struct p2pdma_phys_list *list;

	list = make_list(check, parts, ARRAY_SIZE(parts), 1);
	if (!expect(check, list))
		return;
	expect(check, check->dev == check->provider->owner);
	mapping = p2pdma_phys_list_map(check->dev, list, DMA_TO_DEVICE, 0,
				       GFP_KERNEL);
	if (expect(check, !IS_ERR(mapping))) {
		range = mapping->ranges;
		expect_eq(check, mapping->count, ARRAY_SIZE(parts));
		expect_eq(check, range[1].addr, check->bar + 0x123 +
			  check->provider->bus_offset);
		expect(check, !check->domain || range[2].addr ==
		       range[0].addr + range[0].size);
		expect(check, is_mapped(check, range[0].addr,
					check->ram + 0x80, range[0].size));
		expect(check, is_mapped(check, range[2].addr,
					check->ram + PAGES(7), range[2].size));
		last = range[2];
		p2pdma_phys_list_unmap(mapping);
		expect(check, !check->domain ||
		       is_mapped(check, last.addr, 0, last.size));
	}
	p2pdma_phys_list_free(list);
}

/* Map memory again and again, unmap it, and tell how many ranges it was */
static int map_times(struct check *check, const struct part *parts, int count,
		     int times)
{
	struct p2pdma_phys_list *list = make_list(check, parts, count, times);
	struct p2pdma_phys_mapping *mapping;
	int ret;

	if (!list)
		return -ENOMEM;
	mapping = p2pdma_phys_list_map(check->dev, list, DMA_TO_DEVICE, 0,
				       GFP_KERNEL);
	if (IS_ERR(mapping)) {
		ret = PTR_ERR(mapping);
	} else {
		ret = mapping->count;
		p2pdma_phys_list_unmap(mapping);
	}
	p2pdma_phys_list_free(list);
	return ret;
}

static const struct part aligned[] = {
	{ false, 0, MEMORY_SIZE }, { true, 0, MEMORY_SIZE },
};

static int map_most(struct check *check)
{
	return map_times(check, aligned, 2, MOST / (2 * MEMORY_SIZE));
}

/* Is there room for one piece?  What was freed may come back later. */
static bool maps_most(struct check *check)
{
	int i;

	for (i = 0; i < 100; i++) {
		if (map_most(check) == 1)
			return true;
		msleep(20);
	}
	return false;
}

/* The IOMMU runs out of space on the way: all of it is there afterwards. */
static void check_list_full(struct check *check)
{
	static const struct part apart[] = {
		{ false, 0x10, SZ_64K }, { true, 0x10, SZ_64K },
	};
	u64 mask = dma_get_mask(check->dev);
	int i;

	if (!expect(check, check->edu))
		return;
	expect_eq(check, dma_set_mask(check->dev, DMA_BIT_MASK(FEW_BITS)), 0);
	for (i = 0; i < 5; i++) {
		expect_eq(check, map_times(check, apart, 2, 128), -ENOMEM);
		expect(check, maps_most(check));
		/* Too much for one piece, and then too much at all */
		expect_eq(check, map_times(check, aligned, 2, 64), -ENOMEM);
		expect(check, maps_most(check));
	}
	dma_set_mask(check->dev, mask);
}

/* For allocations that fail in turn, each of which may be one of a mapping */
static void check_map(struct check *check)
{
	u64 mask = dma_get_mask(check->dev);
	int ret;

	if (!expect(check, check->edu))
		return;
	dma_set_mask(check->dev, DMA_BIT_MASK(FEW_BITS));
	ret = map_most(check);
	dma_set_mask(check->dev, mask);
	if (ret < 0)
		scnprintf(check->answer, LINE_LENGTH, "error %d\n", -ret);
}

/* Nothing is left of those. */
static void check_map_again(struct check *check)
{
	u64 mask = dma_get_mask(check->dev);

	if (!expect(check, check->edu))
		return;
	dma_set_mask(check->dev, DMA_BIT_MASK(FEW_BITS));
	expect(check, maps_most(check));
	dma_set_mask(check->dev, mask);
}

/* A device that isn't trusted is bounced: no peer memory, and no IOVA space. */
static void check_untrusted(struct check *check)
{
	static const struct part ram = { false, 0, MEMORY_SIZE };
	struct pci_dev *pdev = to_pci_dev(check->dev);
	struct dma_iova_state state, before;
	struct scatterlist sg[2];
	struct sg_table table = { .sgl = sg, .nents = 2, .orig_nents = 2 };

	if (!expect(check, check->edu))
		return;
	if (!expect(check, dma_iova_try_alloc(check->dev, &before, 0, SZ_8K)))
		return;

	pdev->untrusted = true;
	expect(check, !dma_iova_try_alloc(check->dev, &state, 0, SZ_4K));
	expect(check, !dma_use_iova(&state));
	expect_eq(check, link(check, &before, check->ram, 0, SZ_4K), -EPERM);
	expect_eq(check, dma_iova_link(check->dev, &before, check->bar, 0, SZ_4K,
				       DMA_TO_DEVICE, DMA_ATTR_MMIO), -EPERM);
	expect(check, is_mapped(check, before.addr, 0, SZ_8K));

	expect_eq(check, map_times(check, aligned, 2, 1), -EREMOTEIO);
	expect_maps(check, &ram, 1, 1);

	sg_init_table(sg, 2);
	sg_set_page(&sg[0], virt_to_page(check->ram_addr), SZ_4K, 0);
	sg_set_page(&sg[1], virt_to_page(check->bar_addr), SZ_4K, 0);
	expect_eq(check, dma_map_sgtable(check->dev, &table, DMA_TO_DEVICE, 0),
		  -EREMOTEIO);
	pdev->untrusted = false;

	/* Nothing has changed. */
	expect_eq(check, dma_map_sgtable(check->dev, &table, DMA_TO_DEVICE, 0),
		  0);
	dma_unmap_sgtable(check->dev, &table, DMA_TO_DEVICE, 0);
	dma_iova_free(check->dev, &before);
}

/* ---- Data ---- */

#define EDU_SOURCE	0x80
#define EDU_TARGET	0x88
#define EDU_COUNT	0x90
#define EDU_COMMAND	0x98
#define EDU_START	BIT(0)
#define EDU_WRITE	BIT(1)		/* from its own memory */
#define EDU_MEMORY	0x40000
#define EDU_SIZE	SZ_2K		/* half of it; QEMU 7.2 dies of all of it */

static void edu_transfer(struct check *check, u64 source, u64 target,
			 u64 command)
{
	u64 state;

	writeq(source, check->edu + EDU_SOURCE);
	writeq(target, check->edu + EDU_TARGET);
	writeq(EDU_SIZE, check->edu + EDU_COUNT);
	writeq(command | EDU_START, check->edu + EDU_COMMAND);
	expect_eq(check, readq_poll_timeout(check->edu + EDU_COMMAND, state,
					    !(state & EDU_START), 1000,
					    60 * USEC_PER_SEC), 0);
}

static void edu_copy(struct check *check, dma_addr_t from, dma_addr_t to)
{
	edu_transfer(check, from, EDU_MEMORY, 0);
	edu_transfer(check, EDU_MEMORY, to, EDU_WRITE);
}

/*
 * The device reads and writes one contiguous range: RAM, peer, RAM, of a page
 * each.  Some transfers go across from one to the other.
 */
static void check_transfer(struct check *check)
{
	static const struct part parts[] = {
		{ false, PAGES(2), SZ_4K },
		{ true, PAGES(6), SZ_4K },
		{ false, PAGES(5), SZ_4K },
	};
	struct p2pdma_phys_mapping *mapping;
	struct p2pdma_phys_list *list;
	u8 *ram = check->ram_addr;
	void __iomem *bar = (void __iomem *)check->bar_addr + PAGES(6);
	dma_addr_t addr;
	int i;

	list = make_list(check, parts, ARRAY_SIZE(parts), 1);
	if (!expect(check, check->edu) || !expect(check, list))
		goto out;

	for (i = 0; i < SZ_4K; i++)
		ram[PAGES(2) + i] = i * 7 + (i >> 8);
	memset(ram + PAGES(5), 0, SZ_4K);
	memset_io(bar, 0, SZ_4K);

	mapping = p2pdma_phys_list_map(check->dev, list, DMA_BIDIRECTIONAL, 0,
				       GFP_KERNEL);
	if (!expect(check, !IS_ERR(mapping)))
		goto out;
	addr = mapping->ranges[0].addr;
	expect_eq(check, mapping->ranges[0].size, PAGES(3));

	/* From RAM to the peer, from there to RAM, and across both borders */
	edu_copy(check, addr, addr + PAGES(1));
	edu_copy(check, addr + PAGES(1), addr + PAGES(2) + SZ_2K);
	edu_copy(check, addr + PAGES(1) - SZ_1K, addr + PAGES(2) - SZ_1K);
	p2pdma_phys_list_unmap(mapping);

	memcpy_fromio(ram, bar, SZ_4K);
	expect(check, !memcmp(ram, ram + PAGES(2), SZ_2K));
	expect(check, !memchr_inv(ram + SZ_2K, 0, SZ_1K));
	expect(check, !memcmp(ram + SZ_1K * 3, ram + PAGES(3) - SZ_1K, SZ_1K));
	expect(check, !memcmp(ram + PAGES(5), ram + PAGES(2), SZ_1K));
	expect(check, !memchr_inv(ram + PAGES(5) + SZ_1K, 0, SZ_1K));
	expect(check, !memcmp(ram + PAGES(5) + SZ_2K, ram + PAGES(2), SZ_2K));
out:
	p2pdma_phys_list_free(list);
}

/* ---- Files ---- */

static const struct command {
	const char *name;
	void (*check)(struct check *check);
} commands[] = {
	{ "without",		check_without },
	{ "alloc",		check_alloc },
	{ "refused",		check_refused },
	{ "link",		check_link },
	{ "freed",		check_freed },
	{ "list",		check_list },
	{ "list_gap",		check_list_gap },
	{ "list_writes",	check_list_writes },
	{ "list_without",	check_list_without },
	{ "list_own",		check_list_own },
	{ "list_full",		check_list_full },
	{ "untrusted",		check_untrusted },
	{ "transfer",		check_transfer },
	{ "map",		check_map },
	{ "map_again",		check_map_again },
};

static struct pci_driver edu_driver;

static struct pci_dev *get_device_named(const char *name)
{
	struct device *dev = bus_find_device_by_name(&pci_bus_type, NULL, name);

	return dev ? to_pci_dev(dev) : NULL;
}

static int check_begin(struct check *check, struct pci_dev *client,
		       struct pci_dev *owner)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&client->dev);
	int bar;

	check->dev = &client->dev;
	if (domain && domain->type & __IOMMU_DOMAIN_DMA_API)
		check->domain = domain;
	if (client->dev.driver == &edu_driver.driver)
		check->edu = pcim_iomap_table(client)[0];

	check->owner = owner;
	check->bar_addr = pci_alloc_p2pmem(owner, MEMORY_SIZE);
	check->ram_addr = kmalloc(MEMORY_SIZE, GFP_KERNEL);
	if (!check->bar_addr || !check->ram_addr)
		return -ENOMEM;
	check->bar = virt_to_phys(check->bar_addr);
	check->ram = virt_to_phys(check->ram_addr);

	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		if (pci_resource_start(owner, bar) <= check->bar &&
		    pci_resource_end(owner, bar) >= check->bar)
			check->provider = pcim_p2pdma_provider(owner, bar);
	}
	return check->provider ? 0 : -ENODEV;
}

static void check_end(struct check *check)
{
	if (check->bar_addr)
		pci_free_p2pmem(check->owner, check->bar_addr, MEMORY_SIZE);
	kfree(check->ram_addr);
}

static int run(const struct command *command, struct check *check,
	       const char *client_name, const char *owner_name)
{
	struct pci_dev *client = get_device_named(client_name);
	struct pci_dev *owner = get_device_named(owner_name);
	int ret = -ENXIO;

	if (client && owner)
		ret = check_begin(check, client, owner);
	if (!ret)
		command->check(check);
	check_end(check);
	pci_dev_put(client);
	pci_dev_put(owner);
	return ret;
}

static int file_open(struct inode *inode, struct file *file)
{
	struct check *check = kzalloc(sizeof(*check), GFP_KERNEL);

	file->private_data = check;
	return check ? 0 : -ENOMEM;
}

static int file_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static ssize_t file_write(struct file *file, const char __user *buf,
			  size_t count, loff_t *pos)
{
	static DEFINE_MUTEX(lock);
	struct check *check = file->private_data;
	char args[LINE_LENGTH], client[32], owner[32];
	int ret;

	if (count >= sizeof(args))
		return -EBADMSG;
	if (copy_from_user(args, buf, count))
		return -EFAULT;
	args[count] = '\0';
	if (sscanf(args, "%31s %31s", client, owner) != 2)
		return -EBADMSG;

	guard(mutex)(&lock);
	memset(check, 0, sizeof(*check));
	ret = run(file_inode(file)->i_private, check, client, owner);
	return ret ?: count;
}

static ssize_t file_read(struct file *file, char __user *buf, size_t count,
			 loff_t *pos)
{
	struct check *check = file->private_data;
	const char *answer = check->answer[0] ? check->answer : "ok\n";

	return simple_read_from_buffer(buf, count, pos, answer, strlen(answer));
}

static const struct file_operations file_fops = {
	.owner = THIS_MODULE,
	.open = file_open,
	.write = file_write,
	.read = file_read,
	.release = file_release,
};

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
};

static struct dentry *root;

static int __init iova_test_init(void)
{
	int i, ret;

	ret = pci_register_driver(&edu_driver);
	if (ret)
		return ret;
	root = debugfs_create_dir(KBUILD_MODNAME, NULL);
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		debugfs_create_file(commands[i].name, 0600, root,
				    (void *)&commands[i], &file_fops);
	return 0;
}
module_init(iova_test_init);

static void __exit iova_test_exit(void)
{
	debugfs_remove(root);
	pci_unregister_driver(&edu_driver);
}
module_exit(iova_test_exit);

MODULE_DESCRIPTION("Checks IOVA space and lists of physical memory for the selftests");
MODULE_LICENSE("GPL");
