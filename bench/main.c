// SPDX-License-Identifier: GPL-2.0
/*
 * Counts what P2PDMA costs, on PCI fabrics made in software.
 *
 * Loading the module runs one part once and logs one line for each figure: its
 * name, the median of the rounds, and how many calls a round has.  It reads the
 * time stamp counter, which counts instructions in a QEMU machine with "-icount
 * shift=0" (see bench/boot.py); on any other machine the figures mean little.
 * The instructions of loops and of calls through a pointer are not subtracted.
 * Figures whose names end in _ram are bytes instead.
 *
 * The module builds and runs on this P2PDMA core and on that of Linux 6.12,
 * where it leaves out the figures of functions that core lacks.  It doesn't
 * compare.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/kallsyms.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/sort.h>
#include <linux/string.h>

#include <pci_fabric.h>

#include "bench.h"

static char *run;
module_param(run, charp, 0);
MODULE_PARM_DESC(run, "the part to run: paths, pool, user, cpus, irqs or scaling");

static char *where;
module_param(where, charp, 0);
MODULE_PARM_DESC(where,
		 "the figure to show function by function: its call is repeated for ever");

static const struct {
	const char *name;
	int (*run)(void);
} parts[] = {
	{ "paths", bench_paths },
	{ "pool", bench_pool },
	{ "user", bench_user },
	{ "cpus", bench_cpus },
	{ "irqs", bench_irqs },
	{ "scaling", bench_scaling },
};

/**
 * bench_log - log a figure
 * @name: of the figure
 * @total: sum over all calls
 * @calls: number of calls
 */
void bench_log(const char *name, s64 total, unsigned int calls)
{
	pr_info("%s %lld %u\n", name, total, calls);
}

/**
 * bench_where - is this the figure to show function by function?
 * @name: of a figure
 * @call: the function to call; its address tells bench/where.py where calls
 *	begin
 *
 * Return: whether to repeat it forever.
 */
bool bench_where(const char *name, void *call)
{
	if (!where || strcmp(where, name))
		return false;
	pr_info("%s at 0x%lx\n", name, (unsigned long)call);
	return true;
}

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/**
 * bench_median - median of some values
 * @values: the values, which this sorts
 * @count: number of @values; odd
 *
 * Return: the median.
 */
u64 bench_median(u64 *values, unsigned int count)
{
	sort(values, count, sizeof(*values), compare, NULL);
	return values[count / 2];
}

/**
 * bench_symbol_is - does a function begin at an address?
 * @address: from a module parameter, checked as it is going to be called
 * @name: of the function
 *
 * Return: true if so; otherwise the symbol at @address is logged.
 */
bool bench_symbol_is(unsigned long address, const char *name)
{
	char symbol[KSYM_SYMBOL_LEN], begin[64];
	int length = scnprintf(begin, sizeof(begin), "%s+0x0/", name);

	snprintf(symbol, sizeof(symbol), "%pS", (void *)address);
	if (!strncmp(symbol, begin, length))
		return true;
	pr_err("0x%lx is %s, not %s()\n", address, symbol, name);
	return false;
}

/**
 * bench_provider - make a fabric with a provider, and register its memory
 * @size: of BAR 0, in bytes, registered as a whole
 * @provider: where to store the provider's device
 *
 * Return: the fabric, for pci_fabric_destroy(), or ERR_PTR() of the error.
 */
struct pci_fabric *bench_provider(u64 size, struct pci_dev **provider)
{
	const struct pci_fabric_node nodes[] = {
		{ .name = "host", .kind = PCI_FABRIC_HOST, .domain = 1 },
		{ .name = "root", .below = "host",
		  .kind = PCI_FABRIC_ROOT_PORT },
		{ .name = "provider", .below = "root",
		  .kind = PCI_FABRIC_ENDPOINT, .bar = { { size } } },
	};
	struct pci_fabric *fabric;
	int error;

	fabric = pci_fabric_create(nodes, ARRAY_SIZE(nodes));
	if (IS_ERR(fabric))
		return fabric;
	*provider = pci_fabric_dev(fabric, "provider");
	error = pci_p2pdma_add_resource(*provider, 0, 0, 0);
	if (!error)
		return fabric;
	pci_fabric_destroy(fabric);
	return ERR_PTR(error);
}

static int __init p2pdma_bench_init(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		if (run && !strcmp(run, parts[i].name))
			return parts[i].run();
	}
	pr_err("run=%s is no part of this\n", run ?: "");
	return -EINVAL;
}
module_init(p2pdma_bench_init);

static void __exit p2pdma_bench_exit(void)
{
}
module_exit(p2pdma_bench_exit);

MODULE_DESCRIPTION("Counts what PCI peer-to-peer DMA costs");
MODULE_LICENSE("GPL");
