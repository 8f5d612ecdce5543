/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Requests that meet: one of them is held up on the device, and the test
 * looks what the others do meanwhile.
 */

#include <config.h>

#include <unistd.h>

#include "lock.h"
#include "service-jobs.h"

#define DATA (3 * S)         /* format 1 */

/* Below the service: holds up one write, before or behind it is done, or says
 * that it failed when it is done. */
struct gate {
  struct record_device *rd;
  blkring_device *device;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  enum { OPEN, BEFORE, BEHIND, FAIL } armed;
  uint64_t offset;
  bool holds, released;
};
static struct gate gate = { .lock = PTHREAD_MUTEX_INITIALIZER,
                            .changed = PTHREAD_COND_INITIALIZER };

static void
hold_here (void)
{
  pthread_mutex_lock (&gate.lock);
  gate.armed = OPEN;
  gate.holds = true;
  pthread_cond_broadcast (&gate.changed);
  while (!gate.released)
    pthread_cond_wait (&gate.changed, &gate.lock);
  gate.holds = gate.released = false;
  pthread_mutex_unlock (&gate.lock);
}

static bool
is_held (int when, uint64_t offset)
{
  bool held;

  pthread_mutex_lock (&gate.lock);
  held = gate.armed == (unsigned) when && gate.offset == offset;
  pthread_mutex_unlock (&gate.lock);
  return held;
}

static ssize_t
gate_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
             unsigned flags)
{
  ssize_t r;

  if (is_held (BEFORE, offset))
    hold_here ();
  r = gate.rd->device->ops.pwrite (opaque, buf, count, offset, flags);
  if (is_held (BEHIND, offset))
    hold_here ();
  if (is_held (FAIL, offset)) {
    gate.armed = OPEN;
    errno = EIO;
    return -1;
  }
  return r;
}

static void
hold_flush (struct record_device *rd)
{
  (void) rd;
  hold_here ();
}

static struct served *
serve_gated (struct record_device *rd)
{
  struct blkring_device_ops ops = rd->device->ops;
  struct served *v = served_new (rd);

  ops.pwrite = gate_pwrite;
  gate.rd = rd;
  gate.device = blkring_device_new (&ops, rd);
  assert_non_null (gate.device);
  v->device = gate.device;
  serve (v);
  return v;
}

static void
stop_gated (struct served *v)
{
  blkring_device *d = gate.device;

  assert_int_equal (check (v->rd).corruptions, 0);
  served_free (v);
  blkring_device_close (d);
}

static void
arm (int when, uint64_t offset)
{
  gate.armed = when;
  gate.offset = offset;
}

static void
wait_until_held (void)
{
  pthread_mutex_lock (&gate.lock);
  while (!gate.holds)
    pthread_cond_wait (&gate.changed, &gate.lock);
  pthread_mutex_unlock (&gate.lock);
}

static void
release (void)
{
  pthread_mutex_lock (&gate.lock);
  gate.released = true;
  pthread_cond_broadcast (&gate.changed);
  pthread_mutex_unlock (&gate.lock);
}

/*---------------------------------------------------------------------*/

static struct record_device *
new_format1 (unsigned flags)
{
  const struct record_options o = { .size = 16 * S, .sector_size = 1,
                                    .flags = flags };

  return record_device_new_ring (&o, 512);
}

static void
encode_producer (unsigned char *sector, uint64_t position)
{
  const struct f1_pointer v = { position, false };

  f1_encode_pointer (sector, S, SIDE_PRODUCER, &v, "q", "c");
}

static void
two_writes_of_one_place (void **state)
{
  struct served *v = serve_gated (new_format1 (0));
  struct service_client *c = join (v, "alice");
  struct job first, second;

  (void) state;
  arm (BEFORE, DATA + 100);
  start_job (&first, c, DATA + 100, "aaaa", 4);
  wait_until_held ();
  /* Another sector is not in the way. */
  assert_ok (put_bytes (c, DATA + 512, "cccc", 4));
  start_job (&second, c, DATA + 200, "bbbb", 4);
  assert_waits (&second);
  release ();
  end_job (&first, 0);
  end_job (&second, 0);
  assert_reads (c, DATA + 100, 'a', 4);
  assert_reads (c, DATA + 200, 'b', 4);
  service_disconnect (c);
  stop_gated (v);
}

