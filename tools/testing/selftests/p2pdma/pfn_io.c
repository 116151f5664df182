// SPDX-License-Identifier: GPL-2.0
/*
 * I/O in the kernel to pages of a BAR that were found by their PFNs, by bio_vecs, as
 * modules for GPU-direct storage do it (see test_modules/p2pdma_pfn_test.c).  Who has
 * registered the BAR doesn't know of it.  Data is compared at both ends: on the disk
 * through system memory, and in the BAR through the device's resource file.  Where the
 * lab traces DMA from outside, it is asked which addresses the disk got.  Where devices
 * can't reach each other, I/O must be refused and nothing written.
 *
 * The BAR is registered by p2pdma_test or p2pdma_gpu_test.  Writes to the disks in
 * P2PDMA_SCRATCH and to no other.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define MODULE		"p2pdma_pfn_test"
#define GPU_MODULE	"p2pdma_gpu_test"
#define KiB		1024UL
#define EXTENT		(2 * MiB)	/* of the BAR, looked at in each test */
#define DISK_OFFSET	((off_t)MiB)
#define ROUNDS		5

/* Pieces of the BAR that are one range on the disk */
struct shape {
	size_t offset;
	int nr;
	size_t length;
	size_t stride;
};

struct setup {
	int fd;			/* of the disk, O_DIRECT */
	char disk[NAME_MAX];
	char disk_bdf[BDF_LEN];
	char bdf[BDF_LEN];
	int bar;
	struct bar memory;
	char *vram;		/* the BAR, by the resource file */
	char *system;
	char *expected;
};

