// SPDX-License-Identifier: GPL-2.0
/*
 * PCI peer-to-peer DMA: export of memory as dma-bufs.
 *
 * Any parts of a device's BARs can be exported, with struct pages or without:
 * importers get only DMA addresses, for the route of their device.  Memory
 * doesn't move, but the owner's driver may leave at any time: then all mappings
 * of a buffer are undone (p2pdma_buffer_revoke()), and every operation on the
 * dma-buf fails with -ENODEV until its last user drops it.  This file doesn't
 * allocate the memory; see p2pdma_heap.c for an allocator.
 *
 * A buffer's reservation lock protects its state.  The buffer contains the
 * lock, and holds a reference on the inode of its file: teardown may find a
 * buffer whose file is closed and whose dma-buf is about to be freed, and must
 * not access either of them.  Importers may hold the reservation lock for long,
 * so page faults and CPU access take p2pdma_buffer::cpu_lock, which also
 * excludes revocation.
 */

#include <linux/cleanup.h>
#include <linux/completion.h>
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/export.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/p2pdma-dmabuf.h>
#include <linux/p2pdma-phys-list.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/pfn_t.h>
#include <linux/rwsem.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "p2pdma.h"

/* sg_dma_len() has 32 bits. */
#define P2PDMA_SEGMENT_SIZE	SZ_2G

/* While waiting for a device: intervals of checks and warnings, in jiffies */
#define P2PDMA_LOOK		(HZ / 10)
#define P2PDMA_WARN		(10 * HZ)

struct p2pdma_buffer {
	struct kref refs;		/* of the dma-buf, and of a revocation */
	struct dma_resv resv;		/* protects mappings and revoked */
	struct rw_semaphore cpu_lock;	/* also held to set revoked */
	struct dma_buf *dmabuf;		/* valid until revoked */
	struct inode *inode;		/* has all user mappings */
	struct pci_p2pdma *p2pdma;	/* valid until revoked */
	struct p2pdma_phys_list *list;	/* the memory */
	unsigned long bars;		/* BARs in the list, a bit each */
	bool revoked;
	struct list_head mappings;	/* of struct p2pdma_buffer_mapping */
	struct list_head node;		/* in pci_p2pdma::buffers */
	void (*release)(void *data);
	void *data;
	struct completion released;	/* release() has returned */
};

/* Result of one dma_buf_map_attachment() */
struct p2pdma_buffer_mapping {
	struct sg_table sgt;
	struct list_head node;		/* in mappings; empty if undone */
	struct p2pdma_phys_mapping *mapping;
};

/* Protects pci_p2pdma::buffers of all owners; never nested */
static DEFINE_SPINLOCK(p2pdma_buffers_lock);

static void p2pdma_buffer_destroy(struct kref *refs)
{
	struct p2pdma_buffer *buffer = container_of(refs, struct p2pdma_buffer,
						    refs);

	dma_resv_fini(&buffer->resv);
	if (buffer->inode)
		iput(buffer->inode);
	p2pdma_phys_list_free(buffer->list);
	kfree(buffer);
}

/* ---- Revocation ---- */

static void p2pdma_buffer_undo(struct p2pdma_buffer *buffer,
			       struct p2pdma_buffer_mapping *mapping)
{
	dma_resv_assert_held(&buffer->resv);
	if (list_empty(&mapping->node))
		return;
	list_del_init(&mapping->node);
	p2pdma_phys_list_unmap(mapping->mapping);
}

/*
 * Wait for a fence, while anything is mapped.  By contract each fence signals;
 * if this takes long, log a warning.
 *
 * The list of mappings is read without the reservation lock, which importers
 * may hold for long: list_empty() reads one pointer, once, and no mapping is
 * added any more.
 */
static void p2pdma_buffer_wait(struct p2pdma_buffer *buffer,
			       struct dma_fence *fence)
{
	unsigned long warn = jiffies + P2PDMA_WARN;

