/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The service core, apart from the rules of the formats: opening, views,
 * status, durability, failures of the device, requests of any alignment.
 */

#include <config.h>

#include <stdlib.h>
#include <unistd.h>

#include <jansson.h>

#include "lock.h"
#include "service-fixture.h"

#define DATA (3 * S)

static struct record_device *
new_format1 (uint32_t sector_size, unsigned flags)
{
  const struct record_options o = {
    .size = 16 * 4096, .sector_size = sector_size, .flags = flags,
  };

  return record_device_new_ring (&o, sector_size > 512 ? 4096 : 512);
}

static struct record_device *
new_format2 (unsigned flags)
{
  const struct record_options o = { .size = 128 * 1024, .flags = flags };
  const struct blkring_create_options create = { .block_size = 512 };
  struct record_device *rd = record_device_new (&o);

  assert_ok (blkring_create (rd->device, &create));
  record_device_forget (rd);
  return rd;
}

static void
assert_not_served (struct served *v, int error, const char *message)
{
  v->s = service_open (v->device, &v->options);
  assert_null (v->s);
  assert_error (error);
  assert_message (message);
}

/*---------------------------------------------------------------------*/

static void
the_views (void **state)
{
  const struct service_view *view = service_views ();
  struct served *v = served_on (new_format1 (512, 0));
  struct service_client *c;
  size_t length;
  unsigned n = 0;

  (void) state;
  assert_string_equal (view[0].name, "");
  for (; view->name; ++view, ++n) {
    c = service_connect (v->s, view->name, NULL, false);
    assert_non_null (c);
    assert_string_equal (service_description (c), view->description);
    assert_true (service_size (c) > 0);
    service_disconnect (c);
  }
  assert_int_equal (n, 2);
  assert_null (service_connect (v->s, "stat", NULL, false));
  assert_error (ENOENT);
  assert_null (service_connect (v->s, "/", NULL, false));
  assert_error (ENOENT);
  assert_string_equal (service_split_name ("", &length), "");
  assert_int_equal (length, 0);
  assert_string_equal (service_split_name ("status", &length), "status");
  assert_int_equal (length, 0);
  assert_string_equal (service_split_name ("a/b", &length), "");
  assert_int_equal (length, 3);
  assert_string_equal (service_split_name ("a/b/status", &length), "status");
  assert_int_equal (length, 3);
  assert_string_equal (service_split_name ("a/status/", &length), "");
  assert_int_equal (length, 9);
  served_free (v);
}

static void
what_a_view_can (void **state)
{
  struct served *v = served_on (new_format1 (512, BLKRING_DEVICE_FUA));
  struct service_client *c = join (v, "alice");
  struct service_client *s = service_connect (v->s, "status", "x", false);
  struct service_client *r = service_connect (v->s, "", "x", true);
  struct service_block_size size;

  (void) state;
  assert_true (service_can (c, SERVICE_CAN_WRITE));
  assert_true (service_can (c, SERVICE_CAN_FUA));
  assert_true (service_can (c, SERVICE_CAN_FLUSH));
  assert_true (service_can (c, SERVICE_CAN_TRIM));
  assert_true (service_can (c, SERVICE_CAN_ZERO));
  assert_false (service_can (c, SERVICE_CAN_FAST_ZERO));
  assert_true (service_can (c, SERVICE_CAN_MULTI_CONN));
  assert_true (service_can (c, SERVICE_CAN_EXTENTS));
  assert_false (service_can (s, SERVICE_CAN_WRITE));
  assert_false (service_can (s, SERVICE_CAN_EXTENTS));
  assert_true (service_can (s, SERVICE_CAN_MULTI_CONN));
  assert_false (service_can (r, SERVICE_CAN_WRITE));
  assert_false (service_can (r, SERVICE_CAN_ZERO));
  assert_true (service_can (r, SERVICE_CAN_EXTENTS));
  service_block_size (c, &size);
  assert_int_equal (size.minimum, 512);
  assert_int_equal (size.preferred, 4096);
  assert_refused (v, EROFS, put_byte (r, DATA, 1, 1));
  assert_refused (v, EROFS, put_byte (s, 0, 1, 1));
  assert_refused (v, EROFS, service_trim (r, 1, DATA, 0));
  assert_refused (v, EINVAL, put_byte (c, 65536, 1, 1));
  assert_refused (v, EINVAL, put_byte (c, 65535, 1, 2));
  assert_refused (v, EINVAL, put_byte (c, UINT64_MAX, 1, 1));
  assert_fails (EINVAL, service_pread (c, NULL, 2, 65535));
  assert_fails (EINVAL, service_pread (s, NULL, 2, service_size (s)));
  assert_ok (put_byte (c, 65536, 1, 0));
  service_disconnect (c);
  service_disconnect (s);
  service_disconnect (r);
  served_free (v);
}

