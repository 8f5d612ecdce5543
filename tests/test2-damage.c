/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Damage to a ring of format 2 is told from the end of the stream where that
 * can be told, and the position is named; nothing is written then.  One copy
 * of a record may be damaged.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "format2-fixture.h"

/* The last failure is corruption at this position. */
static void
assert_corrupt_at (const struct ring *ring, uint64_t position)
{
  char text[100];

  assert_error (EBADMSG);
  snprintf (text, sizeof text, "position %" PRIu64 " (byte %" PRIu64 ")",
            position, ring_offset (ring, position));
  assert_message (text);
}

static void
assert_inspect_finds (struct record_device *rd, uint64_t position)
{
  const struct ring ring = ring_of (rd);
  struct blkring_info *info = malloc (sizeof *info);
  struct findings found;

  assert_non_null (info);
  assert_fails (EBADMSG, blkring_inspect (rd->device, NULL, info));
  assert_corrupt_at (&ring, position);
  found = check (rd);
  assert_int_equal (found.corruptions, 1);
  assert_int_equal (found.offset, ring_offset (&ring, position));
  free (info);
}

/* Nothing else was written than what is there. */
static void
assert_unchanged (const struct fixture *f, const struct fixture *as)
{
  assert_memory_equal (f->rd->content, as->rd->content, f->rd->allocated);
}

/* These, and then corruption at 'position'. */
static void
assert_pop_finds (blkring_consumer *c, struct record_device *rd,
                  const char *names, uint64_t position)
{
  const struct ring ring = ring_of (rd);
  char found[100] = "";

  assert_int_equal (blkring_consumer_fold (c, NULL, add_name, found), -1);
  assert_corrupt_at (&ring, position);
  assert_string_equal (found, names);
}

static void
damage_before_published_is_corruption (void **state)
{
  static const unsigned at[] = { 0, 8, 40, 50, 61, F2_HEADER, F2_HEADER + 4 };
  size_t i;

  (void) state;
  for (i = 0; i < LENGTH (at); ++i) {
    struct fixture f = start_small ();

    append (f.p, 'a', 1);
    append (f.p, 'b', 1);
    append (f.p, 'c', 1);
    damage_stream (f.rd, B + at[i]);
    assert_inspect_finds (f.rd, B);
    assert_pop_finds (f.c, f.rd, "a", B);
    assert_pop_finds (f.c, f.rd, "a", B);
    free_one (f.c);
    assert_pop_finds (f.c, f.rd, "", B);
    reattach_consumer (&f);
    assert_pop_finds (f.c, f.rd, "", B);
    /* The producer goes on behind it. */
    reattach_producer (&f);
    put (f.p, 'd', 1);
    damage_stream (f.rd, B + at[i]);
    assert_holds (f.c, "bcd");
    stop (&f);
  }
}

/* Nothing but a later frame tells. */
static void
damage_before_a_later_frame_is_corruption (void **state)
{
  static const size_t lengths[] = { 1, 2000 };
  size_t i;

  (void) state;
  for (i = 0; i < LENGTH (lengths); ++i) {
    struct fixture f = start_large (), g;
    const struct ring ring = ring_of (f.rd);

    put (f.p, 'a', 1);
    put (f.p, 'b', lengths[i]);
    put (f.p, 'c', 1);
    put (f.p, 'd', 1);
    damage_stream (f.rd, B + 70);
    assert_inspect_finds (f.rd, B);
    now += 1000 * NS_PER_MS;
    assert_pop_finds (f.c, f.rd, "a", B);
    g = elsewhere (&f);
    assert_no_handle (EBADMSG,
                      blkring_producer_attach (g.rd->device, NULL));
    assert_corrupt_at (&ring, B);
    assert_unchanged (&g, &f);
    damage_stream (g.rd, B + 70);
    assert_goes_on (g.rd, "abcd");
    stop (&g);
    stop (&f);
  }
}

/* A frame that is cut off cannot be told from one that never was. */
static void
damaged_last_frame_is_the_end (void **state)
{
  struct fixture f = start_large (), g;

  (void) state;
  put (f.p, 'a', 1);
  put (f.p, 'b', 100);
  damage_stream (f.rd, B + 70);
  now += 1000 * NS_PER_MS;
  assert_holds (f.c, "a");
  assert_clean (f.rd);
  g = elsewhere (&f);
  assert_goes_on (g.rd, "a");
  assert_clean (g.rd);
  stop (&g);
  stop (&f);
}

