// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: the allocator.
 *
 * Allocates and frees address ranges of the chunks that were added to it, in
 * any context but NMI.  It never accesses the memory itself, so a chunk may lie
 * in a BAR, and it knows nothing of PCI, struct pages or references: callers
 * find those by the owner pointer of the chunk, which each allocation returns.
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
 * The lower layer is a gen_pool of pages, whose bitmap records the pages in
 * use.  The bitmap isn't searched: each chunk has a tree, whose nodes hold the
 * length of the longest run of free pages below them.  A run of any size is
 * found, or known not to exist, in as many steps as the tree has levels, the
 * logarithm of the chunk's size.
 *
 * In the upper layer each CPU keeps free pages: pieces of up to 32 pages that
 * were freed on it, up to 33 of each size, and one run of contiguous pages.
 * The run comes from the gen_pool, pieces are cut off its front, and adjacent
 * frees extend it.  The first piece of each size is taken and put back without
 * a lock.  All CPUs together keep at most 1/16 of the pool.
 *
 * If the gen_pool has no run that is long enough, an allocation takes a piece
 * that another CPU keeps, or else returns all kept pages to the gen_pool, so
 * that it succeeds as long as a chunk has a contiguous range of that size.  If
 * no CPU keeps pages, a refusal is as fast as an allocation.
 *
 * Each page has a mark, the length of the allocation that starts there.  A free
 * that doesn't match the mark is refused, and of several frees of the same
 * memory only one can clear the mark.
 *
 * The time with interrupts disabled is bounded for requests of any size: whole
 * leaves of the tree are claimed by updating a few nodes above them.  Their
 * bits in the gen_pool are set after that update, and cleared before it,
 * without the lock.
 *
 * With 4 KiB pages, a pool costs about 1.1 MiB per GiB, besides the struct
 * pages, and 8.5 KiB per CPU.
 */

/*
 * Invariants, which tests check without concurrent users:
 *
 *   1. The gen_pool's bits are set for pages that are allocated or kept.
 *   2. Each node that isn't stale agrees with the bits below it.
 *   3. The CPUs' counts of allocated pages, less those of freed pages, add up
 *      to the number of pages that are allocated.
 */

/* Limits of kept pages: all CPUs, as a part of the pool, and each CPU */
#define P2PDMA_KEPT_SHARE	16
#define P2PDMA_KEPT_MOST	(SZ_8M / PAGE_SIZE)

/* Limit of the pieces taken from the gen_pool at a time */
#define P2PDMA_BATCH		32

/* ---- Runs of pages ---- */

static size_t run_pages(const struct p2pdma_run *run)
{
	return run->end - run->page;
}

static void *run_start(const struct p2pdma_run *run)
{
	return run->chunk->start + (run->page << PAGE_SHIFT);
}

/* Cut @pages off the front; NULL if the run is shorter */
static void *run_cut(struct p2pdma_run *run, size_t pages)
{
	if (run_pages(run) < pages)
		return NULL;
	run->page += pages;
	return run_start(run) - (pages << PAGE_SHIFT);
}

/* Extend a run by a piece; false if the piece isn't adjacent */
static bool run_add(struct p2pdma_run *run, const struct p2pdma_run *piece)
{
	if (run->chunk != piece->chunk)
		return false;
	if (run->end == piece->page)
		run->end = piece->end;
	else if (run->page == piece->end)
		run->page = piece->page;
	else
		return false;
	return true;
}

/* ---- Leaves ---- */

/* Bits of a leaf's free pages; pages beyond the chunk aren't free */
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

static struct p2pdma_runs leaf_runs(const struct p2pdma_chunk *chunk,
				    size_t leaf)
{
	unsigned long free = leaf_free(chunk, leaf), places;
	struct p2pdma_runs runs = { };

	if (free == ~0UL)
		return uniform(true, P2PDMA_LEAF_PAGES);
	if (free) {
		runs.prefix = __ffs(~free);
		runs.suffix = BITS_PER_LONG - 1 - __fls(~free);
	}
	/* Each bit in places starts a run of runs.longest + 1 free pages. */
	for (places = free; places; places &= places >> 1)
		runs.longest++;
	return runs;
}

