/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The operations in which something is made to fail: how the ring is made
 * ready for each, what it does, and what it promises.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "operation.h"

#define BATCH 3

static const size_t small[BATCH] = { 7, 0, 300 };

/*---------------------------------------------------------------------*/
/* What operations consist of.                                            */

static int
attach_producer (struct world *w)
{
  w->p = blkring_producer_attach (w->device, world_options (w, 0));
  return w->p ? 0 : -1;
}

static int
attach_consumer_as (struct world *w, unsigned flags)
{
  blkring_consumer_free (w->c);
  w->c = blkring_consumer_attach (w->device, world_options (w, flags));
  return w->c ? 0 : -1;
}

static int
attach_consumer (struct world *w)
{
  return attach_consumer_as (w, 0);
}

/* Store items of these lengths behind those that are exposed. */
static int
store (struct world *w, const size_t *lengths, unsigned nr, bool expose)
{
  const unsigned n = w->exposed;
  struct iovec items[BATCH];
  unsigned i;
  int r;

  for (i = 0; i < nr; ++i) {
    w->length[n + i] = lengths[i];
    items[i] = (struct iovec) { (void *) item_content (n + i), lengths[i] };
  }
  if (!expose)
    return blkring_producer_pushv (w->p, items, nr, &w->position);
  may_end (w, n + nr);
  r = blkring_producer_appendv (w->p, items, nr, NULL);
  if (r == 0)
    does_end (w, n + nr);
  return r;
}

static int
append_one (struct world *w, size_t length)
{
  return store (w, &length, 1, true);
}

/* Pop one and free it. */
static int
take (struct world *w)
{
  struct blkring_item item;

  if (blkring_consumer_pop (w->c, NULL, &item) == -1)
    return -1;
  may_begin (w, w->freed + 1);
  if (blkring_consumer_advance (w->c, item.next) == -1)
    return -1;
  does_begin (w, w->freed + 1);
  return 0;
}

/*---------------------------------------------------------------------*/
/* How a ring is made ready.                                              */

static void
both (struct world *w)
{
  MUST (attach_producer (w));
  MUST (attach_consumer (w));
  MUST (append_one (w, 100));
  MUST (append_one (w, 1));
  MUST (take (w));
}

/* A large item will not fit before the end of the data area. */
static void
near_the_end (struct world *w)
{
  both (w);
  MUST (take (w));
  MUST (append_one (w, blkring_producer_largest_item (w->p) - 3000));
  MUST (take (w));
}

static void
full (struct world *w)
{
  both (w);
  MUST (take (w));
  MUST (append_one (w, blkring_producer_largest_item (w->p)));
}

/* By frames of a block, so that no record is written for the last of them. */
static void
full_of_little (struct world *w)
{
  static struct blkring_info info;
  uint64_t i;

  both (w);
  MUST (take (w));
  MUST (blkring_inspect (w->device, NULL, &info));
  for (i = 0; i < info.capacity / SECTOR; ++i)
    MUST (append_one (w, SECTOR - 64 - 4));
}

/* The position is one that the consumer has not seen. */
static void
one_more (struct world *w)
{
  both (w);
  w->length[w->exposed] = 40;
  may_end (w, w->exposed + 1);
  MUST (blkring_producer_append (w->p, item_content (w->exposed), 40,
                                 &w->position));
  does_end (w, w->exposed + 1);
}

static void
full_and_freed (struct world *w)
{
  full (w);
  MUST (take (w));
}

static void
staged (struct world *w)
{
  const size_t length = 700;

  both (w);
  MUST (store (w, &length, 1, false));
}

static void
popped (struct world *w)
{
  struct blkring_item item;

  both (w);
  MUST (append_one (w, 700));
  MUST (blkring_consumer_pop (w->c, NULL, &item));
  w->position = item.next;
}

/* The first of three in a frame. */
static void
popped_of_a_batch (struct world *w)
{
  struct blkring_item item;

  both (w);
  MUST (take (w));
  MUST (store (w, small, BATCH, true));
  MUST (blkring_consumer_pop (w->c, NULL, &item));
  w->position = item.next;
}

static void
suspend_requested (struct world *w)
{
  both (w);
  MUST (blkring_consumer_suspend (w->c));
}

static void
suspended (struct world *w)
{
  suspend_requested (w);
  MUST (blkring_producer_state (w->p));
}

static void
resume_requested (struct world *w)
{
  suspended (w);
  MUST (blkring_consumer_resume (w->c));
}

