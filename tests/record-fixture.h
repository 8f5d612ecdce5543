/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the tests on a recording device have in common: a ring with both
 * sides attached, on a device that is made durable by flushes or by FUA,
 * and what a crash would leave of it.
 */

#ifndef RECORD_FIXTURE_H
#define RECORD_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "record-device.h"

#define S 512
#define SECTORS 16
#define CAPACITY ((SECTORS - 3) * S)

/* A test on each kind of device, for a table of tests in a function.  The
 * state is the flags of the device. */
#define EACH(text, function) \
  { text ", by flushes", function, NULL, NULL, &(unsigned) { 0 } }, \
  { text ", by FUA", function, NULL, NULL, \
    &(unsigned) { BLKRING_DEVICE_FUA } }

static const struct blkring_attach_options careless = {
  .durability = BLKRING_DURABILITY_NONE,
};

struct fixture {
  struct record_device *rd;
  blkring_producer *p;
  blkring_consumer *c;
};

/* Attach both sides, and forget how. */
static inline struct fixture
start_on (struct record_device *rd,
          const struct blkring_attach_options *producer,
          const struct blkring_attach_options *consumer)
{
  struct fixture f = { .rd = rd };

  f.p = blkring_producer_attach (rd->device, producer);
  assert_non_null (f.p);
  f.c = blkring_consumer_attach (rd->device, consumer);
  assert_non_null (f.c);
  record_device_forget (rd);
  return f;
}

static inline struct fixture
start (void **state, const struct blkring_attach_options *producer,
       const struct blkring_attach_options *consumer)
{
  const struct record_options o = {
    .size = SECTORS * S,
    .flags = *(unsigned *) *state,
  };

  return start_on (record_device_new_ring (&o, 0), producer, consumer);
}

static inline void
stop (struct fixture *f)
{
  blkring_producer_free (f->p);
  blkring_consumer_free (f->c);
  assert_int_equal (f->rd->bad_requests, 0);
  record_device_free (f->rd);
}

/* Items are told apart by their first byte. */
static inline blkring_position
push (blkring_producer *p, char name, size_t length)
{
  char item[CAPACITY];
  blkring_position after;

  assert_true (length <= sizeof item);
  memset (item, name, length);
  assert_int_equal (blkring_producer_push (p, item, length, &after), 0);
  return after;
}

static inline blkring_position
append (blkring_producer *p, char name, size_t length)
{
  blkring_position after = push (p, name, length);

  assert_int_equal (blkring_producer_advance (p, after), 0);
  return after;
}

/* Pop and free everything. */
static inline void
drain (blkring_consumer *c)
{
  struct blkring_item item;

  while (blkring_consumer_pop (c, NULL, &item) == 0)
    assert_int_equal (blkring_consumer_advance (c, item.next), 0);
  assert_int_equal (errno, EAGAIN);
}

static inline int
add_name (void *opaque, const struct blkring_item *item)
{
  char *names = opaque;
  const char *data = item->data;
  size_t i, n = strlen (names);

  assert_true (item->length > 0);
  for (i = 1; i < item->length; ++i)
    assert_int_equal (data[i], data[0]);
  names[n] = data[0];
  names[n + 1] = '\0';
  return 0;
}

/* What a new consumer finds after a crash that lost all that may be lost
 * (survivors 0) or nothing (-1): the names of the items. */
static inline void
assert_crash_leaves (const struct fixture *f, uint64_t survivors,
                     const char *expected)
{
  struct record_device *rd = record_device_after_crash (f->rd, survivors);
  blkring_consumer *c = blkring_consumer_attach (rd->device, NULL);
  char names[32] = "";

  if (c == NULL)
    fail_msg ("%s", blkring_get_error ());
  if (blkring_consumer_fold (c, NULL, add_name, names) != 0)
    fail_msg ("%s", blkring_get_error ());
  assert_string_equal (names, expected);
  blkring_consumer_free (c);
  record_device_free (rd);
}

#endif /* RECORD_FIXTURE_H */
