// SPDX-License-Identifier: GPL-2.0
/*
 * A device whose memory programs use as their own, and disks too.
 *
 * Drivers of GPUs migrate pages of a program to video memory and back.  While a
 * page is there, the CPU can't access it (device private memory); when it tries,
 * the page is migrated back.  Without more, O_DIRECT to such a page also brings
 * it back, and the data goes to system memory instead of the GPU.
 *
 * With this driver O_DIRECT goes to the page in video memory: to a page of the
 * BAR behind which that memory is.  It shows what a driver does for that:
 *
 * - its video memory is peer-to-peer memory, of which it allocates a page of
 *   the BAR for each private page, by pci_p2pmem_alloc_page();
 * - it names that page when it is asked (gpu_p2pdma_page());
 * - DMA may go on when the private page is no longer mapped, so then it checks
 *   for that, before it copies the data (gpu_has_dma());
 * - if so, it maps the page again, waits a while with no lock held, and has the
 *   fault tried again (gpu_migrate_to_ram()).  Otherwise it could wait for ever:
 *   the DMA may not have been started yet, by a task that first needs the same
 *   page again, for another part of its request, and that may be the one that
 *   waits;
 * - when the private page is freed, it drops its reference; DMA that still goes
 *   on has a reference of its own, and the page is free when both are gone.
 *
 * The device is QEMU's ivshmem, whose BAR 2 takes the part of video memory.  The
 * CPU could access that, and so it does the copying, where a GPU would use its
 * own engine.  The memory must be anonymous and private.  What a GPU's driver
 * needs besides isn't here: work for the device, the device's page tables and the
 * MMU notifier that keeps them up to date, larger pages, making room when video
 * memory is full, and memory cgroups.
 */

#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kref.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/minmax.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/pagemap.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/rwsem.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>

#include "p2pdma_samples.h"

#define GPU_BAR		2
#define GPU_BATCH	64	/* pages that are migrated at once */
#define GPU_POLLS	10	/* for the end of DMA, before a page is tried again */

/*
 * A device.  Open files hold a reference; their requests are refused once the
 * driver is unbound.
 *
 * There are as many private pages as pages of the BAR.  zone_device_data of a
 * private page in use is its page of the BAR, of a free one the next free one.
 */
struct gpu {
	struct kref ref;
	struct miscdevice misc;
	char name[32];
	struct rw_semaphore lock;	/* read: pages are migrated to the device */
	struct pci_dev *pdev;		/* NULL: driver is unbound */
	struct dev_pagemap pgmap;	/* of the private pages */
	spinlock_t pages_lock;		/* protects @free and @used */
	struct page *free;
	unsigned long used;
};

static void gpu_release(struct kref *ref)
{
	kfree(container_of(ref, struct gpu, ref));
}

static void gpu_put(void *data)
{
	struct gpu *gpu = data;

	kref_put(&gpu->ref, gpu_release);
}

static struct gpu *gpu_of_file(struct file *file)
{
	return container_of(file->private_data, struct gpu, misc);
}

/* ---- Memory of the device ---- */

/* Once the driver leaves, no more DMA, so that it needn't wait for ever. */
static struct page *gpu_p2pdma_page(struct page *page)
{
	struct gpu *gpu = page->pgmap->owner;

	return READ_ONCE(gpu->pdev) ? page->zone_device_data : NULL;
}

/* A private page with memory, locked, for migration; NULL: memory is full */
static struct page *gpu_alloc(struct gpu *gpu)
{
	struct page *bar_page = pci_p2pmem_alloc_page(gpu->pdev);
	struct page *page;

	if (!bar_page)
		return NULL;
	scoped_guard(spinlock, &gpu->pages_lock) {
		page = gpu->free;
		gpu->free = page->zone_device_data;
		gpu->used++;
	}
	page->zone_device_data = bar_page;
	zone_device_page_init(page);
	return page;
}

/* No process has the page any more, but DMA may still have that of the BAR. */
static void gpu_page_free(struct page *page)
{
	struct page *bar_page = page->zone_device_data;
	struct gpu *gpu = page->pgmap->owner;

	scoped_guard(spinlock, &gpu->pages_lock) {
		page->zone_device_data = gpu->free;
		gpu->free = page;
		gpu->used--;
	}
	/* Last: a page of the BAR that can be had needs a free private page. */
	put_page(bar_page);
}

