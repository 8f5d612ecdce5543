/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The guard of format 2: what is unread, staged and free, what a server finds
 * when it starts, and damage.
 */

#include <config.h>

#include "service2-fixture.h"

static void
what_is_unread_stays (void **state)
{
  struct guarded g = start_claimed ();
  unsigned char old[AREA];

  (void) state;
  append_frame (&g, g.a, 2);
  append_frame (&g, g.a, 2);
  assert_refused (g.v, EINVAL, put_byte (g.a, at (&g, 0), 0, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, at (&g, 4 * B - 1), 1, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, at (&g, 4 * B - 1), 1, 2));
  assert_refused (g.v, EINVAL, service_zero (g.a, AREA, at (&g, 0), 0));
  assert_refused (g.v, EINVAL, service_trim (g.a, 2, at (&g, 4 * B - 1), 0));
  assert_ok (put_byte (g.a, at (&g, 4 * B), 1, AREA - 4 * B));
  assert_ok (service_zero (g.a, AREA - 4 * B, at (&g, 4 * B), 0));
  assert_ok (service_pread (g.b, old, AREA, at (&g, 0)));
  assert_ok (put_bytes (g.a, at (&g, 0), old, AREA));
  assert_ok (put_bytes (g.b, at (&g, 0), old, AREA));
  /* A frame, of which a consumer has left a part, too. */
  assert_ok (claim (&g, g.b, F2_CONSUMER));
  assert_ok (consume_to (&g, g.b, 0, 2 * B, get_le32 (old + 60), 2 * B));
  assert_refused (g.v, EINVAL, put_byte (g.a, at (&g, 2 * B), 1, 1));
  assert_ok (put_byte (g.a, at (&g, 0), 1, 2 * B));
  stop_guard (&g);
}

static void
what_is_staged_stays (void **state)
{
  struct guarded g = start_claimed ();
  struct made m;

  (void) state;
  append_frame (&g, g.a, 1);
  make_frame (&g, &m, 2, 600, false);
  assert_ok (put_frame (&g, g.a, &m));
  assert_refused (g.v, EINVAL, service_zero (g.a, B, at (&g, B), 0));
  assert_message ("stopped");
  assert_refused (g.v, EINVAL, put_byte (g.a, at (&g, 4 * B - 1), 1, 1));
  assert_refused (g.v, EINVAL, service_trim (g.a, 1, at (&g, B), 0));
  assert_reads (g.b, at (&g, B + F2_HEADER + 4), 'x', 100);
  /* Also after the server was started anew … */
  restart (&g);
  assert_refused (g.v, EINVAL, service_zero (g.a, B, at (&g, B), 0));
  assert_reads (g.b, at (&g, B + F2_HEADER + 4), 'x', 100);
  pass (&g, &m);
  assert_ok (publish (&g, g.a, g.tail, g.chain));
  assert_items (&g, 3);
  /* … until its producer leaves, or another one comes. */
  make_frame (&g, &m, 2, 600, false);
  assert_ok (put_frame (&g, g.a, &m));
  assert_ok (detach (&g, g.a, F2_PRODUCER));
  assert_reads (g.b, at (&g, g.tail), 0, AREA - g.tail);
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  append_frame (&g, g.a, 1);
  make_frame (&g, &m, 2, 600, false);
  assert_ok (put_frame (&g, g.a, &m));
  leave (&g.a);
  assert_refused (g.v, EINVAL, put_byte (g.b, at (&g, g.tail), 1, 1));
  assert_ok (claim (&g, g.b, F2_PRODUCER));
  assert_reads (g.b, at (&g, g.tail), 0, AREA - g.tail);
  append_frame (&g, g.b, 1);
  g.a = join (g.v, "alice");
  stop_guard (&g);
}

/* Staged by a producer that was replaced before the server was started
 * anew. */
static void
what_was_dropped_does_not_come_back (void **state)
{
  struct guarded g = start_claimed ();
  struct made m;

  (void) state;
  make_frame (&g, &m, 2, 600, false);
  assert_ok (put_frame (&g, g.a, &m));
  restart (&g);
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  restart (&g);
  append_frame (&g, g.a, 1);
  assert_items (&g, 1);
  stop_guard (&g);

  g = start_claimed ();
  make_frame (&g, &m, 2, 600, false);
  assert_ok (put_frame (&g, g.a, &m));
  assert_ok (detach (&g, g.a, F2_PRODUCER));
  restart (&g);
  assert_reads (g.a, at (&g, 0), 0, AREA);
  stop_guard (&g);
}

/*---------------------------------------------------------------------*/

