// SPDX-License-Identifier: GPL-2.0
/*
 * RDMA with peer memory that a program registers as a dma-buf: RDMA WRITE and
 * READ between buffers of a provider's heap, what is refused, and the end of a
 * buffer, a process or an adapter while requests are executed.
 *
 * The adapter is the sample p2pdma_rnic, whose data mover is an LSI 53C895A. Both
 * ends of a connection are queue pairs of this program, which talks to the kernel
 * by system calls alone: the ioctl of /dev/infiniband/uverbsN, and commands that
 * are written to /dev/infiniband/rdma_cm. Where there is a lab, it tells from
 * which place to which the engine copied.
 *
 * After a buffer was revoked, its memory is allocated by somebody else, and the
 * keys are used again: neither the data nor the lab must show that anything was
 * written or read.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_user_cm.h>
#include <rdma/rdma_user_ioctl_cmds.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define KiB		1024UL
#define ADAPTER		"p2pdma_rnic"
#define NETDEV		"dummy0"
#define ADDRESS		"10.0.0.1"
#define RDMA_CM		"/dev/infiniband/rdma_cm"
#define SECONDS		60

#define SIZE		(64 * KiB)	/* of most buffers */
#define DEPTH		8		/* requests at a time */

/* The kernel has these in headers of its own. */
#define RC		2		/* enum ib_qp_type */
#define QP_STATE	1		/* enum ib_qp_attr_mask */
#define QP_ACCESS_FLAGS	8
#define STATE_INIT	1		/* enum ib_qp_state */
#define SUCCESS		0		/* enum ib_wc_status */
#define LOC_PROT_ERR	4
#define WR_FLUSH_ERR	5
#define REM_ACCESS_ERR	10

/* Of each identifier: without, the connection manager drops its events. */
#define UID		1

/* enum rdma_cm_event_type */
enum {
	ADDR_RESOLVED = 0,
	ROUTE_RESOLVED = 2,
	CONNECT_REQUEST = 4,
	ESTABLISHED = 9,
};

#define LOCAL_WRITE	IB_UVERBS_ACCESS_LOCAL_WRITE
#define REMOTE_WRITE	IB_UVERBS_ACCESS_REMOTE_WRITE
#define REMOTE_READ	IB_UVERBS_ACCESS_REMOTE_READ
#define ALL_ACCESS	(LOCAL_WRITE | REMOTE_WRITE | REMOTE_READ)

/* ---- Verbs ---- */

/* An ioctl that is being put together */
struct call {
	struct ib_uverbs_ioctl_hdr hdr;
	struct ib_uverbs_attr attrs[12];
};

static struct ib_uverbs_attr *add_attr(struct call *call, int id, size_t size)
{
	struct ib_uverbs_attr *attr = &call->attrs[call->hdr.num_attrs++];

	attr->attr_id = id;
	attr->len = size;
	attr->flags = UVERBS_ATTR_F_MANDATORY;
	return attr;
}

/* What the kernel reads: up to 8 bytes stand in the attribute itself. */
static void add_in(struct call *call, int id, const void *data, size_t size)
{
	struct ib_uverbs_attr *attr = add_attr(call, id, size);

	if (size <= sizeof(attr->data))
		memcpy(&attr->data, data, size);
	else
		attr->data = (uintptr_t)data;
}

static void add_out(struct call *call, int id, void *data, size_t size)
{
	add_attr(call, id, size)->data = (uintptr_t)data;
}

/* 0 or -errno */
static int call_kernel(int uverbs, int object, int method, struct call *call)
{
	call->hdr.object_id = object;
	call->hdr.method_id = method;
	call->hdr.length = sizeof(call->hdr) +
			   call->hdr.num_attrs * sizeof(call->attrs[0]);
	/* driver_id is 0: the sample's driver has no number of its own. */
	return ioctl(uverbs, RDMA_VERBS_IOCTL, call) ? -errno : 0;
}

/* A command that is older than the ioctl */
static int command(int uverbs, __u64 number, const void *in, size_t in_size,
		   void *out, size_t out_size)
{
	struct call call = {};

	add_in(&call, UVERBS_ATTR_CORE_IN, in, in_size);
	if (out_size)
		add_out(&call, UVERBS_ATTR_CORE_OUT, out, out_size);
	add_in(&call, UVERBS_ATTR_WRITE_CMD, &number, sizeof(number));
	return call_kernel(uverbs, UVERBS_OBJECT_DEVICE,
			   UVERBS_METHOD_INVOKE_WRITE, &call);
}

