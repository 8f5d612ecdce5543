/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An owner that was replaced and does not know it yet, because it slept or
 * its writes were slow.  It notices at its next look, and writes nothing any
 * more; what it wrote before that is not taken for what the new owner wrote.
 */

#include <config.h>

#include "format2-shared.h"

static void
take_over_consumer (struct shared *h)
{
  assert_no_handle (EBUSY, blkring_consumer_attach (h->again, with_clock ()));
  h->g.c = blkring_consumer_attach (h->again, taking_over ());
  assert_non_null (h->g.c);
}

/*---------------------------------------------------------------------*/

static void
replaced_producer_stops (void **state)
{
  struct shared h = start_shared (with_clock (), NULL);
  blkring_position after;

  (void) state;
  put (h.f.p, 'a', 1);
  after = push (h.f.p, '-', 1);
  take_over_producer (&h);
  record_device_forget (h.f.rd);
  assert_fails (EBUSY, try_put (h.f.p, 'z', 1));
  assert_message ("the new owner");
  assert_fails (EBUSY, try_put (h.f.p, 'z', 1));
  assert_fails (EBUSY, blkring_producer_advance (h.f.p, after));
  assert_fails (EBUSY, blkring_producer_state (h.f.p));
  assert_fails (EBUSY, blkring_producer_wait (h.f.p, 1, 0));
  blkring_producer_free (h.f.p);
  h.f.p = NULL;
  assert_int_equal (h.f.rd->writes, 0);
  put (h.g.p, 'b', 1);
  now += 1000 * NS_PER_MS;
  put (h.g.p, 'c', 1);
  assert_holds (h.f.c, "abc");
  stop_shared (&h);
}

static void
replaced_consumer_stops (void **state)
{
  struct shared h = start_shared (NULL, with_clock ());
  struct blkring_item item;

  (void) state;
  put (h.f.p, 'a', 1);
  put (h.f.p, 'b', 1);
  free_one (h.f.c);
  assert_ok (blkring_consumer_pop (h.f.c, NULL, &item));
  take_over_consumer (&h);
  assert_holds (h.g.c, "b");
  record_device_forget (h.f.rd);
  assert_fails (EBUSY, blkring_consumer_advance (h.f.c, item.next));
  assert_message ("the new owner");
  assert_fails (EBUSY, blkring_consumer_advance (h.f.c, item.next));
  assert_fails (EBUSY, blkring_consumer_pop (h.f.c, NULL, &item));
  assert_fails (EBUSY, blkring_consumer_suspend (h.f.c));
  assert_fails (EBUSY, blkring_consumer_state (h.f.c));
  blkring_consumer_free (h.f.c);
  h.f.c = NULL;
  assert_int_equal (h.f.rd->writes, 0);
  free_one (h.g.c);
  put (h.f.p, 'c', 1);
  assert_holds (h.g.c, "c");
  stop_shared (&h);
}

/* What it read may be overwritten by now: it is no item, and no damage. */
static void
replaced_consumer_at_reused_space (void **state)
{
  struct shared h = start_shared (NULL, with_clock ());
  struct blkring_item item;
  unsigned i;

  (void) state;
  put (h.f.p, 'a', 1);
  assert_ok (blkring_consumer_pop (h.f.c, NULL, &item));
  take_over_consumer (&h);
  for (i = 0; i < 300; ++i) {
    put (h.f.p, 'x', 1);
    free_one (h.g.c);
  }
  assert_fails (EBUSY, blkring_consumer_pop (h.f.c, &item.next, &item));
  stop_shared (&h);
}

/* A flush takes a while, and the old consumer goes on meanwhile. */
static blkring_consumer *old_consumer;
static blkring_position freed_meanwhile;

static void
advance_old_consumer (struct record_device *rd)
{
  (void) rd;
  assert_ok (blkring_consumer_advance (old_consumer, freed_meanwhile));
}

static void
takeover_undoes_no_advance (void **state)
{
  struct shared h = start_shared (NULL, with_clock ());
  struct blkring_item item;

  (void) state;
  put (h.f.p, 'a', 1);
  put (h.f.p, 'b', 1);
  assert_ok (blkring_consumer_pop (h.f.c, NULL, &item));
  old_consumer = h.f.c;
  freed_meanwhile = item.next;
  h.f.rd->behind_flush = advance_old_consumer;
  take_over_consumer (&h);
  assert_null (h.f.rd->behind_flush);
  assert_holds (h.g.c, "b");
  stop_shared (&h);
}

/* Two find that the last owner detached, and attach at the same time. */
static struct shared *racing;

static void
attach_meanwhile (struct record_device *rd)
{
  (void) rd;
  racing->g.p = blkring_producer_attach (racing->again, with_clock ());
}

