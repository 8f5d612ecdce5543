/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The guard of format 2, the data area: frames that are not the next one,
 * frames in parts, what is unread or staged, and free space.
 */

#include <config.h>

#include "service2-fixture.h"

static uint64_t
at (const struct guarded *g, uint64_t position)
{
  return ring_offset (&g->ring, position);
}

/* What a new consumer and a new producer find: so many items. */
static void
assert_items (struct guarded *g, uint64_t items)
{
  struct blkring_info info;

  if (blkring_inspect (g->v->rd->device, NULL, &info) == -1)
    fail_msg ("%s", blkring_get_error ());
  assert_int_equal (info.items, items);
}

static struct guarded
start_claimed (void)
{
  struct guarded g = start_guard ();

  assert_ok (claim (&g, g.a, F2_PRODUCER));
  return g;
}

/* All consumers are at the tail: everything is free. */
static void
consume_all (struct guarded *g, struct service_client *c)
{
  struct f2_record r = next_record (g, F2_CONSUMER);

  if (r.flags & F2_CLEAN)
    assert_ok (claim (g, c, F2_CONSUMER));
  assert_ok (consume_to (g, c, 0, g->tail, g->chain, g->tail));
}

static void
a_frame_is_the_next_one (void **state)
{
  struct guarded g = start_guard ();
  struct made m;

  (void) state;
  /* Nobody has claimed the record. */
  make_frame (&g, &m, 1, 10, true);
  assert_refused (g.v, EINVAL, put_frame (&g, g.a, &m));
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  append_frame (&g, g.a, 2);

#define REFUSED(change) \
  do { \
    make_frame (&g, &m, 3, 10, true); \
    change; \
    assert_refused (g.v, EINVAL, put_bytes (g.a, at (&g, g.tail), m.bytes, \
                                            m.size)); \
  } while (0)
#define REFUSED_HEADER(change) REFUSED ((change, seal (&g, &m)))

  REFUSED_HEADER (m.f.epoch++);
  REFUSED_HEADER (m.f.epoch--);
  REFUSED_HEADER (m.f.chain ^= 1);
  REFUSED_HEADER (m.f.position += B);
  REFUSED_HEADER (m.f.position -= B);
  REFUSED_HEADER (m.f.position += AREA);
  REFUSED_HEADER (m.f.flags = 2);
  REFUSED_HEADER (m.f.flags = F2_PUBLISHED | 4);
  /* Not all of one connection's refusals are logged. */
  leave (&g.a);
  g.a = join (g.v, "alice");
  REFUSED_HEADER (m.f.items = 0);
  REFUSED_HEADER (m.f.items = 2);
  REFUSED_HEADER (m.f.items = 4);
  REFUSED_HEADER (m.f.length += 4);
  REFUSED_HEADER (m.f.length -= 4);
  REFUSED_HEADER (m.f.length -= 2);
  REFUSED (m.bytes[F2_HEADER + 5] ^= 1);
  /* An item that goes beyond the frame. */
  REFUSED_HEADER (put_le32 (m.bytes + F2_HEADER + 32, 13));
  make_frame (&g, &m, 3, 10, true);
  assert_ok (put_frame (&g, g.a, &m));
  /* Once more, as after a lost connection. */
  assert_ok (put_frame (&g, g.a, &m));
  pass (&g, &m);
  assert_items (&g, 4);
  assert_refused (g.v, EPERM, (make_frame (&g, &m, 1, 1, true),
                               put_frame (&g, g.b, &m)));
  stop_guard (&g);
}

static void
a_frame_fits_free_space (void **state)
{
  struct guarded g = start_claimed ();
  struct made m;

  (void) state;
  /* The largest frame. */
  make_frame (&g, &m, 1, LARGEST_FRAME + B - F2_HEADER - 4, true);
  assert_refused (g.v, EINVAL, put_frame (&g, g.a, &m));
  append_frame (&g, g.a, LARGEST_FRAME / B);
  make_frame (&g, &m, 1, 5 * B - F2_HEADER - 4, true);
  assert_refused (g.v, EINVAL, put_part (&g, g.a, &m, 0, 4 * B));
  append_frame (&g, g.a, 4);
  make_frame (&g, &m, 1, 1, true);
  assert_refused (g.v, EINVAL, put_frame (&g, g.a, &m));
  assert_ok (claim (&g, g.b, F2_CONSUMER));
  consume_all (&g, g.b);
  append_frame (&g, g.a, 8);
  append_frame (&g, g.a, 8);
  stop_guard (&g);
}

