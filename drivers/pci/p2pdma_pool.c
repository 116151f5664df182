// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: the allocator.
 *
 * Hands out address ranges from the chunks it was given and takes them back,
 * from any context.  It never touches the memory itself, so a chunk may lie
 * in a BAR, and it knows nothing of PCI, struct pages or references: an owner,
 * given with each chunk, leads the caller from an allocation to those.
 *
 * Who has what, from the top:
 *
 * A CPU keeps, for each number of pages up to P2PDMA_KEPT_PAGES, the piece that
 * was freed last, and gives it to who asks next.  No lock is needed for that.
 *
 * Below that, a chunk is divided into slabs of P2PDMA_SLAB_PAGES pages, each with
 * a bitmap and a lock.  A CPU owns the slabs that it allocates from, one for
 * requests of few pages and one for larger ones.
 *
 * The slabs that no CPU owns are found by a tree, a node of which knows the
 * longest run of free pages below it, across the borders of slabs too.  So a
 * CPU finds a slab for a request of any size in as many steps as the tree has
 * levels, or learns that there is none, and requests that don't fit into a slab
 * find their place the same way.  gen_pool can only look at one bit after the
 * other, from the first one: what takes its time there isn't needed here.
 *
 * What a CPU has isn't lost to others.  Whoever finds nothing in the tree looks
 * into the slabs of the other CPUs, and at last takes from all CPUs all they keep
 * and own, so that what is contiguous can be seen to be.
 *
 * Each page has a mark, which says what allocation begins there.  A free that
 * doesn't fit the mark is refused, and of several frees of the same memory only
 * one can change the mark.
 *
 * Requests smaller than a page share pages with one another, and with nothing
 * else.
 *
 * Invariants, for p2pdma_pool_check():
 *
 *   1. Pages are used, as far as their slab's bitmap knows, that are allocated or
 *      kept by a CPU.
 *   2. A slab that is owned has no free pages as far as the tree knows; of any
 *      other one the leaf says what the bitmap says.
 *   3. The bitmap of a slab without owners changes under the pool's lock only;
 *      else the slab's lock will do.
 *   4. The pages allocated, over all slabs, are those the CPUs have counted.
 */

#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/bug.h>
#include <linux/cache.h>
#include <linux/cleanup.h>
#include <linux/cpuhotplug.h>
#include <linux/cpumask.h>
#include <linux/init.h>
#include <linux/irqflags.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/log2.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/percpu.h>
#include <linux/pfn.h>
#include <linux/ratelimit.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <kunit/static_stub.h>
#include <kunit/visibility.h>

#include "p2pdma.h"

#define P2PDMA_SLAB_PAGES	512
#define P2PDMA_SLAB_WORDS	(P2PDMA_SLAB_PAGES / BITS_PER_LONG)
#define P2PDMA_SLAB_SIZE	((size_t)P2PDMA_SLAB_PAGES << PAGE_SHIFT)

/* Larger requests have a slab of their own, so as not to break up each other. */
#define P2PDMA_FEW_PAGES	16

/* 128 KiB in pages of 4 KiB: larger requests are rare and costly anyway. */
#define P2PDMA_KEPT_PAGES	32

/* Requests smaller than a page are multiples of this. */
#define P2PDMA_PART_SIZE	(PAGE_SIZE / BITS_PER_LONG)

/*
 * What begins at a page: nothing, an allocation of so many pages, or one of the
 * others.  For a large allocation, the marks of the next pages are the number of
 * its pages, the lowest digit first: P2PDMA_MARK_DIGIT and 7 bits each.  Other
 * pages inside an allocation have no mark.
 */
typedef u8 p2pdma_mark;

enum {
	P2PDMA_MARK_NONE,
	P2PDMA_MARK_PAGES	= 125,	/* the most pages that a mark can tell */
	P2PDMA_MARK_PARTS,		/* a page that is shared */
	P2PDMA_MARK_LARGE,
	P2PDMA_MARK_DIGIT,
	P2PDMA_MARK_DIGITS	= 5,
};

/* What is allocated of one page that is shared, by P2PDMA_PART_SIZE */
struct p2pdma_parts {
	unsigned long used;		/* 0: the page isn't shared */
	unsigned long joined;		/* to the part before */
};

struct p2pdma_slab {
	raw_spinlock_t lock;		/* innermost */
	unsigned int owners;		/* written under the pool's lock too */
	unsigned int first_word;	/* of @used that isn't full, or one before */
	unsigned int shared_page;	/* where parts were last taken or freed */
	struct p2pdma_chunk *chunk;
	void *start;
	p2pdma_mark *marks;		/* of the chunk, from this slab on */
	struct p2pdma_parts *parts;	/* by page; NULL: none was wanted yet */
	unsigned long used[P2PDMA_SLAB_WORDS];
} ____cacheline_aligned;

/* Runs of free pages in a slab, or in all slabs below a node of the tree */
struct p2pdma_runs {
	unsigned int prefix;		/* the one it begins with */
	unsigned int suffix;		/* the one it ends with */
	unsigned int longest;
	unsigned int in_slab;		/* the longest in any single slab */
};

struct p2pdma_chunk {
	struct p2pdma_pool *pool;
	struct list_head node;		/* in p2pdma_pool::chunks */
	void *owner;
	void *start;
	size_t size;			/* in bytes */
	p2pdma_mark *marks;		/* by page */
	/*
	 * Node 1 is the root, those below node i are 2 i and 2 i + 1.  The
	 * leaves are a power of two, so that all are on one level; those that
	 * there is no slab for have no free pages.
	 */
	struct p2pdma_runs *tree;
	unsigned int leaves;
	unsigned int num_slabs;
	struct p2pdma_slab slabs[] __counted_by(num_slabs);
};

enum { P2PDMA_FEW, P2PDMA_MANY, P2PDMA_OWN_SLABS };

/* What one CPU has of a pool */
struct p2pdma_cache {
	/* By the number of pages; exchanged by anybody, without a lock */
	void *kept[P2PDMA_KEPT_PAGES + 1];
	/* Read by itself, without a lock; written by all, under the pool's */
	struct p2pdma_slab *slabs[P2PDMA_OWN_SLABS];
	long used;			/* pages taken by this CPU, less those freed */
};

struct p2pdma_pool {
	/* What every allocation reads, and hardly anything writes */
	struct p2pdma_chunk *first;	/* of @chunks: mostly the only one */
	struct p2pdma_cache __percpu *caches;	/* NULL: no chunk yet */
	size_t size;			/* in bytes */
	int nid;
	struct hlist_node node;		/* in the CPU hotplug state */

	/* Of the trees, and who owns which slab */
	raw_spinlock_t lock ____cacheline_aligned_in_smp;
	struct list_head chunks;
};

