/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-img produce: from stdin or files into the ring.
 *
 * What is there to read is grouped into one durable batch, and nothing
 * waits for a batch to fill.  While there is nothing to read, and while
 * the ring is full, a suspend is acknowledged all the same.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "framing.h"
#include "img.h"

#define DEFAULT_BATCH 256
#define LARGEST_BATCH 65536
/* A batch takes no more once it has so many bytes. */
#define BATCH_BYTES (4 << 20)
/* How soon a suspend is seen while the input is silent, ms. */
#define IDLE_POLL 200
/* How soon a signal that came just before a wait is seen, ms. */
#define WAIT_SLICE 500

struct batch {
  size_t nr, max, bytes;
  size_t *offsets, *lengths; /* in the reader's buffer */
  struct iovec *items;
};

struct produce {
  struct common common;
  bool no_wait, takeover;
  enum blkring_durability durability;
  blkring_producer *producer;
  struct reader reader;
  struct batch batch;
  uint64_t stored;           /* items */
  uint64_t total;            /* bytes of the inputs, 0 = not known */
  struct progress progress;
};

enum more { MORE, END, BAD_INPUT, FAILED };

static int
fail_storing (const struct produce *p)
{
  return fail (&p->common, "%s: %" PRIu64 " items were stored",
               blkring_get_error (), p->stored);
}

/* Sleep until there is something to read. */
static int
await_input (struct produce *p)
{
  while (!stop_requested && !reader_is_ready (&p->reader, IDLE_POLL))
    if (blkring_producer_state (p->producer) == -1) {
      fail_storing (p);
      return -1;
    }
  return 0;
}

/* Whole items, as many as there are without waiting for more. */
static enum more
collect (struct produce *p)
{
  struct batch *b = &p->batch;
  int r;

  b->nr = b->bytes = 0;
  reader_discard (&p->reader);
  while (b->nr < b->max && b->bytes < BATCH_BYTES) {
    r = reader_next (&p->reader, &b->offsets[b->nr], &b->lengths[b->nr]);
    if (r == -1)
      return BAD_INPUT;
    if (r == 1) {
      b->bytes += b->lengths[b->nr++];
      continue;
    }
    if (b->nr > 0 && !reader_is_ready (&p->reader, 0))
      break;
    if (await_input (p) == -1)
      return FAILED;
    if (stop_requested)
      return END;
    r = reader_fill (&p->reader);
    if (r <= 0)
      return r == 0 ? END : BAD_INPUT;
  }
  return MORE;
}

/* The ring is full or suspended. */
static int
await_ring (struct produce *p, size_t length)
{
  const bool suspended = errno == ESHUTDOWN;

  if (p->no_wait) {
    fail (&p->common, "the ring is %s: %" PRIu64 " items were stored, the "
          "next one was not", suspended ? "suspended" : "full", p->stored);
    return STATUS_WOULD_WAIT;
  }
  if (stop_requested)
    return fail (&p->common, "stopped by a signal: %" PRIu64 " items were "
                 "stored, what was read behind them was not", p->stored);
  if (blkring_producer_wait (p->producer, length, WAIT_SLICE) == -1 &&
      errno != ETIMEDOUT && errno != EINTR)
    return fail_storing (p);
  return STATUS_DONE;
}

/* Append the batch, in parts where it does not fit whole. */
static int
store (struct produce *p)
{
  struct batch *b = &p->batch;
  size_t i, n, done = 0;
  int status;

  for (i = 0; i < b->nr; ++i)
    b->items[i] = (struct iovec) { p->reader.buffer + b->offsets[i],
                                   b->lengths[i] };
  n = b->nr;
  while (done < b->nr) {
    if (blkring_producer_appendv (p->producer, b->items + done, n, NULL)
        == 0) {
      done += n;
      p->stored += n;
      n = b->nr - done;
    }
    else if ((errno == EAGAIN || errno == EMSGSIZE) && n > 1)
      n /= 2;
    else if (errno == EAGAIN || errno == ESHUTDOWN) {
      status = await_ring (p, b->items[done].iov_len);
      if (status != STATUS_DONE)
        return status;
      n = b->nr - done;
    }
    else
      return fail_storing (p);
  }
  if (p->total)
    show_progress (&p->progress, p->reader.bytes_read, p->total);
  return STATUS_DONE;
}

static int
copy (struct produce *p)
{
  enum more more;
  int status;

  do {
    more = collect (p);
    status = store (p);
    if (status != STATUS_DONE)
      return status;
  } while (more == MORE);
  if (more == FAILED)
    return STATUS_FAILED;
  if (more == BAD_INPUT)
    return fail (&p->common, "%s: the %" PRIu64 " items before it were "
                 "stored", p->reader.error, p->stored);
  if (stop_requested && p->reader.end > p->reader.start)
    return fail (&p->common, "stopped by a signal inside of an item: the %"
                 PRIu64 " items before it were stored", p->stored);
  return STATUS_DONE;
}

/*---------------------------------------------------------------------*/

/* 0 when one of the inputs has no size. */
static uint64_t
size_of_inputs (const struct reader *r)
{
  struct stat st;
  uint64_t total = 0;
  int i, err;

  for (i = 0; i < r->nr_files; ++i) {
    err = strcmp (r->files[i], "-") == 0 ? fstat (STDIN_FILENO, &st)
      : stat (r->files[i], &st);
    if (err == -1 || !S_ISREG (st.st_mode))
      return 0;
    total += st.st_size;
  }
  return total;
}

