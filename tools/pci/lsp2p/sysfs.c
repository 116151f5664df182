// SPDX-License-Identifier: GPL-2.0
/*
 * The running machine: devices from sysfs, the kernel and the processor from /proc.
 *
 * Any user may read most of this, but no more than 64 bytes of config space, no
 * windows of host bridges.  What can't be read stays unknown.  Config space is
 * read from sysfs directly, not through libpci, since the size of the file tells
 * how much of it the kernel can access.  Nothing is written, and no device opened.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "machine.h"
#include "text.h"

#define MAX_NODES	256	/* of a device */
#define MAX_DEPTH	8	/* from a PCI device to its nodes */
#define MAX_SMALL	4096	/* of a file with one value */

/* include/linux/ioport.h */
#define RESOURCE_IO		0x00000100
#define RESOURCE_MEM		0x00000200
#define RESOURCE_PREFETCH	0x00002000
#define RESOURCE_MEM_64		0x00100000
#define RESOURCE_UNSET		0x20000000

struct sysfs {
	const char *root;
	struct machine *machine;
	char *flags;		/* of the processor, with spaces around each */
	bool x86;
};

/* ---- Files ---- */

__attribute__((format(printf, 3, 4)))
static bool make_path(const struct sysfs *sysfs, char path[PATH_MAX],
		      const char *format, ...)
{
	int length = snprintf(path, PATH_MAX, "%s", sysfs->root), more;
	va_list list;

	va_start(list, format);
	more = vsnprintf(path + length, PATH_MAX - length, format, list);
	va_end(list);
	return more >= 0 && length + more < PATH_MAX;
}

/* At most @room - 1 bytes of a file, as text; -1 if it can't be read */
static ssize_t read_file(const char *path, char *data, size_t room)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	size_t count = 0;
	ssize_t got = 0;

	if (file < 0)
		return -1;
	while (count < room - 1) {
		got = read(file, data + count, room - 1 - count);
		if (got <= 0)
			break;
		count += got;
	}
	close(file);
	data[count] = '\0';
	return got < 0 && !count ? -1 : (ssize_t)count;
}

/* A file with one line, without its end */
static bool read_value(const char *folder, const char *name, char *value,
		       size_t room)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= PATH_MAX ||
	    read_file(path, value, room) < 0)
		return false;
	value[strcspn(value, "\n")] = '\0';
	return true;
}

static bool read_number(const char *folder, const char *name, int base,
			long long *number)
{
	char value[64], *end;

	if (!read_value(folder, name, value, sizeof(value)))
		return false;
	*number = strtoll(value, &end, base);
	return end != value && !*end;
}

/* The last part of where a link leads to */
static bool read_link(const char *folder, const char *name, char *last,
		      size_t room)
{
	char path[PATH_MAX], target[PATH_MAX];
	ssize_t length;

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= PATH_MAX)
		return false;
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return false;
	target[length] = '\0';
	return (size_t)snprintf(last, room, "%s",
				strrchr(target, '/') ? strrchr(target, '/') + 1 :
				target) < room;
}

static bool exists(const char *folder, const char *name)
{
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%s/%s", folder, name) < PATH_MAX &&
	       !access(path, F_OK);
}

/* ---- The kernel and the processor ---- */

/* Options that concern P2PDMA; no others, which may hold anything */
static bool is_relevant(const char *option)
{
	static const char *const prefixes[] = {
		"amd_iommu=", "intel_iommu=", "iommu.", "iommu=", "mem_encrypt=",
		"p2pdma", "pci=", "pci_p2pdma.", "pcie_acs_override=",
		"pcie_ports=", "swiotlb=",
	};
	size_t i;

	for (i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
		if (text_after(option, prefixes[i]))
			return true;
	}
	return false;
}

/* Shortens a command line, in place. */
static void keep_relevant(char *line)
{
	char *to = line, *at = line, *option;
	size_t length;
	bool quoted;

	while (*at) {
		while (isspace((unsigned char)*at))
			at++;
		quoted = false;
		for (option = at; *at && (quoted || !isspace((unsigned char)*at)); at++)
			quoted ^= *at == '"';
		length = at - option;
		if (!length || !is_relevant(option))
			continue;
		if (to != line)
			*to++ = ' ';
		memmove(to, option, length);
		to += length;
	}
	*to = '\0';
}

