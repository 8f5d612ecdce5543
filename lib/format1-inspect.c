/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 1: looking without being attached.  Info, check, map.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format1.h"
#include "lock.h"

#define CHUNK (UINT64_C (256) << 10)
/* How often check looks again before it believes what it saw. */
#define CHECK_TRIES 3

int
f1_read_pointers (const struct ring *ring, unsigned char *sectors,
                  struct f1_pointers *v)
{
  const uint32_t s = ring->sector_size;

  int tries;

  /* A read can race with a write of the other side: what is wrong is looked
   * at again before it is believed. */
  for (tries = 0; tries < CHECK_TRIES; ++tries) {
    if (device_pread (ring->device, sectors, 2 * s, s) == -1)
      return -1;
    if (f1_decode_pointers (sectors, ring, v) == 0)
      return 0;
  }
  return -1;
}

static int
load (const struct ring *ring, struct f1_pointers *v, char *producer_text,
      char *consumer_text)
{
  const uint32_t s = ring->sector_size;
  unsigned char *sectors = device_buffer (ring->device, 2 * s);
  int r;

  if (sectors == NULL)
    return -1;
  r = v ? 0 : device_pread (ring->device, sectors, 2 * s, s);
  if (r == 0 && v)
    r = f1_read_pointers (ring, sectors, v);
  if (r == 0 && producer_text) {
    memcpy (producer_text, sectors + F1_TEXT_OFFSET, F1_TEXT_LENGTH);
    memcpy (consumer_text, sectors + s + F1_TEXT_OFFSET, F1_TEXT_LENGTH);
    producer_text[F1_TEXT_LENGTH] = consumer_text[F1_TEXT_LENGTH] = '\0';
  }
  free (sectors);
  return r;
}

int
f1_texts (const struct ring *ring, unsigned index, char *producer,
          char *consumer)
{
  (void) index;
  return load (ring, NULL, producer, consumer);
}

int
f1_debug (const struct ring *ring, unsigned index, blkring_debug_fn fn,
          void *opaque)
{
  struct f1_pointers v;
  char number[24];

  (void) index;
  if (load (ring, &v, NULL, NULL) == -1)
    return -1;
  snprintf (number, sizeof number, "%" PRIu64, v.producer.position);
  fn (opaque, "producer/offset", number);
  fn (opaque, "producer/suspend_ack", v.producer.flag ? "1" : "2");
  snprintf (number, sizeof number, "%" PRIu64, v.consumer.position);
  fn (opaque, "consumer/offset", number);
  fn (opaque, "consumer/suspend", v.consumer.flag ? "1" : "2");
  fn (opaque, "format", "1");
  snprintf (number, sizeof number, "%" PRIu32, ring->sector_size);
  fn (opaque, "sector-size", number);
  snprintf (number, sizeof number, "%" PRIu64, ring->capacity);
  fn (opaque, "capacity", number);
  return 0;
}

/*---------------------------------------------------------------------*/

/* Walk the headers of the unread items. */
static int
walk (const struct ring *ring, uint64_t from, uint64_t to,
      struct blkring_info *info)
{
  const uint32_t s = ring->sector_size;
  unsigned char *buf = device_buffer (ring->device, CHUNK);
  uint64_t start = 0, end = 0;
  uint32_t length;
  int r = 0;

  if (buf == NULL)
    return -1;
  while (from < to && r == 0) {
    if (from < start || from >= end) {
      start = round_down (from, s);
      end = min_u64 (start + CHUNK, round_up (to, s));
      r = ring_read (ring, buf, start, end);
      if (r == -1)
        break;
    }
    r = f1_decode_length (buf + (from - start), from, to - from, ring,
                          &length);
    if (r == -1)
      break;
    if (info->items == 0 || length < info->smallest_unread)
      info->smallest_unread = length;
    info->largest_unread = max_u64 (info->largest_unread, length);
    info->item_bytes += length;
    info->items++;
    from += f1_item_size (length);
  }
  free (buf);
  return r;
}

static enum blkring_state
state_of (const struct f1_pointers *v)
{
  if (v->consumer.flag)
    return v->producer.flag ? BLKRING_SUSPENDED : BLKRING_SUSPEND_REQUESTED;
  return v->producer.flag ? BLKRING_RESUME_REQUESTED : BLKRING_RUNNING;
}

/* The two flags are in two sectors, and need not be of one moment: a producer
 * that is about to resume, and a consumer that has asked to suspend since,
 * look like a ring that is suspended.  It was, if the producer's flag still
 * says so behind a read of the consumer's. */
static int
confirm_state (const struct ring *ring, const struct f1_pointers *v,
               enum blkring_state *state)
{
  struct f1_pointers again;

