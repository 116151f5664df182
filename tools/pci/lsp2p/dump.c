// SPDX-License-Identifier: GPL-2.0
/*
 * The tool's own dumps: a machine as JSON, and back.
 *
 * Of config space only registers get into a dump that routes depend on: no serial
 * numbers, no vital product data, nothing that is the maker's own.  Names that are
 * made from a MAC address are left out; no host name is known here.
 *
 * What isn't known isn't written.  A machine that was read is written as it was.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_read.h"
#include "text.h"

#define DUMP_VERSION	1

/* Far more than 16384 devices need; each value takes 100 bytes of memory. */
#define MAX_VALUES	1000000

/* That Resizable BAR can offer, from 1 MiB on */
#define REBAR_SIZES	44

static const char *const iommus[] = {
	[IOMMU_NONE] = "none",
	[IOMMU_IDENTITY] = "identity",
	[IOMMU_DMA] = "dma",
	[IOMMU_DMA_FQ] = "dma-fq",
	[IOMMU_BLOCKED] = "blocked",
	[IOMMU_OTHER] = "other",
};

static const char *const cores[] = {
	[CORE_NONE] = "none",
	[CORE_STOCK] = "stock",
	[CORE_OURS] = "ours",
};

#define COUNT(_array)	(sizeof(_array) / sizeof(*(_array)))

/* ---- Which bytes of config space are dumped ---- */

struct bytes {
	uint8_t wanted[CONFIG_SIZE / 8];
};

static void want(struct bytes *bytes, unsigned int at, unsigned int count)
{
	for (; count && at < CONFIG_SIZE; count--, at++)
		bytes->wanted[at / 8] |= 1 << at % 8;
}

/* Headers of capabilities, so that reading finds the same */
static void want_lists(struct bytes *bytes, const struct device *device)
{
	unsigned int left;
	uint32_t header;
	uint16_t at;
	uint8_t next;

	want(bytes, PCI_CAPABILITY_LIST, 1);
	if (config_get8(device, PCI_CAPABILITY_LIST, &next)) {
		for (left = 48; left && next >= PCI_STD_HEADER_SIZEOF; left--) {
			next &= ~3;
			want(bytes, next, 2);
			if (!config_get8(device, next + PCI_CAP_LIST_NEXT, &next))
				break;
		}
	}
	at = PCI_CFG_SPACE_SIZE;
	for (left = 480; left && at >= PCI_CFG_SPACE_SIZE; left--) {
		want(bytes, at, 4);
		if (!config_get32(device, at, &header))
			break;
		at = PCI_EXT_CAP_NEXT(header);
	}
}

static void want_registers(struct bytes *bytes, const struct device *device)
{
	uint16_t cap = 0;
	uint32_t ctrl = 0;

	/* Up to the BARs or windows; not the subsystem's IDs */
	want(bytes, 0, device->is_bridge ? PCI_IO_BASE_UPPER16 :
					   PCI_CARDBUS_CIS);
	want_lists(bytes, device);
	if (device->pcie_cap) {
		want(bytes, device->pcie_cap, PCI_EXP_SLTCAP);
		want(bytes, device->pcie_cap + PCI_EXP_DEVCAP2, 8);
	}
	if (device->acs_cap) {
		want(bytes, device->acs_cap, PCI_ACS_EGRESS_CTL_V);
		config_get16(device, device->acs_cap + PCI_ACS_CAP, &cap);
		if (cap & PCI_ACS_EC)
			want(bytes, device->acs_cap + PCI_ACS_EGRESS_CTL_V,
			     ((cap >> 8 ?: 256) + 31) / 32 * 4);
	}
	if (device->ats_cap)
		want(bytes, device->ats_cap, 8);
	if (device->sriov_cap)
		want(bytes, device->sriov_cap, PCI_EXT_CAP_SRIOV_SIZEOF);
	if (device->rebar_cap) {
		config_get32(device, device->rebar_cap + PCI_REBAR_CTRL, &ctrl);
		want(bytes, device->rebar_cap, 4 + 8 *
		     ((ctrl & PCI_REBAR_CTRL_NBAR_MASK) >>
		      PCI_REBAR_CTRL_NBAR_SHIFT));
	}
}

