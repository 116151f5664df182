// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of PCI peer-to-peer DMA: memory with struct pages that a driver
 * allocates itself.  Selftests in user space cover programs that use such pages.
 */

#include <linux/array_size.h>
#include <linux/bits.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/kernfs.h>
#include <linux/memory_hotplug.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/panic.h>
#include <linux/pfn.h>
#include <linux/rcupdate.h>
#include <linux/workqueue.h>

#include <kunit/static_stub.h>

#include "p2pdma_test.h"

#define TREE	(&p2pdma_test_tree)
#define BAR	0
#define SIZE	SZ_4M
#define WAIT	(HZ / 10)	/* for something that mustn't happen */

/* Device b, whose BAR 0 has the pages, and what the core has called so far */
struct pages {
	struct kunit *test;
	struct pci_fabric *fabric;
	struct pci_dev *owner;
	void *driver;
	phys_addr_t start;		/* of the BAR */

	unsigned int freed;
	struct page *last;		/* page that was freed */
	int again;			/* page_free() takes it: errno, else 1 */
	unsigned int reclaimed;
	struct page *held;		/* put by reclaim() */
	int late;			/* take_page() in reclaim(): errno, else 1 */
	bool slow;			/* reclaim() takes time */

	struct delayed_work work;
	struct page *user;		/* put by the work */
	bool ended;			/* the work has returned */
};

/* reclaim() has no other argument than the device. */
static struct pages *current_pages;

static void free_page_of(struct page *page)
{
	struct pages *pages = page->zone_device_data;

	pages->freed++;
	pages->last = page;
	if (pages->again > 0)
		pages->again = p2pdma_take_page(page, pages);
}

static void reclaim(struct pci_dev *owner)
{
	struct pages *pages = current_pages;

	KUNIT_EXPECT_PTR_EQ(pages->test, owner, pages->owner);
	pages->reclaimed++;
	if (pages->late > 0)
		pages->late = p2pdma_take_page(pfn_to_page(PHYS_PFN(pages->start)),
					       pages);
	if (pages->slow)
		msleep(100);
	if (pages->held)
		put_page(pages->held);
	pages->held = NULL;
}

static const struct p2pdma_pages_ops ops = {
	.page_free = free_page_of,
	.reclaim = reclaim,
};

static int add(struct pages *pages, size_t size, u64 offset)
{
	return p2pdma_add_pages(pages->owner, BAR, size, offset, P2PDMA_UNCACHED,
				&ops);
}

static void init(struct kunit *test, struct pages *pages)
{
	*pages = (struct pages) { .test = test };
	current_pages = pages;
	pages->fabric = p2pdma_test_create(test, TREE, NULL);
	pages->owner = p2pdma_test_dev(test, pages->fabric, "b");
	pages->start = pci_resource_start(pages->owner, BAR);
	pages->driver = p2pdma_test_probe(test, pages->owner);
}

static void init_and_add(struct kunit *test, struct pages *pages)
{
	init(test, pages);
	KUNIT_ASSERT_EQ(test, 0, add(pages, 0, 0));
}

static struct page *page_at(struct pages *pages, size_t offset)
{
	return pfn_to_page(PHYS_PFN(pages->start + offset));
}

static bool have_pages(struct pages *pages, size_t offset)
{
	struct dev_pagemap *pgmap;

	pgmap = get_dev_pagemap(PHYS_PFN(pages->start + offset), NULL);
	if (pgmap)
		put_dev_pagemap(pgmap);
	return pgmap;
}

static bool have_p2pmem(struct pages *pages)
{
	struct kernfs_node *node;

	node = kernfs_find_and_get(pages->owner->dev.kobj.sd, "p2pmem");
	kernfs_put(node);
	return node;
}

static void leave(struct pages *pages)
{
	p2pdma_test_leave(pages->test, pages->owner, pages->driver);
	KUNIT_EXPECT_FALSE(pages->test, have_pages(pages, 0));
	KUNIT_EXPECT_NULL(pages->test,
			  rcu_access_pointer(pages->owner->p2pdma));
}

/* ---- Registration ---- */

