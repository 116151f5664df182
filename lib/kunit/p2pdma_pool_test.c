// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of PCI peer-to-peer DMA: the pool by itself, without PCI.
 *
 * Named cases: where memory is found, which calls are refused, and memory that
 * CPUs cache.  Random sequences are in p2pdma_pool_random_test.c, concurrent
 * users in p2pdma_pool_race_test.c.
 */

#include <kunit/static_stub.h>
#include <linux/array_size.h>
#include <linux/bitmap.h>
#include <linux/bits.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/find.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/percpu.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "p2pdma_pool_test.h"
#include "p2pdma_test.h"

#define AREA	(8 * P2PDMA_LEAF_PAGES)	/* pages */
#define PART	(PAGE_SIZE / 64)	/* less than a page */

/* ---- Invariants ---- */

/* The runs that a node should have, by the bits of the pages below it */
static struct p2pdma_runs count_runs(const struct p2pdma_chunk *chunk, size_t at,
				     size_t size)
{
	size_t page, end = chunk->size >> PAGE_SHIFT;
	struct p2pdma_runs runs = { };
	bool begun = false;		/* a used page was seen */
	u32 run = 0;

	for (page = at; page < at + size; page++) {
		if (page < end && !test_bit(page, chunk->used)) {
			run++;
			runs.longest = max(runs.longest, run);
			continue;
		}
		if (!begun)
			runs.prefix = run;
		begun = true;
		run = 0;
	}
	if (!begun)
		runs.prefix = run;
	runs.suffix = run;
	return runs;
}

/* Does each node that isn't stale agree with the bits below it? */
static const char *tree_invalid(const struct p2pdma_chunk *chunk)
{
	size_t level, size, node;
	struct p2pdma_runs runs;
	unsigned int up;

	for (level = 1; level <= chunk->leaves; level *= 2) {
		size = chunk->leaves / level * P2PDMA_LEAF_PAGES;
		for (node = level; node < 2 * level; node++) {
			for (up = 1; node >> up; up++) {
				runs = chunk->tree[node >> up];
				if (!runs.longest || runs.longest == size << up)
					break;
			}
			if (node >> up)
				continue;	/* stale */
			runs = count_runs(chunk, (node - level) * size, size);
			if (memcmp(&runs, &chunk->tree[node], sizeof(runs)))
				return "a node says something else than the bits below it";
		}
	}
	return NULL;
}

/* Are the bits of a piece set? */
static bool is_used(const struct p2pdma_chunk *chunk, size_t page, size_t pages)
{
	return find_next_zero_bit(chunk->used, page + pages, page) == page + pages;
}

/* Do marks agree with the bits?  Counts allocated pages. */
static const char *marks_invalid(const struct p2pdma_chunk *chunk,
				 size_t *allocated)
{
	size_t page, end = chunk->size >> PAGE_SHIFT;
	u32 mark;

	for (page = 0; page < end; page++) {
		mark = chunk->marks[page];
		if (!mark)
			continue;
		if (mark > end - page || !is_used(chunk, page, mark))
			return "an allocated page is free";
		if (mark > 1 && memchr_inv(&chunk->marks[page + 1], 0,
					   (mark - 1) * sizeof(mark)))
			return "there is a mark inside an allocation";
		*allocated += mark;
		page += mark - 1;
	}
	return NULL;
}

/* Is a piece that a CPU caches marked as used, but not as allocated? */
static bool is_kept(struct p2pdma_pool *pool, void *addr, size_t pages)
{
	struct p2pdma_chunk *chunk;
	size_t page;

	list_for_each_entry(chunk, &pool->chunks, node) {
		page = (addr - chunk->start) >> PAGE_SHIFT;
		if (page < chunk->size >> PAGE_SHIFT)
			return is_used(chunk, page, pages) &&
			       !memchr_inv(&chunk->marks[page], 0,
					   pages * sizeof(*chunk->marks));
	}
	return false;
}

/* Is a CPU's cache valid, and visible to other CPUs?  Counts its pages. */
static const char *kept_invalid(struct p2pdma_pool *pool, unsigned int nr,
				size_t *kept)
{
	struct p2pdma_pool_cpu *cpu = per_cpu_ptr(pool->cpus, nr);
	size_t first = 0, further = 0, reserved = 0;
	unsigned int row, i;

	if (cpu->run.page > cpu->run.end)
		return "a run ends before it begins";
	if (cpu->run.page < cpu->run.end) {
		further = cpu->run.end - cpu->run.page;
		if (!is_kept(pool, cpu->run.chunk->start + cpu->run.page * PAGE_SIZE, further))
			return "what is in a run is free, or allocated";
	}
	for (row = 1; row < P2PDMA_SIZES; row++) {
		if ((cpu->first[row] || cpu->count[row]) && !(cpu->filled & BIT(row)))
			return "a row has a piece, and its bit isn't set";
		if (cpu->first[row]) {
			if (!is_kept(pool, cpu->first[row], row))
				return "what is in a first slot is free, or allocated";
			first += row;
		}
		for (i = 0; i < cpu->count[row]; i++) {
			if (!is_kept(pool, cpu->pieces[row][i], row))
				return "what is in a row is free, or allocated";
			further += row;
		}
		if (cpu->filled & BIT(row))
			reserved += row;
	}
	if (further + reserved != cpu->kept)
		return "a CPU keeps more, or less, than it has counted";
	if (first + further && !cpumask_test_cpu(nr, &pool->keeping))
		return "a CPU keeps something, and isn't in the mask";
	if (cpu->kept * num_possible_cpus() * 16 > pool->size >> PAGE_SHIFT)
		return "a CPU keeps too much";
	*kept += first + further;
	return NULL;
}

