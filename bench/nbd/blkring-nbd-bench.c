/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-nbd-bench: a ring behind an NBD server, beside what the server can
 * do.  bench-nbd starts the servers and runs it once a transport.
 *
 *   GUARDED    a ring behind nbdkit's blkring filter
 *   PLAIN      the same without the filter
 *   LIMIT      a plain file, for bare requests of the same number and size:
 *              format 2 one FUA write an append, format 1 two, one after the
 *              other; a pop reads the same bytes, and its advance flushes and
 *              writes with FUA
 *
 * All three take turns, round by round; the ratio is of medians.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libnbd.h>

#include "blkring.h"
#include "../common.h"

const char program_name[] = "blkring-nbd-bench";

#define MAX_BATCH 64
#define BLOCK 4096
#define SECTOR 512
#define READ_SIZE (256 << 10)
#define MAX_ROUNDS 101

struct test {
  const char *name;
  size_t length, batch;
  bool pop;
};

static const struct test tests[] = {
  { "append", 512, 1, false },
  { "append", 4096, 1, false },
  { "append", 512, 64, false },
  { "append", 65536, 16, false },
  { "pop", 512, 64, true },
};
#define NR_TESTS (sizeof tests / sizeof tests[0])

struct ring {
  blkring_device *device;
  blkring_producer *producer;
  blkring_consumer *consumer;
};

static char *payload;
static double seconds = 0.2;
static unsigned rounds = 5;

/*---------------------------------------------------------------------*/

static struct ring
open_ring (const char *uri, unsigned format)
{
  const struct blkring_create_options create = {
    .flags = BLKRING_CREATE_FORCE, .format = format,
  };
  struct ring r = { .device = blkring_device_open (uri, NULL) };
  struct blkring_info *info = allocate (sizeof *info);

  if (r.device == NULL)
    fail_ring (uri);
  if (blkring_inspect (r.device, NULL, info) == -1 || info->format != format)
    if (blkring_create (r.device, &create) == -1)
      fail_ring (uri);
  free (info);
  r.producer = blkring_producer_attach (r.device, NULL);
  r.consumer = blkring_consumer_attach (r.device, NULL);
  if (r.producer == NULL || r.consumer == NULL)
    fail_ring (uri);
  return r;
}

static void
close_ring (struct ring *r)
{
  blkring_producer_free (r->producer);
  blkring_consumer_free (r->consumer);
  blkring_device_close (r->device);
}

static int
append (struct ring *r, const struct test *t)
{
  struct iovec items[MAX_BATCH];
  size_t i;

  for (i = 0; i < t->batch; ++i)
    items[i] = (struct iovec) { payload + i * t->length, t->length };
  if (blkring_producer_appendv (r->producer, items, t->batch, NULL) == 0)
    return 0;
  if (errno != EAGAIN)
    fail_ring ("append");
  return -1;
}

/* A batch, and advance; false when there is nothing. */
static bool
pop (struct ring *r, const struct test *t, uint64_t *nr)
{
  struct blkring_item items[MAX_BATCH];
  blkring_position next;
  size_t got = 0;
  ssize_t n;

  while (got < t->batch) {
    n = blkring_consumer_popv (r->consumer, got ? &next : NULL, items,
                               t->batch - got);
    if (n == -1 && errno == EAGAIN)
      break;
    if (n == -1)
      fail_ring ("pop");
    got += n;
    next = items[n - 1].next;
  }
  if (got > 0 && blkring_consumer_advance (r->consumer, next) == -1)
    fail_ring ("advance");
  *nr += got;
  return got > 0;
}

static void
fill (struct ring *r, const struct test *t)
{
  while (append (r, t) == 0)
    ;
}

static void
drain (struct ring *r)
{
  static const struct test all = { "drain", 0, MAX_BATCH, true };
  uint64_t nr = 0;

  while (pop (r, &all, &nr))
    ;
}