/* ---- The tree ---- */

/* Pages below the root, including those beyond the chunk */
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

/*
 * The pages of @run have become free, or used: update @node, which covers @size
 * pages from page @at on, and the nodes below it.  Recursion is as deep as the
 * tree, which has at most 26 levels.
 */
static void tree_change(const struct p2pdma_run *run, bool free, u32 node,
			size_t at, size_t size)
{
	struct p2pdma_runs *tree = run->chunk->tree;
	size_t half = size / 2;

	if (run->page <= at && at + size <= run->end) {
		tree[node] = uniform(free, size);
		return;
	}
	if (size == P2PDMA_LEAF_PAGES) {
		tree[node] = leaf_runs(run->chunk, at / P2PDMA_LEAF_PAGES);
		return;
	}
	/* If all pages are free, or all used, the children are stale. */
	if (!tree[node].longest || tree[node].longest == size) {
		tree[2 * node] = uniform(tree[node].longest, half);
		tree[2 * node + 1] = tree[2 * node];
	}
	if (run->page < at + half)
		tree_change(run, free, 2 * node, at, half);
	if (run->end > at + half)
		tree_change(run, free, 2 * node + 1, at + half, half);
	tree[node] = join(&tree[2 * node], &tree[2 * node + 1], half);
}

/* Find the first run of @pages free pages; the tree has one */
static size_t tree_find(const struct p2pdma_chunk *chunk, size_t pages)
{
	const struct p2pdma_runs *tree = chunk->tree;
	size_t at = 0, half = tree_size(chunk) / 2, end;
	u32 node = 1;

	/* Ends at a node with all pages free: its children are stale. */
	for (; tree[node].prefix < pages; half /= 2) {
		if (node >= chunk->leaves) {
			end = min(at + P2PDMA_LEAF_PAGES,
				  chunk->size >> PAGE_SHIFT);
			return bitmap_find_next_zero_area(chunk->used, end, at,
							  pages, 0);
		}
		node *= 2;
		if (tree[node].longest >= pages)
			continue;
		if (tree[node].suffix + tree[node + 1].prefix >= pages)
			return at + half - tree[node].suffix;
		node++;
		at += half;
	}
	return at;
}

/* ---- The gen_pool ---- */

/* The chunk that an address of the pool lies in; lives as long as the pool */
static struct p2pdma_chunk *pool_chunk(struct p2pdma_pool *pool, void *addr)
{
	struct p2pdma_chunk *chunk;

	list_for_each_entry_lockless(chunk, &pool->chunks, node) {
		if (likely((size_t)(addr - chunk->start) < chunk->size))
			break;
	}
	return chunk;
}

/* The run of @pages that starts at an address */
static struct p2pdma_run pool_run(struct p2pdma_pool *pool, void *addr,
				  size_t pages)
{
	struct p2pdma_chunk *chunk = pool_chunk(pool, addr);
	size_t page = (addr - chunk->start) >> PAGE_SHIFT;

	return (struct p2pdma_run) { chunk, page, page + pages };
}

/* The pages that gen_pool_alloc_algo_owner() is to allocate */
struct p2pdma_place {
	const struct p2pdma_chunk *chunk;
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

/* Clear (@free) or set the bits of pages @page up to @end of a chunk */
static void set_bits(const struct p2pdma_chunk *chunk, bool free, size_t page,
		     size_t end)
{
	struct p2pdma_place place = { chunk, page };
	struct gen_pool *pool = chunk->pool->pages;
	size_t size = (end - page) << PAGE_SHIFT;

	if (page >= end)
		return;
	if (free)
		gen_pool_free(pool, (unsigned long)chunk->start +
			      (page << PAGE_SHIFT), size);
	else
		WARN_ON_ONCE(!gen_pool_alloc_algo_owner(pool, size, find_place,
							&place, NULL));
}

/* Bits of whole leaves: used in the tree, so no other CPU writes them */
static void set_whole(const struct p2pdma_run *run, bool free)
{
	set_bits(run->chunk, free, round_up(run->page, P2PDMA_LEAF_PAGES),
		 round_down(run->end, P2PDMA_LEAF_PAGES));
}

/* Bits of the leaves that the run covers in part, and the tree */
static void set_rest(const struct p2pdma_run *run, bool free)
{
	size_t before = min(round_up(run->page, P2PDMA_LEAF_PAGES), run->end);
	size_t after = max(round_down(run->end, P2PDMA_LEAF_PAGES), before);

	lockdep_assert_held(&run->chunk->pool->lock);
	set_bits(run->chunk, free, run->page, before);
	set_bits(run->chunk, free, after, run->end);
	tree_change(run, free, 1, 0, tree_size(run->chunk));
}

/* Return a run, which may be empty, to the gen_pool */
static void pool_give(const struct p2pdma_run *run)
{
	if (!run_pages(run))
		return;
	set_whole(run, true);
	guard(raw_spinlock_irqsave)(&run->chunk->pool->lock);
	set_rest(run, true);
}

/*
 * Take a run of up to @most pieces of @pages from the gen_pool; false if no
 * chunk has a run of @pages.
 */
static bool pool_take(struct p2pdma_pool *pool, size_t pages, size_t most,
		      struct p2pdma_run *run)
{
	struct p2pdma_chunk *chunk;