static void
free_space_is_a_hole (void **state)
{
  struct guarded g = start_guard ();
  const uint64_t data = g.ring.data_offset;
  struct made m;
  char text[100];
  unsigned i;

  (void) state;
  for (i = 0; i < AREA; ++i)
    g.v->rd->content[data + i] = 0x55;
#define EXTENTS(...) \
  do { \
    snprintf (text, sizeof text, __VA_ARGS__); \
    assert_extents (g.a, text); \
  } while (0)
  EXTENTS ("0 h%lu %lu %lu", (long) data, (long) data + AREA,
           (long) data + AREA + 100);
  assert_reads (g.a, data, 0, AREA);
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  append_frame (&g, g.a, 2);
  EXTENTS ("0 h%lu %lu %lu", (long) data + 2 * B, (long) data + AREA,
           (long) data + AREA + 100);
  assert_reads (g.b, at (&g, 2 * B), 0, AREA - 2 * B);
  /* A part of a frame reads as it was written. */
  make_frame (&g, &m, 1, 2000, true);
  assert_ok (put_part (&g, g.a, &m, 1024, 1536));
  assert_reads (g.b, at (&g, 2 * B), 0, 2 * B);
  assert_reads (g.b, at (&g, 4 * B), 'x', B);
  EXTENTS ("0 h%lu %lu h%lu %lu %lu", (long) data + 2 * B,
           (long) data + 4 * B, (long) data + 5 * B, (long) data + AREA,
           (long) data + AREA + 100);
  assert_ok (claim (&g, g.b, F2_CONSUMER));
  consume_all (&g, g.b);
  EXTENTS ("0 h%lu %lu h%lu %lu %lu", (long) data, (long) data + 4 * B,
           (long) data + 5 * B, (long) data + AREA, (long) data + AREA + 100);
  assert_reads (g.b, data, 0, 2 * B);
  stop_guard (&g);
}

/* A frame behind one that is not there: all can look, nobody can push. */
static void
a_damaged_tail (void **state)
{
  struct guarded g = start_claimed ();
  const struct blkring_attach_options takeover = {
    .flags = BLKRING_ATTACH_TAKEOVER,
  };
  struct record_device *rd = g.v->rd;
  blkring_device *d;
  struct made m;

  (void) state;
  append_frame (&g, g.a, 1);
  append_frame (&g, g.a, 1);
  append_frame (&g, g.a, 1);
  damage (rd, at (&g, B + 70));
  restart (&g);
  assert_log (g.v, "damaged", "position 512");
  assert_reads (g.a, at (&g, 2 * B + F2_HEADER + 4), 'x', 100);
  g.tail = B;
  g.chain = get_le32 (rd->content + at (&g, 0) + 60);
  make_frame (&g, &m, 1, 10, true);
  assert_refused (g.v, EINVAL, put_frame (&g, g.a, &m));
  assert_refused (g.v, EINVAL, claim (&g, g.a, F2_PRODUCER));
  /* A producer of the library is told what it would be told without a
   * server. */
  d = connect_device (g.v, "producer");
  assert_no_handle (EBADMSG, blkring_producer_attach (d, &takeover));
  blkring_device_close (d);
  service_disconnect (g.a);
  service_disconnect (g.b);
  served_free (g.v);
}

/* What a server finds that others wrote to the device. */
static void
what_is_found_behind_the_last_record (void **state)
{
  const struct made empty = { .size = 0 };
  struct guarded g = start_claimed ();
  struct f2_record r;
  struct made m = empty, n = empty;
  unsigned i;

  (void) state;
  /* Many frames, and no record: what was published is overwritten. */
  for (i = 0; i < 20; ++i) {
    append_frame (&g, g.a, 2);
    consume_all (&g, g.b);
  }
  append_frame (&g, g.a, 2);
  restart (&g);
  assert_int_equal (exposed (&g), g.tail);
  append_frame (&g, g.a, 2);

  consume_all (&g, g.b);

  /* Exposed behind what is staged. */
  make_frame (&g, &m, 1, 10, false);
  assert_ok (put_frame (&g, g.a, &m));
  i = g.tail;
  pass (&g, &m);
  make_frame (&g, &n, 1, 10, true);
  poke_stream (g.v->rd, g.tail, n.bytes, n.size);
  restart (&g);
  assert_log (g.v, "damaged", "");
  assert_int_equal (exposed (&g), i);
  memset (n.bytes, 0, n.size);
  poke_stream (g.v->rd, g.tail, n.bytes, n.size);
  restart (&g);
  assert_ok (publish (&g, g.a, g.tail, g.chain));

  /* Late: exposed by a producer that had been replaced. */
  make_frame (&g, &m, 1, 10, true);
  m.f.epoch--;
  seal (&g, &m);
  poke_stream (g.v->rd, g.tail, m.bytes, m.size);
  forget_log (g.v);
  restart (&g);
  assert_log (g.v, "damaged", "");
  assert_int_equal (exposed (&g), g.tail);
  assert_refused (g.v, EINVAL, claim (&g, g.a, F2_PRODUCER));
  get_record (g.v->rd, F2_PRODUCER, &r);
  r.flags |= F2_CLEAN;
  set_record (g.v->rd, F2_PRODUCER, &r);
  forget_log (g.v);
  restart (&g);
  assert_int_equal (g.v->errors, 0);
  assert_ok (claim (&g, g.a, F2_PRODUCER));

  /* A consumer that was behind it. */
  consume_all (&g, g.b);
  append_frame (&g, g.a, 2);
  get_record (g.v->rd, F2_CONSUMER, &r);
  r.position = r.frame + 100;
  set_record (g.v->rd, F2_CONSUMER, &r);
  g.tail -= 2 * B;
  damage_stream (g.v->rd, g.tail);
  restart (&g);
  assert_log (g.v, "damaged", "");
  service_disconnect (g.a);
  service_disconnect (g.b);
  served_free (g.v);
}

