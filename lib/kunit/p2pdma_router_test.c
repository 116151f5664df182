// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the packet router that P2PDMA routes are judged by.
 *
 * Packets go through fabrics where their fates were worked out by hand from
 * the PCI Express Base Specification. P2PDMA isn't called, so this runs on any
 * kernel; p2pdma_random_test.c compares routes with the router.
 */

#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "p2pdma_router.h"

#define ACS_ALL	(PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF | PCI_ACS_EC)
#define BAR0	.bar[0] = { .size = SZ_64K }

/*
 * Two host bridges.  Below the first: a switch with another one inside, a
 * conventional bus below a bridge, a device of three functions, two devices
 * of the root complex.
 *
 *	h0 -- rp0 -- sw -+- d1 -- e1
 *			 +- d2 -- e2
 *			 +- d3 -- pb -+- c1
 *			 |	      +- cb -- c2
 *			 +- d4 -- in -+- d5 -- e5
 *				      +- d6 -- m0, m1, m2
 *	   -- rp1 -- e7
 *	   -- r0, r1
 *	h1 -- rp2 -- e8
 */
static const struct pci_fabric_node known_fabric[] = {
	{ "h0", .kind = PCI_FABRIC_HOST, .domain = 0x10000 },
	{ "rp0", "h0", PCI_FABRIC_ROOT_PORT, 1, .acs_cap = ACS_ALL },
	{ "sw", "rp0", PCI_FABRIC_UPSTREAM },
	{ "d1", "sw", PCI_FABRIC_DOWNSTREAM, 1, .port = 11, .acs_cap = ACS_ALL },
	{ "d2", "sw", PCI_FABRIC_DOWNSTREAM, 2, .port = 12, .acs_cap = ACS_ALL },
	{ "d3", "sw", PCI_FABRIC_DOWNSTREAM, 3, .port = 13, .acs_cap = ACS_ALL },
	{ "d4", "sw", PCI_FABRIC_DOWNSTREAM, 4, .port = 14, .acs_cap = ACS_ALL },
	{ "e1", "d1", PCI_FABRIC_ENDPOINT, BAR0, .acs_cap = ACS_ALL },
	{ "e2", "d2", PCI_FABRIC_ENDPOINT,
	  .bar[0] = { SZ_64K, PCI_FABRIC_BAR_32 } },
	{ "pb", "d3", PCI_FABRIC_PCI_BRIDGE },
	{ "c1", "pb", PCI_FABRIC_PCI_DEVICE, 1, BAR0 },
	{ "cb", "pb", PCI_FABRIC_PCI_PCI_BRIDGE, 2 },
	{ "c2", "cb", PCI_FABRIC_PCI_DEVICE, 3,
	  .bar[0] = { SZ_64K, PCI_FABRIC_BAR_32 } },
	{ "in", "d4", PCI_FABRIC_UPSTREAM },
	{ "d5", "in", PCI_FABRIC_DOWNSTREAM, 0, .port = 1, .acs_cap = ACS_ALL },
	{ "d6", "in", PCI_FABRIC_DOWNSTREAM, 1, .port = 2, .acs_cap = ACS_ALL },
	{ "e5", "d5", PCI_FABRIC_ENDPOINT, BAR0 },
	{ "m0", "d6", PCI_FABRIC_ENDPOINT, BAR0, .acs_cap = ACS_ALL },
	{ "m1", "d6", PCI_FABRIC_ENDPOINT, 0, 1, BAR0, .acs_cap = ACS_ALL },
	{ "m2", "d6", PCI_FABRIC_ENDPOINT, 0, 2, BAR0 },
	{ "rp1", "h0", PCI_FABRIC_ROOT_PORT, 2, .acs_cap = ACS_ALL },
	{ "e7", "rp1", PCI_FABRIC_ENDPOINT, BAR0 },
	{ "r0", "h0", PCI_FABRIC_RC_ENDPOINT, 3, BAR0 },
	{ "r1", "h0", PCI_FABRIC_RC_ENDPOINT, 3, 1, BAR0 },
	{ "h1", .kind = PCI_FABRIC_HOST, .domain = 0x10001 },
	{ "rp2", "h1", PCI_FABRIC_ROOT_PORT, 1 },
	{ "e8", "rp2", PCI_FABRIC_ENDPOINT, BAR0 },
};