/* Is @value in the list of an option, "swiotlb=65536,force"? */
static bool has_option(const struct machine *machine, const char *option,
		       const char *value)
{
	const char *at = machine->cmdline;
	size_t length;

	for (; at; at = strchr(at, ' '), at = at ? at + 1 : NULL) {
		if (!text_after(at, option))
			continue;
		at += strlen(option);
		do {
			length = strcspn(at, ", ");
			if (length == strlen(value) && text_after(at, value))
				return true;
			at += length;
		} while (*at++ == ',');
		at--;
	}
	return false;
}

/* What the kernel's configuration says of an option; files may be packed */
static enum answer has_config(const struct sysfs *sysfs, const char *option)
{
	char path[PATH_MAX], line[256];
	enum answer answer;
	gzFile file = NULL;
	int i;

	for (i = 0; i < 2 && !file; i++) {
		if (i ? make_path(sysfs, path, "/boot/config-%s",
				  sysfs->machine->kernel ?: "") :
			make_path(sysfs, path, "/proc/config.gz"))
			file = gzopen(path, "re");
	}
	if (!file)
		return UNKNOWN;
	answer = NO;
	while (answer == NO && gzgets(file, line, sizeof(line))) {
		line[strcspn(line, "\n")] = '\0';
		if (!strcmp(line, option))
			answer = YES;
	}
	gzclose(file);
	return answer;
}

static enum answer has_symbol(const struct sysfs *sysfs, const char *symbol)
{
	char path[PATH_MAX], line[512];
	enum answer answer = UNKNOWN;
	const char *at;
	FILE *file;

	if (!make_path(sysfs, path, "/proc/kallsyms"))
		return UNKNOWN;
	file = fopen(path, "re");
	if (!file)
		return UNKNOWN;
	while (answer != YES && fgets(line, sizeof(line), file)) {
		answer = NO;
		line[strcspn(line, "\t\n")] = '\0';
		at = strrchr(line, ' ');
		if (at && !strcmp(at + 1, symbol))
			answer = YES;
	}
	fclose(file);
	return answer;
}

static enum core find_core(const struct sysfs *sysfs)
{
	char path[PATH_MAX];
	enum answer answer;

	if ((make_path(sysfs, path, "/dev/p2pdma") && !access(path, F_OK)) ||
	    (make_path(sysfs, path, "/sys/module/pci_p2pdma/parameters/host_bridge") &&
	     !access(path, F_OK)))
		return CORE_OURS;
	answer = has_config(sysfs, "CONFIG_PCI_P2PDMA=y");
	if (answer == UNKNOWN)
		answer = has_symbol(sysfs, "pci_p2pdma_add_resource");
	return answer == UNKNOWN ? CORE_UNKNOWN :
	       answer == YES ? CORE_STOCK : CORE_NONE;
}

static bool read_kernel(struct sysfs *sysfs)
{
	struct machine *machine = sysfs->machine;
	char path[PATH_MAX], text[MAX_SMALL];

	if (make_path(sysfs, path, "/proc/sys/kernel") &&
	    read_value(path, "osrelease", text, sizeof(text))) {
		machine->kernel = strdup(text);
		if (!machine->kernel)
			return false;
	}
	if (make_path(sysfs, path, "/proc/cmdline") &&
	    read_file(path, text, sizeof(text)) >= 0) {
		keep_relevant(text);
		machine->cmdline = strdup(text);
		if (!machine->cmdline)
			return false;
	}
	machine->core = find_core(sysfs);
	*text = '\0';
	if (machine->core == CORE_UNKNOWN ||
	    (machine->core == CORE_OURS &&
	     !(make_path(sysfs, path, "/sys/module/pci_p2pdma/parameters") &&
	       read_value(path, "host_bridge", text, sizeof(text)))))
		return true;
	/* How the kernel prints a parameter that wasn't given */
	machine->admitted = strdup(strcmp(text, "(null)") ? text : "");
	return machine->admitted;
}

static bool has_flag(const struct sysfs *sysfs, const char *flag)
{
	char word[32];

	snprintf(word, sizeof(word), " %s ", flag);
	return sysfs->flags && strstr(sysfs->flags, word);
}

