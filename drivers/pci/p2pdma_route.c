// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: gathers facts about two devices.
 *
 * Gets the facts for p2pdma_decide() from the PCI core, from config space, from
 * p2pdma_host.c and from p2pdma_hmat.c.  Nothing is cached, and nothing is logged.
 *
 * Redirection and Egress Control are read only at the turns (PCIe Base
 * Specification 6.0, section 6.12): at a port further down no packet turns around,
 * since both the request and the completion pass it on their way up.  A port
 * further up sees only packets that were redirected.  Translation Blocking is read
 * on all of the client's way, Upstream Forwarding above both devices.
 *
 * No references are taken: the caller holds both devices, and a device holds its
 * bridges.
 */

#include <linux/bitfield.h>
#include <linux/bits.h>
#include <linux/dma-direct.h>
#include <linux/ioport.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/pci.h>
#include <linux/swiotlb.h>

#include <kunit/static_stub.h>
#include <kunit/visibility.h>

#include "pci.h"
#include "p2pdma_route.h"

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

/* ---- ACS ---- */

/* Note that a read has failed, so that the answer may be another one later. */
static enum p2pdma_answer p2pdma_unreadable(struct p2pdma_facts *facts)
{
	facts->unreadable = true;
	return P2PDMA_UNKNOWN;
}

/*
 * May @pdev, which isn't known for a PCIe device, have capabilities that the PCI
 * core couldn't find?  This is so if only the header of its config space, 64
 * bytes, is accessible.  Such a device must not be taken for a conventional one.
 */
static bool p2pdma_hides_caps(struct p2pdma_facts *facts, struct pci_dev *pdev)
{
	unsigned int left = (PCI_CFG_SPACE_SIZE - PCI_STD_HEADER_SIZEOF) / 4;
	u16 status, cap;
	u8 at;

	if (pci_read_config_word(pdev, PCI_STATUS, &status) ||
	    PCI_POSSIBLE_ERROR(status)) {
		facts->unreadable = true;
		return true;
	}
	if (!(status & PCI_STATUS_CAP_LIST))
		return false;
	if (pci_read_config_byte(pdev, PCI_CAPABILITY_LIST, &at))
		return true;
	for (; at >= PCI_STD_HEADER_SIZEOF && left; left--) {
		if (pci_read_config_word(pdev, at & ~3, &cap) ||
		    PCI_POSSIBLE_ERROR(cap))
			return true;
		at = cap >> 8;
	}
	return false;
}

/* Is @pdev a PCIe device of one of @types, a bit of PCI_EXP_TYPE_* each? */
static enum p2pdma_answer p2pdma_is_type(struct p2pdma_facts *facts,
					 struct pci_dev *pdev, u32 types)
{
	if (pci_is_pcie(pdev))
		return types & BIT(pci_pcie_type(pdev)) ? P2PDMA_YES : P2PDMA_NO;
	return p2pdma_hides_caps(facts, pdev) ? P2PDMA_UNKNOWN : P2PDMA_NO;
}

/**
 * p2pdma_is_port - is a device a root port, or a switch's downstream port?
 * @facts: where to note that a read has failed
 * @pdev: the device
 *
 * Context: any; never sleeps.
 * Return: %P2PDMA_UNKNOWN if only the header of its config space is accessible.
 */
enum p2pdma_answer p2pdma_is_port(struct p2pdma_facts *facts,
				  struct pci_dev *pdev)
{
	return p2pdma_is_type(facts, pdev, BIT(PCI_EXP_TYPE_DOWNSTREAM) |
					   BIT(PCI_EXP_TYPE_ROOT_PORT));
}

/* May @pdev have an ACS capability that the PCI core couldn't find? */
static bool p2pdma_hides_acs(struct p2pdma_facts *facts, struct pci_dev *pdev)
{
	if (pci_is_pcie(pdev))
		return pdev->cfg_size <= PCI_CFG_SPACE_SIZE;
	return p2pdma_hides_caps(facts, pdev);
}

