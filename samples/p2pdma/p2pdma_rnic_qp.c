// SPDX-License-Identifier: GPL-2.0
/*
 * The RDMA adapter's queues: completion queues, queue pairs, and the execution
 * of their requests.
 *
 * Posting, in any context, puts a request into a ring and queues work.  The
 * work executes the requests of one queue pair in their order, each of them
 * under rnic_mutex: the engine has copied everything when a request completes,
 * and no request of any other queue pair runs meanwhile.  A SEND for which the
 * peer has posted no RECV stays at the head of its queue until there is one.
 *
 * A queue pair that is in error completes all of its requests as flushed, also
 * those posted later, which ib_drain_qp() relies on.
 */

#include <linux/dmaengine.h>
#include <linux/overflow.h>
#include <linux/slab.h>

#include "p2pdma_rnic.h"

/* Requests after which it is another queue pair's turn */
#define RNIC_BUDGET		16

/* ---- Completion queues ---- */

static struct rnic_cq *rnic_cq_of(struct ib_cq *cq)
{
	return container_of(cq, struct rnic_cq, ib);
}

static int rnic_create_cq(struct ib_cq *ib, const struct ib_cq_init_attr *attr,
			  struct uverbs_attr_bundle *attrs)
{
	struct rnic_cq *cq = rnic_cq_of(ib);

	if (attr->flags)
		return -EOPNOTSUPP;
	if (!attr->cqe || attr->cqe > RNIC_MAX_CQE)
		return -EINVAL;

	cq->wc = kvcalloc(attr->cqe, sizeof(*cq->wc), GFP_KERNEL);
	if (!cq->wc)
		return -ENOMEM;
	cq->size = attr->cqe;
	cq->ib.cqe = attr->cqe;
	spin_lock_init(&cq->lock);
	return 0;
}

static int rnic_destroy_cq(struct ib_cq *ib, struct ib_udata *udata)
{
	kvfree(rnic_cq_of(ib)->wc);
	return 0;
}

/*
 * When a program has polled a completion, the core looks up the queue pair's
 * number in wc->qp, which another thread may have destroyed meanwhile.  So it
 * gets another struct ib_qp, with the same number, that stays as long as the
 * adapter.
 */
static int rnic_poll_cq(struct ib_cq *ib, int max, struct ib_wc *wc)
{
	struct rnic_cq *cq = rnic_cq_of(ib);
	int n;

	guard(spinlock_irqsave)(&cq->lock);

	for (n = 0; n < max && cq->count; n++) {
		wc[n] = cq->wc[cq->first];
		if (ib->uobject)
			wc[n].qp = xa_load(&rnic_of(ib->device)->stand_ins,
					   wc[n].qp->qp_num);
		cq->first = (cq->first + 1) % cq->size;
		cq->count--;
	}
	return n;
}

static int rnic_req_notify_cq(struct ib_cq *ib, enum ib_cq_notify_flags flags)
{
	struct rnic_cq *cq = rnic_cq_of(ib);

	guard(spinlock_irqsave)(&cq->lock);

	/* The next completion includes a solicited one. */
	if (cq->notify != IB_CQ_NEXT_COMP)
		cq->notify = flags & IB_CQ_SOLICITED_MASK;
	return (flags & IB_CQ_REPORT_MISSED_EVENTS) && cq->count;
}

/* Add an entry, and tell the ULP if it has asked for that. */
static void rnic_cq_add(struct rnic_cq *cq, const struct ib_wc *wc,
			bool solicited)
{
	bool notify = false, overflown = false;

	scoped_guard(spinlock_irqsave, &cq->lock) {
		if (cq->count == cq->size) {
			overflown = !cq->overflown;
			cq->overflown = true;
		} else {
			cq->wc[(cq->first + cq->count++) % cq->size] = *wc;
			notify = cq->notify == IB_CQ_NEXT_COMP ||
				 (cq->notify && solicited);
			if (notify)
				cq->notify = 0;
		}
	}
	if (notify)
		cq->ib.comp_handler(&cq->ib, cq->ib.cq_context);
	if (overflown) {
		struct ib_event event = {
			.device = cq->ib.device,
			.event = IB_EVENT_CQ_ERR,
			.element.cq = &cq->ib,
		};

		ibdev_err(cq->ib.device, "a completion queue has overflown\n");
		if (cq->ib.event_handler)
			cq->ib.event_handler(&event, cq->ib.cq_context);
	}
}

