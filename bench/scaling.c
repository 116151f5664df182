// SPDX-License-Identifier: GPL-2.0
/*
 * How much more two CPUs do than one when both allocate from one provider.
 *
 * This measures time, not instructions: CPUs wait for each other only in real
 * time.  A busy host takes CPU time away from single windows, so there are
 * many, alternately of one CPU and of two, and the best are those that weren't
 * disturbed.  Work in which CPUs share nothing alternates with the others; the
 * gain of two CPUs there is the most that this host can give.
 *
 * Logs rates per second, not ratios.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/pci-p2pdma.h>
#include <linux/sizes.h>
#include <linux/sort.h>
#include <linux/spinlock.h>

#include <pci_fabric.h>

#include "bench.h"

#define SCALING_CPUS		2
#define SCALING_WINDOWS		30	/* of each kind of work, for one CPU and for two */
#define SCALING_BEST		5	/* windows that count */
#define SCALING_WINDOW_MS	150
#define SCALING_BURST		64	/* pieces between checks of the time */
#define SCALING_BITS		512

static struct pci_dev *provider;
static unsigned long end;		/* of the window; jiffies */

/* Data of one CPU, not shared */
static struct scaling_private {
	spinlock_t lock;	/* of @used */
	DECLARE_BITMAP(used, SCALING_BITS);
} ____cacheline_aligned private[SCALING_CPUS];

/* From the CPU that allocates to the CPU that frees; NULL is an empty slot */
static void *handed[SCALING_BURST];

/**
 * struct scaling_work - a kind of work
 * @name: of the figures
 * @piece: does one piece; false if it could not be done
 * @size: bytes to allocate
 * @together: CPUs that do each piece together
 */
struct scaling_work {
	const char *name;
	bool (*piece)(const struct scaling_work *work, unsigned int cpu,
		      unsigned int i);
	size_t size;
	unsigned int together;
};

static bool allocate(const struct scaling_work *work, unsigned int cpu,
		     unsigned int i)
{
	void *memory = pci_alloc_p2pmem(provider, work->size);

	if (!memory)
		return false;
	pci_free_p2pmem(provider, memory, work->size);
	return true;
}

/* The first CPU allocates, the other CPU frees */
static bool hand_over(const struct scaling_work *work, unsigned int cpu,
		      unsigned int i)
{
	void *memory;

	if (cpu == 0) {
		while (READ_ONCE(handed[i])) {
			if (time_after_eq(jiffies, end))
				return true;
			cpu_relax();
		}
		memory = pci_alloc_p2pmem(provider, work->size);
		/* The other CPU frees it after the allocation is complete. */
		smp_store_release(&handed[i], memory);
		return memory;
	}

	/* Pairs with the release above. */
	while (!(memory = smp_load_acquire(&handed[i]))) {
		if (time_after_eq(jiffies, end))
			return true;
		cpu_relax();
	}
	WRITE_ONCE(handed[i], NULL);
	pci_free_p2pmem(provider, memory, work->size);
	return true;
}

/* About as many instructions as an allocation, with a lock for each CPU */
static bool work_apart(const struct scaling_work *work, unsigned int cpu,
		       unsigned int i)
{
	struct scaling_private *mine = &private[cpu];
	unsigned long flags, bit;

	spin_lock_irqsave(&mine->lock, flags);
	bit = bitmap_find_next_zero_area(mine->used, SCALING_BITS, 0, 1, 0);
	bitmap_set(mine->used, bit, 1);
	spin_unlock_irqrestore(&mine->lock, flags);

	spin_lock_irqsave(&mine->lock, flags);
	bitmap_clear(mine->used, bit, 1);
	spin_unlock_irqrestore(&mine->lock, flags);
	return true;
}

static const struct scaling_work works[] = {
	{ "scaling_apart", work_apart, .together = 1 },
	{ "scaling_4k", allocate, SZ_4K, .together = 1 },
	{ "scaling_128k", allocate, SZ_128K, .together = 1 },
	{ "scaling_hand_over", hand_over, SZ_4K, .together = 2 },
};

