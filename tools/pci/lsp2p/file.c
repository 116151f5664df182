// SPDX-License-Identifier: GPL-2.0
/*
 * Machines from files: tells the formats apart by how they begin.
 *
 * What the formats mean is the matter of lspci.c, tree.c and dump.c.  A file is
 * read whole, at most 64 MiB of it, which no machine's dump comes near.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine.h"
#include "text.h"

#define MAX_SIZE	(64U << 20)

/* The whole file with a NUL behind it, or NULL */
static char *read_all(int file, size_t *length, const char **wrong)
{
	size_t room = 1 << 16, count = 0;
	char *data = malloc(room + 1), *more;
	ssize_t got;

	while (data) {
		got = read(file, data + count, room - count);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			*wrong = strerror(errno);
			break;
		}
		count += got;
		if (count > MAX_SIZE) {
			*wrong = "it is larger than 64 MiB; no dump of a machine is";
			break;
		}
		if (!got) {
			data[count] = '\0';
			*length = count;
			return data;
		}
		if (count < room)
			continue;
		room *= 2;
		more = realloc(data, room + 1);
		if (!more)
			break;
		data = more;
	}
	free(data);
	return NULL;
}

static char *read_path(const char *path, size_t *length, const char **wrong)
{
	struct stat status;
	char *data;
	int file;

	file = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) :
				   STDIN_FILENO;
	if (file < 0 || fstat(file, &status)) {
		*wrong = strerror(errno);
		return NULL;
	}
	if (S_ISDIR(status.st_mode)) {
		*wrong = "it is a directory; name a file";
		data = NULL;
	} else {
		data = read_all(file, length, wrong);
	}
	if (file != STDIN_FILENO)
		close(file);
	return data;
}

/* Why this can't be text, or NULL */
static const char *not_text(const char *data, size_t length)
{
	if (!length)
		return "it is empty";
	if (length > 2 && !memcmp(data, "\x1f\x8b", 2))
		return "it is compressed; unpack it by gunzip";
	if (length > 6 && (!memcmp(data, "\xfd\x37zXZ", 5) ||
			   !memcmp(data, "BZh", 3) ||
			   !memcmp(data, "\x28\xb5\x2f\xfd", 4)))
		return "it is compressed; unpack it";
	if (length > 2 && (!memcmp(data, "\xff\xfe", 2) ||
			   !memcmp(data, "\xfe\xff", 2)))
		return "it is text in UTF-16; turn it into UTF-8 by iconv";
	if (memchr(data, '\0', length))
		return "it is binary, not a dump";
	return NULL;
}

/* What lines of a tree have behind the address, or what stands for a host bridge */
static bool is_tree_line(const char *line)
{
	const char *rest = line, *at;
	uint8_t bus, devfn;
	uint32_t value;

	if (text_after(line, "host bridge") || text_after(line, "numa "))
		return true;
	text_indent(line, &rest);
	at = text_address(rest, &value, &bus, &devfn);
	if (!at || *at++ != ' ')
		return false;
	at = text_hex(text_after(at, "bridge ") ?: at, 4, &value);
	return at && *at == ':' && text_hex(at + 1, 4, &value);
}

static bool is_lspci_line(const char *line)
{
	uint8_t bus, devfn;
	uint32_t domain;

	line = text_address(line, &domain, &bus, &devfn);
	return line && *line == ' ' && strstr(line, ": ");
}

static struct machine *from_text(const char *data, const char *name,
				 char *error, size_t size)
{
	struct text text;

	text_start(&text, data, name, error, size);
	while (text_line(&text)) {
		if (*text.line == '#')
			continue;
		if (is_tree_line(text.line))
			return machine_from_tree(data, name, error, size);
		if (is_lspci_line(text.line))
			return machine_from_lspci(data, name, error, size);
	}
	snprintf(error, size,
		 "%s: this is no dump of a machine; take one by 'lsp2p dump' or 'lspci -vvv -xxxx', as root",
		 name);
	return NULL;
}

struct machine *machine_from_file(const char *path, char *error, size_t size)
{
	const char *wrong = "no memory", *text, *first, *name;
	struct machine *machine;
	size_t length = 0;
	char *data;

	name = strcmp(path, "-") ? path : "standard input";
	data = read_path(path, &length, &wrong);
	if (!data) {
		snprintf(error, size, "%s: %s", name, wrong);
		return NULL;
	}
	wrong = not_text(data, length);
	if (wrong) {
		snprintf(error, size, "%s: %s", name, wrong);
		free(data);
		return NULL;
	}
	text = text_after(data, "\xef\xbb\xbf") ?: data;	/* UTF-8's mark */
	first = text + strspn(text, " \t\r\n");
	if (!*first) {
		snprintf(error, size, "%s: there is nothing in it", name);
		machine = NULL;
	} else if (*first == '{' || *first == '[') {
		machine = machine_from_json(text, name, error, size);
	} else {
		machine = from_text(text, name, error, size);
	}
	free(data);
	/* What is quoted from a file mustn't end the line, or control the terminal. */
	if (!machine)
		printable(error);
	return machine;
}
