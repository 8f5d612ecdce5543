/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: the command line.
 */

#include <config.h>

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

#define MAX_ROUNDS 10000

static const char usage[] =
  "Usage: blkring-bench [OPTION]...\n"
  "Compare the speed of a ring with that of bare system calls.\n"
  "\n"
  "  --dir=DIR            where to make three files of 64 MiB [.]\n"
  "  --format=1|2|both    which formats to measure [both]\n"
  "  --block-size=N       of format 2 [4096, and 512 for small items]\n"
  "  --only=SECTION       ring, writes or journal [all of them]\n"
  "  --direct             the ring with O_DIRECT\n"
  "  --output=human|json  what to print [human]\n"
  "  --seconds=F          time of each test in each round [0.05]\n"
  "  --rounds=N           rounds, of which the medians are taken [21]\n"
  "  --help, --version\n";

static uint32_t
parse_block_size (const char *s)
{
  const unsigned v = parse_number ("block-size", s, 512, 65536);

  if ((v & (v - 1)) != 0)
    fail ("--block-size=%s: not a power of two", s);
  return v;
}

static unsigned
parse_format (const char *s)
{
  if (strcmp (s, "both") == 0)
    return 0;
  if (strcmp (s, "1") != 0 && strcmp (s, "2") != 0)
    fail ("--format=%s: neither 1, 2 nor both", s);
  return s[0] - '0';
}

static unsigned
parse_section (const char *s)
{
  static const char *const names[] = { "ring", "writes", "journal" };
  unsigned i;

  for (i = 0; i < sizeof names / sizeof names[0]; ++i)
    if (strcmp (s, names[i]) == 0)
      return 1U << i;
  fail ("--only=%s: neither ring, writes nor journal", s);
}

static bool
parse_output (const char *s)
{
  if (strcmp (s, "json") != 0 && strcmp (s, "human") != 0)
    fail ("--output=%s: neither human nor json", s);
  return strcmp (s, "json") == 0;
}

static void __attribute__ ((noreturn))
print_version (void)
{
  printf ("blkring-bench %s\n", blkring_version ());
  print_and_exit ("");
}

void
parse_options (int argc, char *argv[], struct bench *b)
{
  static const struct option options[] = {
    { "block-size", required_argument, NULL, 'b' },
    { "dir", required_argument, NULL, 'd' },
    { "direct", no_argument, NULL, 'D' },
    { "format", required_argument, NULL, 'f' },
    { "only", required_argument, NULL, 'O' },
    { "output", required_argument, NULL, 'o' },
    { "seconds", required_argument, NULL, 's' },
    { "rounds", required_argument, NULL, 'r' },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'v' },
    { NULL, 0, NULL, 0 },
  };
  int c;

  while ((c = getopt_long (argc, argv, "", options, NULL)) != -1)
    switch (c) {
    case 'b': b->block_size = parse_block_size (optarg); break;
    case 'd': b->dir = optarg; break;
    case 'D': b->direct = true; break;
    case 'f': b->format = parse_format (optarg); break;
    case 'O': b->sections = parse_section (optarg); break;
    case 'o': b->json = parse_output (optarg); break;
    case 's': b->seconds = parse_seconds (optarg); break;
    case 'r': b->rounds = parse_number ("rounds", optarg, 1, MAX_ROUNDS);
      break;
    case 'h': print_and_exit (usage);
    case 'v': print_version ();
    default: fail ("see blkring-bench --help");
    }
  if (optind < argc)
    fail ("%s: no argument is expected", argv[optind]);
}
