// SPDX-License-Identifier: GPL-2.0
/*
 * Do all sources of facts about this machine give the same routes, for all pairs
 * of its PCI functions?  Prints TAP.
 *
 *   agree kernel|sysfs LSPCI    the kernel (or its config space, as root), the
 *                               machine's own dump, and LSPCI, a file with what
 *                               "lspci -vvv -xxxx" has printed
 *   agree stock FILE            the stock core's distances, by FILE, "between" of the
 *                               module p2pdma_test, and what route_stock() says
 *   agree unprivileged FILE     what another user sees, and FILE, root's dump:
 *                               nothing that is said to be known is wrong
 *
 * "kernel" needs /dev/p2pdma.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../machine.h"
#include "../route.h"

static unsigned int tests, failed, pairs;
static char why[4096];

static void complain(const char *format, ...)
{
	size_t used = strlen(why);
	va_list args;

	if (used > sizeof(why) - 300)
		return;
	va_start(args, format);
	vsnprintf(why + used, sizeof(why) - used, format, args);
	va_end(args);
}

static void result(const char *name)
{
	tests++;
	if (!*why && !pairs)
		complain("# no pair of devices was compared\n");
	if (*why)
		failed++;
	printf("%sok %u %s # %u pairs\n%s", *why ? "not " : "", tests, name,
	       pairs, why);
	*why = 0;
	pairs = 0;
}

static int end(void)
{
	printf("1..%u\n", tests);
	return failed ? 1 : 0;
}

static struct machine *need(struct machine *machine, const char *error)
{
	if (machine)
		return machine;
	printf("Bail out! %s\n", error);
	exit(2);
}

static struct machine *read_file(const char *path)
{
	char error[300] = "";

	return need(machine_from_file(path, error, sizeof(error)), error);
}

static struct machine *read_sysfs(void)
{
	char error[300] = "";

	return need(machine_from_sysfs(error, sizeof(error)), error);
}

static void find(struct machine *machine, const struct device *owner,
		 const struct device *client, struct route *route)
{
	const struct device *a, *b;

	a = machine_find(machine, owner->domain, owner->bus, owner->devfn);
	b = machine_find(machine, client->domain, client->bus, client->devfn);
	if (!a || !b) {
		printf("Bail out! %s lacks a device\n", machine->source);
		exit(2);
	}
	if (route_find(machine, a, b, route)) {
		puts("Bail out! no memory");
		exit(2);
	}
}

static const char *name(const struct device *device)
{
	static char names[2][24];
	static int which;

	which = !which;
	snprintf(names[which], sizeof(names[0]), "%04x:%02x:%02x.%x",
		 device->domain, device->bus, device->devfn >> 3,
		 device->devfn & 7);
	return names[which];
}

/* Of a file without the fact, an answer may be less sure, but not another one. */
static enum answer weaker(enum answer found, enum answer wanted, bool may_differ)
{
	return found == wanted || (may_differ && found == UNKNOWN);
}

static void compare_ports(const struct route *a, const struct route *b)
{
	unsigned int i;

	if (a->port_count != b->port_count) {
		complain("#   %u ports, and %u\n", a->port_count, b->port_count);
		return;
	}
	for (i = 0; i < a->port_count; i++) {
		if (memcmp(&a->ports[i], &b->ports[i], sizeof(a->ports[i])))
			complain("#   port %02x:%02x.%x of leg %u: flags %x ACS %04x/%04x payload %x/%x link %x/%x, and %x %04x/%04x %x/%x %x/%x\n",
				 a->ports[i].at.bus, a->ports[i].at.devfn >> 3,
				 a->ports[i].at.devfn & 7, a->ports[i].leg,
				 a->ports[i].flags, a->ports[i].acs_cap,
				 a->ports[i].acs_ctrl, a->ports[i].payload,
				 a->ports[i].payload_max, a->ports[i].link_cap,
				 a->ports[i].link_status, b->ports[i].flags,
				 b->ports[i].acs_cap, b->ports[i].acs_ctrl,
				 b->ports[i].payload, b->ports[i].payload_max,
				 b->ports[i].link_cap, b->ports[i].link_status);
	}
}

/*
 * @exact: all must be the same.  Otherwise the source doesn't tell whether an IOMMU
 * translates, whom the administrator vouches for, which memory is registered, the
 * DMA mask, and that the kernel forces bounce buffers: what rests on these may be
 * unknown, or missing among the reasons.
 */
static void compare(const struct route *a, const struct route *b, bool exact)
{
	const uint64_t untold = 1ULL << P2PDMA_REASON_DMA_MASK |
				1ULL << P2PDMA_REASON_BAR_MOVED |
				1ULL << P2PDMA_REASON_BOUNCED |
				1ULL << P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED;
	const struct p2pdma_query_route *x = &a->answer, *y = &b->answer;
	const char *owner = name(a->owner), *client = name(a->client);
	size_t before = strlen(why);
	bool may_differ = !exact &&
			  (b->missing_count || x->reasons & untold ||
			   x->reason == P2PDMA_REASON_ADMIN_ALLOWED);

	pairs++;
	if ((exact || !(x->reasons & 1ULL << P2PDMA_REASON_BOUNCED)) &&
	    (!weaker(b->read, a->read, may_differ) ||
	     !weaker(b->write, a->write, may_differ)))
		complain("#   read %d write %d, and %d %d\n", a->read, a->write,
			 b->read, b->write);
	if (!may_differ &&
	    (x->map_type != y->map_type || x->directions != y->directions ||
	     x->reason != y->reason || x->reasons != y->reasons ||
	     x->fix != y->fix))
		complain("#   way %u directions %u reason %s of %#llx fix %u, and %u %u %s %#llx %u\n",
			 x->map_type, x->directions, reason_slug(x->reason),
			 (unsigned long long)x->reasons, x->fix, y->map_type,
			 y->directions, reason_slug(y->reason),
			 (unsigned long long)y->reasons, y->fix);
	if (x->legs[0].hops != y->legs[0].hops ||
	    x->legs[1].hops != y->legs[1].hops)
		complain("#   hops %u %u, and %u %u\n", x->legs[0].hops,
			 x->legs[1].hops, y->legs[0].hops, y->legs[1].hops);
	compare_ports(a, b);
	if (strlen(why) != before)
		complain("# ^ memory of %s, client %s: %s against %s\n", owner,
			 client, a->asked ? "the kernel" : a->machine->source,
			 b->machine->source);
}

