/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Create and erase where a ring is already: what is kept, and what comes
 * instead of it.
 */

#include <config.h>

#include "ring-fixture.h"

/* The ring of the case is as it was made. */
static void
assert_empty (struct test_ring *t)
{
  const struct blkring_info info = inspect (t);

  assert_int_equal (info.format, t->format);
  assert_int_equal (t->format == 1 ? info.sector_size : info.block_size,
                    t->unit);
  assert_int_equal (info.capacity, t->capacity);
  assert_int_equal (info.producer, 0);
  assert_int_equal (info.consumer, 0);
  assert_int_equal (info.items, 0);
  assert_int_equal (info.state, BLKRING_RUNNING);
  assert_string_equal (info.producer_text, "");
  assert_string_equal (info.consumer_text, "");
}

static void
create_keeps_the_ring_that_is_there (void **state)
{
  struct test_ring *t = *state;

  attach_all (t, NULL);
  assert_ok (append_seed (t->p, 10, 0, NULL));
  assert_ok (append_seed (t->p, 3000, 1, NULL));
  take (t, 10, 0);
  detach_all (t);
  assert_returns (1, blkring_create (t->device, &t->create));
  assert_int_equal (inspect (t).items, 1);
  attach_all (t, NULL);
  take (t, 3000, 1);
  detach_all (t);
  assert_returns (1, blkring_create (t->device, &t->create));
}

static void
force_makes_a_new_ring (void **state)
{
  struct test_ring *t = *state;
  struct blkring_create_options o = t->create;

  o.flags = BLKRING_CREATE_FORCE;
  attach_all (t, NULL);
  assert_ok (append_seed (t->p, 10, 0, NULL));
  assert_ok (blkring_consumer_suspend (t->c));
  detach_all (t);
  assert_returns (0, blkring_create (t->device, &o));
  assert_empty (t);
}

/* Without force any ring is kept, with it nothing of the old one is left. */
static void
force_makes_a_ring_of_the_other_format (void **state)
{
  struct test_ring *t = *state;
  struct blkring_create_options o = { .format = 3 - t->format };

  attach_all (t, NULL);
  assert_ok (append_seed (t->p, 3000, 1, NULL));
  detach_all (t);
  assert_returns (1, blkring_create (t->device, &o));
  assert_int_equal (inspect (t).format, t->format);
  assert_int_equal (inspect (t).items, 1);
  o.flags = BLKRING_CREATE_FORCE;
  assert_returns (0, blkring_create (t->device, &o));
  assert_int_equal (inspect (t).format, o.format);
  assert_int_equal (inspect (t).items, 0);
  attach_all (t, NULL);
  assert_ok (append_seed (t->p, 3000, 2, NULL));
  take (t, 3000, 2);
  detach_all (t);
  o.format = t->format;
  assert_returns (0, blkring_create (t->device, &o));
  assert_empty (t);
}

/* What was erased with zeros is blank. */
static void
erased_ring_can_be_made_again (void **state)
{
  struct test_ring *t = *state;
  struct blkring_info info;

  attach_all (t, NULL);
  assert_ok (append_seed (t->p, 3000, 1, NULL));
  detach_all (t);
  assert_ok (blkring_erase (t->device, NULL, 0, NULL, NULL));
  assert_fails (EMEDIUMTYPE, blkring_inspect (t->device, NULL, &info));
  assert_returns (0, blkring_create (t->device, &t->create));
  assert_empty (t);
}

static void
nothing_is_written_through_a_read_only_device (void **state)
{
  const struct blkring_open_options o = { .flags = BLKRING_OPEN_READ_ONLY };
  struct test_ring *t = *state;
  struct blkring_create_options anew = t->create;
  const struct blkring_attach_options observer = {
    .flags = BLKRING_ATTACH_OBSERVER,
  };
  blkring_device *device = blkring_device_open (t->path, &o);
  blkring_consumer *c;

  anew.flags = BLKRING_CREATE_FORCE;
  assert_handle (device);
  assert_fails (EROFS, blkring_create (device, &t->create));
  assert_fails (EROFS, blkring_create (device, &anew));
  assert_fails (EROFS, blkring_erase (device, NULL, 0, NULL, NULL));
  assert_no_handle (EROFS, blkring_producer_attach (device, NULL));
  assert_no_handle (EROFS, attach_consumer (t, device, NULL));
  c = attach_consumer (t, device, &observer);
  assert_handle (c);
  assert_fails (EROFS, blkring_consumer_suspend (c));
  assert_fails (EROFS, blkring_consumer_resume (c));
  assert_returns (BLKRING_RUNNING, blkring_consumer_state (c));
  blkring_consumer_free (c);
  blkring_device_close (device);
  assert_empty (t);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    IN_EACH_KIND (create_keeps_the_ring_that_is_there),
    IN_EACH_KIND (force_makes_a_new_ring),
    ON_KIND (force_makes_a_ring_of_the_other_format, "format 1",
             &memory1_4096),
    ON_KIND (force_makes_a_ring_of_the_other_format, "format 2",
             &memory2_4096),
    IN_EACH_KIND (erased_ring_can_be_made_again),
    IN_FILE (nothing_is_written_through_a_read_only_device),
  };

  return cmocka_run_group_tests_name ("create again", tests, NULL, NULL);
}
