// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: /dev/p2pdma, and uevents.
 *
 * /dev/p2pdma answers whether a device reaches another one's memory, and why, and
 * lists devices with memory: see include/uapi/linux/p2pdma.h.  Everybody may ask.
 * Answers rest on config space as it is now, and neither read nor fill the cache;
 * nothing is logged.  A rate limit for each open file keeps a program that asks in
 * a loop from holding up other accesses to config space.
 *
 * Uevents tell when a device's memory comes and goes.
 */

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/kobject.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/miscdevice.h>
#include <linux/p2pdma.h>
#include <linux/pci.h>
#include <linux/rculist.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/time64.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "pci.h"
#include "p2pdma.h"

/* Sizes of the structs' first versions; later ones only add to their ends. */
#define P2PDMA_ROUTE_SIZE_1	160
#define P2PDMA_OWNERS_SIZE_1	24

/* Two legs, with at most one device for each bus of a domain */
#define P2PDMA_MAX_PORTS	512

/* ---- Rate limit ---- */

/* Questions that can be asked at once, and time for one more */
#define P2PDMA_BURST	4096
#define P2PDMA_PERIOD	(NSEC_PER_SEC / 1000)

/* An open file: questions up to @due are paid for. */
struct p2pdma_asker {
	spinlock_t lock;	/* of @due */
	ktime_t due;
};

/* Wait until one more question is allowed. */
static int p2pdma_wait_turn(struct file *file)
{
	struct p2pdma_asker *asker = file->private_data;
	ktime_t now = ktime_get(), due;

	scoped_guard(spinlock, &asker->lock) {
		due = max(asker->due, now - P2PDMA_BURST * P2PDMA_PERIOD) +
		      P2PDMA_PERIOD;
		if (due > now && file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		asker->due = due;
	}
	while (due > now) {
		schedule_timeout_interruptible(nsecs_to_jiffies(due - now) + 1);
		if (signal_pending(current)) {
			/* What isn't asked isn't paid for. */
			guard(spinlock)(&asker->lock);
			asker->due -= P2PDMA_PERIOD;
			return -ERESTARTSYS;
		}
		now = ktime_get();
	}
	return 0;
}

/* ---- Arguments ---- */

/*
 * Copy a struct with its size as first member from user space.  A caller that knows
 * a later version has set what this kernel doesn't know to 0, or gets -E2BIG.
 */
static int p2pdma_get_query(void *query, u32 known, u32 least,
			    const void __user *arg, u32 *size)
{
	if (get_user(*size, (const u32 __user *)arg))
		return -EFAULT;
	if (*size < least)
		return -EINVAL;
	if (*size > PAGE_SIZE)
		return -E2BIG;
	return copy_struct_from_user(query, known, arg, *size);
}

/* The elements of an array have the size that the caller knows. */
static int p2pdma_check_element(u32 count, u32 size)
{
	if (count && size < sizeof(struct p2pdma_pci_address))
		return -EINVAL;
	return count && size > PAGE_SIZE ? -E2BIG : 0;
}

static int p2pdma_put_element(u64 array, u32 at, u32 size, const void *element,
			      u32 known)
{
	void __user *to = u64_to_user_ptr(array + (u64)at * size);

	if (copy_to_user(to, element, min(size, known)) ||
	    (size > known && clear_user(to + known, size - known)))
		return -EFAULT;
	return 0;
}

/* ---- P2PDMA_QUERY_ROUTE ---- */

static struct pci_dev *p2pdma_get_device(const struct p2pdma_pci_address *at)
{
	if (at->domain > INT_MAX)
		return NULL;
	return pci_get_domain_bus_and_slot(at->domain, at->bus, at->devfn);
}

/*
 * BARs of @owner with struct pages, a bit each; without any, all that drivers can
 * map.  @moved: where to store those whose address has changed.
 */
static unsigned int p2pdma_registered_bars(struct pci_dev *owner,
					   unsigned int *moved)
{
	unsigned int i, gone = 0, mappable = 0, pages = 0;
	struct p2pdma_region *region;
	struct pci_p2pdma *p2pdma;

	*moved = 0;
	guard(rcu)();
	p2pdma = p2pdma_of(owner);
	if (!p2pdma)
		return 0;

	list_for_each_entry_rcu(region, &p2pdma->regions, node)
		pages |= BIT(region->bar - p2pdma->bars);
	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		const struct p2pdma_bar *bar = &p2pdma->bars[i];

		/* Pairs with the store in p2pdma.c. */
		if (!smp_load_acquire(&bar->range.start))
			continue;
		mappable |= BIT(i);
		if (p2pdma_pages_have(&bar->range))
			pages |= BIT(i);
		if (!p2pdma_bar_in_place(bar))
			gone |= BIT(i);
	}
	*moved = gone & (pages ?: mappable);
	return pages ?: mappable;
}

