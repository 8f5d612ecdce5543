/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What lies on a device with a ring of format 2, for tests that read and
 * change it: through the library's own encoders, and behind the back of
 * whoever is attached.
 */

#ifndef FORMAT2_BYTES_H
#define FORMAT2_BYTES_H

#include "format2.h"
#include "record-fixture.h"

#define assert_ok(call) \
  do { \
    if ((call) != 0) \
      fail_msg ("%s: %s", #call, blkring_get_error ()); \
  } while (0)

#define assert_fails(error, call) \
  do { \
    assert_int_equal ((call), -1); \
    assert_error (error); \
  } while (0)

#define assert_no_handle(error, call) \
  do { \
    assert_null (call); \
    assert_error (error); \
  } while (0)

/* What the last failure was. */
static inline void
assert_error (int error)
{
  if (errno != error || blkring_get_errno () != error)
    fail_msg ("errno %d, expected %d: %s", errno, error,
              blkring_get_error ());
}

/* The message of the last failure has this in it. */
static inline void
assert_message (const char *text)
{
  if (strstr (blkring_get_error (), text) == NULL)
    fail_msg ("no \"%s\" in \"%s\"", text, blkring_get_error ());
}

/*---------------------------------------------------------------------*/

static inline struct ring
ring_of (struct record_device *rd)
{
  struct ring ring;

  assert_ok (ring_open (rd->device, 0, &ring));
  assert_int_equal (ring.format->number, 2);
  return ring;
}

/* The record that counts; returns which copy it is. */
static inline unsigned
get_record (struct record_device *rd, unsigned kind, struct f2_record *r)
{
  const struct ring ring = ring_of (rd);
  struct f2_records rs;
  unsigned copy;

  assert_ok (f2_records_init (&rs, &ring));
  assert_ok (f2_read_records (&ring, &rs));
  *r = rs.record[kind];
  copy = rs.copy[kind];
  f2_records_free (&rs);
  return copy;
}

static inline void
poke_record (struct record_device *rd, unsigned kind, unsigned copy,
             const struct f2_record *r)
{
  const struct ring ring = ring_of (rd);
  unsigned char content[F2_CONTENT];

  f2_encode_record (content, ring.uuid, kind, r);
  record_device_poke (rd, f2_record_offset (kind, copy), content,
                      sizeof content);
}

/* Let the record say this, in the copy that counts. */
static inline void
set_record (struct record_device *rd, unsigned kind,
            const struct f2_record *r)
{
  struct f2_record old;

  poke_record (rd, kind, get_record (rd, kind, &old), r);
}

/* Header of the frame at a position; false when there is none. */
static inline bool
get_frame (struct record_device *rd, uint64_t position, struct f2_frame *f)
{
  const struct ring ring = ring_of (rd);

  return f2_decode_frame (rd->content + ring_offset (&ring, position), &ring,
                          position, f);
}

/* Change bytes of the stream, around the end of the data area, too. */
static inline void
poke_stream (struct record_device *rd, uint64_t position, const void *bytes,
             size_t length)
{
  const struct ring ring = ring_of (rd);
  const unsigned char *p = bytes;
  size_t i;

  for (i = 0; i < length; ++i)
    record_device_poke (rd, ring_offset (&ring, position + i), p + i, 1);
}

/* One byte is not what it was. */
static inline void
damage (struct record_device *rd, uint64_t offset)
{
  const unsigned char byte = rd->content[offset] ^ 1;

  record_device_poke (rd, offset, &byte, 1);
}

static inline void
damage_stream (struct record_device *rd, uint64_t position)
{
  const struct ring ring = ring_of (rd);

  damage (rd, ring_offset (&ring, position));
}

/*---------------------------------------------------------------------*/

struct findings {
  unsigned leaks, corruptions;
  uint64_t offset;           /* of the first corruption */
  char message[400];
};

static inline void
add_finding2 (void *opaque, const struct blkring_finding *finding)
{
  struct findings *f = opaque;

  assert_true (finding->message[0] != '\0');
  if (finding->kind == BLKRING_FINDING_LEAK)
    f->leaks++;
  else if (f->corruptions++ == 0) {
    f->offset = finding->offset;
    strncpy (f->message, finding->message, sizeof f->message - 1);
  }
}

static inline struct findings
check (struct record_device *rd)
{
  struct findings f = { 0 };
  int n = blkring_check (rd->device, NULL, add_finding2, &f);

  if (n == -1)
    fail_msg ("%s", blkring_get_error ());
  assert_int_equal (n, f.leaks + f.corruptions);
  return f;
}

/* Nothing is wrong; what was never exposed may leak. */
static inline void
assert_clean (struct record_device *rd)
{
  const struct findings f = check (rd);

  if (f.corruptions > 0)
    fail_msg ("%s", f.message);
}

#endif /* FORMAT2_BYTES_H */
