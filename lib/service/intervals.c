/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sets of stretches, as sorted arrays: a producer writes one behind the
 * other, so that there is hardly ever more than one.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "intervals.h"

void
intervals_free (struct intervals *set)
{
  free (set->v);
  memset (set, 0, sizeof *set);
}

/* Index of the first interval that ends behind 'at'. */
static size_t
find (const struct intervals *set, uint64_t at)
{
  size_t low = 0, high = set->nr, middle;

  while (low < high) {
    middle = low + (high - low) / 2;
    if (set->v[middle].end > at)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

const struct interval *
intervals_at (const struct intervals *set, uint64_t at)
{
  const size_t i = find (set, at);

  return i < set->nr ? &set->v[i] : NULL;
}

uint64_t
intervals_covered (const struct intervals *set, uint64_t start, uint64_t end)
{
  size_t i;

  for (i = find (set, start); start < end && i < set->nr; ++i) {
    if (set->v[i].start > start)
      break;
    start = min_u64 (set->v[i].end, end);
  }
  return start;
}

int
intervals_reserve (struct intervals *set, size_t more)
{
  struct interval *v;
  size_t alloc;

  if (set->nr + more <= set->alloc)
    return 0;
  alloc = 2 * set->alloc + more + 8;
  v = realloc (set->v, alloc * sizeof *v);
  if (v == NULL)
    return set_errno_error (ENOMEM, "cannot remember what was written");
  set->v = v;
  set->alloc = alloc;
  return 0;
}

static void
insert (struct intervals *set, size_t i, const struct interval *new)
{
  memmove (&set->v[i + 1], &set->v[i], (set->nr - i) * sizeof set->v[0]);
  set->v[i] = *new;
  set->nr++;
}

static void
delete (struct intervals *set, size_t i)
{
  set->nr--;
  memmove (&set->v[i], &set->v[i + 1], (set->nr - i) * sizeof set->v[0]);
}

void
intervals_remove (struct intervals *set, uint64_t start, uint64_t end)
{
  size_t i = find (set, start);
  struct interval rest;

  if (start >= end)
    return;
  while (i < set->nr && set->v[i].start < end) {
    rest = set->v[i];
    if (rest.start < start && rest.end > end) {
      set->v[i].end = start;
      rest.start = end;
      if (intervals_reserve (set, 1) == 0)
        insert (set, i + 1, &rest);
      return;
    }
    if (rest.start < start)
      set->v[i++].end = start;
    else if (rest.end > end) {
      set->v[i].start = end;
      return;
    }
    else
      delete (set, i);
  }
}

int
intervals_add (struct intervals *set, uint64_t start, uint64_t end,
               uint64_t who)
{
  const struct interval new = { start, end, who };
  size_t i;

  if (start >= end)
    return 0;
  /* One more, and one that this one cuts in two. */
  if (intervals_reserve (set, 2) == -1)
    return -1;
  intervals_remove (set, start, end);
  i = find (set, start);
  insert (set, i, &new);
  if (i + 1 < set->nr && set->v[i + 1].start == end &&
      set->v[i + 1].who == who) {
    set->v[i].end = set->v[i + 1].end;
    delete (set, i + 1);
  }
  if (i > 0 && set->v[i - 1].end == start && set->v[i - 1].who == who) {
    set->v[i - 1].end = set->v[i].end;
    delete (set, i);
  }
  return 0;
}
