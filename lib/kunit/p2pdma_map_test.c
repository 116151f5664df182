// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of PCI peer-to-peer DMA: from an address in a BAR to a DMA address
 * (dma_map_p2p() and mainline's functions), and what limits that.
 *
 * Providers here have no struct pages unless a test is about those.  There is
 * no IOMMU: tests that need one are selftests in user space.
 */

#include <linux/array_size.h>
#include <linux/device.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/limits.h>
#include <linux/p2pdma-phys-list.h>
#include <linux/sprintf.h>
#include <linux/string.h>

#include "p2pdma_test.h"

#define TREE		(&p2pdma_test_tree)
#define CHIPSET		(&p2pdma_test_chipset)

/* IDs of host bridges: one that forwards, and one that isn't listed */
#define LISTED		0x80862030
#define NOBODY		0x808629c0

#define ID(_node, _id)		{ _node, P2PDMA_TEST_ID, _id }
#define ACS(_node, _ctrl)	{ _node, P2PDMA_TEST_ACS, _ctrl }
#define MPS(_node, _bytes)	{ _node, P2PDMA_TEST_MPS, _bytes }

static struct p2pdma_provider *provider_of(struct kunit *test,
					   struct pci_dev *pdev, int bar)
{
	struct p2pdma_provider *provider;

	KUNIT_ASSERT_EQ(test, pcim_p2pdma_init(pdev), 0);
	provider = pcim_p2pdma_provider(pdev, bar);
	KUNIT_ASSERT_NOT_NULL(test, provider);
	return provider;
}

/* The address in the register of BAR 0, a 64-bit BAR */
static u64 bar_register(struct pci_fabric *fabric, const char *name)
{
	return (pci_fabric_read(fabric, name, PCI_BASE_ADDRESS_0, 4) & ~0xfU) |
	       (u64)pci_fabric_read(fabric, name, PCI_BASE_ADDRESS_1, 4) << 32;
}

/* Map by p2pdma_map(), compare with dma_map_p2p(), and unmap */
static int map(struct kunit *test, struct device *dev,
	       struct p2pdma_provider *provider, phys_addr_t phys, size_t size,
	       enum dma_data_direction dir, dma_addr_t *addr)
{
	int ret = p2pdma_map(dev, provider, phys, size, dir, 0, addr);
	dma_addr_t same = dma_map_p2p(dev, provider, phys, size, dir, 0);

	KUNIT_EXPECT_EQ(test, !ret, !dma_mapping_error(dev, same));
	if (ret) {
		KUNIT_EXPECT_EQ(test, same, DMA_MAPPING_ERROR);
		return ret;
	}
	KUNIT_EXPECT_EQ(test, same, *addr);
	dma_unmap_p2p(dev, provider, same, size, dir, 0);
	dma_unmap_p2p(dev, provider, *addr, size, dir, 0);
	return 0;
}

/* ---- Routes and directions ---- */

/**
 * struct route_case - a client, a provider, and what can be mapped
 * @name: what is special
 * @fabric: the fabric to start from
 * @client: device that maps
 * @provider: device whose memory is mapped
 * @type: expected mapping type if any direction is possible
 * @directions: P2PDMA_READ, P2PDMA_WRITE
 * @reason: why not both directions, NULL if both are possible
 * @change: changes to the fabric
 * @cpu_allows: the processor forwards between all its root ports
 * @encrypted: system memory is encrypted
 * @admitted: the administrator's host bridges
 */
struct route_case {
	const char *name;
	const struct p2pdma_test_fabric *fabric;
	const char *client;
	const char *provider;
	enum pci_p2pdma_map_type type;
	unsigned int directions;
	const char *reason;
	struct p2pdma_test_change change[P2PDMA_TEST_CHANGES];
	bool cpu_allows;
	bool encrypted;
	const char *admitted;
};

#define BUS		PCI_P2PDMA_MAP_BUS_ADDR
#define ROOT		PCI_P2PDMA_MAP_THRU_HOST_BRIDGE
#define REFUSED		PCI_P2PDMA_MAP_NOT_SUPPORTED

static const struct route_case route_cases[] = {
	{ "own_memory", TREE, "a", "a", BUS, P2PDMA_BOTH },
	{ "switch", TREE, "a", "b", BUS, P2PDMA_BOTH },
	{ "nested_switch", TREE, "c", "b", BUS, P2PDMA_BOTH },
	{ "host_bridge", TREE, "e", "f", ROOT, P2PDMA_BOTH,
	  .change = { ID("rp1", LISTED), ID("rp2", LISTED),
		      ID("rp3", LISTED) } },
	{ "host_bridge_by_processor", TREE, "e", "f", ROOT, P2PDMA_BOTH,
	  .cpu_allows = true },
	{ "two_host_bridges", TREE, "a", "g", ROOT, P2PDMA_BOTH,
	  .change = { ID("rp1", LISTED), ID("rp2", LISTED),
		      ID("rp3", LISTED), ID("rp4", LISTED) } },
	{ "host_bridge_refused", TREE, "e", "f", REFUSED, 0,
	  "host-bridge-not-listed" },
	{ "write_only_host_bridge", CHIPSET, "a", "b", ROOT, P2PDMA_WRITE,
	  "admin-allowed",
	  .change = { ID("id", NOBODY) }, .admitted = "8086:29c0:w" },
	{ "host_bridge_with_encrypted_memory", TREE, "e", "f", REFUSED, 0,
	  "memory-encrypted", .cpu_allows = true, .encrypted = true },
	{ "switch_with_encrypted_memory", TREE, "a", "b", BUS, P2PDMA_BOTH,
	  .cpu_allows = true, .encrypted = true },
	{ "acs_writes_only_with_encrypted_memory", TREE, "a", "b", BUS,
	  P2PDMA_WRITE, "memory-encrypted",
	  .change = { ACS("d2", PCI_ACS_CR) },
	  .cpu_allows = true, .encrypted = true },
	{ "acs_refused", TREE, "a", "b", REFUSED, 0, "acs-redirect",
	  .change = { ACS("d1", PCI_ACS_RR) } },
	{ "acs_to_host_bridge", TREE, "a", "b", ROOT, P2PDMA_BOTH,
	  .change = { ACS("d1", PCI_ACS_RR), ID("rp1", LISTED) } },
	{ "acs_writes_only", TREE, "a", "b", BUS, P2PDMA_WRITE, "acs-redirect",
	  .change = { ACS("d2", PCI_ACS_CR) } },
	{ "acs_writes_only_to_host_bridge", TREE, "a", "b", ROOT, P2PDMA_WRITE,
	  "admin-allowed",
	  .change = { ACS("d1", PCI_ACS_RR), ID("rp1", NOBODY) },
	  .admitted = "8086:29c0:w" },
	{ "payload_reads_only", TREE, "a", "b", BUS, P2PDMA_READ,
	  "mps-mismatch", .change = { MPS("a", 256) } },
	{ "payload_writes_only", TREE, "a", "b", BUS, P2PDMA_WRITE,
	  "mps-mismatch", .change = { MPS("b", 256) } },
	{ "payload_refused", TREE, "a", "b", REFUSED, 0, "mps-mismatch",
	  .change = { MPS("a", 256), MPS("b", 256) } },
};

/* Offsets of the host bridges' windows */
static const u64 offsets[] = { 0, SZ_4G };

/* Each case with each offset */
static const void *route_gen_params(const void *prev, char *desc)
{
	unsigned long next = prev ? (unsigned long)prev : 0;
	unsigned int offset = next % ARRAY_SIZE(offsets);

	if (next == ARRAY_SIZE(route_cases) * ARRAY_SIZE(offsets))
		return NULL;
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s%s",
		 route_cases[next / ARRAY_SIZE(offsets)].name,
		 offsets[offset] ? "_offset" : "");
	return (void *)(next + 1);
}

