/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-img consume: from the ring to stdout, or (exec.c) to a command.
 *
 * The ring is advanced only behind items that were written whole, and
 * where stdout is a file are on its disk.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "exec.h"
#include "framing.h"
#include "img.h"

#define BATCH 256
/* How soon a signal that came just before a wait is seen, ms. */
#define WAIT_SLICE 500
#define DEFAULT_RETRY 5000   /* ms */

struct consume {
  struct common common;
  enum framing framing;
  struct exec exec;
  bool has_exec_option, has_on_failure;
  bool json, until_empty, follow, has_count, takeover, salvage;
  bool has_framing, has_output;
  struct salvage skipped;
  uint64_t left;             /* items still to be consumed */
  blkring_device *device;
  blkring_consumer *consumer;
  bool sync;                 /* stdout is a file */
  bool warned;
  char *out;                 /* framed items … */
  size_t used, size;
  size_t ends[BATCH];        /* … and where each of them ends */
};

static int
put (struct consume *c, const void *bytes, size_t n)
{
  size_t size = c->size ? c->size : 65536;
  char *bigger;

  if (n > c->size - c->used) {
    while (size - c->used < n)
      size *= 2;
    bigger = realloc (c->out, size);
    if (bigger == NULL)
      return -1;
    c->out = bigger;
    c->size = size;
  }
  if (n > 0)
    memcpy (c->out + c->used, bytes, n);
  c->used += n;
  return 0;
}

static int
put_json (struct consume *c, const struct blkring_item *item)
{
  char *line = item_to_json (item);
  int r = line ? put (c, line, strlen (line)) : -1;

  free (line);
  return r;
}

static void
warn_of_separator (struct consume *c, const struct blkring_item *item,
                   char separator)
{
  if (c->warned || c->common.quiet || item->length == 0 ||
      memchr (item->data, separator, item->length) == NULL)
    return;
  c->warned = true;
  fprintf (stderr, "blkring-img: %s: warning: the item at position %" PRIu64
           " contains the separator, so that the output cannot be split "
           "again: --framing=length keeps items apart\n", c->common.name,
           item->position);
}

static int
put_item (struct consume *c, const struct blkring_item *item)
{
  const int separator = framing_separator (c->framing);
  unsigned char length[4];
  char byte = separator;

  if (c->json)
    return put_json (c, item);
  if (separator >= 0)
    warn_of_separator (c, item, byte);
  put_le32 (length, item->length);
  if (c->framing == FRAMING_LENGTH && put (c, length, sizeof length) == -1)
    return -1;
  if (put (c, item->data, item->length) == -1)
    return -1;
  return separator >= 0 ? put (c, &byte, 1) : 0;
}

/*---------------------------------------------------------------------*/

/* How far to write: all; or once asked to stop, the item under way. */
static size_t
write_limit (const struct consume *c, size_t at, size_t nr)
{
  size_t i;

  if (!stop_requested)
    return c->used;
  if (at == 0)
    return 0;
  for (i = 0; i < nr && c->ends[i] < at; ++i)
    ;
  return c->ends[i];
}

/* Write what is framed: the number of items that are out whole, or -1. */
static ssize_t
write_items (struct consume *c, size_t nr)
{
  struct pollfd pfd = { .fd = STDOUT_FILENO, .events = POLLOUT };
  size_t at = 0, limit, i;
  ssize_t r;

  while (at < (limit = write_limit (c, at, nr))) {
    r = write (STDOUT_FILENO, c->out + at, limit - at);
    if (r >= 0)
      at += r;
    else if (errno == EAGAIN)
      poll (&pfd, 1, -1);
    else if (errno != EINTR) {
      fail (&c->common, "cannot write the output: %s: nothing of it was "
            "taken from the ring", strerror (errno));
      return -1;
    }
  }
  if (at > 0 && c->sync && fdatasync (STDOUT_FILENO) == -1) {
    fail (&c->common, "cannot make the output durable: %s: nothing of it was"
          " taken from the ring", strerror (errno));
    return -1;
  }
  for (i = 0; i < nr && c->ends[i] <= at; ++i)
    ;
  return i;
}

static int
hand_over (struct consume *c, const struct blkring_item *items, size_t nr)
{
  ssize_t written;
  size_t i;

  c->used = 0;
  for (i = 0; i < nr; ++i) {
    if (put_item (c, &items[i]) == -1)
      return fail (&c->common, "out of memory");
    c->ends[i] = c->used;
  }
  written = write_items (c, nr);
  if (written == -1)
    return STATUS_FAILED;
  if (written > 0 &&
      blkring_consumer_advance (c->consumer, items[written - 1].next) == -1)
    return fail_ring (&c->common);
  c->left -= written;
  return STATUS_DONE;
}

