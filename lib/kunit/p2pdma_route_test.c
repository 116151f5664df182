// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of PCI peer-to-peer DMA: routes, the reasons given for them in
 * the kernel log, and the list of host bridges that an administrator can give.
 *
 * Routes are named cases in a table, each tested in both orders: the expected
 * results for particular fabrics, one rule at a time.  p2pdma_router.c models
 * how packets really go.
 */

#include <linux/array_size.h>
#include <linux/bitmap.h>
#include <linux/iommu.h>
#include <linux/string.h>

#include <kunit/static_stub.h>

#include "p2pdma_test.h"

/* ---- Routes ---- */

#define BUS(_directions, _reason, ...)					\
	{ PCI_P2PDMA_MAP_BUS_ADDR, _directions, _reason, { __VA_ARGS__ } }
#define ROOT(_directions, _reason, ...)					\
	{ PCI_P2PDMA_MAP_THRU_HOST_BRIDGE, _directions, _reason, { __VA_ARGS__ } }
#define REFUSED(_reason, ...)						\
	{ PCI_P2PDMA_MAP_NOT_SUPPORTED, 0, _reason, { __VA_ARGS__ } }

#define SWITCH		BUS(P2PDMA_BOTH, "switch")
#define NOT_LISTED	REFUSED("host-bridge-not-listed")

/* IDs of host bridges: listed, listed for one host bridge only, not listed */
#define LISTED		0x80862030
#define SAME_ONLY	0x80863c00
#define NOBODY		0x808629c0

/* IDs of devices that redirect everything, for which the PCI core has a quirk */
#define ISOLATED	0x19240903	/* functions, Solarflare's */
#define ISOLATED_PORT	0x1d170710	/* a switch port, Zhaoxin's */

/* An ACS capability without redirection: no way between functions */
#define NO_WAY		PCI_FABRIC_ACS_EMPTY

#define TREE		(&p2pdma_test_tree)
#define CHIPSET		(&p2pdma_test_chipset)
#define FUNCTIONS	(&p2pdma_test_functions)
#define CONVENTIONAL	(&p2pdma_test_conventional)

#define ID(_node, _id)		{ _node, P2PDMA_TEST_ID, _id }
#define ACS(_node, _ctrl)	{ _node, P2PDMA_TEST_ACS, _ctrl }
#define ACS_CAP(_node, _bits)	{ _node, P2PDMA_TEST_ACS_CAP, _bits }
#define VECTOR(_node, _bits)	{ _node, P2PDMA_TEST_VECTOR, _bits }
#define EGRESS(_node, _bit)	{ _node, P2PDMA_TEST_EGRESS, _bit }
#define OFFSET(_node, _offset)	{ _node, P2PDMA_TEST_OFFSET, _offset }
#define MPS(_node, _bytes)	{ _node, P2PDMA_TEST_MPS, _bytes }
#define FAIL(_node)		{ _node, P2PDMA_TEST_FAIL }
#define FAIL_ACS(_node)		{ _node, P2PDMA_TEST_FAIL_ACS }

#define RR	PCI_ACS_RR
#define CR	PCI_ACS_CR
#define UF	PCI_ACS_UF
#define EC	PCI_ACS_EC
#define TB	PCI_ACS_TB
#define DT	PCI_ACS_DT

/**
 * struct route_case - two devices of a fabric, and how they reach each other
 * @name: what is special
 * @fabric: the fabric to start from
 * @client: device that accesses memory
 * @provider: device that has the memory
 * @there: expected result
 * @back: expected result with the two swapped, if different
 * @change: changes to the fabric
 * @cpu_allows: the processor forwards between all its root ports
 * @encrypted: system memory is encrypted
 * @iommu: an IOMMU translates the DMA addresses of all devices
 * @ats: @client's ATS is on
 * @choice: @client's driver chooses how requests are sent
 * @tlp: class of packets
 * @admitted: the administrator's host bridges
 */
struct route_case {
	const char *name;
	const struct p2pdma_test_fabric *fabric;
	const char *client;
	const char *provider;
	struct p2pdma_test_expect there;
	struct p2pdma_test_expect back;
	struct p2pdma_test_change change[P2PDMA_TEST_CHANGES];
	bool cpu_allows;
	bool encrypted;
	bool iommu;
	bool ats;
	bool choice;
	unsigned int tlp;
	const char *admitted;
};

