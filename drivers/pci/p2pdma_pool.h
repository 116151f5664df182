/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI peer-to-peer DMA: the allocator.  See p2pdma_pool.c.
 *
 * The structs are here for the tests, which check what they say of each other.
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

/* A leaf of the tree: a word of the gen_pool's bitmap */
#define P2PDMA_LEAF_PAGES	BITS_PER_LONG

/* CPUs keep pieces up to this size, 128 KiB in pages of 4 KiB, so many of each. */
#define P2PDMA_KEPT_PAGES	32
#define P2PDMA_SIZES		(P2PDMA_KEPT_PAGES + 1)
#define P2PDMA_SLOTS		32

/**
 * struct p2pdma_runs - runs of free pages below a node of the tree
 * @prefix: pages of the run that the node begins with
 * @suffix: pages of the run that it ends with
 * @longest: pages of the longest run
 *
 * Where all pages of a node are free, or none is, the nodes below it are stale.
 */
struct p2pdma_runs {
	u32 prefix;
	u32 suffix;
	u32 longest;
};

/**
 * struct p2pdma_chunk - memory given to a pool at one time
 * @pool: the pool
 * @node: in p2pdma_pool.chunks
 * @owner: what comes with memory of the chunk
 * @start: address of the first page
 * @size: bytes
 * @marks: one a page: how many an allocation has that begins there, or 0
 * @used: gen_pool's bitmap, one bit a page
 * @leaves: of @tree, a power of two; those beyond the chunk have no free pages
 * @tree: node 1 is the root, nodes 2 i and 2 i + 1 are below node i
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
 * struct p2pdma_run - pages of a chunk, side by side
 * @chunk: the chunk; may be NULL where there are no pages
 * @page: the first one
 * @end: the one after the last
 */
struct p2pdma_run {
	struct p2pdma_chunk *chunk;
	size_t page;
	size_t end;
};

/**
 * struct p2pdma_pool_cpu - what one CPU keeps of a pool
 * @first: a piece of each number of pages; exchanged without a lock
 * @filled: a bit for each number of pages of which something was kept since
 *	others last took all of it; bit 0, for @run, is always set
 * @allocated: pages allocated on this CPU, ever
 * @freed: pages freed on this CPU, ever
 * @lock: irq-safe; what follows, and writing @filled.  Never taken with
 *	p2pdma_pool.lock
 * @kept: pages in @pieces and @run, and those in @first as if each one whose bit
 *	is set in @filled was full
 * @victim: where to begin where room must be made
 * @cpu: the CPU
 * @run: pages to be cut up
 * @count: pieces in each row of @pieces
 * @pieces: further pieces by their number of pages
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
 * struct p2pdma_pool - memory by address and size
 * @cpus: NULL before there is a chunk
 * @slot_pages: CPUs keep pieces of up to as many pages in first slots
 * @most_kept: pages that each CPU keeps at most
 * @size: bytes of all chunks
 * @nid: NUMA node of the pool's own data
 * @pages: the gen_pool
 * @keeping: CPUs that may keep something
 * @lock: irq-safe; trees of all chunks, and bits of leaves that are neither
 *	free nor used as a whole
 * @chunks: all of them; none goes before the pool does
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

/* Bytes that the pool was given, allocated or not */
static inline size_t p2pdma_pool_size(const struct p2pdma_pool *pool)
{
	return READ_ONCE(pool->size);
}

#endif /* _DRIVERS_PCI_P2PDMA_POOL_H */