/*---------------------------------------------------------------------*/

static void
a_blank_device_is_formatted_when_asked (void **state)
{
  const struct record_options o = { .size = 128 * 1024 };
  struct served *v = served_new (record_device_new (&o));
  struct blkring_info *info = malloc (sizeof *info);

  (void) state;
  assert_not_served (v, EMEDIUMTYPE, "blkring-img create");
  v->options.create_blank = true;
  serve (v);
  assert_ok (blkring_inspect (v->device, NULL, info));
  assert_int_equal (info->format, 2);
  /* What is there is kept, also of another format. */
  v->options.format = 1;
  serve_again (v);
  assert_ok (blkring_inspect (v->device, NULL, info));
  assert_int_equal (info->format, 2);
  served_free (v);

  v = served_new (record_device_new (&o));
  v->options.create_blank = true;
  v->options.format = 1;
  serve (v);
  assert_ok (blkring_inspect (v->device, NULL, info));
  assert_int_equal (info->format, 1);
  served_free (v);

  /* One that is not blank. */
  v = served_new (record_device_new (&o));
  record_device_poke (v->rd, 4000, "x", 1);
  v->options.create_blank = true;
  assert_not_served (v, EEXIST, "not blank");
  assert_int_equal (v->rd->writes, 0);
  served_free (v);
  free (info);
}

static void
a_damaged_ring_is_not_served (void **state)
{
  struct served *v = served_new (new_format1 (512, 0));

  (void) state;
  record_device_poke (v->rd, S + 8, "\3", 1);
  assert_not_served (v, EBADMSG, "blkring-img check");
  v->options.create_blank = true;
  assert_not_served (v, EEXIST, "damaged");
  served_free (v);
  v = served_new (new_format2 (0));
  damage (v->rd, 2 * F2_SLOT);
  damage (v->rd, 3 * F2_SLOT);
  assert_not_served (v, EBADMSG, "blkring-img check");
  served_free (v);
}

/* A file is locked as a producer and a consumer lock it. */
static void
others_on_this_host_are_kept_away (void **state)
{
  const struct blkring_open_options o = {
    .flags = BLKRING_OPEN_CREATE, .size = 128 * 1024,
  };
  char name[] = "/tmp/blkring-test-XXXXXX";
  struct served *v = served_new (NULL);
  blkring_device *other;
  blkring_producer *p;
  int fd = mkstemp (name);

  (void) state;
  assert_true (fd >= 0);
  close (fd);
  v->device = blkring_device_open (name, &o);
  other = blkring_device_open (name, NULL);
  unlink (name);
  assert_non_null (v->device);
  assert_non_null (other);
  v->options.create_blank = true;
  serve (v);
  assert_no_handle (EBUSY, blkring_producer_attach (other, NULL));
  assert_no_handle (EBUSY, blkring_consumer_attach (other, NULL));
  service_close (v->s);
  p = blkring_producer_attach (other, NULL);
  assert_non_null (p);
  assert_not_served (v, EBUSY, "through the server");
  /* To be looked at it need not be locked. */
  v->options.read_only = true;
  serve (v);
  blkring_producer_free (p);
  blkring_device_close (other);
  served_free (v);
}

static void
a_read_only_ring_is_looked_at (void **state)
{
  struct served *v = served_new (new_format2 (0));
  struct service_client *c;
  blkring_producer *p;
  blkring_consumer *o;
  blkring_device *d;
  struct blkring_item item;
  const struct blkring_attach_options observer = {
    .flags = BLKRING_ATTACH_OBSERVER,
  };

  (void) state;
  v->options.read_only = true;
  serve (v);
  c = join (v, "alice");
  assert_false (service_can (c, SERVICE_CAN_WRITE));
  assert_refused (v, EROFS, put_byte (c, 100000, 1, 1));
  service_disconnect (c);
  /* Another writes, and a connection made since shows that. */
  p = blkring_producer_attach (v->device, NULL);
  assert_ok (blkring_producer_append (p, "hello", 5, NULL));
  blkring_producer_free (p);
  d = connect_device (v, "bob");
  assert_no_handle (EROFS, blkring_consumer_attach (d, NULL));
  o = blkring_consumer_attach (d, &observer);
  assert_non_null (o);
  assert_ok (blkring_consumer_pop (o, NULL, &item));
  assert_int_equal (item.length, 5);
  blkring_consumer_free (o);
  blkring_device_close (d);
  served_free (v);
}

