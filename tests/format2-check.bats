#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img check of a ring of format 2: what it finds, what it repairs, and
# what it leaves alone.

load helpers
load format2

# Four frames of two items, all exposed; the ring is also in the file good.
make_ring () {
  new_ring 64K --block-size=512 --consumers=2
  data=$(data_offset)
  seq 1 8 | succeeds produce --batch=2 ring
  succeeds consume --count=1 ring
  cp ring good
}

# The CRC of the header at byte $1, for printf.
crc_of () {
  od -An -to1 -j $(($1 + 60)) -N 4 ring | sed 's/ /\\/g'
}

# What pushes without an advance leave: the frames from position $1 on are
# staged, and published ends there.
leak () {
  local at
  for ((at = data + $1; at < data + 2048; at += 512)); do
    poke ring $((at + 24)) "$(crc_of $((at - 512)))"
    stage $at
  done
  forge 0 12 "$(crc_of $((data + $1 - 512)))" \
    32 "$(printf '\\%o\\%o' $(($1 & 255)) $(($1 >> 8)))"
}

# check finds this alone: STATUS KIND OFFSET WORDS
finds () {
  local before
  before=$(whole)
  tool check ring
  [ "$status" = "$1" ] || report "status is not $1"
  [ ! -s err ] || report "a message"
  grep -qE "^ring: (leak: )?offset $3: .*$4" out || report "no $3, $4"
  tool check --output=json ring
  [ "$status" = "$1" ] || report "status is not $1"
  jq -e --arg kind "$2" --arg words "$4" --argjson offset "$3" '
    (.findings | length) == 1 and (.findings[0] | .kind == $kind
      and .offset == $offset and (.message | test ($words)))
    and .corruptions == (if $kind == "leak" then 0 else 1 end)
    and .leaks == (if $kind == "leak" then 1 else 0 end)
    and (has ("repairs") | not)' out || report JSON
  [ "$(whole)" = "$before" ] || fail "check has written"
}

# A repair says this, and that nothing is wrong any more; nothing is.
repairs () {
  local what=$1 offset=$2 words=$3
  cp ring damaged
  succeeds check --repair="$what" ring
  lines_are out 2
  grep -qE "^ring: repaired: offset $offset: .*$words" out || report "$words"
  grep -qx 'ring: no errors were found' out
  succeeds check ring
  cp ring repaired
  cp damaged ring
  succeeds check -r "$what" --output=json ring
  jq -e --arg words "$words" --argjson offset "$offset" '
    .corruptions == 0 and .leaks == 0 and .findings == []
    and (.repairs | length) == 1 and .repairs[0].offset == $offset
    and (.repairs[0].message | test ($words))' out || report JSON
}

@test "check: a damaged copy of a record, and its repair" {
  local kind copy at whose
  make_ring
  for kind in 0 1 2 3; do
    case $kind in
      0) whose="the producer's" ;;
      1) whose="the control" ;;
      *) whose="consumer $((kind - 2))'s" ;;
    esac
    for copy in 0 1; do
      cp good ring
      at=$(($(record $kind) + 4096 * copy))
      flip $((at + 33))
      finds 2 corruption $at "$whose record"
      # That is no leak.
      tool check --repair=leaks ring
      [ "$status" = 2 ]
      ! grep -q repaired out || report "repaired"
      repairs all $at "$whose record"
      holds 2 3 4 5 6 7 8
    done
  done
}

@test "check: a damaged superblock or copy of it, and its repair" {
  local at
  make_ring
  for at in 0 4096; do
    cp good ring
    # In the uuid: nothing of the ring would pass with it.
    flip $((at + 70))
    finds 2 corruption $at superblock
    tool check --repair=leaks ring
    [ "$status" = 2 ]
    repairs all $at superblock
    cmp ring good
  done
}

@test "check: all that has a copy is repaired at once" {
  local kind
  make_ring
  flip 0
  for kind in 0 1 2 3; do
    flip "$(record $kind)"
  done
  tool check --output=json ring
  [ "$status" = 2 ]
  [ "$(jq -c '[.findings[].offset]' out)" = '[0,8192,16384,24576,32768]' ]
  succeeds check --output=json --repair=all ring
  [ "$(jq -c '[.repairs[].offset]' out)" = '[0,8192,16384,24576,32768]' ]
  succeeds check ring
  holds 2 3 4 5 6 7 8
}

@test "check: what has no good copy is not repaired, and not written to" {
  local kind before
  make_ring
  for kind in 0 1 2 3; do
    cp good ring
    flip $(($(record $kind) + 40))
    flip $(($(record $kind) + 4096 + 40))
    finds 2 corruption "$(record $kind)" 'both copies'
    before=$(whole)
    tool check --repair=all ring
    [ "$status" = 2 ] || report "status"
    grep -q 'both copies' out
    grep -qx 'ring: 1 error was found' out
    [ "$(whole)" = "$before" ]
  done
  cp good ring
  flip 70
  flip 4166
  finds 2 corruption 0 'both damaged'
  before=$(whole)
  tool check --repair=all --output=json ring
  [ "$status" = 2 ]
  jq -e '.repairs == [] and .corruptions == 1' out
  [ "$(whole)" = "$before" ]
}

@test "check: repair makes good what it can beside what it cannot" {
  make_ring
  flip $((data + 512 + 70))
  flip 8200
  tool check --repair=all ring
  [ "$status" = 2 ]
  grep -q '^ring: repaired: offset 8192: ' out
  grep -q "^ring: offset $((data + 512)): " out
  grep -qx 'ring: 1 error was found' out
  finds 2 corruption $((data + 512)) 'position 512'
}

