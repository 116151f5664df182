// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit test of PCI peer-to-peer DMA: the pool, in random sequences compared
 * with a naive model.
 *
 * The model has a flag for each page, and scans the pages one by one.  It
 * doesn't predict where the pool allocates: memory that the pool allocates must
 * be free in the model, and for a request that the pool refuses the model must
 * have no room.  The seed determines everything:
 *
 *	p2pdma_pool_random.seed=N	seed of the first sequence, the next one
 *					has N + 1; a message names it.  A new
 *					one each time if not given.
 *	p2pdma_pool_random.operations=N	number of operations in all sequences
 */

#include <kunit/test.h>
#include <linux/cpumask.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/overflow.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/smp.h>

#include "p2pdma_pool_test.h"

#define AREA	(8 * P2PDMA_LEAF_PAGES)	/* pages */
#define MAX_PAGES	(3 * AREA)	/* in a chunk */
#define MAX_LIVE	4096		/* allocations at a time */
#define SEQUENCE	10000		/* operations on one pool */
#define CHUNK		100000		/* in one run of the test case */
#define PHASE		200		/* in which a pool fills, or empties */

static unsigned long long seed;
/* Fewer with sanitizers, which are slow; there are no races for KCSAN here. */
static unsigned int operations = IS_ENABLED(CONFIG_KCSAN) ? 10000 :
				 IS_ENABLED(CONFIG_KASAN) ? 100000 : 1000000;

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "p2pdma_pool_random."
module_param(seed, ullong, 0444);
MODULE_PARM_DESC(seed, "Seed of the first random sequence of allocations");
module_param(operations, uint, 0444);
MODULE_PARM_DESC(operations, "How many random operations on pools to do");

struct allocation {
	void *addr;
	size_t size;
	unsigned int chunk;
};

enum what {
	LESS, PAGES, MANY, BEYOND_AREA, EACH, REFUSED, BAD_FREE, KINDS
};

static const char * const what_name[] = {
	"less than a page", "pages", "many pages", "more than an area",
	"pages by themselves", "refused", "bad frees",
};

struct model {
	struct kunit *test;
	struct rnd_state random;
	struct p2pdma_test_pool *t;
	bool used[P2PDMA_TEST_CHUNKS][MAX_PAGES];
	size_t pages_used;
	struct allocation live[MAX_LIVE];
	unsigned int count;		/* of @live */
	unsigned int fill;		/* percent of operations that allocate */
	unsigned int large;		/* percent of these that are large */
	unsigned int seen[KINDS];
	const char *wrong;
	struct allocation last;		/* of the last operation */
};

static unsigned int below(struct model *m, unsigned int n)
{
	return prandom_u32_state(&m->random) % n;
}

static bool chance(struct model *m, unsigned int percent)
{
	return below(m, 100) < percent;
}

/* ---- The model ---- */

/* What is wrong with a new allocation, or NULL */
static const char *take(struct model *m, const struct allocation *a)
{
	struct p2pdma_test_chunk *c = &m->t->chunks[a->chunk];
	size_t offset = a->addr - c->start, end, page;

	if (!PAGE_ALIGNED(offset))
		return "isn't aligned";
	if (check_add_overflow(offset, a->size, &end) ||
	    end > c->pages * PAGE_SIZE)
		return "isn't of its owner's chunk";

	for (page = offset / PAGE_SIZE; page * PAGE_SIZE < end; page++) {
		if (m->used[a->chunk][page])
			return "was taken";
		m->pages_used++;
		m->used[a->chunk][page] = true;
	}
	return NULL;
}

static void give_back(struct model *m, const struct allocation *a)
{
	size_t offset = a->addr - m->t->chunks[a->chunk].start;
	size_t page;

	for (page = offset / PAGE_SIZE; page * PAGE_SIZE < offset + a->size;
	     page++) {
		m->used[a->chunk][page] = false;
		m->pages_used--;
	}
}

/* Are there @pages free pages in a row? */
static bool has_run(const struct model *m, size_t pages)
{
	unsigned int i, page;
	size_t run;

	for (i = 0; i < m->t->count; i++) {
		run = 0;
		for (page = 0; page < m->t->chunks[i].pages; page++) {
			run = m->used[i][page] ? 0 : run + 1;
			if (run >= pages)
				return true;
		}
	}
	return false;
}

/* Would this be a valid free? */
static bool is_live(const struct model *m, unsigned int chunk, void *addr,
		    size_t size)
{
	const struct allocation *a;
	unsigned int i;

	for (i = 0; i < m->count; i++) {
		a = &m->live[i];
		if (a->chunk == chunk && a->addr == addr)
			return DIV_ROUND_UP(size, PAGE_SIZE) ==
			       DIV_ROUND_UP(a->size, PAGE_SIZE);
	}
	return false;
}

