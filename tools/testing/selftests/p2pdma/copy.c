// SPDX-License-Identifier: GPL-2.0
/*
 * Copies between DMA buffers by a DMA engine, with the drivers of
 * samples/p2pdma: between system memory and memory of PCI devices, in all
 * directions, with every byte compared; which copies are refused; and drivers
 * unbound, devices unplugged and processes killed while the engine copies.
 *
 * Needs an LSI 53C895A as the engine, and devices with memory: any with a heap
 * in /dev/dma_heap, ivshmem, bochs-display.  Skips without an engine.  Kinds of
 * engines that QEMU lacks are made by a test module, for system memory.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/pci_regs.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../../../../samples/p2pdma/p2pdma_samples.h"
#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define KiB		1024UL
#define CLIENT		"p2pdma_copy"
#define PROVIDER	"p2pdma_ivshmem"
#define OTHER_ENGINE	"p2pdma_engine_test"
#define HEAPS		"/dev/dma_heap/"
#define SYSTEM		HEAPS "system"
#define PEER_HEAP	HEAPS "p2pmem-"
#define EXPORTER	"/dev/p2pdma-"

/* Small, as peer memory that is accessed word by word may be slow */
#define SMALL		(32 * KiB)
#define LARGE		(1 * MiB)

#define ROUNDS		6

/* Bytes in a move, so that a copy is still running when a test interferes */
#define SLOW		"16"

/* ---- Drivers ---- */

static int unload(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? -errno : 0;
}

static int set_engine(const char *parameter, const char *value)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/module/" ENGINE "/parameters/%s",
		 parameter);
	return file_write(path, value);
}

/* Bytes that one instruction of the engine copies */
static int set_move_bytes(const char *bytes)
{
	return set_engine("move_bytes", bytes);
}

/*
 * An interrupt after every 8 bytes makes a copy slow, however fast the device
 * is, and lets other CPUs run meanwhile.
 */
static int go_slow(void)
{
	return set_move_bytes("8") ?: set_engine("moves", "1");
}

/* As many instructions as the driver's program has room for */
static int go_fast(void)
{
	return set_move_bytes("4096") ?: set_engine("moves", "1000");
}

/* The first device that a driver is bound to */
static int bound_device(const char *driver, char bdf[BDF_LEN])
{
	char path[PATH_MAX];
	struct dirent *entry;
	int error = -ENODEV;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s", driver);
	dir = opendir(path);
	if (!dir)
		return -ENODEV;
	while (error && (entry = readdir(dir))) {
		if (!strchr(entry->d_name, ':') ||
		    strlen(entry->d_name) >= BDF_LEN)
			continue;
		snprintf(bdf, BDF_LEN, "%s", entry->d_name);
		error = 0;
	}
	closedir(dir);
	return error;
}

/* ---- Where memory comes from ---- */

struct place {
	char path[PATH_MAX];	/* a heap, or an exporter of a sample */
	char bdf[BDF_LEN];	/* empty: system memory */
};

struct places {
	int nr;
	struct place place[MAX_DEVS];
};

static void add_places(struct places *to, const char *dir, const char *prefix)
{
	struct dirent *entry;
	struct place *place;
	size_t length;
	DIR *d;

	d = opendir(dir);
	if (!d)
		return;
	length = strlen(prefix) - strlen(dir);
	while ((entry = readdir(d)) && to->nr < MAX_DEVS) {
		if (strncmp(entry->d_name, prefix + strlen(dir), length))
			continue;
		place = &to->place[to->nr++];
		snprintf(place->path, sizeof(place->path), "%s%s", dir,
			 entry->d_name);
		snprintf(place->bdf, sizeof(place->bdf), "%s",
			 entry->d_name + length);
	}
	closedir(d);
}

/* System memory comes first. */
static void find_places(struct places *found)
{
	found->nr = 1;
	snprintf(found->place[0].path, PATH_MAX, SYSTEM);
	found->place[0].bdf[0] = '\0';
	add_places(found, HEAPS, PEER_HEAP);
	add_places(found, "/dev/", EXPORTER);
}

/* A buffer, and its expected content */
struct memory {
	int fd;
	size_t size;
	char *map;
	char *want;
};

