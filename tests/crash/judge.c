/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Does what a crash left keep the promise?  See judge.h.
 *
 * Of each image: check finds no damage; both sides attach, in either order;
 * the items are those that were exposed and not freed, each whole and in
 * order; the suspend state is one that the protocol allows; and the ring
 * goes on working, to its full capacity.  And all this also when the power
 * goes again while they attach.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "images.h"
#include "owner.h"

#define POPS 64
#define JUDGE 15             /* identity of those who attach afterwards */

static void
wrong (struct judge *j, const char *fmt, ...)
{
  va_list args;

  if (j->problem[0])
    return;
  va_start (args, fmt);
  vsnprintf (j->problem, sizeof j->problem, fmt, args);
  va_end (args);
}

/* The library does not do what it should.  But damage by a producer that was
 * replaced is to be told. */
static void
failed (struct judge *j, const char *what)
{
  if (j->may_tell && errno == EBADMSG)
    j->told = true;
  else
    wrong (j, "%s: %s", what, blkring_get_error ());
}

static bool
goes_on (const struct judge *j)
{
  return !j->problem[0] && !j->told;
}

void
judge_init (struct judge *j, const struct disk *disk, size_t nr_known)
{
  unsigned i;

  memset (j, 0, sizeof *j);
  j->most = 1024;
  j->recover_one_in = 1;
  j->random = 1;
  j->nr_known = nr_known;
  j->known = calloc (nr_known, sizeof j->known[0]);
  if (j->known == NULL)
    abort ();
  for (i = 0; i < 2; ++i) {
    disk_init (&j->level[i].disk, disk->size, disk->flags);
    j->level[i].disk.region = disk->region;
    port_open (&j->level[i].producer, &j->level[i].disk, j);
    port_open (&j->level[i].consumer, &j->level[i].disk, j);
  }
}

void
judge_free (struct judge *j)
{
  unsigned i;

  for (i = 0; i < 2; ++i) {
    port_close (&j->level[i].producer);
    port_close (&j->level[i].consumer);
    disk_free (&j->level[i].disk);
  }
  free (j->known);
}

/*---------------------------------------------------------------------*/
/* One image.                                                            */

struct findings {
  unsigned nr;
  char last[600];
};

static void
add_finding (void *opaque, const struct blkring_finding *finding)
{
  struct findings *f = opaque;

  if (finding->kind == BLKRING_FINDING_LEAK)
    return;
  f->nr++;
  snprintf (f->last, sizeof f->last, "%s", finding->message);
}

/* Has one that was replaced written over a copy of its successor's
 * record? */
static bool
has_late_copy (const struct judge *j, unsigned level, unsigned side)
{
  struct owner o;

  read_owner (j->level[level].disk.content, side, &o);
  return o.valid[0] && o.valid[1] && o.epoch[0] != o.epoch[1] &&
    o.sequence[o.counts] > 1;
}

/* And the power failed while that one wrote the other copy: then its epoch
 * is over, and nobody can tell. */
static bool
is_only_late (const struct judge *j, unsigned level, const struct model *m)
{
  struct owner o;
  unsigned side;

  for (side = 0; side < SIDES_OF_RING; ++side) {
    read_owner (j->level[level].disk.content, side, &o);
    if (m->late & LATE (side) && o.valid[0] + o.valid[1] == 1 &&
        o.epoch[o.counts] < m->epoch[side])
      return true;
  }
  return false;
}

/* Of a ring that is being made anew nobody can tell. */
static void
look_at_owners (struct judge *j, unsigned level, const struct model *m)
{
  struct owner o;
  unsigned side, copy;

  if (m->shape.format == 1 || m->one_super)
    return;
  for (side = 0; side < SIDES_OF_RING; ++side) {
    if (m->late & LATE (side))
      continue;
    read_owner (j->level[level].disk.content, side, &o);
    if (m->clean[side] && !o.clean)
      wrong (j, "the record of side %u does not say that it is free", side);
    for (copy = 0; copy < 2; ++copy)
      if (o.valid[copy] && o.epoch[copy] < m->epoch[side])
        wrong (j, "copy %u of the record of side %u has epoch %" PRIu64
               ", which is over", copy, side, o.epoch[copy]);
  }
}