static const struct argument_case {
	const char *name;
	int bar;
	size_t size;
	u64 offset;
	int type;
	int result;
	bool without_ops, without_free, without_reclaim;
} argument_cases[] = {
	{ "whole_bar" },
	{ "end_of_bar", .offset = SZ_2M },
	{ "part_of_bar", .size = SZ_2M },
	{ "write_combined", .type = P2PDMA_WRITE_COMBINED },
	{ "bar_minus_1", .bar = -1, .result = -EINVAL },
	{ "bar_6", .bar = 6, .result = -EINVAL },
	{ "absent_bar", .bar = 5, .result = -EINVAL },
	{ "too_large", .size = SZ_8M, .result = -EINVAL },
	{ "size_plus_offset_wraps", .size = -(size_t)SZ_2M, .offset = SZ_2M,
	  .result = -EINVAL },
	{ "offset_at_the_end", .offset = SZ_4M, .result = -EINVAL },
	{ "unaligned_offset", .size = SZ_2M, .offset = SZ_64K,
	  .result = -EINVAL },
	{ "unaligned_size", .size = SZ_64K, .result = -EINVAL },
	{ "type_minus_1", .type = -1, .result = -EINVAL },
	{ "type_2", .type = 2, .result = -EINVAL },
	{ "no_ops", .without_ops = true, .result = -EINVAL },
	{ "no_page_free", .without_free = true, .result = -EINVAL },
	{ "no_reclaim", .without_reclaim = true, .result = -EINVAL },
};

KUNIT_ARRAY_PARAM_DESC(argument, argument_cases, name);

static void arguments(struct kunit *test)
{
	const struct argument_case *param = test->param_value;
	struct p2pdma_pages_ops own = ops;
	struct pages pages;

	init(test, &pages);
	if (param->without_free)
		own.page_free = NULL;
	if (param->without_reclaim)
		own.reclaim = NULL;
	KUNIT_EXPECT_EQ(test, param->result,
			p2pdma_add_pages(pages.owner, param->bar, param->size,
					 param->offset, param->type,
					 param->without_ops ? NULL : &own));
	if (param->result) {
		/* A refusal changes nothing. */
		KUNIT_EXPECT_NULL(test,
				  rcu_access_pointer(pages.owner->p2pdma));
		KUNIT_EXPECT_FALSE(test, have_pages(&pages, 0));
		KUNIT_EXPECT_EQ(test, 0, add(&pages, 0, 0));
	} else {
		KUNIT_EXPECT_TRUE(test, have_pages(&pages, param->offset));
	}
	leave(&pages);
	KUNIT_EXPECT_EQ(test, pages.reclaimed, 1);
}

/* User space doesn't see such memory, and no search finds it. */
static void not_in_the_pool(struct kunit *test)
{
	struct pages pages;
	struct page *page;
	size_t at;

	init_and_add(test, &pages);
	for (at = 0; at < SIZE; at += PAGE_SIZE) {
		page = page_at(&pages, at);
		if (!is_pci_p2pdma_page(page) || page_count(page) != 1)
			break;
	}
	KUNIT_EXPECT_EQ(test, at, SIZE);

	pci_p2pmem_publish(pages.owner, true);
	KUNIT_EXPECT_FALSE(test, pci_has_p2pmem(pages.owner));
	KUNIT_EXPECT_NULL(test, pci_p2pmem_find(&pages.owner->dev));
	KUNIT_EXPECT_FALSE(test, have_p2pmem(&pages));
	p2pdma_test_none_left(test, pages.owner, PAGE_SIZE);
	leave(&pages);
}

static void count_warning(const char *what, void *addr, size_t size)
{
	*(unsigned int *)kunit_get_current_test()->priv += 1;
}

