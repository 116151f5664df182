// SPDX-License-Identifier: GPL-2.0
/*
 * Disks made of peer memory, by samples/p2pdma/p2pdma_disk.c: data, O_DIRECT from
 * memory of another device, file systems, bad input, and providers and engines
 * that go away under I/O.
 *
 * Needs an ivshmem, and for most cases an LSI 53C895A as the engine and an NVMe
 * controller with a CMB as the other device.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define KiB		1024UL
#define PROVIDER	"p2pdma_ivshmem"
#define DISK		"p2pdma_disk"
#define FILES		"/sys/class/" DISK "/"
#define ARRAY		"/dev/md127"
#define MOUNT_POINT	"/tmp/p2pdma-disk"
#define IVSHMEM_IDS	"v00001AF4d00001110"
#define DISPLAY_IDS	"v00001234d00001111"

#define SIZE		(8 * MiB)
#define SECONDS		90		/* for a device to go or come */

/* ---- Disks ---- */

static int add(const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return file_write(FILES "add", text);
}

/* The disk of a device: its name, or -ENODEV */
static int disk_of(const char *bdf, char name[NAME_MAX])
{
	char pattern[PATH_MAX];
	glob_t found;
	int error;

	snprintf(pattern, sizeof(pattern),
		 "/sys/bus/pci/devices/%s/block/p2pdma*", bdf);
	error = glob(pattern, 0, NULL, &found) ? -ENODEV : 0;
	if (!error)
		snprintf(name, NAME_MAX, "%s",
			 strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);
	return error;
}

/* -errno, or a file */
static int disk_open(const char *bdf, int flags)
{
	char name[NAME_MAX], path[PATH_MAX];
	int error = disk_of(bdf, name), fd;

	if (error)
		return error;
	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC | flags);
	return fd < 0 ? -errno : fd;
}

static int disk_remove(const char *bdf)
{
	char name[NAME_MAX];

	return disk_of(bdf, name) ?: file_write(FILES "remove", name);
}

/* Does the queue take peer memory?  0, 1 or -errno */
static int takes_peer_memory(const char *bdf)
{
	char name[NAME_MAX], path[PATH_MAX];
	int error = disk_of(bdf, name);

	snprintf(path, sizeof(path), "/dev/%s", name);
	return error ?: queue_takes_peer_memory(path);
}

static int drivers_unload(void)
{
	int error = module_unload_named(DISK);

	error = error == -ENOENT ? 0 : error;
	module_unload_named(PROVIDER);
	module_unload_named(ENGINE);
	return error;
}

/* ---- A disk on an ivshmem ---- */

FIXTURE(disk)
{
	char bdf[BDF_LEN];
	char text[128];		/* what makes the disk */
	int fd;			/* of it, direct */
	char *system, *peer;	/* SIZE each; @peer is another device's */
};

FIXTURE_VARIANT(disk)
{
	bool pages;
	bool engine;
};

FIXTURE_VARIANT_ADD(disk, with_pages_by_engine)
{
	.pages = true, .engine = true,
};

FIXTURE_VARIANT_ADD(disk, with_pages_by_cpu)
{
	.pages = true,
};

FIXTURE_VARIANT_ADD(disk, without_pages_by_engine)
{
	.engine = true,
};

FIXTURE_VARIANT_ADD(disk, without_pages_by_cpu)
{
};

/* Loads the drivers: NULL, or why that can't be done */
static const char *drivers_load(bool pages, bool engine, char bdf[BDF_LEN])
{
	struct devices bound;

	if (getuid())
		return "needs root";
	drivers_unload();
	if (module_probe("-n -q", DISK))
		return "no module " DISK " (CONFIG_SAMPLE_P2PDMA_DISK)";
	if (find_device(IVSHMEM_IDS, bdf))
		return "no ivshmem";
	if (module_probe("", pages ? PROVIDER : PROVIDER " pages=0") ||
	    (engine && module_probe("", ENGINE)) || module_probe("", DISK))
		return "can't load the drivers";
	find_bound(ENGINE, &bound);
	if (engine && !bound.nr)
		return "no LSI 53C895A";
	if (!provider() || !strcmp(provider(), bdf))
		return "no other device with published memory";
	return NULL;
}

