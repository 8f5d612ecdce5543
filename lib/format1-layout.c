/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Encode and decode what format 1 has on disk (format1.h has the table).
 * Nothing here does I/O.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "error.h"
#include "format1.h"
#include "lock.h"

enum { FLAG_TRUE = 1, FLAG_FALSE = 2 };

void
f1_encode_signature (unsigned char *sector, uint32_t sector_size)
{
  memset (sector, 0, sector_size);
  memcpy (sector, F1_MAGIC, F1_MAGIC_LENGTH);
}

bool
f1_is_signature (const unsigned char *sector)
{
  return memcmp (sector, F1_MAGIC, F1_MAGIC_LENGTH) == 0;
}

/* The text of a pointer sector.  Written with each pointer, so that printf
 * would cost more than the system call that it goes with. */
struct text {
  unsigned char *at, *end;
};

static void
add_string (struct text *t, const char *string)
{
  const size_t n = strnlen (string, t->end - t->at);

  memcpy (t->at, string, n);
  t->at += n;
}

static void
add_number (struct text *t, uint64_t v)
{
  char digits[21];
  char *p = digits + sizeof digits - 1;

  *p = '\0';
  do
    *--p = '0' + v % 10;
  while ((v /= 10) > 0);
  add_string (t, p);
}

/* queue == NULL: no text, as a new ring has it; client == NULL: 'queue' is
 * all of the text that comes before the position. */
void
f1_encode_pointer (unsigned char *sector, uint32_t sector_size,
                   unsigned side, const struct f1_pointer *v,
                   const char *queue, const char *client)
{
  struct text t = { sector + F1_TEXT_OFFSET,
                    sector + F1_TEXT_OFFSET + F1_TEXT_LENGTH };

  memset (sector, 0, sector_size);
  put_le64 (sector, v->position);
  sector[8] = v->flag ? FLAG_TRUE : FLAG_FALSE;
  if (queue == NULL)
    return;
  add_string (&t, queue);
  if (client) {
    add_string (&t, " used by ");
    add_string (&t, client);
  }
  add_string (&t, side == SIDE_PRODUCER ? "; producer = " : "; consumer = ");
  add_number (&t, v->position);
  add_string (&t, side == SIDE_PRODUCER ? "; suspend_ack = "
              : "; suspend = ");
  add_string (&t, v->flag ? "true" : "false");
}

static const char *
side_name (unsigned side)
{
  return side == SIDE_PRODUCER ? "producer" : "consumer";
}

int
f1_decode_position (const unsigned char *sector, unsigned side,
                    uint64_t offset, struct f1_pointer *v)
{
  const char *who = side_name (side);

  v->position = get_le64 (sector);
  if (v->position % 4 != 0)
    return set_corrupt (offset, "%s position %" PRIu64 " at byte %" PRIu64
                        " is not a multiple of 4", who, v->position, offset);
  if (v->position > INT64_MAX)
    return set_corrupt (offset, "%s position %" PRIu64 " at byte %" PRIu64
                        " is beyond 2^63", who, v->position, offset);
  return 0;
}

int
f1_decode_flag (const unsigned char *sector, unsigned side, uint64_t offset,
                struct f1_pointer *v)
{
  if (sector[8] != FLAG_TRUE && sector[8] != FLAG_FALSE)
    return set_corrupt (offset + 8, "%s's suspend flag at byte %" PRIu64
                        " is %u, neither 1 nor 2", side_name (side), offset + 8,
                        sector[8]);
  v->flag = sector[8] == FLAG_TRUE;
  return 0;
}

int
f1_decode_pointer (const unsigned char *sector, unsigned side,
                   uint64_t offset, struct f1_pointer *v)
{
  if (f1_decode_position (sector, side, offset, v) == -1)
    return -1;
  return f1_decode_flag (sector, side, offset, v);
}

int
f1_decode_pointers (const unsigned char *sectors, const struct ring *ring,
                    struct f1_pointers *v)
{
  const uint32_t s = ring->sector_size;

  if (f1_decode_pointer (sectors, SIDE_PRODUCER, s, &v->producer) == -1 ||
      f1_decode_pointer (sectors + s, SIDE_CONSUMER, 2 * s,
                         &v->consumer) == -1)
    return -1;
  return f1_check_positions (ring, v);
}

int
f1_check_positions (const struct ring *ring, const struct f1_pointers *v)
{
  const uint32_t s = ring->sector_size;

  if (v->consumer.position > v->producer.position)
    return set_corrupt (2 * s, "consumer position %" PRIu64 " at byte %"
                        PRIu32 " is ahead of the producer's %" PRIu64,
                        v->consumer.position, 2 * s, v->producer.position);
  if (v->producer.position - v->consumer.position > ring->capacity)
    return set_corrupt (s, "positions %" PRIu64 " (producer, byte %" PRIu32
                        ") and %" PRIu64 " (consumer, byte %" PRIu32 ") are "
                        "further apart than the data area of %" PRIu64
                        " bytes", v->producer.position, s,
                        v->consumer.position, 2 * s, ring->capacity);
  if (v->producer.position > INT64_MAX - ring->capacity)
    return set_corrupt (s, "producer position %" PRIu64 " at byte %" PRIu32
                        " leaves no room before 2^63", v->producer.position,
                        s);
  return 0;
}

uint64_t
f1_item_size (uint64_t length)
{
  return round_up (F1_HEADER + length, 4);
}

int
f1_decode_length (const unsigned char *p, uint64_t position, uint64_t unread,
                  const struct ring *ring, uint32_t *length)
{
  *length = get_le32 (p);
  if (*length > F1_LARGEST_LENGTH || f1_item_size (*length) > unread)
    return set_corrupt (ring_offset (ring, position), "item at position %"
                        PRIu64 " (byte %" PRIu64 ") has length %" PRIu32
                        ", but only %" PRIu64 " bytes are unread there",
                        position, ring_offset (ring, position), *length,
                        unread);
  return 0;
}
