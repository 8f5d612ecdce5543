/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the tests of the guard of format 1 have in common: clients that write
 * pointers and items by hand.
 */

#ifndef SERVICE1_FIXTURE_H
#define SERVICE1_FIXTURE_H

#include "lock.h"
#include "service-fixture.h"

#define DATA (3 * S)
#define AREA (13 * S)        /* bytes of the data area */

/* A ring of 16 sectors on a device of single bytes, and two clients. */
struct guarded {
  struct served *v;
  struct service_client *a, *b;
};

static inline struct guarded
start_guard_on (unsigned flags)
{
  const struct record_options o = { .size = 16 * S, .sector_size = 1,
                                    .flags = flags };
  struct guarded g = {
    .v = served_on (record_device_new_ring (&o, 512))
  };

  g.a = join (g.v, "alice");
  g.b = join (g.v, "bob");
  return g;
}

static inline struct guarded
start_guard (void)
{
  return start_guard_on (0);
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
leave (struct service_client **c)
{
  service_disconnect (*c);
  *c = NULL;
}

/* No two of them are the same bytes. */
static inline int
put_pointer (struct service_client *c, unsigned side, uint64_t position,
             int flag)
{
  const struct f1_pointer v = { position, false };
  static unsigned n;
  char queue[20];
  unsigned char sector[S];

  snprintf (queue, sizeof queue, "write %u", ++n);
  f1_encode_pointer (sector, S, side, &v, queue, "c");
  sector[8] = flag;
  return put_bytes (c, (1 + side) * S, sector, S);
}

static inline int
put_producer (struct service_client *c, uint64_t position)
{
  return put_pointer (c, SIDE_PRODUCER, position, 2);
}

static inline int
put_consumer (struct service_client *c, uint64_t position)
{
  return put_pointer (c, SIDE_CONSUMER, position, 2);
}

/* The bytes of one item, and no more. */
static inline int
put_item (struct service_client *c, uint64_t position, uint32_t length)
{
  unsigned char item[AREA];
  const size_t n = f1_item_size (length);

  memset (item, 'x', n);
  put_le32 (item, length);
  assert_true (position % AREA + n <= AREA);
  return put_bytes (c, DATA + position % AREA, item, n);
}

/* Push and advance. */
static inline void
push_item (struct service_client *c, uint64_t position, uint32_t length)
{
  assert_ok (put_item (c, position, length));
  assert_ok (put_producer (c, position + f1_item_size (length)));
}

static inline struct f1_pointer
get_pointer (struct service_client *c, unsigned side)
{
  unsigned char sector[S];
  struct f1_pointer v;

  assert_ok (service_pread (c, sector, S, (1 + side) * S));
  assert_ok (f1_decode_pointer (sector, side, 0, &v));
  return v;
}

#endif /* SERVICE1_FIXTURE_H */