FIXTURE_SETUP(disk)
{
	const char *missing = drivers_load(variant->pages, variant->engine,
					   self->bdf);

	if (missing)
		SKIP(return, "%s", missing);
	if (variant->pages)
		snprintf(self->text, sizeof(self->text), "%s 8M", self->bdf);
	else
		snprintf(self->text, sizeof(self->text), "%s 8M 2 4M",
			 self->bdf);
	ASSERT_EQ(0, add(self->text));
	self->fd = disk_open(self->bdf, O_DIRECT);
	ASSERT_LE(0, self->fd);
	self->system = system_map(SIZE);
	ASSERT_NE(MAP_FAILED, self->system);
	self->peer = p2pmem_map(provider(), SIZE);
	ASSERT_NE(MAP_FAILED, self->peer);
}

FIXTURE_TEARDOWN(disk)
{
	munmap(self->peer, SIZE);
	munmap(self->system, SIZE);
	close(self->fd);
	EXPECT_EQ(0, drivers_unload());
}

static const struct {
	size_t at, length;	/* on the disk */
	size_t from;		/* in memory */
} transfers[] = {
	{ 0, 4 * KiB, 0 },
	{ 4 * KiB, 8 * KiB, 512 },
	{ 64 * KiB, 256 * KiB, 4 * KiB },
	{ 1 * MiB - 4 * KiB, 1 * MiB + 8 * KiB, 1536 },
	{ SIZE - 4 * KiB, 4 * KiB, 4 * KiB },
	{ 3 * MiB, 4 * MiB + 4 * KiB, 512 },
};

/* Writes and reads @memory directly, and finds nothing else changed */
static void transfer_all(struct __test_metadata *_metadata,
			 FIXTURE_DATA(disk) * self, char *memory,
			 const char *from, bool engine)
{
	char answer[LAB_ANSWER], *want = system_map(2 * SIZE), *have = want + SIZE;
	size_t i, length, at, bytes = 0;
	char *here;
	int fd;

	ASSERT_NE(MAP_FAILED, (void *)want);
	fd = disk_open(self->bdf, 0);
	ASSERT_LE(0, fd);
	fill(want, SIZE, 1);
	ASSERT_EQ((ssize_t)SIZE, pwrite(self->fd, want, SIZE, 0));

	ASSERT_EQ(0, engine_trace_begin());
	for (i = 0; i < ARRAY_SIZE(transfers); i++) {
		length = transfers[i].length;
		at = transfers[i].at;
		here = memory + transfers[i].from;
		fill(here, length, 10 + i);
		fill(want + at, length, 10 + i);
		EXPECT_EQ((ssize_t)length, pwrite(self->fd, here, length, at))
			TH_LOG("%zu bytes: %m", length);
		bytes += length;
	}
	EXPECT_TRUE(engine_moved(from, self->bdf, engine ? bytes : 0, answer))
		TH_LOG("%zu bytes, but:%s", bytes, answer);
	/* Through the page cache, which has nothing of it yet */
	EXPECT_EQ((ssize_t)SIZE, pread(fd, have, SIZE, 0));
	EXPECT_EQ(0, memcmp(have, want, SIZE));

	ASSERT_EQ(0, engine_trace_begin());
	for (i = 0; i < ARRAY_SIZE(transfers); i++) {
		length = transfers[i].length;
		at = transfers[i].at;
		here = memory + transfers[i].from;
		clear(here, length);
		EXPECT_EQ((ssize_t)length, pread(self->fd, here, length, at))
			TH_LOG("%zu bytes: %m", length);
		EXPECT_EQ(-1, first_wrong(here, length, 10 + i))
			TH_LOG("%zu bytes", length);
	}
	EXPECT_TRUE(engine_moved(self->bdf, from, engine ? bytes : 0, answer))
		TH_LOG("%zu bytes, but:%s", bytes, answer);
	close(fd);
	munmap(want, 2 * SIZE);
}

TEST_F(disk, system_memory)
{
	transfer_all(_metadata, self, self->system, "other", variant->engine);
}

