// SPDX-License-Identifier: GPL-2.0
/*
 * Facts and verdicts in words: reasons, ports, what isn't known, and kernel
 * parameters that help.  Decides nothing.
 */

#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <linux/pci_regs.h>

#include "lsp2p.h"

const char *answer_word(enum answer answer)
{
	return answer == YES ? "yes" : answer == NO ? "no" : "unknown";
}

bool route_blocked(const struct route *route)
{
	return route->client->iommu == IOMMU_BLOCKED &&
	       route->client != route->owner;
}

enum answer route_reads(const struct route *route)
{
	return route_blocked(route) ? NO : route->read;
}

enum answer route_writes(const struct route *route)
{
	return route_blocked(route) ? NO : route->write;
}

enum answer route_answer(const struct route *route)
{
	if (route_reads(route) == NO || route_writes(route) == NO)
		return NO;
	if (route->read == UNKNOWN || route->write == UNKNOWN)
		return UNKNOWN;
	return YES;
}

/* ---- Reasons ---- */

const char *reason_sentence(unsigned int reason)
{
	static const char * const sentences[P2PDMA_REASON_MAX] = {
		[P2PDMA_REASON_SAME_DEVICE] =
			"The memory is the device's own.",
		[P2PDMA_REASON_SWITCH] =
			"Packets turn around below a bridge that both devices share.",
		[P2PDMA_REASON_CPU_ALLOWED] =
			"The way is through the root complex, and this processor forwards between all its root ports.",
		[P2PDMA_REASON_HOST_BRIDGE_LISTED] =
			"The way is through the root complex, and the kernel's list says that it forwards.",
		[P2PDMA_REASON_ADMIN_ALLOWED] =
			"The way is through the root complex, and pci_p2pdma.host_bridge= says that it forwards. Nobody else has checked that.",
		[P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED] =
			"The way is through the root complex, which isn't known to forward packets between devices: neither the processor nor the host bridge is on the kernel's lists for it. Where it doesn't, data is lost or corrupted in silence.",
		[P2PDMA_REASON_ACS_REDIRECT] =
			"ACS sends packets up to the root complex at a port where they would turn around, or a device has no path between its functions; and from the root complex they don't come back.",
		[P2PDMA_REASON_ACS_EGRESS] =
			"ACS Egress Control drops the requests at a port.",
		[P2PDMA_REASON_ACS_FORWARDING] =
			"ACS redirects packets, and a port above both devices isn't set to pass them on (Upstream Forwarding).",
		[P2PDMA_REASON_ACS_TRANSLATION_BLOCKING] =
			"The device uses ATS, and a port drops requests that are translated by ATS, and those that ask for a translation (ACS Translation Blocking).",
		[P2PDMA_REASON_ATS] =
			"The device's ATS is on: it asks the IOMMU to translate all addresses, also those of other devices, which the IOMMU doesn't know, and the way through the IOMMU isn't open.",
		[P2PDMA_REASON_ATS_OFF] =
			"Translated requests were asked for, and the device's ATS is off.",
		[P2PDMA_REASON_MPS_MISMATCH] =
			"Packets may be larger than a device on the way accepts (Max_Payload_Size).",
		[P2PDMA_REASON_DMA_MASK] =
			"The memory is beyond the addresses that the device can use (its DMA mask).",
		[P2PDMA_REASON_BAR_MOVED] =
			"The BAR was given another address after its memory was registered.",
		[P2PDMA_REASON_UNREADABLE] =
			"A register in config space isn't known: the device is asleep or gone, or the file hasn't got it.",
		[P2PDMA_REASON_NOT_PCI] =
			"The device isn't a PCI device.",
		[P2PDMA_REASON_BOUNCED] =
			"All DMA of the device goes through bounce buffers: the kernel doesn't trust it (external port), or is made to (swiotlb=force, confidential guest).",
		[P2PDMA_REASON_MEMORY_ENCRYPTED] =
			"Memory encryption is active, and on the way through the root complex the BAR would be taken for encrypted memory.",
		[P2PDMA_REASON_DMA_RANGES] =
			"The way is through the root complex, there is no IOMMU, and the device's DMA addresses aren't CPU addresses.",
		[P2PDMA_REASON_ADDRESS_TAKEN] =
			"The way is through the root complex, and the BAR's CPU address is a bus address of another device.",
		[P2PDMA_REASON_UNKNOWN] =
			"A fact isn't known that the answer depends on.",
	};

	return reason < P2PDMA_REASON_MAX ? sentences[reason] : "";
}

