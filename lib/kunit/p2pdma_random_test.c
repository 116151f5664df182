// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit test: routes on random PCI fabrics, against a packet router.
 *
 * Fabrics are made at random, and the answers of pci_p2pdma_route_tlp() and
 * pci_p2pdma_distance_many() for two devices are compared with the fate of the
 * packets that the devices would send each other, see p2pdma_router.c.
 *
 * A random fabric is a topology together with one setting of what may change
 * without enumeration: ACS control, Egress Control Vectors, payload sizes,
 * config reads that fail, ATS, IOMMUs and DMA ranges of clients.  Enumeration
 * takes most of the time, so each topology is used with several settings.  The
 * seed determines everything:
 *
 *	p2pdma_random.seed=N	seed of the first topology, the next one has
 *				N + 1; every message about a fabric names it.
 *				A new one each time if not given.
 *	p2pdma_random.fabrics=N	number of fabrics
 *
 * Reasons (except those that the model can't know a route by: `unreadable`,
 * `unknown`, `address-taken`, `ats-off`), distances, log lines, provider memory
 * and mappings are not compared here.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/dma-direct.h>
#include <linux/moduleparam.h>
#include <linux/pci-p2pdma.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "p2pdma_router.h"
#include "p2pdma_test.h"
#include "../../drivers/pci/p2pdma.h"
#include "../../drivers/pci/pci.h"

#define MAX_NODES	64
#define SETTINGS	10	/* that each topology is used with */
#define PAIRS		25	/* that are compared in each setting */
#define FAILING		4	/* functions that can't be read at once */
#define CHUNK		500	/* fabrics in one run of the test case */

static unsigned long long seed;
static unsigned int fabrics = IS_ENABLED(CONFIG_KASAN) ? 1000 : 10000;

#define BOTH		(P2PDMA_ROUTER_READ | P2PDMA_ROUTER_WRITE)
#define READ_ONLY	P2PDMA_ROUTER_READ
#define WRITE_ONLY	P2PDMA_ROUTER_WRITE

#define REFUSED		PCI_P2PDMA_MAP_NOT_SUPPORTED
#define BUS		PCI_P2PDMA_MAP_BUS_ADDR
#define THROUGH		PCI_P2PDMA_MAP_THRU_HOST_BRIDGE

static const char * const direction_name[] = {
	"none", "read", "write", "read and write"
};

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "p2pdma_random."
module_param(seed, ullong, 0444);
MODULE_PARM_DESC(seed, "Seed of the first random PCI topology");
module_param(fabrics, uint, 0444);
MODULE_PARM_DESC(fabrics, "How many random PCI fabrics to compare routes on");

/**
 * struct random_fabric - a fabric under construction
 * @seed: of the topology
 * @state: of the random number generator
 * @count: nodes so far
 * @functions: nodes so far, plus their virtual functions
 * @node: the table
 * @name: names of the nodes
 * @vfs: virtual functions of each node
 * @last: last node directly below each node, -1 for none
 * @ports: where each switch's and root complex's port numbers begin, and how
 *	far they are apart
 * @client: facts about each function as a client, without those of a mapping
 */
struct random_fabric {
	u64 seed;
	u64 state;
	unsigned int count;
	unsigned int functions;
	struct pci_fabric_node node[MAX_NODES];
	char name[MAX_NODES][8];
	u8 vfs[MAX_NODES];
	s8 last[MAX_NODES];
	u8 ports[MAX_NODES][2];
	struct p2pdma_router_client client[MAX_NODES];
};

