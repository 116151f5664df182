// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: log messages about routes.
 *
 * This file only formats messages: callers decide which to log, when and how
 * often.  Lines are built in small buffers, and a full buffer is written, so
 * that a path may have any length.
 */

#include <linux/bits.h>
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
 * p2pdma_log_allowed - may another route be explained now?
 *
 * Called once for all lines about a route, so that the lines stay complete.
 *
 * Context: any; never sleeps.
 * Return: false if the rate limit is exceeded.
 */
bool p2pdma_log_allowed(void)
{
	static DEFINE_RATELIMIT_STATE(limit, 5 * HZ, 20);

	/* Tests would exceed the rate limit. */
	return kunit_get_current_test() || __ratelimit(&limit);
}

/**
 * p2pdma_log - write one line to the kernel log
 * @client: device that the line is about, or NULL
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

/**
 * p2pdma_log_admission - log the outcome for an entry of pci_p2pdma.host_bridge
 * @entry: the entry
 * @admission: the outcome
 *
 * Context: any; never sleeps.
 */
void p2pdma_log_admission(const char *entry, enum p2pdma_admission admission)
{
	static const char * const refused[] = {
		[P2PDMA_MALFORMED] =
			"it must be VVVV:DDDD or VVVV:DDDD:w, of four hex digits each",
		[P2PDMA_ADMITTED_BEFORE] = "that host bridge is there already",
		[P2PDMA_LISTED] = "it is known to forward reads and writes",
	};
	char line[160];

	if (admission == P2PDMA_ADMITTED)
		snprintf(line, sizeof(line),
			 "host bridge %.9s is taken for forwarding peer-to-peer %s, as the command line says; if it doesn't, DATA IS CORRUPTED IN SILENCE",
			 entry, entry[9] ? "writes" : "reads and writes");
	else
		snprintf(line, sizeof(line),
			 "pci_p2pdma.host_bridge: '%.32s' refused: %s",
			 entry, refused[admission]);
	p2pdma_log(NULL, line);
}

/* Log the names of the devices on a leg, from its end up to its turn */
static void p2pdma_log_leg(struct device *client, const char *side,
			   struct pci_dev *at, const struct p2pdma_leg *leg)
{
	char text[160];
	struct seq_buf line;
	unsigned int left;

	seq_buf_init(&line, text, sizeof(text));
	seq_buf_printf(&line, "%s side:", side);
	for (left = max(leg->hops, 1U); left; left--) {
		/* The longest name has a domain of 32 bits. */
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

/* Log the bridge that both legs lead to */
static void p2pdma_log_shared(struct device *client, struct pci_dev *end,
			      const struct p2pdma_leg *leg)
{
	struct pci_dev *turn = p2pdma_turn_of(end, leg);
	struct pci_dev *shared = turn ? pci_upstream_bridge(turn) : end;
	char line[40];

	snprintf(line, sizeof(line), "shared bridge: %s",
		 shared ? pci_name(shared) : "none");
	p2pdma_log(client, line);
}

/* -1 for none.  The caller holds the device, which holds its group. */
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

static void p2pdma_log_acs_fix(struct device *client, struct pci_dev **ends,
			       const struct p2pdma_facts *facts,
			       const struct p2pdma_verdict *verdict)
{
	int from = p2pdma_iommu_group(ends[P2PDMA_CLIENT]);
	int to = p2pdma_iommu_group(ends[P2PDMA_OWNER]);
	struct pci_dev *port, *ports[P2PDMA_PACKETS];
	enum p2pdma_packet packet;
	unsigned int leg, i, count = 0;
	char text[240];
	struct seq_buf line;

	/* Client's port first.  Hard-wired ports ignore the option. */
	for (packet = P2PDMA_PACKETS; packet-- > 0;) {
		if (!(verdict->blocking & BIT(packet)) ||
		    facts->turns[packet].hard_wired)
			continue;
		leg = p2pdma_leg_of(packet);
		port = p2pdma_turn_of(ends[leg], &facts->legs[leg]);
		if (!count || ports[count - 1] != port)
			ports[count++] = port;
	}

	seq_buf_init(&line, text, sizeof(text));
	seq_buf_puts(&line, "fix: pci=\"disable_acs_redir=");
	for (i = 0; i < count; i++)
		seq_buf_printf(&line, "%s%s", i ? ";" : "", pci_name(ports[i]));
	seq_buf_puts(&line, "\" on the kernel command line; ");
	if (from >= 0 && to >= 0 && from != to)
		seq_buf_printf(&line, "IOMMU groups %d and %d are no longer isolated",
			       from, to);
	else
		seq_buf_printf(&line, "what is below %s no longer isolated",
			       count > 1 ? "these ports is" : "this port is");
	p2pdma_log(client, seq_buf_str(&line));
	p2pdma_log(client,
		   "note: of several such options the kernel takes the last, so join all ports by ';' in one; their other ACS bits become what the firmware set");
}

/**
 * p2pdma_log_route - log why a route is refused or limited to one direction
 * @owner: device with the memory
 * @client: device that would access the memory, or a child of that device
 * @facts: facts about client and owner
 * @verdict: the verdict
 * @against: all reasons why a direction doesn't work, a bit each
 * @fix: command line option that would allow more directions
 *
 * Context: any; never sleeps.  The caller holds both devices.
 */
void p2pdma_log_route(struct pci_dev *owner, struct device *client,
		      const struct p2pdma_facts *facts,
		      const struct p2pdma_verdict *verdict, u32 against,
		      enum p2pdma_fix fix)
{
	static const char * const what[] = {
		[0]		= "no peer-to-peer DMA with",
		[P2PDMA_READ]	= "nothing but reads reach",
		[P2PDMA_WRITE]	= "nothing but writes reach",
	};
	struct pci_dev *ends[P2PDMA_LEGS] = {
		[P2PDMA_OWNER] = owner,
		[P2PDMA_CLIENT] = p2pdma_pci_client(client),
	};
	const struct p2pdma_leg *legs = facts->legs;
	enum p2pdma_reason reason;
	char text[320];
	struct seq_buf line;

	seq_buf_init(&line, text, sizeof(text));
	seq_buf_printf(&line, "%s provider %s: %s", what[verdict->directions],
		       pci_name(owner), p2pdma_reason_name(verdict->reason));
	against &= ~BIT(verdict->reason);
	while ((reason = p2pdma_first_reason(against)) != P2PDMA_REASON_MAX) {
		seq_buf_printf(&line, ", %s", p2pdma_reason_name(reason));
		against &= ~BIT(reason);
	}
	p2pdma_log(client, seq_buf_str(&line));
	if (!facts->client_is_pci)
		return;		/* there is no path */

	p2pdma_log_leg(client, "client", ends[P2PDMA_CLIENT],
		       &legs[P2PDMA_CLIENT]);
	p2pdma_log_leg(client, "provider", owner, &legs[P2PDMA_OWNER]);
	p2pdma_log_shared(client, ends[P2PDMA_CLIENT], &legs[P2PDMA_CLIENT]);
	if (fix == P2PDMA_FIX_ACS)
		p2pdma_log_acs_fix(client, ends, facts, verdict);
	else if (fix == P2PDMA_FIX_MPS)
		p2pdma_log(client,
			   "fix: pci=pcie_bus_peer2peer on the kernel command line; it costs throughput, for all payloads become 128 bytes");
	else if (fix == P2PDMA_FIX_ATS)
		p2pdma_log(client,
			   "fix: pci=noats on the kernel command line; it costs all devices their caches of translations, and shared virtual addressing");
}
