// SPDX-License-Identifier: GPL-2.0
/*
 * lsp2p file: from a file or block device to PCI functions, layer by layer, and
 * which of them let peer memory through.
 *
 * Programs read and write peer memory with O_DIRECT.  The kernel pins such memory
 * only for a block device whose queue has the feature PCI_P2PDMA.  Some kernels
 * show it: then rules[] only tells why, and what to do.  Of all others it has what
 * their code does.
 * Nothing here opens the file, reads a disk or asks whether devices reach each
 * other: `lsp2p why` does the latter, and verify moves data.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <json-c/json.h>
#include <linux/dm-ioctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lsp2p.h"
#include "stack.h"

#define MAX_DEPTH	32
#define FIRST	RELEASE(6, 2)	/* gives programs peer memory */
#define LAST	RELEASE(6, 12)	/* whose code most rules are taken from */
#define STACKS	RELEASE(7, 2)	/* the kernel's own md and NVMe multipath pass it on */
#define LAST_STACKS	RELEASE(7, 3)	/* the last that was looked at for that */

/*
 * Rules; the first that fits a layer holds.  If the kernel shows what the layer's
 * queue has, only rules fit that agree.
 * @type: pattern for the layer's type, NULL for all
 * @core: only in kernels with this core; CORE_UNKNOWN: in all
 * @stacks: only in kernels that show the feature in sysfs: their stacks pass it on
 * @since, @until: the first and the last release that it is true of; 0: FIRST, and
 *	no end
 * @from_below: as in struct layer
 */
struct rule {
	enum layer_kind kind;
	const char *type;
	enum core core;
	bool stacks;
	unsigned int since, until;
	enum answer passes;
	bool from_below;
	const char *why, *fix;
};

#define OLD_FS	"@(ext2|vfat|msdos|exfat|ntfs3|udf|jfs|nilfs2|ocfs2|hfs|hfsplus)"
#define NET_FS	"@(nfs|nfs4|cifs|smb3|9p|ceph|afs|fuse|fuseblk|fuse.*|virtiofs)"
#define OTHER_FS	"use ext4, xfs, or the block device itself"
#define NO_FEATURE	"its queue doesn't have the feature PCI_P2PDMA"
#define PASSING_LEVELS	"@(raid0|linear|raid1|raid10)"
#define PASSING_TARGETS	"+(linear|striped|,)"