/* The adapter's file, without a context yet, or -errno */
static int verbs_open(void)
{
	char path[64], name[64];
	int i, fd;

	for (i = 0; i < 32; i++) {
		snprintf(path, sizeof(path),
			 "/sys/class/infiniband_verbs/uverbs%d/ibdev", i);
		if (file_read(path, name, sizeof(name)) <= 0 ||
		    strncmp(name, "p2prnic0", 8))
			continue;
		snprintf(path, sizeof(path), "/dev/infiniband/uverbs%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	return -ENODEV;
}

static int get_context(int uverbs)
{
	struct call call = {};
	__u64 support;

	add_out(&call, UVERBS_ATTR_GET_CONTEXT_CORE_SUPPORT, &support,
		sizeof(support));
	return call_kernel(uverbs, UVERBS_OBJECT_DEVICE,
			   UVERBS_METHOD_GET_CONTEXT, &call);
}

static int alloc_pd(int uverbs, __u32 *pd)
{
	struct ib_uverbs_alloc_pd cmd = {};
	struct ib_uverbs_alloc_pd_resp resp;
	int error = command(uverbs, IB_USER_VERBS_CMD_ALLOC_PD, &cmd,
			    sizeof(cmd), &resp, sizeof(resp));

	*pd = resp.pd_handle;
	return error;
}

static int create_cq(int uverbs, __u32 *cq)
{
	struct ib_uverbs_create_cq cmd = {
		.cqe = 4 * DEPTH,
		.comp_channel = -1,
	};
	struct ib_uverbs_create_cq_resp resp;
	int error = command(uverbs, IB_USER_VERBS_CMD_CREATE_CQ, &cmd,
			    sizeof(cmd), &resp, sizeof(resp));

	*cq = resp.cq_handle;
	return error;
}

/* A region, or a request for one */
struct region {
	__u64 offset;
	__u64 length;
	__u64 iova;
	__u32 access;
	__u32 handle;
	__u32 key;		/* lkey and rkey, which are the same here */
};

static int reg_dmabuf(int uverbs, __u32 pd, int fd, struct region *region)
{
	struct ib_uverbs_attr *handle;
	struct call call = {};
	__u32 lkey = 0, rkey = 0;
	int error;

	handle = add_attr(&call, UVERBS_ATTR_REG_DMABUF_MR_HANDLE, 0);
	add_attr(&call, UVERBS_ATTR_REG_DMABUF_MR_PD_HANDLE, 0)->data = pd;
	add_in(&call, UVERBS_ATTR_REG_DMABUF_MR_OFFSET, &region->offset,
	       sizeof(region->offset));
	add_in(&call, UVERBS_ATTR_REG_DMABUF_MR_LENGTH, &region->length,
	       sizeof(region->length));
	add_in(&call, UVERBS_ATTR_REG_DMABUF_MR_IOVA, &region->iova,
	       sizeof(region->iova));
	add_in(&call, UVERBS_ATTR_REG_DMABUF_MR_FD, &fd, sizeof(fd));
	add_in(&call, UVERBS_ATTR_REG_DMABUF_MR_ACCESS_FLAGS, &region->access,
	       sizeof(region->access));
	add_out(&call, UVERBS_ATTR_REG_DMABUF_MR_RESP_LKEY, &lkey,
		sizeof(lkey));
	add_out(&call, UVERBS_ATTR_REG_DMABUF_MR_RESP_RKEY, &rkey,
		sizeof(rkey));
	error = call_kernel(uverbs, UVERBS_OBJECT_MR,
			    UVERBS_METHOD_REG_DMABUF_MR, &call);
	if (error)
		return error;
	region->handle = handle->data;
	region->key = lkey;
	return lkey && lkey == rkey ? 0 : -EPROTO;
}

static int dereg(int uverbs, const struct region *region)
{
	struct ib_uverbs_dereg_mr cmd = { .mr_handle = region->handle };

	return command(uverbs, IB_USER_VERBS_CMD_DEREG_MR, &cmd, sizeof(cmd),
		       NULL, 0);
}

/* ---- Connections ---- */

struct qp {
	__u32 handle;
	__u32 number;
};

static int destroy_qp(int uverbs, const struct qp *qp)
{
	struct ib_uverbs_destroy_qp cmd = { .qp_handle = qp->handle };
	struct ib_uverbs_destroy_qp_resp resp;

	return command(uverbs, IB_USER_VERBS_CMD_DESTROY_QP, &cmd, sizeof(cmd),
		       &resp, sizeof(resp));
}

static int create_qp(int uverbs, __u32 pd, __u32 cq, struct qp *qp)
{
	struct ib_uverbs_create_qp create = {
		.pd_handle = pd,
		.send_cq_handle = cq,
		.recv_cq_handle = cq,
		.max_send_wr = DEPTH,
		.max_recv_wr = DEPTH,
		.max_send_sge = 2,
		.max_recv_sge = 2,
		.sq_sig_all = 1,
		.qp_type = RC,
	};
	struct ib_uverbs_modify_qp modify = {
		.attr_mask = QP_STATE | QP_ACCESS_FLAGS,
		.qp_state = STATE_INIT,
		.qp_access_flags = ALL_ACCESS,
	};
	struct ib_uverbs_create_qp_resp resp;
	int error = command(uverbs, IB_USER_VERBS_CMD_CREATE_QP, &create,
			    sizeof(create), &resp, sizeof(resp));

	if (error)
		return error;
	qp->handle = resp.qp_handle;
	qp->number = resp.qpn;
	modify.qp_handle = qp->handle;
	error = command(uverbs, IB_USER_VERBS_CMD_MODIFY_QP, &modify,
			sizeof(modify), NULL, 0);
	if (error)
		destroy_qp(uverbs, qp);
	return error;
}

static int destroy_cq(int uverbs, __u32 cq)
{
	struct ib_uverbs_destroy_cq cmd = { .cq_handle = cq };
	struct ib_uverbs_destroy_cq_resp resp;

	return command(uverbs, IB_USER_VERBS_CMD_DESTROY_CQ, &cmd, sizeof(cmd),
		       &resp, sizeof(resp));
}

/* A command to the connection manager: 0 or -errno */
static int cm_command(int cm, __u32 number, const void *in, size_t in_size,
		      size_t out_size)
{
	struct {
		struct rdma_ucm_cmd_hdr hdr;
		char in[512];
	} text = {
		.hdr = { .cmd = number, .in = in_size, .out = out_size },
	};

	memcpy(text.in, in, in_size);
	return write(cm, &text, sizeof(text.hdr) + in_size) < 0 ? -errno : 0;
}

static int cm_create(int cm, __u32 *id)
{
	struct rdma_ucm_create_id_resp resp;
	struct rdma_ucm_create_id cmd = {
		.uid = UID,
		.response = (uintptr_t)&resp,
		.ps = RDMA_PS_TCP,
		.qp_type = RC,
	};
	int error = cm_command(cm, RDMA_USER_CM_CMD_CREATE_ID, &cmd,
			       sizeof(cmd), sizeof(resp));

	*id = resp.id;
	return error;
}

static int cm_destroy(int cm, __u32 id)
{
	struct rdma_ucm_destroy_id_resp resp;
	struct rdma_ucm_destroy_id cmd = {
		.response = (uintptr_t)&resp,
		.id = id,
	};

	return cm_command(cm, RDMA_USER_CM_CMD_DESTROY_ID, &cmd, sizeof(cmd),
			  sizeof(resp));
}

/* The next event: 0 or -errno, -EAGAIN if there is none yet */
static int cm_get_event(int cm, struct rdma_ucm_event_resp *resp)
{
	struct rdma_ucm_get_event cmd = { .response = (uintptr_t)resp };

	return cm_command(cm, RDMA_USER_CM_CMD_GET_EVENT, &cmd, sizeof(cmd),
			  sizeof(*resp));
}

/* Waits for the next event, which has to be that one: 0 or -errno; @id is told */
static int cm_wait(int cm, __u32 event, __u32 *id)
{
	struct rdma_ucm_event_resp resp;
	time_t end = time(NULL) + SECONDS;
	int error;

	while ((error = cm_get_event(cm, &resp)) == -EAGAIN &&
	       time(NULL) <= end)
		usleep(1000);
	if (error)
		return error;
	*id = resp.id;
	return resp.event == event && !resp.status ? 0 : -EPROTO;
}

static void set_address(struct sockaddr_in6 *to, __u16 port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)to;

	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	inet_pton(AF_INET, ADDRESS, &in->sin_addr);
}

static int cm_listen(int cm, __u16 port, __u32 *id)
{
	struct rdma_ucm_bind_ip bind = {};
	struct rdma_ucm_listen listen = { .backlog = 1 };
	int error = cm_create(cm, id);

	bind.id = *id;
	listen.id = *id;
	set_address(&bind.addr, port);
	return error ?: cm_command(cm, RDMA_USER_CM_CMD_BIND_IP, &bind,
				   sizeof(bind), 0) ?:
	       cm_command(cm, RDMA_USER_CM_CMD_LISTEN, &listen,
			  sizeof(listen), 0);
}

static int cm_resolve(int cm, __u16 port, __u32 *id)
{
	struct rdma_ucm_resolve_ip ip = { .timeout_ms = SECONDS * 1000 };
	struct rdma_ucm_resolve_route route = { .timeout_ms = SECONDS * 1000 };
	int error = cm_create(cm, id);
	__u32 told;

	ip.id = *id;
	route.id = *id;
	set_address(&ip.dst_addr, port);
	return error ?: cm_command(cm, RDMA_USER_CM_CMD_RESOLVE_IP, &ip,
				   sizeof(ip), 0) ?:
	       cm_wait(cm, ADDR_RESOLVED, &told) ?:
	       cm_command(cm, RDMA_USER_CM_CMD_RESOLVE_ROUTE, &route,
			  sizeof(route), 0) ?:
	       cm_wait(cm, ROUTE_RESOLVED, &told);
}

static const struct rdma_ucm_conn_param usual = {
	.responder_resources = 1, .initiator_depth = 1, .valid = 1,
};

/* Connects @from with @to: 0 or -errno; the connection ends with that of @cm */
static int cm_connect(int cm, __u16 port, const struct qp *from,
		      const struct qp *to)
{
	struct rdma_ucm_connect connect = { .conn_param = usual };
	struct rdma_ucm_accept accept = { .uid = UID, .conn_param = usual };
	__u32 listener, told;
	int error;

	connect.conn_param.qp_num = from->number;
	accept.conn_param.qp_num = to->number;
	error = cm_listen(cm, port, &listener) ?:
		cm_resolve(cm, port, &connect.id) ?:
		cm_command(cm, RDMA_USER_CM_CMD_CONNECT, &connect,
			   sizeof(connect), 0) ?:
		cm_wait(cm, CONNECT_REQUEST, &accept.id) ?:
		cm_command(cm, RDMA_USER_CM_CMD_ACCEPT, &accept,
			   sizeof(accept), 0) ?:
		cm_wait(cm, ESTABLISHED, &told) ?:
		cm_wait(cm, ESTABLISHED, &told);
	return error ?: cm_destroy(cm, listener);
}

/* ---- Requests ---- */

/* One of two queue pairs that are connected, and their completion queue */
struct link {
	int uverbs;
	int cm;
	__u32 cq;
	struct qp from;
	struct qp to;
};

static int link_open(struct link *link, int uverbs, __u32 pd)
{
	static __u16 port = 4000;
	int error;

	link->uverbs = uverbs;
	link->cm = open(RDMA_CM, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (link->cm < 0)
		return -errno;
	error = create_cq(uverbs, &link->cq) ?:
		create_qp(uverbs, pd, link->cq, &link->from) ?:
		create_qp(uverbs, pd, link->cq, &link->to) ?:
		cm_connect(link->cm, port++, &link->from, &link->to);
	if (error)
		close(link->cm);
	return error;
}

static int link_close(struct link *link)
{
	close(link->cm);
	return destroy_qp(link->uverbs, &link->from) ?:
	       destroy_qp(link->uverbs, &link->to) ?:
	       destroy_cq(link->uverbs, link->cq);
}

/* A request, as it is posted */
struct request {
	struct ib_uverbs_post_send post;
	struct ib_uverbs_send_wr wr;
	struct ib_uverbs_sge sge;
};

/* 0 or -errno */
static int post(struct link *link, struct request *request)
{
	struct ib_uverbs_post_send_resp resp;

	request->post.qp_handle = link->from.handle;
	request->post.wr_count = 1;
	request->post.sge_count = 1;
	request->post.wqe_size = sizeof(request->wr);
	request->wr.num_sge = 1;
	return command(link->uverbs, IB_USER_VERBS_CMD_POST_SEND, request,
		       sizeof(*request), &resp, sizeof(resp));
}

static int post_recv(struct link *link, const struct region *region)
{
	struct {
		struct ib_uverbs_post_recv post;
		struct ib_uverbs_recv_wr wr;
		struct ib_uverbs_sge sge;
	} request = {
		.post = {
			.qp_handle = link->to.handle,
			.wr_count = 1,
			.sge_count = 1,
			.wqe_size = sizeof(request.wr),
		},
		.wr.num_sge = 1,
		.sge = { region->iova, region->length, region->key },
	};
	struct ib_uverbs_post_recv_resp resp;

	return command(link->uverbs, IB_USER_VERBS_CMD_POST_RECV, &request,
		       sizeof(request), &resp, sizeof(resp));
}

/* The status of the next completion, or -errno; -EAGAIN if there is none */
static int poll_once(struct link *link, struct ib_uverbs_wc *wc)
{
	struct ib_uverbs_poll_cq cmd = { .cq_handle = link->cq, .ne = 1 };
	struct {
		struct ib_uverbs_poll_cq_resp resp;
		struct ib_uverbs_wc wc;
	} got = {};
	int error = command(link->uverbs, IB_USER_VERBS_CMD_POLL_CQ, &cmd,
			    sizeof(cmd), &got, sizeof(got));

	if (error)
		return error;
	*wc = got.wc;
	return got.resp.count ? (int)got.wc.status : -EAGAIN;
}

static int poll_status(struct link *link)
{
	time_t end = time(NULL) + SECONDS;
	struct ib_uverbs_wc wc;
	int status;

	while ((status = poll_once(link, &wc)) == -EAGAIN && time(NULL) <= end)
		usleep(1000);
	/* Which queue pair it is from, the kernel looks up afterwards. */
	if (status >= 0 && wc.qp_num != link->from.number &&
	    wc.qp_num != link->to.number)
		return -EPROTO;
	return status;
}

static struct request transfer(__u32 opcode, const struct region *local,
			       const struct region *remote)
{
	return (struct request) {
		.wr = {
			.opcode = opcode,
			.wr.rdma = { remote->iova, remote->key },
		},
		.sge = { local->iova, local->length, local->key },
	};
}

/* Executes one request: the status, or -errno */
static int execute(struct link *link, struct request request)
{
	return post(link, &request) ?: poll_status(link);
}

/* ---- Buffers ---- */

struct buffer {
	int fd;
	char *at;
	size_t size;
	struct region region;
};

static const struct region whole = { .length = SIZE, .access = ALL_ACCESS };

static int heap_open(const char *name)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "/dev/dma_heap/%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* "system", or "p2pmem-" and a device */
static int buffer_alloc(struct buffer *buffer, const char *heap_name,
			size_t size)
{
	int heap = heap_open(heap_name);

	*buffer = (struct buffer) {
		.fd = -1, .at = MAP_FAILED, .size = size,
	};
	if (heap < 0)
		return heap;
	buffer->fd = heap_allocate(heap, size, O_RDWR);
	close(heap);
	if (buffer->fd < 0)
		return buffer->fd;
	buffer->at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			  buffer->fd, 0);
	return buffer->at == MAP_FAILED ? -errno : 0;
}

static void buffer_free(struct buffer *buffer)
{
	if (buffer->at != MAP_FAILED)
		munmap(buffer->at, buffer->size);
	if (buffer->fd >= 0)
		close(buffer->fd);
	*buffer = (struct buffer) { .fd = -1, .at = MAP_FAILED };
}

/* ---- The machine ---- */

struct machine {
	const char *provider;
	char driver[NAME_MAX];		/* of the provider */
	char heap[64];
	struct devices engines;
	long long available;		/* before anything was allocated */
};

/* NULL, or what is missing */
static const char *machine_find(struct machine *m)
{
	if (getuid())
		return "needs root";
	m->provider = provider();
	if (!m->provider || pci_driver(m->provider, m->driver))
		return "no device with published peer memory";
	snprintf(m->heap, sizeof(m->heap), "p2pmem-%s", m->provider);
	if (module_probe("-n -q", ADAPTER))
		return "no module " ADAPTER " (CONFIG_SAMPLE_P2PDMA_RNIC)";
	module_unload_named(ADAPTER);
	if (module_probe("-a", "ib_uverbs rdma_ucm"))
		return "no RDMA for programs (CONFIG_INFINIBAND_USER_ACCESS)";
	if (module_probe("", "dummy numdummies=1") ||
	    netdev_up(NETDEV, ADDRESS))
		return "no network interface " NETDEV " (CONFIG_DUMMY)";
	if (module_probe("", ENGINE))
		return "no module " ENGINE " (CONFIG_SAMPLE_P2PDMA)";
	find_bound(ENGINE, &m->engines);
	if (!m->engines.nr)
		return "no LSI 53C895A";
	sort_devices(&m->engines);
	m->available = p2pmem_number(m->provider, "available");
	return NULL;
}

static int adapter_load(const struct machine *m, int engine)
{
	char text[256];

	snprintf(text, sizeof(text), ADAPTER " netdev=" NETDEV " engine=%s",
		 m->engines.name[engine]);
	return module_probe("", text);
}

static bool is_all_back(const struct machine *m)
{
	return wait_for(p2pmem_number(m->provider, "available") ==
			m->available, SECONDS);
}

static void machine_leave(void)
{
	module_unload_named(ADAPTER);
	module_unload_named(ENGINE);
	module_unload_named("dummy");
}

/* ---- Regions ---- */

struct setup {
	struct machine m;
	int uverbs;
	__u32 pd;
	struct buffer near;	/* in peer memory, as is the other one */
	struct buffer far;
};

FIXTURE(mr)
{
	struct setup s;
};

FIXTURE_SETUP(mr)
{
	const char *why = machine_find(&self->s.m);

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, adapter_load(&self->s.m, 0));
	self->s.uverbs = verbs_open();
	ASSERT_LE(0, self->s.uverbs);
	ASSERT_EQ(0, get_context(self->s.uverbs));
	ASSERT_EQ(0, alloc_pd(self->s.uverbs, &self->s.pd));
	ASSERT_EQ(0, buffer_alloc(&self->s.near, self->s.m.heap, SIZE));
	ASSERT_EQ(0, buffer_alloc(&self->s.far, self->s.m.heap, SIZE));
}

