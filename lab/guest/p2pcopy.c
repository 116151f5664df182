// SPDX-License-Identifier: GPL-2.0
/*
 * Copies bytes from one block device to another through a buffer that is
 * either peer memory or system memory:
 *
 *	p2pcopy BUFFER SOURCE DESTINATION OFFSET BYTES
 *
 * BUFFER is a provider's p2pmem/allocate file, or "-" for system memory. The
 * bytes come from the beginning of SOURCE and go to OFFSET in DESTINATION.
 * Both are opened with O_DIRECT: the devices themselves fill and empty the
 * buffer, and this program never looks into it.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#define BUFFER_SIZE	(1024 * 1024)

static void *get_buffer(const char *name)
{
	int fd, flags = MAP_SHARED | MAP_ANONYMOUS;
	void *buffer;

	if (name[0] == '-' && !name[1]) {
		fd = -1;
	} else {
		fd = open(name, O_RDWR);
		if (fd < 0)
			err(1, "%s", name);
		flags = MAP_SHARED;
	}

	buffer = mmap(NULL, BUFFER_SIZE, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (buffer == MAP_FAILED)
		err(1, "cannot map %d bytes of %s", BUFFER_SIZE, name);
	return buffer;
}

int main(int argc, char **argv)
{
	const char *source, *destination;
	long long offset, bytes, done;
	int in, out;
	void *buffer;

	if (argc != 6)
		errx(2, "usage: p2pcopy BUFFER SOURCE DESTINATION OFFSET BYTES");

	source = argv[2];
	destination = argv[3];
	offset = atoll(argv[4]);
	bytes = atoll(argv[5]);
	if (bytes <= 0 || bytes % BUFFER_SIZE || offset < 0)
		errx(2, "BYTES must be a multiple of %d", BUFFER_SIZE);

	buffer = get_buffer(argv[1]);
	in = open(source, O_RDONLY | O_DIRECT);
	if (in < 0)
		err(1, "%s", source);
	out = open(destination, O_WRONLY | O_DIRECT);
	if (out < 0)
		err(1, "%s", destination);

	for (done = 0; done < bytes; done += BUFFER_SIZE) {
		ssize_t n = pread(in, buffer, BUFFER_SIZE, done);

		if (n < 0)
			err(1, "reading %s at %lld", source, done);
		if (n != BUFFER_SIZE)
			errx(1, "%s ends at %lld", source, done + n);
		n = pwrite(out, buffer, BUFFER_SIZE, offset + done);
		if (n < 0)
			err(1, "writing %s at %lld", destination, offset + done);
		if (n != BUFFER_SIZE)
			errx(1, "%s ends at %lld", destination, offset + done + n);
	}
	return 0;
}
