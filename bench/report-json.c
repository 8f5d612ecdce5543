/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: the report as one JSON object, with the median and the
 * rounds of everything that was measured.
 */

#include <config.h>

#include <stdio.h>

#include <jansson.h>

#include "bench.h"

/* Takes over 'value', which may be NULL. */
static void
set (json_t *object, const char *key, json_t *value)
{
  if (value == NULL || json_object_set_new (object, key, value) == -1)
    fail ("cannot make the JSON object: %s", key);
}

static void
append (json_t *array, json_t *value)
{
  if (value == NULL || json_array_append_new (array, value) == -1)
    fail ("cannot make a JSON array");
}

static json_t *
make_series (const struct series *s, unsigned nr)
{
  json_t *object = json_object (), *rounds = json_array ();
  unsigned i;

  for (i = 0; i < nr; ++i)
    append (rounds, json_real (s->rounds[i]));
  set (object, "median", json_real (s->median));
  set (object, "rounds", rounds);
  return object;
}

static json_t *
make_measured (const struct result *r, unsigned rounds)
{
  json_t *object = json_object ();
  unsigned i;

  for (i = 0; i < NR_SUBJECTS; ++i)
    if (r->series[i].rounds)
      set (object, subject_name (i), make_series (&r->series[i], rounds));
  return object;
}

static json_t *
make_result (const struct result *r, unsigned rounds)
{
  const struct test *t = &r->test;
  const double ring = r->series[RING].median;
  json_t *object = json_object ();

  set (object, "format", json_integer (t->format));
  if (t->format == 2)
    set (object, "block_size", json_integer (t->block_size));
  set (object, "direction", json_string (direction_name (t)));
  set (object, "size", json_integer (t->length));
  set (object, "batch", json_integer (t->batch));
  set (object, "durability", json_string (durability_name (t)));
  set (object, "items_per_second", json_real (ring));
  set (object, "mib_per_second", json_real (ring * t->length / 1048576));
  set (object, "limit_items_per_second",
       json_real (r->series[r->limit].median));
  set (object, "limit_by", json_string (subject_name (r->limit)));
  set (object, "ratio", json_real (r->ratio.median));
  set (object, "ratios", make_series (&r->ratio, rounds));
  set (object, "items_per_advance",
       json_real ((double) r->items / r->advances));
  if (r->series[CHECKSUM].rounds)
    set (object, "checksum_share", json_real (checksum_share (r)));
  set (object, "measured", make_measured (r, rounds));
  return object;
}

static json_t *
make_results (const struct result *results, size_t nr, unsigned rounds)
{
  json_t *array = json_array ();
  size_t i;

  for (i = 0; i < nr; ++i)
    append (array, make_result (&results[i], rounds));
  return array;
}

static json_t *
make_durable (const struct durable *durable, unsigned rounds)
{
  json_t *array = json_array (), *object;
  const struct durable *d;
  unsigned way;

  for (d = durable; d < durable + NR_DURABLE; ++d) {
    object = json_object ();
    set (object, "size", json_integer (d->length));
    set (object, "prewritten", json_boolean (d->prewritten));
    for (way = 0; way < NR_WAYS; ++way)
      if (d->ways[way].median > 0)
        set (object, way_name (way), make_series (&d->ways[way], rounds));
    append (array, object);
  }
  return array;
}

static json_t *
make_journal (const struct journal_result *results, unsigned rounds)
{
  json_t *array = json_array (), *object;
  const struct series *limit =
    &results->series[results->limit], *journal, *sqlite;
  const struct journal_result *r;

  for (r = results; r < results + NR_THREAD_COUNTS; ++r) {
    journal = &r->series[JOURNAL];
    sqlite = &r->series[JOURNAL_SQLITE];
    object = json_object ();
    set (object, "threads", json_integer (r->threads));
    set (object, "block_size", json_integer (r->block_size));
    set (object, "pushes", make_series (journal, rounds));
    set (object, "pushes_per_advance",
         json_real ((double) r->pushes / r->advances));
    set (object, "limit", make_series (limit, rounds));
    set (object, "limit_by",
         json_string (subject_name (LIMIT_DSYNC + r->limit - JOURNAL_DSYNC)));
    set (object, "ratio_to_limit", make_series (&r->of_limit, rounds));
    set (object, "ratio_to_one_thread", make_series (&r->of_one, rounds));
    if (sqlite->rounds) {
      set (object, "sqlite", make_series (sqlite, rounds));
      set (object, "ratio_to_sqlite", make_series (&r->of_sqlite, rounds));
    }
    append (array, object);
  }
  return array;
}

static json_t *
make_targets (const struct target *targets, size_t nr)
{
  json_t *array = json_array (), *object;
  const struct target *t;

  for (t = targets; t < targets + nr; ++t) {
    object = json_object ();
    set (object, "name", json_string (t->name));
    set (object, "measured", json_real (t->measured));
    set (object, "wanted", json_real (t->wanted));
    set (object, "reached", json_boolean (t->measured >= t->wanted));
    if (t->worst[0])
      set (object, "worst", json_string (t->worst));
    append (array, object);
  }
  return array;
}

/* The sections that were not measured are left out. */
void
report_json (const struct bench *b,
             const struct result *results, size_t nr,
             const struct durable durable[NR_DURABLE],
             const struct journal_result *journal,
             const struct target *targets, size_t nr_targets)
{
  json_t *object = json_object ();

  set (object, "version", json_string (blkring_version ()));
  set (object, "ring_size", json_integer (RING_SIZE));
  set (object, "direct", json_boolean (b->direct));
  set (object, "seconds", json_real (b->seconds));
  set (object, "rounds", json_integer (b->rounds));
  if (b->sections & SECTION_RING)
    set (object, "tests", make_results (results, nr, b->rounds));
  if (b->sections & SECTION_WRITES)
    set (object, "durable_writes", make_durable (durable, b->rounds));
  if (b->sections & SECTION_JOURNAL)
    set (object, "journal", make_journal (journal, b->rounds));
  set (object, "targets", make_targets (targets, nr_targets));
  if (json_dumpf (object, stdout, JSON_INDENT (2) | JSON_REAL_PRECISION (8))
      == -1 || putchar ('\n') == EOF)
    fail ("cannot write the JSON object");
  json_decref (object);
}
