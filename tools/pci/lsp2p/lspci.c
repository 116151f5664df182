// SPDX-License-Identifier: GPL-2.0
/*
 * Machines from the output of lspci, at any -v, -x, -n and -D.
 *
 * Registers are taken from the hex; what only the text says is put into config
 * space at the offset that the text names.  Where both say the same register they
 * have to agree.
 *
 * lspci never leaves out a row of hex, so a missing one is unknown, not zero.
 * Only a file that says so in a comment has had its rows of zeros dropped.
 */
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "text.h"

#define TEXT_NAME	128

struct reader {
	struct text text;
	struct machine *machine;
	bool zeros_dropped;
	bool sees_extended;		/* some function has capabilities beyond 256 */
	bool hex_extended;		/* and some hex goes that far */

	/* The function that is being read */
	struct device *device;
	unsigned long head;		/* its first line */
	bool words;			/* there is text besides the first line */
	bool whole;			/* all of which is there */
	bool bridge;			/* which tells of the buses of a bridge */
	enum answer caps;		/* NO: not all can be read */
	bool extended;			/* there are capabilities beyond 256 */
	unsigned int cap;		/* the one that the text is at, and its ID */
	unsigned int cap_at;
	unsigned int rows;		/* the end of the last row of hex */
	/* Bits of config space as in the text */
	uint8_t value[CONFIG_SIZE];
	uint8_t mask[CONFIG_SIZE];
	uint8_t said[CONFIG_SIZE / 8];
};

/* IDs of extended capabilities, set apart from the others */
#define EXT(_id)	(0x100 | (_id))

/* ---- Registers that the text tells ---- */

/* The text tells the bits of @mask in @count bytes; the others count as zero. */
static void say(struct reader *reader, unsigned int at, unsigned int count,
		uint32_t value, uint32_t mask)
{
	for (; count && at < CONFIG_SIZE; count--, at++) {
		reader->value[at] |= value & mask;
		reader->mask[at] |= mask;
		reader->said[at / 8] |= 1 << at % 8;
		value >>= 8;
		mask >>= 8;
	}
}

/*
 * Bits of a register by their names, "SrcValid+ TransBlk- ..."; in a line that is
 * cut off some are missing, and the register isn't known.
 */
static void say_flags(struct reader *reader, unsigned int at, const char *line,
		      const char *const *names, unsigned int count)
{
	uint32_t value = 0;
	const char *found;
	unsigned int i;

	for (i = 0; i < count; i++) {
		found = strstr(line, names[i]);
		found = found ? found + strlen(names[i]) : "";
		if (*found == '+')
			value |= 1 << i;
		else if (*found != '-')
			return;
	}
	say(reader, at, 2, value, (1 << count) - 1);
}

/* The code of a payload of 128 bytes << code */
static bool payload_code(const char *line, uint32_t *code)
{
	unsigned int bytes;

	if (sscanf(line, "MaxPayload %4u bytes", &bytes) != 1)
		return false;
	for (*code = 0; *code < 6; ++*code) {
		if (128U << *code == bytes)
			return true;
	}
	return false;
}

/* "Speed 8GT/s (ok), Width x16": as in the Link registers' low ten bits */
static bool link_code(const char *line, uint32_t *code)
{
	static const char *const speeds[] = {
		"2.5GT/s", "5GT/s", "8GT/s", "16GT/s", "32GT/s", "64GT/s",
	};
	const char *speed = strstr(line, "Speed "), *width = strstr(line, "Width x");
	unsigned int i, lanes;

	if (!speed || !width || sscanf(width, "Width x%2u", &lanes) != 1)
		return false;
	for (i = 0; i < 6; i++) {
		if (text_after(speed + strlen("Speed "), speeds[i])) {
			*code = (i + 1) | lanes << 4;
			return true;
		}
	}
	return false;
}

