// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of PCI peer-to-peer DMA: providers, their memory, and the choice
 * of a provider.
 */

#include <linux/array_size.h>
#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/container_of.h>
#include <linux/cpumask.h>
#include <linux/device.h>
#include <linux/dma-heap.h>
#include <linux/err.h>
#include <linux/ioport.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/math.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/panic.h>
#include <linux/range.h>
#include <linux/rcupdate.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include <kunit/static_stub.h>

#include "p2pdma_test.h"

/* ---- Registration ---- */

/*
 *	host --+-- rp1 -- provider
 *	       `-- rp2 -- other
 */
static const struct pci_fabric_node bar_nodes[] = {
	{ .name = "host", .kind = PCI_FABRIC_HOST, .domain = 1, .node = 1,
	  .offset = SZ_4G },
	{ .name = "rp1", .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
	  .device = 1 },
	{ .name = "provider", .below = "rp1", .kind = PCI_FABRIC_ENDPOINT,
	  .bar = { [0] = { SZ_4M }, [2] = { SZ_2M, PCI_FABRIC_BAR_32 },
		   [3] = { SZ_256, PCI_FABRIC_BAR_IO } } },
	{ .name = "rp2", .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
	  .device = 2 },
	{ .name = "other", .below = "rp2", .kind = PCI_FABRIC_ENDPOINT },
};

static const struct p2pdma_test_fabric bar_fabric = {
	bar_nodes, ARRAY_SIZE(bar_nodes)
};

struct argument_case {
	const char *name;
	int bar;
	size_t size;
	u64 offset;
	int result;
	const char *unsafe;	/* why to skip the case on another core */
	bool warns;		/* another core reports it by a WARN() */
};

static const struct argument_case argument_cases[] = {
	{ "whole_bar", 0, 0, 0, 0 },
	{ "whole_bar_by_size", 0, SZ_4M, 0, 0 },
	{ "end_of_bar", 0, 0, SZ_2M, 0 },
	{ "part_of_bar", 0, SZ_2M, SZ_2M, 0 },
	{ "bar_of_32_bits", 2, 0, 0, 0 },
	{ "size_plus_offset_wraps", 0, -(size_t)SZ_2M, SZ_2M, -EINVAL },
	{ "size_plus_offset_wraps_to_bar", 0, -(size_t)SZ_2M, SZ_4M - SZ_64K,
	  -EINVAL },
	{ "d4_bar_minus_1", -1, 0, 0, -EINVAL,
	  "it would read in front of an array" },
	{ "d4_bar_int_min", INT_MIN, 0, 0, -EINVAL,
	  "it would read outside of an array" },
	{ "d4_bar_int_max", INT_MAX, 0, 0, -EINVAL,
	  "it would read outside of an array" },
	{ "bar_6", 6, 0, 0, -EINVAL },
	{ "io_bar", 3, 0, 0, -EINVAL },
	{ "absent_bar", 5, 0, 0, -EINVAL },
	{ "upper_half_of_bar", 1, 0, 0, -EINVAL },
	{ "size_too_large", 0, SZ_8M, 0, -EINVAL },
	{ "size_too_large_behind_offset", 0, SZ_4M, SZ_2M, -EINVAL },
	{ "offset_at_the_end", 0, 0, SZ_4M, -EINVAL },
	{ "offset_behind_the_end", 0, SZ_2M, SZ_8M, -EINVAL },
	{ "offset_largest", 0, SZ_2M, U64_MAX, -EINVAL },
	{ "d19_unaligned_offset", 0, SZ_2M, SZ_64K, -EINVAL, .warns = true },
	{ "d19_unaligned_size", 0, SZ_1M, 0, -EINVAL, .warns = true },
	{ "d19_unaligned_by_a_page", 0, SZ_2M - PAGE_SIZE, 0, -EINVAL,
	  .warns = true },
};

KUNIT_ARRAY_PARAM_DESC(argument, argument_cases, name);

static void add_resource(struct kunit *test)
{
	const struct argument_case *param = test->param_value;
	struct pci_fabric *fabric;
	struct pci_dev *provider;
	bool warned;

	if (!P2PDMA_TEST_INTERNAL && param->unsafe)
		kunit_skip(test, "%s", param->unsafe);

	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = p2pdma_test_dev(test, fabric, "provider");
	/* A driver's mistake must not WARN(); the taint shows only one. */
	warned = test_taint(TAINT_WARN);
	if (!P2PDMA_TEST_INTERNAL && param->warns && warned)
		kunit_skip(test, "the kernel has warned before");

	KUNIT_EXPECT_EQ(test, param->result,
			pci_p2pdma_add_resource(provider, param->bar,
						param->size, param->offset));
	KUNIT_EXPECT_EQ(test, test_taint(TAINT_WARN), warned);
	if (!param->result) {
		p2pdma_test_alloc(test, provider, PAGE_SIZE);
		return;
	}

	/* A refusal changes nothing. */
	p2pdma_test_none_left(test, provider, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, pci_p2pdma_add_resource(provider, 0, 0, 0));
	p2pdma_test_alloc(test, provider, PAGE_SIZE);
}

static void registered_twice(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct pci_dev *provider;

	if (!P2PDMA_TEST_INTERNAL)
		kunit_skip(test, "this core warns, and says something else");
	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = p2pdma_test_dev(test, fabric, "provider");
	KUNIT_EXPECT_EQ(test, 0,
			pci_p2pdma_add_resource(provider, 0, SZ_2M, SZ_2M));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			pci_p2pdma_add_resource(provider, 0, SZ_2M, SZ_2M));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			pci_p2pdma_add_resource(provider, 0, 0, 0));
	KUNIT_EXPECT_EQ(test, 0, pci_p2pdma_add_resource(provider, 0, SZ_2M, 0));
	KUNIT_EXPECT_NOT_NULL(test, p2pdma_test_alloc(test, provider, SZ_2M));
	KUNIT_EXPECT_NOT_NULL(test, p2pdma_test_alloc(test, provider, SZ_2M));
	p2pdma_test_none_left(test, provider, PAGE_SIZE);
}

/* ---- Memory ---- */

/* Allocate all memory page by page, into @taken */
static unsigned int take_all(struct pci_dev *provider, void **taken,
			     unsigned int most)
{
	unsigned int count;

	for (count = 0; count < most; count++) {
		taken[count] = pci_alloc_p2pmem(provider, PAGE_SIZE);
		if (!taken[count])
			break;
	}
	return count;
}