/* It would look like one that came after a damaged one. */
static void
no_frame_behind_the_tail (void **state)
{
  struct guarded g = start_claimed ();
  struct made m, page;
  struct f2_record r;
  unsigned half;

  (void) state;
  g.tail += B;
  make_frame (&g, &m, 1, 10, true);
  g.tail -= B;
  assert_refused (g.v, EINVAL, put_frame (&g, g.a, &m));
  /* Within a request that begins elsewhere; its header alone. */
  memset (&page, 0, sizeof page);
  memcpy (page.bytes + B, m.bytes, m.size);
  assert_refused (g.v, EINVAL, put_bytes (g.a, at (&g, 0), page.bytes, 4 * B));
  assert_refused (g.v, EINVAL, put_part (&g, g.a, &m, 0, F2_HEADER));
  /* In two halves, also when the first has been trimmed, and from another
   * connection. */
  for (half = 0; half < 2; ++half) {
    assert_ok (put_part (&g, g.a, &m, half ? 0 : 30, half ? 30 : 64));
    assert_refused (g.v, EINVAL, put_part (&g, g.a, &m, half ? 30 : 0,
                                           half ? 64 : 30));
    assert_ok (service_trim (g.a, B, at (&g, B), 0));
    assert_refused (g.v, EINVAL, put_part (&g, g.a, &m, half ? 30 : 0,
                                           half ? 64 : 30));
    assert_ok (service_zero (g.a, B, at (&g, B), 0));
  }
  /* Of an epoch to come; one of the past nobody takes for one. */
  m.f.epoch++;
  seal (&g, &m);
  assert_refused (g.v, EINVAL, put_frame (&g, g.a, &m));
  get_record (g.v->rd, F2_PRODUCER, &r);
  m.f.epoch = r.frame_epoch - 1;
  seal (&g, &m);
  assert_ok (put_frame (&g, g.a, &m));
  /* As an item of a frame that is whole it is only bytes … */
  g.tail += B;
  make_frame (&g, &page, 1, 10, true);
  g.tail -= B;
  make_frame (&g, &m, 1, 3 * B - F2_HEADER - 4, true);
  memcpy (m.bytes + B, page.bytes, B);
  seal (&g, &m);
  assert_ok (put_frame (&g, g.a, &m));
  pass (&g, &m);
  assert_items (&g, 1);
  stop_guard (&g);

  /* … but not where the frame may never become whole. */
  g = start_claimed ();
  g.tail += B;
  make_frame (&g, &page, 1, 10, true);
  g.tail -= B;
  make_frame (&g, &m, 1, 3 * B - F2_HEADER - 4, true);
  memcpy (m.bytes + B, page.bytes, B);
  seal (&g, &m);
  assert_refused (g.v, EINVAL, put_part (&g, g.a, &m, 0, 2 * B));
  stop_guard (&g);
}

static void
nothing_is_exposed_behind_what_is_staged (void **state)
{
  struct guarded g = start_claimed ();
  struct made m;

  (void) state;
  make_frame (&g, &m, 2, 10, false);
  assert_ok (put_frame (&g, g.a, &m));
  pass (&g, &m);
  make_frame (&g, &m, 2, 10, true);
  assert_refused (g.v, EINVAL, put_frame (&g, g.a, &m));
  make_frame (&g, &m, 2, 10, false);
  assert_ok (put_frame (&g, g.a, &m));
  pass (&g, &m);
  assert_items (&g, 0);
  assert_ok (publish (&g, g.a, g.tail, g.chain));
  assert_items (&g, 4);
  append_frame (&g, g.a, 1);
  stop_guard (&g);
}

