// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of PCI peer-to-peer DMA: changes while another thread uses it.
 *
 * The test changes something again and again, and a concurrent thread repeats
 * what drivers do.  A step of the thread between two changes must have the
 * result that fits the present state; a step during a change may have either
 * result, but no other effect.  A case runs until enough changes were met by a
 * step.  The pool has its own suite, p2pdma_pool_race.
 */

#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/kthread.h>
#include <linux/moduleparam.h>
#include <linux/p2pdma-dmabuf.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include <kunit/static_stub.h>

#include "p2pdma_test.h"

#define TREE	(&p2pdma_test_tree)
#define SIZE	SZ_64K

/*
 * Memory that is freed too early is in use for about a hundredth of a step, so
 * about one change in a hundred would find it in use.
 */
static unsigned int changes = 500;

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "p2pdma_race."
module_param(changes, uint, 0444);
MODULE_PARM_DESC(changes, "How many changes a thread has to meet, at least");

/*
 * Limit of changes to make, for each one to be met.  A busy host runs one CPU
 * of the guest at a time, and then only a change that it interrupts is met.
 */
#define MOST	8000

struct race {
	struct kunit *test;
	bool (*step)(struct race *race);
	struct task_struct *thread;
	unsigned int turn;	/* odd during a change */
	bool there;		/* steps must succeed; valid for even turns */
	unsigned int steps;
	unsigned int met;	/* changes that overlapped a step */
	unsigned int met_last;	/* turn of the last of these */
	unsigned int used[2];	/* steps that failed, and that succeeded */
	unsigned int wrong;	/* wrong results of steps without a change */

	struct pci_fabric *fabric;
	struct pci_dev *provider, *client;
	void *driver;
	struct p2pdma_provider *bar;
	struct dma_buf *dmabuf;
	unsigned int released;
};

/* ---- The concurrent thread ---- */

/* Check the result of a step that began at @turn */
static void judge(struct race *race, unsigned int turn, bool there, bool used)
{
	race->used[used]++;
	/* Orders the step's reads before reading the turn again. */
	smp_rmb();
	if (!(turn & 1) && READ_ONCE(race->turn) == turn) {
		race->wrong += used != there;
	} else if (race->met_last != (turn | 1)) {
		race->met_last = turn | 1;
		WRITE_ONCE(race->met, race->met + 1);
	}
}

static int run(void *data)
{
	struct race *race = data;
	unsigned int turn;
	bool there;

	/* Static stubs of the root complex's policy are found by the test. */
	current->kunit_test = race->test;
	while (!kthread_should_stop()) {
		/* Orders reads of the state, which is of this turn or later. */
		turn = smp_load_acquire(&race->turn);
		there = READ_ONCE(race->there);
		judge(race, turn, there, race->step(race));
		/* Pairs with await_step(): the step's accesses are done. */
		smp_store_release(&race->steps, race->steps + 1);
		cond_resched();
	}
	current->kunit_test = NULL;
	return 0;
}

static void begin_change(struct race *race)
{
	WRITE_ONCE(race->turn, race->turn + 1);
	smp_wmb();	/* pairs with smp_rmb() in judge() */
}

static void end_change(struct race *race, bool there)
{
	WRITE_ONCE(race->there, there);
	/* Publishes the change and @there. */
	smp_store_release(&race->turn, race->turn + 1);
}

/* Wait for a whole step, so that no older one is still running. */
static void await_step(struct race *race)
{
	unsigned int steps = READ_ONCE(race->steps);

	/* Pairs with the release in run(): the step has freed its resources. */
	while (smp_load_acquire(&race->steps) - steps < 2)
		cond_resched();
}

/* Are more changes to be made? */
static bool go_on(struct race *race, unsigned int made)
{
	return made < MOST * changes && READ_ONCE(race->met) < changes;
}

/* Suppresses log lines, which would repeat all the time. */
static void say_nothing(struct device *client, const char *line) { }

