#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img consume: what it could not write stays in the ring.

load helpers

# A pipe that nobody reads any more, on fd 6.
closed_pipe () {
  mkfifo closed
  exec 5<>closed 6>closed 5>&-
}

@test "consume: a closed pipe is an error, and nothing is taken" {
  ring_of 5 5 0 30
  closed_pipe
  before=$(picture)
  local options
  for options in --framing=line --framing=length --output=json; do
    status=0
    timeout 20 env --default-signal=PIPE blkring-img consume --until-empty \
      $options ring 2>err >&6 || status=$?
    [ "$status" = 1 ] || fail "status $status"
    says 'ring: .*Broken pipe' || fail "$(cat err)"
    [ "$(picture)" = "$before" ]
  done
}

@test "consume: a reader that closes keeps what it did not get" {
  small_ring
  output_pipe
  start consume ring >pipe 2>log
  read_pipe
  store first
  read -r line <&7
  [ "$line" = first ]
  eventually is items 0
  exec 7<&-
  store second
  finish
  [ "$status" = 1 ]
  says 'ring: .*Broken pipe' log || fail "$(cat log)"
  holds second
}

@test "consume: of a large stream to a reader that closes nothing is lost" {
  new_ring 1M
  seq -f 'a line of some length, number %06g' 1 20000 >input
  succeeds produce ring <input
  output_pipe
  start consume ring >pipe 2>log
  read_pipe
  head -n 5000 <&7 >got
  exec 7<&-
  finish
  [ "$status" = 1 ]
  # Nothing was taken that did not get into the pipe, where up to 64 KiB
  # (and what head read) are beyond what anybody got.
  succeeds consume --until-empty ring
  local n
  n=$(wc -l <out)
  [ "$n" -ge $((20000 - 5000 - 2 * 65536 / 36)) ]
  tail -n "$n" input | cmp - out
}

@test "consume: a full disk is an error, and nothing is taken" {
  [ -w /dev/full ] || skip "no /dev/full"
  ring_of 5 5 0 30
  before=$(picture)
  local options
  for options in --framing=line --framing=length --output=json; do
    status=0
    timeout 20 blkring-img consume --until-empty $options ring \
      >/dev/full 2>err || status=$?
    [ "$status" = 1 ]
    says 'ring: .*No space left on device' || fail "$(cat err)"
    [ "$(picture)" = "$before" ]
  done
}

@test "consume: a closed stdout is an error, and nothing is taken" {
  ring_of 5 5 0 30
  before=$(picture)
  status=0
  timeout 20 blkring-img consume --until-empty ring 2>err >&- || status=$?
  [ "$(picture)" = "$before" ]
  [ "$status" = 1 ]
  says 'ring: ' || fail "$(cat err)"
}

@test "a closed stdin, stdout or stderr is not mistaken for the ring" {
  ring_of 5 5 0 30
  before=$(picture)
  timeout 20 blkring-img produce --framing=length ring <&- >out 2>err || :
  [ "$(picture)" = "$before" ]
  timeout 20 blkring-img produce ring missing 2>&- || :
  [ "$(picture)" = "$before" ]
  timeout 20 blkring-img create new 64K >&- 2>err || :
  succeeds check new
}

@test "consume: on a signal in a stream nothing is lost and nothing twice" {
  local signal
  seq -f 'a line of some length, number %06g' 1 20000 >input
  for signal in TERM INT; do
    rm -f ring pipe
    new_ring 1M
    succeeds produce ring <input
    output_pipe
    start consume ring >pipe 2>log
    read_pipe
    # The pipe is full soon, so the signal comes in the midst of a write.
    { read -r line; echo "$line"; kill -$signal "$pid"; cat; } <&7 >got
    finish
    [ "$status" = 0 ] || fail "status $status after $signal"
    [ ! -s log ] || fail "$(cat log)"
    succeeds check ring
    succeeds consume --until-empty ring
    cat got out | cmp - input
    exec 7<&-
  done
}

@test "consume: on a signal while it waits, status 0" {
  local signal
  for signal in TERM INT; do
    small_ring
    start consume ring >copy 2>log
    store a
    eventually lines_are copy 1
    eventually is items 0
    kill -$signal "$pid"
    finish
    [ "$status" = 0 ]
    [ ! -s log ]
  done
}

@test "consume: after SIGKILL nothing is lost" {
  new_ring 1M
  seq -f 'a line of some length, number %06g' 1 20000 >input
  succeeds produce ring <input
  output_pipe
  start consume ring >pipe
  read_pipe
  { read -r line; echo "$line"; kill -KILL "$pid"; cat; } <&7 >got
  finish
  succeeds check ring
  succeeds consume --until-empty ring
  # The end of what was got may be delivered again, or be cut.
  grep -xFf input got >whole || :
  sort -u whole out | cmp - input
}

@test "consume: a corrupt item behind good ones stops it in front of that" {
  local at
  ring_of "${six_items[@]}"
  read -ra at <<<"$(positions)"
  spoil_item "${at[2]}"
  tool consume --until-empty --framing=length ring
  [ "$status" = 1 ]
  says "ring: corrupt: .*\<${at[2]}\>.*byte" || report message
  letters 0 1 | cmp - out
  fails 1 "ring: corrupt: .*\<${at[2]}\>.*byte" consume --until-empty ring
}
