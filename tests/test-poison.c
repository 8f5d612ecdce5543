/* SPDX-License-Identifier: BSD-3-Clause
 *
 * After a failed write or flush a handle is of no use: each call fails with
 * EIO and tells the first cause, nothing is written, flushed or tried
 * again, although the device works again; and a new attach works.  Each
 * write and each flush of every operation fails once here, on rings of both
 * formats.
 */

#include <config.h>

#include "record-kinds.h"

static blkring_position position;

static void
ignore_pair (void *opaque, const char *key, const char *value)
{
  (void) opaque;
  (void) key;
  (void) value;
}

static int
ignore_item (void *opaque, const struct blkring_item *item)
{
  (void) opaque;
  (void) item;
  return 0;
}

#define CALL(name, call) \
  static int name (struct fixture *f) { return call; }

CALL (small_push, blkring_producer_push (f->p, "x", 1, NULL))
CALL (small_append, blkring_producer_append (f->p, "x", 1, NULL))
CALL (producer_advance, blkring_producer_advance (f->p, position))
CALL (producer_state, blkring_producer_state (f->p))
CALL (producer_wait, blkring_producer_wait (f->p, 1, 0))
CALL (producer_debug_info,
      blkring_producer_debug_info (f->p, ignore_pair, NULL))
CALL (consumer_advance, blkring_consumer_advance (f->c, position))
CALL (consumer_suspend, blkring_consumer_suspend (f->c))
CALL (consumer_resume, blkring_consumer_resume (f->c))
CALL (consumer_state, blkring_consumer_state (f->c))
CALL (consumer_fold, blkring_consumer_fold (f->c, NULL, ignore_item, NULL))
CALL (consumer_wait, blkring_consumer_wait (f->c, NULL, 0))
CALL (consumer_wait_state,
      blkring_consumer_wait_state (f->c, BLKRING_RUNNING, 0))
CALL (consumer_debug_info,
      blkring_consumer_debug_info (f->c, ignore_pair, NULL))

static int
large_push (struct fixture *f)
{
  static const char item[3000];

  return blkring_producer_push (f->p, item, sizeof item, NULL);
}

static int
batch_push (struct fixture *f)
{
  struct iovec items[] = { { "x", 1 }, { "yy", 2 }, { NULL, 0 } };

  return blkring_producer_pushv (f->p, items, 3, NULL);
}

static int
batch_append (struct fixture *f)
{
  struct iovec items[] = { { "x", 1 }, { "yy", 2 }, { NULL, 0 } };

  return blkring_producer_appendv (f->p, items, 3, NULL);
}

static int
consumer_pop (struct fixture *f)
{
  struct blkring_item item;

  return blkring_consumer_pop (f->c, NULL, &item);
}

static int
consumer_popv (struct fixture *f)
{
  struct blkring_item items[2];

  return blkring_consumer_popv (f->c, NULL, items, 2) == -1 ? -1 : 0;
}

static int
consumer_pop_copy (struct fixture *f)
{
  struct blkring_item item;
  char data[CAPACITY];

  return blkring_consumer_pop_copy (f->c, NULL, data, sizeof data, &item);
}

static int
consumer_position (struct fixture *f)
{
  blkring_position ignored;

  return blkring_consumer_position (f->c, &ignored);
}

typedef int (*call_fn) (struct fixture *f);

static const call_fn producer_calls[] = {
  small_push, large_push, batch_push, batch_append, small_append,
  producer_advance, producer_state, producer_wait, producer_debug_info, NULL
};

static const call_fn consumer_calls[] = {
  consumer_advance, consumer_suspend, consumer_resume, consumer_state,
  consumer_pop, consumer_popv, consumer_pop_copy, consumer_fold,
  consumer_wait, consumer_wait_state, consumer_position,
  consumer_debug_info, NULL
};

/*---------------------------------------------------------------------*/

static void
nothing (struct fixture *f)
{
  (void) f;
}

static void
near_the_end (struct fixture *f)
{
  /* Less is left than large_push takes. */
  append (f->p, 'a', CAPACITY - 1500);
  drain (f->c);
}

/* The next push needs space that was freed, and that no flush has made
 * durable since. */
static void
full_and_freed (struct fixture *f)
{
  append (f->p, 'a', blkring_producer_largest_item (f->p));
  drain (f->c);
}

static void
pushed (struct fixture *f)
{
  push (f->p, 'a', 700);
  position = push (f->p, 'b', 1);
}

static void
popped (struct fixture *f)
{
  struct blkring_item item;

  append (f->p, 'a', 700);
  assert_int_equal (blkring_consumer_pop (f->c, NULL, &item), 0);
  position = item.next;
}

static void
popped_durable (struct fixture *f)
{
  struct blkring_item item;

  append (f->p, 'a', 700);
  attach_consumer (f, 0);
  assert_int_equal (blkring_consumer_pop (f->c, NULL, &item), 0);
  position = item.next;
}

static void
suspend_requested (struct fixture *f)
{
  assert_int_equal (blkring_consumer_suspend (f->c), 0);
  now += 1000 * UINT64_C (1000000);
}

static void
suspended (struct fixture *f)
{
  suspend_requested (f);
  assert_int_equal (blkring_producer_state (f->p), BLKRING_SUSPENDED);
}

static void
resume_requested (struct fixture *f)
{
  suspended (f);
  assert_int_equal (blkring_consumer_resume (f->c), 0);
}

static void
become_observer (struct fixture *f)
{
  attach_consumer (f, BLKRING_ATTACH_OBSERVER);
}

