// SPDX-License-Identifier: GPL-2.0
/*
 * What the core that comes with Linux 6.12 answers, and why it differs from ours.
 *
 * It takes any redirection for one of this route: at each device on the way from
 * both ends up to the shared bridge, both ends and that bridge among them, or of
 * the owner's way to its root bus.  Its table of host bridges is shorter, it asks
 * the first device on a root bus for its ID, and it looks at nothing else.
 */

#include <stdio.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "machine.h"
#include "route.h"

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

static const struct device *above(const struct device *device)
{
	if (device->physfn)
		device = device->physfn;
	return device->parent;
}

/* Does any bit of its ACS control redirect? */
static enum answer redirects(const struct device *device)
{
	uint16_t control;

	if (!device->acs_cap) {
		if (device->caps_known != YES ||
		    (device->pcie_cap && device->extended_known != YES))
			return UNKNOWN;
		return NO;
	}
	if (!config_get16(device, device->acs_cap + PCI_ACS_CTRL, &control))
		return UNKNOWN;
	return control & (PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_EC) ? YES : NO;
}

static enum answer either(enum answer a, enum answer b)
{
	if (a == YES || b == YES)
		return YES;
	return a == UNKNOWN || b == UNKNOWN ? UNKNOWN : NO;
}

static const struct {
	uint16_t vendor, device;
	bool same_only;
} listed[] = {
	{ 0x8086, 0x3c00, true },
	{ 0x8086, 0x3c01, true },
	{ 0x8086, 0x2f00, true },
	{ 0x8086, 0x2f01, true },
	{ 0x8086, 0x2030, false },
	{ 0x8086, 0x2031, false },
	{ 0x8086, 0x2032, false },
	{ 0x8086, 0x2033, false },
	{ 0x8086, 0x2020, false },
	{ 0x8086, 0x09a2, false },
};

static const struct device *first_on_root_bus(const struct machine *machine,
					      const struct host_bridge *host)
{
	size_t i;

	for (i = 0; i < machine->device_count; i++) {
		if (machine->devices[i]->host == host &&
		    !machine->devices[i]->parent &&
		    !machine->devices[i]->physfn)
			return machine->devices[i];
	}
	return NULL;
}

static enum answer host_forwards(const struct machine *machine,
				 const struct host_bridge *host, bool same)
{
	const struct device *first = first_on_root_bus(machine, host);
	size_t i;

	if (!first)
		return NO;
	for (i = 0; i < ARRAY_SIZE(listed); i++) {
		if (device_vendor(first) != listed[i].vendor ||
		    device_id(first) != listed[i].device ||
		    (listed[i].same_only && !same))
			continue;
		if (!first->devfn ||
		    device_pcie_type(first) == PCI_EXP_TYPE_ROOT_PORT)
			return YES;
		return first->caps_known == YES ? NO : UNKNOWN;
	}
	return NO;
}

/* Does it send the packets through the root complex? */
static enum answer root_forwards(const struct machine *machine,
				 const struct device *owner,
				 const struct device *client)
{
	enum answer hosts[2];
	bool same = owner->host == client->host;

	hosts[0] = host_forwards(machine, owner->host, same);
	hosts[1] = host_forwards(machine, client->host, same);
	if (hosts[0] == YES && hosts[1] == YES)
		return YES;
	if (machine->cpu_forwards != NO)
		return machine->cpu_forwards;
	return hosts[0] == NO || hosts[1] == NO ? NO : UNKNOWN;
}

/* Why the answers differ, by the ids of the README's table of defects */
static const char *difference(const struct stock_route *stock,
			      const struct route *ours)
{
	const struct p2pdma_query_route *answer = &ours->answer;
	uint64_t reasons = answer->reasons;
	size_t i;
	static const struct {
		unsigned int reason;
		const char *words;
	} overlooked[] = {
		{ P2PDMA_REASON_DMA_MASK,
		  "D14: it gives addresses beyond the DMA mask" },
		{ P2PDMA_REASON_MPS_MISMATCH,
		  "D13: it doesn't look at payload sizes" },
		{ P2PDMA_REASON_ATS, "D26: it doesn't look at ATS" },
		{ P2PDMA_REASON_ACS_TRANSLATION_BLOCKING,
		  "D26: it doesn't look at Translation Blocking" },
		{ P2PDMA_REASON_ADDRESS_TAKEN,
		  "D25: the CPU address is another device's bus address" },
		{ P2PDMA_REASON_ACS_REDIRECT,
		  "D23: it takes functions without a way between them for connected" },
	};

	if (answer->map_type == stock->map_type) {
		if (stock->map_type != P2PDMA_ROUTE_NONE &&
		    answer->directions != (P2PDMA_READ | P2PDMA_WRITE))
			return "D12: it doesn't tell reads from writes";
		return "";
	}
	if (answer->map_type == P2PDMA_ROUTE_BUS_ADDRESS)
		return "D9: it takes ACS at a port that plays no part for a redirection";
	if (stock->map_type == P2PDMA_ROUTE_NONE)
		return answer->reason == P2PDMA_REASON_ADMIN_ALLOWED ?
		       "it has no parameter to vouch for a host bridge" :
		       "its table of host bridges is shorter";
	for (i = 0; i < ARRAY_SIZE(overlooked); i++) {
		if (reasons & 1ULL << overlooked[i].reason)
			return overlooked[i].words;
	}
	return "it looks at fewer facts";
}

/**
 * route_stock - what the stock core of Linux 6.12 answers
 * @machine: the machine
 * @owner: the device with the memory
 * @client: the device that would access it
 * @ours: our core's answer
 * @stock: where to store the answer
 */
void route_stock(const struct machine *machine, const struct device *owner,
		 const struct device *client, const struct route *ours,
		 struct stock_route *stock)
{
	const struct device *a, *b = NULL;
	unsigned int up, down = 0;
	enum answer redirected = NO, forwards;

	*stock = (struct stock_route) { .known = YES };
	for (a = owner, up = 0; a; a = above(a), up++) {
		redirected = either(redirected, redirects(a));
		for (b = client, down = 0; b && b != a; b = above(b))
			down++;
		if (b)
			break;
	}
	stock->distance = up + down;
	if (a) {
		for (b = client; b != a; b = above(b))
			redirected = either(redirected, redirects(b));
	}

	forwards = root_forwards(machine, owner, client);
	if (a && redirected == NO)
		stock->map_type = P2PDMA_ROUTE_BUS_ADDRESS;
	else if (a && redirected == UNKNOWN)
		stock->known = UNKNOWN;
	else if (forwards == UNKNOWN)
		stock->known = UNKNOWN;
	else if (forwards == YES)
		stock->map_type = P2PDMA_ROUTE_HOST_BRIDGE;

	if (stock->known != YES || stock->map_type == P2PDMA_ROUTE_NONE)
		stock->distance = -1;
	if (stock->known == YES && ours->read != UNKNOWN &&
	    ours->write != UNKNOWN)
		snprintf(stock->why, sizeof(stock->why), "%s",
			 difference(stock, ours));
}
