/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A consumer that takes over while the old one writes.  Once advance has
 * returned, what it freed is not delivered again: not by the new consumer
 * either, when the old one's record lands before, between or behind the two
 * writes of the new one's claim.
 */

#include <config.h>

#include "format2-shared.h"

/* What the old consumer is writing: where, what, and how many flushes of
 * the new one come first. */
static struct f2_record under_way;
static unsigned into, flushes_before;

static void
land (struct record_device *rd)
{
  if (--flushes_before > 0)
    rd->behind_flush = land;
  else
    poke_record (rd, F2_CONSUMER, into, &under_way);
}

/* The old one has popped and frees the first of two; its record is on its
 * way. */
static struct shared
start_advance (void)
{
  struct shared h = start_shared (NULL, with_clock ());
  struct f2_record before;
  struct blkring_item item;

  put (h.f.p, 'a', 1);
  put (h.f.p, 'b', 1);
  get_record (h.f.rd, F2_CONSUMER, &before);
  assert_ok (blkring_consumer_pop (h.f.c, NULL, &item));
  assert_ok (blkring_consumer_advance (h.f.c, item.next));
  into = get_record (h.f.rd, F2_CONSUMER, &under_way);
  assert_int_equal (under_way.position, item.next);
  before.sequence--;
  poke_record (h.f.rd, F2_CONSUMER, into, &before);
  return h;
}

static void
assert_taken_over (struct shared *h)
{
  struct record_device *after;
  blkring_consumer *c;

  assert_non_null (h->g.c);
  assert_holds (h->g.c, "b");
  assert_clean (h->f.rd);
  after = record_device_after_crash (h->f.rd, 0);
  c = blkring_consumer_attach (after->device, taking_over ());
  assert_non_null (c);
  assert_holds (c, "b");
  blkring_consumer_free (c);
  record_device_free (after);
  free_one (h->g.c);
  put (h->f.p, 'c', 1);
  assert_holds (h->g.c, "c");
}

/* Behind the flush before the claim, and behind its first write. */
static void
record_at_any_flush_counts (void **state)
{
  unsigned n;

  (void) state;
  for (n = 1; n <= 2; ++n) {
    struct shared h = start_advance ();

    flushes_before = n;
    h.f.rd->behind_flush = land;
    h.g.c = blkring_consumer_attach (h.again, taking_over ());
    assert_int_equal (flushes_before, 0);
    assert_taken_over (&h);
    stop_shared (&h);
  }
}

static struct record_device *waited_for;

static int
land_and_sleep (void *opaque, uint64_t ns)
{
  (void) opaque;
  if (waited_for)
    poke_record (waited_for, F2_CONSUMER, into, &under_way);
  waited_for = NULL;
  now += ns;
  return 0;
}

static void
record_before_the_next_look_counts (void **state)
{
  struct shared h = start_advance ();
  struct blkring_attach_options o = *taking_over ();
  struct blkring_clock clock = *o.clock;

  (void) state;
  waited_for = h.f.rd;
  clock.sleep = land_and_sleep;
  o.clock = &clock;
  h.g.c = blkring_consumer_attach (h.again, &o);
  assert_null (waited_for);
  assert_taken_over (&h);
  stop_shared (&h);
}

/* It may be the record by which the old one detaches. */
static void
detach_while_taken_over (void **state)
{
  struct shared h = start_advance ();

  (void) state;
  under_way.flags |= F2_CLEAN;
  flushes_before = 2;
  h.f.rd->behind_flush = land;
  h.g.c = blkring_consumer_attach (h.again, taking_over ());
  assert_int_equal (flushes_before, 0);
  assert_taken_over (&h);
  assert_no_handle (EBUSY, blkring_consumer_attach (h.again, with_clock ()));
  stop_shared (&h);
}

/* Not durable yet, when the new one finds it behind its flush: then it must
 * flush once more before it claims the other copy, for a crash could tear
 * that one. */
static void
land_in_a_cache (struct record_device *rd)
{
  const struct ring ring = ring_of (rd);
  unsigned char content[F2_CONTENT];

  f2_encode_record (content, ring.uuid, F2_CONSUMER, &under_way);
  record_device_write (rd, f2_record_offset (F2_CONSUMER, into), content,
                       sizeof content);
  record_device_forget (rd);
}

static void
what_is_claimed_is_durable (void **state)
{
  static const uint32_t flags[] = { 0, F2_CLEAN };
  size_t i, claim;

  (void) state;
  for (i = 0; i < LENGTH (flags); ++i) {
    struct shared h = start_advance ();

    under_way.flags |= flags[i];
    h.f.rd->behind_flush = land_in_a_cache;
    h.g.c = blkring_consumer_attach (h.again, taking_over ());
    claim = record_device_find (h.f.rd, RECORD_WRITE, 0);
    assert_true (claim < h.f.rd->nr_log);
    assert_int_equal (h.f.rd->log[claim].offset,
                      f2_record_offset (F2_CONSUMER, !into));
    assert_true (record_device_find (h.f.rd, RECORD_FLUSH, 0) < claim);
    assert_taken_over (&h);
    stop_shared (&h);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (record_at_any_flush_counts),
    cmocka_unit_test (record_before_the_next_look_counts),
    cmocka_unit_test (detach_while_taken_over),
    cmocka_unit_test (what_is_claimed_is_durable),
  };

  return cmocka_run_group_tests_name ("a consumer of format 2 that takes over",
                                      tests, NULL, NULL);
}
