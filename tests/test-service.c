/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The service core, apart from the rules of the formats: views, opening,
 * status.
 */

#include <config.h>

#include <stdlib.h>
#include <unistd.h>

#include "service-rings.h"

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

int
main (void)
{
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
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