/* A BAR may have both kinds of memory; the functions for one refuse the other. */
static void beside_the_pool(struct kunit *test)
{
	unsigned int warnings = 0;
	struct pages pages;
	struct page *page;
	void *addr;

	init(test, &pages);
	test->priv = &warnings;
	kunit_activate_static_stub(test, p2pdma_pool_warn, count_warning);
	KUNIT_ASSERT_EQ(test, 0, add(&pages, SZ_2M, 0));
	KUNIT_EXPECT_EQ(test, -EBUSY, add(&pages, SZ_2M, 0));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			pci_p2pdma_add_resource(pages.owner, BAR, 0, 0));
	KUNIT_EXPECT_FALSE(test, have_p2pmem(&pages));
	KUNIT_ASSERT_EQ(test, 0,
			pci_p2pdma_add_resource(pages.owner, BAR, SZ_2M, SZ_2M));
	KUNIT_EXPECT_EQ(test, -EBUSY, add(&pages, SZ_2M, SZ_2M));
	KUNIT_EXPECT_TRUE(test, have_p2pmem(&pages));

	/* Of the pool */
	addr = pci_alloc_p2pmem(pages.owner, SZ_2M);
	KUNIT_ASSERT_NOT_NULL(test, addr);
	KUNIT_EXPECT_PTR_EQ(test, virt_to_page(addr), page_at(&pages, SZ_2M));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			p2pdma_take_page(virt_to_page(addr), &pages));
	p2pdma_test_none_left(test, pages.owner, PAGE_SIZE);
	pci_free_p2pmem(pages.owner, addr, SZ_2M);

	/* Of the driver */
	page = page_at(&pages, 0);
	KUNIT_ASSERT_EQ(test, 0, p2pdma_take_page(page, &pages));
	KUNIT_EXPECT_EQ(test, 0, pci_p2pmem_virt_to_bus(pages.owner,
							page_to_virt(page)));
	KUNIT_EXPECT_EQ(test, warnings, 0);
	pci_free_p2pmem(pages.owner, page_to_virt(page), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, warnings, 1);
	KUNIT_EXPECT_EQ(test, pages.freed, 0);
	put_page(page);
	KUNIT_EXPECT_EQ(test, pages.freed, 1);

	/* Removing these pages leaves the others. */
	p2pdma_remove_pages(pages.owner, BAR, SZ_2M);
	p2pdma_remove_pages(pages.owner, BAR + 1, 0);
	p2pdma_remove_pages(pages.owner, -1, 0);
	KUNIT_EXPECT_EQ(test, pages.reclaimed, 0);
	p2pdma_remove_pages(pages.owner, BAR, 0);
	KUNIT_EXPECT_EQ(test, pages.reclaimed, 1);
	KUNIT_EXPECT_FALSE(test, have_pages(&pages, 0));
	KUNIT_EXPECT_TRUE(test, have_pages(&pages, SZ_2M));
	addr = pci_alloc_p2pmem(pages.owner, PAGE_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, addr);
	pci_free_p2pmem(pages.owner, addr, PAGE_SIZE);
	leave(&pages);
}

/* Register while the driver of the owner leaves */
static void add_late(void *data)
{
	struct pages *pages = data;

	pages->again = add(pages, SZ_2M, SZ_2M);
}

static void driver_leaving(struct kunit *test)
{
	struct pages pages;

	init(test, &pages);
	KUNIT_ASSERT_EQ(test, 0, add(&pages, SZ_2M, 0));
	KUNIT_ASSERT_EQ(test, 0, devm_add_action(&pages.owner->dev, add_late,
						 &pages));
	leave(&pages);
	KUNIT_EXPECT_EQ(test, pages.again, -ENODEV);
	KUNIT_EXPECT_FALSE(test, have_pages(&pages, SZ_2M));
	KUNIT_EXPECT_EQ(test, pages.reclaimed, 1);
}

/* ---- Memory types ---- */

