// SPDX-License-Identifier: GPL-2.0
/*
 * Tests the part of P2PDMA that decides about routes: its unchanged kernel
 * source is compiled into this program, and runs without a kernel.
 */
#include "../kselftest_harness.h"

#include "../../../../drivers/pci/p2pdma_decide.c"

/* Two devices below two ports of one switch, with nothing against the route */
static const struct p2pdma_facts below_switch = {
	.client_is_pci = true,
	.shared_bridge = true,
	.same_host_bridge = true,
	.mapped = BIT(P2PDMA_SAME_ADDRESS),
	.translations = BIT(P2PDMA_SAME_ADDRESS),
	.blocks_below = P2PDMA_NO,
	.blocks_above = P2PDMA_NO,
	.ports_forward = P2PDMA_YES,
	.root_forwards = P2PDMA_YES,
	.accepts = 256,
	.turns = {
		[P2PDMA_COMPLETION] = { .fate = P2PDMA_DIRECT },
		[P2PDMA_RELAXED] = { .fate = P2PDMA_DIRECT },
		[P2PDMA_REQUEST] = { .fate = P2PDMA_DIRECT },
		[P2PDMA_TRANSLATED] = { .fate = P2PDMA_DIRECT },
	},
	.legs = {
		[P2PDMA_OWNER] = {
			.hops = 2, .payload = 256, .root_payload = 256,
			.root_accepts = 256,
		},
		[P2PDMA_CLIENT] = {
			.hops = 2, .payload = 256, .root_payload = 256,
			.root_accepts = 256,
		},
	},
};

/* Two devices below two root ports, one on each NUMA node */
static const struct p2pdma_facts below_root = {
	.client_is_pci = true,
	.same_host_bridge = true,
	.mapped = BIT(P2PDMA_IOVA),
	.translations = BIT(P2PDMA_SAME_ADDRESS),
	.blocks_below = P2PDMA_NO,
	.blocks_above = P2PDMA_NO,
	.rank = 1,
	.turns = {
		[P2PDMA_COMPLETION] = { .fate = P2PDMA_DIRECT },
		[P2PDMA_RELAXED] = { .fate = P2PDMA_DIRECT },
		[P2PDMA_REQUEST] = { .fate = P2PDMA_DIRECT },
		[P2PDMA_TRANSLATED] = { .fate = P2PDMA_DIRECT },
	},
	.legs = {
		[P2PDMA_OWNER] = {
			.hops = 2, .payload = 256, .root_payload = 256,
			.root_accepts = 256,
		},
		[P2PDMA_CLIENT] = {
			.hops = 2, .payload = 256, .root_payload = 256,
			.root_accepts = 256,
		},
	},
};

static struct p2pdma_verdict decide(const struct p2pdma_facts *facts,
				    u32 *against)
{
	struct p2pdma_verdict verdict;

	*against = p2pdma_decide(facts, &verdict);
	return verdict;
}

TEST(one_switch)
{
	u32 against;
	struct p2pdma_verdict verdict = decide(&below_switch, &against);

	EXPECT_EQ(verdict.map_type, PCI_P2PDMA_MAP_BUS_ADDR);
	EXPECT_EQ(verdict.directions, P2PDMA_BOTH);
	EXPECT_EQ(verdict.reason, P2PDMA_REASON_SWITCH);
	EXPECT_EQ(verdict.distance, 4U);
	EXPECT_EQ(verdict.blocking, 0);
	EXPECT_EQ(against, 0U);
}

/* Host bridges: farther, farthest to another node, and only if forwarded */
TEST(host_bridge)
{
	struct p2pdma_facts facts = below_root;
	struct p2pdma_verdict verdict, nearer;
	u32 against;

	verdict = decide(&facts, &against);
	EXPECT_EQ(verdict.map_type, PCI_P2PDMA_MAP_NOT_SUPPORTED);
	EXPECT_EQ(verdict.directions, 0);
	EXPECT_EQ(verdict.reason, P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED);
	EXPECT_EQ(against, BIT(P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED));

	facts.cpu_allows = true;
	verdict = decide(&facts, &against);
	EXPECT_EQ(verdict.map_type, PCI_P2PDMA_MAP_THRU_HOST_BRIDGE);
	EXPECT_EQ(verdict.directions, P2PDMA_BOTH);
	EXPECT_EQ(verdict.reason, P2PDMA_REASON_CPU_ALLOWED);
	EXPECT_EQ(against, 0U);

	facts.rank = 0;
	nearer = decide(&facts, &against);
	EXPECT_LT(nearer.distance, verdict.distance);
	verdict = decide(&below_switch, &against);
	EXPECT_LT(verdict.distance, nearer.distance);
}

