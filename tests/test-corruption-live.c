/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What breaks on the device while a producer or a consumer is attached:
 * it is noticed at the next look, and nothing is built on it.  A pointer
 * that another has moved ends the handle with EBUSY.
 */

#include <config.h>

#include <endian.h>

#include "record-fixture.h"

#define FOREVER 1000000      /* ms, longer than any poll interval here */

static uint64_t now;

/* One item of 100 bytes freed, two unread: 104 … 208 … 312.  The consumer
 * has read both ahead. */
static struct fixture
start_with_items (void **state)
{
  struct blkring_clock clock = record_clock (&now);
  const struct blkring_attach_options o = { .clock = &clock };
  struct fixture f = start (state, &o, NULL);
  struct blkring_item item;

  append (f.p, 'a', 100);
  drain (f.c);
  append (f.p, 'b', 100);
  append (f.p, 'c', 100);
  assert_int_equal (blkring_producer_state (f.p), BLKRING_RUNNING);
  blkring_producer_free (f.p);
  f.p = blkring_producer_attach (f.rd->device, &o);
  assert_non_null (f.p);
  assert_int_equal (blkring_consumer_pop (f.c, NULL, &item), 0);
  record_device_forget (f.rd);
  return f;
}

static void
poke_position (struct fixture *f, unsigned sector, uint64_t position)
{
  position = htole64 (position);
  record_device_poke (f->rd, sector * S, &position, sizeof position);
}

static void
poke_flag (struct fixture *f, unsigned sector, unsigned char flag)
{
  record_device_poke (f->rd, sector * S + 8, &flag, 1);
}

/* So that the next push looks. */
static void
let_time_pass (void)
{
  now += FOREVER * UINT64_C (1000000);
}

static void
assert_untouched (const struct fixture *f)
{
  assert_int_equal (f->rd->writes, 0);
}

/* The producer sees it in all that look, and writes nothing. */
static void
assert_producer_refuses (struct fixture *f, int error, int later)
{
  let_time_pass ();
  assert_int_equal (blkring_producer_push (f->p, "x", 1, NULL), -1);
  assert_int_equal (errno, error);
  let_time_pass ();
  assert_int_equal (blkring_producer_append (f->p, "x", 1, NULL), -1);
  assert_int_equal (errno, later);
  assert_int_equal (blkring_producer_state (f->p), -1);
  assert_int_equal (errno, later);
  assert_int_equal (blkring_producer_wait (f->p, 1, 0), -1);
  assert_int_equal (errno, later);
  assert_untouched (f);
}

static void
assert_consumer_refuses (struct fixture *f, int error, int later)
{
  struct blkring_item item;

  assert_int_equal (blkring_consumer_pop (f->c, NULL, &item), 0);
  assert_int_equal (blkring_consumer_advance (f->c, item.next), -1);
  assert_int_equal (errno, error);
  assert_int_equal (blkring_consumer_suspend (f->c), -1);
  assert_int_equal (errno, later);
  assert_int_equal (blkring_consumer_state (f->c), -1);
  assert_int_equal (errno, later);
  assert_untouched (f);
}

/*---------------------------------------------------------------------*/

static void
consumer_position_goes_back (void **state)
{
  struct fixture f = start_with_items (state);

  poke_position (&f, 2, 0);
  assert_producer_refuses (&f, EBADMSG, EIO);
  assert_non_null (strstr (blkring_get_error (), "back"));
  poke_position (&f, 2, 104);
  assert_int_equal (blkring_producer_state (f.p), -1);
  assert_int_equal (errno, EIO);
  stop (&f);
}

static void
consumer_position_passes_the_producer (void **state)
{
  struct fixture f = start_with_items (state);

  poke_position (&f, 2, 316);
  assert_producer_refuses (&f, EBADMSG, EBADMSG);
  poke_position (&f, 2, 312);
  assert_int_equal (blkring_producer_state (f.p), BLKRING_RUNNING);
  stop (&f);
}

/* What was pushed and not advanced is not there for the consumer. */
static void
consumer_position_passes_what_is_exposed (void **state)
{
  struct fixture f = start_with_items (state);
  blkring_position after = push (f.p, 'd', 100);

  record_device_forget (f.rd);
  poke_position (&f, 2, after);
  assert_producer_refuses (&f, EBADMSG, EBADMSG);
  stop (&f);
}