  *state = state_of (v);
  if (*state != BLKRING_SUSPENDED)
    return 0;
  if (load (ring, &again, NULL, NULL) == -1)
    return -1;
  if (!again.producer.flag)
    *state = state_of (&again);
  return 0;
}

static int
inspect_once (const struct ring *ring, unsigned flags,
              struct blkring_info *info)
{
  struct f1_pointers v;

  memset (info, 0, sizeof *info);
  if (load (ring, &v, info->producer_text, info->consumer_text) == -1)
    return -1;
  info->format = 1;
  info->sector_size = ring->sector_size;
  info->capacity = ring->capacity;
  info->producer = v.producer.position;
  info->consumer = v.consumer.position;
  info->used = v.producer.position - v.consumer.position;
  info->free = ring->capacity - info->used;
  info->largest_item = ring->largest_item;
  if (confirm_state (ring, &v, &info->state) == -1)
    return -1;
  if (flags & BLKRING_INSPECT_POINTERS)
    return 0;
  return walk (ring, v.consumer.position, v.producer.position, info);
}

/* Beside a running ring what is read may be freed and written anew while
 * it is read.  What is wrong at positions that have not moved is wrong. */
int
f1_inspect (const struct ring *ring, unsigned flags,
            struct blkring_info *info)
{
  struct saved_error error;
  struct f1_pointers v;
  int tries, r;

  for (tries = 0;; ++tries) {
    r = inspect_once (ring, flags, info);
    if (r == 0 || errno != EBADMSG || tries == 100)
      return r;
    save_error (&error);
    if (tries >= CHECK_TRIES && (load (ring, &v, NULL, NULL) == -1 ||
                                 v.consumer.position == info->consumer))
      return restore_error (&error);
  }
}

/*---------------------------------------------------------------------*/

/* What one pass of check found.  More than this there cannot be: one for
 * the signature, two a pointer, one for both, one for the items. */
struct findings {
  unsigned nr;
  uint64_t offset[8];
  char *message[8];
};

/* Keep the error that is set; 1. */
static bool
add_finding (struct findings *f)
{
  f->offset[f->nr] = error_offset ();
  f->message[f->nr++] = strdup (blkring_get_error ());
  /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): for free_findings */
  return true;
}

static void
free_findings (struct findings *f)
{
  while (f->nr > 0)
    free (f->message[--f->nr]);
}

static void
check_signature (const unsigned char *sector, uint32_t s, struct findings *f)
{
  uint32_t i;

  for (i = F1_MAGIC_LENGTH; i < s && sector[i] == 0; ++i)
    ;
  if (i == s)
    return;
  set_corrupt (i, "the signature's sector has a byte other than zero behind "
               "the signature, at byte %" PRIu32, i);
  add_finding (f);
}

/* One pass: everything that can be looked at, whatever else is wrong. */
static int
check_once (const struct ring *ring, unsigned char *head, struct findings *f,
            struct f1_pointers *v)
{
  const uint32_t s = ring->sector_size;
  unsigned char *producer = head + s, *consumer = head + 2 * s;
  struct blkring_info info = { 0 };
  bool lost = false;

  if (device_pread (ring->device, head, 3 * s, 0) == -1)
    return -1;
  check_signature (head, s, f);
  if (f1_decode_position (producer, SIDE_PRODUCER, s, &v->producer) == -1)
    lost = add_finding (f);
  if (f1_decode_flag (producer, SIDE_PRODUCER, s, &v->producer) == -1)
    add_finding (f);
  if (f1_decode_position (consumer, SIDE_CONSUMER, 2 * s, &v->consumer)
      == -1)
    lost = add_finding (f);
  if (f1_decode_flag (consumer, SIDE_CONSUMER, 2 * s, &v->consumer) == -1)
    add_finding (f);
  if (!lost && f1_check_positions (ring, v) == -1)
    lost = add_finding (f);
  if (!lost && walk (ring, v->consumer.position, v->producer.position, &info)
      == -1) {
    if (errno != EBADMSG)
      return -1;
    add_finding (f);
  }
  return 0;
}

/* Beside a running ring only what stays is believed: what is found again
 * while the consumer has not moved. */
