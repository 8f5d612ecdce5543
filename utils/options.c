/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Options and arguments of the command line: those that every subcommand
 * takes, and how numbers, sizes and words are read.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "img.h"
#include "uri.h"

void
print_help (const struct subcommand *s, FILE *to)
{
  fprintf (to, "usage: blkring-img %s [OPTIONS] %s\n\n%s.\n\n%s"
           "  -q, --quiet            no messages but errors\n"
           "  -v, --verbose          log what the library does\n"
           "      --trace            log each pointer read or written\n"
           "      --sector-size=N    512 or 4096, instead of finding out\n"
           "      --direct=on|off    with or without O_DIRECT (default: on "
           "for block\n"
           "                         devices)\n"
           "      --largest-item=SIZE\n"
           "                         refuse items that are larger (64M)\n"
           "      --queue=NAME, --client=NAME\n"
           "                         names that the ring keeps for "
           "diagnostics\n"
           "      --timeout=SECONDS  how long to wait for an NBD server that "
           "does not\n"
           "                         answer (60; 0: for ever)\n"
           "      --reconnect=SECONDS\n"
           "                         how long to try again when the connection"
           " is lost\n"
           "                         (30; 0: not at all)\n"
           "      --help             this text\n\n"
           "blkring-img(1) has more.\n",
           s->name, s->arguments, s->summary, s->options);
}

static int
set_name (const char *what, char *to, size_t size, const char *name)
{
  if (strlen (name) >= size) {
    fprintf (stderr, "blkring-img: --%s: the name has %zu bytes, at most %zu "
             "are allowed\n", what, strlen (name), size - 1);
    return -1;
  }
  strcpy (to, name);
  return 0;
}

/* 0 is a word of its own in the library: its default. */
static int
set_time (const char *what, const char *text, uint32_t none, uint32_t *to)
{
  int ms;

  if (parse_seconds (what, text, &ms) == -1)
    return -1;
  *to = ms ? (uint32_t) ms : none;
  return 0;
}

int
common_option (struct common *common, int c)
{
  static const char *const on_off[] = { "on", "off", NULL };
  uint64_t value;
  int word;

  switch (c) {
  case 'q':
    common->quiet = true;
    return 0;
  case 'v':
    common->verbose = true;
    return 0;
  case OPT_TRACE:
    common->trace = true;
    return 0;
  case OPT_SECTOR_SIZE:
    if (parse_number ("--sector-size", optarg, 512, 4096, &value) == -1)
      return -1;
    if (value != 512 && value != 4096) {
      fprintf (stderr, "blkring-img: --sector-size is %" PRIu64
               ", neither 512 nor 4096\n", value);
      return -1;
    }
    common->sector_size = value;
    return 0;
  case OPT_DIRECT:
    word = parse_word ("--direct", optarg, on_off);
    if (word == -1)
      return -1;
    common->direct = word == 0 ? BLKRING_OPEN_DIRECT : BLKRING_OPEN_BUFFERED;
    return 0;
  case OPT_QUEUE:
    return set_name ("queue", common->queue, sizeof common->queue, optarg);
  case OPT_CLIENT:
    return set_name ("client", common->client, sizeof common->client, optarg);
  case OPT_LARGEST:
    return parse_size ("--largest-item", optarg, &common->largest_item);
  case OPT_TIMEOUT:
    return set_time ("--timeout", optarg, BLKRING_TIMEOUT_NONE,
                     &common->timeout);
  case OPT_RECONNECT:
    return set_time ("--reconnect", optarg, BLKRING_RECONNECT_OFF,
                     &common->reconnect);
  case OPT_CONSUMER:
    if (!common->subcommand->consumes) {
      fprintf (stderr, "blkring-img: --consumer is for consume, dump, suspend, "
               "resume and state\n");
      return -1;
    }
    if (parse_number ("--consumer", optarg, 0, 63, &value) == -1)
      return -1;
    common->consumer = value;
    common->has_consumer = true;
    return 0;
  case OPT_HELP:
    print_help (common->subcommand, stdout);
    exit (fflush (stdout) == EOF ? STATUS_FAILED : STATUS_DONE);
  default:                   /* getopt has said what is wrong */
    fprintf (stderr, "blkring-img %s --help lists the options\n",
             common->subcommand->name);
    return -1;
  }
}

