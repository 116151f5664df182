// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/p2pdma, the uevents and the tracepoints: answers about all pairs of the
 * machine's devices, compared with sysfs, with the lab's route and with what the
 * kernel tells a driver; permissions, and the rate limit; sizes of older and newer
 * programs; bad questions, by hand and at random.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/netlink.h>
#include <linux/p2pdma.h>
#include <signal.h>
#include <stdalign.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define DEVICE		"/dev/p2pdma"
#define PORTS		64
#define ALL		128		/* devices, at most */
#define BURST		4096		/* questions at once, see the ABI file */
#define CANARY		0xa5

/* ---- Devices ---- */

struct functions {
	int nr;
	char bdf[ALL][BDF_LEN];
};

static void find_functions(struct functions *found)
{
	glob_t paths;
	size_t i;

	found->nr = 0;
	if (glob("/sys/bus/pci/devices/*", 0, NULL, &paths))
		return;
	for (i = 0; i < paths.gl_pathc && found->nr < ALL; i++)
		snprintf(found->bdf[found->nr++], BDF_LEN, "%s",
			 strrchr(paths.gl_pathv[i], '/') + 1);
	globfree(&paths);
}

static struct p2pdma_pci_address address_of(const char *bdf)
{
	unsigned int domain, bus, device, function;
	struct p2pdma_pci_address at = { 0 };

	if (sscanf(bdf, "%x:%x:%x.%x", &domain, &bus, &device, &function) == 4) {
		at.domain = domain;
		at.bus = bus;
		at.devfn = device << 3 | function;
	}
	return at;
}

static void name_of(const struct p2pdma_pci_address *at, char bdf[BDF_LEN])
{
	snprintf(bdf, BDF_LEN, "%04x:%02x:%02x.%x", at->domain, at->bus,
		 at->devfn >> 3, at->devfn & 7);
}

/* All devices from @bdf up to the root bus: how many, as sysfs has them */
static int way_up(const char *bdf, char way[PORTS][BDF_LEN])
{
	char path[PATH_MAX], real[PATH_MAX], *part, *parts[PORTS];
	int nr = 0, i = 0;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", bdf);
	if (!realpath(path, real))
		return -errno;
	for (part = strtok(real, "/"); part && nr < PORTS; part = strtok(NULL, "/")) {
		/* Without what is above the root bus, such as pci0000:00 */
		if (strlen(part) >= 12 && strchr(part, '.'))
			parts[nr++] = part;
	}
	while (nr--)
		snprintf(way[i++], BDF_LEN, "%s", parts[nr]);
	return i;
}

/* ---- Questions ---- */

struct question {
	struct p2pdma_query_route route;
	struct p2pdma_query_port ports[PORTS];
};

static void prepare(struct question *q, const char *owner, const char *client)
{
	memset(q, 0, sizeof(*q));
	q->route.size = sizeof(q->route);
	q->route.owner = address_of(owner);
	q->route.client = address_of(client);
	q->route.ports = (uintptr_t)q->ports;
	q->route.port_size = sizeof(q->ports[0]);
	q->route.port_count = PORTS;
}

/* 0 or -errno */
static int ask_file(int fd, void *query)
{
	return ioctl(fd, P2PDMA_QUERY_ROUTE, query) ? -errno : 0;
}

static int ask(int fd, struct question *q, const char *owner, const char *client)
{
	prepare(q, owner, client);
	return ask_file(fd, q);
}

FIXTURE(query)
{
	struct functions all;
	const char *owner, *client;	/* any two */
	int fd;
};

FIXTURE_SETUP(query)
{
	self->fd = open(DEVICE, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, self->fd) TH_LOG(DEVICE ": %m");
	find_functions(&self->all);
	ASSERT_LE(2, self->all.nr);
	self->owner = self->all.bdf[self->all.nr - 1];
	self->client = self->all.bdf[self->all.nr - 2];
}

FIXTURE_TEARDOWN(query)
{
	close(self->fd);
}

/* ---- The file ---- */

TEST_F(query, file)
{
	struct stat st;
	char byte;

	ASSERT_EQ(0, stat(DEVICE, &st));
	EXPECT_EQ((mode_t)(S_IFCHR | 0444), st.st_mode);
	EXPECT_EQ(-1, open(DEVICE, O_RDWR));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-1, open(DEVICE, O_WRONLY));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-1, read(self->fd, &byte, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, lseek(self->fd, 0, SEEK_SET));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(-1, ioctl(self->fd, _IO(P2PDMA_IOCTL, 2), NULL));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(-1, ioctl(self->fd, _IO(0, 0), NULL));
	EXPECT_EQ(ENOTTY, errno);
}