/* Returns false when there is no ring, and need not be. */
static bool
look_at (struct judge *j, unsigned level, const struct model *m)
{
  static const struct blkring_inspect_options pointers = {
    .flags = BLKRING_INSPECT_POINTERS,
  };
  blkring_device *device = j->level[level].producer.device;
  const bool late_copy = m->late & LATE (OF_CONSUMER) &&
    has_late_copy (j, level, OF_CONSUMER);
  struct findings f = { 0, "" };
  static struct blkring_info info;
  int r;

  r = blkring_check (device, NULL, add_finding, &f);
  if (r == -1 && errno == EMEDIUMTYPE && m->no_ring)
    return false;
  if (r == -1)
    failed (j, "check");
  else if (late_copy && f.nr == 0)
    wrong (j, "check does not find what a consumer that had been replaced "
           "wrote");
  else if (f.nr > m->one_super + j->level[level].torn + late_copy) {
    /* What it says of damage need not go on to be true of the rest. */
    if (!j->may_tell)
      wrong (j, "check finds: %s", f.last);
  }
  else if (blkring_inspect (device, &pointers, &info) == -1)
    failed (j, "inspect");
  else if (!(m->states & STATE (info.state)) &&
           !(m->new_ring && info.state == BLKRING_RUNNING))
    wrong (j, "the ring is in state %d, which it cannot be", info.state);
  else
    look_at_owners (j, level, m);
  return true;
}

/* The first items that what was popped may begin with. */
struct match {
  bool old[MODEL_BOUNDS];    /* firsts.at[i] is one */
  unsigned nr;               /* items popped */
};

static void
match_item (struct match *match, const struct model *m,
            const struct blkring_item *item)
{
  unsigned i, number;

  for (i = 0; i < m->firsts.nr; ++i) {
    number = m->firsts.at[i] + match->nr;
    match->old[i] = match->old[i] && number < bounds_max (&m->ends) &&
      item_is (model_get (m, number), item->data, item->length);
  }
  match->nr++;
}

/* Read all there is, and where that ends. */
static int
pop_all (blkring_consumer *c, const struct model *m, struct match *match,
         blkring_position *end)
{
  struct blkring_item items[POPS];
  ssize_t n, i;

  memset (match->old, 1, sizeof match->old);
  match->nr = 0;
  if (blkring_consumer_position (c, end) == -1)
    return -1;
  while ((n = blkring_consumer_popv (c, end, items, POPS)) > 0) {
    for (i = 0; i < n; ++i)
      match_item (match, m, &items[i]);
    *end = items[n - 1].next;
  }
  return errno == EAGAIN ? 0 : -1;
}

static void
describe_bounds (const struct bounds *b, char *text, size_t size)
{
  size_t used = 0;
  unsigned i;

  for (i = 0; i < b->nr && used < size; ++i)
    used += snprintf (text + used, size - used, "%s%u", i ? "|" : "",
                      b->at[i]);
}

/* The items must be from one that may be first to one that may be last.
 * 'm' is then sure of that. */
static bool
settle (struct model *m, const struct match *match)
{
  unsigned i, first;

  if (m->new_ring)
    m->states |= STATE (BLKRING_RUNNING);
  for (i = 0; i < m->firsts.nr; ++i) {
    first = m->firsts.at[i];
    if (match->old[i] &&
        (bounds_have (&m->ends, first + match->nr) ||
         (match->nr == 0 && bounds_min (&m->ends) < first))) {
      bounds_set (&m->ends, first + match->nr);
      bounds_set (&m->firsts, first);
      m->no_ring = m->new_ring = false;
      return true;
    }
  }
  if (!m->new_ring || match->nr > 0)
    return false;
  bounds_set (&m->ends, 0);
  bounds_set (&m->firsts, 0);
  m->no_ring = m->new_ring = false;
  return true;
}

/* The last frame of all is not there, and part of a late one may be over it.
 * It looks like one that was never finished, where no record tells of it: see
 * docs/format2.md, "Damage". */
static bool
is_last_frame (const struct judge *j, const struct model *m,
               const struct match *match)
{
  const unsigned end = bounds_min (&m->ends);
  unsigned i, number;

  for (i = 0; m->late_data && i < m->firsts.nr; ++i) {
    number = m->firsts.at[i] + match->nr;
    if (match->old[i] && number < end &&
        number >= model_last_frame (m, end) &&
        model_get (m, number)->frame >= j->published)
      return true;
  }
  return false;
}

