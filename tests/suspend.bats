#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img suspend and resume: the request, the acknowledgement of a
# producer, and what the other side notices of it.

load helpers

@test "suspend asks, a producer that attaches acknowledges, and resume alike" {
  small_ring
  succeeds suspend ring
  [ ! -s out ]
  state_is suspend-requested
  succeeds produce ring </dev/null
  state_is suspended
  succeeds resume ring
  [ ! -s out ]
  state_is resume-requested
  succeeds produce ring </dev/null
  state_is running
  succeeds check ring
}

@test "suspend of a suspended ring, and resume of a running one, is no error" {
  ring_that_is suspended
  succeeds suspend ring
  state_is suspended
  succeeds suspend --wait=5 ring
  succeeds suspend --wait ring
  state_is suspended
  ring_of 1 2 3
  succeeds resume ring
  state_is running
  succeeds resume --wait=5 ring
  succeeds resume --wait ring
  state_is running
}

@test "asking again for what is asked for already is no error" {
  ring_that_is suspend-requested
  succeeds suspend ring
  state_is suspend-requested
  ring_that_is resume-requested
  succeeds resume ring
  state_is resume-requested
}

@test "resume fails while a suspend is not acknowledged" {
  ring_that_is suspend-requested
  fails 1 'ring: .*acknowledged.*suspend' resume ring
  fails 1 'ring: .*acknowledged.*suspend' resume --wait=0.2 ring
  fails 1 'ring: .*acknowledged.*suspend' resume --force ring
}

@test "suspend fails while a resume is not acknowledged" {
  ring_that_is resume-requested
  fails 1 'ring: .*acknowledged.*resume' suspend ring
  fails 1 'ring: .*acknowledged.*resume' suspend --wait=0.2 ring
  fails 1 'ring: .*acknowledged.*resume' suspend --force ring
}

@test "suspend and resume leave positions and items as they are" {
  local make
  for make in wrapped_ring full_ring; do
    $make
    blkring-img dump --output=json ring >items
    succeeds suspend ring
    succeeds produce ring </dev/null
    succeeds resume ring
    succeeds produce ring </dev/null
    succeeds check ring
    blkring-img dump --output=json ring | cmp - items
  done
}

@test "suspend --wait=SECONDS without a producer: status 4, and it stands" {
  local begin end
  small_ring
  begin=$(milliseconds)
  tool suspend --wait=0.2 ring
  end=$(milliseconds)
  [ "$status" = 4 ]
  [ ! -s out ]
  says 'ring: .*suspend.*0\.2' || report message
  [ $((end - begin)) -ge 200 ] || fail "after $((end - begin)) ms"
  [ $((end - begin)) -lt 5000 ] || fail "after $((end - begin)) ms"
  state_is suspend-requested
  # It was asked for already, so nothing is written now.
  fails 4 'ring: .*suspend.* 0 s' suspend --wait=0 ring
}

@test "resume --wait=SECONDS without a producer: status 4, and it stands" {
  ring_that_is suspended
  tool resume --wait=0.1 ring
  [ "$status" = 4 ]
  [ ! -s out ]
  says 'ring: .*resume.*0\.1' || report message
  state_is resume-requested
}

@test "suspend --wait waits until a producer comes" {
  small_ring
  start suspend --wait ring 2>log
  eventually state_is suspend-requested
  kill -0 "$pid"
  succeeds produce ring </dev/null
  finish
  [ "$status" = 0 ]
  state_is suspended
}

@test "suspend --wait is ended by a signal, the request stands" {
  local signal
  for signal in TERM INT; do
    small_ring
    start suspend --wait ring 2>log
    eventually state_is suspend-requested
    kill -$signal "$pid"
    finish
    [ "$status" != 0 ]
    state_is suspend-requested
  done
}

@test "a producer whose stdin is idle acknowledges suspend and resume" {
  small_ring
  idle_producer
  succeeds suspend --wait=10 ring
  state_is suspended
  succeeds resume --wait=10 ring
  state_is running
  succeeds suspend --wait ring
  state_is suspended
  succeeds resume --wait ring
  state_is running
  echo second >&5
  eventually is items 2
  exec 5>&-
  finish
  [ "$status" = 0 ]
}

@test "an idle producer acknowledges without being waited for" {
  small_ring
  idle_producer
  succeeds suspend ring
  eventually state_is suspended
  succeeds resume ring
  eventually state_is running
}

