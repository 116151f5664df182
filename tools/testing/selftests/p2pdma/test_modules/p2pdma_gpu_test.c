// SPDX-License-Identifier: GPL-2.0
/*
 * Uses P2PDMA as GPU vendors' modules in the field do.
 *
 * Such a module isn't the driver that the PCI device is bound to.  It registers
 * a BAR of that device, puts page map operations of its own in place of the
 * core's, writes page->zone_device_data and page counts, and allocates the pages
 * itself, here for programs.  To get pages back, it unmaps them, and waits for
 * the I/O that has pinned them.  It does so on request, when the bound driver is
 * unbound, and when it is unloaded.  In the last case it then removes the struct
 * pages by devm_memunmap_pages().
 *
 * mmap() of /dev/p2pdma_gpu_test takes pages for the length of the mapping, in
 * the order of their addresses.  write() to it gets all pages back.  When the
 * bound driver is unbound, the memory is gone, and loading the module again
 * brings it back.
 *
 * Parameters: "device" and "bar" say which BAR; "out" counts the pages that are
 * in use, "freed" those that the page map operation got back, and "pinned" those
 * that were still in use after they were unmapped, the last time that the module
 * wanted all of them back.
 *
 * It uses only the interface of Linux 6.12.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/memremap.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/page_ref.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/percpu-refcount.h>
#include <linux/pfn.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

static char *device;
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "PCI device with the memory, as in 0000:03:00.0");

static int bar;
module_param(bar, int, 0444);
MODULE_PARM_DESC(bar, "number of its BAR");

static long out;
module_param(out, long, 0444);
MODULE_PARM_DESC(out, "pages in use");

static long freed;
module_param(freed, long, 0444);
MODULE_PARM_DESC(freed, "pages that came back");

static long pinned;
module_param(pinned, long, 0444);
MODULE_PARM_DESC(pinned, "pages in use after the last time that all were unmapped");

/* page->zone_device_data points to one of these. */
static char never_used, in_use, used_before;

static struct pci_dev *pdev;
static unsigned long first_pfn, nr_pages;

/* Protects the variables below; pgmap goes when the bound driver is unbound. */
static DEFINE_MUTEX(lock);
static struct inode *gpu_inode;		/* all mappings are in its address space */
static struct dev_pagemap *pgmap;	/* NULL: gone */

/* Protects the variables below, and "out" and "freed". */
static DEFINE_SPINLOCK(pages_lock);
static unsigned long *used;		/* a bit for each page */
static unsigned long next;		/* where to look for a free page */
static DECLARE_WAIT_QUEUE_HEAD(all_free);

/* In the context of the last user, which may be the end of I/O in an interrupt */
static void gpu_page_free(struct page *page)
{
	struct dev_pagemap *of = page->pgmap;

	WARN_ON_ONCE(page->zone_device_data != &in_use);
	page->zone_device_data = &used_before;
	scoped_guard(spinlock_irqsave, &pages_lock) {
		__clear_bit(page_to_pfn(page) - first_pfn, used);
		freed++;
		if (!--out)
			wake_up(&all_free);
	}
	percpu_ref_put(&of->ref);
}

static const struct dev_pagemap_ops gpu_pgmap_ops = {
	.page_free = gpu_page_free,
};

static struct page *gpu_take(void)
{
	struct page *page;
	unsigned long nr;

	lockdep_assert_held(&lock);
	guard(spinlock_irq)(&pages_lock);
	nr = find_next_zero_bit(used, nr_pages, next);
	if (nr == nr_pages)
		nr = find_first_zero_bit(used, nr_pages);
	if (nr == nr_pages || !percpu_ref_tryget_live(&pgmap->ref))
		return NULL;

	__set_bit(nr, used);
	next = nr + 1;
	out++;
	page = pfn_to_page(first_pfn + nr);
	/* As gpu_take_over() left them, or, if the page was used before, as the kernel did */
	if (page->zone_device_data == &never_used)
		WARN_ON_ONCE(page_count(page) != 0);
	else
		WARN_ON_ONCE(page->zone_device_data != &used_before ||
			     page_count(page) != 1);
	page->zone_device_data = &in_use;
	set_page_count(page, 1);
	return page;
}

