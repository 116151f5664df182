// SPDX-License-Identifier: GPL-2.0
/*
 * A model of how packets travel in a PCI fabric.
 *
 * A packet starts at a function and goes from element to element.  Each
 * element decides by the information that hardware has there: bridges by their
 * windows for requests and by their bus numbers for completions, switch
 * downstream ports and functions of multi-function devices by ACS, receivers
 * by Max_Payload_Size.  The model has no notion of legs or of a common
 * ancestor: where packets turn around is a result.  The fates of three packets,
 * a write request, a read request and a completion, tell how client and
 * provider reach each other.
 *
 * Simplifications: no ordering, no credits, no address translation.  A
 * completion has no Relaxed Ordering attribute, so that completion redirect
 * applies.  A root complex is one element with one policy; its ports and
 * endpoints reach each other only through it.  On a conventional bus a read is
 * one transaction in hardware; here its data are routed by bus numbers, which
 * take the same path.
 *
 * A PCIe function may send at most its own Max_Payload_Size of data in a
 * packet, and in this model always sends that much.  Firmware and kernel ensure
 * that this suits the path to the root complex, so only packets that turn
 * around below it can be too large for a receiver.
 */

#include <linux/bitmap.h>
#include <linux/pci_regs.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "p2pdma_router.h"

struct packet {
	enum p2pdma_router_packet type;
	int host;		/* whose addresses and bus numbers it uses */
	u64 address;		/* requests */
	u16 id;			/* of the target; completions go by it */
	unsigned int payload;	/* bytes of data it may have; 0: no packet yet */
	bool malformed;		/* too large for a receiver on the way */
};

/* For messages */
const char * const p2pdma_router_fate_name[] = {
	[P2PDMA_ROUTER_DELIVERED] = "delivered",
	[P2PDMA_ROUTER_ROOT_COMPLEX] = "root complex",
	[P2PDMA_ROUTER_BLOCKED] = "blocked",
	[P2PDMA_ROUTER_MALFORMED] = "too large",
	[P2PDMA_ROUTER_LOST] = "lost",
};

const char * const p2pdma_router_map_name[] = {
	[PCI_P2PDMA_MAP_UNKNOWN] = "unknown",
	[PCI_P2PDMA_MAP_NOT_SUPPORTED] = "not supported",
	[PCI_P2PDMA_MAP_BUS_ADDR] = "bus address",
	[PCI_P2PDMA_MAP_THRU_HOST_BRIDGE] = "through host bridge",
};

/* What a function does with a packet from below that a sibling claims */
enum turn { TURN_DIRECT, TURN_REDIRECT, TURN_BLOCK };

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

static bool within(const u64 window[2], u64 address)
{
	return window[0] <= address && address <= window[1];
}

/* Whether @f claims @p, for itself or for a device below */
static bool claims(const struct p2pdma_router_function *f, const struct packet *p)
{
	if (f->host != p->host)
		return false;
	if (p->type == P2PDMA_ROUTER_PACKET_COMPLETION) {
		u8 bus = p->id >> 8;

		return f->id == p->id || (is_bridge(f) &&
		       f->secondary <= bus && bus <= f->subordinate);
	}
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

	if (!mps || p->type == P2PDMA_ROUTER_PACKET_READ)
		return;
	if (!p->payload)
		p->payload = mps;
	else if (p->payload > mps)
		p->malformed = true;
}

/*
 * Whether packets of @type can go from @f to its siblings at all.  Base
 * Specification, 6.12.1.2: a function of a device with several, virtual ones
 * among them, that sends peer-to-peer requests to others must have Request
 * Redirect, and with that it must have Completion Redirect.  This only applies
 * to functions with an ACS capability: one without it is assumed to send such
 * requests.
 */
static bool has_way(const struct p2pdma_router_function *f,
		    enum p2pdma_router_packet type)
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
	if (type == P2PDMA_ROUTER_PACKET_COMPLETION)
		needs |= PCI_ACS_CR;
	return (f->acs_cap & needs) == needs;
}

/*
 * Base Specification, 6.12.3, for the ingress function @f when @sibling claims
 * the packet. Below a link all functions are one device, and devices on a
 * conventional bus have no ACS.
 */
static enum turn judge(const struct p2pdma_router_function *f,
		       const struct p2pdma_router_function *sibling,
		       enum p2pdma_router_packet type)
{
	unsigned int bit = f->kind == PCI_FABRIC_DOWNSTREAM ? sibling->port :
							      sibling->id & 0xff;
	enum turn straight = TURN_DIRECT;
	u16 ctrl = f->acs_ctrl & f->acs_cap;