/* Ask about two devices that the caller holds. */
static int p2pdma_ask(struct pci_dev *owner, struct pci_dev *client,
		      struct p2pdma_query_route *query,
		      struct p2pdma_query_port *ports, unsigned int room)
{
	int ret;

	query->bars = p2pdma_registered_bars(owner, &query->bars_moved);

	/* Config space of what is suspended doesn't respond. */
	pci_config_pm_runtime_get(owner);
	pci_config_pm_runtime_get(client);
	/* A driver that is unbound takes the dma-ranges with it. */
	ret = device_lock_interruptible(&client->dev);
	if (!ret) {
		p2pdma_answer(owner, client, query->tlp, query, ports, room);
		device_unlock(&client->dev);
	}
	pci_config_pm_runtime_put(client);
	pci_config_pm_runtime_put(owner);
	return ret;
}

static int p2pdma_query_route(struct file *file, void __user *arg)
{
	struct p2pdma_query_port *ports __free(kvfree) = NULL;
	struct pci_dev *client __free(pci_dev_put) = NULL;
	struct pci_dev *owner __free(pci_dev_put) = NULL;
	struct p2pdma_query_route query;
	u32 i, room, size;
	int ret;

	static_assert(sizeof(query) >= P2PDMA_ROUTE_SIZE_1);
	ret = p2pdma_get_query(&query, sizeof(query), P2PDMA_ROUTE_SIZE_1, arg,
			       &size);
	if (ret)
		return ret;
	if (query.flags || query.owner.reserved || query.client.reserved ||
	    query.tlp >= PCI_P2PDMA_TLP_CLASSES)
		return -EINVAL;
	ret = p2pdma_check_element(query.port_count, query.port_size) ?:
	      p2pdma_wait_turn(file);
	if (ret)
		return ret;

	owner = p2pdma_get_device(&query.owner);
	client = p2pdma_get_device(&query.client);
	if (!owner || !client)
		return -ENODEV;
	room = min(query.port_count, P2PDMA_MAX_PORTS);
	if (room) {
		ports = kvcalloc(room, sizeof(*ports), GFP_KERNEL);
		if (!ports)
			return -ENOMEM;
	}

	ret = p2pdma_ask(owner, client, &query, ports, room);
	for (i = 0; !ret && i < min(room, query.port_count); i++)
		ret = p2pdma_put_element(query.ports, i, query.port_size,
					 &ports[i], sizeof(ports[i]));
	if (ret)
		return ret;
	return copy_to_user(arg, &query, min(size, sizeof(query))) ? -EFAULT : 0;
}

/* ---- P2PDMA_QUERY_OWNERS ---- */

/* Describe @pdev if it has registered memory. */
static bool p2pdma_describe_owner(struct pci_dev *pdev,
				  struct p2pdma_query_owner *owner)
{
	struct pci_p2pdma *p2pdma;
	unsigned int moved;

	guard(rcu)();
	p2pdma = p2pdma_of(pdev);
	if (!p2pdma)
		return false;

	*owner = (struct p2pdma_query_owner) {
		.at.domain = pci_domain_nr(pdev->bus),
		.at.bus = pdev->bus->number,
		.at.devfn = pdev->devfn,
		.bars = p2pdma_registered_bars(pdev, &moved),
		.memory = p2pdma_pool_size(p2pdma->pool),
		.available = p2pdma_pool_available(p2pdma->pool),
	};
	if (READ_ONCE(p2pdma->published))
		owner->flags |= P2PDMA_OWNER_PUBLISHED;
	if (owner->memory)
		owner->flags |= P2PDMA_OWNER_PAGES;
	if (READ_ONCE(p2pdma->heap))
		owner->flags |= P2PDMA_OWNER_HEAP;
	return true;
}

