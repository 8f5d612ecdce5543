/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The guard of format 1: each rule is broken by hand, on both sides of its
 * limit, by clients that write the documented bytes.
 */

#include <config.h>

#include "lock.h"
#include "service-fixture.h"

#define DATA (3 * S)
#define AREA (13 * S)        /* bytes of the data area */

/* A ring of 16 sectors on a device of single bytes, and two clients. */
struct guarded {
  struct served *v;
  struct service_client *a, *b;
};

static struct guarded
start_guard_on (unsigned flags)
{
  const struct record_options o = { .size = 16 * S, .sector_size = 1,
                                    .flags = flags };
  struct guarded g = {
    .v = served_on (record_device_new_ring (&o, 512))
  };

  g.a = join (g.v, "alice");
  g.b = join (g.v, "bob");
  return g;
}

static struct guarded
start_guard (void)
{
  return start_guard_on (0);
}

static void
stop_guard (struct guarded *g)
{
  service_disconnect (g->a);
  service_disconnect (g->b);
  assert_int_equal (check (g->v->rd).corruptions, 0);
  served_free (g->v);
}

static void
leave (struct service_client **c)
{
  service_disconnect (*c);
  *c = NULL;
}

/* No two of them are the same bytes. */
static int
put_pointer (struct service_client *c, unsigned side, uint64_t position,
             int flag)
{
  const struct f1_pointer v = { position, false };
  static unsigned n;
  char queue[20];
  unsigned char sector[S];

  snprintf (queue, sizeof queue, "write %u", ++n);
  f1_encode_pointer (sector, S, side, &v, queue, "c");
  sector[8] = flag;
  return put_bytes (c, (1 + side) * S, sector, S);
}

static int
put_producer (struct service_client *c, uint64_t position)
{
  return put_pointer (c, SIDE_PRODUCER, position, 2);
}

static int
put_consumer (struct service_client *c, uint64_t position)
{
  return put_pointer (c, SIDE_CONSUMER, position, 2);
}

/* The bytes of one item, and no more. */
static int
put_item (struct service_client *c, uint64_t position, uint32_t length)
{
  unsigned char item[AREA];
  const size_t n = f1_item_size (length);

  memset (item, 'x', n);
  put_le32 (item, length);
  assert_true (position % AREA + n <= AREA);
  return put_bytes (c, DATA + position % AREA, item, n);
}

/* Push and advance. */
static void
push_item (struct service_client *c, uint64_t position, uint32_t length)
{
  assert_ok (put_item (c, position, length));
  assert_ok (put_producer (c, position + f1_item_size (length)));
}

static struct f1_pointer
get_pointer (struct service_client *c, unsigned side)
{
  unsigned char sector[S];
  struct f1_pointer v;

  assert_ok (service_pread (c, sector, S, (1 + side) * S));
  assert_ok (f1_decode_pointer (sector, side, 0, &v));
  return v;
}

/*---------------------------------------------------------------------*/

static void
the_signature_stays (void **state)
{
  struct guarded g = start_guard ();
  unsigned char sector[S];

  (void) state;
  assert_refused (g.v, EINVAL, put_byte (g.a, 0, 0, S));
  assert_message ("stop the server");
  assert_refused (g.v, EINVAL, put_byte (g.a, S - 1, 1, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, 0, 'M', 1));
  assert_refused (g.v, EINVAL, service_zero (g.a, S, 0, 0));
  assert_refused (g.v, EINVAL, service_trim (g.a, S, 0, 0));
  /* What it is may be written. */
  assert_ok (service_pread (g.a, sector, S, 0));
  assert_ok (put_bytes (g.b, 0, sector, S));
  assert_ok (put_byte (g.a, 0, 'm', 1));
  assert_ok (service_zero (g.a, 10, 100, 0));
  stop_guard (&g);
}

