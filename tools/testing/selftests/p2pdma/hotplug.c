// SPDX-License-Identifier: GPL-2.0
/*
 * Devices that go away while they are used, and come back: the provider or a
 * client is unbound from its driver, removed through sysfs, or unplugged by the
 * lab, with mappings alive and I/O running. Then accesses to the provider's
 * mappings raise SIGBUS, I/O ends with an error, and nothing hangs. When the
 * device is back, everything works and all memory is available.
 *
 * The provider must be an NVMe controller with a CMB: its driver registers the
 * memory again by itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define LENGTH		(1 * MiB)
#define PIECE		(64 * 1024UL)
#define DISK_OFFSET	(1 * MiB)
#define SECONDS		90		/* for a device to come back */
#define LAST_ROUND	60		/* of a race that must happen by then */

static size_t page;

struct device {
	char bdf[BDF_LEN];
	char driver[NAME_MAX];
	char serial[64];		/* also its name in the lab */
};

/* Ways to go away and to come back; each returns 0 or -errno. */
static int come_by_bind(const struct device *dev)
{
	return pci_bind(dev->bdf, dev->driver);
}

static int go_by_unbind(const struct device *dev)
{
	return pci_unbind(dev->bdf);
}

static int go_by_remove(const struct device *dev)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove",
		 dev->bdf);
	return file_write(path, "1");
}

static int come_by_rescan(const struct device *dev)
{
	return file_write("/sys/bus/pci/rescan", "1");
}

static int ask_lab(const char *request, const struct device *dev)
{
	char answer[256];
	int error;

	/* A slot is busy until it is done with the previous request. */
	wait_for(!(error = lab(answer, sizeof(answer), "%s %s", request,
			       dev->serial)) ||
		 !strstr(answer, "guest is busy"), SECONDS);
	if (error)
		ksft_print_msg("lab: %s %s: %s\n", request, dev->serial,
			       answer);
	return error;
}

static int go_by_unplug(const struct device *dev)
{
	return ask_lab("unplug", dev);
}

static int come_by_plug(const struct device *dev)
{
	return ask_lab("plug", dev);
}

struct way {
	int (*go)(const struct device *dev);
	int (*come)(const struct device *dev);
	bool needs_lab;
};

static const struct way unbind = { go_by_unbind, come_by_bind, false };
static const struct way removal = { go_by_remove, come_by_rescan, false };
static const struct way unplug = { go_by_unplug, come_by_plug, true };

FIXTURE(hotplug)
{
	struct device provider, client;
	struct device *target;		/* which of them goes */
	long long size, available;	/* of the provider, before */
	char disk[NAME_MAX];		/* of the client, now */
};

FIXTURE_VARIANT(hotplug)
{
	const struct way *way;
	bool provider_goes;
};

FIXTURE_VARIANT_ADD(hotplug, provider_unbound) {
	.way = &unbind, .provider_goes = true,
};

FIXTURE_VARIANT_ADD(hotplug, client_unbound) {
	.way = &unbind,
};

FIXTURE_VARIANT_ADD(hotplug, provider_removed) {
	.way = &removal, .provider_goes = true,
};

FIXTURE_VARIANT_ADD(hotplug, client_removed) {
	.way = &removal,
};

FIXTURE_VARIANT_ADD(hotplug, provider_unplugged) {
	.way = &unplug, .provider_goes = true,
};

FIXTURE_VARIANT_ADD(hotplug, client_unplugged) {
	.way = &unplug,
};

static int serial_of(const char *bdf, char *serial, size_t size)
{
	char pattern[PATH_MAX];
	glob_t found;
	int n = -ENODEV;

	snprintf(pattern, sizeof(pattern),
		 "/sys/bus/pci/devices/%s/nvme/nvme*/serial", bdf);
	if (!glob(pattern, 0, NULL, &found))
		n = file_read(found.gl_pathv[0], serial, size);
	globfree(&found);
	if (n < 0)
		return n;
	serial[strcspn(serial, "\n ")] = '\0';
	return 0;
}

FIXTURE_SETUP(hotplug)
{
	const char *bdf = provider();
	struct disks disks;

	page = sysconf(_SC_PAGESIZE);
	if (getuid())
		SKIP(return, "needs root");
	if (!bdf)
		SKIP(return, "no device with published peer memory");
	scratch_disks(&disks);
	if (!disks.nr)
		SKIP(return, "no disk in P2PDMA_SCRATCH");
	if (variant->way->needs_lab && !have_lab())
		SKIP(return, "no lab to unplug devices");

	snprintf(self->provider.bdf, BDF_LEN, "%s", bdf);
	ASSERT_EQ(0, pci_driver(bdf, self->provider.driver));
	if (strcmp(self->provider.driver, "nvme"))
		SKIP(return, "the provider isn't an NVMe controller");
	ASSERT_EQ(0, serial_of(bdf, self->provider.serial, 64));

	/* After an earlier test the disk may have another name. */
	ASSERT_EQ(0, disk_serial(disks.path[0], self->client.serial, 64));
	ASSERT_EQ(0, disk_bdf(disks.path[0], self->client.bdf));
	ASSERT_EQ(0, pci_driver(self->client.bdf, self->client.driver));
	snprintf(self->disk, NAME_MAX, "%s", disks.path[0]);

	self->size = p2pmem_number(bdf, "size");
	self->available = p2pmem_number(bdf, "available");
	self->target = variant->provider_goes ? &self->provider : &self->client;
}

