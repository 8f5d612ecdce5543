/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The service core: what is durable when, what goes on beside a flush, and
 * devices that fail.
 */

#include <config.h>

#include "service-rings.h"

static void
a_careless_client_loses_nothing (void **state)
{
  const unsigned *flags = *state;
  struct served *v = served_on (new_format1 (512, *flags));
  struct service_client *c = join (v, "careless");

  /* No FUA, no flush. */
  assert_ok (put_bytes (c, DATA, "\4\0\0\0abcd", 8));
  assert_int_equal (v->rd->durable[DATA + 4], 0);
  assert_ok (put_producer (c, 8));
  assert_int_equal (durable_producer (v), 8);
  assert_memory_equal (v->rd->durable + DATA, "\4\0\0\0abcd", 8);
  /* Without sync it is as it asks for. */
  service_disconnect (c);
  v->options.sync = false;
  serve_again (v);
  c = join (v, "careless");
  assert_ok (put_bytes (c, DATA + 8, "\4\0\0\0abcd", 8));
  assert_ok (put_producer (c, 16));
  assert_int_equal (durable_producer (v), 8);
  assert_ok (service_flush (c));
  assert_int_equal (durable_producer (v), 16);
  service_disconnect (c);
  served_free (v);
}

/* Appends without FUA and flush, in format 2. */
static void
a_careless_producer_of_frames (void **state)
{
  const unsigned *flags = *state;
  const struct blkring_attach_options careless_options = {
    .durability = BLKRING_DURABILITY_NONE,
  };
  struct served *v = served_on (new_format2 (*flags));
  blkring_device *d = connect_device (v, "careless");
  blkring_producer *p = blkring_producer_attach (d, &careless_options);
  struct record_device *rd;
  blkring_consumer *c;
  struct blkring_item item;

  assert_non_null (p);
  assert_ok (blkring_producer_append (p, "one", 3, NULL));
  assert_ok (blkring_producer_append (p, "two", 3, NULL));
  rd = record_device_after_crash (v->rd, 0);
  c = blkring_consumer_attach (rd->device, NULL);
  assert_non_null (c);
  assert_ok (blkring_consumer_pop (c, NULL, &item));
  assert_ok (blkring_consumer_pop (c, &item.next, &item));
  assert_memory_equal (item.data, "two", 3);
  blkring_consumer_free (c);
  record_device_free (rd);
  blkring_producer_free (p);
  blkring_device_close (d);
  served_free (v);
}

/* A pointer that is written once more, with FUA, is durable then. */
static void
a_repeated_write_is_durable (void **state)
{
  struct served *v = served_new (new_format1 (512, BLKRING_DEVICE_FUA));
  const struct f1_pointer at_8 = { 8, false };
  unsigned char sector[S];
  struct service_client *c;

  (void) state;
  v->options.sync = false;
  serve (v);
  c = join (v, "alice");
  assert_ok (put_bytes (c, DATA, "\4\0\0\0abcd", 8));
  assert_ok (put_producer (c, 8));
  assert_int_equal (durable_producer (v), 0);
  f1_encode_pointer (sector, S, SIDE_PRODUCER, &at_8, "q", "c");
  assert_ok (service_pwrite (c, sector, S, S, SERVICE_FLAG_FUA));
  assert_int_equal (durable_producer (v), 8);
  assert_int_equal (v->rd->durable[DATA + 4], 'a');
  assert_ok (put_bytes (c, DATA + 8, "x", 1));
  assert_ok (service_trim (c, 1024, DATA + 512, SERVICE_FLAG_FUA));
  assert_int_equal (v->rd->durable[DATA + 8], 'x');
  service_disconnect (c);
  served_free (v);
}

