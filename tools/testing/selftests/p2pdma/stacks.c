// SPDX-License-Identifier: GPL-2.0
/*
 * Peer memory through arrays of disks, by md and by device mapper. Where every disk
 * of an array takes and reaches the memory, data must arrive, and by the disks' own
 * DMA. Where one doesn't, or where the kind of array passes no peer memory, I/O must
 * be refused with EREMOTEIO before any disk is sent a request, and the array must
 * remain as it was: nothing written, no disk failed, no bad blocks. Arrays also
 * change while they are used.
 *
 * Overwrites the first four disks in P2PDMA_SCRATCH, and the first ones in P2PDMA_FAR
 * and P2PDMA_OTHER. Needs mdadm and dmsetup. The arrays have numbers that hardly
 * anything else has; if one is taken, tests are skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define KiB		1024UL
#define BUFFER		(2 * MiB)	/* peer and system memory of a test */
#define LARGEST		(1 * MiB)
#define SECTOR		512UL
#define PIECE		(64 * KiB)	/* one bio */
#define QUEUE		8		/* bios at once */
#define SECONDS		60		/* for an array to change */
#define MD		"/dev/md200"
#define MD_FILES	"/sys/block/md200/md/"
#define DM		"/dev/dm-200"	/* the map p2pdma0 */
#define DM_1		"/dev/dm-201"	/* p2pdma1 */

/* Disks; the scripts below call them $a to $d, $far, $other. */
enum { A, B, C, D, FAR, OTHER, NR_DISKS };

static const char *const variable[] = { "a", "b", "c", "d", "far", "other" };

static const char *bdf;
static struct disks disks;

/*
 * Words for the scripts. Commas separate lines of a table. An array that is used
 * stays "dirty", so that md writes no superblock while a test counts what disks are
 * sent. With --force mdadm waits some seconds for a disk that is to be removed. The
 * cipher does nothing: data stays the same.
 */
static const char words[] =
	"md() {\n"
	"	array=$1; shift\n"
	"	mdadm --create $array --run --quiet --data-offset=1M \"$@\" || exit\n"
	"	delay=/sys/block/${array#/dev/}/md/safe_mode_delay\n"
	"	[ ! -e $delay ] || echo 0 > $delay\n"
	"}\n"
	"mirror() {\n"
	"	md " MD " --assume-clean --bitmap=none --size=15M \"$@\"\n"
	"}\n"
	"manage() { mdadm --manage --quiet --force " MD " \"$@\"; }\n"
	"dm() {\n"
	"	nr=0\n"
	"	[ ! -e " DM " ] || nr=1\n"
	"	major=$(sed -n 's/ *\\([0-9]*\\) device-mapper$/\\1/p' /proc/devices)\n"
	"	echo \"$*\" | tr , '\\n' |\n"
	"		dmsetup create p2pdma$nr --major $major --minor 20$nr || exit\n"
	"}\n"
	"dm_load() { echo \"$*\" | dmsetup load p2pdma0 || exit; }\n"
	"crypt='crypt cipher_null-ecb - 0'\n";

