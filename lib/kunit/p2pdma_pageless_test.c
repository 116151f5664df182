// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of PCI peer-to-peer DMA: registration of devices as providers
 * without struct pages, and its state after pages are added, a BAR moves, an
 * allocation fails, or the driver is unbound.
 *
 * Mapping is tested in p2pdma_map_test.c.
 */

#include <linux/array_size.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/ioport.h>
#include <linux/kernfs.h>
#include <linux/limits.h>
#include <linux/string.h>

#include "p2pdma_test.h"

/*
 * BARs of 64 bits, of 32 bits, of I/O ports, and one that is too small for
 * struct pages; BARs 1 and 4 don't exist.
 *
 *	host -- rp1 -- up --+-- d1 -- client
 *	                    `-- d2 -- provider
 */
static const struct pci_fabric_node nodes[] = {
	{ .name = "host", .kind = PCI_FABRIC_HOST, .domain = 1, .node = 1,
	  .offset = SZ_4G },
	{ .name = "rp1", .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
	  .device = 1 },
	{ .name = "up", .below = "rp1", .kind = PCI_FABRIC_UPSTREAM },
	{ .name = "d1", .below = "up", .kind = PCI_FABRIC_DOWNSTREAM },
	{ .name = "client", .below = "d1", .kind = PCI_FABRIC_ENDPOINT,
	  .bar[0].size = SZ_4M },
	{ .name = "d2", .below = "up", .kind = PCI_FABRIC_DOWNSTREAM,
	  .device = 1, .port = 1 },
	{ .name = "provider", .below = "d2", .kind = PCI_FABRIC_ENDPOINT,
	  .bar = { [0] = { SZ_4M }, [2] = { SZ_2M, PCI_FABRIC_BAR_32 },
		   [3] = { SZ_256, PCI_FABRIC_BAR_IO },
		   [5] = { SZ_4K, PCI_FABRIC_BAR_32 } } },
};

static const struct p2pdma_test_fabric test_fabric = {
	nodes, ARRAY_SIZE(nodes)
};

/* The memory BARs of the provider */
#define MEMORY_BARS	(BIT(0) | BIT(2) | BIT(5))

static bool has_p2pmem(struct pci_dev *pdev)
{
	struct kernfs_node *node = kernfs_find_and_get(pdev->dev.kobj.sd,
						       "p2pmem");

	kernfs_put(node);
	return node;
}

/* Numbers of BARs that have a provider, as bits */
static unsigned int providers(struct pci_dev *pdev)
{
	unsigned int found = 0;
	int bar;

	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		if (pcim_p2pdma_provider(pdev, bar))
			found |= BIT(bar);
	}
	return found;
}

/* Is @pdev a provider of all its memory BARs, without pages? */
static void expect_pageless(struct kunit *test, struct pci_dev *pdev)
{
	KUNIT_EXPECT_EQ(test, providers(pdev), MEMORY_BARS);
	KUNIT_EXPECT_FALSE(test, has_p2pmem(pdev));
	KUNIT_EXPECT_FALSE(test, pci_has_p2pmem(pdev));
	p2pdma_test_none_left(test, pdev, PAGE_SIZE);
}

static void expect_nothing(struct kunit *test, struct pci_dev *pdev)
{
	KUNIT_EXPECT_EQ(test, providers(pdev), 0);
	KUNIT_EXPECT_FALSE(test, has_p2pmem(pdev));
	KUNIT_EXPECT_FALSE(test, pci_has_p2pmem(pdev));
	KUNIT_EXPECT_NULL(test, rcu_access_pointer(pdev->p2pdma));
	p2pdma_test_none_left(test, pdev, PAGE_SIZE);
}

/* ---- Registration ---- */

