// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: ranks of the paths between NUMA nodes, by ACPI's HMAT.
 *
 * The Heterogeneous Memory Attribute Table has latencies and bandwidths between
 * proximity domains (ACPI Specification 6.5, section 5.2.28.4, System Locality
 * Latency and Bandwidth Information Structure).  Where firmware gives host
 * bridges domains of their own, these describe the paths between host bridges,
 * with the client's domain as the initiator and the owner's as the target.
 *
 * The table is read once, at boot.  What remains is a rank for each pair of
 * nodes, so that a look-up needs no lock, and p2pdma_decide.c no units.
 */

#include <linux/acpi.h>
#include <linux/build_bug.h>
#include <linux/cleanup.h>
#include <linux/init.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/nodemask.h>
#include <linux/overflow.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/unaligned.h>

#include <kunit/static_stub.h>
#include <kunit/visibility.h>

#include "p2pdma.h"

/* Written by an initcall before there are PCI devices */
static struct p2pdma_hmat p2pdma_hmat __ro_after_init;

/**
 * p2pdma_hmat_find - find the rank of a path in parsed ranks
 * @hmat: the ranks
 * @client_node: NUMA node of the client; negative if none or unknown
 * @owner_node: NUMA node of the owner; negative if none or unknown
 *
 * Context: any; never sleeps.
 * Return: as p2pdma_hmat_rank().
 */
VISIBLE_IF_KUNIT unsigned int p2pdma_hmat_find(const struct p2pdma_hmat *hmat,
					       int client_node, int owner_node)
{
	u8 rank = P2PDMA_RANK_NONE;

	if (client_node < 0 || owner_node < 0)
		return 0;
	if (client_node < hmat->nodes && owner_node < hmat->nodes)
		rank = hmat->ranks[client_node * hmat->nodes + owner_node];
	if (rank != P2PDMA_RANK_NONE)
		return rank;
	if (client_node == owner_node)
		return 0;
	/* Not better than what the table knows */
	return hmat->nodes ? P2PDMA_RANK_MAX : 1;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_hmat_find);

/**
 * p2pdma_hmat_rank - rank of the path from a client's NUMA node to an owner's
 * @client_node: node of the client, by dev_to_node()
 * @owner_node: node of the owner, by dev_to_node()
 *
 * Context: any; never sleeps.
 * Return: 0, the best, to %P2PDMA_RANK_MAX.  Two different nodes that HMAT says
 * nothing about have the worst rank, or 1 if there is no HMAT with ranks; otherwise
 * the rank is 0, also if a node is unknown.
 */
unsigned int p2pdma_hmat_rank(int client_node, int owner_node)
{
	KUNIT_STATIC_STUB_REDIRECT(p2pdma_hmat_rank, client_node, owner_node);
	return p2pdma_hmat_find(&p2pdma_hmat, client_node, owner_node);
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_hmat_rank);

#ifdef CONFIG_ACPI_NUMA

/**
 * struct p2pdma_path - what the table says about the path between two nodes
 * @bandwidth: the lowest one, 0 if unknown
 * @latency: the highest one, 0 if unknown
 * @pair: index into p2pdma_hmat::ranks
 * @place: place of the path among all of them; equal paths share one
 *
 * The direction of a transfer isn't known when a provider is chosen, so that
 * the worse one of reads and writes counts.
 *
 * Units differ between revisions 1 and 2 of the table, by a constant factor for
 * all latencies and one for all bandwidths.  Values are only compared with each
 * other, and so are left as they are.
 */
struct p2pdma_path {
	u64 bandwidth;
	u64 latency;
	unsigned int pair;
	unsigned int place;
};

/* As struct acpi_hmat_locality, and the lists that follow it */
struct p2pdma_locality {
	struct acpi_hmat_structure header;
	u8 flags;
	u8 data_type;
	u8 min_transfer_size;
	u8 reserved1;
	u32 initiators;		/* number */
	u32 targets;
	u32 reserved2;
	u64 entry_base_unit;
	u32 domains[];		/* initiators, targets; then entries of 16 bits */
} __packed;

static_assert(sizeof(struct p2pdma_locality) ==
	      sizeof(struct acpi_hmat_locality));

/* What is wrong with the structure at the start of @size bytes, or NULL */
static const char *p2pdma_hmat_fault(const void *start, size_t size)
{
	const struct acpi_hmat_structure *header = start;
	const struct p2pdma_locality *locality = start;
	size_t needed;

	if (size < sizeof(*header))
		return "the table ends within a structure's header";
	if (header->length < sizeof(*header))
		return "a structure is shorter than its header";
	if (header->length > size)
		return "a structure ends beyond the table";
	if (header->type != ACPI_HMAT_TYPE_LOCALITY)
		return NULL;

	if (header->length < sizeof(*locality))
		return "a locality structure is shorter than its fields";
	/* These saturate instead of wrapping around. */
	needed = size_add(array_size(size_add(locality->initiators,
					      locality->targets), sizeof(u32)),
			  array3_size(locality->initiators, locality->targets,
				      sizeof(u16)));
	if (header->length - sizeof(*locality) < needed)
		return "a locality structure is shorter than its lists and entries";
	return NULL;
}

