/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 2: others who do what no one should, or at the worst moment: records
 * that go back, owners who write again and again while somebody attaches,
 * devices that fail in the middle of that.  It ends with a reason, and what was
 * there is kept.
 */

#include <config.h>

#include "format2-shared.h"

static struct shared *shared;
static unsigned calls;

/*---------------------------------------------------------------------*/
/* Impossible positions.                                                 */

static void
consumer_goes_back (void **state)
{
  struct fixture f = start_small ();
  struct f2_record first, r;

  (void) state;
  get_record (f.rd, F2_CONSUMER, &first);
  put (f.p, 'a', 1);
  free_one (f.c);
  put (f.p, 'b', 1);
  reattach_producer (&f);    /* which sees that one is freed */
  get_record (f.rd, F2_CONSUMER, &r);
  r.frame = r.position = first.frame;
  r.chain = first.chain;
  set_record (f.rd, F2_CONSUMER, &r);
  record_device_forget (f.rd);
  assert_fails (EBADMSG, blkring_producer_state (f.p));
  assert_message ("went back");
  assert_fails (EIO, try_put (f.p, 'c', 1));
  assert_int_equal (f.rd->writes, 0);
  stop (&f);
}

/*---------------------------------------------------------------------*/
/* Others who attach, or write, again and again.                         */

/* The record of the old owner is another one behind each flush. */
static void
write_its_record (struct record_device *rd)
{
  const blkring_position after = push (shared->f.p, '-', 1);

  assert_ok (blkring_producer_advance (shared->f.p, after));
  calls++;
  rd->behind_flush = write_its_record;
}

static void
owner_writes_while_another_takes_over (void **state)
{
  struct shared h = start_shared (with_frozen_clock (), with_clock ());

  (void) state;
  shared = &h;
  calls = 0;
  h.f.rd->behind_flush = write_its_record;
  assert_no_handle (EBUSY, blkring_producer_attach (h.again,
                                                    taking_over ()));
  assert_message ("again and again");
  h.f.rd->behind_flush = NULL;
  assert_in_range (calls, 2, 10);
  put (h.f.p, 'a', 1);
  take_over_producer (&h);
  put (h.g.p, 'b', 1);
  stop_shared (&h);
}

/* What the old owner had under way comes over each claim. */
static unsigned most_calls;
static bool flush_fails;
static struct f2_record before;

static int
write_record_and_sleep (void *opaque, uint64_t ns)
{
  struct f2_record claimed, old = before;
  unsigned copy;

  (void) opaque;
  now += ns;
  if (calls == most_calls)
    return 0;
  copy = get_record (shared->f.rd, F2_PRODUCER, &claimed);
  old.sequence += ++calls;
  poke_record (shared->f.rd, F2_PRODUCER, !copy, &old);
  if (flush_fails)
    record_device_fail (shared->f.rd, RECORD_FLUSH, 0, EIO);
  return 0;
}

static const struct blkring_attach_options *
taking_over_with (int (*sleep) (void *opaque, uint64_t ns))
{
  static struct blkring_clock clock;
  static struct blkring_attach_options o;

  o = *taking_over ();
  clock = *o.clock;
  clock.sleep = sleep;
  o.clock = &clock;
  calls = 0;
  return &o;
}

static void
owner_writes_over_each_claim (void **state)
{
  struct shared h = start_shared (with_frozen_clock (), with_clock ());

  (void) state;
  shared = &h;
  put (h.f.p, 'a', 1);
  get_record (h.f.rd, F2_PRODUCER, &before);
  most_calls = UINT_MAX;
  flush_fails = false;
  assert_no_handle (EBUSY, blkring_producer_attach
                    (h.again, taking_over_with (write_record_and_sleep)));
  assert_message ("again and again");
  assert_in_range (calls, 2, 10);
  assert_holds (h.f.c, "a");
  stop_shared (&h);
}

static void
flush_fails_behind_a_claim (void **state)
{
  struct shared h = start_shared (with_frozen_clock (), with_clock ());

  (void) state;
  shared = &h;
  put (h.f.p, 'a', 1);
  get_record (h.f.rd, F2_PRODUCER, &before);
  most_calls = 1;
  flush_fails = true;
  assert_no_handle (EIO, blkring_producer_attach
                    (h.again, taking_over_with (write_record_and_sleep)));
  assert_message ("flush failed");
  assert_false (h.f.rd->faults[RECORD_FLUSH].armed);
  /* As after a crash there: nobody goes on in silence. */
  assert_no_handle (EBADMSG, blkring_producer_attach (h.again,
                                                      taking_over ()));
  assert_message ("came late");
  assert_holds (h.f.c, "a");
  stop_shared (&h);
}

/* A signal comes in the second wait. */
static int
sleep_once (void *opaque, uint64_t ns)
{
  (void) opaque;
  if (calls++ == most_calls) {
    errno = EINTR;
    return -1;
  }
  now += ns;
  return 0;
}

