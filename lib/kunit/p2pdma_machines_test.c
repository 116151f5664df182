// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of routes on real machines, and with the ACS settings that
 * rdma_topo sets for RDMA to GPUs.
 *
 * The fabrics are made from dumps, lib/kunit/machines, by pci_fabric_table.py.
 * Where a dump doesn't show ACS, its registers can't be read here either.
 */

#include <linux/array_size.h>
#include <linux/bitfield.h>
#include <linux/bits.h>
#include <linux/overflow.h>
#include <linux/string.h>

#include "p2pdma_test.h"
#include "p2pdma_machines.h"

#define BUS(_directions, _reason, ...)					\
	{ PCI_P2PDMA_MAP_BUS_ADDR, _directions, _reason, { __VA_ARGS__ } }
#define ROOT(_reason, ...)						\
	{ PCI_P2PDMA_MAP_THRU_HOST_BRIDGE, P2PDMA_BOTH, _reason,	\
	  { __VA_ARGS__ } }
#define REFUSED(_reason, ...)						\
	{ PCI_P2PDMA_MAP_NOT_SUPPORTED, 0, _reason, { __VA_ARGS__ } }

#define SWITCH		BUS(P2PDMA_BOTH, "switch")
#define LISTED		ROOT("host-bridge-listed")
#define CPU_ALLOWED	ROOT("cpu-allowed")
#define NOT_LISTED	REFUSED("host-bridge-not-listed")
#define UNKNOWN		REFUSED("unknown")

#define SV	PCI_ACS_SV
#define RR	PCI_ACS_RR
#define CR	PCI_ACS_CR
#define UF	PCI_ACS_UF
#define EC	PCI_ACS_EC
#define ALL_ACS	0x7f

#define ID(_node, _id)		{ _node, P2PDMA_TEST_ID, _id }
#define ACS(_node, _ctrl)	{ _node, P2PDMA_TEST_ACS, _ctrl }
#define EGRESS(_node, _bit)	{ _node, P2PDMA_TEST_EGRESS, _bit }

/* Part of a route's distance: devices on both legs */
#define HOPS	GENMASK(6, 0)

static void judge_route(struct kunit *test, struct pci_fabric *fabric,
			const char *client_name, const char *provider_name,
			const struct p2pdma_test_expect *expect, unsigned int hops)
{
	struct p2pdma_route route;

	p2pdma_test_route(test, fabric, client_name, provider_name, 0, expect,
			  &route);
	if (hops)
		KUNIT_EXPECT_EQ_MSG(test, FIELD_GET(HOPS, route.distance), hops,
				    "from %s to %s", client_name,
				    provider_name);
}

/* ---- Machines ---- */

/**
 * struct machine_route - a route, and what it is
 * @client: device that accesses memory
 * @provider: device that has the memory
 * @there: expected result
 * @back: expected result with the two swapped, if different
 * @hops: number of links, 0 if it doesn't matter
 */
struct machine_route {
	const char *client;
	const char *provider;
	struct p2pdma_test_expect there;
	struct p2pdma_test_expect back;
	unsigned int hops;
};

/**
 * struct machine_case - routes of a machine
 * @name: the machine, and what is special
 * @machine: from the dump
 * @more: nodes that the dump lacks, up to one without a name
 * @change: changes to the machine
 * @readable: all of config space can be read, and has no ACS where the dump
 *	shows none
 * @cpu_allows: the processor forwards between all its root ports
 * @admitted: the administrator's host bridges
 * @routes: routes, up to one without a client
 */
struct machine_case {
	const char *name;
	struct p2pdma_test_fabric machine;
	struct pci_fabric_node more[5];
	struct p2pdma_test_change change[P2PDMA_TEST_CHANGES];
	bool readable;
	bool cpu_allows;
	const char *admitted;
	struct machine_route routes[7];
};

/* Another port of a switch from the dump, and a device below each port */
#define PEX9716_MORE							\
	{								\
		NODE("06:00.0", "05:01.0", ENDPOINT),			\
		NODE("05:02.0", "upstream of 05", DOWNSTREAM, .device = 2, \
		     .port = 2, .acs_cap = ALL_ACS),			\
		NODE("07:00.0", "05:02.0", ENDPOINT),			\
	}

