/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the RDMA adapter p2pdma_rnic share.
 *
 * struct rnic		an adapter: an ib_device and the DMA engine below it
 * struct rnic_qp	a queue pair, connected with another one
 * struct rnic_cq	a completion queue
 * struct rnic_mr	a memory region: pages that a key stands for, of a ULP or of
 *			a program's dma-buf
 * struct rnic_memory	one side of a copy
 *
 * Locks, outermost first:
 *
 * dma_buf::resv	is held while a buffer becomes a region, or is revoked.
 *			Memory may be allocated under it.
 * rnic_mutex		is held while a work request is executed, and protects
 *			connections and memory regions.  Who has taken it after
 *			a region or a connection has ended knows that no engine
 *			uses it.  No memory is allocated under it, since
 *			write-back may wait for a request.
 * rnic_qp::lock	the queues, state and peer of a queue pair; taken in
 *			atomic context
 * rnic_cq::lock	the entries of a completion queue; likewise
 */
#ifndef P2PDMA_RNIC_H
#define P2PDMA_RNIC_H

#include <linux/completion.h>
#include <linux/dmaengine.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <rdma/ib_verbs.h>
#include <rdma/iw_cm.h>

#define RNIC_PORT		1
#define RNIC_MAX_WR		16384
#define RNIC_MAX_SGE		8
#define RNIC_MAX_CQE		65536
#define RNIC_MAX_MR_PAGES	512		/* of REG_MR */
#define RNIC_MAX_MR_SIZE	(16ULL * SZ_1G)	/* of a dma-buf */
/* All requests are executed in turn, so a limit of RDMA READs has no meaning. */
#define RNIC_MAX_READS		16
#define RNIC_WIRE_SIZE		SZ_64K

/* An adapter */
struct rnic {
	struct ib_device ib;
	struct list_head list;		/* of rnic_adapters */
	bool registered;
	bool gone;			/* its engine or its netdev is going */
	struct net_device *netdev;	/* only to recognize it */
	struct dma_chan *chan;
	dma_addr_t wire;		/* rnic_wire, for the engine */
	struct xarray qps;		/* by number */
	struct xarray mrs;		/* by key >> 8 */
	struct xarray stand_ins;	/* struct ib_qp, see rnic_poll_cq() */
};

/* A completion queue */
struct rnic_cq {
	struct ib_cq ib;
	spinlock_t lock;		/* protects all below */
	enum ib_cq_notify_flags notify;	/* of which completions, or 0 */
	bool overflown;
	unsigned int first;
	unsigned int count;
	unsigned int size;
	struct ib_wc *wc;
};

/* A posted request, of either queue */
struct rnic_wr {
	u64 wr_id;			/* or the struct ib_cqe */
	enum ib_wr_opcode opcode;
	int send_flags;
	u32 invalidate;			/* key, SEND_WITH_INV and LOCAL_INV */
	u32 rkey;			/* of RDMA_*, or the new key of REG_MR */
	int access;			/* REG_MR */
	u64 remote_addr;
	u32 length;			/* of all SGEs, in bytes */
	int num_sge;
	struct ib_sge sge[RNIC_MAX_SGE];
};

struct rnic_queue {
	unsigned int first;
	unsigned int count;
	unsigned int size;
	int max_sge;
	struct rnic_wr *wr;
};

/* A queue pair */
struct rnic_qp {
	struct ib_qp ib;
	spinlock_t lock;		/* protects the next four */
	enum ib_qp_state state;		/* changes under rnic_mutex as well, */
	struct rnic_qp *peer;		/* and the peer: either lock will do */
	struct rnic_queue send;
	struct rnic_queue recv;
	bool sign_all;			/* each request completes by an entry */
	int access;			/* of the peer, enum ib_access_flags */
	struct work_struct work;	/* executes or flushes requests */
	refcount_t ref;
	struct completion released;

	/* The connection manager's, protected by rnic_mutex */
	struct iw_cm_id *cm_id;		/* to tell of the answer, or the end */
	u32 request;			/* sent and not answered, or 0 */
	struct iw_cm_id *listener;	/* it was sent to */
	struct delayed_work timeout;
};

/* A memory region */
struct rnic_mr {
	struct ib_mr ib;
	struct ib_umem *umem;		/* of a dma-buf, or NULL */

	/* As registered: ib_map_mr_sg() may be preparing the next time. */
	bool valid;			/* until invalidated or revoked */
	u32 key;
	int access;
	u64 iova;
	u64 length;
	u32 page_size;

	u32 max_pages;
	u32 nr_pages;
	dma_addr_t page[] __counted_by(max_pages);
};

/* One side of a copy: memory that a queue pair's SGEs name */
struct rnic_memory {
	struct rnic_qp *qp;
	const struct ib_sge *sge;
	int num_sge;
	int access;			/* that regions must allow */
};

extern struct mutex rnic_mutex;
extern struct workqueue_struct *rnic_workqueue;
extern struct page *rnic_wire;
extern unsigned int rnic_timeout_ms;

static inline struct rnic *rnic_of(struct ib_device *ib)
{
	return container_of(ib, struct rnic, ib);
}

static inline struct rnic_qp *rnic_qp_of(struct ib_qp *qp)
{
	return container_of(qp, struct rnic_qp, ib);
}

static inline struct device *rnic_dma_device(struct rnic *rnic)
{
	return dmaengine_get_dma_device(rnic->chan);
}

/* p2pdma_rnic_mem.c */
extern const struct ib_device_ops rnic_mem_ops;
bool rnic_memory_is_valid(const struct rnic_memory *memory);
int rnic_copy(const struct rnic_memory *to, const struct rnic_memory *from,
	      u32 length);
bool rnic_mr_register(struct rnic_qp *qp, const struct rnic_wr *wr);
bool rnic_mr_invalidate(struct rnic_qp *qp, u32 key);

/* p2pdma_rnic_qp.c */
extern const struct ib_device_ops rnic_qp_ops;
void rnic_free_stand_ins(struct rnic *rnic);
void rnic_qp_connect(struct rnic_qp *qp, struct rnic_qp *peer);
void rnic_qp_fail(struct rnic_qp *qp);

/* p2pdma_rnic_cm.c */
extern const struct ib_device_ops rnic_cm_ops;
void rnic_cm_init(struct rnic_qp *qp);
void rnic_cm_disconnect(struct rnic_qp *qp);

#endif
