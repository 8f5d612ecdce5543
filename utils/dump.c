/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-img dump: show the unread items, and leave them in the ring.
 */

#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "img.h"

#define BATCH 64

enum output { OUTPUT_HUMAN, OUTPUT_JSON, OUTPUT_RAW };

struct dump {
  struct common common;
  enum output output;
  bool has_from;
  blkring_position from;
  uint64_t left;
  bool salvage;
  struct salvage skipped;
};

/* Printable UTF-8 without control characters, those of U+0080 … U+009F
 * included: a terminal can show it. */
static bool
is_text (const unsigned char *p, size_t n)
{
  json_t *json;
  size_t i;

  for (i = 0; i < n; ++i)
    if ((p[i] < ' ' && p[i] != '\t') || p[i] == 0x7f ||
        (p[i] == 0xc2 && i + 1 < n && p[i + 1] < 0xa0))
      return false;
  json = json_stringn ((const char *) p, n);
  json_decref (json);
  return json != NULL;
}

static void
hexdump (const unsigned char *p, size_t n)
{
  size_t i, j;

  for (i = 0; i < n; i += 16) {
    printf ("  %08zx ", i);
    for (j = i; j < i + 16; ++j)
      if (j < n)
        printf (" %02x", p[j]);
      else
        printf ("   ");
    printf ("  |");
    for (j = i; j < i + 16 && j < n; ++j)
      putchar (isprint (p[j]) ? p[j] : '.');
    printf ("|\n");
  }
}

static void
print_human (const struct blkring_item *item)
{
  printf ("position %" PRIu64 ", %zu byte%s", item->position, item->length,
          item->length == 1 ? "" : "s");
  if (item->length == 0)
    printf ("\n");
  else if (is_text (item->data, item->length)) {
    printf (": ");
    fwrite (item->data, 1, item->length, stdout);
    printf ("\n");
  }
  else {
    printf (":\n");
    hexdump (item->data, item->length);
  }
}

static int
print_item (const struct dump *d, const struct blkring_item *item)
{
  char *line;

  switch (d->output) {
  case OUTPUT_HUMAN:
    print_human (item);
    break;
  case OUTPUT_JSON:
    line = item_to_json (item);
    if (line == NULL)
      return fail (&d->common, "out of memory");
    fputs (line, stdout);
    free (line);
    break;
  case OUTPUT_RAW:
    fwrite (item->data, 1, item->length, stdout);
    break;
  }
  return ferror (stdout) ? finish_output (&d->common, STATUS_DONE)
    : STATUS_DONE;
}

static int
walk (struct dump *d, blkring_consumer *observer)
{
  const blkring_position *from = d->has_from ? &d->from : NULL;
  struct blkring_item items[BATCH];
  bool first = true;
  int status = STATUS_DONE;
  ssize_t n, i;

  while (d->left > 0 && status == STATUS_DONE) {
    n = blkring_consumer_popv (observer, from, items,
                               d->left < BATCH ? d->left : BATCH);
    for (i = 0; i < n && status == STATUS_DONE; ++i)
      status = print_item (d, &items[i]);
    if (n > 0) {
      d->from = items[n - 1].next;
      from = &d->from;
      first = false;
      d->left -= n;
    }
    else if (errno == EAGAIN)
      break;
    else if (errno == EINVAL && !first)
      from = NULL;           /* a running consumer freed it meanwhile */
    else
      return fail_ring (&d->common);
  }
  return status;
}

static int
run (struct dump *d)
{
  struct blkring_attach_options o;
  blkring_device *device = open_ring (&d->common, BLKRING_OPEN_READ_ONLY, 0);
  blkring_consumer *observer;
  int status;

  if (device == NULL)
    return STATUS_FAILED;
  o = attach_options (&d->common, device);
  o.flags = BLKRING_ATTACH_OBSERVER |
    (d->salvage ? BLKRING_ATTACH_SALVAGE : 0);
  d->skipped.common = &d->common;
  o.skipped = report_skipped;
  o.skipped_opaque = &d->skipped;
  observer = blkring_consumer_attach (device, &o);
  status = observer ? walk (d, observer) : fail_ring (&d->common);
  blkring_consumer_free (observer);
  blkring_device_close (device);
  if (status == STATUS_DONE && d->skipped.bytes > 0)
    return finish_output (&d->common, STATUS_CORRUPT);
  return status == STATUS_DONE ? finish_output (&d->common, status) : status;
}

static int
run_dump (int argc, char **argv)
{
  enum { OPT_FROM = OPT_OWN, OPT_COUNT, OPT_SALVAGE };
  static const struct option options[] = {
    { "from", required_argument, NULL, OPT_FROM },
    { "count", required_argument, NULL, OPT_COUNT },
    { "salvage", no_argument, NULL, OPT_SALVAGE },
    { "output", required_argument, NULL, OPT_OUTPUT },
    COMMON_LONG
  };
  static const char *const outputs[] = { "human", "json", "raw", NULL };
  struct dump d = { .common.subcommand = &dump_command, .left = UINT64_MAX };
  int opt, word;

  while ((opt = getopt_long (argc, argv, COMMON_SHORT, options, NULL)) != -1)
    switch (opt) {
    case OPT_FROM:
      if (parse_number ("--from", optarg, 0, INT64_MAX, &d.from) == -1)
        return STATUS_FAILED;
      d.has_from = true;
      break;
    case OPT_SALVAGE:
      d.salvage = true;
      break;
    case OPT_COUNT:
      if (parse_number ("--count", optarg, 0, UINT64_MAX, &d.left) == -1)
        return STATUS_FAILED;
      break;
    case OPT_OUTPUT:
      word = parse_word ("--output", optarg, outputs);
      if (word == -1)
        return STATUS_FAILED;
      d.output = word;
      break;
    default:
      if (common_option (&d.common, opt) == -1)
        return STATUS_FAILED;
    }
  if (common_arguments (&d.common, argc, argv, 0) == -1)
    return STATUS_FAILED;
  return run (&d);
}

const struct subcommand dump_command = {
  .name = "dump",
  .arguments = "RING",
  .summary = "show the unread items and leave them in the ring",
  .consumes = true,
  .options =
  "      --from=POS         begin with the item at this position\n"
  "      --count=N          show at most N items\n"
  "      --output=human|json|raw\n"
  "      --consumer=K       as which consumer would see them, from 0\n"
  "      --salvage          go on behind what is damaged\n",
  .run = run_dump,
};
