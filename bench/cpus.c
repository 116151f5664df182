// SPDX-License-Identifier: GPL-2.0
/*
 * Part "cpus" of the benchmark: a pool that many CPUs have used.
 *
 * Counts instructions of refusals on one CPU, after all CPUs have allocated and
 * freed; and how many pieces of 2 MiB are free while each CPU has one page.
 * The figures' names end in the number of CPUs.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpumask.h>
#include <linux/irqflags.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci-p2pdma.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/timex.h>

#include <pci_fabric.h>

#include "bench.h"

#define CPUS_POOL	SZ_64M
#define CPUS_ROUNDS	31
#define CPUS_CALLS	100	/* in a round */
#define CPUS_PIECES	8	/* that each CPU has at a time */

static struct pci_dev *provider;
static void *held[NR_CPUS];
static void *pages[CPUS_POOL / PAGE_SIZE];

/* Allocate and free several sizes, so that the CPU caches what it can */
static void use(void *unused)
{
	static const size_t sizes[] = { SZ_4K, SZ_64K, SZ_128K };
	void *piece[CPUS_PIECES];
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (k = 0; k < CPUS_PIECES; k++)
			piece[k] = pci_alloc_p2pmem(provider, sizes[i]);
		for (k = 0; k < CPUS_PIECES; k++)
			if (piece[k])
				pci_free_p2pmem(provider, piece[k], sizes[i]);
	}
}

static void hold(void *unused)
{
	held[smp_processor_id()] = pci_alloc_p2pmem(provider, PAGE_SIZE);
}

static void on_each(void (*what)(void *unused))
{
	unsigned int cpu;

	for_each_online_cpu(cpu)
		smp_call_function_single(cpu, what, NULL, true);
}

/* Allocate @size bytes until the pool is empty, at most @most times */
static unsigned int take(void **piece, unsigned int most, size_t size)
{
	unsigned int count;

	for (count = 0; count < most; count++) {
		piece[count] = pci_alloc_p2pmem(provider, size);
		if (!piece[count])
			break;
	}
	return count;
}

static void give(void **piece, unsigned int count, size_t size)
{
	while (count--)
		pci_free_p2pmem(provider, piece[count], size);
}

static bool count_refusals(const char *what, size_t size)
{
	u64 took[CPUS_ROUNDS], start;
	unsigned int round, i;
	unsigned long flags;
	bool good = true;
	char name[32];

	for (round = 0; round < CPUS_ROUNDS; round++) {
		local_irq_save(flags);
		start = get_cycles();
		for (i = 0; i < CPUS_CALLS; i++)
			good &= !pci_alloc_p2pmem(provider, size);
		took[round] = get_cycles() - start;
		local_irq_restore(flags);
	}
	scnprintf(name, sizeof(name), "%s_%u", what, num_online_cpus());
	if (!good) {
		pr_err("%s: there was something\n", name);
		return false;
	}
	bench_log(name, bench_median(took, CPUS_ROUNDS), CPUS_CALLS);
	return true;
}

static bool count_all(void)
{
	unsigned int count, left, cpu;
	char name[32];
	bool good;

	on_each(use);
	count = take(pages, ARRAY_SIZE(pages), PAGE_SIZE);
	good = count == ARRAY_SIZE(pages) &&
	       count_refusals("refused_full", SZ_4K);
	/* Free the first and the last page, which are far apart */
	swap(pages[1], pages[count - 1]);
	give(pages, 2, PAGE_SIZE);
	good = good && count_refusals("refused_two", SZ_128K);
	give(pages + 2, count - 2, PAGE_SIZE);

	on_each(use);
	on_each(hold);
	left = take(pages, CPUS_POOL / SZ_2M, SZ_2M);
	scnprintf(name, sizeof(name), "left_2m_%u", num_online_cpus());
	bench_log(name, left, 1);
	give(pages, left, SZ_2M);
	for_each_online_cpu(cpu) {
		good &= !!held[cpu];
		if (held[cpu])
			pci_free_p2pmem(provider, held[cpu], PAGE_SIZE);
	}
	return good;
}

/**
 * bench_cpus - count refusals and free pieces of a pool that all CPUs use
 *
 * Return: 0 or what went wrong.
 */
int bench_cpus(void)
{
	struct pci_fabric *fabric;
	int error;

	fabric = bench_provider(CPUS_POOL, &provider);
	if (IS_ERR(fabric))
		return PTR_ERR(fabric);
	error = count_all() ? 0 : -ENOMEM;
	/* With memory still allocated, destroying the fabric would hang. */
	if (!error)
		pci_fabric_destroy(fabric);
	return error;
}
