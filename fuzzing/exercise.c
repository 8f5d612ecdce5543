/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See exercise.h.  Each call is between hostile_begin and hostile_end, so
 * that what it does to the device is watched, and what it returns is looked
 * at here.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "exercise.h"
#include "oracle.h"

#define LENGTH(array) (sizeof (array) / sizeof (array)[0])

/* A handle of a consumer or of an observer. */
struct reader {
  blkring_consumer *c;
  unsigned index;
  bool observer, salvage;
  blkring_position next;     /* behind what was popped last */
};

struct session {
  struct hostile_device *d;
  blkring_producer *p;
  struct reader reader[2];
  blkring_position pushed;   /* what the last push returned */
  const unsigned char *script, *end;
  volatile unsigned char sum; /* so that each byte of an item is read */
};

/* Passes by itself, so that each look is due now and then. */
static uint64_t
passing_now (void *opaque)
{
  return *(uint64_t *) opaque += UINT64_C (30000000);
}

static int
passing_sleep (void *opaque, uint64_t ns)
{
  *(uint64_t *) opaque += ns;
  return 0;
}

static unsigned
argument (struct session *s)
{
  return s->script < s->end ? *s->script++ : 0;
}

/* A call has returned. */
static int
done (struct session *s, int r)
{
  hostile_end (s->d);
  if (r != -1)
    return r;
  switch (errno) {
  case EAGAIN:
  case EBADMSG:
  case EBUSY:
  case EINVAL:
  case EMEDIUMTYPE:
  case EMSGSIZE:
  case ENOTSUP:
  case EROFS:
  case ESHUTDOWN:
  case ETIMEDOUT:
  case EEXIST:
    break;
  case EIO:
  case ENOSPC:
    /* Else nothing fails here. */
    if (s->d->disturbed)
      break;
    /* fall through */
  default:
    violation ("a call fails with errno %d", errno);
  }
  if (blkring_get_error ()[0] == '\0' || blkring_get_errno () != errno)
    violation ("errno %d, but the message is of %d", errno,
               blkring_get_errno ());
  return r;
}

static void
take_item (struct session *s, const struct reader *r,
           const struct blkring_item *item)
{
  const unsigned char *data = item->data;
  size_t i;

  for (i = 0; i < item->length; ++i)
    s->sum += data[i];
  oracle_check_item (s->d, r->index, r->salvage, item);
}

static struct blkring_attach_options
attach_options (const struct session *s, unsigned flags)
{
  static uint64_t now;
  static struct blkring_clock clock = {
    .now = passing_now, .sleep = passing_sleep, .opaque = &now,
  };

  (void) s;
  return (struct blkring_attach_options) { .flags = flags, .clock = &clock };
}

/*---------------------------------------------------------------------*/

static void
attach_producer (struct session *s)
{
  const struct blkring_attach_options o =
    attach_options (s, BLKRING_ATTACH_TAKEOVER);

  if (s->p)
    return;
  hostile_begin (s->d, MAY_PRODUCE, 0);
  s->p = blkring_producer_attach (s->d->device, &o);
  done (s, s->p ? 0 : -1);
}

static void
free_producer (struct session *s)
{
  hostile_begin (s->d, MAY_PRODUCE, 0);
  blkring_producer_free (s->p);
  hostile_end (s->d);
  s->p = NULL;
}

static void
push (struct session *s, unsigned how, size_t length)
{
  static unsigned char bytes[70000];
  const struct iovec items[3] = { { bytes, length }, { NULL, 0 },
                                  { bytes, length / 2 } };
  int r;

  if (s->p == NULL)
    return;
  hostile_begin (s->d, MAY_PRODUCE, 0);
  switch (how) {
  case 0:
    r = blkring_producer_push (s->p, bytes, length, &s->pushed);
    break;
  case 1:
    r = blkring_producer_append (s->p, bytes, length, &s->pushed);
    break;
  default:
    r = blkring_producer_appendv (s->p, items, 3, &s->pushed);
  }
  done (s, r);
}

static void
use_producer (struct session *s, unsigned how)
{
  int r = 0;

  if (s->p == NULL)
    return;
  hostile_begin (s->d, MAY_PRODUCE, 0);
  if (how == 0)
    r = blkring_producer_advance (s->p, s->pushed);
  else if (how == 1)
    r = blkring_producer_state (s->p);
  else
    r = blkring_producer_wait (s->p, argument (s) * 64, 0);
  done (s, r);
}

/*---------------------------------------------------------------------*/

