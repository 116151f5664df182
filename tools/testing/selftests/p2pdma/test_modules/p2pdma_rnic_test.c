// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the sample RDMA adapter's verbs and connections: what it
 * executes, in which order, what it refuses, and how connections end.
 *
 * There has to be one adapter (p2pdma_rnic), whose network interface has the
 * address of the parameter: selftests/p2pdma/rnic.c sees to that.  Data is in
 * system memory here; where it lies is another test's subject.
 */

#include <kunit/test.h>

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/in.h>
#include <linux/inet.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <rdma/ib_cm.h>
#include <rdma/ib_verbs.h>
#include <rdma/rdma_cm.h>

static char *address = "10.0.0.1";
module_param(address, charp, 0444);
MODULE_PARM_DESC(address, "IPv4 address of the adapter's interface");

#define TCP_PORT	4000
#define PATIENCE	(20 * HZ)
#define QUEUE		8
#define MAX_SGE		4
#define CQES		64
#define SIZE		(2 * PAGE_SIZE)

/* How the listener answers */
enum answer { ACCEPT, REJECT, NEVER };

/* One side of a connection; rdma_cm_id::context */
struct end {
	struct pair *pair;
	struct rdma_cm_id *id;
	struct ib_qp *qp;
	struct ib_cq *cq;
	struct ib_mr *mr;
	u8 *buf;			/* SIZE bytes */
	u64 dma;
	struct completion told;
	enum rdma_cm_event_type event;	/* the last one */
	int status;
	u8 data[8];			/* the peer's, when connecting */
	struct completion disconnected;
	int disconnects;
	int notified;			/* by the CQ */
	int access_errors;		/* told as events of the QP */
};

struct pair {
	struct kunit *test;
	struct ib_device *dev;
	struct ib_pd *pd;
	struct rdma_cm_id *listener;
	struct completion asked;	/* the listener, for a connection */
	enum answer answer;
	struct end client;
	struct end server;
};

static bool waited(struct completion *completion)
{
	return wait_for_completion_timeout(completion, PATIENCE);
}

static struct sockaddr_in listen_address(void)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(TCP_PORT),
		.sin_addr.s_addr = in_aton(address),
	};

	return addr;
}

/* ---- Connections ---- */

static void end_event(struct ib_event *event, void *data)
{
	struct end *end = data;

	if (event->event == IB_EVENT_QP_ACCESS_ERR)
		end->access_errors++;
}

static void end_notified(struct ib_cq *cq, void *data)
{
	struct end *end = data;

	end->notified++;
}

static struct ib_qp_init_attr qp_attr(struct end *end)
{
	struct ib_qp_init_attr attr = {
		.event_handler = end_event,
		.qp_context = end,
		.send_cq = end->cq,
		.recv_cq = end->cq,
		.qp_type = IB_QPT_RC,
		.sq_sig_type = IB_SIGNAL_REQ_WR,
		.cap = {
			.max_send_wr = QUEUE, .max_recv_wr = QUEUE,
			.max_send_sge = MAX_SGE, .max_recv_sge = MAX_SGE,
		},
	};

	return attr;
}

static int end_create_qp(struct end *end)
{
	struct ib_qp_init_attr attr = qp_attr(end);
	int ret = rdma_create_qp(end->id, end->pair->pd, &attr);

	end->qp = ret ? NULL : end->id->qp;
	return ret;
}

static int client_handler(struct rdma_cm_id *id, struct rdma_cm_event *event)
{
	struct end *end = id->context;
	size_t length = event->param.conn.private_data_len;

	if (event->event == RDMA_CM_EVENT_DISCONNECTED) {
		end->disconnects++;
		complete(&end->disconnected);
		return 0;
	}
	end->event = event->event;
	end->status = event->status;
	if (event->param.conn.private_data)
		memcpy(end->data, event->param.conn.private_data,
		       min(length, sizeof(end->data)));
	complete(&end->told);
	return 0;
}

static struct rdma_conn_param conn_param(const char *data)
{
	struct rdma_conn_param param = {
		.private_data = data,
		.private_data_len = strlen(data),
		.responder_resources = 1,
		.initiator_depth = 1,
	};

	return param;
}

/* The listener's; also that of the ids that it gets, in which @context is a pair. */
static int server_handler(struct rdma_cm_id *id, struct rdma_cm_event *event)
{
	struct rdma_conn_param param = conn_param("server");
	struct pair *pair = id->context;
	struct end *end = &pair->server;
	int ret;

	switch (event->event) {
	case RDMA_CM_EVENT_CONNECT_REQUEST:
		memcpy(end->data, event->param.conn.private_data,
		       min_t(size_t, event->param.conn.private_data_len,
			     sizeof(end->data)));
		if (pair->answer == REJECT) {
			rdma_reject(id, "no", 2, IB_CM_REJ_CONSUMER_DEFINED);
			return -ECONNREFUSED;
		}
		end->id = id;
		complete(&pair->asked);
		if (pair->answer == NEVER)
			return 0;
		ret = end_create_qp(end) ?: rdma_accept(id, &param);
		if (!ret)
			return 0;
		/* A handler's error destroys the id. */
		if (end->qp)
			rdma_destroy_qp(id);
		end->qp = NULL;
		end->id = NULL;
		return ret;
	case RDMA_CM_EVENT_ESTABLISHED:
		complete(&end->told);
		return 0;
	case RDMA_CM_EVENT_DISCONNECTED:
		end->disconnects++;
		complete(&end->disconnected);
		return 0;
	default:
		return 0;
	}
}

static int listen(struct pair *pair)
{
	struct sockaddr_in addr = listen_address();
	struct rdma_cm_id *id;
	int ret;

	id = rdma_create_id(&init_net, server_handler, pair, RDMA_PS_TCP,
			    IB_QPT_RC);
	if (IS_ERR(id))
		return PTR_ERR(id);
	ret = rdma_bind_addr(id, (struct sockaddr *)&addr) ?:
	      rdma_listen(id, 4);
	if (ret) {
		rdma_destroy_id(id);
		return ret;
	}
	pair->listener = id;
	return 0;
}

/* The client is told what follows from its last call. */
static int client_wait(struct end *end, enum rdma_cm_event_type event)
{
	if (!waited(&end->told))
		return -ETIMEDOUT;
	if (end->event != event)
		return end->status ?: -EPROTO;
	return 0;
}

/* Everything up to the request for a connection */
static int client_prepare(struct pair *pair)
{
	struct sockaddr_in addr = listen_address();
	struct end *end = &pair->client;
	struct rdma_cm_id *id;

	id = rdma_create_id(&init_net, client_handler, end, RDMA_PS_TCP,
			    IB_QPT_RC);
	if (IS_ERR(id))
		return PTR_ERR(id);
	end->id = id;
	return rdma_resolve_addr(id, NULL, (struct sockaddr *)&addr, 2000) ?:
	       client_wait(end, RDMA_CM_EVENT_ADDR_RESOLVED) ?:
	       rdma_resolve_route(id, 2000) ?:
	       client_wait(end, RDMA_CM_EVENT_ROUTE_RESOLVED) ?:
	       end_create_qp(end);
}