/* Runs a script, and says what it printed if it fails: its status. */
static int shell(const char *format, ...)
{
	char *script, *command, line[256];
	va_list args;
	FILE *output;
	pid_t child;
	int status;

	va_start(args, format);
	if (vasprintf(&script, format, args) < 0)
		return -ENOMEM;
	va_end(args);
	if (asprintf(&command, "exec 2>&1; %s%s", words, script) < 0)
		return -ENOMEM;

	output = tmpfile();
	fflush(stdout);
	child = fork();
	if (!child) {
		dup2(fileno(output), STDOUT_FILENO);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	waitpid(child, &status, 0);
	if (status) {
		rewind(output);
		ksft_print_msg("exit status %d of: %.60s\n",
			       WEXITSTATUS(status), script);
		while (fgets(line, sizeof(line), output))
			ksft_print_msg("  %s", line);
	}
	fclose(output);
	free(command);
	free(script);
	return status;
}

/* What a test has. */
struct setup {
	int fd;				/* of the array, O_DIRECT, or -1 */
	const char *path;
	off_t middle;			/* where one disk or stripe ends */
	char *peer;
	char *system;
	long long available;		/* before peer was mapped */
};

/* Are the arrays' names free? md lets an array go a little later. */
static bool is_free(void)
{
	char state[16];

	return access(DM, F_OK) && access(DM_1, F_OK) &&
	       (file_read(MD_FILES "array_state", state, sizeof(state)) < 0 ||
		!strcmp(state, "clear\n"));
}

static bool take_down(void)
{
	/* Twice, since one may lie on the other */
	shell("for round in 1 2; do\n"
	      "	for nr in 0 1; do\n"
	      "		[ ! -e /dev/dm-20$nr ] || dmsetup remove p2pdma$nr\n"
	      "	done\n"
	      "	[ ! -e " MD_FILES " ] || mdadm --stop --quiet " MD "\n"
	      "done\n"
	      "[ ! -e " DM " ] && [ ! -e " DM_1 " ]");
	return wait_for(is_free(), SECONDS);
}

/* Zeroes, so that copies are alike before a test writes, and no superblock is left */
static int wipe(const char *disk)
{
	/* Not a disk that something uses */
	int fd = open(disk, O_RDWR | O_EXCL | O_CLOEXEC);
	__u64 range[2] = {};
	int error;

	if (fd < 0)
		return -errno;
	error = ioctl(fd, BLKGETSIZE64, &range[1]) ||
		ioctl(fd, BLKZEROOUT, range) ? -errno : 0;
	close(fd);
	return error;
}

/* The first path of a variable, if it is set */
static bool first_path(const char *name, char path[NAME_MAX])
{
	const char *given = getenv(name) ?: "";

	snprintf(path, NAME_MAX, "%.*s", (int)strcspn(given, " "), given);
	return *path;
}

/* NULL, or why not */
static const char *set_up(struct setup *s)
{
	int i;

	s->fd = -1;
	s->peer = MAP_FAILED;
	bdf = provider();
	if (!bdf)
		return "no device with published peer memory";
	if (getuid())
		return "needs root";
	scratch_disks(&disks);
	if (disks.nr < FAR || !first_path("P2PDMA_FAR", disks.path[FAR]) ||
	    !first_path("P2PDMA_OTHER", disks.path[OTHER]))
		return "needs four disks in P2PDMA_SCRATCH, and P2PDMA_FAR and P2PDMA_OTHER";
	if (access("/sys/module/dm_snapshot", F_OK) &&
	    (module_probe("-a", "raid0 raid1 raid10 raid456 linear") ||
	     module_probe("-a", "crypto_null dm-crypt dm-delay dm-snapshot")))
		return "no modules of md and device mapper";
	if (system("command -v mdadm dmsetup >/dev/null"))
		return "no mdadm or no dmsetup";
	if (!is_free())
		return "something has the arrays' numbers";
	for (i = 0; i < NR_DISKS; i++) {
		if (wipe(disks.path[i]))
			return "can't zero the disks";
		setenv(variable[i], disks.path[i], 1);
	}

	/* The tests check these. */
	s->available = p2pmem_number(bdf, "available");
	s->peer = p2pmem_map(bdf, BUFFER);
	s->system = system_map(BUFFER);
	return NULL;
}

static int open_array(struct setup *s, const char *path)
{
	__u64 size = 0;

	s->path = path;
	s->fd = open_direct(path);
	if (s->fd < 0 || ioctl(s->fd, BLKGETSIZE64, &size))
		return -errno;
	s->middle = size / 2;
	return 0;
}

static bool clean_up(struct setup *s)
{
	if (s->peer != MAP_FAILED)
		munmap(s->peer, BUFFER);
	if (s->fd >= 0)
		close(s->fd);
	return take_down();
}

/* For setups, after which there is no teardown if they fail */
static bool create(struct setup *s, const char *script, const char *path)
{
	if (s->peer != MAP_FAILED && !shell("%s", script) && !open_array(s, path))
		return true;
	clean_up(s);
	return false;
}

/* Sectors that disks were sent requests for */
struct traffic {
	long long read[NR_DISKS];
	long long written[NR_DISKS];
};

static void traffic_count(struct traffic *t)
{
	int i;

	for (i = 0; i < NR_DISKS; i++)
		if (disk_traffic(disks.path[i], &t->read[i], &t->written[i]))
			t->read[i] = -1;
}

/* What was added to @t since it was counted */
static void traffic_since(struct traffic *t)
{
	struct traffic now;
	int i;

	traffic_count(&now);
	for (i = 0; i < NR_DISKS; i++) {
		t->read[i] = now.read[i] < 0 ? -1 : now.read[i] - t->read[i];
		t->written[i] = now.written[i] - t->written[i];
	}
}

/* Are all disks of each mirror there, without an error, and alike? */
static int health(void)
{
	return shell("is() {\n"
		     "	read -r line < $1\n"
		     "	[ \"$line\" = \"$2\" ] && return\n"
		     "	echo \"$1 is '$line', not '$2'\"; exit 1\n"
		     "}\n"
		     "[ -e " MD_FILES "sync_action ] || exit 0\n"
		     "cd " MD_FILES " || exit\n"
		     "is degraded 0\n"
		     "for disk in rd*; do\n"
		     "	read -r state < $disk/state\n"
		     "	case ,$state, in\n"
		     "	*,faulty,* | *,write_error,*) echo $disk: $state; exit 1 ;;\n"
		     "	*,in_sync,*) ;;\n"
		     "	*) echo $disk: $state; exit 1 ;;\n"
		     "	esac\n"
		     "	is $disk/errors 0\n"
		     "	is $disk/bad_blocks ''\n"
		     "	is $disk/unacknowledged_bad_blocks ''\n"
		     "done\n"
		     "echo check > sync_action || exit\n"
		     "mdadm --wait --quiet " MD "\n"
		     "is sync_action idle\n"
		     "is last_sync_action check\n"
		     "is mismatch_cnt 0");
}

/* What md says of a disk */
static void disk_file(int disk, const char *name, char *text, size_t size)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), MD_FILES "dev-%s/%s",
		 strrchr(disks.path[disk], '/') + 1, name);
	if (file_read(path, text, size) < 0)
		*text = '\0';
}

static bool disk_is(int disk, const char *state)
{
	char text[256];

	disk_file(disk, "state", text, sizeof(text));
	return strstr(text, state);
}

/*
 * Have all disks their data? mdadm --wait may find that nothing is done, since a
 * recovery begins a little after a disk was added.
 */
static bool is_rebuilt(void)
{
	return wait_for(file_number(MD_FILES "degraded") == 0, SECONDS);
}

/* Arrays that take peer memory; their halves meet where a disk or stripe ends. */
FIXTURE(stack)
{
	struct setup s;
};

FIXTURE_VARIANT(stack)
{
	const char *path;
	const char *create;
	int legs;		/* disks that data in the middle is spread over */
	int copies;
};

FIXTURE_VARIANT_ADD(stack, raid0)
{
	MD, "md " MD " -l raid0 -n 2 -c 64 $a $b", 2, 1
};

FIXTURE_VARIANT_ADD(stack, md_linear)
{
	MD, "md " MD " -l linear -n 2 $a $b", 2, 1
};

FIXTURE_VARIANT_ADD(stack, raid1)
{
	MD, "mirror -l raid1 -n 2 $a $b", 2, 2
};

FIXTURE_VARIANT_ADD(stack, raid10)
{
	MD, "mirror -l raid10 -n 4 -c 64 $a $b $c $d", 4, 2
};

FIXTURE_VARIANT_ADD(stack, dm_linear)
{
	DM, "dm 0 16384 linear $a 0, 16384 16384 linear $b 99", 2, 1
};

FIXTURE_VARIANT_ADD(stack, dm_stripe)
{
	DM, "dm 0 32768 striped 2 128 $a 0 $b 0", 2, 1
};

FIXTURE_VARIANT_ADD(stack, dm_mixed)
{
	DM, "dm 0 16384 linear $a 0, 16384 16384 striped 2 128 $b 0 $b 8192", 2, 1
};