/* What the server adds to the requests of a client that does it right. */
static void
what_the_guard_costs (void **state)
{
  struct served *v = served_on (new_format2 (BLKRING_DEVICE_FUA));
  blkring_device *pd = connect_device (v, "producer");
  blkring_device *cd = connect_device (v, "consumer");
  blkring_producer *p = blkring_producer_attach (pd, NULL);
  blkring_consumer *c = blkring_consumer_attach (cd, NULL);
  struct blkring_item item;
  unsigned i;

  (void) state;
  record_device_forget (v->rd);
  for (i = 0; i < 10; ++i)
    assert_ok (blkring_producer_append (p, "x", 1, NULL));
  assert_int_equal (v->rd->writes, 10);
  assert_int_equal (v->rd->fua_writes, 10);
  assert_int_equal (v->rd->flushes, 0);
  assert_int_equal (v->rd->reads, 0);
  /* All was durable: the consumer's flush has nothing to do. */
  assert_ok (blkring_consumer_pop (c, NULL, &item));
  record_device_forget (v->rd);
  assert_ok (blkring_consumer_advance (c, item.next));
  assert_int_equal (v->rd->writes, 1);
  assert_int_equal (v->rd->flushes, 0);
  blkring_producer_free (p);
  blkring_consumer_free (c);
  blkring_device_close (pd);
  blkring_device_close (cd);
  served_free (v);

  /* Format 1: the first sector is compared, the items are looked at. */
  v = served_on (new_format1 (512, BLKRING_DEVICE_FUA));
  pd = connect_device (v, "producer");
  p = blkring_producer_attach (pd, NULL);
  assert_ok (blkring_producer_append (p, "x", 1, NULL));
  record_device_forget (v->rd);
  assert_ok (blkring_producer_append (p, "x", 1, NULL));
  assert_int_equal (v->rd->writes, 2);
  assert_int_equal (v->rd->flushes, 0);
  assert_int_equal (v->rd->reads, 2);
  blkring_producer_free (p);
  blkring_device_close (pd);
  served_free (v);
}

/*---------------------------------------------------------------------*/

/* A flush that hangs, and what goes on beside it. */
struct hanging {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool hangs, released;
};
static struct hanging hanging = { PTHREAD_MUTEX_INITIALIZER,
                                  PTHREAD_COND_INITIALIZER, false, false };

static void
hang (struct record_device *rd)
{
  (void) rd;
  pthread_mutex_lock (&hanging.lock);
  hanging.hangs = true;
  pthread_cond_broadcast (&hanging.changed);
  while (!hanging.released)
    pthread_cond_wait (&hanging.changed, &hanging.lock);
  pthread_mutex_unlock (&hanging.lock);
}

static void *
advance_in_thread (void *c)
{
  return (void *) (intptr_t) put_producer (c, 8);
}

static void
reads_and_pushes_go_on_beside_a_flush (void **state)
{
  struct served *v = served_on (new_format1 (512, 0));
  struct service_client *c = join (v, "producer");
  struct service_client *r = join (v, "reader");
  struct service_client *s = service_connect (v->s, "status", "s", false);
  char text[16];
  pthread_t thread;
  void *result;

  (void) state;
  hanging.hangs = hanging.released = false;
  assert_ok (put_bytes (c, DATA, "\4\0\0\0abcd", 8));
  v->rd->behind_flush = hang;
  pthread_create (&thread, NULL, advance_in_thread, c);
  pthread_mutex_lock (&hanging.lock);
  while (!hanging.hangs)
    pthread_cond_wait (&hanging.changed, &hanging.lock);
  pthread_mutex_unlock (&hanging.lock);

  assert_ok (put_bytes (c, DATA + 1024, "more", 4));
  assert_reads (r, DATA + 4, 'a', 1);
  assert_reads (r, S, 0, 1);
  assert_ok (service_pread (s, text, sizeof text, 0));
  /* But what is being exposed does not change any more. */
  assert_refused (v, EINVAL, put_bytes (c, DATA + 4, "x", 1));

  pthread_mutex_lock (&hanging.lock);
  hanging.released = true;
  pthread_cond_broadcast (&hanging.changed);
  pthread_mutex_unlock (&hanging.lock);
  pthread_join (thread, &result);
  assert_null (result);
  assert_reads (r, S, 8, 1);
  service_disconnect (c);
  service_disconnect (r);
  service_disconnect (s);
  served_free (v);
}