FIXTURE_TEARDOWN(mr)
{
	buffer_free(&self->s.near);
	buffer_free(&self->s.far);
	close(self->s.uverbs);
	EXPECT_TRUE(is_all_back(&self->s.m));
	machine_leave();
}

static int reg(struct setup *s, struct buffer *buffer,
	       struct region region)
{
	buffer->region = region;
	return reg_dmabuf(s->uverbs, s->pd, buffer->fd, &buffer->region);
}

static void trace_begin(void)
{
	char answer[64];

	if (have_lab())
		lab(answer, sizeof(answer), "dma-begin");
}

/* Has the engine copied that many bytes inside of the provider's memory, and no others? */
static bool trace_shows(const struct machine *m, size_t bytes)
{
	char answer[512], want[128] = "";

	if (!have_lab())
		return true;
	if (bytes)
		snprintf(want, sizeof(want), " %s>%s=%zu", m->provider,
			 m->provider, bytes);
	if (lab(answer, sizeof(answer), "dma-end") ||
	    lab(answer, sizeof(answer), "dma-moves 0"))
		return false;
	if (!strcmp(answer, want))
		return true;
	ksft_print_msg("the engine did '%s', not '%s'\n", answer, want);
	return false;
}

/* Two buffers' data: what is at @offset of the one is to come to @to_offset of the other */
static void expect_moved(struct __test_metadata *_metadata,
			 const struct buffer *from, size_t offset,
			 const struct buffer *to, size_t to_offset, size_t length)
{
	const __u64 *is = (__u64 *)(to->at + to_offset);
	const __u64 *was = (__u64 *)(from->at + offset);
	size_t i;

	for (i = 0; i < length / sizeof(*is); i++)
		ASSERT_EQ(__atomic_load_n(&was[i], __ATOMIC_RELAXED),
			  __atomic_load_n(&is[i], __ATOMIC_RELAXED))
			TH_LOG("at %zu", i);
	EXPECT_EQ(-1, first_nonzero(to->at, to_offset));
	EXPECT_EQ(-1, first_nonzero(to->at + to_offset + length,
				    to->size - to_offset - length));
}

