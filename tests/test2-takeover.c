/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A producer takes over, while the one that it replaces has a frame under
 * way, and a consumer frees that frame: before the taker has claimed, or by
 * a write that is held up until it has.  Nothing that was acknowledged gets
 * lost in silence (docs/model/takeover.pml), and nobody hears of a loss where
 * there is none.
 */

#include <config.h>

#include "format2-shared.h"

static struct shared *shared;

/*---------------------------------------------------------------------*/
/* The taker has found the end.                                          */

static void (*behind_the_scan) (void);

static void
call_behind_the_scan (struct record_device *rd)
{
  (void) rd;
  behind_the_scan ();
}

/* The first wait; behind it come the scan, and a flush. */
static int
sleep_before_the_scan (void *opaque, uint64_t ns)
{
  (void) opaque;
  now += ns;
  if (behind_the_scan)
    shared->f.rd->behind_flush = call_behind_the_scan;
  return 0;
}

static void
free_what_came_late (void)
{
  behind_the_scan = NULL;
  put (shared->f.p, 'z', 1);
  free_one (shared->f.c);
}

static void
free_a_part_of_what_came_late (void)
{
  behind_the_scan = NULL;
  put_batch (shared->f.p, "yz");
  free_one (shared->f.c);
}

static blkring_producer *
take_over_meanwhile (void (*meanwhile) (void))
{
  static struct blkring_clock clock;
  struct blkring_attach_options o = *taking_over ();

  clock = record_clock (&now);
  clock.sleep = sleep_before_the_scan;
  o.clock = &clock;
  behind_the_scan = meanwhile;
  return blkring_producer_attach (shared->again, &o);
}

static void
what_came_late_and_was_freed_is_adopted (void **state)
{
  struct shared h = start_shared (with_frozen_clock (), with_clock ());

  (void) state;
  shared = &h;
  put (h.f.p, 'a', 1);
  free_one (h.f.c);
  h.g.p = take_over_meanwhile (free_what_came_late);
  assert_non_null (h.g.p);
  assert_null (behind_the_scan);
  /* Not where the consumer is behind already. */
  put (h.g.p, 'b', 1);
  assert_holds (h.f.c, "b");
  free_one (h.f.c);
  kill_producer (&h.g);
  assert_clean (h.f.rd);
  stop_shared (&h);
}

/* Neither may it be dropped, nor adopted, since more of it may be missing
 * from the disk. */
static void
what_came_late_and_was_freed_in_part_is_told (void **state)
{
  struct shared h = start_shared (with_frozen_clock (), with_clock ());

  (void) state;
  shared = &h;
  put (h.f.p, 'a', 1);
  free_one (h.f.c);
  assert_null (take_over_meanwhile (free_a_part_of_what_came_late));
  assert_error (EBADMSG);
  assert_null (behind_the_scan);
  assert_holds (h.f.c, "z");
  stop_shared (&h);
}

/*---------------------------------------------------------------------*/
/* A consumer on another way to the disk, on which a write is held up.   */

static void (*before_write) (void), (*behind_write) (void);

static void
call_once (void (**fn) (void))
{
  void (*f) (void) = *fn;

  *fn = NULL;
  if (f)
    f ();
}

static ssize_t
held_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
             unsigned flags)
{
  const struct record_device *rd = opaque;
  ssize_t r;

  call_once (&before_write);
  r = rd->device->ops.pwrite (opaque, buf, count, offset, flags);
  call_once (&behind_write);
  return r;
}

static blkring_device *
open_held (struct record_device *rd)
{
  static struct blkring_device_ops ops;
  blkring_device *device;

  ops = rd->device->ops;
  ops.pwrite = held_pwrite;
  device = blkring_device_new (&ops, rd);
  assert_non_null (device);
  return device;
}

/* 'a' was freed, 'z' has come late; the consumer frees it, and its write is
 * held up while this happens.  Returns what its advance does. */
static int
free_held_up (struct shared *h, void (*before) (void), void (*behind) (void))
{
  blkring_device *held;
  blkring_consumer *c;
  struct blkring_item item;
  int r, saved;

  shared = h;
  put (h->f.p, 'a', 1);
  put (h->f.p, 'z', 1);
  free_one (h->f.c);
  blkring_consumer_free (h->f.c);
  h->f.c = NULL;
  held = open_held (h->f.rd);
  c = blkring_consumer_attach (held, with_clock ());
  assert_non_null (c);
  assert_ok (blkring_consumer_pop (c, NULL, &item));
  assert_int_equal (*(const char *) item.data, 'z');
  before_write = before;
  behind_write = behind;
  r = blkring_consumer_advance (c, item.next);
  saved = errno;
  assert_null (before_write);
  assert_null (behind_write);
  if (r == -1 && saved == EBADMSG) {
    assert_message ("had been replaced");
    assert_fails (EIO, blkring_consumer_pop (c, NULL, &item));
    assert_message ("had been replaced");
  }
  blkring_consumer_free (c);
  blkring_device_close (held);
  errno = saved;
  return r;
}