int
f1_check (const struct ring *ring, blkring_finding_fn fn, void *opaque)
{
  unsigned char *head = device_buffer (ring->device, 3 * ring->sector_size);
  uint64_t last = UINT64_MAX;
  struct findings f = { 0 };
  struct f1_pointers v;
  unsigned i, same = 0, tries;
  int r = head ? 0 : -1;

  for (tries = 0; r == 0 && same < CHECK_TRIES && tries < 100; ++tries) {
    free_findings (&f);
    r = check_once (ring, head, &f, &v);
    if (r == -1 || f.nr == 0)
      break;
    same = v.consumer.position == last ? same + 1 : 1;
    last = v.consumer.position;
  }
  free (head);
  if (r == 0 && f.nr > 0 && same < CHECK_TRIES)
    r = set_error (EAGAIN, "the ring changes faster than it can be checked");
  for (i = 0; r == 0 && i < f.nr; ++i) {
    struct blkring_finding finding = {
      .offset = f.offset[i],
      .message = f.message[i] ? f.message[i] : "out of memory",
    };

    fn (opaque, &finding);
  }
  r = r == -1 ? -1 : (int) f.nr;
  free_findings (&f);
  /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it has them all */
  return r;
}

/*---------------------------------------------------------------------*/

static int
write_producer (const struct ring *ring, unsigned char *sectors,
                const struct f1_pointer *v)
{
  const uint32_t s = ring->sector_size;

  f1_encode_pointer (sectors, s, SIDE_PRODUCER, v, "repair", "blkring");
  /* Rule 3: the consumer's position becomes the producer's. */
  if (device_flush (ring->device) == -1)
    return -1;
  return device_pwrite_durable (ring->device, sectors, s, s);
}

/* A writer that lost what it had acknowledged can leave the producer's
 * position behind the consumer's.  The items between are consumed. */
int
f1_repair (const struct ring *ring, enum blkring_repair what,
           blkring_finding_fn fn, void *opaque)
{
  const uint32_t s = ring->sector_size;
  unsigned char *sectors;
  struct f1_pointers v;
  struct blkring_finding finding = { .offset = s };
  char message[128];
  int r = 0;

  if (what != BLKRING_REPAIR_ALL)
    return 0;
  sectors = device_buffer (ring->device, 2 * s);
  if (sectors == NULL)
    return -1;
  if (device_pread (ring->device, sectors, 2 * s, s) == -1)
    r = -1;
  else if (f1_decode_pointer (sectors, SIDE_PRODUCER, s, &v.producer) == 0 &&
           f1_decode_pointer (sectors + s, SIDE_CONSUMER, 2 * s, &v.consumer)
           == 0 && v.consumer.position > v.producer.position) {
    snprintf (message, sizeof message, "set the producer's position from %"
              PRIu64 " to the consumer's, which is %" PRIu64,
              v.producer.position, v.consumer.position);
    finding.message = message;
    v.producer.position = v.consumer.position;
    r = write_producer (ring, sectors, &v.producer);
    if (r == 0) {
      fn (opaque, &finding);
      r = 1;
    }
  }
  free (sectors);
  return r;
}

/*---------------------------------------------------------------------*/

/* The data area from 'from' on, of 'length' bytes: one region or two. */
static unsigned
add_regions (const struct ring *ring, struct blkring_region *r, uint64_t from,
             uint64_t length, enum blkring_region_kind kind)
{
  uint64_t offset = ring_offset (ring, from);
  uint64_t end = ring->data_offset + ring->capacity;
  uint64_t first = min_u64 (length, end - offset);
  unsigned n = 0;

  if (first > 0)
    r[n++] = (struct blkring_region) { offset, first, kind, false };
  if (length > first)
    r[n++] = (struct blkring_region) { ring->data_offset, length - first,
                                       kind, true };
  return n;
}

static int
by_offset (const void *a, const void *b)
{
  const struct blkring_region *x = a, *y = b;

  return (x->offset > y->offset) - (x->offset < y->offset);
}

int
f1_map (const struct ring *ring, blkring_map_fn fn, void *opaque)
{
  const uint32_t s = ring->sector_size;
  struct blkring_region regions[8] = {
    { 0, s, BLKRING_REGION_SIGNATURE, false },
    { s, s, BLKRING_REGION_PRODUCER, false },
    { 2 * (uint64_t) s, s, BLKRING_REGION_CONSUMER, false },
  };
  struct f1_pointers v;
  uint64_t used;
  unsigned n = 3, i;
  int r;

  if (load (ring, &v, NULL, NULL) == -1)
    return -1;
  used = v.producer.position - v.consumer.position;
  n += add_regions (ring, regions + n, v.consumer.position, used,
                    BLKRING_REGION_UNREAD);
  n += add_regions (ring, regions + n, v.producer.position,
                    ring->capacity - used, BLKRING_REGION_FREE);
  qsort (regions, n, sizeof regions[0], by_offset);
  for (i = 0; i < n; ++i) {
    r = fn (opaque, &regions[i]);
    if (r != 0)
      return r;
  }
  return 0;
}