TEST_F(mr, transfer)
{
	static const struct {
		__u64 length, near, near_iova, far, far_iova;
	} cases[] = {
		{ SIZE, 0, 0, 0, 0 },
		/* Inside of a page, and across several, with addresses of their own */
		{ 0x100, 0x10, 0x7010, 0x2020, 0xffff0020 },
		{ 0x3020, 0x1ff0, 0xabcdeff0, 0xff8, 0xff8 },
		/* Addresses may wrap. */
		{ 0x2000, 0x1000, -0x1000, 0x3000, 0x1000 },
	};
	struct buffer *near = &self->s.near, *far = &self->s.far;
	struct link link;
	size_t i;

	ASSERT_EQ(0, link_open(&link, self->s.uverbs, self->s.pd));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t length = cases[i].length;

		ASSERT_EQ(0, reg(&self->s, near, (struct region) {
			.offset = cases[i].near, .iova = cases[i].near_iova,
			.length = length, .access = ALL_ACCESS,
		}));
		ASSERT_EQ(0, reg(&self->s, far, (struct region) {
			.offset = cases[i].far, .iova = cases[i].far_iova,
			.length = length, .access = ALL_ACCESS,
		}));

		fill(near->at, SIZE, 2 * i + 1);
		clear(far->at, SIZE);
		trace_begin();
		ASSERT_EQ(SUCCESS,
			  execute(&link, transfer(IB_UVERBS_WR_RDMA_WRITE,
						  &near->region, &far->region)));
		EXPECT_TRUE(trace_shows(&self->s.m, length));
		expect_moved(_metadata, near, cases[i].near, far, cases[i].far,
			     length);

		clear(near->at, SIZE);
		fill(far->at, SIZE, 2 * i + 2);
		trace_begin();
		ASSERT_EQ(SUCCESS,
			  execute(&link, transfer(IB_UVERBS_WR_RDMA_READ,
						  &near->region, &far->region)));
		EXPECT_TRUE(trace_shows(&self->s.m, length));
		expect_moved(_metadata, far, cases[i].far, near, cases[i].near,
			     length);

		EXPECT_EQ(0, dereg(self->s.uverbs, &near->region));
		EXPECT_EQ(0, dereg(self->s.uverbs, &far->region));
	}
	EXPECT_EQ(0, link_close(&link));
}

