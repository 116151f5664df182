// SPDX-License-Identifier: GPL-2.0
/*
 * lsp2p verify A B: moves data between A's memory and the disk B, and compares.
 *
 * Blocks of B, of several sizes and all over it, are read into system memory and
 * then, also by direct I/O, into memory of A, which holds the complement of what is
 * expected, so that each byte that doesn't arrive shows.  With --destructive also
 * from A's memory to B: each block is saved before it is overwritten, and put back
 * afterwards; signals end the command only between two blocks.  It writes to no
 * disk that is in use, or has something on it.
 *
 * It doesn't see which way packets take.  That the buffer lies in A's BAR is known
 * from /proc/self/pagemap.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <json-c/json.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lsp2p.h"
#include "stack.h"

#define PAGE		4096UL
#define LARGEST		(1024 * 1024UL)
#define PER_SIZE	(4 * LARGEST)	/* bytes to move, about, for each size */
#define MOST_PLACES	16		/* on the disk, for each size */
#define TRIES		3		/* for a block that others write to */

static const size_t sizes[] = { 4096, 65536, LARGEST };

/*
 * @peer: mapped memory of the owner, of @length bytes
 * @pages: how many of its pages are known to be in BAR @bar of the owner
 * @first, @second: system memory of @length bytes
 * @read, @written: bytes that were moved and were right
 * @blocks: how often that was
 * @changing: blocks left out, since others write to them
 */
struct verify {
	struct machine *machine;
	const struct device *owner, *client;
	const struct layer *stack;
	const char *disk;
	int file;
	uint64_t disk_size, read, written;
	size_t length;
	uint64_t *peer;
	uint64_t *first, *second;
	unsigned int pages, blocks, changing;
	int bar;
};

/* The owner's driver has left, and the mapping with it; no block is overwritten then */
static void on_sigbus(int number)
{
	static const char text[] =
		"lsp2p: the memory was taken away; has its driver left?\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(128 + number);
	_exit(EXIT_UNKNOWN);
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_sigbus };
	sigset_t stops;

	sigaction(SIGBUS, &action, NULL);
	sigemptyset(&stops);
	sigaddset(&stops, SIGHUP);
	sigaddset(&stops, SIGINT);
	sigaddset(&stops, SIGQUIT);
	sigaddset(&stops, SIGTERM);
	sigprocmask(SIG_BLOCK, &stops, NULL);
}

/* Has one of the signals come that are blocked? */
static bool is_stopped(void)
{
	sigset_t pending;

	sigpending(&pending);
	return !sigisemptyset(&pending);
}

/* A disk by its name, its node, or its only controller's: its name, or NULL */
static char *find_disk(const struct machine *machine, const char *text)
{
	const struct device *device;
	char address[ADDRESS_SIZE];
	char *pattern, *name;
	glob_t found;

	name = block_named(text);
	if (name)
		return name;
	device = device_named(machine, text);
	if (!device)
		return NULL;
	pattern = sysfs_path("bus/pci/devices/%s/nvme/nvme*/nvme*n*",
			     device_address(device, address));
	if (glob(pattern, 0, NULL, &found)) {
		fail("%s: no disk of it was found; name a block device", text);
	} else if (found.gl_pathc > 1) {
		fail("%s: it has %zu disks; name one, such as %s", text,
		     found.gl_pathc, basename(found.gl_pathv[0]));
	} else {
		name = block_named(basename(found.gl_pathv[0]));
	}
	globfree(&found);
	free(pattern);
	return name;
}

/* Appends the names of PCI functions to @names, each once; returns how many */
static unsigned int name_functions(const struct layer *layer, char *names,
				   size_t size)
{
	unsigned int count = 0;
	size_t used;

	for (; layer; layer = layer->next) {
		if (layer->kind == LAYER_PCI && !strstr(names, layer->name)) {
			used = strlen(names);
			snprintf(names + used, size - used, "%s%s",
				 used ? " " : "", layer->name);
			count++;
		}
		count += name_functions(layer->below, names, size);
	}
	return count;
}

/* The one PCI function below a disk, or NULL */
static const struct device *find_client(const struct machine *machine,
					const char *disk,
					const struct layer *stack)
{
	char names[512] = "";
	unsigned int count = name_functions(stack, names, sizeof(names));

	if (count == 1)
		return device_named(machine, names);
	if (count)
		fail("%s: data may take any of %u PCI functions, %s; name a disk that has one",
		     disk, count, names);
	else
		fail("%s: there is no PCI function below it", disk);
	return NULL;
}