static void read_express(struct reader *reader, const char *line)
{
	const char *rest;
	unsigned int port;
	uint32_t code;

	rest = text_after(line, "DevCap:");
	if (rest && text_indent(rest, &rest) && payload_code(rest, &code)) {
		say(reader, reader->cap_at + PCI_EXP_DEVCAP, 4, code,
		    PCI_EXP_DEVCAP_PAYLOAD);
		return;
	}
	if (strstr(line, "MaxReadReq") && payload_code(line, &code)) {
		say(reader, reader->cap_at + PCI_EXP_DEVCTL, 2, code << 5,
		    PCI_EXP_DEVCTL_PAYLOAD);
		return;
	}
	rest = text_after(line, "LnkCap:");
	if (rest && sscanf(rest, " Port #%3u", &port) == 1 &&
	    link_code(rest, &code)) {
		say(reader, reader->cap_at + PCI_EXP_LNKCAP, 4,
		    code | port << 24,
		    PCI_EXP_LNKCAP_SLS | PCI_EXP_LNKCAP_MLW | PCI_EXP_LNKCAP_PN);
		return;
	}
	rest = text_after(line, "LnkSta:");
	if (rest && link_code(rest, &code))
		say(reader, reader->cap_at + PCI_EXP_LNKSTA, 2, code,
		    PCI_EXP_LNKSTA_CLS | PCI_EXP_LNKSTA_NLW);
}

static void read_acs(struct reader *reader, const char *line)
{
	static const char *const names[] = {
		"SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd",
		"EgressCtrl", "DirectTrans",
	};

	if (text_after(line, "ACSCap:"))
		say_flags(reader, reader->cap_at + PCI_ACS_CAP, line, names, 7);
	else if (text_after(line, "ACSCtl:"))
		say_flags(reader, reader->cap_at + PCI_ACS_CTRL, line, names, 7);
}

static void read_ats(struct reader *reader, const char *line)
{
	const char *rest = text_after(line, "ATSCtl:");

	rest = rest ? strstr(rest, "Enable") : NULL;
	if (rest && (rest[6] == '+' || rest[6] == '-'))
		say(reader, reader->cap_at + PCI_ATS_CTRL, 2,
		    rest[6] == '+' ? PCI_ATS_CTRL_ENABLE : 0,
		    PCI_ATS_CTRL_ENABLE);
}

static void read_sriov(struct reader *reader, const char *line)
{
	const char *rest = strstr(line, "Number of VFs: ");
	unsigned int count, offset, stride;

	if (rest && sscanf(rest, "Number of VFs: %5u", &count) == 1)
		say(reader, reader->cap_at + PCI_SRIOV_NUM_VF, 2, count, 0xffff);
	if (sscanf(line, "VF offset: %5u, stride: %5u", &offset, &stride) == 2)
		say(reader, reader->cap_at + PCI_SRIOV_VF_OFFSET, 4,
		    (offset & 0xffff) | stride << 16, 0xffffffff);
}

/* "256MB": the size in bytes; 0 if it is none */
static uint64_t read_size(const char *text)
{
	static const char units[] = "KMGTPE";
	unsigned long long size;
	const char *unit;
	char letter = 0;

	if (sscanf(text, "%4llu%c", &size, &letter) < 1)
		return 0;
	unit = letter ? strchr(units, letter) : NULL;
	return unit ? size << 10 * (unit - units + 1) : size;
}

/* "BAR 0: current size: 256MB, supported: 64MB 128MB 256MB" */
static void read_rebar(struct reader *reader, const char *line)
{
	const char *at = strstr(line, "supported:");
	unsigned int i, bit;
	uint64_t size;
	struct bar *bar;

	if (!at || sscanf(line, "BAR %1u:", &i) != 1 || i >= BARS)
		return;
	bar = &reader->device->bars[i];
	for (at = strchr(at, ' '); at; at = strchr(at + 1, ' ')) {
		size = read_size(at + 1);
		for (bit = 0; bit < 44; bit++) {
			if (size == 1ULL << (20 + bit))
				bar->sizes |= 1ULL << bit;
		}
	}
	at = strstr(line, "current size: ");
	size = at ? read_size(at + strlen("current size: ")) : 0;
	if (size && bar->start && bar->start == bar->end &&
	    bar->start + size - 1 > bar->start)
		bar->end = bar->start + size - 1;
}

/* ---- Lines of text ---- */

static const struct {
	const char *name;
	unsigned int id;
} caps[] = {
	{ "Express", PCI_CAP_ID_EXP },
	{ "Access Control Services", EXT(PCI_EXT_CAP_ID_ACS) },
	{ "Address Translation Service", EXT(PCI_EXT_CAP_ID_ATS) },
	{ "Single Root I/O Virtualization", EXT(PCI_EXT_CAP_ID_SRIOV) },
	{ "Physical Resizable BAR", EXT(PCI_EXT_CAP_ID_REBAR) },
	{ "Resizable BAR", EXT(PCI_EXT_CAP_ID_REBAR) },
};

