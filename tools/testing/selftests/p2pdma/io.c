// SPDX-License-Identifier: GPL-2.0
/*
 * O_DIRECT I/O between NVMe disks and peer memory: by read and write, vectors,
 * libaio and io_uring, on the bare disk and on ext4. Data is always compared
 * through system memory, at the other end of the transfer. Where the lab traces
 * DMA from outside, it is asked which addresses the controllers got. Where
 * devices can't reach each other, I/O must be refused and nothing written.
 *
 * Writes to the disks in P2PDMA_SCRATCH and to no other.
 */
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <liburing.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "../kselftest_harness.h"
#include "p2pdma_util.h"

#define KiB		1024UL
#define BUFFER		(6 * MiB)	/* peer and system memory of a test */
#define LARGEST		(4 * MiB)
#define SECTOR		512UL
#define DISK_OFFSET	(1 * MiB)	/* where tests write */
#define QUEUE		16
#define LAST_ROUND	100		/* of a race that must happen by then */

static const char *bdf;

/* What all tests have: a provider, a disk, a buffer of each kind. */
struct setup {
	struct disks disks;
	int fd;				/* of the first disk, O_DIRECT */
	char *peer;
	char *system;
	long long available;		/* before peer was mapped */
};

/* NULL, or why not. */
static const char *set_up(struct setup *s)
{
	bdf = provider();
	if (!bdf)
		return "no device with published peer memory";
	scratch_disks(&s->disks);
	if (!s->disks.nr)
		return "no disk in P2PDMA_SCRATCH";
	if (getuid())
		return "needs root";
	s->available = p2pmem_number(bdf, "available");
	if (s->available < (long long)(2 * BUFFER))
		return "less than 12 MiB of peer memory available";

	/* The tests check these. */
	s->fd = open_direct(s->disks.path[0]);
	s->peer = p2pmem_map(bdf, BUFFER);
	s->system = system_map(BUFFER);
	return NULL;
}

FIXTURE(direct)
{
	struct setup s;
};

FIXTURE_SETUP(direct)
{
	const char *missing = set_up(&self->s);

	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_LE(0, self->s.fd) TH_LOG("%s", self->s.disks.path[0]);
	ASSERT_NE(MAP_FAILED, (void *)self->s.peer);
	if (!*expected_route() || is_refused())
		SKIP(return, "P2PDMA_ROUTE names no route");
}

FIXTURE_TEARDOWN(direct)
{
	munmap(self->s.peer, BUFFER);
	close(self->s.fd);
	EXPECT_EQ(self->s.available, p2pmem_number(bdf, "available"));
}

/*
 * What a transfer of @length bytes at @offset into the peer buffer and at @pos
 * of the disk did wrong, or NULL. A sector on either side must stay as it was.
 */
static const char *write_from_peer(struct setup *s, size_t length,
				   size_t offset, off_t pos, __u64 seed)
{
	size_t around = length + 2 * SECTOR;

	fill(s->system, around, ~seed);
	if (pwrite(s->fd, s->system, around, pos - SECTOR) !=
	    (ssize_t)around)
		return "system memory isn't written";

	fill(s->peer + offset, length, seed);
	errno = 0;
	if (pwrite(s->fd, s->peer + offset, length, pos) !=
	    (ssize_t)length)
		return "peer memory isn't written";

	clear(s->system, around);
	if (pread(s->fd, s->system, around, pos - SECTOR) !=
	    (ssize_t)around)
		return "system memory isn't read";
	if (first_wrong(s->system + SECTOR, length, seed) != -1)
		return "the disk has other data";

	/* Both have the same words around the middle if no more was written. */
	memset(s->system + SECTOR, 0, length);
	fill(s->peer, around, ~seed);
	if (memcmp(s->system, s->peer, SECTOR) ||
	    memcmp(s->system + SECTOR + length, s->peer + SECTOR + length,
		   SECTOR))
		return "sectors around were written";
	return NULL;
}