static struct pci_fabric *create(struct kunit *test,
				 const struct route_case *param, u64 offset)
{
	struct p2pdma_test_change *change;
	unsigned int i;

	change = kunit_kcalloc(test, P2PDMA_TEST_CHANGES + 3, sizeof(*change),
			       GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, change);
	for (i = 0; i < P2PDMA_TEST_CHANGES && param->change[i].node; i++)
		change[i] = param->change[i];
	change[i++] = (struct p2pdma_test_change) { "host", P2PDMA_TEST_OFFSET,
						    offset };
	change[i++] = (struct p2pdma_test_change) { "host2", P2PDMA_TEST_OFFSET,
						    offset };
	return p2pdma_test_create(test, param->fabric, change);
}

static void routes(struct kunit *test)
{
	static const unsigned int needs[] = {
		[DMA_BIDIRECTIONAL] = P2PDMA_BOTH,
		[DMA_TO_DEVICE] = P2PDMA_READ,
		[DMA_FROM_DEVICE] = P2PDMA_WRITE,
	};
	const unsigned long number = (unsigned long)test->param_value - 1;
	const struct route_case *param =
		&route_cases[number / ARRAY_SIZE(offsets)];
	const u64 offset = offsets[number % ARRAY_SIZE(offsets)];
	/* Parts of a BAR of 4 MiB */
	static const struct {
		u64 at;
		size_t size;
	} parts[] = {
		{ 0, SZ_4M }, { 0, 1 }, { SZ_4M - 1, 1 }, { 1, SZ_4M - 1 },
		{ 0, SZ_4M - 1 }, { SZ_1M + 3, 77 },
	};
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct p2pdma_provider *provider;
	struct pci_dev *client, *pdev;
	struct pci_fabric *fabric;
	u64 start, bus, expected;
	dma_addr_t addr;
	int dir, i, ret;

	p2pdma_test_root(test, param->cpu_allows, param->admitted);
	if (param->encrypted)
		p2pdma_test_encrypted(test);
	fabric = create(test, param, offset);
	client = p2pdma_test_dev(test, fabric, param->client);
	pdev = p2pdma_test_dev(test, fabric, param->provider);
	provider = provider_of(test, pdev, 0);
	start = pci_resource_start(pdev, 0);
	bus = bar_register(fabric, param->provider);
	KUNIT_ASSERT_EQ(test, start - bus, offset);
	p2pdma_test_log_empty(log);

	for (dir = 0; dir < ARRAY_SIZE(needs); dir++) {
		for (i = 0; i < ARRAY_SIZE(parts); i++) {
			ret = map(test, &client->dev, provider,
				  start + parts[i].at, parts[i].size, dir,
				  &addr);
			if (needs[dir] & ~param->directions) {
				KUNIT_EXPECT_EQ(test, ret, -EREMOTEIO);
				continue;
			}
			expected = (param->type == BUS ? bus : start) +
				   parts[i].at;
			KUNIT_EXPECT_EQ(test, ret, 0);
			KUNIT_EXPECT_EQ(test, addr, expected);
		}
	}

	/* A refusal is logged once for all parts. */
	KUNIT_EXPECT_EQ(test, !log->count, param->directions == P2PDMA_BOTH);
	if (param->reason)
		KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log,
						       param->reason), 1);

	KUNIT_EXPECT_EQ(test, p2pdma_reachable(&client->dev, provider, start,
					       SZ_4M),
			param->directions ? 0 : -EREMOTEIO);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(provider, &client->dev),
			param->directions == P2PDMA_BOTH ? param->type :
							   REFUSED);
}

