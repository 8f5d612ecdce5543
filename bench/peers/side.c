/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkring-peers: the two processes of a peer.
 *
 * One puts and the other takes; both have the peer open as long as a test
 * lasts, and do what they are told through a socket.  Each item carries its
 * number, so that the taker knows that it gets what was put, all of it, in
 * order and whole; and whether it is the last one of a run.
 */

#include <config.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peers.h"

#define LAST (UINT64_C (1) << 63)
#define MAX_WAKES 1000

enum job { DO_PUT, DO_TAKE, DO_TAKE_TO_LAST, DO_WAKE };

struct order {
  enum job job;
  double seconds;
  uint64_t items;
};

struct side {
  const struct peer *peer;
  void *handle;
  size_t length, batch;
  uint64_t next;             /* number of the next item */
  char *items;               /* PUTTER: of a batch; TAKER: one, as it must
                                be */
  struct iovec iov[BATCH];
  bool last;                 /* the last one of a run was received */
  uint64_t received;         /* when the last item was */
};

/* When an item was put and delivered, ns. */
struct wake {
  uint64_t begin, end, received;
};

/* What both sides and the process that measures see. */
static struct {
  volatile uint64_t waiting; /* how often the taker has begun to wait */
  struct wake wakes[MAX_WAKES];
} *shared;

/*---------------------------------------------------------------------*/

static void
number_item (char *item, uint64_t number)
{
  memcpy (item, &number, sizeof number);
}

static void
put_batch (struct side *s, size_t nr, bool last)
{
  size_t i;

  for (i = 0; i < nr; ++i)
    number_item (s->iov[i].iov_base,
                 s->next++ | (last && i == nr - 1 ? LAST : 0));
  s->peer->put (s->handle, s->iov, nr);
}

static void
put (struct side *s, const struct order *order, struct done *done)
{
  const uint64_t limit = order->seconds * 1e9;
  bool last;

  do {
    last = now () - done->begin >= limit ||
      done->items + s->batch >= order->items;
    put_batch (s, s->batch, last);
    done->items += s->batch;
  } while (!last);
}

static void
receive (void *opaque, const void *item, size_t length)
{
  struct side *s = opaque;
  uint64_t number;

  s->received = now ();
  if (length != s->length)
    fail ("%s: took an item of %zu bytes instead of %zu", s->peer->name,
          length, s->length);
  memcpy (&number, item, sizeof number);
  if ((number & ~LAST) != s->next)
    fail ("%s: took item %lu instead of %lu", s->peer->name, number & ~LAST,
          s->next);
  if (memcmp ((const char *) item + sizeof number, s->items + sizeof number,
              length - sizeof number) != 0)
    fail ("%s: item %lu is damaged", s->peer->name, s->next);
  s->last = number & LAST;
  s->next++;
}

/* All that was put, and not one more. */
static void
take (struct side *s, const struct order *order, struct done *done)
{
  while (done->items < order->items)
    done->items += s->peer->take (s->handle, s->batch, true, receive, s);
  if (done->items != order->items || !s->last)
    fail ("%s: took %lu items instead of %lu", s->peer->name, done->items,
          order->items);
}

static void
take_to_last (struct side *s, struct done *done)
{
  do
    done->items += s->peer->take (s->handle, s->batch, true, receive, s);
  while (!s->last);
}

/* The taker says that it waits, and is given the time to. */
static void
put_wakes (struct side *s, const struct order *order)
{
  struct wake *w;
  uint64_t i;

  for (i = 0; i < order->items; ++i) {
    while (shared->waiting <= i)
      usleep (100);
    usleep (1000 + random () % 1000);
    w = &shared->wakes[i];
    w->begin = now ();
    put_batch (s, 1, i == order->items - 1);
    w->end = now ();
  }
}

static void
take_wakes (struct side *s, const struct order *order)
{
  uint64_t i;

  for (i = 0; i < order->items; ++i) {
    shared->waiting = i + 1;
    if (s->peer->take (s->handle, 1, true, receive, s) != 1)
      fail ("%s: took more than an item", s->peer->name);
    shared->wakes[i].received = s->received;
  }
}

static void
obey (struct side *s, enum role role, const struct order *order,
      struct done *done)
{
  done->begin = now ();
  switch (order->job) {
  case DO_PUT: put (s, order, done); break;
  case DO_TAKE: take (s, order, done); break;
  case DO_TAKE_TO_LAST: take_to_last (s, done); break;
  case DO_WAKE:
    if (role == PUTTER)
      put_wakes (s, order);
    else
      take_wakes (s, order);
    break;
  }
  done->end = now ();
  if (role == TAKER && s->peer->tidy != NULL)
    s->peer->tidy (s->handle);
}

