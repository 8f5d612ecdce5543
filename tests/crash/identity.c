/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who the library takes itself for, and when it is: linked in front of its
 * own functions (ld's --wrap).  So a test decides who is dead, nothing is
 * read from /proc for each of many attaches, and what is written is the same
 * each time.
 */

#include <config.h>

#include <string.h>
#include <sys/random.h>

#include "format2.h"
#include "world.h"

unsigned identity_me;
bool identity_alive[16];
bool identity_all_dead;
unsigned identity_uuid;

extern void __wrap_f2_identify (struct f2_identity *me);
extern bool __wrap_f2_is_dead (const struct f2_identity *owner, bool shared);
extern bool __wrap_f2_owner_is_gone (const struct ring *ring,
                                     const struct f2_record *r);
extern uint64_t __wrap_f2_wall_clock (void);
extern ssize_t __wrap_getrandom (void *buf, size_t size, unsigned flags);

void
__wrap_f2_identify (struct f2_identity *me)
{
  memset (me, 0, sizeof *me);
  me->pid = identity_me;
  me->start_time = me->pid_namespace = 1;
  me->boot_id[0] = me->machine_id[0] = 1;
  strcpy (me->host, "host");
}

bool
__wrap_f2_is_dead (const struct f2_identity *owner, bool shared)
{
  (void) shared;
  return identity_all_dead || owner->pid >= 16 ||
    !identity_alive[owner->pid];
}

bool
__wrap_f2_owner_is_gone (const struct ring *ring, const struct f2_record *r)
{
  (void) ring;
  return r->flags & F2_CLEAN || __wrap_f2_is_dead (&r->owner, false);
}

uint64_t
__wrap_f2_wall_clock (void)
{
  return UINT64_C (1700000000) * 1000000000;
}

ssize_t
__wrap_getrandom (void *buf, size_t size, unsigned flags)
{
  (void) flags;
  memset (buf, ++identity_uuid, size);
  return size;
}
