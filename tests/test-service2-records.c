/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The guard of format 2, superblock and the producer's record: each rule is
 * broken by hand, on both sides of its limit.
 */

#include <config.h>

#include "service2-fixture.h"

static void
the_superblock_stays (void **state)
{
  struct guarded g = start_guard ();
  unsigned char slot[F2_SLOT];

  (void) state;
  assert_refused (g.v, EINVAL, put_byte (g.a, 0, 0, 8));
  assert_message ("stop the server");
  assert_refused (g.v, EINVAL, put_byte (g.a, F2_SLOT + 80, 'x', 1));
  assert_refused (g.v, EINVAL, service_zero (g.a, F2_SLOT, F2_SLOT, 0));
  assert_refused (g.v, EINVAL, service_trim (g.a, 1, 0, 0));
  assert_refused (g.v, EINVAL, service_zero (g.a, g.v->rd->allocated, 0, 0));
  assert_ok (service_pread (g.a, slot, sizeof slot, 0));
  assert_ok (put_bytes (g.a, 0, slot, sizeof slot));
  assert_ok (put_bytes (g.b, F2_SLOT, slot, F2_CONTENT));
  stop_guard (&g);
}

/* What is behind a record, and what is behind the ring. */
static void
what_is_no_part_of_the_ring_stays (void **state)
{
  struct guarded g = start_guard ();
  const uint64_t end = g.ring.data_offset + AREA;

  (void) state;
  assert_refused (g.v, EINVAL, put_byte (g.a, 2 * F2_SLOT + 512, 1, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, 3 * F2_SLOT - 1, 1, 1));
  assert_ok (service_zero (g.a, F2_SLOT - 512, 2 * F2_SLOT + 512, 0));
  assert_refused (g.v, EINVAL, service_trim (g.a, 100, 2 * F2_SLOT + 512,
                                             0));
  assert_refused (g.v, EINVAL, put_byte (g.a, end, 1, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, end + 99, 1, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, end + 100, 1, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, end - 1, 1, 2));
  assert_refused (g.v, EINVAL, service_trim (g.a, 2, end - 1, 0));
  assert_ok (put_byte (g.a, end - 1, 1, 1));
  assert_ok (service_zero (g.a, 100, end, 0));
  stop_guard (&g);
}

/* Blocks that are larger than what lies before the data area. */
static void
a_gap_before_the_data_area_stays (void **state)
{
  const struct record_options o = { .size = 4 * 65536, .sector_size = 1 };
  const struct blkring_create_options create = { .block_size = 65536 };
  struct record_device *rd = record_device_new (&o);
  struct served *v;
  struct service_client *c;

  (void) state;
  assert_ok (blkring_create (rd->device, &create));
  v = served_on (rd);
  c = join (v, "alice");
  assert_refused (v, EINVAL, put_byte (c, 8 * F2_SLOT, 1, 1));
  assert_refused (v, EINVAL, put_byte (c, 65535, 1, 1));
  assert_refused (v, EINVAL, put_byte (c, 65535, 1, 2));
  assert_refused (v, EINVAL, service_trim (c, 1, 65535, 0));
  assert_ok (service_zero (c, 65536 - 8 * F2_SLOT, 8 * F2_SLOT, 0));
  assert_ok (put_byte (c, 65536, 1, 1));
  service_disconnect (c);
  served_free (v);
}

/* Garbage that a slot holds behind its record can become zero. */
static void
a_writer_of_large_sectors_clears_the_slot (void **state)
{
  struct guarded g = start_guard ();
  unsigned char slot[F2_SLOT] = { 0 };
  struct f2_record r;

  (void) state;
  service_disconnect (g.a);
  service_disconnect (g.b);
  memset (g.v->rd->content + 2 * F2_SLOT + 512, 0x55, F2_SLOT - 512);
  serve_again (g.v);
  g.a = join (g.v, "alice");
  g.b = join (g.v, "bob");
  r = new_claim (&g, F2_PRODUCER);
  f2_encode_record (slot, g.ring.uuid, F2_PRODUCER, &r);
  assert_ok (put_bytes (g.a, 2 * F2_SLOT, slot, sizeof slot));
  assert_memory_equal (g.v->rd->content + 2 * F2_SLOT, slot, sizeof slot);
  stop_guard (&g);
}

