/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Whether a client reaches an owner's memory: the answer of the running kernel,
 * or of its code on the facts in a struct machine.
 */
#ifndef LSP2P_ROUTE_H
#define LSP2P_ROUTE_H

#include <linux/p2pdma.h>

#include "machine.h"

/* Facts that a verdict rests on and that aren't known */
enum missing {
	MISSING_CAPS,		/* config space of @device beyond its first 64 bytes */
	MISSING_EXTENDED,	/* extended config space of @device */
	MISSING_REGISTER,	/* another register of @device */
	MISSING_IOMMU,		/* whether DMA of @device is translated */
	MISSING_PROCESSOR,	/* whether the processor forwards */
	MISSING_BRIDGE,		/* the bridge above @device */
};

struct route_missing {
	enum missing what;
	const struct device *device;	/* or NULL */
};

struct route {
	const struct machine *machine;
	const struct device *owner, *client;
	bool asked;			/* the kernel's own answer */
	bool assumed;			/* several facts are possible; @answer is for one of them */
	enum answer read, write;	/* UNKNOWN where facts are missing */
	struct p2pdma_query_route answer;	/* addresses in it are filled in, pointers not */
	struct p2pdma_query_port *ports;
	unsigned int port_count;
	struct route_missing *missing;
	unsigned int missing_count;
};

/* What the stock core of 6.12 says: only "bus address", "host bridge" or "none" */
struct stock_route {
	enum answer known;	/* UNKNOWN where its facts are */
	unsigned int map_type;	/* P2PDMA_ROUTE_* */
	int distance;		/* -1 if it refuses */
	/* Where it differs from ours: ids of the README's table and a few words; else "" */
	char why[160];
};

/* 0, or -1 without memory */
int route_find(struct machine *machine, const struct device *owner,
	       const struct device *client, struct route *route);
void route_free(struct route *route);
void route_stock(const struct machine *machine, const struct device *owner,
		 const struct device *client, const struct route *ours,
		 struct stock_route *stock);

/* The kernel's name of a reason, such as "acs-redirect" */
const char *reason_slug(unsigned int reason);

#endif