FIXTURE_VARIANT_ADD(stack, raid1_on_linear)
{
	MD, "dm 0 17408 linear $a 0, 17408 15360 linear $b 0;"
	    "dm 0 17408 linear $c 0, 17408 15360 linear $d 0;"
	    "mirror -l raid1 -n 2 " DM " " DM_1, 4, 2
};

FIXTURE_VARIANT_ADD(stack, linear_on_raid1)
{
	DM, "mirror -l raid1 -n 2 $a $b;"
	    "dm 0 15360 linear " MD " 15360, 15360 15360 linear " MD " 0", 2, 2
};

FIXTURE_SETUP(stack)
{
	const char *missing = set_up(&self->s);

	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_TRUE(create(&self->s, variant->create, variant->path));
}

FIXTURE_TEARDOWN(stack)
{
	EXPECT_EQ(0, health());
	EXPECT_TRUE(clean_up(&self->s));
	if (bdf)
		EXPECT_EQ(self->s.available, p2pmem_number(bdf, "available"));
}

/*
 * What was wrong with a transfer of @length bytes at @offset of the peer buffer to
 * @pos of the array, and with the one back, or NULL. The sectors beside, on the
 * array and in memory, must stay as they were.
 */
static const char *both_ways(struct setup *s, size_t length, size_t offset,
			     off_t pos, __u64 seed)
{
	ssize_t around = length + 2 * SECTOR, n = length;
	size_t before = offset < SECTOR ? offset : SECTOR;
	char *at = s->peer + offset;

	fill(s->system, around, ~seed);
	if (pwrite(s->fd, s->system, around, pos - SECTOR) != around)
		return "system memory isn't written";
	fill(at, length, seed);
	errno = 0;
	if (pwrite(s->fd, at, length, pos) != n)
		return "peer memory isn't written";
	clear(s->system, around);
	if (pread(s->fd, s->system, around, pos - SECTOR) != around)
		return "system memory isn't read";
	if (first_wrong(s->system + SECTOR, length, seed) != -1)
		return "the array has other data";

	/* With the middle as it was, all is as it was. */
	fill(s->peer, around, ~seed);
	memcpy(s->system + SECTOR, s->peer + SECTOR, length);
	if (first_wrong(s->system, around, ~seed) != -1)
		return "sectors around were written";

	clear(at - before, before + length + SECTOR);
	errno = 0;
	if (pread(s->fd, at, length, pos) != n)
		return "peer memory isn't read";
	if (first_wrong(at, length, seed) != -1)
		return "peer memory has other data";
	if (first_nonzero(at - before, before) != -1 ||
	    first_nonzero(at + length, SECTOR) != -1)
		return "memory around was written";
	return NULL;
}

/*
 * Each disk is sent its share of the data, and, as traced outside of the guest, its
 * controller gets only addresses in the provider's BAR.
 */
static void expect_no_byte_elsewhere(struct __test_metadata *_metadata,
				     struct setup *s, int legs, int copies)
{
	const ssize_t length = LARGEST, sectors = length / SECTOR;
	const off_t at = s->middle - length / 2;
	long long peer, other, read = 0;
	struct traffic traffic;
	char answer[128];
	int i;

	fill(s->peer, length, 31);
	traffic_count(&traffic);
	ASSERT_EQ(0, lab(answer, sizeof(answer), "dma-begin"));
	EXPECT_EQ(length, pwrite(s->fd, s->peer, length, at));
	EXPECT_EQ(length, pread(s->fd, s->peer, length, at));
	ASSERT_EQ(0, traced(&peer, &other));
	EXPECT_EQ((copies + 1) * length, peer);
	EXPECT_EQ(0, other);

	traffic_since(&traffic);
	for (i = 0; i < NR_DISKS; i++) {
		EXPECT_EQ(i < legs ? sectors * copies / legs : 0,
			  traffic.written[i]) TH_LOG("%s", disks.path[i]);
		read += traffic.read[i];
	}
	EXPECT_EQ(sectors, read);
	EXPECT_EQ(length, pread(s->fd, s->system, length, at));
	EXPECT_EQ(-1, first_wrong(s->system, length, 31));
}

TEST_F(stack, compared)
{
	static const size_t sizes[] = {
		512, 3584, 4608, 65 * KiB + 512, 512 * KiB - 512, LARGEST,
	};
	/* From the middle: across it, behind it, and to the end of a stripe */
	const char *wrong;
	size_t i, j, seed = 0;
	off_t pos[3];

	EXPECT_EQ(1, queue_takes_peer_memory(self->s.path));
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		pos[0] = self->s.middle - (sizes[i] / 2 & ~(SECTOR - 1));
		pos[1] = self->s.middle + SECTOR;
		pos[2] = self->s.middle + 1 * MiB - sizes[i];
		for (j = 0; j < ARRAY_SIZE(pos); j++) {
			wrong = both_ways(&self->s, sizes[i], j * 1536, pos[j],
					  ++seed);
			ASSERT_EQ(NULL, wrong)
				TH_LOG("%zu bytes at %+ld from the middle: %s (%m)",
				       sizes[i], pos[j] - self->s.middle, wrong);
		}
	}
	/* By now md has noted that the array is in use. */
	if (route_is_traced())
		expect_no_byte_elsewhere(_metadata, &self->s, variant->legs,
					 variant->copies);
}

#define MOUNT_POINT	"/tmp/p2pdma-stacks"

/* A file system, written and verified by fio from peer memory */
TEST_F(stack, ext4)
{
	if (system("command -v mkfs.ext4 fio >/dev/null"))
		SKIP(return, "no mkfs.ext4 or no fio");

	close(self->s.fd);
	self->s.fd = -1;
	mkdir(MOUNT_POINT, 0700);
	ASSERT_EQ(0, shell("mkfs.ext4 -q -F %s", self->s.path));
	if (mount(self->s.path, MOUNT_POINT, "ext4", 0, NULL))
		SKIP(return, "can't mount ext4: %s", strerror(errno));
	/* fio takes a ':' as the end of a file's name. */
	EXPECT_EQ(0, shell("cd " MOUNT_POINT " || exit\n"
			   "ln -s /sys/bus/pci/devices/%s/p2pmem/allocate peer\n"
			   "fio --name=data --filename=data --size=2m --direct=1 \\\n"
			   "	--rw=randwrite --bsrange=4k-256k --ioengine=libaio \\\n"
			   "	--iodepth=4 --iomem=mmapshared:peer --verify=crc32c \\\n"
			   "	--verify_fatal=1", bdf));
	EXPECT_EQ(0, umount(MOUNT_POINT));
}

