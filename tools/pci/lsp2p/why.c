// SPDX-License-Identifier: GPL-2.0
/*
 * lsp2p why A B: does B reach memory of A, and if not, why.
 *
 * The answer first, then what mends it, then what it rests on.
 */

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "lsp2p.h"

#define INDENT	2

static void heading(const char *text)
{
	putchar('\n');
	paint(BOLD, text);
	putchar('\n');
}

static __printf(1, 2) void item(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		err(EXIT_UNKNOWN, NULL);
	va_end(args);
	printf("%*s", INDENT, "");
	print_wrapped(INDENT, INDENT + 2, "%s", printable(text));
	free(text);
}

/* ---- The answer ---- */

static const char *way(const struct route *route)
{
	switch (route->answer.map_type) {
	case P2PDMA_ROUTE_BUS_ADDRESS:
		return " directly, by bus addresses";
	case P2PDMA_ROUTE_HOST_BRIDGE:
		return " through the root complex";
	default:
		return "";
	}
}

/* Whose answer it is */
static const char *speaker(const struct route *route)
{
	static const char * const speakers[] = {
		[CORE_UNKNOWN] = "by lsp2p's code",
		[CORE_NONE] = "by lsp2p's code: this kernel has no P2PDMA core",
		[CORE_STOCK] = "by lsp2p's code: this kernel has another core",
		[CORE_OURS] = "says the kernel's code",
	};

	return route->asked ? "says the running kernel" :
			      speakers[route->machine->core];
}

static void print_answer(const struct route *route)
{
	enum answer answer = route_answer(route);
	const char *owner = device_label(route->owner);
	const char *client = device_label(route->client);
	unsigned int at;

	if (route->owner == route->client && answer == YES) {
		paint(GREEN, "Yes");
		print_wrapped(3, 0, ": the memory is its own.");
	} else if (route_reads(route) == YES || route_writes(route) == YES) {
		paint(answer_color(answer), answer == YES ? "Yes" : "In part");
		print_wrapped(answer == YES ? 3 : 7, 0,
			      ": %s %s memory of %s%s.", client,
			      answer == YES ? "reads and writes" :
			      route_reads(route) == YES ? "reads, but can't write," :
							  "writes, but can't read,",
			      owner, way(route));
	} else if (answer == NO) {
		paint(RED, "No");
		print_wrapped(2, 0, ": %s doesn't reach memory of %s.", client,
			      owner);
	} else {
		paint(MAGENTA, "Unknown");
		print_wrapped(7, 0,
			      ": whether %s reaches memory of %s depends on what isn't known here.",
			      client, owner);
	}
	printf("  reads: ");
	paint(answer_color(route_reads(route)), answer_word(route_reads(route)));
	printf(", writes: ");
	paint(answer_color(route_writes(route)),
	      answer_word(route_writes(route)));
	at = INDENT + strlen("reads: , writes: ") +
	     strlen(answer_word(route_reads(route))) +
	     strlen(answer_word(route_writes(route)));
	print_wrapped(at, INDENT + 2, "; %s", speaker(route));
}

/* "0000:03:00.0, 0000:04:00.0: " of all devices that @missing is said of */
static char *devices_missing(const struct route *route, enum missing missing)
{
	char address[ADDRESS_SIZE], *text = NULL;
	const char *between = "";
	unsigned int i;
	size_t size;
	FILE *file;

	file = open_memstream(&text, &size);
	if (!file)
		err(EXIT_UNKNOWN, NULL);
	for (i = 0; i < route->missing_count; i++) {
		if (route->missing[i].what != missing || !route->missing[i].device)
			continue;
		fprintf(file, "%s%s", between,
			device_address(route->missing[i].device, address));
		between = ", ";
	}
	if (*between)
		fputs(": ", file);
	if (fclose(file))
		err(EXIT_UNKNOWN, NULL);
	return text;
}

