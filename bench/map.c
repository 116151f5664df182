// SPDX-License-Identifier: GPL-2.0
/*
 * Part "paths" of the benchmark: mapping, routes and registration.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/pci-p2pdma.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/timex.h>

#include <pci_fabric.h>

#include "bench.h"

/* The core of Linux 6.12 has no memory without pages. */
#if BENCH_OURS
#include <linux/p2pdma-phys-list.h>
#endif

#define BENCH_FUNCTIONS		8	/* of each endpoint */
#define BENCH_PORTS		32	/* with providers; + 1 for the client */
#define BENCH_PROVIDERS		(BENCH_PORTS * BENCH_FUNCTIONS)

#define BENCH_BAR		0	/* of each provider; with pages */
#define BENCH_BAR_SIZE		SZ_2M
#define BENCH_HUGE_BAR		2	/* of each provider; without pages */
#define BENCH_HUGE_BAR_SIZE	SZ_1G

#define BENCH_SEGMENT		SZ_128K
#define BENCH_SEGMENTS		256
#define BENCH_ROUNDS		31

static ulong map_segment;
module_param(map_segment, ulong, 0);
MODULE_PARM_DESC(map_segment,
		 "address of pci_p2pdma_map_segment(), which modules can't name");

static enum pci_p2pdma_map_type
(*map_function)(struct pci_p2pdma_map_state *state, struct device *dev,
		struct scatterlist *segment);
static struct pci_dev *providers[BENCH_PROVIDERS];
static void *memory[2];			/* BENCH_BAR of the first providers */
static struct device *near, *far;	/* client below their switch, or not */
static struct device *client;		/* near or far */
static struct scatterlist segments[BENCH_SEGMENTS];
static struct pci_p2pdma_map_state map_state;

/**
 * struct bench - one figure
 * @name: in the log
 * @calls: in a round; a round is far shorter than the period of timer ticks, so
 *	the median of the rounds is one without a tick.  (Registering pages
 *	takes many ticks, whose cost is small in comparison.)
 * @call: the function to count; false if it failed
 * @far: the client is behind the same host bridge, but not below the switch
 * @segments: length of the scatterlist, for mappings
 * @ranges: length of the list of physical memory, for mappings
 * @providers: number of providers that segments or ranges alternate between
 * @size: bytes mapped, or of each segment or range, 0 for BENCH_SEGMENT
 * @spare: name of the device to register, and to unregister after each round
 * @ram: name of another figure: bytes of RAM for each GiB registered
 * @rounds: 0 for BENCH_ROUNDS
 */
struct bench {
	const char *name;
	unsigned int calls;
	bool (*call)(const struct bench *bench);
	bool far;
	unsigned int segments;
	unsigned int ranges;
	unsigned int providers;
	size_t size;
	const char *spare;
	const char *ram;
	unsigned int rounds;
};

/* Bytes of free system memory, with the pages on per-CPU lists */
static s64 free_memory(void)
{
	struct zone *zones = NODE_DATA(first_online_node)->node_zones;
	s64 pages = 0;
	int i, cpu;

	for (i = 0; i < MAX_NR_ZONES; i++) {
		if (!populated_zone(&zones[i]))
			continue;
		pages += zone_page_state_snapshot(&zones[i], NR_FREE_PAGES);
		for_each_online_cpu(cpu)
			pages += per_cpu_ptr(zones[i].per_cpu_pageset,
					     cpu)->count;
	}
	return pages << PAGE_SHIFT;
}

static bool map_list(const struct bench *bench)
{
	int mapped = dma_map_sg_attrs(client, segments, bench->segments,
				      DMA_BIDIRECTIONAL, 0);

	if (mapped <= 0 || sg_dma_is_bus_address(segments) == bench->far)
		return false;
	dma_unmap_sg_attrs(client, segments, bench->segments,
			   DMA_BIDIRECTIONAL, 0);
	return true;
}

static bool map_later(const struct bench *bench)
{
	return map_function(&map_state, client, segments) ==
	       PCI_P2PDMA_MAP_BUS_ADDR;
}

static bool map_first(const struct bench *bench)
{
	memset(&map_state, 0, sizeof(map_state));
	return map_later(bench);
}

static bool find_provider(const struct bench *bench)
{
	struct pci_dev *found = pci_p2pmem_find_many(&client, 1);

	pci_dev_put(found);
	return found;
}