static void
all_that_was_answered_before_a_frame_is_durable (void **state)
{
  struct guarded g = start_guard_on (1, BLKRING_DEVICE_FUA);

  (void) state;
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  assert_ok (put_byte (g.a, at (&g, 10 * B), 'd', 10));
  assert_int_equal (g.v->rd->durable[at (&g, 10 * B)], 0);
  append_frame (&g, g.a, 1);
  assert_int_equal (g.v->rd->durable[at (&g, 10 * B)], 'd');
  assert_int_equal (g.v->rd->durable[at (&g, 0)], 'B');
  stop_guard (&g);
}

/* A page of several blocks, with a frame in each, the rest of it zero. */
static void
several_frames_in_one_request (void **state)
{
  struct guarded g = start_claimed ();
  unsigned char page[8 * B] = { 0 };
  struct made m;
  unsigned i;

  (void) state;
  for (i = 0; i < 3; ++i) {
    make_frame (&g, &m, 1 + i, 10, true);
    memcpy (page + g.tail, m.bytes, m.size);
    pass (&g, &m);
  }
  page[2 * B + 70] ^= 1;
  assert_refused (g.v, EINVAL, put_bytes (g.a, at (&g, 0), page, sizeof page));
  page[2 * B + 70] ^= 1;
  assert_ok (put_bytes (g.a, at (&g, 0), page, sizeof page));
  assert_items (&g, 6);
  /* The page again, with one frame more. */
  make_frame (&g, &m, 1, 10, true);
  memcpy (page + g.tail, m.bytes, m.size);
  pass (&g, &m);
  assert_ok (put_bytes (g.a, at (&g, 0), page, sizeof page));
  assert_items (&g, 7);
  append_frame (&g, g.a, 1);
  stop_guard (&g);
}

/*---------------------------------------------------------------------*/
/* In parts.                                                               */

static uint64_t
exposed (struct guarded *g)
{
  return status_number (g, "producer", 0, "position");
}

static void
frames_in_parts (void **state)
{
  /* Where a frame of 3000 bytes is cut, and the order of the parts. */
  static const struct { unsigned n, cut[5], order[4]; } cases[] = {
    { 2, { 0, 1024, 3072 }, { 0, 1 } },
    { 2, { 0, 1024, 3072 }, { 1, 0 } },
    { 2, { 0, 30, 3072 }, { 0, 1 } },
    { 2, { 0, 30, 3072 }, { 1, 0 } },
    { 3, { 0, 64, 2000, 3072 }, { 2, 0, 1 } },
    { 3, { 0, 1, 2, 3072 }, { 1, 2, 0 } },
    { 4, { 0, 512, 1024, 1536, 3072 }, { 3, 1, 2, 0 } },
    { 4, { 0, 512, 1024, 1536, 3072 }, { 0, 2, 1, 3 } },
    { 2, { 0, 3060, 3072 }, { 0, 1 } },
  };
  struct guarded g = start_claimed ();
  struct made m;
  unsigned i, k, part;

  (void) state;
  assert_ok (claim (&g, g.b, F2_CONSUMER));
  for (i = 0; i < LENGTH (cases); ++i) {
    make_frame (&g, &m, 2, 1490, i % 2);
    for (k = 0; k < cases[i].n; ++k) {
      assert_int_equal (exposed (&g), g.tail);
      part = cases[i].order[k];
      /* Across the end of the data area: two requests. */
      if (at (&g, g.tail + cases[i].cut[part]) / B <=
          at (&g, g.tail + cases[i].cut[part + 1] - 1) / B)
        assert_ok (put_part (&g, g.a, &m, cases[i].cut[part],
                             cases[i].cut[part + 1]));
      else {
        const unsigned end = AREA - g.tail % AREA;

        assert_ok (put_part (&g, g.a, &m, end, cases[i].cut[part + 1]));
        assert_ok (put_part (&g, g.a, &m, cases[i].cut[part], end));
      }
    }
    pass (&g, &m);
    if (i % 2 == 0)
      assert_ok (publish (&g, g.a, g.tail, g.chain));
    assert_int_equal (exposed (&g), g.tail);
    assert_items (&g, 2);
    for (k = 0; k < F2_HEADER + m.f.length; k += 4)
      assert_memory_equal (g.v->rd->durable + at (&g, m.f.position + k),
                           m.bytes + k, 4);
    consume_all (&g, g.b);
  }
  stop_guard (&g);
}