/* ---- Operations ---- */

static size_t random_size(struct model *m, enum what *what)
{
	if (!chance(m, m->large) && chance(m, 50)) {
		*what = LESS;
		return 1 + below(m, PAGE_SIZE - 1);
	}
	if (!chance(m, m->large)) {
		*what = PAGES;
		return PAGE_SIZE + below(m, 16 * PAGE_SIZE);
	}
	if (chance(m, 60)) {
		*what = MANY;
		return 17 * PAGE_SIZE + below(m, (AREA - 17) * PAGE_SIZE);
	}
	*what = BEYOND_AREA;
	return AREA * PAGE_SIZE + 1 +
	       below(m, (chance(m, 70) ? 64 : MAX_PAGES - AREA) * PAGE_SIZE);
}

static bool add_live(struct model *m, void *addr, size_t size,
		     unsigned int chunk)
{
	struct allocation *a = &m->live[m->count];

	*a = (struct allocation) { addr, size, chunk };
	m->last = *a;
	m->wrong = take(m, a);
	m->count++;
	return !m->wrong;
}

static void allocate(struct model *m)
{
	struct p2pdma_test_chunk *c;
	bool each = chance(m, 10);
	void *owner = NULL, *addr;
	enum what what;
	size_t size, pages, i;

	size = random_size(m, &what);
	pages = DIV_ROUND_UP(size, PAGE_SIZE);
	if (each)
		what = EACH;
	if (m->count + (each ? pages : 1) > MAX_LIVE)
		return;

	if (each)
		addr = p2pdma_pool_alloc_pages(m->t->pool, pages * PAGE_SIZE,
					       &owner);
	else
		addr = p2pdma_pool_alloc(m->t->pool, size, &owner);
	m->last = (struct allocation) { addr, size };
	if (!addr) {
		m->seen[REFUSED]++;
		if (has_run(m, pages))
			m->wrong = "was refused, and there was enough";
		return;
	}

	m->seen[what]++;
	c = owner;
	if (c < m->t->chunks || c >= m->t->chunks + m->t->count) {
		m->wrong = "hasn't an owner";
		return;
	}
	if (!each) {
		add_live(m, addr, size, c - m->t->chunks);
		return;
	}
	for (i = 0; i < pages; i++)
		if (!add_live(m, addr + i * PAGE_SIZE, PAGE_SIZE,
			      c - m->t->chunks))
			return;
}

static void free_one(struct model *m, unsigned int index)
{
	struct allocation *a = &m->live[index];

	m->last = *a;
	give_back(m, a);
	if (!p2pdma_pool_free(m->t->chunks[a->chunk].chunk, a->addr, a->size))
		m->wrong = "couldn't be freed";
	*a = m->live[--m->count];
}

static void free_wrongly(struct model *m)
{
	struct allocation a = m->live[below(m, m->count)];
	int warnings = atomic_read(&m->t->warnings);
	long unit = chance(m, 50) ? PAGE_SIZE / 64 : PAGE_SIZE;
	enum what what;

	switch (below(m, 4)) {
	case 0:
		a.chunk = below(m, m->t->count);
		break;
	case 1:
		a.addr += unit * ((long)below(m, 8) - 4);
		break;
	case 2:
		a.size += unit * below(m, 8);
		break;
	case 3:
		a.size = random_size(m, &what);
	}
	if (is_live(m, a.chunk, a.addr, a.size))
		return;

	m->seen[BAD_FREE]++;
	m->last = a;
	if (p2pdma_pool_free(m->t->chunks[a.chunk].chunk, a.addr, a.size))
		m->wrong = "bad free wasn't refused";
	else if (atomic_read(&m->t->warnings) != warnings + 1)
		m->wrong = "bad free hasn't had one warning";
}

static void check(struct model *m)
{
	size_t size = p2pdma_pool_size(m->t->pool);
	int warnings = atomic_read(&m->t->warnings);

	if (m->wrong)
		return;
	m->wrong = p2pdma_test_pool_check(m->t->pool);
	if (!m->wrong && p2pdma_pool_available(m->t->pool) !=
			 size - m->pages_used * PAGE_SIZE)
		m->wrong = "what is available isn't what is free";
	if (!m->wrong && warnings != m->seen[BAD_FREE])
		m->wrong = "warning of what was right";
}

static void operation(struct model *m)
{
	if (chance(m, 5) && m->count)
		free_wrongly(m);
	else if (chance(m, m->fill) || !m->count)
		allocate(m);
	else
		free_one(m, below(m, m->count));
	check(m);
}