	*run = (struct p2pdma_run) { };
	list_for_each_entry_lockless(chunk, &pool->chunks, node) {
		/* Checked again under the lock */
		if (data_race(chunk->tree[1].longest) < pages)
			continue;
		scoped_guard(raw_spinlock_irqsave, &pool->lock) {
			if (chunk->tree[1].longest < pages)
				break;
			/* Leave most of a short run to other CPUs. */
			most = clamp(chunk->tree[1].longest / pages / 8, 1, most);
			run->chunk = chunk;
			run->page = tree_find(chunk, most * pages);
			run->end = run->page + most * pages;
			set_rest(run, false);
		}
		if (!run->chunk)
			continue;
		set_whole(run, false);
		return true;
	}
	return false;
}

/* ---- What CPUs keep ---- */

/* The row for pieces of @pages; 0, the run, for sizes without slots */
static unsigned int row_of(const struct p2pdma_pool *pool, size_t pages)
{
	return pages <= READ_ONCE(pool->slot_pages) ? pages : 0;
}

/* Let other CPUs find what this CPU keeps in a row and its first slot */
static void cpu_announce(struct p2pdma_pool *pool, struct p2pdma_pool_cpu *cpu,
			 unsigned int row)
{
	lockdep_assert_held(&cpu->lock);
	if (!(cpu->filled & BIT(row))) {
		WRITE_ONCE(cpu->filled, cpu->filled | BIT(row));
		WRITE_ONCE(cpu->kept, cpu->kept + row);
	}
	if (!cpumask_test_cpu(cpu->cpu, &pool->keeping))
		cpumask_set_cpu(cpu->cpu, &pool->keeping);
}

/* Would @pages more exceed the limit of kept pages? */
static bool cpu_is_full(const struct p2pdma_pool *pool,
			const struct p2pdma_pool_cpu *cpu, size_t pages)
{
	return READ_ONCE(cpu->kept) + pages > READ_ONCE(pool->most_kept);
}

/*
 * Keep a piece in its row; for row 0, or if the row is full, extend the run by
 * the piece, or replace the run.  False if the CPU's limit would be exceeded.
 * Inlined: calls cost 19 instructions of 358, an allocation and a free.
 */
static __always_inline bool cpu_keep(struct p2pdma_pool *pool,
				     struct p2pdma_pool_cpu *cpu, void *addr,
				     size_t pages, unsigned int row)
{
	struct p2pdma_run run;

	scoped_guard(raw_spinlock_irqsave, &cpu->lock) {
		cpu_announce(pool, cpu, row);
		if (cpu_is_full(pool, cpu, pages))
			return false;
		WRITE_ONCE(cpu->kept, cpu->kept + pages);
		if (row && cpu->count[row] < P2PDMA_SLOTS) {
			cpu->pieces[row][cpu->count[row]++] = addr;
			return true;
		}
		run = pool_run(pool, addr, pages);
		if (run_add(&cpu->run, &run))
			return true;
		swap(cpu->run, run);
		WRITE_ONCE(cpu->kept, cpu->kept - run_pages(&run));
	}
	pool_give(&run);
	return true;
}

/* Take @pages that a CPU keeps; NULL if it has no such piece */
static void *cpu_take(struct p2pdma_pool_cpu *cpu, size_t pages,
		      unsigned int row)
{
	void *addr;

	guard(raw_spinlock_irqsave)(&cpu->lock);
	if (cpu->count[row])
		addr = cpu->pieces[row][--cpu->count[row]];
	else
		addr = run_cut(&cpu->run, pages);
	if (addr)
		WRITE_ONCE(cpu->kept, cpu->kept - pages);
	else if (row)
		addr = xchg(&cpu->first[row], NULL);
	return addr;
}

/* Take any piece of a CPU's row, or its run for row 0; false if it has none */
static bool cpu_pop(struct p2pdma_pool *pool, struct p2pdma_pool_cpu *cpu,
		    unsigned int row, struct p2pdma_run *piece)
{
	size_t pages = row;
	void *addr = NULL;

	*piece = (struct p2pdma_run) { };
	guard(raw_spinlock_irqsave)(&cpu->lock);
	if (!row) {
		swap(cpu->run, *piece);
		pages = run_pages(piece);
	} else if (cpu->count[row]) {
		addr = cpu->pieces[row][--cpu->count[row]];
	} else if (cpu->filled & BIT(row)) {
		WRITE_ONCE(cpu->filled, cpu->filled & ~BIT(row));
		/* Pairs with p2pdma_pool_free(), which sees the bit clear */
		addr = xchg(&cpu->first[row], NULL);
	} else {
		return false;
	}
	WRITE_ONCE(cpu->kept, cpu->kept - pages);
	if (addr)
		*piece = pool_run(pool, addr, pages);
	return run_pages(piece);
}

/* Return a CPU's row to the gen_pool, adjacent pieces in one step */
static void cpu_drain(struct p2pdma_pool *pool, struct p2pdma_pool_cpu *cpu,
		      unsigned int row)
{
	unsigned int left = P2PDMA_SLOTS + 1;	/* frees may add pieces */
	struct p2pdma_run run = { }, piece;

	while (left-- && cpu_pop(pool, cpu, row, &piece)) {
		if (run_add(&run, &piece))
			continue;
		pool_give(&run);
		run = piece;
	}
	pool_give(&run);
}

/* Return a CPU's rows to the gen_pool until it has room for @pages */
static void cpu_make_room(struct p2pdma_pool *pool, struct p2pdma_pool_cpu *cpu,
			  size_t pages)
{
	unsigned int victim = READ_ONCE(cpu->victim), row;
	unsigned long filled = READ_ONCE(cpu->filled);

	for_each_set_bit_wrap(row, &filled, P2PDMA_SIZES, victim) {
		if (!cpu_is_full(pool, cpu, pages))
			break;
		cpu_drain(pool, cpu, row);
		WRITE_ONCE(cpu->victim, row + 1);
	}
}

/* Take a piece that a CPU keeps, or a free run once all CPUs are drained */
static void *pool_take_kept(struct p2pdma_pool *pool, size_t pages)
{
	struct p2pdma_pool_cpu *cpu;
	struct p2pdma_run run;
	unsigned int nr, tries;
	void *addr;

	for_each_cpu(nr, &pool->keeping) {
		addr = cpu_take(per_cpu_ptr(pool->cpus, nr), pages,
				row_of(pool, pages));
		if (addr)
			return addr;
	}
	/* Kept pages may move to another CPU meanwhile: try again. */
	for (tries = 3; tries && !cpumask_empty(&pool->keeping); tries--) {
		for_each_cpu(nr, &pool->keeping) {
			cpu = per_cpu_ptr(pool->cpus, nr);
			/* Pages kept from now on set it again. */
			scoped_guard(raw_spinlock_irqsave, &cpu->lock)
				cpumask_clear_cpu(nr, &pool->keeping);
			cpu_make_room(pool, cpu, READ_ONCE(pool->most_kept));
		}
		if (pool_take(pool, pages, 1, &run))
			return run_start(&run);
	}
	return NULL;
}

/* ---- Allocating ---- */

/* Does the gen_pool have a run of @pages?  Without the lock: a hint */
static bool pool_has(struct p2pdma_pool *pool, size_t pages)
{
	struct p2pdma_chunk *chunk;

	list_for_each_entry_lockless(chunk, &pool->chunks, node) {
		/* pool_take() checks again under the lock. */
		if (data_race(chunk->tree[1].longest) >= pages)
			return true;
	}
	return false;
}

/* Take @pages from the gen_pool, or from what CPUs keep */
static noinline void *pool_get(struct p2pdma_pool *pool,
			       struct p2pdma_pool_cpu *cpu, size_t pages)
{
	size_t kept = READ_ONCE(cpu->kept), most = READ_ONCE(pool->most_kept);
	struct p2pdma_run run;
	void *addr;

