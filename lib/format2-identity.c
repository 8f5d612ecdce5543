/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who owns a side, and whether it is still there.  Nothing is written to
 * keep an owner alive: an idle ring costs no I/O.  An owner on this host is
 * dead when its process is gone, or when the host was started anew since.
 * About any other nobody knows, and it counts as alive.
 */

#include <config.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "format2.h"

uint64_t
f2_wall_clock (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_REALTIME, &ts);
  return ts.tv_sec * UINT64_C (1000000000) + ts.tv_nsec;
}

static ssize_t
read_file (const char *name, char *buf, size_t size)
{
  int fd = open (name, O_RDONLY | O_CLOEXEC);
  ssize_t n;

  if (fd == -1)
    return -1;
  n = read (fd, buf, size - 1);
  close (fd);
  if (n >= 0)
    buf[n] = '\0';
  return n;
}

/* 32 hexadecimal digits, with or without dashes; zero when they cannot be
 * read. */
static void
read_id (const char *name, unsigned char *id)
{
  char text[64];
  const char *p;
  unsigned i, digit;

  memset (id, 0, 16);
  if (read_file (name, text, sizeof text) <= 0)
    return;
  for (i = 0, p = text; i < 32 && *p; ++p) {
    if (*p >= '0' && *p <= '9')
      digit = *p - '0';
    else if (*p >= 'a' && *p <= 'f')
      digit = *p - 'a' + 10;
    else
      continue;
    id[i / 2] |= digit << (i % 2 ? 0 : 4);
    i++;
  }
}

/* Field 22 of /proc/PID/stat (see proc(5)); 0 when there is no such
 * process, or one that is dead and was not waited for yet (state Z or X).
 * The second field may contain anything but ends with the last
 * parenthesis. */
static uint64_t
start_time (uint64_t pid)
{
  char name[64], stat[1024];
  char *p;
  int field;

  snprintf (name, sizeof name, "/proc/%" PRIu64 "/stat", pid);
  if (read_file (name, stat, sizeof stat) <= 0)
    return 0;
  p = strrchr (stat, ')');
  if (p && (strncmp (p, ") Z", 3) == 0 || strncmp (p, ") X", 3) == 0))
    return 0;
  for (field = 2; p && field < 22; ++field)
    p = strchr (p + 1, ' ');
  return p ? strtoull (p, NULL, 10) : 0;
}

static uint64_t
pid_namespace (void)
{
  struct stat st;

  return stat ("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

void
f2_identify (struct f2_identity *me)
{
  memset (me, 0, sizeof *me);
  me->pid = getpid ();
  me->start_time = start_time (me->pid);
  me->pid_namespace = pid_namespace ();
  read_id ("/proc/sys/kernel/random/boot_id", me->boot_id);
  read_id ("/etc/machine-id", me->machine_id);
  if (gethostname (me->host, sizeof me->host) == -1)
    strcpy (me->host, "unknown");
  me->host[sizeof me->host - 1] = '\0';
}

static bool
is_known (const unsigned char *id)
{
  static const unsigned char unknown[16];

  return memcmp (id, unknown, 16) != 0;
}

bool
f2_is_dead (const struct f2_identity *owner, bool shared)
{
  struct f2_identity me;

  f2_identify (&me);
  if (!is_known (me.boot_id) || !is_known (owner->boot_id))
    return false;
  if (memcmp (me.boot_id, owner->boot_id, 16) != 0)
    /* Was it this machine, before it was started anew? */
    return is_known (me.machine_id) &&
      memcmp (me.machine_id, owner->machine_id, 16) == 0 &&
      strcmp (me.host, owner->host) == 0;
  if (me.pid_namespace != owner->pid_namespace)
    return false;
  if (owner->pid == me.pid && owner->start_time == me.start_time)
    return !shared;
  return start_time (owner->pid) != owner->start_time;
}

bool
f2_same_write (const struct f2_record *a, const struct f2_record *b)
{
  return a->epoch == b->epoch && a->sequence == b->sequence &&
    a->time == b->time && a->owner.pid == b->owner.pid &&
    a->owner.start_time == b->owner.start_time &&
    memcmp (a->owner.boot_id, b->owner.boot_id, 16) == 0;
}

void
f2_describe_owner (const struct f2_record *r, char *text, size_t size)
{
  char when[32] = "unknown";
  time_t seconds = r->time / UINT64_C (1000000000);
  struct tm tm;

  if (gmtime_r (&seconds, &tm))
    strftime (when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &tm);
  snprintf (text, size, "%s used by %s, process %" PRIu64 " on %s, last "
            "written %s", r->queue, r->client, r->owner.pid, r->owner.host,
            when);
}