#define RR	PCI_ACS_RR
#define CR	PCI_ACS_CR
#define UF	PCI_ACS_UF
#define EC	PCI_ACS_EC

/**
 * struct router_case - packets whose fate is known
 * @what: what the case shows
 * @client: sends requests
 * @provider: sends completions
 * @set: what is set in the fabric: ACS control, a bit of the Egress Control
 *	Vector (0 for none), payload size (0 for 128), another ACS capability
 *	(0 for that of the table), vendor and device ID
 * @policy: what the root complex forwards
 * @fate: of write request, read request, completion
 * @map_type: resulting mapping type
 * @directions: resulting directions
 */
struct router_case {
	const char *what;
	const char *client;
	const char *provider;
	struct {
		const char *name;
		u16 ctrl;
		u8 egress;
		unsigned int mps;
		u16 cap;
		u32 id;
	} set[5];
	unsigned int policy;
	enum p2pdma_router_fate fate[3];
	enum pci_p2pdma_map_type map_type;
	unsigned int directions;
};

#define BOTH		(P2PDMA_ROUTER_READ | P2PDMA_ROUTER_WRITE)
#define READ_ONLY	P2PDMA_ROUTER_READ
#define WRITE_ONLY	P2PDMA_ROUTER_WRITE

#define DELIVERED	P2PDMA_ROUTER_DELIVERED
#define ROOT		P2PDMA_ROUTER_ROOT_COMPLEX
#define BLOCKED		P2PDMA_ROUTER_BLOCKED
#define TOO_LARGE	P2PDMA_ROUTER_MALFORMED
#define LOST		P2PDMA_ROUTER_LOST

#define REFUSED		PCI_P2PDMA_MAP_NOT_SUPPORTED
#define BUS		PCI_P2PDMA_MAP_BUS_ADDR
#define THROUGH		PCI_P2PDMA_MAP_THRU_HOST_BRIDGE

