// SPDX-License-Identifier: GPL-2.0
/*
 * --dot: the fabric for Graphviz, and in it the route between two devices.
 *
 * Left out are devices that neither have memory for peers nor do DMA, and bridges
 * with no others below.
 */

#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "lsp2p.h"

/* Readable on white, which is set as background */
static const char *color_of(enum answer answer)
{
	return answer == YES ? "#1a7f37" : answer == NO ? "#cf222e" : "#8250df";
}

static void print_escaped(const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
}

static bool is_end(const struct route *route, const struct device *device)
{
	return route && (device == route->owner || device == route->client);
}

static bool is_below(const struct device *device, const struct device *bridge)
{
	for (; device; device = device->parent) {
		if (device == bridge)
			return true;
	}
	return false;
}

static bool is_shown(const struct machine *machine, const struct route *route,
		     const struct device *device)
{
	const struct device *other;
	size_t i;

	if (!device->is_bridge)
		return is_end(route, device) || may_have_memory(device) ||
		       may_do_dma(device);
	for (i = 0; i < machine->device_count; i++) {
		other = machine->devices[i];
		if ((!other->is_bridge || is_end(route, other)) &&
		    is_below(other, device) &&
		    (is_end(route, other) || may_have_memory(other) ||
		     may_do_dma(other)))
			return true;
	}
	return false;
}

static const struct p2pdma_query_port *port_of(const struct route *route,
					       const struct device *device)
{
	unsigned int i;

	for (i = 0; route && i < route->port_count; i++) {
		if (device_at(route->machine, &route->ports[i].at) == device)
			return &route->ports[i];
	}
	return NULL;
}

/* Does the route take the link above @device? */
static bool takes_link(const struct route *route, const struct device *device)
{
	const struct p2pdma_query_port *port = port_of(route, device);

	return is_end(route, device) ||
	       (port && (port->leg != P2PDMA_LEG_SHARED ||
			 route->answer.map_type == P2PDMA_ROUTE_HOST_BRIDGE));
}

static bool is_switch(const struct device *device)
{
	uint16_t flags;

	return device->is_bridge && device->pcie_cap &&
	       config_get16(device, device->pcie_cap + PCI_EXP_FLAGS, &flags) &&
	       (flags & PCI_EXP_FLAGS_TYPE) >> 4 == PCI_EXP_TYPE_UPSTREAM;
}

static void print_node(const struct route *route, const struct device *device,
		       unsigned int indent)
{
	const struct p2pdma_query_port *port = port_of(route, device);
	char address[ADDRESS_SIZE];

	device_address(device, address);
	printf("%*s\"%s\" [label=\"%s", indent, "", address, address);
	if (!device->is_bridge) {
		if (*device_node(device)) {
			printf("\\n");
			print_escaped(device_node(device));
		}
		printf("\\n");
		print_escaped(device_title(device));
	} else if (port && port->flags & P2PDMA_PORT_BLOCKING) {
		printf("\\n%s", route_answer(route) == YES ?
		       "sends packets up (ACS)" : "stops packets (ACS)");
	} else if (port && port->flags & P2PDMA_PORT_TURN) {
		printf("\\npackets turn");
	}
	putchar('"');
	if (!device->is_bridge)
		printf(", shape=box, style=\"rounded,filled\", fillcolor=\"%s\"",
		       may_have_memory(device) ? "#ddf4ff" : "#f6f8fa");
	if (port && port->flags & P2PDMA_PORT_BLOCKING)
		printf(", style=filled, fillcolor=\"#ffcecb\"");
	if (is_end(route, device))
		printf(", penwidth=3, color=\"%s\"",
		       color_of(route_answer(route)));
	puts("];");
}

static void print_below(const struct machine *machine, const struct route *route,
			const struct device *bridge, unsigned int indent);

static void print_device(const struct machine *machine,
			 const struct route *route, const struct device *device,
			 unsigned int indent)
{
	char address[ADDRESS_SIZE];
	const struct device *port;
	size_t i;

	if (!is_shown(machine, route, device))
		return;
	if (!is_switch(device)) {
		print_node(route, device, indent);
		print_below(machine, route, device, indent);
		return;
	}

	/* What is below its ports stands beside the switch, not in it. */
	printf("%*ssubgraph \"cluster_%s\" {\n", indent, "",
	       device_address(device, address));
	printf("%*slabel=\"switch ", indent + 2, "");
	print_escaped(device_title(device));
	printf("\"; style=filled; fillcolor=\"#fff8c5\"; fontcolor=black;\n");
	print_node(route, device, indent + 2);
	for (i = 0; i < machine->device_count; i++) {
		port = machine->devices[i];
		if (port->parent == device && port->is_bridge &&
		    is_shown(machine, route, port))
			print_node(route, port, indent + 2);
	}
	printf("%*s}\n", indent, "");
	for (i = 0; i < machine->device_count; i++) {
		port = machine->devices[i];
		if (port->parent != device)
			continue;
		if (port->is_bridge)
			print_below(machine, route, port, indent);
		else
			print_device(machine, route, port, indent);
	}
}

