/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 2 trusts no sector to be written at once.  Here each structure is
 * torn at each byte: new bytes before it and old ones behind, or the other
 * way around.  What counts is the last good state, or the new one if all of
 * it is there.
 */

#include <config.h>

#include "format2-fixture.h"

/* Old bytes everywhere in the data area, of frames that fill their blocks;
 * then 'blocks' more, so that the next frames begin there; then two items. */
static struct fixture
start_used (unsigned blocks)
{
  struct fixture f = start2 (&(struct shape) { .block = B }, NULL, NULL);
  unsigned i;

  for (i = 0; i < BLOCKS + blocks; ++i) {
    put (f.p, '-', FILLS (B, 1));
    drain (f.c);
  }
  put (f.p, 'a', 100);
  put (f.p, 'b', 700);
  record_device_forget (f.rd);
  return f;
}

/*---------------------------------------------------------------------*/

/* Which bytes of a frame are new when it is torn at byte 'k'.  'middle' is
 * where the end of the data area cuts it: of two writes either may come
 * first. */
enum order { NEW_OLD, OLD_NEW, HOLE, ISLAND, ORDERS };

static bool
is_new (enum order order, size_t i, size_t k, size_t middle)
{
  const bool between = k < middle ? i >= k && i < middle
    : i >= middle && i < k;

  switch (order) {
  case NEW_OLD:
    return i < k;
  case OLD_NEW:
    return i >= k;
  case HOLE:
    return !between;
  default:
    return between;
  }
}

/* Items 'a', 'b', and 'c' torn, of which so many bytes count. */
static void
assert_torn_frame (const unsigned char *image, const unsigned char *after,
                   size_t all, const struct ring *ring, uint64_t position,
                   size_t covered, bool whole)
{
  struct record_device *rd = device_with (image, all);
  bool complete = true;
  blkring_consumer *c;
  uint64_t offset;
  size_t i;

  for (i = 0; i < covered; ++i) {
    offset = ring_offset (ring, position + i);
    complete = complete && image[offset] == after[offset];
  }
  if (whole) {
    assert_clean (rd);
    assert_goes_on (rd, complete ? "abc" : "ab");
  }
  else {
    c = attach_consumer (rd);
    assert_holds (c, complete ? "abc" : "ab");
    blkring_consumer_free (c);
  }
  record_device_free (rd);
}

static void
tear_frame (unsigned blocks, size_t length)
{
  struct fixture f = start_used (blocks);
  const struct ring ring = ring_of (f.rd);
  const size_t all = f.rd->allocated;
  const size_t covered = F2_HEADER + f2_item_size (length);
  const size_t size = f2_frame_size (&ring, f2_item_size (length));
  /* Behind the items 'a' and 'b'. */
  const uint64_t position = (BLOCKS + blocks + 3) * B;
  unsigned char *before = copy_of (f.rd->content, all), *after, *image;
  size_t i, k, middle;
  enum order order;
  uint64_t offset;

  record_device_forget (f.rd);
  put (f.p, 'c', length);
  after = copy_of (f.rd->content, all);
  middle = f.rd->log[record_device_find (f.rd, RECORD_WRITE, 0)].length;
  for (order = NEW_OLD; order < (middle < size ? ORDERS : HOLE); ++order)
    for (k = 0; k <= size; ++k) {
      image = copy_of (before, all);
      for (i = 0; i < size; ++i)
        if (is_new (order, i, k, middle)) {
          offset = ring_offset (&ring, position + i);
          image[offset] = after[offset];
        }
      assert_torn_frame (image, after, all, &ring, position, covered,
                         k % 8 == 0 || k + 3 > covered);
      free (image);
    }
  free (before);
  free (after);
  stop (&f);
}

static void
torn_frame_of_one_block (void **state)
{
  (void) state;
  tear_frame (0, 1);
  tear_frame (0, FILLS (B, 1));
}

static void
torn_frame_of_blocks (void **state)
{
  (void) state;
  tear_frame (1, FILLS (B, 2) - 7);
  tear_frame (3, 1000);
}

static void
torn_frame_around_the_end (void **state)
{
  (void) state;
  tear_frame (BLOCKS - 4, 600);
  tear_frame (BLOCKS - 5, FILLS (B, 3));
}

/*---------------------------------------------------------------------*/

/* What writes records, and what can be popped before and after. */
struct operation {
  int (*prepare) (struct fixture *f);
  int (*run) (struct fixture *f);
  const char *before, *after;
  unsigned decides;          /* which of its writes makes the difference */
  unsigned writes;
  enum blkring_state state[2]; /* before and after */
};

