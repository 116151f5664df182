/* SPDX-License-Identifier: GPL-2.0 */
/*
 * PCI peer-to-peer DMA: tracepoints.
 *
 * See Documentation/driver-api/pci/p2pdma.rst, "Asking".  Names of reasons are those
 * of p2pdma_reason_name().
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM p2pdma

#if !defined(_TRACE_P2PDMA_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_P2PDMA_H

#include <linux/p2pdma.h>
#include <linux/tracepoint.h>
#include <linux/types.h>

struct device;
struct p2pdma_bar;
struct p2pdma_region;
struct p2pdma_verdict;
struct pci_dev;

/* A device registers memory for the first time, or its driver leaves */
TRACE_EVENT(p2pdma_owner,
	TP_PROTO(struct pci_dev *owner, bool comes),
	TP_ARGS(owner, comes),

	TP_STRUCT__entry(
		__string(owner, pci_name(owner))
		__field(bool, comes)
	),
	TP_fast_assign(
		__assign_str(owner);
		__entry->comes = comes;
	),
	TP_printk("%s %s", __get_str(owner), __entry->comes ? "comes" : "goes")
);

/* Memory of the pool: for kernel users, programs and buffers */
DECLARE_EVENT_CLASS(p2pdma_memory,
	TP_PROTO(struct p2pdma_region *region, void *addr, size_t size),
	TP_ARGS(region, addr, size),

	TP_STRUCT__entry(
		__string(owner, pci_name(region->bar->p2pdma->pdev))
		__field(u64, phys)
		__field(u64, size)
	),
	TP_fast_assign(
		__assign_str(owner);
		__entry->phys = region->pgmap.range.start + (addr - region->start);
		__entry->size = size;
	),
	TP_printk("%s phys=%#llx size=%llu", __get_str(owner), __entry->phys,
		  __entry->size)
);

DEFINE_EVENT(p2pdma_memory, p2pdma_allocate,
	TP_PROTO(struct p2pdma_region *region, void *addr, size_t size),
	TP_ARGS(region, addr, size)
);

DEFINE_EVENT(p2pdma_memory, p2pdma_free,
	TP_PROTO(struct p2pdma_region *region, void *addr, size_t size),
	TP_ARGS(region, addr, size)
);

/* These are values of enum pci_p2pdma_map_type, whose names a format can't have. */
#define p2pdma_show_map_type(type)					\
	__print_symbolic(type, { 1, "none" }, { 2, "bus-address" },	\
			 { 3, "host-bridge" })
#define p2pdma_show_directions(directions)				\
	__print_symbolic(directions, { 0, "none" }, { 1, "read" },	\
			 { 2, "write" }, { 3, "both" })

/*
 * A part of a BAR gets DMA addresses; of a scatterlist, the region that a run of
 * its segments belongs to
 */
TRACE_EVENT(p2pdma_map,
	TP_PROTO(const struct p2pdma_bar *bar, struct device *client, u64 phys,
		 u64 size, unsigned int map_type),
	TP_ARGS(bar, client, phys, size, map_type),

	TP_STRUCT__entry(
		__string(owner, pci_name(bar->p2pdma->pdev))
		__string(client, dev_name(client))
		__field(u64, phys)
		__field(u64, size)
		__field(unsigned int, map_type)
	),
	TP_fast_assign(
		__assign_str(owner);
		__assign_str(client);
		__entry->phys = phys;
		__entry->size = size;
		__entry->map_type = map_type;
	),
	TP_printk("owner=%s client=%s phys=%#llx size=%llu by=%s",
		  __get_str(owner), __get_str(client), __entry->phys,
		  __entry->size, p2pdma_show_map_type(__entry->map_type))
);

/*
 * A part of a BAR isn't mapped, or couldn't be if that was tried; of several reasons
 * the one to mend first
 */
TRACE_EVENT(p2pdma_refuse,
	TP_PROTO(const struct p2pdma_bar *bar, struct device *client,
		 unsigned int tlp, unsigned int needs,
		 enum p2pdma_reason reason),
	TP_ARGS(bar, client, tlp, needs, reason),

	TP_STRUCT__entry(
		__string(owner, pci_name(bar->p2pdma->pdev))
		__string(client, dev_name(client))
		__string(reason, p2pdma_reason_name(reason))
		__field(unsigned int, tlp)
		__field(unsigned int, needs)
	),
	TP_fast_assign(
		__assign_str(owner);
		__assign_str(client);
		__assign_str(reason);
		__entry->tlp = tlp;
		__entry->needs = needs;
	),
	TP_printk("owner=%s client=%s tlp=%u needs=%s reason=%s",
		  __get_str(owner), __get_str(client), __entry->tlp,
		  p2pdma_show_directions(__entry->needs), __get_str(reason))
);

/* A route is judged, since the cache has no valid verdict on it */
TRACE_EVENT(p2pdma_verdict,
	TP_PROTO(struct pci_dev *owner, struct device *client, unsigned int tlp,
		 const struct p2pdma_verdict *verdict, u32 against),
	TP_ARGS(owner, client, tlp, verdict, against),

	TP_STRUCT__entry(
		__string(owner, pci_name(owner))
		__string(client, dev_name(client))
		__string(reason, p2pdma_reason_name(verdict->reason))
		__field(unsigned int, tlp)
		__field(unsigned int, map_type)
		__field(unsigned int, directions)
		__field(u32, distance)
		__field(u32, against)
	),
	TP_fast_assign(
		__assign_str(owner);
		__assign_str(client);
		__assign_str(reason);
		__entry->tlp = tlp;
		__entry->map_type = verdict->map_type;
		__entry->directions = verdict->directions;
		__entry->distance = verdict->distance;
		__entry->against = against;
	),
	TP_printk("owner=%s client=%s tlp=%u by=%s directions=%s reason=%s distance=%#x against=%#x",
		  __get_str(owner), __get_str(client), __entry->tlp,
		  p2pdma_show_map_type(__entry->map_type),
		  p2pdma_show_directions(__entry->directions),
		  __get_str(reason), __entry->distance, __entry->against)
);

#endif /* _TRACE_P2PDMA_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
