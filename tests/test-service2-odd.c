/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The guard of format 2, and what is rare: records out of order of those whom
 * nobody owns, what lies behind records, positions that are impossible on the
 * disk, and zeros over a part of what could be a frame.
 */

#include <config.h>

#include "service2-fixture.h"

static void
records_of_nobody_come_in_order (void **state)
{
  struct guarded g = start_guard_of (2);
  struct f2_record r;

  (void) state;
  r = next_record (&g, F2_CONTROL);
  r.suspend++;
  r.flags = F2_SUSPEND;
  r.sequence++;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_CONTROL, &r));
  r.sequence--;
  assert_ok (put_record (&g, g.a, F2_CONTROL, &r));
  r = next_record (&g, F2_CONSUMER + 1);
  r.flags &= ~F2_ENABLED;
  r.sequence++;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_CONSUMER + 1, &r));
  r.sequence--;
  assert_ok (put_record (&g, g.a, F2_CONSUMER + 1, &r));
  stop_guard (&g);
}

static int
put_enabled (struct guarded *g, unsigned k, bool on, uint64_t position,
             uint32_t chain)
{
  struct f2_record r = next_record (g, F2_CONSUMER + k);

  r.flags = (r.flags & ~F2_ENABLED) | (on ? F2_ENABLED : 0);
  r.frame = r.position = position;
  r.chain = chain;
  return put_record (g, g->a, F2_CONSUMER + k, &r);
}

/* Of several that are enabled the last one counts; no record of the producer
 * tells of what they have freed. */
static void
a_consumer_begins_where_the_last_one_is (void **state)
{
  struct guarded g = start_guard_of (3);
  uint64_t position[3];
  uint32_t chain[3];
  unsigned k;

  (void) state;
  assert_ok (put_enabled (&g, 2, false, 0, 0));
  assert_ok (claim (&g, g.b, F2_PRODUCER));
  for (k = 0; k < 3; ++k) {
    append_frame (&g, g.b, 1);
    position[k] = g.tail;
    chain[k] = g.chain;
  }
  for (k = 0; k < 2; ++k) {
    assert_ok (claim (&g, g.a, F2_CONSUMER + k));
    assert_ok (consume_to (&g, g.a, k, position[1 - k], chain[1 - k],
                           position[1 - k]));
  }
  /* The producer dies, and what it published last is the beginning. */
  leave (&g.b);
  assert_refused (g.v, EINVAL, put_enabled (&g, 2, true, 0, 0));
  assert_refused (g.v, EINVAL, put_enabled (&g, 2, true, position[1],
                                            chain[1]));
  assert_refused (g.v, EINVAL, put_enabled (&g, 2, true, position[0],
                                            chain[1]));
  assert_ok (put_enabled (&g, 2, true, position[0], chain[0]));
  g.b = join (g.v, "bob");
  stop_guard (&g);
}

/* A position that is not even refused: nobody looks where it would be. */
static void
a_position_far_beyond_the_tail (void **state)
{
  struct guarded g = start_claimed ();

  (void) state;
  append_frame (&g, g.a, 1);
  assert_ok (claim (&g, g.b, F2_CONSUMER));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 3 * AREA, 0, 3 * AREA));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, UINT64_MAX / 2, 0,
                                           UINT64_MAX / 2));
  assert_ok (consume_to (&g, g.b, 0, g.tail, g.chain, g.tail));
  stop_guard (&g);
}

/* What lies behind a record may be cleared, and that is no new record. */
static void
what_lies_behind_a_record_may_be_cleared (void **state)
{
  static const char dirt[100] = "dirt", zeros[100];
  struct guarded g = start_guard ();
  const uint64_t behind = f2_record_offset (F2_CONTROL, 0) + 1000;

  (void) state;
  record_device_poke (g.v->rd, behind, dirt, sizeof dirt);
  restart (&g);
  assert_refused (g.v, EINVAL, put_byte (g.a, behind, 'x', 4));
  assert_ok (service_zero (g.a, sizeof dirt, behind, 0));
  assert_memory_equal (g.v->rd->content + behind, zeros, sizeof zeros);
  assert_ok (ask (&g, g.b, true));
  stop_guard (&g);
}

/* The position on the disk is in the frame's padding. */
static void
a_position_behind_the_items_of_a_frame (void **state)
{
  struct guarded g = start_claimed ();
  struct f2_record r;
  struct made m;

  (void) state;
  make_frame (&g, &m, 2, 20, true);
  assert_ok (put_frame (&g, g.a, &m));
  pass (&g, &m);
  get_record (g.v->rd, F2_CONSUMER, &r);
  r.position = m.f.position + F2_HEADER + m.f.length + 8;
  set_record (g.v->rd, F2_CONSUMER, &r);
  restart (&g);
  assert_int_equal (status_number (&g, "consumers", 0, "position"),
                    r.position);
  service_disconnect (g.a);
  service_disconnect (g.b);
  served_free (g.v);
}

/* With these zeros it is no header any more, of a frame that would be refused
 * as one behind the tail. */
static void
zeros_over_a_header_behind_the_tail (void **state)
{
  struct guarded g = start_claimed ();
  struct made m;

  (void) state;
  make_frame (&g, &m, 1, 20, true);
  m.f.position += B;
  seal (&g, &m);
  record_device_poke (g.v->rd, at (&g, B), m.bytes, m.size);
  assert_refused (g.v, EINVAL, put_part (&g, g.a, &m, 0, 100));
  assert_ok (service_zero (g.a, 100, at (&g, B + 30), 0));
  assert_ok (put_byte (g.a, at (&g, B), 'x', 8));
  stop_guard (&g);
}

/* The header there is none with these zeros, and one without. */
static void
zeros_over_a_part_of_a_header (void **state)
{
  struct guarded g = start_claimed ();
  struct made m;

  (void) state;
  make_frame (&g, &m, 1, 20, true);
  assert_ok (put_part (&g, g.a, &m, 0, 40));
  assert_ok (service_zero (g.a, 100, at (&g, 30), 0));
  assert_ok (put_part (&g, g.a, &m, 40, m.size));
  assert_int_equal (exposed (&g), 0);
  assert_ok (put_part (&g, g.a, &m, 0, 40));
  assert_int_equal (exposed (&g), m.size);
  pass (&g, &m);
  assert_items (&g, 1);
  stop_guard (&g);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (records_of_nobody_come_in_order),
    cmocka_unit_test (a_consumer_begins_where_the_last_one_is),
    cmocka_unit_test (a_position_far_beyond_the_tail),
    cmocka_unit_test (what_lies_behind_a_record_may_be_cleared),
    cmocka_unit_test (a_position_behind_the_items_of_a_frame),
    cmocka_unit_test (zeros_over_a_header_behind_the_tail),
    cmocka_unit_test (zeros_over_a_part_of_a_header),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
