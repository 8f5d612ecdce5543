/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: the files.
 *
 * They lose their names as soon as they are open, so that nothing is
 * left behind however the program ends.  All are made in the same way, to
 * be laid out alike on the disk and in the page cache.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

/* A signal that comes while a file has a name waits until it has none. */
static void
block_signals (sigset_t *before)
{
  sigset_t all;

  sigfillset (&all);
  if (sigprocmask (SIG_BLOCK, &all, before) == -1)
    fail_errno ("sigprocmask");
}

static void
restore_signals (const sigset_t *before)
{
  if (sigprocmask (SIG_SETMASK, before, NULL) == -1)
    fail_errno ("sigprocmask");
}

static char *
name_template (const char *dir)
{
  char *name;

  if (asprintf (&name, "%s/blkring-bench.XXXXXX", dir) == -1)
    fail ("out of memory");
  return name;
}

/* An empty file. */
int
open_unnamed (const char *dir)
{
  char *name = name_template (dir);
  sigset_t before;
  int fd;

  block_signals (&before);
  fd = mkstemp (name);
  if (fd == -1)
    fail ("%s: cannot make a file: %s", dir, strerror (errno));
  if (unlink (name) == -1)
    fail_errno (name);
  restore_signals (&before);
  free (name);
  return fd;
}

/* Make a file of RING_SIZE bytes.  In *fd a descriptor of it. */
static blkring_device *
make_file (const char *dir, unsigned flags, int *fd)
{
  const struct blkring_open_options options = {
    .flags = BLKRING_OPEN_CREATE | flags, .size = RING_SIZE,
  };
  char *name = name_template (dir);
  blkring_device *device;
  sigset_t before;

  block_signals (&before);
  *fd = mkstemp (name);
  if (*fd == -1)
    fail ("%s: cannot make a file: %s", dir, strerror (errno));
  device = blkring_device_open (name, &options);
  if (unlink (name) == -1)
    fail_errno (name);
  if (device == NULL)
    fail_ring (name);
  restore_signals (&before);
  free (name);
  return device;
}

/* A descriptor of the same file whose writes go to the disk and are
 * durable; -1 where the file system cannot do that by sectors. */
int
open_direct (int fd)
{
  static char sector[SECTOR] __attribute__ ((aligned (4096)));
  char name[32];
  int direct;

  snprintf (name, sizeof name, "/proc/self/fd/%d", fd);
  direct = open (name, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
  if (direct >= 0 && pread (direct, sector, SECTOR, SECTOR) == -1) {
    close (direct);
    direct = -1;
  }
  return direct;
}

void
open_files (struct bench *b)
{
  int fd;

  blkring_device_close (make_file (b->dir, 0, &b->limit_fd));
  /* One of its own: what is written around the page cache drops what is
   * in it. */
  blkring_device_close (make_file (b->dir, 0, &fd));
  b->direct_fd = open_direct (fd);
  close (fd);
  b->device = make_file (b->dir, b->direct ? BLKRING_OPEN_DIRECT : 0,
                         &b->ring_fd);
  b->payload = allocate (LARGEST_FRAME);
  b->chunk = allocate (CHUNK_SIZE);
  b->copy = allocate (LARGEST_ITEM + SECTOR);
}

void
close_files (struct bench *b)
{
  blkring_device_close (b->device);
  if (close (b->ring_fd) == -1 || close (b->limit_fd) == -1 ||
      (b->direct_fd >= 0 && close (b->direct_fd) == -1))
    fail_errno ("close");
  free (b->payload);
  free (b->chunk);
  free (b->copy);
}

/* Let no flush of a test pay for what was written before it. */
void
settle (const struct bench *b)
{
  if (fdatasync (b->ring_fd) == -1 || fdatasync (b->limit_fd) == -1)
    fail_errno ("fdatasync");
}
