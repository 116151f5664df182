// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of PCI peer-to-peer DMA: memory without struct pages as dma-bufs,
 * and the ways to revoke it.  Selftests in user space cover programs and heaps.
 */

#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/p2pdma-dmabuf.h>
#include <linux/p2pdma-phys-list.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "p2pdma_test.h"

#define TREE	(&p2pdma_test_tree)
#define SIZE	SZ_64K
#define OFFSET	SZ_8K

/* Exported memory of device b, and its importers */
struct export {
	struct kunit *test;
	struct pci_fabric *fabric;
	struct pci_dev *owner;
	void *driver;
	struct p2pdma_provider *provider;
	phys_addr_t phys;
	struct dma_buf *dmabuf;
	unsigned int released;
	unsigned int notified;
};

static void released(void *data)
{
	struct export *export = data;

	export->released++;
}

static void notified(struct dma_buf_attachment *attachment)
{
	struct export *export = attachment->importer_priv;

	export->notified++;
}

static const struct dma_buf_attach_ops importer = {
	.allow_peer2peer = true,
	.move_notify = notified,
};

static const struct dma_buf_attach_ops revocable_importer = {
	.allow_peer2peer = true,
	.revocable = true,
	.move_notify = notified,
};

static const struct dma_buf_attach_ops importer_of_pages = {
	.move_notify = notified,
};

/* The probe() of a driver, which exports memory */
static void probe(struct export *export)
{
	struct kunit *test = export->test;

	export->owner = p2pdma_test_dev(test, export->fabric, "b");
	export->driver = p2pdma_test_probe(test, export->owner);
	KUNIT_ASSERT_EQ(test, pcim_p2pdma_init(export->owner), 0);
	export->provider = pcim_p2pdma_provider(export->owner, 0);
	KUNIT_ASSERT_NOT_NULL(test, export->provider);
	export->phys = pci_resource_start(export->owner, 0) + OFFSET;
	export->dmabuf = p2pdma_export(export->provider, export->phys, SIZE,
				       O_RDWR, released, export);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, export->dmabuf);
}

static void create(struct kunit *test, struct export *export,
		   const struct p2pdma_test_change *changes,
		   const char *admitted)
{
	*export = (struct export) { .test = test };
	p2pdma_test_root(test, false, admitted);
	export->fabric = p2pdma_test_create(test, TREE, changes);
	probe(export);
}

/* Put the dma-buf, and wait for its delayed release. */
static void drop(struct export *export)
{
	dma_buf_put(export->dmabuf);
	flush_delayed_fput();
}

static struct dma_buf_attachment *attach(struct export *export,
					 const char *client,
					 const struct dma_buf_attach_ops *ops)
{
	struct pci_dev *pdev = p2pdma_test_dev(export->test, export->fabric,
					       client);

	return dma_buf_dynamic_attach(export->dmabuf, &pdev->dev, ops, export);
}

static struct sg_table *map(struct dma_buf_attachment *attachment,
			    enum dma_data_direction dir)
{
	return dma_buf_map_attachment_unlocked(attachment, dir);
}

static void unmap(struct dma_buf_attachment *attachment, struct sg_table *sgt,
		  enum dma_data_direction dir)
{
	dma_buf_unmap_attachment_unlocked(attachment, sgt, dir);
}

static int pin(struct dma_buf_attachment *attachment)
{
	int ret;

	dma_resv_lock(attachment->dmabuf->resv, NULL);
	ret = dma_buf_pin(attachment);
	dma_resv_unlock(attachment->dmabuf->resv);
	return ret;
}

static void unpin(struct dma_buf_attachment *attachment)
{
	dma_resv_lock(attachment->dmabuf->resv, NULL);
	dma_buf_unpin(attachment);
	dma_resv_unlock(attachment->dmabuf->resv);
}

/* Attach client a and map all of the buffer, for the client to write */
static struct sg_table *attach_and_map(struct export *export,
				       struct dma_buf_attachment **attachment)
{
	struct kunit *test = export->test;
	struct sg_table *sgt;

	*attachment = attach(export, "a", &importer);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, *attachment);
	sgt = map(*attachment, DMA_FROM_DEVICE);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, sgt);
	return sgt;
}

