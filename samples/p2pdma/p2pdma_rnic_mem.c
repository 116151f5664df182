// SPDX-License-Identifier: GPL-2.0
/*
 * The RDMA adapter's memory: protection domains, memory regions, and the copy
 * from one side of a request to the other.
 *
 * All addresses here are DMA addresses of the adapter's device: those in SGEs
 * with the local DMA key, and those of a region's pages.  The ULP got them from
 * ib_dma_map_*(), for whatever memory, or the adapter from the exporter of a
 * program's dma-buf.  They are given to the engine as they are, and never
 * translated back.
 *
 * A region of a dma-buf ends when its exporter revokes the buffer, at any time.
 * From then on its key is as good as an unknown one, and no other region gets
 * that key until the program deregisters this one.
 */

#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/log2.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <rdma/ib_umem.h>
#include <rdma/iter.h>

#include "p2pdma_rnic.h"

/* Descriptors that the engine has at a time */
#define RNIC_DESCRIPTORS	32
/* How often, and in ms, to wait for memory for a descriptor */
#define RNIC_TRIES		20
#define RNIC_TRY_MS		5

/* A protection domain: only its address counts. */
struct rnic_pd {
	struct ib_pd ib;
};

static int rnic_alloc_pd(struct ib_pd *pd, struct ib_udata *udata)
{
	return 0;
}

static int rnic_dealloc_pd(struct ib_pd *pd, struct ib_udata *udata)
{
	return 0;
}

/* ---- Regions ---- */

static struct rnic_mr *rnic_mr_of(struct ib_mr *mr)
{
	return container_of(mr, struct rnic_mr, ib);
}

/* There is a local DMA key, so nobody needs a region of all memory. */
static struct ib_mr *rnic_get_dma_mr(struct ib_pd *pd, int access)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static struct ib_mr *rnic_reg_user_mr(struct ib_pd *pd, u64 start, u64 length,
				      u64 virt_addr, int access,
				      struct ib_udata *udata)
{
	return ERR_PTR(-EOPNOTSUPP);
}

/* A region that isn't valid yet, with a key of its own */
static struct rnic_mr *rnic_mr_new(struct rnic *rnic, u32 max_pages)
{
	struct rnic_mr *mr;
	u32 index;
	int ret;

	mr = kvzalloc(struct_size(mr, page, max_pages), GFP_KERNEL);
	if (!mr)
		return ERR_PTR(-ENOMEM);
	mr->max_pages = max_pages;

	/* The last 8 bits of a key are the ULP's. */
	ret = xa_alloc(&rnic->mrs, &index, mr, XA_LIMIT(1, U32_MAX >> 8),
		       GFP_KERNEL);
	if (ret) {
		kvfree(mr);
		return ERR_PTR(ret);
	}
	mr->ib.lkey = index << 8;
	mr->ib.rkey = mr->ib.lkey;
	return mr;
}

static struct ib_mr *rnic_alloc_mr(struct ib_pd *pd, enum ib_mr_type type,
				   u32 max_pages)
{
	struct rnic_mr *mr;

	if (type != IB_MR_TYPE_MEM_REG)
		return ERR_PTR(-EOPNOTSUPP);
	if (!max_pages || max_pages > RNIC_MAX_MR_PAGES)
		return ERR_PTR(-EINVAL);

	mr = rnic_mr_new(rnic_of(pd->device), max_pages);
	return IS_ERR(mr) ? ERR_CAST(mr) : &mr->ib;
}

/*
 * A buffer is revoked, or its region deregistered.  No request is executed
 * meanwhile, and those that are executed later don't find the region.
 */
static void rnic_mr_revoke(void *priv)
{
	struct rnic_mr *mr = priv;

	guard(mutex)(&rnic_mutex);
	mr->valid = false;
}

/* Make a region of a mapped buffer, whose reservation lock is held. */
static struct rnic_mr *rnic_mr_of_buffer(struct rnic *rnic,
					 struct ib_umem_dmabuf *buffer,
					 int access)
{
	struct ib_umem *umem = &buffer->umem;
	struct ib_block_iter block;
	struct rnic_mr *mr;

	mr = rnic_mr_new(rnic, ib_umem_num_dma_blocks(umem, PAGE_SIZE));
	if (IS_ERR(mr))
		return mr;
	mr->umem = umem;
	rdma_umem_for_each_dma_block(umem, &block, PAGE_SIZE)
		mr->page[mr->nr_pages++] = rdma_block_iter_dma_address(&block);
	mr->key = mr->ib.lkey;
	mr->access = access;
	mr->iova = umem->iova;
	mr->length = umem->length;
	mr->page_size = PAGE_SIZE;
	ib_umem_dmabuf_set_revoke_locked(buffer, rnic_mr_revoke, mr);
	scoped_guard(mutex, &rnic_mutex)
		mr->valid = true;
	return mr;
}

