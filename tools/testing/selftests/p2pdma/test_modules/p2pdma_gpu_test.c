// SPDX-License-Identifier: GPL-2.0
/*
 * Uses P2PDMA as GPU vendors' modules in the field do.
 *
 * Such a module isn't the driver that the PCI device is bound to.  It registers
 * a BAR of that device, puts page map operations of its own in place of the
 * core's, writes page->zone_device_data, and allocates the pages itself, here
 * for programs.  When it is unloaded, it removes the struct pages by
 * devm_memunmap_pages().
 *
 * Parameters: "device" and "bar" say which BAR; "freed" counts the pages that
 * the page map operation got back.  mmap() of /dev/p2pdma_gpu_test takes free
 * pages for the length of the mapping.  When the bound driver is unbound, the
 * memory is gone, and loading the module again brings it back; it must not be
 * mapped at that moment.
 *
 * It uses only the interface of Linux 6.12.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/memremap.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/percpu-refcount.h>
#include <linux/pfn.h>

static char *device;
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "PCI device with the memory, as in 0000:03:00.0");

static int bar;
module_param(bar, int, 0444);
MODULE_PARM_DESC(bar, "number of its BAR");

static long freed;
module_param(freed, long, 0444);
MODULE_PARM_DESC(freed, "pages that came back");

static struct pci_dev *pdev;
static unsigned long first_pfn, nr_pages;
static unsigned long *used;		/* a bit for each page */

/* Protects pgmap, which goes when the bound driver is unbound. */
static DEFINE_MUTEX(lock);
static struct dev_pagemap *pgmap;	/* NULL: gone */

static void gpu_page_free(struct page *page)
{
	struct dev_pagemap *of = page->pgmap;

	WARN_ON(page->zone_device_data != &used);
	clear_bit(page_to_pfn(page) - first_pfn, used);
	WRITE_ONCE(freed, freed + 1);
	percpu_ref_put(&of->ref);
}

static const struct dev_pagemap_ops gpu_pgmap_ops = {
	.page_free = gpu_page_free,
};

static struct page *gpu_take(void)
{
	unsigned long page;

	lockdep_assert_held(&lock);
	page = find_first_zero_bit(used, nr_pages);
	if (page == nr_pages || !percpu_ref_tryget_live(&pgmap->ref))
		return NULL;
	set_bit(page, used);
	return pfn_to_page(first_pfn + page);
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
		if (ret) {
			clear_bit(page_to_pfn(page) - first_pfn, used);
			percpu_ref_put(&pgmap->ref);
			return ret;
		}
		/* Leave the mapping's reference as the only one. */
		put_page(page);
	}
	return 0;
}

static const struct file_operations gpu_fops = {
	.owner = THIS_MODULE,
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
		page->zone_device_data = &used;
	}
	pgmap->ops = &gpu_pgmap_ops;
	return 0;
}

static void gpu_give_back(void)
{
	guard(mutex)(&lock);
	if (pgmap)
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
	pci_dev_put(pdev);
}
module_exit(gpu_exit);

MODULE_DESCRIPTION("Uses P2PDMA as GPU vendors' modules do, for the selftests");
MODULE_LICENSE("GPL");