static u32 distance(const struct p2pdma_facts *facts)
{
	u32 against;

	return decide(facts, &against).distance;
}

/* Class counts before rank, and rank before hops, also in sums of distances. */
TEST(distances)
{
	const __u64 clients = 63;
	struct p2pdma_facts facts = below_root;
	__u64 hop, rank, class, least;

	facts.cpu_allows = true;
	facts.rank = 0;
	facts.legs[P2PDMA_OWNER].hops = 1;
	facts.legs[P2PDMA_CLIENT].hops = 0;
	class = distance(&facts) - 1;
	facts.rank = 1;
	rank = distance(&facts) - 1 - class;
	facts.rank = 0;
	facts.legs[P2PDMA_CLIENT].hops = 1;
	hop = distance(&facts) - 1 - class;
	EXPECT_EQ(hop, 1U);

	facts.legs[P2PDMA_CLIENT].hops = 126;
	least = distance(&facts) - class;
	EXPECT_EQ(least, 127U);
	EXPECT_LT(least * clients, rank);
	facts.legs[P2PDMA_CLIENT].hops = 1000;
	EXPECT_EQ(distance(&facts) - class, least);

	facts.rank = P2PDMA_RANK_MAX;
	least = distance(&facts) - class;
	EXPECT_EQ(least, P2PDMA_RANK_MAX * rank + 127);
	EXPECT_LT(least * clients, class);

	facts.same_host_bridge = false;
	EXPECT_EQ(distance(&facts), 2 * class + least);
	EXPECT_LT(distance(&facts) * clients, 1ULL << 31);
}

/* One of them forwards nothing but writes. */
TEST(host_bridge_writes)
{
	struct p2pdma_facts facts = below_root;
	struct p2pdma_verdict verdict;
	u32 against;

	facts.legs[P2PDMA_OWNER].host_directions = P2PDMA_BOTH;
	facts.legs[P2PDMA_CLIENT].host_directions = P2PDMA_WRITE;
	facts.legs[P2PDMA_CLIENT].host_admitted = true;
	verdict = decide(&facts, &against);
	EXPECT_EQ(verdict.directions, P2PDMA_WRITE);
	EXPECT_EQ(verdict.reason, P2PDMA_REASON_ADMIN_ALLOWED);
	EXPECT_EQ(against, BIT(P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED));
}

/* ACS redirects requests, and an option of the command line would change that. */
TEST(redirected)
{
	struct p2pdma_facts facts = below_switch;
	struct p2pdma_verdict verdict;
	u32 against;

	facts.turns[P2PDMA_REQUEST].fate = P2PDMA_REDIRECTED;
	verdict = decide(&facts, &against);
	EXPECT_EQ(verdict.directions, 0);
	EXPECT_EQ(verdict.reason, P2PDMA_REASON_ACS_REDIRECT);
	EXPECT_EQ(verdict.blocking, BIT(P2PDMA_REQUEST));
	EXPECT_EQ(against, BIT(P2PDMA_REASON_ACS_REDIRECT) |
			   BIT(P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED));
	EXPECT_EQ((int)p2pdma_find_fix(&facts, &verdict), P2PDMA_FIX_ACS);

	facts.turns[P2PDMA_REQUEST].hard_wired = true;
	EXPECT_EQ((int)p2pdma_find_fix(&facts, &verdict), P2PDMA_FIX_NONE);
}

/* All reasons against a route, the one to fix first in front */
TEST(all_reasons)
{
	struct p2pdma_facts facts = below_switch;
	struct p2pdma_verdict verdict;
	u32 against;

	facts.turns[P2PDMA_REQUEST].fate = P2PDMA_BLOCKED;
	facts.legs[P2PDMA_OWNER].payload = 512;
	verdict = decide(&facts, &against);
	EXPECT_EQ(verdict.directions, 0);
	EXPECT_EQ(verdict.reason, P2PDMA_REASON_ACS_EGRESS);
	EXPECT_EQ(against, BIT(P2PDMA_REASON_ACS_EGRESS) |
			   BIT(P2PDMA_REASON_MPS_MISMATCH));
}

/* A read's completions are too large; writes are possible. */
TEST(payload)
{
	struct p2pdma_facts facts = below_switch;
	struct p2pdma_verdict verdict;
	u32 against;

	facts.legs[P2PDMA_OWNER].payload = 512;
	verdict = decide(&facts, &against);
	EXPECT_EQ(verdict.directions, P2PDMA_WRITE);
	EXPECT_EQ(verdict.reason, P2PDMA_REASON_MPS_MISMATCH);
	EXPECT_EQ(against, BIT(P2PDMA_REASON_MPS_MISMATCH));
	EXPECT_EQ((int)p2pdma_find_fix(&facts, &verdict), P2PDMA_FIX_MPS);
}