static const char *read_to_peer(struct setup *s, size_t length,
				size_t offset, off_t pos, __u64 seed)
{
	size_t before = offset < SECTOR ? offset : SECTOR;

	fill(s->system, length, seed);
	if (pwrite(s->fd, s->system, length, pos) != (ssize_t)length)
		return "system memory isn't written";

	clear(s->peer + offset - before, before + length + SECTOR);
	errno = 0;
	if (pread(s->fd, s->peer + offset, length, pos) !=
	    (ssize_t)length)
		return "peer memory isn't read";
	if (first_wrong(s->peer + offset, length, seed) != -1)
		return "peer memory has other data";
	if (first_nonzero(s->peer + offset - before, before) != -1 ||
	    first_nonzero(s->peer + offset + length, SECTOR) != -1)
		return "memory around was written";
	return NULL;
}

static const size_t sizes[] = {
	512, 1024, 1536, 3584, 4 * KiB, 4608, 8 * KiB, 12800, 64 * KiB,
	65 * KiB + 512, 128 * KiB, 512 * KiB - 512, 1 * MiB + 512, LARGEST,
};

/* Within the first page, across its end, and some pages further */
static const size_t offsets[] = {
	0, 512, 2048, 3584, 3 * 4096 + 1024,
};

TEST_F_TIMEOUT(direct, sizes_and_offsets, 900)
{
	const char *wrong;
	size_t i, j, seed = 0;
	off_t pos;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (j = 0; j < ARRAY_SIZE(offsets); j++) {
			/* For large sizes, two offsets are enough. */
			if (sizes[i] > 128 * KiB && offsets[j] > 512)
				continue;
			pos = DISK_OFFSET + (seed % 9) * SECTOR;
			seed++;
			wrong = write_from_peer(&self->s, sizes[i], offsets[j], pos,
						seed);
			ASSERT_EQ(NULL, wrong)
				TH_LOG("write %zu bytes at %zu: %s (%m)",
				       sizes[i], offsets[j], wrong);
			wrong = read_to_peer(&self->s, sizes[i], offsets[j], pos,
					     seed);
			ASSERT_EQ(NULL, wrong)
				TH_LOG("read %zu bytes at %zu: %s (%m)",
				       sizes[i], offsets[j], wrong);
		}
	}
}

TEST_F(direct, every_disk)
{
	const char *wrong;
	int i;

	for (i = 0; i < self->s.disks.nr; i++) {
		self->s.fd = open_direct(self->s.disks.path[i]);
		ASSERT_LE(0, self->s.fd);
		wrong = write_from_peer(&self->s, 256 * KiB, 0, DISK_OFFSET, i);
		EXPECT_EQ(NULL, wrong)
			TH_LOG("%s: %s (%m)", self->s.disks.path[i], wrong);
		wrong = read_to_peer(&self->s, 256 * KiB, 0, DISK_OFFSET, i);
		EXPECT_EQ(NULL, wrong)
			TH_LOG("%s: %s (%m)", self->s.disks.path[i], wrong);
		close(self->s.fd);
	}
}

/* Pieces of a vector, in turn from peer and from system memory. */
#define PIECES 8

static size_t mixed_vector(struct setup *s, const size_t *length,
			   struct iovec iov[PIECES])
{
	size_t at = 0, total = 0;
	int i;

	for (i = 0; i < PIECES; i++) {
		iov[i].iov_base = (i % 2 ? s->system : s->peer) + at;
		iov[i].iov_len = length[i];
		at += 64 * KiB;
		total += length[i];
	}
	return total;
}