static void bars(struct kunit *test)
{
	static const int no_bars[] = { -1, INT_MIN, INT_MAX, PCI_STD_NUM_BARS,
				       PCI_ROM_RESOURCE, PCI_BRIDGE_RESOURCES };
	struct p2pdma_provider *provider, *first;
	struct pci_fabric *fabric;
	struct pci_dev *pdev;
	int i, bar;
	u64 bus;

	fabric = p2pdma_test_create(test, &test_fabric, NULL);
	pdev = p2pdma_test_dev(test, fabric, "provider");
	expect_nothing(test, pdev);

	KUNIT_ASSERT_EQ(test, pcim_p2pdma_init(pdev), 0);
	expect_pageless(test, pdev);
	for (i = 0; i < ARRAY_SIZE(no_bars); i++)
		KUNIT_EXPECT_NULL(test, pcim_p2pdma_provider(pdev, no_bars[i]));

	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		provider = pcim_p2pdma_provider(pdev, bar);
		if (!provider)
			continue;
		KUNIT_EXPECT_PTR_EQ(test, provider->owner, &pdev->dev);

		/* The bus address in the BAR's register */
		bus = pci_fabric_read(fabric, "provider",
				      PCI_BASE_ADDRESS_0 + 4 * bar, 4) & ~0xfU;
		if (bar == 0)
			bus |= (u64)pci_fabric_read(fabric, "provider",
						    PCI_BASE_ADDRESS_1, 4) << 32;
		KUNIT_EXPECT_EQ(test, bus,
				pci_p2pdma_bus_addr_map(provider,
							pci_resource_start(pdev, bar)));
		if (bar == 0)
			KUNIT_EXPECT_EQ(test, provider->bus_offset, -SZ_4G);
		else
			KUNIT_EXPECT_NE(test, provider->bus_offset, -SZ_4G);
	}

	/* A second registration has no effect. */
	first = pcim_p2pdma_provider(pdev, 0);
	KUNIT_EXPECT_EQ(test, pcim_p2pdma_init(pdev), 0);
	KUNIT_EXPECT_PTR_EQ(test, pcim_p2pdma_provider(pdev, 0), first);
	expect_nothing(test, p2pdma_test_dev(test, fabric, "client"));
}

static void clear_unset(void *data)
{
	struct resource *res = data;

	res->flags &= ~IORESOURCE_UNSET;
}

static void bar_without_address(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct pci_dev *pdev;

	fabric = p2pdma_test_create(test, &test_fabric, NULL);
	pdev = p2pdma_test_dev(test, fabric, "provider");
	pdev->resource[2].flags |= IORESOURCE_UNSET;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, clear_unset,
							   &pdev->resource[2]));
	KUNIT_ASSERT_EQ(test, pcim_p2pdma_init(pdev), 0);
	KUNIT_EXPECT_EQ(test, providers(pdev), MEMORY_BARS & ~BIT(2));

	/* An address assigned later is found when pages are registered. */
	clear_unset(&pdev->resource[2]);
	KUNIT_EXPECT_EQ(test, providers(pdev), MEMORY_BARS & ~BIT(2));
	KUNIT_EXPECT_EQ(test, 0, pci_p2pdma_add_resource(pdev, 2, 0, 0));
	KUNIT_EXPECT_EQ(test, providers(pdev), MEMORY_BARS);
}

/* A device without memory BARs may be registered, and has no providers. */
static void no_bars(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct pci_dev *pdev;

	fabric = p2pdma_test_create(test, &test_fabric, NULL);
	pdev = p2pdma_test_dev(test, fabric, "d1");
	KUNIT_EXPECT_EQ(test, pcim_p2pdma_init(pdev), 0);
	KUNIT_EXPECT_EQ(test, providers(pdev), 0);
}

/* Registering pages also makes providers of all BARs, and the directory. */
static void pages_alone(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct pci_dev *pdev;
	void *driver;

	fabric = p2pdma_test_create(test, &test_fabric, NULL);
	pdev = p2pdma_test_dev(test, fabric, "provider");
	driver = p2pdma_test_probe(test, pdev);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_add_resource(pdev, 2, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, providers(pdev), MEMORY_BARS);
	KUNIT_EXPECT_TRUE(test, has_p2pmem(pdev));
	KUNIT_EXPECT_EQ(test, pcim_p2pdma_init(pdev), 0);
	KUNIT_EXPECT_TRUE(test, has_p2pmem(pdev));

	p2pdma_test_leave(test, pdev, driver);
	expect_nothing(test, pdev);
}

