// SPDX-License-Identifier: GPL-2.0
/*
 * Whether a client reaches an owner's memory.
 *
 * On the running machine the kernel is asked, if its core answers.  Otherwise
 * its code is run on what is known (kernel.c).  A fact that isn't in config space
 * and isn't known is tried either way: only if that makes a difference the answer
 * is unknown, and the fact is missing.  Registers that aren't known are known to
 * the kernel's code as such.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "judge.h"
#include "machine.h"
#include "route.h"

#define BIT(n)			(1UL << (n))

/* No fabric is deeper: bus numbers have 8 bits. */
#define MAX_PORTS		(3 * 256)

static struct p2pdma_pci_address address_of(const struct device *device)
{
	return (struct p2pdma_pci_address) {
		.domain = device->domain,
		.bus = device->bus,
		.devfn = device->devfn,
	};
}

static void begin(struct p2pdma_query_route *answer, const struct device *owner,
		  const struct device *client, struct p2pdma_query_port *ports)
{
	*answer = (struct p2pdma_query_route) {
		.size = sizeof(*answer),
		.owner = address_of(owner),
		.client = address_of(client),
		.port_size = sizeof(*ports),
		.ports = (uintptr_t)ports,
		.port_count = MAX_PORTS,
	};
}

/* ---- The kernel's own answer ---- */

static int device_file(void)
{
	static int file = -2;	/* not opened yet */

	if (file == -2)
		file = open("/dev/p2pdma", O_RDONLY | O_CLOEXEC);
	return file;
}

/* False if the kernel doesn't answer, or not about these devices */
static bool ask_kernel(struct route *route, struct p2pdma_query_port *ports)
{
	int file = device_file();

	if (!route->machine->live || file < 0)
		return false;
	begin(&route->answer, route->owner, route->client, ports);
	return !ioctl(file, P2PDMA_QUERY_ROUTE, &route->answer);
}

/* ---- Its code on what is known ---- */

static enum answer has_ats_on(const struct device *client)
{
	uint16_t control;

	if (!client->ats_cap)
		return client->caps_known == YES &&
		       (!client->pcie_cap || client->extended_known == YES) ?
		       NO : UNKNOWN;
	if (!config_get16(client, client->ats_cap + PCI_ATS_CTRL, &control))
		return UNKNOWN;
	return control & PCI_ATS_CTRL_ENABLE ? YES : NO;
}

static enum answer is_translated(const struct device *client)
{
	switch (client->iommu) {
	case IOMMU_NONE:
	case IOMMU_IDENTITY:
		return NO;
	case IOMMU_DMA:
	case IOMMU_DMA_FQ:
		return YES;
	default:
		return UNKNOWN;
	}
}

static bool same_verdict(const struct p2pdma_query_route *a,
			 const struct p2pdma_query_route *b)
{
	return a->map_type == b->map_type && a->directions == b->directions &&
	       a->reason == b->reason && a->reasons == b->reasons;
}

static bool is_unknown(const struct p2pdma_query_route *answer)
{
	return answer->reason == P2PDMA_REASON_UNKNOWN ||
	       answer->reason == P2PDMA_REASON_UNREADABLE;
}

static enum answer direction(const struct p2pdma_query_route *answer,
			     unsigned long which)
{
	if (answer->directions & which)
		return YES;
	return is_unknown(answer) ? UNKNOWN : NO;
}

/* Why a register of @device may be unknown */
static enum missing what_is_missing(const struct device *device)
{
	if (device->caps_known != YES)
		return MISSING_CAPS;
	return device->extended_known != YES ? MISSING_EXTENDED :
					       MISSING_REGISTER;
}

static int add_missing(struct route *route, const struct route_missing *missing)
{
	struct route_missing *more;
	unsigned int i;

	for (i = 0; i < route->missing_count; i++) {
		if (route->missing[i].what == missing->what &&
		    route->missing[i].device == missing->device)
			return 0;
	}
	more = realloc(route->missing,
		       (route->missing_count + 1) * sizeof(*more));
	if (!more)
		return -1;
	route->missing = more;
	more[route->missing_count++] = *missing;
	return 0;
}

static void ask_code(const struct route *route,
		     const struct assumptions *assumptions,
		     struct p2pdma_query_route *answer,
		     struct p2pdma_query_port *ports)
{
	begin(answer, route->owner, route->client, ports);
	fabric_ask(route->machine->fabric, route->owner, route->client,
		   assumptions, answer, ports);
}

/* Facts that are tried either way if they aren't known */
enum { TRANSLATED, FORWARDS, ATS, FACTS };

/*
 * Ask with all that the unknown facts may be.  The answer is that of an untranslated
 * client without ATS, and a processor that isn't known to forward; where another
 * one differs, a direction is unknown.  That memory is encrypted, or that all DMA goes through
 * bounce buffers, is rare, and isn't assumed.
 */
