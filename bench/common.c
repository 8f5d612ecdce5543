/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The benchmarks: failing, the stopwatch, quantiles, numbers of the command
 * line.
 */

#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blkring.h"
#include "common.h"

void
fail (const char *fmt, ...)
{
  va_list args;

  fprintf (stderr, "%s: ", program_name);
  va_start (args, fmt);
  vfprintf (stderr, fmt, args);
  va_end (args);
  fputc ('\n', stderr);
  exit (EXIT_FAILURE);
}

void
fail_errno (const char *what)
{
  fail ("%s: %s", what, strerror (errno));
}

void
fail_ring (const char *what)
{
  fail ("%s: %s", what, blkring_get_error ());
}

/* Aligned to pages, and written to, so that no test pays for that. */
void *
allocate (size_t size)
{
  void *p;
  int err = posix_memalign (&p, 4096, size);

  if (err != 0)
    fail ("cannot allocate %zu bytes: %s", size, strerror (err));
  memset (p, 'x', size);
  return p;
}

/*---------------------------------------------------------------------*/

uint64_t
now (void)
{
  struct timespec ts;

  if (clock_gettime (CLOCK_MONOTONIC, &ts) == -1)
    fail_errno ("clock_gettime");
  return ts.tv_sec * UINT64_C (1000000000) + ts.tv_nsec;
}

void
stopwatch_init (struct stopwatch *w, double seconds)
{
  w->elapsed = w->started = 0;
  w->limit = seconds * 1e9;
}

void
stopwatch_start (struct stopwatch *w)
{
  w->started = now ();
}

void
stopwatch_stop (struct stopwatch *w)
{
  w->elapsed += now () - w->started;
}

/* Asked while it runs. */
bool
stopwatch_over (const struct stopwatch *w)
{
  return w->elapsed + (now () - w->started) >= w->limit;
}

/* Asked while it stands. */
double
stopwatch_seconds (const struct stopwatch *w)
{
  return w->elapsed / 1e9;
}

static int
compare (const void *a, const void *b)
{
  const double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

double
quantile (const double *values, unsigned nr, double q)
{
  double *sorted = allocate (nr * sizeof *sorted), at = q * (nr - 1), v;
  const unsigned below = at, above = below + 1 < nr ? below + 1 : below;

  memcpy (sorted, values, nr * sizeof *sorted);
  qsort (sorted, nr, sizeof *sorted, compare);
  v = sorted[below] + (at - below) * (sorted[above] - sorted[below]);
  free (sorted);
  return v;
}

/*---------------------------------------------------------------------*/

double
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

unsigned
parse_number (const char *name, const char *s, long least, long most)
{
  char *end;
  long v;

  errno = 0;
  v = strtol (s, &end, 10);
  if (errno != 0 || end == s || *end || v < least || v > most)
    fail ("--%s=%s: not a number from %ld to %ld", name, s, least, most);
  return v;
}

/* All of it has reached where it goes. */
void
finish_output (void)
{
  if (fflush (stdout) == EOF || ferror (stdout))
    fail_errno ("cannot write the report");
}

void
print_and_exit (const char *text)
{
  fputs (text, stdout);
  finish_output ();
  exit (EXIT_SUCCESS);
}