static const struct route_case route_cases[] = {
	/* Below one bridge, nothing in the way */
	{
		"same_device", TREE, "a", "a",
		.there = BUS(P2PDMA_BOTH, "same-device"),
	}, {
		"d9_same_device_with_acs", TREE, "a", "a",
		.there = BUS(P2PDMA_BOTH, "same-device"),
		.change = { ACS("a", RR | CR) },
	}, {
		"switch", TREE, "a", "b", .there = SWITCH,
	}, {
		"nested_switch", TREE, "a", "c", .there = SWITCH,
	}, {
		"inside_nested_switch", TREE, "c", "d", .there = SWITCH,
	}, {
		"functions_of_one_device", FUNCTIONS, "m0", "m1",
		.there = SWITCH,
	}, {
		"virtual_functions_of_one_device", FUNCTIONS, "pf/0", "pf/1",
		.there = SWITCH,
	}, {
		"virtual_and_physical_function", FUNCTIONS, "pf/1", "pf",
		.there = SWITCH,
	}, {
		"virtual_function_and_neighbour", FUNCTIONS, "pf/1", "b",
		.there = SWITCH,
	}, {
		"conventional_bus", CONVENTIONAL, "x", "y", .there = SWITCH,
	}, {
		"nested_conventional_bus", CONVENTIONAL, "x", "z",
		.there = SWITCH,
	}, {
		"conventional_and_switch", CONVENTIONAL, "z", "b",
		.there = SWITCH,
	},

	/* Through the root complex, by processor, table and administrator */
	{
		"root_ports_not_listed", TREE, "e", "f", .there = NOT_LISTED,
	}, {
		"root_ports_listed", TREE, "e", "f",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { ID("rp1", LISTED), ID("rp2", LISTED),
			    ID("rp3", LISTED) },
	}, {
		"root_ports_same_only", TREE, "e", "f",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { ID("rp1", SAME_ONLY), ID("rp2", SAME_ONLY),
			    ID("rp3", SAME_ONLY) },
	}, {
		"switch_and_root_port", TREE, "c", "e",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { ID("rp1", LISTED), ID("rp2", LISTED) },
	}, {
		"root_ports_processor", TREE, "e", "f",
		.there = ROOT(P2PDMA_BOTH, "cpu-allowed"),
		.cpu_allows = true,
	}, {
		"two_hosts_not_listed", TREE, "e", "g", .there = NOT_LISTED,
	}, {
		"two_hosts_listed", TREE, "e", "g",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { ID("rp1", LISTED), ID("rp2", LISTED),
			    ID("rp4", LISTED) },
	}, {
		"two_hosts_one_listed", TREE, "e", "g", .there = NOT_LISTED,
		.change = { ID("rp1", LISTED), ID("rp2", LISTED) },
	}, {
		"two_hosts_same_only", TREE, "e", "g", .there = NOT_LISTED,
		.change = { ID("rp1", SAME_ONLY), ID("rp2", SAME_ONLY),
			    ID("rp4", SAME_ONLY) },
	}, {
		"two_hosts_processor", TREE, "e", "g",
		.there = ROOT(P2PDMA_BOTH, "cpu-allowed"),
		.cpu_allows = true,
	}, {
		"host_known_by_00_0", CHIPSET, "a", "b",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { ID("id", LISTED) },
	}, {
		"root_ports_mean_nothing_beside_00_0", CHIPSET, "a", "b",
		.there = NOT_LISTED,
		.change = { ID("rp1", LISTED), ID("rp2", LISTED) },
	}, {
		"root_port_at_00_0_means_all", FUNCTIONS, "m0", "b",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { ID("rp1", LISTED) },
	}, {
		"root_port_elsewhere_means_nothing_beside_it", FUNCTIONS,
		"m0", "b", .there = NOT_LISTED,
		.change = { ID("rp2", LISTED) },
	}, {
		"two_hosts_known_by_00_0", CHIPSET, "a", "g",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { ID("id", LISTED), ID("id2", LISTED) },
	}, {
		"root_complex_endpoint", CHIPSET, "rc", "a",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { ID("id", LISTED) },
	}, {
		"root_complex_endpoint_not_listed", CHIPSET, "rc", "a",
		.there = NOT_LISTED,
	}, {
		"administrator", CHIPSET, "a", "b",
		.there = ROOT(P2PDMA_BOTH, "admin-allowed"),
		.change = { ID("id", NOBODY) }, .admitted = "8086:29c0",
	}, {
		"administrator_of_one_of_two_hosts", CHIPSET, "a", "g",
		.there = NOT_LISTED,
		.change = { ID("id", NOBODY) }, .admitted = "8086:29c0",
	}, {
		"administrator_and_table", CHIPSET, "a", "g",
		.there = ROOT(P2PDMA_BOTH, "admin-allowed"),
		.change = { ID("id", NOBODY), ID("id2", LISTED) },
		.admitted = "8086:29c0",
	}, {
		"administrator_overrules_same_only", CHIPSET, "a", "g",
		.there = ROOT(P2PDMA_BOTH, "admin-allowed"),
		.change = { ID("id", SAME_ONLY), ID("id2", SAME_ONLY) },
		.admitted = "8086:3c00",
	}, {
		"d12_write_only", CHIPSET, "a", "b",
		.there = ROOT(P2PDMA_WRITE, "admin-allowed"),
		.change = { ID("id", NOBODY) }, .admitted = "8086:29c0:w",
	}, {
		"d12_write_only_one_of_two_hosts", CHIPSET, "a", "g",
		.there = ROOT(P2PDMA_WRITE, "admin-allowed"),
		.change = { ID("id", NOBODY), ID("id2", LISTED) },
		.admitted = "8086:29c0:w",
	}, {
		"processor_before_write_only", CHIPSET, "a", "b",
		.there = ROOT(P2PDMA_BOTH, "cpu-allowed"),
		.change = { ID("id", NOBODY) }, .admitted = "8086:29c0:w",
		.cpu_allows = true,
	},

	/* Encrypted memory only affects routes through the root complex. */
	{
		"encrypted_same_device", TREE, "a", "a",
		.there = BUS(P2PDMA_BOTH, "same-device"), .encrypted = true,
	}, {
		"encrypted_switch", TREE, "a", "b", .there = SWITCH,
		.change = { ID("rp1", LISTED) }, .encrypted = true,
	}, {
		"encrypted_root_ports", TREE, "e", "f",
		.there = REFUSED("memory-encrypted"),
		.change = { ID("rp1", LISTED), ID("rp2", LISTED),
			    ID("rp3", LISTED) }, .encrypted = true,
	}, {
		"encrypted_root_ports_not_listed", TREE, "e", "f",
		.there = REFUSED("memory-encrypted"), .encrypted = true,
	}, {
		"encrypted_two_hosts_processor", TREE, "e", "g",
		.there = REFUSED("memory-encrypted"),
		.cpu_allows = true, .encrypted = true,
	}, {
		"encrypted_write_only", CHIPSET, "a", "b",
		.there = REFUSED("memory-encrypted"),
		.change = { ID("id", NOBODY) }, .admitted = "8086:29c0:w",
		.encrypted = true,
	}, {
		"encrypted_requests_redirected", TREE, "a", "b",
		.there = REFUSED("memory-encrypted", "d1"), .back = SWITCH,
		.change = { ACS("d1", RR), ID("rp1", LISTED) },
		.encrypted = true,
	}, {
		"encrypted_requests_redirected_not_listed", TREE, "a", "b",
		.there = REFUSED("acs-redirect", "d1"), .back = SWITCH,
		.change = { ACS("d1", RR) }, .encrypted = true,
	}, {
		"encrypted_completions_redirected", TREE, "a", "b",
		.there = BUS(P2PDMA_WRITE, "memory-encrypted", NULL, "d2"),
		.back = SWITCH,
		.change = { ACS("d2", CR), ID("rp1", LISTED) },
		.encrypted = true,
	},

	/* ACS at the turns: requests at the client's, completions beyond */
	{
		"d9_requests_redirected", TREE, "a", "b",
		.there = REFUSED("acs-redirect", "d1"), .back = SWITCH,
		.change = { ACS("d1", RR) },
	}, {
		"d9_completions_redirected", TREE, "a", "b",
		.there = BUS(P2PDMA_WRITE, "acs-redirect", NULL, "d2"),
		.back = SWITCH,
		.change = { ACS("d2", CR) },
	}, {
		"both_redirected_at_both_turns", TREE, "a", "b",
		.there = REFUSED("acs-redirect", "d1", "d2"),
		.back = REFUSED("acs-redirect", "d2", "d1"),
		.change = { ACS("d1", RR | CR), ACS("d2", RR | CR) },
	}, {
		"d9_requests_redirected_to_listed", TREE, "a", "b",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed", "d1"),
		.back = SWITCH,
		.change = { ACS("d1", RR), ID("rp1", LISTED) },
	}, {
		"d9_completions_redirected_to_listed", TREE, "a", "b",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed", NULL, "d2"),
		.back = SWITCH,
		.change = { ACS("d2", CR), ID("rp1", LISTED) },
	}, {
		"d9_requests_redirected_by_processor", TREE, "a", "b",
		.there = ROOT(P2PDMA_BOTH, "cpu-allowed", "d1"),
		.back = SWITCH,
		.change = { ACS("d1", RR) }, .cpu_allows = true,
	}, {
		"d12_requests_redirected_to_write_only", TREE, "a", "b",
		.there = ROOT(P2PDMA_WRITE, "admin-allowed", "d1"),
		.back = SWITCH,
		.change = { ACS("d1", RR), ID("rp1", NOBODY) },
		.admitted = "8086:29c0:w",
	}, {
		/* Writes go straight; the root complex adds no direction. */
		"d12_completions_redirected_to_write_only", TREE, "a", "b",
		.there = BUS(P2PDMA_WRITE, "acs-redirect", NULL, "d2"),
		.back = SWITCH,
		.change = { ACS("d2", CR), ID("rp1", NOBODY) },
		.admitted = "8086:29c0:w",
	}, {
		"d9_endpoints_redirect", TREE, "a", "b", .there = SWITCH,
		.change = { ACS("a", RR | CR), ACS("b", RR | CR) },
	}, {
		"shared_port_redirects", TREE, "c", "d", .there = SWITCH,
		.change = { ACS("d3", RR | CR), ACS("rp1", RR | CR) },
	}, {
		"d9_shared_root_port_redirects", FUNCTIONS, "m0", "m1",
		.there = SWITCH,
		.change = { ACS("rp1", RR | CR) },
	}, {
		"d9_port_below_the_turn_redirects", TREE, "c", "a",
		.there = SWITCH,
		.change = { ACS("d31", RR | CR) },
	}, {
		"d9_turn_of_nested_switch_redirects", TREE, "c", "a",
		.there = REFUSED("acs-redirect", "d3"), .back = SWITCH,
		.change = { ACS("d3", RR) },
	}, {
		"conventional_bus_below_redirecting_port", CONVENTIONAL, "x", "z",
		.there = SWITCH,
		.change = { ACS("d1", RR | CR) },
	}, {
		"d9_conventional_redirected", CONVENTIONAL, "x", "b",
		.there = REFUSED("acs-redirect", "d1"), .back = SWITCH,
		.change = { ACS("d1", RR) },
	}, {
		"root_port_redirects_what_crosses_anyway", TREE, "e", "f",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { ACS("rp2", RR | CR), ACS("rp3", RR | CR),
			    ID("rp1", LISTED), ID("rp2", LISTED),
			    ID("rp3", LISTED) },
	},

	/* Among functions of one device */
	{
		"d9_function_redirects_requests", FUNCTIONS, "m0", "m1",
		.there = REFUSED("acs-redirect", "m0"), .back = SWITCH,
		.change = { ACS("m0", RR) },
	}, {
		"d9_function_redirects_completions", FUNCTIONS, "m0", "m1",
		.there = BUS(P2PDMA_WRITE, "acs-redirect", NULL, "m1"),
		.back = SWITCH,
		.change = { ACS("m1", CR) },
	}, {
		"d9_function_redirects_to_listed", FUNCTIONS, "m0", "m1",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed", "m0"),
		.back = SWITCH,
		.change = { ACS("m0", RR), ID("rp1", LISTED) },
	}, {
		"third_function_redirects", FUNCTIONS, "m0", "m1",
		.there = SWITCH,
		.change = { ACS("m2", RR | CR) },
	}, {
		"d9_virtual_function_redirects_requests", FUNCTIONS, "pf/0", "pf/1",
		.there = REFUSED("acs-redirect", "pf/0"), .back = SWITCH,
		.change = { ACS("pf/0", RR) },
	}, {
		"d9_virtual_function_redirects_completions", FUNCTIONS, "pf", "pf/1",
		.there = BUS(P2PDMA_WRITE, "acs-redirect", NULL, "pf/1"),
		.back = SWITCH,
		.change = { ACS("pf/1", CR) },
	}, {
		"d9_virtual_function_redirects_to_itself_only", FUNCTIONS,
		"pf/0", "b", .there = SWITCH,
		.change = { ACS("pf/0", RR | CR) },
	},

	/* Functions with no way between them, by capability or quirk */
	{
		"functions_without_acs", FUNCTIONS, "m0", "m1", .there = SWITCH,
		.change = { ACS_CAP("m0", 0), ACS_CAP("m1", 0) },
	}, {
		"d23_no_way_from_function", FUNCTIONS, "m0", "m1",
		.there = REFUSED("acs-redirect", "m0"),
		.back = BUS(P2PDMA_WRITE, "acs-redirect", NULL, "m0"),
		.change = { ACS_CAP("m0", NO_WAY) },
	}, {
		"d23_no_way_from_function_but_to_listed", FUNCTIONS, "m0", "m1",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed", "m0"),
		.back = ROOT(P2PDMA_BOTH, "host-bridge-listed", NULL, "m0"),
		.change = { ACS_CAP("m0", NO_WAY), ID("rp1", LISTED) },
	}, {
		"d23_no_way_between_functions", FUNCTIONS, "m0", "m1",
		.there = REFUSED("acs-redirect", "m0", "m1"),
		.back = REFUSED("acs-redirect", "m1", "m0"),
		.change = { ACS_CAP("m0", PCI_ACS_DT),
			    ACS_CAP("m1", NO_WAY) },
	}, {
		"third_function_without_a_way", FUNCTIONS, "m0", "m1",
		.there = SWITCH,
		.change = { ACS_CAP("m2", NO_WAY) },
	}, {
		"d23_no_way_for_completions", FUNCTIONS, "m0", "m1",
		.there = BUS(P2PDMA_WRITE, "acs-redirect", NULL, "m1"),
		.back = SWITCH,
		.change = { ACS_CAP("m1", RR) },
	}, {
		"d23_no_way_although_egress_bit_clear", FUNCTIONS, "m0", "m1",
		.there = REFUSED("acs-redirect", "m0"),
		.back = BUS(P2PDMA_WRITE, "acs-redirect", NULL, "m0"),
		.change = { ACS_CAP("m0", EC | CR), ACS("m0", EC) },
	}, {
		"d23_no_way_and_egress_bit_set", FUNCTIONS, "m0", "m1",
		.there = REFUSED("acs-egress", "m0"),
		.back = BUS(P2PDMA_WRITE, "acs-redirect", NULL, "m0"),
		.change = { ACS_CAP("m0", EC | CR), ACS("m0", EC),
			    EGRESS("m0", 1) },
	}, {
		"d23_no_way_between_virtual_functions", FUNCTIONS, "pf/0", "pf/1",
		.there = REFUSED("acs-redirect", "pf/0", "pf/1"),
		.back = REFUSED("acs-redirect", "pf/1", "pf/0"),
		.change = { ACS_CAP("pf/0", NO_WAY) },
	}, {
		"d23_no_way_from_physical_function", FUNCTIONS, "pf", "pf/1",
		.there = REFUSED("acs-redirect", "pf"),
		.back = BUS(P2PDMA_WRITE, "acs-redirect", NULL, "pf"),
		.change = { ACS_CAP("pf", NO_WAY) },
	}, {
		"no_way_inside_but_out_of_it", FUNCTIONS, "pf/0", "b",
		.there = SWITCH,
		.change = { ACS_CAP("pf", NO_WAY), ACS_CAP("pf/0", NO_WAY),
			    ACS_CAP("b", NO_WAY) },
	}, {
		/* Only multi-function devices need ACS for peer-to-peer. */
		"no_way_inside_of_single_functions", TREE, "a", "b",
		.there = SWITCH,
		.change = { ACS_CAP("a", NO_WAY), ACS_CAP("b", NO_WAY) },
	}, {
		"switch_ports_without_redirection", TREE, "a", "b",
		.there = SWITCH,
		.change = { ACS_CAP("d1", UF), ACS_CAP("d2", NO_WAY) },
	}, {
		"d23_isolated_function", FUNCTIONS, "m0", "m1",
		.there = REFUSED("acs-redirect", "m0"),
		.back = BUS(P2PDMA_WRITE, "acs-redirect", NULL, "m0"),
		.change = { ACS_CAP("m0", 0), ID("m0", ISOLATED) },
	}, {
		"d23_isolated_function_with_acs", FUNCTIONS, "m0", "m1",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed", "m0"),
		.back = ROOT(P2PDMA_BOTH, "host-bridge-listed", NULL, "m0"),
		.change = { ID("m0", ISOLATED), ID("rp1", LISTED) },
	}, {
		"d23_isolated_virtual_functions", FUNCTIONS, "pf/0", "pf",
		.there = REFUSED("acs-redirect", "pf/0", "pf"),
		.back = REFUSED("acs-redirect", "pf", "pf/0"),
		.change = { ACS_CAP("pf", 0), ACS_CAP("pf/0", 0),
			    ID("pf", ISOLATED) },
	}, {
		"isolated_single_function", TREE, "a", "b", .there = SWITCH,
		.change = { ID("a", ISOLATED) },
	}, {
		"d23_isolated_port", TREE, "a", "b",
		.there = REFUSED("acs-redirect", "d1"),
		.back = BUS(P2PDMA_WRITE, "acs-redirect", NULL, "d1"),
		.change = { ACS_CAP("d1", 0), ID("d1", ISOLATED_PORT) },
	}, {
		"d23_isolated_port_to_listed", TREE, "a", "b",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed", "d1"),
		.back = ROOT(P2PDMA_BOTH, "host-bridge-listed", NULL, "d1"),
		.change = { ACS_CAP("d1", 0), ID("d1", ISOLATED_PORT),
			    ID("rp1", LISTED) },
	}, {
		/* This port isn't known to have Upstream Forwarding. */
		"d9_isolated_port_shared", TREE, "c", "d",
		.there = REFUSED("acs-redirect", "d31"), .back = SWITCH,
		.change = { ACS("d31", RR), ACS_CAP("d3", 0), OFFSET("host", 0),
			    ID("d3", ISOLATED_PORT), ID("rp1", LISTED) },
	},

	/* Egress Control: the vector says for which port or function */
	{
		"d9_egress_control_for_other_ports", TREE, "a", "b",
		.there = SWITCH,
		.change = { ACS("d1", EC), EGRESS("d1", 3) },
	}, {
		"d9_egress_control_for_other_ports_redirects", TREE, "a", "b",
		.there = SWITCH,
		.change = { ACS("d1", EC | RR), EGRESS("d1", 3) },
	}, {
		"d9_egress_control_blocks", TREE, "a", "b",
		.there = REFUSED("acs-egress", "d1"), .back = SWITCH,
		.change = { ACS("d1", EC), EGRESS("d1", 2) },
	}, {
		"d9_egress_control_blocks_although_listed", TREE, "a", "b",
		.there = REFUSED("acs-egress", "d1"), .back = SWITCH,
		.change = { ACS("d1", EC), EGRESS("d1", 2), OFFSET("host", 0),
			    ID("rp1", LISTED) },
	}, {
		/* A CPU address isn't an address of the other port. */
		"d9_egress_control_lets_cpu_addresses_pass", TREE, "a", "b",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed", "d1"),
		.back = SWITCH,
		.change = { ACS("d1", EC), EGRESS("d1", 2),
			    ID("rp1", LISTED) },
	}, {
		"d9_egress_control_lets_iovas_pass", TREE, "a", "b",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed", "d1"),
		.back = SWITCH,
		.change = { ACS("d1", EC), EGRESS("d1", 2), OFFSET("host", 0),
			    ID("rp1", LISTED) }, .iommu = true,
	}, {
		"d9_root_port_egress_control", TREE, "e", "f",
		.there = REFUSED("acs-egress", "rp2"),
		.back = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { ACS_CAP("rp2", EC | RR), ACS("rp2", EC),
			    EGRESS("rp2", 0), ID("rp1", LISTED),
			    ID("rp2", LISTED), ID("rp3", LISTED) },
	}, {
		"root_port_egress_control_for_others", TREE, "e", "f",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { ACS_CAP("rp2", EC | RR), ACS("rp2", EC),
			    EGRESS("rp2", 1), ID("rp1", LISTED),
			    ID("rp2", LISTED), ID("rp3", LISTED) },
	}, {
		"root_port_egress_control_redirects", TREE, "e", "f",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { ACS_CAP("rp2", EC | RR), ACS("rp2", EC | RR),
			    EGRESS("rp2", 0), ID("rp1", LISTED),
			    ID("rp2", LISTED), ID("rp3", LISTED) },
	}, {
		"d9_egress_control_of_root_complex_function", CHIPSET, "rc", "rc1",
		.there = REFUSED("acs-egress", "rc"),
		.back = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { ACS_CAP("rc", EC), ACS("rc", EC), EGRESS("rc", 1),
			    ID("id", LISTED) },
	}, {
		/* Not by device and function number, 02.1 */
		"egress_control_of_root_complex_function_for_others", CHIPSET,
		"rc", "rc1", .there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { ACS_CAP("rc", EC), ACS("rc", EC), EGRESS("rc", 17),
			    ID("id", LISTED) },
	}, {
		/* A vector can't name ports of another root complex. */
		"root_port_egress_control_and_other_host", TREE, "e", "g",
		.there = REFUSED("unknown"),
		.back = ROOT(P2PDMA_BOTH, "cpu-allowed"),
		.change = { ACS_CAP("rp2", EC | RR), ACS("rp2", EC) },
		.cpu_allows = true,
	}, {
		"d9_egress_control_redirects", TREE, "a", "b",
		.there = REFUSED("acs-redirect", "d1"), .back = SWITCH,
		.change = { ACS("d1", EC | RR), EGRESS("d1", 2) },
	}, {
		"d9_egress_control_redirects_to_listed", TREE, "a", "b",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed", "d1"),
		.back = SWITCH,
		.change = { ACS("d1", EC | RR), EGRESS("d1", 2),
			    ID("rp1", LISTED) },
	}, {
		"egress_vector_without_egress_control", TREE, "a", "b",
		.there = SWITCH,
		.change = { EGRESS("d1", 2) },
	}, {
		"d9_egress_vector_too_short", TREE, "a", "b",
		.there = REFUSED("unknown"), .back = SWITCH,
		.change = { VECTOR("d1", 2), ACS("d1", EC), EGRESS("d1", 2) },
	}, {
		/* The client's payload keeps writes from going straight anyway. */
		"d9_egress_vector_too_short_to_matter", TREE, "a", "b",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.back = BUS(P2PDMA_WRITE, "mps-mismatch"),
		.change = { VECTOR("d1", 2), ACS("d1", EC), MPS("a", 512),
			    ID("rp1", LISTED) },
	}, {
		"d9_egress_control_of_function", FUNCTIONS, "m0", "m1",
		.there = REFUSED("acs-egress", "m0"), .back = SWITCH,
		.change = { ACS("m0", EC), EGRESS("m0", 1) },
	}, {
		"d9_egress_control_of_function_for_other", FUNCTIONS, "m0", "m1",
		.there = SWITCH,
		.change = { ACS("m0", EC), EGRESS("m0", 2) },
	},

	/* Redirected packets must pass the switch ports that both share. */
	{
		"d9_upstream_forwarding_off", TREE, "c", "d",
		.there = REFUSED("acs-redirect", "d31"), .back = SWITCH,
		.change = { ACS("d31", RR), ID("rp1", LISTED),
			    OFFSET("host", 0) },
	}, {
		"d9_upstream_forwarding_on", TREE, "c", "d",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed", "d31"),
		.back = SWITCH,
		.change = { ACS("d31", RR), ACS("d3", UF), ID("rp1", LISTED),
			    OFFSET("host", 0) },
	}, {
		/* The port above sees nothing of its own in these requests. */
		"d9_upstream_forwarding_off_for_cpu_addresses", TREE, "c", "d",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed", "d31"),
		.back = SWITCH,
		.change = { ACS("d31", RR), ID("rp1", LISTED) },
	}, {
		"upstream_forwarding_off_for_iovas", TREE, "c", "d",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed", "d31"),
		.back = SWITCH,
		.change = { ACS("d31", RR), ID("rp1", LISTED),
			    OFFSET("host", 0) }, .iommu = true,
	}, {
		/* A root port may refuse what is for its own link. */
		"d9_upstream_forwarding_of_root_port_off", TREE, "a", "b",
		.there = REFUSED("acs-redirect", "d1"), .back = SWITCH,
		.change = { ACS("d1", RR), ID("rp1", LISTED), ACS("rp1", 0) },
	}, {
		"upstream_forwarding_of_root_port_off_for_iovas", TREE, "a", "b",
		.there = REFUSED("acs-redirect", "d1"), .back = SWITCH,
		.change = { ACS("d1", RR), ID("rp1", LISTED), ACS("rp1", 0) },
		.iommu = true,
	}, {
		"d9_root_port_without_upstream_forwarding", TREE, "a", "b",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed", "d1"),
		.back = SWITCH,
		.change = { ACS("d1", RR), ID("rp1", LISTED),
			    ACS_CAP("rp1", RR | CR), ACS("rp1", 0) },
	}, {
		"upstream_forwarding_of_other_root_ports", TREE, "e", "f",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { ACS("rp2", 0), ACS("rp3", 0), ID("rp1", LISTED),
			    ID("rp2", LISTED), ID("rp3", LISTED) },
	}, {
		"unreadable_upstream_forwarding_of_root_port", TREE, "a", "b",
		.there = REFUSED("unreadable", "d1"), .back = SWITCH,
		.change = { ACS("d1", RR), ID("rp1", LISTED), FAIL_ACS("rp1") },
	}, {
		/* The CPU address is another port's bus address, too. */
		"d25_cpu_address_taken", TREE, "a", "b",
		.there = REFUSED("address-taken", "d1"), .back = SWITCH,
		.change = { ACS("d1", RR), ID("rp1", LISTED),
			    OFFSET("host", SZ_64M) },
	}, {
		"cpu_address_taken_but_not_used", TREE, "a", "b",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed", "d1"),
		.back = SWITCH,
		.change = { ACS("d1", RR), ID("rp1", LISTED),
			    OFFSET("host", SZ_64M) }, .iommu = true,
	}, {
		"d9_upstream_forwarding_of_completions", TREE, "c", "d",
		.there = BUS(P2PDMA_WRITE, "acs-redirect", NULL, "d32"),
		.back = SWITCH,
		.change = { ACS("d32", CR), ID("rp1", LISTED) },
	},

	/* Payloads: a write's goes with the request, a read's comes back. */
	{
		"d13_client_sends_too_much", TREE, "a", "b",
		.there = BUS(P2PDMA_READ, "mps-mismatch"),
		.back = BUS(P2PDMA_WRITE, "mps-mismatch"),
		.change = { MPS("a", 256) },
	}, {
		"d13_port_between_accepts_less", TREE, "c", "a",
		.there = REFUSED("mps-mismatch"),
		.change = { MPS("c", 256), MPS("d31", 256), MPS("up3", 256),
			    MPS("d1", 256), MPS("a", 256) },
	}, {
		"d13_upstream_port_between_accepts_less", TREE, "c", "a",
		.there = REFUSED("mps-mismatch"),
		.change = { MPS("c", 256), MPS("d31", 256), MPS("d3", 256),
			    MPS("d1", 256), MPS("a", 256) },
	}, {
		"d13_provider_accepts_less", TREE, "a", "b",
		.there = BUS(P2PDMA_READ, "mps-mismatch"),
		.back = BUS(P2PDMA_WRITE, "mps-mismatch"),
		.change = { MPS("a", 512), MPS("d1", 512), MPS("d2", 512),
			    MPS("b", 256) },
	}, {
		"payloads_all_large", TREE, "a", "b", .there = SWITCH,
		.change = { MPS("a", 512), MPS("d1", 512), MPS("d2", 512),
			    MPS("b", 512) },
	}, {
		"payloads_unequal_but_harmless", TREE, "a", "b",
		.there = SWITCH,
		.change = { MPS("d1", 256), MPS("d2", 512) },
	}, {
		"payloads_above_the_way_do_not_count", TREE, "a", "b",
		.there = SWITCH,
		.change = { MPS("a", 256), MPS("d1", 256), MPS("d2", 256),
			    MPS("b", 256), MPS("up", 128), MPS("rp1", 128) },
	}, {
		"payloads_unequal_through_root_complex", TREE, "e", "f",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { MPS("e", 256), ID("rp1", LISTED),
			    ID("rp2", LISTED), ID("rp3", LISTED) },
	}, {
		"d13_conventional_client_behind_bridge", CONVENTIONAL, "x", "b",
		.there = BUS(P2PDMA_READ, "mps-mismatch"),
		.back = BUS(P2PDMA_WRITE, "mps-mismatch"),
		.change = { MPS("pb", 256) },
	}, {
		"conventional_devices_have_no_payload_size", CONVENTIONAL,
		"x", "z", .there = SWITCH,
		.change = { MPS("pb", 256), MPS("d1", 512) },
	}, {
		"d13_virtual_function_has_its_parents", FUNCTIONS, "pf/0", "b",
		.there = BUS(P2PDMA_READ, "mps-mismatch"),
		.back = BUS(P2PDMA_WRITE, "mps-mismatch"),
		.change = { MPS("pf", 256) },
	}, {
		"virtual_functions_share_their_parents", FUNCTIONS, "pf/0", "pf/1",
		.there = SWITCH,
		.change = { MPS("pf", 256) },
	}, {
		/* Requests are redirected and so all writes; data of reads isn't. */
		"d13_data_of_reads_goes_straight", TREE, "a", "b",
		.there = ROOT(P2PDMA_WRITE, "mps-mismatch", "d1"),
		.back = BUS(P2PDMA_READ, "mps-mismatch"),
		.change = { MPS("b", 256), ACS("d1", RR), ID("rp1", LISTED),
			    OFFSET("host", 0) },
	}, {
		"d13_data_of_writes_goes_straight", TREE, "a", "b",
		.there = ROOT(P2PDMA_READ, "mps-mismatch", NULL, "d2"),
		.back = BUS(P2PDMA_WRITE, "mps-mismatch"),
		.change = { MPS("a", 256), ACS("d2", CR), ID("rp1", LISTED),
			    OFFSET("host", 0) },
	}, {
		/* Data of writes is redirected, of reads only without RO. */
		"d13_relaxed_completions_go_straight", TREE, "a", "b",
		.there = ROOT(P2PDMA_WRITE, "mps-mismatch", "d1", "d2"),
		.back = REFUSED("mps-mismatch"),
		.change = { MPS("a", 256), MPS("b", 256), ACS("d1", RR),
			    ACS("d2", CR), ID("rp1", LISTED),
			    OFFSET("host", 0) },
	}, {
		/* All that comes from the root complex has its payload. */
		"d13_payloads_of_root_port", TREE, "a", "b",
		.there = ROOT(P2PDMA_WRITE, "mps-mismatch", "d1"),
		.back = ROOT(P2PDMA_WRITE, "mps-mismatch", "d2"),
		.change = { MPS("a", 256), MPS("b", 256), ID("rp1", LISTED),
			    ACS("d1", RR), ACS("d2", RR) },
	}, {
		/* As pci=pcie_bus_perf does it */
		"d13_root_port_sends_too_much", TREE, "e", "f",
		.there = ROOT(P2PDMA_READ, "mps-mismatch"),
		.back = ROOT(P2PDMA_WRITE, "mps-mismatch"),
		.change = { MPS("rp2", 256), MPS("e", 256), MPS("rp3", 256),
			    ID("rp1", LISTED), ID("rp2", LISTED),
			    ID("rp3", LISTED) },
	}, {
		"d13_port_below_root_port_accepts_less", TREE, "e", "a",
		.there = ROOT(P2PDMA_READ, "mps-mismatch"),
		.back = ROOT(P2PDMA_WRITE, "mps-mismatch"),
		.change = { MPS("rp2", 512), MPS("e", 256), MPS("rp1", 512),
			    MPS("up", 128), MPS("d1", 256), MPS("a", 256),
			    ID("rp1", LISTED), ID("rp2", LISTED) },
	}, {
		"payload_of_client_is_less_than_that_of_root_port", TREE, "e", "f",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { MPS("rp2", 512), MPS("rp3", 512),
			    ID("rp1", LISTED), ID("rp2", LISTED),
			    ID("rp3", LISTED) },
	},

	/* Completions with Relaxed Ordering aren't redirected. */
	{
		"relaxed_completions", TREE, "a", "b", .there = SWITCH,
		.change = { ACS("d2", CR) },
		.tlp = PCI_P2PDMA_TLP_RELAXED_CPL,
	}, {
		"relaxed_completions_but_requests_redirected", TREE, "a", "b",
		.there = REFUSED("acs-redirect", "d1"), .back = SWITCH,
		.change = { ACS("d1", RR), ACS("d2", CR) },
		.tlp = PCI_P2PDMA_TLP_RELAXED_CPL,
	}, {
		"relaxed_completions_have_no_way_either", FUNCTIONS, "m0", "m1",
		.there = BUS(P2PDMA_WRITE, "acs-redirect", NULL, "m1"),
		.back = REFUSED("acs-redirect", "m1"),
		.change = { ACS_CAP("m1", NO_WAY) },
		.tlp = PCI_P2PDMA_TLP_RELAXED_CPL,
	},

	/* A client with ATS translates what it gets. */
	{
		"d26_ats", TREE, "a", "b",
		.there = REFUSED("ats"), .back = SWITCH, .ats = true,
		.iommu = true,
	}, {
		"ats_of_a_device_that_chooses", TREE, "a", "b", .there = SWITCH,
		.ats = true, .choice = true, .iommu = true,
	}, {
		"d26_ats_to_listed", TREE, "a", "b",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.back = SWITCH, .change = { ID("rp1", LISTED) },
		.ats = true, .iommu = true,
	}, {
		"ats_to_itself", TREE, "a", "a",
		.there = BUS(P2PDMA_BOTH, "same-device"),
		.ats = true, .iommu = true,
	}, {
		"ats_across_root_ports", TREE, "e", "f",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { ID("rp1", LISTED), ID("rp2", LISTED),
			    ID("rp3", LISTED) }, .ats = true, .iommu = true,
	}, {
		/* What the IOMMU answers is the bus address: RR and UF count. */
		"d26_ats_redirected_without_upstream_forwarding", TREE, "c", "d",
		.there = REFUSED("ats", "d31"), .back = SWITCH,
		.change = { ACS("d31", RR), ID("rp1", LISTED),
			    OFFSET("host", 0) }, .ats = true, .iommu = true,
	}, {
		"d9_ats_redirected_with_upstream_forwarding", TREE, "c", "d",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed", "d31"),
		.back = SWITCH,
		.change = { ACS("d31", RR), ACS("d3", UF), ID("rp1", LISTED),
			    OFFSET("host", 0) }, .ats = true, .iommu = true,
	}, {
		"d26_ats_directly_without_upstream_forwarding", TREE, "c", "d",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.back = SWITCH,
		.change = { ACS_CAP("d31", RR | DT), ACS("d31", RR | DT),
			    ID("rp1", LISTED), OFFSET("host", 0) },
		.ats = true, .iommu = true,
	}, {
		/* A translated request turns around, and is too large there. */
		"d26_ats_payload", TREE, "a", "b",
		.there = ROOT(P2PDMA_READ, "ats"),
		.back = BUS(P2PDMA_WRITE, "mps-mismatch"),
		.change = { MPS("a", 256), ID("rp1", LISTED),
			    OFFSET("host", 0) }, .ats = true, .iommu = true,
	}, {
		"d26_translation_blocking", TREE, "a", "b",
		.there = REFUSED("acs-translation-blocking", "d1"),
		.back = SWITCH,
		.change = { ACS_CAP("d1", TB), ACS("d1", TB),
			    ID("rp1", LISTED) }, .ats = true, .iommu = true,
	}, {
		"d26_translation_blocking_of_root_port", TREE, "a", "b",
		.there = REFUSED("acs-translation-blocking", "rp1"),
		.back = SWITCH,
		.change = { ACS_CAP("rp1", TB | UF), ACS("rp1", TB | UF),
			    ID("rp1", LISTED) }, .ats = true, .iommu = true,
	}, {
		"translation_blocking_without_ats", TREE, "a", "b",
		.there = SWITCH,
		.change = { ACS_CAP("d1", TB), ACS("d1", TB) },
	}, {
		"translation_blocking_of_a_device_that_chooses", TREE, "a", "b",
		.there = SWITCH,
		.change = { ACS_CAP("d1", TB), ACS("d1", TB) },
		.ats = true, .choice = true, .iommu = true,
	}, {
		"d26_unreadable_translation_blocking", TREE, "a", "b",
		.there = REFUSED("unreadable"), .back = SWITCH,
		.change = { FAIL_ACS("rp1"), ID("rp1", LISTED) },
		.ats = true, .iommu = true,
	},

	/* Translated Requests to bus addresses */
	{
		"translated", TREE, "a", "b", .there = SWITCH,
		.back = REFUSED("ats-off"), .ats = true,
		.iommu = true, .tlp = PCI_P2PDMA_TLP_TRANSLATED,
	}, {
		"translated_without_ats", TREE, "a", "b",
		.there = REFUSED("ats-off"),
		.iommu = true, .tlp = PCI_P2PDMA_TLP_TRANSLATED,
	}, {
		"translated_redirected", TREE, "a", "b",
		.there = REFUSED("acs-redirect", "d1"),
		.back = REFUSED("ats-off"), .ats = true,
		.change = { ACS("d1", RR) },
		.iommu = true, .tlp = PCI_P2PDMA_TLP_TRANSLATED,
	}, {
		"translated_directly", TREE, "a", "b", .there = SWITCH,
		.back = REFUSED("ats-off"), .ats = true,
		.change = { ACS_CAP("d1", RR | EC | DT), ACS("d1", RR | EC | DT),
			    EGRESS("d1", 2) },
		.iommu = true, .tlp = PCI_P2PDMA_TLP_TRANSLATED,
	}, {
		"d9_untranslated_in_spite_of_direct_translated", TREE, "a", "b",
		.there = REFUSED("acs-redirect", "d1"), .back = SWITCH,
		.change = { ACS_CAP("d1", RR | DT), ACS("d1", RR | DT) },
	}, {
		"translated_blocked_by_egress_control", TREE, "a", "b",
		.there = REFUSED("acs-egress", "d1"),
		.back = REFUSED("ats-off"), .ats = true,
		.change = { ACS("d1", EC), EGRESS("d1", 2) },
		.iommu = true, .tlp = PCI_P2PDMA_TLP_TRANSLATED,
	}, {
		"translated_and_blocked", TREE, "a", "b",
		.there = REFUSED("acs-translation-blocking", "d1"),
		.back = REFUSED("ats-off"), .ats = true,
		.change = { ACS_CAP("d1", RR | DT | TB), ACS("d1", DT | TB) },
		.iommu = true, .tlp = PCI_P2PDMA_TLP_TRANSLATED,
	}, {
		"translated_and_blocked_further_down", TREE, "c", "a",
		.there = REFUSED("acs-translation-blocking", "d31"),
		.back = REFUSED("ats-off"), .ats = true,
		.change = { ACS_CAP("d31", TB), ACS("d31", TB) },
		.iommu = true, .tlp = PCI_P2PDMA_TLP_TRANSLATED,
	}, {
		/* It turns around below that port. */
		"translated_and_blocked_further_up", TREE, "a", "b",
		.there = SWITCH, .back = REFUSED("ats-off"), .ats = true,
		.change = { ACS_CAP("rp1", TB), ACS("rp1", TB) },
		.iommu = true, .tlp = PCI_P2PDMA_TLP_TRANSLATED,
	}, {
		"translated_between_functions", FUNCTIONS, "m0", "m1",
		.there = SWITCH, .back = REFUSED("ats-off"), .ats = true,
		.change = { ACS_CAP("m0", RR | CR | DT), ACS("m0", RR | DT) },
		.iommu = true, .tlp = PCI_P2PDMA_TLP_TRANSLATED,
	}, {
		"translated_between_functions_without_a_way", FUNCTIONS,
		"m0", "m1",
		.there = REFUSED("acs-redirect", "m0"),
		.back = REFUSED("ats-off"), .ats = true,
		.change = { ACS_CAP("m0", DT), ACS("m0", DT) },
		.iommu = true, .tlp = PCI_P2PDMA_TLP_TRANSLATED,
	}, {
		"translated_and_completions_redirected", TREE, "a", "b",
		.there = BUS(P2PDMA_WRITE, "acs-redirect", NULL, "d2"),
		.back = REFUSED("ats-off"), .ats = true,
		.change = { ACS_CAP("d1", RR | DT), ACS("d1", RR | DT),
			    ACS("d2", CR) },
		.iommu = true, .tlp = PCI_P2PDMA_TLP_TRANSLATED,
	}, {
		"translated_and_relaxed", TREE, "a", "b", .there = SWITCH,
		.back = REFUSED("ats-off"), .ats = true,
		.change = { ACS_CAP("d1", RR | DT), ACS("d1", RR | DT),
			    ACS("d2", CR) }, .iommu = true,
		.tlp = PCI_P2PDMA_TLP_TRANSLATED | PCI_P2PDMA_TLP_RELAXED_CPL,
	},

	/* A failed config read proves nothing. */
	{
		"unreadable_turn", TREE, "a", "b",
		.there = REFUSED("unreadable"),
		.change = { FAIL("d1") },
	}, {
		"unreadable_acs_of_turn", TREE, "a", "b",
		.there = REFUSED("unreadable"),
		.change = { FAIL_ACS("d1") },
	}, {
		"unreadable_acs_of_function", FUNCTIONS, "m0", "m1",
		.there = REFUSED("unreadable"),
		.change = { FAIL_ACS("m0") },
	}, {
		"unreadable_acs_of_shared_port_means_nothing", TREE, "c", "d",
		.there = SWITCH,
		.change = { FAIL_ACS("d3") },
	}, {
		/* Of these two only Device Control is read. */
		"unreadable_payload_of_client", TREE, "a", "b",
		.there = REFUSED("unreadable"),
		.change = { FAIL("a") },
	}, {
		"d13_unreadable_payload_between", TREE, "c", "b",
		.there = REFUSED("unreadable"),
		.change = { FAIL("up3") },
	}, {
		/* Of this port only ACS control is read. */
		"d9_unreadable_upstream_forwarding", TREE, "c", "d",
		.there = REFUSED("unreadable", "d31"), .back = SWITCH,
		.change = { ACS("d31", RR), FAIL("d3"), ID("rp1", LISTED),
			    OFFSET("host", 0) },
	}, {
		"unreadable_function", FUNCTIONS, "m0", "m1",
		.there = REFUSED("unreadable"),
		.change = { FAIL("m1") },
	}, {
		"d13_unreadable_parent_of_virtual_function", FUNCTIONS, "pf/0", "b",
		.there = REFUSED("unreadable"),
		.change = { FAIL("pf") },
	}, {
		/* The PCI core read its ID during enumeration. */
		"unreadable_host_bridge", CHIPSET, "a", "b",
		.there = ROOT(P2PDMA_BOTH, "host-bridge-listed"),
		.change = { FAIL("id"), ID("id", LISTED) },
	}, {
		"d13_unreadable_root_ports", TREE, "e", "f",
		.there = REFUSED("unreadable"),
		.change = { FAIL("rp2"), FAIL("rp3"), ID("rp1", LISTED),
			    ID("rp2", LISTED), ID("rp3", LISTED) },
	}, {
		"unreadable_above_the_way", TREE, "a", "b", .there = SWITCH,
		.change = { FAIL("up"), FAIL("rp1") },
	},
};

