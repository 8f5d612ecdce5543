/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 1: writes of several buffers that fail in the middle, positions that
 * were forgotten and must be looked for, repair that fails, and a check beside
 * a consumer that is faster.
 */

#include <config.h>

#include "record-fixture.h"
#include "common.h"
#include "no-requests.h"

#define MIB (UINT64_C (1) << 20)

static struct fixture
start_of_size (uint64_t size)
{
  const struct record_options o = { .size = size };
  const struct blkring_attach_options hasty = { .largest_item = 64 * MIB };

  return start_on (record_device_new_ring (&o, 0), &hasty, &hasty);
}

/*---------------------------------------------------------------------*/

/* An item that takes three requests: nothing of it is exposed, whichever
 * fails, and the next producer goes on in its place. */
static void
large_push_fails_at_each_write (void **state)
{
  const size_t length = 10 * MIB;
  unsigned char *item = malloc (length);
  struct blkring_item popped;
  blkring_position after;
  unsigned writes, fails;
  struct fixture f;

  (void) state;
  assert_non_null (item);
  fill_payload (item, length, 1);
  f = start_of_size (12 * MIB);
  assert_ok (blkring_producer_push (f.p, item, length, &after));
  writes = f.rd->writes;
  assert_in_range (writes, 3, 5);
  stop (&f);
  for (fails = 0; fails < writes; ++fails) {
    f = start_of_size (12 * MIB);
    append (f.p, 'a', 300);
    record_device_fail (f.rd, RECORD_WRITE, fails, EIO);
    assert_fails (EIO, blkring_producer_push (f.p, item, length, &after));
    assert_fails (EIO, blkring_producer_push (f.p, "x", 1, NULL));
    assert_message ("attached again");
    blkring_producer_free (f.p);
    f.p = blkring_producer_attach (f.rd->device, NULL);
    assert_handle (f.p);
    append (f.p, 'b', 300);
    assert_ok (blkring_consumer_pop (f.c, NULL, &popped));
    assert_ok (blkring_consumer_advance (f.c, popped.next));
    assert_ok (blkring_consumer_pop (f.c, NULL, &popped));
    assert_int_equal (*(const char *) popped.data, 'b');
    stop (&f);
  }
  free (item);
}

/*---------------------------------------------------------------------*/

#define MANY 9000

struct visit {
  unsigned nr;
  blkring_position first, hundredth;
};

static int
note_positions (void *opaque, const struct blkring_item *item)
{
  struct visit *v = opaque;

  v->nr++;
  if (v->nr == 1)
    v->first = item->next;
  if (v->nr == 100)
    v->hundredth = item->next;
  return 0;
}

/* Of more items than it remembers, and more bytes than it keeps. */
static struct fixture
start_with_many (struct visit *v)
{
  struct fixture f = start_of_size (MIB);
  static char item[96];
  struct iovec items[100];
  unsigned i;

  memset (v, 0, sizeof *v);
  for (i = 0; i < 100; ++i)
    items[i] = (struct iovec) { item, sizeof item };
  for (i = 0; i < MANY / 100; ++i)
    assert_ok (blkring_producer_appendv (f.p, items, 100, NULL));
  assert_ok (blkring_consumer_fold (f.c, NULL, note_positions, v));
  assert_int_equal (v->nr, MANY);
  record_device_forget (f.rd);
  return f;
}

static void
forgotten_positions_are_looked_for (void **state)
{
  struct visit v;
  struct fixture f = start_with_many (&v);
  struct blkring_item item;

  (void) state;
  assert_fails (EINVAL, blkring_consumer_advance (f.c, v.first + 4));
  record_device_fail (f.rd, RECORD_READ, 0, EIO);
  assert_fails (EIO, blkring_consumer_advance (f.c, v.first));
  assert_int_equal (f.rd->writes, 0);
  assert_ok (blkring_consumer_advance (f.c, v.first));
  assert_ok (blkring_consumer_pop (f.c, NULL, &item));
  assert_int_equal (item.position, v.first);
  stop (&f);
}

/* On the way there a length is damaged. */
static void
forgotten_position_behind_damage (void **state)
{
  static const unsigned char length[4] = { 255, 255, 255, 255 };
  struct visit v;
  struct fixture f = start_with_many (&v);

  (void) state;
  record_device_poke (f.rd, 3 * S + v.first, length, sizeof length);
  assert_fails (EBADMSG, blkring_consumer_advance (f.c, v.hundredth));
  assert_int_equal (f.rd->writes, 0);
  assert_ok (blkring_consumer_advance (f.c, v.first));
  stop (&f);
}

