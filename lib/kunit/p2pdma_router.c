// SPDX-License-Identifier: GPL-2.0
/*
 * A model of how packets travel in a PCI fabric.
 *
 * A packet starts at a function and goes from element to element.  Each
 * element decides by the information that hardware has there: bridges by their
 * windows for requests and by their bus numbers for completions, switch
 * downstream ports, root ports and functions of multi-function devices by ACS,
 * receivers by Max_Payload_Size.  The model has no notion of legs or of a common
 * ancestor: where packets turn around is a result.  The fates of the packets
 * that client and provider send tell how they reach each other.
 *
 * The DMA API gives a client IOVAs, which no bridge knows, or CPU addresses,
 * which bridges compare with their windows although these are bus addresses.
 * Only the root complex translates either.
 *
 * Simplifications: no ordering, no credits, no translation caches, no function
 * groups.  A root complex is one element with one policy; its ports and
 * endpoints reach each other only through it.  On a conventional bus a read is
 * one transaction in hardware; here its data are routed by bus numbers, which
 * take the same path.
 *
 * A PCIe function may send at most its own Max_Payload_Size of data in a
 * packet, and in this model always sends that much.  Firmware and kernel ensure
 * that this suits the path to the root complex, so packets can be too large only
 * for receivers behind the place where they turn around.  A root port that sends
 * them on may split them to its own Max_Payload_Size, but not further.
 */

#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/minmax.h>
#include <linux/pci_regs.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "p2pdma_router.h"

/* Bits of an Egress Control Vector */
enum egress { EGRESS_CLEAR, EGRESS_SET, EGRESS_UNKNOWN };

struct packet {
	struct p2pdma_router_tlp tlp;
	int from;		/* function that sends it */
	int to;			/* function that it is meant for */
	int host;		/* whose addresses and bus numbers it uses */
	u64 address;		/* requests */
	bool own;		/* @address is a bus address of the target */
	u16 id;			/* of the target; completions go by it */
	unsigned int payload;	/* bytes of data it may have; 0: no packet yet */
	bool malformed;		/* too large for a receiver on the way */
	enum egress open;	/* stands for bits that the specification has not */
};

/* For messages */
const char * const p2pdma_router_fate_name[] = {
	[P2PDMA_ROUTER_DELIVERED] = "delivered",
	[P2PDMA_ROUTER_ROOT_COMPLEX] = "root complex",
	[P2PDMA_ROUTER_BLOCKED] = "blocked",
	[P2PDMA_ROUTER_MALFORMED] = "too large",
	[P2PDMA_ROUTER_LOST] = "lost",
	[P2PDMA_ROUTER_STRAY] = "stray",
	[P2PDMA_ROUTER_UNKNOWN] = "unknown",
};

const char * const p2pdma_router_sent_name[] = {
	[P2PDMA_ROUTER_BUS_WRITE] = "write by bus address",
	[P2PDMA_ROUTER_BUS_READ] = "read by bus address",
	[P2PDMA_ROUTER_DMA_WRITE] = "write by DMA address",
	[P2PDMA_ROUTER_DMA_READ] = "read by DMA address",
	[P2PDMA_ROUTER_DMA_TRANSLATION] = "translation request",
	[P2PDMA_ROUTER_TRANSLATED_WRITE] = "translated write",
	[P2PDMA_ROUTER_TRANSLATED_READ] = "translated read",
	[P2PDMA_ROUTER_COMPLETION] = "completion",
	[P2PDMA_ROUTER_RELAXED_COMPLETION] = "relaxed completion",
};

const char * const p2pdma_router_map_name[] = {
	[PCI_P2PDMA_MAP_UNKNOWN] = "unknown",
	[PCI_P2PDMA_MAP_NOT_SUPPORTED] = "not supported",
	[PCI_P2PDMA_MAP_BUS_ADDR] = "bus address",
	[PCI_P2PDMA_MAP_THRU_HOST_BRIDGE] = "through host bridge",
};

/* What a function does with a packet from below that a sibling claims */
enum turn { TURN_DIRECT, TURN_REDIRECT, TURN_BLOCK, TURN_UNKNOWN };

/* Host bridges that forward between root ports, as this model knows them */
static const struct {
	u16 vendor;
	u16 device_id;
	bool same_only;		/* not together with another host bridge */
	bool write_only;
} forwarding[] = {
	{ 0x8086, 0x2030 },
	{ 0x8086, 0x3c00, .same_only = true },
	/* The administrator's list in the tests */
	{ 0x8086, 0x29c0, .write_only = true },
};

/* Functions that redirect everything without ACS, as quirks.c knows them */
static const struct {
	u16 vendor;
	u16 device_id;
} isolated[] = {
	{ 0x1924, 0x0903 },	/* Solarflare: an adapter */
	{ 0x8088, 0x1001 },	/* Wangxun: an adapter */
	{ 0x1d17, 0x0710 },	/* Zhaoxin: a port */
};