static void
a_pointer_is_of_the_format (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  push_item (g.a, 0, 100);
  assert_refused (g.v, EINVAL, put_producer (g.a, 102));
  assert_refused (g.v, EINVAL, put_producer (g.a, UINT64_C (1) << 63));
  assert_refused (g.v, EINVAL, put_producer (g.a, -4));
  assert_refused (g.v, EINVAL, put_pointer (g.a, SIDE_PRODUCER, 104, 0));
  assert_refused (g.v, EINVAL, put_pointer (g.a, SIDE_PRODUCER, 104, 3));
  assert_refused (g.v, EINVAL, put_consumer (g.a, 2));
  assert_refused (g.v, EINVAL, put_pointer (g.a, SIDE_CONSUMER, 0, 255));
  assert_refused (g.v, EINVAL, service_zero (g.a, S, S, 0));
  assert_refused (g.v, EINVAL, service_trim (g.a, 1, S, 0));
  assert_refused (g.v, EINVAL, service_trim (g.a, 1, 3 * S - 1, 0));
  assert_int_equal (get_pointer (g.a, SIDE_PRODUCER).position, 104);
  stop_guard (&g);
}

static void
the_producer_passes_only_what_was_written (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  /* Nothing was. */
  assert_refused (g.v, EINVAL, put_producer (g.a, 4));
  assert_refused (g.v, EINVAL, put_producer (g.a, AREA));
  /* One item; one word farther; to the middle of it. */
  assert_ok (put_item (g.a, 0, 100));
  assert_refused (g.v, EINVAL, put_producer (g.a, 108));
  assert_refused (g.v, EINVAL, put_producer (g.a, 100));
  assert_ok (put_producer (g.a, 104));
  /* Back. */
  assert_refused (g.v, EINVAL, put_producer (g.a, 0));
  assert_refused (g.v, EINVAL, put_producer (g.a, 100));
  assert_ok (put_producer (g.a, 104));
  /* With a hole in it. */
  assert_ok (put_item (g.a, 112, 50));
  assert_refused (g.v, EINVAL, put_producer (g.a, 112 + 56));
  assert_ok (put_item (g.a, 104, 4));
  assert_ok (put_producer (g.a, 112 + 56));
  stop_guard (&g);
}

/* The second lap: old items are there, well-formed, and not written anew. */
static void
the_producer_does_not_expose_the_lap_before (void **state)
{
  struct guarded g = start_guard ();
  unsigned i;

  (void) state;
  for (i = 0; i < AREA; i += S)
    push_item (g.a, i, S - 4);
  assert_refused (g.v, EINVAL, put_producer (g.a, AREA + S));
  assert_ok (put_consumer (g.b, 3 * S));
  assert_refused (g.v, EINVAL, put_producer (g.a, AREA + S));
  push_item (g.a, AREA, S - 4);
  assert_refused (g.v, EINVAL, put_producer (g.a, AREA + 2 * S));
  /* Farther than what is free. */
  assert_ok (put_item (g.a, AREA + S, S - 4));
  assert_ok (put_item (g.a, AREA + 2 * S, S - 4));
  assert_refused (g.v, EINVAL, put_producer (g.a, AREA + 4 * S));
  assert_ok (put_producer (g.a, AREA + 3 * S));
  stop_guard (&g);
}

static int
is_durable (struct guarded *g, uint64_t position, int byte)
{
  return g->v->rd->durable[DATA + position] == byte;
}

/* Before the server was started, too. */
static void
what_was_written_before_a_pointer_is_durable (void **state)
{
  struct guarded g = start_guard_on (BLKRING_DEVICE_FUA);

  (void) state;
  assert_ok (put_item (g.a, 0, 100));
  assert_false (is_durable (&g, 4, 'x'));
  leave (&g.a);
  leave (&g.b);
  serve_again (g.v);
  g.a = join (g.v, "alice");
  g.b = join (g.v, "bob");
  assert_ok (put_producer (g.a, 104));
  assert_true (is_durable (&g, 4, 'x'));
  stop_guard (&g);
}

/* What was pushed before the server was started anew is exposed behind
 * that; zeros, and what lies behind something newer, are not. */
