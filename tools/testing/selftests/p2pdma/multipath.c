// SPDX-License-Identifier: GPL-2.0
/*
 * Peer memory and disks that have several paths (nvme_core.multipath=1): data
 * through the head, and which paths it takes, with each I/O policy; which path
 * takes over when one goes, also under load; what is refused when no path that is
 * left reaches the memory. On the head, a file system, and device mapper on RAID.
 *
 * Controllers below the provider's root port reach its memory, all others don't:
 * the machine has to be like that (see lab/machines/multipath.toml). How much data
 * a path has carried is in the statistics of its hidden disk. Where the lab traces
 * DMA, it tells which addresses the controllers got.
 *
 * Writes to the disks in P2PDMA_SCRATCH: those with several paths. Tests neither
 * which routes there are, nor what a single disk does with peer memory: io.c does.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/nvme_ioctl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define KiB		1024UL
#define SECTOR		512
#define SECONDS		120
#define BUFFER		(2 * MiB)
#define PIECE		(64 * KiB)
#define PIECES		16
#define AT		(1 * MiB)	/* on the disk */
#define LOAD_AT		(8 * MiB)	/* of each process of the load */
#define LOAD_MOST	(256 * KiB)
#define SYSFS_LEN	96
#define NAMESPACE_ATTACHMENT 0x15	/* an admin command */

struct setup {
	const char *bdf;		/* of the provider */
	struct disks heads;		/* of one subsystem */
	struct devices near, far;	/* its controllers */
	int fd;				/* of the first head */
	char *peer;
	char *system;
	long long available;		/* before peer was mapped */
};

/* ---- Heads and paths ---- */

static const char *disk_name(const char *path)
{
	return strrchr(path, '/') + 1;
}

static int set_policy(const struct setup *s, const char *policy)
{
	char file[SYSFS_LEN];

	snprintf(file, sizeof(file), "/sys/block/%s/device/iopolicy",
		 disk_name(s->heads.path[0]));
	return file_write(file, policy);
}

/* The number that a PCI device has as a controller, or -1 */
static int controller_of(const char *bdf)
{
	char pattern[SYSFS_LEN];
	int controller;
	glob_t found;

	snprintf(pattern, sizeof(pattern), "/sys/bus/pci/devices/%s/nvme/nvme*",
		 bdf);
	if (glob(pattern, 0, NULL, &found))
		return -1;
	if (sscanf(disk_name(found.gl_pathv[0]), "nvme%d", &controller) != 1)
		controller = -1;
	globfree(&found);
	return controller;
}

/* A file of the hidden disk that is a controller's path to a head: its length or -errno */
static int path_read(const char *head, int controller, const char *file,
		     char *text, size_t size)
{
	char path[SYSFS_LEN];
	int subsystem, disk;

	if (sscanf(disk_name(head), "nvme%dn%d", &subsystem, &disk) != 2)
		return -EINVAL;
	snprintf(path, sizeof(path), "/sys/class/nvme/nvme%d/nvme%dc%dn%d/%s",
		 controller, subsystem, controller, disk, file);
	return file_read(path, text, size);
}

/* Bytes that a controller's path to a head has carried, or -1 without such a path */
static long long carried(const char *head, int controller)
{
	long long read, written;
	int subsystem, disk;
	char path[NAME_MAX];

	if (sscanf(disk_name(head), "nvme%dn%d", &subsystem, &disk) != 2)
		return -1;
	snprintf(path, sizeof(path), "/dev/nvme%dc%dn%d", subsystem, controller,
		 disk);
	if (disk_traffic(path, &read, &written))
		return -1;
	return (read + written) * SECTOR;
}

static long long carried_by(const struct setup *s, const char *bdf)
{
	return carried(s->heads.path[0], controller_of(bdf));
}

/*
 * Does the path carry data? With the policy round-robin each one does that is
 * usable, which is a little later than its disk is there.
 */
static bool is_usable(const struct setup *s, const char *bdf)
{
	long long before = carried_by(s, bdf);
	int i;

	for (i = 0; i < 4; i++)
		if (pread(s->fd, s->system, 4 * KiB, AT) != 4 * KiB)
			return false;
	return before >= 0 && carried_by(s, bdf) > before;
}

/* 0 or -errno */
static int wait_for_path(const struct setup *s, const char *bdf)
{
	int error = set_policy(s, "round-robin");

	if (error)
		return error;
	error = wait_for(is_usable(s, bdf), SECONDS) ? 0 : -ETIMEDOUT;
	return set_policy(s, "numa") ?: error;
}

static int path_bind(const struct setup *s, const char *bdf)
{
	return pci_bind(bdf, "nvme") ?: wait_for_path(s, bdf);
}

/* The root port above a device, or the device */
static void top_of(const char *bdf, char top[BDF_LEN])
{
	char link[SYSFS_LEN], real[PATH_MAX];

	top[0] = '\0';
	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s", bdf);
	if (realpath(link, real))
		sscanf(real, "/sys/devices/%*[^/]/%15[^/]", top);
}

static void add_controller(struct setup *s, const char *bdf)
{
	char top[BDF_LEN], own[BDF_LEN];
	struct devices *to;

	top_of(bdf, own);
	top_of(s->bdf, top);
	to = strcmp(own, top) ? &s->far : &s->near;
	if (to->nr < MAX_DEVS)
		snprintf(to->name[to->nr++], BDF_LEN, "%s", bdf);
}

static void find_controllers(struct setup *s)
{
	char pattern[SYSFS_LEN], bdf[BDF_LEN];
	glob_t found;
	size_t i;

	snprintf(pattern, sizeof(pattern), "/sys/block/%s/device/nvme*/address",
		 disk_name(s->heads.path[0]));
	if (glob(pattern, 0, NULL, &found))
		return;
	for (i = 0; i < found.gl_pathc; i++) {
		if (file_read(found.gl_pathv[i], bdf, sizeof(bdf)) <= 0)
			continue;
		bdf[strcspn(bdf, "\n")] = '\0';
		add_controller(s, bdf);
	}
	globfree(&found);
	sort_devices(&s->near);
}