/**
 * p2pdma_read_acs - read a device's ACS registers
 * @facts: where to note that a read has failed
 * @pdev: the device
 *
 * Context: any; never sleeps.
 * Return: the registers; unknown if they couldn't be read, or if there may be some
 * that the PCI core couldn't find.
 */
struct p2pdma_acs p2pdma_read_acs(struct p2pdma_facts *facts,
				  struct pci_dev *pdev)
{
	struct p2pdma_acs acs = { P2PDMA_NO };

	if (!pdev->acs_cap) {
		if (p2pdma_hides_acs(facts, pdev))
			acs.known = P2PDMA_UNKNOWN;
		return acs;
	}
	acs.known = P2PDMA_YES;
	if (pci_read_config_word(pdev, pdev->acs_cap + PCI_ACS_CAP, &acs.cap) ||
	    PCI_POSSIBLE_ERROR(acs.cap) ||
	    pci_read_config_word(pdev, pdev->acs_cap + PCI_ACS_CTRL, &acs.ctrl) ||
	    PCI_POSSIBLE_ERROR(acs.ctrl))
		acs.known = p2pdma_unreadable(facts);
	return acs;
}

/*
 * The number of @to in @from's Egress Control Vector: the port number for a port,
 * the function number for a function.  Negative if there is none that is sure: for
 * a function on another bus, which has the same low bits as one on this bus, with
 * ARI, where ACS function groups may take the place of functions, and for virtual
 * functions on a root bus, which stand for their PF here.
 */
static int p2pdma_egress_number(struct p2pdma_facts *facts, struct pci_dev *from,
				struct pci_dev *to)
{
	u32 link;

	if (p2pdma_is_port(facts, from) == P2PDMA_YES) {
		if (p2pdma_is_port(facts, to) != P2PDMA_YES)
			return -1;
		if (!pcie_capability_read_dword(to, PCI_EXP_LNKCAP, &link) &&
		    !PCI_POSSIBLE_ERROR(link))
			return FIELD_GET(PCI_EXP_LNKCAP_PN, link);
		p2pdma_unreadable(facts);
		return -1;
	}
	if (to == from || to->bus != from->bus || pci_ari_enabled(to->bus))
		return -1;
	return pci_is_root_bus(to->bus) ? PCI_FUNC(to->devfn) : to->devfn;
}

/*
 * Is the bit for @to set in @from's Egress Control Vector?  The specification
 * doesn't say what happens to a number that has no bit.
 */
static enum p2pdma_answer p2pdma_read_egress(struct p2pdma_facts *facts,
					     struct pci_dev *from,
					     const struct p2pdma_acs *acs,
					     struct pci_dev *to)
{
	int bit = p2pdma_egress_number(facts, from, to);
	unsigned int bits = acs->cap >> 8 ?: 256;
	u32 vector;

	if (bit < 0 || bit >= bits)
		return P2PDMA_UNKNOWN;
	if (pci_read_config_dword(from, from->acs_cap + PCI_ACS_EGRESS_CTL_V +
				  bit / 32 * 4, &vector))
		return p2pdma_unreadable(facts);
	return vector & BIT(bit % 32) ? P2PDMA_YES : P2PDMA_NO;
}

/*
 * Does @pdev redirect for any setting of ACS control, since it lacks @bits?
 *
 * Section 6.12.1.2: a function has Request Redirect if it supports peer-to-peer
 * traffic with other functions of its device, and then Completion Redirect too.
 * A capability without these bits means that the device has no internal path,
 * so that all packets go up the link.  A missing capability means nothing.
 *
 * Some devices without an internal path have no capability; quirks of the PCI
 * core identify them.  The only quirk that sleeps is for devices on root buses,
 * which aren't asked about.
 */
static bool p2pdma_hard_wired(struct pci_dev *pdev, const struct p2pdma_acs *acs,
			      u16 bits)
{
	if (pci_dev_specific_acs_enabled(pdev, bits) > 0)
		return true;
	return acs->known == P2PDMA_YES && bits & ~acs->cap &&
	       pci_pcie_type(pdev) != PCI_EXP_TYPE_DOWNSTREAM;
}

