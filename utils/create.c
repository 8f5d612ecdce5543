/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-img create: make a ring, and the file for it.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "img.h"

struct create {
  struct common common;
  bool force, erase, has_size, made_file;
  uint64_t size;
  struct blkring_create_options options;
  struct progress progress;
};

static blkring_device *
open_or_make (struct create *c)
{
  struct stat st;
  unsigned flags = 0;

  if (!c->has_size)
    return open_ring (&c->common, 0, 0);
  c->made_file = stat (c->common.ring, &st) == -1 && errno == ENOENT;
  flags = BLKRING_OPEN_CREATE;
  if (c->made_file)
    flags |= BLKRING_OPEN_EXCLUSIVE;
  if (c->force)
    flags |= BLKRING_OPEN_RESIZE;
  return open_ring (&c->common, flags, c->size);
}

/* 1: there was a ring, which is kept; 0: a new one; -1.  What is there
 * decides first whether anything may be erased. */
static int
make_ring (struct create *c, blkring_device *device)
{
  int r;

  if (!c->force || !c->erase) {
    r = blkring_create (device, &c->options);
    if (r != 0 || !c->erase)
      return r;
  }
  if (blkring_erase (device, NULL, 0, show_progress, &c->progress) == -1)
    return -1;
  end_progress (&c->progress);
  return blkring_create (device, &c->options);
}

static int
report (const struct create *c, blkring_device *device, int kept)
{
  const struct blkring_inspect_options o = inspect_options (&c->common);
  struct blkring_info info;

  if (blkring_inspect (device, &o, &info) == -1)
    return fail_ring (&c->common);
  if (c->common.quiet)
    return STATUS_DONE;
  printf ("%s: %s, format %u, sectors of %" PRIu32 " bytes, %" PRIu64
          " bytes for items\n", c->common.ring,
          kept ? "holds a ring already, which was kept" : "created",
          info.format, info.sector_size, info.capacity);
  return finish_output (&c->common, STATUS_DONE);
}

static int
create (struct create *c)
{
  blkring_device *device;
  int r, status;

  /* Before a file is made or changes its size. */
  if (c->has_size && blkring_create_check (c->size, 1, &c->options) == -1)
    return fail_ring (&c->common);
  device = open_or_make (c);
  if (device == NULL) {
    if (c->made_file)
      unlink (c->common.ring);
    return STATUS_FAILED;
  }
  r = make_ring (c, device);
  status = r == -1 ? fail_ring (&c->common) : report (c, device, r);
  blkring_device_close (device);
  if (r == -1 && c->made_file)
    unlink (c->common.ring);
  return status;
}

static int
run_create (int argc, char **argv)
{
  enum { OPT_ERASE = OPT_OWN, OPT_FORMAT };
  static const struct option options[] = {
    { "force", no_argument, NULL, 'f' },
    { "erase", no_argument, NULL, OPT_ERASE },
    { "format", required_argument, NULL, OPT_FORMAT },
    COMMON_LONG
  };
  struct create c = { .common.subcommand = &create_command };
  uint64_t format;
  int opt, more;

  while ((opt = getopt_long (argc, argv, "fp" COMMON_SHORT, options, NULL))
         != -1)
    switch (opt) {
    case 'f':
      c.force = true;
      break;
    case 'p':
      c.progress.enabled = true;
      break;
    case OPT_ERASE:
      c.erase = true;
      break;
    case OPT_FORMAT:
      if (parse_number ("--format", optarg, 1, 1, &format) == -1)
        return STATUS_FAILED;
      c.options.format = format;
      break;
    default:
      if (common_option (&c.common, opt) == -1)
        return STATUS_FAILED;
    }
  more = common_arguments (&c.common, argc, argv, 1);
  if (more == -1 ||
      (more == 1 && parse_size ("SIZE", argv[optind + 1], &c.size) == -1))
    return STATUS_FAILED;
  c.has_size = more == 1;
  c.options.sector_size = c.common.sector_size;
  c.options.flags = c.force ? BLKRING_CREATE_FORCE : 0;
  return create (&c);
}

const struct subcommand create_command = {
  .name = "create",
  .arguments = "RING [SIZE]",
  .summary = "make an empty ring, and with SIZE the file for it",
  .options =
  "  -f, --force            format a device that is not blank\n"
  "      --erase            write zeros to the whole device first\n"
  "  -p                     show the progress of --erase\n"
  "      --format=1         version of the format on disk\n",
  .run = run_create,
};
