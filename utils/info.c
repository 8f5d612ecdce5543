/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-img info: describe a ring.
 */

#include <config.h>

#include <inttypes.h>

#include "img.h"

static int
print_human (const struct common *common, struct blkring_info *i)
{
  const double percent = 100.0 * i->used / i->capacity;

  printf ("ring: %s\n", common->ring);
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
  printf ("producer text: %s\n", without_controls (i->producer_text));
  printf ("consumer text: %s\n", without_controls (i->consumer_text));
  return STATUS_DONE;
}

static int
print_as_json (const struct common *common, const struct blkring_info *i)
{
  char format[12];

  snprintf (format, sizeof format, "%u", i->format);
  return print_json (common, json_pack
    ("{so ss sI sI sI sI sI sI sI sI sI sI sI ss so so}",
     "filename", json_text (common->ring),
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
     "consumer-text", json_text (i->consumer_text)));
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