static void
consumer_flag_breaks (void **state)
{
  struct fixture f = start_with_items (state);

  poke_flag (&f, 2, 0);
  assert_producer_refuses (&f, EBADMSG, EBADMSG);
  assert_consumer_refuses (&f, EBADMSG, EBADMSG);
  poke_flag (&f, 2, 2);
  append (f.p, 'd', 1);
  drain (f.c);
  stop (&f);
}

static void
producer_flag_breaks (void **state)
{
  struct fixture f = start_with_items (state);

  poke_flag (&f, 1, 255);
  assert_consumer_refuses (&f, EBADMSG, EBADMSG);
  assert_producer_refuses (&f, EBADMSG, EBADMSG);
  poke_flag (&f, 1, 2);
  append (f.p, 'd', 1);
  drain (f.c);
  stop (&f);
}

static void
producer_position_breaks (void **state)
{
  static const uint64_t positions[] = {
    100, 313, 104 + CAPACITY + 4, INT64_MAX - 3, UINT64_MAX - 3, UINT64_MAX
  };
  struct fixture f = start_with_items (state);
  struct blkring_item item;
  unsigned i;

  for (i = 0; i < sizeof positions / sizeof positions[0]; ++i) {
    poke_position (&f, 1, positions[i]);
    assert_consumer_refuses (&f, EBADMSG, EBADMSG);
    assert_producer_refuses (&f, EBADMSG, EBADMSG);
  }
  /* At the end of what it knows, pop looks. */
  assert_int_equal (blkring_consumer_pop (f.c, NULL, &item), 0);
  assert_int_equal (blkring_consumer_pop (f.c, &item.next, &item), 0);
  assert_int_equal (blkring_consumer_pop (f.c, &item.next, &item), -1);
  assert_int_equal (errno, EBADMSG);
  assert_untouched (&f);
  poke_position (&f, 1, 312);
  drain (f.c);
  append (f.p, 'd', 1);
  stop (&f);
}

static void
another_producer_has_moved_its_pointer (void **state)
{
  struct fixture f = start_with_items (state);
  struct blkring_item item;

  poke_position (&f, 1, 208);
  assert_producer_refuses (&f, EBUSY, EBUSY);
  assert_non_null (strstr (blkring_get_error (), "another producer"));
  poke_position (&f, 1, 312);
  assert_producer_refuses (&f, EBUSY, EBUSY);
  assert_int_equal (blkring_producer_advance (f.p, 312), -1);
  assert_int_equal (errno, EBUSY);
  assert_int_equal (blkring_consumer_pop (f.c, NULL, &item), 0);
  blkring_producer_free (f.p);
  f.p = blkring_producer_attach (f.rd->device, NULL);
  append (f.p, 'd', 1);
  stop (&f);
}

static void
another_consumer_has_moved_its_pointer (void **state)
{
  struct fixture f = start_with_items (state);
  struct blkring_item item;

  assert_int_equal (blkring_consumer_pop (f.c, NULL, &item), 0);
  poke_position (&f, 2, 208);
  assert_int_equal (blkring_consumer_advance (f.c, item.next), -1);
  assert_int_equal (errno, EBUSY);
  assert_non_null (strstr (blkring_get_error (), "another consumer"));
  poke_position (&f, 2, 104);
  assert_int_equal (blkring_consumer_pop (f.c, NULL, &item), -1);
  assert_int_equal (errno, EBUSY);
  assert_int_equal (blkring_consumer_suspend (f.c), -1);
  assert_int_equal (errno, EBUSY);
  assert_int_equal (blkring_consumer_advance (f.c, item.next), -1);
  assert_int_equal (errno, EBUSY);
  assert_untouched (&f);
  blkring_consumer_free (f.c);
  f.c = blkring_consumer_attach (f.rd->device, NULL);
  assert_non_null (f.c);
  drain (f.c);
  stop (&f);
}

/* A crash took back what a producer had exposed and not flushed.  The
 * consumer has popped it, and must not free it. */
static void
exposed_items_are_taken_back (void **state)
{
  struct fixture f = start_with_items (state);
  struct blkring_item items[2];

  assert_int_equal (blkring_consumer_popv (f.c, NULL, items, 2), 2);
  poke_position (&f, 1, 208);
  assert_int_equal (blkring_consumer_advance (f.c, items[1].next), -1);
  assert_int_equal (errno, EAGAIN);
  assert_untouched (&f);
  assert_int_equal (blkring_consumer_popv (f.c, NULL, items, 2), 1);
  assert_int_equal (blkring_consumer_advance (f.c, items[0].next), 0);
  assert_int_equal (blkring_consumer_pop (f.c, NULL, items), -1);
  assert_int_equal (errno, EAGAIN);
  stop (&f);
}

