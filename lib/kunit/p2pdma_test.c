// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of PCI peer-to-peer DMA: mappings, and the cache of verdicts; and
 * functions that all suites share (p2pdma_test.h).
 *
 * The devices exist in config space only (pci_fabric.h), so this tests what the
 * core answers, not that data arrives.
 */

#include <linux/array_size.h>
#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kallsyms.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/sprintf.h>
#include <linux/stdarg.h>
#include <linux/string.h>

#include <kunit/static_stub.h>

#include "p2pdma_test.h"

/* ---- Fabrics ---- */

#define SWITCH_ACS	(PCI_ACS_SV | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF | PCI_ACS_EC)
#define ROOT_PORT_ACS	(PCI_ACS_SV | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF)
#define FUNCTION_ACS	(PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_EC)

/* The offset makes bus addresses and CPU addresses differ. */
#define HOST(_name, _domain)						\
	{ .name = _name, .kind = PCI_FABRIC_HOST, .domain = _domain,	\
	  .node = 1, .offset = SZ_4G }
#define ROOT_PORT(_name, _below, _device)				\
	{ .name = _name, .below = _below, .kind = PCI_FABRIC_ROOT_PORT,	\
	  .device = _device, .acs_cap = ROOT_PORT_ACS,			\
	  .acs_ctrl = PCI_ACS_UF }
#define UPSTREAM(_name, _below)						\
	{ .name = _name, .below = _below, .kind = PCI_FABRIC_UPSTREAM }
#define DOWNSTREAM(_name, _below, _device, _port)			\
	{ .name = _name, .below = _below, .kind = PCI_FABRIC_DOWNSTREAM, \
	  .device = _device, .port = _port, .acs_cap = SWITCH_ACS }
#define DEVICE(_name, _below, _kind, _device, _function, _acs)		\
	{ .name = _name, .below = _below, .kind = _kind,		\
	  .device = _device, .function = _function, .acs_cap = _acs,	\
	  .bar[0].size = SZ_4M }
#define ENDPOINT(_name, _below)						\
	DEVICE(_name, _below, PCI_FABRIC_ENDPOINT, 0, 0, 0)

static const struct pci_fabric_node tree[] = {
	HOST("host", 1),
	ROOT_PORT("rp1", "host", 1),
	UPSTREAM("up", "rp1"),
	DOWNSTREAM("d1", "up", 0, 1),
	/* ACS of a single-function device must have no effect. */
	DEVICE("a", "d1", PCI_FABRIC_ENDPOINT, 0, 0, PCI_ACS_RR | PCI_ACS_CR),
	DOWNSTREAM("d2", "up", 1, 2),
	DEVICE("b", "d2", PCI_FABRIC_ENDPOINT, 0, 0, PCI_ACS_RR | PCI_ACS_CR),
	DOWNSTREAM("d3", "up", 2, 3),
	UPSTREAM("up3", "d3"),
	DOWNSTREAM("d31", "up3", 0, 4),
	ENDPOINT("c", "d31"),
	DOWNSTREAM("d32", "up3", 1, 5),
	ENDPOINT("d", "d32"),
	DOWNSTREAM("d4", "up", 3, 6),
	ROOT_PORT("rp2", "host", 2),
	ENDPOINT("e", "rp2"),
	ROOT_PORT("rp3", "host", 3),
	ENDPOINT("f", "rp3"),
	HOST("host2", 0x10000),
	ROOT_PORT("rp4", "host2", 1),
	ENDPOINT("g", "rp4"),
};

const struct p2pdma_test_fabric p2pdma_test_tree = { tree, ARRAY_SIZE(tree) };

static const struct pci_fabric_node chipset[] = {
	HOST("host", 1),
	DEVICE("id", "host", PCI_FABRIC_RC_ENDPOINT, 0, 0, 0),
	DEVICE("rc", "host", PCI_FABRIC_RC_ENDPOINT, 2, 0, 0),
	DEVICE("rc1", "host", PCI_FABRIC_RC_ENDPOINT, 2, 1, 0),
	ROOT_PORT("rp1", "host", 3),
	ENDPOINT("a", "rp1"),
	ROOT_PORT("rp2", "host", 4),
	ENDPOINT("b", "rp2"),
	HOST("host2", 2),
	DEVICE("id2", "host2", PCI_FABRIC_RC_ENDPOINT, 0, 0, 0),
	ROOT_PORT("rp4", "host2", 3),
	ENDPOINT("g", "rp4"),
};

const struct p2pdma_test_fabric p2pdma_test_chipset = {
	chipset, ARRAY_SIZE(chipset)
};

static const struct pci_fabric_node functions[] = {
	HOST("host", 1),
	ROOT_PORT("rp1", "host", 0),
	DEVICE("m0", "rp1", PCI_FABRIC_ENDPOINT, 0, 0, FUNCTION_ACS),
	DEVICE("m1", "rp1", PCI_FABRIC_ENDPOINT, 0, 1, FUNCTION_ACS),
	DEVICE("m2", "rp1", PCI_FABRIC_ENDPOINT, 0, 2, FUNCTION_ACS),
	ROOT_PORT("rp2", "host", 2),
	UPSTREAM("up", "rp2"),
	DOWNSTREAM("d1", "up", 0, 1),
	{ .name = "pf", .below = "d1", .kind = PCI_FABRIC_ENDPOINT,
	  .acs_cap = FUNCTION_ACS, .bar[0].size = SZ_4M,
	  .total_vfs = 2, .vf_bar0 = SZ_4M, .vf_acs_cap = FUNCTION_ACS },
	DOWNSTREAM("d2", "up", 1, 2),
	ENDPOINT("b", "d2"),
};

const struct p2pdma_test_fabric p2pdma_test_functions = {
	functions, ARRAY_SIZE(functions)
};

static const struct pci_fabric_node conventional[] = {
	HOST("host", 1),
	ROOT_PORT("rp1", "host", 1),
	UPSTREAM("up", "rp1"),
	DOWNSTREAM("d1", "up", 0, 1),
	{ .name = "pb", .below = "d1", .kind = PCI_FABRIC_PCI_BRIDGE },
	DEVICE("x", "pb", PCI_FABRIC_PCI_DEVICE, 1, 0, 0),
	DEVICE("y", "pb", PCI_FABRIC_PCI_DEVICE, 2, 0, 0),
	{ .name = "pbb", .below = "pb", .kind = PCI_FABRIC_PCI_PCI_BRIDGE,
	  .device = 3 },
	DEVICE("z", "pbb", PCI_FABRIC_PCI_DEVICE, 1, 0, 0),
	DOWNSTREAM("d2", "up", 1, 2),
	ENDPOINT("b", "d2"),
	ROOT_PORT("rp2", "host", 2),
	ENDPOINT("e", "rp2"),
};

const struct p2pdma_test_fabric p2pdma_test_conventional = {
	conventional, ARRAY_SIZE(conventional)
};

static struct pci_fabric_node *node_named(struct kunit *test,
					  struct pci_fabric_node *nodes,
					  size_t count, const char *name)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (!strcmp(nodes[i].name, name))
			return &nodes[i];
	}
	KUNIT_FAIL_AND_ABORT(test, "the fabric has no node %s", name);
	return NULL;
}