static int
copy (struct consume *c)
{
  struct blkring_item items[BATCH];
  ssize_t n;
  int status;

  while (c->left > 0 && !stop_requested) {
    n = blkring_consumer_popv (c->consumer, NULL, items,
                               c->left < BATCH ? c->left : BATCH);
    if (n > 0) {
      /* What is made durable in the output must be so in the ring. */
      if (c->sync && blkring_device_flush (c->device) == -1)
        return fail_ring (&c->common);
      status = hand_over (c, items, n);
      if (status != STATUS_DONE)
        return status;
    }
    else if (errno != EAGAIN)
      return fail_ring (&c->common);
    else if (c->until_empty)
      break;
    else if (blkring_consumer_wait (c->consumer, NULL, WAIT_SLICE) == -1 &&
             errno != ETIMEDOUT && errno != EINTR)
      return fail_ring (&c->common);
  }
  return STATUS_DONE;
}

static int
exec (struct consume *c)
{
  c->exec.common = &c->common;
  c->exec.device = c->device;
  c->exec.consumer = c->consumer;
  c->exec.until_empty = c->until_empty;
  c->exec.left = c->left;
  return exec_items (&c->exec);
}

static int
run (struct consume *c)
{
  struct blkring_attach_options o;
  blkring_device *device;
  struct stat st;
  int status;

  catch_stop_signals ();
  signal (SIGPIPE, SIG_IGN);
  c->sync = fstat (STDOUT_FILENO, &st) == 0 && S_ISREG (st.st_mode);
  device = c->device = open_ring (&c->common, 0, 0);
  if (device == NULL)
    return STATUS_FAILED;
  o = attach_options (&c->common, device);
  o.flags = (c->takeover ? BLKRING_ATTACH_TAKEOVER : 0) |
    (c->salvage ? BLKRING_ATTACH_SALVAGE : 0);
  c->skipped.common = &c->common;
  o.skipped = report_skipped;
  o.skipped_opaque = &c->skipped;
  c->consumer = blkring_consumer_attach (device, &o);
  if (c->consumer == NULL)
    status = fail_ring (&c->common);
  else
    status = c->exec.command ? exec (c) : copy (c);
  blkring_consumer_free (c->consumer);
  blkring_device_close (device);
  free (c->out);
  if (status == STATUS_DONE && c->skipped.bytes > 0)
    status = STATUS_CORRUPT;
  return status;
}

/*---------------------------------------------------------------------*/

enum {
  OPT_COUNT = OPT_OWN, OPT_UNTIL_EMPTY, OPT_FOLLOW, OPT_FRAMING,
  OPT_TAKEOVER, OPT_SALVAGE, OPT_EXEC, OPT_EXEC_BATCH, OPT_RETRY,
  OPT_FLUSH, OPT_ATTEMPTS, OPT_ON_FAILURE, OPT_DRAIN
};

static int
misuse (const char *what)
{
  fprintf (stderr, "blkring-img: %s\n", what);
  return -1;
}

static int
check_options (const struct consume *c)
{
  const struct exec *e = &c->exec;

  if (c->has_count + c->until_empty + c->follow > 1)
    return misuse ("--count, --until-empty and --follow exclude each other");
  if (c->has_exec_option && e->command == NULL)
    return misuse ("--exec-batch, --retry-interval, --flush-interval, "
                   "--max-attempts, --on-failure and --drain are for --exec");
  if (e->command && (c->has_framing || c->has_output))
    return misuse ("--framing and --output are for stdout, not for --exec");
  if (c->has_on_failure && e->max_attempts == 0)
    return misuse ("--on-failure needs --max-attempts: without it a command "
                   "that fails is tried for ever");
  return 0;
}

static int
parse_on_failure (struct exec *e)
{
  static const char prefix[] = "dead-letter=";
  static const char *const words[] = { "stop", "skip", "dead-letter=RING",
                                       NULL };
  int word;

  if (strncmp (optarg, prefix, strlen (prefix)) == 0 &&
      optarg[strlen (prefix)]) {
    e->on_failure = ON_FAILURE_DEAD_LETTER;
    e->dead_letter = optarg + strlen (prefix);
    return 0;
  }
  word = parse_word ("--on-failure", optarg, words);
  e->on_failure = word == 1 ? ON_FAILURE_SKIP : ON_FAILURE_STOP;
  return word == -1 ? -1 : 0;
}

/* 1: it is none of --exec. */
static int
exec_option (struct consume *c, int opt)
{
  struct exec *e = &c->exec;
  uint64_t batch;

  c->has_exec_option |= opt > OPT_EXEC;
  switch (opt) {
  case OPT_EXEC:
    e->command = optarg;
    return 0;
  case OPT_EXEC_BATCH:
    if (parse_number ("--exec-batch", optarg, 1, 1000000, &batch) == -1)
      return -1;
    e->batch = batch;
    return 0;
  case OPT_RETRY:
    return parse_seconds ("--retry-interval", optarg, &e->retry_ms);
  case OPT_FLUSH:
    return parse_seconds ("--flush-interval", optarg, &e->flush_ms);
  case OPT_ATTEMPTS:
    return parse_number ("--max-attempts", optarg, 0, UINT64_MAX,
                         &e->max_attempts);
  case OPT_ON_FAILURE:
    c->has_on_failure = true;
    return parse_on_failure (e);
  case OPT_DRAIN:
    e->drain = true;
    return 0;
  }
  return 1;
}