static int place_open(const struct place *place, size_t size, size_t offset)
{
	struct dma_heap_allocation_data heap = {
		.len = size,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	struct p2pdma_export part = { .offset = offset, .size = size };
	int fd, got;

	fd = open(place->path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (strncmp(place->path, EXPORTER, strlen(EXPORTER))) {
		got = ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &heap) ? -errno : 0;
		got = got ?: (int)heap.fd;
	} else {
		got = ioctl(fd, P2PDMA_EXPORT, &part);
		got = got < 0 ? -errno : got;
	}
	close(fd);
	return got;
}

/* Atomic, as devices write to this memory, too */
static __u64 word_of(const void *at)
{
	return __atomic_load_n((const __u64 *)at, __ATOMIC_RELAXED);
}

static void sync_cpu(const struct memory *memory, __u64 flags)
{
	struct dma_buf_sync sync = { .flags = flags | DMA_BUF_SYNC_RW };

	ioctl(memory->fd, DMA_BUF_IOCTL_SYNC, &sync);
}

static void memory_fill(struct memory *memory, __u64 seed)
{
	sync_cpu(memory, DMA_BUF_SYNC_START);
	fill(memory->map, memory->size, seed);
	sync_cpu(memory, DMA_BUF_SYNC_END);
	fill(memory->want, memory->size, seed);
}

/* @offset: in the BAR, for exporters; heaps choose the place themselves */
static int memory_get(const struct place *place, size_t size, size_t offset,
		      struct memory *memory)
{
	memory->size = size;
	memory->fd = place_open(place, size, offset);
	if (memory->fd < 0)
		return memory->fd;
	memory->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			   memory->fd, 0);
	if (memory->map == MAP_FAILED) {
		close(memory->fd);
		return -errno;
	}
	memory->want = malloc(size);
	return 0;
}

static void memory_put(struct memory *memory)
{
	munmap(memory->map, memory->size);
	close(memory->fd);
	free(memory->want);
}

/* Offset of the first word that isn't as expected, or -1 */
static ssize_t memory_wrong(const struct memory *memory)
{
	const __u64 *have = (void *)memory->map, *want = (void *)memory->want;
	ssize_t wrong = -1;
	size_t i;

	sync_cpu(memory, DMA_BUF_SYNC_START);
	for (i = 0; wrong < 0 && i < memory->size / sizeof(*have); i++)
		if (word_of(&have[i]) != want[i])
			wrong = i * sizeof(*have);
	sync_cpu(memory, DMA_BUF_SYNC_END);
	return wrong;
}

/* ---- Copies ---- */

static int copy_fds(int client, int source, __u64 source_offset,
		    int destination, __u64 destination_offset, __u64 length)
{
	struct p2pdma_copy copy = {
		.source = source,
		.source_offset = source_offset,
		.destination = destination,
		.destination_offset = destination_offset,
		.length = length,
	};

	return ioctl(client, P2PDMA_COPY, &copy) ? -errno : 0;
}

struct part {
	size_t from;
	size_t to;
	size_t length;
};

static int copy_part(int client, struct memory *source,
		     struct memory *destination, const struct part *part)
{
	int error = copy_fds(client, source->fd, part->from, destination->fd,
			     part->to, part->length);

	if (!error)
		memcpy(destination->want + part->to, source->want + part->from,
		       part->length);
	return error;
}

static int copy_all(int client, struct memory *source,
		    struct memory *destination)
{
	struct part part = { .length = source->size };

	return copy_part(client, source, destination, &part);
}

/* A thread that copies a whole buffer */
struct copier {
	int client;
	struct memory *source;
	struct memory *destination;
	int error;
	pthread_t thread;
};

static void *copier_run(void *data)
{
	struct copier *copier = data;

	copier->error = copy_fds(copier->client, copier->source->fd, 0,
				 copier->destination->fd, 0,
				 copier->source->size);
	return NULL;
}

/* Returns once the engine has copied the first word. */
static bool copier_start(struct copier *copier)
{
	const void *first = copier->destination->map;
	__u64 wanted = *(__u64 *)copier->source->want;

	pthread_create(&copier->thread, NULL, copier_run, copier);
	return wait_for(word_of(first) == wanted, 60);
}

/* Did the engine access @bytes of source and destination, and nothing else? */
static bool moved(const struct place *source, const struct place *destination,
		  size_t bytes, char answer[LAB_ANSWER])
{
	return engine_moved(*source->bdf ? source->bdf : "other",
			    *destination->bdf ? destination->bdf : "other",
			    bytes, answer);
}

/* ---- Tests ---- */

FIXTURE(copy)
{
	int client;
	struct places places;
	bool refused;		/* the engine can't reach peer memory */
};

FIXTURE_VARIANT(copy)
{
	const char *provider;
};

FIXTURE_VARIANT_ADD(copy, with_pages)
{
	.provider = PROVIDER " pages=1",
};

FIXTURE_VARIANT_ADD(copy, without_pages)
{
	.provider = PROVIDER " pages=0",
};

