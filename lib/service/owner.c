/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who owns a side of the ring.
 *
 * Whoever first writes a pointer of a side owns it until its connection
 * ends.  A host that vanished leaves its connection behind, so an owner
 * that was silent for owner_timeout, with no request under way, can be
 * replaced; it has lost the side then, also for what it wrote ahead of the
 * pointer, and gets EPERM until it connects anew.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "internal.h"

const char *
service_side_name (const struct service *s, unsigned side, char *text,
                   size_t size)
{
  if (side == SIDE_PRODUCER)
    return "the producer's side";
  if (s->ring.consumers == 1)
    return "the consumer's side";
  snprintf (text, size, "the side of consumer %u", side - SIDE_CONSUMER);
  return text;
}

static uint64_t
silence (const struct service_client *c)
{
  return c->busy ? 0 : service_now (c->service) - c->last_request;
}

bool
service_may_own (const struct service_client *c, unsigned side)
{
  const struct service *s = c->service;
  const struct service_client *owner = s->owners[side].client;

  if (c->lost[side])
    return false;
  return owner == NULL || owner == c ||
    silence (owner) >= s->options.owner_timeout;
}

int
service_need_side (struct request *rq, unsigned side)
{
  const struct service_client *c = rq->client;
  const struct service *s = c->service;
  const struct service_client *owner = s->owners[side].client;
  char text[40];
  const char *name = service_side_name (s, side, text, sizeof text);

  if (service_may_own (c, side))
    return 0;
  if (c->lost[side])
    return refuse (rq, EPERM, "%s was taken by another while this connection "
                   "was silent (now: %s): connect anew", name,
                   owner ? owner->peer : "nobody");
  return refuse (rq, EPERM, "%s belongs to %s", name, owner->peer);
}

void
service_expire_side (struct service_client *c, unsigned side)
{
  struct service *s = c->service;
  struct service_client *owner = s->owners[side].client;
  char text[40];

  if (owner == NULL || owner == c)
    return;
  owner->lost[side] = true;
  service_log (s, BLKRING_LOG_INFO, "%s: takes %s from %s, which was silent "
               "for %" PRIu64 " s", c->peer,
               service_side_name (s, side, text, sizeof text), owner->peer,
               silence (owner) / 1000000000);
  s->owners[side].client = NULL;
}

void
service_take_side (struct service_client *c, unsigned side)
{
  struct service *s = c->service;
  char text[40];

  if (s->owners[side].client == c)
    return;
  service_expire_side (c, side);
  s->owners[side] = (struct owner) { c, f2_wall_clock () };
  service_log (s, BLKRING_LOG_DEBUG, "%s: owns %s", c->peer,
               service_side_name (s, side, text, sizeof text));
}

void
service_release_side (struct service *s, unsigned side)
{
  char text[40];

  service_log (s, BLKRING_LOG_DEBUG, "%s: leaves %s",
               s->owners[side].client->peer,
               service_side_name (s, side, text, sizeof text));
  s->owners[side].client = NULL;
}

struct service_client *
service_find_client (const struct service *s, uint64_t id)
{
  struct service_client *c;

  for (c = s->clients; c && c->id != id; c = c->next)
    ;
  return c;
}
