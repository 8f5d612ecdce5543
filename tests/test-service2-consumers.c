/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The guard of format 2: consumers' records, who is enabled, and requests to
 * suspend.
 */

#include <config.h>

#include "service2-fixture.h"

/* Three frames: three items of 100 bytes, one of 500, and one. */
static struct guarded
start_filled (unsigned consumers, uint32_t *chain)
{
  struct guarded g = start_guard_of (consumers);
  struct made m;

  assert_ok (claim (&g, g.a, F2_PRODUCER));
  make_frame (&g, &m, 3, 100, true);
  assert_ok (put_frame (&g, g.a, &m));
  pass (&g, &m);
  chain[0] = g.chain;
  append_frame (&g, g.a, 2);
  chain[1] = g.chain;
  append_frame (&g, g.a, 1);
  chain[2] = g.chain;
  return g;
}

static void
the_consumer_goes_from_item_to_item (void **state)
{
  uint32_t chain[3];
  struct guarded g = start_filled (1, chain);
  struct made m;

  (void) state;
  /* Only the owner; and a claim changes no position. */
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, B, chain[0], B));
  assert_ok (claim (&g, g.b, F2_CONSUMER));
  assert_refused (g.v, EPERM, consume_to (&g, g.a, 0, B, chain[0], B));
  /* In the first frame: items at 0, 64 + 104, 64 + 208. */
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 0, 0, 64));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 0, 0, 64 + 100));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 0, 0, 64 + 108));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 0, 1, 64 + 104));
  assert_ok (consume_to (&g, g.b, 0, 0, 0, 64 + 104));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 0, 0, 0));
  assert_ok (consume_to (&g, g.b, 0, 0, 0, 64 + 208));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 0, 0, 64 + 104));
  /* The end of the items, of the frame, with and without its chain. */
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 0, 0, 64 + 312));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 0, 0, B));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, B, 0, B));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, B, chain[1], B));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 0, chain[0], B));
  assert_ok (consume_to (&g, g.b, 0, B, chain[0], B));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 0, 0, 64 + 208));
  /* In the middle of a frame of two blocks; over several at once. */
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 2 * B, chain[1],
                                           2 * B));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 5 * B, chain[2],
                                           5 * B));
  assert_ok (consume_to (&g, g.b, 0, 4 * B, chain[2], 4 * B));
  /* Nothing that is staged. */
  make_frame (&g, &m, 1, 10, false);
  assert_ok (put_frame (&g, g.a, &m));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 5 * B, m.f.crc,
                                           5 * B));
  pass (&g, &m);
  assert_ok (publish (&g, g.a, g.tail, g.chain));
  assert_ok (consume_to (&g, g.b, 0, 5 * B, m.f.crc, 5 * B));
  stop_guard (&g);
}

/* Items and bytes that were consumed, whatever the steps. */
static void
items_are_counted (void **state)
{
  uint32_t chain[3];
  struct guarded g = start_filled (1, chain);
  struct made m;

  (void) state;
#define COUNTS(side, n, bytes_) \
  do { \
    assert_int_equal (status_number (&g, side, 0, "items"), n); \
    assert_int_equal (status_number (&g, side, 0, "bytes"), bytes_); \
  } while (0)
  COUNTS ("producer", 5, 4 * B);
  assert_ok (claim (&g, g.b, F2_CONSUMER));
  COUNTS ("consumers", 0, 0);
  assert_ok (consume_to (&g, g.b, 0, 0, 0, 64 + 104));
  COUNTS ("consumers", 1, 64 + 104);
  assert_ok (consume_to (&g, g.b, 0, 0, 0, 64 + 208));
  COUNTS ("consumers", 2, 64 + 208);
  assert_ok (consume_to (&g, g.b, 0, 3 * B, chain[1], 3 * B));
  COUNTS ("consumers", 4, 3 * B);
  /* What is staged counts when it is exposed. */
  make_frame (&g, &m, 3, 10, false);
  assert_ok (put_frame (&g, g.a, &m));
  pass (&g, &m);
  COUNTS ("producer", 5, 4 * B);
  assert_ok (publish (&g, g.a, g.tail, g.chain));
  COUNTS ("producer", 8, 5 * B);
  assert_ok (consume_to (&g, g.b, 0, 4 * B, chain[2], 4 * B + 64 + 16));
  COUNTS ("consumers", 6, 4 * B + 64 + 16);
  /* Begun in the middle of a frame. */
  restart (&g);
  COUNTS ("consumers", 0, 0);
  assert_ok (consume_to (&g, g.b, 0, g.tail, g.chain, g.tail));
  COUNTS ("consumers", 2, B - 64 - 16);
  stop_guard (&g);
}

