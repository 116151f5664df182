// SPDX-License-Identifier: GPL-2.0
/*
 * Allocates the pages of a BAR itself, by p2pdma_add_pages(), as the driver of a GPU
 * would.  Like p2pdma_gpu_test, which does the same on any core by a workaround, it
 * isn't the driver that the PCI device is bound to.
 *
 * Programs map pages by mmap() of /dev/p2pdma_pages_test and get them on the first
 * access, in the order of their addresses.  write() to it gets all pages back.  When
 * the bound driver is unbound, accesses give SIGBUS; loading the module again brings
 * the memory back.
 *
 * Parameters: "device" and "bar" say which BAR; "wc" makes it write-combined; "out"
 * counts the pages that are in use, "freed" those that came back, "reclaimed" calls of
 * reclaim(), and "pinned" pages that were still in use after they were unmapped, the
 * last time that all were wanted back.  "hold" can be written: 1 keeps one page, as if
 * a device were using it, until 0 is written.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
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
#include <linux/sysfs.h>
#include <linux/wait.h>

static char *device;
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "PCI device with the memory, as in 0000:03:00.0");

static int bar;
module_param(bar, int, 0444);
MODULE_PARM_DESC(bar, "number of its BAR");

static bool wc;
module_param(wc, bool, 0444);
MODULE_PARM_DESC(wc, "make it write-combined");

static atomic_long_t out_pages = ATOMIC_LONG_INIT(0);

static int out_get(char *text, const struct kernel_param *param)
{
	return sysfs_emit(text, "%ld\n", atomic_long_read(&out_pages));
}

static const struct kernel_param_ops out_ops = {
	.get = out_get,
};

module_param_cb(out, &out_ops, NULL, 0444);
MODULE_PARM_DESC(out, "pages in use");

static long pinned;
module_param(pinned, long, 0444);
MODULE_PARM_DESC(pinned, "pages in use after the last time that all were unmapped");

static long freed;
module_param(freed, long, 0444);
MODULE_PARM_DESC(freed, "pages that came back");

static int reclaimed;
module_param(reclaimed, int, 0444);
MODULE_PARM_DESC(reclaimed, "calls of reclaim()");

static struct pci_dev *pdev;
static unsigned long first_pfn, nr_pages;
static unsigned long *used;		/* a bit for each page */
static DECLARE_WAIT_QUEUE_HEAD(all_free);

/*
 * Protects the variables below and the taking of pages, and is held while a page is
 * mapped.
 */
static DEFINE_MUTEX(lock);
static bool gone = true;
static unsigned long next;		/* where to look for a free page */
static struct page *held;		/* by "hold", or NULL */
static struct inode *node;		/* all mappings are in its address space */

static void pages_free(struct page *page)
{
	WARN_ON(page->zone_device_data != &used);
	WRITE_ONCE(freed, freed + 1);
	clear_bit(page_to_pfn(page) - first_pfn, used);
	if (atomic_long_dec_and_test(&out_pages))
		wake_up(&all_free);
}

static void pages_unmap(void)
{
	if (node)
		unmap_mapping_range(node->i_mapping, 0, 0, true);
	pinned = atomic_long_read(&out_pages);
}

static void pages_reclaim(struct pci_dev *owner)
{
	scoped_guard(mutex, &lock) {
		gone = true;
		reclaimed++;
	}
	/* No fault maps a page from here on. */
	pages_unmap();
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
	n = find_next_zero_bit(used, nr_pages, next);
	if (n == nr_pages)
		n = find_first_zero_bit(used, nr_pages);
	if (n == nr_pages)
		return ERR_PTR(-ENOMEM);
	ret = p2pdma_take_page(pfn_to_page(first_pfn + n), &used);
	if (ret)
		return ERR_PTR(ret);
	set_bit(n, used);
	next = n + 1;
	atomic_long_inc(&out_pages);
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
	vma->vm_page_prot = p2pdma_page_prot(pfn_to_page(first_pfn),
					     vma->vm_page_prot);
	vm_flags_set(vma, VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &pages_vm_ops;
	return 0;
}

static int pages_open(struct inode *inode, struct file *file)
{
	guard(mutex)(&lock);
	if (!node) {
		ihold(inode);
		node = inode;
	}
	file->f_mapping = node->i_mapping;
	return 0;
}

/* Programs that go on get other pages. */
static ssize_t pages_write(struct file *file, const char __user *buf,
			   size_t count, loff_t *pos)
{
	guard(mutex)(&lock);
	pages_unmap();
	wait_event(all_free, !atomic_long_read(&out_pages));
	return count;
}

static const struct file_operations pages_fops = {
	.owner = THIS_MODULE,
	.open = pages_open,
	.write = pages_write,
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
	if (ret)
		return ret;
	scoped_guard(mutex, &lock)
		gone = false;
	return 0;
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
	iput(node);
	pci_dev_put(pdev);
}
module_exit(pages_exit);

MODULE_DESCRIPTION("Allocates the pages of a BAR itself, for the P2PDMA selftests");
MODULE_LICENSE("GPL");