/* Is everything as it was before anything went away? */
static bool all_is_back(FIXTURE_DATA(hotplug) * self)
{
	const char *bdf = self->provider.bdf;

	return wait_for(p2pmem_number(bdf, "published") == 1 &&
			p2pmem_number(bdf, "size") == self->size &&
			p2pmem_number(bdf, "available") == self->available &&
			!disk_with_serial(self->client.serial, self->disk),
			SECONDS);
}

FIXTURE_TEARDOWN(hotplug)
{
	if (!p2pmem_exists(self->provider.bdf) ||
	    disk_with_serial(self->client.serial, self->disk))
		variant->way->come(self->target);
	EXPECT_TRUE(all_is_back(self))
		TH_LOG("available %lld of %lld, was %lld",
		       p2pmem_number(self->provider.bdf, "available"),
		       p2pmem_number(self->provider.bdf, "size"),
		       self->available);
}

/* One read and one write through fresh peer memory: 0 or -errno. */
static int try_io(const char *bdf, const char *disk)
{
	int fd = open(disk, O_RDWR | O_DIRECT | O_CLOEXEC), error = 0;
	char *p = p2pmem_map(bdf, PIECE);

	if (fd < 0 || p == MAP_FAILED) {
		if (p != MAP_FAILED)
			munmap(p, PIECE);
		if (fd >= 0)
			close(fd);
		return -ENODEV;
	}
	fill(p, PIECE, 71);
	if (pwrite(fd, p, PIECE, DISK_OFFSET) != (ssize_t)PIECE)
		error = -errno;
	clear(p, PIECE);
	if (!error && pread(fd, p, PIECE, DISK_OFFSET) != (ssize_t)PIECE)
		error = -errno;
	if (!error && first_wrong(p, PIECE, 71) != -1)
		error = -EIO;
	munmap(p, PIECE);
	close(fd);
	return error;
}

/* Mappings of a provider die with it, and with nothing else. */
TEST_F(hotplug, mapping)
{
	const char *bdf = self->provider.bdf;
	void *p, *q;
	int fd;

	fd = p2pmem_open(bdf, O_RDWR);
	ASSERT_LE(0, fd);
	p = p2pmem_map(bdf, LENGTH);
	ASSERT_NE(MAP_FAILED, p);
	fill(p, LENGTH, 72);

	ASSERT_EQ(0, variant->way->go(self->target));
	if (variant->provider_goes) {
		EXPECT_FALSE(p2pmem_exists(bdf));
		EXPECT_FALSE(can_touch(p));
		EXPECT_FALSE(can_touch(p + LENGTH - 1));
		errno = 0;
		EXPECT_EQ(MAP_FAILED, mmap(NULL, page, PROT_READ, MAP_SHARED,
					   fd, 0));
		EXPECT_EQ(ENODEV, errno);
	} else {
		EXPECT_EQ(-1, first_wrong(p, LENGTH, 72));
		q = p2pmem_map(bdf, page);
		EXPECT_NE(MAP_FAILED, q);
		munmap(q, page);
	}

	ASSERT_EQ(0, variant->way->come(self->target));
	ASSERT_TRUE(wait_for(p2pmem_number(bdf, "published") == 1, SECONDS));

	/* A revoked mapping stays revoked. */
	EXPECT_EQ(!variant->provider_goes, can_touch(p));
	munmap(p, LENGTH);
	close(fd);

	EXPECT_TRUE(all_is_back(self));
	q = p2pmem_map(bdf, LENGTH);
	ASSERT_NE(MAP_FAILED, q);
	fill(q, LENGTH, 73);
	EXPECT_EQ(-1, first_wrong(q, LENGTH, 73));
	munmap(q, LENGTH);
	if (!is_refused())
		EXPECT_EQ(0, try_io(bdf, self->disk));
}

