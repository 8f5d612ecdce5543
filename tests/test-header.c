/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring.h can be included alone, and the library that it describes is
 * the one that is linked.
 */

#include "blkring.h"

#include <config.h>
#include <stdio.h>
#include <string.h>

int
main (void)
{
  const char *version = blkring_version ();

  printf ("1..2\n");
  printf ("%s 1 - the header compiles alone, and version is %s\n",
          strcmp (version, PACKAGE_VERSION) == 0 ? "ok" : "not ok", version);
  printf ("%s 2 - positions compare as numbers\n",
          blkring_position_compare (1, 2) < 0 &&
          blkring_position_compare (2, 1) > 0 &&
          blkring_position_compare (2, 2) == 0 ? "ok" : "not ok");
  return 0;
}