/* Apply a change to the table of nodes, before the fabric is made */
static void change_node(struct kunit *test, struct pci_fabric_node *nodes,
			size_t count, const struct p2pdma_test_change *change)
{
	struct pci_fabric_node *node;
	const char *slash = strchr(change->node, '/');

	/* A virtual function has no node in the table. */
	if (slash && change->what == P2PDMA_TEST_ACS_CAP) {
		node = node_named(test, nodes, count,
				  p2pdma_test_name(test, "%.*s",
						   (int)(slash - change->node),
						   change->node));
		node->vf_acs_cap = change->value;
	}
	if (slash)
		return;

	node = node_named(test, nodes, count, change->node);
	switch (change->what) {
	case P2PDMA_TEST_ID:
		node->vendor = change->value >> 16;
		node->device_id = change->value;
		break;
	case P2PDMA_TEST_ACS:
		node->acs_ctrl = change->value;
		break;
	case P2PDMA_TEST_ACS_CAP:
		node->acs_cap = change->value;
		break;
	case P2PDMA_TEST_MPS:
		node->mps = change->value;
		break;
	case P2PDMA_TEST_OFFSET:
		node->offset = change->value;
		break;
	case P2PDMA_TEST_VECTOR:
		node->acs_vector = change->value;
		break;
	case P2PDMA_TEST_EGRESS:
	case P2PDMA_TEST_FAIL:
	case P2PDMA_TEST_FAIL_ACS:
		break;
	}
}

/* Apply a change to a fabric that has been made */
static void change_fabric(struct kunit *test, struct pci_fabric *fabric,
			  const struct p2pdma_test_change *change)
{
	struct pci_dev *port;
	u32 bits;
	int where;

	switch (change->what) {
	case P2PDMA_TEST_ACS:
		if (strchr(change->node, '/'))
			pci_fabric_set_acs(fabric, change->node, change->value);
		break;
	case P2PDMA_TEST_EGRESS:
		/* By config space, so that it may be beyond the vector's end */
		port = p2pdma_test_dev(test, fabric, change->node);
		where = port->acs_cap + PCI_ACS_EGRESS_CTL_V +
			change->value / 32 * 4;
		bits = pci_fabric_read(fabric, change->node, where, 4);
		pci_fabric_write(fabric, change->node, where, 4,
				 bits | BIT(change->value % 32));
		break;
	case P2PDMA_TEST_FAIL:
		pci_fabric_fail_reads(fabric, change->node, true);
		break;
	case P2PDMA_TEST_FAIL_ACS:
		if (!P2PDMA_TEST_INTERNAL)
			kunit_skip(test, "this core would take for read what isn't");
		/* The PCI core refuses to read a word at an odd address. */
		p2pdma_test_dev(test, fabric, change->node)->acs_cap |= 1;
		break;
	default:
		break;
	}
}

/**
 * p2pdma_test_create - make a fabric for a test
 * @test: it goes with the test
 * @fabric: what to start from
 * @changes: what is different, up to the one without a node; or NULL
 *
 * All virtual functions are enabled, and all functions can send to any address.
 *
 * Context: may sleep.
 * Return: the fabric; ends the test where it can't be had.
 */
struct pci_fabric *p2pdma_test_create(struct kunit *test,
				      const struct p2pdma_test_fabric *fabric,
				      const struct p2pdma_test_change *changes)
{
	const struct p2pdma_test_change *change;
	size_t size = array_size(fabric->count, sizeof(*fabric->nodes));
	struct pci_fabric_node *nodes;
	struct pci_fabric *made;
	struct pci_dev *pdev;
	size_t i;
	int vf;

	nodes = kunit_kmalloc(test, size, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, nodes);
	memcpy(nodes, fabric->nodes, size);
	for (change = changes; change && change->node; change++)
		change_node(test, nodes, fabric->count, change);

	made = pci_fabric_kunit(test, nodes, fabric->count);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, made);

	for (i = 0; i < fabric->count; i++) {
		if (nodes[i].kind == PCI_FABRIC_HOST)
			continue;
		pdev = p2pdma_test_dev(test, made, nodes[i].name);
		dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));

		if (!nodes[i].total_vfs)
			continue;
		KUNIT_ASSERT_EQ(test, 0,
				pci_fabric_enable_vfs(made, nodes[i].name,
						      nodes[i].total_vfs));
		for (vf = 0; vf < nodes[i].total_vfs; vf++) {
			pdev = pci_fabric_vf(made, nodes[i].name, vf);
			KUNIT_ASSERT_NOT_NULL(test, pdev);
			dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
		}
	}

	for (change = changes; change && change->node; change++)
		change_fabric(test, made, change);
	return made;
}

/**
 * p2pdma_test_name - make a name, or a line of the log
 * @test: it goes with the test
 * @format: as for printf()
 *
 * Context: may sleep.
 * Return: the text; ends the test where it can't be had.
 */
const char *p2pdma_test_name(struct kunit *test, const char *format, ...)
{
	const size_t size = 240;
	char *name = kunit_kmalloc(test, size, GFP_KERNEL);
	va_list args;
	int len;

	KUNIT_ASSERT_NOT_NULL(test, name);
	va_start(args, format);
	len = vsnprintf(name, size, format, args);
	va_end(args);
	KUNIT_ASSERT_LT(test, len, size);
	return name;
}

/**
 * p2pdma_test_dev - find a function of a fabric
 * @test: the test
 * @fabric: the fabric
 * @name: name of a node; with /0, /1, ... behind it a virtual function
 *
 * Context: may sleep.
 * Return: the function, without a reference; ends the test where there is none.
 */
struct pci_dev *p2pdma_test_dev(struct kunit *test, struct pci_fabric *fabric,
				const char *name)
{
	struct pci_dev *pdev = pci_fabric_dev(fabric, name);

	KUNIT_ASSERT_NOT_NULL_MSG(test, pdev, "no device %s", name);
	return pdev;
}

/* ---- Providers, clients and mappings ---- */

KUNIT_DEFINE_ACTION_WRAPPER(unregister_child, platform_device_unregister,
			    struct platform_device *);

/**
 * p2pdma_test_child - make a device that is no PCI device
 * @test: it goes with the test
 * @parent: the device that it is a part of, or NULL
 *
 * Context: may sleep.
 * Return: the device; ends the test where it can't be had.
 */
struct device *p2pdma_test_child(struct kunit *test, struct device *parent)
{
	const struct platform_device_info info = {
		.parent = parent,
		.name = "p2pdma-test-child",
		.id = PLATFORM_DEVID_AUTO,
		.dma_mask = DMA_BIT_MASK(64),
	};
	struct platform_device *child = platform_device_register_full(&info);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, child);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, unregister_child,
							   child));
	return &child->dev;
}

/**
 * p2pdma_test_provider - make a function a provider of all of its BAR 0
 * @test: the test
 * @fabric: the fabric
 * @name: as for p2pdma_test_dev()
 *
 * Context: may sleep.
 * Return: the function; ends the test where it can't be a provider.
 */
struct pci_dev *p2pdma_test_provider(struct kunit *test,
				     struct pci_fabric *fabric,
				     const char *name)
{
	struct pci_dev *pdev = p2pdma_test_dev(test, fabric, name);

	KUNIT_ASSERT_EQ_MSG(test, 0, pci_p2pdma_add_resource(pdev, 0, 0, 0),
			    "%s can't be a provider", name);
	return pdev;
}

struct test_memory {
	struct pci_dev *provider;
	void *addr;
	size_t size;
};

static void free_memory(void *data)
{
	struct test_memory *memory = data;

	pci_free_p2pmem(memory->provider, memory->addr, memory->size);
}

/**
 * p2pdma_test_alloc - allocate memory of a provider for a test
 * @test: it is freed with the test.  Removing the provider before that would
 *	wait forever.
 * @provider: the provider
 * @size: bytes
 *
 * Context: may sleep.
 * Return: the memory; ends the test where it can't be had.
 */
void *p2pdma_test_alloc(struct kunit *test, struct pci_dev *provider,
			size_t size)
{
	struct test_memory *memory;

	memory = kunit_kzalloc(test, sizeof(*memory), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, memory);
	memory->provider = provider;
	memory->size = size;
	memory->addr = pci_alloc_p2pmem(provider, size);
	KUNIT_ASSERT_NOT_NULL(test, memory->addr);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_memory,
							   memory));
	return memory->addr;
}