static void unmap_and_detach(struct export *export, struct sg_table *sgt,
			     struct dma_buf_attachment *attachment)
{
	unmap(attachment, sgt, DMA_FROM_DEVICE);
	dma_buf_detach(export->dmabuf, attachment);
}

/* The buffer is revoked: every operation fails. */
static void expect_gone(struct export *export,
			struct dma_buf_attachment *attachment)
{
	struct kunit *test = export->test;

	KUNIT_EXPECT_EQ(test, export->notified, 1);
	KUNIT_EXPECT_EQ(test, export->released, 1);
	KUNIT_EXPECT_EQ(test, PTR_ERR(map(attachment, DMA_TO_DEVICE)), -ENODEV);
	KUNIT_EXPECT_EQ(test, PTR_ERR(attach(export, "a", &importer)), -ENODEV);
	KUNIT_EXPECT_EQ(test, dma_buf_begin_cpu_access(export->dmabuf,
						       DMA_TO_DEVICE), -ENODEV);
	KUNIT_EXPECT_EQ(test, dma_buf_end_cpu_access(export->dmabuf,
						     DMA_TO_DEVICE), -ENODEV);
}

static void mapped(struct kunit *test)
{
	struct dma_buf_attachment *attachment;
	struct export export;
	struct sg_table *sgt;

	create(test, &export, NULL, NULL);
	sgt = attach_and_map(&export, &attachment);
	KUNIT_EXPECT_EQ(test, sgt->orig_nents, 0);
	KUNIT_EXPECT_EQ(test, sgt->nents, 1);
	KUNIT_EXPECT_EQ(test, sg_dma_len(sgt->sgl), SIZE);
	KUNIT_EXPECT_EQ(test, sg_dma_address(sgt->sgl),
			pci_bus_address(export.owner, 0) + OFFSET);
	unmap_and_detach(&export, sgt, attachment);

	/* The last put frees the memory; the driver stays bound. */
	KUNIT_EXPECT_EQ(test, export.released, 0);
	drop(&export);
	KUNIT_EXPECT_EQ(test, export.released, 1);
	KUNIT_EXPECT_EQ(test, export.notified, 0);
	p2pdma_test_leave(test, export.owner, export.driver);
	KUNIT_EXPECT_EQ(test, export.released, 1);
}

static void revoked(struct kunit *test)
{
	struct dma_buf_attachment *attachment;
	struct export export;
	struct sg_table *sgt;

	create(test, &export, NULL, NULL);
	sgt = attach_and_map(&export, &attachment);

	p2pdma_revoke(export.dmabuf);
	expect_gone(&export, attachment);
	/* A second revocation has no effect. */
	p2pdma_revoke(export.dmabuf);
	expect_gone(&export, attachment);

	/* The importer can still unmap and detach. */
	unmap_and_detach(&export, sgt, attachment);
	drop(&export);
	p2pdma_test_leave(test, export.owner, export.driver);
	KUNIT_EXPECT_EQ(test, export.released, 1);
}

/* An importer that can be revoked may pin, until the memory is revoked. */
static void pinned(struct kunit *test)
{
	struct dma_buf_attachment *attachment, *other;
	struct export export;
	struct sg_table *sgt;

	create(test, &export, NULL, NULL);
	attachment = attach(&export, "a", &revocable_importer);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, attachment);
	KUNIT_EXPECT_EQ(test, pin(attachment), 0);
	KUNIT_EXPECT_EQ(test, pin(attachment), 0);
	sgt = map(attachment, DMA_FROM_DEVICE);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, sgt);
	unpin(attachment);

	/* The pin of one importer isn't that of another. */
	other = attach(&export, "c", &importer);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, other);
	KUNIT_EXPECT_EQ(test, pin(other), -EOPNOTSUPP);
	dma_buf_detach(export.dmabuf, other);

	/* Revoked while it is pinned and mapped */
	p2pdma_revoke(export.dmabuf);
	expect_gone(&export, attachment);
	KUNIT_EXPECT_EQ(test, pin(attachment), -ENODEV);
	unmap(attachment, sgt, DMA_FROM_DEVICE);
	unpin(attachment);
	KUNIT_EXPECT_EQ(test, pin(attachment), -ENODEV);
	dma_buf_detach(export.dmabuf, attachment);
	drop(&export);
	KUNIT_EXPECT_EQ(test, export.released, 1);
	p2pdma_test_leave(test, export.owner, export.driver);
}