KUNIT_ARRAY_PARAM_DESC(route, route_cases, name);

/* Test one order of a case with all functions of the interface */
static void judge_route(struct kunit *test, struct pci_fabric *fabric,
			const char *client_name, const char *provider_name,
			unsigned int tlp, const struct p2pdma_test_expect *expect)
{
	struct pci_dev *client = p2pdma_test_dev(test, fabric, client_name);
	struct pci_dev *provider = p2pdma_test_dev(test, fabric, provider_name);
	const bool both = expect->directions == P2PDMA_BOTH;
	enum pci_p2pdma_map_type mapped;
	int distance;

#if P2PDMA_TEST_INTERNAL
	struct p2pdma_route route;

	p2pdma_test_route(test, fabric, client_name, provider_name, tlp, expect,
			  &route);
	if (tlp)
		return;
#endif

	/* These functions have no direction, so they need both. */
	distance = pci_p2pdma_distance(provider, &client->dev, false);
	KUNIT_EXPECT_EQ_MSG(test, distance >= 0, both,
			    "from %s to %s: distance %d", client_name,
			    provider_name, distance);
	mapped = p2pdma_test_map(test, provider, &client->dev);
	KUNIT_EXPECT_EQ_MSG(test, mapped,
			    both ? expect->type : PCI_P2PDMA_MAP_NOT_SUPPORTED,
			    "from %s to %s", client_name, provider_name);
}

