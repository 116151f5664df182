// SPDX-License-Identifier: GPL-2.0
/*
 * A DMA engine of the kinds that QEMU has none of, for tests of its clients.
 *
 * The CPU copies the data, between addresses in system memory that aren't
 * translated.  A copy is done, and its client called back, before
 * dmaengine_submit() returns: no client may count on being told later.
 *
 * Parameter "lacks": "terminate" or "synchronize", for an engine without that
 * operation.
 */

#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/dmaengine.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/string.h>

static char *lacks = "";
module_param(lacks, charp, 0444);
MODULE_PARM_DESC(lacks, "operation that the engine doesn't have");

struct engine {
	struct dma_device dma;
	struct dma_chan chan;
};

struct engine_copy {
	struct dma_async_tx_descriptor tx;
	phys_addr_t to;
	phys_addr_t from;
	size_t length;
};

static dma_cookie_t engine_submit(struct dma_async_tx_descriptor *tx)
{
	static const struct dmaengine_result done = {
		.result = DMA_TRANS_NOERROR,
	};
	struct engine_copy *copy = container_of(tx, struct engine_copy, tx);
	dma_cookie_t cookie = max(tx->chan->cookie, 0) + 1;

	tx->chan->cookie = cookie;
	memcpy(phys_to_virt(copy->to), phys_to_virt(copy->from), copy->length);
	tx->chan->completed_cookie = cookie;
	if (tx->callback_result)
		tx->callback_result(tx->callback_param, &done);
	kfree(copy);
	return cookie;
}

static struct dma_async_tx_descriptor *
engine_prep(struct dma_chan *chan, dma_addr_t to, dma_addr_t from, size_t length,
	    unsigned long flags)
{
	struct device *dev = chan->device->dev;
	struct engine_copy *copy = kzalloc(sizeof(*copy), GFP_NOWAIT);

	if (!copy)
		return NULL;
	dma_async_tx_descriptor_init(&copy->tx, chan);
	copy->tx.tx_submit = engine_submit;
	copy->to = dma_to_phys(dev, to);
	copy->from = dma_to_phys(dev, from);
	copy->length = length;
	return &copy->tx;
}

static void engine_issue_pending(struct dma_chan *chan)
{
}

static enum dma_status engine_tx_status(struct dma_chan *chan,
					dma_cookie_t cookie,
					struct dma_tx_state *state)
{
	return DMA_COMPLETE;
}

static int engine_terminate(struct dma_chan *chan)
{
	return 0;
}

static void engine_synchronize(struct dma_chan *chan)
{
}

static int engine_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct dma_device *dma;
	struct engine *engine;
	int ret;

	ret = dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	dma_set_max_seg_size(dev, UINT_MAX);
	engine = devm_kzalloc(dev, sizeof(*engine), GFP_KERNEL);
	if (!engine)
		return -ENOMEM;

	dma = &engine->dma;
	dma->dev = dev;
	dma_cap_set(DMA_MEMCPY, dma->cap_mask);
	dma->device_prep_dma_memcpy = engine_prep;
	dma->device_issue_pending = engine_issue_pending;
	dma->device_tx_status = engine_tx_status;
	if (strcmp(lacks, "terminate"))
		dma->device_terminate_all = engine_terminate;
	if (strcmp(lacks, "synchronize"))
		dma->device_synchronize = engine_synchronize;
	INIT_LIST_HEAD(&dma->channels);
	engine->chan.device = dma;
	list_add_tail(&engine->chan.device_node, &dma->channels);
	return dmaenginem_async_device_register(dma);
}

static struct platform_driver engine_driver = {
	.driver.name = KBUILD_MODNAME,
};

static struct platform_device *engine_device;

static int __init engine_init(void)
{
	engine_device = platform_create_bundle(&engine_driver, engine_probe,
					       NULL, 0, NULL, 0);
	return PTR_ERR_OR_ZERO(engine_device);
}
module_init(engine_init);

static void __exit engine_exit(void)
{
	platform_device_unregister(engine_device);
	platform_driver_unregister(&engine_driver);
}
module_exit(engine_exit);

MODULE_DESCRIPTION("A DMA engine that P2PDMA's selftests make");
MODULE_LICENSE("GPL");
