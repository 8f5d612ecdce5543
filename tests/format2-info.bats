#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img info of a ring of format 2: what it is, who owns its sides, and
# how far each consumer is behind.

load helpers
load format2

json () {
  blkring-img info --output=json ring | jq -c "$1"
}

# Seconds since 1970 of a time that info shows.
seconds () {
  date -d "$1" +%s
}

@test "info: JSON has what the ring was made with" {
  local begin end created
  begin=$(date +%s)
  new_ring 512K --block-size=1024 --consumers=3 --largest-frame=64K \
    --label='a "label"'
  end=$(date +%s)
  must_be format 2 label 'a "label"' block-size 1024 largest-frame 65536 \
    capacity $((524288 - 49152)) largest-item $((65536 - 68)) epoch 0 \
    staged 0 unflushed false producer-text '' consumer-text ''
  [ "$(json '[.consumers[] | .consumer, .enabled, .position, .items, .bytes,
    .owner]')" = \
    '[0,true,0,0,0,"none",1,true,0,0,0,"none",2,true,0,0,0,"none"]' ]
  created=$(seconds "$(field created)")
  [ "$begin" -le "$created" ] && [ "$created" -le "$end" ]
}

@test "info: the uuid is the one on disk" {
  new_ring 64K
  [ "$(field uuid | tr -d -)" = \
    "$(od -An -tx1 -j 64 -N 16 ring | tr -d ' \n')" ]
}

# A version that knows more features made the ring: these are told by number,
# and whether they keep us from writing, or from opening it.
@test "info: the features of the ring" {
  needs_python
  new_ring 64K
  [ "$(json .features)" = \
    '{"incompatible":0,"read-compatible":0,"compatible":0}' ]
  succeeds info ring
  grep -qx 'features: none' out
  poke ring 20 '\0\0\1\0'
  seal ring 508 0
  store one
  [ "$(json .features)" = \
    '{"incompatible":0,"read-compatible":0,"compatible":65536}' ]
  succeeds info ring
  grep -qx 'features: compatible 0x10000' out
  poke ring 16 '\2\0\0\0'
  seal ring 508 0
  succeeds info ring
  grep -qx 'features: read-compatible 0x2, compatible 0x10000' out
  fails 1 'ring: .*features that forbid' produce ring </dev/null
  poke ring 12 '\1\0\0\0'
  seal ring 508 0
  fails 1 'ring: .*features \(0x1\)' info ring
}