/* All disks of the subsystem of a disk in P2PDMA_SCRATCH */
static void find_heads(struct setup *s)
{
	char pattern[SYSFS_LEN];
	struct disks scratch;
	glob_t found;
	size_t j;
	int i;

	scratch_disks(&scratch);
	for (i = 0; i < scratch.nr && !s->heads.nr; i++) {
		/* Only a subsystem has a policy. */
		snprintf(pattern, sizeof(pattern),
			 "/sys/block/%s/device/iopolicy",
			 disk_name(scratch.path[i]));
		if (access(pattern, F_OK))
			continue;
		snprintf(pattern, sizeof(pattern),
			 "/sys/block/%s/device/nvme*/queue",
			 disk_name(scratch.path[i]));
		if (glob(pattern, 0, NULL, &found))
			continue;
		for (j = 0; j < found.gl_pathc && j < MAX_DEVS; j++) {
			*strrchr(found.gl_pathv[j], '/') = '\0';
			snprintf(s->heads.path[s->heads.nr++], NAME_MAX,
				 "/dev/%s", disk_name(found.gl_pathv[j]));
		}
		globfree(&found);
	}
}

/* NULL, or what is missing */
static const char *find(struct setup *s)
{
	s->fd = -1;
	s->peer = MAP_FAILED;
	s->system = MAP_FAILED;
	if (getuid())
		return "needs root";
	s->bdf = provider();
	if (!s->bdf)
		return "no device with published peer memory";
	find_heads(s);
	if (!s->heads.nr)
		return "no disk in P2PDMA_SCRATCH has several paths";
	find_controllers(s);
	if (s->near.nr < 2 || s->far.nr < 1)
		return "not two controllers near the provider, and one elsewhere";
	return NULL;
}

/* 0 or -errno */
static int set_up(struct setup *s)
{
	int i, error = 0;

	s->available = p2pmem_number(s->bdf, "available");
	s->fd = open_direct(s->heads.path[0]);
	s->peer = p2pmem_map(s->bdf, BUFFER);
	s->system = system_map(BUFFER);
	if (s->fd < 0 || s->peer == MAP_FAILED || s->system == MAP_FAILED)
		return -errno;
	for (i = 0; i < s->near.nr && !error; i++)
		error = wait_for_path(s, s->near.name[i]);
	return error ?: wait_for_path(s, s->far.name[0]);
}

static void tear_down(struct __test_metadata *_metadata, struct setup *s)
{
	int i;

	/* A test that failed may have left them without a driver. */
	for (i = 0; i < s->near.nr; i++)
		pci_bind(s->near.name[i], "nvme");
	for (i = 0; i < s->far.nr; i++)
		pci_bind(s->far.name[i], "nvme");
	munmap(s->peer, BUFFER);
	munmap(s->system, BUFFER);
	close(s->fd);
	EXPECT_TRUE(wait_for(p2pmem_number(s->bdf, "available") == s->available,
			     SECONDS));
}

/* ---- Data ---- */

/*
 * Writes from peer memory, and reads into it: NULL, or what is wrong. The other end
 * is compared through system memory, for which all paths will do. @traces: that
 * many bytes at addresses in the BAR, and none elsewhere.
 */
static const char *compare(const struct setup *s, int fd, size_t size, off_t at,
			   __u64 seed, long long traces)
{
	long long peer = traces, other = 0;
	bool trace = traces && route_is_traced();
	char answer[256];

	fill(s->peer, size, seed);
	if (trace && lab(answer, sizeof(answer), "dma-begin"))
		return "no trace begins";
	errno = 0;
	if (pwrite(fd, s->peer, size, at) != (ssize_t)size)
		return "peer memory isn't written";
	clear(s->peer, size);
	errno = 0;
	if (pread(fd, s->peer, size, at) != (ssize_t)size)
		return "peer memory isn't read";
	if (trace && traced(&peer, &other))
		return "no trace";
	if (peer != traces || other)
		return "data was elsewhere";
	if (first_wrong(s->peer, size, seed) != -1)
		return "peer memory has other data";
	clear(s->system, size);
	errno = 0;
	if (pread(fd, s->system, size, at) != (ssize_t)size)
		return "system memory isn't read";
	if (first_wrong(s->system, size, seed) != -1)
		return "the disk has other data";
	return NULL;
}

/*
 * No path reaches the memory: requests are refused, also in part, and nothing is
 * transferred; with system memory they succeed. NULL, or what is wrong.
 */
static const char *refuse(const struct setup *s, int fd, __u64 seed)
{
	/* Not larger than what RAID splits, or one part of it would succeed */
	struct iovec mixed[2] = {
		{ s->peer, 4 * KiB },
		{ s->system + 1 * MiB, 4 * KiB },
	};

	fill(s->system, 2 * PIECE, seed);
	if (pwrite(fd, s->system, 2 * PIECE, AT) != 2 * PIECE)
		return "system memory isn't written";
	fill(s->peer, PIECE, seed + 1);
	errno = 0;
	if (pwrite(fd, s->peer, PIECE, AT) != -1 || errno != EREMOTEIO)
		return "writing peer memory isn't refused";
	errno = 0;
	if (pread(fd, s->peer, PIECE, AT) != -1 || errno != EREMOTEIO)
		return "reading peer memory isn't refused";
	errno = 0;
	if (pwritev(fd, mixed, 2, AT) != -1 || errno != EREMOTEIO)
		return "writing both isn't refused";
	errno = 0;
	if (preadv(fd, mixed, 2, AT) != -1 || errno != EREMOTEIO)
		return "reading both isn't refused";
	if (first_wrong(s->peer, PIECE, seed + 1) != -1)
		return "peer memory was written";
	clear(s->system, 2 * PIECE);
	if (pread(fd, s->system, 2 * PIECE, AT) != 2 * PIECE)
		return "system memory isn't read";
	if (first_wrong(s->system, 2 * PIECE, seed) != -1)
		return "the disk was written";
	return NULL;
}

/* Writes and reads pieces, one after the other: 0 or -errno */
static int transfer(int fd, char *buffer)
{
	int i;

	for (i = 0; i < PIECES; i++) {
		errno = EIO;
		if (pwrite(fd, buffer + i * PIECE, PIECE, AT + i * PIECE) !=
		    PIECE ||
		    pread(fd, buffer + i * PIECE, PIECE, AT + i * PIECE) !=
		    PIECE)
			return -errno;
	}
	return 0;
}

