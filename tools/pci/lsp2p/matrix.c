// SPDX-License-Identifier: GPL-2.0
/*
 * lsp2p -m: which devices reach whose memory, a letter for each pair.
 *
 * Rows have the memory, columns do DMA.  Devices have numbers, in the order of
 * addresses, the same in rows and columns.  A letter beside the verdict points to
 * a footnote: all pairs with the same reasons share one.
 */

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "lsp2p.h"

#define CELL	3		/* columns of text for a pair */
#define NOTES	52		/* a to z, A to Z */

struct axis {
	const struct device **devices;
	unsigned int count;
};

/* What pairs with the same footnote share */
struct note {
	unsigned int reason;
	unsigned long long reasons;
	unsigned int missing;		/* kinds of missing facts, a bit each */
	bool blocked;			/* by the IOMMU */
	unsigned int pairs;
	const struct device *owner, *client;	/* the first such pair */
};

struct cell {
	char letter;
	char note;			/* ' ' for none */
	enum answer answer;		/* for the colour */
};

struct matrix {
	struct axis all, rows, columns;
	struct cell *cells;		/* row by row */
	struct note notes[NOTES];
	unsigned int note_count;
	bool more_notes;		/* than there are letters */
};

static bool has(const struct axis *axis, const struct device *device)
{
	unsigned int i;

	for (i = 0; i < axis->count; i++) {
		if (axis->devices[i] == device)
			return true;
	}
	return false;
}

static void add(struct axis *axis, const struct device *device)
{
	if (has(axis, device))
		return;
	axis->devices = realloc(axis->devices,
				(axis->count + 1) * sizeof(*axis->devices));
	if (!axis->devices)
		err(EXIT_UNKNOWN, NULL);
	axis->devices[axis->count++] = device;
}

static unsigned int number(const struct matrix *matrix,
			   const struct device *device)
{
	unsigned int i;

	for (i = 0; matrix->all.devices[i] != device; i++)
		;
	return i + 1;
}

/* Named devices are asked about each other, one by itself about all others. */
static bool choose(struct matrix *matrix, const struct machine *machine,
		   int argc, char **argv)
{
	const struct device *device;
	size_t i;
	int arg;

	for (arg = 0; arg < argc; arg++) {
		device = device_named(machine, argv[arg]);
		if (!device)
			return false;
		add(&matrix->rows, device);
		if (argc > 1)
			add(&matrix->columns, device);
	}
	for (i = 0; i < machine->device_count; i++) {
		device = machine->devices[i];
		if (!argc && may_have_memory(device))
			add(&matrix->rows, device);
		if (argc < 2 && may_do_dma(device))
			add(&matrix->columns, device);
	}
	for (i = 0; i < machine->device_count; i++) {
		device = machine->devices[i];
		if (has(&matrix->rows, device) || has(&matrix->columns, device))
			add(&matrix->all, device);
	}
	return true;
}

static unsigned int missing_kinds(const struct route *route)
{
	unsigned int i, kinds = 0;

	for (i = 0; i < route->missing_count; i++)
		kinds |= 1U << route->missing[i].what;
	return kinds;
}

static char find_note(struct matrix *matrix, const struct route *route)
{
	unsigned int kinds = missing_kinds(route), i;
	struct note *note;

	for (i = 0; i < matrix->note_count; i++) {
		note = &matrix->notes[i];
		if (note->reason == route->answer.reason &&
		    note->reasons == route->answer.reasons &&
		    note->missing == kinds &&
		    note->blocked == route_blocked(route))
			break;
	}
	if (i == NOTES) {
		matrix->more_notes = true;
		return '*';
	}
	note = &matrix->notes[i];
	if (i == matrix->note_count) {
		matrix->note_count++;
		*note = (struct note) {
			.reason = route->answer.reason,
			.reasons = route->answer.reasons,
			.missing = kinds,
			.blocked = route_blocked(route),
			.owner = route->owner,
			.client = route->client,
		};
	}
	note->pairs++;
	return i < 26 ? 'a' + i : 'A' + i - 26;
}

static struct cell judge(struct matrix *matrix, const struct route *route)
{
	struct cell cell = { ' ', ' ', route_answer(route) };

