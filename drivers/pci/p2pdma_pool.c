// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: the allocator.
 *
 * Hands out address ranges from the chunks it was given and takes them back,
 * from any context.  It never touches the memory itself, so a chunk may lie
 * in a BAR, and it knows nothing of PCI, pages or references: an owner, given
 * with each chunk, leads the caller from an allocation to those.
 */

#include <linux/genalloc.h>
#include <linux/slab.h>

#include "p2pdma.h"

struct p2pdma_pool {
	struct gen_pool *chunks;	/* granularity: a page */
	int nid;
};

/**
 * p2pdma_pool_create - make a pool without memory
 * @nid: NUMA node for the pool's own data, or NUMA_NO_NODE
 *
 * Context: may sleep.
 * Return: the pool, or NULL where there is no memory for it.
 */
struct p2pdma_pool *p2pdma_pool_create(int nid)
{
	struct p2pdma_pool *pool = kzalloc_node(sizeof(*pool), GFP_KERNEL, nid);

	if (!pool)
		return NULL;

	pool->nid = nid;
	pool->chunks = gen_pool_create(PAGE_SHIFT, nid);
	if (!pool->chunks) {
		kfree(pool);
		return NULL;
	}
	return pool;
}

/**
 * p2pdma_pool_destroy - undo p2pdma_pool_create()
 * @pool: pool with nothing allocated from it
 *
 * Context: may sleep.  Nobody else may use the pool any more.
 */
void p2pdma_pool_destroy(struct p2pdma_pool *pool)
{
	gen_pool_destroy(pool->chunks);
	kfree(pool);
}

/**
 * p2pdma_pool_add - give a chunk of memory to a pool
 * @pool: the pool
 * @addr: start of the chunk, page aligned
 * @size: bytes, a multiple of PAGE_SIZE
 * @owner: what p2pdma_pool_alloc() is to return with memory of this chunk
 *
 * Context: may sleep; allocations may go on meanwhile.
 * Return: 0; -ENOMEM no memory for the bitmap, and the pool is as before.
 */
int p2pdma_pool_add(struct p2pdma_pool *pool, void *addr, size_t size,
		    void *owner)
{
	/*
	 * gen_pool only keeps the physical address for those who ask; callers
	 * here find it through the page.
	 */
	return gen_pool_add_owner(pool->chunks, (unsigned long)addr, 0, size,
				  pool->nid, owner);
}

/**
 * p2pdma_pool_alloc - take contiguous memory out of a pool
 * @pool: the pool
 * @size: bytes, rounded up to whole pages
 * @owner: where to put the owner of the chunk it lies in
 *
 * Context: any; never sleeps.
 * Return: page-aligned address, or NULL where no chunk has that much in one
 * piece, or @size is 0.
 */
void *p2pdma_pool_alloc(struct p2pdma_pool *pool, size_t size, void **owner)
{
	return (void *)gen_pool_alloc_owner(pool->chunks, size, owner);
}

/**
 * p2pdma_pool_free - give memory back
 * @pool: the pool it came from
 * @addr: as p2pdma_pool_alloc() returned it, or whole pages further
 * @size: bytes; may be a part of what was allocated, in whole pages
 *
 * Context: any; never sleeps.
 */
void p2pdma_pool_free(struct p2pdma_pool *pool, void *addr, size_t size)
{
	gen_pool_free(pool->chunks, (unsigned long)addr, size);
}

/**
 * p2pdma_pool_size - how much memory a pool was given
 * @pool: the pool
 *
 * Context: any.
 * Return: bytes, allocated or not.
 */
size_t p2pdma_pool_size(struct p2pdma_pool *pool)
{
	return gen_pool_size(pool->chunks);
}

/**
 * p2pdma_pool_available - how much memory of a pool is free
 * @pool: the pool
 *
 * Context: any.
 * Return: bytes, exact while nobody allocates or frees.
 */
size_t p2pdma_pool_available(struct p2pdma_pool *pool)
{
	return gen_pool_avail(pool->chunks);
}
