// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of PCI peer-to-peer DMA: ranks of the paths between NUMA nodes,
 * from tables like firmware's HMAT, and the choice of a provider by them.
 */

#include <linux/acpi.h>
#include <linux/array_size.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/numa.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include <kunit/static_stub.h>

#include "p2pdma_test.h"

/* ---- Choice ---- */

static u8 rank_to_better, rank_to_worse;

/* The better provider is on node 1, the worse one and the clients on node 0. */
static unsigned int rank_of_test(int client_node, int owner_node)
{
	if (client_node)
		return P2PDMA_RANK_MAX;
	return owner_node ? rank_to_better : rank_to_worse;
}

/**
 * struct ranked_case - of two providers, the better one is always chosen
 * @name: the step of the preference
 * @client: device to find a provider for
 * @better: provider that must be chosen
 * @worse: provider that must not be chosen
 * @better_rank: rank of the path to @better
 * @worse_rank: rank of the path to @worse
 * @better_taken: bytes of @better's memory that are allocated
 */
struct ranked_case {
	const char *name;
	const char *client;
	const char *better;
	const char *worse;
	u8 better_rank;
	u8 worse_rank;
	size_t better_taken;
};

static const struct ranked_case ranked_cases[] = {
	{ "rank_before_hops", "a", "c", "b", 1, 2 },
	{ "rank_before_hops_and_memory", "a", "c", "b", 14, 15, SZ_2M },
	{ "rank_before_memory", "a", "c", "d", 0, 1, SZ_2M },
	{ "equal_rank_then_hops", "a", "b", "c", 7, 7, SZ_2M },
	{ "below_root_ports", "a", "f", "e", 3, 4, SZ_2M },
	{ "switch_before_rank", "a", "c", "e", 15, 0, SZ_2M },
	{ "same_host_bridge_before_rank", "a", "e", "g", 15, 0, SZ_2M },
};

KUNIT_ARRAY_PARAM_DESC(ranked, ranked_cases, name);

static struct pci_dev *offer(struct kunit *test, struct pci_fabric *fabric,
			     const char *name, int node)
{
	struct pci_dev *pdev = p2pdma_test_provider(test, fabric, name);

	set_dev_node(&pdev->dev, node);
	pci_p2pmem_publish(pdev, true);
	return pdev;
}

static void choice(struct kunit *test)
{
	const struct ranked_case *param = test->param_value;
	struct pci_dev *client, *better, *worse, *found;
	struct pci_fabric *fabric;

	p2pdma_test_root(test, true, NULL);
	kunit_activate_static_stub(test, p2pdma_hmat_rank, rank_of_test);
	rank_to_better = param->better_rank;
	rank_to_worse = param->worse_rank;

	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	client = p2pdma_test_dev(test, fabric, param->client);
	set_dev_node(&client->dev, 0);
	better = offer(test, fabric, param->better, 1);
	worse = offer(test, fabric, param->worse, 0);
	if (param->better_taken)
		p2pdma_test_alloc(test, better, param->better_taken);

	found = pci_p2pmem_find(&client->dev);
	KUNIT_EXPECT_PTR_EQ(test, found, better);
	pci_dev_put(found);

	pci_p2pmem_publish(better, false);
	found = pci_p2pmem_find(&client->dev);
	KUNIT_EXPECT_PTR_EQ(test, found, worse);
	pci_dev_put(found);
}

/* Within one device no path has a rank. */
static void own_memory(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct pci_dev *a, *found;

	p2pdma_test_root(test, true, NULL);
	kunit_activate_static_stub(test, p2pdma_hmat_rank, rank_of_test);
	rank_to_better = 15;
	rank_to_worse = 15;
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	a = offer(test, fabric, "a", 0);
	offer(test, fabric, "b", 0);

	KUNIT_EXPECT_EQ(test, 0, pci_p2pdma_distance(a, &a->dev, false));
	found = pci_p2pmem_find(&a->dev);
	KUNIT_EXPECT_PTR_EQ(test, found, a);
	pci_dev_put(found);
}

/* ---- Look-ups ---- */