static bool distance(const struct bench *bench)
{
	return pci_p2pdma_distance(providers[0], client, false) == 4;
}

static struct pci_dev *spare;

static bool register_pages(const struct bench *bench)
{
	return !pci_p2pdma_add_resource(spare, 0, 0, 0);
}

#if BENCH_OURS
static struct p2pdma_provider *huge[2];	/* BENCH_HUGE_BAR of the first two */
static phys_addr_t huge_start[2];
static dma_addr_t huge_addr;		/* expected DMA address of huge[0] */
static struct p2pdma_phys_list *list;

static bool map_p2p(const struct bench *bench)
{
	dma_addr_t addr = dma_map_p2p(client, huge[0], huge_start[0],
				      bench->size, DMA_BIDIRECTIONAL, 0);

	if (addr != huge_addr)
		return false;
	dma_unmap_p2p(client, huge[0], addr, bench->size,
		      DMA_BIDIRECTIONAL, 0);
	return true;
}

static bool map_phys_list(const struct bench *bench)
{
	struct p2pdma_phys_mapping *mapping;
	bool good;

	mapping = p2pdma_phys_list_map(client, list, DMA_BIDIRECTIONAL, 0,
				       GFP_KERNEL);
	if (IS_ERR(mapping))
		return false;
	good = mapping->count == bench->ranges &&
	       mapping->ranges[0].addr == huge_addr;
	p2pdma_phys_list_unmap(mapping);
	return good;
}

static bool register_bars(const struct bench *bench)
{
	return !pcim_p2pdma_init(spare);
}

/* Set up providers and the list for mappings without pages */
static int prepare_huge(const struct bench *bench)
{
	unsigned int i, of;
	int error = 0;

	for (i = 0; i < ARRAY_SIZE(huge); i++) {
		huge[i] = pcim_p2pdma_provider(providers[i], BENCH_HUGE_BAR);
		huge_start[i] = pci_resource_start(providers[i],
						   BENCH_HUGE_BAR);
		if (!huge[i])
			return -ENODEV;
	}
	huge_addr = bench->far ? huge_start[0] :
		    pci_bus_address(providers[0], BENCH_HUGE_BAR);

	p2pdma_phys_list_free(list);
	list = p2pdma_phys_list_create(GFP_KERNEL);
	if (!list)
		return -ENOMEM;
	for (i = 0; !error && i < bench->ranges; i++) {
		of = i % bench->providers;
		error = p2pdma_phys_list_add(list, huge[of], huge_start[of],
					     bench->size ?: BENCH_SEGMENT,
					     GFP_KERNEL);
	}
	return error;
}

/* Register all BARs without pages */
static int register_huge(void)
{
	s64 before = free_memory();
	unsigned int i;
	int error;

	for (i = 0; i < BENCH_PROVIDERS; i++) {
		error = pcim_p2pdma_init(providers[i]);
		if (error)
			return error;
	}
	bench_log("bars_ram", before - free_memory(), BENCH_PROVIDERS);
	return 0;
}

static void release_huge(void)
{
	p2pdma_phys_list_free(list);
}

#else /* !BENCH_OURS */

static int prepare_huge(const struct bench *bench)
{
	return 0;
}

static int register_huge(void)
{
	return 0;
}

static void release_huge(void) { }

#endif /* !BENCH_OURS */

