// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: gathers facts about two devices.
 *
 * Gets the facts for p2pdma_decide() from the PCI core, from config space and
 * from p2pdma_host.c.  Nothing is cached, and nothing is logged.
 *
 * ACS is read only at the turns (PCIe Base Specification 6.0, section 6.12): at
 * a port further down no packet turns around, since both the request and the
 * completion pass it on their way up.  A port further up sees only packets that
 * were redirected.
 *
 * No references are taken: the caller holds both devices, and a device holds its
 * bridges.
 */

#include <linux/bitfield.h>
#include <linux/bits.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/pci.h>

#include "pci.h"
#include "p2pdma.h"

/**
 * p2pdma_turn_of - get the device where packets of a leg turn around
 * @end: end of the leg
 * @leg: the leg
 *
 * Context: any.
 * Return: the device; NULL if @end is the shared bridge itself.
 */
struct pci_dev *p2pdma_turn_of(struct pci_dev *end, const struct p2pdma_leg *leg)
{
	unsigned int hops;

	if (!leg->hops)
		return NULL;
	for (hops = 1; hops < leg->hops; hops++)
		end = pci_upstream_bridge(end);
	return end;
}

static unsigned int p2pdma_depth(struct pci_dev *pdev)
{
	unsigned int depth = 0;

	for (; pdev; pdev = pci_upstream_bridge(pdev))
		depth++;
	return depth;
}

/* Walk both legs up to the shared bridge; NULL if there is none. */
static struct pci_dev *p2pdma_walk(struct pci_dev **ends, struct p2pdma_leg *legs,
				   struct pci_dev **turns)
{
	struct pci_dev *at[P2PDMA_LEGS];
	unsigned int depth[P2PDMA_LEGS];
	int i;

	for (i = 0; i < P2PDMA_LEGS; i++) {
		at[i] = ends[i];
		depth[i] = p2pdma_depth(at[i]);
	}

	/* Move the deeper position up one step, until both meet. */
	while (at[P2PDMA_OWNER] != at[P2PDMA_CLIENT]) {
		i = depth[P2PDMA_CLIENT] > depth[P2PDMA_OWNER];

		turns[i] = at[i];
		legs[i].hops++;
		at[i] = pci_upstream_bridge(at[i]);
		depth[i]--;
	}
	return at[P2PDMA_OWNER];
}

/* False if @pdev's ACS control can't be read; without ACS all bits are off. */
static bool p2pdma_read_acs(struct pci_dev *pdev, u16 *ctrl)
{
	*ctrl = 0;
	if (!pdev->acs_cap)
		return true;
	return !pci_read_config_word(pdev, pdev->acs_cap + PCI_ACS_CTRL, ctrl) &&
	       !PCI_POSSIBLE_ERROR(*ctrl);
}

/*
 * Does @pdev redirect for any setting of ACS control, since it lacks @bits?
 * Returns false if the ACS capability can't be read.
 *
 * Section 6.12.1.2: a function has Request Redirect if it supports peer-to-peer
 * traffic with other functions of its device, and then Completion Redirect too.
 * A capability without these bits means that the device has no internal path,
 * so that all packets go up the link.  A missing capability means nothing.
 *
 * Some devices without an internal path have no capability; quirks of the PCI
 * core identify them.  The only quirk that sleeps is for devices on root buses,
 * which are never turns.
 */
static bool p2pdma_read_hard_wired(struct pci_dev *pdev, u16 bits,
				   bool *hard_wired)
{
	u16 cap;

	*hard_wired = pci_dev_specific_acs_enabled(pdev, bits) > 0;
	if (*hard_wired || !pdev->acs_cap ||
	    pci_pcie_type(pdev) == PCI_EXP_TYPE_DOWNSTREAM)
		return true;
	if (pci_read_config_word(pdev, pdev->acs_cap + PCI_ACS_CAP, &cap) ||
	    PCI_POSSIBLE_ERROR(cap))
		return false;
	*hard_wired = bits & ~cap;
	return true;
}

/*
 * The bit for @to in @from's Egress Control Vector: by port number between
 * switch ports, by function number otherwise.  False if it can't be read.
 */