/* ---- Arguments ---- */

/* Ranges outside of the BAR, and invalid directions */
static void arguments(struct kunit *test)
{
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct p2pdma_provider *provider;
	struct pci_fabric *fabric;
	struct pci_dev *a, *b;
	unsigned int i;
	dma_addr_t addr;
	u64 start, end;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, TREE, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_dev(test, fabric, "b");
	provider = provider_of(test, b, 0);
	start = pci_resource_start(b, 0);
	end = pci_resource_end(b, 0);

	const struct {
		phys_addr_t phys;
		size_t size;
	} parts[] = {
		{ start, 0 }, { end, 0 },
		{ start - 1, 1 }, { start - 1, 2 }, { end + 1, 1 },
		{ end, 2 }, { start, SZ_4M + 1 }, { start + 1, SZ_4M },
		{ 0, 1 }, { 0, SZ_4M }, { 0, SIZE_MAX }, { U64_MAX, 1 },
		{ start, SIZE_MAX }, { start + 1, SIZE_MAX },
		{ start, -start }, { end, SIZE_MAX }, { end, -end },
		{ end, -end + 1 }, { U64_MAX, 2 },
		/* A bus address instead of a CPU address */
		{ bar_register(fabric, "b"), 1 },
		/* An address in the BAR of another provider */
		{ pci_resource_start(a, 0), 1 },
	};
	static const enum dma_data_direction no_directions[] = {
		DMA_NONE, DMA_NONE + 1, -1, INT_MIN,
	};

	p2pdma_test_log_empty(log);
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    map(test, &a->dev, provider, parts[i].phys,
					parts[i].size, DMA_TO_DEVICE, &addr),
				    "part %u", i);
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    p2pdma_reachable(&a->dev, provider,
						     parts[i].phys,
						     parts[i].size),
				    "part %u", i);
	}
	for (i = 0; i < ARRAY_SIZE(no_directions); i++)
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    map(test, &a->dev, provider, start, 1,
					no_directions[i], &addr),
				    "direction %u", i);
	KUNIT_EXPECT_EQ(test, log->count, 0);
	KUNIT_EXPECT_EQ(test, 0, map(test, &a->dev, provider, start, 1,
				     DMA_TO_DEVICE, &addr));
}

/* ---- Clients that aren't PCI devices, or are a part of one ---- */

static void child(struct kunit *test)
{
	struct p2pdma_provider *provider;
	struct pci_fabric *fabric;
	struct device *child;
	struct pci_dev *a, *b;
	dma_addr_t addr;
	u64 start, *mask;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, TREE, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_dev(test, fabric, "b");
	provider = provider_of(test, b, 0);
	start = pci_resource_start(b, 0);
	child = p2pdma_test_child(test, &a->dev);

	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(provider, child), BUS);
	KUNIT_EXPECT_EQ(test, 0, map(test, child, provider, start, SZ_4M,
				     DMA_BIDIRECTIONAL, &addr));
	KUNIT_EXPECT_EQ(test, addr, bar_register(fabric, "b"));

	/* If the child has a DMA mask, that mask counts. */
	KUNIT_ASSERT_EQ(test, dma_set_mask(child, DMA_BIT_MASK(32)), 0);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(provider, child), REFUSED);
	KUNIT_EXPECT_EQ(test, -EREMOTEIO, map(test, child, provider, start, 1,
					      DMA_BIDIRECTIONAL, &addr));
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(provider, &a->dev), BUS);

	/* Without, queries use the parent's, but it can't attach or map. */
	mask = child->dma_mask;
	child->dma_mask = NULL;
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(provider, child), BUS);
	KUNIT_EXPECT_EQ(test, p2pdma_reachable(child, provider, start, 1),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, -EINVAL, map(test, child, provider, start, 1,
					   DMA_BIDIRECTIONAL, &addr));
	child->dma_mask = mask;
}