static void memory_type(struct kunit *test)
{
	static const enum p2pdma_memory_type types[] = {
		P2PDMA_UNCACHED, P2PDMA_WRITE_COMBINED,
	};
	struct pages pages;
	void __iomem *addr;
	pgprot_t prot;
	int i;

	init(test, &pages);
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		/* A mapping of the other type exists. */
		addr = types[i] == P2PDMA_UNCACHED ?
		       ioremap_wc(pages.start + SZ_64K, PAGE_SIZE) :
		       ioremap(pages.start + SZ_64K, PAGE_SIZE);
		KUNIT_ASSERT_NOT_NULL(test, (void __force *)addr);
		KUNIT_EXPECT_EQ(test, -EBUSY,
				p2pdma_add_pages(pages.owner, BAR, 0, 0,
						 types[i], &ops));
		KUNIT_EXPECT_FALSE(test, have_pages(&pages, 0));
		iounmap(addr);

		/* One of the same type does no harm. */
		addr = types[i] == P2PDMA_UNCACHED ?
		       ioremap(pages.start + SZ_64K, PAGE_SIZE) :
		       ioremap_wc(pages.start + SZ_64K, PAGE_SIZE);
		KUNIT_ASSERT_NOT_NULL(test, (void __force *)addr);
		KUNIT_ASSERT_EQ(test, 0,
				p2pdma_add_pages(pages.owner, BAR, 0, 0,
						 types[i], &ops));
		prot = p2pdma_page_prot(page_at(&pages, 0), PAGE_KERNEL);
		KUNIT_EXPECT_EQ(test, pgprot_val(prot),
				pgprot_val(types[i] == P2PDMA_UNCACHED ?
					   pgprot_noncached(PAGE_KERNEL) :
					   pgprot_writecombine(PAGE_KERNEL)));
		p2pdma_remove_pages(pages.owner, BAR, 0);
		iounmap(addr);
	}

	/* Other pages */
	KUNIT_EXPECT_EQ(test, 0, pci_p2pdma_add_resource(pages.owner, BAR, 0, 0));
	prot = p2pdma_page_prot(page_at(&pages, 0), PAGE_KERNEL);
	KUNIT_EXPECT_EQ(test, pgprot_val(prot),
			pgprot_val(pgprot_noncached(PAGE_KERNEL)));
	prot = p2pdma_page_prot(virt_to_page(pages.fabric), PAGE_KERNEL);
	KUNIT_EXPECT_EQ(test, pgprot_val(prot), pgprot_val(PAGE_KERNEL));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			p2pdma_take_page(virt_to_page(pages.fabric), NULL));
	leave(&pages);
}

/* ---- Pages ---- */

static void taken_and_freed(struct kunit *test)
{
	struct pages pages;
	struct page *page;
	int i;

	init_and_add(test, &pages);
	page = page_at(&pages, SIZE - PAGE_SIZE);
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ(test, 0, p2pdma_take_page(page, &pages));
		KUNIT_EXPECT_EQ(test, page_count(page), 1);
		KUNIT_EXPECT_PTR_EQ(test, page->zone_device_data, (void *)&pages);
		KUNIT_EXPECT_EQ(test, -EBUSY, p2pdma_take_page(page, NULL));
		KUNIT_EXPECT_PTR_EQ(test, page->zone_device_data, (void *)&pages);

		get_page(page);
		put_page(page);
		KUNIT_EXPECT_EQ(test, pages.freed, i);
		put_page(page);
		KUNIT_EXPECT_EQ(test, pages.freed, i + 1);
		KUNIT_EXPECT_PTR_EQ(test, pages.last, page);
	}
	KUNIT_EXPECT_EQ(test, 0, p2pdma_take_page(page_at(&pages, 0), &pages));
	put_page(page_at(&pages, 0));
	KUNIT_EXPECT_PTR_EQ(test, pages.last, page_at(&pages, 0));
	leave(&pages);
}

/* page_free() may pass the page on at once. */
static void taken_by_page_free(struct kunit *test)
{
	struct pages pages;
	struct page *page;

	init_and_add(test, &pages);
	page = page_at(&pages, 0);
	KUNIT_ASSERT_EQ(test, 0, p2pdma_take_page(page, &pages));
	pages.again = 1;
	put_page(page);
	KUNIT_EXPECT_EQ(test, pages.again, 0);
	KUNIT_EXPECT_EQ(test, pages.freed, 1);
	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	KUNIT_EXPECT_EQ(test, -EBUSY, p2pdma_take_page(page, &pages));
	put_page(page);
	KUNIT_EXPECT_EQ(test, pages.freed, 2);
	leave(&pages);
}

/* One put too many doesn't free a page twice, nor end the range early. */
static void put_too_often(struct kunit *test)
{
	unsigned int warnings = 0;
	struct pages pages;
	struct page *page;

	init_and_add(test, &pages);
	test->priv = &warnings;
	kunit_activate_static_stub(test, p2pdma_pool_warn, count_warning);
	page = page_at(&pages, 0);
	KUNIT_ASSERT_EQ(test, 0, p2pdma_take_page(page, &pages));
	put_page(page);
	put_page(page);
	KUNIT_EXPECT_EQ(test, warnings, 1);
	KUNIT_EXPECT_EQ(test, pages.freed, 1);
	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	KUNIT_EXPECT_EQ(test, 0, p2pdma_take_page(page, &pages));
	pages.held = page;
	leave(&pages);
	KUNIT_EXPECT_EQ(test, pages.freed, 2);
}

