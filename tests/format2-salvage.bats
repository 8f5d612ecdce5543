#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img consume and dump, --salvage: they go on behind what is damaged,
# and tell what they left out.

load helpers
load format2

data=32768

# Eight frames of two items, "1" to "16".
make_ring () {
  new_ring 64K --block-size=512
  seq 1 16 | succeeds produce --batch=2 ring
}

# These were left out, and no more: FROM-TO...
skipped () {
  local lines i=0 range from to
  mapfile -t lines <"${err-err}"
  [ ${#lines[@]} = $# ] || report "not $# gaps"
  for range; do
    from=${range%-*}
    to=${range#*-}
    range="skipped $((to - from)) bytes, from position $from to $to: "
    [[ ${lines[i]} == "blkring-img: ring: $range"* ]] ||
      report "gap $i is not this: $range"
    i=$((i + 1))
  done
}

# Status 2, these lines, and these gaps: salvages ARGUMENTS -- LINE... -- GAP...
salvages () {
  local arguments=() wanted=()
  while [ "$1" != -- ]; do arguments+=("$1"); shift; done
  shift
  while [ "$1" != -- ]; do wanted+=("$1"); shift; done
  shift
  tool "${arguments[@]}" --salvage ring
  [ "$status" = 2 ] || report "status is not 2: ${arguments[*]}"
  [ "$(paste -sd ' ' out)" = "${wanted[*]}" ] || report "items"
  skipped "$@"
}

@test "without --salvage: status 1 in front of the damage, both subcommands" {
  make_ring
  flip $((data + 512 + 70))
  tool dump --output=json ring
  [ "$status" = 1 ]
  [ "$(jq -r '.data | @base64d' out | paste -sd ' ')" = '1 2' ]
  says 'ring: corrupt: .*position 512 .*byte 33280' || report message
  tool consume --until-empty ring
  [ "$status" = 1 ]
  [ "$(paste -sd ' ' out)" = '1 2' ]
  says 'ring: corrupt: .*position 512 .*byte 33280' || report message
  must_still_be_damaged
}

# Info walks what is unread.
must_still_be_damaged () {
  fails 1 'ring: corrupt' info ring
}

@test "consume --salvage goes on behind a damaged frame, status 2" {
  make_ring
  flip $((data + 512 + 70))
  salvages consume --until-empty -- 1 2 5 6 7 8 9 10 11 12 13 14 15 16 -- \
    512-1024
  # It is over: what is left is whole.
  succeeds check ring
  must_be items 0 used 0
  store next
  succeeds consume --until-empty ring
  [ "$(cat out)" = next ]
}

@test "consume --salvage: whatever of a frame is damaged" {
  local at
  make_ring
  cp ring good
  for at in 0 4 8 16 24 28 32 48 60 64 68; do
    cp good ring
    flip $((data + 1024 + at))
    salvages consume --until-empty -- 1 2 3 4 7 8 9 10 11 12 13 14 15 16 -- \
      1024-1536
  done
}

@test "consume --salvage: the first frame, two in a row, and one on its own" {
  local at
  make_ring
  for at in 0 1536 2048 3072; do
    flip $((data + at))
  done
  salvages consume --until-empty -- 3 4 5 6 11 12 15 16 -- 0-512 1536-2560 \
    3072-3584
  succeeds check ring
}

@test "consume --salvage: the last frame" {
  make_ring
  flip $((data + 3584))
  salvages consume --until-empty -- 1 2 3 4 5 6 7 8 9 10 11 12 13 14 -- \
    3584-4096
  store next
  salvages consume --until-empty -- next -- 3584-4096
  succeeds check ring
}

@test "consume --salvage: nothing but damage" {
  local at
  make_ring
  for ((at = 0; at < 4096; at += 512)); do
    flip $((data + at))
  done
  salvages consume --until-empty -- -- 0-4096
  store next
  salvages consume --until-empty -- next -- 0-4096
  succeeds consume --until-empty ring
}

@test "consume --salvage: a large frame is lost as a whole" {
  new_ring 64K --block-size=512
  store before
  letters 5000 300 | succeeds produce --framing=length ring
  store behind
  # Its last block.
  flip $((data + 512 + 5300))
  salvages consume --until-empty -- before behind -- 512-6144
}

@test "consume --salvage: around the end of the data area" {
  local from to
  wrapped_ring
  from=$(field consumer)
  to=$(field producer)
  store behind
  # What lies at the start of the data area is of the frame before the end.
  [ "$from" -lt 8704 ] && [ "$to" -gt 9000 ]
  flip $((data + 100))
  salvages consume --until-empty -- behind -- "$from-$to"
}

@test "consume --salvage of what is whole: status 0, no message" {
  make_ring
  succeeds consume --salvage --count=3 ring
  [ "$(paste -sd ' ' out)" = '1 2 3' ]
  succeeds consume --salvage --until-empty ring
  [ "$(wc -l <out)" = 13 ]
}

@test "consume --salvage --count ends in front of the damage, status 0" {
  make_ring
  flip $((data + 1024))
  succeeds consume --salvage --count=4 ring
  [ "$(paste -sd ' ' out)" = '1 2 3 4' ]
  salvages consume --count=1 -- 7 -- 1024-1536
}

@test "consume --salvage goes on for ever, and tells of the gap at once" {
  make_ring
  flip $((data + 1024))
  start consume --salvage ring >copy 2>log
  eventually lines_are copy 14
  err=log skipped 1024-1536
  store next
  eventually lines_are copy 15
  kill -TERM "$pid"
  finish
  [ "$status" = 2 ]
  err=log skipped 1024-1536
}

@test "consume --salvage into a file, and as JSON" {
  make_ring
  flip $((data + 512))
  cp ring again
  status=0
  blkring-img consume --salvage --until-empty ring >copy 2>err || status=$?
  [ "$status" = 2 ]
  [ "$(head -n 4 copy | paste -sd ' ')" = '1 2 5 6' ]
  skipped 512-1024
  mv again ring
  tool consume --salvage --until-empty --output=json ring
  [ "$status" = 2 ]
  [ "$(jq -c '[.position, ."next-position"]' out | head -n 3 |
    paste -sd ' ')" = '[0,72] [72,512] [1024,1096]' ]
  skipped 512-1024
}

@test "dump --salvage shows what is behind, and leaves it" {
  local before
  make_ring
  flip $((data + 512))
  before=$(whole)
  tool dump --salvage --output=raw ring
  [ "$status" = 2 ]
  [ "$(cat out)" = 125678910111213141516 ]
  skipped 512-1024
  tool dump --salvage ring
  [ "$status" = 2 ]
  [ "$(grep -c '^position ' out)" = 14 ]
  skipped 512-1024
  tool dump --salvage --output=json ring
  [ "$status" = 2 ]
  [ "$(jq .position out | paste -sd ' ')" = "0 72 $(
    seq 1024 512 3584 | awk '{ print $1, $1 + 72 }' | paste -sd ' ')" ]
  succeeds dump --salvage --count=2 ring
  tool dump --salvage --from=1024 --count=1 ring
  [ "$status" = 0 ] || [ "$status" = 2 ]
  grep -qx 'position 1024, 1 byte: 5' out
  [ "$(whole)" = "$before" ]
}

@test "each consumer salvages for itself" {
  new_ring 64K --block-size=512 --consumers=2
  local k
  seq 1 6 | succeeds produce --batch=2 ring
  flip $(($(data_offset) + 512))
  for k in 0 1; do
    salvages consume --consumer=$k --until-empty -- 1 2 5 6 -- 512-1024
  done
  succeeds check ring
}

@test "a producer goes on behind damage that it does not see" {
  make_ring
  flip $((data + 512))
  store next
  must_still_be_damaged
  salvages consume --until-empty -- 1 2 5 6 7 8 9 10 11 12 13 14 15 16 next \
    -- 512-1024
}

@test "--salvage of a ring of format 1 is refused" {
  blkring-img create -q --format=1 ring 10K
  store one
  fails 1 'ring: .*format 1 cannot be salvaged' consume --salvage ring
  fails 1 'ring: .*format 1 cannot be salvaged' dump --salvage ring
}

@test "--salvage does not help where the records or superblocks are lost" {
  make_ring
  flip 8200
  flip 12300
  fails 1 "ring: corrupt: both copies of the producer's record" \
    consume --salvage --until-empty ring
  fails 1 "ring: corrupt: both copies of the producer's record" \
    dump --salvage ring
}
