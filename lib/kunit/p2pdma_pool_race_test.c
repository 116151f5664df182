// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of PCI peer-to-peer DMA: the pool, with concurrent users.
 *
 * On each CPU a thread, a timer in soft interrupts and one in hard interrupts
 * allocate and free, and pass memory on to each other.  Each user marks the
 * pages of its allocation as taken, which detects pages allocated twice.
 * Races depend on the machine: runs aren't reproducible.
 */

#include <kunit/test.h>
#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/time64.h>

#include "p2pdma_pool_test.h"

#define AREA	(8 * P2PDMA_LEAF_PAGES)	/* pages */
#define MAX_PAGES	(3 * AREA + 1)	/* in a chunk */
#define MAX_CPUS	8
#define HELD		24		/* pieces that a user has at a time */
#define PASSED		16		/* pieces that are passed on */
#define PERIOD		(100 * NSEC_PER_USEC)

static unsigned int steps = 20000;

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "p2pdma_pool_race."
module_param(steps, uint, 0444);
MODULE_PARM_DESC(steps, "How many steps a thread does at least, timers a tenth of it");

/* Rounds of double frees */
#define ROUNDS		max(steps / 7, 100U)

enum { TASK, SOFT_IRQ, HARD_IRQ, CONTEXTS };

static const char * const context_name[] = { "task", "soft irq", "hard irq" };

/* An allocation, or an unused slot */
struct piece {
	void *addr;
	size_t size;
	struct p2pdma_test_chunk *chunk;
	bool each;		/* allocated page by page */
};

struct race;

struct racer {
	struct race *race;
	struct rnd_state random;
	struct hrtimer timer;
	struct piece *held[HELD];
	unsigned int steps, refused;
};

struct race {
	struct p2pdma_test_pool *t;
	size_t most;			/* bytes in one piece */
	struct racer users[MAX_CPUS][CONTEXTS];
	struct piece pieces[MAX_CPUS * CONTEXTS * HELD + PASSED];
	struct piece *passed[PASSED];
	atomic_t taken[P2PDMA_TEST_CHUNKS][MAX_PAGES];
	atomic_t running;		/* threads */
	struct completion ended;
	bool stop;
	const char *wrong;		/* the first error */
};

static unsigned int below(struct racer *user, unsigned int n)
{
	return prandom_u32_state(&user->random) % n;
}

/* ---- A user ---- */

/* Mark all pages of a piece as taken or not taken */
static bool mark(struct race *race, const struct piece *p, bool taken)
{
	size_t offset = p->addr - p->chunk->start, page = offset / PAGE_SIZE;
	atomic_t *of_page = race->taken[p->chunk - race->t->chunks];
	bool right = true;

	if (offset + p->size > p->chunk->pages * PAGE_SIZE)
		return false;
	for (; page * PAGE_SIZE < offset + p->size; page++)
		right &= atomic_xchg(&of_page[page], taken) == !taken;
	return right;
}

static void wrong(struct race *race, const char *what)
{
	cmpxchg(&race->wrong, NULL, what);
}

static size_t random_size(struct racer *user)
{
	unsigned int roll = below(user, 100);
	size_t size;

	if (roll < 40)
		size = 1 + below(user, PAGE_SIZE - 1);
	else if (roll < 80)
		size = PAGE_SIZE + below(user, 4 * PAGE_SIZE);
	else if (roll < 97)
		size = PAGE_SIZE + below(user, 60 * PAGE_SIZE);
	else
		size = PAGE_SIZE + below(user, 2 * AREA * PAGE_SIZE);
	return min(size, user->race->most);
}

static void take(struct racer *user, struct piece *p)
{
	struct p2pdma_pool *pool = user->race->t->pool;
	void *owner = NULL;

	p->size = random_size(user);
	p->each = p->size >= PAGE_SIZE && !below(user, 5);
	if (p->each) {
		p->size = PAGE_ALIGN_DOWN(p->size);
		p->addr = p2pdma_pool_alloc_pages(pool, p->size, &owner);
	} else {
		p->addr = p2pdma_pool_alloc(pool, p->size, &owner);
	}
	if (!p->addr) {
		user->refused++;
		return;
	}
	p->chunk = owner;
	if (!mark(user->race, p, true))
		wrong(user->race, "memory was taken already, or isn't the pool's");
}