/**
 * p2pdma_test_none_left - expect that memory can't be had
 * @test: the test
 * @provider: whose
 * @size: bytes
 *
 * Context: may sleep.
 */
void p2pdma_test_none_left(struct kunit *test, struct pci_dev *provider,
			   size_t size)
{
	void *addr = pci_alloc_p2pmem(provider, size);

	KUNIT_EXPECT_NULL_MSG(test, addr, "%zu bytes", size);
	/* Otherwise the provider's removal would wait for it */
	if (addr)
		pci_free_p2pmem(provider, addr, size);
}

/**
 * p2pdma_test_map_page - map one page of provider memory, and unmap it
 * @test: the test
 * @page: kernel address
 * @client: device that would access it
 * @addr: where to put the DMA address, or NULL
 *
 * Context: may sleep.
 * Return: which way it was mapped, %PCI_P2PDMA_MAP_NOT_SUPPORTED where not.
 */
enum pci_p2pdma_map_type p2pdma_test_map_page(struct kunit *test, void *page,
					      struct device *client,
					      dma_addr_t *addr)
{
	enum pci_p2pdma_map_type type = PCI_P2PDMA_MAP_THRU_HOST_BRIDGE;
	struct scatterlist sg;
	struct sg_table table = { .sgl = &sg, .nents = 1, .orig_nents = 1 };
	int ret;

	sg_init_table(&sg, 1);
	sg_set_page(&sg, virt_to_page(page), PAGE_SIZE, 0);
	ret = dma_map_sgtable(client, &table, DMA_BIDIRECTIONAL, 0);
	if (ret) {
		KUNIT_EXPECT_EQ(test, ret, -EREMOTEIO);
		return PCI_P2PDMA_MAP_NOT_SUPPORTED;
	}
	if (sg_dma_is_bus_address(&sg))
		type = PCI_P2PDMA_MAP_BUS_ADDR;
	if (addr)
		*addr = sg_dma_address(&sg);
	dma_unmap_sgtable(client, &table, DMA_BIDIRECTIONAL, 0);
	return type;
}

/**
 * p2pdma_test_map - which way does a client reach a provider, by mapping?
 * @test: the test
 * @provider: a provider with a page left
 * @client: device that would access it
 *
 * Context: may sleep.
 * Return: as p2pdma_test_map_page().
 */
enum pci_p2pdma_map_type p2pdma_test_map(struct kunit *test,
					 struct pci_dev *provider,
					 struct device *client)
{
	enum pci_p2pdma_map_type type;
	void *page = pci_alloc_p2pmem(provider, PAGE_SIZE);

	KUNIT_ASSERT_NOT_NULL(test, page);
	type = p2pdma_test_map_page(test, page, client, NULL);
	pci_free_p2pmem(provider, page, PAGE_SIZE);
	return type;
}

/* ---- Expected routes ---- */

#if P2PDMA_TEST_INTERNAL

/* Compare the verdict on two devices, and store it in @route */
void p2pdma_test_route(struct kunit *test, struct pci_fabric *fabric,
		       const char *client, const char *provider,
		       unsigned int tlp,
		       const struct p2pdma_test_expect *expect,
		       struct p2pdma_route *route)
{
	const bool both = expect->directions == P2PDMA_BOTH;
	struct pci_dev *blocking;
	struct p2pdma_route other;
	int i, ret;

	ret = pci_p2pdma_route_tlp(p2pdma_test_dev(test, fabric, provider),
				   &p2pdma_test_dev(test, fabric, client)->dev,
				   tlp, route);
	KUNIT_EXPECT_EQ_MSG(test, ret, expect->directions ? 0 : -EREMOTEIO,
			    "from %s to %s", client, provider);
	KUNIT_EXPECT_EQ_MSG(test, route->map_type, expect->type,
			    "from %s to %s", client, provider);
	KUNIT_EXPECT_EQ_MSG(test, route->directions, expect->directions,
			    "from %s to %s", client, provider);
	KUNIT_EXPECT_STREQ_MSG(test, p2pdma_reason_name(route->reason),
			       expect->reason, "from %s to %s", client,
			       provider);
	for (i = 0; i < ARRAY_SIZE(expect->blocking); i++) {
		blocking = expect->blocking[i] ?
			   p2pdma_test_dev(test, fabric, expect->blocking[i]) :
			   NULL;
		KUNIT_EXPECT_PTR_EQ_MSG(test, route->blocking[i], blocking,
					"of %s from %s to %s",
					i ? "completions" : "requests", client,
					provider);
	}

	KUNIT_EXPECT_STREQ_MSG(test, "",
			       p2pdma_test_answer(p2pdma_test_dev(test, fabric,
								  provider),
						  p2pdma_test_dev(test, fabric,
								  client),
						  tlp, route),
			       "from %s to %s", client, provider);

	/* All reasons, the one in front among them, or none */
	KUNIT_EXPECT_EQ_MSG(test, !route->reasons, both, "from %s to %s",
			    client, provider);
	if (!both && route->reason > P2PDMA_REASON_ADMIN_ALLOWED)
		KUNIT_EXPECT_TRUE_MSG(test, route->reasons & BIT(route->reason),
				      "from %s to %s", client, provider);
	/* What is said of other classes is what they are told. */
	for (i = 0; i < PCI_P2PDMA_TLP_CLASSES; i++) {
		pci_p2pdma_route_tlp(p2pdma_test_dev(test, fabric, provider),
				     &p2pdma_test_dev(test, fabric, client)->dev,
				     i, &other);
		KUNIT_EXPECT_EQ_MSG(test, !!(route->classes & BIT(i)),
				    other.map_type == route->map_type &&
				    !(route->directions & ~other.directions),
				    "from %s to %s, class %d", client, provider,
				    i);
	}
}

#endif

/* ---- Failing allocations ---- */

#ifdef CONFIG_FAILSLAB

struct failslab_setting {
	bool *ignore_wait;
	unsigned long *verbose;
	bool old_ignore_wait;
	unsigned long old_verbose;
	u32 *min_order;		/* NULL without CONFIG_FAIL_PAGE_ALLOC */
	u32 old_min_order;
	/* NULL without CONFIG_FAULT_INJECTION_STACKTRACE_FILTER */
	unsigned long *reject_start;
	unsigned long *reject_end;
};

/* The variable behind a debugfs file of an injector */
static void *injector_value(const char *injector, const char *name)
{
	struct dentry *dir = debugfs_lookup(injector, NULL);
	struct dentry *file = dir ? debugfs_lookup(name, dir) : NULL;
	void *value = file ? d_inode(file)->i_private : NULL;

	dput(file);
	dput(dir);
	return value;
}

static void restore_setting(void *data)
{
	struct failslab_setting *setting = data;

	current->fail_nth = 0;
	*setting->ignore_wait = setting->old_ignore_wait;
	*setting->verbose = setting->old_verbose;
	if (setting->min_order)
		*setting->min_order = setting->old_min_order;
	if (setting->reject_start) {
		*setting->reject_start = 0;
		*setting->reject_end = 0;
	}
}

/* DMA_API_DEBUG disables itself if one of its own allocations fails */
static void spare_dma_debug(struct failslab_setting *setting)
{
	unsigned long start = kallsyms_lookup_name("add_dma_entry");
	unsigned long size, offset;

	if (!setting->reject_start || !start ||
	    !kallsyms_lookup_size_offset(start, &size, &offset))
		return;
	*setting->reject_start = start;
	*setting->reject_end = start + size;
}

/**
 * p2pdma_test_inject_faults - let slab allocations fail by p2pdma_test_fail_nth()
 * @test: the test, at whose end things are as before; skipped where the kernel
 *	has no fault injection
 *
 * Context: may sleep.
 */