/* By the engine, past system memory; a CPU doesn't copy that. */
TEST_F(disk, peer_memory)
{
	struct iovec iov[2] = {
		{ self->peer, 64 * KiB },
		{ self->system, 64 * KiB },
	};

	EXPECT_EQ(variant->engine, takes_peer_memory(self->bdf));
	if (variant->engine) {
		transfer_all(_metadata, self, self->peer, provider(), true);
		fill(self->peer, 64 * KiB, 30);
		fill(self->system, 64 * KiB, 31);
		EXPECT_EQ((ssize_t)(128 * KiB), pwritev(self->fd, iov, 2, 0));
		iov[0].iov_base = self->system;
		iov[1].iov_base = self->peer;
		EXPECT_EQ((ssize_t)(128 * KiB), preadv(self->fd, iov, 2, 0));
		EXPECT_EQ(-1, first_wrong(self->system, 64 * KiB, 30));
		EXPECT_EQ(-1, first_wrong(self->peer, 64 * KiB, 31));
		return;
	}
	fill(self->peer, 64 * KiB, 32);
	errno = 0;
	EXPECT_EQ(-1, pwrite(self->fd, self->peer, 64 * KiB, 0));
	EXPECT_EQ(EREMOTEIO, errno);
	errno = 0;
	EXPECT_EQ(-1, pread(self->fd, self->peer, 64 * KiB, 0));
	EXPECT_EQ(EREMOTEIO, errno);
	EXPECT_EQ(-1, first_wrong(self->peer, 64 * KiB, 32));
	ASSERT_EQ((ssize_t)SIZE, pread(self->fd, self->system, SIZE, 0));
	EXPECT_EQ(-1, first_nonzero(self->system, SIZE));
}

/* Clear at first; a discard clears; a flush has nothing to do. */
TEST_F(disk, discard)
{
	__u64 range[2] = { 1 * MiB + 4 * KiB, 2 * MiB + 8 * KiB };
	const size_t rest = range[0] + range[1];
	const unsigned long clears[] = { BLKDISCARD, BLKZEROOUT };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(clears); i++) {
		fill(self->system, SIZE, 40 + i);
		ASSERT_EQ((ssize_t)SIZE,
			  pwrite(self->fd, self->system, SIZE, 0));
		EXPECT_EQ(0, ioctl(self->fd, clears[i], range)) TH_LOG("%m");
		EXPECT_EQ(0, fsync(self->fd));
		clear(self->system, SIZE);
		ASSERT_EQ((ssize_t)SIZE,
			  pread(self->fd, self->system, SIZE, 0));
		EXPECT_EQ(-1, first_wrong(self->system, range[0], 40 + i));
		EXPECT_EQ(-1, first_nonzero(self->system + range[0], range[1]));
		EXPECT_NE(0, *(__u64 *)(self->system + rest));
	}

	close(self->fd);
	ASSERT_EQ(0, disk_remove(self->bdf));
	ASSERT_EQ(0, add(self->text));
	self->fd = disk_open(self->bdf, O_DIRECT);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ((ssize_t)SIZE, pread(self->fd, self->system, SIZE, 0));
	EXPECT_EQ(-1, first_nonzero(self->system, SIZE));
}

TEST_F(disk, fio)
{
	const char *how = "--direct=1 --rw=randwrite --ioengine=libaio --iodepth=16";
	const char *verify = "--bsrange=4k-256k --size=8m --verify=crc32c --verify_fatal=1";
	char name[NAME_MAX], command[PATH_MAX];

	if (system("command -v fio >/dev/null"))
		SKIP(return, "fio isn't installed");
	ASSERT_EQ(0, disk_of(self->bdf, name));
	snprintf(command, sizeof(command),
		 "fio --name=disk --filename=/dev/%s %s %s >/dev/null", name,
		 how, verify);
	EXPECT_EQ(0, system(command));
}

/* Files written directly from peer memory, if the disk takes it */
TEST_F(disk, ext4)
{
	const ssize_t length = 3 * MiB + 8 * KiB;
	char name[NAME_MAX], disk[PATH_MAX], command[2 * PATH_MAX];
	char *memory = variant->engine ? self->peer : self->system;
	char answer[LAB_ANSWER];
	int file;

	if (system("command -v mkfs.ext4 >/dev/null"))
		SKIP(return, "no mkfs.ext4");
	ASSERT_EQ(0, disk_of(self->bdf, name));
	snprintf(disk, sizeof(disk), "/dev/%s", name);
	snprintf(command, sizeof(command),
		 "mkfs.ext4 -q -F %s >/dev/null 2>&1", disk);
	ASSERT_EQ(0, system(command));
	mkdir(MOUNT_POINT, 0700);
	close(self->fd);
	self->fd = -1;
	ASSERT_EQ(0, mount(disk, MOUNT_POINT, "ext4", 0, NULL));

	file = open(MOUNT_POINT "/direct", O_RDWR | O_CREAT | O_DIRECT, 0600);
	EXPECT_LE(0, file);
	fill(memory, length, 51);
	EXPECT_EQ(length, pwrite(file, memory, length, 0));
	EXPECT_EQ(0, fsync(file));
	if (variant->engine) {
		/* Now that the blocks are allocated, nothing else is written */
		ASSERT_EQ(0, engine_trace_begin());
		EXPECT_EQ(length, pread(file, memory, length, 0));
		EXPECT_TRUE(engine_moved(self->bdf, provider(), length, answer))
			TH_LOG("%zu bytes, but:%s", length, answer);
	}
	close(file);
	/* All of it is on the disk after a remount. */
	EXPECT_EQ(0, umount(MOUNT_POINT));
	ASSERT_EQ(0, mount(disk, MOUNT_POINT, "ext4", 0, NULL));
	file = open(MOUNT_POINT "/direct", O_RDONLY);
	clear(self->system, length);
	EXPECT_EQ(length, pread(file, self->system, length, 0));
	EXPECT_EQ(-1, first_wrong(self->system, length, 51));
	close(file);
	/* Mounted, it isn't removed. */
	EXPECT_EQ(-EBUSY, disk_remove(self->bdf));
	EXPECT_EQ(0, umount(MOUNT_POINT));
}