static const struct rule rules[] = {
	{ LAYER_FS, "@(ext3|ext4|xfs|f2fs|gfs2|zonefs)",
	  .passes = YES, .why = "direct I/O, by iomap" },
	{ LAYER_FS, "ext2", .since = RELEASE(6, 5),
	  .passes = YES, .why = "direct I/O, by iomap" },
	{ LAYER_FS, "erofs", .until = LAST, .passes = YES,
	  .why = "direct I/O, by iomap, of files that aren't compressed" },
	{ LAYER_FS, "btrfs", .until = LAST, .passes = YES,
	  .why = "direct I/O, by iomap; the CPU reads it all for checksums" },
	{ LAYER_FS, OLD_FS, .until = LAST, .passes = NO, .fix = OTHER_FS,
	  .why = "direct I/O, but by fs/direct-io.c, which takes no peer memory" },
	{ LAYER_FS, "bcachefs", .until = LAST, .passes = NO, .fix = OTHER_FS,
	  .why = "its direct I/O takes no peer memory" },
	{ LAYER_FS, NET_FS, .until = LAST, .passes = NO, .fix = OTHER_FS,
	  .why = "its direct I/O takes no peer memory" },
	{ LAYER_FS, "@(tmpfs|ramfs|devtmpfs)", .passes = NO, .fix = OTHER_FS,
	  .why = "files are in system memory, and the CPU copies them" },
	{ LAYER_FS, "overlay", .passes = UNKNOWN,
	  .why = "the file in upperdir or lowerdir decides",
	  .fix = "ask for that file; /proc/mounts has the directories" },
	{ LAYER_FS, NULL, .passes = UNKNOWN, .fix = OTHER_FS,
	  .why = "nothing is known of this file system" },

	{ LAYER_PARTITION, NULL, .passes = YES, .why = "has its disk's queue" },
	{ LAYER_DM, PASSING_TARGETS, .stacks = true, .passes = YES,
	  .why = "its targets pass peer memory on" },
	{ LAYER_DM, PASSING_TARGETS, .stacks = true, .passes = NO,
	  .from_below = true,
	  .why = "a device below it takes no peer memory, or took none when its table was loaded",
	  .fix = "load its table again" },
	{ LAYER_DM, "*crypt*", .until = LAST_STACKS, .passes = NO,
	  .why = NO_FEATURE ", and the CPU encrypts",
	  .fix = "none for encrypted data" },
	{ LAYER_DM, "", .stacks = true, .passes = NO, .from_below = true,
	  .why = "one of its targets, or a device below it, takes no peer memory",
	  .fix = "ask as root, who sees its targets" },
	{ LAYER_DM, NULL, .stacks = true, .passes = NO,
	  .why = NO_FEATURE ": only the targets linear and striped pass it on",
	  .fix = "use these targets, or the block device below it" },
	{ LAYER_DM, NULL, .until = LAST_STACKS, .passes = NO,
	  .why = NO_FEATURE ": device mapper doesn't pass it on",
	  .fix = "use the block device below it" },
	{ LAYER_MD, PASSING_LEVELS, .stacks = true, .passes = YES,
	  .why = "all disks below it must reach the memory: otherwise none gets the request" },
	{ LAYER_MD, PASSING_LEVELS, .stacks = true, .passes = NO,
	  .from_below = true,
	  .why = "a disk below it takes no peer memory, or took none when it was assembled",
	  .fix = "assemble it again" },
	{ LAYER_MD, "raid[456]", .stacks = true, .passes = NO,
	  .why = NO_FEATURE ": the CPU reads the data, for parity",
	  .fix = "use raid0, raid1, raid10 or linear" },
	{ LAYER_MD, NULL, .stacks = true, .passes = NO,
	  .why = NO_FEATURE ": it isn't raid0, raid1, raid10 or linear" },
	{ LAYER_MD, "raid0", .since = STACKS, .until = LAST_STACKS,
	  .passes = YES,
	  .why = "each disk below it takes peer memory" },
	{ LAYER_MD, "@(raid1|raid10)", .since = STACKS, .until = LAST_STACKS,
	  .passes = YES,
	  .why = "a disk that doesn't reach the memory misses writes, and nobody is told" },
	{ LAYER_MD, NULL, .until = LAST_STACKS, .passes = NO,
	  .why = NO_FEATURE ": md doesn't pass it on",
	  .fix = "use the block devices below it" },
	{ LAYER_MULTIPATH, NULL, .stacks = true, .passes = YES,
	  .why = "requests take a path that reaches the memory" },
	{ LAYER_MULTIPATH, NULL, .stacks = true, .passes = NO, .from_below = true,
	  .why = "a path takes no peer memory",
	  .fix = "disconnect paths that take none" },
	{ LAYER_MULTIPATH, NULL, .since = STACKS, .until = LAST_STACKS,
	  .passes = YES,
	  .why = "it takes any path, and a request fails where that doesn't reach the memory" },
	{ LAYER_MULTIPATH, NULL, .until = LAST_STACKS, .passes = NO,
	  .why = NO_FEATURE ": NVMe multipath doesn't pass it on",
	  .fix = "boot with nvme_core.multipath=N if there is one path" },
	{ LAYER_NVME, "pcie", .passes = YES,
	  .why = "the driver nvme sets the feature PCI_P2PDMA" },
	{ LAYER_NVME, "pcie", .passes = NO,
	  .why = NO_FEATURE ": its DMA operations don't map peer memory" },
	{ LAYER_NVME, "rdma", .stacks = true, .passes = YES,
	  .why = "the RDMA adapter takes peer memory; ask lsp2p why for it" },
	{ LAYER_NVME, "rdma", .stacks = true, .passes = NO,
	  .why = NO_FEATURE ": the RDMA adapter takes no peer memory",
	  .fix = "use another RDMA adapter" },
	{ LAYER_NVME, "rdma", CORE_OURS, .passes = UNKNOWN,
	  .why = "the RDMA adapter's driver decides",
	  .fix = "ask lsp2p why for the adapter" },
	{ LAYER_NVME, NULL, .until = LAST, .passes = NO,
	  .why = NO_FEATURE ": the controller isn't on PCI",
	  .fix = "use an NVMe SSD on PCI" },
	{ LAYER_LOOP, NULL, .until = LAST, .passes = NO,
	  .why = NO_FEATURE, .fix = "use the file below it" },
	{ LAYER_DISK, NULL, .until = LAST, .passes = NO,
	  .why = NO_FEATURE ", which only NVMe's drivers set",
	  .fix = "use an NVMe SSD" },
};