/* Without information about a pair, only a crossing of nodes counts. */
static void look_up(struct kunit *test)
{
	static const u8 ranks[] = { 3, 0, 9, P2PDMA_RANK_NONE };
	const struct p2pdma_hmat hmat = { 2, ranks }, none = { };
	static const struct {
		int client, owner;
		unsigned int rank, without;
	} cases[] = {
		{ 0, 0, 3, 0 }, { 0, 1, 0, 1 }, { 1, 0, 9, 1 }, { 1, 1, 0, 0 },
		{ 0, 2, 15, 1 }, { 2, 0, 15, 1 }, { 2, 2, 0, 0 },
		{ NUMA_NO_NODE, 0, 0, 0 }, { 0, NUMA_NO_NODE, 0, 0 },
		{ NUMA_NO_NODE, NUMA_NO_NODE, 0, 0 },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		KUNIT_EXPECT_EQ_MSG(test, cases[i].rank,
				    p2pdma_hmat_find(&hmat, cases[i].client,
						     cases[i].owner),
				    "case %d", i);
		KUNIT_EXPECT_EQ_MSG(test, cases[i].without,
				    p2pdma_hmat_find(&none, cases[i].client,
						     cases[i].owner),
				    "case %d", i);
	}
}

static struct kunit_case choice_cases[] = {
	KUNIT_CASE_PARAM(choice, ranked_gen_params),
	KUNIT_CASE(own_memory),
	KUNIT_CASE(look_up),
	{ }
};

static struct kunit_suite choice_suite = {
	.name = "p2pdma_rank",
	.test_cases = choice_cases,
};

/* ---- Tables ---- */

#ifdef CONFIG_ACPI_NUMA

/* Domains FIRST to FIRST + NODES - 1 are nodes 0 to NODES - 1. */
#define FIRST		10
#define NODES		6
#define PAIRS		(NODES * NODES)

/* Two more have nodes that are too large, the second one by far. */
static int node_of_test(u32 domain)
{
	if (domain == FIRST + NODES + 1)
		return SZ_16M;
	if (domain < FIRST || domain > FIRST + NODES)
		return NUMA_NO_NODE;
	return domain - FIRST;
}

struct table {
	struct kunit *test;
	u32 length;
	union {
		struct acpi_table_header header;
		u8 bytes[2048];
	};
};

static struct table *begin(struct kunit *test, u8 revision)
{
	struct table *table = kunit_kzalloc(test, sizeof(*table), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, table);
	table->test = test;
	table->length = sizeof(struct acpi_table_hmat);
	table->header.revision = revision;
	kunit_activate_static_stub(test, p2pdma_hmat_node, node_of_test);
	return table;
}

static void *append(struct table *table, size_t size)
{
	void *start = table->bytes + table->length;

	KUNIT_ASSERT_LE(table->test, table->length + size,
			sizeof(table->bytes));
	table->length += size;
	return start;
}

static void add_structure(struct table *table, u16 type, u32 length)
{
	struct acpi_hmat_structure *structure = append(table, length);

	/* What is skipped must not be taken for anything. */
	memset(structure, 1, length);
	structure->type = type;
	structure->length = length;
}

/* Number of initiators, then number of targets, in the structure */
#define COUNTS	offsetofend(struct acpi_hmat_locality, reserved1)

struct locality {
	u8 type;
	u8 flags;
	u64 base;
	u32 initiators, targets;
};

static void add_locality(struct table *table, const struct locality *locality,
			 const u32 *initiators, const u32 *targets,
			 const u16 *entries)
{
	const size_t lists[] = {
		locality->initiators * sizeof(u32),
		locality->targets * sizeof(u32),
		locality->initiators * locality->targets * sizeof(u16),
	};
	const u32 counts[] = { locality->initiators, locality->targets };
	struct acpi_hmat_locality *structure;

	structure = append(table, sizeof(*structure));
	*structure = (struct acpi_hmat_locality) {
		.header.type = ACPI_HMAT_TYPE_LOCALITY,
		.header.length = sizeof(*structure) + lists[0] + lists[1] +
				 lists[2],
		.flags = locality->flags,
		.data_type = locality->type,
		.entry_base_unit = locality->base,
	};
	memcpy((void *)structure + COUNTS, counts, sizeof(counts));
	memcpy(append(table, lists[0]), initiators, lists[0]);
	memcpy(append(table, lists[1]), targets, lists[1]);
	memcpy(append(table, lists[2]), entries, lists[2]);
}