	while (!list_empty(&buffer->mappings) && !dma_fence_is_signaled(fence)) {
		/* Retry on errors: radeon's fences give one for a hung GPU. */
		if (dma_fence_wait_timeout(fence, false, P2PDMA_LOOK) < 0)
			schedule_timeout_uninterruptible(P2PDMA_LOOK);
		if (time_before(jiffies, warn))
			continue;
		dev_warn_ratelimited(&buffer->p2pdma->pdev->dev,
				     "p2pdma: still waiting for a device to be done with a dma-buf of %zu bytes\n",
				     p2pdma_phys_list_size(buffer->list));
		warn = jiffies + P2PDMA_WARN;
	}
}

/*
 * Undo all mappings of the memory, and call release().  Returns when this is
 * done, also if a concurrent call does it.
 */
static void p2pdma_buffer_revoke(struct p2pdma_buffer *buffer)
{
	struct p2pdma_buffer_mapping *mapping, *next;
	struct dma_fence **fences = NULL;
	struct ww_acquire_ctx ctx;
	unsigned int nr = 0, i;
	bool revoked;

	/* With a context, so that importers can lock more in move_notify(). */
	ww_acquire_init(&ctx, &reservation_ww_class);
	/* A release of the dma-buf in progress waits for this lock, too. */
	dma_resv_lock(&buffer->resv, &ctx);
	revoked = buffer->revoked;
	if (!revoked) {
		/* Wait for faults in progress: their PTEs are zapped below. */
		scoped_guard(rwsem_write, &buffer->cpu_lock)
			buffer->revoked = true;
		unmap_mapping_range(buffer->inode->i_mapping, 0, 0, true);
		dma_buf_move_notify(buffer->dmabuf);

		/*
		 * Importers have added their fences; later ones don't matter.
		 * Revocation can't fail: retry until there is enough memory.
		 */
		while (dma_resv_get_fences(&buffer->resv,
					   DMA_RESV_USAGE_BOOKKEEP, &nr,
					   &fences))
			schedule_timeout_uninterruptible(1);
	}
	dma_resv_unlock(&buffer->resv);
	ww_acquire_fini(&ctx);

	if (revoked) {
		wait_for_completion(&buffer->released);
		return;
	}

	/* Unlocked, so that importers get -ENODEV at once, and can unmap. */
	for (i = 0; i < nr; i++) {
		p2pdma_buffer_wait(buffer, fences[i]);
		dma_fence_put(fences[i]);
	}
	kfree(fences);

	dma_resv_lock(&buffer->resv, NULL);
	list_for_each_entry_safe(mapping, next, &buffer->mappings, node)
		p2pdma_buffer_undo(buffer, mapping);
	dma_resv_unlock(&buffer->resv);

	if (buffer->release)
		buffer->release(buffer->data);
	complete_all(&buffer->released);
}

/**
 * p2pdma_dmabuf_revoke - revoke all dma-bufs of a device's memory
 * @p2pdma: the owner of the memory, which is no longer in pci_dev::p2pdma and
 *	is no longer exported
 *
 * Notifies importers, waits for fences, and undoes the remaining mappings.
 * Never returns if a fence never signals, in a buffer that stays mapped.
 *
 * Context: may sleep.
 */
void p2pdma_dmabuf_revoke(struct pci_p2pdma *p2pdma)
{
	struct p2pdma_buffer *buffer;

	for (;;) {
		scoped_guard(spinlock, &p2pdma_buffers_lock) {
			buffer = list_first_entry_or_null(&p2pdma->buffers,
							  struct p2pdma_buffer,
							  node);
			if (!buffer)
				return;
			list_del_init(&buffer->node);
			kref_get(&buffer->refs);
		}
		p2pdma_buffer_revoke(buffer);
		kref_put(&buffer->refs, p2pdma_buffer_destroy);
	}
}

/* ---- Devices ---- */

/* Refuse a device out of reach when it attaches, not when it maps. */
static int p2pdma_buffer_attach(struct dma_buf *dmabuf,
				struct dma_buf_attachment *attach)
{
	struct p2pdma_buffer *buffer = dmabuf->priv;
	struct p2pdma_phys_iter iter = { };
	int ret = 0;