static bool is_bridge(const struct p2pdma_router_function *f)
{
	switch (f->kind) {
	case PCI_FABRIC_ROOT_PORT:
	case PCI_FABRIC_UPSTREAM:
	case PCI_FABRIC_DOWNSTREAM:
	case PCI_FABRIC_PCI_BRIDGE:
	case PCI_FABRIC_PCI_PCI_BRIDGE:
		return true;
	default:
		return false;
	}
}

static bool is_pcie(const struct p2pdma_router_function *f)
{
	return f->kind != PCI_FABRIC_PCI_PCI_BRIDGE &&
	       f->kind != PCI_FABRIC_PCI_DEVICE && f->kind != PCI_FABRIC_HOST;
}

static bool has_link(const struct p2pdma_router_function *f)
{
	return f->kind == PCI_FABRIC_ROOT_PORT ||
	       f->kind == PCI_FABRIC_DOWNSTREAM;
}

static bool is_request(const struct packet *p)
{
	return p->tlp.packet != P2PDMA_ROUTER_PACKET_COMPLETION;
}

/* ACS controls that are on */
static u16 acs(const struct p2pdma_router_function *f)
{
	return f->acs_ctrl & f->acs_cap;
}

static bool within(const u64 window[2], u64 address)
{
	return window[0] <= address && address <= window[1];
}

/* Whether @f claims @p, for itself or for a device below */
static bool claims(const struct p2pdma_router_function *f, const struct packet *p)
{
	if (f->host != p->host)
		return false;
	if (!is_request(p)) {
		u8 bus = p->id >> 8;

		return f->id == p->id || (is_bridge(f) &&
		       f->secondary <= bus && bus <= f->subordinate);
	}
	if (p->tlp.address == P2PDMA_ROUTER_IOVA)
		return false;
	if (f->bar_size && p->address >= f->bar &&
	    p->address - f->bar < f->bar_size)
		return true;
	return is_bridge(f) && (within(f->memory, p->address) ||
				within(f->prefetch, p->address));
}

/* Another function on the same bus as @f that claims @p; -1 for none */
static int claimant(const struct p2pdma_router *router,
		    const struct p2pdma_router_function *f,
		    const struct packet *p)
{
	int i;

	for (i = 0; i < router->count; i++) {
		const struct p2pdma_router_function *g = &router->function[i];

		if (g != f && g->above == f->above && claims(g, p))
			return i;
	}
	return -1;
}

/* Max_Payload_Size, which virtual functions share with their PF */
static unsigned int max_payload(const struct p2pdma_router *router,
				const struct p2pdma_router_function *f)
{
	return is_pcie(f) ? router->function[f->pf].mps : 0;
}

/* @f receives the packet.  The first PCIe function on the path sends it. */
static void receive(const struct p2pdma_router *router,
		    const struct p2pdma_router_function *f, struct packet *p)
{
	unsigned int mps = max_payload(router, f);

	if (!mps || p->tlp.packet == P2PDMA_ROUTER_PACKET_READ)
		return;
	if (!p->payload)
		p->payload = mps;
	else if (p->payload > mps)
		p->malformed = true;
}

/*
 * Whether @p can go from @f to its siblings at all.  Base Specification,
 * 6.12.1.2: a function of a device with several, virtual ones among them, that
 * sends peer-to-peer requests to others must have Request Redirect, and with
 * that it must have Completion Redirect.  This only applies to functions with
 * an ACS capability: one without it is assumed to send such requests.
 */
static bool has_way(const struct p2pdma_router_function *f,
		    const struct packet *p)
{
	u16 needs = PCI_ACS_RR;
	int i;

	for (i = 0; i < ARRAY_SIZE(isolated); i++)
		if (f->vendor == isolated[i].vendor &&
		    f->device_id == isolated[i].device_id)
			return false;
	/* Switch ports always can */
	if (f->kind == PCI_FABRIC_DOWNSTREAM || !f->acs_cap)
		return true;
	if (!is_request(p))
		needs |= PCI_ACS_CR;
	return (f->acs_cap & needs) == needs;
}

/* Direct Translated P2P: neither Request Redirect nor Egress Control applies */
static bool translated_goes_direct(const struct p2pdma_router_function *f,
				   const struct packet *p)
{
	return p->tlp.type == P2PDMA_ROUTER_TRANSLATED &&
	       (acs(f) & (PCI_ACS_DT | PCI_ACS_TB)) == PCI_ACS_DT;
}

/*
 * The bit for packets to @sibling in the Egress Control Vector of @f.  Ports are
 * told apart by port number.  Functions of one device are told apart by the
 * number that they have on its bus: below a link there is no other device, but
 * on a root bus there is.
 */