/* What to do about a reason, where no kernel parameter is a clear mend */
const char *reason_advice(unsigned int reason)
{
	static const char firmware[] = "Look for the setting in the firmware.";
	static const char iommu[] =
		"Have the IOMMU translate for the device: turn it on, and leave out iommu=pt.";
	static const char * const advice[P2PDMA_REASON_MAX] = {
		[P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED] =
			"Move both devices below one switch.",
		[P2PDMA_REASON_BAR_MOVED] =
			"Unbind the driver of the memory's device, and bind it again.",
		[P2PDMA_REASON_UNREADABLE] =
			"Wake the device (power/control: on), and ask again.",
		[P2PDMA_REASON_BOUNCED] =
			"Leave out swiotlb=force; a device in an external port stays untrusted.",
		[P2PDMA_REASON_MEMORY_ENCRYPTED] =
			"Leave memory encryption off (mem_encrypt=off), or move both devices below one switch.",
		[P2PDMA_REASON_DMA_RANGES] = iommu,
		[P2PDMA_REASON_ADDRESS_TAKEN] = iommu,
		[P2PDMA_REASON_DMA_MASK] =
			"Have the firmware place the BAR below 4 GiB (\"Above 4G Decoding\" off), if it fits there.",
		[P2PDMA_REASON_ACS_EGRESS] = firmware,
		[P2PDMA_REASON_ACS_TRANSLATION_BLOCKING] = firmware,
		[P2PDMA_REASON_ACS_FORWARDING] = firmware,
	};

	return reason < P2PDMA_REASON_MAX ? advice[reason] : NULL;
}

/* The verdict's own reason, then the others, the first to mend in front */
unsigned int reasons_in_order(const struct route *route,
			      unsigned int reasons[P2PDMA_REASON_MAX])
{
	uint32_t left = route->answer.reasons;
	unsigned int count = 0, next;

	next = route->answer.reason;
	while (next < P2PDMA_REASON_MAX) {
		reasons[count++] = next;
		left &= ~(1U << next);
		next = p2pdma_first_reason(left);
	}
	return count;
}

/* ---- Ports ---- */

const char *port_kind(const struct p2pdma_query_port *port)
{
	if (!(port->flags & P2PDMA_PORT_PCIE))
		return NULL;
	switch (port->type) {
	case PCI_EXP_TYPE_ENDPOINT:
	case PCI_EXP_TYPE_LEG_END:
		return "endpoint";
	case PCI_EXP_TYPE_ROOT_PORT:
		return "root port";
	case PCI_EXP_TYPE_UPSTREAM:
		return "switch, upstream port";
	case PCI_EXP_TYPE_DOWNSTREAM:
		return "switch, downstream port";
	case PCI_EXP_TYPE_PCI_BRIDGE:
		return "bridge to conventional PCI";
	case PCI_EXP_TYPE_PCIE_BRIDGE:
		return "bridge from conventional PCI";
	case PCI_EXP_TYPE_RC_END:
		return "endpoint in the root complex";
	default:
		return "PCI Express device";
	}
}

void acs_words(const struct p2pdma_query_port *port, char *text, size_t size)
{
	static const struct {
		unsigned int bit;
		const char *name, *words;
	} bits[] = {
		{ PCI_ACS_SV, "SrcValid", "checks requester IDs" },
		{ PCI_ACS_TB, "TransBlk", "drops translated requests" },
		{ PCI_ACS_RR, "ReqRedir", "sends requests up" },
		{ PCI_ACS_CR, "CmpltRedir", "sends completions up" },
		{ PCI_ACS_UF, "UpstreamFwd", "passes on what was sent up" },
		{ PCI_ACS_EC, "EgressCtrl", "asks a table which peers to serve" },
		{ PCI_ACS_DT, "DirectTrans", "lets translated requests turn around" },
	};
	const char *between = "ACS ";
	unsigned int i, used = 0;

	if (port->flags & P2PDMA_PORT_ACS_UNKNOWN) {
		snprintf(text, size, "ACS unknown");
	} else if (!(port->flags & P2PDMA_PORT_ACS)) {
		snprintf(text, size, "no ACS");
	} else if (!port->acs_ctrl) {
		snprintf(text, size, "ACS off");
	} else {
		for (i = 0; i < ARRAY_SIZE(bits); i++) {
			if (!(port->acs_ctrl & bits[i].bit))
				continue;
			used += snprintf(text + used, size - used, "%s%s (%s)",
					 between, bits[i].words, bits[i].name);
			if (used >= size)
				return;
			between = ", ";
		}
	}
}

static const char *link_speed(unsigned int speed)
{
	static const char * const speeds[] = {
		NULL, "2.5", "5", "8", "16", "32", "64",
	};

	return speed && speed < ARRAY_SIZE(speeds) ?
	       speeds[speed] : "?";
}