/* ---- Writing ---- */

static void put(json_object *to, const char *key, json_object *value)
{
	json_object_object_add(to, key, value);
}

static void put_text(json_object *to, const char *key, const char *value)
{
	if (value)
		put(to, key, json_object_new_string(value));
}

static void put_int(json_object *to, const char *key, int64_t value)
{
	put(to, key, json_object_new_int64(value));
}

static void put_answer(json_object *to, const char *key, enum answer value)
{
	if (value != UNKNOWN)
		put(to, key, json_object_new_boolean(value == YES));
}

static void put_true(json_object *to, const char *key, bool value)
{
	if (value)
		put(to, key, json_object_new_boolean(true));
}

/* As text, since JSON's numbers aren't sure to have 64 bits */
static void put_hex(json_object *to, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%#llx",
		 (unsigned long long)value);
	put_text(to, key, text);
}

static void put_address(json_object *to, const char *key,
			const struct device *device)
{
	char text[24];

	if (!device)
		return;
	snprintf(text, sizeof(text), "%04x:%02x:%02x.%x", device->domain,
		 device->bus, device->devfn >> 3, device->devfn & 7);
	put_text(to, key, text);
}

static void put_host(json_object *to, const char *key,
		     const struct host_bridge *host)
{
	char text[16];

	snprintf(text, sizeof(text), "%04x:%02x", host->domain, host->bus);
	put_text(to, key, text);
}

static bool is_wanted(const struct bytes *bytes, const struct device *device,
		      unsigned int at)
{
	uint8_t value;

	return at < CONFIG_SIZE && bytes->wanted[at / 8] & 1 << at % 8 &&
	       config_get8(device, at, &value);
}

/* { offset: bytes }, both in hex */
static void put_config(json_object *to, const struct device *device)
{
	json_object *config = json_object_new_object();
	char key[8], hex[2 * CONFIG_SIZE + 1];
	struct bytes bytes = { };
	unsigned int at, count;

	want_registers(&bytes, device);
	for (at = 0; at < CONFIG_SIZE; at++) {
		for (count = 0; is_wanted(&bytes, device, at + count); count++)
			snprintf(hex + 2 * count, 3, "%02x",
				 device->config[at + count]);
		if (!count)
			continue;
		snprintf(key, sizeof(key), "%x", at);
		put_text(config, key, hex);
		at += count;
	}
	put(to, "config", config);
}

static void put_caps(json_object *to, const struct device *device)
{
	put_answer(to, "capabilities_known", device->caps_known);
	put_answer(to, "extended_known", device->extended_known);
	put_answer(to, "has_extended", device->has_extended);
	if (device->pcie_cap)
		put_int(to, "pcie", device->pcie_cap);
	if (device->acs_cap)
		put_int(to, "acs", device->acs_cap);
	if (device->ats_cap)
		put_int(to, "ats", device->ats_cap);
	if (device->sriov_cap)
		put_int(to, "sriov", device->sriov_cap);
	if (device->rebar_cap)
		put_int(to, "rebar", device->rebar_cap);
}

static void put_bars(json_object *to, const struct device *device)
{
	json_object *bars = json_object_new_array(), *entry;
	const struct bar *bar;
	int i;

	for (i = 0; i < BARS; i++) {
		bar = &device->bars[i];
		if (!bar->known && !bar->sizes)
			continue;
		entry = json_object_new_object();
		put_int(entry, "index", i);
		put_true(entry, "known", bar->known);
		put_true(entry, "memory", bar->memory);
		put_true(entry, "prefetchable", bar->prefetchable);
		put_true(entry, "is64", bar->is64);
		put_hex(entry, "start", bar->start);
		put_hex(entry, "end", bar->end);
		if (bar->sizes)
			put_hex(entry, "sizes", bar->sizes);
		json_object_array_add(bars, entry);
	}
	put(to, "bars", bars);
}

/* enx001122334455, ibx..., wlx...: twelve hex digits are somebody's address. */
static bool has_mac(const char *name)
{
	unsigned int digits = 0;

	for (; *name; name++) {
		digits = isxdigit((unsigned char)*name) ? digits + 1 : 0;
		if (digits == 12)
			return true;
	}
	return false;
}

