// SPDX-License-Identifier: GPL-2.0
/*
 * Damages dumps at random, and reads them: for each there has to be a machine
 * that makes sense, or one line of error.  For ASan and UBSan, which see the rest.
 *
 *   fuzz COUNT FOLDER [SEED]		FOLDER is lib/kunit/machines; prints TAP
 *
 * The same seed gives the same damage.  What a fault needs to be seen again is
 * printed: COUNT 1 and the seed of that dump.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine.h"
#include "pack.h"
#include "route.h"

#define MAX_SEEDS	64
#define MAX_SIZE	(512 << 10)
#define MAX_DAMAGE	6

struct buffer {
	char *data;
	size_t size;
};

struct fuzz {
	uint64_t state;		/* of the random numbers */
	struct buffer dumps[MAX_SEEDS];
	unsigned int dump_count;
	/* Whole config space in hex, and the machine that it is */
	struct buffer hex[MAX_SEEDS];
	struct machine *machines[MAX_SEEDS];
	unsigned int hex_count;
	struct buffer now;	/* what is damaged */
	int file;
	char path[64];
	unsigned long refused, read, verdicts;
};

/* ---- Random numbers ---- */

static uint64_t next(struct fuzz *fuzz)
{
	/* SplitMix64 */
	uint64_t value = fuzz->state += 0x9e3779b97f4a7c15;

	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
	value = (value ^ value >> 27) * 0x94d049bb133111eb;
	return value ^ value >> 31;
}

static size_t below(struct fuzz *fuzz, size_t limit)
{
	return limit ? next(fuzz) % limit : 0;
}

/* ---- Damage ---- */

/* Puts @size bytes in place of @count ones. */
static void splice(struct fuzz *fuzz, size_t at, size_t count, const void *bytes,
		   size_t size)
{
	struct buffer *now = &fuzz->now;

	if (at > now->size || count > now->size - at ||
	    now->size - count + size > MAX_SIZE)
		return;
	memmove(now->data + at + size, now->data + at + count,
		now->size - at - count);
	memcpy(now->data + at, bytes, size);
	now->size += size - count;
}

/* A line, from its beginning to behind its end */
static size_t pick_line(struct fuzz *fuzz, size_t *size)
{
	struct buffer *now = &fuzz->now;
	size_t at = below(fuzz, now->size), end = at;

	while (at && now->data[at - 1] != '\n')
		at--;
	while (end < now->size && now->data[end++] != '\n')
		;
	*size = end - at;
	return at;
}

/* Digits that stand together, in hex as well */
static size_t pick_number(struct fuzz *fuzz, size_t *size)
{
	static const char digits[] = "0123456789abcdef";
	struct buffer *now = &fuzz->now;
	size_t at = below(fuzz, now->size), end;

	while (at < now->size && !strchr(digits, now->data[at]))
		at++;
	end = at;
	while (end < now->size && now->data[end] &&
	       strchr(digits, now->data[end]))
		end++;
	*size = end - at;
	return at;
}

static void flip_bit(struct fuzz *fuzz)
{
	if (fuzz->now.size)
		fuzz->now.data[below(fuzz, fuzz->now.size)] ^=
			1 << below(fuzz, 8);
}

static void set_byte(struct fuzz *fuzz)
{
	if (fuzz->now.size)
		fuzz->now.data[below(fuzz, fuzz->now.size)] = next(fuzz);
}

static void insert_bytes(struct fuzz *fuzz)
{
	uint8_t bytes[64];
	size_t i, size = 1 + below(fuzz, sizeof(bytes));

	for (i = 0; i < size; i++)
		bytes[i] = next(fuzz);
	splice(fuzz, below(fuzz, fuzz->now.size + 1), 0, bytes, size);
}

static void cut_range(struct fuzz *fuzz)
{
	size_t at = below(fuzz, fuzz->now.size);

	splice(fuzz, at, below(fuzz, fuzz->now.size - at + 1), "", 0);
}

