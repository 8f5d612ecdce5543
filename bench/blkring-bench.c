/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: how fast is the ring, and how fast could it be?
 *
 * Each test is measured in rounds, and each round measures the ring and
 * then, at once, what the system can do with the same bytes.  So both see
 * the same disk in the same mood, and their ratio means something where
 * the numbers alone do not.
 */

#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define NR_TESTS 32          /* 2 directions, 2 durabilities, 4 sizes, 2
                                batches */
#define MAX_ROUNDS 10000

static void
make_tests (struct result results[NR_TESTS])
{
  static const size_t lengths[] = { 16, 512, 4096, LARGEST_ITEM };
  struct test *t;
  unsigned i;

  for (i = 0; i < NR_TESTS; ++i) {
    t = &results[i].test;
    t->direction = i & 16 ? POP : PUSH;
    t->durable = !(i & 8);
    t->batch = i & 4 ? BATCH : 1;
    t->length = lengths[i & 3];
    /* Where a target compares with it. */
    t->bare = !t->durable && t->length == 16 &&
      t->batch == (t->direction == PUSH ? 1 : BATCH);
  }
}

/*---------------------------------------------------------------------*/

static bool
is_measured (const struct test *t, unsigned subject)
{
  switch (subject) {
  case RING:
    return true;
  case LIMIT_PLAIN:
    return !t->durable;
  case LIMIT_DSYNC:
  case LIMIT_FDATASYNC:
    return t->durable;
  default:
    return t->bare;
  }
}

static double
run (struct bench *b, struct result *r, unsigned subject)
{
  switch (subject) {
  case RING:
    return run_ring (b, r);
  case BARE:
    return run_bare (b, &r->test);
  default:
    return run_limit (b, &r->test, subject);
  }
}

static int
compare (const void *a, const void *b)
{
  const double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

static double
median (const double *values, unsigned nr)
{
  double *sorted = allocate (nr * sizeof *sorted), m;

  memcpy (sorted, values, nr * sizeof *sorted);
  qsort (sorted, nr, sizeof *sorted, compare);
  m = nr % 2 ? sorted[nr / 2] : (sorted[nr / 2 - 1] + sorted[nr / 2]) / 2;
  free (sorted);
  return m;
}

static void
measure (struct bench *b, struct result *r)
{
  unsigned round, s;

  for (s = 0; s < NR_SUBJECTS; ++s)
    if (is_measured (&r->test, s))
      r->series[s].rounds = allocate (b->rounds * sizeof (double));
  for (round = 0; round < b->rounds; ++round)
    for (s = 0; s < NR_SUBJECTS; ++s)
      if (r->series[s].rounds)
        r->series[s].rounds[round] = run (b, r, s);
  for (s = 0; s < NR_SUBJECTS; ++s)
    if (r->series[s].rounds)
      r->series[s].median = median (r->series[s].rounds, b->rounds);

  r->limit = LIMIT_PLAIN;
  for (s = LIMIT_DSYNC; s <= LIMIT_FDATASYNC; ++s)
    if (r->series[s].median > r->series[r->limit].median)
      r->limit = s;
  r->ratio = r->series[RING].median / r->series[r->limit].median;
}

static void
measure_all (struct bench *b, bool json)
{
  static struct result results[NR_TESTS];
  unsigned i, s;

  make_tests (results);
  if (!json)
    report_header (b);
  for (i = 0; i < NR_TESTS; ++i) {
    measure (b, &results[i]);
    if (!json)
      report_result (&results[i]);
  }
  if (json)
    report_json (b, results, NR_TESTS);
  else
    report_targets (results, NR_TESTS);
  for (i = 0; i < NR_TESTS; ++i)
    for (s = 0; s < NR_SUBJECTS; ++s)
      free (results[i].series[s].rounds);
}

/*---------------------------------------------------------------------*/

static const char usage[] =
  "Usage: blkring-bench [OPTION]...\n"
  "Compare the speed of a ring with that of bare system calls.\n"
  "\n"
  "  --dir=DIR            where to make two files of 64 MiB [.]\n"
  "  --output=human|json  what to print [human]\n"
  "  --seconds=F          time of each test in each round [0.2]\n"
  "  --rounds=N           rounds, of which the medians are taken [5]\n"
  "  --help, --version\n";

static double
parse_seconds (const char *s)
{
  char *end;
  double v;

  errno = 0;
  v = strtod (s, &end);
  if (errno != 0 || end == s || *end || !(v > 0 && v <= 3600))
    fail ("--seconds=%s: not a number above 0 and up to 3600", s);
  return v;
}

static unsigned
parse_rounds (const char *s)
{
  char *end;
  long v;

  errno = 0;
  v = strtol (s, &end, 10);
  if (errno != 0 || end == s || *end || v < 1 || v > MAX_ROUNDS)
    fail ("--rounds=%s: not a number from 1 to %d", s, MAX_ROUNDS);
  return v;
}

static bool
parse_output (const char *s)
{
  if (strcmp (s, "json") != 0 && strcmp (s, "human") != 0)
    fail ("--output=%s: neither human nor json", s);
  return strcmp (s, "json") == 0;
}

/* All of it has reached where it goes. */
static void
finish_output (void)
{
  if (fflush (stdout) == EOF || ferror (stdout))
    fail_errno ("cannot write the report");
}

static void __attribute__ ((noreturn))
print_and_exit (const char *text)
{
  fputs (text, stdout);
  finish_output ();
  exit (EXIT_SUCCESS);
}

static void __attribute__ ((noreturn))
print_version (void)
{
  printf ("blkring-bench %s\n", blkring_version ());
  print_and_exit ("");
}

static void
parse_options (int argc, char *argv[], struct bench *b, bool *json)
{
  static const struct option options[] = {
    { "dir", required_argument, NULL, 'd' },
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
    case 'd': b->dir = optarg; break;
    case 'o': *json = parse_output (optarg); break;
    case 's': b->seconds = parse_seconds (optarg); break;
    case 'r': b->rounds = parse_rounds (optarg); break;
    case 'h': print_and_exit (usage);
    case 'v': print_version ();
    default: fail ("see blkring-bench --help");
    }
  if (optind < argc)
    fail ("%s: no argument is expected", argv[optind]);
}

int
main (int argc, char *argv[])
{
  struct bench b = { .dir = ".", .seconds = 0.2, .rounds = 5 };
  bool json = false;

  parse_options (argc, argv, &b, &json);
  open_files (&b);
  measure_all (&b, json);
  close_files (&b);
  finish_output ();
  return EXIT_SUCCESS;
}