/* An unprivileged user may ask, but not open the file for writing. */
TEST_F(query, nobody)
{
	struct p2pdma_query_owners owners = { .size = sizeof(owners) };
	struct question q;
	int fd;

	if (getuid())
		SKIP(return, "needs root");
	ASSERT_EQ(0, become_nobody());

	fd = open(DEVICE, O_RDONLY);
	ASSERT_LE(0, fd) TH_LOG(DEVICE ": %m");
	EXPECT_EQ(0, ask(fd, &q, self->owner, self->client));
	EXPECT_LT(0U, q.route.port_count);
	EXPECT_EQ(0, ioctl(fd, P2PDMA_QUERY_OWNERS, &owners));
	EXPECT_EQ(-1, open(DEVICE, O_RDWR));
	EXPECT_EQ(EACCES, errno);
	close(fd);
}

/* ---- Routes ---- */

/* The ports of one answer are those that sysfs shows, in their order. */
static bool ports_right(const struct question *q, const char *owner,
			const char *client)
{
	char way[2][PORTS][BDF_LEN], expected[3 * PORTS][BDF_LEN], bdf[BDF_LEN];
	int nr[2], legs[2], i, count = 0;

	nr[0] = way_up(owner, way[0]);
	nr[1] = way_up(client, way[1]);
	if (nr[0] <= 0 || nr[1] <= 0)
		return false;
	/* What is the same at the root's end is above both. */
	legs[0] = nr[0];
	legs[1] = nr[1];
	while (legs[0] && legs[1] &&
	       !strcmp(way[0][legs[0] - 1], way[1][legs[1] - 1])) {
		legs[0]--;
		legs[1]--;
	}
	for (i = 0; i < legs[0]; i++)
		memcpy(expected[count++], way[0][i], BDF_LEN);
	for (i = 0; i < legs[1]; i++)
		memcpy(expected[count++], way[1][i], BDF_LEN);
	for (i = legs[0]; i < nr[0]; i++)
		memcpy(expected[count++], way[0][i], BDF_LEN);

	if ((int)q->route.port_count != count ||
	    (int)q->route.legs[P2PDMA_LEG_OWNER].hops != legs[0] ||
	    (int)q->route.legs[P2PDMA_LEG_CLIENT].hops != legs[1])
		return false;
	for (i = 0; i < count; i++) {
		int leg = i < legs[0] ? P2PDMA_LEG_OWNER :
			  i < legs[0] + legs[1] ? P2PDMA_LEG_CLIENT :
			  P2PDMA_LEG_SHARED;

		name_of(&q->ports[i].at, bdf);
		if (strcmp(bdf, expected[i]) || q->ports[i].leg != leg)
			return false;
	}
	return true;
}

TEST_F(query, all_pairs)
{
	const char *owner, *client;
	struct question q;
	int i, j;

	for (i = 0; i < self->all.nr; i++) {
		owner = self->all.bdf[i];
		for (j = 0; j < self->all.nr; j++) {
			client = self->all.bdf[j];
			ASSERT_EQ(0, ask(self->fd, &q, owner, client));
			EXPECT_TRUE(ports_right(&q, owner, client))
				TH_LOG("ports from %s to %s", client, owner);
			EXPECT_EQ(i == j, q.route.reason ==
					  P2PDMA_REASON_SAME_DEVICE);
			EXPECT_EQ(q.route.map_type != P2PDMA_ROUTE_NONE,
				  q.route.directions != 0);
			EXPECT_EQ(q.route.reasons != 0, q.route.directions !=
				  (P2PDMA_READ | P2PDMA_WRITE))
				TH_LOG("from %s to %s: reasons %#llx", client,
				       owner, q.route.reasons);
			EXPECT_NE(0U, q.route.classes & 1);
		}
	}
}