static void
one_of_two_that_attach_stops (void **state)
{
  struct shared h = start_shared (NULL, NULL);
  int r[2];

  (void) state;
  blkring_producer_free (h.f.p);
  racing = &h;
  h.f.rd->behind_flush = attach_meanwhile;
  h.f.p = blkring_producer_attach (h.f.rd->device, with_clock ());
  assert_true (h.f.p || h.g.p);
  if (h.f.p && h.g.p) {
    now += 1000 * NS_PER_MS;
    r[0] = try_put (h.f.p, 'a', 1);
    if (r[0] == -1)
      assert_error (EBUSY);
    r[1] = try_put (h.g.p, 'b', 1);
    if (r[1] == -1)
      assert_error (EBUSY);
    assert_int_equal (r[0] + r[1], -1);
  }
  stop_shared (&h);
}

/*---------------------------------------------------------------------*/

/* What the consumer gets is 'name', and it cannot free it. */
static void
assert_not_freed (blkring_consumer *c, struct record_device *rd, char name)
{
  struct blkring_item item;

  assert_ok (blkring_consumer_pop (c, NULL, &item));
  assert_int_equal (*(const char *) item.data, name);
  record_device_forget (rd);
  assert_fails (EBADMSG, blkring_consumer_advance (c, item.next));
  assert_int_equal (rd->writes, 0);
}

static struct shared
start_late (void)
{
  struct shared h = start_shared (with_frozen_clock (), with_clock ());

  put (h.f.p, 'a', 1);
  take_over_producer (&h);
  return h;
}

static void
late_frame_at_the_tail (void **state)
{
  struct shared h = start_late ();

  (void) state;
  put (h.f.p, 'z', 1);
  free_one (h.f.c);
  assert_not_freed (h.f.c, h.f.rd, 'z');
  put (h.g.p, 'b', 1);
  assert_holds (h.f.c, "b");
  free_one (h.f.c);
  assert_holds (h.f.c, "");
  stop_shared (&h);
}

static void
late_frame_over_one_that_was_acknowledged (void **state)
{
  struct shared h = start_late ();

  (void) state;
  put (h.g.p, 'b', 1);
  put (h.f.p, 'z', 1);
  free_one (h.f.c);
  assert_not_freed (h.f.c, h.f.rd, 'z');
  stop_shared (&h);
}

static void
late_frame_over_one_that_was_popped (void **state)
{
  struct shared h = start_late ();
  struct blkring_item item;

  (void) state;
  put (h.g.p, 'b', 1);
  free_one (h.f.c);
  assert_ok (blkring_consumer_pop (h.f.c, NULL, &item));
  assert_int_equal (*(const char *) item.data, 'b');
  put (h.f.p, 'z', 1);
  record_device_forget (h.f.rd);
  assert_fails (EBADMSG, blkring_consumer_advance (h.f.c, item.next));
  assert_int_equal (h.f.rd->writes, 0);
  stop_shared (&h);
}

/* It was never exposed, and reaches behind what the new owner's record says is
 * there: so it is no end of the stream. */
static void
staged_late_frame_over_a_published_one (void **state)
{
  struct shared h = start_late ();
  struct blkring_item item;

  (void) state;
  assert_ok (blkring_producer_advance (h.g.p, push (h.g.p, 'b', 1)));
  push (h.f.p, 'z', 5000);
  free_one (h.f.c);
  now += 1000 * NS_PER_MS;
  assert_fails (EBADMSG, blkring_consumer_pop (h.f.c, NULL, &item));
  assert_int_equal (check (h.f.rd).corruptions, 1);
  /* By a third owner's record it is not late any more. */
  blkring_producer_free (h.g.p);
  h.g.p = blkring_producer_attach (h.again, with_clock ());
  assert_non_null (h.g.p);
  assert_int_equal (check (h.f.rd).corruptions, 1);
  assert_fails (EBADMSG, blkring_consumer_pop (h.f.c, NULL, &item));
  put (h.g.p, 'c', 1);
  assert_fails (EBADMSG, blkring_consumer_pop (h.f.c, NULL, &item));
  stop_shared (&h);
}

static void
count_skipped (void *opaque, blkring_position from, blkring_position to,
               const char *why)
{
  (void) from;
  (void) to;
  assert_non_null (strstr (why, "replaced"));
  ++*(unsigned *) opaque;
}

