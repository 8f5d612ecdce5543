/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the tests of the guard of format 2 have in common: clients that make
 * records and frames by hand.
 */

#ifndef SERVICE2_FIXTURE_H
#define SERVICE2_FIXTURE_H

#include "service-fixture.h"

#define B 512                /* bytes of a block */
#define BLOCKS 16
#define AREA (BLOCKS * B)    /* bytes of the data area */
#define LARGEST_FRAME (12 * B)

struct guarded {
  struct served *v;
  struct ring ring;
  struct service_client *a, *b;
  /* Where the next frame of the test goes. */
  uint64_t tail;
  uint32_t chain;
};

static inline struct guarded
start_guard_on (unsigned consumers, unsigned flags)
{
  const uint64_t data = f2_record_offset (F2_CONSUMER + consumers, 0);
  const struct record_options o = { .size = data + AREA + 100,
                                    .sector_size = 1, .flags = flags };
  const struct blkring_create_options create = {
    .flags = BLKRING_CREATE_FORCE, .format = 2, .block_size = B,
    .consumers = consumers, .largest_frame = LARGEST_FRAME,
  };
  struct guarded g = { .v = served_new (record_device_new (&o)) };

  assert_ok (blkring_create (g.v->rd->device, &create));
  g.ring = ring_of (g.v->rd);
  serve (g.v);
  g.a = join (g.v, "alice");
  g.b = join (g.v, "bob");
  return g;
}

static inline struct guarded
start_guard_of (unsigned consumers)
{
  return start_guard_on (consumers, 0);
}

static inline struct guarded
start_guard (void)
{
  return start_guard_of (1);
}

static inline void
stop_guard (struct guarded *g)
{
  service_disconnect (g->a);
  service_disconnect (g->b);
  assert_int_equal (check (g->v->rd).corruptions, 0);
  served_free (g->v);
}

static inline void
restart (struct guarded *g)
{
  service_disconnect (g->a);
  service_disconnect (g->b);
  serve_again (g->v);
  g->a = join (g->v, "alice");
  g->b = join (g->v, "bob");
}

static inline void
leave (struct service_client **c)
{
  service_disconnect (*c);
  *c = NULL;
}

/* A number that the status has of a side: "producer", or "consumers" and
 * which one. */
static inline uint64_t
status_number (struct guarded *g, const char *side, unsigned index,
               const char *key)
{
  struct service_client *c = service_connect (g->v->s, "status", NULL, false);
  const uint64_t size = service_size (c);
  char *text = malloc (size), *p;
  uint64_t value;
  char quoted[40];

  assert_ok (service_pread (c, text, size, 0));
  text[size - 1] = '\0';
  service_disconnect (c);
  snprintf (quoted, sizeof quoted, "\"%s\": ", side);
  p = strstr (text, quoted);
  assert_non_null (p);
  snprintf (quoted, sizeof quoted, "\"index\": %u", index);
  if (strcmp (side, "consumers") == 0)
    p = strstr (p, quoted);
  assert_non_null (p);
  snprintf (quoted, sizeof quoted, "\"%s\": ", key);
  p = strstr (p, quoted);
  assert_non_null (p);
  value = strtoull (p + strlen (quoted), NULL, 10);
  free (text);
  return value;
}

/*---------------------------------------------------------------------*/
/* Records.                                                                */

static inline int
put_copy (struct guarded *g, struct service_client *c, unsigned kind,
          unsigned copy, const struct f2_record *r)
{
  unsigned char content[F2_CONTENT];

  f2_encode_record (content, g->ring.uuid, kind, r);
  return put_bytes (c, f2_record_offset (kind, copy), content,
                    sizeof content);
}

/* To the copy that does not count. */
static inline int
put_record (struct guarded *g, struct service_client *c, unsigned kind,
            const struct f2_record *r)
{
  struct f2_record old;

  return put_copy (g, c, kind, !get_record (g->v->rd, kind, &old), r);
}

/* The record as it is, with the next sequence number. */
static inline struct f2_record
next_record (struct guarded *g, unsigned kind)
{
  struct f2_record r;

  get_record (g->v->rd, kind, &r);
  r.sequence++;
  r.time++;
  return r;
}

/* The record as a new owner writes it first. */
static inline struct f2_record
new_claim (struct guarded *g, unsigned kind)
{
  struct f2_record r = next_record (g, kind);

  r.epoch++;
  r.sequence = 1;
  r.flags &= ~F2_CLEAN;
  if (kind == F2_PRODUCER) {
    r.frame_epoch++;
    r.since = r.position = g->tail;
    r.chain = g->chain;
  }
  return r;
}

static inline int
claim (struct guarded *g, struct service_client *c, unsigned kind)
{
  const struct f2_record r = new_claim (g, kind);

  return put_record (g, c, kind, &r);
}