static void driver_leaves(struct kunit *test)
{
	struct dma_buf_attachment *attachment;
	struct export export;
	struct sg_table *sgt;

	create(test, &export, NULL, NULL);
	sgt = attach_and_map(&export, &attachment);

	p2pdma_test_leave(test, export.owner, export.driver);
	expect_gone(&export, attachment);
	unmap_and_detach(&export, sgt, attachment);
	drop(&export);
	KUNIT_EXPECT_EQ(test, export.released, 1);
}

#define DRIVERS	1000
#define ALIVE	16

/* Buffers outlive their drivers, with attachments and mappings. */
static void drivers_leave(struct kunit *test)
{
	struct dma_buf_attachment *attachments[ALIVE] = { };
	struct export *exports, *export;
	struct sg_table *tables[ALIVE];
	unsigned int nr, i;

	exports = kunit_kcalloc(test, ALIVE, sizeof(*exports), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, exports);
	create(test, &exports[0], NULL, NULL);
	for (nr = 0; nr < DRIVERS + ALIVE; nr++) {
		i = nr % ALIVE;
		export = &exports[i];
		if (attachments[i]) {
			unmap_and_detach(export, tables[i], attachments[i]);
			drop(export);
			KUNIT_ASSERT_EQ(test, export->released, 1);
		}
		if (nr >= DRIVERS)
			continue;

		if (nr) {
			*export = (struct export) {
				.test = test,
				.fabric = exports[0].fabric,
			};
			probe(export);
		}
		tables[i] = attach_and_map(export, &attachments[i]);
		p2pdma_test_leave(test, export->owner, export->driver);
		expect_gone(export, attachments[i]);
	}
}

/* ---- Fences ---- */

/*
 * Fences signal in the end, so that an unwanted wait makes a test fail instead
 * of hang.
 */
#define LIMIT	(60 * HZ)

struct fence {
	struct dma_fence base;
	spinlock_t lock;		/* for base */
	struct delayed_work signal;
};

static const char *fence_name(struct dma_fence *base)
{
	return "test";
}

static const struct dma_fence_ops fence_ops = {
	.get_driver_name = fence_name,
	.get_timeline_name = fence_name,
};

static void fence_signal(struct work_struct *work)
{
	struct fence *fence = container_of(to_delayed_work(work), struct fence,
					   signal);

	dma_fence_signal(&fence->base);
}

static struct fence *add_fence(struct export *export,
			       const struct dma_fence_ops *ops,
			       unsigned long delay)
{
	struct fence *fence = kzalloc(sizeof(*fence), GFP_KERNEL);
	struct dma_resv *resv = export->dmabuf->resv;

	KUNIT_ASSERT_NOT_NULL(export->test, fence);
	spin_lock_init(&fence->lock);
	dma_fence_init(&fence->base, ops, &fence->lock,
		       dma_fence_context_alloc(1), 1);
	INIT_DELAYED_WORK(&fence->signal, fence_signal);
	schedule_delayed_work(&fence->signal, delay);

	dma_resv_lock(resv, NULL);
	KUNIT_EXPECT_EQ(export->test, 0, dma_resv_reserve_fences(resv, 1));
	dma_resv_add_fence(resv, &fence->base, DMA_RESV_USAGE_BOOKKEEP);
	dma_resv_unlock(resv);
	return fence;
}

static void end_fence(struct fence *fence)
{
	cancel_delayed_work_sync(&fence->signal);
	dma_fence_signal(&fence->base);
	dma_fence_put(&fence->base);
}

/* Without mappings, release doesn't wait for fences. */
static void closed_with_fence(struct kunit *test)
{
	struct dma_buf_attachment *attachment;
	struct export export;
	struct fence *fence;
	struct sg_table *sgt;

	create(test, &export, NULL, NULL);
	sgt = attach_and_map(&export, &attachment);
	unmap_and_detach(&export, sgt, attachment);
	fence = add_fence(&export, &fence_ops, LIMIT);
	drop(&export);
	KUNIT_EXPECT_EQ(test, export.released, 1);
	KUNIT_EXPECT_FALSE(test, dma_fence_is_signaled(&fence->base));
	end_fence(fence);
	p2pdma_test_leave(test, export.owner, export.driver);
}