@test "a producer that waits on a full ring acknowledges" {
  full_ring
  echo more >input
  start produce ring <input
  eventually attached
  succeeds suspend --wait=10 ring
  state_is suspended
  must_be items 17
  succeeds resume --wait=10 ring
  state_is running
  succeeds consume --count=1 --framing=none ring
  finish
  [ "$status" = 0 ]
  must_be items 17
}

@test "nothing is stored while suspended, and all of it after resume" {
  small_ring
  idle_producer
  succeeds suspend --wait=10 ring
  seq 1 100 >&5
  exec 5>&-
  # Room or not, the items stay out: the consumer empties the ring.
  succeeds consume --until-empty ring
  [ "$(cat out)" = 1 ]
  must_be items 0
  state_is suspended
  kill -0 "$producer"
  start consume --count=100 ring >copy
  eventually attached
  must_be items 0
  succeeds resume --wait=10 ring
  finish
  [ "$status" = 0 ]
  finish "$producer"
  [ "$status" = 0 ]
  seq 1 100 | cmp - copy
}

@test "a suspended producer that is stopped has stored nothing more" {
  small_ring
  idle_producer
  succeeds suspend --wait=10 ring
  echo second >&5
  kill -TERM "$producer"
  finish "$producer"
  must_be items 1
  state_is suspended
}

@test "a stream stops at suspend and goes on at resume, nothing is lost" {
  ring_for 16384
  seq -f 'line %06g' 1 5000 >input
  local producer consumer i
  start produce --batch=8 --durability=none ring <input
  producer=$pid
  start consume ring >copy
  consumer=$pid
  for i in 1 2 3; do
    # The producer may be done already.
    tool suspend --wait=10 ring
    gone "$producer" && break
    [ "$status" = 0 ] || report suspend
    state_is suspended
    tool resume --wait=10 ring
    gone "$producer" && break
    [ "$status" = 0 ] || report resume
  done
  blkring-img resume ring || :
  finish "$producer"
  [ "$status" = 0 ]
  eventually lines_are copy 5000
  kill -TERM "$consumer"
  finish "$consumer"
  [ "$status" = 0 ]
  cmp copy input
}

@test "suspend beside a running consumer: its position is kept" {
  small_ring
  idle_producer
  start consume ring >copy
  eventually lines_are copy 1
  eventually is items 0
  succeeds suspend --wait=10 ring
  must_be items 0
  state_is suspended
  succeeds resume --wait=10 ring
  echo second >&5
  eventually lines_are copy 2
  eventually is items 0
  state_is running
  kill -TERM "$pid"
  finish
  [ "$status" = 0 ]
  [ "$(paste -sd ' ' copy)" = '1 second' ]
}

@test "a consumer that goes on taking items does not take suspend back" {
  new_ring 1M
  seq -f 'a line of some length, number %06g' 1 20000 >lines
  succeeds produce ring <lines
  output_pipe
  start consume --until-empty ring >pipe
  read_pipe
  read -r line <&7
  # The pipe is full, and most of the items are still in the ring.
  succeeds suspend ring
  state_is suspend-requested
  { echo "$line"; cat <&7; } | cmp - lines
  finish
  [ "$status" = 0 ]
  state_is suspend-requested
  must_be items 0
}

@test "a consumer that goes on taking items does not take resume back" {
  new_ring 1M
  seq -f 'a line of some length, number %06g' 1 20000 >lines
  succeeds produce ring <lines
  succeeds suspend ring
  succeeds produce ring </dev/null
  state_is suspended
  output_pipe
  start consume --until-empty ring >pipe
  read_pipe
  read -r line <&7
  succeeds resume ring
  { echo "$line"; cat <&7; } | cmp - lines
  finish
  [ "$status" = 0 ]
  state_is resume-requested
}

@test "a suspended ring can be emptied" {
  ring_that_is suspended
  succeeds consume --until-empty --framing=length ring
  cmp out items
  state_is suspended
  must_be items 0
}

@test "--force on a file changes nothing" {
  small_ring
  idle_producer
  succeeds suspend --force --wait=10 ring
  state_is suspended
  succeeds resume -f --wait=10 ring
  state_is running
}

@test "suspend leaves the names of the consumer as they are" {
  small_ring
  store one two
  succeeds consume --count=1 --queue=Q --client=HOLDER ring
  succeeds suspend --queue=other --client=admin ring
  [[ $(field consumer-text) == 'Q used by HOLDER'[\;,]* ]]
}

@test "state prints one word" {
  local state
  for state in suspended suspend-requested resume-requested; do
    ring_that_is $state
    succeeds state ring
    [ "$(cat out)" = $state ]
    must_be suspend $state
  done
  small_ring
  succeeds state ring
  [ "$(cat out)" = running ]
}