#if P2PDMA_TEST_INTERNAL

static bool translated(struct device *dev)
{
	return true;
}

static void route_client(struct kunit *test, const struct route_case *param,
			 struct pci_dev *client)
{
	if (param->iommu)
		kunit_activate_static_stub(test, p2pdma_translated, translated);
	client->ats_enabled = param->ats;
	pci_p2pdma_set_tlp_choice(client, param->choice);
}

#else

static void route_client(struct kunit *test, const struct route_case *param,
			 struct pci_dev *client)
{
	client->ats_enabled = param->ats;
	if (param->choice || param->tlp || (param->iommu && !param->ats))
		kunit_skip(test, "this core can't be told about the client's requests");
}

#endif

static void route(struct kunit *test)
{
	const struct route_case *param = test->param_value;
	struct pci_fabric *fabric;

	p2pdma_test_root(test, param->cpu_allows, param->admitted);
	if (param->encrypted)
		p2pdma_test_encrypted(test);
	fabric = p2pdma_test_create(test, param->fabric, param->change);
	p2pdma_test_provider(test, fabric, param->provider);
	if (strcmp(param->client, param->provider))
		p2pdma_test_provider(test, fabric, param->client);
	route_client(test, param, p2pdma_test_dev(test, fabric, param->client));

	judge_route(test, fabric, param->client, param->provider, param->tlp,
		    &param->there);
	judge_route(test, fabric, param->provider, param->client, param->tlp,
		    param->back.reason ? &param->back : &param->there);
}