/* A violated invariant of a pool without concurrent users, or NULL */
const char *p2pdma_test_pool_check(struct p2pdma_pool *pool)
{
	size_t used = 0, allocated = 0, kept = 0;
	const char *wrong = NULL;
	struct p2pdma_chunk *chunk;
	unsigned int nr;

	list_for_each_entry(chunk, &pool->chunks, node) {
		wrong = tree_invalid(chunk) ?: marks_invalid(chunk, &allocated);
		if (wrong)
			return wrong;
		used += bitmap_weight(chunk->used, chunk->size >> PAGE_SHIFT);
	}
	if (pool->size - (allocated << PAGE_SHIFT) != p2pdma_pool_available(pool))
		return "the pages allocated aren't those that CPUs have counted";
	for_each_possible_cpu(nr) {
		wrong = pool->cpus ? kept_invalid(pool, nr, &kept) : NULL;
		if (wrong)
			return wrong;
	}
	return used == allocated + kept ? NULL :
	       "pages are used that are neither allocated nor kept";
}

/* ---- A pool ---- */

/* The pool that the running test has made last */
static struct p2pdma_test_pool *current_pool;

static void count_warning(const char *what, void *addr, size_t size)
{
	atomic_inc(&current_pool->warnings);
}

static void destroy(void *data)
{
	struct p2pdma_test_pool *t = data;

	p2pdma_pool_destroy(t->pool);
}

/* A pool with a chunk for each number in @pages, which ends with 0 */
struct p2pdma_test_pool *p2pdma_test_pool(struct kunit *test, int nid,
					  const unsigned int *pages)
{
	struct p2pdma_test_pool *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	struct p2pdma_test_chunk *c;
	size_t size = 0;

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->pool = p2pdma_pool_create(nid);
	KUNIT_ASSERT_NOT_NULL(test, t->pool);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, destroy, t));

	for (; *pages; pages++) {
		KUNIT_ASSERT_LT(test, t->count, P2PDMA_TEST_CHUNKS);
		c = &t->chunks[t->count++];
		c->pages = *pages;
		/* Addresses not ascending, and not aligned to large sizes */
		c->start = (void *)(16 * SZ_1T - t->count * SZ_1T + SZ_4K);
		KUNIT_ASSERT_EQ(test, 0, p2pdma_pool_add(t->pool, c->start,
							 c->pages * PAGE_SIZE,
							 c, &c->chunk));
		size += c->pages * PAGE_SIZE;
	}
	KUNIT_EXPECT_EQ(test, size, p2pdma_pool_size(t->pool));
	KUNIT_EXPECT_EQ(test, size, p2pdma_pool_available(t->pool));
	KUNIT_EXPECT_NULL(test, p2pdma_test_pool_check(t->pool));

	current_pool = t;
	kunit_activate_static_stub(test, p2pdma_pool_warn, count_warning);
	return t;
}

void p2pdma_test_pool_destroy(struct kunit *test, struct p2pdma_test_pool *t)
{
	kunit_release_action(test, destroy, t);
}

/* The largest chunk that isn't in @taken */
static unsigned int largest(const struct p2pdma_test_pool *t,
			    unsigned long taken)
{
	unsigned int i, best = 0, pages = 0;

	for (i = 0; i < t->count; i++) {
		if (taken & BIT(i) || t->chunks[i].pages <= pages)
			continue;
		pages = t->chunks[i].pages;
		best = i;
	}
	return best;
}

/*
 * Check that nothing is allocated, and that each chunk is free in one piece.
 * Return: false if not.
 */
bool p2pdma_test_pool_all_free(struct kunit *test, struct p2pdma_test_pool *t)
{
	const char *wrong = p2pdma_test_pool_check(t->pool);
	unsigned int i, at, refused = 0;
	unsigned long taken = 0;
	void *owner, *addr;

	KUNIT_EXPECT_NULL_MSG(test, wrong, "%s", wrong);
	KUNIT_EXPECT_EQ(test, p2pdma_pool_size(t->pool),
			p2pdma_pool_available(t->pool));
	for (i = 0; i < t->count; i++, taken |= BIT(at)) {
		at = largest(t, taken);
		addr = p2pdma_pool_alloc(t->pool,
					 t->chunks[at].pages * PAGE_SIZE,
					 &owner);
		KUNIT_EXPECT_NOT_NULL_MSG(test, addr, "chunk %u as a whole", at);
		refused += !addr;
	}
	if (refused)
		return false;
	KUNIT_EXPECT_EQ(test, 0, p2pdma_pool_available(t->pool));
	for (i = 0; i < t->count; i++)
		if (!p2pdma_pool_free(t->chunks[i].chunk, t->chunks[i].start,
				      t->chunks[i].pages * PAGE_SIZE))
			refused++;
	KUNIT_EXPECT_EQ(test, 0, refused);
	KUNIT_EXPECT_EQ(test, p2pdma_pool_size(t->pool),
			p2pdma_pool_available(t->pool));
	return !wrong && !refused;
}

#define POOL(test, ...)							\
	p2pdma_test_pool(test, NUMA_NO_NODE,				\
			 (const unsigned int[]) { __VA_ARGS__, 0 })

static void *alloc(struct p2pdma_test_pool *t, size_t size)
{
	void *owner;

	return p2pdma_pool_alloc(t->pool, size, &owner);
}

static void *alloc_each(struct p2pdma_test_pool *t, unsigned int pages)
{
	void *owner;

	return p2pdma_pool_alloc_pages(t->pool, pages * PAGE_SIZE, &owner);
}

/* Free memory of the first chunk */
static bool give(struct p2pdma_test_pool *t, void *addr, size_t size)
{
	return p2pdma_pool_free(t->chunks[0].chunk, addr, size);
}

