/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-nbd-bench: a ring behind an NBD server, beside what the server can
 * do.  bench-nbd starts the servers and runs it once a transport and format.
 *
 *   GUARDED    a ring behind nbdkit's blkring filter
 *   NOSYNC     the same, where the filter adds no flushes of its own
 *   PLAIN      a ring behind nbdkit file, without the filter
 *   LIMIT      nbdkit file, for bare requests of the same number and size:
 *              format 2 one FUA write an append, format 1 two, one after the
 *              other; for a pop and its advance see read_and_free.  For bulk
 *              the limit is nbdcopy, of COPY.
 *
 * They take turns, round by round, each round beginning with another one;
 * a ratio is the median of the rounds' ratios.  What is missed or reached is
 * written to TARGETS.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <libnbd.h>

#include "blkring.h"
#include "../common.h"

const char program_name[] = "blkring-nbd-bench";

#define MAX_BATCH 64
#define BLOCK 4096
#define SECTOR 512
#define READ_SIZE (256 << 10)
#define MAX_ROUNDS 101
#define MOST_FILLED 300      /* batches */

struct test {
  const char *name;
  size_t length, batch;
  bool pop;
  bool bulk;                 /* beside nbdcopy */
};

static const struct test tests[] = {
  { "append", 512, 1, false, false },
  { "append", 4096, 1, false, false },
  { "append", 512, 64, false, false },
  { "bulk", 65536, 48, false, true },
  { "pop", 512, 64, true, false },
};
#define NR_TESTS (sizeof tests / sizeof tests[0])

struct ring {
  blkring_device *device;
  blkring_producer *producer;
  blkring_consumer *consumer;
};

enum side { GUARDED, NOSYNC, PLAIN, LIMIT, NR_SIDES };

/* What a ratio is of, and what is wanted of it. */
struct target {
  const char *what;
  enum side side, of;
  double wanted, wanted_bulk; /* 0: none */
};

static const struct target targets[] = {
  { "guarded / limit", GUARDED, LIMIT, 0.85, 0.6 },
  { "no filter / limit", PLAIN, LIMIT, 0.85, 0.6 },
  { "guard on, equal sync / no filter", NOSYNC, PLAIN, 0.9, 0.9 },
};
#define NR_TARGETS (sizeof targets / sizeof targets[0])

static char *payload;
static double seconds = 0.2;
static unsigned rounds = 5, format;
static const char *transport, *copy;
static struct ring rings[LIMIT];
static struct nbd_handle *limit;
static const char *limit_uri;
static FILE *verdicts;

/*---------------------------------------------------------------------*/

static struct ring
open_ring (const char *uri)
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

/* So much that what is measured takes a while, and this does not. */
static void
fill (struct ring *r, const struct test *t)
{
  unsigned i;

  for (i = 0; i < MOST_FILLED && append (r, t) == 0; ++i)
    ;
}