static void put_nodes(json_object *to, const struct device *device)
{
	json_object *nodes;
	size_t i;

	if (!device->nodes)
		return;
	nodes = json_object_new_array();
	for (i = 0; device->nodes[i]; i++) {
		if (!has_mac(device->nodes[i]))
			json_object_array_add(nodes, json_object_new_string(device->nodes[i]));
	}
	put(to, "nodes", nodes);
}

static json_object *dump_device(const struct device *device)
{
	json_object *to = json_object_new_object();

	put_address(to, "at", device);
	put_address(to, "parent", device->parent);
	put_true(to, "orphan", device->orphan);
	put_host(to, "host_bridge", device->host);
	put_address(to, "physfn", device->physfn);
	put_true(to, "bridge", device->is_bridge);
	put_config(to, device);
	put_caps(to, device);
	put_bars(to, device);
	if (device->iommu != IOMMU_UNKNOWN)
		put_text(to, "iommu", iommus[device->iommu]);
	if (device->iommu_group >= 0)
		put_int(to, "iommu_group", device->iommu_group);
	put_answer(to, "untrusted", device->untrusted);
	if (device->dma_mask_bits)
		put_int(to, "dma_mask_bits", device->dma_mask_bits);
	if (device->numa_node >= 0)
		put_int(to, "numa_node", device->numa_node);
	put_text(to, "driver", device->driver);
	put_nodes(to, device);
	put_answer(to, "registered", device->registered);
	put_answer(to, "published", device->published);
	if (device->registered == YES) {
		put_hex(to, "p2pmem_size", device->p2pmem_size);
		put_hex(to, "p2pmem_available", device->p2pmem_available);
	}
	put_text(to, "name", device->name);
	return to;
}

static json_object *dump_host(const struct host_bridge *host)
{
	json_object *to = json_object_new_object(), *windows, *window;
	unsigned int i;

	put_host(to, "at", host);
	if (!host->windows_known)
		return to;
	windows = json_object_new_array();
	for (i = 0; i < host->window_count; i++) {
		window = json_object_new_object();
		put_hex(window, "start", host->windows[i].start);
		put_hex(window, "end", host->windows[i].end);
		if (host->windows[i].offset)
			put_hex(window, "offset", host->windows[i].offset);
		json_object_array_add(windows, window);
	}
	put(to, "windows", windows);
	return to;
}

static json_object *dump_machine(const struct machine *machine)
{
	json_object *to = json_object_new_object();
	json_object *hosts = json_object_new_array();
	json_object *devices = json_object_new_array();
	size_t i;

	put_int(to, "lsp2p_dump", DUMP_VERSION);
	put_text(to, "kernel", machine->kernel);
	if (machine->core != CORE_UNKNOWN)
		put_text(to, "core", cores[machine->core]);
	put_text(to, "cmdline", machine->cmdline);
	put_text(to, "admitted", machine->admitted);
	put_answer(to, "cpu_forwards", machine->cpu_forwards);
	put_answer(to, "encrypted", machine->encrypted);
	put_answer(to, "bounce", machine->bounce);
	put_answer(to, "guest", machine->guest);
	put_true(to, "root", machine->root);
	for (i = 0; i < machine->host_count; i++)
		json_object_array_add(hosts, dump_host(machine->hosts[i]));
	put(to, "host_bridges", hosts);
	for (i = 0; i < machine->device_count; i++)
		json_object_array_add(devices, dump_device(machine->devices[i]));
	put(to, "devices", devices);
	return to;
}

int machine_dump(const struct machine *machine, const char *path)
{
	bool to_stdout = !strcmp(path, "-");
	json_object *dump = dump_machine(machine);
	FILE *file;
	int result = 0;

	file = to_stdout ? stdout : fopen(path, "we");
	if (!file) {
		json_object_put(dump);
		return -1;
	}
	fputs(json_object_to_json_string_ext(dump, JSON_C_TO_STRING_PRETTY |
					     JSON_C_TO_STRING_SPACED |
					     JSON_C_TO_STRING_NOSLASHESCAPE),
	      file);
	fputc('\n', file);
	if (fflush(file) || ferror(file))
		result = -1;
	if (!to_stdout && fclose(file))
		result = -1;
	json_object_put(dump);
	return result;
}

