// SPDX-License-Identifier: GPL-2.0
/*
 * A disk made of peer memory: a block device on memory of a provider.
 *
 * For data that a device next to the memory reads again soon, and for trying what
 * is above the block layer with memory that has no struct pages.  It isn't
 * persistent memory: the content is gone with the disk, and a new disk is clear.
 *
 * The administrator makes and removes disks, by writing to files of
 * /sys/class/p2pdma_disk:
 *
 *   add:     DEVICE SIZE             memory of the pool of DEVICE, with pages
 *            DEVICE SIZE BAR OFFSET  a part of a BAR, without pages
 *   remove:  NAME                    a disk that isn't open
 *
 * such as "0000:03:00.0 16M 2 0".  The second form is for memory that the
 * device's driver leaves to the administrator: it can't be checked whether
 * somebody else uses that part.
 *
 * A DMA engine that reaches the memory moves the data, if there is one when the
 * disk is made; then O_DIRECT accepts memory of other peers, which the engine
 * accesses directly (BLK_FEAT_PCI_P2PDMA).  Otherwise, or if memory for that is
 * short, the CPU copies, from and to system memory only.  Nothing is allocated
 * for that, so disks make progress when the system writes to them to free memory.
 *
 * A disk must not outlive the driver of the device that has the memory, nor use
 * an engine whose driver has left.  The drivers know nothing of disks, so a
 * notifier of the bus removes the disks before remove() of a driver.  device_lock() is
 * held then, and also held here where a disk takes hold of the memory or of an engine: neither
 * can leave unnoticed.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/cleanup.h>
#include <linux/completion.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/dmaengine.h>
#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/idr.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/overflow.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/scatterlist.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/workqueue.h>

#define DISK_BLOCK	SZ_4K

/* One transfer; also how much is cleared before others may run */
#define DISK_TRANSFER	SZ_1M
#define DISK_SEGMENTS	(DISK_TRANSFER / PAGE_SIZE)

/* For one transfer; an engine that takes longer has failed */
#define DISK_TIMEOUT	(10 * HZ)

/* A disk.  One work item handles its bios one after the other. */
struct disk {
	struct gendisk *gd;		/* NULL until it is complete */
	int index;
	bool leaving;			/* not to be opened; gd->open_mutex */
	struct list_head node;		/* in disks */

	/* The memory */
	struct pci_dev *owner;
	struct p2pdma_provider *provider;
	int bar;			/* with @offset, if not of the pool */
	u64 offset;
	size_t size;
	void *pool;			/* from pci_alloc_p2pmem(), or NULL */
	phys_addr_t phys;
	void __iomem *mem;

	/* I/O */
	spinlock_t lock;		/* @bios; @chan where engine_lock isn't held */
	struct bio_list bios;
	struct work_struct work;

	/* The engine */
	struct mutex engine_lock;	/* while it works, and to take it away */
	struct dma_chan *chan;		/* NULL: the CPU copies */
	dma_addr_t dma;			/* of the memory, for the engine */
	bool mapped;
	struct scatterlist sgl[DISK_SEGMENTS];
	atomic_t pending;		/* descriptors, and 1 while submitting */
	bool failed;
	struct completion ended;
};

/* Protects the list, and what a disk is made of.  Taken inside device_lock(). */
static DEFINE_MUTEX(disks_lock);
static LIST_HEAD(disks);
static DEFINE_IDA(disk_indexes);
static struct workqueue_struct *disk_wq;

/* ---- The memory ---- */

/*
 * The end of each access: posted writes have arrived when a read returns, and a
 * device that doesn't answer reads as ones.
 */
static bool disk_answers(struct disk *disk)
{
	/* Writes may be combined first, if the device's driver maps the memory so. */
	wmb();
	return readl(disk->mem) != U32_MAX || pci_device_is_present(disk->owner);
}

/* In whole words, since memset_io() may write bytes */
static void disk_clear(struct disk *disk, u64 at, size_t size)
{
	size_t i;

	for (i = 0; i < size; i += sizeof(u64))
		__raw_writeq(0, disk->mem + at + i);
}