static bool have_places(const struct places *places, const struct devices *of)
{
	int i, j;

	for (i = 0; i < of->nr; i++) {
		for (j = 0; j < places->nr; j++)
			if (!strcmp(places->place[j].bdf, of->name[i]))
				break;
		if (j == places->nr)
			return false;
	}
	return true;
}

/* Do all providers and test devices have a place? */
static bool all_places(struct places *places)
{
	struct devices providers, others, bound;

	find_providers(&providers);
	find_test_devices(&others);
	find_bound(PROVIDER, &bound);
	find_places(places);
	return have_places(places, &providers) &&
	       have_places(places, &others) && have_places(places, &bound);
}

FIXTURE_SETUP(copy)
{
	char bdf[BDF_LEN];

	unload(PROVIDER);
	unload(CLIENT);
	unload(ENGINE);
	if (module_probe("-n -q", ENGINE))
		SKIP(return, "no module " ENGINE " (CONFIG_SAMPLE_P2PDMA)");
	ASSERT_EQ(0, module_probe("", ENGINE));
	if (bound_device(ENGINE, bdf))
		SKIP(return, "no LSI 53C895A");
	ASSERT_EQ(0, module_probe("", CLIENT));
	ASSERT_EQ(0, module_probe("", variant->provider));

	self->client = open("/dev/" CLIENT, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->client);
	/* Heaps appear a little after their devices. */
	ASSERT_TRUE(wait_for(all_places(&self->places), 30));
	ASSERT_LE(2, self->places.nr) TH_LOG("no peer memory");
	self->refused = is_refused();
	srand(1);
}

FIXTURE_TEARDOWN(copy)
{
	close(self->client);
	EXPECT_EQ(0, unload(PROVIDER));
	EXPECT_EQ(0, unload(CLIENT));
	EXPECT_EQ(0, unload(ENGINE));
}

static const struct part parts[] = {
	{ 0, 0, 4 },
	{ 0, 0, 4 * KiB },
	{ 4, 8, 4 * KiB - 8 },
	{ 4 * KiB - 4, 4, 8 * KiB + 8 },
	{ 16 * KiB - 4, 12, 8 * KiB + 4 },
	{ 12, 16 * KiB - 4, 8 * KiB + 4 },
	{ 0, 0, SMALL },
};

/* The largest move; a page; a size that divides no part: many programs */
static const char * const moves[] = { "16777212", "4096", "60" };

static void copy_pair(struct __test_metadata *_metadata, int client,
		      const struct place *from, const struct place *to)
{
	struct memory source, destination;
	char answer[LAB_ANSWER] = "";
	size_t i, bytes = 0;

	ASSERT_EQ(0, memory_get(from, SMALL, 0, &source))
		TH_LOG("%s", from->path);
	ASSERT_EQ(0, memory_get(to, SMALL, SMALL, &destination))
		TH_LOG("%s", to->path);

	ASSERT_EQ(0, engine_trace_begin());
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		memory_fill(&source, 10 + i);
		memory_fill(&destination, 30 + i);
		EXPECT_EQ(0, copy_part(client, &source, &destination,
				       &parts[i]))
			TH_LOG("%s to %s: %zu bytes", from->path, to->path,
			       parts[i].length);
		EXPECT_EQ(-1, memory_wrong(&destination))
			TH_LOG("%s to %s: %zu bytes", from->path, to->path,
			       parts[i].length);
		EXPECT_EQ(-1, memory_wrong(&source))
			TH_LOG("%s to %s: %zu bytes", from->path, to->path,
			       parts[i].length);
		bytes += parts[i].length;
	}
	EXPECT_TRUE(moved(from, to, bytes, answer))
		TH_LOG("%s to %s: %zu bytes, but:%s", from->path, to->path,
		       bytes, answer);

	memory_put(&source);
	memory_put(&destination);
}

/* Every pair of system memory and devices, and each of them with itself */
TEST_F(copy, every_pair)
{
	int from, to, nr = self->refused ? 1 : self->places.nr;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(moves); i++) {
		ASSERT_EQ(0, set_move_bytes(moves[i]));
		for (from = 0; from < nr; from++)
			for (to = 0; to < nr; to++)
				copy_pair(_metadata, self->client,
					  &self->places.place[from],
					  &self->places.place[to]);
	}
}

