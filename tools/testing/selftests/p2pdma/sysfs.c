// SPDX-License-Identifier: GPL-2.0
/*
 * The files of p2pmem/: that they exist, who may open them and how, and their
 * contents. mmap.c tests mapping `allocate`.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

static const struct {
	const char *name;
	mode_t mode;
} files[] = {
	{ "size",	0444 },
	{ "available",	0444 },
	{ "published",	0444 },
	{ "user_limit",	0644 },
	{ "allocate",	0660 },
};

FIXTURE(p2pmem)
{
	const char *bdf;
};

FIXTURE_SETUP(p2pmem)
{
	self->bdf = provider();
	if (!self->bdf)
		SKIP(return, "no device with published peer memory");
}

FIXTURE_TEARDOWN(p2pmem)
{
}

/* The result is valid until the next call. */
static const char *path_of(const char *bdf, const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/p2pmem/%s", bdf,
		 name);
	return path;
}

TEST_F(p2pmem, owner_and_permissions)
{
	struct stat st;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		ASSERT_EQ(0, stat(path_of(self->bdf, files[i].name), &st))
			TH_LOG("%s: %m", files[i].name);
		EXPECT_EQ(S_IFREG | files[i].mode, st.st_mode)
			TH_LOG("%s", files[i].name);
		EXPECT_EQ((uid_t)0, st.st_uid);
		EXPECT_EQ((gid_t)0, st.st_gid);
	}
}

/* Each of the three readable files is one decimal number and a newline. */
TEST_F(p2pmem, contents)
{
	char text[64], again[64];
	size_t i;

	for (i = 0; i < 3; i++) {
		ASSERT_LT(0, file_read(path_of(self->bdf, files[i].name), text,
				       sizeof(text)));
		snprintf(again, sizeof(again), "%llu\n",
			 strtoull(text, NULL, 10));
		EXPECT_STREQ(again, text);
	}
	EXPECT_STREQ("1\n", text);	/* published */
}

TEST_F(p2pmem, size_and_available)
{
	long long size = p2pmem_number(self->bdf, "size");
	long long available = p2pmem_number(self->bdf, "available");
	long page = sysconf(_SC_PAGESIZE);
	__u64 memory = 0;
	struct bar bar[6];
	int i;

	EXPECT_LT(0, size);
	EXPECT_LE(0, available);
	EXPECT_LE(available, size);
	EXPECT_EQ(0, size % page);
	EXPECT_EQ(0, available % page);

	ASSERT_EQ(0, pci_bars(self->bdf, bar));
	for (i = 0; i < 6; i++)
		if (bar[i].flags & BAR_MEM)
			memory += bar[i].length;
	EXPECT_LE(size, (long long)memory);
}

TEST_F(p2pmem, available_follows_a_mapping)
{
	long long available = p2pmem_number(self->bdf, "available");
	long long size = p2pmem_number(self->bdf, "size");
	size_t two = 2 * sysconf(_SC_PAGESIZE);
	void *p;

	p = p2pmem_map(self->bdf, two);
	ASSERT_NE(MAP_FAILED, p) TH_LOG("mmap: %m");
	EXPECT_EQ(available - (long long)two,
		  p2pmem_number(self->bdf, "available"));
	EXPECT_EQ(size, p2pmem_number(self->bdf, "size"));
	munmap(p, two);
	EXPECT_EQ(available, p2pmem_number(self->bdf, "available"));
}

/*
 * Without a limit user_limit is the size.  A limit is in whole pages, and what
 * can't be one is refused.  Others may hold memory, so nothing is allocated.
 */
