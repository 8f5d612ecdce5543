/* SPDX-License-Identifier: BSD-3-Clause
 *
 * journal-kill [ROUNDS] [SEED]
 *
 * A process with a journal, into which four threads push, is killed with
 * SIGKILL at random moments and started again, ROUNDS times on one file, for
 * each format.  What must hold:
 *
 * - each item whose push returned is performed at least once;
 * - the items of a thread are performed in the order of their pushes;
 * - only what had not been freed is performed again: no more items than a
 *   batch may have, the last ones before the kill, and none that a sync had
 *   returned for;
 * - a batch that failed is tried again as it was.
 *
 * What was performed stands in a log that the process appends to, and what
 * was pushed and synced in memory that it shares with its parent.  The parent
 * reads both in the end.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
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

#define THREADS 4
#define MAX_ITEMS 100000     /* of a thread */
#define LARGEST 600
#define RING_SIZE (96 << 10)
#define PUSHES_PER_TICK 10
#define MAX_TICKS 8          /* of a round */
#define STUCK_MS 60000

static unsigned rounds = 10;
static uint64_t seed, random_state;
static char dir[4096], ring_path[4200], log_path[4200];
static int log_fd, tick_pipe[2];

/* Outlives a child. */
static struct shared {
  atomic_uint next[THREADS]; /* item to push */
  atomic_uint synced[THREADS]; /* the items before this were performed */
  atomic_uint pushes;
  atomic_bool acknowledged[THREADS][MAX_ITEMS]; /* push returned 0 */
} *shared;

/* In the log, of 32 bytes, so that none is cut at the end of a page. */
struct record {
  enum { START, BATCH, ITEM, DONE, FAILED, SYNCED } kind;
  unsigned thread;
  unsigned index;            /* SYNCED: items before it; BATCH: their number;
                                START: the largest such number */
  unsigned zero;
  blkring_position position; /* ITEM; BATCH: of the first one */
  uint64_t also_zero;
};
_Static_assert (sizeof (struct record) == 32, "");