	/* Importers without move_notify() aren't peer2peer either. */
	if (!attach->peer2peer)
		return -EOPNOTSUPP;

	dma_resv_lock(&buffer->resv, NULL);
	if (buffer->revoked)
		ret = -ENODEV;
	while (!ret && p2pdma_phys_list_next(buffer->list, &iter))
		ret = p2pdma_reachable(attach->dev, iter.provider, iter.start,
				       iter.size);
	dma_resv_unlock(&buffer->resv);
	return ret;
}

/*
 * Memory doesn't move, so there is nothing to do for a pin.  But most importers
 * that pin memory don't stop in move_notify(): a network adapter without page
 * faults would continue to write to memory that was revoked and allocated
 * again.
 */
static int p2pdma_buffer_pin(struct dma_buf_attachment *attach)
{
	struct p2pdma_buffer *buffer = attach->dmabuf->priv;

	dma_resv_assert_held(&buffer->resv);
	if (buffer->revoked)
		return -ENODEV;
	return attach->importer_ops->revocable ? 0 : -EOPNOTSUPP;
}

static void p2pdma_buffer_unpin(struct dma_buf_attachment *attach)
{
}

/* Fill a table with the DMA addresses; its list of pages is empty. */
static int p2pdma_buffer_alloc_table(struct sg_table *sgt,
				     const struct p2pdma_phys_mapping *mapping)
{
	unsigned int nents = 0, i;
	struct scatterlist *sg;
	dma_addr_t addr;
	size_t left;
	int ret;

	for (i = 0; i < mapping->count; i++)
		nents += DIV_ROUND_UP(mapping->ranges[i].size,
				      P2PDMA_SEGMENT_SIZE);
	ret = sg_alloc_table(sgt, nents, GFP_KERNEL);
	if (ret)
		return ret;

	sg = sgt->sgl;
	for (i = 0; i < mapping->count; i++) {
		addr = mapping->ranges[i].addr;
		left = mapping->ranges[i].size;
		while (left) {
			sg_dma_address(sg) = addr;
			sg_dma_len(sg) = min(left, P2PDMA_SEGMENT_SIZE);
			addr += sg_dma_len(sg);
			left -= sg_dma_len(sg);
			sg = sg_next(sg);
		}
	}
	sgt->orig_nents = 0;
	return 0;
}

static struct sg_table *p2pdma_buffer_map(struct dma_buf_attachment *attach,
					  enum dma_data_direction dir)
{
	struct p2pdma_buffer *buffer = attach->dmabuf->priv;
	struct p2pdma_buffer_mapping *mapping;
	int ret;

	dma_resv_assert_held(&buffer->resv);
	if (buffer->revoked)
		return ERR_PTR(-ENODEV);

	mapping = kzalloc(sizeof(*mapping), GFP_KERNEL);
	if (!mapping)
		return ERR_PTR(-ENOMEM);

	mapping->mapping = p2pdma_phys_list_map(attach->dev, buffer->list, dir,
						0, GFP_KERNEL);
	if (IS_ERR(mapping->mapping)) {
		ret = PTR_ERR(mapping->mapping);
		goto err_free;
	}
	ret = p2pdma_buffer_alloc_table(&mapping->sgt, mapping->mapping);
	if (ret)
		goto err_unmap;

	list_add(&mapping->node, &buffer->mappings);
	return &mapping->sgt;

err_unmap:
	p2pdma_phys_list_unmap(mapping->mapping);
err_free:
	kfree(mapping);
	return ERR_PTR(ret);
}

static void p2pdma_buffer_unmap(struct dma_buf_attachment *attach,
				struct sg_table *sgt,
				enum dma_data_direction dir)
{
	struct p2pdma_buffer_mapping *mapping =
		container_of(sgt, struct p2pdma_buffer_mapping, sgt);

	p2pdma_buffer_undo(attach->dmabuf->priv, mapping);
	sgt->orig_nents = sgt->nents;
	sg_free_table(sgt);
	kfree(mapping);
}

/* ---- CPUs ---- */