/* As if 'z', which stands at the second block, were not there yet. */
static void
hide_z (unsigned char *z)
{
  const unsigned char zeros[B] = { 0 };
  struct record_device *rd = shared->f.rd;

  memcpy (z, rd->content + ring_of (rd).data_offset + B, B);
  poke_stream (rd, B, zeros, B);
}

static void
show_z (const unsigned char *z)
{
  poke_stream (shared->f.rd, B, z, B);
}

static void
take_over_before_z (void)
{
  unsigned char z[B];

  hide_z (z);
  take_over_producer (shared);
  show_z (z);
}

static void
take_over_and_write (void)
{
  take_over_before_z ();
  put (shared->g.p, 'b', 1);
}

static void
take_over_and_be_overwritten (void)
{
  unsigned char z[B];

  hide_z (z);
  take_over_producer (shared);
  put (shared->g.p, 'b', 1);
  show_z (z);
}

static void
take_over_twice (void)
{
  unsigned i;

  take_over_and_write ();
  for (i = 0; i < 2; ++i) {
    kill_producer (&shared->g);
    shared->g.p = blkring_producer_attach (shared->again, taking_over ());
    assert_non_null (shared->g.p);
    put (shared->g.p, 'b', 1);
  }
}

static void
advance_that_is_held_up_tells_a_loss (void **state)
{
  static void (*const meanwhile[]) (void) = {
    take_over_before_z, take_over_and_write, take_over_and_be_overwritten,
    take_over_twice,
  };
  size_t i;

  (void) state;
  for (i = 0; i < LENGTH (meanwhile); ++i) {
    struct shared h = start_shared (with_frozen_clock (), with_clock ());

    if (free_held_up (&h, meanwhile[i], NULL) != -1)
      fail_msg ("case %zu is not told", i);
    assert_int_equal (errno, EBADMSG);
    stop_shared (&h);
  }
}

/* Producers that come and go in peace. */
static void
come_and_go (void)
{
  unsigned i;

  now += 1000 * NS_PER_MS;
  blkring_producer_free (shared->f.p);
  for (i = 0; i < 4; ++i) {
    shared->f.p = blkring_producer_attach (shared->f.rd->device,
                                           with_clock ());
    assert_non_null (shared->f.p);
    put (shared->f.p, 'b', 1);
    if (i < 3)
      blkring_producer_free (shared->f.p);
  }
}

/* What was freed is overwritten, and all around the ring. */
static void
fill_the_ring (void)
{
  come_and_go ();
  while (try_put (shared->f.p, 'c', 1) == 0)
    ;
  assert_error (EAGAIN);
}

static void
take_over_behind_z (void)
{
  take_over_producer (shared);
  put (shared->g.p, 'b', 1);
}

static void
advance_that_is_held_up_tells_no_loss (void **state)
{
  static void (*const before[]) (void) = { come_and_go, take_over_behind_z,
                                           NULL, NULL };
  static void (*const behind[]) (void) = { NULL, NULL, come_and_go,
                                           fill_the_ring };
  size_t i;

  (void) state;
  for (i = 0; i < LENGTH (before); ++i) {
    struct shared h = start_shared (with_frozen_clock (), with_clock ());

    assert_ok (free_held_up (&h, before[i], behind[i]));
    h.f.c = blkring_consumer_attach (h.f.rd->device, with_clock ());
    assert_non_null (h.f.c);
    drain (h.f.c);
    stop_shared (&h);
  }
}

static void
take_over_the_consumer (void)
{
  shared->g.c = blkring_consumer_attach (shared->again, taking_over ());
  assert_non_null (shared->g.c);
}

static void
advance_that_is_held_up_by_a_takeover_fails (void **state)
{
  struct shared h = start_shared (with_frozen_clock (), with_clock ());

  (void) state;
  assert_int_equal (free_held_up (&h, take_over_the_consumer, NULL), -1);
  assert_int_equal (errno, EBUSY);
  stop_shared (&h);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (what_came_late_and_was_freed_is_adopted),
    cmocka_unit_test (what_came_late_and_was_freed_in_part_is_told),
    cmocka_unit_test (advance_that_is_held_up_tells_a_loss),
    cmocka_unit_test (advance_that_is_held_up_tells_no_loss),
    cmocka_unit_test (advance_that_is_held_up_by_a_takeover_fails),
  };

  return cmocka_run_group_tests_name ("takeover of format 2", tests, NULL,
                                      NULL);
}