static void
a_record_is_whole (void **state)
{
  struct guarded g = start_guard ();
  unsigned char content[F2_CONTENT];
  struct f2_record r = new_claim (&g, F2_PRODUCER);

  (void) state;
  f2_encode_record (content, g.ring.uuid, F2_PRODUCER, &r);
  content[300] ^= 1;
  assert_refused (g.v, EINVAL, put_bytes (g.a, 2 * F2_SLOT, content, 512));
  content[300] ^= 1;
  assert_refused (g.v, EINVAL, put_bytes (g.a, 2 * F2_SLOT, content, 511));
  assert_refused (g.v, EINVAL, put_bytes (g.a, 2 * F2_SLOT, content, 16));
  /* Of another ring; of another kind. */
  f2_encode_record (content, (const unsigned char *) "0123456789abcdef",
                    F2_PRODUCER, &r);
  assert_refused (g.v, EINVAL, put_bytes (g.a, 2 * F2_SLOT, content, 512));
  f2_encode_record (content, g.ring.uuid, F2_CONSUMER, &r);
  assert_refused (g.v, EINVAL, put_bytes (g.a, 2 * F2_SLOT, content, 512));
  assert_refused (g.v, EINVAL, service_zero (g.a, 512, 2 * F2_SLOT, 0));
  assert_refused (g.v, EINVAL, service_trim (g.a, 512, 2 * F2_SLOT, 0));
  f2_encode_record (content, g.ring.uuid, F2_PRODUCER, &r);
  assert_ok (put_bytes (g.a, 2 * F2_SLOT, content, 512));
  /* The very same once more: a client that asked twice. */
  assert_ok (put_bytes (g.a, 2 * F2_SLOT, content, 512));
  assert_ok (put_bytes (g.b, 2 * F2_SLOT, content, 512));
  stop_guard (&g);
}

static void
a_record_is_the_next_one (void **state)
{
  struct guarded g = start_guard ();
  struct f2_record r;
  unsigned copy;

  (void) state;
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  copy = get_record (g.v->rd, F2_PRODUCER, &r);
  /* The copy that counts. */
  r = next_record (&g, F2_PRODUCER);
  assert_refused (g.v, EINVAL, put_copy (&g, g.a, F2_PRODUCER, copy, &r));
  /* The same number, one too many, and back. */
  r.sequence--;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  r.sequence += 2;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  r.sequence = 0;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  /* Epochs. */
  r = next_record (&g, F2_PRODUCER);
  r.epoch--;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  r = new_claim (&g, F2_PRODUCER);
  r.epoch++;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  r = new_claim (&g, F2_PRODUCER);
  r.sequence = 2;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  /* Flags. */
  r = next_record (&g, F2_PRODUCER);
  r.flags = 16;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  r.flags = F2_ENABLED;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  r.flags = F2_UNFLUSHED;
  assert_ok (put_record (&g, g.a, F2_PRODUCER, &r));
  stop_guard (&g);
}

static void
not_both_copies_at_once (void **state)
{
  struct guarded g = start_guard ();
  unsigned char slots[F2_SLOT + F2_CONTENT];
  struct f2_record r = new_claim (&g, F2_PRODUCER);

  (void) state;
  assert_ok (service_pread (g.a, slots, sizeof slots, 2 * F2_SLOT));
  f2_encode_record (slots, g.ring.uuid, F2_PRODUCER, &r);
  r.sequence++;
  f2_encode_record (slots + F2_SLOT, g.ring.uuid, F2_PRODUCER, &r);
  assert_refused (g.v, EINVAL, put_bytes (g.a, 2 * F2_SLOT, slots,
                                          sizeof slots));
  stop_guard (&g);
}

/* Records of several sides in one request are each checked; one that is
 * wrong keeps all from being written. */