static enum cpuhp_state p2pdma_pool_hotplug;	/* 0: there is none */

/* ---- Words and bitmaps ---- */

/* Where in @free are @count bits in a row?  One bit for each place. */
static __always_inline unsigned long word_runs(unsigned long free,
					       unsigned int count)
{
	unsigned int length = 1, step;

	if (count > BITS_PER_LONG)
		return 0;
	/* From here, a bit stands for a run of @length from there on. */
	while (free && length < count) {
		step = min(length, count - length);
		free &= free >> step;
		length += step;
	}
	return free;
}

static noinline unsigned int slab_search(struct p2pdma_slab *slab,
					 unsigned int pages)
{
	unsigned int word, here, open = 0;
	unsigned long used, places;

	for (word = slab->first_word; word < P2PDMA_SLAB_WORDS - 1; word++) {
		if (slab->used[word] != ~0UL)
			break;
	}
	slab->first_word = word;

	/* open: free pages at the end of the words before */
	for (; word < P2PDMA_SLAB_WORDS; word++) {
		used = slab->used[word];
		here = used ? __ffs(used) : BITS_PER_LONG;
		open += here;
		if (open >= pages)
			return word * BITS_PER_LONG + here - open;
		if (!used)
			continue;

		places = word_runs(~used, pages);
		if (places)
			return word * BITS_PER_LONG + __ffs(places);
		open = BITS_PER_LONG - 1 - __fls(used);
	}
	return P2PDMA_SLAB_PAGES;
}

/* First of @pages free pages in a row, or P2PDMA_SLAB_PAGES */
static __always_inline unsigned int slab_find(struct p2pdma_slab *slab,
					      unsigned int pages)
{
	unsigned int word = slab->first_word;
	unsigned long places = word_runs(~slab->used[word], pages);

	return likely(places) ? word * BITS_PER_LONG + __ffs(places) :
				slab_search(slab, pages);
}

/* The longest run that begins and ends in one word, if longer than @longest */
static unsigned int word_longest(unsigned long free, unsigned int longest)
{
	unsigned long places;

	for (places = word_runs(free, longest + 1); places;
	     places &= free >> longest)
		longest++;
	return longest;
}

/* What the leaf of a slab has to say about its bitmap */
static struct p2pdma_runs slab_runs(struct p2pdma_slab *slab)
{
	struct p2pdma_runs runs = { };
	unsigned int word, open = 0;
	bool begun = false;		/* there was a used page */
	unsigned long used;

	for (word = 0; word < P2PDMA_SLAB_WORDS; word++) {
		used = slab->used[word];
		if (!used) {
			open += BITS_PER_LONG;
			continue;
		}
		open += __ffs(used);
		if (!begun)
			runs.prefix = open;
		begun = true;
		runs.longest = max(runs.longest, open);
		if (used != ~0UL)
			runs.longest = word_longest(~used, runs.longest);
		open = BITS_PER_LONG - 1 - __fls(used);
	}
	if (!begun)
		runs.prefix = open;
	runs.suffix = open;
	runs.longest = max(runs.longest, open);
	runs.in_slab = runs.longest;
	return runs;
}

static __always_inline void slab_set(struct p2pdma_slab *slab, unsigned int at,
				     unsigned int pages)
{
	if (likely(at % BITS_PER_LONG + pages <= BITS_PER_LONG))
		slab->used[at / BITS_PER_LONG] |=
			BITMAP_LAST_WORD_MASK(pages) << (at % BITS_PER_LONG);
	else
		bitmap_set(slab->used, at, pages);
}

static __always_inline void slab_clear(struct p2pdma_slab *slab, unsigned int at,
				       unsigned int pages)
{
	if (likely(at % BITS_PER_LONG + pages <= BITS_PER_LONG))
		slab->used[at / BITS_PER_LONG] &=
			~(BITMAP_LAST_WORD_MASK(pages) << (at % BITS_PER_LONG));
	else
		bitmap_clear(slab->used, at, pages);
	slab->first_word = min(slab->first_word, at / BITS_PER_LONG);
}

/* ---- The tree ---- */

static struct p2pdma_runs join_runs(const struct p2pdma_runs *left,
				    const struct p2pdma_runs *right,
				    unsigned int half)
{
	unsigned int across = left->suffix + right->prefix;

	return (struct p2pdma_runs) {
		.prefix = left->prefix < half ? left->prefix : across,
		.suffix = right->suffix < half ? right->suffix : across,
		.longest = max3(left->longest, right->longest, across),
		.in_slab = max(left->in_slab, right->in_slab),
	};
}

static bool same_runs(const struct p2pdma_runs *a, const struct p2pdma_runs *b)
{
	return a->prefix == b->prefix && a->suffix == b->suffix &&
	       a->longest == b->longest && a->in_slab == b->in_slab;
}

/* The leaves of some slabs have changed: tell the nodes above them */
static void chunk_update(struct p2pdma_chunk *chunk, unsigned int first,
			 unsigned int last)
{
	unsigned int half = P2PDMA_SLAB_PAGES, node;
	struct p2pdma_runs runs;
	bool changed = true;

	first += chunk->leaves;
	last += chunk->leaves;
	for (; changed && first > 1; half *= 2) {
		first /= 2;
		last /= 2;
		changed = false;
		for (node = first; node <= last; node++) {
			runs = join_runs(&chunk->tree[2 * node],
					 &chunk->tree[2 * node + 1], half);
			if (same_runs(&runs, &chunk->tree[node]))
				continue;
			chunk->tree[node] = runs;
			changed = true;
		}
	}
}

/* The first slab with @pages free pages in a row, or NULL */
static struct p2pdma_slab *chunk_find_slab(struct p2pdma_chunk *chunk,
					   unsigned int pages)
{
	const struct p2pdma_runs *tree = chunk->tree;
	unsigned int node = 1;

	if (tree[node].in_slab < pages)
		return NULL;
	while (node < chunk->leaves) {
		node *= 2;
		if (tree[node].in_slab < pages)
			node++;
	}
	return &chunk->slabs[node - chunk->leaves];
}

/* Where are @pages free pages in a row?  False: nowhere */
static bool chunk_find_run(struct p2pdma_chunk *chunk, size_t pages,
			   size_t *start)
{
	size_t half = (size_t)chunk->leaves * P2PDMA_SLAB_PAGES;
	const struct p2pdma_runs *tree = chunk->tree;
	unsigned int node = 1;

	lockdep_assert_held(&chunk->pool->lock);
	if (tree[node].longest < pages)
		return false;

	*start = 0;
	while (node < chunk->leaves) {
		node *= 2;
		half /= 2;
		if (tree[node].longest >= pages)
			continue;
		if (tree[node].suffix + tree[node + 1].prefix >= pages) {
			*start += half - tree[node].suffix;
			return true;
		}
		*start += half;
		node++;
	}
	/* It has no owner, so that the pool's lock is enough for its bitmap. */
	*start += slab_find(&chunk->slabs[node - chunk->leaves], pages);
	return true;
}