/* "Express (v2) Root Port (Slot+), MSI 00": type and version */
static void read_express_type(struct reader *reader, const char *rest)
{
	static const struct {
		const char *name;
		uint32_t type;
	} types[] = {
		{ "Endpoint", PCI_EXP_TYPE_ENDPOINT },
		{ "Legacy Endpoint", PCI_EXP_TYPE_LEG_END },
		{ "Root Port", PCI_EXP_TYPE_ROOT_PORT },
		{ "Upstream Port", PCI_EXP_TYPE_UPSTREAM },
		{ "Downstream Port", PCI_EXP_TYPE_DOWNSTREAM },
		{ "PCI-Express to PCI/PCI-X Bridge", PCI_EXP_TYPE_PCI_BRIDGE },
		{ "PCI/PCI-X to PCI-Express Bridge", PCI_EXP_TYPE_PCIE_BRIDGE },
		{ "Root Complex Integrated Endpoint", PCI_EXP_TYPE_RC_END },
		{ "Root Complex Event Collector", PCI_EXP_TYPE_RC_EC },
	};
	uint32_t version = 0, mask = PCI_EXP_FLAGS_TYPE;
	int used = 0;
	size_t i;

	if (sscanf(rest, " (v%1u)%n", &version, &used) == 1 && used)
		mask |= PCI_EXP_FLAGS_VERS;
	rest += used;
	for (i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (*rest == ' ' && text_after(rest + 1, types[i].name))
			say(reader, reader->cap_at + PCI_EXP_FLAGS, 2,
			    types[i].type << 4 | version, mask);
	}
}

static void note_cap(struct reader *reader, unsigned int id, unsigned int at,
		     const char *rest)
{
	struct device *device = reader->device;

	reader->cap = id;
	switch (id) {
	case PCI_CAP_ID_EXP:
		if (!device->pcie_cap)
			device->pcie_cap = at;
		read_express_type(reader, rest);
		say(reader, at, 1, id, 0xff);
		return;
	case EXT(PCI_EXT_CAP_ID_ACS):
		device->acs_cap = at;
		break;
	case EXT(PCI_EXT_CAP_ID_ATS):
		device->ats_cap = at;
		break;
	case EXT(PCI_EXT_CAP_ID_SRIOV):
		device->sriov_cap = at;
		break;
	case EXT(PCI_EXT_CAP_ID_REBAR):
		device->rebar_cap = at;
		break;
	}
	say(reader, at, 2, id & 0xff, 0xffff);
}

/* "[90] Express ...", "[110 v1] ...", "<access denied>" */
static bool read_capability(struct reader *reader, const char *line)
{
	const char *rest;
	unsigned int at, extended;
	size_t i;

	if (strstr(line, "<access denied>") || strstr(line, "<chain ")) {
		reader->caps = NO;
		return true;
	}
	rest = strstr(line, "] ");
	if (!rest || sscanf(line, "[%3x", &at) != 1 ||
	    at < PCI_STD_HEADER_SIZEOF || at & 3)
		return true;
	rest += 2;
	reader->cap_at = at;
	if (reader->caps == UNKNOWN)
		reader->caps = YES;
	extended = at >= PCI_CFG_SPACE_SIZE ? EXT(0) : 0;
	if (extended) {
		reader->extended = true;
		reader->sees_extended = true;
	}
	for (i = 0; i < sizeof(caps) / sizeof(*caps); i++) {
		if (text_after(rest, caps[i].name) &&
		    (caps[i].id & EXT(0)) == extended) {
			note_cap(reader, caps[i].id, at,
				 rest + strlen(caps[i].name));
			return true;
		}
	}
	return true;
}

