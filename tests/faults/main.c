/* SPDX-License-Identifier: BSD-3-Clause
 *
 * faults [FILTER]
 *
 * Each operation whose name has FILTER in it, on rings of each kind, with each
 * of its requests failing in turn; or, compiled with FAIL_MEMORY, each of its
 * allocations.  Requests that have no effect fail with ENOSPC, others with EIO;
 * with BLKRING_ALL_ERRORS in the environment each with both.  The call must say so; the handle must be of no use afterwards
 * where that is the rule, and of use where not; what was promised must be
 * there (judge.c); and nothing may be left allocated or open.
 */

#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "operation.h"

/* What is split in many needs memory for that. */
#ifdef FAIL_MEMORY
#define SPLIT 1024
#else
#define SPLIT 0
#endif

static const struct kind kinds[] = {
  { "format 1, by flushes", 1, 0, 1, false, false, 1, 0 },
  { "format 1, by FUA", 1, BLKRING_DEVICE_FUA, 1, false, false, 1, 0 },
  { "format 1, served", 1, BLKRING_DEVICE_FUA, 1, true, false, 1, 0 },
  { "format 2, by flushes", 2, 0, 1, false, false, 1, 0 },
  { "format 2, by FUA", 2, BLKRING_DEVICE_FUA, 1, false, false, 1, 0 },
  { "format 2, two consumers", 2, 0, 2, false, false, 4096, 0 },
  { "format 2, served", 2, 0, 1, true, false, 1, 0 },
  { "format 1, together", 1, BLKRING_DEVICE_FUA, 1, false, true, 4096, SPLIT },
  { "format 2, together", 2, 0, 1, false, true, 4096, SPLIT },
};

#ifdef FAIL_MEMORY
static const bool memory = true;
#else
static const bool memory = false;
#endif

static struct world w;
static bool all_errors;
static unsigned faults, ignored, kept, poisoned;

static bool
suits (const struct operation *op, const struct kind *k)
{
  return !(op->flags & FORMAT2 && k->format == 1) &&
    !(op->flags & NOT_SERVED && k->served) &&
    !(op->flags & SERVED && !k->served) &&
    !(op->flags & TWO && k->consumers < 2);
}

static unsigned
open_files (void)
{
  DIR *dir = opendir ("/proc/self/fd");
  unsigned n = 0;

  while (dir && readdir (dir))
    n++;
  if (dir)
    closedir (dir);
  return n;
}

/* It failed as it should; does the handle know? */
static void
test_handle (const struct operation *op, bool must_be_useless,
             bool must_be_useful)
{
  const int r = op->run (&w), err = errno;

  if (r == 0 && must_be_useless)
    problem (&w, "the handle is of use behind a failed write or flush");
  else if (r == 0)
    kept++;
  else if (must_be_useful)
    problem (&w, "nothing was written, and yet the handle is of no use: %s",
             blkring_get_error ());
  else if (err != EIO)
    problem (&w, "a useless handle says: %s", blkring_get_error ());
  else
    poisoned++;
}

/* Something failed in 'op', which returned r and errno. */
static void
test_failure (const struct operation *op, int r, int err, int expected,
              bool wrote, bool io)
{
  faults++;
  if (r == 0) {
    ignored++;
    if (!(op->flags & MAY_IGNORE) && !w.disk.beside)
      problem (&w, "it succeeds");
    return;
  }
  if (err != expected || blkring_get_errno () != err ||
      !blkring_get_error ()[0])
    problem (&w, "errno %d (%s) and not %d; message: %s", err, strerror (err),
             expected, blkring_get_error ());
  if (op->flags & (ON_PRODUCER | ON_CONSUMER))
    /* The client of a service has written, if perhaps in vain. */
    /* Nor is it of use where a write could not be copied, or split. */
    test_handle (op, io && wrote, !wrote && !w.kind->served &&
                 !(memory && w.kind->alignment > 1));
}