/* ---- Who owns which slab ---- */

/* Write down in its leaf what a slab has for anybody */
static void slab_to_tree(struct p2pdma_slab *slab)
{
	struct p2pdma_chunk *chunk = slab->chunk;
	unsigned int index = slab - chunk->slabs;
	struct p2pdma_runs *leaf = &chunk->tree[chunk->leaves + index];

	lockdep_assert_held(&chunk->pool->lock);
	lockdep_assert_held(&slab->lock);
	*leaf = slab->owners ? (struct p2pdma_runs) { } : slab_runs(slab);
}

static void slab_update(struct p2pdma_slab *slab)
{
	unsigned int index = slab - slab->chunk->slabs;

	slab_to_tree(slab);
	chunk_update(slab->chunk, index, index);
}

static void cache_drop(struct p2pdma_cache *cache, int own)
{
	struct p2pdma_slab *slab = cache->slabs[own];

	if (!slab)
		return;
	lockdep_assert_held(&slab->chunk->pool->lock);
	WRITE_ONCE(cache->slabs[own], NULL);
	guard(raw_spinlock)(&slab->lock);
	if (!--slab->owners)
		slab_update(slab);
}

static void cache_own(struct p2pdma_cache *cache, int own,
		      struct p2pdma_slab *slab)
{
	cache_drop(cache, own);
	WRITE_ONCE(cache->slabs[own], slab);
	guard(raw_spinlock)(&slab->lock);
	if (!slab->owners++)
		slab_update(slab);
}

/* The chunk that an address of the pool lies in; none goes before the pool does */
static struct p2pdma_chunk *pool_chunk(struct p2pdma_pool *pool, void *addr)
{
	struct p2pdma_chunk *chunk = READ_ONCE(pool->first);

	if (likely((size_t)(addr - chunk->start) < chunk->size))
		return chunk;
	list_for_each_entry_lockless(chunk, &pool->chunks, node) {
		if ((size_t)(addr - chunk->start) < chunk->size)
			break;
	}
	return chunk;
}

static struct p2pdma_slab *chunk_slab(struct p2pdma_chunk *chunk, size_t page)
{
	return &chunk->slabs[page / P2PDMA_SLAB_PAGES];
}

/* Set or clear pages, in several slabs if need be, of which some may be owned */
static void chunk_change(struct p2pdma_chunk *chunk, size_t page, size_t pages,
			 void (*change)(struct p2pdma_slab *slab,
					unsigned int at, unsigned int pages))
{
	struct p2pdma_slab *slab = chunk_slab(chunk, page);
	size_t at = page % P2PDMA_SLAB_PAGES, here;

	lockdep_assert_held(&chunk->pool->lock);
	for (; pages; pages -= here, at = 0, slab++) {
		here = min(pages, P2PDMA_SLAB_PAGES - at);
		guard(raw_spinlock)(&slab->lock);
		change(slab, at, here);
		slab_to_tree(slab);
	}
	chunk_update(chunk, page / P2PDMA_SLAB_PAGES, slab - chunk->slabs - 1);
}

/*
 * Take from a CPU all that it keeps or owns.  It may be dead: a task can put a
 * piece there that ran on it before.  True where it kept anything.
 */
static bool pool_drop_cpu(struct p2pdma_pool *pool, unsigned int cpu)
{
	struct p2pdma_cache *cache = per_cpu_ptr(pool->caches, cpu);
	struct p2pdma_chunk *chunk;
	bool kept = false;
	unsigned int i;
	void *addr;

	for (i = 1; i <= P2PDMA_KEPT_PAGES; i++) {
		addr = READ_ONCE(cache->kept[i]) ? xchg(&cache->kept[i], NULL) :
						   NULL;
		if (!addr)
			continue;
		chunk = pool_chunk(pool, addr);
		chunk_change(chunk, (addr - chunk->start) >> PAGE_SHIFT, i,
			     slab_clear);
		kept = true;
	}
	for (i = 0; i < P2PDMA_OWN_SLABS; i++)
		cache_drop(cache, i);
	return kept;
}

/* ---- Allocating ---- */

/* Allocate in one slab, if it is owned, by whomever, and has that much */
static __always_inline void *slab_alloc(struct p2pdma_slab *slab,
					unsigned int pages)
{
	unsigned int at;

	guard(raw_spinlock)(&slab->lock);
	if (unlikely(!slab->owners))
		return NULL;
	at = slab_find(slab, pages);
	if (at == P2PDMA_SLAB_PAGES)
		return NULL;
	slab_set(slab, at, pages);
	return slab->start + ((size_t)at << PAGE_SHIFT);
}

/* Allocate without owning anything, across slabs if need be */
static void *pool_alloc_run(struct p2pdma_pool *pool, size_t pages,
			    struct p2pdma_chunk **from)
{
	struct p2pdma_chunk *chunk;
	size_t page;

	list_for_each_entry(chunk, &pool->chunks, node) {
		if (!chunk_find_run(chunk, pages, &page))
			continue;
		chunk_change(chunk, page, pages, slab_set);
		*from = chunk;
		return chunk->start + (page << PAGE_SHIFT);
	}
	return NULL;
}

/* Allocate in a slab that nobody owns, and own it */
static void *pool_alloc_in_slab(struct p2pdma_pool *pool,
				struct p2pdma_cache *cache, int own,
				unsigned int pages, struct p2pdma_chunk **from)
{
	struct p2pdma_chunk *chunk;
	struct p2pdma_slab *slab;
	void *addr;

	cache_drop(cache, own);
	list_for_each_entry(chunk, &pool->chunks, node) {
		slab = chunk_find_slab(chunk, pages);
		if (!slab)
			continue;
		cache_own(cache, own, slab);
		/* A CPU that has owned it before may be quicker. */
		addr = slab_alloc(slab, pages);
		if (addr) {
			*from = chunk;
			return addr;
		}
	}
	return NULL;
}

/* Allocate in a slab that other CPUs own, and own it as well */
static void *pool_alloc_others(struct p2pdma_pool *pool,
			       struct p2pdma_cache *cache, int own,
			       unsigned int pages, struct p2pdma_chunk **from)
{
	struct p2pdma_slab *slab;
	unsigned int cpu;
	void *addr;
	int i;

	for_each_possible_cpu(cpu) {
		for (i = 0; i < P2PDMA_OWN_SLABS; i++) {
			slab = per_cpu_ptr(pool->caches, cpu)->slabs[i];
			addr = slab ? slab_alloc(slab, pages) : NULL;
			if (!addr)
				continue;
			cache_own(cache, own, slab);
			*from = slab->chunk;
			return addr;
		}
	}
	return NULL;
}

