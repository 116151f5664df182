// SPDX-License-Identifier: GPL-2.0
/*
 * Counts what P2PDMA's hot paths cost, on a PCI fabric made in software.
 *
 * Loading the module runs everything once and logs one line for each figure:
 * its name, the median of the rounds, and how many calls a round has.  It
 * takes time stamp counters, which count instructions in a QEMU machine with
 * "-icount shift=0" (see bench/bench); on any other machine the figures mean
 * little.  Nothing is subtracted, neither loops nor the calls through a
 * pointer.
 *
 * The module builds and runs on this P2PDMA as well as on the one that comes
 * with Linux 6.12.  It doesn't compare.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/kallsyms.h>
#include <linux/module.h>
#include <linux/pci-p2pdma.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/timex.h>

#include <pci_fabric.h>

#define BENCH_FUNCTIONS		8	/* of each endpoint */
#define BENCH_PORTS		32	/* with providers below; one more has the client */
#define BENCH_PROVIDERS		(BENCH_PORTS * BENCH_FUNCTIONS)
#define BENCH_ABOVE		3	/* host bridge, root port, upstream port */
#define BENCH_NODES		(BENCH_ABOVE + BENCH_PORTS + 1 + BENCH_PROVIDERS + 1)

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
static void *memory[2];			/* of the first providers */
static struct device *client;
static struct scatterlist segments[BENCH_SEGMENTS];
static struct pci_p2pdma_map_state map_state;

/**
 * struct bench - one figure
 * @name: in the log
 * @calls: in a round; a round is far shorter than a timer tick, and the median
 *	of the rounds is one without a tick
 * @call: what is counted; false where it didn't work
 * @segments: length of the list, for mappings
 * @providers: the list's segments lie in these by turns
 */
struct bench {
	const char *name;
	unsigned int calls;
	bool (*call)(const struct bench *bench);
	unsigned int segments;
	unsigned int providers;
};

static bool map_list(const struct bench *bench)
{
	int mapped = dma_map_sg_attrs(client, segments, bench->segments,
				      DMA_BIDIRECTIONAL, 0);

	if (mapped <= 0 || !sg_dma_is_bus_address(segments))
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

static const struct bench benches[] = {
	{ "map_segment_first", 100, map_first, 1, 1 },
	{ "map_segment_later", 100, map_later, 1, 1 },
	{ "map_sg_1", 100, map_list, 1, 1 },
	{ "map_sg_16", 16, map_list, 16, 1 },
	{ "map_sg_256", 4, map_list, 256, 1 },
	{ "map_sg_16_by_turns", 16, map_list, 16, 2 },
	{ "map_sg_256_by_turns", 4, map_list, 256, 2 },
	{ "distance", 100, distance },
	{ "find_many_256", 1, find_provider },
};

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static int run(const struct bench *bench)
{
	u64 took[BENCH_ROUNDS];
	unsigned int i, round;
	bool good;

	sg_init_table(segments, BENCH_SEGMENTS);
	for (i = 0; i < bench->segments; i++)
		sg_set_buf(&segments[i], memory[i % bench->providers],
			   BENCH_SEGMENT);
	if (bench->segments)
		sg_mark_end(&segments[bench->segments - 1]);

	/* The first call fills caches of routes */
	good = bench->call(bench);
	for (round = 0; round < BENCH_ROUNDS; round++) {
		u64 start = get_cycles();

		for (i = 0; i < bench->calls; i++)
			good &= bench->call(bench);
		took[round] = get_cycles() - start;
	}
	if (!good) {
		pr_err("%s failed\n", bench->name);
		return -EREMOTEIO;
	}

	sort(took, BENCH_ROUNDS, sizeof(took[0]), compare, NULL);
	pr_info("%s %llu %u\n", bench->name, took[BENCH_ROUNDS / 2],
		bench->calls);
	return 0;
}

/* All providers and the client below one switch */
static struct pci_fabric *build(void)
{
	static char names[BENCH_NODES][16];
	struct pci_fabric_node *nodes, *node;
	struct pci_fabric *fabric;
	unsigned int i;

	nodes = kcalloc(BENCH_NODES, sizeof(*nodes), GFP_KERNEL);
	if (!nodes)
		return ERR_PTR(-ENOMEM);

	nodes[0] = (struct pci_fabric_node) {
		.name = "host", .kind = PCI_FABRIC_HOST, .domain = 1, .node = 1,
	};
	nodes[1] = (struct pci_fabric_node) {
		.name = "root", .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
	};
	nodes[2] = (struct pci_fabric_node) {
		.name = "up", .below = "root", .kind = PCI_FABRIC_UPSTREAM,
	};

	node = &nodes[BENCH_ABOVE];
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
		node->below = names[BENCH_ABOVE + i / BENCH_FUNCTIONS];
		node->kind = PCI_FABRIC_ENDPOINT;
		node->function = i % BENCH_FUNCTIONS;
		if (i < BENCH_PROVIDERS)
			node->bar[0].size = SZ_2M;
	}

	fabric = pci_fabric_create(nodes, BENCH_NODES);
	if (!IS_ERR_OR_NULL(fabric)) {
		char name[16];

		for (i = 0; i < BENCH_PROVIDERS; i++) {
			scnprintf(name, sizeof(name), "end%u", i);
			providers[i] = pci_fabric_dev(fabric, name);
		}
		scnprintf(name, sizeof(name), "end%u", BENCH_PROVIDERS);
		client = &pci_fabric_dev(fabric, name)->dev;
	}
	kfree(nodes);
	return fabric;
}

static int register_all(void)
{
	unsigned int i;
	int error;

	for (i = 0; i < BENCH_PROVIDERS; i++) {
		error = pci_p2pdma_add_resource(providers[i], 0, 0, 0);
		if (error) {
			pr_err("%s: can't register: %pe\n",
			       pci_name(providers[i]), ERR_PTR(error));
			return error;
		}
		pci_p2pmem_publish(providers[i], true);
	}
	for (i = 0; i < ARRAY_SIZE(memory); i++) {
		memory[i] = pci_alloc_p2pmem(providers[i], BENCH_SEGMENT);
		if (!memory[i])
			return -ENOMEM;
	}
	return dma_set_mask_and_coherent(client, DMA_BIT_MASK(64));
}

static int __init p2pdma_bench_init(void)
{
	struct pci_fabric *fabric;
	char symbol[KSYM_SYMBOL_LEN];
	unsigned int i;
	int error;

	/* A wrong address would be called */
	snprintf(symbol, sizeof(symbol), "%pS", (void *)map_segment);
	if (strncmp(symbol, "pci_p2pdma_map_segment+0x0/", 27)) {
		pr_err("map_segment=0x%lx is %s\n", map_segment, symbol);
		return -EINVAL;
	}

	map_function = (void *)map_segment;

	fabric = build();
	if (IS_ERR(fabric))
		return PTR_ERR(fabric);

	error = register_all();
	for (i = 0; !error && i < ARRAY_SIZE(benches); i++)
		error = run(&benches[i]);

	for (i = 0; i < ARRAY_SIZE(memory); i++) {
		if (memory[i])
			pci_free_p2pmem(providers[i], memory[i], BENCH_SEGMENT);
	}
	pci_fabric_destroy(fabric);
	return error;
}
module_init(p2pdma_bench_init);

static void __exit p2pdma_bench_exit(void)
{
}
module_exit(p2pdma_bench_exit);

MODULE_DESCRIPTION("Counts what the hot paths of PCI peer-to-peer DMA cost");
MODULE_LICENSE("GPL");