void p2pdma_test_inject_faults(struct kunit *test)
{
	struct failslab_setting *setting;

	setting = kunit_kzalloc(test, sizeof(*setting), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, setting);
	setting->ignore_wait = injector_value("failslab", "ignore-gfp-wait");
	setting->verbose = injector_value("failslab", "verbose");
	setting->reject_start = injector_value("failslab", "reject-start");
	setting->reject_end = injector_value("failslab", "reject-end");
	KUNIT_ASSERT_NOT_NULL(test, setting->ignore_wait);
	KUNIT_ASSERT_NOT_NULL(test, setting->verbose);
	setting->old_ignore_wait = *setting->ignore_wait;
	setting->old_verbose = *setting->verbose;
	/*
	 * A slab that is full gets pages, now and then: their failure would
	 * shift the count, and does no harm, as SLUB takes fewer pages then.
	 */
	setting->min_order = injector_value("fail_page_alloc", "min-order");
	if (setting->min_order) {
		setting->old_min_order = *setting->min_order;
		*setting->min_order = MAX_PAGE_ORDER + 1;
	}
	*setting->ignore_wait = false;
	*setting->verbose = 0;
	spare_dma_debug(setting);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test,
							   restore_setting,
							   setting));
}

/**
 * p2pdma_test_fail_nth - let an allocation of this task fail, in silence
 * @nth: which one from now on, 1 for the next; 0 for none
 *
 * Context: task.
 */
void p2pdma_test_fail_nth(unsigned int nth)
{
	current->fail_nth = nth;
}

/**
 * p2pdma_test_failed - has the allocation failed that was to
 *
 * Context: task.
 * Return: whether there have been that many since p2pdma_test_fail_nth().
 */
bool p2pdma_test_failed(void)
{
	return !current->fail_nth;
}

#else

void p2pdma_test_inject_faults(struct kunit *test)
{
	kunit_skip(test, "no fault injection in this kernel");
}

void p2pdma_test_fail_nth(unsigned int nth) { }

bool p2pdma_test_failed(void)
{
	return false;
}

#endif

/* ---- Binding and unbinding drivers ---- */

/**
 * p2pdma_test_probe - a driver is bound to a function
 * @test: the test
 * @pdev: the function, which has none
 *
 * What is registered from now on goes with the driver.
 *
 * Context: may sleep.
 * Return: the driver, for p2pdma_test_leave(); ends the test where it can't be
 * had.
 */
void *p2pdma_test_probe(struct kunit *test, struct pci_dev *pdev)
{
	void *driver = devres_open_group(&pdev->dev, NULL, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, driver);
	return driver;
}

/**
 * p2pdma_test_leave - the driver leaves a function, which stays
 * @test: the test
 * @pdev: the function
 * @driver: from p2pdma_test_probe()
 *
 * Context: may sleep.
 */
void p2pdma_test_leave(struct kunit *test, struct pci_dev *pdev, void *driver)
{
	KUNIT_EXPECT_GE(test, devres_release_group(&pdev->dev, driver), 0);
}

/* ---- Log messages ---- */

#if P2PDMA_TEST_INTERNAL

/* Called in any context, so it can't allocate memory */
static void log_line(struct device *client, const char *line)
{
	struct kunit *test = kunit_get_current_test();
	struct p2pdma_test_log *log = test->priv;

	if (log->count && client != log->about)
		log->others = true;
	log->about = client;
	if (log->count < P2PDMA_TEST_LOG_LINES)
		strscpy(log->lines[log->count], line);
	log->count++;
}

/**
 * p2pdma_test_log - keep what the core says about routes, instead of printing it
 * @test: until it ends; its priv is taken
 *
 * Context: may sleep.
 * Return: where it is kept; ends the test where there is no memory.
 */
struct p2pdma_test_log *p2pdma_test_log(struct kunit *test)
{
	struct p2pdma_test_log *log = kunit_kzalloc(test, sizeof(*log),
						    GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, log);
	test->priv = log;
	kunit_activate_static_stub(test, p2pdma_log, log_line);
	return log;
}

/**
 * p2pdma_test_said - how many lines have a text in them?
 * @test: the test; ends where there were more lines than the log keeps
 * @log: the log
 * @text: the text
 *
 * Context: any.
 * Return: how many.
 */
unsigned int p2pdma_test_said(struct kunit *test, struct p2pdma_test_log *log,
			      const char *text)
{
	unsigned int i, found = 0;

	KUNIT_ASSERT_LE(test, log->count, P2PDMA_TEST_LOG_LINES);
	for (i = 0; i < log->count; i++)
		found += !!strstr(log->lines[i], text);
	return found;
}

/**
 * p2pdma_test_log_empty - forget what has been said
 * @log: the log
 *
 * Context: any.
 */
void p2pdma_test_log_empty(struct p2pdma_test_log *log)
{
	log->count = 0;
	log->others = false;
}

#endif /* P2PDMA_TEST_INTERNAL */

/* ---- Policy of the root complex ---- */

#if P2PDMA_TEST_INTERNAL

static bool yes(void)
{
	return true;
}

static bool no(void)
{
	return false;
}

static void admit_none(void *data)
{
	p2pdma_admit_host_bridges("");
}

/**
 * p2pdma_test_root - say for a test what root complexes forward
 * @test: the test; afterwards all is as before
 * @cpu_allows: the processor forwards everything
 * @admitted: the administrator's host bridges, or NULL
 *
 * Memory isn't encrypted.  With another core this skips the test where that
 * can't be said.
 *
 * Context: may sleep.
 */
void p2pdma_test_root(struct kunit *test, bool cpu_allows, const char *admitted)
{
	if (cpu_allows)
		kunit_activate_static_stub(test, p2pdma_cpu_allows, yes);
	else
		kunit_activate_static_stub(test, p2pdma_cpu_allows, no);
	kunit_activate_static_stub(test, p2pdma_memory_encrypted, no);
	if (!admitted)
		return;
	KUNIT_ASSERT_GT(test, p2pdma_admit_host_bridges(admitted), 0);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, admit_none, NULL));
}

/**
 * p2pdma_test_encrypted - say for a test that system memory is encrypted
 * @test: the test, after p2pdma_test_root(); afterwards all is as before
 *
 * With another core this skips the test.
 *
 * Context: may sleep.
 */
void p2pdma_test_encrypted(struct kunit *test)
{
	kunit_activate_static_stub(test, p2pdma_memory_encrypted, yes);
}

#else

void p2pdma_test_root(struct kunit *test, bool cpu_allows, const char *admitted)
{
	if (cpu_allows)
		kunit_skip(test, "this core asks the real processor");
	if (admitted)
		kunit_skip(test, "this core has no administrator's list");
}

void p2pdma_test_encrypted(struct kunit *test)
{
	kunit_skip(test, "this core asks the real machine");
}

#endif /* P2PDMA_TEST_INTERNAL */

/* ---- Mapping ---- */

/* ID of root ports whose host bridge forwards */
#define LISTED		0x80862030

struct offset_case {
	const char *name;
	struct p2pdma_test_change change[P2PDMA_TEST_CHANGES];
	u64 offset;
};

static const struct offset_case offset_cases[] = {
	{ "no_offset",
	  { { "host", P2PDMA_TEST_OFFSET, 0 },
	    { "rp1", P2PDMA_TEST_ID, LISTED },
	    { "rp2", P2PDMA_TEST_ID, LISTED },
	    { "rp3", P2PDMA_TEST_ID, LISTED } }, 0 },
	{ "offset",
	  { { "host", P2PDMA_TEST_OFFSET, SZ_8G },
	    { "rp1", P2PDMA_TEST_ID, LISTED },
	    { "rp2", P2PDMA_TEST_ID, LISTED },
	    { "rp3", P2PDMA_TEST_ID, LISTED } }, SZ_8G },
};

KUNIT_ARRAY_PARAM_DESC(offset, offset_cases, name);

