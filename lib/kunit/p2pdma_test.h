/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shared by the KUnit suites of PCI peer-to-peer DMA: fabrics, and small
 * variations of them as tables; devices, memory and mappings that are freed
 * with the test.
 *
 * The suites also compile against a kernel with another P2PDMA core.  There
 * P2PDMA_TEST_INTERNAL is 0, and only the old public functions are tested.  A
 * case whose name begins with the letter d and a number is about a known defect
 * of that core, and fails there or is skipped; all others pass.
 */

#ifndef _LIB_KUNIT_P2PDMA_TEST_H
#define _LIB_KUNIT_P2PDMA_TEST_H

#include <kunit/test.h>

#include <linux/bits.h>
#include <linux/dma-map-ops.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/sizes.h>
#include <linux/types.h>

#include "pci_fabric.h"

#ifdef P2PDMA_TEST_INTERNAL	/* by the Makefile */
#include "../../drivers/pci/pci.h"
#include "../../drivers/pci/p2pdma.h"
#else
#define P2PDMA_TEST_INTERNAL	0
#define P2PDMA_READ		BIT(0)
#define P2PDMA_WRITE		BIT(1)
#define P2PDMA_BOTH		(P2PDMA_READ | P2PDMA_WRITE)
#define PCI_P2PDMA_TLP_TRANSLATED	BIT(0)
#define PCI_P2PDMA_TLP_RELAXED_CPL	BIT(1)
#endif

/* ---- Fabrics ---- */

/* A table of nodes that several cases start from */
struct p2pdma_test_fabric {
	const struct pci_fabric_node *nodes;
	size_t count;
};

/*
 * Most cases: a switch with a nested one, other root ports, another host
 * bridge.  In host's domain there is nothing at 00.0, so that the IDs of root
 * ports count.
 *
 *	host --+-- rp1 -- up --+-- d1 -- a
 *	       |               +-- d2 -- b
 *	       |               +-- d3 -- up3 --+-- d31 -- c
 *	       |               |               `-- d32 -- d
 *	       |               `-- d4
 *	       +-- rp2 -- e
 *	       `-- rp3 -- f
 *	host2 ---- rp4 -- g
 */
extern const struct p2pdma_test_fabric p2pdma_test_tree;

/*
 * Host bridges with a device at 00.0, and root complex endpoints.
 *
 *	host --+-- id
 *	       +-- rc, rc1
 *	       +-- rp1 -- a
 *	       `-- rp2 -- b
 *	host2 -+-- id2
 *	       `-- rp4 -- g
 */
extern const struct p2pdma_test_fabric p2pdma_test_chipset;

/*
 * A device of three functions, and one with virtual functions pf/0 and pf/1.
 * The root port rp1 is at 00.0, and so its ID is the host bridge's.
 *
 *	host --+-- rp1 -- m0, m1, m2
 *	       `-- rp2 -- up --+-- d1 -- pf
 *	                       `-- d2 -- b
 */
extern const struct p2pdma_test_fabric p2pdma_test_functions;

/*
 * Conventional buses: below pb, and below pbb on that.
 *
 *	host --+-- rp1 -- up --+-- d1 -- pb --+-- x
 *	       |               |              +-- y
 *	       |               |              `-- pbb -- z
 *	       |               `-- d2 -- b
 *	       `-- rp2 -- e
 */
extern const struct p2pdma_test_fabric p2pdma_test_conventional;

/* Kinds of changes to one node of a fabric */
enum p2pdma_test_what {
	P2PDMA_TEST_ID,		/* value: vendor and device ID, as in 0x80862030 */
	P2PDMA_TEST_ACS,	/* value: PCI_ACS_* that are on */
	/* value: as pci_fabric_node::acs_cap; of pf/0, that of all VFs of pf */
	P2PDMA_TEST_ACS_CAP,
	P2PDMA_TEST_VECTOR,	/* value: bits of the Egress Control Vector */
	P2PDMA_TEST_EGRESS,	/* value: bit to set in the Egress Control Vector */
	P2PDMA_TEST_MPS,	/* value: payload in bytes */
	P2PDMA_TEST_OFFSET,	/* value: of a host bridge's 64-bit window */
	P2PDMA_TEST_FAIL,	/* config reads fail */
	P2PDMA_TEST_FAIL_ACS,	/* only config reads of ACS fail */
};