static const char * const kind_names[] = {
	[LAYER_FILE] = "file",
	[LAYER_FS] = "file system",
	[LAYER_PARTITION] = "partition",
	[LAYER_DM] = "dm",
	[LAYER_MD] = "md",
	[LAYER_MULTIPATH] = "NVMe multipath",
	[LAYER_NVME] = "NVMe",
	[LAYER_LOOP] = "loop",
	[LAYER_DISK] = "disk",
	[LAYER_PCI] = "PCI",
};

static char *copy(const char *text)
{
	char *made = strdup(text);

	if (!made)
		err(EXIT_UNKNOWN, NULL);
	return made;
}

static char *vprint(const char *format, va_list args)
{
	char *made;

	if (vasprintf(&made, format, args) < 0)
		err(EXIT_UNKNOWN, NULL);
	return made;
}

static __printf(1, 2) char *print(const char *format, ...)
{
	va_list args;
	char *made;

	va_start(args, format);
	made = vprint(format, args);
	va_end(args);
	return made;
}

char *sysfs_path(const char *format, ...)
{
	const char *root = getenv("LSP2P_ROOT");
	char *tail, *path;
	va_list args;

	va_start(args, format);
	tail = vprint(format, args);
	va_end(args);
	path = print("%s/sys/%s", root ? root : "", tail);
	free(tail);
	return path;
}

char *first_line(const char *path)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;
	ssize_t length;

	if (!file)
		return NULL;
	length = getline(&line, &room, file);
	fclose(file);
	if (length <= 0) {
		free(line);
		return NULL;
	}
	if (line[length - 1] == '\n')
		line[length - 1] = '\0';
	return line;
}

/* Of a block device: its folder in sysfs, without symbolic links, or NULL */
static char *block_folder(const char *name)
{
	char *path, *folder;

	/* These lead to folders that aren't a block device's. */
	if (!*name || *name == '.' || strchr(name, '/'))
		return NULL;
	path = sysfs_path("class/block/%s", name);
	folder = realpath(path, NULL);
	free(path);
	return folder;
}

static char *line_in(const char *folder, const char *name)
{
	char *path = print("%s/%s", folder, name);
	char *line = first_line(path);

	free(path);
	return line;
}

static bool is_in(const char *folder, const char *name)
{
	char *path = print("%s/%s", folder, name);
	bool is = !access(path, F_OK);

	free(path);
	return is;
}

/* The last part of where a symbolic link leads to, or NULL */
static char *link_name(const char *folder, const char *name)
{
	char *path = print("%s/%s", folder, name);
	char *real = realpath(path, NULL);
	char *last = real ? copy(basename(real)) : NULL;

	free(real);
	free(path);
	return last;
}

static int visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static struct layer *layer_new(enum layer_kind kind, const char *name,
			       const char *type)
{
	struct layer *layer = calloc(1, sizeof(*layer));

	if (!layer)
		err(EXIT_UNKNOWN, NULL);
	layer->kind = kind;
	layer->name = copy(name);
	layer->type = copy(type ? type : "");
	layer->passes = YES;
	return layer;
}

void stack_free(struct layer *layer)
{
	struct layer *next;

	for (; layer; layer = next) {
		next = layer->next;
		stack_free(layer->below);
		free(layer->name);
		free(layer->type);
		free(layer);
	}
}

const struct layer *stack_find(const struct layer *layer, enum layer_kind kind)
{
	const struct layer *found;

	for (; layer; layer = layer->next) {
		if (layer->kind == kind)
			return layer;
		found = stack_find(layer->below, kind);
		if (found)
			return found;
	}
	return NULL;
}

static void put_below(struct layer *layer, struct layer *below)
{
	struct layer **last = &layer->below;

	while (*last)
		last = &(*last)->next;
	*last = below;
}

/*
 * Whether the kernel shows that a queue takes peer memory; UNKNOWN if it doesn't
 * show that.  @stacks is set where it is in sysfs.
 */
