// SPDX-License-Identifier: GPL-2.0
/*
 * Counts the instructions of reading 128 KiB from an NVMe disk, O_DIRECT, into
 * memory of a device and into system memory: from the system call to the
 * interrupt that completes the read.
 *
 *	io_path IMAGE [NAME]
 *
 * The guest has a disk whose serial number is DISK, and whose bytes are those of
 * the file IMAGE, one device with p2pmem/allocate, and one CPU, whose time stamp
 * counter counts instructions.  With the NAME of a figure it reads forever and
 * counts nothing, for bench/where.
 *
 * The time that the disk takes must not count, and the counter also advances on
 * an idle CPU.  So the CPU never idles or switches to another process:
 * io_submit(2) submits the read, and the program polls the completion ring in
 * its own memory.  The instructions of polling are known, and are subtracted.
 * The median of the reads is one without a timer tick.
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
#define READS		501
#define DISK		"disk"		/* the id in io_path.toml */

/* The ring that io_setup() maps into the program; ABI that libaio uses, too */
static struct {
	unsigned int id, nr, head, tail;
	unsigned int magic, compat_features, incompat_features, header_length;
	struct io_event events[];
} *ring;

static int disk, image;
static off_t disk_size;
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

/* Open the disk to read; the controller with peer memory has another disk. */
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
		fd = open(path, O_RDONLY | O_DIRECT);
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

/* Return: instructions of one read */
static __u64 read_into(char *memory, off_t at)
{
	struct iocb request = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
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
			errx(1, "read: %s", strerror(-ring->events[tail].res));
		errx(1, "read: only %lld bytes", ring->events[tail].res);
	}
	return end - start - 3 * rounds;
}

static int compare(const void *a, const void *b)
{
	__u64 x = *(const __u64 *)a, y = *(const __u64 *)b;

	return x < y ? -1 : x > y;
}

static void count(const char *name, char *memory, bool forever)
{
	static char expected[SIZE];
	__u64 took[READS];
	off_t at = 0;
	int i;

	memset(memory, 0, SIZE);
	if (forever)
		fprintf(kernel_log, "p2pdma_bench: %s for ever\n", name);
	for (i = -WARM_UP; forever || i < READS; i++) {
		__u64 instructions;

		/* Another place each time, so that stale data would show */
		at = (at + SIZE) % disk_size;
		instructions = read_into(memory, at);
		if (i >= 0 && !forever)
			took[i] = instructions;
	}

	if (pread(image, expected, SIZE, at) != SIZE)
		err(1, "image");
	if (memcmp(memory, expected, SIZE))
		errx(1, "%s: what was read is not what is on the disk", name);

	qsort(took, READS, sizeof(took[0]), compare);
	fprintf(kernel_log, "p2pdma_bench: %s %llu 1\n", name,
		took[READS / 2]);
}

static const struct {
	const char *name;
	char *(*map)(void);
} memories[] = {
	{ "io_peer", map_peer },
	{ "io_system", map_system },
	{ "io_system_adjacent", map_adjacent },
	{ }
};

int main(int argc, char **argv)
{
	aio_context_t context = 0;
	bool found = false;
	unsigned int i;

	/* stderr goes to the kernel's log, where each write() is a line. */
	setlinebuf(stderr);
	if (argc < 2 || argc > 3)
		errx(2, "usage: %s IMAGE [NAME]", argv[0]);
	image = open(argv[1], O_RDONLY);
	if (image < 0)
		err(1, "%s", argv[1]);
	kernel_log = fopen("/dev/kmsg", "w");
	if (!kernel_log)
		err(1, "/dev/kmsg");
	setlinebuf(kernel_log);
	disk = open_disk();
	disk_size = lseek(disk, 0, SEEK_END);
	if (syscall(SYS_io_setup, 8, &context))
		err(1, "io_setup");
	ring = (void *)context;

	for (i = 0; memories[i].name; i++) {
		if (argv[2] && strcmp(argv[2], memories[i].name))
			continue;
		count(memories[i].name, memories[i].map(), argv[2]);
		found = true;
	}
	if (!found)
		errx(2, "there is no figure %s", argv[2]);
	return 0;
}
