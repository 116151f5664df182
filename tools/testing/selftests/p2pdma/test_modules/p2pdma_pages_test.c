// SPDX-License-Identifier: GPL-2.0
/*
 * Allocates the pages of a BAR itself, by p2pdma_add_pages(), as the driver of a GPU
 * would.  Like p2pdma_gpu_test, which does the same on any core by a workaround, it
 * isn't the driver that the PCI device is bound to.
 *
 * Parameters: "device" and "bar" say which BAR; "wc" makes it write-combined; "freed"
 * counts the pages that came back; "reclaimed" counts calls of reclaim(); "hold" can
 * be written: 1 keeps one page, as if a device were using it, until 0 is written.
 * Programs map pages by mmap() of /dev/p2pdma_pages_test and get them on the first
 * access.  When the bound driver is unbound, accesses give SIGBUS; loading the module
 * again brings the memory back.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/kstrtox.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/pfn.h>

static char *device;
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "PCI device with the memory, as in 0000:03:00.0");

static int bar;
module_param(bar, int, 0444);
MODULE_PARM_DESC(bar, "number of its BAR");

static bool wc;
module_param(wc, bool, 0444);
MODULE_PARM_DESC(wc, "make it write-combined");

static long freed;
module_param(freed, long, 0444);
MODULE_PARM_DESC(freed, "pages that came back");

static int reclaimed;
module_param(reclaimed, int, 0444);
MODULE_PARM_DESC(reclaimed, "calls of reclaim()");

static struct pci_dev *pdev;
static unsigned long first_pfn, nr_pages;
static unsigned long *used;		/* a bit for each page */
static struct page *held;		/* by "hold", or NULL */
static struct address_space *mapping;	/* of the device node, or NULL */

/* Protects the allocator and gone, and is held while a page is mapped. */
static DEFINE_MUTEX(lock);
static bool gone = true;

static void pages_free(struct page *page)
{
	WARN_ON(page->zone_device_data != &used);
	WRITE_ONCE(freed, freed + 1);
	clear_bit(page_to_pfn(page) - first_pfn, used);
}

static void pages_reclaim(struct pci_dev *owner)
{
	scoped_guard(mutex, &lock) {
		gone = true;
		reclaimed++;
	}
	/* No fault maps a page from here on. */
	if (mapping)
		unmap_mapping_range(mapping, 0, 0, true);
}

static const struct p2pdma_pages_ops pages_ops = {
	.page_free = pages_free,
	.reclaim = pages_reclaim,
};

/* A page with one reference, for the caller; or an errno */
static struct page *pages_take(void)
{
	unsigned long n;
	int ret;

	lockdep_assert_held(&lock);
	if (gone)
		return ERR_PTR(-ENODEV);
	n = find_first_zero_bit(used, nr_pages);
	if (n == nr_pages)
		return ERR_PTR(-ENOMEM);
	ret = p2pdma_take_page(pfn_to_page(first_pfn + n), &used);
	if (ret)
		return ERR_PTR(ret);
	set_bit(n, used);
	return pfn_to_page(first_pfn + n);
}

/* ---- Programs ---- */

static vm_fault_t pages_fault(struct vm_fault *vmf)
{
	struct page *page;
	int ret;

	guard(mutex)(&lock);
	page = pages_take();
	if (IS_ERR(page))
		return page == ERR_PTR(-ENOMEM) ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
	ret = vm_insert_page(vmf->vma, vmf->address & PAGE_MASK, page);
	/* Leave the mapping's reference as the only one. */
	put_page(page);
	/* -EBUSY: another thread was faster. */
	return !ret || ret == -EBUSY ? VM_FAULT_NOPAGE : vmf_error(ret);
}

static const struct vm_operations_struct pages_vm_ops = {
	.fault = pages_fault,
};

static int pages_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;

	guard(mutex)(&lock);
	if (gone)
		return -ENODEV;
	mapping = file->f_mapping;
	vma->vm_page_prot = p2pdma_page_prot(pfn_to_page(first_pfn),
					     vma->vm_page_prot);
	vm_flags_set(vma, VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &pages_vm_ops;
	return 0;
}

static const struct file_operations pages_fops = {
	.owner = THIS_MODULE,
	.mmap = pages_mmap,
};

static struct miscdevice pages_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = KBUILD_MODNAME,
	.fops = &pages_fops,
};

/* ---- A page that stays in use ---- */

static int hold_set(const char *text, const struct kernel_param *param)
{
	struct page *page = NULL;
	bool hold;
	int ret;

	ret = kstrtobool(text, &hold);
	if (ret)
		return ret;

	scoped_guard(mutex, &lock) {
		if (hold == !!held)
			return -EBUSY;
		if (hold) {
			page = pages_take();
			if (IS_ERR(page))
				return PTR_ERR(page);
		}
		swap(held, page);
	}
	if (page)
		put_page(page);
	return 0;
}

static const struct kernel_param_ops hold_ops = {
	.set = hold_set,
};

module_param_cb(hold, &hold_ops, NULL, 0200);
MODULE_PARM_DESC(hold, "1 keeps a page, 0 puts it");

/* ---- Load and unload ---- */

static int pages_register(void)
{
	int ret;

	/* The driver that the device is bound to can't leave meanwhile. */
	guard(device)(&pdev->dev);
	if (!pdev->dev.driver)
		return -ENODEV;
	ret = p2pdma_add_pages(pdev, bar, 0, 0,
			       wc ? P2PDMA_WRITE_COMBINED : P2PDMA_UNCACHED,
			       &pages_ops);
	if (!ret)
		scoped_guard(mutex, &lock)
			gone = false;
	return ret;
}

static int __init pages_init(void)
{
	struct device *dev;
	int ret;

	if (bar < 0 || bar >= PCI_STD_NUM_BARS)
		return -EINVAL;
	dev = device ? bus_find_device_by_name(&pci_bus_type, NULL, device) :
		       NULL;
	if (!dev) {
		pr_err("device=%s isn't there\n", device ?: "");
		return -ENODEV;
	}
	pdev = to_pci_dev(dev);
	first_pfn = PHYS_PFN(pci_resource_start(pdev, bar));
	nr_pages = pci_resource_len(pdev, bar) >> PAGE_SHIFT;

	ret = -ENOMEM;
	used = bitmap_zalloc(nr_pages, GFP_KERNEL);
	if (!used)
		goto err_put;
	ret = pages_register();
	if (ret)
		goto err_free;
	ret = misc_register(&pages_misc);
	if (ret)
		goto err_remove;
	return 0;

err_remove:
	p2pdma_remove_pages(pdev, bar, 0);
err_free:
	bitmap_free(used);
err_put:
	pci_dev_put(pdev);
	return ret;
}
module_init(pages_init);

static void __exit pages_exit(void)
{
	misc_deregister(&pages_misc);
	if (held)
		put_page(held);
	p2pdma_remove_pages(pdev, bar, 0);
	bitmap_free(used);
	pci_dev_put(pdev);
}
module_exit(pages_exit);

MODULE_DESCRIPTION("Allocates the pages of a BAR itself, for the P2PDMA selftests");
MODULE_LICENSE("GPL");