/* Arrays that mustn't take peer memory, and why */
FIXTURE(refused)
{
	struct setup s;
};

FIXTURE_VARIANT(refused)
{
	const char *path;
	const char *create;
	int flag;		/* of the queue */
};

/* These compute with data, or copy it. */
FIXTURE_VARIANT_ADD(refused, raid5)
{
	MD, "mirror -l raid5 -n 3 -c 64 $a $b $c", 0
};

FIXTURE_VARIANT_ADD(refused, dm_crypt)
{
	DM, "dm 0 32768 $crypt $a 0", 0
};

FIXTURE_VARIANT_ADD(refused, dm_delay)
{
	DM, "dm 0 32768 delay $a 0 0", 0
};

FIXTURE_VARIANT_ADD(refused, dm_snapshot)
{
	DM, "dm 0 32768 snapshot $a $b N 16", 0
};

FIXTURE_VARIANT_ADD(refused, dm_snapshot_origin)
{
	DM, "dm 0 32768 snapshot-origin $a", 0
};

FIXTURE_VARIANT_ADD(refused, dm_linear_and_crypt)
{
	DM, "dm 0 16384 linear $a 0, 16384 16384 $crypt $b 0", 0
};

FIXTURE_VARIANT_ADD(refused, linear_on_raid5)
{
	DM, "mirror -l raid5 -n 3 -c 64 $a $b $c; dm 0 32768 linear " MD " 0", 0
};

FIXTURE_VARIANT_ADD(refused, raid1_on_crypt)
{
	MD, "dm 0 32768 $crypt $a 0; mirror -l raid1 -n 2 " DM " $b", 0
};

/* One disk isn't NVMe. */
FIXTURE_VARIANT_ADD(refused, raid0_other)
{
	MD, "md " MD " -l raid0 -n 2 -c 64 $a $other", 0
};

FIXTURE_VARIANT_ADD(refused, md_linear_other)
{
	MD, "md " MD " -l linear -n 2 $a $other", 0
};

FIXTURE_VARIANT_ADD(refused, raid1_other)
{
	MD, "mirror -l raid1 -n 2 $a $other", 0
};

FIXTURE_VARIANT_ADD(refused, raid10_other)
{
	MD, "mirror -l raid10 -n 4 -c 64 $a $b $c $other", 0
};

FIXTURE_VARIANT_ADD(refused, dm_linear_other)
{
	DM, "dm 0 16384 linear $a 0, 16384 16384 linear $other 0", 0
};

FIXTURE_VARIANT_ADD(refused, dm_stripe_other)
{
	DM, "dm 0 32768 striped 2 128 $a 0 $other 0", 0
};

/* One disk is out of reach, which only shows when I/O is made. */
FIXTURE_VARIANT_ADD(refused, raid0_far)
{
	MD, "md " MD " -l raid0 -n 2 -c 64 $a $far", 1
};

FIXTURE_VARIANT_ADD(refused, md_linear_far)
{
	MD, "md " MD " -l linear -n 2 $a $far", 1
};

FIXTURE_VARIANT_ADD(refused, raid1_far)
{
	MD, "mirror -l raid1 -n 2 $a $far", 1
};

FIXTURE_VARIANT_ADD(refused, raid1_far_first)
{
	MD, "mirror -l raid1 -n 2 $far $a", 1
};

FIXTURE_VARIANT_ADD(refused, raid10_far)
{
	MD, "mirror -l raid10 -n 4 -c 64 $a $b $c $far", 1
};

/* In the part of the leg that isn't accessed */
FIXTURE_VARIANT_ADD(refused, raid1_on_linear_far)
{
	MD, "dm 0 24576 linear $a 0, 24576 8192 linear $far 0;"
	    "mirror -l raid1 -n 2 " DM " $b", 1
};

FIXTURE_VARIANT_ADD(refused, linear_on_raid1_far)
{
	DM, "mirror -l raid1 -n 2 $a $far; dm 0 30720 linear " MD " 0", 1
};

FIXTURE_SETUP(refused)
{
	const char *missing = set_up(&self->s);

	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_TRUE(create(&self->s, variant->create, variant->path));
}

FIXTURE_TEARDOWN(refused)
{
	EXPECT_EQ(0, health());
	EXPECT_TRUE(clean_up(&self->s));
	if (bdf)
		EXPECT_EQ(self->s.available, p2pmem_number(bdf, "available"));
}

TEST_F(refused, untouched)
{
	static const size_t sizes[] = { 512, 4 * KiB, 64 * KiB, LARGEST };
	const off_t at = self->s.middle - LARGEST / 2;
	const ssize_t length = LARGEST;
	struct traffic traffic;
	size_t i;

	EXPECT_EQ(variant->flag, queue_takes_peer_memory(self->s.path));
	fill(self->s.system, length, 41);
	ASSERT_EQ(length, pwrite(self->s.fd, self->s.system, length, at));

	fill(self->s.peer, length, 42);
	traffic_count(&traffic);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		errno = 0;
		EXPECT_EQ(-1, pwrite(self->s.fd, self->s.peer, sizes[i], at));
		EXPECT_EQ(EREMOTEIO, errno) TH_LOG("write %zu: %m", sizes[i]);
		errno = 0;
		EXPECT_EQ(-1, pread(self->s.fd, self->s.peer, sizes[i], at));
		EXPECT_EQ(EREMOTEIO, errno) TH_LOG("read %zu: %m", sizes[i]);
	}
	traffic_since(&traffic);
	for (i = 0; i < NR_DISKS; i++) {
		EXPECT_EQ(0, traffic.written[i]) TH_LOG("%s", disks.path[i]);
		EXPECT_EQ(0, traffic.read[i]) TH_LOG("%s", disks.path[i]);
	}
	EXPECT_EQ(-1, first_wrong(self->s.peer, length, 42));

	/* The array still has its data, and takes more. */
	clear(self->s.system, length);
	EXPECT_EQ(length, pread(self->s.fd, self->s.system, length, at));
	EXPECT_EQ(-1, first_wrong(self->s.system, length, 41));
	EXPECT_EQ(length, pwrite(self->s.fd, self->s.system, length, at));
}