static void not_pci(struct kunit *test)
{
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct device *other = p2pdma_test_child(test, NULL);
	struct p2pdma_provider *provider;
	struct pci_fabric *fabric;
	struct pci_dev *b;
	dma_addr_t addr;

	p2pdma_test_root(test, true, NULL);
	fabric = p2pdma_test_create(test, TREE, NULL);
	b = p2pdma_test_dev(test, fabric, "b");
	provider = provider_of(test, b, 0);
	p2pdma_test_log_empty(log);

	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(provider, other), REFUSED);
	KUNIT_EXPECT_EQ(test, -EREMOTEIO,
			map(test, other, provider, pci_resource_start(b, 0), 1,
			    DMA_TO_DEVICE, &addr));
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "not-pci"), 1);
	KUNIT_EXPECT_FALSE(test, p2pdma_is_bus_addr(other, 0));
}

/* ---- Addresses that the client can't send ---- */

/* @client can't reach @pdev, for @reason */
static void expect_refused(struct kunit *test, struct pci_dev *pdev,
			   struct pci_dev *client, enum p2pdma_reason reason)
{
	struct p2pdma_route route;

	KUNIT_EXPECT_LT(test, pci_p2pdma_distance(pdev, &client->dev, false), 0);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_route(pdev, &client->dev, &route),
			-EREMOTEIO);
	KUNIT_EXPECT_EQ(test, route.map_type, REFUSED);
	KUNIT_EXPECT_EQ(test, route.directions, 0);
	KUNIT_EXPECT_STREQ(test, p2pdma_reason_name(route.reason),
			   p2pdma_reason_name(reason));
}

static void expect_route(struct kunit *test, struct pci_dev *pdev,
			 struct pci_dev *client, enum pci_p2pdma_map_type type)
{
	struct p2pdma_route route;

	KUNIT_EXPECT_GE(test, pci_p2pdma_distance(pdev, &client->dev, false), 0);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_route(pdev, &client->dev, &route), 0);
	KUNIT_EXPECT_EQ(test, route.map_type, type);
}

/* The part of a BAR that the DMA mask covers can be mapped. */
static void dma_mask_within_bar(struct kunit *test)
{
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct p2pdma_provider *provider;
	struct pci_fabric *fabric;
	struct pci_dev *a, *b;
	dma_addr_t addr;
	u64 start, bus;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, TREE, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_dev(test, fabric, "b");
	provider = provider_of(test, b, 0);
	start = pci_resource_start(b, 0);
	bus = bar_register(fabric, "b");
	KUNIT_ASSERT_GT(test, bus, DMA_BIT_MASK(32));
	p2pdma_test_log_empty(log);

	KUNIT_ASSERT_EQ(test, dma_set_mask(&a->dev, bus + SZ_2M - 1), 0);
	KUNIT_EXPECT_EQ(test, 0, map(test, &a->dev, provider, start, SZ_2M,
				     DMA_BIDIRECTIONAL, &addr));
	KUNIT_EXPECT_EQ(test, addr, bus);
	KUNIT_EXPECT_EQ(test, log->count, 0);
	KUNIT_EXPECT_EQ(test, -EREMOTEIO, map(test, &a->dev, provider, start,
					      SZ_2M + 1, DMA_BIDIRECTIONAL,
					      &addr));
	KUNIT_EXPECT_EQ(test, -EREMOTEIO, map(test, &a->dev, provider,
					      start + SZ_2M, 1, DMA_TO_DEVICE,
					      &addr));
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(provider, &a->dev), REFUSED);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "dma-mask"), 1);

	/* A route of pages must cover all registered pages, and no more. */
	KUNIT_ASSERT_EQ(test, pci_p2pdma_add_resource(b, 0, SZ_2M, 0), 0);
	expect_route(test, b, a, BUS);
	KUNIT_ASSERT_EQ(test, pci_p2pdma_add_resource(b, 0, SZ_2M, SZ_2M), 0);
	expect_refused(test, b, a, P2PDMA_REASON_DMA_MASK);
	KUNIT_ASSERT_EQ(test, dma_set_mask(&a->dev, bus + SZ_4M - 1), 0);
	expect_route(test, b, a, BUS);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(provider, &a->dev), BUS);
}

