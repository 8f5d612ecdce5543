/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: which durable write is the fastest here, and what it is
 * worth that the blocks were written once before?
 *
 * Writes of one size walk through a file of 16 MiB, with O_DIRECT through
 * one that was opened so.  Unwritten means that
 * fallocate has reserved the blocks, so that the first write to each also
 * changes metadata; such a file is made anew for each run.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench.h"

#define FILE_SIZE (16 << 20)

const char *
way_name (unsigned way)
{
  static const char *const names[NR_WAYS] = {
    [DSYNC] = "RWF_DSYNC",
    [DIRECT_DSYNC] = "O_DIRECT|O_DSYNC",
    [FDATASYNC] = "fdatasync",
  };

  return names[way];
}

static void
write_blocks (struct bench *b, int fd)
{
  off_t offset;

  for (offset = 0; offset < FILE_SIZE; offset += CHUNK_SIZE)
    if (pwrite (fd, b->payload, CHUNK_SIZE, offset) != CHUNK_SIZE)
      fail_errno ("cannot write a file of 16 MiB");
}

static int
make_file (struct bench *b, bool prewritten)
{
  const int fd = open_unnamed (b->dir);
  const int err = posix_fallocate (fd, 0, FILE_SIZE);

  if (err != 0)
    fail ("cannot reserve a file of 16 MiB: %s", strerror (err));
  if (prewritten)
    write_blocks (b, fd);
  if (fsync (fd) == -1)
    fail_errno ("fsync");
  return fd;
}

static bool
write_durably (int fd, unsigned way, void *buf, size_t count, off_t offset)
{
  const struct iovec iov = { buf, count };
  ssize_t r;

  r = pwritev2 (fd, &iov, 1, offset, way == DSYNC ? RWF_DSYNC : 0);
  if (r == -1 && errno == EOPNOTSUPP)
    return false;
  if (r != (ssize_t) count)
    fail_errno ("durable write");
  if (way == FDATASYNC && fdatasync (fd) == -1)
    fail_errno ("fdatasync");
  return true;
}

/* Writes per second, or 0: the file system does not know this way. */
static double
run_file (struct bench *b, int fd, unsigned way, size_t length)
{
  struct stopwatch watch;
  uint64_t done = 0;

  stopwatch_init (&watch, b->seconds);
  stopwatch_start (&watch);
  do {
    if (!write_durably (fd, way, b->payload, length, done * length))
      return 0;
    done++;
  } while (!stopwatch_over (&watch) && (done + 1) * length <= FILE_SIZE);
  stopwatch_stop (&watch);
  return done / stopwatch_seconds (&watch);
}

static double
run (struct bench *b, unsigned way, size_t length, bool prewritten)
{
  int fd = make_file (b, prewritten), direct;
  double rate = 0;

  if (way == DIRECT_DSYNC) {
    direct = open_direct (fd);
    close (fd);
    fd = direct;
  }
  if (fd >= 0) {
    rate = run_file (b, fd, way, length);
    close (fd);
  }
  return rate;
}

void
measure_durable (struct bench *b, struct durable durable[NR_DURABLE])
{
  static const size_t lengths[] = { 512, 4096, 65536 };
  struct series *s;
  unsigned i, way, round;

  for (i = 0; i < NR_DURABLE; ++i) {
    durable[i].length = lengths[i / 2];
    durable[i].prewritten = i % 2;
    for (way = 0; way < NR_WAYS; ++way)
      durable[i].ways[way].rounds = allocate (b->rounds * sizeof (double));
  }
  for (round = 0; round < b->rounds; ++round)
    for (i = 0; i < NR_DURABLE; ++i)
      for (way = 0; way < NR_WAYS; ++way)
        durable[i].ways[way].rounds[round] =
          run (b, way, durable[i].length, durable[i].prewritten);
  for (i = 0; i < NR_DURABLE; ++i)
    for (way = 0; way < NR_WAYS; ++way) {
      s = &durable[i].ways[way];
      s->median = quantile (s->rounds, b->rounds, 0.5);
    }
}

void
free_durable (struct durable durable[NR_DURABLE])
{
  unsigned i, way;

  for (i = 0; i < NR_DURABLE; ++i)
    for (way = 0; way < NR_WAYS; ++way)
      free (durable[i].ways[way].rounds);
}
