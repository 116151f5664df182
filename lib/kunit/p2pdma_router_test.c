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

#define RR	PCI_ACS_RR
#define CR	PCI_ACS_CR
#define UF	PCI_ACS_UF
#define EC	PCI_ACS_EC
#define TB	PCI_ACS_TB
#define DT	PCI_ACS_DT

#define ACS_FUNCTION	(RR | CR | EC | DT)
#define ACS_ROOT	(ACS_FUNCTION | TB)	/* whatever is on, no UF */
#define ACS_ALL		(ACS_ROOT | UF)
#define BAR0	.bar[0] = { .size = SZ_64K }

/*
 * Two host bridges.  Below the first: a switch with another one inside, a
 * conventional bus below a bridge, a device of three functions, two devices
 * of the root complex with two functions each.  Below the other one: a device,
 * and functions with the numbers that r0 and r1 have.
 *
 *	h0 -- rp0 -- sw -+- d1 -- e1
 *			 +- d2 -- e2
 *			 +- d3 -- pb -+- c1
 *			 |	      +- cb -- c2
 *			 +- d4 -- in -+- d5 -- e5
 *				      +- d6 -- m0, m1, m2
 *	   -- rp1 -- e7
 *	   -- r0, r1
 *	   -- r2, r3
 *	h1 -- rp2 -- e8
 *	   -- x0, x1
 */
static const struct pci_fabric_node known_fabric[] = {
	{ "h0", .kind = PCI_FABRIC_HOST, .domain = 0x10000 },
	{ "rp0", "h0", PCI_FABRIC_ROOT_PORT, 1, .port = 21, .acs_cap = ACS_ROOT },
	{ "sw", "rp0", PCI_FABRIC_UPSTREAM },
	{ "d1", "sw", PCI_FABRIC_DOWNSTREAM, 1, .port = 11, .acs_cap = ACS_ALL },
	{ "d2", "sw", PCI_FABRIC_DOWNSTREAM, 2, .port = 12, .acs_cap = ACS_ALL },
	{ "d3", "sw", PCI_FABRIC_DOWNSTREAM, 3, .port = 13, .acs_cap = ACS_ALL },
	{ "d4", "sw", PCI_FABRIC_DOWNSTREAM, 4, .port = 14, .acs_cap = ACS_ALL },
	{ "e1", "d1", PCI_FABRIC_ENDPOINT, BAR0, .acs_cap = ACS_FUNCTION },
	{ "e2", "d2", PCI_FABRIC_ENDPOINT, BAR0 },
	{ "pb", "d3", PCI_FABRIC_PCI_BRIDGE },
	{ "c1", "pb", PCI_FABRIC_PCI_DEVICE, 1, BAR0 },
	{ "cb", "pb", PCI_FABRIC_PCI_PCI_BRIDGE, 2 },
	{ "c2", "cb", PCI_FABRIC_PCI_DEVICE, 3,
	  .bar[0] = { SZ_64K, PCI_FABRIC_BAR_32 } },
	{ "in", "d4", PCI_FABRIC_UPSTREAM },
	{ "d5", "in", PCI_FABRIC_DOWNSTREAM, 0, .port = 1, .acs_cap = ACS_ALL },
	{ "d6", "in", PCI_FABRIC_DOWNSTREAM, 1, .port = 2, .acs_cap = ACS_ALL },
	{ "e5", "d5", PCI_FABRIC_ENDPOINT, BAR0 },
	{ "m0", "d6", PCI_FABRIC_ENDPOINT, BAR0, .acs_cap = ACS_FUNCTION },
	{ "m1", "d6", PCI_FABRIC_ENDPOINT, 0, 1, BAR0, .acs_cap = ACS_FUNCTION },
	{ "m2", "d6", PCI_FABRIC_ENDPOINT, 0, 2, BAR0 },
	{ "rp1", "h0", PCI_FABRIC_ROOT_PORT, 2, .port = 22, .acs_cap = ACS_ROOT },
	{ "e7", "rp1", PCI_FABRIC_ENDPOINT, BAR0 },
	{ "r0", "h0", PCI_FABRIC_RC_ENDPOINT, 3, BAR0, .acs_cap = ACS_FUNCTION },
	{ "r1", "h0", PCI_FABRIC_RC_ENDPOINT, 3, 1, BAR0 },
	{ "r2", "h0", PCI_FABRIC_RC_ENDPOINT, 4, BAR0 },
	{ "r3", "h0", PCI_FABRIC_RC_ENDPOINT, 4, 1, BAR0 },
	{ "h1", .kind = PCI_FABRIC_HOST, .domain = 0x10001 },
	{ "rp2", "h1", PCI_FABRIC_ROOT_PORT, 1 },
	{ "e8", "rp2", PCI_FABRIC_ENDPOINT, BAR0 },
	{ "x0", "h1", PCI_FABRIC_RC_ENDPOINT, 3, BAR0 },
	{ "x1", "h1", PCI_FABRIC_RC_ENDPOINT, 3, 1, BAR0 },
};

/**
 * struct router_setting - a change to one function of the model
 * @name: of the function
 * @ctrl: ACS control
 * @egress: a bit of the Egress Control Vector to set, 0 for none
 * @mps: payload size, 0 for 128
 * @cap: another ACS capability, 0 for that of the table
 * @id: vendor and device ID
 * @vector: bits that the vector has, 0 for 256
 * @cpu_like: another function, whose bus address is @name's CPU address
 */
struct router_setting {
	const char *name;
	u16 ctrl;
	u8 egress;
	unsigned int mps;
	u16 cap;
	u32 id;
	unsigned int vector;
	const char *cpu_like;
};

#define ROUTER_SETTINGS	5