/* SplitMix64 */
static u64 next_random(u64 *state)
{
	u64 z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static unsigned int below(u64 *state, unsigned int n)
{
	return (u32)next_random(state) % n;
}

static bool chance(u64 *state, unsigned int percent)
{
	return below(state, 100) < percent;
}

/* Some of the bits of @mask: often none, often all, often in between */
static u16 some_bits(u64 *state, u16 mask)
{
	switch (below(state, 3)) {
	case 0:
		return 0;
	case 1:
		return mask;
	default:
		return mask & next_random(state);
	}
}

static bool has_bus(enum pci_fabric_kind kind)
{
	switch (kind) {
	case PCI_FABRIC_RC_ENDPOINT:
	case PCI_FABRIC_ENDPOINT:
	case PCI_FABRIC_PCI_DEVICE:
		return false;
	default:
		return true;
	}
}

static bool has_link(enum pci_fabric_kind kind)
{
	return kind == PCI_FABRIC_ROOT_PORT || kind == PCI_FABRIC_DOWNSTREAM;
}

/* A random kind of node that may be below @above */
static enum pci_fabric_kind random_kind(u64 *state, enum pci_fabric_kind above)
{
	unsigned int roll = below(state, 100);

	switch (above) {
	case PCI_FABRIC_HOST:
		return roll < 60 ? PCI_FABRIC_ROOT_PORT :
		       roll < 85 ? PCI_FABRIC_RC_ENDPOINT :
		       roll < 95 ? PCI_FABRIC_PCI_DEVICE :
				   PCI_FABRIC_PCI_PCI_BRIDGE;
	case PCI_FABRIC_ROOT_PORT:
	case PCI_FABRIC_DOWNSTREAM:
		return roll < 45 ? PCI_FABRIC_ENDPOINT :
		       roll < 90 ? PCI_FABRIC_UPSTREAM :
				   PCI_FABRIC_PCI_BRIDGE;
	case PCI_FABRIC_UPSTREAM:
		return PCI_FABRIC_DOWNSTREAM;
	default:
		return roll < 80 ? PCI_FABRIC_PCI_DEVICE :
				   PCI_FABRIC_PCI_PCI_BRIDGE;
	}
}

/*
 * ACS bits that the Base Specification lets such a function have, with and
 * without sense
 */
static u16 random_acs(u64 *state, enum pci_fabric_kind kind)
{
	u16 acs = PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_EC;

	if (chance(state, 30))
		return 0;
	switch (kind) {
	case PCI_FABRIC_ROOT_PORT:
	case PCI_FABRIC_DOWNSTREAM:
		acs |= PCI_ACS_UF | PCI_ACS_SV | PCI_ACS_TB | PCI_ACS_DT;
		break;
	case PCI_FABRIC_ENDPOINT:
	case PCI_FABRIC_UPSTREAM:
	case PCI_FABRIC_RC_ENDPOINT:
		/* Most hardware has no way between functions, and says so */
		if (chance(state, 25))
			return PCI_FABRIC_ACS_EMPTY;
		acs |= PCI_ACS_DT;
		break;
	default:
		return 0;
	}
	return chance(state, 60) ? acs :
	       (acs & next_random(state)) ?: PCI_FABRIC_ACS_EMPTY;
}

/* Some functions are isolated although they don't say so */
static void random_quirk(u64 *state, struct pci_fabric_node *node)
{
	static const u16 adapters[][2] = {
		{ 0x1924, 0x0903 }, { 0x8088, 0x1001 }
	};
	unsigned int i = below(state, ARRAY_SIZE(adapters));

	if (!chance(state, 10))
		return;
	if (node->kind == PCI_FABRIC_ENDPOINT) {
		node->vendor = adapters[i][0];
		node->device_id = adapters[i][1];
	} else if (node->kind == PCI_FABRIC_DOWNSTREAM) {
		node->vendor = PCI_VENDOR_ID_ZHAOXIN;
		node->device_id = 0x0710;
	}
}

static struct pci_fabric_node *new_node(struct random_fabric *r, int above,
					enum pci_fabric_kind kind)
{
	struct pci_fabric_node *node = &r->node[r->count];

	*node = (struct pci_fabric_node) { .kind = kind };
	snprintf(r->name[r->count], sizeof(r->name[0]), "n%u", r->count);
	node->name = r->name[r->count];
	r->last[r->count] = -1;
	r->ports[r->count][0] = below(&r->state, 256);
	r->ports[r->count][1] = 1 + 2 * below(&r->state, 3);
	if (above >= 0) {
		node->below = r->node[above].name;
		node->acs_cap = random_acs(&r->state, kind);
		if (node->acs_cap & PCI_ACS_EC && chance(&r->state, 30))
			node->acs_vector = 1 + below(&r->state, 64);
		r->last[above] = r->count;
	}
	r->count++;
	r->functions++;
	return node;
}

/* Add a node below @above; false if there is no number left for it */
static bool add_child(struct random_fabric *r, int above)
{
	enum pci_fabric_kind on = r->node[above].kind;
	const struct pci_fabric_node *last = NULL;
	unsigned int device = 0, function = 0;
	struct pci_fabric_node *node;
	u64 *state = &r->state;
	int index = r->count;

	if (r->last[above] >= 0)
		last = &r->node[r->last[above]];
	if (last && (has_link(on) || chance(state, 25))) {
		/* One more function; below a link not too often */
		if (last->function == 7 ||
		    (has_link(on) && !chance(state, 30)))
			return false;
		device = last->device;
		function = last->function + 1;
	} else if (last) {
		device = last->device + 1;
		if (device > 31)
			return false;
	} else if (!has_link(on)) {
		/* With or without a device at 00.0 */
		device = below(state, 2);
	}

	node = new_node(r, above, random_kind(state, on));
	node->device = device;
	node->function = function;
	random_quirk(state, node);
	if (has_link(node->kind)) {
		node->port = r->ports[above][0];
		r->ports[above][0] += r->ports[above][1];
	}
	if (!has_bus(node->kind)) {
		node->bar[0].size = chance(state, 90) ? SZ_64K : SZ_1M;
		if (chance(state, 20))
			node->bar[0].flags = PCI_FABRIC_BAR_32;
	}
	if (node->kind == PCI_FABRIC_ENDPOINT && !function &&
	    r->functions + 4 <= MAX_NODES && chance(state, 12)) {
		node->total_vfs = 4;
		node->vf_bar0 = SZ_4K;
		node->vf_acs_cap = random_acs(state, node->kind);
		r->vfs[index] = 1 + below(state, 4);
		r->functions += r->vfs[index];
	}
	return true;
}

/* The IDs at 00.0, or of the root ports, identify a host bridge */
static void name_host_bridge(struct random_fabric *r, int host)
{
	static const u16 ids[] = { 0x1234, 0x2030, 0x3c00, 0x29c0 };
	u16 id = ids[below(&r->state, ARRAY_SIZE(ids))];
	int i;

	for (i = 0; i < r->count; i++) {
		if (r->node[i].below != r->node[host].name)
			continue;
		r->node[i].vendor = 0x8086;
		r->node[i].device_id = chance(&r->state, 80) ? id :
			ids[below(&r->state, ARRAY_SIZE(ids))];
	}
}

static void random_topology(struct random_fabric *r, u64 topology_seed)
{
	/*
	 * CPU addresses less bus addresses.  The windows of all host bridges are
	 * side by side, multiples of 128 MiB in size, so that with small offsets
	 * CPU addresses are bus addresses of other devices too.
	 */
	static const u64 offsets[] = {
		0, 0, 0, 0, SZ_4G, SZ_64M, SZ_128M, SZ_256M, -(u64)SZ_256M,
	};
	unsigned int i, hosts, functions;
	u64 *state = &r->state;

	memset(r, 0, sizeof(*r));
	r->seed = topology_seed;
	r->state = topology_seed;

	hosts = 1 + below(state, 3);
	functions = 8 + below(state, MAX_NODES - 7);
	for (i = 0; i < hosts; i++) {
		struct pci_fabric_node *host = new_node(r, -1, PCI_FABRIC_HOST);

		host->domain = 0x10000 + i;
		host->offset = offsets[below(state, ARRAY_SIZE(offsets))];
	}
	/* There may be no place left, so limit the attempts */
	for (i = 0; r->functions < functions && i < 10000; i++) {
		int above = below(state, r->count);

		/* Otherwise most devices would be on root buses */
		if (above < hosts && r->last[above] >= 0 && chance(state, 80))
			continue;
		if (has_bus(r->node[above].kind))
			add_child(r, above);
	}
	for (i = 0; i < hosts; i++)
		name_host_bridge(r, i);
}

/*
 * One setting, in the fabric and in the model
 */

/* A bit in the Egress Control Vector of @f, often that for packets to @g */
static unsigned int egress_bit(const struct p2pdma_router *router,
			       const struct p2pdma_router_function *f,
			       const struct p2pdma_router_function *g)
{
	if (has_link(f->kind))
		return g->port;
	if (router->function[f->above].kind == PCI_FABRIC_HOST &&
	    f->id >> 3 == g->id >> 3)
		return g->id & 7;
	return g->id & 0xff;
}

static void set_function(struct random_fabric *r, struct pci_fabric *fabric,
			 struct p2pdma_router *router, int index, u16 acs,
			 unsigned int payloads)
{
	struct p2pdma_router_function *f = &router->function[index];
	unsigned int i, number, mps;
	u64 *state = &r->state;
	u16 ctrl;

	ctrl = some_bits(state, acs) & f->acs_cap;
	if (ctrl != f->acs_ctrl)
		pci_fabric_set_acs(fabric, f->name, ctrl);
	f->acs_ctrl = ctrl;

	for (i = 0; i < router->count && (f->acs_cap & PCI_ACS_EC); i++) {
		const struct p2pdma_router_function *g = &router->function[i];
		bool on = chance(state, 40);

		if (g->above != f->above)
			continue;
		number = egress_bit(router, f, g);
		if (number >= f->vector || on == test_bit(number, f->egress))
			continue;
		pci_fabric_set_egress(fabric, f->name, number, on);
		__assign_bit(number, f->egress, on);
	}

	if (f->kind == PCI_FABRIC_PCI_DEVICE ||
	    f->kind == PCI_FABRIC_PCI_PCI_BRIDGE || f->pf != index)
		return;
	mps = 128 << below(state, payloads);
	if (mps != f->mps)
		pci_fabric_set_mps(fabric, f->name, mps);
	f->mps = mps;
}

/*
 * Bits that follow a vector in its last 32 bits mean nothing, whatever they
 * are. No function has them set; here they are, so that a core which reads them
 * fails.
 */
static void fill_vectors(struct pci_fabric *fabric,
			 struct p2pdma_router *router)
{
	unsigned int i, filled, last;
	u16 where;

	for (i = 0; i < router->count; i++) {
		struct p2pdma_router_function *f = &router->function[i];

		filled = round_up(f->vector, 32);
		if (!(f->acs_cap & PCI_ACS_EC) || filled == f->vector)
			continue;
		bitmap_set(f->egress, f->vector, filled - f->vector);
		last = filled / 32 - 1;
		where = p2pdma_router_ext_cap(fabric, f->name,
					      PCI_EXT_CAP_ID_ACS);
		pci_fabric_write(fabric, f->name,
				 where + PCI_ACS_EGRESS_CTL_V + 4 * last, 4,
				 ~0U << f->vector % 32);
	}
}

static void random_setting(struct random_fabric *r, struct pci_fabric *fabric,
			   struct p2pdma_router *router)
{
	/* What the kernel sets for isolation, and less usual mixtures */
	static const u16 acs[] = {
		(u16)~PCI_ACS_TB,
		PCI_ACS_SV | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF,
		PCI_ACS_RR | PCI_ACS_CR,
		PCI_ACS_RR | PCI_ACS_UF,
		PCI_ACS_CR | PCI_ACS_UF,
		PCI_ACS_EC | PCI_ACS_CR | PCI_ACS_UF,
		PCI_ACS_EC,
	};
	u64 *state = &r->state;
	/* Equal payloads half of the time, as unequal ones block most routes */
	unsigned int payloads = chance(state, 50) ? 1 : 3;
	u16 mask = acs[below(state, ARRAY_SIZE(acs))], root = 0;
	unsigned int i, failing;

	if (chance(state, 40))
		mask |= PCI_ACS_DT;
	if (chance(state, 15))
		mask |= PCI_ACS_TB;
	/* Nothing sets this, and few routes depend on it */
	if (chance(state, 50))
		root = PCI_ACS_EC | PCI_ACS_CR | PCI_ACS_UF | PCI_ACS_DT;

	for (i = 0; i < router->count; i++) {
		struct p2pdma_router_function *f = &router->function[i];

		if (f->kind == PCI_FABRIC_HOST)
			continue;
		if (f->unreadable)
			pci_fabric_fail_reads(fabric, f->name, false);
		f->unreadable = false;
		set_function(r, fabric, router, i,
			     root && f->above == f->host ? root : mask, payloads);
	}

	failing = chance(state, 25) ? 1 + below(state, FAILING) : 0;
	while (failing--) {
		struct p2pdma_router_function *f;

		f = &router->function[below(state, router->count)];
		if (f->kind == PCI_FABRIC_HOST || f->unreadable)
			continue;
		pci_fabric_fail_reads(fabric, f->name, true);
		f->unreadable = true;
	}
}

/* Facts about a client, in the PCI core and for the model */
static void set_client(struct random_fabric *r,
		       const struct p2pdma_router_function *f,
		       struct p2pdma_router_client *client, struct pci_dev *pdev)
{
	static const struct bus_dma_region ranges[] = {
		{ .cpu_start = 0, .dma_start = SZ_1G, .size = 1ULL << 52 },
		{ }
	};
	u64 *state = &r->state;

	*client = (struct p2pdma_router_client) {
		/* A conventional device can't have it */
		.ats = f->kind != PCI_FABRIC_PCI_DEVICE && chance(state, 30),
		.chooses = chance(state, 50),
		.iommu = chance(state, 50),
		.ranges = chance(state, 15),
	};
	pdev->ats_enabled = client->ats;
	pci_p2pdma_set_tlp_choice(pdev, client->chooses);
	pdev->dev.dma_range_map = client->ranges ? ranges : NULL;
}

static void reset_client(struct pci_dev *pdev)
{
	pdev->ats_enabled = false;
	pci_p2pdma_set_tlp_choice(pdev, false);
	/* The driver core would free it */
	pdev->dev.dma_range_map = NULL;
}

/*
 * The expected answer if reads fail, or the specification leaves it open
 */

enum readable { READABLE, EITHER, UNREADABLE };

static bool on_leg(const struct p2pdma_router *router, int from, int index)
{
	if (router->function[from].pf == index)
		return true;
	for (; from >= 0; from = router->function[from].above)
		if (from == index)
			return true;
	return false;
}

/**
 * struct expectation - what the core may answer
 * @answer: the model's answer
 * @readable: whether the core may, or must, give up instead
 */
struct expectation {
	struct p2pdma_router_answer answer;
	enum readable readable;
};

static bool same_answer(const struct p2pdma_router_answer *a,
			const struct p2pdma_router_answer *b)
{
	return a->map_type == b->map_type && a->directions == b->directions &&
	       a->unknown == b->unknown;
}

static bool met_unknown(const struct p2pdma_router_answer *answer)
{
	int i;

	for (i = 0; i < P2PDMA_ROUTER_SENT; i++)
		if (answer->sent & BIT(i) &&
		    answer->fate[i] == P2PDMA_ROUTER_UNKNOWN)
			return true;
	return false;
}

/*
 * A register that can't be read is needed if the answer would be another one
 * with other contents: then `unreadable` is the only right answer. Where the
 * device is on the way, but its registers change nothing, it is a right answer
 * too. A device that isn't on the way has no part in this.
 */
static enum readable readable(struct p2pdma_router *router, int client,
			      int provider,
			      const struct p2pdma_router_client *facts,
			      unsigned int policy,
			      const struct p2pdma_router_answer *answer)
{
	static const struct {
		u16 ctrl;
		unsigned int mps;
	} contents[] = {
		{ 0, 128 },
		{ 0, 4096 },
		{ PCI_ACS_RR | PCI_ACS_CR, 128 },
		{ PCI_ACS_RR | PCI_ACS_CR, 4096 },
		{ PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF, 128 },
		{ PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF, 4096 },
		{ PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF | PCI_ACS_DT, 128 },
		{ PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF | PCI_ACS_TB, 128 },
		{ PCI_ACS_RR | PCI_ACS_UF | PCI_ACS_DT, 4096 },
		{ PCI_ACS_CR | PCI_ACS_UF, 128 },
		{ PCI_ACS_UF, 128 },
		{ PCI_ACS_UF, 4096 },
		{ PCI_ACS_UF | PCI_ACS_TB, 128 },
		{ PCI_ACS_EC, 128 },
		{ PCI_ACS_EC | PCI_ACS_DT, 4096 },
		{ PCI_ACS_EC | PCI_ACS_UF | PCI_ACS_DT, 128 },
		{ PCI_ACS_EC | PCI_ACS_UF | PCI_ACS_CR, 4096 },
	};
	enum readable result = READABLE;
	struct p2pdma_router_answer other;
	struct p2pdma_router_function saved[FAILING];
	unsigned int alternatives = ARRAY_SIZE(contents) + router->count;
	unsigned int i, k, count = 0;
	u8 index[FAILING];

	for (i = 0; i < router->count; i++) {
		const struct p2pdma_router_function *f = &router->function[i];

		if (!f->unreadable)
			continue;
		if (on_leg(router, client, i) || on_leg(router, provider, i))
			result = EITHER;
		index[count] = i;
		saved[count++] = *f;
	}

	for (k = 0; k < alternatives && result == EITHER; k++) {
		for (i = 0; i < count; i++) {
			struct p2pdma_router_function *f;

			f = &router->function[index[i]];
			*f = saved[i];
			if (k >= ARRAY_SIZE(contents)) {
				/* Port numbers that mean something here */
				f->port = router->function[k - ARRAY_SIZE(contents)].port;
				continue;
			}
			f->acs_ctrl = contents[k].ctrl;
			f->mps = contents[k].mps;
			bitmap_fill(f->egress, P2PDMA_ROUTER_VECTOR);
		}
		p2pdma_router_route(router, client, provider, facts, policy,
				    &other);
		if (!same_answer(&other, answer))
			result = UNREADABLE;
	}

	for (i = 0; i < count; i++)
		router->function[index[i]] = saved[i];
	return result;
}

static noinline_for_stack void expect(struct p2pdma_router *router, int client,
				      int provider,
				      const struct p2pdma_router_client *facts,
				      unsigned int policy,
				      struct expectation *expected)
{
	struct p2pdma_router_answer *answer = &expected->answer;

	p2pdma_router_route(router, client, provider, facts, policy, answer);
	expected->readable = readable(router, client, provider, facts, policy,
				      answer);
	/* What the specification leaves open is the same as unreadable */
	if (answer->unknown)
		expected->readable = UNREADABLE;
	else if (expected->readable == READABLE && met_unknown(answer))
		expected->readable = EITHER;
}

/*
 * The comparison
 */

static void print_fabric(struct kunit *test, const struct random_fabric *r,
			 const struct p2pdma_router *router)
{
	static const char * const kind_name[] = {
		[PCI_FABRIC_HOST] = "host bridge",
		[PCI_FABRIC_ROOT_PORT] = "root port",
		[PCI_FABRIC_RC_ENDPOINT] = "RC endpoint",
		[PCI_FABRIC_UPSTREAM] = "upstream",
		[PCI_FABRIC_DOWNSTREAM] = "downstream",
		[PCI_FABRIC_ENDPOINT] = "endpoint",
		[PCI_FABRIC_PCI_BRIDGE] = "PCIe-PCI",
		[PCI_FABRIC_PCI_PCI_BRIDGE] = "PCI-PCI",
		[PCI_FABRIC_PCI_DEVICE] = "PCI device",
	};
	unsigned int i;

	kunit_err(test, "p2pdma_random.seed=%llu, a topology with:\n", r->seed);
	for (i = 0; i < router->count; i++) {
		const struct p2pdma_router_function *f = &router->function[i];

		kunit_err(test,
			  "%-6s below %-5s %-11s %04x:%02x:%02x.%x buses %02x-%02x id %04x:%04x acs %02x of %02x vector %u: %*pbl port %u mps %u%s\n",
			  f->name,
			  f->above < 0 ? "-" : router->function[f->above].name,
			  kind_name[f->kind], 0x10000 + f->host, f->id >> 8,
			  f->id >> 3 & 31, f->id & 7, f->secondary,
			  f->subordinate, f->vendor, f->device_id, f->acs_ctrl,
			  f->acs_cap, f->vector, P2PDMA_ROUTER_VECTOR,
			  f->egress, f->port, f->mps,
			  f->unreadable ? " unreadable" : "");
	}
}

/* Counts of what was compared, so that a test that compares nothing fails */
struct seen {
	unsigned int routes;
	unsigned int map[PCI_P2PDMA_MAP_THRU_HOST_BRIDGE + 1][4];
	unsigned int fate[P2PDMA_ROUTER_COUNT];
	unsigned int unreadable;
	unsigned int unknown;	/* what the specification leaves open decides */
	unsigned int no_way;	/* requests between functions that can't go across */
	unsigned int quirks;	/* from a function that the PCI core has a quirk for */
	unsigned int encrypted;	/* root complex not used only for encryption */
	unsigned int taken;	/* not used as CPU addresses may be bus addresses */
	unsigned int ranges;	/* not used only for DMA ranges */
	unsigned int ats_off;	/* translated requests without ATS */
	unsigned int ats_bus;	/* translated requests by bus address */
	unsigned int ats_through;	/* through the root complex with ATS */
	unsigned int translated;	/* only translated requests get there */
	unsigned int relaxed;	/* only relaxed completions get there */
	unsigned int blocking;	/* Translation Blocking */
	/* Untranslated requests that reach the root complex, and fail there */
	unsigned int root_egress;
	unsigned int root_forwarding;
	unsigned int root_payload;
};

struct pair {
	int client;
	int provider;
	struct pci_dev *client_dev;
	struct pci_dev *provider_dev;
};

/* Simulated properties of the machine, and of the pair's client */
static bool cpu_allows, encrypted, client_translated;

static bool cpu_rule(void)
{
	return cpu_allows;
}

static bool encryption_rule(void)
{
	return encrypted;
}

static bool iommu_rule(struct device *dev)
{
	return client_translated;
}

/* Functions of one device, the first of which has something special? */
static void count_special(const struct p2pdma_router *router,
			  const struct pair *pair, struct seen *seen)
{
	const struct p2pdma_router_function *f =
		&router->function[pair->client];

	if (pair->client == pair->provider ||
	    f->above != router->function[pair->provider].above ||
	    !has_link(router->function[f->above].kind))
		return;
	if (f->acs_cap && !(f->acs_cap & PCI_ACS_RR))
		seen->no_way++;
	if (f->vendor)
		seen->quirks++;
}

/* The function on a root bus that is above @index, or is it */
static int at_root(const struct p2pdma_router *router, int index)
{
	while (router->function[index].above != router->function[index].host)
		index = router->function[index].above;
	return index;
}

static void count_answer(const struct p2pdma_router *router,
			 const struct pair *pair,
			 const struct p2pdma_router_client *facts,
			 unsigned int policy,
			 const struct p2pdma_router_answer *answer,
			 struct seen *seen)
{
	bool ats = answer->sent & BIT(P2PDMA_ROUTER_DMA_TRANSLATION);
	struct p2pdma_router_client other = *facts;
	struct p2pdma_router_answer without;
	int i;

	seen->map[answer->map_type][answer->directions]++;
	for (i = 0; i < P2PDMA_ROUTER_SENT; i++)
		if (answer->sent & BIT(i))
			seen->fate[answer->fate[i]]++;
	if (!facts->translated && !facts->relaxed)
		count_special(router, pair, seen);
	if (pair->client == pair->provider)
		return;

	if (facts->translated && !facts->ats)
		seen->ats_off++;
	if (facts->translated && answer->map_type == BUS)
		seen->ats_bus++;
	if (ats && answer->map_type == THROUGH)
		seen->ats_through++;
	if (ats && facts->iommu &&
	    answer->fate[P2PDMA_ROUTER_DMA_TRANSLATION] == P2PDMA_ROUTER_BLOCKED)
		seen->blocking++;
	/* Untranslated requests that no bridge below the root forwards */
	if ((facts->iommu || at_root(router, pair->client) !=
			     at_root(router, pair->provider)) &&
	    answer->sent & BIT(P2PDMA_ROUTER_DMA_WRITE)) {
		switch (answer->fate[P2PDMA_ROUTER_DMA_WRITE]) {
		case P2PDMA_ROUTER_BLOCKED:
			seen->root_egress++;
			break;
		case P2PDMA_ROUTER_LOST:
			seen->root_forwarding++;
			break;
		case P2PDMA_ROUTER_MALFORMED:
			seen->root_payload++;
			break;
		default:
			break;
		}
	}

	/* Facts that decide */
	other.ranges = false;
	p2pdma_router_route(router, pair->client, pair->provider, &other, policy,
			    &without);
	if (!same_answer(answer, &without))
		seen->ranges++;
	other = *facts;
	other.relaxed = false;
	p2pdma_router_route(router, pair->client, pair->provider, &other, policy,
			    &without);
	if (!same_answer(answer, &without))
		seen->relaxed++;
	if (!facts->chooses)
		return;
	other = *facts;
	other.translated = false;
	p2pdma_router_route(router, pair->client, pair->provider, &other, policy,
			    &without);
	if (answer->map_type == BUS && !without.directions)
		seen->translated++;
}

static bool gave_up(const struct p2pdma_route *route)
{
	return route->reasons & (BIT(P2PDMA_REASON_UNREADABLE) |
				 BIT(P2PDMA_REASON_UNKNOWN));
}

/* Whether the core's answer is one of those that are expected */
static bool agrees(const struct expectation *expected, int rc,
		   const struct p2pdma_route *route)
{
	const struct p2pdma_router_answer *answer = &expected->answer;

	if (!route->directions && (route->map_type != REFUSED || rc != -EREMOTEIO))
		return false;
	if (expected->readable == UNREADABLE)
		return !route->directions && gave_up(route);
	if (!route->directions) {
		if (expected->readable == EITHER && gave_up(route))
			return true;
		if (expected->readable == READABLE &&
		    route->reasons & BIT(P2PDMA_REASON_UNREADABLE))
			return false;
	}
	return route->map_type == answer->map_type &&
	       route->directions == answer->directions &&
	       rc == (answer->directions ? 0 : -EREMOTEIO);
}

static void print_disagreement(struct kunit *test, const struct random_fabric *r,
			       const struct p2pdma_router *router,
			       const struct pair *pair,
			       const struct p2pdma_router_client *facts,
			       unsigned int policy,
			       const struct expectation *expected)
{
	const struct p2pdma_router_answer *answer = &expected->answer;
	int i;

	print_fabric(test, r, router);
	kunit_err(test, "%s%s%s%s%s accesses %s%s%s; root complex forwards %s\n",
		  router->function[pair->client].name,
		  facts->ats ? " with ATS" : "",
		  facts->chooses ? ", that chooses," : "",
		  facts->iommu ? " with IOMMU" : "",
		  facts->ranges ? " with DMA ranges" : "",
		  router->function[pair->provider].name,
		  facts->translated ? " by translated requests" : "",
		  facts->relaxed ? ", completions with relaxed ordering" : "",
		  direction_name[policy]);
	kunit_err(test, "expected: %s, %s%s%s\n",
		  p2pdma_router_map_name[answer->map_type],
		  direction_name[answer->directions],
		  answer->unknown ? " (unknown)" :
		  expected->readable == UNREADABLE ? " (unreadable)" : "",
		  expected->readable == EITHER ? " (or unknown or unreadable)" : "");
	for (i = 0; i < P2PDMA_ROUTER_SENT; i++)
		if (answer->sent & BIT(i))
			kunit_err(test, "%s: %s\n", p2pdma_router_sent_name[i],
				  p2pdma_router_fate_name[answer->fate[i]]);
}

/* Return: false if core and model don't agree about one kind of mapping */
static noinline_for_stack bool
compare_mapping(struct kunit *test, struct random_fabric *r,
		struct p2pdma_router *router, const struct pair *pair,
		const struct p2pdma_router_client *facts, unsigned int policy,
		struct seen *seen)
{
	struct device *client_dev = &pair->client_dev->dev;
	struct p2pdma_route route = {};
	struct expectation expected, without_root;
	unsigned int flags = 0;
	bool agreed, taken, near, both;
	const char *wrong;
	int rc, distance = 0;

	if (facts->translated)
		flags |= PCI_P2PDMA_TLP_TRANSLATED;
	if (facts->relaxed)
		flags |= PCI_P2PDMA_TLP_RELAXED_CPL;
	expect(router, pair->client, pair->provider, facts, policy, &expected);
	/* Untranslated requests without an IOMMU, and all translated ones */
	taken = (!facts->iommu ||
		 (facts->ats && (facts->translated || !facts->chooses))) &&
		p2pdma_router_address_taken(router, pair->client, pair->provider);

	rc = pci_p2pdma_route_tlp(pair->provider_dev, client_dev, flags, &route);
	seen->routes++;
	agreed = agrees(&expected, rc, &route);
	if (agreed) {
		if (expected.answer.unknown)
			seen->unknown++;
		else if (expected.readable == UNREADABLE ||
			 (expected.readable == EITHER && gave_up(&route)))
			seen->unreadable++;
		else
			count_answer(router, pair, facts, policy,
				     &expected.answer, seen);
	} else if (taken) {
		/* The core doesn't look which device has the address */
		expect(router, pair->client, pair->provider, facts, 0,
		       &without_root);
		agreed = agrees(&without_root, rc, &route) &&
			 (route.directions ||
			  route.reasons & BIT(P2PDMA_REASON_ADDRESS_TAKEN));
		seen->taken += agreed;
	}

	if (facts->translated && !facts->ats && pair->client != pair->provider &&
	    !gave_up(&route) && !(route.reasons & BIT(P2PDMA_REASON_ATS_OFF)))
		agreed = false;
	if (!flags) {
		distance = pci_p2pdma_distance_many(pair->provider_dev,
						    &client_dev, 1, false);
		near = distance >= 0;
		both = route.directions == BOTH;
		agreed = agreed && near == both;
	}
	wrong = p2pdma_test_answer(pair->provider_dev, pair->client_dev, flags,
				   &route);
	if (agreed && !*wrong)
		return true;

	print_disagreement(test, r, router, pair, facts, policy, &expected);
	kunit_err(test, "pci_p2pdma_route_tlp(%#x): %d, %s, %s, %s, reasons %#lx%s; pci_p2pdma_distance_many(): %d; what differs in p2pdma_answer(): %s\n",
		  flags, rc, p2pdma_router_map_name[route.map_type],
		  direction_name[route.directions & BOTH],
		  p2pdma_reason_name(route.reason) ?: "(no reason)",
		  (unsigned long)route.reasons, taken ? ", address taken" : "",
		  distance, *wrong ? wrong : "nothing");
	KUNIT_FAIL(test,
		   "no agreement; p2pdma_random.seed=%llu p2pdma_random.fabrics=%u repeats it",
		   r->seed, SETTINGS);
	return false;
}

/* Return: false if core and model don't agree */
static bool compare(struct kunit *test, struct random_fabric *r,
		    struct p2pdma_router *router, const struct pair *pair,
		    struct seen *seen)
{
	struct p2pdma_router_client facts = r->client[pair->client];
	unsigned int policy, i;

	client_translated = facts.iommu;
	policy = p2pdma_router_policy(router, pair->client, pair->provider,
				      cpu_allows);
	/* Encrypted: forwarded addresses aren't those of the provider */
	if (encrypted && policy) {
		seen->encrypted++;
		policy = 0;
	}
	for (i = 0; i < 4; i++) {
		facts.translated = i & 1;
		facts.relaxed = i & 2;
		if (!compare_mapping(test, r, router, pair, &facts, policy, seen))
			return false;
	}
	return true;
}

/* Which functions can be client and provider */
static unsigned int ends(const struct p2pdma_router *router, u8 *index)
{
	unsigned int i, count = 0;

	for (i = 0; i < router->count; i++)
		if (router->function[i].bar_size)
			index[count++] = i;
	return count;
}

/* Two functions, preferably near to each other */
static void random_pair(struct random_fabric *r,
			const struct p2pdma_router *router, const u8 *index,
			unsigned int count, struct pair *pair)
{
	unsigned int tries = chance(&r->state, 40) ? 0 : below(&r->state, 10);
	int above;

	pair->client = index[below(&r->state, count)];
	do {
		pair->provider = index[below(&r->state, count)];
		above = router->function[pair->client].above;
		while (above >= 0 && !on_leg(router, pair->provider, above))
			above = router->function[above].above;
	} while (tries-- && (above < 0 ||
			     router->function[above].kind == PCI_FABRIC_HOST ||
			     pair->client == pair->provider));
}

static bool settings(struct kunit *test, struct random_fabric *r,
		     struct pci_fabric *fabric, struct p2pdma_router *router,
		     struct pci_dev **dev, unsigned int count,
		     struct seen *seen)
{
	u8 index[MAX_NODES];
	unsigned int i, k, found = ends(router, index);
	bool all = found * found <= PAIRS;
	struct pair pair;

	for (i = 0; i < count; i++) {
		random_setting(r, fabric, router);
		for (k = 0; k < found; k++)
			set_client(r, &router->function[index[k]],
				   &r->client[index[k]], dev[index[k]]);
		cpu_allows = chance(&r->state, 30);
		encrypted = chance(&r->state, 10);
		pci_p2pdma_fabric_changed();

		for (k = 0; k < (all ? found * found : PAIRS); k++) {
			if (all) {
				pair.client = index[k / found];
				pair.provider = index[k % found];
			} else {
				random_pair(r, router, index, found, &pair);
			}
			pair.client_dev = dev[pair.client];
			pair.provider_dev = dev[pair.provider];
			if (!compare(test, r, router, &pair, seen))
				return false;
		}
		cond_resched();
	}
	return true;
}

/* Return: false if there was no agreement, or nothing to compare */
static bool judge(struct kunit *test, struct random_fabric *r,
		  struct pci_fabric *fabric, unsigned int count,
		  struct seen *seen)
{
	struct p2pdma_router *router __free(kfree) = NULL;
	struct pci_dev *dev[MAX_NODES] = {};
	unsigned int i;
	bool agreed;

	for (i = 0; i < r->count; i++)
		if (r->vfs[i] && pci_fabric_enable_vfs(fabric, r->name[i],
						       r->vfs[i])) {
			KUNIT_FAIL(test, "p2pdma_random.seed=%llu: no VFs of %s",
				   r->seed, r->name[i]);
			return false;
		}
	router = p2pdma_router_create(fabric, r->node, r->count);
	if (!router || router->count > MAX_NODES) {
		KUNIT_FAIL(test, "p2pdma_random.seed=%llu: no model", r->seed);
		return false;
	}
	fill_vectors(fabric, router);

	for (i = 0; i < router->count; i++) {
		if (!router->function[i].bar_size)
			continue;
		dev[i] = pci_fabric_dev(fabric, router->function[i].name);
		if (!dev[i]) {
			KUNIT_FAIL(test, "p2pdma_random.seed=%llu: no device %s",
				   r->seed, router->function[i].name);
			return false;
		}
		/* DMA masks are for other tests */
		dev[i]->dma_mask = DMA_BIT_MASK(64);
	}
	agreed = settings(test, r, fabric, router, dev, count, seen);
	for (i = 0; i < router->count; i++)
		if (dev[i])
			reset_client(dev[i]);
	return agreed;
}

static bool topology(struct kunit *test, struct random_fabric *r,
		     unsigned int count, struct seen *seen)
{
	struct pci_fabric *fabric = pci_fabric_create(r->node, r->count);
	bool agreed;

	if (IS_ERR_OR_NULL(fabric)) {
		KUNIT_FAIL(test, "p2pdma_random.seed=%llu: no fabric (%ld)",
			   r->seed, PTR_ERR(fabric));
		return false;
	}
	agreed = judge(test, r, fabric, count, seen);
	pci_fabric_destroy(fabric);
	return agreed;
}

/* Each run of the test case does a share, as one long run would time out */
static const void *random_gen_params(const void *prev, char *desc)
{
	unsigned long chunk = prev ? (unsigned long)prev : 0;
	unsigned int first = chunk * CHUNK;

	if (first >= fabrics)
		return NULL;
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%u to %u", first,
		 min(first + CHUNK, fabrics) - 1);
	return (void *)(chunk + 1);
}