/* A child of a PCI device has the device's routes. */
static void route_of_child(struct kunit *test)
{
#if P2PDMA_TEST_INTERNAL
	static const struct p2pdma_test_change change[] = { ACS("d2", CR), { } };
	static const char * const providers[] = { "a", "b", "c", "e" };
	struct p2pdma_route of_child, of_parent;
	struct pci_dev *client, *provider;
	struct pci_fabric *fabric;
	struct device *child;
	int i;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, change);
	client = p2pdma_test_dev(test, fabric, "a");
	child = p2pdma_test_child(test, &client->dev);
	for (i = 0; i < ARRAY_SIZE(providers); i++) {
		provider = p2pdma_test_dev(test, fabric, providers[i]);
		KUNIT_EXPECT_EQ(test,
				pci_p2pdma_route(provider, child, &of_child),
				pci_p2pdma_route(provider, &client->dev,
						 &of_parent));
		KUNIT_EXPECT_EQ(test, of_child.map_type, of_parent.map_type);
		KUNIT_EXPECT_EQ(test, of_child.reason, of_parent.reason);
		KUNIT_EXPECT_EQ(test, of_child.distance, of_parent.distance);
		KUNIT_EXPECT_EQ(test, of_child.directions, of_parent.directions);
		KUNIT_EXPECT_PTR_EQ(test, of_child.blocking[1],
				    of_parent.blocking[1]);
	}
#else
	kunit_skip(test, "this core has no pci_p2pdma_route()");
#endif
}

/* ---- Listed host bridges ---- */

#if P2PDMA_TEST_INTERNAL

struct known_case {
	const char *name;
	u32 id;
	bool same_only;		/* no route between two host bridges */
};

static const struct known_case known_cases[] = {
	{ "intel_3c00", 0x80863c00, true },
	{ "intel_3c01", 0x80863c01, true },
	{ "intel_0c08", 0x80860c08, true },
	{ "intel_2f00", 0x80862f00, true },
	{ "intel_2f01", 0x80862f01, true },
	{ "intel_6f00", 0x80866f00, true },
	{ "intel_2020", 0x80862020 },
	{ "intel_2030", 0x80862030 },
	{ "intel_2031", 0x80862031 },
	{ "intel_2032", 0x80862032 },
	{ "intel_2033", 0x80862033 },
	{ "intel_09a2", 0x808609a2 },
	{ "intel_0b25", 0x80860b25 },
	{ "intel_0cfe", 0x80860cfe },
	{ "intel_11fb", 0x808611fb },
	{ "intel_1212", 0x80861212 },
	{ "intel_1216", 0x80861216 },
	{ "intel_4940", 0x80864940 },
	{ "intel_4942", 0x80864942 },
	{ "intel_4944", 0x80864944 },
	{ "intel_4946", 0x80864946 },
	{ "intel_4948", 0x80864948 },
	{ "google_any", 0x1ae01234 },
	{ "nvidia_2f95", 0x10de2f95 },
	{ "nvidia_2f96", 0x10de2f96 },
	{ "nvidia_2f97", 0x10de2f97 },
	{ "nvidia_2f98", 0x10de2f98 },
	{ "zhaoxin_1003", 0x1d171003, true },
	{ "zhaoxin_1005", 0x1d171005, true },
	{ "zhaoxin_1006", 0x1d171006, true },
	{ "zhaoxin_1007", 0x1d171007, true },
	{ "zhaoxin_1008", 0x1d171008 },
	{ "alibaba_8000", 0x1ded8000 },
};

KUNIT_ARRAY_PARAM_DESC(known, known_cases, name);

static void judge_known(struct kunit *test,
			const struct p2pdma_test_fabric *in,
			const struct p2pdma_test_change *change,
			const char *client, const char *same, const char *other)
{
	static const struct p2pdma_test_expect listed =
		ROOT(P2PDMA_BOTH, "host-bridge-listed");
	static const struct p2pdma_test_expect not_listed = NOT_LISTED;
	const struct known_case *param = test->param_value;
	struct pci_fabric *fabric;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, in, change);
	p2pdma_test_provider(test, fabric, same);
	p2pdma_test_provider(test, fabric, other);
	judge_route(test, fabric, client, same, 0, &listed);
	judge_route(test, fabric, client, other, 0,
		    param->same_only ? &not_listed : &listed);
}

static void known_host_bridge(struct kunit *test)
{
	const struct known_case *param = test->param_value;
	const struct p2pdma_test_change change[] = {
		ID("id", param->id), ID("id2", param->id), { }
	};

	judge_known(test, CHIPSET, change, "a", "b", "g");
}

/* Without a device at 00.0, root ports identify the host bridge. */
static void known_root_ports(struct kunit *test)
{
	const struct known_case *param = test->param_value;
	const struct p2pdma_test_change change[] = {
		ID("rp2", param->id), ID("rp3", param->id),
		ID("rp4", param->id), { }
	};

	judge_known(test, TREE, change, "e", "f", "g");
}