/**
 * p2pdma_hmat_check - check the lengths of an HMAT, and of all it contains
 * @table: the table, readable up to the length in its header, which has
 *	been read completely
 * @at: where to store the offset of what is wrong, in bytes
 *
 * Context: any.
 * Return: what is wrong; NULL if the table can be read.
 */
VISIBLE_IF_KUNIT const char *
p2pdma_hmat_check(const struct acpi_table_header *table, u32 *at)
{
	const struct acpi_hmat_structure *structure;
	const char *fault;

	*at = 0;
	if (table->revision != 1 && table->revision != 2)
		return "unknown revision";
	if (table->length < sizeof(struct acpi_table_hmat))
		return "the table is shorter than its header";

	for (*at = sizeof(struct acpi_table_hmat); *at < table->length;
	     *at += structure->length) {
		structure = (const void *)table + *at;
		fault = p2pdma_hmat_fault(structure, table->length - *at);
		if (fault)
			return fault;
	}
	return NULL;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_hmat_check);

/*
 * The next locality structure that matters, or NULL.  A memory side cache isn't
 * on a path between devices, and DMA is sequential.
 */
static const struct p2pdma_locality *
p2pdma_hmat_next(const struct acpi_table_header *table, u32 *at)
{
	const struct p2pdma_locality *locality;

	while (*at < table->length) {
		locality = (const void *)table + *at;
		*at += locality->header.length;
		if (locality->header.type == ACPI_HMAT_TYPE_LOCALITY &&
		    (locality->flags & ACPI_HMAT_MEMORY_HIERARCHY) ==
		    ACPI_HMAT_MEMORY &&
		    !(locality->flags & ACPI_HMAT_NON_SEQUENTIAL_XFERS))
			return locality;
	}
	return NULL;
}

static void p2pdma_path_note(struct p2pdma_path *path, u8 type, u64 value)
{
	switch (type) {
	case ACPI_HMAT_ACCESS_LATENCY:
	case ACPI_HMAT_READ_LATENCY:
	case ACPI_HMAT_WRITE_LATENCY:
		path->latency = max(path->latency, value);
		break;
	case ACPI_HMAT_ACCESS_BANDWIDTH:
	case ACPI_HMAT_READ_BANDWIDTH:
	case ACPI_HMAT_WRITE_BANDWIDTH:
		path->bandwidth = min_not_zero(path->bandwidth, value);
		break;
	}
}

/* A latency or a bandwidth; 0 if it is unknown, or the target unreachable */
static u64 p2pdma_hmat_value(const struct p2pdma_locality *locality,
			     u16 entry)
{
	u64 value;

	if (entry == U16_MAX ||
	    check_mul_overflow(locality->entry_base_unit, entry, &value))
		return 0;
	return value;
}

/**
 * p2pdma_hmat_node - get the NUMA node of a proximity domain
 * @domain: the domain, as in the table
 *
 * Context: any; never sleeps.
 * Return: the node that devices of the domain have; negative if the kernel
 * doesn't know the domain.
 */
VISIBLE_IF_KUNIT int p2pdma_hmat_node(u32 domain)
{
	KUNIT_STATIC_STUB_REDIRECT(p2pdma_hmat_node, domain);
	return pxm_to_node(domain);
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_hmat_node);

/* Nothing in the table is aligned: structures may have any length. */
static void p2pdma_hmat_read(const struct p2pdma_locality *locality,
			     unsigned int nodes, struct p2pdma_path *paths)
{
	const u32 *initiators = locality->domains;
	const u32 *targets = initiators + locality->initiators;
	const u16 *entries = (const void *)(targets + locality->targets);
	unsigned int client, owner;
	size_t i, j;
	u16 entry;

	for (i = 0; i < locality->initiators; i++,
	     entries += locality->targets) {
		/* Negative ones are the largest here. */
		client = p2pdma_hmat_node(get_unaligned_le32(&initiators[i]));
		if (client >= nodes)
			continue;
		for (j = 0; j < locality->targets; j++) {
			owner = p2pdma_hmat_node(get_unaligned_le32(&targets[j]));
			if (owner >= nodes)
				continue;
			entry = get_unaligned_le16(&entries[j]);
			p2pdma_path_note(&paths[client * nodes + owner],
					 locality->data_type,
					 p2pdma_hmat_value(locality, entry));
		}
	}
}

