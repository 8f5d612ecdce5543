/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One run of the user's command.
 *
 * Its stdin is a file in memory and no pipe, so that a command that does not
 * read all of it, or nothing, is no special case.  Each run has its own.
 */

#include <config.h>

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec.h"

extern char **environ;

static int
make_input (const void *input, size_t length)
{
  const char *p = input;
  int fd = memfd_create ("item", MFD_CLOEXEC), err;
  ssize_t n;

  for (; fd != -1 && length > 0; p += n, length -= n) {
    n = write (fd, p, length);
    if (n == -1 && errno == EINTR)
      n = 0;
    if (n == -1) {
      err = errno;
      close (fd);
      errno = err;
      return -1;
    }
  }
  if (fd != -1)
    lseek (fd, 0, SEEK_SET);
  return fd;
}

/* What this program ignores the command must not. */
static int
start (const char *command, int input, pid_t *pid)
{
  char *argv[] = { (char[]) { "sh" }, (char[]) { "-c" }, (char *) command,
                   NULL };
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t defaults;
  int err;

  sigemptyset (&defaults);
  sigaddset (&defaults, SIGPIPE);
  posix_spawnattr_init (&attributes);
  posix_spawnattr_setsigdefault (&attributes, &defaults);
  posix_spawnattr_setflags (&attributes, POSIX_SPAWN_SETSIGDEF);
  posix_spawn_file_actions_init (&actions);
  err = posix_spawn_file_actions_adddup2 (&actions, input, STDIN_FILENO);
  if (err == 0)
    err = posix_spawn (pid, "/bin/sh", &actions, &attributes, argv, environ);
  posix_spawn_file_actions_destroy (&actions);
  posix_spawnattr_destroy (&attributes);
  return err;
}

int
run_command (const char *command, const void *input, size_t length,
             char error[COMMAND_ERROR])
{
  const int fd = make_input (input, length);
  int status, err;
  pid_t pid = -1;

  err = fd == -1 ? errno : start (command, fd, &pid);
  if (fd != -1)
    close (fd);
  if (err != 0) {
    snprintf (error, COMMAND_ERROR, "the command could not be started: %s",
              strerror (err));
    return -1;
  }
  /* A signal asks this program to stop: the command ends by itself. */
  while (waitpid (pid, &status, 0) == -1)
    if (errno != EINTR) {
      snprintf (error, COMMAND_ERROR, "nobody knows how the command ended: %s",
                strerror (errno));
      return -1;
    }
  if (WIFSIGNALED (status))
    snprintf (error, COMMAND_ERROR, "the command was killed by signal %d",
              WTERMSIG (status));
  else
    snprintf (error, COMMAND_ERROR, "the command exited with status %d",
              WEXITSTATUS (status));
  return status == 0 ? 0 : -1;
}