/* ---- Paths ---- */

FIXTURE(paths)
{
	struct setup s;
};

FIXTURE_SETUP(paths)
{
	const char *missing = find(&self->s);

	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_EQ(0, set_up(&self->s));
	ASSERT_EQ(1, queue_takes_peer_memory(self->s.heads.path[0]));
}

FIXTURE_TEARDOWN(paths)
{
	tear_down(_metadata, &self->s);
}

/* Each path is the only one, in turn. */
TEST_F(paths, each_alone)
{
	static const size_t sizes[] = { 512, 4 * KiB, 68 * KiB, BUFFER };
	struct setup *s = &self->s;
	long long before, bytes;
	const char *wrong;
	size_t j;
	int i;

	ASSERT_EQ(0, pci_unbind(s->far.name[0]));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pci_unbind(s->near.name[!i]));
		before = carried_by(s, s->near.name[i]);
		for (j = 0, bytes = 0; j < ARRAY_SIZE(sizes); j++) {
			wrong = compare(s, s->fd, sizes[j], AT, 10 * i + j,
					2 * sizes[j]);
			EXPECT_EQ(NULL, wrong)
				TH_LOG("%s, %zu bytes: %s (%m)",
				       s->near.name[i], sizes[j], wrong);
			bytes += 3 * sizes[j];
		}
		EXPECT_EQ(before + bytes, carried_by(s, s->near.name[i]));
		ASSERT_EQ(0, path_bind(s, s->near.name[!i]));
	}
	ASSERT_EQ(0, path_bind(s, s->far.name[0]));
}

FIXTURE(policy)
{
	struct setup s;
};

FIXTURE_VARIANT(policy)
{
	const char *policy;
};

FIXTURE_VARIANT_ADD(policy, numa)
{
	.policy = "numa",
};

FIXTURE_VARIANT_ADD(policy, round_robin)
{
	.policy = "round-robin",
};

FIXTURE_VARIANT_ADD(policy, queue_depth)
{
	.policy = "queue-depth",
};

FIXTURE_SETUP(policy)
{
	const char *missing = find(&self->s);

	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_EQ(0, set_up(&self->s));
}

FIXTURE_TEARDOWN(policy)
{
	EXPECT_EQ(0, set_policy(&self->s, "numa"));
	tear_down(_metadata, &self->s);
}

/*
 * A path that reaches the memory is preferred. The others come first otherwise, being
 * those that were there first.
 */
TEST_F(policy, prefers)
{
	bool all = !strcmp(variant->policy, "round-robin");
	const long long bytes = 2 * PIECES * PIECE;
	long long near[2], far;
	struct setup *s = &self->s;
	int i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pci_unbind(s->near.name[i]));
		ASSERT_EQ(0, path_bind(s, s->near.name[i]));
	}
	ASSERT_EQ(0, set_policy(s, variant->policy));

	for (i = 0; i < 2; i++)
		near[i] = carried_by(s, s->near.name[i]);
	far = carried_by(s, s->far.name[0]);
	ASSERT_EQ(0, transfer(s->fd, s->system));
	if (all) {
		EXPECT_LT(near[0], carried_by(s, s->near.name[0]));
		EXPECT_LT(near[1], carried_by(s, s->near.name[1]));
		EXPECT_LT(far, carried_by(s, s->far.name[0]));
	} else {
		EXPECT_EQ(far + bytes, carried_by(s, s->far.name[0]));
	}

	for (i = 0; i < 2; i++)
		near[i] = carried_by(s, s->near.name[i]);
	far = carried_by(s, s->far.name[0]);
	EXPECT_EQ(0, transfer(s->fd, s->peer));
	EXPECT_EQ(far, carried_by(s, s->far.name[0]));
	for (i = 0; i < 2; i++) {
		near[i] = carried_by(s, s->near.name[i]) - near[i];
		TH_LOG("%s: %lld bytes", s->near.name[i], near[i]);
		if (all)
			EXPECT_LT(0, near[i]);
	}
	EXPECT_EQ(bytes, near[0] + near[1]);
}

/* Paths go until only those are left that don't reach the memory, and come again. */
TEST_F(policy, fails_over)
{
	struct setup *s = &self->s;
	const char *wrong;

	ASSERT_EQ(0, pci_unbind(s->near.name[0]));
	ASSERT_EQ(0, set_policy(s, variant->policy));
	wrong = compare(s, s->fd, BUFFER, AT, 30, 2 * BUFFER);
	EXPECT_EQ(NULL, wrong) TH_LOG("%s (%m)", wrong);

	ASSERT_EQ(0, pci_unbind(s->near.name[1]));
	wrong = refuse(s, s->fd, 31);
	EXPECT_EQ(NULL, wrong) TH_LOG("%s (%m)", wrong);

	ASSERT_EQ(0, path_bind(s, s->near.name[1]));
	ASSERT_EQ(0, set_policy(s, variant->policy));
	wrong = compare(s, s->fd, BUFFER, AT, 32, 2 * BUFFER);
	EXPECT_EQ(NULL, wrong) TH_LOG("%s (%m)", wrong);
	ASSERT_EQ(0, path_bind(s, s->near.name[0]));
}

/* ---- Paths that go and come under load ---- */

static int unbind(struct setup *s, int path)
{
	return pci_unbind(s->near.name[path]);
}

static int bind(struct setup *s, int path)
{
	return path_bind(s, s->near.name[path]);
}

static int remove_device(struct setup *s, int path)
{
	char file[SYSFS_LEN];

	snprintf(file, sizeof(file), "/sys/bus/pci/devices/%s/remove",
		 s->near.name[path]);
	return file_write(file, "1");
}

static int find_again(struct setup *s, int path)
{
	return file_write("/sys/bus/pci/rescan", "1") ?:
	       wait_for_path(s, s->near.name[path]);
}

/* The machine's controllers are near1 and near2, in the order of their places. */
static int unplug_controller(struct setup *s, int path)
{
	char answer[256];

	return lab(answer, sizeof(answer), "unplug near%d", path + 1);
}

static int plug_controller(struct setup *s, int path)
{
	char answer[256];

	return lab(answer, sizeof(answer), "plug near%d", path + 1) ?:
	       wait_for_path(s, s->near.name[path]);
}