struct p2pdma_test_change {
	const char *node;	/* NULL ends a list of changes */
	enum p2pdma_test_what what;
	u64 value;
};

#define P2PDMA_TEST_CHANGES	8

struct pci_fabric *p2pdma_test_create(struct kunit *test,
				      const struct p2pdma_test_fabric *fabric,
				      const struct p2pdma_test_change *changes);
const char *p2pdma_test_name(struct kunit *test, const char *format, ...)
	__printf(2, 3);
struct pci_dev *p2pdma_test_dev(struct kunit *test, struct pci_fabric *fabric,
				const char *name);

/* ---- Providers, clients and mappings ---- */

struct device *p2pdma_test_child(struct kunit *test, struct device *parent);
struct pci_dev *p2pdma_test_provider(struct kunit *test,
				     struct pci_fabric *fabric,
				     const char *name);
void *p2pdma_test_alloc(struct kunit *test, struct pci_dev *provider,
			size_t size);
void p2pdma_test_none_left(struct kunit *test, struct pci_dev *provider,
			   size_t size);
enum pci_p2pdma_map_type p2pdma_test_map_page(struct kunit *test, void *page,
					      struct device *client,
					      dma_addr_t *addr);
enum pci_p2pdma_map_type p2pdma_test_map(struct kunit *test,
					 struct pci_dev *provider,
					 struct device *client);

/* ---- Expected routes ---- */

/**
 * struct p2pdma_test_expect - what is expected of a route
 * @type: PCI_P2PDMA_MAP_*
 * @directions: what the client may do
 * @reason: name of the reason, the one in front if there are several
 * @blocking: devices that redirect or drop requests, and completions; or NULL
 */
struct p2pdma_test_expect {
	enum pci_p2pdma_map_type type;
	unsigned int directions;
	const char *reason;
	const char *blocking[2];
};

#if P2PDMA_TEST_INTERNAL
void p2pdma_test_route(struct kunit *test, struct pci_fabric *fabric,
		       const char *client, const char *provider,
		       unsigned int tlp,
		       const struct p2pdma_test_expect *expect,
		       struct p2pdma_route *route);
const char *p2pdma_test_answer(struct pci_dev *owner, struct pci_dev *client,
			       unsigned int tlp,
			       const struct p2pdma_route *route);
#endif

/* ---- Failing allocations ---- */

void p2pdma_test_inject_faults(struct kunit *test);
void p2pdma_test_fail_nth(unsigned int nth);
bool p2pdma_test_failed(void);

/* ---- Binding and unbinding drivers ---- */

void *p2pdma_test_probe(struct kunit *test, struct pci_dev *pdev);
void p2pdma_test_leave(struct kunit *test, struct pci_dev *pdev, void *driver);

/* ---- Log messages ---- */

#if P2PDMA_TEST_INTERNAL

#define P2PDMA_TEST_LOG_LINES	64
#define P2PDMA_TEST_LOG_LENGTH	256

/* Messages of the core about routes since this was last emptied */
struct p2pdma_test_log {
	struct device *about;		/* client that the lines are about */
	bool others;			/* some are about another client */
	unsigned int count;
	char lines[P2PDMA_TEST_LOG_LINES][P2PDMA_TEST_LOG_LENGTH];
};

struct p2pdma_test_log *p2pdma_test_log(struct kunit *test);
unsigned int p2pdma_test_said(struct kunit *test, struct p2pdma_test_log *log,
			      const char *text);
void p2pdma_test_log_empty(struct p2pdma_test_log *log);

#endif

/* ---- Policy of the root complex ---- */

void p2pdma_test_root(struct kunit *test, bool cpu_allows, const char *admitted);
void p2pdma_test_encrypted(struct kunit *test);

#endif /* _LIB_KUNIT_P2PDMA_TEST_H */
