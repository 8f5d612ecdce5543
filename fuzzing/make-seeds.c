/* SPDX-License-Identifier: BSD-3-Clause
 *
 *   make-seeds DIRECTORY
 *
 * Writes seeds for the fuzz targets: DIRECTORY/image/NAME and
 * DIRECTORY/patch/NAME.  The directories must be there.
 */

#include <config.h>

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "images.h"

static void
save (const char *directory, const char *target, const char *name,
      const void *bytes, size_t size)
{
  char path[4096];
  FILE *file;

  snprintf (path, sizeof path, "%s/%s/%s", directory, target, name);
  file = fopen (path, "wb");
  if (file == NULL || fwrite (bytes, 1, size, file) != size ||
      fclose (file) == EOF) {
    fprintf (stderr, "%s: %s\n", path, strerror (errno));
    exit (EXIT_FAILURE);
  }
}

int
main (int argc, char **argv)
{
  const unsigned char *image;
  unsigned char patch[3];
  size_t size;
  unsigned i;

  if (argc != 2) {
    fprintf (stderr, "usage: make-seeds DIRECTORY\n");
    return EXIT_FAILURE;
  }
  for (i = 0; i < NR_BASES; ++i) {
    image = base_image (i, &size);
    save (argv[1], "image", base_name (i), image, size);
    patch[0] = i;
    patch[1] = i == NR_BASES - 1 ? 2 : 0;
    patch[2] = 0;
    save (argv[1], "patch", base_name (i), patch, sizeof patch);
  }
  return EXIT_SUCCESS;
}
