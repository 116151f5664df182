// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of the sources of facts: what is known, and what isn't, of machines in
 * lib/kunit/machines, of files with damage, and of a sysfs made for this.
 *
 *   machine_test FOLDER		FOLDER is lib/kunit/machines; prints TAP
 *
 * What follows for routes is tested elsewhere.
 */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine.h"
#include "pack.h"

#define MAX_DUMP	1000000

struct test {
	const char *folder;	/* of the machines */
	char temporary[64];
	char error[512];
	unsigned int count, failed;
	bool ok;		/* the test that runs */
};

/* ---- Saying what is wrong ---- */

__attribute__((format(printf, 3, 4)))
static bool expect(struct test *test, bool right, const char *format, ...)
{
	va_list list;

	if (right)
		return true;
	test->ok = false;
	printf("# ");
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf("\n");
	return false;
}

#define EXPECT(_test, _right)						\
	expect(_test, _right, "line %d: not so: %s", __LINE__, #_right)

static void run(struct test *test, const char *name,
		void (*function)(struct test *test))
{
	test->ok = true;
	*test->error = '\0';
	function(test);
	test->count++;
	test->failed += !test->ok;
	printf("%sok %u %s\n", test->ok ? "" : "not ", test->count, name);
}

/* ---- Getting machines ---- */

static struct machine *from_file(struct test *test, const char *name)
{
	struct machine *machine;
	char path[512];

	snprintf(path, sizeof(path), "%s/%s.txt", test->folder, name);
	machine = machine_from_file(path, test->error, sizeof(test->error));
	expect(test, machine, "%s", test->error);
	return machine;
}

static bool write_text(struct test *test, const char *path, const char *text,
		       size_t size)
{
	FILE *file = fopen(path, "w");
	bool done = file && fwrite(text, 1, size, file) == size;

	if (file && fclose(file))
		done = false;
	return expect(test, done, "%s: %s", path, strerror(errno));
}

static struct machine *from_bytes(struct test *test, const char *text,
				  size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/dump", test->temporary);
	*test->error = '\0';
	if (!write_text(test, path, text, size))
		return NULL;
	return machine_from_file(path, test->error, sizeof(test->error));
}

static struct machine *from_text(struct test *test, const char *text)
{
	struct machine *machine = from_bytes(test, text, strlen(text));

	expect(test, machine, "%s", test->error);
	return machine;
}

static struct device *find(struct test *test, const struct machine *machine,
			   unsigned int domain, unsigned int bus,
			   unsigned int slot, unsigned int function)
{
	struct device *device = NULL;

	if (machine)
		device = machine_find(machine, domain, bus, slot << 3 | function);
	expect(test, device, "%04x:%02x:%02x.%x isn't there", domain, bus, slot,
	       function);
	return device;
}

/* Does this text give an error with these words in it, and no machine? */
static void refuse_bytes(struct test *test, const char *text, size_t size,
			 const char *words)
{
	struct machine *machine = from_bytes(test, text, size);

	expect(test, !machine, "no error for: %.60s", text);
	expect(test, strstr(test->error, words), "'%s' isn't in '%s'", words,
	       test->error);
	expect(test, !strchr(test->error, '\n'), "more than a line: '%s'",
	       test->error);
	machine_free(machine);
}

static void refuse(struct test *test, const char *text, const char *words)
{
	refuse_bytes(test, text, strlen(text), words);
}

static unsigned int get16(const struct device *device, unsigned int at)
{
	uint16_t value;

	return config_get16(device, at, &value) ? value : 0x10000;
}

static unsigned int acs_cap(const struct device *device)
{
	return get16(device, device->acs_cap + PCI_ACS_CAP);
}

static unsigned int acs_ctrl(const struct device *device)
{
	return get16(device, device->acs_cap + PCI_ACS_CTRL);
}

static unsigned int pcie_type(const struct device *device)
{
	return (get16(device, device->pcie_cap + PCI_EXP_FLAGS) &
		PCI_EXP_FLAGS_TYPE) >> 4;
}

static unsigned int mps(const struct device *device)
{
	return 128 << ((get16(device, device->pcie_cap + PCI_EXP_DEVCTL) &
			PCI_EXP_DEVCTL_PAYLOAD) >> 5);
}

/* ---- Machines that exist ---- */

static void test_hsw_ep(struct test *test)
{
	struct machine *machine = from_file(test, "hsw-ep");
	struct device *port = find(test, machine, 0, 0, 2, 0);
	struct device *nic = find(test, machine, 0, 3, 0, 0);

	if (port && nic) {
		EXPECT(test, device_vendor(port) == 0x8086);
		EXPECT(test, device_id(port) == 0x2f04);
		EXPECT(test, device_class(port) >> 8 == CLASS_PCI_BRIDGE);
		EXPECT(test, port->is_bridge && !port->parent && !port->orphan);
		EXPECT(test, pcie_type(port) == PCI_EXP_TYPE_ROOT_PORT);
		EXPECT(test, port->extended_known == YES);
		EXPECT(test, port->acs_cap == 0x110);
		EXPECT(test, acs_cap(port) == 0x1f && acs_ctrl(port) == 0x1f);
		EXPECT(test, nic->parent == port && nic->host == port->host);
		EXPECT(test, nic->extended_known == YES && !nic->ats_cap);
		EXPECT(test, mps(nic) == 256 && !nic->name);
		EXPECT(test, nic->bars[0].start == 0xc0100000);
		EXPECT(test, nic->bars[0].end == nic->bars[0].start);
		EXPECT(test, nic->bars[2].memory && !nic->bars[2].is64);
		EXPECT(test, machine->cpu_forwards == NO);
		EXPECT(test, machine->encrypted == UNKNOWN);
		EXPECT(test, machine->core == CORE_UNKNOWN);
		EXPECT(test, !machine->live && !machine->root);
	}
	machine_free(machine);
}

static void test_x58(struct test *test)
{
	struct machine *machine = from_file(test, "x58-nf200");
	struct device *host = find(test, machine, 0, 0, 0, 0);
	struct device *port = find(test, machine, 0, 3, 0, 0);
	struct device *hba = find(test, machine, 0, 4, 0, 0);

	if (host && port && hba) {
		EXPECT(test, machine->device_count == 11);
		EXPECT(test, !host->is_bridge);
		EXPECT(test, pcie_type(host) == PCI_EXP_TYPE_ROOT_PORT);
		/* All extended config space was read, and there is nothing. */
		EXPECT(test, port->has_extended == YES);
		EXPECT(test, port->extended_known == YES && !port->acs_cap);
		EXPECT(test, pcie_type(port) == PCI_EXP_TYPE_DOWNSTREAM);
		EXPECT(test, hba->parent == port);
		EXPECT(test, port->parent && port->parent->bus == 2);
		EXPECT(test, !hba->orphan && machine->host_count == 1);
		hba = find(test, machine, 0, 6, 0, 0);
		EXPECT(test, hba->bars[1].prefetchable && hba->bars[1].is64);
		EXPECT(test, hba->bars[1].start == 0xd0000000);
		EXPECT(test, !hba->bars[0].prefetchable && !hba->bars[2].known);
	}
	machine_free(machine);
}

static void test_n1sdp(struct test *test)
{
	struct machine *machine = from_file(test, "n1sdp");
	struct device *port = find(test, machine, 0, 2, 0x12, 0);
	struct device *up = find(test, machine, 0, 1, 0, 0);
	struct device *other = find(test, machine, 1, 0, 0, 0);

	if (port && up && other) {
		/* The hex ends at 256, and only the text has ACS. */
		EXPECT(test, port->acs_cap == 0xf24);
		EXPECT(test, acs_cap(port) == 0x7f && acs_ctrl(port) == 0x1d);
		EXPECT(test, port->extended_known == YES);
		/* Neither hex nor text say anything of more than 256 bytes. */
		EXPECT(test, up->extended_known == NO);
		EXPECT(test, up->has_extended == UNKNOWN && !up->acs_cap);
		EXPECT(test, port->parent == up && mps(up) == 128);
		EXPECT(test, other->is_bridge);
		EXPECT(test, device_class(other) >> 8 == CLASS_HOST_BRIDGE);
		EXPECT(test, other->bars[0].end - other->bars[0].start ==
		       (4 << 20) - 1);
		EXPECT(test, machine->host_count == 2);
	}
	machine_free(machine);
}

static void test_orphans(struct test *test)
{
	struct machine *machine = from_file(test, "pch-tb3");
	struct device *port = find(test, machine, 0, 0, 0x1c, 0);
	struct device *switched = find(test, machine, 0, 8, 0, 0);
	struct device *below = find(test, machine, 0, 9, 0, 0);

	if (port && switched && below) {
		EXPECT(test, !port->orphan && switched->orphan);
		EXPECT(test, !switched->parent && switched->host);
		EXPECT(test, !below->orphan && below->parent == switched);
		EXPECT(test, acs_cap(port) == 0xf && !switched->acs_cap);
	}
	machine_free(machine);
	machine = from_file(test, "pex9716");
	port = find(test, machine, 0, 5, 1, 0);
	if (port) {
		EXPECT(test, port->orphan && port->acs_cap == 0xf24);
		EXPECT(test, acs_cap(port) == 0x7f && !acs_ctrl(port));
		EXPECT(test, port->driver && !strcmp(port->driver, "pcieport"));
		EXPECT(test, port->numa_node == 0);
	}
	machine_free(machine);
}

/* Plain lspci doesn't say which bus a bridge leads to. */
static void test_unknown_buses(struct test *test)
{
	struct machine *machine = from_text(test,
		"00:00.0 Host bridge: A\n"
		"00:01.0 PCI bridge: B\n"
		"01:00.0 PCI bridge: C\n"
		"02:00.0 PCI bridge: D\n"
		"02:01.0 PCI bridge: D\n"
		"03:00.0 VGA compatible controller: E\n");
	size_t i;

	for (i = 0; machine && i < machine->device_count; i++)
		EXPECT(test, machine->devices[i]->orphan ==
		       (machine->devices[i]->bus > 0));
	EXPECT(test, machine && machine->device_count == 6);
	machine_free(machine);
}

static void test_single(struct test *test)
{
	struct machine *machine = from_file(test, "acs-empty");
	struct device *device = find(test, machine, 0, 0xe1, 0, 0);

	if (device) {
		EXPECT(test, device->acs_cap == 0x450);
		EXPECT(test, !acs_cap(device) && device->sriov_cap == 0x148);
		EXPECT(test, device->bars[0].is64 &&
		       device->bars[0].start == 0x20014000000);
		EXPECT(test, mps(device) == 512);
	}
	machine_free(machine);
	machine = from_file(test, "pex8796");
	device = find(test, machine, 0, 7, 0, 0);
	if (device) {
		EXPECT(test, pcie_type(device) == PCI_EXP_TYPE_UPSTREAM);
		EXPECT(test, device->extended_known == YES && !device->acs_cap);
	}
	machine_free(machine);
}

static void test_p2020(struct test *test)
{
	struct machine *machine = from_file(test, "p2020");
	struct device *port = find(test, machine, 2, 0, 0, 0);
	struct device *endpoint = find(test, machine, 2, 1, 0, 0);

	if (port && endpoint) {
		EXPECT(test, machine->host_count == 3);
		EXPECT(test, endpoint->parent == port && !port->orphan);
		EXPECT(test, port->extended_known == YES && !port->acs_cap);
		EXPECT(test, !endpoint->name);
	}
	machine_free(machine);
}

static void test_trees(struct test *test)
{
	struct machine *machine = from_file(test, "dgx2");
	struct device *gpu = find(test, machine, 0, 0x34, 0, 0);
	struct device *port = find(test, machine, 0, 0x2b, 0, 0);
	struct device *broken = find(test, machine, 0, 0x66, 0, 0);

	if (gpu && port && broken) {
		EXPECT(test, device_vendor(gpu) == 0x10de);
		EXPECT(test, device_class(gpu) == 0x030200);
		EXPECT(test, gpu->parent && gpu->parent->bus == 0x33);
		EXPECT(test, gpu->caps_known == NO && gpu->extended_known == NO);
		EXPECT(test, port->is_bridge && !port->parent && !port->orphan);
		EXPECT(test, gpu->host == port->host && machine->host_count == 4);
		EXPECT(test, device_vendor(broken) == 0xffff);
		EXPECT(test, machine->cpu_forwards == NO);
	}
	machine_free(machine);

	machine = from_file(test, "sx-aurora");
	gpu = find(test, machine, 0, 0x1b, 0, 0);
	EXPECT(test, gpu && gpu->parent && gpu->parent->devfn == 8 << 3);
	EXPECT(test, machine && machine->host_count == 3);
	machine_free(machine);

	machine = from_file(test, "rccl-16p1h");
	gpu = find(test, machine, 0, 0x4e, 0, 0);
	port = find(test, machine, 0, 0x41, 0, 0);
	if (gpu && port) {
		EXPECT(test, port->orphan && gpu->parent->parent->parent == port);
		EXPECT(test, machine->cpu_forwards == YES && gpu->numa_node == 0);
		gpu = find(test, machine, 0, 0x4b, 0, 0);
		EXPECT(test, gpu->nodes && !strcmp(gpu->nodes[0], "mlx5_0"));
	}
	machine_free(machine);

	machine = from_file(test, "rccl-3p-pcie");
	EXPECT(test, machine && machine->cpu_forwards == YES);
	machine_free(machine);
	machine = from_file(test, "rccl-8p-940");
	EXPECT(test, machine && machine->cpu_forwards == NO);
	machine_free(machine);
	/* 15h, whose parts are f and 6 */
	machine = from_text(test, "numa 0 AuthenticAMD family 111 model 1\n"
			    "  0000:01:00.0 1002:740f class 0380\n");
	EXPECT(test, machine && machine->cpu_forwards == NO);
	machine_free(machine);
}

/* ---- Dumps ---- */

static char *read_text(const char *path)
{
	char *text = calloc(1, MAX_DUMP + 1);
	FILE *file = fopen(path, "r");

	if (text && file)
		text[fread(text, 1, MAX_DUMP, file)] = '\0';
	if (file)
		fclose(file);
	return text;
}

static void compare_devices(struct test *test, const struct device *a,
			    const struct device *b)
{
	int i;

	EXPECT(test, a->bus == b->bus && a->devfn == b->devfn);
	EXPECT(test, a->orphan == b->orphan && a->is_bridge == b->is_bridge);
	EXPECT(test, !a->parent == !b->parent);
	if (a->parent && b->parent)
		EXPECT(test, a->parent->bus == b->parent->bus &&
		       a->parent->devfn == b->parent->devfn);
	EXPECT(test, a->host->domain == b->host->domain &&
	       a->host->bus == b->host->bus);
	EXPECT(test, a->pcie_cap == b->pcie_cap && a->acs_cap == b->acs_cap);
	EXPECT(test, a->caps_known == b->caps_known &&
	       a->extended_known == b->extended_known &&
	       a->has_extended == b->has_extended);
	if (a->acs_cap)
		EXPECT(test, acs_cap(a) == acs_cap(b) && acs_ctrl(a) == acs_ctrl(b));
	if (a->pcie_cap)
		EXPECT(test, mps(a) == mps(b) && pcie_type(a) == pcie_type(b));
	for (i = 0; i < BARS; i++)
		EXPECT(test, !memcmp(&a->bars[i].start, &b->bars[i].start, 16) &&
		       a->bars[i].sizes == b->bars[i].sizes &&
		       a->bars[i].memory == b->bars[i].memory &&
		       a->bars[i].known == b->bars[i].known);
}

static void compare_hosts(struct test *test, const struct host_bridge *a,
			  const struct host_bridge *b)
{
	EXPECT(test, a->domain == b->domain && a->bus == b->bus);
	EXPECT(test, a->windows_known == b->windows_known &&
	       a->window_count == b->window_count);
	if (a->window_count && a->window_count == b->window_count)
		EXPECT(test, !memcmp(a->windows, b->windows,
				     a->window_count * sizeof(*a->windows)));
}

/* Is a machine the same after having been a dump, and the dump as well? */
static void check_dump(struct test *test, const struct machine *machine)
{
	char paths[2][128], *texts[2];
	struct machine *again;
	size_t i;
	int j;

	for (j = 0; j < 2; j++)
		snprintf(paths[j], sizeof(paths[j]), "%s/dump%d",
			 test->temporary, j);
	EXPECT(test, !machine_dump(machine, paths[0]));
	again = machine_from_file(paths[0], test->error, sizeof(test->error));
	if (!expect(test, again, "%s", test->error))
		return;
	EXPECT(test, !machine_dump(again, paths[1]));
	for (j = 0; j < 2; j++)
		texts[j] = read_text(paths[j]);
	EXPECT(test, strlen(texts[0]) > 100);
	expect(test, !strcmp(texts[0], texts[1]), "%s: the second dump differs",
	       machine->source);
	free(texts[0]);
	free(texts[1]);

	EXPECT(test, machine->device_count == again->device_count);
	EXPECT(test, machine->cpu_forwards == again->cpu_forwards);
	EXPECT(test, machine->host_count == again->host_count);
	for (i = 0; i < machine->host_count && i < again->host_count; i++)
		compare_hosts(test, machine->hosts[i], again->hosts[i]);
	for (i = 0; i < machine->device_count && i < again->device_count; i++)
		compare_devices(test, machine->devices[i], again->devices[i]);
	machine_free(again);
}

static void test_dumps(struct test *test)
{
	DIR *folder = opendir(test->folder);
	struct machine *machine;
	struct dirent *entry;
	unsigned int count = 0;
	char name[256], *end;

	while (folder && (entry = readdir(folder))) {
		snprintf(name, sizeof(name), "%s", entry->d_name);
		end = strstr(name, ".txt");
		if (!end)
			continue;
		*end = '\0';
		machine = from_file(test, name);
		if (machine)
			check_dump(test, machine);
		machine_free(machine);
		count++;
	}
	if (folder)
		closedir(folder);
	EXPECT(test, count >= 13);
}

#define ROW0	"00: 86 80 04 2f 07 00 10 00 02 00 04 06 10 00 01 00\n"
#define ROW10	"10: 00 00 00 00 00 00 00 00 00 01 01 00 f0 00 00 20\n"
#define ROW20	"20: 00 be 10 c0 f1 ff 01 00 00 00 00 00 ab cd ef 12\n"
#define ROW30	"30: 00 00 00 00 40 00 00 00 00 00 00 00 0b 01 10 00\n"
#define HEAD	"00:01.0 PCI bridge: A bridge\n"
#define ZEROS	" 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00\n"

/* Serial numbers, subsystems and names made from MAC addresses stay here. */
static void test_secrets(struct test *test)
{
	static const char *const secrets[] = {
		"abcdef12", "5ec2e7", "001122334455", "ffeeddccbbaa",
	};
	static char *const nodes[] = {
		"enx001122334455", "enp1s0", "ibxffeeddccbbaa99", NULL,
	};
	struct machine *machine;
	struct device *device;
	char path[128], *text;
	size_t i;

	machine = from_text(test, "# rows of zeros dropped\n"
			    "00:01.0 Network controller: An adapter\n"
			    "00: 86 80 04 2f 07 00 10 00 02 00 80 02 10 00 00 00\n"
			    ROW20 ROW30
			    "40: 10 00 02 00 00 00 00 00 00 00 00 00 00 00 00 00\n"
			    "100: 03 00 01 00 5e c2 e7 01 5e c2 e7 01 00 00 00 00\n"
			    "ff0: 5e c2 e7 00 00 00 00 00 00 00 00 00 00 00 00 00\n");
	device = find(test, machine, 0, 0, 1, 0);
	if (!device)
		return;
	EXPECT(test, device->extended_known == YES && device->pcie_cap == 0x40);
	device->nodes = calloc(4, sizeof(char *));
	for (i = 0; nodes[i]; i++)
		device->nodes[i] = strdup(nodes[i]);
	snprintf(path, sizeof(path), "%s/dump0", test->temporary);
	EXPECT(test, !machine_dump(machine, path));
	machine_free(machine);
	text = read_text(path);
	EXPECT(test, strstr(text, "enp1s0") && strstr(text, "03000100"));
	for (i = 0; i < sizeof(secrets) / sizeof(*secrets); i++)
		expect(test, !strstr(text, secrets[i]), "%s is in the dump",
		       secrets[i]);
	free(text);
}

/* ---- What hex says, and what it doesn't ---- */

static void test_missing_rows(struct test *test)
{
	struct machine *machine;
	struct device *device;

	/* Row 40 has the capability that 34 points to. */
	machine = from_text(test, HEAD ROW0 ROW10 ROW20 ROW30 "50:" ZEROS);
	device = find(test, machine, 0, 0, 1, 0);
	EXPECT(test, device && device->caps_known == NO &&
	       device->extended_known == NO);
	machine_free(machine);

	machine = from_text(test, "# rows of zeros dropped\n" HEAD ROW0 ROW10
			    ROW20 ROW30 "50:" ZEROS);
	device = find(test, machine, 0, 0, 1, 0);
	EXPECT(test, device && device->caps_known == YES && !device->pcie_cap);
	machine_free(machine);

	/* Without root, lspci shows 64 bytes. */
	machine = from_text(test, HEAD ROW0 ROW10 ROW20 ROW30);
	device = find(test, machine, 0, 0, 1, 0);
	EXPECT(test, device && device->caps_known == NO && device->is_bridge);
	machine_free(machine);

	machine = from_text(test, "00:01.0 0108: 144d:a80a\n"
			    "\tCapabilities: <access denied>\n");
	device = find(test, machine, 0, 0, 1, 0);
	EXPECT(test, device && device->caps_known == NO && !device->is_bridge &&
	       device_class(device) == 0x010800 &&
	       device_id(device) == 0xa80a);
	machine_free(machine);
}

static void set_row(char *text, unsigned int at, const char *bytes)
{
	char row[8];

	snprintf(row, sizeof(row), "%02x: ", at);
	memcpy(strstr(text, row) + strlen(row), bytes, strlen(bytes));
}

/* 4096 bytes of a port with PCI Express at 40 */
static void whole(char *text)
{
	char *at = text + sprintf(text, HEAD ROW0 ROW10 ROW20 ROW30);
	unsigned int row;

	for (row = 0x40; row < 0x1000; row += 16)
		at += sprintf(at, "%02x:" ZEROS, row);
	set_row(text, 0x40, "10 00 42 00");
}

static void test_lists(struct test *test)
{
	static const struct {
		unsigned int at;
		const char *bytes;
		enum answer caps, extended, has;
		unsigned int acs;
	} cases[] = {
		{ 0x40, "10", YES, YES, YES },
		{ 0x100, "0d 00 01 00", YES, YES, YES, 0x100 },
		{ 0x100, "01 00 01 20", YES, NO, YES },	/* to zeros */
		{ 0x100, "01 00 01 10", YES, NO, YES },	/* to itself */
		{ 0x100, "01 00 01 08", YES, NO, YES },	/* to 080 */
		{ 0x100, "ff ff ff ff", YES, NO, NO },	/* can't be read */
		{ 0x40, "10 40", NO, YES, YES },		/* to itself */
		{ 0x40, "10 20", NO, YES, YES },		/* into the header */
		{ 0x40, "ff ff", NO, YES, YES },
		{ 0x30, "00 00 00 00 00", YES, YES, NO },	/* no list */
	};
	static char text[1 << 17];
	struct machine *machine;
	struct device *device;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		whole(text);
		set_row(text, cases[i].at, cases[i].bytes);
		machine = from_text(test, text);
		device = find(test, machine, 0, 0, 1, 0);
		if (!device)
			return;
		expect(test, device->caps_known == cases[i].caps &&
		       device->extended_known == cases[i].extended &&
		       device->has_extended == cases[i].has &&
		       device->acs_cap == cases[i].acs, "list %zu: %d %d %x", i,
		       device->caps_known, device->extended_known,
		       device->acs_cap);
		machine_free(machine);
	}
}

