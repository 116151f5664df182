// SPDX-License-Identifier: GPL-2.0
/*
 * The RDMA adapter's connections: what iw_cm asks of an iWARP driver.
 *
 * There is no network.  A request for a connection goes to the listener that has
 * the remote address, on whichever of the adapters, and stands in a table, with
 * the queue pair that waits for the answer, until the listener's ULP answers, or
 * goes away, or takes too long.
 *
 * iw_cm relies on what it is told (iwcm.c): of a connection that was established
 * by one CLOSE; of a request by one CONNECT_REPLY, without which its ULP would
 * wait for ever; and never of anything else, but that a listener's connection is
 * established.  So rnic_qp::cm_id is cleared with the last of these events.
 *
 * Connections are of IPv4.  A listener on all of IPv6's addresses is accepted, as
 * the CM has it on all adapters or on none.
 */

#include <linux/in.h>
#include <linux/inetdevice.h>
#include <linux/jiffies.h>
#include <linux/slab.h>
#include <net/ipv6.h>

#include "p2pdma_rnic.h"

#define RNIC_ANSWER_MS		30000

struct rnic_listener {
	struct list_head list;
	struct iw_cm_id *cm_id;
};

/* Protected by rnic_mutex */
static LIST_HEAD(rnic_listeners);

/* Requests: queue pairs by numbers that aren't used again soon */
static DEFINE_XARRAY_ALLOC1(rnic_requests);
static u32 rnic_next_request;

static const struct sockaddr_in *rnic_address(const struct sockaddr_storage *of)
{
	return (const struct sockaddr_in *)of;
}

/* All addresses of its adapter?  Those of IPv6 include IPv4's, by default. */
static bool rnic_is_wildcard(const struct iw_cm_id *cm_id)
{
	const struct sockaddr_in6 *v6 = (void *)&cm_id->m_local_addr;

	if (v6->sin6_family == AF_INET6)
		return ipv6_addr_any(&v6->sin6_addr);
	return rnic_address(&cm_id->m_local_addr)->sin_addr.s_addr ==
	       htonl(INADDR_ANY);
}

/* Is this an address of the listener? */
static bool rnic_listens(const struct rnic_listener *listener,
			 const struct sockaddr_in *address)
{
	struct iw_cm_id *cm_id = listener->cm_id;
	const struct sockaddr_in *own = rnic_address(&cm_id->m_local_addr);
	struct net_device *netdev;
	bool found;

	if (own->sin_port != address->sin_port)
		return false;
	if (!rnic_is_wildcard(cm_id))
		return own->sin_addr.s_addr == address->sin_addr.s_addr;
	if (own->sin_family == AF_INET6 && cm_id->afonly)
		return false;

	netdev = ib_device_get_netdev(cm_id->device, RNIC_PORT);
	rcu_read_lock();
	found = netdev && __ip_dev_find(&init_net, address->sin_addr.s_addr,
					false) == netdev;
	rcu_read_unlock();
	dev_put(netdev);
	return found;
}

static struct iw_cm_id *rnic_find_listener(const struct sockaddr_in *address)
{
	struct rnic_listener *listener;

	list_for_each_entry(listener, &rnic_listeners, list)
		if (rnic_listens(listener, address))
			return listener->cm_id;
	return NULL;
}

static int rnic_tell(struct iw_cm_id *cm_id, struct iw_cm_event *event)
{
	event->local_addr = cm_id->m_local_addr;
	event->remote_addr = cm_id->m_remote_addr;
	return cm_id->event_handler(cm_id, event);
}

/* ---- Ends ---- */

/* What has been told, if anything, was the last event. */
static void rnic_forget(struct rnic_qp *qp)
{
	qp->cm_id->rem_ref(qp->cm_id);
	qp->cm_id = NULL;
}

/* Take a request out of the table: it has its answer, or gets it now. */
static void rnic_request_take(struct rnic_qp *qp)
{
	xa_erase(&rnic_requests, qp->request);
	qp->request = 0;
	qp->listener = NULL;
	cancel_delayed_work(&qp->timeout);
}

