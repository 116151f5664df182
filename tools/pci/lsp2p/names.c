// SPDX-License-Identifier: GPL-2.0
/*
 * Names: from what a user types to a device, and from a device to what a user
 * reads.
 *
 * Of a saved machine only those names are known that were saved.  Of this machine
 * /sys knows the others.
 */

#include <err.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <pci/pci.h>

#include "lsp2p.h"

/* ---- A device in words ---- */

char *device_address(const struct device *device, char *address)
{
	snprintf(address, ADDRESS_SIZE, "%04x:%02x:%02x.%u", device->domain,
		 device->bus, device->devfn >> 3, device->devfn & 7);
	return address;
}

char *address_text(const struct p2pdma_pci_address *at, char *address)
{
	snprintf(address, ADDRESS_SIZE, "%04x:%02x:%02x.%u", at->domain, at->bus,
		 at->devfn >> 3, at->devfn & 7);
	return address;
}

const struct device *device_at(const struct machine *machine,
			       const struct p2pdma_pci_address *at)
{
	return machine_find(machine, at->domain, at->bus, at->devfn);
}

/* Sources have the name first that people use. */
const char *device_node(const struct device *device)
{
	static char nodes[4][64];
	static unsigned int last;
	char *node = nodes[last++ % 4];

	snprintf(node, sizeof(nodes[0]), "%s",
		 device->nodes && device->nodes[0] ? device->nodes[0] : "");
	return printable(node);
}

const char *device_label(const struct device *device)
{
	static char labels[4][96];
	static unsigned int last;
	char address[ADDRESS_SIZE];
	char *label = labels[last++ % 4];

	device_address(device, address);
	if (*device_node(device))
		snprintf(label, sizeof(labels[0]), "%.60s (%s)",
			 device_node(device), address);
	else
		snprintf(label, sizeof(labels[0]), "%s", address);
	return printable(label);
}

/* Where there are no names, IDs are shown. */
static void say_nothing(char *format, ...)
{
}

/* libpci, for its names alone: pci_init(), which would set these, looks for devices */
static struct pci_access *names(void)
{
	static struct pci_access *access;

	if (!access) {
		access = pci_alloc();
		access->warning = say_nothing;
		access->debug = say_nothing;
		if (options.ids)
			pci_set_name_list_path(access, strdup(options.ids), 1);
	}
	return access;
}

const char *device_title(const struct device *device)
{
	static char title[160];

	if (device->name && *device->name)
		snprintf(title, sizeof(title), "%s", device->name);
	else if (device_vendor(device) == 0xffff)
		snprintf(title, sizeof(title), "unknown device");
	else if (!pci_lookup_name(names(), title, sizeof(title),
				  PCI_LOOKUP_VENDOR | PCI_LOOKUP_DEVICE |
				  PCI_LOOKUP_NO_HWDB,
				  device_vendor(device), device_id(device)))
		snprintf(title, sizeof(title), "%04x:%04x",
			 device_vendor(device), device_id(device));
	return printable(title);
}

const char *device_kind(const struct device *device)
{
	static char kind[80];
	uint32_t class = device_class(device);

	if (class == 0xffffff || !class)
		return device->is_bridge ? "PCI bridge" : "device";
	if (!pci_lookup_name(names(), kind, sizeof(kind),
			     PCI_LOOKUP_CLASS | PCI_LOOKUP_NO_HWDB, class >> 8))
		snprintf(kind, sizeof(kind), "class %04x", class >> 8);
	return printable(kind);
}

/* ---- A name that isn't there ---- */

/* Letters to insert, remove or replace to get from @a to @b; up to 63 letters count */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int row[64], i, j, last, above;
	size_t la = strnlen(a, 63), lb = strnlen(b, 63);

	for (j = 0; j <= lb; j++)
		row[j] = j;
	for (i = 1; i <= la; i++) {
		last = row[0];
		row[0] = i;
		for (j = 1; j <= lb; j++) {
			above = row[j];
			row[j] = last + (a[i - 1] != b[j - 1]);
			if (above + 1 < row[j])
				row[j] = above + 1;
			if (row[j - 1] + 1 < row[j])
				row[j] = row[j - 1] + 1;
			last = above;
		}
	}
	return row[lb];
}

/* The name most alike, or NULL if none is */
static const char *alike(const struct machine *machine, const char *name)
{
	static char best[ADDRESS_SIZE > 64 ? ADDRESS_SIZE : 64];
	unsigned int least = strlen(name) < 5 ? 2 : 3, far;
	char address[ADDRESS_SIZE];
	const char *shown;
	size_t i, j;

	*best = '\0';
	for (i = 0; i < machine->device_count; i++) {
		const struct device *device = machine->devices[i];

		device_address(device, address);
		/* As in the name: with a domain or without */
		shown = strchr(name, ':') != strrchr(name, ':') ? address :
			strchr(address, ':') + 1;
		far = distance(name, shown);
		if (far < least) {
			least = far;
			snprintf(best, sizeof(best), "%s", shown);
		}
		for (j = 0; device->nodes && device->nodes[j]; j++) {
			far = distance(name, device->nodes[j]);
			if (far < least) {
				least = far;
				snprintf(best, sizeof(best), "%s",
					 device->nodes[j]);
			}
		}
	}
	return *best ? printable(best) : NULL;
}

static const struct device *no_device(const struct machine *machine,
				      const char *name, const char *what)
{
	const char *other = alike(machine, name);

	if (other)
		fail("%s: %s; did you mean %s?", name, what, other);
	else if (machine->live)
		fail("%s: %s; lspci -D lists all", name, what);
	else
		fail("%s: %s; lsp2p --dot shows all", name, what);
	return NULL;
}