/* Between the nodes from 0 on, as many as there are initiators and targets */
static void add_nodes(struct table *table, const struct locality *locality,
		      const u16 *entries)
{
	static const u32 domains[] = {
		FIRST, FIRST + 1, FIRST + 2, FIRST + 3, FIRST + 4, FIRST + 5
	};

	static_assert(ARRAY_SIZE(domains) == NODES);
	add_locality(table, locality, domains, domains, entries);
}

KUNIT_DEFINE_ACTION_WRAPPER(free_later, kvfree, const void *);

/* The table in front of a page that isn't mapped: reading past it oopses. */
static const struct acpi_table_header *end(struct table *table, u32 length)
{
	const size_t size = PAGE_ALIGN(length);
	void *pages = vmalloc(size);

	KUNIT_ASSERT_NOT_NULL(table->test, pages);
	KUNIT_ASSERT_EQ(table->test, 0,
			kunit_add_action_or_reset(table->test, free_later,
						  pages));
	table->header.length = length;
	return memcpy(pages + size - length, table->bytes, length);
}

/* Parse, and compare the number of pairs; the ranks go with the test. */
static struct p2pdma_hmat parse(struct table *table, int known)
{
	struct p2pdma_hmat hmat = { };

	KUNIT_EXPECT_EQ(table->test, known,
			p2pdma_hmat_parse(end(table, table->length), NODES,
					  &hmat));
	KUNIT_EXPECT_EQ(table->test, hmat.nodes, known > 0 ? NODES : 0);
	if (hmat.ranks)
		KUNIT_ASSERT_EQ(table->test, 0,
				kunit_add_action_or_reset(table->test,
							  free_later,
							  (void *)hmat.ranks));
	return hmat;
}

#define LATENCY(read_write)	ACPI_HMAT_##read_write##_LATENCY
#define BANDWIDTH(read_write)	ACPI_HMAT_##read_write##_BANDWIDTH

#define STRUCTURES	3

/**
 * struct value_case - values between nodes 0 and 1, and their ranks
 * @name: the rule
 * @revision: of the table; 0 for 2
 * @structures: locality structures, up to the one with base unit 0
 * @known: number of pairs that the table has information about
 * @ranks: for the pairs 0-0, 0-1, 1-0, 1-1
 */
struct value_case {
	const char *name;
	u8 revision;
	struct {
		u8 type;
		u8 flags;
		u64 base;
		u16 entries[4];
	} structures[STRUCTURES];
	int known;
	u8 ranks[4];
};

