/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the P2PDMA selftests share: finding providers, disks and test devices,
 * mapping peer memory, data patterns, drivers bound and unbound, the test
 * module, and the lab's control port. It judges nothing: functions return what
 * they found, or -errno, and the tests decide.
 *
 * The lab tells by environment variables what a test may use:
 *   P2PDMA_PROVIDER        device(s) with published memory; default: look
 *   P2PDMA_SCRATCH         block devices whose content may be destroyed
 *   P2PDMA_ROUTE           bus-address, host-bridge, iova or refused: how the
 *                          provider and every scratch disk reach each other
 *   P2PDMA_NEAREST         client=provider ...: of several providers, the one to
 *                          choose for a client
 *   P2PDMA_TEST_PROVIDERS  devices for the test module
 *   P2PDMA_LAB             control port of the machine the guest runs in
 *   P2PDMA_TIMES           how many times as often to do what is repeated
 */
#ifndef P2PDMA_UTIL_H
#define P2PDMA_UTIL_H

#include <limits.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest.h"

#define BDF_LEN		16
#define MAX_DEVS	16
#define MiB		(1024UL * 1024)

/* An emulated machine with KASAN may need minutes for what takes seconds. */
#ifdef TEST_TIMEOUT_DEFAULT
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 300
#endif

/* Waits until a condition holds; false if it doesn't within that many seconds. */
#define wait_for(condition, seconds) ({					\
	time_t __end = time(NULL) + (seconds);				\
	bool __holds;							\
									\
	while (!(__holds = (condition)) && time(NULL) <= __end)		\
		usleep(10000);						\
	__holds;							\
})

/* How often to do something that is usually done @usual times. */
int times(int usual);

/* Files: 0 or a count, or -errno. */
int file_write(const char *path, const char *text);
int file_read(const char *path, char *text, size_t size);
long long file_number(const char *path);

/* Providers. */
struct devices {
	int nr;
	char name[MAX_DEVS][BDF_LEN];
};

void find_providers(struct devices *found);
const char *provider(void);	/* the one to test with, or NULL */
long long p2pmem_number(const char *bdf, const char *file);
bool p2pmem_exists(const char *bdf);
int p2pmem_open(const char *bdf, int flags);
void *p2pmem_map(const char *bdf, size_t length);	/* or MAP_FAILED */

/* A dma-buf of a heap of /dev/dma_heap, or -errno. */
int heap_allocate(int heap, __u64 size, int flags);

/* PCI devices and their drivers. */
#define BAR_IO		0x100
#define BAR_MEM		0x200

struct bar {
	__u64 start;
	__u64 length;
	__u64 flags;
};

int pci_bars(const char *bdf, struct bar bar[6]);
int pci_driver(const char *bdf, char name[NAME_MAX]);
int pci_unbind(const char *bdf);
int pci_bind(const char *bdf, const char *driver);

/* Config space: a file, or -errno */
int pci_config_open(const char *bdf);
/* Changes some bits of 16: 0 or -errno */
int pci_config_change(int config, off_t at, __u16 mask, __u16 value);

/* Disks that may be overwritten. */
struct disks {
	int nr;
	char path[MAX_DEVS][NAME_MAX];
};

void scratch_disks(struct disks *found);
int disk_serial(const char *path, char *serial, size_t size);
int disk_bdf(const char *path, char bdf[BDF_LEN]);
int disk_with_serial(const char *serial, char path[NAME_MAX]);
const char *expected_route(void);	/* or "" */
bool is_refused(void);

/*
 * Data: words that depend on the seed and their place. Memory of a device is
 * read and written in whole words, whatever libc would choose.
 */
void fill(void *to, size_t length, __u64 seed);
void clear(void *to, size_t length);
ssize_t first_wrong(const void *at, size_t length, __u64 seed);
ssize_t first_nonzero(const void *at, size_t length);
bool can_touch(const void *at);	/* false: SIGBUS */

/*
 * Write-protects and unprotects peer memory, then writes to it: 0 or -errno,
 * -ETIMEDOUT if the write never ends.
 */
int write_after_protection(void *at, size_t length);

/*
 * Lets allocations fail by their number: those of slabs, and those of whole
 * pages if @pages. False if this kernel injects no faults.
 */
bool inject_faults(bool pages);
/*
 * What @call(@data) returns with its @nth allocation failing; @failed tells
 * whether it came to that one. -ENODEV if faults can't be injected.
 */
int call_failing(int nth, int (*call)(void *data), void *data, bool *failed);

/*
 * A race with a provider that comes and goes: processes use its memory without
 * pause, and count what they see, so that a test can tell that it raced.
 */
#define MAX_RACERS	4

enum race_count {
	RACE_HAD,		/* memory that they got */
	RACE_REFUSED,		/* -ENODEV of a file that had given memory */
	RACE_LOST,		/* mapped memory with which the provider went */
	RACE_COUNTS
};

struct racer {
	const char *what;	/* to use: a device, or a path */
	int nr;			/* which of them this is, from 0 on */
	long count[RACE_COUNTS];
};

struct race {
	int nr;
	pid_t pid[MAX_RACERS];
	struct racer *racer;	/* memory that all of them share */
	struct racer last[MAX_RACERS];
};

void race_start(struct race *race, int nr, void (*run)(struct racer *racer),
		const char *what);
/*
 * Uses mapped memory: false, and counted, if it is lost by then. The first racer
 * takes its time, so that it has something when the provider goes.
 */
bool race_touch(struct racer *racer, const void *at);
/* Has each of them counted that since the last time this was true? */
bool race_each(struct race *race, enum race_count count);
long race_total(const struct race *race, enum race_count count);
void race_stop(struct race *race);

/* The test module, and its devices. */
#define TEST_DEBUGFS	"/sys/kernel/debug/p2pdma_test/"

int module_load(void);
int module_unload(void);
/* Any other of test_modules/, and what its driver is bound to. */
int module_load_named(const char *name);
int module_load_with(const char *name, const char *parameters);
int module_unload_named(const char *name);
void find_bound(const char *driver, struct devices *found);
void find_test_devices(struct devices *found);
/* QEMU's edu device, which no driver of the kernel wants: 0 or -ENODEV */
int find_edu(char bdf[BDF_LEN]);
/*
 * Loads the module, and finds its device with the largest memory BAR: NULL, or
 * why there is none, and the module isn't loaded either.
 */
const char *test_device(char bdf[BDF_LEN], int *bar, struct bar *big);

/* Opens the file of a command and writes to it: a file, or -errno. */
int test_open(const char *bdf, const char *command, const char *format, ...)
	__printf(3, 4);
int test_answer(int fd, char *answer, size_t size);
/* The same, closed at once: 0 or -errno. */
int test_call(const char *bdf, const char *command, const char *format, ...)
	__printf(3, 4);
int test_add(const char *bdf, int bar, __u64 size, __u64 offset);

/* One request to the lab; 0 if the answer was "ok", which is cut off. */
int lab(char *answer, size_t size, const char *format, ...)
	__printf(3, 4);
bool have_lab(void);

#endif