static void pages_later(struct kunit *test)
{
	struct p2pdma_provider *before;
	struct pci_fabric *fabric;
	struct pci_dev *pdev;
	void *driver, *page;

	fabric = p2pdma_test_create(test, &test_fabric, NULL);
	pdev = p2pdma_test_dev(test, fabric, "provider");
	driver = p2pdma_test_probe(test, pdev);
	KUNIT_ASSERT_EQ(test, pcim_p2pdma_init(pdev), 0);
	before = pcim_p2pdma_provider(pdev, 0);

	/* A refused registration doesn't make the directory. */
	KUNIT_EXPECT_EQ(test, pci_p2pdma_add_resource(pdev, 3, 0, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_add_resource(pdev, 5, 0, 0), -EINVAL);
	expect_pageless(test, pdev);

	KUNIT_EXPECT_EQ(test, pci_p2pdma_add_resource(pdev, 0, SZ_2M, 0), 0);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_add_resource(pdev, 2, 0, 0), 0);
	KUNIT_EXPECT_PTR_EQ(test, pcim_p2pdma_provider(pdev, 0), before);
	KUNIT_EXPECT_EQ(test, providers(pdev), MEMORY_BARS);
	KUNIT_EXPECT_TRUE(test, has_p2pmem(pdev));
	page = pci_alloc_p2pmem(pdev, SZ_2M);
	KUNIT_EXPECT_NOT_NULL(test, page);
	if (page)
		pci_free_p2pmem(pdev, page, SZ_2M);

	p2pdma_test_leave(test, pdev, driver);
	expect_nothing(test, pdev);
}

/* The device stays, and the next driver finds it unregistered. */
static void next_driver(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct pci_dev *pdev;
	void *driver;
	int i;

	fabric = p2pdma_test_create(test, &test_fabric, NULL);
	pdev = p2pdma_test_dev(test, fabric, "provider");
	for (i = 0; i < 3; i++) {
		driver = p2pdma_test_probe(test, pdev);
		expect_nothing(test, pdev);
		KUNIT_EXPECT_EQ(test, pcim_p2pdma_init(pdev), 0);
		expect_pageless(test, pdev);
		p2pdma_test_leave(test, pdev, driver);
		expect_nothing(test, pdev);
	}
}

static void publish(struct kunit *test)
{
	struct pci_dev *pdev, *found;
	struct pci_fabric *fabric;

	fabric = p2pdma_test_create(test, &test_fabric, NULL);
	pdev = p2pdma_test_dev(test, fabric, "provider");
	KUNIT_ASSERT_EQ(test, pcim_p2pdma_init(pdev), 0);
	pci_p2pmem_publish(pdev, true);
	expect_pageless(test, pdev);
	KUNIT_EXPECT_NULL(test, pci_p2pmem_find(&pdev->dev));

	/* Publishing before pages exist has no later effect, either. */
	KUNIT_ASSERT_EQ(test, pci_p2pdma_add_resource(pdev, 0, 0, 0), 0);
	KUNIT_EXPECT_FALSE(test, pci_has_p2pmem(pdev));
	pci_p2pmem_publish(pdev, true);
	found = pci_p2pmem_find(&pdev->dev);
	KUNIT_EXPECT_PTR_EQ(test, found, pdev);
	pci_dev_put(found);
}

static struct kunit_case provider_cases[] = {
	KUNIT_CASE(bars),
	KUNIT_CASE(bar_without_address),
	KUNIT_CASE(no_bars),
	KUNIT_CASE(pages_alone),
	KUNIT_CASE(pages_later),
	KUNIT_CASE(next_driver),
	KUNIT_CASE(publish),
	{ }
};

static struct kunit_suite provider_suite = {
	.name = "p2pdma_map_providers",
	.test_cases = provider_cases,
};

/* ---- No memory ---- */

static int add_bar(struct pci_dev *pdev)
{
	return pci_p2pdma_add_resource(pdev, 0, 0, 0);
}