/**
 * struct scaling_worker - one CPU in one window
 * @work: the kind of work
 * @cpu: number of the CPU
 * @rate: pieces per second
 * @failed: a piece could not be done
 * @done: completed when the worker has stopped
 */
struct scaling_worker {
	const struct scaling_work *work;
	unsigned int cpu;
	u64 rate;
	bool failed;
	struct completion done;
};

static int worker(void *data)
{
	struct scaling_worker *me = data;
	u64 start = ktime_get_ns();
	u64 pieces = 0;
	unsigned int i;

	while (!me->failed && time_before(jiffies, end)) {
		for (i = 0; i < SCALING_BURST; i++)
			me->failed |= !me->work->piece(me->work, me->cpu, i);
		pieces += SCALING_BURST;
	}
	me->rate = div64_u64(pieces * NSEC_PER_SEC, ktime_get_ns() - start);
	complete(&me->done);
	return 0;
}

/* One window; @rate: pieces per second of all CPUs */
static int window(const struct scaling_work *work, unsigned int cpus, u64 *rate)
{
	struct scaling_worker workers[SCALING_CPUS] = { };
	struct task_struct *tasks[SCALING_CPUS];
	unsigned int i, started;
	int error = 0;

	for (started = 0; started < cpus; started++) {
		workers[started].work = work;
		workers[started].cpu = started;
		init_completion(&workers[started].done);
		tasks[started] = kthread_create_on_cpu(worker,
						       &workers[started],
						       started, "bench/%u");
		if (IS_ERR(tasks[started])) {
			error = PTR_ERR(tasks[started]);
			break;
		}
	}
	end = jiffies + msecs_to_jiffies(SCALING_WINDOW_MS);
	for (i = 0; i < started; i++)
		wake_up_process(tasks[i]);

	*rate = 0;
	for (i = 0; i < started; i++) {
		wait_for_completion(&workers[i].done);
		*rate += workers[i].rate;
		if (workers[i].failed)
			error = -ENOMEM;
	}
	*rate = div_u64(*rate, work->together);
	for (i = 0; i < SCALING_BURST; i++) {
		if (handed[i])
			pci_free_p2pmem(provider, handed[i], work->size);
		handed[i] = NULL;
	}
	return error;
}

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

static int measure(void)
{
	static u64 rates[ARRAY_SIZE(works)][SCALING_CPUS][SCALING_WINDOWS];
	unsigned int w, cpus, i;
	char name[40];
	int error;

	for (i = 0; i < SCALING_WINDOWS; i++) {
		for (w = 0; w < ARRAY_SIZE(works); w++) {
			cpus = works[w].together;
			for (; cpus <= SCALING_CPUS; cpus++) {
				error = window(&works[w], cpus,
					       &rates[w][cpus - 1][i]);
				if (error) {
					pr_err("%s failed\n", works[w].name);
					return error;
				}
			}
		}
	}

	for (w = 0; w < ARRAY_SIZE(works); w++) {
		cpus = works[w].together;
		for (; cpus <= SCALING_CPUS; cpus++) {
			u64 *sorted = rates[w][cpus - 1];
			u64 sum = 0;

			sort(sorted, SCALING_WINDOWS, sizeof(*sorted), compare,
			     NULL);
			for (i = 0; i < SCALING_BEST; i++)
				sum += sorted[i];
			scnprintf(name, sizeof(name), "%s_by_%u", works[w].name,
				  cpus);
			bench_log(name, sum, SCALING_BEST);
		}
	}
	return 0;
}

/**
 * bench_scaling - measure how much more two CPUs do than one
 *
 * Return: 0; -ENODEV without two CPUs; or another negative error code.
 */
int bench_scaling(void)
{
	struct pci_fabric *fabric;
	unsigned int i;
	int error;

	for (i = 0; i < SCALING_CPUS; i++) {
		spin_lock_init(&private[i].lock);
		if (!cpu_online(i)) {
			pr_err("there is no CPU %u\n", i);
			return -ENODEV;
		}
	}

	fabric = bench_provider(SZ_64M, &provider);
	if (IS_ERR(fabric))
		return PTR_ERR(fabric);

	error = measure();
	pci_fabric_destroy(fabric);
	return error;
}