/* "name	: value" of the first processor */
static const char *cpu_value(const char *text, const char *name)
{
	const char *at = text, *rest;

	for (; at; at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
		rest = text_after(at, name);
		if (!rest)
			continue;
		rest += strspn(rest, " \t");
		if (*rest == ':')
			return rest + 1 + (rest[1] == ' ');
	}
	return NULL;
}

/*
 * AMD's SME is active if it was asked for, or by default in some kernels; SEV and
 * TDX belong to guests.  Whether a guest has SEV, no file tells for certain.
 */
static enum answer find_encryption(const struct sysfs *sysfs)
{
	const struct machine *machine = sysfs->machine;
	char path[PATH_MAX];

	if (!sysfs->x86)
		return UNKNOWN;
	if (has_flag(sysfs, "tdx_guest") ||
	    (make_path(sysfs, path, "/dev/sev-guest") && !access(path, F_OK)))
		return YES;
	if (!has_flag(sysfs, "sme") && !has_flag(sysfs, "sev"))
		return NO;
	if (has_option(machine, "mem_encrypt=", "on"))
		return YES;
	if (has_flag(sysfs, "hypervisor") || !machine->cmdline)
		return UNKNOWN;
	if (!has_flag(sysfs, "sme") || has_option(machine, "mem_encrypt=", "off"))
		return NO;
	return has_config(sysfs, "CONFIG_AMD_MEM_ENCRYPT_ACTIVE_BY_DEFAULT=y");
}

static bool read_processor(struct sysfs *sysfs)
{
	struct machine *machine = sysfs->machine;
	const char *vendor, *family, *flags;
	char path[PATH_MAX], text[16384];

	if (!make_path(sysfs, path, "/proc/cpuinfo") ||
	    read_file(path, text, sizeof(text)) <= 0)
		return true;
	vendor = cpu_value(text, "vendor_id");
	family = cpu_value(text, "cpu family");
	flags = cpu_value(text, "flags");
	sysfs->x86 = vendor && family && flags;
	machine->cpu_forwards = sysfs->x86 &&
				text_after(vendor, "AuthenticAMD") &&
				atoi(family) >= 0x17 ? YES : NO;
	if (sysfs->x86) {
		if (asprintf(&sysfs->flags, " %.*s ", (int)strcspn(flags, "\n"),
			     flags) < 0) {
			sysfs->flags = NULL;
			return false;
		}
		machine->guest = has_flag(sysfs, "hypervisor") ? YES : NO;
	}
	machine->encrypted = find_encryption(sysfs);
	/* An encrypted guest bounces as well. */
	if (has_option(machine, "swiotlb=", "force"))
		machine->bounce = YES;
	else if (machine->guest == YES && machine->encrypted != NO)
		machine->bounce = machine->encrypted;
	else if (machine->cmdline)
		machine->bounce = NO;
	return true;
}

/* ---- Devices ---- */

static void read_config(struct device *device, const char *folder)
{
	char path[PATH_MAX], config[CONFIG_SIZE + 1];
	struct stat status;
	ssize_t count;

	if (snprintf(path, sizeof(path), "%s/config", folder) >= PATH_MAX)
		return;
	count = read_file(path, config, sizeof(config));
	if (count > 0)
		config_set(device, 0, config, count);
	if (!stat(path, &status))
		device->has_extended = status.st_size > PCI_CFG_SPACE_SIZE ?
				       YES : NO;
}

/* The kernel's IDs, which a virtual function's config space doesn't have */
static void read_ids(struct device *device, const char *folder)
{
	long long vendor, id, class;

	if (read_number(folder, "vendor", 16, &vendor) &&
	    read_number(folder, "device", 16, &id)) {
		uint8_t ids[] = { vendor, vendor >> 8, id, id >> 8 };

		config_set(device, PCI_VENDOR_ID, ids, sizeof(ids));
	}
	if (read_number(folder, "class", 16, &class)) {
		uint8_t classes[] = { class, class >> 8, class >> 16 };

		config_set(device, PCI_CLASS_PROG, classes, sizeof(classes));
	}
}

