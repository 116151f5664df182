/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reading JSON with types: what dump.c and rdma.c have in common.
 *
 * A getter stores nothing for a key that is absent or null, and that is no error:
 * it isn't known.  False is for what has the wrong type or is out of range, and
 * then the error is written.
 */
#ifndef LSP2P_JSON_READ_H
#define LSP2P_JSON_READ_H

#include <json-c/json.h>

#include "machine.h"

struct json_reader {
	const char *name;	/* of the file */
	char what[48];		/* the device that is read, or "" */
	char *error;
	size_t size;
};

/* Always false */
__attribute__((format(printf, 2, 3)))
bool json_bad(struct json_reader *reader, const char *format, ...);
bool json_get_int(struct json_reader *reader, json_object *from,
		  const char *key, int64_t min, int64_t max, int64_t *value);
bool json_get_bool(struct json_reader *reader, json_object *from,
		   const char *key, bool *value);
/* UNKNOWN is absent. */
bool json_get_answer(struct json_reader *reader, json_object *from,
		     const char *key, enum answer *value);
/* Belongs to @from */
bool json_get_text(struct json_reader *reader, json_object *from,
		   const char *key, const char **value);
/* A copy that is printable() */
bool json_get_string(struct json_reader *reader, json_object *from,
		     const char *key, char **value);
/* An array or an object; NULL if it is absent */
bool json_get(struct json_reader *reader, json_object *from, const char *key,
	      enum json_type type, json_object **value);

/* rdma.c: a machine from the list that "rdma_topo dump" writes, to be completed */
bool machine_from_rdma(struct json_reader *reader, json_object *list,
		       struct machine *machine);

#endif
