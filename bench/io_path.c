// SPDX-License-Identifier: GPL-2.0
/*
 * Counts the instructions of reading 128 KiB from an NVMe disk, O_DIRECT, into
 * memory of a device and into system memory, or of writing it: from the system
 * call to the interrupt that completes it.
 *
 *	io_path [-f] [-d DEVICE] IMAGE FIGURE...
 *
 * The guest has a disk whose serial number is DISK, and whose bytes are those of
 * the file IMAGE, one device with p2pmem/allocate, and one CPU, whose time stamp
 * counter counts instructions.  DEVICE is another way to the same disk, or to the
 * same bytes, to be used instead.  Reads are from the second half, writes go to
 * the first.  With -f it repeats the first FIGURE forever and counts nothing, for
 * bench/where.
 *
 * The time that the disk takes must not count, and the counter also advances on
 * an idle CPU.  So the CPU never idles: io_submit(2) submits the request, and the
 * program polls the completion ring in its own memory.  The instructions of
 * polling are known, and are subtracted.  Threads of the kernel that a request
 * needs count: for them the program must be of the class SCHED_IDLE, so that they
 * run at once.  The median of the requests is one without a timer tick.
 *
 * The figures go to the kernel's log, as those of the module do.
 */

#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#define SIZE		(128 << 10)
#define PAGE		4096
#define LARGE		(16 << 20)
#define WARM_UP		64
#define REQUESTS	501
#define DISK		"disk"		/* the id in io_path.toml */

/* The ring that io_setup() maps into the program; ABI that libaio uses, too */
static struct {
	unsigned int id, nr, head, tail;
	unsigned int magic, compat_features, incompat_features, header_length;
	struct io_event events[];
} *ring;

static int local, disk, image;
static off_t half;		/* of the disk, in bytes */
static FILE *kernel_log;

/* Open the only file that matches @pattern */
static int open_only(const char *pattern, int flags)
{
	glob_t found;
	int fd;

	if (glob(pattern, 0, NULL, &found) || found.gl_pathc != 1)
		errx(1, "there must be one %s", pattern);
	fd = open(found.gl_pathv[0], flags);
	if (fd < 0)
		err(1, "%s", found.gl_pathv[0]);
	globfree(&found);
	return fd;
}

/* Open the disk; the controller with peer memory has another one. */
static int open_disk(void)
{
	static const char pattern[] = "/sys/block/nvme*/device/serial";
	char serial[64], path[64], name[32];
	int fd = -1;
	glob_t found;
	FILE *file;
	size_t i;

	if (glob(pattern, 0, NULL, &found))
		errx(1, "there is no %s", pattern);
	for (i = 0; fd < 0 && i < found.gl_pathc; i++) {
		file = fopen(found.gl_pathv[i], "r");
		if (!file || fscanf(file, "%63s", serial) != 1 ||
		    sscanf(found.gl_pathv[i], "/sys/block/%31[^/]", name) != 1)
			err(1, "%s", found.gl_pathv[i]);
		fclose(file);
		if (strcmp(serial, DISK))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", name);
		fd = open(path, O_RDWR | O_DIRECT);
		if (fd < 0)
			err(1, "%s", path);
	}
	if (fd < 0)
		errx(1, "no %s is '%s'", pattern, DISK);
	globfree(&found);
	return fd;
}

static char *map(size_t size, int flags, int fd)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (memory == MAP_FAILED)
		err(1, "mmap");
	return memory;
}

/* Free bytes of peer memory */
static long free_bytes(void)
{
	int fd = open_only("/sys/bus/pci/devices/*/p2pmem/available", O_RDONLY);
	char text[32] = "";

	if (read(fd, text, sizeof(text) - 1) < 0)
		err(1, "p2pmem/available");
	close(fd);
	return atol(text);
}

/* Memory of the device */
static char *map_peer(void)
{
	int fd = open_only("/sys/bus/pci/devices/*/p2pmem/allocate", O_RDWR);
	long before = free_bytes();
	char *memory = map(SIZE, MAP_SHARED, fd);

	if (before - free_bytes() != SIZE)
		errx(1, "p2pmem/allocate mapped memory of something else");
	close(fd);
	return memory;
}

