/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a journal does, what that promises, and what must be true on each disk
 * that a crash leaves of it; see journal-main.c.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal-world.h"

struct journal_world x;

static const char *const step_names[STEPS] = {
  "push", "large push", "sync", "drain and restart", "stop and restart",
  "kill and restart", "the next perform fails",
};

static void
wrong (const char *fmt, ...)
{
  char text[1024];
  va_list args;

  if (x.problem[0])
    return;
  va_start (args, fmt);
  vsnprintf (text, sizeof text, fmt, args);
  va_end (args);
  snprintf (x.problem, sizeof x.problem, "%s: %s", x.trail, text);
}

/*---------------------------------------------------------------------*/
/* Choices, as explore.c makes them.                                      */

static unsigned
choose (unsigned of)
{
  struct choices *c = &x.choices;

  if (c->at == c->nr) {
    if (c->nr == MAX_CHOICES)
      abort ();
    c->taken[c->nr] = 0;
    c->of[c->nr++] = of;
  }
  if (c->of[c->at] != of) {
    fprintf (stderr, "crash/journal.c: a run is not like the one before\n");
    abort ();
  }
  return c->taken[c->at++];
}

static bool
next_run (void)
{
  struct choices *c = &x.choices;

  c->nr = c->at;
  while (c->nr > 0 && c->taken[c->nr - 1] + 1 == c->of[c->nr - 1])
    c->nr--;
  if (c->nr == 0)
    return false;
  c->taken[c->nr - 1]++;
  c->changed = c->nr - 1;
  c->at = 0;
  return true;
}

/* The runs before were not like this one up to here. */
static bool
is_fresh (void)
{
  return (int) x.choices.at > x.choices.changed;
}

/*---------------------------------------------------------------------*/
/* Time, turns, and crashes.                                              */

static uint64_t
now (void *opaque)
{
  (void) opaque;
  return x.w.now;
}

static int
pass_time (void *opaque, uint64_t ns)
{
  (void) opaque;
  x.w.now += ns;
  pair_switch ();
  return 0;
}

void
journal_changed (struct pair *pair)
{
  struct place *from = &x.place[!pair->in_thread];
  const struct place *to = &x.place[pair->in_thread];

  *from = (struct place) { .op = x.port.op, .last = x.port.last,
                           .wrote = x.port.wrote };
  memcpy (from->sites, x.port.sites, sizeof from->sites);
  x.port.op = to->op;
  x.port.last = to->last;
  x.port.wrote = to->wrote;
  memcpy (x.port.sites, to->sites, sizeof to->sites);
}

/* Before each request. */
void
journal_yield (struct port *port)
{
  (void) port;
  pair_progress ();
  if (x.problem[0] || !x.pair.exists || x.pair.ended || x.left == 0)
    return;
  if (choose (2) == 1) {
    x.left--;
    pair_switch ();
  }
}

static void
judge (void)
{
  struct pair *before = pair_use (NULL);

  if (is_fresh () && !x.problem[0])
    judge_crash (&x.j, &x.w.disk, &x.w.model);
  if (x.j.problem[0])
    wrong ("after a crash: %s", x.j.problem);
  pair_use (before);
}

void
journal_written (struct port *port)
{
  (void) port;
  judge ();
}

static const struct blkring_journal_options *
journal_options (void)
{
  static struct blkring_clock clock;
  static struct blkring_attach_options a;
  static struct blkring_journal_options o;

  clock = (struct blkring_clock) { now, pass_time, NULL };
  a = (struct blkring_attach_options) { .queue = "q", .client = "j",
                                        .clock = &clock };
  o = (struct blkring_journal_options) { .attach = &a };
  return &o;
}

/*---------------------------------------------------------------------*/
/* On what a crash left: another journal performs what is there.          */

struct restart {
  const struct model *m;
  bool first[MODEL_BOUNDS];  /* firsts.at[i] may be the first */
  unsigned nr;               /* items that were performed */
  unsigned more;             /* and those of the restart's own */
};

#define OWN_ITEM 1000005