/* Section 6.12.3: with Egress Control on, the vector selects what is controlled. */
static enum p2pdma_fate p2pdma_request_fate(struct p2pdma_facts *facts,
					    struct pci_dev *turn,
					    const struct p2pdma_acs *acs,
					    struct pci_dev *other,
					    enum p2pdma_fate uncontrolled)
{
	enum p2pdma_fate controlled = acs->ctrl & PCI_ACS_RR ?
				      P2PDMA_REDIRECTED : P2PDMA_BLOCKED;
	enum p2pdma_answer set = P2PDMA_YES;

	if (other && acs->ctrl & PCI_ACS_EC)
		set = p2pdma_read_egress(facts, turn, acs, other);
	else if (controlled == P2PDMA_BLOCKED)
		return uncontrolled;

	if (set == P2PDMA_UNKNOWN && controlled != uncontrolled)
		return P2PDMA_FATE_UNKNOWN;
	return set == P2PDMA_NO ? uncontrolled : controlled;
}

/**
 * p2pdma_turns_by_acs - does ACS of a turn below a shared bridge play a part?
 * @facts: where to note that a read has failed
 * @turn: the turn of a leg, or NULL
 * @other: the turn of the other leg, or NULL
 *
 * ACS acts at a switch's downstream port, and at a function whose sibling in the
 * same device is on the other leg.  PCIe has no other siblings below a bridge,
 * and devices on conventional buses have no ACS.
 *
 * Context: any; never sleeps.
 * Return: %P2PDMA_UNKNOWN if it isn't known what @turn is.
 */
enum p2pdma_answer p2pdma_turns_by_acs(struct p2pdma_facts *facts,
				       struct pci_dev *turn,
				       struct pci_dev *other)
{
	if (!turn)
		return P2PDMA_NO;
	return other ? P2PDMA_YES :
		       p2pdma_is_type(facts, turn, BIT(PCI_EXP_TYPE_DOWNSTREAM));
}

/* What ACS does to packets at @turn; @other is the turn of the other leg */
static void p2pdma_read_turn(struct p2pdma_facts *facts, struct pci_dev *turn,
			     struct pci_dev *other, unsigned int leg)
{
	enum p2pdma_fate fate;
	enum p2pdma_packet packet;
	struct p2pdma_turn *fact;
	struct p2pdma_acs acs;
	u16 needs;

	if (p2pdma_turns_by_acs(facts, turn, other) == P2PDMA_NO)
		return;

	acs = p2pdma_read_acs(facts, turn);
	for (packet = 0; packet < P2PDMA_PACKETS; packet++) {
		if (p2pdma_leg_of(packet) != leg)
			continue;
		fact = &facts->turns[packet];
		needs = PCI_ACS_RR;
		if (BIT(packet) & P2PDMA_COMPLETIONS)
			needs |= PCI_ACS_CR;
		if (acs.known == P2PDMA_UNKNOWN) {
			fact->fate = P2PDMA_FATE_UNKNOWN;
			continue;
		}
		fact->hard_wired = p2pdma_hard_wired(turn, &acs, needs);
		fate = fact->hard_wired ? P2PDMA_REDIRECTED : P2PDMA_DIRECT;

		switch (packet) {
		case P2PDMA_COMPLETION:
			if (acs.ctrl & PCI_ACS_CR)
				fate = P2PDMA_REDIRECTED;
			break;
		case P2PDMA_TRANSLATED:
			if (acs.ctrl & PCI_ACS_DT)
				break;
			fallthrough;
		case P2PDMA_REQUEST:
			fate = p2pdma_request_fate(facts, turn, &acs, other,
						   fate);
			break;
		default:
			break;
		}
		fact->fate = fate;
	}
}

