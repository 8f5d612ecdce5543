/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The guard of format 1: free space, as it reads and as it is reported.
 */

#include <config.h>

#include "service1-fixture.h"

static void
free_space_is_a_hole (void **state)
{
  struct guarded g = start_guard ();
  unsigned i;

  (void) state;
  /* Garbage of before. */
  for (i = 0; i < AREA; ++i)
    g.v->rd->content[DATA + i] = 0x55;
  assert_reads (g.a, DATA, 0, AREA);
  assert_extents (g.a, "0 h1536 8192");
  assert_ok (put_item (g.a, 0, 600));
  /* Pushed and not exposed: it reads as it was written. */
  assert_reads (g.a, DATA + 4, 'x', 600);
  assert_extents (g.a, "0 h2560 8192");
  assert_reads (g.a, DATA + 604, 0x55, 2 * S - 604);
  assert_reads (g.a, DATA + 2 * S, 0, AREA - 2 * S);
  assert_ok (put_producer (g.a, 604));
  assert_extents (g.b, "0 h2560 8192");
  push_item (g.a, 604, 3000);
  assert_ok (put_consumer (g.b, 604));
  /* 604 … 3608 is unread. */
  assert_extents (g.b, "0 h1536 2048 h5632 8192");
  assert_reads (g.b, DATA, 0, S);
  assert_reads (g.b, DATA + S + 4, 'x', 604 - S - 4);
  assert_ok (put_consumer (g.b, 3608));
  /* The sector in which both stand is free, and read as it is. */
  assert_extents (g.b, "0 h1536 5120 h5632 8192");
  stop_guard (&g);
}

static void
what_is_trimmed_reads_as_zeros (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  assert_ok (put_byte (g.a, DATA, 'y', 4 * S));
  assert_ok (service_trim (g.a, 2 * S, DATA + S, 0));
  assert_reads (g.a, DATA, 'y', S);
  assert_reads (g.a, DATA + S, 0, 2 * S);
  assert_reads (g.a, DATA + 3 * S, 'y', S);
  assert_extents (g.a, "0 h2048 3072 h3584 8192");
  /* And was not written, for a pointer. */
  assert_ok (put_item (g.a, 0, 4 * S - 4));
  assert_ok (service_trim (g.a, S, DATA + S, 0));
  assert_refused (g.v, EINVAL, put_producer (g.a, 4 * S));
  assert_ok (put_item (g.a, 0, 2 * S - 4));
  assert_ok (put_producer (g.a, 2 * S));
  /* Zeros are written: an empty item. */
  assert_ok (service_zero (g.a, 4, DATA + 2 * S, 0));
  assert_reads (g.a, DATA + 2 * S, 0, 4);
  assert_ok (put_producer (g.a, 2 * S + 4));
  stop_guard (&g);
}

/* At the end of the data area the live part goes on at its start. */
static void
around_the_end (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  push_item (g.a, 0, AREA - 604);
  assert_ok (put_consumer (g.b, AREA - 600));
  assert_ok (put_byte (g.a, DATA + AREA - 600, 0, 600));
  assert_ok (put_byte (g.a, DATA, 0, 400));
  put_le32 (g.v->rd->content, get_le32 (g.v->rd->content));
  assert_ok (put_bytes (g.a, DATA + AREA - 600, "\344\3\0\0", 4)); /* 996 */
  assert_ok (put_producer (g.a, AREA + 400));
  assert_extents (g.b, "0 h2048 7168 8192");
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + 399, 1, 1));
  assert_ok (put_byte (g.a, DATA + 400, 1, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + AREA - 1, 1, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + AREA - 600, 1, 1));
  assert_ok (put_byte (g.a, DATA + AREA - 601, 1, 1));
  assert_refused (g.v, EINVAL, put_consumer (g.b, AREA));
  assert_ok (put_consumer (g.b, AREA + 400));
  stop_guard (&g);
}

static void
too_many_stretches (void **state)
{
  const struct record_options o = { .size = (3 + 40000) * S,
                                    .sector_size = 1 };
  struct guarded g = {
    .v = served_on (record_device_new_ring (&o, 512))
  };
  unsigned i;

  (void) state;
  g.a = join (g.v, "alice");
  g.b = join (g.v, "bob");
  for (i = 0; i < 4096; ++i)
    assert_ok (put_byte (g.a, DATA + 2 * i, 1, 1));
  assert_refused (g.v, ENOSPC, put_byte (g.a, DATA + 2 * i, 1, 1));
  /* One piece puts an end to that. */
  assert_ok (service_trim (g.a, 3 * S, DATA, 0));
  assert_ok (put_byte (g.a, DATA + 2 * i, 1, 1));
  stop_guard (&g);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (free_space_is_a_hole),
    cmocka_unit_test (what_is_trimmed_reads_as_zeros),
    cmocka_unit_test (around_the_end),
    cmocka_unit_test (too_many_stretches),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