static int
produce (struct produce *p, blkring_device *device)
{
  struct blkring_attach_options o = attach_options (&p->common);
  struct batch *b = &p->batch;
  int status;

  o.durability = p->durability;
  o.flags = p->takeover ? BLKRING_ATTACH_TAKEOVER : 0;
  p->producer = blkring_producer_attach (device, &o);
  if (p->producer == NULL)
    return fail_ring (&p->common);
  p->reader.fd = -1;
  p->reader.largest = blkring_producer_largest_item (p->producer);
  p->total = size_of_inputs (&p->reader);
  b->offsets = calloc (b->max, sizeof *b->offsets);
  b->lengths = calloc (b->max, sizeof *b->lengths);
  b->items = calloc (b->max, sizeof *b->items);
  if (b->offsets && b->lengths && b->items)
    status = copy (p);
  else
    status = fail (&p->common, "out of memory");
  if (p->total)
    end_progress (&p->progress);
  free (b->offsets);
  free (b->lengths);
  free (b->items);
  reader_free (&p->reader);
  blkring_producer_free (p->producer);
  return status;
}

static int
run (struct produce *p)
{
  blkring_device *device;
  int status;

  catch_stop_signals ();
  device = open_ring (&p->common, 0, 0);
  if (device == NULL)
    return STATUS_FAILED;
  status = produce (p, device);
  if (!p->common.quiet && p->common.verbose)
    fprintf (stderr, "blkring-img: %s: %" PRIu64 " items were stored\n",
             p->common.name, p->stored);
  blkring_device_close (device);
  return status;
}

static int
run_produce (int argc, char **argv)
{
  enum { OPT_BATCH = OPT_OWN, OPT_FRAMING, OPT_WAIT, OPT_NO_WAIT,
         OPT_DURABILITY, OPT_TAKEOVER };
  static const struct option options[] = {
    { "batch", required_argument, NULL, OPT_BATCH },
    { "framing", required_argument, NULL, OPT_FRAMING },
    { "wait", no_argument, NULL, OPT_WAIT },
    { "no-wait", no_argument, NULL, OPT_NO_WAIT },
    { "durability", required_argument, NULL, OPT_DURABILITY },
    { "takeover", no_argument, NULL, OPT_TAKEOVER },
    COMMON_LONG
  };
  static const char *const framings[] = {
    [FRAMING_LINE] = "line", [FRAMING_NULL] = "null",
    [FRAMING_LENGTH] = "length", [FRAMING_FILE] = "file", NULL
  };
  static const char *const durabilities[] = { "full", "none", NULL };
  static char stdin_name[] = "-";
  static char *const only_stdin[] = { stdin_name };
  struct produce p = {
    .common.subcommand = &produce_command, .batch.max = DEFAULT_BATCH,
  };
  uint64_t batch;
  int opt, word;

  while ((opt = getopt_long (argc, argv, "p" COMMON_SHORT, options, NULL))
         != -1)
    switch (opt) {
    case OPT_BATCH:
      if (parse_number ("--batch", optarg, 1, LARGEST_BATCH, &batch) == -1)
        return STATUS_FAILED;
      p.batch.max = batch;
      break;
    case OPT_FRAMING:
      word = parse_word ("--framing", optarg, framings);
      if (word == -1)
        return STATUS_FAILED;
      p.reader.framing = word;
      break;
    case OPT_WAIT:
    case OPT_NO_WAIT:
      p.no_wait = opt == OPT_NO_WAIT;
      break;
    case OPT_DURABILITY:
      word = parse_word ("--durability", optarg, durabilities);
      if (word == -1)
        return STATUS_FAILED;
      p.durability = word == 0 ? BLKRING_DURABILITY_FULL
        : BLKRING_DURABILITY_NONE;
      break;
    case OPT_TAKEOVER:
      p.takeover = true;
      break;
    case 'p':
      p.progress.enabled = true;
      break;
    default:
      if (common_option (&p.common, opt) == -1)
        return STATUS_FAILED;
    }
  p.reader.nr_files = common_arguments (&p.common, argc, argv, argc);
  if (p.reader.nr_files == -1)
    return STATUS_FAILED;
  p.reader.files = argv + optind + 1;
  if (p.reader.nr_files == 0) {
    p.reader.files = only_stdin;
    p.reader.nr_files = 1;
  }
  return run (&p);
}

const struct subcommand produce_command = {
  .name = "produce",
  .arguments = "RING [FILE...]",
  .summary = "put lines of stdin, or of files, into a ring as items",
  .options =
  "      --framing=line|null|length|file\n"
  "                         an item is a line (default), ends with NUL, "
  "follows its\n"
  "                         length (u32 little-endian), or is a file\n"
  "      --batch=N          at most N items in one durable write (256)\n"
  "      --wait, --no-wait  while the ring is full or suspended, wait "
  "(default) or\n"
  "                         fail with exit status 3\n"
  "      --durability=full|none\n"
  "                         none: do not flush\n"
  "      --takeover         replace a producer that may be alive\n"
  "  -p                     show the progress where the input's size is "
  "known\n",
  .run = run_produce,
};