/* Arrays that tests make themselves, and most change while they are used */
FIXTURE(live)
{
	struct setup s;
	struct race race;
};

FIXTURE_SETUP(live)
{
	const char *missing = set_up(&self->s);

	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_NE(MAP_FAILED, (void *)self->s.peer);
}

FIXTURE_TEARDOWN(live)
{
	if (self->race.nr)
		race_stop(&self->race);
	EXPECT_EQ(0, health());
	EXPECT_TRUE(clean_up(&self->s));
	if (bdf)
		EXPECT_EQ(self->s.available, p2pmem_number(bdf, "available"));
}

static void wrong(struct racer *racer, const char *what, ssize_t n)
{
	ksft_print_msg("racer %d: %s: %zd (%m)\n", racer->nr, what, n);
	racer->count[RACE_WRONG]++;
}

/*
 * Writes peer memory to a place of its own in the array, reads what is there to
 * system memory, and then to peer memory. What was refused must have changed
 * nothing.
 */
static void transfer(struct racer *racer)
{
	const off_t at = (racer->nr + 1) * MiB;
	static char *peer, *system;
	static __u64 seed, next;
	static int fd;
	ssize_t n;

	if (!peer) {
		fd = open_direct(racer->what);
		peer = p2pmem_map(bdf, PIECE);
		system = system_map(PIECE);
		next = racer->nr * 1000000;
		seed = next;
		fill(system, PIECE, seed);
		n = pwrite(fd, system, PIECE, at);
		if (peer == MAP_FAILED || n != (ssize_t)PIECE)
			wrong(racer, "start", n);
	}

	fill(peer, PIECE, ++next);
	n = pwrite(fd, peer, PIECE, at);
	if (n == (ssize_t)PIECE) {
		seed = next;
		racer->count[RACE_HAD]++;
	} else if (n == -1 && errno == EREMOTEIO) {
		racer->count[RACE_REFUSED]++;
	} else {
		wrong(racer, "write", n);
	}

	n = pread(fd, system, PIECE, at);
	if (n != (ssize_t)PIECE || first_wrong(system, PIECE, seed) != -1)
		wrong(racer, "data on the array", n);

	clear(peer, PIECE);
	n = pread(fd, peer, PIECE, at);
	if (n == (ssize_t)PIECE) {
		racer->count[RACE_HAD]++;
		if (first_wrong(peer, PIECE, seed) != -1)
			wrong(racer, "data that was read", n);
	} else if (n != -1 || errno != EREMOTEIO) {
		wrong(racer, "read", n);
	}
	usleep(1000);
}

#define RACERS	2

/* Ends the race; @refused: was I/O to be refused at times? */
#define end_race(refused) do {						\
	EXPECT_EQ(0, race_total(&self->race, RACE_WRONG));		\
	EXPECT_EQ(refused, race_total(&self->race, RACE_REFUSED) > 0);	\
	TH_LOG("%ld transfers, %ld refused",				\
	       race_total(&self->race, RACE_HAD),			\
	       race_total(&self->race, RACE_REFUSED));			\
	race_stop(&self->race);						\
	self->race.nr = 0;						\
} while (0)

TEST_F(live, table_swapped)
{
	int round;
	long had;

	ASSERT_EQ(0, shell("dm 0 32768 linear $a 0"));
	race_start(&self->race, RACERS, transfer, DM);
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	for (round = 0; round < times(3); round++) {
		ASSERT_EQ(0, shell("dm_load 0 32768 $crypt $a 0 && dmsetup resume p2pdma0"));
		EXPECT_EQ(0, queue_takes_peer_memory(DM));
		ASSERT_TRUE(race_all(&self->race, RACE_REFUSED, SECONDS));
		had = race_total(&self->race, RACE_HAD);
		ASSERT_TRUE(race_all(&self->race, RACE_REFUSED, SECONDS));
		EXPECT_EQ(had, race_total(&self->race, RACE_HAD));
		ASSERT_EQ(0, shell("dm_load 0 32768 linear $a 0 && dmsetup resume p2pdma0"));
		EXPECT_EQ(1, queue_takes_peer_memory(DM));
		ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	}
	end_race(true);
}

static bool is_waiting(pid_t child)
{
	char path[64], stat[512], *state = NULL;

	snprintf(path, sizeof(path), "/proc/%d/stat", child);
	if (file_read(path, stat, sizeof(stat)) > 0)
		state = strrchr(stat, ')');
	return state && state[2] == 'D';
}

/* One write by a child, which is to wait for the array: the child, or -1 */
static pid_t write_that_waits(struct setup *s, __u64 seed)
{
	int ready[2];
	pid_t child;
	char byte;

	if (pipe(ready))
		return -1;
	child = fork();
	if (!child) {
		/* With the memory mapped, a child that waits doesn't do so for a page. */
		fill(s->peer, PIECE, seed);
		if (write(ready[1], "", 1) != 1)
			_exit(errno);
		errno = 0;
		pwrite(s->fd, s->peer, PIECE, MiB);
		_exit(errno);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) == 1 &&
	    wait_for(is_waiting(child), SECONDS)) {
		close(ready[0]);
		return child;
	}
	/* It can't be waited for as long as the array lets it wait. */
	kill(child, SIGKILL);
	close(ready[0]);
	return -1;
}

/* The table is swapped while a write, which the queue has let in, waits. */
TEST_F(live, table_swapped_below_a_bio)
{
	pid_t child;
	int status;

	ASSERT_EQ(0, shell("dm 0 32768 linear $a 0"));
	ASSERT_EQ(0, open_array(&self->s, DM));
	fill(self->s.system, PIECE, 61);
	ASSERT_EQ((ssize_t)PIECE, pwrite(self->s.fd, self->s.system, PIECE, MiB));

	ASSERT_EQ(0, shell("dm_load 0 32768 $crypt $a 0 && dmsetup suspend p2pdma0"));
	child = write_that_waits(&self->s, 62);
	ASSERT_EQ(0, shell("dmsetup resume p2pdma0"));
	ASSERT_LT(0, child);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(EREMOTEIO, WEXITSTATUS(status));

	EXPECT_EQ((ssize_t)PIECE, pread(self->s.fd, self->s.system, PIECE, MiB));
	EXPECT_EQ(-1, first_wrong(self->s.system, PIECE, 61));
}

