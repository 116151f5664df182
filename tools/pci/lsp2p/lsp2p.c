// SPDX-License-Identifier: GPL-2.0
/*
 * lsp2p: can one PCI device reach the memory of another one, and if not, why?
 *
 * This file reads the command line, has the machine read, and calls a command.
 */

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lsp2p.h"

#ifndef VERSION
#define VERSION "1"
#endif

struct options options = { .width = 80 };

struct command {
	const char *name;
	const char *arguments;		/* as in the manual */
	const char *summary;
	unsigned int min, max;		/* number of arguments */
	bool live;			/* only of this machine */
	bool dot, json;			/* can print these */
	int (*run)(struct machine *machine, int argc, char **argv);
};

static const struct command commands[] = {
	{ "list", "", "which devices have memory for peers, or could have it",
	  0, 0, false, false, true, cmd_list },
	{ "matrix", "[DEVICE...]", "which devices reach whose memory; the same as -m",
	  0, UINT_MAX, false, false, true, cmd_matrix },
	{ "why", "A B", "does B reach memory of A, and if not, why",
	  2, 2, false, true, true, cmd_why },
	{ "file", "PATH", "what of a file's disks takes peer memory",
	  1, 1, true, false, true, cmd_file },
	{ "verify", "A B", "read the disk B into memory of A, and compare",
	  2, 2, true, false, true, cmd_verify },
	{ "monitor", "", "what comes, goes and changes",
	  0, 0, true, false, true, cmd_monitor },
	{ "dump", "", "everything that the answers rest on, for a bug report",
	  0, 0, false, false, false, cmd_dump },
};

int fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("lsp2p: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return EXIT_UNKNOWN;
}

static void print_help(void)
{
	unsigned int i;
	int used;

	puts("Usage: lsp2p [OPTION...] [COMMAND [ARGUMENT...]]\n"
	     "Tells which PCI devices reach each other's memory, and if not, why.\n");
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		used = printf("  %s %s", commands[i].name, commands[i].arguments);
		printf("%*s%s\n", used < 24 ? 24 - used : 1, "",
		       commands[i].summary);
	}
	puts("\n"
	     "Without a command: list. A device is named by its address (03:00.0,\n"
	     "0000:03:00.0), by a file (/dev/nvme0n1) or by a name in /sys/class (nvme0,\n"
	     "card0, enp1s0, mlx5_0).\n"
	     "\n"
	     "  --from FILE           of a saved machine: lsp2p dump, lspci -vvv -xxxx, or an\n"
	     "                        rdma_topo dump\n"
	     "  -m, --matrix          the command matrix\n"
	     "  --json                for programs; lsp2p.schema.json describes it\n"
	     "  --dot                 for Graphviz: the fabric, or a route (with why)\n"
	     "  --destructive DEVICE  verify: also write to this device, which must be B\n"
	     "  --color WHEN          always, never or auto (the default)\n"
	     "  -i, --ids FILE        the PCI ID database\n"
	     "  -h, --help\n"
	     "  -V, --version\n"
	     "\n"
	     "Exit status of why, file and verify: 0 yes, 1 no, 2 unknown or error; of\n"
	     "others: 0, or 2 for an error. See lsp2p(8).");
}

static bool set_color(const char *when)
{
	const char *no = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	if (!strcmp(when, "always"))
		options.color = true;
	else if (!strcmp(when, "never"))
		options.color = false;
	else if (!strcmp(when, "auto"))
		options.color = isatty(STDOUT_FILENO) && !(no && *no) &&
				!(term && !strcmp(term, "dumb"));
	else
		return false;
	return true;
}

static void set_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;

	if (columns && atoi(columns) >= 40)
		options.width = atoi(columns);
	else if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col >= 40)
		options.width = size.ws_col;
}

static const struct command *find_command(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	}
	return NULL;
}

int cmd_dump(struct machine *machine, int argc, char **argv)
{
	return machine_dump(machine, "-") ? fail("standard output: %m") : EXIT_YES;
}

