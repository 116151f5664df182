// SPDX-License-Identifier: GPL-2.0
/*
 * A DMA engine: the memory moves of an LSI 53C895A SCSI controller.
 *
 * The controller runs programs, called SCRIPTS, which it fetches by DMA.  This
 * driver uses only the instruction that copies memory: that makes a DMA_MEMCPY
 * engine with 32-bit addresses, a simple bus master for samples and tests of
 * peer-to-peer DMA.  The driver only sees DMA addresses, of any memory.  It
 * doesn't do SCSI.
 *
 * There is one channel, and one program: it holds as many moves as fit, ends
 * with an interrupt, and is then rewritten for the rest of the copy.
 *
 * A client's mappings are for this device, so they must not outlive the
 * driver: remove() aborts a running copy, and waits until the client has
 * released the channel.
 */

#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/dmaengine.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "virt-dma.h"

/* BAR 1: the operating registers */
#define LSI_BAR		1
#define LSI_DSTAT	0x0c		/* read: acknowledges */
#define   LSI_DSTAT_MDPE	BIT(6)	/* parity error */
#define   LSI_DSTAT_BF		BIT(5)	/* bus fault */
#define   LSI_DSTAT_SIR		BIT(2)	/* the program's interrupt */
#define   LSI_DSTAT_IID		BIT(0)	/* illegal instruction */
#define LSI_ISTAT0	0x14
#define   LSI_ISTAT0_ABRT	BIT(7)
#define   LSI_ISTAT0_SRST	BIT(6)
#define   LSI_ISTAT0_DIP	BIT(0)	/* DSTAT has a pending interrupt */
#define LSI_DSP		0x2c		/* write: runs the program there */
#define LSI_DIEN	0x39

/* Instructions */
#define LSI_MOVE	0xc0000000	/* | bytes, source, destination */
#define LSI_MOVE_WORDS	3
#define LSI_INT		0x98080000	/* interrupt and stop; a value for DSPS */
#define LSI_INT_WORDS	2
#define LSI_MOVE_MAX	0xfffffcU	/* 24 bits, aligned */

#define LSI_PROGRAM_BYTES	4096
#define LSI_MOVES	((LSI_PROGRAM_BYTES / 4 - LSI_INT_WORDS) / LSI_MOVE_WORDS)

static unsigned int move_bytes = LSI_MOVE_MAX;
module_param(move_bytes, uint, 0644);
MODULE_PARM_DESC(move_bytes, "most that one instruction copies, in bytes");

static unsigned int moves = LSI_MOVES;
module_param(moves, uint, 0644);
MODULE_PARM_DESC(moves, "most instructions that are run before an interrupt");

/* A copy */
struct lsi_desc {
	struct virt_dma_desc vd;
	u32 source;
	u32 destination;
	size_t length;
	size_t done;
	size_t program_end;		/* @done after the program has run */
};

/* A controller.  vc.lock protects all fields that change. */
struct lsi {
	struct virt_dma_chan vc;
	struct dma_device dma;
	void __iomem *regs;
	__le32 *program;
	dma_addr_t program_dma;
	struct lsi_desc *active;	/* first of vc.desc_issued, or NULL */
	bool gone;			/* the driver is being unbound */
	bool in_use;			/* a client has the channel */
	wait_queue_head_t unused;
};

static struct lsi *lsi_of(struct dma_chan *chan)
{
	return container_of(to_virt_chan(chan), struct lsi, vc);
}

static struct lsi_desc *lsi_desc_of(struct virt_dma_desc *vd)
{
	return container_of(vd, struct lsi_desc, vd);
}

static void lsi_desc_free(struct virt_dma_desc *vd)
{
	kfree(lsi_desc_of(vd));
}