static int client_ask(struct pair *pair)
{
	struct rdma_conn_param param = conn_param("client");

	return rdma_connect(pair->client.id, &param);
}

static int connect_pair(struct pair *pair)
{
	int ret;

	ret = listen(pair) ?: client_prepare(pair) ?: client_ask(pair) ?:
	      client_wait(&pair->client, RDMA_CM_EVENT_ESTABLISHED);
	if (ret)
		return ret;
	if (!waited(&pair->server.told))
		return -ETIMEDOUT;
	return 0;
}

static void end_destroy_id(struct end *end)
{
	if (!end->id)
		return;
	if (end->qp)
		rdma_destroy_qp(end->id);
	rdma_destroy_id(end->id);
	end->qp = NULL;
	end->id = NULL;
}

static void disconnect_pair(struct pair *pair)
{
	end_destroy_id(&pair->client);
	end_destroy_id(&pair->server);
	if (pair->listener)
		rdma_destroy_id(pair->listener);
	pair->listener = NULL;
}

/* ---- Set-up ---- */

static int end_init(struct pair *pair, struct end *end)
{
	struct ib_cq_init_attr attr = { .cqe = CQES };
	struct kunit *test = pair->test;

	end->pair = pair;
	init_completion(&end->told);
	init_completion(&end->disconnected);
	end->buf = kunit_kzalloc(test, SIZE, GFP_KERNEL);
	if (!end->buf)
		return -ENOMEM;
	end->dma = ib_dma_map_single(pair->dev, end->buf, SIZE,
				     DMA_BIDIRECTIONAL);
	if (ib_dma_mapping_error(pair->dev, end->dma)) {
		end->dma = 0;
		return -ENOMEM;
	}
	end->cq = ib_create_cq(pair->dev, end_notified, NULL, end, &attr);
	if (IS_ERR(end->cq)) {
		end->cq = NULL;
		return -ENOMEM;
	}
	end->mr = ib_alloc_mr(pair->pd, IB_MR_TYPE_MEM_REG, 4);
	if (IS_ERR(end->mr)) {
		end->mr = NULL;
		return -ENOMEM;
	}
	return 0;
}

static void end_exit(struct pair *pair, struct end *end)
{
	if (end->mr)
		ib_dereg_mr(end->mr);
	if (end->cq)
		ib_destroy_cq(end->cq);
	if (end->dma)
		ib_dma_unmap_single(pair->dev, end->dma, SIZE,
				    DMA_BIDIRECTIONAL);
}

static int rnic_test_init(struct kunit *test)
{
	struct pair *pair;

	pair = kunit_kzalloc(test, sizeof(*pair), GFP_KERNEL);
	if (!pair)
		return -ENOMEM;
	test->priv = pair;
	pair->test = test;
	init_completion(&pair->asked);
	pair->dev = ib_device_get_by_name("p2prnic0", RDMA_DRIVER_UNKNOWN);
	if (!pair->dev) {
		kunit_err(test, "there is no adapter p2prnic0");
		return -ENODEV;
	}
	pair->pd = ib_alloc_pd(pair->dev, 0);
	if (IS_ERR(pair->pd)) {
		pair->pd = NULL;
		return -ENOMEM;
	}
	return end_init(pair, &pair->client) ?: end_init(pair, &pair->server);
}

static void rnic_test_exit(struct kunit *test)
{
	struct pair *pair = test->priv;

	if (!pair || !pair->dev)
		return;
	disconnect_pair(pair);
	end_exit(pair, &pair->client);
	end_exit(pair, &pair->server);
	if (pair->pd)
		ib_dealloc_pd(pair->pd);
	ib_device_put(pair->dev);
}

/* ---- Requests ---- */

static struct ib_sge sge_of(struct end *end, u32 offset, u32 length)
{
	struct ib_sge sge = {
		.addr = end->dma + offset,
		.length = length,
		.lkey = end->pair->pd->local_dma_lkey,
	};

	return sge;
}

static int post_recv(struct end *end, u64 wr_id, u32 offset, u32 length)
{
	struct ib_sge sge = sge_of(end, offset, length);
	struct ib_recv_wr wr = { .wr_id = wr_id, .sg_list = &sge, .num_sge = 1 };

	return ib_post_recv(end->qp, &wr, NULL);
}

static int post_send(struct end *end, u64 wr_id, u32 offset, u32 length)
{
	struct ib_sge sge = sge_of(end, offset, length);
	struct ib_send_wr wr = {
		.wr_id = wr_id, .sg_list = &sge, .num_sge = 1,
		.opcode = IB_WR_SEND, .send_flags = IB_SEND_SIGNALED,
	};

	return ib_post_send(end->qp, &wr, NULL);
}

static int post_rdma(struct end *end, enum ib_wr_opcode opcode, u64 wr_id,
		     struct ib_sge sge, u64 remote, u32 rkey)
{
	struct ib_rdma_wr wr = {
		.wr = {
			.wr_id = wr_id, .sg_list = &sge, .num_sge = 1,
			.opcode = opcode, .send_flags = IB_SEND_SIGNALED,
		},
		.remote_addr = remote,
		.rkey = rkey,
	};

	return ib_post_send(end->qp, &wr.wr, NULL);
}

static int post_inv(struct end *end, u64 wr_id, u32 rkey)
{
	struct ib_send_wr wr = {
		.wr_id = wr_id,
		.opcode = IB_WR_LOCAL_INV,
		.send_flags = IB_SEND_SIGNALED,
		.ex.invalidate_rkey = rkey,
	};

	return ib_post_send(end->qp, &wr, NULL);
}

/* Let the region stand for a part of the end's buffer. */
static int post_reg(struct end *end, u64 wr_id, u32 offset, u32 length,
		    int access)
{
	struct scatterlist sg;
	struct ib_reg_wr wr = {
		.wr = {
			.wr_id = wr_id,
			.opcode = IB_WR_REG_MR,
			.send_flags = IB_SEND_SIGNALED,
		},
		.mr = end->mr,
		.access = access,
	};

	sg_init_table(&sg, 1);
	sg_dma_address(&sg) = end->dma + offset;
	sg_dma_len(&sg) = length;
	if (ib_map_mr_sg(end->mr, &sg, 1, NULL, PAGE_SIZE) != 1)
		return -EINVAL;
	ib_update_fast_reg_key(end->mr, ib_inc_rkey(end->mr->lkey));
	wr.key = end->mr->rkey;
	return ib_post_send(end->qp, &wr.wr, NULL);
}

/* The next completion: true if there is one, within a while */
static bool next_wc(struct end *end, struct ib_wc *wc)
{
	int i;

	for (i = 0; i < 2000; i++) {
		if (ib_poll_cq(end->cq, 1, wc) == 1)
			return true;
		usleep_range(1000, 2000);
	}
	return false;
}

static void expect_wc(struct kunit *test, struct end *end, u64 wr_id,
		      enum ib_wc_status status)
{
	struct ib_wc wc;