static const struct machine_case machine_cases[] = {
	{
		/* TransBlk is on too, but the client sends no such requests. */
		"hsw_ep", { hsw_ep, ARRAY_SIZE(hsw_ep) },
		.more = {
			NODE("00:03.0", "pci0000:00", ROOT_PORT, .device = 3,
			     .vendor = 0x8086, .device_id = 0x2f08,
			     .acs_cap = 0x1f, .acs_ctrl = 0x1f),
			NODE("04:00.0", "00:03.0", ENDPOINT),
		},
		.routes = {
			{ "03:00.0", "04:00.0", NOT_LISTED },
		},
	}, {
		"hsw_ep_with_host_bridge", { hsw_ep, ARRAY_SIZE(hsw_ep) },
		.more = {
			NODE("00:00.0", "pci0000:00", DMI_PORT,
			     .vendor = 0x8086, .device_id = 0x2f00,
			     .class = PCI_CLASS_BRIDGE_HOST),
			NODE("00:03.0", "pci0000:00", ROOT_PORT, .device = 3,
			     .vendor = 0x8086, .device_id = 0x2f08,
			     .acs_cap = 0x1f, .acs_ctrl = 0x1f),
			NODE("04:00.0", "00:03.0", ENDPOINT),
		},
		.routes = {
			{ "03:00.0", "04:00.0", LISTED },
		},
	}, {
		"x58_nf200", { x58_nf200, ARRAY_SIZE(x58_nf200) },
		.more = { NODE("05:00.0", "03:02.0", ENDPOINT) },
		.routes = {
			{ "04:00.0", "05:00.0", SWITCH, .hops = 4 },
			{ "06:00.0", "04:00.0", NOT_LISTED },
			{ "08:00.0", "06:00.0", NOT_LISTED },
		},
	}, {
		"p2020", { p2020, ARRAY_SIZE(p2020) },
		.routes = {
			{ "05:00.0", "0001:03:00.0", NOT_LISTED },
			{ "05:00.0", "0002:01:00.0", NOT_LISTED },
			{ "0001:03:00.0", "0002:01:00.0", NOT_LISTED },
		},
	}, {
		"pex9716", { pex9716, ARRAY_SIZE(pex9716) },
		.more = PEX9716_MORE,
		.routes = {
			{ "06:00.0", "07:00.0", SWITCH, .hops = 4 },
		},
	}, {
		"pex9716_egress", { pex9716, ARRAY_SIZE(pex9716) },
		.more = PEX9716_MORE,
		.change = { ACS("05:01.0", EC), EGRESS("05:01.0", 2) },
		.routes = {
			{ "06:00.0", "07:00.0",
			  REFUSED("acs-egress", "05:01.0"), .back = SWITCH },
		},
	}, {
		"pex9716_egress_redirects", { pex9716, ARRAY_SIZE(pex9716) },
		.more = PEX9716_MORE,
		.change = { ACS("05:01.0", EC | RR), EGRESS("05:01.0", 2) },
		.routes = {
			{ "06:00.0", "07:00.0",
			  REFUSED("acs-redirect", "05:01.0"), .back = SWITCH },
		},
	}, {
		"pex9716_egress_of_another_port",
		{ pex9716, ARRAY_SIZE(pex9716) },
		.more = PEX9716_MORE,
		.change = { ACS("05:01.0", EC | RR), EGRESS("05:01.0", 3) },
		.routes = {
			{ "06:00.0", "07:00.0", SWITCH },
		},
	}, {
		"acs_empty", { acs_empty, ARRAY_SIZE(acs_empty) },
		.more = {
			NODE("e1:00.1", "root port of e1", ENDPOINT,
			     .function = 1, .mps = 512,
			     .acs_cap = PCI_FABRIC_ACS_EMPTY),
		},
		.routes = {
			{ "e1:00.0", "e1:00.1",
			  REFUSED("acs-redirect", "e1:00.0", "e1:00.1"),
			  .back = REFUSED("acs-redirect", "e1:00.1",
					  "e1:00.0") },
		},
	}, {
		"pch_tb3", { pch_tb3, ARRAY_SIZE(pch_tb3) },
		.more = {
			NODE("08:01.0", "upstream of 08", DOWNSTREAM,
			     .device = 1),
			NODE("0a:00.0", "08:01.0", ENDPOINT),
		},
		.routes = {
			{ "09:00.0", "0a:00.0", SWITCH, .hops = 4 },
			{ "02:00.0", "09:00.0", NOT_LISTED },
		},
	}, {
		"pex8796", { pex8796, ARRAY_SIZE(pex8796) },
		.more = {
			NODE("08:00.0", "07:00.0", DOWNSTREAM, .mps = 256),
			NODE("09:00.0", "08:00.0", ENDPOINT, .mps = 256),
			NODE("08:01.0", "07:00.0", DOWNSTREAM, .device = 1,
			     .mps = 256),
			NODE("0a:00.0", "08:01.0", ENDPOINT, .mps = 256),
		},
		.routes = {
			{ "09:00.0", "0a:00.0", SWITCH },
		},
	}, {
		"n1sdp", { n1sdp, ARRAY_SIZE(n1sdp) },
		.more = { NODE("0001:01:00.0", "0001:00:00.0", ENDPOINT) },
		.routes = {
			{ "06:00.0", "08:00.0",
			  REFUSED("acs-redirect", "02:12.0", "02:14.0"),
			  .back = REFUSED("acs-redirect", "02:14.0",
					  "02:12.0") },
			{ "07:00.0", "08:00.0",
			  REFUSED("acs-redirect", "02:13.0", "02:14.0"),
			  .back = REFUSED("acs-redirect", "02:14.0",
					  "02:13.0") },
			{ "06:00.0", "0001:01:00.0", NOT_LISTED },
		},
	}, {
		/* Packets turn at the upstream port and at its sibling. */
		"n1sdp_beside_upstream_port", { n1sdp, ARRAY_SIZE(n1sdp) },
		.routes = {
			{ "01:00.1", "06:00.0", UNKNOWN },
		},
	}, {
		"n1sdp_redirection_off", { n1sdp, ARRAY_SIZE(n1sdp) },
		.change = { ACS("02:12.0", SV | UF), ACS("02:14.0", SV | UF) },
		.routes = {
			{ "06:00.0", "08:00.0", SWITCH, .hops = 4 },
			{ "07:00.0", "08:00.0",
			  REFUSED("acs-redirect", "02:13.0"),
			  .back = BUS(P2PDMA_WRITE, "acs-redirect", NULL,
				      "02:13.0") },
		},
	}, {
		"n1sdp_admitted", { n1sdp, ARRAY_SIZE(n1sdp) },
		.admitted = "13b5:0100",
		.routes = {
			{ "06:00.0", "08:00.0",
			  ROOT("admin-allowed", "02:12.0", "02:14.0"),
			  .back = ROOT("admin-allowed", "02:14.0",
				       "02:12.0") },
		},
	}, {
		"dgx2", { dgx2, ARRAY_SIZE(dgx2) },
		.routes = {
			{ "34:00.0", "36:00.0", UNKNOWN },
			{ "34:00.0", "39:00.0", UNKNOWN },
			{ "57:00.0", "61:00.0", UNKNOWN },
			{ "61:00.0", "62:00.0", UNKNOWN },
			/* Packets turn in the root complex, at no port. */
			{ "34:00.0", "57:00.0", LISTED },
			{ "b7:00.0", "e7:00.0", LISTED },
		},
	}, {
		"dgx2_without_acs", { dgx2, ARRAY_SIZE(dgx2) },
		.readable = true,
		.routes = {
			{ "34:00.0", "36:00.0", SWITCH, .hops = 4 },
			{ "34:00.0", "39:00.0", SWITCH, .hops = 8 },
			{ "57:00.0", "61:00.0", SWITCH, .hops = 8 },
			{ "61:00.0", "62:00.0", SWITCH, .hops = 4 },
			{ "34:00.0", "57:00.0", LISTED },
		},
	}, {
		"sx_aurora", { sx_aurora, ARRAY_SIZE(sx_aurora) },
		.routes = {
			{ "1a:00.0", "1b:00.0", UNKNOWN },
			{ "1b:00.0", "1e:00.0", UNKNOWN },
			{ "60:00.0", "60:00.1", UNKNOWN },
			{ "1a:00.0", "17:00.0", UNKNOWN },
			/* The host bridges are listed, but payloads may not fit. */
			{ "1a:00.0", "3d:00.0", UNKNOWN },
			/* Nobody knows that 5d:02.0 is a root port. */
			{ "1a:00.0", "60:00.0", NOT_LISTED },
		},
	}, {
		"sx_aurora_without_acs", { sx_aurora, ARRAY_SIZE(sx_aurora) },
		.readable = true,
		.routes = {
			{ "1a:00.0", "1b:00.0", SWITCH, .hops = 4 },
			{ "60:00.0", "60:00.1", SWITCH },
			{ "1a:00.0", "3d:00.0", LISTED },
			{ "1a:00.0", "60:00.0", LISTED },
		},
	}, {
		"rccl_8p_940", { rccl_8p_940, ARRAY_SIZE(rccl_8p_940) },
		.routes = {
			{ "07:00.0", "0c:00.0", UNKNOWN },
			/* The dump doesn't show which root ports these are. */
			{ "07:00.0", "10:00.0", NOT_LISTED },
			{ "0c:00.0", "9f:00.0", NOT_LISTED },
		},
	}, {
		"rccl_8p_940_without_acs",
		{ rccl_8p_940, ARRAY_SIZE(rccl_8p_940) },
		.readable = true,
		.routes = {
			{ "07:00.0", "0c:00.0", SWITCH },
			{ "9a:00.0", "9f:00.0", SWITCH },
			{ "07:00.0", "10:00.0", NOT_LISTED },
		},
	}, {
		"rccl_16p1h", { rccl_16p1h, ARRAY_SIZE(rccl_16p1h) },
		.cpu_allows = true,
		.routes = {
			{ "4b:00.0", "4e:00.0", UNKNOWN },
			{ "4e:00.0", "51:00.0", UNKNOWN },
			{ "4b:00.0", "56:00.0", UNKNOWN },
			{ "4b:00.0", "0e:00.0", CPU_ALLOWED },
			{ "8f:00.0", "d2:00.0", CPU_ALLOWED },
		},
	}, {
		"rccl_16p1h_without_acs",
		{ rccl_16p1h, ARRAY_SIZE(rccl_16p1h) },
		.cpu_allows = true, .readable = true,
		.routes = {
			{ "4b:00.0", "4e:00.0", SWITCH },
			{ "4e:00.0", "51:00.0", SWITCH },
			{ "4b:00.0", "56:00.0", SWITCH },
			{ "4b:00.0", "0e:00.0", CPU_ALLOWED },
		},
	}, {
		"rccl_3p_pcie", { rccl_3p_pcie, ARRAY_SIZE(rccl_3p_pcie) },
		.cpu_allows = true,
		.routes = {
			{ "41:00.0", "23:00.0", CPU_ALLOWED },
			{ "23:00.0", "83:00.0", CPU_ALLOWED },
			{ "83:00.0", "e4:00.0", CPU_ALLOWED },
		},
	},
};