static int
perform_again (const struct blkring_item *items, size_t nr, void *opaque)
{
  static const struct item own = { .id = OWN_ITEM, .length = 9 };
  struct restart *r = opaque;
  const struct model *m = r->m;
  unsigned k, number;
  size_t i;

  for (i = 0; i < nr; ++i) {
    if (item_is (&own, items[i].data, items[i].length)) {
      r->more++;
      continue;
    }
    for (k = 0; k < m->firsts.nr; ++k) {
      number = m->firsts.at[k] + r->nr;
      r->first[k] = r->first[k] && number < bounds_max (&m->ends) &&
        item_is (model_get (m, number), items[i].data, items[i].length);
    }
    r->nr++;
  }
  return 0;
}

static bool
was_all (const struct restart *r)
{
  unsigned k;

  for (k = 0; k < r->m->firsts.nr; ++k)
    if (r->first[k] && bounds_have (&r->m->ends, r->m->firsts.at[k] + r->nr))
      return true;
  return false;
}

void
restart_journal (struct judge *j, const struct model *m)
{
  static struct pair pair;
  struct restart r = { .m = m };
  blkring_journal *journal;
  const uint64_t before = x.w.now;
  struct pair *outer;

  if (pair.stack == NULL)
    pair_init (&pair);
  outer = pair_use (&pair);
  memset (r.first, 1, sizeof r.first);
  x.restarts++;
  journal = blkring_journal_start (j->level[0].producer.device,
                                   journal_options (), perform_again, &r);
  if (journal == NULL)
    wrong ("after a crash a journal does not start: %s",
           blkring_get_error ());
  else if (!was_all (&r))
    wrong ("after a crash %u items are performed, or others than it should "
           "be", r.nr);
  else if (blkring_journal_push (journal, item_content (OWN_ITEM), 9, 0, NULL)
           == -1 ||
           blkring_journal_shutdown (journal, BLKRING_JOURNAL_DRAIN) == -1)
    wrong ("after a crash the journal fails: %s", blkring_get_error ());
  else if (r.more != 1)
    wrong ("after a crash an item is performed %u times", r.more);
  blkring_journal_free (journal);
  pair.exists = false;
  x.w.now = before;
  pair_use (outer);
}

/*---------------------------------------------------------------------*/
/* The journal that crashes.                                              */

/* Which item is it, when nobody knows which was freed last? */
static void
find_first (const struct blkring_item *item)
{
  struct model *m = &x.w.model;
  unsigned i;

  for (i = 0; i < m->firsts.nr; ++i)
    if (m->firsts.at[i] < m->pushed &&
        item_is (model_get (m, m->firsts.at[i]), item->data, item->length)) {
      x.next = m->firsts.at[i];
      x.sure = true;
      return;
    }
  wrong ("the first item that is performed is another one");
}

static int
perform (const struct blkring_item *items, size_t nr, void *opaque)
{
  struct model *m = &x.w.model;
  size_t i;

  (void) opaque;
  pair_progress ();
  if (!x.sure)
    find_first (&items[0]);
  /* What came before it was freed for good. */
  bounds_set (&m->firsts, x.next);
  for (i = 0; i < nr; ++i)
    if (x.next + i >= m->planned ||
        !item_is (model_get (m, x.next + i), items[i].data, items[i].length))
      wrong ("item %u is not performed in its turn", x.next);
    else
      x.performed[x.next + i] = true;
  x.retries = x.failing > 0;
  if (x.retries) {
    x.failing--;
    return -1;
  }
  x.next += nr;
  bounds_add (&m->firsts, x.next);
  port_begin (&x.port, PERFORM_);
  return 0;
}

static void
start (void)
{
  struct model *m = &x.w.model;
  const bool fails = x.failing > 0;

  x.sure = false;
  x.retries = false;
  memset (m->clean, 0, sizeof m->clean);
  port_begin (&x.port, START_);
  x.journal = blkring_journal_start (x.port.device, journal_options (),
                                     perform, NULL);
  if (x.journal == NULL)
    wrong ("start: %s", blkring_get_error ());
  else if (m->pushed > bounds_max (&m->firsts) && !fails)
    wrong ("start has returned, and not all was performed");
  x.waiter = 0;
}

