// SPDX-License-Identifier: GPL-2.0
/*
 * lsp2p list: which devices have memory for peers, or could have it.
 */

#include <string.h>

#include "lsp2p.h"

static const char *state(const struct device *device)
{
	if (device->registered != YES)
		return device->registered == UNKNOWN ? "?" : "-";
	switch (device->published) {
	case YES:
		return "published";
	case NO:
		return "private";
	default:
		return "registered";
	}
}

static void add_row(struct table *table, const struct device *device)
{
	const struct bar *bar = NULL;
	char text[32], size[16], driver[64];
	int index = memory_bar(device);
	uint64_t window;

	table_add(table, device_address(device, text));
	table_add(table, *device_node(device) ? device_node(device) : "-");
	table_add(table, state(device));
	table_add(table, device->registered == YES ?
		  size_text(device->p2pmem_size, size) : "-");
	table_add(table, device->registered == YES ?
		  size_text(device->p2pmem_available, size) : "-");
	if (index < 0) {
		/* Too small to be memory, or unknown */
		table_add(table, "?");
		table_add(table, "?");
	} else {
		bar = &device->bars[index];
		snprintf(text, sizeof(text), "%d:%s", index,
			 size_text(bar_size(bar), size));
		table_add(table, text);
		if (bar_size_possible(bar))
			size_text(bar_size_possible(bar), text);
		else
			snprintf(text, sizeof(text), "%s",
				 device->extended_known == YES ? "-" : "?");
		table_add(table, text);
	}
	table_add(table, window_above(device, &window) ?
		  size_text(window, size) : device->parent ? "?" : "-");
	snprintf(driver, sizeof(driver), "%s",
		 device->driver ? device->driver : "-");
	table_add(table, printable(driver));
	table_add(table, device_title(device));
}

int cmd_list(struct machine *machine, int argc, char **argv)
{
	static const char * const heads[] = {
		"DEVICE", "NODE", "MEMORY", "SIZE", "FREE", "BAR", "UP TO",
		"WINDOW", "DRIVER", "NAME",
	};
	const unsigned int columns = ARRAY_SIZE(heads);
	unsigned int have = 0, could = 0;
	struct table *table;
	size_t i;

	if (options.json)
		return json_list(machine);

	table = table_new(columns);
	for (i = 0; i < columns; i++)
		table_add(table, heads[i]);
	for (i = 0; i < machine->device_count; i++) {
		if (machine->devices[i]->registered == YES) {
			add_row(table, machine->devices[i]);
			have++;
		}
	}
	for (i = 0; i < machine->device_count; i++) {
		const struct device *device = machine->devices[i];

		if (device->registered != YES && may_have_memory(device)) {
			add_row(table, device);
			could++;
		}
	}
	if (have + could)
		table_print(table);
	else
		table_free(table);

	if (!have && !could)
		print_wrapped(0, 0, "No device has memory for peers, and none has a BAR for it that is known (prefetchable, 1 MiB or more). An SSD with a CMB shows once its driver has registered it.");
	else if (!have && machine->core == CORE_NONE)
		print_wrapped(0, 0, "No device has memory for peers: this kernel has no P2PDMA (CONFIG_PCI_P2PDMA).");
	else if (!have && machine->live)
		print_wrapped(0, 0, "No driver has registered memory for peers; these devices have a BAR for it.");
	return EXIT_YES;
}