static void __attribute__ ((noreturn))
run_side (const struct pair *pair, enum role role, int fd, size_t length,
          size_t batch)
{
  struct side s = { .peer = pair->peer, .length = length, .batch = batch };
  struct order order;
  struct done done = { 0 };
  size_t i;

  s.items = allocate (batch * length);
  for (i = 0; i < batch; ++i)
    s.iov[i] = (struct iovec) { s.items + i * length, length };
  s.handle = s.peer->open (role);
  for (;;) {
    /* Once ready, and then behind each order. */
    if (write (fd, &done, sizeof done) != sizeof done)
      fail_errno ("write");
    if (read (fd, &order, sizeof order) != sizeof order)
      break;
    done = (struct done) { 0 };
    obey (&s, role, &order, &done);
  }
  s.peer->close (s.handle);
  _exit (EXIT_SUCCESS);
}

/*---------------------------------------------------------------------*/

/* Fails when either process has ended: it has said why. */
static struct done
wait_for (const struct pair *pair, enum role role)
{
  struct pollfd fds[] = {
    { .fd = pair->fd[role], .events = POLLIN },
    { .fd = pair->fd[!role] },
  };
  struct done done;

  if (poll (fds, 2, -1) == -1)
    fail_errno ("poll");
  if (fds[1].revents != 0 ||
      read (pair->fd[role], &done, sizeof done) != sizeof done)
    exit (EXIT_FAILURE);
  return done;
}

static void
give_order (const struct pair *pair, enum role role, struct order order)
{
  if (write (pair->fd[role], &order, sizeof order) != sizeof order)
    fail_errno ("write");
}

/* Of a child: close what belongs to others, who notice an end by that. */
static int
keep_alone (int fd)
{
  const int lowest = STDERR_FILENO + 1;

  if (dup2 (fd, lowest) == -1 || close_range (lowest + 1, ~0U, 0) == -1)
    fail_errno ("cannot close files");
  return lowest;
}

static void
start_side (struct pair *pair, enum role role, size_t length, size_t batch)
{
  const pid_t parent = getpid ();
  int fds[2];

  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1)
    fail_errno ("socketpair");
  pair->pid[role] = fork ();
  if (pair->pid[role] == -1)
    fail_errno ("fork");
  if (pair->pid[role] == 0) {
    die_with_parent (parent);
    run_side (pair, role, keep_alone (fds[1]), length, batch);
  }
  close (fds[1]);
  pair->fd[role] = fds[0];
  wait_for (pair, role);
}

void
pair_start (struct pair *pair, const struct peer *peer, size_t length,
            size_t batch)
{
  if (shared == NULL) {
    shared = mmap (NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
      fail_errno ("mmap");
  }
  *pair = (struct pair) { .peer = peer, .fd = { -1, -1 } };
  start_side (pair, PUTTER, length, batch);
  start_side (pair, TAKER, length, batch);
}

void
pair_stop (struct pair *pair)
{
  unsigned role;
  int status;

  for (role = PUTTER; role <= TAKER; ++role) {
    close (pair->fd[role]);
    if (waitpid (pair->pid[role], &status, 0) == -1)
      fail_errno ("waitpid");
    if (status != 0)
      fail ("%s: a process failed at its end", pair->peer->name);
  }
}

struct done
pair_put (struct pair *pair, double seconds, uint64_t most)
{
  give_order (pair, PUTTER, (struct order) { DO_PUT, seconds, most });
  return wait_for (pair, PUTTER);
}

struct done
pair_take (struct pair *pair, uint64_t items)
{
  give_order (pair, TAKER, (struct order) { DO_TAKE, 0, items });
  return wait_for (pair, TAKER);
}

void
pair_both (struct pair *pair, double seconds, uint64_t most,
           struct done *put_done, struct done *take_done)
{
  give_order (pair, TAKER, (struct order) { DO_TAKE_TO_LAST, 0, 0 });
  give_order (pair, PUTTER, (struct order) { DO_PUT, seconds, most });
  *put_done = wait_for (pair, PUTTER);
  *take_done = wait_for (pair, TAKER);
  if (take_done->items != put_done->items)
    fail ("%s: took %lu items of %lu", pair->peer->name, take_done->items,
          put_done->items);
}

void
pair_wake (struct pair *pair, unsigned nr, double *from_begin,
           double *from_return)
{
  const struct wake *w = shared->wakes;
  unsigned i;

  if (nr > MAX_WAKES)
    fail ("at most %u wake-ups", MAX_WAKES);
  shared->waiting = 0;
  give_order (pair, TAKER, (struct order) { DO_WAKE, 0, nr });
  give_order (pair, PUTTER, (struct order) { DO_WAKE, 0, nr });
  wait_for (pair, PUTTER);
  wait_for (pair, TAKER);
  for (i = 0; i < nr; ++i) {
    from_begin[i] = w[i].received - w[i].begin;
    from_return[i] = (double) w[i].received - (double) w[i].end;
  }
}