/* Other items are there.  Nobody may get to free one of those. */
static void
mismatch (struct judge *j, const struct model *m, const struct match *match,
          blkring_consumer *c, blkring_position end)
{
  char firsts[100], ends[100];

  if (j->cannot_tell || is_last_frame (j, m, match)) {
    j->last_lost++;
    j->told = true;
    return;
  }

  if (m->late & LATE (OF_PRODUCER) && match->nr > 0 &&
      blkring_consumer_advance (c, end) == -1) {
    failed (j, "the consumer cannot advance");
    return;
  }
  describe_bounds (&m->firsts, firsts, sizeof firsts);
  describe_bounds (&m->ends, ends, sizeof ends);
  wrong (j, "there are %u items, and it should be items %s to %s",
         match->nr, firsts, ends);
}

static int
append (blkring_producer *p, uint32_t id, size_t length)
{
  return blkring_producer_append (p, item_content (id), length, NULL);
}

/* It can be filled to the last byte, and used on. */
static void
work (struct judge *j, blkring_producer *p, blkring_consumer *c)
{
  const struct item all = { .id = 1000003, .length =
                            blkring_producer_largest_item (p) };
  const struct item more = { .id = 1000004, .length = 33 };
  struct blkring_item item;

  if (append (p, all.id, all.length) == -1)
    failed (j, "then, an append of all bytes");
  else if (append (p, 0, 0) == 0 || errno != EAGAIN)
    wrong (j, "then, an append to the full ring: %s", blkring_get_error ());
  else if (blkring_consumer_pop (c, NULL, &item) == -1 ||
           blkring_consumer_advance (c, item.next) == -1)
    failed (j, "then, a pop of all");
  else if (!item_is (&all, item.data, item.length))
    wrong (j, "then, an item of all bytes is not what was appended");
  else if (append (p, more.id, more.length) == -1 ||
           blkring_consumer_pop (c, NULL, &item) == -1)
    failed (j, "then, one more item");
  else if (!item_is (&more, item.data, item.length))
    wrong (j, "then, one more item is not what was appended");
}

struct pair {
  blkring_producer *p;
  blkring_consumer *c;
};

static const struct blkring_attach_options *
as_usual (void)
{
  static const struct blkring_attach_options o = { .queue = "q",
                                                   .client = "c" };

  return &o;
}

static void
attach_producer (struct judge *j, unsigned level, struct pair *pair)
{
  pair->p = blkring_producer_attach (j->level[level].producer.device,
                                     as_usual ());
  if (pair->p == NULL)
    failed (j, "the producer cannot attach");
}

static void
attach_consumer (struct judge *j, unsigned level, struct pair *pair)
{
  pair->c = blkring_consumer_attach (j->level[level].consumer.device,
                                     as_usual ());
  if (pair->c == NULL)
    failed (j, "the consumer cannot attach");
}

static void
attach (struct judge *j, unsigned level, struct pair *pair,
        bool producer_first)
{
  if (producer_first)
    attach_producer (j, level, pair);
  attach_consumer (j, level, pair);
  if (!producer_first)
    attach_producer (j, level, pair);
}

/* Whatever was asked for is acknowledged by now. */
static void
resume (struct judge *j, const struct pair *pair)
{
  if (blkring_consumer_resume (pair->c) == -1)
    failed (j, "resume");
  else if (blkring_producer_state (pair->p) != BLKRING_RUNNING)
    failed (j, "the ring does not run again");
}

static void
free_all (struct judge *j, blkring_consumer *c, blkring_position end,
          const struct match *match)
{
  struct blkring_item item;

  if (match->nr > 0 && blkring_consumer_advance (c, end) == -1)
    failed (j, "the consumer cannot advance");
  else if (blkring_consumer_pop (c, NULL, &item) == 0 || errno != EAGAIN)
    wrong (j, "the ring is not empty when all is freed: %s",
           blkring_get_error ());
}

static void
discard (struct judge *j, unsigned level, struct pair *pair)
{
  j->level[level].producer.dead = j->level[level].consumer.dead = true;
  blkring_producer_free (pair->p);
  blkring_consumer_free (pair->c);
  j->level[level].producer.dead = j->level[level].consumer.dead = false;
}