/* "Region 0: Memory at c0100000 (32-bit, non-prefetchable) [size=1M]" */
static bool read_region(struct reader *reader, const char *line)
{
	unsigned long long start;
	const char *at;
	struct bar *bar;
	unsigned int i;
	uint64_t size;

	if (sscanf(line, "%1u:", &i) != 1 || i >= BARS)
		return true;
	bar = &reader->device->bars[i];
	bar->known = true;
	at = strstr(line, "Memory at ");
	if (!at)
		return true;
	bar->memory = true;
	bar->is64 = strstr(line, "(64-bit");
	bar->prefetchable = strstr(line, " prefetchable)");
	if (sscanf(at, "Memory at %16llx (", &start) != 1 || !start)
		return true;
	bar->start = start;
	bar->end = start;
	at = strstr(line, "[size=");
	size = at ? read_size(at + strlen("[size=")) : 0;
	if (size && start + size - 1 > start)
		bar->end = start + size - 1;
	return true;
}

/* ": 70000000-81ffffff [size=288M]" of a bridge; none is "None" or "[disabled]" */
static bool read_range(const char *line, uint64_t *start, uint64_t *end)
{
	unsigned long long first, last;

	if (sscanf(line, ": %16llx-%16llx", &first, &last) != 2)
		return false;
	*start = first;
	*end = last;
	return true;
}

/* Low registers of a range; their lowest bits say whether there are high ones. */
static void say_range(struct reader *reader, unsigned int at, uint64_t start,
		      uint64_t end)
{
	say(reader, at, 4, (start >> 16 & 0xfff0) | (end & 0xfff00000),
	    0xfff0fff0);
}

static bool read_memory(struct reader *reader, const char *line)
{
	uint64_t start, end;

	if (read_range(line, &start, &end))
		say_range(reader, PCI_MEMORY_BASE, start, end);
	return true;
}

static bool read_prefetchable(struct reader *reader, const char *line)
{
	uint64_t start, end;

	if (!read_range(line, &start, &end))
		return true;
	say_range(reader, PCI_PREF_MEMORY_BASE, start, end);
	say(reader, PCI_PREF_BASE_UPPER32, 4, start >> 32, 0xffffffff);
	say(reader, PCI_PREF_LIMIT_UPPER32, 4, end >> 32, 0xffffffff);
	return true;
}

static bool read_driver(struct reader *reader, const char *name)
{
	if (reader->device->driver)
		return true;
	reader->device->driver = strdup(name);
	return reader->device->driver || text_bad(&reader->text, "no memory");
}

static bool read_numa(struct reader *reader, const char *line)
{
	int node;

	if (sscanf(line, "%*[: ]%5d", &node) == 1)
		reader->device->numa_node = node;
	return true;
}

static bool read_group(struct reader *reader, const char *line)
{
	int group;

	if (sscanf(line, "%*[: ]%7d", &group) == 1)
		reader->device->iommu_group = group;
	return true;
}

/* With one -v: "bus master, fast devsel, latency 0, NUMA node 0, IOMMU group 5" */
static bool read_short_flags(struct reader *reader, const char *line)
{
	const char *at = strstr(line, "NUMA node");

	if (at)
		read_numa(reader, at + strlen("NUMA node"));
	at = strstr(line, "IOMMU group");
	return !at || read_group(reader, at + strlen("IOMMU group"));
}

static bool read_control(struct reader *reader, const char *line)
{
	static const char *const names[] = { "I/O", "Mem", "BusMaster" };

	say_flags(reader, PCI_COMMAND, line, names, 3);
	return true;
}

static bool read_status(struct reader *reader, const char *line)
{
	say(reader, PCI_STATUS, 1, *line == '+' ? PCI_STATUS_CAP_LIST : 0,
	    PCI_STATUS_CAP_LIST);
	if (*line == '-')
		reader->caps = YES;
	return true;
}

static bool read_buses(struct reader *reader, const char *line)
{
	unsigned int primary, secondary, subordinate;

	if (sscanf(line, "%2x, secondary=%2x, subordinate=%2x", &primary,
		   &secondary, &subordinate) != 3)
		return true;
	reader->bridge = true;
	say(reader, PCI_PRIMARY_BUS, 3,
	    primary | secondary << 8 | subordinate << 16, 0xffffff);
	return true;
}