KUNIT_ARRAY_PARAM_DESC(machine, machine_cases, name);

static struct pci_fabric *create_machine(struct kunit *test,
					 const struct machine_case *param)
{
	size_t i, count = param->machine.count;
	struct p2pdma_test_fabric whole = { };
	struct pci_fabric_node *nodes;

	nodes = kunit_kcalloc(test, count + ARRAY_SIZE(param->more),
			      sizeof(*nodes), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, nodes);
	memcpy(nodes, param->machine.nodes, array_size(count, sizeof(*nodes)));
	for (i = 0; i < ARRAY_SIZE(param->more) && param->more[i].name; i++)
		nodes[count++] = param->more[i];
	for (i = 0; i < count && param->readable; i++)
		nodes[i].config_size = 0;

	whole.nodes = nodes;
	whole.count = count;
	return p2pdma_test_create(test, &whole, param->change);
}

static void machine(struct kunit *test)
{
	const struct machine_case *param = test->param_value;
	const struct machine_route *route;
	struct pci_fabric *fabric;

	p2pdma_test_root(test, param->cpu_allows, param->admitted);
	fabric = create_machine(test, param);
	for (route = param->routes; route->client; route++) {
		judge_route(test, fabric, route->client, route->provider,
			    &route->there, route->hops);
		judge_route(test, fabric, route->provider, route->client,
			    route->back.reason ? &route->back : &route->there,
			    route->hops);
	}
}

