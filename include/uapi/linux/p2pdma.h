/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * PCI peer-to-peer DMA: routes between two devices, the reasons of verdicts, and
 * the questions that /dev/p2pdma answers.
 *
 * See Documentation/driver-api/pci/p2pdma.rst.
 */

#ifndef _UAPI_LINUX_P2PDMA_H
#define _UAPI_LINUX_P2PDMA_H

#include <linux/const.h>
#include <linux/ioctl.h>
#include <linux/types.h>

/* Directions, from the client's point of view */
#define P2PDMA_READ	_BITUL(0)
#define P2PDMA_WRITE	_BITUL(1)

/**
 * enum pci_p2pdma_tlp_flags - packets of a transfer that ACS routes differently
 * @PCI_P2PDMA_TLP_TRANSLATED: the client sends its requests as Translated
 *	Requests (Address Type 10b, PCIe Base Specification 6.0, section 10.2.1),
 *	for which its ATS must be enabled.  Otherwise they are untranslated.
 * @PCI_P2PDMA_TLP_RELAXED_CPL: the client sets the Relaxed Ordering attribute in
 *	all of its read requests, and so all completions have it.  Otherwise some
 *	may have it.
 * @PCI_P2PDMA_TLP_CLASSES: the number of combinations of these flags
 */
enum pci_p2pdma_tlp_flags {
	PCI_P2PDMA_TLP_TRANSLATED = 1,
	PCI_P2PDMA_TLP_RELAXED_CPL = 2,
	PCI_P2PDMA_TLP_CLASSES = 4,
};

/**
 * enum p2pdma_reason - why a route is allowed, limited or refused
 * @P2PDMA_REASON_SAME_DEVICE: the client is the owner of the memory
 * @P2PDMA_REASON_SWITCH: packets turn around below a bridge that client and
 *	owner share
 * @P2PDMA_REASON_CPU_ALLOWED: the processor forwards between its root ports
 * @P2PDMA_REASON_HOST_BRIDGE_LISTED: the host bridges are known to forward
 * @P2PDMA_REASON_ADMIN_ALLOWED: the command line says that a host bridge
 *	forwards
 * @P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED: the way is through the root complex, which
 *	isn't known to forward, in this direction at least
 * @P2PDMA_REASON_ACS_REDIRECT: ACS redirects packets, or a device has no path
 *	between its functions, and the root complex isn't known to forward such
 *	packets, or they don't reach it
 * @P2PDMA_REASON_ACS_EGRESS: ACS Egress Control drops the client's requests
 * @P2PDMA_REASON_ACS_FORWARDING: a port above both devices isn't set to pass on
 *	what ACS redirects (Upstream Forwarding)
 * @P2PDMA_REASON_ACS_TRANSLATION_BLOCKING: a port drops the client's Translated
 *	Requests and its requests for translation
 * @P2PDMA_REASON_ATS: the client translates all addresses by ATS, so bus addresses
 *	are useless to it, and the way through the IOMMU isn't open
 * @P2PDMA_REASON_ATS_OFF: Translated Requests were asked for, and the client's ATS
 *	is off
 * @P2PDMA_REASON_MPS_MISMATCH: packets may be larger than a receiver accepts
 * @P2PDMA_REASON_DMA_MASK: the client can't address the BAR
 * @P2PDMA_REASON_BAR_MOVED: the BAR's address has changed since registration
 * @P2PDMA_REASON_UNREADABLE: config space could not be read; ask again
 * @P2PDMA_REASON_NOT_PCI: neither the client nor a parent is a PCI device
 * @P2PDMA_REASON_BOUNCED: all DMA of the client goes through bounce buffers, since
 *	it isn't trusted, or the kernel forces it (swiotlb=force, confidential guests)
 * @P2PDMA_REASON_MEMORY_ENCRYPTED: the path is through the root complex, and
 *	the DMA API would take the BAR for encrypted system memory
 * @P2PDMA_REASON_DMA_RANGES: the path is through the root complex without an
 *	IOMMU, and the client's DMA addresses aren't CPU addresses
 * @P2PDMA_REASON_ADDRESS_TAKEN: the path is through the root complex, requests
 *	carry the BAR's CPU address, without an IOMMU or translated by ATS, and it is
 *	also a bus address below the client's host bridge
 * @P2PDMA_REASON_UNKNOWN: a fact isn't known: extended config space isn't
 *	accessible, or the specification leaves the case open
 * @P2PDMA_REASON_MAX: the number of reasons
 *
 * p2pdma_reason_name() returns the name of a reason, the same in all
 * interfaces.
 */