/* Text without hex, as root prints it */
static void test_text(struct test *test)
{
	struct machine *machine = from_text(test,
		"0001:81:00.0 Class [0604]: Vendor Name [8086:347a] (rev 06) (prog-if 00 [Normal decode])\n"
		"\tControl: I/O- Mem+ BusMaster+ SpecCycle-\n"
		"\tStatus: Cap+ 66MHz- UDF-\n"
		"\tNUMA node: 1\n"
		"\tIOMMU group: 33\n"
		"\tBus: primary=81, secondary=82, subordinate=84, sec-latency=0\n"
		"\tMemory behind bridge: c0000000-c1ffffff [size=32M] [32-bit]\n"
		"\tPrefetchable memory behind bridge: 0000020000000000-00000200ffffffff [size=4G] [32-bit]\n"
		"\tCapabilities: [40] Express (v2) Root Port (Slot+), IntMsgNum 0\n"
		"\t\tDevCap:\tMaxPayload 512 bytes, PhantFunc 0\n"
		"\t\tDevCtl:\tCorrErr-\n"
		"\t\t\tMaxPayload 256 bytes, MaxReadReq 512 bytes\n"
		"\t\tLnkCap:\tPort #5, Speed 16GT/s, Width x16, ASPM L1\n"
		"\t\tLnkSta:\tSpeed 8GT/s (downgraded), Width x8 (downgraded)\n"
		"\tCapabilities: [148 v1] Access Control Services\n"
		"\t\tACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-\n"
		"\t\tACSCtl:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-\n"
		"\tKernel driver in use: pcieport\n"
		"0001:82:00.0 Class [0200]: NIC [15b3:101d]\n"
		"\tRegion 0: Memory at 20000000000 (64-bit, prefetchable) [size=32M]\n"
		"\tRegion 2: Memory at <unassigned> (64-bit, prefetchable)\n"
		"\tCapabilities: [60] Express (v2) Endpoint, MSI 00\n"
		"\tCapabilities: [150 v1] Address Translation Service (ATS)\n"
		"\t\tATSCap:\tInvalidate Queue Depth: 00\n"
		"\t\tATSCtl:\tEnable+, Smallest Translation Unit: 00\n"
		"\tCapabilities: [180 v1] Single Root I/O Virtualization (SR-IOV)\n"
		"\t\tInitial VFs: 8, Total VFs: 8, Number of VFs: 2, Function Dependency Link: 00\n"
		"\t\tVF offset: 8, stride: 1, Device ID: 101e\n"
		"\t\tRegion 0: Memory at 0000020004000000 (64-bit, prefetchable)\n"
		"\tCapabilities: [200 v1] Physical Resizable BAR\n"
		"\t\tBAR 0: current size: 32MB, supported: 32MB 64MB 1GB\n"
		"0001:82:01.0 Class [0200]: VF [15b3:101e]\n"
		"\tCapabilities: <access denied>\n");
	struct device *port = find(test, machine, 1, 0x81, 0, 0);
	struct device *nic = find(test, machine, 1, 0x82, 0, 0);
	struct device *vf = find(test, machine, 1, 0x82, 1, 0);
	uint32_t link = 0;

	if (port && nic && vf) {
		EXPECT(test, port->caps_known == YES && port->extended_known == YES);
		EXPECT(test, pcie_type(port) == PCI_EXP_TYPE_ROOT_PORT);
		EXPECT(test, mps(port) == 256 && acs_ctrl(port) == 0x1d);
		EXPECT(test, config_get32(port, 0x40 + PCI_EXP_LNKCAP, &link) &&
		       link == 0x05000104);
		EXPECT(test, get16(port, 0x40 + PCI_EXP_LNKSTA) == 0x83);
		EXPECT(test, get16(port, PCI_MEMORY_BASE) == 0xc000);
		EXPECT(test, get16(port, PCI_MEMORY_LIMIT) == 0xc1f0);
		EXPECT(test, get16(port, PCI_PREF_LIMIT_UPPER32) == 0x200);
		EXPECT(test, port->numa_node == 1 && port->iommu_group == 33);
		EXPECT(test, port->iommu == IOMMU_UNKNOWN && !port->name);
		EXPECT(test, nic->parent == port && vf->physfn == nic);
		EXPECT(test, vf->parent == port);
		EXPECT(test, nic->bars[0].start == 0x20000000000 &&
		       nic->bars[0].end == 0x20001ffffff);
		EXPECT(test, nic->bars[0].sizes == (1 << 5 | 1 << 6 | 1 << 10));
		EXPECT(test, nic->bars[2].known && !nic->bars[2].start);
		EXPECT(test, nic->ats_cap == 0x150 &&
		       get16(nic, 0x150 + PCI_ATS_CTRL) == 0x8000);
		EXPECT(test, vf->caps_known == NO && nic->acs_cap == 0);
		EXPECT(test, get16(nic, nic->pcie_cap + PCI_EXP_DEVCTL) == 0x10000);
	}
	machine_free(machine);
}