/* Through a switch a bus address, for memory that doesn't start its BAR too */
static void bus_address(struct kunit *test)
{
	const struct offset_case *param = test->param_value;
	struct pci_fabric *fabric;
	struct pci_dev *a, *b;
	dma_addr_t addr;
	u64 phys;
	void *page;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, param->change);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_dev(test, fabric, "b");
	KUNIT_ASSERT_EQ(test, 0, pci_p2pdma_add_resource(b, 0, SZ_2M, SZ_2M));
	page = p2pdma_test_alloc(test, b, PAGE_SIZE);
	phys = page_to_phys(virt_to_page(page));
	KUNIT_EXPECT_GE(test, phys, pci_resource_start(b, 0) + SZ_2M);
	KUNIT_EXPECT_LE(test, phys, pci_resource_end(b, 0));

	KUNIT_EXPECT_EQ(test, p2pdma_test_map_page(test, page, &a->dev, &addr),
			PCI_P2PDMA_MAP_BUS_ADDR);
	KUNIT_EXPECT_EQ(test, addr, phys - param->offset);
	KUNIT_EXPECT_EQ(test, pci_p2pmem_virt_to_bus(b, page),
			phys - param->offset);
}

/* Through the host bridge the CPU address, whatever the offset */
static void cpu_address(struct kunit *test)
{
	const struct offset_case *param = test->param_value;
	struct pci_fabric *fabric;
	struct pci_dev *e, *f;
	dma_addr_t addr;
	void *page;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, param->change);
	e = p2pdma_test_dev(test, fabric, "e");
	f = p2pdma_test_provider(test, fabric, "f");
	page = p2pdma_test_alloc(test, f, PAGE_SIZE);

	KUNIT_EXPECT_EQ(test, p2pdma_test_map_page(test, page, &e->dev, &addr),
			PCI_P2PDMA_MAP_THRU_HOST_BRIDGE);
	KUNIT_EXPECT_EQ(test, addr, page_to_phys(virt_to_page(page)));
}

#define MIXED_ENTRIES	5

/* Entries of a list: RAM, a neighbour, RAM, one across root ports, one's own */
static void mixed_list(struct kunit *test)
{
	static const struct p2pdma_test_change change[] = {
		{ "rp1", P2PDMA_TEST_ID, LISTED },
		{ "rp2", P2PDMA_TEST_ID, LISTED }, { }
	};
	static const char * const from[MIXED_ENTRIES] = {
		NULL, "b", NULL, "e", "a"
	};
	static const u64 offset[MIXED_ENTRIES] = { 0, SZ_4G, 0, 0, SZ_4G };
	struct scatterlist sg[MIXED_ENTRIES], *entry;
	struct sg_table table = {
		.sgl = sg, .nents = MIXED_ENTRIES, .orig_nents = MIXED_ENTRIES
	};
	struct pci_fabric *fabric;
	struct pci_dev *a, *pdev;
	void *page;
	int i;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, change);
	a = p2pdma_test_dev(test, fabric, "a");

	sg_init_table(sg, MIXED_ENTRIES);
	for (i = 0; i < MIXED_ENTRIES; i++) {
		if (from[i]) {
			pdev = p2pdma_test_provider(test, fabric, from[i]);
			page = p2pdma_test_alloc(test, pdev, PAGE_SIZE);
		} else {
			page = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);
			KUNIT_ASSERT_NOT_NULL(test, page);
		}
		sg_set_page(&sg[i], virt_to_page(page), PAGE_SIZE,
			    offset_in_page(page));
	}

	KUNIT_ASSERT_EQ(test, 0, dma_map_sgtable(&a->dev, &table,
						 DMA_BIDIRECTIONAL, 0));
	KUNIT_EXPECT_EQ(test, table.nents, MIXED_ENTRIES);
	for_each_sgtable_dma_sg(&table, entry, i) {
		KUNIT_EXPECT_EQ(test, sg_dma_is_bus_address(entry), !!offset[i]);
		KUNIT_EXPECT_EQ(test, sg_dma_address(entry),
				sg_phys(entry) - offset[i]);
		KUNIT_EXPECT_EQ(test, sg_dma_len(entry), PAGE_SIZE);
	}
	dma_unmap_sgtable(&a->dev, &table, DMA_BIDIRECTIONAL, 0);
}

/* One entry that can't be reached refuses the list. */
static void mixed_list_refused(struct kunit *test)
{
	struct scatterlist sg[3];
	struct sg_table table = { .sgl = sg, .nents = 3, .orig_nents = 3 };
	struct pci_fabric *fabric;
	struct pci_dev *a, *b, *e;
	void *ram;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_provider(test, fabric, "b");
	e = p2pdma_test_provider(test, fabric, "e");
	ram = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ram);

	sg_init_table(sg, 3);
	sg_set_page(&sg[0], virt_to_page(ram), SZ_1K, offset_in_page(ram));
	sg_set_page(&sg[1],
		    virt_to_page(p2pdma_test_alloc(test, b, PAGE_SIZE)),
		    PAGE_SIZE, 0);
	sg_set_page(&sg[2],
		    virt_to_page(p2pdma_test_alloc(test, e, PAGE_SIZE)),
		    PAGE_SIZE, 0);
	KUNIT_EXPECT_EQ(test, -EREMOTEIO,
			dma_map_sgtable(&a->dev, &table, DMA_TO_DEVICE, 0));
}

/* Check the reason, if the core reports one */
static void expect_reason(struct kunit *test, struct pci_dev *provider,
			  struct device *client, const char *reason)
{
#if P2PDMA_TEST_INTERNAL
	struct p2pdma_route route;

	pci_p2pdma_route(provider, client, &route);
	KUNIT_EXPECT_STREQ(test, p2pdma_reason_name(route.reason), reason);
#endif
}

struct mask_case {
	const char *name;
	int bar;
	bool last_byte;		/* the mask ends there, plus or minus ... */
	s64 mask;		/* ... this, or is this */
	enum pci_p2pdma_map_type type;
};

static const struct mask_case mask_cases[] = {
	{ "d14_dma_mask_of_32_bits", 0, false, DMA_BIT_MASK(32),
	  PCI_P2PDMA_MAP_NOT_SUPPORTED },
	{ "dma_mask_of_32_bits_and_bar_below", 2, false, DMA_BIT_MASK(32),
	  PCI_P2PDMA_MAP_BUS_ADDR },
	{ "dma_mask_to_the_last_byte", 0, true, 0, PCI_P2PDMA_MAP_BUS_ADDR },
	{ "d14_dma_mask_one_byte_short", 0, true, -1,
	  PCI_P2PDMA_MAP_NOT_SUPPORTED },
};

KUNIT_ARRAY_PARAM_DESC(mask, mask_cases, name);

static const struct pci_fabric_node mask_nodes[] = {
	HOST("host", 1),
	ROOT_PORT("rp1", "host", 1),
	UPSTREAM("up", "rp1"),
	DOWNSTREAM("d1", "up", 0, 1),
	ENDPOINT("client", "d1"),
	DOWNSTREAM("d2", "up", 1, 2),
	{ .name = "provider", .below = "d2", .kind = PCI_FABRIC_ENDPOINT,
	  .bar = { [0] = { SZ_4M }, [2] = { SZ_2M, PCI_FABRIC_BAR_32 } } },
};

static const struct p2pdma_test_fabric mask_fabric = {
	mask_nodes, ARRAY_SIZE(mask_nodes)
};