TEST_F(direct, mixed_vectors)
{
	static const size_t lengths[][PIECES] = {
		{ 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096 },
		{ 4096, 8192, 12288, 4096, 65536, 4096, 8192, 16384 },
		{ 512, 512, 1024, 512, 512, 3584, 512, 1024 },
		{ 4096, 512, 512, 4096, 8192, 1536, 4608, 512 },
	};
	char *whole = system_map(1 * MiB), *at;
	struct iovec iov[PIECES];
	size_t i, total;
	int j;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		total = mixed_vector(&self->s, lengths[i], iov);
		for (j = 0; j < PIECES; j++)
			fill(iov[j].iov_base, iov[j].iov_len, i * PIECES + j);
		ASSERT_EQ((ssize_t)total,
			  pwritev(self->s.fd, iov, PIECES, DISK_OFFSET))
			TH_LOG("vector %zu: %m", i);
		clear(whole, total);
		ASSERT_EQ((ssize_t)total,
			  pread(self->s.fd, whole, total, DISK_OFFSET));
		for (j = 0, at = whole; j < PIECES; at += iov[j++].iov_len) {
			EXPECT_EQ(-1, first_wrong(at, iov[j].iov_len,
						  i * PIECES + j))
				TH_LOG("written: vector %zu, piece %d", i, j);
		}

		for (j = 0; j < PIECES; j++)
			clear(iov[j].iov_base, iov[j].iov_len);
		ASSERT_EQ((ssize_t)total,
			  preadv(self->s.fd, iov, PIECES, DISK_OFFSET))
			TH_LOG("vector %zu: %m", i);
		for (j = 0; j < PIECES; j++) {
			EXPECT_EQ(-1, first_wrong(iov[j].iov_base,
						  iov[j].iov_len,
						  i * PIECES + j))
				TH_LOG("read: vector %zu, piece %d", i, j);
		}
	}
	munmap(whole, 1 * MiB);
}

/* A queue of requests, each with a piece of peer memory of its own. */
#define PIECE	(64 * KiB)

static off_t piece_pos(int i)
{
	/* In another order on the disk than in memory. */
	return DISK_OFFSET + (i * 5 % QUEUE) * PIECE;
}

static int aio_all(struct setup *s, bool write)
{
	struct iocb iocbs[QUEUE], *list[QUEUE];
	struct io_event event[QUEUE];
	io_context_t ctx = NULL;
	int i, error;

	error = io_setup(QUEUE, &ctx);
	if (error)
		return error;

	for (i = 0; i < QUEUE; i++) {
		list[i] = &iocbs[i];
		if (write)
			io_prep_pwrite(list[i], s->fd,
				       s->peer + i * PIECE, PIECE,
				       piece_pos(i));
		else
			io_prep_pread(list[i], s->fd,
				      s->peer + i * PIECE, PIECE,
				      piece_pos(i));
	}
	error = io_submit(ctx, QUEUE, list);
	if (error == QUEUE)
		error = io_getevents(ctx, QUEUE, QUEUE, event, NULL);
	for (i = 0; i < error; i++)
		if (event[i].res != PIECE)
			error = -EIO;
	io_destroy(ctx);
	return error == QUEUE ? 0 : error < 0 ? error : -EIO;
}

static int uring_submit(struct io_uring *ring, int fd, char *buffer, bool write)
{
	struct io_uring_sqe *sqe;
	int i;

	for (i = 0; i < QUEUE; i++) {
		sqe = io_uring_get_sqe(ring);
		if (write)
			io_uring_prep_write(sqe, fd, buffer + i * PIECE, PIECE,
					    piece_pos(i));
		else
			io_uring_prep_read(sqe, fd, buffer + i * PIECE, PIECE,
					   piece_pos(i));
	}
	return io_uring_submit(ring) == QUEUE ? 0 : -EIO;
}

static int uring_wait(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int i, error = 0;

	for (i = 0; i < QUEUE; i++) {
		if (io_uring_wait_cqe(ring, &cqe))
			return -EIO;
		if (cqe->res != PIECE)
			error = cqe->res < 0 ? cqe->res : -EIO;
		io_uring_cqe_seen(ring, cqe);
	}
	return error;
}

static int uring_all(struct setup *s, bool write)
{
	struct io_uring ring;
	int error;

	error = io_uring_queue_init(QUEUE, &ring, 0);
	if (error)
		return error;
	error = uring_submit(&ring, s->fd, s->peer, write);
	if (!error)
		error = uring_wait(&ring);
	io_uring_queue_exit(&ring);
	return error;
}