static void __iomem *gpu_address(struct page *bar_page)
{
	return (void __iomem __force *)page_address(bar_page);
}

/*
 * Has anybody but this driver the page of the BAR?  None will get it from now on
 * if this is false, and the private page is unmapped.
 */
static bool gpu_has_dma(struct page *bar_page)
{
	if (page_count(bar_page) > 1)
		return true;
	smp_rmb();	/* The data only after that */
	return false;
}

/* @from: in system memory, or NULL for zeros */
static void gpu_copy_in(struct page *bar_page, struct page *from)
{
	void __iomem *to = gpu_address(bar_page);
	void *data;

	if (from) {
		data = kmap_local_page(from);
		memcpy_toio(to, data, PAGE_SIZE);
		kunmap_local(data);
	} else {
		memset_io(to, 0, PAGE_SIZE);
	}
	/*
	 * The writes are posted, and another device takes a different path to
	 * the BAR: wait until they have arrived, before its reads can.
	 */
	readl(to + PAGE_SIZE - sizeof(u32));
}

static void gpu_copy_out(struct page *to, struct page *bar_page)
{
	void *data = kmap_local_page(to);

	memcpy_fromio(data, gpu_address(bar_page), PAGE_SIZE);
	kunmap_local(data);
}

/* ---- Migration ---- */

