// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit test: ranges of BARs mapped at random, against a naive computation.
 *
 * Fabrics are those of p2pdma_test.h, with random host bridges, offsets, ACS
 * control, payload sizes and DMA masks.  A BAR's bus address is read from its
 * register; its CPU address is that plus the host bridge's offset in the table.
 * p2pdma_router.c says which way packets go, and whether they arrive.  The
 * expected result of p2pdma_map() for a client, a BAR, a range (not always in
 * the BAR) and a direction is computed from these in 128-bit arithmetic.
 *
 *	p2pdma_map_random.seed=N	seed of all random numbers; printed, and
 *					a new one each time if not given
 *	p2pdma_map_random.rounds=N	number of fabrics
 *
 * Providers have no struct pages here, and there is no IOMMU.
 */

#include <linux/array_size.h>
#include <linux/cleanup.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/limits.h>
#include <linux/moduleparam.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <kunit/static_stub.h>

#include "p2pdma_router.h"
#include "p2pdma_test.h"

#define MAX_FUNCTIONS	32
#define SETTINGS	8	/* that each fabric is used with */
#define QUESTIONS	64	/* in each setting */

static unsigned long long seed;
static unsigned int rounds = IS_ENABLED(CONFIG_KASAN) ? 50 : 300;

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "p2pdma_map_random."
module_param(seed, ullong, 0444);
MODULE_PARM_DESC(seed, "Seed of the random mappings");
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "How many fabrics to map on");

/* Possible results of a question */
enum outcome {
	BY_BUS_ADDRESS,
	BY_CPU_ADDRESS,
	NO_ROUTE,		/* in that direction at least */
	MASKED,
	NOT_IN_BAR,
	NO_DIRECTION,
	OUTCOMES
};

static const char * const outcome_name[OUTCOMES] = {
	"bus address", "CPU address", "no route", "dma mask", "not in the BAR",
	"no direction"
};

/**
 * struct world - a fabric, its model, and the state of the test
 * @state: of the random number generator
 * @seed: of this fabric
 * @cpu_allows: whether the processor forwards
 * @fabric: the fabric
 * @nodes: its table
 * @router: the model of it
 * @ends: functions with a BAR, as indices into the model
 * @count: number of @ends
 * @dev: their devices, by index into the model
 * @seen: how often each outcome occurred
 */
struct world {
	u64 state;
	u64 seed;
	bool cpu_allows;
	struct pci_fabric *fabric;
	struct pci_fabric_node *nodes;
	struct p2pdma_router *router;
	u8 ends[MAX_FUNCTIONS];
	unsigned int count;
	struct pci_dev *dev[MAX_FUNCTIONS];
	unsigned int seen[OUTCOMES];
};

/* A client, a provider, an address range and a direction to map */
struct question {
	int client;
	int provider;
	u64 phys;
	u64 size;
	int dir;
};

/* Xorshift64*, by Vigna */
static u64 next_random(struct world *world)
{
	world->state ^= world->state >> 12;
	world->state ^= world->state << 25;
	world->state ^= world->state >> 27;
	return world->state * 0x2545f4914f6cdd1dULL;
}

static unsigned int below(struct world *world, unsigned int n)
{
	return (next_random(world) >> 32) % n;
}

static void random_nodes(struct world *world, size_t count)
{
	static const u32 ids[] = {
		0x80862030, 0x80862030, 0x80863c00, 0x808629c0, 0x80860001
	};
	struct pci_fabric_node *node;
	u32 id = 0;

	for (node = world->nodes; node < world->nodes + count; node++) {
		if (node->kind == PCI_FABRIC_HOST) {
			node->offset = (s64)SZ_4G * ((int)below(world, 6) - 2);
			id = ids[below(world, ARRAY_SIZE(ids))];
		} else if (node->kind == PCI_FABRIC_ROOT_PORT ||
			   node->kind == PCI_FABRIC_RC_ENDPOINT) {
			node->vendor = id >> 16;
			node->device_id = id;
		}
	}
}

/* ACS control, payload sizes and masks, which change without enumeration */
static void random_setting(struct world *world)
{
	static const u16 acs[] = { 0, 0, PCI_ACS_RR, PCI_ACS_CR,
				   PCI_ACS_RR | PCI_ACS_CR };
	unsigned int payloads = 1 + below(world, 2);
	struct p2pdma_router_function *f;
	struct pci_dev *pdev;
	u64 mask;
	int i;

	for (i = 0; i < world->router->count; i++) {
		f = &world->router->function[i];
		if (f->acs_cap) {
			f->acs_ctrl = f->acs_cap &
				(acs[below(world, ARRAY_SIZE(acs))] |
				 (below(world, 2) ? PCI_ACS_UF : 0));
			pci_fabric_set_acs(world->fabric, f->name, f->acs_ctrl);
		}
		if (f->kind != PCI_FABRIC_HOST && f->pf == i) {
			f->mps = 128 << below(world, payloads);
			pci_fabric_set_mps(world->fabric, f->name, f->mps);
		}
	}
	world->cpu_allows = !below(world, 4);
	pci_p2pdma_fabric_changed();

	/* Mostly all bits; else up to a bus or CPU address in some BAR */
	for (i = 0; i < world->count; i++) {
		pdev = world->dev[world->ends[i]];
		mask = DMA_BIT_MASK(64);
		if (!below(world, 3)) {
			f = &world->router->function[world->ends[below(world, world->count)]];
			mask = f->bar + below(world, f->bar_size);
			if (below(world, 2))
				mask += world->nodes[f->host].offset;
		}
		pdev->dma_mask = mask;
	}
}

