// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the RDMA core's READ and WRITE contexts (<rdma/rw.h>) with peer
 * memory: which addresses the adapter gets in SGEs and in page lists of MRs, and
 * that a failure at any place leaves nothing mapped and no MR taken.
 *
 * Adapter and providers are devices of a PCI fabric made in software (pci_fabric.h).
 * The adapter's RDMA driver is in this file: it allocates MRs and keeps their page
 * lists, but posts nothing, so no data is moved.  Fabrics have no IOMMU: in the
 * cases on IOVAs the parameters client and provider name two PCI devices, the
 * client QEMU's edu device, the provider one with a CMB.  Other cases must be run
 * without these parameters; selftests/p2pdma/rdma_rw.c selects cases by
 * kunit.filter_glob.
 *
 * rdma_rw_ctx_init() takes scatterlists of pages.  For memory without pages the
 * cases on lists of physical memory do by hand what it does.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>

#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/p2pdma-phys-list.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string_choices.h>
#include <linux/tracepoint.h>
#include <net/net_namespace.h>
#include <rdma/ib_verbs.h>
#include <rdma/mr_pool.h>
#include <rdma/rw.h>

#include "p2pdma_internal.h"
#include "pci_fabric.h"

static char *client = "";
module_param(client, charp, 0444);
MODULE_PARM_DESC(client, "PCI device behind an IOMMU, as the adapter");

static char *provider = "";
module_param(provider, charp, 0444);
MODULE_PARM_DESC(provider, "PCI device with published memory");

/* ---- The adapter ---- */

/* Three adapters, as rdma_rw_ctx_init() treats them */
enum adapter_kind {
	IWARP,		/* READs need an MR */
	SGES,		/* no MRs */
	LONG_MRS,	/* READs of more than MAX_SGL_RD entries use MRs if there are any */
	INTEGRITY,	/* as SGES, with MRs for protection information, too */
};

static const char * const kind_names[] = {
	[IWARP] = "iwarp", [SGES] = "sges", [LONG_MRS] = "long_mrs",
	[INTEGRITY] = "integrity",
};

#define MAX_WRITE_SGE	4
#define MAX_READ_SGE	3
#define MAX_SGL_RD	5
#define NR_MRS		4	/* in a QP's pool, of each type */
#define MR_PAGES	256	/* the RDMA core asks for no more */
#define PI_PAGES	16
#define PORT		1
#define LOCAL_KEY	0x1d

struct adapter {
	struct ib_device ib;
	enum adapter_kind kind;
	int mrs;		/* that are allocated */
	u32 next_key;
	int fail_alloc;		/* which allocation of an MR fails, 1: the next */
	int fail_map;		/* which mapping of an MR fails, 1: the next */
	int fail_with;		/* -errno, or 0 for one entry less than asked for */
};

struct adapter_pd {
	struct ib_pd ib;
};

struct adapter_qp {
	struct ib_qp ib;
};

struct adapter_mr {
	struct ib_mr ib;
	u32 nr_pages;
	u32 max_pages;
	u64 pages[] __counted_by(max_pages);
};

static struct adapter *to_adapter(struct ib_device *ib)
{
	return container_of(ib, struct adapter, ib);
}

static struct adapter_mr *to_mr(struct ib_mr *ib)
{
	return container_of(ib, struct adapter_mr, ib);
}

static int adapter_query_device(struct ib_device *ib, struct ib_device_attr *attr,
				struct ib_udata *udata)
{
	attr->device_cap_flags = IB_DEVICE_MEM_MGT_EXTENSIONS;
	attr->kernel_cap_flags = IBK_LOCAL_DMA_LKEY;
	attr->max_qp_wr = 1024;
	attr->max_send_sge = MAX_WRITE_SGE;
	attr->max_sge_rd = MAX_READ_SGE;
	attr->max_fast_reg_page_list_len = 2 * MR_PAGES;
	attr->max_pi_fast_reg_page_list_len = PI_PAGES;
	if (to_adapter(ib)->kind == LONG_MRS)
		attr->max_sgl_rd = MAX_SGL_RD;
	return 0;
}

static int adapter_query_port(struct ib_device *ib, u32 port,
			      struct ib_port_attr *attr)
{
	attr->state = IB_PORT_ACTIVE;
	attr->gid_tbl_len = 1;
	return 0;
}

static int adapter_get_port_immutable(struct ib_device *ib, u32 port,
				      struct ib_port_immutable *immutable)
{
	immutable->gid_tbl_len = 1;
	immutable->core_cap_flags = to_adapter(ib)->kind == IWARP ?
				    RDMA_CORE_PORT_IWARP :
				    RDMA_CORE_PORT_RAW_PACKET;
	return 0;
}

static int adapter_query_gid(struct ib_device *ib, u32 port, int index,
			     union ib_gid *gid)
{
	memset(gid, 0, sizeof(*gid));
	gid->raw[0] = 2;
	return 0;
}

static int adapter_alloc_pd(struct ib_pd *pd, struct ib_udata *udata)
{
	return 0;
}

static int adapter_dealloc_pd(struct ib_pd *pd, struct ib_udata *udata)
{
	return 0;
}

static int adapter_create_qp(struct ib_qp *qp, struct ib_qp_init_attr *attr,
			     struct ib_udata *udata)
{
	qp->qp_num = 1;
	return 0;
}

static int adapter_destroy_qp(struct ib_qp *qp, struct ib_udata *udata)
{
	return 0;
}

static struct ib_mr *alloc_mr(struct ib_pd *pd, u32 max_pages)
{
	struct adapter *adapter = to_adapter(pd->device);
	struct adapter_mr *mr;

	if (adapter->fail_alloc && !--adapter->fail_alloc)
		return ERR_PTR(-ENOSPC);
	mr = kzalloc(struct_size(mr, pages, max_pages), GFP_KERNEL);
	if (!mr)
		return ERR_PTR(-ENOMEM);
	mr->max_pages = max_pages;
	adapter->next_key += 0x100;
	mr->ib.lkey = adapter->next_key;
	mr->ib.rkey = mr->ib.lkey;
	adapter->mrs++;
	return &mr->ib;
}

static struct ib_mr *adapter_alloc_mr(struct ib_pd *pd, enum ib_mr_type type,
				      u32 max_pages)
{
	return alloc_mr(pd, max_pages);
}

static struct ib_mr *adapter_alloc_mr_integrity(struct ib_pd *pd, u32 max_data,
						u32 max_meta)
{
	return alloc_mr(pd, max_data + max_meta);
}

static int adapter_dereg_mr(struct ib_mr *mr, struct ib_udata *udata)
{
	to_adapter(mr->device)->mrs--;
	kfree(to_mr(mr));
	return 0;
}

static int set_page(struct ib_mr *ib, u64 addr)
{
	struct adapter_mr *mr = to_mr(ib);

	if (mr->nr_pages == mr->max_pages)
		return -ENOMEM;
	mr->pages[mr->nr_pages++] = addr;
	return 0;
}

/* What a mapping that is to fail returns, @ret otherwise */
static int map_result(struct ib_mr *mr, int ret)
{
	struct adapter *adapter = to_adapter(mr->device);

	if (!adapter->fail_map || --adapter->fail_map)
		return ret;
	return adapter->fail_with ?: ret - 1;
}

static int adapter_map_mr_sg(struct ib_mr *mr, struct scatterlist *sg, int nents,
			     unsigned int *offset)
{
	to_mr(mr)->nr_pages = 0;
	return map_result(mr, ib_sg_to_pages(mr, sg, nents, offset, set_page));
}

/* The page list has the pages of the data, and then those of the PI. */
static int adapter_map_mr_sg_pi(struct ib_mr *mr, struct scatterlist *sg,
				int nents, unsigned int *offset,
				struct scatterlist *meta_sg, int meta_nents,
				unsigned int *meta_offset)
{
	u64 length = 0;
	int ret;

	to_mr(mr)->nr_pages = 0;
	ret = ib_sg_to_pages(mr, sg, nents, offset, set_page);
	if (ret == nents && meta_nents) {
		length = mr->length;
		ret = ib_sg_to_pages(mr, meta_sg, meta_nents, meta_offset,
				     set_page);
		nents = meta_nents;
	}
	mr->length += length;
	mr->iova = 0;
	return map_result(mr, ret == nents ? 0 : -EINVAL);
}

static const struct ib_device_ops adapter_ops = {
	.owner = THIS_MODULE,
	.driver_id = RDMA_DRIVER_UNKNOWN,

	.alloc_mr = adapter_alloc_mr,
	.alloc_mr_integrity = adapter_alloc_mr_integrity,
	.alloc_pd = adapter_alloc_pd,
	.create_qp = adapter_create_qp,
	.dealloc_pd = adapter_dealloc_pd,
	.dereg_mr = adapter_dereg_mr,
	.destroy_qp = adapter_destroy_qp,
	.get_port_immutable = adapter_get_port_immutable,
	.map_mr_sg = adapter_map_mr_sg,
	.map_mr_sg_pi = adapter_map_mr_sg_pi,
	.query_device = adapter_query_device,
	.query_gid = adapter_query_gid,
	.query_port = adapter_query_port,

	INIT_RDMA_OBJ_SIZE(ib_pd, adapter_pd, ib),
	INIT_RDMA_OBJ_SIZE(ib_qp, adapter_qp, ib),
};

static int adapter_add(enum adapter_kind kind, struct device *dma_device,
		       struct adapter **added)
{
	struct adapter *adapter = ib_alloc_device(adapter, ib);
	int ret;

	if (!adapter)
		return -ENOMEM;
	adapter->kind = kind;
	adapter->ib.node_type = RDMA_NODE_RNIC;
	adapter->ib.phys_port_cnt = 1;
	adapter->ib.num_comp_vectors = 1;
	adapter->ib.local_dma_lkey = LOCAL_KEY;
	adapter->ib.dev.parent = dma_device;
	ib_set_device_ops(&adapter->ib, &adapter_ops);

	/* The state of an iWARP port is that of its network device. */
	ret = ib_device_set_netdev(&adapter->ib, init_net.loopback_dev, PORT);
	if (!ret)
		ret = ib_register_device(&adapter->ib, "p2pdma_rw%d",
					 dma_device);
	if (ret) {
		ib_dealloc_device(&adapter->ib);
		return ret;
	}
	*added = adapter;
	return 0;
}

static void adapter_remove(struct adapter *adapter)
{
	ib_unregister_device(&adapter->ib);
	ib_dealloc_device(&adapter->ib);
}

/* ---- The fabric ---- */

#define OFFSET		SZ_4G	/* CPU address less bus address */
#define BAR_SIZE	SZ_4M
#define MEMORY_SIZE	SZ_2M	/* of a provider with pages */
#define RAM_SIZE	SZ_256K