static enum egress egress(const struct p2pdma_router *router,
			  const struct p2pdma_router_function *f,
			  const struct p2pdma_router_function *sibling,
			  const struct packet *p)
{
	unsigned int number;

	if (has_link(f)) {
		if (!has_link(sibling) || sibling->above != f->above)
			return p->open;
		number = sibling->port;
	} else if (router->function[f->above].kind == PCI_FABRIC_HOST) {
		number = sibling->id & 7;
	} else {
		if (sibling->id >> 8 != f->id >> 8)
			return p->open;
		number = sibling->id & 0xff;
	}
	if (number >= f->vector)
		return p->open;
	return test_bit(number, f->egress) ? EGRESS_SET : EGRESS_CLEAR;
}

/*
 * Base Specification, 6.12.3, for the ingress function @f when @sibling claims
 * the packet. Below a link all functions are one device, and devices on a
 * conventional bus have no ACS.
 */
static enum turn judge(const struct p2pdma_router *router,
		       const struct p2pdma_router_function *f,
		       const struct p2pdma_router_function *sibling,
		       const struct packet *p)
{
	enum turn straight = TURN_DIRECT;
	u16 ctrl = acs(f);

	/* ACS never applies to PCIe to PCI bridges */
	if (f->kind == PCI_FABRIC_PCI_BRIDGE)
		return TURN_DIRECT;
	if (!has_way(f, p))
		straight = TURN_REDIRECT;
	if (!is_request(p))
		return ctrl & PCI_ACS_CR && !p->tlp.relaxed ? TURN_REDIRECT :
							      straight;
	if (translated_goes_direct(f, p))
		return straight;
	if (!(ctrl & PCI_ACS_EC))
		return ctrl & PCI_ACS_RR ? TURN_REDIRECT : straight;
	switch (egress(router, f, sibling, p)) {
	case EGRESS_CLEAR:
		return straight;
	case EGRESS_SET:
		return ctrl & PCI_ACS_RR ? TURN_REDIRECT : TURN_BLOCK;
	default:
		return TURN_UNKNOWN;
	}
}

/* @at receives a packet on its way down, and bridges forward it */
static enum p2pdma_router_fate go_down(const struct p2pdma_router *router,
				       int at, struct packet *p)
{
	int i;

	for (;;) {
		receive(router, &router->function[at], p);
		/* The target may be the bridge itself */
		if (!is_bridge(&router->function[at]) ||
		    router->function[at].id == p->id)
			break;
		for (i = 0; i < router->count; i++)
			if (router->function[i].above == at &&
			    claims(&router->function[i], p))
				break;
		if (i == router->count)
			return P2PDMA_ROUTER_LOST;
		at = i;
	}
	return p->malformed ? P2PDMA_ROUTER_MALFORMED : P2PDMA_ROUTER_DELIVERED;
}

/*
 * Egress Control at the root complex, for a request that reaches it through @f
 * and leaves it through @out.  If it isn't blocked it is the root complex that
 * decides, whether or not it is redirected.
 */
static enum egress root_egress(const struct p2pdma_router *router,
			       const struct p2pdma_router_function *f,
			       const struct p2pdma_router_function *out,
			       const struct packet *p)
{
	if ((acs(f) & (PCI_ACS_EC | PCI_ACS_RR)) != PCI_ACS_EC ||
	    translated_goes_direct(f, p) || f->kind == PCI_FABRIC_PCI_BRIDGE)
		return EGRESS_CLEAR;
	/* A function that is no port knows the other ones of its device only */
	if (f->kind != PCI_FABRIC_ROOT_PORT &&
	    (out->above != f->above || (out->id ^ f->id) & ~7))
		return EGRESS_CLEAR;
	return egress(router, f, out, p);
}

/* Whether all receivers below the root port @out accept what it sends to p->to */
static bool fits_below(const struct p2pdma_router *router, int out,
		       const struct packet *p)
{
	unsigned int payload = router->function[out].mps, accepts;
	int i;

	if (router->function[out].kind != PCI_FABRIC_ROOT_PORT ||
	    p->tlp.packet == P2PDMA_ROUTER_PACKET_READ)
		return true;
	if (p->payload)
		payload = min(payload, p->payload);
	for (i = p->to; i != out; i = router->function[i].above) {
		accepts = max_payload(router, &router->function[i]);
		if (accepts && accepts < payload)
			return false;
	}
	return true;
}

