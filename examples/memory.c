/* SPDX-License-Identifier: BSD-3-Clause
 *
 * memory: a ring on storage of the program's own, and the suspend and
 * resume handshake, step by step.
 *
 * The storage is an array, made a device by struct blkring_device_ops.
 * (blkring_device_memory does the same in one call; this shows how any
 * storage is brought.)  Producer and consumer are both here, so that each
 * step of one can be seen by the other.  The program prints what it
 * expects, and returns 0 when all is so.
 */

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <blkring.h>

/*---------------------------------------------------------------------*/
/* The device.                                                           */

struct array {
  pthread_mutex_t lock;
  unsigned char bytes[128 * 512];
};

/* What is not set stays 0, or 1 for sector size and alignment. */
static int
array_geometry (void *opaque, struct blkring_geometry *geometry)
{
  struct array *array = opaque;

  geometry->size = sizeof array->bytes;
  geometry->sector_size = 512;
  return 0;
}

/* The library has checked that the range lies within the size, and goes on
 * behind a short count.  The lock is not for this program, which has one
 * thread: it keeps a sector from being read while it is half written. */
static ssize_t
array_pread (void *opaque, void *buf, size_t count, uint64_t offset)
{
  struct array *array = opaque;

  pthread_mutex_lock (&array->lock);
  memcpy (buf, array->bytes + offset, count);
  pthread_mutex_unlock (&array->lock);
  return count;
}

/* Without BLKRING_DEVICE_FUA in the geometry 'flags' is always 0. */
static ssize_t
array_pwrite (void *opaque, const void *buf, size_t count, uint64_t offset,
              unsigned flags)
{
  struct array *array = opaque;

  (void) flags;
  pthread_mutex_lock (&array->lock);
  memcpy (array->bytes + offset, buf, count);
  pthread_mutex_unlock (&array->lock);
  return count;
}

/* Memory is as durable as it ever gets.  Storage that has a cache returns
 * 0 only when all writes that it has answered are out of it. */
static int
array_flush (void *opaque)
{
  (void) opaque;
  return 0;
}

static const struct blkring_device_ops array_ops = {
  .struct_size = sizeof array_ops,
  .geometry = array_geometry,
  .pread = array_pread,
  .pwrite = array_pwrite,
  .flush = array_flush,
};

/*---------------------------------------------------------------------*/
/* Steps.                                                                */

static int failures;

static void
expect (bool true_or_not, const char *what)
{
  printf ("%s: %s\n", true_or_not ? "ok" : "NOT SO", what);
  if (!true_or_not) {
    printf ("  the last error was: %s\n", blkring_get_error ());
    failures++;
  }
}

/* Is the oldest item this text?  Takes it out of the ring. */
static bool
take (blkring_consumer *consumer, const char *text)
{
  struct blkring_item item;

  return blkring_consumer_pop (consumer, NULL, &item) == 0 &&
    item.length == strlen (text) &&
    memcmp (item.data, text, item.length) == 0 &&
    blkring_consumer_advance (consumer, item.next) == 0;
}

/* Two pushes become visible with one advance. */
static void
push_and_pop (blkring_producer *producer, blkring_consumer *consumer)
{
  struct blkring_item item;
  blkring_position after = 0;

  expect (blkring_producer_push (producer, "one", 3, NULL) == 0 &&
          blkring_producer_push (producer, "two", 3, &after) == 0,
          "two items are pushed");
  expect (blkring_consumer_pop (consumer, NULL, &item) == -1 &&
          errno == EAGAIN, "the consumer does not see them yet");
  expect (blkring_producer_advance (producer, after) == 0,
          "the producer advances behind the second");
  expect (take (consumer, "one"), "the consumer takes the first");
}

/* "two" is in the ring meanwhile, and can be taken at any time. */
static void
suspend_and_resume (blkring_producer *producer, blkring_consumer *consumer)
{
  expect (blkring_consumer_suspend (consumer) == 0,
          "the consumer asks for suspend");
  expect (blkring_consumer_suspend (consumer) == 0,
          "to ask once more is no error");
  expect (blkring_consumer_state (consumer) == BLKRING_RUNNING,
          "that alone suspends nothing");
  expect (blkring_consumer_resume (consumer) == -1 && errno == EAGAIN,
          "and cannot be taken back before it is acknowledged");

  /* The producer acknowledges when it looks: in attach, state and wait,
   * and before a push when its last look is older than poll_interval. */
  expect (blkring_producer_state (producer) == BLKRING_SUSPENDED,
          "the producer looks, and acknowledges");
  expect (blkring_consumer_wait_state (consumer, BLKRING_SUSPENDED, 1000)
          == 0, "now the ring is suspended");
  expect (blkring_producer_append (producer, "three", 5, NULL) == -1 &&
          errno == ESHUTDOWN, "nothing can be pushed");
  expect (take (consumer, "two"), "the consumer still takes what is there");

  expect (blkring_consumer_resume (consumer) == 0,
          "the consumer asks for resume");
  expect (blkring_consumer_state (consumer) == BLKRING_SUSPENDED,
          "that has to be acknowledged too");
  /* A producer that knows itself suspended looks before each push. */
  expect (blkring_producer_append (producer, "three", 5, NULL) == 0,
          "the next append acknowledges it, and succeeds");
  expect (blkring_consumer_state (consumer) == BLKRING_RUNNING,
          "the ring is running again");
  expect (take (consumer, "three"), "and the item is there");
}

int
main (void)
{
  static struct array array = { .lock = PTHREAD_MUTEX_INITIALIZER };
  blkring_device *device = blkring_device_new (&array_ops, &array);
  blkring_producer *producer;
  blkring_consumer *consumer;

  expect (device != NULL, "the array is a device");
  if (device == NULL)
    return 1;
  expect (blkring_create (device, NULL) == 0, "a ring is made on it");
  expect (blkring_create (device, NULL) == 1, "a ring that exists is kept");

  producer = blkring_producer_attach (device, NULL);
  consumer = blkring_consumer_attach (device, NULL);
  expect (producer != NULL && consumer != NULL, "both sides are attached");
  if (producer && consumer) {
    push_and_pop (producer, consumer);
    suspend_and_resume (producer, consumer);
  }

  blkring_consumer_free (consumer);
  blkring_producer_free (producer);
  blkring_device_close (device);
  return failures ? 1 : 0;
}
