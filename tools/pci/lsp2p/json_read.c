// SPDX-License-Identifier: GPL-2.0
/*
 * Reading JSON with types.
 *
 * What keys mean is dump.c's and rdma.c's matter.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_read.h"
#include "text.h"

bool json_bad(struct json_reader *reader, const char *format, ...)
{
	va_list list;
	int length;

	length = snprintf(reader->error, reader->size, "%s: %s%s", reader->name,
			  reader->what, *reader->what ? ": " : "");
	if (length < 0 || (size_t)length >= reader->size)
		return false;
	va_start(list, format);
	vsnprintf(reader->error + length, reader->size - length, format, list);
	va_end(list);
	return false;
}

bool json_get(struct json_reader *reader, json_object *from, const char *key,
	      enum json_type type, json_object **value)
{
	*value = NULL;
	if (!json_object_object_get_ex(from, key, value) || !*value)
		return true;
	if (json_object_is_type(*value, type))
		return true;
	return json_bad(reader, "'%s' has to be of type %s, and is of type %s",
			key, json_type_to_name(type),
			json_type_to_name(json_object_get_type(*value)));
}

bool json_get_int(struct json_reader *reader, json_object *from,
		  const char *key, int64_t min, int64_t max, int64_t *value)
{
	json_object *found;
	int64_t number;

	if (!json_get(reader, from, key, json_type_int, &found))
		return false;
	if (!found)
		return true;
	number = json_object_get_int64(found);
	if (number < min || number > max)
		return json_bad(reader, "'%s' is out of range", key);
	*value = number;
	return true;
}

bool json_get_bool(struct json_reader *reader, json_object *from,
		   const char *key, bool *value)
{
	json_object *found;

	if (!json_get(reader, from, key, json_type_boolean, &found))
		return false;
	if (found)
		*value = json_object_get_boolean(found);
	return true;
}

bool json_get_answer(struct json_reader *reader, json_object *from,
		     const char *key, enum answer *value)
{
	json_object *found;

	if (!json_get(reader, from, key, json_type_boolean, &found))
		return false;
	if (found)
		*value = json_object_get_boolean(found) ? YES : NO;
	return true;
}

bool json_get_text(struct json_reader *reader, json_object *from,
		   const char *key, const char **value)
{
	json_object *found;

	if (!json_get(reader, from, key, json_type_string, &found))
		return false;
	if (found)
		*value = json_object_get_string(found);
	return true;
}

bool json_get_string(struct json_reader *reader, json_object *from,
		     const char *key, char **value)
{
	const char *text = NULL;

	if (!json_get_text(reader, from, key, &text))
		return false;
	if (!text)
		return true;
	*value = strdup(text);
	if (!*value)
		return json_bad(reader, "no memory");
	printable(*value);
	return true;
}