static const struct {
	const char *name;
	size_t offset;		/* of an unsigned int in struct seen */
} counters[] = {
	{ "unreadable", offsetof(struct seen, unreadable) },
	{ "unknown", offsetof(struct seen, unknown) },
	{ "functions without a way", offsetof(struct seen, no_way) },
	{ "functions with a quirk", offsetof(struct seen, quirks) },
	{ "encrypted", offsetof(struct seen, encrypted) },
	{ "address taken", offsetof(struct seen, taken) },
	{ "DMA ranges decide", offsetof(struct seen, ranges) },
	{ "translated without ATS", offsetof(struct seen, ats_off) },
	{ "translated by bus address", offsetof(struct seen, ats_bus) },
	{ "ATS through the root complex", offsetof(struct seen, ats_through) },
	{ "translated only", offsetof(struct seen, translated) },
	{ "relaxed ordering decides", offsetof(struct seen, relaxed) },
	{ "translation blocking", offsetof(struct seen, blocking) },
	{ "egress control at the root", offsetof(struct seen, root_egress) },
	{ "no upstream forwarding at the root",
	  offsetof(struct seen, root_forwarding) },
	{ "payload below the root", offsetof(struct seen, root_payload) },
};

static unsigned int counted(const struct seen *seen, unsigned int i)
{
	return *(const unsigned int *)((const char *)seen + counters[i].offset);
}

