/* SPDX-License-Identifier: BSD-3-Clause */
#include <config.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <inttypes.h>
#include "explore.h"

int
main (int argc, char **argv)
{
  static struct explorer e;
  struct limits l = { 2, 1, 0, 0 };
  struct start s;
  unsigned i, from = 0, n = 10, format = 1;
  uint64_t images = 0, points = 0, runs = 0, workloads = 0, again = 0, equal = 0, sampled = 0;
  mallopt (M_MMAP_THRESHOLD, 64 << 20);
  mallopt (M_TRIM_THRESHOLD, 256 << 20);
  if (argc > 1) l.operations = atoi (argv[1]);
  if (argc > 2) l.preemptions = atoi (argv[2]);
  if (argc > 3) from = atoi (argv[3]);
  if (argc > 4) n = atoi (argv[4]);
  if (argc > 5) format = atoi (argv[5]);
  for (i = from; i < from + n && start_get (format, i, &s); ++i) {
    explorer_init (&e, &s, &l, 1 << 20);
    explore (&e);
    images += e.j.images; points += e.j.points; runs += e.runs;
    workloads += e.workloads; again += e.j.again; equal += e.j.equal; sampled += e.j.sampled;
    if (e.problem[0]) { printf ("%s\n", e.problem); return 1; }
    explorer_free (&e);
  }
  printf ("starts %u workloads %" PRIu64 " runs %" PRIu64 " points %" PRIu64 " images %" PRIu64 " (again %" PRIu64 ") equal %" PRIu64 " sampled %" PRIu64 "\n", i - from, workloads, runs, points, images, again, equal, sampled);
  return 0;
}