/* ---- Registers ---- */

#define NO_ACS		-1
#define NO_PCIE		-1

/**
 * struct machine_register - what the PCI core finds
 * @name: the function
 * @type: PCI_EXP_TYPE_*, or %NO_PCIE
 * @class: base class and sub-class; 0 if it doesn't matter
 * @size: bytes of config space that can be read
 * @acs_cap: of ACS, or %NO_ACS
 * @acs_ctrl: of ACS
 * @mps: payload in bytes
 */
struct machine_register {
	const char *name;
	int type;
	u16 class;
	int size;
	int acs_cap;
	u16 acs_ctrl;
	unsigned int mps;
};

struct register_case {
	const char *name;
	struct p2pdma_test_fabric machine;
	struct machine_register registers[5];
};

#define ROOT_PORT	PCI_EXP_TYPE_ROOT_PORT
#define UPSTREAM	PCI_EXP_TYPE_UPSTREAM
#define DOWNSTREAM	PCI_EXP_TYPE_DOWNSTREAM
#define ENDPOINT	PCI_EXP_TYPE_ENDPOINT
#define HOST_CLASS	PCI_CLASS_BRIDGE_HOST
#define PCI_CLASS	PCI_CLASS_BRIDGE_PCI

static const struct register_case register_cases[] = {
	{ "hsw_ep", { hsw_ep, ARRAY_SIZE(hsw_ep) }, {
		{ "00:02.0", ROOT_PORT, PCI_CLASS, 4096, 0x1f, 0x1f, 256 },
		{ "03:00.0", ENDPOINT, 0, 4096, NO_ACS, 0, 256 },
	} },
	{ "x58_nf200", { x58_nf200, ARRAY_SIZE(x58_nf200) }, {
		{ "00:00.0", ROOT_PORT, HOST_CLASS, 4096, 0x1f, 0, 128 },
		{ "00:01.0", ROOT_PORT, PCI_CLASS, 4096, 0x1f, 0, 128 },
		{ "00:1c.1", ROOT_PORT, PCI_CLASS, 4096, NO_ACS, 0, 128 },
		{ "03:00.0", DOWNSTREAM, PCI_CLASS, 4096, NO_ACS, 0, 128 },
	} },
	{ "p2020", { p2020, ARRAY_SIZE(p2020) }, {
		{ "04:00.0", ROOT_PORT, PCI_CLASS, 4096, NO_ACS, 0, 128 },
	} },
	{ "pex9716", { pex9716, ARRAY_SIZE(pex9716) }, {
		{ "05:01.0", DOWNSTREAM, PCI_CLASS, 4096, 0x7f, 0, 128 },
	} },
	{ "acs_empty", { acs_empty, ARRAY_SIZE(acs_empty) }, {
		{ "e1:00.0", ENDPOINT, 0, 4096, 0, 0, 512 },
	} },
	{ "pch_tb3", { pch_tb3, ARRAY_SIZE(pch_tb3) }, {
		{ "00:1c.0", ROOT_PORT, PCI_CLASS, 4096, 0x0f, 0, 256 },
		{ "08:00.0", DOWNSTREAM, PCI_CLASS, 4096, NO_ACS, 0, 128 },
	} },
	{ "pex8796", { pex8796, ARRAY_SIZE(pex8796) }, {
		{ "07:00.0", UPSTREAM, PCI_CLASS, 4096, NO_ACS, 0, 256 },
	} },
	{ "n1sdp", { n1sdp, ARRAY_SIZE(n1sdp) }, {
		{ "00:00.0", ROOT_PORT, PCI_CLASS, 4096, NO_ACS, 0, 128 },
		{ "01:00.0", UPSTREAM, PCI_CLASS, 256, NO_ACS, 0, 128 },
		{ "02:12.0", DOWNSTREAM, PCI_CLASS, 4096, 0x7f, 0x1d, 128 },
		{ "0001:00:00.0", ROOT_PORT, HOST_CLASS, 4096, NO_ACS, 0, 128 },
	} },
	{ "dgx2", { dgx2, ARRAY_SIZE(dgx2) }, {
		{ "2b:00.0", ROOT_PORT, PCI_CLASS, 256, NO_ACS, 0, 128 },
		{ "33:10.0", DOWNSTREAM, PCI_CLASS, 256, NO_ACS, 0, 128 },
	} },
	{ "sx_aurora", { sx_aurora, ARRAY_SIZE(sx_aurora) }, {
		{ "17:00.0", NO_PCIE, PCI_CLASS, 256, NO_ACS },
		{ "60:00.1", NO_PCIE, 0, 256, NO_ACS },
	} },
};

