/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Format 1, the consumer's side.
 *
 * Reading goes through one window of the stream, filled ahead in large
 * requests and never beyond what the producer had exposed before the read
 * began: what is in it cannot change any more.  Items are handed out where
 * they lie in the window.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format1.h"
#include "lock.h"

/* The window grows from one to the other while a popv gets less than half
 * of what it asks for. */
#define WINDOW_SIZE (UINT64_C (256) << 10)
#define LARGEST_WINDOW (UINT64_C (4) << 20)

struct window {
  unsigned char *data;       /* stream positions start … end */
  size_t size;
  uint64_t start, end;       /* 'start' is at a sector's start */
};

struct consumer_state {
  unsigned char *sectors;    /* both pointer sectors */
  bool in_doubt;             /* our position on the device may be this one, */
  uint64_t doubtful;         /* too: the connection was lost over its write */
  bool rewrite;              /* and if it is, it may not be durable */
  struct window window;      /* what pop hands out lies in it */
  uint64_t ahead;            /* bytes to read into it */
};

static void
trace_get (blkring_consumer *c, const struct f1_pointers *v)
{
  const struct handle *h = &c->h;
  blkring_device *d = h->ring.device;

  device_trace (d, BLKRING_TRACE_GET, h->queue, h->client,
                BLKRING_TRACE_PRODUCER, v->producer.position);
  device_trace (d, BLKRING_TRACE_GET, h->queue, h->client,
                BLKRING_TRACE_SUSPEND_ACK, v->producer.flag);
  device_trace (d, BLKRING_TRACE_GET, h->queue, h->client,
                BLKRING_TRACE_CONSUMER, v->consumer.position);
  device_trace (d, BLKRING_TRACE_GET, h->queue, h->client,
                BLKRING_TRACE_SUSPEND, v->consumer.flag);
}

/* Take over what was read.  An observer follows the owner's position; the
 * owner's must be what it wrote. */
static int
adopt (blkring_consumer *c, const struct f1_pointers *v)
{
  struct consumer_state *s = c->format_state;

  trace_get (c, v);
  if (v->consumer.position != c->position) {
    if (!c->observer && !(s->in_doubt &&
                          v->consumer.position == s->doubtful)) {
      set_error (EBUSY, "another consumer has moved the pointer from %" PRIu64
                 " to %" PRIu64, c->position, v->consumer.position);
      return poison (&c->h);
    }
    c->position = v->consumer.position;
  }
  s->in_doubt = false;
  /* A crash may have taken back what was never durable. */
  if (v->producer.position < c->limit)
    s->window.start = s->window.end = 0;
  c->limit = v->producer.position;
  c->limit_durable = min_u64 (c->limit_durable, c->limit);
  if (c->popped > c->limit || c->popped < c->position)
    c->popped = c->position;
  c->suspend = v->consumer.flag;
  c->suspend_ack = v->producer.flag;
  return 0;
}

int
f1_consumer_look (blkring_consumer *c)
{
  struct consumer_state *s = c->format_state;
  struct f1_pointers v;

  if (f1_read_pointers (&c->h.ring, s->sectors, &v) == -1)
    return -1;
  return adopt (c, &v);
}

/* As the producer does when it attaches: a flush of the last owner may have
 * failed.  Read again first, since an observer may change the flag. */
static int
rewrite (blkring_consumer *c)
{
  const struct consumer_state *s = c->format_state;
  const uint32_t size = c->h.ring.sector_size;
  struct blkring_part part;
  int r;

  if (record_lock (c->h.ring.device, SIDE_CONSUMER) == -1)
    return -1;
  r = f1_consumer_look (c);
  if (r == 0) {
    part = write_part (s->sectors + size, size, 2 * size);
    r = handle_submit (&c->h, &part, 1, false);
  }
  record_unlock (c->h.ring.device, SIDE_CONSUMER);
  return r;
}

int
f1_consumer_open (blkring_consumer *c)
{
  const struct ring *ring = &c->h.ring;
  struct consumer_state *s = calloc (1, sizeof *s);
  struct f1_pointers v;

  if (s == NULL)
    return set_errno_error (ENOMEM, "cannot attach");
  c->format_state = s;
  s->ahead = WINDOW_SIZE;
  s->sectors = device_buffer (ring->device, 2 * ring->sector_size);
  if (s->sectors == NULL ||
      f1_read_pointers (ring, s->sectors, &v) == -1)
    return -1;
  c->position = c->popped = v.consumer.position;
  c->limit = v.producer.position;
  if (adopt (c, &v) == -1)
    return -1;
  return c->observer || !c->h.flushes ? 0 : rewrite (c);
}