/* What the lab says of the provider and each disk */
TEST(route_of_disks)
{
	static const struct {
		const char *route;
		unsigned int map_type;
		bool translated;
	} routes[] = {
		{ "bus-address", P2PDMA_ROUTE_BUS_ADDRESS, false },
		{ "host-bridge", P2PDMA_ROUTE_HOST_BRIDGE, false },
		{ "iova", P2PDMA_ROUTE_HOST_BRIDGE, true },
		{ "refused", P2PDMA_ROUTE_NONE, false },
	};
	const char *owner = provider(), *route = expected_route();
	char client[BDF_LEN];
	struct disks disks;
	struct question q;
	size_t i;
	int fd, j;

	fd = open(DEVICE, O_RDONLY);
	ASSERT_LE(0, fd);
	scratch_disks(&disks);
	ASSERT_NE(NULL, owner);
	ASSERT_LT(0, disks.nr);
	for (i = 0; i < ARRAY_SIZE(routes); i++)
		if (!strcmp(routes[i].route, route))
			break;
	ASSERT_GT(ARRAY_SIZE(routes), i) TH_LOG("no such route: %s", route);

	for (j = 0; j < disks.nr; j++) {
		ASSERT_EQ(0, disk_bdf(disks.path[j], client));
		ASSERT_EQ(0, ask(fd, &q, owner, client));
		EXPECT_EQ(routes[i].map_type, q.route.map_type)
			TH_LOG("%s", client);
		EXPECT_NE(0U, q.route.facts & P2PDMA_FACT_REGISTERED);
		EXPECT_NE(0ULL, q.route.dma_mask);
		EXPECT_NE(0U, q.route.bars);
		if (routes[i].map_type != P2PDMA_ROUTE_NONE)
			EXPECT_EQ(routes[i].translated,
				  !!(q.route.facts & P2PDMA_FACT_TRANSLATED));
	}
	close(fd);
}

/* ---- Memory of the test module ---- */

FIXTURE(module)
{
	char bdf[BDF_LEN];
	int bar;
	struct bar big;
	int fd;
};

FIXTURE_SETUP(module)
{
	const char *why = test_device(self->bdf, &self->bar, &self->big);

	if (why)
		SKIP(return, "%s", why);
	self->fd = open(DEVICE, O_RDONLY);
	ASSERT_LE(0, self->fd) TH_LOG(DEVICE ": %m");
}

FIXTURE_TEARDOWN(module)
{
	close(self->fd);
	EXPECT_EQ(0, module_unload());
}

/* The answer is what the kernel tells drivers, for all clients with a driver. */
TEST_F(module, distances)
{
	char name[NAME_MAX], answer[64];
	struct functions all;
	struct question q;
	int file, i, seen = 0;

	ASSERT_EQ(0, test_add(self->bdf, self->bar, 0, 0));
	find_functions(&all);
	for (i = 0; i < all.nr; i++) {
		if (pci_driver(all.bdf[i], name))
			continue;
		file = test_open(self->bdf, "distance", "%s", all.bdf[i]);
		ASSERT_LE(0, file);
		ASSERT_EQ(0, test_answer(file, answer, sizeof(answer)));
		close(file);
		ASSERT_EQ(0, ask(self->fd, &q, self->bdf, all.bdf[i]));
		EXPECT_EQ(atoi(answer), q.route.directions ==
			  (P2PDMA_READ | P2PDMA_WRITE) ?
			  (int)q.route.distance : -1)
			TH_LOG("%s: %s, but directions %u, distance %u",
			       all.bdf[i], answer, q.route.directions,
			       q.route.distance);
		EXPECT_EQ(1U << self->bar, q.route.bars);
		EXPECT_NE(0U, q.route.facts & P2PDMA_FACT_REGISTERED);
		seen++;
	}
	EXPECT_LT(2, seen);
}

static bool owner_of(int fd, const char *bdf, struct p2pdma_query_owner *found)
{
	struct p2pdma_pci_address at = address_of(bdf);
	struct p2pdma_query_owner list[MAX_DEVS];
	struct p2pdma_query_owners query = {
		.size = sizeof(query),
		.owners = (uintptr_t)list,
		.owner_size = sizeof(list[0]),
		.owner_count = MAX_DEVS,
	};
	unsigned int i;

	if (ioctl(fd, P2PDMA_QUERY_OWNERS, &query))
		return false;
	for (i = 0; i < query.owner_count && i < MAX_DEVS; i++) {
		if (!memcmp(&list[i].at, &at, sizeof(at))) {
			*found = list[i];
			return true;
		}
	}
	return false;
}