KUNIT_ARRAY_PARAM_DESC(register, register_cases, name);

static void check_registers(struct kunit *test, struct pci_dev *pdev,
			    const struct machine_register *expect)
{
	u16 value = 0;

	KUNIT_EXPECT_EQ_MSG(test, pci_is_pcie(pdev) ? pci_pcie_type(pdev) :
						      NO_PCIE,
			    expect->type, "%s", expect->name);
	if (expect->class)
		KUNIT_EXPECT_EQ_MSG(test, pdev->class >> 8, expect->class, "%s",
				    expect->name);
	KUNIT_EXPECT_EQ_MSG(test, pdev->cfg_size, expect->size, "%s",
			    expect->name);
	KUNIT_EXPECT_EQ_MSG(test, !pdev->acs_cap, expect->acs_cap == NO_ACS,
			    "%s", expect->name);
	if (pdev->acs_cap) {
		pci_read_config_word(pdev, pdev->acs_cap + PCI_ACS_CAP, &value);
		KUNIT_EXPECT_EQ_MSG(test, value, expect->acs_cap, "%s",
				    expect->name);
		pci_read_config_word(pdev, pdev->acs_cap + PCI_ACS_CTRL,
				     &value);
		KUNIT_EXPECT_EQ_MSG(test, value, expect->acs_ctrl, "%s",
				    expect->name);
	}
	if (pci_is_pcie(pdev))
		KUNIT_EXPECT_EQ_MSG(test, pcie_get_mps(pdev), expect->mps, "%s",
				    expect->name);
}

