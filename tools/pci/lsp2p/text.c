// SPDX-License-Identifier: GPL-2.0
/*
 * Text files, line by line.
 *
 * Knows lines, white space, hex digits, PCI addresses and what can be printed; what
 * lines mean is lspci.c's and tree.c's matter.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

void text_start(struct text *text, const char *from, const char *name,
		char *error, size_t size)
{
	*text = (struct text) {
		.next = from,
		.name = name,
		.error = error,
		.size = size,
	};
}

bool text_line(struct text *text)
{
	const char *end;
	size_t length;

	text->gap = false;
	while (*text->next) {
		end = strchr(text->next, '\n') ?: strchr(text->next, '\0');
		length = end - text->next;
		if (length >= sizeof(text->line))
			length = sizeof(text->line) - 1;
		memcpy(text->line, text->next, length);
		text->next = *end ? end + 1 : end;
		text->number++;
		while (length && isspace((unsigned char)text->line[length - 1]))
			length--;
		text->line[length] = '\0';
		if (length)
			return true;
		/* Spaces without an end may be the rest of a line. */
		text->gap = *end;
	}
	return false;
}

bool text_bad(struct text *text, const char *format, ...)
{
	va_list list;
	int length;

	length = snprintf(text->error, text->size, "%s:%lu: ", text->name,
			  text->number);
	if (length < 0 || (size_t)length >= text->size)
		return false;
	va_start(list, format);
	vsnprintf(text->error + length, text->size - length, format, list);
	va_end(list);
	return false;
}

unsigned int text_indent(const char *line, const char **rest)
{
	unsigned int columns = 0;

	for (; *line == ' ' || *line == '\t'; line++)
		columns = *line == '\t' ? (columns / 8 + 1) * 8 : columns + 1;
	*rest = line;
	return columns;
}

const char *text_hex(const char *from, unsigned int digits, uint32_t *value)
{
	*value = 0;
	for (; digits; digits--, from++) {
		if (!isxdigit((unsigned char)*from))
			return NULL;
		*value = *value << 4 |
			 (isdigit((unsigned char)*from) ? *from - '0' :
			  tolower((unsigned char)*from) - 'a' + 10);
	}
	return from;
}

const char *text_address(const char *from, uint32_t *domain, uint8_t *bus,
			 uint8_t *devfn)
{
	uint32_t parts[3];
	unsigned int digits = 0;
	const char *at;

	while (isxdigit((unsigned char)from[digits]))
		digits++;
	*domain = 0;
	if (digits >= 4 && digits <= 8 && from[digits] == ':') {
		text_hex(from, digits, domain);
		from += digits + 1;
	}
	at = text_hex(from, 2, &parts[0]);
	if (!at || *at != ':')
		return NULL;
	at = text_hex(at + 1, 2, &parts[1]);
	if (!at || *at != '.' || parts[1] > 31)
		return NULL;
	at = text_hex(at + 1, 1, &parts[2]);
	if (!at || parts[2] > 7)
		return NULL;
	*bus = parts[0];
	*devfn = parts[1] << 3 | parts[2];
	return at;
}

char *printable(char *text)
{
	char *c;

	for (c = text; *c; c++) {
		if (!isprint((unsigned char)*c))
			*c = '?';
	}
	return text;
}

const char *text_after(const char *line, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(line, prefix, length) ? NULL : line + length;
}