/* Forget the entries of a queue pair that is about to be freed. */
static void rnic_cq_purge(struct rnic_cq *cq, struct rnic_qp *qp)
{
	unsigned int i, kept = 0;

	guard(spinlock_irqsave)(&cq->lock);

	for (i = 0; i < cq->count; i++) {
		struct ib_wc *wc = &cq->wc[(cq->first + i) % cq->size];

		if (wc->qp != &qp->ib)
			cq->wc[(cq->first + kept++) % cq->size] = *wc;
	}
	cq->count = kept;
}

/* ---- Queues of requests ---- */

static int rnic_queue_init(struct rnic_queue *queue, u32 size, u32 max_sge)
{
	if (size > RNIC_MAX_WR || max_sge > RNIC_MAX_SGE)
		return -EINVAL;
	queue->size = size;
	queue->max_sge = max_sge;
	queue->wr = kvcalloc(size, sizeof(*queue->wr), GFP_KERNEL);
	return queue->wr ? 0 : -ENOMEM;
}

/* The next free slot, or NULL */
static struct rnic_wr *rnic_queue_slot(struct rnic_queue *queue)
{
	if (queue->count == queue->size)
		return NULL;
	return &queue->wr[(queue->first + queue->count) % queue->size];
}

static struct rnic_wr *rnic_queue_head(struct rnic_queue *queue)
{
	return queue->count ? &queue->wr[queue->first] : NULL;
}

static void rnic_queue_pop(struct rnic_queue *queue)
{
	queue->first = (queue->first + 1) % queue->size;
	queue->count--;
}

/* Only the engine's alignment is asked of what it is to copy. */
static bool rnic_is_aligned(struct rnic_qp *qp, u64 address, u32 length)
{
	struct dma_chan *chan = rnic_of(qp->ib.device)->chan;

	return is_dma_copy_aligned(chan->device, address, 0, length);
}

static int rnic_wr_set_sges(struct rnic_qp *qp, struct rnic_queue *queue,
			    struct rnic_wr *to, const struct ib_sge *sge,
			    int num_sge)
{
	int i;

	if (num_sge < 0 || num_sge > queue->max_sge)
		return -EINVAL;
	to->num_sge = num_sge;
	to->length = 0;
	for (i = 0; i < num_sge; i++) {
		to->sge[i] = sge[i];
		if (!rnic_is_aligned(qp, sge[i].addr, sge[i].length) ||
		    check_add_overflow(to->length, sge[i].length, &to->length))
			return -EINVAL;
	}
	return 0;
}