/* ---- From a name to a device ---- */

static bool parse_address(const char *name, unsigned int *domain, bool *any_domain,
			  unsigned int *bus, unsigned int *devfn)
{
	unsigned int slot, function;
	int end = -1;

	*any_domain = false;
	if (strspn(name, "0123456789abcdefABCDEF:.") != strlen(name))
		return false;
	if (sscanf(name, "%8x:%2x:%2x.%1x%n", domain, bus, &slot, &function,
		   &end) != 4 || end < 0 || name[end]) {
		end = -1;
		*domain = 0;
		*any_domain = true;
		if (sscanf(name, "%2x:%2x.%1x%n", bus, &slot, &function,
			   &end) != 3 || end < 0 || name[end])
			return false;
	}
	if (slot > 31 || function > 7)
		return false;
	*devfn = slot << 3 | function;
	return true;
}

static const struct device *by_address(const struct machine *machine,
				       const char *name, unsigned int domain,
				       bool any_domain, unsigned int bus,
				       unsigned int devfn)
{
	const struct device *device = machine_find(machine, domain, bus, devfn);
	const struct device *found = NULL;
	size_t i;

	if (device)
		return device;
	/* Without a domain, the only one that has it */
	for (i = 0; any_domain && i < machine->device_count; i++) {
		device = machine->devices[i];
		if (device->bus != bus || device->devfn != devfn)
			continue;
		if (found) {
			fail("%s: is in several PCI domains; write the domain, too: %04x:%s",
			     name, found->domain, name);
			return NULL;
		}
		found = device;
	}
	return found ? found : no_device(machine, name, "no such device");
}

static const struct device *by_node(const struct machine *machine,
				    const char *name)
{
	size_t i, j;

	for (i = 0; i < machine->device_count; i++) {
		char **nodes = machine->devices[i]->nodes;

		for (j = 0; nodes && nodes[j]; j++) {
			if (!strcmp(nodes[j], name))
				return machine->devices[i];
		}
	}
	return NULL;
}

/* The last PCI function in the path of a device in /sys/devices */
static const struct device *by_path(const struct machine *machine, char *path)
{
	unsigned int domain, bus, devfn;
	bool any_domain;
	char *part;

	while ((part = strrchr(path, '/'))) {
		if (parse_address(part + 1, &domain, &any_domain, &bus, &devfn) &&
		    !any_domain)
			return machine_find(machine, domain, bus, devfn);
		*part = '\0';
	}
	return NULL;
}

/* @pattern: of links in /sys.  The first that leads to a PCI device counts. */
static const struct device *by_link(const struct machine *machine,
				    const char *pattern)
{
	const struct device *device = NULL;
	char path[PATH_MAX];
	glob_t found;
	size_t i;

	if (glob(pattern, GLOB_NOSORT, NULL, &found))
		return NULL;
	for (i = 0; i < found.gl_pathc && !device; i++) {
		if (realpath(found.gl_pathv[i], path))
			device = by_path(machine, path);
	}
	globfree(&found);
	return device;
}

/* Of namespaces with several paths the kernel shows no single controller. */
static const struct device *by_device_number(const struct machine *machine,
					     const char *name)
{
	const struct device *device;
	char pattern[PATH_MAX];
	struct stat status;

	if (stat(name, &status)) {
		fail("%s: %s; lsp2p list shows names of devices", name,
		     strerror(errno));
		return NULL;
	}
	if (!S_ISBLK(status.st_mode) && !S_ISCHR(status.st_mode)) {
		fail("%s: is no device; for a file there is lsp2p file %s", name,
		     name);
		return NULL;
	}
	snprintf(pattern, sizeof(pattern), "/sys/dev/%s/%u:%u",
		 S_ISBLK(status.st_mode) ? "block" : "char",
		 major(status.st_rdev), minor(status.st_rdev));
	device = by_link(machine, pattern);
	if (!device && S_ISBLK(status.st_mode))
		fail("%s: isn't one PCI device; lsp2p file %s shows what it is made of",
		     name, name);
	else if (!device)
		fail("%s: no PCI device is behind it; lspci -D lists all", name);
	return device;
}

/*
 * nvme0n1 of nvme0n1p2, or else nvme0: with several paths, nvme0n1 may be a disk of
 * another controller.
 */
static const struct device *by_controller(const struct machine *machine,
					  const char *name)
{
	const struct device *device;
	unsigned int number, namespace;
	char node[40];

	if (sscanf(name, "nvme%un%u", &number, &namespace) != 2)
		return NULL;
	snprintf(node, sizeof(node), "nvme%un%u", number, namespace);
	device = by_node(machine, node);
	if (device)
		return device;
	snprintf(node, sizeof(node), "nvme%u", number);
	return by_node(machine, node);
}

const struct device *device_named(const struct machine *machine,
				  const char *name)
{
	unsigned int domain, bus, devfn;
	const struct device *device;
	char pattern[PATH_MAX];
	bool any_domain;

	if (!*name) {
		fail("the name of a device is empty");
		return NULL;
	}
	if (parse_address(name, &domain, &any_domain, &bus, &devfn))
		return by_address(machine, name, domain, any_domain, bus, devfn);
	if (*name == '/' && machine->live)
		return by_device_number(machine, name);
	if (strrchr(name, '/'))
		name = strrchr(name, '/') + 1;

	device = by_node(machine, name);
	if (!device && machine->live && !strpbrk(name, "*?[")) {
		snprintf(pattern, sizeof(pattern), "/sys/class/*/%s", name);
		device = by_link(machine, pattern);
	}
	if (!device && !machine->live)
		device = by_controller(machine, name);
	return device ? device : no_device(machine, name, "no such device");
}
