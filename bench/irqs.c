// SPDX-License-Identifier: GPL-2.0
/*
 * Part "irqs" of the benchmark: requests of all sizes to a pool that all CPUs
 * use.
 *
 * Counts nothing itself: repeats the requests forever, for bench/irqs.py, which
 * traces each instruction.
 */

#include <linux/cpumask.h>
#include <linux/mm.h>
#include <linux/pci-p2pdma.h>
#include <linux/sizes.h>
#include <linux/workqueue.h>

#include <pci_fabric.h>

#include "bench.h"

#define IRQS_POOL	(64ULL * SZ_1G)

static struct pci_dev *provider;

static void alloc_free(size_t size)
{
	void *addr = pci_alloc_p2pmem(provider, size);

	if (addr)
		pci_free_p2pmem(provider, addr, size);
}

/* Leaves memory in this CPU's cache */
static long use(void *unused)
{
	alloc_free(SZ_4K);
	alloc_free(SZ_128K);
	return 0;
}

static noinline void request_all(void)
{
	unsigned int cpu;
	size_t size;

	for_each_online_cpu(cpu)
		work_on_cpu(cpu, use, NULL);
	for (size = PAGE_SIZE; size <= IRQS_POOL; size *= 4)
		alloc_free(size);
	/* One page more, so that it isn't a multiple of a leaf */
	alloc_free(SZ_1G + SZ_4K);
}

/**
 * bench_irqs - repeat requests forever, to be traced
 *
 * Return: the error; -EINVAL without the parameter where=irqs.
 */
int bench_irqs(void)
{
	struct pci_fabric *fabric = bench_provider(IRQS_POOL, &provider);

	if (IS_ERR(fabric))
		return PTR_ERR(fabric);
	if (bench_where("irqs", request_all)) {
		for (;;)
			request_all();
	}
	pci_fabric_destroy(fabric);
	return -EINVAL;
}
