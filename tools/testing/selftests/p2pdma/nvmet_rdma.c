// SPDX-License-Identifier: GPL-2.0
/*
 * The NVMe target over RDMA, with peer memory as its buffers. Target and host
 * are in one kernel; the sample adapter p2pdma_rnic connects them, whose data
 * mover is a DMA engine. Tests compare the host's disk with the disk below the
 * target: with each value of the target's attribute `p2pmem`; where peer memory
 * doesn't suffice, or isn't reached; and after something that takes part has
 * gone under load, and has come again.
 *
 * Where there is a lab, it tells from which place to which the engines copied,
 * and which addresses the disk was given. A command of the host is 64 bytes and
 * its completion 16, which are in system memory always, and are counted apart.
 * So is data that the host sends in the same message as the command. For all
 * other data a write takes the target an RDMA READ, which iWARP does by a memory
 * region, and a read takes an RDMA WRITE, from a list of addresses.
 *
 * Needs one or two LSI 53C895A as engines. Writes to the first disk in
 * P2PDMA_SCRATCH. Doesn't test the order of accesses, which an emulated engine
 * can't break.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <libaio.h>
#include <linux/nvme_ioctl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define KiB		1024UL
#define DELAY		"p2pdma_delay_test"
#define SERIAL		"p2pdmafabric"
#define PORT		1		/* of the target */
#define SECONDS		120

/* What the tests use of the disk */
#define IO_AT		(1 * MiB)
#define IO_MOST		(4 * MiB)	/* a buffer, too */
#define KEPT_AT		(16 * MiB)	/* written once */
#define KEPT		(1 * MiB)
#define KEPT_SEED	900
#define LOAD_AT		(20 * MiB)	/* of each process of the load */
#define LOAD_MOST	(256 * KiB)

#define QUEUE		16
#define ROUNDS		2

/* How target and host are set up */
struct how {
	const char *p2pmem;
	bool in_capsule;	/* with the target's default */
	int adapters;		/* 0 is 1 */
	bool first_has_target;	/* of two; otherwise the second one has */
};

struct setup {
	const char *bdf;	/* of the provider */
	char disk[NAME_MAX];	/* below the target */
	char disk_bdf[BDF_LEN];
	struct devices engines;
	struct how how;
	long long available;	/* before the target had anything */
	int controller;		/* of the host, or -1 */
	int fabric;		/* the host's disk */
	char *system;
	char *peer;
};

/* ---- Adapters ---- */

static int adapters_load(const struct setup *s)
{
	return rnic_load(&s->engines, s->how.adapters ?: 1);
}

/* ---- Target and host ---- */

static const char *target_address(const struct setup *s)
{
	return rnic_addresses[s->how.adapters == 2 && !s->how.first_has_target];
}

static const char *host_address(const struct setup *s)
{
	return rnic_addresses[s->how.adapters == 2 && s->how.first_has_target];
}

static int target_start(const struct setup *s)
{
	return nvmet_add(s->disk) ?:
	       file_write(NVMET_SUBSYSTEM "attr_serial", SERIAL) ?:
	       file_write(NVMET_NAMESPACE "p2pmem", s->how.p2pmem) ?:
	       file_write(NVMET_NAMESPACE "enable", "1") ?:
	       nvmet_port_add(PORT, "rdma") ?:
	       nvmet_port_set(PORT, "addr_adrfam", "ipv4") ?:
	       nvmet_port_set(PORT, "addr_traddr", target_address(s)) ?:
	       nvmet_port_set(PORT, "addr_trsvcid", "4420") ?:
	       (s->how.in_capsule ? 0 :
		nvmet_port_set(PORT, "param_inline_data_size", "0")) ?:
	       nvmet_port_link(PORT);
}

/*
 * Without keep-alive commands, which would be counted, and on a slow machine
 * late. Requests wait for as long as it takes until the host has connected again.
 */
static int host_connect(struct setup *s)
{
	char options[256];

	snprintf(options, sizeof(options),
		 "transport=rdma,traddr=%s,trsvcid=4420,host_traddr=%s,nr_io_queues=1,queue_size=%d,keep_alive_tmo=36000,reconnect_delay=1,ctrl_loss_tmo=-1",
		 target_address(s), host_address(s), QUEUE);
	s->controller = nvmet_connect(options);
	return s->controller < 0 ? s->controller : 0;
}

/* The kernel reads a new disk for partitions; opening it waits until it has. */
static bool has_been_read(const char *path)
{
	long long read, written;

	return !disk_traffic(path, &read, &written) && read > 0;
}