/* How many pages of the buffer are in a BAR of the owner, and in which one */
static void locate(struct verify *verify)
{
	const struct bar *bars = verify->owner->bars;
	uint64_t entry, at;
	size_t i;
	int file, bar;

	file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	for (i = 0; file >= 0 && i < verify->length; i += PAGE) {
		at = ((uintptr_t)verify->peer + i) / PAGE * sizeof(entry);
		if (pread(file, &entry, sizeof(entry), at) != sizeof(entry))
			break;
		at = (entry & ((1ULL << 55) - 1)) * PAGE;
		for (bar = 0; at && bar < BARS; bar++) {
			if (!bars[bar].memory || at < bars[bar].start ||
			    at > bars[bar].end)
				continue;
			verify->pages++;
			verify->bar = bar;
		}
	}
	if (file >= 0)
		close(file);
}

/* Maps the owner's memory, as much as there is up to the largest block */
static int map_peer(struct verify *verify)
{
	char address[ADDRESS_SIZE], *path;
	const char *why = NULL;
	size_t i;
	void *at;
	int file;

	device_address(verify->owner, address);
	path = sysfs_path("bus/pci/devices/%s/p2pmem/allocate", address);
	file = open(path, O_RDWR | O_CLOEXEC);
	free(path);
	if (file < 0 && errno == ENOENT)
		return fail("%s: it has no memory that programs can get; lsp2p list shows which devices have some",
			    address);
	if (file < 0 && (errno == EACCES || errno == EPERM))
		return fail("%s: only root gets its memory; use sudo", address);
	if (file < 0)
		return fail("%s: p2pmem/allocate: %s", address, strerror(errno));
	for (i = ARRAY_SIZE(sizes); i-- > 0;) {
		at = mmap(NULL, sizes[i], PROT_READ | PROT_WRITE, MAP_SHARED,
			  file, 0);
		if (at != MAP_FAILED || errno != ENOMEM)
			break;
	}
	if (at == MAP_FAILED)
		why = errno == ENODEV ? "its driver doesn't publish its memory" :
		      errno == ENOMEM ? "none of its memory is free, see p2pmem/available" :
		      strerror(errno);
	close(file);
	if (why)
		return fail("%s: %s", address, why);
	verify->length = sizes[i];
	verify->peer = at;
	locate(verify);
	return EXIT_YES;
}

