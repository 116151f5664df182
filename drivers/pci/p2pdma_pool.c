// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: the allocator.
 *
 * Hands out address ranges of the chunks it was given and takes them back, from
 * any context.  It never touches the memory itself, so a chunk may lie in a
 * BAR, and it knows nothing of PCI, struct pages or references: an owner, given
 * with each chunk, leads the caller from an allocation to those.
 */

#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/bug.h>
#include <linux/cleanup.h>
#include <linux/cpumask.h>
#include <linux/genalloc.h>
#include <linux/log2.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/pfn.h>
#include <linux/ratelimit.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <kunit/static_stub.h>
#include <kunit/visibility.h>

#include "p2pdma_pool.h"

/**
 * DOC: The pool
 *
 * Below is a gen_pool of pages, which says what is used.  A tree for each chunk
 * is searched in its place, a node of which knows the longest run of free pages
 * below it: a run of any size is found, or known not to exist, in as many steps
 * as the tree has levels, the logarithm of the chunk's size.
 *
 * Above, each CPU keeps pieces that were freed on it in slots, 32 for each size
 * of up to 32 pages and 32 for all larger ones, taken and put there without a
 * lock, and filled from the gen_pool and emptied to it by several at a time.  All
 * CPUs together keep at most 1/16 of the pool; where one has that much, the
 * sizes that it doesn't use go first.
 *
 * An allocation that finds nothing below takes from other CPUs a piece of its
 * size, or else has all that CPUs keep go back to the gen_pool, so that a
 * contiguous range is found as long as there is one in a chunk.  Where CPUs keep
 * nothing, a refusal is as quick as an allocation.
 *
 * Each page has a mark, which says what allocation begins there.  A free that
 * doesn't fit the mark is refused, and of several frees of the same memory only
 * one can change the mark.
 *
 * Interrupts are off for a bounded time, whatever the size: whole leaves of the
 * tree are claimed by a few nodes above them, and their bits in the gen_pool are
 * set after that, and cleared before the tree is told, without a lock.
 *
 * With pages of 4 KiB a pool costs about 1.1 MiB for each GiB, besides the struct
 * pages, and 8.3 KiB for each CPU.
 */

/*
 * Invariants, which tests check without concurrent users:
 *
 *   1. The gen_pool's bits are set for pages that are allocated or kept.
 *   2. Each node that isn't stale says what the bits below it say.
 *   3. The pages allocated are those the CPUs have counted.
 */

/* What all CPUs may keep, as a part of the pool, and each of them at most */
#define P2PDMA_KEPT_SHARE	16
#define P2PDMA_KEPT_MOST	(SZ_8M / PAGE_SIZE)

/* Pieces that go from a CPU to the gen_pool, or come from there, at a time */
#define P2PDMA_BATCH		16

/* ---- Leaves ---- */

/* Where in @free are @count bits in a row?  One bit for each place. */
static unsigned long leaf_places(unsigned long free, unsigned int count)
{
	unsigned int length = 1, step;

	/* From here, a bit stands for a run of @length from there on. */
	for (; length < count; length += step) {
		step = min(length, count - length);
		free &= free >> step;
	}
	return free;
}

/* The free pages of a leaf; those beyond the chunk are none. */
static unsigned long leaf_free(const struct p2pdma_chunk *chunk, size_t leaf)
{
	size_t left = (chunk->size >> PAGE_SHIFT) - leaf * P2PDMA_LEAF_PAGES;

	if (left >= P2PDMA_LEAF_PAGES)
		return ~chunk->used[leaf];
	return ~chunk->used[leaf] & (BIT(left) - 1);
}

static struct p2pdma_runs uniform(bool free, size_t size)
{
	u32 pages = free ? size : 0;

	return (struct p2pdma_runs) { pages, pages, pages };
}

static struct p2pdma_runs leaf_runs(const struct p2pdma_chunk *chunk, size_t leaf)
{
	unsigned long free = leaf_free(chunk, leaf), places;
	struct p2pdma_runs runs = { };

	if (free == ~0UL)
		return uniform(true, P2PDMA_LEAF_PAGES);
	if (free) {
		runs.prefix = __ffs(~free);
		runs.suffix = BITS_PER_LONG - 1 - __fls(~free);
	}
	/* From here, a bit stands for a run of as many. */
	for (places = free; places; places &= places >> 1)
		runs.longest++;
	return runs;
}