static struct race *create(struct kunit *test,
			   const struct p2pdma_test_change *fabric,
			   const char *client)
{
	struct race *race = kunit_kzalloc(test, sizeof(*race), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, race);
	if (num_online_cpus() < 2)
		kunit_skip(test, "one CPU only");
	race->test = test;
	kunit_activate_static_stub(test, p2pdma_log, say_nothing);
	p2pdma_test_root(test, false, NULL);
	race->fabric = p2pdma_test_create(test, TREE, fabric);
	race->provider = p2pdma_test_dev(test, race->fabric, "b");
	race->client = p2pdma_test_dev(test, race->fabric, client);
	return race;
}

static void start(struct race *race, bool (*step)(struct race *race))
{
	race->step = step;
	race->thread = kthread_run(run, race, "p2pdma_race");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(race->test, race->thread);
}

static void end(struct race *race)
{
	struct kunit *test = race->test;

	kthread_stop(race->thread);
	KUNIT_EXPECT_GE(test, race->met, changes);
	KUNIT_EXPECT_GT(test, race->used[false], 0);
	KUNIT_EXPECT_GT(test, race->used[true], 0);
	KUNIT_EXPECT_EQ(test, race->wrong, 0);
	kunit_info(test, "%u steps met %u changes; %u with success, %u without\n",
		   race->steps, race->met, race->used[true], race->used[false]);
}

/* ---- Verdicts are looked up while their facts change ---- */

static bool look_up(struct race *race)
{
	return pci_p2pdma_distance(race->provider, &race->client->dev,
				   true) >= 0;
}

/* Computes the verdict each time, without the cache. */
static bool work_out(struct race *race)
{
	struct p2pdma_route route;

	pci_p2pdma_route(race->provider, &race->client->dev, &route);
	return route.directions;
}

struct verdict_case {
	const char *name;
	const char *client;
	bool (*step)(struct race *race);
	void (*change)(struct race *race, bool there);
};

static void change_acs(struct race *race, bool there)
{
	pci_fabric_set_acs(race->fabric, "d1", there ? 0 : PCI_ACS_RR);
	pci_p2pdma_fabric_changed();
}

static void change_list(struct race *race, bool there)
{
	p2pdma_admit_host_bridges(there ? "8086:1234" : "");
}

static const struct verdict_case verdict_cases[] = {
	{ "acs", "a", look_up, change_acs },
	{ "host_bridges", "e", look_up, change_list },
	{ "host_bridges_read", "e", work_out, change_list },
};

KUNIT_ARRAY_PARAM_DESC(verdict, verdict_cases, name);

static void verdict_changes(struct kunit *test)
{
	static const struct p2pdma_test_change host_bridges[] = {
		{ "rp1", P2PDMA_TEST_ID, 0x80861234 },
		{ "rp2", P2PDMA_TEST_ID, 0x80861234 },
		{ }
	};
	const struct verdict_case *param = test->param_value;
	struct race *race = create(test, host_bridges, param->client);
	unsigned int nr;
	bool there;

	KUNIT_ASSERT_EQ(test, 0, pcim_p2pdma_init(race->provider));
	param->change(race, false);
	start(race, param->step);
	for (nr = 0; go_on(race, nr); nr++) {
		there = nr % 2;
		begin_change(race);
		param->change(race, there);
		end_change(race, there);
		KUNIT_EXPECT_EQ(test, there,
				pci_p2pdma_distance(race->provider,
						    &race->client->dev,
						    false) >= 0);
	}
	end(race);
	param->change(race, false);
}

/* ---- A client is unplugged while its route is looked up ---- */

static bool look_up_if_there(struct race *race)
{
	/* The caller holds a reference: see client_unplugged(). */
	struct pci_dev *client = smp_load_acquire(&race->client);

	return client && pci_p2pdma_distance(race->provider, &client->dev,
					     true) >= 0;
}

static void client_unplugged(struct kunit *test)
{
	static const struct pci_fabric_node node = {
		.name = "new", .below = "d4", .kind = PCI_FABRIC_ENDPOINT
	};
	struct race *race = create(test, NULL, "a");
	struct pci_dev *client;
	unsigned int nr;

	KUNIT_ASSERT_EQ(test, 0, pcim_p2pdma_init(race->provider));
	race->client = NULL;
	start(race, look_up_if_there);
	for (nr = 0; go_on(race, nr); nr++) {
		begin_change(race);
		KUNIT_EXPECT_EQ(test, 0, pci_fabric_plug(race->fabric, &node));
		client = pci_dev_get(pci_fabric_dev(race->fabric, "new"));
		if (client)
			dma_set_mask_and_coherent(&client->dev,
						  DMA_BIT_MASK(64));
		/* Publishes the client for look-ups. */
		smp_store_release(&race->client, client);
		end_change(race, client);
		await_step(race);

		begin_change(race);
		pci_fabric_unplug(race->fabric, "new");
		WRITE_ONCE(race->client, NULL);
		await_step(race);
		pci_dev_put(client);
		end_change(race, false);
		if (!client)
			break;
	}
	end(race);
}