/* Of these vendors, no other IDs are listed than those in the cases above. */
static void unknown_host_bridges(struct kunit *test)
{
	static const u16 vendors[] = { 0x8086, 0x1022, 0x10de, 0x1ae0, 0x1d17,
				       0x1ded };
	unsigned int i, device, directions, wrong = 0;
	const struct known_case *known;
	struct pci_fabric *fabric;
	struct pci_dev *port;
	unsigned long *seen;
	bool admitted;

	p2pdma_test_root(test, false, NULL);
	seen = kunit_kcalloc(test, BITS_TO_LONGS(0x10000), sizeof(*seen),
			     GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, seen);
	fabric = p2pdma_test_create(test, TREE, NULL);
	/* Only the fields of struct pci_dev change, not config space. */
	port = p2pdma_test_dev(test, fabric, "rp1");

	for (i = 0; i < ARRAY_SIZE(vendors); i++) {
		bitmap_zero(seen, 0x10000);
		for (known = known_cases;
		     known < known_cases + ARRAY_SIZE(known_cases); known++) {
			if (known->id >> 16 == vendors[i])
				__set_bit((u16)known->id, seen);
		}
		/* All of Google's IDs are listed. */
		if (vendors[i] == 0x1ae0)
			bitmap_fill(seen, 0x10000);

		port->vendor = vendors[i];
		for (device = 0; device < 0x10000; device++) {
			port->device = device;
			directions = p2pdma_host_directions(port, true,
							    &admitted);
			if (directions == (test_bit(device, seen) ?
					   P2PDMA_BOTH : 0) && !admitted)
				continue;
			if (!wrong++)
				kunit_err(test, "the first one: %04x:%04x: %u\n",
					  vendors[i], device, directions);
		}
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
}

#endif /* P2PDMA_TEST_INTERNAL */

/* ---- Virtual functions without their physical function ---- */

static void (*release_device)(struct device *dev);
static bool released;

static void note_release(struct device *dev)
{
	released = true;
	release_device(dev);
}

/* A reference on a virtual function also keeps its physical function. */
static void d24_physical_function_unplugged(struct kunit *test)
{
	struct pci_dev *pf, *vf, *b;
	struct pci_fabric *fabric;
#if P2PDMA_TEST_INTERNAL
	struct p2pdma_route route;
#endif

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_functions, NULL);
	pf = p2pdma_test_dev(test, fabric, "pf");
	vf = pci_dev_get(p2pdma_test_dev(test, fabric, "pf/0"));
	b = p2pdma_test_provider(test, fabric, "b");

	released = false;
	release_device = pf->dev.release;
	pf->dev.release = note_release;
	pci_fabric_unplug(fabric, "pf");
	KUNIT_EXPECT_FALSE_MSG(test, released,
			       "the physical function is freed, and would be read");
	if (!released) {
		KUNIT_EXPECT_PTR_EQ(test, pci_physfn(vf), pf);
		KUNIT_EXPECT_PTR_EQ(test, pci_upstream_bridge(vf),
				    p2pdma_test_dev(test, fabric, "d1"));
#if P2PDMA_TEST_INTERNAL
		KUNIT_EXPECT_EQ(test, pci_p2pdma_route(b, &vf->dev, &route),
				-EREMOTEIO);
		KUNIT_EXPECT_STREQ(test, p2pdma_reason_name(route.reason),
				   "unreadable");
		KUNIT_EXPECT_EQ(test, pci_p2pdma_route(vf, &b->dev, &route),
				-EREMOTEIO);
#endif
		KUNIT_EXPECT_EQ(test, pci_p2pdma_distance(b, &vf->dev, true),
				-1);
	}

	/* The PF is released with the VF's last reference. */
	pci_dev_put(vf);
	KUNIT_EXPECT_TRUE(test, released);
}

/* ---- Switches below switches ---- */

#define DEEPEST		32
/* A level is a switch with an upstream port and two downstream ports */
#define LEVEL_NODES	3

struct deep_case {
	const char *name;
	unsigned int levels;
};

static const struct deep_case deep_cases[] = {
	{ "2_switches", 2 },
	{ "32_switches", DEEPEST },
};

KUNIT_ARRAY_PARAM_DESC(deep, deep_cases, name);

/*
 * A cascade: below down0 the next switch and in the end "far", below side0
 * "near", all ports with @ctrl.
 */
static struct pci_fabric *create_cascade(struct kunit *test, unsigned int levels,
					 u16 ctrl)
{
	const size_t count = 4 + levels * LEVEL_NODES;
	struct pci_fabric_node *nodes, *node;
	struct p2pdma_test_fabric cascade;
	const char *above = "root_port";
	unsigned int i;

	nodes = kunit_kcalloc(test, count, sizeof(*nodes), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, nodes);

	node = nodes;
	*node++ = (struct pci_fabric_node) {
		.name = "host", .kind = PCI_FABRIC_HOST, .domain = 1,
		.node = 1
	};
	*node++ = (struct pci_fabric_node) {
		.name = above, .below = "host", .kind = PCI_FABRIC_ROOT_PORT,
		.device = 1
	};
	for (i = 0; i < levels; i++) {
		node[0] = (struct pci_fabric_node) {
			.name = p2pdma_test_name(test, "up%u", i),
			.below = above, .kind = PCI_FABRIC_UPSTREAM,
		};
		node[1] = (struct pci_fabric_node) {
			.name = p2pdma_test_name(test, "down%u", i),
			.below = node[0].name, .kind = PCI_FABRIC_DOWNSTREAM,
			.port = 1, .acs_ctrl = ctrl,
			.acs_cap = PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF,
		};
		node[2] = node[1];
		node[2].name = p2pdma_test_name(test, "side%u", i);
		node[2].device = 1;
		node[2].port = 2;
		above = node[1].name;
		node += LEVEL_NODES;
	}
	*node++ = (struct pci_fabric_node) {
		.name = "far", .below = above, .kind = PCI_FABRIC_ENDPOINT,
		.bar[0].size = SZ_2M,
	};
	*node++ = (struct pci_fabric_node) {
		.name = "near", .below = "side0", .kind = PCI_FABRIC_ENDPOINT,
		.bar[0].size = SZ_2M,
	};

	cascade = (struct p2pdma_test_fabric) { nodes, count };
	return p2pdma_test_create(test, &cascade, NULL);
}

static void cascade(struct kunit *test)
{
	static const struct p2pdma_test_expect expect = SWITCH;
	const struct deep_case *param = test->param_value;
	struct pci_dev *far, *near;
	struct pci_fabric *fabric;
#if P2PDMA_TEST_INTERNAL
	struct p2pdma_route route;
#endif

	p2pdma_test_root(test, false, NULL);
	fabric = create_cascade(test, param->levels, 0);
	far = p2pdma_test_provider(test, fabric, "far");
	near = p2pdma_test_provider(test, fabric, "near");
	judge_route(test, fabric, "far", "near", 0, &expect);
	judge_route(test, fabric, "near", "far", 0, &expect);

	/* Each link and each bridge up to the uppermost switch, and down again */
	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance(far, &near->dev, false),
			2 * param->levels + 2);
#if P2PDMA_TEST_INTERNAL
	pci_p2pdma_route(near, &far->dev, &route);
	KUNIT_EXPECT_EQ(test, route.distance, 2 * param->levels + 2);
#endif
}

/* ---- Log messages ---- */

#if P2PDMA_TEST_INTERNAL

/* A refusal is logged once for each pair, until its verdict changes. */
static void d11_said_once(struct kunit *test)
{
	static const struct p2pdma_test_change change[] = { ACS("d1", RR), { } };
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct pci_fabric *fabric;
	struct pci_dev *a, *b, *c;
	int i;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, change);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_provider(test, fabric, "b");
	c = p2pdma_test_provider(test, fabric, "c");
	p2pdma_test_log_empty(log);

	/* Without verbose nothing is logged. */
	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance(b, &a->dev, false), -1);
	KUNIT_EXPECT_EQ(test, log->count, 0);

	for (i = 0; i < 3; i++)
		p2pdma_test_map(test, b, &a->dev);
	pci_p2pdma_distance(b, &a->dev, true);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "no peer-to-peer DMA"), 1);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, pci_name(b)), 2);

	/* Another pair is logged by itself. */
	p2pdma_test_log_empty(log);
	pci_p2pdma_distance(c, &a->dev, true);
	p2pdma_test_map(test, c, &a->dev);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "no peer-to-peer DMA"), 1);

	/* The fabric has changed, but not for these two. */
	p2pdma_test_log_empty(log);
	pci_p2pdma_fabric_changed();
	p2pdma_test_map(test, b, &a->dev);
	pci_p2pdma_distance(b, &a->dev, true);
	KUNIT_EXPECT_EQ(test, log->count, 0);

	/* Another reason, none, and the first again */
	pci_fabric_set_acs(fabric, "d1", EC);
	pci_fabric_set_egress(fabric, "d1", 2, true);
	pci_p2pdma_fabric_changed();
	p2pdma_test_map(test, b, &a->dev);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "acs-egress"), 1);
	p2pdma_test_log_empty(log);
	pci_fabric_set_acs(fabric, "d1", 0);
	pci_p2pdma_fabric_changed();
	p2pdma_test_map(test, b, &a->dev);
	KUNIT_EXPECT_EQ(test, log->count, 0);
	pci_fabric_set_acs(fabric, "d1", RR);
	pci_p2pdma_fabric_changed();
	p2pdma_test_map(test, b, &a->dev);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "acs-redirect"), 1);
}

/* Refusals due to a moved BAR or the DMA mask are logged. */
static void d11_said_of_memory(struct kunit *test)
{
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct pci_fabric *fabric;
	struct pci_dev *a, *b;
	void *page;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_provider(test, fabric, "b");
	page = p2pdma_test_alloc(test, b, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, dma_set_mask(&a->dev, DMA_BIT_MASK(32)));
	p2pdma_test_log_empty(log);

	p2pdma_test_map_page(test, page, &a->dev, NULL);
	p2pdma_test_map_page(test, page, &a->dev, NULL);
	pci_p2pdma_distance(b, &a->dev, true);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "dma-mask"), 1);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "fix:"), 0);

	/* The fabric has changed, but not for these two. */
	pci_p2pdma_fabric_changed();
	p2pdma_test_map_page(test, page, &a->dev, NULL);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "dma-mask"), 1);

	KUNIT_ASSERT_EQ(test, 0, pci_fabric_move_bar(fabric, "b", 0));
	p2pdma_test_map_page(test, page, &a->dev, NULL);
	p2pdma_test_map_page(test, page, &a->dev, NULL);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "bar-moved"), 1);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "fix:"), 0);
}

/**
 * struct log_case - messages of one refusal
 * @name: what is special
 * @fabric: the fabric to start from
 * @client: device that asks
 * @provider: device that has the memory
 * @first: beginning of the first line
 * @reason: the slug at its end
 * @fix: devices whose ACS to turn off; "" for another fix, NULL for none
 * @change: changes to the fabric
 * @encrypted: system memory is encrypted
 * @admitted: the administrator's host bridges
 */
struct log_case {
	const char *name;
	const struct p2pdma_test_fabric *fabric;
	const char *client;
	const char *provider;
	const char *first;
	const char *reason;
	const char *fix[2];
	struct p2pdma_test_change change[P2PDMA_TEST_CHANGES];
	bool encrypted;
	const char *admitted;
};

static const struct log_case log_cases[] = {
	{
		"d11_fix_names_the_port", TREE, "a", "b",
		"no peer-to-peer DMA", "acs-redirect", { "d1" },
		.change = { ACS("d1", RR | CR) },
	}, {
		"d11_fix_names_both_ports", TREE, "a", "b",
		"no peer-to-peer DMA", "acs-redirect", { "d1", "d2" },
		.change = { ACS("d1", RR | CR), ACS("d2", RR | CR) },
	}, {
		"d11_fix_for_one_direction", TREE, "a", "b",
		"nothing but writes", "acs-redirect", { "d2" },
		.change = { ACS("d1", CR), ACS("d2", RR | CR) },
	}, {
		"d11_fix_for_egress_control", TREE, "a", "b",
		"no peer-to-peer DMA", "acs-egress", { "d1" },
		.change = { ACS("d1", EC), EGRESS("d1", 2) },
	}, {
		"d11_fix_not_of_ports_that_do_not_count", TREE, "c", "b",
		"no peer-to-peer DMA", "acs-redirect", { "d3" },
		.change = { ACS("d31", RR | CR), ACS("d3", RR | CR),
			    ACS("b", RR | CR) },
	}, {
		"d11_fix_where_upstream_forwarding_is_off", TREE, "c", "d",
		"no peer-to-peer DMA", "acs-redirect", { "d31" },
		.change = { ACS("d31", RR), ID("rp1", LISTED),
			    OFFSET("host", 0) },
	}, {
		"d11_no_fix_without_a_way", FUNCTIONS, "m0", "m1",
		"no peer-to-peer DMA", "acs-redirect", { },
		.change = { ACS_CAP("m0", NO_WAY), ACS("m1", RR | CR) },
	}, {
		"d11_no_fix_for_isolated_port", TREE, "a", "b",
		"no peer-to-peer DMA", "acs-redirect", { },
		.change = { ACS_CAP("d1", 0), ID("d1", ISOLATED_PORT) },
	}, {
		"d11_fix_not_of_isolated_function", FUNCTIONS, "m0", "m1",
		"no peer-to-peer DMA", "acs-redirect", { "m0" },
		.change = { ACS("m0", RR), ID("m1", ISOLATED) },
	}, {
		"d11_fix_past_encrypted_memory", TREE, "a", "b",
		"no peer-to-peer DMA", "memory-encrypted", { "d1" },
		.change = { ACS("d1", RR), ID("rp1", LISTED) },
		.encrypted = true,
	}, {
		"d11_no_fix_for_encrypted_memory", CHIPSET, "a", "b",
		"no peer-to-peer DMA", "memory-encrypted", { },
		.change = { ID("id", LISTED) }, .encrypted = true,
	}, {
		"d11_no_fix_where_payloads_refuse_too", TREE, "a", "b",
		"no peer-to-peer DMA", "acs-redirect", { },
		.change = { ACS("d1", RR), MPS("a", 256), MPS("b", 256) },
	}, {
		"d11_no_fix_between_root_ports", TREE, "e", "f",
		"no peer-to-peer DMA", "host-bridge-not-listed", { },
		.change = { ACS("rp2", RR | CR), ACS("rp3", RR | CR) },
	}, {
		"d11_no_fix_where_unreadable", TREE, "a", "b",
		"no peer-to-peer DMA", "acs-redirect", { },
		.change = { ACS("d1", RR), FAIL("d2") },
	}, {
		"d11_no_fix_for_write_only_host_bridge", CHIPSET, "a", "b",
		"nothing but writes", "admin-allowed", { },
		.change = { ID("id", NOBODY) }, .admitted = "8086:29c0:w",
	}, {
		"d11_fix_for_payloads", TREE, "a", "b",
		"nothing but reads", "mps-mismatch", { "" },
		.change = { MPS("a", 256) },
	},
};