/* A packet leaves @at, which is on a root bus, on its way up */
static enum p2pdma_router_fate reach_root(const struct p2pdma_router *router,
					  int at, const struct packet *p)
{
	const struct p2pdma_router_function *f = &router->function[at];
	bool from_link = has_link(f) && at != p->from;
	const struct p2pdma_router_function *out;
	int i = p->to;

	/* The address in a root port's window, but of another device */
	if (is_request(p) && from_link && claims(f, p) && !p->own)
		return P2PDMA_ROUTER_STRAY;
	/*
	 * The root complex answers translation requests itself, and mappings
	 * never rely on what it does to a bus address.
	 */
	if (p->tlp.type == P2PDMA_ROUTER_TRANSLATION ||
	    (is_request(p) && p->tlp.address == P2PDMA_ROUTER_BUS_ADDRESS))
		return P2PDMA_ROUTER_ROOT_COMPLEX;

	while (router->function[router->function[i].above].kind != PCI_FABRIC_HOST)
		i = router->function[i].above;
	out = &router->function[i];
	if (from_link && out == f) {
		/* Without the capability bit, it is a matter of policy */
		if (f->acs_cap & PCI_ACS_UF && !(acs(f) & PCI_ACS_UF))
			return P2PDMA_ROUTER_LOST;
	} else if (is_request(p)) {
		switch (root_egress(router, f, out, p)) {
		case EGRESS_CLEAR:
			break;
		case EGRESS_SET:
			return P2PDMA_ROUTER_BLOCKED;
		default:
			return P2PDMA_ROUTER_UNKNOWN;
		}
	}
	return fits_below(router, i, p) ? P2PDMA_ROUTER_ROOT_COMPLEX :
					  P2PDMA_ROUTER_MALFORMED;
}

/*
 * A packet on its way up leaves @at through its upper side.  It got there from
 * below, or was sent by @at itself.
 */
static enum p2pdma_router_fate go_up(const struct p2pdma_router *router, int at,
				     struct packet *p)
{
	const struct p2pdma_router_function *f, *above;
	int sibling;

	for (;; at = f->above) {
		f = &router->function[at];
		above = &router->function[f->above];
		receive(router, f, p);

		/* Translation Blocking comes before all other rules */
		if (has_link(f) && at != p->from && is_request(p) &&
		    p->tlp.type != P2PDMA_ROUTER_UNTRANSLATED &&
		    acs(f) & PCI_ACS_TB)
			return P2PDMA_ROUTER_BLOCKED;

		if (above->kind == PCI_FABRIC_HOST)
			return reach_root(router, at, p);

		/* A packet from its target's side was redirected below */
		if (f->kind == PCI_FABRIC_DOWNSTREAM && claims(f, p)) {
			if (!p->own)
				return P2PDMA_ROUTER_STRAY;
			if (acs(f) & PCI_ACS_UF)
				continue;
			return P2PDMA_ROUTER_LOST;
		}

		sibling = claimant(router, f, p);
		if (sibling >= 0) {
			if (!p->own)
				return P2PDMA_ROUTER_STRAY;
			switch (judge(router, f, &router->function[sibling], p)) {
			case TURN_DIRECT:
				/* No device but the root complex translates */
				if (p->tlp.type == P2PDMA_ROUTER_TRANSLATION)
					return P2PDMA_ROUTER_STRAY;
				return go_down(router, sibling, p);
			case TURN_BLOCK:
				return P2PDMA_ROUTER_BLOCKED;
			case TURN_UNKNOWN:
				return P2PDMA_ROUTER_UNKNOWN;
			case TURN_REDIRECT:
				continue;
			}
		}

		/* All functions inside a switch or on the bus have seen it */
		if (!has_link(above) && claims(above, p))
			return p->own ? P2PDMA_ROUTER_LOST : P2PDMA_ROUTER_STRAY;
	}
}

static enum p2pdma_router_fate send_packet(const struct p2pdma_router *router,
					   const struct p2pdma_router_tlp *tlp,
					   int from, int to, enum egress open)
{
	const struct p2pdma_router_function *sender = &router->function[from];
	const struct p2pdma_router_function *target = &router->function[to];
	struct packet p = {
		.tlp = *tlp,
		.from = from,
		.to = to,
		.host = target->host,
		.address = target->bar,
		.own = true,
		.id = target->id,
		.open = open,
	};

	/* Packets of a function to itself stay inside */
	if (from == to)
		return P2PDMA_ROUTER_DELIVERED;
	if (is_request(&p) && tlp->address == P2PDMA_ROUTER_CPU_ADDRESS) {
		p.host = sender->host;
		p.address = target->cpu;
		p.own = sender->host == target->host && target->cpu == target->bar;
	}
	return go_up(router, from, &p);
}

/**
 * p2pdma_router_send - Send one packet and see where it ends
 * @router: the model
 * @tlp: the packet
 * @from: index of the function that sends it
 * @to: index of the function whose BAR 0 or ID it is sent to
 *
 * Context: any.
 * Return: P2PDMA_ROUTER_*.
 */
enum p2pdma_router_fate
p2pdma_router_send(const struct p2pdma_router *router,
		   const struct p2pdma_router_tlp *tlp, int from, int to)
{
	return send_packet(router, tlp, from, to, EGRESS_UNKNOWN);
}