static void
a_push_outlives_the_server (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  assert_ok (put_item (g.a, 0, 100));
  assert_ok (put_item (g.a, 104, 20));
  leave (&g.a);
  leave (&g.b);
  serve_again (g.v);
  g.a = join (g.v, "alice");
  g.b = join (g.v, "bob");
  assert_refused (g.v, EINVAL, put_producer (g.a, 132));
  assert_refused (g.v, EINVAL, put_producer (g.a, 120));
  assert_ok (put_producer (g.a, 104));
  assert_ok (put_producer (g.a, 128));
  assert_refused (g.v, EINVAL, put_producer (g.a, 132));
  /* Written since: it ends there. */
  assert_ok (put_item (g.a, 128, 0));
  assert_refused (g.v, EINVAL, put_producer (g.a, 136));
  assert_ok (put_producer (g.a, 132));
  stop_guard (&g);

  /* Pushed once more since: what lay behind it does not count. */
  g = start_guard ();
  assert_ok (put_item (g.a, 0, 100));
  assert_ok (put_item (g.a, 104, 20));
  leave (&g.a);
  leave (&g.b);
  serve_again (g.v);
  g.a = join (g.v, "alice");
  g.b = join (g.v, "bob");
  assert_ok (put_item (g.a, 0, 100));
  assert_refused (g.v, EINVAL, put_producer (g.a, 128));
  assert_ok (put_producer (g.a, 104));
  stop_guard (&g);
}

static void
the_consumer_goes_over_what_is_exposed (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  push_item (g.a, 0, 100);
  push_item (g.a, 104, 40);
  assert_ok (put_item (g.a, 148, 4));
  assert_refused (g.v, EINVAL, put_consumer (g.b, 156));
  assert_refused (g.v, EINVAL, put_consumer (g.b, 152));
  assert_refused (g.v, EINVAL, put_consumer (g.b, 100));
  assert_refused (g.v, EINVAL, put_consumer (g.b, 4));
  assert_ok (put_consumer (g.b, 104));
  assert_refused (g.v, EINVAL, put_consumer (g.b, 0));
  assert_refused (g.v, EINVAL, put_consumer (g.b, 100));
  assert_ok (put_consumer (g.b, 104));
  assert_ok (put_consumer (g.b, 148));
  stop_guard (&g);
}

static void
what_is_unread_stays (void **state)
{
  struct guarded g = start_guard ();
  unsigned char old[3 * S];

  (void) state;
  push_item (g.a, 0, 100);
  push_item (g.a, 104, 400);
  assert_ok (put_consumer (g.b, 104));
  /* [104, 508) is unread. */
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + 104, 1, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + 507, 1, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + 103, 1, 2));
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + 507, 1, 2));
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA, 1, AREA));
  assert_refused (g.v, EINVAL, service_zero (g.a, 1, DATA + 108, 0));
  assert_refused (g.v, EINVAL,
                  service_zero (g.a, 600, DATA + 507,
                                SERVICE_FLAG_MAY_TRIM));
  assert_refused (g.v, EINVAL, service_trim (g.a, 2, DATA + 507, 0));
  assert_refused (g.v, EINVAL, service_trim (g.a, 5, DATA + 100, 0));
  assert_ok (put_byte (g.a, DATA, 1, 104));
  assert_ok (put_byte (g.a, DATA + 508, 1, AREA - 508));
  assert_ok (service_zero (g.a, 104, DATA, 0));
  assert_ok (service_trim (g.a, AREA - 508, DATA + 508, 0));
  /* What it is may be written, by anybody. */
  assert_ok (service_pread (g.b, old, sizeof old, DATA));
  assert_ok (put_bytes (g.a, DATA, old, sizeof old));
  assert_ok (put_bytes (g.b, DATA, old, sizeof old));
  stop_guard (&g);
}

/* The last free byte, where the area is full, and where it is all free. */
static void
the_end_of_free_space (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  assert_ok (put_byte (g.a, DATA, 7, AREA));
  push_item (g.a, 0, AREA - 8);
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + AREA - 5, 1, 1));
  assert_ok (put_byte (g.a, DATA + AREA - 4, 1, 4));
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + AREA - 4, 1, 5));
  assert_ok (put_item (g.a, AREA - 4, 0));
  assert_ok (put_producer (g.a, AREA));
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + AREA - 1, 1, 1));
  assert_ok (put_consumer (g.b, AREA));
  assert_ok (put_byte (g.a, DATA, 7, AREA));
  stop_guard (&g);
}

/*---------------------------------------------------------------------*/
/* Suspend.                                                                */