static inline int
detach (struct guarded *g, struct service_client *c, unsigned kind)
{
  struct f2_record r = next_record (g, kind);

  r.flags |= F2_CLEAN;
  return put_record (g, c, kind, &r);
}

/* The producer says what is exposed. */
static inline int
publish (struct guarded *g, struct service_client *c, uint64_t position,
         uint32_t chain)
{
  struct f2_record r = next_record (g, F2_PRODUCER);

  r.position = position;
  r.chain = chain;
  return put_record (g, c, F2_PRODUCER, &r);
}

static inline int
consume_to (struct guarded *g, struct service_client *c, unsigned k,
            uint64_t frame, uint32_t chain, uint64_t position)
{
  struct f2_record r = next_record (g, F2_CONSUMER + k);

  r.frame = frame;
  r.chain = chain;
  r.position = position;
  return put_record (g, c, F2_CONSUMER + k, &r);
}

static inline int
ask (struct guarded *g, struct service_client *c, bool suspend)
{
  struct f2_record r = next_record (g, F2_CONTROL);

  r.suspend++;
  r.flags = suspend ? F2_SUSPEND : 0;
  return put_record (g, c, F2_CONTROL, &r);
}

static inline int
acknowledge (struct guarded *g, struct service_client *c)
{
  struct f2_record r = next_record (g, F2_PRODUCER), control;

  get_record (g->v->rd, F2_CONTROL, &control);
  r.suspend = control.suspend;
  return put_record (g, c, F2_PRODUCER, &r);
}

/*---------------------------------------------------------------------*/
/* Frames.                                                                 */

struct made {
  unsigned char bytes[2 * AREA];
  struct f2_frame f;
  uint64_t size;             /* in blocks */
};

/* The next frame, of so many items of 'length' bytes. */
static inline void
make_frame (struct guarded *g, struct made *m, uint32_t items,
            uint32_t length, bool exposed)
{
  unsigned char *p = m->bytes + F2_HEADER;
  struct f2_record r;
  uint32_t i;

  get_record (g->v->rd, F2_PRODUCER, &r);
  memset (m, 0, sizeof *m);
  for (i = 0; i < items; ++i) {
    put_le32 (p, length);
    memset (p + 4, 'x', length);
    p += f2_item_size (length);
  }
  m->f = (struct f2_frame) {
    .flags = exposed ? F2_PUBLISHED : 0, .position = g->tail,
    .epoch = r.frame_epoch, .chain = g->chain, .items = items,
    .length = p - m->bytes - F2_HEADER,
  };
  f2_encode_frame (m->bytes, g->ring.uuid, &m->f);
  m->size = f2_frame_size (&g->ring, m->f.length);
}

/* m->f has been changed. */
static inline void
seal (struct guarded *g, struct made *m)
{
  f2_encode_frame (m->bytes, g->ring.uuid, &m->f);
  m->size = f2_frame_size (&g->ring, m->f.length);
}

/* A part of it, which does not cross the end of the data area. */
static inline int
put_part (struct guarded *g, struct service_client *c, const struct made *m,
          size_t from, size_t to)
{
  return put_bytes (c, ring_offset (&g->ring, m->f.position + from),
                    m->bytes + from, to - from);
}

static inline int
put_frame (struct guarded *g, struct service_client *c,
           const struct made *m)
{
  return put_part (g, c, m, 0, m->size);
}

static inline void
pass (struct guarded *g, const struct made *m)
{
  g->tail += m->size;
  g->chain = m->f.crc;
}

/* One frame of so many blocks, with one item. */
static inline void
append_frame (struct guarded *g, struct service_client *c, unsigned blocks)
{
  struct made m;

  make_frame (g, &m, 1, blocks * B - F2_HEADER - 4, true);
  assert_ok (put_frame (g, c, &m));
  pass (g, &m);
}

static inline uint64_t
at (const struct guarded *g, uint64_t position)
{
  return ring_offset (&g->ring, position);
}

/* What a new consumer and a new producer find: so many items. */
static inline void
assert_items (struct guarded *g, uint64_t items)
{
  struct blkring_info info;

  if (blkring_inspect (g->v->rd->device, NULL, &info) == -1)
    fail_msg ("%s", blkring_get_error ());
  assert_int_equal (info.items, items);
}

static inline struct guarded
start_claimed (void)
{
  struct guarded g = start_guard ();

  assert_ok (claim (&g, g.a, F2_PRODUCER));
  return g;
}

/* All consumers are at the tail: everything is free. */
static inline void
consume_all (struct guarded *g, struct service_client *c)
{
  struct f2_record r = next_record (g, F2_CONSUMER);

  if (r.flags & F2_CLEAN)
    assert_ok (claim (g, c, F2_CONSUMER));
  assert_ok (consume_to (g, c, 0, g->tail, g->chain, g->tail));
}

static inline uint64_t
exposed (struct guarded *g)
{
  return status_number (g, "producer", 0, "position");
}

#endif /* SERVICE2_FIXTURE_H */