static const struct router_case router_cases[] = {
	{ "a device and itself", "e1", "e1", { { "d1", RR | CR } }, BOTH,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "one switch", "e1", "e2", { }, 0,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "root complex is not asked within a switch", "e1", "e2", { }, BOTH,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "switch in a switch", "e1", "e5", { }, 0,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },

	{ "request redirect at the ingress", "e1", "e2",
	  { { "d1", RR } }, BOTH,
	  { ROOT, ROOT, DELIVERED }, THROUGH, BOTH },
	{ "root complex forwards nothing", "e1", "e2",
	  { { "d1", RR } }, 0,
	  { ROOT, ROOT, DELIVERED }, REFUSED, 0 },
	{ "root complex forwards writes", "e1", "e2",
	  { { "d1", RR } }, WRITE_ONLY,
	  { ROOT, ROOT, DELIVERED }, THROUGH, WRITE_ONLY },
	{ "request redirect at the egress is nothing", "e1", "e2",
	  { { "d2", RR } }, BOTH,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "completion redirect at the provider's port", "e1", "e2",
	  { { "d2", CR } }, BOTH,
	  { DELIVERED, DELIVERED, ROOT }, THROUGH, BOTH },
	{ "completion redirect, root complex forwards nothing", "e1", "e2",
	  { { "d2", CR } }, 0,
	  { DELIVERED, DELIVERED, ROOT }, BUS, WRITE_ONLY },
	{ "completion redirect, root complex forwards writes", "e1", "e2",
	  { { "d2", CR } }, WRITE_ONLY,
	  { DELIVERED, DELIVERED, ROOT }, BUS, WRITE_ONLY },
	{ "completion redirect at the client's port is nothing", "e1", "e2",
	  { { "d1", CR } }, BOTH,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "an endpoint that is alone turns nothing", "e1", "e2",
	  { { "e1", RR | CR | EC } }, BOTH,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "shared ports don't redirect", "e5", "m0",
	  { { "d4", RR | CR | EC, 11 }, { "rp0", RR | CR } }, BOTH,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "ports between don't redirect", "e5", "e1",
	  { { "d5", RR | CR | EC, 2 } }, BOTH,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "the port of the inner switch does", "e5", "e1",
	  { { "d4", RR } }, BOTH,
	  { ROOT, ROOT, DELIVERED }, THROUGH, BOTH },

	{ "egress control, bit clear", "e1", "e2",
	  { { "d1", EC, 13 } }, BOTH,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "egress control, bit clear, overrules redirect", "e1", "e2",
	  { { "d1", EC | RR, 13 } }, 0,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "egress control, bit set", "e1", "e2",
	  { { "d1", EC, 12 } }, BOTH,
	  { BLOCKED, BLOCKED, DELIVERED }, REFUSED, 0 },
	{ "egress control, bit set, redirect", "e1", "e2",
	  { { "d1", EC | RR, 12 } }, BOTH,
	  { ROOT, ROOT, DELIVERED }, THROUGH, BOTH },
	{ "egress bit without egress control", "e1", "e2",
	  { { "d1", 0, 12 } }, 0,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "completions don't know egress control", "e1", "e2",
	  { { "d2", EC, 11 } }, 0,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },

	{ "redirected below a port that is shared", "e5", "m0",
	  { { "d5", RR } }, BOTH,
	  { LOST, LOST, DELIVERED }, REFUSED, 0 },
	{ "upstream forwarding lets it pass", "e5", "m0",
	  { { "d5", RR }, { "d4", UF } }, BOTH,
	  { ROOT, ROOT, DELIVERED }, THROUGH, BOTH },
	{ "completion lost where requests are not", "e5", "m0",
	  { { "d6", CR } }, BOTH,
	  { DELIVERED, DELIVERED, LOST }, BUS, WRITE_ONLY },
	{ "completion passed on", "e5", "m0",
	  { { "d6", CR }, { "d4", UF } }, BOTH,
	  { DELIVERED, DELIVERED, ROOT }, THROUGH, BOTH },

	{ "functions of one device", "m0", "m1", { }, 0,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "functions, request redirect, two ports without forwarding",
	  "m0", "m1", { { "m0", RR } }, BOTH,
	  { LOST, LOST, DELIVERED }, REFUSED, 0 },
	{ "functions, request redirect, one port without forwarding",
	  "m0", "m1", { { "m0", RR }, { "d6", UF } }, BOTH,
	  { LOST, LOST, DELIVERED }, REFUSED, 0 },
	{ "functions, request redirect, both ports forward", "m0", "m1",
	  { { "m0", RR }, { "d6", UF }, { "d4", UF } }, BOTH,
	  { ROOT, ROOT, DELIVERED }, THROUGH, BOTH },
	{ "functions, port above redirects nothing", "m0", "m1",
	  { { "d6", RR | CR } }, BOTH,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "functions, egress control by function number", "m1", "m2",
	  { { "m1", EC, 2 } }, BOTH,
	  { BLOCKED, BLOCKED, DELIVERED }, REFUSED, 0 },
	{ "functions, egress bit of another one", "m0", "m2",
	  { { "m0", EC, 1 } }, BOTH,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "functions, a capability without bits", "m0", "m1",
	  { { "m0", .cap = PCI_FABRIC_ACS_EMPTY }, { "d6", UF }, { "d4", UF } },
	  BOTH,
	  { ROOT, ROOT, DELIVERED }, THROUGH, BOTH },
	{ "functions, the other one's is without bits", "m0", "m1",
	  { { "m1", .cap = PCI_FABRIC_ACS_EMPTY }, { "d6", UF }, { "d4", UF } },
	  BOTH,
	  { DELIVERED, DELIVERED, ROOT }, THROUGH, BOTH },
	{ "functions, no capability", "m2", "m1", { }, 0,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "functions, requests go straight and completions don't", "m0", "m1",
	  { { "m0", .cap = RR }, { "m1", .cap = RR } }, 0,
	  { DELIVERED, DELIVERED, LOST }, BUS, WRITE_ONLY },
	{ "functions, completion redirect alone is no way", "m0", "m1",
	  { { "m0", .cap = CR }, { "m1", .cap = CR } }, 0,
	  { LOST, LOST, LOST }, REFUSED, 0 },
	{ "functions, egress bit clear, without request redirect", "m0", "m1",
	  { { "m0", EC, 2, .cap = EC | CR } }, 0,
	  { LOST, LOST, DELIVERED }, REFUSED, 0 },
	{ "functions, egress bit set, without request redirect", "m0", "m1",
	  { { "m0", EC, 1, .cap = EC | CR } }, 0,
	  { BLOCKED, BLOCKED, DELIVERED }, REFUSED, 0 },
	{ "a port's capability without bits goes straight", "e1", "e2",
	  { { "d1", .cap = UF }, { "d2", .cap = UF } }, 0,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "a function that is isolated and doesn't say so", "m2", "m1",
	  { { "m2", .id = 0x80881001 }, { "d6", UF }, { "d4", UF } }, BOTH,
	  { ROOT, ROOT, DELIVERED }, THROUGH, BOTH },
	{ "a port that is isolated and doesn't say so", "e1", "e2",
	  { { "d2", .id = 0x1d170710 } }, BOTH,
	  { DELIVERED, DELIVERED, ROOT }, THROUGH, BOTH },

	{ "a function's redirect is not for other devices", "m0", "e5",
	  { { "m0", RR | CR } }, 0,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },

	{ "conventional bus", "c1", "c2",
	  { { "d3", RR | CR }, { "pb", .mps = 512 } }, 0,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "conventional and PCIe", "c2", "e1", { }, 0,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "conventional and PCIe, redirect", "c2", "e1",
	  { { "d3", RR } }, BOTH,
	  { ROOT, ROOT, DELIVERED }, THROUGH, BOTH },
	{ "PCIe and conventional, redirect of completions", "e1", "c1",
	  { { "d3", CR } }, BOTH,
	  { DELIVERED, DELIVERED, ROOT }, THROUGH, BOTH },

	{ "client's payload too large for the provider", "e1", "e2",
	  { { "e1", .mps = 256 }, { "d1", .mps = 256 }, { "d2", .mps = 256 } },
	  BOTH,
	  { TOO_LARGE, DELIVERED, DELIVERED }, BUS, READ_ONLY },
	{ "client's payload too large for a port", "e1", "e2",
	  { { "e1", .mps = 256 }, { "d1", .mps = 256 }, { "e2", .mps = 256 } },
	  BOTH,
	  { TOO_LARGE, DELIVERED, TOO_LARGE }, REFUSED, 0 },
	{ "provider's payload too large", "e1", "e2",
	  { { "e2", .mps = 512 }, { "d2", .mps = 512 } }, BOTH,
	  { DELIVERED, DELIVERED, TOO_LARGE }, BUS, WRITE_ONLY },
	{ "larger everywhere", "e1", "e2",
	  { { "e1", .mps = 512 }, { "d1", .mps = 512 }, { "d2", .mps = 512 },
	    { "e2", .mps = 512 } }, 0,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "upstream port of the shared switch is not on the way", "e1", "e2",
	  { { "e1", .mps = 256 }, { "d1", .mps = 256 }, { "d2", .mps = 256 },
	    { "e2", .mps = 256 }, { "sw", .mps = 128 } }, 0,
	  { DELIVERED, DELIVERED, DELIVERED }, BUS, BOTH },
	{ "upstream port of the inner switch is", "e1", "e5",
	  { { "e1", .mps = 256 }, { "d1", .mps = 256 }, { "d4", .mps = 256 },
	    { "d5", .mps = 256 }, { "e5", .mps = 256 } }, 0,
	  { TOO_LARGE, DELIVERED, TOO_LARGE }, REFUSED, 0 },
	{ "payload is no matter to the root complex", "e1", "e2",
	  { { "e1", .mps = 512 }, { "d1", RR } }, BOTH,
	  { ROOT, ROOT, DELIVERED }, THROUGH, BOTH },
	{ "but it is to a completion that goes straight", "e1", "e2",
	  { { "e2", .mps = 512 }, { "d1", RR } }, BOTH,
	  { ROOT, ROOT, TOO_LARGE }, THROUGH, WRITE_ONLY },
	{ "the bridge sends for what is behind it", "c2", "e1",
	  { { "pb", .mps = 256 } }, BOTH,
	  { TOO_LARGE, DELIVERED, DELIVERED }, BUS, READ_ONLY },
	{ "and receives", "e1", "c1",
	  { { "e1", .mps = 256 }, { "d1", .mps = 256 }, { "d3", .mps = 256 } },
	  BOTH,
	  { TOO_LARGE, DELIVERED, DELIVERED }, BUS, READ_ONLY },

	{ "two root ports", "e1", "e7", { }, BOTH,
	  { ROOT, ROOT, ROOT }, THROUGH, BOTH },
	{ "two root ports, nothing forwarded", "e1", "e7", { }, 0,
	  { ROOT, ROOT, ROOT }, REFUSED, 0 },
	{ "root port and root complex", "e7", "r1", { }, WRITE_ONLY,
	  { ROOT, ROOT, ROOT }, THROUGH, WRITE_ONLY },
	{ "functions of a root complex device", "r0", "r1", { }, 0,
	  { ROOT, ROOT, ROOT }, REFUSED, 0 },
	{ "two host bridges", "e1", "e8", { }, BOTH,
	  { ROOT, ROOT, ROOT }, THROUGH, BOTH },
};

