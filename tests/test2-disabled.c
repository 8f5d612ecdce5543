/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A consumer that was left out of a ring of several: its positions mean
 * nothing, so that nobody may read by them and call the ring damaged.
 */

#include <config.h>

#include "ring-fixture.h"

static void
disabled_consumer_is_not_attached_to (void **state)
{
  static const struct blkring_attach_options observer = {
    .flags = BLKRING_ATTACH_OBSERVER,
  };
  struct test_ring *t = *state;
  unsigned i;

  leave_others_out (t);
  t->p = blkring_producer_attach (t->device, NULL);
  assert_handle (t->p);
  t->c = attach_consumer (t, t->device, NULL);
  assert_handle (t->c);
  /* Nothing is left of where it stood. */
  for (i = 0; i < 3; ++i) {
    assert_ok (append_seed (t->p, t->largest_item, i, NULL));
    take (t, t->largest_item, i);
  }
  assert_no_handle (EINVAL, blkring_consumer_attach (t->device, NULL));
  assert_message ("disabled");
  assert_no_handle (EINVAL, blkring_consumer_attach (t->device, &observer));
  assert_message ("disabled");
  /* That leaves no lock. */
  blkring_producer_free (t->p);
  assert_ok (blkring_consumer_enable (t->device, 0, true));
  t->p = blkring_producer_attach (t->device, NULL);
  assert_handle (t->p);
  t->other = blkring_consumer_attach (t->device, NULL);
  assert_handle (t->other);
  assert_ok (append_seed (t->p, 10, 4, NULL));
  take (t, 10, 4);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    WITH_TWO_CONSUMERS (disabled_consumer_is_not_attached_to),
  };

  return cmocka_run_group_tests_name ("disabled", tests, NULL, NULL);
}
