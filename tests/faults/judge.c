/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Is what should be in the ring there, after something failed?  With the
 * system running on, and when the power goes: at once, or when both sides
 * have attached anew.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

struct judge {
  struct world *w;
  const char *when;
  blkring_device *device;
  blkring_producer *p;
  blkring_consumer *c;
  bool first[ITEMS];         /* that what was popped may begin with */
  unsigned nr;               /* items popped */
  blkring_position end;
};

static void
wrong (struct judge *j, const char *what)
{
  problem (j->w, "%s: %s: %s", j->when, what, blkring_get_error ());
}

static void
count_finding (void *opaque, const struct blkring_finding *finding)
{
  if (finding->kind == BLKRING_FINDING_CORRUPTION)
    ++*(unsigned *) opaque;
}

/* Returns false when there is no ring, and need not be. */
static bool
look (struct judge *j)
{
  unsigned findings = 0;

  if (blkring_check (j->device, NULL, count_finding, &findings) == -1) {
    if (errno == EMEDIUMTYPE && j->w->no_ring)
      return false;
    wrong (j, "check");
  }
  else if (findings > j->w->one_super && !j->w->lossy)
    wrong (j, "check finds damage");
  return true;
}

static void
attach (struct judge *j, unsigned order)
{
  unsigned i;

  for (i = 0; i < 2; ++i)
    if ((order + i) % 2 == 0) {
      j->p = blkring_producer_attach (j->device, world_options (j->w, 0));
      if (j->p == NULL)
        wrong (j, "the producer cannot attach");
    }
    else {
      j->c = blkring_consumer_attach (j->device, world_options
                                      (j->w, j->w->lossy ?
                                       BLKRING_ATTACH_SALVAGE : 0));
      if (j->c == NULL)
        wrong (j, "the consumer cannot attach");
    }
}

static void
match (struct judge *j, const struct blkring_item *item)
{
  const struct world *w = j->w;
  unsigned i, number;

  for (i = 0; i < ITEMS; ++i) {
    number = i + j->nr;
    j->first[i] = j->first[i] && number < ITEMS &&
      item->length == w->length[number] &&
      memcmp (item->data, item_content (number), item->length) == 0;
  }
  j->nr++;
}

static void
compare (struct judge *j)
{
  struct blkring_item items[8];
  ssize_t n, i;
  unsigned k;

  memcpy (j->first, j->w->first, sizeof j->first);
  if (blkring_consumer_position (j->c, &j->end) == -1)
    wrong (j, "position");
  while ((n = blkring_consumer_popv (j->c, &j->end, items, 8)) > 0) {
    for (i = 0; i < n; ++i)
      match (j, &items[i]);
    j->end = items[n - 1].next;
  }
  if (errno != EAGAIN)
    wrong (j, "pop");
  for (k = 0; k < ITEMS && !j->w->lossy; ++k)
    if (j->first[k] && k + j->nr < ITEMS && j->w->end[k + j->nr])
      return;
  if (j->w->lossy || (j->w->new_ring && j->nr == 0))
    return;
  problem (j->w, "%s: there are %u items that should be items %u to %u",
           j->when, j->nr, j->w->freed, j->w->exposed);
}

/* It goes on working. */
static void
work (struct judge *j)
{
  static const char more[700];
  struct blkring_item item;
  int r = blkring_consumer_resume (j->c);

  if (r == -1 && errno == EAGAIN) {
    blkring_producer_state (j->p);
    r = blkring_consumer_resume (j->c);
  }
  if (r == -1 || blkring_producer_state (j->p) != BLKRING_RUNNING)
    wrong (j, "resume");
  else if (j->nr > 0 && blkring_consumer_advance (j->c, j->end) == -1)
    wrong (j, "the consumer's advance");
  else if (blkring_producer_append (j->p, more, sizeof more, NULL) == -1)
    wrong (j, "one more append");
  else if (blkring_consumer_pop (j->c, NULL, &item) == -1 ||
           item.length != sizeof more)
    wrong (j, "the pop of one more item");
  else if (blkring_consumer_advance (j->c, item.next) == -1)
    wrong (j, "one more advance");
}

/* What the ring then holds on the disk itself goes to 'left', if that is not
 * NULL; 'counted' is how much there must be, or -1. */
static int
judge (struct world *w, const char *when, unsigned order, unsigned char *left,
       int counted)
{
  struct judge j = { .w = w, .when = when };

  j.device = disk_open (&w->disk);
  if (j.device == NULL)
    abort ();
  if (look (&j)) {
    attach (&j, order);
    if (left)
      memcpy (left, w->disk.durable, DISK_SIZE);
    if (!w->problem[0])
      compare (&j);
    if (counted != -1 && (int) j.nr != counted)
      problem (w, "%s: %u items, and there were %d before", when, j.nr,
               counted);
    if (!w->problem[0])
      work (&j);
  }
  else
    counted = -1;
  blkring_producer_free (j.p);
  blkring_consumer_free (j.c);
  blkring_device_close (j.device);
  return j.nr;
}

void
world_judge (struct world *w, unsigned order)
{
  static struct disk before;
  static unsigned char left[DISK_SIZE];
  int found;

  disk_disarm (&w->disk);
  w->disk.short_count = 0;
  w->disk.interrupts = false;
  w->disk.flags = w->kind->flags;
  memcpy (&before, &w->disk, offsetof (struct disk, lock));
  memcpy (left, w->disk.durable, sizeof left);
  found = judge (w, "then", order, left, -1);

  memcpy (&w->disk, &before, offsetof (struct disk, lock));
  disk_power_cut (&w->disk);
  judge (w, "after a power cut", order, NULL, -1);

  /* Both sides have seen what is there, and may have built on it. */
  memcpy (w->disk.durable, left, sizeof left);
  disk_power_cut (&w->disk);
  judge (w, "after a power cut behind a new attach", order + 1, NULL,
         w->no_ring ? -1 : found);
}