	/* Leave half of the room for frees. */
	most = most > kept && pages <= P2PDMA_KEPT_PAGES ?
	       (most - kept) / pages / 2 : 1;
	if (!pool_take(pool, pages, clamp(most, 1, P2PDMA_BATCH), &run))
		return pool_take_kept(pool, pages);
	addr = run_cut(&run, pages);
	if (run_pages(&run) &&
	    !cpu_keep(pool, cpu, run_start(&run), run_pages(&run), 0))
		pool_give(&run);
	return addr;
}

/* Account for an allocated piece; a call costs 8 instructions of 162 */
static __always_inline void *pool_mark(struct p2pdma_pool *pool,
				       struct p2pdma_pool_cpu __percpu *cpus,
				       void *addr, size_t pages, void **owner)
{
	struct p2pdma_chunk *chunk = pool_chunk(pool, addr);

	WRITE_ONCE(chunk->marks[(addr - chunk->start) >> PAGE_SHIFT], pages);
	this_cpu_add(cpus->allocated, pages);
	*owner = READ_ONCE(chunk->owner);
	return addr;
}

/* Out of line: inlined, it costs p2pdma_pool_alloc() 8 instructions of 170 */
static noinline void *pool_alloc(struct p2pdma_pool *pool, size_t pages,
				 void **owner)
{
	struct p2pdma_pool_cpu *cpu;
	void *addr;

	if (cpumask_empty(&pool->keeping) && !pool_has(pool, pages))
		return NULL;
	/* Pairs with p2pdma_pool_add(): if size isn't 0, pool->cpus is set. */
	if (pages - 1 >= smp_load_acquire(&pool->size) >> PAGE_SHIFT)
		return NULL;
	cpu = raw_cpu_ptr(pool->cpus);
	addr = cpu_take(cpu, pages, row_of(pool, pages)) ?:
	       pool_get(pool, cpu, pages);
	return addr ? pool_mark(pool, pool->cpus, addr, pages, owner) : NULL;
}

/**
 * p2pdma_pool_alloc - allocate contiguous memory from a pool
 * @pool: the pool
 * @size: bytes, rounded up to whole pages
 * @owner: where to store the owner of the chunk that the memory lies in
 *
 * Context: any but NMI; never sleeps.
 * Return: address, aligned to a page; NULL if no chunk has that much contiguous
 * memory free, or @size is 0.
 */
void *p2pdma_pool_alloc(struct p2pdma_pool *pool, size_t size, void **owner)
{
	struct p2pdma_pool_cpu __percpu *cpus;
	size_t pages = PFN_UP(size);
	void *addr;

	/* Pairs with pool_set_kept(): if not 0, pool->cpus is set. */
	if (likely(pages - 1 < smp_load_acquire(&pool->slot_pages))) {
		cpus = pool->cpus;
		addr = xchg(&raw_cpu_ptr(cpus)->first[pages], NULL);
		if (likely(addr))
			return pool_mark(pool, cpus, addr, pages, owner);
	}
	return pool_alloc(pool, pages, owner);
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_alloc);

/**
 * p2pdma_pool_alloc_pages - allocate contiguous pages to be freed one by one
 * @pool: the pool
 * @size: bytes, a multiple of PAGE_SIZE
 * @owner: where to store the owner of the chunk that the pages lie in
 *
 * Context: any but NMI; never sleeps.
 * Return: address of the first page; each page is an allocation of its own.
 * NULL if no chunk has that much contiguous memory free, or @size is 0.
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

/* Refuse a free that matches no allocation, with a warning */
static bool pool_refuse(struct p2pdma_chunk *chunk, void *addr, size_t size)
{
	size_t offset = addr - chunk->start;
	const char *what = "allocated with another size";

	if (!size || offset >= chunk->size || size > chunk->size - offset)
		what = "outside of this memory";
	else if (offset_in_page(offset) ||
		 !READ_ONCE(chunk->marks[offset >> PAGE_SHIFT]))
		what = "no allocation starts there";
	p2pdma_pool_warn(what, addr, size);
	return false;
}

/* Free a piece that has no row, or that the CPU has no room for */
static noinline bool pool_free_full(struct p2pdma_pool *pool,
				    struct p2pdma_pool_cpu *cpu, void *addr,
				    size_t pages)
{
	struct p2pdma_run run = pool_run(pool, addr, pages);

	/* A single piece takes at most half of the CPU's limit. */
	if (pages <= READ_ONCE(pool->most_kept) / 2) {
		cpu_make_room(pool, cpu, pages);
		if (cpu_keep(pool, cpu, addr, pages, row_of(pool, pages)))
			return true;
	}
	pool_give(&run);
	return true;
}

/* Free a piece that another one has replaced in its first slot */
static noinline bool pool_free(struct p2pdma_pool *pool,
			       struct p2pdma_pool_cpu *cpu, void *addr,
			       size_t pages)
{
	return cpu_keep(pool, cpu, addr, pages, pages) ||
	       pool_free_full(pool, cpu, addr, pages);
}

/* Let other CPUs find a filled first slot; free @addr, its old piece */
static noinline bool pool_announce(struct p2pdma_pool *pool,
				   struct p2pdma_pool_cpu *cpu, void *addr,
				   size_t pages)
{
	scoped_guard(raw_spinlock_irqsave, &cpu->lock)
		cpu_announce(pool, cpu, pages);
	cpu_make_room(pool, cpu, 0);
	return !addr || pool_free(pool, cpu, addr, pages);
}

/**
 * p2pdma_pool_free - free memory of a pool
 * @chunk: the chunk that the memory lies in
 * @addr: address, as allocated
 * @size: bytes, as allocated; PAGE_SIZE for pages of p2pdma_pool_alloc_pages()
 *
 * A free of memory that isn't allocated, or was allocated with another address
 * or number of pages, is refused with a warning, and changes nothing.
 *
 * Context: any but NMI; never sleeps.
 * Return: whether the memory was freed.
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

	this_cpu_add(cpus->freed, pages);
	cpu = raw_cpu_ptr(cpus);
	if (unlikely(pages > READ_ONCE(pool->slot_pages)))
		return pool_free_full(pool, cpu, addr, pages);
	addr = xchg(&cpu->first[pages], addr);
	if (unlikely(!(READ_ONCE(cpu->filled) & BIT(pages))))
		return pool_announce(pool, cpu, addr, pages);
	if (unlikely(addr))
		return pool_free(pool, cpu, addr, pages);
	return true;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_free);

/* ---- Pools ---- */

/**
 * p2pdma_pool_create - make a pool without memory
 * @nid: NUMA node for the pool's own data, or NUMA_NO_NODE
 *
 * Context: may sleep.
 * Return: the pool, or NULL if there is no memory for it.
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
		/* gen_pool_destroy() would take kept pages for a leak: BUG() */
		bitmap_zero(chunk->used, chunk->size >> PAGE_SHIFT);
		chunk_destroy(chunk);
	}
	gen_pool_destroy(pool->pages);
	free_percpu(pool->cpus);
	kfree(pool);
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_destroy);