TEST_F(copy, within_a_buffer)
{
	const struct part up = { 0, 16 * KiB, 16 * KiB };
	const struct part down = { 16 * KiB, 4 * KiB, 12 * KiB };
	int i, nr = self->refused ? 1 : self->places.nr;
	struct memory memory;

	for (i = 0; i < nr; i++) {
		ASSERT_EQ(0, memory_get(&self->places.place[i], SMALL, 0,
					&memory));
		memory_fill(&memory, 50);
		EXPECT_EQ(0, copy_part(self->client, &memory, &memory, &up));
		EXPECT_EQ(-1, memory_wrong(&memory));
		memory_fill(&memory, 51);
		EXPECT_EQ(0, copy_part(self->client, &memory, &memory, &down));
		EXPECT_EQ(-1, memory_wrong(&memory));
		memory_put(&memory);
	}
}

/* A refused copy accesses neither buffer. */
TEST_F(copy, refused)
{
	struct memory source, destination;
	struct place *from, *to;
	char answer[LAB_ANSWER] = "";
	int i, j;

	if (!self->refused)
		SKIP(return, "P2PDMA_ROUTE isn't \"refused\"");

	for (i = 0; i < self->places.nr; i++) {
		for (j = 0; j < self->places.nr; j++) {
			from = &self->places.place[i];
			to = &self->places.place[j];
			if (!*from->bdf && !*to->bdf)
				continue;
			ASSERT_EQ(0, memory_get(from, SMALL, 0, &source));
			ASSERT_EQ(0, memory_get(to, SMALL, SMALL,
						&destination));
			memory_fill(&source, 60);
			memory_fill(&destination, 61);
			ASSERT_EQ(0, engine_trace_begin());
			EXPECT_EQ(-EREMOTEIO, copy_all(self->client, &source,
						       &destination))
				TH_LOG("%s to %s", from->path, to->path);
			EXPECT_TRUE(moved(from, to, 0, answer))
				TH_LOG("%s", answer);
			EXPECT_EQ(-1, memory_wrong(&source));
			EXPECT_EQ(-1, memory_wrong(&destination));
			memory_put(&source);
			memory_put(&destination);
		}
	}
}

TEST_F(copy, wrong_arguments)
{
	struct memory a, b;
	int read_only, null;

	ASSERT_EQ(0, memory_get(&self->places.place[0], SMALL, 0, &a));
	ASSERT_EQ(0, memory_get(&self->places.place[0], SMALL, 0, &b));
	memory_fill(&a, 70);
	memory_fill(&b, 71);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);

#define REFUSED(error, ...)	\
	EXPECT_EQ(-(error), copy_fds(self->client, __VA_ARGS__))
	REFUSED(EBADF, -1, 0, b.fd, 0, 4);
	REFUSED(EBADF, a.fd, 0, -1, 0, 4);
	REFUSED(EINVAL, null, 0, b.fd, 0, 4);
	REFUSED(EINVAL, a.fd, 0, null, 0, 4);
	REFUSED(EINVAL, a.fd, 0, b.fd, 0, 0);
	REFUSED(EINVAL, a.fd, 0, b.fd, 0, SMALL + 4);
	REFUSED(EINVAL, a.fd, SMALL, b.fd, 0, 4);
	REFUSED(EINVAL, a.fd, 0, b.fd, SMALL - 4, 8);
	REFUSED(EINVAL, a.fd, -4ULL, b.fd, 0, 8);
	REFUSED(EINVAL, a.fd, 4, b.fd, 0, -4ULL);
	/* Alignment that this engine lacks */
	REFUSED(EINVAL, a.fd, 1, b.fd, 1, 4);
	REFUSED(EINVAL, a.fd, 0, b.fd, 2, 4);
	REFUSED(EINVAL, a.fd, 0, b.fd, 0, 7);
	/* Overlapping */
	REFUSED(EINVAL, a.fd, 0, a.fd, 0, 4);
	REFUSED(EINVAL, a.fd, 0, a.fd, 4 * KiB, 4 * KiB + 4);
	REFUSED(EINVAL, a.fd, 4 * KiB, a.fd, 0, 4 * KiB + 4);
#undef REFUSED

	EXPECT_EQ(-1, ioctl(self->client, P2PDMA_EXPORT, NULL));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(-1, ioctl(self->client, P2PDMA_COPY, NULL));
	EXPECT_EQ(EFAULT, errno);

	/* A dma-buf that wasn't opened for the access */
	{
		struct dma_heap_allocation_data heap = {
			.len = SMALL, .fd_flags = O_RDONLY | O_CLOEXEC,
		};
		int fd = open(SYSTEM, O_RDONLY | O_CLOEXEC);

		ASSERT_EQ(0, ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &heap));
		close(fd);
		read_only = heap.fd;
	}
	EXPECT_EQ(-EACCES, copy_fds(self->client, a.fd, 0, read_only, 0, 4));

	EXPECT_EQ(-1, memory_wrong(&a));
	EXPECT_EQ(-1, memory_wrong(&b));
	close(read_only);
	close(null);
	memory_put(&a);
	memory_put(&b);
}