	KUNIT_ASSERT_TRUE_MSG(test, next_wc(end, &wc),
			      "no completion of %llu", wr_id);
	KUNIT_EXPECT_EQ(test, wr_id, wc.wr_id);
	KUNIT_EXPECT_EQ_MSG(test, status, wc.status, "of %llu", wr_id);
	KUNIT_EXPECT_PTR_EQ(test, end->qp, wc.qp);
}

static void expect_nothing(struct kunit *test, struct end *end)
{
	struct ib_wc wc;

	msleep(50);
	KUNIT_EXPECT_EQ(test, 0, ib_poll_cq(end->cq, 1, &wc));
}

static void expect_disconnected(struct kunit *test, struct pair *pair)
{
	KUNIT_EXPECT_TRUE(test, waited(&pair->client.disconnected));
	KUNIT_EXPECT_TRUE(test, waited(&pair->server.disconnected));
	msleep(20);
	KUNIT_EXPECT_EQ(test, 1, pair->client.disconnects);
	KUNIT_EXPECT_EQ(test, 1, pair->server.disconnects);
}

/* Buffers with different content; true afterwards if that hasn't changed */
static void fill_buffers(struct pair *pair)
{
	int i;

	for (i = 0; i < SIZE; i++) {
		pair->client.buf[i] = i * 7 + i / 256;
		pair->server.buf[i] = i * 13 + 100 + i / 256;
	}
}

static bool is_filled(struct pair *pair, struct end *end, u32 from, u32 to)
{
	u32 i;

	for (i = from; i < to; i++) {
		u8 byte = end == &pair->client ? i * 7 + i / 256 :
						 i * 13 + 100 + i / 256;

		if (end->buf[i] != byte)
			return false;
	}
	return true;
}

static bool is_copy(struct end *to, u32 at, struct end *from, u32 offset,
		    u32 length)
{
	return !memcmp(to->buf + at, from->buf + offset, length);
}

static struct pair *connected(struct kunit *test)
{
	struct pair *pair = test->priv;

	KUNIT_ASSERT_EQ(test, 0, connect_pair(pair));
	fill_buffers(pair);
	return pair;
}

/* The client has asked, and gets that answer. */
static struct pair *asking(struct kunit *test, enum answer answer)
{
	struct pair *pair = test->priv;

	pair->answer = answer;
	KUNIT_ASSERT_EQ(test, 0, listen(pair));
	KUNIT_ASSERT_EQ(test, 0, client_prepare(pair));
	KUNIT_EXPECT_EQ(test, 0, client_ask(pair));
	return pair;
}

/* ---- Cases: requests ---- */

static void rnic_send(struct kunit *test)
{
	struct pair *pair = connected(test);
	struct ib_wc wc;

	KUNIT_EXPECT_EQ(test, 0, post_recv(&pair->server, 1, 64, 256));
	KUNIT_EXPECT_EQ(test, 0, post_send(&pair->client, 2, 128, 100));
	KUNIT_ASSERT_TRUE(test, next_wc(&pair->server, &wc));
	KUNIT_EXPECT_EQ(test, 1, wc.wr_id);
	KUNIT_EXPECT_EQ(test, IB_WC_SUCCESS, wc.status);
	KUNIT_EXPECT_EQ(test, IB_WC_RECV, wc.opcode);
	KUNIT_EXPECT_EQ(test, 100, wc.byte_len);
	KUNIT_EXPECT_EQ(test, 0, wc.wc_flags);
	expect_wc(test, &pair->client, 2, IB_WC_SUCCESS);
	KUNIT_EXPECT_TRUE(test, is_copy(&pair->server, 64, &pair->client, 128,
					100));
	KUNIT_EXPECT_TRUE(test, is_filled(pair, &pair->server, 0, 64));
	KUNIT_EXPECT_TRUE(test, is_filled(pair, &pair->server, 164, SIZE));
	KUNIT_EXPECT_TRUE(test, is_filled(pair, &pair->client, 0, SIZE));
}

/* Several SGEs on both sides, with other bounds, and one of length 0 */
static void rnic_send_sges(struct kunit *test)
{
	struct pair *pair = connected(test);
	struct ib_sge from[] = {
		sge_of(&pair->client, 0, 8), sge_of(&pair->client, 100, 0),
		sge_of(&pair->client, 200, 60), sge_of(&pair->client, 400, 4),
	};
	struct ib_sge to[] = {
		sge_of(&pair->server, 1000, 40), sge_of(&pair->server, 2000, 40),
	};
	struct ib_send_wr send = {
		.wr_id = 2, .sg_list = from, .num_sge = ARRAY_SIZE(from),
		.opcode = IB_WR_SEND, .send_flags = IB_SEND_SIGNALED,
	};
	struct ib_recv_wr recv = {
		.wr_id = 1, .sg_list = to, .num_sge = ARRAY_SIZE(to),
	};
	u8 *at = pair->server.buf;

	KUNIT_EXPECT_EQ(test, 0, ib_post_recv(pair->server.qp, &recv, NULL));
	KUNIT_EXPECT_EQ(test, 0, ib_post_send(pair->client.qp, &send, NULL));
	expect_wc(test, &pair->server, 1, IB_WC_SUCCESS);
	expect_wc(test, &pair->client, 2, IB_WC_SUCCESS);
	KUNIT_EXPECT_MEMEQ(test, at + 1000, pair->client.buf, 8);
	KUNIT_EXPECT_MEMEQ(test, at + 1008, pair->client.buf + 200, 32);
	KUNIT_EXPECT_MEMEQ(test, at + 2000, pair->client.buf + 232, 28);
	KUNIT_EXPECT_MEMEQ(test, at + 2028, pair->client.buf + 400, 4);
	KUNIT_EXPECT_TRUE(test, is_filled(pair, &pair->server, 2032, SIZE));
}

/* A SEND waits for a RECV, and what is behind it waits as well. */
static void rnic_send_waits(struct kunit *test)
{
	struct pair *pair = connected(test);

	KUNIT_EXPECT_EQ(test, 0, post_send(&pair->client, 1, 0, 4));
	KUNIT_EXPECT_EQ(test, 0, post_reg(&pair->client, 2, 0, PAGE_SIZE, 0));
	KUNIT_EXPECT_EQ(test, 0, post_send(&pair->client, 3, 8, 4));
	expect_nothing(test, &pair->client);
	KUNIT_EXPECT_EQ(test, 0, post_recv(&pair->server, 4, 100, 4));
	expect_wc(test, &pair->client, 1, IB_WC_SUCCESS);
	expect_wc(test, &pair->client, 2, IB_WC_SUCCESS);
	expect_nothing(test, &pair->client);
	KUNIT_EXPECT_EQ(test, 0, post_recv(&pair->server, 5, 200, 4));
	expect_wc(test, &pair->client, 3, IB_WC_SUCCESS);
	expect_wc(test, &pair->server, 4, IB_WC_SUCCESS);
	expect_wc(test, &pair->server, 5, IB_WC_SUCCESS);
	KUNIT_EXPECT_TRUE(test, is_copy(&pair->server, 100, &pair->client, 0,
					4));
	KUNIT_EXPECT_TRUE(test, is_copy(&pair->server, 200, &pair->client, 8,
					4));
}

