/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Devices with no ring on them, or with one that was cut or whose bytes
 * were changed: nobody attaches to what is no ring, whatever the bytes are
 * nothing crashes, and who is let in writes in its own places alone.
 */

#include <config.h>

#include <stdio.h>

#include "record-fixture.h"

#define MAGIC "mirage shared-block-device 1.0"

static void
ignore_finding (void *opaque, const struct blkring_finding *finding)
{
  (void) opaque;
  (void) finding;
}

static int
ignore_region (void *opaque, const struct blkring_region *region)
{
  (void) opaque;
  (void) region;
  return 0;
}

static int
ignore_item (void *opaque, const struct blkring_item *item)
{
  (void) opaque;
  (void) item;
  return 0;
}

/* Every way in fails like this. */
static void
assert_refused (struct record_device *rd, int error)
{
  struct blkring_info info;

  assert_null (blkring_producer_attach (rd->device, NULL));
  assert_int_equal (errno, error);
  assert_null (blkring_consumer_attach (rd->device, NULL));
  assert_int_equal (errno, error);
  assert_int_equal (blkring_inspect (rd->device, NULL, &info), -1);
  assert_int_equal (errno, error);
  assert_int_equal (blkring_map (rd->device, NULL, ignore_region, NULL), -1);
  assert_int_equal (errno, error);
  if (error == EMEDIUMTYPE) {
    assert_int_equal (blkring_check (rd->device, NULL, ignore_finding, NULL),
                      -1);
    assert_int_equal (errno, error);
  }
  else
    assert_int_not_equal (blkring_check (rd->device, NULL, ignore_finding,
                                         NULL), 0);
  assert_int_equal (rd->writes, 0);
  assert_int_equal (rd->bad_requests, 0);
}

static void
blank_device (void **state)
{
  struct record_options o = { .sector_size = 1 };
  struct record_device *rd;

  (void) state;
  for (o.size = 0; o.size <= 20 * S; o.size += o.size < 40 ? 1 : 97) {
    rd = record_device_new (&o);
    assert_refused (rd, EMEDIUMTYPE);
    record_device_free (rd);
  }
}

static void
other_signature (void **state)
{
  unsigned char image[SECTORS * S];
  const struct record_options o = { .size = sizeof image, .image = image };
  struct record_device *rd;
  size_t i;

  (void) state;
  memset (image, 0xff, sizeof image);
  rd = record_device_new (&o);
  assert_refused (rd, EMEDIUMTYPE);
  record_device_free (rd);
  for (i = 0; i < strlen (MAGIC); ++i) {
    rd = record_device_new_ring (&o, 0);
    rd->content[i] ^= 1;
    assert_refused (rd, EMEDIUMTYPE);
    record_device_free (rd);
  }
}

/* A ring that was cut is too small, or no number of sectors: that breaks
 * the format, and the message says how large it is. */
static void
size_does_not_fit (void **state)
{
  unsigned char image[SECTORS * S] = MAGIC;
  struct record_options o = { .sector_size = 1, .image = image };
  struct record_device *rd;
  char number[24];

  (void) state;
  image[S + 8] = image[2 * S + 8] = 2;
  for (o.size = strlen (MAGIC); o.size < sizeof image;
       o.size += o.size < 5 * S ? 1 : 41) {
    if (o.size % S == 0 && o.size >= 4 * S)
      continue;
    rd = record_device_new (&o);
    assert_refused (rd, EBADMSG);
    assert_null (blkring_producer_attach (rd->device, NULL));
    snprintf (number, sizeof number, "%u", (unsigned) o.size);
    assert_non_null (strstr (blkring_get_error (), number));
    record_device_free (rd);
  }
}

/*---------------------------------------------------------------------*/

/* In the places where a ring of larger sectors would have its pointers
 * lies what somebody has pushed.  When a pointer breaks that must not be
 * taken for another, empty, ring. */
static void
payload_is_no_pointer (void **state)
{
  static unsigned char item[20000];
  const struct record_options o = { .size = 64 * S };
  struct record_device *rd = record_device_new_ring (&o, 0);
  blkring_producer *p = blkring_producer_attach (rd->device, NULL);
  const size_t begin = 3 * S + 4;

  (void) state;
  assert_non_null (p);
  item[4096 + 8 - begin] = item[8192 + 8 - begin] = 2;
  assert_int_equal (blkring_producer_append (p, item, sizeof item, NULL), 0);
  blkring_producer_free (p);
  record_device_forget (rd);
  record_device_poke (rd, S + 8, "", 1);
  assert_null (blkring_producer_attach (rd->device, NULL));
  assert_int_equal (errno, EBADMSG);
  assert_non_null (strstr (blkring_get_error (), "byte 520"));
  assert_int_equal (rd->writes, 0);
  record_device_free (rd);
}