/* An engine without memory decoding never starts: the copy times out. */
TEST_F(copy, engine_without_answer)
{
	struct place *peer = &self->places.place[self->refused ? 0 : 1];
	struct memory source, destination;
	char engine[BDF_LEN];
	int config;

	ASSERT_EQ(0, memory_get(&self->places.place[0], SMALL, 0, &source));
	ASSERT_EQ(0, memory_get(peer, SMALL, 0, &destination));
	memory_fill(&source, 75);
	memory_fill(&destination, 76);
	ASSERT_EQ(0, bound_device(ENGINE, engine));
	config = pci_config_open(engine);
	ASSERT_LE(0, config);

	ASSERT_EQ(0, file_write("/sys/module/" CLIENT "/parameters/timeout_ms",
				"100"));
	ASSERT_EQ(0, pci_config_change(config, PCI_COMMAND,
				       PCI_COMMAND_MEMORY, 0));
	EXPECT_EQ(-ETIMEDOUT, copy_all(self->client, &source, &destination));
	EXPECT_EQ(-ETIMEDOUT, copy_all(self->client, &source, &destination));
	EXPECT_EQ(-1, memory_wrong(&source));
	EXPECT_EQ(-1, memory_wrong(&destination));

	/* With memory decoding the engine works again. */
	ASSERT_EQ(0, pci_config_change(config, PCI_COMMAND, PCI_COMMAND_MEMORY,
				       PCI_COMMAND_MEMORY));
	ASSERT_EQ(0, file_write("/sys/module/" CLIENT "/parameters/timeout_ms",
				"60000"));
	EXPECT_EQ(0, copy_all(self->client, &source, &destination));
	EXPECT_EQ(-1, memory_wrong(&destination));
	close(config);
	memory_put(&source);
	memory_put(&destination);
}

TEST_F(copy, wrong_exports)
{
	struct place *place = NULL;
	struct bar bars[6];
	__u64 length = 0;
	int i;

	for (i = 0; i < self->places.nr; i++)
		if (!strncmp(self->places.place[i].path, EXPORTER,
			     strlen(EXPORTER)))
			place = &self->places.place[i];
	if (!place)
		SKIP(return, "nothing without pages");

	ASSERT_EQ(0, pci_bars(place->bdf, bars));
	for (i = 0; i < 6; i++)
		if (bars[i].length > length)
			length = bars[i].length;
	EXPECT_EQ(-EINVAL, place_open(place, 0, 0));
	EXPECT_EQ(-EINVAL, place_open(place, 4 * KiB, 1));
	EXPECT_EQ(-EINVAL, place_open(place, 4 * KiB - 1, 0));
	EXPECT_EQ(-EINVAL, place_open(place, 4 * KiB, length));
	EXPECT_EQ(-EINVAL, place_open(place, length + 4 * KiB, 0));
	EXPECT_EQ(-EINVAL, place_open(place, 8 * KiB, -4 * KiB));
}

/* ---- Concurrent callers, signals, and drivers that unbind ---- */

/* Concurrent copies don't mix up their buffers. */
TEST_F(copy, callers_at_once)
{
	const int children = 4, rounds = times(10);
	int i, round, status, nr = self->places.nr;
	struct memory source, destination;
	pid_t child[children];

	if (self->refused)
		SKIP(return, "no route to peers");
	ASSERT_EQ(0, go_fast());
	for (i = 0; i < children; i++) {
		child[i] = fork();
		if (child[i])
			continue;
		if (memory_get(&self->places.place[i % nr], SMALL,
			       2 * i * SMALL, &source) ||
		    memory_get(&self->places.place[(i + 1) % nr], SMALL,
			       (2 * i + 1) * SMALL, &destination))
			_exit(1);
		for (round = 0; round < rounds; round++) {
			memory_fill(&source, 80 + i + round);
			if (copy_all(self->client, &source, &destination))
				_exit(2);
			if (memory_wrong(&destination) != -1)
				_exit(3);
		}
		_exit(0);
	}
	for (i = 0; i < children; i++) {
		EXPECT_EQ(child[i], waitpid(child[i], &status, 0));
		EXPECT_EQ(0, status);
	}
}

static void on_signal(int signal)
{
}

/* Copies until a signal comes; the exit status is 0 for EINTR. */
static pid_t copy_in_child(int client, struct memory *source,
			   struct memory *destination)
{
	struct sigaction action = { .sa_handler = on_signal };
	pid_t child = fork();
	int error;