#define ROOT_PORT(_name, _device, _vendor, _id)				\
	{ .name = _name, .below = "host", .kind = PCI_FABRIC_ROOT_PORT,	\
	  .device = _device, .vendor = _vendor, .device_id = _id }
/* The host bridge above such a root port is known to forward. */
#define LISTED(_name, _device)	ROOT_PORT(_name, _device, 0x8086, 0x2030)
#define DOWNSTREAM(_name, _device)					\
	{ .name = _name, .below = "up", .kind = PCI_FABRIC_DOWNSTREAM,	\
	  .device = _device }
#define ENDPOINT(_name, _below)						\
	{ .name = _name, .below = _below, .kind = PCI_FABRIC_ENDPOINT,	\
	  .bar[0].size = BAR_SIZE }

/*
 *	host --+-- rp1 -- up --+-- d1 -- adapter
 *	       |               +-- d2 -- peer
 *	       |               +-- d3 -- peer2
 *	       |               `-- d4 -- bare
 *	       +-- rp2 -- far
 *	       `-- rp3 -- hidden
 */
static const struct pci_fabric_node nodes[] = {
	{ .name = "host", .kind = PCI_FABRIC_HOST, .domain = 1, .node = 1,
	  .offset = OFFSET },
	LISTED("rp1", 1),
	{ .name = "up", .below = "rp1", .kind = PCI_FABRIC_UPSTREAM },
	DOWNSTREAM("d1", 0),
	ENDPOINT("adapter", "d1"),
	DOWNSTREAM("d2", 1),
	ENDPOINT("peer", "d2"),
	DOWNSTREAM("d3", 2),
	ENDPOINT("peer2", "d3"),
	DOWNSTREAM("d4", 3),
	ENDPOINT("bare", "d4"),
	LISTED("rp2", 2),
	ENDPOINT("far", "rp2"),
	ROOT_PORT("rp3", 3, 0, 0),
	ENDPOINT("hidden", "rp3"),
};

/* Kinds of memory, by the way to it */
enum place {
	PEER,		/* below the adapter's switch: bus addresses */
	PEER2,		/* the same, another provider */
	FAR,		/* through the host bridge: CPU addresses */
	HIDDEN,		/* no way */
	BARE,		/* as PEER, without struct pages */
	RAM,		/* system memory */
	PLACES
};

static const char * const place_names[PLACES] = {
	[PEER] = "peer", [PEER2] = "peer2", [FAR] = "far", [HIDDEN] = "hidden",
	[BARE] = "bare",
};

struct memory {
	struct pci_dev *owner;			/* NULL: system memory */
	struct p2pdma_provider *provider;
	void *addr;				/* NULL: has no pages */
	phys_addr_t phys;
	dma_addr_t dma;				/* the adapter's address for it */
	size_t left;				/* available beside it */
};

struct rw_test {
	struct pci_fabric *fabric;		/* NULL: real devices */
	struct pci_dev *client;
	struct iommu_domain *domain;		/* NULL: no IOMMU */
	u64 dma_mask;				/* of a real client */
	unsigned int max_seg_size;
	struct memory memory[PLACES];
	struct adapter *adapter;
	struct ib_pd *pd;
	struct ib_qp *qp;
	atomic_t mapped;	/* segments that the client has mapped */
};

/* ---- Counting mappings ---- */

#ifdef CONFIG_TRACEPOINTS

static void count(struct rw_test *t, struct device *dev, int segments)
{
	if (dev == &t->client->dev)
		atomic_add(segments, &t->mapped);
}

static void on_map_sg(void *data, struct device *dev, struct scatterlist *sg,
		      int nents, int ents, enum dma_data_direction dir,
		      unsigned long attrs)
{
	count(data, dev, nents);
}

static void on_unmap_sg(void *data, struct device *dev, struct scatterlist *sg,
			int nents, enum dma_data_direction dir,
			unsigned long attrs)
{
	count(data, dev, -nents);
}

static void on_map(void *data, struct device *dev, phys_addr_t phys,
		   dma_addr_t addr, size_t size, enum dma_data_direction dir,
		   unsigned long attrs)
{
	count(data, dev, 1);
}

static void on_unmap(void *data, struct device *dev, dma_addr_t addr,
		     size_t size, enum dma_data_direction dir,
		     unsigned long attrs)
{
	count(data, dev, -1);
}

static const struct {
	const char *name;
	void *probe;
} probes[] = {
	{ "dma_map_sg", on_map_sg },
	{ "dma_unmap_sg", on_unmap_sg },
	{ "dma_map_page", on_map },
	{ "dma_unmap_page", on_unmap },
	{ "dma_map_resource", on_map },
	{ "dma_unmap_resource", on_unmap },
};

static struct tracepoint *tracepoints[ARRAY_SIZE(probes)];

static void find_tracepoint(struct tracepoint *tracepoint, void *data)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		if (!strcmp(tracepoint->name, probes[i].name))
			tracepoints[i] = tracepoint;
	}
}

static void stop_counting(void *t)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		if (tracepoints[i])
			tracepoint_probe_unregister(tracepoints[i],
						    probes[i].probe, t);
	}
	tracepoint_synchronize_unregister();
}

static void start_counting(struct kunit *test, struct rw_test *t)
{
	int i, ret;

	for_each_kernel_tracepoint(find_tracepoint, NULL);
	KUNIT_ASSERT_EQ(test, kunit_add_action(test, stop_counting, t), 0);
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		KUNIT_ASSERT_NOT_NULL_MSG(test, tracepoints[i],
					  "no tracepoint %s", probes[i].name);
		ret = tracepoint_probe_register(tracepoints[i], probes[i].probe,
						t);
		KUNIT_ASSERT_EQ(test, ret, 0);
	}
}

#else

/* Then only the marks of bus addresses tell what is mapped. */
static void start_counting(struct kunit *test, struct rw_test *t) { }

#endif

/* ---- What a case has ---- */

static bool no(void)
{
	return false;
}

/* Bytes, as the core tells user space; or -errno */
static long long available_bytes(struct pci_dev *pdev)
{
	char path[80], text[32] = { };
	long long bytes;
	struct file *file;
	loff_t at = 0;
	int ret;

	snprintf(path, sizeof(path),
		 "/sys/bus/pci/devices/%s/p2pmem/available", pci_name(pdev));
	file = filp_open(path, O_RDONLY, 0);
	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = kernel_read(file, text, sizeof(text) - 1, &at);
	filp_close(file, NULL);
	if (ret >= 0)
		ret = kstrtoll(strim(text), 10, &bytes);
	return ret ? ret : bytes;
}

/* The address in the register of BAR 0, a 64-bit BAR */
static u64 bar_register(struct pci_fabric *fabric, const char *name)
{
	return (pci_fabric_read(fabric, name, PCI_BASE_ADDRESS_0, 4) & ~0xfU) |
	       (u64)pci_fabric_read(fabric, name, PCI_BASE_ADDRESS_1, 4) << 32;
}

static void make_provider(struct kunit *test, enum place place)
{
	struct rw_test *t = test->priv;
	struct memory *memory = &t->memory[place];
	const char *name = place_names[place];
	struct pci_dev *owner = pci_fabric_dev(t->fabric, name);
	phys_addr_t start;

	KUNIT_ASSERT_NOT_NULL(test, owner);
	memory->owner = owner;
	start = pci_resource_start(owner, 0);
	memory->phys = start;
	if (place != BARE) {
		KUNIT_ASSERT_EQ(test, pci_p2pdma_add_resource(owner, 0, 0, 0),
				0);
		memory->addr = pci_alloc_p2pmem(owner, MEMORY_SIZE);
		KUNIT_ASSERT_NOT_NULL(test, memory->addr);
		memory->phys = virt_to_phys(memory->addr);
		memory->left = BAR_SIZE - MEMORY_SIZE;
	} else {
		KUNIT_ASSERT_EQ(test, pcim_p2pdma_init(owner), 0);
	}
	memory->provider = pcim_p2pdma_provider(owner, 0);
	KUNIT_ASSERT_NOT_NULL(test, memory->provider);

	memory->dma = memory->phys;
	if (place != FAR)
		memory->dma += bar_register(t->fabric, name) - start;
}

static void make_fabric(struct kunit *test)
{
	struct rw_test *t = test->priv;
	enum place place;

	kunit_activate_static_stub(test, p2pdma_cpu_allows, no);
	kunit_activate_static_stub(test, p2pdma_memory_encrypted, no);
	t->fabric = pci_fabric_kunit(test, nodes, ARRAY_SIZE(nodes));
	t->client = pci_fabric_dev(t->fabric, "adapter");
	KUNIT_ASSERT_NOT_NULL(test, t->client);
	KUNIT_ASSERT_EQ(test, dma_set_mask_and_coherent(&t->client->dev,
							DMA_BIT_MASK(64)), 0);
	dma_set_max_seg_size(&t->client->dev, UINT_MAX);
	for (place = PEER; place < RAM; place++)
		make_provider(test, place);
}

KUNIT_DEFINE_ACTION_WRAPPER(put_pdev, pci_dev_put, struct pci_dev *);

static struct pci_dev *get_device_named(struct kunit *test, const char *name,
					const char *parameter)
{
	struct device *dev = bus_find_device_by_name(&pci_bus_type, NULL, name);

	if (!dev)
		KUNIT_FAIL_AND_ABORT(test, "%s=%s: there is no such PCI device",
				     parameter, name);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, put_pdev,
							to_pci_dev(dev)), 0);
	return to_pci_dev(dev);
}

static void restore_client(void *data)
{
	struct rw_test *t = data;

	dma_set_mask(&t->client->dev, t->dma_mask);
	dma_set_max_seg_size(&t->client->dev, t->max_seg_size);
}

static void find_devices(struct kunit *test)
{
	struct rw_test *t = test->priv;
	struct memory *peer = &t->memory[PEER];
	struct iommu_domain *domain;

	t->client = get_device_named(test, client, "client");
	domain = iommu_get_domain_for_dev(&t->client->dev);
	if (domain && domain->type & __IOMMU_DOMAIN_DMA_API)
		t->domain = domain;
	KUNIT_ASSERT_NOT_NULL_MSG(test, t->domain, "%s has no IOMMU", client);
	t->dma_mask = dma_get_mask(&t->client->dev);
	t->max_seg_size = dma_get_max_seg_size(&t->client->dev);
	KUNIT_ASSERT_EQ(test, kunit_add_action(test, restore_client, t), 0);
	dma_set_max_seg_size(&t->client->dev, UINT_MAX);

	peer->owner = get_device_named(test, provider, "provider");
	peer->addr = pci_alloc_p2pmem(peer->owner, MEMORY_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, peer->addr);
	peer->phys = virt_to_phys(peer->addr);
	peer->left = available_bytes(peer->owner);
}