/**
 * struct router_case - packets whose fate is known
 * @what: what the case shows
 * @client: sends requests, untranslated and by bus address; without an IOMMU
 * @provider: sends completions
 * @set: what is different in the fabric
 * @policy: what the root complex forwards
 * @fate: of write request, read request, completion
 * @map_type: resulting mapping type
 * @directions: resulting directions
 */
struct router_case {
	const char *what;
	const char *client;
	const char *provider;
	struct router_setting set[ROUTER_SETTINGS];
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
#define STRAY		P2PDMA_ROUTER_STRAY
#define OPEN		P2PDMA_ROUTER_UNKNOWN

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
	{ "payload is no matter on the way to the root complex", "e1", "e2",
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
	{ "a completion may have relaxed ordering or not", "e1", "e2",
	  { { "e2", .mps = 512 }, { "d2", CR, .mps = 512 } }, BOTH,
	  { DELIVERED, DELIVERED, ROOT }, BUS, WRITE_ONLY },

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

static void apply(struct p2pdma_router *router, const struct router_setting *set)
{
	int i, like;

	for (i = 0; i < ROUTER_SETTINGS && set[i].name; i++) {
		struct p2pdma_router_function *f;

		f = &router->function[p2pdma_router_index(router, set[i].name)];
		f->acs_ctrl = set[i].ctrl;
		if (set[i].egress)
			__set_bit(set[i].egress, f->egress);
		f->mps = set[i].mps ?: 128;
		if (set[i].cap)
			f->acs_cap = set[i].cap;
		f->vendor = set[i].id >> 16;
		f->device_id = set[i].id;
		if (set[i].vector)
			f->vector = set[i].vector;
		if (set[i].cpu_like) {
			like = p2pdma_router_index(router, set[i].cpu_like);
			f->cpu = router->function[like].bar;
		}
	}
}

static void free_router(void *router)
{
	kfree(router);
}

/* The model of the fabric above, freed with the test */
static struct p2pdma_router *known_router(struct kunit *test,
					  const struct router_setting *set)
{
	struct p2pdma_router *router;
	struct pci_fabric *fabric;

	fabric = pci_fabric_kunit(test, known_fabric, ARRAY_SIZE(known_fabric));
	router = p2pdma_router_create(fabric, known_fabric,
				      ARRAY_SIZE(known_fabric));
	KUNIT_ASSERT_NOT_NULL(test, router);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_router,
							   router));
	if (set)
		apply(router, set);
	return router;
}

static void expect_answer(struct kunit *test,
			  const struct p2pdma_router_answer *answer,
			  enum pci_p2pdma_map_type map_type,
			  unsigned int directions)
{
	KUNIT_EXPECT_STREQ(test, p2pdma_router_map_name[answer->map_type],
			   p2pdma_router_map_name[map_type]);
	KUNIT_EXPECT_EQ(test, answer->directions, directions);
}

static void fates(struct kunit *test)
{
	static const enum p2pdma_router_sent sent[] = {
		P2PDMA_ROUTER_BUS_WRITE,
		P2PDMA_ROUTER_BUS_READ,
		P2PDMA_ROUTER_COMPLETION,
	};
	const struct router_case *c = test->param_value;
	struct p2pdma_router *router = known_router(test, c->set);
	struct p2pdma_router_client facts = { };
	struct p2pdma_router_answer answer;
	int i, client, provider;

	client = p2pdma_router_index(router, c->client);
	provider = p2pdma_router_index(router, c->provider);
	p2pdma_router_route(router, client, provider, &facts, c->policy, &answer);

	for (i = 0; i < ARRAY_SIZE(sent); i++)
		KUNIT_EXPECT_STREQ(test,
				   p2pdma_router_fate_name[answer.fate[sent[i]]],
				   p2pdma_router_fate_name[c->fate[i]]);
	expect_answer(test, &answer, c->map_type, c->directions);
	KUNIT_EXPECT_FALSE(test, answer.unknown);
}

/**
 * struct packet_case - one packet whose fate is known
 * @what: what the case shows
 * @from: sends it
 * @to: it is sent to this function
 * @set: what is different in the fabric
 * @tlp: the packet
 * @fate: its fate
 */
struct packet_case {
	const char *what;
	const char *from;
	const char *to;
	struct router_setting set[ROUTER_SETTINGS];
	struct p2pdma_router_tlp tlp;
	enum p2pdma_router_fate fate;
};

#define MEM_WRITE	P2PDMA_ROUTER_PACKET_WRITE
#define MEM_READ	P2PDMA_ROUTER_PACKET_READ
#define COMPLETION	P2PDMA_ROUTER_PACKET_COMPLETION
#define UNTRANSLATED	P2PDMA_ROUTER_UNTRANSLATED
#define TRANSLATION	P2PDMA_ROUTER_TRANSLATION
#define TRANSLATED	P2PDMA_ROUTER_TRANSLATED
#define BUS_ADDRESS	P2PDMA_ROUTER_BUS_ADDRESS
#define CPU_ADDRESS	P2PDMA_ROUTER_CPU_ADDRESS
#define IOVA		P2PDMA_ROUTER_IOVA

