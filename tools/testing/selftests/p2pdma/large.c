// SPDX-License-Identifier: GPL-2.0
/*
 * A provider of several GiB: sizes and addresses of more than 32 bits. The
 * memory is a test device's BAR, of which the host may back only the touched
 * pages. Measures no time.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define GiB		(1024 * MiB)
#define LEAST		(4 * GiB)	/* size of the BAR */
#define KiB		1024UL
#define PIECE		(256 * KiB)

FIXTURE(large)
{
	char bdf[BDF_LEN];
	struct bar bar;
};

FIXTURE_SETUP(large)
{
	const char *why;
	int bar;

	why = test_device(self->bdf, &bar, &self->bar);
	if (why)
		SKIP(return, "%s", why);
	if (self->bar.length < LEAST) {
		module_unload();
		SKIP(return, "no test device with a BAR of 4 GiB or more");
	}
	ASSERT_EQ(0, test_add(self->bdf, bar, 0, 0));
	ASSERT_EQ(0, test_call(self->bdf, "publish", "1"));
}

FIXTURE_TEARDOWN(large)
{
	EXPECT_EQ(0, module_unload());
	EXPECT_FALSE(p2pmem_exists(self->bdf));
}

TEST_F(large, size)
{
	EXPECT_EQ((long long)self->bar.length,
		  p2pmem_number(self->bdf, "size"));
	EXPECT_EQ((long long)self->bar.length,
		  p2pmem_number(self->bdf, "available"));
}

/* One piece of more than 4 GiB, then the rest of the BAR as another one. */
TEST_F(large, kernel_memory)
{
	unsigned long long first = LEAST + 2 * MiB, rest, bus[2];
	char answer[64];
	int fd[2];

	rest = self->bar.length - first;
	fd[0] = test_open(self->bdf, "alloc", "%llu", first);
	ASSERT_LE(0, fd[0]);
	fd[1] = test_open(self->bdf, "alloc", "%llu", rest);
	ASSERT_LE(0, fd[1]);
	EXPECT_EQ(0, p2pmem_number(self->bdf, "available"));

	ASSERT_EQ(0, test_answer(fd[0], answer, sizeof(answer)));
	bus[0] = strtoull(answer, NULL, 0);
	ASSERT_EQ(0, test_answer(fd[1], answer, sizeof(answer)));
	bus[1] = strtoull(answer, NULL, 0);
	EXPECT_EQ(self->bar.start, bus[0]);
	EXPECT_EQ(self->bar.start + first, bus[1]);

	EXPECT_EQ(-ENOMEM, test_call(self->bdf, "alloc", "4096"));
	close(fd[0]);
	EXPECT_EQ((long long)first, p2pmem_number(self->bdf, "available"));
	close(fd[1]);
	EXPECT_EQ((long long)self->bar.length,
		  p2pmem_number(self->bdf, "available"));
}

/* 1 GiB of user memory, beyond the first 4 GiB of the BAR. */
TEST_F(large, user_memory)
{
	struct disks disks;
	char *map, *system;
	int below, fd;
	size_t at;

	below = test_open(self->bdf, "alloc", "%lu", LEAST);
	ASSERT_LE(0, below);
	map = p2pmem_map(self->bdf, GiB);
	ASSERT_NE(MAP_FAILED, (void *)map);
	EXPECT_EQ((long long)(self->bar.length - LEAST - GiB),
		  p2pmem_number(self->bdf, "available"));

	for (at = 0; at < GiB; at += 64 * MiB)
		EXPECT_EQ(-1, first_nonzero(map + at, PIECE));
	for (at = 0; at < GiB; at += 64 * MiB)
		fill(map + at, PIECE, at);
	fill(map + GiB - PIECE, PIECE, GiB);
	for (at = 0; at < GiB; at += 64 * MiB)
		EXPECT_EQ(-1, first_wrong(map + at, PIECE, at));
	EXPECT_EQ(-1, first_wrong(map + GiB - PIECE, PIECE, GiB));

	/* A disk reaches the end of it, at a 64-bit bus address. */
	scratch_disks(&disks);
	if (disks.nr && !strcmp(expected_route(), "bus-address")) {
		fd = open(disks.path[0], O_RDWR | O_DIRECT | O_CLOEXEC);
		ASSERT_LE(0, fd);
		system = mmap(NULL, PIECE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, (void *)system);

		EXPECT_EQ((ssize_t)PIECE,
			  pwrite(fd, map + GiB - PIECE, PIECE, 0));
		EXPECT_EQ((ssize_t)PIECE, pread(fd, system, PIECE, 0));
		EXPECT_EQ(-1, first_wrong(system, PIECE, GiB));

		clear(map + GiB - PIECE, PIECE);
		EXPECT_EQ((ssize_t)PIECE,
			  pread(fd, map + GiB - PIECE, PIECE, 0));
		EXPECT_EQ(-1, first_wrong(map + GiB - PIECE, PIECE, GiB));
		munmap(system, PIECE);
		close(fd);
	}

	EXPECT_EQ(0, munmap(map, GiB));
	close(below);
	EXPECT_EQ((long long)self->bar.length,
		  p2pmem_number(self->bdf, "available"));
}

/* Unbinding doesn't wait until a running mmap() has all its pages. */
TEST_F(large, unbound_while_mapping)
{
	long long length = self->bar.length;
	int status;
	pid_t child;

	child = fork();
	if (!child) {
		void *p = p2pmem_map(self->bdf, length);

		_exit(p == MAP_FAILED ? errno : 0);
	}
	ASSERT_TRUE(wait_for(p2pmem_number(self->bdf, "available") < length,
			     60));
	ASSERT_EQ(0, pci_unbind(self->bdf));
	EXPECT_FALSE(p2pmem_exists(self->bdf));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(ENODEV, WEXITSTATUS(status));
	ASSERT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
}

TEST_HARNESS_MAIN