/* The function whose IDs identify the host bridge of @index */
static const struct p2pdma_router_function *
host_bridge_identity(const struct p2pdma_router *router, int index)
{
	int host = router->function[index].host;
	const struct p2pdma_router_function *f;
	int i;

	for (i = 0; i < router->count; i++) {
		f = &router->function[i];
		if (f->above == host && !(f->id & 0xff))
			return f;
	}
	while (router->function[index].above != host)
		index = router->function[index].above;
	f = &router->function[index];
	return f->kind == PCI_FABRIC_ROOT_PORT ? f : NULL;
}

/**
 * p2pdma_router_policy - What the root complex forwards between two functions
 * @router: the model
 * @client: index of the client
 * @provider: index of the provider
 * @cpu_allows: whether the CPU forwards, regardless of its host bridges
 *
 * Context: any.
 * Return: P2PDMA_ROUTER_* that it lets pass.
 */
unsigned int p2pdma_router_policy(const struct p2pdma_router *router,
				  int client, int provider, bool cpu_allows)
{
	unsigned int policy = P2PDMA_ROUTER_READ | P2PDMA_ROUTER_WRITE;
	const int index[] = { client, provider };
	const struct p2pdma_router_function *f;
	bool same;
	int i, k;

	if (cpu_allows)
		return policy;
	same = router->function[client].host == router->function[provider].host;
	for (i = 0; i < ARRAY_SIZE(index); i++) {
		f = host_bridge_identity(router, index[i]);
		if (!f)
			return 0;
		for (k = 0; k < ARRAY_SIZE(forwarding); k++)
			if (f->vendor == forwarding[k].vendor &&
			    f->device_id == forwarding[k].device_id)
				break;
		if (k == ARRAY_SIZE(forwarding))
			return 0;
		if (forwarding[k].same_only && !same)
			return 0;
		if (forwarding[k].write_only)
			policy = P2PDMA_ROUTER_WRITE;
	}
	return policy;
}

static bool overlap(const u64 window[2], u64 first, u64 last)
{
	return window[0] <= window[1] && window[0] <= last && first <= window[1];
}

/**
 * p2pdma_router_address_taken - Whether a CPU address may be another bus address
 * @router: the model
 * @client: index of the client
 * @provider: index of the provider; it has a BAR 0
 *
 * If so, packets that the client sends to the provider by CPU address may end
 * at another device, now or later.
 *
 * Context: any.
 * Return: true if a part of BAR 0, by CPU address, is in a window that the
 * client's host bridge has for bus addresses, and isn't the BAR itself there.
 */
bool p2pdma_router_address_taken(const struct p2pdma_router *router, int client,
				 int provider)
{
	const struct p2pdma_router_function *f = &router->function[provider];
	int host = router->function[client].host;
	const struct p2pdma_router_function *bridge = &router->function[host];
	u64 last = f->cpu + f->bar_size - 1;

	if (f->host == host && f->cpu == f->bar)
		return false;
	return overlap(bridge->memory, f->cpu, last) ||
	       overlap(bridge->prefetch, f->cpu, last);
}

/* A transfer between client and provider */
struct transfer {
	const struct p2pdma_router *router;
	int client;
	int provider;
	enum egress open;
	struct p2pdma_router_answer *answer;
};

static enum p2pdma_router_fate transmit(const struct transfer *t,
					enum p2pdma_router_sent what,
					enum p2pdma_router_type type,
					enum p2pdma_router_address address)
{
	struct p2pdma_router_tlp tlp = { .type = type, .address = address };
	int from = t->client, to = t->provider;

	switch (what) {
	case P2PDMA_ROUTER_BUS_WRITE:
	case P2PDMA_ROUTER_DMA_WRITE:
	case P2PDMA_ROUTER_TRANSLATED_WRITE:
		tlp.packet = P2PDMA_ROUTER_PACKET_WRITE;
		break;
	case P2PDMA_ROUTER_COMPLETION:
	case P2PDMA_ROUTER_RELAXED_COMPLETION:
		tlp.packet = P2PDMA_ROUTER_PACKET_COMPLETION;
		tlp.relaxed = what == P2PDMA_ROUTER_RELAXED_COMPLETION;
		swap(from, to);
		break;
	default:
		tlp.packet = P2PDMA_ROUTER_PACKET_READ;
		break;
	}
	t->answer->sent |= BIT(what);
	t->answer->fate[what] = send_packet(t->router, &tlp, from, to, t->open);
	return t->answer->fate[what];
}

/* Directions in which a packet arrives, directly or forwarded by @policy */
static unsigned int arrives(enum p2pdma_router_fate fate, unsigned int policy)
{
	switch (fate) {
	case P2PDMA_ROUTER_DELIVERED:
		return P2PDMA_ROUTER_READ | P2PDMA_ROUTER_WRITE;
	case P2PDMA_ROUTER_ROOT_COMPLEX:
		return policy;
	default:
		return 0;
	}
}