TEST_F(mr, refused)
{
	struct ib_uverbs_reg_mr user = {
		.start = (uintptr_t)self->s.near.at,
		.length = SIZE,
		.hca_va = (uintptr_t)self->s.near.at,
		.pd_handle = self->s.pd,
		.access_flags = LOCAL_WRITE,
	};
	struct ib_uverbs_reg_mr_resp resp;
	static const struct {
		__u64 offset, length, iova;
		__u32 access;
	} cases[] = {
		{ 0, 0, 0, ALL_ACCESS },
		{ 0, SIZE + 1, 0, ALL_ACCESS },
		{ 0x1000, SIZE, 0, ALL_ACCESS },
		{ -0x1000, 0x2000, 0, ALL_ACCESS },
		/* Their places in a page differ. */
		{ 0x10, 0x100, 0x20, ALL_ACCESS },
		/* Who writes from afar may write here, too. */
		{ 0, SIZE, 0, REMOTE_WRITE },
		{ 0, SIZE, 0, ALL_ACCESS | IB_UVERBS_ACCESS_ON_DEMAND },
	};
	struct region region = whole;
	int file = open("/dev/zero", O_RDWR | O_CLOEXEC);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		EXPECT_EQ(-EINVAL, reg(&self->s, &self->s.near, (struct region) {
			.offset = cases[i].offset, .length = cases[i].length,
			.iova = cases[i].iova, .access = cases[i].access,
		}))
			TH_LOG("case %zu", i);
	EXPECT_EQ(-EINVAL, reg_dmabuf(self->s.uverbs, self->s.pd, file, &region));
	close(file);
	EXPECT_EQ(-EBADF, reg_dmabuf(self->s.uverbs, self->s.pd, file, &region));
	EXPECT_EQ(-ENOENT, reg_dmabuf(self->s.uverbs, self->s.pd + 100,
				      self->s.near.fd, &region));
	/* Memory that isn't a dma-buf */
	EXPECT_EQ(-EOPNOTSUPP,
		  command(self->s.uverbs, IB_USER_VERBS_CMD_REG_MR, &user,
			  sizeof(user), &resp, sizeof(resp)));
}

/* One request that fails, on a connection of its own, which ends with it */
static int fail_on_link(struct setup *s, __u32 opcode,
			const struct region *local, const struct region *remote)
{
	struct request request = transfer(opcode, local, remote);
	struct link link;
	int status;

	status = link_open(&link, s->uverbs, s->pd);
	if (status)
		return status;
	status = execute(&link, request);
	if (status > 0 && execute(&link, request) != WR_FLUSH_ERR)
		status = -EPROTO;
	return link_close(&link) ?: status;
}