/* What is wrong in parts is no frame, and can be written over. */
static void
parts_that_make_no_frame (void **state)
{
  struct guarded g = start_claimed ();
  struct made m;

  (void) state;
  make_frame (&g, &m, 1, 2000, true);
  m.bytes[1500] ^= 1;
  assert_ok (put_part (&g, g.a, &m, 0, 1024));
  assert_ok (put_part (&g, g.a, &m, 1024, m.size));
  assert_int_equal (exposed (&g), 0);
  m.bytes[1500] ^= 1;
  assert_ok (put_part (&g, g.a, &m, 1024, m.size));
  pass (&g, &m);
  assert_int_equal (exposed (&g), g.tail);
  /* Items that are none. */
  make_frame (&g, &m, 2, 900, true);
  put_le32 (m.bytes + F2_HEADER, 901);
  seal (&g, &m);
  assert_ok (put_part (&g, g.a, &m, 1024, m.size));
  assert_ok (put_part (&g, g.a, &m, 0, 1024));
  assert_int_equal (exposed (&g), g.tail);
  /* Not as many as the header says. */
  make_frame (&g, &m, 2, 900, true);
  m.f.items = 3;
  seal (&g, &m);
  assert_ok (put_part (&g, g.a, &m, 1024, m.size));
  assert_ok (put_part (&g, g.a, &m, 0, 1024));
  assert_int_equal (exposed (&g), g.tail);
  /* Of an epoch that was over before it was whole. */
  assert_ok (service_trim (g.a, 4 * B, at (&g, g.tail), 0));
  make_frame (&g, &m, 2, 900, true);
  assert_ok (put_part (&g, g.a, &m, 0, 1024));
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  assert_ok (put_part (&g, g.a, &m, 1024, m.size));
  assert_int_equal (exposed (&g), g.tail);
  assert_ok (service_trim (g.a, 4 * B, at (&g, g.tail), 0));
  make_frame (&g, &m, 2, 900, true);
  assert_ok (put_part (&g, g.a, &m, 1024, m.size));
  assert_ok (detach (&g, g.a, F2_PRODUCER));
  assert_refused (g.v, EINVAL, put_part (&g, g.a, &m, 0, 1024));
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  /* Of the wrong chain: the header is refused, whenever it comes. */
  make_frame (&g, &m, 1, 2000, true);
  m.f.chain ^= 1;
  seal (&g, &m);
  assert_ok (put_part (&g, g.a, &m, 1024, m.size));
  assert_refused (g.v, EINVAL, put_part (&g, g.a, &m, 0, 1024));
  append_frame (&g, g.a, 4);
  stop_guard (&g);
}

/* Half of it from one connection, half from another: whoever completes it
 * owns the side. */
static void
parts_from_two_connections (void **state)
{
  struct guarded g = start_claimed ();
  struct made m;

  (void) state;
  restart (&g);
  make_frame (&g, &m, 1, 2000, true);
  assert_ok (put_part (&g, g.a, &m, 0, 1024));
  assert_ok (put_part (&g, g.b, &m, 1024, m.size));
  pass (&g, &m);
  assert_int_equal (exposed (&g), g.tail);
  make_frame (&g, &m, 1, 2000, true);
  assert_refused (g.v, EPERM, put_part (&g, g.a, &m, 0, 1024));
  append_frame (&g, g.b, 1);
  stop_guard (&g);
}

/*---------------------------------------------------------------------*/

static void
what_is_unread_stays (void **state)
{
  struct guarded g = start_claimed ();
  unsigned char old[AREA];

  (void) state;
  append_frame (&g, g.a, 2);
  append_frame (&g, g.a, 2);
  assert_refused (g.v, EINVAL, put_byte (g.a, at (&g, 0), 0, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, at (&g, 4 * B - 1), 1, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, at (&g, 4 * B - 1), 1, 2));
  assert_refused (g.v, EINVAL, service_zero (g.a, AREA, at (&g, 0), 0));
  assert_refused (g.v, EINVAL, service_trim (g.a, 2, at (&g, 4 * B - 1), 0));
  assert_ok (put_byte (g.a, at (&g, 4 * B), 1, AREA - 4 * B));
  assert_ok (service_zero (g.a, AREA - 4 * B, at (&g, 4 * B), 0));
  assert_ok (service_pread (g.b, old, AREA, at (&g, 0)));
  assert_ok (put_bytes (g.a, at (&g, 0), old, AREA));
  assert_ok (put_bytes (g.b, at (&g, 0), old, AREA));
  /* A frame, of which a consumer has left a part, too. */
  assert_ok (claim (&g, g.b, F2_CONSUMER));
  assert_ok (consume_to (&g, g.b, 0, 2 * B, get_le32 (old + 60), 2 * B));
  assert_refused (g.v, EINVAL, put_byte (g.a, at (&g, 2 * B), 1, 1));
  assert_ok (put_byte (g.a, at (&g, 0), 1, 2 * B));
  stop_guard (&g);
}

