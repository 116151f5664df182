// SPDX-License-Identifier: GPL-2.0
/*
 * An RDMA adapter of the iWARP kind, whose data mover is a DMA engine.
 *
 * It is for tests of what RDMA does with memory of PCI devices, where there is
 * no adapter, and to show what the driver of an adapter owes peer-to-peer DMA:
 *
 * - The ib_device's parent and DMA device are the PCI device that makes the
 *   accesses.  ULPs ask for the route of the former, and map for the latter.
 * - It uses the DMA addresses and lengths that ib_dma_map_*() gave the ULP, and
 *   nothing else: no CPU touches data, and no address is translated back.
 * - When a request completes, a region is invalidated or deregistered, or a
 *   queue pair has ended, the device no longer accesses that memory.
 * - A program's memory regions are dma-bufs, which their exporters may revoke
 *   while requests are executed.  When they have, the same holds.
 *
 * What it lacks is the wire.  A queue pair is connected with another one of the
 * same adapter, and the engine copies from the one's memory to the other's; or
 * with one of another adapter, and two engines copy, through a buffer in system
 * memory.
 *
 * An emulated engine copies while the CPU writes to a register, so a test with
 * it proves nothing about the order of writes on the bus.  A real adapter's data
 * must be in the peer's memory before the completion is seen in system memory,
 * and the engine's interrupt and status are all that this driver has for that.
 *
 * A program posts and polls by system calls, as there is nothing to map, and has
 * no regions of memory that isn't a dma-buf.  There is no SRQ, no atomic
 * operations, no inline data, and no integrity metadata.  Addresses and lengths
 * have to be aligned as the engine demands, for LSI 53C895A to 4 bytes.  All
 * requests of all adapters are executed one after the other.  A completion queue
 * that is too small for its queue pairs loses completions, and says so.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/device/bus.h>
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/netdevice.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <net/addrconf.h>

#include "p2pdma_rnic.h"

#define RNIC_MAX		8

static char *netdev[RNIC_MAX];
static int netdevs;
module_param_array(netdev, charp, &netdevs, 0444);
MODULE_PARM_DESC(netdev, "network interfaces, whose addresses adapters have");

static char *engine[RNIC_MAX];
module_param_array(engine, charp, NULL, 0444);
MODULE_PARM_DESC(engine, "their DMA engines, by device; default: any that is free");

unsigned int rnic_timeout_ms = 10 * MSEC_PER_SEC;
module_param_named(timeout_ms, rnic_timeout_ms, uint, 0644);
MODULE_PARM_DESC(timeout_ms, "how long an engine may take for up to 32 copies, in milliseconds");

DEFINE_MUTEX(rnic_mutex);		/* see p2pdma_rnic.h */
struct workqueue_struct *rnic_workqueue;
struct page *rnic_wire;

/* Protects the list, and rnic::registered and ::gone */
static DEFINE_MUTEX(rnic_adapters_mutex);
static LIST_HEAD(rnic_adapters);

/* ---- Attributes ---- */

static int rnic_query_device(struct ib_device *ib, struct ib_device_attr *attr,
			     struct ib_udata *udata)
{
	struct pci_dev *pdev = to_pci_dev(rnic_dma_device(rnic_of(ib)));

	*attr = (struct ib_device_attr) {
		.sys_image_guid = ib->node_guid,
		.vendor_id = pdev->vendor,
		.vendor_part_id = pdev->device,
		.hw_ver = pdev->revision,
		.page_size_cap = ~(u64)(PAGE_SIZE - 1),
		.device_cap_flags = IB_DEVICE_MEM_MGT_EXTENSIONS,
		.kernel_cap_flags = IBK_LOCAL_DMA_LKEY,
		.max_mr_size = RNIC_MAX_MR_SIZE,
		.max_qp = U32_MAX >> 8,
		.max_qp_wr = RNIC_MAX_WR,
		.max_send_sge = RNIC_MAX_SGE,
		.max_recv_sge = RNIC_MAX_SGE,
		.max_sge_rd = RNIC_MAX_SGE,
		.max_cq = INT_MAX,
		.max_cqe = RNIC_MAX_CQE,
		.max_mr = U32_MAX >> 8,
		.max_pd = INT_MAX,
		.max_qp_rd_atom = RNIC_MAX_READS,
		.max_qp_init_rd_atom = RNIC_MAX_READS,
		.max_fast_reg_page_list_len = RNIC_MAX_MR_PAGES,
	};
	return 0;
}

static int rnic_query_port(struct ib_device *ib, u32 port,
			   struct ib_port_attr *attr)
{
	/* The RDMA core knows the rest from the network interface. */
	attr->gid_tbl_len = 1;
	attr->max_msg_sz = U32_MAX;
	attr->active_width = IB_WIDTH_1X;
	attr->active_speed = IB_SPEED_SDR;
	return 0;
}

