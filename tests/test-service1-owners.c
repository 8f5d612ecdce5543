/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The guard of format 1: who owns a side, and requests that cover much, as a
 * page cache makes them.
 */

#include <config.h>

#include "service1-fixture.h"

static void
one_producer_at_a_time (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  push_item (g.a, 0, 100);
  assert_ok (put_item (g.a, 104, 20));
  forget_log (g.v);
  assert_refused (g.v, EPERM, put_item (g.b, 104, 8));
  assert_log (g.v, "alice", "bob");
  assert_refused (g.v, EPERM, put_producer (g.b, 104));
  /* Broken as well as another's: that comes first. */
  assert_refused (g.v, EPERM, put_producer (g.b, 0));
  assert_refused (g.v, EPERM, service_zero (g.b, 4, DATA + 104, 0));
  assert_refused (g.v, EPERM, service_trim (g.b, S, DATA + S, 0));
  /* A consumer is somebody else. */
  assert_ok (put_consumer (g.b, 104));
  assert_refused (g.v, EPERM, put_consumer (g.a, 104));
  leave (&g.a);
  assert_ok (put_item (g.b, 104, 8));
  assert_ok (put_producer (g.b, 116));
  g.a = join (g.v, "alice");
  assert_refused (g.v, EPERM, put_producer (g.a, 116));
  stop_guard (&g);
}

static void
a_refused_write_owns_nothing (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  assert_refused (g.v, EINVAL, put_producer (g.a, 4));
  assert_refused (g.v, EINVAL, put_consumer (g.a, 4));
  push_item (g.b, 0, 4);
  assert_ok (put_consumer (g.b, 8));
  stop_guard (&g);
}

/* Data alone takes no side; but nobody exposes what another wrote over. */
static void
two_producers_race (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  assert_ok (put_item (g.a, 0, 100));
  assert_ok (put_item (g.b, 0, 100));
  assert_refused (g.v, EPERM, put_producer (g.a, 104));
  assert_message ("bob");
  assert_ok (put_producer (g.b, 104));
  assert_refused (g.v, EPERM, put_producer (g.a, 104));
  stop_guard (&g);

  g = start_guard ();
  assert_ok (put_item (g.a, 0, 100));
  assert_ok (put_item (g.b, 0, 100));
  assert_refused (g.v, EPERM, put_producer (g.a, 104));
  /* Pushed again it is its own, whoever has written behind it. */
  assert_ok (put_item (g.a, 0, 100));
  assert_ok (put_item (g.b, 104, 4));
  assert_ok (put_producer (g.a, 104));
  assert_refused (g.v, EPERM, put_producer (g.a, 112));
  assert_refused (g.v, EPERM, put_producer (g.b, 104));
  stop_guard (&g);

  /* What one pushed that has gone may be exposed by the next. */
  g = start_guard ();
  assert_ok (put_item (g.a, 0, 100));
  leave (&g.a);
  assert_ok (put_producer (g.b, 104));
  stop_guard (&g);
}

static void
a_silent_owner_is_replaced (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  push_item (g.a, 0, 100);
  push_item (g.a, 104, 100);
  assert_ok (put_consumer (g.a, 0));
  g.v->now += 10 * SECOND - 1;
  assert_refused (g.v, EPERM, put_producer (g.b, 208));
  assert_refused (g.v, EPERM, put_consumer (g.b, 104));
  /* Any request of it is a sign of life. */
  assert_reads (g.a, DATA + 4, 'x', 1);
  g.v->now += 10 * SECOND - 1;
  assert_refused (g.v, EPERM, put_item (g.b, 208, 8));
  g.v->now += 1;
  forget_log (g.v);
  assert_ok (put_item (g.b, 208, 8));
  assert_log (g.v, "alice", "bob");
  /* It has lost the side, though nobody moved the pointer yet. */
  assert_refused (g.v, EPERM, put_item (g.a, 208, 16));
  assert_refused (g.v, EPERM, put_producer (g.a, 208));
  assert_ok (put_producer (g.b, 220));
  /* What was free when it sent it is the other's item by now. */
  assert_refused (g.v, EPERM, put_item (g.a, 208, 4));
  /* The other side it still has, for it was not taken. */
  assert_refused (g.v, EPERM, put_consumer (g.b, 104));
  assert_ok (put_consumer (g.a, 104));
  g.v->now += 10 * SECOND;
  assert_ok (put_consumer (g.b, 208));
  assert_refused (g.v, EPERM, put_consumer (g.a, 208));
  assert_refused (g.v, EPERM, put_pointer (g.a, SIDE_CONSUMER, 220, 2));
  /* For good, also when the side is free again … */
  leave (&g.b);
  assert_refused (g.v, EPERM, put_producer (g.a, 220));
  assert_refused (g.v, EPERM, put_consumer (g.a, 220));
  /* … but for a new connection. */
  leave (&g.a);
  g.a = join (g.v, "alice");
  assert_ok (put_producer (g.a, 220));
  assert_ok (put_consumer (g.a, 220));
  g.b = join (g.v, "bob");
  stop_guard (&g);
}

/*---------------------------------------------------------------------*/
/* Requests that cover much.                                               */