#define EXPECT_FAILS(status, opcode, local, remote)			\
	EXPECT_EQ(status, fail_on_link(&self->s, opcode, local, remote))

#define WRITE		IB_UVERBS_WR_RDMA_WRITE
#define READ		IB_UVERBS_WR_RDMA_READ

TEST_F(mr, keys)
{
	struct region none, *near = &self->s.near.region, *far = &self->s.far.region;
	struct region other = whole, mute = whole;
	__u32 pd;

	ASSERT_EQ(0, reg(&self->s, &self->s.near, whole));
	ASSERT_EQ(0, reg(&self->s, &self->s.far, whole));
	fill(self->s.far.at, SIZE, 20);
	fill(self->s.near.at, SIZE, 21);
	trace_begin();

	/* Keys that nobody has */
	none = *far;
	none.key += 1;
	EXPECT_FAILS(REM_ACCESS_ERR, WRITE, near, &none);
	EXPECT_FAILS(LOC_PROT_ERR, WRITE, &none, far);
	none.key += 100 << 8;
	EXPECT_FAILS(REM_ACCESS_ERR, READ, near, &none);
	/* The kernel's key for all memory */
	none.key = 0;
	EXPECT_FAILS(REM_ACCESS_ERR, WRITE, near, &none);
	EXPECT_FAILS(LOC_PROT_ERR, WRITE, &none, far);
	EXPECT_FAILS(LOC_PROT_ERR, READ, &none, far);

	/* Of another protection domain */
	ASSERT_EQ(0, alloc_pd(self->s.uverbs, &pd));
	ASSERT_EQ(0, reg_dmabuf(self->s.uverbs, pd, self->s.far.fd, &other));
	EXPECT_FAILS(REM_ACCESS_ERR, WRITE, near, &other);
	EXPECT_FAILS(LOC_PROT_ERR, WRITE, &other, far);

	/* In front of the region, and behind it */
	none = *far;
	none.iova -= 4;
	EXPECT_FAILS(REM_ACCESS_ERR, WRITE, near, &none);
	none.iova = 4;
	EXPECT_FAILS(REM_ACCESS_ERR, WRITE, near, &none);
	none.iova = SIZE;
	EXPECT_FAILS(REM_ACCESS_ERR, WRITE, near, &none);

	/* Without the right */
	mute.access = 0;
	ASSERT_EQ(0, reg_dmabuf(self->s.uverbs, self->s.pd, self->s.far.fd, &mute));
	EXPECT_FAILS(REM_ACCESS_ERR, WRITE, near, &mute);
	EXPECT_FAILS(REM_ACCESS_ERR, READ, near, &mute);
	EXPECT_FAILS(LOC_PROT_ERR, READ, &mute, near);

	/* After its end */
	EXPECT_EQ(0, dereg(self->s.uverbs, &mute));
	EXPECT_FAILS(LOC_PROT_ERR, WRITE, &mute, far);
	EXPECT_EQ(-ENOENT, dereg(self->s.uverbs, &mute));

	EXPECT_TRUE(trace_shows(&self->s.m, 0));
	EXPECT_EQ(-1, first_wrong(self->s.far.at, SIZE, 20));
	EXPECT_EQ(-1, first_wrong(self->s.near.at, SIZE, 21));
}

/* The peer may say which key is invalid from now on, but not those of dma-bufs. */
TEST_F(mr, not_invalidated)
{
	struct region *near = &self->s.near.region, *far = &self->s.far.region;
	struct request request;
	struct link link;

	ASSERT_EQ(0, reg(&self->s, &self->s.near, whole));
	ASSERT_EQ(0, reg(&self->s, &self->s.far, whole));
	fill(self->s.near.at, SIZE, 30);

	ASSERT_EQ(0, link_open(&link, self->s.uverbs, self->s.pd));
	ASSERT_EQ(0, post_recv(&link, far));
	request = transfer(IB_UVERBS_WR_SEND, near, far);
	ASSERT_EQ(0, post(&link, &request));
	/* Of both ends */
	EXPECT_EQ(SUCCESS, poll_status(&link));
	EXPECT_EQ(SUCCESS, poll_status(&link));
	EXPECT_EQ(-1, first_wrong(self->s.far.at, SIZE, 30));

	ASSERT_EQ(0, post_recv(&link, far));
	request.wr.opcode = IB_UVERBS_WR_SEND_WITH_INV;
	request.wr.ex.invalidate_rkey = far->key;
	EXPECT_EQ(0, post(&link, &request));
	EXPECT_EQ(REM_ACCESS_ERR, poll_status(&link));
	EXPECT_EQ(0, link_close(&link));

	ASSERT_EQ(0, link_open(&link, self->s.uverbs, self->s.pd));
	EXPECT_EQ(SUCCESS, execute(&link, transfer(WRITE, near, far)));
	EXPECT_EQ(0, link_close(&link));
}

/* The region keeps the memory when nothing else of the buffer is left. */
TEST_F(mr, closed)
{
	struct region *near = &self->s.near.region, *far = &self->s.far.region;
	struct region kept;
	struct buffer buffer;
	struct link link;

	ASSERT_EQ(0, buffer_alloc(&buffer, self->s.m.heap, SIZE));
	ASSERT_EQ(0, reg(&self->s, &buffer, whole));
	kept = buffer.region;
	ASSERT_EQ(0, reg(&self->s, &self->s.near, whole));
	ASSERT_EQ(0, reg(&self->s, &self->s.far, whole));
	buffer_free(&buffer);

	fill(self->s.near.at, SIZE, 40);
	ASSERT_EQ(0, link_open(&link, self->s.uverbs, self->s.pd));
	EXPECT_EQ(SUCCESS, execute(&link, transfer(WRITE, near, &kept)));
	EXPECT_EQ(SUCCESS, execute(&link, transfer(WRITE, &kept, far)));
	EXPECT_EQ(-1, first_wrong(self->s.far.at, SIZE, 40));
	EXPECT_EQ(self->s.m.available - 3 * (long long)SIZE,
		  p2pmem_number(self->s.m.provider, "available"));
	EXPECT_EQ(0, dereg(self->s.uverbs, &kept));
	EXPECT_TRUE(wait_for(p2pmem_number(self->s.m.provider, "available") ==
			     self->s.m.available - 2 * (long long)SIZE, SECONDS));
	EXPECT_EQ(0, link_close(&link));
}

