// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: what it says in the kernel log about routes.
 *
 * Only words: what is said, when, and how often is decided by the callers.
 * Lines are put together in small buffers and sent when one is full, so a path
 * may be as long as it likes.
 */

#include <linux/device.h>
#include <linux/iommu.h>
#include <linux/minmax.h>
#include <linux/pci.h>
#include <linux/ratelimit.h>
#include <linux/seq_buf.h>
#include <linux/sprintf.h>

#include <kunit/static_stub.h>
#include <kunit/test-bug.h>
#include <kunit/visibility.h>

#include "p2pdma.h"

/**
 * p2pdma_log_limit - may another route be explained now?
 *
 * Asked once for all lines about a route: half an explanation is none.
 *
 * Context: any; never sleeps.
 * Return: false where the log has had too much of it already.
 */
bool p2pdma_log_limit(void)
{
	static DEFINE_RATELIMIT_STATE(limit, 5 * HZ, 20);

	/* Tests say much in a short time. */
	return kunit_get_current_test() || __ratelimit(&limit);
}

/**
 * p2pdma_log - write one line to the kernel log
 * @client: device that the line is about, NULL where it is about none
 * @line: text without a newline
 *
 * Context: any; never sleeps.
 */
void p2pdma_log(struct device *client, const char *line)
{
	KUNIT_STATIC_STUB_REDIRECT(p2pdma_log, client, line);
	if (client)
		dev_warn(client, "p2pdma: %s\n", line);
	else
		pr_warn("p2pdma: %s\n", line);
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_log);

/* Names of the devices on a leg, from its end up to its turn */
static void p2pdma_log_leg(struct device *client, const char *side,
			   const struct p2pdma_leg *leg)
{
	struct pci_dev *at = leg->end;
	char text[160];
	struct seq_buf line;
	unsigned int left;

	seq_buf_init(&line, text, sizeof(text));
	seq_buf_printf(&line, "%s side:", side);
	for (left = max(leg->hops, 1U); left; left--) {
		/* The longest name is that of a domain of 32 bits. */
		if (seq_buf_used(&line) + sizeof(" ffffffff:ff:1f.7") > sizeof(text)) {
			p2pdma_log(client, seq_buf_str(&line));
			seq_buf_clear(&line);
			seq_buf_printf(&line, "%s side, further up:", side);
		}
		seq_buf_printf(&line, " %s", pci_name(at));
		at = pci_upstream_bridge(at);
	}
	p2pdma_log(client, seq_buf_str(&line));
}

/* The bridge that both legs end at is named once. */
static void p2pdma_log_shared(struct device *client,
			      const struct p2pdma_leg *leg)
{
	struct pci_dev *shared = leg->turn ? pci_upstream_bridge(leg->turn) :
					     leg->end;
	char line[40];

	snprintf(line, sizeof(line), "shared bridge: %s",
		 shared ? pci_name(shared) : "none");
	p2pdma_log(client, line);
}

/* -1 for none.  The caller holds the device, and so the device its group. */
static int p2pdma_iommu_group(struct pci_dev *pdev)
{
	struct iommu_group *group = iommu_group_get(&pdev->dev);
	int id;

	if (!group)
		return -1;
	id = iommu_group_id(group);
	iommu_group_put(group);
	return id;
}

static void p2pdma_log_acs_fix(struct device *client,
			       const struct p2pdma_facts *facts,
			       const struct p2pdma_route *route)
{
	int from = p2pdma_iommu_group(facts->legs[P2PDMA_CLIENT].end);
	int to = p2pdma_iommu_group(facts->legs[P2PDMA_PROVIDER].end);
	struct pci_dev *first = route->blocking[0], *second = route->blocking[1];
	char text[240];
	struct seq_buf line;

	/* The option changes ACS control, which isn't what blocks these. */
	if (facts->legs[P2PDMA_CLIENT].hard_wired)
		first = NULL;
	if (facts->legs[P2PDMA_PROVIDER].hard_wired)
		second = NULL;
	if (!first || first == second) {
		first = second;
		second = NULL;
	}

	seq_buf_init(&line, text, sizeof(text));
	seq_buf_printf(&line, "fix: pci=\"disable_acs_redir=%s%s%s\" on the kernel command line",
		       pci_name(first), second ? ";" : "",
		       second ? pci_name(second) : "");
	if (from >= 0 && to >= 0 && from != to)
		seq_buf_printf(&line, "; it costs the isolation between IOMMU groups %d and %d",
			       from, to);
	else
		seq_buf_puts(&line,
			     "; it costs the isolation of what is below there from each other");
	p2pdma_log(client, seq_buf_str(&line));
}

/**
 * p2pdma_log_route - say why a route is refused, or goes one way only
 * @client: device that would access the memory
 * @facts: what is known about the two devices
 * @route: the verdict on it
 * @fix: what would change the verdict
 *
 * Context: any; never sleeps.  The caller holds both devices.
 */
void p2pdma_log_route(struct device *client, const struct p2pdma_facts *facts,
		      const struct p2pdma_route *route, enum p2pdma_fix fix)
{
	static const char * const what[] = {
		[0]		= "no peer-to-peer DMA with",
		[P2PDMA_READ]	= "nothing but reads reach",
		[P2PDMA_WRITE]	= "nothing but writes reach",
	};
	const struct p2pdma_leg *legs = facts->legs;
	char line[120];

	snprintf(line, sizeof(line), "%s provider %s: %s",
		 what[route->directions],
		 pci_name(legs[P2PDMA_PROVIDER].end),
		 p2pdma_reason_name(route->reason));
	p2pdma_log(client, line);
	if (!legs[P2PDMA_CLIENT].end)
		return;		/* not a PCI device: there is no path */

	p2pdma_log_leg(client, "client", &legs[P2PDMA_CLIENT]);
	p2pdma_log_leg(client, "provider", &legs[P2PDMA_PROVIDER]);
	p2pdma_log_shared(client, &legs[P2PDMA_CLIENT]);
	if (fix == P2PDMA_FIX_ACS)
		p2pdma_log_acs_fix(client, facts, route);
	else if (fix == P2PDMA_FIX_MPS)
		p2pdma_log(client,
			   "fix: pci=pcie_bus_peer2peer on the kernel command line; it costs throughput, for all payloads become 128 bytes");
}