static void
nobody (struct world *w)
{
  both (w);
  world_close (w);
  world_open (w);
}

/* They died with something staged, more exposed than the record tells, and a
 * request under way. */
static void
all_killed (struct world *w)
{
  both (w);
  MUST (append_one (w, 513));
  MUST (append_one (w, 40));
  MUST (blkring_consumer_suspend (w->c));
  MUST (store (w, small, BATCH, false));
  world_kill (w);
  world_open (w);
}

static void
killed_in_staging (struct world *w)
{
  staged (w);
  world_kill (w);
  world_open (w);
}

static void
consumer_is_there (struct world *w)
{
  nobody (w);
  MUST (attach_consumer (w));
}

static void
producer_is_there (struct world *w)
{
  nobody (w);
  MUST (attach_producer (w));
}

static void
observer (struct world *w)
{
  both (w);
  MUST (attach_consumer_as (w, BLKRING_ATTACH_OBSERVER));
}

/* Owners on another host, who are alive for all that one can tell. */
static void
others (struct world *w)
{
  w->disk.flags |= BLKRING_DEVICE_SHARED;
  both (w);
  w->other = disk_open (&w->disk);
  must (w->other ? 0 : -1, "open");
}

static void
blank (struct world *w)
{
  world_close (w);
  world_clear_disk (w);
  world_open (w);
  w->no_ring = w->new_ring = w->one_super = true;
}

static void
ring_to_replace (struct world *w)
{
  nobody (w);
  w->no_ring = w->new_ring = w->one_super = true;
}

/* A frame in the middle is damaged. */
static void
damaged (struct world *w)
{
  unsigned i;

  both (w);
  MUST (append_one (w, 10));
  MUST (append_one (w, 20));
  world_close (w);
  for (i = 0; i < DISK_SIZE; i += SECTOR)
    if (memcmp (w->disk.content + i + 68, item_content (2), 10) == 0) {
      w->disk.content[i + 70] ^= 1;
      w->disk.durable[i + 70] ^= 1;
    }
  world_open (w);
  MUST (attach_producer (w));
  w->lossy = true;
}

/* One copy of the superblock, and of a record. */
static void
damaged_copies (struct world *w)
{
  nobody (w);
  world_close (w);
  w->disk.content[4096] ^= 1;
  w->disk.durable[4096] ^= 1;
  w->disk.content[12288 + 40] ^= 1;
  w->disk.durable[12288 + 40] ^= 1;
  w->disk.content[8192 + 40] ^= w->kind->consumers > 1;
  w->disk.durable[8192 + 40] ^= w->kind->consumers > 1;
  w->lossy = true;
  if (w->kind->consumers > 1) {
    /* Not both copies of one. */
    w->disk.content[12288 + 40] ^= 1;
    w->disk.durable[12288 + 40] ^= 1;
  }
  world_open (w);
}

static void
two_suspended (struct world *w)
{
  suspended (w);
}

/*---------------------------------------------------------------------*/
/* What is run.                                                           */

static int
run_push (struct world *w)
{
  static const size_t length = 600;

  return store (w, &length, 1, false);
}

static int
run_large_push (struct world *w)
{
  static const size_t length = 5000;

  return store (w, &length, 1, false);
}

static int
run_batch_push (struct world *w)
{
  return store (w, small, BATCH, false);
}

static int
run_append (struct world *w)
{
  return append_one (w, 509);
}

static int
run_large_append (struct world *w)
{
  return append_one (w, 5000);
}

static int
run_batch_append (struct world *w)
{
  return store (w, small, BATCH, true);
}

/* Behind what is staged already. */
static int
run_append_behind (struct world *w)
{
  w->length[w->exposed + 1] = 33;
  may_end (w, w->exposed + 1);
  may_end (w, w->exposed + 2);
  if (blkring_producer_append (w->p, item_content (w->exposed + 1), 33, NULL)
      == -1)
    return -1;
  does_end (w, w->exposed + 2);
  return 0;
}

static int
run_full_append (struct world *w)
{
  if (blkring_producer_append (w->p, "x", 1, NULL) == 0) {
    problem (w, "an append to a full ring works");
    return 0;
  }
  return errno == EAGAIN ? 0 : -1;
}

static int
run_advance (struct world *w)
{
  may_end (w, w->exposed + 1);
  if (blkring_producer_advance (w->p, w->position) == -1)
    return -1;
  if (!w->end[w->exposed])
    return 0;
  does_end (w, w->exposed + 1);
  return 0;
}