/* Page @index of the first chunk */
static void *page_at(const struct p2pdma_test_pool *t, unsigned int index)
{
	return t->chunks[0].start + index * PAGE_SIZE;
}

/* Aborts, as a broken pool would fail all later checks, too. */
static void assert_sound(struct kunit *test, struct p2pdma_test_pool *t,
			 unsigned int available)
{
	const char *wrong = p2pdma_test_pool_check(t->pool);

	KUNIT_ASSERT_NULL_MSG(test, wrong, "%s", wrong);
	KUNIT_ASSERT_EQ(test, available * PAGE_SIZE,
			p2pdma_pool_available(t->pool));
}

/* ---- Sizes ---- */

static void no_chunk(struct kunit *test)
{
	struct p2pdma_test_pool *t = POOL(test, 0);

	KUNIT_EXPECT_NULL(test, alloc(t, 1));
	KUNIT_EXPECT_NULL(test, alloc(t, PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, alloc(t, AREA * PAGE_SIZE + 1));
	KUNIT_EXPECT_NULL(test, alloc_each(t, 1));
	assert_sound(test, t, 0);
}

static void sizes(struct kunit *test)
{
	static const struct {
		size_t size;
		unsigned int pages;
	} table[] = {
		{ 1, 1 },
		{ PAGE_SIZE - 1, 1 },
		{ PAGE_SIZE, 1 },
		{ PAGE_SIZE + 1, 2 },
		{ 32 * PAGE_SIZE, 32 },
		{ 32 * PAGE_SIZE + 1, 33 },
		{ 65 * PAGE_SIZE - 1, 65 },
		{ AREA * PAGE_SIZE, AREA },
		{ AREA * PAGE_SIZE + 1, AREA + 1 },
		{ (2 * AREA + 3) * PAGE_SIZE - 1, 2 * AREA + 3 },
	};
	struct p2pdma_test_pool *t = POOL(test, 2 * AREA + 3);
	void *owner = NULL, *addr;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(table); i++) {
		addr = p2pdma_pool_alloc(t->pool, table[i].size, &owner);
		KUNIT_ASSERT_NOT_NULL_MSG(test, addr, "%zu bytes",
					  table[i].size);
		KUNIT_EXPECT_PTR_EQ(test, owner, &t->chunks[0]);
		KUNIT_EXPECT_TRUE(test, PAGE_ALIGNED(addr));
		assert_sound(test, t, 2 * AREA + 3 - table[i].pages);
		KUNIT_EXPECT_TRUE(test, give(t, addr, table[i].size));
		assert_sound(test, t, 2 * AREA + 3);
	}

	KUNIT_EXPECT_NULL(test, alloc(t, 0));
	KUNIT_EXPECT_NULL(test, alloc(t, (2 * AREA + 3) * PAGE_SIZE + 1));
	KUNIT_EXPECT_NULL(test, alloc(t, SIZE_MAX));
	KUNIT_EXPECT_NULL(test, alloc(t, 1UL << 32 << PAGE_SHIFT));
	KUNIT_EXPECT_NULL(test, alloc_each(t, 0));
	KUNIT_EXPECT_NULL(test, alloc_each(t, 2 * AREA + 4));
	p2pdma_test_pool_all_free(test, t);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&t->warnings));
}

/* ---- Where memory is found ---- */

/* The only free run of pages is found, wherever it is. */
static void last_hole(struct kunit *test)
{
	static const unsigned int holes[] = {
		1, 2, 3, 16, 17, 63, 64, 65, 127, 130, 511, 512, 513, 1027
	};
	const unsigned int pages = 2 * AREA + 7;
	struct p2pdma_test_pool *t = POOL(test, pages);
	unsigned int i, k, hole, at, wrong = 0;
	void *addr;

	KUNIT_ASSERT_PTR_EQ(test, page_at(t, 0), alloc_each(t, pages));
	for (i = 0; i < ARRAY_SIZE(holes); i++) {
		hole = holes[i];
		for (at = 0; at + hole <= pages; at++) {
			addr = page_at(t, at);
			for (k = 0; k < hole; k++)
				wrong += !give(t, addr + k * PAGE_SIZE,
					       PAGE_SIZE);
			wrong += !!alloc(t, (hole + 1) * PAGE_SIZE);
			wrong += alloc(t, hole * PAGE_SIZE) != addr;
			wrong += !give(t, addr, hole * PAGE_SIZE);
			wrong += alloc_each(t, hole) != addr;
			wrong += !!alloc(t, 1);
			KUNIT_ASSERT_EQ_MSG(test, 0, wrong,
					    "%u pages free at %u", hole, at);
			if (at % 64 == 0)
				assert_sound(test, t, 0);
		}
		cond_resched();
	}
	for (at = 0; at < pages; at++)
		KUNIT_EXPECT_TRUE(test, give(t, page_at(t, at), PAGE_SIZE));
	p2pdma_test_pool_all_free(test, t);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&t->warnings));
}

struct order {
	const char *name;
	unsigned int step;	/* prime to the number of pages */
};

#define EXHAUSTED	(3 * AREA + 11)

static const struct order orders[] = {
	{ "forward", 1 },
	{ "backward", EXHAUSTED - 1 },
	{ "every_second", 2 },
	{ "scattered", 617 },
};

KUNIT_ARRAY_PARAM_DESC(order, orders, name);