static void test_queue(struct __test_metadata *_metadata,
		       struct setup *s,
		       int (*all)(struct setup *s, bool write))
{
	int i;

	for (i = 0; i < QUEUE; i++)
		fill(s->peer + i * PIECE, PIECE, 100 + i);
	ASSERT_EQ(0, all(s, true));
	clear(s->system, QUEUE * PIECE);
	ASSERT_EQ((ssize_t)(QUEUE * PIECE),
		  pread(s->fd, s->system, QUEUE * PIECE, DISK_OFFSET));
	for (i = 0; i < QUEUE; i++) {
		char *at = s->system + piece_pos(i) - DISK_OFFSET;

		EXPECT_EQ(-1, first_wrong(at, PIECE, 100 + i))
			TH_LOG("written: piece %d", i);
		fill(at, PIECE, 200 + i);
	}

	ASSERT_EQ((ssize_t)(QUEUE * PIECE),
		  pwrite(s->fd, s->system, QUEUE * PIECE, DISK_OFFSET));
	clear(s->peer, QUEUE * PIECE);
	ASSERT_EQ(0, all(s, false));
	for (i = 0; i < QUEUE; i++) {
		EXPECT_EQ(-1, first_wrong(s->peer + i * PIECE, PIECE,
					  200 + i))
			TH_LOG("read: piece %d", i);
	}
}

TEST_F(direct, libaio)
{
	test_queue(_metadata, &self->s, aio_all);
}

TEST_F(direct, io_uring)
{
	test_queue(_metadata, &self->s, uring_all);
}

/* Long-term pins of peer memory are refused, and the caller is told so. */
TEST_F(direct, long_term_pins_are_refused)
{
	struct iovec iov = { .iov_base = self->s.peer, .iov_len = 64 * KiB };
	struct io_uring ring;
	int pipefd[2];

	ASSERT_EQ(0, io_uring_queue_init(QUEUE, &ring, 0));
	/* Long-term writable pins of a file mapping that wants write faults */
	EXPECT_EQ(-EFAULT, io_uring_register_buffers(&ring, &iov, 1));
	io_uring_queue_exit(&ring);

	ASSERT_EQ(0, pipe(pipefd));
	errno = 0;
	EXPECT_EQ(-1, vmsplice(pipefd[1], &iov, 1, 0));
	EXPECT_EQ(EREMOTEIO, errno);
	close(pipefd[0]);
	close(pipefd[1]);

	/* The memory still works. */
	EXPECT_EQ(NULL, read_to_peer(&self->s, 64 * KiB, 0, DISK_OFFSET, 21));
}

/*
 * Memory unmapped during I/O isn't freed until the I/O is done. Memory that is
 * neither mapped nor available shows that I/O was in flight.
 */
TEST_F(direct, unmapped_in_flight)
{
	long long available = p2pmem_number(bdf, "available");
	size_t length = QUEUE * PIECE;
	int round = 0, in_flight = 0;
	struct io_uring ring;
	char *gone, *next;

	fill(self->s.system, length, 22);
	ASSERT_EQ((ssize_t)length,
		  pwrite(self->s.fd, self->s.system, length, DISK_OFFSET));
	ASSERT_EQ(0, io_uring_queue_init(QUEUE, &ring, 0));

	do {
		gone = p2pmem_map(bdf, length);
		ASSERT_NE(MAP_FAILED, (void *)gone);
		ASSERT_EQ(0, uring_submit(&ring, self->s.fd, gone, false));
		munmap(gone, length);
		in_flight += p2pmem_number(bdf, "available") < available;
		next = p2pmem_map(bdf, length);
		ASSERT_NE(MAP_FAILED, (void *)next);
		clear(next, length);
		ASSERT_EQ(0, uring_wait(&ring));
		EXPECT_EQ(-1, first_nonzero(next, length));
		munmap(next, length);
		/* The last pages may be freed a little later. */
		ASSERT_TRUE(wait_for(p2pmem_number(bdf, "available") ==
				     available, 20));
		round++;
	} while (round < 20 || (!in_flight && round < LAST_ROUND));
	TH_LOG("I/O was in flight in %d of %d rounds", in_flight, round);
	EXPECT_LT(0, in_flight);
	io_uring_queue_exit(&ring);
}

