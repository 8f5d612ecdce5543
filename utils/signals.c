/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Asking to stop.  The handler is installed without SA_RESTART, so that
 * what waits is interrupted, and resets itself, so that a second signal
 * ends what does not listen.
 */

#include <config.h>

#include <string.h>

#include "img.h"

volatile sig_atomic_t stop_requested;

static void
request_stop (int sig)
{
  (void) sig;
  stop_requested = 1;
}

void
catch_stop_signals (void)
{
  struct sigaction sa;

  memset (&sa, 0, sizeof sa);
  sa.sa_handler = request_stop;
  sa.sa_flags = SA_RESETHAND;
  sigaction (SIGINT, &sa, NULL);
  sigaction (SIGTERM, &sa, NULL);
}