static void
what_is_staged_stays (void **state)
{
  struct guarded g = start_claimed ();
  struct made m;

  (void) state;
  append_frame (&g, g.a, 1);
  make_frame (&g, &m, 2, 600, false);
  assert_ok (put_frame (&g, g.a, &m));
  assert_refused (g.v, EINVAL, service_zero (g.a, B, at (&g, B), 0));
  assert_message ("stopped");
  assert_refused (g.v, EINVAL, put_byte (g.a, at (&g, 4 * B - 1), 1, 1));
  assert_refused (g.v, EINVAL, service_trim (g.a, 1, at (&g, B), 0));
  assert_reads (g.b, at (&g, B + F2_HEADER + 4), 'x', 100);
  /* Also after the server was started anew … */
  restart (&g);
  assert_refused (g.v, EINVAL, service_zero (g.a, B, at (&g, B), 0));
  assert_reads (g.b, at (&g, B + F2_HEADER + 4), 'x', 100);
  pass (&g, &m);
  assert_ok (publish (&g, g.a, g.tail, g.chain));
  assert_items (&g, 3);
  /* … until its producer leaves, or another one comes. */
  make_frame (&g, &m, 2, 600, false);
  assert_ok (put_frame (&g, g.a, &m));
  assert_ok (detach (&g, g.a, F2_PRODUCER));
  assert_reads (g.b, at (&g, g.tail), 0, AREA - g.tail);
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  append_frame (&g, g.a, 1);
  make_frame (&g, &m, 2, 600, false);
  assert_ok (put_frame (&g, g.a, &m));
  leave (&g.a);
  assert_refused (g.v, EINVAL, put_byte (g.b, at (&g, g.tail), 1, 1));
  assert_ok (claim (&g, g.b, F2_PRODUCER));
  assert_reads (g.b, at (&g, g.tail), 0, AREA - g.tail);
  append_frame (&g, g.b, 1);
  g.a = join (g.v, "alice");
  stop_guard (&g);
}

/* Staged by a producer that was replaced before the server was started
 * anew. */
static void
what_was_dropped_does_not_come_back (void **state)
{
  struct guarded g = start_claimed ();
  struct made m;

  (void) state;
  make_frame (&g, &m, 2, 600, false);
  assert_ok (put_frame (&g, g.a, &m));
  restart (&g);
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  restart (&g);
  append_frame (&g, g.a, 1);
  assert_items (&g, 1);
  stop_guard (&g);

  g = start_claimed ();
  make_frame (&g, &m, 2, 600, false);
  assert_ok (put_frame (&g, g.a, &m));
  assert_ok (detach (&g, g.a, F2_PRODUCER));
  restart (&g);
  assert_reads (g.a, at (&g, 0), 0, AREA);
  stop_guard (&g);
}

static void
a_suspended_producer_writes_no_frames (void **state)
{
  struct guarded g = start_claimed ();
  struct made m, part;

  (void) state;
  append_frame (&g, g.a, 1);
  make_frame (&g, &part, 1, 2000, true);
  assert_ok (put_part (&g, g.a, &part, 0, 1024));
  assert_ok (ask (&g, g.b, true));
  assert_ok (acknowledge (&g, g.a));
  make_frame (&g, &m, 1, 100, true);
  assert_refused (g.v, EINVAL, put_frame (&g, g.a, &m));
  assert_message ("suspended");
  assert_refused (g.v, EINVAL, put_part (&g, g.a, &part, 1024, part.size));
  assert_ok (ask (&g, g.b, false));
  assert_ok (acknowledge (&g, g.a));
  assert_ok (put_part (&g, g.a, &part, 1024, part.size));
  pass (&g, &part);
  assert_items (&g, 2);
  stop_guard (&g);
}

