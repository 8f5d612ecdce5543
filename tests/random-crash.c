/* SPDX-License-Identifier: BSD-3-Clause
 *
 * random-crash [SEED] [ITEMS]
 *
 * A producer and a consumer process on one file, which are killed and
 * started again at random, while an observer suspends and resumes.  What
 * the consumer got must be what the producer was to send: nothing lost,
 * nothing changed, nothing out of order, and twice only what the consumer
 * had not freed when it was killed.  Length and content of each item
 * follow from the seed and its index.
 *
 * The processes keep no secrets from each other, but act on what a
 * program in their place could know.  The producer notes what it is going
 * to expose, and where the ring ends before; when it is started again it
 * sees by that whether it did.  The consumer writes down each item before
 * it frees it.  The parent reads that log in the end.
 *
 * The seed is printed; BLKRING_SEED in the environment sets it too.  This
 * is about processes that die.  A power cut takes more: test-crash.c.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "blkring.h"

#define LARGEST 3000
/* Compiled once for each format. */
#ifndef RING_FORMAT
#define RING_FORMAT 1
#endif
#define RING_SIZE ((RING_FORMAT == 1 ? 64 : 128) * 512)
#define BATCH 8              /* items at once, at most */
#define ITEMS_PER_TICK 40    /* how often each child tells how far it is */
#define STUCK_MS 60000
#define ITEMS_PER_KILL 250   /* at least */

static uint64_t seed;
static unsigned nr_items = 5000;
static uint64_t *positions;  /* of each item, and of the end */
static char dir[4096], ring_path[4200], log_path[4200];