/*
 * Bandwidth first: memory of peers is used for transfers of many pages with
 * many requests in flight, which hides latency, and whose throughput is the
 * bandwidth.  (A CPU's loads wait for one cache line each, so that the kernel
 * prefers CPUs' memory by latency.)  Latency decides between equal bandwidths,
 * and where the table has no others.  Unknown values count as the worst.
 */
static int p2pdma_path_compare(const void *a, const void *b)
{
	const struct p2pdma_path *one = a, *other = b;

	if (one->bandwidth != other->bandwidth)
		return one->bandwidth > other->bandwidth ? -1 : 1;
	/* 0, for unknown, becomes the largest value. */
	if (one->latency != other->latency)
		return one->latency - 1 < other->latency - 1 ? -1 : 1;
	return 0;
}

static bool p2pdma_path_known(const struct p2pdma_path *path)
{
	return path->bandwidth || path->latency;
}

/*
 * Set the ranks of all known paths.  If there are more places than ranks, each
 * rank gets about as many: with measured values, where hardly two are equal, the
 * paths within a node would otherwise take all ranks but the last.
 */
static unsigned int p2pdma_hmat_order(struct p2pdma_path *paths,
				      unsigned int pairs, u8 *ranks)
{
	unsigned int i, known, place = 0;

	sort(paths, pairs, sizeof(*paths), p2pdma_path_compare, NULL);
	for (i = 0; i < pairs && p2pdma_path_known(&paths[i]); i++) {
		if (i && p2pdma_path_compare(&paths[i - 1], &paths[i]))
			place++;
		paths[i].place = place;
	}
	known = i;

	for (i = 0; i < known; i++)
		ranks[paths[i].pair] = place <= P2PDMA_RANK_MAX ?
			paths[i].place :
			paths[i].place * (P2PDMA_RANK_MAX + 1) / (place + 1);
	return known;
}

/**
 * p2pdma_hmat_parse - rank the paths between NUMA nodes by an HMAT
 * @table: the table, readable up to the length in its header
 * @nodes: number of nodes, the highest one plus one
 * @hmat: where to store the ranks, to be freed by kvfree(); only written if
 *	there are any
 *
 * The log says what is wrong with a malformed table.
 *
 * Context: may sleep.
 * Return: number of pairs of nodes that have a rank; -EINVAL the table is
 * malformed; -ENOMEM no memory.
 */
VISIBLE_IF_KUNIT int p2pdma_hmat_parse(const struct acpi_table_header *table,
				       unsigned int nodes,
				       struct p2pdma_hmat *hmat)
{
	u8 *ranks __free(kvfree) = NULL;
	struct p2pdma_path *paths __free(kvfree) = NULL;
	u32 fault_at, at = sizeof(struct acpi_table_hmat);
	const unsigned int pairs = nodes * nodes;
	const struct p2pdma_locality *locality;
	unsigned int i, known;
	const char *fault;

	fault = p2pdma_hmat_check(table, &fault_at);
	if (fault) {
		pr_warn(FW_BUG "p2pdma: ACPI's HMAT is ignored: %s (at byte %u of %u)\n",
			fault, fault_at, table->length);
		return -EINVAL;
	}

	paths = kvcalloc(pairs, sizeof(*paths), GFP_KERNEL);
	ranks = kvmalloc(pairs, GFP_KERNEL);
	if (!paths || !ranks)
		return -ENOMEM;
	for (i = 0; i < pairs; i++)
		paths[i].pair = i;
	memset(ranks, P2PDMA_RANK_NONE, pairs);

	while ((locality = p2pdma_hmat_next(table, &at)))
		p2pdma_hmat_read(locality, nodes, paths);
	known = p2pdma_hmat_order(paths, pairs, ranks);
	if (known)
		*hmat = (struct p2pdma_hmat) { nodes, no_free_ptr(ranks) };
	return known;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_hmat_parse);

static int __init p2pdma_hmat_init(void)
{
	struct acpi_table_header *table;
	int ret;

	if (acpi_disabled ||
	    ACPI_FAILURE(acpi_get_table(ACPI_SIG_HMAT, 0, &table)))
		return 0;
	ret = p2pdma_hmat_parse(table, nr_node_ids, &p2pdma_hmat);
	acpi_put_table(table);
	if (ret >= 0)
		pr_info("p2pdma: %d pairs of NUMA nodes have a rank by ACPI's HMAT\n",
			ret);
	return min(ret, 0);
}
postcore_initcall(p2pdma_hmat_init);

#endif /* CONFIG_ACPI_NUMA */