static bool p2pdma_read_egress(struct pci_dev *from, struct pci_dev *to,
			       bool *set)
{
	u32 link, vector;
	unsigned int bit, bits;
	u16 cap;

	bit = to->devfn;
	if (pci_pcie_type(to) == PCI_EXP_TYPE_DOWNSTREAM) {
		if (pcie_capability_read_dword(to, PCI_EXP_LNKCAP, &link) ||
		    PCI_POSSIBLE_ERROR(link))
			return false;
		bit = FIELD_GET(PCI_EXP_LNKCAP_PN, link);
	}

	if (pci_read_config_word(from, from->acs_cap + PCI_ACS_CAP, &cap) ||
	    PCI_POSSIBLE_ERROR(cap))
		return false;
	bits = cap >> 8 ?: 256;
	*set = false;
	if (bit >= bits)
		return true;

	if (pci_read_config_dword(from, from->acs_cap + PCI_ACS_EGRESS_CTL_V +
				  bit / 32 * 4, &vector))
		return false;
	*set = vector & BIT(bit % 32);
	return true;
}

/*
 * What ACS does to a packet at @turn; @other is the turn of the other leg.  ACS
 * acts at a switch's downstream port, and at a function whose sibling in the
 * same device is on the other leg.  PCIe has no other siblings below a bridge,
 * and devices on conventional buses have no ACS.
 */
static void p2pdma_read_turn(enum p2pdma_packet packet, struct pci_dev *turn,
			     struct pci_dev *other, struct p2pdma_turn *fact)
{
	u16 ctrl, bits = PCI_ACS_RR;
	bool egress = false;

	fact->fate = P2PDMA_DIRECT;
	if (!turn || (pci_pcie_type(turn) != PCI_EXP_TYPE_DOWNSTREAM && !other))
		return;

	if (packet == P2PDMA_COMPLETION)
		bits |= PCI_ACS_CR;
	if (!p2pdma_read_acs(turn, &ctrl) ||
	    !p2pdma_read_hard_wired(turn, bits, &fact->hard_wired)) {
		fact->fate = P2PDMA_FATE_UNKNOWN;
		return;
	}
	if (fact->hard_wired)
		fact->fate = P2PDMA_REDIRECTED;

	/* Only Completion Redirect applies to completions. */
	if (packet == P2PDMA_COMPLETION) {
		if (ctrl & PCI_ACS_CR)
			fact->fate = P2PDMA_REDIRECTED;
		return;
	}

	/* Section 6.12.3: with Egress Control on, the vector selects ports. */
	if (other && (ctrl & PCI_ACS_EC)) {
		if (!p2pdma_read_egress(turn, other, &egress))
			fact->fate = P2PDMA_FATE_UNKNOWN;
		else if (egress)
			fact->fate = ctrl & PCI_ACS_RR ? P2PDMA_REDIRECTED :
							 P2PDMA_BLOCKED;
	} else if (ctrl & PCI_ACS_RR) {
		fact->fate = P2PDMA_REDIRECTED;
	}
}

/*
 * Do redirected packets reach the root complex?  They pass the shared bridge
 * and the bridges above it.  To a switch's downstream port, they come from its
 * link and are addressed to its link; it sends them up only with Upstream
 * Forwarding.  Quirks aren't considered: they tell that packets are isolated,
 * not that they arrive.
 */
static enum p2pdma_answer p2pdma_read_forwarding(struct pci_dev *shared)
{
	enum p2pdma_answer forwarded = P2PDMA_YES;
	u16 ctrl;

	for (; shared; shared = pci_upstream_bridge(shared)) {
		if (pci_pcie_type(shared) != PCI_EXP_TYPE_DOWNSTREAM)
			continue;
		if (!p2pdma_read_acs(shared, &ctrl))
			return P2PDMA_UNKNOWN;
		if (!(ctrl & PCI_ACS_UF))
			forwarded = P2PDMA_NO;
	}
	return forwarded;
}

