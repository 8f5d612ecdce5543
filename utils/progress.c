/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The line of -p, on stderr, since stdout may carry items.
 */

#include <config.h>

#include "img.h"

void
show_progress (void *opaque, uint64_t done, uint64_t total)
{
  struct progress *progress = opaque;
  int now = total ? (int) (10000.0 * done / total) : 10000;

  if (!progress->enabled || now == progress->last)
    return;
  progress->last = now;
  progress->shown = true;
  fprintf (stderr, "    (%.2f/100%%)\r", now / 100.0);
}

void
end_progress (struct progress *progress)
{
  if (progress->shown)
    fprintf (stderr, "\n");
}