/* Allocate page by page to the last one, and free all */
static void exhaustion(struct kunit *test)
{
	const struct order *order = test->param_value;
	struct p2pdma_test_pool *t = POOL(test, EXHAUSTED);
	unsigned long *seen = kunit_kcalloc(test, BITS_TO_LONGS(EXHAUSTED),
					    sizeof(*seen), GFP_KERNEL);
	unsigned int i, at, left = EXHAUSTED;
	void *addr;

	KUNIT_ASSERT_NOT_NULL(test, seen);
	while ((addr = alloc(t, PAGE_SIZE))) {
		at = (addr - page_at(t, 0)) / PAGE_SIZE;
		KUNIT_ASSERT_LT(test, at, EXHAUSTED);
		KUNIT_ASSERT_FALSE(test, __test_and_set_bit(at, seen));
		left--;
		KUNIT_ASSERT_EQ(test, left * PAGE_SIZE,
				p2pdma_pool_available(t->pool));
	}
	KUNIT_EXPECT_EQ(test, 0, left);
	KUNIT_EXPECT_NULL(test, alloc(t, 1));
	KUNIT_EXPECT_NULL(test, alloc(t, AREA * PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, alloc(t, EXHAUSTED * PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, alloc_each(t, 1));
	assert_sound(test, t, 0);

	for (i = 0; i < EXHAUSTED; i++) {
		addr = page_at(t, i * order->step % EXHAUSTED);
		KUNIT_ASSERT_TRUE(test, give(t, addr, PAGE_SIZE));
		KUNIT_ASSERT_EQ(test, (i + 1) * PAGE_SIZE,
				p2pdma_pool_available(t->pool));
	}
	p2pdma_test_pool_all_free(test, t);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&t->warnings));
}

/* No allocation spans two chunks, even if they are adjacent. */
static void chunks(struct kunit *test)
{
	static const unsigned int pages[] = { AREA + 1, 5, 3 * AREA, 64, 0 };
	static const unsigned int by_size[] = { 2, 0, 3, 1 };
	struct p2pdma_test_pool *t = p2pdma_test_pool(test, NUMA_NO_NODE, pages);
	void *addr[ARRAY_SIZE(by_size)], *owner;
	unsigned int i, at;

	KUNIT_EXPECT_NULL(test, alloc(t, 3 * AREA * PAGE_SIZE + 1));
	p2pdma_test_pool_all_free(test, t);

	/* Each fits into only one of the chunks that are still free. */
	for (i = 0; i < t->count; i++) {
		at = by_size[i];
		addr[at] = p2pdma_pool_alloc(t->pool, pages[at] * PAGE_SIZE,
					     &owner);
		KUNIT_EXPECT_PTR_EQ(test, addr[at], t->chunks[at].start);
		KUNIT_EXPECT_PTR_EQ(test, owner, &t->chunks[at]);
	}
	assert_sound(test, t, 0);
	for (i = 0; i < t->count; i++) {
		/* Memory of another chunk is refused. */
		KUNIT_EXPECT_FALSE(test, p2pdma_pool_free(t->chunks[(i + 1) % 4].chunk,
							  addr[i],
							  pages[i] * PAGE_SIZE));
		KUNIT_EXPECT_EQ(test, i + 1, atomic_read(&t->warnings));
		KUNIT_EXPECT_TRUE(test, p2pdma_pool_free(t->chunks[i].chunk,
							 addr[i],
							 pages[i] * PAGE_SIZE));
	}
	p2pdma_test_pool_all_free(test, t);
}

/* Chunks can be added while memory of other chunks is in use. */
static void chunk_added(struct kunit *test)
{
	struct p2pdma_test_pool *t = POOL(test, 3);
	void *start = page_at(t, 3), *owner;
	struct p2pdma_test_chunk second = { .pages = AREA + 1 };

	KUNIT_EXPECT_NOT_NULL(test, alloc(t, 3 * PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, alloc(t, PAGE_SIZE));
	/* Adjacent to the first chunk, but a chunk of its own */
	KUNIT_ASSERT_EQ(test, 0, p2pdma_pool_add(t->pool, start,
						 (AREA + 1) * PAGE_SIZE,
						 &second, &second.chunk));
	KUNIT_EXPECT_EQ(test, (AREA + 4) * PAGE_SIZE, p2pdma_pool_size(t->pool));
	assert_sound(test, t, AREA + 1);

	KUNIT_EXPECT_TRUE(test, give(t, page_at(t, 0), 3 * PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, alloc(t, (AREA + 2) * PAGE_SIZE));
	KUNIT_EXPECT_PTR_EQ(test, start,
			    p2pdma_pool_alloc(t->pool, (AREA + 1) * PAGE_SIZE,
					      &owner));
	KUNIT_EXPECT_PTR_EQ(test, owner, &second);
	KUNIT_EXPECT_FALSE(test, give(t, start, (AREA + 1) * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&t->warnings));
	KUNIT_EXPECT_TRUE(test, p2pdma_pool_free(second.chunk, start,
						 (AREA + 1) * PAGE_SIZE));
	assert_sound(test, t, AREA + 4);
}

/* ---- Memory that CPUs cache ---- */

struct on_cpu {
	struct p2pdma_test_pool *t;
	size_t size;
	void *addr;
};

static void alloc_here(void *data)
{
	struct on_cpu *request = data;

	request->addr = alloc(request->t, request->size);
}

static void *alloc_on(int cpu, struct p2pdma_test_pool *t, size_t size)
{
	struct on_cpu request = { .t = t, .size = size };

	return smp_call_function_single(cpu, alloc_here, &request, true) ?
		NULL : request.addr;
}

static void give_here(void *data)
{
	struct on_cpu *request = data;

	if (!give(request->t, request->addr, request->size))
		request->addr = NULL;
}

static bool give_on(int cpu, struct p2pdma_test_pool *t, void *addr,
		    size_t size)
{
	struct on_cpu request = { .t = t, .addr = addr, .size = size };

	return !smp_call_function_single(cpu, give_here, &request, true) &&
	       request.addr;
}

/* A CPU other than 0, as CPU 0 can't go offline */
static int other_cpu(struct kunit *test)
{
	unsigned int cpu = cpumask_next(0, cpu_online_mask);

	if (cpu >= nr_cpu_ids)
		kunit_skip(test, "one CPU only");
	return cpu;
}

/* Allocate and free on @cpu, so that it caches memory */
static void hold(struct kunit *test, int cpu, struct p2pdma_test_pool *t,
		 size_t size)
{
	void *addr = alloc_on(cpu, t, size);

	KUNIT_ASSERT_NOT_NULL(test, addr);
	KUNIT_ASSERT_TRUE(test, give_on(cpu, t, addr, size));
}

/* The last page is found, whichever CPU caches it. */
static void last_page_elsewhere(struct kunit *test)
{
	struct p2pdma_test_pool *t = POOL(test, AREA);
	int i, cpu = other_cpu(test);
	void *addr;

	for (i = 0; i < AREA - 1; i++)
		KUNIT_ASSERT_NOT_NULL(test, alloc_on(cpu, t, PAGE_SIZE));
	assert_sound(test, t, 1);

	addr = alloc_on(0, t, PAGE_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, addr);
	assert_sound(test, t, 0);
	KUNIT_EXPECT_NULL(test, alloc_on(0, t, 1));
	KUNIT_EXPECT_NULL(test, alloc_on(cpu, t, PAGE_SIZE));

	/* Back and forth between the two */
	for (i = 0; i < 12; i++) {
		KUNIT_ASSERT_TRUE(test, give_on(i % 2 ? 0 : cpu, t, addr,
						PAGE_SIZE));
		addr = alloc_on(i % 3 ? cpu : 0, t, PAGE_SIZE);
		KUNIT_ASSERT_NOT_NULL(test, addr);
		assert_sound(test, t, 0);
	}
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&t->warnings));
}

