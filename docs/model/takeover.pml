/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How producers of a ring of format 2 replace each other while those before
 * may have a write under way, and what a consumer makes of it.  README.md
 * beside this file says what is checked, what is left out, and what was
 * found.
 *
 * A step of a process is one access to the disk.  With -DBROKEN=RULE a rule
 * is left out, and spin has to find what it was for.
 */

#define NOTHING 0
#define NO_WAIT 1               /* a taker does not wait two poll intervals */
#define NO_CLAIM_FIRST 2        /* it reads frames before it claims */
#define NO_CONFIRM 3            /* no look behind a write that took long */
#define NO_LATE_RULE 4          /* nobody minds the epoch of a frame */
#define NO_CHAIN 5              /* a frame does not name the one before it */
#define NO_LOOK_BACK 6          /* a taker does not see that a consumer has
                                   gone on while it claimed */
#define NO_LOOK_AFTER 7         /* a consumer whose write took long does not
                                   look at what it has freed */
#define AT_ONCE 8               /* two take over at the same time */

#ifndef BROKEN
#define BROKEN NOTHING
#endif
#ifndef TAKERS
#define TAKERS 2
#endif
#ifndef APPENDS
#define APPENDS 1               /* of each producer */
#endif

#define PRODUCERS (TAKERS + 1)
#define LENGTH (PRODUCERS * APPENDS + 1)

/* The id stands for the header's CRC: no two frames have the same.  0: there
 * is none. */
typedef frame { byte id, chain, epoch };
frame stream[LENGTH];
byte next_id = 1;

/* The producer's record, in its two copies. */
typedef record {
  byte epoch, sequence, owner, frame_epoch, since, published, chain
};
record copy[2];

/* Which of them counts; and what it says. */
#define COUNTS \
  (copy[1].epoch > copy[0].epoch || \
   (copy[1].epoch == copy[0].epoch && copy[1].sequence > copy[0].sequence))
#define SAYS(field) copy[COUNTS].field
#define MINE \
  (SAYS (owner) == me && SAYS (epoch) == epoch && SAYS (sequence) == sequence)

/* The consumer's record. */
byte freed_to, freed_chain;

/* Has this one looked at the records within its poll interval? */
bool fresh[3], consumer_fresh;

/* What was promised: the frame of an append that returned 0; and what the
 * consumer has freed. */
byte acknowledged[LENGTH], freed[LENGTH];
/* Somebody was told that something is lost. */
bool told;
bool ended[3];                  /* producers */
#define ALL_ENDED (ended[0] && ended[1] && (TAKERS == 1 || ended[2]))

#define IS_OVER(frame_epoch_, position) \
  (BROKEN != NO_LATE_RULE && frame_epoch_ < SAYS (frame_epoch) && \
   position >= SAYS (since))
#define LATE(position) IS_OVER (stream[position].epoch, position)
#define FITS(position, known) \
  (stream[position].id != 0 && \
   (stream[position].chain == known || BROKEN == NO_CHAIN))

/*---------------------------------------------------------------------*/

/* Has it been replaced?  And which copy is to be written next. */
inline look ()
{
  d_step { fresh[me] = true; replaced = !MINE; to = !COUNTS }
}

/* So long that everybody who is alive has to look again. */
inline wait ()
{
  d_step {
    fresh[0] = (me == 0);
    fresh[1] = (me == 1);
    fresh[2] = (me == 2);
    consumer_fresh = false
  }
}

/* Into the copy that did not count when this one last knew.  It may land
 * much later. */
inline write_record ()
{
  sequence++;
  d_step {
    copy[to].epoch = epoch;
    copy[to].sequence = sequence;
    copy[to].owner = me;
    copy[to].frame_epoch = frame_epoch;
    copy[to].since = since;
    copy[to].published = published;
    copy[to].chain = published_chain;
    to = !to
  }
}

/* lib/format2-records.c: f2_claim (): both copies. */
inline claim ()
{
  d_step { epoch++; sequence = 0 };
  write_record ();
  write_record ()
}

inline read_records ()
{
  d_step {
    replaced = (check && !MINE);
    epoch = SAYS (epoch);
    sequence = SAYS (sequence);
    before = SAYS (owner);
    frame_epoch = SAYS (frame_epoch);
    since = SAYS (since);
    published = SAYS (published);
    published_chain = SAYS (chain);
    tail = (freed_to > published -> freed_to : published);
    chain = (freed_to > published -> freed_chain : published_chain);
    to = !COUNTS
  }
}