/* The host's disk, or -errno */
static int fabric_open(void)
{
	char path[NAME_MAX];
	int fd;

	if (disk_with_serial(SERIAL, path) || !has_been_read(path))
		return -ENODEV;
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void host_close(struct setup *s)
{
	if (s->fabric >= 0)
		close(s->fabric);
	s->fabric = -1;
}

static bool host_open(struct setup *s)
{
	host_close(s);
	s->fabric = fabric_open();
	return s->fabric >= 0;
}

/*
 * A file of the queue that makes commands, as a number, or -errno; @value: sets it.
 * With several paths, that is the queue of the path.
 */
static long long host_queue(const struct setup *s, const char *file,
			    const char *value)
{
	char pattern[PATH_MAX];
	long long number;
	glob_t found;

	snprintf(pattern, sizeof(pattern), "/sys/class/nvme/nvme%d/nvme*/queue/%s",
		 s->controller, file);
	if (glob(pattern, 0, NULL, &found))
		return -ENODEV;
	number = value ? file_write(found.gl_pathv[0], value) :
			 file_number(found.gl_pathv[0]);
	globfree(&found);
	return number;
}

/* Of one command of the host, in bytes */
static size_t most_of_command(const struct setup *s)
{
	return host_queue(s, "max_sectors_kb", NULL) * KiB;
}

/* NULL, or what is missing */
static const char *find(struct setup *s)
{
	struct disks disks;

	s->controller = -1;
	s->fabric = -1;
	s->system = MAP_FAILED;
	s->peer = MAP_FAILED;
	if (getuid())
		return "needs root";
	s->bdf = provider();
	if (!s->bdf)
		return "no device with published peer memory";
	if (access(NVMET "subsystems", F_OK))
		return "no NVMe target in configfs";
	scratch_disks(&disks);
	if (!disks.nr || disk_bdf(disks.path[0], s->disk_bdf))
		return "no disk in P2PDMA_SCRATCH";
	snprintf(s->disk, sizeof(s->disk), "%s", disks.path[0]);
	if (module_probe("-a", "nvme-rdma nvmet-rdma"))
		return "no NVMe over RDMA (CONFIG_NVME_RDMA, CONFIG_NVME_TARGET_RDMA)";
	return rnic_find(&s->engines);
}

/* NULL, or what failed */
static const char *start(struct setup *s, const struct how *how)
{
	s->how = *how;
	s->available = p2pmem_number(s->bdf, "available");
	s->system = mmap(NULL, 2 * IO_MOST, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (s->system == MAP_FAILED)
		return "memory";
	if (rnic_netdevs_up())
		return "network interfaces";
	if (adapters_load(s))
		return "module " RNIC;
	if (target_start(s))
		return "target";
	if (host_connect(s))
		return "connecting";
	if (!wait_for(host_open(s), SECONDS))
		return "the host's disk";
	/* A command for each request, so that they can be counted */
	if (host_queue(s, "nomerges", "2"))
		return "nomerges";
	return NULL;
}

static bool is_all_back(const struct setup *s)
{
	return wait_for(p2pmem_number(s->bdf, "available") == s->available,
			SECONDS);
}

static void stop(struct setup *s)
{
	host_close(s);
	if (s->controller >= 0)
		nvmet_disconnect(s->controller);
	nvmet_remove();
	if (s->system != MAP_FAILED)
		munmap(s->system, 2 * IO_MOST);
	if (s->peer != MAP_FAILED)
		munmap(s->peer, IO_MOST);
	s->controller = -1;
	s->system = MAP_FAILED;
	s->peer = MAP_FAILED;
}

/* ---- Data ---- */

/* @nr requests at once of @size bytes each, one after the other: 0 or -errno */
static int transfer(int fd, bool write, char *buffer, size_t size, off_t at,
		    int nr)
{
	struct iocb iocbs[QUEUE], *list[QUEUE];
	struct io_event events[QUEUE];
	io_context_t context = NULL;
	int i, got, error;

	error = io_setup(QUEUE, &context);
	if (error)
		return error;
	for (i = 0; i < nr; i++) {
		list[i] = &iocbs[i];
		(write ? io_prep_pwrite : io_prep_pread)(list[i], fd,
			buffer + i * size, size, at + i * size);
	}
	got = io_submit(context, nr, list);
	error = got == nr ? 0 : got < 0 ? got : -EAGAIN;
	if (got > 0)
		got = io_getevents(context, got, got, events, NULL);
	for (i = 0; i < got; i++)
		if (events[i].res != size)
			error = (long)events[i].res < 0 ? (int)events[i].res :
							  -EIO;
	io_destroy(context);
	return error;
}

static bool is_filled(const void *at, size_t size, __u64 seed)
{
	return first_wrong(at, size, seed) == -1;
}

/* Opened only for that, as processes of the load would inherit it. */
static bool direct_io(const struct setup *s, bool write, char *data,
		      size_t size, off_t at)
{
	int fd = open(s->disk, O_RDWR | O_DIRECT | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = write ? pwrite(fd, data, size, at) : pread(fd, data, size, at);
	close(fd);
	return n == (ssize_t)size;
}

/* Is that on the disk below the target? */
static bool is_on_disk(const struct setup *s, size_t size, off_t at, __u64 seed)
{
	char *back = s->system + IO_MOST;

	clear(back, size);
	return direct_io(s, false, back, size, at) &&
	       is_filled(back, size, seed);
}

static bool put_on_disk(const struct setup *s, size_t size, off_t at,
			__u64 seed)
{
	char *from = s->system + IO_MOST;

	fill(from, size, seed);
	return direct_io(s, true, from, size, at);
}

/* Has the data that was written, or read into @buffer, come to its place? */
static bool has_come(const struct setup *s, bool written, const char *buffer,
		     size_t size, off_t at, __u64 seed)
{
	return written ? is_on_disk(s, size, at, seed) :
			 is_filled(buffer, size, seed);
}

/* ---- What the lab saw ---- */

/* Bytes that engines copied, and of commands and completions how many */
struct copies {
	size_t peer_to_peer;
	size_t peer_to_system;
	size_t system_to_peer;
	size_t system_to_system;
	int completions;
	int commands;
};

/* Bytes of commands' data, at the disk below the target */
struct accesses {
	size_t peer;
	size_t system;
};

struct traced {
	char disk[512];
	char engines[1024];
};

static void trace_begin(void)
{
	char answer[64];

	if (have_lab())
		lab(answer, sizeof(answer), "dma-begin");
}

static int trace_end(struct traced *traced)
{
	if (!have_lab())
		return 0;
	return lab(traced->disk, sizeof(traced->disk), "dma-end") ?:
	       lab(traced->engines, sizeof(traced->engines), "dma-moves 64");
}

/* Does no engine copy anything, such as what a host asks when namespaces change? */
static bool is_idle(void)
{
	struct traced traced = {};

	trace_begin();
	usleep(200000);
	return !trace_end(&traced) && !traced.engines[0];
}

static void add_count(char *text, size_t size, const char *name, size_t count)
{
	if (count)
		snprintf(text + strlen(text), size - strlen(text), " %s=%zu",
			 name, count);
}

/* Did the engines copy this, and nothing else? */
static bool engines_did(const struct setup *s, const struct traced *traced,
			const struct copies *copies)
{
	char want[sizeof(traced->engines)] = "", pair[64];

	if (!have_lab())
		return true;
	snprintf(pair, sizeof(pair), "%s>%s", s->bdf, s->bdf);
	add_count(want, sizeof(want), pair, copies->peer_to_peer);
	snprintf(pair, sizeof(pair), "%s>other", s->bdf);
	add_count(want, sizeof(want), pair, copies->peer_to_system);
	snprintf(pair, sizeof(pair), "other>%s", s->bdf);
	add_count(want, sizeof(want), pair, copies->system_to_peer);
	add_count(want, sizeof(want), "other>other", copies->system_to_system);
	add_count(want, sizeof(want), "other>other:16", copies->completions);
	add_count(want, sizeof(want), "other>other:64", copies->commands);
	return !strcmp(want, traced->engines);
}

/* Was the disk given these addresses? */
static bool disk_did(const struct traced *traced,
		     const struct accesses *accesses)
{
	char want[64];

	if (!have_lab())
		return true;
	snprintf(want, sizeof(want), " peer=%zu other=%zu ", accesses->peer,
		 accesses->system);
	return !strncmp(want, traced->disk, strlen(want));
}

static size_t traced_bytes(const char *text, const char *from, const char *to)
{
	char name[64];
	const char *at;

	snprintf(name, sizeof(name), " %s>%s=", from, to);
	at = strstr(text, name);
	return at ? strtoul(at + strlen(name), NULL, 10) : 0;
}

static void add_copy(struct copies *copies, bool from_peer, bool to_peer,
		     size_t bytes)
{
	if (from_peer)
		*(to_peer ? &copies->peer_to_peer :
			    &copies->peer_to_system) += bytes;
	else
		*(to_peer ? &copies->system_to_peer :
			    &copies->system_to_system) += bytes;
}

/* Requests of the host, several at once */
struct shape {
	size_t size;
	int nr;
	size_t in_page;		/* where the buffer begins */
	off_t on_disk;
};

/*
 * Writes and reads over the fabric. @host_peer, @target_peer: whether the memory
 * of the host and of the target has to be peer memory, or system memory.
 */
static void check_shape(struct __test_metadata *_metadata, struct setup *s,
			const struct shape *shape, char *buffer, bool host_peer,
			bool target_peer, __u64 seed)
{
	size_t bytes = shape->size * shape->nr, most = most_of_command(s);
	int write, hops = s->how.adapters == 2 ? 2 : 1;
	int commands = shape->nr * ((shape->size + most - 1) / most);
	const struct accesses accesses = {
		.peer = target_peer ? bytes : 0,
		.system = target_peer ? 0 : bytes,
	};
	off_t at = IO_AT + shape->on_disk;
	struct traced traced = {};
	bool from, to;

	buffer += shape->in_page;
	for (write = 1; write >= 0; write--) {
		struct copies copies = {
			.completions = hops * commands,
			.commands = hops * commands,
		};

		from = write ? host_peer : target_peer;
		to = write ? target_peer : host_peer;
		if (hops == 1) {
			add_copy(&copies, from, to, bytes);
		} else {
			add_copy(&copies, from, false, bytes);
			add_copy(&copies, false, to, bytes);
		}

		if (write)
			fill(buffer, bytes, seed);
		else
			ASSERT_TRUE(put_on_disk(s, bytes, at, seed + 1));
		trace_begin();
		ASSERT_EQ(0, transfer(s->fabric, write, buffer, shape->size, at,
				      shape->nr))
			TH_LOG("%s %d times %zu", write ? "write" : "read",
			       shape->nr, shape->size);
		ASSERT_EQ(0, trace_end(&traced)) TH_LOG("%s", traced.disk);
		EXPECT_TRUE(has_come(s, write, buffer, bytes, at,
				     seed + !write))
			TH_LOG("%s %d times %zu", write ? "write" : "read",
			       shape->nr, shape->size);
		EXPECT_TRUE(engines_did(s, &traced, &copies))
			TH_LOG("%s %d times %zu:%s", write ? "write" : "read",
			       shape->nr, shape->size, traced.engines);
		EXPECT_TRUE(disk_did(&traced, &accesses))
			TH_LOG("%s %d times %zu:%s", write ? "write" : "read",
			       shape->nr, shape->size, traced.disk);
	}
}

static const struct shape shapes[] = {
	{ 512,		1,	0,	0 },
	{ 512,		QUEUE,	512,	3 * 512 },
	{ 4 * KiB,	1,	0,	4 * KiB },
	{ 4 * KiB,	QUEUE,	516,	7 * 512 },
	{ 8 * KiB + 512, 4,	2048,	512 },
	{ 64 * KiB,	QUEUE,	0,	0 },
	{ 128 * KiB,	4,	4028,	5 * 512 },
	{ 512 * KiB,	2,	1024,	512 },
	{ 1 * MiB,	1,	0,	0 },
	{ 1 * MiB,	3,	0,	512 },
};

static const struct shape some_shapes[] = {
	{ 512,		4,	512,	512 },
	{ 64 * KiB,	2,	0,	0 },
	{ 1 * MiB,	1,	0,	4 * KiB },
};

/* ---- Tests ---- */

FIXTURE(blocks)
{
	struct setup s;
};

FIXTURE_VARIANT(blocks)
{
	const char *p2pmem;	/* NULL: the provider's name */
};

FIXTURE_VARIANT_ADD(blocks, any)
{
	.p2pmem = "1",
};

FIXTURE_VARIANT_ADD(blocks, named)
{
	.p2pmem = NULL,
};

FIXTURE_VARIANT_ADD(blocks, none)
{
	.p2pmem = "0",
};

static void tear_down(struct __test_metadata *_metadata, struct setup *s)
{
	bool used = s->system != MAP_FAILED;

	stop(s);
	EXPECT_NE(0, access(NVMET_SUBSYSTEM, F_OK));
	if (used) {
		EXPECT_TRUE(is_all_back(s))
			TH_LOG("%lld of %lld available",
			       p2pmem_number(s->bdf, "available"),
			       s->available);
		EXPECT_EQ(0, module_unload_named(RNIC));
	}
	if (s->engines.nr)
		EXPECT_EQ(0, module_unload_named(ENGINE));
}

FIXTURE_SETUP(blocks)
{
	const char *missing = find(&self->s);

	if (missing)
		SKIP(return, "%s", missing);
}

FIXTURE_TEARDOWN(blocks)
{
	tear_down(_metadata, &self->s);
}

TEST_F(blocks, compared)
{
	const struct how how = { .p2pmem = variant->p2pmem ?: self->s.bdf };
	const char *failed = start(&self->s, &how);
	size_t i;

	ASSERT_EQ(NULL, failed) TH_LOG("%s: %m", failed);
	for (i = 0; i < ARRAY_SIZE(shapes); i++)
		check_shape(_metadata, &self->s, &shapes[i], self->s.system,
			    false, strcmp(how.p2pmem, "0"), 10 * i);
}

FIXTURE(rdma)
{
	struct setup s;
};

FIXTURE_SETUP(rdma)
{
	const char *missing = find(&self->s);

	if (missing)
		SKIP(return, "%s", missing);
}

FIXTURE_TEARDOWN(rdma)
{
	tear_down(_metadata, &self->s);
}

/* With peer memory on both sides no data is in system memory. */
TEST_F(rdma, buffer_of_host)
{
	const struct how how = { .p2pmem = "1" };
	const char *failed = start(&self->s, &how);
	size_t i;

	ASSERT_EQ(NULL, failed) TH_LOG("%s: %m", failed);
	self->s.peer = p2pmem_map(self->s.bdf, IO_MOST);
	ASSERT_NE(MAP_FAILED, (void *)self->s.peer);
	for (i = 0; i < ARRAY_SIZE(shapes); i++)
		check_shape(_metadata, &self->s, &shapes[i], self->s.peer,
			    true, true, 100 + 10 * i);
}

TEST_F(rdma, buffer_of_host_alone)
{
	const struct how how = { .p2pmem = "0" };
	const char *failed = start(&self->s, &how);
	size_t i;

	ASSERT_EQ(NULL, failed) TH_LOG("%s: %m", failed);
	self->s.peer = p2pmem_map(self->s.bdf, IO_MOST);
	ASSERT_NE(MAP_FAILED, (void *)self->s.peer);
	for (i = 0; i < ARRAY_SIZE(some_shapes); i++)
		check_shape(_metadata, &self->s, &some_shapes[i], self->s.peer,
			    true, false, 200 + 10 * i);
}

/*
 * Data of up to 4 KiB, the target's default, comes with the command, into
 * buffers that the target has posted before it knew of the namespace: they are
 * system memory, also with peer memory. Larger data, and all that is read, is
 * in peer memory.
 */
TEST_F(rdma, in_capsule)
{
	static const struct {
		size_t size;
		bool write;
		bool in_capsule;
	} cases[] = {
		{ 512,		true,	true },
		{ 4 * KiB,	true,	true },
		{ 8 * KiB,	true,	false },
		{ 512,		false,	false },
		{ 4 * KiB,	false,	false },
	};
	const struct how how = { .p2pmem = "1", .in_capsule = true };
	const char *failed = start(&self->s, &how);
	struct setup *s = &self->s;
	size_t i;

	ASSERT_EQ(NULL, failed) TH_LOG("%s: %m", failed);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct copies copies = { .commands = 1, .completions = 1 };
		struct accesses accesses = {};
		bool peer = !cases[i].in_capsule;
		struct traced traced = {};
		size_t size = cases[i].size;

		add_copy(&copies, peer && !cases[i].write,
			 peer && cases[i].write, size);
		if (peer)
			accesses.peer = size;
		else
			accesses.system = size;
		if (cases[i].write)
			fill(s->system, size, 300 + i);
		else
			ASSERT_TRUE(put_on_disk(s, size, IO_AT, 300 + i));
		trace_begin();
		ASSERT_EQ(0, transfer(s->fabric, cases[i].write, s->system,
				      size, IO_AT, 1));
		ASSERT_EQ(0, trace_end(&traced)) TH_LOG("%s", traced.disk);
		EXPECT_TRUE(has_come(s, cases[i].write, s->system, size, IO_AT,
				     300 + i))
			TH_LOG("case %zu", i);
		EXPECT_TRUE(engines_did(s, &traced, &copies))
			TH_LOG("case %zu:%s", i, traced.engines);
		EXPECT_TRUE(disk_did(&traced, &accesses))
			TH_LOG("case %zu:%s", i, traced.disk);
	}
}

/* Admin commands belong to no namespace: their data is in system memory. */
TEST_F(rdma, admin_commands)
{
	const struct copies copies = {
		.system_to_system = 4 * KiB, .commands = 1, .completions = 1,
	};
	const struct how how = { .p2pmem = "1" };
	const char *failed = start(&self->s, &how);
	struct nvme_passthru_cmd identify = {
		.opcode = 6, .cdw10 = 1, .data_len = 4 * KiB,
		.addr = (unsigned long)self->s.system,
	};
	const struct accesses accesses = {};
	struct traced traced = {};
	char path[PATH_MAX];
	int fd;

	ASSERT_EQ(NULL, failed) TH_LOG("%s: %m", failed);
	snprintf(path, sizeof(path), "/dev/nvme%d", self->s.controller);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd) TH_LOG("%s: %m", path);
	trace_begin();
	EXPECT_EQ(0, ioctl(fd, NVME_IOCTL_ADMIN_CMD, &identify)) TH_LOG("%m");
	ASSERT_EQ(0, trace_end(&traced)) TH_LOG("%s", traced.disk);
	close(fd);
	EXPECT_EQ(0, strncmp(self->s.system + 4, SERIAL, strlen(SERIAL)));
	EXPECT_TRUE(engines_did(&self->s, &traced, &copies))
		TH_LOG("%s", traced.engines);
	EXPECT_TRUE(disk_did(&traced, &accesses)) TH_LOG("%s", traced.disk);
}

/*
 * What is free of the peer memory doesn't suffice for all requests: each one
 * that gets none uses system memory. Each takes a page, as what is left need not
 * be contiguous.
 */
TEST_F(rdma, exhausted)
{
	const size_t size = 4 * KiB, bytes = QUEUE * size;
	const size_t free = 4 * size;
	const struct how how = { .p2pmem = "1" };
	const char *failed = start(&self->s, &how);
	size_t from_peer, from_system, peer[2] = {}, other[2] = {};
	struct setup *s = &self->s;
	struct traced traced = {};
	long long held;
	int round, write;
	char *hold;

	ASSERT_EQ(NULL, failed) TH_LOG("%s: %m", failed);
	held = p2pmem_number(s->bdf, "available") - free;
	ASSERT_LT(0, held);
	hold = p2pmem_map(s->bdf, held);
	ASSERT_NE(MAP_FAILED, (void *)hold);
	EXPECT_EQ((long long)free, p2pmem_number(s->bdf, "available"));

	for (round = 0; round < 10; round++) {
		write = !(round & 1);
		if (write)
			fill(s->system, bytes, 400 + round);
		else
			ASSERT_TRUE(put_on_disk(s, bytes, IO_AT, 400 + round));
		trace_begin();
		EXPECT_EQ(0, transfer(s->fabric, write, s->system, size, IO_AT,
				      QUEUE));
		ASSERT_EQ(0, trace_end(&traced)) TH_LOG("%s", traced.disk);
		EXPECT_TRUE(has_come(s, write, s->system, bytes, IO_AT,
				     400 + round))
			TH_LOG("round %d", round);
		EXPECT_TRUE(wait_for(p2pmem_number(s->bdf, "available") ==
				     (long long)free, SECONDS));

		from_peer = write ?
			traced_bytes(traced.engines, "other", s->bdf) :
			traced_bytes(traced.engines, s->bdf, "other");
		from_system = traced_bytes(traced.engines, "other", "other");
		if (have_lab())
			EXPECT_EQ(bytes, from_peer + from_system)
				TH_LOG("%s", traced.engines);
		peer[write] += from_peer;
		other[write] += from_system;
	}
	for (write = 0; write <= 1; write++) {
		TH_LOG("%s: %zu bytes in peer memory, %zu in system memory",
		       write ? "writes" : "reads", peer[write], other[write]);
		if (!have_lab())
			continue;
		EXPECT_NE(0UL, peer[write]);
		EXPECT_NE(0UL, other[write]);
	}
	munmap(hold, held);
}

#define MOUNT_POINT	"/tmp/p2pdma-nvmet-rdma"

/* A file system, made, written and read over the fabric, then read directly */
TEST_F(rdma, ext4)
{
	const ssize_t length = 2 * MiB + 8 * KiB;
	const struct how how = { .p2pmem = "1" };
	const char *failed = start(&self->s, &how);
	struct setup *s = &self->s;
	char command[PATH_MAX];
	char disk[NAME_MAX];
	int file;

	ASSERT_EQ(NULL, failed) TH_LOG("%s: %m", failed);
	ASSERT_EQ(0, disk_with_serial(SERIAL, disk));
	if (system("command -v mkfs.ext4 >/dev/null"))
		SKIP(return, "no mkfs.ext4");
	snprintf(command, sizeof(command),
		 "mkfs.ext4 -q -F %s >/dev/null 2>&1", disk);
	ASSERT_EQ(0, system(command));
	mkdir(MOUNT_POINT, 0700);
	/* Nobody else may have it open for writing. */
	host_close(s);
	ASSERT_EQ(0, mount(disk, MOUNT_POINT, "ext4", 0, NULL)) TH_LOG("%m");

	fill(s->system, length, 500);
	file = open(MOUNT_POINT "/direct", O_RDWR | O_CREAT | O_DIRECT, 0600);
	EXPECT_EQ(length, pwrite(file, s->system, length, 0)) TH_LOG("%m");
	close(file);
	file = open(MOUNT_POINT "/buffered", O_RDWR | O_CREAT, 0600);
	EXPECT_EQ(length, pwrite(file, s->system, length, 0)) TH_LOG("%m");
	EXPECT_EQ(0, fsync(file));
	close(file);
	file = open(MOUNT_POINT "/buffered", O_RDONLY | O_DIRECT);
	clear(s->system, length);
	EXPECT_EQ(length, pread(file, s->system, length, 0)) TH_LOG("%m");
	EXPECT_EQ(-1, first_wrong(s->system, length, 500));
	close(file);
	ASSERT_EQ(0, umount(MOUNT_POINT)) TH_LOG("%m");

	ASSERT_EQ(0, file_write(NVMET_NAMESPACE "enable", "0"));
	ASSERT_EQ(0, mount(s->disk, MOUNT_POINT, "ext4", MS_RDONLY, NULL))
		TH_LOG("%m");
	file = open(MOUNT_POINT "/direct", O_RDONLY);
	clear(s->system, length);
	EXPECT_EQ(length, pread(file, s->system, length, 0)) TH_LOG("%m");
	EXPECT_EQ(-1, first_wrong(s->system, length, 500));
	close(file);
	EXPECT_EQ(0, umount(MOUNT_POINT)) TH_LOG("%m");
}

#define FIO_LOG		"/tmp/p2pdma-nvmet-rdma.fio"
#define FIO_OPTIONS	"--name=job --direct=1 --rw=randwrite " \
			"--verify=crc32c --verify_fatal=1 --do_verify=1"

/* fio's own verification, while several requests are under way */
TEST_F(rdma, fio)
{
	static const char * const jobs[] = {
		"--ioengine=psync --bs=512 --size=64k",
		"--ioengine=libaio --iodepth=16 --bsrange=512-64k --size=2m",
		"--ioengine=libaio --iodepth=4 --bs=1m --size=8m",
		"--ioengine=io_uring --iodepth=8 --bsrange=4k-1m --size=4m",
	};
	const struct how how = { .p2pmem = "1" };
	const char *failed = start(&self->s, &how);
	char command[2 * PATH_MAX], log[4096], disk[NAME_MAX];
	size_t i;

	ASSERT_EQ(NULL, failed) TH_LOG("%s: %m", failed);
	if (system("command -v fio >/dev/null"))
		SKIP(return, "fio isn't installed");
	ASSERT_EQ(0, disk_with_serial(SERIAL, disk));
	ASSERT_EQ(0, host_queue(&self->s, "nomerges", "0"));
	for (i = 0; i < ARRAY_SIZE(jobs); i++) {
		snprintf(command, sizeof(command),
			 "cd /tmp && fio " FIO_OPTIONS " --filename=%s %s >" FIO_LOG " 2>&1",
			 disk, jobs[i]);
		EXPECT_EQ(0, system(command)) {
			file_read(FIO_LOG, log, sizeof(log));
			TH_LOG("%s: %s", jobs[i], log);
		}
	}
}

/*
 * The host has one adapter, the target another one. Only the target's engine
 * accesses the target's memory. What passes from the one engine to the other
 * is in system memory, in place of a wire.
 */
TEST_F(rdma, two_adapters)
{
	const struct how how = { .p2pmem = "1", .adapters = 2 };
	struct setup *s = &self->s;
	const char *failed;
	size_t i;

	if (s->engines.nr < 2)
		SKIP(return, "only one LSI 53C895A");
	failed = start(s, &how);
	ASSERT_EQ(NULL, failed) TH_LOG("%s: %m", failed);
	s->peer = p2pmem_map(s->bdf, IO_MOST);
	ASSERT_NE(MAP_FAILED, (void *)s->peer);
	for (i = 0; i < ARRAY_SIZE(some_shapes); i++) {
		check_shape(_metadata, s, &some_shapes[i], s->system, false,
			    true, 600 + 10 * i);
		check_shape(_metadata, s, &some_shapes[i], s->peer, true, true,
			    650 + 10 * i);
	}
}

/* ---- An engine that doesn't reach the memory ---- */

FIXTURE(refused)
{
	struct setup s;
	int log;
};

FIXTURE_SETUP(refused)
{
	const char *missing = find(&self->s);
	const char *route = getenv("P2PDMA_ENGINE_ROUTE") ?: "";

	self->log = -1;
	if (missing)
		SKIP(return, "%s", missing);
	if (strcmp(route, "refused"))
		SKIP(return, "P2PDMA_ENGINE_ROUTE isn't \"refused\"");
	/* What was said of a provider is forgotten with it. */
	ASSERT_EQ(0, pci_unbind(self->s.bdf));
	ASSERT_EQ(0, pci_bind(self->s.bdf, "nvme"));
	ASSERT_TRUE(wait_for(p2pmem_number(self->s.bdf, "published") == 1,
			     SECONDS));
	self->log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, self->log);
	ASSERT_EQ(0, lseek(self->log, 0, SEEK_END));
}

