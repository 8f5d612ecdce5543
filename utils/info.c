/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-img info: describe a ring.
 */

#include <config.h>

#include <inttypes.h>
#include <time.h>

#include "img.h"

static const char *const owners[] = {
  [BLKRING_OWNER_NONE] = "none",
  [BLKRING_OWNER_ALIVE] = "alive",
  [BLKRING_OWNER_DEAD] = "dead",
  [BLKRING_OWNER_ELSEWHERE] = "elsewhere",
};

static void
format_time (uint64_t ns, char *text, size_t size)
{
  const time_t seconds = ns / UINT64_C (1000000000);
  struct tm tm;

  if (gmtime_r (&seconds, &tm) == NULL ||
      strftime (text, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
    snprintf (text, size, "unknown");
}

static void
format_uuid (const unsigned char *uuid, char text[37])
{
  unsigned i, n = 0;

  for (i = 0; i < 16; ++i)
    n += sprintf (text + n, "%s%02x",
                  i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

static void
print_side (const char *what, struct blkring_side_info *s)
{
  static const char *const words[] = {
    [BLKRING_OWNER_NONE] = "nobody",
    [BLKRING_OWNER_ALIVE] = "open on this host",
    [BLKRING_OWNER_DEAD] = "died on this host",
    [BLKRING_OWNER_ELSEWHERE] = "open elsewhere",
  };
  char when[32];

  format_time (s->since, when, sizeof when);
  printf ("%s: %s", what, words[s->owner]);
  /* Of somebody who has left, too: who it was.  A new ring had nobody. */
  if (s->host[0])
    printf ("%s %s used by %s, process %" PRIu64 " on %s",
            s->owner == BLKRING_OWNER_NONE ? "; the last was" : ",",
            without_controls (s->queue), without_controls (s->client),
            s->process, without_controls (s->host));
  printf (", last written %s\n", when);
}

static const char *const kinds_of_features[] = {
  "incompatible", "read-compatible", "compatible",
};

/* None has been assigned, so that they have no names. */
static void
print_features (const struct blkring_info *i)
{
  const char *comma = "";
  unsigned k;

  printf ("features:");
  for (k = 0; k < 3; ++k)
    if (i->features[k]) {
      printf ("%s %s %#" PRIx32, comma, kinds_of_features[k],
              i->features[k]);
      comma = ",";
    }
  printf ("%s\n", *comma ? "" : " none");
}

static void
print_format2 (struct blkring_info *i)
{
  char uuid[37], when[32], what[32];
  unsigned k;

  format_uuid (i->uuid, uuid);
  format_time (i->created, when, sizeof when);
  print_features (i);
  printf ("block size: %" PRIu32 " bytes\n", i->block_size);
  printf ("largest frame: %" PRIu64 " bytes\n", i->largest_frame);
  printf ("uuid: %s\n", uuid);
  printf ("label: %s\n", without_controls (i->label));
  printf ("created: %s\n", when);
  printf ("epoch: %" PRIu64 "\n", i->epoch);
  if (i->staged)
    printf ("pushed and not exposed: %" PRIu64 " bytes\n", i->staged);
  if (i->unflushed)
    printf ("it was used with durability none: a crash may have left "
            "holes\n");
  print_side ("producer", &i->producer_side);
  for (k = 0; k < i->nr_consumers; ++k) {
    struct blkring_side_info *c = &i->consumers[k];

    snprintf (what, sizeof what, "consumer %u", k);
    print_side (what, c);
    if (c->enabled)
      printf ("  enabled, at position %" PRIu64 ", %" PRIu64 " items and %"
              PRIu64 " bytes behind\n", c->position, c->items, c->bytes);
    else
      printf ("  disabled\n");
  }
}

static void
print_texts (struct blkring_info *i)
{
  printf ("producer text: %s\n", without_controls (i->producer_text));
  printf ("consumer text: %s\n", without_controls (i->consumer_text));
}

static int
print_human (const struct common *common, struct blkring_info *i)
{
  const double percent = 100.0 * i->used / i->capacity;

  printf ("ring: %s\n", common->name);
  printf ("format: %u\n", i->format);
  printf ("sector size: %" PRIu32 " bytes\n", i->sector_size);
  printf ("capacity: %" PRIu64 " bytes\n", i->capacity);
  printf ("largest item: %" PRIu64 " bytes\n", i->largest_item);
  printf ("producer position: %" PRIu64 "\n", i->producer);
  printf ("consumer position: %" PRIu64 "\n", i->consumer);
  printf ("used: %" PRIu64 " bytes (%.1f%%)\n", i->used, percent);
  printf ("free: %" PRIu64 " bytes\n", i->free);
  printf ("unread items: %" PRIu64, i->items);
  if (i->items > 0)
    printf (" (%" PRIu64 " bytes in all, the smallest %" PRIu64
            ", the largest %" PRIu64 ")", i->item_bytes, i->smallest_unread,
            i->largest_unread);
  printf ("\nstate: %s\n", state_in_words (i->state));
  if (i->format == 1)
    print_texts (i);
  else
    print_format2 (i);
  return STATUS_DONE;
}

static json_t *
side_to_json (const struct blkring_side_info *s)
{
  char since[32];

  format_time (s->since, since, sizeof since);
  return json_pack ("{ss so so so sI ss}",
                    "owner", owners[s->owner],
                    "queue", json_text (s->queue),
                    "client", json_text (s->client),
                    "host", json_text (s->host),
                    "process", (json_int_t) s->process,
                    "since", since);
}

static json_t *
consumers_to_json (const struct blkring_info *i)
{
  json_t *array = json_array (), *c;
  unsigned k;

  for (k = 0; k < i->nr_consumers; ++k) {
    const struct blkring_side_info *s = &i->consumers[k];

    c = json_pack ("{sI sb sI sI sI}", "consumer", (json_int_t) k,
                   "enabled", (int) s->enabled,
                   "position", (json_int_t) s->position,
                   "items", (json_int_t) s->items,
                   "bytes", (json_int_t) s->bytes);
    json_object_update_new (c, side_to_json (s));
    json_array_append_new (array, c);
  }
  return array;
}

static json_t *
features_to_json (const struct blkring_info *i)
{
  json_t *features = json_object ();
  unsigned k;

  for (k = 0; k < 3; ++k)
    json_object_set_new (features, kinds_of_features[k],
                         json_integer (i->features[k]));
  return features;
}

static void
add_format2 (json_t *json, const struct blkring_info *i)
{
  char uuid[37], created[32];

  format_uuid (i->uuid, uuid);
  format_time (i->created, created, sizeof created);
  json_object_update_new (json, json_pack
    ("{ss so so sI sI ss sI sI sb so so}",
     "uuid", uuid,
     "features", features_to_json (i),
     "label", json_text (i->label),
     "block-size", (json_int_t) i->block_size,
     "largest-frame", (json_int_t) i->largest_frame,
     "created", created,
     "epoch", (json_int_t) i->epoch,
     "staged", (json_int_t) i->staged,
     "unflushed", (int) i->unflushed,
     "producer-owner", side_to_json (&i->producer_side),
     "consumers", consumers_to_json (i)));
}

static int
print_as_json (const struct common *common, const struct blkring_info *i)
{
  char format[12];
  json_t *json;

  snprintf (format, sizeof format, "%u", i->format);
  json = json_pack
    ("{so ss sI sI sI sI sI sI sI sI sI sI sI ss so so}",
     "filename", json_text (common->name),
     "format", format,
     "sector-size", (json_int_t) i->sector_size,
     "capacity", (json_int_t) i->capacity,
     "producer", (json_int_t) i->producer,
     "consumer", (json_int_t) i->consumer,
     "used", (json_int_t) i->used,
     "free", (json_int_t) i->free,
     "items", (json_int_t) i->items,
     "unread-bytes", (json_int_t) i->item_bytes,
     "smallest-unread", (json_int_t) i->smallest_unread,
     "largest-unread", (json_int_t) i->largest_unread,
     "largest-item", (json_int_t) i->largest_item,
     "suspend", state_in_words (i->state),
     "producer-text", json_text (i->producer_text),
     "consumer-text", json_text (i->consumer_text));
  if (json && i->format != 1)
    add_format2 (json, i);
  return print_json (common, json);
}

static int
info (const struct common *common, bool json)
{
  const struct blkring_inspect_options o = inspect_options (common);
  blkring_device *device = open_ring (common, BLKRING_OPEN_READ_ONLY, 0);
  struct blkring_info i;
  int status;

  if (device == NULL)
    return STATUS_FAILED;
  if (blkring_inspect (device, &o, &i) == -1)
    status = fail_ring (common);
  else
    status = json ? print_as_json (common, &i) : print_human (common, &i);
  blkring_device_close (device);
  return finish_output (common, status);
}

static int
run_info (int argc, char **argv)
{
  struct common common = { .subcommand = &info_command };
  bool json;

  if (human_or_json (&common, argc, argv, &json) == -1)
    return STATUS_FAILED;
  return info (&common, json);
}

const struct subcommand info_command = {
  .name = "info",
  .arguments = "RING",
  .summary = "describe a ring, also one that is in use",
  .options = OUTPUT_HELP,
  .run = run_info,
};