static enum answer ask_queue(const struct machine *machine, const char *name,
			     bool *stacks)
{
	char *path = sysfs_path("class/block/%s/queue/pci_p2pdma", name);
	char *text = first_line(path);
	enum answer takes = UNKNOWN;

	free(path);
	*stacks = text;
	if (text) {
		takes = !strcmp(text, "0") ? NO : YES;
		free(text);
		return takes;
	}
	/* Before Linux 6.11 it is in debugfs */
	path = sysfs_path("kernel/debug/block/%s/state", name);
	text = first_line(path);
	if (text && strstr(text, "PCI_P2PDMA"))
		takes = YES;
	else if (text && machine_release(machine) < RELEASE(6, 11))
		takes = NO;
	free(text);
	free(path);
	return takes;
}

/* @shown, @stacks: as ask_queue() has it; of other layers UNKNOWN and false */
static void apply_rules(const struct machine *machine, struct layer *layer,
			enum answer shown, bool stacks)
{
	unsigned int release = machine_release(machine);
	const struct rule *rule;

	for (rule = rules; rule < rules + ARRAY_SIZE(rules); rule++) {
		if (rule->kind == layer->kind &&
		    (!rule->type ||
		     !fnmatch(rule->type, layer->type, FNM_EXTMATCH)) &&
		    (rule->core == CORE_UNKNOWN ||
		     rule->core == machine->core) &&
		    (!rule->stacks || stacks) &&
		    (!release || release >= rule->since) &&
		    (shown == UNKNOWN || shown == rule->passes))
			break;
	}
	/* The last rule of a kind has no condition, unless the kernel shows it */
	if (rule < rules + ARRAY_SIZE(rules)) {
		layer->passes = rule->passes;
		layer->from_below = rule->from_below;
		layer->why = rule->why;
		layer->fix = rule->passes == YES ? NULL : rule->fix;
		if (shown == UNKNOWN &&
		    (!release || (rule->until && release > rule->until))) {
			layer->passes = UNKNOWN;
			layer->why = release ?
				"nothing is known of this kernel's release" :
				"the kernel's version isn't known";
			layer->fix = "try it: `lsp2p verify`";
		}
	} else {
		layer->passes = shown;
		layer->why = shown == YES ?
			"its queue has the feature PCI_P2PDMA" : NO_FEATURE;
	}
	layer->proven = shown != UNKNOWN;
}

static struct layer *block_layer(const struct machine *machine,
				 const char *name, int depth);
static struct layer *path_layer(const struct machine *machine,
				const char *path, int depth);