static void test_processors(struct test *test)
{
	static const struct {
		const char *text;
		enum answer forwards, guest;
	} cases[] = {
		{ "00:00.0 0600: 1022:1480\n00:01.1 0604: 1022:1483\n", YES },
		{ "00:00.0 0600: 1022:ffee\n", UNKNOWN },
		{ "00:00.0 0600: 1d94:1450\n", NO },
		{ "00:00.0 0600: 8086:29c0\n00:01.0 0604: 1b36:000c\n", UNKNOWN, YES },
		{ "00:00.0 0600: 8086:0d57\n", UNKNOWN },
		{ "00:00.0 0600: 8086:2020\n", NO },
		{ "00:01.0 0604: 8086:2020\n00:02.0 0604: 10de:22b1\n", NO },
		{ "00:01.0 0302: 8086:2020\n", UNKNOWN },
	};
	struct machine *machine;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		machine = from_text(test, cases[i].text);
		expect(test, machine && machine->cpu_forwards == cases[i].forwards &&
		       machine->guest == cases[i].guest, "processor %zu", i);
		machine_free(machine);
	}
}

/* ---- Files that are none ---- */

#define DEVICE	"{\"lsp2p_dump\": 1, \"host_bridges\": [], \"devices\": [{\"at\": \"0000:00:00.0\", "
#define VIRTUAL_BRIDGE \
	"{\"lsp2p_dump\": 1, \"host_bridges\": [], \"devices\": [\n" \
	"{\"at\": \"0000:00:01.0\", \"bridge\": true, \"host_bridge\": \"0000:00\"},\n" \
	"{\"at\": \"0000:01:00.0\", \"bridge\": true, \"host_bridge\": \"0000:00\",\n" \
	"\"parent\": \"0000:00:01.0\", \"physfn\": \"0000:02:00.0\"},\n" \
	"{\"at\": \"0000:02:00.0\", \"host_bridge\": \"0000:00\",\n" \
	"\"parent\": \"0000:01:00.0\"}]}"
