// SPDX-License-Identifier: GPL-2.0
/*
 * Tests that the PCI core finds a fabric as its table describes it.
 *
 * They check what drivers see: struct pci_dev, its resources, and reads of
 * config space through the PCI core. P2PDMA isn't tested here.
 */

#include <kunit/test.h>
#include <linux/bitfield.h>
#include <linux/dma-mapping.h>
#include <linux/memremap.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <linux/sysfs.h>

#include "pci_fabric.h"

#define DOMAIN		0x10000		/* does not fit into 16 bits */
#define ALL_ACS		(PCI_ACS_SV | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF | \
			 PCI_ACS_EC | PCI_ACS_DT)

#define HOST_IN(_name, _domain, ...)					\
	{ .name = _name, .kind = PCI_FABRIC_HOST, .domain = _domain,	\
	  __VA_ARGS__ }
#define HOST(_name, ...)	HOST_IN(_name, DOMAIN, __VA_ARGS__)
#define NODE(_name, _below, _kind, ...)					\
	{ .name = _name, .below = _below, .kind = PCI_FABRIC_##_kind,	\
	  __VA_ARGS__ }

/* A switch with two endpoints and a port with nothing below */
static const struct pci_fabric_node small[] = {
	HOST("host"),
	NODE("rp", "host", ROOT_PORT, .device = 1),
	NODE("up", "rp", UPSTREAM),
	NODE("a", "up", DOWNSTREAM, .device = 0, .port = 1, .acs_cap = ALL_ACS),
	NODE("b", "up", DOWNSTREAM, .device = 1, .port = 2),
	NODE("empty", "up", DOWNSTREAM, .device = 2, .port = 3),
	NODE("x", "a", ENDPOINT, .bar = { { SZ_4M } }),
	NODE("y", "b", ENDPOINT, .bar = { { SZ_1M } }),
};

/* The small fabric with another host bridge */
static struct pci_fabric *create_small(struct kunit *test,
				       const struct pci_fabric_node *host)
{
	struct pci_fabric_node *nodes;

	nodes = kunit_kzalloc(test, sizeof(small), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, nodes);
	memcpy(nodes, small, sizeof(small));
	nodes[0] = *host;
	return pci_fabric_create(nodes, ARRAY_SIZE(small));
}

static struct pci_dev *dev(struct kunit *test, struct pci_fabric *fabric,
			   const char *name)
{
	struct pci_dev *pdev = pci_fabric_dev(fabric, name);

	KUNIT_ASSERT_NOT_NULL_MSG(test, pdev, "there is no %s", name);
	return pdev;
}

/* Every kind of function, told apart by the PCI core, each in its place */

static const struct pci_fabric_node kinds[] = {
	HOST("host", .bus = 0x40),
	NODE("rp", "host", ROOT_PORT, .device = 3),
	NODE("rciep", "host", RC_ENDPOINT, .device = 4, .function = 0),
	NODE("rciep1", "host", RC_ENDPOINT, .device = 4, .function = 5),
	NODE("up", "rp", UPSTREAM),
	NODE("mgmt", "rp", ENDPOINT, .function = 1),
	NODE("a", "up", DOWNSTREAM, .device = 7),
	NODE("b", "up", DOWNSTREAM, .device = 31),
	NODE("ep", "a", ENDPOINT, .vendor = 0x1234, .device_id = 0x5678),
	NODE("bridge", "b", PCI_BRIDGE),
	NODE("old", "bridge", PCI_DEVICE, .device = 9),
	NODE("older bridge", "bridge", PCI_PCI_BRIDGE, .device = 10),
	NODE("older", "older bridge", PCI_DEVICE, .device = 30),
	NODE("second", "older bridge", PCI_DEVICE, .device = 30, .function = 7),
	NODE("dmi", "host", DMI_PORT),
};

static const struct {
	const char *name;
	const char *above;
	int type;		/* -1: conventional */
	unsigned int bus;
	unsigned int devfn;
	bool several;
} found[] = {
	{ "rp", NULL, PCI_EXP_TYPE_ROOT_PORT, 0x40, PCI_DEVFN(3, 0), false },
	{ "rciep", NULL, PCI_EXP_TYPE_RC_END, 0x40, PCI_DEVFN(4, 0), true },
	{ "rciep1", NULL, PCI_EXP_TYPE_RC_END, 0x40, PCI_DEVFN(4, 5), true },
	{ "up", "rp", PCI_EXP_TYPE_UPSTREAM, 0x41, PCI_DEVFN(0, 0), true },
	{ "mgmt", "rp", PCI_EXP_TYPE_ENDPOINT, 0x41, PCI_DEVFN(0, 1), true },
	{ "a", "up", PCI_EXP_TYPE_DOWNSTREAM, 0x42, PCI_DEVFN(7, 0), false },
	{ "b", "up", PCI_EXP_TYPE_DOWNSTREAM, 0x42, PCI_DEVFN(31, 0), false },
	{ "ep", "a", PCI_EXP_TYPE_ENDPOINT, 0x43, PCI_DEVFN(0, 0), false },
	{ "bridge", "b", PCI_EXP_TYPE_PCI_BRIDGE, 0x44, PCI_DEVFN(0, 0), false },
	{ "old", "bridge", -1, 0x45, PCI_DEVFN(9, 0), false },
	{ "older bridge", "bridge", -1, 0x45, PCI_DEVFN(10, 0), false },
	{ "older", "older bridge", -1, 0x46, PCI_DEVFN(30, 0), true },
	{ "second", "older bridge", -1, 0x46, PCI_DEVFN(30, 7), true },
	{ "dmi", NULL, PCI_EXP_TYPE_ROOT_PORT, 0x40, PCI_DEVFN(0, 0), false },
};

static void fabric_kinds(struct kunit *test)
{
	struct pci_fabric *fabric = pci_fabric_kunit(test, kinds,
						     ARRAY_SIZE(kinds));
	int i;

	for (i = 0; i < ARRAY_SIZE(found); i++) {
		struct pci_dev *pdev = dev(test, fabric, found[i].name);

		KUNIT_EXPECT_EQ_MSG(test, pci_is_pcie(pdev), found[i].type >= 0,
				    "%s", found[i].name);
		if (pci_is_pcie(pdev)) {
			KUNIT_EXPECT_EQ_MSG(test, pci_pcie_type(pdev),
					    found[i].type, "%s", found[i].name);
			KUNIT_EXPECT_EQ_MSG(test, pdev->cfg_size,
					    PCI_CFG_SPACE_EXP_SIZE, "%s",
					    found[i].name);
		} else {
			KUNIT_EXPECT_EQ_MSG(test, pdev->cfg_size,
					    PCI_CFG_SPACE_SIZE, "%s",
					    found[i].name);
		}
		KUNIT_EXPECT_EQ_MSG(test, pdev->bus->number, found[i].bus, "%s",
				    found[i].name);
		KUNIT_EXPECT_EQ_MSG(test, pdev->devfn, found[i].devfn, "%s",
				    found[i].name);
		KUNIT_EXPECT_EQ_MSG(test, !!pdev->multifunction, found[i].several,
				    "%s", found[i].name);
		KUNIT_EXPECT_PTR_EQ_MSG(test, pci_upstream_bridge(pdev),
					found[i].above ?
					dev(test, fabric, found[i].above) :
					NULL, "%s", found[i].name);
	}
	KUNIT_EXPECT_EQ(test, dev(test, fabric, "ep")->vendor, 0x1234);
	KUNIT_EXPECT_EQ(test, dev(test, fabric, "ep")->device, 0x5678);
	KUNIT_EXPECT_PTR_EQ(test, pci_fabric_dev(fabric, "host"), NULL);
	KUNIT_EXPECT_PTR_EQ(test, pci_fabric_dev(fabric, "nobody"), NULL);
}

/* BARs of each sort: size, alignment, flags; inside the windows above */