static int rnic_get_port_immutable(struct ib_device *ib, u32 port,
				   struct ib_port_immutable *immutable)
{
	immutable->gid_tbl_len = 1;
	immutable->core_cap_flags = RDMA_CORE_PORT_IWARP;
	return 0;
}

/* An iWARP adapter's GID is its MAC address. */
static int rnic_query_gid(struct ib_device *ib, u32 port, int index,
			  union ib_gid *gid)
{
	struct net_device *ndev = ib_device_get_netdev(ib, port);

	if (!ndev)
		return -ENODEV;
	memset(gid, 0, sizeof(*gid));
	memcpy(gid->raw, ndev->dev_addr, ETH_ALEN);
	dev_put(ndev);
	return 0;
}

/* ---- Programs ---- */

/* A program that uses an adapter */
struct rnic_ucontext {
	struct ib_ucontext ib;
};

static int rnic_alloc_ucontext(struct ib_ucontext *ib, struct ib_udata *udata)
{
	return 0;
}

static void rnic_dealloc_ucontext(struct ib_ucontext *ib)
{
}

/* The adapter goes, and programs have nothing of it mapped. */
static void rnic_disassociate_ucontext(struct ib_ucontext *ib)
{
}

/* ---- Adapters ---- */

/* Also of an adapter whose registration has failed */
static void rnic_dealloc_driver(struct ib_device *ib)
{
	struct rnic *rnic = rnic_of(ib);

	/* Who looks for the adapter of an engine waits until that is free. */
	guard(mutex)(&rnic_adapters_mutex);

	list_del(&rnic->list);
	dma_unmap_page_attrs(rnic_dma_device(rnic), rnic->wire, RNIC_WIRE_SIZE,
			     DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC);
	dma_release_channel(rnic->chan);
	rnic_free_stand_ins(rnic);
	xa_destroy(&rnic->mrs);
	xa_destroy(&rnic->qps);
}

static const struct ib_device_ops rnic_ops = {
	.owner = THIS_MODULE,
	.driver_id = RDMA_DRIVER_UNKNOWN,
	.query_device = rnic_query_device,
	.query_port = rnic_query_port,
	.get_port_immutable = rnic_get_port_immutable,
	.query_gid = rnic_query_gid,
	.dealloc_driver = rnic_dealloc_driver,
	.alloc_ucontext = rnic_alloc_ucontext,
	.dealloc_ucontext = rnic_dealloc_ucontext,
	.disassociate_ucontext = rnic_disassociate_ucontext,

	INIT_RDMA_OBJ_SIZE(ib_ucontext, rnic_ucontext, ib),
};

/* A PCI device's, which can end a copy and wait for its callbacks */
static bool rnic_engine_fits(struct dma_chan *chan, void *name)
{
	struct dma_device *dma = chan->device;

	return (!name || !strcmp(dev_name(dma->dev), name)) &&
	       dev_is_pci(dmaengine_get_dma_device(chan)) &&
	       dma->device_terminate_all && dma->device_synchronize;
}

/* A channel for an adapter's own use, or an error, which has been told */
static struct dma_chan *rnic_get_channel(char *name)
{
	struct dma_chan *chan;
	dma_cap_mask_t mask;

	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMCPY, mask);
	chan = dma_request_channel(mask, rnic_engine_fits, name);
	if (chan)
		return chan;
	pr_err("no DMA engine%s%s is free, a PCI device, and can both copy memory and end a copy\n",
	       name ? " " : "", name ?: "");
	return ERR_PTR(-ENODEV);
}

/* Let the notifiers find an adapter, unless what it is made of is going already. */
static bool rnic_announce(struct rnic *rnic)
{
	struct device *dev = rnic_dma_device(rnic);

	/* Whoever unbinds its driver has the lock, and may have notified. */
	if (!device_trylock(dev))
		return false;
	scoped_guard(mutex, &rnic_adapters_mutex) {
		list_add(&rnic->list, &rnic_adapters);
		rnic->gone = READ_ONCE(rnic->netdev->reg_state) !=
			     NETREG_REGISTERED;
	}
	device_unlock(dev);
	return true;
}

/* An adapter that isn't registered yet; who has it may call ib_dealloc_device(). */
static struct rnic *rnic_alloc(struct net_device *ndev, char *engine_name)
{
	struct dma_chan *chan;
	struct rnic *rnic;
	struct device *dev;