	/* ACS never applies to PCIe to PCI bridges */
	if (f->kind == PCI_FABRIC_PCI_BRIDGE)
		return TURN_DIRECT;
	if (!has_way(f, type))
		straight = TURN_REDIRECT;
	if (type == P2PDMA_ROUTER_PACKET_COMPLETION)
		return ctrl & PCI_ACS_CR ? TURN_REDIRECT : straight;
	if (!(ctrl & PCI_ACS_EC))
		return ctrl & PCI_ACS_RR ? TURN_REDIRECT : straight;
	if (bit >= f->vector || !test_bit(bit, f->egress))
		return straight;
	return ctrl & PCI_ACS_RR ? TURN_REDIRECT : TURN_BLOCK;
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

		if (above->kind == PCI_FABRIC_HOST)
			return P2PDMA_ROUTER_ROOT_COMPLEX;

		/* A packet from its target's side was redirected below */
		if (f->kind == PCI_FABRIC_DOWNSTREAM && claims(f, p)) {
			if (f->acs_ctrl & f->acs_cap & PCI_ACS_UF)
				continue;
			return P2PDMA_ROUTER_LOST;
		}

		sibling = claimant(router, f, p);
		if (sibling >= 0) {
			switch (judge(f, &router->function[sibling], p->type)) {
			case TURN_DIRECT:
				return go_down(router, sibling, p);
			case TURN_BLOCK:
				return P2PDMA_ROUTER_BLOCKED;
			case TURN_REDIRECT:
				continue;
			}
		}

		/* All functions inside a switch or on the bus have seen it */
		if (!has_link(above) && claims(above, p))
			return P2PDMA_ROUTER_LOST;
	}
}

/**
 * p2pdma_router_send - Send one packet and see where it ends
 * @router: the model
 * @type: kind of packet
 * @from: index of the function that sends it
 * @to: index of the function whose BAR 0 or ID it is sent to
 *
 * Context: any.
 * Return: P2PDMA_ROUTER_*.
 */
enum p2pdma_router_fate
p2pdma_router_send(const struct p2pdma_router *router,
		   enum p2pdma_router_packet type, int from, int to)
{
	const struct p2pdma_router_function *target = &router->function[to];
	struct packet p = {
		.type = type,
		.host = target->host,
		.address = target->bar,
		.id = target->id,
	};

	/* Packets of a function to itself stay inside */
	if (from == to)
		return P2PDMA_ROUTER_DELIVERED;
	return go_up(router, from, &p);
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

/* Whether a packet arrives, directly or forwarded by the root complex */
static bool arrives(enum p2pdma_router_fate fate, bool forwarded)
{
	return fate == P2PDMA_ROUTER_DELIVERED ||
	       (fate == P2PDMA_ROUTER_ROOT_COMPLEX && forwarded);
}

/**
 * p2pdma_router_route - How a client reaches a provider
 * @router: the model
 * @client: index of the client
 * @provider: index of the provider; it has a BAR 0
 * @policy: what the root complex forwards between them, P2PDMA_ROUTER_*
 * @answer: filled in
 *
 * The map type is that which gives more directions, bus addresses where both
 * give the same.
 *
 * Context: any.
 */
void p2pdma_router_route(const struct p2pdma_router *router, int client,
			 int provider, unsigned int policy,
			 struct p2pdma_router_answer *answer)
{
	unsigned int direct = 0, through = 0;
	enum p2pdma_router_fate write, read, completion;

	write = p2pdma_router_send(router, P2PDMA_ROUTER_PACKET_WRITE, client,
				   provider);
	read = p2pdma_router_send(router, P2PDMA_ROUTER_PACKET_READ, client, provider);
	completion = p2pdma_router_send(router, P2PDMA_ROUTER_PACKET_COMPLETION,
					provider, client);

	if (arrives(write, false))
		direct |= P2PDMA_ROUTER_WRITE;
	if (arrives(read, false) && arrives(completion, false))
		direct |= P2PDMA_ROUTER_READ;
	if (arrives(write, policy & P2PDMA_ROUTER_WRITE))
		through |= P2PDMA_ROUTER_WRITE;
	if (arrives(read, policy & P2PDMA_ROUTER_READ) &&
	    arrives(completion, policy & P2PDMA_ROUTER_READ))
		through |= P2PDMA_ROUTER_READ;

	answer->fate[P2PDMA_ROUTER_PACKET_WRITE] = write;
	answer->fate[P2PDMA_ROUTER_PACKET_READ] = read;
	answer->fate[P2PDMA_ROUTER_PACKET_COMPLETION] = completion;
	if (through != direct) {
		answer->map_type = PCI_P2PDMA_MAP_THRU_HOST_BRIDGE;
		answer->directions = through;
	} else {
		answer->map_type = direct ? PCI_P2PDMA_MAP_BUS_ADDR :
					    PCI_P2PDMA_MAP_NOT_SUPPORTED;
		answer->directions = direct;
	}
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
			continue;
		}
		f->above = p2pdma_router_index(router, node->below);
		f->host = router->function[f->above].host;
		f->id = router->function[f->above].secondary << 8 |
			node->device << 3 | node->function;
		if (f->bar_size)
			f->bar = read_bar(fabric, f->name, PCI_BASE_ADDRESS_0);
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