/* ---- The tree ---- */

/* Pages below the root, those beyond the chunk included */
static size_t tree_size(const struct p2pdma_chunk *chunk)
{
	return (size_t)chunk->leaves * P2PDMA_LEAF_PAGES;
}

static struct p2pdma_runs join(const struct p2pdma_runs *left,
			       const struct p2pdma_runs *right, size_t half)
{
	u32 across = left->suffix + right->prefix;

	return (struct p2pdma_runs) {
		.prefix = left->prefix < half ? left->prefix : across,
		.suffix = right->suffix < half ? right->suffix : across,
		.longest = max3(left->longest, right->longest, across),
	};
}

/* What is below a node of @size pages is about to differ: have it say so. */
static void tree_push(struct p2pdma_runs *tree, u32 node, size_t size)
{
	if (!tree[node].longest || tree[node].longest == size) {
		tree[2 * node] = uniform(tree[node].longest, size / 2);
		tree[2 * node + 1] = tree[2 * node];
	}
}

/* A range of pages of a chunk that all become free, or used */
struct p2pdma_change {
	struct p2pdma_chunk *chunk;
	size_t page;
	size_t end;
	bool free;
};

/*
 * Have a node of @size pages from page @at on, and those below it, say what is
 * there now.  As deep as the tree, which has at most 27 levels.
 */
static void tree_change_below(const struct p2pdma_change *change, u32 node,
			      size_t at, size_t size)
{
	struct p2pdma_runs *tree = change->chunk->tree;
	size_t half = size / 2;

	if (change->page <= at && at + size <= change->end) {
		tree[node] = uniform(change->free, size);
		return;
	}
	if (size == P2PDMA_LEAF_PAGES) {
		tree[node] = leaf_runs(change->chunk, at / P2PDMA_LEAF_PAGES);
		return;
	}
	tree_push(tree, node, size);
	if (change->page < at + half)
		tree_change_below(change, 2 * node, at, half);
	if (change->end > at + half)
		tree_change_below(change, 2 * node + 1, at + half, half);
	tree[node] = join(&tree[2 * node], &tree[2 * node + 1], half);
}

/* The same for the whole tree: most of the way down the range is on one side. */
static void tree_change(const struct p2pdma_change *change)
{
	struct p2pdma_runs *tree = change->chunk->tree;
	size_t at = 0, size = tree_size(change->chunk), half;
	u32 node = 1;

	for (; size > P2PDMA_LEAF_PAGES; size = half) {
		half = size / 2;
		if (change->page < at + half && change->end > at + half)
			break;
		tree_push(tree, node, size);
		node *= 2;
		if (change->page >= at + half) {
			node++;
			at += half;
		}
	}
	tree_change_below(change, node, at, size);
	for (node /= 2; node; node /= 2, size *= 2)
		tree[node] = join(&tree[2 * node], &tree[2 * node + 1], size);
}

/* The first of @pages free pages in a row; there are as many. */
static size_t tree_find(const struct p2pdma_chunk *chunk, size_t pages)
{
	const struct p2pdma_runs *tree = chunk->tree;
	size_t at = 0, half = tree_size(chunk) / 2;
	u32 node = 1;

	/* A node all of whose pages are free ends this: those below are stale. */
	while (tree[node].prefix < pages) {
		if (node >= chunk->leaves)
			return at + __ffs(leaf_places(leaf_free(chunk, at / P2PDMA_LEAF_PAGES),
						      pages));
		node *= 2;
		if (tree[node].longest < pages) {
			if (tree[node].suffix + tree[node + 1].prefix >= pages)
				return at + half - tree[node].suffix;
			node++;
			at += half;
		}
		half /= 2;
	}
	return at;
}

/* ---- The gen_pool ---- */

/* The chunk that an address of the pool lies in; none goes before the pool does */
static struct p2pdma_chunk *pool_chunk(struct p2pdma_pool *pool, void *addr)
{
	struct p2pdma_chunk *chunk;

	list_for_each_entry_lockless(chunk, &pool->chunks, node) {
		if (likely((size_t)(addr - chunk->start) < chunk->size))
			break;
	}
	return chunk;
}

/* Where gen_pool_alloc_algo_owner() is to allocate */
struct p2pdma_place {
	struct p2pdma_chunk *chunk;
	size_t page;
	bool tried;
};