static void
note_skipped (void *opaque, blkring_position from, blkring_position to,
              const char *why)
{
  (void) opaque;
  if (from >= to || why[0] == '\0')
    violation ("salvage skips nothing, or says nothing");
}

static void
attach_reader (struct session *s, struct reader *r, unsigned flags,
               unsigned index)
{
  struct blkring_attach_options o = attach_options (s, flags);

  if (r->c)
    return;
  r->observer = flags & BLKRING_ATTACH_OBSERVER;
  r->salvage = flags & BLKRING_ATTACH_SALVAGE;
  o.consumer = r->index = index;
  o.skipped = note_skipped;
  hostile_begin (s->d, r->observer ? 0 : MAY_CONSUME, index);
  r->c = blkring_consumer_attach (s->d->device, &o);
  if (done (s, r->c ? 0 : -1) == 0 &&
      blkring_consumer_position (r->c, &r->next) == -1)
    violation ("no position");
}

static void
free_reader (struct session *s, struct reader *r)
{
  hostile_begin (s->d, r->observer ? 0 : MAY_CONSUME, r->index);
  blkring_consumer_free (r->c);
  hostile_end (s->d);
  r->c = NULL;
}

/* Pop up to 'max' items, the oldest or behind the last. */
static bool
pop (struct session *s, struct reader *r, bool oldest, unsigned max)
{
  struct blkring_item items[8];
  const blkring_position *from = oldest ? NULL : &r->next;
  ssize_t n, i;

  if (r->c == NULL)
    return false;
  hostile_begin (s->d, 0, r->index);
  n = blkring_consumer_popv (r->c, from, items, min_u64 (max, LENGTH (items)));
  if (n > (ssize_t) max)
    violation ("%zd items, asked for %u", n, max);
  if (done (s, n) == -1) {
    if (errno == EMSGSIZE)
      r->next = items[0].next;
    return false;
  }
  for (i = 0; i < n; ++i)
    take_item (s, r, &items[i]);
  if (n > 0)
    r->next = items[n - 1].next;
  return n > 0;
}

static void
pop_copy (struct session *s, struct reader *r, size_t size)
{
  unsigned char *buf = malloc (size + 1);
  struct blkring_item item;

  if (buf == NULL)
    abort ();
  if (r->c) {
    hostile_begin (s->d, 0, r->index);
    if (done (s, blkring_consumer_pop_copy (r->c, &r->next, buf, size,
                                            &item)) == 0)
      take_item (s, r, &item);
  }
  free (buf);
}

struct folding {
  struct session *s;
  const struct reader *r;
  unsigned left;
};

static int
fold_item (void *opaque, const struct blkring_item *item)
{
  struct folding *f = opaque;

  take_item (f->s, f->r, item);
  return f->left-- == 0 ? 1 : 0;
}

static void
use_reader (struct session *s, struct reader *r, unsigned how)
{
  struct folding f = { s, r, 200 };
  blkring_position position;
  int result;

  if (r->c == NULL)
    return;
  hostile_begin (s->d, how == 1 || how == 2 ? MAY_CONSUME
                 : how == 3 || how == 4 ? MAY_REQUEST : 0, r->index);
  switch (how) {
  case 0:
    result = blkring_consumer_fold (r->c, NULL, fold_item, &f);
    break;
  case 1:
    result = blkring_consumer_advance (r->c, r->next);
    break;
  case 2:
    result = blkring_consumer_advance (r->c, r->next - 4 * argument (s));
    break;
  case 3:
    result = blkring_consumer_suspend (r->c);
    break;
  case 4:
    result = blkring_consumer_resume (r->c);
    break;
  case 5:
    result = blkring_consumer_state (r->c);
    break;
  case 6:
    result = blkring_consumer_wait (r->c, &r->next, 0);
    break;
  default:
    result = blkring_consumer_position (r->c, &position);
  }
  done (s, result);
}

/*---------------------------------------------------------------------*/

static int
cover (void *opaque, const struct blkring_region *region)
{
  uint64_t *end = opaque;

  if (region->offset != *end || region->length == 0)
    violation ("a region at %ju of %ju bytes, behind %ju",
               (uintmax_t) region->offset, (uintmax_t) region->length,
               (uintmax_t) *end);
  *end += region->length;
  return 0;
}

static void
look_at_finding (void *opaque, const struct blkring_finding *finding)
{
  unsigned *nr = opaque;

  ++*nr;
  if (finding->message[0] == '\0')
    violation ("a finding without words");
}