KUNIT_ARRAY_PARAM_DESC(router, router_cases, what);

static void fates(struct kunit *test)
{
	const struct router_case *c = test->param_value;
	struct p2pdma_router *router;
	struct p2pdma_router_answer answer;
	struct pci_fabric *fabric;
	int i, client, provider;

	fabric = pci_fabric_kunit(test, known_fabric, ARRAY_SIZE(known_fabric));
	router = p2pdma_router_create(fabric, known_fabric,
				      ARRAY_SIZE(known_fabric));
	KUNIT_ASSERT_NOT_NULL(test, router);

	for (i = 0; i < ARRAY_SIZE(c->set) && c->set[i].name; i++) {
		struct p2pdma_router_function *f;

		f = &router->function[p2pdma_router_index(router,
							  c->set[i].name)];
		f->acs_ctrl = c->set[i].ctrl;
		if (c->set[i].egress)
			__set_bit(c->set[i].egress, f->egress);
		f->mps = c->set[i].mps ?: 128;
		if (c->set[i].cap)
			f->acs_cap = c->set[i].cap;
		f->vendor = c->set[i].id >> 16;
		f->device_id = c->set[i].id;
	}
	client = p2pdma_router_index(router, c->client);
	provider = p2pdma_router_index(router, c->provider);
	p2pdma_router_route(router, client, provider, c->policy, &answer);

	for (i = 0; i < ARRAY_SIZE(answer.fate); i++)
		KUNIT_EXPECT_STREQ(test, p2pdma_router_fate_name[answer.fate[i]],
				   p2pdma_router_fate_name[c->fate[i]]);
	KUNIT_EXPECT_STREQ(test, p2pdma_router_map_name[answer.map_type],
			   p2pdma_router_map_name[c->map_type]);
	KUNIT_EXPECT_EQ(test, answer.directions, c->directions);
	kfree(router);
}

