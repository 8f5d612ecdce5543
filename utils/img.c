/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-img: find the subcommand.  Each has a file of its own.
 */

#include <config.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "img.h"

static const struct subcommand *const subcommands[] = {
  &create_command, &info_command, &check_command, &map_command,
  &produce_command, &consume_command, &consumer_command, &dump_command,
  &suspend_command, &resume_command, &state_command, &erase_command, NULL
};

static void
print_usage (FILE *to)
{
  unsigned i;

  fprintf (to, "usage: blkring-img SUBCOMMAND [OPTIONS] RING [ARGS]\n"
           "       blkring-img SUBCOMMAND --help\n"
           "       blkring-img --help | --version\n\n"
           "RING holds a queue of messages: a file, a block device, or the "
           "URI of an\nNBD export, as nbd://host/.\n\n");
  for (i = 0; subcommands[i]; ++i)
    fprintf (to, "  %-8s %s\n", subcommands[i]->name,
             subcommands[i]->summary);
}

/* A ring must not be opened in the place of a standard stream that the
 * caller closed.  What stands there fails as a closed one does. */
static void
occupy_standard_streams (void)
{
  int fd;

  do
    fd = open ("/dev/null", fcntl (STDIN_FILENO, F_GETFD) == -1 ? O_WRONLY
               : O_RDONLY);
  while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd > STDERR_FILENO)
    close (fd);
}

int
main (int argc, char **argv)
{
  static char name[] = "blkring-img";
  unsigned i;

  occupy_standard_streams ();
  if (argc < 2) {
    print_usage (stderr);
    return STATUS_FAILED;
  }
  if (strcmp (argv[1], "--help") == 0 || strcmp (argv[1], "-h") == 0 ||
      strcmp (argv[1], "help") == 0) {
    print_usage (stdout);
    return fflush (stdout) == EOF ? STATUS_FAILED : STATUS_DONE;
  }
  if (strcmp (argv[1], "--version") == 0 || strcmp (argv[1], "-V") == 0) {
    printf ("blkring-img %s\n", blkring_version ());
    return fflush (stdout) == EOF ? STATUS_FAILED : STATUS_DONE;
  }
  for (i = 0; subcommands[i]; ++i)
    if (strcmp (argv[1], subcommands[i]->name) == 0) {
      argv[1] = name;        /* for getopt's messages */
      return subcommands[i]->run (argc - 1, argv + 1);
    }
  fprintf (stderr, "blkring-img: there is no subcommand '%s': "
           "blkring-img --help lists them\n", argv[1]);
  return STATUS_FAILED;
}