static void cut_few(struct fuzz *fuzz)
{
	splice(fuzz, below(fuzz, fuzz->now.size), 1 + below(fuzz, 8), "", 0);
}

static void cut_end(struct fuzz *fuzz)
{
	fuzz->now.size = below(fuzz, fuzz->now.size + 1);
}

static void cut_line(struct fuzz *fuzz)
{
	size_t size, at = pick_line(fuzz, &size);

	splice(fuzz, at, size, "", 0);
}

static void copy_line(struct fuzz *fuzz, size_t to)
{
	size_t size, at = pick_line(fuzz, &size);
	char *line = malloc(size + 1);

	memcpy(line, fuzz->now.data + at, size);
	splice(fuzz, to, 0, line, size);
	free(line);
}

static void copy_line_anywhere(struct fuzz *fuzz)
{
	copy_line(fuzz, below(fuzz, fuzz->now.size + 1));
}

static void copy_line_to_line(struct fuzz *fuzz)
{
	size_t size;

	copy_line(fuzz, pick_line(fuzz, &size));
}

static void repeat_line(struct fuzz *fuzz)
{
	size_t size, at = pick_line(fuzz, &size), count = below(fuzz, 300);
	char *line = malloc(size + 1);

	memcpy(line, fuzz->now.data + at, size);
	while (count--)
		splice(fuzz, at, 0, line, size);
	free(line);
}

static void swap_lines(struct fuzz *fuzz)
{
	size_t size, at = pick_line(fuzz, &size), to;
	char *line = malloc(size + 1);

	memcpy(line, fuzz->now.data + at, size);
	splice(fuzz, at, size, "", 0);
	to = pick_line(fuzz, &at);
	splice(fuzz, to, 0, line, size);
	free(line);
}

static void break_line(struct fuzz *fuzz)
{
	splice(fuzz, below(fuzz, fuzz->now.size + 1), 0, "\n", 1);
}

static void join_lines(struct fuzz *fuzz)
{
	size_t size, at = pick_line(fuzz, &size);

	if (size)
		splice(fuzz, at + size - 1, 1, "", 0);
}

static void indent_line(struct fuzz *fuzz)
{
	size_t size, at = pick_line(fuzz, &size);

	splice(fuzz, at, 0, "\t\t        ", 1 + below(fuzz, 10));
}

static void change_number(struct fuzz *fuzz)
{
	static const char *const numbers[] = {
		"", "0", "1", "-1", "ff", "100", "ffff", "2147483648", "4294967296",
		"ffffffffffffffff", "99999999999999999999999999", "1e999", "0x0",
		"7fffffffffffffff", "-9223372036854775808", "3.5",
	};
	const char *number = numbers[below(fuzz, 16)];
	size_t size, at = pick_number(fuzz, &size);

	splice(fuzz, at, size, number, strlen(number));
}

static void change_digit(struct fuzz *fuzz)
{
	size_t size, at = pick_number(fuzz, &size);

	if (size)
		fuzz->now.data[at + below(fuzz, size)] =
			"0123456789abcdef"[below(fuzz, 16)];
}