/* Directions in which a write request and a read request arrive */
static unsigned int requests(const struct transfer *t,
			     enum p2pdma_router_sent write,
			     enum p2pdma_router_sent read,
			     enum p2pdma_router_type type,
			     enum p2pdma_router_address address,
			     unsigned int policy)
{
	return (arrives(transmit(t, write, type, address), policy) &
		P2PDMA_ROUTER_WRITE) |
	       (arrives(transmit(t, read, type, address), policy) &
		P2PDMA_ROUTER_READ);
}

/* The directions that writes, and reads whose completions arrive, have */
static unsigned int with_completions(const struct p2pdma_router_answer *answer,
				     unsigned int directions,
				     unsigned int policy)
{
	static const enum p2pdma_router_sent completions[] = {
		P2PDMA_ROUTER_COMPLETION, P2PDMA_ROUTER_RELAXED_COMPLETION
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(completions); i++)
		if (answer->sent & BIT(completions[i]))
			directions &= arrives(answer->fate[completions[i]], policy) |
				      P2PDMA_ROUTER_WRITE;
	return directions;
}

static unsigned int by_bus_address(const struct transfer *t,
				   const struct p2pdma_router_client *facts)
{
	enum p2pdma_router_type type = facts->translated ?
		P2PDMA_ROUTER_TRANSLATED : P2PDMA_ROUTER_UNTRANSLATED;

	/* Nothing tells the device that an address isn't to be translated */
	if (facts->ats && !facts->chooses && !facts->translated)
		return 0;
	return with_completions(t->answer,
				requests(t, P2PDMA_ROUTER_BUS_WRITE,
					 P2PDMA_ROUTER_BUS_READ, type,
					 P2PDMA_ROUTER_BUS_ADDRESS, 0), 0);
}

static unsigned int through_host_bridge(const struct transfer *t,
					const struct p2pdma_router_client *facts,
					unsigned int policy)
{
	enum p2pdma_router_address address = facts->iommu ?
		P2PDMA_ROUTER_IOVA : P2PDMA_ROUTER_CPU_ADDRESS;
	unsigned int directions;

	if (facts->ranges && !facts->iommu)
		return 0;
	directions = requests(t, P2PDMA_ROUTER_DMA_WRITE, P2PDMA_ROUTER_DMA_READ,
			      P2PDMA_ROUTER_UNTRANSLATED, address, policy);
	/* A device with ATS may translate before it sends, or not */
	if (facts->ats && (facts->translated || !facts->chooses)) {
		if (transmit(t, P2PDMA_ROUTER_DMA_TRANSLATION,
			     P2PDMA_ROUTER_TRANSLATION, address) !=
		    P2PDMA_ROUTER_ROOT_COMPLEX)
			directions = 0;
		directions &= requests(t, P2PDMA_ROUTER_TRANSLATED_WRITE,
				       P2PDMA_ROUTER_TRANSLATED_READ,
				       P2PDMA_ROUTER_TRANSLATED,
				       P2PDMA_ROUTER_CPU_ADDRESS, policy);
	}
	return with_completions(t->answer, directions, policy);
}

/* With @open in place of bits that the specification has not */
static void find_route(const struct p2pdma_router *router, int client,
		       int provider, const struct p2pdma_router_client *facts,
		       unsigned int policy, enum egress open,
		       struct p2pdma_router_answer *answer)
{
	struct transfer t = {
		.router = router,
		.client = client,
		.provider = provider,
		.open = open,
		.answer = answer,
	};
	unsigned int direct, through;

	*answer = (struct p2pdma_router_answer) {
		.map_type = PCI_P2PDMA_MAP_NOT_SUPPORTED
	};
	/* No packet leaves a function that accesses its own memory */
	if (client == provider) {
		answer->map_type = PCI_P2PDMA_MAP_BUS_ADDR;
		answer->directions = P2PDMA_ROUTER_READ | P2PDMA_ROUTER_WRITE;
		return;
	}
	if (facts->translated && !facts->ats)
		return;
	if (!facts->relaxed)
		transmit(&t, P2PDMA_ROUTER_COMPLETION, 0, 0);
	transmit(&t, P2PDMA_ROUTER_RELAXED_COMPLETION, 0, 0);
	direct = by_bus_address(&t, facts);
	through = through_host_bridge(&t, facts, policy);

	if (hweight8(through) > hweight8(direct)) {
		answer->map_type = PCI_P2PDMA_MAP_THRU_HOST_BRIDGE;
		answer->directions = through;
	} else if (direct) {
		answer->map_type = PCI_P2PDMA_MAP_BUS_ADDR;
		answer->directions = direct;
	}
}

/**
 * p2pdma_router_route - How a client reaches a provider
 * @router: the model
 * @client: index of the client
 * @provider: index of the provider; it has a BAR 0
 * @facts: about the client and the mapping
 * @policy: what the root complex forwards between them, P2PDMA_ROUTER_*
 * @answer: filled in
 *
 * The map type is that which gives more directions, bus addresses where both
 * give the same.
 *
 * Context: any.
 */