/* An owner from its registration to its end */
TEST_F(module, owner)
{
	struct p2pdma_query_owner owner;
	int memory;

	EXPECT_FALSE(owner_of(self->fd, self->bdf, &owner));
	ASSERT_EQ(0, test_add(self->bdf, self->bar, 4 * MiB, 0));
	ASSERT_TRUE(owner_of(self->fd, self->bdf, &owner));
	EXPECT_EQ(P2PDMA_OWNER_PAGES, owner.flags);
	EXPECT_EQ(1U << self->bar, owner.bars);
	EXPECT_EQ(4 * MiB, owner.memory);
	EXPECT_EQ(4 * MiB, owner.available);

	memory = test_open(self->bdf, "alloc", "%lu", MiB);
	ASSERT_LE(0, memory);
	ASSERT_EQ(0, test_call(self->bdf, "publish", "1"));
	ASSERT_TRUE(owner_of(self->fd, self->bdf, &owner));
	EXPECT_EQ(3 * MiB, owner.available);
	EXPECT_NE(0U, owner.flags & P2PDMA_OWNER_PUBLISHED);
	EXPECT_TRUE(wait_for(owner_of(self->fd, self->bdf, &owner) &&
			     owner.flags & P2PDMA_OWNER_HEAP, 10));
	close(memory);
	ASSERT_EQ(0, test_call(self->bdf, "publish", "0"));
	ASSERT_TRUE(owner_of(self->fd, self->bdf, &owner));
	EXPECT_EQ(0U, owner.flags & P2PDMA_OWNER_PUBLISHED);
	ASSERT_EQ(0, pci_unbind(self->bdf));
	EXPECT_FALSE(owner_of(self->fd, self->bdf, &owner));
	ASSERT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
}

/* ---- Uevents ---- */

static int uevents_open(void)
{
	struct sockaddr_nl at = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	struct timeval patience = { .tv_sec = 10 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC,
			NETLINK_KOBJECT_UEVENT);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience))) {
		close(fd);
		return -errno;
	}
	return fd;
}

/* The next P2PMEM= of @bdf; "" if none comes */
static const char *next_uevent(int fd, const char *bdf)
{
	static char text[8192];
	ssize_t n;
	char *at;

	while ((n = recv(fd, text, sizeof(text) - 1, 0)) > 0) {
		const char *mine = NULL, *device = NULL;
		bool change = false;

		text[n] = '\0';
		for (at = text; at < text + n; at += strlen(at) + 1) {
			if (!strncmp(at, "P2PMEM=", 7))
				mine = at + 7;
			if (!strncmp(at, "PCI_SLOT_NAME=", 14))
				device = at + 14;
			if (!strcmp(at, "ACTION=change"))
				change = true;
		}
		if (mine && change && device && !strcmp(device, bdf))
			return mine;
	}
	return "";
}

TEST_F(module, uevents)
{
	int fd = uevents_open();

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, test_add(self->bdf, self->bar, 4 * MiB, 0));
	EXPECT_STREQ("added", next_uevent(fd, self->bdf));
	ASSERT_EQ(0, test_add(self->bdf, self->bar, 4 * MiB, 4 * MiB));
	EXPECT_STREQ("added", next_uevent(fd, self->bdf));
	ASSERT_EQ(0, test_call(self->bdf, "publish", "1"));
	EXPECT_STREQ("published", next_uevent(fd, self->bdf));
	ASSERT_EQ(0, test_call(self->bdf, "publish", "0"));
	EXPECT_STREQ("withdrawn", next_uevent(fd, self->bdf));
	ASSERT_EQ(0, test_call(self->bdf, "publish", "1"));
	EXPECT_STREQ("published", next_uevent(fd, self->bdf));
	ASSERT_EQ(0, pci_unbind(self->bdf));
	EXPECT_STREQ("withdrawn", next_uevent(fd, self->bdf));
	EXPECT_STREQ("removed", next_uevent(fd, self->bdf));
	ASSERT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
	close(fd);
}

/* ---- Tracepoints ---- */

#define TRACING		"/sys/kernel/tracing/"

static bool traces_on(void)
{
	if (access(TRACING "trace", F_OK) &&
	    mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL))
		return false;
	return !file_write(TRACING "trace", "") &&
	       !file_write(TRACING "events/p2pdma/enable", "1");
}

/* Is there a line with all of the text that the format makes? */
static __printf(1, 2) bool traced_line(const char *format, ...)
{
	static char text[1 << 20];
	char want[256];
	va_list args;

	va_start(args, format);
	vsnprintf(want, sizeof(want), format, args);
	va_end(args);
	return file_read(TRACING "trace", text, sizeof(text)) > 0 &&
	       strstr(text, want);
}