static void dma_mask(struct kunit *test)
{
	const struct mask_case *param = test->param_value;
	struct pci_dev *client, *provider;
	struct pci_fabric *fabric;
	u64 last, mask;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &mask_fabric, NULL);
	client = p2pdma_test_dev(test, fabric, "client");
	provider = p2pdma_test_dev(test, fabric, "provider");
	KUNIT_ASSERT_EQ(test, 0, pci_p2pdma_add_resource(provider, param->bar,
							 0, 0));

	last = pci_bus_address(provider, param->bar) +
	       pci_resource_len(provider, param->bar) - 1;
	KUNIT_ASSERT_EQ(test, last > DMA_BIT_MASK(32), param->bar == 0);
	mask = param->mask + (param->last_byte ? last : 0);
	KUNIT_ASSERT_EQ(test, 0, dma_set_mask(&client->dev, mask));

	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, provider, &client->dev),
			param->type);
	KUNIT_EXPECT_EQ(test,
			pci_p2pdma_distance(provider, &client->dev, false) >= 0,
			param->type == PCI_P2PDMA_MAP_BUS_ADDR);
	expect_reason(test, provider, &client->dev,
		      param->type == PCI_P2PDMA_MAP_BUS_ADDR ? "switch" :
							       "dma-mask");
}

/* A client may reach some of the BARs and not others. */
static void d14_dma_mask_between_bars(struct kunit *test)
{
	struct pci_dev *client, *provider;
	enum pci_p2pdma_map_type type;
	struct pci_fabric *fabric;
	unsigned int i, low = 0;
	void *page;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &mask_fabric, NULL);
	client = p2pdma_test_dev(test, fabric, "client");
	provider = p2pdma_test_provider(test, fabric, "provider");
	KUNIT_ASSERT_EQ(test, 0, pci_p2pdma_add_resource(provider, 2, 0, 0));
	KUNIT_ASSERT_EQ(test, 0, dma_set_mask(&client->dev, DMA_BIT_MASK(32)));

	/* Two pieces in one BAR, and one in the other */
	for (i = 0; i < 3; i++) {
		page = p2pdma_test_alloc(test, provider, SZ_2M);
		type = p2pdma_test_map_page(test, page, &client->dev, NULL);
		if (pci_p2pmem_virt_to_bus(provider, page) <= DMA_BIT_MASK(32)) {
			KUNIT_EXPECT_EQ(test, type, PCI_P2PDMA_MAP_BUS_ADDR);
			low++;
		} else {
			KUNIT_EXPECT_EQ(test, type, PCI_P2PDMA_MAP_NOT_SUPPORTED);
		}
	}
	KUNIT_EXPECT_EQ(test, low, 1);

	/* An allocation may lie in either region. */
	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance(provider, &client->dev, false),
			-1);
}

/* Pages of a moved BAR have its old addresses, so they must not be mapped. */
static void d15_bar_moved(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct pci_dev *a, *b;
	pci_bus_addr_t bus;
	void *page;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_provider(test, fabric, "b");
	page = p2pdma_test_alloc(test, b, PAGE_SIZE);
	bus = pci_p2pmem_virt_to_bus(b, page);
	KUNIT_EXPECT_NE(test, bus, 0);
	KUNIT_EXPECT_EQ(test, p2pdma_test_map_page(test, page, &a->dev, NULL),
			PCI_P2PDMA_MAP_BUS_ADDR);

	KUNIT_ASSERT_EQ(test, 0, pci_fabric_move_bar(fabric, "b", 0));
	KUNIT_EXPECT_EQ(test, p2pdma_test_map_page(test, page, &a->dev, NULL),
			PCI_P2PDMA_MAP_NOT_SUPPORTED);
	KUNIT_EXPECT_EQ(test, pci_p2pmem_virt_to_bus(b, page), 0);
	p2pdma_test_none_left(test, b, PAGE_SIZE);
	KUNIT_EXPECT_LT(test, pci_p2pdma_distance(b, &a->dev, false), 0);
	expect_reason(test, b, &a->dev, "bar-moved");

	KUNIT_ASSERT_EQ(test, 0, pci_fabric_move_bar(fabric, "b", 0));
	KUNIT_EXPECT_EQ(test, p2pdma_test_map_page(test, page, &a->dev, NULL),
			PCI_P2PDMA_MAP_BUS_ADDR);
	KUNIT_EXPECT_EQ(test, pci_p2pmem_virt_to_bus(b, page), bus);
}

/*
 * The route of a scatterlist is chosen without its direction, so a host bridge
 * that forwards only writes is not enough, not even to write.
 */
static void d12_write_only_host_bridge(struct kunit *test)
{
	static const struct p2pdma_test_change change[] = {
		{ "id", P2PDMA_TEST_ID, 0x808629c0 }, { }
	};
	struct pci_fabric *fabric;
	struct scatterlist sg;
	struct sg_table table = { .sgl = &sg, .nents = 1, .orig_nents = 1 };
	struct pci_dev *a, *b;

	p2pdma_test_root(test, false, "8086:29c0:w");
	fabric = p2pdma_test_create(test, &p2pdma_test_chipset, change);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_provider(test, fabric, "b");

	sg_init_table(&sg, 1);
	sg_set_page(&sg, virt_to_page(p2pdma_test_alloc(test, b, PAGE_SIZE)),
		    PAGE_SIZE, 0);
	KUNIT_EXPECT_EQ(test, -EREMOTEIO,
			dma_map_sgtable(&a->dev, &table, DMA_FROM_DEVICE, 0));
	KUNIT_EXPECT_EQ(test, -EREMOTEIO,
			dma_map_sgtable(&a->dev, &table, DMA_TO_DEVICE, 0));
	KUNIT_EXPECT_LT(test, pci_p2pdma_distance(b, &a->dev, false), 0);
}

/* A child of a PCI device has the device's distance and mappings. */
static void d21_child_device(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct device *child, *grandchild;
	struct pci_dev *a, *b, *e;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_provider(test, fabric, "b");
	e = p2pdma_test_provider(test, fabric, "e");
	child = p2pdma_test_child(test, &a->dev);
	grandchild = p2pdma_test_child(test, child);

	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance(b, child, false),
			pci_p2pdma_distance(b, &a->dev, false));
	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance(a, child, false), 0);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance(e, child, false), -1);
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, b, child),
			PCI_P2PDMA_MAP_BUS_ADDR);
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, b, grandchild),
			PCI_P2PDMA_MAP_BUS_ADDR);
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, e, child),
			PCI_P2PDMA_MAP_NOT_SUPPORTED);
}

static void not_pci(struct kunit *test)
{
	struct device *other = p2pdma_test_child(test, NULL);
	struct pci_fabric *fabric;
	struct pci_dev *b;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	b = p2pdma_test_provider(test, fabric, "b");
	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance(b, other, false), -1);
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, b, other),
			PCI_P2PDMA_MAP_NOT_SUPPORTED);
	expect_reason(test, b, other, "not-pci");
#if P2PDMA_TEST_INTERNAL
	struct p2pdma_route route;

	KUNIT_EXPECT_EQ(test, pci_p2pdma_route(b, other, &route), -EREMOTEIO);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_route(NULL, other, &route), -EINVAL);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_route(b, NULL, &route), -EINVAL);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_route(b, other, NULL), -EINVAL);
#endif
}

static struct kunit_case mapping_cases[] = {
	KUNIT_CASE_PARAM(bus_address, offset_gen_params),
	KUNIT_CASE_PARAM(cpu_address, offset_gen_params),
	KUNIT_CASE(mixed_list),
	KUNIT_CASE(mixed_list_refused),
	KUNIT_CASE_PARAM(dma_mask, mask_gen_params),
	KUNIT_CASE(d14_dma_mask_between_bars),
	KUNIT_CASE(d15_bar_moved),
	KUNIT_CASE(d12_write_only_host_bridge),
	KUNIT_CASE(d21_child_device),
	KUNIT_CASE(not_pci),
	{ }
};

static struct kunit_suite mapping_suite = {
	.name = "p2pdma_mapping",
	.test_cases = mapping_cases,
};

/* ---- Cached verdicts ---- */