static int
run_producer_state (struct world *w)
{
  return blkring_producer_state (w->p) == -1 ? -1 : 0;
}

static int
run_producer_wait (struct world *w)
{
  return blkring_producer_wait (w->p, 1, 0) == -1 && errno != ETIMEDOUT
    ? -1 : 0;
}

static void
ignore_pair (void *opaque, const char *key, const char *value)
{
  (void) opaque;
  (void) key;
  (void) value;
}

static int
run_producer_debug (struct world *w)
{
  return blkring_producer_debug_info (w->p, ignore_pair, NULL);
}

static int
run_consumer_debug (struct world *w)
{
  return blkring_consumer_debug_info (w->c, ignore_pair, NULL);
}

static int
run_detach_producer (struct world *w)
{
  return blkring_producer_detach (w->p);
}

static int
run_detach_consumer (struct world *w)
{
  return blkring_consumer_detach (w->c);
}

static int
run_pop (struct world *w)
{
  struct blkring_item item;

  if (blkring_consumer_pop (w->c, NULL, &item) == -1)
    return -1;
  if (item.length != w->length[w->freed] ||
      memcmp (item.data, item_content (w->freed), item.length) != 0)
    problem (w, "another item was popped");
  return 0;
}

static int
run_pop_copy (struct world *w)
{
  static unsigned char data[LARGEST];
  struct blkring_item item;

  return blkring_consumer_pop_copy (w->c, NULL, data, sizeof data, &item);
}

static int
ignore_item (void *opaque, const struct blkring_item *item)
{
  (void) opaque;
  (void) item;
  return 0;
}

static int
run_pop_behind (struct world *w)
{
  struct blkring_item item;

  if (blkring_consumer_pop (w->c, &w->position, &item) == 0)
    problem (w, "something is behind the last item");
  return errno == EAGAIN ? 0 : -1;
}

static int
run_fold (struct world *w)
{
  return blkring_consumer_fold (w->c, NULL, ignore_item, NULL);
}

static int
run_salvage (struct world *w)
{
  struct blkring_item item;

  if (w->c == NULL && attach_consumer_as (w, BLKRING_ATTACH_SALVAGE) == -1)
    return -1;
  while (blkring_consumer_pop (w->c, NULL, &item) == 0)
    if (blkring_consumer_advance (w->c, item.next) == -1)
      return -1;
  return errno == EAGAIN ? 0 : -1;
}

static int
run_consumer_advance (struct world *w)
{
  may_begin (w, w->freed + 1);
  if (blkring_consumer_advance (w->c, w->position) == -1)
    return -1;
  if (w->first[w->freed])
    does_begin (w, w->freed + 1);
  return 0;
}

static int
run_suspend (struct world *w)
{
  return blkring_consumer_suspend (w->c);
}

static int
run_resume (struct world *w)
{
  return blkring_consumer_resume (w->c);
}

static int
run_consumer_state (struct world *w)
{
  return blkring_consumer_state (w->c) == -1 ? -1 : 0;
}

static int
run_consumer_wait (struct world *w)
{
  return blkring_consumer_wait (w->c, NULL, 0) == -1 && errno != ETIMEDOUT
    ? -1 : 0;
}

static int
run_wait_state (struct world *w)
{
  return blkring_consumer_wait_state (w->c, BLKRING_SUSPENDED, 0) == -1 &&
    errno != ETIMEDOUT ? -1 : 0;
}

static int
run_take_over_producer (struct world *w)
{
  w->p2 = blkring_producer_attach (w->other, world_options
                                   (w, BLKRING_ATTACH_TAKEOVER));
  return w->p2 ? 0 : -1;
}

static int
run_take_over_consumer (struct world *w)
{
  w->c2 = blkring_consumer_attach (w->other, world_options
                                   (w, BLKRING_ATTACH_TAKEOVER));
  return w->c2 ? 0 : -1;
}

static int
create (struct world *w, unsigned flags)
{
  const struct blkring_create_options o = {
    .flags = flags, .format = w->kind->format,
    .block_size = w->kind->format == 2 ? 512 : 0,
    .consumers = w->kind->format == 2 ? w->kind->consumers : 0,
  };
  const int r = blkring_create (w->device, &o);

  if (r == -1)
    return -1;
  /* As it must be from then on. */
  w->no_ring = w->one_super = w->new_ring = false;
  does_begin (w, 0);
  does_end (w, 0);
  return 0;
}

static int
run_create (struct world *w)
{
  return create (w, 0);
}

static int
run_replace (struct world *w)
{
  return create (w, BLKRING_CREATE_FORCE);
}