/* A range that often begins or ends at an edge of the BAR, or of 64 bits */
static void random_question(struct world *world, struct question *question)
{
	const struct p2pdma_router_function *f;
	u64 start, at, size;

	question->client = world->ends[below(world, world->count)];
	question->provider = world->ends[below(world, world->count)];
	question->dir = below(world, 12) % 4;
	if (question->dir == DMA_NONE && below(world, 4))
		question->dir = DMA_BIDIRECTIONAL;

	f = &world->router->function[question->provider];
	start = f->bar + world->nodes[f->host].offset;
	switch (below(world, 12)) {
	case 0:
		at = 0;
		break;
	case 1:
		at = f->bar_size - 1;
		break;
	case 2:
		at = f->bar_size;
		break;
	case 3:
		at = -1;
		break;
	case 4:
		at = next_random(world) - start;
		break;
	default:
		at = below(world, f->bar_size);
		break;
	}
	switch (below(world, 12)) {
	case 0:
		size = 0;
		break;
	case 1:
		size = 1;
		break;
	case 2:
		size = f->bar_size - at;
		break;
	case 3:
		size = f->bar_size - at + 1;
		break;
	case 4:
		size = next_random(world);
		break;
	case 5:
		size = -(start + at);
		break;
	default:
		size = 1 + below(world, at < f->bar_size ? f->bar_size - at :
							   f->bar_size);
		break;
	}
	question->phys = start + at;
	question->size = size;
}

/* The expected outcome and DMA address */
static enum outcome expected(struct world *world,
			     const struct question *question, u64 *addr)
{
	static const unsigned int needs[] = {
		[DMA_BIDIRECTIONAL] = P2PDMA_ROUTER_READ | P2PDMA_ROUTER_WRITE,
		[DMA_TO_DEVICE] = P2PDMA_ROUTER_READ,
		[DMA_FROM_DEVICE] = P2PDMA_ROUTER_WRITE,
	};
	const struct p2pdma_router_function *f =
		&world->router->function[question->provider];
	const u64 offset = world->nodes[f->host].offset;
	const u128 start = (u64)(f->bar + offset);
	const u128 first = question->phys;
	const struct p2pdma_router_client facts = { };
	struct p2pdma_router_answer answer;
	enum outcome outcome;

	if (question->dir == DMA_NONE)
		return NO_DIRECTION;
	if (!question->size || first < start ||
	    first + question->size > start + f->bar_size)
		return NOT_IN_BAR;

	p2pdma_router_route(world->router, question->client, question->provider,
			    &facts,
			    p2pdma_router_policy(world->router,
						 question->client,
						 question->provider,
						 world->cpu_allows), &answer);
	if (needs[question->dir] & ~answer.directions)
		return NO_ROUTE;

	outcome = BY_CPU_ADDRESS;
	*addr = question->phys;
	if (answer.map_type == PCI_P2PDMA_MAP_BUS_ADDR) {
		outcome = BY_BUS_ADDRESS;
		*addr -= offset;
	}
	if ((u128)*addr + question->size - 1 >
	    world->dev[question->client]->dma_mask)
		return MASKED;
	return outcome;
}

static bool ask(struct kunit *test, struct world *world)
{
	struct p2pdma_provider *provider;
	struct question question;
	enum outcome outcome;
	u64 right = 0;
	dma_addr_t addr = 0;
	bool agreed;
	int ret;

	random_question(world, &question);
	outcome = expected(world, &question, &right);
	world->seen[outcome]++;

	provider = pcim_p2pdma_provider(world->dev[question.provider], 0);
	KUNIT_ASSERT_NOT_NULL(test, provider);
	ret = p2pdma_map(&world->dev[question.client]->dev, provider,
			 question.phys, question.size, question.dir, 0, &addr);
	switch (outcome) {
	case BY_BUS_ADDRESS:
	case BY_CPU_ADDRESS:
		agreed = !ret && addr == right;
		break;
	case NO_ROUTE:
	case MASKED:
		agreed = ret == -EREMOTEIO;
		break;
	default:
		agreed = ret == -EINVAL;
		break;
	}
	if (!ret)
		dma_unmap_p2p(&world->dev[question.client]->dev, provider, addr,
			      question.size, question.dir, 0);
	if (!agreed)
		KUNIT_FAIL(test,
			   "%s maps %#llx bytes at %#llx of %s, direction %d: %d, %#llx; expected: %s, %#llx; p2pdma_map_random.seed=%llu p2pdma_map_random.rounds=1 repeats it",
			   world->router->function[question.client].name,
			   question.size, question.phys,
			   world->router->function[question.provider].name,
			   question.dir, ret, (u64)addr, outcome_name[outcome],
			   right, world->seed);
	return agreed;
}