static const struct pci_fabric_node bars[] = {
	HOST("host"),
	NODE("rp", "host", ROOT_PORT, .bar = { { SZ_64K, PCI_FABRIC_BAR_32 } }),
	NODE("up", "rp", UPSTREAM, .bar = { { SZ_128K } }),
	NODE("a", "up", DOWNSTREAM, .device = 0),
	NODE("b", "up", DOWNSTREAM, .device = 1),
	NODE("x", "a", ENDPOINT,
	     .bar = { { SZ_16K, PCI_FABRIC_BAR_32 }, { SZ_64, PCI_FABRIC_BAR_IO },
		      { SZ_256M }, {}, { SZ_4K } }),
	NODE("x1", "a", ENDPOINT, .function = 1, .bar = { { SZ_8G } }),
	NODE("y", "b", ENDPOINT,
	     .bar = { { 16, PCI_FABRIC_BAR_32 }, { 4, PCI_FABRIC_BAR_IO },
		      { SZ_2M }, {}, {}, { SZ_1M, PCI_FABRIC_BAR_32 } }),
};

static void expect_bar(struct kunit *test, struct pci_dev *pdev, int i,
		       const struct pci_fabric_bar *bar)
{
	const unsigned long mask = IORESOURCE_TYPE_BITS | IORESOURCE_PREFETCH |
				   IORESOURCE_MEM_64;
	struct resource *res = &pdev->resource[i], *window = res->parent;
	u64 address = pci_bus_address(pdev, i);
	u32 value;

	KUNIT_EXPECT_EQ(test, pci_resource_len(pdev, i), bar->size);
	if (!bar->size)
		return;
	KUNIT_ASSERT_NOT_NULL(test, window);
	KUNIT_EXPECT_LE(test, window->start, res->start);
	KUNIT_EXPECT_GE(test, window->end, res->end);
	KUNIT_EXPECT_EQ(test, address & (bar->size - 1), 0);
	KUNIT_EXPECT_EQ(test, res->start & (bar->size - 1), 0);
	KUNIT_EXPECT_EQ(test, res->flags & mask,
			bar->flags & PCI_FABRIC_BAR_IO ? IORESOURCE_IO :
			bar->flags & PCI_FABRIC_BAR_32 ? IORESOURCE_MEM :
			IORESOURCE_MEM | IORESOURCE_PREFETCH |
			IORESOURCE_MEM_64);
	pci_read_config_dword(pdev, PCI_BASE_ADDRESS_0 + 4 * i, &value);
	KUNIT_EXPECT_EQ(test, value & ~(bar->flags & PCI_FABRIC_BAR_IO ?
					0x3 : 0xf), lower_32_bits(address));
	if (bar->flags)
		KUNIT_EXPECT_EQ(test, upper_32_bits(address), 0);
	else
		KUNIT_EXPECT_EQ(test, value & 0xf,
				PCI_BASE_ADDRESS_MEM_TYPE_64 |
				PCI_BASE_ADDRESS_MEM_PREFETCH);
}

static void fabric_bars(struct kunit *test)
{
	struct pci_fabric *fabric = pci_fabric_kunit(test, bars,
						     ARRAY_SIZE(bars));
	int i, j;

	for (i = 1; i < ARRAY_SIZE(bars); i++)
		for (j = 0; j < PCI_STD_NUM_BARS; j++)
			expect_bar(test, dev(test, fabric, bars[i].name), j,
				   &bars[i].bar[j]);
}

/* Bridges' window registers agree with the PCI core's resources */
static void fabric_windows(struct kunit *test)
{
	static const char * const bridges[] = { "rp", "up", "a", "b" };
	struct pci_fabric *fabric = pci_fabric_kunit(test, bars,
						     ARRAY_SIZE(bars));
	int i;

	for (i = 0; i < ARRAY_SIZE(bridges); i++) {
		struct pci_dev *pdev = dev(test, fabric, bridges[i]);
		struct pci_bus_region region;
		struct resource *res;
		u64 base, limit;

#define CONFIG(where, size) pci_fabric_read(fabric, bridges[i], where, size)
		res = &pdev->resource[PCI_BRIDGE_PREF_MEM_WINDOW];
		KUNIT_ASSERT_NOT_NULL(test, res->parent);
		pcibios_resource_to_bus(pdev->bus, &region, res);
		base = (u64)CONFIG(PCI_PREF_BASE_UPPER32, 4) << 32 |
		       (CONFIG(PCI_PREF_MEMORY_BASE, 2) & 0xfff0) << 16;
		limit = (u64)CONFIG(PCI_PREF_LIMIT_UPPER32, 4) << 32 |
			(CONFIG(PCI_PREF_MEMORY_LIMIT, 2) & 0xfff0) << 16;
		KUNIT_EXPECT_EQ(test, base, region.start);
		KUNIT_EXPECT_EQ(test, limit + SZ_1M - 1, region.end);

		res = &pdev->resource[PCI_BRIDGE_MEM_WINDOW];
		KUNIT_ASSERT_NOT_NULL(test, res->parent);
		pcibios_resource_to_bus(pdev->bus, &region, res);
		KUNIT_EXPECT_EQ(test, CONFIG(PCI_MEMORY_BASE, 2) << 16,
				region.start);
		KUNIT_EXPECT_EQ(test, (CONFIG(PCI_MEMORY_LIMIT, 2) << 16) +
				SZ_1M - 1, region.end);

		res = &pdev->resource[PCI_BRIDGE_IO_WINDOW];
		KUNIT_ASSERT_NOT_NULL(test, res->parent);
		KUNIT_EXPECT_EQ(test, CONFIG(PCI_IO_BASE, 1) << 8, res->start);
		KUNIT_EXPECT_EQ(test, (CONFIG(PCI_IO_LIMIT, 1) << 8) + SZ_4K - 1,
				res->end);
#undef CONFIG
	}
}

/* The windows of host bridge "host" are those that the PCI core has */
static void expect_windows(struct kunit *test, struct pci_fabric *fabric,
			   struct pci_bus *bus)
{
	struct pci_host_bridge *bridge = pci_find_host_bridge(bus);
	struct pci_fabric_window found;
	struct resource_entry *window;
	unsigned int count = 0;

	resource_list_for_each_entry(window, &bridge->windows) {
		if (resource_type(window->res) != IORESOURCE_MEM)
			continue;
		pci_fabric_host_window(fabric, "host",
				       window->res->flags & IORESOURCE_PREFETCH ?
				       PCI_FABRIC_WINDOW_64 :
				       PCI_FABRIC_WINDOW_32, &found);
		KUNIT_EXPECT_EQ(test, window->res->start, found.cpu);
		KUNIT_EXPECT_EQ(test, window->res->start - window->offset,
				found.bus);
		KUNIT_EXPECT_EQ(test, resource_size(window->res), found.size);
		count++;
	}
	KUNIT_EXPECT_EQ(test, PCI_FABRIC_WINDOWS, count);
}

/* CPU address minus bus address is the requested offset, of either sign */
static void fabric_offset(struct kunit *test)
{
	static const u64 offsets[] = { 0, SZ_4G, SZ_64M, -(u64)SZ_4G };
	struct pci_fabric *fabric;
	struct pci_dev *pdev;
	int i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		const struct pci_fabric_node host =
			HOST("host", .offset = offsets[i]);

		fabric = create_small(test, &host);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, fabric);
		pdev = pci_fabric_dev(fabric, "x");
		KUNIT_EXPECT_EQ(test, pci_resource_start(pdev, 0) -
				pci_bus_address(pdev, 0), offsets[i]);
		expect_windows(test, fabric, pdev->bus);
		pci_fabric_destroy(fabric);
	}
}

static void fabric_window_size(struct kunit *test)
{
	static const struct pci_fabric_node host =
		HOST("host", .window = SZ_1G + SZ_2M);
	struct pci_fabric *fabric;
	struct resource *window;
	struct pci_dev *rp;

	fabric = create_small(test, &host);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, fabric);
	rp = pci_fabric_dev(fabric, "rp");
	window = rp->resource[PCI_BRIDGE_PREF_MEM_WINDOW].parent;
	KUNIT_EXPECT_EQ(test, SZ_1G + SZ_2M, resource_size(window));
	pci_fabric_destroy(fabric);
}