/* Take all that CPUs keep and own, so that what is free can be seen. */
static void *pool_alloc_last(struct p2pdma_pool *pool, size_t pages,
			     struct p2pdma_chunk **from)
{
	unsigned int cpu, tries = 3;
	void *addr = NULL;
	bool kept = true;

	/* What a CPU kept may come to another one behind our back. */
	while (!addr && kept && tries--) {
		kept = false;
		for_each_possible_cpu(cpu)
			kept |= pool_drop_cpu(pool, cpu);
		addr = pool_alloc_run(pool, pages, from);
	}
	return addr;
}

/* The slab that this CPU owns, if any, has no place for them. */
static noinline void *pool_search(struct p2pdma_pool *pool,
				  struct p2pdma_cache *cache, int own,
				  size_t pages, struct p2pdma_chunk **from)
{
	bool fits = pages <= P2PDMA_SLAB_PAGES;
	void *addr = NULL;

	if (pages > READ_ONCE(pool->size) >> PAGE_SHIFT)
		return NULL;

	guard(raw_spinlock)(&pool->lock);

	if (fits)
		addr = pool_alloc_in_slab(pool, cache, own, pages, from);
	if (!addr)
		addr = pool_alloc_run(pool, pages, from);
	if (!addr && fits)
		addr = pool_alloc_others(pool, cache, own, pages, from);
	if (!addr)
		addr = pool_alloc_last(pool, pages, from);
	return addr;
}

/* Which of its slabs a CPU uses for so many pages */
static int which_slab(size_t pages)
{
	return pages > P2PDMA_FEW_PAGES ? P2PDMA_MANY : P2PDMA_FEW;
}

/* Allocate whole pages, without a mark */
static __always_inline void *pool_take(struct p2pdma_pool *pool, size_t pages,
				       struct p2pdma_chunk **from)
{
	int own = which_slab(pages);
	struct p2pdma_cache *cache;
	struct p2pdma_slab *slab;
	unsigned long flags;
	void *addr = NULL;

	local_irq_save(flags);
	cache = this_cpu_ptr(pool->caches);
	slab = READ_ONCE(cache->slabs[own]);
	if (likely(slab && pages <= P2PDMA_SLAB_PAGES)) {
		*from = slab->chunk;
		addr = slab_alloc(slab, pages);
	}
	if (unlikely(!addr))
		addr = pool_search(pool, cache, own, pages, from);
	local_irq_restore(flags);
	return addr;
}

/* ---- Freeing ---- */

/* Let this CPU own a slab */
static noinline void slab_adopt(struct p2pdma_slab *slab, int own)
{
	struct p2pdma_pool *pool = slab->chunk->pool;

	guard(raw_spinlock)(&pool->lock);
	cache_own(this_cpu_ptr(pool->caches), own, slab);
}

/* Lock a slab; without an owner it becomes this CPU's, so that it may change */
static __always_inline void slab_lock(struct p2pdma_slab *slab, int own)
	__acquires(&slab->lock)
{
	raw_spin_lock(&slab->lock);
	while (unlikely(!slab->owners)) {
		raw_spin_unlock(&slab->lock);
		slab_adopt(slab, own);
		raw_spin_lock(&slab->lock);
	}
}

/* Free whole pages that have no mark any more */
static __always_inline void chunk_give(struct p2pdma_chunk *chunk, size_t page,
				       size_t pages)
{
	struct p2pdma_slab *slab = chunk_slab(chunk, page);
	unsigned int at = page % P2PDMA_SLAB_PAGES;
	unsigned long flags;

	local_irq_save(flags);
	if (likely(at + pages <= P2PDMA_SLAB_PAGES)) {
		slab_lock(slab, which_slab(pages));
		slab_clear(slab, at, pages);
		raw_spin_unlock(&slab->lock);
	} else {
		guard(raw_spinlock)(&chunk->pool->lock);
		chunk_change(chunk, page, pages, slab_clear);
	}
	local_irq_restore(flags);
}

static const char p2pdma_foreign[] = "it isn't of this memory";
static const char p2pdma_not_allocated[] = "nothing that is allocated begins there";
static const char p2pdma_other_size[] = "it was allocated with another size";

static p2pdma_mark mark_digit(size_t pages, unsigned int i)
{
	return P2PDMA_MARK_DIGIT | (pages >> (7 * i) & (P2PDMA_MARK_DIGIT - 1));
}

static __always_inline void chunk_mark(struct p2pdma_chunk *chunk, size_t page,
				       size_t pages)
{
	p2pdma_mark *mark = &chunk->marks[page];
	unsigned int i;

	if (likely(pages <= P2PDMA_MARK_PAGES)) {
		WRITE_ONCE(*mark, pages);
		return;
	}
	for (i = 0; i < P2PDMA_MARK_DIGITS; i++)
		WRITE_ONCE(mark[i + 1], mark_digit(pages, i));
	WRITE_ONCE(*mark, P2PDMA_MARK_LARGE);
}

static bool has_digits(const p2pdma_mark *mark, size_t pages)
{
	unsigned int i;

	for (i = 0; i < P2PDMA_MARK_DIGITS; i++) {
		if (READ_ONCE(mark[i + 1]) != mark_digit(pages, i))
			return false;
	}
	return true;
}

static noinline const char *chunk_unmark_large(struct p2pdma_chunk *chunk,
					       size_t page, size_t pages)
{
	p2pdma_mark *mark = &chunk->marks[page];
	p2pdma_mark found = READ_ONCE(*mark);
	unsigned int i;

	if (found == P2PDMA_MARK_NONE || found & P2PDMA_MARK_DIGIT)
		return p2pdma_not_allocated;
	if (found != P2PDMA_MARK_LARGE || !has_digits(mark, pages))
		return p2pdma_other_size;
	if (!try_cmpxchg(mark, &found, P2PDMA_MARK_NONE))
		return p2pdma_not_allocated;	/* any more */
	/* It may have been freed, and another one be there by then. */
	if (!has_digits(mark, pages)) {
		WRITE_ONCE(*mark, P2PDMA_MARK_LARGE);
		return p2pdma_other_size;
	}
	for (i = 0; i < P2PDMA_MARK_DIGITS; i++)
		WRITE_ONCE(mark[i + 1], P2PDMA_MARK_NONE);
	return NULL;
}

/*
 * Take the mark off an allocation.  Of several calls for the same one, only one
 * succeeds.  NULL, or what is wrong.
 */
static __always_inline const char *chunk_unmark(struct p2pdma_chunk *chunk,
						size_t page, size_t pages)
{
	p2pdma_mark mark = pages;

	if (unlikely(pages > P2PDMA_MARK_PAGES))
		return chunk_unmark_large(chunk, page, pages);
	if (likely(try_cmpxchg(&chunk->marks[page], &mark, P2PDMA_MARK_NONE)))
		return NULL;
	return mark == P2PDMA_MARK_NONE || mark & P2PDMA_MARK_DIGIT ?
		p2pdma_not_allocated : p2pdma_other_size;
}