/* A device that says so is served so. */
static void
a_read_only_device (void **state)
{
  struct record_device *rd = new_format1 (512, 0);
  struct served *v = served_new (rd);
  struct service_client *c;

  (void) state;
  rd->geometry.flags = BLKRING_DEVICE_READ_ONLY;
  serve (v);
  c = join (v, "alice");
  assert_false (service_can (c, SERVICE_CAN_WRITE));
  assert_extents (c, "0 h1536 65536");
  service_disconnect (c);
  served_free (v);
}

/*---------------------------------------------------------------------*/

static json_t *
get_status (struct served *v)
{
  struct service_client *c = service_connect (v->s, "status", "s", false);
  const uint64_t size = service_size (c);
  char *text = malloc (size);
  json_error_t error;
  json_t *o;

  assert_ok (service_pread (c, text, size, 0));
  assert_int_equal (text[size - 1], '\n');
  o = json_loadb (text, size, 0, &error);
  if (o == NULL)
    fail_msg ("%s in %.*s", error.text, (int) size, text);
  free (text);
  service_disconnect (c);
  return o;
}

static json_int_t
number (json_t *o, const char *a, const char *b)
{
  o = json_object_get (o, a);
  if (b)
    o = json_object_get (o, b);
  assert_true (json_is_integer (o));
  return json_integer_value (o);
}

static void
the_status (void **state)
{
  struct served *v = served_on (new_format2 (BLKRING_DEVICE_FUA));
  blkring_device *pd = connect_device (v, "unix:/run/a \"quoted\"\n");
  blkring_device *cd = connect_device (v, "192.0.2.7:5000");
  blkring_producer *p = blkring_producer_attach (pd, NULL);
  blkring_consumer *c = blkring_consumer_attach (cd, NULL);
  struct service_client *vandal = join (v, "vandal");
  struct blkring_item item;
  json_t *o, *consumer;

  (void) state;
  assert_ok (blkring_producer_append (p, "abc", 3, NULL));
  assert_ok (blkring_producer_append (p, "defg", 4, NULL));
  assert_ok (blkring_consumer_pop (c, NULL, &item));
  assert_ok (blkring_consumer_advance (c, item.next));
  assert_refused (v, EINVAL, put_byte (vandal, 0, 1, 1));
  v->now += 3 * SECOND;
  o = get_status (v);
  assert_int_equal (number (o, "format", NULL), 2);
  assert_true (json_is_true (json_object_get (o, "guard")));
  assert_true (json_is_true (json_object_get (o, "sync")));
  assert_int_equal (number (o, "used", NULL), 512);
  assert_int_equal (number (o, "used", NULL) + number (o, "free", NULL),
                    number (o, "capacity", NULL));
  assert_string_equal (json_string_value (json_object_get (o, "state")),
                       "running");
  assert_int_equal (number (o, "connections", NULL), 4);
  assert_int_equal (number (o, "producer", "position"), 1024);
  assert_int_equal (number (json_object_get (o, "producer"), "pushed",
                            "items"), 2);
  assert_int_equal (number (json_object_get (o, "producer"), "pushed",
                            "bytes"), 1024);
  assert_int_equal (number (json_object_get (o, "producer"), "owner",
                            "silent-ms"), 3000);
  consumer = json_array_get (json_object_get (o, "consumers"), 0);
  assert_int_equal (number (consumer, "position", NULL), 512);
  assert_int_equal (number (consumer, "consumed", "items"), 1);
  assert_int_equal (number (consumer, "consumed", "bytes"), 512);
  assert_string_equal (json_string_value
                       (json_object_get (json_object_get (consumer, "owner"),
                                         "peer")), "192.0.2.7:5000");
  assert_int_equal (number (o, "rejected", "count"), 1);
  assert_string_equal (json_string_value
                       (json_object_get (json_object_get (o, "rejected"),
                                         "peer")), "vandal");
  json_decref (o);
  blkring_consumer_free (c);
  blkring_device_close (cd);
  o = get_status (v);
  consumer = json_array_get (json_object_get (o, "consumers"), 0);
  assert_true (json_is_null (json_object_get (consumer, "owner")));
  json_decref (o);
  blkring_producer_free (p);
  blkring_device_close (pd);
  service_disconnect (vandal);
  served_free (v);
}