static void
a_producer_that_was_silent_writes_no_frames (void **state)
{
  struct guarded g = start_claimed ();
  struct made m;

  (void) state;
  append_frame (&g, g.a, 1);
  make_frame (&g, &m, 1, 100, true);
  g.v->now += 10 * SECOND;
  assert_ok (claim (&g, g.b, F2_PRODUCER));
  assert_refused (g.v, EPERM, put_frame (&g, g.a, &m));
  assert_refused (g.v, EPERM, put_byte (g.a, at (&g, 5 * B), 1, 1));
  /* A reader, and who brings what is there, it may be. */
  assert_reads (g.a, at (&g, g.tail), 0, 100);
  assert_ok (service_zero (g.a, 100, at (&g, g.tail), 0));
  append_frame (&g, g.b, 1);
  leave (&g.b);
  make_frame (&g, &m, 1, 100, true);
  assert_refused (g.v, EPERM, put_frame (&g, g.a, &m));
  g.b = join (g.v, "bob");
  assert_ok (put_frame (&g, g.b, &m));
  stop_guard (&g);
}

/*---------------------------------------------------------------------*/

static void
free_space_is_a_hole (void **state)
{
  struct guarded g = start_guard ();
  const uint64_t data = g.ring.data_offset;
  struct made m;
  char text[100];
  unsigned i;

  (void) state;
  for (i = 0; i < AREA; ++i)
    g.v->rd->content[data + i] = 0x55;
#define EXTENTS(...) \
  do { \
    snprintf (text, sizeof text, __VA_ARGS__); \
    assert_extents (g.a, text); \
  } while (0)
  EXTENTS ("0 h%lu %lu %lu", (long) data, (long) data + AREA,
           (long) data + AREA + 100);
  assert_reads (g.a, data, 0, AREA);
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  append_frame (&g, g.a, 2);
  EXTENTS ("0 h%lu %lu %lu", (long) data + 2 * B, (long) data + AREA,
           (long) data + AREA + 100);
  assert_reads (g.b, at (&g, 2 * B), 0, AREA - 2 * B);
  /* A part of a frame reads as it was written. */
  make_frame (&g, &m, 1, 2000, true);
  assert_ok (put_part (&g, g.a, &m, 1024, 1536));
  assert_reads (g.b, at (&g, 2 * B), 0, 2 * B);
  assert_reads (g.b, at (&g, 4 * B), 'x', B);
  EXTENTS ("0 h%lu %lu h%lu %lu %lu", (long) data + 2 * B,
           (long) data + 4 * B, (long) data + 5 * B, (long) data + AREA,
           (long) data + AREA + 100);
  assert_ok (claim (&g, g.b, F2_CONSUMER));
  consume_all (&g, g.b);
  EXTENTS ("0 h%lu %lu h%lu %lu %lu", (long) data, (long) data + 4 * B,
           (long) data + 5 * B, (long) data + AREA, (long) data + AREA + 100);
  assert_reads (g.b, data, 0, 2 * B);
  stop_guard (&g);
}

/* A frame behind one that is not there: all can look, nobody can push. */
static void
a_damaged_tail (void **state)
{
  struct guarded g = start_claimed ();
  const struct blkring_attach_options takeover = {
    .flags = BLKRING_ATTACH_TAKEOVER,
  };
  struct record_device *rd = g.v->rd;
  blkring_device *d;
  struct made m;

  (void) state;
  append_frame (&g, g.a, 1);
  append_frame (&g, g.a, 1);
  append_frame (&g, g.a, 1);
  damage (rd, at (&g, B + 70));
  restart (&g);
  assert_log (g.v, "damaged", "position 512");
  assert_reads (g.a, at (&g, 2 * B + F2_HEADER + 4), 'x', 100);
  g.tail = B;
  g.chain = get_le32 (rd->content + at (&g, 0) + 60);
  make_frame (&g, &m, 1, 10, true);
  assert_refused (g.v, EINVAL, put_frame (&g, g.a, &m));
  assert_refused (g.v, EINVAL, claim (&g, g.a, F2_PRODUCER));
  /* A producer of the library is told what it would be told without a
   * server. */
  d = connect_device (g.v, "producer");
  assert_no_handle (EBADMSG, blkring_producer_attach (d, &takeover));
  blkring_device_close (d);
  service_disconnect (g.a);
  service_disconnect (g.b);
  served_free (g.v);
}