static int enable_vfs(struct world *world, size_t count)
{
	struct pci_fabric_node *node;
	int ret;

	for (node = world->nodes; node < world->nodes + count; node++) {
		if (!node->total_vfs)
			continue;
		ret = pci_fabric_enable_vfs(world->fabric, node->name,
					    node->total_vfs);
		if (ret)
			return ret;
	}
	return 0;
}

static bool map_on_fabric(struct kunit *test, struct world *world, size_t count)
{
	struct p2pdma_router *router __free(kfree) = NULL;
	int i, setting;

	if (enable_vfs(world, count)) {
		KUNIT_FAIL(test, "no virtual functions");
		return false;
	}
	router = p2pdma_router_create(world->fabric, world->nodes, count);
	if (!router || router->count > MAX_FUNCTIONS) {
		KUNIT_FAIL(test, "no model");
		return false;
	}
	world->router = router;
	world->count = 0;
	for (i = 0; i < router->count; i++) {
		if (!router->function[i].bar_size)
			continue;
		world->dev[i] = pci_fabric_dev(world->fabric,
					       router->function[i].name);
		if (!world->dev[i] || pcim_p2pdma_init(world->dev[i])) {
			KUNIT_FAIL(test, "%s is no provider",
				   router->function[i].name);
			return false;
		}
		world->ends[world->count++] = i;
	}

	for (setting = 0; setting < SETTINGS; setting++) {
		random_setting(world);
		for (i = 0; i < QUESTIONS; i++) {
			if (!ask(test, world))
				return false;
		}
	}
	return true;
}

static bool map_on_random_fabric(struct kunit *test, struct world *world)
{
	const struct p2pdma_test_fabric *const fabrics[] = {
		&p2pdma_test_tree, &p2pdma_test_chipset, &p2pdma_test_functions
	};
	const struct p2pdma_test_fabric *base =
		fabrics[below(world, ARRAY_SIZE(fabrics))];
	struct pci_fabric_node *nodes __free(kfree) =
		kmemdup_array(base->nodes, base->count, sizeof(*base->nodes),
			      GFP_KERNEL);
	bool agreed;

	if (!nodes) {
		KUNIT_FAIL(test, "no memory");
		return false;
	}
	world->nodes = nodes;
	random_nodes(world, base->count);
	world->fabric = pci_fabric_create(nodes, base->count);
	if (IS_ERR(world->fabric)) {
		KUNIT_FAIL(test, "no fabric: %pe; seed %llu", world->fabric,
			   world->seed);
		return false;
	}
	agreed = map_on_fabric(test, world, base->count);
	pci_fabric_destroy(world->fabric);
	return agreed;
}

static struct world *asking;

static bool cpu_rule(void)
{
	return asking->cpu_allows;
}

static void silent(struct device *client, const char *line) { }

static void ranges_agree(struct kunit *test)
{
	struct world *world = kunit_kzalloc(test, sizeof(*world), GFP_KERNEL);
	unsigned int round;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, world);
	asking = world;
	if (!seed)
		seed = get_random_u32() | 1;
	kunit_info(test, "p2pdma_map_random.seed=%llu\n", seed);
	p2pdma_test_root(test, false, "8086:29c0:w");	/* as the router has it */
	kunit_activate_static_stub(test, p2pdma_cpu_allows, cpu_rule);
	kunit_activate_static_stub(test, p2pdma_log, silent);

	for (round = 0; round < rounds; round++) {
		world->seed = seed + round;
		/* Spread neighbouring seeds; xorshift needs a nonzero state. */
		world->state = world->seed * 0x9e3779b97f4a7c15ULL ?: 1;
		if (!map_on_random_fabric(test, world))
			return;
	}
	for (i = 0; i < OUTCOMES; i++) {
		kunit_info(test, "%s: %u\n", outcome_name[i], world->seen[i]);
		/* A few rounds, to debug single fabrics, miss some outcomes. */
		if (rounds >= 10)
			KUNIT_EXPECT_GT_MSG(test, world->seen[i], 0, "%s",
					    outcome_name[i]);
	}
}

static struct kunit_case random_cases[] = {
	KUNIT_CASE_SLOW(ranges_agree),
	{ }
};

static struct kunit_suite random_suite = {
	.name = "p2pdma_map_random",
	.test_cases = random_cases,
};

kunit_test_suite(random_suite);