struct revocation {
	struct work_struct work;
	struct export *export;
};

static void revoke_work(struct work_struct *work)
{
	struct revocation *revocation = container_of(work, struct revocation,
						     work);

	p2pdma_revoke(revocation->export->dmabuf);
}

/* Start a revocation that notifies importers and then waits for a fence */
static void begin_revocation(struct revocation *revocation,
			     struct export *export)
{
	revocation->export = export;
	INIT_WORK_ONSTACK(&revocation->work, revoke_work);
	schedule_work(&revocation->work);
	while (!READ_ONCE(export->notified))
		msleep(20);
}

static void end_revocation(struct revocation *revocation)
{
	flush_work(&revocation->work);
	destroy_work_on_stack(&revocation->work);
}

/* Revocation waits for a fence, without holding the reservation lock. */
static void revoked_with_fence(struct kunit *test)
{
	struct dma_buf_attachment *attachment;
	struct revocation revocation;
	struct export export;
	struct fence *fence, *late;
	struct sg_table *sgt;

	create(test, &export, NULL, NULL);
	sgt = attach_and_map(&export, &attachment);
	fence = add_fence(&export, &fence_ops, LIMIT);
	begin_revocation(&revocation, &export);

	KUNIT_EXPECT_EQ(test, PTR_ERR(map(attachment, DMA_TO_DEVICE)), -ENODEV);
	KUNIT_EXPECT_EQ(test, PTR_ERR(attach(&export, "a", &importer)), -ENODEV);
	KUNIT_EXPECT_EQ(test, dma_buf_begin_cpu_access(export.dmabuf,
						       DMA_TO_DEVICE), -ENODEV);
	KUNIT_EXPECT_EQ(test, dma_buf_end_cpu_access(export.dmabuf,
						     DMA_TO_DEVICE), -ENODEV);
	KUNIT_EXPECT_FALSE(test, dma_fence_is_signaled(&fence->base));
	KUNIT_EXPECT_EQ(test, export.released, 0);

	/* Revocation ignores fences that are added after move_notify(). */
	late = add_fence(&export, &fence_ops, LIMIT);
	dma_fence_signal(&fence->base);
	end_revocation(&revocation);
	expect_gone(&export, attachment);
	KUNIT_EXPECT_FALSE(test, dma_fence_is_signaled(&late->base));

	end_fence(late);
	end_fence(fence);
	unmap_and_detach(&export, sgt, attachment);
	drop(&export);
	p2pdma_test_leave(test, export.owner, export.driver);
}

/* When all importers have unmapped, revocation stops waiting. */
static void revoked_and_unmapped(struct kunit *test)
{
	struct dma_buf_attachment *attachment;
	struct revocation revocation;
	struct export export;
	struct fence *fence;
	struct sg_table *sgt;

	create(test, &export, NULL, NULL);
	sgt = attach_and_map(&export, &attachment);
	fence = add_fence(&export, &fence_ops, LIMIT);
	begin_revocation(&revocation, &export);

	unmap_and_detach(&export, sgt, attachment);
	end_revocation(&revocation);
	KUNIT_EXPECT_EQ(test, export.released, 1);
	KUNIT_EXPECT_FALSE(test, dma_fence_is_signaled(&fence->base));

	end_fence(fence);
	drop(&export);
	p2pdma_test_leave(test, export.owner, export.driver);
}

/* An importer that unmaps and unpins in move_notify(), and may then pin anew */
struct pinner {
	struct export *export;
	struct sg_table *sgt;
	int pin;
	int map;
};

static void give_up(struct dma_buf_attachment *attachment)
{
	struct pinner *pinner = attachment->importer_priv;

	dma_buf_unmap_attachment(attachment, pinner->sgt, DMA_FROM_DEVICE);
	dma_buf_unpin(attachment);
	pinner->export->notified++;
	pinner->pin = dma_buf_pin(attachment);
	pinner->map = PTR_ERR(dma_buf_map_attachment(attachment,
						     DMA_FROM_DEVICE));
}

static const struct dma_buf_attach_ops pinner_ops = {
	.allow_peer2peer = true,
	.revocable = true,
	.move_notify = give_up,
};