static int gpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long at;
	struct page *page;
	int ret;

	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;

	guard(mutex)(&lock);
	if (!pgmap)
		return -ENODEV;
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	for (at = vma->vm_start; at < vma->vm_end; at += PAGE_SIZE) {
		page = gpu_take();
		if (!page)
			return -ENOMEM;
		ret = vm_insert_page(vma, at, page);
		/* If it is mapped, the mapping's reference remains. */
		put_page(page);
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * Unmap all pages, and wait until those that I/O has pinned come back.  More than
 * once, as an mmap() may have filled a mapping that isn't in the address space yet.
 */
static void gpu_reclaim(void)
{
	lockdep_assert_held(&lock);
	if (!gpu_inode)
		return;
	unmap_mapping_range(gpu_inode->i_mapping, 0, 0, 1);
	pinned = READ_ONCE(out);
	while (!wait_event_timeout(all_free, !READ_ONCE(out), HZ / 10))
		unmap_mapping_range(gpu_inode->i_mapping, 0, 0, 1);
}

static ssize_t gpu_write(struct file *file, const char __user *buf,
			 size_t count, loff_t *pos)
{
	guard(mutex)(&lock);
	gpu_reclaim();
	return count;
}

static int gpu_open(struct inode *inode, struct file *file)
{
	guard(mutex)(&lock);
	if (!gpu_inode) {
		ihold(inode);
		gpu_inode = inode;
	}
	file->f_mapping = gpu_inode->i_mapping;
	return 0;
}

static const struct file_operations gpu_fops = {
	.owner = THIS_MODULE,
	.open = gpu_open,
	.write = gpu_write,
	.mmap = gpu_mmap,
};

static struct miscdevice gpu_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = KBUILD_MODNAME,
	.fops = &gpu_fops,
};

static int gpu_event(struct notifier_block *nb, unsigned long event, void *data)
{
	if (event != BUS_NOTIFY_UNBIND_DRIVER || data != &pdev->dev)
		return NOTIFY_DONE;
	guard(mutex)(&lock);
	pgmap = NULL;
	/* What is mapped now would keep the driver core from removing the pages. */
	gpu_reclaim();
	return NOTIFY_OK;
}

static struct notifier_block gpu_notifier = {
	.notifier_call = gpu_event,
};

/* Take over the page map that pci_p2pdma_add_resource() made */
static int gpu_take_over(void)
{
	struct page *page;
	unsigned long i;

	first_pfn = PHYS_PFN(pci_resource_start(pdev, bar));
	nr_pages = pci_resource_len(pdev, bar) >> PAGE_SHIFT;
	page = pfn_to_page(first_pfn);
	if (!is_pci_p2pdma_page(page)) {
		pci_err(pdev, "BAR %d has other pages\n", bar);
		return -ENXIO;
	}
	pgmap = page->pgmap;
	if (pgmap->ops == &gpu_pgmap_ops) {
		pci_err(pdev, "the operations of an earlier load are still there\n");
		return -EEXIST;
	}

	used = bitmap_zalloc(nr_pages, GFP_KERNEL);
	if (!used)
		return -ENOMEM;
	for (i = 0; i < nr_pages; i++, page++) {
		if (page_count(page) != 1 || page->pgmap != pgmap) {
			pci_err(pdev, "page %lu: count %d\n", i,
				page_count(page));
			return -EINVAL;
		}
		page->zone_device_data = &never_used;
		set_page_count(page, 0);
	}
	pgmap->ops = &gpu_pgmap_ops;
	return 0;
}

static void gpu_give_back(void)
{
	guard(mutex)(&lock);
	if (!pgmap)
		return;
	gpu_reclaim();
	devm_memunmap_pages(&pdev->dev, pgmap);
	pgmap = NULL;
}

static int __init gpu_init(void)
{
	struct device *dev;
	int ret;

	dev = device ? bus_find_device_by_name(&pci_bus_type, NULL, device) :
		       NULL;
	if (!dev) {
		pr_err("device=%s isn't there\n", device ?: "");
		return -ENODEV;
	}
	pdev = to_pci_dev(dev);

	ret = pci_p2pdma_add_resource(pdev, bar, 0, 0);
	if (ret)
		goto err_put;
	ret = gpu_take_over();
	if (ret)
		goto err_pages;
	ret = bus_register_notifier(&pci_bus_type, &gpu_notifier);
	if (ret)
		goto err_pages;
	ret = misc_register(&gpu_misc);
	if (ret)
		goto err_notifier;
	return 0;

err_notifier:
	bus_unregister_notifier(&pci_bus_type, &gpu_notifier);
err_pages:
	gpu_give_back();
	bitmap_free(used);
err_put:
	pci_dev_put(pdev);
	return ret;
}
module_init(gpu_init);

static void __exit gpu_exit(void)
{
	misc_deregister(&gpu_misc);
	bus_unregister_notifier(&pci_bus_type, &gpu_notifier);
	gpu_give_back();
	bitmap_free(used);
	iput(gpu_inode);
	pci_dev_put(pdev);
}
module_exit(gpu_exit);

MODULE_DESCRIPTION("Uses P2PDMA as GPU vendors' modules do, for the selftests");
MODULE_LICENSE("GPL");