static void *slab_take_part(struct p2pdma_slab *slab, unsigned int page,
			    unsigned int first, unsigned int count)
{
	unsigned long mask = BITMAP_LAST_WORD_MASK(count) << first;

	lockdep_assert_held(&slab->lock);
	slab->shared_page = page;
	slab->parts[page].used |= mask;
	slab->parts[page].joined |= mask & (mask << 1);
	return slab->start + ((size_t)page << PAGE_SHIFT) +
	       first * P2PDMA_PART_SIZE;
}

/* Allocate a part of a page that is shared already, or of a new one */
static void *slab_alloc_part(struct p2pdma_slab *slab, unsigned int count,
			     struct p2pdma_cache *cache)
{
	unsigned long used, places;
	unsigned int page;

	guard(raw_spinlock)(&slab->lock);
	if (!slab->owners || !slab->parts)
		return NULL;

	page = slab->shared_page;
	used = slab->parts[page].used;
	places = used ? word_runs(~used, count) : 0;
	if (!places) {
		page = slab_find(slab, 1);
		if (page == P2PDMA_SLAB_PAGES)
			return NULL;
		slab_set(slab, page, 1);
		WRITE_ONCE(slab->marks[page], P2PDMA_MARK_PARTS);
		WRITE_ONCE(cache->used, cache->used + 1);
		places = 1;
	}
	return slab_take_part(slab, page, __ffs(places), count);
}

/*
 * Let others share a page that was taken, beyond its first parts.  False without
 * memory to note that: all of it is its owner's then.
 */
static bool chunk_share(struct p2pdma_chunk *chunk, size_t page,
			unsigned int count)
{
	struct p2pdma_slab *slab = chunk_slab(chunk, page);
	unsigned int at = page % P2PDMA_SLAB_PAGES;
	struct p2pdma_parts *parts = NULL;

	if (!READ_ONCE(slab->parts)) {
		parts = kcalloc_node(P2PDMA_SLAB_PAGES, sizeof(*parts),
				     GFP_NOWAIT | __GFP_NOWARN,
				     chunk->pool->nid);
		if (!parts)
			return false;
	}

	scoped_guard(raw_spinlock_irqsave, &slab->lock) {
		if (!slab->parts) {
			WRITE_ONCE(slab->parts, parts);
			parts = NULL;
		}
		slab_take_part(slab, at, 0, count);
		WRITE_ONCE(slab->marks[at], P2PDMA_MARK_PARTS);
	}
	kfree(parts);
	return true;
}

/* Allocate a part of any page that is shared, without owning the slab */
static void *slab_alloc_last_part(struct p2pdma_slab *slab, unsigned int count)
{
	unsigned long places;
	unsigned int page;

	guard(raw_spinlock_irqsave)(&slab->lock);
	for (page = 0; slab->parts && page < P2PDMA_SLAB_PAGES; page++) {
		if (!slab->parts[page].used)
			continue;
		places = word_runs(~slab->parts[page].used, count);
		if (places)
			return slab_take_part(slab, page, __ffs(places), count);
	}
	return NULL;
}

/* No page is free: look at all that are shared. */
static void *pool_alloc_last_part(struct p2pdma_pool *pool, unsigned int count,
				  struct p2pdma_chunk **from)
{
	struct p2pdma_chunk *chunk;
	unsigned int i;
	void *addr;

	list_for_each_entry_lockless(chunk, &pool->chunks, node) {
		for (i = 0; i < chunk->num_slabs; i++) {
			if (!READ_ONCE(chunk->slabs[i].parts))
				continue;
			addr = slab_alloc_last_part(&chunk->slabs[i], count);
			if (addr) {
				*from = chunk;
				return addr;
			}
		}
	}
	return NULL;
}

/* The slab that this CPU owns may have no place for parts: any page has. */
static noinline void *pool_alloc_part(struct p2pdma_pool *pool, size_t size,
				      struct p2pdma_chunk **from)
{
	unsigned int count = DIV_ROUND_UP(size, P2PDMA_PART_SIZE);
	struct p2pdma_cache *cache;
	struct p2pdma_slab *slab;
	unsigned long flags;
	void *addr = NULL;
	size_t page;

	local_irq_save(flags);
	cache = this_cpu_ptr(pool->caches);
	slab = READ_ONCE(cache->slabs[P2PDMA_FEW]);
	if (likely(slab)) {
		*from = slab->chunk;
		addr = slab_alloc_part(slab, count, cache);
	}
	local_irq_restore(flags);
	if (likely(addr))
		return addr;

	addr = pool_take(pool, 1, from);
	if (!addr)
		return pool_alloc_last_part(pool, count, from);

	page = (addr - (*from)->start) >> PAGE_SHIFT;
	if (!chunk_share(*from, page, count))
		WRITE_ONCE((*from)->marks[page], 1);
	this_cpu_inc(pool->caches->used);
	return addr;
}

/* Free a part of a page that may be shared.  NULL, or what is wrong. */
static const char *slab_free_part(struct p2pdma_slab *slab, unsigned int page,
				  unsigned int first, unsigned int count,
				  struct p2pdma_cache *cache)
{
	struct p2pdma_parts *parts = &slab->parts[page];
	unsigned long mask = BITMAP_LAST_WORD_MASK(count) << first;

	lockdep_assert_held(&slab->lock);
	if (READ_ONCE(slab->marks[page]) != P2PDMA_MARK_PARTS)
		return p2pdma_not_allocated;	/* any more */
	if (!(parts->used & BIT(first)) || (parts->joined & BIT(first)))
		return p2pdma_not_allocated;
	/* With the part after them, which mustn't be joined to these */
	if (first + count > BITS_PER_LONG ||
	    (parts->joined & (mask | mask << 1)) != (mask & mask << 1))
		return p2pdma_other_size;

	parts->used &= ~mask;
	parts->joined &= ~mask;
	slab->shared_page = page;
	if (!parts->used) {
		WRITE_ONCE(slab->marks[page], P2PDMA_MARK_NONE);
		WRITE_ONCE(cache->used, cache->used - 1);
		slab_clear(slab, page, 1);
	}
	return NULL;
}

