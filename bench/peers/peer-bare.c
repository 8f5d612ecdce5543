/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-peers: no queue, but the least that one does, by bare system calls.
 *
 * A put is one durable write of the items, in whole blocks, to a file that
 * was written before.  A take reads them, and writes one block durably.  That
 * there is something to take is told through memory, and not durable.
 */

#include <config.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "peers.h"

#define NAME "bare"
#define BLOCK 4096
#define CHUNK 65536          /* of writing the file, as of a ring's */

struct handle {
  int fd;
  char *buffer;              /* of a commit */
  uint64_t next;             /* number of the next commit */
};

static struct {
  uint64_t size;             /* of the file; its first block is the taker's */
  size_t length, commit;     /* of an item, and of all of a commit, bytes */
  volatile uint64_t commits;
} *shared;

static void
start (uint64_t size)
{
  char *zeros = allocate (CHUNK);
  const int fd = open (NAME, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  uint64_t done;

  for (done = 0; done < size; done += CHUNK)
    if (write (fd, zeros, CHUNK) != CHUNK)
      fail_errno (NAME);
  if (fsync (fd) == -1 || close (fd) == -1)
    fail_errno (NAME);
  free (zeros);
  shared = mmap (NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED)
    fail_errno ("mmap");
  shared->size = size;
}

static void
stop (void)
{
  munmap (shared, sizeof *shared);
}

static void *
open_file (enum role role)
{
  struct handle *h = allocate (sizeof *h);

  (void) role;
  h->fd = open (NAME, O_RDWR | O_CLOEXEC);
  if (h->fd == -1)
    fail_errno (NAME);
  h->buffer = allocate (BATCH * LARGEST_ITEM);
  h->next = 0;
  return h;
}

static void
write_durably (struct handle *h, size_t count, off_t offset)
{
  const struct iovec iov = { h->buffer, count };

  if (pwritev2 (h->fd, &iov, 1, offset, RWF_DSYNC) != (ssize_t) count)
    fail_errno (NAME);
}

static off_t
next_offset (struct handle *h)
{
  return BLOCK + h->next++ % ((shared->size - BLOCK) / shared->commit)
    * shared->commit;
}

static void
put (void *handle, const struct iovec *items, size_t nr)
{
  struct handle *h = handle;
  const size_t length = items[0].iov_len;
  size_t i;

  for (i = 0; i < nr; ++i)
    memcpy (h->buffer + i * length, items[i].iov_base, length);
  shared->length = length;
  shared->commit = (nr * length + BLOCK - 1) / BLOCK * BLOCK;
  write_durably (h, shared->commit, next_offset (h));
  __atomic_store_n (&shared->commits, h->next, __ATOMIC_RELEASE);
}

static size_t
take (void *handle, size_t nr, bool wait, receive_fn receive, void *opaque)
{
  struct handle *h = handle;
  size_t i, count;

  while (__atomic_load_n (&shared->commits, __ATOMIC_ACQUIRE) == h->next) {
    if (!wait)
      return 0;
    usleep (POLL_US);
  }
  count = shared->commit;
  if (pread (h->fd, h->buffer, count, next_offset (h)) != (ssize_t) count)
    fail_errno (NAME);
  for (i = 0; i < nr; ++i)
    receive (opaque, h->buffer + i * shared->length, shared->length);
  write_durably (h, BLOCK, 0);
  return nr;
}

static void
close_file (void *handle)
{
  struct handle *h = handle;

  close (h->fd);
  free (h->buffer);
  free (h);
}

const struct peer peer_bare = {
  .name = "bare",
  .how = "no queue: one pwritev2 with RWF_DSYNC a put, one a take",
  .waits = "polls memory",
  .no_peer = true,
  .start = start,
  .stop = stop,
  .open = open_file,
  .put = put,
  .take = take,
  .close = close_file,
};