/* Each page lies in one of the BARs, with a bus address of its own. */
static void several_bars_in_one_pool(struct kunit *test)
{
	static const int bars[] = { 0, 2 };
	const unsigned int pages = (SZ_4M + SZ_2M) / PAGE_SIZE;
	unsigned int i, j, count, again, inside[ARRAY_SIZE(bars)] = { };
	unsigned long *seen;
	struct pci_fabric *fabric;
	struct pci_dev *provider;
	u64 bus, start, phys;
	void **taken;

	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = p2pdma_test_dev(test, fabric, "provider");
	taken = kunit_kcalloc(test, pages + 1, sizeof(*taken), GFP_KERNEL);
	seen = kunit_kcalloc(test, BITS_TO_LONGS(pages), sizeof(long),
			     GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, taken);
	KUNIT_ASSERT_NOT_NULL(test, seen);
	for (j = 0; j < ARRAY_SIZE(bars); j++)
		KUNIT_ASSERT_EQ(test, 0, pci_p2pdma_add_resource(provider,
								 bars[j], 0, 0));

	/* The windows have different offsets. */
	KUNIT_EXPECT_NE(test,
			pci_resource_start(provider, 0) - pci_bus_address(provider, 0),
			pci_resource_start(provider, 2) - pci_bus_address(provider, 2));

	count = take_all(provider, taken, pages + 1);
	for (i = 0; i < count; i++) {
		bus = pci_p2pmem_virt_to_bus(provider, taken[i]);
		phys = page_to_phys(virt_to_page(taken[i]));
		for (j = 0; j < ARRAY_SIZE(bars); j++) {
			start = pci_resource_start(provider, bars[j]);
			if (phys < start ||
			    phys > pci_resource_end(provider, bars[j]))
				continue;
			if (bus == pci_bus_address(provider, bars[j]) + phys - start)
				inside[j]++;
			__set_bit((phys - start) / PAGE_SIZE +
				  (bars[j] ? SZ_4M / PAGE_SIZE : 0), seen);
		}
	}
	for (i = 0; i < count; i++)
		pci_free_p2pmem(provider, taken[i], PAGE_SIZE);
	again = take_all(provider, taken, pages + 1);
	for (i = 0; i < again; i++)
		pci_free_p2pmem(provider, taken[i], PAGE_SIZE);

	KUNIT_EXPECT_EQ(test, count, pages);
	KUNIT_EXPECT_EQ(test, again, pages);
	KUNIT_EXPECT_EQ(test, inside[0], SZ_4M / PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, inside[1], SZ_2M / PAGE_SIZE);
	KUNIT_EXPECT_TRUE(test, bitmap_full(seen, pages));
}

static void virt_to_bus(struct kunit *test)
{
	struct pci_dev *provider, *other;
	struct pci_fabric *fabric;
	void *addr;

	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = p2pdma_test_provider(test, fabric, "provider");
	other = p2pdma_test_dev(test, fabric, "other");
	addr = p2pdma_test_alloc(test, provider, SZ_4M);

	/* The bus address differs by the offset of the host bridge's node. */
	KUNIT_EXPECT_EQ(test, pci_p2pmem_virt_to_bus(provider, addr),
			pci_resource_start(provider, 0) - SZ_4G);
	KUNIT_EXPECT_EQ(test,
			pci_p2pmem_virt_to_bus(provider, addr + SZ_1M + 1),
			pci_resource_start(provider, 0) - SZ_4G + SZ_1M + 1);
	KUNIT_EXPECT_EQ(test, pci_p2pmem_virt_to_bus(provider, NULL), 0);
	KUNIT_EXPECT_EQ(test, pci_p2pmem_virt_to_bus(other, addr), 0);
	/* Nor is memory that is no provider's.  (Another core says -1.) */
	if (P2PDMA_TEST_INTERNAL)
		KUNIT_EXPECT_EQ(test, pci_p2pmem_virt_to_bus(provider, test), 0);
}

static void alloc(struct kunit *test)
{
	struct pci_dev *provider, *other;
	struct pci_fabric *fabric;
	void *addr;

	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = p2pdma_test_provider(test, fabric, "provider");
	other = p2pdma_test_dev(test, fabric, "other");

	p2pdma_test_none_left(test, other, PAGE_SIZE);
	p2pdma_test_none_left(test, provider, 0);
	p2pdma_test_none_left(test, provider, SZ_4M + 1);
	addr = pci_alloc_p2pmem(provider, SZ_4M);
	KUNIT_ASSERT_NOT_NULL(test, addr);
	p2pdma_test_none_left(test, provider, 1);
	pci_free_p2pmem(provider, addr, SZ_4M);

	/* Small requests get whole pages. */
	addr = p2pdma_test_alloc(test, provider, 1);
	KUNIT_EXPECT_TRUE(test, PAGE_ALIGNED(addr));
	addr = p2pdma_test_alloc(test, provider, SZ_4M - PAGE_SIZE);
	KUNIT_EXPECT_TRUE(test, PAGE_ALIGNED(addr));
	p2pdma_test_none_left(test, provider, 1);
}

static void scatterlist(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct pci_dev *provider;
	unsigned int i, nents = 7;
	struct scatterlist *sgl, *sg;
	u64 length = 0;

	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = p2pdma_test_provider(test, fabric, "provider");
	KUNIT_EXPECT_NULL(test, pci_p2pmem_alloc_sgl(provider, &nents, SZ_8M));
	KUNIT_EXPECT_EQ(test, nents, 7);

	sgl = pci_p2pmem_alloc_sgl(provider, &nents, 3 * PAGE_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, sgl);
	KUNIT_EXPECT_EQ(test, nents, sg_nents(sgl));
	for_each_sg(sgl, sg, nents, i) {
		length += sg->length;
		KUNIT_EXPECT_TRUE(test, is_pci_p2pdma_page(sg_page(sg)));
	}
	KUNIT_EXPECT_EQ(test, length, 3 * PAGE_SIZE);
	pci_p2pmem_free_sgl(provider, sgl);
	/* All memory was freed. */
	p2pdma_test_alloc(test, provider, SZ_4M);
}

#if P2PDMA_TEST_INTERNAL
/* ---- Properties of this core's pool ---- */

#define SHORT_COUNT	256
#define SHORT_SIZE	SZ_512

static size_t available(struct pci_dev *pdev)
{
	guard(rcu)();
	return p2pdma_pool_available(p2pdma_of(pdev)->pool);
}

