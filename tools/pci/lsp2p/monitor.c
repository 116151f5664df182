// SPDX-License-Identifier: GPL-2.0
/*
 * lsp2p monitor: a line for each device, disk, memory and route that comes, goes or
 * changes.
 *
 * The kernel's uevents tell that something has happened; what it was is found by
 * reading the machine again and comparing.  Changes that cause no uevent, such as
 * those of config space by setpci, show with the next one.  Needs no privileges,
 * but without root a verdict may be unknown, as in other commands.
 */
#include <err.h>
#include <errno.h>
#include <json-c/json.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lsp2p.h"
#include "stack.h"

#define KERNEL_GROUP	1	/* of NETLINK_KOBJECT_UEVENT */
#define QUIET_MS	200	/* events come in bursts: wait for the end of one */
#define LONGEST_MS	2000
#define BUFFER		(1024 * 1024)	/* of the socket */

/* A client's route to an owner, as it was found last */
struct pair {
	const struct device *owner, *client;
	enum answer read, write;
	unsigned int map_type, reason;
};

/* A machine as it was once; @pairs are in the order of its devices */
struct state {
	struct machine *machine;
	struct pair *pairs;
	size_t pair_count;
};

/* One line; @device may be NULL, and @more has what else JSON has */
static __printf(5, 6)
void say(const char *event, const char *change, const struct device *device,
	 struct json_object *more, const char *format, ...)
{
	char stamp[40], address[ADDRESS_SIZE];
	time_t now = time(NULL);
	struct json_object *line;
	struct tm tm;
	va_list args;

