/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of lsp2p share: names of devices, words, and
 * ways to print.
 */
#ifndef LSP2P_H
#define LSP2P_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "commands.h"
#include "machine.h"
#include "route.h"
#include "text.h"

#define __printf(format, first) \
	__attribute__((__format__(__printf__, format, first)))
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

struct json_object;

/* ---- lsp2p.c ---- */

/* Prints "lsp2p: ...", one line, and returns EXIT_UNKNOWN */
__printf(1, 2) int fail(const char *format, ...);

/* ---- names.c: devices by name ---- */

#define ADDRESS_SIZE	sizeof("ffffffff:ff:1f.7")

/* NULL if there is none; it has said so then */
const struct device *device_named(const struct machine *machine,
				  const char *name);
/* "0000:03:00.0"; @address has ADDRESS_SIZE bytes, and is returned */
char *device_address(const struct device *device, char *address);
char *address_text(const struct p2pdma_pci_address *at, char *address);
const struct device *device_at(const struct machine *machine,
			       const struct p2pdma_pci_address *at);
/* The next two are of a ring of four, so that a call may print four of each */
const char *device_node(const struct device *device);	/* "nvme0", or "" */
/* "nvme0 (0000:03:00.0)" */
const char *device_label(const struct device *device);
const char *device_title(const struct device *device);	/* by the ID database */
const char *device_kind(const struct device *device);	/* by its class */

/* ---- choose.c: which devices have memory for peers, and which do DMA ---- */

bool may_have_memory(const struct device *device);
bool may_do_dma(const struct device *device);
bool has_memory_bar(const struct device *device);	/* true also if unknown */
/* The largest BAR that memory for peers can be in, or -1 */
int memory_bar(const struct device *device);
uint64_t bar_size(const struct bar *bar);		/* 0 if unknown */
uint64_t bar_size_possible(const struct bar *bar);	/* by resizing; 0 if not */
/* Prefetchable window of the bridge above; false if unknown or there is none */
bool window_above(const struct device *device, uint64_t *size);

/* ---- words.c: facts and verdicts in words ---- */

const char *reason_sentence(unsigned int reason);
const char *reason_advice(unsigned int reason);	/* NULL: none */
const char *port_kind(const struct p2pdma_query_port *port);
void acs_words(const struct p2pdma_query_port *port, char *text, size_t size);
void link_words(const struct p2pdma_query_port *port, char *text, size_t size);
void payload_words(const struct p2pdma_query_port *port, char *text,
		   size_t size);
const char *part_words(const struct p2pdma_query_port *port);
const char *iommu_words(enum iommu iommu);
const char *answer_word(enum answer answer);
/* p2pdma_decide.c; P2PDMA_REASON_MAX if there is no reason */
enum p2pdma_reason p2pdma_first_reason(uint32_t reasons);
/* What isn't known, and the command that would show it */
const char *missing_words(enum missing missing);
const char *missing_command(const struct machine *machine, enum missing missing);
/* The reasons of a route, the one to mend first in front; returns how many */
unsigned int reasons_in_order(const struct route *route,
			      unsigned int reasons[P2PDMA_REASON_MAX]);
/* A kernel parameter that helps on the machine's kernel, to be freed; or NULL */
char *fix_parameter(const struct route *route);
const char *fix_note(const struct route *route);
/* Is the machine's core the one that route_stock() answers for? */
bool has_stock_rules(const struct machine *machine);
/* Does the IOMMU block all DMA of the client? No packet gets anywhere then. */
bool route_blocked(const struct route *route);
/* What a route lets through, with that */
enum answer route_reads(const struct route *route);
enum answer route_writes(const struct route *route);
enum answer route_answer(const struct route *route);	/* both directions */

/* ---- why.c ---- */

/* From argv[1] to memory of argv[0]; false if there is none: it has said so then */
bool route_named(struct machine *machine, char **argv, struct route *route);

/* ---- out.c: text ---- */

enum color { PLAIN, BOLD, GREEN, RED, MAGENTA };

enum color answer_color(enum answer answer);
void paint(enum color color, const char *text);
/* Text in lines of options.width; the first starts at column @at, others at @indent */
__printf(3, 4)
void print_wrapped(unsigned int at, unsigned int indent, const char *format, ...);
/* "64M"; @text has 16 bytes, and is returned */
char *size_text(uint64_t size, char *text);

/*
 * Rows of cells, heads first.  Columns are as wide as needed, and left out where no
 * row has more than "-"; the last one is cut at options.width.
 */
struct table;

struct table *table_new(unsigned int columns);
void table_add(struct table *table, const char *cell);	/* row by row */
void table_print(struct table *table);			/* and frees it */
void table_free(struct table *table);

/* ---- tojson.c ---- */

/* An object with what all answers begin with */
struct json_object *json_answer(const struct machine *machine,
				const char *command);
struct json_object *json_device(const struct device *device);
struct json_object *json_verdict(const struct route *route);	/* in short */
struct json_object *json_route(const struct route *route);	/* with all facts */
struct json_object *json_array(struct json_object *object, const char *key);
void json_append(struct json_object *array, struct json_object *value);
void json_add(struct json_object *object, const char *key,
	      struct json_object *value);
int json_print(struct json_object *answer);		/* and frees it */
int json_list(const struct machine *machine);

#endif