static void rnic_send_too_long(struct kunit *test)
{
	struct pair *pair = connected(test);

	KUNIT_EXPECT_EQ(test, 0, post_recv(&pair->server, 1, 0, 8));
	KUNIT_EXPECT_EQ(test, 0, post_recv(&pair->server, 2, 0, 8));
	KUNIT_EXPECT_EQ(test, 0, post_send(&pair->client, 3, 0, 12));
	KUNIT_EXPECT_EQ(test, 0, post_send(&pair->client, 4, 0, 4));
	expect_wc(test, &pair->client, 3, IB_WC_REM_INV_REQ_ERR);
	expect_wc(test, &pair->client, 4, IB_WC_WR_FLUSH_ERR);
	expect_wc(test, &pair->server, 1, IB_WC_LOC_LEN_ERR);
	expect_wc(test, &pair->server, 2, IB_WC_WR_FLUSH_ERR);
	KUNIT_EXPECT_TRUE(test, is_filled(pair, &pair->server, 0, SIZE));
	expect_disconnected(test, pair);
}

static void rnic_rdma(struct kunit *test)
{
	struct pair *pair = connected(test);
	struct end *server = &pair->server, *client = &pair->client;
	int all = IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE |
		  IB_ACCESS_REMOTE_READ;

	/* From within a page into the next one */
	KUNIT_EXPECT_EQ(test, 0, post_reg(server, 1, 512, PAGE_SIZE, all));
	expect_wc(test, server, 1, IB_WC_SUCCESS);
	KUNIT_EXPECT_EQ(test, server->dma + 512, server->mr->iova);

	KUNIT_EXPECT_EQ(test, 0, post_rdma(client, IB_WR_RDMA_WRITE, 2,
					   sge_of(client, 0, PAGE_SIZE - 8),
					   server->mr->iova + 4,
					   server->mr->rkey));
	expect_wc(test, client, 2, IB_WC_SUCCESS);
	KUNIT_EXPECT_TRUE(test, is_copy(server, 516, client, 0,
					PAGE_SIZE - 8));
	KUNIT_EXPECT_TRUE(test, is_filled(pair, server, 0, 516));
	KUNIT_EXPECT_TRUE(test, is_filled(pair, server, PAGE_SIZE + 508, SIZE));

	KUNIT_EXPECT_EQ(test, 0, post_rdma(client, IB_WR_RDMA_READ, 3,
					   sge_of(client, PAGE_SIZE, 64),
					   server->mr->iova + PAGE_SIZE - 64,
					   server->mr->rkey));
	expect_wc(test, client, 3, IB_WC_SUCCESS);
	KUNIT_EXPECT_TRUE(test, is_copy(client, PAGE_SIZE, server,
					512 + PAGE_SIZE - 64, 64));
	/* The server's ULP isn't told. */
	expect_nothing(test, server);
}

/* Into a region, which is invalidated by the way */
static void rnic_read_with_inv(struct kunit *test)
{
	struct pair *pair = connected(test);
	struct end *server = &pair->server, *client = &pair->client;
	struct ib_sge sge;

	KUNIT_EXPECT_EQ(test, 0, post_reg(server, 1, 0, SIZE,
					  IB_ACCESS_REMOTE_READ));
	expect_wc(test, server, 1, IB_WC_SUCCESS);
	KUNIT_EXPECT_EQ(test, 0, post_reg(client, 2, 0, SIZE,
					  IB_ACCESS_LOCAL_WRITE));
	sge = sge_of(client, 8, 16);
	sge.lkey = client->mr->lkey;
	KUNIT_EXPECT_EQ(test, 0, post_rdma(client, IB_WR_RDMA_READ_WITH_INV, 3,
					   sge, server->mr->iova,
					   server->mr->rkey));
	expect_wc(test, client, 2, IB_WC_SUCCESS);
	expect_wc(test, client, 3, IB_WC_SUCCESS);
	KUNIT_EXPECT_TRUE(test, is_copy(client, 8, server, 0, 16));
	/* So it can be registered again. */
	KUNIT_EXPECT_EQ(test, 0, post_reg(client, 4, 0, SIZE,
					  IB_ACCESS_LOCAL_WRITE));
	expect_wc(test, client, 4, IB_WC_SUCCESS);
}

static void rnic_send_with_inv(struct kunit *test)
{
	struct pair *pair = connected(test);
	struct end *server = &pair->server, *client = &pair->client;
	struct ib_sge sge = sge_of(server, 0, 16);
	struct ib_send_wr send = {
		.wr_id = 3, .sg_list = &sge, .num_sge = 1,
		.opcode = IB_WR_SEND_WITH_INV, .send_flags = IB_SEND_SIGNALED,
	};
	struct ib_wc wc;

	KUNIT_EXPECT_EQ(test, 0, post_reg(client, 1, 0, SIZE,
					  IB_ACCESS_REMOTE_READ));
	expect_wc(test, client, 1, IB_WC_SUCCESS);
	KUNIT_EXPECT_EQ(test, 0, post_recv(client, 2, 0, 16));
	send.ex.invalidate_rkey = client->mr->rkey;
	KUNIT_EXPECT_EQ(test, 0, ib_post_send(server->qp, &send, NULL));
	KUNIT_ASSERT_TRUE(test, next_wc(client, &wc));
	KUNIT_EXPECT_EQ(test, 2, wc.wr_id);
	KUNIT_EXPECT_EQ(test, IB_WC_SUCCESS, wc.status);
	KUNIT_EXPECT_EQ(test, IB_WC_WITH_INVALIDATE, wc.wc_flags);
	KUNIT_EXPECT_EQ(test, client->mr->rkey, wc.ex.invalidate_rkey);
	expect_wc(test, server, 3, IB_WC_SUCCESS);

	/* It is invalid now. */
	KUNIT_EXPECT_EQ(test, 0, post_rdma(server, IB_WR_RDMA_READ, 4,
					   sge_of(server, 0, 4),
					   client->mr->iova, client->mr->rkey));
	expect_wc(test, server, 4, IB_WC_REM_ACCESS_ERR);
	KUNIT_EXPECT_EQ(test, 1, client->access_errors);
}

/* What the peer may not do with a region */
struct access_case {
	const char *name;
	enum ib_wr_opcode opcode;
	int access;			/* as registered */
	u32 offset;
	u32 length;
	u32 add_to_key;
	bool invalidated;
	bool local_key;
	enum ib_wc_status status;
};

#define REGION	(PAGE_SIZE - 8)