/* Requests of less than a page get a page each, shared with no other user. */
static void less_than_a_page(struct kunit *test)
{
	unsigned int i, nents, count, users = 0, wrong = 0;
	struct p2pdma_region *region;
	struct scatterlist **sgls;
	struct pci_fabric *fabric;
	struct pci_dev *provider;
	unsigned long *seen;
	void *addr, *start;

	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = p2pdma_test_provider(test, fabric, "provider");
	start = pci_alloc_p2pmem(provider, SZ_4M);
	KUNIT_ASSERT_NOT_NULL(test, start);
	pci_free_p2pmem(provider, start, SZ_4M);

	sgls = kunit_kcalloc(test, SHORT_COUNT, sizeof(*sgls), GFP_KERNEL);
	seen = kunit_kcalloc(test, BITS_TO_LONGS(SZ_4M / PAGE_SIZE),
			     sizeof(*seen), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, sgls);
	KUNIT_ASSERT_NOT_NULL(test, seen);

	for (count = 0; count < SHORT_COUNT; count++) {
		sgls[count] = pci_p2pmem_alloc_sgl(provider, &nents,
						   SHORT_SIZE);
		if (!sgls[count])
			break;
		addr = sg_virt(sgls[count]);
		wrong += nents != 1 || sgls[count]->length != SHORT_SIZE ||
			 offset_in_page(addr) ||
			 __test_and_set_bit((addr - start) / PAGE_SIZE, seen);
	}
	KUNIT_EXPECT_EQ(test, count, SHORT_COUNT);
	KUNIT_EXPECT_EQ(test, available(provider), SZ_4M - count * PAGE_SIZE);

	/* User space can have all other pages. */
	while ((addr = p2pdma_alloc_user(provider, PAGE_SIZE, &region))) {
		wrong += __test_and_set_bit((addr - start) / PAGE_SIZE, seen);
		users++;
	}
	KUNIT_EXPECT_EQ(test, users, SZ_4M / PAGE_SIZE - count);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	KUNIT_EXPECT_EQ(test, available(provider), 0);

	for (i = 0; i < count; i++) {
		__clear_bit((sg_virt(sgls[i]) - start) / PAGE_SIZE, seen);
		pci_p2pmem_free_sgl(provider, sgls[i]);
	}
	KUNIT_EXPECT_EQ(test, available(provider), count * PAGE_SIZE);

	/* The bits that are still set are pages of user space. */
	for_each_set_bit(i, seen, SZ_4M / PAGE_SIZE)
		p2pdma_free_user(region, start + i * PAGE_SIZE, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, available(provider), SZ_4M);
}

/* ---- Pages that are counted one by one ---- */