/* Words that mean something to one reader or another */
static void insert_word(struct fuzz *fuzz)
{
	static const char *const words[] = {
		"\n", "\r\n", "\t", "#", ": ", "[", "]", "{", "}", ",", "\"", "\\",
		"\\u0000", "\\ud800", "null", "true", "{}", "[]", "\xef\xbb\xbf",
		"\xff\xfe", "\x1f\x8b", "\n00:00.0 0604: 8086:1234\n",
		"\n40: 10 40 42 00 00 00 00 00 00 00 00 00 00 00 00 00\n",
		"\n100: 0d 00 01 10 ff ff ff ff ff ff ff ff ff ff ff ff\n",
		"\n\tBus: primary=00, secondary=ff, subordinate=00\n",
		"\n\tCapabilities: [40] Express (v2) Root Port (Slot+), MSI 00\n",
		"\n\tCapabilities: [ffc v1] Access Control Services\n",
		"\n\tCapabilities: [fff v1] Access Control Services\n",
		"\n\t\tACSCap:\tSrcValid+ EgressCtrl+\n",
		"\n\tCapabilities: [ffc v1] Single Root I/O Virtualization (SR-IOV)\n",
		"\n\t\tVF offset: 65535, stride: 65535, Device ID: 101e\n",
		"\n\t\tInitial VFs: 8, Total VFs: 8, Number of VFs: 65535\n",
		"\n\tCapabilities: [ffc v1] Physical Resizable BAR\n",
		"\n\t\tBAR 9: current size: 9999EB, supported: 1MB 9999EB\n",
		"\n\tRegion 5: Memory at ffffffffffffffff (64-bit) [size=9999E]\n",
		"\n\tCapabilities: <access denied>\n", "\nhost bridge, buses 0000:[00-ff]\n",
		"\nnuma 0 AuthenticAMD family 255\n", "\n# rows of zeros dropped\n",
		"\n  0000:00:00.0 bridge 8086:1234 buses 0000:[00-ff]\n",
		"\"parent\": \"0000:00:00.0\",", "\"acs\": 4088,", "\"at\": 1,",
		"\"config\": {\"ffe\": \"0000000000\"},", "\"nodes\": [1],",
		"\"physfn\": \"0000:00:00.0\",", "\"sriov\": 4088,", "\"rebar\": 256,",
	};
	const char *word = words[below(fuzz, sizeof(words) / sizeof(*words))];

	splice(fuzz, below(fuzz, fuzz->now.size + 1), 0, word, strlen(word));
}

static void nest(struct fuzz *fuzz)
{
	static const char *const opens[] = { "[", "{\"a\":", "[[{\"at\":", "  " };
	const char *open = opens[below(fuzz, 4)];
	size_t count = below(fuzz, 3000), at = below(fuzz, fuzz->now.size + 1);

	while (count--)
		splice(fuzz, at, 0, open, strlen(open));
}

static void mix(struct fuzz *fuzz)
{
	const struct buffer *other = &fuzz->dumps[below(fuzz, fuzz->dump_count)];
	size_t at = below(fuzz, other->size);

	splice(fuzz, below(fuzz, fuzz->now.size + 1), 0, other->data + at,
	       below(fuzz, other->size - at));
}

/* Turns "\n" into "\r\n". */
static void carriage_returns(struct fuzz *fuzz)
{
	size_t at;

	for (at = 0; at < fuzz->now.size; at++) {
		if (fuzz->now.data[at] == '\n')
			splice(fuzz, at++, 0, "\r", 1);
	}
}

/* Bytes in a row of hex, or of a string of hex: pointers of capabilities, too */
static void change_hex(struct fuzz *fuzz)
{
	size_t size, at, i;
	char *row;

	at = pick_line(fuzz, &size);
	row = fuzz->now.data + at;
	if (size < 8)
		return;
	for (i = below(fuzz, size); i + 1 < size && i < size; i++) {
		if (strchr("0123456789abcdef", row[i]) && row[i] && !below(fuzz, 3))
			row[i] = "0123456789abcdef"[below(fuzz, 16)];
	}
}

static void (*const damages[])(struct fuzz *fuzz) = {
	flip_bit, set_byte, insert_bytes, cut_range, cut_few, cut_end, cut_line,
	copy_line_anywhere, copy_line_to_line, repeat_line, swap_lines,
	break_line, join_lines, indent_line, change_number, change_digit,
	insert_word, nest, mix, carriage_returns, change_hex,
};

/* ---- What is right ---- */

static uint64_t order(const struct device *device)
{
	return (uint64_t)device->domain << 16 | device->bus << 8 | device->devfn;
}