static int reset(struct setup *s, int path)
{
	char file[SYSFS_LEN];

	snprintf(file, sizeof(file), "/sys/class/nvme/nvme%d/reset_controller",
		 controller_of(s->near.name[path]));
	return file_write(file, "1");
}

static int wait_for_reset(struct setup *s, int path)
{
	return wait_for_path(s, s->near.name[path]);
}

static int unbind_far(struct setup *s, int path)
{
	return pci_unbind(s->far.name[0]);
}

static int bind_far(struct setup *s, int path)
{
	return path_bind(s, s->far.name[0]);
}

FIXTURE(going)
{
	struct setup s;
};

/* What goes, and comes again: 0 or -errno */
FIXTURE_VARIANT(going)
{
	int (*go)(struct setup *s, int path);
	int (*come)(struct setup *s, int path);
	int processes;		/* of the load; 0 is the most */
};

FIXTURE_VARIANT_ADD(going, unbound)
{
	.go = unbind,
	.come = bind,
};

FIXTURE_VARIANT_ADD(going, removed)
{
	.go = remove_device,
	.come = find_again,
};

FIXTURE_VARIANT_ADD(going, unplugged)
{
	.go = unplug_controller,
	.come = plug_controller,
};

/*
 * The driver resets a controller with requests in flight, which mustn't fail. The path
 * is back when go() returns. QEMU 7.2 hangs if one of the requests waits for the buffer
 * that all accesses to a CMB share.
 */
FIXTURE_VARIANT_ADD(going, reset)
{
	.go = reset,
	.come = wait_for_reset,
	.processes = 1,
};

/* One that doesn't reach the memory */
FIXTURE_VARIANT_ADD(going, far_unbound)
{
	.go = unbind_far,
	.come = bind_far,
};

FIXTURE_SETUP(going)
{
	const char *missing = find(&self->s);

	if (missing)
		SKIP(return, "%s", missing);
	if (variant->go == unplug_controller && !have_lab())
		SKIP(return, "no lab to unplug a controller");
	ASSERT_EQ(0, set_up(&self->s));
	srand(1);
}

FIXTURE_TEARDOWN(going)
{
	tear_down(_metadata, &self->s);
}

/* Writes and reads peer memory, with new memory after a request that failed. */
static void load(struct racer *racer)
{
	off_t at = LOAD_AT + racer->nr * LOAD_MOST;
	int fd = open_direct(racer->what);
	static __u64 seed = 1000;
	size_t size;
	char *data;

	data = p2pmem_map(provider(), LOAD_MOST);
	while (data != MAP_FAILED) {
		errno = 0;
		size = LOAD_MOST >> (seed % 8);
		fill(data, size, ++seed + (racer->nr << 20));
		if (pwrite(fd, data, size, at) != (ssize_t)size)
			break;
		clear(data, size);
		if (pread(fd, data, size, at) != (ssize_t)size)
			break;
		if (first_wrong(data, size, seed + (racer->nr << 20)) != -1)
			break;
		racer->count[RACE_HAD]++;
	}
	racer->count[errno == EREMOTEIO ? RACE_REFUSED : RACE_WRONG]++;
	munmap(data, LOAD_MOST);
	close(fd);
	usleep(10000);
}

/* Does each process transfer something from now on, and has none failed yet? */
static bool all_transfer(struct race *race)
{
	return race_all(race, RACE_HAD, SECONDS) &&
	       !race_total(race, RACE_REFUSED) && !race_total(race, RACE_WRONG);
}

/* As long as there is a path that reaches the memory, no request fails. */
TEST_F_TIMEOUT(going, under_load, 900)
{
	/* Pressing the button of a slot takes 5 s, twice. */
	int rounds = times(variant->go == unplug_controller ? 1 : 2);
	struct setup *s = &self->s;
	int round, path;
	struct race race;
	bool right;

	race_start(&race, variant->processes ?: MAX_RACERS, load,
		   s->heads.path[0]);
	for (round = 0; round < rounds; round++) {
		path = round % 2;
		right = all_transfer(&race);
		EXPECT_TRUE(right) TH_LOG("round %d", round);
		if (!right)
			break;
		usleep(rand() % 5000);
		EXPECT_EQ(0, variant->go(s, path)) TH_LOG("round %d", round);
		EXPECT_TRUE(all_transfer(&race)) TH_LOG("round %d: gone", round);
		EXPECT_EQ(0, variant->come(s, path)) TH_LOG("round %d", round);
	}
	EXPECT_TRUE(all_transfer(&race));
	TH_LOG("%d rounds, %ld transfers, %ld failed", round,
	       race_total(&race, RACE_HAD),
	       race_total(&race, RACE_REFUSED) + race_total(&race, RACE_WRONG));
	race_stop(&race);
}

/* Attaches the first head's namespace to a controller, or detaches it: 0 or -errno */
static int attach(const struct setup *s, const char *bdf, bool attached)
{
	/* A list with one controller: their number, and its */
	static __u16 list[2048] = { 1 };
	struct nvme_admin_cmd command = {
		.opcode = NAMESPACE_ATTACHMENT,
		.addr = (uintptr_t)list,
		.data_len = sizeof(list),
		.cdw10 = !attached,
	};
	int controller = controller_of(bdf), fd, status;
	char path[SYSFS_LEN];

	snprintf(path, sizeof(path), "/sys/block/%s/nsid",
		 disk_name(s->heads.path[0]));
	command.nsid = file_number(path);
	snprintf(path, sizeof(path), "/sys/class/nvme/nvme%d/cntlid", controller);
	list[1] = file_number(path);
	snprintf(path, sizeof(path), "/dev/nvme%d", controller);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	status = ioctl(fd, NVME_IOCTL_ADMIN_CMD, &command);
	status = status < 0 ? -errno : status ? -EIO : 0;
	close(fd);
	return status;
}