/* A process exits while its I/O is in flight. */
TEST_F(direct, exit_in_flight)
{
	long long available = p2pmem_number(bdf, "available");
	enum { IN_FLIGHT, DONE, WRONG };
	struct io_uring ring;
	int round = 0, status;
	pid_t child;
	char *p;

	do {
		child = fork();
		if (!child) {
			p = p2pmem_map(bdf, QUEUE * PIECE);
			if (p == MAP_FAILED ||
			    io_uring_queue_init(QUEUE, &ring, 0) ||
			    uring_submit(&ring, self->s.fd, p, true))
				_exit(WRONG);
			_exit(io_uring_cq_ready(&ring) < QUEUE ? IN_FLIGHT :
								 DONE);
		}
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_TRUE(WIFEXITED(status));
		ASSERT_NE(WRONG, WEXITSTATUS(status));
		ASSERT_TRUE(wait_for(p2pmem_number(bdf, "available") ==
				     available, 20));
		round++;
	} while (WEXITSTATUS(status) != IN_FLIGHT && round < LAST_ROUND);
	EXPECT_EQ(IN_FLIGHT, WEXITSTATUS(status));
}

/* Memory that the disk has written and the CPU has not */
TEST_F(direct, protection_after_read)
{
	char *p = p2pmem_map(bdf, 64 * KiB);

	ASSERT_NE(MAP_FAILED, (void *)p);
	EXPECT_EQ((ssize_t)(64 * KiB),
		  pread(self->s.fd, p, 64 * KiB, DISK_OFFSET));
	EXPECT_EQ(0, write_after_protection(p, 64 * KiB));
	EXPECT_EQ((ssize_t)(64 * KiB),
		  pwrite(self->s.fd, p, 64 * KiB, DISK_OFFSET));
	EXPECT_EQ((ssize_t)(64 * KiB), pread(self->s.fd, self->s.system,
					     64 * KiB, DISK_OFFSET));
	EXPECT_EQ(-1, first_wrong(self->s.system, 64 * KiB, 91));
	munmap(p, 64 * KiB);
}

TEST_F(direct, processes_at_once)
{
	const int children = 3, rounds = times(10);
	struct setup own = self->s;
	pid_t child[children];
	int i, round, status;

	for (i = 0; i < children; i++) {
		child[i] = fork();
		if (child[i])
			continue;
		own.peer = p2pmem_map(bdf, 1 * MiB);
		if (own.peer == MAP_FAILED)
			_exit(1);
		own.fd = open_direct(self->s.disks.path[i % self->s.disks.nr]);
		for (round = 0; round < rounds; round++) {
			off_t pos = DISK_OFFSET + i * MiB;

			if (read_to_peer(&own, 68 * KiB, 512, pos, round) ||
			    write_from_peer(&own, 32 * KiB, 0, pos, round))
				_exit(2);
		}
		_exit(0);
	}
	for (i = 0; i < children; i++) {
		EXPECT_EQ(child[i], waitpid(child[i], &status, 0));
		EXPECT_EQ(0, status);
	}
}

/* As traced outside of the guest, all data goes to the provider's BAR. */
TEST_F(direct, no_byte_elsewhere)
{
	const ssize_t length = 2 * MiB;
	long long peer, other;
	char answer[128];

	if (!route_is_traced())
		SKIP(return, "no lab that traces DMA on this route");

	fill(self->s.peer, length, 31);
	ASSERT_EQ(0, lab(answer, sizeof(answer), "dma-begin"));
	EXPECT_EQ(length, pwrite(self->s.fd, self->s.peer, length, DISK_OFFSET));
	EXPECT_EQ(length, pread(self->s.fd, self->s.peer, length, DISK_OFFSET));
	ASSERT_EQ(0, traced(&peer, &other));
	EXPECT_EQ(2 * length, peer);
	EXPECT_EQ(0, other);

	/* The trace tells peer memory from system memory. */
	ASSERT_EQ(0, lab(answer, sizeof(answer), "dma-begin"));
	EXPECT_EQ(length, pread(self->s.fd, self->s.system, length, DISK_OFFSET));
	ASSERT_EQ(0, traced(&peer, &other));
	EXPECT_EQ(0, peer);
	EXPECT_EQ(length, other);
	EXPECT_EQ(-1, first_wrong(self->s.system, length, 31));
}