static void read_bars(struct device *device, const char *folder)
{
	unsigned long long start, end, flags;
	char text[MAX_SMALL], name[32];
	const char *at = text;
	long long sizes;
	struct bar *bar;
	int i;

	if (snprintf(text, sizeof(text), "%s/resource", folder) >= MAX_SMALL ||
	    read_file(text, text, sizeof(text)) < 0)
		return;
	for (i = 0; i < BARS && at; i++) {
		if (sscanf(at, "%llx %llx %llx", &start, &end, &flags) != 3)
			return;
		at = strchr(at, '\n');
		at = at ? at + 1 : NULL;
		bar = &device->bars[i];
		bar->known = true;
		bar->memory = flags & RESOURCE_MEM;
		bar->prefetchable = flags & RESOURCE_PREFETCH;
		bar->is64 = flags & RESOURCE_MEM_64;
		if (bar->memory && !(flags & RESOURCE_UNSET) && start) {
			bar->start = start;
			bar->end = end;
		}
		snprintf(name, sizeof(name), "resource%d_resize", i);
		if (bar->memory && read_number(folder, name, 16, &sizes))
			bar->sizes = sizes;
	}
}

static void read_iommu(struct device *device, const char *folder)
{
	static const struct {
		const char *name;
		enum iommu iommu;
	} types[] = {
		{ "DMA", IOMMU_DMA },
		{ "DMA-FQ", IOMMU_DMA_FQ },
		{ "identity", IOMMU_IDENTITY },
		{ "blocked", IOMMU_BLOCKED },
		{ "unmanaged", IOMMU_OTHER },
	};
	char text[64];
	size_t i;

	if (!read_link(folder, "iommu_group", text, sizeof(text))) {
		if (errno == ENOENT)
			device->iommu = IOMMU_NONE;
		return;
	}
	device->iommu_group = atoi(text);
	if (!read_value(folder, "iommu_group/type", text, sizeof(text)))
		return;
	for (i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (!strcmp(text, types[i].name))
			device->iommu = types[i].iommu;
	}
}

/*
 * Devices behind an external port are removable for the kernel, and not trusted.
 * Without such ports there is no file, nor before Linux 5.14.
 */
static enum answer find_untrusted(const struct machine *machine,
				  const char *folder)
{
	char text[32];

	if (read_value(folder, "removable", text, sizeof(text)))
		return strcmp(text, "removable") ? NO : YES;
	return machine_release(machine) >= RELEASE(5, 14) ? NO : UNKNOWN;
}

static void read_p2pmem(const struct machine *machine, struct device *device,
			const char *folder)
{
	long long number;

	if (!exists(folder, "p2pmem")) {
		if (machine->core != CORE_UNKNOWN)
			device->registered = NO;
		return;
	}
	device->registered = YES;
	if (read_number(folder, "p2pmem/size", 10, &number))
		device->p2pmem_size = number;
	if (read_number(folder, "p2pmem/available", 10, &number))
		device->p2pmem_available = number;
	if (read_number(folder, "p2pmem/published", 10, &number))
		device->published = number ? YES : NO;
}

/* ---- Names of nodes: folders of some classes, below the device ---- */

static bool add_node(struct device *device, size_t *count, const char *name)
{
	char **nodes;
	size_t i;

	for (i = 0; i < *count; i++) {
		if (!strcmp(device->nodes[i], name))
			return true;
	}
	if (*count == MAX_NODES)
		return true;
	nodes = realloc(device->nodes, (*count + 2) * sizeof(*nodes));
	if (!nodes)
		return false;
	device->nodes = nodes;
	nodes[*count] = strdup(name);
	nodes[*count + 1] = NULL;
	return nodes[(*count)++];
}

static bool is_node_class(const char *name)
{
	static const char *const classes[] = {
		"accel", "block", "dax", "dma", "drm", "infiniband",
		"infiniband_verbs", "net", "nvme",
	};
	size_t i;

	for (i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
		if (!strcmp(name, classes[i]))
			return true;
	}
	return false;
}