/* Mappings are undone within move_notify(): no fence is waited for. */
static void pinned_and_driver_leaves(struct kunit *test)
{
	struct dma_buf_attachment *attachment;
	struct pinner pinner = { };
	struct export export;
	struct fence *fence;
	struct pci_dev *a;

	create(test, &export, NULL, NULL);
	a = p2pdma_test_dev(test, export.fabric, "a");
	pinner.export = &export;
	attachment = dma_buf_dynamic_attach(export.dmabuf, &a->dev, &pinner_ops,
					    &pinner);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, attachment);
	KUNIT_ASSERT_EQ(test, pin(attachment), 0);
	pinner.sgt = map(attachment, DMA_FROM_DEVICE);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, pinner.sgt);
	fence = add_fence(&export, &fence_ops, LIMIT);

	p2pdma_test_leave(test, export.owner, export.driver);
	expect_gone(&export, attachment);
	KUNIT_EXPECT_EQ(test, pinner.pin, -ENODEV);
	KUNIT_EXPECT_EQ(test, pinner.map, -ENODEV);
	KUNIT_EXPECT_FALSE(test, dma_fence_is_signaled(&fence->base));
	end_fence(fence);
	dma_buf_detach(export.dmabuf, attachment);
	drop(&export);
}

/* Fails as radeon's wait does while its GPU hangs */
static signed long fail_to_wait(struct dma_fence *base, bool intr,
				signed long timeout)
{
	return -EDEADLK;
}

static const struct dma_fence_ops failing_fence_ops = {
	.get_driver_name = fence_name,
	.get_timeline_name = fence_name,
	.wait = fail_to_wait,
};

/* A failed wait doesn't mean that the device is done: revocation waits on. */
static void waiting_fails(struct kunit *test)
{
	struct dma_buf_attachment *attachment;
	struct export export;
	struct fence *fence;
	struct sg_table *sgt;

	create(test, &export, NULL, NULL);
	sgt = attach_and_map(&export, &attachment);
	fence = add_fence(&export, &failing_fence_ops, HZ);
	p2pdma_revoke(export.dmabuf);
	KUNIT_EXPECT_TRUE(test, dma_fence_is_signaled(&fence->base));
	expect_gone(&export, attachment);

	end_fence(fence);
	unmap_and_detach(&export, sgt, attachment);
	drop(&export);
	p2pdma_test_leave(test, export.owner, export.driver);
}

static void bar_moved(struct kunit *test)
{
	struct dma_buf_attachment *attachment;
	struct export export;

	create(test, &export, NULL, NULL);
	attachment = attach(&export, "a", &importer);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, attachment);
	KUNIT_ASSERT_EQ(test, pci_fabric_move_bar(export.fabric, "b", 0), 0);

	KUNIT_EXPECT_EQ(test, PTR_ERR(map(attachment, DMA_TO_DEVICE)),
			-EREMOTEIO);
	KUNIT_EXPECT_EQ(test, dma_buf_begin_cpu_access(export.dmabuf,
						       DMA_TO_DEVICE), -ENODEV);
	KUNIT_EXPECT_EQ(test, PTR_ERR(p2pdma_export(export.provider,
						    export.phys, SIZE, O_RDWR,
						    NULL, NULL)), -ENODEV);
	dma_buf_detach(export.dmabuf, attachment);
	drop(&export);
	KUNIT_EXPECT_EQ(test, export.released, 1);
	p2pdma_test_leave(test, export.owner, export.driver);
}

static void refused(struct kunit *test)
{
	struct dma_buf_attachment *attachment;
	struct p2pdma_test_log *log;
	struct export export;
	struct pci_dev *a;

	log = p2pdma_test_log(test);
	create(test, &export, NULL, NULL);
	a = p2pdma_test_dev(test, export.fabric, "a");

	/* No route through the root complex: attach fails, and logs why. */
	KUNIT_EXPECT_EQ(test, PTR_ERR(attach(&export, "e", &importer)),
			-EREMOTEIO);
	KUNIT_EXPECT_EQ(test, 1, p2pdma_test_said(test, log,
						  "host-bridge-not-listed"));
	/* Importers that need pages or have no move_notify() */
	KUNIT_EXPECT_EQ(test, PTR_ERR(attach(&export, "a",
					     &importer_of_pages)),
			-EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, PTR_ERR(dma_buf_attach(export.dmabuf, &a->dev)),
			-EOPNOTSUPP);

	KUNIT_EXPECT_EQ(test, PTR_ERR(attach(&export, "e",
					     &revocable_importer)),
			-EREMOTEIO);

	attachment = attach(&export, "a", &importer);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, attachment);
	KUNIT_EXPECT_EQ(test, pin(attachment), -EOPNOTSUPP);
	dma_buf_detach(export.dmabuf, attachment);

	KUNIT_EXPECT_EQ(test, export.released, 0);
	drop(&export);
	p2pdma_test_leave(test, export.owner, export.driver);
}