struct change_context {
	struct pci_fabric *fabric;
	struct pci_dev *client;
	struct pci_dev *port;	/* above the client; its ACS control is what changes */
};

static void device_added(struct kunit *test, struct change_context *context)
{
	static const struct pci_fabric_node node = {
		.name = "new", .below = "d4", .kind = PCI_FABRIC_ENDPOINT
	};

	KUNIT_ASSERT_EQ(test, 0, pci_fabric_plug(context->fabric, &node));
}

static void device_removed(struct kunit *test, struct change_context *context)
{
	pci_fabric_unplug(context->fabric, "e");
}

static void state_restored(struct kunit *test, struct change_context *context)
{
	KUNIT_ASSERT_EQ(test, 0, pci_save_state(context->port));
	pci_restore_state(context->port);
}

static void acs_written_by_user(struct kunit *test,
				struct change_context *context)
{
	int where = context->port->acs_cap + PCI_ACS_CTRL;

	KUNIT_ASSERT_EQ(test, 0, pci_user_write_config_word(context->port, where,
							    PCI_ACS_RR));
}

/* ACS control is the upper half of these four bytes. */
static void acs_written_with_capability(struct kunit *test,
					struct change_context *context)
{
	int where = context->port->acs_cap + PCI_ACS_CAP;

	KUNIT_ASSERT_EQ(test, 0, pci_user_write_config_dword(context->port, where,
							     PCI_ACS_RR << 16));
}

static void egress_vector_written_by_user(struct kunit *test,
					  struct change_context *context)
{
	int where = context->port->acs_cap + PCI_ACS_EGRESS_CTL_V;

	KUNIT_ASSERT_EQ(test, 0, pci_user_write_config_byte(context->port, where,
							    0xff));
}

static void payload_set(struct kunit *test, struct change_context *context)
{
	KUNIT_ASSERT_EQ(test, 0, pcie_set_mps(context->client, 128));
}

static void payload_written_by_user(struct kunit *test,
				    struct change_context *context)
{
	int where = context->client->pcie_cap + PCI_EXP_DEVCTL;

	KUNIT_ASSERT_EQ(test, 0, pci_user_write_config_word(context->client,
							    where, 0));
}

static void bar_moved(struct kunit *test, struct change_context *context)
{
	KUNIT_ASSERT_EQ(test, 0, pci_fabric_move_bar(context->fabric, "f", 0));
}

struct change_case {
	const char *name;
	void (*change)(struct kunit *test, struct change_context *context);
};

static const struct change_case change_cases[] = {
	{ "d7_device_added", device_added },
	{ "d7_device_removed", device_removed },
	{ "d7_acs_rewritten", state_restored },
	{ "d7_acs_written_by_user", acs_written_by_user },
	{ "d7_acs_written_with_capability", acs_written_with_capability },
	{ "d7_egress_vector_written_by_user", egress_vector_written_by_user },
	{ "d7_payload_set", payload_set },
	{ "d7_payload_written_by_user", payload_written_by_user },
	{ "d7_bar_moved", bar_moved },
};

KUNIT_ARRAY_PARAM_DESC(change, change_cases, name);

/*
 * ACS is first changed behind the PCI core's back, so that the cached verdict
 * is wrong, and seen to be cached.  Then the change must invalidate it.
 */
static void forgotten(struct kunit *test)
{
	const struct change_case *param = test->param_value;
	struct change_context context;
	struct pci_fabric *fabric;
	struct pci_dev *provider;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	provider = p2pdma_test_provider(test, fabric, "b");
	context = (struct change_context) {
		.fabric = fabric,
		.client = p2pdma_test_dev(test, fabric, "a"),
		.port = p2pdma_test_dev(test, fabric, "d1"),
	};

	/* Another core may compute routes only when asked for a distance. */
	pci_p2pdma_distance(provider, &context.client->dev, false);
	KUNIT_ASSERT_EQ(test,
			p2pdma_test_map(test, provider, &context.client->dev),
			PCI_P2PDMA_MAP_BUS_ADDR);
	pci_fabric_set_acs(fabric, "d1", PCI_ACS_RR);
	KUNIT_ASSERT_EQ(test,
			p2pdma_test_map(test, provider, &context.client->dev),
			PCI_P2PDMA_MAP_BUS_ADDR);

	param->change(test, &context);
	KUNIT_EXPECT_EQ(test,
			p2pdma_test_map(test, provider, &context.client->dev),
			PCI_P2PDMA_MAP_NOT_SUPPORTED);
}

/* A verdict isn't valid for another device at the same address. */
static void d7_device_swapped(struct kunit *test)
{
	static const struct p2pdma_test_change change[] = {
		{ "m1", P2PDMA_TEST_ACS, PCI_ACS_RR }, { }
	};
	static const struct pci_fabric_node other = {
		.name = "other", .below = "rp1", .kind = PCI_FABRIC_ENDPOINT,
		.function = 1,
	};
	struct pci_fabric *fabric;
	struct pci_dev *m0, *m1;
	unsigned int devfn;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_functions, change);
	m0 = p2pdma_test_provider(test, fabric, "m0");
	m1 = p2pdma_test_dev(test, fabric, "m1");
	devfn = m1->devfn;
	pci_p2pdma_distance(m0, &m1->dev, false);
	KUNIT_ASSERT_EQ(test, p2pdma_test_map(test, m0, &m1->dev),
			PCI_P2PDMA_MAP_NOT_SUPPORTED);

	pci_fabric_unplug(fabric, "m1");
	KUNIT_ASSERT_EQ(test, 0, pci_fabric_plug(fabric, &other));
	m1 = p2pdma_test_dev(test, fabric, "other");
	KUNIT_ASSERT_EQ(test, m1->devfn, devfn);
	KUNIT_ASSERT_EQ(test, 0, dma_set_mask(&m1->dev, DMA_BIT_MASK(64)));
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, m0, &m1->dev),
			PCI_P2PDMA_MAP_BUS_ADDR);
}

/* A failed config read must not be cached. */
static void d8_read_heals(struct kunit *test)
{
	struct pci_fabric *fabric;
	struct pci_dev *a, *b;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, NULL);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_provider(test, fabric, "b");

	pci_fabric_fail_reads(fabric, "d1", true);
	pci_p2pdma_distance(b, &a->dev, false);
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, b, &a->dev),
			PCI_P2PDMA_MAP_NOT_SUPPORTED);
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, b, &a->dev),
			PCI_P2PDMA_MAP_NOT_SUPPORTED);
	pci_fabric_fail_reads(fabric, "d1", false);
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, b, &a->dev),
			PCI_P2PDMA_MAP_BUS_ADDR);
}

/* Two domains with the same low 16 bits, and devices at the same addresses */
static const struct pci_fabric_node twins[] = {
	HOST("host", 1),
	ROOT_PORT("rp1", "host", 1),
	UPSTREAM("up", "rp1"),
	DOWNSTREAM("d1", "up", 0, 1),
	ENDPOINT("client", "d1"),
	DOWNSTREAM("d2", "up", 1, 2),
	ENDPOINT("provider", "d2"),
	HOST("host2", 0x10001),
	ROOT_PORT("rp2", "host2", 1),
	UPSTREAM("up2", "rp2"),
	DOWNSTREAM("d3", "up2", 0, 1),
	ENDPOINT("client2", "d3"),
	DOWNSTREAM("d4", "up2", 1, 2),
	ENDPOINT("provider2", "d4"),
};

static const struct p2pdma_test_fabric twin_fabric = {
	twins, ARRAY_SIZE(twins)
};