/* A read that begins elsewhere goes on with what the first one showed. */
static void
the_status_is_of_one_moment (void **state)
{
  struct served *v = served_on (new_format1 (512, 0));
  struct service_client *s = service_connect (v->s, "status", "s", false);
  const uint64_t size = service_size (s);
  char *first = malloc (size), *second = malloc (size);
  struct service_client *c;
  json_t *o;

  (void) state;
  assert_ok (service_pread (s, first, size, 0));
  c = join (v, "alice");
  assert_ok (service_pread (s, second, size / 2, size / 2));
  assert_memory_equal (second, first + size / 2, size / 2);
  assert_ok (service_pread (s, second, 100, 0));
  assert_ok (service_pread (s, second + 100, size - 100, 100));
  assert_memory_not_equal (first, second, size);
  o = json_loadb (second, size, 0, NULL);
  assert_non_null (o);
  assert_int_equal (number (o, "connections", NULL), 2);
  json_decref (o);
  free (first);
  free (second);
  service_disconnect (c);
  service_disconnect (s);
  served_free (v);
}

/* All 64 consumers with owners of long names fit. */
static void
the_largest_status (void **state)
{
  const struct blkring_create_options create = { .block_size = 512,
                                                 .consumers = 64 };
  const struct record_options o = { .size = 1024 * 1024 };
  struct record_device *rd = record_device_new (&o);
  struct served *v;
  struct service_client *c;
  struct f2_record r;
  struct ring ring;
  unsigned char content[F2_CONTENT];
  char peer[300];
  unsigned k;
  json_t *status;

  (void) state;
  assert_ok (blkring_create (rd->device, &create));
  ring = ring_of (rd);
  v = served_on (rd);
  memset (peer, '<', sizeof peer);
  peer[sizeof peer - 1] = '\0';
  c = join (v, peer);
  for (k = F2_CONSUMER; k < F2_CONSUMER + 64; ++k) {
    get_record (rd, k, &r);
    r.epoch++;
    r.sequence = 1;
    r.flags = F2_ENABLED;
    f2_encode_record (content, ring.uuid, k, &r);
    assert_ok (put_bytes (c, f2_record_offset (k, 0), content,
                          sizeof content));
  }
  status = get_status (v);
  assert_int_equal (json_array_size (json_object_get (status, "consumers")),
                    64);
  json_decref (status);
  service_disconnect (c);
  served_free (v);
}

/*---------------------------------------------------------------------*/

static int
put_producer (struct service_client *c, uint64_t position)
{
  const struct f1_pointer v = { position, false };
  unsigned char sector[S];

  f1_encode_pointer (sector, S, SIDE_PRODUCER, &v, "q", "c");
  return put_bytes (c, S, sector, S);
}

static uint64_t
durable_producer (struct served *v)
{
  return get_le64 (v->rd->durable + S);
}

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

/*---------------------------------------------------------------------*/

/* Any alignment, on devices of any sector. */
static void
requests_of_any_alignment (void **state)
{
  const uint32_t sector = *(uint32_t *) *state;
  struct served *v = served_on (new_format1 (sector, BLKRING_DEVICE_FUA));
  struct service_client *c = join (v, "alice");
  const uint64_t data = 3 * (sector > 512 ? 4096 : 512), n = 40000;
  unsigned char *model = calloc (1, n), *buf = malloc (n);
  unsigned i, seed = 1, from, length, k;

  assert_ok (service_zero (c, n, data, 0));
  for (i = 0; i < 300; ++i) {
    seed = seed * 1103515245 + 12345;
    from = (seed >> 8) % n;
    seed = seed * 1103515245 + 12345;
    length = 1 + (seed >> 8) % (i % 3 ? 600 : 20000);
    if (length > n - from)
      length = n - from;
    for (k = 0; k < length; ++k)
      buf[k] = i % 5 ? i + k * 7 : 0;
    memcpy (model + from, buf, length);
    if (i % 5)
      assert_ok (service_pwrite (c, buf, length, data + from,
                                 i % 2 ? SERVICE_FLAG_FUA : 0));
    else
      assert_ok (service_zero (c, length, data + from,
                               i % 2 ? SERVICE_FLAG_FUA : 0));
    if (i % 2)
      assert_memory_equal (v->rd->durable + data + from, buf, length);
    seed = seed * 1103515245 + 12345;
    from = (seed >> 8) % n;
    length = (n - from) / (1 + i % 7);
    assert_ok (service_pread (c, buf, length, data + from));
    assert_memory_equal (buf, model + from, length);
  }
  free (model);
  free (buf);
  service_disconnect (c);
  served_free (v);
}