/* What a server finds that others wrote to the device. */
static void
what_is_found_behind_the_last_record (void **state)
{
  const struct made empty = { .size = 0 };
  struct guarded g = start_claimed ();
  struct f2_record r;
  struct made m = empty, n = empty;
  unsigned i;

  (void) state;
  /* Many frames, and no record: what was published is overwritten. */
  for (i = 0; i < 20; ++i) {
    append_frame (&g, g.a, 2);
    consume_all (&g, g.b);
  }
  append_frame (&g, g.a, 2);
  restart (&g);
  assert_int_equal (exposed (&g), g.tail);
  append_frame (&g, g.a, 2);

  consume_all (&g, g.b);

  /* Exposed behind what is staged. */
  make_frame (&g, &m, 1, 10, false);
  assert_ok (put_frame (&g, g.a, &m));
  i = g.tail;
  pass (&g, &m);
  make_frame (&g, &n, 1, 10, true);
  poke_stream (g.v->rd, g.tail, n.bytes, n.size);
  restart (&g);
  assert_log (g.v, "damaged", "");
  assert_int_equal (exposed (&g), i);
  memset (n.bytes, 0, n.size);
  poke_stream (g.v->rd, g.tail, n.bytes, n.size);
  restart (&g);
  assert_ok (publish (&g, g.a, g.tail, g.chain));

  /* Late: exposed by a producer that had been replaced. */
  make_frame (&g, &m, 1, 10, true);
  m.f.epoch--;
  seal (&g, &m);
  poke_stream (g.v->rd, g.tail, m.bytes, m.size);
  forget_log (g.v);
  restart (&g);
  assert_log (g.v, "damaged", "");
  assert_int_equal (exposed (&g), g.tail);
  assert_refused (g.v, EINVAL, claim (&g, g.a, F2_PRODUCER));
  get_record (g.v->rd, F2_PRODUCER, &r);
  r.flags |= F2_CLEAN;
  set_record (g.v->rd, F2_PRODUCER, &r);
  forget_log (g.v);
  restart (&g);
  assert_int_equal (g.v->errors, 0);
  assert_ok (claim (&g, g.a, F2_PRODUCER));

  /* A consumer that was behind it. */
  consume_all (&g, g.b);
  append_frame (&g, g.a, 2);
  get_record (g.v->rd, F2_CONSUMER, &r);
  r.position = r.frame + 100;
  set_record (g.v->rd, F2_CONSUMER, &r);
  g.tail -= 2 * B;
  damage_stream (g.v->rd, g.tail);
  restart (&g);
  assert_log (g.v, "damaged", "");
  service_disconnect (g.a);
  service_disconnect (g.b);
  served_free (g.v);
}

/* A frame that ends in what is unread: no producer has written it. */
static void
a_frame_that_would_not_fit_does_not_count (void **state)
{
  struct guarded g = start_claimed ();
  struct made m;

  (void) state;
  append_frame (&g, g.a, 7);
  append_frame (&g, g.a, 7);
  assert_ok (publish (&g, g.a, g.tail, g.chain));
  make_frame (&g, &m, 1, 3 * B - F2_HEADER - 4, true);
  poke_stream (g.v->rd, g.tail, m.bytes, m.size);
  restart (&g);
  assert_int_equal (exposed (&g), g.tail);
  service_disconnect (g.a);
  service_disconnect (g.b);
  served_free (g.v);
}

