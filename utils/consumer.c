/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-img consumer: which consumers of a ring get items and hold back
 * space.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "img.h"

enum action { LIST, ENABLE, DISABLE };

static int
list (const struct common *common, blkring_device *device)
{
  const struct blkring_inspect_options o = inspect_options (common);
  struct blkring_info *info = malloc (sizeof *info);
  int status = STATUS_DONE;
  unsigned k;

  if (info == NULL)
    return fail (common, "out of memory");
  if (blkring_inspect (device, &o, info) == -1)
    status = fail_ring (common);
  else if (info->nr_consumers == 0)
    status = fail (common, "a ring of format 1 has one consumer, without a "
                   "number");
  for (k = 0; status == STATUS_DONE && k < info->nr_consumers; ++k) {
    const struct blkring_side_info *c = &info->consumers[k];

    /* Where one that is disabled was means nothing. */
    if (c->enabled)
      printf ("%u enabled, at position %" PRIu64 ", %" PRIu64 " items and %"
              PRIu64 " bytes behind\n", k, c->position, c->items, c->bytes);
    else
      printf ("%u disabled\n", k);
  }
  free (info);
  return finish_output (common, status);
}

static int
act (const struct common *common, enum action action, unsigned index)
{
  blkring_device *device = open_ring (common, action == LIST
                                      ? BLKRING_OPEN_READ_ONLY : 0, 0);
  int status = STATUS_DONE;

  if (device == NULL)
    return STATUS_FAILED;
  if (action == LIST)
    status = list (common, device);
  else if (blkring_consumer_enable (device, index, action == ENABLE) == -1)
    status = fail_ring (common);
  blkring_device_close (device);
  return status;
}

static int
run_consumer (int argc, char **argv)
{
  static const struct option options[] = { COMMON_LONG };
  static const char *const actions[] = { "list", "enable", "disable", NULL };
  struct common common = { .subcommand = &consumer_command };
  uint64_t index = 0;
  int opt, action;

  while ((opt = getopt_long (argc, argv, COMMON_SHORT, options, NULL)) != -1)
    if (common_option (&common, opt) == -1)
      return STATUS_FAILED;
  if (optind == argc) {
    fprintf (stderr, "blkring-img consumer: list, enable or disable?  usage: "
             "blkring-img consumer [OPTIONS] %s\n",
             consumer_command.arguments);
    return STATUS_FAILED;
  }
  action = parse_word ("consumer", argv[optind++], actions);
  if (action == -1 ||
      common_arguments (&common, argc, argv, action != LIST) == -1)
    return STATUS_FAILED;
  if (action != LIST) {
    if (argc - optind < 2) {
      fprintf (stderr, "blkring-img consumer %s: which one?  a number from 0 "
               "is missing behind the RING\n", actions[action]);
      return STATUS_FAILED;
    }
    if (parse_number ("K", argv[optind + 1], 0, 63, &index) == -1)
      return STATUS_FAILED;
  }
  return act (&common, action, index);
}

const struct subcommand consumer_command = {
  .name = "consumer",
  .arguments = "list|enable|disable RING [K]",
  .summary = "say which consumers of a ring get items",
  .options = "",
  .run = run_consumer,
};