struct held {
	const char *name;
	unsigned int pages;	/* in the chunk */
	unsigned int few;	/* allocated and freed by both CPUs */
	unsigned int many;	/* allocated and freed by the other CPU, too */
	unsigned int wanted;	/* in one piece */
};

static const struct held held[] = {
	{ "one_area", AREA, 1, 0, AREA },
	{ "one_area_of_both", AREA, 1, 17, AREA },
	{ "across_one_border", 2 * AREA, 1, 17, 2 * AREA },
	{ "all_of_three", 3 * AREA, 1, 17, 3 * AREA },
	{ "short_chunk", 7, 1, 0, 7 },
	{ "odd_chunk", 2 * AREA + 1, 16, 512, 2 * AREA + 1 },
};

KUNIT_ARRAY_PARAM_DESC(held, held, name);

/* A contiguous free range is found, whichever CPU caches parts of it. */
static void range_elsewhere(struct kunit *test)
{
	const struct held *param = test->param_value;
	struct p2pdma_test_pool *t = POOL(test, param->pages);
	int i, cpu = other_cpu(test);
	void *addr;

	for (i = 0; i < 4; i++) {
		/* Both CPUs cache memory, in either order. */
		hold(test, i % 2 ? 0 : cpu, t, param->few * PAGE_SIZE);
		if (param->many)
			hold(test, cpu, t, param->many * PAGE_SIZE);
		hold(test, i % 2 ? cpu : 0, t, param->few * PAGE_SIZE);
		assert_sound(test, t, param->pages);

		addr = alloc_on(0, t, param->wanted * PAGE_SIZE);
		KUNIT_ASSERT_NOT_NULL(test, addr);
		assert_sound(test, t, param->pages - param->wanted);
		KUNIT_EXPECT_TRUE(test, give_on(cpu, t, addr,
						param->wanted * PAGE_SIZE));
		assert_sound(test, t, param->pages);
	}
	p2pdma_test_pool_all_free(test, t);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&t->warnings));
}

/* A contiguous range, half of which is cached by each of two CPUs */
static void range_of_both(struct kunit *test)
{
	struct p2pdma_test_pool *t = POOL(test, 2 * AREA);
	const unsigned int at = AREA - 7, half = 5;
	int i, cpu = other_cpu(test);

	KUNIT_ASSERT_PTR_EQ(test, page_at(t, 0), alloc_each(t, 2 * AREA));
	for (i = 0; i < half; i++) {
		KUNIT_ASSERT_TRUE(test, give_on(0, t, page_at(t, at + i),
						PAGE_SIZE));
		KUNIT_ASSERT_TRUE(test, give_on(cpu, t,
						page_at(t, at + half + i),
						PAGE_SIZE));
	}
	assert_sound(test, t, 2 * half);
	KUNIT_EXPECT_NULL(test, alloc_on(0, t, (2 * half + 1) * PAGE_SIZE));
	KUNIT_EXPECT_PTR_EQ(test, page_at(t, at),
			    alloc_on(0, t, 2 * half * PAGE_SIZE));
	assert_sound(test, t, 0);
}

#ifdef CONFIG_HOTPLUG_CPU

static void cpu_back(void *data)
{
	add_cpu((long)data);
}

static void cpu_off(struct kunit *test, long cpu)
{
	KUNIT_ASSERT_EQ(test, 0, remove_cpu(cpu));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, cpu_back,
							   (void *)cpu));
}