/* dma-bufs and the heap die with the provider, and with nothing else. */
TEST_F(hotplug, buffer)
{
	const char *bdf = self->provider.bdf;
	char path[PATH_MAX];
	int heap, fd;
	void *p;

	snprintf(path, sizeof(path), "/dev/dma_heap/p2pmem-%s", bdf);
	if (!wait_for(!access(path, F_OK), 10))
		SKIP(return, "this kernel has no heap for peer memory");
	heap = open(path, O_RDWR);
	ASSERT_LE(0, heap);
	fd = heap_allocate(heap, LENGTH, O_RDWR);
	ASSERT_LE(0, fd);
	p = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	fill(p, LENGTH, 74);

	ASSERT_EQ(0, variant->way->go(self->target));
	if (variant->provider_goes) {
		errno = 0;
		EXPECT_EQ(-1, access(path, F_OK));
		EXPECT_EQ(ENOENT, errno);
		EXPECT_FALSE(can_touch(p));
		EXPECT_EQ(-ENODEV, heap_allocate(heap, page, O_RDWR));
	} else {
		EXPECT_EQ(-1, first_wrong(p, LENGTH, 74));
	}

	ASSERT_EQ(0, variant->way->come(self->target));
	EXPECT_TRUE(wait_for(!access(path, F_OK), SECONDS));
	EXPECT_EQ(!variant->provider_goes, can_touch(p));
	munmap(p, LENGTH);
	close(fd);
	close(heap);
	EXPECT_TRUE(all_is_back(self));
}

/* Result of a process that does I/O until it fails */
struct report {
	long done;
	int error;	/* of the transfer that failed; 0 at the end of the disk */
};

/*
 * Memory of a provider that went is a bad address. A disk that went has no
 * capacity, and fails I/O that had begun.
 */
static bool may_end_with(bool provider_goes, bool write, int error)
{
	if (provider_goes)
		return error == EFAULT;
	return error == (write ? ENOSPC : 0) || error == EIO;
}

#define PROCESSES	4
#define PIECES		((long)(LENGTH / PIECE))

/*
 * Each process writes a part of the disk over and over, with other data for
 * each place.
 */
static off_t disk_part(int process)
{
	return DISK_OFFSET + process * LENGTH;
}

static size_t disk_piece(long transfer)
{
	return transfer % PIECES * PIECE;
}

static size_t memory_piece(long transfer)
{
	return (transfer + transfer / PIECES) % PIECES * PIECE;
}

static long all_done(const struct report *reports)
{
	long total = 0;
	int i;

	for (i = 0; i < PROCESSES; i++)
		total += __atomic_load_n(&reports[i].done, __ATOMIC_RELAXED);
	return total;
}

/* Processes with odd numbers write, the others read. */
static pid_t start_io(FIXTURE_DATA(hotplug) * self, struct report *report,
		      int i)
{
	bool write = i % 2;
	pid_t child;
	ssize_t n;
	char *p;
	int fd;

	child = fork();
	if (child)
		return child;

	fd = open(self->disk, O_RDWR | O_DIRECT);
	p = p2pmem_map(self->provider.bdf, LENGTH);
	if (fd < 0 || p == MAP_FAILED)
		_exit(1);
	fill(p, LENGTH, i);
	for (;;) {
		char *memory = p + memory_piece(report->done);
		off_t at = disk_part(i) + disk_piece(report->done);

		errno = 0;
		n = write ? pwrite(fd, memory, PIECE, at) :
			    pread(fd, memory, PIECE, at);
		if (n <= 0)
			break;
		/* After a short transfer the next one fails. */
		report->done += n == (ssize_t)PIECE;
	}
	report->error = errno;
	_exit(0);
}