static void
inspect (struct session *s, unsigned flags)
{
  const struct blkring_inspect_options o = { .flags = flags };
  struct blkring_info *info = malloc (sizeof *info);

  if (info == NULL)
    abort ();
  hostile_begin (s->d, 0, 0);
  if (done (s, blkring_inspect (s->d->device, &o, info)) == 0 &&
      (info->used > info->capacity || info->free > info->capacity ||
       info->used + info->free != info->capacity))
    violation ("%ju used, %ju free of %ju", (uintmax_t) info->used,
               (uintmax_t) info->free, (uintmax_t) info->capacity);
  free (info);
}

/* What is not is kept, or refused. */
static bool
is_blank (const struct hostile_device *d)
{
  const uint64_t size = d->geometry.size;
  unsigned char bytes[512];
  uint64_t at;
  size_t i;

  for (at = 0; at < size; at += sizeof bytes) {
    if (at >= 1 << 20 && at < size - (64 << 10))
      continue;
    hostile_peek (d, bytes, sizeof bytes, at);
    for (i = 0; i < sizeof bytes; ++i)
      if (bytes[i] != 0)
        return false;
  }
  return true;
}

static void
look (struct session *s, unsigned how)
{
  blkring_device *device = s->d->device;
  const struct blkring_create_options create = { .format = how - 4 };
  uint64_t end = 0;
  unsigned nr = 0;
  int r;

  switch (how) {
  case 0:
    hostile_begin (s->d, 0, 0);
    r = done (s, blkring_check (device, NULL, look_at_finding, &nr));
    if (r != -1 && (unsigned) r != nr)
      violation ("check returns %d, and told of %u", r, nr);
    break;
  case 1:
    hostile_begin (s->d, 0, 0);
    if (done (s, blkring_map (device, NULL, cover, &end)) == 0 &&
        end != s->d->geometry.size)
      violation ("the map ends at %ju", (uintmax_t) end);
    break;
  case 2:
  case 3:
    hostile_begin (s->d, MAY_ANYTHING, 0);
    r = done (s, blkring_repair (device, NULL, how == 2 ? BLKRING_REPAIR_LEAKS
                                 : BLKRING_REPAIR_ALL, look_at_finding, &nr));
    if (r != -1 && (unsigned) r != nr)
      violation ("repair returns %d, and told of %u", r, nr);
    break;
  default:
    hostile_begin (s->d, is_blank (s->d) ? MAY_ANYTHING : 0, 0);
    done (s, blkring_create (device, &create));
  }
}

/* Whoever is attached finds another record than it wrote. */
static void
enable (struct session *s, unsigned index, bool on)
{
  s->d->disturbed = true;
  hostile_begin (s->d, MAY_CONSUME, index);
  done (s, blkring_consumer_enable (s->d->device, index, on));
}

static void
disturb (struct session *s, unsigned how)
{
  const unsigned a = argument (s), b = argument (s), c = argument (s);
  const unsigned char byte = c;
  const uint64_t size = s->d->geometry.size;

  s->d->disturbed = true;
  switch (how) {
  case 0:
    if (a + 256 * b < size)
      hostile_poke (s->d, &byte, 1, a + 256 * b);
    break;
  case 1:
    s->d->geometry.size = size / 2 / 4096 * 4096;
    break;
  default:
    s->d->fail_after[a % 3] = b % 8;
  }
}

/*---------------------------------------------------------------------*/

enum {
  ATTACH_PRODUCER, FREE_PRODUCER, PUSH, APPEND, BATCH, LARGE, ADVANCE,
  PRODUCER_STATE, PRODUCER_WAIT,
  ATTACH_CONSUMER, ATTACH_SALVAGE, ATTACH_OBSERVER, FREE_READER, POP_OLDEST,
  POP_NEXT, POP_MANY, POP_COPY, FOLD, FREE_ITEMS, FREE_WRONG, SUSPEND, RESUME,
  STATE, WAIT, POSITION, DRAIN,
  INSPECT, INSPECT_POINTERS, CHECK, MAP, REPAIR_LEAKS, REPAIR_ALL, CREATE,
  ENABLE, DISABLE, POKE, SHRINK, FAIL,
  OPERATIONS
};

