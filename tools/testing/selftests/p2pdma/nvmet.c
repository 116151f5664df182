// SPDX-License-Identifier: GPL-2.0
/*
 * The NVMe target's attribute `p2pmem`: which values it accepts and shows, and
 * which routes it accepts when a namespace is enabled. I/O to such a namespace
 * over the loop transport stays correct. Peer memory as the target's own buffer
 * needs an RDMA port: nvmet_rdma.c tests that.
 *
 * Writes to the first disk in P2PDMA_SCRATCH.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define LENGTH		(1 * MiB)

FIXTURE(nvmet)
{
	const char *bdf;
	struct disks disks;
	int controller;		/* of the loop transport, or -1 */
};

FIXTURE_SETUP(nvmet)
{
	self->controller = -1;
	self->bdf = provider();
	if (getuid())
		SKIP(return, "needs root");
	if (!self->bdf)
		SKIP(return, "no device with published peer memory");
	if (access(NVMET "subsystems", F_OK))
		SKIP(return, "no NVMe target in configfs");
	scratch_disks(&self->disks);
	if (!self->disks.nr)
		SKIP(return, "no disk in P2PDMA_SCRATCH");

	ASSERT_EQ(0, nvmet_add(self->disks.path[0]));
}

FIXTURE_TEARDOWN(nvmet)
{
	if (self->controller >= 0)
		nvmet_disconnect(self->controller);
	nvmet_remove();
	EXPECT_NE(0, access(NVMET_SUBSYSTEM, F_OK));
}

static int set_p2pmem(const char *value)
{
	return file_write(NVMET_NAMESPACE "p2pmem", value);
}

static const char *get_p2pmem(void)
{
	static char text[64];
	int n = file_read(NVMET_NAMESPACE "p2pmem", text, sizeof(text));

	return n < 0 ? strerror(-n) : text;
}

TEST_F(nvmet, attribute)
{
	static const struct {
		const char *value;
		int error;
		const char *shown;	/* NULL: as before */
	} cases[] = {
		{ "1",			0,		"1\n" },
		{ "0\n",		0,		"0\n" },
		{ "y",			0,		"1\n" },
		{ "off",		0,		"0\n" },
		{ "on\n",		0,		"1\n" },
		{ "nonsense",		0,		"0\n" },	/* n */
		{ "10",			-ENODEV,	NULL },
		{ "zero",		-ENODEV,	NULL },
		{ "0000:ff:1f.7",	-ENODEV,	NULL },
		{ "0000:00:00.0",	-ENODEV,	NULL },	/* no memory */
		{ "0000:00:00.0x",	-ENODEV,	NULL },
	};
	char before[64], name[BDF_LEN + 2];
	size_t i;

	EXPECT_STREQ("0\n", get_p2pmem());
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(before, sizeof(before), "%s", get_p2pmem());
		EXPECT_EQ(cases[i].error, set_p2pmem(cases[i].value))
			TH_LOG("'%s'", cases[i].value);
		EXPECT_STREQ(cases[i].shown ?: before, get_p2pmem())
			TH_LOG("'%s'", cases[i].value);
	}

	/* A provider, with and without a newline */
	snprintf(name, sizeof(name), "%s\n", self->bdf);
	EXPECT_EQ(0, set_p2pmem(name));
	EXPECT_STREQ(name, get_p2pmem());
	EXPECT_EQ(0, set_p2pmem("0"));
	EXPECT_EQ(0, set_p2pmem(self->bdf));
	EXPECT_STREQ(name, get_p2pmem());

	/* A refused value leaves the attribute unchanged. */
	EXPECT_EQ(-ENODEV, set_p2pmem("0000:00:00.0"));
	EXPECT_STREQ(name, get_p2pmem());
}

TEST_F(nvmet, enable_by_route)
{
	bool refused = is_refused();
	const char *value;
	int named;

	if (!*expected_route())
		SKIP(return, "P2PDMA_ROUTE isn't set");

	for (named = 0; named <= 1; named++) {
		value = named ? self->bdf : "1";
		ASSERT_EQ(0, set_p2pmem(value));
		EXPECT_EQ(refused ? -EINVAL : 0,
			  file_write(NVMET_NAMESPACE "enable", "1"))
			TH_LOG("p2pmem '%s', route '%s'", value,
			       expected_route());
		EXPECT_EQ(refused ? 0 : -EBUSY, set_p2pmem(value));
		EXPECT_EQ(0, file_write(NVMET_NAMESPACE "enable", "0"));
	}

	/* Without peer memory the namespace can be enabled. */
	ASSERT_EQ(0, set_p2pmem("0"));
	EXPECT_EQ(0, file_write(NVMET_NAMESPACE "enable", "1"));
}

TEST_F(nvmet, loop_io)
{
	char path[64];
	char *peer, *system;
	int fd, disk;

	if (!is_refused())
		ASSERT_EQ(0, set_p2pmem("1"));
	ASSERT_EQ(0, file_write(NVMET_NAMESPACE "enable", "1"));
	ASSERT_EQ(0, nvmet_port_add(1, "loop"));
	ASSERT_EQ(0, nvmet_port_link(1));

	self->controller = nvmet_connect("transport=loop");
	ASSERT_LE(0, self->controller);
	snprintf(path, sizeof(path), "/dev/nvme%dn1", self->controller);
	/* The device node appears a little before the disk can be opened. */
	ASSERT_TRUE(wait_for((fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC)) >= 0,
			     60))
		TH_LOG("%s: %m", path);
	disk = open(self->disks.path[0], O_RDONLY | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, disk);
	system = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)system);

	fill(system, LENGTH, 1);
	EXPECT_EQ((ssize_t)LENGTH, pwrite(fd, system, LENGTH, 0));
	clear(system, LENGTH);
	EXPECT_EQ((ssize_t)LENGTH, pread(disk, system, LENGTH, 0));
	EXPECT_EQ(-1, first_wrong(system, LENGTH, 1));
	clear(system, LENGTH);
	EXPECT_EQ((ssize_t)LENGTH, pread(fd, system, LENGTH, 0));
	EXPECT_EQ(-1, first_wrong(system, LENGTH, 1));

	/* The loop controller isn't a PCI device: it takes no peer memory. */
	peer = p2pmem_map(self->bdf, LENGTH);
	ASSERT_NE(MAP_FAILED, (void *)peer);
	EXPECT_EQ(-1, pwrite(fd, peer, LENGTH, 0));
	EXPECT_EQ(EREMOTEIO, errno);
	clear(system, LENGTH);
	EXPECT_EQ((ssize_t)LENGTH, pread(disk, system, LENGTH, 0));
	EXPECT_EQ(-1, first_wrong(system, LENGTH, 1));

	munmap(peer, LENGTH);
	munmap(system, LENGTH);
	close(disk);
	close(fd);
}

TEST_HARNESS_MAIN