static noinline const char *chunk_free_part(struct p2pdma_chunk *chunk,
					    size_t offset, size_t size)
{
	unsigned int count = DIV_ROUND_UP(size, P2PDMA_PART_SIZE);
	unsigned int first = offset_in_page(offset) / P2PDMA_PART_SIZE;
	struct p2pdma_slab *slab = chunk_slab(chunk, offset >> PAGE_SHIFT);
	unsigned long flags;
	const char *wrong;

	if (offset % P2PDMA_PART_SIZE)
		return p2pdma_not_allocated;

	local_irq_save(flags);
	slab_lock(slab, P2PDMA_FEW);
	wrong = slab_free_part(slab, (offset >> PAGE_SHIFT) % P2PDMA_SLAB_PAGES,
			       first, count, this_cpu_ptr(chunk->pool->caches));
	raw_spin_unlock(&slab->lock);
	local_irq_restore(flags);
	return wrong;
}

/* ---- What the rest of P2PDMA calls ---- */

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

	raw_spin_lock_init(&pool->lock);
	INIT_LIST_HEAD(&pool->chunks);
	pool->nid = nid;
	return pool;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_create);

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

static void chunk_destroy(struct p2pdma_chunk *chunk)
{
	unsigned int i;

	for (i = 0; i < chunk->num_slabs; i++)
		kfree(chunk->slabs[i].parts);
	kvfree(chunk->marks);
	kvfree(chunk->tree);
	kvfree(chunk);
}

/**
 * p2pdma_pool_destroy - undo p2pdma_pool_create()
 * @pool: pool with nothing allocated from it
 *
 * Context: may sleep.  Nobody else may use the pool any more.
 */
void p2pdma_pool_destroy(struct p2pdma_pool *pool)
{
	struct p2pdma_chunk *chunk, *next;

	if (!hlist_unhashed(&pool->node))
		cpuhp_state_remove_instance_nocalls(p2pdma_pool_hotplug,
						    &pool->node);
	free_percpu(pool->caches);
	list_for_each_entry_safe(chunk, next, &pool->chunks, node)
		chunk_destroy(chunk);
	kfree(pool);
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_destroy);

/* Have CPUs own slabs of it; not before there are any, as most have none */
static int pool_start(struct p2pdma_pool *pool)
{
	struct p2pdma_cache __percpu *caches = alloc_percpu(struct p2pdma_cache);

	if (!caches)
		return -ENOMEM;
	/* Whoever sees them sees them empty. */
	smp_store_release(&pool->caches, caches);
	if (p2pdma_pool_hotplug)
		cpuhp_state_add_instance_nocalls(p2pdma_pool_hotplug,
						 &pool->node);
	return 0;
}

/**
 * p2pdma_pool_add - give a chunk of memory to a pool
 * @pool: the pool
 * @addr: start of the chunk, page aligned
 * @size: bytes, a multiple of PAGE_SIZE
 * @owner: what p2pdma_pool_alloc() is to return with memory of this chunk
 * @new: where to put the chunk, which lives as long as @pool; it is there
 *	before anybody gets memory of it
 *
 * An allocation never lies in more than one chunk.
 *
 * Context: may sleep; allocations may go on meanwhile, but no other call of
 * this function.
 * Return: 0; -EINVAL @size is 0, or 2^31 pages or more; -ENOMEM no memory to
 * keep account of it.  The pool is as before then.
 */
int p2pdma_pool_add(struct p2pdma_pool *pool, void *addr, size_t size,
		    void *owner, struct p2pdma_chunk **new)
{
	unsigned int count = DIV_ROUND_UP(size, P2PDMA_SLAB_SIZE), i;
	size_t rest = (size >> PAGE_SHIFT) % P2PDMA_SLAB_PAGES;
	struct p2pdma_chunk *chunk;

	/* In the tree, sizes are unsigned int. */
	if (!size || size >> PAGE_SHIFT >= BIT(31))
		return -EINVAL;
	if (!pool->caches && pool_start(pool))
		return -ENOMEM;

	chunk = kvzalloc_node(struct_size(chunk, slabs, count), GFP_KERNEL,
			      pool->nid);
	if (!chunk)
		return -ENOMEM;
	chunk->num_slabs = count;
	chunk->leaves = roundup_pow_of_two(count);
	chunk->tree = kvcalloc_node(2 * chunk->leaves, sizeof(*chunk->tree),
				    GFP_KERNEL, pool->nid);
	chunk->marks = kvzalloc_node(size >> PAGE_SHIFT, GFP_KERNEL, pool->nid);
	if (!chunk->tree || !chunk->marks) {
		chunk_destroy(chunk);
		return -ENOMEM;
	}

	chunk->pool = pool;
	chunk->owner = owner;
	chunk->start = addr;
	chunk->size = size;
	for (i = 0; i < count; i++) {
		raw_spin_lock_init(&chunk->slabs[i].lock);
		chunk->slabs[i].chunk = chunk;
		chunk->slabs[i].start = addr + i * P2PDMA_SLAB_SIZE;
		chunk->slabs[i].marks = chunk->marks + i * P2PDMA_SLAB_PAGES;
	}
	if (rest)
		slab_set(&chunk->slabs[count - 1], rest,
			 P2PDMA_SLAB_PAGES - rest);
	for (i = 0; i < count; i++)
		chunk->tree[chunk->leaves + i] = slab_runs(&chunk->slabs[i]);
	chunk_update(chunk, 0, count - 1);

	*new = chunk;
	guard(raw_spinlock_irqsave)(&pool->lock);
	list_add_tail_rcu(&chunk->node, &pool->chunks);
	/* Whoever has memory of it sees the rest, from a slab's lock on. */
	if (!pool->first)
		WRITE_ONCE(pool->first, chunk);
	WRITE_ONCE(pool->size, pool->size + size);
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
	/* Whoever gets it sees what it points to. */
	smp_store_release(&chunk->owner, owner);
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_set_owner);

/* What p2pdma_pool_alloc() has no piece kept for */
static noinline void *pool_alloc(struct p2pdma_pool *pool, size_t size,
				 void **owner)
{
	size_t pages = size / PAGE_SIZE + !!offset_in_page(size);
	struct p2pdma_chunk *chunk;
	void *addr;

	if (!size || !READ_ONCE(pool->caches))
		return NULL;
	addr = size < PAGE_SIZE ? pool_alloc_part(pool, size, &chunk) :
				  pool_take(pool, pages, &chunk);
	if (!addr)
		return NULL;
	*owner = READ_ONCE(chunk->owner);
	if (size < PAGE_SIZE)
		return addr;	/* marked and counted */
	chunk_mark(chunk, (addr - chunk->start) >> PAGE_SHIFT, pages);
	this_cpu_add(pool->caches->used, pages);
	return addr;
}

/* Is this for a piece that CPUs keep?  Not 0, and not a part of a page */
static __always_inline bool is_kept_size(size_t size)
{
	return size - PAGE_SIZE <= (P2PDMA_KEPT_PAGES - 1) * PAGE_SIZE;
}