	if (child)
		return child;
	sigaction(SIGUSR1, &action, NULL);
	error = copy_all(client, source, destination);
	_exit(error == -EINTR ? 0 : 1);
}

/* The engine stops at once when its caller gets a signal or is killed. */
TEST_F(copy, signals)
{
	const int signals[] = { SIGUSR1, SIGKILL };
	struct memory source, destination;
	const size_t size = 2 * MiB;
	size_t i, last;
	int status;
	pid_t child;

	if (self->refused)
		SKIP(return, "no route to peers");
	ASSERT_EQ(0, go_slow());
	ASSERT_EQ(0, memory_get(&self->places.place[0], size, 0, &source));
	ASSERT_EQ(0, memory_get(&self->places.place[0], size, 0,
				&destination));
	last = size - sizeof(__u64);

	for (i = 0; i < ARRAY_SIZE(signals); i++) {
		memory_fill(&source, 90);
		memory_fill(&destination, 91);
		child = copy_in_child(self->client, &source, &destination);
		EXPECT_TRUE(wait_for(word_of(destination.map) ==
				     word_of(source.want), 60));
		kill(child, signals[i]);
		ASSERT_EQ(child, waitpid(child, &status, 0));
		if (signals[i] == SIGUSR1)
			EXPECT_EQ(0, status);
		EXPECT_EQ(word_of(destination.want + last),
			  word_of(destination.map + last))
			TH_LOG("it had come to its end already");

		/* Nothing more arrives after that. */
		memcpy(destination.want, destination.map, size);
		usleep(20000);
		EXPECT_EQ(-1, memory_wrong(&destination));
	}

	/* The engine is free for the next copy. */
	ASSERT_EQ(0, go_fast());
	EXPECT_EQ(0, copy_all(self->client, &source, &destination));
	EXPECT_EQ(-1, memory_wrong(&destination));
	memory_put(&source);
	memory_put(&destination);
}

/* An ivshmem */
static struct place *our_peer(struct places *places)
{
	char path[PATH_MAX];
	int i;

	for (i = 1; i < places->nr; i++) {
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/device",
			 places->place[i].bdf);
		if (file_number(path) == 0x1110)
			return &places->place[i];
	}
	return NULL;
}

/* A place other than @than: system memory and peers by turns */
static struct place *another_place(struct places *places, struct place *than,
				   int round)
{
	struct place *place;

	do {
		place = &places->place[round++ % places->nr];
	} while (place == than);
	return place;
}

/*
 * The provider's driver is unbound while the engine reads from its memory or
 * writes to it: the copy fails at once, the buffer is revoked for good, and
 * other buffers keep their content.
 */
TEST_F(copy, provider_unbound_while_copying)
{
	struct copier copier = { .client = self->client };
	struct place *peer = our_peer(&self->places);
	struct memory victim, other, bystander;
	int round, in_between = 0;
	struct place *place;

	if (self->refused)
		SKIP(return, "no route to peers");
	ASSERT_NE(NULL, peer);
	ASSERT_EQ(0, go_slow());
	ASSERT_EQ(0, memory_get(another_place(&self->places, peer, 1), SMALL,
				4 * MiB, &bystander));
	memory_fill(&bystander, 100);

	for (round = 0; round < times(ROUNDS); round++) {
		place = another_place(&self->places, peer, round);
		ASSERT_EQ(0, memory_get(peer, LARGE, 0, &victim));
		ASSERT_EQ(0, memory_get(place, LARGE, 0, &other));
		memory_fill(&victim, 1000 + round);
		memory_fill(&other, 2000 + round);
		copier.source = round & 1 ? &victim : &other;
		copier.destination = round & 1 ? &other : &victim;

		ASSERT_TRUE(copier_start(&copier));
		usleep(rand() % 3000);
		ASSERT_EQ(0, pci_unbind(peer->bdf));
		/* Nothing more arrives after that. */
		memcpy(other.want, other.map, LARGE);
		pthread_join(copier.thread, NULL);
		in_between += copier.error == -ENODEV;
		if (copier.error)
			EXPECT_EQ(-ENODEV, copier.error);
		usleep(1000);
		EXPECT_EQ(-1, memory_wrong(&other)) TH_LOG("round %d", round);

		EXPECT_EQ(-ENODEV, copy_all(self->client, &victim, &other));
		EXPECT_EQ(-ENODEV, copy_all(self->client, &other, &victim));
		EXPECT_FALSE(can_touch(victim.map));

		ASSERT_EQ(0, pci_bind(peer->bdf, PROVIDER));
		ASSERT_TRUE(wait_for(!access(peer->path, F_OK), 30));
		/* The device is back, but this buffer stays revoked. */
		EXPECT_EQ(-ENODEV, copy_all(self->client, &victim, &other));
		memory_put(&victim);
		memory_put(&other);
		EXPECT_EQ(-1, memory_wrong(&bystander));
	}
	TH_LOG("the copy was stopped in %d of %d rounds", in_between, round);
	EXPECT_LE(round / 2, in_between);
	memory_put(&bystander);
}