/* Lines with one tab; those that aren't here say nothing that matters. */
static bool read_outer(struct reader *reader, const char *line)
{
	static const struct {
		const char *prefix;
		bool (*read)(struct reader *reader, const char *rest);
	} lines[] = {
		{ "Capabilities: ", read_capability },
		{ "Region ", read_region },
		{ "Kernel driver in use: ", read_driver },
		{ "Control: ", read_control },
		{ "Status: Cap", read_status },
		{ "Bus: primary=", read_buses },
		{ "Memory behind bridge", read_memory },
		{ "Prefetchable memory behind bridge", read_prefetchable },
		{ "NUMA node", read_numa },
		{ "IOMMU group", read_group },
		{ "Flags: ", read_short_flags },
	};
	const char *rest;
	size_t i;

	reader->cap = 0;
	for (i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		rest = text_after(line, lines[i].prefix);
		if (rest)
			return lines[i].read(reader, rest);
	}
	return true;
}

static void read_inner(struct reader *reader, const char *line)
{
	switch (reader->cap) {
	case PCI_CAP_ID_EXP:
		read_express(reader, line);
		break;
	case EXT(PCI_EXT_CAP_ID_ACS):
		read_acs(reader, line);
		break;
	case EXT(PCI_EXT_CAP_ID_ATS):
		read_ats(reader, line);
		break;
	case EXT(PCI_EXT_CAP_ID_SRIOV):
		read_sriov(reader, line);
		break;
	case EXT(PCI_EXT_CAP_ID_REBAR):
		read_rebar(reader, line);
		break;
	}
}

/* ---- The first line of a function ---- */

/* Classes that matter, for lspci without -n and without hex */
static const struct {
	const char *name;
	uint32_t class;
} classes[] = {
	{ "Host bridge", 0x0600 },
	{ "PCI bridge", 0x0604 },
	{ "Non-Volatile memory controller", 0x0108 },
	{ "Ethernet controller", 0x0200 },
	{ "Infiniband controller", 0x0207 },
	{ "Network controller", 0x0280 },
	{ "VGA compatible controller", 0x0300 },
	{ "3D controller", 0x0302 },
	{ "Display controller", 0x0380 },
	{ "Memory controller", 0x0580 },
	{ "System peripheral", 0x0880 },
	{ "Processing accelerators", 0x1200 },
};

static void say_class(struct reader *reader, const char *line, const char *colon)
{
	const char *at = text_after(line, "Class ") ?: line, *bracket;
	uint32_t class;
	size_t i;

	bracket = colon - 6 >= line && colon[-6] == '[' && colon[-1] == ']' ?
		  colon - 5 : at;
	if (text_hex(bracket, 4, &class) &&
	    (bracket != at || bracket + 4 == colon)) {
		say(reader, PCI_CLASS_DEVICE, 2, class, 0xffff);
		return;
	}
	for (i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
		if (text_after(at, classes[i].name) == colon)
			say(reader, PCI_CLASS_DEVICE, 2, classes[i].class, 0xffff);
	}
}

/* VENDOR:DEVICE, as "[8086:2f04]", the last of these, or at the beginning */
static bool find_ids(const char *line, uint32_t *vendor, uint32_t *id)
{
	const char *at = line, *rest, *found = NULL;

	rest = text_hex(text_after(line, "Device ") ?: line, 4, vendor);
	if (rest && *rest == ':' && text_hex(rest + 1, 4, id))
		return true;
	while ((at = strchr(at, '['))) {
		at++;
		rest = text_hex(at, 4, vendor);
		if (rest && *rest == ':' && text_hex(rest + 1, 4, id))
			found = at;
	}
	return found && text_hex(found, 4, vendor) && text_hex(found + 5, 4, id);
}

static bool read_name(struct reader *reader, const char *line)
{
	char name[TEXT_NAME], *end;
	uint32_t vendor, id;

	if (find_ids(line, &vendor, &id)) {
		say(reader, PCI_VENDOR_ID, 4, id << 16 | vendor, 0xffffffff);
		return true;
	}
	snprintf(name, sizeof(name), "%s", line);
	end = strstr(name, " (rev ") ?: strstr(name, " (prog-if ");
	if (end)
		*end = '\0';
	reader->device->name = strdup(name);
	return reader->device->name || text_bad(&reader->text, "no memory");
}

