// SPDX-License-Identifier: GPL-2.0
/*
 * Part "pool" of the benchmark: allocating and freeing, for pools of several
 * sizes that are more or less full.
 *
 * A pool is either full at the front, or a checkerboard: used and free pieces
 * alternate, each free piece just as large as the request.  A figure is named
 * after the operation, the pool, the kind of filling, and its percentage, such
 * as alloc_4k_8g_board_90.  If there is no room, the log has "none" instead of
 * a figure.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/io.h>
#include <linux/irqflags.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/timex.h>

#include <pci_fabric.h>

#include "bench.h"

#define POOL_BATCH	32

/*
 * Interrupts are off, so that no timer tick is counted.  Allocating a list may
 * sleep: its rounds are short compared to the period of ticks, so the median is
 * one without a tick.  If a single call takes long, on a nearly full pool of
 * the stock core, the cost of a tick is small in comparison.
 */
#define POOL_ROUNDS	31
#define POOL_ROUNDS_FEW	5
#define POOL_LONG	100000	/* instructions */
#define POOL_CALLS	100	/* in a round, at most */

/**
 * struct operation - the operation to count
 * @name: in the log
 * @call: repeats it @times; false if it failed
 * @size: bytes of each allocation
 * @count: allocations at the same time
 * @pairs: allocations, with their frees, in a call; 0 for @count
 */
struct operation {
	const char *name;
	bool (*call)(struct pci_dev *pdev, const struct operation *op,
		     unsigned int times);
	size_t size;
	unsigned int count;
	unsigned int pairs;
};

static bool alloc_free(struct pci_dev *pdev, const struct operation *op,
		       unsigned int times)
{
	size_t size = op->size;

	while (times--) {
		void *addr = pci_alloc_p2pmem(pdev, size);

		if (!addr)
			return false;
		pci_free_p2pmem(pdev, addr, size);
	}
	return true;
}

static bool alloc_free_sgl(struct pci_dev *pdev, const struct operation *op,
			   unsigned int times)
{
	struct scatterlist *sgl;
	unsigned int nents;

	while (times--) {
		sgl = pci_p2pmem_alloc_sgl(pdev, &nents, op->size);
		if (!sgl)
			return false;
		pci_p2pmem_free_sgl(pdev, sgl);
	}
	return true;
}

/* There is free memory, but no free piece of this size. */
static bool be_refused(struct pci_dev *pdev, const struct operation *op,
		       unsigned int times)
{
	while (times--) {
		if (pci_alloc_p2pmem(pdev, op->size))
			return false;
	}
	return true;
}

/* Allocate all of a batch, then free all of it */
static bool alloc_free_batch(struct pci_dev *pdev, const struct operation *op,
			     unsigned int times)
{
	void *batch[POOL_BATCH];
	unsigned int i, got;
	bool good = true;

	while (good && times--) {
		for (got = 0; got < POOL_BATCH; got++) {
			batch[got] = pci_alloc_p2pmem(pdev, op->size);
			if (!batch[got])
				break;
		}
		for (i = 0; i < got; i++)
			pci_free_p2pmem(pdev, batch[i], op->size);
		good = got == POOL_BATCH;
	}
	return good;
}

/* Another size each time, up to op->size */
static bool alloc_free_mixed(struct pci_dev *pdev, const struct operation *op,
			     unsigned int times)
{
	size_t size;

	while (times--) {
		for (size = PAGE_SIZE; size <= op->size; size += PAGE_SIZE) {
			void *addr = pci_alloc_p2pmem(pdev, size);

			if (!addr)
				return false;
			pci_free_p2pmem(pdev, addr, size);
		}
	}
	return true;
}

static const struct operation operations[] = {
	{ "alloc_512", alloc_free, SZ_512, 1 },
	{ "alloc_4k", alloc_free, SZ_4K, 1 },
	{ "alloc_64k", alloc_free, SZ_64K, 1 },
	{ "alloc_128k", alloc_free, SZ_128K, 1 },
	{ "alloc_2m", alloc_free, SZ_2M, 1 },
	{ "mixed", alloc_free_mixed, SZ_64K, 1, SZ_64K / SZ_4K },
	{ "sgl_512", alloc_free_sgl, SZ_512, 1 },
	{ "sgl_4k", alloc_free_sgl, SZ_4K, 1 },
	{ "sgl_128k", alloc_free_sgl, SZ_128K, 1 },
	{ "sgl_2m", alloc_free_sgl, SZ_2M, 1 },
	{ "batch_4k", alloc_free_batch, SZ_4K, POOL_BATCH },
	{ "batch_128k", alloc_free_batch, SZ_128K, POOL_BATCH },
	{ "refused_128k", be_refused, SZ_128K, 1 },
};