/* The class doesn't decide what is a bridge; the header does */
static void fabric_class(struct kunit *test)
{
	static const struct pci_fabric_node nodes[] = {
		HOST("host", .bus = 0x17),
		NODE("rp", "host", ROOT_PORT, .class = PCI_CLASS_BRIDGE_HOST),
		NODE("ep", "rp", ENDPOINT, .bar = { { SZ_1M } },
		     .class = PCI_CLASS_NETWORK_ETHERNET, .total_vfs = 1),
		NODE("dmi", "host", DMI_PORT, .device = 1,
		     .class = PCI_CLASS_BRIDGE_HOST),
	};
	struct pci_fabric *fabric = pci_fabric_kunit(test, nodes,
						     ARRAY_SIZE(nodes));
	struct pci_dev *rp = dev(test, fabric, "rp");
	struct pci_dev *ep = dev(test, fabric, "ep");
	struct pci_dev *dmi = dev(test, fabric, "dmi");

	KUNIT_EXPECT_EQ(test, rp->class, PCI_CLASS_BRIDGE_HOST << 8);
	KUNIT_EXPECT_EQ(test, rp->hdr_type, PCI_HEADER_TYPE_BRIDGE);
	KUNIT_EXPECT_EQ(test, pci_pcie_type(rp), PCI_EXP_TYPE_ROOT_PORT);
	KUNIT_EXPECT_PTR_EQ(test, pci_upstream_bridge(ep), rp);
	KUNIT_EXPECT_EQ(test, ep->class, PCI_CLASS_NETWORK_ETHERNET << 8);
	KUNIT_EXPECT_EQ(test, dmi->class, PCI_CLASS_BRIDGE_HOST << 8);
	KUNIT_EXPECT_EQ(test, dmi->hdr_type, PCI_HEADER_TYPE_NORMAL);
	KUNIT_EXPECT_PTR_EQ(test, dmi->subordinate, NULL);

	KUNIT_ASSERT_EQ(test, 0, pci_fabric_enable_vfs(fabric, "ep", 1));
	KUNIT_EXPECT_EQ(test, dev(test, fabric, "ep/0")->class,
			PCI_CLASS_NETWORK_ETHERNET << 8);
}

/*
 * Config space that can be read in part: the PCI core finds the function, its
 * BARs and bridge windows, and the capabilities that it can read
 */
static void fabric_config_size(struct kunit *test)
{
#define PORT_ACS	(PCI_ACS_RR | PCI_ACS_CR)
	static const struct pci_fabric_node nodes[] = {
		HOST("host"),
		NODE("rp", "host", ROOT_PORT, .acs_cap = PORT_ACS,
		     .config_size = 256),
		NODE("up", "rp", UPSTREAM),
		NODE("a", "up", DOWNSTREAM, .acs_cap = PORT_ACS,
		     .acs_ctrl = PORT_ACS, .config_size = 64),
		NODE("b", "up", DOWNSTREAM, .device = 1, .acs_cap = PORT_ACS,
		     .acs_ctrl = PORT_ACS),
		NODE("c", "up", DOWNSTREAM, .device = 2),
		NODE("x", "a", ENDPOINT, .bar = { { SZ_1M } }),
		NODE("y", "b", ENDPOINT, .bar = { { SZ_1M } }, .total_vfs = 1,
		     .config_size = 256),
		NODE("z", "c", ENDPOINT, .config_size = 4096),
	};
	struct pci_fabric *fabric = pci_fabric_kunit(test, nodes,
						     ARRAY_SIZE(nodes));
	struct pci_dev *rp = dev(test, fabric, "rp");
	struct pci_dev *a = dev(test, fabric, "a");
	struct pci_dev *b = dev(test, fabric, "b");
	struct pci_dev *x = dev(test, fabric, "x");
	struct pci_dev *y = dev(test, fabric, "y");
	u32 value;
	u16 word;

	/* 256 bytes: PCIe, but no ACS and no SR-IOV */
	KUNIT_EXPECT_EQ(test, pci_pcie_type(rp), PCI_EXP_TYPE_ROOT_PORT);
	KUNIT_EXPECT_EQ(test, rp->cfg_size, PCI_CFG_SPACE_SIZE);
	KUNIT_EXPECT_EQ(test, rp->acs_cap, 0);
	KUNIT_EXPECT_TRUE(test, pci_is_pcie(y));
	KUNIT_EXPECT_EQ(test, y->cfg_size, PCI_CFG_SPACE_SIZE);
	KUNIT_EXPECT_FALSE(test, y->is_physfn);

	/* 64 bytes: taken for a conventional bridge */
	KUNIT_EXPECT_FALSE(test, pci_is_pcie(a));
	KUNIT_EXPECT_EQ(test, a->acs_cap, 0);
	KUNIT_EXPECT_EQ(test, 0, pci_read_config_word(a, PCI_STATUS, &word));
	KUNIT_EXPECT_TRUE(test, word & PCI_STATUS_CAP_LIST);
	KUNIT_EXPECT_PTR_EQ(test, pci_upstream_bridge(x), a);
	expect_bar(test, x, 0, &nodes[6].bar[0]);
	/* Below such a bridge the PCI core reads no extended config space. */
	KUNIT_EXPECT_EQ(test, x->cfg_size, PCI_CFG_SPACE_SIZE);

	/* All of it, the neighbour's too */
	KUNIT_EXPECT_EQ(test, b->cfg_size, PCI_CFG_SPACE_EXP_SIZE);
	KUNIT_ASSERT_NE(test, b->acs_cap, 0);
	KUNIT_EXPECT_EQ(test, dev(test, fabric, "z")->cfg_size,
			PCI_CFG_SPACE_EXP_SIZE);

	/* To the last byte, and none beyond, for reads and writes */
	KUNIT_EXPECT_EQ(test, 0, pci_read_config_dword(a, 60, &value));
	KUNIT_EXPECT_EQ(test, PCIBIOS_BAD_REGISTER_NUMBER,
			pci_read_config_dword(a, 64, &value));
	KUNIT_EXPECT_EQ(test, value, 0xffffffff);
	KUNIT_EXPECT_EQ(test, 0, pci_read_config_dword(rp, 252, &value));
	KUNIT_EXPECT_EQ(test, PCIBIOS_BAD_REGISTER_NUMBER,
			pci_read_config_dword(rp, 256, &value));
	KUNIT_EXPECT_EQ(test, PCIBIOS_BAD_REGISTER_NUMBER,
			pci_write_config_word(a, b->acs_cap + PCI_ACS_CTRL, 0));
	KUNIT_EXPECT_EQ(test, PCIBIOS_BAD_REGISTER_NUMBER,
			pci_read_config_word(y, PCI_CFG_SPACE_SIZE, &word));
	KUNIT_EXPECT_EQ(test, word, 0xffff);

	/* What can't be read is there all the same. */
	KUNIT_EXPECT_EQ(test, PORT_ACS,
			pci_fabric_read(fabric, "a", b->acs_cap + PCI_ACS_CTRL,
					2));
#undef PORT_ACS
}

/*
 * Control registers: what was asked for is there although enumeration writes
 * them, and the PCI core can change them within what the function can do
 */

static u16 acs_control(struct pci_dev *pdev)
{
	u16 control = 0;

	pci_read_config_word(pdev, pdev->acs_cap + PCI_ACS_CTRL, &control);
	return control;
}

