/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit suites of the pool of PCI peer-to-peer DMA share: a pool with
 * chunks at invented addresses, as the pool never touches memory.
 */

#ifndef _LIB_KUNIT_P2PDMA_POOL_TEST_H
#define _LIB_KUNIT_P2PDMA_POOL_TEST_H

#include <kunit/test.h>

#include <linux/atomic.h>
#include <linux/types.h>

#include "../../drivers/pci/p2pdma_pool.h"

#define P2PDMA_TEST_CHUNKS	4

/* A chunk of a pool, which is its own owner as the pool has it */
struct p2pdma_test_chunk {
	struct p2pdma_chunk *chunk;
	void *start;
	unsigned int pages;
};

struct p2pdma_test_pool {
	struct p2pdma_pool *pool;
	struct p2pdma_test_chunk chunks[P2PDMA_TEST_CHUNKS];
	unsigned int count;		/* of chunks */
	atomic_t warnings;		/* that p2pdma_pool_warn() was to give */
};

struct p2pdma_test_pool *p2pdma_test_pool(struct kunit *test, int nid,
					  const unsigned int *pages);
void p2pdma_test_pool_destroy(struct kunit *test, struct p2pdma_test_pool *t);
const char *p2pdma_test_pool_check(struct p2pdma_pool *pool);
bool p2pdma_test_pool_all_free(struct kunit *test, struct p2pdma_test_pool *t);

#endif /* _LIB_KUNIT_P2PDMA_POOL_TEST_H */
