// SPDX-License-Identifier: GPL-2.0
/*
 * Part "irqs" of the benchmark: for how long interrupts are off at one stretch.
 *
 * A timer expires again and again while memory is allocated and freed, and its
 * handler looks how late it is.  What it is late where nothing happens is taken
 * off.  The timer's phase differs from run to run, so that a stretch longer than
 * IRQS_PERIOD is met at its very begin.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/pci-p2pdma.h>
#include <linux/preempt.h>
#include <linux/sizes.h>
#include <linux/smp.h>

#include <pci_fabric.h>

#include "bench.h"

#define IRQS_PERIOD	20000	/* nanoseconds, which are instructions */
#define IRQS_PHASES	20
#define IRQS_SHORTEST	NSEC_PER_MSEC	/* that a run takes */

static struct pci_dev *provider;

/* What the timer finds; of the CPU that it runs on */
static struct {
	struct hrtimer timer;
	unsigned long tick;	/* jiffies as last seen */
	s64 latest;
} irqs;

static enum hrtimer_restart expired(struct hrtimer *timer)
{
	s64 late = ktime_to_ns(ktime_sub(ktime_get(),
					 hrtimer_get_expires(timer)));
	unsigned long tick = jiffies;

	/* The tick may have been in the way. */
	if (tick == irqs.tick && late > irqs.latest)
		irqs.latest = late;
	irqs.tick = tick;
	hrtimer_forward_now(timer, IRQS_PERIOD);
	return HRTIMER_RESTART;
}

static void nothing(size_t size)
{
	ndelay(1000);
}

static void alloc_free(size_t size)
{
	void *addr = pci_alloc_p2pmem(provider, size);

	if (addr)
		pci_free_p2pmem(provider, addr, size);
}

/* Have this CPU keep whatever it may. */
static void use(void *unused)
{
	alloc_free(SZ_4K);
	alloc_free(SZ_128K);
}

/* How late the timer is at most while @call runs */
static s64 latest(void (*call)(size_t size), size_t size)
{
	unsigned int phase, cpu;
	ktime_t start;

	irqs.latest = 0;
	for (phase = 0; phase < IRQS_PHASES; phase++) {
		for_each_online_cpu(cpu)
			smp_call_function_single(cpu, use, NULL, true);
		preempt_disable();
		irqs.tick = jiffies;
		start = ktime_get();
		hrtimer_start(&irqs.timer,
			      IRQS_PERIOD + phase * IRQS_PERIOD / IRQS_PHASES,
			      HRTIMER_MODE_REL_PINNED_HARD);
		do {
			call(size);
		} while (ktime_to_ns(ktime_sub(ktime_get(), start)) <
			 IRQS_SHORTEST);
		hrtimer_cancel(&irqs.timer);
		preempt_enable();
	}
	return irqs.latest;
}

static const struct {
	const char *name;
	size_t size;
} sizes[] = {
	{ "irqs_off_4k", SZ_4K },
	{ "irqs_off_2m", SZ_2M },
	{ "irqs_off_1g", SZ_1G },
	{ "irqs_off_64g", 64ULL * SZ_1G },
};

static const struct pci_fabric_node nodes[] = {
	{ .name = "host", .kind = PCI_FABRIC_HOST, .domain = 1 },
	{ .name = "root", .below = "host", .kind = PCI_FABRIC_ROOT_PORT },
	{ .name = "provider", .below = "root", .kind = PCI_FABRIC_ENDPOINT,
	  .bar = { { 64ULL * SZ_1G } } },
};

/**
 * bench_irqs - count how long interrupts are off
 *
 * Return: 0 or what went wrong.
 */
int bench_irqs(void)
{
	struct pci_fabric *fabric;
	unsigned int i;
	s64 always;
	int error;

	fabric = pci_fabric_create(nodes, ARRAY_SIZE(nodes));
	if (IS_ERR(fabric))
		return PTR_ERR(fabric);
	provider = pci_fabric_dev(fabric, "provider");
	error = pci_p2pdma_add_resource(provider, 0, 0, 0);
	if (!error) {
		hrtimer_init(&irqs.timer, CLOCK_MONOTONIC,
			     HRTIMER_MODE_REL_PINNED_HARD);
		irqs.timer.function = expired;
		always = latest(nothing, 0);
		for (i = 0; i < ARRAY_SIZE(sizes); i++)
			bench_log(sizes[i].name, latest(alloc_free, sizes[i].size) - always, 1);
	}
	pci_fabric_destroy(fabric);
	return error;
}