/*---------------------------------------------------------------------*/

static void
count_finding (void *opaque, const struct blkring_finding *finding)
{
  (void) finding;
  ++*(unsigned *) opaque;
}

static void
failed_repair_changes_nothing (void **state)
{
  struct fixture f = start (state, NULL, NULL);
  unsigned found = 0, kind;
  unsigned char zeros[8] = { 0 }, before[SECTORS * S];

  append (f.p, 'a', 100);
  drain (f.c);
  blkring_producer_free (f.p);
  blkring_consumer_free (f.c);
  f.p = NULL;
  f.c = NULL;
  /* The producer's position is behind the consumer's. */
  record_device_poke (f.rd, S, zeros, sizeof zeros);
  memcpy (before, f.rd->content, sizeof before);
  for (kind = 0; kind < RECORD_KINDS; ++kind) {
    /* By FUA there is one flush as well, the first. */
    record_device_fail (f.rd, kind, 0, EIO);
    assert_fails (EIO, blkring_repair (f.rd->device, NULL, BLKRING_REPAIR_ALL,
                                       count_finding, &found));
    assert_false (f.rd->faults[kind].armed);
    assert_int_equal (found, 0);
    assert_memory_equal (before, f.rd->content, sizeof before);
  }
  assert_returns (1, blkring_repair (f.rd->device, NULL, BLKRING_REPAIR_ALL,
                                     count_finding, &found));
  assert_int_equal (found, 1);
  assert_returns (0, blkring_check (f.rd->device, NULL, NULL, NULL));
  assert_memory_equal (f.rd->durable, f.rd->content, sizeof before);
  stop (&f);
}

/*---------------------------------------------------------------------*/

/* A second device on the storage, which frees an item before each read of the
 * ring's head. */
static struct fixture *beside;
static unsigned frees;

static int
tell_geometry (void *opaque, struct blkring_geometry *g)
{
  *g = ((struct record_device *) opaque)->geometry;
  return 0;
}

static ssize_t
pread_beside (void *opaque, void *buf, size_t count, uint64_t offset)
{
  struct record_device *rd = opaque;
  struct blkring_item item;

  if (offset == 0 && count >= 3 * S && frees > 0) {
    frees--;
    assert_ok (blkring_consumer_pop (beside->c, NULL, &item));
    assert_ok (blkring_consumer_advance (beside->c, item.next));
  }
  return blkring_device_read (rd->device, buf, count, offset) == -1 ? -1
    : (ssize_t) count;
}

/* What it finds may be of the moment, and it says so; when the consumer rests
 * it is damage. */
static void
check_beside_a_faster_consumer (void **state)
{
  static const struct blkring_device_ops ops = {
    .struct_size = sizeof ops, .geometry = tell_geometry,
    .pread = pread_beside, .pwrite = no_pwrite, .flush = no_flush,
  };
  struct fixture f = start (state, NULL, NULL);
  blkring_device *device = blkring_device_new (&ops, f.rd);
  unsigned i, found = 0;

  assert_handle (device);
  beside = &f;
  for (i = 0; i < 150; ++i)
    append (f.p, 'a', 8);
  record_device_poke (f.rd, 200, "x", 1); /* behind the signature */
  frees = 150;
  assert_fails (EAGAIN, blkring_check (device, NULL, count_finding, &found));
  assert_message ("faster than it can be checked");
  assert_int_equal (found, 0);
  frees = 0;
  assert_returns (1, blkring_check (device, NULL, count_finding, &found));
  assert_int_equal (found, 1);
  blkring_device_close (device);
  stop (&f);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (large_push_fails_at_each_write),
    cmocka_unit_test (forgotten_positions_are_looked_for),
    cmocka_unit_test (forgotten_position_behind_damage),
    EACH ("a repair that fails changes nothing",
          failed_repair_changes_nothing),
    { "a check beside a faster consumer", check_beside_a_faster_consumer,
      NULL, NULL, &(unsigned) { 0 } },
  };

  return cmocka_run_group_tests_name ("format 1 fails", tests, NULL, NULL);
}