static const struct value_case value_cases[] = {
	{ "latency", 2, {
	  { LATENCY(ACCESS), 0, 1000, { 10, 30, 20, 10 } } },
	  4, { 0, 2, 1, 0 } },
	{ "bandwidth", 2, {
	  { BANDWIDTH(ACCESS), 0, 1024, { 100, 25, 50, 100 } } },
	  4, { 0, 2, 1, 0 } },
	{ "revision_1", 1, {
	  { LATENCY(ACCESS), 0, 100, { 10, 30, 20, 10 } } },
	  4, { 0, 2, 1, 0 } },
	{ "all_equal", 2, {
	  { LATENCY(READ), 0, 1, { 10, 10, 10, 10 } },
	  { BANDWIDTH(READ), 0, 1, { 10, 10, 10, 10 } } },
	  4, { 0, 0, 0, 0 } },
	{ "bandwidth_before_latency", 2, {
	  { LATENCY(ACCESS), 0, 1, { 90, 10, 20, 95 } },
	  { BANDWIDTH(ACCESS), 0, 1, { 100, 50, 50, 100 } } },
	  4, { 0, 2, 3, 1 } },
	{ "higher_of_latencies", 2, {
	  { LATENCY(READ), 0, 1, { 10, 20, 30, 10 } },
	  { LATENCY(WRITE), 0, 1, { 10, 40, 20, 10 } } },
	  4, { 0, 2, 1, 0 } },
	{ "higher_of_latencies_first", 2, {
	  { LATENCY(WRITE), 0, 1, { 10, 40, 20, 10 } },
	  { LATENCY(READ), 0, 1, { 10, 20, 30, 10 } } },
	  4, { 0, 2, 1, 0 } },
	{ "lower_of_bandwidths", 2, {
	  { BANDWIDTH(READ), 0, 1, { 100, 50, 20, 100 } },
	  { BANDWIDTH(WRITE), 0, 1, { 100, 40, 70, 10 } } },
	  4, { 0, 1, 2, 3 } },
	{ "lower_of_bandwidths_first", 2, {
	  { BANDWIDTH(WRITE), 0, 1, { 100, 40, 70, 10 } },
	  { BANDWIDTH(READ), 0, 1, { 100, 50, 20, 100 } } },
	  4, { 0, 1, 2, 3 } },
	{ "access_and_read", 2, {
	  { LATENCY(ACCESS), 0, 1, { 10, 20, 30, 10 } },
	  { LATENCY(READ), 0, 1, { 0, 40, 0xffff, 0 } } },
	  4, { 0, 2, 1, 0 } },
	{ "base_units", 2, {
	  { LATENCY(READ), 0, 1, { 1000, 3000, 2000, 1000 } },
	  { LATENCY(WRITE), 0, 1000, { 1, 1, 4, 1 } } },
	  4, { 0, 1, 2, 0 } },
	{ "no_latency", 2, {
	  { LATENCY(ACCESS), 0, 1, { 10, 0, 0xffff, 20 } } },
	  2, { 0, 15, 15, 1 } },
	{ "no_bandwidth", 2, {
	  { BANDWIDTH(ACCESS), 0, 1, { 20, 0xffff, 0, 10 } } },
	  2, { 0, 15, 15, 1 } },
	{ "bandwidth_unknown", 2, {
	  { BANDWIDTH(ACCESS), 0, 1, { 100, 0, 50, 100 } },
	  { LATENCY(ACCESS), 0, 1, { 10, 5, 20, 10 } } },
	  4, { 0, 2, 1, 0 } },
	{ "latency_unknown", 2, {
	  { BANDWIDTH(ACCESS), 0, 1, { 100, 100, 100, 100 } },
	  { LATENCY(ACCESS), 0, 1, { 10, 0, 20, 10 } } },
	  4, { 0, 2, 1, 0 } },
	{ "product_too_large", 2, {
	  { BANDWIDTH(ACCESS), 0, U64_MAX / 2, { 1, 2, 3, 2 } } },
	  3, { 1, 0, 15, 0 } },
	{ "large_products", 2, {
	  { LATENCY(ACCESS), 0, 1ULL << 32, { 3, 0x100, 0x101, 4 } } },
	  4, { 0, 2, 3, 1 } },
	{ "memory_side_cache", 2, {
	  { LATENCY(ACCESS), 0, 1, { 10, 20, 30, 10 } },
	  { LATENCY(ACCESS), 1, 1, { 10, 40, 30, 10 } },
	  { LATENCY(ACCESS), 4, 1, { 10, 40, 30, 10 } } },
	  4, { 0, 1, 2, 0 } },
	{ "non_sequential", 2, {
	  { LATENCY(ACCESS), 0, 1, { 10, 20, 30, 10 } },
	  { LATENCY(ACCESS), ACPI_HMAT_NON_SEQUENTIAL_XFERS, 1,
	    { 10, 40, 30, 10 } } },
	  4, { 0, 1, 2, 0 } },
	{ "minimum_transfer_size", 2, {
	  { LATENCY(ACCESS), ACPI_HMAT_MINIMUM_XFER_SIZE, 1,
	    { 10, 20, 30, 10 } } },
	  4, { 0, 1, 2, 0 } },
	{ "reserved_data_type", 2, {
	  { LATENCY(ACCESS), 0, 1, { 10, 20, 30, 10 } },
	  { BANDWIDTH(WRITE) + 1, 0, 1, { 10, 40, 30, 10 } } },
	  4, { 0, 1, 2, 0 } },
};