/* The device said that it failed, and it had not. */
static void
a_frame_that_failed_and_arrived (void **state)
{
  struct guarded g = start_guard_on (1, BLKRING_DEVICE_FUA);
  struct made m;

  (void) state;
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  append_frame (&g, g.a, 1);
  make_frame (&g, &m, 3, 10, true);
  record_device_fail (g.v->rd, RECORD_WRITE, 0, EIO);
  assert_refused (g.v, EIO, put_frame (&g, g.a, &m));
  assert_int_equal (exposed (&g), g.tail);
  poke_stream (g.v->rd, g.tail, m.bytes, m.size);
  pass (&g, &m);
  append_frame (&g, g.a, 1);
  assert_int_equal (exposed (&g), g.tail);
  assert_int_equal (status_number (&g, "producer", 0, "items"), 5);
  assert_int_equal (status_number (&g, "producer", 0, "bytes"), g.tail);
  assert_items (&g, 5);
  stop_guard (&g);
}

/* By hand: what is behind damage has the right chain. */
static void
behind_damage (void **state)
{
  struct guarded g = start_claimed ();
  uint32_t chain[3];
  unsigned i;

  (void) state;
  for (i = 0; i < 3; ++i) {
    append_frame (&g, g.a, 1);
    chain[i] = g.chain;
  }
  assert_ok (publish (&g, g.a, g.tail, g.chain));
  append_frame (&g, g.a, 1);
  assert_ok (claim (&g, g.b, F2_CONSUMER));
  damage (g.v->rd, at (&g, 10));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 2 * B, chain[0],
                                           2 * B));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 3 * B, chain[1],
                                           3 * B));
  assert_refused (g.v, EINVAL, consume_to (&g, g.b, 0, 4 * B, chain[2],
                                           4 * B));
  assert_ok (consume_to (&g, g.b, 0, 2 * B, chain[1], 2 * B));
  damage (g.v->rd, at (&g, 2 * B + 10));
  assert_ok (consume_to (&g, g.b, 0, 3 * B, chain[2], 3 * B));
  stop_guard (&g);
}

/* A consumer that goes on behind damage may do so. */
static void
salvage_is_let_in (void **state)
{
  struct guarded g = start_claimed ();
  const struct blkring_attach_options salvage = {
    .flags = BLKRING_ATTACH_SALVAGE,
  };
  struct blkring_item item;
  blkring_consumer *c;
  blkring_device *d;

  (void) state;
  append_frame (&g, g.a, 1);
  append_frame (&g, g.a, 2);
  append_frame (&g, g.a, 1);
  assert_ok (publish (&g, g.a, g.tail, g.chain));
  damage (g.v->rd, at (&g, B + 10));
  restart (&g);
  d = connect_device (g.v, "consumer");
  c = blkring_consumer_attach (d, &salvage);
  assert_non_null (c);
  assert_ok (blkring_consumer_pop (c, NULL, &item));
  assert_ok (blkring_consumer_advance (c, item.next));
  assert_ok (blkring_consumer_pop (c, NULL, &item));
  assert_int_equal (item.position, 3 * B);
  assert_ok (blkring_consumer_advance (c, item.next));
  assert_int_equal (g.v->errors, 0);
  blkring_consumer_free (c);
  blkring_device_close (d);
  append_frame (&g, g.a, 1);
  stop_guard (&g);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (a_frame_is_the_next_one),
    cmocka_unit_test (a_frame_fits_free_space),
    cmocka_unit_test (no_frame_behind_the_tail),
    cmocka_unit_test (nothing_is_exposed_behind_what_is_staged),
    cmocka_unit_test (all_that_was_answered_before_a_frame_is_durable),
    cmocka_unit_test (several_frames_in_one_request),
    cmocka_unit_test (frames_in_parts),
    cmocka_unit_test (parts_that_make_no_frame),
    cmocka_unit_test (parts_from_two_connections),
    cmocka_unit_test (what_is_unread_stays),
    cmocka_unit_test (what_is_staged_stays),
    cmocka_unit_test (what_was_dropped_does_not_come_back),
    cmocka_unit_test (a_suspended_producer_writes_no_frames),
    cmocka_unit_test (a_producer_that_was_silent_writes_no_frames),
    cmocka_unit_test (free_space_is_a_hole),
    cmocka_unit_test (a_damaged_tail),
    cmocka_unit_test (what_is_found_behind_the_last_record),
    cmocka_unit_test (a_frame_that_would_not_fit_does_not_count),
    cmocka_unit_test (a_frame_that_failed_and_arrived),
    cmocka_unit_test (behind_damage),
    cmocka_unit_test (salvage_is_let_in),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