static const struct packet_case packet_cases[] = {
	/* Direct Translated P2P */
	{ "translated, request redirect", "e1", "e2", { { "d1", RR } },
	  { MEM_WRITE, TRANSLATED }, ROOT },
	{ "translated, request redirect, direct translated", "e1", "e2",
	  { { "d1", RR | DT } }, { MEM_WRITE, TRANSLATED }, DELIVERED },
	{ "a translated read", "e1", "e2",
	  { { "d1", RR | DT } }, { MEM_READ, TRANSLATED }, DELIVERED },
	{ "untranslated, request redirect, direct translated", "e1", "e2",
	  { { "d1", RR | DT } }, { MEM_WRITE, UNTRANSLATED }, ROOT },
	{ "direct translated isn't in the capability", "e1", "e2",
	  { { "d1", RR | DT, .cap = RR | CR } },
	  { MEM_WRITE, TRANSLATED }, ROOT },
	{ "direct translated at the egress is nothing", "e1", "e2",
	  { { "d1", RR }, { "d2", DT } }, { MEM_WRITE, TRANSLATED }, ROOT },
	{ "translated, egress control, direct translated", "e1", "e2",
	  { { "d1", EC | DT, 12 } }, { MEM_WRITE, TRANSLATED }, DELIVERED },
	{ "translated, egress control", "e1", "e2",
	  { { "d1", EC, 12 } }, { MEM_WRITE, TRANSLATED }, BLOCKED },
	{ "untranslated, egress control, direct translated", "e1", "e2",
	  { { "d1", EC | DT, 12 } }, { MEM_WRITE, UNTRANSLATED }, BLOCKED },
	{ "completions don't know direct translated", "e2", "e1",
	  { { "d2", CR | DT } }, { COMPLETION }, ROOT },
	{ "functions, translated, direct translated", "m0", "m1",
	  { { "m0", RR | EC | DT, 1 } }, { MEM_WRITE, TRANSLATED }, DELIVERED },
	{ "functions, untranslated, direct translated", "m0", "m1",
	  { { "m0", RR | EC | DT, 1 } }, { MEM_WRITE, UNTRANSLATED }, LOST },
	{ "functions without a way, direct translated", "m0", "m1",
	  { { "m0", DT, .cap = DT | EC } }, { MEM_WRITE, TRANSLATED }, LOST },
	{ "functions without a way, direct translated asks no egress control",
	  "m0", "m1", { { "m0", DT | EC, 1, .cap = DT | EC } },
	  { MEM_WRITE, TRANSLATED }, LOST },

	/* Translation Blocking */
	{ "translated, translation blocking", "e1", "e2", { { "d1", TB } },
	  { MEM_WRITE, TRANSLATED }, BLOCKED },
	{ "translated read, translation blocking", "e1", "e2",
	  { { "d1", TB } }, { MEM_READ, TRANSLATED }, BLOCKED },
	{ "untranslated, translation blocking", "e1", "e2", { { "d1", TB } },
	  { MEM_WRITE, UNTRANSLATED }, DELIVERED },
	{ "completion, translation blocking", "e1", "e2", { { "d1", TB } },
	  { COMPLETION }, DELIVERED },
	{ "translation blocking comes before direct translated", "e1", "e2",
	  { { "d1", TB | DT } }, { MEM_WRITE, TRANSLATED }, BLOCKED },
	{ "translation blocking isn't in the capability", "e1", "e2",
	  { { "d1", TB, .cap = RR } }, { MEM_WRITE, TRANSLATED }, DELIVERED },
	{ "translation blocking on the way down is nothing", "e1", "e2",
	  { { "d2", TB } }, { MEM_WRITE, TRANSLATED }, DELIVERED },
	{ "translation blocking above the turn is nothing", "e1", "e2",
	  { { "rp0", TB } }, { MEM_WRITE, TRANSLATED }, DELIVERED },
	{ "functions, translation blocking above is nothing", "m0", "m1",
	  { { "d6", TB } }, { MEM_WRITE, TRANSLATED }, DELIVERED },
	{ "translation blocking where a port is between", "e5", "e1",
	  { { "d5", TB } }, { MEM_WRITE, TRANSLATED }, BLOCKED },
	{ "translation blocking at the port of the inner switch", "e5", "e1",
	  { { "d4", TB } }, { MEM_WRITE, TRANSLATED }, BLOCKED },
	{ "translation blocking at the root port", "e1", "e2",
	  { { "d1", RR }, { "rp0", TB } }, { MEM_WRITE, TRANSLATED }, BLOCKED },
	{ "translation blocking comes before upstream forwarding", "e5", "m0",
	  { { "d5", RR }, { "d4", TB | UF } },
	  { MEM_WRITE, TRANSLATED }, BLOCKED },
	{ "and lets others pass", "e5", "m0",
	  { { "d5", RR }, { "d4", TB | UF } },
	  { MEM_WRITE, UNTRANSLATED }, ROOT },

	/* Translation requests */
	{ "translation request", "e1", "e2", { },
	  { MEM_READ, TRANSLATION, IOVA }, ROOT },
	{ "translation request, translation blocking", "e1", "e2",
	  { { "d1", TB } }, { MEM_READ, TRANSLATION, IOVA }, BLOCKED },
	{ "translation request, translation blocking at the root port",
	  "e1", "e2", { { "rp0", TB } },
	  { MEM_READ, TRANSLATION, IOVA }, BLOCKED },
	{ "translation request for an address of a device", "e1", "e2", { },
	  { MEM_READ, TRANSLATION, CPU_ADDRESS }, STRAY },
	{ "translation request for an address of a device, redirected",
	  "e1", "e2", { { "d1", RR } },
	  { MEM_READ, TRANSLATION, CPU_ADDRESS }, ROOT },
	{ "translation request isn't direct translated", "e1", "e2",
	  { { "d1", RR | DT } }, { MEM_READ, TRANSLATION, CPU_ADDRESS }, ROOT },
	{ "translation request, egress control", "e1", "e2",
	  { { "d1", EC, 12 } },
	  { MEM_READ, TRANSLATION, CPU_ADDRESS }, BLOCKED },
	{ "translation request ends before egress control", "e1", "e7",
	  { { "rp0", EC, 22 } }, { MEM_READ, TRANSLATION, IOVA }, ROOT },
	{ "translation request ends before upstream forwarding", "e1", "e2",
	  { { "rp0", .cap = ACS_ALL } },
	  { MEM_READ, TRANSLATION, IOVA }, ROOT },

	/* Relaxed Ordering */
	{ "completion redirect", "e2", "e1", { { "d2", CR } },
	  { COMPLETION }, ROOT },
	{ "completion redirect, relaxed ordering", "e2", "e1",
	  { { "d2", CR } }, { COMPLETION, .relaxed = true }, DELIVERED },
	{ "functions, completion redirect, relaxed ordering", "m0", "m1",
	  { { "m0", CR } }, { COMPLETION, .relaxed = true }, DELIVERED },
	{ "functions without a way, relaxed ordering", "m0", "m1",
	  { { "m0", .cap = RR } }, { COMPLETION, .relaxed = true }, LOST },
	{ "a port that is isolated, relaxed ordering", "e2", "e1",
	  { { "d2", .id = 0x1d170710 } },
	  { COMPLETION, .relaxed = true }, ROOT },

	/* Upstream Forwarding at root ports */
	{ "root port, no upstream forwarding", "e1", "e2",
	  { { "d1", RR }, { "rp0", RR, .cap = ACS_ALL } },
	  { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, LOST },
	{ "root port, upstream forwarding", "e1", "e2",
	  { { "d1", RR }, { "rp0", UF, .cap = ACS_ALL } },
	  { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, ROOT },
	{ "root port, upstream forwarding isn't in the capability",
	  "e1", "e2", { { "d1", RR } },
	  { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, ROOT },
	{ "root port, no upstream forwarding, IOVA", "e1", "e2",
	  { { "rp0", .cap = ACS_ALL } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, LOST },
	{ "root port, no upstream forwarding, bus address", "e1", "e2",
	  { { "d1", RR }, { "rp0", .cap = ACS_ALL } }, { MEM_WRITE }, ROOT },
	{ "root port, no upstream forwarding, translated", "e1", "e2",
	  { { "d1", RR }, { "rp0", DT, .cap = ACS_ALL } },
	  { MEM_WRITE, TRANSLATED, CPU_ADDRESS }, LOST },
	{ "root port, no upstream forwarding, completion", "e2", "e1",
	  { { "d2", CR }, { "rp0", .cap = ACS_ALL } }, { COMPLETION }, LOST },
	{ "to another root port without upstream forwarding", "e1", "e7",
	  { { "rp0", .cap = ACS_ALL } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "from another root port without upstream forwarding", "e1", "e7",
	  { { "rp1", .cap = ACS_ALL } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "an IOVA passes switch ports without upstream forwarding",
	  "e5", "m0", { { "d5", RR } }, { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },

	/* Egress Control at the root complex */
	{ "root port, egress control, IOVA", "e1", "e7",
	  { { "rp0", EC, 22 } }, { MEM_WRITE, UNTRANSLATED, IOVA }, BLOCKED },
	{ "root port, egress control, CPU address", "e1", "e7",
	  { { "rp0", EC, 22 } },
	  { MEM_READ, UNTRANSLATED, CPU_ADDRESS }, BLOCKED },
	{ "root port, egress control, bit of another port", "e1", "e7",
	  { { "rp0", EC, 21 } }, { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "root port, egress control, redirect", "e1", "e7",
	  { { "rp0", EC | RR, 22 } }, { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "root port, egress control isn't in the capability", "e1", "e7",
	  { { "rp0", EC, 22, .cap = RR } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "root port, egress control at the egress is nothing", "e1", "e7",
	  { { "rp1", EC, 21 } }, { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "root port, egress control, completion", "e1", "e7",
	  { { "rp0", EC, 22 } }, { COMPLETION }, ROOT },
	{ "root port, egress control, back to its own link", "e1", "e2",
	  { { "rp0", EC, 21 } }, { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "root port, egress control, translated", "e1", "e7",
	  { { "rp0", EC, 22 } },
	  { MEM_WRITE, TRANSLATED, CPU_ADDRESS }, BLOCKED },
	{ "root port, egress control, direct translated", "e1", "e7",
	  { { "rp0", EC | DT, 22 } },
	  { MEM_WRITE, TRANSLATED, CPU_ADDRESS }, ROOT },
	{ "root port, egress control, root complex endpoint", "e1", "r0",
	  { { "rp0", EC } }, { MEM_WRITE, UNTRANSLATED, IOVA }, OPEN },
	{ "root port, egress control, redirect, root complex endpoint",
	  "e1", "r0", { { "rp0", EC | RR } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "root port, egress control, other host bridge", "e1", "e8",
	  { { "rp0", EC } }, { MEM_WRITE, UNTRANSLATED, IOVA }, OPEN },
	{ "root port, egress control, redirect, other host bridge",
	  "e1", "e8", { { "rp0", EC | RR } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "root port, egress control, direct translated, other host bridge",
	  "e1", "e8", { { "rp0", EC | DT } },
	  { MEM_WRITE, TRANSLATED, CPU_ADDRESS }, ROOT },
	{ "root complex functions, egress control", "r0", "r1",
	  { { "r0", EC, 1 } }, { MEM_WRITE, UNTRANSLATED, IOVA }, BLOCKED },
	{ "root complex functions, egress control, redirect", "r0", "r1",
	  { { "r0", EC | RR, 1 } }, { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "root complex functions, egress control, other bit", "r0", "r1",
	  { { "r0", EC, 2 } }, { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "root complex functions, egress control, without a way", "r0", "r1",
	  { { "r0", EC, 1, .cap = EC } },
	  { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, BLOCKED },
	{ "root complex functions, egress control, direct translated",
	  "r0", "r1", { { "r0", EC | DT, 1 } },
	  { MEM_WRITE, TRANSLATED, CPU_ADDRESS }, ROOT },
	{ "root complex functions, egress control, another device", "r0", "r3",
	  { { "r0", EC, 1 } }, { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "root complex function, egress control, other host bridge",
	  "r0", "x1", { { "r0", EC, 1 } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },

	/* Numbers that have no bit */
	{ "port number in the vector", "e1", "e2",
	  { { "d1", EC, .vector = 13 } }, { MEM_WRITE }, DELIVERED },
	{ "port number not in the vector", "e1", "e2",
	  { { "d1", EC, .vector = 12 } }, { MEM_WRITE }, OPEN },
	{ "port number not in the vector, redirect", "e1", "e2",
	  { { "d1", EC | RR, .vector = 12 } }, { MEM_WRITE }, OPEN },
	{ "port number not in the vector, egress control off", "e1", "e2",
	  { { "d1", RR, .vector = 12 } }, { MEM_WRITE }, ROOT },
	{ "port number not in the vector, direct translated", "e1", "e2",
	  { { "d1", EC | DT, .vector = 12 } }, { MEM_WRITE, TRANSLATED },
	  DELIVERED },
	{ "port number not in the vector, completion", "e1", "e2",
	  { { "d1", EC, .vector = 12 } }, { COMPLETION }, DELIVERED },
	{ "function number in the vector", "m0", "m2",
	  { { "m0", EC, .vector = 3 } }, { MEM_WRITE }, DELIVERED },
	{ "function number not in the vector", "m0", "m2",
	  { { "m0", EC, .vector = 2 } }, { MEM_WRITE }, OPEN },
	{ "root port number in the vector", "e1", "e7",
	  { { "rp0", EC, .vector = 23 } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "root port number not in the vector", "e1", "e7",
	  { { "rp0", EC, .vector = 22 } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, OPEN },
	{ "root port number not in the vector, redirect", "e1", "e7",
	  { { "rp0", EC | RR, .vector = 22 } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "root complex function number in the vector", "r0", "r1",
	  { { "r0", EC, .vector = 2 } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "root complex function number not in the vector", "r0", "r1",
	  { { "r0", EC, .vector = 1 } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, OPEN },

	/* CPU addresses */
	{ "CPU address that is the bus address", "e1", "e2", { },
	  { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, DELIVERED },
	{ "CPU address that is the bus address, redirect", "e1", "e2",
	  { { "d1", RR } }, { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, ROOT },
	{ "bus address, egress control", "e1", "c2",
	  { { "d1", EC, 13 } }, { MEM_WRITE }, BLOCKED },
	{ "CPU address that isn't the bus address", "e1", "c2",
	  { { "d1", EC, 13 } },
	  { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, ROOT },
	{ "CPU address behind another host bridge", "e1", "e8", { },
	  { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, ROOT },
	{ "CPU address of another device in the switch", "e1", "e2",
	  { { "e2", .cpu_like = "e5" } },
	  { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, STRAY },
	{ "redirected or not", "e1", "e2",
	  { { "e2", .cpu_like = "e5" }, { "d1", RR } },
	  { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, STRAY },
	{ "translated, too", "e1", "e2", { { "e2", .cpu_like = "e5" } },
	  { MEM_WRITE, TRANSLATED, CPU_ADDRESS }, STRAY },
	{ "an IOVA isn't", "e1", "e2", { { "e2", .cpu_like = "e5" } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "a bus address isn't", "e1", "e2", { { "e2", .cpu_like = "e5" } },
	  { MEM_WRITE }, DELIVERED },
	{ "CPU address of the device itself", "e1", "e2",
	  { { "e2", .cpu_like = "e1" } },
	  { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, STRAY },
	{ "CPU address of the device itself, upstream forwarding", "e1", "e2",
	  { { "e2", .cpu_like = "e1" }, { "d1", UF } },
	  { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, STRAY },
	{ "CPU address of a sibling", "m0", "m1",
	  { { "m1", .cpu_like = "m2" } },
	  { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, STRAY },
	{ "CPU address of the port's own link", "e7", "e8",
	  { { "e8", .cpu_like = "e7" } },
	  { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, STRAY },
	{ "CPU address that is a bus address below the client's host bridge",
	  "e1", "e8", { { "e8", .cpu_like = "e2" } },
	  { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, STRAY },
	{ "not on the way", "e1", "e8", { { "e8", .cpu_like = "e7" } },
	  { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, ROOT },
	{ "not on the client's side", "e8", "e1", { { "e1", .cpu_like = "e2" } },
	  { MEM_WRITE, UNTRANSLATED, CPU_ADDRESS }, ROOT },

	/* Payload below a root port */
	{ "the root port sends large packets", "e1", "e7",
	  { { "e1", .mps = 512 }, { "rp1", .mps = 256 } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, TOO_LARGE },
	{ "the root port sends small packets", "e1", "e7",
	  { { "e1", .mps = 512 } }, { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "the root port gets small packets", "e1", "e7",
	  { { "rp1", .mps = 512 } }, { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "the receiver accepts them", "e1", "e7",
	  { { "e1", .mps = 512 }, { "rp1", .mps = 256 }, { "e7", .mps = 256 } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "a read has no payload", "e1", "e7",
	  { { "e1", .mps = 512 }, { "rp1", .mps = 256 } },
	  { MEM_READ, UNTRANSLATED, IOVA }, ROOT },
	{ "translated", "e1", "e7",
	  { { "e1", .mps = 512 }, { "rp1", .mps = 256 } },
	  { MEM_WRITE, TRANSLATED, CPU_ADDRESS }, TOO_LARGE },
	{ "a completion has", "e7", "e1",
	  { { "e7", .mps = 256 }, { "rp0", .mps = 256 }, { "sw", .mps = 256 },
	    { "d1", .mps = 256 } }, { COMPLETION }, TOO_LARGE },
	{ "a port between doesn't accept them", "e7", "e1",
	  { { "e7", .mps = 256 }, { "rp0", .mps = 256 }, { "sw", .mps = 256 },
	    { "e1", .mps = 256 } }, { COMPLETION }, TOO_LARGE },
	{ "the same root port", "e1", "e2",
	  { { "e1", .mps = 256 }, { "rp0", .mps = 256 }, { "sw", .mps = 256 },
	    { "d2", .mps = 256 } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, TOO_LARGE },
	{ "ports on the way up are no matter", "e1", "e2",
	  { { "e1", .mps = 256 }, { "rp0", .mps = 256 }, { "sw", .mps = 256 },
	    { "d2", .mps = 256 }, { "e2", .mps = 256 } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
	{ "a root complex endpoint sends", "r0", "e7",
	  { { "r0", .mps = 256 }, { "rp1", .mps = 256 } },
	  { MEM_WRITE, UNTRANSLATED, IOVA }, TOO_LARGE },
	{ "a root complex endpoint receives", "e1", "r0",
	  { { "e1", .mps = 256 } }, { MEM_WRITE, UNTRANSLATED, IOVA }, ROOT },
};

KUNIT_ARRAY_PARAM_DESC(packet, packet_cases, what);

static void packets(struct kunit *test)
{
	const struct packet_case *c = test->param_value;
	struct p2pdma_router *router = known_router(test, c->set);
	int from = p2pdma_router_index(router, c->from);
	int to = p2pdma_router_index(router, c->to);
	enum p2pdma_router_fate fate;

	fate = p2pdma_router_send(router, &c->tlp, from, to);
	KUNIT_EXPECT_STREQ(test, p2pdma_router_fate_name[fate],
			   p2pdma_router_fate_name[c->fate]);
}

/**
 * struct client_case - a client whose route is known
 * @what: what the case shows
 * @client: sends requests
 * @provider: sends completions
 * @set: what is different in the fabric
 * @facts: about the client and the mapping
 * @policy: what the root complex forwards
 * @map_type: resulting mapping type
 * @directions: resulting directions
 * @unknown: the specification leaves open what the route is
 */
struct client_case {
	const char *what;
	const char *client;
	const char *provider;
	struct router_setting set[ROUTER_SETTINGS];
	struct p2pdma_router_client facts;
	unsigned int policy;
	enum pci_p2pdma_map_type map_type;
	unsigned int directions;
	bool unknown;
};

static const struct client_case client_cases[] = {
	{ "an IOVA needs no upstream forwarding", "e5", "m0",
	  { { "d5", RR } }, { .iommu = true }, BOTH, THROUGH, BOTH },
	{ "a CPU address does", "e5", "m0",
	  { { "d5", RR } }, { }, BOTH, REFUSED, 0 },
	{ "the root port has upstream forwarding and it is off", "e1", "e2",
	  { { "d1", RR }, { "rp0", .cap = ACS_ALL } }, { .iommu = true },
	  BOTH, REFUSED, 0 },
	{ "requests blocked, but not by CPU address", "e1", "c2",
	  { { "d1", EC, 13 } }, { }, BOTH, THROUGH, BOTH },
	{ "a stray CPU address", "e1", "e8",
	  { { "e8", .cpu_like = "e2" } }, { }, BOTH, REFUSED, 0 },
	{ "no stray IOVA", "e1", "e8",
	  { { "e8", .cpu_like = "e2" } },
	  { .iommu = true }, BOTH, THROUGH, BOTH },

	{ "DMA ranges", "e1", "e2", { { "d1", RR } }, { .ranges = true },
	  BOTH, REFUSED, 0 },
	{ "DMA ranges and IOMMU", "e1", "e2", { { "d1", RR } },
	  { .ranges = true, .iommu = true }, BOTH, THROUGH, BOTH },
	{ "DMA ranges and bus address", "e1", "e2", { }, { .ranges = true },
	  BOTH, BUS, BOTH },

	{ "translated without ATS", "e1", "e2", { }, { .translated = true },
	  BOTH, REFUSED, 0 },
	{ "translated without ATS, to itself", "e1", "e1", { },
	  { .translated = true }, 0, BUS, BOTH },
	{ "a client with ATS doesn't use bus addresses", "e1", "e2", { },
	  { .ats = true, .iommu = true }, BOTH, THROUGH, BOTH },
	{ "it needs the root complex", "e1", "e2", { },
	  { .ats = true, .iommu = true }, 0, REFUSED, 0 },
	{ "a client with ATS that chooses does", "e1", "e2", { },
	  { .ats = true, .iommu = true, .chooses = true }, 0, BUS, BOTH },
	{ "without ATS there is no choice", "e1", "e2", { },
	  { .iommu = true, .chooses = true }, 0, BUS, BOTH },
	{ "translated requests by bus address", "e1", "e2",
	  { { "d1", RR | DT } },
	  { .ats = true, .iommu = true, .translated = true }, 0, BUS, BOTH },
	{ "untranslated ones are redirected", "e1", "e2",
	  { { "d1", RR | DT } },
	  { .ats = true, .iommu = true, .chooses = true }, 0, REFUSED, 0 },
	{ "translated requests are redirected", "e1", "e2", { { "d1", RR } },
	  { .ats = true, .iommu = true, .translated = true },
	  BOTH, THROUGH, BOTH },
	{ "all kinds of packets must arrive: translation requests blocked",
	  "e1", "e7", { { "d1", TB } }, { .ats = true, .iommu = true },
	  BOTH, REFUSED, 0 },
	{ "a client that chooses doesn't send them", "e1", "e7",
	  { { "d1", TB } }, { .ats = true, .iommu = true, .chooses = true },
	  BOTH, THROUGH, BOTH },
	{ "unless it says so", "e1", "e7", { { "d1", TB } },
	  { .ats = true, .iommu = true, .chooses = true, .translated = true },
	  BOTH, REFUSED, 0 },
	{ "all kinds of packets must arrive: translated ones blocked",
	  "e1", "e2", { { "d1", EC, 12 } }, { .ats = true, .iommu = true },
	  BOTH, REFUSED, 0 },
	{ "all kinds of packets must arrive: untranslated ones blocked",
	  "e1", "e7", { { "rp0", EC | DT, 22 } }, { .ats = true, .iommu = true },
	  BOTH, REFUSED, 0 },
	{ "all kinds of packets must arrive: stray translated ones",
	  "e1", "e8", { { "e8", .cpu_like = "e2" } },
	  { .ats = true, .iommu = true }, BOTH, REFUSED, 0 },
	{ "ATS without IOMMU, the provider gets translation requests",
	  "e1", "e2", { }, { .ats = true }, BOTH, REFUSED, 0 },
	{ "ATS without IOMMU, translation requests are redirected",
	  "e1", "e2", { { "d1", RR } }, { .ats = true }, BOTH, THROUGH, BOTH },
	{ "ATS without IOMMU, translated ones go straight", "e1", "e2",
	  { { "d1", RR | DT } }, { .ats = true }, WRITE_ONLY,
	  THROUGH, WRITE_ONLY },

	{ "completions redirected", "e1", "e2", { { "d2", CR } }, { },
	  0, BUS, WRITE_ONLY },
	{ "completions with relaxed ordering only", "e1", "e2",
	  { { "d2", CR } }, { .relaxed = true }, 0, BUS, BOTH },
	{ "completions with relaxed ordering too large", "e1", "e2",
	  { { "d2", CR, .mps = 512 }, { "e2", .mps = 512 } },
	  { .relaxed = true }, BOTH, BUS, WRITE_ONLY },

	{ "egress control, no bit, nothing forwarded", "e1", "e2",
	  { { "d1", EC, .vector = 12 } }, { }, 0, REFUSED, 0, true },
	{ "egress control, no bit, bus address or IOVA", "e1", "e2",
	  { { "d1", EC, .vector = 12 } }, { .iommu = true }, BOTH,
	  REFUSED, 0, true },
	{ "egress control, no bit, not asked", "e1", "e2",
	  { { "d1", EC | DT, .vector = 12 } },
	  { .ats = true, .translated = true }, 0, BUS, BOTH },
	{ "root port, egress control, no bit", "e1", "e7",
	  { { "rp0", EC, .vector = 22 } }, { }, BOTH, REFUSED, 0, true },
	{ "root port, egress control, no bit, nothing forwarded", "e1", "e7",
	  { { "rp0", EC, .vector = 22 } }, { }, 0, REFUSED, 0 },
	{ "no bit, ATS, refused anyway", "e1", "e2",
	  { { "d1", EC, .vector = 12 } },
	  { .ats = true, .iommu = true }, 0, REFUSED, 0 },
};

KUNIT_ARRAY_PARAM_DESC(client, client_cases, what);

static void clients(struct kunit *test)
{
	const struct client_case *c = test->param_value;
	struct p2pdma_router *router = known_router(test, c->set);
	struct p2pdma_router_answer answer;

	p2pdma_router_route(router, p2pdma_router_index(router, c->client),
			    p2pdma_router_index(router, c->provider), &c->facts,
			    c->policy, &answer);
	expect_answer(test, &answer, c->map_type, c->directions);
	KUNIT_EXPECT_EQ(test, answer.unknown, c->unknown);
}

/* CPU addresses that bridges may take for bus addresses */
static void address_taken(struct kunit *test)
{
	struct p2pdma_router *router = known_router(test, NULL);
	int e1 = p2pdma_router_index(router, "e1");
	int e2 = p2pdma_router_index(router, "e2");
	int c2 = p2pdma_router_index(router, "c2");
	int e8 = p2pdma_router_index(router, "e8");
	struct p2pdma_router_function *far = &router->function[e8];
	const struct p2pdma_router_function *host =
		&router->function[router->function[e1].host];

	KUNIT_EXPECT_FALSE(test, p2pdma_router_address_taken(router, e1, e2));
	KUNIT_EXPECT_FALSE(test, p2pdma_router_address_taken(router, e1, c2));
	KUNIT_EXPECT_FALSE(test, p2pdma_router_address_taken(router, e1, e8));

	far->cpu = host->prefetch[0];
	KUNIT_EXPECT_TRUE(test, p2pdma_router_address_taken(router, e1, e8));
	/* Also if it happens to be the bus address behind its own host bridge */
	far->bar = far->cpu;
	KUNIT_EXPECT_TRUE(test, p2pdma_router_address_taken(router, e1, e8));
	KUNIT_EXPECT_FALSE(test, p2pdma_router_address_taken(router, e8, e8));
	far->cpu = host->prefetch[0] - far->bar_size;
	KUNIT_EXPECT_FALSE(test, p2pdma_router_address_taken(router, e1, e8));
	far->cpu++;
	KUNIT_EXPECT_TRUE(test, p2pdma_router_address_taken(router, e1, e8));
	far->cpu = host->prefetch[1];
	KUNIT_EXPECT_TRUE(test, p2pdma_router_address_taken(router, e1, e8));
	far->cpu++;
	KUNIT_EXPECT_FALSE(test, p2pdma_router_address_taken(router, e1, e8));
	far->cpu = host->memory[1];
	KUNIT_EXPECT_TRUE(test, p2pdma_router_address_taken(router, e1, e8));

	router->function[e2].cpu += SZ_64K;
	KUNIT_EXPECT_TRUE(test, p2pdma_router_address_taken(router, e1, e2));
}

static enum p2pdma_router_fate send_packet(const struct p2pdma_router *router,
					   enum p2pdma_router_packet packet,
					   enum p2pdma_router_address address,
					   int from, int to)
{
	struct p2pdma_router_tlp tlp = { .packet = packet, .address = address };

	return p2pdma_router_send(router, &tlp, from, to);
}

/* A packet for an address that no device has must be lost */
static void nobody(struct kunit *test)
{
	struct p2pdma_router *router = known_router(test, NULL);
	int e1 = p2pdma_router_index(router, "e1");
	int e2 = p2pdma_router_index(router, "e2");
	int e8 = p2pdma_router_index(router, "e8");
	struct p2pdma_router_function *d2 =
		&router->function[p2pdma_router_index(router, "d2")];
	struct p2pdma_router_function *far = &router->function[e8];
	u64 limit = d2->prefetch[1];

	/* Equal addresses behind two host bridges are two addresses */
	far->bar = router->function[e2].bar;
	far->cpu = far->bar;
	KUNIT_EXPECT_EQ(test, STRAY,
			send_packet(router, MEM_WRITE, CPU_ADDRESS, e1, e8));
	/* An address in the switch's window, but in no port's, is a stray one */
	d2->prefetch[1] = 0;
	KUNIT_EXPECT_EQ(test, STRAY,
			send_packet(router, MEM_WRITE, CPU_ADDRESS, e1, e8));
	d2->prefetch[1] = limit;

	router->function[e2].bar += SZ_64K;
	router->function[e2].bar_size = 0;
	KUNIT_EXPECT_EQ(test, LOST,
			send_packet(router, MEM_WRITE, BUS_ADDRESS, e1, e2));
	router->function[e2].bar = 0;
	KUNIT_EXPECT_EQ(test, ROOT,
			send_packet(router, MEM_WRITE, BUS_ADDRESS, e1, e2));
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
			send_packet(router, MEM_WRITE, BUS_ADDRESS, v0, pf));
	KUNIT_EXPECT_EQ(test, DELIVERED,
			send_packet(router, MEM_WRITE, BUS_ADDRESS, e, v2));
	KUNIT_EXPECT_EQ(test, DELIVERED,
			send_packet(router, COMPLETION, BUS_ADDRESS, e, v2));

	vf0->acs_ctrl = RR;
	KUNIT_EXPECT_EQ(test, LOST,
			send_packet(router, MEM_WRITE, BUS_ADDRESS, v0, v2));
	router->function[p2pdma_router_index(router, "d0")].acs_ctrl = UF;
	KUNIT_EXPECT_EQ(test, ROOT,
			send_packet(router, MEM_WRITE, BUS_ADDRESS, v0, v2));
	KUNIT_EXPECT_EQ(test, DELIVERED,
			send_packet(router, MEM_WRITE, BUS_ADDRESS, v0, e));

	vf0->acs_ctrl = EC;
	__set_bit(vf2->id & 0xff, vf0->egress);
	KUNIT_EXPECT_EQ(test, BLOCKED,
			send_packet(router, MEM_READ, BUS_ADDRESS, v0, v2));
	KUNIT_EXPECT_EQ(test, DELIVERED,
			send_packet(router, MEM_READ, BUS_ADDRESS, v0, pf));
	/* On the next bus, it has no number that a bit could stand for */
	vf2->id += 1 << 8;
	KUNIT_EXPECT_EQ(test, OPEN,
			send_packet(router, MEM_READ, BUS_ADDRESS, v0, v2));
	vf2->id -= 1 << 8;
	vf0->vector = vf2->id & 0xff;
	KUNIT_EXPECT_EQ(test, OPEN,
			send_packet(router, MEM_READ, BUS_ADDRESS, v0, v2));

	router->function[pf].mps = 256;
	KUNIT_EXPECT_EQ(test, TOO_LARGE,
			send_packet(router, MEM_WRITE, BUS_ADDRESS, v0, e));
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

/* They are those that the PCI core has found */
static void cpu_addresses(struct kunit *test)
{
	static const struct pci_fabric_node nodes[] = {
		{ "h0", .kind = PCI_FABRIC_HOST, .domain = 0x10000 },
		{ "h1", .kind = PCI_FABRIC_HOST, .domain = 0x10001,
		  .offset = SZ_64M },
		{ "rp0", "h0", PCI_FABRIC_ROOT_PORT, 1 },
		{ "rp1", "h1", PCI_FABRIC_ROOT_PORT, 1 },
		{ "e0", "rp0", PCI_FABRIC_ENDPOINT, BAR0 },
		{ "e1", "rp1", PCI_FABRIC_ENDPOINT, BAR0, .total_vfs = 2,
		  .vf_bar0 = SZ_64K },
		{ "l0", "h0", PCI_FABRIC_RC_ENDPOINT, 2,
		  .bar[0] = { SZ_64K, PCI_FABRIC_BAR_32 } },
		{ "l1", "h1", PCI_FABRIC_RC_ENDPOINT, 2,
		  .bar[0] = { SZ_64K, PCI_FABRIC_BAR_32 } },
	};
	const struct p2pdma_router_function *f;
	struct p2pdma_router *router;
	struct pci_fabric *fabric;
	struct pci_dev *pdev;
	int i;

	fabric = pci_fabric_kunit(test, nodes, ARRAY_SIZE(nodes));
	KUNIT_ASSERT_EQ(test, 0, pci_fabric_enable_vfs(fabric, "e1", 2));
	router = p2pdma_router_create(fabric, nodes, ARRAY_SIZE(nodes));
	KUNIT_ASSERT_NOT_NULL(test, router);
	for (i = 0; i < router->count; i++) {
		f = &router->function[i];
		if (!f->bar_size)
			continue;
		pdev = pci_fabric_dev(fabric, f->name);
		KUNIT_EXPECT_EQ_MSG(test, pci_bus_address(pdev, 0), f->bar,
				    "%s", f->name);
		KUNIT_EXPECT_EQ_MSG(test, pci_resource_start(pdev, 0), f->cpu,
				    "%s", f->name);
	}
	kfree(router);
}

static struct kunit_case router_test_cases[] = {
	KUNIT_CASE_PARAM(fates, router_gen_params),
	KUNIT_CASE_PARAM(packets, packet_gen_params),
	KUNIT_CASE_PARAM(clients, client_gen_params),
	KUNIT_CASE(address_taken),
	KUNIT_CASE(nobody),
	KUNIT_CASE(virtual_functions),
	KUNIT_CASE(cpu_addresses),
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