static struct ib_mr *rnic_reg_user_mr_dmabuf(struct ib_pd *pd, u64 offset,
					     u64 length, u64 iova, int fd,
					     int access,
					     struct uverbs_attr_bundle *attrs)
{
	struct ib_umem_dmabuf *buffer;
	struct rnic_mr *mr;

	if (length > RNIC_MAX_MR_SIZE)
		return ERR_PTR(-EINVAL);

	buffer = ib_umem_dmabuf_get_pinned_revocable_and_lock(pd->device,
							      offset, length,
							      fd, access);
	if (IS_ERR(buffer))
		return ERR_CAST(buffer);
	buffer->umem.iova = iova;
	mr = rnic_mr_of_buffer(rnic_of(pd->device), buffer, access);
	dma_resv_unlock(buffer->attach->dmabuf->resv);
	if (IS_ERR(mr)) {
		ib_umem_release(&buffer->umem);
		return ERR_CAST(mr);
	}
	return &mr->ib;
}

static int rnic_dereg_mr(struct ib_mr *ib, struct ib_udata *udata)
{
	struct rnic_mr *mr = rnic_mr_of(ib);

	scoped_guard(mutex, &rnic_mutex)
		xa_erase(&rnic_of(ib->device)->mrs, ib->lkey >> 8);
	if (mr->umem)
		ib_umem_release(mr->umem);
	kvfree(mr);
	return 0;
}

static int rnic_set_page(struct ib_mr *ib, u64 address)
{
	struct rnic_mr *mr = rnic_mr_of(ib);

	if (mr->nr_pages == mr->max_pages)
		return -ENOMEM;
	mr->page[mr->nr_pages++] = address;
	return 0;
}

static int rnic_map_mr_sg(struct ib_mr *ib, struct scatterlist *sg, int nents,
			  unsigned int *offset)
{
	if (!is_power_of_2(ib->page_size))
		return -EINVAL;
	rnic_mr_of(ib)->nr_pages = 0;
	return ib_sg_to_pages(ib, sg, nents, offset, rnic_set_page);
}

static struct rnic_mr *rnic_mr_find(struct rnic_qp *qp, u32 key)
{
	struct rnic_mr *mr;

	lockdep_assert_held(&rnic_mutex);

	mr = xa_load(&rnic_of(qp->ib.device)->mrs, key >> 8);
	return mr && mr->ib.pd == qp->ib.pd ? mr : NULL;
}

/* The region that a key stands for now */
static struct rnic_mr *rnic_mr_find_valid(struct rnic_qp *qp, u32 key)
{
	struct rnic_mr *mr = rnic_mr_find(qp, key);

	return mr && mr->valid && mr->key == key ? mr : NULL;
}

/*
 * Execute REG_MR; false if there is no such region, if it is registered or of a
 * dma-buf, or if its pages aren't enough.
 */
bool rnic_mr_register(struct rnic_qp *qp, const struct rnic_wr *wr)
{
	struct rnic_mr *mr = rnic_mr_find(qp, wr->rkey);
	u64 mask, most;

	if (!mr || mr->valid || mr->umem || !mr->nr_pages)
		return false;
	mask = mr->ib.page_size - 1;
	most = (u64)mr->nr_pages * mr->ib.page_size;
	if (mr->ib.length > most || (mr->ib.iova & mask) > most - mr->ib.length)
		return false;
	mr->iova = mr->ib.iova;
	mr->length = mr->ib.length;
	mr->page_size = mr->ib.page_size;
	mr->key = wr->rkey;
	mr->access = wr->access;
	mr->valid = true;
	return true;
}

/* Execute an invalidation; false if there is no such region that a ULP has made. */
bool rnic_mr_invalidate(struct rnic_qp *qp, u32 key)
{
	struct rnic_mr *mr = rnic_mr_find_valid(qp, key);

	if (!mr || mr->umem)
		return false;
	mr->valid = false;
	return true;
}

/* ---- Sides of a copy ---- */