static void mapped_for_a_client(struct kunit *test)
{
	struct pci_dev *a, *e;
	struct pages pages;
	struct page *page;
	dma_addr_t addr;

	init_and_add(test, &pages);
	a = p2pdma_test_dev(test, pages.fabric, "a");
	e = p2pdma_test_dev(test, pages.fabric, "e");
	page = page_at(&pages, SZ_64K);
	KUNIT_ASSERT_EQ(test, 0, p2pdma_take_page(page, &pages));
	KUNIT_EXPECT_EQ(test, PCI_P2PDMA_MAP_BUS_ADDR,
			p2pdma_test_map_page(test, page_to_virt(page), &a->dev,
					     &addr));
	KUNIT_EXPECT_EQ(test, addr, pci_bus_address(pages.owner, BAR) + SZ_64K);
	KUNIT_EXPECT_EQ(test, PCI_P2PDMA_MAP_NOT_SUPPORTED,
			p2pdma_test_map_page(test, page_to_virt(page), &e->dev,
					     NULL));
	put_page(page);
	leave(&pages);
}

static void bar_moved(struct kunit *test)
{
	struct pages pages;
	struct page *page;

	init_and_add(test, &pages);
	page = page_at(&pages, 0);
	KUNIT_ASSERT_EQ(test, 0, p2pdma_take_page(page, &pages));
	KUNIT_ASSERT_EQ(test, 0, pci_fabric_move_bar(pages.fabric, "b", BAR));
	KUNIT_EXPECT_EQ(test, -ENODEV, p2pdma_take_page(page + 1, &pages));
	put_page(page);
	KUNIT_EXPECT_EQ(test, pages.freed, 1);
	KUNIT_EXPECT_EQ(test, -EBUSY, add(&pages, 0, 0));
	leave(&pages);
}

/* ---- Removal ---- */

/* A user puts its page some time after the removal has begun. */
static void user_work(struct work_struct *work)
{
	struct pages *pages = container_of(to_delayed_work(work), struct pages,
					   work);

	KUNIT_EXPECT_EQ(pages->test, pages->reclaimed, 1);
	KUNIT_EXPECT_EQ(pages->test, pages->freed, 1);	/* the held one */
	KUNIT_EXPECT_EQ(pages->test, -ENODEV,
			p2pdma_take_page(page_at(pages, 0), pages));
	WRITE_ONCE(pages->ended, true);
	put_page(pages->user);
}

static const struct removal_case {
	const char *name;
	bool driver;		/* the owner's driver leaves */
} removal_cases[] = {
	{ "by_remove_pages", false },
	{ "by_the_owners_driver", true },
};

KUNIT_ARRAY_PARAM_DESC(removal, removal_cases, name);

/* Reclaims first, then waits for the last page. */
static void removed(struct kunit *test)
{
	const struct removal_case *param = test->param_value;
	struct pages pages;

	init_and_add(test, &pages);
	KUNIT_ASSERT_EQ(test, 0, p2pdma_take_page(page_at(&pages, SZ_64K),
						  &pages));
	KUNIT_ASSERT_EQ(test, 0, p2pdma_take_page(page_at(&pages, SZ_2M),
						  &pages));
	pages.held = page_at(&pages, SZ_64K);
	pages.user = page_at(&pages, SZ_2M);
	pages.late = 1;
	INIT_DELAYED_WORK_ONSTACK(&pages.work, user_work);
	schedule_delayed_work(&pages.work, WAIT);
	if (param->driver)
		p2pdma_test_leave(test, pages.owner, pages.driver);
	else
		p2pdma_remove_pages(pages.owner, BAR, 0);

	KUNIT_EXPECT_TRUE(test, READ_ONCE(pages.ended));
	KUNIT_EXPECT_EQ(test, pages.late, -ENODEV);
	KUNIT_EXPECT_EQ(test, pages.reclaimed, 1);
	KUNIT_EXPECT_EQ(test, pages.freed, 2);
	KUNIT_EXPECT_FALSE(test, have_pages(&pages, 0));
	flush_delayed_work(&pages.work);
	destroy_delayed_work_on_stack(&pages.work);

	/* Both ways have an end, and the range can be registered again. */
	p2pdma_remove_pages(pages.owner, BAR, 0);
	if (param->driver)
		pages.driver = p2pdma_test_probe(test, pages.owner);
	KUNIT_EXPECT_EQ(test, pages.reclaimed, 1);
	KUNIT_EXPECT_EQ(test, 0, add(&pages, 0, 0));
	KUNIT_EXPECT_EQ(test, 0, p2pdma_take_page(page_at(&pages, 0), &pages));
	put_page(page_at(&pages, 0));
	leave(&pages);
}