static const char *wrong_device(const struct machine *machine, size_t i)
{
	const struct device *device = machine->devices[i], *up;
	unsigned int depth = 0, bar;

	if (i && order(machine->devices[i - 1]) >= order(device))
		return "devices aren't sorted";
	/* A virtual function is below what its physical function is below. */
	for (up = device; up; up = (up->physfn ?: up)->parent) {
		if (++depth > 512)
			return "a device is below itself";
	}
	if (!device->host)
		return "no host bridge";
	if (device->physfn && (device->physfn == device || device->physfn->physfn))
		return "a physical function is virtual";
	if (device->caps_known == UNKNOWN || device->extended_known == UNKNOWN)
		return "lists are neither known nor unknown";
	if ((device->pcie_cap && (device->pcie_cap < 0x40 || device->pcie_cap > 0xfc)) ||
	    device->acs_cap > 0xffc || device->ats_cap > 0xffc ||
	    device->sriov_cap > 0xffc || device->rebar_cap > 0xffc)
		return "a capability is beyond config space";
	for (bar = 0; bar < BARS; bar++) {
		if (device->bars[bar].end < device->bars[bar].start)
			return "a BAR ends before it starts";
	}
	return NULL;
}

static const char *wrong_machine(const struct machine *machine)
{
	const char *wrong = NULL;
	size_t i;

	for (i = 0; i < machine->device_count && !wrong; i++)
		wrong = wrong_device(machine, i);
	return wrong;
}

static struct machine *read_now(struct fuzz *fuzz, char *error, size_t size)
{
	if (ftruncate(fuzz->file, 0) ||
	    pwrite(fuzz->file, fuzz->now.data, fuzz->now.size, 0) !=
	    (ssize_t)fuzz->now.size) {
		perror("memfd");
		exit(2);
	}
	*error = '\0';
	return machine_from_file(fuzz->path, error, size);
}

/* The dump of what was read has to be read, too. */
static const char *wrong_dump(struct fuzz *fuzz, const struct machine *machine)
{
	struct machine *again;
	const char *wrong = NULL;
	char error[512] = "";

	if (ftruncate(fuzz->file, 0) || machine_dump(machine, fuzz->path))
		return "no dump";
	again = machine_from_file(fuzz->path, error, sizeof(error));
	if (!again || again->device_count != machine->device_count)
		wrong = "its dump can't be read";
	if (!again)
		printf("# %s\n", error);
	machine_free(again);
	return wrong;
}

/* Any two devices have an answer that is one. */
static const char *wrong_route(struct fuzz *fuzz, struct machine *machine)
{
	const struct device *owner, *client;
	const char *wrong = NULL;
	struct route route;

	if (!machine->device_count)
		return NULL;
	owner = machine->devices[below(fuzz, machine->device_count)];
	client = machine->devices[below(fuzz, machine->device_count)];
	if (route_find(machine, owner, client, &route))
		return "no route";
	if ((route.read == UNKNOWN || route.write == UNKNOWN) &&
	    !route.missing_count)
		wrong = "unknown, and nothing is missing";
	route_free(&route);
	return wrong;
}

static const char *check_now(struct fuzz *fuzz)
{
	const char *wrong = NULL;
	struct machine *machine;
	char error[512];

	machine = read_now(fuzz, error, sizeof(error));
	if (!machine) {
		fuzz->refused++;
		if (!*error || strchr(error, '\n') || strncmp(error, fuzz->path,
							      strlen(fuzz->path)))
			wrong = "no line of error that begins with the file's name";
		if (wrong)
			printf("# error: %s\n", error);
		return wrong;
	}
	fuzz->read++;
	wrong = wrong_machine(machine);
	if (!wrong)
		wrong = wrong_route(fuzz, machine);
	if (!wrong && !below(fuzz, 8))
		wrong = wrong_dump(fuzz, machine);
	machine_free(machine);
	return wrong;
}

/* Facts that no lspci tells, so that the registers decide */
static void assume(struct machine *machine)
{
	size_t i;

	machine->encrypted = NO;
	machine->bounce = NO;
	machine->cpu_forwards = YES;
	for (i = 0; i < machine->device_count; i++)
		machine->devices[i]->iommu = IOMMU_NONE;
}