static void fabric_acs(struct kunit *test)
{
	static const struct pci_fabric_node nodes[] = {
		HOST("host"),
		NODE("rp", "host", ROOT_PORT,
		     .acs_cap = PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF,
		     .acs_ctrl = PCI_ACS_RR),
		NODE("ep", "rp", ENDPOINT, .acs_cap = ALL_ACS, .acs_vector = 8,
		     .total_vfs = 1),
		NODE("ep1", "rp", ENDPOINT, .function = 1, .acs_cap = ALL_ACS,
		     .acs_ctrl = ALL_ACS),
		NODE("ep2", "rp", ENDPOINT, .function = 2),
		NODE("ep3", "rp", ENDPOINT, .function = 3,
		     .acs_cap = PCI_FABRIC_ACS_EMPTY),
	};
	struct pci_fabric *fabric = pci_fabric_kunit(test, nodes,
						     ARRAY_SIZE(nodes));
	struct pci_dev *rp = dev(test, fabric, "rp");
	struct pci_dev *ep = dev(test, fabric, "ep");
	struct pci_dev *ep1 = dev(test, fabric, "ep1");
	struct pci_dev *ep3 = dev(test, fabric, "ep3");
	u32 vector;
	u16 cap;

	KUNIT_ASSERT_NE(test, rp->acs_cap, 0);
	KUNIT_ASSERT_NE(test, ep->acs_cap, 0);
	KUNIT_ASSERT_NE(test, ep1->acs_cap, 0);
	KUNIT_EXPECT_EQ(test, dev(test, fabric, "ep2")->acs_cap, 0);
	KUNIT_ASSERT_NE(test, ep3->acs_cap, 0);

	pci_read_config_word(rp, rp->acs_cap + PCI_ACS_CAP, &cap);
	KUNIT_EXPECT_EQ(test, cap, PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF);
	pci_read_config_word(ep, ep->acs_cap + PCI_ACS_CAP, &cap);
	KUNIT_EXPECT_EQ(test, cap, ALL_ACS | 8 << 8);
	pci_read_config_word(ep1, ep1->acs_cap + PCI_ACS_CAP, &cap);
	KUNIT_EXPECT_EQ(test, cap, ALL_ACS);
	pci_read_config_word(ep3, ep3->acs_cap + PCI_ACS_CAP, &cap);
	KUNIT_EXPECT_EQ(test, cap, 0);
	pci_write_config_word(ep3, ep3->acs_cap + PCI_ACS_CTRL, 0xffff);
	KUNIT_EXPECT_EQ(test, acs_control(ep3), 0);

	KUNIT_EXPECT_EQ(test, acs_control(rp), PCI_ACS_RR);
	KUNIT_EXPECT_EQ(test, acs_control(ep), 0);
	KUNIT_EXPECT_EQ(test, acs_control(ep1), ALL_ACS);
	pci_fabric_set_acs(fabric, "rp", PCI_ACS_CR);
	KUNIT_EXPECT_EQ(test, acs_control(rp), PCI_ACS_CR);
	pci_write_config_word(rp, rp->acs_cap + PCI_ACS_CTRL, 0xffff);
	KUNIT_EXPECT_EQ(test, acs_control(rp),
			PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF);

	pci_fabric_set_egress(fabric, "ep1", 33, true);
	pci_fabric_set_egress(fabric, "ep1", 255, true);
	pci_fabric_set_egress(fabric, "ep1", 255, false);
	pci_read_config_dword(ep1, ep1->acs_cap + PCI_ACS_EGRESS_CTL_V + 4,
			      &vector);
	KUNIT_EXPECT_EQ(test, vector, BIT(1));
	pci_read_config_dword(ep1, ep1->acs_cap + PCI_ACS_EGRESS_CTL_V + 28,
			      &vector);
	KUNIT_EXPECT_EQ(test, vector, 0);
	pci_write_config_dword(ep, ep->acs_cap + PCI_ACS_EGRESS_CTL_V, ~0);
	pci_read_config_dword(ep, ep->acs_cap + PCI_ACS_EGRESS_CTL_V, &vector);
	KUNIT_EXPECT_EQ(test, vector, 0xff);
}

static void fabric_mps(struct kunit *test)
{
	static const struct pci_fabric_node nodes[] = {
		HOST("host"),
		NODE("rp", "host", ROOT_PORT, .mps = 256),
		NODE("ep", "rp", ENDPOINT, .mpss = 1024, .mps = 1024),
		NODE("ep1", "rp", ENDPOINT, .function = 1),
	};
	struct pci_fabric *fabric = pci_fabric_kunit(test, nodes,
						     ARRAY_SIZE(nodes));
	struct pci_dev *rp = dev(test, fabric, "rp");
	struct pci_dev *ep = dev(test, fabric, "ep");

	KUNIT_EXPECT_EQ(test, 128 << rp->pcie_mpss, 512);
	KUNIT_EXPECT_EQ(test, 128 << ep->pcie_mpss, 1024);
	KUNIT_EXPECT_EQ(test, pcie_get_mps(rp), 256);
	KUNIT_EXPECT_EQ(test, pcie_get_mps(ep), 1024);
	KUNIT_EXPECT_EQ(test, pcie_get_mps(dev(test, fabric, "ep1")), 128);
	KUNIT_EXPECT_EQ(test, pcie_get_readrq(ep), 512);

	pci_fabric_set_mps(fabric, "ep", 512);
	KUNIT_EXPECT_EQ(test, pcie_get_mps(ep), 512);
	KUNIT_EXPECT_EQ(test, pcie_set_mps(ep, 256), 0);
	KUNIT_EXPECT_EQ(test, pcie_get_mps(ep), 256);
	KUNIT_EXPECT_EQ(test, pcie_get_readrq(ep), 512);

	/* As across a reset of the device */
	KUNIT_ASSERT_EQ(test, pci_save_state(ep), 0);
	pci_fabric_set_mps(fabric, "ep", 128);
	pci_restore_state(ep);
	KUNIT_EXPECT_EQ(test, pcie_get_mps(ep), 256);
}

static void fabric_ports(struct kunit *test)
{
	static const char * const names[] = { "up", "a", "b", "empty" };
	struct pci_fabric *fabric = pci_fabric_kunit(test, small,
						     ARRAY_SIZE(small));
	u32 cap;
	int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		pcie_capability_read_dword(dev(test, fabric, names[i]),
					   PCI_EXP_LNKCAP, &cap);
		KUNIT_EXPECT_EQ(test, FIELD_GET(PCI_EXP_LNKCAP_PN, cap), i);
	}
}

