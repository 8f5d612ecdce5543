/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who owns a side of a ring of format 2, as its records say.
 */

#include <config.h>

#include <string.h>

#include "format2.h"
#include "owner.h"

#define UUID 64              /* in the superblock */

void
read_owner (const unsigned char *image, unsigned side, struct owner *o)
{
  const unsigned kind = side == 0 ? F2_PRODUCER : F2_CONSUMER;
  const unsigned char *super = f2_has_magic (image) ? image
    : image + F2_SLOT;
  struct f2_record r[2];
  unsigned copy;

  memset (o, 0, sizeof *o);
  for (copy = 0; copy < 2; ++copy) {
    o->valid[copy] = f2_decode_record (image + f2_record_offset (kind, copy),
                                       super + UUID, kind, &r[copy]);
    if (!o->valid[copy])
      continue;
    o->epoch[copy] = r[copy].epoch;
    o->sequence[copy] = r[copy].sequence;
  }
  if (!o->valid[0] && !o->valid[1])
    return;
  o->counts = !o->valid[0] || (o->valid[1] &&
                            (r[1].epoch > r[0].epoch ||
                             (r[1].epoch == r[0].epoch &&
                              r[1].sequence > r[0].sequence)));
  o->clean = r[o->counts].flags & F2_CLEAN;
  o->position = r[o->counts].position;
}