static bool start_device(struct reader *reader, uint32_t domain, uint8_t bus,
			 uint8_t devfn, const char *rest)
{
	const char *colon = strstr(rest, ": "), *at;
	uint32_t interface;

	if (!colon)
		return text_bad(&reader->text,
					"after the address 'CLASS: NAME' is expected, not '%.40s'",
				rest);
	if (machine_find(reader->machine, domain, bus, devfn))
		return text_bad(&reader->text,
					"this device is there twice; one file is one machine");
	reader->device = machine_add(reader->machine, domain, bus, devfn);
	if (!reader->device)
		return text_bad(&reader->text, "too many devices; is this one machine?");
	reader->head = reader->text.number;
	reader->words = false;
	reader->whole = false;
	reader->bridge = false;
	reader->caps = UNKNOWN;
	reader->extended = false;
	reader->cap = 0;
	reader->rows = 0;
	memset(reader->value, 0, sizeof(reader->value));
	memset(reader->mask, 0, sizeof(reader->mask));
	memset(reader->said, 0, sizeof(reader->said));

	say_class(reader, rest, colon);
	at = strstr(rest, "(prog-if ");
	if (at && text_hex(at + strlen("(prog-if "), 2, &interface))
		say(reader, PCI_CLASS_PROG, 1, interface, 0xff);
	return read_name(reader, colon + 2);
}

/* ---- Hex ---- */

/* "40: 01 48 ...", of which @rest is what follows the colon */
static bool read_row(struct reader *reader, uint32_t at, const char *rest)
{
	struct device *device = reader->device;
	uint8_t row[16], there;
	uint32_t byte;
	unsigned int i;

	for (i = 0; i < 16; i++) {
		rest = *rest == ' ' ? text_hex(rest + 1, 2, &byte) : NULL;
		if (!rest)
			return text_bad(&reader->text,
						"row %02x of hex has %u whole bytes and not 16; take the dump again",
					at, i);
		row[i] = byte;
	}
	if (*rest)
		return text_bad(&reader->text,
					"row %02x of hex has more than 16 bytes; take the dump again",
				at);
	if (at & 15 || at >= CONFIG_SIZE)
		return text_bad(&reader->text,
					"no row of hex begins at %02x; take the dump again",
				at);
	if (config_get8(device, at, &there))
		return text_bad(&reader->text,
					"row %02x of hex is there twice; take the dump again",
				at);
	config_set(device, at, row, sizeof(row));
	if (reader->rows < at + 16)
		reader->rows = at + 16;
	return true;
}

static bool is_row(const char *line, uint32_t *at, const char **rest)
{
	*rest = text_hex(line, 2, at);
	if (*rest && **rest != ':')
		*rest = text_hex(line, 3, at);
	return *rest && *(*rest)++ == ':';
}

static void fill_zeros(struct device *device, unsigned int rows)
{
	unsigned int at, end = rows > PCI_CFG_SPACE_SIZE ? CONFIG_SIZE :
			       rows > 64 ? PCI_CFG_SPACE_SIZE : 64;
	static const uint8_t zeros[16];
	uint8_t there;

	for (at = 0; rows && at < end; at += sizeof(zeros)) {
		if (!config_get8(device, at, &there))
			config_set(device, at, zeros, sizeof(zeros));
	}
}

/* ---- A whole function ---- */

/* Puts into config space what the hex hasn't. */
static bool merge(struct reader *reader)
{
	struct device *device = reader->device;
	unsigned int at;
	uint8_t there;

	/* The ID registers of a virtual function read as ffff. */
	if (device_vendor(device) == 0xffff && reader->mask[PCI_VENDOR_ID])
		config_set(device, PCI_VENDOR_ID, reader->value, 4);
	for (at = 0; at < CONFIG_SIZE; at++) {
		if (!(reader->said[at / 8] & 1 << at % 8))
			continue;
		if (!config_get8(device, at, &there)) {
			config_set(device, at, &reader->value[at], 1);
		} else if ((there ^ reader->value[at]) & reader->mask[at]) {
			reader->text.number = reader->head;
			return text_bad(&reader->text,
						"text and hex of this device differ in byte %02x: %02x and %02x; take both at once, by: lspci -vvv -xxxx",
					at, reader->value[at],
					there & reader->mask[at]);
		}
	}
	return true;
}