/* Do all BARs with memory of a buffer still have their addresses? */
static bool p2pdma_buffer_in_place(const struct p2pdma_buffer *buffer)
{
	unsigned int bar;

	for_each_set_bit(bar, &buffer->bars, PCI_STD_NUM_BARS) {
		if (!p2pdma_bar_in_place(&buffer->p2pdma->bars[bar]))
			return false;
	}
	return true;
}

static bool p2pdma_buffer_alive(const struct p2pdma_buffer *buffer)
{
	lockdep_assert_held(&buffer->cpu_lock);
	return !buffer->revoked && p2pdma_buffer_in_place(buffer);
}

static int p2pdma_buffer_begin_cpu_access(struct dma_buf *dmabuf,
					  enum dma_data_direction dir)
{
	struct p2pdma_buffer *buffer = dmabuf->priv;

	guard(rwsem_read)(&buffer->cpu_lock);
	return p2pdma_buffer_alive(buffer) ? 0 : -ENODEV;
}

/*
 * There are no caches to flush.  But the CPU's writes may still be in flight,
 * and a device that is told to read the memory may overtake them by another
 * path: a read of any of the owner's memory waits for the writes (see
 * p2pdma_zero()).
 */
static int p2pdma_buffer_end_cpu_access(struct dma_buf *dmabuf,
					enum dma_data_direction dir)
{
	struct p2pdma_buffer *buffer = dmabuf->priv;
	void __iomem *addr;

	guard(rwsem_read)(&buffer->cpu_lock);
	if (!p2pdma_buffer_alive(buffer))
		return -ENODEV;
	if (dir == DMA_FROM_DEVICE)
		return 0;

	addr = ioremap(p2pdma_phys_list_find(buffer->list, 0), PAGE_SIZE);
	if (!addr)
		return -ENOMEM;
	wmb();	/* user mappings may be write-combining */
	readl(addr);
	iounmap(addr);
	return 0;
}

static vm_fault_t p2pdma_buffer_fault(struct vm_fault *vmf)
{
	struct p2pdma_buffer *buffer = vmf->vma->vm_private_data;
	phys_addr_t phys;

	guard(rwsem_read)(&buffer->cpu_lock);
	if (!p2pdma_buffer_alive(buffer))
		return VM_FAULT_SIGBUS;
	phys = p2pdma_phys_list_find(buffer->list, vmf->pgoff << PAGE_SHIFT);
	return vmf_insert_mixed(vmf->vma, vmf->address,
				phys_to_pfn_t(phys, PFN_DEV));
}

static const struct vm_operations_struct p2pdma_buffer_vm_ops = {
	.fault = p2pdma_buffer_fault,
};

/*
 * Page faults fill the mapping: a page that is mapped during a revocation is
 * either found by unmap_mapping_range(), or not mapped.
 */
static int p2pdma_buffer_mmap(struct dma_buf *dmabuf,
			      struct vm_area_struct *vma)
{
	int ret;