/* Virtual functions come and go, with BARs that are parts of one */
static void fabric_vfs(struct kunit *test)
{
	static const struct pci_fabric_node nodes[] = {
		HOST("host", .node = 1),
		NODE("rp", "host", ROOT_PORT),
		NODE("pf", "rp", ENDPOINT, .bar = { { SZ_64K } }, .total_vfs = 4,
		     .vf_bar0 = SZ_2M, .vf_acs_cap = PCI_ACS_RR),
		NODE("pf1", "rp", ENDPOINT, .function = 1, .total_vfs = 200),
		NODE("rciep", "host", RC_ENDPOINT, .device = 2, .total_vfs = 2),
	};
	struct pci_fabric *fabric = pci_fabric_kunit(test, nodes,
						     ARRAY_SIZE(nodes));
	struct pci_dev *pf = dev(test, fabric, "pf"), *vf;
	u16 vendor;
	u8 devfn;
	int i;

	KUNIT_ASSERT_TRUE(test, pf->is_physfn);
	KUNIT_EXPECT_EQ(test, pci_sriov_get_totalvfs(pf), 4);
	KUNIT_EXPECT_PTR_EQ(test, pci_fabric_vf(fabric, "pf", 0), NULL);
	KUNIT_EXPECT_EQ(test, pci_fabric_enable_vfs(fabric, "pf", 5), -EINVAL);
	KUNIT_ASSERT_EQ(test, pci_fabric_enable_vfs(fabric, "pf", 3), 0);
	KUNIT_EXPECT_EQ(test, pci_fabric_enable_vfs(fabric, "pf", 3), -EBUSY);
	KUNIT_ASSERT_EQ(test, pci_fabric_enable_vfs(fabric, "pf1", 200), 0);
	KUNIT_ASSERT_EQ(test, pci_fabric_enable_vfs(fabric, "rciep", 2), 0);
	KUNIT_EXPECT_PTR_EQ(test, pci_fabric_vf(fabric, "pf", 3), NULL);

	for (i = 0; i < 3; i++) {
		vf = pci_fabric_vf(fabric, "pf", i);
		KUNIT_ASSERT_NOT_NULL(test, vf);
		KUNIT_EXPECT_TRUE(test, vf->is_virtfn);
		KUNIT_EXPECT_PTR_EQ(test, pci_physfn(vf), pf);
		KUNIT_EXPECT_EQ(test, vf->devfn, 8 + i);
		KUNIT_EXPECT_PTR_EQ(test, pci_upstream_bridge(vf),
				    dev(test, fabric, "rp"));
		KUNIT_EXPECT_EQ(test, pci_resource_len(vf, 0), SZ_2M);
		KUNIT_EXPECT_EQ(test, pci_resource_start(vf, 0),
				pci_resource_start(pf, PCI_IOV_RESOURCES) +
				i * SZ_2M);
		KUNIT_EXPECT_EQ(test, pci_pcie_type(vf), PCI_EXP_TYPE_ENDPOINT);
		KUNIT_EXPECT_NE(test, vf->acs_cap, 0);
	}
	/* The second function's come behind the first one's */
	KUNIT_EXPECT_EQ(test, pci_fabric_vf(fabric, "pf1", 0)->devfn, 12);
	KUNIT_EXPECT_EQ(test, pci_fabric_vf(fabric, "pf1", 199)->devfn, 211);

	vf = dev(test, fabric, "pf/1");
	KUNIT_EXPECT_PTR_EQ(test, vf, pci_fabric_vf(fabric, "pf", 1));
	pci_fabric_set_acs(fabric, "pf/1", PCI_ACS_RR);
	KUNIT_EXPECT_EQ(test, acs_control(vf), PCI_ACS_RR);
	KUNIT_EXPECT_EQ(test, acs_control(dev(test, fabric, "pf/2")), 0);

	devfn = vf->devfn;
	KUNIT_ASSERT_EQ(test, pci_fabric_enable_vfs(fabric, "pf", 0), 0);
	KUNIT_EXPECT_PTR_EQ(test, pci_fabric_vf(fabric, "pf", 1), NULL);
	KUNIT_EXPECT_NE(test, 0, pci_bus_read_config_word(pf->bus, devfn,
							  PCI_VENDOR_ID,
							  &vendor));
	KUNIT_ASSERT_EQ(test, pci_fabric_enable_vfs(fabric, "pf", 4), 0);
	KUNIT_EXPECT_NOT_NULL(test, pci_fabric_vf(fabric, "pf", 3));
	/* The others are left to the end of the test, or go with their PF */
	pci_fabric_unplug(fabric, "pf1");
	KUNIT_EXPECT_PTR_EQ(test, pci_fabric_vf(fabric, "pf1", 7), NULL);
}

/* Domains are told apart also above 16 bits, and free again at once */
static void fabric_domains(struct kunit *test)
{
	static const int domains[] = { 1, 0x10001, 0xffff, INT_MAX };
	struct pci_fabric *fabrics[ARRAY_SIZE(domains)];
	struct pci_dev *pdev;
	int i, round;

	for (round = 0; round < 2; round++) {
		for (i = 0; i < ARRAY_SIZE(domains); i++) {
			const struct pci_fabric_node host =
				HOST_IN("host", domains[i]);

			fabrics[i] = create_small(test, &host);
			KUNIT_EXPECT_NOT_ERR_OR_NULL(test, fabrics[i]);
		}
		for (i = 0; i < ARRAY_SIZE(domains); i++) {
			if (IS_ERR(fabrics[i]))
				continue;
			pdev = pci_get_domain_bus_and_slot(domains[i], 0,
							   PCI_DEVFN(1, 0));
			KUNIT_EXPECT_PTR_EQ(test, pdev,
					    pci_fabric_dev(fabrics[i], "rp"));
			KUNIT_EXPECT_EQ(test, pci_domain_nr(pdev->bus),
					domains[i]);
			pci_dev_put(pdev);
		}
		for (i = 0; i < ARRAY_SIZE(domains); i++)
			if (!IS_ERR(fabrics[i]))
				pci_fabric_destroy(fabrics[i]);
	}
}

/* All devices behind a host bridge are on its NUMA node */
static void fabric_numa(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct pci_dev *pdev;
	int node, i;

	if (num_online_nodes() < 2)
		kunit_skip(test, "one NUMA node only");
	for_each_online_node(node) {
		const struct pci_fabric_node host =
			HOST("host", .node = node + 1);

		fabric = create_small(test, &host);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, fabric);
		for (i = 1; i < ARRAY_SIZE(small); i++) {
			pdev = pci_fabric_dev(fabric, small[i].name);
			KUNIT_EXPECT_EQ(test, node, dev_to_node(&pdev->dev));
		}
		pci_fabric_destroy(fabric);
	}
	fabric = pci_fabric_kunit(test, small, ARRAY_SIZE(small));
	pdev = dev(test, fabric, "x");
	KUNIT_EXPECT_EQ(test, NUMA_NO_NODE, dev_to_node(&pdev->dev));
}

/* Several host bridges, two of them in one domain */
static void fabric_hosts(struct kunit *test)
{
	static const struct pci_fabric_node nodes[] = {
		HOST("one", .bus = 0),
		HOST("two", .bus = 0x80, .offset = SZ_8G),
		HOST_IN("three", 0x20000, .bus = 0x80),
		NODE("a", "one", RC_ENDPOINT, .bar = { { SZ_2M } }),
		NODE("b", "two", RC_ENDPOINT, .bar = { { SZ_2M } }),
		NODE("c", "three", ROOT_PORT),
		NODE("d", "c", ENDPOINT, .bar = { { SZ_2M } }),
	};
	struct pci_fabric *fabric;
	struct pci_dev *a, *b, *d;

	fabric = pci_fabric_kunit(test, nodes, ARRAY_SIZE(nodes));
	a = dev(test, fabric, "a");
	b = dev(test, fabric, "b");
	d = dev(test, fabric, "d");
	KUNIT_EXPECT_PTR_NE(test, pci_find_host_bridge(a->bus),
			    pci_find_host_bridge(b->bus));
	KUNIT_EXPECT_EQ(test, pci_domain_nr(a->bus), pci_domain_nr(b->bus));
	KUNIT_EXPECT_EQ(test, b->bus->number, 0x80);
	KUNIT_EXPECT_EQ(test, pci_domain_nr(d->bus), 0x20000);
	KUNIT_EXPECT_EQ(test, d->bus->number, 0x81);
	KUNIT_EXPECT_EQ(test, pci_resource_start(a, 0), pci_bus_address(a, 0));
	KUNIT_EXPECT_EQ(test, pci_resource_start(b, 0),
			pci_bus_address(b, 0) + SZ_8G);
	KUNIT_EXPECT_FALSE(test, resource_overlaps(&a->resource[0],
						   &b->resource[0]));
}

/* Reads fail until reset, and the PCI core reports an error */
static void fabric_fail_reads(struct kunit *test)
{
	struct pci_fabric *fabric = pci_fabric_kunit(test, small,
						     ARRAY_SIZE(small));
	struct pci_dev *a = dev(test, fabric, "a");
	u16 value;
	int where;

	pci_fabric_set_acs(fabric, "a", PCI_ACS_RR);
	pci_fabric_fail_reads(fabric, "a", true);
	KUNIT_EXPECT_EQ(test, PCIBIOS_DEVICE_NOT_FOUND,
			pci_read_config_word(a, a->acs_cap + PCI_ACS_CTRL,
					     &value));
	KUNIT_EXPECT_EQ(test, value, 0xffff);
	/* Not the neighbours', and writes get through */
	KUNIT_EXPECT_EQ(test, 0, pci_read_config_word(dev(test, fabric, "b"),
						      PCI_VENDOR_ID, &value));
	where = a->acs_cap + PCI_ACS_CTRL;
	pci_write_config_word(a, where, PCI_ACS_CR);
	KUNIT_EXPECT_EQ(test, PCI_ACS_CR,
			pci_fabric_read(fabric, "a", where, 2));

	pci_fabric_fail_reads(fabric, "a", false);
	KUNIT_EXPECT_EQ(test, 0, pci_read_config_word(a, a->acs_cap +
						      PCI_ACS_CTRL, &value));
	KUNIT_EXPECT_EQ(test, value, PCI_ACS_CR);
}