/* With multipath, namespace nvme0c1n2 is a path to disk nvme0n2. */
static bool add_namespace(struct device *device, size_t *count, const char *name)
{
	unsigned int subsystem, controller, number;
	char disk[32];

	if (sscanf(name, "nvme%8uc%8un%8u", &subsystem, &controller,
		   &number) == 3) {
		snprintf(disk, sizeof(disk), "nvme%un%u", subsystem, number);
		return add_node(device, count, disk);
	}
	return sscanf(name, "nvme%8un%8u", &controller, &number) != 2 ||
	       add_node(device, count, name);
}

/* @class: the entries here are nodes of that class, or "" */
static bool read_nodes(struct device *device, size_t *count, const char *folder,
		       const char *class, unsigned int depth)
{
	uint8_t bus, devfn;
	char path[PATH_MAX];
	struct dirent *entry;
	const char *name;
	uint32_t domain;
	bool done = true;
	DIR *open;

	open = opendir(folder);
	while (done && open && (entry = readdir(open))) {
		name = entry->d_name;
		/* Links lead away; devices behind a bridge aren't its nodes. */
		if (*name == '.' ||
		    (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN) ||
		    text_address(name, &domain, &bus, &devfn) ||
		    !strcmp(name, "power"))
			continue;
		if (*class)
			done = add_node(device, count, name);
		else
			done = add_namespace(device, count, name);
		if (!done || depth == MAX_DEPTH || *class ||
		    snprintf(path, sizeof(path), "%s/%s", folder, name) >= PATH_MAX)
			continue;
		done = read_nodes(device, count, path,
				  is_node_class(name) ? name : "", depth + 1);
	}
	if (open)
		closedir(open);
	return done;
}

static bool read_controllers(struct device *device, const char *folder)
{
	size_t count = 0, i, controllers;
	char path[PATH_MAX];

	if (!read_nodes(device, &count, folder, "", 0))
		return false;
	/* Namespaces are below the controller. */
	controllers = count;
	for (i = 0; i < controllers; i++) {
		if (snprintf(path, sizeof(path), "%s/nvme/%s", folder,
			     device->nodes[i]) < PATH_MAX &&
		    !read_nodes(device, &count, path, "", MAX_DEPTH))
			return false;
	}
	return true;
}

/* ---- All of it ---- */

static bool read_device(struct sysfs *sysfs, struct device *device,
			const char *folder)
{
	struct machine *machine = sysfs->machine;
	uint8_t bus, devfn;
	uint32_t domain;
	long long number;
	char text[256];

	read_config(device, folder);
	read_ids(device, folder);
	read_bars(device, folder);
	read_iommu(device, folder);
	read_p2pmem(machine, device, folder);
	device->untrusted = find_untrusted(machine, folder);
	if (read_number(folder, "dma_mask_bits", 10, &number))
		device->dma_mask_bits = number;
	if (read_number(folder, "numa_node", 10, &number))
		device->numa_node = number;
	if (read_link(folder, "physfn", text, sizeof(text)) &&
	    text_address(text, &domain, &bus, &devfn))
		device->physfn = machine_find(machine, domain, bus, devfn);
	if (read_link(folder, "driver", text, sizeof(text))) {
		device->driver = strdup(text);
		if (!device->driver)
			return false;
	}
	return read_controllers(device, folder);
}

/* Devices have to be there before they are each other's parent. */
static bool add_devices(struct sysfs *sysfs, const char *folder, char *error,
			size_t size)
{
	struct dirent *entry;
	uint32_t domain;
	uint8_t bus, devfn;
	DIR *open;

	open = opendir(folder);
	if (!open) {
		snprintf(error, size, "%s: %s; is there PCI, and is sysfs mounted?",
			 folder, strerror(errno));
		return false;
	}
	while ((entry = readdir(open))) {
		if (!text_address(entry->d_name, &domain, &bus, &devfn))
			continue;
		if (!machine_add(sysfs->machine, domain, bus, devfn)) {
			snprintf(error, size, "%s: too many devices, or no memory",
				 folder);
			closedir(open);
			return false;
		}
	}
	closedir(open);
	return true;
}

