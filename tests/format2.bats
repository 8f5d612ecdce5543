#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Format 2 as docs/format2.md describes it: what a decoder that was written
# from that page alone reads is what blkring-img shows.

load helpers
load format2

decoder=$abs_top_srcdir/tests/format2_decode.py
manual=$abs_top_srcdir/docs/format2.md

# Decode the ring: $status, and the document in the file decoded.
decode () {
  status=0
  python3 -S "$decoder" "$@" ring >decoded || status=$?
}

# What info says, but for what is not in the format, or in other words there;
# and the items that each consumer sees.
comparison='
  def comparable:
    del (.filename, ."sector-size", ."producer-text", ."consumer-text")
    | (."producer-owner", .consumers[]) |=
        (if has ("owner") then .clean = (.owner == "none") | del (.owner)
         else . end)
    | .consumers[] |= (if .enabled then .
                       else del (.position, .items, .bytes) end);
  def wrong (what; a; b):
    if a == b then empty else {what: what, decoder: a, tool: b} end;
  $decoded[0] as $d
  | wrong ("errors"; $d.errors; []),
    wrong ("items"; $d.items; $dumps),
    wrong ("info"; $d.info | comparable; $info[0] | comparable),
    wrong ("tail"; $d.tail; $info[0].producer)'

# The decoder finds no error, and reads what the tool does, as each consumer
# that gets items.
agree () {
  local k
  blkring-img info --output=json ring >info
  decode --consumer=all
  for k in $(jq '.consumers[] | if .enabled then .consumer else -1 end' info)
  do
    echo [
    [ "$k" = -1 ] ||
      blkring-img dump --output=json --consumer="$k" ring | paste -sd ,
    echo ]
  done >dumps
  jq -cn --slurpfile info info --slurpfile decoded decoded \
    --slurpfile dumps dumps "$comparison" >wrong
  [ ! -s wrong ] || fail "$(head -c 4000 wrong)"
}

# Items from stdin, each behind its length.
produce () {
  timeout -k 1 20 blkring-img produce --framing=length "$@" ring
}

# Take so many: consume K COUNT
consume () {
  timeout -k 1 20 blkring-img consume --consumer="$1" --count="$2" \
    --framing=length ring >/dev/null
}