/* A device is replaced by another one, and one is plugged into an empty port */
static void fabric_plug(struct kunit *test)
{
	static const struct pci_fabric_node other =
		NODE("z", "a", ENDPOINT, .device_id = 0x4321,
		     .bar = { { SZ_8M } }, .acs_cap = ALL_ACS,
		     .acs_ctrl = PCI_ACS_CR, .mps = 256, .total_vfs = 1);
	static const struct pci_fabric_node fresh =
		NODE("w", "empty", ENDPOINT,
		     .bar = { { SZ_64M }, {}, { SZ_64K, PCI_FABRIC_BAR_32 } });
	static const struct pci_fabric_node second =
		NODE("w1", "empty", ENDPOINT, .function = 1);
	struct pci_fabric *fabric = pci_fabric_kunit(test, small,
						     ARRAY_SIZE(small));
	struct pci_dev *pdev = pci_dev_get(dev(test, fabric, "x"));
	struct pci_bus *bus = dev(test, fabric, "a")->subordinate;
	u16 value;
	int i;

	KUNIT_EXPECT_EQ(test, pci_fabric_plug(fabric, &other), -EEXIST);
	pci_fabric_unplug(fabric, "x");
	KUNIT_EXPECT_PTR_EQ(test, pci_fabric_dev(fabric, "x"), NULL);
	KUNIT_EXPECT_PTR_EQ(test, pci_get_slot(bus, 0), NULL);
	KUNIT_EXPECT_NE(test, 0, pci_bus_read_config_word(bus, 0, PCI_VENDOR_ID,
							  &value));

	KUNIT_ASSERT_EQ(test, pci_fabric_plug(fabric, &other), 0);
	KUNIT_EXPECT_PTR_NE(test, dev(test, fabric, "z"), pdev);
	pci_dev_put(pdev);
	pdev = dev(test, fabric, "z");
	KUNIT_EXPECT_EQ(test, pdev->device, 0x4321);
	KUNIT_EXPECT_EQ(test, acs_control(pdev), PCI_ACS_CR);
	KUNIT_EXPECT_EQ(test, pcie_get_mps(pdev), 256);
	KUNIT_EXPECT_EQ(test, pci_fabric_enable_vfs(fabric, "z", 1), 0);
	expect_bar(test, pdev, 0, &other.bar[0]);

	KUNIT_ASSERT_EQ(test, pci_fabric_plug(fabric, &fresh), 0);
	for (i = 0; i < PCI_STD_NUM_BARS; i++)
		expect_bar(test, dev(test, fabric, "w"), i, &fresh.bar[i]);

	/* Functions of one device, one by one */
	KUNIT_EXPECT_FALSE(test, dev(test, fabric, "w")->multifunction);
	KUNIT_ASSERT_EQ(test, pci_fabric_plug(fabric, &second), 0);
	KUNIT_EXPECT_TRUE(test, dev(test, fabric, "w")->multifunction);
	KUNIT_EXPECT_TRUE(test, dev(test, fabric, "w1")->multifunction);
	pci_fabric_unplug(fabric, "w");
	KUNIT_EXPECT_NOT_NULL(test, pci_fabric_dev(fabric, "w1"));
	KUNIT_ASSERT_EQ(test, pci_fabric_plug(fabric, &fresh), 0);
	KUNIT_EXPECT_TRUE(test, dev(test, fabric, "w")->multifunction);

	/* All below goes with a port */
	pci_fabric_unplug(fabric, "up");
	KUNIT_EXPECT_PTR_EQ(test, pci_fabric_dev(fabric, "w1"), NULL);
	KUNIT_EXPECT_PTR_EQ(test, pci_fabric_dev(fabric, "empty"), NULL);
	KUNIT_EXPECT_NOT_NULL(test, pci_fabric_dev(fabric, "rp"));
}

static void fabric_plug_errors(struct kunit *test)
{
	static const struct {
		struct pci_fabric_node node;
		int error;
	} cases[] = {
		{ NODE("b", "empty", ENDPOINT), -EEXIST },
		{ NODE("n", "b", ENDPOINT), -EEXIST },
		{ NODE("n", "empty", UPSTREAM), -EOPNOTSUPP },
		{ NODE("n", "empty", ENDPOINT, .function = 1), -EINVAL },
		{ NODE("n", "nobody", ENDPOINT), -EINVAL },
		{ NODE("n", "empty", ENDPOINT, .bar = { { SZ_8G } }), -ENOSPC },
		{ NODE("n", "empty", ENDPOINT, .total_vfs = 250), -ENOSPC },
	};
	struct pci_fabric *fabric = pci_fabric_kunit(test, small,
						     ARRAY_SIZE(small));
	struct pci_bus *bus = dev(test, fabric, "empty")->subordinate;
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		KUNIT_EXPECT_EQ_MSG(test, cases[i].error,
				    pci_fabric_plug(fabric, &cases[i].node),
				    "case %d", i);
		KUNIT_EXPECT_PTR_EQ_MSG(test, NULL,
					pci_fabric_dev(fabric, "n"), "case %d",
					i);
		KUNIT_EXPECT_TRUE_MSG(test, list_empty(&bus->devices),
				      "case %d", i);
	}
}

/* A BAR moves, in config space too, and a second time moves back */
static void fabric_move_bar(struct kunit *test)
{
	static const struct pci_fabric_bar bar = { SZ_4M };
	struct pci_fabric *fabric = pci_fabric_kunit(test, small,
						     ARRAY_SIZE(small));
	struct pci_dev *x = dev(test, fabric, "x");
	u64 before = pci_resource_start(x, 0), after;

	KUNIT_ASSERT_EQ(test, pci_fabric_move_bar(fabric, "x", 0), 0);
	after = pci_resource_start(x, 0);
	KUNIT_EXPECT_NE(test, before, after);
	expect_bar(test, x, 0, &bar);
	KUNIT_ASSERT_EQ(test, pci_fabric_move_bar(fabric, "x", 0), 0);
	KUNIT_EXPECT_EQ(test, before, pci_resource_start(x, 0));
	expect_bar(test, x, 0, &bar);

	KUNIT_EXPECT_EQ(test, pci_fabric_move_bar(fabric, "x", 1), -EINVAL);
	KUNIT_ASSERT_NOT_NULL(test, request_mem_region(before, SZ_4K, "test"));
	KUNIT_EXPECT_EQ(test, pci_fabric_move_bar(fabric, "x", 0), -EBUSY);
	release_mem_region(before, SZ_4K);
}

/* Where there is no other place, the BAR stays where it is */
static void fabric_move_bar_nowhere(struct kunit *test)
{
	static const struct pci_fabric_node large =
		NODE("n", "empty", ENDPOINT, .bar = { { SZ_64M } });
	static const struct pci_fabric_bar bar = { SZ_64M };
	struct pci_fabric *fabric = pci_fabric_kunit(test, small,
						     ARRAY_SIZE(small));
	u64 before;

	KUNIT_ASSERT_EQ(test, pci_fabric_plug(fabric, &large), 0);
	before = pci_resource_start(dev(test, fabric, "n"), 0);
	KUNIT_EXPECT_EQ(test, pci_fabric_move_bar(fabric, "n", 0), -ENOSPC);
	KUNIT_EXPECT_EQ(test, before,
			pci_resource_start(dev(test, fabric, "n"), 0));
	expect_bar(test, dev(test, fabric, "n"), 0, &bar);
}