static void print_below(const struct machine *machine, const struct route *route,
			const struct device *bridge, unsigned int indent)
{
	size_t i;

	for (i = 0; i < machine->device_count; i++) {
		if (machine->devices[i]->parent == bridge)
			print_device(machine, route, machine->devices[i], indent);
	}
}

static void print_link(const struct route *route, const struct device *device,
		       const char *upper)
{
	char address[ADDRESS_SIZE];

	printf("  \"%s\" -> \"%s\"", upper, device_address(device, address));
	if (route && takes_link(route, device))
		printf(" [color=\"%s\", penwidth=3]",
		       color_of(route_answer(route)));
	puts(";");
}

static void print_route(const struct route *route)
{
	char owner[ADDRESS_SIZE], client[ADDRESS_SIZE];

	printf("  \"%s\" -> \"%s\" [dir=forward, constraint=false, style=dashed, color=\"%s\"];\n",
	       device_address(route->client, client),
	       device_address(route->owner, owner),
	       color_of(route_answer(route)));
	printf("  label=\"%s to memory of %s: reads %s, writes %s; %s\"; fontcolor=\"%s\";\n",
	       client, owner, answer_word(route_reads(route)),
	       answer_word(route_writes(route)), reason_slug(route->answer.reason),
	       color_of(route_answer(route)));
}

static void print_graph(const struct machine *machine, const struct route *route)
{
	char host_name[32], address[ADDRESS_SIZE];
	const struct device *device;
	size_t i, host;

	puts("digraph lsp2p {");
	puts("  bgcolor=white; rankdir=LR; fontname=\"sans-serif\"; fontsize=11;");
	puts("  node [fontname=\"sans-serif\", fontsize=10, shape=box, style=filled, fillcolor=white];");
	puts("  edge [fontname=\"sans-serif\", fontsize=10, dir=none];");
	for (host = 0; host < machine->host_count; host++) {
		const struct host_bridge *bridge = machine->hosts[host];

		for (i = 0; i < machine->device_count; i++) {
			device = machine->devices[i];
			if (device->host == bridge && !device->parent &&
			    is_shown(machine, route, device))
				break;
		}
		if (i == machine->device_count)
			continue;
		snprintf(host_name, sizeof(host_name), "host %04x:%02x",
			 bridge->domain, bridge->bus);
		printf("  subgraph \"cluster_%s\" {\n", host_name);
		printf("    label=\"host bridge %04x:%02x\"; style=\"rounded,filled\"; fillcolor=\"#eaeef2\"; fontcolor=black;\n",
		       bridge->domain, bridge->bus);
		printf("    \"%s\" [label=\"root complex\", shape=ellipse];\n",
		       host_name);
		for (i = 0; i < machine->device_count; i++) {
			device = machine->devices[i];
			if (device->host == bridge && !device->parent)
				print_device(machine, route, device, 4);
		}
		puts("  }");
	}
	for (i = 0; i < machine->device_count; i++) {
		device = machine->devices[i];
		if (!is_shown(machine, route, device))
			continue;
		if (device->parent)
			device_address(device->parent, address);
		else
			snprintf(host_name, sizeof(host_name), "host %04x:%02x",
				 device->host->domain, device->host->bus);
		print_link(route, device, device->parent ? address : host_name);
	}
	if (route && route->owner != route->client)
		print_route(route);
	puts("}");
}

int cmd_dot(struct machine *machine, int argc, char **argv)
{
	struct route route;
	enum answer answer;

	if (!argc) {
		print_graph(machine, NULL);
		return EXIT_YES;
	}
	if (!route_named(machine, argv, &route))
		return EXIT_UNKNOWN;
	print_graph(machine, &route);
	answer = route_answer(&route);
	route_free(&route);
	return answer == YES ? EXIT_YES : answer == NO ? EXIT_NO : EXIT_UNKNOWN;
}