/* ---- Reading ---- */

static bool get_hex(struct json_reader *reader, json_object *from,
		    const char *key, uint64_t *value)
{
	const char *text = NULL;
	unsigned long long number;
	char *end;

	if (!json_get_text(reader, from, key, &text))
		return false;
	if (!text)
		return true;
	errno = 0;
	number = strtoull(text, &end, 16);
	if (!isxdigit((unsigned char)*text) || *end || errno)
		return json_bad(reader, "'%s' has to be a number in hex, not '%.30s'",
				key, text);
	*value = number;
	return true;
}

static bool get_name(struct json_reader *reader, json_object *from,
		     const char *key, const char *const *names, unsigned int count,
		     unsigned int *value)
{
	const char *text = NULL;
	unsigned int i;

	if (!json_get_text(reader, from, key, &text))
		return false;
	if (!text)
		return true;
	for (i = 0; i < count; i++) {
		if (names[i] && !strcmp(names[i], text)) {
			*value = i;
			return true;
		}
	}
	return json_bad(reader, "'%s' can't be '%.30s'", key, text);
}

/* Finds the device that the key names. */
static bool get_device(struct json_reader *reader, json_object *from,
		       const char *key, const struct machine *machine,
		       struct device **device)
{
	const char *text = NULL, *end;
	uint8_t bus, devfn;
	uint32_t domain;

	if (!json_get_text(reader, from, key, &text))
		return false;
	if (!text)
		return true;
	end = text_address(text, &domain, &bus, &devfn);
	if (end && !*end)
		*device = machine_find(machine, domain, bus, devfn);
	return *device ||
	       json_bad(reader, "'%s' names a device that isn't there: '%.30s'",
			key, text);
}

static bool get_host(struct json_reader *reader, json_object *from,
		     const char *key, struct machine *machine,
		     struct host_bridge **host)
{
	const char *text = NULL;
	unsigned int domain, bus;
	int used = 0;

	if (!json_get_text(reader, from, key, &text))
		return false;
	if (!text || sscanf(text, "%8x:%2x%n", &domain, &bus, &used) != 2 ||
	    text[used])
		return json_bad(reader, "'%s' has to be a domain and a bus, as 0000:00",
				key);
	*host = machine_host(machine, domain, bus);
	return *host || json_bad(reader, "too many host bridges; is this one machine?");
}

static bool read_bytes(struct json_reader *reader, struct device *device,
		       const char *key, json_object *value)
{
	const char *hex, *next;
	uint32_t byte;
	unsigned long at;
	uint8_t one;
	char *end;

	at = strtoul(key, &end, 16);
	if (!isxdigit((unsigned char)*key) || *end || at >= CONFIG_SIZE ||
	    !json_object_is_type(value, json_type_string))
		return json_bad(reader,
					"'config' has to have bytes in hex by their offsets in hex, and has '%.20s'",
				key);
	for (hex = json_object_get_string(value); *hex; hex = next, at++) {
		next = text_hex(hex, 2, &byte);
		if (!next || at >= CONFIG_SIZE)
			return json_bad(reader,
						"'config' has something else than bytes in hex at '%.20s'",
					key);
		one = byte;
		config_set(device, at, &one, 1);
	}
	return true;
}

static bool read_config(struct json_reader *reader, json_object *from,
			struct device *device)
{
	json_object *config;

	if (!json_get(reader, from, "config", json_type_object, &config))
		return false;
	if (!config)
		return true;
	json_object_object_foreach(config, key, value) {
		if (!read_bytes(reader, device, key, value))
			return false;
	}
	return true;
}

static bool get_cap(struct json_reader *reader, json_object *from,
		    const char *key, int64_t first, int64_t last, uint16_t *cap)
{
	int64_t value = 0;

	if (!json_get_int(reader, from, key, first, last, &value))
		return false;
	*cap = value;
	return true;
}