static void print_missing(const struct route *route)
{
	const char *command;
	unsigned int i, j;
	char *devices;

	if (!route->missing_count)
		return;
	heading(route_answer(route) == UNKNOWN ? "Not known" :
		"Not known, and of influence on the way");
	for (i = 0; i < route->missing_count; i++) {
		enum missing missing = route->missing[i].what;

		for (j = 0; route->missing[j].what != missing; j++)
			;
		if (j != i)
			continue;	/* was said */
		devices = devices_missing(route, missing);
		item("%s%s", devices, missing_words(missing));
		free(devices);
		command = missing_command(route->machine, missing);
		if (command)
			item("-> %s", command);
	}
}

/* Does a reason stand against a route? */
static bool is_against(unsigned int reason)
{
	switch (reason) {
	case P2PDMA_REASON_SAME_DEVICE:
	case P2PDMA_REASON_SWITCH:
	case P2PDMA_REASON_CPU_ALLOWED:
	case P2PDMA_REASON_HOST_BRIDGE_LISTED:
	case P2PDMA_REASON_ADMIN_ALLOWED:
	case P2PDMA_REASON_UNKNOWN:
		return false;
	default:
		return true;
	}
}

static void print_reasons(const struct route *route)
{
	unsigned int reasons[P2PDMA_REASON_MAX], all, count = 0, i;

	all = reasons_in_order(route, reasons);
	for (i = 0; i < all; i++) {
		if (route_answer(route) == YES || is_against(reasons[i]))
			reasons[count++] = reasons[i];
	}
	if (!count)
		return;
	if (route_answer(route) == UNKNOWN)
		heading("What stands against it, as far as is known");
	else if (route_answer(route) == NO && count > 1)
		heading("Why, the first to mend in front");
	else
		heading("Why");
	for (i = 0; i < count; i++)
		item("%s: %s", reason_slug(reasons[i]), reason_sentence(reasons[i]));
}

/* ---- What mends it ---- */

static bool has_reason(const struct route *route, unsigned int reason)
{
	return route->answer.reason == reason ||
	       route->answer.reasons & 1ULL << reason;
}

static void print_isolation(const struct route *route)
{
	int from = route->client->iommu_group, to = route->owner->iommu_group;

	if (from >= 0 && to >= 0 && from != to)
		item("IOMMU groups %d and %d are then no longer isolated from each other, and may become one: neither device can be given to a virtual machine alone.",
		     from, to);
	else
		item("What is below these ports is then no longer isolated from each other: give it to one virtual machine, or to none.");
}

static void print_vouch(const struct route *route)
{
	const struct p2pdma_query_leg *legs = route->answer.legs;
	char bridges[48] = "";

	if (route->machine->core == CORE_NONE ||
	    route->machine->core == CORE_STOCK) {
		item("If you know that the root complex forwards: this kernel has no parameter to say so; its list is built in.");
		return;
	}
	if (!legs[P2PDMA_LEG_CLIENT].host_vendor ||
	    !legs[P2PDMA_LEG_OWNER].host_vendor)
		return;
	snprintf(bridges, sizeof(bridges), "%04x:%04x",
		 legs[P2PDMA_LEG_CLIENT].host_vendor,
		 legs[P2PDMA_LEG_CLIENT].host_device);
	if (legs[P2PDMA_LEG_CLIENT].host_vendor !=
	    legs[P2PDMA_LEG_OWNER].host_vendor ||
	    legs[P2PDMA_LEG_CLIENT].host_device !=
	    legs[P2PDMA_LEG_OWNER].host_device)
		snprintf(bridges + strlen(bridges),
			 sizeof(bridges) - strlen(bridges), ",%04x:%04x",
			 legs[P2PDMA_LEG_OWNER].host_vendor,
			 legs[P2PDMA_LEG_OWNER].host_device);
	item("Only if you know that the root complex forwards: pci_p2pdma.host_bridge=%s%s. If it doesn't, data is corrupted in silence; see lsp2p verify.",
	     bridges, route->machine->core == CORE_OURS ? "" :
	     ", if that kernel has it");
}