/* A disk that isn't NVMe comes while a write, which the queue has let in, waits. */
TEST_F(live, leg_added_below_a_bio)
{
	pid_t child;
	int status;

	ASSERT_EQ(0, shell("mirror -l raid1 -n 2 $a $b"));
	ASSERT_EQ(0, open_array(&self->s, MD));
	fill(self->s.system, PIECE, 63);
	ASSERT_EQ((ssize_t)PIECE, pwrite(self->s.fd, self->s.system, PIECE, MiB));

	/* No write gets through to these sectors. */
	ASSERT_EQ(0, shell("echo 8192 > " MD_FILES "suspend_hi"));
	child = write_that_waits(&self->s, 64);
	EXPECT_EQ(0, shell("mdadm --grow --quiet " MD " -n 3 --add $other"));
	EXPECT_TRUE(wait_for(queue_takes_peer_memory(MD) == 0, SECONDS));
	ASSERT_EQ(0, shell("echo 0 > " MD_FILES "suspend_hi"));
	ASSERT_LT(0, child);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(EREMOTEIO, WEXITSTATUS(status));

	EXPECT_EQ((ssize_t)PIECE, pread(self->s.fd, self->s.system, PIECE, MiB));
	EXPECT_EQ(-1, first_wrong(self->s.system, PIECE, 63));
	EXPECT_TRUE(is_rebuilt());
}

/* The array below a table gets such a disk; what lets bios in is the table's flag. */
TEST_F(live, leg_added_below_a_table)
{
	const ssize_t length = PIECE;
	struct traffic traffic;
	int i;

	ASSERT_EQ(0, shell("mirror -l raid1 -n 2 $a $b; dm 0 30720 linear " MD " 0"));
	ASSERT_EQ(0, open_array(&self->s, DM));
	EXPECT_EQ(length, pwrite(self->s.fd, self->s.peer, length, MiB));
	ASSERT_EQ(0, shell("mdadm --grow --quiet " MD " -n 3 --add $other"));
	EXPECT_TRUE(wait_for(queue_takes_peer_memory(MD) == 0, SECONDS));
	EXPECT_TRUE(is_rebuilt());
	EXPECT_EQ(0, health());

	EXPECT_EQ(1, queue_takes_peer_memory(DM));
	traffic_count(&traffic);
	errno = 0;
	EXPECT_EQ(-1, pwrite(self->s.fd, self->s.peer, length, MiB));
	EXPECT_EQ(EREMOTEIO, errno);
	errno = 0;
	EXPECT_EQ(-1, pread(self->s.fd, self->s.peer, length, MiB));
	EXPECT_EQ(EREMOTEIO, errno);
	traffic_since(&traffic);
	for (i = 0; i < NR_DISKS; i++) {
		EXPECT_EQ(0, traffic.read[i]) TH_LOG("%s", disks.path[i]);
		EXPECT_EQ(0, traffic.written[i]) TH_LOG("%s", disks.path[i]);
	}
}

/* A disk fails, and another one takes its place, without a refusal. */
TEST_F(live, leg_rebuilt)
{
	ASSERT_EQ(0, shell("mirror -l raid1 -n 2 $a $b"));
	race_start(&self->race, RACERS, transfer, MD);
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	ASSERT_EQ(0, shell("manage --fail $a --remove $a"));
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	ASSERT_EQ(0, shell("mdadm --quiet " MD " --add $c"));
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	EXPECT_TRUE(is_rebuilt());
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	end_race(false);
}

/* Levels whose CPU computes with data take over, and give back. */
TEST_F(live, level_changed)
{
	ASSERT_EQ(0, shell("mirror -l raid1 -n 2 $a $b"));
	race_start(&self->race, RACERS, transfer, MD);
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	ASSERT_EQ(0, shell("echo raid5 > " MD_FILES "level"));
	EXPECT_EQ(0, queue_takes_peer_memory(MD));
	ASSERT_TRUE(race_all(&self->race, RACE_REFUSED, SECONDS));
	ASSERT_EQ(0, shell("echo raid1 > " MD_FILES "level"));
	EXPECT_EQ(1, queue_takes_peer_memory(MD));
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	end_race(true);
}

/* A stripe gets mirrors, without a refusal. */
TEST_F(live, raid0_becomes_raid10)
{
	ASSERT_EQ(0, shell("md " MD " -l raid0 -n 2 -c 64 $a $b"));
	race_start(&self->race, RACERS, transfer, MD);
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	ASSERT_EQ(0, shell("echo raid10 > " MD_FILES "level"));
	EXPECT_EQ(1, queue_takes_peer_memory(MD));
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	ASSERT_EQ(0, shell("mdadm --quiet " MD " --add $c $d"));
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	EXPECT_TRUE(is_rebuilt());
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	end_race(false);
}

/* Reads of peer memory that are under way at the same time: 0 or an error */
static int read_at_once(struct setup *s, io_context_t context)
{
	struct iocb iocbs[QUEUE], *list[QUEUE];
	struct io_event events[QUEUE];
	int i, got;

	for (i = 0; i < QUEUE; i++) {
		list[i] = &iocbs[i];
		/* Not in order: md leaves the reads of a sequence to one disk. */
		io_prep_pread(list[i], s->fd, s->peer + i * PIECE, PIECE,
			      i * 5 % QUEUE * PIECE);
	}
	got = io_submit(context, QUEUE, list);
	if (got == QUEUE)
		got = io_getevents(context, QUEUE, QUEUE, events, NULL);
	if (got != QUEUE)
		return got < 0 ? got : -EIO;
	for (i = 0; i < QUEUE; i++)
		if (events[i].res != PIECE)
			return -EIO;
	return 0;
}

static bool are_read(const struct traffic *since, int one, int other)
{
	struct traffic traffic = *since;

	traffic_since(&traffic);
	return traffic.read[one] > 0 && traffic.read[other] > 0;
}

