/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-peers: the command line.
 */

#include <config.h>

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "peers.h"

#define MAX_ROUNDS 10000
#define MAX_SIZE 1024        /* MiB */

static const char usage[] =
  "Usage: blkring-peers [OPTION]...\n"
  "Compare the speed of a ring with that of other durable queues.\n"
  "\n"
  "  --dir=DIR            where to make a directory for the files of all [.]\n"
  "  --size=MIB           of a ring; five eighths may be untaken [64]\n"
  "  --peers=NAME,...     which others to measure [all]:\n"
  "                       blkring-direct,blkring-1,bare,sqlite,lmdb,redis,\n"
  "                       beanstalkd\n"
  "  --tests=TEST,...     of 512x1,4096x1,512x64,4096x64: bytes of an item, items\n"
  "                       of a commit [all]\n"
  "  --seconds=F          time of each test in each round [0.03]\n"
  "  --rounds=N           rounds, of which the medians are taken [41]\n"
  "  --help\n";

static bool
is_peer (const char *name)
{
  size_t i;

  for (i = 0; i < nr_entries; ++i)
    if (strcmp (name, entries[i].name) == 0)
      return true;
  return false;
}

static bool
is_test (const char *name)
{
  return strcmp (name, "512x1") == 0 || strcmp (name, "512x64") == 0 ||
    strcmp (name, "4096x1") == 0 || strcmp (name, "4096x64") == 0;
}

static const char *
parse_names (const char *option, const char *names,
             bool (*is_name) (const char *name))
{
  char *list = strdup (names), *rest = list, *word;

  while ((word = strsep (&rest, ",")) != NULL)
    if (!is_name (word))
      fail ("--%s=%s: '%s' is not known", option, names, word);
  free (list);
  return names;
}

void
parse_options (int argc, char *argv[], struct options *o)
{
  static const struct option options[] = {
    { "dir", required_argument, NULL, 'd' },
    { "peers", required_argument, NULL, 'p' },
    { "rounds", required_argument, NULL, 'r' },
    { "seconds", required_argument, NULL, 's' },
    { "size", required_argument, NULL, 'S' },
    { "tests", required_argument, NULL, 't' },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
  };
  int c;

  while ((c = getopt_long (argc, argv, "", options, NULL)) != -1)
    switch (c) {
    case 'd': o->dir = optarg; break;
    case 'p': o->peers = parse_names ("peers", optarg, is_peer); break;
    case 't': o->tests = parse_names ("tests", optarg, is_test); break;
    case 'r': o->rounds = parse_number ("rounds", optarg, 1, MAX_ROUNDS);
      break;
    case 's': o->seconds = parse_seconds (optarg); break;
    case 'S':
      o->size = (uint64_t) parse_number ("size", optarg, 8, MAX_SIZE) << 20;
      break;
    case 'h': print_and_exit (usage);
    default: fail ("see blkring-peers --help");
    }
  if (optind < argc)
    fail ("%s: no argument is expected", argv[optind]);
}