static bool rnic_sge_is_valid(const struct rnic_memory *memory,
			      const struct ib_sge *sge)
{
	struct rnic_mr *mr;
	u64 offset;

	if (!sge->length)
		return true;
	/* The key 0 is the local DMA key: for the kernel, and not for the peer. */
	if (sge->lkey == memory->qp->ib.device->local_dma_lkey)
		return !memory->qp->ib.uobject &&
		       !(memory->access &
			 (IB_ACCESS_REMOTE_READ | IB_ACCESS_REMOTE_WRITE));

	mr = rnic_mr_find_valid(memory->qp, sge->lkey);
	if (!mr || memory->access & ~mr->access)
		return false;
	/* Wraps to more than any length where it lies in front. */
	offset = sge->addr - mr->iova;
	return offset <= mr->length && sge->length <= mr->length - offset;
}

/* May all of the memory be accessed as it says? */
bool rnic_memory_is_valid(const struct rnic_memory *memory)
{
	int i;

	for (i = 0; i < memory->num_sge; i++)
		if (!rnic_sge_is_valid(memory, &memory->sge[i]))
			return false;
	return true;
}

/* Position in the memory of one side */
struct rnic_cursor {
	const struct rnic_memory *memory;
	int index;			/* of the SGE */
	u32 offset;			/* in that SGE, in bytes */
};

/* What is contiguous at the cursor: its length, and its DMA address */
static u32 rnic_cursor_piece(struct rnic_cursor *cursor, dma_addr_t *address)
{
	const struct rnic_memory *memory = cursor->memory;
	const struct ib_sge *sge;
	struct rnic_mr *mr;
	u64 at, left, length, i;

	while (cursor->offset == memory->sge[cursor->index].length) {
		cursor->index++;
		cursor->offset = 0;
	}
	sge = &memory->sge[cursor->index];
	at = sge->addr + cursor->offset;
	left = sge->length - cursor->offset;
	if (sge->lkey == memory->qp->ib.device->local_dma_lkey) {
		*address = at;
		return left;
	}

	/* The region's address is an offset into its first page. */
	mr = rnic_mr_find(memory->qp, sge->lkey);
	at -= ALIGN_DOWN(mr->iova, mr->page_size);
	i = at >> ilog2(mr->page_size);
	at &= mr->page_size - 1;
	*address = mr->page[i] + at;
	for (length = mr->page_size - at; length < left; i++) {
		if (mr->page[i + 1] != mr->page[i] + mr->page_size)
			break;
		length += mr->page_size;
	}
	return min(left, length);
}

/* ---- The engine ---- */

/* Descriptors that the engine has */
struct rnic_batch {
	unsigned int pending;		/* counted down by callbacks */
	bool failed;
	struct completion ended;
};

/*
 * The engine is done with one descriptor.  A channel's calls are serialized, and
 * none comes before dma_async_issue_pending().  An engine that gives no results
 * has no errors, either.
 */
static void rnic_callback(void *data, const struct dmaengine_result *result)
{
	struct rnic_batch *batch = data;

	if (result->result != DMA_TRANS_NOERROR)
		batch->failed = true;
	if (!--batch->pending)
		complete(&batch->ended);
}

/* Hand the engine one descriptor; -ENOMEM if there is no memory for it now */
static int rnic_submit(struct rnic_batch *batch, struct dma_chan *chan,
		       dma_addr_t to, dma_addr_t from, u32 length)
{
	struct dma_async_tx_descriptor *tx;

	tx = dmaengine_prep_dma_memcpy(chan, to, from, length,
				       DMA_PREP_INTERRUPT);
	if (!tx)
		return -ENOMEM;
	tx->callback_result = rnic_callback;
	tx->callback_param = batch;
	batch->pending++;
	return dma_submit_error(dmaengine_submit(tx)) ? -EIO : 0;
}

/* Wait until the engine is done with a batch, or stop it. */
static int rnic_finish(struct rnic_batch *batch, struct rnic *rnic)
{
	unsigned long most = msecs_to_jiffies(READ_ONCE(rnic_timeout_ms));

	dma_async_issue_pending(rnic->chan);
	if (wait_for_completion_timeout(&batch->ended, most))
		return batch->failed ? -EIO : 0;

	ibdev_err(&rnic->ib, "the DMA engine doesn't answer\n");
	WARN_ON(dmaengine_terminate_sync(rnic->chan));
	return -ETIMEDOUT;
}

/* Let the engine copy what one batch holds: its length, or an error. */
static int rnic_copy_batch(struct rnic *rnic, struct rnic_cursor *to,
			   struct rnic_cursor *from, u32 length)
{
	struct rnic_batch batch = {};
	dma_addr_t source, target;
	u32 piece, done = 0;
	int ret = 0;