	chan = rnic_get_channel(engine_name);
	if (IS_ERR(chan))
		return ERR_CAST(chan);
	rnic = ib_alloc_device(rnic, ib);
	if (!rnic) {
		dma_release_channel(chan);
		return ERR_PTR(-ENOMEM);
	}
	rnic->chan = chan;
	rnic->netdev = ndev;
	dev = rnic_dma_device(rnic);
	/* Each use is synced; it is mapped for several devices at a time. */
	rnic->wire = dma_map_page_attrs(dev, rnic_wire, 0, RNIC_WIRE_SIZE,
					DMA_BIDIRECTIONAL,
					DMA_ATTR_SKIP_CPU_SYNC);
	if (dma_mapping_error(dev, rnic->wire)) {
		ib_dealloc_device(&rnic->ib);
		dma_release_channel(chan);
		return ERR_PTR(-ENOMEM);
	}

	xa_init_flags(&rnic->qps, XA_FLAGS_ALLOC1);
	xa_init_flags(&rnic->mrs, XA_FLAGS_ALLOC1);
	xa_init(&rnic->stand_ins);
	rnic->ib.node_type = RDMA_NODE_RNIC;
	rnic->ib.phys_port_cnt = 1;
	rnic->ib.num_comp_vectors = num_possible_cpus();
	rnic->ib.local_dma_lkey = 0;
	rnic->ib.uverbs_cmd_mask |= BIT_ULL(IB_USER_VERBS_CMD_POST_SEND) |
				    BIT_ULL(IB_USER_VERBS_CMD_POST_RECV) |
				    BIT_ULL(IB_USER_VERBS_CMD_POLL_CQ) |
				    BIT_ULL(IB_USER_VERBS_CMD_REQ_NOTIFY_CQ);
	rnic->ib.dev.parent = dev;
	ib_set_device_ops(&rnic->ib, &rnic_ops);
	ib_set_device_ops(&rnic->ib, &rnic_mem_ops);
	ib_set_device_ops(&rnic->ib, &rnic_qp_ops);
	ib_set_device_ops(&rnic->ib, &rnic_cm_ops);
	INIT_LIST_HEAD(&rnic->list);
	if (!rnic_announce(rnic)) {
		dev_err(dev, "the driver is being unbound\n");
		ib_dealloc_device(&rnic->ib);
		return ERR_PTR(-EBUSY);
	}
	return rnic;
}

/* ---- What goes away ---- */

/* A registered adapter that has to go, with a reference, or NULL */
static struct rnic *rnic_get_gone(void)
{
	struct rnic *rnic;

	guard(mutex)(&rnic_adapters_mutex);

	list_for_each_entry(rnic, &rnic_adapters, list)
		if (rnic->gone && rnic->registered) {
			get_device(&rnic->ib.dev);
			return rnic;
		}
	return NULL;
}

static void rnic_remove_gone(struct work_struct *unused)
{
	struct rnic *rnic;

	while ((rnic = rnic_get_gone())) {
		ib_unregister_device(&rnic->ib);
		put_device(&rnic->ib.dev);
	}
}

static DECLARE_WORK(rnic_removal, rnic_remove_gone);

static bool rnic_is_any(struct rnic *rnic, const void *unused)
{
	return true;
}

static bool rnic_is_on(struct rnic *rnic, const void *dev)
{
	return rnic_dma_device(rnic) == dev;
}

static bool rnic_has_netdev(struct rnic *rnic, const void *ndev)
{
	return rnic->netdev == ndev;
}

static bool rnic_mark_gone(bool (*is)(struct rnic *rnic, const void *what),
			   const void *what)
{
	struct rnic *rnic;
	bool any = false;

	guard(mutex)(&rnic_adapters_mutex);

	list_for_each_entry(rnic, &rnic_adapters, list)
		if (is(rnic, what)) {
			rnic->gone = true;
			any = true;
		}
	return any;
}

/* ---- Registration ---- */

static int rnic_register(struct rnic *rnic, struct net_device *ndev)
{
	bool gone;
	int ret;

	addrconf_addr_eui48((u8 *)&rnic->ib.node_guid, ndev->dev_addr);
	rnic->ib.iw_driver_flags = IW_F_NO_PORT_MAP;
	strscpy(rnic->ib.iw_ifname, ndev->name);
	ret = ib_device_set_netdev(&rnic->ib, ndev, RNIC_PORT);
	if (!ret)
		ret = ib_register_device(&rnic->ib, "p2prnic%d",
					 rnic_dma_device(rnic));
	if (ret) {
		ib_dealloc_device(&rnic->ib);
		return ret;
	}

	/* Its engine or its interface may have gone meanwhile. */
	scoped_guard(mutex, &rnic_adapters_mutex) {
		rnic->registered = true;
		gone = rnic->gone;
	}
	if (gone)
		rnic_remove_gone(NULL);
	return gone ? -ENODEV : 0;
}