/**
 * p2pdma_drops_by_acs - may Egress Control drop requests on a root bus?
 * @facts: where to note that a read has failed
 * @from: the device on its root bus that the client's packets pass
 * @to: the same of the owner
 *
 * It drops requests from one root port to another, and from one function of a
 * device to another.  All others reach the root complex or their target.
 *
 * Context: any; never sleeps.
 * Return: %P2PDMA_UNKNOWN if it isn't known what @from is.
 */
enum p2pdma_answer p2pdma_drops_by_acs(struct p2pdma_facts *facts,
				       struct pci_dev *from, struct pci_dev *to)
{
	if (from->bus == to->bus && PCI_SLOT(from->devfn) == PCI_SLOT(to->devfn))
		return P2PDMA_YES;
	return p2pdma_is_type(facts, from, BIT(PCI_EXP_TYPE_ROOT_PORT));
}

/*
 * What Egress Control drops on a root bus.  A vector can't name what isn't a port
 * of the same root complex.  A root port whose extended config space can't be read
 * is taken for one without ACS: otherwise nothing could be reached there.
 */
static void p2pdma_read_root_turn(struct p2pdma_facts *facts,
				  struct pci_dev **top)
{
	struct pci_dev *from = top[P2PDMA_CLIENT], *to = top[P2PDMA_OWNER];
	bool ports = pci_pcie_type(from) == PCI_EXP_TYPE_ROOT_PORT;
	enum p2pdma_fate fate = P2PDMA_DIRECT;
	struct p2pdma_acs acs;

	if (p2pdma_drops_by_acs(facts, from, to) == P2PDMA_NO ||
	    (pci_is_pcie(from) && !from->acs_cap))
		return;

	acs = p2pdma_read_acs(facts, from);
	if (acs.known == P2PDMA_UNKNOWN)
		fate = P2PDMA_FATE_UNKNOWN;
	else if (!(acs.ctrl & PCI_ACS_EC) || acs.ctrl & PCI_ACS_RR)
		return;
	else if (ports && !facts->same_host_bridge)
		fate = P2PDMA_FATE_UNKNOWN;
	else
		fate = p2pdma_request_fate(facts, from, &acs, to, fate);

	/* A client with ATS sends requests of both classes this way. */
	facts->turns[P2PDMA_REQUEST].fate = fate;
	facts->turns[P2PDMA_TRANSLATED].fate = fate;
}

/*
 * Do redirected packets get past the bridges above both devices?  They come from
 * the link of each port and are addressed to that link.  A switch's downstream
 * port sends them up only with Upstream Forwarding (section 6.12.1.1).  For a root
 * port that has this bit and hasn't set it, the specification leaves open what it
 * does; without the bit, the root complex decides.  Quirks aren't considered: they
 * tell that packets are isolated, not that they arrive.
 */
static void p2pdma_read_forwarding(struct p2pdma_facts *facts,
				   struct pci_dev *shared)
{
	enum p2pdma_answer *fact, port;
	struct p2pdma_acs acs;
	bool root;

	facts->ports_forward = P2PDMA_YES;
	facts->root_forwards = P2PDMA_YES;
	for (; shared; shared = pci_upstream_bridge(shared)) {
		port = p2pdma_is_port(facts, shared);
		root = port == P2PDMA_UNKNOWN ? pci_is_root_bus(shared->bus) :
		       pci_pcie_type(shared) == PCI_EXP_TYPE_ROOT_PORT;
		if (port == P2PDMA_NO ||
		    (port == P2PDMA_YES && root && !shared->acs_cap))
			continue;

		fact = root ? &facts->root_forwards : &facts->ports_forward;
		acs = p2pdma_read_acs(facts, shared);
		if (acs.known == P2PDMA_UNKNOWN) {
			if (*fact == P2PDMA_YES)
				*fact = P2PDMA_UNKNOWN;
		} else if (!(acs.ctrl & PCI_ACS_UF) &&
			   (!root || acs.cap & PCI_ACS_UF)) {
			*fact = P2PDMA_NO;
		}
	}
}