/* Who salvages gets what stands behind it. */
static void
late_frame_is_skipped (void **state)
{
  struct shared h = start_late ();
  struct blkring_attach_options o = *with_clock ();
  unsigned skipped = 0;

  (void) state;
  put (h.g.p, 'b', 1);
  put (h.g.p, 'c', 1);
  put (h.f.p, 'z', 1);
  blkring_consumer_free (h.f.c);
  o.flags = BLKRING_ATTACH_SALVAGE;
  o.skipped = count_skipped;
  o.skipped_opaque = &skipped;
  h.f.c = blkring_consumer_attach (h.f.rd->device, &o);
  assert_non_null (h.f.c);
  assert_holds (h.f.c, "ac");
  assert_int_equal (skipped, 1);
  drain (h.f.c);
  put (h.g.p, 'd', 1);
  assert_holds (h.f.c, "d");
  stop_shared (&h);
}

/* The new owner has written over the first of three. */
static void
late_frames_behind_the_tail (void **state)
{
  struct shared h = start_late ();

  (void) state;
  put (h.f.p, 'x', 1);
  put (h.f.p, 'y', 1);
  put (h.f.p, 'z', 1);
  put (h.g.p, 'b', 1);
  now += 1000 * NS_PER_MS;
  assert_holds (h.f.c, "ab");
  assert_clean (h.f.rd);
  kill_producer (&h.g);
  h.g.p = blkring_producer_attach (h.again, taking_over ());
  assert_non_null (h.g.p);
  assert_holds (h.f.c, "ab");
  put (h.g.p, 'c', 1);
  drain (h.f.c);
  stop_shared (&h);
}

/* The new owner wrote nothing and detached: there is nothing to adopt. */
static void
late_frame_is_not_adopted (void **state)
{
  struct shared h = start_late ();

  (void) state;
  put (h.f.p, 'z', 1);
  blkring_producer_free (h.g.p);
  h.g.p = blkring_producer_attach (h.again, with_clock ());
  assert_non_null (h.g.p);
  put (h.g.p, 'b', 1);
  assert_holds (h.f.c, "ab");
  drain (h.f.c);
  stop_shared (&h);
}

/* It has died, and what it wrote is overwritten: that something was lost
 * must be told, even if nothing came behind it. */
static void
late_frame_over_what_a_dead_owner_wrote (void **state)
{
  static const char *const items[] = { "b", "bc", "bcd" };
  size_t i, k;

  (void) state;
  for (i = 0; i < LENGTH (items); ++i) {
    struct shared h = start_late ();
    struct fixture g;

    for (k = 0; items[i][k]; ++k)
      put (h.g.p, items[i][k], 1);
    put (h.f.p, 'z', 1);
    g = elsewhere (&h.f);
    assert_no_handle (EBADMSG, blkring_producer_attach (g.rd->device, NULL));
    assert_int_equal (check (g.rd).corruptions, 1);
    stop (&g);
    stop_shared (&h);
  }
}

/* A third owner's record says nothing of the time of the second one. */
static void
late_frame_before_a_third_owner (void **state)
{
  struct shared h = start_late ();

  (void) state;
  put (h.g.p, 'b', 1);
  put (h.f.p, 'z', 1);
  blkring_producer_free (h.g.p);
  h.g.p = blkring_producer_attach (h.again, with_clock ());
  assert_non_null (h.g.p);
  free_one (h.f.c);
  assert_not_freed (h.f.c, h.f.rd, 'z');
  put (h.g.p, 'c', 1);
  assert_not_freed (h.f.c, h.f.rd, 'z');
  stop_shared (&h);
}

/* Nor does its published end where this one does. */
static void
late_frame_that_is_larger_before_a_third_owner (void **state)
{
  struct shared h = start_late ();

  (void) state;
  put (h.g.p, 'b', 1);
  put (h.f.p, 'z', 1000);
  blkring_producer_free (h.g.p);
  h.g.p = blkring_producer_attach (h.again, with_clock ());
  assert_non_null (h.g.p);
  free_one (h.f.c);
  assert_not_freed (h.f.c, h.f.rd, 'z');
  stop_shared (&h);
}

/*---------------------------------------------------------------------*/

/* While a taker waits for the old owner to look, the record comes that this
 * was writing. */
static struct shared *waited_for;
static struct f2_record under_way;

static int
write_and_sleep (void *opaque, uint64_t ns)
{
  struct f2_record claimed;
  unsigned copy;

  (void) opaque;
  if (waited_for) {
    copy = get_record (waited_for->f.rd, F2_PRODUCER, &claimed);
    poke_record (waited_for->f.rd, F2_PRODUCER, !copy, &under_way);
  }
  waited_for = NULL;
  now += ns;
  return 0;
}