enum p2pdma_reason {
	P2PDMA_REASON_SAME_DEVICE,
	P2PDMA_REASON_SWITCH,
	P2PDMA_REASON_CPU_ALLOWED,
	P2PDMA_REASON_HOST_BRIDGE_LISTED,
	P2PDMA_REASON_ADMIN_ALLOWED,
	P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED,
	P2PDMA_REASON_ACS_REDIRECT,
	P2PDMA_REASON_ACS_EGRESS,
	P2PDMA_REASON_MPS_MISMATCH,
	P2PDMA_REASON_DMA_MASK,
	P2PDMA_REASON_BAR_MOVED,
	P2PDMA_REASON_UNREADABLE,
	P2PDMA_REASON_NOT_PCI,
	P2PDMA_REASON_BOUNCED,
	P2PDMA_REASON_MEMORY_ENCRYPTED,
	P2PDMA_REASON_DMA_RANGES,
	P2PDMA_REASON_ADDRESS_TAKEN,
	P2PDMA_REASON_ACS_FORWARDING,
	P2PDMA_REASON_ACS_TRANSLATION_BLOCKING,
	P2PDMA_REASON_ATS,
	P2PDMA_REASON_ATS_OFF,
	P2PDMA_REASON_UNKNOWN,
	P2PDMA_REASON_MAX,
};

/**
 * enum p2pdma_fix - a kernel command line option that would allow more directions
 * @P2PDMA_FIX_NONE: none
 * @P2PDMA_FIX_ACS: no redirection at the turns (pci=config_acs=, disable_acs_redir=)
 * @P2PDMA_FIX_MPS: the same Max_Payload_Size everywhere (pci=pcie_bus_peer2peer)
 * @P2PDMA_FIX_ATS: no ATS (pci=noats)
 */
enum p2pdma_fix {
	P2PDMA_FIX_NONE,
	P2PDMA_FIX_ACS,
	P2PDMA_FIX_MPS,
	P2PDMA_FIX_ATS,
};

/**
 * enum p2pdma_address - the address in a request that isn't sent to a bus address
 * @P2PDMA_IOVA: an IOMMU translates it
 * @P2PDMA_SAME_ADDRESS: the CPU address, equal to the bus address
 * @P2PDMA_CPU_ADDRESS: a CPU address that no bridge claims as a bus address
 * @P2PDMA_TAKEN_ADDRESS: a CPU address that is a bus address of another device
 * @P2PDMA_UNKNOWN_ADDRESS: firmware's dma-ranges don't say which
 */
enum p2pdma_address {
	P2PDMA_IOVA,
	P2PDMA_SAME_ADDRESS,
	P2PDMA_CPU_ADDRESS,
	P2PDMA_TAKEN_ADDRESS,
	P2PDMA_UNKNOWN_ADDRESS,
};

/* In place of a payload, in bytes */
#define P2PDMA_NO_LIMIT		0xffffffffU

/**
 * struct p2pdma_pci_address - a PCI function
 * @domain: PCI domain (segment)
 * @bus: bus number
 * @devfn: device number in bits 3 to 7, function number in bits 0 to 2
 * @reserved: 0
 */
struct p2pdma_pci_address {
	__u32 domain;
	__u8 bus;
	__u8 devfn;
	__u16 reserved;
};

/* Where a port is, see struct p2pdma_query_port */
#define P2PDMA_LEG_OWNER	0	/* between the owner and the turn of its leg */
#define P2PDMA_LEG_CLIENT	1	/* the same for the client */
#define P2PDMA_LEG_SHARED	2	/* above both, from the shared bridge to the root */

/* What a port is and does */
#define P2PDMA_PORT_PCIE	_BITUL(0)	/* @type is valid */
#define P2PDMA_PORT_ACS		_BITUL(1)	/* @acs_cap and @acs_ctrl are valid */
#define P2PDMA_PORT_ACS_UNKNOWN	_BITUL(2)	/* may have ACS that couldn't be read */
#define P2PDMA_PORT_TURN	_BITUL(3)	/* packets of its leg turn around here */
#define P2PDMA_PORT_BLOCKING	_BITUL(4)	/* its ACS redirects, drops or doesn't forward */
#define P2PDMA_PORT_HARD_WIRED	_BITUL(5)	/* and does so at any setting */
#define P2PDMA_PORT_DECIDES	_BITUL(6)	/* its ACS plays a part in the verdict */
#define P2PDMA_PORT_UNREADABLE	_BITUL(7)	/* a register couldn't be read */
#define P2PDMA_PORT_PAYLOAD	_BITUL(8)	/* its payload plays a part */

