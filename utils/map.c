/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-img map: which bytes of the device are what.
 */

#include <config.h>

#include <inttypes.h>
#include <string.h>

#include "img.h"

#define BAR_WIDTH 64

struct map {
  const struct common *common;
  json_t *regions;           /* NULL: human */
  uint64_t data_start, data_end;
  char bar[BAR_WIDTH + 1];
};

static const char *const kinds[] = {
  [BLKRING_REGION_SIGNATURE] = "signature",
  [BLKRING_REGION_PRODUCER] = "producer",
  [BLKRING_REGION_CONSUMER] = "consumer",
  [BLKRING_REGION_UNREAD] = "unread",
  [BLKRING_REGION_FREE] = "free",
  [BLKRING_REGION_CONTROL] = "control",
  [BLKRING_REGION_OUTSIDE] = "outside",
};

static bool
is_data (const struct blkring_region *r)
{
  return r->kind == BLKRING_REGION_UNREAD || r->kind == BLKRING_REGION_FREE;
}

/* First pass: where the data area is. */
static int
measure (void *opaque, const struct blkring_region *r)
{
  struct map *m = opaque;

  if (is_data (r)) {
    if (m->data_end == 0)
      m->data_start = r->offset;
    m->data_end = r->offset + r->length;
  }
  return 0;
}

/* A cell of the bar shows '#' where any byte of it is unread. */
static void
draw (struct map *m, const struct blkring_region *r)
{
  const double scale = (double) BAR_WIDTH / (m->data_end - m->data_start);
  int first = (r->offset - m->data_start) * scale;
  int last = (r->offset + r->length - 1 - m->data_start) * scale;

  if (last >= BAR_WIDTH)
    last = BAR_WIDTH - 1;
  if (first <= last)
    memset (m->bar + first, '#', last - first + 1);
}

static int
print_region (void *opaque, const struct blkring_region *r)
{
  struct map *m = opaque;

  if (m->regions)
    return json_array_append_new (m->regions, json_pack
      ("{sI sI ss sb}", "offset", (json_int_t) r->offset,
       "length", (json_int_t) r->length, "type", kinds[r->kind],
       "wrapped", (int) r->wrapped));
  printf ("%16" PRIu64 " %16" PRIu64 "  %s%s\n", r->offset, r->length,
          kinds[r->kind], r->wrapped ? " (wrapped)" : "");
  if (r->kind == BLKRING_REGION_UNREAD)
    draw (m, r);
  return 0;
}

static int
map_device (struct map *m, blkring_device *device)
{
  const struct blkring_inspect_options o = inspect_options (m->common);

  if (blkring_map (device, &o, measure, m) == -1)
    return fail_ring (m->common);
  memset (m->bar, '.', BAR_WIDTH);
  if (!m->regions)
    printf ("%16s %16s  %s\n", "offset", "length", "type");
  if (blkring_map (device, &o, print_region, m) == -1)
    return fail_ring (m->common);
  if (m->regions)
    return print_json (m->common, json_incref (m->regions));
  printf ("[%s]  # unread  . free\n", m->bar);
  return STATUS_DONE;
}

static int
run_map (int argc, char **argv)
{
  struct common common = { .subcommand = &map_command };
  struct map m = { .common = &common };
  blkring_device *device;
  bool json;
  int status;

  if (human_or_json (&common, argc, argv, &json) == -1)
    return STATUS_FAILED;
  device = open_ring (&common, BLKRING_OPEN_READ_ONLY, 0);
  if (device == NULL)
    return STATUS_FAILED;
  if (json)
    m.regions = json_array ();
  status = map_device (&m, device);
  json_decref (m.regions);
  blkring_device_close (device);
  return finish_output (&common, status);
}

const struct subcommand map_command = {
  .name = "map",
  .arguments = "RING",
  .summary = "show the regions of the device",
  .options = OUTPUT_HELP,
  .run = run_map,
};