/* A consumer has freed a part of the last frame, which was durable by then,
 * so that this is not where the stream ends. */
static void
consumer_beyond_the_tail_is_corruption (void **state)
{
  struct fixture f = start_large (), g;
  struct blkring_info *info = malloc (sizeof *info);

  (void) state;
  assert_non_null (info);
  put (f.p, 'a', 1);
  put_batch (f.p, "bcd");
  free_one (f.c);
  free_one (f.c);
  damage_stream (f.rd, B + 80);
  g = elsewhere (&f);
  assert_no_handle (EBADMSG, blkring_producer_attach (g.rd->device, NULL));
  assert_unchanged (&g, &f);
  assert_fails (EBADMSG, blkring_inspect (g.rd->device, NULL, info));
  assert_int_equal (check (g.rd).corruptions, 1);
  stop (&g);
  free (info);
  stop (&f);
}

/* An item that holds a frame, of this ring or of another, and of which only
 * the second half survived. */
static void
payload_that_imitates_a_frame (void **state)
{
  struct fixture f = start_large (), g;
  const struct ring ring = ring_of (f.rd);
  unsigned char item[FILLS (B, 3)] = { 0 }, uuid[16];
  struct f2_frame imitation = {
    .flags = F2_PUBLISHED, .position = 2 * B, .epoch = 1, .items = 1,
    .length = 8,
  };

  (void) state;
  memcpy (uuid, ring.uuid, 16);
  uuid[5] ^= 1;
  put (f.p, 'a', 1);
  f2_encode_frame (item + B - F2_HEADER - 4, uuid, &imitation);
  assert_ok (blkring_producer_append (f.p, item, sizeof item, NULL));
  damage_stream (f.rd, B);
  assert_clean (f.rd);
  g = elsewhere (&f);
  assert_goes_on (g.rd, "a");
  stop (&g);
  stop (&f);
}

/* The consumer's position is within a frame, where no item begins. */
static void
position_between_items (void **state)
{
  static const unsigned offsets[] = { 4, 60, 64, 68, 76, 88, 92, 508 };
  size_t i;

  (void) state;
  for (i = 0; i < LENGTH (offsets); ++i) {
    struct fixture f = start_large ();
    struct blkring_item item;
    struct f2_record r;

    put (f.p, 'a', 1);
    free_one (f.c);
    put_batch (f.p, "bcd");
    blkring_consumer_free (f.c);
    get_record (f.rd, F2_CONSUMER, &r);
    assert_int_equal (r.frame, B);
    r.position = B + offsets[i];
    set_record (f.rd, F2_CONSUMER, &r);
    f.c = blkring_consumer_attach (f.rd->device, NULL);
    if (f.c)
      assert_int_equal (blkring_consumer_pop (f.c, NULL, &item), -1);
    assert_error (EBADMSG);
    stop (&f);
  }
}

/*---------------------------------------------------------------------*/

static const char *const names_of_records[] = {
  "producer", "control", "consumer",
};

static void
record_with_both_copies_damaged (void **state)
{
  struct blkring_info *info = malloc (sizeof *info);
  struct findings found;
  unsigned kind;

  (void) state;
  assert_non_null (info);
  for (kind = 0; kind < 3; ++kind) {
    struct fixture f = start_small (), g;

    put (f.p, 'a', 1);
    damage (f.rd, f2_record_offset (kind, 0) + 20);
    damage (f.rd, f2_record_offset (kind, 1) + 300);
    g = elsewhere (&f);
    assert_no_handle (EBADMSG, blkring_producer_attach (g.rd->device, NULL));
    assert_message (names_of_records[kind]);
    assert_no_handle (EBADMSG, blkring_consumer_attach (g.rd->device, NULL));
    assert_fails (EBADMSG, blkring_inspect (g.rd->device, NULL, info));
    found = check (g.rd);
    assert_int_equal (found.corruptions, 1);
    assert_int_equal (found.offset, f2_record_offset (kind, 0));
    assert_int_equal (g.rd->writes, 0);
    stop (&g);

    /* Those that are attached stop, too, and write nothing. */
    record_device_forget (f.rd);
    assert_fails (EBADMSG, blkring_producer_state (f.p));
    assert_fails (EBADMSG, blkring_consumer_state (f.c));
    now += 1000 * NS_PER_MS;
    assert_fails (EBADMSG, try_put (f.p, 'b', 1));
    assert_int_equal (f.rd->writes, 0);
    stop (&f);
  }
  free (info);
}