/* ---- The provider's driver is bound and unbound ---- */

static bool use_memory(struct race *race)
{
	struct device *client = &race->client->dev;
	struct pci_dev *found;
	void *addr;

	/* The provider's driver may be unbound before the allocation. */
	found = pci_p2pmem_find_many(&client, 1);
	addr = pci_alloc_p2pmem(race->provider, PAGE_SIZE);
	pci_dev_put(found);
	if (addr) {
		pci_p2pmem_virt_to_bus(race->provider, addr);
		pci_free_p2pmem(race->provider, addr, PAGE_SIZE);
	}
	/* Publishing and unpublishing adds and removes the heap. */
	pci_p2pmem_publish(race->provider, race->steps % 2);
	return addr;
}

static void driver_leaves(struct kunit *test)
{
	struct race *race = create(test, NULL, "a");
	struct pci_dev *b = race->provider;
	unsigned int nr;

	start(race, use_memory);
	for (nr = 0; go_on(race, nr); nr++) {
		begin_change(race);
		race->driver = p2pdma_test_probe(test, b);
		KUNIT_EXPECT_EQ(test, 0, pci_p2pdma_add_resource(b, 0, 0, 0));
		pci_p2pmem_publish(b, true);
		end_change(race, true);
		await_step(race);

		begin_change(race);
		p2pdma_test_leave(test, b, race->driver);
		end_change(race, false);
		KUNIT_EXPECT_FALSE(test, pci_has_p2pmem(b));
		p2pdma_test_none_left(test, b, PAGE_SIZE);
	}
	end(race);
}

/* ---- Concurrent mappings ---- */

static bool map_memory(struct race *race)
{
	struct device *dev = &race->client->dev;
	phys_addr_t phys = pci_resource_start(race->provider, 0);
	dma_addr_t addr = dma_map_p2p(dev, race->bar, phys, SIZE,
				      DMA_FROM_DEVICE, 0);

	if (dma_mapping_error(dev, addr))
		return false;
	dma_unmap_p2p(dev, race->bar, addr, SIZE, DMA_FROM_DEVICE, 0);
	return true;
}

/* Test and thread map the same memory for a device while its route changes. */
static void both_map(struct kunit *test)
{
	struct race *race = create(test, NULL, "a");
	unsigned int nr;
	bool there;

	KUNIT_ASSERT_EQ(test, 0, pcim_p2pdma_init(race->provider));
	race->bar = pcim_p2pdma_provider(race->provider, 0);
	KUNIT_ASSERT_NOT_NULL(test, race->bar);
	change_acs(race, false);
	start(race, map_memory);
	for (nr = 0; go_on(race, nr); nr++) {
		there = nr % 2;
		begin_change(race);
		change_acs(race, there);
		KUNIT_EXPECT_EQ(test, there, map_memory(race));
		end_change(race, there);
	}
	end(race);
}

/* ---- Importers map a dma-buf that is revoked ---- */

static const char *fence_name(struct dma_fence *fence)
{
	return "race";
}

static const struct dma_fence_ops fence_ops = {
	.get_driver_name = fence_name,
	.get_timeline_name = fence_name,
};

static DEFINE_SPINLOCK(fence_lock);

static void released(void *data)
{
	struct race *race = data;

	race->released++;
}

static void notified(struct dma_buf_attachment *attachment) { }

static const struct dma_buf_attach_ops importer = {
	.allow_peer2peer = true,
	.move_notify = notified,
};