/* The main use case: disk to disk, without system memory */
TEST_F(direct, disk_to_disk)
{
	const ssize_t length = 8 * MiB;
	long long peer, other;
	ssize_t piece = LARGEST, at;
	char answer[128];
	int to;

	if (self->s.disks.nr < 2)
		SKIP(return, "one disk in P2PDMA_SCRATCH, two are needed");
	to = open_direct(self->s.disks.path[1]);
	ASSERT_LE(0, to);

	for (at = 0; at < length; at += piece) {
		fill(self->s.system, piece, 40 + at);
		ASSERT_EQ(piece, pwrite(self->s.fd, self->s.system, piece,
					DISK_OFFSET + at));
	}

	if (route_is_traced())
		ASSERT_EQ(0, lab(answer, sizeof(answer), "dma-begin"));
	for (at = 0; at < length; at += piece) {
		ASSERT_EQ(piece, pread(self->s.fd, self->s.peer, piece,
				       DISK_OFFSET + at));
		ASSERT_EQ(piece, pwrite(to, self->s.peer, piece,
					DISK_OFFSET + at));
	}
	if (route_is_traced()) {
		ASSERT_EQ(0, traced(&peer, &other));
		EXPECT_EQ(2 * length, peer);
		EXPECT_EQ(0, other);
	}

	for (at = 0; at < length; at += piece) {
		clear(self->s.system, piece);
		ASSERT_EQ(piece, pread(to, self->s.system, piece,
				       DISK_OFFSET + at));
		EXPECT_EQ(-1, first_wrong(self->s.system, piece, 40 + at));
	}
	close(to);
}

#define MOUNT_POINT	"/tmp/p2pdma-ext4"

TEST_F(direct, ext4)
{
	const ssize_t length = 3 * MiB + 8 * KiB;
	const char *disk = self->s.disks.path[0];
	char command[PATH_MAX];
	int file;

	if (system("command -v mkfs.ext4 >/dev/null"))
		SKIP(return, "no mkfs.ext4");
	close(self->s.fd);
	snprintf(command, sizeof(command),
		 "mkfs.ext4 -q -F %s >/dev/null 2>&1", disk);
	ASSERT_EQ(0, system(command));
	mkdir(MOUNT_POINT, 0700);
	if (mount(disk, MOUNT_POINT, "ext4", 0, NULL))
		SKIP(return, "can't mount ext4: %s", strerror(errno));

	/* Written directly, read through the page cache. */
	file = open(MOUNT_POINT "/direct", O_RDWR | O_CREAT | O_DIRECT, 0600);
	EXPECT_LE(0, file);
	fill(self->s.peer, length, 51);
	EXPECT_EQ(length, pwrite(file, self->s.peer, length, 0));
	close(file);
	file = open(MOUNT_POINT "/direct", O_RDONLY);
	clear(self->s.system, length);
	EXPECT_EQ(length, pread(file, self->s.system, length, 0));
	EXPECT_EQ(-1, first_wrong(self->s.system, length, 51));
	close(file);

	/* Written through the page cache from peer memory, read directly. */
	file = open(MOUNT_POINT "/buffered", O_RDWR | O_CREAT, 0600);
	EXPECT_LE(0, file);
	fill(self->s.peer, length, 52);
	EXPECT_EQ(length, pwrite(file, self->s.peer, length, 0));
	EXPECT_EQ(0, fsync(file));
	close(file);
	file = open(MOUNT_POINT "/buffered", O_RDONLY | O_DIRECT);
	clear(self->s.peer, length);
	EXPECT_EQ(length, pread(file, self->s.peer, length, 0));
	EXPECT_EQ(-1, first_wrong(self->s.peer, length, 52));
	close(file);

	/* All of it is on the disk after a remount. */
	EXPECT_EQ(0, umount(MOUNT_POINT));
	ASSERT_EQ(0, mount(disk, MOUNT_POINT, "ext4", 0, NULL));
	file = open(MOUNT_POINT "/direct", O_RDONLY);
	EXPECT_EQ(length, pread(file, self->s.peer, length, 0));
	EXPECT_EQ(-1, first_wrong(self->s.peer, length, 51));
	close(file);
	EXPECT_EQ(0, umount(MOUNT_POINT));
	self->s.fd = -1;
}

