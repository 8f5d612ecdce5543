#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img erase.

load helpers

@test "erase overwrites the whole device with zeros" {
  local make size
  for make in small_ring 'ring_of 1 2 3' 'ring_that_is suspended'; do
    $make
    size=$(stat -c %s ring)
    succeeds erase ring
    [ ! -s out ]
    [ "$(stat -c %s ring)" = "$size" ]
    cmp -n "$size" ring /dev/zero
    fails 63 'ring: there is no ring' check ring
  done
  succeeds create ring
}

@test "erase overwrites a ring that is damaged" {
  ring_of 1 2 3
  spoil_producer
  succeeds erase ring
  cmp -n "$(stat -c %s ring)" ring /dev/zero
}

@test "erase --pattern writes the text again and again" {
  local pattern
  for pattern in x 'no ring' "$(seq 1 400)"; do
    ring_of 1 2 3
    succeeds erase --pattern="$pattern" ring
    PATTERN=$pattern perl -e 'print substr ($ENV{PATTERN} x $ARGV[0], 0,
      $ARGV[0])' "$(stat -c %s ring)" | cmp - ring
  done
}

@test "erase: where there is no ring only with --force" {
  head -c 10240 /dev/urandom >ring
  fails 1 'ring: there is no ring.*--force' erase ring
  fails 1 'ring: there is no ring.*--force' erase -p ring
  succeeds erase -f ring
  cmp -n 10240 ring /dev/zero
  succeeds erase --force --pattern=ab ring
  [ "$(tail -c 4 ring)" = abab ]
}

@test "erase fails while a producer is attached" {
  ring_of 1 2 3
  input_pipe
  start produce ring <input
  eventually attached
  fails 1 'ring: .*producer' erase ring
  fails 1 'ring: .*producer' erase --force ring
  exec 5>&-
  finish
  succeeds erase ring
}

@test "erase fails while a consumer is attached" {
  small_ring
  start consume ring >copy
  eventually attached
  fails 1 'ring: .*consumer' erase ring
  fails 1 'ring: .*consumer' erase --force ring
}

@test "erase -p shows the progress on stderr" {
  ring_of 1 2 3
  tool erase -p ring
  [ "$status" = 0 ]
  grep -q 100 err
  [ ! -s out ]
}