	/* Device memory can't be mapped privately. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;

	ret = p2pdma_buffer_begin_cpu_access(dmabuf, DMA_BIDIRECTIONAL);
	if (ret)
		return ret;

	vma->vm_page_prot = p2pdma_user_pgprot(vma->vm_page_prot,
					       P2PDMA_UNCACHED);
	/*
	 * Neither VM_PFNMAP nor VM_IO: with these, VFIO, KVM and others would
	 * look up PFNs, and use them after the revocation.  Pages can't be
	 * pinned: the special PTEs of vmf_insert_mixed() have none.
	 */
	vm_flags_set(vma, VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &p2pdma_buffer_vm_ops;
	vma->vm_private_data = dmabuf->priv;
	return 0;
}

/* ---- Export and release ---- */

static void p2pdma_buffer_release(struct dma_buf *dmabuf)
{
	struct p2pdma_buffer *buffer = dmabuf->priv;

	p2pdma_buffer_revoke(buffer);
	scoped_guard(spinlock, &p2pdma_buffers_lock)
		list_del_init(&buffer->node);
	kref_put(&buffer->refs, p2pdma_buffer_destroy);
}

static const struct dma_buf_ops p2pdma_buffer_ops = {
	.attach = p2pdma_buffer_attach,
	.pin = p2pdma_buffer_pin,
	.unpin = p2pdma_buffer_unpin,
	.map_dma_buf = p2pdma_buffer_map,
	.unmap_dma_buf = p2pdma_buffer_unmap,
	.begin_cpu_access = p2pdma_buffer_begin_cpu_access,
	.end_cpu_access = p2pdma_buffer_end_cpu_access,
	.mmap = p2pdma_buffer_mmap,
	.release = p2pdma_buffer_release,
};

/*
 * Can all of @list be exported?  Stores the owner and the BARs of the memory in
 * @buffer.  Returns 0, -EINVAL or -ENODEV as p2pdma_export_list().
 */
static int p2pdma_buffer_check(struct p2pdma_buffer *buffer,
			       const struct p2pdma_phys_list *list)
{
	struct p2pdma_phys_iter iter = { };
	struct p2pdma_bar *bar;

	while (p2pdma_phys_list_next(list, &iter)) {
		if (!iter.provider || !PAGE_ALIGNED(iter.start) ||
		    !PAGE_ALIGNED(iter.size))
			return -EINVAL;
		bar = p2pdma_bar(iter.provider);
		if (!p2pdma_bar_has(bar, iter.start, iter.size) ||
		    (buffer->p2pdma && buffer->p2pdma != bar->p2pdma))
			return -EINVAL;
		buffer->p2pdma = bar->p2pdma;
		__set_bit(bar - bar->p2pdma->bars, &buffer->bars);
	}
	if (!buffer->p2pdma)
		return -EINVAL;
	return p2pdma_buffer_in_place(buffer) ? 0 : -ENODEV;
}

/**
 * p2pdma_export_list - export memory of a device as a dma-buf
 * @list: the memory: parts of BARs of one device, whole pages each, in the order
 *	of the buffer
 * @fd_flags: O_RDONLY, O_WRONLY or O_RDWR: access by user mappings
 * @release: called once, when the memory is no longer used; NULL for none
 * @data: argument of @release
 *
 * The memory must behave like memory: no side effects, all sizes of access.
 * Buffers may share memory.
 *
 * Importers must be dynamic and accept peer memory
 * (dma_buf_attach_ops::allow_peer2peer), or dma_buf_dynamic_attach() fails with
 * -EOPNOTSUPP.  Their devices must be able to reach the memory, or it fails
 * with -EREMOTEIO, and the log has the reason.  A device that can only read, or
 * only write, may attach; mapping for the other direction fails.  A mapping has
 * DMA addresses and no pages, in entries of up to 2 GiB.  dma_buf_pin() fails
 * with -EOPNOTSUPP, unless the importer is dma_buf_attach_ops::revocable: it
 * then stops its device in move_notify(), like any other.  dma_buf_vmap()
 * fails.  User space can map the buffer; CPU access is uncached.
 *
 * p2pdma_revoke() takes the memory back, and so does the core when the owner's
 * driver leaves, after its remove() has returned.  A revocation zaps user
 * mappings (accesses give SIGBUS), notifies importers (move_notify()), waits
 * for the fences in the dma-buf's reservation as long as anything is mapped,
 * and undoes remaining mappings.  Every operation then fails with -ENODEV.  At
 * the end, or earlier when the last user drops the buffer, @release is called,
 * in process context with no locks held.  A driver whose @release needs
 * something that its remove() frees must revoke its buffers in remove().
 *
 * Context: may sleep.  The caller makes sure that the owner's driver doesn't
 * leave meanwhile.
 * Return:
 * * the dma-buf - dma_buf_put() drops it, dma_buf_fd() makes a file of it; it
 *   owns @list, which is freed some time after @release was called
 * * ERR_PTR(-EINVAL) - @list is empty, or has anything but whole pages in BARs
 *   of one device
 * * ERR_PTR(-ENODEV) - a BAR has moved
 * * ERR_PTR(-ENOMEM) - no memory
 * * ERR_PTR(-EOPNOTSUPP) - the kernel has no CONFIG_DMABUF_MOVE_NOTIFY
 *
 * On an error @release isn't called, and the caller still owns @list.
 */
struct dma_buf *p2pdma_export_list(struct p2pdma_phys_list *list, int fd_flags,
				   void (*release)(void *data), void *data)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct p2pdma_buffer *buffer;
	struct dma_buf *dmabuf;
	int ret;