static int run(const struct command *command, int argc, char **argv)
{
	const char *root = getenv("LSP2P_ROOT");
	struct machine *machine;
	char error[512] = "";
	int status;

	if (options.from)
		machine = machine_from_file(options.from, error, sizeof(error));
	else if (root)
		machine = machine_from_root(root, error, sizeof(error));
	else
		machine = machine_from_sysfs(error, sizeof(error));
	if (!machine)
		return fail("%s", error);

	if (options.dot)
		status = cmd_dot(machine, argc, argv);
	else
		status = command->run(machine, argc, argv);
	machine_free(machine);
	return status;
}

/* @status, unless what was printed is lost */
static int finish(int status)
{
	if (fflush(stdout) || ferror(stdout)) {
		warn("standard output");
		return EXIT_UNKNOWN;
	}
	return status;
}

enum { FROM = 256, JSON, DOT, COLOR, DESTRUCTIVE };

static const struct option known[] = {
	{ "from", required_argument, NULL, FROM },
	{ "matrix", no_argument, NULL, 'm' },
	{ "json", no_argument, NULL, JSON },
	{ "dot", no_argument, NULL, DOT },
	{ "color", required_argument, NULL, COLOR },
	{ "destructive", required_argument, NULL, DESTRUCTIVE },
	{ "ids", required_argument, NULL, 'i' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ }
};

/* Says what is wrong with an option that getopt_long() gave '?' for */
static int bad_option(const char *word)
{
	size_t length = strcspn(word, "=");
	const struct option *option;
	unsigned int alike = 0;

	for (option = known; option->name; option++) {
		if (optopt && optopt == option->val)
			return fail("--%s: takes no argument", option->name);
		if (length > 2 && !strncmp(option->name, word + 2, length - 2))
			alike++;
	}
	/* Of several letters in a word, the one that is wrong */
	if (optopt)
		return fail("-%c: no such option; see lsp2p --help", optopt);
	return fail("%s: %s; see lsp2p --help", word,
		    alike > 1 ? "may be one of several options" :
				"no such option");
}

int main(int argc, char **argv)
{
	const struct command *command;
	const char *name = NULL;
	unsigned int count;
	int option;

	set_color("auto");
	set_width();
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":mi:hV", known, NULL)) != -1) {
		switch (option) {
		case FROM:
			options.from = optarg;
			break;
		case 'm':
			name = "matrix";
			break;
		case JSON:
			options.json = true;
			break;
		case DOT:
			options.dot = true;
			break;
		case COLOR:
			if (!set_color(optarg))
				return fail("--color %s: must be always, never or auto",
					    optarg);
			break;
		case DESTRUCTIVE:
			options.destructive = optarg;
			break;
		case 'i':
			options.ids = optarg;
			break;
		case 'h':
			print_help();
			return finish(EXIT_YES);
		case 'V':
			puts("lsp2p " VERSION);
			return finish(EXIT_YES);
		case ':':
			return fail("%s: needs an argument; see lsp2p --help",
				    argv[optind - 1]);
		default:
			return bad_option(argv[optind - 1]);
		}
	}

	if (!name)
		name = optind < argc ? argv[optind++] : "list";
	command = find_command(name);
	if (!command)
		return fail("%s: no such command; see lsp2p --help", name);
	count = argc - optind;
	if (count < command->min || count > command->max)
		return fail("%s: %s; usage: lsp2p %s %s", name,
			    count < command->min ? "something is missing" :
						   "that is too much",
			    name, command->arguments);
	if (options.from && !*options.from)
		return fail("--from: the name of the file is empty");
	if (command->live && options.from)
		return fail("%s: works on this machine alone; leave out --from",
			    name);
	if (options.json && options.dot)
		return fail("--dot: not together with --json");
	if (options.json && !command->json)
		return fail("%s: has no --json; what it prints is JSON of its own",
			    name);
	/* Without a command, --dot draws the whole fabric. */
	if (options.dot && !command->dot && strcmp(name, "list"))
		return fail("%s: has no --dot; lsp2p --dot and lsp2p --dot why A B have",
			    name);
	if (options.destructive && strcmp(name, "verify"))
		return fail("--destructive: is for verify alone");
	if (options.ids && access(options.ids, R_OK))
		return fail("%s: %s", options.ids, strerror(errno));

	return finish(run(command, count, argv + optind));
}