/* lib/format2-producer.c: f2_producer_open (), with takeover. */
inline take_over ()
{
  check = false;
again:
  read_records ();
  if
  :: BROKEN != NO_CLAIM_FIRST ->
     claim ();
     if
     :: BROKEN != NO_WAIT -> wait ()
     :: BROKEN == NO_WAIT
     fi;
     check = true;
     read_records ()
  :: BROKEN == NO_CLAIM_FIRST
  fi;
  check = false;
  do
  :: replaced -> break
  :: !replaced && !FITS (tail, chain) -> break
  :: d_step {
       !replaced && FITS (tail, chain) && !LATE (tail) ->
       chain = stream[tail].id;
       tail++
     }
  :: !replaced && FITS (tail, chain) && LATE (tail) ->
     d_step { told = true; replaced = true }
  od;
  skip;
  /* Behind the flush: is the record what it was? */
  d_step {
    replaced = (replaced || SAYS (epoch) != epoch ||
                SAYS (sequence) != sequence || SAYS (owner) != before);
    to = !COUNTS
  };
  if
  :: replaced
  :: !replaced ->
     d_step {
       frame_epoch++;
       since = tail;
       published = tail;
       published_chain = chain
     };
     claim ();
     if
     :: BROKEN != NO_LOOK_BACK -> wait ()
     :: BROKEN == NO_LOOK_BACK
     fi;
     look ();
     if
     :: BROKEN != NO_LOOK_BACK && !replaced && freed_to > tail -> goto again
     :: BROKEN == NO_LOOK_BACK || replaced || freed_to <= tail
     fi
  fi
}

/* lib/format2-producer.c: f2_write () and confirm (). */
inline append ()
{
  if
  :: !fresh[me] -> look ()
  :: fresh[me]
  fi;
  if
  :: replaced
  :: !replaced ->
     /* Decided; what comes now may come much later. */
     d_step { id = next_id; next_id++ };
     d_step {
       stream[tail].id = id;
       stream[tail].chain = chain;
       stream[tail].epoch = frame_epoch
     };
     if
     :: fresh[me]
     :: !fresh[me] && BROKEN != NO_CONFIRM -> look ()
     :: !fresh[me] && BROKEN == NO_CONFIRM
     fi;
     if
     :: d_step {
          !replaced ->
          acknowledged[tail] = id;
          chain = id;
          tail++;
          id = 0
        }
     :: d_step { replaced -> id = 0 }
     fi
  fi
}

proctype Producer (byte me)
{
  byte epoch, sequence, frame_epoch, since, tail, chain, before;
  byte published, published_chain, id, appends;
  bit to;
  bool replaced, check;

  if
  :: me == 0 -> d_step { epoch = 1; frame_epoch = 1; to = 1 }
  :: me != 0 ->
     /* One after the other. */
     (me == 1 || ended[1] || BROKEN == AT_ONCE);
     take_over ()
  fi;
  do
  :: break
  :: !replaced && appends < APPENDS -> append (); appends++
  od;
  /* Detach: a record that tells all, if the side is still ours.  Or die. */
  if
  :: !replaced -> look ()
  :: replaced = true
  fi;
  if
  :: !replaced ->
     d_step { published = tail; published_chain = chain };
     write_record ()
  :: replaced
  fi;
  skip;
  d_step {
    epoch = 0; sequence = 0; frame_epoch = 0; since = 0; tail = 0; chain = 0;
    before = 0; published = 0; published_chain = 0; appends = 0; to = 0;
    replaced = false; fresh[me] = false; ended[me] = true
  }
}

/*---------------------------------------------------------------------*/

/* What the record says, as the consumer last read it. */
inline consumer_look ()
{
  d_step {
    looked = SAYS (frame_epoch);
    since = SAYS (since);
    published = SAYS (published);
    published_chain = SAYS (chain);
    consumer_fresh = true
  }
}

/* Read after that: the item that was delivered is still there, and was not
 * written by one that had been replaced by then. */
#define STILL_THERE \
  (stream[position].id == id && \
   (BROKEN == NO_LATE_RULE || \
    !(stream[position].epoch < looked && position >= since)) && \
   (position + 1 != published || published_chain == id))

/* lib/format2-consumer.c, format2-stream.c.  It ends when all producers have,
 * and there is no more. */
active proctype Consumer ()
{
  byte position, chain, id;
  byte looked, since, published, published_chain;

  do
  :: d_step {                   /* pop */
       !told && id == 0 && FITS (position, chain) ->
       id = stream[position].id
     }
  :: id != 0 ->                 /* advance */
     consumer_look ();
     if
     :: STILL_THERE ->
        /* The write; it may land late. */
        d_step {
          freed[position] = id;
          freed_to = position + 1;
          freed_chain = id
        };
        if
        :: !consumer_fresh && BROKEN != NO_LOOK_AFTER ->
           consumer_look ();
           told = (told || !STILL_THERE)
        :: else
        fi;
        d_step {
          chain = id;
          position++;
          id = 0;
          looked = 0; since = 0; published = 0; published_chain = 0
        }
     :: !STILL_THERE ->
        d_step {
          told = true;
          id = 0;
          looked = 0; since = 0; published = 0; published_chain = 0
        }
     fi
  :: d_step {                   /* nothing here, but there should be */
       !told && id == 0 && !FITS (position, chain) &&
       position < SAYS (published) ->
       told = true
     }
  :: told || (ALL_ENDED && id == 0 && !FITS (position, chain) &&
              position >= SAYS (published)) -> break
  od;
  ALL_ENDED;
  do
  :: id < LENGTH ->
     assert (told || acknowledged[id] == 0 || acknowledged[id] == freed[id]);
     id++
  :: id == LENGTH -> break
  od
}

init
{
  byte p;

  atomic {
    copy[0].epoch = 1;
    copy[0].frame_epoch = 1;
    do
    :: p < PRODUCERS -> run Producer (p); p++
    :: p == PRODUCERS -> break
    od
  }
}