static void d6_domains_beyond_16_bits(struct kunit *test)
{
	struct pci_dev *client, *client2, *provider, *provider2;
	struct pci_fabric *fabric;

	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &twin_fabric, NULL);
	client = p2pdma_test_dev(test, fabric, "client");
	client2 = p2pdma_test_dev(test, fabric, "client2");
	provider = p2pdma_test_provider(test, fabric, "provider");
	provider2 = p2pdma_test_provider(test, fabric, "provider2");
	KUNIT_ASSERT_EQ(test, pci_dev_id(client), pci_dev_id(client2));
	KUNIT_ASSERT_EQ(test, pci_domain_nr(client->bus), 1);
	KUNIT_ASSERT_EQ(test, pci_domain_nr(client2->bus), 0x10001);

	pci_p2pdma_distance(provider, &client->dev, false);
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, provider, &client->dev),
			PCI_P2PDMA_MAP_BUS_ADDR);
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, provider, &client2->dev),
			PCI_P2PDMA_MAP_NOT_SUPPORTED);

	pci_p2pdma_distance(provider2, &client->dev, false);
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, provider2, &client->dev),
			PCI_P2PDMA_MAP_NOT_SUPPORTED);
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, provider2, &client2->dev),
			PCI_P2PDMA_MAP_BUS_ADDR);
}

/* So many that some of them have the same hash in the cache */
#define MANY_PORTS	20
#define MANY_CLIENTS	(MANY_PORTS * 8)

/* By turns, eight below the provider's switch and eight below a root port */
static void many_clients(struct kunit *test)
{
	static const struct pci_fabric_node first[] = {
		HOST("host", 1),
		ROOT_PORT("rp", "host", 0),
		UPSTREAM("up", "rp"),
		DOWNSTREAM("d", "up", 0, 0),
		ENDPOINT("provider", "d"),
	};
	static char names[MANY_PORTS + MANY_CLIENTS][8];
	struct pci_fabric_node *nodes, *node;
	struct pci_dev *provider, *client;
	struct p2pdma_test_fabric many;
	struct pci_fabric *fabric;
	unsigned int i;

	nodes = kunit_kcalloc(test, ARRAY_SIZE(first) + ARRAY_SIZE(names),
			      sizeof(*nodes), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, nodes);
	memcpy(nodes, first, sizeof(first));
	node = &nodes[ARRAY_SIZE(first)];
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		unsigned int port = i < MANY_PORTS ? i : (i - MANY_PORTS) / 8;

		scnprintf(names[i], sizeof(names[0]), "n%u", i);
		if (i >= MANY_PORTS)
			*node++ = (struct pci_fabric_node)
				DEVICE(names[i], names[port],
				       PCI_FABRIC_ENDPOINT, 0, i & 7, 0);
		else if (i & 1)
			*node++ = (struct pci_fabric_node)
				ROOT_PORT(names[i], "host", i);
		else
			*node++ = (struct pci_fabric_node)
				DOWNSTREAM(names[i], "up", i + 1, i + 1);
	}

	p2pdma_test_root(test, false, NULL);
	many = (struct p2pdma_test_fabric) { nodes, node - nodes };
	fabric = p2pdma_test_create(test, &many, NULL);
	provider = p2pdma_test_provider(test, fabric, "provider");
	for (i = 0; i < 2 * MANY_CLIENTS; i++) {
		unsigned int number = i % MANY_CLIENTS;
		bool reached = !(number / 8 & 1);

		client = p2pdma_test_dev(test, fabric,
					 names[MANY_PORTS + number]);
		KUNIT_EXPECT_EQ(test, reached,
				pci_p2pdma_distance(provider, &client->dev,
						    false) >= 0);
	}
}

/* A new administrator's list invalidates verdicts, too. */
static void host_bridges_replaced(struct kunit *test)
{
#if P2PDMA_TEST_INTERNAL
	static const struct p2pdma_test_change change[] = {
		{ "id", P2PDMA_TEST_ID, 0x808629c0 }, { }
	};
	struct pci_fabric *fabric;
	struct pci_dev *a, *b;

	p2pdma_test_root(test, false, "8086:29c0");
	fabric = p2pdma_test_create(test, &p2pdma_test_chipset, change);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_provider(test, fabric, "b");
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, b, &a->dev),
			PCI_P2PDMA_MAP_THRU_HOST_BRIDGE);
	p2pdma_admit_host_bridges("8086:29c1");
	KUNIT_EXPECT_EQ(test, p2pdma_test_map(test, b, &a->dev),
			PCI_P2PDMA_MAP_NOT_SUPPORTED);
#else
	kunit_skip(test, "this core has no administrator's list");
#endif
}

/*
 * Without memory to cache it, a verdict is the same, and its message isn't
 * lost: it is logged each time.
 */
static void no_memory(struct kunit *test)
{
#if P2PDMA_TEST_INTERNAL
	static const struct p2pdma_test_change change[] = {
		{ "d3", P2PDMA_TEST_ACS, PCI_ACS_RR }, { }
	};
	struct p2pdma_test_log *log = p2pdma_test_log(test);
	struct pci_dev *a, *b, *c;
	struct pci_fabric *fabric;
	dma_addr_t addr;
	int i, distance;
	void *page;

	p2pdma_test_inject_faults(test);
	p2pdma_test_root(test, false, NULL);
	fabric = p2pdma_test_create(test, &p2pdma_test_tree, change);
	a = p2pdma_test_dev(test, fabric, "a");
	b = p2pdma_test_provider(test, fabric, "b");
	c = p2pdma_test_dev(test, fabric, "c");
	page = p2pdma_test_alloc(test, b, PAGE_SIZE);
	p2pdma_test_log_empty(log);

	for (i = 0; i < 2; i++) {
		p2pdma_test_fail_nth(1);
		distance = pci_p2pdma_distance(b, &a->dev, true);
		KUNIT_EXPECT_TRUE(test, p2pdma_test_failed());
		/* Four links and bridges */
		KUNIT_EXPECT_EQ(test, distance, 4);

		p2pdma_test_fail_nth(1);
		distance = pci_p2pdma_distance(b, &c->dev, true);
		KUNIT_EXPECT_TRUE(test, p2pdma_test_failed());
		KUNIT_EXPECT_EQ(test, distance, -1);
		KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "acs-redirect"),
				i + 1);

		p2pdma_test_fail_nth(1);
		KUNIT_EXPECT_EQ(test,
				p2pdma_test_map_page(test, page, &a->dev, &addr),
				PCI_P2PDMA_MAP_BUS_ADDR);
		KUNIT_EXPECT_TRUE(test, p2pdma_test_failed());
		KUNIT_EXPECT_EQ(test, addr, pci_p2pmem_virt_to_bus(b, page));
	}
	p2pdma_test_fail_nth(0);

	/* With memory the verdict is cached, and so is that it was logged. */
	pci_p2pdma_distance(b, &c->dev, true);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "acs-redirect"), 3);
	p2pdma_test_fail_nth(1);
	KUNIT_EXPECT_EQ(test, pci_p2pdma_distance(b, &c->dev, true), -1);
	KUNIT_EXPECT_FALSE(test, p2pdma_test_failed());
	p2pdma_test_fail_nth(0);
	KUNIT_EXPECT_EQ(test, p2pdma_test_said(test, log, "acs-redirect"), 3);
#else
	kunit_skip(test, "this core remembers in another way");
#endif
}

static struct kunit_case cache_cases[] = {
	KUNIT_CASE_PARAM(forgotten, change_gen_params),
	KUNIT_CASE(d7_device_swapped),
	KUNIT_CASE(d8_read_heals),
	KUNIT_CASE(d6_domains_beyond_16_bits),
	KUNIT_CASE(many_clients),
	KUNIT_CASE(host_bridges_replaced),
	KUNIT_CASE(no_memory),
	{ }
};

static struct kunit_suite cache_suite = {
	.name = "p2pdma_cache",
	.test_cases = cache_cases,
};

kunit_test_suites(&mapping_suite, &cache_suite);

MODULE_DESCRIPTION("KUnit tests of PCI peer-to-peer DMA");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
