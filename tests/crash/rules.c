/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Would the explorer notice if format 2 did without one of its rules?  Each
 * is left out in turn, by functions that are linked in front of the library's
 * own (ld's --wrap), and a violation must be found.  What self-test.c does
 * for flushes and their order, the one before the claim among them, this
 * does for what is looked at.
 *
 * Two rules are not here.  The chain: two late frames and a third owner are
 * needed before something is wrong without it, as in test2-zombie.c.  And
 * where recovery begins: to begin at published alone was tried, and nothing
 * is found, for a record is written each eighth of the capacity, and what is
 * behind it is not overwritten by then.
 */

#include <config.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crc32c.h"
#include "explore.h"
#include "format2.h"

enum rule { POSITION, CRC, SINCE, RECHECK, RULES };

#define BIT(op) (UINT64_C (1) << (op))
#define ONLY(ops) .without = ~(ops)
#define REPLACED BIT (OP_APPEND) | BIT (OP_TAKE_OVER) | BIT (OP_TAKE) | \
  BIT (OP_NEW_APPEND)

/* And what it takes to see that it was needed. */
static const struct {
  const char *name;
  struct limits limits;
} rules[RULES] = {
  [POSITION] = { "a frame tells its position",
    { .operations = 3, .preemptions = 1,
      ONLY (BIT (OP_PUSH_1) | BIT (OP_ADVANCE) | BIT (OP_APPEND)) } },
  [CRC] = { "a frame has checksums",
    { .operations = 2, .preemptions = 1,
      ONLY (BIT (OP_APPEND_BATCH) | BIT (OP_TAKE)) } },
  [SINCE] = { "a frame of an epoch that was over does not count",
    { .operations = 4, .preemptions = 1, .takeover = true,
      ONLY (REPLACED) } },
  [RECHECK] = { "the consumer looks again before it frees",
    { .operations = 4, .preemptions = 2, .takeover = true,
      ONLY (REPLACED) } },
};

/* Taken apart as the library does, but for what is left out. */
static int left_out = -1;
static bool freeing;

/* What was decoded last at a place, so what was delivered from there. */
#define PLACES 64
static struct { uint64_t at; bool is; struct f2_frame frame; } places[PLACES];

extern bool __real_f2_decode_frame (const unsigned char *p,
                                    const struct ring *ring, uint64_t at,
                                    struct f2_frame *f);
extern bool __real_f2_area_is_valid (const unsigned char *p,
                                     const struct ring *ring,
                                     const struct f2_frame *f);
extern bool __real_f2_is_late (const struct f2_record *producer,
                               const struct f2_frame *f);
extern int __real_f2_consumer_look (blkring_consumer *c);
extern int __real_f2_free_to (blkring_consumer *c, uint64_t position);

extern bool __wrap_f2_decode_frame (const unsigned char *p,
                                    const struct ring *ring, uint64_t at,
                                    struct f2_frame *f);
extern bool __wrap_f2_area_is_valid (const unsigned char *p,
                                     const struct ring *ring,
                                     const struct f2_frame *f);
extern bool __wrap_f2_is_late (const struct f2_record *producer,
                               const struct f2_frame *f);
extern int __wrap_f2_consumer_look (blkring_consumer *c);
extern int __wrap_f2_free_to (blkring_consumer *c, uint64_t position);

/* Not by one who judges what is left after a crash. */
static bool
is_freeing (void)
{
  return left_out == RECHECK && freeing && !identity_all_dead;
}

/* As if the header's checksum were right. */
static bool
decode_without_crc (const unsigned char *p, const struct ring *ring,
                    uint64_t at, struct f2_frame *f)
{
  unsigned char header[F2_HEADER];

  memcpy (header, p, sizeof header);
  put_le32 (header + F2_HEADER - 4, crc32c_end
            (crc32c_add (crc32c_begin (ring->uuid), p, F2_HEADER - 4)));
  return __real_f2_decode_frame (header, ring, at, f);
}

static bool
decode (const unsigned char *p, const struct ring *ring, uint64_t at,
        struct f2_frame *f)
{
  if (left_out == CRC)
    return decode_without_crc (p, ring, at, f);
  if (__real_f2_decode_frame (p, ring, at, f))
    return true;
  if (left_out != POSITION ||
      !__real_f2_decode_frame (p, ring, get_le64 (p + 8), f))
    return false;
  f->position = at;
  return true;
}

bool
__wrap_f2_decode_frame (const unsigned char *p, const struct ring *ring,
                        uint64_t at, struct f2_frame *f)
{
  const unsigned place = at / SECTOR % PLACES;
  bool is;

  if (is_freeing () && places[place].at == at) {
    *f = places[place].frame;
    return places[place].is;
  }
  is = decode (p, ring, at, f);
  places[place].at = at;
  places[place].is = is;
  places[place].frame = *f;
  return is;
}

bool
__wrap_f2_area_is_valid (const unsigned char *p, const struct ring *ring,
                         const struct f2_frame *f)
{
  return left_out == CRC || __real_f2_area_is_valid (p, ring, f);
}

bool
__wrap_f2_is_late (const struct f2_record *producer, const struct f2_frame *f)
{
  return left_out != SINCE && !is_freeing () &&
    __real_f2_is_late (producer, f);
}

int
__wrap_f2_consumer_look (blkring_consumer *c)
{
  return is_freeing () ? 0 : __real_f2_consumer_look (c);
}

int
__wrap_f2_free_to (blkring_consumer *c, uint64_t position)
{
  int r;

  freeing = true;
  r = __real_f2_free_to (c, position);
  freeing = false;
  return r;
}

/*---------------------------------------------------------------------*/

#define ENOUGH_STARTS 60

/* Does the explorer find that it is broken?  NULL: no. */
static const char *
search (const struct limits *limits)
{
  static struct explorer e;
  static char text[4096];
  unsigned nr = 0, i;
  struct start s;

  while (start_get (2, nr, &s))
    nr++;
  for (i = 0; i < ENOUGH_STARTS; ++i) {
    start_get (2, i * UINT64_C (7919) % nr, &s);
    if (s.sides != ATTACHED && s.sides != POPPED)
      continue;
    explorer_init (&e, &s, limits, 1 << 16);
    e.j.recover_one_in = 0;
    explore (&e);
    snprintf (text, sizeof text, "%s", e.problem);
    explorer_free (&e);
    if (text[0])
      return text;
  }
  return NULL;
}

int
main (void)
{
  const char *found;
  bool all_ok = true;
  int rule;

  mallopt (M_MMAP_THRESHOLD, 64 << 20);
  mallopt (M_TRIM_THRESHOLD, 256 << 20);
  printf ("1..%d\n", RULES);
  for (rule = 0; rule < RULES; ++rule) {
    left_out = rule;
    found = search (&rules[rule].limits);
    printf ("%s %d - left out: %s\n# %s\n", found ? "ok" : "not ok",
            rule + 1, rules[rule].name, found ? found : "nothing was found");
    fflush (stdout);
    all_ok = all_ok && found;
  }
  return all_ok ? 0 : 1;
}