void
f1_consumer_close (blkring_consumer *c)
{
  struct consumer_state *s = c->format_state;

  if (s == NULL)
    return;
  free (s->sectors);
  free (s->window.data);
  free (s);
  c->format_state = NULL;
}

/*---------------------------------------------------------------------*/

/* Read the window from 'from', at least 'needed' bytes of it, and up to
 * 'ahead'. */
static int
fill_window (blkring_consumer *c, struct window *w, uint64_t from,
             uint64_t needed, uint64_t ahead)
{
  const struct ring *ring = &c->h.ring;
  const uint64_t start = round_down (from, ring->sector_size);
  uint64_t end = from + max_u64 (needed, ahead - ring->sector_size);
  uint64_t size;
  unsigned char *data;

  /* From one sector to the same one, around the ring: one more. */
  end = round_up (min_u64 (end, c->limit), ring->sector_size);
  size = max_u64 (end - start, ahead);
  if (w->size < size) {
    data = device_buffer (ring->device, size);
    if (data == NULL)
      return -1;
    free (w->data);
    w->data = data;
    w->size = size;
  }
  w->start = w->end = 0;
  if (ring_read (ring, w->data, start, end) == -1)
    return -1;
  w->start = start;
  w->end = min_u64 (end, c->limit);
  return 0;
}

static bool
in_window (const struct window *w, uint64_t from, uint64_t length)
{
  return from >= w->start && from < w->end && length <= w->end - from;
}

/* The item at 'from', if the window has the whole of it: 1; 0 if not and
 * *needed says how much it takes; -1. */
static int
item_at (blkring_consumer *c, uint64_t from, struct blkring_item *item,
         uint64_t *needed)
{
  struct consumer_state *s = c->format_state;
  const struct ring *ring = &c->h.ring;
  const unsigned char *p;
  uint32_t length;

  *needed = F1_HEADER;
  if (!in_window (&s->window, from, F1_HEADER))
    return 0;
  p = s->window.data + (from - s->window.start);
  if (f1_decode_length (p, from, c->limit - from, ring, &length) == -1)
    return -1;
  *needed = f1_item_size (length);
  item->length = length;
  item->position = from;
  item->next = from + *needed;
  if (length > c->h.largest_item)
    return set_error (EMSGSIZE, "item at position %" PRIu64 " has %" PRIu32
                      " bytes, more than the largest item of %" PRIu64
                      " that was set at attach", from, length,
                      c->h.largest_item);
  if (!in_window (&s->window, from, *needed))
    return 0;
  item->data = p + F1_HEADER;
  return 1;
}

ssize_t
f1_read (blkring_consumer *c, uint64_t from, struct blkring_item *items,
         size_t max)
{
  struct consumer_state *s = c->format_state;
  uint64_t needed;
  size_t n = 0;
  int r;

  if (from == c->limit && f1_consumer_look (c) == -1)
    return -1;
  while (n < max && from < c->limit) {
    r = item_at (c, from, &items[n], &needed);
    if (r == 0 && n == 0) {
      /* Twice at most: for the header, and for the whole of the item. */
      if (fill_window (c, &s->window, from, needed, s->ahead) == -1)
        return -1;
      continue;
    }
    if (r == -1 && n == 0)
      return -1;
    if (r <= 0)
      break;
    from = items[n++].next;
  }
  if (n > 0 && n < max / 2 && from < c->limit)
    s->ahead = min_u64 (2 * s->ahead, LARGEST_WINDOW);
  if (n == 0)
    return set_error (EAGAIN, "there is nothing to pop at position %" PRIu64,
                      from);
  return n;
}

int
f1_has_item (blkring_consumer *c, uint64_t at)
{
  if (at >= c->limit && f1_consumer_look (c) == -1)
    return -1;
  return at < c->limit;
}

/* Walk from the last known start of an item.  Not through the window
 * where that does not hold it: the caller may still use items in it. */