/* Host bridges get CPU addresses, so these must fit into the mask. */
static void dma_mask_of_cpu_addresses(struct kunit *test)
{
	static const struct p2pdma_test_change change[] = {
		{ "host", P2PDMA_TEST_OFFSET, SZ_4G }, { }
	};
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct p2pdma_provider *provider;
	struct pci_fabric *fabric;
	struct pci_dev *e, *f;
	dma_addr_t addr;
	u64 start, end;

	p2pdma_test_root(test, true, NULL);
	fabric = p2pdma_test_create(test, TREE, change);
	e = p2pdma_test_dev(test, fabric, "e");
	f = p2pdma_test_provider(test, fabric, "f");
	provider = provider_of(test, f, 0);
	start = pci_resource_start(f, 0);
	end = pci_resource_end(f, 0);
	expect_route(test, f, e, ROOT);
	p2pdma_test_log_empty(log);

	KUNIT_ASSERT_EQ(test, dma_set_mask(&e->dev, DMA_BIT_MASK(32)), 0);
	expect_refused(test, f, e, P2PDMA_REASON_DMA_MASK);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(provider, &e->dev), REFUSED);
	KUNIT_EXPECT_EQ(test, -EREMOTEIO, map(test, &e->dev, provider, start,
					      1, DMA_FROM_DEVICE, &addr));
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, f, &e->dev), REFUSED);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "dma-mask"), 1);

	/* A mask for the last byte's bus address isn't enough. */
	KUNIT_ASSERT_EQ(test, dma_set_mask(&e->dev, end - SZ_4G), 0);
	expect_refused(test, f, e, P2PDMA_REASON_DMA_MASK);
	KUNIT_ASSERT_EQ(test, dma_set_mask(&e->dev, end - 1), 0);
	expect_refused(test, f, e, P2PDMA_REASON_DMA_MASK);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(provider, &e->dev), REFUSED);
	KUNIT_EXPECT_EQ(test, 0, map(test, &e->dev, provider, start, SZ_4M - 1,
				     DMA_FROM_DEVICE, &addr));
	KUNIT_ASSERT_EQ(test, dma_set_mask(&e->dev, end), 0);
	expect_route(test, f, e, ROOT);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(provider, &e->dev), ROOT);
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, f, &e->dev), ROOT);

	/* A bus above the device may have a lower limit. */
	e->dev.bus_dma_limit = end - 1;
	expect_refused(test, f, e, P2PDMA_REASON_DMA_MASK);
	e->dev.bus_dma_limit = end;
	expect_route(test, f, e, ROOT);
	e->dev.bus_dma_limit = 0;
}

static void clear_dma_ranges(void *data)
{
	struct device *dev = data;

	/* Static, so it must not be freed with the device. */
	dev->dma_range_map = NULL;
}

/* Map one page at @phys as a list: 0 or an error, and its DMA address */
static int map_list(struct kunit *test, struct device *dev,
		    struct p2pdma_provider *provider, phys_addr_t phys,
		    dma_addr_t *addr)
{
	struct p2pdma_phys_list *list = p2pdma_phys_list_create(GFP_KERNEL);
	struct p2pdma_phys_mapping *mapping;

	KUNIT_ASSERT_NOT_NULL(test, list);
	KUNIT_EXPECT_EQ(test, 0, p2pdma_phys_list_add(list, provider, phys,
						      PAGE_SIZE, GFP_KERNEL));
	mapping = p2pdma_phys_list_map(dev, list, DMA_BIDIRECTIONAL, 0,
				       GFP_KERNEL);
	p2pdma_phys_list_free(list);
	if (IS_ERR(mapping))
		return PTR_ERR(mapping);
	*addr = mapping->ranges[0].addr;
	p2pdma_phys_list_unmap(mapping);
	return 0;
}

/*
 * If firmware says that DMA addresses differ from CPU addresses, memory with
 * and without pages is mapped to the same address or not at all.
 */