FIXTURE_TEARDOWN(refused)
{
	close(self->log);
	tear_down(_metadata, &self->s);
}

/* Lines of the kernel's log with both texts since it was last read */
static int lines_with(int log, const char *one, const char *other)
{
	char line[8192];
	int found = 0;
	ssize_t n;

	while ((n = read(log, line, sizeof(line) - 1)) > 0) {
		line[n] = '\0';
		found += strstr(line, one) && strstr(line, other);
	}
	return found;
}

#define NO_ROUTE	"p2pdma: no peer-to-peer DMA with provider "

/*
 * The target, which needs a route for its adapter, too, uses system memory. The
 * log says why, once, whatever connects again.
 */
static void check_refused(struct __test_metadata *_metadata, struct setup *s,
			  int log, const char *p2pmem)
{
	const struct how how = { .p2pmem = p2pmem };
	const char *failed = start(s, &how);
	size_t i;

	ASSERT_EQ(NULL, failed) TH_LOG("%s: %m", failed);
	EXPECT_EQ(1, lines_with(log, NO_ROUTE, s->bdf));
	for (i = 0; i < ARRAY_SIZE(some_shapes); i++)
		check_shape(_metadata, s, &some_shapes[i], s->system, false,
			    false, 700 + 10 * i);

	host_close(s);
	nvmet_disconnect(s->controller);
	ASSERT_EQ(0, host_connect(s));
	ASSERT_TRUE(wait_for(host_open(s), SECONDS));
	EXPECT_EQ(0, lines_with(log, NO_ROUTE, s->bdf));

	/* Nor does the host's own peer memory get anywhere. */
	ASSERT_TRUE(put_on_disk(s, 64 * KiB, IO_AT, 750));
	s->peer = p2pmem_map(s->bdf, IO_MOST);
	ASSERT_NE(MAP_FAILED, (void *)s->peer);
	fill(s->peer, 64 * KiB, 751);
	EXPECT_EQ(-EREMOTEIO, transfer(s->fabric, true, s->peer, 64 * KiB,
				       IO_AT, 1));
	EXPECT_TRUE(is_on_disk(s, 64 * KiB, IO_AT, 750));
	EXPECT_EQ(-EREMOTEIO, transfer(s->fabric, false, s->peer, 64 * KiB,
				       IO_AT, 1));
	EXPECT_EQ(-1, first_wrong(s->peer, 64 * KiB, 751));
}