/**
 * struct p2pdma_query_port - one device between the two ends and the root
 * @at: the device
 * @leg: P2PDMA_LEG_*
 * @type: PCI_EXP_TYPE_*, with %P2PDMA_PORT_PCIE
 * @acs_cap: ACS Capability register
 * @acs_ctrl: ACS Control register
 * @link_status: Link Status register; 0 if there is none, or unknown
 * @flags: P2PDMA_PORT_*
 * @payload: Max_Payload_Size in bytes; 0 if unknown, %P2PDMA_NO_LIMIT for a
 *	conventional device
 * @payload_max: Max_Payload_Size Supported, likewise
 * @link_cap: Link Capabilities register; 0 if there is none, or unknown
 *
 * For a virtual function payloads and link are those of its physical function.
 */
struct p2pdma_query_port {
	struct p2pdma_pci_address at;
	__u8 leg;
	__u8 type;
	__u16 acs_cap;
	__u16 acs_ctrl;
	__u16 link_status;
	__u32 flags;
	__u32 payload;
	__u32 payload_max;
	__u32 link_cap;
};

/**
 * struct p2pdma_query_leg - what is the same for all ports of a leg
 * @hops: devices on the leg, the end among them
 * @payload: largest payload that its end sends, in bytes; 0 without a limit
 * @root_payload: largest payload that its root port sends down, in bytes;
 *	%P2PDMA_NO_LIMIT if there is no root port; 0 if unknown
 * @root_accepts: payload that all devices below the root port accept, in bytes;
 *	%P2PDMA_NO_LIMIT if there are none; 0 if unknown
 * @host_vendor: vendor ID by which its host bridge is known; 0 if there is none
 * @host_device: device ID, likewise
 * @host_directions: what the host bridge is known to forward, %P2PDMA_READ and
 *	%P2PDMA_WRITE
 * @host_admitted: 1 if this is from the administrator's list
 *
 * Without %P2PDMA_FACT_ROOT, what is known of root port and host bridge plays no
 * part in the verdict, and neither does anything if the devices are the same.
 */
struct p2pdma_query_leg {
	__u32 hops;
	__u32 payload;
	__u32 root_payload;
	__u32 root_accepts;
	__u16 host_vendor;
	__u16 host_device;
	__u16 host_directions;
	__u16 host_admitted;
};

/* How a client gets addresses of the memory */
#define P2PDMA_ROUTE_NONE		0	/* not at all */
#define P2PDMA_ROUTE_BUS_ADDRESS	1	/* bus addresses */
#define P2PDMA_ROUTE_HOST_BRIDGE	2	/* the DMA API's addresses */

/* What is known of both devices */
#define P2PDMA_FACT_SAME_FUNCTION	_BITUL(0)
#define P2PDMA_FACT_SHARED_BRIDGE	_BITUL(1)
#define P2PDMA_FACT_SAME_HOST_BRIDGE	_BITUL(2)
#define P2PDMA_FACT_CPU_ALLOWS		_BITUL(3)
#define P2PDMA_FACT_ENCRYPTED		_BITUL(4)
#define P2PDMA_FACT_BOUNCED		_BITUL(5)
#define P2PDMA_FACT_UNREADABLE		_BITUL(6)
#define P2PDMA_FACT_ATS			_BITUL(7)	/* the client's ATS is on */
#define P2PDMA_FACT_TLP_CHOICE		_BITUL(8)
#define P2PDMA_FACT_TRANSLATED		_BITUL(9)	/* an IOMMU translates for the client */
#define P2PDMA_FACT_ROOT		_BITUL(10)	/* the way to the root plays a part */
#define P2PDMA_FACT_REGISTERED		_BITUL(11)	/* the owner has registered memory */