static void
several_records_at_once (void **state)
{
  struct guarded g = start_guard_of (5);
  unsigned char slots[14 * F2_SLOT];
  struct f2_record r;
  unsigned k;

  (void) state;
  assert_ok (service_pread (g.a, slots, sizeof slots, 2 * F2_SLOT));
  for (k = F2_CONSUMER; k < F2_CONSUMER + 4; ++k) {
    r = new_claim (&g, k);
    f2_encode_record (slots + 2 * k * F2_SLOT, g.ring.uuid, k, &r);
  }
  r.epoch++;
  f2_encode_record (slots + 2 * (k - 1) * F2_SLOT, g.ring.uuid, k - 1, &r);
  assert_refused (g.v, EINVAL, put_bytes (g.a, 2 * F2_SLOT, slots,
                                          sizeof slots));
  r.epoch--;
  f2_encode_record (slots + 2 * (k - 1) * F2_SLOT, g.ring.uuid, k - 1, &r);
  assert_ok (put_bytes (g.a, 2 * F2_SLOT, slots, sizeof slots));
  for (k = F2_CONSUMER; k < F2_CONSUMER + 4; ++k)
    assert_refused (g.v, EPERM, claim (&g, g.b, k));
  assert_ok (claim (&g, g.b, k));
  stop_guard (&g);

  /* More than four. */
  g = start_guard_of (5);
  assert_ok (service_pread (g.a, slots, sizeof slots, 2 * F2_SLOT));
  for (k = F2_CONSUMER; k < F2_CONSUMER + 5; ++k) {
    r = new_claim (&g, k);
    f2_encode_record (slots + 2 * k * F2_SLOT, g.ring.uuid, k, &r);
  }
  assert_refused (g.v, EINVAL, put_bytes (g.a, 6 * F2_SLOT,
                                          slots + 4 * F2_SLOT, 10 * F2_SLOT));
  assert_ok (put_bytes (g.a, 6 * F2_SLOT, slots + 4 * F2_SLOT, 8 * F2_SLOT));
  stop_guard (&g);
}

/*---------------------------------------------------------------------*/

static void
an_epoch_is_raised_while_nobody_owns_the_side (void **state)
{
  struct guarded g = start_guard ();
  struct f2_record r, stale;

  (void) state;
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  append_frame (&g, g.a, 1);
  forget_log (g.v);
  assert_refused (g.v, EPERM, claim (&g, g.b, F2_PRODUCER));
  assert_log (g.v, "alice", "bob");
  r = next_record (&g, F2_PRODUCER);
  assert_refused (g.v, EPERM, put_record (&g, g.b, F2_PRODUCER, &r));
  /* A consumer is somebody else. */
  assert_ok (claim (&g, g.b, F2_CONSUMER));
  assert_refused (g.v, EPERM, claim (&g, g.a, F2_CONSUMER));
  /* Its connection ends. */
  leave (&g.a);
  assert_ok (claim (&g, g.b, F2_PRODUCER));
  g.a = join (g.v, "alice");
  assert_refused (g.v, EPERM, claim (&g, g.a, F2_PRODUCER));
  /* It is silent. */
  g.v->now += 10 * SECOND - 1;
  assert_refused (g.v, EPERM, claim (&g, g.a, F2_PRODUCER));
  g.v->now += 1;
  stale = next_record (&g, F2_PRODUCER);
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  assert_refused (g.v, EPERM, put_record (&g, g.b, F2_PRODUCER, &stale));
  assert_refused (g.v, EPERM, claim (&g, g.b, F2_PRODUCER));
  r = next_record (&g, F2_PRODUCER);
  assert_refused (g.v, EPERM, put_record (&g, g.b, F2_PRODUCER, &r));
  stop_guard (&g);
}

static void
who_detaches_leaves_the_side (void **state)
{
  struct guarded g = start_guard ();
  struct f2_record r;

  (void) state;
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  assert_ok (claim (&g, g.a, F2_CONSUMER));
  assert_ok (detach (&g, g.a, F2_PRODUCER));
  assert_refused (g.v, EPERM, claim (&g, g.b, F2_CONSUMER));
  assert_ok (claim (&g, g.b, F2_PRODUCER));
  assert_ok (detach (&g, g.a, F2_CONSUMER));
  assert_ok (claim (&g, g.b, F2_CONSUMER));
  assert_ok (detach (&g, g.b, F2_CONSUMER));
  /* Nobody goes on with a record that was left. */
  r = next_record (&g, F2_CONSUMER);
  assert_refused (g.v, EINVAL, put_record (&g, g.b, F2_CONSUMER, &r));
  r.flags &= ~F2_CLEAN;
  assert_refused (g.v, EINVAL, put_record (&g, g.b, F2_CONSUMER, &r));
  r = new_claim (&g, F2_CONSUMER);
  r.flags |= F2_CLEAN;
  assert_refused (g.v, EINVAL, put_record (&g, g.b, F2_CONSUMER, &r));
  stop_guard (&g);
}