@test "check: a damaged frame, header or items, is found and not repaired" {
  local at before
  needs_python
  make_ring
  # Magic, flags, position, epoch, chain, items, length, CRCs, an item.
  for at in 0 4 8 16 24 28 32 48 60 64 68; do
    cp good ring
    flip $((data + 1024 + at))
    finds 2 corruption $((data + 1024)) 'position 1024'
  done
  before=$(whole)
  tool check --repair=all ring
  [ "$status" = 2 ]
  ! grep -q repaired out || report repaired
  [ "$(whole)" = "$before" ]
  # With a CRC that is right: the last item begins beyond the area.
  cp good ring
  poke ring $((data + 1024 + 64)) '\300'
  seal_area $((data + 1024))
  tool check ring
  [ "$status" = 2 ]
}

# A frame is what its header says, once more.
seal_area () {
  python3 -B -S - "$1" <<'EOF'
import os, sys
sys.path.insert(0, os.path.join(os.environ["abs_top_srcdir"], "tests"))
from format2_decode import crc32c
at = int(sys.argv[1])
with open("ring", "r+b") as f:
    f.seek(64)
    uuid = f.read(16)
    f.seek(at)
    frame = f.read(512)
    area = frame[64:64 + int.from_bytes(frame[32:40], "little")]
    header = frame[:48] + crc32c(uuid, area).to_bytes(4, "little") \
        + frame[52:60]
    f.seek(at)
    f.write(header + crc32c(uuid, header).to_bytes(4, "little"))
EOF
}

@test "check: positions that cannot be, with a CRC that is right" {
  local line
  needs_python
  make_ring
  # Kind, field, bytes, words: of the producer, behind 2^63, no block, behind
  # its beginning; of consumer 1, ahead, no item, another frame.
  while read -r line; do
    cp good ring
    # shellcheck disable=SC2086
    set -- $line
    forge "$1" "$2" "$3"
    tool check ring
    [ "$status" = 2 ] || report "$line"
    [ ! -s err ] || report "$line"
    grep -qE "^ring: offset [0-9]+: corrupt: .*$4" out || report "$line"
    tool info ring
    [ "$status" = 1 ] || report "info: $line"
  done <<'END'
0 32 \0\10\0\0\0\0\0\200 [0-9]
0 32 \1\10 2049
0 56 \0\20 4096
3 40 \1 1
3 32 \2 2
3 32 \0\0\0\0\1 4294967296
3 40 \0\0\0\1 16777216
END
}

@test "check: what was pushed and never exposed is a leak, and is dropped" {
  needs_python
  local from
  make_ring
  for from in 1536 512; do
    cp good ring
    leak $from
    must_be producer $from staged $((2048 - from))
    finds 3 leak $((data + from)) "$((2048 - from)) bytes .*position $from"
    repairs leaks $((data + from)) "$((2048 - from)) bytes .*position $from"
    cp damaged ring
    repairs all $((data + from)) "$((2048 - from)) bytes .*position $from"
    must_be staged 0 producer $from used $from
    store next
    succeeds dump --output=raw ring
    [ "$(cat out)" = "$(seq -s '' 2 $((from / 256)))next" ]
    succeeds check ring
  done
}

@test "check: leaks beside an error, status 2, and both are told" {
  needs_python
  make_ring
  leak 1536
  flip 8200
  tool check --output=json ring
  [ "$status" = 2 ]
  jq -e '.corruptions == 1 and .leaks == 1 and (.findings | length) == 2' out
  # The leak can go alone.
  tool check --repair=leaks ring
  [ "$status" = 2 ]
  grep -q "^ring: repaired: offset $((data + 1536)): " out
  cp good ring
  leak 1536
  flip 8200
  succeeds check --repair=all ring
  [ "$(grep -c '^ring: repaired: ' out)" = 2 ]
}

@test "check: a producer that died or took its leave may leave leaks" {
  needs_python
  make_ring
  leak 1536
  # Not clean: what a crash leaves.  The owner that make_ring had is dead.
  forge 0 8 '\0'
  is staged 512
  [ "$(blkring-img info --output=json ring | jq -r '."producer-owner".owner')" \
    = dead ]
  finds 3 leak $((data + 1536)) '512 bytes'
  repairs leaks $((data + 1536)) '512 bytes'
}

@test "check: what a producer on another host has staged is no leak" {
  needs_python
  make_ring
  leak 1536
  move_elsewhere 0
  succeeds check ring
  grep -qx 'ring: no errors were found' out
}

@test "check --repair is refused while somebody on another host may be there" {
  needs_python
  local kind who
  make_ring
  flip 4106
  leak 1536
  cp ring leaking
  for kind in 0 2 3; do
    who=producer
    [ $kind = 0 ] || who=consumer
    cp leaking ring
    move_elsewhere $kind
    fails 1 "ring: .*$who .*their-q used by their-c.*far-away" \
      check --repair=leaks ring
    fails 1 "ring: .*$who .*their-q used by their-c.*far-away" \
      check --repair=all ring
  done
  # Who knows better takes its place first.
  succeeds consume --takeover --consumer=1 --count=0 ring
  succeeds check --repair=all ring
  [ "$(grep -c '^ring: repaired: ' out)" = 2 ]
}

@test "check --repair after a crash on this host needs nothing more" {
  new_ring 64K
  idle_producer
  kill -KILL "$pid"
  finish
  flip 8200
  succeeds check --repair=all ring
  grep -q '^ring: repaired: offset 8192: ' out
  succeeds check ring
}

@test "check --repair of a ring that cannot be written is refused" {
  local before
  needs_python
  make_ring
  flip 8200
  # A feature that is not known, and so forbids to write.
  poke ring 16 '\1'
  poke ring 4112 '\1'
  seal ring 508 0 4096
  tool check ring
  [ "$status" = 2 ]
  fails 1 'ring: .*features.*write' check --repair=all ring
}