/* A packet for an address that no device has must be lost */
static void nobody(struct kunit *test)
{
	struct p2pdma_router *router;
	struct pci_fabric *fabric;
	int e1, e2;

	fabric = pci_fabric_kunit(test, known_fabric, ARRAY_SIZE(known_fabric));
	router = p2pdma_router_create(fabric, known_fabric,
				      ARRAY_SIZE(known_fabric));
	KUNIT_ASSERT_NOT_NULL(test, router);
	e1 = p2pdma_router_index(router, "e1");
	e2 = p2pdma_router_index(router, "e2");

	router->function[e2].bar += SZ_64K;
	router->function[e2].bar_size = 0;
	KUNIT_EXPECT_EQ(test, LOST,
			p2pdma_router_send(router, P2PDMA_ROUTER_PACKET_WRITE, e1, e2));
	router->function[e2].bar = 0;
	KUNIT_EXPECT_EQ(test, ROOT,
			p2pdma_router_send(router, P2PDMA_ROUTER_PACKET_WRITE, e1, e2));
	kfree(router);
}

/* Virtual functions are functions of the device that has them */
static void virtual_functions(struct kunit *test)
{
	static const struct pci_fabric_node nodes[] = {
		{ "h", .kind = PCI_FABRIC_HOST, .domain = 0x10000 },
		{ "rp", "h", PCI_FABRIC_ROOT_PORT },
		{ "sw", "rp", PCI_FABRIC_UPSTREAM },
		{ "d0", "sw", PCI_FABRIC_DOWNSTREAM, 0, .acs_cap = ACS_ALL },
		{ "d1", "sw", PCI_FABRIC_DOWNSTREAM, 1 },
		{ "pf", "d0", PCI_FABRIC_ENDPOINT, BAR0, .total_vfs = 4,
		  .vf_bar0 = SZ_64K, .vf_acs_cap = ACS_ALL },
		{ "e", "d1", PCI_FABRIC_ENDPOINT, BAR0 },
	};
	struct p2pdma_router_function *vf0, *vf2;
	struct p2pdma_router *router;
	struct pci_fabric *fabric;
	int pf, v0, v2, e;

	fabric = pci_fabric_kunit(test, nodes, ARRAY_SIZE(nodes));
	KUNIT_ASSERT_EQ(test, 0, pci_fabric_enable_vfs(fabric, "pf", 3));
	router = p2pdma_router_create(fabric, nodes, ARRAY_SIZE(nodes));
	KUNIT_ASSERT_NOT_NULL(test, router);
	pf = p2pdma_router_index(router, "pf");
	v0 = p2pdma_router_index(router, "pf/0");
	v2 = p2pdma_router_index(router, "pf/2");
	e = p2pdma_router_index(router, "e");
	KUNIT_ASSERT_EQ(test, -1, p2pdma_router_index(router, "pf/3"));
	KUNIT_ASSERT_GE(test, v2, 0);
	vf0 = &router->function[v0];
	vf2 = &router->function[v2];

	KUNIT_EXPECT_EQ(test, DELIVERED,
			p2pdma_router_send(router, P2PDMA_ROUTER_PACKET_WRITE, v0, pf));
	KUNIT_EXPECT_EQ(test, DELIVERED,
			p2pdma_router_send(router, P2PDMA_ROUTER_PACKET_WRITE, e, v2));
	KUNIT_EXPECT_EQ(test, DELIVERED,
			p2pdma_router_send(router, P2PDMA_ROUTER_PACKET_COMPLETION, e, v2));

	vf0->acs_ctrl = RR;
	KUNIT_EXPECT_EQ(test, LOST,
			p2pdma_router_send(router, P2PDMA_ROUTER_PACKET_WRITE, v0, v2));
	router->function[p2pdma_router_index(router, "d0")].acs_ctrl = UF;
	KUNIT_EXPECT_EQ(test, ROOT,
			p2pdma_router_send(router, P2PDMA_ROUTER_PACKET_WRITE, v0, v2));
	KUNIT_EXPECT_EQ(test, DELIVERED,
			p2pdma_router_send(router, P2PDMA_ROUTER_PACKET_WRITE, v0, e));

	vf0->acs_ctrl = EC;
	__set_bit(vf2->id & 0xff, vf0->egress);
	KUNIT_EXPECT_EQ(test, BLOCKED,
			p2pdma_router_send(router, P2PDMA_ROUTER_PACKET_READ, v0, v2));
	KUNIT_EXPECT_EQ(test, DELIVERED,
			p2pdma_router_send(router, P2PDMA_ROUTER_PACKET_READ, v0, pf));
	vf0->vector = vf2->id & 0xff;
	KUNIT_EXPECT_EQ(test, DELIVERED,
			p2pdma_router_send(router, P2PDMA_ROUTER_PACKET_READ, v0, v2));

	router->function[pf].mps = 256;
	KUNIT_EXPECT_EQ(test, TOO_LARGE,
			p2pdma_router_send(router, P2PDMA_ROUTER_PACKET_WRITE, v0, e));
	kfree(router);
}