void p2pdma_router_route(const struct p2pdma_router *router, int client,
			 int provider, const struct p2pdma_router_client *facts,
			 unsigned int policy,
			 struct p2pdma_router_answer *answer)
{
	struct p2pdma_router_answer clear, set;
	int i;

	find_route(router, client, provider, facts, policy, EGRESS_UNKNOWN,
		   answer);
	for (i = 0; i < P2PDMA_ROUTER_SENT; i++)
		if (answer->sent & BIT(i) &&
		    answer->fate[i] == P2PDMA_ROUTER_UNKNOWN)
			break;
	if (i == P2PDMA_ROUTER_SENT)
		return;

	/* Does it matter? */
	find_route(router, client, provider, facts, policy, EGRESS_CLEAR, &clear);
	find_route(router, client, provider, facts, policy, EGRESS_SET, &set);
	answer->unknown = clear.map_type != set.map_type ||
			  clear.directions != set.directions;
	answer->map_type = answer->unknown ? PCI_P2PDMA_MAP_NOT_SUPPORTED :
					     clear.map_type;
	answer->directions = answer->unknown ? 0 : clear.directions;
}

/**
 * p2pdma_router_ext_cap - Find an extended capability by reading config space
 * @fabric: the fabric
 * @name: of the node
 * @id: PCI_EXT_CAP_ID_*
 *
 * Context: as pci_fabric_read().
 * Return: its offset, 0 for none.
 */
u16 p2pdma_router_ext_cap(struct pci_fabric *fabric, const char *name, u16 id)
{
	u16 where = PCI_CFG_SPACE_SIZE;
	u32 header;

	do {
		header = pci_fabric_read(fabric, name, where, 4);
		if (header && PCI_EXT_CAP_ID(header) == id)
			return where;
		where = PCI_EXT_CAP_NEXT(header);
	} while (where >= PCI_CFG_SPACE_SIZE);
	return 0;
}

static u64 read_bar(struct pci_fabric *fabric, const char *name, int where)
{
	u32 low = pci_fabric_read(fabric, name, where, 4);
	u64 address = low & PCI_BASE_ADDRESS_MEM_MASK & U32_MAX;

	if (low & PCI_BASE_ADDRESS_MEM_TYPE_64)
		address |= (u64)pci_fabric_read(fabric, name, where + 4, 4) << 32;
	return address;
}

static void read_bridge(struct pci_fabric *fabric, struct p2pdma_router_function *f)
{
	u32 base, limit;

	f->secondary = pci_fabric_read(fabric, f->name, PCI_SECONDARY_BUS, 1);
	f->subordinate = pci_fabric_read(fabric, f->name, PCI_SUBORDINATE_BUS, 1);

	base = pci_fabric_read(fabric, f->name, PCI_MEMORY_BASE, 2);
	limit = pci_fabric_read(fabric, f->name, PCI_MEMORY_LIMIT, 2);
	f->memory[0] = (base & 0xfff0) << 16;
	f->memory[1] = (limit & 0xfff0) << 16 | 0xfffff;

	base = pci_fabric_read(fabric, f->name, PCI_PREF_MEMORY_BASE, 2);
	limit = pci_fabric_read(fabric, f->name, PCI_PREF_MEMORY_LIMIT, 2);
	f->prefetch[0] = (base & 0xfff0) << 16;
	f->prefetch[1] = (limit & 0xfff0) << 16 | 0xfffff;
	if ((base & PCI_PREF_RANGE_TYPE_MASK) != PCI_PREF_RANGE_TYPE_64)
		return;
	base = pci_fabric_read(fabric, f->name, PCI_PREF_BASE_UPPER32, 4);
	limit = pci_fabric_read(fabric, f->name, PCI_PREF_LIMIT_UPPER32, 4);
	f->prefetch[0] |= (u64)base << 32;
	f->prefetch[1] |= (u64)limit << 32;
}

/* Number and place of virtual functions, by config space (9.3.3) */
static u16 sriov(struct pci_fabric *fabric, const struct pci_fabric_node *node,
		 unsigned int *count)
{
	u16 where, ctrl;

	*count = 0;
	if (!node->total_vfs)
		return 0;
	where = p2pdma_router_ext_cap(fabric, node->name,
				      PCI_EXT_CAP_ID_SRIOV);
	ctrl = pci_fabric_read(fabric, node->name, where + PCI_SRIOV_CTRL, 2);
	if (ctrl & PCI_SRIOV_CTRL_VFE)
		*count = pci_fabric_read(fabric, node->name,
					 where + PCI_SRIOV_NUM_VF, 2);
	return where;
}

