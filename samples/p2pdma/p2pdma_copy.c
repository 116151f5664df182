// SPDX-License-Identifier: GPL-2.0
/*
 * A client: copies from one DMA buffer to another by a DMA engine.
 *
 * User space names both by file descriptor; see P2PDMA_COPY in
 * p2pdma_samples.h.  This driver doesn't need to know where their memory lies:
 * system memory and memory of PCI devices are both given as DMA addresses.  A
 * client must do the following:
 *
 * - It attaches as a dynamic importer that allows peer-to-peer.  The exporter
 *   then refuses in dma_buf_dynamic_attach() what the engine can't reach.
 * - It uses only the DMA addresses and lengths of the sg_table: peer memory may
 *   have no struct pages.
 * - Memory may move or be revoked while it is in use.  move_notify() stops the
 *   copy: when it returns, the engine no longer accesses the buffer.  Engines
 *   that can't be stopped aren't used.
 *
 * An engine is taken for one copy; copies take turns.
 */

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/dmaengine.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/scatterlist.h>
#include <linux/uaccess.h>

#include "p2pdma_samples.h"

static unsigned int timeout_ms = 60 * MSEC_PER_SEC;
module_param(timeout_ms, uint, 0644);
MODULE_PARM_DESC(timeout_ms, "how long the engine may take, in milliseconds");

/* Held during a copy: copies use the engine in turn */
static DEFINE_MUTEX(copy_turn);

/* One end of a copy */
struct copy_end {
	struct dma_buf *dmabuf;
	u64 offset;
	enum dma_data_direction dir;
	struct dma_buf_attachment *attachment;
	struct sg_table *sgt;
};

/* A copy */
struct copy {
	struct copy_end source;
	struct copy_end destination;
	u64 length;
	struct dma_chan *chan;
	/* Protects @moved and @running; nests inside reservation locks */
	struct mutex lock;
	bool moved;		/* since the ends were mapped */
	bool running;		/* the engine has descriptors of this copy */
	atomic_t pending;	/* descriptors, and 1 until all are submitted */
	enum dmaengine_tx_result result;
	struct completion ended;
};

/*
 * Are both ends in one buffer?  It is attached and mapped once, for both
 * directions: mappings of the same memory for one device mustn't overlap.
 */
static bool copy_within(struct copy *copy)
{
	return copy->source.dmabuf == copy->destination.dmabuf;
}

/* Position in the DMA addresses of one end */
struct copy_cursor {
	struct scatterlist *sg;
	u64 offset;		/* in @sg, in bytes */
};

static void copy_cursor_init(struct copy_cursor *cursor, struct copy_end *end)
{
	cursor->sg = end->sgt->sgl;
	cursor->offset = end->offset;
	while (cursor->offset >= sg_dma_len(cursor->sg)) {
		cursor->offset -= sg_dma_len(cursor->sg);
		cursor->sg = sg_next(cursor->sg);
	}
}

static dma_addr_t copy_cursor_addr(struct copy_cursor *cursor)
{
	return sg_dma_address(cursor->sg) + cursor->offset;
}

static u64 copy_cursor_left(struct copy_cursor *cursor)
{
	return sg_dma_len(cursor->sg) - cursor->offset;
}

static void copy_cursor_advance(struct copy_cursor *cursor, u64 length)
{
	cursor->offset += length;
	if (!copy_cursor_left(cursor)) {
		cursor->sg = sg_next(cursor->sg);
		cursor->offset = 0;
	}
}

static void copy_put_pending(struct copy *copy)
{
	if (atomic_dec_and_test(&copy->pending))
		complete(&copy->ended);
}

/* The engine is done with one descriptor; calls are serialized. */
static void copy_callback(void *data, const struct dmaengine_result *result)
{
	struct copy *copy = data;

	if (copy->result == DMA_TRANS_NOERROR)
		copy->result = result->result;
	copy_put_pending(copy);
}

/* Stop the engine; no callback runs afterwards. */
static void copy_stop(struct copy *copy)
{
	lockdep_assert_held(&copy->lock);

	if (!copy->running)
		return;
	WARN_ON(dmaengine_terminate_sync(copy->chan));
	copy->running = false;
}

/* The exporter is about to move the memory; it holds the reservation lock. */
static void copy_move_notify(struct dma_buf_attachment *attachment)
{
	struct copy *copy = attachment->importer_priv;

	mutex_lock(&copy->lock);
	copy->moved = true;
	copy_stop(copy);
	complete(&copy->ended);
	mutex_unlock(&copy->lock);
}