KUNIT_ARRAY_PARAM_DESC(value, value_cases, name);

static void values(struct kunit *test)
{
	const struct value_case *param = test->param_value;
	struct table *table = begin(test, param->revision);
	struct p2pdma_hmat hmat;
	int i;

	for (i = 0; i < STRUCTURES && param->structures[i].base; i++) {
		const struct locality locality = {
			param->structures[i].type, param->structures[i].flags,
			param->structures[i].base, 2, 2
		};

		add_nodes(table, &locality, param->structures[i].entries);
	}

	hmat = parse(table, param->known);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ_MSG(test, param->ranks[i],
				    p2pdma_hmat_find(&hmat, i / 2, i % 2),
				    "from %d to %d", i / 2, i % 2);
}

/* Each structure has other pairs, and there are structures of other types. */
static void several_structures(struct kunit *test)
{
	static const u32 domains[] = { FIRST + 4, FIRST + 1, FIRST + 3 };
	static const u16 near[] = { 100, 200 }, far[] = { 300, 100 };
	const struct locality row = { LATENCY(READ), 0, 1, 1, 2 };
	const struct locality column = { LATENCY(READ), 0, 1, 2, 1 };
	struct table *table = begin(test, 2);
	struct p2pdma_hmat hmat;

	add_structure(table, ACPI_HMAT_TYPE_PROXIMITY,
		      sizeof(struct acpi_hmat_proximity_domain));
	add_locality(table, &row, domains, domains + 1, near);
	add_structure(table, ACPI_HMAT_TYPE_CACHE,
		      sizeof(struct acpi_hmat_cache));
	/* What follows isn't aligned at all. */
	add_structure(table, ACPI_HMAT_TYPE_RESERVED,
		      sizeof(struct acpi_hmat_structure) + 1);
	add_locality(table, &column, domains + 1, domains, far);
	add_structure(table, U16_MAX, sizeof(struct acpi_hmat_structure));

	hmat = parse(table, 4);
	KUNIT_EXPECT_EQ(test, 0, p2pdma_hmat_find(&hmat, 4, 1));
	KUNIT_EXPECT_EQ(test, 1, p2pdma_hmat_find(&hmat, 4, 3));
	KUNIT_EXPECT_EQ(test, 2, p2pdma_hmat_find(&hmat, 1, 4));
	KUNIT_EXPECT_EQ(test, 0, p2pdma_hmat_find(&hmat, 3, 4));
}

/* Domains that no node has are skipped in both lists. */
static void unknown_domains(struct kunit *test)
{
	static const u32 initiators[] = {
		99, FIRST + 1, FIRST + NODES, FIRST, FIRST + NODES + 1
	};
	static const u32 targets[] = {
		FIRST + NODES, FIRST, U32_MAX, FIRST + 1, FIRST - 1,
		FIRST + NODES + 1
	};
	static const u16 entries[] = {
		1, 1, 1, 1, 1, 1,
		1, 30, 1, 40, 1, 1,
		1, 1, 1, 1, 1, 1,
		1, 10, 1, 20, 1, 1,
		1, 1, 1, 1, 1, 1,
	};
	const struct locality locality = {
		LATENCY(ACCESS), 0, 1, ARRAY_SIZE(initiators),
		ARRAY_SIZE(targets)
	};
	struct table *table = begin(test, 2);
	struct p2pdma_hmat hmat;

	add_locality(table, &locality, initiators, targets, entries);
	hmat = parse(table, 4);
	KUNIT_EXPECT_EQ(test, 0, p2pdma_hmat_find(&hmat, 0, 0));
	KUNIT_EXPECT_EQ(test, 1, p2pdma_hmat_find(&hmat, 0, 1));
	KUNIT_EXPECT_EQ(test, 2, p2pdma_hmat_find(&hmat, 1, 0));
	KUNIT_EXPECT_EQ(test, 3, p2pdma_hmat_find(&hmat, 1, 1));
}