/* The only path that reaches the memory goes, its controller stays. */
TEST_F(paths, detached)
{
	struct setup *s = &self->s;
	const char *near = s->near.name[0], *wrong;
	struct race race;
	long failed;

	ASSERT_EQ(0, pci_unbind(s->near.name[1]));
	race_start(&race, 2, load, s->heads.path[0]);
	EXPECT_TRUE(all_transfer(&race));
	EXPECT_EQ(0, attach(s, near, false));
	EXPECT_TRUE(wait_for(carried_by(s, near) == -1, SECONDS));
	EXPECT_TRUE(race_all(&race, RACE_REFUSED, SECONDS));
	/* The controller fails requests until the host knows. */
	failed = race_total(&race, RACE_WRONG);
	wrong = refuse(s, s->fd, 40);
	EXPECT_EQ(NULL, wrong) TH_LOG("%s (%m)", wrong);
	EXPECT_EQ(0, attach(s, near, true));
	EXPECT_TRUE(race_all(&race, RACE_HAD, SECONDS));
	EXPECT_EQ(failed, race_total(&race, RACE_WRONG));
	race_stop(&race);
	ASSERT_EQ(0, path_bind(s, s->near.name[1]));
}

/* ---- On a head ---- */

#define MOUNT_POINT	"/tmp/p2pdma-multipath"

TEST_F(paths, ext4)
{
	const char *head = self->s.heads.path[0];
	const ssize_t length = BUFFER;
	struct setup *s = &self->s;
	char command[PATH_MAX];
	int file;

	snprintf(command, sizeof(command),
		 "mkfs.ext4 -q -F %s >/dev/null 2>&1", head);
	ASSERT_EQ(0, system(command));
	mkdir(MOUNT_POINT, 0700);
	/* Nobody else may have it open for writing. */
	close(s->fd);
	ASSERT_EQ(0, mount(head, MOUNT_POINT, "ext4", 0, NULL)) TH_LOG("%m");

	fill(s->peer, length, 51);
	file = open(MOUNT_POINT "/file", O_RDWR | O_CREAT | O_DIRECT, 0600);
	EXPECT_EQ(length / 2, pwrite(file, s->peer, length / 2, 0))
		TH_LOG("%m");
	EXPECT_EQ(0, pci_unbind(s->near.name[0]));
	EXPECT_EQ(length / 2, pwrite(file, s->peer + length / 2, length / 2,
				     length / 2)) TH_LOG("%m");
	close(file);
	EXPECT_EQ(0, umount(MOUNT_POINT));
	EXPECT_EQ(0, pci_bind(s->near.name[0], "nvme"));

	ASSERT_EQ(0, mount(head, MOUNT_POINT, "ext4", 0, NULL)) TH_LOG("%m");
	file = open(MOUNT_POINT "/file", O_RDONLY | O_DIRECT);
	clear(s->peer, length);
	EXPECT_EQ(length, pread(file, s->peer, length, 0)) TH_LOG("%m");
	EXPECT_EQ(-1, first_wrong(s->peer, length, 51));
	close(file);
	file = open(MOUNT_POINT "/file", O_RDONLY);
	clear(s->system, length);
	EXPECT_EQ(length, pread(file, s->system, length, 0)) TH_LOG("%m");
	EXPECT_EQ(-1, first_wrong(s->system, length, 51));
	close(file);
	EXPECT_EQ(0, umount(MOUNT_POINT));
	s->fd = open_direct(head);
	ASSERT_EQ(0, wait_for_path(s, s->near.name[0]));
}

#define FIO_LOG		"/tmp/p2pdma-multipath.fio"
#define FIO_MEMORY	"/tmp/p2pdma-multipath.memory"
#define FIO_OPTIONS	"--name=job --direct=1 --rw=randwrite --size=4m " \
			"--bsrange=4k-256k --ioengine=io_uring --iodepth=8 " \
			"--verify=crc32c --verify_fatal=1 --do_verify=1 " \
			"--iomem=mmapshared:" FIO_MEMORY

/* fio's own verification, with peer memory as its buffers */
TEST_F(paths, fio)
{
	char command[PATH_MAX], log[4096];
	struct setup *s = &self->s;
	long long far = carried_by(s, s->far.name[0]);

	if (system("command -v fio >/dev/null"))
		SKIP(return, "fio isn't installed");
	/* fio takes a ':' as the end of a file's name. */
	unlink(FIO_MEMORY);
	snprintf(command, sizeof(command),
		 "/sys/bus/pci/devices/%s/p2pmem/allocate", s->bdf);
	ASSERT_EQ(0, symlink(command, FIO_MEMORY));
	ASSERT_EQ(0, set_policy(s, "round-robin"));
	snprintf(command, sizeof(command),
		 "cd /tmp && fio " FIO_OPTIONS " --filename=%s >" FIO_LOG " 2>&1",
		 s->heads.path[0]);
	EXPECT_EQ(0, system(command)) {
		file_read(FIO_LOG, log, sizeof(log));
		TH_LOG("%s", log);
	}
	EXPECT_EQ(far, carried_by(s, s->far.name[0]));
	EXPECT_EQ(0, set_policy(s, "numa"));
}

#define MD		"/dev/md9"
#define MD_OPTIONS	" --raid-devices=2 --assume-clean"
#define DM		"p2pdma-multipath"
#define DM_SECTORS	16384

FIXTURE(stack)
{
	struct setup s;
};

FIXTURE_VARIANT(stack)
{
	const char *level;
	int copies;
};

FIXTURE_VARIANT_ADD(stack, raid0)
{
	.level = "raid0",
	.copies = 1,
};

FIXTURE_VARIANT_ADD(stack, raid1)
{
	.level = "raid1",
	.copies = 2,
};

FIXTURE_SETUP(stack)
{
	const char *missing = find(&self->s);
	char command[256];

	if (missing)
		SKIP(return, "%s", missing);
	if (self->s.heads.nr < 2)
		SKIP(return, "one disk with several paths, two are needed");
	snprintf(command, sizeof(command), "dm-mod %s", variant->level);
	if (module_probe("-a", command))
		SKIP(return, "no modules %s", command);
	ASSERT_EQ(0, set_up(&self->s));
	/* The two disks have all the same data already, as far as RAID1 is concerned. */
	snprintf(command, sizeof(command),
		 "mdadm --build " MD MD_OPTIONS " --level=%s %.32s %.32s >/dev/null 2>&1",
		 variant->level, self->s.heads.path[0], self->s.heads.path[1]);
	ASSERT_EQ(0, system(command));
	snprintf(command, sizeof(command),
		 "dmsetup create " DM " --noudevsync --table '0 %d linear " MD " 2048'",
		 DM_SECTORS);
	ASSERT_EQ(0, system(command));
}

