/* SPDX-License-Identifier: BSD-3-Clause
 *
 * producer RING: put the lines of stdin into a ring, one item a line.
 *
 * The ring must exist (blkring-img create RING SIZE).  While it is full or
 * suspended this program waits.  When it ends with status 0 every line is
 * durable in the ring.
 *
 * What it leaves out: while it sleeps in getline it does not look at the
 * ring, and so acknowledges a suspend only with the next line.  A program
 * whose input may be silent for long calls blkring_producer_state now and
 * then.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <blkring.h>

/* Append one item, and wait as long as that takes.  Two errors mean "not
 * now": EAGAIN, the ring is full, and ESHUTDOWN, it is suspended. */
static int
append (blkring_producer *producer, const char *line, size_t length)
{
  while (blkring_producer_append (producer, line, length, NULL) == -1) {
    if (errno != EAGAIN && errno != ESHUTDOWN)
      return -1;
    /* This acknowledges suspend and resume while it sleeps. */
    if (blkring_producer_wait (producer, length, -1) == -1 && errno != EINTR)
      return -1;
  }
  return 0;
}

/* Returns the exit status. */
static int
copy_lines (blkring_producer *producer, const char *name)
{
  char *line = NULL;
  size_t size = 0, number = 0;
  ssize_t length;
  int status = EXIT_SUCCESS;

  while ((length = getline (&line, &size, stdin)) != -1) {
    number++;
    if (line[length - 1] == '\n')
      length--;
    if (append (producer, line, length) == -1) {
      fprintf (stderr, "%s: line %zu: %s\n", name, number,
               blkring_get_error ());
      status = EXIT_FAILURE;
      break;
    }
  }
  if (ferror (stdin)) {
    perror ("stdin");
    status = EXIT_FAILURE;
  }
  free (line);
  return status;
}

int
main (int argc, char **argv)
{
  const struct blkring_attach_options options = {
    .queue = "example", .client = "producer.c",
  };
  blkring_device *device;
  blkring_producer *producer;
  int status;

  if (argc != 2) {
    fprintf (stderr, "usage: %s RING < LINES\n", argv[0]);
    return EXIT_FAILURE;
  }

  device = blkring_device_open (argv[1], NULL);
  if (device == NULL) {
    fprintf (stderr, "%s: %s\n", argv[1], blkring_get_error ());
    return EXIT_FAILURE;
  }
  producer = blkring_producer_attach (device, &options);
  if (producer == NULL) {
    fprintf (stderr, "%s: %s\n", argv[1], blkring_get_error ());
    blkring_device_close (device);
    return EXIT_FAILURE;
  }

  status = copy_lines (producer, argv[1]);

  blkring_producer_free (producer);
  blkring_device_close (device);
  return status;
}