TEST_F(p2pmem, user_limit)
{
	static const struct {
		const char *text;
		int error;
	} wrong[] = {
		{ "\n", -EINVAL },		{ "x", -EINVAL },
		{ "-1", -EINVAL },		{ "1M", -EINVAL },
		{ "0x1000", -EINVAL },		{ " 4096", -EINVAL },
		{ "4096 4096", -EINVAL },	{ "max", -EINVAL },
		{ "18446744073709551616", -ERANGE },
		{ "99999999999999999999999", -ERANGE },
	};
	long long size = p2pmem_number(self->bdf, "size");
	long page = sysconf(_SC_PAGESIZE);
	const struct {
		long long write, read;
	} good[] = {
		{ size - page, size - page }, { 0, 0 }, { 1, 0 },
		{ page, page }, { 2 * page - 1, page }, { size - 1, size - page },
		{ size, size }, { page, page }, { size + 1, size },
		{ page, page }, { LLONG_MAX, size },
	};
	char path[PATH_MAX], text[32];
	size_t i;

	if (getuid())
		SKIP(return, "needs root");

	EXPECT_EQ(size, p2pmem_number(self->bdf, "user_limit"));
	snprintf(path, sizeof(path), "%s", path_of(self->bdf, "user_limit"));
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		snprintf(text, sizeof(text), "%lld\n", good[i].write);
		EXPECT_EQ(0, file_write(path, text));
		EXPECT_EQ(good[i].read, p2pmem_number(self->bdf, "user_limit"))
			TH_LOG("%lld", good[i].write);
	}

	snprintf(text, sizeof(text), "%ld", page);
	EXPECT_EQ(0, file_write(path, text));
	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		EXPECT_EQ(wrong[i].error, file_write(path, wrong[i].text))
			TH_LOG("%s", wrong[i].text);
		EXPECT_EQ(page, p2pmem_number(self->bdf, "user_limit"));
	}
	EXPECT_EQ(0, file_write(path, "18446744073709551615"));
	EXPECT_EQ(size, p2pmem_number(self->bdf, "user_limit"));
	EXPECT_EQ(size, p2pmem_number(self->bdf, "size"));
}

/* Even root can't open files without a store method for writing. */
TEST_F(p2pmem, numbers_are_read_only)
{
	size_t i;

	for (i = 0; i < 3; i++) {
		EXPECT_EQ(-EACCES, file_write(path_of(self->bdf, files[i].name), "1"))
			TH_LOG("%s", files[i].name);
	}
}

/* `allocate` can only be mapped. */
TEST_F(p2pmem, allocate_has_no_data)
{
	char byte = 0;
	int fd;

	if (getuid())
		SKIP(return, "needs root");

	fd = p2pmem_open(self->bdf, O_RDWR);
	ASSERT_LE(0, fd);
	errno = 0;
	EXPECT_EQ(-1, pread(fd, &byte, 1, 0));
	EXPECT_EQ(EIO, errno);
	errno = 0;
	EXPECT_EQ(-1, pwrite(fd, &byte, 1, 0));
	EXPECT_EQ(EIO, errno);
	close(fd);
}

/* By default only root can map peer memory. */
TEST_F(p2pmem, nobody)
{
	size_t i;
	int fd;

	if (getuid())
		SKIP(return, "needs root");

	ASSERT_EQ(0, become_nobody());

	EXPECT_EQ(-EACCES, p2pmem_open(self->bdf, O_RDWR));
	EXPECT_EQ(-EACCES, p2pmem_open(self->bdf, O_RDONLY));
	EXPECT_EQ(-EACCES, file_write(path_of(self->bdf, "user_limit"), "0"));
	for (i = 0; i < 4; i++) {
		fd = open(path_of(self->bdf, files[i].name), O_RDONLY);
		EXPECT_LE(0, fd) TH_LOG("%s: %m", files[i].name);
		close(fd);
	}
}

/* A group that may open the file needs no other permission to map it. */
TEST_F(p2pmem, group_may_map)
{
	size_t page = sysconf(_SC_PAGESIZE);
	pid_t child;
	void *p;
	int status;

	if (getuid())
		SKIP(return, "needs root");

	ASSERT_EQ(0, chown(path_of(self->bdf, "allocate"), 0, NOBODY));
	child = fork();
	if (!child) {
		if (become_nobody())
			_exit(2);
		p = p2pmem_map(self->bdf, page);
		_exit(p == MAP_FAILED);
	}
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, chown(path_of(self->bdf, "allocate"), 0, 0));
}

TEST_HARNESS_MAIN