static int p2pdma_query_owners(struct file *file, void __user *arg)
{
	struct p2pdma_query_owners query;
	struct p2pdma_query_owner owner;
	struct pci_dev *pdev = NULL;
	u32 size, count = 0;
	int ret;

	static_assert(sizeof(query) >= P2PDMA_OWNERS_SIZE_1);
	ret = p2pdma_get_query(&query, sizeof(query), P2PDMA_OWNERS_SIZE_1, arg,
			       &size);
	if (ret)
		return ret;
	if (query.flags)
		return -EINVAL;
	ret = p2pdma_check_element(query.owner_count, query.owner_size) ?:
	      p2pdma_wait_turn(file);
	if (ret)
		return ret;

	for_each_pci_dev(pdev) {
		if (!p2pdma_describe_owner(pdev, &owner))
			continue;
		if (count < query.owner_count)
			ret = p2pdma_put_element(query.owners, count,
						 query.owner_size, &owner,
						 sizeof(owner));
		if (ret) {
			pci_dev_put(pdev);
			return ret;
		}
		count++;
	}
	query.owner_count = count;
	return copy_to_user(arg, &query, min(size, sizeof(query))) ? -EFAULT : 0;
}

/* ---- The file ---- */

static long p2pdma_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case P2PDMA_QUERY_ROUTE:
		return p2pdma_query_route(file, (void __user *)arg);
	case P2PDMA_QUERY_OWNERS:
		return p2pdma_query_owners(file, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static int p2pdma_open(struct inode *inode, struct file *file)
{
	struct p2pdma_asker *asker;

	/* For root, too: there is nothing to write. */
	if (file->f_mode & FMODE_WRITE)
		return -EACCES;
	asker = kmalloc(sizeof(*asker), GFP_KERNEL);
	if (!asker)
		return -ENOMEM;
	spin_lock_init(&asker->lock);
	asker->due = ktime_get() - P2PDMA_BURST * P2PDMA_PERIOD;
	file->private_data = asker;
	return nonseekable_open(inode, file);
}

static int p2pdma_close(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static const struct file_operations p2pdma_query_fops = {
	.owner = THIS_MODULE,
	.open = p2pdma_open,
	.release = p2pdma_close,
	.unlocked_ioctl = p2pdma_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice p2pdma_query_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "p2pdma",
	.fops = &p2pdma_query_fops,
	.mode = 0444,
};

builtin_misc_device(p2pdma_query_device);

/* ---- Uevents ---- */

/* @what: P2PMEM=... */
static void p2pdma_uevent(struct pci_p2pdma *p2pdma, char *what)
{
	char *env[2] = { what };

	kobject_uevent_env(&p2pdma->pdev->dev.kobj, KOBJ_CHANGE, env);
}

/* Tell what has changed since the last time */
static void p2pdma_tell_work(struct work_struct *work)
{
	struct p2pdma_told *told = container_of(work, struct p2pdma_told, work);
	struct pci_p2pdma *p2pdma = container_of(told, struct pci_p2pdma, told);
	unsigned int registered = READ_ONCE(p2pdma->registered);
	bool published = READ_ONCE(p2pdma->published);

	if (told->registered != registered)
		p2pdma_uevent(p2pdma, "P2PMEM=added");
	if (told->published != published)
		p2pdma_uevent(p2pdma, published ? "P2PMEM=published" :
						  "P2PMEM=withdrawn");
	told->registered = registered;
	told->published = published;
}

/**
 * p2pdma_tell_init - initialise what user space is told of a device
 * @p2pdma: new, not yet in pci_dev::p2pdma
 *
 * Context: any; never sleeps.
 */
void p2pdma_tell_init(struct pci_p2pdma *p2pdma)
{
	INIT_WORK(&p2pdma->told.work, p2pdma_tell_work);
}

/**
 * p2pdma_tell - send uevents about what was registered, published or withdrawn
 * @p2pdma: the owner of the memory
 *
 * Only schedules the work item: uevents are sent in process context.
 *
 * Context: any; never sleeps.
 */
void p2pdma_tell(struct pci_p2pdma *p2pdma)
{
	schedule_work(&p2pdma->told.work);
}

/**
 * p2pdma_tell_end - send the last uevents about a device
 * @p2pdma: no longer in pci_dev::p2pdma
 *
 * Context: may sleep.
 */
void p2pdma_tell_end(struct pci_p2pdma *p2pdma)
{
	disable_work_sync(&p2pdma->told.work);
	if (p2pdma->told.published)
		p2pdma_uevent(p2pdma, "P2PMEM=withdrawn");
	if (p2pdma->told.registered)
		p2pdma_uevent(p2pdma, "P2PMEM=removed");
}