/* A disk goes when nobody has it open, and so does the module. */
TEST_F(disk, removed)
{
	long long available = p2pmem_number(self->bdf, "available");

	EXPECT_EQ(-EBUSY, disk_remove(self->bdf));
	EXPECT_EQ(-EAGAIN, module_unload_named(DISK));
	if (variant->engine)
		EXPECT_EQ(-EAGAIN, module_unload_named(ENGINE));
	close(self->fd);
	EXPECT_EQ(0, disk_remove(self->bdf));
	EXPECT_EQ(-ENODEV, disk_open(self->bdf, 0));
	EXPECT_EQ(-ENODEV, file_write(FILES "remove", "p2pdma0"));
	if (variant->pages)
		EXPECT_EQ(available + (long long)SIZE,
			  p2pmem_number(self->bdf, "available"));

	ASSERT_EQ(0, add(self->text));
	EXPECT_EQ(0, module_unload_named(DISK));
	if (variant->pages)
		EXPECT_EQ(available + (long long)SIZE,
			  p2pmem_number(self->bdf, "available"));
	ASSERT_EQ(0, module_probe("", DISK));
	ASSERT_EQ(0, add(self->text));
	self->fd = disk_open(self->bdf, O_DIRECT);
	EXPECT_LE(0, self->fd);
}

TEST_F(disk, bad_input)
{
	const char *bdf = self->bdf;
	char display[BDF_LEN];
	int i;

	EXPECT_EQ(-EINVAL, add(" "));
	EXPECT_EQ(-EINVAL, add("%s", bdf));
	EXPECT_EQ(-EINVAL, add("%s 0", bdf));
	EXPECT_EQ(-EINVAL, add("%s 6K", bdf));
	EXPECT_EQ(-EINVAL, add("%s 4Q", bdf));
	EXPECT_EQ(-EINVAL, add("%s -4096", bdf));
	EXPECT_EQ(-EINVAL, add("%s 4K 2", bdf));
	EXPECT_EQ(-EINVAL, add("%s 4K 2 16M 1", bdf));
	EXPECT_EQ(-EINVAL, add("%s 4K 6 0", bdf));
	EXPECT_EQ(-EINVAL, add("%s 4K -1 0", bdf));
	EXPECT_EQ(-EINVAL, add("%s 4K 2 x", bdf));
	EXPECT_EQ(-ENODEV, add("0000:ff:1f.7 4K"));
	/* The root complex: no driver, or none with memory */
	EXPECT_EQ(-ENODEV, add("0000:00:00.0 4K"));
	EXPECT_EQ(-ENODEV, file_write(FILES "remove", "p2pdma99"));
	if (variant->pages) {
		EXPECT_EQ(-ENOMEM, add("%s 1G", bdf));
		EXPECT_EQ(-EINVAL, add("%s 4K 2 16M", bdf));
	} else {
		EXPECT_EQ(-ENODEV, add("%s 4K", bdf));
		/* Beyond the end; wrapping; not at a page */
		EXPECT_EQ(-EINVAL, add("%s 4K 2 64M", bdf));
		EXPECT_EQ(-EINVAL, add("%s 8K 2 0xfffffffffffff000", bdf));
		EXPECT_EQ(-EINVAL, add("%s 4K 2 512", bdf));
		/* Overlaps, at each end, and a neighbour */
		EXPECT_EQ(-EBUSY, add("%s 4K 2 4M", bdf));
		EXPECT_EQ(-EBUSY, add("%s 8K 2 0x3ff000", bdf));
		EXPECT_EQ(-EBUSY, add("%s 16M 2 0", bdf));
		EXPECT_EQ(-EBUSY, add("%s 8K 2 0xbff000", bdf));
		EXPECT_EQ(0, add("%s 4K 2 12M", bdf));
	}
	/* Its registers, as large as a block, and its memory without pages */
	if (!find_device(DISPLAY_IDS, display)) {
		EXPECT_EQ(-EINVAL, add("%s 4K 2 0", display));
		EXPECT_EQ(0, add("%s 4K 0 0", display));
	}

	/* The disk still works, and nothing is held by what was refused. */
	for (i = 0; i < 2; i++) {
		fill(self->system, SIZE, 60 + i);
		EXPECT_EQ((ssize_t)SIZE,
			  pwrite(self->fd, self->system, SIZE, 0));
		clear(self->system, SIZE);
		EXPECT_EQ((ssize_t)SIZE,
			  pread(self->fd, self->system, SIZE, 0));
		EXPECT_EQ(-1, first_wrong(self->system, SIZE, 60 + i));
	}
}