static const struct access_case access_cases[] = {
	{ "write, all of it", IB_WR_RDMA_WRITE, IB_ACCESS_REMOTE_WRITE,
	  .length = REGION, .status = IB_WC_SUCCESS },
	{ "read, the last word", IB_WR_RDMA_READ, IB_ACCESS_REMOTE_READ,
	  .offset = REGION - 4, .length = 4, .status = IB_WC_SUCCESS },
	{ "write, only readable", IB_WR_RDMA_WRITE, IB_ACCESS_REMOTE_READ,
	  .length = 4, .status = IB_WC_REM_ACCESS_ERR },
	{ "read, only writable", IB_WR_RDMA_READ, IB_ACCESS_REMOTE_WRITE,
	  .length = 4, .status = IB_WC_REM_ACCESS_ERR },
	{ "write, one word too long", IB_WR_RDMA_WRITE, IB_ACCESS_REMOTE_WRITE,
	  .length = REGION + 4, .status = IB_WC_REM_ACCESS_ERR },
	{ "write, behind the end", IB_WR_RDMA_WRITE, IB_ACCESS_REMOTE_WRITE,
	  .offset = REGION, .length = 4, .status = IB_WC_REM_ACCESS_ERR },
	{ "write, in front", IB_WR_RDMA_WRITE, IB_ACCESS_REMOTE_WRITE,
	  .offset = -4, .length = 4, .status = IB_WC_REM_ACCESS_ERR },
	{ "write, another key", IB_WR_RDMA_WRITE, IB_ACCESS_REMOTE_WRITE,
	  .length = 4, .add_to_key = 1, .status = IB_WC_REM_ACCESS_ERR },
	{ "write, no such region", IB_WR_RDMA_WRITE, IB_ACCESS_REMOTE_WRITE,
	  .length = 4, .add_to_key = 1 << 24, .status = IB_WC_REM_ACCESS_ERR },
	{ "write, invalidated", IB_WR_RDMA_WRITE, IB_ACCESS_REMOTE_WRITE,
	  .length = 4, .invalidated = true, .status = IB_WC_REM_ACCESS_ERR },
	{ "write, the local key", IB_WR_RDMA_WRITE, IB_ACCESS_REMOTE_WRITE,
	  .length = 4, .local_key = true, .status = IB_WC_REM_ACCESS_ERR },
};

KUNIT_ARRAY_PARAM_DESC(access, access_cases, name);

static void rnic_access(struct kunit *test)
{
	const struct access_case *param = test->param_value;
	struct pair *pair = connected(test);
	struct end *server = &pair->server, *client = &pair->client;
	u32 offset = 4, rkey;

	KUNIT_EXPECT_EQ(test, 0, post_reg(server, 1, offset, REGION,
					  param->access |
					  IB_ACCESS_LOCAL_WRITE));
	expect_wc(test, server, 1, IB_WC_SUCCESS);
	if (param->invalidated) {
		KUNIT_EXPECT_EQ(test, 0, post_inv(server, 2, server->mr->rkey));
		expect_wc(test, server, 2, IB_WC_SUCCESS);
	}
	rkey = param->local_key ? pair->pd->local_dma_lkey :
				  server->mr->rkey + param->add_to_key;

	KUNIT_EXPECT_EQ(test, 0, post_rdma(client, param->opcode, 3,
					   sge_of(client, 0, param->length),
					   server->mr->iova +
					   (s32)param->offset, rkey));
	expect_wc(test, client, 3, param->status);
	if (param->status) {
		KUNIT_EXPECT_TRUE(test, is_filled(pair, server, 0, SIZE));
		KUNIT_EXPECT_TRUE(test, is_filled(pair, client, 0, SIZE));
		KUNIT_EXPECT_EQ(test, 1, server->access_errors);
		expect_disconnected(test, pair);
	} else if (param->opcode == IB_WR_RDMA_WRITE) {
		KUNIT_EXPECT_TRUE(test, is_copy(server, offset + param->offset,
						client, 0, param->length));
	} else {
		KUNIT_EXPECT_TRUE(test, is_copy(client, 0, server,
						offset + param->offset,
						param->length));
	}
}

/* What the queue pair doesn't allow, no region does. */
static void rnic_qp_access(struct kunit *test)
{
	struct ib_qp_attr attr = { .qp_access_flags = IB_ACCESS_REMOTE_READ };
	struct pair *pair = connected(test);
	struct end *server = &pair->server, *client = &pair->client;
	int all = IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE |
		  IB_ACCESS_REMOTE_READ;

	KUNIT_EXPECT_EQ(test, 0, ib_modify_qp(server->qp, &attr,
					      IB_QP_ACCESS_FLAGS));
	KUNIT_EXPECT_EQ(test, 0, post_reg(server, 1, 0, SIZE, all));
	expect_wc(test, server, 1, IB_WC_SUCCESS);
	KUNIT_EXPECT_EQ(test, 0, post_rdma(client, IB_WR_RDMA_READ, 2,
					   sge_of(client, 0, 4),
					   server->mr->iova, server->mr->rkey));
	expect_wc(test, client, 2, IB_WC_SUCCESS);
	KUNIT_EXPECT_EQ(test, 0, post_rdma(client, IB_WR_RDMA_WRITE, 3,
					   sge_of(client, 0, 4),
					   server->mr->iova, server->mr->rkey));
	expect_wc(test, client, 3, IB_WC_REM_ACCESS_ERR);
	KUNIT_EXPECT_TRUE(test, is_filled(pair, server, 0, SIZE));
}

/* A region of another protection domain is nobody's here. */
static void rnic_other_pd(struct kunit *test)
{
	struct pair *pair = connected(test);
	struct end *client = &pair->client;
	struct ib_pd *pd = ib_alloc_pd(pair->dev, 0);
	struct ib_mr *mr, *own = client->mr;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, pd);
	mr = ib_alloc_mr(pd, IB_MR_TYPE_MEM_REG, 4);
	if (!IS_ERR(mr)) {
		client->mr = mr;
		KUNIT_EXPECT_EQ(test, 0, post_reg(client, 1, 0, 64, 0));
		client->mr = own;
		expect_wc(test, client, 1, IB_WC_MW_BIND_ERR);
		ib_dereg_mr(mr);
	}
	ib_dealloc_pd(pd);
	KUNIT_EXPECT_FALSE(test, IS_ERR(mr));
	expect_disconnected(test, pair);
}

/* What the ULP itself gets wrong */
static void rnic_local_errors(struct kunit *test)
{
	struct pair *pair = connected(test);
	struct end *client = &pair->client;
	struct ib_sge sge = sge_of(client, 0, 4);

	KUNIT_EXPECT_EQ(test, 0, post_reg(client, 1, 0, SIZE,
					  IB_ACCESS_REMOTE_READ));
	expect_wc(test, client, 1, IB_WC_SUCCESS);
	/* Not for the adapter to write to */
	sge.lkey = client->mr->lkey;
	KUNIT_EXPECT_EQ(test, 0, post_rdma(client, IB_WR_RDMA_READ, 2, sge,
					   client->mr->iova, client->mr->rkey));
	expect_wc(test, client, 2, IB_WC_LOC_PROT_ERR);
	expect_disconnected(test, pair);
	KUNIT_EXPECT_EQ(test, 0, pair->server.access_errors);
	KUNIT_EXPECT_TRUE(test, is_filled(pair, client, 0, SIZE));
}

static void rnic_registered_twice(struct kunit *test)
{
	struct pair *pair = connected(test);

	KUNIT_EXPECT_EQ(test, 0, post_reg(&pair->client, 1, 0, SIZE, 0));
	KUNIT_EXPECT_EQ(test, 0, post_reg(&pair->client, 2, 0, SIZE, 0));
	expect_wc(test, &pair->client, 1, IB_WC_SUCCESS);
	expect_wc(test, &pair->client, 2, IB_WC_MW_BIND_ERR);
	expect_disconnected(test, pair);
}