static blkring_position pushed;

static int
nothing (struct fixture *f)
{
  (void) f;
  return 0;
}

static int
push_c (struct fixture *f)
{
  return blkring_producer_push (f->p, "c", 1, &pushed);
}

static int
advance (struct fixture *f)
{
  return blkring_producer_advance (f->p, pushed);
}

static int
free_a (struct fixture *f)
{
  free_one (f->c);
  return 0;
}

/* A part of a frame. */
static int
free_some (struct fixture *f)
{
  struct blkring_item item;

  drain (f->c);
  put_batch (f->p, "abc");
  assert_ok (blkring_consumer_pop (f->c, NULL, &item));
  assert_ok (blkring_consumer_pop (f->c, &item.next, &item));
  pushed = item.next;
  return 0;
}

static int
consumer_advance (struct fixture *f)
{
  return blkring_consumer_advance (f->c, pushed);
}

static int
suspend (struct fixture *f)
{
  return blkring_consumer_suspend (f->c);
}

static int
acknowledge (struct fixture *f)
{
  return blkring_producer_state (f->p) == -1 ? -1 : 0;
}

static int
suspended (struct fixture *f)
{
  assert_ok (suspend (f));
  return acknowledge (f);
}

static int
resume (struct fixture *f)
{
  return blkring_consumer_resume (f->c);
}

static int
detach_producer (struct fixture *f)
{
  blkring_producer_free (f->p);
  f->p = NULL;
  return 0;
}

static int
attach_again (struct fixture *f)
{
  f->p = attach_producer (f->rd);
  return 0;
}

static int
detach_consumer (struct fixture *f)
{
  blkring_consumer_free (f->c);
  f->c = NULL;
  return 0;
}

static int
attach_consumer_again (struct fixture *f)
{
  f->c = attach_consumer (f->rd);
  return 0;
}

static void
assert_torn_record (struct record_device *rd, const struct operation *op,
                    bool new, bool damaged, uint64_t offset, bool whole)
{
  const char *names = new ? op->after : op->before;
  struct blkring_info *info = malloc (sizeof *info);
  const struct findings f = check (rd);

  assert_non_null (info);
  assert_int_equal (f.corruptions, damaged);
  if (damaged)
    assert_int_equal (f.offset, offset);
  assert_ok (blkring_inspect (rd->device, NULL, info));
  assert_int_equal (info->state, op->state[new]);
  /* One that is suspended or about to be takes no more. */
  assert_int_equal (info->items, strlen (names));
  if (info->state == BLKRING_RUNNING && whole)
    assert_goes_on (rd, names);
  free (info);
}

static void
torn_record (void **state)
{
  const struct operation *op = *state;
  struct fixture f = start_used (1);
  const size_t all = f.rd->allocated;
  unsigned char *image, *after;
  unsigned k, nr = 0, order;
  uint64_t offset;
  size_t w, from;
  bool damaged, complete;

  assert_ok (op->prepare (&f));
  image = copy_of (f.rd->content, all);
  record_device_forget (f.rd);
  assert_ok (op->run (&f));
  after = copy_of (f.rd->content, all);
  for (w = 0; w < f.rd->nr_log; ++w) {
    if (f.rd->log[w].kind != RECORD_WRITE)
      continue;
    offset = f.rd->log[w].offset;
    assert_int_equal (f.rd->log[w].length, F2_CONTENT);
    for (order = 0; order < 2; ++order)
      for (k = 0; k <= F2_CONTENT; ++k) {
        struct record_device *rd = device_with (image, all);

        from = order ? k : 0;
        record_device_poke (rd, offset + from, after + offset + from,
                            order ? F2_CONTENT - k : k);
        complete = memcmp (rd->content + offset, after + offset, F2_CONTENT)
          == 0;
        damaged = !complete &&
          memcmp (rd->content + offset, image + offset, F2_CONTENT) != 0;
        assert_torn_record (rd, op, nr > op->decides ||
                            (nr == op->decides && complete), damaged, offset,
                            k % 8 == 0 || k + 3 > F2_CONTENT);
        record_device_free (rd);
      }
    memcpy (image + offset, after + offset, F2_CONTENT);
    nr++;
  }
  assert_int_equal (nr, op->writes);
  free (image);
  free (after);
  stop (&f);
}

/*---------------------------------------------------------------------*/

/* One copy torn between this and that; the other one is good, or is not
 * there. */