static void
push (size_t length)
{
  struct model *m = &x.w.model;

  if (model_plan (m, &length, 1) == 0)
    return;
  bounds_add (&m->ends, m->planned);
  port_begin (&x.port, PUSH_);
  if (blkring_journal_push (x.journal, item_content
                            (model_get (m, m->pushed)->id), length, 0,
                            &x.waiter) == -1) {
    wrong ("push: %s", blkring_get_error ());
    return;
  }
  model_pushed (m);
  bounds_set (&m->ends, m->pushed);
}

static void
sync_all (void)
{
  struct model *m = &x.w.model;

  port_begin (&x.port, SYNC_);
  if (x.waiter == 0)
    return;
  if (blkring_journal_sync (x.journal, x.waiter, -1) == -1)
    wrong ("sync: %s", blkring_get_error ());
  else if (bounds_max (&m->firsts) != m->pushed)
    wrong ("sync has returned, and not all was performed");
  else
    bounds_set (&m->firsts, m->pushed);
}

static void
shut_down (bool drain)
{
  struct model *m = &x.w.model;
  const bool may_leave = !drain || x.failing > 0 || x.retries;

  port_begin (&x.port, END_);
  if (blkring_journal_shutdown (x.journal, drain ? BLKRING_JOURNAL_DRAIN : 0)
      == -1 && !(may_leave && errno == EAGAIN))
    wrong ("shutdown: %s", blkring_get_error ());
  else {
    /* What was performed was freed. */
    bounds_set (&m->firsts, bounds_max (&m->firsts));
    if (!may_leave && bounds_max (&m->firsts) != m->pushed)
      wrong ("the drain has left items");
    m->clean[0] = m->clean[1] = m->shape.format == 2;
  }
  blkring_journal_free (x.journal);
  x.journal = NULL;
  x.pair.exists = false;
}

static void
kill_it (void)
{
  x.port.dead = true;
  x.failing = 0;
  x.retries = false;
  blkring_journal_free (x.journal);
  x.journal = NULL;
  x.pair.exists = false;
  x.port.dead = false;
  x.port.deferred = false;
}

static void
do_step (enum step step)
{
  x.w.now += UINT64_C (200000000);
  snprintf (x.trail + strlen (x.trail), sizeof x.trail - strlen (x.trail),
            "; %s", step_names[step]);
  switch (step) {
  case PUSH:
    push (7);
    break;
  case LARGE_PUSH:
    push (600);
    break;
  case SYNC:
    sync_all ();
    break;
  case FAIL:
    x.failing++;
    return;
  case KILL:
    kill_it ();
    break;
  default:
    shut_down (step == DRAIN);
  }
  judge ();
  if (x.journal == NULL && !x.problem[0]) {
    start ();
    judge ();
  }
}

static void
run (const enum step *steps, unsigned nr)
{
  const unsigned first = bounds_min (&x.model.firsts);
  struct model *m = &x.w.model;
  unsigned i;

  disk_load (&x.w.disk, x.image, x.hashes, x.hash);
  *m = x.model;
  x.w.now = UINT64_C (1000000000);
  x.left = x.preemptions;
  x.failing = 0;
  x.retries = false;
  x.trail[0] = '\0';
  memset (x.performed, 0, sizeof x.performed);
  memset (x.place, 0, sizeof x.place);
  identity_uuid = 1;
  start ();
  judge ();
  for (i = 0; i < nr && !x.problem[0]; ++i)
    do_step (steps[i]);
  if (!x.problem[0])
    shut_down (true);
  judge ();
  if (!x.problem[0] && bounds_max (&m->firsts) != m->pushed) {
    x.failing = 0;
    start ();
  }
  if (!x.problem[0] && x.journal)
    shut_down (true);
  for (i = first; i < m->pushed && !x.problem[0]; ++i)
    if (!x.performed[i])
      wrong ("item %u is never performed", i);
  if (x.journal)
    kill_it ();
  x.runs++;
}

void
explore_workload (const enum step *steps, unsigned nr)
{
  x.workloads++;
  x.choices.nr = x.choices.at = 0;
  x.choices.changed = -1;
  do
    run (steps, nr);
  while (!x.problem[0] && next_run ());
}
