// SPDX-License-Identifier: GPL-2.0
/*
 * Machines from what "rdma_topo dump" (rdma-core) writes: a list of devices with
 * files of sysfs, config space among them, packed by zlib and base64.
 *
 * Host bridges are left out by that program, and vital product data isn't read
 * here.
 */
#include <ctype.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "json_read.h"
#include "text.h"

#define MAX_NODES	64

static int base64_digit(char letter)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = letter ? strchr(digits, letter) : NULL;

	return at ? at - digits : -1;
}

/* Returns how many bytes there are, -1 if this isn't base64 or is too long */
static int decode_base64(const char *from, uint8_t *to, size_t room)
{
	unsigned int bits = 0, value = 0;
	size_t count = 0;
	int digit;

	for (; *from && *from != '='; from++) {
		digit = base64_digit(*from);
		if (digit < 0)
			return -1;
		value = value << 6 | digit;
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		if (count == room)
			return -1;
		to[count++] = value >> bits;
	}
	return from[strspn(from, "=")] ? -1 : (int)count;
}

static bool read_config(struct json_reader *reader, json_object *from,
			struct device *device)
{
	/* What can't be compressed grows a little. */
	uint8_t packed[CONFIG_SIZE + 64], config[CONFIG_SIZE];
	unsigned long size = sizeof(config);
	const char *text = NULL;
	int count;

	if (!json_get_text(reader, from, "config", &text))
		return false;
	if (!text)
		return json_bad(reader, "'config' is missing");
	count = decode_base64(text, packed, sizeof(packed));
	if (count < 0 ||
	    uncompress(config, &size, packed, count) != Z_OK ||
	    (size != 64 && size != 256 && size != CONFIG_SIZE))
		return json_bad(reader,
					"'config' isn't config space, packed by zlib and base64; take the dump again");
	config_set(device, 0, config, size);
	/* The size is the kernel's. */
	device->has_extended = size == 64 ? UNKNOWN : size == 256 ? NO : YES;
	return true;
}

/* pci:v000015B3d00001021sv...sd...bc02sc07i00, of virtual functions too */
static bool read_modalias(struct json_reader *reader, json_object *from,
			  struct device *device)
{
	const char *text = NULL;
	unsigned int vendor, id;

	if (!json_get_text(reader, from, "modalias", &text))
		return false;
	if (text && device_vendor(device) == 0xffff &&
	    sscanf(text, "pci:v%8xd%8x", &vendor, &id) == 2) {
		uint8_t ids[] = { vendor, vendor >> 8, id, id >> 8 };

		config_set(device, PCI_VENDOR_ID, ids, sizeof(ids));
	}
	return true;
}

static bool read_nodes(struct json_reader *reader, json_object *from,
		       struct device *device)
{
	json_object *subsystems, *node;
	size_t count = 0, i;

	if (!json_get(reader, from, "subsystems", json_type_object, &subsystems))
		return false;
	if (!subsystems)
		return true;
	device->nodes = calloc(MAX_NODES + 1, sizeof(char *));
	if (!device->nodes)
		return json_bad(reader, "no memory");
	json_object_object_foreach(subsystems, key, list) {
		if (!json_object_is_type(list, json_type_array))
			return json_bad(reader, "subsystem '%.20s' has to be a list",
					key);
		for (i = 0; i < json_object_array_length(list); i++) {
			node = json_object_array_get_idx(list, i);
			if (!json_object_is_type(node, json_type_string) ||
			    count == MAX_NODES)
				return json_bad(reader,
							"subsystem '%.20s' has to be a list of at most %d names",
						key, MAX_NODES);
			device->nodes[count] = strdup(json_object_get_string(node));
			if (!device->nodes[count++])
				return json_bad(reader, "no memory");
		}
	}
	return true;
}

static bool read_device(struct json_reader *reader, json_object *from,
			struct machine *machine)
{
	int64_t node = -1, group = -1;
	const char *path = NULL, *end;
	struct device *device;
	uint32_t domain;
	uint8_t bus, devfn;

	if (!json_object_is_type(from, json_type_object))
		return json_bad(reader, "it has to be an object");
	if (!json_get_text(reader, from, "realpath", &path))
		return false;
	end = path ? strrchr(path, '/') : NULL;
	end = end ? text_address(end + 1, &domain, &bus, &devfn) : NULL;
	if (!end || *end)
		return json_bad(reader,
					"'realpath' has to be the path of a PCI device below /sys/devices");
	if (machine_find(machine, domain, bus, devfn))
		return json_bad(reader, "device %.40s is there twice",
				strrchr(path, '/') + 1);
	device = machine_add(machine, domain, bus, devfn);
	if (!device)
		return json_bad(reader, "too many devices; is this one machine?");
	if (!read_config(reader, from, device) ||
	    !read_modalias(reader, from, device) ||
	    !read_nodes(reader, from, device) ||
	    !json_get_int(reader, from, "numa_node", -1, INT_MAX, &node) ||
	    !json_get_int(reader, from, "iommu_group", 0, INT_MAX, &group))
		return false;
	device->numa_node = node;
	device->iommu_group = group;
	/* null: there was no such file */
	if (group < 0 && json_object_object_get_ex(from, "iommu_group", NULL))
		device->iommu = IOMMU_NONE;
	return true;
}

bool machine_from_rdma(struct json_reader *reader, json_object *list,
		       struct machine *machine)
{
	size_t i, count = json_object_array_length(list);
	const char *path;
	struct device *device;
	uint32_t domain;
	uint8_t bus, devfn;

	for (i = 0; i < count; i++) {
		snprintf(reader->what, sizeof(reader->what), "item %zu", i);
		if (!read_device(reader, json_object_array_get_idx(list, i),
				 machine))
			return false;
	}
	*reader->what = '\0';
	if (!count)
		return json_bad(reader, "there are no devices in it");
	for (i = 0; i < count; i++) {
		path = NULL;
		json_get_text(reader, json_object_array_get_idx(list, i),
			      "realpath", &path);
		text_address(strrchr(path, '/') + 1, &domain, &bus, &devfn);
		device = machine_find(machine, domain, bus, devfn);
		if (!machine_place(machine, device, path))
			return json_bad(reader,
						"too many host bridges; is this one machine?");
	}
	return true;
}