static void no_information(struct kunit *test)
{
	static const u16 zero[] = { 0, 0, 0, 0 }, one[] = { 1, 1, 1, 1 };
	static const struct locality empty[] = {
		{ LATENCY(ACCESS), 0, 1, 0, 0 },
		{ LATENCY(ACCESS), 0, 1, 0, 2 },
		{ LATENCY(ACCESS), 0, 1, 2, 0 },
	};
	struct locality full = { LATENCY(ACCESS), 0, 1, 2, 2 };
	struct table *table = begin(test, 2);
	int i;

	parse(table, 0);
	for (i = 0; i < ARRAY_SIZE(empty); i++)
		add_nodes(table, &empty[i], zero);
	add_nodes(table, &full, zero);
	full.base = 0;
	add_nodes(table, &full, one);
	parse(table, 0);
}

/* Up to 16 values each have a rank; more share the ranks, in equal parts. */
static void many_values(struct kunit *test)
{
	static const unsigned int many[] = { 15, 16, 17, 31, 32, PAIRS };
	const struct locality locality = {
		LATENCY(ACCESS), 0, 1, NODES, NODES
	};
	unsigned int i, j, values, rank, expected;
	struct p2pdma_hmat hmat;
	struct table *table;
	u16 entries[PAIRS];

	for (i = 0; i < ARRAY_SIZE(many); i++) {
		values = many[i];
		table = begin(test, 2);
		/* 7 has no common factor with any of the numbers of values. */
		for (j = 0; j < PAIRS; j++)
			entries[j] = 100 + j * 7 % values;
		add_nodes(table, &locality, entries);

		hmat = parse(table, PAIRS);
		for (j = 0; j < PAIRS; j++) {
			expected = j * 7 % values;
			if (values > 16)
				expected = expected * 16 / values;
			rank = p2pdma_hmat_find(&hmat, j / NODES, j % NODES);
			KUNIT_EXPECT_EQ_MSG(test, expected, rank,
					    "of %u values the one of pair %u",
					    values, j);
		}
	}
}

static struct table *begin_malformed(struct kunit *test)
{
	static const u16 entries[] = { 10, 20, 30, 10 };
	const struct locality locality = { LATENCY(ACCESS), 0, 1, 2, 2 };
	struct table *table = begin(test, 2);

	add_structure(table, ACPI_HMAT_TYPE_CACHE,
		      sizeof(struct acpi_hmat_cache));
	add_nodes(table, &locality, entries);
	return table;
}

#define HEADER		((u32)sizeof(struct acpi_table_hmat))
#define CACHE		((u32)sizeof(struct acpi_hmat_cache))
#define AT_LOCALITY	(HEADER + CACHE)
#define AT_COUNTS	(AT_LOCALITY + COUNTS)
#define LENGTH		offsetof(struct acpi_hmat_structure, length)

/**
 * struct malformed_case - a table with one mistake
 * @name: the mistake
 * @where: offset of a field of 4 bytes that is changed
 * @value: its new value
 * @value2: for the number of initiators, also that of targets
 * @fault: what is wrong
 * @at: where
 */
struct malformed_case {
	const char *name;
	u32 where;
	u32 value;
	u32 value2;
	const char *fault;
	u32 at;
};

#define SHORT_HEADER	"a structure is shorter than its header"
#define BEYOND		"a structure ends beyond the table"
#define SHORT_FIELDS	"a locality structure is shorter than its fields"
#define SHORT_LISTS	"a locality structure is shorter than its lists and entries"