static void dma_ranges(struct kunit *test)
{
	static const u64 sizes[] = { BIT_ULL(52), SZ_1M };
	static struct bus_dma_region ranges[2];
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct p2pdma_provider *far, *near;
	struct pci_fabric *fabric;
	struct pci_dev *a, *b, *e;
	dma_addr_t addr, listed;
	void *page;
	u64 start;
	int i;

	p2pdma_test_root(test, true, NULL);
	fabric = p2pdma_test_create(test, TREE, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_provider(test, fabric, "b");
	e = p2pdma_test_provider(test, fabric, "e");
	near = provider_of(test, b, 0);
	far = provider_of(test, e, 0);
	page = p2pdma_test_alloc(test, e, PAGE_SIZE);
	start = pci_resource_start(e, 0);

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test,
							   clear_dma_ranges,
							   &a->dev));
	a->dev.dma_range_map = ranges;

	/* The BAR is translated by an offset, or outside of all ranges. */
	ranges[0].dma_start = SZ_4G;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ranges[0].size = sizes[i];
		pci_p2pdma_fabric_changed();
		p2pdma_test_log_empty(log);
		expect_refused(test, e, a, P2PDMA_REASON_DMA_RANGES);
		KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(far, &a->dev),
				REFUSED);
		KUNIT_EXPECT_EQ(test, -EREMOTEIO,
				map(test, &a->dev, far, start, SZ_4K,
				    DMA_BIDIRECTIONAL, &addr));
		KUNIT_EXPECT_EQ(test, -EREMOTEIO,
				map_list(test, &a->dev, far, start, &addr));
		KUNIT_EXPECT_EQ(test, REFUSED,
				p2pdma_test_map_page(test, page, &a->dev, NULL));
		pci_p2pdma_distance(e, &a->dev, true);
		KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "fix:"), 0);
		/* Once, and again since there was a route by an IOMMU. */
		KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "dma-ranges"),
				1);

		/* Below a switch the BAR's bus address is used. */
		KUNIT_EXPECT_EQ(test, 0, map(test, &a->dev, near,
					     pci_resource_start(b, 0), SZ_4K,
					     DMA_BIDIRECTIONAL, &addr));
		KUNIT_EXPECT_EQ(test, addr, bar_register(fabric, "b"));
		expect_route(test, b, a, BUS);
		/* With an IOMMU, DMA addresses are IOVAs. */
		a->dev.dma_iommu = true;
		pci_p2pdma_fabric_changed();
		KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(far, &a->dev), ROOT);
		a->dev.dma_iommu = false;
	}

	/* No offset */
	ranges[0].dma_start = 0;
	ranges[0].size = BIT_ULL(52);
	pci_p2pdma_fabric_changed();
	expect_route(test, e, a, ROOT);
	KUNIT_EXPECT_EQ(test, 0, map(test, &a->dev, far, start, SZ_4K,
				     DMA_BIDIRECTIONAL, &addr));
	KUNIT_EXPECT_EQ(test, addr, start);
	KUNIT_EXPECT_EQ(test, 0, map_list(test, &a->dev, far, start, &listed));
	KUNIT_EXPECT_EQ(test, listed, start);
	KUNIT_EXPECT_EQ(test, ROOT, p2pdma_test_map_page(test, page, &a->dev,
							 &addr));
	KUNIT_EXPECT_EQ(test, addr, page_to_phys(virt_to_page(page)));

	/* The second half of the BAR is outside of all ranges. */
	ranges[0].size = start + SZ_2M;
	pci_p2pdma_fabric_changed();
	expect_refused(test, e, a, P2PDMA_REASON_DMA_RANGES);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(far, &a->dev), REFUSED);
	KUNIT_EXPECT_EQ(test, -EREMOTEIO, map(test, &a->dev, far, start, SZ_2M,
					      DMA_BIDIRECTIONAL, &addr));
}

/* Verdicts are cached by class of packets, and until the driver's choice changes. */
static void classes(struct kunit *test)
{
	static const struct p2pdma_test_change change[] = {
		{ "d2", P2PDMA_TEST_ACS, PCI_ACS_CR }, { }
	};
	struct p2pdma_provider *provider;
	struct pci_fabric *fabric;
	struct pci_dev *a, *b;
	int i;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, TREE, change);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_dev(test, fabric, "b");
	provider = provider_of(test, b, 0);

	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(provider, &a->dev),
				REFUSED);
		KUNIT_EXPECT_EQ(test, BUS,
				pci_p2pdma_map_type_tlp(provider, &a->dev,
							PCI_P2PDMA_TLP_RELAXED_CPL));
	}
	KUNIT_EXPECT_EQ(test, REFUSED,
			pci_p2pdma_map_type_tlp(provider, &a->dev,
						PCI_P2PDMA_TLP_CLASSES));

	a->ats_enabled = true;
	pci_p2pdma_fabric_changed();
	KUNIT_EXPECT_EQ(test, REFUSED,
			pci_p2pdma_map_type_tlp(provider, &a->dev,
						PCI_P2PDMA_TLP_RELAXED_CPL));
	pci_p2pdma_set_tlp_choice(a, true);
	KUNIT_EXPECT_EQ(test, BUS,
			pci_p2pdma_map_type_tlp(provider, &a->dev,
						PCI_P2PDMA_TLP_RELAXED_CPL));
}

/* Distance is about pages: without any, no address exceeds the DMA mask. */
static void dma_mask_without_pages(struct kunit *test)
{
	struct p2pdma_provider *provider;
	struct pci_fabric *fabric;
	struct pci_dev *a, *b;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, TREE, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_dev(test, fabric, "b");
	provider = provider_of(test, b, 0);
	KUNIT_ASSERT_EQ(test, dma_set_mask(&a->dev, DMA_BIT_MASK(32)), 0);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(provider, &a->dev), REFUSED);
	expect_route(test, b, a, BUS);
}

/*
 * IOVAs fit into the mask, whatever memory is behind them; bus addresses aren't
 * IOVAs, and unmapping them doesn't involve the IOMMU.  (There is no IOMMU:
 * using it would crash.)
 */