/* struct pages can be made for what is in a BAR, and go with the device */
static void fabric_pages(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	struct pci_fabric *fabric;
	struct pci_dev *x;
	unsigned long pfn;
	void *memory;
	int round;

	for (round = 0; round < 2; round++) {
		fabric = pci_fabric_create(small, ARRAY_SIZE(small));
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, fabric);
		x = pci_fabric_dev(fabric, "x");
		pfn = PHYS_PFN(pci_resource_start(x, 0));
		pgmap = devm_kzalloc(&x->dev, sizeof(*pgmap), GFP_KERNEL);
		if (pgmap) {
			pgmap->type = MEMORY_DEVICE_GENERIC;
			pgmap->nr_range = 1;
			pgmap->range.start = pci_resource_start(x, 0);
			pgmap->range.end = pci_resource_end(x, 0);
			memory = devm_memremap_pages(&x->dev, pgmap);
			KUNIT_EXPECT_NOT_ERR_OR_NULL(test, memory);
			KUNIT_EXPECT_TRUE(test, pfn_valid(pfn) &&
					  is_zone_device_page(pfn_to_page(pfn)));
		}
		pci_fabric_destroy(fabric);
		KUNIT_EXPECT_PTR_EQ(test, NULL, get_dev_pagemap(pfn, NULL));
	}
}

/* Drivers' view of struct device: DMA to system memory, sysfs */
static void fabric_device(struct kunit *test)
{
	static struct attribute *attributes[] = { NULL };
	static const struct attribute_group group = {
		.name = "pci_fabric_test",
		.attrs = attributes,
	};
	struct pci_fabric *fabric = pci_fabric_kunit(test, small,
						     ARRAY_SIZE(small));
	struct pci_dev *x = dev(test, fabric, "x");
	struct scatterlist sg;
	void *memory;

	KUNIT_ASSERT_NOT_NULL(test, x->dev.dma_mask);
	KUNIT_EXPECT_EQ(test, dma_get_mask(&x->dev), DMA_BIT_MASK(32));
	KUNIT_ASSERT_EQ(test, 0, dma_set_mask(&x->dev, DMA_BIT_MASK(64)));
	memory = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, memory);
	sg_init_one(&sg, memory, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 1, dma_map_sg(&x->dev, &sg, 1, DMA_TO_DEVICE));
	KUNIT_EXPECT_EQ(test, sg_dma_address(&sg), virt_to_phys(memory));
	dma_unmap_sg(&x->dev, &sg, 1, DMA_TO_DEVICE);

	KUNIT_ASSERT_EQ(test, 0, sysfs_create_group(&x->dev.kobj, &group));
	sysfs_remove_group(&x->dev.kobj, &group);
}

/* A referenced device outlives the fabric, but its config space is gone */
static void fabric_reference(struct kunit *test)
{
	struct pci_fabric *fabric, *again;
	struct pci_dev *x;
	u16 value;

	fabric = pci_fabric_create(small, ARRAY_SIZE(small));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, fabric);
	x = pci_dev_get(pci_fabric_dev(fabric, "x"));
	pci_fabric_destroy(fabric);

	again = pci_fabric_create(small, ARRAY_SIZE(small));
	KUNIT_EXPECT_NOT_ERR_OR_NULL(test, again);
	KUNIT_EXPECT_NE(test, 0, pci_read_config_word(x, PCI_VENDOR_ID, &value));
	KUNIT_EXPECT_EQ(test, pci_domain_nr(x->bus), DOMAIN);
	pci_dev_put(x);
	if (!IS_ERR(again))
		pci_fabric_destroy(again);
}

/* Addresses are free again, so the next fabric gets the same */
static void fabric_released(struct kunit *test)
{
	struct pci_fabric *fabric;
	u64 first = 0, start;
	int i;

	for (i = 0; i < 3; i++) {
		fabric = pci_fabric_create(small, ARRAY_SIZE(small));
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, fabric);
		start = pci_resource_start(pci_fabric_dev(fabric, "x"), 0);
		pci_fabric_destroy(fabric);
		first = first ?: start;
		KUNIT_EXPECT_EQ(test, first, start);
	}
}

/* Switches in switches, @bridges below each other with the root port */
static struct pci_fabric *create_deep(struct kunit *test, unsigned int bridges)
{
	struct pci_fabric_node *nodes;
	unsigned int i, count = 2;
	char (*names)[8];

	nodes = kunit_kcalloc(test, bridges + 2, sizeof(*nodes), GFP_KERNEL);
	names = kunit_kcalloc(test, bridges, sizeof(*names), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, nodes);
	KUNIT_ASSERT_NOT_NULL(test, names);
	nodes[0] = (struct pci_fabric_node)HOST("host", .node = 1);
	nodes[1] = (struct pci_fabric_node)NODE("rp", "host", ROOT_PORT);
	for (i = 1; i < bridges; i++) {
		snprintf(names[i], sizeof(names[i]), "%u", i);
		nodes[count] = (struct pci_fabric_node)
			NODE(names[i], nodes[count - 1].name, UPSTREAM);
		if (i % 2 == 0)
			nodes[count].kind = PCI_FABRIC_DOWNSTREAM;
		count++;
	}
	nodes[count] = (struct pci_fabric_node)
		NODE("ep", nodes[count - 1].name, ENDPOINT,
		     .bar = { { SZ_2M } });
	return pci_fabric_create(nodes, count + 1);
}

static void fabric_deep(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct pci_dev *pdev;
	unsigned int hops = 0;

	fabric = create_deep(test, 99);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, fabric);
	for (pdev = pci_fabric_dev(fabric, "ep"); pdev;
	     pdev = pci_upstream_bridge(pdev))
		hops++;
	pci_fabric_destroy(fabric);
	KUNIT_EXPECT_EQ(test, hops, 100);

	fabric = create_deep(test, 101);
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(fabric), -EINVAL);
	if (!IS_ERR(fabric))
		pci_fabric_destroy(fabric);
}

/* 32 ports with eight functions each */
static void fabric_wide(struct kunit *test)
{
	struct pci_fabric_node *nodes;
	struct pci_fabric *fabric;
	unsigned int i, j, count = 0, functions = 0;
	char (*names)[8], *port, *name;
	struct pci_dev *pdev;

	nodes = kunit_kcalloc(test, 3 + 32 * 9, sizeof(*nodes), GFP_KERNEL);
	names = kunit_kcalloc(test, 32 * 9, sizeof(*names), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, nodes);
	KUNIT_ASSERT_NOT_NULL(test, names);
	nodes[count++] = (struct pci_fabric_node)HOST("host", .node = 1);
	nodes[count++] = (struct pci_fabric_node)NODE("rp", "host", ROOT_PORT);
	nodes[count++] = (struct pci_fabric_node)NODE("up", "rp", UPSTREAM);
	for (i = 0; i < 32; i++) {
		port = *names++;
		snprintf(port, sizeof(*names), "p%u", i);
		nodes[count++] = (struct pci_fabric_node)
			NODE(port, "up", DOWNSTREAM, .device = i, .port = i);
		for (j = 0; j < 8; j++) {
			name = *names++;
			snprintf(name, sizeof(*names), "%u.%u", i, j);
			nodes[count++] = (struct pci_fabric_node)
				NODE(name, port, ENDPOINT, .function = j,
				     .bar = { { SZ_2M } });
		}
	}
	fabric = pci_fabric_kunit(test, nodes, count);
	for (i = 3; i < count; i++) {
		pdev = dev(test, fabric, nodes[i].name);
		if (nodes[i].kind != PCI_FABRIC_ENDPOINT)
			continue;
		functions++;
		expect_bar(test, pdev, 0, &nodes[i].bar[0]);
	}
	KUNIT_EXPECT_EQ(test, functions, 256);
}

/* Invalid fabrics; each attempt must leave nothing behind */