/* ---- Drivers and devices go under I/O ---- */

#define PROCESSES	4
#define PART		(SIZE / PROCESSES)
#define PIECE		(64 * KiB)

/* A process that does I/O until it fails */
struct worker {
	long done;
	int error;
	bool wrong;	/* data that was read isn't what was written */
};

struct workers {
	struct worker *worker;		/* shared with the processes */
	pid_t pid[PROCESSES];
};

/* Each writes a part of its own, and reads it back. */
static void work(const char *bdf, struct worker *worker, int nr)
{
	int fd = disk_open(bdf, nr % 2 ? O_DIRECT : O_DIRECT | O_SYNC);
	char *memory = system_map(PIECE);
	ssize_t done = PIECE;
	long seed;
	off_t at;

	while (done == (ssize_t)PIECE) {
		seed = worker->done + nr * 1000;
		at = nr * PART + worker->done * PIECE % PART;
		errno = 0;
		fill(memory, PIECE, seed);
		done = pwrite(fd, memory, PIECE, at);
		if (done != (ssize_t)PIECE)
			break;
		clear(memory, PIECE);
		done = pread(fd, memory, PIECE, at);
		if (done == (ssize_t)PIECE &&
		    first_wrong(memory, PIECE, seed) != -1)
			worker->wrong = true;
		__atomic_add_fetch(&worker->done, 1, __ATOMIC_RELAXED);
	}
	worker->error = errno;
	_exit(0);
}