static bool end_device(struct reader *reader)
{
	struct device *device = reader->device;

	if (!device)
		return true;
	if (reader->zeros_dropped)
		fill_zeros(device, reader->rows);
	if (reader->words) {
		/* Text that is shortened may lack the line of a bridge. */
		if (reader->bridge)
			say(reader, PCI_HEADER_TYPE, 1, PCI_HEADER_TYPE_BRIDGE,
			    PCI_HEADER_TYPE_MASK);
		else if (!reader->rows)
			say(reader, PCI_HEADER_TYPE, 1, PCI_HEADER_TYPE_NORMAL, 0);
	}
	if (!merge(reader))
		return false;
	/* The ID database has a better name. */
	if (device_vendor(device) != 0xffff) {
		free(device->name);
		device->name = NULL;
	}
	device->is_bridge = device_class(device) >> 8 == CLASS_PCI_BRIDGE;
	/* What the hex shows by itself is left to machine_complete(). */
	if (reader->caps == YES && reader->rows <= 64)
		device->caps_known = YES;
	if (reader->extended && reader->rows <= PCI_CFG_SPACE_SIZE) {
		device->has_extended = YES;
		if (reader->caps != NO)
			device->extended_known = YES;
	}
	if (reader->caps == NO)
		device->extended_known = NO;
	if (reader->rows > PCI_CFG_SPACE_SIZE)
		reader->hex_extended = true;
	return true;
}

/*
 * lspci lists capabilities beyond 256 wherever it can read them.  If it could for
 * some function, another one whose text lists capabilities and has none there has
 * none.  That is of use where all hex ends before; if some goes further, the rest
 * is missing.  Of a bridge it isn't believed: text may have been shortened, and too
 * much rests on it.
 */
static void find_without_extended(struct reader *reader)
{
	struct machine *machine = reader->machine;
	struct device *device;
	uint8_t byte;
	size_t i;

	if (!reader->sees_extended || reader->hex_extended)
		return;
	for (i = 0; i < machine->device_count; i++) {
		device = machine->devices[i];
		if (device->extended_known != UNKNOWN || device->is_bridge ||
		    !device->pcie_cap ||
		    config_get8(device, PCI_CFG_SPACE_SIZE, &byte))
			continue;
		device->has_extended = YES;
		device->extended_known = YES;
	}
}

static bool read_line(struct reader *reader)
{
	const char *line = reader->text.line, *rest;
	uint8_t bus, devfn;
	uint32_t at;

	if (reader->text.gap)
		reader->whole = true;
	if (*line == '#') {
		if (strstr(line, "ows of zeros"))
			reader->zeros_dropped = true;
		return true;
	}
	rest = text_address(line, &at, &bus, &devfn);
	if (rest && *rest == ' ')
		return end_device(reader) &&
		       start_device(reader, at, bus, devfn, rest + 1);
	if (text_after(line, "pcilib: ") || text_after(line, "lspci: ") ||
	    !reader->device)
		return true;
	if (is_row(line, &at, &rest)) {
		reader->whole = true;
		return read_row(reader, at, rest);
	}
	at = text_indent(line, &rest);
	if (!at)
		return text_bad(&reader->text,
					"neither text of lspci nor a row of hex: '%.40s'; take the line out, or the dump again",
				line);
	reader->words = true;
	reader->whole = false;
	if (at <= 8)
		return read_outer(reader, rest);
	read_inner(reader, rest);
	return true;
}

struct machine *machine_from_lspci(const char *text, const char *name,
				   char *error, size_t size)
{
	struct reader *reader = calloc(1, sizeof(*reader));
	struct machine *machine = machine_new();
	char detail[200] = "no memory";

	if (!reader || !machine)
		goto no;
	text_start(&reader->text, text, name, error, size);
	reader->machine = machine;
	while (text_line(&reader->text)) {
		if (!read_line(reader))
			goto bad;
	}
	/* An empty line or hex ends the text of a function. */
	if (!reader->whole && !reader->text.gap)
		reader->caps = NO;
	if (!end_device(reader))
		goto bad;
	if (!machine->device_count) {
		snprintf(detail, sizeof(detail),
			 "there are no PCI devices in it");
		goto no;
	}
	find_without_extended(reader);
	machine->source = strdup(name);
	if (machine->source && machine_complete(machine, detail, sizeof(detail))) {
		free(reader);
		return machine;
	}
no:
	snprintf(error, size, "%s: %s", name, detail);
bad:
	machine_free(machine);
	free(reader);
	return NULL;
}