/* All pages of a device: each once, and free with its last reference */
static void single_pages(struct kunit *test)
{
	unsigned int i, count, pages = SZ_4M / PAGE_SIZE, wrong = 0;
	struct pci_dev *provider, *other;
	struct pci_fabric *fabric;
	struct page **page;

	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = p2pdma_test_provider(test, fabric, "provider");
	other = p2pdma_test_dev(test, fabric, "other");
	page = kunit_kcalloc(test, pages + 1, sizeof(*page), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_NULL(test, pci_p2pmem_alloc_page(other));

	for (count = 0; count <= pages; count++) {
		page[count] = pci_p2pmem_alloc_page(provider);
		if (!page[count])
			break;
		/* Of this device, and nobody else's */
		wrong += !is_pci_p2pdma_page(page[count]) ||
			 page_count(page[count]) != 1 ||
			 p2pdma_region(page[count]->pgmap)->bar->p2pdma->pdev !=
			 provider;
		get_page(page[count]);
	}
	KUNIT_EXPECT_EQ(test, count, pages);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	KUNIT_EXPECT_EQ(test, available(provider), 0);
	p2pdma_test_none_left(test, provider, PAGE_SIZE);

	/* The reference of a DMA, say, keeps the page. */
	for (i = 0; i < count; i++)
		put_page(page[i]);
	KUNIT_EXPECT_EQ(test, available(provider), 0);
	for (i = 0; i < count; i++)
		put_page(page[i]);
	KUNIT_EXPECT_EQ(test, available(provider), SZ_4M);
	/* One range again, and not one page twice */
	p2pdma_test_alloc(test, provider, SZ_4M);
}

/* A BAR that has moved refuses, and takes back what it gave. */
static void single_pages_moved(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct pci_dev *provider;
	struct page *page, *after;

	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = p2pdma_test_provider(test, fabric, "provider");
	page = pci_p2pmem_alloc_page(provider);
	KUNIT_ASSERT_NOT_NULL(test, page);

	provider->resource[0].flags |= IORESOURCE_UNSET;
	after = pci_p2pmem_alloc_page(provider);
	put_page(page);
	provider->resource[0].flags &= ~IORESOURCE_UNSET;
	KUNIT_EXPECT_NULL(test, after);
	KUNIT_EXPECT_EQ(test, available(provider), SZ_4M);
}

struct last_put {
	struct delayed_work work;
	struct page *page;
	bool done;
};

static void last_put(struct work_struct *work)
{
	struct last_put *late = container_of(work, struct last_put, work.work);

	WRITE_ONCE(late->done, true);
	put_page(late->page);
}

/* The device's removal waits for DMA, which has the last reference. */
static void single_page_outlives_driver(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct pci_dev *provider;
	struct last_put late = { };
	void *driver;

	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = p2pdma_test_dev(test, fabric, "provider");
	driver = p2pdma_test_probe(test, provider);
	KUNIT_ASSERT_EQ(test, 0, pci_p2pdma_add_resource(provider, 0, 0, 0));
	late.page = pci_p2pmem_alloc_page(provider);
	KUNIT_ASSERT_NOT_NULL(test, late.page);

	INIT_DELAYED_WORK_ONSTACK(&late.work, last_put);
	schedule_delayed_work(&late.work, HZ / 10);
	p2pdma_test_leave(test, provider, driver);
	KUNIT_EXPECT_TRUE(test, READ_ONCE(late.done));
	KUNIT_EXPECT_NULL(test, pci_p2pmem_alloc_page(provider));
	flush_delayed_work(&late.work);
	destroy_delayed_work_on_stack(&late.work);
}

static unsigned int refused;

static void count_refused(const char *what, void *addr, size_t size)
{
	refused++;
}

static const struct bad_free_case {
	const char *name;
	long offset;
	size_t size;
} bad_free_cases[] = {
	{ "shorter", 0, PAGE_SIZE },
	{ "longer", 0, 4 * PAGE_SIZE },
	{ "nothing", 0, 0 },
	{ "all_before_the_end", PAGE_SIZE, 2 * PAGE_SIZE },
	{ "not_a_page", 64, 3 * PAGE_SIZE },
	{ "free", SZ_2M, PAGE_SIZE },
	{ "beyond_the_end", 0, SZ_8M },
};

KUNIT_ARRAY_PARAM_DESC(bad_free, bad_free_cases, name);

/*
 * A bad free is refused with one warning, and drops no reference: removing the
 * provider still waits for the correct free, and only for that.
 */
static void bad_free(struct kunit *test)
{
	const struct bad_free_case *param = test->param_value;
	struct pci_fabric *fabric;
	struct pci_dev *provider;
	void *addr;

	refused = 0;
	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = p2pdma_test_provider(test, fabric, "provider");
	addr = pci_alloc_p2pmem(provider, 3 * PAGE_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, addr);

	kunit_activate_static_stub(test, p2pdma_pool_warn, count_refused);
	pci_free_p2pmem(provider, addr + param->offset, param->size);
	KUNIT_EXPECT_EQ(test, refused, 1);
	KUNIT_EXPECT_EQ(test, available(provider), SZ_4M - 3 * PAGE_SIZE);

	pci_free_p2pmem(provider, addr, 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, refused, 1);
	KUNIT_EXPECT_EQ(test, available(provider), SZ_4M);
	pci_free_p2pmem(provider, addr, 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, refused, 2);
	KUNIT_EXPECT_EQ(test, available(provider), SZ_4M);
	kunit_deactivate_static_stub(test, p2pdma_pool_warn);

	/* All memory is free, and can be allocated only once. */
	addr = p2pdma_test_alloc(test, provider, SZ_4M);
	p2pdma_test_none_left(test, provider, 1);
}
#endif /* P2PDMA_TEST_INTERNAL */

#if P2PDMA_TEST_INTERNAL
/* ---- Memory that isn't the device's ---- */

enum foreign { FOREIGN_NULL, FOREIGN_SLAB, FOREIGN_VMALLOC, FOREIGN_PEER };

static const struct foreign_case {
	const char *name;
	enum foreign of;
} foreign_cases[] = {
	{ "null", FOREIGN_NULL },
	{ "system_memory", FOREIGN_SLAB },
	{ "vmalloc", FOREIGN_VMALLOC },
	{ "of_another_provider", FOREIGN_PEER },
};

KUNIT_ARRAY_PARAM_DESC(foreign, foreign_cases, name);

/* Freeing foreign memory is refused with a warning, and changes no pool. */
static void foreign_free(struct kunit *test)
{
	const struct foreign_case *param = test->param_value;
	struct pci_dev *provider, *other;
	void *own, *peer, *pages, *addr;
	struct pci_fabric *fabric;

	refused = 0;
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	provider = p2pdma_test_provider(test, fabric, "a");
	other = p2pdma_test_provider(test, fabric, "b");
	own = p2pdma_test_alloc(test, provider, PAGE_SIZE);
	peer = pci_alloc_p2pmem(other, PAGE_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, peer);
	pages = vmalloc(PAGE_SIZE);
	KUNIT_EXPECT_NOT_NULL(test, pages);
	addr = param->of == FOREIGN_PEER ? peer :
	       param->of == FOREIGN_VMALLOC ? pages :
	       param->of == FOREIGN_SLAB ? test : NULL;

	kunit_activate_static_stub(test, p2pdma_pool_warn, count_refused);
	pci_free_p2pmem(provider, addr, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, refused, 1);
	KUNIT_EXPECT_EQ(test, available(provider), SZ_4M - PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, available(other), SZ_4M - PAGE_SIZE);

	/* A device without peer memory */
	pci_free_p2pmem(p2pdma_test_dev(test, fabric, "d1"), own, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, refused, 2);
	KUNIT_EXPECT_EQ(test, available(provider), SZ_4M - PAGE_SIZE);

	pci_free_p2pmem(other, peer, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, refused, 2);
	KUNIT_EXPECT_EQ(test, available(other), SZ_4M);
	kunit_deactivate_static_stub(test, p2pdma_pool_warn);
	vfree(pages);
}

/* ---- Registration that isn't possible ---- */

static void bar_without_address(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct pci_dev *provider;
	struct resource *bar;
	int round;

	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = p2pdma_test_dev(test, fabric, "provider");
	bar = pci_resource_n(provider, 0);

	/* As the first BAR, then as the second one */
	for (round = 0; round < 2; round++) {
		bar->flags |= IORESOURCE_UNSET;
		KUNIT_EXPECT_EQ(test, -ENODEV,
				pci_p2pdma_add_resource(provider, 0, 0, 0));
		bar->flags &= ~IORESOURCE_UNSET;
		KUNIT_EXPECT_EQ(test, !!rcu_access_pointer(provider->p2pdma),
				round);
		KUNIT_EXPECT_EQ(test, 0, pci_p2pdma_add_resource(provider,
								 round ? 0 : 2,
								 0, 0));
	}
	KUNIT_EXPECT_EQ(test, available(provider), SZ_4M + SZ_2M);
}

/* Firmware may put a BAR beyond the addresses that can have struct pages. */
static void bar_beyond_the_map(struct kunit *test)
{
	const struct range limit = mhp_get_pluggable_range(true);
	const u64 starts[] = { limit.end + 1, limit.end + 1 - SZ_2M };
	struct pci_fabric *fabric;
	struct pci_dev *provider;
	struct resource *bar;
	u64 start, end;
	int i;

	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = p2pdma_test_dev(test, fabric, "provider");
	bar = pci_resource_n(provider, 0);
	start = bar->start;
	end = bar->end;

	for (i = 0; i < ARRAY_SIZE(starts); i++) {
		bar->start = starts[i];
		bar->end = starts[i] + SZ_4M - 1;
		KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
				pci_p2pdma_add_resource(provider, 0, 0, 0));
		bar->start = start;
		bar->end = end;
		KUNIT_EXPECT_NULL(test, rcu_access_pointer(provider->p2pdma));
	}
	KUNIT_EXPECT_EQ(test, 0, pci_p2pdma_add_resource(provider, 0, 0, 0));
	KUNIT_EXPECT_EQ(test, available(provider), SZ_4M);
}

struct late {
	struct pci_dev *pdev;
	int result;
};

static void register_late(void *data)
{
	struct late *late = data;

	late->result = pci_p2pdma_add_resource(late->pdev, 2, 0, 0);
}

/* Registering and publishing while the driver is unbound have no effect. */
static void driver_leaving(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct late late = { };
	void *driver;

	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	late.pdev = p2pdma_test_dev(test, fabric, "provider");
	driver = p2pdma_test_probe(test, late.pdev);
	KUNIT_ASSERT_EQ(test, 0, pci_p2pdma_add_resource(late.pdev, 0, 0, 0));
	KUNIT_ASSERT_EQ(test, 0, devm_add_action(&late.pdev->dev, register_late,
						 &late));
	p2pdma_test_leave(test, late.pdev, driver);
	KUNIT_EXPECT_EQ(test, late.result, -ENODEV);
	KUNIT_EXPECT_NULL(test, rcu_access_pointer(late.pdev->p2pdma));

	/* The next driver can register both BARs. */
	KUNIT_EXPECT_EQ(test, 0, pci_p2pdma_add_resource(late.pdev, 0, 0, 0));
	KUNIT_EXPECT_EQ(test, 0, pci_p2pdma_add_resource(late.pdev, 2, 0, 0));
	KUNIT_EXPECT_EQ(test, available(late.pdev), SZ_4M + SZ_2M);
}

