// SPDX-License-Identifier: GPL-2.0
/*
 * Functions that the P2PDMA selftests share; see p2pdma_util.h. They print
 * nothing and end no test.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <linux/dma-heap.h>
#include <net/if.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "p2pdma_util.h"

#define PCI_DEVICES	"/sys/bus/pci/devices"
#define KUNIT_FILTER	"/sys/module/kunit/parameters/filter_glob"
#define LAB_SECONDS	120

int times(int usual)
{
	const char *given = getenv("P2PDMA_TIMES");
	int factor = given ? atoi(given) : 1;

	return factor > 0 ? usual * factor : usual;
}

int file_write(const char *path, const char *text)
{
	ssize_t n;
	int fd, error;

	fd = open(path, O_WRONLY);
	if (fd < 0)
		return -errno;

	n = write(fd, text, strlen(text));
	error = n < 0 ? -errno : 0;
	close(fd);
	return error;
}

int file_read(const char *path, char *text, size_t size)
{
	ssize_t n;
	int fd, error;

	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -errno;

	n = read(fd, text, size - 1);
	error = n < 0 ? -errno : (int)n;
	text[n < 0 ? 0 : n] = '\0';
	close(fd);
	return error;
}

/* The first line of a file, without its newline. */
static int file_line(const char *path, char *text, size_t size)
{
	int n = file_read(path, text, size);

	if (n >= 0)
		text[strcspn(text, "\n")] = '\0';
	return n < 0 ? n : 0;
}

long long file_number(const char *path)
{
	char text[64];
	int n = file_line(path, text, sizeof(text));

	return n < 0 ? n : strtoll(text, NULL, 0);
}

static void add_device(struct devices *to, const char *name)
{
	if (to->nr < MAX_DEVS && strlen(name) < BDF_LEN)
		snprintf(to->name[to->nr++], BDF_LEN, "%s", name);
}

static void add_words(struct devices *to, const char *words)
{
	char *copy = strdup(words), *save, *word;

	for (word = strtok_r(copy, " ", &save); word;
	     word = strtok_r(NULL, " ", &save))
		add_device(to, word);
	free(copy);
}

void find_providers(struct devices *found)
{
	const char *given = getenv("P2PDMA_PROVIDER");
	struct dirent *entry;
	DIR *dir;

	found->nr = 0;
	if (given && *given) {
		add_words(found, given);
		return;
	}

	dir = opendir(PCI_DEVICES);
	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (p2pmem_number(entry->d_name, "published") == 1)
			add_device(found, entry->d_name);
	closedir(dir);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

void sort_devices(struct devices *devices)
{
	qsort(devices->name, devices->nr, BDF_LEN, by_name);
}

const char *provider(void)
{
	static struct devices found;

	find_providers(&found);
	return found.nr && p2pmem_exists(found.name[0]) ? found.name[0] : NULL;
}

long long p2pmem_number(const char *bdf, const char *file)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/p2pmem/%s", bdf, file);
	return file_number(path);
}

bool p2pmem_exists(const char *bdf)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/p2pmem", bdf);
	return access(path, F_OK) == 0;
}

int p2pmem_open(const char *bdf, int flags)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/p2pmem/allocate", bdf);
	fd = open(path, flags);
	return fd < 0 ? -errno : fd;
}

void *p2pmem_map(const char *bdf, size_t length)
{
	int fd = p2pmem_open(bdf, O_RDWR);
	int saved;
	void *p;

	if (fd < 0) {
		errno = -fd;
		return MAP_FAILED;
	}
	p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	saved = errno;
	close(fd);
	errno = saved;
	return p;
}

void *system_map(size_t length)
{
	return mmap(NULL, length, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
}

int open_direct(const char *path)
{
	return open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
}

int heap_allocate(int heap, __u64 size, int flags)
{
	struct dma_heap_allocation_data data = {
		.len = size,
		.fd_flags = flags | O_CLOEXEC,
	};

	return ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) ? -errno : (int)data.fd;
}