static int rw_test_init(struct kunit *test)
{
	struct rw_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	if (*client)
		find_devices(test);
	else
		make_fabric(test);
	t->memory[RAM].addr = kunit_kzalloc(test, RAM_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->memory[RAM].addr);
	t->memory[RAM].phys = virt_to_phys(t->memory[RAM].addr);
	t->memory[RAM].dma = t->memory[RAM].phys;
	start_counting(test, t);
	return 0;
}

static void drop_qp(struct kunit *test)
{
	struct rw_test *t = test->priv;

	if (t->qp)
		KUNIT_EXPECT_EQ(test, ib_destroy_qp(t->qp), 0);
	t->qp = NULL;
}

static void drop_adapter(struct kunit *test)
{
	struct rw_test *t = test->priv;

	drop_qp(test);
	if (t->pd)
		ib_dealloc_pd(t->pd);
	t->pd = NULL;
	if (!t->adapter)
		return;
	KUNIT_EXPECT_EQ(test, t->adapter->mrs, 0);
	adapter_remove(t->adapter);
	t->adapter = NULL;
}

static struct ib_qp *create_qp(struct rw_test *t)
{
	struct ib_qp_init_attr attr = {
		.cap.max_send_sge = MAX_WRITE_SGE,
		.cap.max_rdma_ctxs = NR_MRS,
		.qp_type = IB_QPT_RC,
		.port_num = PORT,
	};

	if (t->adapter->kind == INTEGRITY)
		attr.create_flags |= IB_QP_CREATE_INTEGRITY_EN;
	return ib_create_qp(t->pd, &attr);
}

static void use_adapter(struct kunit *test, enum adapter_kind kind)
{
	struct rw_test *t = test->priv;
	struct ib_pd *pd;
	struct ib_qp *qp;

	drop_adapter(test);
	KUNIT_ASSERT_EQ(test, adapter_add(kind, &t->client->dev, &t->adapter),
			0);
	KUNIT_ASSERT_TRUE(test, ib_dma_pci_p2p_dma_supported(&t->adapter->ib));
	pd = ib_alloc_pd(&t->adapter->ib, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, pd);
	t->pd = pd;
	qp = create_qp(t);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, qp);
	t->qp = qp;
}

/* MRs in each of a QP's pools */
static int pool_size(struct rw_test *t)
{
	return t->adapter->kind == SGES ? 0 : NR_MRS;
}

static void rw_test_exit(struct kunit *test)
{
	struct rw_test *t = test->priv;
	struct memory *memory;
	enum place place;

	if (!t)
		return;
	drop_adapter(test);
	for (place = PEER; place < RAM; place++) {
		memory = &t->memory[place];
		if (!memory->addr)
			continue;
		pci_free_p2pmem(memory->owner, memory->addr, MEMORY_SIZE);
		KUNIT_EXPECT_EQ_MSG(test, available_bytes(memory->owner),
				    memory->left + MEMORY_SIZE, "%s",
				    place_names[place]);
	}
}

/* ---- Lists ---- */

/* Part of a list, by its offset in the case's memory of that kind */
struct part {
	enum place place;
	u32 at;
	u32 size;
};

#define PAGES(n)	((n) * SZ_4K)

struct list {
	const struct part *parts;
	struct scatterlist *sg;		/* NULL: for memory without pages */
	u32 count;
};

static struct list make_list(struct kunit *test, const struct part *parts,
			     u32 count)
{
	struct list list = { .parts = parts, .count = count };
	struct rw_test *t = test->priv;
	void *addr;
	u32 i;

	list.sg = kunit_kmalloc_array(test, count, sizeof(*list.sg), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, list.sg);
	sg_init_table(list.sg, count);
	for (i = 0; i < count; i++) {
		addr = t->memory[parts[i].place].addr;
		KUNIT_ASSERT_NOT_NULL(test, addr);
		addr += parts[i].at;
		sg_set_page(&list.sg[i], virt_to_page(addr), parts[i].size,
			    offset_in_page(addr));
	}
	return list;
}

/* A list of single pages, one after the other from all that can be reached */
static struct list make_pages(struct kunit *test, u32 count)
{
	static const enum place from[] = { PEER, FAR, PEER2 };
	struct part *parts;
	u32 i;

	parts = kunit_kmalloc_array(test, count, sizeof(*parts), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, parts);
	for (i = 0; i < count; i++) {
		parts[i].place = from[i % ARRAY_SIZE(from)];
		/* Backwards, so that adjacent entries never can be merged */
		parts[i].at = MEMORY_SIZE - PAGES(1 + i / ARRAY_SIZE(from));
		parts[i].size = PAGES(1);
	}
	return make_list(test, parts, count);
}

static u64 list_size(const struct list *list)
{
	u64 size = 0;
	u32 i;

	for (i = 0; i < list->count; i++)
		size += list->parts[i].size;
	return size;
}

/* Position in a list's bytes */
struct cursor {
	const struct list *list;
	u32 part;
	u32 at;
	u64 done;
};

static struct cursor start_at(const struct list *list, u64 offset)
{
	struct cursor cursor = { .list = list };

	while (cursor.part < list->count &&
	       offset >= list->parts[cursor.part].size)
		offset -= list->parts[cursor.part++].size;
	cursor.at = offset;
	return cursor;
}

/* The physical address behind a DMA address of the client, or 0 */
static phys_addr_t behind(struct rw_test *t, dma_addr_t addr)
{
	return iommu_iova_to_phys(t->domain, addr);
}

/* Is byte @at of a part at this DMA address? */
static bool is_at(struct rw_test *t, const struct part *part, u32 at, u64 addr)
{
	const struct memory *memory = &t->memory[part->place];

	if (t->domain)
		return behind(t, addr) == memory->phys + part->at + at;
	return addr == memory->dma + part->at + at;
}

/* Are the list's next @size bytes at these DMA addresses?  Goes on behind them. */
static bool goes_on_at(struct rw_test *t, struct cursor *cursor, u64 addr,
		       u64 size)
{
	const struct part *part;
	u64 step;

	for (; size; size -= step) {
		if (cursor->part == cursor->list->count)
			return false;
		part = &cursor->list->parts[cursor->part];
		if (!is_at(t, part, cursor->at, addr))
			return false;
		step = min(size, part->size - cursor->at);
		/* Only the bytes of a page have to be together behind an IOMMU. */
		if (t->domain)
			step = min(step, PAGE_SIZE - offset_in_page(addr));
		addr += step;
		cursor->done += step;
		cursor->at += step;
		if (cursor->at == part->size) {
			cursor->part++;
			cursor->at = 0;
		}
	}
	return true;
}

/* The same, where an MR maps [addr, +size) by its page list from *page on */
static bool goes_on_in(struct rw_test *t, struct cursor *cursor,
		       struct adapter_mr *mr, u32 *page, u64 addr, u64 size)
{
	u64 in_page = addr & (mr->ib.page_size - 1), step;

	for (; size; size -= step) {
		step = min(size, mr->ib.page_size - in_page);
		if (*page == mr->nr_pages ||
		    !goes_on_at(t, cursor, mr->pages[*page] + in_page, step))
			return false;
		++*page;
		in_page = 0;
	}
	return true;
}

/* ---- Contexts ---- */

#define REMOTE_ADDR	0x123456789000ULL
#define REMOTE_KEY	0x4321

/* Work requests of a context */
struct wrs {
	int regs;
	int invalidations;
	int transfers;
};

static int init_ctx(struct rw_test *t, struct rdma_rw_ctx *ctx,
		    const struct list *list, u32 offset,
		    enum dma_data_direction dir)
{
	return rdma_rw_ctx_init(ctx, t->qp, PORT, list->sg, list->count, offset,
				REMOTE_ADDR, REMOTE_KEY, dir);
}

static void destroy_ctx(struct rw_test *t, struct rdma_rw_ctx *ctx,
			const struct list *list, enum dma_data_direction dir)
{
	rdma_rw_ctx_destroy(ctx, t->qp, PORT, list->sg, list->count, dir);
}

static bool sges_match(struct rw_test *t, const struct ib_send_wr *wr,
		       struct cursor *cursor)
{
	int i;

	for (i = 0; i < wr->num_sge; i++) {
		if (wr->sg_list[i].lkey != LOCAL_KEY ||
		    !goes_on_at(t, cursor, wr->sg_list[i].addr,
				wr->sg_list[i].length))
			return false;
	}
	return true;
}

/* Check each work request from @wr on, up to @end */
static struct wrs check_wrs(struct kunit *test, const struct ib_send_wr *wr,
			    const struct ib_send_wr *end,
			    const struct list *list, u32 offset,
			    enum dma_data_direction dir)
{
	struct rw_test *t = test->priv;
	bool iwarp = t->adapter->kind == IWARP;
	u32 max_sge = dir == DMA_TO_DEVICE ? MAX_WRITE_SGE : MAX_READ_SGE;
	enum ib_wr_opcode opcode = dir == DMA_TO_DEVICE ? IB_WR_RDMA_WRITE :
				   iwarp ? IB_WR_RDMA_READ_WITH_INV :
					   IB_WR_RDMA_READ;
	struct cursor cursor = start_at(list, offset);
	u32 invalidated = 0, page = 0;
	struct adapter_mr *mr = NULL;
	struct wrs found = { };

	for (; wr && wr != end; wr = wr->next) {
		if (wr->opcode == IB_WR_LOCAL_INV) {
			KUNIT_EXPECT_NULL(test, mr);
			invalidated = wr->ex.invalidate_rkey;
			found.invalidations++;
			continue;
		}
		if (wr->opcode == IB_WR_REG_MR) {
			KUNIT_EXPECT_NULL(test, mr);
			mr = to_mr(reg_wr(wr)->mr);
			KUNIT_EXPECT_EQ(test, reg_wr(wr)->key, mr->ib.lkey);
			KUNIT_EXPECT_EQ(test, reg_wr(wr)->access,
					IB_ACCESS_LOCAL_WRITE |
					(iwarp ? IB_ACCESS_REMOTE_WRITE : 0));
			/* What is invalidated is the key of the last use. */
			if (invalidated)
				KUNIT_EXPECT_EQ(test, ib_inc_rkey(invalidated),
						mr->ib.lkey);
			invalidated = 0;
			found.regs++;
			continue;
		}

		KUNIT_EXPECT_EQ(test, wr->opcode, opcode);
		KUNIT_EXPECT_EQ(test, rdma_wr(wr)->rkey, REMOTE_KEY);
		KUNIT_EXPECT_EQ(test, rdma_wr(wr)->remote_addr,
				REMOTE_ADDR + cursor.done);
		KUNIT_EXPECT_GT(test, wr->num_sge, 0);
		KUNIT_EXPECT_LE(test, wr->num_sge, mr ? 1 : max_sge);
		if (mr) {
			KUNIT_EXPECT_EQ(test, wr->sg_list->lkey, mr->ib.lkey);
			KUNIT_EXPECT_EQ(test, wr->sg_list->addr, mr->ib.iova);
			page = 0;
			KUNIT_EXPECT_TRUE_MSG(test,
					      goes_on_in(t, &cursor, mr, &page,
							 wr->sg_list->addr,
							 wr->sg_list->length),
					      "MR %d, page %u, part %u",
					      found.regs, page, cursor.part);
			KUNIT_EXPECT_EQ(test, page, mr->nr_pages);
			if (opcode == IB_WR_RDMA_READ_WITH_INV)
				KUNIT_EXPECT_EQ(test, mr->ib.rkey,
						wr->ex.invalidate_rkey + 1);
		} else {
			KUNIT_EXPECT_TRUE_MSG(test, sges_match(t, wr, &cursor),
					      "transfer %d, part %u",
					      found.transfers, cursor.part);
		}
		mr = NULL;
		found.transfers++;
	}
	KUNIT_EXPECT_PTR_EQ(test, wr, end);
	KUNIT_EXPECT_EQ(test, cursor.done, list_size(list) - offset);
	return found;
}