static void lsi_reset(struct lsi *lsi)
{
	writeb(LSI_ISTAT0_SRST, lsi->regs + LSI_ISTAT0);
	readb(lsi->regs + LSI_ISTAT0);
	udelay(5);
	writeb(0, lsi->regs + LSI_ISTAT0);
	writeb(LSI_DSTAT_MDPE | LSI_DSTAT_BF | LSI_DSTAT_SIR | LSI_DSTAT_IID,
	       lsi->regs + LSI_DIEN);
}

/* Stop the program; afterwards the controller accesses no memory. */
static void lsi_stop(struct lsi *lsi)
{
	u8 status;

	lockdep_assert_held(&lsi->vc.lock);

	if (!lsi->active)
		return;
	lsi->active = NULL;

	writeb(LSI_ISTAT0_ABRT, lsi->regs + LSI_ISTAT0);
	readb_poll_timeout_atomic(lsi->regs + LSI_ISTAT0, status,
				  status & LSI_ISTAT0_DIP, 1, 1000);
	writeb(0, lsi->regs + LSI_ISTAT0);
	/* Also acknowledge the interrupt of a program that has just ended */
	readb(lsi->regs + LSI_DSTAT);
	/* QEMU's controller goes on a little later, unless it is reset. */
	lsi_reset(lsi);
}

/* Write a program for the rest of a copy, and run it. */
static void lsi_run(struct lsi *lsi, struct lsi_desc *desc)
{
	u32 most = clamp(ALIGN_DOWN(READ_ONCE(move_bytes), 4), 4,
			 LSI_MOVE_MAX);
	unsigned int count = clamp(READ_ONCE(moves), 1, LSI_MOVES), i;
	__le32 *word = lsi->program;
	size_t at = desc->done;

	lockdep_assert_held(&lsi->vc.lock);

	for (i = 0; i < count && at < desc->length; i++) {
		u32 bytes = min(desc->length - at, most);

		*word++ = cpu_to_le32(LSI_MOVE | bytes);
		*word++ = cpu_to_le32(desc->source + at);
		*word++ = cpu_to_le32(desc->destination + at);
		at += bytes;
	}
	*word++ = cpu_to_le32(LSI_INT);
	*word = 0;

	lsi->active = desc;
	desc->program_end = at;
	writel(lower_32_bits(lsi->program_dma), lsi->regs + LSI_DSP);
}

static void lsi_end(struct lsi_desc *desc, enum dmaengine_tx_result result)
{
	desc->vd.tx_result.result = result;
	desc->vd.tx_result.residue = desc->length - desc->done;
	list_del(&desc->vd.node);
	vchan_cookie_complete(&desc->vd);
}

/* Start the next copy, if any; end all of them if the driver is leaving. */
static void lsi_next(struct lsi *lsi)
{
	struct virt_dma_desc *vd;

	lockdep_assert_held(&lsi->vc.lock);

	while (!lsi->active && (vd = vchan_next_desc(&lsi->vc))) {
		if (lsi->gone)
			lsi_end(lsi_desc_of(vd), DMA_TRANS_ABORTED);
		else
			lsi_run(lsi, lsi_desc_of(vd));
	}
}

/* A program has ended, or another device on the same line has interrupted. */
static irqreturn_t lsi_ended(struct lsi *lsi)
{
	struct lsi_desc *desc = lsi->active;
	u8 status;

	lockdep_assert_held(&lsi->vc.lock);

	status = readb(lsi->regs + LSI_ISTAT0);
	/* All ones: unplugged; the interrupt is another device's. */
	if (status == 0xff || !(status & LSI_ISTAT0_DIP))
		return IRQ_NONE;
	status = readb(lsi->regs + LSI_DSTAT);
	if (!desc)
		return IRQ_HANDLED;
	lsi->active = NULL;

	if (!(status & LSI_DSTAT_SIR)) {
		dev_err_ratelimited(lsi->dma.dev,
				    "copy failed: DMA status %#x\n", status);
		lsi_reset(lsi);
		/* The controller doesn't tell reads from writes. */
		lsi_end(desc, DMA_TRANS_READ_FAILED);
	} else {
		desc->done = desc->program_end;
		if (desc->done < desc->length)
			lsi_run(lsi, desc);
		else
			lsi_end(desc, DMA_TRANS_NOERROR);
	}
	lsi_next(lsi);
	return IRQ_HANDLED;
}