static void
takeover_is_interrupted (void **state)
{
  unsigned i;

  (void) state;
  for (i = 0; i < 2; ++i) {
    struct shared h = start_shared (with_frozen_clock (), with_clock ());

    put (h.f.p, 'a', 1);
    most_calls = i;
    assert_no_handle (EINTR, blkring_producer_attach
                      (h.again, taking_over_with (sleep_once)));
    assert_message ("interrupted");
    h.g.p = blkring_producer_attach (h.again, taking_over ());
    assert_non_null (h.g.p);
    put (h.g.p, 'b', 1);
    assert_holds (h.f.c, "ab");
    stop_shared (&h);
  }
}

/* Behind each flush another one has been here. */
static void
come_and_go (struct record_device *rd)
{
  blkring_producer_free (blkring_producer_attach (shared->again,
                                                  with_clock ()));
  calls++;
  rd->behind_flush = come_and_go;
}

static void
others_attach_at_the_same_time (void **state)
{
  struct shared h = start_shared (with_clock (), with_clock ());

  (void) state;
  shared = &h;
  put (h.f.p, 'a', 1);
  blkring_producer_free (h.f.p);
  calls = 0;
  h.f.rd->behind_flush = come_and_go;
  h.f.p = blkring_producer_attach (h.f.rd->device, with_clock ());
  assert_null (h.f.p);
  assert_error (EBUSY);
  assert_message ("at the same time");
  assert_in_range (calls, 2, 10);
  h.f.rd->behind_flush = NULL;
  h.f.p = blkring_producer_attach (h.f.rd->device, with_clock ());
  assert_non_null (h.f.p);
  assert_holds (h.f.c, "a");
  stop_shared (&h);
}

/* Another consumer comes while one attaches, and stays. */
static void
come_and_stay (struct record_device *rd)
{
  (void) rd;
  shared->g.c = blkring_consumer_attach (shared->again, with_clock ());
  assert_non_null (shared->g.c);
}

static void
another_consumer_attaches_at_the_same_time (void **state)
{
  struct shared h = start_shared (with_clock (), with_clock ());

  (void) state;
  shared = &h;
  put (h.f.p, 'a', 1);
  blkring_consumer_free (h.f.c);
  h.f.rd->behind_flush = come_and_stay;
  h.f.c = blkring_consumer_attach (h.f.rd->device, with_clock ());
  assert_null (h.f.c);
  assert_error (EBUSY);
  assert_holds (h.g.c, "a");
  free_one (h.g.c);
  stop_shared (&h);
}

/*---------------------------------------------------------------------*/
/* Reads that fail while frames are looked for.                          */

/* A ring with frames so large that one read does not hold one, in its third
 * lap, whose owners are gone. */
static struct record_device *
new_worn_ring (void)
{
  struct fixture f = start2 (&(struct shape) { .blocks = 2400 },
                             with_clock (), with_clock ());
  struct record_device *rd;
  unsigned i;

  for (i = 0; i < 9; ++i) {
    put (f.p, 'a' + i, 300000);
    if (i > 1)
      free_one (f.c);
  }
  rd = device_with (f.rd->content, f.rd->allocated);
  stop (&f);
  return rd;
}

static void
attach_fails_at_each_read (void **state)
{
  struct record_device *rd = new_worn_ring ();
  blkring_producer *p = NULL;
  blkring_consumer *c;
  unsigned reads;

  (void) state;
  for (reads = 0; reads < 100 && p == NULL; ++reads) {
    record_device_fail (rd, RECORD_READ, reads, EIO);
    p = blkring_producer_attach (rd->device, with_clock ());
    if (p == NULL)
      assert_error (EIO);
  }
  assert_in_range (reads, 5, 99);
  rd->faults[RECORD_READ].armed = false;
  c = attach_consumer (rd);
  assert_holds (c, "hi");
  blkring_consumer_free (c);
  blkring_producer_free (p);
  record_device_free (rd);
}

static void
count_skipped (void *opaque, blkring_position from, blkring_position to,
               const char *why)
{
  (void) from;
  (void) to;
  (void) why;
  ++*(unsigned *) opaque;
}

static void
salvage_fails_at_each_read (void **state)
{
  static struct blkring_attach_options o;
  struct record_device *rd = new_worn_ring ();
  struct f2_record r;
  struct blkring_item item;
  blkring_consumer *c;
  unsigned reads, skipped = 0;
  int done = -1;

  (void) state;
  get_record (rd, F2_CONSUMER, &r);
  damage_stream (rd, r.frame + 100);
  o = *with_clock ();
  o.flags = BLKRING_ATTACH_SALVAGE | BLKRING_ATTACH_OBSERVER;
  o.skipped = count_skipped;
  o.skipped_opaque = &skipped;
  for (reads = 0; reads < 100 && done == -1; ++reads) {
    c = blkring_consumer_attach (rd->device, &o);
    assert_non_null (c);
    record_device_fail (rd, RECORD_READ, reads, EIO);
    done = blkring_consumer_pop (c, NULL, &item);
    if (done == -1)
      assert_error (EIO);
    else
      assert_int_equal (*(const char *) item.data, 'i');
    rd->faults[RECORD_READ].armed = false;
    blkring_consumer_free (c);
  }
  assert_in_range (reads, 4, 99);
  assert_true (skipped > 0);
  record_device_free (rd);
}