int pci_bars(const char *bdf, struct bar bar[6])
{
	unsigned long long start, end, flags;
	char path[PATH_MAX];
	FILE *f;
	int i;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/resource", bdf);
	f = fopen(path, "r");
	if (!f)
		return -errno;

	for (i = 0; i < 6; i++) {
		if (fscanf(f, "%llx %llx %llx", &start, &end, &flags) != 3)
			break;
		bar[i].start = start;
		bar[i].length = end ? end - start + 1 : 0;
		bar[i].flags = flags;
	}
	fclose(f);
	return i == 6 ? 0 : -EIO;
}

void *pci_bar_map(const char *bdf, int bar, size_t length)
{
	char path[PATH_MAX];
	void *p;
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/resource%d", bdf, bar);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return MAP_FAILED;
	p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p;
}

int pci_driver(const char *bdf, char name[NAME_MAX])
{
	char path[PATH_MAX], target[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver", bdf);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;

	target[n] = '\0';
	snprintf(name, NAME_MAX, "%s", strrchr(target, '/') + 1);
	return 0;
}

int pci_unbind(const char *bdf)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver/unbind", bdf);
	return file_write(path, bdf);
}

int pci_bind(const char *bdf, const char *driver)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s/bind", driver);
	return file_write(path, bdf);
}

int pci_config_open(const char *bdf)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/config", bdf);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int pci_config_change(int config, off_t at, __u16 mask, __u16 value)
{
	__u16 old;

	if (pread(config, &old, sizeof(old), at) != sizeof(old))
		return -EIO;
	value |= old & ~mask;
	return pwrite(config, &value, sizeof(value), at) == sizeof(value) ?
		0 : -EIO;
}

void scratch_disks(struct disks *found)
{
	const char *given = getenv("P2PDMA_SCRATCH");
	char *copy, *save, *word;

	found->nr = 0;
	if (!given)
		return;

	copy = strdup(given);
	for (word = strtok_r(copy, " ", &save); word && found->nr < MAX_DEVS;
	     word = strtok_r(NULL, " ", &save))
		snprintf(found->path[found->nr++], NAME_MAX, "%s", word);
	free(copy);
}

int disk_serial(const char *path, char *serial, size_t size)
{
	char file[PATH_MAX];

	snprintf(file, sizeof(file), "/sys/block/%s/device/serial",
		 strrchr(path, '/') + 1);
	if (file_line(file, serial, size))
		return -ENODEV;

	/* The serial number is padded with spaces. */
	serial[strcspn(serial, " ")] = '\0';
	return 0;
}

/*
 * Calls found() with the path of every entry of a directory until it returns
 * true; tells whether it did.
 */