KUNIT_ARRAY_PARAM_DESC(log, log_cases, name);

static void explained(struct kunit *test)
{
	const struct log_case *param = test->param_value;
	struct pci_dev *client, *provider, *port;
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	const char *fix = NULL;
	char expected[80];
	struct pci_fabric *fabric;
	size_t len;
	int i;

	p2pdma_test_root(test, false, param->admitted);
	if (param->encrypted)
		p2pdma_test_encrypted(test);
	fabric = p2pdma_test_create(test, param->fabric, param->change);
	client = p2pdma_test_dev(test, fabric, param->client);
	provider = p2pdma_test_provider(test, fabric, param->provider);
	p2pdma_test_log_empty(log);
	pci_p2pdma_distance(provider, &client->dev, true);

	/* Both sides, and why */
	KUNIT_ASSERT_GE(test, log->count, 3);
	KUNIT_EXPECT_FALSE(test, log->others);
	KUNIT_EXPECT_PTR_EQ(test, log->about, &client->dev);
	KUNIT_EXPECT_TRUE(test, strstarts(log->lines[0], param->first));
	KUNIT_EXPECT_NOT_NULL(test, strstr(log->lines[0], pci_name(provider)));
	snprintf(expected, sizeof(expected), "%s: %s", pci_name(provider),
		 param->reason);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(log->lines[0], expected),
				  "'%s' doesn't say '%s'", log->lines[0],
				  expected);

	/* The path, from either end */
	snprintf(expected, sizeof(expected), "client side: %s",
		 pci_name(client));
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, expected), 1);
	snprintf(expected, sizeof(expected), "provider side: %s",
		 pci_name(provider));
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, expected), 1);

	/* A fix is only suggested if it works */
	for (i = 0; i < log->count; i++) {
		if (strstarts(log->lines[i], "fix:"))
			fix = log->lines[i];
	}
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "fix:"), !!param->fix[0]);
	if (!param->fix[0] || !fix)
		return;
	if (!*param->fix[0]) {
		KUNIT_EXPECT_NULL(test, strstr(fix, "acs"));
		return;
	}

	/* Quoted, as a boot loader's shell would interpret the ';' */
	port = p2pdma_test_dev(test, fabric, param->fix[0]);
	len = snprintf(expected, sizeof(expected), "pci=\"disable_acs_redir=%s",
		       pci_name(port));
	if (param->fix[1]) {
		port = p2pdma_test_dev(test, fabric, param->fix[1]);
		len += snprintf(expected + len, sizeof(expected) - len, ";%s",
				pci_name(port));
	}
	strscpy(expected + len, "\"", sizeof(expected) - len);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(fix, expected),
				  "'%s' doesn't say '%s'", fix, expected);
	/* What it costs */
	KUNIT_EXPECT_NOT_NULL(test, strstr(fix, "isolated"));
}

/* A long path is logged completely, without overrunning a buffer. */
static void d3_32_deep_cascade_explained(struct kunit *test)
{
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct pci_fabric *fabric;
	struct pci_dev *far, *near, *port;
	char name[16];
	int i;

	p2pdma_test_root(test, false, NULL);
	fabric = create_cascade(test, DEEPEST,
				PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF);
	far = p2pdma_test_dev(test, fabric, "far");
	near = p2pdma_test_provider(test, fabric, "near");
	p2pdma_test_log_empty(log);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance(near, &far->dev, true), -1);

	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "acs-redirect"), 1);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, pci_name(far)), 1);
	for (i = 0; i < DEEPEST; i++) {
		snprintf(name, sizeof(name), "down%d", i);
		port = p2pdma_test_dev(test, fabric, name);
		KUNIT_EXPECT_GE_MSG(test, p2pdma_test_said(test, log, pci_name(port)),
				    1, "%s isn't named", name);
	}
	for (i = 0; i < log->count && i < P2PDMA_TEST_LOG_LINES; i++)
		KUNIT_EXPECT_LT(test, strlen(log->lines[i]),
				P2PDMA_TEST_LOG_LENGTH - 1);
}

/* The exact line for each route that can be logged */
static const struct line_case {
	enum p2pdma_reason reason;
	unsigned int directions;
	enum p2pdma_fix fix;
	const char *slug;
} line_cases[] = {
	{ P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED, 0, P2PDMA_FIX_NONE,
	  "host-bridge-not-listed" },
	{ P2PDMA_REASON_ACS_REDIRECT, 0, P2PDMA_FIX_NONE, "acs-redirect" },
	{ P2PDMA_REASON_ACS_EGRESS, 0, P2PDMA_FIX_NONE, "acs-egress" },
	{ P2PDMA_REASON_MPS_MISMATCH, 0, P2PDMA_FIX_MPS, "mps-mismatch" },
	{ P2PDMA_REASON_MPS_MISMATCH, P2PDMA_READ, P2PDMA_FIX_MPS,
	  "mps-mismatch" },
	{ P2PDMA_REASON_DMA_MASK, 0, P2PDMA_FIX_NONE, "dma-mask" },
	{ P2PDMA_REASON_BAR_MOVED, 0, P2PDMA_FIX_NONE, "bar-moved" },
	{ P2PDMA_REASON_UNREADABLE, 0, P2PDMA_FIX_NONE, "unreadable" },
	{ P2PDMA_REASON_NOT_PCI, 0, P2PDMA_FIX_NONE, "not-pci" },
	{ P2PDMA_REASON_BOUNCED, 0, P2PDMA_FIX_NONE, "bounced" },
	{ P2PDMA_REASON_MEMORY_ENCRYPTED, 0, P2PDMA_FIX_NONE,
	  "memory-encrypted" },
	{ P2PDMA_REASON_DMA_RANGES, 0, P2PDMA_FIX_NONE, "dma-ranges" },
	{ P2PDMA_REASON_ADDRESS_TAKEN, 0, P2PDMA_FIX_NONE, "address-taken" },
	{ P2PDMA_REASON_ACS_FORWARDING, 0, P2PDMA_FIX_NONE, "acs-forwarding" },
	{ P2PDMA_REASON_ACS_TRANSLATION_BLOCKING, 0, P2PDMA_FIX_NONE,
	  "acs-translation-blocking" },
	{ P2PDMA_REASON_ATS, 0, P2PDMA_FIX_ATS, "ats" },
	{ P2PDMA_REASON_ATS_OFF, 0, P2PDMA_FIX_NONE, "ats-off" },
	{ P2PDMA_REASON_UNKNOWN, 0, P2PDMA_FIX_NONE, "unknown" },
	{ P2PDMA_REASON_ADMIN_ALLOWED, P2PDMA_WRITE, P2PDMA_FIX_NONE,
	  "admin-allowed" },
};

static void describe_line(const struct line_case *param, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s_%u", param->slug,
		 param->directions);
}

KUNIT_ARRAY_PARAM(line, line_cases, describe_line);

/* The other reasons follow, each only once. */
static const char *also(const struct line_case *param, enum p2pdma_reason reason)
{
	if (param->reason == reason)
		return "";
	return reason == P2PDMA_REASON_ACS_FORWARDING ? ", acs-forwarding" :
						       ", host-bridge-not-listed";
}

static void lines(struct kunit *test)
{
	static const char * const first[] = {
		[0]		= "no peer-to-peer DMA with",
		[P2PDMA_READ]	= "nothing but reads reach",
		[P2PDMA_WRITE]	= "nothing but writes reach",
	};
	const struct line_case *param = test->param_value;
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct p2pdma_facts facts = {
		.client_is_pci = true,
		.shared_bridge = true,
		.legs[P2PDMA_CLIENT].hops = 2,
		.legs[P2PDMA_OWNER].hops = 4,
	};
	struct p2pdma_verdict verdict = {
		.reason = param->reason,
		.directions = param->directions,
	};
	const u32 against = BIT(param->reason) |
			    BIT(P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED) |
			    BIT(P2PDMA_REASON_ACS_FORWARDING);
	struct pci_dev *a, *c, *d1, *d3, *up, *up3, *d31;
	struct pci_fabric *fabric;

	fabric = p2pdma_test_create(test, TREE, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	c = p2pdma_test_dev(test, fabric, "c");
	d1 = p2pdma_test_dev(test, fabric, "d1");
	d3 = p2pdma_test_dev(test, fabric, "d3");
	d31 = p2pdma_test_dev(test, fabric, "d31");
	up = p2pdma_test_dev(test, fabric, "up");
	up3 = p2pdma_test_dev(test, fabric, "up3");
	p2pdma_test_log_empty(log);
	p2pdma_log_route(c, &a->dev, &facts, &verdict, against, param->fix);

	KUNIT_EXPECT_PTR_EQ(test, log->about, &a->dev);
	KUNIT_ASSERT_EQ(test, log->count,
			param->fix == P2PDMA_FIX_NONE ? 4 : 5);
	KUNIT_EXPECT_STREQ(test, log->lines[0],
			   p2pdma_test_name(test, "%s provider %s: %s%s%s",
					    first[param->directions], pci_name(c),
					    param->slug,
					    also(param, P2PDMA_REASON_ACS_FORWARDING),
					    also(param, P2PDMA_REASON_HOST_BRIDGE_NOT_LISTED)));
	KUNIT_EXPECT_STREQ(test, log->lines[1],
			   p2pdma_test_name(test, "client side: %s %s",
					    pci_name(a), pci_name(d1)));
	KUNIT_EXPECT_STREQ(test, log->lines[2],
			   p2pdma_test_name(test, "provider side: %s %s %s %s",
					    pci_name(c), pci_name(d31),
					    pci_name(up3), pci_name(d3)));
	KUNIT_EXPECT_STREQ(test, log->lines[3],
			   p2pdma_test_name(test, "shared bridge: %s",
					    pci_name(up)));
	if (param->fix == P2PDMA_FIX_ATS)
		KUNIT_EXPECT_TRUE(test, strstarts(log->lines[4], "fix: pci=noats on"));
	if (param->fix == P2PDMA_FIX_MPS)
		KUNIT_EXPECT_STREQ(test, log->lines[4],
				   "fix: pci=pcie_bus_peer2peer on the kernel command line; it costs throughput, for all payloads become 128 bytes");
}

/* The log names the IOMMU groups that lose isolation without redirection. */
static const struct group_case {
	const char *name;
	int client;		/* which of two groups, -1 for none */
	int provider;
} group_cases[] = {
	{ "none", -1, -1 },
	{ "of_client_alone", 0, -1 },
	{ "of_provider_alone", -1, 0 },
	{ "the_same", 0, 0 },
	{ "two", 0, 1 },
};

KUNIT_ARRAY_PARAM_DESC(group, group_cases, name);

static void remove_from_group(void *dev)
{
	iommu_group_remove_device(dev);
}

static void put_group(void *group)
{
	iommu_group_put(group);
}

static void iommu_groups(struct kunit *test)
{
	static const struct p2pdma_test_change change[] = {
		ACS("d1", RR | CR), ACS("d2", RR | CR), { }
	};
	const struct group_case *param = test->param_value;
	const int of[] = { param->client, param->provider };
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct iommu_group *groups[2];
	struct pci_fabric *fabric;
	struct pci_dev *devs[2];
	const char *cost;
	int i;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, TREE, change);
	devs[0] = p2pdma_test_dev(test, fabric, "a");
	devs[1] = p2pdma_test_provider(test, fabric, "b");
	for (i = 0; i < ARRAY_SIZE(groups); i++) {
		groups[i] = iommu_group_alloc();
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, groups[i]);
		KUNIT_ASSERT_EQ(test, 0,
				kunit_add_action_or_reset(test, put_group,
							  groups[i]));
	}
	for (i = 0; i < ARRAY_SIZE(devs); i++) {
		if (of[i] < 0)
			continue;
		KUNIT_ASSERT_EQ(test, 0,
				iommu_group_add_device(groups[of[i]],
						       &devs[i]->dev));
		KUNIT_ASSERT_EQ(test, 0,
				kunit_add_action_or_reset(test,
							  remove_from_group,
							  &devs[i]->dev));
	}
	if (of[0] >= 0 && of[1] >= 0 && of[0] != of[1])
		cost = p2pdma_test_name(test, "IOMMU groups %d and %d are no longer isolated",
					iommu_group_id(groups[of[0]]),
					iommu_group_id(groups[of[1]]));
	else
		cost = "what is below these ports is no longer isolated";

	p2pdma_test_log_empty(log);
	pci_p2pdma_distance(devs[1], &devs[0]->dev, true);
	KUNIT_ASSERT_EQ(test, log->count, 6);
	KUNIT_EXPECT_TRUE(test, strstarts(log->lines[5], "note: of several"));
	KUNIT_EXPECT_STREQ(test, log->lines[4],
			   p2pdma_test_name(test, "%s\"disable_acs_redir=%s;%s\"%s%s",
					    "fix: pci=",
					    pci_name(p2pdma_test_dev(test, fabric, "d1")),
					    pci_name(p2pdma_test_dev(test, fabric, "d2")),
					    " on the kernel command line; ",
					    cost));
}