/* Adjust how many pages CPUs may keep to the size of the pool */
static void pool_set_kept(struct p2pdma_pool *pool)
{
	size_t most = (pool->size >> PAGE_SHIFT) / P2PDMA_KEPT_SHARE /
		      num_possible_cpus();
	u32 slots = 0, first = 0;

	most = min(most, P2PDMA_KEPT_MOST);
	/* All first slots together stay within the limit. */
	while (slots < P2PDMA_KEPT_PAGES && first + slots + 1 <= most)
		first += ++slots;
	WRITE_ONCE(pool->most_kept, most);
	/* A reader that sees slot_pages sees pool->cpus. */
	smp_store_release(&pool->slot_pages, slots);
}

/* Find the gen_pool's bitmap of a chunk */
static void find_bits(struct gen_pool *pool, struct gen_pool_chunk *bits,
		      void *data)
{
	struct p2pdma_chunk *chunk = data;

	if (bits->start_addr == (unsigned long)chunk->start)
		chunk->used = bits->bits;
}

/**
 * p2pdma_pool_add - add a chunk of memory to a pool
 * @pool: the pool
 * @addr: start of the chunk, page aligned
 * @size: bytes, a multiple of PAGE_SIZE
 * @owner: pointer that p2pdma_pool_alloc() returns with memory of this chunk
 * @new: where to store the chunk, which lives as long as @pool; set before
 *	memory of the chunk can be allocated
 *
 * An allocation never spans two chunks.
 *
 * Context: may sleep.  Allocations may run concurrently, but no other call of
 * this function.
 * Return: 0; -EINVAL @size is 0, or more than 2^31 - 1 pages; -ENOMEM no memory
 * for the pool's own data.  On an error the pool is unchanged.
 */
