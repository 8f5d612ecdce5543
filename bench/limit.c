/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: the same bytes by bare system calls, which no ring on
 * this file system can outrun.
 *
 * The loops walk through a file of the ring's size and layout.  A push
 * writes the sectors that the items cover and then a pointer sector: two
 * writes, each durable by itself.  A pop reads the items in large chunks,
 * copies each to a buffer, and writes a pointer sector for each batch.
 */

#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench.h"

struct limit {
  struct bench *b;
  const struct test *t;
  enum subject subject;
  uint64_t chunk_end;        /* stream position where b->chunk ends */
  const char *next;          /* what is not copied of it yet … */
  size_t left;               /* … and its size */
};

static uint64_t
min_u64 (uint64_t a, uint64_t b)
{
  return a < b ? a : b;
}

static void
read_at (const struct bench *b, void *buf, size_t count, uint64_t offset)
{
  ssize_t r = pread (b->limit_fd, buf, count, offset);

  if (r == -1)
    fail_errno ("pread");
  if ((size_t) r != count)
    fail ("pread: %zd bytes instead of %zu", r, count);
}

static void
write_at (const struct limit *l, const void *buf, size_t count,
          uint64_t offset)
{
  const int flags = l->subject == LIMIT_DSYNC ? RWF_DSYNC : 0;
  const struct iovec iov = { (void *) buf, count };
  ssize_t r;

  if (flags)
    r = pwritev2 (l->b->limit_fd, &iov, 1, offset, flags);
  else
    r = pwrite (l->b->limit_fd, buf, count, offset);
  if (r == -1)
    fail_errno ("pwrite");
  if ((size_t) r != count)
    fail ("pwrite: %zd bytes instead of %zu", r, count);
}

static void
flush (const struct limit *l)
{
  if (l->subject == LIMIT_FDATASYNC && fdatasync (l->b->limit_fd) == -1)
    fail_errno ("fdatasync");
}

static void
write_pointer (const struct limit *l, uint64_t offset)
{
  write_at (l, l->b->payload, SECTOR, offset);
  flush (l);
}

/*---------------------------------------------------------------------*/

static void
push_step (struct limit *l)
{
  struct bench *b = l->b;
  const uint64_t end = b->limit_tail +
    l->t->batch * ITEM_SIZE (l->t->length);
  uint64_t at = b->limit_tail / SECTOR * SECTOR;
  const uint64_t to = (end + SECTOR - 1) / SECTOR * SECTOR;
  uint64_t n;

  /* Twice where it wraps. */
  for (; at < to; at += n) {
    n = min_u64 (to - at, CAPACITY - at % CAPACITY);
    write_at (l, b->payload, n, DATA_OFFSET + at % CAPACITY);
  }
  flush (l);
  write_pointer (l, PRODUCER_OFFSET);
  b->limit_tail = end;
}

/* The next chunk, cut at the end of the data area. */
static void
read_chunk (struct limit *l)
{
  const uint64_t at = l->chunk_end % CAPACITY;

  l->next = l->b->chunk;
  l->left = min_u64 (CHUNK_SIZE, CAPACITY - at);
  read_at (l->b, l->b->chunk, l->left, DATA_OFFSET + at);
  l->chunk_end += l->left;
}

/* In parts, where an item lies in two chunks. */
static void
copy_item (struct limit *l)
{
  const size_t size = ITEM_SIZE (l->t->length);
  size_t done, n;

  for (done = 0; done < size; done += n) {
    if (l->left == 0)
      read_chunk (l);
    n = min_u64 (size - done, l->left);
    memcpy (l->b->copy + done, l->next, n);
    l->next += n;
    l->left -= n;
  }
}

static void
pop_step (struct limit *l)
{
  size_t i;

  for (i = 0; i < l->t->batch; ++i)
    copy_item (l);
  write_pointer (l, CONSUMER_OFFSET);
}

/*---------------------------------------------------------------------*/

/* Sectors in order, one a request. */
static void
bare_step (struct limit *l)
{
  struct bench *b = l->b;
  uint64_t *at = l->t->direction == PUSH ? &b->limit_tail : &b->limit_head;
  const uint64_t offset = DATA_OFFSET + *at / SECTOR * SECTOR % CAPACITY;

  if (l->t->direction == PUSH)
    write_at (l, b->payload, SECTOR, offset);
  else
    read_at (b, b->chunk, SECTOR, offset);
  *at += SECTOR;
}

static double
run (struct limit *l, void (*step) (struct limit *), size_t items)
{
  const unsigned steps = stride (l->t);
  struct stopwatch watch;
  uint64_t done = 0;
  unsigned i;

  if (l->t->durable)
    settle (l->b);
  stopwatch_init (&watch, l->b->seconds);
  stopwatch_start (&watch);
  do {
    for (i = 0; i < steps; ++i)
      step (l);
    done += steps;
  } while (!stopwatch_over (&watch));
  stopwatch_stop (&watch);
  return done * items / stopwatch_seconds (&watch);
}

double
run_limit (struct bench *b, const struct test *t, enum subject subject)
{
  struct limit l = {
    .b = b, .t = t, .subject = subject, .chunk_end = b->limit_head,
  };
  double rate;

  rate = run (&l, t->direction == PUSH ? push_step : pop_step, t->batch);
  b->limit_head = l.chunk_end;
  return rate;
}

double
run_bare (struct bench *b, const struct test *t)
{
  struct limit l = { .b = b, .t = t, .subject = BARE };

  return run (&l, bare_step, 1);
}
