/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The guard of format 2: frames that are not the next one, and frames in
 * parts.
 */

#include <config.h>

#include "service2-fixture.h"

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
  /* So full it is found when the server is started anew … */
  restart (&g);
  assert_int_equal (exposed (&g), g.tail);
  assert_ok (claim (&g, g.b, F2_CONSUMER));
  consume_all (&g, g.b);
  /* … and may become in parts. */
  append_frame (&g, g.a, 8);
  make_frame (&g, &m, 1, 8 * B - F2_HEADER - 4, true);
  assert_ok (put_part (&g, g.a, &m, 0, 4 * B));
  assert_ok (put_part (&g, g.a, &m, 4 * B, m.size));
  pass (&g, &m);
  assert_int_equal (exposed (&g), g.tail);
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

/* One part before the server was started anew, and one after that. */
static void
parts_outlive_the_server (void **state)
{
  struct guarded g = start_claimed ();
  struct made m;
  unsigned first;

  (void) state;
  for (first = 0; first < 2; ++first) {
    /* With padding and without. */
    make_frame (&g, &m, 1, first ? 2000 : 4 * B - F2_HEADER - 4, true);
    assert_ok (put_part (&g, g.a, &m, first ? 1024 : 0,
                         first ? m.size : 1024));
    restart (&g);
    assert_int_equal (exposed (&g), g.tail);
    assert_reads (g.b, at (&g, g.tail), 0, m.size);
    assert_ok (put_part (&g, g.a, &m, first ? 0 : 1024,
                         first ? 1024 : m.size));
    pass (&g, &m);
    assert_int_equal (exposed (&g), g.tail);
    assert_items (&g, 1 + first);
  }
  append_frame (&g, g.a, 1);
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
    cmocka_unit_test (parts_outlive_the_server),
    cmocka_unit_test (parts_from_two_connections),
    cmocka_unit_test (a_suspended_producer_writes_no_frames),
    cmocka_unit_test (a_producer_that_was_silent_writes_no_frames),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