static void workers_start(struct workers *workers, const char *bdf)
{
	int i;

	workers->worker = mmap(NULL, PROCESSES * sizeof(*workers->worker),
			       PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (i = 0; i < PROCESSES; i++) {
		workers->pid[i] = fork();
		if (workers->pid[i])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		work(bdf, &workers->worker[i], i);
	}
}

/* Has each done that many transfers, and gone on? */
static bool workers_work(const struct workers *workers, long done)
{
	int i, status;

	for (i = 0; i < PROCESSES; i++)
		if (__atomic_load_n(&workers->worker[i].done,
				    __ATOMIC_RELAXED) < done ||
		    waitpid(workers->pid[i], &status, WNOHANG))
			return false;
	return true;
}

static long workers_most(const struct workers *workers)
{
	long most = 0;
	int i;

	for (i = 0; i < PROCESSES; i++)
		if (workers->worker[i].done > most)
			most = workers->worker[i].done;
	return most;
}

/*
 * Waits for the end of all.  A disk that went fails what had begun, and has no
 * capacity: a later write gets ENOSPC, a later read the end of the disk.
 */
static void workers_end(struct __test_metadata *_metadata,
			struct workers *workers)
{
	int i, status, patience = SECONDS;
	struct worker *worker;

	for (i = 0; i < PROCESSES; i++) {
		worker = &workers->worker[i];
		if (!wait_for(waitpid(workers->pid[i], &status, WNOHANG) ==
			      workers->pid[i], patience)) {
			EXPECT_TRUE(false) TH_LOG("process %d goes on", i);
			kill(workers->pid[i], SIGKILL);
			patience = 1;
			continue;
		}
		EXPECT_TRUE(worker->error == EIO || worker->error == ENOSPC ||
			    worker->error == 0)
			TH_LOG("process %d: %s", i, strerror(worker->error));
		EXPECT_FALSE(worker->wrong) TH_LOG("process %d", i);
	}
	munmap(workers->worker, PROCESSES * sizeof(*workers->worker));
}

static void workers_kill(struct __test_metadata *_metadata,
			 struct workers *workers)
{
	int i;

	for (i = 0; i < PROCESSES; i++) {
		kill(workers->pid[i], SIGKILL);
		waitpid(workers->pid[i], NULL, 0);
		EXPECT_FALSE(workers->worker[i].wrong);
	}
	munmap(workers->worker, PROCESSES * sizeof(*workers->worker));
}

TEST_F(disk, provider_unbound)
{
	long long available = p2pmem_number(self->bdf, "available");
	struct workers workers;
	char name[NAME_MAX];
	int round;

	close(self->fd);
	for (round = 0; round < times(3); round++) {
		workers_start(&workers, self->bdf);
		ASSERT_TRUE(wait_for(workers_work(&workers, 2), SECONDS));
		ASSERT_EQ(0, pci_unbind(self->bdf));
		EXPECT_EQ(-ENODEV, disk_of(self->bdf, name));
		EXPECT_EQ(-ENODEV, add(self->text));
		workers_end(_metadata, &workers);

		ASSERT_EQ(0, pci_bind(self->bdf, PROVIDER));
		ASSERT_EQ(0, add(self->text)) TH_LOG("round %d", round);
		if (variant->pages)
			EXPECT_EQ(available,
				  p2pmem_number(self->bdf, "available"));
	}
	self->fd = disk_open(self->bdf, O_DIRECT);
	ASSERT_LE(0, self->fd);
}

/* ---- With an engine ---- */

FIXTURE(engine)
{
	char bdf[BDF_LEN];
	char lsi[BDF_LEN];
};

FIXTURE_SETUP(engine)
{
	const char *missing = drivers_load(true, true, self->bdf);
	struct devices bound;

	if (missing)
		SKIP(return, "%s", missing);
	find_bound(ENGINE, &bound);
	snprintf(self->lsi, BDF_LEN, "%s", bound.name[0]);
}

FIXTURE_TEARDOWN(engine)
{
	EXPECT_EQ(0, drivers_unload());
}

/* The CPU takes over, and I/O goes on; the next disk has the engine again. */
TEST_F(engine, unbound)
{
	struct workers workers;
	int round;
	long done;

	for (round = 0; round < times(3); round++) {
		ASSERT_EQ(0, add("%s 8M", self->bdf));
		EXPECT_EQ(1, takes_peer_memory(self->bdf));
		workers_start(&workers, self->bdf);
		ASSERT_TRUE(wait_for(workers_work(&workers, 2), SECONDS));
		ASSERT_EQ(0, pci_unbind(self->lsi));
		EXPECT_EQ(0, takes_peer_memory(self->bdf));
		done = workers_most(&workers);
		EXPECT_TRUE(wait_for(workers_work(&workers, done + 2),
				     SECONDS));
		workers_kill(_metadata, &workers);
		ASSERT_EQ(0, pci_bind(self->lsi, ENGINE));
		EXPECT_EQ(0, takes_peer_memory(self->bdf));
		ASSERT_EQ(0, disk_remove(self->bdf));
	}
}

/* A disk keeps its engine; without one, disks work as well. */
TEST_F(engine, taken)
{
	ASSERT_EQ(0, add("%s 8M", self->bdf));
	EXPECT_EQ(1, takes_peer_memory(self->bdf));
	ASSERT_EQ(0, add("%s 8M", provider()));
	EXPECT_EQ(0, takes_peer_memory(provider()));
	EXPECT_EQ(0, disk_remove(self->bdf));
	EXPECT_EQ(0, disk_remove(provider()));
	ASSERT_EQ(0, add("%s 8M", provider()));
	EXPECT_EQ(1, takes_peer_memory(provider()));
}

/* md asks the disk whether it reaches the memory. */
TEST_F(engine, below_md)
{
	char *memory = system_map(MiB), *peer = p2pmem_map(provider(), MiB);
	char name[NAME_MAX], command[PATH_MAX], answer[LAB_ANSWER];
	int fd;

	if (system("command -v mdadm >/dev/null"))
		SKIP(return, "no mdadm");
	if (module_probe("", "linear"))
		SKIP(return, "no module linear (CONFIG_MD_LINEAR)");
	ASSERT_EQ(0, add("%s 8M", self->bdf));
	ASSERT_EQ(0, disk_of(self->bdf, name));
	snprintf(command, sizeof(command),
		 "mdadm --build " ARRAY " -l linear -n 1 --force /dev/%s >/dev/null 2>&1",
		 name);
	ASSERT_EQ(0, system(command));
	fd = open(ARRAY, O_RDWR | O_DIRECT);
	EXPECT_LE(0, fd);
	fill(peer, MiB, 90);
	ASSERT_EQ(0, engine_trace_begin());
	EXPECT_EQ((ssize_t)MiB, pwrite(fd, peer, MiB, 0)) TH_LOG("%m");
	EXPECT_TRUE(engine_moved(provider(), self->bdf, MiB, answer))
		TH_LOG("moved:%s", answer);
	EXPECT_EQ((ssize_t)MiB, pread(fd, memory, MiB, 0));
	EXPECT_EQ(-1, first_wrong(memory, MiB, 90));

	/* The feature of the array stays, but nothing reaches the memory. */
	ASSERT_EQ(0, pci_unbind(self->lsi));
	errno = 0;
	EXPECT_EQ(-1, pwrite(fd, peer, MiB, 0));
	EXPECT_EQ(EREMOTEIO, errno);
	EXPECT_EQ((ssize_t)MiB, pread(fd, memory, MiB, 0));
	close(fd);
	EXPECT_EQ(0, system("mdadm --stop " ARRAY " >/dev/null 2>&1"));
	ASSERT_EQ(0, pci_bind(self->lsi, ENGINE));
	munmap(memory, MiB);
	munmap(peer, MiB);
}

static int add_one(void *bdf)
{
	return add("%s 64K", (char *)bdf);
}

/* A disk that can't be made leaves nothing behind. */
TEST_F(engine, no_memory)
{
	long long available = p2pmem_number(self->bdf, "available");
	int nth, error, refused = 0;
	char name[NAME_MAX];
	bool failed;

	if (!inject_faults(true))
		SKIP(return, "this kernel can't let allocations fail");
	for (nth = 1;; nth++) {
		error = call_failing(nth, add_one, self->bdf, &failed);
		ASSERT_NE(-ENODEV, error);
		if (error) {
			/* The block layer's error if it can't allocate the name */
			ASSERT_TRUE(error == -ENOMEM || error == -EINVAL)
				TH_LOG("allocation %d: %s", nth,
				       strerror(-error));
			ASSERT_EQ(available,
				  p2pmem_number(self->bdf, "available"))
				TH_LOG("allocation %d", nth);
			ASSERT_EQ(-ENODEV, disk_of(self->bdf, name));
			refused++;
		} else {
			ASSERT_EQ(0, disk_remove(self->bdf));
		}
		if (!failed)
			break;
	}
	TH_LOG("%d of %d allocations refused the disk", refused, nth - 1);
	EXPECT_LT(10, refused);
	ASSERT_EQ(0, add_one(self->bdf));
	EXPECT_EQ(1, takes_peer_memory(self->bdf));
}

/* An engine that lacks memory: the CPU copies, but not from peers. */
TEST_F(engine, lacks_memory)
{
	char *memory = system_map(MiB), *peer = p2pmem_map(provider(), MiB);
	char answer[LAB_ANSWER];
	int fd;

	if (!inject_faults(false))
		SKIP(return, "this kernel can't let allocations fail");
	ASSERT_EQ(0, add("%s 8M", self->bdf));
	fd = disk_open(self->bdf, O_DIRECT);
	ASSERT_LE(0, fd);
	fill(memory, MiB, 70);
	fill(peer, MiB, 71);

	ASSERT_EQ(0, engine_trace_begin());
	ASSERT_EQ(0, fail_allocations_of("lsi_prep_memcpy"));
	EXPECT_EQ((ssize_t)MiB, pwrite(fd, memory, MiB, 0));
	clear(memory, MiB);
	EXPECT_EQ((ssize_t)MiB, pread(fd, memory, MiB, 0));
	errno = 0;
	EXPECT_EQ(-1, pwrite(fd, peer, MiB, 0));
	EXPECT_EQ(ENOMEM, errno);
	ASSERT_EQ(0, fail_allocations_of(NULL));
	EXPECT_EQ(-1, first_wrong(memory, MiB, 70));
	EXPECT_TRUE(engine_moved("", "", 0, answer)) TH_LOG("moved:%s", answer);

	EXPECT_EQ((ssize_t)MiB, pwrite(fd, peer, MiB, 0));
	EXPECT_EQ((ssize_t)MiB, pread(fd, memory, MiB, 0));
	EXPECT_EQ(-1, first_wrong(memory, MiB, 71));
	munmap(memory, MiB);
	munmap(peer, MiB);
	close(fd);
}

/* ---- Where the engine doesn't reach the memory ---- */

FIXTURE(refused)
{
	char bdf[BDF_LEN];
};

FIXTURE_SETUP(refused)
{
	const char *missing = drivers_load(true, true, self->bdf);

	if (missing)
		SKIP(return, "%s", missing);
	if (!is_refused())
		SKIP(return, "P2PDMA_ROUTE isn't \"refused\"");
}

FIXTURE_TEARDOWN(refused)
{
	EXPECT_EQ(0, drivers_unload());
}

TEST_F(refused, by_cpu)
{
	char *memory = system_map(MiB), *peer = p2pmem_map(provider(), MiB);
	int fd;

	ASSERT_EQ(0, add("%s 8M", self->bdf));
	EXPECT_EQ(0, takes_peer_memory(self->bdf));
	fd = disk_open(self->bdf, O_DIRECT);
	ASSERT_LE(0, fd);
	fill(memory, MiB, 80);
	EXPECT_EQ((ssize_t)MiB, pwrite(fd, memory, MiB, 0));
	clear(memory, MiB);
	EXPECT_EQ((ssize_t)MiB, pread(fd, memory, MiB, 0));
	EXPECT_EQ(-1, first_wrong(memory, MiB, 80));
	errno = 0;
	EXPECT_EQ(-1, pread(fd, peer, MiB, 0));
	EXPECT_EQ(EREMOTEIO, errno);
	/* The engine is free for others. */
	EXPECT_EQ(0, module_unload_named(ENGINE));
	munmap(memory, MiB);
	munmap(peer, MiB);
	close(fd);
}

/* ---- A disk on a controller's memory, which is unplugged ---- */

FIXTURE(cmb)
{
	char bdf[BDF_LEN];
	long long available;
};

FIXTURE_SETUP(cmb)
{
	char bdf[BDF_LEN];
	const char *missing = drivers_load(true, false, bdf);

	if (missing)
		SKIP(return, "%s", missing);
	if (!have_lab() || !provider())
		SKIP(return, "no lab to unplug a provider");
	snprintf(self->bdf, BDF_LEN, "%s", provider());
	self->available = p2pmem_number(self->bdf, "available");
}

static bool cmb_is_back(FIXTURE_DATA(cmb) * self)
{
	return wait_for(p2pmem_number(self->bdf, "published") == 1 &&
			p2pmem_number(self->bdf, "available") ==
			self->available, SECONDS);
}

FIXTURE_TEARDOWN(cmb)
{
	EXPECT_EQ(0, drivers_unload());
	EXPECT_TRUE(cmb_is_back(self));
}

static int ask_lab(const char *request)
{
	char answer[256];
	int error;

	/* A slot is busy until it is done with the previous request. */
	wait_for(!(error = lab(answer, sizeof(answer), "%s ssd1", request)) ||
		 !strstr(answer, "guest is busy"), SECONDS);
	if (error)
		ksft_print_msg("lab: %s: %s\n", request, answer);
	return error;
}

static int cmb_unplug(const char *bdf)
{
	return ask_lab("unplug");
}

static int cmb_plug(const char *bdf)
{
	return ask_lab("plug");
}

static int cmb_bind(const char *bdf)
{
	return pci_bind(bdf, "nvme");
}

/* By turns, an engine and the CPU copy */
static void cmb_goes(struct __test_metadata *_metadata,
		     FIXTURE_DATA(cmb) * self, int rounds,
		     int (*go)(const char *bdf), int (*come)(const char *bdf))
{
	struct workers workers;
	char name[NAME_MAX];
	int round, engine;

	for (round = 0; round < rounds; round++) {
		engine = !(round % 2);
		if (engine)
			ASSERT_EQ(0, module_probe("", ENGINE));
		ASSERT_EQ(0, add("%s 8M", self->bdf)) TH_LOG("round %d", round);
		EXPECT_EQ(engine, takes_peer_memory(self->bdf));
		workers_start(&workers, self->bdf);
		ASSERT_TRUE(wait_for(workers_work(&workers, 2), SECONDS));
		ASSERT_EQ(0, go(self->bdf));
		EXPECT_EQ(-ENODEV, disk_of(self->bdf, name));
		workers_end(_metadata, &workers);

		/* No disk holds the engine any more. */
		if (engine)
			EXPECT_EQ(0, module_unload_named(ENGINE));
		ASSERT_EQ(0, come(self->bdf));
		ASSERT_TRUE(cmb_is_back(self));
	}
}

TEST_F_TIMEOUT(cmb, unbound, 1500)
{
	cmb_goes(_metadata, self, times(4), pci_unbind, cmb_bind);
}

/* A slot takes seconds each time. */
TEST_F_TIMEOUT(cmb, unplugged, 1500)
{
	cmb_goes(_metadata, self, times(2), cmb_unplug, cmb_plug);
}

TEST_HARNESS_MAIN