@test "info: the human form has the facts of JSON" {
  local key fact n=0
  new_ring 512K --block-size=1024 --consumers=2 --largest-frame=64K \
    --label='a label'
  store one two
  succeeds consumer disable ring 1
  succeeds info ring
  cp out human
  while IFS='=' read -r key fact; do
    grep -qxF "$key: $fact" human || fail "no $key: $fact in $(cat human)"
    n=$((n + 1))
  done < <(blkring-img info --output=json ring | jq -r '
    "format=\(.format)", "block size=\(."block-size") bytes",
    "largest frame=\(."largest-frame") bytes", "uuid=\(.uuid)",
    "label=\(.label)", "created=\(.created)", "epoch=\(.epoch)"')
  [ $n = 7 ]
  grep -q '^consumer 0: ' human
  grep -qE '^ +enabled, at position 0, 2 items and 1024 bytes behind' human
  grep -q '^consumer 1: ' human
  grep -qx '  disabled' human
}

@test "info: the epoch counts the producers that were here" {
  local n
  new_ring 64K
  for n in 1 2 3; do
    store x
    is epoch $n
  done
  succeeds consume --until-empty ring
  is epoch 3
}

@test "info: an owner that has gone is nobody, and the last one is told" {
  new_ring 64K
  [ "$(json '."producer-owner" | .owner, .queue, .process' | paste -sd ' ')" \
    = '"none" "" 0' ]
  echo x | succeeds produce --queue=jobs --client=worker ring
  [ "$(json '."producer-owner" | [.owner, .queue, .client]')" \
    = '["none","jobs","worker"]' ]
  succeeds consume --until-empty --queue=out --client=reader ring
  [ "$(json '.consumers[0] | [.owner, .queue, .client]')" \
    = '["none","out","reader"]' ]
  succeeds info ring
  grep -q '^producer: nobody; the last was jobs used by worker, ' out
  grep -q '^consumer 0: nobody; the last was out used by reader, ' out
}

@test "info: an owner that is there: who, where, since when" {
  local begin since who
  begin=$(date +%s)
  new_ring 64K
  input_pipe
  start produce --queue=jobs --client=worker ring <input
  echo one >&5
  eventually is items 1
  [ "$(json '."producer-owner" | [.owner, .queue, .client, .host, .process]')" \
    = "[\"alive\",\"jobs\",\"worker\",\"$(uname -n)\",$pid]" ]
  since=$(seconds "$(json '."producer-owner".since' | tr -d '"')")
  [ "$begin" -le "$since" ] && [ "$since" -le "$(date +%s)" ]
  [ "$(json '.consumers[0].owner')" = '"none"' ]
  succeeds info ring
  who="jobs used by worker, process $pid on $(uname -n)"
  grep -q "^producer: open on this host, $who, last written 20.*T..:..:..Z$" out
  start consume --queue=out --client=reader ring >copy
  eventually lines_are copy 1
  eventually is items 0
  [ "$(json '.consumers[0] | [.owner, .queue, .client, .process]')" \
    = "[\"alive\",\"out\",\"reader\",$pid]" ]
  succeeds info ring
  grep -q "^consumer 0: open on this host, out used by reader, process $pid " \
    out
}

@test "info: an owner that was killed is dead" {
  new_ring 64K
  idle_producer 2
  kill -KILL "$pid"
  finish
  [ "$(json '."producer-owner" | [.owner, .process]')" = "[\"dead\",$pid]" ]
  succeeds info ring
  grep -q "^producer: died on this host, .*process $pid " out
  start consume ring >copy
  eventually lines_are copy 2
  eventually is items 0
  kill -KILL "$pid"
  finish
  [ "$(json '.consumers[0] | [.owner, .process]')" = "[\"dead\",$pid]" ]
  succeeds info ring
  grep -q "^consumer 0: died on this host, .*process $pid " out
}

@test "info: an owner on another host: nobody knows, and since when" {
  needs_python
  local who='their-q used by their-c, process [0-9]+ on far-away'
  new_ring 64K --consumers=2
  store one
  move_elsewhere 0
  move_elsewhere 3
  # 2020-09-13 12:26:40 UTC, in nanoseconds.
  forge 0 72 "$(perl -e 'print map { sprintf "\\%o", $_ } unpack "C*",
    pack "Q<", 1600000000 * 10 ** 9')"
  [ "$(json '."producer-owner" | [.owner, .host, .since]')" \
    = '["elsewhere","far-away","2020-09-13T12:26:40Z"]' ]
  [ "$(json '[.consumers[] | .owner, .host]')" \
    = '["none","","elsewhere","far-away"]' ]
  succeeds info ring
  grep -qE "^producer: open elsewhere, $who, last written 2020-09-13T12:26:40Z" \
    out
  grep -q '^consumer 1: open elsewhere, their-q used by their-c, ' out
  grep -q '^consumer 0: nobody' out
}

@test "info: an owner of an earlier boot of this host is dead" {
  needs_python
  [ -r /etc/machine-id ] || skip "no /etc/machine-id"
  new_ring 64K
  store one
  # Not clean, and another boot id alone.
  forge 0 8 '\0' 104 'another-boot-id.'
  [ "$(json '."producer-owner".owner')" = '"dead"' ]
}

@test "info: how far each consumer is behind, in items and bytes" {
  local i
  new_ring 64K --block-size=512 --consumers=3
  for i in 1 2 3 4; do
    store "item $i" more
  done
  succeeds consume --consumer=1 --count=3 ring
  succeeds consume --consumer=2 --until-empty ring
  [ "$(json '[.consumers[] | .items, .bytes]')" = \
    "[8,2048,5,$((2048 - $(json '.consumers[1].position'))),0,0]" ]
  # The one that is farthest behind is what is in use.
  must_be items 8 used 2048 consumer 0
  succeeds consume --consumer=0 --count=4 ring
  must_be items 5 used 1536 consumer "$(json '.consumers[1].position')"
  succeeds info ring
  [ "$(grep -oE '[0-9]+ items and [0-9]+ bytes behind' out | paste -sd ';')" \
    = "4 items and 1024 bytes behind;5 items and $(
    json '.consumers[1].bytes') bytes behind;0 items and 0 bytes behind" ]
}

@test "info: what was pushed and never exposed" {
  needs_python
  ring_for 8704
  idle_producer 3
  kill -KILL "$pid"
  finish
  succeeds info ring
  ! grep -q 'not exposed' out || report "nothing is staged"
  stage $((32768 + $(positions | awk '{ print int ($NF / 512) * 512 }')))
  is staged 512
  [ "$(field items)" -lt 3 ]
  succeeds info ring
  grep -qx 'pushed and not exposed: 512 bytes' out
}

@test "info: durability none leaves its mark" {
  new_ring 64K
  echo one | succeeds produce --durability=none ring
  is unflushed true
  succeeds info ring
  grep -q 'durability none' out
}