static void
flags_follow_the_protocol (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  push_item (g.a, 0, 100);
  /* Nothing was asked for. */
  assert_refused (g.v, EINVAL, put_pointer (g.a, SIDE_PRODUCER, 104, 1));
  assert_ok (put_pointer (g.b, SIDE_CONSUMER, 0, 1));
  assert_int_equal (get_pointer (g.b, SIDE_CONSUMER).flag, true);
  /* Not acknowledged yet. */
  assert_refused (g.v, EINVAL, put_pointer (g.b, SIDE_CONSUMER, 0, 2));
  assert_ok (put_pointer (g.a, SIDE_PRODUCER, 104, 1));
  assert_refused (g.v, EINVAL, put_pointer (g.a, SIDE_PRODUCER, 104, 2));
  assert_ok (put_pointer (g.b, SIDE_CONSUMER, 0, 2));
  assert_refused (g.v, EINVAL, put_pointer (g.b, SIDE_CONSUMER, 0, 1));
  assert_ok (put_pointer (g.a, SIDE_PRODUCER, 104, 2));
  stop_guard (&g);
}

static void
a_suspended_producer_pushes_nothing (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  push_item (g.a, 0, 100);
  assert_ok (put_item (g.a, 104, 100));
  assert_ok (put_pointer (g.b, SIDE_CONSUMER, 0, 1));
  assert_ok (put_item (g.a, 208, 100));
  assert_ok (put_pointer (g.a, SIDE_PRODUCER, 104, 1));
  assert_refused (g.v, EINVAL, put_item (g.a, 312, 100));
  assert_message ("suspended");
  assert_refused (g.v, EINVAL, service_trim (g.a, S, DATA + S, 0));
  /* What is there is not written again, but for what is unread. */
  record_device_forget (g.v->rd);
  assert_ok (put_item (g.a, 208, 100));
  assert_ok (service_zero (g.a, S, DATA + 4 * S, 0));
  assert_int_equal (g.v->rd->writes, 0);
  assert_ok (put_item (g.a, 0, 100));
  assert_int_equal (g.v->rd->writes, 1);
  /* What was pushed may be exposed, and bytes that are there may come. */
  assert_ok (put_pointer (g.a, SIDE_PRODUCER, 208, 1));
  assert_ok (put_item (g.a, 208, 100));
  assert_ok (put_item (g.a, 0, 100));
  assert_ok (put_pointer (g.b, SIDE_CONSUMER, 0, 2));
  assert_ok (put_item (g.a, 312, 100));
  stop_guard (&g);
}

/* A write that moves a position leaves the flag as it is. */
static void
a_stale_flag_does_not_undo_a_request (void **state)
{
  struct guarded g = start_guard ();
  unsigned char sector[S];

  (void) state;
  push_item (g.a, 0, 100);
  push_item (g.a, 104, 100);
  assert_ok (put_consumer (g.b, 0));
  /* An administrator, who owns nothing. */
  assert_ok (put_pointer (g.a, SIDE_CONSUMER, 0, 1));
  /* The consumer does not know, and says "2". */
  assert_ok (put_consumer (g.b, 104));
  assert_int_equal (get_pointer (g.b, SIDE_CONSUMER).flag, true);
  assert_int_equal (get_pointer (g.b, SIDE_CONSUMER).position, 104);
  assert_ok (service_pread (g.b, sector, S, 2 * S));
  assert_non_null (strstr ((char *) sector + F1_TEXT_OFFSET,
                           " used by c; consumer = 104; suspend = true"));
  /* Likewise the producer, before it has seen it … */
  assert_ok (put_pointer (g.a, SIDE_PRODUCER, 208, 1));
  assert_int_equal (get_pointer (g.a, SIDE_PRODUCER).flag, true);
  /* … and with a flag that it must not set. */
  assert_ok (put_pointer (g.b, SIDE_CONSUMER, 104, 2));
  push_item (g.a, 208, 8);
  assert_int_equal (get_pointer (g.a, SIDE_PRODUCER).flag, true);
  stop_guard (&g);
}