TEST_F(module, traces)
{
	unsigned long long phys = self->big.start;
	char client[BDF_LEN], name[NAME_MAX];
	struct functions all;
	int memory, i;

	ASSERT_TRUE(traces_on()) TH_LOG("no tracepoints: %m");
	ASSERT_EQ(0, test_add(self->bdf, self->bar, 4 * MiB, 0));
	EXPECT_TRUE(traced_line("p2pdma_owner: %s comes", self->bdf));
	EXPECT_FALSE(traced_line("p2pdma_allocate:"));
	memory = test_open(self->bdf, "alloc", "%lu", 4 * MiB);
	ASSERT_LE(0, memory);
	EXPECT_TRUE(traced_line("p2pdma_allocate: %s phys=%#llx size=%lu",
				self->bdf, phys, 4 * MiB));
	EXPECT_FALSE(traced_line("p2pdma_free:"));
	close(memory);
	EXPECT_TRUE(traced_line("p2pdma_free: %s phys=%#llx size=%lu",
				self->bdf, phys, 4 * MiB));

	/* The first client with a driver, and with a verdict of any kind */
	find_functions(&all);
	for (i = 0; i < all.nr && pci_driver(all.bdf[i], name); i++)
		;
	ASSERT_GT(all.nr, i);
	snprintf(client, sizeof(client), "%s", all.bdf[i]);
	EXPECT_FALSE(traced_line("p2pdma_verdict: owner=%s client=%s tlp=0 by=",
				 self->bdf, client));
	ASSERT_EQ(0, test_call(self->bdf, "distance", "%s", client));
	EXPECT_TRUE(traced_line("p2pdma_verdict: owner=%s client=%s tlp=0 by=",
				self->bdf, client));

	ASSERT_EQ(0, pci_unbind(self->bdf));
	EXPECT_TRUE(traced_line("p2pdma_owner: %s goes", self->bdf));
	EXPECT_EQ(0, file_write(TRACING "events/p2pdma/enable", "0"));
	ASSERT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
}

/* A disk reads into the provider's memory, or is refused. */
TEST(traces_of_io)
{
	const char *owner = provider();
	size_t length = 64 * 1024;
	struct disks disks;
	char client[BDF_LEN];
	void *memory;
	int disk;

	ASSERT_NE(NULL, owner);
	scratch_disks(&disks);
	ASSERT_LT(0, disks.nr);
	ASSERT_EQ(0, disk_bdf(disks.path[0], client));
	memory = p2pmem_map(owner, length);
	ASSERT_NE(MAP_FAILED, memory);
	disk = open(disks.path[0], O_RDONLY | O_DIRECT);
	ASSERT_LE(0, disk);
	ASSERT_TRUE(traces_on()) TH_LOG("no tracepoints: %m");

	if (is_refused()) {
		EXPECT_EQ(-1, pread(disk, memory, length, 0));
		EXPECT_TRUE(traced_line("p2pdma_refuse: owner=%s client=%s tlp=0 needs=",
					owner, client));
		EXPECT_FALSE(traced_line("p2pdma_map:"));
	} else {
		EXPECT_EQ((ssize_t)length, pread(disk, memory, length, 0));
		EXPECT_TRUE(traced_line("p2pdma_map: owner=%s client=%s phys=",
					owner, client));
		EXPECT_FALSE(traced_line("p2pdma_refuse:"));
	}
	munmap(memory, length);
	EXPECT_TRUE(traced_line("p2pdma_free: %s phys=", owner));
	EXPECT_EQ(0, file_write(TRACING "events/p2pdma/enable", "0"));
	close(disk);
}

/* ---- Owners ---- */

