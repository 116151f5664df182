/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The commands of lsp2p, and the options that they share.
 */
#ifndef LSP2P_COMMANDS_H
#define LSP2P_COMMANDS_H

#include <stdbool.h>

#include "machine.h"

/* Exit status: of why, file and verify all three, of others the first and the last */
#define EXIT_YES	0
#define EXIT_NO		1
#define EXIT_UNKNOWN	2	/* also for errors */

struct options {
	bool json;
	bool color;
	bool dot;
	const char *from;		/* a file, or NULL for this machine */
	const char *ids;		/* a PCI ID database in place of the system's */
	const char *destructive;	/* the device that verify may write to, or NULL */
	unsigned int width;		/* of a line of text */
};

extern struct options options;

/* @argv: what follows the command's name.  All return the exit status. */
int cmd_list(struct machine *machine, int argc, char **argv);
int cmd_matrix(struct machine *machine, int argc, char **argv);
int cmd_why(struct machine *machine, int argc, char **argv);
int cmd_dump(struct machine *machine, int argc, char **argv);
int cmd_file(struct machine *machine, int argc, char **argv);
int cmd_verify(struct machine *machine, int argc, char **argv);
int cmd_monitor(struct machine *machine, int argc, char **argv);
int cmd_dot(struct machine *machine, int argc, char **argv);	/* --dot */

#endif