static const unsigned char everything[] = {
  INSPECT, INSPECT_POINTERS, CHECK, MAP, CREATE, 2, CREATE, 1,
  ATTACH_OBSERVER, 1, 0, FOLD, 1, POP_OLDEST, 1, POP_NEXT, 1, POP_COPY, 1, 9,
  ATTACH_CONSUMER, 0, 0, FOLD, 0, POP_OLDEST, 0, POP_NEXT, 0, POP_MANY, 0,
  FREE_WRONG, 0, 1, WAIT, 0, POSITION, 0,
  ATTACH_PRODUCER, PRODUCER_STATE, SUSPEND, 0, APPEND, 5, PRODUCER_STATE,
  STATE, 0, APPEND, 5, RESUME, 1, PRODUCER_STATE, STATE, 1,
  APPEND, 5, PUSH, 40, PUSH, 200, BATCH, 99, ADVANCE, LARGE, 9,
  PRODUCER_WAIT, 255, POP_MANY, 0, FREE_ITEMS, 0, POP_MANY, 1,
  APPEND, 255, APPEND, 255, LARGE, 40, APPEND, 0, CHECK, INSPECT, MAP,
  DRAIN, 0, APPEND, 255, LARGE, 200, FREE_PRODUCER, DRAIN, 0, FREE_READER, 0,
  FREE_READER, 1, ATTACH_SALVAGE, 0, 0, DRAIN, 0, FREE_READER, 0,
  ATTACH_CONSUMER, 0, 1, DRAIN, 0, FREE_READER, 0,
  ATTACH_PRODUCER, APPEND, 7, PUSH, 7, FREE_PRODUCER, CHECK, REPAIR_LEAKS,
  REPAIR_ALL, CHECK, INSPECT, ENABLE, 1, DISABLE, 1, DISABLE, 0,
  ATTACH_CONSUMER, 0, 0, DRAIN, 0,
};

static void
drain (struct session *s, struct reader *r)
{
  unsigned i;

  for (i = 0; i < 200 && pop (s, r, true, 8); ++i)
    if (!r->observer)
      use_reader (s, r, 1);
}

static void
run_reader (struct session *s, unsigned operation)
{
  struct reader *r = &s->reader[argument (s) % 2];

  switch (operation) {
  case ATTACH_CONSUMER:
    attach_reader (s, r, BLKRING_ATTACH_TAKEOVER, argument (s) % 4);
    break;
  case ATTACH_SALVAGE:
    attach_reader (s, r, BLKRING_ATTACH_TAKEOVER | BLKRING_ATTACH_SALVAGE,
                   argument (s) % 4);
    break;
  case ATTACH_OBSERVER:
    attach_reader (s, r, BLKRING_ATTACH_OBSERVER, argument (s) % 4);
    break;
  case FREE_READER:
    free_reader (s, r);
    break;
  case POP_OLDEST:
    pop (s, r, true, 1);
    break;
  case POP_NEXT:
    pop (s, r, false, 1);
    break;
  case POP_MANY:
    pop (s, r, false, 8);
    break;
  case POP_COPY:
    pop_copy (s, r, argument (s));
    break;
  case DRAIN:
    drain (s, r);
    break;
  default:
    use_reader (s, r, operation - FOLD);
  }
}

static void
run (struct session *s, unsigned operation)
{
  switch (operation) {
  case ATTACH_PRODUCER:
    attach_producer (s);
    break;
  case FREE_PRODUCER:
    free_producer (s);
    break;
  case PUSH:
  case APPEND:
  case BATCH:
    push (s, operation - PUSH, argument (s) * 8);
    break;
  case LARGE:
    push (s, 1, argument (s) * 256);
    break;
  case ADVANCE:
  case PRODUCER_STATE:
  case PRODUCER_WAIT:
    use_producer (s, operation - ADVANCE);
    break;
  case INSPECT:
  case INSPECT_POINTERS:
    inspect (s, operation == INSPECT ? 0 : BLKRING_INSPECT_POINTERS);
    break;
  case CHECK:
  case MAP:
  case REPAIR_LEAKS:
  case REPAIR_ALL:
    look (s, operation - CHECK);
    break;
  case CREATE:
    look (s, 4 + argument (s) % 4);
    break;
  case ENABLE:
  case DISABLE:
    enable (s, argument (s) % 4, operation == ENABLE);
    break;
  case POKE:
  case SHRINK:
  case FAIL:
    disturb (s, operation - POKE);
    break;
  default:
    run_reader (s, operation);
  }
}

void
exercise (const struct hostile_options *options, const unsigned char *script,
          size_t length)
{
  struct session s = {
    .d = hostile_new (options),
    .script = script ? script : everything,
    .end = script ? script + length : everything + sizeof everything,
  };
  unsigned calls;

  for (calls = 0; s.script < s.end && calls < 200; ++calls)
    run (&s, argument (&s) % OPERATIONS);
  free_producer (&s);
  free_reader (&s, &s.reader[0]);
  free_reader (&s, &s.reader[1]);
  hostile_free (s.d);
}