TEST_F(refused, any)
{
	check_refused(_metadata, &self->s, self->log, "1");
}

TEST_F(refused, named)
{
	check_refused(_metadata, &self->s, self->log, self->s.bdf);
}

/* The second adapter reaches the memory, the first one doesn't. */
TEST_F(refused, by_one_adapter)
{
	const struct how hows[] = {
		{ .p2pmem = "1", .adapters = 2, .first_has_target = false },
		{ .p2pmem = "1", .adapters = 2, .first_has_target = true },
	};
	struct setup *s = &self->s;
	const char *failed;
	size_t i, j;

	if (s->engines.nr < 2)
		SKIP(return, "only one LSI 53C895A");
	for (i = 0; i < ARRAY_SIZE(hows); i++) {
		failed = start(s, &hows[i]);
		ASSERT_EQ(NULL, failed) TH_LOG("%s: %m", failed);
		for (j = 0; j < ARRAY_SIZE(some_shapes); j++)
			check_shape(_metadata, s, &some_shapes[j], s->system,
				    false, !hows[i].first_has_target,
				    800 + 10 * j);
		stop(s);
		ASSERT_EQ(0, module_unload_named(RNIC));
	}
}

/* ---- What goes away ---- */

static int provider_unbind(struct setup *s)
{
	return pci_unbind(s->bdf);
}