static unsigned long find_place(unsigned long *map, unsigned long size,
				unsigned long start, unsigned int nr, void *data,
				struct gen_pool *pool, unsigned long start_addr)
{
	struct p2pdma_place *place = data;

	if (start_addr != (unsigned long)place->chunk->start || place->tried)
		return size;
	place->tried = true;
	return place->page;
}

static void set_bits(const struct p2pdma_change *change, size_t page, size_t end)
{
	struct p2pdma_place place = { change->chunk, page };
	struct gen_pool *pool = change->chunk->pool->pages;
	size_t size = (end - page) << PAGE_SHIFT;

	if (page >= end)
		return;
	if (change->free)
		gen_pool_free(pool, (unsigned long)change->chunk->start +
			      (page << PAGE_SHIFT), size);
	else
		WARN_ON_ONCE(!gen_pool_alloc_algo_owner(pool, size, find_place,
							&place, NULL));
}

/* The bits of whole leaves, which the tree has as used */
static void set_whole(const struct p2pdma_change *change)
{
	set_bits(change, round_up(change->page, P2PDMA_LEAF_PAGES),
		 round_down(change->end, P2PDMA_LEAF_PAGES));
}

/* The bits of other leaves, and the tree */
static void set_rest(const struct p2pdma_change *change)
{
	size_t before = round_up(change->page, P2PDMA_LEAF_PAGES);
	size_t after = round_down(change->end, P2PDMA_LEAF_PAGES);

	lockdep_assert_held(&change->chunk->pool->lock);
	set_bits(change, change->page, min(before, change->end));
	set_bits(change, max(after, min(before, change->end)), change->end);
	tree_change(change);
}

/* Give back a piece that lies in no slot */
static void pool_give(struct p2pdma_pool *pool, void *addr, size_t pages)
{
	struct p2pdma_change change = { pool_chunk(pool, addr), .free = true };

	change.page = (addr - change.chunk->start) >> PAGE_SHIFT;
	change.end = change.page + pages;
	/* No other CPU writes these bits. */
	set_whole(&change);
	guard(raw_spinlock_irqsave)(&pool->lock);
	set_rest(&change);
}

/*
 * Take up to @most pieces of @pages, side by side.  Returns how many, and where
 * the first one begins; 0 where no chunk has that much in one piece.
 */
static unsigned int pool_take(struct p2pdma_pool *pool, size_t pages,
			      unsigned int most, void **addr)
{
	struct p2pdma_change change = { };
	struct p2pdma_chunk *chunk;
	unsigned int count = 0;

	list_for_each_entry_lockless(chunk, &pool->chunks, node) {
		/* Looked at again below */
		if (data_race(chunk->tree[1].longest) < pages)
			continue;
		scoped_guard(raw_spinlock_irqsave, &pool->lock) {
			if (chunk->tree[1].longest < pages)
				break;
			/* Of what there is little of, others get some, too. */
			count = clamp(chunk->tree[1].longest / pages / 8, 1, most);
			change.chunk = chunk;
			change.page = tree_find(chunk, count * pages);
			change.end = change.page + count * pages;
			set_rest(&change);
		}
		if (!count)
			continue;
		set_whole(&change);
		*addr = chunk->start + (change.page << PAGE_SHIFT);
		return count;
	}
	return 0;
}

/* ---- What CPUs keep ---- */

/*
 * Others are to look what this CPU has in a row of slots, whose first slot counts
 * as full from now on.
 */
static void cpu_announce(struct p2pdma_pool *pool, struct p2pdma_pool_cpu *cpu,
			 unsigned int row)
{
	if (!test_and_set_bit(row, &cpu->filled))
		atomic_add(row, &cpu->kept);
	/* Pairs with pool_drain(), which clears them the other way round */
	smp_mb__after_atomic();
	if (!cpumask_test_cpu(cpu->cpu, &pool->keeping))
		cpumask_set_cpu(cpu->cpu, &pool->keeping);
}

/* The slots for pieces of @pages; the larger ones share those of no size. */
static unsigned int slots_of(size_t pages)
{
	return pages <= P2PDMA_KEPT_PAGES ? pages : 0;
}

/* What stands in a slot for a piece: with a larger one, its number of pages */
static void *slot_value(void *addr, size_t pages)
{
	return pages <= P2PDMA_KEPT_PAGES ? addr : addr + pages;
}