@test "the example of the manual is a ring, and holds what it says" {
  needs_python
  [ -e "$manual" ] || skip "no manual"
  python3 - "$manual" <<'EOF'
import re, sys
image = bytearray(65536)
for line in open(sys.argv[1], encoding="utf-8"):
    m = re.match(r"    ([0-9a-f]{4})  ((?:[0-9a-f]{2} ){15}[0-9a-f]{2})  \|",
                 line)
    if m:
        at = int(m[1], 16)
        image[at:at + 16] = bytes.fromhex(m[2])
image[4096:4608] = image[:512]
open("ring", "wb").write(image)
EOF
  decode
  # One copy of each record is shown.
  [ "$(jq '.errors | length' decoded)" = 3 ]
  [ "$(jq -c '[.producer, .control, .consumers[]] | map (.counts)' decoded)" \
    = '[0,1,1]' ]
  [ "$(jq -r '.items[] | "\(.position) \(."next-position") \(.data)"' \
    decoded)" = "76 512 $(printf world | base64)
512 1024 
1024 1536 $(printf 'a fourth item' | base64)" ]
  diff <(jq -cS '.items[]' decoded) \
    <(blkring-img dump --output=json ring | jq -cS .)
  [ "$(jq -r .info.uuid decoded)" = "$(field uuid)" ]
}

@test "an empty ring" {
  needs_python
  local block n
  for block in 512 4096 65536; do
    for n in 1 3; do
      new_ring 512K --format=2 --block-size=$block --consumers=$n \
        --label="of $n" --force
      agree
      [ "$(jq -c '.items | map (length) | add' decoded)" = 0 ]
      [ "$(jq '.consumers | length' decoded)" = $n ]
    done
  done
}

@test "the largest possible metadata, and a label that fills its field" {
  needs_python
  new_ring 1M --format=2 --consumers=64 --largest-frame=16K \
    --label="$(printf 'äöü%.0s' {1..10})64.."
  store one two
  agree
  decode --consumer=63
  [ "$(jq '.items | length' decoded)" = 2 ]
  decode --consumer=64
  [ "$status" = 2 ]
}

# Store, take most, and so on around the ring: BLOCK SIZE BATCH
go_around () {
  local count
  new_ring "$2" --format=2 --block-size="$1"
  for count in 9 12 14 12 13 12; do
    random_items 12 20000 | produce --batch="$3"
    consume 0 $count
    [ $((count % 3)) != 0 ] || agree
  done
  [ "$(field producer)" -gt $((2 * $(field capacity))) ]
}

@test "items of 0 to 20000 bytes, around the ring, blocks of 512" {
  needs_python
  go_around 512 320K 5
}
@test "items of 0 to 20000 bytes, around the ring, blocks of 4096" {
  needs_python
  go_around 4096 360K 2
}
@test "items of 0 to 20000 bytes, around the ring, blocks of 65536" {
  needs_python
  go_around 65536 2M 1
}

@test "every small size, one frame each and all in one" {
  needs_python
  perl -e 'print pack ("V/a", chr (65 + $_ % 26) x $_) for 0 .. 70, 444,
    445, 448, 449, 4028, 4032' >items
  for batch in 1 1000; do
    new_ring 128K --format=2 --block-size=512 --force
    produce --batch=$batch <items
    agree
    [ "$(jq '.items[0] | length' decoded)" = 77 ]
  done
}

@test "the largest item, and a ring that is full" {
  needs_python
  new_ring 40K --format=2 --block-size=512
  perl -e 'print pack ("V/a", "x" x $ARGV[0])' "$(field largest-item)" |
    produce
  agree
  [ "$(field free)" = 0 ]
  consume 0 1
  agree
  [ "$(field used)" = 0 ]
}

@test "a consumer within a frame that goes around the end" {
  needs_python
  local i
  new_ring 64K --format=2 --block-size=4096 --largest-frame=16K
  # 28 KiB of data area: frames of 12 KiB.
  for i in 1 2 3 4 5; do
    # From a file: what comes through a pipe may come in parts.
    perl -e 'print pack ("V/a", chr (96 + $ARGV[0]) x $_)
      for 3000, 4000, 2500' $i >input
    produce <input
    consume 0 2
    agree
    [ "$(jq '.items[0] | length' decoded)" = 1 ]
    [ "$(jq .consumers[0].frame decoded)" -lt "$(field consumer)" ]
    consume 0 1
  done
}

@test "three consumers at different places" {
  needs_python
  local i
  new_ring 256K --format=2 --block-size=512 --consumers=3
  for i in 1 2 3; do
    random_items 20 5000 | produce --batch=4
    consume 1 13
    consume 2 20
    agree
    consume 0 17
    agree
  done
}

@test "a consumer that is disabled, and enabled again" {
  needs_python
  new_ring 64K --format=2 --block-size=512 --consumers=2
  store one two
  succeeds consumer disable ring 1
  agree
  consume 0 2
  store three
  agree
  succeeds consumer enable ring 1
  agree
  store four
  agree
  [ "$(jq '.items[1] | length' decoded)" = 1 ]
}

@test "suspend and resume, asked for and acknowledged" {
  needs_python
  new_ring 64K --format=2
  store one two
  agree
  succeeds suspend ring
  agree
  state_is suspend-requested
  succeeds produce ring </dev/null
  agree
  state_is suspended
  succeeds resume ring
  agree
  state_is resume-requested
  succeeds produce ring </dev/null
  agree
  state_is running
}

@test "durability none is told" {
  needs_python
  new_ring 64K --format=2
  succeeds produce --durability=none ring <<<one
  agree
  [ "$(jq .info.unflushed decoded)" = true ]
}

@test "a producer that was killed, and its successor" {
  needs_python
  new_ring 64K --format=2 --block-size=512
  idle_producer 5
  agree
  kill -KILL "$pid"
  finish
  agree
  [ "$(jq .producer.clean decoded)" = false ]
  consume 0 2
  agree
  store more
  agree
  [ "$(jq '.items[0] | length' decoded)" = 4 ]
}

@test "a producer that is killed while it writes" {
  needs_python
  local i
  new_ring 512K --format=2 --block-size=512
  random_items 400 9000 >items
  for i in 1 2 3; do
    start produce --framing=length --batch=$i ring <items
    sleep 0.0$((3 * i))
    kill -KILL "$pid"
    finish
    agree
    succeeds consume --until-empty --framing=length ring
    agree
  done
}

@test "a staged frame is counted and not shown" {
  needs_python
  new_ring 64K --format=2 --block-size=512
  idle_producer 3
  kill -KILL "$pid"
  finish
  local last
  last=$(blkring-img dump --output=json ring | jq -s '.[-1].position')
  # All in one frame, or the last in one of its own.
  stage $((32768 + last / 512 * 512))
  agree
  [ "$(jq .staged decoded)" = 512 ]
  store next
  agree
  [ "$(jq .staged decoded)" = 0 ]
}

@test "damage: the decoder finds it where check does" {
  needs_python
  local at
  new_ring 64K --format=2 --block-size=512
  for i in 1 2 3; do
    store "item $i"
  done
  cp ring good
  for at in 20 4604 8200 12300 16390 28700 32768 $((32768 + 70)) \
    $((32768 + 512 + 10)) $((32768 + 1024 + 66)); do
    cp good ring
    flip "$at"
    decode
    [ "$status" != 0 ] || fail "byte $at: the decoder finds nothing"
    tool check ring
    [ "$status" = 2 ] || fail "byte $at: check finds nothing"
  done
  # Nobody looks at padding, the rest of slots, and free space.
  for at in 600 9000 $((32768 + 500)) $((32768 + 1536)) 65535; do
    cp good ring
    flip "$at"
    agree
    succeeds check ring
  done
}

@test "damage: with one good copy of everything both read the same" {
  needs_python
  local at
  new_ring 64K --format=2 --block-size=512
  store one two
  consume 0 1
  for at in 60 8192 16384 24576; do
    flip "$at"
  done
  decode
  [ "$status" = 1 ]
  [ "$(jq '.errors | length' decoded)" = 4 ]
  diff <(jq -cS '.items[]' decoded) \
    <(blkring-img dump --output=json ring | jq -cS .)
  succeeds check --repair=all ring
  agree
}