static uint64_t *system_memory(size_t length)
{
	void *at = mmap(NULL, length, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		err(EXIT_UNKNOWN, NULL);
	return at;
}

/* In whole words, as device memory wants it */
static void fill_complement(struct verify *verify, size_t length)
{
	size_t i;

	for (i = 0; i < length / sizeof(*verify->peer); i++)
		__atomic_store_n(&verify->peer[i], ~verify->first[i],
				 __ATOMIC_RELAXED);
}

static size_t first_difference(const uint64_t *a, const uint64_t *b,
			       size_t length)
{
	size_t i;

	for (i = 0; i < length / sizeof(*a); i++)
		if (__atomic_load_n(&a[i], __ATOMIC_RELAXED) != b[i])
			break;
	return i * sizeof(*a);
}

/* Why data between these two is refused, by the layers above the disk and by the route */
static int explain_refusal(const struct verify *verify, unsigned int direction)
{
	const struct layer *blocker;
	unsigned int reasons[P2PDMA_REASON_MAX], i, count;
	struct route route;
	enum answer may;

	fflush(stdout);
	if (stack_passes(verify->stack, &blocker) != YES)
		return fail("%s: refused: %s: %s; see lsp2p file %s",
			    verify->disk, blocker->name, blocker->why,
			    verify->disk), EXIT_NO;
	if (route_find(verify->machine, verify->owner, verify->client, &route))
		err(EXIT_UNKNOWN, NULL);
	may = direction == P2PDMA_READ ? route_reads(&route) : route_writes(&route);
	if (may == YES) {
		route_free(&route);
		return fail("%s: %s, although lsp2p why finds a route; see the kernel log",
			    verify->disk, strerror(EREMOTEIO)), EXIT_NO;
	}
	count = reasons_in_order(&route, reasons);
	fprintf(stderr, "lsp2p: %s: refused: it doesn't reach memory of %s: ",
		verify->disk, device_label(verify->owner));
	for (i = 0; i < count; i++)
		fprintf(stderr, "%s%s", i ? ", " : "", reason_slug(reasons[i]));
	fprintf(stderr, "%s; see lsp2p why %s %s\n", count ? "" : "unknown",
		device_node(verify->owner)[0] ? device_node(verify->owner) : "A",
		verify->disk);
	route_free(&route);
	return EXIT_NO;
}

static int io_failed(const struct verify *verify, const char *what,
		     uint64_t at, ssize_t moved, unsigned int direction)
{
	int error = errno;

	if (moved < 0 && error == EREMOTEIO && direction)
		return explain_refusal(verify, direction);
	return fail("%s: %s at byte %llu: %s", verify->disk, what,
		    (unsigned long long)at,
		    moved < 0 ? strerror(error) : "fewer bytes than asked for");
}

static int data_wrong(const struct verify *verify, const char *what,
		      uint64_t at)
{
	fail("%s: %s: byte %llu of the disk is wrong", verify->disk, what,
	     (unsigned long long)at);
	return EXIT_NO;
}

/* From the disk into the owner's memory; a block that others write to is left out */
static int read_block(struct verify *verify, uint64_t at, size_t length)
{
	size_t wrong;
	ssize_t moved;
	int try;

	for (try = 0; try < TRIES; try++) {
		moved = pread(verify->file, verify->first, length, at);
		if (moved != (ssize_t)length)
			return io_failed(verify, "reading", at, moved, 0);
		fill_complement(verify, length);
		moved = pread(verify->file, verify->peer, length, at);
		if (moved != (ssize_t)length)
			return io_failed(verify, "reading into peer memory", at,
					 moved, P2PDMA_WRITE);
		wrong = first_difference(verify->peer, verify->first, length);
		if (wrong == length) {
			verify->read += length;
			verify->blocks++;
			return EXIT_YES;
		}
		moved = pread(verify->file, verify->second, length, at);
		if (moved != (ssize_t)length)
			return io_failed(verify, "reading", at, moved, 0);
		if (!memcmp(verify->first, verify->second, length))
			return data_wrong(verify, "read into peer memory",
					  at + wrong);
	}
	verify->changing++;
	return EXIT_YES;
}

/* Puts a saved block back; if that fails, into a file */
static int restore(const struct verify *verify, uint64_t at, size_t length)
{
	char name[64];
	int file;

	if (pwrite(verify->file, verify->first, length, at) ==
	    (ssize_t)length &&
	    pread(verify->file, verify->second, length, at) ==
	    (ssize_t)length &&
	    !memcmp(verify->first, verify->second, length))
		return EXIT_YES;

	snprintf(name, sizeof(name), "lsp2p-saved-%llu.XXXXXX",
		 (unsigned long long)at);
	file = mkstemp(name);
	if (file < 0 || write(file, verify->first, length) != (ssize_t)length)
		return fail("%s: %zu bytes at byte %llu could not be put back, nor saved: %s",
			    verify->disk, length, (unsigned long long)at,
			    strerror(errno));
	close(file);
	return fail("%s: %zu bytes at byte %llu could not be put back; they are in ./%s",
		    verify->disk, length, (unsigned long long)at, name);
}

/* From the owner's memory to the disk, which has its own data again afterwards */
static int write_block(struct verify *verify, uint64_t at, size_t length)
{
	int status = EXIT_YES, restored;
	ssize_t moved;
	size_t i;

	moved = pread(verify->file, verify->first, length, at);
	if (moved != (ssize_t)length)
		return io_failed(verify, "reading", at, moved, 0);
	fill_complement(verify, length);
	moved = pwrite(verify->file, verify->peer, length, at);
	if (moved != (ssize_t)length) {
		status = io_failed(verify, "writing from peer memory", at, moved,
				   P2PDMA_READ);
	} else {
		moved = pread(verify->file, verify->second, length, at);
		if (moved != (ssize_t)length)
			status = io_failed(verify, "reading", at, moved, 0);
	}
	for (i = 0; status == EXIT_YES && i < length / sizeof(*verify->first);
	     i++)
		if (verify->second[i] != ~verify->first[i])
			status = data_wrong(verify, "written from peer memory",
					    at + i * sizeof(*verify->first));
	restored = restore(verify, at, length);
	if (restored != EXIT_YES)
		return restored;
	if (status == EXIT_YES) {
		verify->written += length;
		verify->blocks++;
	}
	return status;
}

/* Blocks of all sizes, from the first to the last one of the disk */
static int each_block(struct verify *verify,
		      int (*move)(struct verify *verify, uint64_t at,
				  size_t length))
{
	uint64_t count, place, places;
	int status = EXIT_YES;
	size_t i, size;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		size = sizes[i];
		count = verify->disk_size / size;
		places = PER_SIZE / size;
		if (places > MOST_PLACES)
			places = MOST_PLACES;
		if (places > count)
			places = count;
		if (size > verify->length)
			places = 0;
		for (place = 0; place < places; place++) {
			status = move(verify, places < 2 ? 0 :
				      place * (count - 1) / (places - 1) *
				      size, size);
			if (status != EXIT_YES)
				return status;
			if (is_stopped())
				return fail("%s: stopped by a signal after %u blocks",
					    verify->disk, verify->blocks);
		}
	}
	return status;
}