static void
several_consumers (void **state)
{
  uint32_t chain[3];
  struct guarded g = start_filled (2, chain);
  struct made m;

  (void) state;
  assert_ok (claim (&g, g.a, F2_CONSUMER));
  assert_refused (g.v, EPERM, claim (&g, g.b, F2_CONSUMER));
  assert_ok (claim (&g, g.b, F2_CONSUMER + 1));
  assert_refused (g.v, EPERM, claim (&g, g.a, F2_CONSUMER + 1));
  assert_ok (consume_to (&g, g.a, 0, 4 * B, chain[2], 4 * B));
  /* The other one holds back space. */
  append_frame (&g, g.a, 12);
  make_frame (&g, &m, 1, 4, true);
  assert_refused (g.v, EINVAL, put_frame (&g, g.a, &m));
  assert_ok (consume_to (&g, g.b, 1, 0, 0, 64 + 104));
  assert_refused (g.v, EINVAL, put_frame (&g, g.a, &m));
  assert_ok (consume_to (&g, g.b, 1, B, chain[0], B));
  assert_ok (put_frame (&g, g.a, &m));
  stop_guard (&g);
}

static int
enable (struct guarded *g, struct service_client *c, unsigned k, bool on,
        uint64_t position, uint32_t chain)
{
  struct f2_record r = next_record (g, F2_CONSUMER + k);

  r.flags = (r.flags & ~F2_ENABLED) | (on ? F2_ENABLED : 0);
  if (on) {
    r.position = r.frame = position;
    r.chain = chain;
  }
  return put_record (g, c, F2_CONSUMER + k, &r);
}