void link_words(const struct p2pdma_query_port *port, char *text, size_t size)
{
	unsigned int speed = port->link_status & PCI_EXP_LNKSTA_CLS;
	unsigned int width = (port->link_status & PCI_EXP_LNKSTA_NLW) >>
			     PCI_EXP_LNKSTA_NLW_SHIFT;
	unsigned int most = port->link_cap & PCI_EXP_LNKCAP_SLS;
	unsigned int widest = (port->link_cap & PCI_EXP_LNKCAP_MLW) >> 4;

	if (!speed)
		snprintf(text, size, "link unknown");
	else if (!width)
		snprintf(text, size, "link down");
	else if (!most || !widest || (speed == most && width == widest))
		snprintf(text, size, "link %s GT/s x%u", link_speed(speed), width);
	else
		snprintf(text, size, "link %s GT/s x%u (of %s GT/s x%u)",
			 link_speed(speed), width, link_speed(most), widest);
}

void payload_words(const struct p2pdma_query_port *port, char *text, size_t size)
{
	if (port->payload == P2PDMA_NO_LIMIT)
		snprintf(text, size, "conventional PCI");
	else if (!port->payload)
		snprintf(text, size, "MPS unknown");
	else if (port->payload_max && port->payload_max != port->payload)
		snprintf(text, size, "MPS %u (of %u)", port->payload,
			 port->payload_max);
	else
		snprintf(text, size, "MPS %u", port->payload);
}

/* Is Translation Blocking all that @port, which is blocking, stops packets by? */
static bool blocks_translation(const struct p2pdma_query_port *port)
{
	if (!(port->flags & P2PDMA_PORT_ACS) || !(port->acs_ctrl & PCI_ACS_TB) ||
	    port->flags & P2PDMA_PORT_HARD_WIRED)
		return false;
	switch (port->leg) {
	case P2PDMA_LEG_SHARED:
		return port->acs_ctrl & PCI_ACS_UF;
	case P2PDMA_LEG_CLIENT:
		return !(port->acs_ctrl & (PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_EC));
	default:
		return false;
	}
}

const char *part_words(const struct p2pdma_query_port *port)
{
	if (port->flags & P2PDMA_PORT_BLOCKING && blocks_translation(port))
		return "DECIDES: drops what the device's ATS sends";
	if (port->flags & P2PDMA_PORT_BLOCKING &&
	    port->leg == P2PDMA_LEG_SHARED)
		return "DECIDES: doesn't pass on what ACS sends up";
	if (port->flags & P2PDMA_PORT_BLOCKING)
		return port->flags & P2PDMA_PORT_HARD_WIRED ?
			"DECIDES: packets can't turn around here, at any setting" :
			"DECIDES: packets don't turn around here";
	if (port->flags & P2PDMA_PORT_DECIDES)
		return port->flags & P2PDMA_PORT_TURN ?
			"decides: packets turn around here" : "decides";
	if (port->flags & P2PDMA_PORT_TURN)
		return "packets turn around here";
	return port->flags & P2PDMA_PORT_PAYLOAD ? "its payload counts" :
						    "plays no part";
}

const char *iommu_words(enum iommu iommu)
{
	switch (iommu) {
	case IOMMU_NONE:
		return "no IOMMU";
	case IOMMU_IDENTITY:
		return "IOMMU passes addresses through";
	case IOMMU_DMA:
		return "IOMMU translates (strict)";
	case IOMMU_DMA_FQ:
		return "IOMMU translates (lazy)";
	case IOMMU_BLOCKED:
		return "IOMMU blocks all DMA";
	case IOMMU_OTHER:
		return "IOMMU is a program's (VFIO)";
	default:
		return "IOMMU unknown";
	}
}

/* ---- What isn't known ---- */

const char *missing_words(enum missing missing)
{
	static const char * const what[] = {
		[MISSING_CAPS] =
			"config space beyond its first 64 bytes (MPS, ACS, ATS)",
		[MISSING_EXTENDED] = "extended config space (ACS, ATS)",
		[MISSING_REGISTER] = "a register in config space",
		[MISSING_IOMMU] = "whether an IOMMU translates its DMA",
		[MISSING_PROCESSOR] =
			"whether the processor forwards between its root ports",
		[MISSING_BRIDGE] = "the bridge above it",
	};

	return what[missing];
}

const char *missing_command(const struct machine *machine, enum missing missing)
{
	switch (missing) {
	case MISSING_CAPS:
	case MISSING_EXTENDED:
	case MISSING_REGISTER:
		if (machine->live && machine->root)
			return NULL;	/* it isn't there, or the device is off */
		return machine->live ? "run lsp2p as root" :
			"on that machine, as root: lspci -vvv -xxxx, or lsp2p dump";
	case MISSING_IOMMU:
		return machine->live ? "cat /sys/bus/pci/devices/ADDRESS/iommu_group/type" :
			"on that machine: lsp2p dump";
	default:
		return machine->live ? "lscpu" : "on that machine: lsp2p dump";
	}
}