static void
drain (struct ring *r)
{
  static const struct test all = { "drain", 0, MAX_BATCH, true, false };
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
must (int r)
{
  if (r == -1)
    fail ("%s", nbd_get_error ());
}

static size_t
frame_size (const struct test *t)
{
  const size_t unit = format == 1 ? SECTOR : BLOCK;
  const size_t bytes = (format == 1 ? 0 : 64) + t->batch * (t->length + 4);

  return (bytes + unit - 1) / unit * unit;
}

static void
read_all (size_t size, uint64_t at)
{
  uint64_t done, n;

  for (done = 0; done < size; done += n) {
    n = size - done < READ_SIZE ? size - done : READ_SIZE;
    must (nbd_pread (limit, payload, n, at + done, 0));
  }
}

/* What a pop and its advance ask for.  Format 1: the items; both pointers,
 * and the write of one.  Format 2: the frame; a flush, all records, the
 * frame's header, and the write of a record. */
static void
read_and_free (size_t size, uint64_t at)
{
  read_all (size, at);
  if (format == 1)
    read_all (2 * SECTOR, SECTOR);
  else {
    must (nbd_flush (limit, 0));
    read_all (6 * BLOCK, 2 * BLOCK);
    read_all (BLOCK, at);
  }
}

static double
run_requests (const struct test *t)
{
  const size_t size = frame_size (t);
  const uint64_t end = nbd_get_size (limit);
  static uint64_t at = 1 << 20;
  uint64_t items = 0;
  struct stopwatch w;

  stopwatch_init (&w, seconds);
  stopwatch_start (&w);
  while (!stopwatch_over (&w)) {
    if (at + size > end)
      at = 1 << 20;
    if (t->pop)
      read_and_free (size, at);
    else
      must (nbd_pwrite (limit, payload, size, at, LIBNBD_CMD_FLAG_FUA));
    if (t->pop || format == 1)
      must (nbd_pwrite (limit, payload, SECTOR, SECTOR, LIBNBD_CMD_FLAG_FUA));
    at += size;
    items += t->batch;
  }
  stopwatch_stop (&w);
  return items / stopwatch_seconds (&w);
}

/* With all that it takes to be done: its start, and a flush at the end. */
static double
run_nbdcopy (const struct test *t)
{
  char *argv[] = { "nbdcopy", "--flush", (char *) copy, (char *) limit_uri,
                   NULL };
  extern char **environ;
  struct stopwatch w;
  struct stat st;
  pid_t pid;
  int status;

  if (stat (copy, &st) == -1)
    fail_errno (copy);
  stopwatch_init (&w, seconds);
  stopwatch_start (&w);
  if (posix_spawnp (&pid, argv[0], NULL, NULL, argv, environ) != 0 ||
      waitpid (pid, &status, 0) != pid || status != 0)
    fail ("nbdcopy has failed");
  stopwatch_stop (&w);
  return st.st_size / t->length / stopwatch_seconds (&w);
}

static double
run_side (const struct test *t, enum side side)
{
  if (side != LIMIT)
    return run_ring (&rings[side], t);
  return t->bulk ? run_nbdcopy (t) : run_requests (t);
}

/*---------------------------------------------------------------------*/

/* The median of the ratios of two sides. */
static double
ratio (double rate[][MAX_ROUNDS], const struct target *target)
{
  double ratios[MAX_ROUNDS];
  unsigned i;

  for (i = 0; i < rounds; ++i)
    ratios[i] = rate[target->side][i] / rate[target->of][i];
  return quantile (ratios, rounds, 0.5);
}

static void
judge (const struct test *t, const struct target *target, double value)
{
  const double wanted = t->bulk ? target->wanted_bulk : target->wanted;

  fprintf (verdicts, "%s\t%s, format %u, %s of %zu B x %zu\t%s\t%.2f\t%.2f\n",
           value >= wanted ? "reached" : "missed", transport, format, t->name,
           t->length, t->batch, target->what, value, wanted);
}

static void
measure (const struct test *t)
{
  double rate[NR_SIDES][MAX_ROUNDS], median[NR_SIDES], value;
  unsigned i, k;

  for (i = 0; i < rounds; ++i)
    for (k = 0; k < NR_SIDES; ++k)
      rate[(i + k) % NR_SIDES][i] = run_side (t, (i + k) % NR_SIDES);
  for (k = 0; k < NR_SIDES; ++k)
    median[k] = quantile (rate[k], rounds, 0.5);
  printf ("%-6u %-6s %6zu %5zu %9.0f %8.1f %9.0f", format, t->name, t->length,
          t->batch, median[GUARDED],
          median[GUARDED] * t->length / (1 << 20), median[LIMIT]);
  for (k = 0; k < NR_TARGETS; ++k) {
    value = ratio (rate, &targets[k]);
    printf (" %9.2f", value);
    judge (t, &targets[k], value);
  }
  printf ("\n");
  finish_output ();
}

int
main (int argc, char *argv[])
{
  unsigned i;

  if (argc != 11)
    fail ("usage: %s ROUNDS SECONDS TRANSPORT FORMAT TARGETS COPY GUARDED "
          "NOSYNC PLAIN LIMIT", program_name);
  rounds = parse_number ("ROUNDS", argv[1], 1, MAX_ROUNDS);
  seconds = parse_seconds (argv[2]);
  transport = argv[3];
  format = parse_number ("FORMAT", argv[4], 1, 2);
  verdicts = fopen (argv[5], "a");
  if (verdicts == NULL)
    fail_errno (argv[5]);
  copy = argv[6];
  limit_uri = argv[10];
  payload = allocate (MAX_BATCH * 65536 + READ_SIZE);
  limit = nbd_create ();
  if (limit == NULL || nbd_set_uri_allow_local_file (limit, true) == -1 ||
      nbd_connect_uri (limit, limit_uri) == -1)
    fail ("%s", nbd_get_error ());
  for (i = GUARDED; i < LIMIT; ++i)
    rings[i] = open_ring (argv[7 + i]);
  for (i = 0; i < NR_TESTS; ++i)
    measure (&tests[i]);
  for (i = GUARDED; i < LIMIT; ++i)
    close_ring (&rings[i]);
  nbd_close (limit);
  free (payload);
  if (fclose (verdicts) == EOF)
    fail_errno (argv[5]);
  return EXIT_SUCCESS;
}