/* Who asks read the position a moment ago, and the consumer has gone on. */
static void
a_request_beside_a_running_consumer (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  push_item (g.b, 0, 100);
  push_item (g.b, 104, 100);
  assert_ok (put_consumer (g.b, 0));
  assert_int_equal (get_pointer (g.a, SIDE_CONSUMER).position, 0);
  assert_ok (put_consumer (g.b, 104));
  assert_ok (put_pointer (g.a, SIDE_CONSUMER, 0, 1));
  assert_int_equal (get_pointer (g.b, SIDE_CONSUMER).flag, true);
  assert_int_equal (get_pointer (g.b, SIDE_CONSUMER).position, 104);
  assert_ok (put_pointer (g.b, SIDE_PRODUCER, 208, 1));
  /* A position that it never read, or no other flag: a second consumer. */
  assert_int_equal (get_pointer (g.a, SIDE_CONSUMER).position, 104);
  assert_ok (put_consumer (g.b, 208));
  assert_refused (g.v, EPERM, put_pointer (g.a, SIDE_CONSUMER, 0, 2));
  assert_refused (g.v, EPERM, put_pointer (g.a, SIDE_CONSUMER, 104, 1));
  assert_ok (put_pointer (g.a, SIDE_CONSUMER, 104, 2));
  assert_int_equal (get_pointer (g.b, SIDE_CONSUMER).position, 208);
  assert_ok (put_pointer (g.b, SIDE_PRODUCER, 208, 2));
  /* Its own owner's stale position is no request. */
  push_item (g.b, 208, 4);
  assert_ok (put_consumer (g.b, 216));
  assert_refused (g.v, EINVAL, put_pointer (g.b, SIDE_CONSUMER, 208, 1));
  stop_guard (&g);
}

/*---------------------------------------------------------------------*/
/* Ownership.                                                              */

static void
one_producer_at_a_time (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  push_item (g.a, 0, 100);
  assert_ok (put_item (g.a, 104, 20));
  forget_log (g.v);
  assert_refused (g.v, EPERM, put_item (g.b, 104, 8));
  assert_log (g.v, "alice", "bob");
  assert_refused (g.v, EPERM, put_producer (g.b, 104));
  /* Broken as well as another's: that comes first. */
  assert_refused (g.v, EPERM, put_producer (g.b, 0));
  assert_refused (g.v, EPERM, service_zero (g.b, 4, DATA + 104, 0));
  assert_refused (g.v, EPERM, service_trim (g.b, S, DATA + S, 0));
  /* A consumer is somebody else. */
  assert_ok (put_consumer (g.b, 104));
  assert_refused (g.v, EPERM, put_consumer (g.a, 104));
  leave (&g.a);
  assert_ok (put_item (g.b, 104, 8));
  assert_ok (put_producer (g.b, 116));
  g.a = join (g.v, "alice");
  assert_refused (g.v, EPERM, put_producer (g.a, 116));
  stop_guard (&g);
}

static void
a_refused_write_owns_nothing (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  assert_refused (g.v, EINVAL, put_producer (g.a, 4));
  assert_refused (g.v, EINVAL, put_consumer (g.a, 4));
  push_item (g.b, 0, 4);
  assert_ok (put_consumer (g.b, 8));
  stop_guard (&g);
}

/* Data alone takes no side; but nobody exposes what another wrote over. */
static void
two_producers_race (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  assert_ok (put_item (g.a, 0, 100));
  assert_ok (put_item (g.b, 0, 100));
  assert_refused (g.v, EPERM, put_producer (g.a, 104));
  assert_message ("bob");
  assert_ok (put_producer (g.b, 104));
  assert_refused (g.v, EPERM, put_producer (g.a, 104));
  stop_guard (&g);

  g = start_guard ();
  assert_ok (put_item (g.a, 0, 100));
  assert_ok (put_item (g.b, 0, 100));
  assert_refused (g.v, EPERM, put_producer (g.a, 104));
  /* Pushed again it is its own. */
  assert_ok (put_item (g.a, 0, 100));
  assert_ok (put_producer (g.a, 104));
  assert_refused (g.v, EPERM, put_producer (g.b, 104));
  stop_guard (&g);

  /* What one pushed that has gone may be exposed by the next. */
  g = start_guard ();
  assert_ok (put_item (g.a, 0, 100));
  leave (&g.a);
  assert_ok (put_producer (g.b, 104));
  stop_guard (&g);
}