/* ---- The limit of user space ---- */

/* A limit is in whole pages; memory that is registered later isn't limited. */
static void user_limit(struct kunit *test)
{
	static const struct {
		u64 set;
		size_t limit;
	} cases[] = {
		{ 0, 0 },
		{ PAGE_SIZE - 1, 0 },
		{ 3 * PAGE_SIZE + 1, 3 * PAGE_SIZE },
		{ SZ_4M - 1, SZ_4M - PAGE_SIZE },
		{ U64_MAX, SZ_4M },
		{ SZ_4M, SZ_4M },
	};
	struct p2pdma_region *region, *other;
	struct pci_p2pdma *p2pdma;
	struct pci_fabric *fabric;
	struct pci_dev *provider;
	void *addr, *page;
	int i;

	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = p2pdma_test_provider(test, fabric, "provider");
	p2pdma = rcu_access_pointer(provider->p2pdma);
	KUNIT_EXPECT_EQ(test, p2pdma_user_limit(p2pdma), SZ_4M);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		p2pdma_set_user_limit(p2pdma, cases[i].set);
		KUNIT_EXPECT_EQ(test, p2pdma_user_limit(p2pdma),
				cases[i].limit);
		KUNIT_EXPECT_TRUE(test, p2pdma_user_fits(p2pdma,
							 cases[i].limit));
		KUNIT_EXPECT_FALSE(test, p2pdma_user_fits(p2pdma,
							  cases[i].limit +
							  PAGE_SIZE));
		KUNIT_EXPECT_NULL(test, p2pdma_alloc_user(provider,
							  cases[i].limit +
							  PAGE_SIZE, &region));
		if (!cases[i].limit)
			continue;
		addr = p2pdma_alloc_user(provider, cases[i].limit, &region);
		KUNIT_ASSERT_NOT_NULL(test, addr);
		KUNIT_EXPECT_FALSE(test, p2pdma_user_fits(p2pdma, PAGE_SIZE));
		KUNIT_EXPECT_NULL(test, p2pdma_alloc_user(provider, PAGE_SIZE,
							  &other));
		p2pdma_free_user(region, addr, cases[i].limit);
	}

	/* Kernel users aren't limited, and leave user space the rest. */
	p2pdma_set_user_limit(p2pdma, 2 * PAGE_SIZE);
	addr = pci_alloc_p2pmem(provider, SZ_4M - PAGE_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, addr);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_NULL(test, p2pdma_alloc_user(provider,
							  2 * PAGE_SIZE,
							  &region));
	pci_free_p2pmem(provider, addr, SZ_4M - PAGE_SIZE);
	/* What the pool refused isn't counted. */
	page = p2pdma_alloc_user(provider, 2 * PAGE_SIZE, &region);
	KUNIT_ASSERT_NOT_NULL(test, page);
	p2pdma_free_user(region, page, 2 * PAGE_SIZE);

	p2pdma_set_user_limit(p2pdma, SZ_4M);
	KUNIT_ASSERT_EQ(test, 0, pci_p2pdma_add_resource(provider, 2, 0, 0));
	KUNIT_EXPECT_EQ(test, p2pdma_user_limit(p2pdma), SZ_4M + SZ_2M);
}

#define LIMIT_ROUNDS	20000

/* With a limit of one page, only one of two threads can have a page. */
struct limit_race {
	struct pci_dev *provider;
	atomic_t started;
	atomic_t ended;
	atomic_t tries;
	atomic_t holders;
	atomic_t had;
	atomic_t refused;
	bool overrun;
};

/* Give the other thread time to try it meanwhile. */
static void await_try(struct limit_race *race)
{
	int tries = atomic_read(&race->tries);

	while (atomic_read(&race->tries) == tries &&
	       !atomic_read(&race->ended))
		cond_resched();
}

static int hold_a_page(void *data)
{
	struct p2pdma_region *region;
	struct limit_race *race = data;
	void *addr;
	int i;

	atomic_inc(&race->started);
	while (atomic_read(&race->started) < 2)
		cond_resched();
	for (i = 0; i < LIMIT_ROUNDS; i++) {
		cond_resched();
		atomic_inc(&race->tries);
		addr = p2pdma_alloc_user(race->provider, PAGE_SIZE, &region);
		if (!addr) {
			atomic_inc(&race->refused);
			continue;
		}
		if (atomic_inc_return(&race->holders) > 1)
			WRITE_ONCE(race->overrun, true);
		atomic_inc(&race->had);
		if (i % 1000 == 0)
			await_try(race);
		atomic_dec(&race->holders);
		p2pdma_free_user(region, addr, PAGE_SIZE);
	}
	atomic_inc(&race->ended);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static void user_limit_race(struct kunit *test)
{
	unsigned int cpu = cpumask_first(cpu_online_mask);
	struct task_struct *threads[2];
	struct pci_fabric *fabric;
	struct limit_race *race;
	int i;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	race = kunit_kzalloc(test, sizeof(*race), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, race);
	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	race->provider = p2pdma_test_provider(test, fabric, "provider");
	p2pdma_set_user_limit(rcu_access_pointer(race->provider->p2pdma),
			      PAGE_SIZE);

	for (i = 0; i < 2; i++) {
		threads[i] = kthread_create_on_cpu(hold_a_page, race, cpu,
						   "p2pdma_limit/%u");
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, threads[i]);
		cpu = cpumask_next(cpu, cpu_online_mask);
	}
	for (i = 0; i < 2; i++)
		wake_up_process(threads[i]);
	/* A thread that is stopped before it starts never starts. */
	while (atomic_read(&race->started) < 2)
		schedule_timeout_uninterruptible(1);
	for (i = 0; i < 2; i++)
		kthread_stop(threads[i]);

	kunit_info(test, "%d pages had, %d refused\n", atomic_read(&race->had),
		   atomic_read(&race->refused));
	KUNIT_EXPECT_GT(test, atomic_read(&race->had), 0);
	KUNIT_EXPECT_GT(test, atomic_read(&race->refused), 0);
	KUNIT_EXPECT_FALSE(test, race->overrun);
	KUNIT_EXPECT_EQ(test, available(race->provider), SZ_4M);
}

/* ---- Heaps ---- */

#ifdef CONFIG_PCI_P2PDMA_HEAP
/* More heaps than there are minors */
#define HEAPS	256