static const struct malformed_case malformed_cases[] = {
	{ "length_0", HEADER + LENGTH, 0, 0, SHORT_HEADER, HEADER },
	{ "length_7", HEADER + LENGTH, 7, 0, SHORT_HEADER, HEADER },
	{ "second_length_0", AT_LOCALITY + LENGTH, 0, 0, SHORT_HEADER,
	  AT_LOCALITY },
	{ "length_beyond", HEADER + LENGTH, 1000, 0, BEYOND, HEADER },
	{ "length_one_beyond", AT_LOCALITY + LENGTH, 32 + 16 + 8 + 1, 0, BEYOND,
	  AT_LOCALITY },
	{ "length_largest", AT_LOCALITY + LENGTH, U32_MAX, 0, BEYOND,
	  AT_LOCALITY },
	{ "length_without_fields", AT_LOCALITY + LENGTH, 31, 0, SHORT_FIELDS,
	  AT_LOCALITY },
	{ "length_without_lists", AT_LOCALITY + LENGTH, 32, 0, SHORT_LISTS,
	  AT_LOCALITY },
	{ "length_without_last_entry", AT_LOCALITY + LENGTH, 32 + 16 + 6, 0,
	  SHORT_LISTS, AT_LOCALITY },
	{ "one_initiator_more", AT_COUNTS, 3, 2, SHORT_LISTS, AT_LOCALITY },
	{ "one_target_more", AT_COUNTS, 2, 3, SHORT_LISTS, AT_LOCALITY },
	{ "initiators_without_targets", AT_COUNTS, 7, 0, SHORT_LISTS, AT_LOCALITY },
	{ "targets_without_initiators", AT_COUNTS, 0, 7, SHORT_LISTS, AT_LOCALITY },
	{ "many_targets", AT_COUNTS, 1, BIT(31), SHORT_LISTS, AT_LOCALITY },
	{ "lists_wrap_32_bits", AT_COUNTS, BIT(30), 0, SHORT_LISTS, AT_LOCALITY },
	{ "counts_wrap_32_bits", AT_COUNTS, BIT(31), BIT(31), SHORT_LISTS,
	  AT_LOCALITY },
	{ "largest_counts", AT_COUNTS, U32_MAX, U32_MAX, SHORT_LISTS, AT_LOCALITY },
	/* Lists and entries of 18 bytes, modulo 2^64 */
	{ "counts_wrap_64_bits", AT_COUNTS, 0x8066f0ff, 0xff32c30b, SHORT_LISTS,
	  AT_LOCALITY },
};

KUNIT_ARRAY_PARAM_DESC(malformed, malformed_cases, name);

static void expect_fault(struct table *table, u32 length, const char *fault,
			 u32 at)
{
	const struct acpi_table_header *header = end(table, length);
	struct p2pdma_hmat hmat = { };
	const char *found;
	u32 found_at;

	found = p2pdma_hmat_check(header, &found_at);
	KUNIT_EXPECT_STREQ(table->test, found ?: "nothing", fault);
	KUNIT_EXPECT_EQ(table->test, found_at, at);
	KUNIT_EXPECT_EQ(table->test, -EINVAL,
			p2pdma_hmat_parse(header, NODES, &hmat));
	KUNIT_EXPECT_EQ(table->test, hmat.nodes, 0);
	KUNIT_EXPECT_NULL(table->test, hmat.ranks);
}

static void malformed(struct kunit *test)
{
	const struct malformed_case *param = test->param_value;
	struct table *table = begin_malformed(test);

	memcpy(table->bytes + param->where, &param->value, sizeof(u32));
	if (param->where == AT_COUNTS)
		memcpy(table->bytes + param->where + sizeof(u32),
		       &param->value2, sizeof(u32));
	expect_fault(table, table->length, param->fault, param->at);
}

/* Cut off at each byte; without its last structures, a table is complete. */
static void truncated(struct kunit *test)
{
	struct table *table = begin_malformed(test);
	u32 length, at;

	for (length = sizeof(table->header); length < table->length; length++) {
		if (length == HEADER || length == AT_LOCALITY) {
			KUNIT_EXPECT_NULL(test, p2pdma_hmat_check(end(table, length),
								  &at));
			continue;
		}
		at = length < HEADER ? 0 :
		     length < AT_LOCALITY ? HEADER : AT_LOCALITY;
		expect_fault(table, length,
			     length < HEADER ? "the table is shorter than its header" :
			     length - at < sizeof(struct acpi_hmat_structure) ?
			     "the table ends within a structure's header" : BEYOND,
			     at);
	}
}