static void expect_marks(struct kunit *test, const struct list *list, bool mapped)
{
	struct rw_test *t = test->priv;
	enum place place;
	bool by_bus;
	u32 i;

	for (i = 0; list->sg && i < list->count; i++) {
		place = list->parts[i].place;
		by_bus = mapped && !t->domain && (place == PEER || place == PEER2);
		KUNIT_EXPECT_EQ_MSG(test, sg_dma_is_bus_address(&list->sg[i]),
				    by_bus, "entry %u", i);
	}
}

/* No MR is taken, nothing is mapped, no memory is gone */
static void expect_nothing_kept(struct kunit *test, const struct list *list,
				const char *after)
{
	struct rw_test *t = test->priv;
	enum place place;

	expect_marks(test, list, false);
	KUNIT_EXPECT_EQ_MSG(test, atomic_read(&t->mapped), 0, "after %s", after);
	KUNIT_EXPECT_EQ_MSG(test, t->qp->mrs_used, 0, "after %s", after);
	KUNIT_EXPECT_EQ_MSG(test, list_count_nodes(&t->qp->rdma_mrs),
			    pool_size(t), "after %s", after);
	KUNIT_EXPECT_EQ_MSG(test, list_count_nodes(&t->qp->sig_mrs),
			    t->adapter->kind == INTEGRITY ? NR_MRS : 0,
			    "after %s", after);
	for (place = PEER; place < RAM; place++) {
		if (t->memory[place].addr)
			KUNIT_EXPECT_EQ_MSG(test, available_bytes(t->memory[place].owner),
					    t->memory[place].left,
					    "of %s, after %s",
					    place_names[place], after);
	}
}

static void expect_wrs(struct kunit *test, int ret, const struct wrs *found,
		       const struct wrs *expected)
{
	KUNIT_EXPECT_EQ(test, found->regs, expected->regs);
	KUNIT_EXPECT_EQ(test, found->invalidations, expected->invalidations);
	KUNIT_EXPECT_EQ(test, found->transfers, expected->transfers);
	KUNIT_EXPECT_EQ(test, ret, expected->regs + expected->invalidations +
				   expected->transfers);
}

/* A context from its beginning to its end; @invalidate: its MRs were in use */
static void expect_works(struct kunit *test, const struct list *list, u32 offset,
			 enum dma_data_direction dir, int regs, int transfers,
			 bool invalidate, struct ib_send_wr *chained)
{
	const struct wrs expected = { regs, invalidate ? regs : 0, transfers };
	struct rw_test *t = test->priv;
	struct ib_send_wr *first, *wr;
	struct ib_cqe cqe = { };
	struct rdma_rw_ctx ctx;
	struct wrs found;
	int ret;

	ret = init_ctx(t, &ctx, list, offset, dir);
	KUNIT_EXPECT_GT(test, ret, 0);
	if (ret <= 0)
		return;
	expect_marks(test, list, true);
	if (IS_ENABLED(CONFIG_TRACEPOINTS))
		KUNIT_EXPECT_EQ(test, atomic_read(&t->mapped), list->count);
	KUNIT_EXPECT_EQ(test, t->qp->mrs_used, regs);

	first = rdma_rw_ctx_wrs(&ctx, t->qp, PORT, &cqe, chained);
	found = check_wrs(test, first, chained, list, offset, dir);
	expect_wrs(test, ret, &found, &expected);

	/* Without another one behind it the last one tells that it is done. */
	for (wr = first; wr->next && wr->next != chained; wr = wr->next)
		KUNIT_EXPECT_FALSE(test, wr->send_flags & IB_SEND_SIGNALED);
	KUNIT_EXPECT_EQ(test, !!(wr->send_flags & IB_SEND_SIGNALED), !chained);
	KUNIT_EXPECT_PTR_EQ(test, wr->wr_cqe, chained ? NULL : &cqe);

	destroy_ctx(t, &ctx, list, dir);
	expect_nothing_kept(test, list, "use");
}

/* ---- Addresses ---- */

/**
 * struct rw_case - a list, and the work requests that it takes
 * @name: what is special
 * @kind: adapter
 * @dir: DMA_TO_DEVICE for a WRITE, DMA_FROM_DEVICE for a READ
 * @pages: so many single pages instead of @list
 * @list: the list, up to the part without a size, instead of @parts
 * @parts: the list, up to the part without a size
 * @offset: where the transfer begins, in bytes
 * @regs: MRs that are registered
 * @transfers: READs or WRITEs
 */
struct rw_case {
	const char *name;
	enum adapter_kind kind;
	enum dma_data_direction dir;
	u32 pages;
	const struct part *list;
	struct part parts[5];
	u32 offset;
	int regs;
	int transfers;
};

#define RDMA_WRITE	DMA_TO_DEVICE
#define RDMA_READ	DMA_FROM_DEVICE

/* Unaligned, so for SGEs only */
static const struct part unaligned[] = {
	{ PEER, 0x340, 0x1100 }, { RAM, PAGES(3) + 0x80, 0x40 },
	{ PEER2, PAGES(7) + 0xfc0, 0x40 }, { FAR, 0x1c0, PAGES(2) },
	{ PEER, PAGES(4), 0x40 }, { PEER, PAGES(4) + 0x40, 0x80 },
	{ RAM, PAGES(1), PAGES(1) }, { PEER2, 0, PAGES(3) },
	{ FAR, PAGES(9), 0x800 }, { PEER, PAGES(12) + 0x40, 0x700 },
	{ }
};

#define UNALIGNED_COUNT	(ARRAY_SIZE(unaligned) - 1)

/* Only the start and the end are unaligned, so it fits an MR. */
static const struct part aligned[] = {
	{ PEER, 0x340, PAGES(2) - 0x340 }, { RAM, PAGES(3), PAGES(1) },
	{ PEER2, PAGES(7), PAGES(1) }, { FAR, PAGES(3), PAGES(2) },
	{ PEER, PAGES(4), PAGES(1) }, { RAM, PAGES(1), PAGES(2) },
	{ PEER2, PAGES(1), 0x240 },
	{ }
};

static const struct rw_case cases[] = {
	{ "write_peer", SGES, RDMA_WRITE, .parts = { { PEER, PAGES(5), PAGES(1) } },
	  .transfers = 1 },
	{ "write_far", SGES, RDMA_WRITE, .parts = { { FAR, PAGES(5), PAGES(1) } },
	  .transfers = 1 },
	{ "write_inside_of_a_page", SGES, RDMA_WRITE,
	  .parts = { { PEER2, PAGES(3) + 0x123, 0x321 } }, .transfers = 1 },
	{ "write_offset", SGES, RDMA_WRITE,
	  .parts = { { PEER, PAGES(3) + 0x123, PAGES(2) } }, .offset = 0xf01,
	  .transfers = 1 },
	{ "write_all", SGES, RDMA_WRITE, .parts = { { PEER, 0, MEMORY_SIZE } },
	  .transfers = 1 },
	{ "write_unaligned", SGES, RDMA_WRITE, .list = unaligned,
	  .transfers = DIV_ROUND_UP(UNALIGNED_COUNT, MAX_WRITE_SGE) },
	{ "write_unaligned_offset", SGES, RDMA_WRITE, .list = unaligned,
	  .offset = 0x1100 + 0x40 + 0x11,
	  .transfers = DIV_ROUND_UP(UNALIGNED_COUNT - 2, MAX_WRITE_SGE) },
	{ "write_one_left", SGES, RDMA_WRITE, .parts = { { PEER, 0, PAGES(1) },
						    { FAR, 0, PAGES(1) } },
	  .offset = PAGES(1) + 5, .transfers = 1 },
	{ "write_pages", SGES, RDMA_WRITE, .pages = 700,
	  .transfers = 700 / MAX_WRITE_SGE },
	{ "iwarp_write", IWARP, RDMA_WRITE, .list = unaligned,
	  .transfers = DIV_ROUND_UP(UNALIGNED_COUNT, MAX_WRITE_SGE) },

	{ "read_peer", SGES, RDMA_READ, .parts = { { PEER, PAGES(5), PAGES(1) } },
	  .transfers = 1 },
	{ "read_unaligned", SGES, RDMA_READ, .list = unaligned,
	  .transfers = DIV_ROUND_UP(UNALIGNED_COUNT, MAX_READ_SGE) },
	{ "read_unaligned_offset", SGES, RDMA_READ, .list = unaligned,
	  .offset = 0x10c0,
	  .transfers = DIV_ROUND_UP(UNALIGNED_COUNT, MAX_READ_SGE) },
	{ "read_pages", SGES, RDMA_READ, .pages = 700,
	  .transfers = DIV_ROUND_UP(700, MAX_READ_SGE) },

	{ "iwarp_read_peer", IWARP, RDMA_READ,
	  .parts = { { PEER, PAGES(5), PAGES(1) } }, .regs = 1, .transfers = 1 },
	{ "iwarp_read_far", IWARP, RDMA_READ,
	  .parts = { { FAR, PAGES(5), PAGES(1) } }, .regs = 1, .transfers = 1 },
	{ "iwarp_read_inside_of_a_page", IWARP, RDMA_READ,
	  .parts = { { PEER2, PAGES(3) + 0x140, 0x340 } }, .offset = 0x11,
	  .regs = 1, .transfers = 1 },
	{ "iwarp_read_256_pages_in_a_row", IWARP, RDMA_READ,
	  .parts = { { PEER2, PAGES(3), PAGES(256) } }, .regs = 1,
	  .transfers = 1 },
	{ "iwarp_read_rows", IWARP, RDMA_READ,
	  .parts = { { PEER2, PAGES(3), PAGES(100) }, { PEER, 0, PAGES(100) },
		     { FAR, PAGES(1), PAGES(50) }, { RAM, 0, PAGES(6) } },
	  .regs = 1, .transfers = 1 },
	{ "iwarp_read", IWARP, RDMA_READ, .list = aligned, .regs = 1,
	  .transfers = 1 },
	{ "iwarp_read_offset", IWARP, RDMA_READ, .list = aligned,
	  .offset = PAGES(2) - 0x340 + PAGES(1) + 0x88, .regs = 1,
	  .transfers = 1 },
	{ "iwarp_read_256_pages", IWARP, RDMA_READ, .pages = 256, .regs = 1,
	  .transfers = 1 },
	{ "iwarp_read_257_pages", IWARP, RDMA_READ, .pages = 257, .regs = 2,
	  .transfers = 2 },
	{ "iwarp_read_700_pages", IWARP, RDMA_READ, .pages = 700, .regs = 3,
	  .transfers = 3 },
	{ "iwarp_read_700_pages_offset", IWARP, RDMA_READ, .pages = 700,
	  .offset = PAGES(188) + 0x777, .regs = 2, .transfers = 2 },

	{ "long_mrs_read_few", LONG_MRS, RDMA_READ, .pages = MAX_SGL_RD,
	  .transfers = DIV_ROUND_UP(MAX_SGL_RD, MAX_READ_SGE) },
	{ "long_mrs_read_few_left", LONG_MRS, RDMA_READ, .pages = MAX_SGL_RD + 1,
	  .offset = PAGES(1), .transfers = DIV_ROUND_UP(MAX_SGL_RD, MAX_READ_SGE) },
	{ "long_mrs_read", LONG_MRS, RDMA_READ, .list = aligned, .regs = 1,
	  .transfers = 1 },
	{ "long_mrs_read_700_pages", LONG_MRS, RDMA_READ, .pages = 700, .regs = 3,
	  .transfers = 3 },
	{ "long_mrs_write", LONG_MRS, RDMA_WRITE, .pages = 700,
	  .transfers = 700 / MAX_WRITE_SGE },
};