/* Are both known, and not the same? */
static bool differs(enum answer before, enum answer after)
{
	return before != UNKNOWN && after != UNKNOWN && before != after;
}

/*
 * Has the verdict changed to another one?  It may become unknown; and known, where
 * the text tells what damaged hex doesn't.
 */
static const char *wrong_verdict(struct fuzz *fuzz, struct machine *more,
				 struct machine *less)
{
	const struct device *ends[2];
	struct route before, after;
	bool wrong;
	int i;

	for (i = 0; i < 2; i++)
		ends[i] = less->devices[below(fuzz, less->device_count)];
	assume(less);
	if (route_find(less, ends[0], ends[1], &after))
		return "no route";
	fuzz->verdicts += after.read != UNKNOWN;
	for (i = 0; i < 2; i++)
		ends[i] = machine_find(more, ends[i]->domain, ends[i]->bus,
				       ends[i]->devfn);
	if (route_find(more, ends[0], ends[1], &before)) {
		route_free(&after);
		return "no route";
	}
	wrong = differs(before.read, after.read) ||
		differs(before.write, after.write);
	if (wrong)
		printf("# %02x:%02x %02x:%02x, read %d and %d, write %d and %d\n",
		       ends[0]->bus, ends[0]->devfn, ends[1]->bus,
		       ends[1]->devfn, before.read, after.read, before.write,
		       after.write);
	route_free(&before);
	route_free(&after);
	return wrong ? "with fewer rows of hex, another verdict" : NULL;
}

static const char *wrong_capabilities(const struct machine *more,
				      const struct machine *less)
{
	const struct device *before, *after;
	size_t i;

	for (i = 0; i < less->device_count; i++) {
		after = less->devices[i];
		before = machine_find(more, after->domain, after->bus,
				      after->devfn);
		if (!before ||
		    (after->caps_known == YES &&
		     after->pcie_cap != before->pcie_cap) ||
		    (after->extended_known == YES && after->pcie_cap &&
		     (after->acs_cap != before->acs_cap ||
		      after->ats_cap != before->ats_cap)))
			return "with fewer rows of hex, a capability isn't there";
	}
	return NULL;
}

/*
 * Without some rows of hex, less may be known, but nothing else: no capability
 * vanishes, and no verdict turns into another.
 */
static const char *check_rows(struct fuzz *fuzz)
{
	unsigned int which = below(fuzz, fuzz->hex_count), count;
	struct machine *more = fuzz->machines[which];
	const char *wrong = NULL;
	struct machine *less;
	char error[512];
	size_t size, at;

	memcpy(fuzz->now.data, fuzz->hex[which].data, fuzz->hex[which].size);
	fuzz->now.size = fuzz->hex[which].size;
	for (count = 1 + below(fuzz, 64); count; count--) {
		at = pick_line(fuzz, &size);
		if (size > 4 && !memchr(fuzz->now.data + at, '.', size))
			splice(fuzz, at, size, "", 0);
	}
	less = read_now(fuzz, error, sizeof(error));
	if (!less)
		return NULL;
	wrong = wrong_capabilities(more, less) ?:
		wrong_verdict(fuzz, more, less);
	machine_free(less);
	return wrong;
}

static const char *check_one(struct fuzz *fuzz)
{
	const struct buffer *dump;
	unsigned int count;

	if (!below(fuzz, 16))
		return check_rows(fuzz);
	dump = &fuzz->dumps[below(fuzz, fuzz->dump_count)];
	memcpy(fuzz->now.data, dump->data, dump->size);
	fuzz->now.size = dump->size;
	for (count = 1 + below(fuzz, MAX_DAMAGE); count; count--)
		damages[below(fuzz, sizeof(damages) / sizeof(*damages))](fuzz);
	return check_now(fuzz);
}

/* ---- Dumps to begin with ---- */

