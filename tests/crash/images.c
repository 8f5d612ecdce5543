/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The images that a crash can leave: of each sector that was written since
 * the last flush the old content or any version written since, in every
 * combination; and of a record half of one, too.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "images.h"

#define MAX_SECTORS 64       /* pending at once */
#define MAX_VERSIONS 64      /* of a sector */

/* The versions of one sector: which is there? */
struct place {
  unsigned sector;
  unsigned nr;
  const struct version *versions[MAX_VERSIONS];
  bool torn[MAX_VERSIONS];
};

struct places {
  unsigned nr;
  struct place place[MAX_SECTORS];
  uint64_t images;           /* 0 = too many to count */
};

static void
add_place_version (struct place *p, const struct version *v, bool torn)
{
  if (p->nr == MAX_VERSIONS)
    abort ();
  p->versions[p->nr] = v;
  p->torn[p->nr++] = torn;
}

static bool
is_record (const struct disk *d, const struct version *v)
{
  const enum region region = d->region (v->sector * SECTOR);

  return region == PRODUCER || region == CONTROL || region == CONSUMER;
}

static void
find_places (const struct disk *d, bool tears, struct places *ps)
{
  struct place *p;
  unsigned i, k;

  ps->nr = 0;
  for (i = 0; i < d->nr_pending; ++i) {
    for (k = 0; k < ps->nr; ++k)
      if (ps->place[k].sector == d->pending[i].sector)
        break;
    p = &ps->place[k];
    if (k == ps->nr) {
      if (ps->nr++ == MAX_SECTORS)
        abort ();
      p->sector = d->pending[i].sector;
      p->nr = 0;
    }
    add_place_version (p, &d->pending[i], false);
    /* Torn, it takes the newest copy of its successor with it, and nobody can
     * tell that from a write that the successor did not finish: see
     * docs/format2.md. */
    if (tears && is_record (d, &d->pending[i]) && !d->pending[i].late)
      add_place_version (p, &d->pending[i], true);
  }
  ps->images = 1;
  for (k = 0; k < ps->nr; ++k) {
    ps->images *= ps->place[k].nr + 1;
    if (ps->images > UINT32_MAX)
      ps->images = ps->place[k].nr = UINT32_MAX;
  }
}

static uint64_t
next_random (struct judge *j)
{
  j->random += UINT64_C (0x9e3779b97f4a7c15);
  return mix (j->random);
}

/* Of each sector the version there is; nr = what was durable. */
static void
choose (struct judge *j, const struct places *ps, uint64_t number, bool all,
        unsigned *choice)
{
  unsigned k;

  for (k = 0; k < ps->nr; ++k) {
    if (!all)
      number = next_random (j);
    choice[k] = number % (ps->place[k].nr + 1);
    number /= ps->place[k].nr + 1;
  }
}

/* True the first time, mostly. */
static bool
is_new (struct judge *j, uint64_t hash, uint64_t model)
{
  const uint64_t key = mix (hash + model * UINT64_C (0x9e3779b97f4a7c15)) | 1;
  uint64_t *slot = &j->known[(key >> 8) & (j->nr_known - 1)];

  if (*slot == key) {
    j->equal++;
    return false;
  }
  *slot = key;
  return true;
}

static uint64_t
version_hash (const struct disk *d, const struct place *p, unsigned choice)
{
  if (choice == p->nr)
    return d->hashes[p->sector];
  if (p->torn[choice])
    return mix (p->versions[choice]->hash + mix (d->hashes[p->sector]));
  return p->versions[choice]->hash;
}

static void
load (struct judge *j, unsigned level, const struct disk *d,
      const struct places *ps, const unsigned *choice, uint64_t hash,
      bool tracked)
{
  struct disk *to = &j->level[level].disk;
  const struct version *v;
  unsigned k, torn = level ? j->level[level - 1].torn : 0;
  size_t n;

  to->tracked = tracked;
  disk_load (to, d->durable, d->hashes, hash);
  for (k = 0; k < ps->nr; ++k) {
    if (choice[k] == ps->place[k].nr)
      continue;
    v = ps->place[k].versions[choice[k]];
    n = ps->place[k].torn[choice[k]] ? SECTOR / 2 : SECTOR;
    torn += n != SECTOR;
    memcpy (to->content + v->sector * SECTOR, v->bytes, n);
    if (tracked) {
      memcpy (to->durable + v->sector * SECTOR, v->bytes, n);
      to->hashes[v->sector] = version_hash (d, &ps->place[k], choice[k]);
    }
  }
  j->level[level].torn = torn;
}

static uint64_t
image_hash (const struct disk *d, const struct places *ps,
            const unsigned *choice)
{
  uint64_t hash = d->hash;
  unsigned k;

  for (k = 0; k < ps->nr; ++k)
    hash ^= d->hashes[ps->place[k].sector] ^
      version_hash (d, &ps->place[k], choice[k]);
  return hash;
}

void
crash_images (struct judge *j, unsigned level, const struct disk *d,
              const struct model *m)
{
  const uint64_t model = model_hash (m);
  unsigned choice[MAX_SECTORS];
  struct places ps;
  uint64_t i, n, hash;
  bool all;

  find_places (d, j->tears, &ps);
  all = ps.images <= j->most;
  n = all ? ps.images : j->most;
  j->points++;
  j->sampled += !all;
  for (i = 0; i < n && !j->problem[0]; ++i) {
    choose (j, &ps, i, all, choice);
    hash = image_hash (d, &ps, choice);
    if (!is_new (j, hash, model))
      continue;
    load (j, level, d, &ps, choice, hash, level == 0);
    judge_image (j, level, hash, m);
  }
}