static bool any_entry(const char *dir, bool (*found)(const char *, void *),
		      void *data)
{
	char path[PATH_MAX];
	struct dirent *entry;
	bool done = false;
	DIR *d;

	d = opendir(dir);
	if (!d)
		return false;
	while (!done && (entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		done = found(path, data);
	}
	closedir(d);
	return done;
}

struct serial_match {
	const char *serial;
	char disk[NAME_MAX];
};

static bool disk_has_serial(const char *path, void *data)
{
	struct serial_match *match = data;
	char file[PATH_MAX + 16], serial[64];

	/* A path of a disk that has several is hidden. */
	snprintf(file, sizeof(file), "%s/hidden", path);
	if (strncmp(strrchr(path, '/') + 1, "nvme", 4) || file_number(file) ||
	    disk_serial(path, serial, sizeof(serial)) ||
	    strcmp(serial, match->serial))
		return false;

	snprintf(match->disk, sizeof(match->disk), "/dev/%s",
		 strrchr(path, '/') + 1);
	return true;
}

int disk_bdf(const char *path, char bdf[BDF_LEN])
{
	char file[PATH_MAX], transport[16];

	/* Other controllers have another address; a disk with several paths has none. */
	snprintf(file, sizeof(file), "/sys/block/%s/device/transport",
		 strrchr(path, '/') + 1);
	if (file_line(file, transport, sizeof(transport)) ||
	    strcmp(transport, "pcie"))
		return -ENODEV;
	snprintf(file, sizeof(file), "/sys/block/%s/device/address",
		 strrchr(path, '/') + 1);
	return file_line(file, bdf, BDF_LEN) ? -ENODEV : 0;
}

int disk_with_serial(const char *serial, char path[NAME_MAX])
{
	struct serial_match match = { .serial = serial };
	int fd;

	if (!any_entry("/sys/block", disk_has_serial, &match))
		return -ENODEV;

	/* The device node appears a little before the disk can be opened. */
	fd = open(match.disk, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(fd);

	snprintf(path, NAME_MAX, "%s", match.disk);
	return 0;
}

long long queue_takes_peer_memory(const char *path)
{
	char file[PATH_MAX];

	snprintf(file, sizeof(file), "/sys/block/%s/queue/pci_p2pdma",
		 strrchr(path, '/') + 1);
	return file_number(file);
}

int disk_traffic(const char *path, long long *read, long long *written)
{
	char file[PATH_MAX], text[256];
	int n;

	snprintf(file, sizeof(file), "/sys/block/%s/stat", strrchr(path, '/') + 1);
	n = file_read(file, text, sizeof(text));
	if (n < 0)
		return n;
	return sscanf(text, "%*d %*d %lld %*d %*d %*d %lld", read, written) == 2 ?
		0 : -EIO;
}

const char *expected_route(void)
{
	return getenv("P2PDMA_ROUTE") ?: "";
}

bool is_refused(void)
{
	return !strcmp(expected_route(), "refused");
}

static __u64 word_at(__u64 seed, size_t i)
{
	__u64 x = seed * 0x9e3779b97f4a7c15ULL + i;

	x = (x ^ (x >> 31)) * 0xbf58476d1ce4e5b9ULL;
	return x ^ (x >> 29);
}

/* One access of 8 bytes each, as a driver does it. */
static __u64 read_word(const __u64 *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

void fill(void *to, size_t length, __u64 seed)
{
	__u64 *word = to;
	size_t i;

	for (i = 0; i < length / sizeof(*word); i++)
		__atomic_store_n(&word[i], word_at(seed, i), __ATOMIC_RELAXED);
}

void clear(void *to, size_t length)
{
	__u64 *word = to;
	size_t i;

	for (i = 0; i < length / sizeof(*word); i++)
		__atomic_store_n(&word[i], 0, __ATOMIC_RELAXED);
}

ssize_t first_wrong(const void *at, size_t length, __u64 seed)
{
	const __u64 *word = at;
	size_t i;

	for (i = 0; i < length / sizeof(*word); i++)
		if (read_word(&word[i]) != word_at(seed, i))
			return i * sizeof(*word);
	return -1;
}

ssize_t first_nonzero(const void *at, size_t length)
{
	const __u64 *word = at;
	size_t i;

	for (i = 0; i < length / sizeof(*word); i++)
		if (read_word(&word[i]))
			return i * sizeof(*word);
	return -1;
}

static __thread sigjmp_buf touch_env;
static __thread bool touched;

static void touch_handler(int signal)
{
	siglongjmp(touch_env, signal);
}

bool can_touch(const void *at)
{
	struct sigaction action = { .sa_handler = touch_handler }, saved;

	sigaction(SIGBUS, &action, &saved);
	touched = false;
	if (!sigsetjmp(touch_env, 1)) {
		__atomic_load_n((const char *)at, __ATOMIC_RELAXED);
		touched = true;
	}
	sigaction(SIGBUS, &saved, NULL);
	return touched;
}

int write_after_protection(void *at, size_t length)
{
	pid_t child;
	int status;

	/* In a child, which can be killed if the write never ends. */
	child = fork();
	if (!child) {
		if (mprotect(at, length, PROT_READ) ||
		    mprotect(at, length, PROT_READ | PROT_WRITE))
			_exit(errno);
		fill(at, length, 91);
		_exit(first_wrong(at, length, 91) == -1 ? 0 : EIO);
	}
	if (!wait_for(waitpid(child, &status, WNOHANG) == child, 30)) {
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		return -ETIMEDOUT;
	}
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EFAULT;
}

void race_start(struct race *race, int nr, void (*run)(struct racer *racer),
		const char *what)
{
	int i;

	memset(race, 0, sizeof(*race));
	race->nr = nr;
	race->racer = mmap(NULL, MAX_RACERS * sizeof(*race->racer),
			   PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			   -1, 0);
	for (i = 0; i < nr; i++) {
		race->racer[i].what = what;
		race->racer[i].nr = i;
		race->pid[i] = fork();
		if (race->pid[i])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			run(&race->racer[i]);
	}
}

static long race_count(const struct racer *racer, enum race_count count)
{
	return __atomic_load_n(&racer->count[count], __ATOMIC_RELAXED);
}

bool race_touch(struct racer *racer, const void *at)
{
	int i, most = racer->nr ? 1 : 100;

	for (i = 0; i < most; i++) {
		if (!can_touch(at)) {
			racer->count[RACE_LOST]++;
			return false;
		}
		if (!racer->nr)
			usleep(1000);
	}
	return true;
}

bool race_each(struct race *race, enum race_count count)
{
	int i;

	for (i = 0; i < race->nr; i++)
		if (race_count(&race->racer[i], count) <=
		    race_count(&race->last[i], count))
			return false;
	memcpy(race->last, race->racer, sizeof(race->last));
	return true;
}

bool race_all(struct race *race, enum race_count count, int seconds)
{
	memcpy(race->last, race->racer, sizeof(race->last));
	/* What is counted first may have been done before. */
	return wait_for(race_each(race, count), seconds) &&
	       wait_for(race_each(race, count), seconds);
}

long race_total(const struct race *race, enum race_count count)
{
	long total = 0;
	int i;

	for (i = 0; i < race->nr; i++)
		total += race_count(&race->racer[i], count);
	return total;
}

void race_stop(struct race *race)
{
	int i;

	for (i = 0; i < race->nr; i++) {
		kill(race->pid[i], SIGKILL);
		waitpid(race->pid[i], NULL, 0);
	}
	munmap(race->racer, MAX_RACERS * sizeof(*race->racer));
}

#define DEBUG		"/sys/kernel/debug/"

/* The address of a symbol of the kernel, or the next one after @after; 0: none */
static unsigned long kernel_symbol(const char *name, unsigned long after)
{
	FILE *all = fopen("/proc/kallsyms", "r");
	unsigned long at, found = 0;
	char line[512], symbol[256];

	/* Those of modules aren't in order. */
	while (all && fgets(line, sizeof(line), all)) {
		if (sscanf(line, "%lx %*c %255s", &at, symbol) != 2)
			continue;
		if (name ? !strcmp(symbol, name) :
			   at > after && (!found || at < found))
			found = at;
	}
	if (all)
		fclose(all);
	return found;
}

/* Where a function of the kernel begins and ends */
static int kernel_function(const char *name, unsigned long *start,
			   unsigned long *end)
{
	*start = kernel_symbol(name, 0);
	*end = *start ? kernel_symbol(NULL, *start) : 0;
	return *end ? 0 : -ENOENT;
}

/* CONFIG_DMA_API_DEBUG turns itself off for good when an allocation of its own fails. */
static int spare_dma_debug(const char *faults)
{
	unsigned long start, end;
	char path[PATH_MAX], text[32];

	if (kernel_function("add_dma_entry", &start, &end))
		return 0;
	snprintf(path, sizeof(path), DEBUG "%s/reject-end", faults);
	snprintf(text, sizeof(text), "%#lx", end);
	if (file_write(path, text))
		return -EOPNOTSUPP;
	snprintf(path, sizeof(path), DEBUG "%s/reject-start", faults);
	snprintf(text, sizeof(text), "%#lx", start);
	return file_write(path, text);
}

bool inject_faults(bool pages)
{
	/* These files exist only if page allocations can fail. */
	int no_pages = file_write(DEBUG "fail_page_alloc/min-order",
				  pages ? "0" : "100") ?:
		       file_write(DEBUG "fail_page_alloc/ignore-gfp-wait", "N") ?:
		       file_write(DEBUG "fail_page_alloc/verbose", "0") ?:
		       spare_dma_debug("fail_page_alloc");

	return !(pages && no_pages) &&
	       !file_write(DEBUG "failslab/ignore-gfp-wait", "N") &&
	       !file_write(DEBUG "failslab/verbose", "0") &&
	       !spare_dma_debug("failslab") &&
	       !access("/proc/thread-self/fail-nth", F_OK);
}

int fail_allocations_of(const char *function)
{
	unsigned long start, end;
	char first[32], last[32];
	int error;

	if (!function)
		return file_write(DEBUG "failslab/probability", "0") ?:
		       file_write(DEBUG "failslab/require-start", "0") ?:
		       file_write(DEBUG "failslab/require-end", "0xffffffffffffffff");
	error = kernel_function(function, &start, &end);
	if (error)
		return error;
	snprintf(first, sizeof(first), "%#lx", start);
	snprintf(last, sizeof(last), "%#lx", end);
	return file_write(DEBUG "failslab/require-start", first) ?:
	       file_write(DEBUG "failslab/require-end", last) ?:
	       file_write(DEBUG "failslab/stacktrace-depth", "32") ?:
	       file_write(DEBUG "failslab/times", "-1") ?:
	       file_write(DEBUG "failslab/probability", "100");
}

int call_failing(int nth, int (*call)(void *data), void *data, bool *failed)
{
	int fd = open("/proc/thread-self/fail-nth", O_RDWR), ret;
	char count[16], left[16];

	if (fd < 0)
		return -ENODEV;
	snprintf(count, sizeof(count), "%d", nth);
	if (pwrite(fd, count, strlen(count), 0) < 0) {
		close(fd);
		return -ENODEV;
	}
	ret = call(data);

	/* 0 is left once one has failed; this read may be what failed. */
	left[0] = '0';
	*failed = pread(fd, left, sizeof(left), 0) > 0 && left[0] == '0';
	while (pwrite(fd, "0", 1, 0) < 0)
		;
	close(fd);
	return ret;
}

/* A module that lies beside the test program. */
int module_load_with(const char *name, const char *parameters)
{
	char self[PATH_MAX], path[PATH_MAX + 64];
	ssize_t n;
	int fd, error;

	if (access("/sys/kernel/debug/sleep_time", F_OK) &&
	    access("/sys/kernel/debug/bdi", F_OK))
		mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);

	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return -errno;
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	snprintf(path, sizeof(path), "%s/test_modules/%s.ko", self, name);

	/* Unload a module that a killed test has left. */
	module_unload_named(name);

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	error = syscall(SYS_finit_module, fd, parameters, 0) ? -errno : 0;
	close(fd);
	return error;
}

int module_load_named(const char *name)
{
	return module_load_with(name, "");
}

int module_unload_named(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

int module_probe(const char *options, const char *name)
{
	const char *dir = getenv("P2PDMA_MODULES");
	char command[PATH_MAX + 64];

	snprintf(command, sizeof(command), "modprobe %s%s %s %s >/dev/null 2>&1",
		 dir ? "-d " : "", dir ?: "", options, name);
	return system(command) ? -ENOENT : 0;
}

bool have_kunit(void)
{
	return !access(KUNIT_FILTER, F_OK);
}

/* KUnit runs the cases that match its filter when a module is loaded. */
static int load_with_filter(const char *module, const char *parameters,
			    const char *filter)
{
	char before[256];
	int error;

	error = file_read(KUNIT_FILTER, before, sizeof(before));
	if (error < 0)
		return error;
	before[strcspn(before, "\n")] = '\0';
	error = file_write(KUNIT_FILTER, filter) ?:
		module_load_with(module, parameters);
	/* An unset filter can't be restored; "*" matches all cases. */
	file_write(KUNIT_FILTER, strcmp(before, "(null)") ? before : "*");
	return error;
}

enum kunit_result kunit_case(const char *module, const char *parameters,
			     const char *suite, const char *name, char **text)
{
	const char *skip = " # SKIP ";
	char path[PATH_MAX], ok[128], *line;
	static char results[65536];
	int error, unload;

	*text = results;
	snprintf(ok, sizeof(ok), name ? "%s.%s" : "%s", suite, name);
	error = load_with_filter(module, parameters, ok);
	if (error == -ENOENT) {
		snprintf(results, sizeof(results), "no test_modules/%s.ko",
			 module);
		return KUNIT_SKIPPED;
	}
	if (error) {
		snprintf(results, sizeof(results), "loading %s: %s", module,
			 strerror(-error));
		return KUNIT_FAILED;
	}
	snprintf(path, sizeof(path), "/sys/kernel/debug/kunit/%s/results",
		 suite);
	error = file_read(path, results, sizeof(results));
	unload = module_unload_named(module);
	if (unload) {
		snprintf(results, sizeof(results), "unloading %s: %s", module,
			 strerror(-unload));
		return KUNIT_FAILED;
	}
	if (error == -ENOENT) {
		snprintf(results, sizeof(results),
			 "no results: they take kunit.enable=1 and CONFIG_KUNIT_DEBUGFS");
		return KUNIT_SKIPPED;
	}
	if (error <= 0) {
		snprintf(results, sizeof(results), "%s: %s", path,
			 strerror(-error));
		return KUNIT_FAILED;
	}

	snprintf(ok, sizeof(ok), name ? "\n    ok 1 %s" : "\nok 1 %s",
		 name ?: suite);
	line = strstr(results, ok);
	if (!line)
		return KUNIT_FAILED;
	line += strlen(ok);
	if (!strncmp(line, skip, strlen(skip))) {
		*text = line + strlen(skip);
		(*text)[strcspn(*text, "\n")] = '\0';
		return KUNIT_SKIPPED;
	}
	return *line == '\n' ? KUNIT_PASSED : KUNIT_FAILED;
}

int module_load(void)
{
	return module_load_named("p2pdma_test");
}

int module_unload(void)
{
	return module_unload_named("p2pdma_test");
}

static bool is_bound(const char *path, void *data)
{
	const char *bdf = strrchr(path, '/') + 1;

	if (strchr(bdf, ':'))
		add_device(data, bdf);
	return false;
}

void find_bound(const char *driver, struct devices *found)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s", driver);
	found->nr = 0;
	any_entry(path, is_bound, found);
}

int find_device(const char *ids, char bdf[BDF_LEN])
{
	char id[64];
	glob_t found;
	size_t i;

	if (glob(PCI_DEVICES "/*/modalias", 0, NULL, &found))
		return -ENODEV;
	bdf[0] = '\0';
	for (i = 0; i < found.gl_pathc && !bdf[0]; i++)
		if (file_read(found.gl_pathv[i], id, sizeof(id)) > 0 &&
		    strstr(id, ids))
			sscanf(found.gl_pathv[i], PCI_DEVICES "/%15[^/]", bdf);
	globfree(&found);
	return bdf[0] ? 0 : -ENODEV;
}

void find_test_devices(struct devices *found)
{
	const char *given = getenv("P2PDMA_TEST_PROVIDERS");

	found->nr = 0;
	if (given && *given)
		add_words(found, given);
	else
		find_bound("p2pdma_test", found);
}

/* The tests need a BAR of 8 MiB, for parts of it and parts of those. */
const char *test_device(char bdf[BDF_LEN], int *bar, struct bar *big)
{
	struct bar bars[6];
	struct devices all;
	char driver[NAME_MAX];
	int i, j;

	if (getuid())
		return "needs root";
	if (module_load())
		return "test_modules/p2pdma_test.ko doesn't load";

	big->length = 0;
	find_test_devices(&all);
	for (i = 0; i < all.nr; i++) {
		if (pci_driver(all.name[i], driver) ||
		    strcmp(driver, "p2pdma_test") ||
		    pci_bars(all.name[i], bars))
			continue;
		for (j = 0; j < 6; j++) {
			if (!(bars[j].flags & BAR_MEM) ||
			    bars[j].length <= big->length)
				continue;
			snprintf(bdf, BDF_LEN, "%s", all.name[i]);
			*bar = j;
			*big = bars[j];
		}
	}
	if (big->length >= 8 * MiB)
		return NULL;
	module_unload();
	return "no test device with 8 MiB of memory";
}

static int test_vopen(const char *bdf, const char *command,
		      const char *format, va_list args)
{
	char path[PATH_MAX], text[256];
	int fd, error;

	snprintf(path, sizeof(path), TEST_DEBUGFS "%s/%s", bdf, command);
	vsnprintf(text, sizeof(text), format, args);

	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

int test_open(const char *bdf, const char *command, const char *format, ...)
{
	va_list args;
	int fd;

	va_start(args, format);
	fd = test_vopen(bdf, command, format, args);
	va_end(args);
	return fd;
}

int test_answer(int fd, char *answer, size_t size)
{
	ssize_t n = pread(fd, answer, size - 1, 0);

	if (n < 0)
		return -errno;
	answer[n] = '\0';
	answer[strcspn(answer, "\n")] = '\0';
	return 0;
}

int test_call(const char *bdf, const char *command, const char *format, ...)
{
	va_list args;
	int fd;

	va_start(args, format);
	fd = test_vopen(bdf, command, format, args);
	va_end(args);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int test_add(const char *bdf, int bar, __u64 size, __u64 offset)
{
	return test_call(bdf, "add", "%d %#llx %#llx", bar,
			 (unsigned long long)size, (unsigned long long)offset);
}

const char * const rnic_addresses[RNICS] = { "10.0.0.1", "10.0.0.2", "10.0.0.3" };

const char *rnic_find(struct devices *engines)
{
	if (module_probe("-n -q", RNIC) || module_probe("-n -q", ENGINE))
		return "no module " RNIC " (CONFIG_SAMPLE_P2PDMA_RNIC)";
	module_unload_named(RNIC);
	module_unload_named(ENGINE);
	if (module_probe("", ENGINE))
		return "module " ENGINE " doesn't load";
	find_bound(ENGINE, engines);
	if (!engines->nr)
		return "no LSI 53C895A";
	sort_devices(engines);
	return NULL;
}

int rnic_netdevs_up(void)
{
	char name[32];
	int i, error;

	/* There may be fewer, from another test. */
	module_unload_named("dummy");
	snprintf(name, sizeof(name), "dummy numdummies=%d", RNICS);
	error = module_probe("", name) ?: netdev_up("lo", NULL);
	for (i = 0; i < RNICS && !error; i++) {
		snprintf(name, sizeof(name), "dummy%d", i);
		error = netdev_up(name, rnic_addresses[i]);
	}
	return error;
}

int rnic_load(const struct devices *engines, int nr)
{
	char text[256] = RNIC " netdev=", *end = text + sizeof(text);
	char *at = text + strlen(text);
	int i;

	if (nr > RNICS)
		nr = RNICS;
	for (i = 0; i < nr && at < end; i++)
		at += snprintf(at, end - at, "%sdummy%d", i ? "," : "", i);
	for (i = 0; i < nr && at < end; i++)
		at += snprintf(at, end - at, "%s%s", i ? "," : " engine=",
			       engines->name[i]);
	return module_probe("", text);
}

int nvmet_add(const char *disk)
{
	if (mkdir(NVMET_SUBSYSTEM, 0755) || mkdir(NVMET_NAMESPACE, 0755))
		return -errno;
	return file_write(NVMET_SUBSYSTEM "attr_allow_any_host", "1") ?:
	       file_write(NVMET_NAMESPACE "device_path", disk);
}

static const char *nvmet_port(int port, const char *file)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), NVMET "ports/%d/%s", port, file);
	return path;
}

int nvmet_port_add(int port, const char *transport)
{
	if (mkdir(nvmet_port(port, ""), 0755))
		return -errno;
	return nvmet_port_set(port, "addr_trtype", transport);
}

int nvmet_port_set(int port, const char *attribute, const char *value)
{
	return file_write(nvmet_port(port, attribute), value);
}

int nvmet_port_link(int port)
{
	return symlink(NVMET_SUBSYSTEM,
		       nvmet_port(port, "subsystems/" NVMET_NQN)) ? -errno : 0;
}

int nvmet_port_unlink(int port)
{
	return unlink(nvmet_port(port, "subsystems/" NVMET_NQN)) ? -errno : 0;
}

void nvmet_remove(void)
{
	int port;

	for (port = 1; port <= NVMET_PORTS; port++) {
		nvmet_port_unlink(port);
		rmdir(nvmet_port(port, ""));
	}
	file_write(NVMET_NAMESPACE "enable", "0");
	rmdir(NVMET_NAMESPACE);
	rmdir(NVMET_SUBSYSTEM);
}

int nvmet_connect(const char *options)
{
	char text[256];
	int fd, instance, n;

	fd = open("/dev/nvme-fabrics", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(text, sizeof(text), "nqn=" NVMET_NQN ",%s", options);
	n = write(fd, text, strlen(text));
	if (n > 0)
		n = read(fd, text, sizeof(text) - 1);
	n = n < 0 ? -errno : n;
	close(fd);
	if (n < 0)
		return n;

	text[n] = '\0';
	return sscanf(text, "instance=%d", &instance) == 1 ? instance : -EPROTO;
}

void nvmet_disconnect(int controller)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/class/nvme/nvme%d/delete_controller",
		 controller);
	file_write(path, "1");
}