/**
 * struct fill - how a pool is full
 * @name: in the log
 * @block: bytes that are either used or free
 * @board: whether these are used and free by turns
 */
struct fill {
	const char *name;
	size_t block;
	bool board;
};

static const struct fill fills[] = {
	{ "front", SZ_64K },
	{ "board", SZ_4K, .board = true },
	{ "board", SZ_64K, .board = true },
	{ "board", SZ_128K, .board = true },
	{ "board", SZ_2M, .board = true },
};

/*
 * In this order, each step only has to free more blocks: every hundredth block,
 * then every tenth, then every second one.
 */
static const unsigned int percents[] = { 99, 90, 50, 0 };

struct pool {
	const char *name;
	struct pci_dev *pdev;
	void *start;
	size_t size;
};

/* Is this block used in a pool that is @percent full? */
static bool is_used(const struct pool *pool, const struct fill *fill,
		    unsigned int percent, size_t block)
{
	size_t blocks = pool->size / fill->block;
	unsigned int period;

	if (percent == 100)
		return true;
	if (!fill->board)
		return block < blocks * percent / 100;
	period = 100 / (100 - percent);
	return block % period != period - 1;
}

static size_t free_blocks(const struct pool *pool, const struct fill *fill,
			  unsigned int percent)
{
	size_t blocks = pool->size / fill->block;

	if (fill->board)
		return blocks / (100 / (100 - percent));
	return blocks - blocks * percent / 100;
}

/* Is there room for the operation in such a pool? */
static bool has_room(const struct pool *pool, const struct fill *fill,
		     unsigned int percent, const struct operation *op)
{
	size_t room = free_blocks(pool, fill, percent);

	if (op->call == be_refused)
		return percent;
	if (!fill->board)
		room = room * fill->block / op->size;
	return room >= op->count;
}

/* Is all free?  Allocating it in one piece also merges its fragments. */
static bool is_empty(const struct pool *pool)
{
	void *all = pci_alloc_p2pmem(pool->pdev, pool->size);

	if (!all)
		return false;
	pci_free_p2pmem(pool->pdev, all, pool->size);
	return true;
}

/*
 * Allocate all of a pool, so that each block can be freed by itself.  The core
 * of Linux 6.12 searches the pool from its start for each allocation, which
 * would take days.  There, allocate the pool in one piece: that core can free
 * it block by block, given a reference for each block.
 */
static bool take_all(const struct pool *pool, const struct fill *fill)
{
	size_t blocks = pool->size / fill->block, i;
	void *addr;

	if (!BENCH_OURS) {
		addr = pci_alloc_p2pmem(pool->pdev, pool->size);
		if (addr)
			percpu_ref_get_many(&virt_to_page(addr)->pgmap->ref,
					    blocks - 1);
		return addr == pool->start;
	}

	/* The order doesn't matter: as many blocks as fit are all blocks. */
	for (i = 0; i < blocks; i++) {
		addr = pci_alloc_p2pmem(pool->pdev, fill->block);
		if (addr < pool->start ||
		    (addr - pool->start) % fill->block ||
		    addr - pool->start >= pool->size)
			return false;
		cond_resched();
	}
	return !pci_alloc_p2pmem(pool->pdev, PAGE_SIZE);
}

static void release(const struct pool *pool, const struct fill *fill,
		    unsigned int from, unsigned int to)
{
	size_t blocks = pool->size / fill->block, i;

	for (i = 0; i < blocks; i++) {
		if (is_used(pool, fill, from, i) && !is_used(pool, fill, to, i))
			pci_free_p2pmem(pool->pdev,
					pool->start + i * fill->block,
					fill->block);
		cond_resched();
	}
}

/* Instructions of @times calls, or 0 if they failed */
static u64 count_calls(const struct pool *pool, const struct operation *op,
		       unsigned int times)
{
	bool atomic = op->call != alloc_free_sgl;
	unsigned long flags;
	bool good;
	u64 took;

	if (atomic)
		local_irq_save(flags);
	took = get_cycles();
	good = op->call(pool->pdev, op, times);
	took = get_cycles() - took;
	if (atomic)
		local_irq_restore(flags);
	return good ? took : 0;
}