static void log_not_pci(struct kunit *test)
{
	struct device *other = p2pdma_test_child(test, NULL);
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct pci_fabric *fabric;
	struct pci_dev *b;

	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	b = p2pdma_test_provider(test, fabric, "b");
	p2pdma_test_log_empty(log);
	pci_p2pdma_distance(b, other, true);
	KUNIT_EXPECT_EQ(test, log->count, 1);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "not-pci"), 1);
	KUNIT_EXPECT_PTR_EQ(test, log->about, other);
}

static struct kunit_case p2pdma_log_cases[] = {
	KUNIT_CASE(d11_said_once),
	KUNIT_CASE(d11_said_of_memory),
	KUNIT_CASE_PARAM(explained, log_gen_params),
	KUNIT_CASE_PARAM(lines, line_gen_params),
	KUNIT_CASE_PARAM(iommu_groups, group_gen_params),
	KUNIT_CASE(d3_32_deep_cascade_explained),
	KUNIT_CASE(log_not_pci),
	{ }
};

static struct kunit_suite log_suite = {
	.name = "p2pdma_log",
	.test_cases = p2pdma_log_cases,
};

/* ---- The administrator's list ---- */

struct host_bridge_case {
	const char *name;
	const char *text;
	int accepted;
	const char *refused;	/* what the lines about refusals must name */
	bool reads;		/* 8086:29c0 forwards reads ... */
	bool writes;		/* ... and writes */
};

static const struct host_bridge_case host_bridge_cases[] = {
	{ "one", "8086:29c0", 1, NULL, true, true },
	{ "write_only", "8086:29c0:w", 1, NULL, false, true },
	{ "capitals", "8086:29C0", 1, NULL, true, true },
	{ "two", "1022:1480,8086:29c0:w", 2, NULL, false, true },
	{ "none", "", 0, NULL, false, false },
	{ "no_device", "8086", 0, "'8086'", false, false },
	{ "empty_device", "8086:", 0, "'8086:'", false, false },
	{ "unknown_flag", "8086:29c0:x", 0, "'8086:29c0:x'", false, false },
	{ "empty_flag", "8086:29c0:", 0, "'8086:29c0:'", false, false },
	{ "two_flags", "8086:29c0:ww", 0, "'8086:29c0:ww'", false, false },
	{ "capital_flag", "8086:29c0:W", 0, "'8086:29c0:W'", false, false },
	{ "five_digits", "08086:29c0", 0, "'08086:29c0'", false, false },
	{ "three_digits", "8086:9c0", 0, "'8086:9c0'", false, false },
	{ "prefix", "0x8086:29c0", 0, "'0x8086:29c0'", false, false },
	{ "no_hex_digit", "8086:29g0", 0, "'8086:29g0'", false, false },
	{ "sign", "8086:+9c0", 0, "'8086:+9c0'", false, false },
	{ "space_behind", "8086:29c0 ", 0, "'8086:29c0 '", false, false },
	{ "space_before", " 8086:29c0", 0, "' 8086:29c0'", false, false },
	{ "newline", "8086:29c0\n", 0, "'8086:29c0\n'", false, false },
	{ "other_separator", "8086:29c0;8086:29c1", 0,
	  "'8086:29c0;8086:29c1'", false, false },
	{ "no_device_there", "ffff:ffff", 0, "'ffff:ffff'", false, false },
	{ "any_device", "8086:ffff", 0, "'8086:ffff'", false, false },
	{ "no_vendor", "0000:29c0", 0, "'0000:29c0'", false, false },
	{ "duplicate", "8086:29c0:w,8086:29c0", 1, "'8086:29c0'", false, true },
	{ "commas", ",,", 0, "''", false, false },
	{ "trailing_comma", "8086:29c0,", 1, "''", true, true },
	{ "leading_comma", ",8086:29c0", 1, "''", true, true },
	{ "known", "8086:2030,8086:29c0", 1, "'8086:2030'", true, true },
	{ "known_in_part", "8086:2f00", 1, NULL, false, false },
	{ "bad_between_good", "1022:1480,bad,8086:29c0", 2, "'bad'", true, true },
};

KUNIT_ARRAY_PARAM_DESC(host_bridge, host_bridge_cases, name);

/* Malformed entries are refused by name; the others are accepted. */
static void admit(struct kunit *test)
{
	const struct host_bridge_case *param = test->param_value;
	static const struct p2pdma_test_change change[] = {
		ID("id", NOBODY), { }
	};
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct p2pdma_route route;
	struct pci_fabric *fabric;
	struct pci_dev *a, *b;
	unsigned int refused;

	/* An old list, which must be replaced */
	p2pdma_test_root(test, false, "8086:29c0");
	fabric = p2pdma_test_create(test, &p2pdma_test_chipset, change);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_dev(test, fabric, "b");
	p2pdma_test_log_empty(log);

	KUNIT_EXPECT_EQ(test, p2pdma_admit_host_bridges(param->text),
			param->accepted);
	refused = p2pdma_test_said(test, log, "refused");
	if (param->refused)
		KUNIT_EXPECT_GE(test, refused, 1);
	else
		KUNIT_EXPECT_EQ(test, refused, 0);
	if (param->refused)
		KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, param->refused),
				refused);
	/* Accepted entries log a warning, too. */
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "CORRUPTED"),
			param->accepted);

	pci_p2pdma_route(b, &a->dev, &route);
	KUNIT_EXPECT_EQ(test, route.directions,
			(param->reads ? P2PDMA_READ : 0) |
			(param->writes ? P2PDMA_WRITE : 0));
	KUNIT_EXPECT_STREQ(test, p2pdma_reason_name(route.reason),
			   param->writes ? "admin-allowed" :
					   "host-bridge-not-listed");
}

/* Without memory for a new list, the old one stays. */
static void no_memory(struct kunit *test)
{
	static const struct p2pdma_test_change change[] = {
		ID("id", NOBODY), { }
	};
	unsigned int nth, refused = 0;
	struct p2pdma_route route;
	struct pci_fabric *fabric;
	struct pci_dev *a, *b;
	bool hit = true;
	int ret;

	p2pdma_test_inject_faults(test);
	p2pdma_test_log(test);
	p2pdma_test_root(test, false, "8086:29c0");
	fabric = p2pdma_test_create(test, &p2pdma_test_chipset, change);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_dev(test, fabric, "b");

	for (nth = 1; hit && nth < 20; nth++) {
		p2pdma_test_fail_nth(nth);
		ret = p2pdma_admit_host_bridges("");
		hit = p2pdma_test_failed();
		p2pdma_test_fail_nth(0);
		if (!ret) {
			/* Memory checkers' own allocations may fail. */
			KUNIT_EXPECT_EQ(test, 1,
					p2pdma_admit_host_bridges("8086:29c0"));
			continue;
		}
		KUNIT_EXPECT_EQ(test, ret, -ENOMEM);
		pci_p2pdma_route(b, &a->dev, &route);
		KUNIT_EXPECT_EQ(test, route.directions, P2PDMA_BOTH);
		refused++;
	}
	KUNIT_EXPECT_FALSE(test, hit);
	/* The copy of the text, and the list */
	KUNIT_EXPECT_EQ(test, refused, 2);
}

static struct kunit_case p2pdma_host_bridge_cases[] = {
	KUNIT_CASE_PARAM(admit, host_bridge_gen_params),
	KUNIT_CASE(no_memory),
	{ }
};

static struct kunit_suite host_bridge_suite = {
	.name = "p2pdma_host_bridge_param",
	.test_cases = p2pdma_host_bridge_cases,
};

#else

/* Ten redirecting ports overrun a buffer of this core. */
static void d3_32_deep_cascade_explained(struct kunit *test)
{
	kunit_skip(test, "this core would write behind the end of a buffer");
}

static struct kunit_case p2pdma_log_cases[] = {
	KUNIT_CASE(d3_32_deep_cascade_explained),
	{ }
};

static struct kunit_suite log_suite = {
	.name = "p2pdma_log",
	.test_cases = p2pdma_log_cases,
};

#endif /* P2PDMA_TEST_INTERNAL */

static struct kunit_case p2pdma_route_cases[] = {
	KUNIT_CASE_PARAM(route, route_gen_params),
	KUNIT_CASE(route_of_child),
#if P2PDMA_TEST_INTERNAL
	KUNIT_CASE_PARAM(known_host_bridge, known_gen_params),
	KUNIT_CASE_PARAM(known_root_ports, known_gen_params),
	KUNIT_CASE(unknown_host_bridges),
#endif
	KUNIT_CASE(d24_physical_function_unplugged),
	KUNIT_CASE_PARAM(cascade, deep_gen_params),
	{ }
};

static struct kunit_suite route_suite = {
	.name = "p2pdma_routes",
	.test_cases = p2pdma_route_cases,
};

#if P2PDMA_TEST_INTERNAL
kunit_test_suites(&route_suite, &log_suite, &host_bridge_suite);
#else
kunit_test_suites(&route_suite, &log_suite);
#endif