static int register_once(void *data)
{
	struct setup *s = data;
	int error = reg(s, &s->near, whole);

	return error ?: dereg(s->uverbs, &s->near.region);
}

static int create_once(void *data)
{
	struct setup *s = data;
	struct link link = { .uverbs = s->uverbs };
	int error = create_cq(s->uverbs, &link.cq);

	if (error)
		return error;
	error = create_qp(s->uverbs, s->pd, link.cq, &link.from);
	if (!error)
		error = destroy_qp(s->uverbs, &link.from);
	return destroy_cq(s->uverbs, link.cq) ?: error;
}

/* Each allocation of a registration and of a queue pair fails in turn. */
TEST_F(mr, no_memory)
{
	static int (* const calls[])(void *setup) = {
		register_once, create_once,
	};
	int nth, ret, failures;
	bool failed;
	size_t i;

	if (!inject_faults(false))
		SKIP(return, "no fault injection in this kernel");
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		failures = 0;
		failed = true;
		for (nth = 1; failed; nth++) {
			ret = call_failing(nth, calls[i], &self->s, &failed);
			if (ret) {
				ASSERT_EQ(-ENOMEM, ret);
				failures++;
			}
		}
		EXPECT_LT(3, failures);
		EXPECT_EQ(0, calls[i](&self->s));
	}
}

/* ---- What goes away ---- */

/*
 * Writes without pause until a request fails, or for a long time: the first status
 * that isn't success, or -errno; @count tells how many requests succeeded.
 */
static int write_on(struct link *link, const struct region *from,
		    const struct region *to, long *count)
{
	struct request request = transfer(WRITE, from, to);
	time_t end = time(NULL) + SECONDS;
	int posted = 0, status, first = SUCCESS;

	*count = 0;
	do {
		while (!first && posted < DEPTH && time(NULL) <= end) {
			status = post(link, &request);
			if (status)
				return status;
			posted++;
		}
		status = poll_status(link);
		if (status < 0)
			return status;
		posted--;
		if (!status)
			++*count;
		if (!first)
			first = status;
	} while (posted);
	return first;
}

/* The provider's driver comes back, and its memory is published. */
static bool provider_comes(const struct machine *m)
{
	return !pci_bind(m->provider, m->driver) &&
	       wait_for(p2pmem_number(m->provider, "available") ==
			m->available, SECONDS);
}

/* A few words of each page are enough to see what would be written to it. */
#define MARK		64

static void mark(char *at, size_t size, __u64 seed)
{
	size_t i;

	for (i = 0; i < size; i += 4 * KiB)
		fill(at + i, MARK, seed + i);
}

static bool is_marked(const char *at, size_t size, __u64 seed)
{
	size_t i;

	for (i = 0; i < size; i += 4 * KiB)
		if (first_wrong(at + i, MARK, seed + i) != -1)
			return false;
	return true;
}

/* A request takes so long that a revocation is likely to find it half done. */
#define LONG		(512 * KiB)

/* An interrupt after each page lets other CPUs run meanwhile. */
static int go_slow(void)
{
	return file_write("/sys/module/" ENGINE "/parameters/move_bytes",
			  "4096") ?:
	       file_write("/sys/module/" ENGINE "/parameters/moves", "1");
}

/*
 * The provider's driver is unbound while its memory is written to, by a process
 * that knows nothing of it. Whoever has the memory afterwards is safe from the
 * keys. Behind an IOMMU, a request that was still executed then would be reported.
 */
TEST_F_TIMEOUT(mr, provider_unbound, 1500)
{
	struct region *far = &self->s.far.region, *near = &self->s.near.region;
	const struct region all_of_it = { .length = LONG, .access = ALL_ACCESS };
	struct region again = all_of_it;
	struct buffer system, own;
	struct link link;
	int round, status;
	size_t all = self->s.m.available;
	long count;
	pid_t child;
	char *at;

	ASSERT_EQ(0, go_slow());
	for (round = 0; round < times(1); round++) {
		buffer_free(&self->s.near);
		buffer_free(&self->s.far);
		ASSERT_EQ(0, buffer_alloc(&self->s.near, self->s.m.heap, LONG));
		ASSERT_EQ(0, buffer_alloc(&self->s.far, self->s.m.heap, LONG));
		ASSERT_EQ(0, buffer_alloc(&system, "system", LONG));
		ASSERT_EQ(0, reg(&self->s, &system, all_of_it));
		ASSERT_EQ(0, reg(&self->s, &self->s.near, all_of_it));
		ASSERT_EQ(0, reg(&self->s, &self->s.far, all_of_it));
		ASSERT_EQ(0, link_open(&link, self->s.uverbs, self->s.pd));
		ASSERT_EQ(SUCCESS, execute(&link, transfer(WRITE,
							   &system.region,
							   far)));
		child = fork();
		if (!child)
			_exit(pci_unbind(self->s.m.provider) ? 1 : 0);
		EXPECT_EQ(REM_ACCESS_ERR, write_on(&link, &system.region, far,
						   &count));
		EXPECT_LT(0, count);
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_EQ(0, status);
		EXPECT_EQ(0, link_close(&link));
		EXPECT_EQ(-ENODEV, reg_dmabuf(self->s.uverbs, self->s.pd,
					      self->s.far.fd, &again));
		TH_LOG("%ld writes", count);

		/* All of the memory is somebody else's. */
		ASSERT_TRUE(provider_comes(&self->s.m));
		at = p2pmem_map(self->s.m.provider, all);
		ASSERT_NE(MAP_FAILED, (void *)at);
		mark(at, all, 50);

		trace_begin();
		EXPECT_FAILS(REM_ACCESS_ERR, WRITE, &system.region, far);
		EXPECT_FAILS(REM_ACCESS_ERR, READ, &system.region, far);
		EXPECT_FAILS(LOC_PROT_ERR, WRITE, near, &system.region);
		EXPECT_FAILS(LOC_PROT_ERR, READ, near, &system.region);
		EXPECT_TRUE(trace_shows(&self->s.m, 0));
		EXPECT_TRUE(is_marked(at, all, 50));
		munmap(at, all);

		/* Nobody gets the keys until those who have them give them back. */
		ASSERT_TRUE(is_all_back(&self->s.m));
		ASSERT_EQ(0, buffer_alloc(&own, self->s.m.heap, SIZE));
		ASSERT_EQ(0, reg(&self->s, &own, whole));
		EXPECT_NE(far->key, own.region.key);
		EXPECT_NE(near->key, own.region.key);
		EXPECT_EQ(0, dereg(self->s.uverbs, &own.region));
		EXPECT_EQ(0, dereg(self->s.uverbs, far));
		EXPECT_EQ(0, dereg(self->s.uverbs, near));
		buffer_free(&own);
		buffer_free(&system);
	}
}