static int provider_wait(struct setup *s)
{
	return wait_for(p2pmem_number(s->bdf, "published") == 1, SECONDS) ?
		0 : -ETIMEDOUT;
}

static int provider_bind(struct setup *s)
{
	return pci_bind(s->bdf, "nvme") ?: provider_wait(s);
}

/* The target has a device of the provider, which has gone, until then. */
static int namespace_again(struct setup *s)
{
	return file_write(NVMET_NAMESPACE "enable", "0") ?:
	       file_write(NVMET_NAMESPACE "device_path", s->disk) ?:
	       file_write(NVMET_NAMESPACE "enable", "1");
}

static int provider_unplug(struct setup *s)
{
	char answer[256];

	return lab(answer, sizeof(answer), "unplug ssd1");
}

/*
 * The namespace is disabled while requests have looked up the provider, which has
 * gone, and are about to ask it for memory. Kernels without kprobes don't wait
 * there.
 */
static int namespace_again_delayed(struct setup *s)
{
	int error = module_load_with(DELAY, "function=pci_p2pmem_alloc_sgl");

	if (error)
		return error == -ENOENT ? namespace_again(s) : error;
	error = namespace_again(s);
	return module_unload_named(DELAY) ?: error;
}

static int provider_plug(struct setup *s)
{
	char answer[256];

	return lab(answer, sizeof(answer), "plug ssd1") ?: provider_wait(s) ?:
	       namespace_again_delayed(s);
}

