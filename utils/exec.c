/* SPDX-License-Identifier: BSD-3-Clause
 *
 * consume --exec: what is done with the items of a ring, and in which
 * order.
 *
 * A batch is what one run of the command gets.  It leaves the ring when the
 * command has succeeded, or when it is given up; until then those behind it
 * wait.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "exec.h"

/* How soon a signal that came just before a wait is seen, ms. */
#define WAIT_SLICE 500
#define POP_BATCH 64

struct state {
  struct exec *e;
  struct dead_letter dead;
  bool due;                  /* what is in the ring waits no more */
  bool warned;
  blkring_position single;   /* items before it come one by one … */
  uint64_t before;           /* … and were tried so often together */

  /* The batch. */
  size_t nr;
  blkring_position first, next;
  char *input;
  size_t used, size;
};

static uint64_t
now_ms (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * UINT64_C (1000) + ts.tv_nsec / 1000000;
}

static int
min_ms (uint64_t a, uint64_t b)
{
  return a < b ? a : b;
}

/*---------------------------------------------------------------------*/
/* Gathering.                                                            */

static void
warn_of_nul (struct state *s, const struct blkring_item *item)
{
  if (s->warned || s->e->common->quiet || item->length == 0 ||
      memchr (item->data, '\0', item->length) == NULL)
    return;
  s->warned = true;
  fail (s->e->common, "warning: the item at position %" PRIu64 " contains a "
        "NUL byte, so that the command cannot tell where it ends: without "
        "--exec-batch it can", item->position);
}

/* One byte more than is needed, so that there is always a buffer. */
static int
add (struct state *s, const struct blkring_item *item)
{
  const size_t needed = s->used + item->length + 1;
  size_t size = s->size ? s->size : 4096;
  char *bigger;

  while (size < needed)
    size *= 2;
  if (size > s->size) {
    bigger = realloc (s->input, size);
    if (bigger == NULL)
      return fail (s->e->common, "out of memory");
    s->input = bigger;
    s->size = size;
  }
  if (item->length > 0)
    memcpy (s->input + s->used, item->data, item->length);
  s->used += item->length;
  if (s->e->batch > 0) {
    warn_of_nul (s, item);
    s->input[s->used++] = '\0';
  }
  if (s->nr++ == 0)
    s->first = item->position;
  s->next = item->next;
  return STATUS_DONE;
}

/* As many as may be in a batch that begins here. */
static size_t
batch_limit (const struct state *s)
{
  const struct exec *e = s->e;
  size_t limit = e->batch > 0 ? e->batch : 1;

  if (s->nr > 0 && blkring_position_compare (s->first, s->single) < 0)
    limit = 1;
  return limit < e->left ? limit : e->left;
}

/* Whatever there is, up to a batch.  None is no error. */
static int
gather (struct state *s)
{
  struct blkring_item items[POP_BATCH];
  ssize_t n = 1, i;
  int status;

  s->nr = s->used = 0;
  while (n > 0 && s->nr < batch_limit (s)) {
    n = blkring_consumer_popv (s->e->consumer, s->nr > 0 ? &s->next : NULL,
                               items, POP_BATCH);
    /* What is bad behind good ones is met again when they are done. */
    if (n == -1 && errno != EAGAIN && s->nr == 0)
      return fail_ring (s->e->common);
    for (i = 0; i < n && s->nr < batch_limit (s); ++i) {
      status = add (s, &items[i]);
      if (status != STATUS_DONE)
        return status;
    }
  }
  return STATUS_DONE;
}

/* Who fills the ring must not wait for an interval to end. */
static bool
is_half_full (const struct exec *e)
{
  struct blkring_inspect_options o = inspect_options (e->common);
  struct blkring_info *info = malloc (sizeof *info);
  bool r;

  o.flags = BLKRING_INSPECT_POINTERS;
  r = info && blkring_inspect (e->device, &o, info) == 0 &&
    info->used >= info->free;
  free (info);
  return r;
}

/* Gather, and give others the flush interval to join.  When it has ended
 * all that is in the ring is due. */
static int
gather_in_time (struct state *s)
{
  const struct exec *e = s->e;
  uint64_t begin = 0, now;
  int status;

  for (;;) {
    status = gather (s);
    if (status != STATUS_DONE)
      return status;
    if (s->nr == 0)
      s->due = false;
    if (s->nr == 0 || s->due || e->flush_ms == 0 || stop_requested ||
        e->until_empty || (e->batch > 0 && s->nr == batch_limit (s)))
      return STATUS_DONE;
    now = now_ms ();
    if (begin == 0)
      begin = now;
    if (now - begin >= (uint64_t) e->flush_ms || is_half_full (e)) {
      s->due = true;
      continue;
    }
    now = e->flush_ms - (now - begin);
    if (e->batch == 0)
      usleep (min_ms (now, WAIT_SLICE) * 1000);
    else if (blkring_consumer_wait (e->consumer, &s->next,
                                    min_ms (now, WAIT_SLICE)) == -1 &&
             errno != ETIMEDOUT && errno != EINTR)
      return fail_ring (e->common);
  }
}