	if (route->owner == route->client) {
		cell.letter = '-';
		return cell;
	}
	if (cell.answer == YES) {
		cell.letter = route->answer.map_type == P2PDMA_ROUTE_BUS_ADDRESS ?
			      'S' : 'H';
		return cell;
	}
	if (route_writes(route) == YES)
		cell.letter = 'w';
	else if (route_reads(route) == YES)
		cell.letter = 'r';
	else
		cell.letter = cell.answer == NO ? '.' : '?';
	cell.note = find_note(matrix, route);
	return cell;
}

static int ask_all(struct matrix *matrix, struct machine *machine)
{
	unsigned int row, column;
	struct route route;
	struct cell *cell;

	matrix->cells = calloc((size_t)matrix->rows.count * matrix->columns.count,
			       sizeof(*matrix->cells));
	if (!matrix->cells)
		return -1;
	cell = matrix->cells;
	for (row = 0; row < matrix->rows.count; row++) {
		for (column = 0; column < matrix->columns.count; column++) {
			if (route_find(machine, matrix->rows.devices[row],
				       matrix->columns.devices[column], &route))
				return -1;
			*cell++ = judge(matrix, &route);
			route_free(&route);
		}
	}
	return 0;
}

/* ---- Text ---- */

static void print_device(const struct matrix *matrix,
			 const struct device *device, unsigned int digits,
			 unsigned int width)
{
	char address[ADDRESS_SIZE];
	int used;

	used = printf("%*u %s", digits, number(matrix, device),
		      device_address(device, address));
	if (*device_node(device))
		used += printf(" %.10s", device_node(device));
	printf("%*s", used < (int)width ? (int)width - used : 1, "");
}

static void print_cell(const struct cell *cell, unsigned int width, bool last)
{
	char text[3] = { cell->letter, cell->note, '\0' };

	if (last && cell->note == ' ')
		text[1] = '\0';

	printf("%*s", (int)width - 2, "");
	if (cell->letter == '-')
		fputs(text, stdout);
	else
		paint(answer_color(cell->answer), text);
}

static void print_block(const struct matrix *matrix, unsigned int first,
			unsigned int last, unsigned int digits,
			unsigned int label, unsigned int width)
{
	unsigned int row, column;

	printf("%*s", label, "");
	for (column = first; column < last; column++)
		printf("%*u%c", width - 1,
		       number(matrix, matrix->columns.devices[column]),
		       column + 1 < last ? ' ' : '\n');
	for (row = 0; row < matrix->rows.count; row++) {
		print_device(matrix, matrix->rows.devices[row], digits, label);
		for (column = first; column < last; column++)
			print_cell(&matrix->cells[row * matrix->columns.count +
						  column], width,
				   column + 1 == last);
		putchar('\n');
	}
}

static void print_legend(const struct matrix *matrix)
{
	static const struct {
		char letter;
		const char *words;
	} legend[] = {
		{ 'S', "reads and writes, directly (below a switch)" },
		{ 'H', "reads and writes, through host bridges" },
		{ 'w', "writes alone" },
		{ 'r', "reads alone" },
		{ '.', "no" },
		{ '?', "unknown" },
		{ '-', "itself" },
	};
	unsigned int i, pairs = matrix->rows.count * matrix->columns.count, pair;
	const char *between = "";

	putchar('\n');
	for (i = 0; i < ARRAY_SIZE(legend); i++) {
		for (pair = 0; pair < pairs; pair++) {
			if (matrix->cells[pair].letter == legend[i].letter)
				break;
		}
		if (pair == pairs)
			continue;
		printf("%s%c %s", between, legend[i].letter, legend[i].words);
		between = "\n";
	}
	putchar('\n');
}