/* Without a device yet: NULL, or why not */
static const char *set_up(struct setup *s)
{
	struct disks disks;

	if (getuid())
		return "needs root";
	scratch_disks(&disks);
	if (!disks.nr)
		return "no disk in P2PDMA_SCRATCH";
	snprintf(s->disk, sizeof(s->disk), "%s", disks.path[0]);
	if (disk_bdf(s->disk, s->disk_bdf))
		return "the disk isn't an NVMe disk on PCI";

	/* The tests check these. */
	s->fd = open(s->disk, O_RDWR | O_DIRECT | O_CLOEXEC);
	s->system = mmap(NULL, EXTENT, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	s->expected = mmap(NULL, EXTENT, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	return NULL;
}

static void tear_down(struct setup *s)
{
	module_unload_named(GPU_MODULE);
	module_unload_named(MODULE);
	munmap(s->vram, EXTENT);
	munmap(s->system, EXTENT);
	munmap(s->expected, EXTENT);
	close(s->fd);
}

static int transfer(const struct setup *s, const char *how, bool write,
		    const struct shape *shape)
{
	char path[PATH_MAX], args[128];

	snprintf(path, sizeof(path), "/sys/kernel/debug/" MODULE "/%s", how);
	snprintf(args, sizeof(args), "%s %s %lld %s %d %zu %d %zu %zu",
		 write ? "write" : "read", s->disk, (long long)DISK_OFFSET,
		 s->bdf, s->bar, shape->offset, shape->nr, shape->length,
		 shape->stride);
	return file_write(path, args);
}

/* Device memory is read in whole words. */
static bool vram_is_as_expected(const struct setup *s)
{
	const __u64 *vram = (void *)s->vram, *expected = (void *)s->expected;
	size_t i;

	for (i = 0; i < EXTENT / sizeof(*vram); i++)
		if (__atomic_load_n(&vram[i], __ATOMIC_RELAXED) != expected[i])
			return false;
	return true;
}

/* What a transfer from the BAR to the disk does wrong, or NULL */
static const char *write_shape(const struct setup *s, const char *how,
			       const struct shape *shape, __u64 seed)
{
	size_t size = shape->nr * shape->length;
	int i;

	clear(s->system, EXTENT);
	if (pwrite(s->fd, s->system, EXTENT, DISK_OFFSET) != (ssize_t)EXTENT)
		return "the disk isn't cleared";
	fill(s->vram, EXTENT, seed);
	fill(s->expected, EXTENT, seed);
	errno = -transfer(s, how, true, shape);
	if (errno)
		return "fails";

	if (pread(s->fd, s->system, EXTENT, DISK_OFFSET) != (ssize_t)EXTENT)
		return "the disk isn't read";
	for (i = 0; i < shape->nr; i++)
		if (memcmp(s->system + i * shape->length,
			   s->expected + shape->offset + i * shape->stride,
			   shape->length))
			return "the disk has other data";
	if (first_nonzero(s->system + size, EXTENT - size) != -1)
		return "more was written";
	return vram_is_as_expected(s) ? NULL : "the BAR was written";
}

/* Likewise from the disk to the BAR */
static const char *read_shape(const struct setup *s, const char *how,
			      const struct shape *shape, __u64 seed)
{
	int i;

	fill(s->system, EXTENT, seed);
	if (pwrite(s->fd, s->system, EXTENT, DISK_OFFSET) != (ssize_t)EXTENT)
		return "the disk isn't written";
	clear(s->vram, EXTENT);
	memset(s->expected, 0, EXTENT);
	for (i = 0; i < shape->nr; i++)
		memcpy(s->expected + shape->offset + i * shape->stride,
		       s->system + i * shape->length, shape->length);
	errno = -transfer(s, how, false, shape);
	if (errno)
		return "fails";
	return vram_is_as_expected(s) ? NULL : "the BAR has other data";
}

FIXTURE(reached)
{
	struct setup s;
};

FIXTURE_VARIANT(reached)
{
	const char *how;
};

FIXTURE_VARIANT_ADD(reached, bio)
{
	.how = "bio",
};

FIXTURE_VARIANT_ADD(reached, file)
{
	.how = "file",
};

FIXTURE_SETUP(reached)
{
	struct setup *s = &self->s;
	const char *why = set_up(s);

	if (!why)
		why = test_device(s->bdf, &s->bar, &s->memory);
	if (why)
		SKIP(return, "%s", why);
	ASSERT_LE(0, s->fd) TH_LOG("%s", s->disk);
	ASSERT_EQ(0, module_load_named(MODULE));
	s->vram = pci_bar_map(s->bdf, s->bar, EXTENT);
	ASSERT_NE(MAP_FAILED, (void *)s->vram);
}

FIXTURE_TEARDOWN(reached)
{
	tear_down(&self->s);
	EXPECT_EQ(0, module_unload());
}

static const struct shape shapes[] = {
	{ 0, 1, 4 * KiB, 0 },
	{ 0, 1, 1 * MiB, 0 },
	/* Not whole pages, and across pages */
	{ 4 * KiB + 512, 1, 1024, 0 },
	{ 12 * KiB - 512, 1, 6 * KiB + 512, 0 },
	/* Pages that aren't adjacent */
	{ 8 * KiB, 32, 4 * KiB, 8 * KiB },
	{ 64 * KiB, 7, 128 * KiB, 192 * KiB },
	/* Backwards, as far as the disk is concerned: many requests */
	{ 512, 16, 512, 4 * KiB },
	{ 1024, 3, 12800, 64 * KiB },
};

TEST_F(reached, shapes)
{
	const char *how = variant->how, *wrong;
	size_t i;

	ASSERT_EQ(0, test_add(self->s.bdf, self->s.bar, 0, 0));
	for (i = 0; i < ARRAY_SIZE(shapes); i++) {
		wrong = write_shape(&self->s, how, &shapes[i], 2 * i + 1);
		EXPECT_EQ(NULL, wrong) TH_LOG("write %zu: %s: %m", i, wrong);
		wrong = read_shape(&self->s, how, &shapes[i], 2 * i + 2);
		EXPECT_EQ(NULL, wrong) TH_LOG("read %zu: %s: %m", i, wrong);
	}
	EXPECT_EQ((long long)self->s.memory.length,
		  p2pmem_number(self->s.bdf, "available"));
}

/* As traced outside of the guest, all data goes to the BAR or comes from there. */
TEST_F(reached, no_byte_elsewhere)
{
	const struct shape shape = { 64 * KiB, 7, 128 * KiB, 192 * KiB };
	const long long size = shape.nr * shape.length;
	long long peer, other;
	char answer[128];

	if (!route_is_traced())
		SKIP(return, "no lab that traces DMA on this route");
	ASSERT_EQ(0, test_add(self->s.bdf, self->s.bar, 0, 0));
	ASSERT_EQ(0, lab(answer, sizeof(answer), "dma-begin"));
	EXPECT_EQ(0, transfer(&self->s, variant->how, true, &shape));
	EXPECT_EQ(0, transfer(&self->s, variant->how, false, &shape));
	ASSERT_EQ(0, traced(&peer, &other));
	EXPECT_EQ(2 * size, peer);
	EXPECT_EQ(0, other);
}

/* Pages whose operations and counts another module has set, in use or not */
TEST_F(reached, pages_of_the_gpu_module)
{
	const size_t mapped = 256 * KiB;
	const struct shape shape = { 0, 8, 64 * KiB, 128 * KiB };
	char parameters[64], *p;
	const char *wrong;
	int fd;

	snprintf(parameters, sizeof(parameters), "device=%s bar=%d",
		 self->s.bdf, self->s.bar);
	ASSERT_EQ(0, module_load_with(GPU_MODULE, parameters));
	fd = open("/dev/" GPU_MODULE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	p = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	ASSERT_NE(MAP_FAILED, (void *)p);

	wrong = write_shape(&self->s, variant->how, &shape, 51);
	EXPECT_EQ(NULL, wrong) TH_LOG("write: %s: %m", wrong);
	wrong = read_shape(&self->s, variant->how, &shape, 52);
	EXPECT_EQ(NULL, wrong) TH_LOG("read: %s: %m", wrong);
	EXPECT_EQ(-1, first_wrong(p, shape.length, 52));

	munmap(p, mapped);
	EXPECT_EQ((long long)mapped / sysconf(_SC_PAGESIZE),
		  file_number("/sys/module/" GPU_MODULE "/parameters/freed"));
	ASSERT_EQ(0, module_unload_named(GPU_MODULE));
	EXPECT_EQ(-ENODEV, transfer(&self->s, variant->how, false, &shape));
}

TEST_F(reached, no_pages)
{
	const struct shape first = { 0, 1, 4 * KiB, 0 };
	const struct shape across = {
		self->s.memory.length - 4 * KiB, 1, 8 * KiB, 0
	};

	EXPECT_EQ(-ENODEV, transfer(&self->s, variant->how, false, &first));
	ASSERT_EQ(0, test_add(self->s.bdf, self->s.bar, 0, 0));
	EXPECT_EQ(0, transfer(&self->s, variant->how, false, &first));
	EXPECT_EQ(-EINVAL, transfer(&self->s, variant->how, false, &across));
}

static const struct setup *race_setup;
static int *registrations;	/* shared by processes */

/*
 * Until the pages are gone, and then nothing until they were registered again: a
 * page map can be found a little before its pages can.
 */
static void transfer_until_refused(struct racer *racer)
{
	const struct shape shape = { racer->nr * MiB, 1, 64 * KiB, 0 };
	static int last;
	int error;

	while (__atomic_load_n(registrations, __ATOMIC_ACQUIRE) == last)
		usleep(1000);
	last++;
	while (!(error = transfer(race_setup, racer->what, racer->nr % 2,
				  &shape)))
		racer->count[RACE_HAD]++;
	/* After any other error the test waits in vain. */
	racer->count[RACE_REFUSED] += error == -ENODEV;
}

/* The driver of the device is unbound during I/O: the pages stay until it is done. */
TEST_F(reached, driver_unbound)
{
	struct setup *s = &self->s;
	struct race race;
	int round;

	race_setup = s;
	registrations = mmap(NULL, sizeof(*registrations),
			     PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			     -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)registrations);
	race_start(&race, 2, transfer_until_refused, variant->how);
	for (round = 0; round < times(ROUNDS); round++) {
		ASSERT_EQ(0, test_add(s->bdf, s->bar, 0, 0));
		__atomic_add_fetch(registrations, 1, __ATOMIC_RELEASE);
		ASSERT_TRUE(wait_for(race_each(&race, RACE_HAD), 60))
			TH_LOG("round %d: no I/O", round);
		ASSERT_EQ(0, pci_unbind(s->bdf));
		EXPECT_FALSE(p2pmem_exists(s->bdf));
		ASSERT_TRUE(wait_for(race_each(&race, RACE_REFUSED), 60))
			TH_LOG("round %d: I/O isn't refused", round);
		ASSERT_EQ(0, pci_bind(s->bdf, "p2pdma_test"));
	}
	race_stop(&race);
}

/* I/O that is in flight when the driver is unbound comes to its end. */
TEST_F(reached, driver_waits)
{
	const struct shape shape = { 0, 1, 1 * MiB, 0 };
	struct setup *s = &self->s;
	pid_t child;
	int status;

	if (!have_lab())
		SKIP(return, "no lab that limits the disk");
	ASSERT_EQ(0, test_add(s->bdf, s->bar, 0, 0));
	fill(s->system, EXTENT, 71);
	ASSERT_EQ((ssize_t)EXTENT,
		  pwrite(s->fd, s->system, EXTENT, DISK_OFFSET));
	clear(s->vram, EXTENT);

	ASSERT_EQ(0, disk_limit(s->disk, 1 * MiB));
	child = fork();
	if (!child)
		_exit(-transfer(s, variant->how, false, &shape));
	/* The first of several requests ends, and the others have to wait. */
	EXPECT_TRUE(wait_for(first_nonzero(s->vram, 4 * KiB) != -1, 60));
	EXPECT_EQ(0, pci_unbind(s->bdf));
	EXPECT_EQ(-1, first_wrong(s->vram, shape.length, 71));
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, disk_limit(s->disk, 0));
	EXPECT_EQ(0, pci_bind(s->bdf, "p2pdma_test"));
}

/* Where there is no route. */
FIXTURE(refused)
{
	struct setup s;
};

FIXTURE_VARIANT(refused)
{
	const char *how;
};

FIXTURE_VARIANT_ADD(refused, bio)
{
	.how = "bio",
};

FIXTURE_VARIANT_ADD(refused, file)
{
	.how = "file",
};

/* Registers the first BAR of a device that the disk can't reach: false if there is none. */
static bool find_out_of_reach(struct setup *s)
{
	struct devices all;
	struct bar bars[6];
	char answer[32];
	int i, fd;

	find_test_devices(&all);
	for (i = 0; i < all.nr; i++) {
		if (pci_bars(all.name[i], bars) ||
		    test_add(all.name[i], 0, 0, 0) ||
		    bars[0].length < EXTENT)
			continue;
		fd = test_open(all.name[i], "distance", "%s", s->disk_bdf);
		if (fd < 0)
			continue;
		if (!test_answer(fd, answer, sizeof(answer)) &&
		    answer[0] == '-') {
			snprintf(s->bdf, sizeof(s->bdf), "%s", all.name[i]);
			s->bar = 0;
			s->memory = bars[0];
		}
		close(fd);
		if (s->bdf[0])
			return true;
	}
	return false;
}

FIXTURE_SETUP(refused)
{
	struct setup *s = &self->s;
	const char *why = set_up(s);

	if (why)
		SKIP(return, "%s", why);
	ASSERT_LE(0, s->fd) TH_LOG("%s", s->disk);
	ASSERT_EQ(0, module_load());
	ASSERT_EQ(0, module_load_named(MODULE));
	s->vram = MAP_FAILED;
	if (!find_out_of_reach(s)) {
		tear_down(s);
		module_unload();
		SKIP(return, "no BAR 0 of 2 MiB that the disk can't reach");
	}
	s->vram = pci_bar_map(s->bdf, s->bar, EXTENT);
	ASSERT_NE(MAP_FAILED, (void *)s->vram);
}

FIXTURE_TEARDOWN(refused)
{
	tear_down(&self->s);
	EXPECT_EQ(0, module_unload());
}

TEST_F(refused, read_and_write)
{
	struct setup *s = &self->s;
	size_t i;

	fill(s->system, EXTENT, 61);
	ASSERT_EQ((ssize_t)EXTENT,
		  pwrite(s->fd, s->system, EXTENT, DISK_OFFSET));
	fill(s->vram, EXTENT, 62);
	for (i = 0; i < ARRAY_SIZE(shapes); i++) {
		EXPECT_EQ(-EREMOTEIO,
			  transfer(s, variant->how, false, &shapes[i]));
		EXPECT_EQ(-EREMOTEIO,
			  transfer(s, variant->how, true, &shapes[i]));
	}

	/* Nothing was written, and the disk works. */
	EXPECT_EQ(-1, first_wrong(s->vram, EXTENT, 62));
	clear(s->system, EXTENT);
	EXPECT_EQ((ssize_t)EXTENT,
		  pread(s->fd, s->system, EXTENT, DISK_OFFSET));
	EXPECT_EQ(-1, first_wrong(s->system, EXTENT, 61));
}

TEST_HARNESS_MAIN