/* Put a piece into one of the further slots; false where the CPU has enough */
static bool cpu_put(struct p2pdma_pool *pool, struct p2pdma_pool_cpu *cpu,
		    void *addr, size_t pages)
{
	unsigned int row = slots_of(pages), nr = READ_ONCE(cpu->next[row]), tries;
	void **slots = cpu->slots[row];

	if (!(READ_ONCE(cpu->filled) & BIT(row)))
		cpu_announce(pool, cpu, row);
	if (atomic_add_return(pages, &cpu->kept) <= READ_ONCE(pool->most_kept)) {
		addr = slot_value(addr, pages);
		for (tries = 1; tries < P2PDMA_SLOTS; tries++) {
			nr = nr < P2PDMA_SLOTS - 1 ? nr + 1 : 1;
			if (READ_ONCE(slots[nr]) || cmpxchg(&slots[nr], NULL, addr))
				continue;
			WRITE_ONCE(cpu->next[row], nr);
			/* It may have been drained meanwhile. */
			if (!(READ_ONCE(cpu->filled) & BIT(row)))
				cpu_announce(pool, cpu, row);
			return true;
		}
	}
	atomic_sub(pages, &cpu->kept);
	return false;
}

/* Take a piece out of any slot; NULL where there is none */
static void *cpu_take(struct p2pdma_pool_cpu *cpu, size_t pages)
{
	unsigned int row = slots_of(pages), nr = READ_ONCE(cpu->next[row]), tries;
	void **slots = cpu->slots[row], *addr;

	addr = READ_ONCE(slots[0]) ? xchg(&slots[0], NULL) : NULL;
	for (tries = 1; !addr && tries < P2PDMA_SLOTS; tries++) {
		addr = READ_ONCE(slots[nr]);
		if (addr && (row || offset_in_page(addr) == pages) &&
		    try_cmpxchg(&slots[nr], &addr, NULL)) {
			atomic_sub(pages, &cpu->kept);
			addr -= offset_in_page(addr);
		} else {
			addr = NULL;
		}
		nr = nr > 1 ? nr - 1 : P2PDMA_SLOTS - 1;
		if (addr)
			WRITE_ONCE(cpu->next[row], nr);
	}
	return addr;
}

/* Give back up to @most pieces that a CPU keeps, those side by side at once */
static void cpu_give_back(struct p2pdma_pool *pool, struct p2pdma_pool_cpu *cpu,
			  size_t pages, unsigned int most)
{
	void *addr, *run = NULL;
	size_t run_pages = 0;

	while (most-- && (addr = cpu_take(cpu, pages))) {
		if (run_pages && pool_chunk(pool, addr) == pool_chunk(pool, run) &&
		    (addr == run + (run_pages << PAGE_SHIFT) ||
		     run == addr + (pages << PAGE_SHIFT))) {
			run = min(run, addr);
			run_pages += pages;
			continue;
		}
		if (run_pages)
			pool_give(pool, run, run_pages);
		run = addr;
		run_pages = pages;
	}
	if (run_pages)
		pool_give(pool, run, run_pages);
}

/* Have a CPU give back all of a row, which nobody looks for then */
static void cpu_drain(struct p2pdma_pool *pool, struct p2pdma_pool_cpu *cpu,
		      unsigned int row)
{
	unsigned int nr;
	size_t pages;
	void *addr;

	/* What comes after that is announced again; pairs with cpu_announce(). */
	if (!test_and_clear_bit(row, &cpu->filled))
		return;
	cpu_give_back(pool, cpu, row, row ? P2PDMA_SLOTS : 0);
	for (nr = 1; !row && nr < P2PDMA_SLOTS; nr++) {
		addr = xchg(&cpu->slots[row][nr], NULL);
		pages = offset_in_page(addr);
		atomic_sub(pages, &cpu->kept);
		if (addr)
			pool_give(pool, addr - pages, pages);
	}
	atomic_sub(row, &cpu->kept);
}

/* Have a CPU give back all that it keeps */
static void pool_drain(struct p2pdma_pool *pool, unsigned int nr)
{
	struct p2pdma_pool_cpu *cpu = per_cpu_ptr(pool->cpus, nr);
	unsigned int row;

	/* What comes after that is announced again. */
	cpumask_clear_cpu(nr, &pool->keeping);
	/* Pairs with cpu_announce() */
	smp_mb__after_atomic();
	for_each_set_bit(row, &cpu->filled, P2PDMA_SIZES)
		cpu_drain(pool, cpu, row);
}