/* The fabrics have the registers of the dumps. */
static void registers(struct kunit *test)
{
	const struct register_case *param = test->param_value;
	const struct machine_register *expect;
	struct pci_fabric *fabric;

	fabric = p2pdma_test_create(test, &param->machine, NULL);
	for (expect = param->registers; expect->name; expect++)
		check_registers(test,
				p2pdma_test_dev(test, fabric, expect->name),
				expect);
}

#undef ROOT_PORT
#undef UPSTREAM
#undef DOWNSTREAM
#undef ENDPOINT
#undef HOST_CLASS
#undef PCI_CLASS

/* ---- rdma_topo ---- */

static const struct pci_fabric_node rdma_nodes[] = {
	HOST("host", .domain = 0x10000, .node = 1),
	NODE("rp", "host", ROOT_PORT, .device = 1, .acs_cap = ALL_ACS & ~EC),
	NODE("up", "rp", UPSTREAM),
	NODE("nic_port", "up", DOWNSTREAM, .port = 1, .acs_cap = ALL_ACS),
	NODE("nic", "nic_port", ENDPOINT, .bar[0] = { SZ_2M }),
	NODE("gpu_port", "up", DOWNSTREAM, .device = 1, .port = 2,
	     .acs_cap = ALL_ACS),
	NODE("gpu", "gpu_port", ENDPOINT, .bar[0] = { SZ_2M }),
};

/* What the PCI core sets on its own, where there is an IOMMU */
#define BY_DEFAULT	(SV | RR | CR | UF)

/* An entry of config_acs=: a digit for each bit, from DT to SV */
static u64 config_acs(const char *text)
{
	u16 ctrl = BY_DEFAULT;
	int bit;

	for (bit = strlen(text) - 1; *text; text++, bit--) {
		if (*text != 'x')
			ctrl &= ~BIT(bit);
		if (*text == '1')
			ctrl |= BIT(bit);
	}
	return ctrl;
}

/**
 * struct rdma_case - ACS that rdma_topo sets
 * @name: for what
 * @nic_port: ACS of the switch port of the network adapter
 * @gpu_port: ACS of the switch port of the GPU
 * @root_port: ACS of the root port
 * @root_id: ID of the root port, or 0
 * @there: expected result, from the network adapter to the GPU
 * @back: expected result, from the GPU to the network adapter
 */
struct rdma_case {
	const char *name;
	const char *nic_port;
	const char *gpu_port;
	const char *root_port;
	u32 root_id;
	struct p2pdma_test_expect there;
	struct p2pdma_test_expect back;
};

#define SKYLAKE		0x80862030	/* listed root ports */
#define HOST_ONLY	"xx000x0"
#define GUEST_NIC	"1x111x1"
#define GUEST		"xx111x1"