int
human_or_json (struct common *common, int argc, char **argv, bool *json)
{
  static const struct option options[] = {
    { "output", required_argument, NULL, OPT_OUTPUT },
    COMMON_LONG
  };
  static const char *const outputs[] = { "human", "json", NULL };
  int opt, output = 0;

  while ((opt = getopt_long (argc, argv, COMMON_SHORT, options, NULL)) != -1)
    if (opt == OPT_OUTPUT) {
      output = parse_word ("--output", optarg, outputs);
      if (output == -1)
        return -1;
    }
    else if (common_option (common, opt) == -1)
      return -1;
  *json = output == 1;
  return common_arguments (common, argc, argv, 0);
}

/* It is needed up to the end of the process. */
static char *shown_name;

static void
free_shown_name (void)
{
  free (shown_name);
}

int
common_arguments (struct common *common, int argc, char **argv, int max_more)
{
  const int more = argc - optind - 1;

  if (more < 0) {
    fprintf (stderr, "blkring-img %s: which RING?  usage: blkring-img %s "
             "[OPTIONS] %s\n", common->subcommand->name,
             common->subcommand->name, common->subcommand->arguments);
    return -1;
  }
  if (more > max_more) {
    fprintf (stderr, "blkring-img %s: '%s' is an argument too many: usage: "
             "blkring-img %s [OPTIONS] %s\n", common->subcommand->name,
             argv[optind + 1 + max_more], common->subcommand->name,
             common->subcommand->arguments);
    return -1;
  }
  common->ring = argv[optind];
  shown_name = uri_without_password (common->ring);
  if (shown_name == NULL) {
    fprintf (stderr, "blkring-img: out of memory\n");
    return -1;
  }
  atexit (free_shown_name);
  common->name = shown_name;
  return more;
}

/* Digits alone: strtoull would take signs and spaces. */
static int
read_digits (const char *text, const char **end, uint64_t *value)
{
  const char *p;

  *value = 0;
  for (p = text; *p >= '0' && *p <= '9'; ++p)
    if (__builtin_mul_overflow (*value, UINT64_C (10), value) ||
        __builtin_add_overflow (*value, (uint64_t) (*p - '0'), value))
      return -1;
  *end = p;
  return p > text ? 0 : -1;
}

int
parse_number (const char *what, const char *text, uint64_t min, uint64_t max,
              uint64_t *value)
{
  const char *end;

  if (read_digits (text, &end, value) == 0 && *end == '\0' &&
      *value >= min && *value <= max)
    return 0;
  fprintf (stderr, "blkring-img: %s: '%s' is not a whole number from %" PRIu64
           " to %" PRIu64 "\n", what, text, min, max);
  return -1;
}

int
parse_size (const char *what, const char *text, uint64_t *value)
{
  static const char suffixes[] = "BKMGTP";
  const char *end, *suffix;
  unsigned shift = 0;

  if (read_digits (text, &end, value) == -1)
    goto bad;
  if (*end) {
    suffix = strchr (suffixes, *end == 'b' ? 'B' : *end == 'k' ? 'K' : *end);
    if (suffix == NULL || end[1])
      goto bad;
    shift = 10 * (suffix - suffixes);
  }
  if (*value > (uint64_t) INT64_MAX >> shift)
    goto bad;
  *value <<= shift;
  return 0;

 bad:
  fprintf (stderr, "blkring-img: %s: '%s' is not a size: write bytes, or a "
           "whole number with K, M, G, T or P behind it, as in 64M\n", what,
           text);
  return -1;
}

int
parse_seconds (const char *what, const char *text, int *ms)
{
  char *end;
  double seconds;

  errno = 0;
  seconds = strtod (text, &end);
  if (end == text || *end || errno || !(seconds >= 0 && seconds <= 2000000)) {
    fprintf (stderr, "blkring-img: %s: '%s' is not a number of seconds from 0"
             " to 2000000\n", what, text);
    return -1;
  }
  *ms = seconds * 1000;
  return 0;
}

int
parse_word (const char *what, const char *text, const char *const *words)
{
  int i;

  for (i = 0; words[i]; ++i)
    if (strcmp (text, words[i]) == 0)
      return i;
  fprintf (stderr, "blkring-img: %s: '%s' is none of", what, text);
  for (i = 0; words[i]; ++i)
    fprintf (stderr, " %s", words[i]);
  fprintf (stderr, "\n");
  return -1;
}
