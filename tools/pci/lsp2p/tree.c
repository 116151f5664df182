// SPDX-License-Identifier: GPL-2.0
/*
 * Machines from trees of devices that other programs print or were made from
 * what they print:
 *
 *   sysfs	ADDRESS VENDOR:DEVICE class CLASS [bridge to buses BB-BB]
 *   hwloc	the same below lines "host bridge ...", or
 *		ADDRESS bridge VENDOR:DEVICE buses DDDD:[BB-BB]
 *   RCCL	the same below lines "numa N VENDOR family N ..."
 *
 * A device is below its bridge by more spaces.  Trees hold no registers besides
 * IDs and buses.  RCCL leaves out root ports and downstream ports, so nothing is
 * known of what is above its topmost devices.
 */
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "text.h"

#define MAX_LEVELS	64

struct tree {
	struct text text;
	struct machine *machine;
	bool rccl;
	int numa_node;
	struct host_bridge *host;	/* of the line "host bridge" */
	unsigned int depth;
	struct {
		unsigned int indent;
		struct device *device;
	} above[MAX_LEVELS];
};

/* "numa N  AuthenticAMD family 143 model 49": the family's parts aren't added up */
static void read_numa(struct tree *tree, const char *line)
{
	unsigned int family;
	char vendor[16];

	if (sscanf(line, "%d %15s family %3u", &tree->numa_node, vendor,
		   &family) == 3)
		tree->machine->cpu_forwards =
			!strcmp(vendor, "AuthenticAMD") &&
			(family & 15) + (family >> 4) >= 0x17 ? YES : NO;
	else
		tree->numa_node = -1;
	tree->rccl = true;
	tree->depth = 0;
}

static bool read_host(struct tree *tree, const char *line)
{
	unsigned int domain, bus;

	tree->depth = 0;
	tree->host = NULL;
	if (sscanf(line, ", buses %8x:[%2x-", &domain, &bus) != 2)
		return true;
	tree->host = machine_host(tree->machine, domain, bus);
	return tree->host ||
	       text_bad(&tree->text, "too many host bridges; is this one machine?");
}

static void set_ids(struct device *device, uint32_t vendor, uint32_t id,
		    uint32_t class)
{
	uint8_t ids[] = { vendor, vendor >> 8, id, id >> 8 };
	uint8_t classes[] = { class >> 8, class >> 16 };

	/* hwloc writes zeros for what it couldn't read. */
	if (vendor && vendor != 0xffff)
		config_set(device, PCI_VENDOR_ID, ids, sizeof(ids));
	if (class)
		config_set(device, PCI_CLASS_DEVICE, classes, sizeof(classes));
}

static void set_bridge(struct device *device, const char *rest)
{
	uint8_t type = PCI_HEADER_TYPE_BRIDGE;
	unsigned int first, last;
	uint8_t buses[3];

	config_set(device, PCI_HEADER_TYPE, &type, 1);
	rest = strstr(rest, "buses ");
	if (!rest || (sscanf(rest, "buses %*x:[%2x-%2x]", &first, &last) != 2 &&
		      sscanf(rest, "buses %2x-%2x", &first, &last) != 2))
		return;
	buses[0] = device->bus;
	buses[1] = first;
	buses[2] = last;
	config_set(device, PCI_PRIMARY_BUS, buses, sizeof(buses));
}

/* RCCL names RDMA devices: "NIC mlx5_0" */
static bool set_nodes(struct device *device, const char *rest)
{
	char word[32];
	const char *nic = strstr(rest, " NIC ");

	if (!nic || sscanf(nic, " NIC %31s", word) != 1)
		return true;
	device->nodes = calloc(2, sizeof(char *));
	if (device->nodes)
		device->nodes[0] = strdup(word);
	return device->nodes && device->nodes[0];
}