	buffer = kzalloc(sizeof(*buffer), GFP_KERNEL);
	if (!buffer)
		return ERR_PTR(-ENOMEM);
	ret = p2pdma_buffer_check(buffer, list);
	if (ret) {
		kfree(buffer);
		return ERR_PTR(ret);
	}
	kref_init(&buffer->refs);
	dma_resv_init(&buffer->resv);
	init_rwsem(&buffer->cpu_lock);
	INIT_LIST_HEAD(&buffer->mappings);
	INIT_LIST_HEAD(&buffer->node);
	buffer->release = release;
	buffer->data = data;
	init_completion(&buffer->released);

	info.exp_name = "p2pdma";
	info.ops = &p2pdma_buffer_ops;
	info.size = p2pdma_phys_list_size(list);
	info.flags = fd_flags;
	info.resv = &buffer->resv;
	info.priv = buffer;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		kref_put(&buffer->refs, p2pdma_buffer_destroy);
		return dmabuf;
	}

	buffer->list = list;
	buffer->dmabuf = dmabuf;
	buffer->inode = file_inode(dmabuf->file);
	ihold(buffer->inode);
	scoped_guard(spinlock, &p2pdma_buffers_lock)
		list_add(&buffer->node, &buffer->p2pdma->buffers);
	return dmabuf;
}
EXPORT_SYMBOL_GPL(p2pdma_export_list);

/**
 * p2pdma_export - export a part of a BAR as a dma-buf
 * @provider: the BAR, from pcim_p2pdma_provider()
 * @phys: CPU address of the part, page aligned
 * @size: its size in bytes, whole pages
 * @fd_flags: as for p2pdma_export_list()
 * @release: as for p2pdma_export_list()
 * @data: as for p2pdma_export_list()
 *
 * Like p2pdma_export_list() with a list of one part.
 *
 * Context: may sleep, as p2pdma_export_list().
 * Return: as p2pdma_export_list(); ERR_PTR(-EINVAL) if @provider is NULL, or
 * the part isn't whole pages in the BAR.
 */
struct dma_buf *p2pdma_export(struct p2pdma_provider *provider,
			      phys_addr_t phys, size_t size, int fd_flags,
			      void (*release)(void *data), void *data)
{
	struct p2pdma_phys_list *list;
	struct dma_buf *dmabuf;
	int ret;

	if (!provider)
		return ERR_PTR(-EINVAL);
	list = p2pdma_phys_list_create(GFP_KERNEL);
	if (!list)
		return ERR_PTR(-ENOMEM);
	ret = p2pdma_phys_list_add(list, provider, phys, size, GFP_KERNEL);
	dmabuf = ret ? ERR_PTR(ret) : p2pdma_export_list(list, fd_flags,
							 release, data);
	if (IS_ERR(dmabuf))
		p2pdma_phys_list_free(list);
	return dmabuf;
}
EXPORT_SYMBOL_GPL(p2pdma_export);

/**
 * p2pdma_revoke - take the memory of a dma-buf back
 * @dmabuf: from p2pdma_export() or p2pdma_export_list(); the caller has a
 *	reference
 *
 * For a driver that needs its memory, or is about to reset the device.  See
 * p2pdma_export_list() for the effect on mappings.  Nothing happens if the
 * dma-buf was revoked before.
 *
 * Context: may sleep.  The caller must not hold the dma-buf's reservation lock,
 * nor a lock that importers' fences wait for or that the buffer's release()
 * takes.
 */
void p2pdma_revoke(struct dma_buf *dmabuf)
{
	if (!WARN_ON_ONCE(dmabuf->ops != &p2pdma_buffer_ops))
		p2pdma_buffer_revoke(dmabuf->priv);
}
EXPORT_SYMBOL_GPL(p2pdma_revoke);
