/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How the consumer of a ring of format 1 stops its producer, and lets it go
 * on: by a flag in each side's sector, while both sides crash and the power
 * fails.  README.md beside this file says what is checked, and what is left
 * out.
 *
 * A step of a process is one access to the disk.  With -DBROKEN=RULE a rule
 * is left out, and spin has to find what it was for.
 */

#define NOTHING 0
#define PUSH_WHILE_SUSPENDED 1  /* push does not mind the flag */
#define FORGET_AT_ATTACH 2      /* a producer begins as if nobody had asked */
#define NEVER_LOOK 3            /* it looks at attach alone */
#define NO_FLUSH_TO_ACKNOWLEDGE 4 /* it answers what may be in a cache */
#define NO_FLUSH_TO_REPEAT 5    /* "asked for already" may be in a cache */
#define ASK_BEFORE_ANSWER 6     /* for the opposite, before the answer */
#define NO_LOCK 7               /* two write the consumer's sector at once */
#define OLD_FLAG 8              /* advance writes the flag as it was */
#define TORN_LOOK 9             /* inspect: the producer's sector is read first,
                                   the consumer's later */
#define LATE_WRITE 10           /* what a dead asker wrote comes down later */

#ifndef BROKEN
#define BROKEN NOTHING
#endif
#ifndef CRASHES
#define CRASHES 3
#endif
#ifndef CHANGES
#define CHANGES 2               /* of what is wanted, before it was reached */
#endif

/* The flags: as a read gives them (suspend is in the consumer's sector, ack
 * in the producer's), and as they are when the power has failed. */
bit suspend, ack, suspend_on_disk, ack_on_disk;

byte crashes, changes;
bool kill_producer, kill_consumer, kill_asker;

/* The lock of the consumer's sector, which is fair: who had it does not get
 * it again before the other one. */
mtype = { nobody, the_consumer, the_asker };
mtype locked = nobody;
bool had_it;                    /* the consumer, last */

/* What is wanted, and how far that is. */
bit wanted;
mtype = { reached, asking, waiting };
mtype phase = reached;

/* Somebody has seen that the ring is suspended, and since then nobody
 * wanted it to go on. */
bool seen;
bool half_seen;                 /* in one of the two sectors */

#if BROKEN == LATE_WRITE
bool late;
bit late_flag;
#endif

/* A write is there for all to read, and then durable: by itself (FUA), and
 * nothing else with it.  Where a flush does that, more is durable, which can
 * only help. */
inline flush ()
{
  d_step { suspend_on_disk = suspend; ack_on_disk = ack }
}

/*---------------------------------------------------------------------*/

/* lib/producer.c: look (), and what it calls.  Its own sector needs no
 * look, since nobody else writes there; and when it advances, what it writes
 * there changes no flag. */
inline look ()
{
  d_step { asked = suspend; answering = (asked != answered); due = false };
  if
  :: !answering
  :: answering ->
     if
     :: BROKEN != NO_FLUSH_TO_ACKNOWLEDGE -> flush ()
     :: BROKEN == NO_FLUSH_TO_ACKNOWLEDGE
     fi;
     ack = asked;
     d_step { ack_on_disk = asked; answered = asked; answering = false }
  fi
}

active proctype Producer ()
{
  bit asked, answered;          /* as it knows them */
  bool answering;
  bool due;                     /* it has pushed, and must look some time */

attach:
  {
    answered = ack;
    if
    :: BROKEN != FORGET_AT_ATTACH -> flush (); look ()
    :: BROKEN == FORGET_AT_ATTACH
    fi;
    do
    :: BROKEN != NEVER_LOOK -> look ()
    :: d_step {                 /* push */
         !due && (!asked || BROKEN == PUSH_WHILE_SUSPENDED) ->
         assert (!seen);
         due = (BROKEN != NEVER_LOOK)
       }
    od
  } unless {
    d_step {
      kill_producer -> kill_producer = false;
      asked = 0; answered = 0; answering = false; due = false
    };
    goto attach
  }
}

/*---------------------------------------------------------------------*/

/* Advance writes the flag anew, with the position.  The flushes that it
 * also makes are left out: they could only help. */
#define MAY_LOCK (locked == nobody && (phase != asking || !had_it))