static bool read_caps(struct json_reader *reader, json_object *from,
		      struct device *device)
{
	const int64_t first = PCI_CFG_SPACE_SIZE, last = CONFIG_SIZE - 4;

	return json_get_answer(reader, from, "capabilities_known",
			       &device->caps_known) &&
	       json_get_answer(reader, from, "extended_known",
			       &device->extended_known) &&
	       json_get_answer(reader, from, "has_extended",
			       &device->has_extended) &&
	       get_cap(reader, from, "pcie", PCI_STD_HEADER_SIZEOF,
		       PCI_CFG_SPACE_SIZE - 4, &device->pcie_cap) &&
	       get_cap(reader, from, "acs", first, last, &device->acs_cap) &&
	       get_cap(reader, from, "ats", first, last, &device->ats_cap) &&
	       get_cap(reader, from, "sriov", first, last, &device->sriov_cap) &&
	       get_cap(reader, from, "rebar", first, last, &device->rebar_cap);
}

static bool read_bar(struct json_reader *reader, json_object *from,
		     struct device *device)
{
	int64_t index = -1;
	struct bar *bar;

	if (!json_object_is_type(from, json_type_object))
		return json_bad(reader, "'bars' has to be a list of objects");
	if (!json_get_int(reader, from, "index", 0, BARS - 1, &index))
		return false;
	if (index < 0)
		return json_bad(reader, "a BAR has no 'index'");
	bar = &device->bars[index];
	return json_get_bool(reader, from, "known", &bar->known) &&
	       json_get_bool(reader, from, "memory", &bar->memory) &&
	       json_get_bool(reader, from, "prefetchable", &bar->prefetchable) &&
	       json_get_bool(reader, from, "is64", &bar->is64) &&
	       get_hex(reader, from, "start", &bar->start) &&
	       get_hex(reader, from, "end", &bar->end) &&
	       get_hex(reader, from, "sizes", &bar->sizes) &&
	       (bar->end >= bar->start ||
		json_bad(reader, "BAR %d ends before it starts", (int)index)) &&
	       (!(bar->sizes >> REBAR_SIZES) ||
		json_bad(reader, "BAR %d offers sizes that no BAR has",
			 (int)index));
}

static bool read_bars(struct json_reader *reader, json_object *from,
		      struct device *device)
{
	json_object *bars;
	size_t i;

	if (!json_get(reader, from, "bars", json_type_array, &bars))
		return false;
	for (i = 0; bars && i < json_object_array_length(bars); i++) {
		if (!read_bar(reader, json_object_array_get_idx(bars, i), device))
			return false;
	}
	return true;
}

static bool read_nodes(struct json_reader *reader, json_object *from,
		       struct device *device)
{
	json_object *nodes, *node;
	size_t i, count;

	if (!json_get(reader, from, "nodes", json_type_array, &nodes))
		return false;
	if (!nodes)
		return true;
	count = json_object_array_length(nodes);
	device->nodes = calloc(count + 1, sizeof(char *));
	if (!device->nodes)
		return json_bad(reader, "no memory");
	for (i = 0; i < count; i++) {
		node = json_object_array_get_idx(nodes, i);
		if (!json_object_is_type(node, json_type_string))
			return json_bad(reader, "'nodes' has to be a list of names");
		device->nodes[i] = strdup(json_object_get_string(node));
		if (!device->nodes[i])
			return json_bad(reader, "no memory");
		printable(device->nodes[i]);
	}
	return true;
}

static bool read_rest(struct json_reader *reader, json_object *from,
		      struct device *device)
{
	unsigned int iommu = IOMMU_UNKNOWN;
	int64_t group = -1, node = -1, bits = 0;