int p2pdma_pool_add(struct p2pdma_pool *pool, void *addr, size_t size,
		    void *owner, struct p2pdma_chunk **new)
{
	size_t pages = size >> PAGE_SHIFT;
	struct p2pdma_run all = { .end = pages };
	struct p2pdma_pool_cpu *cpu;
	struct p2pdma_chunk *chunk;
	unsigned int nr;
	u32 leaves;

	/* Marks, and lengths of runs, have 32 bits. */
	if (!pages || pages > U32_MAX / 2)
		return -EINVAL;
	if (!pool->cpus) {
		pool->cpus = alloc_percpu(struct p2pdma_pool_cpu);
		if (!pool->cpus)
			return -ENOMEM;
		for_each_possible_cpu(nr) {
			cpu = per_cpu_ptr(pool->cpus, nr);
			raw_spin_lock_init(&cpu->lock);
			cpu->filled = BIT(0);	/* the run */
			cpu->cpu = nr;
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
	tree_change(&all, true, 1, 0, tree_size(chunk));

	*new = chunk;
	guard(raw_spinlock_irqsave)(&pool->lock);
	list_add_tail_rcu(&chunk->node, &pool->chunks);
	/* A reader that sees the size sees pool->cpus. */
	smp_store_release(&pool->size, pool->size + size);
	pool_set_kept(pool);
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_add);

/**
 * p2pdma_pool_set_owner - change the owner pointer of a chunk
 * @chunk: the chunk
 * @owner: pointer that p2pdma_pool_alloc() returns from now on
 *
 * A concurrent allocation may still return the old owner.
 *
 * Context: any; never sleeps.
 */
void p2pdma_pool_set_owner(struct p2pdma_chunk *chunk, void *owner)
{
	/* An allocation that returns @owner sees the data behind it. */
	smp_store_release(&chunk->owner, owner);
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_set_owner);

/**
 * p2pdma_pool_warn - warn of a free that was refused
 * @what: what is wrong with it
 * @addr: address to be freed, or NULL
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
 * Pages that CPUs keep count as free.
 *
 * Context: any.
 * Return: bytes in whole pages, exact without concurrent allocations and frees.
 */
size_t p2pdma_pool_available(struct p2pdma_pool *pool)
{
	/* Pairs with p2pdma_pool_add(): if size isn't 0, pool->cpus is set. */
	long pages = smp_load_acquire(&pool->size) >> PAGE_SHIFT;
	const struct p2pdma_pool_cpu *cpu;
	unsigned long used = 0;
	unsigned int nr;

	if (!pages)
		return 0;
	for_each_possible_cpu(nr) {
		cpu = per_cpu_ptr(pool->cpus, nr);
		used += READ_ONCE(cpu->allocated) - READ_ONCE(cpu->freed);
	}
	/* CPUs are counted one by one: concurrent frees may be missed. */
	return (size_t)(pages - clamp((long)used, 0L, pages)) << PAGE_SHIFT;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_available);