static bool keep(struct buffer *to, const char *data, size_t size)
{
	to->data = malloc(size + 1);
	if (!to->data)
		return false;
	memcpy(to->data, data, size);
	to->size = size;
	return true;
}

static bool read_into_now(struct fuzz *fuzz, const char *path)
{
	FILE *file = fopen(path, "r");

	if (!file) {
		perror(path);
		return false;
	}
	fuzz->now.size = fread(fuzz->now.data, 1, MAX_SIZE, file);
	fclose(file);
	return fuzz->now.size > 0;
}

/* All that is known of config space, as "lspci -xxxx" prints it */
static void print_hex(struct fuzz *fuzz, const struct machine *machine)
{
	const struct device *device;
	unsigned int at, i;
	uint8_t value;
	char *to = fuzz->now.data;
	size_t j;

	for (j = 0; j < machine->device_count; j++) {
		device = machine->devices[j];
		to += sprintf(to, "%04x:%02x:%02x.%x Device: X\n", device->domain,
			      device->bus, device->devfn >> 3,
			      device->devfn & 7);
		for (at = 0; at < CONFIG_SIZE &&
		     config_get8(device, at, &value); at += 16) {
			to += sprintf(to, "%02x:", at);
			for (i = 0; i < 16; i++)
				to += sprintf(to, " %02x", device->config[at + i]);
			*to++ = '\n';
		}
	}
	fuzz->now.size = to - fuzz->now.data;
}

static bool add_hex(struct fuzz *fuzz, const struct machine *machine)
{
	char error[512];
	struct machine *again;

	print_hex(fuzz, machine);
	again = read_now(fuzz, error, sizeof(error));
	if (!again) {
		fprintf(stderr, "%s\n", error);
		return false;
	}
	assume(again);
	fuzz->machines[fuzz->hex_count] = again;
	return keep(&fuzz->hex[fuzz->hex_count++], fuzz->now.data,
		    fuzz->now.size);
}