/*---------------------------------------------------------------------*/
/* One batch.                                                            */

static int
advance (struct state *s)
{
  if (blkring_consumer_advance (s->e->consumer, s->next) == -1)
    return fail_ring (s->e->common);
  s->e->left -= s->nr;
  return STATUS_DONE;
}

/* STATUS_DONE, STATUS_FAILED, or STATUS_WOULD_WAIT and what the command did
 * wrong. */
static int
attempt (const struct state *s, uint64_t attempts, char error[COMMAND_ERROR])
{
  char text[24];

  /* What the command makes durable must be so in the ring. */
  if (blkring_device_flush (s->e->device) == -1)
    return fail_ring (s->e->common);
  snprintf (text, sizeof text, "%" PRIu64, s->first);
  setenv ("BLKRING_POSITION", text, 1);
  snprintf (text, sizeof text, "%" PRIu64, attempts);
  setenv ("BLKRING_ATTEMPT", text, 1);
  return run_command (s->e->command, s->input, s->used, error) == 0
    ? STATUS_DONE : STATUS_WOULD_WAIT;
}

static int
give_up (struct state *s, const char *error)
{
  const struct exec *e = s->e;
  const struct blkring_item item = {
    .data = s->input, .length = s->used - (e->batch > 0),
  };
  int status;

  switch (e->on_failure) {
  case ON_FAILURE_SKIP:
    fail (e->common, "%s: gave up the item at position %" PRIu64, error,
          s->first);
    return advance (s);
  case ON_FAILURE_DEAD_LETTER:
    status = put_dead_letter (&s->dead, &item);
    if (status != STATUS_DONE)
      return status;
    fail (e->common, "%s: gave up the item at position %" PRIu64 ", which is "
          "in %s now", error, s->first, s->dead.common.name);
    return advance (s);
  default:
    return fail (e->common, "%s: stopped at the item at position %" PRIu64
                 ", which stays in the ring", error, s->first);
  }
}

/* Sleep before the next attempt.  A signal ends it. */
static void
sleep_ms (int ms)
{
  const uint64_t end = now_ms () + ms;
  uint64_t now;

  while (!stop_requested && (now = now_ms ()) < end)
    usleep (min_ms (end - now, WAIT_SLICE) * 1000);
}

/* Until the command has succeeded, or the batch is to be gathered anew.
 * STATUS_WOULD_WAIT: stopped by a signal, the batch stays. */
static int
perform (struct state *s)
{
  const struct exec *e = s->e;
  const uint64_t before =
    blkring_position_compare (s->first, s->single) < 0 ? s->before : 0;
  uint64_t attempts;
  char error[COMMAND_ERROR];
  bool stopping;
  int status;

  for (attempts = 1; ; attempts++) {
    stopping = stop_requested;
    status = attempt (s, before + attempts, error);
    if (status != STATUS_WOULD_WAIT)
      return status == STATUS_DONE ? advance (s) : status;
    /* What asked this program to stop may have hit the command, too, as a key
     * at a terminal does: then that was no attempt. */
    if (e->max_attempts > 0 && attempts >= e->max_attempts && s->nr == 1 &&
        stopping == (stop_requested != 0))
      return give_up (s, error);
    if (!e->common->quiet)
      fail (e->common, "%s: attempt %" PRIu64 " at the item at position %"
            PRIu64, error, before + attempts, s->first);
    if (stopping || (stop_requested && !e->drain))
      return STATUS_WOULD_WAIT;
    sleep_ms (e->retry_ms);
    if (stop_requested && !e->drain)
      return STATUS_WOULD_WAIT;
    if (s->nr > 1 && attempts == e->max_attempts) {
      s->single = s->next;
      s->before = attempts;
      return STATUS_DONE;
    }
  }
}

/*---------------------------------------------------------------------*/

static int
run (struct state *s)
{
  struct exec *e = s->e;
  int status;

  while (e->left > 0 && (!stop_requested || e->drain)) {
    status = gather_in_time (s);
    if (status != STATUS_DONE)
      return status;
    if (stop_requested && !e->drain)
      break;
    if (s->nr > 0) {
      status = perform (s);
      if (status != STATUS_DONE)
        return status;
    }
    else if (e->until_empty || stop_requested)
      break;
    else if (blkring_consumer_wait (e->consumer, NULL, WAIT_SLICE) == -1 &&
             errno != ETIMEDOUT && errno != EINTR)
      return fail_ring (e->common);
  }
  return STATUS_DONE;
}

int
exec_items (struct exec *e)
{
  struct state s = { .e = e };
  int status = STATUS_DONE;

  if (e->on_failure == ON_FAILURE_DEAD_LETTER)
    status = open_dead_letter (&s.dead, e->common, e->dead_letter);
  if (status == STATUS_DONE)
    status = run (&s);
  if (status == STATUS_WOULD_WAIT)
    status = e->drain ? fail (e->common, "stopped by a signal: the command "
                              "failed, and items are left in the ring")
      : STATUS_DONE;
  close_dead_letter (&s.dead);
  free (s.input);
  return status;
}
