#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img produce: how it waits for its input and for the ring, and how it
# ends when it is stopped.

load helpers

@test "produce: the lines of a slow writer are stored at once" {
  small_ring
  input_pipe
  start produce ring <input
  local i
  for i in 1 2 3; do
    printf 'line %s\n' $i >&5
    eventually is items $i
  done
  # It is not waiting for the end of a line that it has no end of.
  printf 'a\nb\nc\nrest' >&5
  eventually is items 6
  exec 5>&-
  finish
  [ "$status" = 0 ]
  holds 'line 1' 'line 2' 'line 3' a b c rest
}

@test "produce waits while the ring is full until a consumer frees" {
  full_ring
  local at
  at=$(field producer)
  echo more >input
  start produce --wait ring <input 2>log
  eventually attached
  must_be items 17
  succeeds consume --count=1 --framing=none ring
  finish
  [ "$status" = 0 ]
  [ ! -s log ]
  must_be items 17
  succeeds dump --from="$at" --output=raw ring
  [ "$(cat out)" = more ]
}

@test "produce waits while suspended until resume" {
  ring_that_is suspended
  echo more >input
  start produce ring <input
  eventually attached
  state_is suspended
  must_be items 2
  succeeds resume --wait=20 ring
  finish
  [ "$status" = 0 ]
  must_be items 3
  state_is running
}

@test "produce: on a signal it stores the whole items that it read, status 0" {
  local signal
  for signal in TERM INT; do
    rm -f input
    small_ring
    input_pipe
    start produce ring <input >copy 2>log
    printf 'a\nb\n' >&5
    eventually is items 2
    kill -$signal "$pid"
    finish
    [ "$status" = 0 ] || fail "status after $signal"
    [ ! -s copy ]
    [ ! -s log ] || fail "message after $signal"
    holds a b
    exec 5>&-
  done
}

@test "produce: on a signal with a part of an item read, status 1" {
  small_ring
  input_pipe
  start produce ring <input >copy 2>log
  # In one write, which it reads at once.
  printf 'a\nb\npart' >whole
  cat whole >&5
  eventually is items 2
  kill -TERM "$pid"
  finish
  [ "$status" = 1 ] || fail "status $status"
  [ ! -s copy ]
  says 'ring: .*2 items' log || fail "$(cat log)"
  holds a b
}

@test "produce: a signal while it waits, full or suspended: status 1" {
  local make
  echo more >input
  for make in full_ring 'ring_that_is suspended'; do
    $make
    contents >before
    start produce ring <input >copy 2>log
    eventually attached
    # It has taken its input, and waits for the ring.
    eventually waits_with_input_read
    kill -TERM "$pid"
    finish
    [ "$status" = 1 ] || fail "status $status"
    says 'ring: .*0 items' log || fail "$(cat log)"
    contents | cmp - before
  done
}

# The file offset of its stdin is not 0 any more.
waits_with_input_read () {
  grep -q '^pos:.*[1-9]' "/proc/$pid/fdinfo/0"
}

@test "produce: after SIGKILL the ring is whole and free for another" {
  new_ring 1M
  input_pipe
  start produce ring <input
  seq 1 3000 >&5
  eventually is items 3000
  kill -KILL "$pid"
  finish || :
  succeeds check ring
  echo next | succeeds produce ring
  { seq 1 3000; echo next; } >wanted
  succeeds consume --until-empty ring
  cmp out wanted
}

@test "produce: a pipe as a later FILE delays nothing that came before" {
  new_ring 64K
  mkfifo later
  printf 'one\ntwo\n' >first
  start produce ring first later
  eventually has_items 2
  # It looks at the ring while it waits for a writer of the pipe.
  succeeds suspend --wait=20 ring
  succeeds resume --wait=20 ring
  echo three >later
  finish "$pid"
  [ "$status" = 0 ]
  succeeds consume --until-empty ring
  [ "$(cat out)" = $'one\ntwo\nthree' ]
}

@test "produce: a failure tells how many items were stored" {
  new_ring 64K
  input_pipe
  start produce ring <input 2>said
  echo one >&5
  eventually has_items 1
  spoil_consumer
  echo two >&5
  finish "$pid"
  [ "$status" = 1 ]
  grep -Eq 'corrupt: .*: [12] items were stored' said
}