/**
 * p2pdma_pool_alloc - take contiguous memory out of a pool
 * @pool: the pool
 * @size: bytes; from a page on they are rounded up to whole pages, below that
 *	to multiples of a 64th of a page
 * @owner: where to put the owner of the chunk it lies in
 *
 * Memory of less than a page may share its page with other such memory.
 *
 * Context: any but NMI; never sleeps.  Less than a page not from hard interrupts
 * on PREEMPT_RT, where no memory can be allocated there.
 * Return: address, aligned to a page, or to a 64th for less than a page; NULL
 * where no chunk has that much in one piece, or @size is 0.
 */
void *p2pdma_pool_alloc(struct p2pdma_pool *pool, size_t size, void **owner)
{
	struct p2pdma_cache __percpu *caches = READ_ONCE(pool->caches);
	size_t pages = PFN_UP(size);
	struct p2pdma_chunk *chunk;
	void *addr;

	if (unlikely(!is_kept_size(size) || !caches))
		return pool_alloc(pool, size, owner);
	/* Whichever CPU this is by then: a piece can be had only once. */
	addr = xchg(&raw_cpu_ptr(caches)->kept[pages], NULL);
	if (unlikely(!addr))
		return pool_alloc(pool, size, owner);

	chunk = pool_chunk(pool, addr);
	WRITE_ONCE(chunk->marks[(addr - chunk->start) >> PAGE_SHIFT], pages);
	this_cpu_add(caches->used, pages);
	*owner = READ_ONCE(chunk->owner);
	return addr;
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
	size_t pages = size >> PAGE_SHIFT;
	struct p2pdma_chunk *chunk;
	void *addr;

	if (unlikely(!pages || !READ_ONCE(pool->caches)))
		return NULL;
	addr = pool_take(pool, pages, &chunk);
	if (unlikely(!addr))
		return NULL;
	/* Whoever frees these now is wrong anyway. */
	memset(&chunk->marks[(addr - chunk->start) >> PAGE_SHIFT], 1, pages);
	this_cpu_add(pool->caches->used, pages);
	*owner = READ_ONCE(chunk->owner);
	return addr;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_alloc_pages);

/* Free what a CPU kept */
static noinline void pool_give(struct p2pdma_pool *pool, void *addr,
			       size_t pages)
{
	struct p2pdma_chunk *chunk = pool_chunk(pool, addr);

	chunk_give(chunk, (addr - chunk->start) >> PAGE_SHIFT, pages);
}

/* What p2pdma_pool_free() doesn't do at once, or refuses */
static noinline bool pool_free(struct p2pdma_chunk *chunk, void *addr,
			       size_t size)
{
	size_t pages = size / PAGE_SIZE + !!offset_in_page(size);
	size_t offset = addr - chunk->start;
	size_t page = offset >> PAGE_SHIFT;
	const char *wrong;

	if (!size || offset >= chunk->size || size > chunk->size - offset) {
		wrong = p2pdma_foreign;
	} else if (size < PAGE_SIZE &&
		   READ_ONCE(chunk->marks[page]) == P2PDMA_MARK_PARTS) {
		wrong = chunk_free_part(chunk, offset, size);
		if (!wrong)
			return true;
	} else if (offset_in_page(offset)) {
		wrong = p2pdma_not_allocated;
	} else {
		wrong = chunk_unmark(chunk, page, pages);
	}
	if (unlikely(wrong)) {
		p2pdma_pool_warn(wrong, addr, size);
		return false;
	}
	this_cpu_sub(chunk->pool->caches->used, pages);
	if (pages <= P2PDMA_KEPT_PAGES) {
		addr = xchg(&raw_cpu_ptr(chunk->pool->caches)->kept[pages],
			    addr);
		if (addr)
			pool_give(chunk->pool, addr, pages);
	} else {
		chunk_give(chunk, page, pages);
	}
	return true;
}

/**
 * p2pdma_pool_free - give memory back
 * @chunk: where it lies
 * @addr: as it was allocated
 * @size: bytes, as allocated; PAGE_SIZE for those of p2pdma_pool_alloc_pages()
 *
 * What isn't allocated, or was with another address or size (as far as rounding
 * lets them differ), is refused with a warning, and nothing changes.
 *
 * Context: any but NMI; never sleeps.
 * Return: whether it was freed.
 */
bool p2pdma_pool_free(struct p2pdma_chunk *chunk, void *addr, size_t size)
{
	struct p2pdma_cache __percpu *caches = chunk->pool->caches;
	size_t offset = addr - chunk->start;
	p2pdma_mark mark = PFN_UP(size);
	size_t pages = mark;

	if (unlikely(!is_kept_size(size) || offset >= chunk->size ||
		     offset_in_page(offset)))
		return pool_free(chunk, addr, size);
	if (unlikely(!try_cmpxchg(&chunk->marks[offset >> PAGE_SHIFT], &mark,
				  P2PDMA_MARK_NONE)))
		return pool_free(chunk, addr, size);

	this_cpu_sub(caches->used, pages);
	addr = xchg(&raw_cpu_ptr(caches)->kept[pages], addr);
	if (unlikely(addr))
		pool_give(chunk->pool, addr, pages);
	return true;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_free);

/**
 * p2pdma_pool_size - how much memory a pool was given
 * @pool: the pool
 *
 * Context: any.
 * Return: bytes, allocated or not.
 */
size_t p2pdma_pool_size(struct p2pdma_pool *pool)
{
	return READ_ONCE(pool->size);
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_size);

/**
 * p2pdma_pool_available - how much memory of a pool is free
 * @pool: the pool
 *
 * A page that is shared isn't free.  What CPUs keep and own is.
 *
 * Context: any.
 * Return: bytes in whole pages, exact while nobody allocates or frees.
 */
size_t p2pdma_pool_available(struct p2pdma_pool *pool)
{
	struct p2pdma_cache __percpu *caches = READ_ONCE(pool->caches);
	long pages = READ_ONCE(pool->size) >> PAGE_SHIFT;
	long used = 0;
	unsigned int cpu;

	if (!caches)
		return 0;
	for_each_possible_cpu(cpu)
		used += READ_ONCE(per_cpu_ptr(caches, cpu)->used);
	/* Memory may have gone from a CPU to one that was counted before. */
	return (size_t)(pages - clamp(used, 0L, pages)) << PAGE_SHIFT;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_available);