static int disk_clear_all(struct disk *disk)
{
	size_t at, size;

	for (at = 0; at < disk->size; at += size) {
		size = min_t(size_t, disk->size - at, DISK_TRANSFER);
		disk_clear(disk, at, size);
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return disk_answers(disk) ? 0 : -EIO;
}

static int disk_alloc_from_pool(struct disk *disk)
{
	struct pci_dev *owner = disk->owner;
	struct resource *res;
	int bar;

	if (!pci_has_p2pmem(owner)) {
		pci_err(owner, "p2pdma_disk: no published memory; name a BAR and an offset if its driver has memory without pages\n");
		return -ENODEV;
	}
	disk->pool = pci_alloc_p2pmem(owner, disk->size);
	if (!disk->pool) {
		pci_err(owner, "p2pdma_disk: less than %zu bytes are free in one piece\n",
			disk->size);
		return -ENOMEM;
	}
	disk->mem = (void __iomem __force *)disk->pool;
	disk->phys = virt_to_phys(disk->pool);
	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		res = &owner->resource[bar];
		if (disk->phys >= res->start && disk->phys <= res->end)
			disk->provider = pcim_p2pdma_provider(owner, bar);
	}
	return disk->provider ? 0 : -ENODEV;
}

static bool disk_overlaps(const struct disk *disk)
{
	const struct disk *other;

	list_for_each_entry(other, &disks, node) {
		if (other != disk && other->mem && !other->pool &&
		    other->phys < disk->phys + disk->size &&
		    disk->phys < other->phys + other->size)
			return true;
	}
	return false;
}

static int disk_map_bar(struct disk *disk)
{
	struct pci_dev *owner = disk->owner;
	const unsigned long memory = IORESOURCE_MEM | IORESOURCE_PREFETCH;
	u64 end;

	if (pci_has_p2pmem(owner)) {
		pci_err(owner, "p2pdma_disk: the memory belongs to its pool: don't name a BAR\n");
		return -EINVAL;
	}
	/* Reads of registers may have side effects; such BARs don't prefetch. */
	if ((pci_resource_flags(owner, disk->bar) & memory) != memory) {
		pci_err(owner, "p2pdma_disk: BAR %d isn't prefetchable memory\n",
			disk->bar);
		return -EINVAL;
	}
	if (!PAGE_ALIGNED(disk->offset) || !PAGE_ALIGNED(disk->size) ||
	    check_add_overflow(disk->offset, disk->size, &end) ||
	    end > pci_resource_len(owner, disk->bar)) {
		pci_err(owner, "p2pdma_disk: %zu bytes at %llu aren't whole pages in BAR %d\n",
			disk->size, disk->offset, disk->bar);
		return -EINVAL;
	}
	disk->provider = pcim_p2pdma_provider(owner, disk->bar);
	if (!disk->provider) {
		pci_err(owner, "p2pdma_disk: its driver doesn't provide memory\n");
		return -ENODEV;
	}
	disk->phys = pci_resource_start(owner, disk->bar) + disk->offset;
	if (disk_overlaps(disk)) {
		pci_err(owner, "p2pdma_disk: another disk uses a part of this\n");
		return -EBUSY;
	}
	disk->mem = ioremap(disk->phys, disk->size);
	return disk->mem ? 0 : -ENOMEM;
}

static void disk_put_memory(struct disk *disk)
{
	if (disk->pool)
		pci_free_p2pmem(disk->owner, disk->pool, disk->size);
	else if (disk->mem)
		iounmap(disk->mem);
	disk->pool = NULL;
	disk->mem = NULL;
}

/* ---- The engine ---- */

/* Can this engine move data both ways, and be stopped? */
static bool engine_fits(struct dma_chan *chan, void *owner)
{
	const unsigned int both = P2PDMA_READ | P2PDMA_WRITE;
	struct dma_device *dma = chan->device;
	struct p2pdma_route route;

	return dev_is_pci(dma->dev) && dma->device_terminate_all &&
	       dma->device_synchronize && dma->copy_align <= SECTOR_SHIFT &&
	       !pci_p2pdma_route(owner, dma->dev, &route) &&
	       (route.directions & both) == both;
}

struct engine_search {
	struct pci_dev *owner;
	struct device *found;
};