static void print_seen(struct kunit *test, const struct seen *seen)
{
	int i;

	kunit_info(test, "%u routes; bus address: %u read and write, %u read, %u write; through host bridge: %u, %u, %u; refused %u\n",
		   seen->routes,
		   seen->map[BUS][BOTH], seen->map[BUS][READ_ONLY],
		   seen->map[BUS][WRITE_ONLY], seen->map[THROUGH][BOTH],
		   seen->map[THROUGH][READ_ONLY],
		   seen->map[THROUGH][WRITE_ONLY], seen->map[REFUSED][0]);
	for (i = 0; i < ARRAY_SIZE(counters); i++)
		kunit_info(test, "%s: %u\n", counters[i].name, counted(seen, i));
	for (i = 0; i < P2PDMA_ROUTER_COUNT; i++)
		kunit_info(test, "packets: %s: %u\n", p2pdma_router_fate_name[i],
			   seen->fate[i]);
}

static void expect_all_seen(struct kunit *test, const struct seen *seen)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(counters); i++)
		KUNIT_EXPECT_GT_MSG(test, counted(seen, i), 0, "%s",
				    counters[i].name);
	/* Those with an unknown fate are counted above, where it matters. */
	for (i = 0; i < P2PDMA_ROUTER_UNKNOWN; i++)
		KUNIT_EXPECT_GT_MSG(test, seen->fate[i], 0, "packets: %s",
				    p2pdma_router_fate_name[i]);
	for (i = READ_ONLY; i <= BOTH; i++)
		KUNIT_EXPECT_GT_MSG(test, seen->map[BUS][i], 0,
				    "by bus address: %s", direction_name[i]);
	for (i = WRITE_ONLY; i <= BOTH; i++)
		KUNIT_EXPECT_GT_MSG(test, seen->map[THROUGH][i], 0,
				    "through host bridge: %s", direction_name[i]);
	KUNIT_EXPECT_GT(test, seen->map[REFUSED][0], 0);
}

