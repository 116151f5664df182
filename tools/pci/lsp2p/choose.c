// SPDX-License-Identifier: GPL-2.0
/*
 * Which devices are worth asking about: those that have memory for peers, or
 * could have it, and those that do DMA.
 *
 * A guess by class and BARs, for lists and matrices alone: `why` answers for any
 * two devices.
 */

#include <linux/pci_regs.h>

#include "lsp2p.h"

#define CLASS_NVME		0x0108
#define CLASS_DMA_ENGINE	0x0801
#define CLASS_COPROCESSOR	0x0b40

#define BASE_STORAGE		0x01
#define BASE_NETWORK		0x02
#define BASE_DISPLAY		0x03
#define BASE_MEMORY		0x05
#define BASE_BRIDGE		0x06
#define BASE_PROCESSOR		0x0b
#define BASE_SERIAL		0x0c
#define BASE_ACCELERATOR	0x12

/* Smaller BARs have registers, not memory. */
#define LEAST_MEMORY		(1UL << 20)

static unsigned int class_of(const struct device *device)
{
	return device_class(device) >> 8;
}

static bool is_endpoint(const struct device *device)
{
	return !device->is_bridge && class_of(device) >> 8 != BASE_BRIDGE;
}

uint64_t bar_size(const struct bar *bar)
{
	return bar->known && bar->memory && bar->end > bar->start ?
		bar->end - bar->start + 1 : 0;
}

uint64_t bar_size_possible(const struct bar *bar)
{
	/* Bit n is 1 MiB << n; the largest one counts of those that 64 bits hold. */
	uint64_t sizes = bar->sizes & ((1ULL << 44) - 1);

	return sizes ? 1ULL << (63 - __builtin_clzll(sizes) + 20) : 0;
}

int memory_bar(const struct device *device)
{
	uint64_t most = 0;
	int i, found = -1;

	for (i = 0; i < BARS; i++) {
		const struct bar *bar = &device->bars[i];

		if (bar->prefetchable && bar_size(bar) >= LEAST_MEMORY &&
		    bar_size(bar) > most) {
			most = bar_size(bar);
			found = i;
		}
	}
	return found;
}

bool has_memory_bar(const struct device *device)
{
	bool known = false;
	int i;

	for (i = 0; i < BARS; i++) {
		if (device->bars[i].known && device->bars[i].memory)
			return true;
		known |= device->bars[i].known;
	}
	return !known;
}

/* Hex of config space has the address of a BAR, but not its size. */
static bool sizes_known(const struct device *device)
{
	bool known = false;
	int i;

	for (i = 0; i < BARS; i++) {
		const struct bar *bar = &device->bars[i];

		if (bar->known && bar->memory && bar->prefetchable &&
		    bar->start && !bar_size(bar))
			return false;
		known |= bar->known;
	}
	return known;
}

bool may_have_memory(const struct device *device)
{
	unsigned int class = class_of(device);

	if (device->registered == YES)
		return true;
	if (!is_endpoint(device))
		return false;
	switch (class >> 8) {
	case BASE_DISPLAY:
	case BASE_PROCESSOR:
	case BASE_ACCELERATOR:
		return memory_bar(device) >= 0 || !sizes_known(device);
	case BASE_STORAGE:
		return class == CLASS_NVME && memory_bar(device) >= 0;
	case BASE_NETWORK:
	case BASE_SERIAL:
		return false;		/* their large BARs have registers */
	default:
		return memory_bar(device) >= 0;
	}
}

bool may_do_dma(const struct device *device)
{
	unsigned int class = class_of(device);
	uint16_t command;

	if (!is_endpoint(device))
		return false;
	if (device->driver)
		return true;
	if (config_get16(device, PCI_COMMAND, &command))
		return command & PCI_COMMAND_MASTER;
	switch (class >> 8) {
	case BASE_NETWORK:
	case BASE_DISPLAY:
	case BASE_ACCELERATOR:
		return true;
	default:
		return class == CLASS_NVME || class == CLASS_DMA_ENGINE ||
		       class == CLASS_COPROCESSOR;
	}
}

bool window_above(const struct device *device, uint64_t *size)
{
	uint16_t base, limit;
	uint32_t base_high, limit_high;
	uint64_t start, end;

	if (!device->parent ||
	    !config_get16(device->parent, PCI_PREF_MEMORY_BASE, &base) ||
	    !config_get16(device->parent, PCI_PREF_MEMORY_LIMIT, &limit) ||
	    !config_get32(device->parent, PCI_PREF_BASE_UPPER32, &base_high) ||
	    !config_get32(device->parent, PCI_PREF_LIMIT_UPPER32, &limit_high))
		return false;
	start = (uint64_t)base_high << 32 |
		(uint32_t)(base & PCI_PREF_RANGE_MASK) << 16;
	end = (uint64_t)limit_high << 32 |
	      (uint32_t)(limit & PCI_PREF_RANGE_MASK) << 16 | 0xfffff;
	*size = start < end ? end - start + 1 : 0;
	return true;
}