static void rnic_invalidated_twice(struct kunit *test)
{
	struct pair *pair = connected(test);
	struct end *client = &pair->client;

	KUNIT_EXPECT_EQ(test, 0, post_reg(client, 1, 0, SIZE, 0));
	KUNIT_EXPECT_EQ(test, 0, post_inv(client, 2, client->mr->rkey));
	KUNIT_EXPECT_EQ(test, 0, post_inv(client, 3, client->mr->rkey));
	expect_wc(test, client, 1, IB_WC_SUCCESS);
	expect_wc(test, client, 2, IB_WC_SUCCESS);
	expect_wc(test, client, 3, IB_WC_MW_BIND_ERR);
	expect_disconnected(test, pair);
}

/* Only a request that asks for it is completed by an entry. */
static void rnic_unsignaled(struct kunit *test)
{
	struct pair *pair = connected(test);
	struct end *client = &pair->client;
	struct ib_sge sge = sge_of(client, 0, 4);
	struct ib_send_wr wr = {
		.wr_id = 1, .sg_list = &sge, .num_sge = 1,
		.opcode = IB_WR_SEND,
	};
	int i;

	/* More than the queue holds: slots are free without entries. */
	for (i = 0; i < 3 * QUEUE; i++) {
		KUNIT_EXPECT_EQ(test, 0, post_recv(&pair->server, i, 0, 4));
		KUNIT_ASSERT_EQ(test, 0, ib_post_send(client->qp, &wr, NULL));
		expect_wc(test, &pair->server, i, IB_WC_SUCCESS);
	}
	expect_nothing(test, client);
}

/* ---- Cases: completion queues ---- */

/* The receiver has been notified, if at all, before the sender's request ends. */
static void send_one(struct kunit *test, struct pair *pair, int flags)
{
	struct ib_sge sge = sge_of(&pair->client, 0, 4);
	struct ib_send_wr wr = {
		.wr_id = 1, .sg_list = &sge, .num_sge = 1,
		.opcode = IB_WR_SEND, .send_flags = IB_SEND_SIGNALED | flags,
	};

	KUNIT_ASSERT_EQ(test, 0, ib_post_send(pair->client.qp, &wr, NULL));
	expect_wc(test, &pair->client, 1, IB_WC_SUCCESS);
}

static void rnic_notify(struct kunit *test)
{
	struct pair *pair = connected(test);
	struct end *server = &pair->server;
	int i;

	for (i = 0; i < 5; i++)
		KUNIT_EXPECT_EQ(test, 0, post_recv(server, i, 0, 4));

	/* Not asked */
	send_one(test, pair, IB_SEND_SOLICITED);
	expect_wc(test, server, 0, IB_WC_SUCCESS);
	KUNIT_EXPECT_EQ(test, 0, server->notified);

	/* Asked for solicited ones, of which there is none yet */
	KUNIT_EXPECT_EQ(test, 0, ib_req_notify_cq(server->cq, IB_CQ_SOLICITED |
						  IB_CQ_REPORT_MISSED_EVENTS));
	send_one(test, pair, 0);
	expect_wc(test, server, 1, IB_WC_SUCCESS);
	KUNIT_EXPECT_EQ(test, 0, server->notified);
	send_one(test, pair, IB_SEND_SOLICITED);
	expect_wc(test, server, 2, IB_WC_SUCCESS);
	KUNIT_EXPECT_EQ(test, 1, server->notified);

	/* Once */
	send_one(test, pair, IB_SEND_SOLICITED);
	KUNIT_EXPECT_EQ(test, 1, server->notified);
	/* That one is still there. */
	KUNIT_EXPECT_EQ(test, 1, ib_req_notify_cq(server->cq, IB_CQ_NEXT_COMP |
						  IB_CQ_REPORT_MISSED_EVENTS));
	expect_wc(test, server, 3, IB_WC_SUCCESS);
	/* Asking for less doesn't take back what was asked. */
	KUNIT_EXPECT_EQ(test, 0, ib_req_notify_cq(server->cq,
						  IB_CQ_SOLICITED));
	send_one(test, pair, 0);
	expect_wc(test, server, 4, IB_WC_SUCCESS);
	KUNIT_EXPECT_EQ(test, 2, server->notified);
}

/* ---- Cases: what is refused ---- */

static void rnic_post_refused(struct kunit *test)
{
	struct pair *pair = connected(test);
	struct end *client = &pair->client;
	struct ib_sge sge[MAX_SGE + 1] = {};
	const struct ib_send_wr *bad;
	const struct ib_recv_wr *bad_recv;
	struct ib_atomic_wr atomic = {
		.wr = { .opcode = IB_WR_ATOMIC_FETCH_AND_ADD,
			.sg_list = sge, .num_sge = 1 },
	};
	struct ib_send_wr wr = {
		.opcode = IB_WR_SEND, .sg_list = sge, .num_sge = 1,
		.send_flags = IB_SEND_SIGNALED,
	};
	struct ib_rdma_wr rdma = {
		.wr = { .opcode = IB_WR_RDMA_WRITE,
			.sg_list = sge, .num_sge = 1 },
		.remote_addr = client->dma + 2,
	};
	struct ib_recv_wr recv = { .sg_list = sge, .num_sge = MAX_SGE + 1 };
	struct ib_send_wr second = wr;

	sge[0] = sge_of(client, 0, 8);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			ib_post_send(client->qp, &atomic.wr, &bad));
	KUNIT_EXPECT_PTR_EQ(test, &atomic.wr, bad);
	KUNIT_EXPECT_EQ(test, -EINVAL, ib_post_send(client->qp, &rdma.wr, &bad));
	wr.send_flags |= IB_SEND_INLINE;
	KUNIT_EXPECT_EQ(test, -EINVAL, ib_post_send(client->qp, &wr, &bad));
	wr.send_flags &= ~IB_SEND_INLINE;
	wr.opcode = IB_WR_SEND_WITH_IMM;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, ib_post_send(client->qp, &wr, &bad));
	wr.opcode = IB_WR_SEND;
	wr.num_sge = MAX_SGE + 1;
	KUNIT_EXPECT_EQ(test, -EINVAL, ib_post_send(client->qp, &wr, &bad));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			ib_post_recv(client->qp, &recv, &bad_recv));
	KUNIT_EXPECT_PTR_EQ(test, &recv, bad_recv);
	wr.num_sge = 1;
	/* The engine copies multiples of 4 bytes. */
	sge[0].length = 6;
	KUNIT_EXPECT_EQ(test, -EINVAL, ib_post_send(client->qp, &wr, &bad));
	sge[0].length = 8;
	sge[0].addr++;
	KUNIT_EXPECT_EQ(test, -EINVAL, ib_post_send(client->qp, &wr, &bad));
	sge[0].addr--;

	/* The good one in front of a bad one is executed. */
	KUNIT_EXPECT_EQ(test, 0, post_recv(&pair->server, 1, 0, 8));
	wr.wr_id = 2;
	wr.next = &second;
	second.send_flags |= IB_SEND_INLINE;
	KUNIT_EXPECT_EQ(test, -EINVAL, ib_post_send(client->qp, &wr, &bad));
	KUNIT_EXPECT_PTR_EQ(test, &second, (struct ib_send_wr *)bad);
	expect_wc(test, client, 2, IB_WC_SUCCESS);
	expect_nothing(test, client);
}