/* ATS makes bus addresses useless, unless the driver chooses. */
TEST(ats)
{
	struct p2pdma_facts facts = below_switch;
	struct p2pdma_verdict verdict;
	u32 against;

	facts.ats = true;
	facts.mapped = BIT(P2PDMA_IOVA);
	verdict = decide(&facts, &against);
	EXPECT_EQ(verdict.directions, 0);
	EXPECT_EQ(verdict.reason, P2PDMA_REASON_ATS);
	EXPECT_EQ(against, BIT(P2PDMA_REASON_ATS) |
			   BIT(P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED));
	EXPECT_EQ((int)p2pdma_find_fix(&facts, &verdict), P2PDMA_FIX_ATS);

	facts.cpu_allows = true;
	verdict = decide(&facts, &against);
	EXPECT_EQ(verdict.map_type, PCI_P2PDMA_MAP_THRU_HOST_BRIDGE);
	EXPECT_EQ(verdict.directions, P2PDMA_BOTH);

	facts.tlp_choice = true;
	verdict = decide(&facts, &against);
	EXPECT_EQ(verdict.map_type, PCI_P2PDMA_MAP_BUS_ADDR);
	EXPECT_EQ(verdict.directions, P2PDMA_BOTH);
}

/*
 * What isn't known is never taken for a yes, whichever fact it is; and it isn't
 * mentioned where other facts decide.
 */
TEST(unknown)
{
	struct p2pdma_facts facts[8];
	struct p2pdma_verdict verdict;
	unsigned int i;
	u32 against;

	for (i = 0; i < ARRAY_SIZE(facts); i++) {
		facts[i] = below_switch;
		if (i < 3)
			continue;
		facts[i].cpu_allows = true;
		facts[i].turns[P2PDMA_REQUEST].fate = P2PDMA_REDIRECTED;
	}
	facts[0].turns[P2PDMA_COMPLETION].fate = P2PDMA_FATE_UNKNOWN;
	facts[1].accepts = 0;
	facts[2].turns[P2PDMA_RELAXED].fate = P2PDMA_FATE_UNKNOWN;
	facts[3].ports_forward = P2PDMA_UNKNOWN;
	facts[4].root_forwards = P2PDMA_UNKNOWN;
	facts[5].mapped = 0;
	facts[6].legs[P2PDMA_OWNER].root_payload = 0;
	facts[7].legs[P2PDMA_OWNER].root_accepts = 0;
	for (i = 0; i < ARRAY_SIZE(facts); i++) {
		verdict = decide(&facts[i], &against);
		EXPECT_EQ(verdict.directions, 0);
		EXPECT_EQ(verdict.reason, P2PDMA_REASON_UNKNOWN);
		EXPECT_TRUE(!!(against & BIT(P2PDMA_REASON_UNKNOWN)));
		EXPECT_EQ((int)p2pdma_find_fix(&facts[i], &verdict),
			  P2PDMA_FIX_NONE);
		facts[i].unreadable = true;
		verdict = decide(&facts[i], &against);
		EXPECT_EQ(verdict.directions, 0);
		EXPECT_EQ(verdict.reason, P2PDMA_REASON_UNREADABLE);
	}

	facts[4] = below_switch;
	facts[4].ports_forward = P2PDMA_UNKNOWN;
	facts[4].root_forwards = P2PDMA_UNKNOWN;
	facts[4].turns[P2PDMA_TRANSLATED].fate = P2PDMA_FATE_UNKNOWN;
	verdict = decide(&facts[4], &against);
	EXPECT_EQ(verdict.directions, P2PDMA_BOTH);
	EXPECT_EQ(against, 0U);
}

/* Facts of which nothing is known at all */
TEST(nothing)
{
	struct p2pdma_facts facts = { };
	struct p2pdma_verdict verdict;
	u32 against;

	verdict = decide(&facts, &against);
	EXPECT_EQ(verdict.directions, 0);
	EXPECT_EQ(verdict.reason, P2PDMA_REASON_NOT_PCI);
	facts.client_is_pci = true;
	verdict = decide(&facts, &against);
	EXPECT_EQ(verdict.directions, 0);
	EXPECT_EQ(verdict.reason, P2PDMA_REASON_UNKNOWN);
}

TEST(names)
{
	enum p2pdma_reason reason;

	EXPECT_STREQ(p2pdma_reason_name(P2PDMA_REASON_ACS_REDIRECT),
		     "acs-redirect");
	for (reason = 0; reason < P2PDMA_REASON_MAX; reason++)
		EXPECT_STRNE(p2pdma_reason_name(reason), "none");
	EXPECT_STREQ(p2pdma_reason_name(P2PDMA_REASON_MAX), "none");
}

TEST_HARNESS_MAIN