static int
run_erase (struct world *w)
{
  if (blkring_erase (w->device, NULL, 0, NULL, NULL) == -1)
    return -1;
  return 0;
}

static int
run_inspect (struct world *w)
{
  static struct blkring_info info;

  return blkring_inspect (w->device, NULL, &info);
}

static int
run_check (struct world *w)
{
  return blkring_check (w->device, NULL, NULL, NULL) == -1 ? -1 : 0;
}

static int
run_repair (struct world *w)
{
  return blkring_repair (w->device, NULL, BLKRING_REPAIR_ALL, NULL, NULL)
    == -1 ? -1 : 0;
}

static int
ignore_region (void *opaque, const struct blkring_region *region)
{
  (void) opaque;
  (void) region;
  return 0;
}

static int
run_map (struct world *w)
{
  return blkring_map (w->device, NULL, ignore_region, NULL);
}

static int
run_enable (struct world *w)
{
  return blkring_consumer_enable (w->device, 0, true);
}

/* The other one first: the last cannot be disabled. */
static void
both_enabled (struct world *w)
{
  two_suspended (w);
  MUST (blkring_consumer_enable (w->device, 0, true));
}

static int
run_disable (struct world *w)
{
  return blkring_consumer_enable (w->device, 0, false);
}

/*---------------------------------------------------------------------*/
/* The journal.                                                           */

static int
perform (const struct blkring_item *items, size_t nr, void *opaque)
{
  struct world *w = opaque;
  unsigned number = 0;
  size_t i;

  /* Which is the first? */
  while (number < ITEMS &&
         (items[0].length != w->length[number] ||
          memcmp (items[0].data, item_content (number), items[0].length)
          != 0))
    number++;
  for (i = 0; i < nr; ++i, ++number)
    if (number >= ITEMS || items[i].length != w->length[number] ||
        memcmp (items[i].data, item_content (number), items[i].length) != 0)
      problem (w, "an item was performed that was not pushed there");
  if (number <= ITEMS)
    may_begin (w, number);
  return 0;
}

static int
start_journal (struct world *w)
{
  const struct blkring_attach_options a = {
    .consumer = w->kind->consumers - 1, .queue = "q", .client = "j",
    .poll_interval = 1,
  };
  const struct blkring_journal_options o = { .attach = &a };

  w->j = blkring_journal_start (w->device, &o, perform, w);
  return w->j ? 0 : -1;
}

static int
push_and_sync (struct world *w, size_t length)
{
  blkring_journal_waiter waiter;

  w->length[w->exposed] = length;
  may_end (w, w->exposed + 1);
  if (blkring_journal_push (w->j, item_content (w->exposed), length, 0,
                            &waiter) == -1)
    return -1;
  does_end (w, w->exposed + 1);
  if (blkring_journal_sync (w->j, waiter, -1) == -1)
    return -1;
  does_begin (w, w->exposed);
  return 0;
}

static int
run_journal_start (struct world *w)
{
  return start_journal (w);
}

static void
journal (struct world *w)
{
  nobody (w);
  MUST (start_journal (w));
  does_begin (w, w->exposed);
}

static int
run_journal_push (struct world *w)
{
  const unsigned before = w->exposed;
  unsigned i;

  for (i = 0; i < 3; ++i)
    if (push_and_sync (w, 300 * i + 1) == -1)
      return -1;
  if (w->exposed != before + 3)
    problem (w, "not all was pushed");
  return 0;
}

static int
run_journal_shutdown (struct world *w)
{
  blkring_journal_waiter waiter;

  w->length[w->exposed] = 900;
  may_end (w, w->exposed + 1);
  if (blkring_journal_push (w->j, item_content (w->exposed), 900, 0, &waiter)
      == -1)
    return -1;
  does_end (w, w->exposed + 1);
  if (blkring_journal_shutdown (w->j, BLKRING_JOURNAL_DRAIN) == -1)
    return -1;
  does_begin (w, w->exposed);
  return 0;
}

/*---------------------------------------------------------------------*/
/* The service core.                                                       */

static void
not_served_yet (struct world *w)
{
  nobody (w);
  service_close ((blkring_device_close (w->device), w->service));
  w->device = NULL;
  w->service = NULL;
}

/* More than a lap since the service was started, so that it knows itself what
 * was written; and that in as many pieces as it has room to remember. */