static void give(struct race *race, struct piece *p)
{
	size_t size = p->each ? PAGE_SIZE : p->size, done;

	if (!mark(race, p, false))
		wrong(race, "memory was another allocation's as well");
	for (done = 0; done < p->size; done += size)
		if (!p2pdma_pool_free(p->chunk->chunk, p->addr + done, size))
			wrong(race, "memory couldn't be freed");
	p->addr = NULL;
}

static void step(struct racer *user)
{
	struct piece **held = &user->held[below(user, HELD)];

	if (!below(user, 5))
		*held = xchg(&user->race->passed[below(user, PASSED)], *held);
	if ((*held)->addr)
		give(user->race, *held);
	else
		take(user, *held);
	WRITE_ONCE(user->steps, user->steps + 1);
}

static enum hrtimer_restart timer_step(struct hrtimer *timer)
{
	struct racer *user = container_of(timer, struct racer, timer);

	step(user);
	step(user);
	hrtimer_forward_now(timer, PERIOD);
	return HRTIMER_RESTART;
}

/* Have all users of this CPU done their steps? */
static bool enough(struct racer *users)
{
	return READ_ONCE(users[TASK].steps) >= steps &&
	       READ_ONCE(users[SOFT_IRQ].steps) >= steps / 10 &&
	       READ_ONCE(users[HARD_IRQ].steps) >= steps / 10;
}

/* The thread of one CPU, which has the timers started there */
static int run(void *data)
{
	struct racer *users = data;
	struct race *race = users->race;

	hrtimer_start(&users[SOFT_IRQ].timer, PERIOD,
		      HRTIMER_MODE_REL_PINNED_SOFT);
	hrtimer_start(&users[HARD_IRQ].timer, PERIOD,
		      HRTIMER_MODE_REL_PINNED_HARD);
	while (!enough(users) && !READ_ONCE(race->stop) &&
	       !READ_ONCE(race->wrong)) {
		step(&users[TASK]);
		if (users[TASK].steps % 256 == 0)
			cond_resched();
	}
	hrtimer_cancel(&users[SOFT_IRQ].timer);
	hrtimer_cancel(&users[HARD_IRQ].timer);
	if (atomic_dec_and_test(&race->running))
		complete(&race->ended);
	return 0;
}

/* ---- Users on all CPUs ---- */

struct race_case {
	const char *name;
	unsigned int pages[P2PDMA_TEST_CHUNKS + 1];
	unsigned int most;	/* pages in one piece */
	unsigned int grow;	/* chunks to add meanwhile */
	unsigned int remove;	/* how often to take a CPU offline */
};

static const struct race_case race_cases[] = {
	{ "roomy", { 3 * AREA + 1, 77, 3 * AREA, AREA }, 2 * AREA },
	{ "one_area", { AREA }, 64 },
	{ "two_areas", { 2 * AREA }, 2 * AREA },
	{ "tight", { 41 }, 30 },
	{ "one_page", { 1 }, 1 },
	{ "chunks_added", { 33 }, AREA + 40, .grow = 3 },
#ifdef CONFIG_HOTPLUG_CPU
	{ "cpu_removed", { 3 * AREA, 20 }, 2 * AREA, .remove = 4 },
#endif
};

KUNIT_ARRAY_PARAM_DESC(race_case, race_cases, name);

static void new_user(struct race *race, struct racer *user,
		     struct piece **piece, unsigned int context)
{
	unsigned int i;

	user->race = race;
	prandom_seed_state(&user->random, get_random_u64());
	for (i = 0; i < HELD; i++)
		user->held[i] = (*piece)++;
	if (context == TASK)
		return;
	hrtimer_init(&user->timer, CLOCK_MONOTONIC,
		     context == SOFT_IRQ ? HRTIMER_MODE_REL_PINNED_SOFT :
					   HRTIMER_MODE_REL_PINNED_HARD);
	user->timer.function = timer_step;
}