/* A dump, the same as lsp2p's own, and its hex */
static bool add_dump(struct fuzz *fuzz, const char *path)
{
	struct machine *machine;
	char error[512];
	bool done;

	if (!read_into_now(fuzz, path) ||
	    !keep(&fuzz->dumps[fuzz->dump_count++], fuzz->now.data,
		  fuzz->now.size))
		return false;
	machine = machine_from_file(path, error, sizeof(error));
	if (!machine) {
		fprintf(stderr, "%s\n", error);
		return false;
	}
	done = !ftruncate(fuzz->file, 0) && !machine_dump(machine, fuzz->path) &&
	       read_into_now(fuzz, fuzz->path) &&
	       keep(&fuzz->dumps[fuzz->dump_count++], fuzz->now.data,
		    fuzz->now.size) &&
	       add_hex(fuzz, machine);
	machine_free(machine);
	return done;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In the order of their names, so that a seed means the same everywhere */
static bool add_dumps(struct fuzz *fuzz, const char *folder)
{
	char path[512], *names[MAX_SEEDS / 2];
	unsigned int count = 0, i;
	struct dirent *entry;
	bool done = true;
	DIR *open;

	open = opendir(folder);
	if (!open) {
		perror(folder);
		return false;
	}
	while ((entry = readdir(open)) && count < MAX_SEEDS / 2 - 1) {
		if (strstr(entry->d_name, ".txt"))
			names[count++] = strdup(entry->d_name);
	}
	closedir(open);
	qsort(names, count, sizeof(*names), compare_names);
	for (i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		done = done && add_dump(fuzz, path);
		free(names[i]);
	}
	return done && fuzz->hex_count;
}

/* A bridge, and a virtual function without IDs, packed as rdma_topo does it */
static bool add_rdma(struct fuzz *fuzz)
{
	static const char format[] =
		"[{\"realpath\": \"/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0\",\n"
		"  \"config\": \"%s\", \"iommu_group\": null,\n"
		"  \"modalias\": \"pci:v000015B3d0000101Esv0sd0bc02sc00i00\",\n"
		"  \"subsystems\": {\"net\": [\"eth0\"], \"infiniband\": [\"mlx5_0\"]}},\n"
		" {\"realpath\": \"/sys/devices/pci0000:00/0000:00:01.0\",\n"
		"  \"config\": \"%s\", \"iommu_group\": 5, \"numa_node\": 1,\n"
		"  \"modalias\": \"pci:v00008086d00002F04sv0sd0bc06sc04i00\"}]\n";
	static const uint8_t port[CONFIG_SIZE] = {
		0x86, 0x80, 0x04, 0x2f, 7, 0, 0x10, 0, 2, 0, 4, 6, 0, 0, 1,
		[PCI_SECONDARY_BUS] = 1, [PCI_SUBORDINATE_BUS] = 1,
		[PCI_CAPABILITY_LIST] = 0x40, [0x40] = PCI_CAP_ID_EXP,
		[0x100] = PCI_EXT_CAP_ID_ACS, [0x102] = 1, [0x104] = 0x1f,
	};
	static char above[MAX_PACKED], below[MAX_PACKED];
	uint8_t virtual[PCI_CFG_SPACE_SIZE];
	char error[512];
	struct machine *machine;

	memset(virtual, 0xff, sizeof(virtual));
	pack(above, port, sizeof(port));
	pack(below, virtual, sizeof(virtual));
	fuzz->now.size = snprintf(fuzz->now.data, MAX_SIZE, format, below, above);
	machine = read_now(fuzz, error, sizeof(error));
	if (!machine) {
		fprintf(stderr, "%s\n", error);
		return false;
	}
	machine_free(machine);
	return keep(&fuzz->dumps[fuzz->dump_count++], fuzz->now.data,
		    fuzz->now.size);
}

static void free_all(struct fuzz *fuzz)
{
	unsigned int i;

	for (i = 0; i < fuzz->dump_count; i++)
		free(fuzz->dumps[i].data);
	for (i = 0; i < fuzz->hex_count; i++) {
		free(fuzz->hex[i].data);
		machine_free(fuzz->machines[i]);
	}
	free(fuzz->now.data);
	close(fuzz->file);
}

int main(int argc, char **argv)
{
	unsigned long count, i, failed = 0;
	const char *wrong;
	uint64_t seed;
	static struct fuzz fuzz;

	if (argc < 3 || argc > 4) {
		fprintf(stderr, "usage: fuzz COUNT FOLDER [SEED]\n");
		return 2;
	}
	count = strtoul(argv[1], NULL, 0);
	seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
	fuzz.now.data = malloc(MAX_SIZE);
	fuzz.file = memfd_create("dump", MFD_CLOEXEC);
	snprintf(fuzz.path, sizeof(fuzz.path), "/proc/self/fd/%d", fuzz.file);
	if (!fuzz.now.data || fuzz.file < 0 || !add_rdma(&fuzz) ||
	    !add_dumps(&fuzz, argv[2]))
		return 2;

	printf("# seed %llu, %u dumps, %u in hex\n", (unsigned long long)seed,
	       fuzz.dump_count, fuzz.hex_count);
	for (i = 0; i < count; i++) {
		fuzz.state = seed + i;
		wrong = check_one(&fuzz);
		if (!wrong)
			continue;
		printf("# seed %llu: %s\n", (unsigned long long)(seed + i), wrong);
		if (++failed == 10)
			break;
	}
	printf("# %lu read, %lu refused; %lu verdicts with fewer rows\n", fuzz.read,
	       fuzz.refused, fuzz.verdicts);
	if (!failed && count >= 1000 &&
	    (fuzz.read < count / 10 || fuzz.refused < count / 10 ||
	     fuzz.verdicts < count / 100)) {
		printf("# that tests little: nearly all are alike\n");
		failed++;
	}
	printf("%sok 1 %lu damaged dumps\n1..1\n", failed ? "not " : "", count);
	free_all(&fuzz);
	return failed ? 1 : 0;
}