/* What fails. */
struct operation {
  struct record_ring ring;
  const call_fn *calls;      /* which then all fail */
  void (*prepare) (struct fixture *f);
  call_fn run;
};

static struct fixture
start_operation (struct operation *op)
{
  struct fixture f = start_kind (&op->ring);

  append (f.p, 'o', 1);
  drain (f.c);
  op->prepare (&f);
  record_device_forget (f.rd);
  return f;
}

static void
assert_useless (struct fixture *f, const call_fn *calls, int error)
{
  char cause[1000];
  const char *message = blkring_get_error ();

  assert_non_null (strstr (message, strerror (error)));
  strcpy (cause, message);
  record_device_forget (f->rd);
  for (; *calls; ++calls) {
    assert_int_equal ((*calls) (f), -1);
    assert_int_equal (errno, EIO);
    assert_int_equal (blkring_get_errno (), EIO);
    assert_non_null (strstr (blkring_get_error (), cause));
  }
  assert_int_equal (f->rd->writes, 0);
  assert_int_equal (f->rd->flushes, 0);
}

/* The same side again, and it works. */
static void
assert_attach_heals (struct fixture *f, const call_fn *calls)
{
  struct blkring_info info;

  if (calls == producer_calls) {
    assert_int_not_equal (blkring_consumer_state (f->c), -1);
    attach_producer (f);
  }
  else {
    assert_int_not_equal (blkring_producer_state (f->p), -1);
    attach_consumer (f, 0);
  }
  drain (f->c);
  if (blkring_producer_state (f->p) == BLKRING_SUSPENDED)
    assert_int_equal (blkring_consumer_resume (f->c), 0);
  assert_int_equal (blkring_producer_state (f->p), BLKRING_RUNNING);
  append (f->p, 'z', 2000);
  assert_int_equal (blkring_inspect (f->rd->device, NULL, &info), 0);
  assert_int_equal (info.items, 1);
  drain (f->c);
}

static void
fail_one (struct operation *op, enum record_kind kind, unsigned nth,
          int error)
{
  struct fixture f = start_operation (op);

  record_device_fail (f.rd, kind, nth, error);
  assert_int_equal (op->run (&f), -1);
  /* That was the last request: it was not tried again. */
  assert_int_equal (f.rd->log[f.rd->nr_log - 1].kind, kind);
  assert_int_equal (f.rd->log[f.rd->nr_log - 1].error, error);
  assert_useless (&f, op->calls, error);
  assert_attach_heals (&f, op->calls);
  stop (&f);
}

static void
fail_each (void **state)
{
  struct operation *op = *state;
  struct fixture f = start_operation (op);
  unsigned writes, flushes, i;

  op->run (&f);
  writes = f.rd->writes;
  flushes = f.rd->flushes;
  stop (&f);
  assert_true (writes > 0);
  for (i = 0; i < writes; ++i) {
    fail_one (op, RECORD_WRITE, i, ENOSPC);
    fail_one (op, RECORD_WRITE, i, EIO);
  }
  for (i = 0; i < flushes; ++i) {
    fail_one (op, RECORD_FLUSH, i, ENOSPC);
    fail_one (op, RECORD_FLUSH, i, EIO);
  }
}

#define FAILING_ON(text, kind, calls, prepare, run) \
  { "a failed " text, fail_each, NULL, NULL, \
    &(struct operation) { kind, calls, prepare, run } }

#define FAILING(text, calls, prepare, run) \
  FAILING_ON (text " poisons (format 1, by flushes)", FORMAT1_FLUSHES, \
              calls, prepare, run), \
  FAILING_ON (text " poisons (format 1, by FUA)", FORMAT1_FUA, \
              calls, prepare, run), \
  FAILING_ON (text " poisons (format 2, by flushes)", FORMAT2_FLUSHES, \
              calls, prepare, run), \
  FAILING_ON (text " poisons (format 2, by FUA)", FORMAT2_FUA, \
              calls, prepare, run), \
  FAILING_ON (text " poisons (format 2, two consumers)", FORMAT2_TWO, \
              calls, prepare, run)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    FAILING ("push", producer_calls, nothing, small_push),
    FAILING ("push of many sectors", producer_calls, nothing, large_push),
    FAILING ("push of a batch", producer_calls, nothing, batch_push),
    FAILING ("push around the end", producer_calls, near_the_end, large_push),
    FAILING ("push into freed space", producer_calls, full_and_freed,
             small_push),
    FAILING ("advance", producer_calls, pushed, producer_advance),
    FAILING ("append", producer_calls, nothing, small_append),
    FAILING ("append of a batch", producer_calls, nothing, batch_append),
    FAILING ("acknowledgement of a suspend", producer_calls, suspend_requested,
             producer_state),
    FAILING ("acknowledgement of a resume", producer_calls, resume_requested,
             producer_state),
    FAILING ("acknowledgement within push", producer_calls, suspend_requested,
             small_push),
    FAILING ("acknowledgement within wait", producer_calls, suspend_requested,
             producer_wait),
    FAILING ("advance of the consumer", consumer_calls, popped_durable,
             consumer_advance),
    FAILING ("advance of the consumer over new items", consumer_calls, popped,
             consumer_advance),
    FAILING ("suspend", consumer_calls, nothing, consumer_suspend),
    FAILING ("resume", consumer_calls, suspended, consumer_resume),
    FAILING ("suspend of an observer", consumer_calls, become_observer,
             consumer_suspend),
  };

  return cmocka_run_group_tests_name ("poison", tests, NULL, NULL);
}