static void add_blocks(const struct machine *machine, struct layer *layer,
		       const char *folder, int depth)
{
	struct dirent **entries;
	int i, count = scandir(folder, &entries, visible, versionsort);

	for (i = 0; i < count; i++) {
		put_below(layer, block_layer(machine, entries[i]->d_name,
					     depth));
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

static void add_slaves(const struct machine *machine, struct layer *layer,
		       const char *folder, int depth)
{
	char *slaves = print("%s/slaves", folder);

	add_blocks(machine, layer, slaves, depth);
	free(slaves);
}

/* Appends a target's name to @types unless it is there */
static char *add_target(char *types, const char *target)
{
	size_t length = strlen(target);
	const char *at = types;
	char *more;

	/* Names may be a part of others: striped and unstriped */
	while ((at = strstr(at, target))) {
		if ((at == types || at[-1] == ',') &&
		    (!at[length] || at[length] == ','))
			return types;
		at += length;
	}
	more = print("%s%s%s", types, *types ? "," : "", target);
	free(types);
	return more;
}

/* The targets of a dm device; only root may ask, so "" if they aren't known */
static char *dm_targets(const char *folder)
{
	struct {
		struct dm_ioctl head;
		char data[16384];
	} ask = {
		.head = {
			.version = { DM_VERSION_MAJOR, 0, 0 },
			.data_size = sizeof(ask),
			.data_start = sizeof(ask.head),
			.flags = DM_STATUS_TABLE_FLAG,
		},
	};
	char *number = line_in(folder, "dev"), *uuid = line_in(folder, "dm/uuid");
	char *types = copy("");
	unsigned int major, minor, i, at = 0;
	struct dm_target_spec *spec;
	int control = -1;

	if (!getenv("LSP2P_ROOT"))
		control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	if (control >= 0 && number &&
	    sscanf(number, "%u:%u", &major, &minor) == 2) {
		ask.head.dev = makedev(major, minor);
		if (!ioctl(control, DM_TABLE_STATUS, &ask) &&
		    !(ask.head.flags & DM_BUFFER_FULL_FLAG)) {
			for (i = 0; i < ask.head.target_count; i++) {
				spec = (void *)ask.data + at;
				types = add_target(types, spec->target_type);
				at = spec->next;
			}
		}
	}
	if (control >= 0)
		close(control);
	/* Names that programs give their devices tell something, too */
	if (!*types && uuid && !strncmp(uuid, "CRYPT-", 6))
		types = add_target(types, "crypt");
	if (!*types && uuid && !strncmp(uuid, "mpath-", 6))
		types = add_target(types, "multipath");
	free(uuid);
	free(number);
	return types;
}

/* A disk's PCI function: the last one in its path; none for a virtual device */
static void add_function(struct layer *layer, const char *folder)
{
	char *path = copy(folder), *part, *rest = path, *driver, *device;
	char *found = NULL;
	const char *end;
	uint32_t domain;
	uint8_t bus, devfn;

	while ((part = strsep(&rest, "/"))) {
		end = text_address(part, &domain, &bus, &devfn);
		if (end && !*end)
			found = part;
	}
	if (found) {
		device = sysfs_path("bus/pci/devices/%s", found);
		driver = link_name(device, "driver");
		if (layer->kind == LAYER_DISK && driver) {
			free(layer->type);
			layer->type = copy(driver);
		}
		put_below(layer, layer_new(LAYER_PCI, found, driver));
		free(driver);
		free(device);
	}
	free(path);
}

/* Paths of NVMe multipath: hidden disks nvme<subsystem>c<controller>n<namespace> */
static void add_paths(const struct machine *machine, struct layer *layer,
		      const char *folder, int depth)
{
	struct dirent **disks, **controllers;
	unsigned int subsystem, head, of, controller, by;
	int i, j, count, disk_count, end;
	char *path, *subsys = print("%s/device", folder);

	count = scandir(subsys, &controllers, visible, versionsort);
	if (sscanf(layer->name, "nvme%un%u", &subsystem, &head) != 2)
		count = -1;
	for (i = 0; i < count; i++) {
		end = 0;
		if (sscanf(controllers[i]->d_name, "nvme%u%n", &controller,
			   &end) != 1 || controllers[i]->d_name[end]) {
			free(controllers[i]);
			continue;
		}
		path = print("%s/%s", subsys, controllers[i]->d_name);
		disk_count = scandir(path, &disks, visible, versionsort);
		for (j = 0; j < disk_count; j++) {
			if (sscanf(disks[j]->d_name, "nvme%uc%un%u%n", &of,
				   &by, &by, &end) == 3 &&
			    !disks[j]->d_name[end] && of == subsystem &&
			    by == head)
				put_below(layer, block_layer(machine,
							     disks[j]->d_name,
							     depth));
			free(disks[j]);
		}
		if (disk_count >= 0)
			free(disks);
		free(path);
		free(controllers[i]);
	}
	if (count >= 0)
		free(controllers);
	free(subsys);
}

static struct layer *nvme_layer(const struct machine *machine,
				const char *name, const char *folder, int depth)
{
	char *device = link_name(folder, "device");
	char *transport = line_in(folder, "device/transport");
	struct layer *layer;

	if (device && !strncmp(device, "nvme-subsys", 11)) {
		layer = layer_new(LAYER_MULTIPATH, name, "");
		add_paths(machine, layer, folder, depth);
	} else {
		layer = layer_new(LAYER_NVME, name,
				  transport ? transport : "");
		if (transport && !strcmp(transport, "pcie"))
			add_function(layer, folder);
	}
	free(transport);
	free(device);
	return layer;
}

static struct layer *block_layer(const struct machine *machine,
				 const char *name, int depth)
{
	char *folder = block_folder(name), *text;
	enum answer shown = UNKNOWN;
	struct layer *layer;
	bool stacks = false;
	int nvme;

	if (!folder || depth > MAX_DEPTH) {
		layer = layer_new(LAYER_DISK, name, "");
		layer->passes = UNKNOWN;
		layer->why = "it isn't in /sys/class/block";
		free(folder);
		return layer;
	}
	if (is_in(folder, "partition")) {
		layer = layer_new(LAYER_PARTITION, name, "");
		*strrchr(folder, '/') = '\0';
		put_below(layer, block_layer(machine, basename(folder),
					     depth + 1));
	} else if (is_in(folder, "dm")) {
		text = dm_targets(folder);
		layer = layer_new(LAYER_DM, name, text);
		free(text);
		add_slaves(machine, layer, folder, depth + 1);
	} else if (is_in(folder, "md")) {
		text = line_in(folder, "md/level");
		layer = layer_new(LAYER_MD, name, text);
		free(text);
		add_slaves(machine, layer, folder, depth + 1);
	} else if (is_in(folder, "loop")) {
		layer = layer_new(LAYER_LOOP, name, "");
		text = line_in(folder, "loop/backing_file");
		if (text)
			put_below(layer, path_layer(machine, text, depth + 1));
		free(text);
	} else if (sscanf(name, "nvme%d", &nvme) == 1) {
		layer = nvme_layer(machine, name, folder, depth + 1);
	} else {
		layer = layer_new(LAYER_DISK, name, "");
		add_slaves(machine, layer, folder, depth + 1);
		add_function(layer, folder);
	}
	if (layer->kind != LAYER_PARTITION)
		shown = ask_queue(machine, name, &stacks);
	apply_rules(machine, layer, shown, stacks);
	free(folder);
	return layer;
}

/* What /proc/self/mountinfo says of a mount */
struct mount {
	char *type, *source;
	unsigned int major, minor;
};

/* Undoes the octal escapes of mountinfo */
static void unescape(char *text)
{
	unsigned int value;
	char *to = text;

	for (; *text; to++) {
		if (sscanf(text, "\\%3o", &value) == 1) {
			*to = value;
			text += 4;
		} else {
			*to = *text++;
		}
	}
	*to = '\0';
}

static bool find_mount(uint64_t id, struct mount *mount)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	unsigned long long mnt;
	char *line = NULL, *rest;
	bool found = false;
	size_t room = 0;

	while (file && !found && getline(&line, &room, file) > 0) {
		if (sscanf(line, "%llu %*u %u:%u", &mnt, &mount->major,
			   &mount->minor) != 3 || mnt != id)
			continue;
		rest = strstr(line, " - ");
		found = rest && sscanf(rest, " - %ms %ms", &mount->type,
				       &mount->source) == 2;
	}
	free(line);
	if (file)
		fclose(file);
	if (found)
		unescape(mount->source);
	return found;
}

/* Name of the block device with this number, or NULL */
static char *block_name(unsigned int major, unsigned int minor)
{
	char *path = sysfs_path("dev/block/%u:%u", major, minor);
	char *real = realpath(path, NULL);
	char *name = real ? copy(basename(real)) : NULL;

	free(real);
	free(path);
	return name;
}

/* All disks of a btrfs, given one; false if there is no such file system */
static bool add_btrfs(const struct machine *machine, struct layer *layer,
		      const char *disk, int depth)
{
	char *folder = sysfs_path("fs/btrfs"), *devices, *path;
	struct dirent **entries;
	int i, count = scandir(folder, &entries, visible, alphasort);
	bool found = false;

	for (i = 0; i < count; i++) {
		devices = print("%s/%s/devices", folder, entries[i]->d_name);
		path = print("%s/%s", devices, disk);
		if (!found && !access(path, F_OK)) {
			add_blocks(machine, layer, devices, depth);
			found = true;
		}
		free(path);
		free(devices);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	free(folder);
	return found;
}

static struct layer *fs_layer(const struct machine *machine,
			      const struct statx *file, int depth)
{
	struct mount mount = { 0 };
	struct layer *layer;
	struct stat source;
	char *disk = NULL;

	if (!find_mount(file->stx_mnt_id, &mount)) {
		layer = layer_new(LAYER_FS, "?", "");
		apply_rules(machine, layer, UNKNOWN, false);
		return layer;
	}
	layer = layer_new(LAYER_FS, mount.source, mount.type);
	apply_rules(machine, layer, UNKNOWN, false);
	/* Some file systems have a device number of their own */
	if (file->stx_dev_major)
		disk = block_name(file->stx_dev_major, file->stx_dev_minor);
	else if (mount.source[0] == '/' && !stat(mount.source, &source) &&
		 S_ISBLK(source.st_mode))
		disk = block_name(major(source.st_rdev), minor(source.st_rdev));
	if (disk && (strcmp(mount.type, "btrfs") ||
		     !add_btrfs(machine, layer, disk, depth)))
		put_below(layer, block_layer(machine, disk, depth));
	free(disk);
	free(mount.type);
	free(mount.source);
	return layer;
}

/* NULL if @path can't be asked for, with errno */
static struct layer *path_layer(const struct machine *machine,
				const char *path, int depth)
{
	struct layer *layer;
	struct statx file;
	char *name;

	if (statx(AT_FDCWD, path, 0, STATX_BASIC_STATS | STATX_MNT_ID |
		  STATX_DIOALIGN, &file))
		return NULL;
	if (S_ISBLK(file.stx_mode)) {
		name = block_name(file.stx_rdev_major, file.stx_rdev_minor);
		layer = block_layer(machine, name ? name : path, depth);
		free(name);
		return layer;
	}
	if (!S_ISREG(file.stx_mode) && !S_ISDIR(file.stx_mode)) {
		errno = ENOTBLK;
		return NULL;
	}
	layer = layer_new(LAYER_FILE, path, "");
	if (S_ISREG(file.stx_mode) && (file.stx_mask & STATX_DIOALIGN) &&
	    !file.stx_dio_mem_align) {
		layer->passes = NO;
		layer->proven = true;
		layer->why = "no direct I/O: encrypted, compressed or journaled, say";
		layer->fix = "use a file without such attributes";
	}
	put_below(layer, fs_layer(machine, &file, depth + 1));
	return layer;
}

char *block_named(const char *text)
{
	struct stat node;
	char *folder;

	if (strchr(text, '/'))
		return !stat(text, &node) && S_ISBLK(node.st_mode) ?
			block_name(major(node.st_rdev), minor(node.st_rdev)) :
			NULL;
	folder = block_folder(text);
	if (!folder)
		return NULL;
	free(folder);
	return copy(text);
}

struct layer *stack_of_block(const struct machine *machine, const char *name)
{
	char *folder = block_folder(name);

	if (!folder) {
		fail("%s: no such block device; `lsblk` lists them", name);
		return NULL;
	}
	free(folder);
	return block_layer(machine, name, 0);
}

struct layer *stack_of_path(const struct machine *machine, const char *path)
{
	struct layer *layer;

	if (!*path) {
		fail("the name of the file is empty");
		return NULL;
	}
	layer = path_layer(machine, path, 0);
	/* A bare name may also be that of a block device */
	if (!layer && !strchr(path, '/'))
		return stack_of_block(machine, path);
	if (!layer)
		fail("%s: %s", path, errno == ENOTBLK ?
		     "neither a file nor a block device" : strerror(errno));
	return layer;
}

enum answer stack_passes(const struct layer *layer,
			 const struct layer **blocker)
{
	enum answer passes = YES, here, below;
	const struct layer *other;

	for (; layer; layer = layer->next) {
		here = layer->passes;
		below = stack_passes(layer->below, &other);
		if (here == NO && !(below == NO && layer->from_below)) {
			*blocker = layer;
			return NO;
		}
		if (below == NO) {
			*blocker = other;
			return NO;
		}
		if (passes == YES && (here == UNKNOWN || below == UNKNOWN)) {
			passes = UNKNOWN;
			*blocker = here == UNKNOWN ? layer : other;
		}
	}
	return passes;
}

/* What is true of the kernel as a whole: its reason, or NULL if all depends on layers */
static const char *kernel_refuses(const struct machine *machine)
{
	unsigned int release = machine_release(machine);

	if (machine->core == CORE_NONE)
		return "this kernel is built without CONFIG_PCI_P2PDMA";
	if (release && release < FIRST)
		return "before Linux 6.2 programs get no peer memory";
	return NULL;
}

static int name_width(const struct layer *layer, int indent)
{
	int width = 0, here;

	for (; layer; layer = layer->next) {
		here = indent + (int)strlen(layer->name);
		if (here > width)
			width = here;
		here = name_width(layer->below, indent + 2);
		if (here > width)
			width = here;
	}
	return width;
}

/* Names of files and types are anybody's text. */
static void make_printable(struct layer *layer)
{
	for (; layer; layer = layer->next) {
		printable(layer->name);
		printable(layer->type);
		make_printable(layer->below);
	}
}

static void print_layers(const struct layer *layer, const char *before,
			 int width)
{
	char *lead, *what;
	int used;

	for (; layer; layer = layer->next) {
		used = printf("%s%s%s", before,
			      before[0] || layer->next ?
			      layer->next ? "|-" : "`-" : "", layer->name);
		what = print("%s%s%s", kind_names[layer->kind],
			     layer->type[0] ? " " : "", layer->type);
		printf("%*s  %s", width > used ? width - used : 0, "", what);
		if (layer->kind != LAYER_PCI &&
		    (layer->kind != LAYER_FILE || layer->why)) {
			used = strlen(what);
			printf("%*s ", used < 20 ? 20 - used : 0, "");
			paint(answer_color(layer->passes),
			      answer_word(layer->passes));
			if (layer->proven)
				printf(", shown by the kernel");
		}
		putchar('\n');
		free(what);
		lead = print("%s%s", before, layer->next ? "| " : "  ");
		print_layers(layer->below, lead, width);
		free(lead);
	}
}

static void print_reasons(const struct layer *layer)
{
	for (; layer; layer = layer->next) {
		if (layer->why)
			printf("%s: %s\n", layer->name, layer->why);
		print_reasons(layer->below);
	}
}

void json_add_text(struct json_object *object, const char *name,
		   const char *text)
{
	json_object_object_add(object, name, json_object_new_string(text));
}

static struct json_object *layers_json(const struct layer *layer)
{
	struct json_object *list = json_object_new_array(), *object;

	for (; layer; layer = layer->next) {
		object = json_object_new_object();
		json_add_text(object, "name", layer->name);
		json_add_text(object, "kind", kind_names[layer->kind]);
		if (layer->type[0])
			json_add_text(object, "type", layer->type);
		if (layer->kind != LAYER_PCI) {
			json_add_text(object, "passes",
				      answer_word(layer->passes));
			json_object_object_add(object, "proven",
					       json_object_new_boolean(layer->proven));
		}
		if (layer->why)
			json_add_text(object, "why", layer->why);
		if (layer->fix)
			json_add_text(object, "fix", layer->fix);
		json_object_object_add(object, "below",
				       layers_json(layer->below));
		json_object_array_add(list, object);
	}
	return list;
}

int cmd_file(struct machine *machine, int argc, char **argv)
{
	const struct layer *blocker = NULL;
	struct json_object *answer;
	const char *why, *fix = NULL;
	enum answer passes;
	struct layer *stack;

	stack = stack_of_path(machine, argv[0]);
	if (!stack)
		return EXIT_UNKNOWN;

	passes = stack_passes(stack, &blocker);
	why = kernel_refuses(machine);
	if (why) {
		passes = NO;
	} else if (blocker) {
		why = blocker->why;
		fix = blocker->fix;
	} else if (!stack_find(stack, LAYER_NVME) &&
		   !stack_find(stack, LAYER_DISK)) {
		passes = UNKNOWN;
		why = "no disk was found below it";
	} else if (machine->core == CORE_UNKNOWN) {
		passes = UNKNOWN;
		why = "whether this kernel has CONFIG_PCI_P2PDMA isn't known";
	}

	if (options.json) {
		answer = json_answer(machine, "file");
		json_add_text(answer, "passes", answer_word(passes));
		if (why)
			json_add_text(answer, "why", why);
		if (fix)
			json_add_text(answer, "fix", fix);
		json_object_object_add(answer, "layers", layers_json(stack));
		json_print(answer);
	} else {
		make_printable(stack);
		print_layers(stack, "", name_width(stack, 0));
		putchar('\n');
		print_reasons(stack);
		putchar('\n');
		paint(answer_color(passes), answer_word(passes));
		printf(": ");
		if (passes == YES)
			puts("with O_DIRECT, peer memory gets through");
		else if (blocker && why == blocker->why)
			printf("%s: %s\n", blocker->name, why);
		else
			puts(why);
		if (fix)
			printf("fix: %s\n", fix);
	}
	stack_free(stack);
	return passes == YES ? EXIT_YES : passes == NO ? EXIT_NO : EXIT_UNKNOWN;
}
