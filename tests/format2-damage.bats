#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Format 2: what is damaged in front of the tail is told from the end of the
# data, whoever comes there.

load helpers
load format2

data=32768

# A producer was killed behind five frames of an item each.  Its record says
# nothing of them: they are there by themselves.
crashed_ring () {
  new_ring 64K --block-size=512
  input_pipe
  start produce --batch=1 ring <input
  for i in 1 2 3 4 5; do
    echo $i >&5
    eventually is items $i
  done
  kill -KILL "$pid"
  finish
  exec 5>&-
  [ "$(published)" = 0 ]
}

published () {
  od -An -tu8 -j $((8192 + 32)) -N 8 ring | tr -d ' '
}

lines () {
  printf '%s\n' "$@"
}

@test "what a killed producer has stored is there" {
  crashed_ring
  succeeds check ring
  must_be items 5 producer 2560
  succeeds consume --until-empty ring
  [ "$(cat out)" = "$(lines 1 2 3 4 5)" ]
}

@test "a last frame that was torn is the end of the data, and no error" {
  local length
  crashed_ring
  # So much of it came down; the rest is what was there before.
  for length in 0 1 8 63 64 68; do
    cp ring torn
    head -c 512 /dev/zero | dd of=torn bs=1 seek=$((data + 2048 + length)) \
      count=$((512 - length)) conv=notrunc status=none
    mv torn ring
    succeeds check ring
    must_be items 4 producer 2048
    succeeds dump --output=raw ring
    [ "$(cat out)" = 1234 ]
  done
  # The next producer writes there.
  echo new | succeeds produce ring
  succeeds check ring
  succeeds consume --until-empty ring
  [ "$(cat out)" = "$(lines 1 2 3 4 new)" ]
}

@test "the same frame is damage when the producer has left in order" {
  new_ring 64K --block-size=512
  seq 5 | succeeds produce --batch=1 ring
  flip $((data + 2048 + 68))
  tool check ring
  [ "$status" = 2 ]
  grep -q "^ring: offset $((data + 2048)): .*position 2048" out
  tool consume --until-empty ring
  [ "$status" = 1 ]
  [ "$(cat out)" = "$(lines 1 2 3 4)" ]
  says 'ring: corrupt: .*position 2048 .*published up to 2560' || report
}

@test "a frame with others behind it is damage though none was published" {
  local at=1024
  crashed_ring
  cp ring good
  for at in 0 1024 1536; do
    cp good ring
    flip $((data + at + 68))
    tool check ring
    [ "$status" = 2 ] || report "check at $at"
    grep -q "^ring: offset $((data + at)): .*position $at" out
    # A producer that went on there would destroy what is behind.
    echo new >items
    cp ring before
    tool produce ring <items
    [ "$status" = 1 ] || report "produce at $at"
    says "ring: corrupt: .*position $at" || report "produce at $at"
    cmp <(tail -c +32769 before) <(tail -c +32769 ring)
    tool consume --until-empty ring
    [ "$status" = 1 ] || report "consume at $at"
    says "ring: corrupt: .*position $at" || report "consume at $at"
    [ "$(paste -sd ' ' out)" = "$(seq -s ' ' $((at / 512)))" ]
    tool dump --output=raw ring
    [ "$status" = 1 ] || report "dump at $at"
  done
}

@test "behind such damage, too, --salvage finds what is left" {
  crashed_ring
  flip $((data + 1024 + 68))
  tool consume --salvage --until-empty ring
  [ "$status" = 2 ]
  [ "$(paste -sd ' ' out)" = '1 2 4 5' ]
  says 'ring: skipped 512 bytes, from position 1024 to 1536: ' || report
}

@test "and behind a second one" {
  crashed_ring
  flip $((data + 512 + 68))
  flip $((data + 1536 + 68))
  tool consume --salvage --until-empty ring
  [ "$status" = 2 ]
  [ "$(paste -sd ' ' out)" = '1 3 5' ]
  lines_are err 2
  grep -q 'skipped 512 bytes, from position 512 to 1024: ' err
  grep -q 'skipped 512 bytes, from position 1536 to 2048: ' err
}

@test "free space, padding and earlier laps are nothing that can be damaged" {
  local at
  new_ring $((32768 + 4096)) --block-size=512
  for at in 1 2 3 4 5 6 7 8 9 10; do
    store "lap $at"
    succeeds consume --until-empty ring
  done
  store one
  must_be items 1 consumer 5120
  cp ring good
  # The first byte of every other frame; then padding of this one.
  for at in 0 512 1536 2048 2560 3072 3584 $((1024 + 200)); do
    flip $((data + at))
    succeeds check ring
  done
  succeeds consume --until-empty ring
  [ "$(cat out)" = one ]
  store two three
  succeeds check ring
}

@test "a new ring holds nothing of the one that was there before" {
  local old
  new_ring 64K --block-size=512
  seq 20 | succeeds produce --batch=1 ring
  old=$(field uuid)
  succeeds create --force --block-size=512 ring
  [ "$(field uuid)" != "$old" ]
  must_be items 0 producer 0 staged 0
  succeeds check ring
  # Nor of its frames behind its own.
  echo new | succeeds produce ring
  succeeds check ring
  succeeds consume --until-empty ring
  [ "$(cat out)" = new ]
}

@test "frames of a copy of the ring that went another way are not taken" {
  new_ring 64K --block-size=512
  store first
  cp ring copy
  # In one, two more producers; in the other, one.
  store a
  store b c d
  mv ring other
  mv copy ring
  store x
  # The frame at 1024 of the other one comes here.
  dd if=other of=ring bs=512 skip=$(((data + 1024) / 512)) count=1 \
    seek=$(((data + 1024) / 512)) conv=notrunc status=none
  must_be items 2 producer 1024
  succeeds dump --output=raw ring
  [ "$(cat out)" = firstx ]
}

@test "a damaged copy of a record or superblock disturbs nobody" {
  local at
  crashed_ring
  for at in 0 8192 16384 24576; do
    flip $((at + 40))
  done
  must_be items 5
  echo six | succeeds produce ring
  succeeds suspend ring
  echo seven >items
  tool produce --no-wait ring <items
  [ "$status" = 3 ]
  succeeds resume ring
  succeeds produce ring </dev/null
  succeeds consume --until-empty ring
  [ "$(cat out)" = "$(lines 1 2 3 4 5 six)" ]
  # Those that were written meanwhile are whole again; the superblock is not.
  tool check --output=json ring
  [ "$status" = 2 ]
  [ "$(jq -c '[.findings[].offset]' out)" = '[0]' ]
}

@test "damage while producer and consumer are at work stops the consumer" {
  new_ring 64K --block-size=512
  input_pipe
  start produce --batch=1 ring <input
  producer=$pid
  lines 1 2 3 >&5
  eventually is items 3
  flip $((data + 512 + 68))
  start consume ring >copy 2>log
  finish
  [ "$status" = 1 ]
  says 'ring: corrupt: .*position 512' log || fail "$(cat log)"
  [ "$(cat copy)" = 1 ]
  # The producer has no part in it.
  echo 4 >&5
  exec 5>&-
  finish "$producer"
  [ "$status" = 0 ]
}
