#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img produce: what cannot be stored is an error, and what was stored
# before is told.

load helpers

# An empty ring, the smallest, and an item that is a byte too large for it.
largest_and_more () {
  smallest_ring
  largest=$(field largest-item)
  more=$((largest + 1))
  letters $more | tail -c +5 >large
}

@test "produce: the largest item fits, one byte more is refused" {
  largest_and_more
  fails 1 "ring: .*$more.*$largest" produce --framing=file ring <large
  fails 1 "ring: .*line 1 .*$more.*$largest.* 0 items" produce ring <large
  truncate -s "$largest" large
  succeeds produce --framing=file ring <large
  succeeds dump --output=raw ring
  cmp out large
  must_be free 0
  smallest_ring
  succeeds produce ring <large
  must_be largest-unread "$largest"
}

@test "produce: too large a line in the middle is named, those before stored" {
  largest_and_more
  { printf 'one\ntwo\n'; cat large; printf '\nfour\n'; } >input
  tool produce ring <input
  [ "$status" = 1 ]
  [ ! -s out ]
  says "ring: .*line 3 .*$more.*$largest.* 2 items" || report message
  holds one two
}

@test "produce: too large an item is named in every framing" {
  largest_and_more
  { printf 'one\0'; cat large; printf '\0three\0'; } >input
  tool produce --framing=null ring <input
  [ "$status" = 1 ]
  says "ring: .*2 .*$more.*$largest.* 1 items" || report message
  holds one
  smallest_ring
  letters 3 $more 5 >input
  tool produce --framing=length ring <input
  [ "$status" = 1 ]
  says "ring: .*2 .*$more.*$largest.* 1 items" || report message
  holds AAA
  smallest_ring
  echo three >small
  tool produce --framing=file ring small large small
  [ "$status" = 1 ]
  says "ring: .*large.*$more.*$largest.* 1 items" || report message
  holds $'three\n'
}

@test "produce: too large a line of a later file is named with the file" {
  largest_and_more
  seq 1 3 >a
  { seq 4 5; cat large; } >b
  tool produce ring a b
  [ "$status" = 1 ]
  says "ring: .*\<b\>.*line 3 .*$more.*$largest.* 5 items" || report message
  holds 1 2 3 4 5
}

@test "produce: a large line is refused though its end never comes" {
  smallest_ring
  input_pipe
  start produce ring <input 2>log
  head -c 40000 /dev/zero >&5
  finish
  [ "$status" = 1 ]
  says "ring: .*line 1 .*$(field largest-item)" log || fail "$(cat log)"
}

@test "produce --framing=length: an impossible length is refused at once" {
  smallest_ring
  input_pipe
  start produce --framing=length ring <input 2>log
  printf '\377\377\377\377' >&5
  finish
  [ "$status" = 1 ]
  says "ring: .*4294967295.*$(field largest-item)" log || fail "$(cat log)"
  must_be items 0
}

@test "produce --framing=length: a truncated input, the items before stored" {
  small_ring
  local rest
  for rest in '\4' '\4\0\0' '\4\0\0\0' '\4\0\0\0abc'; do
    small_ring
    # shellcheck disable=SC2059
    { frame one two; printf "$rest"; } >input
    tool produce --framing=length ring <input
    [ "$status" = 1 ]
    [ ! -s out ]
    says 'ring: .*\<3\>.* 2 items' || report "message: $rest"
    holds one two
  done
}

@test "produce: a file that cannot be read, the items before stored" {
  small_ring
  echo a >a
  tool produce ring a missing a
  [ "$status" = 1 ]
  [ ! -s out ]
  says 'ring: missing: .*No such file or directory.* 1 items' ||
    report message
  holds a
  mkdir directory
  tool produce ring directory
  [ "$status" = 1 ]
  says 'ring: directory: .*directory.* 0 items' || report message
  holds a
}

@test "produce --no-wait: status 3 when full, and nothing is written" {
  full_ring
  echo a >input
  fails 3 'ring: .*full.* 0 items' produce --no-wait ring <input
  : >input
  succeeds produce --no-wait ring <input
}

@test "produce --no-wait: what fits is stored, and the message counts it" {
  smallest_ring
  seq 1000 1999 >input
  tool produce --no-wait --batch=10 ring <input
  [ "$status" = 3 ]
  says 'ring: .*full: ([0-9]+) items' || report message
  local n
  n=$(field items)
  [ "$n" -gt 0 ]
  says "ring: .*full: $n items" || report "$n items"
  succeeds consume --until-empty ring
  head -n "$n" input | cmp - out
}

@test "produce --no-wait: status 0 where there is room" {
  small_ring
  printf 'a\nb\n' | succeeds produce --no-wait ring
  holds a b
}

@test "produce --no-wait: status 3 when suspended" {
  ring_that_is suspended
  echo a >input
  fails 3 'ring: .*suspended.* 0 items' produce --no-wait ring <input
  ring_that_is suspend-requested
  tool produce --no-wait ring <input
  [ "$status" = 3 ]
  says 'ring: .*suspended.* 0 items' || report message
  must_be items 2
  state_is suspended
}

@test "a second producer is refused, with the text of the first" {
  small_ring
  input_pipe
  start produce --queue=jobs --client=first ring <input
  echo a >&5
  eventually is items 1
  fails 1 'ring: .*producer.*jobs used by first' produce ring </dev/null
  # It has to go away.
  exec 5>&-
  finish
  [ "$status" = 0 ]
  succeeds produce ring </dev/null
}
