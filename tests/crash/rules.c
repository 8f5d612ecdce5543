/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Would the explorer notice if format 2 did without one of its rules?  Each
 * is left out in turn, by functions that are linked in front of the library's
 * own (ld's --wrap), and a violation must be found.  With the rule in place
 * the same workloads, in the same orders, must find none.  What self-test.c
 * does for flushes and their order, the one before the claim among them, this
 * does for what is looked at.
 */

#include <config.h>

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crc32c.h"
#include "explore.h"
#include "format2.h"

enum rule {
  POSITION, CRC, CHAIN, SINCE, RECHECK,
  BEGIN_AT_CONSUMER, BEGIN_AT_PUBLISHED,
  CAME_LATE, DURABLE_FIRST,
  RULES
};

#define ONLY(ops) .without = ~(ops)
#define REPLACED BIT (OP_APPEND) | BIT (OP_TAKE_OVER) | BIT (OP_TAKE) | \
  BIT (OP_NEW_APPEND)

#define PUSHES BIT (OP_PUSH_1) | BIT (OP_ADVANCE)
#define REPLACED_CONSUMER BIT (OP_APPEND) | BIT (OP_TAKE) | \
  BIT (OP_CONSUMER_TAKE_OVER) | BIT (OP_DETACH_CONSUMER)

/* And what it takes to see that it was needed. */
static const struct {
  const char *name;
  struct limits limits;
  uint64_t sectors;          /* of the ring; 0 = any */
  bool slow;                 /* time must pass */
} rules[RULES] = {
  [POSITION] = { "a frame tells its position",
    { .operations = 3, .preemptions = 1,
      ONLY (PUSHES | BIT (OP_APPEND)) } },
  [CRC] = { "a frame has checksums",
    { .operations = 2, .preemptions = 1,
      ONLY (BIT (OP_APPEND_BATCH) | BIT (OP_TAKE)) } },
  /* A late frame, and its successor appends behind what that destroyed. */
  [CHAIN] = { "a frame tells which one is before it",
    { .operations = 5, .preemptions = 1, .also = PRODUCER_TAKEOVER,
      ONLY (REPLACED) }, .slow = true },
  [SINCE] = { "a frame of an epoch that was over does not count",
    { .operations = 4, .preemptions = 1, .also = PRODUCER_TAKEOVER,
      ONLY (REPLACED) } },
  [RECHECK] = { "the consumer looks again before it frees",
    { .operations = 4, .preemptions = 2, .also = PRODUCER_TAKEOVER,
      ONLY (REPLACED) } },
  /* What was pushed and advanced has no flag, and stands before it. */
  [BEGIN_AT_CONSUMER] = { "recovery does not begin before published",
    { .operations = 3, ONLY (PUSHES) } },
  /* A frame that brings no record, and is freed; and one over it. */
  [BEGIN_AT_PUBLISHED] = { "recovery does not begin before a consumer's frame",
    { .operations = 3, .also = BIT (OP_APPEND_ALL),
      ONLY (BIT (OP_APPEND) | BIT (OP_TAKE) | BIT (OP_APPEND_ALL)) }, 24 },
  [CAME_LATE] = { "what the old owner wrote before it had to look counts",
    { .operations = 3, .preemptions = 2, .also = CONSUMER_TAKEOVER,
      ONLY (REPLACED_CONSUMER) } },
  [DURABLE_FIRST] = { "the copy that counts is durable before the other one "
                      "is claimed",
    { .operations = 4, .preemptions = 2, .also = CONSUMER_TAKEOVER,
      ONLY (REPLACED_CONSUMER) } },
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
extern bool __real_f2_continues (const struct f2_frame *f, uint32_t chain);
extern uint64_t __real_f2_highest_start (const struct f2_records *rs,
                                         uint32_t *chain);
extern int __real_f2_take_over (struct handle *h, struct f2_records *rs,
                                unsigned kind);
extern int __real_f2_flush_record (struct handle *h, struct f2_records *rs,
                                   unsigned kind);

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
extern bool __wrap_f2_continues (const struct f2_frame *f, uint32_t chain);
extern uint64_t __wrap_f2_highest_start (const struct f2_records *rs,
                                         uint32_t *chain);
extern int __wrap_f2_take_over (struct handle *h, struct f2_records *rs,
                                unsigned kind);
extern int __wrap_f2_flush_record (struct handle *h, struct f2_records *rs,
                                   unsigned kind);

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

bool
__wrap_f2_continues (const struct f2_frame *f, uint32_t chain)
{
  return left_out == CHAIN || __real_f2_continues (f, chain);
}

uint64_t
__wrap_f2_highest_start (const struct f2_records *rs, uint32_t *chain)
{
  const struct f2_record *p = &rs->record[F2_PRODUCER];
  const struct f2_record *c = &rs->record[F2_CONSUMER];

  if (left_out != BEGIN_AT_CONSUMER && left_out != BEGIN_AT_PUBLISHED)
    return __real_f2_highest_start (rs, chain);
  *chain = left_out == BEGIN_AT_CONSUMER ? c->chain : p->chain;
  return left_out == BEGIN_AT_CONSUMER ? c->frame : p->position;
}

/* It claims, and waits, and does not look at what is beside its claim. */
static int
take_over_blindly (struct handle *h, struct f2_records *rs, unsigned kind)
{
  struct f2_record claimed;

  if (f2_flush_record (h, rs, kind) == -1 || f2_claim (h, rs, kind) == -1)
    return -1;
  claimed = rs->record[kind];
  if (h->clock.sleep (h->clock.opaque, 2 * h->poll_interval) == -1 ||
      f2_read_records (&h->ring, rs) == -1)
    return -1;
  return f2_check_mine (h, rs, kind, &claimed);
}

int
__wrap_f2_take_over (struct handle *h, struct f2_records *rs, unsigned kind)
{
  return left_out == CAME_LATE ? take_over_blindly (h, rs, kind)
    : __real_f2_take_over (h, rs, kind);
}

int
__wrap_f2_flush_record (struct handle *h, struct f2_records *rs,
                        unsigned kind)
{
  if (left_out != DURABLE_FIRST)
    return __real_f2_flush_record (h, rs, kind);
  return handle_flush (h) == -1 ? -1 : f2_read_records (&h->ring, rs);
}

/*---------------------------------------------------------------------*/

#define MOST_STARTS 400

static unsigned nr_starts;

/* The next one that suits from 'i' on, in an order that has all kinds soon;
 * false when there is none. */
static bool
get_start (enum rule rule, unsigned *i, struct start *s)
{
  for (; *i < nr_starts && *i < MOST_STARTS; ++*i) {
    start_get (2, *i * UINT64_C (7919) % nr_starts, s);
    if ((s->sides == ATTACHED || s->sides == POPPED) &&
        (s->ticks || !rules[rule].slow) &&
        (s->sectors == rules[rule].sectors || rules[rule].sectors == 0))
      return true;
  }
  return false;
}

/* From one start; '*runs' is how many at most, 0 = all, and how many there
 * were. */
static bool
explore_from (enum rule rule, const struct start *s, uint64_t *runs,
              char *text, size_t size)
{
  static struct explorer e;
  struct limits limits = rules[rule].limits;
  bool found;

  limits.runs = *runs;
  explorer_init (&e, s, &limits, 1 << 16);
  e.j.recover_one_in = 0;
  explore (&e);
  found = e.problem[0];
  snprintf (text, size, "%s", e.problem);
  *runs = e.runs;
  explorer_free (&e);
  return found;
}

/* Does the explorer find that it is left out, and that the same is right when
 * it is not? */
static bool
test_rule (enum rule rule)
{
  static char text[4096];
  bool found = false, wrong = false;
  uint64_t runs = 0, all = 0;
  struct start s;
  unsigned i, n;

  left_out = rule;
  for (i = n = 0; !found && get_start (rule, &i, &s); ++i, ++n) {
    runs = 0;
    found = explore_from (rule, &s, &runs, text, sizeof text);
  }
  printf ("%s %d - left out: %s\n# %s\n", found ? "ok" : "not ok",
          2 * rule + 1, rules[rule].name, found ? text : "nothing was found");
  left_out = -1;
  for (i = 0; n > 0 && !wrong && get_start (rule, &i, &s); ++i) {
    /* Of the last one as far as that was explored. */
    if (--n > 0)
      runs = 0;
    wrong = explore_from (rule, &s, &runs, text, sizeof text);
    all += runs;
  }
  printf ("%s %d - not left out\n# %s%" PRIu64 " runs\n",
          wrong ? "not ok" : "ok", 2 * rule + 2, wrong ? text : "", all);
  fflush (stdout);
  return found && !wrong;
}

int
main (void)
{
  bool all_ok = true;
  struct start s;
  int rule;

  mallopt (M_MMAP_THRESHOLD, 64 << 20);
  mallopt (M_TRIM_THRESHOLD, 256 << 20);
  while (start_get (2, nr_starts, &s))
    nr_starts++;
  printf ("1..%d\n", 2 * RULES);
  for (rule = 0; rule < RULES; ++rule)
    all_ok = test_rule (rule) && all_ok;
  return all_ok ? 0 : 1;
}