static const struct rdma_case rdma_cases[] = {
	{
		"bare_metal", HOST_ONLY, HOST_ONLY, HOST_ONLY,
		.there = SWITCH, .back = SWITCH,
	}, {
		"guests", GUEST_NIC, GUEST, GUEST,
		.there = REFUSED("acs-redirect", "nic_port", "gpu_port"),
		.back = REFUSED("acs-redirect", "gpu_port", "nic_port"),
	}, {
		"guests_listed", GUEST_NIC, GUEST, GUEST, SKYLAKE,
		.there = ROOT("host-bridge-listed", "nic_port", "gpu_port"),
		.back = ROOT("host-bridge-listed", "gpu_port", "nic_port"),
	},
};

KUNIT_ARRAY_PARAM_DESC(rdma, rdma_cases, name);

static struct pci_fabric *create_rdma(struct kunit *test,
				      const char *nic_port,
				      const char *gpu_port,
				      const char *root_port, u32 root_id)
{
	const struct p2pdma_test_fabric fabric = {
		rdma_nodes, ARRAY_SIZE(rdma_nodes)
	};
	const struct p2pdma_test_change change[] = {
		ACS("nic_port", config_acs(nic_port)),
		ACS("gpu_port", config_acs(gpu_port)),
		ACS("rp", config_acs(root_port)),
		ID("rp", root_id), { }
	};

	p2pdma_test_root(test, false, NULL);
	return p2pdma_test_create(test, &fabric, change);
}

static void rdma_topo(struct kunit *test)
{
	const struct rdma_case *param = test->param_value;
	struct pci_fabric *fabric;

	fabric = create_rdma(test, param->nic_port, param->gpu_port,
			     param->root_port, param->root_id);
	judge_route(test, fabric, "nic", "gpu", &param->there, 0);
	judge_route(test, fabric, "gpu", "nic", &param->back, 0);
}

struct tlp_case {
	const char *name;
	unsigned int tlp;
	u32 root_id;
	struct p2pdma_test_expect there;
	struct p2pdma_test_expect back;
};

#define RELAXED	(PCI_P2PDMA_TLP_TRANSLATED | PCI_P2PDMA_TLP_RELAXED_CPL)

/*
 * The network adapter has ATS, and DirectTrans is on at its port alone.
 * CmpltRedir redirects completions without relaxed ordering, whatever the
 * request was.
 */
static const struct tlp_case tlp_cases[] = {
	{
		"translated", PCI_P2PDMA_TLP_TRANSLATED,
		.there = BUS(P2PDMA_WRITE, "acs-redirect", NULL, "gpu_port"),
		.back = REFUSED("acs-redirect", "gpu_port", "nic_port"),
	}, {
		"translated_and_relaxed", RELAXED,
		.there = SWITCH,
		.back = REFUSED("acs-redirect", "gpu_port"),
	}, {
		"translated_and_relaxed_listed", RELAXED, SKYLAKE,
		.there = SWITCH,
		.back = ROOT("host-bridge-listed", "gpu_port"),
	},
};

KUNIT_ARRAY_PARAM_DESC(tlp, tlp_cases, name);

static void judge_tlp(struct kunit *test, struct pci_fabric *fabric,
		      const char *client_name, const char *provider_name,
		      const struct p2pdma_test_expect *expect)
{
	const struct tlp_case *param = test->param_value;
	struct pci_dev *client = p2pdma_test_dev(test, fabric, client_name);
	struct p2pdma_route route;

	client->ats_enabled = 1;
	p2pdma_test_route(test, fabric, client_name, provider_name, param->tlp,
			  expect, &route);
	client->ats_enabled = 0;
}

/* What rdma_topo sets for guests lets translated requests pass. */
static void rdma_topo_guests(struct kunit *test)
{
	const struct tlp_case *param = test->param_value;
	struct pci_fabric *fabric;

	fabric = create_rdma(test, GUEST_NIC, GUEST, GUEST, param->root_id);
	judge_tlp(test, fabric, "nic", "gpu", &param->there);
	judge_tlp(test, fabric, "gpu", "nic", &param->back);
}

static struct kunit_case p2pdma_machines_cases[] = {
	KUNIT_CASE_PARAM(machine, machine_gen_params),
	KUNIT_CASE_PARAM(registers, register_gen_params),
	KUNIT_CASE_PARAM(rdma_topo, rdma_gen_params),
	KUNIT_CASE_PARAM(rdma_topo_guests, tlp_gen_params),
	{ }
};

static struct kunit_suite machines_suite = {
	.name = "p2pdma_machines",
	.test_cases = p2pdma_machines_cases,
};

kunit_test_suite(machines_suite);