/* What begins at byte @at, or for negative numbers so far from the end */
struct signature {
	int64_t at;
	const char *bytes;
	size_t length;
	const char *name;
};

#define SIGNATURE(at, bytes, name)	{ at, bytes, sizeof(bytes) - 1, name }

static const struct signature signatures[] = {
	SIGNATURE(0x438, "\x53\xef", "ext2, ext3 or ext4"),
	SIGNATURE(0, "XFSB", "xfs"),
	SIGNATURE(0x10040, "_BHRfS_M", "btrfs"),
	SIGNATURE(0x400, "\x10\x20\xf5\xf2", "f2fs"),
	SIGNATURE(3, "NTFS    ", "ntfs"),
	SIGNATURE(0x1018, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca", "bcache or bcachefs"),
	SIGNATURE(0x1018, "\xc6\x85\x73\xf6\x66\xce\x90\xa9", "bcachefs"),
	SIGNATURE(0, "LUKS\xba\xbe", "LUKS"),
	SIGNATURE(0x000, "LABELONE", "LVM"),
	SIGNATURE(0x200, "LABELONE", "LVM"),
	SIGNATURE(0x400, "LABELONE", "LVM"),
	SIGNATURE(0x600, "LABELONE", "LVM"),
	SIGNATURE(0, "\xfc\x4e\x2b\xa9", "md"),
	SIGNATURE(0x1000, "\xfc\x4e\x2b\xa9", "md"),
	SIGNATURE(-0x2000, "\xfc\x4e\x2b\xa9", "md"),
	SIGNATURE(-0x3000, "\xfc\x4e\x2b\xa9", "md"),
	SIGNATURE(-0x10000, "\xfc\x4e\x2b\xa9", "md"),
	SIGNATURE(-0x20000, "\xfc\x4e\x2b\xa9", "md"),
	SIGNATURE(0xff6, "SWAPSPACE2", "swap"),
	SIGNATURE(0x20000, "\x0c\xb1\xba\x00", "zfs"),
	SIGNATURE(0, "bluestore block device", "Ceph"),
	SIGNATURE(0x200, "EFI PART", "a partition table"),
	SIGNATURE(0x1000, "EFI PART", "a partition table"),
	SIGNATURE(0x1fe, "\x55\xaa", "a partition table or FAT"),
	SIGNATURE(0x8001, "CD001", "ISO 9660"),
};

/* What is on the disk, or NULL; reads by the page */
static const char *find_signature(const struct verify *verify)
{
	const struct signature *signature;
	char *page = (char *)verify->first;
	uint64_t at;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(signatures); i++) {
		signature = &signatures[i];
		at = signature->at;
		if (signature->at < 0)
			at += verify->disk_size & ~(PAGE - 1);
		if (at > verify->disk_size)
			continue;
		if (pread(verify->file, page, PAGE, at & ~(PAGE - 1)) !=
		    (ssize_t)PAGE)
			return "data that can't be read";
		if (!memcmp(page + at % PAGE, signature->bytes,
			    signature->length))
			return signature->name;
	}
	return NULL;
}

static bool any_path(const char *format, const char *disk)
{
	char *pattern = sysfs_path(format, disk, disk);
	glob_t found;
	bool any = !glob(pattern, 0, NULL, &found);

	if (any)
		globfree(&found);
	free(pattern);
	return any;
}

/* Nothing may be on the disk, and nobody may use it while it is open */
static int check_unused(const struct verify *verify)
{
	const char *found;

	if (any_path("class/block/%s/%s*/partition", verify->disk))
		return fail("%s: it has partitions; lsp2p writes only to empty disks",
			    verify->disk);
	if (any_path("class/block/%s/holders/*", verify->disk))
		return fail("%s: other block devices use it; lsp2p writes only to empty disks",
			    verify->disk);
	found = find_signature(verify);
	if (found)
		return fail("%s: it holds %s; lsp2p writes only to empty disks",
			    verify->disk, found);
	return EXIT_YES;
}