static int disk_unbind(struct setup *s)
{
	return pci_unbind(s->disk_bdf);
}

/* The disk gets its name again only if nobody has the old one open. */
static int disk_bind(struct setup *s)
{
	return file_write(NVMET_NAMESPACE "enable", "0") ?:
	       pci_bind(s->disk_bdf, "nvme") ?:
	       (wait_for(has_been_read(s->disk), SECONDS) ? 0 : -ETIMEDOUT) ?:
	       namespace_again(s);
}

static int engine_unbind(struct setup *s)
{
	return pci_unbind(s->engines.name[0]);
}

/*
 * With the adapter goes a controller that uses it. One that is about to connect
 * again doesn't, and would wait for the address for ever.
 */
static int adapter_again(struct setup *s)
{
	nvmet_disconnect(s->controller);
	return module_unload_named(RNIC) ?: adapters_load(s) ?:
	       nvmet_port_unlink(PORT) ?: nvmet_port_link(PORT) ?: host_connect(s);
}

static int engine_bind(struct setup *s)
{
	return pci_bind(s->engines.name[0], ENGINE) ?: adapter_again(s);
}

static int netdev_remove(struct setup *s)
{
	return module_unload_named("dummy");
}

static int netdev_add(struct setup *s)
{
	return rnic_netdevs_up() ?: adapter_again(s);
}