static int rnic_add(char *netdev_name, char *engine_name)
{
	struct net_device *ndev;
	struct rnic *rnic;
	int ret;

	ndev = dev_get_by_name(&init_net, netdev_name);
	if (!ndev) {
		pr_err("there is no network interface %s\n", netdev_name);
		return -ENODEV;
	}
	rnic = rnic_alloc(ndev, engine_name);
	ret = IS_ERR(rnic) ? PTR_ERR(rnic) : rnic_register(rnic, ndev);
	dev_put(ndev);
	return ret;
}

/* ---- Notifiers ---- */

/* The driver's remove() may wait for the channel to be free. */
static int rnic_bus_notify(struct notifier_block *nb, unsigned long action,
			   void *dev)
{
	if (action == BUS_NOTIFY_UNBIND_DRIVER && rnic_mark_gone(rnic_is_on, dev))
		rnic_remove_gone(NULL);
	return NOTIFY_DONE;
}

static struct notifier_block rnic_bus_notifier = {
	.notifier_call = rnic_bus_notify,
};

static void rnic_port_event(struct net_device *ndev, enum ib_event_type type)
{
	struct ib_event event = {
		.event = type,
		.element.port_num = RNIC_PORT,
	};
	struct rnic *rnic;

	guard(mutex)(&rnic_adapters_mutex);

	list_for_each_entry(rnic, &rnic_adapters, list) {
		if (rnic->netdev != ndev || !ib_device_try_get(&rnic->ib))
			continue;
		event.device = &rnic->ib;
		ib_dispatch_event(&event);
		ib_device_put(&rnic->ib);
	}
}

static int rnic_netdev_notify(struct notifier_block *nb, unsigned long action,
			      void *data)
{
	struct net_device *ndev = netdev_notifier_info_to_dev(data);

	switch (action) {
	case NETDEV_UP:
		rnic_port_event(ndev, IB_EVENT_PORT_ACTIVE);
		break;
	case NETDEV_DOWN:
		rnic_port_event(ndev, IB_EVENT_PORT_ERR);
		break;
	case NETDEV_CHANGEADDR:
		rnic_port_event(ndev, IB_EVENT_GID_CHANGE);
		break;
	case NETDEV_UNREGISTER:
		/* Not here, where rtnl_mutex is held */
		if (rnic_mark_gone(rnic_has_netdev, ndev))
			schedule_work(&rnic_removal);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block rnic_netdev_notifier = {
	.notifier_call = rnic_netdev_notify,
};

/* ---- The module ---- */

static void rnic_stop(void)
{
	rnic_mark_gone(rnic_is_any, NULL);
	rnic_remove_gone(NULL);
	/* This notifies of all interfaces' end. */
	unregister_netdevice_notifier(&rnic_netdev_notifier);
	bus_unregister_notifier(&pci_bus_type, &rnic_bus_notifier);
	cancel_work_sync(&rnic_removal);
}

static int rnic_start(void)
{
	int ret, i;

	ret = bus_register_notifier(&pci_bus_type, &rnic_bus_notifier);
	if (ret)
		return ret;
	ret = register_netdevice_notifier(&rnic_netdev_notifier);
	if (ret) {
		bus_unregister_notifier(&pci_bus_type, &rnic_bus_notifier);
		return ret;
	}

	for (i = 0; i < netdevs && !ret; i++)
		ret = rnic_add(netdev[i], engine[i]);
	if (ret)
		rnic_stop();
	return ret;
}

static int __init rnic_init(void)
{
	int ret = -ENOMEM;

	if (!netdevs) {
		pr_err("name network interfaces: netdev=...\n");
		return -EINVAL;
	}
	/* In reach of engines with 32-bit addresses */
	rnic_wire = alloc_pages(GFP_KERNEL | GFP_DMA32,
				get_order(RNIC_WIRE_SIZE));
	if (!rnic_wire)
		return ret;
	rnic_workqueue = alloc_ordered_workqueue(KBUILD_MODNAME,
						 WQ_MEM_RECLAIM);
	if (rnic_workqueue) {
		ret = rnic_start();
		if (!ret)
			return 0;
		destroy_workqueue(rnic_workqueue);
	}
	__free_pages(rnic_wire, get_order(RNIC_WIRE_SIZE));
	return ret;
}

static void __exit rnic_exit(void)
{
	rnic_stop();
	destroy_workqueue(rnic_workqueue);
	__free_pages(rnic_wire, get_order(RNIC_WIRE_SIZE));
}

module_init(rnic_init);
module_exit(rnic_exit);

MODULE_DESCRIPTION("Sample RDMA adapter: loopback by a DMA engine");
MODULE_LICENSE("GPL");
