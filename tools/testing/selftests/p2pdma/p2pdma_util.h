/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Functions that the P2PDMA selftests share: finding providers, disks and test
 * devices, mapping peer memory, data patterns, binding and unbinding drivers,
 * the test module, and the lab's control port. They return what they found, or
 * -errno, and the tests judge.
 *
 * The lab tells by environment variables what a test may use:
 *   P2PDMA_PROVIDER        device(s) with published memory; default: look
 *   P2PDMA_SCRATCH         block devices whose content may be destroyed
 *   P2PDMA_FAR             likewise, but they don't reach the provider
 *   P2PDMA_OTHER           likewise, but they aren't NVMe
 *   P2PDMA_ROUTE           bus-address, host-bridge, iova or refused: how the
 *                          provider and every scratch disk reach each other
 *   P2PDMA_ENGINE_ROUTE    likewise, the provider and the first DMA engine
 *   P2PDMA_NEAREST         client=provider ...: of several providers, the one to
 *                          choose for a client
 *   P2PDMA_TEST_PROVIDERS  devices for the test module
 *   P2PDMA_LAB             control port of the machine the guest runs in
 *   P2PDMA_TIMES           factor for the number of repetitions
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

/* On an emulated machine with KASAN, tests of seconds may take minutes. */
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

/* @usual repetitions, times P2PDMA_TIMES. */
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

void sort_devices(struct devices *devices);	/* by their places */
void find_providers(struct devices *found);
const char *provider(void);	/* the one to test with, or NULL */
long long p2pmem_number(const char *bdf, const char *file);
bool p2pmem_exists(const char *bdf);
int p2pmem_open(const char *bdf, int flags);
void *p2pmem_map(const char *bdf, size_t length);	/* or MAP_FAILED */

/* System memory to compare with, or MAP_FAILED; and a disk past the page cache */
void *system_map(size_t length);
int open_direct(const char *path);

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
/* The start of a BAR, mapped past P2PDMA, or MAP_FAILED */
void *pci_bar_map(const char *bdf, int bar, size_t length);
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
/* Of a block device: 0, 1 or -errno */
long long queue_takes_peer_memory(const char *path);
/* Sectors that a block device was sent requests for: 0 or -errno */
int disk_traffic(const char *path, long long *read, long long *written);
const char *expected_route(void);	/* or "" */
bool is_refused(void);

/*
 * Data: words that depend on the seed and their place. Device memory is read
 * and written in whole words, which libc's functions don't guarantee.
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
 * Prepares fault injection for slab allocations, and for page allocations if
 * @pages. False if this kernel has no fault injection.
 */
bool inject_faults(bool pages);
/*
 * After that: lets each slab allocation of one function of the kernel fail, in any
 * process; NULL: of none. 0 or -errno
 */
int fail_allocations_of(const char *function);
/*
 * What @call(@data) returns with its @nth allocation failing; @failed tells
 * whether there was such an allocation. -ENODEV if faults can't be injected.
 */
int call_failing(int nth, int (*call)(void *data), void *data, bool *failed);

/*
 * A race with a provider that comes and goes: processes use its memory without
 * pause, and count what they see, so that a test can tell that it raced.
 */
#define MAX_RACERS	4

enum race_count {
	RACE_HAD,		/* allocations, or transfers that were made */
	RACE_REFUSED,		/* -ENODEV of a file that gave memory before, or
				 * -EREMOTEIO of a disk
				 */
	RACE_LOST,		/* mapped memory that was revoked */
	RACE_WRONG,		/* other errors, and wrong data */
	RACE_COUNTS
};

struct racer {
	const char *what;	/* the device or path that it uses */
	int nr;			/* its number, from 0 on */
	long count[RACE_COUNTS];
};

struct race {
	int nr;
	pid_t pid[MAX_RACERS];
	struct racer *racer;	/* in memory that the processes share */
	struct racer last[MAX_RACERS];
};

void race_start(struct race *race, int nr, void (*run)(struct racer *racer),
		const char *what);
/*
 * Touches mapped memory: false, and counted, if it was revoked. The first racer
 * delays, so that it has memory mapped when the provider goes.
 */
bool race_touch(struct racer *racer, const void *at);
/* Has each racer counted @count since this was last true? */
bool race_each(struct race *race, enum race_count count);
/*
 * Does each racer do from now on what @count counts? Waits up to that many seconds,
 * twice.
 */
bool race_all(struct race *race, enum race_count count, int seconds);
long race_total(const struct race *race, enum race_count count);
void race_stop(struct race *race);

/* The test module, and its devices. */
#define TEST_DEBUGFS	"/sys/kernel/debug/p2pdma_test/"

int module_load(void);
int module_unload(void);
/* Other modules of test_modules/, and the devices bound to a driver. */
int module_load_named(const char *name);
int module_load_with(const char *name, const char *parameters);
int module_unload_named(const char *name);
/*
 * Loads a module of the kernel's own, with those that it needs, by modprobe: 0 or
 * -ENOENT
 */
