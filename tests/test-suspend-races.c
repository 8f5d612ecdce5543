/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the model of the suspend protocol (docs/model) has found: a request
 * that somebody else has left in a cache, and the two flags as they were at
 * two moments.  Both of format 1.
 */

#include <config.h>

#include "record-fixture.h"

#define PRODUCER_SECTOR S
#define CONSUMER_SECTOR (2 * S)

enum { FLAG_TRUE = 1, FLAG_FALSE = 2 };

static void
set_flag (struct record_device *rd, uint64_t sector, unsigned char flag)
{
  record_device_poke (rd, sector + 8, &flag, 1);
}

static enum blkring_state
state_of (blkring_device *device)
{
  struct blkring_info *info = malloc (sizeof *info);
  enum blkring_state state;

  assert_non_null (info);
  assert_int_equal (blkring_inspect (device, NULL, info), 0);
  state = info->state;
  free (info);
  return state;
}

/* An observer wrote its request, and died before it was durable. */
static void
request_of_a_dead_one (void **state)
{
  static const struct blkring_attach_options observer = {
    .flags = BLKRING_ATTACH_OBSERVER,
  };
  unsigned as_observer;

  for (as_observer = 0; as_observer < 2; ++as_observer) {
    struct fixture f = start (state, NULL, as_observer ? &observer : NULL);
    unsigned char sector[S];
    struct record_device *crashed;

    memcpy (sector, f.rd->content + CONSUMER_SECTOR, S);
    sector[8] = FLAG_TRUE;
    record_device_write (f.rd, CONSUMER_SECTOR, sector, S);
    assert_int_equal (blkring_consumer_suspend (f.c), 0);
    crashed = record_device_after_crash (f.rd, 0);
    assert_int_equal (state_of (crashed->device), BLKRING_SUSPEND_REQUESTED);
    record_device_free (crashed);
    stop (&f);
  }
}

/*---------------------------------------------------------------------*/

/* A device that is read a sector at a time, and on which the producer
 * resumes, and somebody asks it to suspend once more, between the reads of
 * one sector and the other. */
struct slow {
  struct record_device *rd;
  uint64_t last[2];          /* offsets of the last reads */
  bool armed;
};

static int
slow_geometry (void *opaque, struct blkring_geometry *g)
{
  struct slow *slow = opaque;

  g->size = slow->rd->geometry.size;
  g->sector_size = g->max_request = S;
  return 0;
}

static ssize_t
slow_pread (void *opaque, void *buf, size_t count, uint64_t offset)
{
  struct slow *slow = opaque;

  /* Not where sector 0 is read, too, to find the ring. */
  if (slow->armed && offset == CONSUMER_SECTOR &&
      slow->last[1] == PRODUCER_SECTOR && slow->last[0] != 0) {
    slow->armed = false;
    set_flag (slow->rd, PRODUCER_SECTOR, FLAG_FALSE);
    set_flag (slow->rd, CONSUMER_SECTOR, FLAG_TRUE);
  }
  slow->last[0] = slow->last[1];
  slow->last[1] = offset;
  memcpy (buf, slow->rd->content + offset, count);
  return count;
}

static ssize_t
slow_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
             unsigned flags)
{
  (void) opaque;
  (void) buf;
  (void) offset;
  (void) flags;
  return count;
}

static int
slow_flush (void *opaque)
{
  (void) opaque;
  return 0;
}

static void
flags_of_two_moments (void **state)
{
  static const struct blkring_device_ops ops = {
    .struct_size = sizeof ops, .geometry = slow_geometry,
    .pread = slow_pread, .pwrite = slow_pwrite, .flush = slow_flush,
  };
  struct fixture f = start (state, NULL, NULL);
  struct slow slow = { .rd = f.rd };
  blkring_device *device = blkring_device_new (&ops, &slow);

  assert_non_null (device);
  set_flag (f.rd, PRODUCER_SECTOR, FLAG_TRUE);
  set_flag (f.rd, CONSUMER_SECTOR, FLAG_FALSE);
  assert_int_equal (state_of (device), BLKRING_RESUME_REQUESTED);
  slow.armed = true;
  assert_int_equal (state_of (device), BLKRING_SUSPEND_REQUESTED);
  assert_false (slow.armed);
  set_flag (f.rd, PRODUCER_SECTOR, FLAG_TRUE);
  assert_int_equal (state_of (device), BLKRING_SUSPENDED);
  blkring_device_close (device);
  set_flag (f.rd, PRODUCER_SECTOR, FLAG_FALSE);
  set_flag (f.rd, CONSUMER_SECTOR, FLAG_FALSE);
  stop (&f);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    EACH ("a request that another left in a cache is made durable",
          request_of_a_dead_one),
    EACH ("flags of two moments are no state", flags_of_two_moments),
  };

  return cmocka_run_group_tests_name ("races of suspend", tests, NULL, NULL);
}