static bool attach(struct tree *tree, struct device *device, unsigned int indent)
{
	struct device *parent;

	while (tree->depth && tree->above[tree->depth - 1].indent >= indent)
		tree->depth--;
	parent = tree->depth ? tree->above[tree->depth - 1].device : NULL;
	if (parent && !parent->is_bridge)
		return text_bad(&tree->text,
					"this is below %02x:%02x.%x, which is no bridge; correct the indentation",
				parent->bus, parent->devfn >> 3,
				parent->devfn & 7);
	device->parent = parent;
	if (parent) {
		device->host = parent->host;
	} else {
		device->orphan = tree->rccl;
		device->host = tree->host ?:
			       machine_host(tree->machine, device->domain,
					    device->bus);
		if (!device->host)
			return text_bad(&tree->text,
						"too many host bridges; is this one machine?");
	}
	if (tree->depth == MAX_LEVELS)
		return text_bad(&tree->text, "more than %d bridges above this device",
				MAX_LEVELS);
	tree->above[tree->depth].indent = indent;
	tree->above[tree->depth].device = device;
	tree->depth++;
	return true;
}

static bool read_device(struct tree *tree)
{
	unsigned int vendor, id, indent, class = 0, used = 0;
	const char *rest, *at, *after;
	uint32_t domain, digits;
	struct device *device;
	uint8_t bus, devfn;
	bool bridge;

	indent = text_indent(tree->text.line, &rest);
	at = text_address(rest, &domain, &bus, &devfn);
	if (!at || *at++ != ' ')
		return text_bad(&tree->text,
					"this is no line of a tree: '%.40s'; a device begins with its address",
				rest);
	after = text_after(at, "bridge ");
	bridge = after;
	at = after ?: at;
	if (sscanf(at, "%4x:%4x%n", &vendor, &id, &used) != 2 || used != 9)
		return text_bad(&tree->text,
					"after the address VENDOR:DEVICE is expected, not '%.40s'",
				at);
	at += used;
	after = text_after(at, " class ");
	if (after) {
		after = text_hex(after, 4, &digits);
		if (!after)
			return text_bad(&tree->text,
						"a class has 4 or 6 hex digits: '%.40s'",
					at);
		class = digits << 8;
		at = text_hex(after, 2, &digits) ?: after;
	}
	bridge = bridge || class >> 8 == CLASS_PCI_BRIDGE;

	if (machine_find(tree->machine, domain, bus, devfn))
		return text_bad(&tree->text,
					"this device is there twice; one file is one machine");
	device = machine_add(tree->machine, domain, bus, devfn);
	if (!device)
		return text_bad(&tree->text, "too many devices; is this one machine?");
	device->numa_node = tree->numa_node;
	set_ids(device, vendor, id, class ?: bridge ? CLASS_PCI_BRIDGE << 8 : 0);
	device->is_bridge = bridge;
	if (bridge)
		set_bridge(device, at);
	if (!set_nodes(device, at))
		return text_bad(&tree->text, "no memory");
	return attach(tree, device, indent);
}

static bool read_line(struct tree *tree)
{
	const char *line = tree->text.line, *rest;

	if (*line == '#')
		return true;
	rest = text_after(line, "numa ");
	if (rest) {
		read_numa(tree, rest);
		return true;
	}
	rest = text_after(line, "host bridge");
	return rest ? read_host(tree, rest) : read_device(tree);
}

struct machine *machine_from_tree(const char *text, const char *name,
				  char *error, size_t size)
{
	struct tree tree = { .numa_node = -1 };
	char detail[200];

	text_start(&tree.text, text, name, error, size);
	tree.machine = machine_new();
	if (!tree.machine) {
		snprintf(error, size, "%s: no memory", name);
		return NULL;
	}
	while (text_line(&tree.text)) {
		if (!read_line(&tree))
			goto bad;
	}
	tree.machine->source = strdup(name);
	if (tree.machine->source &&
	    machine_complete(tree.machine, detail, sizeof(detail)))
		return tree.machine;
	snprintf(error, size, "%s: %s", name,
		 tree.machine->source ? detail : "no memory");
bad:
	machine_free(tree.machine);
	return NULL;
}