static int
run_consume (int argc, char **argv)
{
  static const struct option options[] = {
    { "count", required_argument, NULL, OPT_COUNT },
    { "until-empty", no_argument, NULL, OPT_UNTIL_EMPTY },
    { "follow", no_argument, NULL, OPT_FOLLOW },
    { "framing", required_argument, NULL, OPT_FRAMING },
    { "takeover", no_argument, NULL, OPT_TAKEOVER },
    { "salvage", no_argument, NULL, OPT_SALVAGE },
    { "output", required_argument, NULL, OPT_OUTPUT },
    { "exec", required_argument, NULL, OPT_EXEC },
    { "exec-batch", required_argument, NULL, OPT_EXEC_BATCH },
    { "retry-interval", required_argument, NULL, OPT_RETRY },
    { "flush-interval", required_argument, NULL, OPT_FLUSH },
    { "max-attempts", required_argument, NULL, OPT_ATTEMPTS },
    { "on-failure", required_argument, NULL, OPT_ON_FAILURE },
    { "drain", no_argument, NULL, OPT_DRAIN },
    COMMON_LONG
  };
  static const char *const framings[] = { "line", "null", "length", "none",
                                          NULL };
  static const enum framing by_word[] = { FRAMING_LINE, FRAMING_NULL,
                                          FRAMING_LENGTH, FRAMING_NONE };
  static const char *const outputs[] = { "items", "json", NULL };
  struct consume c = {
    .common.subcommand = &consume_command, .left = UINT64_MAX,
    .exec.retry_ms = DEFAULT_RETRY,
  };
  int opt, word;

  while ((opt = getopt_long (argc, argv, COMMON_SHORT, options, NULL)) != -1)
    switch (opt) {
    case OPT_COUNT:
      if (parse_number ("--count", optarg, 0, UINT64_MAX, &c.left) == -1)
        return STATUS_FAILED;
      c.has_count = true;
      break;
    case OPT_UNTIL_EMPTY:
      c.until_empty = true;
      break;
    case OPT_FOLLOW:
      c.follow = true;
      break;
    case OPT_TAKEOVER:
      c.takeover = true;
      break;
    case OPT_SALVAGE:
      c.salvage = true;
      break;
    case OPT_FRAMING:
      word = parse_word ("--framing", optarg, framings);
      if (word == -1)
        return STATUS_FAILED;
      c.framing = by_word[word];
      c.has_framing = true;
      break;
    case OPT_OUTPUT:
      word = parse_word ("--output", optarg, outputs);
      if (word == -1)
        return STATUS_FAILED;
      c.json = word == 1;
      c.has_output = true;
      break;
    default:
      word = exec_option (&c, opt);
      if (word == 1)
        word = common_option (&c.common, opt);
      if (word == -1)
        return STATUS_FAILED;
    }
  if (common_arguments (&c.common, argc, argv, 0) == -1 ||
      check_options (&c) == -1)
    return STATUS_FAILED;
  return run (&c);
}

const struct subcommand consume_command = {
  .name = "consume",
  .arguments = "RING",
  .summary = "take items out of a ring, to stdout or by a command",
  .consumes = true,
  .options =
  "      --count=N          end after N items\n"
  "      --until-empty      end when there is nothing more\n"
  "      --follow           go on for ever (default)\n"
  "      --framing=line|null|length|none\n"
  "                         end an item with a newline (default) or NUL, "
  "write its\n"
  "                         length (u32 little-endian) before it, or the "
  "item alone\n"
  "      --output=items|json\n"
  "      --exec=COMMAND     run it for each item, which is on its stdin, "
  "until it\n"
  "                         succeeds\n"
  "      --exec-batch=N     for up to N items at once, each with a NUL behind "
  "it\n"
  "      --retry-interval=SECONDS\n"
  "                         between two attempts (5)\n"
  "      --flush-interval=SECONDS\n"
  "                         how long an item may wait for others (0)\n"
  "      --max-attempts=N   give an item up after so many (0: never)\n"
  "      --on-failure=stop|skip|dead-letter=RING2\n"
  "                         what becomes of it then\n"
  "      --drain            on a signal, do first what is in the ring\n"
  "      --consumer=K       which consumer of the ring to be, from 0\n"
  "      --takeover         replace a consumer that may be alive\n"
  "      --salvage          go on behind what is damaged\n",
  .run = run_consume,
};
