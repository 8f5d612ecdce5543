/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rings of both formats for the tests of the service core, and its status as
 * JSON.
 */

#ifndef SERVICE_RINGS_H
#define SERVICE_RINGS_H

#include <jansson.h>

#include "lock.h"
#include "service-fixture.h"

#define DATA (3 * S)

static inline struct record_device *
new_format1 (uint32_t sector_size, unsigned flags)
{
  const struct record_options o = {
    .size = 16 * 4096, .sector_size = sector_size, .flags = flags,
  };

  return record_device_new_ring (&o, sector_size > 512 ? 4096 : 512);
}

static inline struct record_device *
new_format2 (unsigned flags)
{
  const struct record_options o = { .size = 128 * 1024, .flags = flags };
  const struct blkring_create_options create = { .block_size = 512 };
  struct record_device *rd = record_device_new (&o);

  assert_ok (blkring_create (rd->device, &create));
  record_device_forget (rd);
  return rd;
}

static inline void
assert_not_served (struct served *v, int error, const char *message)
{
  v->s = service_open (v->device, &v->options);
  assert_null (v->s);
  assert_error (error);
  assert_message (message);
}

static inline json_t *
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

static inline json_int_t
number (json_t *o, const char *a, const char *b)
{
  o = json_object_get (o, a);
  if (b)
    o = json_object_get (o, b);
  assert_true (json_is_integer (o));
  return json_integer_value (o);
}

static inline int
put_producer (struct service_client *c, uint64_t position)
{
  const struct f1_pointer v = { position, false };
  unsigned char sector[S];

  f1_encode_pointer (sector, S, SIDE_PRODUCER, &v, "q", "c");
  return put_bytes (c, S, sector, S);
}

static inline uint64_t
durable_producer (struct served *v)
{
  return get_le64 (v->rd->durable + S);
}

#endif /* SERVICE_RINGS_H */