/* An observer reads a frame that the consumer has made room for since it
 * looked; and then it cannot read on, or look. */
static struct fixture *moving;
static unsigned reads_until, reads_after;

static void
move_and_fail (struct record_device *rd)
{
  if (reads_until-- > 0) {
    rd->before_read = move_and_fail;
    return;
  }
  free_one (moving->c);
  put (moving->p, 'c', FILLS (B, 7));
  record_device_fail (rd, RECORD_READ, 1 + reads_after, EIO);
}

static bool
read_fails_behind_a_move (unsigned after)
{
  struct fixture f = start_small ();
  blkring_device *again = open_again (f.rd);
  static struct blkring_attach_options o;
  struct blkring_item item;
  blkring_consumer *observer;
  blkring_position next;
  bool fails;

  put (f.p, 'a', FILLS (B, 7));
  put (f.p, 'b', FILLS (B, 7));
  o = *with_clock ();
  o.flags = BLKRING_ATTACH_OBSERVER;
  observer = blkring_consumer_attach (again, &o);
  assert_non_null (observer);
  assert_ok (blkring_consumer_pop (observer, NULL, &item));
  assert_ok (blkring_consumer_pop (observer, &item.next, &item));
  next = item.next;
  moving = &f;
  reads_until = 1;           /* the first one is a look */
  reads_after = after;
  f.rd->before_read = move_and_fail;
  fails = blkring_consumer_pop (observer, &next, &item) == -1;
  if (fails)
    assert_error (EIO);
  assert_null (f.rd->before_read);
  assert_int_equal (fails, !f.rd->faults[RECORD_READ].armed);
  f.rd->faults[RECORD_READ].armed = false;
  if (fails)
    assert_ok (blkring_consumer_pop (observer, &next, &item));
  assert_int_equal (*(const char *) item.data, 'c');
  blkring_consumer_free (observer);
  blkring_device_close (again);
  stop (&f);
  return fails;
}

static void
reads_fail_behind_a_move (void **state)
{
  unsigned after;

  (void) state;
  for (after = 0; read_fails_behind_a_move (after); ++after)
    ;
  assert_in_range (after, 2, 10);
}

/* So many frames that the first of them are not remembered; no record of the
 * producer tells of them.  All are popped. */
static struct fixture
start_with_forgotten (blkring_position *first)
{
  struct fixture f = start2 (&(struct shape) { .blocks = 20000 },
                             with_clock (), with_clock ());
  struct blkring_item item;
  blkring_position at = 0;
  unsigned i;

  for (i = 0; i < 1500; ++i)
    put (f.p, 'a' + i % 26, 1);
  for (i = 0; blkring_consumer_pop (f.c, i ? &at : NULL, &item) == 0; ++i) {
    at = item.next;
    if (i == 0)
      *first = at;
  }
  assert_error (EAGAIN);
  assert_int_equal (i, 1500);
  record_device_forget (f.rd);
  return f;
}

static void
forgotten_frames_cannot_be_read (void **state)
{
  blkring_position first = 0;
  struct fixture f = start_with_forgotten (&first);
  struct blkring_item item;

  (void) state;
  record_device_fail (f.rd, RECORD_READ, 0, EIO);
  assert_fails (EIO, blkring_consumer_advance (f.c, first));
  assert_false (f.rd->faults[RECORD_READ].armed);
  assert_int_equal (f.rd->writes, 0);
  assert_ok (blkring_consumer_advance (f.c, first));
  assert_ok (blkring_consumer_pop (f.c, NULL, &item));
  assert_int_equal (*(const char *) item.data, 'b');
  stop (&f);
}

/* The disk has lost what it had delivered. */
static void
forgotten_frames_are_gone (void **state)
{
  static const unsigned char zeros[F2_HEADER];
  blkring_position first = 0;
  struct fixture f = start_with_forgotten (&first);

  (void) state;
  poke_stream (f.rd, 0, zeros, sizeof zeros);
  assert_fails (EBADMSG, blkring_consumer_advance (f.c, first));
  assert_message ("the frame at position 0");
  assert_message ("not there any more");
  assert_int_equal (f.rd->writes, 0);
  stop (&f);
}

/*---------------------------------------------------------------------*/

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (consumer_goes_back),
    cmocka_unit_test (owner_writes_while_another_takes_over),
    cmocka_unit_test (owner_writes_over_each_claim),
    cmocka_unit_test (flush_fails_behind_a_claim),
    cmocka_unit_test (takeover_is_interrupted),
    cmocka_unit_test (others_attach_at_the_same_time),
    cmocka_unit_test (another_consumer_attaches_at_the_same_time),
    cmocka_unit_test (attach_fails_at_each_read),
    cmocka_unit_test (salvage_fails_at_each_read),
    cmocka_unit_test (reads_fail_behind_a_move),
    cmocka_unit_test (forgotten_frames_cannot_be_read),
    cmocka_unit_test (forgotten_frames_are_gone),
  };

  return cmocka_run_group_tests_name ("disturbed", tests, NULL, NULL);
}