/* Memory that a CPU caches is still found after it has gone offline. */
static void cpu_removed(struct kunit *test)
{
	struct p2pdma_test_pool *t = POOL(test, 3 * AREA);
	int cpu = other_cpu(test);
	void *first, *second, *rest;

	first = alloc_on(cpu, t, PAGE_SIZE);
	second = alloc_on(cpu, t, PAGE_SIZE);
	KUNIT_ASSERT_PTR_EQ(test, first, page_at(t, 0));
	KUNIT_ASSERT_PTR_EQ(test, second, page_at(t, 1));
	hold(test, cpu, t, 3 * PAGE_SIZE);

	cpu_off(test, cpu);
	assert_sound(test, t, 3 * AREA - 2);
	rest = alloc_on(0, t, (3 * AREA - 2) * PAGE_SIZE);
	KUNIT_EXPECT_PTR_EQ(test, rest, page_at(t, 2));
	/* Memory allocated on the offline CPU can still be freed. */
	KUNIT_EXPECT_TRUE(test, give_on(0, t, first, PAGE_SIZE));
	KUNIT_EXPECT_TRUE(test, give_on(0, t, second, PAGE_SIZE));
	KUNIT_EXPECT_TRUE(test, give_on(0, t, rest, (3 * AREA - 2) * PAGE_SIZE));
	p2pdma_test_pool_all_free(test, t);

	kunit_release_action(test, cpu_back, (void *)(long)cpu);
	KUNIT_ASSERT_TRUE(test, cpu_online(cpu));
	hold(test, cpu, t, PAGE_SIZE);
	p2pdma_test_pool_all_free(test, t);
}

#else

static void cpu_removed(struct kunit *test)
{
	kunit_skip(test, "CPUs stay in this kernel");
}

#endif

/* ---- Frees that are refused ---- */

struct bad_free {
	const char *name;
	size_t size;		/* of the allocation */
	bool pages;		/* allocated page by page */
	long offset;		/* of the bad free in the allocation */
	size_t freed;		/* size of the bad free */
};

static const struct bad_free bad_frees[] = {
	{ "nothing", 8 * PAGE_SIZE, false, 0, 0 },
	{ "middle", 8 * PAGE_SIZE, false, PAGE_SIZE, PAGE_SIZE },
	{ "end", 8 * PAGE_SIZE, false, PAGE_SIZE, 7 * PAGE_SIZE },
	{ "shorter", 8 * PAGE_SIZE, false, 0, 7 * PAGE_SIZE },
	{ "longer", 8 * PAGE_SIZE, false, 0, 9 * PAGE_SIZE },
	{ "two", 8 * PAGE_SIZE, false, 0, 16 * PAGE_SIZE },
	{ "from_before", 8 * PAGE_SIZE, false, -PAGE_SIZE, 9 * PAGE_SIZE },
	{ "page_before", 8 * PAGE_SIZE, false, -PAGE_SIZE, PAGE_SIZE },
	{ "across", 8 * PAGE_SIZE, false, 4 * PAGE_SIZE, 8 * PAGE_SIZE },
	{ "a_byte_off", 8 * PAGE_SIZE, false, 1, 8 * PAGE_SIZE },
	{ "a_part_off", 8 * PAGE_SIZE, false, PART, 8 * PAGE_SIZE },
	{ "pages_as_a_part", 8 * PAGE_SIZE, false, 0, PART },
	{ "page_in_its_middle", PAGE_SIZE, false, PART, PART },
	{ "page_a_part_off", PAGE_SIZE, false, PART, PAGE_SIZE - PART },
	{ "before_chunk", PAGE_SIZE, false, -(long)(AREA * PAGE_SIZE),
	  PAGE_SIZE },
	{ "beyond_chunk", PAGE_SIZE, false, 5 * AREA * PAGE_SIZE, PAGE_SIZE },
	{ "beyond_its_end", PAGE_SIZE, false, 0, 3 * AREA * PAGE_SIZE },
	{ "wraps", PAGE_SIZE, false, 0, SIZE_MAX },
	{ "wraps_from_the_middle", 2 * PAGE_SIZE, false, PAGE_SIZE,
	  -PAGE_SIZE },
	{ "large_middle", 600 * PAGE_SIZE, false, 512 * PAGE_SIZE, PAGE_SIZE },
	{ "large_end", 600 * PAGE_SIZE, false, PAGE_SIZE, 599 * PAGE_SIZE },
	{ "large_shorter", 600 * PAGE_SIZE, false, 0, 599 * PAGE_SIZE },
	{ "large_longer", 600 * PAGE_SIZE, false, 0, 601 * PAGE_SIZE },
	{ "large_to_any_page", 600 * PAGE_SIZE, false, 0, 512 * PAGE_SIZE },
	{ "large_one_page", 600 * PAGE_SIZE, false, 0, PAGE_SIZE },
	{ "large_a_part_off", 600 * PAGE_SIZE, false, PART, 600 * PAGE_SIZE },
	{ "pages_at_once", 2 * PAGE_SIZE, true, 0, 2 * PAGE_SIZE },
	{ "pages_across_leaves", 600 * PAGE_SIZE, true, 0, 600 * PAGE_SIZE },
	{ "pages_a_part_off", 2 * PAGE_SIZE, true, PART, PAGE_SIZE },
};

KUNIT_ARRAY_PARAM_DESC(bad_free, bad_frees, name);

/*
 * A bad free of the middle one of three allocations.  The pool is fresh, so
 * that these are adjacent: otherwise the cases would test other errors.
 */