/* Is there no room for @pages in a CPU's slots? */
static bool cpu_is_full(const struct p2pdma_pool *pool,
			const struct p2pdma_pool_cpu *cpu, size_t pages)
{
	return atomic_read(&cpu->kept) + pages > READ_ONCE(pool->most_kept);
}

/* Have a CPU give back what it keeps of other sizes, or else of this one */
static void cpu_make_room(struct p2pdma_pool *pool, struct p2pdma_pool_cpu *cpu,
			  size_t pages)
{
	unsigned int row = READ_ONCE(cpu->victim), tries;

	/* All slots of this size may have a piece before the CPU has too much. */
	for (tries = cpu_is_full(pool, cpu, pages) ? 0 : 2; tries < 2; tries++) {
		for_each_set_bit_from(row, &cpu->filled, P2PDMA_SIZES) {
			if (row == slots_of(pages))
				continue;
			cpu_drain(pool, cpu, row);
			if (!cpu_is_full(pool, cpu, pages)) {
				WRITE_ONCE(cpu->victim, row);
				return;
			}
		}
		row = 0;
	}
	/* For the frees that follow as well */
	cpu_give_back(pool, cpu, pages, P2PDMA_BATCH);
}

/* Take a piece that another CPU keeps, or what is contiguous once none keeps any */
static void *pool_take_kept(struct p2pdma_pool *pool, size_t pages)
{
	unsigned int nr, tries;
	void *addr;

	if (pages < PAGE_SIZE) {
		for_each_cpu(nr, &pool->keeping) {
			addr = cpu_take(per_cpu_ptr(pool->cpus, nr), pages);
			if (addr)
				return addr;
		}
	}
	/* What a CPU kept may come to another one in the meantime. */
	for (tries = 3; tries && !cpumask_empty(&pool->keeping); tries--) {
		for_each_cpu(nr, &pool->keeping)
			pool_drain(pool, nr);
		if (pool_take(pool, pages, 1, &addr))
			return addr;
	}
	return NULL;
}

/* ---- Allocating ---- */

/* May there be as much in one piece, as far as the gen_pool knows? */
static bool pool_has(struct p2pdma_pool *pool, size_t pages)
{
	struct p2pdma_chunk *chunk;

	list_for_each_entry_lockless(chunk, &pool->chunks, node) {
		/* pool_take() looks again, under the lock. */
		if (data_race(chunk->tree[1].longest) >= pages)
			return true;
	}
	return false;
}

/* Take what isn't in this CPU's first slot */
static void *pool_get(struct p2pdma_pool *pool, size_t pages)
{
	unsigned int count = 1, i;
	struct p2pdma_pool_cpu *cpu;
	void *addr = NULL;
	long room;

	/* Pairs with p2pdma_pool_add(): if it isn't 0, pool->cpus is there. */
	if (!pages || pages > smp_load_acquire(&pool->size) >> PAGE_SHIFT)
		return NULL;
	cpu = raw_cpu_ptr(pool->cpus);
	if (pages < PAGE_SIZE) {
		addr = cpu_take(cpu, pages);
		if (addr)
			return addr;
	}
	if (pages <= P2PDMA_KEPT_PAGES) {
		room = (long)READ_ONCE(pool->most_kept) - atomic_read(&cpu->kept);
		if (!(READ_ONCE(cpu->filled) & BIT(pages)))
			room -= pages;		/* for the first slot */
		count += clamp(room / (long)pages, 0L, P2PDMA_BATCH - 1L);
	}
	count = pool_take(pool, pages, count, &addr);
	/* What is put there last is taken first. */
	for (i = count; i-- > 1; ) {
		if (!cpu_put(pool, cpu, addr + (i * pages << PAGE_SHIFT), pages)) {
			pool_give(pool, addr + (pages << PAGE_SHIFT), i * pages);
			break;
		}
	}
	if (!count && !cpumask_empty(&pool->keeping))
		addr = pool_take_kept(pool, pages);
	return addr;
}

/* Account for a piece that was taken; a call costs 8 instructions of 162 */
static __always_inline void *pool_mark(struct p2pdma_pool *pool, void *addr,
				       size_t pages, void **owner)
{
	struct p2pdma_chunk *chunk = pool_chunk(pool, addr);

	WRITE_ONCE(chunk->marks[(addr - chunk->start) >> PAGE_SHIFT], pages);
	this_cpu_add(pool->cpus->used, pages);
	*owner = READ_ONCE(chunk->owner);
	return addr;
}

