/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Locks that fail for another reason than that somebody has them: the call
 * says so, nothing stays locked, and the handle goes on.  And locks that are
 * waited for, within one process.
 */

#include <config.h>

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "record-kinds.h"
#include "common.h"

/* A device on the storage of another one, with locks that obey the case. */
struct locked {
  struct record_device *rd;
  unsigned flags;            /* of the device, more of them */
  bool fails;                /* … operations of this kind do … */
  enum blkring_lock_op op;
  unsigned after;            /* … behind so many of them */
  void (*meanwhile) (void);  /* once, with a lock that was waited for */
  unsigned held;
};

static struct locked locked;

static int
geometry (void *opaque, struct blkring_geometry *g)
{
  const struct locked *l = opaque;

  *g = l->rd->geometry;
  g->flags |= l->flags;
  return 0;
}

static ssize_t
do_pread (void *opaque, void *buf, size_t count, uint64_t offset)
{
  const struct locked *l = opaque;

  return blkring_device_read (l->rd->device, buf, count, offset) == -1 ? -1
    : (ssize_t) count;
}

static ssize_t
do_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
           unsigned flags)
{
  const struct locked *l = opaque;

  (void) flags;
  return blkring_device_write (l->rd->device, buf, count, offset) == -1 ? -1
    : (ssize_t) count;
}

static int
do_flush (void *opaque)
{
  const struct locked *l = opaque;

  return blkring_device_flush (l->rd->device);
}

static int
do_lock (void *opaque, unsigned byte, enum blkring_lock_op op)
{
  struct locked *l = opaque;
  void (*meanwhile) (void) = l->meanwhile;

  (void) byte;
  if (l->fails && op == l->op && l->after-- == 0) {
    l->fails = false;
    errno = ENOLCK;
    return -1;
  }
  if (op == BLKRING_LOCK_RELEASE)
    l->held--;
  else if (op != BLKRING_LOCK_TEST)
    l->held++;
  if (op == BLKRING_LOCK_WAIT && meanwhile) {
    l->meanwhile = NULL;
    meanwhile ();
  }
  return 0;
}

static void
fail_lock (enum blkring_lock_op op, unsigned after)
{
  locked.fails = true;
  locked.op = op;
  locked.after = after;
}

/* A ring, and another device on its storage, that is in 'locked'. */
static blkring_device *
start_locked (void **state)
{
  static const struct blkring_device_ops ops = {
    .struct_size = sizeof ops, .geometry = geometry, .pread = do_pread,
    .pwrite = do_pwrite, .flush = do_flush, .lock = do_lock,
  };
  blkring_device *device;

  ring = *state;
  locked = (struct locked) { .rd = new_ring () };
  device = blkring_device_new (&ops, &locked);
  assert_handle (device);
  return device;
}

static void
stop_locked (blkring_device *device)
{
  blkring_device_close (device);
  assert_int_equal (locked.held, 0);
  record_device_free (locked.rd);
}

/*---------------------------------------------------------------------*/

static void
attach_says_why (void **state)
{
  blkring_device *device = start_locked (state);
  blkring_producer *p;
  blkring_consumer *c;

  fail_lock (BLKRING_LOCK_TRY, 0);
  assert_no_handle (ENOLCK, blkring_producer_attach (device, options (0)));
  assert_message ("cannot lock");
  p = blkring_producer_attach (device, options (0));
  assert_handle (p);
  fail_lock (BLKRING_LOCK_TRY, 0);
  assert_no_handle (ENOLCK, blkring_consumer_attach (device, options (0)));
  assert_message ("cannot lock");
  c = blkring_consumer_attach (device, options (0));
  assert_handle (c);
  blkring_producer_free (p);
  blkring_consumer_free (c);
  stop_locked (device);
}

