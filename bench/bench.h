/* SPDX-License-Identifier: GPL-2.0 */
/* Declarations that the parts of the benchmark module share. */

#ifndef _BENCH_H
#define _BENCH_H

#include <linux/types.h>

#include <linux/pci-p2pdma.h>

struct pci_dev;
struct pci_fabric;

/* The core of Linux 6.12 has no such macro. */
#ifdef P2PDMA_READ
#define BENCH_OURS	1
#else
#define BENCH_OURS	0
#endif

void bench_log(const char *name, s64 total, unsigned int calls);
u64 bench_median(u64 *values, unsigned int count);
bool bench_where(const char *name, void *call);
bool bench_symbol_is(unsigned long address, const char *name);
struct pci_fabric *bench_provider(u64 size, struct pci_dev **provider);

/* The parts; each runs in its own guest */
int bench_paths(void);
int bench_pool(void);
int bench_user(void);
int bench_cpus(void);
int bench_irqs(void);
int bench_scaling(void);

#endif /* _BENCH_H */