	if (!get_name(reader, from, "iommu", iommus, COUNT(iommus), &iommu) ||
	    !json_get_int(reader, from, "iommu_group", 0, INT_MAX, &group) ||
	    !json_get_int(reader, from, "numa_node", 0, INT_MAX, &node) ||
	    !json_get_int(reader, from, "dma_mask_bits", 1, 64, &bits))
		return false;
	device->iommu = iommu;
	device->iommu_group = group;
	device->numa_node = node;
	device->dma_mask_bits = bits;
	return json_get_bool(reader, from, "bridge", &device->is_bridge) &&
	       json_get_bool(reader, from, "orphan", &device->orphan) &&
	       json_get_answer(reader, from, "untrusted", &device->untrusted) &&
	       json_get_answer(reader, from, "registered",
			       &device->registered) &&
	       json_get_answer(reader, from, "published", &device->published) &&
	       get_hex(reader, from, "p2pmem_size", &device->p2pmem_size) &&
	       get_hex(reader, from, "p2pmem_available",
		       &device->p2pmem_available) &&
	       json_get_string(reader, from, "driver", &device->driver) &&
	       json_get_string(reader, from, "name", &device->name);
}

static bool read_device(struct json_reader *reader, json_object *from,
			struct machine *machine)
{
	const char *text = NULL, *end;
	struct device *device;
	uint8_t bus, devfn;
	uint32_t domain;

	if (!json_object_is_type(from, json_type_object))
		return json_bad(reader, "it has to be an object");
	if (!json_get_text(reader, from, "at", &text))
		return false;
	end = text ? text_address(text, &domain, &bus, &devfn) : NULL;
	if (!end || *end)
		return json_bad(reader, "'at' has to be an address, as 0000:00:00.0");
	if (machine_find(machine, domain, bus, devfn))
		return json_bad(reader, "%.20s is there twice", text);
	device = machine_add(machine, domain, bus, devfn);
	if (!device)
		return json_bad(reader, "too many devices; is this one machine?");
	return read_config(reader, from, device) &&
	       read_caps(reader, from, device) &&
	       read_bars(reader, from, device) &&
	       read_nodes(reader, from, device) &&
	       read_rest(reader, from, device);
}

/* Once all devices are there */
static bool read_links(struct json_reader *reader, json_object *from,
		       struct machine *machine)
{
	struct device *device = NULL;

	if (!get_device(reader, from, "at", machine, &device))
		return false;
	return get_device(reader, from, "parent", machine, &device->parent) &&
	       get_device(reader, from, "physfn", machine, &device->physfn) &&
	       get_host(reader, from, "host_bridge", machine, &device->host);
}

static bool read_window(struct json_reader *reader, json_object *from,
			struct window *window)
{
	uint64_t offset = 0;

	if (!json_object_is_type(from, json_type_object))
		return json_bad(reader, "'windows' has to be a list of objects");
	if (!get_hex(reader, from, "start", &window->start) ||
	    !get_hex(reader, from, "end", &window->end) ||
	    !get_hex(reader, from, "offset", &offset))
		return false;
	window->offset = offset;
	return window->end >= window->start ||
	       json_bad(reader, "a window ends before it starts");
}

static bool read_host(struct json_reader *reader, json_object *from,
		      struct machine *machine)
{
	struct host_bridge *host;
	json_object *windows;
	size_t i, count;

	if (!json_object_is_type(from, json_type_object))
		return json_bad(reader, "it has to be an object");
	if (!get_host(reader, from, "at", machine, &host) ||
	    !json_get(reader, from, "windows", json_type_array, &windows))
		return false;
	if (!windows || host->windows_known)
		return true;
	count = json_object_array_length(windows);
	host->windows = calloc(count + 1, sizeof(*host->windows));
	if (!host->windows)
		return json_bad(reader, "no memory");
	host->window_count = count;
	host->windows_known = true;
	for (i = 0; i < count; i++) {
		if (!read_window(reader, json_object_array_get_idx(windows, i),
				 &host->windows[i]))
			return false;
	}
	return true;
}

/* Calls a function for each entry of a list. */
static bool read_list(struct json_reader *reader, json_object *from,
		      const char *key, struct machine *machine,
		      bool (*read)(struct json_reader *reader, json_object *from,
				   struct machine *machine))
{
	json_object *list, *entry;
	const char *at;
	size_t i;

	if (!json_get(reader, from, key, json_type_array, &list))
		return false;
	for (i = 0; list && i < json_object_array_length(list); i++) {
		entry = json_object_array_get_idx(list, i);
		at = json_object_get_string(json_object_object_get(entry, "at"));
		snprintf(reader->what, sizeof(reader->what), "%s[%zu] (%.16s)",
			 key, i, at ?: "?");
		if (!read(reader, entry, machine))
			return false;
	}
	*reader->what = '\0';
	return list || json_bad(reader, "'%s' is missing", key);
}