FIXTURE_TEARDOWN(stack)
{
	EXPECT_EQ(0, system("dmsetup remove --noudevsync " DM));
	EXPECT_EQ(0, system("mdadm --stop --quiet " MD));
	tear_down(_metadata, &self->s);
}

static int find_mapped(char path[NAME_MAX])
{
	char file[SYSFS_LEN], name[64];
	int i;

	for (i = 0; i < 16; i++) {
		snprintf(file, sizeof(file), "/sys/block/dm-%d/dm/name", i);
		snprintf(path, NAME_MAX, "/dev/dm-%d", i);
		if (file_read(file, name, sizeof(name)) > 0 &&
		    !strcmp(name, DM "\n"))
			return 0;
	}
	return -ENODEV;
}

/* Device mapper on RAID on disks with several paths */
TEST_F(stack, fails_over)
{
	struct setup *s = &self->s;
	char dm[NAME_MAX];
	long long bytes = (1 + variant->copies) * BUFFER;
	const char *wrong;
	int i, fd;

	ASSERT_EQ(0, find_mapped(dm));
	fd = open_direct(dm);
	ASSERT_LE(0, fd) TH_LOG("%s: %m", dm);
	EXPECT_EQ(1, queue_takes_peer_memory(MD));
	EXPECT_EQ(1, queue_takes_peer_memory(dm));

	for (i = 0; i < 2; i++) {
		wrong = compare(s, fd, BUFFER, AT, 60 + i, bytes);
		EXPECT_EQ(NULL, wrong) TH_LOG("%d of 2 paths: %s (%m)", 2 - i, wrong);
		ASSERT_EQ(0, pci_unbind(s->near.name[i]));
	}
	wrong = refuse(s, fd, 62);
	EXPECT_EQ(NULL, wrong) TH_LOG("%s (%m)", wrong);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, path_bind(s, s->near.name[i]));
	wrong = compare(s, fd, BUFFER, AT, 63, bytes);
	EXPECT_EQ(NULL, wrong) TH_LOG("paths are back: %s (%m)", wrong);
	close(fd);
}

/* ---- Over RDMA, where paths have states ---- */

#define SERIAL		"p2pdmafabric"
#define LOOP		NVMET_PORTS	/* its number; the others' are the adapters' */

/* Ports of the target, and controllers of the host, from 1 on */
struct fabric {
	struct setup s;			/* without PCI controllers */
	char disk[NAME_MAX];		/* below the target */
	struct devices engines;
	int controller[NVMET_PORTS + 1];
};

FIXTURE(fabric)
{
	struct fabric f;
};

static int port_start(int port, const char *transport)
{
	int error = nvmet_port_add(port, transport);

	if (!error && port != LOOP)
		error = nvmet_port_set(port, "addr_adrfam", "ipv4") ?:
			nvmet_port_set(port, "addr_traddr",
				       rnic_addresses[port - 1]) ?:
			nvmet_port_set(port, "addr_trsvcid", "4420");
	return error ?: nvmet_port_link(port);
}

static int port_state(int port, const char *state)
{
	return nvmet_port_set(port, "ana_groups/1/ana_state", state);
}

static int path_connect(struct fabric *f, int port)
{
	char options[256];

	if (port == LOOP)
		snprintf(options, sizeof(options), "transport=loop");
	else
		snprintf(options, sizeof(options),
			 "transport=rdma,traddr=%s,trsvcid=4420,host_traddr=%s,nr_io_queues=1,queue_size=16,keep_alive_tmo=36000,reconnect_delay=1,ctrl_loss_tmo=-1",
			 rnic_addresses[port - 1], rnic_addresses[port - 1]);
	f->controller[port] = nvmet_connect(options);
	return f->controller[port] < 0 ? f->controller[port] : 0;
}

static void path_disconnect(struct fabric *f, int port)
{
	if (f->controller[port] >= 0)
		nvmet_disconnect(f->controller[port]);
	f->controller[port] = -1;
}

static const char *fabric_disk(struct fabric *f)
{
	return f->s.heads.path[0];
}

/* What the host knows of a path is a little behind the target. */
static bool path_is(struct fabric *f, int port, const char *state)
{
	char text[32];

	return path_read(fabric_disk(f), f->controller[port], "ana_state",
			 text, sizeof(text)) > 0 &&
	       !strncmp(text, state, strlen(state));
}

static bool is_connecting(struct fabric *f, int port)
{
	char file[SYSFS_LEN], text[32];

	snprintf(file, sizeof(file), "/sys/class/nvme/nvme%d/state",
		 f->controller[port]);
	return file_read(file, text, sizeof(text)) > 0 &&
	       !strcmp(text, "connecting\n");
}

static int set_path(struct fabric *f, int port, const char *state)
{
	return port_state(port, state) ?:
	       (wait_for(path_is(f, port, state), SECONDS) ? 0 : -ETIMEDOUT);
}

/*
 * Removes a port of the target: the host tries to connect again until there is one.
 * 0 or -errno
 */
static int reconnects(struct fabric *f, int port)
{
	return nvmet_port_unlink(port) ?:
	       (wait_for(is_connecting(f, port), SECONDS) ? 0 : -ETIMEDOUT);
}

static bool disk_takes_peer_memory(struct fabric *f, bool takes)
{
	return wait_for(queue_takes_peer_memory(fabric_disk(f)) == takes,
			SECONDS);
}

static bool open_disk(struct fabric *f)
{
	if (disk_with_serial(SERIAL, f->s.heads.path[0]))
		return false;
	f->s.fd = open_direct(f->s.heads.path[0]);
	return f->s.fd >= 0;
}

/* NULL, or what is missing */
static const char *fabric_find(struct fabric *f)
{
	struct disks scratch;
	char bdf[BDF_LEN];
	int i;

	f->s.fd = -1;
	f->s.peer = MAP_FAILED;
	f->s.system = MAP_FAILED;
	for (i = 0; i <= NVMET_PORTS; i++)
		f->controller[i] = -1;
	if (getuid())
		return "needs root";
	f->s.bdf = provider();
	if (!f->s.bdf)
		return "no device with published peer memory";
	if (access(NVMET "subsystems", F_OK))
		return "no NVMe target in configfs";
	scratch_disks(&scratch);
	if (!scratch.nr || disk_bdf(scratch.path[0], bdf))
		return "no disk with one path in P2PDMA_SCRATCH";
	snprintf(f->disk, sizeof(f->disk), "%s", scratch.path[0]);
	if (module_probe("-a", "nvme-rdma nvmet-rdma"))
		return "no NVMe over RDMA (CONFIG_NVME_RDMA, CONFIG_NVME_TARGET_RDMA)";
	return rnic_find(&f->engines);
}