static int open_disk(struct verify *verify)
{
	int how = options.destructive ? O_RDWR | O_EXCL : O_RDONLY;
	char *node;

	if (asprintf(&node, "/dev/%s", verify->disk) < 0)
		err(EXIT_UNKNOWN, NULL);
	verify->file = open(node, how | O_DIRECT | O_CLOEXEC);
	free(node);
	if (verify->file < 0 && errno == EBUSY)
		return fail("%s: it is in use, so lsp2p doesn't write to it",
			    verify->disk);
	if (verify->file < 0)
		return fail("%s: %s%s", verify->disk, strerror(errno),
			    errno == EACCES ? "; use sudo" : "");
	if (ioctl(verify->file, BLKGETSIZE64, &verify->disk_size))
		return fail("%s: %s", verify->disk, strerror(errno));
	if (verify->disk_size < sizes[0])
		return fail("%s: there is no whole block to read on it",
			    verify->disk);
	return options.destructive ? check_unused(verify) : EXIT_YES;
}

static int print_result(const struct verify *verify)
{
	struct json_object *answer;
	char length[16], moved[16];
	bool located = verify->pages == verify->length / PAGE;

	if (options.json) {
		answer = json_answer(verify->machine, "verify");
		json_object_object_add(answer, "owner",
				       json_device(verify->owner));
		json_object_object_add(answer, "client",
				       json_device(verify->client));
		json_add_text(answer, "disk", verify->disk);
		json_object_object_add(answer, "read_bytes",
				       json_object_new_int64(verify->read));
		json_object_object_add(answer, "written_bytes",
				       json_object_new_int64(verify->written));
		json_object_object_add(answer, "blocks",
				       json_object_new_int64(verify->blocks));
		json_object_object_add(answer, "changing_blocks",
				       json_object_new_int64(verify->changing));
		if (located)
			json_object_object_add(answer, "bar",
					       json_object_new_int(verify->bar));
		return json_print(answer);
	}

	printf("memory: %s of %s", size_text(verify->length, length),
	       device_label(verify->owner));
	if (located)
		printf(", in its BAR %d by /proc/self/pagemap\n", verify->bar);
	else
		printf("; /proc/self/pagemap doesn't tell in which BAR\n");
	printf("disk:   %s of %s\n", verify->disk,
	       device_label(verify->client));
	printf("read:   %s from the disk into this memory, all as in system memory\n",
	       size_text(verify->read, moved));
	if (options.destructive)
		printf("write:  %s from this memory to the disk, all right, and put back\n",
		       size_text(verify->written, moved));
	if (verify->changing)
		printf("left out: %u blocks that others were writing to\n",
		       verify->changing);
	paint(GREEN, "yes");
	printf(": data moved, in %u blocks\n", verify->blocks);
	return EXIT_YES;
}

static int run_verify(struct verify *verify)
{
	int status = map_peer(verify);

	if (status != EXIT_YES)
		return status;
	verify->first = system_memory(verify->length);
	verify->second = system_memory(verify->length);
	status = open_disk(verify);
	if (status != EXIT_YES)
		return status;
	catch_signals();
	status = each_block(verify, read_block);
	if (status == EXIT_YES && !verify->blocks)
		return fail("%s: others write to all blocks that were read; try again",
			    verify->disk);
	if (status == EXIT_YES && options.destructive)
		status = each_block(verify, write_block);
	if (options.destructive && fsync(verify->file))
		return fail("%s: flushing: %s", verify->disk, strerror(errno));
	return status == EXIT_YES ? print_result(verify) : status;
}

int cmd_verify(struct machine *machine, int argc, char **argv)
{
	struct verify verify = { .machine = machine, .file = -1 };
	struct layer *stack = NULL;
	char *disk, *named;
	int status = EXIT_UNKNOWN;

	verify.owner = device_named(machine, argv[0]);
	if (!verify.owner)
		return EXIT_UNKNOWN;
	disk = find_disk(machine, argv[1]);
	if (!disk)
		return EXIT_UNKNOWN;
	verify.disk = disk;
	if (options.destructive) {
		named = block_named(options.destructive);
		if (!named || strcmp(named, disk)) {
			status = fail("--destructive=%s: B is %s; nothing was written",
				      options.destructive, disk);
			free(named);
			goto out;
		}
		free(named);
	}
	stack = stack_of_block(machine, disk);
	if (!stack)
		goto out;
	verify.stack = stack;
	verify.client = find_client(machine, disk, stack);
	if (!verify.client)
		goto out;
	status = run_verify(&verify);
	if (verify.file >= 0)
		close(verify.file);
out:
	stack_free(stack);
	free(disk);
	return status;
}