/* The engine's driver is unbound while the engine copies. */
TEST_F(copy, engine_unbound_while_copying)
{
	struct copier copier = { .client = self->client };
	int round, in_between = 0;
	int nr = self->places.nr;
	struct memory source, destination;
	struct place *from, *to;
	char engine[BDF_LEN];

	if (self->refused)
		SKIP(return, "no route to peers");
	ASSERT_EQ(0, bound_device(ENGINE, engine));
	for (round = 0; round < times(ROUNDS); round++) {
		from = &self->places.place[round % nr];
		to = &self->places.place[(round / nr) % nr];
		ASSERT_EQ(0, go_slow());
		ASSERT_EQ(0, memory_get(from, LARGE, 0, &source));
		ASSERT_EQ(0, memory_get(to, LARGE, LARGE, &destination));
		memory_fill(&source, 1000 + round);
		memory_fill(&destination, 2000 + round);
		copier.source = &source;
		copier.destination = &destination;

		ASSERT_TRUE(copier_start(&copier));
		usleep(rand() % 3000);
		ASSERT_EQ(0, pci_unbind(engine));
		memcpy(destination.want, destination.map, LARGE);
		pthread_join(copier.thread, NULL);
		in_between += copier.error == -ENODEV;
		if (copier.error)
			EXPECT_EQ(-ENODEV, copier.error);
		usleep(1000);
		EXPECT_EQ(-1, memory_wrong(&destination));
		EXPECT_EQ(-1, memory_wrong(&source));

		EXPECT_EQ(-ENODEV, copy_all(self->client, &source,
					    &destination));
		ASSERT_EQ(0, pci_bind(engine, ENGINE));
		ASSERT_EQ(0, go_fast());
		EXPECT_EQ(0, copy_all(self->client, &source, &destination));
		EXPECT_EQ(-1, memory_wrong(&destination));
		memory_put(&source);
		memory_put(&destination);
	}
	TH_LOG("the copy was stopped in %d of %d rounds", in_between, round);
	EXPECT_LE(round / 2, in_between);
}

/*
 * The provider is unplugged: the controller that the lab names, as QEMU can't
 * unplug the other devices and plug them again.
 */
TEST_F(copy, provider_unplugged_while_copying)
{
	struct copier copier = { .client = self->client };
	struct memory victim, other;
	struct place *peer = NULL;
	char answer[LAB_ANSWER];
	int i;

	if (!have_lab() || !provider() || self->refused)
		SKIP(return, "no lab to unplug a provider, or no route");
	for (i = 0; i < self->places.nr; i++)
		if (!strcmp(self->places.place[i].bdf, provider()))
			peer = &self->places.place[i];
	ASSERT_NE(NULL, peer);
	ASSERT_EQ(0, go_slow());
	ASSERT_EQ(0, memory_get(peer, LARGE, 0, &victim));
	ASSERT_EQ(0, memory_get(&self->places.place[0], LARGE, 0, &other));
	memory_fill(&victim, 500);
	memory_fill(&other, 501);
	copier.source = &other;
	copier.destination = &victim;
	ASSERT_TRUE(copier_start(&copier));

	ASSERT_EQ(0, lab(answer, sizeof(answer), "unplug ssd1"))
		TH_LOG("%s", answer);
	/* The copy may have ended before the driver was unbound. */
	pthread_join(copier.thread, NULL);
	if (copier.error)
		EXPECT_EQ(-ENODEV, copier.error);
	EXPECT_EQ(-ENODEV, copy_all(self->client, &other, &victim));
	EXPECT_EQ(-ENODEV, copy_all(self->client, &victim, &other));
	EXPECT_EQ(-1, memory_wrong(&other));
	EXPECT_FALSE(can_touch(victim.map));

	EXPECT_TRUE(wait_for(!lab(answer, sizeof(answer), "plug ssd1"), 60))
		TH_LOG("%s", answer);
	ASSERT_TRUE(wait_for(!access(peer->path, F_OK), 60));
	EXPECT_EQ(-ENODEV, copy_all(self->client, &other, &victim));
	memory_put(&victim);
	ASSERT_EQ(0, memory_get(peer, SMALL, 0, &victim));
	memory_fill(&victim, 502);
	EXPECT_EQ(0, copy_fds(self->client, other.fd, 0, victim.fd, 0, SMALL));
	memcpy(victim.want, other.want, SMALL);
	EXPECT_EQ(-1, memory_wrong(&victim));
	memory_put(&victim);
	memory_put(&other);
}

