/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's code about routes, on a struct machine.
 */
#ifndef LSP2P_JUDGE_H
#define LSP2P_JUDGE_H

#include <stdbool.h>
#include <linux/p2pdma.h>

struct device;
struct fabric;
struct machine;

/* What a question assumes of facts that a machine may not tell */
struct assumptions {
	bool translated;	/* the client's DMA, by an IOMMU */
	bool ats;		/* the client's ATS is on */
	bool cpu_forwards;
	bool encrypted;
	bool bounce;
};

/* The machine as the kernel's code sees it; NULL without memory */
struct fabric *fabric_new(const struct machine *machine);
void fabric_free(struct fabric *fabric);

/*
 * The kernel's answer for two devices of the machine.  @answer has the question, as
 * P2PDMA_QUERY_ROUTE has it, but with the array for the ports beside it.
 */
void fabric_ask(struct fabric *fabric, const struct device *owner,
		const struct device *client,
		const struct assumptions *assumptions,
		struct p2pdma_query_route *answer,
		struct p2pdma_query_port *ports);

#endif