/* Fill a slot of the send queue from a request. */
static int rnic_wr_set(struct rnic_qp *qp, struct rnic_wr *to,
		       const struct ib_send_wr *wr)
{
	if (wr->send_flags & IB_SEND_INLINE)
		return -EINVAL;

	to->wr_id = wr->wr_id;
	to->opcode = wr->opcode;
	to->send_flags = wr->send_flags;
	to->num_sge = 0;
	to->length = 0;

	switch (wr->opcode) {
	case IB_WR_RDMA_READ_WITH_INV:
		/* iWARP has no other key for it than that of the SGE. */
		if (wr->num_sge != 1)
			return -EINVAL;
		fallthrough;
	case IB_WR_RDMA_WRITE:
	case IB_WR_RDMA_READ:
		to->remote_addr = rdma_wr(wr)->remote_addr;
		to->rkey = rdma_wr(wr)->rkey;
		if (!rnic_is_aligned(qp, to->remote_addr, 0))
			return -EINVAL;
		break;
	case IB_WR_SEND_WITH_INV:
		to->invalidate = wr->ex.invalidate_rkey;
		break;
	case IB_WR_SEND:
		break;
	case IB_WR_REG_MR:
		to->rkey = reg_wr(wr)->key;
		to->access = reg_wr(wr)->access;
		return 0;
	case IB_WR_LOCAL_INV:
		to->invalidate = wr->ex.invalidate_rkey;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
	return rnic_wr_set_sges(qp, &qp->send, to, wr->sg_list, wr->num_sge);
}

static int rnic_post_send(struct ib_qp *ib, const struct ib_send_wr *wr,
			  const struct ib_send_wr **bad)
{
	struct rnic_qp *qp = rnic_qp_of(ib);
	struct rnic_wr *slot;
	int ret = 0;

	guard(spinlock_irqsave)(&qp->lock);

	if (qp->state != IB_QPS_RTS && qp->state != IB_QPS_ERR)
		ret = -EINVAL;
	for (; wr && !ret; wr = wr->next) {
		slot = rnic_queue_slot(&qp->send);
		ret = slot ? rnic_wr_set(qp, slot, wr) : -ENOMEM;
		if (ret)
			break;
		qp->send.count++;
	}
	if (ret)
		*bad = wr;
	if (qp->send.count)
		queue_work(rnic_workqueue, &qp->work);
	return ret;
}

static int rnic_post_recv(struct ib_qp *ib, const struct ib_recv_wr *wr,
			  const struct ib_recv_wr **bad)
{
	struct rnic_qp *qp = rnic_qp_of(ib);
	struct rnic_wr *slot;
	int ret = 0;

	guard(spinlock_irqsave)(&qp->lock);

	if (qp->state == IB_QPS_RESET)
		ret = -EINVAL;
	for (; wr && !ret; wr = wr->next) {
		slot = rnic_queue_slot(&qp->recv);
		ret = slot ? rnic_wr_set_sges(qp, &qp->recv, slot, wr->sg_list,
					      wr->num_sge) : -ENOMEM;
		if (ret)
			break;
		slot->wr_id = wr->wr_id;
		qp->recv.count++;
	}
	if (ret)
		*bad = wr;
	/* The peer may have a SEND that waits; or these are to be flushed. */
	if (qp->peer)
		queue_work(rnic_workqueue, &qp->peer->work);
	else if (qp->state == IB_QPS_ERR)
		queue_work(rnic_workqueue, &qp->work);
	return ret;
}

/* ---- Execution ---- */

static void rnic_complete(struct rnic_qp *qp, struct ib_cq *cq, u64 wr_id,
			  enum ib_wc_opcode opcode, enum ib_wc_status status,
			  u32 length)
{
	struct ib_wc wc = {
		.wr_id = wr_id,
		.qp = &qp->ib,
		.opcode = opcode,
		.status = status,
		.byte_len = length,
	};

	/* Errors are always told. */
	rnic_cq_add(rnic_cq_of(cq), &wc, status);
}

static enum ib_wc_opcode rnic_wc_opcode(enum ib_wr_opcode opcode)
{
	switch (opcode) {
	case IB_WR_RDMA_WRITE:
		return IB_WC_RDMA_WRITE;
	case IB_WR_RDMA_READ:
	case IB_WR_RDMA_READ_WITH_INV:
		return IB_WC_RDMA_READ;
	case IB_WR_REG_MR:
		return IB_WC_REG_MR;
	case IB_WR_LOCAL_INV:
		return IB_WC_LOCAL_INV;
	default:
		return IB_WC_SEND;
	}
}

/* Free the head of the send queue, and complete it. */
static void rnic_end_send(struct rnic_qp *qp, enum ib_wc_status status)
{
	enum ib_wc_opcode opcode;
	struct rnic_wr *wr;
	u32 length;
	u64 wr_id;
	bool told;

	scoped_guard(spinlock_irqsave, &qp->lock) {
		wr = rnic_queue_head(&qp->send);
		opcode = rnic_wc_opcode(wr->opcode);
		wr_id = wr->wr_id;
		length = wr->length;
		told = status || qp->sign_all ||
		       wr->send_flags & IB_SEND_SIGNALED;
		rnic_queue_pop(&qp->send);
	}
	if (told)
		rnic_complete(qp, qp->ib.send_cq, wr_id, opcode, status,
			      length);
}

static void rnic_end_recv(struct rnic_qp *qp, enum ib_wc_status status)
{
	u64 wr_id;

	scoped_guard(spinlock_irqsave, &qp->lock) {
		wr_id = rnic_queue_head(&qp->recv)->wr_id;
		rnic_queue_pop(&qp->recv);
	}
	rnic_complete(qp, qp->ib.recv_cq, wr_id, IB_WC_RECV, status, 0);
}

/* The peer's request has broken a rule: tell the ULP, which has no other sign. */
static void rnic_tell_access_error(struct rnic_qp *qp)
{
	struct ib_event event = {
		.device = qp->ib.device,
		.event = IB_EVENT_QP_ACCESS_ERR,
		.element.qp = &qp->ib,
	};

	if (qp->ib.event_handler)
		qp->ib.event_handler(&event, qp->ib.qp_context);
}

/* RDMA WRITE and READ */
static enum ib_wc_status rnic_transfer(struct rnic_qp *qp, struct rnic_qp *peer,
				       const struct rnic_wr *wr)
{
	bool write = wr->opcode == IB_WR_RDMA_WRITE;
	struct ib_sge far = {
		.addr = wr->remote_addr, .length = wr->length, .lkey = wr->rkey,
	};
	struct rnic_memory local = {
		.qp = qp, .sge = wr->sge, .num_sge = wr->num_sge,
		.access = write ? 0 : IB_ACCESS_LOCAL_WRITE,
	};
	struct rnic_memory remote = {
		.qp = peer, .sge = &far, .num_sge = 1,
		.access = write ? IB_ACCESS_REMOTE_WRITE :
				  IB_ACCESS_REMOTE_READ,
	};
	int ret;

	if (!rnic_memory_is_valid(&local))
		return IB_WC_LOC_PROT_ERR;
	if (remote.access & ~peer->access || !rnic_memory_is_valid(&remote) ||
	    !rnic_is_aligned(peer, wr->remote_addr, wr->length)) {
		rnic_tell_access_error(peer);
		return IB_WC_REM_ACCESS_ERR;
	}
	ret = write ? rnic_copy(&remote, &local, wr->length) :
		      rnic_copy(&local, &remote, wr->length);
	if (ret)
		return IB_WC_GENERAL_ERR;
	if (wr->opcode == IB_WR_RDMA_READ_WITH_INV &&
	    !rnic_mr_invalidate(qp, wr->sge[0].lkey))
		return IB_WC_LOC_PROT_ERR;
	return IB_WC_SUCCESS;
}

/* SEND, into the first RECV that the peer has posted */
static enum ib_wc_status rnic_send(struct rnic_qp *qp, struct rnic_qp *peer,
				   const struct rnic_wr *wr)
{
	/* Only the holder of rnic_mutex changes which one is the first. */
	const struct rnic_wr *recv = &peer->recv.wr[peer->recv.first];
	struct rnic_memory local = {
		.qp = qp, .sge = wr->sge, .num_sge = wr->num_sge,
	};
	struct rnic_memory remote = {
		.qp = peer, .sge = recv->sge, .num_sge = recv->num_sge,
		.access = IB_ACCESS_LOCAL_WRITE,
	};
	struct ib_wc wc = {
		.wr_id = recv->wr_id,
		.qp = &peer->ib,
		.opcode = IB_WC_RECV,
		.byte_len = wr->length,
	};

	if (!rnic_memory_is_valid(&local))
		return IB_WC_LOC_PROT_ERR;
	if (wr->length > recv->length) {
		rnic_end_recv(peer, IB_WC_LOC_LEN_ERR);
		return IB_WC_REM_INV_REQ_ERR;
	}
	if (!rnic_memory_is_valid(&remote)) {
		rnic_end_recv(peer, IB_WC_LOC_PROT_ERR);
		return IB_WC_REM_OP_ERR;
	}
	if (rnic_copy(&remote, &local, wr->length)) {
		rnic_end_recv(peer, IB_WC_GENERAL_ERR);
		return IB_WC_GENERAL_ERR;
	}
	if (wr->opcode == IB_WR_SEND_WITH_INV) {
		if (!rnic_mr_invalidate(peer, wr->invalidate)) {
			rnic_tell_access_error(peer);
			return IB_WC_REM_ACCESS_ERR;
		}
		wc.wc_flags = IB_WC_WITH_INVALIDATE;
		wc.ex.invalidate_rkey = wr->invalidate;
	}
	scoped_guard(spinlock_irqsave, &peer->lock)
		rnic_queue_pop(&peer->recv);
	rnic_cq_add(rnic_cq_of(peer->ib.recv_cq), &wc,
		    wr->send_flags & IB_SEND_SOLICITED);
	return IB_WC_SUCCESS;
}

static enum ib_wc_status rnic_execute(struct rnic_qp *qp, struct rnic_qp *peer,
				      const struct rnic_wr *wr)
{
	switch (wr->opcode) {
	case IB_WR_SEND:
	case IB_WR_SEND_WITH_INV:
		return rnic_send(qp, peer, wr);
	case IB_WR_REG_MR:
		return rnic_mr_register(qp, wr) ? IB_WC_SUCCESS :
						  IB_WC_MW_BIND_ERR;
	case IB_WR_LOCAL_INV:
		return rnic_mr_invalidate(qp, wr->invalidate) ?
			IB_WC_SUCCESS : IB_WC_MW_BIND_ERR;
	default:
		return rnic_transfer(qp, peer, wr);
	}
}

static bool rnic_is_send(const struct rnic_wr *wr)
{
	return wr->opcode == IB_WR_SEND || wr->opcode == IB_WR_SEND_WITH_INV;
}

/* The next request to execute, or NULL */
static const struct rnic_wr *rnic_next(struct rnic_qp *qp)
{
	const struct rnic_wr *wr;
	bool has_recv;

	if (!qp->peer)
		return NULL;
	scoped_guard(spinlock_irqsave, &qp->lock)
		wr = rnic_queue_head(&qp->send);
	scoped_guard(spinlock_irqsave, &qp->peer->lock)
		has_recv = qp->peer->recv.count;
	return wr && rnic_is_send(wr) && !has_recv ? NULL : wr;
}

static void rnic_flush(struct rnic_qp *qp)
{
	bool send, recv;

	for (;;) {
		scoped_guard(spinlock_irqsave, &qp->lock) {
			send = qp->send.count;
			recv = qp->recv.count;
		}
		if (send)
			rnic_end_send(qp, IB_WC_WR_FLUSH_ERR);
		if (recv)
			rnic_end_recv(qp, IB_WC_WR_FLUSH_ERR);
		if (!send && !recv)
			return;
	}
}

/* Execute one request, or flush all; false if nothing is left to do. */
static bool rnic_step(struct rnic_qp *qp)
{
	const struct rnic_wr *wr;
	enum ib_wc_status status;

	guard(mutex)(&rnic_mutex);

	if (qp->state == IB_QPS_ERR) {
		rnic_flush(qp);
		return false;
	}
	wr = rnic_next(qp);
	if (!wr)
		return false;
	status = rnic_execute(qp, qp->peer, wr);
	if (status)
		rnic_cm_disconnect(qp);
	rnic_end_send(qp, status);
	return true;
}

static void rnic_work(struct work_struct *work)
{
	struct rnic_qp *qp = container_of(work, struct rnic_qp, work);
	int i;

	for (i = 0; i < RNIC_BUDGET; i++)
		if (!rnic_step(qp))
			return;
	queue_work(rnic_workqueue, &qp->work);
}

/* ---- Queue pairs ---- */

/* Requests can be executed from now on. */
void rnic_qp_connect(struct rnic_qp *qp, struct rnic_qp *peer)
{
	lockdep_assert_held(&rnic_mutex);

	guard(spinlock_irqsave)(&qp->lock);
	qp->state = IB_QPS_RTS;
	qp->peer = peer;
	queue_work(rnic_workqueue, &qp->work);
}

/* All requests, also later ones, are flushed. */
void rnic_qp_fail(struct rnic_qp *qp)
{
	lockdep_assert_held(&rnic_mutex);

	guard(spinlock_irqsave)(&qp->lock);
	qp->state = IB_QPS_ERR;
	qp->peer = NULL;
	queue_work(rnic_workqueue, &qp->work);
}

static void rnic_qp_free_queues(struct rnic_qp *qp)
{
	kvfree(qp->send.wr);
	kvfree(qp->recv.wr);
}

static int rnic_add_stand_in(struct rnic *rnic, u32 number)
{
	struct ib_qp *stand_in;
	int ret;

	if (xa_load(&rnic->stand_ins, number))
		return 0;
	stand_in = kzalloc(sizeof(*stand_in), GFP_KERNEL);
	if (!stand_in)
		return -ENOMEM;
	stand_in->qp_num = number;
	ret = xa_insert(&rnic->stand_ins, number, stand_in, GFP_KERNEL);
	if (ret)
		kfree(stand_in);
	return ret;
}

void rnic_free_stand_ins(struct rnic *rnic)
{
	struct ib_qp *stand_in;
	unsigned long number;

	xa_for_each(&rnic->stand_ins, number, stand_in)
		kfree(stand_in);
	xa_destroy(&rnic->stand_ins);
}

static int rnic_create_qp(struct ib_qp *ib, struct ib_qp_init_attr *attr,
			  struct ib_udata *udata)
{
	struct rnic *rnic = rnic_of(ib->device);
	struct rnic_qp *qp = rnic_qp_of(ib);
	int ret;

	if (attr->qp_type != IB_QPT_RC || attr->create_flags || attr->srq)
		return -EOPNOTSUPP;
	if (attr->cap.max_inline_data)
		return -EINVAL;

	ret = rnic_queue_init(&qp->send, attr->cap.max_send_wr,
			      attr->cap.max_send_sge);
	if (!ret)
		ret = rnic_queue_init(&qp->recv, attr->cap.max_recv_wr,
				      attr->cap.max_recv_sge);
	if (ret)
		goto err_queues;

	spin_lock_init(&qp->lock);
	INIT_WORK(&qp->work, rnic_work);
	refcount_set(&qp->ref, 1);
	init_completion(&qp->released);
	qp->state = IB_QPS_RESET;
	qp->sign_all = attr->sq_sig_type == IB_SIGNAL_ALL_WR;
	rnic_cm_init(qp);

	/* 0 and 1 have a meaning of their own for InfiniBand. */
	ret = xa_alloc(&rnic->qps, &ib->qp_num, qp, XA_LIMIT(2, U32_MAX >> 8),
		       GFP_KERNEL);
	if (ret)
		goto err_queues;
	ret = ib->uobject ? rnic_add_stand_in(rnic, ib->qp_num) : 0;
	if (ret)
		goto err_number;
	return 0;

err_number:
	xa_erase(&rnic->qps, ib->qp_num);
err_queues:
	rnic_qp_free_queues(qp);
	return ret;
}

static void rnic_rem_ref(struct ib_qp *ib)
{
	struct rnic_qp *qp = rnic_qp_of(ib);

	if (refcount_dec_and_test(&qp->ref))
		complete(&qp->released);
}

static void rnic_add_ref(struct ib_qp *ib)
{
	refcount_inc(&rnic_qp_of(ib)->ref);
}

static struct ib_qp *rnic_get_qp(struct ib_device *ib, int number)
{
	struct rnic_qp *qp = xa_load(&rnic_of(ib)->qps, number);

	return qp ? &qp->ib : NULL;
}

static int rnic_destroy_qp(struct ib_qp *ib, struct ib_udata *udata)
{
	struct rnic_qp *qp = rnic_qp_of(ib);

	scoped_guard(mutex, &rnic_mutex)
		rnic_cm_disconnect(qp);
	xa_erase(&rnic_of(ib->device)->qps, ib->qp_num);

	/* The connection manager has references until it knows of the end. */
	rnic_rem_ref(ib);
	wait_for_completion(&qp->released);

	cancel_delayed_work_sync(&qp->timeout);
	cancel_work_sync(&qp->work);
	rnic_cq_purge(rnic_cq_of(ib->send_cq), qp);
	rnic_cq_purge(rnic_cq_of(ib->recv_cq), qp);
	rnic_qp_free_queues(qp);
	return 0;
}

/*
 * What RTR and RTS are for InfiniBand, accepting a connection is for iWARP.  SQD
 * begins its end: what hasn't been executed by then is flushed.
 */
static int rnic_modify_qp(struct ib_qp *ib, struct ib_qp_attr *attr, int mask,
			  struct ib_udata *udata)
{
	struct rnic_qp *qp = rnic_qp_of(ib);

	if (mask & ~IB_QP_ATTR_STANDARD_BITS)
		return -EOPNOTSUPP;

	guard(mutex)(&rnic_mutex);

	if (mask & IB_QP_STATE) {
		switch (attr->qp_state) {
		case IB_QPS_INIT:
		case IB_QPS_RTR:
			if (qp->state != IB_QPS_RESET &&
			    qp->state != IB_QPS_INIT)
				return -EINVAL;
			scoped_guard(spinlock_irqsave, &qp->lock)
				qp->state = IB_QPS_INIT;
			break;
		case IB_QPS_SQD:
		case IB_QPS_ERR:
			rnic_cm_disconnect(qp);
			break;
		default:
			return -EINVAL;
		}
	}
	if (mask & IB_QP_ACCESS_FLAGS)
		qp->access = attr->qp_access_flags;
	return 0;
}

static int rnic_query_qp(struct ib_qp *ib, struct ib_qp_attr *attr, int mask,
			 struct ib_qp_init_attr *init)
{
	struct rnic_qp *qp = rnic_qp_of(ib);

	guard(mutex)(&rnic_mutex);

	attr->qp_state = qp->state;
	attr->qp_access_flags = qp->access;
	attr->cap = (struct ib_qp_cap) {
		.max_send_wr = qp->send.size,
		.max_send_sge = qp->send.max_sge,
		.max_recv_wr = qp->recv.size,
		.max_recv_sge = qp->recv.max_sge,
	};
	init->cap = attr->cap;
	init->qp_type = ib->qp_type;
	init->send_cq = ib->send_cq;
	init->recv_cq = ib->recv_cq;
	init->sq_sig_type = qp->sign_all ? IB_SIGNAL_ALL_WR :
					   IB_SIGNAL_REQ_WR;
	return 0;
}

const struct ib_device_ops rnic_qp_ops = {
	.create_cq = rnic_create_cq,
	.destroy_cq = rnic_destroy_cq,
	.poll_cq = rnic_poll_cq,
	.req_notify_cq = rnic_req_notify_cq,
	.create_qp = rnic_create_qp,
	.modify_qp = rnic_modify_qp,
	.query_qp = rnic_query_qp,
	.destroy_qp = rnic_destroy_qp,
	.post_send = rnic_post_send,
	.post_recv = rnic_post_recv,
	.iw_add_ref = rnic_add_ref,
	.iw_rem_ref = rnic_rem_ref,
	.iw_get_qp = rnic_get_qp,

	INIT_RDMA_OBJ_SIZE(ib_cq, rnic_cq, ib),
	INIT_RDMA_OBJ_SIZE(ib_qp, rnic_qp, ib),
};