	init_completion(&batch.ended);
	/* A return value has to hold what has been copied. */
	length = min(length, SZ_1G);
	while (done < length && batch.pending < RNIC_DESCRIPTORS) {
		piece = min(length - done, rnic_cursor_piece(to, &target));
		piece = min(piece, rnic_cursor_piece(from, &source));
		ret = rnic_submit(&batch, rnic->chan, target, source, piece);
		if (ret)
			break;
		to->offset += piece;
		from->offset += piece;
		done += piece;
	}
	if (ret == -EIO)
		WARN_ON(dmaengine_terminate_sync(rnic->chan));
	else if (done)
		ret = rnic_finish(&batch, rnic);
	return ret ?: done;
}

/* Copy by one engine, which reaches both sides. */
static int rnic_copy_by(struct rnic *rnic, struct rnic_cursor *to,
			struct rnic_cursor *from, u32 length)
{
	int done, tries = 0;

	while (length) {
		done = rnic_copy_batch(rnic, to, from, length);
		if (done == -ENOMEM && tries++ < RNIC_TRIES) {
			msleep(RNIC_TRY_MS);
			continue;
		}
		if (done == -ENOMEM)
			ibdev_err_ratelimited(&rnic->ib, "the DMA engine takes no copy: no memory, or an address that it can't send\n");
		if (done < 0)
			return done;
		length -= done;
		tries = 0;
	}
	return 0;
}

/*
 * Copy between two adapters: one engine writes to the wire, the other one reads
 * from it.
 */
static int rnic_copy_by_wire(struct rnic_cursor *to, struct rnic_cursor *from,
			     u32 length)
{
	struct rnic *sender = rnic_of(from->memory->qp->ib.device);
	struct rnic *receiver = rnic_of(to->memory->qp->ib.device);
	int ret = 0;

	while (length && !ret) {
		u32 part = min(length, RNIC_WIRE_SIZE);
		struct ib_sge in = { .addr = sender->wire, .length = part };
		struct ib_sge out = { .addr = receiver->wire, .length = part };
		struct rnic_memory wire_in = {
			.qp = from->memory->qp, .sge = &in, .num_sge = 1,
		};
		struct rnic_memory wire_out = {
			.qp = to->memory->qp, .sge = &out, .num_sge = 1,
		};
		struct rnic_cursor at_in = { .memory = &wire_in };
		struct rnic_cursor at_out = { .memory = &wire_out };

		dma_sync_single_for_device(rnic_dma_device(sender),
					   sender->wire, part,
					   DMA_BIDIRECTIONAL);
		ret = rnic_copy_by(sender, &at_in, from, part);
		dma_sync_single_for_cpu(rnic_dma_device(sender), sender->wire,
					part, DMA_BIDIRECTIONAL);
		dma_sync_single_for_device(rnic_dma_device(receiver),
					   receiver->wire, part,
					   DMA_BIDIRECTIONAL);
		if (!ret)
			ret = rnic_copy_by(receiver, to, &at_out, part);
		dma_sync_single_for_cpu(rnic_dma_device(receiver),
					receiver->wire, part,
					DMA_BIDIRECTIONAL);
		length -= part;
	}
	return ret;
}

/* Copy from one side to the other.  Both are valid and have that length. */
int rnic_copy(const struct rnic_memory *to, const struct rnic_memory *from,
	      u32 length)
{
	struct rnic_cursor target = { .memory = to };
	struct rnic_cursor source = { .memory = from };

	lockdep_assert_held(&rnic_mutex);

	if (to->qp->ib.device == from->qp->ib.device)
		return rnic_copy_by(rnic_of(to->qp->ib.device), &target,
				    &source, length);
	return rnic_copy_by_wire(&target, &source, length);
}

const struct ib_device_ops rnic_mem_ops = {
	.alloc_pd = rnic_alloc_pd,
	.dealloc_pd = rnic_dealloc_pd,
	.get_dma_mr = rnic_get_dma_mr,
	.reg_user_mr = rnic_reg_user_mr,
	.reg_user_mr_dmabuf = rnic_reg_user_mr_dmabuf,
	.alloc_mr = rnic_alloc_mr,
	.dereg_mr = rnic_dereg_mr,
	.map_mr_sg = rnic_map_mr_sg,

	INIT_RDMA_OBJ_SIZE(ib_pd, rnic_pd, ib),
};