static void
tear_super (const unsigned char *ring, size_t all, unsigned slot,
            const unsigned char *other, unsigned order)
{
  const unsigned char *good = ring + slot * F2_SLOT;
  struct blkring_info *info = malloc (sizeof *info);
  struct record_device *rd;
  unsigned char torn[F2_CONTENT];
  bool complete, alone;
  struct findings found;
  unsigned k;

  assert_non_null (info);
  for (k = 0; k <= F2_CONTENT; ++k)
    for (alone = false;; alone = true) {
      memcpy (torn, order ? other : good, F2_CONTENT);
      memcpy (torn + k, (order ? good : other) + k, F2_CONTENT - k);
      complete = memcmp (torn, good, F2_CONTENT) == 0;
      rd = device_with (ring, all);
      record_device_poke (rd, slot * F2_SLOT, torn, F2_CONTENT);
      if (alone)
        memset (rd->content + !slot * F2_SLOT, 0, F2_CONTENT);
      if (!complete && alone) {
        assert_int_equal (blkring_inspect (rd->device, NULL, info), -1);
        assert_true (errno == EMEDIUMTYPE || errno == EBADMSG);
        assert_null (blkring_producer_attach (rd->device, NULL));
      }
      else {
        found = check (rd);
        assert_int_equal (found.corruptions, alone || !complete);
        assert_int_equal (found.offset, found.corruptions == 0 ? 0
                          : (alone ? !slot : slot) * F2_SLOT);
        assert_goes_on (rd, "ab");
      }
      record_device_free (rd);
      if (alone)
        break;
    }
  free (info);
}

static void
torn_superblock (void **state)
{
  struct fixture f = start_used (0), g = start_used (0);
  unsigned char zeros[F2_CONTENT] = { 0 }, other[F2_CONTENT];
  unsigned slot, order;

  (void) state;
  for (slot = 0; slot < 2; ++slot)
    for (order = 0; order < 2; ++order) {
      tear_super (f.rd->content, f.rd->allocated, slot, zeros, order);
      /* That of another ring, not valid any more. */
      memcpy (other, g.rd->content, F2_CONTENT);
      other[F2_CONTENT - 1] ^= 1;
      tear_super (f.rd->content, f.rd->allocated, slot, other, order);
    }
  stop (&f);
  stop (&g);
}

#define TORN(text, prepare, run, before, after, decides, writes, ...) \
  { "a torn record: " text, torn_record, NULL, NULL, \
    &(struct operation) { prepare, run, before, after, decides, writes, \
                          { __VA_ARGS__ } } }
#define NEVER 100            /* no write decides */
#define RUNNING BLKRING_RUNNING
#define REQUESTED BLKRING_SUSPEND_REQUESTED
#define SUSPENDED BLKRING_SUSPENDED
#define RESUMING BLKRING_RESUME_REQUESTED

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (torn_frame_of_one_block),
    cmocka_unit_test (torn_frame_of_blocks),
    cmocka_unit_test (torn_frame_around_the_end),
    TORN ("advance", push_c, advance, "ab", "abc", 0, 1, RUNNING, RUNNING),
    TORN ("consumer's advance", nothing, free_a, "ab", "b", 0, 1, RUNNING,
          RUNNING),
    TORN ("consumer's advance over a part", free_some, consumer_advance,
          "abc", "c", 0, 1, RUNNING, RUNNING),
    TORN ("suspend", nothing, suspend, "ab", "ab", 0, 1, RUNNING, REQUESTED),
    TORN ("acknowledgement", suspend, acknowledge, "ab", "ab", 0, 1,
          REQUESTED, SUSPENDED),
    TORN ("resume", suspended, resume, "ab", "ab", 0, 1, SUSPENDED, RESUMING),
    TORN ("detach of the producer", nothing, detach_producer, "ab", "ab",
          NEVER, 1, RUNNING, RUNNING),
    TORN ("attach of the producer", detach_producer, attach_again, "ab",
          "ab", NEVER, 2, RUNNING, RUNNING),
    TORN ("detach of the consumer", nothing, detach_consumer, "ab", "ab",
          NEVER, 1, RUNNING, RUNNING),
    TORN ("attach of the consumer", detach_consumer, attach_consumer_again,
          "ab", "ab", NEVER, 2, RUNNING, RUNNING),
    cmocka_unit_test (torn_superblock),
  };

  return cmocka_run_group_tests_name ("torn writes of format 2", tests, NULL,
                                      NULL);
}