	localtime_r(&now, &tm);
	if (options.json) {
		line = more ? more : json_object_new_object();
		strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S%z", &tm);
		json_add_text(line, "time", stamp);
		json_add_text(line, "event", event);
		json_add_text(line, "change", change);
		if (device)
			json_add_text(line, "device", device_address(device, address));
		puts(json_object_to_json_string_ext(line,
						    JSON_C_TO_STRING_PLAIN |
						    JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(line);
		return;
	}
	strftime(stamp, sizeof(stamp), "%H:%M:%S", &tm);
	printf("%s  %-6s  ", stamp, event);
	if (device)
		printf("%s ", device_label(device));
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

static struct json_object *json_bytes(uint64_t bytes)
{
	struct json_object *more = json_object_new_object();

	json_object_object_add(more, "bytes", json_object_new_int64(bytes));
	return more;
}

static struct json_object *json_disk(const char *name)
{
	struct json_object *more = json_object_new_object();

	json_add_text(more, "disk", name);
	return more;
}

static bool same_device(const struct device *a, const struct device *b)
{
	return a->domain == b->domain && a->bus == b->bus &&
	       a->devfn == b->devfn && device_vendor(a) == device_vendor(b) &&
	       device_id(a) == device_id(b);
}

/* The device in another state of the machine, or NULL if it isn't there */
static const struct device *find_again(const struct machine *machine,
				       const struct device *device)
{
	const struct device *found = machine_find(machine, device->domain,
						  device->bus, device->devfn);

	return found && same_device(found, device) ? found : NULL;
}

static bool find_pairs(struct state *state)
{
	struct machine *machine = state->machine;
	const struct device *owner, *client;
	struct pair *pairs;
	struct route route;
	size_t i, j;

	for (i = 0; i < machine->device_count; i++) {
		owner = machine->devices[i];
		if (owner->registered != YES)
			continue;
		for (j = 0; j < machine->device_count; j++) {
			client = machine->devices[j];
			if (client == owner || !may_do_dma(client))
				continue;
			pairs = realloc(state->pairs, (state->pair_count + 1) *
					sizeof(*pairs));
			if (!pairs)
				return false;
			state->pairs = pairs;
			if (route_find(machine, owner, client, &route))
				return false;
			pairs[state->pair_count++] = (struct pair) {
				.owner = owner,
				.client = client,
				.read = route_reads(&route),
				.write = route_writes(&route),
				.map_type = route.answer.map_type,
				.reason = route.answer.reason,
			};
			route_free(&route);
		}
	}
	return true;
}

/* False, with one line on stderr, if the machine can't be read now */
static bool state_read(struct state *state)
{
	char error[512] = "";

	*state = (struct state) {
		.machine = machine_from_sysfs(error, sizeof(error)),
	};
	if (!state->machine) {
		fail("%s", error);
		return false;
	}
	if (!find_pairs(state))
		err(EXIT_UNKNOWN, NULL);
	return true;
}

static void state_free(struct state *state)
{
	machine_free(state->machine);
	free(state->pairs);
}

static const char *pair_words(const struct pair *pair)
{
	if (pair->read == YES)
		return pair->write == YES ? "may read and write" : "may read";
	if (pair->write == YES)
		return "may write";
	return pair->read == UNKNOWN || pair->write == UNKNOWN ?
		"may or may not reach" : "doesn't reach";
}

static void say_pair(const struct pair *pair)
{
	struct json_object *more = NULL;
	char address[ADDRESS_SIZE];

	if (options.json) {
		more = json_object_new_object();
		device_address(pair->owner, address);
		json_add_text(more, "owner", address);
		json_add_text(more, "read", answer_word(pair->read));
		json_add_text(more, "write", answer_word(pair->write));
		json_add_text(more, "reason", reason_slug(pair->reason));
	}
	say("route", "found", pair->client, more, "%s memory of %s: %s",
	    pair_words(pair), device_label(pair->owner),
	    reason_slug(pair->reason));
}

static const struct pair *find_pair(const struct state *state,
				    const struct pair *like)
{
	size_t i;

	for (i = 0; i < state->pair_count; i++)
		if (same_device(state->pairs[i].owner, like->owner) &&
		    same_device(state->pairs[i].client, like->client))
			return &state->pairs[i];
	return NULL;
}

static void compare_driver(const struct device *old, const struct device *new)
{
	const char *was = old->driver ? old->driver : "";
	const char *is = new->driver ? new->driver : "";

	if (!strcmp(was, is))
		return;
	if (*was)
		say("driver", "unbound", old, NULL, "lost its driver %s", was);
	if (*is)
		say("driver", "bound", new, NULL, "has the driver %s", is);
}

/* @old is NULL if the device wasn't there, @new if it is gone */
static void compare_memory(const struct device *old, const struct device *new)
{
	bool was = old && old->registered == YES;
	bool is = new && new->registered == YES;
	bool was_published = was && old->published == YES;
	bool is_published = is && new->published == YES;
	char size[16];

	if (is && (!was || old->p2pmem_size != new->p2pmem_size)) {
		size_text(new->p2pmem_size, size);
		say("memory", was ? "size" : "registered", new,
		    json_bytes(new->p2pmem_size), was ?
		    "has %s of memory for peers now" :
		    "has registered %s of memory for peers", size);
	}
	if (is_published && !was_published)
		say("memory", "published", new, NULL,
		    "has published its memory");
	if (is && was_published && !is_published)
		say("memory", "withdrawn", new, NULL,
		    "doesn't publish its memory any more");
	if (was && !is)
		say("memory", "removed", old, NULL,
		    "has no memory for peers any more");
}

static void compare(const struct state *old, const struct state *new)
{
	const struct device *device, *again;
	const struct pair *pair, *before;
	size_t i;

	for (i = 0; i < old->machine->device_count; i++) {
		device = old->machine->devices[i];
		if (find_again(new->machine, device))
			continue;
		compare_memory(device, NULL);
		say("device", "removed", device, NULL, "is gone");
	}
	for (i = 0; i < new->machine->device_count; i++) {
		device = new->machine->devices[i];
		again = find_again(old->machine, device);
		if (again)
			compare_driver(again, device);
		else
			say("device", "added", device, NULL, "came: %s",
			    device_title(device));
		compare_memory(again, device);
	}
	for (i = 0; i < new->pair_count; i++) {
		pair = &new->pairs[i];
		before = find_pair(old, pair);
		if (!before || before->read != pair->read ||
		    before->write != pair->write ||
		    before->map_type != pair->map_type ||
		    before->reason != pair->reason)
			say_pair(pair);
	}
	fflush(stdout);
}

/* A value of an event, which is a list of KEY=VALUE, or NULL */
static const char *event_value(const char *event, size_t length,
			       const char *key)
{
	size_t size = strlen(key);
	const char *end = event + length;

	for (; event < end; event += strlen(event) + 1)
		if (!strncmp(event, key, size) && event[size] == '=')
			return event + size + 1;
	return NULL;
}

/* Disks aren't in struct machine */
static void say_disk(const char *event, size_t length)
{
	const char *action = event_value(event, length, "ACTION");
	const char *type = event_value(event, length, "DEVTYPE");
	const char *name = event_value(event, length, "DEVNAME");

	if (!action || !type || !name || strcmp(type, "disk"))
		return;
	if (!strcmp(action, "add"))
		say("disk", "added", NULL, json_disk(name), "%s came", name);
	else if (!strcmp(action, "remove"))
		say("disk", "removed", NULL, json_disk(name), "%s is gone",
		    name);
}

/* Reads what has come; true if the machine may have changed */
static bool take_events(int from)
{
	static const char * const subsystems[] = {
		"pci", "block", "nvme", "drm", "net", "infiniband", "iommu",
	};
	char event[8192];
	struct sockaddr_nl sender;
	struct iovec space = { event, sizeof(event) - 1 };
	struct msghdr message = {
		.msg_name = &sender,
		.msg_namelen = sizeof(sender),
		.msg_iov = &space,
		.msg_iovlen = 1,
	};
	const char *subsystem;
	bool changed = false;
	ssize_t length;
	size_t i;

	while ((length = recvmsg(from, &message, MSG_DONTWAIT)) >= 0 ||
	       errno == ENOBUFS) {
		if (length < 0) {
			changed = true;	/* some were lost */
			continue;
		}
		event[length] = '\0';
		if (sender.nl_pid)
			continue;	/* not the kernel's */
		subsystem = event_value(event, length, "SUBSYSTEM");
		for (i = 0; subsystem && i < ARRAY_SIZE(subsystems); i++)
			changed |= !strcmp(subsystem, subsystems[i]);
		if (subsystem && !strcmp(subsystem, "block"))
			say_disk(event, length);
	}
	return changed;
}

static int open_events(void)
{
	struct sockaddr_nl address = {
		.nl_family = AF_NETLINK,
		.nl_groups = KERNEL_GROUP,
	};
	int size = BUFFER, from;

	from = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC,
		      NETLINK_KOBJECT_UEVENT);
	if (from < 0)
		return -1;
	setsockopt(from, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (bind(from, (struct sockaddr *)&address, sizeof(address))) {
		close(from);
		return -1;
	}
	return from;
}

/*
 * Waits for events, then for the end of the burst; false if a signal has come.  The
 * first of @files has the events, the other one signals.
 */
static bool wait_for_change(struct pollfd *files)
{
	bool changed = false;
	int waits = 0, ready;

	for (;;) {
		ready = poll(files, 2, changed ? QUIET_MS : -1);
		if (ready < 0)
			continue;	/* stopped and continued */
		if (!ready)
			return true;
		if (files[1].revents)
			return false;
		if (files[0].revents)
			changed |= take_events(files[0].fd);
		if (changed && ++waits > LONGEST_MS / QUIET_MS)
			return true;
		fflush(stdout);
	}
}

static void say_start(const struct machine *machine)
{
	struct json_object *more = NULL;
	size_t i, owners = 0;

	for (i = 0; i < machine->device_count; i++)
		owners += machine->devices[i]->registered == YES;
	if (options.json) {
		more = json_object_new_object();
		json_object_object_add(more, "devices",
				       json_object_new_int64(machine->device_count));
		json_object_object_add(more, "owners",
				       json_object_new_int64(owners));
	}
	say("start", "watching", NULL, more,
	    "watching %zu PCI devices, %zu with memory for peers",
	    machine->device_count, owners);
	fflush(stdout);
}

int cmd_monitor(struct machine *machine, int argc, char **argv)
{
	struct pollfd files[2] = {
		{ .events = POLLIN }, { .events = POLLIN },
	};
	struct state old, new;
	sigset_t stops;

	sigemptyset(&stops);
	sigaddset(&stops, SIGINT);
	sigaddset(&stops, SIGTERM);
	sigprocmask(SIG_BLOCK, &stops, NULL);
	files[0].fd = open_events();
	files[1].fd = signalfd(-1, &stops, SFD_CLOEXEC);
	if (files[0].fd < 0 || files[1].fd < 0)
		return fail("monitor: the kernel's events: %s",
			    strerror(errno));
	/* @machine was read before events count */
	if (!state_read(&old))
		return EXIT_UNKNOWN;
	say_start(old.machine);
	while (!ferror(stdout) && wait_for_change(files)) {
		if (!state_read(&new))
			continue;
		compare(&old, &new);
		state_free(&old);
		old = new;
	}
	state_free(&old);
	close(files[1].fd);
	close(files[0].fd);
	return EXIT_YES;	/* of errors on stdout main() tells */
}