static void print_fix(const struct route *route)
{
	unsigned int reasons[P2PDMA_REASON_MAX], count, i, said = 0;
	char *parameter;

	if (route_answer(route) == YES)
		return;
	/* First it must be known what is wrong. */
	if (route_answer(route) == UNKNOWN)
		return;
	/* What to do first was said. */
	if (route_blocked(route) && route->read != NO && route->write != NO)
		return;

	heading("Fix");
	if (route->machine->core == CORE_NONE)
		item("This kernel has no P2PDMA (CONFIG_PCI_P2PDMA): what follows is for one that has.");
	parameter = fix_parameter(route);
	if (parameter) {
		item("On the kernel command line, in quotes: \"%s\"", parameter);
		free(parameter);
		if (fix_note(route))
			item("%s", fix_note(route));
		if (route->answer.fix == P2PDMA_FIX_ACS)
			print_isolation(route);
		return;
	}

	count = reasons_in_order(route, reasons);
	for (i = 0; i < count; i++) {
		if (!reason_advice(reasons[i]))
			continue;
		item("%s", reason_advice(reasons[i]));
		said++;
	}
	if (has_reason(route, P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED)) {
		print_vouch(route);
		if (route->answer.fix != P2PDMA_FIX_ACS)
			item("No setting of ACS helps.");
	} else if (!said) {
		item(route->machine->core == CORE_NONE ?
		     "There is none." : "There is none on this kernel.");
	}
}

/* ---- What it rests on ---- */

static void print_port(const struct route *route,
		       const struct p2pdma_query_port *port)
{
	const struct device *device = device_at(route->machine, &port->at);
	char acs[320], speed[48], payload[48], address[ADDRESS_SIZE];
	const char *node = device ? device_node(device) : "";
	const char *kind = port_kind(port);
	const char *part = part_words(port);
	unsigned int at;

	if (!kind)
		kind = device && device->is_bridge ? "bridge" : "device";
	address_text(&port->at, address);
	printf("%*s", INDENT, "");
	paint(port->flags & P2PDMA_PORT_BLOCKING &&
	      route_answer(route) != YES ? RED :
	      port->flags & P2PDMA_PORT_DECIDES ? BOLD : PLAIN, address);
	at = INDENT + strlen(address) + 1;
	putchar(' ');
	print_wrapped(at, INDENT + 4, "%s%s%s%s%s", kind, *node ? " " : "", node,
		      device ? ": " : "", device ? device_title(device) : "");

	acs_words(port, acs, sizeof(acs));
	link_words(port, speed, sizeof(speed));
	payload_words(port, payload, sizeof(payload));
	printf("%*s", INDENT + 4, "");
	print_wrapped(INDENT + 4, INDENT + 4, "%s%s%s; %s; %s%s",
		      port->payload == P2PDMA_NO_LIMIT ? "" : speed,
		      port->payload == P2PDMA_NO_LIMIT ? "" : ", ", payload,
		      acs, part,
		      port->flags & P2PDMA_PORT_UNREADABLE &&
		      !(port->flags & P2PDMA_PORT_ACS_UNKNOWN) ?
		      "; a register isn't known" : "");
}

/* Of an orphan what is above isn't known. */
static const struct device *top_of(const struct device *device)
{
	while (device->physfn || device->parent)
		device = device->physfn ?: device->parent;
	return device;
}