bool have_lab(void)
{
	const char *port = getenv("P2PDMA_LAB");

	return port && *port;
}

int netdev_up(const char *name, const char *address)
{
	struct ifreq request = {};
	struct sockaddr_in *in = (void *)&request.ifr_addr;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int error = 0;

	snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	in->sin_family = AF_INET;
	if (address && (inet_pton(AF_INET, address, &in->sin_addr) != 1 ||
			ioctl(fd, SIOCSIFADDR, &request)))
		error = -errno;
	if (!error && ioctl(fd, SIOCGIFFLAGS, &request))
		error = -errno;
	request.ifr_flags |= IFF_UP;
	if (!error && ioctl(fd, SIOCSIFFLAGS, &request))
		error = -errno;
	close(fd);
	return error;
}

int lab(char *answer, size_t size, const char *format, ...)
{
	time_t end = time(NULL) + LAB_SECONDS;
	struct pollfd pollfd;
	char request[256];
	size_t have = 0;
	va_list args;
	ssize_t n;
	int fd;

	if (!have_lab())
		return -ENODEV;

	va_start(args, format);
	vsnprintf(request, sizeof(request) - 1, format, args);
	va_end(args);
	strcat(request, "\n");

	fd = open(getenv("P2PDMA_LAB"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;

	n = write(fd, request, strlen(request));
	while (n > 0 && time(NULL) < end && have < size - 1) {
		pollfd = (struct pollfd){ .fd = fd, .events = POLLIN };
		poll(&pollfd, 1, 1000);
		n = read(fd, answer + have, size - 1 - have);
		if (n > 0)
			have += n;
		else
			n = 1;		/* nothing yet */
		if (have && answer[have - 1] == '\n')
			break;
		if (!(pollfd.revents & POLLIN))
			usleep(1000);
	}
	close(fd);

	answer[have] = '\0';
	answer[strcspn(answer, "\n")] = '\0';
	if (strncmp(answer, "ok", 2))
		return have ? -EPROTO : -ETIMEDOUT;
	memmove(answer, answer + 2, strlen(answer + 2) + 1);
	return 0;
}

bool route_is_traced(void)
{
	return have_lab() && (!strcmp(expected_route(), "bus-address") ||
			      !strcmp(expected_route(), "host-bridge"));
}

int traced(long long *peer, long long *other)
{
	char answer[128];
	int error = lab(answer, sizeof(answer), "dma-end");

	if (error)
		return error;
	return sscanf(answer, " peer=%lld other=%lld", peer, other) == 2 ?
		0 : -EPROTO;
}

int engine_trace_begin(void)
{
	char answer[LAB_ANSWER];

	return have_lab() ? lab(answer, sizeof(answer), "dma-begin") : 0;
}

bool engine_moved(const char *from, const char *to, size_t bytes,
		  char answer[LAB_ANSWER])
{
	char want[128];

	answer[0] = '\0';
	if (!have_lab())
		return true;
	if (lab(answer, LAB_ANSWER, "dma-end"))
		return false;
	if (!bytes)
		return !strstr(answer, "read:") && !strstr(answer, "written:");
	snprintf(want, sizeof(want), " read:%s=%zu written:%s=%zu", from, bytes,
		 to, bytes);
	return strstr(answer, want) && !strcmp(strstr(answer, want), want);
}

int disk_limit(const char *path, long bytes_per_second)
{
	char answer[128], serial[64];

	return disk_serial(path, serial, sizeof(serial)) ?:
	       lab(answer, sizeof(answer), "slow %s %ld", serial,
		   bytes_per_second);
}

int become_nobody(void)
{
	return setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY) ?
	       -errno : 0;
}