/*
 * Does @pdev drop what a client's ATS sends?  Translation Blocking is for all
 * requests that a port gets from its link (section 6.12.1.1).
 */
static enum p2pdma_answer p2pdma_blocks(struct p2pdma_facts *facts,
					struct pci_dev *pdev)
{
	struct p2pdma_acs acs;

	if (p2pdma_is_port(facts, pdev) == P2PDMA_NO)
		return P2PDMA_NO;
	acs = p2pdma_read_acs(facts, pdev);
	if (acs.known == P2PDMA_UNKNOWN)
		return P2PDMA_UNKNOWN;
	return acs.ctrl & PCI_ACS_TB ? P2PDMA_YES : P2PDMA_NO;
}

static void p2pdma_read_blocking(struct p2pdma_facts *facts,
				 struct pci_dev *client, struct pci_dev *shared)
{
	enum p2pdma_answer *fact = client == shared ? &facts->blocks_above :
						      &facts->blocks_below;
	struct pci_dev *port = client;
	enum p2pdma_answer blocks;

	facts->blocks_below = P2PDMA_NO;
	facts->blocks_above = P2PDMA_NO;
	while ((port = pci_upstream_bridge(port))) {
		if (port == shared)
			fact = &facts->blocks_above;
		blocks = p2pdma_blocks(facts, port);
		if (blocks == P2PDMA_YES || *fact == P2PDMA_NO)
			*fact = blocks;
	}
}

/**
 * p2pdma_translation_blocker - find the port that drops a client's ATS requests
 * @client: the client
 *
 * Context: any; never sleeps.
 * Return: the first port on the way up with Translation Blocking on, or NULL.
 */
struct pci_dev *p2pdma_translation_blocker(struct pci_dev *client)
{
	struct p2pdma_facts facts = { };
	struct pci_dev *port = client;

	while ((port = pci_upstream_bridge(port))) {
		if (p2pdma_blocks(&facts, port) == P2PDMA_YES)
			return port;
	}
	return NULL;
}

/* ---- Payloads ---- */

/**
 * p2pdma_read_mps - read a device's Max_Payload_Size
 * @facts: where to note that a read has failed
 * @pdev: the device
 *
 * Context: any; never sleeps.
 * Return: the size in bytes; 0 if it isn't known; %P2PDMA_NO_LIMIT for a
 * conventional device.
 */
u32 p2pdma_read_mps(struct p2pdma_facts *facts, struct pci_dev *pdev)
{
	u16 ctrl;

	if (!pci_is_pcie(pdev))
		return p2pdma_hides_caps(facts, pdev) ? 0 : P2PDMA_NO_LIMIT;
	/* A virtual function uses the value of its physical function. */
	if (pcie_capability_read_word(pci_physfn(pdev), PCI_EXP_DEVCTL, &ctrl) ||
	    PCI_POSSIBLE_ERROR(ctrl)) {
		facts->unreadable = true;
		return 0;
	}
	return 128 << FIELD_GET(PCI_EXP_DEVCTL_PAYLOAD, ctrl);
}

/*
 * Max_Payload_Size limits the payload that a function sends and accepts; a
 * larger packet is malformed (section 2.2.2).  For devices behind a PCIe to PCI
 * bridge, the bridge sends.
 */
static void p2pdma_read_payload(struct p2pdma_facts *facts,
				struct p2pdma_leg *leg, struct pci_dev *at)
{
	unsigned int i;
	u32 mps;

	/* Without hops, the end is the shared bridge itself. */
	for (i = 0; i < max(leg->hops, 1U); i++, at = pci_upstream_bridge(at)) {
		mps = p2pdma_read_mps(facts, at);
		if (!leg->payload && mps != P2PDMA_NO_LIMIT)
			leg->payload = mps ?: P2PDMA_NO_LIMIT;	/* unknown: the worst */
		facts->accepts = min(facts->accepts, mps);
	}
}