static double
run_ring (struct ring *r, const struct test *t)
{
  struct stopwatch w;
  uint64_t items = 0;

  stopwatch_init (&w, seconds);
  while (w.elapsed < w.limit) {
    if (t->pop)
      fill (r, t);
    stopwatch_start (&w);
    if (t->pop)
      while (!stopwatch_over (&w) && pop (r, t, &items))
        ;
    else
      while (!stopwatch_over (&w) && append (r, t) == 0)
        items += t->batch;
    stopwatch_stop (&w);
    drain (r);
  }
  return items / stopwatch_seconds (&w);
}

/*---------------------------------------------------------------------*/

static void
must (struct nbd_handle *nbd, int r)
{
  (void) nbd;
  if (r == -1)
    fail ("%s", nbd_get_error ());
}

static size_t
frame_size (const struct test *t, unsigned format)
{
  const size_t unit = format == 1 ? SECTOR : BLOCK;
  const size_t bytes = (format == 1 ? 0 : 64) + t->batch * (t->length + 4);

  return (bytes + unit - 1) / unit * unit;
}

static double
run_limit (struct nbd_handle *nbd, const struct test *t, unsigned format)
{
  const size_t size = frame_size (t, format);
  const int64_t end = nbd_get_size (nbd);
  static uint64_t at = 1 << 20;
  uint64_t items = 0, done, n;
  struct stopwatch w;

  stopwatch_init (&w, seconds);
  stopwatch_start (&w);
  while (!stopwatch_over (&w)) {
    if (at + size + READ_SIZE > (uint64_t) end)
      at = 1 << 20;
    if (t->pop) {
      for (done = 0; done < size; done += n) {
        n = size - done < READ_SIZE ? size - done : READ_SIZE;
        must (nbd, nbd_pread (nbd, payload, n, at + done, 0));
      }
      must (nbd, nbd_flush (nbd, 0));
    }
    else
      must (nbd, nbd_pwrite (nbd, payload, size, at, LIBNBD_CMD_FLAG_FUA));
    if (t->pop || format == 1)
      must (nbd, nbd_pwrite (nbd, payload, SECTOR, SECTOR,
                             LIBNBD_CMD_FLAG_FUA));
    at += size;
    items += t->batch;
  }
  stopwatch_stop (&w);
  return items / stopwatch_seconds (&w);
}

/*---------------------------------------------------------------------*/

static void
measure (const struct test *t, unsigned format, struct ring *guarded,
         struct ring *plain, struct nbd_handle *limit)
{
  double rate[3][MAX_ROUNDS], median[3];
  unsigned i, k;

  for (i = 0; i < rounds; ++i) {
    rate[0][i] = run_ring (guarded, t);
    rate[1][i] = run_ring (plain, t);
    rate[2][i] = run_limit (limit, t, format);
  }
  for (k = 0; k < 3; ++k)
    median[k] = quantile (rate[k], rounds, 0.5);
  printf ("%-6u %-7s %6zu %5zu %10.0f %10.1f %10.0f %9.2f %13.2f\n", format,
          t->name, t->length, t->batch, median[0],
          median[0] * t->length / (1 << 20), median[2], median[0] / median[2],
          median[0] / median[1]);
  fflush (stdout);
}

int
main (int argc, char *argv[])
{
  struct nbd_handle *limit = nbd_create ();
  struct ring guarded, plain;
  unsigned format;
  size_t i;

  if (argc != 7)
    fail ("usage: %s ROUNDS SECONDS FORMAT GUARDED-URI PLAIN-URI LIMIT-URI",
          program_name);
  rounds = parse_number ("ROUNDS", argv[1], 1, MAX_ROUNDS);
  seconds = parse_seconds (argv[2]);
  format = parse_number ("FORMAT", argv[3], 1, 2);
  payload = allocate (MAX_BATCH * 65536 + READ_SIZE);
  if (limit == NULL || nbd_set_uri_allow_local_file (limit, true) == -1 ||
      nbd_connect_uri (limit, argv[6]) == -1)
    fail ("%s", nbd_get_error ());
  guarded = open_ring (argv[4], format);
  plain = open_ring (argv[5], format);
  for (i = 0; i < NR_TESTS; ++i)
    measure (&tests[i], format, &guarded, &plain, limit);
  close_ring (&guarded);
  close_ring (&plain);
  nbd_close (limit);
  free (payload);
  return EXIT_SUCCESS;
}
