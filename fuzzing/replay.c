/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Runs a fuzz target without a fuzzer: on files, and on inputs that follow
 * from a number.
 *
 *   replay-TARGET FILE... [--random=COUNT[,SEED]]
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#define LARGEST (64 << 20)

static int
replay_file (const char *name)
{
  FILE *file = fopen (name, "rb");
  uint8_t *data;
  size_t n;

  if (file == NULL) {
    fprintf (stderr, "%s: %s\n", name, strerror (errno));
    return -1;
  }
  data = malloc (LARGEST);
  if (data == NULL)
    abort ();
  n = fread (data, 1, LARGEST, file);
  fclose (file);
  /* So that a read behind its end is noticed. */
  data = realloc (data, n + 1);
  fprintf (stderr, "%s\n", name);
  LLVMFuzzerTestOneInput (data, n);
  free (data);
  return 0;
}

static uint64_t state;

static uint8_t
next (void)
{
  state = state * UINT64_C (6364136223846793005) + UINT64_C (1442695040888963407);
  return state >> 33;
}

static void
replay_random (unsigned count, uint64_t seed)
{
  uint8_t data[200];
  unsigned i;
  size_t j, n;

  for (i = 0; i < count; ++i) {
    state = seed + i;
    next ();
    /* Few changes more often than many. */
    n = next () % (next () % 2 ? sizeof data : 30);
    for (j = 0; j < n; ++j)
      data[j] = next ();
    if (n > 2)
      data[2] = next () % 5;
    fprintf (stderr, "random %" PRIu64 "\n", seed + i);
    LLVMFuzzerTestOneInput (data, n);
  }
}

int
main (int argc, char **argv)
{
  unsigned count, files = 0, inputs = 0;
  uint64_t seed;
  int i;

  for (i = 1; i < argc; ++i) {
    seed = 1;
    if (sscanf (argv[i], "--random=%u,%" SCNu64, &count, &seed) >= 1) {
      replay_random (count, seed);
      inputs += count;
    }
    else if (replay_file (argv[i]) == -1)
      return EXIT_FAILURE;
    else
      files++;
  }
  printf ("%u files and %u random inputs\n", files, inputs);
  return EXIT_SUCCESS;
}