static void case_name(const struct rw_case *param, char *desc)
{
	strscpy(desc, param->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(addresses, cases, case_name);

static struct list list_of(struct kunit *test, const struct rw_case *param)
{
	const struct part *parts = param->list ?: param->parts;
	u32 count = 0;

	if (param->pages)
		return make_pages(test, param->pages);
	while (parts[count].size)
		count++;
	return make_list(test, parts, count);
}

static void addresses(struct kunit *test)
{
	const struct rw_case *param = test->param_value;
	struct ib_send_wr chained = { };
	struct list list;

	use_adapter(test, param->kind);
	list = list_of(test, param);
	expect_works(test, &list, param->offset, param->dir, param->regs,
		     param->transfers, false, NULL);
	/* iWARP's READs invalidate the key that they use. */
	expect_works(test, &list, param->offset, param->dir, param->regs,
		     param->transfers, param->kind != IWARP, &chained);
}

/* Memory from pci_p2pmem_alloc_sgl(), as nvmet-rdma has it */
static void allocated(struct kunit *test)
{
	static const struct {
		enum adapter_kind kind;
		enum dma_data_direction dir;
		int regs;
	} ways[] = {
		{ SGES, RDMA_WRITE, 0 }, { SGES, RDMA_READ, 0 }, { IWARP, RDMA_READ, 1 },
	};
	struct rw_test *t = test->priv;
	struct memory *peer = &t->memory[PEER];
	struct part part = { PEER, 0, PAGES(255) + 0x800 };
	struct memory before = *peer;
	struct list list = { .parts = &part };
	phys_addr_t phys;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		use_adapter(test, ways[i].kind);
		list.sg = pci_p2pmem_alloc_sgl(peer->owner, &list.count,
					       part.size);
		KUNIT_ASSERT_NOT_NULL(test, list.sg);
		KUNIT_EXPECT_EQ(test, list.count, 1);
		phys = sg_phys(list.sg);
		peer->dma += phys - peer->phys;
		peer->left -= PAGES(256);

		expect_works(test, &list, 0, ways[i].dir, ways[i].regs, 1, false,
			     NULL);
		expect_works(test, &list, 0x801, ways[i].dir, ways[i].regs, 1,
			     false, NULL);
		*peer = before;
		pci_p2pmem_free_sgl(peer->owner, list.sg);
	}
}

/* ---- Failures ---- */

/* Ways through rdma_rw_ctx_init(), each with a list and what it takes */
struct way {
	enum adapter_kind kind;
	enum dma_data_direction dir;
	u32 pages;
	int regs;
	int transfers;
	int allocations;	/* of memory, by the RDMA core */
};

static const struct way all_ways[] = {
	{ SGES, RDMA_WRITE, 1, 0, 1, 0 },
	{ SGES, RDMA_READ, 1, 0, 1, 0 },
	{ SGES, RDMA_WRITE, 9, 0, 3, 2 },
	{ SGES, RDMA_READ, 9, 0, 3, 2 },
	{ IWARP, RDMA_WRITE, 9, 0, 3, 2 },
	{ IWARP, RDMA_READ, 1, 1, 1, 1 },
	{ IWARP, RDMA_READ, 700, 3, 3, 1 },
	{ LONG_MRS, RDMA_READ, 700, 3, 3, 1 },
};

static void way_name(const struct way *way, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s_%s_%u", kind_names[way->kind],
		 str_write_read(way->dir == RDMA_WRITE), way->pages);
}

KUNIT_ARRAY_PARAM(ways, all_ways, way_name);

static void expect_way_works(struct kunit *test, const struct way *way,
			     const struct list *list, bool invalidate)
{
	expect_works(test, list, 0, way->dir, way->regs, way->transfers,
		     invalidate, NULL);
}

/*
 * A context can't be had, for @error.  One that can is destroyed, or cases with
 * its MRs in use would hang.
 */
static void expect_fails(struct kunit *test, const struct list *list,
			 enum dma_data_direction dir, int error,
			 const char *what, int number)
{
	struct rw_test *t = test->priv;
	struct rdma_rw_ctx ctx;
	int ret;

	ret = init_ctx(t, &ctx, list, 0, dir);
	KUNIT_EXPECT_EQ_MSG(test, ret, error, "%s %d", what, number);
	if (ret >= 0)
		destroy_ctx(t, &ctx, list, dir);
}

/* One entry, each in turn, is memory that the adapter can't reach. */
static void entry_refused(struct kunit *test)
{
	const struct way *way = test->param_value;
	u32 step = way->pages > 10 ? 99 : 1, i;
	struct list list, broken;
	struct part *parts;

	use_adapter(test, way->kind);
	list = make_pages(test, way->pages);
	parts = kunit_kmalloc_array(test, way->pages, sizeof(*parts),
				    GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, parts);
	memcpy(parts, list.parts, way->pages * sizeof(*parts));
	for (i = 0; i < way->pages; i += step) {
		parts[i].place = HIDDEN;
		broken = make_list(test, parts, way->pages);
		parts[i] = list.parts[i];
		expect_fails(test, &broken, way->dir, -EREMOTEIO, "entry", i);
		expect_nothing_kept(test, &broken, "a refused entry");
	}
	expect_way_works(test, way, &list, false);
}

/* Take all MRs but @left out of the pool, and put them back */
static void take_mrs(struct rw_test *t, struct ib_mr **mrs, int left)
{
	int i;

	for (i = 0; i < NR_MRS - left; i++)
		mrs[i] = ib_mr_pool_get(t->qp, &t->qp->rdma_mrs);
}

static void return_mrs(struct rw_test *t, struct ib_mr **mrs, int left)
{
	int i;

	for (i = 0; i < NR_MRS - left; i++) {
		if (mrs[i])
			ib_mr_pool_put(t->qp, &t->qp->rdma_mrs, mrs[i]);
	}
}

static void pool_empty(struct kunit *test)
{
	static const struct way way = { IWARP, RDMA_READ, 700, 3, 3 };
	struct rw_test *t = test->priv;
	struct ib_mr *mrs[NR_MRS];
	struct rdma_rw_ctx ctx;
	struct list list;
	int left, ret;

	list = make_pages(test, way.pages);
	use_adapter(test, IWARP);
	for (left = 0; left < way.regs; left++) {
		take_mrs(t, mrs, left);
		expect_fails(test, &list, RDMA_READ, -EAGAIN, "MRs left:", left);
		KUNIT_EXPECT_EQ_MSG(test, list_count_nodes(&t->qp->rdma_mrs),
				    left, "%d left", left);
		return_mrs(t, mrs, left);
		expect_nothing_kept(test, &list, "an empty pool");
	}
	expect_way_works(test, &way, &list, false);

	/* Not all adapters depend on MRs. */
	use_adapter(test, LONG_MRS);
	for (left = 0; left < way.regs; left++) {
		take_mrs(t, mrs, left);
		ret = init_ctx(t, &ctx, &list, 0, RDMA_READ);
		KUNIT_EXPECT_EQ(test, ret, DIV_ROUND_UP(way.pages, MAX_READ_SGE));
		KUNIT_EXPECT_EQ(test, list_count_nodes(&t->qp->rdma_mrs), left);
		if (ret > 0) {
			check_wrs(test, rdma_rw_ctx_wrs(&ctx, t->qp, PORT, NULL,
							NULL),
				  NULL, &list, 0, RDMA_READ);
			destroy_ctx(t, &ctx, &list, RDMA_READ);
		}
		return_mrs(t, mrs, left);
		expect_nothing_kept(test, &list, "an empty pool");
	}
	expect_way_works(test, &way, &list, false);
}

/* The driver maps less than it was asked to, or fails, in each MR in turn. */
static void mr_not_mapped(struct kunit *test)
{
	static const enum adapter_kind kinds[] = { IWARP, LONG_MRS };
	static const int fail_with[] = { 0, -ENOMEM, -EINVAL };
	static const struct way way = { IWARP, RDMA_READ, 700, 3, 3 };
	struct rw_test *t = test->priv;
	struct list list;
	int i, j, nth;

	list = make_pages(test, way.pages);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		use_adapter(test, kinds[i]);
		for (j = 0; j < ARRAY_SIZE(fail_with); j++) {
			for (nth = 1; nth <= way.regs; nth++) {
				t->adapter->fail_map = nth;
				t->adapter->fail_with = fail_with[j];
				expect_fails(test, &list, RDMA_READ, -EINVAL,
					     "MR", nth);
				KUNIT_EXPECT_EQ(test, t->adapter->fail_map, 0);
				expect_nothing_kept(test, &list,
						    "a driver's failure");
			}
		}
		expect_way_works(test, &way, &list, false);
	}
}

