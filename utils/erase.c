/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-img erase: overwrite a ring and all that was in it.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "img.h"

struct erase {
  struct common common;
  bool force;
  const char *pattern;
  struct progress progress;
};

/* What is erased is a ring, unless forced. */
static int
check_ring (const struct erase *e, blkring_device *device)
{
  struct blkring_inspect_options o = inspect_options (&e->common);
  struct blkring_info info;

  o.flags = BLKRING_INSPECT_POINTERS;
  if (e->force || blkring_inspect (device, &o, &info) == 0 ||
      errno == EBADMSG)
    return STATUS_DONE;
  if (errno != EMEDIUMTYPE)
    return fail_ring (&e->common);
  return fail (&e->common, "there is no ring here: --force erases what is "
               "there");
}

static int
run_erase (int argc, char **argv)
{
  enum { OPT_PATTERN = OPT_OWN };
  static const struct option options[] = {
    { "force", no_argument, NULL, 'f' },
    { "pattern", required_argument, NULL, OPT_PATTERN },
    COMMON_LONG
  };
  struct erase e = { .common.subcommand = &erase_command };
  blkring_device *device;
  int opt, status;

  while ((opt = getopt_long (argc, argv, "fp" COMMON_SHORT, options, NULL))
         != -1)
    switch (opt) {
    case 'f':
      e.force = true;
      break;
    case 'p':
      e.progress.enabled = true;
      break;
    case OPT_PATTERN:
      e.pattern = optarg;
      break;
    default:
      if (common_option (&e.common, opt) == -1)
        return STATUS_FAILED;
    }
  if (common_arguments (&e.common, argc, argv, 0) == -1)
    return STATUS_FAILED;

  device = open_ring (&e.common, BLKRING_OPEN_EXCLUSIVE, 0);
  if (device == NULL)
    return STATUS_FAILED;
  status = check_ring (&e, device);
  if (status == STATUS_DONE &&
      blkring_erase (device, e.pattern, e.pattern ? strlen (e.pattern) : 0,
                     show_progress, &e.progress) == -1)
    status = fail_ring (&e.common);
  end_progress (&e.progress);
  blkring_device_close (device);
  return status;
}

const struct subcommand erase_command = {
  .name = "erase",
  .arguments = "RING",
  .summary = "overwrite a ring and every item in it",
  .options =
  "  -f, --force            erase what is not a ring, too\n"
  "  -p                     show the progress\n"
  "      --pattern=TEXT     write TEXT again and again (default: zeros)\n",
  .run = run_erase,
};