static bool read_machine(struct json_reader *reader, json_object *from,
			 struct machine *machine)
{
	int64_t version = 0;
	unsigned int core = CORE_UNKNOWN;

	if (!json_get_int(reader, from, "lsp2p_dump", 0, INT64_MAX, &version))
		return false;
	if (!version)
		return json_bad(reader,
					"this JSON is neither a dump by 'lsp2p dump' nor by 'rdma_topo dump'");
	if (version != DUMP_VERSION)
		return json_bad(reader,
					"this dump has version %lld, and only %d is known; use a newer lsp2p",
				(long long)version, DUMP_VERSION);
	if (!get_name(reader, from, "core", cores, COUNT(cores), &core))
		return false;
	machine->core = core;
	return json_get_string(reader, from, "kernel", &machine->kernel) &&
	       json_get_string(reader, from, "cmdline", &machine->cmdline) &&
	       json_get_string(reader, from, "admitted", &machine->admitted) &&
	       json_get_answer(reader, from, "cpu_forwards",
			       &machine->cpu_forwards) &&
	       json_get_answer(reader, from, "encrypted", &machine->encrypted) &&
	       json_get_answer(reader, from, "bounce", &machine->bounce) &&
	       json_get_answer(reader, from, "guest", &machine->guest) &&
	       json_get_bool(reader, from, "root", &machine->root) &&
	       read_list(reader, from, "host_bridges", machine, read_host) &&
	       read_list(reader, from, "devices", machine, read_device) &&
	       read_list(reader, from, "devices", machine, read_links);
}

static bool is_too_much(const char *text)
{
	unsigned int count = 0;

	for (text = strpbrk(text, ",[{"); text; text = strpbrk(text + 1, ",[{")) {
		if (++count == MAX_VALUES)
			return true;
	}
	return false;
}

/* What is wrong at @at in @text; gives NULL */
static json_object *bad_at(struct json_reader *reader, const char *text,
			   const char *at, const char *what)
{
	unsigned int line = 1;

	for (; text < at && *text; text++)
		line += *text == '\n';
	snprintf(reader->error, reader->size, "%s:%u: %s", reader->name, line,
		 what);
	return NULL;
}

static json_object *parse(struct json_reader *reader, const char *text)
{
	json_tokener *tokener;
	json_object *found;
	const char *end;

	if (is_too_much(text)) {
		json_bad(reader, "it has more values than any machine");
		return NULL;
	}
	tokener = json_tokener_new();
	if (!tokener) {
		json_bad(reader, "no memory");
		return NULL;
	}
	found = json_tokener_parse_ex(tokener, text, strlen(text) + 1);
	end = text + json_tokener_get_parse_end(tokener);
	if (!found)
		bad_at(reader, text, end,
		       json_tokener_error_desc(json_tokener_get_error(tokener)));
	json_tokener_free(tokener);
	if (!found)
		return NULL;
	end += strspn(end, " \t\r\n");
	if (!*end)
		return found;
	json_object_put(found);
	return bad_at(reader, text, end,
		      "something follows the dump; one file is one machine");
}

struct machine *machine_from_json(const char *text, const char *name,
				  char *error, size_t size)
{
	struct json_reader reader = {
		.name = name,
		.error = error,
		.size = size,
	};
	struct machine *machine = machine_new();
	char detail[200];
	json_object *from;
	bool done;

	if (machine)
		machine->source = strdup(name);
	if (!machine || !machine->source) {
		json_bad(&reader, "no memory");
		machine_free(machine);
		return NULL;
	}
	from = parse(&reader, text);
	if (json_object_is_type(from, json_type_array))
		done = machine_from_rdma(&reader, from, machine);
	else
		done = from && read_machine(&reader, from, machine);
	json_object_put(from);
	if (done && !machine_complete(machine, detail, sizeof(detail)))
		done = json_bad(&reader, "%s", detail);
	if (done)
		return machine;
	machine_free(machine);
	return NULL;
}
