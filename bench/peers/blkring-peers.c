/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-peers: how fast is a ring beside other durable queues?
 *
 * One process measures, and has children of its own.  This one waits for it,
 * kills what is left of them all, and removes their directory, whether the
 * other ends well, fails, or a signal stops this one.
 */

#include <config.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peers.h"

const char program_name[] = "blkring-peers";

static char *
make_directory (const char *dir)
{
  char *name;

  if (asprintf (&name, "%s/blkring-peers.XXXXXX", dir) == -1)
    fail ("out of memory");
  if (mkdtemp (name) == NULL)
    fail ("%s: cannot make a directory: %s", dir, strerror (errno));
  return name;
}

static void __attribute__ ((noreturn))
work (const struct options *options, const char *dir, pid_t parent)
{
  die_with_parent (parent);
  if (chdir (dir) == -1)
    fail_errno (dir);
  measure_all (options);
  finish_output ();
  exit (EXIT_SUCCESS);
}

/* The signals that end this program, and the one of its children. */
static void
block_signals (sigset_t *set, sigset_t *before)
{
  sigemptyset (set);
  sigaddset (set, SIGCHLD);
  sigaddset (set, SIGHUP);
  sigaddset (set, SIGINT);
  sigaddset (set, SIGTERM);
  if (sigprocmask (SIG_BLOCK, set, before) == -1)
    fail_errno ("sigprocmask");
}

/* Returns the signal that came meanwhile, or 0 and the worker's status. */
static int
wait_for_worker (pid_t worker, const sigset_t *set, int *status)
{
  int signo;

  for (;;) {
    signo = sigwaitinfo (set, NULL);
    if (signo != SIGCHLD && signo != -1)
      return signo;
    if (waitpid (worker, status, WNOHANG) == worker)
      return 0;
  }
}

/* Who lost the parent that would have been its death has us as one. */
static void
wait_for_all (void)
{
  while (wait (NULL) != -1 || errno == EINTR)
    ;
}

int
main (int argc, char *argv[])
{
  struct options options = {
    .dir = ".", .size = UINT64_C (64) << 20, .seconds = 0.03, .rounds = 41,
  };
  const pid_t parent = getpid ();
  sigset_t set, before;
  int status = 0, signo;
  pid_t worker;
  char *dir;

  parse_options (argc, argv, &options);
  if (prctl (PR_SET_CHILD_SUBREAPER, 1) == -1)
    fail_errno ("prctl");
  block_signals (&set, &before);
  dir = make_directory (options.dir);
  worker = fork ();
  if (worker == 0) {
    sigprocmask (SIG_SETMASK, &before, NULL);
    work (&options, dir, parent);
  }
  signo = worker == -1 ? 0 : wait_for_worker (worker, &set, &status);
  if (signo != 0)
    kill (worker, SIGKILL);
  wait_for_all ();
  remove_tree (dir);
  free (dir);
  if (worker == -1)
    fail_errno ("fork");
  if (signo != 0) {
    sigprocmask (SIG_SETMASK, &before, NULL);
    raise (signo);
  }
  if (WIFSIGNALED (status))
    fail ("killed by signal %d", WTERMSIG (status));
  return WIFEXITED (status) ? WEXITSTATUS (status) : EXIT_FAILURE;
}