static int namespace_disable(struct setup *s)
{
	return file_write(NVMET_NAMESPACE "enable", "0");
}

static int namespace_enable(struct setup *s)
{
	return file_write(NVMET_NAMESPACE "enable", "1");
}

static int host_wait(struct setup *s, const char *wanted)
{
	char path[PATH_MAX], state[32];

	snprintf(path, sizeof(path), "/sys/class/nvme/nvme%d/state",
		 s->controller);
	return wait_for(file_read(path, state, sizeof(state)) > 0 &&
			!strncmp(state, wanted, strlen(wanted)), SECONDS) ?
		0 : -ETIMEDOUT;
}

/* The host tries to connect again until there is a port. */
static int port_remove(struct setup *s)
{
	return nvmet_port_unlink(PORT) ?: host_wait(s, "connecting");
}

static int port_add(struct setup *s)
{
	return nvmet_port_link(PORT);
}

static int controller_reset(struct setup *s)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/class/nvme/nvme%d/reset_controller",
		 s->controller);
	return file_write(path, "1");
}

static int controller_wait(struct setup *s)
{
	return host_wait(s, "live");
}

static int connection_cut(struct setup *s)
{
	nvmet_disconnect(s->controller);
	return 0;
}

FIXTURE(going)
{
	struct setup s;
};

/* Requests of the host */
enum failing {
	ALL_SUCCEED,		/* also until it comes again */
	NONE_FAILS,		/* they wait, or are sent anew */
	SOME_MAY_FAIL,
	ALL_FAIL,		/* until it comes again */
};

/* What goes, and comes again: 0 or -errno */
FIXTURE_VARIANT(going)
{
	int (*go)(struct setup *s);
	int (*come)(struct setup *s);
	enum failing failing;
};

FIXTURE_VARIANT_ADD(going, provider_unbound)
{
	.go = provider_unbind,
	.come = provider_bind,
	.failing = ALL_SUCCEED,
};

FIXTURE_VARIANT_ADD(going, provider_unplugged)
{
	.go = provider_unplug,
	.come = provider_plug,
	.failing = SOME_MAY_FAIL,
};

FIXTURE_VARIANT_ADD(going, disk_unbound)
{
	.go = disk_unbind,
	.come = disk_bind,
	.failing = ALL_FAIL,
};

FIXTURE_VARIANT_ADD(going, engine_unbound)
{
	.go = engine_unbind,
	.come = engine_bind,
	.failing = SOME_MAY_FAIL,
};

FIXTURE_VARIANT_ADD(going, netdev_removed)
{
	.go = netdev_remove,
	.come = netdev_add,
	.failing = SOME_MAY_FAIL,
};