static struct dma_buf *allocate_nothing(struct dma_heap *heap,
					unsigned long len, u32 fd_flags,
					u64 heap_flags)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static const struct heap_case {
	const char *name;
	bool same_name;		/* the name is taken; else all minors are */
} heap_cases[] = {
	{ "name_taken", true },
	{ "no_minor_left", false },
};

KUNIT_ARRAY_PARAM_DESC(heap, heap_cases, name);

/* Publish or unpublish, and wait for the heap's work */
static struct dma_heap *heap_when(struct pci_dev *pdev, bool published)
{
	struct pci_p2pdma *device = rcu_access_pointer(pdev->p2pdma);

	pci_p2pmem_publish(pdev, published);
	flush_work(&device->heap_work);
	return device->heap;
}

/* Memory is published without a heap, and gets one as soon as possible. */
static void no_heap(struct kunit *test)
{
	static const struct dma_heap_ops ops = { .allocate = allocate_nothing };
	const struct heap_case *param = test->param_value;
	struct dma_heap_export_info info = { .ops = &ops };
	struct p2pdma_region *region;
	struct dma_heap **heaps;
	struct pci_fabric *fabric;
	struct pci_dev *provider;
	int count;
	void *addr;

	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = p2pdma_test_provider(test, fabric, "provider");
	heaps = kunit_kcalloc(test, HEAPS, sizeof(*heaps), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, heaps);

	for (count = 0; count < (param->same_name ? 1 : HEAPS); count++) {
		info.name = param->same_name ?
			    p2pdma_test_name(test, "p2pmem-%s",
					     pci_name(provider)) :
			    p2pdma_test_name(test, "test-%d", count);
		heaps[count] = dma_heap_add(&info);
		if (IS_ERR(heaps[count]))
			break;
	}
	KUNIT_EXPECT_GT(test, count, 0);
	KUNIT_EXPECT_LT(test, count, HEAPS);

	KUNIT_EXPECT_NULL(test, heap_when(provider, true));
	KUNIT_EXPECT_TRUE(test, pci_has_p2pmem(provider));
	addr = p2pdma_alloc_user(provider, SZ_4M, &region);
	KUNIT_EXPECT_NOT_NULL(test, addr);
	if (addr)
		p2pdma_free_user(region, addr, SZ_4M);
	KUNIT_EXPECT_NULL(test, heap_when(provider, false));

	while (count--)
		dma_heap_remove(heaps[count]);
	KUNIT_EXPECT_NOT_NULL(test, heap_when(provider, true));
	KUNIT_EXPECT_NULL(test, heap_when(provider, false));
}
#endif
#endif /* P2PDMA_TEST_INTERNAL */

static void publish(struct kunit *test)
{
	struct pci_dev *provider, *other, *found;
	struct pci_fabric *fabric;

	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = p2pdma_test_provider(test, fabric, "provider");
	other = p2pdma_test_dev(test, fabric, "other");
	KUNIT_EXPECT_FALSE(test, pci_has_p2pmem(provider));
	KUNIT_EXPECT_NULL(test, pci_p2pmem_find(&provider->dev));

	pci_p2pmem_publish(provider, true);
	KUNIT_EXPECT_TRUE(test, pci_has_p2pmem(provider));
	found = pci_p2pmem_find(&provider->dev);
	KUNIT_EXPECT_PTR_EQ(test, found, provider);
	pci_dev_put(found);

	pci_p2pmem_publish(provider, false);
	KUNIT_EXPECT_FALSE(test, pci_has_p2pmem(provider));
	KUNIT_EXPECT_NULL(test, pci_p2pmem_find(&provider->dev));

	/* A device without memory can't be published. */
	KUNIT_EXPECT_FALSE(test, pci_has_p2pmem(other));
}

/* An unplugged device isn't found, though it is still referenced. */
static void unplugged(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct pci_dev *provider;

	fabric = p2pdma_test_create(test, &bar_fabric, NULL);
	provider = pci_dev_get(p2pdma_test_provider(test, fabric, "provider"));
	pci_p2pmem_publish(provider, true);

	pci_fabric_unplug(fabric, "provider");
	KUNIT_EXPECT_FALSE(test, pci_has_p2pmem(provider));
	p2pdma_test_none_left(test, provider, PAGE_SIZE);
	KUNIT_EXPECT_NULL(test, pci_p2pmem_find(&provider->dev));
	pci_dev_put(provider);
}

/* ---- Distance ---- */

static void distance_many(struct kunit *test)
{
	struct pci_dev *a, *b, *c, *e;
	struct pci_fabric *fabric;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_dev(test, fabric, "b");
	c = p2pdma_test_dev(test, fabric, "c");
	e = p2pdma_test_dev(test, fabric, "e");

	struct device *near[] = { &a->dev, &c->dev, &b->dev };
	struct device *mixed[] = { &a->dev, &e->dev, &c->dev };
	struct device *own[] = { &b->dev };

	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance(b, &a->dev, false), 4);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance(b, &c->dev, false), 6);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance_many(b, near, 3, false), 10);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance_many(b, near, 1, false), 4);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance_many(b, own, 1, false), 0);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance_many(b, near, 0, false), -1);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance_many(b, mixed, 3, false), -1);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance_many(b, mixed, 3, true), -1);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance_many(b, mixed, 1, true), 4);
}

/* ---- Choice ---- */

/* All host bridges of the tree forward. */
static const struct p2pdma_test_change all_listed[] = {
	{ "rp1", P2PDMA_TEST_ID, 0x80862030 },
	{ "rp2", P2PDMA_TEST_ID, 0x80862030 },
	{ "rp3", P2PDMA_TEST_ID, 0x80862030 },
	{ "rp4", P2PDMA_TEST_ID, 0x80862030 },
	{ }
};

/* Enough calls to detect a random choice */
#define CALLS		64

#define CLIENTS		2

/**
 * struct choice_case - of two providers, the better one is always chosen
 * @name: the step of the preference
 * @clients: devices to find a provider for
 * @better: provider that must be chosen
 * @worse: provider that must not be chosen
 * @better_node: NUMA node of @better
 * @worse_node: NUMA node of @worse
 * @better_taken: bytes of @better's memory that are allocated
 * @worse_taken: bytes of @worse's memory that are allocated
 */
struct choice_case {
	const char *name;
	const char *clients[CLIENTS];
	const char *better;
	const char *worse;
	int better_node;
	int worse_node;
	size_t better_taken;
	size_t worse_taken;
};

