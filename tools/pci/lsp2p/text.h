/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Text files, line by line: what lspci.c and tree.c have in common.
 *
 * A line is copied into a buffer, so that no search goes beyond it; what is longer
 * than the buffer is cut, and no known format has such lines.
 */
#ifndef LSP2P_TEXT_H
#define LSP2P_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_LINE	512

struct text {
	const char *next;	/* what hasn't been read */
	const char *name;	/* of the file */
	unsigned long number;	/* of the line */
	char line[TEXT_LINE];	/* without its end, and without spaces there */
	bool gap;		/* an empty line is before it, or before the end */
	char *error;
	size_t size;
};

void text_start(struct text *text, const char *from, const char *name,
		char *error, size_t size);
/* The next line that isn't empty, comments included; false at the end */
bool text_line(struct text *text);
/* Writes "FILE:LINE: ..."; always false */
__attribute__((format(printf, 2, 3)))
bool text_bad(struct text *text, const char *format, ...);
/* Columns of white space at the line's beginning, and what follows */
unsigned int text_indent(const char *line, const char **rest);
/* Reads [DDDD:]BB:DD.F; returns what follows it, or NULL */
const char *text_address(const char *from, uint32_t *domain, uint8_t *bus,
			 uint8_t *devfn);
/* Reads just this many hex digits; returns what follows them, or NULL */
const char *text_hex(const char *from, unsigned int digits, uint32_t *value);
/* What follows @prefix in @line, or NULL */
const char *text_after(const char *line, const char *prefix);
/*
 * What is somebody else's text goes to a terminal: in place, all but printable
 * ASCII is replaced, since control characters have two bytes in UTF-8, too.
 */
char *printable(char *text);

#endif