/* ---- What helps ---- */

static bool kernel_is_before(const struct machine *machine, unsigned int version)
{
	return machine_release(machine) && machine_release(machine) < version;
}

/* The value of the last "disable_acs_redir=", which is the one that counts, or "" */
static const char *last_acs_ports(const struct machine *machine, size_t *length)
{
	static const char option[] = "disable_acs_redir=";
	const char *at = machine->cmdline, *last = "";

	while (at && (at = strstr(at, option))) {
		at += strlen(option);
		last = at;
	}
	*length = strcspn(last, " ,\"");
	return last;
}

/* Is the port in @list, such as "0000:02:14.0;02:12.0"? */
static bool has_port(const char *list, size_t length,
		     const struct p2pdma_pci_address *port)
{
	const char *end = list + length;
	char address[ADDRESS_SIZE];
	const char *brief;
	size_t size;

	address_text(port, address);
	brief = port->domain ? address : strchr(address, ':') + 1;
	for (; list < end; list += size + 1) {
		size = strcspn(list, "; ,\"");
		if ((size == strlen(address) &&
		     !strncasecmp(list, address, size)) ||
		    (size == strlen(brief) && !strncasecmp(list, brief, size)))
			return true;
	}
	return false;
}

bool has_stock_rules(const struct machine *machine)
{
	return machine->core == CORE_STOCK &&
	       machine_release(machine) == RELEASE(6, 12);
}

/*
 * Ports that stop packets and could do otherwise, the client's first; with those
 * that the command line has already, since of two such options the last counts.
 */
static char *acs_parameter(const struct route *route)
{
	char address[ADDRESS_SIZE], *text = NULL;
	unsigned int i, leg, ports = 0;
	const char *before, *between;
	size_t length, size;
	FILE *file;

	if (kernel_is_before(route->machine, RELEASE(4, 20)))
		return NULL;
	before = last_acs_ports(route->machine, &length);
	between = length ? ";" : "";
	file = open_memstream(&text, &size);
	if (!file)
		err(EXIT_UNKNOWN, NULL);
	fprintf(file, "pci=disable_acs_redir=%.*s", (int)length, before);
	for (leg = P2PDMA_LEG_CLIENT + 1; leg-- > P2PDMA_LEG_OWNER;) {
		for (i = 0; i < route->port_count; i++) {
			const struct p2pdma_query_port *port = &route->ports[i];

			if (port->leg != leg ||
			    !(port->flags & P2PDMA_PORT_BLOCKING) ||
			    port->flags & P2PDMA_PORT_HARD_WIRED)
				continue;
			ports++;
			if (has_port(before, length, &port->at))
				continue;
			fprintf(file, "%s%s", between,
				address_text(&port->at, address));
			between = ";";
		}
	}
	if (fclose(file))
		err(EXIT_UNKNOWN, NULL);
	if (!ports) {
		free(text);
		return NULL;
	}
	return text;
}

static char *copy(const char *text)
{
	char *new = strdup(text);

	if (!new)
		err(EXIT_UNKNOWN, NULL);
	return new;
}

char *fix_parameter(const struct route *route)
{
	switch (route->answer.fix) {
	case P2PDMA_FIX_ACS:
		return acs_parameter(route);
	case P2PDMA_FIX_MPS:
		return copy("pci=pcie_bus_peer2peer");
	case P2PDMA_FIX_ATS:
		return copy("pci=noats");
	default:
		return NULL;
	}
}

/* What else a parameter does; NULL for nothing */
const char *fix_note(const struct route *route)
{
	static const char * const acs[] = {
		[false] = "The ports' other ACS bits become what the firmware has set. Of several such options the kernel takes the last: join all ports in one.",
		[true] = "The ports' other ACS bits become what the firmware has set. Some kernels from 6.11 to 6.14 leave the bits on that the firmware has set: ask again after booting.",
	};
	static const char * const notes[] = {
		[P2PDMA_FIX_NONE] = NULL,
		[P2PDMA_FIX_MPS] =
			"All payloads become 128 bytes, which costs throughput.",
		[P2PDMA_FIX_ATS] =
			"All devices lose their caches of translations, and shared virtual addressing.",
	};
	unsigned int version = machine_release(route->machine);

	if (route->answer.fix == P2PDMA_FIX_ACS)
		return acs[route->machine->core != CORE_OURS &&
			   version >= RELEASE(6, 11) &&
			   version < RELEASE(6, 15)];
	return route->answer.fix < ARRAY_SIZE(notes) ?
	       notes[route->answer.fix] : NULL;
}