/* Takes no channel: only looks for an engine that has one */
static bool engine_look(struct dma_chan *chan, void *data)
{
	struct engine_search *search = data;

	if (!search->found && engine_fits(chan, search->owner))
		search->found = get_device(chan->device->dev);
	return false;
}

static bool engine_is(struct dma_chan *chan, void *data)
{
	struct engine_search *search = data;

	return chan->device->dev == search->found &&
	       engine_fits(chan, search->owner);
}

/*
 * Takes an engine, if there is one.  The disk is listed: the engine may be taken
 * away from then on.
 */
static void disk_find_engine(struct disk *disk)
{
	struct engine_search search = { .owner = disk->owner };
	dma_cap_mask_t mask;

	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMCPY, mask);
	dma_request_channel(mask, engine_look, &search);
	if (!search.found)
		return;

	device_lock(search.found);
	mutex_lock(&disks_lock);
	/* The driver may have left in the meantime. */
	disk->chan = dma_request_channel(mask, engine_is, &search);
	mutex_unlock(&disks_lock);
	device_unlock(search.found);
	put_device(search.found);
}

static struct device *disk_engine(struct disk *disk)
{
	return disk->chan->device->dev;
}

/* Let go of the engine, if there is one; a transfer that runs ends first. */
static void disk_put_engine(struct disk *disk)
{
	struct dma_chan *chan;

	/*
	 * Released without the lock: dmaengine allocates memory under its own, and
	 * that may wait for this disk.
	 */
	scoped_guard(mutex, &disk->engine_lock) {
		chan = disk->chan;
		scoped_guard(spinlock_irq, &disk->lock)
			disk->chan = NULL;
	}
	if (!chan)
		return;
	if (disk->mapped)
		dma_unmap_p2p(chan->device->dev, disk->provider, disk->dma,
			      disk->size, DMA_BIDIRECTIONAL, 0);
	disk->mapped = false;
	dma_release_channel(chan);
}

static void disk_map_for_engine(struct disk *disk)
{
	if (!disk->chan)
		return;
	disk->dma = dma_map_p2p(disk_engine(disk), disk->provider, disk->phys,
				disk->size, DMA_BIDIRECTIONAL, 0);
	disk->mapped = !dma_mapping_error(disk_engine(disk), disk->dma);
	if (!disk->mapped)
		disk_put_engine(disk);
}

static void disk_put_pending(struct disk *disk)
{
	if (atomic_dec_and_test(&disk->pending))
		complete(&disk->ended);
}

/* The engine is done with a descriptor; calls are serialised. */
static void disk_callback(void *data, const struct dmaengine_result *result)
{
	struct disk *disk = data;

	if (result->result != DMA_TRANS_NOERROR)
		WRITE_ONCE(disk->failed, true);
	disk_put_pending(disk);
}

static int disk_submit(struct disk *disk, dma_addr_t to, dma_addr_t from,
		       size_t size)
{
	struct dma_async_tx_descriptor *tx;

	tx = dmaengine_prep_dma_memcpy(disk->chan, to, from, size,
				       DMA_PREP_INTERRUPT);
	if (!tx)
		return -ENOMEM;
	tx->callback_result = disk_callback;
	tx->callback_param = disk;
	atomic_inc(&disk->pending);
	return dma_submit_error(dmaengine_submit(tx)) ? -ENOMEM : 0;
}

/* One descriptor for all segments that are side by side */
static int disk_submit_all(struct disk *disk, const struct sg_table *sgt,
			   dma_addr_t dma, bool write)
{
	struct scatterlist *sg;
	dma_addr_t start = 0;
	size_t size = 0;
	int i, ret;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (size && sg_dma_address(sg) != start + size) {
			ret = write ? disk_submit(disk, dma, start, size) :
				      disk_submit(disk, start, dma, size);
			if (ret)
				return ret;
			dma += size;
			size = 0;
		}
		if (!size)
			start = sg_dma_address(sg);
		size += sg_dma_len(sg);
	}
	return write ? disk_submit(disk, dma, start, size) :
		       disk_submit(disk, start, dma, size);
}