/* Are all transfers that succeeded on the disk? */
static void expect_written(struct __test_metadata *_metadata, const char *disk,
			   int i, long done)
{
	int fd = open(disk, O_RDONLY | O_DIRECT | O_CLOEXEC);
	char *have = mmap(NULL, 2 * LENGTH, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *want = have + LENGTH;
	long nr;

	ASSERT_LE(0, fd);
	ASSERT_NE(MAP_FAILED, (void *)have);
	fill(want, LENGTH, i);
	EXPECT_EQ((ssize_t)LENGTH, pread(fd, have, LENGTH, disk_part(i)));
	/* Not the oldest place: the failed transfer may have overwritten it. */
	for (nr = done - (PIECES - 1); nr < done; nr++)
		EXPECT_EQ(0, memcmp(have + disk_piece(nr),
				    want + memory_piece(nr), PIECE))
			TH_LOG("process %d: transfer %ld of %ld", i, nr, done);
	munmap(have, 2 * LENGTH);
	close(fd);
}

TEST_F(hotplug, io)
{
	struct report *reports;
	pid_t child[PROCESSES];
	int i, status;
	long before;

	if (is_refused())
		SKIP(return, "P2PDMA_ROUTE says there is no route");

	reports = mmap(NULL, page, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (i = 0; i < PROCESSES; i++)
		child[i] = start_io(self, &reports[i], i);
	for (i = 0; i < PROCESSES; i++) {
		ASSERT_TRUE(wait_for(reports[i].done >= PIECES, SECONDS))
			TH_LOG("process %d: %s after %ld transfers", i,
			       strerror(reports[i].error), reports[i].done);
	}

	/* All processes still run. */
	for (i = 0; i < PROCESSES; i++)
		ASSERT_EQ(0, waitpid(child[i], &status, WNOHANG));

	before = all_done(reports);
	ASSERT_EQ(0, variant->way->go(self->target));
	for (i = 0; i < PROCESSES; i++) {
		if (!wait_for(waitpid(child[i], &status, WNOHANG) == child[i],
			      SECONDS)) {
			EXPECT_TRUE(false) TH_LOG("process %d hangs", i);
			kill(child[i], SIGKILL);
			continue;
		}
		EXPECT_EQ(0, status);
		EXPECT_TRUE(may_end_with(variant->provider_goes, i % 2,
					 reports[i].error))
			TH_LOG("process %d: %s after %ld transfers", i,
			       strerror(reports[i].error), reports[i].done);
	}

	/* The device went while I/O was running. */
	EXPECT_LT(before, all_done(reports));

	ASSERT_EQ(0, variant->way->come(self->target));
	EXPECT_TRUE(all_is_back(self));
	for (i = 1; i < PROCESSES; i += 2)
		expect_written(_metadata, self->disk, i, reports[i].done);
	EXPECT_EQ(0, try_io(self->provider.bdf, self->disk));
}

/*
 * D1: pages return to the pool while the provider goes. Processes map and
 * unmap; one leaves unmapping to exit, another one shares pages by fork.
 */
static bool map_once(struct racer *racer, int fd)
{
	void *p = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	pid_t child;

	if (p == MAP_FAILED) {
		racer->count[RACE_REFUSED] += errno == ENODEV;
		return false;
	}
	racer->count[RACE_HAD]++;
	if (racer->nr == 1)
		return true;
	if (racer->nr == 2) {
		child = fork();
		if (!child)
			_exit(0);
		munmap(p, PIECE / 2);
		waitpid(child, NULL, 0);
	}
	race_touch(racer, p + PIECE - 1);
	munmap(p, PIECE);
	return true;
}

static void map_until_refused(struct racer *racer)
{
	int fd = p2pmem_open(racer->what, O_RDWR), status = 0;
	pid_t child;

	if (fd < 0)
		return;
	if (racer->nr != 1) {
		while (map_once(racer, fd))
			;
	} else {
		while (!status) {
			child = fork();
			if (!child)
				_exit(!map_once(racer, fd));
			waitpid(child, &status, 0);
		}
	}
	close(fd);
}

/* No unplugging: a slot is too slow for many rounds. */
FIXTURE(loop)
{
	FIXTURE_DATA(hotplug) hotplug;
};

FIXTURE_VARIANT(loop)
{
	FIXTURE_VARIANT(hotplug) hotplug;
};

FIXTURE_VARIANT_ADD(loop, provider_unbound) {
	.hotplug = { .way = &unbind, .provider_goes = true },
};

FIXTURE_VARIANT_ADD(loop, provider_removed) {
	.hotplug = { .way = &removal, .provider_goes = true },
};

FIXTURE_SETUP(loop)
{
	hotplug_setup(_metadata, &self->hotplug, &variant->hotplug);
}

FIXTURE_TEARDOWN(loop)
{
	hotplug_teardown(_metadata, &self->hotplug, &variant->hotplug);
}

TEST_F(loop, mmap)
{
	const struct way *way = variant->hotplug.way;
	const char *bdf = self->hotplug.provider.bdf;
	struct race race;
	int round = 0;

	race_start(&race, 4, map_until_refused, bdf);
	do {
		ASSERT_TRUE(wait_for(race_each(&race, RACE_HAD), SECONDS))
			TH_LOG("round %d: somebody can't map", round);
		EXPECT_EQ(0, way->go(self->hotplug.target));
		EXPECT_FALSE(p2pmem_exists(bdf));
		/* Open files don't get memory again. */
		ASSERT_TRUE(wait_for(race_each(&race, RACE_REFUSED), SECONDS))
			TH_LOG("round %d: somebody isn't refused", round);
		EXPECT_EQ(0, way->come(self->hotplug.target));
		ASSERT_TRUE(wait_for(p2pmem_number(bdf, "published") == 1,
				     SECONDS));
		round++;
	} while (round < times(3) ||
		 (!race_total(&race, RACE_LOST) && round < LAST_ROUND));

	TH_LOG("%d rounds, %ld mappings, %ld of them lost", round,
	       race_total(&race, RACE_HAD), race_total(&race, RACE_LOST));
	EXPECT_LT(0, race_total(&race, RACE_LOST));
	race_stop(&race);
	EXPECT_TRUE(all_is_back(&self->hotplug));
}

TEST_HARNESS_MAIN