int module_probe(const char *options, const char *name);
/*
 * Loads a module of test_modules/ to run one case of a KUnit suite of its, or the
 * whole suite if @name is NULL, and unloads it: @text is why the case was skipped,
 * or what KUnit says of its failure.
 */
enum kunit_result {
	KUNIT_PASSED,
	KUNIT_FAILED,
	KUNIT_SKIPPED,
};

enum kunit_result kunit_case(const char *module, const char *parameters,
			     const char *suite, const char *name, char **text);
/* The same in a test of the harness, which passes, fails or is skipped as KUnit says */
#define run_kunit_case(module, parameters, suite, name) do {		\
	enum kunit_result __result;					\
	char *__text, *__line;						\
									\
	__result = kunit_case(module, parameters, suite, name, &__text);	\
	if (__result == KUNIT_SKIPPED) {				\
		SKIP(break, "%s", __text);				\
	} else {							\
		EXPECT_EQ(KUNIT_PASSED, __result) {			\
			for (__line = strtok(__text, "\n"); __line;	\
			     __line = strtok(NULL, "\n"))		\
				TH_LOG("%s", __line);			\
		}							\
	}								\
} while (0)
bool have_kunit(void);
void find_bound(const char *driver, struct devices *found);
void find_test_devices(struct devices *found);
/* QEMU's edu device, for which the kernel has no driver, and virtio's rng */
#define EDU_IDS	"v00001234d000011E8"
#define RNG_IDS	"v00001AF4d00001044"
/* The first device with these IDs, as in modalias: 0 or -ENODEV */
int find_device(const char *ids, char bdf[BDF_LEN]);
/*
 * Loads the module, and finds its device with the largest memory BAR: NULL, or
 * why there is none, in which case the module isn't loaded.
 */
const char *test_device(char bdf[BDF_LEN], int *bar, struct bar *big);

/* Opens the file of a command and writes to it: a file, or -errno. */
int test_open(const char *bdf, const char *command, const char *format, ...)
	__printf(3, 4);
int test_answer(int fd, char *answer, size_t size);
/* As test_open(), but closes the file at once: 0 or -errno. */
int test_call(const char *bdf, const char *command, const char *format, ...)
	__printf(3, 4);
int test_add(const char *bdf, int bar, __u64 size, __u64 offset);

/* The sample engine: a driver of the LSI 53C895A */
#define ENGINE		"p2pdma_lsi"

/* A network interface gets an address, unless that is NULL: 0 or -errno */
int netdev_up(const char *name, const char *address);

/*
 * The sample adapters p2pdma_rnic, each with a network interface, an address, and
 * one of the engines that their driver has found, in the order of their places.
 */
#define RNIC		"p2pdma_rnic"
#define RNICS		3

extern const char * const rnic_addresses[RNICS];

/* Loads the engines' driver: NULL, or what is missing */
const char *rnic_find(struct devices *engines);
int rnic_netdevs_up(void);
/* Of the first @nr engines, at most RNICS; the interfaces have to be up. */
int rnic_load(const struct devices *engines, int nr);

/*
 * The NVMe target: one subsystem, with one namespace that isn't enabled yet, and
 * ports, whose numbers begin with 1; and its host.
 */
#define NVMET		"/sys/kernel/config/nvmet/"
#define NVMET_NQN	"nqn.2026-11.org.p2pdma:selftest"
#define NVMET_SUBSYSTEM	NVMET "subsystems/" NVMET_NQN "/"
#define NVMET_NAMESPACE	NVMET_SUBSYSTEM "namespaces/1/"
#define NVMET_PORTS	4

int nvmet_add(const char *disk);
int nvmet_port_add(int port, const char *transport);
int nvmet_port_set(int port, const char *attribute, const char *value);
/* Hosts can connect from now on; the transport's attributes must be set by then. */
int nvmet_port_link(int port);
int nvmet_port_unlink(int port);
void nvmet_remove(void);
/* Options as of nvme-fabrics: the number of the new controller, or -errno */
int nvmet_connect(const char *options);
void nvmet_disconnect(int controller);

/* One request to the lab; 0 if the answer is "ok", which is removed from it. */
int lab(char *answer, size_t size, const char *format, ...)
	__printf(3, 4);
bool have_lab(void);
/* Can the lab tell which addresses disks get? */
bool route_is_traced(void);
/*
 * Bytes at addresses given to the disks since lab("dma-begin"), in BARs and elsewhere:
 * 0 or -errno
 */
int traced(long long *peer, long long *other);
#define LAB_ANSWER	512
/* The lab notes from now on what a DMA engine moves: 0, also without a lab, or -errno */
int engine_trace_begin(void);
/*
 * Did the engine move @bytes between these and nothing else? The names are of PCI
 * devices, or "other", which is system memory. True without a lab.
 */
bool engine_moved(const char *from, const char *to, size_t bytes,
		  char answer[LAB_ANSWER]);
/*
 * Has the lab limit a disk, whose requests then stay in flight for a while; 0: no
 * limit. 0 or -errno.
 */
int disk_limit(const char *path, long bytes_per_second);

/* The user and group nobody */
#define NOBODY		65534

/* Gives up root's rights for good: 0 or -errno */
int become_nobody(void);

#endif