/* Pages that aren't physically adjacent, as after a long uptime */
static char *map_system(void)
{
	char *memory = map(SIZE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char *between = map(SIZE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	int i;

	for (i = 0; i < SIZE; i += PAGE) {
		memory[i] = 1;
		between[i] = 1;
	}
	return memory;
}

/* Physically adjacent pages, as just after boot */
static char *map_adjacent(void)
{
	char *memory = map(LARGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	int i;

	for (i = 0; i < LARGE; i += PAGE)
		memory[i] = 1;
	return memory + LARGE / 2;
}

/*
 * Pages no two of which are physically adjacent: an RDMA adapter takes each of
 * them apart, so its work is the same in every run, whatever the other side's
 * memory is.
 */
static char *map_scattered(void)
{
	char *large = map(LARGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char *memory = map(SIZE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	int i;

	for (i = 0; i < LARGE; i += PAGE)
		large[i] = 1;
	for (i = 0; i < SIZE; i += PAGE)
		if (mremap(large + i * (LARGE / SIZE), PAGE, PAGE,
			   MREMAP_MAYMOVE | MREMAP_FIXED,
			   memory + i) == MAP_FAILED)
			err(1, "mremap");
	return memory;
}

/* Return: instructions of one request */
static __u64 transfer(int opcode, char *memory, off_t at)
{
	struct iocb request = {
		.aio_lio_opcode = opcode,
		.aio_fildes = disk,
		.aio_buf = (unsigned long)memory,
		.aio_nbytes = SIZE,
		.aio_offset = at,
	}, *requests = &request;
	unsigned int tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
	__u64 start, end, rounds = 0;

	ring->head = tail;
	start = __rdtsc();
	if (syscall(SYS_io_submit, ring, 1, &requests) != 1)
		err(1, "io_submit");
	/* Three instructions a round */
	asm volatile("1:	incq %0\n"
		     "	cmpl %1, %2\n"
		     "	je 1b"
		     : "+r" (rounds) : "r" (tail), "m" (ring->tail)
		     : "cc", "memory");
	end = __rdtsc();

	if (ring->events[tail].res != SIZE) {
		if (ring->events[tail].res < 0)
			errx(1, "%s", strerror(-ring->events[tail].res));
		errx(1, "only %lld bytes", ring->events[tail].res);
	}
	return end - start - 3 * rounds;
}

static int compare(const void *a, const void *b)
{
	__u64 x = *(const __u64 *)a, y = *(const __u64 *)b;

	return x < y ? -1 : x > y;
}

/* What was read is in the image, and what was written is on the disk. */
static void compare_data(const char *name, int opcode, const char *memory,
			 off_t at)
{
	char *expected = map(SIZE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	if (pread(opcode == IOCB_CMD_PREAD ? image : local, expected, SIZE,
		  at) != SIZE)
		err(1, "%s", name);
	if (memcmp(memory, expected, SIZE))
		errx(1, "%s: memory and disk differ", name);
	munmap(expected, SIZE);
}

static void count(const char *name, int opcode, char *memory, bool forever)
{
	off_t from = opcode == IOCB_CMD_PREAD ? half : 0, at = 0;
	__u64 took[REQUESTS];
	int i;

	for (i = 0; i < SIZE; i++)
		memory[i] = random();
	if (forever)
		fprintf(kernel_log, "p2pdma_bench: %s for ever\n", name);
	for (i = -WARM_UP; forever || i < REQUESTS; i++) {
		__u64 instructions;

		/* Another place each time, so that stale data would show */
		at = (at + SIZE) % half;
		instructions = transfer(opcode, memory, from + at);
		if (i >= 0 && !forever)
			took[i] = instructions;
	}
	compare_data(name, opcode, memory, from + at);

	qsort(took, REQUESTS, sizeof(took[0]), compare);
	fprintf(kernel_log, "p2pdma_bench: %s %llu 1\n", name,
		took[REQUESTS / 2]);
}

static const struct {
	const char *name;
	int opcode;
	char *(*map)(void);
} figures[] = {
	{ "io_peer",		IOCB_CMD_PREAD,		map_peer },
	{ "io_system",		IOCB_CMD_PREAD,		map_system },
	{ "io_system_adjacent",	IOCB_CMD_PREAD,		map_adjacent },
	/* From a device of the caller that stands on disks */
	{ "raid0_peer",		IOCB_CMD_PREAD,		map_peer },
	{ "raid0_system",	IOCB_CMD_PREAD,		map_system },
	{ "linear_peer",	IOCB_CMD_PREAD,		map_peer },
	{ "linear_system",	IOCB_CMD_PREAD,		map_system },
	{ "multipath_peer",	IOCB_CMD_PREAD,		map_peer },
	{ "multipath_system",	IOCB_CMD_PREAD,		map_system },
	/* By a target that the caller has set up */
	{ "nvmet_read_on",	IOCB_CMD_PREAD,		map_scattered },
	{ "nvmet_read_off",	IOCB_CMD_PREAD,		map_scattered },
	{ "nvmet_write_on",	IOCB_CMD_PWRITE,	map_scattered },
	{ "nvmet_write_off",	IOCB_CMD_PWRITE,	map_scattered },
	{ }
};

static void count_figure(const char *name, bool forever)
{
	unsigned int i;

	for (i = 0; figures[i].name; i++) {
		if (strcmp(name, figures[i].name))
			continue;
		count(name, figures[i].opcode, figures[i].map(), forever);
		return;
	}
	errx(2, "there is no figure %s", name);
}

int main(int argc, char **argv)
{
	aio_context_t context = 0;
	const char *device = NULL;
	bool forever = false;
	int option;

	/* stderr goes to the kernel's log, where each write() is a line. */
	setlinebuf(stderr);
	while ((option = getopt(argc, argv, "fd:")) != -1) {
		if (option == '?')
			return 2;
		if (option == 'f')
			forever = true;
		else
			device = optarg;
	}
	argv += optind;
	if (argc - optind < 2)
		errx(2, "usage: io_path [-f] [-d DEVICE] IMAGE FIGURE...");
	image = open(*argv, O_RDONLY);
	if (image < 0)
		err(1, "%s", *argv);
	kernel_log = fopen("/dev/kmsg", "w");
	if (!kernel_log)
		err(1, "/dev/kmsg");
	setlinebuf(kernel_log);
	local = open_disk();
	disk = device ? open(device, O_RDWR | O_DIRECT) : local;
	if (disk < 0)
		err(1, "%s", device);
	half = lseek(disk, 0, SEEK_END) / 2;
	if (syscall(SYS_io_setup, 8, &context))
		err(1, "io_setup");
	ring = (void *)context;

	while (*++argv)
		count_figure(*argv, forever);
	return 0;
}