active proctype Consumer ()
{
  bit flag;

attach:
  {
    do
    :: if
       :: BROKEN == NO_LOCK -> flag = suspend
       :: BROKEN == OLD_FLAG ->
          flag = suspend;
          atomic { MAY_LOCK -> locked = the_consumer; had_it = true }
       :: BROKEN != NO_LOCK && BROKEN != OLD_FLAG ->
          atomic {
            MAY_LOCK -> locked = the_consumer; had_it = true;
            flag = suspend
          }
       fi;
       suspend = flag;
       d_step { suspend_on_disk = flag; flag = 0; locked = nobody }
    od
  } unless {
    d_step { kill_consumer -> kill_consumer = false; flag = 0 };
    goto attach
  }
}

/*---------------------------------------------------------------------*/

inline want_the_other ()
{
  wanted = 1 - wanted;
  phase = asking;
  if
  :: !wanted -> seen = false; half_seen = false
  :: else
  fi
}

/* What was asked for is not lost any more. */
inline stored ()
{
  assert (suspend_on_disk == wanted);
  phase = waiting;
  locked = nobody
}

/* lib/format1-consumer.c: f1_request (). */
inline request ()
{
  if
  :: BROKEN == NO_LOCK -> c = suspend
  :: BROKEN != NO_LOCK ->
     atomic {
       locked == nobody -> locked = the_asker; had_it = false;
       c = suspend
     }
  fi;
  if
  :: d_step { c != wanted && c != ack && BROKEN != ASK_BEFORE_ANSWER ->
              c = 0; locked = nobody } /* EAGAIN */
  :: d_step { c == wanted && BROKEN != NO_FLUSH_TO_REPEAT ->
              c = 0; flush (); stored () }
  :: d_step { c == wanted && BROKEN == NO_FLUSH_TO_REPEAT ->
              c = 0; stored () }
  :: c != wanted && (c == ack || BROKEN == ASK_BEFORE_ANSWER) ->
     d_step { c = 0; flush () };
#if BROKEN == LATE_WRITE
     d_step { late = true; late_flag = wanted };
#endif
     suspend = wanted;
#if BROKEN == LATE_WRITE
     late = false;
#endif
     d_step { suspend_on_disk = wanted; stored () }
  fi
}

/* One that wants the ring suspended, then running, and so on: the consumer
 * in another thread, or an observer on its host. */
active proctype Asker ()
{
  bit c;

again:
  {
    do
    :: d_step { phase == reached -> want_the_other () }
    :: d_step {
         phase != reached && changes < CHANGES ->
         changes++;
         want_the_other ()
       }
    :: phase == asking -> request ()
    :: d_step { phase == waiting && ack == wanted ->
                seen = (seen || wanted); phase = reached };
progress: skip
    :: d_step { phase == waiting && changes < CHANGES ->
                changes++; phase = asking }
    od
  } unless {
    d_step { kill_asker -> kill_asker = false; c = 0 };
    goto again
  }
}

/* One that only looks: blkring_inspect. */
active proctype Watcher ()
{
  do
  :: d_step {
       !half_seen && !seen && wanted &&
       (BROKEN == TORN_LOOK -> ack : suspend) ->
       half_seen = true
     }
  :: d_step {
       half_seen ->
       seen = (BROKEN == TORN_LOOK -> suspend : ack);
       half_seen = false
     }
  od
}

#if BROKEN == LATE_WRITE
active proctype Fabric ()
{
  do
  :: d_step { late -> suspend = late_flag; late = false }
  od
}
#endif

/*---------------------------------------------------------------------*/

inline lose (cache, disk)
{
  if
  :: cache = disk
  :: disk = cache
  fi
}

active proctype Crashes ()
{
  do
  :: crashes == CRASHES -> break
  :: crashes < CRASHES ->
     atomic {
       crashes++;
       if
       :: kill_producer = true
       :: kill_consumer = true;
          locked = (locked == the_consumer -> nobody : locked)
       :: kill_asker = true;
          locked = (locked == the_asker -> nobody : locked)
       :: kill_producer = true; /* the power fails */
          kill_consumer = true;
          kill_asker = true;
          locked = nobody;
          half_seen = false;    /* the watcher dies, too */
          lose (suspend, suspend_on_disk);
          lose (ack, ack_on_disk)
       fi
     }
  od
}