/* NULL, or what failed: paths over the first two adapters */
static const char *fabric_start(struct fabric *f)
{
	struct setup *s = &f->s;

	s->available = p2pmem_number(s->bdf, "available");
	s->peer = p2pmem_map(s->bdf, BUFFER);
	s->system = system_map(BUFFER);
	if (s->peer == MAP_FAILED || s->system == MAP_FAILED)
		return "memory";
	if (rnic_netdevs_up())
		return "network interfaces";
	if (rnic_load(&f->engines, f->engines.nr))
		return "module " RNIC;
	if (nvmet_add(f->disk) ||
	    file_write(NVMET_SUBSYSTEM "attr_serial", SERIAL) ||
	    file_write(NVMET_NAMESPACE "enable", "1") ||
	    port_start(1, "rdma") || port_start(2, "rdma") ||
	    port_start(LOOP, "loop"))
		return "target";
	if (path_connect(f, 1) || path_connect(f, 2))
		return "connecting";
	if (!wait_for(open_disk(f), SECONDS))
		return "the host's disk";
	if (!wait_for(path_is(f, 1, "optimized") &&
		      path_is(f, 2, "optimized"), SECONDS))
		return "paths";
	return NULL;
}

FIXTURE_SETUP(fabric)
{
	struct fabric *f = &self->f;
	const char *missing = fabric_find(f);

	if (missing)
		SKIP(return, "%s", missing);
	if (f->engines.nr < 2)
		SKIP(return, "one LSI 53C895A, two are needed");
	missing = fabric_start(f);
	ASSERT_EQ(NULL, missing) TH_LOG("%s: %m", missing);
}

FIXTURE_TEARDOWN(fabric)
{
	struct fabric *f = &self->f;
	struct setup *s = &f->s;
	int i;

	close(s->fd);
	for (i = 1; i <= NVMET_PORTS; i++)
		path_disconnect(f, i);
	nvmet_remove();
	EXPECT_NE(0, access(NVMET_SUBSYSTEM, F_OK));
	munmap(s->peer, BUFFER);
	munmap(s->system, BUFFER);
	EXPECT_TRUE(wait_for(p2pmem_number(s->bdf, "available") == s->available,
			     SECONDS));
	EXPECT_EQ(0, module_unload_named(RNIC));
	EXPECT_EQ(0, module_unload_named(ENGINE));
}

/* Each path is the only one that the target lets the host use, in turn. */
TEST_F(fabric, each_alone)
{
	struct fabric *f = &self->f;
	const char *disk = fabric_disk(f), *wrong;
	struct setup *s = &f->s;
	long long before[3];
	int i, port;

	EXPECT_EQ(1, queue_takes_peer_memory(disk));
	for (port = 1; port <= 2; port++) {
		ASSERT_EQ(0, set_path(f, port, "optimized"));
		ASSERT_EQ(0, set_path(f, 3 - port, "inaccessible"));
		for (i = 1; i <= 2; i++)
			before[i] = carried(disk, f->controller[i]);
		wrong = compare(s, s->fd, BUFFER, AT, 70 + port, 0);
		EXPECT_EQ(NULL, wrong) TH_LOG("port %d: %s (%m)", port, wrong);
		EXPECT_EQ(before[port] + 3 * (long long)BUFFER,
			  carried(disk, f->controller[port]));
		EXPECT_EQ(before[3 - port],
			  carried(disk, f->controller[3 - port]));
	}
}

/* A path that takes no peer memory: as long as it is there, the head takes none. */
TEST_F(fabric, loop_comes_and_goes)
{
	struct fabric *f = &self->f;
	struct setup *s = &f->s;
	const char *wrong;
	int i;

	for (i = 0; i < 3; i++) {
		wrong = compare(s, s->fd, BUFFER, AT, 80 + i, 0);
		EXPECT_EQ(NULL, wrong) TH_LOG("%s (%m)", wrong);
		if (i == 2)
			break;
		ASSERT_EQ(0, path_connect(f, LOOP));
		ASSERT_TRUE(disk_takes_peer_memory(f, false));
		wrong = refuse(s, s->fd, 82 + i);
		EXPECT_EQ(NULL, wrong) TH_LOG("%s (%m)", wrong);
		path_disconnect(f, LOOP);
		ASSERT_TRUE(disk_takes_peer_memory(f, true));
	}
}

/* A path over the third adapter, which doesn't reach the memory: 0 or -errno */
static int add_far(struct fabric *f)
{
	int error = port_start(3, "rdma") ?: path_connect(f, 3);

	if (!error && !wait_for(path_is(f, 3, "optimized"), SECONDS))
		error = -ETIMEDOUT;
	return error;
}

/*
 * The third adapter doesn't reach the memory: its path isn't used for it as long as
 * there is another one, and alone it is refused.
 */
TEST_F(fabric, far_adapter)
{
	struct fabric *f = &self->f;
	const char *disk = fabric_disk(f), *wrong;
	struct setup *s = &f->s;
	long long before;
	int port;

	if (f->engines.nr < 3)
		SKIP(return, "two LSI 53C895A, three are needed");
	ASSERT_EQ(0, add_far(f));
	EXPECT_EQ(1, queue_takes_peer_memory(disk));
	ASSERT_EQ(0, set_policy(s, "round-robin"));

	before = carried(disk, f->controller[3]);
	ASSERT_EQ(0, transfer(s->fd, s->system));
	EXPECT_LT(before, carried(disk, f->controller[3]));
	before = carried(disk, f->controller[3]);
	EXPECT_EQ(0, transfer(s->fd, s->peer));
	EXPECT_EQ(before, carried(disk, f->controller[3]));

	for (port = 1; port <= 2; port++)
		path_disconnect(f, port);
	wrong = refuse(s, s->fd, 90);
	EXPECT_EQ(NULL, wrong) TH_LOG("%s (%m)", wrong);
	ASSERT_EQ(0, path_connect(f, 1));
	ASSERT_TRUE(wait_for(path_is(f, 1, "optimized"), SECONDS));
	wrong = compare(s, s->fd, BUFFER, AT, 91, 0);
	EXPECT_EQ(NULL, wrong) TH_LOG("%s (%m)", wrong);
}