/* The owner of this sector writes nothing else outside of the data area. */
static void
assert_wrote_only (const struct record_device *rd, uint64_t own)
{
  size_t i = 0;

  while ((i = record_device_find (rd, RECORD_WRITE, i)) < rd->nr_log) {
    assert_true (rd->log[i].offset == own || rd->log[i].offset >= 3 * S);
    assert_true (rd->log[i].offset != own || rd->log[i].length == S);
    i++;
  }
}

static void
use_producer (struct record_device *rd)
{
  static const char data[CAPACITY];
  blkring_producer *p = blkring_producer_attach (rd->device, NULL);
  unsigned i;

  if (p == NULL) {
    assert_int_equal (errno, EBADMSG);
    assert_int_equal (rd->writes, 0);
    return;
  }
  (void) blkring_producer_append (p, data, 1, NULL);
  for (i = 0; i < 8; ++i)
    (void) blkring_producer_append (p, data, CAPACITY >> i, NULL);
  (void) blkring_producer_state (p);
  blkring_producer_free (p);
  assert_wrote_only (rd, S);
}

static void
use_consumer (struct record_device *rd)
{
  blkring_consumer *c = blkring_consumer_attach (rd->device, NULL);
  struct blkring_item items[4];
  ssize_t n;

  if (c == NULL) {
    assert_int_equal (errno, EBADMSG);
    assert_int_equal (rd->writes, 0);
    return;
  }
  if (blkring_consumer_fold (c, NULL, ignore_item, NULL) == -1)
    assert_int_equal (errno, EBADMSG);
  while ((n = blkring_consumer_popv (c, NULL, items, 4)) > 0)
    if (blkring_consumer_advance (c, items[n - 1].next) == -1)
      break;
  (void) blkring_consumer_suspend (c);
  (void) blkring_consumer_resume (c);
  blkring_consumer_free (c);
  assert_wrote_only (rd, 2 * S);
}

/* Set the byte to each value.  What the ring then is, is not asked. */
static void
try_byte (const struct record_device *good, uint64_t offset)
{
  struct record_device *rd;
  struct blkring_info info;
  unsigned char byte;
  unsigned value;

  for (value = 0; value < 256; ++value) {
    byte = value;
    rd = record_device_after_crash (good, 0);
    record_device_poke (rd, offset, &byte, 1);
    if (blkring_inspect (rd->device, NULL, &info) == -1)
      assert_int_equal (errno, EBADMSG);
    assert_true (blkring_check (rd->device, NULL, ignore_finding, NULL)
                 >= 0);
    (void) blkring_map (rd->device, NULL, ignore_region, NULL);
    assert_int_equal (rd->writes, 0);
    use_consumer (rd);
    record_device_free (rd);

    rd = record_device_after_crash (good, 0);
    record_device_poke (rd, offset, &byte, 1);
    use_producer (rd);
    record_device_free (rd);
  }
}

/* Positions past the end of the data area, and an item around it. */
static void
any_byte_is_survived (void **state)
{
  struct fixture f = start (state, NULL, NULL);
  uint64_t offset, first;
  unsigned i;

  append (f.p, 'a', CAPACITY - 800);
  drain (f.c);
  append (f.p, 'b', 100);
  first = append (f.p, 'b', 100);
  append (f.p, 'c', 1000);
  for (offset = S; offset <= 2 * S; offset += S)
    for (i = 0; i < 10; ++i)
      try_byte (f.rd, offset + i);
  for (i = 0; i < 4; ++i) {
    try_byte (f.rd, 3 * S + first + i);
    try_byte (f.rd, 3 * S + first - 104 + i);
  }
  stop (&f);
}

#define ONE(text, function) { text, function, NULL, NULL, NULL }

int
main (void)
{
  const struct CMUnitTest tests[] = {
    ONE ("a blank device holds no ring", blank_device),
    ONE ("another signature is no ring's", other_signature),
    ONE ("a ring that was cut is refused", size_does_not_fit),
    ONE ("payload is not taken for pointers", payload_is_no_pointer),
    EACH ("any value of a byte is survived", any_byte_is_survived),
  };

  return cmocka_run_group_tests_name ("no ring", tests, NULL, NULL);
}