/* Only writes have a route: attach works, mapping for reads is refused. */
static void one_direction(struct kunit *test)
{
	static const struct p2pdma_test_change changes[] = {
		{ "rp1", P2PDMA_TEST_ID, 0x80861234 },
		{ "rp2", P2PDMA_TEST_ID, 0x80861234 },
		{ }
	};
	struct dma_buf_attachment *attachment;
	struct export export;
	struct sg_table *sgt;

	create(test, &export, changes, "8086:1234:w");
	attachment = attach(&export, "e", &importer);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, attachment);
	sgt = map(attachment, DMA_FROM_DEVICE);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, sgt);
	KUNIT_EXPECT_EQ(test, sg_dma_address(sgt->sgl), export.phys);
	unmap(attachment, sgt, DMA_FROM_DEVICE);
	KUNIT_EXPECT_EQ(test, PTR_ERR(map(attachment, DMA_TO_DEVICE)),
			-EREMOTEIO);
	KUNIT_EXPECT_EQ(test, PTR_ERR(map(attachment, DMA_BIDIRECTIONAL)),
			-EREMOTEIO);
	dma_buf_detach(export.dmabuf, attachment);
	drop(&export);
	p2pdma_test_leave(test, export.owner, export.driver);
}

static void bad_arguments(struct kunit *test)
{
	struct p2pdma_provider *provider;
	struct export export;
	size_t bar;
	int i;

	create(test, &export, NULL, NULL);
	provider = export.provider;
	bar = pci_resource_len(export.owner, 0);
	const struct {
		struct p2pdma_provider *provider;
		phys_addr_t phys;
		size_t size;
	} cases[] = {
		{ NULL, export.phys, SIZE },
		{ provider, export.phys + 8, SIZE },
		{ provider, export.phys, SIZE - 8 },
		{ provider, export.phys, 0 },
		{ provider, export.phys, bar },
		{ provider, export.phys - OFFSET - PAGE_SIZE, SIZE },
		{ provider, export.phys, SIZE_MAX & PAGE_MASK },
	};

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    PTR_ERR(p2pdma_export(cases[i].provider,
							  cases[i].phys,
							  cases[i].size, O_RDWR,
							  released, &export)),
				    "case %d", i);
	KUNIT_EXPECT_EQ(test, export.released, 0);
	drop(&export);
	p2pdma_test_leave(test, export.owner, export.driver);
}

/* ---- Memory of several parts ---- */

/* A list of @size bytes of a BAR, or an empty one */
static struct p2pdma_phys_list *make_list(struct kunit *test,
					  struct p2pdma_provider *provider,
					  phys_addr_t start, size_t size)
{
	struct p2pdma_phys_list *list = p2pdma_phys_list_create(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, list);
	if (size)
		KUNIT_ASSERT_EQ(test, 0,
				p2pdma_phys_list_add(list, provider, start,
						     size, GFP_KERNEL));
	return list;
}