/* Format 1: the pointer comes while the data is still on its way. */
static void
a_pointer_waits_for_its_data (void **state)
{
  struct served *v = serve_gated (new_format1 (0));
  struct service_client *c = join (v, "alice");
  unsigned char sector[S];
  struct job data, pointer;

  (void) state;
  encode_producer (sector, 8);
  arm (BEFORE, DATA);
  start_job (&data, c, DATA, "\4\0\0\0abcd", 8);
  wait_until_held ();
  start_job (&pointer, c, S, sector, S);
  assert_waits (&pointer);
  /* What is to be exposed is not written any more. */
  assert_int_equal (put_bytes (c, DATA + 512, "x", 1), 0);
  release ();
  end_job (&data, 0);
  end_job (&pointer, 0);
  assert_reads (c, S, 8, 1);
  service_disconnect (c);
  stop_gated (v);
}

static void
an_owner_that_waits_for_the_device_is_not_silent (void **state)
{
  struct served *v = serve_gated (new_format1 (0));
  struct service_client *a = join (v, "alice"), *b = join (v, "bob");
  unsigned char sector[S];
  struct job pointer;

  (void) state;
  assert_ok (put_bytes (a, DATA, "\4\0\0\0abcd\4\0\0\0abcd", 16));
  encode_producer (sector, 8);
  arm (BEFORE, S);
  start_job (&pointer, a, S, sector, S);
  wait_until_held ();
  v->now += 100 * SECOND;
  assert_refused (v, EPERM, put_bytes (b, DATA + 512, "x", 1));
  release ();
  end_job (&pointer, 0);
  assert_refused (v, EPERM, put_bytes (b, DATA + 512, "x", 1));
  v->now += 10 * SECOND;
  assert_ok (put_bytes (b, DATA + 512, "x", 1));
  service_disconnect (a);
  service_disconnect (b);
  stop_gated (v);
}

/* What is answered while a flush is under way is not covered by it. */
static void
a_flush_covers_what_was_answered_before_it (void **state)
{
  struct served *v = serve_gated (new_format1 (BLKRING_DEVICE_FUA));
  struct service_client *a = join (v, "alice"), *b = join (v, "bob");
  unsigned char sector[S];
  struct job pointer;

  (void) state;
  assert_ok (put_bytes (a, DATA, "\4\0\0\0abcd", 8));
  encode_producer (sector, 8);
  v->rd->behind_flush = hold_flush;
  start_job (&pointer, a, S, sector, S);
  wait_until_held ();
  assert_ok (put_bytes (a, DATA + 512, "later", 5));
  release ();
  end_job (&pointer, 0);
  assert_int_equal (v->rd->nr_pending, 1);
  assert_ok (service_flush (b));
  assert_memory_equal (v->rd->durable + DATA + 512, "later", 5);
  service_disconnect (a);
  service_disconnect (b);
  stop_gated (v);
}

/*---------------------------------------------------------------------*/

static struct guarded
start_gated2 (unsigned flags)
{
  const struct record_options o = {
    .size = f2_record_offset (F2_CONSUMER + 1, 0) + AREA, .sector_size = 1,
    .flags = flags,
  };
  const struct blkring_create_options create = {
    .flags = BLKRING_CREATE_FORCE, .format = 2, .block_size = B,
  };
  struct record_device *rd = record_device_new (&o);
  struct guarded g = { .tail = 0 };

  assert_ok (blkring_create (rd->device, &create));
  g.ring = ring_of (rd);
  g.v = serve_gated (rd);
  g.a = join (g.v, "alice");
  g.b = join (g.v, "bob");
  return g;
}

static void
stop_gated2 (struct guarded *g)
{
  service_disconnect (g->a);
  service_disconnect (g->b);
  stop_gated (g->v);
}

/* The second record of a claim comes while the first is on its way. */
static void
the_copies_of_a_record_are_written_in_turn (void **state)
{
  struct guarded g = start_gated2 (0);
  unsigned char one[F2_CONTENT], two[F2_CONTENT];
  struct f2_record r = new_claim (&g, F2_PRODUCER);
  struct job first, second;

  (void) state;
  f2_encode_record (one, g.ring.uuid, F2_PRODUCER, &r);
  r.sequence++;
  f2_encode_record (two, g.ring.uuid, F2_PRODUCER, &r);
  arm (BEFORE, 2 * F2_SLOT);
  start_job (&first, g.a, 2 * F2_SLOT, one, sizeof one);
  wait_until_held ();
  start_job (&second, g.a, 3 * F2_SLOT, two, sizeof two);
  assert_waits (&second);
  release ();
  end_job (&first, 0);
  end_job (&second, 0);
  stop_gated2 (&g);
}

/* A record of the consumer, made by hand, behind the first frame. */
static void
encode_consumed (struct guarded *g, const struct made *m,
                 unsigned char *content)
{
  struct f2_record r = next_record (g, F2_CONSUMER);

  r.position = r.frame = m->size;
  r.chain = m->f.crc;
  f2_encode_record (content, g->ring.uuid, F2_CONSUMER, &r);
}