TEST_F(query, owners)
{
	struct p2pdma_query_owner list[MAX_DEVS];
	struct p2pdma_query_owners query = {
		.size = sizeof(query),
		.owners = (uintptr_t)list,
		.owner_size = sizeof(list[0]),
		.owner_count = MAX_DEVS,
	};
	char bdf[BDF_LEN];
	unsigned int i, with_pages = 0, count;
	unsigned int expected = 0;
	int j;

	ASSERT_EQ(0, ioctl(self->fd, P2PDMA_QUERY_OWNERS, &query));
	ASSERT_GE((unsigned int)MAX_DEVS, query.owner_count);
	for (i = 0; i < query.owner_count; i++) {
		name_of(&list[i].at, bdf);
		if (!(list[i].flags & P2PDMA_OWNER_PAGES)) {
			EXPECT_FALSE(p2pmem_exists(bdf));
			EXPECT_EQ(0U, list[i].memory);
			continue;
		}
		with_pages++;
		EXPECT_NE(0U, list[i].bars);
		EXPECT_EQ(p2pmem_number(bdf, "size"), (long long)list[i].memory);
		EXPECT_EQ(p2pmem_number(bdf, "available"),
			  (long long)list[i].available);
		EXPECT_EQ(p2pmem_number(bdf, "published"),
			  !!(list[i].flags & P2PDMA_OWNER_PUBLISHED));
	}
	for (j = 0; j < self->all.nr; j++)
		expected += p2pmem_exists(self->all.bdf[j]);
	EXPECT_EQ(expected, with_pages);
	EXPECT_LT(0U, with_pages);

	/* Without room, they are only counted. */
	count = query.owner_count;
	memset(list, CANARY, sizeof(list));
	query.owner_count = 0;
	ASSERT_EQ(0, ioctl(self->fd, P2PDMA_QUERY_OWNERS, &query));
	EXPECT_EQ(count, query.owner_count);
	EXPECT_EQ(CANARY, *(unsigned char *)list);
}

/* ---- Sizes ---- */

TEST_F(query, sizes_of_the_question)
{
	static const struct {
		unsigned int size;
		int error;
	} sizes[] = {
		{ 0, -EINVAL }, { 4, -EINVAL }, { 159, -EINVAL }, { 160, 0 },
		{ 161, 0 }, { 168, 0 }, { 4096, 0 }, { 4097, -E2BIG },
		{ UINT_MAX, -E2BIG },
	};
	alignas(8) unsigned char big[8192];
	struct question q;
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		prepare(&q, self->owner, self->client);
		q.route.size = sizes[i].size;
		q.route.port_count = 0;
		memset(big, CANARY, sizeof(big));
		memcpy(big, &q.route, sizeof(q.route));
		if (sizes[i].size > sizeof(q.route) && sizes[i].size <= 4096)
			memset(big + sizeof(q.route), 0,
			       sizes[i].size - sizeof(q.route));
		EXPECT_EQ(sizes[i].error, ask_file(self->fd, big))
			TH_LOG("size %u", sizes[i].size);
		if (sizes[i].error) {
			EXPECT_EQ(0, memcmp(big, &q.route, sizeof(q.route)));
			continue;
		}
		EXPECT_LT(0U, ((struct p2pdma_query_route *)big)->port_count);
		for (j = sizeof(q.route); j < sizeof(big); j++)
			if (big[j] != (j < sizes[i].size ? 0 : CANARY))
				break;
		EXPECT_EQ(sizeof(big), j);

		/* What this kernel doesn't know must be 0. */
		if (sizes[i].size > sizeof(q.route)) {
			big[sizes[i].size - 1] = 1;
			EXPECT_EQ(-E2BIG, ask_file(self->fd, big));
		}
	}
}

TEST_F(query, sizes_of_a_port)
{
	static const struct {
		unsigned int size;
		int error;
	} sizes[] = {
		{ 0, -EINVAL }, { 7, -EINVAL }, { 8, 0 }, { 12, 0 }, { 32, 0 },
		{ 40, 0 }, { 4096, 0 }, { 4097, -E2BIG }, { UINT_MAX, -E2BIG },
	};
	static unsigned char array[(PORTS + 1) * 4096];
	size_t known = sizeof(struct p2pdma_query_port);
	struct question q, all;
	size_t i, j, n, wrong;

	ASSERT_EQ(0, ask(self->fd, &all, self->owner, self->client));
	n = all.route.port_count;
	ASSERT_LT(1U, n);
	ASSERT_GT((size_t)PORTS, n);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t size = sizes[i].size;

		prepare(&q, self->owner, self->client);
		q.route.ports = (uintptr_t)array;
		q.route.port_size = size;
		q.route.port_count = n;
		memset(array, CANARY, sizeof(array));
		EXPECT_EQ(sizes[i].error, ask_file(self->fd, &q))
			TH_LOG("size %zu", size);
		if (sizes[i].error)
			continue;
		for (j = 0, wrong = 0; j < n * size; j++) {
			size_t in = j % size;
			unsigned char want = in < known ?
				((unsigned char *)&all.ports[j / size])[in] : 0;

			wrong += array[j] != want;
		}
		EXPECT_EQ(0U, wrong) TH_LOG("size %zu", size);
		EXPECT_EQ(CANARY, array[n * size]);

		/* Less room than ports */
		q.route.port_count = 1;
		memset(array, CANARY, sizeof(array));
		EXPECT_EQ(0, ask_file(self->fd, &q));
		EXPECT_EQ(n, q.route.port_count);
		EXPECT_EQ(CANARY, array[size]);
	}
}

