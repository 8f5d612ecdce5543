#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img produce and consume side by side: what goes in comes out.

load helpers

# Through a ring with $1 bytes for items, and sectors or blocks of $2, goes the
# stream "input", of $3 items.
round_trip () {
  local producer
  rm -f ring
  if [ $format = 1 ]; then
    new_ring $(($1 + 3 * $2)) --sector-size="$2"
  else
    new_ring $(($1 + 32768)) --block-size="$2"
  fi
  start produce --framing=length ring <input
  producer=$pid
  start consume --framing=length --count="$3" ring >output
  finish
  [ "$status" = 0 ]
  finish "$producer"
  [ "$status" = 0 ]
  cmp input output
  must_be items 0
  succeeds check ring
}

@test "random items go through a small ring byte for byte" {
  random_items 400 3000 >input
  round_trip 65536 512 400
  round_trip 65536 4096 400
}

@test "random items go through the smallest rings" {
  local around=$((format == 1 ? 4 : 68))
  random_items 25 $((512 - around)) >input
  round_trip 512 512 25
  random_items 25 $((4096 - around)) >input
  round_trip 4096 4096 25
}

@test "small items go through the smallest ring, and empty ones" {
  random_items 1000 5 >input
  round_trip 512 512 1000
}

@test "info, check, map and dump beside a running stream find no fault" {
  local producer consumer i
  ring_for 16384
  # More than can pass while this looks on.
  start produce ring < <(exec seq -f 'line %07g' 1 9999999 3>&-)
  producer=$pid
  start consume ring >copy
  consumer=$pid
  for i in 1 2 3; do
    succeeds info ring
    succeeds check ring
    succeeds map ring
    succeeds dump --output=json ring
    jq -e '.data | @base64d | test ("^line [0-9]{7}$")' out >/dev/null ||
      [ ! -s out ]
    succeeds state ring
  done
  kill -TERM "$producer"
  finish "$producer"
  kill -TERM "$consumer"
  finish "$consumer"
  [ "$status" = 0 ]
  succeeds consume --until-empty ring
  cat copy out >all
  seq -f 'line %07g' 1 "$(wc -l <all)" | cmp - all
}

@test "a pipeline from ring to ring" {
  new_ring 64K
  cp ring second
  random_items 200 3000 >input
  start produce --framing=length ring <input
  start consume --count=200 --framing=length second >output
  local last=$pid
  start consume --count=200 --framing=length ring \
    > >(exec blkring-img produce --framing=length second 3>&- 5>&-)
  finish
  [ "$status" = 0 ]
  finish "$last"
  [ "$status" = 0 ]
  cmp input output
}