static void
consumers_are_enabled_while_all_rest (void **state)
{
  uint32_t chain[3];
  struct guarded g = start_filled (2, chain);
  struct f2_record r;

  (void) state;
  /* A producer is at work. */
  assert_refused (g.v, EINVAL, enable (&g, g.b, 1, false, 0, 0));
  assert_ok (publish (&g, g.a, 3 * B, chain[1]));
  assert_ok (ask (&g, g.b, true));
  assert_refused (g.v, EINVAL, enable (&g, g.b, 1, false, 0, 0));
  assert_ok (acknowledge (&g, g.a));
  /* Somebody is that consumer. */
  assert_ok (claim (&g, g.a, F2_CONSUMER + 1));
  assert_refused (g.v, EPERM, enable (&g, g.b, 1, false, 0, 0));
  assert_refused (g.v, EINVAL, enable (&g, g.a, 1, false, 0, 0));
  assert_ok (detach (&g, g.a, F2_CONSUMER + 1));
  r = next_record (&g, F2_CONSUMER + 1);
  r.flags = 0;
  assert_refused (g.v, EINVAL, put_record (&g, g.b, F2_CONSUMER + 1, &r));
  assert_ok (enable (&g, g.b, 1, false, 0, 0));
  assert_refused (g.v, EINVAL, enable (&g, g.b, 0, false, 0, 0));
  /* A disabled one keeps its position. */
  assert_ok (claim (&g, g.b, F2_CONSUMER + 1));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 1, B, chain[0], B));
  assert_ok (detach (&g, g.b, F2_CONSUMER + 1));
  r = next_record (&g, F2_CONSUMER + 1);
  r.epoch++;
  r.sequence = 1;
  r.flags |= F2_ENABLED;
  r.position = r.frame = 3 * B;
  r.chain = chain[1];
  assert_refused (g.v, EINVAL, put_record (&g, g.b, F2_CONSUMER + 1, &r));
  r = next_record (&g, F2_CONSUMER + 1);
  r.flags |= F2_ENABLED;
  r.position = 3 * B + 4;
  r.frame = 3 * B;
  r.chain = chain[1];
  assert_refused (g.v, EINVAL, put_record (&g, g.b, F2_CONSUMER + 1, &r));
  /* It begins with what is published. */
  assert_refused (g.v, EINVAL, enable (&g, g.b, 1, true, 4 * B, chain[2]));
  assert_refused (g.v, EINVAL, enable (&g, g.b, 1, true, B, chain[0]));
  assert_refused (g.v, EINVAL, enable (&g, g.b, 1, true, 3 * B, chain[0]));
  assert_ok (enable (&g, g.b, 1, true, 3 * B, chain[1]));
  /* … or with the others, where those are ahead. */
  r = next_record (&g, F2_CONSUMER + 1);
  r.flags &= ~F2_ENABLED;
  r.position = r.frame = 0;
  assert_refused (g.v, EINVAL, put_record (&g, g.b, F2_CONSUMER + 1, &r));
  assert_ok (enable (&g, g.b, 1, false, 0, 0));
  assert_ok (claim (&g, g.a, F2_CONSUMER));
  assert_ok (consume_to (&g, g.a, 0, 4 * B, chain[2], 4 * B));
  assert_refused (g.v, EINVAL, enable (&g, g.b, 1, true, 3 * B, chain[1]));
  assert_refused (g.v, EINVAL, enable (&g, g.b, 1, true, 4 * B, chain[1]));
  assert_ok (enable (&g, g.b, 1, true, 4 * B, chain[2]));
  assert_int_equal (status_number (&g, "consumers", 1, "bytes"), 0);
  stop_guard (&g);
}

static void
requests_follow_the_protocol (void **state)
{
  struct guarded g = start_guard ();
  struct f2_record r;

  (void) state;
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  /* Nothing was suspended; no number is left out. */
  assert_refused (g.v, EINVAL, ask (&g, g.b, false));
  r = next_record (&g, F2_CONTROL);
  r.flags = F2_SUSPEND;
  assert_refused (g.v, EINVAL, put_record (&g, g.b, F2_CONTROL, &r));
  r.suspend += 2;
  assert_refused (g.v, EINVAL, put_record (&g, g.b, F2_CONTROL, &r));
  r.suspend--;
  r.flags |= F2_CLEAN;
  assert_refused (g.v, EINVAL, put_record (&g, g.b, F2_CONTROL, &r));
  r.flags = F2_SUSPEND;
  r.epoch = 1;
  r.sequence = 1;
  assert_refused (g.v, EINVAL, put_record (&g, g.b, F2_CONTROL, &r));
  /* Anybody may ask. */
  assert_ok (ask (&g, g.b, true));
  assert_refused (g.v, EINVAL, ask (&g, g.b, false));
  assert_refused (g.v, EINVAL, ask (&g, g.a, true));
  /* What is acknowledged is what was asked for. */
  r = next_record (&g, F2_PRODUCER);
  r.suspend = 2;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  assert_ok (acknowledge (&g, g.a));
  r = next_record (&g, F2_PRODUCER);
  r.suspend = 0;
  assert_refused (g.v, EINVAL, put_record (&g, g.a, F2_PRODUCER, &r));
  assert_ok (ask (&g, g.a, false));
  assert_ok (acknowledge (&g, g.a));
  stop_guard (&g);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (the_consumer_goes_from_item_to_item),
    cmocka_unit_test (items_are_counted),
    cmocka_unit_test (several_consumers),
    cmocka_unit_test (consumers_are_enabled_while_all_rest),
    cmocka_unit_test (requests_follow_the_protocol),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