static unsigned zeroed, trimmed;

static int
do_zero (void *opaque, uint64_t count, uint64_t offset, unsigned flags)
{
  struct record_device *rd = opaque;

  if (zeroed++ == 0 && flags & SERVICE_FLAG_FAST_ZERO) {
    errno = ENOTSUP;
    return -1;
  }
  memset (rd->content + offset, 0, count);
  return 0;
}

static int
do_trim (void *opaque, uint64_t count, uint64_t offset)
{
  struct record_device *rd = opaque;

  trimmed++;
  memset (rd->content + offset, 0xff, count);
  return 0;
}

static void
zero_and_trim_of_the_device (void **state)
{
  struct served *v = served_new (new_format1 (512, 0));
  struct service_client *c;

  (void) state;
  serve (v);
  c = join (v, "alice");
  assert_fails (ENOTSUP, service_zero (c, 512, DATA, SERVICE_FLAG_FAST_ZERO));
  service_disconnect (c);
  service_close (v->s);
  v->options.device_ops.zero = do_zero;
  v->options.device_ops.trim = do_trim;
  v->options.device_opaque = v->rd;
  serve (v);
  c = join (v, "alice");
  assert_true (service_can (c, SERVICE_CAN_FAST_ZERO));
  assert_ok (put_byte (c, DATA, 'x', 4096));
  assert_fails (ENOTSUP, service_zero (c, 512, DATA, SERVICE_FLAG_FAST_ZERO));
  assert_reads (c, DATA, 'x', 512);
  assert_ok (service_zero (c, 512, DATA, SERVICE_FLAG_FAST_ZERO));
  assert_int_equal (zeroed, 2);
  assert_reads (c, DATA, 0, 512);
  assert_ok (service_trim (c, 1024, DATA + 512, 0));
  assert_int_equal (trimmed, 1);
  assert_reads (c, DATA + 512, 0, 1024);
  assert_reads (c, DATA + 1536, 'x', 512);
  /* Less than a sector is nothing that can be given back. */
  assert_ok (service_trim (c, 511, DATA + 2049, 0));
  assert_int_equal (trimmed, 1);
  service_disconnect (c);
  served_free (v);
}

static void
extents_are_clipped (void **state)
{
  struct served *v = served_on (new_format1 (512, 0));
  struct service_client *c = join (v, "alice");
  struct extents e = { 0 };

  (void) state;
  assert_ok (put_byte (c, DATA + 1024, 1, 512));
  assert_ok (service_extents (c, 3000, 1000, false, add_to_extents, &e));
  assert_int_equal (e.n, 4);
  assert_int_equal (e.v[0].offset, 1000);
  assert_int_equal (e.v[1].offset, DATA);
  assert_int_equal (e.v[3].offset + e.v[3].length, 4000);
  memset (&e, 0, sizeof e);
  assert_ok (service_extents (c, 3000, 2000, true, add_to_extents, &e));
  assert_int_equal (e.n, 1);
  assert_true (e.v[0].hole);
  assert_int_equal (e.v[0].length, DATA + 1024 - 2000);
  assert_fails (EINVAL, service_extents (c, 1, 65536, false, add_to_extents,
                                         &e));
  service_disconnect (c);
  served_free (v);
}

static void
without_the_guard_anything_goes (void **state)
{
  struct served *v = served_new (new_format1 (512, 0));
  struct service_client *a, *b;
  json_t *o;

  (void) state;
  v->options.guard = false;
  memset (v->rd->content + DATA, 0x55, 1024);
  serve (v);
  assert_log (v, "guard is off", "");
  a = join (v, "alice");
  b = join (v, "bob");
  assert_reads (a, DATA, 0x55, 1024);
  assert_ok (put_producer (a, 4096));
  assert_int_equal (durable_producer (v), 4096);
  assert_ok (put_producer (b, 0));
  assert_false (service_can (a, SERVICE_CAN_EXTENTS));
  o = get_status (v);
  assert_true (json_is_false (json_object_get (o, "guard")));
  assert_int_equal (number (o, "producer", "position"), 0);
  json_decref (o);
  assert_ok (put_byte (a, 0, 0, 512));
  assert_ok (service_trim (a, 512, 0, 0));
  service_disconnect (a);
  service_disconnect (b);
  served_free (v);
}

