/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What lies between a file and PCI functions: layers, each with whether peer memory
 * gets through.
 */
#ifndef LSP2P_STACK_H
#define LSP2P_STACK_H

#include <stdbool.h>

#include "lsp2p.h"

struct json_object;

enum layer_kind {
	LAYER_FILE,
	LAYER_FS,
	LAYER_PARTITION,
	LAYER_DM,
	LAYER_MD,
	LAYER_MULTIPATH,	/* the disk that NVMe multipath shows */
	LAYER_NVME,		/* a namespace, by one controller */
	LAYER_LOOP,
	LAYER_DISK,		/* any other */
	LAYER_PCI,
};

/*
 * @type: file system, dm targets, md level, transport of NVMe or driver; may be ""
 * @passes: does it let peer memory through?
 * @proven: the running kernel shows it; otherwise it is known of its version
 * @from_below: it lets none through only since a layer below it doesn't
 * @why: a sentence, or NULL
 * @fix: what to do if it doesn't pass, or NULL
 * @below, @next: the first layer below it, and the next one below the same layer
 */
struct layer {
	enum layer_kind kind;
	char *name;
	char *type;
	enum answer passes;
	bool proven, from_below;
	const char *why, *fix;
	struct layer *below, *next;
};

/*
 * Both give the layers from @path or a block device's name down, or NULL and one
 * line on stderr.
 */
struct layer *stack_of_path(const struct machine *machine, const char *path);
struct layer *stack_of_block(const struct machine *machine, const char *name);
void stack_free(struct layer *layer);
/* The first layer of this kind, from the top down, or NULL */
const struct layer *stack_find(const struct layer *layer, enum layer_kind kind);

/*
 * Of all layers; @blocker is the first that doesn't let peer memory through, by
 * itself if there is such a one.
 */
enum answer stack_passes(const struct layer *layer,
			 const struct layer **blocker);

/* Name of a block device, given the name or a path, in memory of its own, or NULL */
char *block_named(const char *text);
/* A path below /sys, in memory of its own; for tests, LSP2P_ROOT has another root */
__printf(1, 2) char *sysfs_path(const char *format, ...);
/* The first line of a file, in memory of its own, or NULL */
char *first_line(const char *path);
void json_add_text(struct json_object *object, const char *name,
		   const char *text);

#endif