static void
a_silent_owner_is_replaced (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  push_item (g.a, 0, 100);
  push_item (g.a, 104, 100);
  assert_ok (put_consumer (g.a, 0));
  g.v->now += 10 * SECOND - 1;
  assert_refused (g.v, EPERM, put_producer (g.b, 208));
  assert_refused (g.v, EPERM, put_consumer (g.b, 104));
  /* Any request of it is a sign of life. */
  assert_reads (g.a, DATA + 4, 'x', 1);
  g.v->now += 10 * SECOND - 1;
  assert_refused (g.v, EPERM, put_item (g.b, 208, 8));
  g.v->now += 1;
  forget_log (g.v);
  assert_ok (put_item (g.b, 208, 8));
  assert_log (g.v, "alice", "bob");
  /* It has lost the side, though nobody moved the pointer yet. */
  assert_refused (g.v, EPERM, put_item (g.a, 208, 16));
  assert_refused (g.v, EPERM, put_producer (g.a, 208));
  assert_ok (put_producer (g.b, 220));
  /* The other side it still has, for it was not taken. */
  assert_refused (g.v, EPERM, put_consumer (g.b, 104));
  assert_ok (put_consumer (g.a, 104));
  g.v->now += 10 * SECOND;
  assert_ok (put_consumer (g.b, 208));
  assert_refused (g.v, EPERM, put_consumer (g.a, 208));
  assert_refused (g.v, EPERM, put_pointer (g.a, SIDE_CONSUMER, 220, 2));
  /* For good, also when the side is free again … */
  leave (&g.b);
  assert_refused (g.v, EPERM, put_producer (g.a, 220));
  assert_refused (g.v, EPERM, put_consumer (g.a, 220));
  /* … but for a new connection. */
  leave (&g.a);
  g.a = join (g.v, "alice");
  assert_ok (put_producer (g.a, 220));
  assert_ok (put_consumer (g.a, 220));
  g.b = join (g.v, "bob");
  stop_guard (&g);
}

/*---------------------------------------------------------------------*/
/* Requests that cover much.                                               */

/* A page as a kernel writes it: signature, both pointers, data. */
static void
whole_pages (void **state)
{
  struct guarded g = start_guard ();
  unsigned char page[4096], old[4096];
  const struct f1_pointer at_104 = { 104, false };

  (void) state;
  push_item (g.a, 0, 100);
  push_item (g.a, 104, 100);
  assert_ok (service_pread (g.b, old, sizeof old, 0));
  /* The consumer's host: its own pointer alone has changed. */
  memcpy (page, old, sizeof page);
  f1_encode_pointer (page + 2 * S, S, SIDE_CONSUMER, &at_104, "q", "c");
  assert_ok (put_bytes (g.b, 0, page, sizeof page));
  assert_int_equal (get_pointer (g.a, SIDE_CONSUMER).position, 104);
  /* The producer's host has the page from before: stale. */
  assert_refused (g.v, EPERM, put_bytes (g.a, 0, old, sizeof old));
  /* Data and pointer in one request are written in that order. */
  assert_ok (service_pread (g.a, page, sizeof page, 0));
  memset (page + DATA + 208, 'z', 20);
  put_le32 (page + DATA + 208, 16);
  f1_encode_pointer (page + S, S, SIDE_PRODUCER,
                     &(struct f1_pointer) { 228, false }, "q", "c");
  record_device_forget (g.v->rd);
  assert_ok (put_bytes (g.a, 0, page, sizeof page));
  assert_int_equal (g.v->rd->log[record_device_find
                                 (g.v->rd, RECORD_WRITE, 0)].offset, DATA);
  assert_int_equal (get_pointer (g.a, SIDE_PRODUCER).position, 228);
  /* The consumer's page is older than that push: what was there is unread,
   * and stays. */
  assert_refused (g.v, EINVAL, put_bytes (g.b, DATA, old + DATA, 1024));
  /* A pointer farther than the data of the same request. */
  memcpy (page + DATA + 228, "\4\0\0\0abcd", 8);
  f1_encode_pointer (page + S, S, SIDE_PRODUCER,
                     &(struct f1_pointer) { 4096 - DATA + 4, false }, "q",
                     "c");
  assert_refused (g.v, EINVAL, put_bytes (g.a, DATA - 2 * S, page + S,
                                          2 * S + 236));
  f1_encode_pointer (page + S, S, SIDE_PRODUCER,
                     &(struct f1_pointer) { 236, false }, "q", "c");
  assert_refused (g.v, EPERM, put_bytes (g.b, S, page + S, S));
  stop_guard (&g);
}