static uint64_t
mix (uint64_t a, uint64_t b)
{
  uint64_t z = a + (b + 1) * UINT64_C (0x9e3779b97f4a7c15);

  z = (z ^ z >> 30) * UINT64_C (0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C (0x94d049bb133111eb);
  return z ^ z >> 31;
}

/* Each process has a sequence of its own. */
static uint64_t random_state;

static unsigned
random_below (unsigned n)
{
  random_state = mix (random_state, 1);
  return random_state % n;
}

/* When to kill is a matter of time, not of what happened. */
static void
random_delay (unsigned most_us)
{
  struct timespec ts = { 0, random_below (most_us) * 1000L };

  nanosleep (&ts, NULL);
}

/*---------------------------------------------------------------------*/
/* Items.                                                                */

static size_t
item_length (unsigned index)
{
  const uint64_t r = mix (seed, index);

  return r % 4 == 0 ? (r >> 8) % 20 : (r >> 8) % (LARGEST + 1);
}

static void
make_item (unsigned index, unsigned char *item)
{
  const size_t n = item_length (index);
  uint64_t r = 0;
  size_t i;

  for (i = 0; i < n; ++i, r >>= 8) {
    if (i % 8 == 0)
      r = mix (seed ^ (uint64_t) index << 32, i);
    item[i] = r;
  }
}

static uint64_t
checksum (const unsigned char *p, size_t n)
{
  uint64_t sum = mix (n, 0);

  while (n-- > 0)
    sum = (sum ^ *p++) * UINT64_C (0x100000001b3);
  return sum;
}

/* Items lie one behind the other: what was dropped leaves no gap. */
/* What an item takes: in format 2 a frame of its own, of blocks of 512. */
static uint64_t
space (uint64_t length)
{
  const uint64_t padded = (4 + length + 3) / 4 * 4;

  return RING_FORMAT == 1 ? padded : (64 + padded + 511) / 512 * 512;
}

static void
plan_positions (void)
{
  unsigned i;

  positions = calloc (nr_items + 1, sizeof positions[0]);
  if (positions == NULL)
    abort ();
  for (i = 0; i < nr_items; ++i)
    positions[i + 1] = positions[i] + space (item_length (i));
}

/*---------------------------------------------------------------------*/
/* What outlives a child.                                                */

struct note {
  unsigned index, nr;        /* items that are going to be exposed */
  blkring_position position; /* where the ring ends before */
};

struct shared {
  struct note notes[2];
  atomic_uint note;          /* which of them holds */
  atomic_uint ticks[2];      /* told by producer and consumer */
};

static struct shared *shared;
static int tick_pipe[2];

/* 'done' items of all: tell the parent now and then. */
static void
tick (unsigned side, unsigned done)
{
  const unsigned ticks = done / ITEMS_PER_TICK;

  if (ticks > shared->ticks[side]) {
    shared->ticks[side] = ticks;
    if (write (tick_pipe[1], "t", 1) != 1)
      _exit (3);
  }
}

/* Of 32 bytes, so that none is cut at the end of a page. */
struct record {
  enum { START, ITEM, FREED } kind;
  unsigned length;
  blkring_position position;
  uint64_t sum;
  uint64_t zero;
};
_Static_assert (sizeof (struct record) == 32, "");

/*---------------------------------------------------------------------*/
/* Children.                                                             */

static pid_t parent_pid;

/* For what must not happen. */
static void
give_up (const char *what)
{
  fprintf (stderr, "# %s: %s\n", what, blkring_get_error ());
  if (getpid () == parent_pid)
    exit (1);
  _exit (1);
}

static struct blkring_attach_options
random_options (const char *client)
{
  return (struct blkring_attach_options) {
    .queue = "random-crash", .client = client, .poll_interval = 1,
    .durability = random_below (4) ? BLKRING_DURABILITY_NONE
                  : BLKRING_DURABILITY_FULL,
  };
}

static blkring_device *
open_ring (void)
{
  blkring_device *device = blkring_device_open (ring_path, NULL);

  if (device == NULL)
    give_up ("open");
  return device;
}

static void
write_note (unsigned index, unsigned nr, blkring_position position)
{
  const unsigned other = !shared->note;

  shared->notes[other] = (struct note) { index, nr, position };
  shared->note = other;
}

/* The first item that is not in the ring yet. */
static unsigned
first_unsent (blkring_device *device, blkring_position *end)
{
  const struct note *note = &shared->notes[shared->note];
  struct blkring_info info;

  if (blkring_inspect (device, NULL, &info) == -1)
    give_up ("inspect");
  *end = info.producer;
  return note->index + (info.producer == note->position ? 0 : note->nr);
}

/* After a push that failed: true if that was because the ring is full. */
static bool
wait_for_space (blkring_producer *p, size_t length)
{
  const int err = errno;

  if (err != EAGAIN && err != ESHUTDOWN)
    give_up ("push");
  if (blkring_producer_wait (p, length, STUCK_MS) == -1)
    give_up ("wait for space");
  return err == EAGAIN;
}

/* One append of several items. */
static unsigned
send_batch (blkring_producer *p, unsigned index, unsigned nr,
            blkring_position *end)
{
  static unsigned char buffers[BATCH][LARGEST];
  struct iovec items[BATCH];
  unsigned i;

  for (i = 0; i < nr; ++i) {
    make_item (index + i, buffers[i]);
    items[i] = (struct iovec) { buffers[i], item_length (index + i) };
  }
  write_note (index, nr, *end);
  while (blkring_producer_appendv (p, items, nr, end) == -1)
    if (wait_for_space (p, items[0].iov_len) && nr > 1)
      write_note (index, --nr, *end);
  return nr;
}

/* Several pushes and one advance. */
static unsigned
send_pushes (blkring_producer *p, unsigned index, unsigned nr,
             blkring_position *end)
{
  unsigned char item[LARGEST];
  blkring_position after;
  unsigned i = 0;

  while (i < nr) {
    make_item (index + i, item);
    if (blkring_producer_push (p, item, item_length (index + i),
                               &after) == 0)
      i++;
    else if (i > 0)
      break;
    else
      wait_for_space (p, item_length (index));
  }
  write_note (index, i, *end);
  if (blkring_producer_advance (p, after) == -1)
    give_up ("advance");
  *end = after;
  return i;
}

static void
produce (void)
{
  const struct blkring_attach_options o = random_options ("producer");
  blkring_device *device = open_ring ();
  blkring_producer *p = blkring_producer_attach (device, &o);
  blkring_position end;
  unsigned index, nr;

  if (p == NULL)
    give_up ("attach");
  for (index = first_unsent (device, &end); index < nr_items; index += nr) {
    nr = 1 + random_below (BATCH);
    if (nr > nr_items - index)
      nr = nr_items - index;
    nr = random_below (2)
      /* A batch is one frame, which would not end where it is planned. */
      ? send_batch (p, index, RING_FORMAT == 1 ? nr : 1, &end)
      : send_pushes (p, index, nr, &end);
    tick (0, index + nr);
  }
  blkring_producer_free (p);
  blkring_device_close (device);
}

static void
write_record (int fd, const struct record *r)
{
  if (write (fd, r, sizeof *r) != sizeof *r)
    give_up ("log");
}

static void
free_items (blkring_consumer *c, int fd, blkring_position to)
{
  const struct record r = { .kind = FREED, .position = to };

  if (blkring_consumer_advance (c, to) == -1)
    give_up ("advance");
  write_record (fd, &r);
}

/* Log what can be read behind 'at', and return where it ends. */
static blkring_position
take (blkring_consumer *c, int fd, blkring_position at)
{
  struct blkring_item items[BATCH];
  ssize_t n = blkring_consumer_popv (c, &at, items, 1 + random_below (BATCH));
  ssize_t i;

  if (n == -1 && errno == EAGAIN)
    return at;
  if (n == -1)
    give_up ("pop");
  for (i = 0; i < n; ++i) {
    const struct record r = {
      .kind = ITEM, .position = items[i].position, .length = items[i].length,
      .sum = checksum (items[i].data, items[i].length),
    };

    write_record (fd, &r);
  }
  return items[n - 1].next;
}

static void
consume (void)
{
  const struct blkring_attach_options o = random_options ("consumer");
  const int fd = open (log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
  blkring_device *device = open_ring ();
  blkring_consumer *c = blkring_consumer_attach (device, &o);
  struct record start = { .kind = START };
  blkring_position at, next, freed;
  unsigned done = 0;
  bool more;

  if (c == NULL || fd == -1 ||
      blkring_consumer_position (c, &start.position) == -1)
    give_up ("attach");
  write_record (fd, &start);
  at = freed = start.position;
  while (freed < positions[nr_items]) {
    next = take (c, fd, at);
    more = next != at;
    at = next;
    if (at == freed) {
      if (blkring_consumer_wait (c, NULL, STUCK_MS) == -1)
        give_up ("wait for an item");
      continue;
    }
    /* Read on before it is freed, or even wait for more: the ring may be
     * full without that. */
    if (more && random_below (3))
      continue;
    if (at < positions[nr_items] && random_below (3) &&
        blkring_consumer_wait (c, &at, random_below (5)) == 0)
      continue;
    free_items (c, fd, at);
    freed = at;
    while (positions[done] < freed)
      done++;
    tick (1, done);
  }
  blkring_consumer_free (c);
  blkring_device_close (device);
  close (fd);
}

/*---------------------------------------------------------------------*/
/* The parent.                                                           */

struct child {
  const char *name;
  void (*run) (void);
  pid_t pid;                 /* 0: done */
  int alive;                 /* reads its end when the child has ended */
  unsigned kills;
  bool failed;
};

static struct child children[2] = {
  { "producer", produce, 0, -1, 0, false },
  { "consumer", consume, 0, -1, 0, false },
};

static void
start_child (struct child *child)
{
  const uint64_t sequence = mix (random_state, random_below (1000));
  int alive[2];

  if (pipe2 (alive, O_CLOEXEC) == -1)
    abort ();
  fflush (NULL);
  child->pid = fork ();
  if (child->pid == -1)
    abort ();
  if (child->pid == 0) {
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    if (getppid () != parent_pid)
      _exit (2);
    random_state = sequence;
    child->run ();
    _exit (0);
  }
  close (alive[1]);
  child->alive = alive[0];
}

/* Take note of how it ended: by our kill, done, or badly. */
static void
reap (struct child *child)
{
  int status;

  if (waitpid (child->pid, &status, 0) != child->pid)
    abort ();
  close (child->alive);
  child->alive = -1;
  child->pid = 0;
  if (WIFSIGNALED (status) && WTERMSIG (status) == SIGKILL)
    child->kills++;
  else if (status != 0)
    child->failed = true;
}

static void
kill_and_restart (struct child *child)
{
  const unsigned kills = child->kills;

  if (child->pid == 0)
    return;
  kill (child->pid, SIGKILL);
  reap (child);
  if (child->kills > kills)
    start_child (child);
}

static void
kill_some (void)
{
  do {
    random_delay (3000);
    switch (random_below (5)) {
    case 0:
      kill_and_restart (&children[0]);
      /* fallthrough */
    case 1:
    case 2:
      kill_and_restart (&children[1]);
      break;
    default:
      kill_and_restart (&children[0]);
    }
  } while (random_below (4) == 0);
}

static bool
has_ended (const struct child *child, int timeout_ms)
{
  struct pollfd pfd = { .fd = child->alive, .events = POLLIN };

  return child->pid == 0 || poll (&pfd, 1, timeout_ms) == 1;
}

/* False when there is no producer left to acknowledge. */
static bool
await_state (blkring_consumer *observer, enum blkring_state state)
{
  while (blkring_consumer_wait_state (observer, state, 100) == -1) {
    if (errno != ETIMEDOUT)
      give_up ("wait for the acknowledgement");
    if (has_ended (&children[0], 0))
      return false;
  }
  return true;
}

/* Returns the number of requests that were acknowledged. */
static unsigned
suspend_and_resume (blkring_consumer *observer)
{
  if (blkring_consumer_suspend (observer) == -1)
    give_up ("suspend");
  if (random_below (3) == 0)
    kill_some ();
  if (!await_state (observer, BLKRING_SUSPENDED))
    return 0;
  if (random_below (3) == 0)
    kill_some ();
  if (blkring_consumer_resume (observer) == -1)
    give_up ("resume");
  return await_state (observer, BLKRING_RUNNING) ? 2 : 1;
}

/* Until both are done.  Returns the number of acknowledged requests. */
static unsigned
run (blkring_device *device)
{
  const struct blkring_attach_options o = {
    .flags = BLKRING_ATTACH_OBSERVER, .poll_limit = 1,
  };
  blkring_consumer *observer = blkring_consumer_attach (device, &o);
  struct pollfd fds[3] = { { .fd = tick_pipe[0], .events = POLLIN } };
  unsigned i, acknowledged = 0;
  char buf;

  if (observer == NULL)
    give_up ("attach the observer");
  for (i = 0; i < 2; ++i)
    start_child (&children[i]);
  while (children[0].pid || children[1].pid) {
    for (i = 0; i < 2; ++i)
      fds[1 + i] = (struct pollfd) { .fd = children[i].alive,
                                     .events = POLLIN };
    if (poll (fds, 3, STUCK_MS) <= 0)
      break;
    if (fds[0].revents && read (tick_pipe[0], &buf, 1) == 1) {
      if (random_below (3) == 0)
        kill_some ();
      if (children[0].pid && random_below (8) == 0)
        acknowledged += suspend_and_resume (observer);
    }
    for (i = 0; i < 2; ++i)
      if (children[i].pid && has_ended (&children[i], 0))
        reap (&children[i]);
    if (children[0].failed || children[1].failed)
      break;
  }
  for (i = 0; i < 2; ++i)
    if (children[i].pid) {
      fprintf (stderr, "# the %s is still running\n", children[i].name);
      kill (children[i].pid, SIGKILL);
      reap (&children[i]);
      children[i].failed = true;
    }
  blkring_consumer_free (observer);
  return acknowledged;
}

/*---------------------------------------------------------------------*/
/* What the consumer got.                                                */

static unsigned duplicates;

static unsigned
index_of (blkring_position position)
{
  unsigned low = 0, high = nr_items, middle;

  while (low < high) {
    middle = low + (high - low) / 2;
    if (positions[middle] < position)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* NULL, or what is wrong.  *next is the index of the item that must come
 * next, *freed where the consumer knew to be free. */
static const char *
check_record (const struct record *r, unsigned *next, uint64_t *freed)
{
  unsigned char item[LARGEST];
  unsigned index;

  switch (r->kind) {
  case START:
    index = index_of (r->position);
    if (positions[index] != r->position)
      return "started where no item begins";
    if (r->position < *freed)
      return "started before what it had freed";
    if (index > *next)
      return "started behind what it had read";
    duplicates += *next - index;
    *next = index;
    *freed = r->position;
    return NULL;
  case ITEM:
    if (*next == nr_items || r->position != positions[*next])
      return "read an item out of order";
    make_item (*next, item);
    if (r->length != item_length (*next) ||
        r->sum != checksum (item, r->length))
      return "read another item than was sent";
    ++*next;
    return NULL;
  case FREED:
    if (r->position <= *freed || r->position != positions[*next])
      return "freed what it had not read";
    *freed = r->position;
    return NULL;
  }
  return "wrote an unknown record";
}

static bool
check_log (void)
{
  FILE *f = fopen (log_path, "rb");
  struct record r;
  uint64_t freed = 0;
  unsigned next = 0;
  const char *wrong = f ? NULL : "wrote no log";

  while (wrong == NULL && fread (&r, sizeof r, 1, f) == 1)
    wrong = check_record (&r, &next, &freed);
  if (wrong)
    fprintf (stderr, "# at item %u, position %" PRIu64 ": the consumer %s\n",
             next, r.position, wrong);
  if (f)
    fclose (f);
  return wrong == NULL && next == nr_items && freed == positions[nr_items];
}

static void
print_finding (void *opaque, const struct blkring_finding *finding)
{
  (void) opaque;
  fprintf (stderr, "# byte %" PRIu64 ": %s\n", finding->offset,
           finding->message);
}

static bool
ring_is_clean_and_empty (blkring_device *device)
{
  struct blkring_info info;

  return blkring_check (device, NULL, print_finding, NULL) == 0 &&
    blkring_inspect (device, NULL, &info) == 0 && info.items == 0 &&
    info.producer == positions[nr_items];
}

/*---------------------------------------------------------------------*/

static bool
report (bool ok, const char *text)
{
  static unsigned number;

  printf ("%s %u - %s\n", ok ? "ok" : "not ok", ++number, text);
  return ok;
}

static void
remove_files (void)
{
  unlink (ring_path);
  unlink (log_path);
  rmdir (dir);
}

static blkring_device *
make_ring (void)
{
  const struct blkring_open_options o = {
    .flags = BLKRING_OPEN_CREATE, .size = RING_SIZE,
  };
  const struct blkring_create_options create = {
    .format = RING_FORMAT, .block_size = RING_FORMAT == 1 ? 0 : 512,
  };
  const char *tmp = getenv ("TMPDIR");
  blkring_device *device;

  snprintf (dir, sizeof dir, "%s/blkring-test-XXXXXX", tmp && *tmp ? tmp
            : "/tmp");
  if (mkdtemp (dir) == NULL)
    abort ();
  parent_pid = getpid ();
  atexit (remove_files);
  snprintf (ring_path, sizeof ring_path, "%s/ring", dir);
  snprintf (log_path, sizeof log_path, "%s/log", dir);
  device = blkring_device_open (ring_path, &o);
  if (device == NULL || blkring_create (device, &create) != 0)
    give_up ("create");
  shared = mmap (NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED || pipe2 (tick_pipe, O_CLOEXEC) == -1)
    abort ();
  return device;
}

int
main (int argc, char *argv[])
{
  const char *text = argc > 1 ? argv[1] : getenv ("BLKRING_SEED");
  blkring_device *device;
  unsigned acknowledged, kills;
  bool ok = true;

  seed = text ? strtoull (text, NULL, 0)
    : mix (time (NULL), getpid ()) % 1000000;
  if (argc > 2)
    nr_items = strtoul (argv[2], NULL, 0);
  printf ("1..5\n# seed %" PRIu64 ", %u items\n", seed, nr_items);
  random_state = seed;
  plan_positions ();
  device = make_ring ();
  acknowledged = run (device);
  kills = children[0].kills + children[1].kills;

  ok &= report (!children[0].failed && !children[1].failed,
                "producer and consumer can always go on");
  ok &= report (check_log (), "the output is the input, and what came twice "
                "had not been freed");
  ok &= report (ring_is_clean_and_empty (device),
                "the ring is undamaged and empty");
  ok &= report (kills >= nr_items / ITEMS_PER_KILL, "enough was killed");
  ok &= report (acknowledged > 0 || nr_items < 1000,
                "suspend and resume were acknowledged");
  printf ("# killed: producer %u, consumer %u times; %u items came twice; "
          "%u requests acknowledged\n", children[0].kills,
          children[1].kills, duplicates, acknowledged);

  blkring_device_close (device);
  free (positions);
  return !ok;
}