/* A page as a kernel writes it: signature, both pointers, data. */
static void
whole_pages (void **state)
{
  struct guarded g = start_guard ();
  unsigned char page[4096], old[4096];
  const struct f1_pointer at_104 = { 104, false };

  (void) state;
  push_item (g.a, 0, 100);
  push_item (g.a, 104, 100);
  assert_ok (service_pread (g.b, old, sizeof old, 0));
  /* The consumer's host: its own pointer alone has changed. */
  memcpy (page, old, sizeof page);
  f1_encode_pointer (page + 2 * S, S, SIDE_CONSUMER, &at_104, "q", "c");
  assert_ok (put_bytes (g.b, 0, page, sizeof page));
  assert_int_equal (get_pointer (g.a, SIDE_CONSUMER).position, 104);
  /* The producer's host has the page from before: stale. */
  assert_refused (g.v, EPERM, put_bytes (g.a, 0, old, sizeof old));
  /* Data and pointer in one request are written in that order. */
  assert_ok (service_pread (g.a, page, sizeof page, 0));
  memset (page + DATA + 208, 'z', 20);
  put_le32 (page + DATA + 208, 16);
  f1_encode_pointer (page + S, S, SIDE_PRODUCER,
                     &(struct f1_pointer) { 228, false }, "q", "c");
  record_device_forget (g.v->rd);
  assert_ok (put_bytes (g.a, 0, page, sizeof page));
  assert_int_equal (g.v->rd->log[record_device_find
                                 (g.v->rd, RECORD_WRITE, 0)].offset, DATA);
  assert_int_equal (get_pointer (g.a, SIDE_PRODUCER).position, 228);
  /* The consumer's page is older than that push: what was there is unread,
   * and stays. */
  assert_refused (g.v, EINVAL, put_bytes (g.b, DATA, old + DATA, 1024));
  /* A pointer farther than the data of the same request. */
  memcpy (page + DATA + 228, "\4\0\0\0abcd", 8);
  f1_encode_pointer (page + S, S, SIDE_PRODUCER,
                     &(struct f1_pointer) { 4096 - DATA + 4, false }, "q",
                     "c");
  assert_refused (g.v, EINVAL, put_bytes (g.a, DATA - 2 * S, page + S,
                                          2 * S + 236));
  f1_encode_pointer (page + S, S, SIDE_PRODUCER,
                     &(struct f1_pointer) { 236, false }, "q", "c");
  assert_refused (g.v, EPERM, put_bytes (g.b, S, page + S, S));
  stop_guard (&g);
}

/* Free space of a page that somebody else may write now. */
static void
who_may_not_push_may_bring_what_is_there (void **state)
{
  struct guarded g = start_guard ();
  unsigned char old[AREA];

  (void) state;
  push_item (g.a, 0, 100);
  assert_ok (put_item (g.a, 104, 8));
  assert_ok (service_pread (g.b, old, sizeof old, DATA));
  record_device_forget (g.v->rd);
  assert_ok (put_bytes (g.b, DATA, old, sizeof old));
  assert_int_equal (g.v->rd->writes, 0);
  assert_ok (put_bytes (g.b, DATA, old, 104));
  assert_ok (service_zero (g.b, S, DATA + S, 0));
  assert_int_equal (g.v->rd->writes, 0);
  /* In free space, and in what was pushed. */
  old[AREA - 1] = 1;
  assert_refused (g.v, EPERM, put_bytes (g.b, DATA, old, sizeof old));
  old[AREA - 1] = 0;
  old[104] = 4;
  assert_refused (g.v, EPERM, put_bytes (g.b, DATA, old, sizeof old));
  stop_guard (&g);
}

/* A pointer in two requests of half a sector each. */
static void
parts_of_a_pointer (void **state)
{
  struct guarded g = start_guard ();
  unsigned char number[8];

  (void) state;
  push_item (g.a, 0, 100);
  put_le64 (number, 104);
  /* The consumer's position alone, of 8 bytes, then of single bytes. */
  assert_ok (put_bytes (g.b, 2 * S, number, 8));
  assert_int_equal (get_pointer (g.b, SIDE_CONSUMER).position, 104);
  assert_ok (put_item (g.a, 104, 300));
  /* 104 + 304 = 408 = 0x198: in between the position would be 0x98. */
  assert_refused (g.v, EINVAL, put_byte (g.a, S, 0x98, 1));
  put_le64 (number, 408);
  assert_ok (put_bytes (g.a, S, number, 2));
  assert_int_equal (get_pointer (g.b, SIDE_PRODUCER).position, 408);
  assert_ok (put_byte (g.b, 2 * S + 8, 1, 1));
  assert_int_equal (get_pointer (g.b, SIDE_CONSUMER).flag, true);
  stop_guard (&g);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (one_producer_at_a_time),
    cmocka_unit_test (a_refused_write_owns_nothing),
    cmocka_unit_test (two_producers_race),
    cmocka_unit_test (a_silent_owner_is_replaced),
    cmocka_unit_test (whole_pages),
    cmocka_unit_test (who_may_not_push_may_bring_what_is_there),
    cmocka_unit_test (parts_of_a_pointer),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