/* What changes the consumer's record beside others. */
static void
record_stays_as_it_was (void **state)
{
  blkring_device *device = start_locked (state);
  struct blkring_item item;
  blkring_producer *p = blkring_producer_attach (device, options (0));
  blkring_consumer *c;

  assert_handle (p);
  if (ring->format == 1) {
    fail_lock (BLKRING_LOCK_WAIT, 0);
    assert_no_handle (ENOLCK, blkring_consumer_attach (device, options (0)));
    assert_message ("cannot lock");
  }
  c = blkring_consumer_attach (device, options (0));
  assert_handle (c);
  assert_ok (blkring_producer_append (p, "x", 1, NULL));
  assert_ok (blkring_consumer_pop (c, NULL, &item));
  if (ring->format == 1) {
    fail_lock (BLKRING_LOCK_WAIT, 0);
    assert_fails (ENOLCK, blkring_consumer_advance (c, item.next));
    assert_message ("cannot lock");
  }
  fail_lock (BLKRING_LOCK_WAIT, 0);
  assert_fails (ENOLCK, blkring_consumer_suspend (c));
  assert_message ("cannot lock");
  assert_returns (BLKRING_RUNNING, blkring_consumer_state (c));
  assert_ok (blkring_consumer_advance (c, item.next));
  assert_ok (blkring_consumer_suspend (c));
  blkring_producer_free (p);
  blkring_consumer_free (c);
  stop_locked (device);
}

/* Whether there is a consumer that would be in the way is not known then. */
static void
observer_does_not_ask (void **state)
{
  blkring_device *device = start_locked (state);
  blkring_consumer *c, *o;

  locked.flags = BLKRING_DEVICE_SHARED;
  c = blkring_consumer_attach (device, options (0));
  o = blkring_consumer_attach (device, options (BLKRING_ATTACH_OBSERVER));
  assert_handle (c);
  assert_handle (o);
  blkring_consumer_free (c);
  fail_lock (BLKRING_LOCK_TEST, 0);
  assert_fails (ENOLCK, blkring_consumer_suspend (o));
  assert_message ("cannot test");
  assert_fails (EBUSY, blkring_consumer_suspend (o));
  blkring_consumer_free (o);
  stop_locked (device);
}

static void
consumer_is_not_enabled (void **state)
{
  blkring_device *device = start_locked (state);

  fail_lock (BLKRING_LOCK_TRY, 1);
  assert_fails (ENOLCK, blkring_consumer_enable (device, 0, true));
  assert_message ("cannot lock");
  assert_ok (blkring_consumer_enable (device, 0, true));
  stop_locked (device);
}

/*---------------------------------------------------------------------*/

static blkring_consumer *observer;
static pthread_t observing;
static atomic_int observing_tid;
static int observed;

static void *
suspend_too (void *arg)
{
  observing_tid = gettid ();
  observed = blkring_consumer_suspend (observer);
  return arg;
}

/* Another thread wants the lock that this one has. */
static void
let_another_wait (void)
{
  observing_tid = 0;
  assert_int_equal (pthread_create (&observing, NULL, suspend_too, NULL), 0);
  while (observing_tid == 0)
    sched_yield ();
  wait_until_asleep (observing_tid);
}

static void
threads_take_turns (void **state)
{
  blkring_device *device = start_locked (state);
  blkring_consumer *c = blkring_consumer_attach (device, options (0));
  static struct blkring_info info;

  assert_handle (c);
  observer = blkring_consumer_attach (device,
                                      options (BLKRING_ATTACH_OBSERVER));
  assert_handle (observer);
  observed = -2;
  locked.meanwhile = let_another_wait;
  assert_ok (blkring_consumer_suspend (c));
  assert_int_equal (pthread_join (observing, NULL), 0);
  assert_int_equal (observed, 0);
  assert_ok (blkring_inspect (device, NULL, &info));
  assert_int_equal (info.state, BLKRING_SUSPEND_REQUESTED);
  blkring_consumer_free (observer);
  blkring_consumer_free (c);
  stop_locked (device);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    ON_KIND ("attach says why (1)", FORMAT1_FLUSHES, attach_says_why),
    ON_KIND ("attach says why (2)", FORMAT2_FLUSHES, attach_says_why),
    ON_KIND ("the record stays as it was (1)", FORMAT1_FLUSHES,
             record_stays_as_it_was),
    ON_KIND ("the record stays as it was (2)", FORMAT2_FLUSHES,
             record_stays_as_it_was),
    ON_KIND ("an observer does not suspend", FORMAT1_FLUSHES,
             observer_does_not_ask),
    ON_KIND ("a consumer is not enabled", FORMAT2_TWO,
             consumer_is_not_enabled),
    ON_KIND ("threads take turns (1)", FORMAT1_FLUSHES, threads_take_turns),
    ON_KIND ("threads take turns (2)", FORMAT2_FLUSHES, threads_take_turns),
  };

  return cmocka_run_group_tests_name ("locks that fail", tests, NULL, NULL);
}