/* Of pages that are locked and unmapped; -ENOMEM: not all of them */
static int gpu_copy_all_in(struct gpu *gpu, unsigned long *src,
			   unsigned long *dst, unsigned long pages)
{
	struct page *page;
	unsigned long i;

	for (i = 0; i < pages; i++) {
		if (!(src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		page = gpu_alloc(gpu);
		if (!page)
			return -ENOMEM;
		gpu_copy_in(page->zone_device_data, migrate_pfn_to_page(src[i]));
		dst[i] = migrate_pfn(page_to_pfn(page));
	}
	return 0;
}

/* But for those with DMA */
static int gpu_copy_all_out(unsigned long *src, unsigned long *dst,
			    unsigned long pages, gfp_t gfp)
{
	struct page *page, *bar_page;
	unsigned long i;

	for (i = 0; i < pages; i++) {
		dst[i] = 0;
		if (!(src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		bar_page = migrate_pfn_to_page(src[i])->zone_device_data;
		if (gpu_has_dma(bar_page))
			continue;
		page = alloc_page(gfp);
		if (!page)
			return -ENOMEM;
		lock_page(page);
		gpu_copy_out(page, bar_page);
		dst[i] = migrate_pfn(page_to_pfn(page));
	}
	return 0;
}

/*
 * Migrate at most GPU_BATCH pages of one VMA.  Those without a copy stay where
 * they are.  @fault_page: see struct migrate_vma; @moved: pages are added
 */
static int gpu_migrate(struct gpu *gpu, struct vm_area_struct *vma,
		       unsigned long start, unsigned long end,
		       enum migrate_vma_direction direction,
		       struct page *fault_page, u64 *moved)
{
	unsigned long src[GPU_BATCH] = { }, dst[GPU_BATCH] = { };
	struct migrate_vma args = {
		.vma = vma,
		.src = src,
		.dst = dst,
		.start = start,
		.end = end,
		.pgmap_owner = gpu,
		.flags = direction,
		.fault_page = fault_page,
	};
	unsigned long i;
	int ret;

	ret = migrate_vma_setup(&args);
	if (ret)
		return ret;
	if (direction == MIGRATE_VMA_SELECT_SYSTEM)
		ret = gpu_copy_all_in(gpu, src, dst, args.npages);
	else
		ret = gpu_copy_all_out(src, dst, args.npages,
				       GFP_HIGHUSER_MOVABLE);
	migrate_vma_pages(&args);
	for (i = 0; i < args.npages; i++)
		*moved += !!(src[i] & MIGRATE_PFN_MIGRATE);
	migrate_vma_finalize(&args);
	return ret;
}

/*
 * A CPU touched a page, or get_user_pages() did, which can't use it where it is.
 * The caller has a reference on it, so it isn't freed here.
 */
static vm_fault_t gpu_migrate_to_ram(struct vm_fault *vmf)
{
	struct page *bar_page = vmf->page->zone_device_data;
	struct gpu *gpu = vmf->page->pgmap->owner;
	u64 moved = 0;
	int ret, i;

	ret = gpu_migrate(gpu, vmf->vma, vmf->address, vmf->address + PAGE_SIZE,
			  MIGRATE_VMA_SELECT_DEVICE_PRIVATE, vmf->page, &moved);
	if (ret == -ENOMEM)
		return VM_FAULT_OOM;
	if (ret)
		return VM_FAULT_SIGBUS;
	/* If another task prevents it by touching the page too, it faults anew. */
	if (moved || !gpu_has_dma(bar_page))
		return 0;

	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY)) {
		usleep_range(100, 200);
		return 0;
	}
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	mmap_read_unlock(vmf->vma->vm_mm);
	/*
	 * Not until the DMA has ended: it may be this task's own, which isn't
	 * started yet.  get_user_pages() faults, too, where it finds the page
	 * unmapped by another migration, and gets it when it tries again.
	 */
	for (i = 0; i < GPU_POLLS && gpu_has_dma(bar_page); i++) {
		if (fatal_signal_pending(current))
			break;
		usleep_range(100, 200);
	}
	return VM_FAULT_RETRY;
}

static const struct dev_pagemap_ops gpu_pgmap_ops = {
	.page_free = gpu_page_free,
	.migrate_to_ram = gpu_migrate_to_ram,
	.p2pdma_page = gpu_p2pdma_page,
};

/*
 * Everything back to system memory.  Pages with DMA, and those that are locked,
 * as they are being migrated by a fault, are tried again.
 */
static void gpu_evict(struct gpu *gpu)
{
	unsigned long src[GPU_BATCH], dst[GPU_BATCH];
	unsigned long first = PHYS_PFN(gpu->pgmap.range.start);
	unsigned long pages = PHYS_PFN(range_len(&gpu->pgmap.range));
	unsigned long done, batch;

	while (READ_ONCE(gpu->used)) {
		for (done = 0; done < pages; done += batch) {
			batch = min(pages - done, GPU_BATCH);
			migrate_device_range(src, first + done, batch);
			gpu_copy_all_out(src, dst, batch,
					 GFP_HIGHUSER_MOVABLE | __GFP_NOFAIL);
			migrate_device_pages(src, dst, batch);
			migrate_device_finalize(src, dst, batch);
			cond_resched();
		}
		usleep_range(100, 200);
	}
}

/* ---- Requests ---- */

/* Migrate as much as one VMA has, and one batch */
static int gpu_migrate_next(struct gpu *gpu, struct p2pdma_gpu_range *range,
			    unsigned long *at, unsigned long end,
			    enum migrate_vma_direction direction)
{
	struct vm_area_struct *vma;
	unsigned long start = *at;
	int ret = -EFAULT;

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, start);
	if (vma && !vma_is_anonymous(vma)) {
		ret = -EINVAL;
	} else if (vma) {
		*at = min3(end, vma->vm_end, start + GPU_BATCH * PAGE_SIZE);
		ret = gpu_migrate(gpu, vma, start, *at, direction, NULL,
				  &range->pages);
	}
	mmap_read_unlock(current->mm);
	return ret;
}

static int gpu_migrate_range(struct gpu *gpu, struct p2pdma_gpu_range *range,
			     enum migrate_vma_direction direction)
{
	unsigned long at = range->start, end;
	int ret;

	if (!range->size || !PAGE_ALIGNED(range->start) ||
	    !PAGE_ALIGNED(range->size) ||
	    check_add_overflow(range->start, range->size, &end))
		return -EINVAL;

	guard(rwsem_read)(&gpu->lock);
	while (at < end) {
		if (!gpu->pdev)
			return -ENODEV;
		if (fatal_signal_pending(current))
			return -EINTR;
		ret = gpu_migrate_next(gpu, range, &at, end, direction);
		if (ret)
			return ret;
		cond_resched();
	}
	return 0;
}

static long gpu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct p2pdma_gpu_range __user *user = (void __user *)arg;
	struct gpu *gpu = gpu_of_file(file);
	enum migrate_vma_direction direction;
	struct p2pdma_gpu_range range;
	int ret;

	switch (cmd) {
	case P2PDMA_GPU_TO_DEVICE:
		direction = MIGRATE_VMA_SELECT_SYSTEM;
		break;
	case P2PDMA_GPU_TO_SYSTEM:
		direction = MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
		break;
	default:
		return -ENOTTY;
	}

	if (copy_from_user(&range, user, sizeof(range)))
		return -EFAULT;
	range.pages = 0;
	ret = gpu_migrate_range(gpu, &range, direction);
	return put_user(range.pages, &user->pages) ?: ret;
}