/* Where there is no route. */
FIXTURE(refused)
{
	struct setup s;
};

FIXTURE_SETUP(refused)
{
	const char *missing = set_up(&self->s);

	if (missing)
		SKIP(return, "%s", missing);
	ASSERT_LE(0, self->s.fd) TH_LOG("%s", self->s.disks.path[0]);
	ASSERT_NE(MAP_FAILED, (void *)self->s.peer);
	if (!is_refused())
		SKIP(return, "P2PDMA_ROUTE isn't \"refused\"");
	fill(self->s.system, 1 * MiB, 61);
	ASSERT_EQ((ssize_t)MiB,
		  pwrite(self->s.fd, self->s.system, 1 * MiB, DISK_OFFSET));
}

FIXTURE_TEARDOWN(refused)
{
	/* The disk is as before, and works. */
	clear(self->s.system, 1 * MiB);
	EXPECT_EQ((ssize_t)MiB,
		  pread(self->s.fd, self->s.system, 1 * MiB, DISK_OFFSET));
	EXPECT_EQ(-1, first_wrong(self->s.system, 1 * MiB, 61));

	munmap(self->s.peer, BUFFER);
	close(self->s.fd);
	EXPECT_EQ(self->s.available, p2pmem_number(bdf, "available"));
}

TEST_F(refused, read)
{
	size_t i;

	fill(self->s.peer, 1 * MiB, 62);
	for (i = 0; i < ARRAY_SIZE(sizes) && sizes[i] <= 1 * MiB; i++) {
		errno = 0;
		EXPECT_EQ(-1, pread(self->s.fd, self->s.peer, sizes[i],
				    DISK_OFFSET));
		EXPECT_EQ(EREMOTEIO, errno) TH_LOG("%zu: %m", sizes[i]);
	}
	EXPECT_EQ(-1, first_wrong(self->s.peer, 1 * MiB, 62));
}

TEST_F(refused, write)
{
	size_t i;

	fill(self->s.peer, 1 * MiB, 63);
	for (i = 0; i < ARRAY_SIZE(sizes) && sizes[i] <= 1 * MiB; i++) {
		errno = 0;
		EXPECT_EQ(-1, pwrite(self->s.fd, self->s.peer, sizes[i],
				     DISK_OFFSET));
		EXPECT_EQ(EREMOTEIO, errno) TH_LOG("%zu: %m", sizes[i]);
	}
}

TEST_F(refused, mixed_vector)
{
	struct iovec iov[2] = {
		{ self->s.peer, 4 * KiB },
		{ self->s.system + 2 * MiB, 4 * KiB },
	};

	errno = 0;
	EXPECT_EQ(-1, pwritev(self->s.fd, iov, 2, DISK_OFFSET));
	EXPECT_EQ(EREMOTEIO, errno);
	errno = 0;
	EXPECT_EQ(-1, preadv(self->s.fd, iov, 2, DISK_OFFSET));
	EXPECT_EQ(EREMOTEIO, errno);
}

TEST_F(refused, io_uring)
{
	struct io_uring ring;

	ASSERT_EQ(0, io_uring_queue_init(QUEUE, &ring, 0));
	ASSERT_EQ(0, uring_submit(&ring, self->s.fd, self->s.peer, true));
	EXPECT_EQ(-EREMOTEIO, uring_wait(&ring));
	ASSERT_EQ(0, uring_submit(&ring, self->s.fd, self->s.peer, false));
	EXPECT_EQ(-EREMOTEIO, uring_wait(&ring));
	io_uring_queue_exit(&ring);
}

TEST_F(refused, every_disk)
{
	int i, fd;

	for (i = 0; i < self->s.disks.nr; i++) {
		fd = open_direct(self->s.disks.path[i]);
		ASSERT_LE(0, fd);
		errno = 0;
		EXPECT_EQ(-1, pread(fd, self->s.peer, 4 * KiB, DISK_OFFSET));
		EXPECT_EQ(EREMOTEIO, errno)
			TH_LOG("%s: %m", self->s.disks.path[i]);
		close(fd);
	}
}

TEST_HARNESS_MAIN
