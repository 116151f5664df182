/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI peer-to-peer DMA: the allocator.  See p2pdma_pool.c.
 *
 * The structs are defined here so that tests can check their consistency.
 */

#ifndef _DRIVERS_PCI_P2PDMA_POOL_H
#define _DRIVERS_PCI_P2PDMA_POOL_H

#include <linux/bits.h>
#include <linux/cache.h>
#include <linux/cpumask_types.h>
#include <linux/list.h>
#include <linux/spinlock_types.h>
#include <linux/types.h>

struct gen_pool;

/* A leaf of the tree covers one word of the gen_pool's bitmap */
#define P2PDMA_LEAF_PAGES	BITS_PER_LONG

/* Largest piece that CPUs keep in slots, in pages, and slots for each size */
#define P2PDMA_KEPT_PAGES	32
#define P2PDMA_SIZES		(P2PDMA_KEPT_PAGES + 1)
#define P2PDMA_SLOTS		32

/**
 * struct p2pdma_runs - runs of free pages below a node of the tree
 * @prefix: length of the free run at the start of the node, in pages
 * @suffix: length of the free run at its end
 * @longest: length of the longest free run
 *
 * If all pages of a node are free, or all used, the nodes below it are stale.
 */
struct p2pdma_runs {
	u32 prefix;
	u32 suffix;
	u32 longest;
};

/**
 * struct p2pdma_chunk - memory given to a pool at one time
 * @pool: the pool that the chunk belongs to
 * @node: in p2pdma_pool.chunks
 * @owner: pointer that p2pdma_pool_alloc() returns with memory of the chunk
 * @start: address of the first page
 * @size: bytes
 * @marks: one per page: pages of the allocation that starts there, or 0
 * @used: the gen_pool's bitmap, one bit per page
 * @leaves: leaves of @tree, a power of two; leaves beyond the chunk have no
 *	free pages
 * @tree: node 1 is the root, nodes 2 i and 2 i + 1 are the children of node i
 */
struct p2pdma_chunk {
	struct p2pdma_pool *pool;
	struct list_head node;
	void *owner;
	void *start;
	size_t size;
	u32 *marks;
	unsigned long *used;
	u32 leaves;
	struct p2pdma_runs tree[];
};

/**
 * struct p2pdma_run - contiguous pages of a chunk
 * @chunk: the chunk; may be NULL if the run is empty
 * @page: index of the first page
 * @end: index of the page after the last
 */
struct p2pdma_run {
	struct p2pdma_chunk *chunk;
	size_t page;
	size_t end;
};

/**
 * struct p2pdma_pool_cpu - free pages that one CPU keeps, and its counters
 * @first: one piece of each size in pages; exchanged without a lock
 * @filled: rows that may have pieces, one bit per size in pages; cleared when
 *	cpu_pop() empties the row.  Bit 0, for @run, is always set
 * @allocated: pages ever allocated on this CPU
 * @freed: pages ever freed on this CPU
 * @lock: irq-safe; protects @kept, @run, @count, @pieces and writes of @filled.
 *	Never nested with p2pdma_pool.lock
 * @kept: pages in @pieces and @run, and in @first as if the slot of each bit
 *	set in @filled was full
 * @victim: row at which cpu_make_room() starts
 * @cpu: number of the CPU
 * @run: contiguous pages that allocations are cut from
 * @count: number of pieces in each row of @pieces
 * @pieces: further pieces, in rows by size in pages
 */
struct p2pdma_pool_cpu {
	void *first[P2PDMA_SIZES];
	unsigned long filled;
	unsigned long allocated;
	unsigned long freed;
	raw_spinlock_t lock;
	u32 kept;
	unsigned int victim;
	unsigned int cpu;
	struct p2pdma_run run;
	u8 count[P2PDMA_SIZES];
	void *pieces[P2PDMA_SIZES][P2PDMA_SLOTS];
};

/**
 * struct p2pdma_pool - allocator of address ranges
 * @cpus: NULL until a chunk is added
 * @slot_pages: largest piece that CPUs keep in slots, in pages
 * @most_kept: limit of the pages that each CPU keeps
 * @size: bytes in all chunks
 * @nid: NUMA node of the pool's own data
 * @pages: the gen_pool
 * @keeping: CPUs that may keep pages
 * @lock: irq-safe; protects the trees of all chunks, and the bits of leaves
 *	that a run covers in part
 * @chunks: all chunks, which are freed only with the pool
 */
struct p2pdma_pool {
	struct p2pdma_pool_cpu __percpu *cpus;
	u32 slot_pages;
	u32 most_kept;
	size_t size;
	int nid;
	struct gen_pool *pages;
	struct cpumask keeping;
	struct list_head chunks;
	raw_spinlock_t lock ____cacheline_aligned_in_smp;
};

struct p2pdma_pool *p2pdma_pool_create(int nid);
void p2pdma_pool_destroy(struct p2pdma_pool *pool);
int p2pdma_pool_add(struct p2pdma_pool *pool, void *addr, size_t size,
		    void *owner, struct p2pdma_chunk **new);
void p2pdma_pool_set_owner(struct p2pdma_chunk *chunk, void *owner);
void *p2pdma_pool_alloc(struct p2pdma_pool *pool, size_t size, void **owner);
void *p2pdma_pool_alloc_pages(struct p2pdma_pool *pool, size_t size,
			      void **owner);
bool p2pdma_pool_free(struct p2pdma_chunk *chunk, void *addr, size_t size);
size_t p2pdma_pool_available(struct p2pdma_pool *pool);
void p2pdma_pool_warn(const char *what, void *addr, size_t size);

/* Bytes in the pool, allocated or free */
static inline size_t p2pdma_pool_size(const struct p2pdma_pool *pool)
{
	return READ_ONCE(pool->size);
}

#endif /* _DRIVERS_PCI_P2PDMA_POOL_H */