/* A frame that ends in what is unread: no producer has written it. */
static void
a_frame_that_would_not_fit_does_not_count (void **state)
{
  struct guarded g = start_claimed ();
  struct made m;

  (void) state;
  append_frame (&g, g.a, 7);
  append_frame (&g, g.a, 7);
  assert_ok (publish (&g, g.a, g.tail, g.chain));
  make_frame (&g, &m, 1, 3 * B - F2_HEADER - 4, true);
  poke_stream (g.v->rd, g.tail, m.bytes, m.size);
  restart (&g);
  assert_int_equal (exposed (&g), g.tail);
  service_disconnect (g.a);
  service_disconnect (g.b);
  served_free (g.v);
}

/* The device said that it failed, and it had not. */
static void
a_frame_that_failed_and_arrived (void **state)
{
  struct guarded g = start_guard_on (1, BLKRING_DEVICE_FUA);
  struct made m;

  (void) state;
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  append_frame (&g, g.a, 1);
  make_frame (&g, &m, 3, 10, true);
  record_device_fail (g.v->rd, RECORD_WRITE, 0, EIO);
  assert_refused (g.v, EIO, put_frame (&g, g.a, &m));
  assert_int_equal (exposed (&g), g.tail);
  poke_stream (g.v->rd, g.tail, m.bytes, m.size);
  pass (&g, &m);
  append_frame (&g, g.a, 1);
  assert_int_equal (exposed (&g), g.tail);
  assert_int_equal (status_number (&g, "producer", 0, "items"), 5);
  assert_int_equal (status_number (&g, "producer", 0, "bytes"), g.tail);
  assert_items (&g, 5);
  stop_guard (&g);
}

/* By hand: what is behind damage has the right chain. */
static void
behind_damage (void **state)
{
  struct guarded g = start_claimed ();
  uint32_t chain[3];
  unsigned i;

  (void) state;
  for (i = 0; i < 3; ++i) {
    append_frame (&g, g.a, 1);
    chain[i] = g.chain;
  }
  assert_ok (publish (&g, g.a, g.tail, g.chain));
  append_frame (&g, g.a, 1);
  assert_ok (claim (&g, g.b, F2_CONSUMER));
  damage (g.v->rd, at (&g, 10));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 2 * B, chain[0],
                                           2 * B));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 3 * B, chain[1],
                                           3 * B));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 4 * B, chain[2],
                                           4 * B));
  assert_ok (consume_to (&g, g.b, 0, 2 * B, chain[1], 2 * B));
  damage (g.v->rd, at (&g, 2 * B + 10));
  assert_ok (consume_to (&g, g.b, 0, 3 * B, chain[2], 3 * B));
  stop_guard (&g);
}

/* A consumer that goes on behind damage may do so. */
static void
salvage_is_let_in (void **state)
{
  struct guarded g = start_claimed ();
  const struct blkring_attach_options salvage = {
    .flags = BLKRING_ATTACH_SALVAGE,
  };
  struct blkring_item item;
  blkring_consumer *c;
  blkring_device *d;

  (void) state;
  append_frame (&g, g.a, 1);
  append_frame (&g, g.a, 2);
  append_frame (&g, g.a, 1);
  assert_ok (publish (&g, g.a, g.tail, g.chain));
  damage (g.v->rd, at (&g, B + 10));
  restart (&g);
  d = connect_device (g.v, "consumer");
  c = blkring_consumer_attach (d, &salvage);
  assert_non_null (c);
  assert_ok (blkring_consumer_pop (c, NULL, &item));
  assert_ok (blkring_consumer_advance (c, item.next));
  assert_ok (blkring_consumer_pop (c, NULL, &item));
  assert_int_equal (item.position, 3 * B);
  assert_ok (blkring_consumer_advance (c, item.next));
  assert_int_equal (g.v->errors, 0);
  blkring_consumer_free (c);
  blkring_device_close (d);
  append_frame (&g, g.a, 1);
  stop_guard (&g);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (what_is_unread_stays),
    cmocka_unit_test (what_is_staged_stays),
    cmocka_unit_test (what_was_dropped_does_not_come_back),
    cmocka_unit_test (free_space_is_a_hole),
    cmocka_unit_test (a_damaged_tail),
    cmocka_unit_test (what_is_found_behind_the_last_record),
    cmocka_unit_test (a_frame_that_would_not_fit_does_not_count),
    cmocka_unit_test (a_frame_that_failed_and_arrived),
    cmocka_unit_test (behind_damage),
    cmocka_unit_test (salvage_is_let_in),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