static irqreturn_t lsi_interrupt(int irq, void *data)
{
	struct lsi *lsi = data;
	irqreturn_t ret;

	spin_lock(&lsi->vc.lock);
	ret = lsi_ended(lsi);
	spin_unlock(&lsi->vc.lock);
	return ret;
}

/* ---- dmaengine callbacks ---- */

static int lsi_alloc_chan_resources(struct dma_chan *chan)
{
	struct lsi *lsi = lsi_of(chan);
	int ret = 0;

	spin_lock_irq(&lsi->vc.lock);
	/* Not -ENODEV: dmaengine would unlist the device a second time. */
	if (lsi->gone)
		ret = -ESHUTDOWN;
	else
		lsi->in_use = true;
	spin_unlock_irq(&lsi->vc.lock);
	return ret;
}

static void lsi_free_chan_resources(struct dma_chan *chan)
{
	struct lsi *lsi = lsi_of(chan);

	spin_lock_irq(&lsi->vc.lock);
	lsi_stop(lsi);
	spin_unlock_irq(&lsi->vc.lock);
	vchan_free_chan_resources(&lsi->vc);

	WRITE_ONCE(lsi->in_use, false);
	wake_up(&lsi->unused);
}

static struct dma_async_tx_descriptor *
lsi_prep_memcpy(struct dma_chan *chan, dma_addr_t destination,
		dma_addr_t source, size_t length, unsigned long flags)
{
	struct lsi *lsi = lsi_of(chan);
	struct lsi_desc *desc;

	if (!length || !is_dma_copy_aligned(&lsi->dma, source, destination,
					    length))
		return NULL;
	if (upper_32_bits(source + length - 1) ||
	    upper_32_bits(destination + length - 1))
		return NULL;

	desc = kzalloc(sizeof(*desc), GFP_NOWAIT);
	if (!desc)
		return NULL;
	desc->source = lower_32_bits(source);
	desc->destination = lower_32_bits(destination);
	desc->length = length;
	return vchan_tx_prep(&lsi->vc, &desc->vd, flags);
}

static void lsi_issue_pending(struct dma_chan *chan)
{
	struct lsi *lsi = lsi_of(chan);
	unsigned long flags;

	spin_lock_irqsave(&lsi->vc.lock, flags);
	if (vchan_issue_pending(&lsi->vc))
		lsi_next(lsi);
	spin_unlock_irqrestore(&lsi->vc.lock, flags);
}

static enum dma_status lsi_tx_status(struct dma_chan *chan, dma_cookie_t cookie,
				     struct dma_tx_state *state)
{
	enum dma_status status = dma_cookie_status(chan, cookie, state);
	struct lsi *lsi = lsi_of(chan);
	struct virt_dma_desc *vd;
	unsigned long flags;

	if (status == DMA_COMPLETE)
		return status;

	spin_lock_irqsave(&lsi->vc.lock, flags);
	vd = vchan_find_desc(&lsi->vc, cookie);
	if (vd)
		dma_set_residue(state, lsi_desc_of(vd)->length -
				       lsi_desc_of(vd)->done);
	spin_unlock_irqrestore(&lsi->vc.lock, flags);
	return status;
}

static int lsi_terminate_all(struct dma_chan *chan)
{
	struct lsi *lsi = lsi_of(chan);
	unsigned long flags;
	LIST_HEAD(ended);

	spin_lock_irqsave(&lsi->vc.lock, flags);
	lsi_stop(lsi);
	vchan_get_all_descriptors(&lsi->vc, &ended);
	spin_unlock_irqrestore(&lsi->vc.lock, flags);
	vchan_dma_desc_free_list(&lsi->vc, &ended);
	return 0;
}