/* misc_open() holds misc_mtx, so the driver can't deregister meanwhile. */
static int gpu_open(struct inode *inode, struct file *file)
{
	kref_get(&gpu_of_file(file)->ref);
	return 0;
}

static int gpu_close(struct inode *inode, struct file *file)
{
	gpu_put(gpu_of_file(file));
	return 0;
}

static const struct file_operations gpu_fops = {
	.owner = THIS_MODULE,
	.open = gpu_open,
	.release = gpu_close,
	.unlocked_ioctl = gpu_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* ---- The driver ---- */

/* Struct pages for as much private memory as the BAR has */
static int gpu_add_pages(struct gpu *gpu, struct pci_dev *pdev)
{
	resource_size_t size = pci_resource_len(pdev, GPU_BAR);
	struct resource *res;
	struct page *page;
	unsigned long i;
	void *ret;

	/* Addresses that nothing has */
	res = devm_request_free_mem_region(&pdev->dev, &iomem_resource, size);
	if (IS_ERR(res))
		return PTR_ERR(res);

	gpu->pgmap.type = MEMORY_DEVICE_PRIVATE;
	gpu->pgmap.range.start = res->start;
	gpu->pgmap.range.end = res->start + size - 1;
	gpu->pgmap.nr_range = 1;
	gpu->pgmap.ops = &gpu_pgmap_ops;
	gpu->pgmap.owner = gpu;
	ret = devm_memremap_pages(&pdev->dev, &gpu->pgmap);
	if (IS_ERR(ret))
		return PTR_ERR(ret);

	for (i = 0; i < PHYS_PFN(size); i++) {
		page = pfn_to_page(PHYS_PFN(res->start) + i);
		page->zone_device_data = gpu->free;
		gpu->free = page;
	}
	return 0;
}

static int gpu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct gpu *gpu;
	int ret;

	/* Without memory decoding no device could reach the BAR. */
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	/* Not published: all of it is for the pages of programs. */
	ret = pci_p2pdma_add_resource(pdev, GPU_BAR, 0, 0);
	if (ret)
		return ret;

	gpu = kzalloc(sizeof(*gpu), GFP_KERNEL);
	if (!gpu)
		return -ENOMEM;
	kref_init(&gpu->ref);
	init_rwsem(&gpu->lock);
	spin_lock_init(&gpu->pages_lock);
	gpu->pdev = pdev;
	ret = devm_add_action_or_reset(&pdev->dev, gpu_put, gpu);
	if (ret)
		return ret;
	ret = gpu_add_pages(gpu, pdev);
	if (ret)
		return ret;

	snprintf(gpu->name, sizeof(gpu->name), "p2pdma-gpu-%s", pci_name(pdev));
	gpu->misc.minor = MISC_DYNAMIC_MINOR;
	gpu->misc.name = gpu->name;
	gpu->misc.fops = &gpu_fops;
	gpu->misc.parent = &pdev->dev;
	pci_set_drvdata(pdev, gpu);
	return misc_register(&gpu->misc);
}

static void gpu_remove(struct pci_dev *pdev)
{
	struct gpu *gpu = pci_get_drvdata(pdev);

	misc_deregister(&gpu->misc);
	scoped_guard(rwsem_write, &gpu->lock)
		WRITE_ONCE(gpu->pdev, NULL);
	gpu_evict(gpu);
}

/* No MODULE_DEVICE_TABLE(): other drivers use these devices, too. */
static const struct pci_device_id gpu_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT_QUMRANET, 0x1110) },
	{ }
};

static struct pci_driver gpu_driver = {
	.name = KBUILD_MODNAME,
	.id_table = gpu_ids,
	.probe = gpu_probe,
	.remove = gpu_remove,
};
module_pci_driver(gpu_driver);

MODULE_DESCRIPTION("Sample of device private memory with peer-to-peer DMA: ivshmem");
MODULE_LICENSE("GPL");
