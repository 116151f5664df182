/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shared by the KUnit suites of the PCI peer-to-peer DMA pool: a pool with
 * chunks at invented addresses, as the pool never accesses the memory.
 */

#ifndef _LIB_KUNIT_P2PDMA_POOL_TEST_H
#define _LIB_KUNIT_P2PDMA_POOL_TEST_H

#include <kunit/test.h>

#include <linux/atomic.h>
#include <linux/types.h>

#include "../../drivers/pci/p2pdma_pool.h"

#define P2PDMA_TEST_CHUNKS	4

/* A chunk of a pool; the pool gets this as the chunk's owner */
struct p2pdma_test_chunk {
	struct p2pdma_chunk *chunk;
	void *start;
	unsigned int pages;
};

struct p2pdma_test_pool {
	struct p2pdma_pool *pool;
	struct p2pdma_test_chunk chunks[P2PDMA_TEST_CHUNKS];
	unsigned int count;		/* of chunks */
	atomic_t warnings;		/* calls of p2pdma_pool_warn() */
};

struct p2pdma_test_pool *p2pdma_test_pool(struct kunit *test, int nid,
					  const unsigned int *pages);
void p2pdma_test_pool_destroy(struct kunit *test, struct p2pdma_test_pool *t);
const char *p2pdma_test_pool_check(struct p2pdma_pool *pool);
bool p2pdma_test_pool_all_free(struct kunit *test, struct p2pdma_test_pool *t);

#endif /* _LIB_KUNIT_P2PDMA_POOL_TEST_H */
