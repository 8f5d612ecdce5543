/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sets of stretches, held against one mark a byte.
 */

#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "service/intervals.h"

#define SIZE 200

static void
assert_equal (const struct intervals *set, const unsigned char *model)
{
  unsigned at = 0, i;
  size_t k;

  for (k = 0; k < set->nr; ++k) {
    for (; at < set->v[k].start; ++at)
      assert_int_equal (model[at], 0);
    assert_true (set->v[k].end > set->v[k].start);
    for (; at < set->v[k].end; ++at)
      assert_int_equal (model[at], set->v[k].who);
    /* As few as possible. */
    if (k > 0 && set->v[k - 1].end == set->v[k].start)
      assert_true (set->v[k - 1].who != set->v[k].who);
  }
  for (; at < SIZE; ++at)
    assert_int_equal (model[at], 0);

  for (at = 0; at < SIZE; at += 7) {
    for (i = at; i < SIZE && model[i] != 0; ++i)
      ;
    assert_int_equal (intervals_covered (set, at, SIZE), i);
    assert_int_equal (intervals_covered (set, at, at + 3),
                      i < at + 3 ? i : at + 3);
    for (i = at; i < SIZE && model[i] == 0; ++i)
      ;
    if (i == SIZE)
      assert_null (intervals_at (set, at));
    else {
      assert_true (intervals_at (set, at)->end > i);
      assert_true (intervals_at (set, at)->start <= i);
    }
  }
}

static void
random_stretches (void **state)
{
  struct intervals set = { NULL, 0, 0 };
  unsigned char model[SIZE] = { 0 };
  unsigned seed = 1, i, start, length, who;

  (void) state;
  for (i = 0; i < 20000; ++i) {
    seed = seed * 1103515245 + 12345;
    start = (seed >> 8) % SIZE;
    length = (seed >> 16) % (i % 3 ? 10 : 60);
    if (length > SIZE - start)
      length = SIZE - start;
    who = (seed >> 24) % 4;
    if (who == 0)
      intervals_remove (&set, start, start + length);
    else
      assert_int_equal (intervals_add (&set, start, start + length, who), 0);
    memset (model + start, who, length);
    assert_equal (&set, model);
  }
  intervals_free (&set);
  assert_int_equal (set.nr, 0);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (random_stretches),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