/* A table that is long enough for the lists, whose 2^31 entries take 2^32 bytes */
static void many_entries(struct kunit *test)
{
	const u32 counts[] = { BIT(15), BIT(16) };
	const u32 size = sizeof(struct acpi_hmat_locality) +
			 (counts[0] + counts[1]) * sizeof(u32);
	struct acpi_table_header *header;
	struct acpi_hmat_locality *locality;
	u32 at;

	header = vzalloc(HEADER + size);
	KUNIT_ASSERT_NOT_NULL(test, header);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_later,
							   header));
	header->revision = 2;
	header->length = HEADER + size;
	locality = (void *)header + HEADER;
	locality->header.type = ACPI_HMAT_TYPE_LOCALITY;
	locality->header.length = size;
	memcpy((void *)locality + COUNTS, counts, sizeof(counts));

	KUNIT_EXPECT_STREQ(test, p2pdma_hmat_check(header, &at) ?: "nothing",
			   SHORT_LISTS);
	KUNIT_EXPECT_EQ(test, at, HEADER);
}

static void revisions(struct kunit *test)
{
	struct table *table = begin_malformed(test);
	u32 at;

	table->header.revision = 0;
	expect_fault(table, table->length, "unknown revision", 0);
	table->header.revision = 3;
	expect_fault(table, table->length, "unknown revision", 0);
	table->header.revision = 2;
	KUNIT_EXPECT_NULL(test, p2pdma_hmat_check(end(table, table->length),
						  &at));
}

static void no_memory(struct kunit *test)
{
	struct table *table = begin_malformed(test);
	const struct acpi_table_header *header = end(table, table->length);
	struct p2pdma_hmat hmat;
	unsigned int nth, refused = 0;
	bool hit = true;
	int ret;

	p2pdma_test_inject_faults(test);
	for (nth = 1; hit && nth < 20; nth++) {
		hmat = (struct p2pdma_hmat) { };
		p2pdma_test_fail_nth(nth);
		ret = p2pdma_hmat_parse(header, NODES, &hmat);
		hit = p2pdma_test_failed();
		p2pdma_test_fail_nth(0);
		/* Memory checkers' own allocations may fail. */
		if (ret == 4) {
			kvfree(hmat.ranks);
			continue;
		}
		KUNIT_EXPECT_EQ(test, ret, -ENOMEM);
		KUNIT_EXPECT_NULL(test, hmat.ranks);
		refused++;
	}
	KUNIT_EXPECT_FALSE(test, hit);
	/* The paths, and their ranks */
	KUNIT_EXPECT_EQ(test, refused, 2);
}

/* The kernel's own map of domains */
static void domains(struct kunit *test)
{
	int node, found = 0;

	for_each_online_node(node) {
		if (node_to_pxm(node) < 0)
			continue;
		KUNIT_EXPECT_EQ(test, node,
				p2pdma_hmat_node(node_to_pxm(node)));
		found++;
	}
	KUNIT_EXPECT_LT(test, p2pdma_hmat_node(MAX_PXM_DOMAINS), 0);
	KUNIT_EXPECT_LT(test, p2pdma_hmat_node(BIT(31)), 0);
	KUNIT_EXPECT_LT(test, p2pdma_hmat_node(U32_MAX), 0);
	if (!found)
		kunit_skip(test, "no node has a proximity domain");
}

static struct kunit_case hmat_cases[] = {
	KUNIT_CASE_PARAM(values, value_gen_params),
	KUNIT_CASE(several_structures),
	KUNIT_CASE(unknown_domains),
	KUNIT_CASE(no_information),
	KUNIT_CASE(many_values),
	KUNIT_CASE_PARAM(malformed, malformed_gen_params),
	KUNIT_CASE(truncated),
	KUNIT_CASE(many_entries),
	KUNIT_CASE(revisions),
	KUNIT_CASE(no_memory),
	KUNIT_CASE(domains),
	{ }
};

static struct kunit_suite hmat_suite = {
	.name = "p2pdma_hmat",
	.test_cases = hmat_cases,
};

kunit_test_suite(hmat_suite);
#endif /* CONFIG_ACPI_NUMA */

kunit_test_suite(choice_suite);