struct registration {
	const char *name;
	bool initialised;	/* before */
	int (*register_it)(struct pci_dev *pdev);
};

static const struct registration registrations[] = {
	{ "init", false, pcim_p2pdma_init },
	{ "init_again", true, pcim_p2pdma_init },
	{ "add_resource", false, add_bar },
	{ "add_resource_after_init", true, add_bar },
};

KUNIT_ARRAY_PARAM_DESC(registration, registrations, name);

/* Does BAR 0's provider have its current address? */
static bool in_place(struct pci_dev *pdev)
{
	struct p2pdma_provider *provider = pcim_p2pdma_provider(pdev, 0);

	return provider && p2pdma_bar_in_place(p2pdma_bar(provider));
}

/* Each allocation fails in turn. */
static void no_memory(struct kunit *test)
{
	const struct registration *param = test->param_value;
	const unsigned int many = 10000;
	struct pci_fabric *fabric;
	unsigned int nth, refused = 0;
	struct pci_dev *pdev;
	void *driver;
	bool hit;
	int ret;

	p2pdma_test_inject_faults(test);
	fabric = p2pdma_test_create(test, &test_fabric, NULL);
	pdev = p2pdma_test_dev(test, fabric, "provider");

	for (nth = 1; nth < many; nth++) {
		driver = p2pdma_test_probe(test, pdev);
		if (param->initialised)
			KUNIT_ASSERT_EQ(test, pcim_p2pdma_init(pdev), 0);

		p2pdma_test_fail_nth(nth);
		ret = param->register_it(pdev);
		hit = p2pdma_test_failed();
		p2pdma_test_fail_nth(0);

		if (ret) {
			refused++;
			KUNIT_EXPECT_TRUE(test, hit);
			KUNIT_EXPECT_EQ_MSG(test, ret, -ENOMEM,
					    "allocation %u", nth);
			if (param->initialised)
				expect_pageless(test, pdev);
			else
				expect_nothing(test, pdev);
			KUNIT_EXPECT_EQ(test, in_place(pdev),
					param->initialised);
			/* A retry works. */
			KUNIT_EXPECT_EQ(test, param->register_it(pdev), 0);
		}
		KUNIT_EXPECT_EQ(test, providers(pdev), MEMORY_BARS);
		KUNIT_EXPECT_EQ(test, has_p2pmem(pdev),
				param->register_it == add_bar);
		KUNIT_EXPECT_TRUE(test, in_place(pdev));
		p2pdma_test_leave(test, pdev, driver);
		expect_nothing(test, pdev);
		if (!hit)
			break;
	}
	kunit_info(test, "%u allocations, %u of which are needed\n", nth - 1,
		   refused);
	KUNIT_EXPECT_LT(test, nth, many);
	if (param->initialised && param->register_it == pcim_p2pdma_init)
		KUNIT_EXPECT_EQ(test, nth, 1);
	else
		/* One round may hit the allocation of a slab page instead. */
		KUNIT_EXPECT_GE(test, refused, 2);
}

static struct kunit_case memory_cases[] = {
	KUNIT_CASE_PARAM(no_memory, registration_gen_params),
	{ }
};

static struct kunit_suite memory_suite = {
	.name = "p2pdma_map_no_memory",
	.test_cases = memory_cases,
};

/* ---- BARs that move ---- */

/* Map the first four bytes of BAR 0 at its current address */
static int map_start(struct p2pdma_provider *provider, struct pci_dev *client,
		     dma_addr_t *addr)
{
	struct pci_dev *pdev = to_pci_dev(provider->owner);

	return p2pdma_map(&client->dev, provider, pci_resource_start(pdev, 0),
			  4, DMA_BIDIRECTIONAL, 0, addr);
}