/* Are all processes asleep in the kernel? */
static bool all_sleep(const struct race *race)
{
	char file[32], text[128], state;
	int i;

	for (i = 0; i < race->nr; i++) {
		snprintf(file, sizeof(file), "/proc/%d/stat", race->pid[i]);
		if (file_read(file, text, sizeof(text)) <= 0 ||
		    sscanf(text, "%*d (%*[^)]) %c", &state) != 1 ||
		    state != 'D')
			return false;
	}
	return true;
}

/*
 * While another path is live that doesn't reach the memory, requests for it wait for
 * one that does only if that is soon usable.
 */
TEST_F(fabric, far_and_states)
{
	static const char * const next[] = { "optimized", "inaccessible" };
	static const enum race_count counts[] = { RACE_HAD, RACE_REFUSED };
	struct fabric *f = &self->f;
	const char *disk = fabric_disk(f), *wrong;
	struct setup *s = &f->s;
	struct race race;
	long long before;
	int i;

	if (f->engines.nr < 3)
		SKIP(return, "two LSI 53C895A, three are needed");
	ASSERT_EQ(0, add_far(f));
	ASSERT_EQ(0, set_path(f, 1, "inaccessible"));
	ASSERT_EQ(0, set_path(f, 2, "inaccessible"));
	wrong = refuse(s, s->fd, 92);
	EXPECT_EQ(NULL, wrong) TH_LOG("%s (%m)", wrong);

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, set_path(f, 2, "change"));
		before = carried(disk, f->controller[3]);
		race_start(&race, 2, load, disk);
		EXPECT_TRUE(wait_for(all_sleep(&race), SECONDS));
		EXPECT_EQ(0, transfer(s->fd, s->system));
		EXPECT_EQ(before + 2 * PIECES * (long long)PIECE,
			  carried(disk, f->controller[3]));
		EXPECT_EQ(0, race_total(&race, RACE_HAD));
		EXPECT_EQ(0, race_total(&race, RACE_REFUSED));

		EXPECT_EQ(0, set_path(f, 2, next[i]));
		EXPECT_TRUE(race_all(&race, counts[i], SECONDS)) TH_LOG("%s", next[i]);
		EXPECT_EQ(0, race_total(&race, counts[!i]));
		EXPECT_EQ(0, race_total(&race, RACE_WRONG));
		race_stop(&race);
	}
}

/* A path that comes again, but doesn't reach the memory, isn't waited for. */
TEST_F(fabric, far_reconnects)
{
	struct fabric *f = &self->f;
	struct setup *s = &f->s;
	struct race race;
	int port;

	if (f->engines.nr < 3)
		SKIP(return, "two LSI 53C895A, three are needed");
	ASSERT_EQ(0, add_far(f));
	for (port = 1; port <= 2; port++)
		path_disconnect(f, port);
	ASSERT_EQ(0, reconnects(f, 3));
	race_start(&race, 2, load, fabric_disk(f));
	EXPECT_TRUE(race_all(&race, RACE_REFUSED, SECONDS));
	EXPECT_EQ(0, race_total(&race, RACE_HAD));
	EXPECT_EQ(0, race_total(&race, RACE_WRONG));
	EXPECT_TRUE(is_connecting(f, 3));
	race_stop(&race);
	ASSERT_EQ(0, nvmet_port_link(3));
	EXPECT_EQ(0, transfer(s->fd, s->system));
}

static int change_states(struct fabric *f, int port,
			 struct race *race)
{
	static const char * const states[] = {
		"inaccessible", "non-optimized", "change", "persistent-loss",
	};
	size_t i;
	int error;

	for (i = 0; i < ARRAY_SIZE(states); i++) {
		error = set_path(f, port, states[i]);
		if (error)
			return error;
		if (!all_transfer(race))
			return -EIO;
	}
	return set_path(f, port, "optimized");
}

static int cut(struct fabric *f, int port, struct race *race)
{
	path_disconnect(f, port);
	return all_transfer(race) ? path_connect(f, port) : -EIO;
}

/* The path is back when this returns: shows only that requests in flight don't fail */
static int reset_path(struct fabric *f, int port, struct race *race)
{
	char file[SYSFS_LEN];

	snprintf(file, sizeof(file), "/sys/class/nvme/nvme%d/reset_controller",
		 f->controller[port]);
	return file_write(file, "1");
}

static int remove_port(struct fabric *f, int port, struct race *race)
{
	return reconnects(f, port) ?:
	       (all_transfer(race) ? nvmet_port_link(port) : -EIO);
}

/* As long as one path is usable, no request fails. */
TEST_F_TIMEOUT(fabric, under_load, 900)
{
	static int (* const changes[])(struct fabric *f, int port,
				       struct race *race) = {
		change_states, cut, reset_path, remove_port,
	};
	int round, port, rounds = times(1);
	struct fabric *f = &self->f;
	struct race race;
	size_t i;

	race_start(&race, 2, load, fabric_disk(f));
	EXPECT_TRUE(all_transfer(&race));
	for (round = 0; round < rounds; round++) {
		for (i = 0; i < 2 * ARRAY_SIZE(changes); i++) {
			port = 1 + i % 2;
			EXPECT_EQ(0, changes[i / 2](f, port, &race))
				TH_LOG("round %d, port %d, change %zu", round,
				       port, i / 2);
			EXPECT_TRUE(wait_for(path_is(f, port, "optimized"),
					     SECONDS));
			if (!all_transfer(&race))
				break;
		}
	}
	EXPECT_TRUE(all_transfer(&race));
	TH_LOG("%d rounds, %ld transfers", round, race_total(&race, RACE_HAD));
	EXPECT_EQ(0, race_total(&race, RACE_WRONG));
	EXPECT_EQ(0, race_total(&race, RACE_REFUSED));
	race_stop(&race);
}

TEST_HARNESS_MAIN