static int disk_run_engine(struct disk *disk, const struct sg_table *sgt,
			   dma_addr_t dma, bool write)
{
	int ret;

	atomic_set(&disk->pending, 1);
	disk->failed = false;
	reinit_completion(&disk->ended);
	ret = disk_submit_all(disk, sgt, dma, write);
	if (!ret) {
		dma_async_issue_pending(disk->chan);
		disk_put_pending(disk);
		if (!wait_for_completion_timeout(&disk->ended, DISK_TIMEOUT))
			ret = -EIO;
		else if (READ_ONCE(disk->failed))
			return -EIO;
	}
	if (ret)
		WARN_ON(dmaengine_terminate_sync(disk->chan));
	return ret;
}

/*
 * Move the data of a bio by the engine.  -EREMOTEIO: there is no engine, or it
 * can't reach the bio's memory; -ENOMEM: memory is short; in both cases the CPU
 * may copy instead.
 */
static int disk_move(struct disk *disk, struct bio *bio)
{
	const bool write = op_is_write(bio_op(bio));
	enum dma_data_direction dir = write ? DMA_TO_DEVICE : DMA_FROM_DEVICE;
	struct sg_table sgt = { .sgl = disk->sgl };
	struct bvec_iter iter;
	struct bio_vec bv;
	int ret;

	guard(mutex)(&disk->engine_lock);
	if (!disk->chan)
		return -EREMOTEIO;

	sg_init_table(disk->sgl, bio_segments(bio));
	bio_for_each_segment(bv, bio, iter)
		sg_set_page(&disk->sgl[sgt.orig_nents++], bv.bv_page, bv.bv_len,
			    bv.bv_offset);
	ret = dma_map_sgtable(disk_engine(disk), &sgt, dir, 0);
	if (ret == -EREMOTEIO)
		return ret;
	if (ret)
		return -ENOMEM;
	ret = disk_run_engine(disk, &sgt, disk->dma +
			      (bio->bi_iter.bi_sector << SECTOR_SHIFT), write);
	dma_unmap_sgtable(disk_engine(disk), &sgt, dir, 0);
	return ret;
}

/* ---- I/O ---- */

static void disk_copy(struct disk *disk, struct bio *bio)
{
	void __iomem *mem = disk->mem +
			    (bio->bi_iter.bi_sector << SECTOR_SHIFT);
	struct bvec_iter iter;
	struct bio_vec bv;
	void *addr;

	bio_for_each_segment(bv, bio, iter) {
		addr = bvec_kmap_local(&bv);
		if (op_is_write(bio_op(bio))) {
			memcpy_toio(mem, addr, bv.bv_len);
		} else {
			memcpy_fromio(addr, mem, bv.bv_len);
			flush_dcache_page(bv.bv_page);
		}
		kunmap_local(addr);
		mem += bv.bv_len;
	}
}

static blk_status_t disk_transfer(struct disk *disk, struct bio *bio)
{
	int ret = disk_move(disk, bio);

	/* Not peer memory: only its owner's driver knows how a CPU accesses it. */
	if ((ret == -EREMOTEIO || ret == -ENOMEM) &&
	    !bio_flagged(bio, BIO_P2PDMA)) {
		disk_copy(disk, bio);
		ret = 0;
	}
	return errno_to_blk_status(ret);
}

static blk_status_t disk_do(struct disk *disk, struct bio *bio)
{
	blk_status_t status = BLK_STS_OK;

	if (test_bit(GD_DEAD, &disk->gd->state))
		return BLK_STS_IOERR;

	switch (bio_op(bio)) {
	case REQ_OP_READ:
	case REQ_OP_WRITE:
		status = disk_transfer(disk, bio);
		break;
	case REQ_OP_DISCARD:	/* a BAR can't give memory back */
	case REQ_OP_WRITE_ZEROES:
		disk_clear(disk, bio->bi_iter.bi_sector << SECTOR_SHIFT,
			   bio->bi_iter.bi_size);
		break;
	default:
		return BLK_STS_NOTSUPP;
	}
	return disk_answers(disk) ? status : BLK_STS_IOERR;
}