static const struct bench benches[] = {
	{ "map_segment_first", 100, map_first, .segments = 1, .providers = 1 },
	{ "map_segment_later", 100, map_later, .segments = 1, .providers = 1 },
	{ "map_sg_1", 100, map_list, .segments = 1, .providers = 1 },
	{ "map_sg_2m", 100, map_list, .segments = 1, .providers = 1,
	  .size = SZ_2M },
	{ "map_sg_16", 16, map_list, .segments = 16, .providers = 1 },
	{ "map_sg_32_by_turns", 16, map_list, .segments = 32, .providers = 2 },
	{ "map_sg_256", 4, map_list, .segments = 256, .providers = 1 },
	{ "map_sg_16_by_turns", 16, map_list, .segments = 16, .providers = 2 },
	{ "map_sg_256_by_turns", 4, map_list, .segments = 256, .providers = 2 },
	{ "map_sg_far", 100, map_list, .far = true, .segments = 1,
	  .providers = 1 },
	{ "distance", 100, distance },
	{ "find_many_256", 1, find_provider },
	{ "register_pages_64m", 1, register_pages, .spare = "spare64m" },
	{ "register_pages_8g", 1, register_pages, .spare = "spare8g",
	  .ram = "pages_ram", .rounds = 3 },
#if BENCH_OURS
	{ "map_p2p_128k", 100, map_p2p, .size = SZ_128K },
	{ "map_p2p_2m", 100, map_p2p, .size = SZ_2M },
	{ "map_p2p_1g", 100, map_p2p, .size = SZ_1G },
	{ "map_p2p_far_128k", 100, map_p2p, .far = true, .size = SZ_128K },
	{ "map_p2p_far_1g", 100, map_p2p, .far = true, .size = SZ_1G },
	{ "map_phys_list_1g", 100, map_phys_list, .ranges = 1, .providers = 1,
	  .size = SZ_1G },
	{ "map_phys_list_32", 16, map_phys_list, .ranges = 32, .providers = 2 },
	{ "register_bars_64m", 1, register_bars, .spare = "spare64m" },
	{ "register_bars_8g", 1, register_bars, .spare = "spare8g" },
#endif
};

/* Set up what @bench's calls work on */
static int prepare(const struct bench *bench, struct pci_fabric *fabric)
{
	unsigned int i;

	client = bench->far ? far : near;
	sg_init_table(segments, BENCH_SEGMENTS);
	for (i = 0; i < bench->segments; i++)
		sg_set_buf(&segments[i], memory[i % bench->providers],
			   bench->size ?: BENCH_SEGMENT);
	if (bench->segments)
		sg_mark_end(&segments[bench->segments - 1]);

	spare = bench->spare ? pci_fabric_dev(fabric, bench->spare) : NULL;
	if (bench->spare && !spare)
		return -ENODEV;
	return prepare_huge(bench);
}

static int run(const struct bench *bench, struct pci_fabric *fabric)
{
	unsigned int rounds = bench->rounds ?: BENCH_ROUNDS;
	u64 took[BENCH_ROUNDS], ram[BENCH_ROUNDS];
	bool good = true;
	unsigned int i;
	int round;
	int error;

	error = prepare(bench, fabric);

	if (!error && bench_where(bench->name, bench->call)) {
		while (bench->call(bench))
			;
	}

	/* A round that isn't counted warms the caches of routes and memory */
	for (round = -1; !error && round < (int)rounds; round++) {
		s64 before = free_memory();
		u64 start;

		if (bench->spare &&
		    !devres_open_group(&spare->dev, NULL, GFP_KERNEL))
			return -ENOMEM;
		start = get_cycles();
		for (i = 0; i < bench->calls; i++)
			good &= bench->call(bench);
		if (round >= 0) {
			took[round] = get_cycles() - start;
			ram[round] = before - free_memory();
		}
		if (bench->spare)
			devres_release_group(&spare->dev, NULL);
	}
	if (error || !good) {
		pr_err("%s failed\n", bench->name);
		return error ?: -EREMOTEIO;
	}

	bench_log(bench->name, bench_median(took, rounds), bench->calls);
	if (bench->ram)
		bench_log(bench->ram, bench_median(ram, rounds),
			  pci_resource_len(spare, 0) / SZ_1G);
	return 0;
}

/* The nodes that aren't generated */
static const struct pci_fabric_node single_nodes[] = {
	/*
	 * The offset makes bus addresses differ from CPU addresses. It is larger
	 * than all BARs, so that no CPU address is a bus address, too.
	 */
	{ .name = "host", .kind = PCI_FABRIC_HOST, .domain = 1, .node = 1,
	  .offset = -SZ_1T },
	/* By this ID, P2PDMA knows that the host bridge forwards */
	{ .name = "root", .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
	  .vendor = PCI_VENDOR_ID_INTEL, .device_id = 0x3c00 },
	{ .name = "up", .below = "root", .kind = PCI_FABRIC_UPSTREAM },
	{ .name = "root1", .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
	  .device = 1 },
	{ .name = "far", .below = "root1", .kind = PCI_FABRIC_ENDPOINT },
	{ .name = "root2", .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
	  .device = 2 },
	{ .name = "spare64m", .below = "root2", .kind = PCI_FABRIC_ENDPOINT,
	  .bar = { { SZ_64M } } },
	{ .name = "root3", .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
	  .device = 3 },
	{ .name = "spare8g", .below = "root3", .kind = PCI_FABRIC_ENDPOINT,
	  .bar = { { 8ULL * SZ_1G } } },
};