FIXTURE_VARIANT_ADD(going, namespace_disabled)
{
	.go = namespace_disable,
	.come = namespace_enable,
	.failing = ALL_FAIL,
};

FIXTURE_VARIANT_ADD(going, port_removed)
{
	.go = port_remove,
	.come = port_add,
	.failing = NONE_FAILS,
};

FIXTURE_VARIANT_ADD(going, controller_reset)
{
	.go = controller_reset,
	.come = controller_wait,
	.failing = NONE_FAILS,
};

FIXTURE_VARIANT_ADD(going, connection_cut)
{
	.go = connection_cut,
	.come = host_connect,
	.failing = ALL_FAIL,
};

FIXTURE_SETUP(going)
{
	const char *missing = find(&self->s);

	if (missing)
		SKIP(return, "%s", missing);
	if (variant->go == provider_unplug && !have_lab())
		SKIP(return, "no lab to unplug a provider");
	srand(1);
}

FIXTURE_TEARDOWN(going)
{
	/* A test that failed may have left them without a driver. */
	pci_bind(self->s.bdf, "nvme");
	pci_bind(self->s.disk_bdf, "nvme");
	tear_down(_metadata, &self->s);
}

/*
 * Writes and reads until a request fails, and then opens the disk anew. That the
 * host has removed its disk counts as a failed request.
 */
static void load(struct racer *racer)
{
	off_t at = LOAD_AT + racer->nr * LOAD_MOST;
	static __u64 seed = 1000;
	size_t size;
	char *data;
	int fd;

	fd = fabric_open();
	if (fd < 0) {
		racer->count[RACE_REFUSED]++;
		usleep(10000);
		return;
	}
	data = mmap(NULL, LOAD_MOST, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	for (;;) {
		size = LOAD_MOST >> (seed % 8);
		fill(data, size, ++seed + (racer->nr << 20));
		if (pwrite(fd, data, size, at) != (ssize_t)size)
			break;
		clear(data, size);
		if (pread(fd, data, size, at) != (ssize_t)size)
			break;
		if (first_wrong(data, size, seed + (racer->nr << 20)) == -1)
			racer->count[RACE_HAD]++;
		else
			racer->count[RACE_WRONG]++;
	}
	racer->count[RACE_REFUSED]++;
	munmap(data, LOAD_MOST);
	close(fd);
}

/* 0, -EIO if a request fails, -EILSEQ if the data is wrong */
static int check_kept(struct setup *s)
{
	clear(s->system, KEPT);
	if (pread(s->fabric, s->system, KEPT, KEPT_AT) != (ssize_t)KEPT)
		return -EIO;
	return is_filled(s->system, KEPT, KEPT_SEED) &&
	       is_on_disk(s, KEPT, KEPT_AT, KEPT_SEED) ? 0 : -EILSEQ;
}

/* The host's disk may still be the one that is about to go. */
static int host_again(struct setup *s)
{
	time_t end = time(NULL) + SECONDS;
	int error;

	do {
		error = host_open(s) ? check_kept(s) : -EIO;
		if (error != -EIO)
			break;
		usleep(10000);
	} while (time(NULL) <= end);
	return error;
}

/*
 * It goes while there are requests at each stage, and comes again: the host's
 * requests fail, or are sent anew. What was written before is right. In the end
 * the target uses peer memory again, and what it used before is free.
 */
/* Unplugging and plugging take 8 s, of which there may be 100 rounds. */
TEST_F_TIMEOUT(going, under_load, 1500)
{
	const struct how how = { .p2pmem = "1" };
	const char *failed = start(&self->s, &how);
	int round, rounds = times(ROUNDS);
	struct setup *s = &self->s;
	long failed_before;
	struct race race;
	size_t i;

	ASSERT_EQ(NULL, failed) TH_LOG("%s: %m", failed);
	fill(s->system, KEPT, KEPT_SEED);
	ASSERT_EQ(0, transfer(s->fabric, true, s->system, KEPT, KEPT_AT, 1));
	host_close(s);
	race_start(&race, MAX_RACERS, load, NULL);
	for (round = 0; round < rounds; round++) {
		ASSERT_TRUE(wait_for(race_each(&race, RACE_HAD), SECONDS))
			TH_LOG("round %d: no load", round);
		host_close(s);
		usleep(rand() % 5000);
		failed_before = race_total(&race, RACE_REFUSED);
		ASSERT_EQ(0, variant->go(s)) TH_LOG("round %d", round);
		if (variant->failing == ALL_FAIL)
			ASSERT_TRUE(wait_for(race_total(&race, RACE_REFUSED) >
					     failed_before, SECONDS))
				TH_LOG("round %d: no request fails", round);
		if (variant->failing == ALL_SUCCEED)
			ASSERT_TRUE(wait_for(race_each(&race, RACE_HAD),
					     SECONDS))
				TH_LOG("round %d: no load without it", round);
		usleep(rand() % 50000);
		ASSERT_EQ(0, variant->come(s)) TH_LOG("round %d", round);
		ASSERT_EQ(0, host_again(s)) TH_LOG("round %d", round);
	}
	ASSERT_TRUE(wait_for(race_each(&race, RACE_HAD), SECONDS));
	TH_LOG("%d rounds, %ld transfers, %ld failed", round,
	       race_total(&race, RACE_HAD), race_total(&race, RACE_REFUSED));
	EXPECT_EQ(0, race_total(&race, RACE_WRONG));
	if (variant->failing <= NONE_FAILS)
		EXPECT_EQ(0, race_total(&race, RACE_REFUSED));
	race_stop(&race);

	/* The host may be about to remove its disk, and to add it again. */
	ASSERT_TRUE(wait_for(is_idle(), SECONDS));
	ASSERT_TRUE(wait_for(host_open(s), SECONDS));
	ASSERT_EQ(0, host_queue(s, "nomerges", "2"));
	for (i = 0; i < ARRAY_SIZE(some_shapes); i++)
		check_shape(_metadata, s, &some_shapes[i], s->system, false,
			    true, 950 + 10 * i);
}

TEST_HARNESS_MAIN