static void print_notes(const struct matrix *matrix)
{
	unsigned int i, j, count, against, reasons[P2PDMA_REASON_MAX];
	char owner[ADDRESS_SIZE], client[ADDRESS_SIZE];
	char text[512];
	size_t used;

	if (matrix->note_count)
		putchar('\n');
	for (i = 0; i < matrix->note_count; i++) {
		const struct note *note = &matrix->notes[i];
		const struct route route = {
			.answer.reason = note->reason,
			.answer.reasons = note->reasons,
		};

		count = reasons_in_order(&route, reasons);
		used = 0;
		text[0] = '\0';
		for (j = 0; j < count && used < sizeof(text); j++)
			used += snprintf(text + used, sizeof(text) - used, "%s%s",
					 j ? ", " : "", reason_slug(reasons[j]));
		against = p2pdma_first_reason(note->reasons);
		if (against == P2PDMA_REASON_MAX)
			against = note->reason;
		printf("%c ", i < 26 ? 'a' + i : 'A' + i - 26);
		print_wrapped(2, 2, "%s: %s%s (%u %s; lsp2p why %s %s)",
			      note->blocked ? "iommu" : text,
			      note->missing ? "facts are missing. " : "",
			      note->blocked ?
			      "The IOMMU blocks all DMA until a driver attaches." :
			      reason_sentence(against), note->pairs,
			      note->pairs == 1 ? "pair" : "pairs",
			      device_address(note->owner, owner),
			      device_address(note->client, client));
	}
	if (matrix->more_notes)
		puts("* other reasons; lsp2p why A B tells");
}

static void print_devices(const struct matrix *matrix, unsigned int digits)
{
	char address[ADDRESS_SIZE];
	unsigned int i, at;

	putchar('\n');
	for (i = 0; i < matrix->all.count; i++) {
		const struct device *device = matrix->all.devices[i];

		at = printf("%*u %s ", digits, i + 1,
			    device_address(device, address));
		if (*device_node(device))
			at += printf("%s: ", device_node(device));
		printf("%.*s\n", at + 8 < options.width ?
		       (int)(options.width - at) : 8, device_title(device));
	}
}

static void print_text(const struct matrix *matrix)
{
	unsigned int digits = matrix->all.count > 99 ? 3 : 2;
	unsigned int width = digits > 2 ? CELL + 1 : CELL;
	unsigned int label = 0, i, first, fit, length;
	char address[ADDRESS_SIZE];

	for (i = 0; i < matrix->rows.count; i++) {
		const struct device *device = matrix->rows.devices[i];

		length = digits + 1 + strlen(device_address(device, address)) +
			 1 + strnlen(device_node(device), 10);
		if (length > label)
			label = length;
	}
	fit = (options.width - label) / width;
	if (!fit)
		fit = 1;

	puts("Rows have the memory, columns do DMA.\n");
	for (first = 0; first < matrix->columns.count; first += fit) {
		if (first)
			putchar('\n');
		print_block(matrix, first, first + fit < matrix->columns.count ?
			    first + fit : matrix->columns.count, digits, label,
			    width);
	}
	print_legend(matrix);
	print_notes(matrix);
	print_devices(matrix, digits);
}

/* ---- JSON ---- */

static int print_json(const struct matrix *matrix, struct machine *machine)
{
	struct json_object *answer = json_answer(machine, "matrix");
	struct json_object *routes = json_array(answer, "routes");
	unsigned int row, column;
	struct route route;

	for (row = 0; row < matrix->rows.count; row++) {
		for (column = 0; column < matrix->columns.count; column++) {
			if (route_find(machine, matrix->rows.devices[row],
				       matrix->columns.devices[column], &route))
				return fail("not enough memory");
			json_append(routes, json_verdict(&route));
			route_free(&route);
		}
	}
	return json_print(answer);
}

int cmd_matrix(struct machine *machine, int argc, char **argv)
{
	struct matrix matrix = { };
	int status = EXIT_UNKNOWN;

	if (!choose(&matrix, machine, argc, argv))
		goto out;
	if (options.json) {
		status = print_json(&matrix, machine);
	} else if (!matrix.rows.count || !matrix.columns.count) {
		print_wrapped(0, 0, "%s, so there is no matrix; lsp2p why A B answers for any two devices.",
			      matrix.rows.count ? "No device does DMA" :
			      "No device has memory for peers, or a BAR for it");
		status = EXIT_YES;
	} else if (ask_all(&matrix, machine)) {
		status = fail("not enough memory");
	} else {
		print_text(&matrix);
		status = EXIT_YES;
	}
out:
	free(matrix.cells);
	free(matrix.all.devices);
	free(matrix.rows.devices);
	free(matrix.columns.devices);
	return status;
}
