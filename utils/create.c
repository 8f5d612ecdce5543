/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-img create: make a ring, and the file for it.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "img.h"
#include "uri.h"

struct create {
  struct common common;
  bool force, erase, sparse, has_size, made_file;
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
    return open_ring (&c->common, BLKRING_OPEN_EXCLUSIVE, 0);
  c->made_file = !uri_is_nbd (c->common.ring) &&
    stat (c->common.ring, &st) == -1 && errno == ENOENT;
  flags = BLKRING_OPEN_CREATE;
  if (c->made_file)
    flags |= BLKRING_OPEN_EXCLUSIVE;
  if (c->force)
    flags |= BLKRING_OPEN_RESIZE;
  if (c->sparse)
    flags |= BLKRING_OPEN_SPARSE;
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

/* A ring that is kept is what the user wanted, or that is an error. */
static int
check_kept (const struct create *c, const struct blkring_info *info)
{
  const struct blkring_create_options *o = &c->options;
  const struct {
    const char *option;
    uint64_t wanted, found;
  } numbers[] = {
    { "--format", o->format, info->format },
    { "--block-size", o->block_size, info->block_size },
    { "--consumers", o->consumers, info->nr_consumers },
    { "--largest-frame", o->largest_frame, info->largest_frame },
  };
  size_t i;

  for (i = 0; i < sizeof numbers / sizeof numbers[0]; ++i)
    if (numbers[i].wanted && numbers[i].wanted != numbers[i].found)
      return fail (&c->common, "holds a ring already, which is kept, but not "
                   "one with %s=%" PRIu64 ": leave that out, or make a new "
                   "ring with --force, which destroys this one",
                   numbers[i].option, numbers[i].wanted);
  if (o->label && strcmp (o->label, info->label) != 0)
    return fail (&c->common, "holds a ring already, which is kept, but with "
                 "the label '%s', not '%s': leave --label out, or make a new "
                 "ring with --force, which destroys this one", info->label,
                 o->label);
  return STATUS_DONE;
}

static int
report (const struct create *c, blkring_device *device, int kept)
{
  struct blkring_inspect_options o = inspect_options (&c->common);
  struct blkring_info info;

  o.flags = BLKRING_INSPECT_POINTERS;
  if (blkring_inspect (device, &o, &info) == -1)
    return fail_ring (&c->common);
  if (kept && check_kept (c, &info) != STATUS_DONE)
    return STATUS_FAILED;
  if (c->common.quiet)
    return STATUS_DONE;
  printf ("%s: %s, format %u, %s of %" PRIu32 " bytes, %" PRIu64
          " bytes for items\n", c->common.name,
          kept ? "holds a ring already, which was kept" : "created",
          info.format, info.format == 1 ? "sectors" : "blocks",
          info.format == 1 ? info.sector_size : info.block_size,
          info.capacity);
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
  if (device == NULL)
    return STATUS_FAILED;
  r = make_ring (c, device);
  status = r == -1 ? fail_ring (&c->common) : report (c, device, r);
  blkring_device_close (device);
  if (r == -1 && c->made_file)
    unlink (c->common.ring);
  return status;
}

/* Options of one format are refused for the other. */
static int
check_options (const struct create *c)
{
  const struct blkring_create_options *o = &c->options;

  if (o->format == 1 && (o->block_size || o->consumers || o->largest_frame ||
                         o->label)) {
    fprintf (stderr, "blkring-img create: --block-size, --consumers, "
             "--largest-frame and --label are of format 2\n");
    return -1;
  }
  if (o->format != 1 && o->sector_size) {
    fprintf (stderr, "blkring-img create: --sector-size is of format 1: add "
             "--format=1, or say --block-size\n");
    return -1;
  }
  return 0;
}

static int
run_create (int argc, char **argv)
{
  enum { OPT_ERASE = OPT_OWN, OPT_FORMAT, OPT_BLOCK_SIZE, OPT_CONSUMERS,
         OPT_FRAME, OPT_LABEL, OPT_SPARSE };
  static const struct option options[] = {
    { "force", no_argument, NULL, 'f' },
    { "erase", no_argument, NULL, OPT_ERASE },
    { "format", required_argument, NULL, OPT_FORMAT },
    { "block-size", required_argument, NULL, OPT_BLOCK_SIZE },
    { "consumers", required_argument, NULL, OPT_CONSUMERS },
    { "largest-frame", required_argument, NULL, OPT_FRAME },
    { "label", required_argument, NULL, OPT_LABEL },
    { "sparse", no_argument, NULL, OPT_SPARSE },
    COMMON_LONG
  };
  struct create c = { .common.subcommand = &create_command };
  uint64_t value;
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
    case OPT_SPARSE:
      c.sparse = true;
      break;
    case OPT_FORMAT:
      if (parse_number ("--format", optarg, 1, 2, &value) == -1)
        return STATUS_FAILED;
      c.options.format = value;
      break;
    case OPT_BLOCK_SIZE:
      if (parse_number ("--block-size", optarg, 512, 65536, &value) == -1)
        return STATUS_FAILED;
      c.options.block_size = value;
      break;
    case OPT_CONSUMERS:
      if (parse_number ("--consumers", optarg, 1, 64, &value) == -1)
        return STATUS_FAILED;
      c.options.consumers = value;
      break;
    case OPT_FRAME:
      if (parse_size ("--largest-frame", optarg, &value) == -1)
        return STATUS_FAILED;
      if (value == 0) {      /* the library's word for the default */
        fprintf (stderr, "blkring-img: --largest-frame: 0 is too small for "
                 "anything: one block is needed\n");
        return STATUS_FAILED;
      }
      c.options.largest_frame = value;
      break;
    case OPT_LABEL:
      c.options.label = optarg;
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
  return check_options (&c) == -1 ? STATUS_FAILED : create (&c);
}

const struct subcommand create_command = {
  .name = "create",
  .arguments = "RING [SIZE]",
  .summary = "make an empty ring, and with SIZE the file for it",
  .options =
  "  -f, --force            format a device that is not blank\n"
  "      --erase            write zeros to the whole device first\n"
  "  -p                     show the progress of --erase\n"
  "      --format=1|2       version of the format on disk (2)\n"
  "      --block-size=N     each push takes a whole number of blocks "
  "(4096)\n"
  "      --consumers=N      1 to 64, each of which gets every item (1)\n"
  "      --largest-frame=SIZE\n"
  "                         what one push may take (4M)\n"
  "      --label=TEXT       a name, at most 64 bytes\n"
  "      --sparse           do not write the blocks of a new file\n",
  .run = run_create,
};