static const struct choice_case choice_cases[] = {
	{ "own_memory_before_switch", { "a" }, "a", "b" },
	{ "own_memory_before_most_free", { "a" }, "a", "b",
	  .better_node = 1, .better_taken = SZ_2M },
	{ "d10_switch_before_root_port", { "a" }, "c", "e" },
	{ "d10_switch_before_node", { "a" }, "c", "e", .better_node = 1 },
	{ "d10_same_host_bridge_before_other", { "a" }, "e", "g" },
	{ "d10_same_host_bridge_before_node", { "a" }, "e", "g",
	  .better_node = 1 },
	{ "d10_node_before_hops", { "a" }, "c", "b", .worse_node = 1 },
	{ "d10_same_node", { "a" }, "c", "d", .worse_node = 1 },
	{ "hops", { "a" }, "b", "c" },
	{ "hops_before_memory", { "a" }, "b", "c", .better_taken = SZ_2M },
	{ "d10_most_memory_free", { "a" }, "c", "d", .worse_taken = PAGE_SIZE },
	{ "sum_of_hops", { "c", "d" }, "d", "a" },
	{ "d10_sum_of_classes", { "a", "e" }, "b", "f" },
	{ "own_memory_of_one_of_two", { "a", "e" }, "a", "b",
	  .better_taken = SZ_2M },
};

KUNIT_ARRAY_PARAM_DESC(choice, choice_cases, name);

static struct pci_dev *offer(struct kunit *test, struct pci_fabric *fabric,
			     const char *name, int node, size_t taken)
{
	struct pci_dev *pdev = p2pdma_test_provider(test, fabric, name);

	set_dev_node(&pdev->dev, node);
	if (taken)
		p2pdma_test_alloc(test, pdev, taken);
	pci_p2pmem_publish(pdev, true);
	return pdev;
}

static void choice(struct kunit *test)
{
	const struct choice_case *param = test->param_value;
	struct pci_dev *better, *worse, *found;
	unsigned int i, clients, wrong = 0;
	struct device *devs[CLIENTS];
	struct pci_fabric *fabric;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, all_listed);
	better = offer(test, fabric, param->better, param->better_node,
		       param->better_taken);
	worse = offer(test, fabric, param->worse, param->worse_node,
		      param->worse_taken);

	for (clients = 0; clients < CLIENTS && param->clients[clients]; clients++) {
		devs[clients] = &p2pdma_test_dev(test, fabric,
						 param->clients[clients])->dev;
		/* A client that is the provider keeps the provider's node. */
		if (devs[clients] != &better->dev)
			set_dev_node(devs[clients], 0);
	}

	for (i = 0; i < CALLS; i++) {
		found = pci_p2pmem_find_many(devs, clients);
		wrong += found != better;
		pci_dev_put(found);
	}
	KUNIT_EXPECT_EQ_MSG(test, wrong, 0, "chosen %u times of %u: %s", wrong,
			    CALLS, param->worse);

	/* The other provider can be chosen, too. */
	pci_p2pmem_publish(better, false);
	found = pci_p2pmem_find_many(devs, clients);
	KUNIT_EXPECT_PTR_EQ(test, found, worse);
	pci_dev_put(found);
}

static void choice_none(struct kunit *test)
{
	struct pci_dev *a, *b, *e;
	struct pci_fabric *fabric;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_provider(test, fabric, "b");
	e = p2pdma_test_provider(test, fabric, "e");
	pci_p2pmem_publish(b, true);
	pci_p2pmem_publish(e, true);

	struct device *clients[] = { &a->dev, &e->dev };

	KUNIT_EXPECT_NULL(test, pci_p2pmem_find_many(clients, 0));
	KUNIT_EXPECT_NULL(test, pci_p2pmem_find_many(clients, 2));
}

#if P2PDMA_TEST_INTERNAL

/* Where nothing is found, the log says why: for each provider, once. */
static void choice_explained(struct kunit *test)
{
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct pci_fabric *fabric;
	struct pci_dev *a, *b, *e;
	struct device *client;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	client = &p2pdma_test_dev(test, fabric, "g")->dev;
	a = p2pdma_test_provider(test, fabric, "a");
	b = p2pdma_test_provider(test, fabric, "b");
	e = p2pdma_test_provider(test, fabric, "e");
	pci_p2pmem_publish(b, true);
	pci_p2pmem_publish(e, true);
	p2pdma_test_log_empty(log);

	KUNIT_EXPECT_NULL(test, pci_p2pmem_find_many(&client, 1));
	KUNIT_EXPECT_NE(test, 0, p2pdma_test_said(test, log, pci_name(b)));
	KUNIT_EXPECT_NE(test, 0, p2pdma_test_said(test, log, pci_name(e)));
	KUNIT_EXPECT_EQ(test, 0, p2pdma_test_said(test, log, pci_name(a)));

	p2pdma_test_log_empty(log);
	KUNIT_EXPECT_NULL(test, pci_p2pmem_find_many(&client, 1));
	KUNIT_EXPECT_EQ(test, 0, log->count);
}

#endif /* P2PDMA_TEST_INTERNAL */

/* ---- Many providers ---- */

#define GROUPS		4
#define GROUP_SIZE	64
#define PER_DEVICE	8	/* functions */
#define DEVICES		(GROUP_SIZE / PER_DEVICE)

/*
 * Groups of providers, from the best to the worst: in the client's switch, in
 * one below that, below other root ports, below another host bridge.
 *
 *	host --+-- rp -- up --+-- dclient -- client
 *	       |              +-- g0d0...7 -- eight functions each
 *	       |              `-- dnested -- nested --- g1d0...7 -- likewise
 *	       `-- g2d0...7 -- likewise
 *	host2 ---- g3d0...7 -- likewise
 */
static struct pci_fabric *create_many(struct kunit *test)
{
	static const struct pci_fabric_node trunk[] = {
		{ .name = "host", .kind = PCI_FABRIC_HOST, .domain = 1,
		  .node = 1 },
		{ .name = "rp", .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
		  .device = 1, .vendor = PCI_VENDOR_ID_INTEL,
		  .device_id = 0x2030 },
		{ .name = "up", .below = "rp", .kind = PCI_FABRIC_UPSTREAM },
		{ .name = "dclient", .below = "up",
		  .kind = PCI_FABRIC_DOWNSTREAM, .device = 30 },
		{ .name = "client", .below = "dclient",
		  .kind = PCI_FABRIC_ENDPOINT },
		{ .name = "dnested", .below = "up",
		  .kind = PCI_FABRIC_DOWNSTREAM, .device = 31 },
		{ .name = "nested", .below = "dnested",
		  .kind = PCI_FABRIC_UPSTREAM },
		{ .name = "host2", .kind = PCI_FABRIC_HOST, .domain = 2,
		  .node = 1 },
	};
	static const struct {
		const char *below;
		enum pci_fabric_kind kind;
	} groups[GROUPS] = {
		{ "up", PCI_FABRIC_DOWNSTREAM },
		{ "nested", PCI_FABRIC_DOWNSTREAM },
		{ "host", PCI_FABRIC_ROOT_PORT },
		{ "host2", PCI_FABRIC_ROOT_PORT },
	};
	const size_t count = ARRAY_SIZE(trunk) +
			     GROUPS * DEVICES * (1 + PER_DEVICE);
	struct pci_fabric_node *nodes, *node, *port;
	struct p2pdma_test_fabric many;
	int i, j, k;

