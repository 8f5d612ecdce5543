/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the cmocka tests share (see common.h).
 */

#include <config.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

#define LARGEST_PAYLOAD (1 << 20)

/*---------------------------------------------------------------------*/

void
check_result (long result, long expected, const char *call, const char *file,
              int line)
{
  if (result == expected)
    return;
  print_error ("%s gave %ld, not %ld", call, result, expected);
  if (result == -1)
    print_error (" (%s)", blkring_get_error ());
  print_error ("\n");
  _fail (file, line);
}

void
check_error (bool failed, int error, int expected, const char *call,
             const char *file, int line)
{
  if (failed && error == expected && blkring_get_errno () == expected &&
      blkring_get_error ()[0] != '\0')
    return;
  if (!failed)
    print_error ("%s succeeded\n", call);
  else
    print_error ("%s: %s, not %s; blkring: %s, %s\n", call,
                 strerror (error), strerror (expected),
                 strerror (blkring_get_errno ()),
                 blkring_get_error ());
  _fail (file, line);
}

void
check_message (const char *text, const char *file, int line)
{
  if (strstr (blkring_get_error (), text))
    return;
  print_error ("\"%s\" is not in \"%s\"\n", text, blkring_get_error ());
  _fail (file, line);
}

/*---------------------------------------------------------------------*/

static unsigned char
payload_byte (size_t i, unsigned seed)
{
  return seed * 37 + i * 7 + i / 251 * 3;
}

void
fill_payload (void *buf, size_t length, unsigned seed)
{
  unsigned char *p = buf;
  size_t i;

  for (i = 0; i < length; ++i)
    p[i] = payload_byte (i, seed);
}

bool
is_payload (const void *buf, size_t length, unsigned seed)
{
  const unsigned char *p = buf;
  size_t i;

  for (i = 0; i < length; ++i)
    if (p[i] != payload_byte (i, seed))
      return false;
  return true;
}

/* On the heap, so that reading beyond the item is seen. */
static void *
new_payload (size_t length, unsigned seed)
{
  void *p = malloc (length);

  assert_true (length <= LARGEST_PAYLOAD);
  assert_true (p || length == 0);
  fill_payload (p, length, seed);
  return p;
}

int
push_seed (blkring_producer *p, size_t length, unsigned seed,
           blkring_position *after)
{
  void *item = new_payload (length, seed);
  int r = blkring_producer_push (p, item, length, after);

  free (item);
  return r;
}

int
append_seed (blkring_producer *p, size_t length, unsigned seed,
             blkring_position *after)
{
  void *item = new_payload (length, seed);
  int r = blkring_producer_append (p, item, length, after);

  free (item);
  return r;
}

blkring_position
pop_seed (blkring_consumer *c, const blkring_position *from, size_t length,
          unsigned seed)
{
  struct blkring_item item;

  assert_ok (blkring_consumer_pop (c, from, &item));
  assert_int_equal (item.length, length);
  assert_true (is_payload (item.data, item.length, seed));
  if (from)
    assert_int_equal (item.position, *from);
  assert_true (blkring_position_compare (item.position, item.next) < 0);
  return item.next;
}

void
take_seed (blkring_consumer *c, size_t length, unsigned seed)
{
  assert_ok (blkring_consumer_advance (c, pop_seed (c, NULL, length, seed)));
}

/*---------------------------------------------------------------------*/

void
make_scratch (char *dir, size_t size)
{
  const char *tmp = getenv ("TMPDIR");

  snprintf (dir, size, "%s/blkring-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  assert_non_null (mkdtemp (dir));
}

void
remove_scratch (const char *dir)
{
  DIR *d = opendir (dir);
  struct dirent *e;

  if (d == NULL)
    return;
  while ((e = readdir (d)))
    if (strcmp (e->d_name, ".") != 0 && strcmp (e->d_name, "..") != 0)
      unlinkat (dirfd (d), e->d_name, 0);
  closedir (d);
  rmdir (dir);
}

/*---------------------------------------------------------------------*/

static uint64_t
clock_now (void *opaque)
{
  struct test_clock *c = opaque;

  return c->now;
}

static int
clock_sleep (void *opaque, uint64_t ns)
{
  struct test_clock *c = opaque;

  assert_true (c->nr_sleeps < LENGTH (c->sleeps));
  c->sleeps[c->nr_sleeps++] = ns;
  c->now += ns;
  if (c->meanwhile && c->nr_sleeps == c->after)
    c->meanwhile (c->opaque);
  return 0;
}

void
init_clock (struct test_clock *c)
{
  memset (c, 0, sizeof *c);
  c->clock = (struct blkring_clock) { clock_now, clock_sleep, c };
  pass_time (c, 1000000);
}

void
pass_time (struct test_clock *c, unsigned ms)
{
  c->now += ms * UINT64_C (1000000);
}

/*---------------------------------------------------------------------*/

void
start_child (struct child *child, child_fn fn, void *arg)
{
  struct child parent;
  int up[2], down[2];

  assert_return_code (pipe2 (up, O_CLOEXEC), errno);
  assert_return_code (pipe2 (down, O_CLOEXEC), errno);
  fflush (NULL);
  child->pid = fork ();
  assert_return_code (child->pid, errno);
  if (child->pid == 0) {
    /* A test that fails leaves it to itself. */
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    close (up[0]);
    close (down[1]);
    parent = (struct child) { getppid (), down[0], up[1] };
    _exit (fn (&parent, arg));
  }
  close (up[1]);
  close (down[0]);
  child->in = up[0];
  child->out = down[1];
}

int
tell (struct child *other, char byte)
{
  return write (other->out, &byte, 1) == 1 ? 0 : -1;
}

int
hear (struct child *other)
{
  unsigned char byte;

  return read (other->in, &byte, 1) == 1 ? byte : -1;
}

bool
has_news (const struct child *child)
{
  struct pollfd pfd = { .fd = child->in, .events = POLLIN };

  return poll (&pfd, 1, 0) == 1;
}

int
join_child (struct child *child)
{
  int status;

  close (child->in);
  close (child->out);
  if (waitpid (child->pid, &status, 0) != child->pid)
    return -1;
  return WIFSIGNALED (status) ? 128 + WTERMSIG (status)
    : WEXITSTATUS (status);
}

int
kill_child (struct child *child)
{
  kill (child->pid, SIGKILL);
  return join_child (child);
}

void
wait_until_asleep (pid_t tid)
{
  char name[64], line[512], *state;
  FILE *f;

  do {
    poll (NULL, 0, 1);
    snprintf (name, sizeof name, "/proc/%d/stat", (int) tid);
    f = fopen (name, "r");
    assert_non_null (f);
    assert_non_null (fgets (line, sizeof line, f));
    fclose (f);
    state = strrchr (line, ')');
    assert_non_null (state);
  } while (state[2] != 'S');
}