/* A copy pins its client and engine; a buffer doesn't pin its provider. */
TEST_F(copy, modules)
{
	struct copier copier = { .client = self->client };
	struct place *peer = our_peer(&self->places);
	struct memory source, destination, victim;
	const size_t size = 2 * MiB;

	if (self->refused)
		SKIP(return, "no route to peers");
	ASSERT_NE(NULL, peer);
	ASSERT_EQ(0, go_slow());
	ASSERT_EQ(0, memory_get(&self->places.place[0], size, 0, &source));
	ASSERT_EQ(0, memory_get(&self->places.place[0], size, 0,
				&destination));
	ASSERT_EQ(0, memory_get(peer, LARGE, 0, &victim));
	memory_fill(&source, 600);
	memory_fill(&destination, 601);
	copier.source = &source;
	copier.destination = &destination;
	ASSERT_TRUE(copier_start(&copier));

	EXPECT_EQ(-EAGAIN, unload(CLIENT));
	EXPECT_EQ(-EAGAIN, unload(ENGINE));
	EXPECT_EQ(0, unload(PROVIDER));
	EXPECT_FALSE(can_touch(victim.map));
	ASSERT_EQ(0, go_fast());
	pthread_join(copier.thread, NULL);
	EXPECT_EQ(0, copier.error);
	memcpy(destination.want, source.want, size);
	EXPECT_EQ(-1, memory_wrong(&destination));

	EXPECT_EQ(-ENODEV, copy_fds(self->client, victim.fd, 0,
				    destination.fd, 0, 4));
	EXPECT_EQ(0, unload(ENGINE));
	EXPECT_EQ(-ENODEV, copy_all(self->client, &source, &destination));
	ASSERT_EQ(0, module_probe("", ENGINE));
	EXPECT_EQ(0, copy_all(self->client, &source, &destination));
	ASSERT_EQ(0, module_probe("", variant->provider));
	/* Loading the module again doesn't restore the revoked buffer. */
	EXPECT_EQ(-ENODEV, copy_fds(self->client, victim.fd, 0,
				    destination.fd, 0, 4));
	memory_put(&victim);
	memory_put(&source);
	memory_put(&destination);
}

/* ---- Other engines ---- */

FIXTURE(engine)
{
	int client;
};

FIXTURE_VARIANT(engine)
{
	const char *parameters;
	int error;
};

/* It is done with each descriptor before the next is submitted. */
FIXTURE_VARIANT_ADD(engine, done_at_once)
{
	.parameters = "",
	.error = 0,
};

FIXTURE_VARIANT_ADD(engine, without_terminate)
{
	.parameters = "lacks=terminate",
	.error = -ENODEV,
};

FIXTURE_VARIANT_ADD(engine, without_synchronize)
{
	.parameters = "lacks=synchronize",
	.error = -ENODEV,
};

FIXTURE_SETUP(engine)
{
	unload(PROVIDER);
	unload(CLIENT);
	unload(ENGINE);
	if (module_probe("-n -q", CLIENT))
		SKIP(return, "no module " CLIENT " (CONFIG_SAMPLE_P2PDMA)");
	ASSERT_EQ(0, module_probe("", CLIENT " timeout_ms=10000"));
	ASSERT_EQ(0, module_load_with(OTHER_ENGINE, variant->parameters));
	self->client = open("/dev/" CLIENT, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->client);
}

FIXTURE_TEARDOWN(engine)
{
	close(self->client);
	EXPECT_EQ(0, unload(CLIENT));
	EXPECT_EQ(0, unload(OTHER_ENGINE));
}

/* Several pieces; an engine that can't be stopped isn't used. */
TEST_F(engine, copy)
{
	const struct place place = { .path = SYSTEM };
	const size_t size = MiB + 64 * KiB + 4 * KiB;
	struct memory source, destination;

	ASSERT_EQ(0, memory_get(&place, size, 0, &source));
	ASSERT_EQ(0, memory_get(&place, size, 0, &destination));
	memory_fill(&source, 700);
	memory_fill(&destination, 701);
	EXPECT_EQ(variant->error, copy_all(self->client, &source,
					   &destination));
	EXPECT_EQ(-1, memory_wrong(&destination));
	memory_put(&source);
	memory_put(&destination);
}

TEST_HARNESS_MAIN