static void add_chunk(struct kunit *test, struct p2pdma_test_pool *t)
{
	struct p2pdma_test_chunk *c = &t->chunks[t->count++];

	c->pages = 2 * AREA + t->count;
	c->start = (void *)(t->count * SZ_1T);
	KUNIT_EXPECT_EQ(test, 0, p2pdma_pool_add(t->pool, c->start,
						 c->pages * PAGE_SIZE, c,
						 &c->chunk));
}

#ifdef CONFIG_HOTPLUG_CPU
static void off_and_on(struct kunit *test, unsigned int cpu)
{
	KUNIT_EXPECT_EQ(test, 0, remove_cpu(cpu));
	KUNIT_EXPECT_EQ(test, 0, add_cpu(cpu));
}
#else
static void off_and_on(struct kunit *test, unsigned int cpu) { }
#endif

/* Check, add chunks and take a CPU offline until the threads have ended */
static void meanwhile(struct kunit *test, struct race *race, unsigned int cpu)
{
	const struct race_case *param = test->param_value;
	unsigned int grown = 0, removed = 0, waits = 0;
	struct p2pdma_pool *pool = race->t->pool;

	while (!wait_for_completion_timeout(&race->ended,
					    msecs_to_jiffies(20))) {
		if (p2pdma_pool_available(pool) > p2pdma_pool_size(pool))
			wrong(race, "more is available than there is");
		if (grown < param->grow && waits++ % 4 == 0) {
			add_chunk(test, race->t);
			grown++;
		}
		if (removed < param->remove) {
			off_and_on(test, cpu);
			removed++;
		}
	}
}

static void all_at_once(struct kunit *test)
{
	const struct race_case *param = test->param_value;
	struct race *race = kunit_kzalloc(test, sizeof(*race), GFP_KERNEL);
	unsigned int i, k, cpu, last = 0, refused = 0, count = 0;
	struct task_struct *threads[MAX_CPUS];
	struct piece *piece;

	KUNIT_ASSERT_NOT_NULL(test, race);
	race->t = p2pdma_test_pool(test, NUMA_NO_NODE, param->pages);
	race->most = param->most * PAGE_SIZE;
	init_completion(&race->ended);
	piece = race->pieces;
	for (i = 0; i < PASSED; i++)
		race->passed[i] = piece++;

	for_each_online_cpu(cpu) {
		if (count == MAX_CPUS)
			break;
		last = cpu;
		for (i = 0; i < CONTEXTS; i++)
			new_user(race, &race->users[count][i], &piece, i);
		threads[count] = kthread_create_on_cpu(run, race->users[count],
						       cpu, "p2pdma_race/%u");
		if (IS_ERR(threads[count]))
			break;
		count++;
	}
	KUNIT_EXPECT_EQ(test, count, min(num_online_cpus(), MAX_CPUS));
	if (!count)
		return;
	/* Before any thread runs: each one decrements it at its end. */
	atomic_set(&race->running, count);
	for (i = 0; i < count; i++)
		wake_up_process(threads[i]);
	meanwhile(test, race, last);

	for (i = 0; i < ARRAY_SIZE(race->pieces); i++)
		if (race->pieces[i].addr)
			give(race, &race->pieces[i]);
	KUNIT_EXPECT_NULL_MSG(test, race->wrong, "%s", race->wrong);
	if (!race->wrong)
		p2pdma_test_pool_all_free(test, race->t);
	for (k = 0; k < CONTEXTS; k++) {
		unsigned int done = 0;

		for (i = 0; i < count; i++) {
			done += race->users[i][k].steps;
			refused += race->users[i][k].refused;
		}
		kunit_info(test, "%s: %u steps\n", context_name[k], done);
	}
	kunit_info(test, "%u allocations refused\n", refused);
	if (param->most > 1 && !param->grow)
		KUNIT_EXPECT_GT(test, refused, 0);
}

/* ---- Double frees ---- */