/* Parts in any order: each is an entry, and adjacent ones are merged. */
static void several_parts(struct kunit *test)
{
	static const struct {
		size_t offset;
		size_t size;
	} parts[] = {
		{ SZ_256K, SZ_64K },
		{ SZ_64K, SZ_4K },
		{ SZ_64K + SZ_4K, SZ_4K },
		{ SZ_16K, SZ_8K },
	};
	static const struct {
		size_t offset;
		size_t size;
	} entries[] = {
		{ SZ_256K, SZ_64K },
		{ SZ_64K, SZ_8K },
		{ SZ_16K, SZ_8K },
	};
	struct dma_buf_attachment *attachment;
	struct p2pdma_phys_list *list;
	struct scatterlist *sg;
	struct export export;
	struct sg_table *sgt;
	phys_addr_t bar;
	int i;

	create(test, &export, NULL, NULL);
	drop(&export);
	bar = export.phys - OFFSET;
	list = make_list(test, NULL, 0, 0);
	for (i = 0; i < ARRAY_SIZE(parts); i++)
		KUNIT_ASSERT_EQ(test, 0,
				p2pdma_phys_list_add(list, export.provider,
						     bar + parts[i].offset,
						     parts[i].size,
						     GFP_KERNEL));
	export.dmabuf = p2pdma_export_list(list, O_RDWR, released, &export);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, export.dmabuf);
	KUNIT_EXPECT_EQ(test, export.dmabuf->size, SZ_64K + 2 * SZ_8K);

	sgt = attach_and_map(&export, &attachment);
	KUNIT_ASSERT_EQ(test, sgt->nents, ARRAY_SIZE(entries));
	for_each_sgtable_dma_sg(sgt, sg, i) {
		KUNIT_EXPECT_EQ(test, sg_dma_address(sg),
				pci_bus_address(export.owner, 0) +
				entries[i].offset);
		KUNIT_EXPECT_EQ(test, sg_dma_len(sg), entries[i].size);
	}
	unmap_and_detach(&export, sgt, attachment);
	drop(&export);
	KUNIT_EXPECT_EQ(test, export.released, 2);
	p2pdma_test_leave(test, export.owner, export.driver);
}

/* If a list can't be exported, the caller keeps it. */
static void bad_lists(struct kunit *test)
{
	struct p2pdma_provider *provider, *other;
	struct p2pdma_phys_list *list;
	struct export export;
	struct page *ram;
	phys_addr_t bar;
	struct pci_dev *c;
	int i;

	create(test, &export, NULL, NULL);
	provider = export.provider;
	bar = export.phys - OFFSET;
	c = p2pdma_test_dev(test, export.fabric, "c");
	KUNIT_ASSERT_EQ(test, pcim_p2pdma_init(c), 0);
	other = pcim_p2pdma_provider(c, 0);
	KUNIT_ASSERT_NOT_NULL(test, other);
	ram = alloc_page(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ram);
	/* Each but the first case follows a valid page in the list. */
	const struct {
		struct p2pdma_provider *provider;
		phys_addr_t start;
		size_t size;
	} cases[] = {
		{ NULL, 0, 0 },
		{ NULL, page_to_phys(ram), PAGE_SIZE },
		{ other, pci_resource_start(c, 0), PAGE_SIZE },
		{ provider, bar + SZ_8K + 8, PAGE_SIZE },
		{ provider, bar + SZ_8K, PAGE_SIZE - 8 },
		{ provider, pci_resource_end(export.owner, 0) + 1, PAGE_SIZE },
	};

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		list = make_list(test, provider, bar, i ? PAGE_SIZE : 0);
		if (i)
			KUNIT_EXPECT_EQ(test, 0,
					p2pdma_phys_list_add(list,
							     cases[i].provider,
							     cases[i].start,
							     cases[i].size,
							     GFP_KERNEL));
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    PTR_ERR(p2pdma_export_list(list, O_RDWR,
							       released,
							       &export)),
				    "case %d", i);
		p2pdma_phys_list_free(list);
	}
	__free_page(ram);
	KUNIT_EXPECT_EQ(test, export.released, 0);
	drop(&export);
	p2pdma_test_leave(test, export.owner, export.driver);
}

/* ---- No memory ---- */

#define MANY	200	/* more allocations than any call here makes */