static void rnic_request_fail(struct rnic_qp *qp, int status,
			      const void *private_data, u8 length)
{
	struct iw_cm_event event = {
		.event = IW_CM_EVENT_CONNECT_REPLY,
		.status = status,
		.private_data = (void *)private_data,
		.private_data_len = length,
	};

	rnic_request_take(qp);
	if (rnic_tell(qp->cm_id, &event)) {
		/* Without a copy of that data, telling can't fail. */
		event.private_data = NULL;
		event.private_data_len = 0;
		rnic_tell(qp->cm_id, &event);
	}
	rnic_forget(qp);
}

static void rnic_request_timeout(struct work_struct *work)
{
	struct rnic_qp *qp = container_of(to_delayed_work(work), struct rnic_qp,
					  timeout);

	guard(mutex)(&rnic_mutex);

	/* It may have waited for the lock, and another request been made. */
	if (qp->request && !delayed_work_pending(&qp->timeout))
		rnic_request_fail(qp, -ETIMEDOUT, NULL, 0);
}

static void rnic_close(struct rnic_qp *qp, int status)
{
	struct iw_cm_event event = {
		.event = IW_CM_EVENT_CLOSE,
		.status = status,
	};

	rnic_qp_fail(qp);
	if (!qp->cm_id)
		return;
	rnic_tell(qp->cm_id, &event);
	rnic_forget(qp);
}

/*
 * End the connection of a queue pair, or its request for one.  When it returns,
 * neither end is used, nor will be; the requests in their queues will be flushed.
 */
void rnic_cm_disconnect(struct rnic_qp *qp)
{
	struct rnic_qp *peer = qp->peer;

	lockdep_assert_held(&rnic_mutex);

	if (qp->request)
		rnic_request_fail(qp, -ECONNABORTED, NULL, 0);
	rnic_close(qp, 0);
	if (peer)
		rnic_close(peer, -ECONNRESET);
}

void rnic_cm_init(struct rnic_qp *qp)
{
	INIT_DELAYED_WORK(&qp->timeout, rnic_request_timeout);
}

/* ---- Operations ---- */

static int rnic_create_listen(struct iw_cm_id *cm_id, int backlog)
{
	struct rnic_listener *listener;

	if (cm_id->m_local_addr.ss_family != AF_INET &&
	    !rnic_is_wildcard(cm_id))
		return -EAFNOSUPPORT;

	listener = kzalloc(sizeof(*listener), GFP_KERNEL);
	if (!listener)
		return -ENOMEM;
	listener->cm_id = cm_id;
	cm_id->provider_data = listener;

	guard(mutex)(&rnic_mutex);

	list_add_tail(&listener->list, &rnic_listeners);
	return 0;
}

static int rnic_destroy_listen(struct iw_cm_id *cm_id)
{
	struct rnic_listener *listener = cm_id->provider_data;
	struct rnic_qp *qp;
	unsigned long i;

	scoped_guard(mutex, &rnic_mutex) {
		list_del(&listener->list);
		/* Requests that the ULP hasn't seen are dropped by iw_cm. */
		xa_for_each(&rnic_requests, i, qp)
			if (qp->listener == cm_id)
				rnic_request_fail(qp, -ECONNREFUSED, NULL, 0);
	}
	kfree(listener);
	return 0;
}

/* Hand a request to its listener. */
static int rnic_request(struct rnic_qp *qp, struct iw_cm_id *cm_id, u32 request,
			const struct iw_cm_conn_param *param)
{
	struct iw_cm_event event = {
		.event = IW_CM_EVENT_CONNECT_REQUEST,
		.local_addr = cm_id->m_remote_addr,
		.remote_addr = cm_id->m_local_addr,
		.private_data = (void *)param->private_data,
		.private_data_len = param->private_data_len,
		.provider_data = (void *)(unsigned long)request,
		.ord = param->ord,
		.ird = param->ird,
	};
	struct iw_cm_id *listener;
	int ret;

	lockdep_assert_held(&rnic_mutex);

	if (qp->state != IB_QPS_INIT || qp->cm_id)
		return -EINVAL;
	listener = rnic_find_listener(rnic_address(&cm_id->m_remote_addr));
	if (!listener)
		return -ECONNREFUSED;
	ret = listener->event_handler(listener, &event);
	if (ret)
		return ret;

	cm_id->add_ref(cm_id);
	qp->cm_id = cm_id;
	qp->request = request;
	qp->listener = listener;
	queue_delayed_work(rnic_workqueue, &qp->timeout,
			   msecs_to_jiffies(RNIC_ANSWER_MS));
	return 0;
}

