/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What was right when a request came is wrong by the time that the device has
 * been read or flushed for it: another client took the side, or gave it up, or
 * the frame's epoch is over.  Each request is judged by what is so then.
 */

#include <config.h>

#include "lock.h"
#include "service-jobs.h"

#define DATA (3 * S)         /* format 1 */

static struct guarded *turn;
static struct service_client *alice;
static unsigned char sector[S];

static struct served *
serve_format1 (void)
{
  const struct record_options o = { .size = 16 * S };

  return served_on (record_device_new_ring (&o, 512));
}

static int
put_pointer (struct service_client *c, unsigned side, uint64_t position,
             bool flag)
{
  const struct f1_pointer v = { position, flag };

  f1_encode_pointer (sector, S, side, &v, "q", "c");
  return put_bytes (c, (1 + side) * S, sector, S);
}

/*---------------------------------------------------------------------*/

static void
alice_goes (struct record_device *rd)
{
  (void) rd;
  leave (&alice);
}

/* It was another's when what is there was looked at: not written, but now it
 * could be. */
static void
the_owner_goes_while_a_write_is_compared (void **state)
{
  struct served *v = serve_format1 ();
  struct service_client *b = join (v, "bob");

  (void) state;
  alice = join (v, "alice");
  assert_ok (put_bytes (alice, DATA, "\4\0\0\0abcd\4\0\0\0efgh", 16));
  assert_ok (put_pointer (alice, SIDE_PRODUCER, 8, false));
  v->rd->before_read = alice_goes;
  assert_refused (v, EPERM, put_bytes (b, DATA + 12, "EFGH", 4));
  assert_message ("a moment ago");
  assert_null (alice);
  assert_ok (put_bytes (b, DATA + 12, "EFGH", 4));
  service_disconnect (b);
  served_free (v);
}

static void
alice_acknowledges (struct record_device *rd)
{
  (void) rd;
  assert_ok (put_pointer (alice, SIDE_PRODUCER, 8, true));
}

/* A write over what is unread, which stays, and what is free. */
static void
another_takes_the_side_while_a_write_is_compared (void **state)
{
  struct served *v = serve_format1 ();
  struct service_client *b, *c = join (v, "consumer");

  (void) state;
  alice = join (v, "alice");
  assert_ok (put_bytes (alice, DATA, "\4\0\0\0abcd", 8));
  assert_ok (put_pointer (alice, SIDE_PRODUCER, 8, false));
  leave (&alice);
  alice = join (v, "alice");
  b = join (v, "bob");
  assert_ok (put_pointer (c, SIDE_CONSUMER, 0, true));
  v->rd->before_read = alice_acknowledges;
  assert_fails (EPERM, put_bytes (b, DATA, "\4\0\0\0abcd\4\0\0\0efgh", 16));
  assert_message ("alice");
  assert_null (v->rd->before_read);
  assert_reads (b, DATA + 8, 0, 8);
  leave (&alice);
  service_disconnect (b);
  service_disconnect (c);
  served_free (v);
}

/*---------------------------------------------------------------------*/

static struct made next;

static void
alice_stages_another (struct record_device *rd)
{
  (void) rd;
  assert_ok (put_frame (turn, turn->a, &next));
}

static void
another_takes_the_side_while_a_position_is_looked_for (void **state)
{
  struct guarded g = start_guard ();
  struct service_client *c = join (g.v, "carol");
  struct f2_record r;
  struct made m;
  unsigned copy;

  (void) state;
  turn = &g;
  assert_ok (claim (&g, c, F2_PRODUCER));
  make_frame (&g, &m, 1, 20, false);
  assert_ok (put_frame (&g, c, &m));
  pass (&g, &m);
  leave (&c);
  make_frame (&g, &next, 1, 30, false);
  copy = !get_record (g.v->rd, F2_PRODUCER, &r);
  r = next_record (&g, F2_PRODUCER);
  r.position = g.tail;
  r.chain = g.chain;
  g.v->rd->before_read = alice_stages_another;
  assert_fails (EPERM, put_copy (&g, g.b, F2_PRODUCER, copy, &r));
  assert_message ("alice");
  assert_null (g.v->rd->before_read);
  assert_int_equal (exposed (&g), 0);
  assert_ok (publish (&g, g.a, g.tail, g.chain));
  assert_int_equal (exposed (&g), g.tail);
  stop_guard (&g);
}

/* The parts of a frame are all there, and are being made durable. */
static void
alice_detaches (struct record_device *rd)
{
  (void) rd;
  assert_ok (detach (turn, turn->a, F2_PRODUCER));
}

static void
the_owner_detaches_while_its_frame_is_flushed (void **state)
{
  struct guarded g = start_claimed ();
  struct made m;

  (void) state;
  turn = &g;
  make_frame (&g, &m, 1, 20, true);
  assert_ok (put_part (&g, g.a, &m, 0, 40));
  g.v->rd->behind_flush = alice_detaches;
  assert_ok (put_part (&g, g.a, &m, 40, m.size));
  assert_null (g.v->rd->behind_flush);
  assert_int_equal (exposed (&g), 0);
  assert_ok (claim (&g, g.b, F2_PRODUCER));
  make_frame (&g, &m, 1, 20, true);
  assert_ok (put_frame (&g, g.b, &m));
  pass (&g, &m);
  assert_items (&g, 1);
  stop_guard (&g);
}

static struct job overwriting;

static void
alice_writes_over_it (struct record_device *rd)
{
  (void) rd;
  start_job (&overwriting, turn->a, at (turn, 70), "XXXX", 4);
  assert_waits (&overwriting);
}

static void
a_frame_that_is_flushed_is_not_written_over (void **state)
{
  struct guarded g = start_claimed ();
  struct made m;

  (void) state;
  turn = &g;
  make_frame (&g, &m, 1, 20, true);
  assert_ok (put_part (&g, g.a, &m, 0, 40));
  g.v->rd->behind_flush = alice_writes_over_it;
  assert_ok (put_part (&g, g.a, &m, 40, m.size));
  end_job (&overwriting, -1);
  assert_int_equal (overwriting.error, EINVAL);
  assert_int_equal (exposed (&g), m.size);
  pass (&g, &m);
  assert_items (&g, 1);
  stop_guard (&g);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (the_owner_goes_while_a_write_is_compared),
    cmocka_unit_test (another_takes_the_side_while_a_write_is_compared),
    cmocka_unit_test (another_takes_the_side_while_a_position_is_looked_for),
    cmocka_unit_test (the_owner_detaches_while_its_frame_is_flushed),
    cmocka_unit_test (a_frame_that_is_flushed_is_not_written_over),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
