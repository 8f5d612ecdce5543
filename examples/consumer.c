/* SPDX-License-Identifier: BSD-3-Clause
 *
 * consumer RING [COUNT]: print the items of a ring, a line each, and take
 * them out of it.
 *
 * With COUNT it ends after so many items, and waits for those that are not
 * there yet; without, it ends when the ring is empty.
 *
 * An item leaves the ring only after it was written, and where stdout is a
 * file, after it is on the disk.  A crash in between prints items twice,
 * but loses none: at least once.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <blkring.h>

/* One advance, and so one durable write, for up to so many items. */
#define BATCH 64

static int
print_items (const struct blkring_item *items, size_t nr)
{
  size_t i;

  for (i = 0; i < nr; ++i) {
    fwrite (items[i].data, 1, items[i].length, stdout);
    putchar ('\n');
  }
  if (fflush (stdout) == EOF || ferror (stdout)) {
    perror ("stdout");
    return -1;
  }
  /* A pipe or a terminal cannot be synced, and says EINVAL. */
  if (fdatasync (STDOUT_FILENO) == -1 && errno != EINVAL) {
    perror ("stdout");
    return -1;
  }
  return 0;
}

/* Returns the exit status. */
static int
consume (blkring_consumer *consumer, const char *name, uint64_t count,
         bool until_empty)
{
  struct blkring_item items[BATCH];
  ssize_t n;

  while (until_empty || count > 0) {
    n = blkring_consumer_popv (consumer, NULL, items,
                               until_empty || count > BATCH ? BATCH : count);
    if (n == -1 && errno == EAGAIN) {
      if (until_empty)
        break;
      if (blkring_consumer_wait (consumer, NULL, -1) == 0 || errno == EINTR)
        continue;
    }
    if (n == -1) {
      fprintf (stderr, "%s: %s\n", name, blkring_get_error ());
      return EXIT_FAILURE;
    }

    if (print_items (items, n) == -1)
      return EXIT_FAILURE;
    if (blkring_consumer_advance (consumer, items[n - 1].next) == -1) {
      fprintf (stderr, "%s: %s\n", name, blkring_get_error ());
      return EXIT_FAILURE;
    }
    count -= n;
  }
  return EXIT_SUCCESS;
}

static bool
parse_count (const char *text, uint64_t *count)
{
  char *end;

  *count = strtoumax (text, &end, 10);
  return text[0] != '-' && end != text && *end == '\0';
}

int
main (int argc, char **argv)
{
  const struct blkring_attach_options options = {
    .queue = "example", .client = "consumer.c",
  };
  blkring_device *device;
  blkring_consumer *consumer;
  uint64_t count = 0;
  int status;

  if (argc != 2 && !(argc == 3 && parse_count (argv[2], &count))) {
    fprintf (stderr, "usage: %s RING [COUNT]\n", argv[0]);
    return EXIT_FAILURE;
  }

  device = blkring_device_open (argv[1], NULL);
  if (device == NULL) {
    fprintf (stderr, "%s: %s\n", argv[1], blkring_get_error ());
    return EXIT_FAILURE;
  }
  consumer = blkring_consumer_attach (device, &options);
  if (consumer == NULL) {
    fprintf (stderr, "%s: %s\n", argv[1], blkring_get_error ());
    blkring_device_close (device);
    return EXIT_FAILURE;
  }

  status = consume (consumer, argv[1], count, argc == 2);

  blkring_consumer_free (consumer);
  blkring_device_close (device);
  return status;
}