static void
scattered_writes (struct world *w)
{
  static const char bytes[SECTOR];
  static struct blkring_info info;
  const unsigned first = w->kind->format == 1 ? 3 : 64;
  unsigned i;

  both (w);
  MUST (take (w));
  for (i = 0; i < 12; ++i) {
    MUST (append_one (w, blkring_producer_largest_item (w->p) / 6));
    MUST (take (w));
  }
  MUST (blkring_inspect (w->below, NULL, &info));
  for (i = 0; i < 9; ++i)
    MUST (blkring_device_write
          (w->device, bytes, SECTOR, SECTOR *
           (first + (info.producer / SECTOR + 4 + 3 * i) %
            (info.capacity / SECTOR))));
}

/* A consumer has freed a part of a frame. */
static void
not_served_within_a_frame (struct world *w)
{
  both (w);
  MUST (take (w));
  MUST (store (w, small, BATCH, true));
  MUST (take (w));
  world_close (w);
  world_open (w);
  service_close ((blkring_device_close (w->device), w->service));
  w->device = NULL;
  w->service = NULL;
}

static int
run_serve (struct world *w)
{
  struct service_options o;

  service_options_init (&o);
  w->service = service_open (w->below, &o);
  return w->service ? 0 : -1;
}

static int
run_connect (struct world *w)
{
  struct service_client *c = service_connect (w->service, "", "peer", false);

  service_disconnect (c);
  return c ? 0 : -1;
}

static int
run_status (struct world *w)
{
  struct service_client *c = service_connect (w->service, "status", "s",
                                              true);
  static char text[65536];
  int r, err;

  if (c == NULL)
    return -1;
  r = service_pread (c, text, service_size (c), 0);
  err = errno;
  service_disconnect (c);
  errno = err;
  return r;
}

static int
run_trim (struct world *w)
{
  struct service_client *c = service_connect (w->service, "", "peer", false);
  int r, err;

  if (c == NULL)
    return -1;
  /* Free space, of both formats. */
  r = service_zero (c, 1024, 45 << 10, SERVICE_FLAG_MAY_TRIM);
  if (r == 0)
    r = service_trim (c, 1024, 45 << 10, 0);
  if (r == 0)
    r = service_flush (c);
  err = errno;
  service_disconnect (c);
  errno = err;
  return r;
}

/* To free space, of both formats; from within what would be a header on. */
static int
run_unaligned (struct world *w)
{
  struct service_client *c = service_connect (w->service, "", "peer", false);
  static const char bytes[1200] = { 1 };
  int r, err;

  if (c == NULL)
    return -1;
  r = service_pwrite (c, bytes, sizeof bytes, (45 << 10) + 40, 0);
  err = errno;
  service_disconnect (c);
  errno = err;
  return r;
}

/*---------------------------------------------------------------------*/

/* It is told whose the ring is. */
static int
run_second_producer (struct world *w)
{
  blkring_producer *p = blkring_producer_attach (w->device, world_options
                                                 (w, 0));

  if (p) {
    problem (w, "there are two producers");
    blkring_producer_free (p);
    return 0;
  }
  return errno == EBUSY ? 0 : -1;
}

/* Of a caller, from and to where a device may not reach; free space. */
static int
run_caller (struct world *w)
{
  static char bytes[SECTOR + 1];

  return blkring_device_write (w->device, bytes + 1, SECTOR, 45 << 10) == -1 ||
    blkring_device_read (w->device, bytes + 1, SECTOR, 45 << 10) == -1 ? -1
    : 0;
}

static int
run_memory_device (struct world *w)
{
  blkring_device *device = blkring_device_memory (DISK_SIZE, SECTOR);

  (void) w;
  blkring_device_close (device);
  return device ? 0 : -1;
}