/* Reads that wait for each other are spread over a mirror's disks. */
TEST_F(live, reads_are_balanced)
{
	const ssize_t length = QUEUE * PIECE;
	io_context_t context = NULL;
	struct traffic traffic;
	int error, i;

	ASSERT_EQ(0, shell("mirror -l raid1 -n 2 $a $b"));
	ASSERT_EQ(0, open_array(&self->s, MD));
	ASSERT_EQ(0, io_setup(QUEUE, &context));
	for (i = 0; i < QUEUE; i++)
		fill(self->s.system + i * 5 % QUEUE * PIECE, PIECE, 65 + i);
	ASSERT_EQ(length, pwrite(self->s.fd, self->s.system, length, 0));

	traffic_count(&traffic);
	EXPECT_TRUE(wait_for((error = read_at_once(&self->s, context)) ||
			     are_read(&traffic, A, B), SECONDS));
	EXPECT_EQ(0, error);
	for (i = 0; i < QUEUE; i++)
		EXPECT_EQ(-1, first_wrong(self->s.peer + i * PIECE, PIECE, 65 + i));
	EXPECT_EQ(0, io_destroy(context));
}

/*
 * A disk that is slow, where md lets writers go on once the other one is done: by a
 * copy of the data, which peer memory isn't.
 */
TEST_F(live, write_behind)
{
	const char *most = MD_FILES "bitmap/max_backlog_used";
	const ssize_t length = 256 * KiB;
	const bool is_traced = route_is_traced();
	long long peer, other;
	char answer[128];

	ASSERT_EQ(0, shell("md " MD " -l raid1 -n 2 --assume-clean --size=15M \\\n"
			   "	--bitmap=internal --bitmap-chunk=1M --delay=3600 \\\n"
			   "	--write-behind=64 $a --write-mostly $b"));
	ASSERT_EQ(0, open_array(&self->s, MD));
	EXPECT_EQ(1, queue_takes_peer_memory(MD));
	fill(self->s.system, length, 71);
	ASSERT_EQ(length, pwrite(self->s.fd, self->s.system, length, MiB));
	EXPECT_LT(0, file_number(most));

	ASSERT_EQ(0, file_write(most, "0"));
	fill(self->s.peer, length, 72);
	if (is_traced)
		ASSERT_EQ(0, lab(answer, sizeof(answer), "dma-begin"));
	EXPECT_EQ(length, pwrite(self->s.fd, self->s.peer, length, MiB));
	if (is_traced) {
		ASSERT_EQ(0, traced(&peer, &other));
		EXPECT_EQ(2 * length, peer);
		EXPECT_EQ(0, other);
	}
	EXPECT_EQ(0, file_number(most));
	EXPECT_EQ(length, pread(self->s.fd, self->s.system, length, MiB));
	EXPECT_EQ(-1, first_wrong(self->s.system, length, 72));
}

/* A spare takes no part, so it doesn't matter that it isn't NVMe. */
TEST_F(live, spare_from_the_start)
{
	const char *wrong;

	ASSERT_EQ(0, shell("mirror -l raid1 -n 2 --spare-devices=1 $a $b $other"));
	ASSERT_EQ(0, open_array(&self->s, MD));
	ASSERT_TRUE(disk_is(OTHER, "spare"));
	EXPECT_EQ(1, queue_takes_peer_memory(MD));
	wrong = both_ways(&self->s, PIECE, 0, MiB, 73);
	EXPECT_EQ(NULL, wrong) TH_LOG("%s (%m)", wrong);
	ASSERT_EQ(0, shell("mdadm --quiet " MD " --remove $other"));
	EXPECT_EQ(1, queue_takes_peer_memory(MD));
	wrong = both_ways(&self->s, PIECE, 0, MiB, 74);
	EXPECT_EQ(NULL, wrong) TH_LOG("without the spare: %s (%m)", wrong);
}

/* Of a table, only what lies on a far disk is out of reach: from @far on. */
static void expect_far_from(struct __test_metadata *_metadata, struct setup *s,
			    off_t far)
{
	const ssize_t length = PIECE;
	const off_t refused[] = { far, far - length / 2 };	/* behind, across */
	size_t i;

	EXPECT_EQ(1, queue_takes_peer_memory(DM));
	EXPECT_EQ(length, pwrite(s->fd, s->peer, length, far - length));
	EXPECT_EQ(length, pread(s->fd, s->peer, length, far - length));
	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		errno = 0;
		EXPECT_EQ(-1, pwrite(s->fd, s->peer, length, refused[i]));
		EXPECT_EQ(EREMOTEIO, errno) TH_LOG("write at %ld: %m", refused[i]);
		errno = 0;
		EXPECT_EQ(-1, pread(s->fd, s->peer, length, refused[i]));
		EXPECT_EQ(EREMOTEIO, errno) TH_LOG("read at %ld: %m", refused[i]);
	}
}

TEST_F(live, far_half_of_a_table)
{
	ASSERT_EQ(0, shell("dm 0 16384 linear $a 0, 16384 16384 linear $far 0"));
	ASSERT_EQ(0, open_array(&self->s, DM));
	expect_far_from(_metadata, &self->s, self->s.middle);
}

TEST_F(live, far_stripe)
{
	ASSERT_EQ(0, shell("dm 0 32768 striped 2 128 $a 0 $far 0"));
	ASSERT_EQ(0, open_array(&self->s, DM));
	expect_far_from(_metadata, &self->s, PIECE);
}

/* In a mirror that is used, a disk gives way to another one, and comes back. */
FIXTURE(leg)
{
	struct setup s;
	struct race race;
};

FIXTURE_VARIANT(leg)
{
	const char *create;
	int disk;		/* the other one */
	int flag;		/* of the array with that */
};

FIXTURE_VARIANT_ADD(leg, raid1_other)
{
	"mirror -l raid1 -n 2 $a $b", OTHER, 0
};

FIXTURE_VARIANT_ADD(leg, raid1_far)
{
	"mirror -l raid1 -n 2 $a $b", FAR, 1
};

FIXTURE_VARIANT_ADD(leg, raid10_other)
{
	"mirror -l raid10 -n 4 -c 64 $a $b $c $d", OTHER, 0
};