static unsigned
random_below (unsigned n)
{
  random_state += UINT64_C (0x9e3779b97f4a7c15);
  uint64_t z = random_state;

  z = (z ^ z >> 30) * UINT64_C (0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C (0x94d049bb133111eb);
  return (z ^ z >> 31) % n;
}

/* A child says why it gives up, and the parent sees its status. */
static void
give_up (const char *what)
{
  fprintf (stderr, "# %s: %s\n", what, blkring_get_error ());
  _exit (1);
}

static void
write_log (const struct record *records, size_t nr)
{
  const ssize_t size = nr * sizeof *records;

  if (write (log_fd, records, size) != size)
    give_up ("log");
}

/*---------------------------------------------------------------------*/
/* The child.                                                            */

struct message {
  unsigned thread, index;
  unsigned char rest[LARGEST];
};

static size_t
message_length (unsigned thread, unsigned index)
{
  return offsetof (struct message, rest) +
    (thread * 7919 + index * 104729) % LARGEST;
}

static unsigned char
rest_byte (unsigned thread, unsigned index)
{
  return thread * 31 + index * 7;
}

static bool
is_message (const struct blkring_item *item)
{
  const struct message *m = item->data;
  size_t i;

  if (item->length < offsetof (struct message, rest) ||
      m->thread >= THREADS || m->index >= MAX_ITEMS ||
      item->length != message_length (m->thread, m->index))
    return false;
  for (i = 0; i < item->length - offsetof (struct message, rest); ++i)
    if (m->rest[i] != rest_byte (m->thread, m->index))
      return false;
  return true;
}

/* Now and then it fails, with all of it done. */
static int
perform (const struct blkring_item *items, size_t nr, void *opaque)
{
  struct record *records = calloc (nr + 1, sizeof *records);
  const struct record failed = { .kind = FAILED }, done = { .kind = DONE };
  const struct message *m;
  size_t i;

  (void) opaque;
  if (records == NULL || nr == 0)
    give_up ("perform");
  records[0] = (struct record) {
    .kind = BATCH, .index = nr, .position = items[0].position,
  };
  for (i = 0; i < nr; ++i) {
    if (!is_message (&items[i]))
      give_up ("an item is not what was pushed");
    m = items[i].data;
    records[i + 1] = (struct record) {
      .kind = ITEM, .thread = m->thread, .index = m->index,
      .position = items[i].position,
    };
  }
  write_log (records, nr + 1);
  free (records);
  if (random_below (8) == 0) {
    write_log (&failed, 1);
    return -1;
  }
  write_log (&done, 1);
  return 0;
}

static blkring_journal *journal;

static void
tick (void)
{
  if (++shared->pushes % PUSHES_PER_TICK == 0 &&
      write (tick_pipe[1], "t", 1) != 1)
    _exit (1);
}

static void *
push_many (void *arg)
{
  const unsigned thread = (uintptr_t) arg;
  blkring_journal_waiter waiter;
  struct message m = { .thread = thread };
  unsigned index;

  while ((index = shared->next[thread]++) < MAX_ITEMS) {
    m.index = index;
    memset (m.rest, rest_byte (thread, index), sizeof m.rest);
    if (blkring_journal_push (journal, &m, message_length (thread, index), 0,
                              &waiter) == -1)
      give_up ("push");
    shared->acknowledged[thread][index] = true;
    tick ();
    if (index % 16 == 0) {
      if (blkring_journal_sync (journal, waiter, STUCK_MS) == -1)
        give_up ("sync");
      shared->synced[thread] = index + 1;
    }
  }
  return NULL;
}

static blkring_device *
start (void)
{
  const struct blkring_attach_options attach = {
    .queue = "journal-kill", .poll_interval = 1 + random_below (2) * 50,
  };
  const struct blkring_journal_options options = {
    .retry_interval = 1, .flush_interval = random_below (3),
    .batch_items = 1 + random_below (50), .attach = &attach,
  };
  const struct record record = {
    .kind = START, .index = options.batch_items,
  };
  blkring_device *device = blkring_device_open (ring_path, NULL);

  if (device == NULL)
    give_up ("open");
  write_log (&record, 1);
  journal = blkring_journal_start (device, &options, perform, NULL);
  if (journal == NULL)
    give_up ("start");
  return device;
}

static void
child (void)
{
  pthread_t threads[THREADS];
  unsigned i;

  start ();
  for (i = 0; i < THREADS; ++i)
    if (pthread_create (&threads[i], NULL, push_many,
                        (void *) (uintptr_t) i) != 0)
      give_up ("thread");
  for (i = 0; i < THREADS; ++i)
    pthread_join (threads[i], NULL);
  _exit (0);
}

/* What is left is performed, and may fail a few times. */
static void
last_child (void)
{
  blkring_device *device = start ();
  struct blkring_info info;

  while (blkring_inspect (device, NULL, &info) == 0 && info.items > 0)
    poll (NULL, 0, 1);
  if (blkring_journal_shutdown (journal, BLKRING_JOURNAL_DRAIN) == -1)
    give_up ("drain");
  blkring_journal_free (journal);
  blkring_device_close (device);
  _exit (0);
}

/*---------------------------------------------------------------------*/
/* The parent.                                                           */

static pid_t
start_child (void (*fn) (void))
{
  pid_t pid;

  fflush (NULL);
  random_below (2);          /* each child goes another way */
  pid = fork ();
  if (pid == -1)
    abort ();
  if (pid == 0) {
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    fn ();
  }
  return pid;
}

/* Until it has pushed so much: false, it is stuck. */
static bool
await_ticks (unsigned nr)
{
  struct pollfd pfd = { .fd = tick_pipe[0], .events = POLLIN };
  char byte;

  while (nr > 0) {
    if (poll (&pfd, 1, STUCK_MS) != 1 || read (tick_pipe[0], &byte, 1) != 1)
      return false;
    nr--;
  }
  return true;
}

static void
note_synced (void)
{
  struct record r = { .kind = SYNCED };

  for (r.thread = 0; r.thread < THREADS; ++r.thread) {
    r.index = shared->synced[r.thread];
    write_log (&r, 1);
  }
}

/* One life: it ends while it starts, or under load. */
static bool
kill_one (void)
{
  struct timespec delay = { 0, random_below (3000000) };
  pid_t pid = start_child (child);
  bool moved = true;
  int status;

  if (random_below (5) == 0)
    delay.tv_nsec *= 5;
  else
    moved = await_ticks (1 + random_below (MAX_TICKS));
  nanosleep (&delay, NULL);
  kill (pid, SIGKILL);
  if (waitpid (pid, &status, 0) != pid)
    abort ();
  note_synced ();
  /* What it told and nobody heard. */
  fcntl (tick_pipe[0], F_SETFL, O_NONBLOCK);
  while (read (tick_pipe[0], &(char[64]) { 0 }, 64) > 0)
    ;
  fcntl (tick_pipe[0], F_SETFL, 0);
  return moved && WIFSIGNALED (status);
}

static bool
run_last (void)
{
  pid_t pid = start_child (last_child);
  int status;

  return waitpid (pid, &status, 0) == pid && status == 0;
}

/*---------------------------------------------------------------------*/
/* Reading the log.                                                      */

/* All items that were performed, in the order in which they first were: the
 * stream. */
struct reading {
  struct record *stream;
  size_t nr, alloc;
  size_t begin, end;         /* the last batch, as an extent of it */
  size_t wanted;             /* items of that batch */
  size_t largest, window;    /* how many it could have had, now and by then */
  enum { NOTHING, UNDER_WAY, FINISHED, TO_BE_RETRIED } state;
  bool restarted;            /* since the last batch */
  unsigned next[THREADS];    /* the least index that was not performed */
  unsigned synced[THREADS];
  bool performed[THREADS][MAX_ITEMS];
  uint64_t repeated, failed;
};

/* Is the one at 'end' the next? */
static bool
is_next (const struct reading *r, const struct record *record)
{
  if (r->end < r->nr)
    return r->stream[r->end].position == record->position;
  return r->nr == 0 || record->position > r->stream[r->nr - 1].position;
}

static size_t
find (const struct reading *r, blkring_position position)
{
  size_t at = 0;

  while (at < r->end && r->stream[at].position != position)
    at++;
  return at;
}

/* What is wrong about a batch that begins again at 'at', or NULL. */
static const char *
check_repeat (const struct reading *r, const struct record *record, size_t at)
{
  const bool succeeded = r->state == FINISHED || r->state == NOTHING;

  if (at == r->end)
    return "performed what was not next";
  if (at > r->begin || (!r->restarted && at < r->begin))
    return "did not begin again where the batch begins";
  if (r->restarted)
    return r->end - at > r->window ? "performed too much again" : NULL;
  if (succeeded)
    return "performed a batch again that had succeeded";
  return record->index != r->wanted ? "retried another batch" : NULL;
}

static const char *
check_batch (struct reading *r, const struct record *record)
{
  const bool succeeded = r->state == FINISHED || r->state == NOTHING;
  const bool next = is_next (r, record);
  const size_t at = next ? r->end : find (r, record->position);
  const char *wrong = next ? NULL : check_repeat (r, record, at);

  if (next && !succeeded)
    wrong = "went on behind a batch that had not succeeded";
  if (record->index > r->largest)
    wrong = "performed more items at once than a batch may have";
  r->begin = r->end = at;
  r->wanted = record->index;
  r->window = r->largest;
  r->state = UNDER_WAY;
  r->restarted = false;
  return wrong;
}

static const char *
check_item (struct reading *r, const struct record *record)
{
  if (r->state != UNDER_WAY || r->end - r->begin == r->wanted)
    return "performed an item outside of a batch";
  if (r->end < r->nr) {
    if (memcmp (record, &r->stream[r->end++], sizeof *record) != 0)
      return "performed something else in the place of an item";
    if (record->index < r->synced[record->thread])
      return "performed an item again that had been synced";
    r->repeated++;
    return NULL;
  }
  if (record->index < r->next[record->thread])
    return "performed an item of a thread out of order";
  if (r->nr == r->alloc) {
    r->alloc = r->alloc ? 2 * r->alloc : 1024;
    r->stream = realloc (r->stream, r->alloc * sizeof *r->stream);
    if (r->stream == NULL)
      abort ();
  }
  r->stream[r->nr++] = *record;
  r->end++;
  r->next[record->thread] = record->index + 1;
  r->performed[record->thread][record->index] = true;
  return NULL;
}

static const char *
check_record (struct reading *r, const struct record *record)
{
  switch (record->kind) {
  case START:
    r->restarted = true;
    r->largest = record->index;
    return NULL;
  case BATCH:
    return check_batch (r, record);
  case ITEM:
    return check_item (r, record);
  case DONE:
  case FAILED:
    if (r->state != UNDER_WAY || r->end - r->begin != r->wanted)
      return "ended a batch that was not whole";
    r->failed += record->kind == FAILED;
    r->state = record->kind == DONE ? FINISHED : TO_BE_RETRIED;
    return NULL;
  case SYNCED:
    if (record->index > r->next[record->thread])
      return "synced an item that was not performed";
    r->synced[record->thread] = record->index;
    return NULL;
  }
  return "wrote an unknown record";
}

static bool
check_log (uint64_t *items, uint64_t *repeated, uint64_t *failed)
{
  struct reading *r = calloc (1, sizeof *r);
  FILE *f = fopen (log_path, "rb");
  struct record record;
  const char *wrong = f ? NULL : "wrote no log";
  unsigned thread, i;

  if (r == NULL)
    abort ();
  while (wrong == NULL && fread (&record, sizeof record, 1, f) == 1)
    wrong = check_record (r, &record);
  if (wrong)
    fprintf (stderr, "# item %u of thread %u, position %" PRIu64 ": the "
             "journal %s\n", record.index, record.thread, record.position,
             wrong);
  *items = 0;
  for (thread = 0; wrong == NULL && thread < THREADS; ++thread)
    for (i = 0; i < shared->next[thread] && i < MAX_ITEMS; ++i) {
      *items += r->performed[thread][i];
      if (shared->acknowledged[thread][i] && !r->performed[thread][i]) {
        fprintf (stderr, "# item %u of thread %u was pushed and never "
                 "performed\n", i, thread);
        wrong = "lost an item";
      }
    }
  *repeated = r->repeated;
  *failed = r->failed;
  if (f)
    fclose (f);
  free (r->stream);
  free (r);
  return wrong == NULL;
}

static bool
ring_is_clean_and_empty (void)
{
  blkring_device *device = blkring_device_open (ring_path, NULL);
  struct blkring_info info;
  const bool ok = device && blkring_check (device, NULL, NULL, NULL) == 0 &&
    blkring_inspect (device, NULL, &info) == 0 && info.items == 0;

  blkring_device_close (device);
  return ok;
}

/*---------------------------------------------------------------------*/

static bool
report (bool ok, unsigned format, const char *text)
{
  static unsigned number;

  printf ("%s %u - format %u: %s\n", ok ? "ok" : "not ok", ++number, format,
          text);
  return ok;
}

static void
make_ring (unsigned format)
{
  const struct blkring_open_options o = {
    .flags = BLKRING_OPEN_CREATE, .size = RING_SIZE,
  };
  const struct blkring_create_options create = {
    .format = format, .block_size = format == 1 ? 0 : 512,
    .flags = BLKRING_CREATE_FORCE,
  };
  blkring_device *device = blkring_device_open (ring_path, &o);

  if (device == NULL || blkring_create (device, &create) != 0) {
    fprintf (stderr, "# create: %s\n", blkring_get_error ());
    exit (1);
  }
  blkring_device_close (device);
  memset (shared, 0, sizeof *shared);
  log_fd = open (log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC,
                 0600);
  if (log_fd == -1)
    abort ();
}

static bool
run (unsigned format)
{
  uint64_t items, repeated, failed;
  bool ok = true, alive = true;
  unsigned i;

  make_ring (format);
  for (i = 0; i < rounds && alive; ++i)
    alive = kill_one ();
  ok &= report (alive, format, "it can always be started again, and goes on");
  ok &= report (alive && run_last (), format, "what is left is performed");
  ok &= report (check_log (&items, &repeated, &failed), format, "what was "
                "pushed is performed, in order, and only what was not freed "
                "again");
  ok &= report (ring_is_clean_and_empty (), format, "the ring is undamaged "
                "and empty");
  ok &= report (items >= rounds, format, "there was something to perform");
  printf ("# %u kills, %" PRIu64 " items, %" PRIu64 " of them performed again,"
          " %" PRIu64 " attempts failed\n", i, items, repeated, failed);
  close (log_fd);
  return ok;
}

static void
remove_files (void)
{
  unlink (ring_path);
  unlink (log_path);
  rmdir (dir);
}

int
main (int argc, char *argv[])
{
  const char *tmp = getenv ("TMPDIR");
  bool ok;

  if (argc > 1)
    rounds = strtoul (argv[1], NULL, 0);
  seed = argc > 2 ? strtoull (argv[2], NULL, 0)
    : (uint64_t) time (NULL) * 1000 + getpid ();
  random_state = seed;
  snprintf (dir, sizeof dir, "%s/blkring-test-XXXXXX", tmp && *tmp ? tmp
            : "/tmp");
  if (mkdtemp (dir) == NULL)
    abort ();
  snprintf (ring_path, sizeof ring_path, "%s/ring", dir);
  snprintf (log_path, sizeof log_path, "%s/log", dir);
  atexit (remove_files);
  shared = mmap (NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED || pipe2 (tick_pipe, O_CLOEXEC) == -1)
    abort ();
  printf ("1..10\n# seed %" PRIu64 ", %u rounds\n", seed, rounds);
  ok = run (1);
  ok &= run (2);
  return !ok;
}