static void
advance_before_the_next_look_counts (void **state)
{
  struct shared h = start_shared (with_frozen_clock (), with_clock ());
  struct blkring_attach_options o = *taking_over ();
  struct blkring_clock clock = *o.clock;
  struct f2_record before;
  blkring_position after;
  unsigned copy;

  (void) state;
  after = push (h.f.p, 'a', 1);
  copy = get_record (h.f.rd, F2_PRODUCER, &before);
  assert_ok (blkring_producer_advance (h.f.p, after));
  assert_int_equal (get_record (h.f.rd, F2_PRODUCER, &under_way), !copy);
  before.sequence--;
  poke_record (h.f.rd, F2_PRODUCER, !copy, &before);
  waited_for = &h;
  clock.sleep = write_and_sleep;
  o.clock = &clock;
  h.g.p = blkring_producer_attach (h.again, &o);
  assert_non_null (h.g.p);
  assert_null (waited_for);
  put (h.g.p, 'b', 1);
  now += 1000 * NS_PER_MS;
  assert_holds (h.f.c, "ab");
  assert_clean (h.f.rd);
  stop_shared (&h);
}

/* The write of a record takes a while, and the owner is replaced
 * meanwhile. */
static void
replace_meanwhile (struct record_device *rd)
{
  (void) rd;
  racing->g.p = blkring_producer_attach (racing->again, taking_over ());
  assert_non_null (racing->g.p);
}

static void
advance_that_is_overtaken_fails (void **state)
{
  struct shared h = start_shared (with_clock (), NULL);
  blkring_position after;

  (void) state;
  after = push (h.f.p, 'a', 1);
  racing = &h;
  h.f.rd->behind_flush = replace_meanwhile;
  assert_fails (EBUSY, blkring_producer_advance (h.f.p, after));
  assert_null (h.f.rd->behind_flush);
  stop_shared (&h);
}

/* Over the copy that counts: what that said last is gone. */
static void
late_record_is_told (void **state)
{
  static const unsigned kinds[] = { F2_PRODUCER, F2_CONSUMER };
  const struct blkring_attach_options o = { .client = "third" };
  struct f2_record r;
  unsigned i, copy;

  (void) state;
  for (i = 0; i < LENGTH (kinds); ++i) {
    struct shared h = start_late ();
    struct fixture g;

    take_over_consumer (&h);
    assert_ok (blkring_producer_advance (h.g.p, push (h.g.p, 'b', 1)));
    free_one (h.g.c);
    copy = get_record (h.f.rd, kinds[i], &r);
    assert_int_equal (r.sequence, 3);
    r.epoch--;
    r.sequence += 7;
    poke_record (h.f.rd, kinds[i], copy, &r);
    now += 1000 * NS_PER_MS;
    if (kinds[i] == F2_PRODUCER)
      assert_fails (EBUSY, blkring_producer_state (h.g.p));
    else
      assert_fails (EBUSY, blkring_consumer_state (h.g.c));
    assert_message ("not on the device any more");
    g = elsewhere (&h.f);
    assert_int_equal (check (g.rd).corruptions, 1);
    if (kinds[i] == F2_PRODUCER)
      assert_no_handle (EBADMSG, blkring_producer_attach (g.rd->device, &o));
    else
      assert_no_handle (EBADMSG, blkring_consumer_attach (g.rd->device, &o));
    assert_message ("had been replaced");
    /* Without its record, what the producer had advanced to is staged. */
    assert_int_equal (blkring_repair (g.rd->device, NULL, BLKRING_REPAIR_ALL,
                                      NULL, NULL),
                      kinds[i] == F2_PRODUCER ? 2 : 1);
    assert_clean (g.rd);
    stop (&g);
    stop_shared (&h);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (replaced_producer_stops),
    cmocka_unit_test (replaced_consumer_stops),
    cmocka_unit_test (replaced_consumer_at_reused_space),
    cmocka_unit_test (takeover_undoes_no_advance),
    cmocka_unit_test (one_of_two_that_attach_stops),
    cmocka_unit_test (late_frame_at_the_tail),
    cmocka_unit_test (late_frame_over_one_that_was_acknowledged),
    cmocka_unit_test (late_frame_over_one_that_was_popped),
    cmocka_unit_test (staged_late_frame_over_a_published_one),
    cmocka_unit_test (late_frame_is_skipped),
    cmocka_unit_test (late_frames_behind_the_tail),
    cmocka_unit_test (late_frame_is_not_adopted),
    cmocka_unit_test (late_frame_over_what_a_dead_owner_wrote),
    cmocka_unit_test (late_frame_before_a_third_owner),
    cmocka_unit_test (late_frame_that_is_larger_before_a_third_owner),
    cmocka_unit_test (advance_before_the_next_look_counts),
    cmocka_unit_test (advance_that_is_overtaken_fails),
    cmocka_unit_test (late_record_is_told),
  };

  return cmocka_run_group_tests_name ("replaced owners of format 2", tests,
                                      NULL, NULL);
}