static void
length_breaks (void **state)
{
  static const unsigned char bad[4] = { 0xff, 0xff, 0xff, 0xff };
  struct fixture f = start_with_items (state);
  struct blkring_item items[2];
  blkring_position next;

  blkring_consumer_free (f.c);
  f.c = blkring_consumer_attach (f.rd->device, NULL);
  assert_non_null (f.c);
  record_device_poke (f.rd, 3 * S + 208, bad, sizeof bad);
  assert_int_equal (blkring_consumer_popv (f.c, NULL, items, 2), 1);
  next = items[0].next;
  assert_int_equal (blkring_consumer_pop (f.c, &next, items), -1);
  assert_int_equal (errno, EBADMSG);
  assert_int_equal (blkring_consumer_pop (f.c, &next, items), -1);
  assert_int_equal (errno, EBADMSG);
  assert_int_equal (blkring_consumer_advance (f.c, next), 0);
  assert_int_equal (blkring_consumer_pop (f.c, NULL, items), -1);
  assert_int_equal (errno, EBADMSG);
  stop (&f);
}

static void
signature_goes (void **state)
{
  struct fixture f = start_with_items (state);
  struct blkring_info info;

  record_device_poke (f.rd, 0, "M", 1);
  assert_int_equal (blkring_inspect (f.rd->device, NULL, &info), -1);
  assert_int_equal (errno, EMEDIUMTYPE);
  blkring_producer_free (f.p);
  f.p = blkring_producer_attach (f.rd->device, NULL);
  assert_null (f.p);
  assert_int_equal (errno, EMEDIUMTYPE);
  assert_untouched (&f);
  stop (&f);
}

static void
observer_sees_it (void **state)
{
  const struct blkring_attach_options o = {
    .flags = BLKRING_ATTACH_OBSERVER,
  };
  struct fixture f = start_with_items (state);
  blkring_consumer *observer = blkring_consumer_attach (f.rd->device, &o);
  struct blkring_item item;
  unsigned sector;

  assert_non_null (observer);
  for (sector = 1; sector <= 2; ++sector) {
    poke_flag (&f, sector, 77);
    assert_int_equal (blkring_consumer_pop (observer, NULL, &item), -1);
    assert_int_equal (errno, EBADMSG);
    assert_int_equal (blkring_consumer_suspend (observer), -1);
    assert_int_equal (errno, EBADMSG);
    poke_flag (&f, sector, 2);
    assert_int_equal (blkring_consumer_pop (observer, NULL, &item), 0);
  }
  blkring_consumer_free (observer);
  observer = blkring_consumer_attach (f.rd->device, &o);
  assert_non_null (observer);
  record_device_poke (f.rd, 3 * S + 104 + 3, "\377", 1);
  assert_int_equal (blkring_consumer_pop (observer, NULL, &item), -1);
  assert_int_equal (errno, EBADMSG);
  assert_untouched (&f);
  blkring_consumer_free (observer);
  stop (&f);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    EACH ("a consumer position that goes back ends the producer",
          consumer_position_goes_back),
    EACH ("a consumer position ahead of the producer is refused",
          consumer_position_passes_the_producer),
    EACH ("a consumer position ahead of what is exposed is refused",
          consumer_position_passes_what_is_exposed),
    EACH ("a suspend flag that breaks is refused", consumer_flag_breaks),
    EACH ("an acknowledge flag that breaks is refused",
          producer_flag_breaks),
    EACH ("a producer position that breaks is refused",
          producer_position_breaks),
    EACH ("a producer whose pointer was moved is busy",
          another_producer_has_moved_its_pointer),
    EACH ("a consumer whose pointer was moved is busy",
          another_consumer_has_moved_its_pointer),
    EACH ("items that were taken back are not freed",
          exposed_items_are_taken_back),
    EACH ("a length that breaks is refused", length_breaks),
    EACH ("a signature that goes leaves no ring", signature_goes),
    EACH ("an observer refuses what is broken", observer_sees_it),
  };

  return cmocka_run_group_tests_name ("corruption while attached", tests,
                                      NULL, NULL);
}