static void translated(struct kunit *test)
{
	struct p2pdma_provider *near, *far;
	struct pci_fabric *fabric;
	struct pci_dev *a, *b, *e;
	dma_addr_t addr;

	p2pdma_test_root(test, true, NULL);
	fabric = p2pdma_test_create(test, TREE, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_dev(test, fabric, "b");
	e = p2pdma_test_provider(test, fabric, "e");
	near = provider_of(test, b, 0);
	far = provider_of(test, e, 0);
	a->dev.dma_iommu = true;

	KUNIT_EXPECT_EQ(test, 0, map(test, &a->dev, near,
				     pci_resource_start(b, 0) + 1, 2,
				     DMA_BIDIRECTIONAL, &addr));
	KUNIT_EXPECT_EQ(test, addr, bar_register(fabric, "b") + 1);
	KUNIT_ASSERT_EQ(test, dma_set_mask(&a->dev, DMA_BIT_MASK(32)), 0);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(near, &a->dev), REFUSED);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(far, &a->dev), ROOT);
	expect_route(test, e, a, ROOT);
	a->dev.dma_iommu = false;
	KUNIT_EXPECT_EQ(test, pci_p2pdma_map_type(far, &a->dev), REFUSED);
	expect_refused(test, e, a, P2PDMA_REASON_DMA_MASK);
}

/* A client's bus addresses are those in its own host bridge's windows. */
static void bus_addresses(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct pci_dev *a, *b, *g;
	struct device *part;
	u64 first, last;

	fabric = p2pdma_test_create(test, TREE, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_dev(test, fabric, "b");
	g = p2pdma_test_dev(test, fabric, "g");
	part = p2pdma_test_child(test, &a->dev);
	first = bar_register(fabric, "b");
	last = first + SZ_4M - 1;

	KUNIT_EXPECT_TRUE(test, p2pdma_is_bus_addr(&a->dev, first));
	KUNIT_EXPECT_TRUE(test, p2pdma_is_bus_addr(&a->dev, last));
	KUNIT_EXPECT_TRUE(test, p2pdma_is_bus_addr(part, first));
	KUNIT_EXPECT_FALSE(test, p2pdma_is_bus_addr(&a->dev,
						    pci_resource_start(b, 0)));
	KUNIT_EXPECT_FALSE(test, p2pdma_is_bus_addr(&g->dev, first));
	KUNIT_EXPECT_FALSE(test, p2pdma_is_bus_addr(&g->dev, last));
	KUNIT_EXPECT_FALSE(test, p2pdma_is_bus_addr(&a->dev,
						    bar_register(fabric, "g")));
	KUNIT_EXPECT_TRUE(test, p2pdma_is_bus_addr(&g->dev,
						   bar_register(fabric, "g")));

	/* The old address of a moved BAR is still a bus address. */
	KUNIT_ASSERT_EQ(test, pci_fabric_move_bar(fabric, "b", 0), 0);
	KUNIT_ASSERT_NE(test, bar_register(fabric, "b"), first);
	KUNIT_EXPECT_TRUE(test, p2pdma_is_bus_addr(&a->dev, first));
	KUNIT_EXPECT_FALSE(test, p2pdma_is_bus_addr(&a->dev, 0));
	KUNIT_EXPECT_FALSE(test, p2pdma_is_bus_addr(&a->dev, SZ_4K));
	KUNIT_EXPECT_FALSE(test, p2pdma_is_bus_addr(&a->dev, U64_MAX));
}

/* ---- Clients whose DMA is bounced ---- */

static void untrusted(struct kunit *test)
{
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct pci_fabric *fabric;
	struct pci_dev *a, *b, *c, *e;
	struct p2pdma_provider *provider[3];
	struct pci_dev *pdev[3];
	dma_addr_t addr;
	int i, again;

	p2pdma_test_root(test, true, NULL);
	fabric = p2pdma_test_create(test, TREE, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_provider(test, fabric, "b");
	c = p2pdma_test_dev(test, fabric, "c");
	e = p2pdma_test_dev(test, fabric, "e");
	pdev[0] = b;	/* by a switch, with pages */
	pdev[1] = c;	/* by a switch, without pages */
	pdev[2] = e;	/* by the host bridge */
	for (i = 0; i < ARRAY_SIZE(pdev); i++)
		provider[i] = provider_of(test, pdev[i], 0);

	a->untrusted = true;
	pci_p2pdma_fabric_changed();
	for (i = 0; i < ARRAY_SIZE(pdev); i++) {
		p2pdma_test_log_empty(log);
		expect_refused(test, pdev[i], a, P2PDMA_REASON_BOUNCED);
		for (again = 0; again < 3; again++) {
			KUNIT_EXPECT_EQ(test, REFUSED,
					pci_p2pdma_map_type(provider[i],
							    &a->dev));
			KUNIT_EXPECT_EQ(test, -EREMOTEIO,
					map(test, &a->dev, provider[i],
					    pci_resource_start(pdev[i], 0), 1,
					    DMA_TO_DEVICE, &addr));
		}
		pci_p2pdma_distance(pdev[i], &a->dev, true);
		KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "bounced"), 1);
		KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "fix:"), 0);
	}
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, b, &a->dev), REFUSED);

	/* The provider doesn't have to be trusted. */
	KUNIT_EXPECT_EQ(test, 0, map(test, &b->dev, provider_of(test, a, 0),
				     pci_resource_start(a, 0), 1,
				     DMA_TO_DEVICE, &addr));
	a->untrusted = false;
	pci_p2pdma_fabric_changed();
	expect_route(test, b, a, BUS);
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, b, &a->dev), BUS);
}