static void routes_agree_with_router(struct kunit *test)
{
	unsigned long chunk = (unsigned long)test->param_value - 1;
	unsigned int done, count, share = min(CHUNK, fabrics - chunk * CHUNK);
	static struct seen seen;	/* in all runs of the test case */
	struct random_fabric *r;
	u64 first;

	if (!chunk)
		memset(&seen, 0, sizeof(seen));
	if (!seed)
		seed = get_random_u32();
	first = seed + chunk * (CHUNK / SETTINGS);
	kunit_info(test, "p2pdma_random.seed=%llu\n", first);
	r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, r);

	kunit_activate_static_stub(test, p2pdma_cpu_allows, cpu_rule);
	kunit_activate_static_stub(test, p2pdma_memory_encrypted,
				   encryption_rule);
	kunit_activate_static_stub(test, p2pdma_translated, iommu_rule);
	for (done = 0; done < share; done += count) {
		count = min(SETTINGS, share - done);
		random_topology(r, first + done / SETTINGS);
		if (!topology(test, r, count, &seen))
			break;
	}

	/* Some things are so rare that a few fabrics needn't have them. */
	if (done < share || chunk * CHUNK + share < fabrics)
		return;
	print_seen(test, &seen);
	if (fabrics >= 2 * CHUNK)
		expect_all_seen(test, &seen);
}

static struct kunit_case random_test_cases[] = {
	KUNIT_CASE_PARAM_ATTR(routes_agree_with_router, random_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	{ }
};

/* The router's model has this host bridge, too */
static int admit_host_bridge(struct kunit_suite *suite)
{
	return p2pdma_admit_host_bridges("8086:29c0:w") == 1 ? 0 : -EINVAL;
}

static void admit_none(struct kunit_suite *suite)
{
	p2pdma_admit_host_bridges("");
}

static struct kunit_suite random_suite = {
	.name = "p2pdma_random",
	.suite_init = admit_host_bridge,
	.suite_exit = admit_none,
	.test_cases = random_test_cases,
};

kunit_test_suite(random_suite);

MODULE_DESCRIPTION("KUnit test of P2PDMA routes on random PCI fabrics");
MODULE_LICENSE("GPL");