static void remove_work(struct work_struct *work)
{
	struct pages *pages = container_of(to_delayed_work(work), struct pages,
					   work);

	p2pdma_remove_pages(pages->owner, BAR, 0);
	KUNIT_EXPECT_FALSE(pages->test, have_pages(pages, 0));
	WRITE_ONCE(pages->ended, true);
}

/* Driver and module end at the same time: one removes, and both wait. */
static void removed_by_two(struct kunit *test)
{
	struct pages pages;
	int round;

	init(test, &pages);
	INIT_DELAYED_WORK_ONSTACK(&pages.work, remove_work);
	for (round = 0; round < 10; round++) {
		pages.reclaimed = 0;
		pages.ended = false;
		KUNIT_ASSERT_EQ(test, 0, add(&pages, 0, 0));
		KUNIT_ASSERT_EQ(test, 0,
				p2pdma_take_page(page_at(&pages, 0), &pages));
		pages.held = page_at(&pages, 0);
		pages.slow = true;
		schedule_delayed_work(&pages.work, round % 2);
		leave(&pages);
		flush_delayed_work(&pages.work);
		KUNIT_EXPECT_TRUE(test, pages.ended);
		KUNIT_EXPECT_EQ(test, pages.reclaimed, 1);
		pages.driver = p2pdma_test_probe(test, pages.owner);
	}
	destroy_delayed_work_on_stack(&pages.work);
	p2pdma_test_leave(test, pages.owner, pages.driver);
}

/* ---- Failing allocations ---- */

static void no_memory(struct kunit *test)
{
	unsigned int nth = 0, refused = 0;
	struct pages pages;
	bool failed;
	int ret;

	p2pdma_test_inject_faults(test);
	init(test, &pages);
	do {
		p2pdma_test_fail_nth(++nth);
		ret = add(&pages, 0, 0);
		failed = p2pdma_test_failed();
		p2pdma_test_fail_nth(0);
		/* Memory checkers' own allocations may fail. */
		KUNIT_EXPECT_TRUE(test, !ret || (ret == -ENOMEM && failed));
		if (ret) {
			refused++;
			KUNIT_EXPECT_NULL(test,
					  rcu_access_pointer(pages.owner->p2pdma));
			KUNIT_EXPECT_FALSE(test, have_pages(&pages, 0));
		} else {
			p2pdma_remove_pages(pages.owner, BAR, 0);
			p2pdma_test_leave(test, pages.owner, pages.driver);
			pages.driver = p2pdma_test_probe(test, pages.owner);
		}
	} while (failed && nth < 200);
	KUNIT_EXPECT_FALSE(test, failed);
	/* The state with its pool and teardown, the range, the bitmap */
	KUNIT_EXPECT_GE(test, refused, 5);
	leave(&pages);
}

static struct kunit_case cases[] = {
	KUNIT_CASE_PARAM(arguments, argument_gen_params),
	KUNIT_CASE(not_in_the_pool),
	KUNIT_CASE(beside_the_pool),
	KUNIT_CASE(driver_leaving),
	KUNIT_CASE(memory_type),
	KUNIT_CASE(taken_and_freed),
	KUNIT_CASE(taken_by_page_free),
	KUNIT_CASE(put_too_often),
	KUNIT_CASE(mapped_for_a_client),
	KUNIT_CASE(bar_moved),
	KUNIT_CASE_PARAM(removed, removal_gen_params),
	KUNIT_CASE(removed_by_two),
	KUNIT_CASE(no_memory),
	{ }
};

static struct kunit_suite suite = {
	.name = "p2pdma_pages",
	.test_cases = cases,
};

kunit_test_suite(suite);