#define BENCH_SINGLE	ARRAY_SIZE(single_nodes)
#define BENCH_NODES	(BENCH_SINGLE + BENCH_PORTS + 1 + BENCH_PROVIDERS + 1)

/* All providers and the near client below one switch */
static struct pci_fabric *build(void)
{
	static char names[BENCH_NODES][16];
	struct pci_fabric_node *nodes, *node;
	struct pci_fabric *fabric;
	unsigned int i;

	nodes = kcalloc(BENCH_NODES, sizeof(*nodes), GFP_KERNEL);
	if (!nodes)
		return ERR_PTR(-ENOMEM);

	memcpy(nodes, single_nodes, sizeof(single_nodes));
	node = &nodes[BENCH_SINGLE];
	for (i = 0; i <= BENCH_PORTS; i++, node++) {
		node->name = names[node - nodes];
		scnprintf(names[node - nodes], sizeof(names[0]), "down%u", i);
		node->below = "up";
		node->kind = PCI_FABRIC_DOWNSTREAM;
		node->device = i % 32;
		node->function = i / 32;
		node->port = i;
	}
	for (i = 0; i <= BENCH_PROVIDERS; i++, node++) {
		node->name = names[node - nodes];
		scnprintf(names[node - nodes], sizeof(names[0]), "end%u", i);
		node->below = names[BENCH_SINGLE + i / BENCH_FUNCTIONS];
		node->kind = PCI_FABRIC_ENDPOINT;
		node->function = i % BENCH_FUNCTIONS;
		if (i < BENCH_PROVIDERS) {
			node->bar[BENCH_BAR].size = BENCH_BAR_SIZE;
			node->bar[BENCH_HUGE_BAR].size = BENCH_HUGE_BAR_SIZE;
		}
	}

	fabric = pci_fabric_create(nodes, BENCH_NODES);
	if (!IS_ERR_OR_NULL(fabric)) {
		char name[16];

		for (i = 0; i < BENCH_PROVIDERS; i++) {
			scnprintf(name, sizeof(name), "end%u", i);
			providers[i] = pci_fabric_dev(fabric, name);
		}
		scnprintf(name, sizeof(name), "end%u", BENCH_PROVIDERS);
		near = &pci_fabric_dev(fabric, name)->dev;
		far = &pci_fabric_dev(fabric, "far")->dev;
	}
	kfree(nodes);
	return fabric;
}

/* Register all BARs without pages if the core can, then some with pages */
static int register_all(void)
{
	unsigned int i;
	int error;

	error = register_huge();
	if (error)
		return error;
	for (i = 0; i < BENCH_PROVIDERS; i++) {
		error = pci_p2pdma_add_resource(providers[i], BENCH_BAR, 0, 0);
		if (error) {
			pr_err("%s: can't register: %pe\n",
			       pci_name(providers[i]), ERR_PTR(error));
			return error;
		}
		pci_p2pmem_publish(providers[i], true);
	}
	for (i = 0; i < ARRAY_SIZE(memory); i++) {
		memory[i] = pci_alloc_p2pmem(providers[i], BENCH_BAR_SIZE);
		if (!memory[i])
			return -ENOMEM;
	}
	return dma_set_mask_and_coherent(near, DMA_BIT_MASK(64)) ?:
	       dma_set_mask_and_coherent(far, DMA_BIT_MASK(64));
}

/**
 * bench_paths - count mapping, routes and registration
 *
 * Return: 0 or what went wrong.
 */
int bench_paths(void)
{
	struct pci_fabric *fabric;
	unsigned int i;
	int error;

	if (!bench_symbol_is(map_segment, "pci_p2pdma_map_segment"))
		return -EINVAL;
	map_function = (void *)map_segment;

	fabric = build();
	if (IS_ERR(fabric))
		return PTR_ERR(fabric);

	error = register_all();
	for (i = 0; !error && i < ARRAY_SIZE(benches); i++)
		error = run(&benches[i], fabric);

	release_huge();
	for (i = 0; i < ARRAY_SIZE(memory); i++) {
		if (memory[i])
			pci_free_p2pmem(providers[i], memory[i],
					BENCH_BAR_SIZE);
	}
	pci_fabric_destroy(fabric);
	return error;
}