const struct operation operations[] = {
  { "create", NOT_SERVED, blank, run_create },
  { "create in place of a ring", NOT_SERVED, ring_to_replace, run_replace },
  { "erase", NOT_SERVED, ring_to_replace, run_erase },
  { "attach of the producer", 0, nobody, attach_producer },
  { "attach of the producer behind a dead one", 0, all_killed,
    attach_producer },
  { "attach of the producer, which acknowledges", 0, consumer_is_there,
    attach_producer },
  { "attach of the consumer", 0, nobody, attach_consumer },
  { "attach of the consumer behind a dead one", 0, all_killed,
    attach_consumer },
  { "attach of the consumer beside a producer", 0, producer_is_there,
    attach_consumer },
  { "attach of a second producer", MAY_IGNORE, both, run_second_producer },
  { "push", ON_PRODUCER, both, run_push },
  { "push of many sectors", ON_PRODUCER, both, run_large_push },
  { "push of a batch", ON_PRODUCER, both, run_batch_push },
  { "push around the end", ON_PRODUCER, near_the_end, run_large_push },
  { "push into freed space", ON_PRODUCER, full_and_freed, run_push },
  { "append", ON_PRODUCER, both, run_append },
  { "append of many sectors", ON_PRODUCER, both, run_large_append },
  { "append of a batch", ON_PRODUCER, both, run_batch_append },
  { "append around the end", ON_PRODUCER, near_the_end, run_large_append },
  { "append into freed space", ON_PRODUCER, full_and_freed, run_append },
  { "append behind what is staged", ON_PRODUCER, staged, run_append_behind },
  { "append to a full ring", ON_PRODUCER, full, run_full_append },
  { "append to a ring that is full of little", ON_PRODUCER | FORMAT2,
    full_of_little, run_full_append },
  { "advance", ON_PRODUCER, staged, run_advance },
  { "acknowledgement of a suspend", ON_PRODUCER, suspend_requested,
    run_producer_state },
  { "acknowledgement of a resume", ON_PRODUCER, resume_requested,
    run_producer_state },
  { "append that acknowledges a resume", ON_PRODUCER, resume_requested,
    run_append },
  { "wait of the producer", ON_PRODUCER, suspend_requested,
    run_producer_wait },
  { "debug_info of the producer", ON_PRODUCER, both, run_producer_debug },
  { "detach of the producer", MAY_IGNORE, staged, run_detach_producer },
  { "pop", ON_CONSUMER, both, run_pop },
  { "pop into a buffer", ON_CONSUMER, both, run_pop_copy },
  { "pop behind what was seen", ON_CONSUMER, one_more, run_pop_behind },
  { "pop of an observer", ON_CONSUMER, observer, run_pop },
  { "fold", ON_CONSUMER, both, run_fold },
  { "consumer's advance", ON_CONSUMER, popped, run_consumer_advance },
  { "consumer's advance within a frame", ON_CONSUMER, popped_of_a_batch,
    run_consumer_advance },
  { "suspend", ON_CONSUMER, both, run_suspend },
  { "suspend by an observer", ON_CONSUMER | NOT_SERVED, observer,
    run_suspend },
  { "resume", ON_CONSUMER, suspended, run_resume },
  { "state", ON_CONSUMER, both, run_consumer_state },
  { "wait of the consumer", ON_CONSUMER, both, run_consumer_wait },
  { "wait for an acknowledgement", ON_CONSUMER, suspend_requested,
    run_wait_state },
  { "debug_info of the consumer", ON_CONSUMER, both, run_consumer_debug },
  { "detach of the consumer", MAY_IGNORE, popped, run_detach_consumer },
  { "takeover of the producer", FORMAT2 | NOT_SERVED, others,
    run_take_over_producer },
  { "takeover of the consumer", FORMAT2 | NOT_SERVED, others,
    run_take_over_consumer },
  { "salvage", FORMAT2 | NOT_SERVED, damaged, run_salvage },
  { "inspect", 0, both, run_inspect },
  { "check", 0, staged, run_check },
  { "map", 0, both, run_map },
  { "repair of what is staged", NOT_SERVED, killed_in_staging, run_repair },
  { "repair of damaged copies", FORMAT2 | NOT_SERVED, damaged_copies,
    run_repair },
  { "consumer enable", TWO, two_suspended, run_enable },
  { "consumer disable", TWO, both_enabled, run_disable },
  { "start of a journal", 0, nobody, run_journal_start },
  { "start of a journal behind a dead one", NOT_SERVED, all_killed,
    run_journal_start },
  { "pushes to a journal", 0, journal, run_journal_push },
  { "shutdown of a journal", MAY_IGNORE, journal, run_journal_shutdown },
  { "append to a service that remembers many writes", SERVED | ON_PRODUCER,
    scattered_writes, run_append },
  { "start of a service", SERVED, not_served_yet, run_serve },
  { "start of a service within a frame", SERVED, not_served_within_a_frame,
    run_serve },
  { "connection to a service", SERVED, both, run_connect },
  { "status of a service", SERVED, both, run_status },
  { "zero and trim", SERVED, nobody, run_trim },
  { "unaligned write", SERVED, nobody, run_unaligned },
  { "write and read of a caller", NOT_SERVED, nobody, run_caller },
  { "device in memory", NOT_SERVED, both, run_memory_device },
};
const unsigned nr_operations = sizeof operations / sizeof operations[0];