/* Returns false when there was no such request or allocation. */
static bool
fail_one (const struct operation *op, const struct kind *kind, unsigned at,
          int error, enum effect effect)
{
  const unsigned blocks = memory_blocks ();
  struct disk *d = &w.disk;
  bool fired, wrote;
  int r, err;

  world_start (&w, kind);
  op->prepare (&w);
  w.now += UINT64_C (1000000000);
  disk_arm (d, memory ? NEVER : at, error, effect);
  memory_arm (memory ? at : NEVER);
  r = op->run (&w);
  err = errno;
  fired = memory_disarm () || d->fired;
  wrote = d->count[A_WRITE] + d->count[A_FLUSH] > 0;
  disk_disarm (d);
  if (fired)
    test_failure (op, r, err, error, wrote,
                  !memory && d->fired_kind != A_READ);
  else if (r == -1)
    problem (&w, "nothing failed, but it: %s", blkring_get_error ());
  world_close (&w);
  world_judge (&w, at);
  if (memory_blocks () != blocks)
    problem (&w, "%u blocks are not freed", memory_blocks () - blocks);
  return fired;
}

static bool
report (const struct operation *op, unsigned at, int error,
        enum effect effect)
{
  static const char *const effects[] = { "no", "part of its", "all its" };

  if (!w.problem[0])
    return true;
  printf ("# %s on %s, with failure %u (%s, %s effect): %s\n", op->name,
          w.kind->name, at, strerror (error), effects[effect], w.problem);
  return false;
}

static bool
fail_each (const struct operation *op, const struct kind *kind, int error,
           enum effect effect)
{
  unsigned at, wrong = 0;
  bool more;

  for (at = 0; wrong < 5; ++at) {
    more = fail_one (op, kind, at, error, effect);
    wrong += !report (op, at, error, effect);
    if (!more)
      break;
  }
  return wrong == 0;
}

/* Nothing fails, but requests do less than asked, or are interrupted. */
static bool
test_halting (const struct operation *op, const struct kind *kind)
{
  bool ok = true;
  int r, i;

  for (i = 0; i < 3; ++i) {
    world_start (&w, kind);
    op->prepare (&w);
    w.now += UINT64_C (1000000000);
    w.disk.short_count = i == 1 ? 0 : SECTOR;
    w.disk.interrupts = i > 0;
    r = op->run (&w);
    if (r == -1)
      problem (&w, "%s%s: %s", i == 1 ? "" : "short counts ",
               i > 0 ? "EINTR" : "", blkring_get_error ());
    world_close (&w);
    world_judge (&w, i);
    ok = report (op, 0, 0, NO_EFFECT) && ok;
  }
  return ok;
}

static bool
test_operation (const struct operation *op, const struct kind *kind)
{
  bool ok = true;
  unsigned effect;

  if (memory)
    return fail_each (op, kind, ENOMEM, NO_EFFECT);
  for (effect = 0; effect < EFFECTS; ++effect) {
    if (effect != NO_EFFECT || all_errors)
      ok = fail_each (op, kind, EIO, effect) && ok;
    if (effect == NO_EFFECT || all_errors)
      ok = fail_each (op, kind, ENOSPC, effect) && ok;
  }
  ok = test_halting (op, kind) && ok;
  return ok;
}

int
main (int argc, char **argv)
{
  unsigned i, k, files, tests = 0;
  bool all_ok = true, ok;

  all_errors = getenv ("BLKRING_ALL_ERRORS") != NULL;
  json_set_alloc_funcs (memory_malloc, memory_free);
  for (i = 0; i < nr_operations; ++i) {
    if (argc > 1 && strstr (operations[i].name, argv[1]) == NULL)
      continue;
    faults = 0;
    files = open_files ();
    ok = true;
    for (k = 0; k < sizeof kinds / sizeof kinds[0]; ++k)
      if (suits (&operations[i], &kinds[k]))
        ok = test_operation (&operations[i], &kinds[k]) && ok;
    if (open_files () != files) {
      printf ("# %s: %u files are not closed\n", operations[i].name,
              open_files () - files);
      ok = false;
    }
    printf ("%s %u - %s: %u failures\n", ok ? "ok" : "not ok", ++tests,
            operations[i].name, faults);
    fflush (stdout);
    all_ok = all_ok && ok;
  }
  printf ("1..%u\n# %u failures did not fail the call, %u left the handle of "
          "use, %u did not\n", tests, ignored, kept, poisoned);
  return all_ok ? 0 : 1;
}