/**
 * struct p2pdma_query_route - ask whether a client reaches an owner's memory
 * @size: size of this struct
 * @flags: 0
 * @owner: the device with the memory; needn't have registered any
 * @client: the device that would access it
 * @tlp: class of packets, of enum pci_p2pdma_tlp_flags
 * @port_size: size of struct p2pdma_query_port
 * @ports: address of an array for the ports, or 0
 * @port_count: in: the room in @ports; out: how many ports there are
 * @map_type: out: P2PDMA_ROUTE_*
 * @directions: out: what the client may do, %P2PDMA_READ and %P2PDMA_WRITE
 * @reason: out: enum p2pdma_reason, the one to mend first
 * @reasons: out: all that stands against a direction, a bit each
 * @fix: out: enum p2pdma_fix
 * @distance: out: less is better; meaningless if the route is refused
 * @classes: out: classes of packets that the verdict holds for, a bit each
 * @facts: out: P2PDMA_FACT_*
 * @mapped: out: kinds of addresses that the client's requests carry if the DMA API
 *	maps the BARs, a bit of enum p2pdma_address each
 * @translations: out: kinds of addresses that ATS translates these to, likewise
 * @accepts: out: payload that all devices on both legs accept, in bytes; 0 if
 *	unknown
 * @bars: out: memory BARs of the owner that were judged, a bit each: those with
 *	registered struct pages; if none has any, all that are registered; if none is,
 *	all that have an address
 * @bars_beyond_mask: out: those of @bars that the client's DMA mask doesn't reach
 * @bars_moved: out: those of @bars whose address has changed since registration
 * @dma_mask: out: the client's DMA mask; 0 if the client has no driver
 * @legs: out: the owner's and the client's leg
 *
 * The ports are given from each end up: the owner's leg, the client's, and what is
 * above both.
 *
 * Members that aren't "out" are read; an error other than EFAULT leaves the struct
 * unchanged.  A caller that knows a longer struct clears what it doesn't set.
 * ioctl() fails with
 *
 * * EINVAL - @size or @port_size is too small, @flags or @tlp are unknown, or a
 *   reserved member isn't 0
 * * E2BIG - @size or @port_size is larger than a page, or what this kernel doesn't
 *   know isn't 0
 * * ENODEV - there is no such @owner or no such @client
 * * EFAULT - the struct or @ports isn't memory of the caller that can be written
 * * EAGAIN - with O_NONBLOCK: too many questions
 * * EINTR - a signal came while the caller had to wait
 * * ENOMEM - no memory
 */
struct p2pdma_query_route {
	__u32 size;
	__u32 flags;
	struct p2pdma_pci_address owner;
	struct p2pdma_pci_address client;
	__u32 tlp;
	__u32 port_size;
	__aligned_u64 ports;
	__u32 port_count;
	__u32 map_type;
	__u32 directions;
	__u32 reason;
	__aligned_u64 reasons;
	__u32 fix;
	__u32 distance;
	__u32 classes;
	__u32 facts;
	__u32 mapped;
	__u32 translations;
	__u32 accepts;
	__u32 bars;
	__u32 bars_beyond_mask;
	__u32 bars_moved;
	__aligned_u64 dma_mask;
	struct p2pdma_query_leg legs[2];
};

#define P2PDMA_OWNER_PUBLISHED	_BITUL(0)	/* others may allocate it */
#define P2PDMA_OWNER_PAGES	_BITUL(1)	/* the core allocates pages of it */
#define P2PDMA_OWNER_HEAP	_BITUL(2)	/* it has a dma-buf heap */

/**
 * struct p2pdma_query_owner - a device with registered memory
 * @at: the device
 * @flags: P2PDMA_OWNER_*
 * @bars: its BARs that are registered, a bit each
 * @memory: memory that the core allocates, in bytes
 * @available: how much of it is free, in bytes
 */
struct p2pdma_query_owner {
	struct p2pdma_pci_address at;
	__u32 flags;
	__u32 bars;
	__aligned_u64 memory;
	__aligned_u64 available;
};

/**
 * struct p2pdma_query_owners - list devices with registered memory
 * @size: size of this struct
 * @flags: 0
 * @owners: address of an array for the owners, or 0
 * @owner_size: size of struct p2pdma_query_owner
 * @owner_count: in: the room in @owners; out: how many owners there are
 *
 * Errors are those of struct p2pdma_query_route.
 */
struct p2pdma_query_owners {
	__u32 size;
	__u32 flags;
	__aligned_u64 owners;
	__u32 owner_size;
	__u32 owner_count;
};

#define P2PDMA_IOCTL		0xBE
#define P2PDMA_QUERY_ROUTE	_IO(P2PDMA_IOCTL, 0)
#define P2PDMA_QUERY_OWNERS	_IO(P2PDMA_IOCTL, 1)

#endif /* _UAPI_LINUX_P2PDMA_H */