/* Apart from p2pdma_pool_alloc(), which would save registers for it: 8 of 170 */
static noinline void *pool_alloc(struct p2pdma_pool *pool, size_t pages,
				 void **owner)
{
	void *addr = NULL;

	if (!cpumask_empty(&pool->keeping) || pool_has(pool, pages))
		addr = pool_get(pool, pages);
	return addr ? pool_mark(pool, addr, pages, owner) : NULL;
}

/**
 * p2pdma_pool_alloc - take contiguous memory out of a pool
 * @pool: the pool
 * @size: bytes, rounded up to whole pages
 * @owner: where to put the owner of the chunk it lies in
 *
 * Context: any but NMI; never sleeps.
 * Return: address, aligned to a page; NULL where no chunk has that much in one
 * piece, or @size is 0.
 */
void *p2pdma_pool_alloc(struct p2pdma_pool *pool, size_t size, void **owner)
{
	size_t pages = PFN_UP(size);
	void *addr;

	/* Pairs with pool_set_kept(): if it isn't 0, pool->cpus is there. */
	if (likely(pages - 1 < smp_load_acquire(&pool->slot_pages))) {
		addr = xchg(&raw_cpu_ptr(pool->cpus)->slots[pages][0], NULL);
		if (likely(addr))
			return pool_mark(pool, addr, pages, owner);
	}
	return pool_alloc(pool, pages, owner);
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_alloc);

/**
 * p2pdma_pool_alloc_pages - take contiguous pages that are freed one by one
 * @pool: the pool
 * @size: bytes, a multiple of PAGE_SIZE
 * @owner: where to put the owner of the chunk they lie in
 *
 * Context: any but NMI; never sleeps.
 * Return: address of the first page, each of which is an allocation of its
 * own; NULL where no chunk has that much in one piece, or @size is 0.
 */
void *p2pdma_pool_alloc_pages(struct p2pdma_pool *pool, size_t size,
			      void **owner)
{
	size_t pages = size >> PAGE_SHIFT, page, i;
	struct p2pdma_chunk *chunk;
	void *addr;

	addr = p2pdma_pool_alloc(pool, size, owner);
	if (!addr || pages == 1)
		return addr;
	chunk = pool_chunk(pool, addr);
	page = (addr - chunk->start) >> PAGE_SHIFT;
	for (i = 0; i < pages; i++)
		WRITE_ONCE(chunk->marks[page + i], 1);
	return addr;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_alloc_pages);

/* ---- Freeing ---- */

/* Warn of a free that doesn't fit */
static bool pool_refuse(struct p2pdma_chunk *chunk, void *addr, size_t size)
{
	size_t offset = addr - chunk->start;
	u32 mark;

	if (!size || offset >= chunk->size || size > chunk->size - offset) {
		p2pdma_pool_warn("it isn't of this memory", addr, size);
		return false;
	}
	mark = READ_ONCE(chunk->marks[offset >> PAGE_SHIFT]);
	if (offset_in_page(offset) || !mark)
		p2pdma_pool_warn("nothing that is allocated begins there", addr,
				 size);
	else
		p2pdma_pool_warn("it was allocated with another size", addr,
				 size);
	return false;
}

/* Free what doesn't fit into this CPU's first slot */
static noinline bool pool_free(struct p2pdma_pool *pool, void *addr, size_t pages)
{
	struct p2pdma_pool_cpu *cpu = raw_cpu_ptr(pool->cpus);

	if (pages < PAGE_SIZE && pages <= READ_ONCE(pool->most_kept)) {
		if (cpu_put(pool, cpu, addr, pages))
			return true;
		cpu_make_room(pool, cpu, pages);
	}
	pool_give(pool, addr, pages);
	return true;
}

/* The same, where others don't look for that size yet; @addr may be NULL. */
static noinline bool pool_announce(struct p2pdma_pool *pool,
				   struct p2pdma_pool_cpu *cpu, void *addr,
				   size_t pages)
{
	cpu_announce(pool, cpu, pages);
	if (cpu_is_full(pool, cpu, 0))
		cpu_make_room(pool, cpu, pages);
	return !addr || pool_free(pool, addr, pages);
}