static void bar_moves(struct kunit *test)
{
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct pci_dev *client, *pdev;
	struct p2pdma_provider *provider, *other;
	struct pci_fabric *fabric;
	dma_addr_t addr, before;
	u64 start;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &test_fabric, NULL);
	client = p2pdma_test_dev(test, fabric, "client");
	pdev = p2pdma_test_dev(test, fabric, "provider");
	KUNIT_ASSERT_EQ(test, pcim_p2pdma_init(pdev), 0);
	provider = pcim_p2pdma_provider(pdev, 0);
	other = pcim_p2pdma_provider(pdev, 2);
	start = pci_resource_start(pdev, 0);
	KUNIT_ASSERT_EQ(test, map_start(provider, client, &before), 0);
	dma_unmap_p2p(&client->dev, provider, before, 4, DMA_BIDIRECTIONAL, 0);
	p2pdma_test_log_empty(log);

	/* Neither the old nor the new address can be mapped. */
	KUNIT_ASSERT_EQ(test, pci_fabric_move_bar(fabric, "provider", 0), 0);
	KUNIT_ASSERT_NE(test, pci_resource_start(pdev, 0), start);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(provider, &client->dev),
			PCI_P2PDMA_MAP_NOT_SUPPORTED);
	KUNIT_EXPECT_EQ(test, p2pdma_map(&client->dev, provider, start, 4,
					 DMA_TO_DEVICE, 0, &addr), -EREMOTEIO);
	KUNIT_EXPECT_EQ(test, dma_map_p2p(&client->dev, provider, start, 4,
					  DMA_TO_DEVICE, 0), DMA_MAPPING_ERROR);
	KUNIT_EXPECT_NE(test, map_start(provider, client, &addr), 0);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "bar-moved"), 1);

	/* The other BAR isn't affected. */
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(other, &client->dev),
			PCI_P2PDMA_MAP_BUS_ADDR);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_add_resource(pdev, 2, 0, 0), 0);

	/* Refused: an old address must not lead to another BAR's memory. */
	KUNIT_EXPECT_EQ(test, pci_p2pdma_add_resource(pdev, 0, SZ_2M, 0),
			-EBUSY);
	KUNIT_EXPECT_NE(test, map_start(provider, client, &addr), 0);
}

/* Pages keep the old address: usable again only when the BAR is back there. */
static void moved_with_pages(struct kunit *test)
{
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct p2pdma_provider *provider;
	struct pci_dev *client, *pdev;
	struct pci_fabric *fabric;
	dma_addr_t addr;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &test_fabric, NULL);
	client = p2pdma_test_dev(test, fabric, "client");
	pdev = p2pdma_test_dev(test, fabric, "provider");
	KUNIT_ASSERT_EQ(test, pcim_p2pdma_init(pdev), 0);
	KUNIT_ASSERT_EQ(test, pci_p2pdma_add_resource(pdev, 0, SZ_2M, 0), 0);
	provider = pcim_p2pdma_provider(pdev, 0);
	p2pdma_test_log_empty(log);

	KUNIT_ASSERT_EQ(test, pci_fabric_move_bar(fabric, "provider", 0), 0);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_add_resource(pdev, 0, SZ_2M, SZ_2M),
			-EBUSY);
	KUNIT_EXPECT_NE(test, map_start(provider, client, &addr), 0);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(provider, &client->dev),
			PCI_P2PDMA_MAP_NOT_SUPPORTED);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "bar-moved"), 1);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_add_resource(pdev, 2, 0, 0), 0);

	KUNIT_ASSERT_EQ(test, pci_fabric_move_bar(fabric, "provider", 0), 0);
	KUNIT_EXPECT_EQ(test, map_start(provider, client, &addr), 0);
	KUNIT_EXPECT_EQ(test, addr, pci_bus_address(pdev, 0));
	dma_unmap_p2p(&client->dev, provider, addr, 4, DMA_BIDIRECTIONAL, 0);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_add_resource(pdev, 0, SZ_2M, SZ_2M), 0);
}

static struct kunit_case moved_cases[] = {
	KUNIT_CASE(bar_moves),
	KUNIT_CASE(moved_with_pages),
	{ }
};

static struct kunit_suite moved_suite = {
	.name = "p2pdma_map_moved",
	.test_cases = moved_cases,
};

kunit_test_suites(&provider_suite, &memory_suite, &moved_suite);