#define REALPATH \
	"[{\"realpath\": \"/sys/devices/pci0000:00/0000:00:01.0\""

#define CUT_PORT	"00:01.0 PCI bridge: A bridge\n"				\
		"\tCapabilities: [40] Express (v2) Root Port (Slot+), MSI 00\n"	\
		"\tCapabilities: [148 v1] Access Control Services\n"		\
		"\t\tACSCtl:\tSrcValid+ TransBlk- "
#define CUT_FLAGS	"ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-\n"

/* What may be cut off isn't known to be absent. */
static void test_cut(struct test *test)
{
	static const struct {
		const char *text;
		enum answer whole;	/* are the lists of capabilities? */
		unsigned int ctrl;
	} cases[] = {
		{ CUT_PORT CUT_FLAGS "\n", YES, 0x1d },
		{ CUT_PORT CUT_FLAGS "\r\n# end\n", YES, 0x1d },
		{ CUT_PORT CUT_FLAGS "00:02.0 Host bridge: Another\n", YES, 0x1d },
		{ CUT_PORT CUT_FLAGS ROW0, YES, 0x1d },
		{ CUT_PORT CUT_FLAGS, NO, 0x1d },
		{ CUT_PORT CUT_FLAGS "\t", NO, 0x1d },
		{ CUT_PORT "ReqRedir+ Cmplt\n\n", YES, 0x10000 },
		{ CUT_PORT, NO, 0x10000 },
	};
	struct machine *machine;
	struct device *port;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		machine = from_text(test, cases[i].text);
		port = find(test, machine, 0, 0, 1, 0);
		expect(test, port && port->caps_known == cases[i].whole &&
		       port->extended_known == cases[i].whole &&
		       port->has_extended == YES && port->acs_cap == 0x148 &&
		       acs_ctrl(port) == cases[i].ctrl, "text %zu", i);
		machine_free(machine);
	}
}