#if IS_ENABLED(CONFIG_KUNIT)
/* Do the parts of a slab agree with each other, and with its leaf? */
static const char *slab_invalid(struct p2pdma_slab *slab, unsigned int owners)
{
	struct p2pdma_chunk *chunk = slab->chunk;
	struct p2pdma_runs runs = { };
	unsigned int i;

	if (slab->owners != owners)
		return "a slab's count of owners is wrong";
	if (!owners)
		runs = slab_runs(slab);
	if (!same_runs(&runs, &chunk->tree[chunk->leaves + (slab - chunk->slabs)]))
		return "a leaf says something else than its slab";
	for (i = 0; i < slab->first_word; i++) {
		if (slab->used[i] != ~0UL)
			return "a slab doesn't see its first free page";
	}
	for (i = 0; slab->parts && i < P2PDMA_SLAB_PAGES; i++) {
		if (slab->parts[i].joined & ~slab->parts[i].used)
			return "a free part is joined to the one before";
		if (slab->parts[i].used && slab->marks[i] != P2PDMA_MARK_PARTS)
			return "a shared page isn't marked";
	}
	return NULL;
}

/* How many CPUs own a slab? */
static unsigned int slab_owners(struct p2pdma_slab *slab)
{
	struct p2pdma_cache *cache;
	unsigned int cpu, owners = 0;

	for_each_possible_cpu(cpu) {
		cache = per_cpu_ptr(slab->chunk->pool->caches, cpu);
		owners += cache->slabs[P2PDMA_FEW] == slab;
		owners += cache->slabs[P2PDMA_MANY] == slab;
	}
	return owners;
}

/* Are the pages of an allocation, or of what a CPU keeps, used? */
static bool chunk_used(struct p2pdma_chunk *chunk, size_t page, size_t pages)
{
	for (; pages--; page++) {
		if (!test_bit(page % P2PDMA_SLAB_PAGES,
			      chunk_slab(chunk, page)->used))
			return false;
	}
	return true;
}

/* How many pages does an allocation have, by its mark?  0: it isn't one */
static size_t mark_pages(const p2pdma_mark *mark)
{
	size_t pages = 0;
	unsigned int i;

	if (*mark <= P2PDMA_MARK_PAGES)
		return *mark;
	if (*mark == P2PDMA_MARK_PARTS)
		return 1;
	for (i = 0; *mark == P2PDMA_MARK_LARGE && i < P2PDMA_MARK_DIGITS; i++)
		pages |= (size_t)(mark[i + 1] ^ P2PDMA_MARK_DIGIT) << (7 * i);
	return pages;
}

/* Do the marks agree with the bitmaps?  Counts pages that are allocated. */
static const char *marks_invalid(struct p2pdma_chunk *chunk, size_t *allocated)
{
	size_t page, pages, end = chunk->size >> PAGE_SHIFT;
	const p2pdma_mark *mark;

	for (page = 0; page < end; page += pages) {
		mark = memchr_inv(&chunk->marks[page], P2PDMA_MARK_NONE,
				  end - page);
		if (!mark)
			break;
		page = mark - chunk->marks;
		pages = mark_pages(mark);
		if (!pages)
			return "there is a size and no allocation";
		if (pages > end - page || !chunk_used(chunk, page, pages))
			return "an allocated page is free";
		*allocated += pages;
	}
	return NULL;
}

static const char *chunk_invalid(struct p2pdma_chunk *chunk, size_t *used)
{
	unsigned int i, half = P2PDMA_SLAB_PAGES, level = chunk->leaves;
	struct p2pdma_runs runs;
	const char *wrong;

	for (i = 0; i < chunk->num_slabs; i++) {
		wrong = slab_invalid(&chunk->slabs[i],
				     slab_owners(&chunk->slabs[i]));
		if (wrong)
			return wrong;
		*used += bitmap_weight(chunk->slabs[i].used, P2PDMA_SLAB_PAGES);
	}
	/* Beyond the chunk's end, pages count as used. */
	*used -= i * P2PDMA_SLAB_PAGES - (chunk->size >> PAGE_SHIFT);

	for (i = chunk->leaves - 1; i; i--) {
		if (i < level / 2) {
			level /= 2;
			half *= 2;
		}
		runs = join_runs(&chunk->tree[2 * i], &chunk->tree[2 * i + 1],
				 half);
		if (!same_runs(&runs, &chunk->tree[i]))
			return "a node says something else than those below";
	}
	return NULL;
}

/* Is what CPUs keep used, and not marked?  Counts its pages. */
static const char *kept_invalid(struct p2pdma_pool *pool, size_t *pages)
{
	struct p2pdma_chunk *chunk;
	unsigned int cpu, i;
	size_t page;
	void *addr;

	for_each_possible_cpu(cpu) {
		for (i = 1; i <= P2PDMA_KEPT_PAGES; i++) {
			addr = per_cpu_ptr(pool->caches, cpu)->kept[i];
			if (!addr)
				continue;
			chunk = pool_chunk(pool, addr);
			page = (addr - chunk->start) >> PAGE_SHIFT;
			if (!chunk_used(chunk, page, i))
				return "a page that a CPU keeps is free";
			if (memchr_inv(&chunk->marks[page], P2PDMA_MARK_NONE, i))
				return "a page that a CPU keeps is allocated";
			*pages += i;
		}
	}
	return NULL;
}

/**
 * p2pdma_pool_check - check a pool's invariants, for tests
 * @pool: a pool that nobody else uses meanwhile
 *
 * Context: any.
 * Return: NULL, or which one doesn't hold.
 */
const char *p2pdma_pool_check(struct p2pdma_pool *pool)
{
	size_t used = 0, allocated = 0, kept = 0;
	struct p2pdma_chunk *chunk;
	const char *wrong;

	guard(raw_spinlock_irqsave)(&pool->lock);
	list_for_each_entry(chunk, &pool->chunks, node) {
		wrong = chunk_invalid(chunk, &used) ?:
			marks_invalid(chunk, &allocated);
		if (wrong)
			return wrong;
	}
	if (pool->size - (allocated << PAGE_SHIFT) != p2pdma_pool_available(pool))
		return "the pages allocated aren't those that CPUs have counted";
	wrong = pool->caches ? kept_invalid(pool, &kept) : NULL;
	if (!wrong && used != allocated + kept)
		wrong = "pages are used that nobody has";
	return wrong;
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_pool_check);
#endif

/* ---- CPU hotplug ---- */

/* What a dead CPU has owned is anybody's. */
static int p2pdma_pool_cpu_dead(unsigned int cpu, struct hlist_node *node)
{
	struct p2pdma_pool *pool = hlist_entry(node, struct p2pdma_pool, node);

	guard(raw_spinlock_irqsave)(&pool->lock);
	pool_drop_cpu(pool, cpu);
	return 0;
}

/* If this failed, pool_alloc_last() would still find what dead CPUs have. */
static int __init p2pdma_pool_init(void)
{
	int state = cpuhp_setup_state_multi(CPUHP_BP_PREPARE_DYN,
					    "pci/p2pdma:pool", NULL,
					    p2pdma_pool_cpu_dead);

	if (state < 0)
		return state;
	p2pdma_pool_hotplug = state;
	return 0;
}
subsys_initcall(p2pdma_pool_init);	/* before drivers */