/* ---- Bad questions ---- */

TEST_F(query, refused)
{
	struct p2pdma_query_owners owners = { .size = sizeof(owners) };
	struct p2pdma_query_route *page;
	struct question q, before;
	size_t i;

#define WITH(_change, _error) do {					\
		prepare(&q, self->owner, self->client);			\
		_change;						\
		before = q;						\
		EXPECT_EQ(_error, ask_file(self->fd, &q)) TH_LOG(#_change);	\
		EXPECT_EQ(0, memcmp(&q.route, &before.route, sizeof(q.route)));	\
	} while (0)
	WITH(q.route.flags = 1, -EINVAL);
	WITH(q.route.flags = 0x80000000, -EINVAL);
	WITH(q.route.tlp = PCI_P2PDMA_TLP_CLASSES, -EINVAL);
	WITH(q.route.tlp = UINT_MAX, -EINVAL);
	WITH(q.route.owner.reserved = 1, -EINVAL);
	WITH(q.route.client.reserved = 0x8000, -EINVAL);
	WITH(q.route.owner.domain = 0xffff, -ENODEV);
	WITH(q.route.owner.domain = 0xffffffff, -ENODEV);
	WITH(q.route.client.bus ^= 0xff, -ENODEV);
	WITH(q.route.ports = 0, -EFAULT);
	WITH(q.route.ports = ~0ULL, -EFAULT);
	WITH(q.route.ports = (uintptr_t)-4096, -EFAULT);
#undef WITH

	EXPECT_EQ(-EFAULT, ask_file(self->fd, NULL));
	EXPECT_EQ(-EFAULT, ask_file(self->fd, (void *)-8L));
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, page);
	prepare(&q, self->owner, self->client);
	q.route.port_count = 0;
	*page = q.route;
	ASSERT_EQ(0, mprotect(page, 4096, PROT_READ));
	EXPECT_EQ(-EFAULT, ask_file(self->fd, page));
	munmap(page, 4096);

	const struct {
		unsigned int size, flags, owner_size, owner_count;
		int error;
	} lists[] = {
		{ 23, 0, 32, 0, EINVAL }, { 4097, 0, 32, 0, E2BIG },
		{ 24, 1, 32, 0, EINVAL }, { 24, 0, 7, 1, EINVAL },
		{ 24, 0, 4097, 1, E2BIG },
	};
	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		owners.size = lists[i].size;
		owners.flags = lists[i].flags;
		owners.owner_size = lists[i].owner_size;
		owners.owner_count = lists[i].owner_count;
		EXPECT_EQ(-1, ioctl(self->fd, P2PDMA_QUERY_OWNERS, &owners));
		EXPECT_EQ(lists[i].error, errno) TH_LOG("list %zu", i);
	}
}

/*
 * Random questions, most of them nearly right: each gets an answer or one of the
 * documented errors, and the kernel log has nothing of it.
 */