/* Control characters of a dump, of one byte and of two, don't get to a terminal. */
static void test_printable(struct test *test)
{
	struct machine *machine = from_text(test,
		DEVICE "\"host_bridge\": \"0000:00\", \"driver\": \"a\\u001b[1m\\u009b1m\", \"nodes\": [\"b\\n\\u0085\"]}]}");
	struct device *device = find(test, machine, 0, 0, 0, 0);

	if (device) {
		EXPECT(test, !strcmp(device->driver, "a?[1m??1m"));
		EXPECT(test, !strcmp(device->nodes[0], "b???"));
	}
	machine_free(machine);
	refuse(test, "{\"lsp2p_dump\": 1, \"core\": \"\\u009b1m\"}",
	       "'core' can't be '??1m'");
}

static void test_refused(struct test *test)
{
	static char text[1 << 17];
	char path[256];
	struct machine *machine;
	FILE *file;

	refuse(test, "", "it is empty");
	refuse(test, "\n\t\n", "nothing in it");
	refuse(test, "hello\nworld\n", "no dump of a machine");
	refuse_bytes(test, "\x1f\x8b\x08 something", 12, "gunzip");
	refuse_bytes(test, "a\0b", 3, "binary");
	refuse_bytes(test, "\xff\xfe\x30", 3, "UTF-16");
	refuse(test, HEAD ROW0 "10: 00 00\n", "dump:3: row 10 of hex has 2 whole");
	refuse(test, HEAD ROW0 ROW0, "dump:3: row 00 of hex is there twice");
	refuse(test, HEAD ROW0 "1f: 0" ZEROS, "row 1f of hex");
	refuse(test, HEAD ROW0 "08:" ZEROS, "no row of hex begins at 08");
	refuse(test, HEAD ROW0 "10: 00" ZEROS, "more than 16");
	refuse(test, HEAD ROW0 "foo\n", "dump:3: neither text of lspci");
	refuse(test, HEAD HEAD, "dump:2: this device is there twice");
	refuse(test, "00:01.0 Class [0604]: X [8086:1234]\n" ROW0 ROW10,
	       "dump:1: text and hex of this device differ in byte 02");
	refuse(test, HEAD ROW0 ROW10 "00:02.0 PCI bridge: X\n" ROW0 ROW10,
	       "two bridges lead to bus 0000:01");
	refuse(test, "01:01.0 PCI bridge: X\n" ROW0 ROW10, "is below itself");
	refuse(test, "0000:00:01.0 8086:1234 class 0200\n  0000:01:00.0 1:2\n",
	       "dump:2: after the address VENDOR:DEVICE is expected");
	refuse(test, "0000:00:01.0 8086:1234 class 0200\n  0000:01:00.0 8086:1234\n",
	       "which is no bridge");
	refuse(test, "0000:00:01.0 bridge 8086:1234\n  0000:01:00.0 8086:1234\n"
	       "0000:00:02.0 bridge 8086:1234\n  0000:01:00.1 8086:1234\n",
	       "0000:01:00.1 is below another bridge than 00.0 on the same bus");
	refuse(test, "{", "dump:1: ");
	refuse(test, "{\n\n\"a\" 1}", "dump:3: ");
	refuse(test, "{}\n{}\n", "dump:2: something follows the dump");
	refuse(test, "[]\n\n garbage", "dump:3: something follows the dump");
	refuse(test, "{}", "neither a dump by");
	refuse(test, "[]", "no devices");
	refuse(test, "[1]", "item 0: it has to be an object");
	refuse(test, "{\"lsp2p_dump\": 2}", "version 2");
	refuse(test, "{\"lsp2p_dump\": 1}", "'host_bridges' is missing");
	refuse(test, "{\"lsp2p_dump\": 1, \"host_bridges\": [], \"devices\": 3}",
	       "'devices' has to be of type array, and is of type int");
	refuse(test, DEVICE "\"config\": {\"ffff\": \"00\"}}]}",
	       "devices[0] (0000:00:00.0): 'config'");
	refuse(test, DEVICE "\"config\": {\"fff\": \"0000\"}}]}",
	       "something else than bytes");
	refuse(test, DEVICE "\"bars\": [{\"index\": 1, \"sizes\": \"100000000000\"}]}]}",
	       "BAR 1 offers sizes that no BAR has");
	refuse(test, DEVICE "\"parent\": \"0000:01:00.0\"}]}",
	       "a device that isn't there");
	refuse(test, DEVICE "\"parent\": \"0000:00:00.0\", \"host_bridge\": \"0000:00\"}]}",
	       "is below itself");
	/* A bridge that is virtual, and its physical function below it */
	refuse(test, VIRTUAL_BRIDGE, "is below itself");
	memset(text, '[', 1000);
	text[1000] = '\0';
	refuse(test, text, "nesting too deep");

	machine = machine_from_file(test->temporary, test->error,
				    sizeof(test->error));
	EXPECT(test, !machine && strstr(test->error, "directory"));
	machine = machine_from_file("/nonexistent", test->error,
				    sizeof(test->error));
	EXPECT(test, !machine && strstr(test->error, "/nonexistent: No such file"));

	/* 65 MiB, though sparse */
	snprintf(path, sizeof(path), "%s/dump", test->temporary);
	file = fopen(path, "w");
	if (file) {
		fputs(HEAD, file);
		if (!fseek(file, 65 << 20, SEEK_SET))
			fputc('\n', file);
		fclose(file);
	}
	machine = machine_from_file(path, test->error, sizeof(test->error));
	EXPECT(test, !machine && strstr(test->error, "larger than 64 MiB"));
}