/* The same for packets that come down from the root complex */
static void p2pdma_read_root_payload(struct p2pdma_facts *facts,
				     struct p2pdma_leg *leg, struct pci_dev *at)
{
	struct pci_dev *up;

	leg->root_accepts = P2PDMA_NO_LIMIT;
	for (; (up = pci_upstream_bridge(at)); at = up)
		leg->root_accepts = min(leg->root_accepts,
					p2pdma_read_mps(facts, at));
	leg->root_payload = P2PDMA_NO_LIMIT;
	if (p2pdma_is_type(facts, at, BIT(PCI_EXP_TYPE_ROOT_PORT)) != P2PDMA_NO)
		leg->root_payload = p2pdma_read_mps(facts, at);
}

/* ---- Addresses ---- */

/**
 * p2pdma_translated - p2pdma_dma_translated(), but tests may replace it
 * @dev: the device
 *
 * Context: any.
 * Return: as p2pdma_dma_translated().
 */
bool p2pdma_translated(struct device *dev)
{
	KUNIT_STATIC_STUB_REDIRECT(p2pdma_translated, dev);
	return p2pdma_dma_translated(dev);
}
EXPORT_SYMBOL_IF_KUNIT(p2pdma_translated);

/* May bridges below @host take a CPU address for the bus address of a device? */
static bool p2pdma_address_taken(struct pci_host_bridge *host,
				 const struct resource *bar)
{
	struct resource_entry *window;

	resource_list_for_each_entry(window, &host->windows) {
		if (resource_type(window->res) == IORESOURCE_MEM &&
		    bar->start <= window->res->end - window->offset &&
		    bar->end >= window->res->start - window->offset)
			return true;
	}
	return false;
}

/* What bridges above @client see in requests to the CPU address of @bar */
static enum p2pdma_address p2pdma_read_cpu_address(const struct p2pdma_facts *facts,
						   struct pci_dev *owner,
						   struct pci_dev *client,
						   const struct resource *bar)
{
	struct pci_bus_region region;

	pcibios_resource_to_bus(owner->bus, &region, (struct resource *)bar);
	if (facts->same_host_bridge && region.start == bar->start)
		return P2PDMA_SAME_ADDRESS;
	if (p2pdma_address_taken(pci_find_host_bridge(client->bus), bar))
		return P2PDMA_TAKEN_ADDRESS;
	return P2PDMA_CPU_ADDRESS;
}

/*
 * Do @client's DMA addresses, without an IOMMU, differ from CPU addresses?
 * Firmware describes the offset by dma-ranges in a device tree, or _DMA in
 * ACPI, and dma_map_sg() applies it.  The offset is valid for system memory;
 * the DMA address of a BAR isn't known.
 */
static bool p2pdma_offset(struct device *client, const struct resource *bar)
{
	return phys_to_dma_unencrypted(client, bar->start) != bar->start ||
	       phys_to_dma_unencrypted(client, bar->end) != bar->end;
}

/* Which addresses reach the owner's memory: any of its BARs may be meant. */
static void p2pdma_read_addresses(struct p2pdma_facts *facts,
				  struct pci_dev *owner, struct pci_dev *client)
{
	bool translated = p2pdma_translated(&client->dev);
	enum p2pdma_address address;
	struct resource *bar;
	int i;

	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		bar = pci_resource_n(owner, i);
		if (resource_type(bar) != IORESOURCE_MEM || !bar->start ||
		    bar->flags & IORESOURCE_UNSET)
			continue;
		address = p2pdma_read_cpu_address(facts, owner, client, bar);
		facts->translations |= BIT(address);
		if (!translated && p2pdma_offset(&client->dev, bar))
			address = P2PDMA_UNKNOWN_ADDRESS;
		facts->mapped |= BIT(address);
	}
	/* Without a BAR there is nothing to find out. */
	if (translated || !facts->mapped)
		facts->mapped = BIT(P2PDMA_IOVA);
	if (!facts->translations)
		facts->translations = BIT(P2PDMA_CPU_ADDRESS);
}