static bool count(const struct pool *pool, const struct fill *fill,
		  unsigned int percent, const struct operation *op)
{
	unsigned int calls, rounds, round;
	u64 took[POOL_ROUNDS], first;
	char name[64];

	scnprintf(name, sizeof(name), "%s_%s_%s_%u", op->name, pool->name,
		  fill->name, percent);
	if (!has_room(pool, fill, percent, op)) {
		pr_info("%s none\n", name);
		return true;
	}

	if (bench_where(name, op->call)) {
		while (op->call(pool->pdev, op, 1))
			;
	}

	/* The first call fills caches, and tells how long one takes. */
	first = count_calls(pool, op, 1);
	calls = first ? clamp(POOL_LONG / first, 1, POOL_CALLS) : 0;
	rounds = first > POOL_LONG ? POOL_ROUNDS_FEW : POOL_ROUNDS;
	for (round = 0; first && round < rounds; round++) {
		took[round] = count_calls(pool, op, calls);
		if (!took[round])
			first = 0;
		cond_resched();
	}
	if (!first) {
		pr_err("%s failed\n", name);
		return false;
	}
	bench_log(name, bench_median(took, rounds), calls * (op->pairs ?: op->count));
	return true;
}

/* Does the size of @fill's holes suit this operation? */
static bool matches(const struct fill *fill, const struct operation *op)
{
	if (op->call == be_refused)
		return fill->board && fill->block == PAGE_SIZE;
	return !fill->board || fill->block == PAGE_ALIGN(op->size);
}

static bool count_all(const struct pool *pool, const struct fill *fill,
		      unsigned int percent)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(operations); i++) {
		if (matches(fill, &operations[i]) &&
		    !count(pool, fill, percent, &operations[i]))
			return false;
	}
	return true;
}

/* Count all operations for a fill, from nearly full to empty */
static bool count_fill(const struct pool *pool, const struct fill *fill)
{
	unsigned int from = 100, i;
	bool good = true;

	if (!is_empty(pool) || !take_all(pool, fill)) {
		pr_err("%s: can't be filled by %zu bytes each\n", pool->name,
		       fill->block);
		return false;
	}
	for (i = 0; i < ARRAY_SIZE(percents); i++) {
		release(pool, fill, from, percents[i]);
		from = percents[i];
		if (good && from)
			good = count_all(pool, fill, from);
	}

	if (!is_empty(pool)) {
		pr_err("%s: not all is free again\n", pool->name);
		return false;
	}
	return good;
}

static bool count_pool(struct pci_fabric *fabric,
		       const struct pci_fabric_node *node)
{
	struct pool pool = {
		.name = node->name,
		.pdev = pci_fabric_dev(fabric, node->name),
		.size = node->bar[0].size,
	};
	unsigned int i;
	int error;

	error = pci_p2pdma_add_resource(pool.pdev, 0, 0, 0);
	if (error) {
		pr_err("%s: can't register: %pe\n", pool.name, ERR_PTR(error));
		return false;
	}
	pool.start = phys_to_virt(pci_resource_start(pool.pdev, 0));

	if (!count_all(&pool, &fills[0], 0))
		return false;
	for (i = 0; i < ARRAY_SIZE(fills); i++) {
		if (!count_fill(&pool, &fills[i]))
			return false;
	}
	return true;
}

static const struct pci_fabric_node nodes[] = {
	{ .name = "host", .kind = PCI_FABRIC_HOST, .domain = 1, .node = 1 },
	{ .name = "root", .below = "host", .kind = PCI_FABRIC_ROOT_PORT },
	{ .name = "64m", .below = "root", .kind = PCI_FABRIC_ENDPOINT,
	  .bar = { { SZ_64M } } },
	{ .name = "root1", .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
	  .device = 1 },
	{ .name = "1g", .below = "root1", .kind = PCI_FABRIC_ENDPOINT,
	  .bar = { { SZ_1G } } },
	{ .name = "root2", .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
	  .device = 2 },
	{ .name = "8g", .below = "root2", .kind = PCI_FABRIC_ENDPOINT,
	  .bar = { { 8ULL * SZ_1G } } },
	{ .name = "root3", .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
	  .device = 3 },
	{ .name = "64g", .below = "root3", .kind = PCI_FABRIC_ENDPOINT,
	  .bar = { { 64ULL * SZ_1G } } },
};

/**
 * bench_pool - count allocating and freeing
 *
 * Return: 0 or what went wrong.
 */
int bench_pool(void)
{
	struct pci_fabric *fabric;
	bool good = true;
	unsigned int i;

	fabric = pci_fabric_create(nodes, ARRAY_SIZE(nodes));
	if (IS_ERR(fabric))
		return PTR_ERR(fabric);

	for (i = 0; good && i < ARRAY_SIZE(nodes); i++) {
		if (nodes[i].kind == PCI_FABRIC_ENDPOINT)
			good = count_pool(fabric, &nodes[i]);
	}
	/*
	 * With memory still allocated, destroying the fabric would hang; the
	 * guest ends either way.
	 */
	if (good)
		pci_fabric_destroy(fabric);
	return good ? 0 : -ENOMEM;
}