FIXTURE_VARIANT_ADD(leg, raid10_far)
{
	"mirror -l raid10 -n 4 -c 64 $a $b $c $d", FAR, 1
};

FIXTURE_SETUP(leg)
{
	const char *missing = set_up(&self->s);

	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_TRUE(create(&self->s, variant->create, MD));
	race_start(&self->race, RACERS, transfer, MD);
}

FIXTURE_TEARDOWN(leg)
{
	if (self->race.nr)
		race_stop(&self->race);
	EXPECT_EQ(0, health());
	EXPECT_TRUE(clean_up(&self->s));
	if (bdf)
		EXPECT_EQ(self->s.available, p2pmem_number(bdf, "available"));
}

TEST_F(leg, exchanged)
{
	const char *disk = disks.path[variant->disk];
	long had;

	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	EXPECT_EQ(1, queue_takes_peer_memory(MD));
	ASSERT_EQ(0, shell("manage --fail $b --remove $b"));
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));

	/* From the first request on, not only once it is in sync */
	ASSERT_EQ(0, shell("mdadm --quiet " MD " --add %s", disk));
	ASSERT_TRUE(race_all(&self->race, RACE_REFUSED, SECONDS));
	had = race_total(&self->race, RACE_HAD);
	EXPECT_EQ(variant->flag, queue_takes_peer_memory(MD));
	EXPECT_TRUE(is_rebuilt());
	EXPECT_EQ(0, health());
	ASSERT_TRUE(race_all(&self->race, RACE_REFUSED, SECONDS));
	EXPECT_EQ(had, race_total(&self->race, RACE_HAD));

	ASSERT_EQ(0, shell("mdadm --quiet " MD " --fail %s", disk));
	EXPECT_TRUE(wait_for(queue_takes_peer_memory(MD) == 1, SECONDS));
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	ASSERT_EQ(0, shell("manage --remove %s --add $b", disk));
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	EXPECT_TRUE(is_rebuilt());
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	end_race(true);
}

/* As a spare, the disk doesn't matter; it does once it replaces another one. */
TEST_F(leg, replaces)
{
	const char *disk = disks.path[variant->disk];

	ASSERT_EQ(0, shell("mdadm --quiet " MD " --add %s", disk));
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	EXPECT_EQ(1, queue_takes_peer_memory(MD));
	EXPECT_EQ(0, race_total(&self->race, RACE_REFUSED));
	ASSERT_EQ(0, shell("mdadm --quiet " MD " --replace $b --with %s", disk));
	ASSERT_TRUE(race_all(&self->race, RACE_REFUSED, SECONDS));
	EXPECT_EQ(variant->flag, queue_takes_peer_memory(MD));
	/* Then the disk that it replaces counts as failed. */
	EXPECT_TRUE(wait_for(disk_is(B, "faulty"), SECONDS));
	ASSERT_TRUE(race_all(&self->race, RACE_REFUSED, SECONDS));
	ASSERT_EQ(0, shell("manage --remove $b --fail %s --remove %s", disk, disk));
	ASSERT_TRUE(race_all(&self->race, RACE_HAD, SECONDS));
	EXPECT_EQ(1, queue_takes_peer_memory(MD));
	ASSERT_EQ(0, shell("mdadm --quiet " MD " --add $b"));
	EXPECT_TRUE(is_rebuilt());
	end_race(true);
}

/*
 * What the flag does to a mirror with a disk out of reach if md doesn't know of peer
 * memory: I/O succeeds, and costs a disk that has no defect.
 */
FIXTURE(harm)
{
	struct setup s;
};

FIXTURE_SETUP(harm)
{
	const char *missing = set_up(&self->s);

	if (missing)
		SKIP(return, "%s", missing);
	/* The kernels that have this attribute have a block layer that asks disks. */
	if (queue_takes_peer_memory(disks.path[FAR]) >= 0)
		SKIP(return, "here md asks each disk for a route, whatever the flag says");
	ASSERT_TRUE(create(&self->s, "mirror -l raid1 -n 2 $far $a", MD));
	EXPECT_EQ(0, module_load_with("p2pdma_flag_test", "disk=" MD));
	EXPECT_EQ(0, module_unload_named("p2pdma_flag_test"));
}

FIXTURE_TEARDOWN(harm)
{
	EXPECT_TRUE(clean_up(&self->s));
}

/* The disk gets bad blocks, a mark that it is to be replaced, and no data. */
TEST_F(harm, write)
{
	const off_t on_disk = MiB + MiB;	/* behind md's own data */
	long long bad = 0, length = 0;
	char text[256];
	int fd;

	fill(self->s.peer, PIECE, 81);
	EXPECT_EQ((ssize_t)PIECE, pwrite(self->s.fd, self->s.peer, PIECE, MiB));
	disk_file(FAR, "bad_blocks", text, sizeof(text));
	if (sscanf(text, "%lld %lld", &bad, &length) != 2)
		TH_LOG("bad_blocks: '%s'", text);
	EXPECT_EQ(on_disk, bad * (off_t)SECTOR);
	EXPECT_EQ((off_t)PIECE, length * (off_t)SECTOR);
	EXPECT_TRUE(disk_is(FAR, "write_error"));
	EXPECT_TRUE(disk_is(FAR, "want_replacement"));

	fd = open(disks.path[FAR], O_RDONLY | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_EQ((ssize_t)PIECE, pread(fd, self->s.system, PIECE, on_disk));
	EXPECT_EQ(-1, first_nonzero(self->s.system, PIECE));
	close(fd);
}

/* Reads are tried and "repaired" on the same disk, until that counts as failed. */
TEST_F(harm, read)
{
	struct traffic traffic;

	traffic_count(&traffic);
	EXPECT_EQ((ssize_t)PIECE, pread(self->s.fd, self->s.peer, PIECE, MiB));
	traffic_since(&traffic);
	EXPECT_LT(2 * (long long)(PIECE / SECTOR), traffic.read[FAR]);
	EXPECT_TRUE(disk_is(FAR, "faulty"));
	EXPECT_EQ(1, file_number(MD_FILES "degraded"));
}

TEST_HARNESS_MAIN
