/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-peers: servers, and that nothing of them stays behind.
 *
 * A server dies with the process that started it, however that ends.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peers.h"

#define LOG "server.log"
#define PATIENCE UINT64_C (10000000000) /* ns */

char *
find_program (const char *name)
{
  char *path = strdup (getenv ("PATH") ? getenv ("PATH") : ""), *rest = path;
  char *dir, *file;

  while ((dir = strsep (&rest, ":")) != NULL) {
    if (asprintf (&file, "%s/%s", dir, name) == -1)
      fail ("out of memory");
    if (access (file, X_OK) == 0) {
      free (path);
      return file;
    }
    free (file);
  }
  free (path);
  return NULL;
}

/* 'parent': it may be dead by now. */
void
die_with_parent (pid_t parent)
{
  if (prctl (PR_SET_PDEATHSIG, SIGKILL) == -1)
    fail_errno ("prctl");
  if (getppid () != parent)
    _exit (EXIT_FAILURE);
}

static void __attribute__ ((noreturn))
become_server (pid_t parent, char *const argv[])
{
  const int fd = open (LOG, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

  die_with_parent (parent);
  if (fd == -1 || dup2 (fd, STDOUT_FILENO) == -1 ||
      dup2 (fd, STDERR_FILENO) == -1)
    fail_errno (LOG);
  execvp (argv[0], argv);
  fail_errno (argv[0]);
}

void
server_start (struct server *server, char *const argv[])
{
  const pid_t parent = getpid ();

  fflush (stdout);
  server->name = argv[0];
  server->pid = fork ();
  if (server->pid == -1)
    fail_errno ("fork");
  if (server->pid == 0)
    become_server (parent, argv);
}

static void __attribute__ ((noreturn))
fail_server (const struct server *server, const char *what)
{
  char words[1024] = "";
  FILE *log = fopen (LOG, "r");

  if (log != NULL) {
    fseek (log, -(long) (sizeof words - 1), SEEK_END);
    words[fread (words, 1, sizeof words - 1, log)] = '\0';
    fclose (log);
  }
  fail ("%s %s\n%s", server->name, what, words);
}

void
server_wait (const struct server *server, bool (*is_ready) (void))
{
  const uint64_t begin = now ();

  while (!is_ready ()) {
    if (waitpid (server->pid, NULL, WNOHANG) == server->pid)
      fail_server (server, "ended; its last words:");
    if (now () - begin > PATIENCE)
      fail_server (server, "does not answer; its last words:");
    usleep (1000);
  }
}

/* Nothing of it is kept. */
void
server_stop (struct server *server)
{
  if (kill (server->pid, SIGKILL) == -1 ||
      waitpid (server->pid, NULL, 0) != server->pid)
    fail_errno (server->name);
}

/*---------------------------------------------------------------------*/

static int
remove_one (const char *name, const struct stat *st, int type,
            struct FTW *ftw)
{
  (void) st;
  (void) type;
  (void) ftw;
  if (remove (name) == -1)
    fprintf (stderr, "%s: cannot remove %s: %s\n", program_name, name,
             strerror (errno));
  return 0;
}

void
remove_tree (const char *dir)
{
  nftw (dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