/* ---- The test ---- */

/* Choose a CPU and a mix of operations for the next phase */
static void new_phase(struct model *m)
{
	static const unsigned int fills[] = { 0, 0, 30, 48, 52, 70, 95 };
	static const unsigned int larges[] = { 0, 3, 30, 90 };

	set_cpus_allowed_ptr(current,
			     cpumask_of(cpumask_nth(below(m, num_online_cpus()),
						    cpu_online_mask)));
	m->fill = fills[below(m, ARRAY_SIZE(fills))];
	m->large = larges[below(m, ARRAY_SIZE(larges))];
	/* Otherwise there would seldom be room for a large allocation. */
	while (!m->wrong && !m->fill && m->count)
		free_one(m, below(m, m->count));
	cond_resched();
}

static void anywhere(void *data)
{
	set_cpus_allowed_ptr(current, cpu_possible_mask);
}

static struct p2pdma_test_pool *random_pool(struct model *m)
{
	unsigned int pages[P2PDMA_TEST_CHUNKS + 1] = { };
	unsigned int i, count = 1 + below(m, P2PDMA_TEST_CHUNKS);

	for (i = 0; i < count; i++)
		pages[i] = chance(m, 30) ? 1 + below(m, 64) :
					   AREA + below(m, MAX_PAGES - AREA);
	return p2pdma_test_pool(m->test, NUMA_NO_NODE, pages);
}

/* Return: false if something was wrong */
static bool sequence(struct model *m, u64 first, unsigned int count)
{
	struct kunit *test = m->test;
	unsigned int i, bad = m->seen[BAD_FREE];
	bool sound;

	prandom_seed_state(&m->random, first);
	memset(m->used, 0, sizeof(m->used));
	m->pages_used = 0;
	m->count = 0;
	m->seen[BAD_FREE] = 0;
	m->t = random_pool(m);

	for (i = 0; !m->wrong && i < count; i++) {
		if (i % PHASE == 0)
			new_phase(m);
		operation(m);
	}
	while (!m->wrong && m->count) {
		free_one(m, below(m, m->count));
		if (m->count % 64 == 0)
			check(m);
	}
	if (m->wrong) {
		kunit_err(test, "operation %u, the last one with %zu bytes at %#lx, chunk %u\n",
			  i, m->last.size, (unsigned long)m->last.addr,
			  m->last.chunk);
		KUNIT_FAIL(test,
			   "%s; p2pdma_pool_random.seed=%llu p2pdma_pool_random.operations=%u repeats it",
			   m->wrong, first, SEQUENCE);
		return false;
	}
	sound = p2pdma_test_pool_all_free(test, m->t);
	m->seen[BAD_FREE] += bad;
	p2pdma_test_pool_destroy(test, m->t);
	return sound;
}

/* Each run of the test case does a share, as one long run would time out */
static const void *random_gen_params(const void *prev, char *desc)
{
	unsigned long chunk = prev ? (unsigned long)prev : 0;
	unsigned int first = chunk * CHUNK;

	if (first >= operations)
		return NULL;
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u to %u", first,
		 min(first + CHUNK, operations) - 1);
	return (void *)(chunk + 1);
}

static void agrees_with_model(struct kunit *test)
{
	unsigned long chunk = (unsigned long)test->param_value - 1;
	unsigned int done, share = min(CHUNK, operations - chunk * CHUNK);
	struct model *m;
	u64 first;
	int i;

	if (!seed)
		seed = get_random_u32();
	first = seed + chunk * (CHUNK / SEQUENCE);
	kunit_info(test, "p2pdma_pool_random.seed=%llu\n", first);
	m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, m);
	m->test = test;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, anywhere,
							   NULL));

	for (done = 0; done < share; done += SEQUENCE)
		if (!sequence(m, first + done / SEQUENCE,
			      min(SEQUENCE, share - done)))
			return;

	for (i = 0; i < KINDS; i++)
		kunit_info(test, "%s: %u\n", what_name[i], m->seen[i]);
	for (i = 0; i < KINDS && share == CHUNK; i++)
		KUNIT_EXPECT_GT_MSG(test, m->seen[i], 20, "%s", what_name[i]);
}

static struct kunit_case random_cases[] = {
	KUNIT_CASE_PARAM_ATTR(agrees_with_model, random_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	{ }
};

static struct kunit_suite random_suite = {
	.name = "p2pdma_pool_random",
	.test_cases = random_cases,
};

kunit_test_suite(random_suite);

MODULE_DESCRIPTION("KUnit test of the pool of PCI peer-to-peer DMA, at random");
MODULE_LICENSE("GPL");