/* Lists that don't fit an MR, although their number of entries does */
static void unfit_for_mrs(struct kunit *test)
{
	static const struct part lists[][3] = {
		{ { PEER, 0, PAGES(257) } },
		{ { PEER, 0x40, PAGES(256) } },
		{ { PEER, 0, PAGES(1) }, { PEER2, 0x40, PAGES(1) } },
		{ { PEER, 0, PAGES(1) - 0x40 }, { PEER2, 0, PAGES(1) } },
		{ { PEER, 0, PAGES(100) }, { PEER2, 0, PAGES(156) },
		  { FAR, 0, PAGES(1) } },
	};
	struct list list;
	int i, count;

	use_adapter(test, IWARP);
	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		for (count = 0; count < 3 && lists[i][count].size; count++)
			;
		list = make_list(test, lists[i], count);
		expect_fails(test, &list, RDMA_READ, -EINVAL, "list", i);
		expect_nothing_kept(test, &list, "a list unfit for an MR");
		/* By SGEs they can be written. */
		expect_works(test, &list, 0, RDMA_WRITE, 0, 1, false, NULL);
	}
}

/* The driver can't allocate an MR of the pool, each in turn. */
static void no_pool(struct kunit *test)
{
	static const enum adapter_kind kinds[] = { IWARP, LONG_MRS, INTEGRITY };
	struct rw_test *t = test->priv;
	struct ib_qp *qp;
	int i, nth, most;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		use_adapter(test, kinds[i]);
		drop_qp(test);
		most = kinds[i] == INTEGRITY ? 2 * NR_MRS : NR_MRS;
		for (nth = 1; nth <= most; nth++) {
			t->adapter->fail_alloc = nth;
			qp = create_qp(t);
			KUNIT_EXPECT_EQ_MSG(test, PTR_ERR_OR_ZERO(qp), -ENOSPC,
					    "MR %d", nth);
			KUNIT_EXPECT_EQ_MSG(test, t->adapter->mrs, 0, "MR %d",
					    nth);
			if (!IS_ERR(qp))
				ib_destroy_qp(qp);
			t->adapter->fail_alloc = 0;
		}
		t->qp = create_qp(t);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t->qp);
		KUNIT_EXPECT_EQ(test, t->adapter->mrs, most);
	}
}

/* ---- Protection information ---- */

struct pi {
	struct list data, meta;
};

static const struct part pi_data[] = {
	{ PEER, PAGES(3), PAGES(2) }, { FAR, 0, PAGES(1) },
	{ RAM, PAGES(1), PAGES(1) }, { PEER2, PAGES(9), 0x800 },
};

static const struct part pi_meta[] = {
	{ PEER2, PAGES(1) + 0x40, PAGES(1) - 0x40 }, { RAM, PAGES(3), 0x40 },
};

static struct pi make_pi(struct kunit *test, const struct part *data,
			 const struct part *meta)
{
	return (struct pi) {
		make_list(test, data, ARRAY_SIZE(pi_data)),
		make_list(test, meta, ARRAY_SIZE(pi_meta)),
	};
}

static int init_pi(struct rw_test *t, struct rdma_rw_ctx *ctx,
		   const struct pi *pi, u32 meta_count)
{
	struct ib_sig_attrs attrs = {
		.wire.sig_type = IB_SIG_TYPE_T10_DIF,
		.mem.sig_type = IB_SIG_TYPE_T10_DIF,
	};

	return rdma_rw_ctx_signature_init(ctx, t->qp, PORT, pi->data.sg,
					  pi->data.count, pi->meta.sg,
					  meta_count, &attrs, REMOTE_ADDR,
					  REMOTE_KEY, RDMA_READ);
}

static void expect_no_pi_kept(struct kunit *test, const struct pi *pi,
			      const char *after)
{
	expect_nothing_kept(test, &pi->data, after);
	expect_marks(test, &pi->meta, false);
}

static void expect_pi_works(struct kunit *test, const struct pi *pi,
			    bool with_meta, bool invalidate)
{
	u32 meta_count = with_meta ? pi->meta.count : 0, page = 0;
	struct cursor data = start_at(&pi->data, 0);
	struct cursor meta = start_at(&pi->meta, 0);
	u64 data_size = list_size(&pi->data);
	u64 meta_size = list_size(&pi->meta);
	struct rw_test *t = test->priv;
	struct ib_send_wr *wr;
	struct rdma_rw_ctx ctx;
	struct ib_cqe cqe = { };
	struct adapter_mr *mr;
	int ret;

	ret = init_pi(t, &ctx, pi, meta_count);
	KUNIT_EXPECT_EQ(test, ret, invalidate ? 3 : 2);
	if (ret < 2)
		return;
	expect_marks(test, &pi->data, true);
	expect_marks(test, &pi->meta, with_meta);
	if (IS_ENABLED(CONFIG_TRACEPOINTS))
		KUNIT_EXPECT_EQ(test, atomic_read(&t->mapped),
				pi->data.count + meta_count);

	wr = rdma_rw_ctx_wrs(&ctx, t->qp, PORT, &cqe, NULL);
	KUNIT_EXPECT_EQ(test, wr->opcode == IB_WR_LOCAL_INV, invalidate);
	if (invalidate)
		wr = wr->next;
	KUNIT_EXPECT_EQ(test, wr->opcode, IB_WR_REG_MR_INTEGRITY);
	mr = to_mr(reg_wr(wr)->mr);
	wr = wr->next;
	KUNIT_EXPECT_EQ(test, wr->sg_list->lkey, mr->ib.lkey);
	KUNIT_EXPECT_EQ(test, wr->sg_list->length,
			data_size + (with_meta ? meta_size : 0));
	KUNIT_EXPECT_TRUE(test, goes_on_in(t, &data, mr, &page,
					   t->memory[PEER].dma, data_size));
	if (with_meta)
		KUNIT_EXPECT_TRUE(test, goes_on_in(t, &meta, mr, &page,
						   t->memory[PEER2].dma + 0x40,
						   meta_size));
	KUNIT_EXPECT_EQ(test, page, mr->nr_pages);

	rdma_rw_ctx_destroy_signature(&ctx, t->qp, PORT, pi->data.sg,
				      pi->data.count, pi->meta.sg, meta_count,
				      RDMA_READ);
	expect_no_pi_kept(test, pi, "use");
}

static void expect_pi_fails(struct kunit *test, const struct pi *pi, int error,
			    const char *why)
{
	struct rw_test *t = test->priv;
	struct rdma_rw_ctx ctx;
	int ret;

	ret = init_pi(t, &ctx, pi, pi->meta.count);
	KUNIT_EXPECT_EQ_MSG(test, ret, error, "%s", why);
	if (ret >= 0)
		rdma_rw_ctx_destroy_signature(&ctx, t->qp, PORT, pi->data.sg,
					      pi->data.count, pi->meta.sg,
					      pi->meta.count, RDMA_READ);
	expect_no_pi_kept(test, pi, why);
}

static void integrity(struct kunit *test)
{
	struct part data[ARRAY_SIZE(pi_data)], meta[ARRAY_SIZE(pi_meta)];
	struct rw_test *t = test->priv;
	struct ib_mr *mrs[NR_MRS];
	struct rdma_rw_ctx ctx;
	struct pi pi, broken;
	int i, ret;

	use_adapter(test, INTEGRITY);
	pi = make_pi(test, pi_data, pi_meta);
	expect_pi_works(test, &pi, true, false);
	expect_pi_works(test, &pi, false, true);

	/* Data, or protection information, that the adapter can't reach */
	for (i = 0; i < ARRAY_SIZE(data) + ARRAY_SIZE(meta); i++) {
		memcpy(data, pi_data, sizeof(data));
		memcpy(meta, pi_meta, sizeof(meta));
		if (i < ARRAY_SIZE(data))
			data[i].place = HIDDEN;
		else
			meta[i - ARRAY_SIZE(data)].place = HIDDEN;
		broken = make_pi(test, data, meta);
		expect_pi_fails(test, &broken, -EREMOTEIO, "a refused entry");
	}

	for (i = 0; i < NR_MRS; i++)
		mrs[i] = ib_mr_pool_get(t->qp, &t->qp->sig_mrs);
	ret = init_pi(t, &ctx, &pi, pi.meta.count);
	KUNIT_EXPECT_EQ(test, ret, -EAGAIN);
	for (i = 0; i < NR_MRS; i++) {
		if (mrs[i])
			ib_mr_pool_put(t->qp, &t->qp->sig_mrs, mrs[i]);
	}
	expect_no_pi_kept(test, &pi, "an empty pool");

	t->adapter->fail_map = 1;
	t->adapter->fail_with = -ENOMEM;
	expect_pi_fails(test, &pi, -ENOMEM, "a driver's failure");

	/* The pool is a list, and the MR that was first is the last one now. */
	expect_pi_works(test, &pi, true, false);
}

/* ---- Memory without pages ---- */

static const struct part bare_parts[] = {
	{ BARE, PAGES(1) + 0x340, PAGES(3) - 0x340 },
	{ RAM, PAGES(2), PAGES(1) },
	{ BARE, PAGES(9), PAGES(2) },
	{ PEER, PAGES(4), PAGES(1) },
	{ FAR, PAGES(6), PAGES(1) },
	{ PEER2, PAGES(1), PAGES(1) },
	{ BARE, 0, 0x240 },
};

KUNIT_DEFINE_ACTION_WRAPPER(free_phys_list, p2pdma_phys_list_free,
			    struct p2pdma_phys_list *);

static struct p2pdma_phys_list *make_phys_list(struct kunit *test,
					       const struct list *list)
{
	struct p2pdma_phys_list *phys = p2pdma_phys_list_create(GFP_KERNEL);
	struct rw_test *t = test->priv;
	const struct memory *memory;
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, phys);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, free_phys_list,
							phys), 0);
	for (i = 0; i < list->count; i++) {
		memory = &t->memory[list->parts[i].place];
		KUNIT_ASSERT_EQ(test,
				p2pdma_phys_list_add(phys, memory->provider,
						     memory->phys +
						     list->parts[i].at,
						     list->parts[i].size,
						     GFP_KERNEL), 0);
	}
	return phys;
}

static struct p2pdma_phys_mapping *map_phys(struct rw_test *t,
					    const struct p2pdma_phys_list *phys,
					    enum dma_data_direction dir)
{
	return p2pdma_phys_list_map(t->adapter->ib.dma_device, phys, dir, 0,
				    GFP_KERNEL);
}

/*
 * Chain of READs or WRITEs from the mapping's byte @offset on, as
 * rdma_rw_ctx_init() makes it: returns the first, which is to be freed
 */