/* What is no damage */
static void test_tolerated(struct test *test)
{
	static const char *const texts[] = {
		"\xef\xbb\xbf" HEAD ROW0 ROW10,
		"00:01.0 PCI bridge: A bridge\r\n"
		"00: 86 80 04 2f 07 00 10 00 02 00 04 06 10 00 01 00\r\n",
		"$ sudo lspci -xxxx\n" HEAD ROW0 ROW10,
		"# said somebody\n\n" HEAD ROW0 "pcilib: something failed\n" ROW10,
		HEAD "\n\n" ROW0 "\n" ROW10,
		"0000:00:01.0 PCI bridge [0604]: A bridge [8086:2f04]\n" ROW0,
		"00:01.0 0604: 8086:2f04 (rev 02)\n",
	};
	struct machine *machine;
	struct device *device;
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		machine = from_text(test, texts[i]);
		device = find(test, machine, 0, 0, 1, 0);
		expect(test, device && device_id(device) == 0x2f04 &&
		       device->is_bridge, "text %zu", i);
		machine_free(machine);
	}
}

/* ---- rdma_topo ---- */

static void test_rdma(struct test *test)
{
	static const char format[] =
		"[{\"realpath\": \"/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0\",\n"
		" \"config\": \"%s\", \"iommu_group\": null,\n"
		" \"modalias\": \"pci:v000015B3d0000101Esv0sd0bc02sc00i00\",\n"
		" \"subsystems\": {\"net\": [\"eth0\"], \"infiniband\": [\"mlx5_0\"]}},\n"
		"{\"realpath\": \"/sys/devices/pci0000:00/0000:00:01.0\",\n"
		" \"config\": \"%s\", \"iommu_group\": 5, \"numa_node\": 1,\n"
		" \"modalias\": \"pci:v00008086d00002F04sv0sd0bc06sc04i00\"}]";
	uint8_t config[CONFIG_SIZE] = {
		0x86, 0x80, 0x04, 0x2f, 7, 0, 0x10, 0, 2, 0, 4, 6, 0, 0, 1,
		[PCI_SECONDARY_BUS] = 1, [PCI_SUBORDINATE_BUS] = 1,
		[PCI_CAPABILITY_LIST] = 0x40,
		[0x40] = PCI_CAP_ID_EXP, [0x42] = PCI_EXP_TYPE_ROOT_PORT << 4,
		[0x100] = PCI_EXT_CAP_ID_ACS, [0x102] = 1, [0x104] = 0x1f,
		[0x106] = 0x1d,
	};
	static char above[MAX_PACKED], below[MAX_PACKED], text[65536];
	struct device *port, *function;
	struct machine *machine;
	uint8_t virtual[256];

	memset(virtual, 0xff, sizeof(virtual));
	pack(above, config, sizeof(config));
	pack(below, virtual, sizeof(virtual));
	snprintf(text, sizeof(text), format, below, above);
	machine = from_text(test, text);
	port = find(test, machine, 0, 0, 1, 0);
	function = find(test, machine, 0, 1, 0, 0);
	if (port && function) {
		EXPECT(test, port->is_bridge && !port->orphan && !port->parent);
		EXPECT(test, port->extended_known == YES && acs_ctrl(port) == 0x1d);
		EXPECT(test, port->iommu_group == 5 && port->numa_node == 1);
		EXPECT(test, port->iommu == IOMMU_UNKNOWN);
		EXPECT(test, function->parent == port);
		EXPECT(test, function->host == port->host);
		EXPECT(test, device_vendor(function) == 0x15b3);
		EXPECT(test, device_id(function) == 0x101e);
		EXPECT(test, function->iommu == IOMMU_NONE);
		EXPECT(test, function->caps_known == NO);
		EXPECT(test, !strcmp(function->nodes[0], "eth0") &&
		       !strcmp(function->nodes[1], "mlx5_0"));
		check_dump(test, machine);
	}
	machine_free(machine);

	refuse(test, REALPATH ", \"config\": \"eJ!\"}]",
	       "item 0: 'config' isn't");
	refuse(test, REALPATH "}]",
	       "'config' is missing");
	refuse(test, "[{\"realpath\": \"0000:00:01\"}]", "'realpath' has to be");
	/* More than config space has, in base64, and unpacked */
	memset(above, 'A', MAX_PACKED - 1);
	snprintf(text, sizeof(text), format, above, below);
	refuse(test, text, "item 0: 'config' isn't");
	pack(above, (const uint8_t *)text, CONFIG_SIZE + 1);
	snprintf(text, sizeof(text), format, above, below);
	refuse(test, text, "item 0: 'config' isn't");
}