static const struct dma_buf_attach_ops copy_attach_ops = {
	.allow_peer2peer = true,
	.move_notify = copy_move_notify,
};

/*
 * Give the engine one descriptor for each pair of contiguous pieces.  It may
 * start with the first, and be done with it, before it is told to.
 */
static int copy_submit(struct copy *copy)
{
	struct dma_async_tx_descriptor *tx;
	struct copy_cursor from, to;
	u64 left = copy->length;
	size_t piece;

	copy_cursor_init(&from, &copy->source);
	copy_cursor_init(&to, &copy->destination);
	while (left) {
		piece = min3(left, copy_cursor_left(&from),
			     copy_cursor_left(&to));
		tx = dmaengine_prep_dma_memcpy(copy->chan,
					       copy_cursor_addr(&to),
					       copy_cursor_addr(&from), piece,
					       DMA_PREP_INTERRUPT);
		if (!tx)
			return -EIO;
		tx->callback_result = copy_callback;
		tx->callback_param = copy;
		atomic_inc(&copy->pending);
		if (dma_submit_error(dmaengine_submit(tx)))
			return -EIO;

		left -= piece;
		if (!left)
			break;
		copy_cursor_advance(&from, piece);
		copy_cursor_advance(&to, piece);
	}
	return 0;
}

/* Start the copy; -ESTALE if a buffer has moved since it was mapped */
static int copy_start(struct copy *copy)
{
	int ret;

	guard(mutex)(&copy->lock);

	if (copy->moved)
		return -ESTALE;

	atomic_set(&copy->pending, 1);
	copy->result = DMA_TRANS_NOERROR;
	reinit_completion(&copy->ended);
	copy->running = true;
	ret = copy_submit(copy);
	if (ret) {
		copy_stop(copy);
		return ret;
	}
	dma_async_issue_pending(copy->chan);
	copy_put_pending(copy);
	return 0;
}

/* Wait until the copy has ended, or stop it */
static int copy_finish(struct copy *copy)
{
	unsigned long most = msecs_to_jiffies(READ_ONCE(timeout_ms));
	long left;

	left = wait_for_completion_interruptible_timeout(&copy->ended, most);

	guard(mutex)(&copy->lock);
	copy_stop(copy);	/* no descriptor stays, whether done or not */

	if (left < 0)
		return -EINTR;
	if (copy->moved)
		return -ESTALE;
	if (!left)
		return -ETIMEDOUT;
	if (copy->result == DMA_TRANS_ABORTED)
		return -ENODEV;
	return copy->result == DMA_TRANS_NOERROR ? 0 : -EIO;
}

static int copy_map(struct copy_end *end)
{
	struct dma_resv *resv = end->dmabuf->resv;
	long left;
	int ret;

	ret = dma_resv_lock_interruptible(resv, NULL);
	if (ret)
		return ret;

	end->sgt = dma_buf_map_attachment(end->attachment, end->dir);
	if (IS_ERR(end->sgt)) {
		ret = PTR_ERR(end->sgt);
		goto out_unlock;
	}

	/* Wait for writers of the source, or for all users of the target. */
	left = dma_resv_wait_timeout(resv, dma_resv_usage_rw(end->dir !=
							     DMA_TO_DEVICE),
				     true, MAX_SCHEDULE_TIMEOUT);
	if (left < 0) {
		dma_buf_unmap_attachment(end->attachment, end->sgt, end->dir);
		ret = -EINTR;
	}
out_unlock:
	dma_resv_unlock(resv);
	return ret;
}

static void copy_unmap(struct copy_end *end)
{
	dma_buf_unmap_attachment_unlocked(end->attachment, end->sgt, end->dir);
}

/* -ESTALE: a buffer has moved in the meantime, so the copy can be retried. */
static int copy_once(struct copy *copy)
{
	int ret;

	scoped_guard(mutex, &copy->lock)
		copy->moved = false;

	ret = copy_map(&copy->source);
	if (ret)
		return ret;
	if (copy_within(copy))
		copy->destination.sgt = copy->source.sgt;
	else
		ret = copy_map(&copy->destination);
	if (ret)
		goto out_source;

	ret = copy_start(copy);
	if (!ret)
		ret = copy_finish(copy);

	if (!copy_within(copy))
		copy_unmap(&copy->destination);
out_source:
	copy_unmap(&copy->source);
	return ret;
}

