/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See images.h.  Each is made once, through the library, on a device in
 * memory; then what differs from run to run is made the same.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "format2.h"
#include "images.h"

struct maker {
  blkring_device *device;
  blkring_producer *p;
  blkring_consumer *c;
  uint64_t size;
};

static void
must (bool done)
{
  if (!done)
    abort ();
}

static struct maker
start (uint64_t size, uint32_t sector,
       const struct blkring_create_options *ring)
{
  struct maker m = { .device = blkring_device_memory (size, sector),
                     .size = size };

  must (m.device && blkring_create (m.device, ring) == 0);
  m.p = blkring_producer_attach (m.device, NULL);
  m.c = blkring_consumer_attach (m.device, NULL);
  must (m.p && m.c);
  return m;
}

static int
put (struct maker *m, char name, size_t length)
{
  char item[8192];

  memset (item, name, length);
  return blkring_producer_append (m->p, item, length, NULL);
}

static void
free_items (struct maker *m, unsigned n)
{
  struct blkring_item item;

  while (n-- > 0 && blkring_consumer_pop (m->c, NULL, &item) == 0)
    must (blkring_consumer_advance (m->c, item.next) == 0);
}

static void
some_items (struct maker *m)
{
  const struct iovec batch[3] = { { (char *) "bbb", 3 }, { NULL, 0 },
                                  { (char *) "dddd", 4 } };

  put (m, 'a', 200);
  must (blkring_producer_appendv (m->p, batch, 3, NULL) == 0);
  put (m, 'e', 700);
  put (m, 'f', 0);
}

static void
fill (struct maker *m)
{
  while (put (m, 'x', 300) == 0)
    ;
}

static void
detach (struct maker *m)
{
  blkring_producer_free (m->p);
  blkring_consumer_free (m->c);
  m->p = NULL;
  m->c = NULL;
}

/*---------------------------------------------------------------------*/

static struct maker
format1_items (void)
{
  struct maker m = start (20 * 512, 512,
                          &(struct blkring_create_options) { .format = 1 });

  put (&m, 'o', 1500);
  free_items (&m, 1);
  some_items (&m);
  return m;
}

static struct maker
format1_full (void)
{
  struct maker m = start (20 * 512, 512,
                          &(struct blkring_create_options) { .format = 1 });

  put (&m, 'o', 5000);
  free_items (&m, 1);
  fill (&m);
  must (blkring_consumer_suspend (m.c) == 0);
  return m;
}

static struct maker
format1_4096 (void)
{
  struct maker m = start (8 * 4096, 4096,
                          &(struct blkring_create_options) { .format = 1 });

  some_items (&m);
  return m;
}

static struct maker
small2 (unsigned consumers)
{
  return start (4096 * (6 + 2 * consumers) + 16 * 512, 512,
                &(struct blkring_create_options) {
                  .block_size = 512, .consumers = consumers,
                });
}

/* Its owners die, with something staged. */
static struct maker
format2_items (void)
{
  struct maker m = small2 (1);

  put (&m, 'o', 3000);
  free_items (&m, 1);
  some_items (&m);
  must (blkring_producer_push (m.p, "gg", 2, NULL) == 0);
  free_items (&m, 2);
  return m;
}

static struct maker
format2_clean (void)
{
  struct maker m = format2_items ();

  detach (&m);
  return m;
}

static struct maker
format2_three (void)
{
  struct maker m = small2 (3);

  some_items (&m);
  free_items (&m, 2);
  detach (&m);
  must (blkring_consumer_enable (m.device, 2, false) == 0);
  return m;
}

static struct maker
format2_empty (void)
{
  struct maker m = small2 (1);

  detach (&m);
  return m;
}

/* Around the end, full, and suspended. */
static struct maker
format2_full (void)
{
  struct maker m = small2 (1);

  put (&m, 'o', 5000);
  put (&m, 'p', 600);
  free_items (&m, 2);
  put (&m, 'q', 900);
  fill (&m);
  must (blkring_consumer_suspend (m.c) == 0 &&
        blkring_producer_state (m.p) == BLKRING_SUSPENDED);
  return m;
}

static struct maker
format2_4096 (void)
{
  struct maker m = start (17 * 4096, 4096,
                          &(struct blkring_create_options) { .format = 2 });

  put (&m, 'o', 8000);
  free_items (&m, 1);
  some_items (&m);
  detach (&m);
  return m;
}

static const struct {
  const char *name;
  struct maker (*make) (void);
} bases[NR_BASES] = {
  { "format1", format1_items }, { "format1-full", format1_full },
  { "format1-4096", format1_4096 }, { "format2", format2_items },
  { "format2-clean", format2_clean }, { "format2-three", format2_three },
  { "format2-empty", format2_empty }, { "format2-full", format2_full },
  { "format2-4096", format2_4096 },
};

/*---------------------------------------------------------------------*/

/* The times, the owners and the uuid.  Who was attached is on another host
 * from now on. */
static void
make_the_same (unsigned char *image, size_t size)
{
  static const unsigned char uuid[16] = "blkring fuzzing";
  unsigned char old[16], *p;
  struct f2_super super;
  struct f2_record r;
  unsigned kind, copy;
  uint64_t at;

  if (!f2_decode_super (image, &super))
    return;
  memcpy (old, super.uuid, sizeof old);
  memcpy (super.uuid, uuid, sizeof uuid);
  super.created = 0;
  f2_encode_super (image, &super);
  f2_encode_super (image + F2_SLOT, &super);
  for (kind = 0; kind < F2_CONSUMER + super.consumers; ++kind)
    for (copy = 0; copy < 2; ++copy) {
      p = image + f2_record_offset (kind, copy);
      if (!f2_decode_record (p, old, kind, &r))
        continue;
      memset (&r.owner, 0, sizeof r.owner);
      memset (r.owner.boot_id, 1, sizeof r.owner.boot_id);
      strcpy (r.owner.host, "elsewhere");
      r.owner.pid = 1;
      r.time = 0;
      f2_encode_record (p, uuid, kind, &r);
    }
  for (at = super.data_offset; at + super.block_size <= size;
       at += super.block_size)
    if (memcmp (image + at, "BRFR", 4) == 0)
      put_le64 (image + at + 40, 0);
  fix_checksums (image, size);
}

const unsigned char *
base_image (unsigned nr, size_t *size)
{
  static struct { unsigned char *p; size_t size; } made[NR_BASES];
  struct maker m;

  if (made[nr].p == NULL) {
    m = bases[nr].make ();
    made[nr].p = malloc (m.size);
    made[nr].size = m.size;
    must (made[nr].p &&
          blkring_device_read (m.device, made[nr].p, m.size, 0) == 0);
    detach (&m);
    blkring_device_close (m.device);
    make_the_same (made[nr].p, m.size);
  }
  *size = made[nr].size;
  return made[nr].p;
}

const char *
base_name (unsigned nr)
{
  return bases[nr].name;
}