/* A flush that failed is not tried again and believed. */
static void
a_flush_that_failed_is_told (void **state)
{
  struct served *v = served_on (new_format1 (512, 0));
  struct service_client *a = join (v, "alice"), *b = join (v, "bob");
  struct service_client *c = join (v, "carol");

  (void) state;
  assert_ok (service_flush (a));
  assert_ok (put_bytes (b, DATA + 1024, "data", 4));
  assert_ok (put_bytes (a, DATA, "\4\0\0\0abcd", 8));
  record_device_fail (v->rd, RECORD_FLUSH, 0, EIO);
  assert_refused (v, EIO, put_producer (a, 8));
  /* Bob had written, and hears of it once; Carol had not. */
  assert_ok (service_flush (c));
  assert_fails (EIO, service_flush (b));
  assert_ok (service_flush (b));
  assert_reads (a, S, 0, 1);
  /* Alice knows, and tries again. */
  assert_ok (put_producer (a, 8));
  service_disconnect (a);
  service_disconnect (b);
  service_disconnect (c);
  served_free (v);
}

/* After a pointer write that failed the device is looked at: it may have
 * arrived. */
static void
a_write_that_failed_may_have_arrived (void **state)
{
  struct served *v = served_on (new_format1 (512, BLKRING_DEVICE_FUA));
  struct service_client *c = join (v, "alice");
  const struct f1_pointer at_8 = { 8, false };
  unsigned char sector[S];

  (void) state;
  assert_ok (put_bytes (c, DATA, "\4\0\0\0abcd\4\0\0\0efgh", 16));
  record_device_fail (v->rd, RECORD_WRITE, 0, EIO);
  assert_refused (v, EIO, put_producer (c, 8));
  /* It did. */
  f1_encode_pointer (sector, S, SIDE_PRODUCER, &at_8, "q", "c");
  record_device_poke (v->rd, S, sector, S);
  assert_ok (put_bytes (c, DATA + 512, "x", 1));
  assert_reads (c, S, 8, 1);
  assert_refused (v, EINVAL, put_bytes (c, DATA + 4, "x", 1));
  assert_refused (v, EINVAL, put_producer (c, 0));
  assert_ok (put_producer (c, 16));
  service_disconnect (c);
  served_free (v);
}

/* A failed append of format 2: whole, in part or not at all on the device;
 * the next producer goes on. */
static void
an_append_that_failed (void **state)
{
  struct served *v = served_on (new_format2 (BLKRING_DEVICE_FUA));
  blkring_device *d = connect_device (v, "producer");
  blkring_producer *p = blkring_producer_attach (d, NULL);

  (void) state;
  assert_ok (blkring_producer_append (p, "one", 3, NULL));
  record_device_fail (v->rd, RECORD_WRITE, 0, ENOSPC);
  assert_fails (ENOSPC, blkring_producer_append (p, "two", 3, NULL));
  blkring_producer_free (p);
  blkring_device_close (d);
  d = connect_device (v, "producer");
  p = blkring_producer_attach (d, &(struct blkring_attach_options) {
      .flags = BLKRING_ATTACH_TAKEOVER });
  assert_non_null (p);
  assert_ok (blkring_producer_append (p, "two", 3, NULL));
  blkring_producer_free (p);
  blkring_device_close (d);
  assert_int_equal (check (v->rd).corruptions, 0);
  served_free (v);
}

int
main (void)
{
  static unsigned fua = BLKRING_DEVICE_FUA, flush;
  const struct CMUnitTest tests[] = {
    { "a careless client loses nothing, by flushes",
      a_careless_client_loses_nothing, NULL, NULL, &flush },
    { "a careless client loses nothing, by FUA",
      a_careless_client_loses_nothing, NULL, NULL, &fua },
    { "a careless producer of frames, by flushes",
      a_careless_producer_of_frames, NULL, NULL, &flush },
    { "a careless producer of frames, by FUA",
      a_careless_producer_of_frames, NULL, NULL, &fua },
    cmocka_unit_test (a_repeated_write_is_durable),
    cmocka_unit_test (what_the_guard_costs),
    cmocka_unit_test (reads_and_pushes_go_on_beside_a_flush),
    cmocka_unit_test (a_flush_that_failed_is_told),
    cmocka_unit_test (a_write_that_failed_may_have_arrived),
    cmocka_unit_test (an_append_that_failed),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