/* ---- A sysfs ---- */

#define PORT	"sys/devices/pci0000:00/0000:00:01.0/"
#define NVME	PORT "0000:01:00.0/"

static const struct {
	const char *path, *text;
} files[] = {
	{ "proc/sys/kernel/osrelease", "6.12.1-test\n" },
	{ "proc/cmdline",
	  "root=/dev/sda1 quiet iommu=pt secret=1 pci=\"noats,x y\" swiotlb=65536,force\n" },
	{ "proc/cpuinfo",
	  "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nflags\t\t: fpu vme\n\n" },
	{ "proc/iomem", "00000000-00000fff : Reserved\nc0000000-dfffffff : PCI Bus 0000:00\n"
	  "  c0000000-c00fffff : PCI Bus 0000:01\n10000000000-1ffffffffff : PCI Bus 0000:00\n" },
	{ "boot/config-6.12.1-test", "# a comment\nCONFIG_PCI_P2PDMA=y\n" },
	{ PORT "vendor", "0x1022\n" },
	{ PORT "device", "0x1483\n" },
	{ PORT "class", "0x060400\n" },
	{ PORT "removable", "removable\n" },
	{ NVME "vendor", "0x144d\n" },
	{ NVME "device", "0xa80a\n" },
	{ NVME "class", "0x010802\n" },
	{ NVME "resource", "0x00000000c0000000 0x00000000c0003fff 0x0000000000140204\n"
	  "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
	  "0x0000000000001000 0x0000000000ffffff 0x000000002014220c\n"
	  "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
	  "0x0000010000000000 0x000001000fffffff 0x000000000014220c\n" },
	{ NVME "resource4_resize", "0000000000000700\n" },
	{ NVME "dma_mask_bits", "64\n" },
	{ NVME "numa_node", "1\n" },
	{ NVME "p2pmem/size", "268435456\n" },
	{ NVME "p2pmem/available", "4096\n" },
	{ NVME "p2pmem/published", "1\n" },
	{ NVME "nvme/nvme3/nvme0c3n1/size", "1\n" },
	{ NVME "nvme/nvme3/nvme3n2/size", "1\n" },
	{ "sys/devices/pci0000:00/0000:00:02.0/virtio0/net/eth7/mtu", "1\n" },
	{ "sys/kernel/iommu_groups/4/type", "DMA-FQ\n" },
};

static const struct {
	const char *path, *target;
} links[] = {
	{ "sys/bus/pci/devices/0000:00:01.0", "../../../devices/pci0000:00/0000:00:01.0" },
	{ "sys/bus/pci/devices/0000:00:02.0", "../../../devices/pci0000:00/0000:00:02.0" },
	{ "sys/bus/pci/devices/0000:01:00.0",
	  "../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0" },
	{ NVME "driver", "../../../../bus/pci/drivers/nvme" },
	{ NVME "iommu_group", "../../../../kernel/iommu_groups/4" },
};

static void make_folders(char *path)
{
	char *at;

	for (at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		mkdir(path, 0755);
		*at = '/';
	}
}