static void lsi_synchronize(struct dma_chan *chan)
{
	vchan_synchronize(to_virt_chan(chan));
}

/* ---- The driver ---- */

static void lsi_init_dma(struct lsi *lsi, struct device *dev)
{
	struct dma_device *dma = &lsi->dma;

	dma->dev = dev;
	dma_cap_set(DMA_MEMCPY, dma->cap_mask);
	/* Only for clients that ask for it: a CPU copies faster. */
	dma_cap_set(DMA_PRIVATE, dma->cap_mask);
	dma->copy_align = DMAENGINE_ALIGN_4_BYTES;
	dma->residue_granularity = DMA_RESIDUE_GRANULARITY_SEGMENT;
	dma->device_alloc_chan_resources = lsi_alloc_chan_resources;
	dma->device_free_chan_resources = lsi_free_chan_resources;
	dma->device_prep_dma_memcpy = lsi_prep_memcpy;
	dma->device_issue_pending = lsi_issue_pending;
	dma->device_tx_status = lsi_tx_status;
	dma->device_terminate_all = lsi_terminate_all;
	dma->device_synchronize = lsi_synchronize;

	INIT_LIST_HEAD(&dma->channels);
	lsi->vc.desc_free = lsi_desc_free;
	vchan_init(&lsi->vc, dma);
	init_waitqueue_head(&lsi->unused);
}

static int lsi_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct lsi *lsi;
	int ret;

	lsi = devm_kzalloc(&pdev->dev, sizeof(*lsi), GFP_KERNEL);
	if (!lsi)
		return -ENOMEM;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;

	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(32));
	if (ret)
		return ret;
	dma_set_max_seg_size(&pdev->dev, UINT_MAX);

	lsi->regs = pcim_iomap_region(pdev, LSI_BAR, KBUILD_MODNAME);
	if (IS_ERR(lsi->regs))
		return PTR_ERR(lsi->regs);

	lsi->program = dmam_alloc_coherent(&pdev->dev, LSI_PROGRAM_BYTES,
					   &lsi->program_dma, GFP_KERNEL);
	if (!lsi->program)
		return -ENOMEM;

	lsi_init_dma(lsi, &pdev->dev);
	lsi_reset(lsi);
	pci_set_master(pdev);

	ret = devm_request_irq(&pdev->dev, pdev->irq, lsi_interrupt, IRQF_SHARED,
			       KBUILD_MODNAME, lsi);
	if (ret)
		return ret;

	ret = dma_async_device_register(&lsi->dma);
	if (ret)
		return ret;

	pci_set_drvdata(pdev, lsi);
	return 0;
}

static void lsi_remove(struct pci_dev *pdev)
{
	struct lsi *lsi = pci_get_drvdata(pdev);

	spin_lock_irq(&lsi->vc.lock);
	lsi->gone = true;
	lsi_stop(lsi);
	lsi_next(lsi);
	spin_unlock_irq(&lsi->vc.lock);
	wait_event(lsi->unused, !READ_ONCE(lsi->in_use));
	/* Also waits until dma_release_channel() is done with the channel. */
	dma_async_device_unregister(&lsi->dma);
	tasklet_kill(&lsi->vc.task);
	pci_clear_master(pdev);
}

/* No MODULE_DEVICE_TABLE(): SCSI disks need another driver. */
static const struct pci_device_id lsi_ids[] = {
	{ PCI_VDEVICE(LSI_LOGIC, PCI_DEVICE_ID_LSI_53C895A) },
	{ }
};

static struct pci_driver lsi_driver = {
	.name = KBUILD_MODNAME,
	.id_table = lsi_ids,
	.probe = lsi_probe,
	.remove = lsi_remove,
};
module_pci_driver(lsi_driver);

MODULE_DESCRIPTION("Sample DMA engine: memory moves of LSI 53C895A");
MODULE_LICENSE("GPL");