static void rnic_queue_full(struct kunit *test)
{
	struct pair *pair = connected(test);
	struct end *client = &pair->client, *server = &pair->server;
	int i;

	for (i = 0; i < QUEUE; i++)
		KUNIT_EXPECT_EQ(test, 0, post_send(client, i, 0, 4));
	KUNIT_EXPECT_EQ(test, -ENOMEM, post_send(client, i, 0, 4));
	for (i = 0; i < QUEUE; i++) {
		KUNIT_EXPECT_EQ(test, 0, post_recv(client, 100 + i, 0, 4));
		KUNIT_EXPECT_EQ(test, 0, post_recv(server, 200 + i, 0, 4));
	}
	KUNIT_EXPECT_EQ(test, -ENOMEM, post_recv(client, 100 + i, 0, 4));
	for (i = 0; i < QUEUE; i++) {
		expect_wc(test, client, i, IB_WC_SUCCESS);
		expect_wc(test, server, 200 + i, IB_WC_SUCCESS);
	}
}

static void rnic_create_refused(struct kunit *test)
{
	struct pair *pair = test->priv;
	struct ib_cq_init_attr cq = { .cqe = U32_MAX };
	struct ib_qp_init_attr attr = qp_attr(&pair->client);
	struct ib_udata *udata = NULL;
	void *made;

	made = ib_create_cq(pair->dev, end_notified, NULL, NULL, &cq);
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR_OR_ZERO(made));
	cq.cqe = 0;
	made = ib_create_cq(pair->dev, end_notified, NULL, NULL, &cq);
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR_OR_ZERO(made));
	cq = (struct ib_cq_init_attr) { .cqe = 1, .flags = 1 };
	made = ib_create_cq(pair->dev, end_notified, NULL, NULL, &cq);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, PTR_ERR_OR_ZERO(made));

	made = ib_alloc_mr(pair->pd, IB_MR_TYPE_SG_GAPS, 4);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, PTR_ERR_OR_ZERO(made));
	made = ib_alloc_mr(pair->pd, IB_MR_TYPE_MEM_REG,
			   pair->dev->attrs.max_fast_reg_page_list_len + 1);
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR_OR_ZERO(made));
	made = pair->dev->ops.get_dma_mr(pair->pd, 0);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, PTR_ERR_OR_ZERO(made));
	made = pair->dev->ops.reg_user_mr(pair->pd, 0, 1, 0, 0, udata);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, PTR_ERR_OR_ZERO(made));

	attr.qp_type = IB_QPT_UD;
	made = ib_create_qp(pair->pd, &attr);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, PTR_ERR_OR_ZERO(made));
	attr = qp_attr(&pair->client);
	attr.cap.max_inline_data = 4;
	made = ib_create_qp(pair->pd, &attr);
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR_OR_ZERO(made));
	attr = qp_attr(&pair->client);
	attr.cap.max_send_wr = pair->dev->attrs.max_qp_wr + 1;
	made = ib_create_qp(pair->pd, &attr);
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR_OR_ZERO(made));
	attr = qp_attr(&pair->client);
	attr.cap.max_recv_sge = pair->dev->attrs.max_recv_sge + 1;
	made = ib_create_qp(pair->pd, &attr);
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR_OR_ZERO(made));
}