struct double_free {
	struct kunit *test;
	struct p2pdma_test_pool *t;
	void *addr;
	size_t size;
	unsigned int round;		/* in which the other thread may free */
	unsigned int answered;		/* last round in which it has freed */
	bool freed;			/* whether its free succeeded */
	bool stop;
	struct completion ended;
};

static int other(void *data)
{
	struct double_free *d = data;
	unsigned int round = 0;

	/* For the stub that counts warnings. */
	current->kunit_test = d->test;
	while (!READ_ONCE(d->stop)) {
		/* Pairs with the release of @round: orders reading @addr. */
		if (smp_load_acquire(&d->round) == round) {
			cpu_relax();
			cond_resched();
			continue;
		}
		round++;
		d->freed = p2pdma_pool_free(d->t->chunks[0].chunk, d->addr,
					    d->size);
		/* Publishes @freed. */
		smp_store_release(&d->answered, round);
	}
	current->kunit_test = NULL;
	complete(&d->ended);
	return 0;
}

struct double_case {
	const char *name;
	size_t size;
};

static const struct double_case double_cases[] = {
	{ "page", PAGE_SIZE },
	{ "pages", 70 * PAGE_SIZE },
	{ "pages_of_two_areas", (AREA + 5) * PAGE_SIZE },
};

KUNIT_ARRAY_PARAM_DESC(double_case, double_cases, name);

/* Of two concurrent frees one succeeds, the other is refused with a warning. */
static void two_free_it(struct kunit *test)
{
	static const unsigned int pages[] = { 2 * AREA, 0 };
	const struct double_case *param = test->param_value;
	struct double_free *d = kunit_kzalloc(test, sizeof(*d), GFP_KERNEL);
	unsigned int both = 0, none = 0, lost = 0, won = 0, round;
	struct task_struct *thread;
	const char *wrong = NULL;
	void *owner;
	bool freed;

	if (num_online_cpus() < 2)
		kunit_skip(test, "one CPU only");
	KUNIT_ASSERT_NOT_NULL(test, d);
	d->test = test;
	d->t = p2pdma_test_pool(test, NUMA_NO_NODE, pages);
	d->size = param->size;
	init_completion(&d->ended);
	thread = kthread_run(other, d, "p2pdma_free");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, thread);

	for (round = 1; round <= ROUNDS && !wrong; round++) {
		d->addr = p2pdma_pool_alloc(d->t->pool, d->size, &owner);
		if (!d->addr)
			break;
		/* Publishes @addr. */
		smp_store_release(&d->round, round);
		freed = p2pdma_pool_free(d->t->chunks[0].chunk, d->addr,
					 d->size);
		/* Pairs with the release of @answered: orders @freed. */
		while (smp_load_acquire(&d->answered) != round) {
			cpu_relax();
			cond_resched();
		}
		both += freed && d->freed;
		none += !freed && !d->freed;
		won += freed;
		lost += !freed;
		if (round % 100 == 0)
			wrong = p2pdma_test_pool_check(d->t->pool);
	}
	WRITE_ONCE(d->stop, true);
	wait_for_completion(&d->ended);

	KUNIT_EXPECT_EQ(test, round, ROUNDS + 1);
	KUNIT_EXPECT_NULL_MSG(test, wrong, "%s", wrong);
	KUNIT_EXPECT_EQ(test, both, 0);
	KUNIT_EXPECT_EQ(test, none, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&d->t->warnings), round - 1);
	p2pdma_test_pool_all_free(test, d->t);
	kunit_info(test, "first of the two: %u times, %u times the other one\n",
		   won, lost);
}

static struct kunit_case race_test_cases[] = {
	KUNIT_CASE_PARAM_ATTR(all_at_once, race_case_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE_PARAM(two_free_it, double_case_gen_params),
	{ }
};

static struct kunit_suite race_suite = {
	.name = "p2pdma_pool_race",
	.test_cases = race_test_cases,
};

kunit_test_suite(race_suite);

MODULE_DESCRIPTION("KUnit tests of the pool of PCI peer-to-peer DMA, many users");
MODULE_LICENSE("GPL");