static void bad_free(struct kunit *test)
{
	const struct bad_free *param = test->param_value;
	struct p2pdma_test_pool *t = POOL(test, 4 * AREA + 9);
	unsigned int i, k, available, pages = DIV_ROUND_UP(param->size, PAGE_SIZE);
	void *addr[3];

	for (i = 0; i < 3; i++) {
		addr[i] = param->pages ? alloc_each(t, pages) :
					 alloc(t, param->size);
		KUNIT_ASSERT_PTR_EQ(test, addr[i],
				    addr[0] + i * PAGE_ALIGN(param->size));
	}
	available = p2pdma_pool_available(t->pool) / PAGE_SIZE;

	for (i = 1; i <= 2; i++) {
		KUNIT_EXPECT_FALSE(test, give(t, addr[1] + param->offset,
					      param->freed));
		KUNIT_EXPECT_EQ(test, i, atomic_read(&t->warnings));
		assert_sound(test, t, available);
	}

	/* Correct frees aren't refused, but are when repeated. */
	for (i = 0; i < 3; i++) {
		for (k = 0; k < (param->pages ? pages : 1); k++)
			KUNIT_EXPECT_TRUE(test, give(t, addr[i] + k * PAGE_SIZE,
						     param->pages ? PAGE_SIZE :
								    param->size));
		KUNIT_EXPECT_EQ(test, 2 + i, atomic_read(&t->warnings));
		KUNIT_EXPECT_FALSE(test, give(t, addr[i],
					      param->pages ? PAGE_SIZE :
							     param->size));
		KUNIT_EXPECT_EQ(test, 3 + i, atomic_read(&t->warnings));
	}
	p2pdma_test_pool_all_free(test, t);
	KUNIT_EXPECT_EQ(test, 5, atomic_read(&t->warnings));
}

/* A free may have any size that rounds up to the allocated pages. */
static void rounded_free(struct kunit *test)
{
	struct p2pdma_test_pool *t = POOL(test, 4);

	KUNIT_EXPECT_TRUE(test, give(t, alloc(t, 2 * PAGE_SIZE - 1),
				     2 * PAGE_SIZE));
	KUNIT_EXPECT_TRUE(test, give(t, alloc(t, 2 * PAGE_SIZE),
				     PAGE_SIZE + 1));
	KUNIT_EXPECT_TRUE(test, give(t, alloc(t, 1), PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&t->warnings));
	p2pdma_test_pool_all_free(test, t);
}

/* Frees in a chunk, or a pool, without any allocation */
static void never_allocated(struct kunit *test)
{
	struct p2pdma_test_pool *t = POOL(test, AREA + 1, 1);
	unsigned int i;

	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_FALSE(test, give(t, page_at(t, 0), PAGE_SIZE));
		KUNIT_EXPECT_FALSE(test, give(t, page_at(t, 0), PART));
		KUNIT_EXPECT_FALSE(test, give(t, page_at(t, 0),
					      (AREA + 1) * PAGE_SIZE));
		KUNIT_EXPECT_FALSE(test, give(t, page_at(t, AREA + 1),
					      PAGE_SIZE));
		KUNIT_EXPECT_FALSE(test, give(t, NULL, PAGE_SIZE));
		KUNIT_EXPECT_EQ(test, 5 * (i + 1), atomic_read(&t->warnings));
		p2pdma_test_pool_all_free(test, t);
	}
}

/* ---- No memory ---- */

/* Each allocation fails in turn. */
static void no_memory(struct kunit *test)
{
	unsigned int nth, no_pool = 0, no_chunk = 0;
	struct p2pdma_test_pool *t;
	struct p2pdma_test_chunk *c;
	bool hit = true;
	void *addr;
	int ret;

	p2pdma_test_inject_faults(test);
	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	current_pool = t;
	kunit_activate_static_stub(test, p2pdma_pool_warn, count_warning);
	c = &t->chunks[0];
	c->start = (void *)SZ_1T;

	for (nth = 1; hit && nth < 1000; nth++) {
		p2pdma_test_fail_nth(nth);
		t->pool = p2pdma_pool_create(NUMA_NO_NODE);
		ret = t->pool ? p2pdma_pool_add(t->pool, c->start,
						4 * PAGE_SIZE, c, &c->chunk) :
				-EINVAL;
		hit = p2pdma_test_failed();
		p2pdma_test_fail_nth(0);

		if (!t->pool) {
			KUNIT_EXPECT_TRUE(test, hit);
			no_pool++;
			continue;
		}
		if (ret) {
			KUNIT_EXPECT_TRUE(test, hit);
			KUNIT_EXPECT_EQ(test, -ENOMEM, ret);
			KUNIT_EXPECT_EQ(test, 0, p2pdma_pool_size(t->pool));
			KUNIT_EXPECT_NULL(test, alloc(t, PAGE_SIZE));
			assert_sound(test, t, 0);
			no_chunk++;
			/* A retry works. */
			KUNIT_ASSERT_EQ(test, 0,
					p2pdma_pool_add(t->pool, c->start,
							4 * PAGE_SIZE, c,
							&c->chunk));
		}
		addr = alloc(t, PAGE_SIZE);
		KUNIT_EXPECT_NOT_NULL(test, addr);
		assert_sound(test, t, 3);
		KUNIT_EXPECT_TRUE(test, give(t, addr, PAGE_SIZE));
		assert_sound(test, t, 4);
		p2pdma_pool_destroy(t->pool);
	}
	KUNIT_EXPECT_FALSE(test, hit);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&t->warnings));
	KUNIT_EXPECT_GE(test, no_pool, 2);
	KUNIT_EXPECT_GE(test, no_chunk, 3);
}

/* Sizes that no chunk may have: the tree counts pages in unsigned int. */
static void bad_chunk(struct kunit *test)
{
	static const size_t bad[] = { 0, BIT(31), BIT(31) + 1 };	/* pages */
	static const unsigned int none[] = { 0 };
	struct p2pdma_test_pool *t = p2pdma_test_pool(test, NUMA_NO_NODE, none);
	struct p2pdma_chunk *chunk = NULL;
	int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ(test, -EINVAL,
				p2pdma_pool_add(t->pool, (void *)SZ_1T,
						bad[i] << PAGE_SHIFT, t,
						&chunk));
	KUNIT_EXPECT_NULL(test, chunk);
	KUNIT_EXPECT_EQ(test, 0, p2pdma_pool_size(t->pool));
}