static bool read_devices(struct sysfs *sysfs, const char *folder, char *error,
			 size_t size)
{
	struct machine *machine = sysfs->machine;
	char path[PATH_MAX], target[PATH_MAX];
	struct device *device;
	ssize_t length;
	size_t i;

	for (i = 0; i < machine->device_count; i++) {
		device = machine->devices[i];
		if (snprintf(path, sizeof(path), "%s/%04x:%02x:%02x.%x", folder,
			     device->domain, device->bus, device->devfn >> 3,
			     device->devfn & 7) >= PATH_MAX)
			continue;
		length = readlink(path, target, sizeof(target) - 1);
		target[length < 0 ? 0 : length] = '\0';
		if (!machine_place(machine, device, target) ||
		    !read_device(sysfs, device, path)) {
			snprintf(error, size, "%s: no memory", path);
			return false;
		}
	}
	return true;
}

/* ---- Windows of host bridges ---- */

static void add_window(struct machine *machine, const char *line)
{
	unsigned long long start, end;
	struct host_bridge *host;
	unsigned int domain, bus;
	struct window *windows;
	int used = 0;
	size_t i;

	if (sscanf(line, " %llx-%llx : PCI Bus %8x:%2x%n", &start, &end,
		   &domain, &bus, &used) != 4 || line[used] != '\n' || !end)
		return;
	for (i = 0; i < machine->host_count; i++) {
		host = machine->hosts[i];
		if (host->domain != domain || host->bus != bus)
			continue;
		windows = realloc(host->windows, (host->window_count + 1) *
				  sizeof(*windows));
		if (!windows)
			return;
		host->windows = windows;
		host->windows_known = true;
		windows[host->window_count++] = (struct window) {
			.start = start,
			.end = end,
		};
	}
}

/* For root; others read zeros in place of addresses. */
static void read_windows(const struct sysfs *sysfs)
{
	char path[PATH_MAX], line[256];
	FILE *file;

	if (!make_path(sysfs, path, "/proc/iomem"))
		return;
	file = fopen(path, "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file))
		add_window(sysfs->machine, line);
	fclose(file);
}

/* Takes the offset of a window from a BAR in it: its register has a bus address. */
static void find_offset(const struct device *device, unsigned int i)
{
	const struct bar *bar = &device->bars[i];
	struct host_bridge *host = device->host;
	struct window *window;
	uint32_t low, high = 0;
	unsigned int j;

	if (!bar->memory || !bar->start ||
	    !config_get32(device, PCI_BASE_ADDRESS_0 + 4 * i, &low) ||
	    (bar->is64 && (i + 1 == BARS ||
			   !config_get32(device, PCI_BASE_ADDRESS_1 + 4 * i,
					 &high))))
		return;
	low &= PCI_BASE_ADDRESS_MEM_MASK;
	/* A virtual function's BARs are elsewhere, and read as zero. */
	if (!low && !high)
		return;
	for (j = 0; j < host->window_count; j++) {
		window = &host->windows[j];
		if (bar->start >= window->start && bar->end <= window->end)
			window->offset = bar->start -
					 ((uint64_t)high << 32 | low);
	}
}

static void find_offsets(struct machine *machine)
{
	unsigned int bar;
	size_t i;

	for (i = 0; i < machine->device_count; i++) {
		for (bar = 0; bar < BARS; bar++)
			find_offset(machine->devices[i], bar);
	}
}

struct machine *machine_from_root(const char *root, char *error, size_t size)
{
	struct sysfs sysfs = {
		.root = root,
		.machine = machine_new(),
	};
	struct machine *machine = sysfs.machine;
	char folder[PATH_MAX];
	bool done;

	snprintf(error, size, "no memory");
	if (!machine)
		return NULL;
	machine->source = strdup("this machine");
	done = machine->source &&
	       make_path(&sysfs, folder, "/sys/bus/pci/devices") &&
	       read_kernel(&sysfs) && read_processor(&sysfs) &&
	       add_devices(&sysfs, folder, error, size) &&
	       read_devices(&sysfs, folder, error, size);
	free(sysfs.flags);
	if (done) {
		read_windows(&sysfs);
		done = machine_complete(machine, error, size);
	}
	if (done) {
		find_offsets(machine);
		return machine;
	}
	machine_free(machine);
	return NULL;
}

struct machine *machine_from_sysfs(char *error, size_t size)
{
	struct machine *machine = machine_from_root("", error, size);

	if (machine) {
		machine->live = true;
		machine->root = !geteuid();
	}
	return machine;
}