/* ---- A driver that uses mainline's API ---- */

/* Map a part of a peer's BAR without pages, as a driver does on Linux 6.19 */
static int mainline_map(struct device *dev, struct pci_dev *peer, int bar,
			phys_addr_t phys, size_t size,
			struct dma_iova_state *state, dma_addr_t *addr)
{
	struct p2pdma_provider *provider = pcim_p2pdma_provider(peer, bar);
	int ret;

	if (!provider || provider->owner != &peer->dev)
		return -ENODEV;

	switch (pci_p2pdma_map_type(provider, dev)) {
	case PCI_P2PDMA_MAP_BUS_ADDR:
		*addr = pci_p2pdma_bus_addr_map(provider, phys);
		return 0;
	case PCI_P2PDMA_MAP_THRU_HOST_BRIDGE:
		break;
	default:
		return -EREMOTEIO;
	}

	if (!dma_iova_try_alloc(dev, state, 0, size)) {
		*addr = dma_map_resource(dev, phys, size, DMA_BIDIRECTIONAL, 0);
		return dma_mapping_error(dev, *addr);
	}
	ret = dma_iova_link(dev, state, phys, 0, size, DMA_BIDIRECTIONAL,
			    DMA_ATTR_MMIO);
	if (!ret)
		ret = dma_iova_sync(dev, state, 0, size);
	if (ret) {
		dma_iova_free(dev, state);
		return ret;
	}
	*addr = state->addr;
	return 0;
}

static void mainline_unmap(struct device *dev, size_t size,
			   struct dma_iova_state *state)
{
	if (!dma_use_iova(state))
		return;
	dma_iova_unlink(dev, state, 0, dma_iova_size(state), DMA_BIDIRECTIONAL,
			DMA_ATTR_MMIO);
	dma_iova_free(dev, state);
}

static void mainline_driver(struct kunit *test)
{
	static const struct p2pdma_test_change listed[] = {
		ID("rp1", LISTED), ID("rp2", LISTED), { }
	};
	struct dma_iova_state state = {};
	struct pci_dev *a, *b, *e, *g;
	struct pci_fabric *fabric;
	dma_addr_t addr;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, TREE, listed);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_dev(test, fabric, "b");
	e = p2pdma_test_dev(test, fabric, "e");
	g = p2pdma_test_dev(test, fabric, "g");
	KUNIT_EXPECT_EQ(test, mainline_map(&a->dev, b, 0, 0, 1, &state, &addr),
			-ENODEV);
	KUNIT_ASSERT_EQ(test, pcim_p2pdma_init(b), 0);
	KUNIT_ASSERT_EQ(test, pcim_p2pdma_init(e), 0);
	KUNIT_ASSERT_EQ(test, pcim_p2pdma_init(g), 0);

	KUNIT_EXPECT_EQ(test, 0, mainline_map(&a->dev, b, 0,
					      pci_resource_start(b, 0), SZ_4M,
					      &state, &addr));
	KUNIT_EXPECT_EQ(test, addr, bar_register(fabric, "b"));
	mainline_unmap(&a->dev, SZ_4M, &state);
	KUNIT_EXPECT_EQ(test, 0, mainline_map(&a->dev, e, 0,
					      pci_resource_start(e, 0), SZ_4M,
					      &state, &addr));
	KUNIT_EXPECT_EQ(test, addr, pci_resource_start(e, 0));
	KUNIT_EXPECT_FALSE(test, dma_use_iova(&state));
	mainline_unmap(&a->dev, SZ_4M, &state);
	KUNIT_EXPECT_EQ(test, -EREMOTEIO,
			mainline_map(&a->dev, g, 0, pci_resource_start(g, 0),
				     SZ_4M, &state, &addr));
}

static struct kunit_case map_cases[] = {
	KUNIT_CASE_PARAM(routes, route_gen_params),
	KUNIT_CASE(arguments),
	KUNIT_CASE(child),
	KUNIT_CASE(not_pci),
	KUNIT_CASE(dma_mask_within_bar),
	KUNIT_CASE(dma_mask_of_cpu_addresses),
	KUNIT_CASE(classes),
	KUNIT_CASE(dma_mask_without_pages),
	KUNIT_CASE(dma_ranges),
	KUNIT_CASE(translated),
	KUNIT_CASE(bus_addresses),
	KUNIT_CASE(untrusted),
	KUNIT_CASE(mainline_driver),
	{ }
};

static struct kunit_suite map_suite = {
	.name = "p2pdma_map",
	.test_cases = map_cases,
};

kunit_test_suite(map_suite);