/* Each allocation of p2pdma_export() fails in turn. */
static void export_without_memory(struct kunit *test)
{
	unsigned int nth, refused = 0, made = 1;
	struct dma_buf *dmabuf;
	struct export export;
	bool hit = true;

	p2pdma_test_inject_faults(test);
	create(test, &export, NULL, NULL);
	for (nth = 1; hit && nth < MANY; nth++) {
		p2pdma_test_fail_nth(nth);
		dmabuf = p2pdma_export(export.provider, export.phys, SIZE,
				       O_RDWR, released, &export);
		hit = p2pdma_test_failed();
		p2pdma_test_fail_nth(0);
		if (!IS_ERR(dmabuf)) {
			/* Memory checkers' own allocations may fail. */
			dma_buf_put(dmabuf);
			made++;
			continue;
		}
		KUNIT_EXPECT_EQ_MSG(test, PTR_ERR(dmabuf), -ENOMEM,
				    "allocation %u", nth);
		refused++;
	}
	KUNIT_EXPECT_FALSE(test, hit);
	/*
	 * A list, the buffer, and the dma-buf with its inode and file.  For the
	 * list's ranges kvrealloc() allocates twice: one failure is no refusal.
	 */
	KUNIT_EXPECT_GE(test, refused, 5);
	drop(&export);
	KUNIT_EXPECT_EQ(test, export.released, made);
	p2pdma_test_leave(test, export.owner, export.driver);
}

/* Each allocation of a mapping fails in turn. */
static void map_without_memory(struct kunit *test)
{
	struct dma_buf_attachment *attachment;
	unsigned int nth, refused = 0;
	struct sg_table *held, *sgt;
	struct export export;
	bool hit = true;

	p2pdma_test_inject_faults(test);
	create(test, &export, NULL, NULL);
	/* While this exists, CONFIG_DMA_API_DEBUG needs no memory. */
	held = attach_and_map(&export, &attachment);
	for (nth = 1; hit && nth < MANY; nth++) {
		p2pdma_test_fail_nth(nth);
		sgt = map(attachment, DMA_FROM_DEVICE);
		hit = p2pdma_test_failed();
		p2pdma_test_fail_nth(0);
		if (!IS_ERR(sgt)) {
			unmap(attachment, sgt, DMA_FROM_DEVICE);
			continue;
		}
		KUNIT_EXPECT_EQ_MSG(test, PTR_ERR(sgt), -ENOMEM,
				    "allocation %u", nth);
		refused++;
	}
	KUNIT_EXPECT_FALSE(test, hit);
	/* The mapping, the two parts of its list's mapping, and its table */
	KUNIT_EXPECT_EQ(test, refused, 4);
	unmap_and_detach(&export, held, attachment);
	drop(&export);
	KUNIT_EXPECT_EQ(test, export.released, 1);
	p2pdma_test_leave(test, export.owner, export.driver);
}

/* Revocation can't fail: it retries, and still waits for devices. */
static void revoked_without_memory(struct kunit *test)
{
	struct dma_buf_attachment *attachment;
	struct export export;
	struct sg_table *sgt;
	struct fence *fence;

	p2pdma_test_inject_faults(test);
	create(test, &export, NULL, NULL);
	sgt = attach_and_map(&export, &attachment);
	fence = add_fence(&export, &fence_ops, HZ / 10);
	/* Only the list of fences needs memory. */
	p2pdma_test_fail_nth(1);
	p2pdma_revoke(export.dmabuf);
	KUNIT_EXPECT_TRUE(test, p2pdma_test_failed());
	p2pdma_test_fail_nth(0);
	KUNIT_EXPECT_TRUE(test, dma_fence_is_signaled(&fence->base));
	expect_gone(&export, attachment);

	end_fence(fence);
	unmap_and_detach(&export, sgt, attachment);
	drop(&export);
	p2pdma_test_leave(test, export.owner, export.driver);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(mapped),
	KUNIT_CASE(revoked),
	KUNIT_CASE(pinned),
	KUNIT_CASE(driver_leaves),
	KUNIT_CASE(drivers_leave),
	KUNIT_CASE(closed_with_fence),
	KUNIT_CASE(revoked_with_fence),
	KUNIT_CASE(revoked_and_unmapped),
	KUNIT_CASE(pinned_and_driver_leaves),
	KUNIT_CASE(waiting_fails),
	KUNIT_CASE(bar_moved),
	KUNIT_CASE(refused),
	KUNIT_CASE(one_direction),
	KUNIT_CASE(bad_arguments),
	KUNIT_CASE(several_parts),
	KUNIT_CASE(bad_lists),
	KUNIT_CASE(export_without_memory),
	KUNIT_CASE(map_without_memory),
	KUNIT_CASE(revoked_without_memory),
	{ }
};

static struct kunit_suite suite = {
	.name = "p2pdma_dmabuf",
	.test_cases = cases,
};

kunit_test_suite(suite);

MODULE_IMPORT_NS(DMA_BUF);