/* Free space of a page that somebody else may write now. */
static void
who_may_not_push_may_bring_what_is_there (void **state)
{
  struct guarded g = start_guard ();
  unsigned char old[AREA];

  (void) state;
  push_item (g.a, 0, 100);
  assert_ok (put_item (g.a, 104, 8));
  assert_ok (service_pread (g.b, old, sizeof old, DATA));
  record_device_forget (g.v->rd);
  assert_ok (put_bytes (g.b, DATA, old, sizeof old));
  assert_int_equal (g.v->rd->writes, 0);
  assert_ok (put_bytes (g.b, DATA, old, 104));
  assert_ok (service_zero (g.b, S, DATA + S, 0));
  assert_int_equal (g.v->rd->writes, 0);
  /* In free space, and in what was pushed. */
  old[AREA - 1] = 1;
  assert_refused (g.v, EPERM, put_bytes (g.b, DATA, old, sizeof old));
  old[AREA - 1] = 0;
  old[104] = 4;
  assert_refused (g.v, EPERM, put_bytes (g.b, DATA, old, sizeof old));
  stop_guard (&g);
}

/* A pointer in two requests of half a sector each. */
static void
parts_of_a_pointer (void **state)
{
  struct guarded g = start_guard ();
  unsigned char number[8];

  (void) state;
  push_item (g.a, 0, 100);
  put_le64 (number, 104);
  /* The consumer's position alone, of 8 bytes, then of single bytes. */
  assert_ok (put_bytes (g.b, 2 * S, number, 8));
  assert_int_equal (get_pointer (g.b, SIDE_CONSUMER).position, 104);
  assert_ok (put_item (g.a, 104, 300));
  /* 104 + 304 = 408 = 0x198: in between the position would be 0x98. */
  assert_refused (g.v, EINVAL, put_byte (g.a, S, 0x98, 1));
  put_le64 (number, 408);
  assert_ok (put_bytes (g.a, S, number, 2));
  assert_int_equal (get_pointer (g.b, SIDE_PRODUCER).position, 408);
  assert_ok (put_byte (g.b, 2 * S + 8, 1, 1));
  assert_int_equal (get_pointer (g.b, SIDE_CONSUMER).flag, true);
  stop_guard (&g);
}

/*---------------------------------------------------------------------*/
/* Free space.                                                             */

static void
free_space_is_a_hole (void **state)
{
  struct guarded g = start_guard ();
  unsigned i;

  (void) state;
  /* Garbage of before. */
  for (i = 0; i < AREA; ++i)
    g.v->rd->content[DATA + i] = 0x55;
  assert_reads (g.a, DATA, 0, AREA);
  assert_extents (g.a, "0 h1536 8192");
  assert_ok (put_item (g.a, 0, 600));
  /* Pushed and not exposed: it reads as it was written. */
  assert_reads (g.a, DATA + 4, 'x', 600);
  assert_extents (g.a, "0 h2560 8192");
  assert_reads (g.a, DATA + 604, 0x55, 2 * S - 604);
  assert_reads (g.a, DATA + 2 * S, 0, AREA - 2 * S);
  assert_ok (put_producer (g.a, 604));
  assert_extents (g.b, "0 h2560 8192");
  push_item (g.a, 604, 3000);
  assert_ok (put_consumer (g.b, 604));
  /* 604 … 3608 is unread. */
  assert_extents (g.b, "0 h1536 2048 h5632 8192");
  assert_reads (g.b, DATA, 0, S);
  assert_reads (g.b, DATA + S + 4, 'x', 604 - S - 4);
  assert_ok (put_consumer (g.b, 3608));
  /* The sector in which both stand is free, and read as it is. */
  assert_extents (g.b, "0 h1536 5120 h5632 8192");
  stop_guard (&g);
}