/* A chunk's new owner owns its free, cached and allocated memory. */
static void owner_changed(struct kunit *test)
{
	static const unsigned int pages[] = { 2 * AREA, 0 };
	struct p2pdma_test_pool *t = p2pdma_test_pool(test, NUMA_NO_NODE, pages);
	void *used, *kept, *owner;

	used = p2pdma_pool_alloc(t->pool, PAGE_SIZE, &owner);
	kept = p2pdma_pool_alloc(t->pool, PAGE_SIZE, &owner);
	KUNIT_EXPECT_PTR_EQ(test, owner, &t->chunks[0]);
	KUNIT_EXPECT_TRUE(test, p2pdma_pool_free(t->chunks[0].chunk, kept,
						 PAGE_SIZE));

	p2pdma_pool_set_owner(t->chunks[0].chunk, t);
	KUNIT_EXPECT_PTR_EQ(test, kept,
			    p2pdma_pool_alloc(t->pool, PAGE_SIZE, &owner));
	KUNIT_EXPECT_PTR_EQ(test, owner, t);
	KUNIT_EXPECT_TRUE(test, p2pdma_pool_free(t->chunks[0].chunk, used,
						 PAGE_SIZE));
	KUNIT_EXPECT_NOT_NULL(test, p2pdma_pool_alloc_pages(t->pool,
							    64 * PAGE_SIZE,
							    &owner));
	KUNIT_EXPECT_PTR_EQ(test, owner, t);
	KUNIT_EXPECT_NULL(test, p2pdma_test_pool_check(t->pool));
}

/* ---- NUMA ---- */

static int node_of(void *addr)
{
	return page_to_nid(is_vmalloc_addr(addr) ? vmalloc_to_page(addr) :
						   virt_to_page(addr));
}

/* The pool's data structures lie on the requested node. */
static void lies_on_node(struct kunit *test)
{
	static const unsigned int pages[] = { 1, SZ_64G / PAGE_SIZE, 0 };
	struct p2pdma_test_pool *t;
	int nid;

	if (num_node_state(N_MEMORY) < 2)
		kunit_skip(test, "one NUMA node only");
	for_each_node_state(nid, N_MEMORY) {
		t = p2pdma_test_pool(test, nid, pages);
		KUNIT_EXPECT_EQ(test, nid, node_of(t->pool));
		KUNIT_EXPECT_EQ(test, nid, node_of(t->chunks[0].chunk));
		KUNIT_EXPECT_EQ(test, nid, node_of(t->chunks[1].chunk));
		KUNIT_EXPECT_EQ(test, nid, node_of(t->chunks[1].chunk->marks));
		KUNIT_EXPECT_TRUE(test, is_vmalloc_addr(t->chunks[1].chunk->marks));
		p2pdma_test_pool_destroy(test, t);
	}
}

/* Pieces that are too large for a CPU's slots, of several sizes */
static void large_pieces(struct kunit *test)
{
	static const unsigned int pages[] = { 512, 32, 33, 100, 4095, 4096 };
	struct p2pdma_test_pool *t = POOL(test, 512 * AREA);
	size_t all = p2pdma_pool_size(t->pool), size;
	unsigned int i, k, count;
	const char *wrong;
	void **addr;

	addr = kunit_kcalloc(test, all / (32 * PAGE_SIZE), sizeof(*addr),
			     GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, addr);
	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		size = pages[i] * PAGE_SIZE;
		count = all / size;
		for (k = 0; k < count; k++) {
			addr[k] = alloc(t, size);
			KUNIT_ASSERT_NOT_NULL_MSG(test, addr[k], "%u of %u pages",
						  k, pages[i]);
		}
		KUNIT_EXPECT_NULL(test, alloc(t, size));
		/* The next refusal needn't ask any CPU. */
		KUNIT_EXPECT_TRUE(test, cpumask_empty(&t->pool->keeping));
		for (k = 0; k < count; k++)
			KUNIT_EXPECT_TRUE(test, give(t, addr[k], size));
		wrong = p2pdma_test_pool_check(t->pool);
		KUNIT_ASSERT_NULL_MSG(test, wrong, "%u pages: %s", pages[i], wrong);
		/* All is free in one piece again, including cached pieces */
		KUNIT_ASSERT_TRUE_MSG(test, p2pdma_test_pool_all_free(test, t),
				      "%u pages", pages[i]);
	}
}

static struct kunit_case pool_cases[] = {
	KUNIT_CASE(no_chunk),
	KUNIT_CASE(bad_chunk),
	KUNIT_CASE(owner_changed),
	KUNIT_CASE(sizes),
	KUNIT_CASE(last_hole),
	KUNIT_CASE_PARAM(exhaustion, order_gen_params),
	KUNIT_CASE(chunks),
	KUNIT_CASE(chunk_added),
	KUNIT_CASE(last_page_elsewhere),
	KUNIT_CASE_PARAM(range_elsewhere, held_gen_params),
	KUNIT_CASE(range_of_both),
	KUNIT_CASE(cpu_removed),
	KUNIT_CASE(large_pieces),
	KUNIT_CASE_PARAM(bad_free, bad_free_gen_params),
	KUNIT_CASE(rounded_free),
	KUNIT_CASE(never_allocated),
	KUNIT_CASE(no_memory),
	KUNIT_CASE(lies_on_node),
	{ }
};

static struct kunit_suite pool_suite = {
	.name = "p2pdma_pool",
	.test_cases = pool_cases,
};

kunit_test_suite(pool_suite);

MODULE_DESCRIPTION("KUnit tests of the pool of PCI peer-to-peer DMA");
MODULE_LICENSE("GPL");