static bool import(struct race *race)
{
	/* dmabuf_taken_back() holds a reference until a step later. */
	struct dma_buf *dmabuf = smp_load_acquire(&race->dmabuf);
	struct dma_buf_attachment *attachment;
	struct sg_table *sgt;
	bool used = false;

	if (!dmabuf)
		return false;
	attachment = dma_buf_dynamic_attach(dmabuf, &race->client->dev,
					    &importer, race);
	if (IS_ERR(attachment))
		return false;
	sgt = dma_buf_map_attachment_unlocked(attachment, DMA_FROM_DEVICE);
	if (!IS_ERR(sgt)) {
		used = !dma_buf_begin_cpu_access(dmabuf, DMA_TO_DEVICE);
		dma_buf_unmap_attachment_unlocked(attachment, sgt,
						  DMA_FROM_DEVICE);
	}
	dma_buf_detach(dmabuf, attachment);
	return used;
}

/* An unsignaled fence: revocation waits until the importer unmaps. */
static struct dma_fence *add_fence(struct race *race, struct dma_buf *dmabuf)
{
	struct dma_fence *fence = kzalloc(sizeof(*fence), GFP_KERNEL);

	KUNIT_EXPECT_NOT_NULL(race->test, fence);
	if (!fence)
		return NULL;
	dma_fence_init(fence, &fence_ops, &fence_lock,
		       dma_fence_context_alloc(1), 1);
	dma_resv_lock(dmabuf->resv, NULL);
	if (!dma_resv_reserve_fences(dmabuf->resv, 1))
		dma_resv_add_fence(dmabuf->resv, fence,
				   DMA_RESV_USAGE_BOOKKEEP);
	dma_resv_unlock(dmabuf->resv);
	return fence;
}

static void revoke(struct race *race)
{
	p2pdma_revoke(race->dmabuf);
}

static void leave(struct race *race)
{
	p2pdma_test_leave(race->test, race->provider, race->driver);
	race->driver = NULL;
}

struct taken_case {
	const char *name;
	void (*take)(struct race *race);
};

static const struct taken_case taken_cases[] = {
	{ "revoked", revoke },
	{ "driver_leaves", leave },
};

KUNIT_ARRAY_PARAM_DESC(taken, taken_cases, name);

static void dmabuf_taken_back(struct kunit *test)
{
	const struct taken_case *param = test->param_value;
	struct race *race = create(test, NULL, "a");
	struct pci_dev *b = race->provider;
	struct dma_fence *fence;
	struct dma_buf *dmabuf;
	unsigned int nr;

	start(race, import);
	for (nr = 0; go_on(race, nr); nr++) {
		race->driver = p2pdma_test_probe(test, b);
		KUNIT_EXPECT_EQ(test, 0, pcim_p2pdma_init(b));
		dmabuf = p2pdma_export(pcim_p2pdma_provider(b, 0),
				       pci_resource_start(b, 0), SIZE, O_RDWR,
				       released, race);
		KUNIT_EXPECT_FALSE(test, IS_ERR(dmabuf));
		if (IS_ERR(dmabuf))
			break;
		fence = nr % 8 ? NULL : add_fence(race, dmabuf);
		begin_change(race);
		/* Publishes the dma-buf for import. */
		smp_store_release(&race->dmabuf, dmabuf);
		end_change(race, true);
		await_step(race);

		begin_change(race);
		param->take(race);
		KUNIT_EXPECT_EQ(test, race->released, nr + 1);
		end_change(race, false);
		await_step(race);

		begin_change(race);
		WRITE_ONCE(race->dmabuf, NULL);
		await_step(race);
		end_change(race, false);
		if (fence) {
			dma_fence_signal(fence);
			dma_fence_put(fence);
		}
		dma_buf_put(dmabuf);
		if (race->driver)
			leave(race);
	}
	end(race);
	flush_delayed_fput();
	KUNIT_EXPECT_EQ(test, race->released, nr);
}

static struct kunit_case cases[] = {
	KUNIT_CASE_PARAM(verdict_changes, verdict_gen_params),
	KUNIT_CASE(client_unplugged),
	KUNIT_CASE(driver_leaves),
	KUNIT_CASE(both_map),
	KUNIT_CASE_PARAM(dmabuf_taken_back, taken_gen_params),
	{ }
};

static struct kunit_suite suite = {
	.name = "p2pdma_race",
	.test_cases = cases,
};

kunit_test_suite(suite);

MODULE_IMPORT_NS(DMA_BUF);