/*
 * Does @client's DMA go through bounce buffers?  They are system memory, copied to
 * and from by the CPU.
 */
static bool p2pdma_bounces(struct pci_dev *client)
{
	return client->untrusted || (is_swiotlb_force_bounce(&client->dev) &&
				     !p2pdma_translated(&client->dev));
}

/* ---- All facts ---- */

/**
 * p2pdma_top - get the device on the root bus that a device's packets pass
 * @pdev: the device
 *
 * Context: any; never sleeps.
 * Return: the device; the PF of a virtual function.
 */
struct pci_dev *p2pdma_top(struct pci_dev *pdev)
{
	struct pci_dev *up;

	while ((up = pci_upstream_bridge(pdev)))
		pdev = up;
	/* A virtual function may be on another bus than its PF. */
	return pci_physfn(pdev);
}

static void p2pdma_gather(struct pci_dev *owner, struct pci_dev *client,
			  bool all, struct p2pdma_facts *facts)
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
	facts->bounced = p2pdma_bounces(client);
	facts->ats = client->ats_enabled;
	facts->tlp_choice = client->p2pdma_tlp_choice;
	facts->accepts = P2PDMA_NO_LIMIT;
	for (packet = 0; packet < P2PDMA_PACKETS; packet++)
		facts->turns[packet].fate = P2PDMA_DIRECT;
	if (!facts->same_function)
		facts->rank = p2pdma_hmat_rank(dev_to_node(&client->dev),
					       dev_to_node(&owner->dev));
	for (i = 0; i < P2PDMA_LEGS; i++)
		top[i] = p2pdma_top(ends[i]);
	facts->same_host_bridge = top[P2PDMA_OWNER]->bus ==
				  top[P2PDMA_CLIENT]->bus;
	if (facts->same_function)
		return;

	for (i = 0; i < P2PDMA_LEGS; i++) {
		p2pdma_read_payload(facts, &legs[i], ends[i]);
		if (shared)
			p2pdma_read_turn(facts, turns[i], turns[!i], i);
	}
	if (facts->ats)
		p2pdma_read_blocking(facts, client, shared);

	/* Config space is slow: read only facts that can matter. */
	if (!all && !p2pdma_needs_root(facts))
		return;
	if (shared)
		p2pdma_read_forwarding(facts, shared);
	else
		p2pdma_read_root_turn(facts, top);
	p2pdma_read_addresses(facts, owner, client);
	facts->cpu_allows = p2pdma_cpu_allows();
	facts->encrypted = p2pdma_memory_encrypted();
	for (i = 0; i < P2PDMA_LEGS; i++) {
		p2pdma_read_root_payload(facts, &legs[i], ends[i]);
		legs[i].host_directions =
			p2pdma_host_directions(top[i], facts->same_host_bridge,
					       &legs[i].host_admitted);
	}
}

/**
 * p2pdma_find_route - gather facts about two devices, and judge them
 * @owner: device with the memory
 * @client: device that would access the memory, or a child of that device
 * @tlp: class of packets, PCI_P2PDMA_TLP_*
 * @all: gather all facts, so that they can be judged for other classes
 * @facts: where to store the facts
 * @verdict: where to store the verdict
 *
 * Context: any; never sleeps.  The caller holds both devices, and @client's driver
 * doesn't leave meanwhile, which would free its dma-ranges.
 * Return: all reasons why a direction doesn't work, a bit each.
 */
u32 p2pdma_find_route(struct pci_dev *owner, struct device *client,
		      unsigned int tlp, bool all, struct p2pdma_facts *facts,
		      struct p2pdma_verdict *verdict)
{
	struct pci_dev *pci_client = p2pdma_pci_client(client);

	*facts = (struct p2pdma_facts) {
		.client_is_pci = pci_client,
		.tlp = tlp,
	};
	if (pci_client)
		p2pdma_gather(owner, pci_client, all, facts);
	return p2pdma_decide(facts, verdict);
}