/**
 * p2pdma_pool_free - give memory back
 * @chunk: where it lies
 * @addr: as it was allocated
 * @size: bytes, as allocated; PAGE_SIZE for those of p2pdma_pool_alloc_pages()
 *
 * What isn't allocated, or was with another address or number of pages, is
 * refused with a warning, and nothing changes.
 *
 * Context: any but NMI; never sleeps.
 * Return: whether it was freed.
 */
bool p2pdma_pool_free(struct p2pdma_chunk *chunk, void *addr, size_t size)
{
	struct p2pdma_pool *pool = chunk->pool;
	struct p2pdma_pool_cpu __percpu *cpus = pool->cpus;
	size_t offset = addr - chunk->start, pages = PFN_UP(size);
	struct p2pdma_pool_cpu *cpu;
	u32 mark = pages;

	if (unlikely(size - 1 >= chunk->size || offset >= chunk->size ||
		     offset_in_page(offset)))
		return pool_refuse(chunk, addr, size);
	if (unlikely(!try_cmpxchg(&chunk->marks[offset >> PAGE_SHIFT], &mark, 0)))
		return pool_refuse(chunk, addr, size);

	this_cpu_sub(cpus->used, pages);
	if (unlikely(pages > READ_ONCE(pool->slot_pages)))
		return pool_free(pool, addr, pages);
	cpu = raw_cpu_ptr(cpus);
	addr = xchg(&cpu->slots[pages][0], addr);
	if (unlikely(!(READ_ONCE(cpu->filled) & BIT(pages))))
		return pool_announce(pool, cpu, addr, pages);
	if (unlikely(addr))
		return pool_free(pool, addr, pages);
	return true;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_free);

/* ---- Pools ---- */

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

	pool->pages = gen_pool_create(PAGE_SHIFT, nid);
	if (!pool->pages) {
		kfree(pool);
		return NULL;
	}
	raw_spin_lock_init(&pool->lock);
	INIT_LIST_HEAD(&pool->chunks);
	pool->nid = nid;
	return pool;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_create);

static void chunk_destroy(struct p2pdma_chunk *chunk)
{
	kvfree(chunk->marks);
	kvfree(chunk);
}

/**
 * p2pdma_pool_destroy - undo p2pdma_pool_create()
 * @pool: pool with nothing allocated from it
 *
 * Context: may sleep.  There are no concurrent users of the pool.
 */
void p2pdma_pool_destroy(struct p2pdma_pool *pool)
{
	struct p2pdma_chunk *chunk, *next;

	list_for_each_entry_safe(chunk, next, &pool->chunks, node) {
		/* gen_pool_destroy() can't do with what CPUs keep. */
		bitmap_zero(chunk->used, chunk->size >> PAGE_SHIFT);
		chunk_destroy(chunk);
	}
	gen_pool_destroy(pool->pages);
	free_percpu(pool->cpus);
	kfree(pool);
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_destroy);

/* How much CPUs may keep, now that there is more of it */
static void pool_set_kept(struct p2pdma_pool *pool)
{
	size_t most = (pool->size >> PAGE_SHIFT) / P2PDMA_KEPT_SHARE /
		      num_possible_cpus();
	u32 slots = 0, first = 0;

	most = min(most, P2PDMA_KEPT_MOST);
	/* All first slots at once are not more than that. */
	while (slots < P2PDMA_KEPT_PAGES && first + slots + 1 <= most)
		first += ++slots;
	WRITE_ONCE(pool->most_kept, most);
	/* A reader that sees it sees pool->cpus. */
	smp_store_release(&pool->slot_pages, slots);
}

/* Where the gen_pool has the bits of a chunk */
static void find_bits(struct gen_pool *pool, struct gen_pool_chunk *bits,
		      void *data)
{
	struct p2pdma_chunk *chunk = data;

	if (bits->start_addr == (unsigned long)chunk->start)
		chunk->used = bits->bits;
}

/**
 * p2pdma_pool_add - give a chunk of memory to a pool
 * @pool: the pool
 * @addr: start of the chunk, page aligned
 * @size: bytes, a multiple of PAGE_SIZE
 * @owner: what p2pdma_pool_alloc() is to return with memory of this chunk
 * @new: where to put the chunk, which lives as long as @pool; it is there
 *	before memory of it is allocated
 *
 * An allocation never lies in more than one chunk.
 *
 * Context: may sleep; allocations may go on meanwhile, but no other call of
 * this function.
 * Return: 0; -EINVAL @size is 0, or more than 2^31 - 1 pages; -ENOMEM no memory
 * to keep account of it.  The pool is as before then.
 */