static struct ib_rdma_wr *make_wrs(struct rw_test *t,
				   const struct p2pdma_phys_mapping *mapping,
				   u64 offset, enum dma_data_direction dir)
{
	u32 max_sge = dir == RDMA_WRITE ? t->qp->max_write_sge : t->qp->max_read_sge;
	u32 count = mapping->count, used = 0, i;
	struct ib_rdma_wr *wrs, *wr = NULL;
	u64 remote = REMOTE_ADDR;
	struct ib_sge *sge;

	wrs = kzalloc(count * (sizeof(*wrs) + sizeof(*sge)), GFP_KERNEL);
	if (!wrs)
		return NULL;
	sge = (struct ib_sge *)(wrs + count);
	for (i = 0; i < count; i++) {
		if (offset >= mapping->ranges[i].size) {
			offset -= mapping->ranges[i].size;
			continue;
		}
		if (!wr || wr->wr.num_sge == max_sge) {
			if (wr)
				wr->wr.next = &wrs[used].wr;
			wr = &wrs[used++];
			wr->wr.opcode = dir == RDMA_WRITE ? IB_WR_RDMA_WRITE :
						       IB_WR_RDMA_READ;
			wr->wr.sg_list = sge;
			wr->remote_addr = remote;
			wr->rkey = REMOTE_KEY;
		}
		sge->addr = mapping->ranges[i].addr + offset;
		sge->length = mapping->ranges[i].size - offset;
		sge->lkey = t->pd->local_dma_lkey;
		remote += sge->length;
		wr->wr.num_sge++;
		sge++;
		offset = 0;
	}
	return wrs;
}

/* SGEs with the PD's local key can have any DMA address. */
static void without_pages(struct kunit *test)
{
	static const u32 offsets[] = { 0, 0x41, PAGES(3) - 0x340,
				       PAGES(4) - 0x340 + 7, PAGES(6) };
	static const enum dma_data_direction dirs[] = { RDMA_READ, RDMA_WRITE };
	struct list list = { bare_parts, NULL, ARRAY_SIZE(bare_parts) };
	struct rw_test *t = test->priv;
	struct p2pdma_phys_mapping *mapping;
	struct p2pdma_phys_list *phys;
	struct ib_rdma_wr *wrs;
	struct wrs found;
	int i, j, left;

	use_adapter(test, SGES);
	phys = make_phys_list(test, &list);
	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		mapping = map_phys(t, phys, dirs[i]);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mapping);
		KUNIT_EXPECT_EQ(test, mapping->count, list.count);
		for (j = 0; j < ARRAY_SIZE(offsets); j++) {
			wrs = make_wrs(t, mapping, offsets[j], dirs[i]);
			KUNIT_EXPECT_NOT_NULL(test, wrs);
			if (!wrs)
				continue;
			found = check_wrs(test, &wrs->wr, NULL, &list,
					  offsets[j], dirs[i]);
			left = list.count - start_at(&list, offsets[j]).part;
			KUNIT_EXPECT_EQ(test, found.transfers,
					DIV_ROUND_UP(left, dirs[i] == RDMA_WRITE ?
							   MAX_WRITE_SGE :
							   MAX_READ_SGE));
			kfree(wrs);
		}
		p2pdma_phys_list_unmap(mapping);
		expect_nothing_kept(test, &list, "use");
	}
}

/*
 * ib_map_mr_sg() looks at DMA addresses alone, so that it takes a scatterlist
 * without pages, as importers of dma-bufs have them.
 */
static void mr_without_pages(struct kunit *test)
{
	static const unsigned int offsets[] = { 0, 0x41, PAGES(1) };
	struct list list = { bare_parts, NULL, ARRAY_SIZE(bare_parts) };
	struct p2pdma_phys_mapping *mapping;
	struct rw_test *t = test->priv;
	struct p2pdma_phys_list *phys;
	unsigned int offset, i;
	struct scatterlist *sg;
	struct cursor cursor;
	struct ib_mr *mr;
	u32 page;
	int ret;

	use_adapter(test, IWARP);
	phys = make_phys_list(test, &list);
	mapping = map_phys(t, phys, RDMA_READ);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mapping);
	sg = kunit_kcalloc(test, mapping->count, sizeof(*sg), GFP_KERNEL);
	mr = ib_mr_pool_get(t->qp, &t->qp->rdma_mrs);
	KUNIT_EXPECT_NOT_NULL(test, sg);
	KUNIT_EXPECT_NOT_NULL(test, mr);
	if (!sg || !mr)
		goto unmap;

	sg_init_table(sg, mapping->count);
	for (i = 0; i < mapping->count; i++) {
		sg_dma_address(&sg[i]) = mapping->ranges[i].addr;
		sg_dma_len(&sg[i]) = mapping->ranges[i].size;
	}
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		offset = offsets[i];
		ret = ib_map_mr_sg(mr, sg, mapping->count, &offset, PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, ret, mapping->count);
		cursor = start_at(&list, offsets[i]);
		page = 0;
		KUNIT_EXPECT_EQ(test, mr->length, list_size(&list) - offsets[i]);
		KUNIT_EXPECT_TRUE_MSG(test,
				      goes_on_in(t, &cursor, to_mr(mr), &page,
						 mr->iova, mr->length),
				      "page %u, part %u", page, cursor.part);
		KUNIT_EXPECT_EQ(test, page, to_mr(mr)->nr_pages);
	}
unmap:
	if (mr)
		ib_mr_pool_put(t->qp, &t->qp->rdma_mrs, mr);
	p2pdma_phys_list_unmap(mapping);
	expect_nothing_kept(test, &list, "use");
}

static void without_pages_refused(struct kunit *test)
{
	struct part parts[ARRAY_SIZE(bare_parts)];
	struct list list = { parts, NULL, ARRAY_SIZE(parts) };
	struct p2pdma_phys_mapping *mapping;
	struct rw_test *t = test->priv;
	struct p2pdma_phys_list *phys;
	int i;

	use_adapter(test, SGES);
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		memcpy(parts, bare_parts, sizeof(parts));
		parts[i].place = HIDDEN;
		phys = make_phys_list(test, &list);
		mapping = map_phys(t, phys, RDMA_READ);
		KUNIT_EXPECT_EQ_MSG(test, PTR_ERR_OR_ZERO(mapping), -EREMOTEIO,
				    "part %d", i);
		if (!IS_ERR(mapping))
			p2pdma_phys_list_unmap(mapping);
		expect_nothing_kept(test, &list, "a refused part");
	}
	memcpy(parts, bare_parts, sizeof(parts));
	phys = make_phys_list(test, &list);
	mapping = map_phys(t, phys, RDMA_READ);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mapping);
	p2pdma_phys_list_unmap(mapping);
	expect_nothing_kept(test, &list, "use");
}

/* ---- Behind an IOMMU ---- */

static const struct part iova_parts[] = {
	{ PEER, 0x340, PAGES(2) - 0x340 }, { RAM, PAGES(3), PAGES(1) },
	{ PEER, PAGES(7), PAGES(120) }, { RAM, PAGES(20), PAGES(8) },
	{ PEER, PAGES(4), PAGES(1) }, { RAM, PAGES(1), PAGES(2) },
	{ PEER, PAGES(3), 0x240 },
};

/* Not in one range of IOVAs */
static const struct part iova_pieces[] = {
	{ PEER, 0x340, PAGES(2) }, { RAM, PAGES(3) + 0x80, PAGES(1) },
	{ RAM, PAGES(20) + 0x40, 0x80 }, { PEER, PAGES(7) + 0xc0, PAGES(3) },
	{ PEER, PAGES(14), PAGES(1) },
};

static const struct way iova_ways[] = {
	{ SGES, RDMA_WRITE }, { SGES, RDMA_READ }, { IWARP, RDMA_WRITE },
	{ IWARP, RDMA_READ },
};

static const struct part most_parts[] = {
	{ PEER, 0, PAGES(200) }, { RAM, 0, PAGES(30) },
};

#define FEW_BITS	24	/* of a small DMA mask */
#define MOST_CONTEXTS	64	/* more than that leaves room for */

static bool works_behind_iommu(struct kunit *test, const struct list *list,
			       u32 offset, enum dma_data_direction dir)
{
	struct rw_test *t = test->priv;
	const struct ib_send_wr *first;
	struct rdma_rw_ctx ctx;
	u64 addr;

	if (init_ctx(t, &ctx, list, offset, dir) < 0)
		return false;
	first = rdma_rw_ctx_wrs(&ctx, t->qp, PORT, NULL, NULL);
	check_wrs(test, first, NULL, list, offset, dir);
	addr = sg_dma_address(list->sg);
	KUNIT_EXPECT_NE(test, behind(t, addr), 0);
	destroy_ctx(t, &ctx, list, dir);
	KUNIT_EXPECT_EQ(test, behind(t, addr), 0);
	expect_nothing_kept(test, list, "use");
	return true;
}

static void iova_addresses(struct kunit *test)
{
	struct list whole, pieces;
	int i;

	whole = make_list(test, iova_parts, ARRAY_SIZE(iova_parts));
	pieces = make_list(test, iova_pieces, ARRAY_SIZE(iova_pieces));
	for (i = 0; i < ARRAY_SIZE(iova_ways); i++) {
		use_adapter(test, iova_ways[i].kind);
		KUNIT_EXPECT_TRUE(test, works_behind_iommu(test, &whole, 0,
							   iova_ways[i].dir));
		KUNIT_EXPECT_TRUE(test, works_behind_iommu(test, &whole,
							   PAGES(5) + 0x123,
							   iova_ways[i].dir));
		if (iova_ways[i].kind == IWARP && iova_ways[i].dir == RDMA_READ)
			continue;
		KUNIT_EXPECT_TRUE(test, works_behind_iommu(test, &pieces, 0,
							   iova_ways[i].dir));
		KUNIT_EXPECT_TRUE(test, works_behind_iommu(test, &pieces,
							   PAGES(2) + 0x77,
							   iova_ways[i].dir));
	}
}

/* Retries, as freed IOVA space may become available a little later */
static int init_patiently(struct rw_test *t, struct rdma_rw_ctx *ctx,
			  const struct list *list, enum dma_data_direction dir)
{
	int i, ret;

	for (i = 0; i < 100; i++) {
		ret = init_ctx(t, ctx, list, 0, dir);
		if (ret != -ENOMEM)
			break;
		msleep(20);
	}
	return ret;
}