static void print_host(const struct route *route, unsigned int leg)
{
	const struct p2pdma_query_leg *facts = &route->answer.legs[leg];
	const struct device *end = leg == P2PDMA_LEG_OWNER ? route->owner :
							     route->client;

	if (!(route->answer.facts & P2PDMA_FACT_ROOT))
		return;
	if (!facts->host_vendor || top_of(end)->orphan) {
		item("root complex: its host bridge isn't known");
		return;
	}
	item("root complex, host bridge %04x:%04x: %s%s",
	     facts->host_vendor, facts->host_device,
	     route->answer.facts & P2PDMA_FACT_CPU_ALLOWS ?
	     "the processor forwards reads and writes" :
	     facts->host_directions == (P2PDMA_READ | P2PDMA_WRITE) ?
	     "forwards reads and writes" :
	     facts->host_directions == P2PDMA_WRITE ? "forwards writes alone" :
	     facts->host_directions == P2PDMA_READ ? "forwards reads alone" :
						     "not known to forward",
	     facts->host_admitted ? ", as the command line says" : "");
}

static unsigned int print_leg(const struct route *route, unsigned int leg,
			      const char *title)
{
	unsigned int i, count = 0;

	for (i = 0; i < route->port_count; i++) {
		if (route->ports[i].leg != leg)
			continue;
		if (!count++)
			heading(title);
		print_port(route, &route->ports[i]);
	}
	return count;
}

static void print_ways(const struct route *route)
{
	bool shared = route->answer.facts & P2PDMA_FACT_SHARED_BRIDGE;
	char title[128];

	if (route->answer.facts & P2PDMA_FACT_SAME_FUNCTION)
		return;
	snprintf(title, sizeof(title), "From the memory, %s, up",
		 device_label(route->owner));
	if (print_leg(route, P2PDMA_LEG_OWNER, title) && !shared)
		print_host(route, P2PDMA_LEG_OWNER);
	snprintf(title, sizeof(title), "From the device that does DMA, %s, up",
		 device_label(route->client));
	if (print_leg(route, P2PDMA_LEG_CLIENT, title) && !shared)
		print_host(route, P2PDMA_LEG_CLIENT);
	if (print_leg(route, P2PDMA_LEG_SHARED, "Above both") && shared)
		print_host(route, P2PDMA_LEG_CLIENT);
}

static void print_bars(const struct route *route)
{
	const struct device *owner = route->owner;
	char size[16];
	int i;

	for (i = 0; i < BARS; i++) {
		const struct bar *bar = &owner->bars[i];

		if (!(route->answer.bars & 1U << i) || !bar_size(bar))
			continue;
		item("BAR %d of the memory: %s at %#llx%s%s", i,
		     size_text(bar_size(bar), size),
		     (unsigned long long)bar->start,
		     bar->prefetchable ? ", prefetchable" : "",
		     route->answer.bars_beyond_mask & 1U << i ?
		     "; BEYOND the client's DMA mask" : "");
	}
	if (!has_memory_bar(owner))
		item("%s has no memory BAR: there is nothing to reach.",
		     device_label(owner));
	else if (owner->registered == NO)
		item("No driver has registered memory of %s: the answer is for when one does.",
		     device_label(owner));
}

static void print_limits(const struct route *route)
{
	const struct device *client = route->client;

	heading("What else counts");
	print_bars(route);
	item("%s: %s%s", device_label(client), iommu_words(client->iommu),
	     route->answer.facts & P2PDMA_FACT_ATS ? "; ATS on" : "");
	if (client->dma_mask_bits)
		item("DMA mask: %u bits", client->dma_mask_bits);
	if (route->answer.facts & P2PDMA_FACT_ENCRYPTED)
		item("memory encryption is active");
	if (route->answer.facts & P2PDMA_FACT_BOUNCED)
		item("its DMA goes through bounce buffers");
	if (route->asked)
		return;
	if (route->machine->bounce == UNKNOWN ||
	    route->machine->encrypted == UNKNOWN)
		item("assumed, as it isn't in %s: memory isn't encrypted, and the kernel doesn't force bounce buffers (swiotlb=force)",
		     route->machine->source);
	if (client->untrusted == UNKNOWN)
		item("assumed, as it isn't in %s: %s isn't behind an external port",
		     route->machine->source, device_label(client));
	if (route->answer.facts & P2PDMA_FACT_ROOT &&
	    client->iommu != IOMMU_DMA && client->iommu != IOMMU_DMA_FQ)
		item("assumed: firmware gives no dma-ranges, so that DMA addresses are CPU addresses");
	if (!route->machine->admitted)
		item("assumed, as it isn't in %s: the administrator vouches for no host bridge (pci_p2pdma.host_bridge=)",
		     route->machine->source);
}

