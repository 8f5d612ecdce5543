/* SPDX-License-Identifier: BSD-3-Clause
 *
 * witness URI FORMAT LOG
 *
 * A producer and a consumer at work on a ring behind an NBD server, whose
 * requests somebody writes down in the file LOG: witness.bats.  Prints how
 * long LOG was when each call returned:
 *
 *   begin KIND NUMBER LENGTH    a call is made: 'stored' or 'freed' up to this
 *                               number of items, or another
 *   KIND NUMBER LENGTH          and has returned
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "blkring.h"

#define BATCH 3

static const char *log_name;
static unsigned stored, freed;
static blkring_device *devices[2];
static blkring_producer *p;
static blkring_consumer *c;

static void
check (bool ok, const char *what)
{
  if (ok)
    return;
  fprintf (stderr, "witness: %s: %s\n", what, blkring_get_error ());
  exit (1);
}

static void
say (const char *begin, const char *kind, unsigned number)
{
  struct stat st;

  check (stat (log_name, &st) == 0, "stat");
  printf ("%s%s %u %lld\n", begin, kind, number, (long long) st.st_size);
}

/* The item is its number and filling. */
static size_t
fill (char *item, unsigned number, size_t length)
{
  int n = sprintf (item, "%u:", number);

  memset (item + n, 'a' + number % 26, length);
  return n + length;
}

static void
store (unsigned nr, size_t length, bool staged)
{
  static char items[BATCH][8192];
  struct iovec iov[BATCH];
  blkring_position after;
  unsigned i;

  for (i = 0; i < nr; ++i)
    iov[i] = (struct iovec) { items[i], fill (items[i], stored + i, length) };
  say ("begin ", "stored", stored + nr);
  if (staged)
    check (blkring_producer_pushv (p, iov, nr, &after) == 0 &&
           blkring_producer_advance (p, after) == 0, "push and advance");
  else
    check (blkring_producer_appendv (p, iov, nr, NULL) == 0, "append");
  stored += nr;
  say ("", "stored", stored);
}

static void
fetch (unsigned nr)
{
  struct blkring_item item;
  blkring_position *from = NULL;
  unsigned i;

  for (i = 0; i < nr; ++i) {
    check (blkring_consumer_pop (c, from, &item) == 0, "pop");
    check (item.length > 0 && strtoul (item.data, NULL, 10) == freed + i,
           "another item");
    from = &item.next;
  }
  say ("begin ", "freed", freed + nr);
  check (blkring_consumer_advance (c, item.next) == 0, "consumer's advance");
  freed += nr;
  say ("", "freed", freed);
}

static void
suspend_and_resume (void)
{
  check (blkring_consumer_suspend (c) == 0, "suspend");
  say ("", "asked", 1);
  check (blkring_producer_state (p) == BLKRING_SUSPENDED, "acknowledge");
  say ("", "suspended", 1);
  check (blkring_producer_append (p, "x", 1, NULL) == -1, "append");
  check (blkring_consumer_resume (c) == 0, "resume");
  check (blkring_producer_state (p) == BLKRING_RUNNING, "go on");
  say ("", "running", 1);
}

static void
attach (const char *uri)
{
  unsigned i;

  for (i = 0; i < 2; ++i) {
    devices[i] = blkring_device_open (uri, NULL);
    check (devices[i] != NULL, "open");
  }
  p = blkring_producer_attach (devices[0], NULL);
  check (p != NULL, "attach of the producer");
  c = blkring_consumer_attach (devices[1], NULL);
  check (c != NULL, "attach of the consumer");
}

static void
detach (void)
{
  unsigned i;

  blkring_producer_free (p);
  blkring_consumer_free (c);
  for (i = 0; i < 2; ++i)
    blkring_device_close (devices[i]);
}

int
main (int argc, char **argv)
{
  struct blkring_create_options o = { 0 };
  blkring_device *device;
  unsigned i;

  if (argc != 4)
    return 1;
  log_name = argv[3];
  o.format = strtoul (argv[2], NULL, 10);
  o.block_size = o.format == 2 ? 512 : 0;
  device = blkring_device_open (argv[1], NULL);
  check (device != NULL, "open");
  say ("begin ", "created", 0);
  check (blkring_create (device, &o) != -1, "create"); /* or is there */
  say ("", "created", 0);
  blkring_device_close (device);

  attach (argv[1]);
  for (i = 0; i < 12; ++i) {
    store (1, 100 * i, false);
    store (1, 509, true);
    store (BATCH, 700, i % 2);
    fetch (2);
    fetch (i % 2 ? 4 : 1);
    if (i % 4 == 1)
      suspend_and_resume ();
    if (i == 6) {
      detach ();
      attach (argv[1]);
    }
  }
  store (1, 5000, false);
  fetch (stored - freed);
  detach ();
  return 0;
}