static struct bio *disk_next(struct disk *disk)
{
	guard(spinlock_irq)(&disk->lock);
	return bio_list_pop(&disk->bios);
}

static void disk_work(struct work_struct *work)
{
	struct disk *disk = container_of(work, struct disk, work);
	unsigned int noio = memalloc_noio_save();
	struct bio *bio;

	while ((bio = disk_next(disk))) {
		bio->bi_status = disk_do(disk, bio);
		bio_endio(bio);
		cond_resched();
	}
	memalloc_noio_restore(noio);
}

static void disk_submit_bio(struct bio *bio)
{
	struct disk *disk = bio->bi_bdev->bd_disk->private_data;

	bio = bio_split_to_limits(bio);
	if (!bio)
		return;
	scoped_guard(spinlock_irqsave, &disk->lock)
		bio_list_add(&disk->bios, bio);
	queue_work(disk_wq, &disk->work);
}

static bool disk_reaches_p2pdma(struct gendisk *gd, struct bio *bio)
{
	struct disk *disk = gd->private_data;

	/* The engine isn't released meanwhile, see disk_put_engine(). */
	guard(spinlock_irqsave)(&disk->lock);
	return disk->chan && bio_p2pdma_reachable(bio, disk_engine(disk));
}

static int disk_open(struct gendisk *gd, blk_mode_t mode)
{
	struct disk *disk = gd->private_data;

	lockdep_assert_held(&gd->open_mutex);
	return disk->leaving ? -ENXIO : 0;
}

/* The last reference on the gendisk is gone. */
static void disk_free(struct gendisk *gd)
{
	struct disk *disk = gd->private_data;

	mutex_destroy(&disk->engine_lock);
	kfree(disk);
}

static const struct block_device_operations disk_fops = {
	.owner = THIS_MODULE,
	.submit_bio = disk_submit_bio,
	.reaches_p2pdma = disk_reaches_p2pdma,
	.open = disk_open,
	.free_disk = disk_free,
};

/* ---- Disks come and go ---- */

static struct gendisk *disk_alloc_gendisk(struct disk *disk)
{
	/* Segments as bio_for_each_segment() gives them, one page at most */
	struct queue_limits lim = {
		.logical_block_size = DISK_BLOCK,
		.max_hw_sectors = DISK_TRANSFER >> SECTOR_SHIFT,
		.max_segments = DISK_SEGMENTS,
		.max_segment_size = PAGE_SIZE,
		.seg_boundary_mask = PAGE_SIZE - 1,
		.max_hw_discard_sectors = DISK_TRANSFER >> SECTOR_SHIFT,
		.max_write_zeroes_sectors = DISK_TRANSFER >> SECTOR_SHIFT,
	};
	struct gendisk *gd;

	if (disk->chan) {
		lim.features |= BLK_FEAT_PCI_P2PDMA;
		lim.max_hw_sectors = min(lim.max_hw_sectors,
					 dma_max_mapping_size(disk_engine(disk)) >>
					 SECTOR_SHIFT);
	}
	gd = blk_alloc_disk(&lim, dev_to_node(&disk->owner->dev));
	if (IS_ERR(gd))
		return gd;
	snprintf(gd->disk_name, sizeof(gd->disk_name), "p2pdma%d", disk->index);
	gd->fops = &disk_fops;
	gd->private_data = disk;
	set_capacity(gd, disk->size >> SECTOR_SHIFT);
	return gd;
}

/* Take hold of the memory, and make a disk of it; on an error disk_remove() cleans up */
static int disk_complete(struct disk *disk)
{
	struct pci_dev *owner = disk->owner;
	int ret;

	lockdep_assert_held(&disks_lock);

	if (!owner->dev.driver) {
		pci_err(owner, "p2pdma_disk: it has no driver that provides memory\n");
		return -ENODEV;
	}
	ret = disk->bar < 0 ? disk_alloc_from_pool(disk) : disk_map_bar(disk);
	if (ret)
		return ret;
	ret = disk_clear_all(disk);
	if (ret)
		return ret;
	disk_map_for_engine(disk);

	disk->gd = disk_alloc_gendisk(disk);
	if (IS_ERR(disk->gd))
		ret = PTR_ERR(disk->gd);
	else
		ret = device_add_disk(&owner->dev, disk->gd, NULL);
	if (ret) {
		if (!IS_ERR(disk->gd))
			put_disk(disk->gd);
		disk->gd = NULL;
		return ret;
	}
	pci_info(owner, "p2pdma_disk: %s: %zu KiB, copied by %s\n",
		 disk->gd->disk_name, disk->size / SZ_1K,
		 disk->chan ? dev_name(disk_engine(disk)) : "the CPU");
	return 0;
}