static void print_guest(const struct route *route)
{
	if (route->machine->guest != YES)
		return;
	heading("This is a virtual machine");
	item("Bridges and ACS shown here may be emulated, and the host decides whether devices passed through reach each other: ask there, too.");
}

static void print_stock(const struct route *route)
{
	struct stock_route stock;

	if (route->machine->core == CORE_OURS)
		return;
	if (route->machine->core == CORE_NONE) {
		heading("This kernel");
		item("has no P2PDMA core (CONFIG_PCI_P2PDMA): no driver can use the route.");
		return;
	}
	route_stock(route->machine, route->owner, route->client, route, &stock);
	if (route->machine->core == CORE_UNKNOWN && !*stock.why)
		return;
	heading(has_stock_rules(route->machine) ?
		"This kernel's own P2PDMA core" :
		route->machine->core == CORE_STOCK ?
		"The P2PDMA core of Linux 6.12 (this kernel's may differ)" :
		"The P2PDMA core of Linux 6.12");
	if (stock.known != YES)
		item("can't be foretold from what is known");
	else if (stock.map_type == P2PDMA_ROUTE_NONE)
		item("refuses");
	else
		item("allows it, %s; distance %d",
		     stock.map_type == P2PDMA_ROUTE_BUS_ADDRESS ?
		     "by bus addresses" : "through the root complex",
		     stock.distance);
	if (*stock.why)
		item("%s", stock.why);
}

static void print_reverse(struct machine *machine, const struct route *route)
{
	struct route reverse;

	if (route->owner == route->client || !may_have_memory(route->client) ||
	    !may_do_dma(route->owner))
		return;
	if (route_find(machine, route->client, route->owner, &reverse))
		err(EXIT_UNKNOWN, NULL);
	heading("The other way round");
	item("%s reads memory of %s: %s, writes: %s",
	     device_label(route->owner), device_label(route->client),
	     answer_word(route_reads(&reverse)),
	     answer_word(route_writes(&reverse)));
	route_free(&reverse);
}

static void print_text(struct machine *machine, const struct route *route)
{
	print_answer(route);
	if (route_blocked(route))
		item("The IOMMU blocks all DMA of %s until a driver attaches: bind one to it, and ask again.",
		     device_label(route->client));
	print_missing(route);
	print_reasons(route);
	print_fix(route);
	print_stock(route);
	print_guest(route);
	print_ways(route);
	print_limits(route);
	print_reverse(machine, route);
}

bool route_named(struct machine *machine, char **argv, struct route *route)
{
	const struct device *owner, *client;

	owner = device_named(machine, argv[0]);
	if (!owner)
		return false;
	client = device_named(machine, argv[1]);
	if (!client)
		return false;
	if (route_find(machine, owner, client, route)) {
		fail("not enough memory");
		return false;
	}
	return true;
}

int cmd_why(struct machine *machine, int argc, char **argv)
{
	struct json_object *answer;
	struct route route;
	enum answer both;
	int status = 0;

	if (!route_named(machine, argv, &route))
		return EXIT_UNKNOWN;

	if (options.json) {
		answer = json_answer(machine, "why");
		json_add(answer, "route", json_route(&route));
		status = json_print(answer);
	} else {
		print_text(machine, &route);
	}
	both = route_answer(&route);
	route_free(&route);
	if (status)
		return status;
	return both == YES ? EXIT_YES : both == NO ? EXIT_NO : EXIT_UNKNOWN;
}