	nodes = kunit_kcalloc(test, count, sizeof(*nodes), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, nodes);
	memcpy(nodes, trunk, sizeof(trunk));
	node = nodes + ARRAY_SIZE(trunk);

	for (i = 0; i < GROUPS; i++) {
		for (j = 0; j < DEVICES; j++) {
			port = node++;
			*port = (struct pci_fabric_node) {
				.name = p2pdma_test_name(test, "g%dd%d", i, j),
				.below = groups[i].below,
				.kind = groups[i].kind,
				.device = 2 + j,
				.vendor = PCI_VENDOR_ID_INTEL,
				.device_id = 0x2030,
			};
			for (k = 0; k < PER_DEVICE; k++) {
				*node++ = (struct pci_fabric_node) {
					.name = p2pdma_test_name(test, "g%dd%df%d",
								i, j, k),
					.below = port->name,
					.kind = PCI_FABRIC_ENDPOINT,
					.function = k,
					.bar[0].size = SZ_2M,
				};
			}
		}
	}

	many = (struct p2pdma_test_fabric) { nodes, count };
	return p2pdma_test_create(test, &many, NULL);
}

static void d10_256_providers(struct kunit *test)
{
	struct pci_dev *client, *found, *(*providers)[GROUP_SIZE];
	unsigned int other, different;
	struct pci_fabric *fabric;
	int i, j, call;
	char name[16];

	DECLARE_BITMAP(seen, GROUP_SIZE);

	p2pdma_test_root(test, false, NULL);
	fabric = create_many(test);
	client = p2pdma_test_dev(test, fabric, "client");
	providers = kunit_kcalloc(test, GROUPS, sizeof(*providers), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, providers);
	for (i = 0; i < GROUPS; i++) {
		for (j = 0; j < GROUP_SIZE; j++) {
			snprintf(name, sizeof(name), "g%dd%df%d", i,
				 j / PER_DEVICE, j % PER_DEVICE);
			providers[i][j] = p2pdma_test_provider(test, fabric,
							       name);
			pci_p2pmem_publish(providers[i][j], true);
		}
	}

	/* Each group in turn is the best one that is left. */
	for (i = 0; i < GROUPS; i++) {
		bitmap_zero(seen, GROUP_SIZE);
		other = 0;
		for (call = 0; call < 2 * GROUP_SIZE; call++) {
			found = pci_p2pmem_find(&client->dev);
			for (j = 0; j < GROUP_SIZE; j++) {
				if (found == providers[i][j])
					break;
			}
			if (j < GROUP_SIZE)
				__set_bit(j, seen);
			else
				other++;
			pci_dev_put(found);
		}

		/* A random choice practically never finds fewer than half. */
		different = bitmap_weight(seen, GROUP_SIZE);
		KUNIT_EXPECT_EQ_MSG(test, other, 0, "group %d", i);
		KUNIT_EXPECT_GE_MSG(test, different, GROUP_SIZE / 2,
				    "group %d", i);

		/* A provider with one page less is no longer chosen. */
		p2pdma_test_alloc(test, providers[i][0], PAGE_SIZE);
		for (call = 0, other = 0; call < CALLS; call++) {
			found = pci_p2pmem_find(&client->dev);
			other += found == providers[i][0];
			pci_dev_put(found);
		}
		KUNIT_EXPECT_EQ_MSG(test, other, 0, "group %d", i);

		for (j = 0; j < GROUP_SIZE; j++)
			pci_p2pmem_publish(providers[i][j], false);
	}
	KUNIT_EXPECT_NULL(test, pci_p2pmem_find(&client->dev));
}

/* The choice among equal providers is random: all are found in the end. */
static void d10_random_among_equals(struct kunit *test)
{
	struct pci_dev *client, *c, *d, *found;
	unsigned int i, found_c = 0, found_d = 0;
	struct pci_fabric *fabric;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, all_listed);
	client = p2pdma_test_dev(test, fabric, "a");
	c = offer(test, fabric, "c", 0, 0);
	d = offer(test, fabric, "d", 0, 0);
	offer(test, fabric, "e", 0, 0);

	for (i = 0; i < 4 * CALLS; i++) {
		found = pci_p2pmem_find(&client->dev);
		found_c += found == c;
		found_d += found == d;
		pci_dev_put(found);
	}
	KUNIT_EXPECT_EQ(test, found_c + found_d, 4 * CALLS);
	/* 128 each are expected; 64 is eight standard deviations away. */
	KUNIT_EXPECT_GE(test, found_c, CALLS);
	KUNIT_EXPECT_GE(test, found_d, CALLS);
}

static struct kunit_case provider_cases[] = {
	KUNIT_CASE_PARAM(add_resource, argument_gen_params),
	KUNIT_CASE(registered_twice),
	KUNIT_CASE(several_bars_in_one_pool),
	KUNIT_CASE(virt_to_bus),
	KUNIT_CASE(alloc),
	KUNIT_CASE(scatterlist),
#if P2PDMA_TEST_INTERNAL
	KUNIT_CASE(less_than_a_page),
	KUNIT_CASE(single_pages),
	KUNIT_CASE(single_pages_moved),
	KUNIT_CASE(single_page_outlives_driver),
	KUNIT_CASE_PARAM(bad_free, bad_free_gen_params),
	KUNIT_CASE_PARAM(foreign_free, foreign_gen_params),
	KUNIT_CASE(bar_without_address),
	KUNIT_CASE(bar_beyond_the_map),
	KUNIT_CASE(driver_leaving),
	KUNIT_CASE(user_limit),
	KUNIT_CASE(user_limit_race),
#ifdef CONFIG_PCI_P2PDMA_HEAP
	KUNIT_CASE_PARAM(no_heap, heap_gen_params),
#endif
#endif
	KUNIT_CASE(publish),
	KUNIT_CASE(unplugged),
	KUNIT_CASE(distance_many),
	KUNIT_CASE_PARAM(choice, choice_gen_params),
	KUNIT_CASE(choice_none),
#if P2PDMA_TEST_INTERNAL
	KUNIT_CASE(choice_explained),
#endif
	KUNIT_CASE(d10_random_among_equals),
	KUNIT_CASE_SLOW(d10_256_providers),
	{ }
};

static struct kunit_suite provider_suite = {
	.name = "p2pdma_providers",
	.test_cases = provider_cases,
};

kunit_test_suites(&provider_suite);
