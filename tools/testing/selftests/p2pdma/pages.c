// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of a BAR that a module allocates itself, by p2pdma_add_pages(): what happens
 * to programs that have mapped them, and to the driver that the device is bound to,
 * when that driver is unbound (see test_modules/p2pdma_pages_test.c).  I/O to such
 * pages, and loading and unloading, is in gpu_module.c.
 *
 * The bound driver is p2pdma_test.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define MODULE		"p2pdma_pages_test"
#define PARAMETERS	"/sys/module/" MODULE "/parameters/"
#define LENGTH		(256 * 1024UL)
#define WARNING		10	/* seconds between messages of the core */

FIXTURE(pages)
{
	char bdf[BDF_LEN];
	int bar;
	struct bar big;
};

FIXTURE_VARIANT(pages)
{
	int wc;
};

FIXTURE_VARIANT_ADD(pages, uncached) { .wc = 0 };
FIXTURE_VARIANT_ADD(pages, write_combined) { .wc = 1 };

static int load(FIXTURE_DATA(pages) * self, int wc)
{
	char parameters[64];

	snprintf(parameters, sizeof(parameters), "device=%s bar=%d wc=%d",
		 self->bdf, self->bar, wc);
	return module_load_with(MODULE, parameters);
}

FIXTURE_SETUP(pages)
{
	const char *why;

	why = test_device(self->bdf, &self->bar, &self->big);
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, load(self, variant->wc));
}

FIXTURE_TEARDOWN(pages)
{
	module_unload_named(MODULE);
	EXPECT_EQ(0, module_unload());
}

static void *map_pages(void)
{
	int fd = open("/dev/" MODULE, O_RDWR | O_CLOEXEC);
	void *p;

	if (fd < 0)
		return MAP_FAILED;
	p = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p;
}

/* The driver doesn't wait for programs, and they lose what they have mapped. */
TEST_F(pages, unbound_while_mapped)
{
	time_t start;
	int child, status;
	void *p;

	p = map_pages();
	ASSERT_NE(MAP_FAILED, p);
	fill(p, LENGTH, 1);
	EXPECT_EQ(-1, first_wrong(p, LENGTH, 1));

	/* A second program has the same mapping. */
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		fill(p, LENGTH, 2);
		pause();
		_exit(1);
	}
	ASSERT_TRUE(wait_for(first_wrong(p, LENGTH, 2) == -1, 10));

	start = time(NULL);
	EXPECT_EQ(0, pci_unbind(self->bdf));
	EXPECT_GE(WARNING / 2, time(NULL) - start);
	EXPECT_EQ(1, file_number(PARAMETERS "reclaimed"));
	EXPECT_EQ((long long)(LENGTH / sysconf(_SC_PAGESIZE)),
		  file_number(PARAMETERS "freed"));
	EXPECT_FALSE(can_touch(p));
	EXPECT_EQ(0, kill(child, SIGKILL));
	EXPECT_EQ(child, waitpid(child, &status, 0));

	/* There is memory again once both are there again. */
	EXPECT_EQ(MAP_FAILED, map_pages());
	EXPECT_EQ(ENODEV, errno);
	ASSERT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
	EXPECT_FALSE(can_touch(p));
	munmap(p, LENGTH);
	ASSERT_EQ(0, module_unload_named(MODULE));
	ASSERT_EQ(0, load(self, variant->wc));
	p = map_pages();
	ASSERT_NE(MAP_FAILED, p);
	fill(p, LENGTH, 3);
	EXPECT_EQ(-1, first_wrong(p, LENGTH, 3));
	munmap(p, LENGTH);
}

/* Is there a new line with @text in the kernel log? */
static bool said(int kmsg, const char *text)
{
	char line[1024];
	bool found = false;
	ssize_t length;

	while ((length = read(kmsg, line, sizeof(line) - 1)) > 0 ||
	       (length < 0 && errno == EPIPE)) {
		if (length < 0)
			continue;
		line[length] = '\0';
		if (strstr(line, text))
			found = true;
	}
	return found;
}

/* The driver waits for a page that is in use, and the log says for which. */
TEST_F(pages, unbound_while_in_use)
{
	int kmsg, child, status;

	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, kmsg);
	ASSERT_LE(0, lseek(kmsg, 0, SEEK_END));
	ASSERT_EQ(0, file_write(PARAMETERS "hold", "1"));

	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(pci_unbind(self->bdf) ? 1 : 0);

	EXPECT_TRUE(wait_for(said(kmsg, "still waiting for pages of BAR"),
			     2 * WARNING));
	EXPECT_EQ(0, waitpid(child, &status, WNOHANG));
	EXPECT_EQ(0, file_write(PARAMETERS "hold", "0"));
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(1, file_number(PARAMETERS "freed"));
	EXPECT_EQ(0, pci_bind(self->bdf, "p2pdma_test"));
	close(kmsg);
}

TEST_HARNESS_MAIN