static int rnic_connect(struct iw_cm_id *cm_id, struct iw_cm_conn_param *param)
{
	struct rnic *rnic = rnic_of(cm_id->device);
	struct rnic_qp *qp = xa_load(&rnic->qps, param->qpn);
	u32 request;
	int ret;

	if (!qp)
		return -EINVAL;
	if (cm_id->m_remote_addr.ss_family != AF_INET)
		return -EAFNOSUPPORT;
	if (param->private_data_len > U8_MAX)
		return -EINVAL;

	ret = xa_alloc_cyclic(&rnic_requests, &request, qp, xa_limit_32b,
			      &rnic_next_request, GFP_KERNEL);
	if (ret < 0)
		return ret;

	guard(mutex)(&rnic_mutex);

	ret = rnic_request(qp, cm_id, request, param);
	if (ret)
		xa_erase(&rnic_requests, request);
	return ret;
}

static int rnic_accept(struct iw_cm_id *cm_id, struct iw_cm_conn_param *param)
{
	struct rnic *rnic = rnic_of(cm_id->device);
	struct iw_cm_event established = { .event = IW_CM_EVENT_ESTABLISHED };
	struct iw_cm_event reply = {
		.event = IW_CM_EVENT_CONNECT_REPLY,
		.private_data = (void *)param->private_data,
		.private_data_len = param->private_data_len,
		.ord = param->ord,
		.ird = param->ird,
	};
	struct rnic_qp *qp, *peer;
	int ret;

	guard(mutex)(&rnic_mutex);

	peer = xa_load(&rnic_requests, (unsigned long)cm_id->provider_data);
	if (!peer)
		return -ECONNRESET;
	qp = xa_load(&rnic->qps, param->qpn);
	if (!qp || qp == peer || qp->state != IB_QPS_INIT || qp->cm_id ||
	    param->private_data_len > U8_MAX) {
		rnic_request_fail(peer, -ECONNREFUSED, NULL, 0);
		return -EINVAL;
	}

	cm_id->add_ref(cm_id);
	qp->cm_id = cm_id;
	rnic_qp_connect(qp, peer);
	rnic_qp_connect(peer, qp);
	/*
	 * iw_cm handles events in turn, so the listener's ULP knows of the
	 * connection before the peer's can send.  Otherwise nvmet would execute
	 * what was sent in its handler of this event, under the CM's lock, and
	 * lockdep would report that against the lock of its configuration.
	 */
	rnic_tell(cm_id, &established);
	ret = rnic_tell(peer->cm_id, &reply);
	if (ret) {
		rnic_request_fail(peer, ret, NULL, 0);
		rnic_cm_disconnect(qp);
	} else {
		rnic_request_take(peer);
	}
	return 0;
}

static int rnic_reject(struct iw_cm_id *cm_id, const void *private_data,
		       u8 length)
{
	struct rnic_qp *peer;

	guard(mutex)(&rnic_mutex);

	peer = xa_load(&rnic_requests, (unsigned long)cm_id->provider_data);
	if (!peer)
		return -ECONNRESET;
	rnic_request_fail(peer, -ECONNREFUSED, private_data, length);
	return 0;
}

const struct ib_device_ops rnic_cm_ops = {
	.iw_connect = rnic_connect,
	.iw_accept = rnic_accept,
	.iw_reject = rnic_reject,
	.iw_create_listen = rnic_create_listen,
	.iw_destroy_listen = rnic_destroy_listen,
};