/* The list, and the device that identifies a host bridge */
static void host_bridges(struct kunit *test)
{
	static const struct {
		u16 id[2];	/* at 00.0 of each host bridge, 0 for nothing */
		u16 port[2];	/* of the root ports */
		unsigned int near, far;
	} bridges[] = {
		{ { 0x1234, 0x1234 }, { 0x2030, 0x2030 }, 0, 0 },
		{ { 0x2030, 0x2030 }, { 0x1234, 0x1234 }, BOTH, BOTH },
		/* Without 00.0, a device that isn't a root port says nothing */
		{ { 0, 0 }, { 0x2030, 0x2030 }, 0, BOTH },
		{ { 0x2030, 0x1234 }, { 0, 0 }, BOTH, 0 },
		{ { 0x3c00, 0x3c00 }, { 0, 0 }, BOTH, 0 },
		{ { 0x3c00, 0x2030 }, { 0, 0 }, BOTH, 0 },
		{ { 0x29c0, 0x2030 }, { 0, 0 }, WRITE_ONLY, WRITE_ONLY },
		{ { 0x2030, 0x29c0 }, { 0, 0 }, BOTH, WRITE_ONLY },
	};
	struct pci_fabric_node nodes[] = {
		{ "h0", .kind = PCI_FABRIC_HOST, .domain = 0x10000 },
		{ "h1", .kind = PCI_FABRIC_HOST, .domain = 0x10001 },
		{ "p0", "h0", PCI_FABRIC_ROOT_PORT, 1, .vendor = 0x8086 },
		{ "p1", "h1", PCI_FABRIC_ROOT_PORT, 1, .vendor = 0x8086 },
		{ "e0", "p0", PCI_FABRIC_ENDPOINT, BAR0 },
		{ "e1", "p1", PCI_FABRIC_ENDPOINT, BAR0 },
		{ "r0", "h0", PCI_FABRIC_RC_ENDPOINT, 2, BAR0 },
		/* The last two are left out where nothing is at 00.0 */
		{ "b0", "h0", PCI_FABRIC_RC_ENDPOINT, 0, .vendor = 0x8086 },
		{ "b1", "h1", PCI_FABRIC_RC_ENDPOINT, 0, .vendor = 0x8086 },
	};
	struct p2pdma_router *router;
	struct pci_fabric *fabric;
	size_t count;
	int i, e0, e1, r0;

	for (i = 0; i < ARRAY_SIZE(bridges); i++) {
		nodes[2].device_id = bridges[i].port[0] ?: 0x1234;
		nodes[3].device_id = bridges[i].port[1] ?: 0x1234;
		nodes[7].device_id = bridges[i].id[0];
		nodes[8].device_id = bridges[i].id[1];
		count = ARRAY_SIZE(nodes);
		if (!bridges[i].id[0])
			count -= 2;
		fabric = pci_fabric_create(nodes, count);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, fabric);
		router = p2pdma_router_create(fabric, nodes, count);
		pci_fabric_destroy(fabric);
		KUNIT_ASSERT_NOT_NULL(test, router);
		e0 = p2pdma_router_index(router, "e0");
		e1 = p2pdma_router_index(router, "e1");
		r0 = p2pdma_router_index(router, "r0");

		KUNIT_EXPECT_EQ_MSG(test, bridges[i].near,
				    p2pdma_router_policy(router, e0, r0, false),
				    "case %d", i);
		KUNIT_EXPECT_EQ_MSG(test, bridges[i].far,
				    p2pdma_router_policy(router, e0, e1, false),
				    "case %d", i);
		KUNIT_EXPECT_EQ_MSG(test, BOTH,
				    p2pdma_router_policy(router, e0, e1, true),
				    "case %d", i);
		kfree(router);
	}
}

static struct kunit_case router_test_cases[] = {
	KUNIT_CASE_PARAM(fates, router_gen_params),
	KUNIT_CASE(nobody),
	KUNIT_CASE(virtual_functions),
	KUNIT_CASE(host_bridges),
	{ }
};

static struct kunit_suite router_suite = {
	.name = "p2pdma_router",
	.test_cases = router_test_cases,
};

kunit_test_suite(router_suite);

MODULE_DESCRIPTION("KUnit tests of a packet router");
MODULE_LICENSE("GPL");