static const struct {
	const char *what;
	int error;
	struct pci_fabric_node nodes[4];
} wrong[] = {
	{ "no name", -EINVAL, { HOST("") } },
	{ "name of a VF", -EINVAL, { HOST("a/0") } },
	{ "name twice", -EEXIST,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT),
	    NODE("b", "a", RC_ENDPOINT, .device = 1) } },
	{ "name of a host bridge", -EEXIST,
	  { HOST("a"), NODE("a", "a", RC_ENDPOINT) } },
	{ "below nothing", -EINVAL, { NODE("a", NULL, ROOT_PORT) } },
	{ "below what comes later", -EINVAL,
	  { NODE("b", "a", RC_ENDPOINT), HOST("a") } },
	{ "host below host", -EINVAL, { HOST("a"), HOST("b", .below = "a") } },
	{ "below an endpoint", -EINVAL,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT), NODE("c", "b", ENDPOINT) } },
	{ "switch below host", -EINVAL,
	  { HOST("a"), NODE("b", "a", UPSTREAM) } },
	{ "endpoint below upstream port", -EINVAL,
	  { HOST("a"), NODE("b", "a", ROOT_PORT), NODE("c", "b", UPSTREAM),
	    NODE("d", "c", ENDPOINT) } },
	{ "device 1 below a port", -EINVAL,
	  { HOST("a"), NODE("b", "a", ROOT_PORT),
	    NODE("c", "b", ENDPOINT, .device = 1) } },
	{ "device 32", -EINVAL,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT, .device = 32) } },
	{ "function 8", -EINVAL,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT, .function = 8) } },
	{ "address twice", -EEXIST,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT), NODE("c", "a", ROOT_PORT) } },
	{ "no function 0", -EINVAL,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT, .function = 1) } },
	{ "BAR size", -EINVAL,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT, .bar = { { SZ_1M + 1 } }) } },
	{ "BAR too small", -EINVAL,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT, .bar = { { 8 } }) } },
	{ "two BARs in one place", -EINVAL,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT,
			    .bar = { { SZ_1M }, { SZ_1M } }) } },
	{ "64-bit BAR at the end", -EINVAL,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT, .bar = { [5] = { SZ_1M } }) } },
	{ "third BAR of a bridge", -EINVAL,
	  { HOST("a"), NODE("b", "a", ROOT_PORT,
			    .bar = { [2] = { SZ_1M, PCI_FABRIC_BAR_32 } }) } },
	{ "I/O BAR too large", -EINVAL,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT,
			    .bar = { { SZ_512, PCI_FABRIC_BAR_IO } }) } },
	{ "32-bit BARs too large", -ENOSPC,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT,
			    .bar = { { SZ_1G, PCI_FABRIC_BAR_32 },
				     { SZ_1G, PCI_FABRIC_BAR_32 },
				     { SZ_1G, PCI_FABRIC_BAR_32 } }) } },
	{ "config space without a header", -EINVAL,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT, .config_size = 60) } },
	{ "config space that ends in a register", -EINVAL,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT, .config_size = 257) } },
	{ "below a root port to a chipset", -EINVAL,
	  { HOST("a"), NODE("b", "a", DMI_PORT), NODE("c", "b", ENDPOINT) } },
	{ "ACS control without capability", -EINVAL,
	  { HOST("a"), NODE("b", "a", ROOT_PORT, .acs_cap = PCI_ACS_RR,
			    .acs_ctrl = PCI_ACS_CR) } },
	{ "ACS of a PCI device", -EINVAL,
	  { HOST("a"), NODE("b", "a", PCI_DEVICE, .acs_cap = PCI_ACS_RR) } },
	{ "no such ACS bits", -EINVAL,
	  { HOST("a"), NODE("b", "a", ROOT_PORT, .acs_cap = 0x80) } },
	{ "payload", -EINVAL,
	  { HOST("a"), NODE("b", "a", ROOT_PORT, .mps = 129) } },
	{ "payload too large", -EINVAL,
	  { HOST("a"), NODE("b", "a", ROOT_PORT, .mps = 256, .mpss = 128) } },
	{ "VFs of a bridge", -EINVAL,
	  { HOST("a"), NODE("b", "a", ROOT_PORT, .total_vfs = 1) } },
	{ "VFs' BAR without VFs", -EINVAL,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT, .vf_bar0 = SZ_1M) } },
	{ "VFs' BAR size", -EINVAL,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT, .total_vfs = 1,
			    .vf_bar0 = SZ_1K) } },
	{ "too many VFs", -ENOSPC,
	  { HOST("a"), NODE("b", "a", RC_ENDPOINT, .total_vfs = 249) } },
	{ "domain below zero", -EINVAL, { HOST_IN("a", -1) } },
	{ "NUMA node", -EINVAL, { HOST("a", .node = MAX_NUMNODES) } },
	{ "the machine's own buses", -EBUSY, { HOST_IN("a", 0) } },
	{ "bus twice", -EBUSY, { HOST("a", .bus = 7), HOST("b", .bus = 7) } },
	{ "buses overlap", -EBUSY,
	  { HOST("a", .bus = 6), HOST("b", .bus = 7), NODE("c", "a", ROOT_PORT) } },
	{ "bus 256", -ENOSPC,
	  { HOST("a", .bus = 255), NODE("b", "a", ROOT_PORT) } },
	{ "offset not aligned", -EINVAL,
	  { HOST("a", .offset = SZ_1M),
	    NODE("b", "a", RC_ENDPOINT, .bar = { { SZ_2M } }) } },
	{ "offset too large", -EINVAL, { HOST("a", .offset = 1ULL << 60) } },
	{ "window too small", -ENOSPC,
	  { HOST("a", .window = SZ_1M),
	    NODE("b", "a", RC_ENDPOINT, .bar = { { SZ_2M } }) } },
};

static void fabric_errors(struct kunit *test)
{
	struct pci_fabric *fabric;
	size_t count;
	int i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		for (count = ARRAY_SIZE(wrong[i].nodes);
		     !wrong[i].nodes[count - 1].name; count--)
			;
		fabric = pci_fabric_create(wrong[i].nodes, count);
		KUNIT_EXPECT_TRUE_MSG(test, IS_ERR(fabric), "%s", wrong[i].what);
		if (IS_ERR(fabric))
			KUNIT_EXPECT_EQ_MSG(test, PTR_ERR(fabric),
					    wrong[i].error, "%s", wrong[i].what);
		else
			pci_fabric_destroy(fabric);
	}
	/* The domain is still free */
	pci_fabric_kunit(test, small, ARRAY_SIZE(small));
}

static struct kunit_case fabric_cases[] = {
	KUNIT_CASE(fabric_kinds),
	KUNIT_CASE(fabric_bars),
	KUNIT_CASE(fabric_windows),
	KUNIT_CASE(fabric_offset),
	KUNIT_CASE(fabric_window_size),
	KUNIT_CASE(fabric_class),
	KUNIT_CASE(fabric_config_size),
	KUNIT_CASE(fabric_acs),
	KUNIT_CASE(fabric_mps),
	KUNIT_CASE(fabric_ports),
	KUNIT_CASE(fabric_vfs),
	KUNIT_CASE(fabric_domains),
	KUNIT_CASE(fabric_numa),
	KUNIT_CASE(fabric_hosts),
	KUNIT_CASE(fabric_fail_reads),
	KUNIT_CASE(fabric_plug),
	KUNIT_CASE(fabric_plug_errors),
	KUNIT_CASE(fabric_move_bar),
	KUNIT_CASE(fabric_move_bar_nowhere),
	KUNIT_CASE(fabric_pages),
	KUNIT_CASE(fabric_device),
	KUNIT_CASE(fabric_reference),
	KUNIT_CASE(fabric_released),
	KUNIT_CASE(fabric_deep),
	KUNIT_CASE(fabric_wide),
	KUNIT_CASE(fabric_errors),
	{}
};

static struct kunit_suite fabric_suite = {
	.name = "pci_fabric",
	.test_cases = fabric_cases,
};

kunit_test_suite(fabric_suite);

MODULE_DESCRIPTION("KUnit tests of PCI fabrics made in software");
MODULE_LICENSE("GPL");