static void compare_all(const char *test, struct machine *machine,
			struct machine *other, bool exact)
{
	struct route a, b;
	size_t i, j;

	for (i = 0; i < machine->device_count; i++) {
		for (j = 0; j < machine->device_count; j++) {
			find(machine, machine->devices[i], machine->devices[j],
			     &a);
			find(other, machine->devices[i], machine->devices[j],
			     &b);
			compare(&a, &b, exact);
			route_free(&a);
			route_free(&b);
		}
	}
	result(test);
}

static int agree(bool kernel, const char *lspci)
{
	struct machine *first = read_sysfs(), *sysfs = read_sysfs();
	struct machine *dump, *text;
	char path[] = "/tmp/lsp2p-dump-XXXXXX";
	int file = mkstemp(path);

	if (file < 0 || machine_dump(sysfs, path))
		need(NULL, "can't write a dump to /tmp");
	close(file);
	dump = read_file(path);
	unlink(path);
	text = read_file(lspci);

	sysfs->live = false;		/* isn't asked */
	if (kernel) {
		if (access("/dev/p2pdma", R_OK))
			need(NULL, "no /dev/p2pdma");
		compare_all("kernel_and_sysfs", first, sysfs, true);
	}
	compare_all("sysfs_and_dump", sysfs, dump, true);
	compare_all("sysfs_and_lspci", sysfs, text, false);
	machine_free(first);
	machine_free(sysfs);
	machine_free(dump);
	machine_free(text);
	return end();
}

/* ---- Another user ---- */

static void compare_unprivileged(const struct route *root, const struct route *user)
{
	pairs++;
	if (weaker(user->read, root->read, true) &&
	    weaker(user->write, root->write, true))
		return;
	complain("# memory of %s, client %s: read %d write %d for root, %d %d for a user\n",
		 name(root->owner), name(root->client), root->read, root->write,
		 user->read, user->write);
}

static int unprivileged(const char *path)
{
	struct machine *root = read_file(path), *user = read_sysfs();
	unsigned int known = 0;
	struct route a, b;
	size_t i, j;

	user->live = false;
	for (i = 0; i < user->device_count; i++) {
		for (j = 0; j < user->device_count; j++) {
			find(root, user->devices[i], user->devices[j], &a);
			find(user, user->devices[i], user->devices[j], &b);
			compare_unprivileged(&a, &b);
			known += b.read != UNKNOWN;
			if (i != j && b.read == UNKNOWN && !b.missing_count)
				complain("# memory of %s, client %s: unknown, and nothing is missing\n",
					 name(b.owner), name(b.client));
			route_free(&a);
			route_free(&b);
		}
	}
	printf("# %u of them known\n", known);
	result("nothing_wrong");
	return end();
}

/* ---- The stock core ---- */

/* Write to the file of the test module, and read the answer */
static int ask_module(const char *path, const struct device *owner,
		      const struct device *client, int *distance)
{
	char answer[64];
	int file = open(path, O_RDWR), ret = -1;
	ssize_t size;

	if (file < 0)
		return -1;
	if (dprintf(file, "%s %s", name(owner), name(client)) > 0) {
		size = pread(file, answer, sizeof(answer) - 1, 0);
		if (size > 0) {
			answer[size] = 0;
			*distance = atoi(answer);
			ret = 0;
		}
	}
	close(file);
	return ret;
}

static int stock(const char *path)
{
	struct machine *machine = read_sysfs();
	struct stock_route said;
	struct route ours;
	int distance;
	size_t i, j;

	for (i = 0; i < machine->device_count; i++) {
		for (j = 0; j < machine->device_count; j++) {
			const struct device *owner = machine->devices[i];
			const struct device *client = machine->devices[j];

			if (ask_module(path, owner, client, &distance)) {
				complain("# %s: the module doesn't answer: %s\n",
					 name(owner), strerror(errno));
				continue;
			}
			pairs++;
			find(machine, owner, client, &ours);
			route_stock(machine, owner, client, &ours, &said);
			if (said.known != YES || said.distance != distance)
				complain("# memory of %s, client %s: distance %d, said %d%s\n",
					 name(owner), name(client), distance,
					 said.distance,
					 said.known == YES ? "" : " (unknown)");
			route_free(&ours);
		}
	}
	result("stock_predicted");
	machine_free(machine);
	return end();
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "kernel"))
		return agree(true, argv[2]);
	if (argc == 3 && !strcmp(argv[1], "sysfs"))
		return agree(false, argv[2]);
	if (argc == 3 && !strcmp(argv[1], "stock"))
		return stock(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "unprivileged"))
		return unprivileged(argv[2]);
	fputs("usage: agree kernel|sysfs LSPCI, agree stock FILE, agree unprivileged FILE\n",
	      stderr);
	return 2;
}