/*
 * Max_Payload_Size limits the payload that a function sends and accepts; a
 * larger packet is malformed (section 2.2.2).  A virtual function uses the
 * value of its physical function.  For devices behind a PCIe to PCI bridge, the
 * bridge sends.
 */
static void p2pdma_read_payload(struct p2pdma_facts *facts,
				struct p2pdma_leg *leg, struct pci_dev *at)
{
	unsigned int i, mps;
	u16 ctrl;

	/* Without hops, the end is the shared bridge itself. */
	for (i = 0; i < max(leg->hops, 1U); i++, at = pci_upstream_bridge(at)) {
		if (!pci_is_pcie(at))
			continue;
		if (pcie_capability_read_word(pci_physfn(at), PCI_EXP_DEVCTL,
					      &ctrl) ||
		    PCI_POSSIBLE_ERROR(ctrl)) {
			facts->accepts = 0;
			continue;
		}
		mps = 128 << FIELD_GET(PCI_EXP_DEVCTL_PAYLOAD, ctrl);
		leg->payload = leg->payload ?: mps;
		facts->accepts = min(facts->accepts, mps);
	}
}

/* The device on the root bus that @pdev's packets pass */
static struct pci_dev *p2pdma_top(struct pci_dev *pdev)
{
	struct pci_dev *up;

	while ((up = pci_upstream_bridge(pdev)))
		pdev = up;
	/* A virtual function may be on another bus than its PF. */
	return pci_physfn(pdev);
}

static void p2pdma_gather(struct pci_dev *owner, struct pci_dev *client,
			  struct p2pdma_facts *facts)
{
	struct pci_dev *ends[P2PDMA_LEGS] = {
		[P2PDMA_OWNER] = owner,
		[P2PDMA_CLIENT] = client,
	};
	struct pci_dev *shared, *turns[P2PDMA_LEGS] = { }, *top[P2PDMA_LEGS];
	struct p2pdma_leg *legs = facts->legs;
	enum p2pdma_packet packet;
	int i;

	shared = p2pdma_walk(ends, legs, turns);
	facts->shared_bridge = shared;
	facts->same_function = owner == client;
	facts->accepts = UINT_MAX;
	for (i = 0; i < P2PDMA_LEGS; i++) {
		legs[i].node = dev_to_node(&ends[i]->dev);
		top[i] = p2pdma_top(ends[i]);
		if (shared && !facts->same_function)
			p2pdma_read_payload(facts, &legs[i], ends[i]);
	}
	facts->same_host_bridge = top[P2PDMA_OWNER]->bus ==
				  top[P2PDMA_CLIENT]->bus;

	for (packet = 0; packet < P2PDMA_PACKETS; packet++) {
		facts->turns[packet].fate = P2PDMA_DIRECT;
		i = p2pdma_leg_of(packet);
		if (shared && !facts->same_function)
			p2pdma_read_turn(packet, turns[i], turns[!i],
					 &facts->turns[packet]);
	}

	/* Config space is slow: read only facts that can matter. */
	if (!p2pdma_needs_root(facts))
		return;
	facts->forwarded = p2pdma_read_forwarding(shared);
	facts->cpu_allows = p2pdma_cpu_allows();
	facts->encrypted = p2pdma_memory_encrypted();
	for (i = 0; i < P2PDMA_LEGS; i++)
		legs[i].host_directions =
			p2pdma_host_directions(top[i], facts->same_host_bridge,
					       &legs[i].host_admitted);
}

/**
 * p2pdma_find_route - gather facts about two devices, and judge them
 * @owner: device with the memory
 * @client: device that would access the memory, or a child of that device
 * @facts: where to store the facts
 * @verdict: where to store the verdict
 *
 * Context: any; never sleeps.  The caller holds both devices.
 */
void p2pdma_find_route(struct pci_dev *owner, struct device *client,
		       struct p2pdma_facts *facts, struct p2pdma_verdict *verdict)
{
	struct pci_dev *pci_client = p2pdma_pci_client(client);

	*facts = (struct p2pdma_facts) { .client_is_pci = pci_client };
	if (pci_client)
		p2pdma_gather(owner, pci_client, facts);
	p2pdma_decide(facts, verdict);
}