int p2pdma_pool_add(struct p2pdma_pool *pool, void *addr, size_t size,
		    void *owner, struct p2pdma_chunk **new)
{
	size_t pages = size >> PAGE_SHIFT;
	struct p2pdma_change all = { .end = pages, .free = true };
	struct p2pdma_pool_cpu *cpu;
	struct p2pdma_chunk *chunk;
	unsigned int nr;
	u32 leaves;

	/* A mark, and a run of free pages, has 32 bits. */
	if (!pages || pages > U32_MAX / 2)
		return -EINVAL;
	if (!pool->cpus) {
		pool->cpus = alloc_percpu(struct p2pdma_pool_cpu);
		if (!pool->cpus)
			return -ENOMEM;
		for_each_possible_cpu(nr) {
			cpu = per_cpu_ptr(pool->cpus, nr);
			cpu->cpu = nr;
			memset(cpu->next, 1, sizeof(cpu->next));
		}
	}

	leaves = roundup_pow_of_two(DIV_ROUND_UP(pages, P2PDMA_LEAF_PAGES));
	chunk = kvzalloc_node(struct_size(chunk, tree, 2 * (size_t)leaves),
			      GFP_KERNEL, pool->nid);
	if (!chunk)
		return -ENOMEM;
	chunk->marks = kvcalloc_node(pages, sizeof(*chunk->marks), GFP_KERNEL,
				     pool->nid);
	if (!chunk->marks ||
	    gen_pool_add_owner(pool->pages, (unsigned long)addr, -1, size,
			       pool->nid, NULL)) {
		chunk_destroy(chunk);
		return -ENOMEM;
	}
	chunk->pool = pool;
	chunk->owner = owner;
	chunk->start = addr;
	chunk->size = size;
	chunk->leaves = leaves;
	gen_pool_for_each_chunk(pool->pages, find_bits, chunk);
	all.chunk = chunk;
	tree_change(&all);

	*new = chunk;
	guard(raw_spinlock_irqsave)(&pool->lock);
	list_add_tail_rcu(&chunk->node, &pool->chunks);
	/* A reader that sees it sees pool->cpus. */
	smp_store_release(&pool->size, pool->size + size);
	pool_set_kept(pool);
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_add);

/**
 * p2pdma_pool_set_owner - change what comes with memory of a chunk
 * @chunk: the chunk
 * @owner: what p2pdma_pool_alloc() is to return from now on
 *
 * A concurrent allocation may still return the old one.
 *
 * Context: any; never sleeps.
 */
void p2pdma_pool_set_owner(struct p2pdma_chunk *chunk, void *owner)
{
	/* An allocation that returns it sees what it points to. */
	smp_store_release(&chunk->owner, owner);
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_set_owner);

/**
 * p2pdma_pool_warn - warn of a mistake that a caller has made
 * @what: what is wrong
 * @addr: of the memory, or NULL
 * @size: bytes
 *
 * Context: any; never sleeps.
 */
void p2pdma_pool_warn(const char *what, void *addr, size_t size)
{
	KUNIT_STATIC_STUB_REDIRECT(p2pdma_pool_warn, what, addr, size);
	WARN_RATELIMIT(1, "p2pdma: can't free %zu bytes at %p: %s\n", size, addr, what);
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_warn);

/**
 * p2pdma_pool_available - how much memory of a pool is free
 * @pool: the pool
 *
 * What CPUs keep is free.
 *
 * Context: any.
 * Return: bytes in whole pages, exact without concurrent allocations and frees.
 */
size_t p2pdma_pool_available(struct p2pdma_pool *pool)
{
	/* Pairs with p2pdma_pool_add(): if it isn't 0, pool->cpus is there. */
	long pages = smp_load_acquire(&pool->size) >> PAGE_SHIFT;
	long used = 0;
	unsigned int nr;

	if (!pages)
		return 0;
	for_each_possible_cpu(nr)
		used += READ_ONCE(per_cpu_ptr(pool->cpus, nr)->used);
	/* Memory may have gone from a CPU to one that was counted before. */
	return (size_t)(pages - clamp(used, 0L, pages)) << PAGE_SHIFT;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_available);