static int try_facts(struct route *route, struct p2pdma_query_port *ports)
{
	const struct machine *machine = route->machine;
	const enum answer known[FACTS] = {
		[TRANSLATED] = is_translated(route->client),
		[FORWARDS] = machine->cpu_forwards,
		[ATS] = has_ats_on(route->client),
	};
	const struct route_missing missing[FACTS] = {
		[TRANSLATED] = { MISSING_IOMMU, route->client },
		[FORWARDS] = { MISSING_PROCESSOR, NULL },
		[ATS] = { what_is_missing(route->client), route->client },
	};
	struct p2pdma_query_route answers[1 << FACTS], *answer;
	bool possible[1 << FACTS], matters[FACTS] = { false };
	unsigned int set, i;

	/* The last one is the one that is told, with its ports. */
	for (set = 1 << FACTS; set-- > 0;) {
		bool holds[FACTS];

		possible[set] = true;
		for (i = 0; i < FACTS; i++) {
			holds[i] = set & BIT(i);
			if (known[i] == UNKNOWN)
				continue;
			possible[set] &= !holds[i];
			holds[i] = known[i] == YES;
		}
		if (possible[set])
			ask_code(route, &(struct assumptions) {
				.translated = holds[TRANSLATED],
				.cpu_forwards = holds[FORWARDS],
				.ats = holds[ATS],
				.encrypted = machine->encrypted == YES,
				.bounce = machine->bounce == YES,
			}, &answers[set], ports);
	}

	answer = &answers[0];
	route->read = direction(answer, P2PDMA_READ);
	route->write = direction(answer, P2PDMA_WRITE);
	for (set = 1; set < 1 << FACTS; set++) {
		if (!possible[set] || same_verdict(answer, &answers[set]))
			continue;
		route->assumed = true;
		if (direction(&answers[set], P2PDMA_READ) != route->read)
			route->read = UNKNOWN;
		if (direction(&answers[set], P2PDMA_WRITE) != route->write)
			route->write = UNKNOWN;
		for (i = 0; i < FACTS; i++)
			matters[i] |= set == BIT(i);
	}

	route->answer = *answer;
	for (i = 0; i < FACTS; i++) {
		if (matters[i] && add_missing(route, &missing[i]))
			return -1;
	}
	return 0;
}

/* Ports that an unknown verdict needs to know more of */
static int find_missing(struct route *route)
{
	const unsigned long bits = P2PDMA_PORT_ACS_UNKNOWN |
				   P2PDMA_PORT_UNREADABLE;
	const struct p2pdma_query_port *port;
	struct route_missing missing;
	const struct device *device;
	unsigned int i;

	for (i = 0; i < route->port_count; i++) {
		port = &route->ports[i];
		device = machine_find(route->machine, port->at.domain,
				      port->at.bus, port->at.devfn);
		if (!(port->flags & bits) || !device)
			continue;
		missing.what = what_is_missing(device);
		missing.device = device;
		if (add_missing(route, &missing))
			return -1;
	}
	return 0;
}

/*
 * The kernel takes a root port whose extended config space it can't access for one
 * without ACS.  In a file, it may have some.
 */
static int consider_root_ports(struct route *route)
{
	const struct p2pdma_query_port *port;
	struct route_missing missing;
	unsigned int i;

	if (!(route->answer.facts & P2PDMA_FACT_ROOT) || route->asked)
		return 0;
	for (i = 0; i < route->port_count; i++) {
		port = &route->ports[i];
		missing.device = machine_find(route->machine, port->at.domain,
					      port->at.bus, port->at.devfn);
		if (port->type != PCI_EXP_TYPE_ROOT_PORT ||
		    !(port->flags & P2PDMA_PORT_PCIE) ||
		    !(port->flags & P2PDMA_PORT_ACS_UNKNOWN) || !missing.device)
			continue;
		missing.what = what_is_missing(missing.device);
		if (route->read == YES)
			route->read = UNKNOWN;
		if (route->write == YES)
			route->write = UNKNOWN;
		if ((route->read == UNKNOWN || route->write == UNKNOWN) &&
		    add_missing(route, &missing))
			return -1;
	}
	return 0;
}

static const struct device *top_of(const struct device *device)
{
	for (; device->physfn || device->parent;)
		device = device->physfn ?: device->parent;
	return device;
}

/*
 * A file may have a device without the bridge above it.  What is said of the way to
 * the root then means nothing, and that is all ways but those below a bridge that is
 * there.
 */
static int consider_orphans(struct route *route)
{
	const struct device *ends[] = { route->owner, route->client };
	struct route_missing missing = { MISSING_BRIDGE, NULL };
	unsigned int i;

	if (route->owner == route->client ||
	    (route->read == YES && route->write == YES &&
	     route->answer.map_type == P2PDMA_ROUTE_BUS_ADDRESS))
		return 0;
	for (i = 0; i < 2; i++) {
		if (!top_of(ends[i])->orphan ||
		    missing.device == top_of(ends[i]))
			continue;
		missing.device = top_of(ends[i]);
		route->read = UNKNOWN;
		route->write = UNKNOWN;
		if (add_missing(route, &missing))
			return -1;
	}
	return 0;
}

/**
 * route_find - find out whether a client reaches an owner's memory
 * @machine: the machine
 * @owner: device of @machine with the memory
 * @client: device of @machine that would access it
 * @route: where to store the answer; to be freed with route_free()
 *
 * Return: 0, or -1 if there is no memory.
 */
int route_find(struct machine *machine, const struct device *owner,
	       const struct device *client, struct route *route)
{
	struct p2pdma_query_port *ports;

	*route = (struct route) {
		.machine = machine,
		.owner = owner,
		.client = client,
	};
	ports = calloc(MAX_PORTS, sizeof(*ports));
	if (!ports)
		return -1;
	route->ports = ports;

	if (ask_kernel(route, ports)) {
		route->asked = true;
		route->read = direction(&route->answer, P2PDMA_READ);
		route->write = direction(&route->answer, P2PDMA_WRITE);
	} else {
		if (!machine->fabric)
			machine->fabric = fabric_new(machine);
		if (!machine->fabric || try_facts(route, ports))
			goto no_memory;
	}

	route->port_count = route->answer.port_count;
	route->answer.ports = 0;
	if (consider_root_ports(route) || consider_orphans(route))
		goto no_memory;
	if ((route->read == UNKNOWN || route->write == UNKNOWN) &&
	    find_missing(route))
		goto no_memory;
	return 0;

no_memory:
	route_free(route);
	return -1;
}

void route_free(struct route *route)
{
	free(route->ports);
	free(route->missing);
	*route = (struct route) { 0 };
}