/* Contexts take all IOVA space that the client can address. */
static void iova_full(struct kunit *test)
{
	struct rw_test *t = test->priv;
	struct rdma_rw_ctx *ctxs;
	int first = 0, count, round;
	struct list *lists;

	KUNIT_ASSERT_EQ(test, dma_set_mask(&t->client->dev,
					   DMA_BIT_MASK(FEW_BITS)), 0);
	use_adapter(test, SGES);
	ctxs = kunit_kcalloc(test, MOST_CONTEXTS, sizeof(*ctxs), GFP_KERNEL);
	lists = kunit_kcalloc(test, MOST_CONTEXTS, sizeof(*lists), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctxs);
	KUNIT_ASSERT_NOT_NULL(test, lists);
	for (count = 0; count < MOST_CONTEXTS; count++)
		lists[count] = make_list(test, most_parts,
					 ARRAY_SIZE(most_parts));

	for (round = 0; round < 5; round++) {
		for (count = 0; count < MOST_CONTEXTS; count++) {
			/* What another round had is there again. */
			if ((count < first ?
			     init_patiently(t, &ctxs[count], &lists[count],
					    RDMA_WRITE) :
			     init_ctx(t, &ctxs[count], &lists[count], 0,
				      RDMA_WRITE)) < 0)
				break;
		}
		if (!round)
			first = count;
		KUNIT_EXPECT_GT(test, count, 1);
		KUNIT_EXPECT_LT(test, count, MOST_CONTEXTS);
		KUNIT_EXPECT_GE_MSG(test, count, first, "round %d", round);
		if (IS_ENABLED(CONFIG_TRACEPOINTS))
			KUNIT_EXPECT_EQ(test, atomic_read(&t->mapped),
					count * ARRAY_SIZE(most_parts));
		if (count < MOST_CONTEXTS)
			KUNIT_EXPECT_EQ(test, init_ctx(t, &ctxs[count],
						       &lists[count], 0,
						       RDMA_WRITE), -ENOMEM);
		/* One that goes makes room for another one. */
		if (count > 1 && count < MOST_CONTEXTS) {
			destroy_ctx(t, &ctxs[0], &lists[0], RDMA_WRITE);
			KUNIT_EXPECT_GT(test, init_patiently(t, &ctxs[0],
							     &lists[0],
							     RDMA_WRITE), 0);
		}
		while (count--)
			destroy_ctx(t, &ctxs[count], &lists[count], RDMA_WRITE);
		expect_nothing_kept(test, &lists[0], "exhausted IOVA space");
	}
}

/* ---- Each allocation fails in turn ---- */

#ifdef CONFIG_FAULT_INJECTION

#define MOST_ALLOCATIONS	1000

/*
 * A context while the caller's @nth allocation fails; false if there are fewer.
 * The caller has set up fault injection.
 */
static bool init_failing(struct kunit *test, const struct list *list,
			 enum dma_data_direction dir, int nth, int *ret)
{
	struct rw_test *t = test->priv;
	struct rdma_rw_ctx ctx;
	bool failed;

	current->fail_nth = nth;
	*ret = init_ctx(t, &ctx, list, 0, dir);
	failed = !current->fail_nth;
	current->fail_nth = 0;

	if (*ret < 0) {
		KUNIT_EXPECT_TRUE_MSG(test, failed, "allocation %d", nth);
		KUNIT_EXPECT_EQ_MSG(test, *ret, -ENOMEM, "allocation %d", nth);
	} else {
		check_wrs(test, rdma_rw_ctx_wrs(&ctx, t->qp, PORT, NULL, NULL),
			  NULL, list, 0, dir);
		destroy_ctx(t, &ctx, list, dir);
	}
	expect_nothing_kept(test, list, "a failed allocation");
	return failed;
}

static void no_memory(struct kunit *test)
{
	const struct way *way = test->param_value;
	int nth, ret, to_the_end = 0;
	struct list list;

	use_adapter(test, way->kind);
	list = make_pages(test, way->pages);

	/* First that of the core's cache of verdicts, which it can do without */
	KUNIT_EXPECT_TRUE(test, init_failing(test, &list, way->dir, 1, &ret));
	KUNIT_EXPECT_GT(test, ret, 0);
	expect_way_works(test, way, &list, way->kind == LONG_MRS);

	/*
	 * With that cache filled, all allocations are the RDMA core's, and
	 * kmemleak's, which can do without.
	 */
	for (nth = 1; init_failing(test, &list, way->dir, nth, &ret); nth++) {
		KUNIT_ASSERT_LT(test, nth, MOST_ALLOCATIONS);
		to_the_end += ret < 0;
	}
	KUNIT_EXPECT_EQ(test, to_the_end, way->allocations);
	expect_way_works(test, way, &list, way->kind == LONG_MRS);
}

static void no_memory_integrity(struct kunit *test)
{
	struct rw_test *t = test->priv;
	int nth, ret, to_the_end = 0;
	struct rdma_rw_ctx ctx;
	bool failed = true;
	struct pi pi;

	use_adapter(test, INTEGRITY);
	pi = make_pi(test, pi_data, pi_meta);
	expect_pi_works(test, &pi, true, false);
	for (nth = 1; failed; nth++) {
		KUNIT_ASSERT_LT(test, nth, MOST_ALLOCATIONS);
		current->fail_nth = nth;
		ret = init_pi(t, &ctx, &pi, pi.meta.count);
		failed = !current->fail_nth;
		current->fail_nth = 0;

		if (ret < 0) {
			KUNIT_EXPECT_TRUE_MSG(test, failed, "allocation %d",
					      nth);
			KUNIT_EXPECT_EQ_MSG(test, ret, -ENOMEM, "allocation %d",
					    nth);
			to_the_end++;
		} else {
			rdma_rw_ctx_destroy_signature(&ctx, t->qp, PORT,
						      pi.data.sg, pi.data.count,
						      pi.meta.sg, pi.meta.count,
						      RDMA_READ);
		}
		expect_no_pi_kept(test, &pi, "a failed allocation");
	}
	KUNIT_EXPECT_EQ(test, to_the_end, 1);
	expect_pi_works(test, &pi, true, true);
}

/* Half of what a small mask leaves, with a page table for each 2 MiB */
static const struct part large_parts[] = {
	{ PEER, 0, SZ_2M }, { PEER, 0, SZ_2M }, { PEER, 0, SZ_2M },
	{ PEER, 0, SZ_2M },
};

/* Freed IOVA space may become available a little later. */
static bool gets_space(struct rw_test *t, size_t size)
{
	struct dma_iova_state state;
	int i;

	for (i = 0; i < 100; i++) {
		if (dma_iova_try_alloc(&t->client->dev, &state, 0, size)) {
			dma_iova_free(&t->client->dev, &state);
			return true;
		}
		msleep(20);
	}
	return false;
}

static void no_memory_iova(struct kunit *test)
{
	struct rw_test *t = test->priv;
	int nth, ret, to_the_end = 0;
	bool failed = true;
	struct list list;

	KUNIT_ASSERT_EQ(test, dma_set_mask(&t->client->dev,
					   DMA_BIT_MASK(FEW_BITS)), 0);
	use_adapter(test, SGES);
	list = make_list(test, large_parts, ARRAY_SIZE(large_parts));
	for (nth = 1; failed; nth++) {
		KUNIT_ASSERT_LT(test, nth, MOST_ALLOCATIONS);
		/* Otherwise a context before kept some. */
		KUNIT_ASSERT_TRUE_MSG(test, gets_space(t, list_size(&list)),
				      "allocation %d", nth);
		/* Allocating IOVA space is tried again, and may then succeed. */
		failed = init_failing(test, &list, RDMA_WRITE, nth, &ret);
		to_the_end += ret < 0;
	}
	kunit_info(test, "%d allocations failed in turn, %d of them to the end",
		   nth - 2, to_the_end);
	KUNIT_EXPECT_GE(test, to_the_end, ARRAY_SIZE(large_parts));
	KUNIT_EXPECT_TRUE(test, gets_space(t, list_size(&list)));
	KUNIT_EXPECT_TRUE(test, works_behind_iommu(test, &list, 0, RDMA_WRITE));
}

static void no_memory_without_pages(struct kunit *test)
{
	struct list list = { bare_parts, NULL, ARRAY_SIZE(bare_parts) };
	struct p2pdma_phys_mapping *mapping;
	struct rw_test *t = test->priv;
	struct p2pdma_phys_list *phys;
	int nth, to_the_end = 0;
	bool failed = true;

	use_adapter(test, SGES);
	phys = make_phys_list(test, &list);
	/* Fill the core's cache of verdicts, which may fail. */
	mapping = map_phys(t, phys, RDMA_READ);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mapping);
	p2pdma_phys_list_unmap(mapping);
	for (nth = 1; failed; nth++) {
		KUNIT_ASSERT_LT(test, nth, MOST_ALLOCATIONS);
		current->fail_nth = nth;
		mapping = map_phys(t, phys, RDMA_READ);
		failed = !current->fail_nth;
		current->fail_nth = 0;

		if (IS_ERR(mapping)) {
			KUNIT_EXPECT_TRUE_MSG(test, failed, "allocation %d",
					      nth);
			KUNIT_EXPECT_EQ_MSG(test, PTR_ERR(mapping), -ENOMEM,
					    "allocation %d", nth);
			to_the_end++;
		} else {
			p2pdma_phys_list_unmap(mapping);
		}
		expect_nothing_kept(test, &list, "a failed allocation");
	}
	/* The mapping, and its state for unmapping */
	KUNIT_EXPECT_EQ(test, to_the_end, 2);
}

#else

static void no_memory(struct kunit *test)
{
	kunit_skip(test, "no fault injection in this kernel");
}

#define no_memory_integrity	no_memory
#define no_memory_iova		no_memory
#define no_memory_without_pages	no_memory

#endif

/* ---- The suite ---- */

static struct kunit_case rw_test_cases[] = {
	KUNIT_CASE_PARAM(addresses, addresses_gen_params),
	KUNIT_CASE(allocated),
	KUNIT_CASE_PARAM(entry_refused, ways_gen_params),
	KUNIT_CASE(pool_empty),
	KUNIT_CASE(mr_not_mapped),
	KUNIT_CASE(unfit_for_mrs),
	KUNIT_CASE(no_pool),
	KUNIT_CASE(integrity),
	KUNIT_CASE(without_pages),
	KUNIT_CASE(mr_without_pages),
	KUNIT_CASE(without_pages_refused),
	KUNIT_CASE(iova_addresses),
	KUNIT_CASE_SLOW(iova_full),
	KUNIT_CASE_PARAM(no_memory, ways_gen_params),
	KUNIT_CASE(no_memory_integrity),
	KUNIT_CASE(no_memory_without_pages),
	KUNIT_CASE_SLOW(no_memory_iova),
	{}
};

static struct kunit_suite rw_test_suite = {
	.name = "p2pdma_rdma_rw",
	.init = rw_test_init,
	.exit = rw_test_exit,
	.test_cases = rw_test_cases,
};

kunit_test_suite(rw_test_suite);

MODULE_DESCRIPTION("KUnit tests of RDMA READ and WRITE contexts with peer memory");
MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_LICENSE("GPL");