static int copy_attach(struct copy *copy, struct copy_end *end)
{
	struct device *dev = dmaengine_get_dma_device(copy->chan);

	end->attachment = dma_buf_dynamic_attach(end->dmabuf, dev,
						 &copy_attach_ops, copy);
	return PTR_ERR_OR_ZERO(end->attachment);
}

/* Copy, with the buffers attached to the engine */
static int copy_attached(struct copy *copy)
{
	int ret;

	if (!is_dma_copy_aligned(copy->chan->device, copy->source.offset,
				 copy->destination.offset, copy->length))
		return -EINVAL;

	if (copy_within(copy))
		copy->source.dir = DMA_BIDIRECTIONAL;
	ret = copy_attach(copy, &copy->source);
	if (ret)
		return ret;
	if (!copy_within(copy))
		ret = copy_attach(copy, &copy->destination);
	if (ret)
		goto out_source;

	do {
		ret = copy_once(copy);
	} while (ret == -ESTALE);

	if (!copy_within(copy))
		dma_buf_detach(copy->destination.dmabuf,
			       copy->destination.attachment);
out_source:
	dma_buf_detach(copy->source.dmabuf, copy->source.attachment);
	return ret;
}

/* Can the engine end a copy, and wait for its callbacks? */
static bool copy_engine_fits(struct dma_chan *chan, void *unused)
{
	return chan->device->device_terminate_all &&
	       chan->device->device_synchronize;
}

static int copy_with_engine(struct copy *copy)
{
	dma_cap_mask_t mask;
	int ret;

	ret = mutex_lock_interruptible(&copy_turn);
	if (ret)
		return ret;

	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMCPY, mask);
	copy->chan = dma_request_channel(mask, copy_engine_fits, NULL);
	if (copy->chan) {
		ret = copy_attached(copy);
		dma_release_channel(copy->chan);
	} else {
		ret = -ENODEV;
	}

	mutex_unlock(&copy_turn);
	return ret;
}

static int copy_get(struct copy_end *end, int fd, u64 offset, u64 length,
		    enum dma_data_direction dir, fmode_t mode)
{
	u64 last;

	end->offset = offset;
	end->dir = dir;
	end->dmabuf = dma_buf_get(fd);
	if (IS_ERR(end->dmabuf))
		return PTR_ERR(end->dmabuf);

	if (!(end->dmabuf->file->f_mode & mode)) {
		dma_buf_put(end->dmabuf);
		return -EACCES;
	}
	if (!length || check_add_overflow(offset, length, &last) ||
	    last > end->dmabuf->size) {
		dma_buf_put(end->dmabuf);
		return -EINVAL;
	}
	return 0;
}

static int copy_request(const struct p2pdma_copy *request)
{
	struct copy copy = { .length = request->length };
	int ret;

	ret = copy_get(&copy.source, request->source, request->source_offset,
		       request->length, DMA_TO_DEVICE, FMODE_READ);
	if (ret)
		return ret;
	ret = copy_get(&copy.destination, request->destination,
		       request->destination_offset, request->length,
		       DMA_FROM_DEVICE, FMODE_WRITE);
	if (ret)
		goto out_source;

	/* An overlapping copy couldn't be repeated after a move. */
	if (copy_within(&copy) &&
	    abs_diff(copy.source.offset, copy.destination.offset) <
	    copy.length) {
		ret = -EINVAL;
		goto out_destination;
	}

	mutex_init(&copy.lock);
	init_completion(&copy.ended);
	ret = copy_with_engine(&copy);
	mutex_destroy(&copy.lock);

out_destination:
	dma_buf_put(copy.destination.dmabuf);
out_source:
	dma_buf_put(copy.source.dmabuf);
	return ret;
}

static long copy_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct p2pdma_copy request;

	if (cmd != P2PDMA_COPY)
		return -ENOTTY;
	if (copy_from_user(&request, (void __user *)arg, sizeof(request)))
		return -EFAULT;
	return copy_request(&request);
}

static const struct file_operations copy_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = copy_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice copy_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = KBUILD_MODNAME,
	.fops = &copy_fops,
};
module_misc_device(copy_device);

MODULE_IMPORT_NS(DMA_BUF);
MODULE_DESCRIPTION("Sample client of peer-to-peer DMA: copies between DMA buffers");
MODULE_LICENSE("GPL");