/* What belongs to a stopped server is told so. */
static void
create_erase_and_repair_are_refused (void **state)
{
  const struct blkring_create_options force = {
    .flags = BLKRING_CREATE_FORCE, .format = *(unsigned *) *state,
  };
  struct served *v = served_on (force.format == 1 ? new_format1 (512, 0)
                                : new_format2 (0));
  unsigned char *before = copy_content (v);
  blkring_device *d = connect_device (v, "administrator");
  blkring_producer *p;

  assert_fails (EINVAL, blkring_create (d, &force));
  assert_log (v, "administrator", "stop the server");
  forget_log (v);
  assert_fails (EINVAL, blkring_erase (d, NULL, 0, NULL, NULL));
  assert_log (v, "administrator", "stop the server");
  assert_memory_equal (before, v->rd->content, v->rd->allocated);
  free (before);
  /* What a producer that has gone had pushed. */
  p = blkring_producer_attach (d, NULL);
  assert_ok (blkring_producer_push (p, "staged", 6, NULL));
  record_device_fail (v->rd, RECORD_WRITE, 0, EIO);
  blkring_producer_free (p);
  blkring_device_close (d);
  d = connect_device (v, "administrator");
  before = copy_content (v);
  assert_int_equal (blkring_repair (d, NULL, BLKRING_REPAIR_LEAKS, NULL, NULL),
                    force.format == 1 ? 0 : -1);
  assert_memory_equal (before, v->rd->content, v->rd->allocated);
  free (before);
  blkring_device_close (d);
  served_free (v);
}

static void
a_vandal_does_not_fill_the_log (void **state)
{
  struct served *v = served_on (new_format1 (512, 0));
  struct service_client *c = join (v, "vandal"), *d;
  unsigned i;
  json_t *o;

  (void) state;
  for (i = 0; i < 1000; ++i)
    assert_int_equal (put_byte (c, 0, 1, 1), -1);
  assert_true (v->errors >= 16 && v->errors < 30);
  o = get_status (v);
  assert_int_equal (number (o, "rejected", "count"), 1000);
  json_decref (o);
  d = join (v, "other");
  assert_refused (v, EINVAL, put_byte (d, 0, 1, 1));
  service_disconnect (c);
  service_disconnect (d);
  served_free (v);
}

int
main (void)
{
  static uint32_t sectors[] = { 1, 512, 4096 };
  static unsigned fua = BLKRING_DEVICE_FUA, flush, one = 1, two = 2;
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (the_views),
    cmocka_unit_test (what_a_view_can),
    cmocka_unit_test (a_blank_device_is_formatted_when_asked),
    cmocka_unit_test (a_damaged_ring_is_not_served),
    cmocka_unit_test (others_on_this_host_are_kept_away),
    cmocka_unit_test (a_read_only_ring_is_looked_at),
    cmocka_unit_test (a_read_only_device),
    cmocka_unit_test (the_status),
    cmocka_unit_test (the_status_is_of_one_moment),
    cmocka_unit_test (the_largest_status),
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
    { "requests of any alignment, bytes", requests_of_any_alignment, NULL,
      NULL, &sectors[0] },
    { "requests of any alignment, sectors of 512", requests_of_any_alignment,
      NULL, NULL, &sectors[1] },
    { "requests of any alignment, sectors of 4096", requests_of_any_alignment,
      NULL, NULL, &sectors[2] },
    cmocka_unit_test (zero_and_trim_of_the_device),
    cmocka_unit_test (extents_are_clipped),
    cmocka_unit_test (without_the_guard_anything_goes),
    { "create, erase and repair are refused, format 1",
      create_erase_and_repair_are_refused, NULL, NULL, &one },
    { "create, erase and repair are refused, format 2",
      create_erase_and_repair_are_refused, NULL, NULL, &two },
    cmocka_unit_test (a_vandal_does_not_fill_the_log),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
