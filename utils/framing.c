/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Splitting a stream of bytes into items.  Nothing larger than the largest
 * item is ever kept for one item, whatever the input claims or lacks.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "framing.h"

#define READ_SIZE 65536
#define LARGEST_READ 1048576
#define LENGTH_SIZE 4

int
framing_separator (enum framing framing)
{
  return framing == FRAMING_LINE ? '\n' : framing == FRAMING_NULL ? '\0' : -1;
}

static int
too_large (struct reader *r, bool at_least, uint64_t length)
{
  snprintf (r->error, sizeof r->error, "%s: %s %" PRIu64 " has %s%" PRIu64
            " bytes, and the largest item that this ring takes %" PRIu64,
            r->name, r->framing == FRAMING_LINE ? "line" : "item", r->number,
            at_least ? "at least " : "", length, r->largest);
  return -1;
}

static int
give (struct reader *r, size_t skip, size_t n, size_t separator,
      size_t *offset, size_t *length)
{
  if (n > r->largest)
    return too_large (r, false, n);
  *offset = r->start + skip;
  *length = n;
  r->start += skip + n + separator;
  r->scanned = r->start;
  r->number++;
  return 1;
}

static int
next_separated (struct reader *r, size_t *offset, size_t *length)
{
  const size_t n = r->end - r->start;
  const char *from = r->buffer + r->scanned;
  const char *found = NULL;

  if (r->end > r->scanned)
    found = memchr (from, framing_separator (r->framing),
                    r->end - r->scanned);
  if (found)
    return give (r, 0, found - r->buffer - r->start, 1, offset, length);
  r->scanned = r->end;
  if (n > r->largest)
    return too_large (r, !r->ended, n);
  /* The last item may lack its separator. */
  if (r->ended && n > 0)
    return give (r, 0, n, 0, offset, length);
  return 0;
}

static int
next_by_length (struct reader *r, size_t *offset, size_t *length)
{
  const size_t n = r->end - r->start;
  uint32_t claimed;

  if (n >= LENGTH_SIZE) {
    claimed = get_le32 (r->buffer + r->start);
    if (claimed > r->largest)
      return too_large (r, false, claimed);
    if (n - LENGTH_SIZE >= claimed)
      return give (r, LENGTH_SIZE, claimed, 0, offset, length);
  }
  if (!r->ended || n == 0)
    return 0;
  snprintf (r->error, sizeof r->error, "%s: the input ends inside of item %"
            PRIu64, r->name, r->number);
  return -1;
}

/* A file may be empty, and is an item all the same. */
static int
next_file (struct reader *r, size_t *offset, size_t *length)
{
  const size_t n = r->end - r->start;

  if (n > r->largest)
    return too_large (r, !r->ended, n);
  if (r->ended && r->number == 1)
    return give (r, 0, n, 0, offset, length);
  return 0;
}

int
reader_next (struct reader *r, size_t *offset, size_t *length)
{
  if (r->buffer == NULL)
    return 0;
  switch (r->framing) {
  case FRAMING_LENGTH:
    return next_by_length (r, offset, length);
  case FRAMING_FILE:
    return next_file (r, offset, length);
  default:
    return next_separated (r, offset, length);
  }
}

/*---------------------------------------------------------------------*/

static int
reader_failed (struct reader *r, const char *what)
{
  snprintf (r->error, sizeof r->error, "%s: cannot %s: %s", r->name, what,
            strerror (errno));
  return -1;
}

static int
open_next (struct reader *r)
{
  r->name = *r->files++;
  r->nr_files--;
  r->number = 1;
  r->ended = false;
  if (strcmp (r->name, "-") == 0) {
    r->name = "standard input";
    r->fd = STDIN_FILENO;
    return 0;
  }
  /* O_NONBLOCK: to open a pipe must not wait for its writer; poll does. */
  r->fd = open (r->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  return r->fd == -1 ? reader_failed (r, "open") : 0;
}

static void
close_input (struct reader *r)
{
  if (r->fd > STDIN_FILENO)
    close (r->fd);
  r->fd = -1;
}

static int
make_room (struct reader *r)
{
  char *bigger;
  size_t size;

  if (r->size - r->end >= READ_SIZE)
    return 0;
  size = r->size ? 2 * r->size : 2 * READ_SIZE;
  bigger = realloc (r->buffer, size);
  if (bigger == NULL)
    return reader_failed (r, "keep what was read");
  r->buffer = bigger;
  r->size = size;
  return 0;
}

int
reader_fill (struct reader *r)
{
  ssize_t n;

  if (r->fd == -1 || r->ended) {
    close_input (r);
    if (r->nr_files == 0)
      return 0;
    return open_next (r) == -1 ? -1 : 1;
  }
  if (make_room (r) == -1)
    return -1;
  n = r->size - r->end;
  n = read (r->fd, r->buffer + r->end, n < LARGEST_READ ? n : LARGEST_READ);
  if (n == -1 && (errno == EINTR || errno == EAGAIN))
    return 1;
  if (n == -1)
    return reader_failed (r, "read");
  r->ended = n == 0;
  r->end += n;
  r->bytes_read += n;
  return 1;
}

bool
reader_is_ready (const struct reader *r, int timeout_ms)
{
  struct pollfd pfd = { .fd = r->fd, .events = POLLIN };

  if (r->fd == -1 || r->ended)
    return true;
  return poll (&pfd, 1, timeout_ms) == 1;
}

void
reader_discard (struct reader *r)
{
  /* To move a large rest again and again would cost the square of it. */
  if (r->buffer == NULL || (r->start < r->end && r->start < r->size / 2))
    return;
  memmove (r->buffer, r->buffer + r->start, r->end - r->start);
  r->end -= r->start;
  r->scanned -= r->start;
  r->start = 0;
}

void
reader_free (struct reader *r)
{
  close_input (r);
  free (r->buffer);
}