static void make_sysfs(struct test *test)
{
	/* A port whose list of capabilities is beyond what others than root read */
	static const uint8_t port[64] = {
		0x22, 0x10, 0x83, 0x14, 7, 0, 0x10, 0, 0, 0, 4, 6, 0, 0, 1,
		[PCI_SECONDARY_BUS] = 1, [PCI_SUBORDINATE_BUS] = 1,
		[PCI_CAPABILITY_LIST] = 0x40,
	};
	static uint8_t nvme[CONFIG_SIZE] = {
		0x4d, 0x14, 0x0a, 0xa8, 7, 0, 0x10, 0, 0, 2, 8, 1,
		[0x10] = 4, [0x13] = 0xc0,
		/* The window's bus addresses are lower by 8000000000. */
		[0x20] = 0xc, [0x24] = 0x80,
		[PCI_CAPABILITY_LIST] = 0x40, [0x40] = PCI_CAP_ID_EXP,
	};
	char path[512];
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(*files); i++) {
		snprintf(path, sizeof(path), "%s/%s", test->temporary,
			 files[i].path);
		make_folders(path);
		write_text(test, path, files[i].text, strlen(files[i].text));
	}
	for (i = 0; i < sizeof(links) / sizeof(*links); i++) {
		snprintf(path, sizeof(path), "%s/%s", test->temporary,
			 links[i].path);
		make_folders(path);
		EXPECT(test, !symlink(links[i].target, path) || errno == EEXIST);
	}
	snprintf(path, sizeof(path), "%s/" PORT "config", test->temporary);
	write_text(test, path, (const char *)port, sizeof(port));
	snprintf(path, sizeof(path), "%s/" NVME "config", test->temporary);
	write_text(test, path, (const char *)nvme, sizeof(nvme));
}

static void test_sysfs(struct test *test)
{
	struct device *port, *nvme, *nic;
	struct machine *machine;
	char path[256];

	make_sysfs(test);
	machine = machine_from_root(test->temporary, test->error,
				    sizeof(test->error));
	if (!expect(test, machine, "%s", test->error))
		return;
	port = find(test, machine, 0, 0, 1, 0);
	nvme = find(test, machine, 0, 1, 0, 0);
	nic = find(test, machine, 0, 0, 2, 0);
	if (!port || !nvme || !nic)
		return;
	EXPECT(test, !strcmp(machine->kernel, "6.12.1-test"));
	EXPECT(test, machine->core == CORE_STOCK && !*machine->admitted);
	expect(test, !strcmp(machine->cmdline,
			     "iommu=pt pci=\"noats,x y\" swiotlb=65536,force"),
	       "command line: %s", machine->cmdline);
	EXPECT(test, machine->cpu_forwards == YES && machine->guest == NO);
	EXPECT(test, machine->encrypted == NO && machine->bounce == YES);

	EXPECT(test, port->is_bridge && port->caps_known == NO);
	EXPECT(test, port->has_extended == NO && port->untrusted == YES);
	EXPECT(test, nvme->parent == port && !nvme->orphan);
	EXPECT(test, nvme->untrusted == NO && nvme->caps_known == YES);
	EXPECT(test, nvme->has_extended == YES && nvme->extended_known == YES);
	EXPECT(test, nvme->iommu_group == 4 && nvme->iommu == IOMMU_DMA_FQ);
	EXPECT(test, port->iommu == IOMMU_NONE && port->iommu_group == -1);
	EXPECT(test, nvme->dma_mask_bits == 64 && nvme->numa_node == 1);
	EXPECT(test, nvme->driver && !strcmp(nvme->driver, "nvme"));
	EXPECT(test, nvme->registered == YES && nvme->published == YES);
	EXPECT(test, nvme->p2pmem_size == 256 << 20);
	EXPECT(test, nvme->p2pmem_available == 4096);
	EXPECT(test, port->registered == NO);
	EXPECT(test, nvme->bars[0].start == 0xc0000000 &&
	       nvme->bars[0].end == 0xc0003fff);
	EXPECT(test, nvme->bars[2].memory && !nvme->bars[2].start);
	EXPECT(test, nvme->bars[4].prefetchable &&
	       nvme->bars[4].sizes == 0x700);
	EXPECT(test, nvme->nodes && !strcmp(nvme->nodes[0], "nvme3"));
	EXPECT(test, nvme->nodes && nvme->nodes[1] && nvme->nodes[2] &&
	       !nvme->nodes[3]);
	EXPECT(test, nic->nodes && !strcmp(nic->nodes[0], "eth7"));
	EXPECT(test, !port->nodes);

	EXPECT(test, machine->host_count == 1);
	EXPECT(test, machine->hosts[0]->windows_known &&
	       machine->hosts[0]->window_count == 2);
	EXPECT(test, !machine->hosts[0]->windows[0].offset);
	EXPECT(test, machine->hosts[0]->windows[1].offset == 0x8000000000);
	check_dump(test, machine);
	machine_free(machine);

	snprintf(path, sizeof(path), "%s/empty", test->temporary);
	machine = machine_from_root(path, test->error, sizeof(test->error));
	EXPECT(test, !machine && strstr(test->error, "is sysfs mounted?"));
}

static int remove_entry(const char *path, const struct stat *status, int type,
			struct FTW *level)
{
	(void)status;
	(void)type;
	(void)level;
	return remove(path);
}

int main(int argc, char **argv)
{
	struct test test = { .temporary = "/tmp/lsp2p.XXXXXX" };

	if (argc != 2) {
		fprintf(stderr, "usage: machine_test FOLDER\n");
		return 2;
	}
	test.folder = argv[1];
	if (!mkdtemp(test.temporary)) {
		perror(test.temporary);
		return 2;
	}
	run(&test, "hsw-ep: ACS of a root port", test_hsw_ep);
	run(&test, "x58-nf200: a switch without ACS", test_x58);
	run(&test, "n1sdp: ACS in the text alone", test_n1sdp);
	run(&test, "pch-tb3, pex9716: bridges that aren't in the file", test_orphans);
	run(&test, "buses that aren't known", test_unknown_buses);
	run(&test, "acs-empty, pex8796", test_single);
	run(&test, "p2020: three domains", test_p2020);
	run(&test, "trees", test_trees);
	run(&test, "dumps stay the same", test_dumps);
	run(&test, "dumps have no secrets", test_secrets);
	run(&test, "missing rows are unknown", test_missing_rows);
	run(&test, "lists of capabilities", test_lists);
	run(&test, "text without hex", test_text);
	run(&test, "text that is cut off", test_cut);
	run(&test, "processors", test_processors);
	run(&test, "files with control characters", test_printable);
	run(&test, "files that are refused", test_refused);
	run(&test, "files that aren't refused", test_tolerated);
	run(&test, "rdma_topo", test_rdma);
	run(&test, "sysfs", test_sysfs);
	nftw(test.temporary, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	printf("1..%u\n", test.count);
	return test.failed ? 1 : 0;
}