int
f1_is_boundary (blkring_consumer *c, uint64_t position)
{
  struct consumer_state *s = c->format_state;
  const struct ring *ring = &c->h.ring;
  struct window own = { NULL, 0, 0, 0 }, *w;
  uint64_t at = c->position, ahead;
  uint32_t length;
  int r = 0;

  while (at < position && at < c->limit) {
    w = in_window (&s->window, at, F1_HEADER) ? &s->window : &own;
    ahead = min_u64 (WINDOW_SIZE, round_up (position - at, ring->sector_size)
                     + ring->sector_size);
    if (!in_window (w, at, F1_HEADER) &&
        fill_window (c, w, at, F1_HEADER, ahead) == -1) {
      r = -1;
      break;
    }
    r = f1_decode_length (w->data + (at - w->start), at, c->limit - at, ring,
                          &length);
    if (r == -1)
      break;
    at += f1_item_size (length);
  }
  free (own.data);
  return r == -1 ? -1 : at == position;
}

/*---------------------------------------------------------------------*/

/* The names of the consumer, which an observer leaves as they are.  'sector'
 * has just been read. */
static bool
owner_text (const unsigned char *sector, char *text)
{
  static const char end[] = "; consumer = ";
  char *last = NULL, *p;

  memcpy (text, sector + F1_TEXT_OFFSET, F1_TEXT_LENGTH);
  text[F1_TEXT_LENGTH] = '\0';
  for (p = text; (p = strstr (p, end)) != NULL; ++p)
    last = p;
  if (last == NULL)
    return false;
  *last = '\0';
  return true;
}

/* The only writes of the consumer's sector.  Under the record lock and
 * after a re-read, since an observer may have changed the flag, or the
 * owner the position.  A flush comes first where something that was read
 * (the producer's pointer) may not be durable: rule 3 of
 * docs/durability.md. */
static int
write_pointer (blkring_consumer *c, uint64_t position, bool suspend,
               bool flush)
{
  struct consumer_state *s = c->format_state;
  struct handle *h = &c->h;
  const uint32_t size = h->ring.sector_size;
  const struct f1_pointer v = { position, suspend };
  char text[F1_TEXT_LENGTH + 1];

  if (flush && handle_flush (h) == -1)
    return -1;
  if (c->observer && owner_text (s->sectors + size, text))
    f1_encode_pointer (s->sectors, size, SIDE_CONSUMER, &v, text, NULL);
  else
    f1_encode_pointer (s->sectors, size, SIDE_CONSUMER, &v, h->queue,
                       h->client);
  device_trace (h->ring.device, BLKRING_TRACE_SET, h->queue, h->client,
                BLKRING_TRACE_CONSUMER, position);
  device_trace (h->ring.device, BLKRING_TRACE_SET, h->queue, h->client,
                BLKRING_TRACE_SUSPEND, suspend);
  if (handle_write_durable (h, s->sectors, size, 2 * size) == -1) {
    s->in_doubt = s->rewrite = errno == ESTALE;
    s->doubtful = position;
    return -1;
  }
  s->rewrite = false;
  c->position = position;
  c->suspend = suspend;
  return 0;
}

static int
free_locked (blkring_consumer *c, uint64_t position)
{
  uint64_t limit;

  if (f1_consumer_look (c) == -1)
    return -1;
  limit = c->limit;
  if (position > limit)
    return set_error (EAGAIN, "the producer's position went back to %" PRIu64
                      " before %" PRIu64 " was durable: pop again", limit,
                      position);
  if (write_pointer (c, position, c->suspend,
                     position > c->limit_durable) == -1)
    return -1;
  /* The flush before the write covers all that was read before it. */
  if (position > c->limit_durable)
    c->limit_durable = limit;
  return 0;
}

int
f1_free_to (blkring_consumer *c, uint64_t position)
{
  blkring_device *device = c->h.ring.device;
  int r;

  if (record_lock (device, SIDE_CONSUMER) == -1)
    return -1;
  r = free_locked (c, position);
  record_unlock (device, SIDE_CONSUMER);
  return r;
}

static int
request_locked (blkring_consumer *c, bool suspend)
{
  const struct consumer_state *s = c->format_state;

  if (f1_consumer_look (c) == -1)
    return -1;
  /* Asked for already, by one that may have died before it was durable. */
  if (c->suspend == suspend && !s->rewrite)
    return handle_flush (&c->h);
  if (c->suspend != suspend && c->suspend != c->suspend_ack)
    return set_error (EAGAIN, "the producer has not acknowledged the %s yet",
                      c->suspend ? "suspend" : "resume");
  return write_pointer (c, c->position, suspend, true);
}

int
f1_request (blkring_consumer *c, bool suspend)
{
  blkring_device *device = c->h.ring.device;
  int r;

  if (record_lock (device, SIDE_CONSUMER) == -1)
    return -1;
  r = request_locked (c, suspend);
  record_unlock (device, SIDE_CONSUMER);
  return r;
}