/*
 * Nothing of the disk is in use afterwards, although it may still be open.  Data
 * that isn't written yet is lost if @dead.
 */
static void disk_remove(struct disk *disk, bool dead)
{
	struct gendisk *gd = disk->gd;

	lockdep_assert_held(&disks_lock);

	list_del(&disk->node);
	if (gd && dead)
		blk_mark_disk_dead(gd);
	if (gd)
		del_gendisk(gd);
	flush_work(&disk->work);	/* the last bios, of before del_gendisk() */
	disk_put_engine(disk);
	disk_put_memory(disk);
	pci_dev_put(disk->owner);
	ida_free(&disk_indexes, disk->index);
	if (gd) {
		put_disk(gd);
		return;
	}
	mutex_destroy(&disk->engine_lock);
	kfree(disk);
}

/*
 * The disk, or nothing of it.  The locks are held to the end, so that the notifier
 * finds no disk that is half removed.
 */
static int disk_make(struct disk *disk)
{
	struct pci_dev *owner __free(pci_dev_put) = pci_dev_get(disk->owner);
	int ret;

	guard(device)(&owner->dev);
	guard(mutex)(&disks_lock);
	ret = disk_complete(disk);
	if (ret)
		disk_remove(disk, true);
	return ret;
}

/* A disk that isn't complete, and not listed; the caller gives @owner away */
static struct disk *disk_create(struct pci_dev *owner)
{
	struct disk *disk = kzalloc(sizeof(*disk), GFP_KERNEL);

	if (!disk)
		return ERR_PTR(-ENOMEM);
	disk->index = ida_alloc(&disk_indexes, GFP_KERNEL);
	if (disk->index < 0) {
		int ret = disk->index;

		kfree(disk);
		return ERR_PTR(ret);
	}
	disk->owner = owner;
	spin_lock_init(&disk->lock);
	bio_list_init(&disk->bios);
	INIT_WORK(&disk->work, disk_work);
	mutex_init(&disk->engine_lock);
	init_completion(&disk->ended);
	return disk;
}

/* "DEVICE SIZE" or "DEVICE SIZE BAR OFFSET", as at the top of this file */
static struct disk *disk_parse(const char *text)
{
	char device[32], size[32], offset[32] = "0", *end;
	struct device *dev;
	struct disk *disk;
	int bar = -1, words;
	u64 bytes, start;
	char more;

	words = sscanf(text, "%31s %31s %d %31s %c", device, size, &bar, offset,
		       &more);
	if (words != 2 && words != 4) {
		pr_err("write DEVICE SIZE, or DEVICE SIZE BAR OFFSET\n");
		return ERR_PTR(-EINVAL);
	}
	bytes = memparse(size, &end);
	if (*end || !bytes || !IS_ALIGNED(bytes, DISK_BLOCK)) {
		pr_err("size '%s' isn't a multiple of %d bytes\n", size,
		       DISK_BLOCK);
		return ERR_PTR(-EINVAL);
	}
	start = memparse(offset, &end);
	if (*end || (words == 4 && (bar < 0 || bar >= PCI_STD_NUM_BARS))) {
		pr_err("no BAR and offset: '%d %s'\n", bar, offset);
		return ERR_PTR(-EINVAL);
	}
	dev = bus_find_device_by_name(&pci_bus_type, NULL, device);
	if (!dev) {
		pr_err("no PCI device '%s'\n", device);
		return ERR_PTR(-ENODEV);
	}
	disk = disk_create(to_pci_dev(dev));
	if (IS_ERR(disk)) {
		put_device(dev);
		return disk;
	}
	disk->size = bytes;
	disk->bar = bar;
	disk->offset = start;
	return disk;
}