/* A process with buffers, regions and a connection is killed while it writes. */
TEST_F(mr, process_killed)
{
	struct region *near = &self->s.near.region, *far = &self->s.far.region;
	struct buffer buffer;
	struct link link;
	int uverbs, ready[2];
	long count;
	pid_t child;
	__u32 pd;
	char c;

	ASSERT_EQ(0, pipe(ready));
	child = fork();
	if (!child) {
		/* With the parent's, a context would outlive it. */
		close(self->s.uverbs);
		uverbs = verbs_open();
		if (get_context(uverbs) || alloc_pd(uverbs, &pd) ||
		    buffer_alloc(&buffer, self->s.m.heap, SIZE))
			_exit(1);
		buffer.region = whole;
		if (reg_dmabuf(uverbs, pd, buffer.fd, &buffer.region) ||
		    link_open(&link, uverbs, pd) ||
		    execute(&link, transfer(WRITE, &buffer.region,
					    &buffer.region)) ||
		    write(ready[1], "", 1) != 1)
			_exit(1);
		write_on(&link, &buffer.region, &buffer.region, &count);
		_exit(1);
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &c, 1));
	close(ready[0]);
	EXPECT_EQ(0, kill(child, SIGKILL));
	EXPECT_EQ(child, waitpid(child, NULL, 0));
	EXPECT_TRUE(wait_for(p2pmem_number(self->s.m.provider, "available") ==
			     self->s.m.available - 2 * (long long)SIZE, SECONDS));

	/* The adapter works for others. */
	ASSERT_EQ(0, reg(&self->s, &self->s.near, whole));
	ASSERT_EQ(0, reg(&self->s, &self->s.far, whole));
	fill(self->s.near.at, SIZE, 60);
	ASSERT_EQ(0, link_open(&link, self->s.uverbs, self->s.pd));
	EXPECT_EQ(SUCCESS, execute(&link, transfer(WRITE, near, far)));
	EXPECT_EQ(-1, first_wrong(self->s.far.at, SIZE, 60));
	EXPECT_EQ(0, link_close(&link));
}

/* The adapter goes with its engine, whether or not programs have it open. */
TEST_F(mr, engine_unbound)
{
	struct region *near = &self->s.near.region, *far = &self->s.far.region;
	struct region again = whole;
	struct link link;
	int ended, status;
	long count;
	pid_t child;
	__u32 pd;

	ASSERT_EQ(0, reg(&self->s, &self->s.near, whole));
	ASSERT_EQ(0, reg(&self->s, &self->s.far, whole));
	ASSERT_EQ(0, link_open(&link, self->s.uverbs, self->s.pd));
	ASSERT_EQ(SUCCESS, execute(&link, transfer(WRITE, near, far)));
	child = fork();
	if (!child)
		_exit(pci_unbind(self->s.m.engines.name[0]) ? 1 : 0);
	/* The first to go may be the connection, or the queue pair. */
	ended = write_on(&link, near, far, &count);
	EXPECT_TRUE(ended == WR_FLUSH_ERR || ended == -EIO)
		TH_LOG("%d", ended);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);

	EXPECT_EQ(-EIO, alloc_pd(self->s.uverbs, &pd));
	EXPECT_EQ(-EIO, reg_dmabuf(self->s.uverbs, self->s.pd, self->s.near.fd,
				   &again));
	/* The kernel has done that already. */
	EXPECT_EQ(0, dereg(self->s.uverbs, near));
	EXPECT_GT(0, verbs_open());
	/* Nothing of the adapter holds the memory: buffers can be closed. */
	buffer_free(&self->s.near);
	buffer_free(&self->s.far);
	EXPECT_TRUE(is_all_back(&self->s.m));
	close(link.cm);
}

/* ---- Out of reach ---- */

FIXTURE(refused)
{
	struct machine m;
	struct buffer buffer;
	int uverbs;
	__u32 pd;
};

FIXTURE_SETUP(refused)
{
	const char *why = machine_find(&self->m);

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, buffer_alloc(&self->buffer, self->m.heap, SIZE));
}

FIXTURE_TEARDOWN(refused)
{
	buffer_free(&self->buffer);
	EXPECT_TRUE(is_all_back(&self->m));
	machine_leave();
}

/* Of two engines, only the second one reaches the memory. */
TEST_F(refused, first_engine)
{
	static const int errors[] = { -EREMOTEIO, 0 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		struct region region = whole;

		ASSERT_EQ(0, adapter_load(&self->m, i));
		self->uverbs = verbs_open();
		ASSERT_EQ(0, get_context(self->uverbs));
		ASSERT_EQ(0, alloc_pd(self->uverbs, &self->pd));
		EXPECT_EQ(errors[i], reg_dmabuf(self->uverbs, self->pd,
						self->buffer.fd, &region));
		close(self->uverbs);
		ASSERT_EQ(0, module_unload_named(ADAPTER));
	}
}

TEST_HARNESS_MAIN