/* More pages than a region has: it takes what it can. */
static void rnic_map_mr(struct kunit *test)
{
	struct pair *pair = test->priv;
	struct scatterlist sg[5];
	struct ib_mr *mr = pair->client.mr;
	int i;

	sg_init_table(sg, ARRAY_SIZE(sg));
	for (i = 0; i < ARRAY_SIZE(sg); i++) {
		sg_dma_address(&sg[i]) = 2 * i * PAGE_SIZE;
		sg_dma_len(&sg[i]) = PAGE_SIZE;
	}
	KUNIT_EXPECT_EQ(test, 4, ib_map_mr_sg(mr, sg, 5, NULL, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 4 * PAGE_SIZE, mr->length);
	/* A gap within a page ends it. */
	sg_dma_len(&sg[1]) = 512;
	KUNIT_EXPECT_EQ(test, 2, ib_map_mr_sg(mr, sg, 4, NULL, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, PAGE_SIZE + 512, mr->length);
	KUNIT_EXPECT_EQ(test, -EINVAL, ib_map_mr_sg(mr, sg, 1, NULL, 3000));
}

/* ---- Cases: connections ---- */

static void rnic_connect(struct kunit *test)
{
	struct pair *pair = connected(test);
	struct ib_qp_init_attr init;
	struct ib_qp_attr attr;

	KUNIT_EXPECT_MEMEQ(test, pair->server.data, "client", 6);
	KUNIT_EXPECT_MEMEQ(test, pair->client.data, "server", 6);
	KUNIT_EXPECT_EQ(test, 0, ib_query_qp(pair->client.qp, &attr,
					     IB_QP_STATE, &init));
	KUNIT_EXPECT_EQ(test, IB_QPS_RTS, attr.qp_state);
	KUNIT_EXPECT_EQ(test, QUEUE, attr.cap.max_send_wr);
	KUNIT_EXPECT_EQ(test, MAX_SGE, attr.cap.max_recv_sge);
	KUNIT_EXPECT_EQ(test, IB_SIGNAL_REQ_WR, init.sq_sig_type);
	KUNIT_EXPECT_EQ(test, 0, rdma_disconnect(pair->client.id));
	expect_disconnected(test, pair);
	KUNIT_EXPECT_EQ(test, 0, ib_query_qp(pair->server.qp, &attr,
					     IB_QP_STATE, &init));
	KUNIT_EXPECT_EQ(test, IB_QPS_ERR, attr.qp_state);
}

/* What is posted is flushed at the end, and so is what is posted later. */
static void rnic_flush(struct kunit *test)
{
	struct pair *pair = connected(test);
	struct end *server = &pair->server, *client = &pair->client;

	KUNIT_EXPECT_EQ(test, 0, post_send(client, 1, 0, 4));
	KUNIT_EXPECT_EQ(test, 0, post_send(client, 2, 0, 4));
	KUNIT_EXPECT_EQ(test, 0, post_recv(client, 3, 0, 4));
	KUNIT_EXPECT_EQ(test, 0, rdma_disconnect(server->id));
	expect_disconnected(test, pair);
	expect_wc(test, client, 1, IB_WC_WR_FLUSH_ERR);
	expect_wc(test, client, 3, IB_WC_WR_FLUSH_ERR);
	expect_wc(test, client, 2, IB_WC_WR_FLUSH_ERR);
	KUNIT_EXPECT_EQ(test, 0, post_send(client, 4, 0, 4));
	expect_wc(test, client, 4, IB_WC_WR_FLUSH_ERR);
	KUNIT_EXPECT_EQ(test, 0, post_recv(server, 5, 0, 4));
	expect_wc(test, server, 5, IB_WC_WR_FLUSH_ERR);
}

/* Entries of a queue pair don't outlive it. */
static void rnic_purge(struct kunit *test)
{
	struct pair *pair = connected(test);
	struct end *client = &pair->client;
	struct ib_wc wc;
	int i;

	for (i = 0; i < 4; i++) {
		KUNIT_EXPECT_EQ(test, 0, post_send(client, i, 0, 4));
		KUNIT_EXPECT_EQ(test, 0, post_recv(&pair->server, i, 0, 4));
	}
	/* When the last one arrives, the others have ended. */
	for (i = 0; i < 4; i++)
		expect_wc(test, &pair->server, i, IB_WC_SUCCESS);
	end_destroy_id(client);
	KUNIT_EXPECT_EQ(test, 0, ib_poll_cq(client->cq, 1, &wc));
}

static void rnic_nobody_listens(struct kunit *test)
{
	struct pair *pair = test->priv;

	KUNIT_ASSERT_EQ(test, 0, client_prepare(pair));
	KUNIT_EXPECT_EQ(test, -ECONNREFUSED, client_ask(pair));
	/* Requests have to wait for a connection. */
	KUNIT_EXPECT_EQ(test, -EINVAL, post_send(&pair->client, 1, 0, 4));
	KUNIT_EXPECT_EQ(test, 0, post_recv(&pair->client, 2, 0, 4));
	expect_nothing(test, &pair->client);
}

static void rnic_rejected(struct kunit *test)
{
	struct pair *pair = asking(test, REJECT);

	KUNIT_EXPECT_EQ(test, 0, client_wait(&pair->client,
					     RDMA_CM_EVENT_REJECTED));
	KUNIT_EXPECT_EQ(test, -ECONNREFUSED, pair->client.status);
	KUNIT_EXPECT_MEMEQ(test, pair->client.data, "no", 2);
	KUNIT_EXPECT_MEMEQ(test, pair->server.data, "client", 6);
}

/* A request without an answer ends with who could have given it. */
static void rnic_listener_gone(struct kunit *test)
{
	struct pair *pair = asking(test, NEVER);

	KUNIT_EXPECT_TRUE(test, waited(&pair->asked));
	rdma_destroy_id(pair->listener);
	pair->listener = NULL;
	KUNIT_EXPECT_EQ(test, 0, client_wait(&pair->client,
					     RDMA_CM_EVENT_REJECTED));
}

static void rnic_server_gone(struct kunit *test)
{
	struct pair *pair = asking(test, NEVER);

	KUNIT_EXPECT_TRUE(test, waited(&pair->asked));
	/* The handler may not have returned yet: the id waits for that. */
	end_destroy_id(&pair->server);
	KUNIT_EXPECT_EQ(test, 0, client_wait(&pair->client,
					     RDMA_CM_EVENT_REJECTED));
}

/* The client's queue pair goes before there is an answer. */
static void rnic_client_gone(struct kunit *test)
{
	struct rdma_conn_param param = conn_param("server");
	struct pair *pair = asking(test, NEVER);

	KUNIT_EXPECT_TRUE(test, waited(&pair->asked));
	end_destroy_id(&pair->client);
	KUNIT_ASSERT_NOT_NULL(test, pair->server.id);
	rdma_lock_handler(pair->server.id);
	KUNIT_EXPECT_EQ(test, 0, end_create_qp(&pair->server));
	KUNIT_EXPECT_EQ(test, -ECONNRESET, rdma_accept(pair->server.id,
						       &param));
	rdma_unlock_handler(pair->server.id);
}

/*
 * Each allocation of the client's fails in turn.  It gets an error, or is told
 * what has become of its request.
 */
static void rnic_no_memory(struct kunit *test)
{
#ifdef CONFIG_FAULT_INJECTION
	struct pair *pair = test->priv;
	int nth, ret, left, failed = 0;

	KUNIT_ASSERT_EQ(test, 0, listen(pair));
	for (nth = 1; nth < 1000; nth++) {
		reinit_completion(&pair->client.told);
		reinit_completion(&pair->server.told);
		KUNIT_ASSERT_EQ(test, 0, client_prepare(pair));
		current->fail_nth = nth;
		ret = client_ask(pair);
		left = current->fail_nth;
		current->fail_nth = 0;
		if (ret)
			KUNIT_EXPECT_EQ(test, -ENOMEM, ret);
		else
			ret = client_wait(&pair->client,
					  RDMA_CM_EVENT_ESTABLISHED);
		KUNIT_EXPECT_NE(test, -ETIMEDOUT, ret);
		failed += ret == -ENOMEM;
		end_destroy_id(&pair->client);
		end_destroy_id(&pair->server);
		if (left)
			break;
	}
	/* Nothing has failed in the last round. */
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_LT(test, 3, failed);
#else
	kunit_skip(test, "no fault injection in this kernel");
#endif
}

static struct kunit_case rnic_cases[] = {
	KUNIT_CASE(rnic_send),
	KUNIT_CASE(rnic_send_sges),
	KUNIT_CASE(rnic_send_waits),
	KUNIT_CASE(rnic_send_too_long),
	KUNIT_CASE(rnic_rdma),
	KUNIT_CASE(rnic_read_with_inv),
	KUNIT_CASE(rnic_send_with_inv),
	KUNIT_CASE_PARAM(rnic_access, access_gen_params),
	KUNIT_CASE(rnic_qp_access),
	KUNIT_CASE(rnic_other_pd),
	KUNIT_CASE(rnic_local_errors),
	KUNIT_CASE(rnic_registered_twice),
	KUNIT_CASE(rnic_invalidated_twice),
	KUNIT_CASE(rnic_unsignaled),
	KUNIT_CASE(rnic_notify),
	KUNIT_CASE(rnic_post_refused),
	KUNIT_CASE(rnic_queue_full),
	KUNIT_CASE(rnic_create_refused),
	KUNIT_CASE(rnic_map_mr),
	KUNIT_CASE(rnic_connect),
	KUNIT_CASE(rnic_flush),
	KUNIT_CASE(rnic_purge),
	KUNIT_CASE(rnic_nobody_listens),
	KUNIT_CASE(rnic_rejected),
	KUNIT_CASE(rnic_listener_gone),
	KUNIT_CASE(rnic_server_gone),
	KUNIT_CASE(rnic_client_gone),
	{}
};

static struct kunit_suite rnic_suite = {
	.name = "p2pdma_rnic",
	.init = rnic_test_init,
	.exit = rnic_test_exit,
	.test_cases = rnic_cases,
};

static struct kunit_case rnic_failing_cases[] = {
	KUNIT_CASE(rnic_no_memory),
	{}
};

/* Where slab allocations may fail, also those that can sleep */
static struct kunit_suite rnic_failing_suite = {
	.name = "p2pdma_rnic_failing",
	.init = rnic_test_init,
	.exit = rnic_test_exit,
	.test_cases = rnic_failing_cases,
};

kunit_test_suites(&rnic_suite, &rnic_failing_suite);

MODULE_DESCRIPTION("KUnit tests of the sample RDMA adapter");
MODULE_LICENSE("GPL");
