// SPDX-License-Identifier: GPL-2.0
/*
 * Text for people: colours, wrapped lines, tables and sizes.  Knows nothing of
 * devices.
 */

#include <assert.h>
#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "lsp2p.h"

enum color answer_color(enum answer answer)
{
	return answer == YES ? GREEN : answer == NO ? RED : MAGENTA;
}

/* Colours that are readable on dark and on light ground */
void paint(enum color color, const char *text)
{
	static const char * const codes[] = {
		[PLAIN] = "", [BOLD] = "1", [GREEN] = "32", [RED] = "31",
		[MAGENTA] = "35",
	};

	if (options.color && color != PLAIN)
		printf("\033[%sm%s\033[0m", codes[color], text);
	else
		fputs(text, stdout);
}

void print_wrapped(unsigned int at, unsigned int indent, const char *format, ...)
{
	char *text, *word, *rest;
	bool first = true;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		err(EXIT_UNKNOWN, NULL);
	va_end(args);

	for (word = strtok_r(text, " ", &rest); word;
	     word = strtok_r(NULL, " ", &rest)) {
		if (!first && at + 1 + strlen(word) > options.width) {
			printf("\n%*s", indent, "");
			at = indent;
		} else if (!first) {
			putchar(' ');
			at++;
		}
		fputs(word, stdout);
		at += strlen(word);
		first = false;
	}
	putchar('\n');
	free(text);
}

char *size_text(uint64_t size, char *text)
{
	static const char units[] = "BKMGTPE";
	unsigned int unit = 0;

	while (size >= 1024 && unit < sizeof(units) - 2 &&
	       (size % 1024 == 0 || size >= 10 * 1024)) {
		size /= 1024;
		unit++;
	}
	snprintf(text, 16, "%u%c", (unsigned int)size, units[unit]);
	return text;
}

#define TABLE_COLUMNS	16

struct table {
	unsigned int columns;
	unsigned int count;
	char **cells;
};

struct table *table_new(unsigned int columns)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		err(EXIT_UNKNOWN, NULL);
	assert(columns <= TABLE_COLUMNS);
	table->columns = columns;
	return table;
}

void table_add(struct table *table, const char *cell)
{
	table->cells = realloc(table->cells,
			       (table->count + 1) * sizeof(*table->cells));
	if (!table->cells)
		err(EXIT_UNKNOWN, NULL);
	table->cells[table->count] = strdup(cell);
	if (!table->cells[table->count++])
		err(EXIT_UNKNOWN, NULL);
}

void table_free(struct table *table)
{
	unsigned int i;

	for (i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
}

void table_print(struct table *table)
{
	unsigned int width[TABLE_COLUMNS] = { 0 }, column, i, at = 0;
	bool used[TABLE_COLUMNS] = { false };

	for (i = 0; i < table->count; i++) {
		column = i % table->columns;
		if (strlen(table->cells[i]) > width[column])
			width[column] = strlen(table->cells[i]);
		if (i >= table->columns && strcmp(table->cells[i], "-"))
			used[column] = true;
	}

	for (i = 0; i < table->count; i++) {
		column = i % table->columns;
		if (column < table->columns - 1) {
			if (!used[column])
				continue;
			printf("%-*s  ", width[column], table->cells[i]);
			at += width[column] + 2;
		} else {
			printf("%.*s\n", at + 8 < options.width ?
			       (int)(options.width - at) : 8, table->cells[i]);
			at = 0;
		}
	}
	table_free(table);
}