TEST_F(query, random)
{
	static alignas(8) unsigned char memory[1 << 20];
	static const int errors[] = { EINVAL, E2BIG, ENODEV, EFAULT, ENOTTY };
	long counts[ARRAY_SIZE(errors) + 1] = { 0 };
	int i, n = times(20000), log, fd = self->fd;
	unsigned int seed = time(NULL);
	char line[8192];
	ssize_t size;
	size_t e;

	TH_LOG("seed %u", seed);
	log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	ASSERT_LE(0, log);
	lseek(log, 0, SEEK_END);
	for (i = 0; i < n; i++) {
		unsigned int cmd = rand_r(&seed) % 4 ? P2PDMA_QUERY_ROUTE :
							P2PDMA_QUERY_OWNERS;
		struct question *q = (void *)memory;
		int changes = rand_r(&seed) % 4;

		if (i % (BURST - 96) == 0) {
			if (fd != self->fd)
				close(fd);
			fd = open(DEVICE, O_RDONLY);
			ASSERT_LE(0, fd);
		}
		prepare(q, self->all.bdf[rand_r(&seed) % self->all.nr],
			self->all.bdf[rand_r(&seed) % self->all.nr]);
		if (cmd == P2PDMA_QUERY_OWNERS) {
			struct p2pdma_query_owners *owners = (void *)memory;

			owners->size = sizeof(*owners);
			owners->owners = (uintptr_t)(memory + 4096);
			owners->owner_size = sizeof(struct p2pdma_query_owner);
			owners->owner_count = rand_r(&seed) % 8;
		}
		while (changes--) {
			unsigned char *at = memory + rand_r(&seed) % 64;

			switch (rand_r(&seed) % 4) {
			case 0:
				*at ^= 1 << rand_r(&seed) % 8;
				break;
			case 1:
				*at = rand_r(&seed);
				break;
			case 2:
				*(unsigned int *)(memory + (at - memory) / 4 * 4) =
					rand_r(&seed) % 2 ? 0 : ~0U;
				break;
			default:
				cmd ^= rand_r(&seed) % 8 ? 0 :
				       1U << rand_r(&seed) % 32;
			}
		}
		/* Of this program's addresses only those for answers */
		if (cmd == P2PDMA_QUERY_OWNERS) {
			struct p2pdma_query_owners *owners = (void *)memory;

			if (owners->owners >> 47 == 0)
				owners->owners = (uintptr_t)(memory + 4096);
		} else if (q->route.ports >> 47 == 0) {
			q->route.ports = (uintptr_t)(memory + 4096);
		}
		if (!ioctl(fd, cmd, memory)) {
			counts[ARRAY_SIZE(errors)]++;
			continue;
		}
		for (e = 0; e < ARRAY_SIZE(errors) && errors[e] != errno; e++)
			;
		ASSERT_GT(ARRAY_SIZE(errors), e) TH_LOG("question %d: %m", i);
		counts[e]++;
	}
	if (fd != self->fd)
		close(fd);
	for (e = 0; e <= ARRAY_SIZE(errors); e++) {
		EXPECT_LT(0, counts[e]) TH_LOG("never: %s",
					       e < ARRAY_SIZE(errors) ?
					       strerror(errors[e]) : "an answer");
	}
	/* EPIPE: the log has lost lines since. */
	while ((size = read(log, line, sizeof(line) - 1)) > 0 ||
	       errno == EPIPE) {
		line[size > 0 ? size : 0] = '\0';
		EXPECT_EQ(NULL, strstr(line, "p2pdma")) TH_LOG("%s", line);
	}
	EXPECT_EQ(EAGAIN, errno);
	close(log);
}

/* ---- The rate limit ---- */

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static int count_owners(int fd)
{
	struct p2pdma_query_owners query = { .size = sizeof(query) };

	return ioctl(fd, P2PDMA_QUERY_OWNERS, &query) ? -errno : 0;
}

TEST_F(query, rate)
{
	int fd = open(DEVICE, O_RDONLY | O_NONBLOCK), i, ret = 0;
	double start, took;

	ASSERT_LE(0, fd);
	start = seconds();
	for (i = 0; !ret && i < 100 * BURST; i++)
		ret = count_owners(fd);
	took = seconds() - start;
	EXPECT_EQ(-EAGAIN, ret);
	EXPECT_LE(BURST, i);
	EXPECT_GE(BURST + 1000 * took + 2, i) TH_LOG("%d in %f s", i, took);

	/* Other files aren't affected, and a caller without O_NONBLOCK waits. */
	EXPECT_EQ(0, count_owners(self->fd));
	ASSERT_EQ(0, fcntl(fd, F_SETFL, 0));
	start = seconds();
	for (i = 0; i < 500; i++)
		EXPECT_EQ(0, count_owners(fd));
	took = seconds() - start;
	EXPECT_LT(0.4, took);
	close(fd);
}

static void on_alarm(int signal)
{
}

/* A signal ends the wait. */
TEST_F(query, interrupted)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval every = { .it_interval.tv_usec = 5000,
				   .it_value.tv_usec = 5000 };
	double end = seconds() + 30;
	int i, ret = 0;

	for (i = 0; i < BURST; i++)
		count_owners(self->fd);
	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &every, NULL));
	while (ret != -EINTR && seconds() < end)
		ret = count_owners(self->fd);
	EXPECT_EQ(-EINTR, ret);
	every.it_value.tv_usec = 0;
	setitimer(ITIMER_REAL, &every, NULL);
}

TEST_HARNESS_MAIN