static ssize_t add_store(const struct class *class,
			 const struct class_attribute *attr, const char *text,
			 size_t count)
{
	struct disk *disk = disk_parse(text);
	int ret;

	if (IS_ERR(disk))
		return PTR_ERR(disk);

	scoped_guard(mutex, &disks_lock)
		list_add_tail(&disk->node, &disks);
	disk_find_engine(disk);
	ret = disk_make(disk);
	return ret ?: count;
}
static CLASS_ATTR_WO(add);

static struct disk *disk_named(const char *name)
{
	struct disk *disk;

	list_for_each_entry(disk, &disks, node) {
		if (disk->gd && sysfs_streq(name, disk->gd->disk_name))
			return disk;
	}
	return NULL;
}

static ssize_t remove_store(const struct class *class,
			    const struct class_attribute *attr,
			    const char *text, size_t count)
{
	struct disk *disk;

	guard(mutex)(&disks_lock);
	disk = disk_named(text);
	if (!disk)
		return -ENODEV;
	scoped_guard(mutex, &disk->gd->open_mutex) {
		if (disk_openers(disk->gd))
			return -EBUSY;
		disk->leaving = true;
	}
	disk_remove(disk, false);
	return count;
}
static CLASS_ATTR_WO(remove);

/* The engine's driver is leaving: the CPU copies from now on. */
static void disk_lose_engine(struct disk *disk)
{
	struct queue_limits lim;

	disk_put_engine(disk);
	if (!disk->gd)
		return;
	lim = queue_limits_start_update(disk->gd->queue);
	lim.features &= ~BLK_FEAT_PCI_P2PDMA;
	WARN_ON(queue_limits_commit_update_frozen(disk->gd->queue, &lim));
}

/*
 * A driver is about to leave its device, whose device_lock() is held.  Once that is
 * released, the device has no driver, and disk_make() and disk_find_engine() find
 * nothing there.
 */
static int disk_notify(struct notifier_block *nb, unsigned long action,
		       void *data)
{
	struct disk *disk, *next;
	struct device *dev = data;

	if (action != BUS_NOTIFY_UNBIND_DRIVER)
		return NOTIFY_DONE;

	guard(mutex)(&disks_lock);
	list_for_each_entry_safe(disk, next, &disks, node) {
		if (disk->chan && disk_engine(disk) == dev)
			disk_lose_engine(disk);
		if (disk->mem && &disk->owner->dev == dev)
			disk_remove(disk, true);
	}
	return NOTIFY_OK;
}

static struct notifier_block disk_nb = {
	.notifier_call = disk_notify,
};

static struct attribute *disk_class_attrs[] = {
	&class_attr_add.attr,
	&class_attr_remove.attr,
	NULL
};
ATTRIBUTE_GROUPS(disk_class);

static struct class disk_class = {
	.name = KBUILD_MODNAME,
	.class_groups = disk_class_groups,
};

static int __init disk_init(void)
{
	int ret;

	disk_wq = alloc_workqueue(KBUILD_MODNAME, WQ_MEM_RECLAIM | WQ_UNBOUND,
				  0);
	if (!disk_wq)
		return -ENOMEM;
	ret = bus_register_notifier(&pci_bus_type, &disk_nb);
	if (ret)
		goto err_wq;
	ret = class_register(&disk_class);
	if (ret)
		goto err_notifier;
	return 0;

err_notifier:
	bus_unregister_notifier(&pci_bus_type, &disk_nb);
err_wq:
	destroy_workqueue(disk_wq);
	return ret;
}
module_init(disk_init);

static void __exit disk_exit(void)
{
	struct disk *disk, *next;

	class_unregister(&disk_class);	/* waits for disks being made */
	scoped_guard(mutex, &disks_lock) {
		list_for_each_entry_safe(disk, next, &disks, node)
			disk_remove(disk, false);
	}
	bus_unregister_notifier(&pci_bus_type, &disk_nb);
	destroy_workqueue(disk_wq);
}
module_exit(disk_exit);

MODULE_DESCRIPTION("Sample of peer-to-peer DMA: a disk made of peer memory");
MODULE_LICENSE("GPL");