/* Addresses of a host bridge's windows, bus side */
static void read_host(struct pci_fabric *fabric, struct p2pdma_router_function *f)
{
	struct pci_fabric_window window;

	pci_fabric_host_window(fabric, f->name, PCI_FABRIC_WINDOW_32, &window);
	f->memory[0] = window.bus;
	f->memory[1] = window.bus + window.size - 1;
	pci_fabric_host_window(fabric, f->name, PCI_FABRIC_WINDOW_64, &window);
	f->prefetch[0] = window.bus;
	f->prefetch[1] = window.bus + window.size - 1;
}

/* CPU address of BAR 0 of @f */
static u64 cpu_address(struct pci_fabric *fabric,
		       const struct p2pdma_router *router,
		       const struct p2pdma_router_function *f)
{
	const struct p2pdma_router_function *host = &router->function[f->host];
	struct pci_fabric_window window;
	bool low = within(host->memory, f->bar);

	pci_fabric_host_window(fabric, host->name,
			       low ? PCI_FABRIC_WINDOW_32 : PCI_FABRIC_WINDOW_64,
			       &window);
	return f->bar - window.bus + window.cpu;
}

static void add_vfs(struct pci_fabric *fabric, struct p2pdma_router *router,
		    const struct pci_fabric_node *node, int pf, int *next)
{
	const struct p2pdma_router_function *physfn = &router->function[pf];
	u16 where, offset, stride;
	unsigned int i, count;
	u64 bar;

	where = sriov(fabric, node, &count);
	if (!count)
		return;
	offset = pci_fabric_read(fabric, node->name,
				 where + PCI_SRIOV_VF_OFFSET, 2);
	stride = pci_fabric_read(fabric, node->name,
				 where + PCI_SRIOV_VF_STRIDE, 2);
	bar = read_bar(fabric, node->name, where + PCI_SRIOV_BAR);

	for (i = 0; i < count; i++) {
		struct p2pdma_router_function *f = &router->function[(*next)++];

		*f = *physfn;
		snprintf(f->name, sizeof(f->name), "%s/%u", node->name, i);
		f->id += offset + stride * i;
		f->bar_size = node->vf_bar0;
		f->bar = bar + f->bar_size * i;
		f->cpu = cpu_address(fabric, router, f);
		f->acs_cap = node->vf_acs_cap;
		f->acs_ctrl = 0;
	}
}

/**
 * p2pdma_router_create - Make a model of a fabric as it is now
 * @fabric: the fabric
 * @nodes: the table that it was made from
 * @count: number of nodes
 *
 * Addresses and bus numbers are read from config space.  ACS control and
 * payload sizes are those of the table; a test that changes them in the fabric
 * later changes them in the model too.
 *
 * Context: may sleep.
 * Return: the model, for kfree(), or NULL.
 */
struct p2pdma_router *
p2pdma_router_create(struct pci_fabric *fabric,
		     const struct pci_fabric_node *nodes, size_t count)
{
	struct p2pdma_router *router;
	struct p2pdma_router_function *f;
	unsigned int i, vfs, total = count;
	int next = count;

	for (i = 0; i < count; i++) {
		sriov(fabric, &nodes[i], &vfs);
		total += vfs;
	}
	router = kzalloc(struct_size(router, function, total), GFP_KERNEL);
	if (!router)
		return NULL;
	router->count = total;

	for (i = 0; i < count; i++) {
		const struct pci_fabric_node *node = &nodes[i];

		f = &router->function[i];
		*f = (struct p2pdma_router_function) {
			.kind = node->kind,
			.above = -1,
			.pf = i,
			.host = i,
			.vendor = node->vendor,
			.device_id = node->device_id,
			.bar_size = node->bar[0].size,
			.acs_cap = node->acs_cap,
			.acs_ctrl = node->acs_ctrl,
			.vector = node->acs_vector ?: P2PDMA_ROUTER_VECTOR,
			.port = node->port,
			.mps = node->mps ?: 128,
		};
		strscpy(f->name, node->name);
		if (node->kind == PCI_FABRIC_HOST) {
			f->secondary = node->bus;
			read_host(fabric, f);
			continue;
		}
		f->above = p2pdma_router_index(router, node->below);
		f->host = router->function[f->above].host;
		f->id = router->function[f->above].secondary << 8 |
			node->device << 3 | node->function;
		if (f->bar_size) {
			f->bar = read_bar(fabric, f->name, PCI_BASE_ADDRESS_0);
			f->cpu = cpu_address(fabric, router, f);
		}
		if (is_bridge(f))
			read_bridge(fabric, f);
		add_vfs(fabric, router, node, i, &next);
	}
	return router;
}

/**
 * p2pdma_router_index - Where a function is in the model
 * @router: the model
 * @name: of the node or virtual function
 *
 * Context: any.
 * Return: its index, -1 where there is none.
 */
int p2pdma_router_index(const struct p2pdma_router *router, const char *name)
{
	int i;

	for (i = 0; i < router->count; i++)
		if (!strcmp(router->function[i].name, name))
			return i;
	return -1;
}