static void
what_is_trimmed_reads_as_zeros (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  assert_ok (put_byte (g.a, DATA, 'y', 4 * S));
  assert_ok (service_trim (g.a, 2 * S, DATA + S, 0));
  assert_reads (g.a, DATA, 'y', S);
  assert_reads (g.a, DATA + S, 0, 2 * S);
  assert_reads (g.a, DATA + 3 * S, 'y', S);
  assert_extents (g.a, "0 h2048 3072 h3584 8192");
  /* And was not written, for a pointer. */
  assert_ok (put_item (g.a, 0, 4 * S - 4));
  assert_ok (service_trim (g.a, S, DATA + S, 0));
  assert_ok (put_item (g.a, 0, 2 * S - 4));
  assert_ok (put_producer (g.a, 2 * S));
  /* Zeros are written: an empty item. */
  assert_ok (service_zero (g.a, 4, DATA + 2 * S, 0));
  assert_reads (g.a, DATA + 2 * S, 0, 4);
  assert_ok (put_producer (g.a, 2 * S + 4));
  stop_guard (&g);
}

/* At the end of the data area the live part goes on at its start. */
static void
around_the_end (void **state)
{
  struct guarded g = start_guard ();

  (void) state;
  push_item (g.a, 0, AREA - 604);
  assert_ok (put_consumer (g.b, AREA - 600));
  assert_ok (put_byte (g.a, DATA + AREA - 600, 0, 600));
  assert_ok (put_byte (g.a, DATA, 0, 400));
  put_le32 (g.v->rd->content, get_le32 (g.v->rd->content));
  assert_ok (put_bytes (g.a, DATA + AREA - 600, "\344\3\0\0", 4)); /* 996 */
  assert_ok (put_producer (g.a, AREA + 400));
  assert_extents (g.b, "0 h2048 7168 8192");
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + 399, 1, 1));
  assert_ok (put_byte (g.a, DATA + 400, 1, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + AREA - 1, 1, 1));
  assert_refused (g.v, EINVAL, put_byte (g.a, DATA + AREA - 600, 1, 1));
  assert_ok (put_byte (g.a, DATA + AREA - 601, 1, 1));
  assert_refused (g.v, EINVAL, put_consumer (g.b, AREA));
  assert_ok (put_consumer (g.b, AREA + 400));
  stop_guard (&g);
}

static void
too_many_stretches (void **state)
{
  const struct record_options o = { .size = (3 + 40000) * S,
                                    .sector_size = 1 };
  struct guarded g = {
    .v = served_on (record_device_new_ring (&o, 512))
  };
  unsigned i;

  (void) state;
  g.a = join (g.v, "alice");
  g.b = join (g.v, "bob");
  for (i = 0; i < 4096; ++i)
    assert_ok (put_byte (g.a, DATA + 2 * i, 1, 1));
  assert_refused (g.v, ENOSPC, put_byte (g.a, DATA + 2 * i, 1, 1));
  /* One piece puts an end to that. */
  assert_ok (service_trim (g.a, 3 * S, DATA, 0));
  assert_ok (put_byte (g.a, DATA + 2 * i, 1, 1));
  stop_guard (&g);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (the_signature_stays),
    cmocka_unit_test (a_pointer_is_of_the_format),
    cmocka_unit_test (the_producer_passes_only_what_was_written),
    cmocka_unit_test (the_producer_does_not_expose_the_lap_before),
    cmocka_unit_test (what_was_written_before_a_pointer_is_durable),
    cmocka_unit_test (a_push_outlives_the_server),
    cmocka_unit_test (the_consumer_goes_over_what_is_exposed),
    cmocka_unit_test (what_is_unread_stays),
    cmocka_unit_test (the_end_of_free_space),
    cmocka_unit_test (flags_follow_the_protocol),
    cmocka_unit_test (a_suspended_producer_pushes_nothing),
    cmocka_unit_test (a_stale_flag_does_not_undo_a_request),
    cmocka_unit_test (a_request_beside_a_running_consumer),
    cmocka_unit_test (one_producer_at_a_time),
    cmocka_unit_test (a_refused_write_owns_nothing),
    cmocka_unit_test (two_producers_race),
    cmocka_unit_test (a_silent_owner_is_replaced),
    cmocka_unit_test (whole_pages),
    cmocka_unit_test (who_may_not_push_may_bring_what_is_there),
    cmocka_unit_test (parts_of_a_pointer),
    cmocka_unit_test (free_space_is_a_hole),
    cmocka_unit_test (what_is_trimmed_reads_as_zeros),
    cmocka_unit_test (around_the_end),
    cmocka_unit_test (too_many_stretches),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
