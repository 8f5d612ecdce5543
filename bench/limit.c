/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-bench: the same bytes by bare system calls, which no ring on
 * this file system can outrun.
 *
 * The loops walk through a file of the ring's size and layout.  A push of
 * format 1 writes the sectors that the items cover and then a pointer
 * sector: two writes, each durable by itself.  One of format 2 writes the
 * blocks of a frame: one durable write.  A pop reads the items in large
 * chunks, copies each to a buffer, and writes a pointer sector for each
 * batch.
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
  struct layout layout;
  uint64_t chunk_end;        /* stream position where b->chunk ends */
  const char *next;          /* what is not used of it yet … */
  size_t left;               /* … and its size */
};

static uint64_t
min_u64 (uint64_t a, uint64_t b)
{
  return a < b ? a : b;
}

static uint64_t
round_up (uint64_t value, uint64_t unit)
{
  return (value + unit - 1) / unit * unit;
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
  const struct iovec iov = { (void *) buf, count };
  const int fd = l->subject == LIMIT_DIRECT ? l->b->direct_fd
    : l->b->limit_fd;
  ssize_t r;

  if (l->subject == LIMIT_DSYNC)
    r = pwritev2 (fd, &iov, 1, offset, RWF_DSYNC);
  else
    r = pwrite (fd, buf, count, offset);
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

/* Bytes of the stream that a push takes. */
static uint64_t
push_size (const struct limit *l)
{
  const struct layout *y = &l->layout;
  const uint64_t size = y->header + l->t->batch * y->item;

  return l->t->format == 1 ? size : round_up (size, y->unit);
}

static void
push_step (struct limit *l)
{
  const struct layout *y = &l->layout;
  struct bench *b = l->b;
  const uint64_t end = b->limit_tail + push_size (l);
  uint64_t at = b->limit_tail / y->unit * y->unit;
  const uint64_t to = round_up (end, y->unit);
  uint64_t n;

  /* Twice where it wraps. */
  for (; at < to; at += n) {
    n = min_u64 (to - at, y->capacity - at % y->capacity);
    write_at (l, b->payload, n, y->data + at % y->capacity);
  }
  flush (l);
  if (y->pointer)
    write_pointer (l, y->producer);
  b->limit_tail = end;
}

/* The next chunk, cut at the end of the data area. */
static void
read_chunk (struct limit *l)
{
  const struct layout *y = &l->layout;
  const uint64_t at = l->chunk_end % y->capacity;

  l->next = l->b->chunk;
  l->left = min_u64 (CHUNK_SIZE, y->capacity - at);
  read_at (l->b, l->b->chunk, l->left, y->data + at);
  l->chunk_end += l->left;
}

/* The next bytes of the stream, to 'to' unless it is NULL; in parts,
 * where they lie in two chunks. */
static void
take (struct limit *l, char *to, size_t count)
{
  size_t done, n;

  for (done = 0; done < count; done += n) {
    if (l->left == 0)
      read_chunk (l);
    n = min_u64 (count - done, l->left);
    if (to)
      memcpy (to + done, l->next, n);
    l->next += n;
    l->left -= n;
  }
}

static void
pop_step (struct limit *l)
{
  const struct layout *y = &l->layout;
  size_t i;

  take (l, NULL, y->header);
  for (i = 0; i < l->t->batch; ++i)
    take (l, l->b->copy, y->item);
  take (l, NULL, push_size (l) - y->header - l->t->batch * y->item);
  write_pointer (l, y->consumer);
}

/*---------------------------------------------------------------------*/

/* Sectors in order, one a request. */
static void
bare_step (struct limit *l)
{
  const struct layout *y = &l->layout;
  struct bench *b = l->b;
  uint64_t *at = l->t->direction == PUSH ? &b->limit_tail : &b->limit_head;
  const uint64_t offset = y->data + *at / SECTOR * SECTOR % y->capacity;

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
  struct limit l = { .b = b, .t = t, .subject = subject };
  double rate;

  find_layout (t, &l.layout);
  /* Where another test of this program has ended. */
  b->limit_tail = round_up (b->limit_tail, l.layout.unit);
  b->limit_head = round_up (b->limit_head, l.layout.unit);
  l.chunk_end = b->limit_head;
  rate = run (&l, t->direction == PUSH ? push_step : pop_step, t->batch);
  b->limit_head = l.chunk_end;
  return rate;
}

double
run_bare (struct bench *b, const struct test *t)
{
  struct limit l = { .b = b, .t = t, .subject = BARE };

  find_layout (t, &l.layout);
  return run (&l, bare_step, 1);
}