/* After the server or the connection was gone its owner goes on. */
static void
an_owner_goes_on_after_a_restart (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  append_frame (&g, g.a, 2);
  restart (&g);
  append_frame (&g, g.a, 1);
  assert_refused (g.v, EPERM, claim (&g, g.b, F2_PRODUCER));
  assert_ok (publish (&g, g.a, g.tail, g.chain));
  restart (&g);
  assert_ok (publish (&g, g.b, g.tail, g.chain));
  assert_refused (g.v, EPERM, claim (&g, g.a, F2_PRODUCER));
  stop_guard (&g);
}

static void
a_claim_says_where_the_stream_ends (void **state)
{
  struct guarded g = start_guard ();
  struct f2_record r;

  (void) state;
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  append_frame (&g, g.a, 2);
  append_frame (&g, g.a, 1);
  r = new_claim (&g, F2_PRODUCER);
  r.position = r.since = 2 * B;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  r = new_claim (&g, F2_PRODUCER);
  r.position = r.since = 4 * B;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  r = new_claim (&g, F2_PRODUCER);
  r.chain ^= 1;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  r = new_claim (&g, F2_PRODUCER);
  r.since -= B;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  r = new_claim (&g, F2_PRODUCER);
  r.frame_epoch++;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  r.frame_epoch -= 2;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  r = new_claim (&g, F2_PRODUCER);
  r.suspend = 1;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  /* The first claim of a takeover changes nothing else. */
  r = next_record (&g, F2_PRODUCER);
  r.epoch++;
  r.sequence = 1;
  assert_ok (put_record (&g, g.a, F2_PRODUCER, &r));
  append_frame (&g, g.a, 1);
  stop_guard (&g);
}

static void
the_producer_publishes_what_was_written (void **state)
{
  struct guarded g = start_guard ();
  struct f2_record r;
  struct made m;
  uint64_t middle;
  uint32_t middle_chain;

  (void) state;
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  append_frame (&g, g.a, 2);
  append_frame (&g, g.a, 2);
  middle = 2 * B;
  get_record (g.v->rd, F2_PRODUCER, &r);
  assert_refused (g.v, EINVAL, publish (&g, g.a, g.tail, g.chain ^ 1));
  assert_refused (g.v, EINVAL, publish (&g, g.a, g.tail - B, g.chain));
  assert_refused (g.v, EINVAL, publish (&g, g.a, g.tail + B, g.chain));
  assert_refused (g.v, EINVAL, publish (&g, g.a, UINT64_C (1) << 62, 0));
  middle_chain = get_le32 (g.v->rd->content + g.ring.data_offset + 60);
  assert_refused (g.v, EINVAL, publish (&g, g.a, middle, g.chain));
  assert_ok (publish (&g, g.a, middle, middle_chain));
  assert_ok (publish (&g, g.a, g.tail, g.chain));
  assert_refused (g.v, EINVAL, publish (&g, g.a, middle, middle_chain));
  /* Frame epoch and since belong to a claim. */
  r = next_record (&g, F2_PRODUCER);
  r.frame_epoch++;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  r = next_record (&g, F2_PRODUCER);
  r.since = r.position;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  /* What is staged. */
  make_frame (&g, &m, 3, 10, false);
  assert_ok (put_frame (&g, g.a, &m));
  pass (&g, &m);
  middle = g.tail;
  middle_chain = g.chain;
  make_frame (&g, &m, 2, 600, false);
  assert_ok (put_frame (&g, g.a, &m));
  pass (&g, &m);
  assert_refused (g.v, EINVAL, publish (&g, g.a, g.tail - B, g.chain));
  assert_refused (g.v, EINVAL, publish (&g, g.a, middle, g.chain));
  assert_ok (publish (&g, g.a, middle, middle_chain));
  assert_ok (publish (&g, g.a, g.tail, g.chain));
  stop_guard (&g);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (the_superblock_stays),
    cmocka_unit_test (what_is_no_part_of_the_ring_stays),
    cmocka_unit_test (a_gap_before_the_data_area_stays),
    cmocka_unit_test (a_writer_of_large_sectors_clears_the_slot),
    cmocka_unit_test (a_record_is_whole),
    cmocka_unit_test (a_record_is_the_next_one),
    cmocka_unit_test (not_both_copies_at_once),
    cmocka_unit_test (several_records_at_once),
    cmocka_unit_test (an_epoch_is_raised_while_nobody_owns_the_side),
    cmocka_unit_test (who_detaches_leaves_the_side),
    cmocka_unit_test (an_owner_goes_on_after_a_restart),
    cmocka_unit_test (a_claim_says_where_the_stream_ends),
    cmocka_unit_test (the_producer_publishes_what_was_written),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