static void
crash_again (struct port *port)
{
  struct judge *j = port->opaque;

  if (!j->problem[0])
    crash_images (j, 1, &j->level[0].disk, &j->level[0].model);
}

/* The power goes again, at any point while both attach.  What the ring
 * holds is settled by then. */
static void
recover (struct judge *j, bool producer_first)
{
  struct disk *d = &j->level[0].disk;
  struct pair pair = { NULL, NULL };

  model_acknowledge (&j->level[0].model);
  memset (j->level[0].model.clean, 0, sizeof j->level[0].model.clean);
  memcpy (d->content, d->durable, d->size);
  d->tracked = true;
  d->written = crash_again;
  attach (j, 0, &pair, producer_first);
  discard (j, 0, &pair);
}

static void
look_also (struct judge *j, const struct model *m)
{
  struct disk *d = &j->level[0].disk;
  unsigned char *before = malloc (d->size);

  if (before == NULL)
    abort ();
  memcpy (before, d->content, d->size);
  j->also (j, m);
  memcpy (d->content, before, d->size);
  free (before);
}

static uint64_t
published (const struct judge *j, unsigned level, const struct model *m)
{
  struct owner o;

  if (m->shape.format == 1)
    return 0;
  read_owner (j->level[level].disk.content, OF_PRODUCER, &o);
  return o.position;
}

/* Can it be that something is lost, or done anew, and that this is told? */
static bool
may_tell (const struct judge *j, unsigned level, const struct model *m)
{
  return m->late & LATE (OF_PRODUCER) ||
    (m->late & LATE (OF_CONSUMER) &&
     (m->went_back || has_late_copy (j, level, OF_CONSUMER)));
}

void
judge_image (struct judge *j, unsigned level, uint64_t hash,
             const struct model *model)
{
  struct disk *d = &j->level[level].disk;
  struct model *m = &j->level[level].model;
  const bool producer_first = mix (hash) & 1;
  const bool recovers = level == 0 && j->recover_one_in &&
    mix (hash + 1) % j->recover_one_in == 0;
  struct pair pair = { NULL, NULL };
  blkring_position end;
  struct match match;

  j->images++;
  j->again += level;
  d->tracked = false;
  j->published = published (j, level, model);
  j->may_tell = may_tell (j, level, model);
  j->cannot_tell = model->late && is_only_late (j, level, model);
  j->told = false;
  if (!look_at (j, level, model) || j->problem[0])
    return;
  if (level == 0 && j->also)
    look_also (j, model);
  attach (j, level, &pair, producer_first);
  if (goes_on (j) && pop_all (pair.c, model, &match, &end) == -1)
    failed (j, "pop");
  *m = *model;
  if (goes_on (j) && !settle (m, &match))
    mismatch (j, m, &match, pair.c, end);
  if (goes_on (j))
    free_all (j, pair.c, end, &match);
  if (goes_on (j))
    resume (j, &pair);
  if (goes_on (j))
    work (j, pair.p, pair.c);
  discard (j, level, &pair);
  j->reported += j->told;
  if (model->lost && goes_on (j))
    wrong (j, "nobody tells that what was freed was not what was delivered");
  if (recovers && goes_on (j))
    recover (j, producer_first);
}

/*---------------------------------------------------------------------*/

/* Whoever was there when the power went is dead. */
static void
begin (unsigned *me)
{
  *me = identity_me;
  identity_me = JUDGE;
  identity_all_dead = true;
}

static void
end (unsigned me)
{
  identity_me = me;
  identity_all_dead = false;
}

void
judge_crash (struct judge *j, const struct disk *disk,
             const struct model *model)
{
  unsigned me;

  begin (&me);
  crash_images (j, 0, disk, model);
  end (me);
}

void
judge_durable (struct judge *j, const struct disk *disk,
               const struct model *model)
{
  unsigned me;

  begin (&me);
  j->level[0].disk.tracked = true;
  j->level[0].torn = 0;
  disk_load (&j->level[0].disk, disk->durable, disk->hashes, disk->hash);
  judge_image (j, 0, disk->hash, model);
  end (me);
}
