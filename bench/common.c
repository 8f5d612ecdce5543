/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: failing, the two files, the stopwatch.
 *
 * The files lose their names as soon as they are open, so that nothing is
 * left behind however the program ends.  Both are made in the same way,
 * to be laid out alike on the disk and in the page cache.
 */

#include <config.h>

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

void
fail (const char *fmt, ...)
{
  va_list args;

  fprintf (stderr, "blkring-bench: ");
  va_start (args, fmt);
  vfprintf (stderr, fmt, args);
  va_end (args);
  fputc ('\n', stderr);
  exit (EXIT_FAILURE);
}

void
fail_errno (const char *what)
{
  fail ("%s: %s", what, strerror (errno));
}

void
fail_ring (const char *what)
{
  fail ("%s: %s", what, blkring_get_error ());
}

/* Aligned to pages, and written to, so that no test pays for that. */
void *
allocate (size_t size)
{
  void *p;
  int err = posix_memalign (&p, 4096, size);

  if (err != 0)
    fail ("cannot allocate %zu bytes: %s", size, strerror (err));
  memset (p, 'x', size);
  return p;
}

/*---------------------------------------------------------------------*/

/* Make a file of RING_SIZE bytes.  In *fd a descriptor of it. */
static blkring_device *
make_file (const char *dir, int *fd)
{
  const struct blkring_open_options options = {
    .flags = BLKRING_OPEN_CREATE, .size = RING_SIZE,
  };
  blkring_device *device;
  char *name;

  if (asprintf (&name, "%s/blkring-bench.XXXXXX", dir) == -1)
    fail ("out of memory");
  *fd = mkstemp (name);
  if (*fd == -1)
    fail ("%s: cannot make a file: %s", dir, strerror (errno));
  device = blkring_device_open (name, &options);
  if (unlink (name) == -1)
    fail_errno (name);
  if (device == NULL)
    fail_ring (name);
  free (name);
  return device;
}

static void
make_files (struct bench *b)
{
  blkring_device *limit = make_file (b->dir, &b->limit_fd);

  blkring_device_close (limit);
  b->device = make_file (b->dir, &b->ring_fd);
}

/* A signal that comes while a file has a name waits until it has none. */
void
open_files (struct bench *b)
{
  sigset_t all, before;

  sigfillset (&all);
  if (sigprocmask (SIG_BLOCK, &all, &before) == -1)
    fail_errno ("sigprocmask");
  make_files (b);
  if (sigprocmask (SIG_SETMASK, &before, NULL) == -1)
    fail_errno ("sigprocmask");

  if (blkring_create (b->device, NULL) == -1)
    fail_ring ("cannot make the ring");
  b->payload = allocate ((size_t) BATCH * ITEM_SIZE (LARGEST_ITEM) +
                         2 * SECTOR);
  b->chunk = allocate (CHUNK_SIZE);
  b->copy = allocate (ITEM_SIZE (LARGEST_ITEM));
}

void
close_files (struct bench *b)
{
  blkring_device_close (b->device);
  if (close (b->ring_fd) == -1 || close (b->limit_fd) == -1)
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

/*---------------------------------------------------------------------*/

static uint64_t
now (void)
{
  struct timespec ts;

  if (clock_gettime (CLOCK_MONOTONIC, &ts) == -1)
    fail_errno ("clock_gettime");
  return ts.tv_sec * UINT64_C (1000000000) + ts.tv_nsec;
}

void
stopwatch_init (struct stopwatch *w, double seconds)
{
  w->elapsed = w->started = 0;
  w->limit = seconds * 1e9;
}

void
stopwatch_start (struct stopwatch *w)
{
  w->started = now ();
}

void
stopwatch_stop (struct stopwatch *w)
{
  w->elapsed += now () - w->started;
}

/* Asked while it runs. */
bool
stopwatch_over (const struct stopwatch *w)
{
  return w->elapsed + (now () - w->started) >= w->limit;
}

/* Asked while it stands. */
double
stopwatch_seconds (const struct stopwatch *w)
{
  return w->elapsed / 1e9;
}

unsigned
stride (const struct test *t)
{
  return t->durable || t->batch * t->length >= LARGEST_ITEM ? 1 : 16;
}