/* A frame can be read before its append is answered.  Who has read it and
 * goes on is not refused. */
static void
a_consumer_waits_for_the_frame_that_it_read (void **state)
{
  struct guarded g = start_gated2 (BLKRING_DEVICE_FUA);
  unsigned char content[F2_CONTENT], seen[B];
  struct job append, advance;
  struct made m;

  (void) state;
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  assert_ok (claim (&g, g.b, F2_CONSUMER));
  /* What was written reads as it is. */
  assert_ok (put_byte (g.a, g.ring.data_offset, 0, B));
  make_frame (&g, &m, 1, 100, true);
  encode_consumed (&g, &m, content);
  arm (BEHIND, g.ring.data_offset);
  start_job (&append, g.a, g.ring.data_offset, m.bytes, B);
  wait_until_held ();
  assert_ok (service_pread (g.b, seen, B, g.ring.data_offset));
  assert_memory_equal (seen, m.bytes, B);
  start_job (&advance, g.b, f2_record_offset (F2_CONSUMER, 1), content,
             sizeof content);
  assert_waits (&advance);
  release ();
  end_job (&append, 0);
  end_job (&advance, 0);
  stop_gated2 (&g);
}

/* The same for one that came in parts, while it is made durable. */
static void
a_consumer_waits_for_the_parts_that_it_read (void **state)
{
  struct guarded g = start_gated2 (0);
  unsigned char content[F2_CONTENT];
  struct job append, advance;
  struct made m;

  (void) state;
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  assert_ok (claim (&g, g.b, F2_CONSUMER));
  make_frame (&g, &m, 1, 1000, true);
  encode_consumed (&g, &m, content);
  assert_ok (put_part (&g, g.a, &m, 0, B));
  g.v->rd->behind_flush = hold_flush;
  start_job (&append, g.a, g.ring.data_offset + B, m.bytes + B, m.size - B);
  wait_until_held ();
  start_job (&advance, g.b, f2_record_offset (F2_CONSUMER, 1), content,
             sizeof content);
  assert_waits (&advance);
  release ();
  end_job (&append, 0);
  end_job (&advance, 0);
  stop_gated2 (&g);
}

/* A part is written once more while another completes the frame: what is
 * looked at is what will be there. */
static void
a_frame_waits_for_all_its_parts (void **state)
{
  struct guarded g = start_gated2 (0);
  struct job again, last;
  struct made m;

  (void) state;
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  make_frame (&g, &m, 1, 1000, true);
  assert_ok (put_part (&g, g.a, &m, 0, B));
  arm (BEFORE, g.ring.data_offset + 100);
  start_job (&again, g.a, g.ring.data_offset + 100, "garbage", 7);
  wait_until_held ();
  start_job (&last, g.a, g.ring.data_offset + B, m.bytes + B, m.size - B);
  assert_waits (&last);
  release ();
  end_job (&again, 0);
  end_job (&last, 0);
  assert_int_equal (status_number (&g, "producer", 0, "position"), 0);
  assert_ok (put_part (&g, g.a, &m, 0, B));
  assert_int_equal (status_number (&g, "producer", 0, "position"), m.size);
  stop_gated2 (&g);
}

/* What arrived though the device said that it failed is seen at once, by who
 * only reads. */
static void
a_frame_that_failed_and_arrived_is_read (void **state)
{
  struct guarded g = start_gated2 (BLKRING_DEVICE_FUA);
  struct made m;

  (void) state;
  assert_ok (claim (&g, g.a, F2_PRODUCER));
  make_frame (&g, &m, 1, 100, true);
  arm (FAIL, g.ring.data_offset);
  assert_fails (EIO, put_frame (&g, g.a, &m));
  assert_reads (g.b, g.ring.data_offset + F2_HEADER + 4, 'x', 100);
  assert_int_equal (status_number (&g, "producer", 0, "position"), m.size);
  stop_gated2 (&g);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (two_writes_of_one_place),
    cmocka_unit_test (a_pointer_waits_for_its_data),
    cmocka_unit_test (an_owner_that_waits_for_the_device_is_not_silent),
    cmocka_unit_test (a_flush_covers_what_was_answered_before_it),
    cmocka_unit_test (the_copies_of_a_record_are_written_in_turn),
    cmocka_unit_test (a_consumer_waits_for_the_frame_that_it_read),
    cmocka_unit_test (a_consumer_waits_for_the_parts_that_it_read),
    cmocka_unit_test (a_frame_waits_for_all_its_parts),
    cmocka_unit_test (a_frame_that_failed_and_arrived_is_read),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