static void
record_with_one_copy_damaged (void **state)
{
  struct findings found;
  unsigned kind, copy;

  (void) state;
  for (kind = 0; kind < 3; ++kind)
    for (copy = 0; copy < 2; ++copy) {
      struct fixture f = start_small (), g;
      struct f2_record r;

      append (f.p, 'a', 1);
      append (f.p, 'b', 1);
      free_one (f.c);
      blkring_producer_free (f.p);
      blkring_consumer_free (f.c);
      f.p = attach_producer (f.rd);
      f.c = attach_consumer (f.rd);
      damage (f.rd, f2_record_offset (kind, copy) + 400);
      assert_int_equal (get_record (f.rd, kind, &r), !copy);
      found = check (f.rd);
      assert_int_equal (found.corruptions, 1);
      assert_int_equal (found.offset, f2_record_offset (kind, copy));
      g = elsewhere (&f);
      assert_goes_on (g.rd, "b");
      assert_int_equal (check (g.rd).corruptions, kind == F2_CONTROL);
      stop (&g);
      stop (&f);
    }
}

/*---------------------------------------------------------------------*/

/* The host of the producer has lost what was only in its memory, and the
 * next producer wrote something else there. */
static void
lost_frame_stops_the_advance (void **state)
{
  struct fixture f = start_large ();
  struct blkring_item items[2], other;
  unsigned char zeros[2 * B] = { 0 };
  unsigned i;

  (void) state;
  put (f.p, 'x', 1);
  free_one (f.c);
  put_batch (f.p, "abc");
  for (i = 0; i < 2; ++i)
    assert_ok (blkring_consumer_pop (f.c, i ? &items[i - 1].next : NULL,
                                     &items[i]));
  kill_producer (&f);
  poke_stream (f.rd, B, zeros, sizeof zeros);
  record_device_forget (f.rd);
  assert_int_equal (blkring_consumer_advance (f.c, items[1].next), -1);
  assert_true (errno == EBADMSG || errno == EAGAIN);
  assert_int_equal (blkring_consumer_advance (f.c, items[0].next), -1);
  assert_int_equal (f.rd->writes, 0);

  /* Where items began is not where they begin now. */
  f.p = attach_producer (f.rd);
  /* What was a length of 3 is one of 0 now. */
  put (f.p, '\0', 300);
  for (i = 0; i < 2; ++i) {
    assert_int_equal (blkring_consumer_pop (f.c, &items[i].next, &other), -1);
    assert_error (EINVAL);
    assert_int_equal (blkring_consumer_advance (f.c, items[i].next), -1);
    assert_error (EINVAL);
  }
  assert_ok (blkring_consumer_pop (f.c, NULL, &other));
  assert_int_equal (other.length, 300);
  for (i = 0; i < 2; ++i)
    assert_fails (EINVAL, blkring_consumer_advance (f.c, items[i].next));
  assert_ok (blkring_consumer_advance (f.c, other.next));
  put (f.p, 'e', 1);
  assert_holds (f.c, "e");
  stop (&f);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (damage_before_published_is_corruption),
    cmocka_unit_test (damage_before_a_later_frame_is_corruption),
    cmocka_unit_test (damaged_last_frame_is_the_end),
    cmocka_unit_test (consumer_beyond_the_tail_is_corruption),
    cmocka_unit_test (payload_that_imitates_a_frame),
    cmocka_unit_test (position_between_items),
    cmocka_unit_test (record_with_both_copies_damaged),
    cmocka_unit_test (record_with_one_copy_damaged),
    cmocka_unit_test (lost_frame_stops_the_advance),
  };

  return cmocka_run_group_tests_name ("damage to format 2", tests, NULL,
                                      NULL);
}
