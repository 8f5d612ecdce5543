/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What leaves nothing behind: an attach that fails, at whichever request,
 * and a read that fails.  Failed writes and flushes of a handle are in
 * test-poison.c.
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

CALL (producer_state, blkring_producer_state (f->p))
CALL (producer_debug_info,
      blkring_producer_debug_info (f->p, ignore_pair, NULL))
CALL (consumer_advance, blkring_consumer_advance (f->c, position))
CALL (consumer_suspend, blkring_consumer_suspend (f->c))
CALL (consumer_state, blkring_consumer_state (f->c))
CALL (consumer_fold, blkring_consumer_fold (f->c, NULL, ignore_item, NULL))
CALL (consumer_wait, blkring_consumer_wait (f->c, NULL, 0))
CALL (consumer_debug_info,
      blkring_consumer_debug_info (f->c, ignore_pair, NULL))

static int
large_push (struct fixture *f)
{
  static const char item[3000];

  return blkring_producer_push (f->p, item, sizeof item, NULL);
}

static int
consumer_pop (struct fixture *f)
{
  struct blkring_item item;

  return blkring_consumer_pop (f->c, NULL, &item);
}

typedef int (*call_fn) (struct fixture *f);

static int
producer_attach (struct fixture *f)
{
  f->p = blkring_producer_attach (f->rd->device, options (0));
  return f->p ? 0 : -1;
}

static int
consumer_attach (struct fixture *f)
{
  f->c = blkring_consumer_attach (f->rd->device, options (0));
  return f->c ? 0 : -1;
}

/*---------------------------------------------------------------------*/

/* Each request of this kind that the call makes fails once: how many. */
static unsigned
fail_each (struct fixture *f, enum record_kind kind, call_fn run)
{
  unsigned i;

  for (i = 0;; ++i) {
    record_device_fail (f->rd, kind, i, ENXIO);
    if (run (f) != -1)
      break;
    assert_int_equal (errno, ENXIO);
    assert_int_equal (blkring_get_errno (), ENXIO);
  }
  assert_true (f->rd->faults[kind].armed);
  f->rd->faults[kind].armed = false;
  return i;
}

/* There is always something to acknowledge, which takes a write. */
static void
failed_attach_of_the_producer_leaves_nothing (void **state)
{
  struct fixture f = start_kind (*state);
  unsigned kind;

  append (f.p, 'a', 10);
  for (kind = 0; kind < RECORD_KINDS; ++kind) {
    blkring_producer_free (f.p);
    assert_int_equal (kind % 2 ? blkring_consumer_resume (f.c)
                      : blkring_consumer_suspend (f.c), 0);
    assert_true (fail_each (&f, kind, producer_attach) > 0);
    assert_int_equal (blkring_producer_state (f.p),
                      kind % 2 ? BLKRING_RUNNING : BLKRING_SUSPENDED);
  }
  drain (f.c);
  assert_int_equal (blkring_consumer_resume (f.c), 0);
  append (f.p, 'b', 10);
  stop (&f);
}

static void
failed_attach_of_the_consumer_leaves_nothing (void **state)
{
  struct fixture f = start_kind (*state);
  unsigned kind, failures[RECORD_KINDS];

  append (f.p, 'a', 10);
  for (kind = 0; kind < RECORD_KINDS; ++kind) {
    blkring_consumer_free (f.c);
    failures[kind] = fail_each (&f, kind, consumer_attach);
  }
  assert_true (failures[RECORD_READ] > 0);
  assert_true (failures[RECORD_FLUSH] > 0);
  assert_true (failures[RECORD_WRITE] > 0);
  assert_int_equal (consumer_pop (&f), 0);
  drain (f.c);
  stop (&f);
}

static void
fail_each_read (struct fixture *f, call_fn run)
{
  assert_true (fail_each (f, RECORD_READ, run) > 0);
}

static void
failed_read_poisons_nothing (void **state)
{
  struct fixture f = start_kind (*state);
  struct blkring_item item;

  append (f.p, '-', CAPACITY - 1500);
  drain (f.c);
  append (f.p, 'a', 10);
  fail_each_read (&f, producer_state);
  fail_each_read (&f, producer_debug_info);
  fail_each_read (&f, large_push); /* into freed space: it looks */
  append (f.p, 'z', 1);

  fail_each_read (&f, consumer_state);
  fail_each_read (&f, consumer_debug_info);
  fail_each_read (&f, consumer_pop);
  assert_int_equal (blkring_consumer_pop (f.c, NULL, &item), 0);
  position = item.next;
  fail_each_read (&f, consumer_advance);
  attach_consumer (&f, 0);
  fail_each_read (&f, consumer_fold);
  drain (f.c);
  now += 1000 * UINT64_C (1000000);
  record_device_fail (f.rd, RECORD_READ, 0, ENXIO);
  assert_int_equal (consumer_wait (&f), -1);
  assert_int_equal (errno, ENXIO);
  fail_each_read (&f, consumer_suspend);
  fail_each_read (&f, producer_state);
  stop (&f);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_EACH_KIND ("a failed attach of the producer leaves nothing",
                  failed_attach_of_the_producer_leaves_nothing),
    IN_EACH_KIND ("a failed attach of the consumer leaves nothing",
                  failed_attach_of_the_consumer_leaves_nothing),
    IN_EACH_KIND ("a failed read poisons nothing",
                  failed_read_poisons_nothing),
  };

  return cmocka_run_group_tests_name ("device fails", tests, NULL, NULL);
}
