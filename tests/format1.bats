#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# What is of format 1 alone: rings that the original implementation wrote, the
# bytes of a new one, sector sizes, the texts behind the pointers.

load helpers
load format1

signature='mirage shared-block-device 1.0'

@test "create writes the same bytes as the original implementation" {
  succeeds create ring 10K
  cmp ring "$fixtures/a1-empty.img"
}

@test "create: a bad size is an error with numbers, and leaves no file" {
  fails 1 'ring: .* 0 bytes.*2048' create ring 0
  fails 1 'ring: .*1536 bytes.*2048' create ring 1536
  fails 1 'ring: .*2049 .*512 .*2048.*2560' create ring 2049
  fails 1 'ring: .*12288 .*16384' create --sector-size=4096 ring 12K
  fails 1 'ring: .*17408 .*4096 .*16384.*20480' \
    create --sector-size=4096 ring 17K
}

@test "create: a bad size of a file that exists leaves it alone" {
  truncate -s 1536 ring
  fails 1 'ring: .*1536.*2048' create ring
  fails 1 'ring: .*1536.*2048' create --force ring
  truncate -s 10241 ring
  fails 1 'ring: .*10241.*512.*10240.*10752' create ring
  fails 1 'ring: .*10241.*512.*10240.*10752' create --erase --force ring
}

@test "create --force with a bad SIZE leaves the ring that is there alone" {
  fixture b1-six-items
  fails 1 'ring: .*20481.*512' create --force ring 20481
  fails 1 'ring: .* 1024.*2048' create --force ring 1K
  cmp ring "$fixtures/b1-six-items.img"
}

@test "create: a ring with other sectors than wanted stays, with a message" {
  fixture h1-4k-six-items
  fails 1 'ring: .*[a-z]' create --sector-size=512 ring
}

@test "create --sector-size=4096 makes the layout of such sectors" {
  succeeds create --sector-size=4096 ring 64K
  must_be sector-size 4096 capacity $((65536 - 3 * 4096))
  [ "$(head -c 30 ring)" = "$signature" ]
  succeeds create ring
  must_be sector-size 4096
}

@test "--sector-size: found out where it is not given" {
  fixture h1-4k-six-items
  must_be sector-size 4096
  fixture b1-six-items
  must_be sector-size 512
}

@test "--sector-size: the right one changes nothing" {
  fixture h1-4k-six-items
  succeeds info ring
  mv out guessed
  succeeds info --sector-size=4096 ring
  cmp out guessed
  succeeds check --sector-size=4096 ring
  succeeds dump --output=raw --count=3 --sector-size=4096 ring
  [ "$(wc -c <out)" = 4092 ]
}

@test "--sector-size: the wrong one finds corruption or a bad size" {
  fixture h1-4k-six-items
  fails 1 'ring: corrupt: .*520' info --sector-size=512 ring
  tool check --sector-size=512 ring
  [ "$status" = 2 ]
  fixture b1-six-items
  fails 1 'ring: .*512.*4096' info --sector-size=4096 ring
}

@test "info tells of every fixture what the original left in it" {
  local name
  copy_fixtures
  for name in "${copies[@]}"; do
    succeeds info --output=json "$name"
    cat out >>all
  done
  jq -S . all >found
  manifest -S '.fixtures[] | . as $f | (.items | map (.length)) as $l | {
    filename: "v1/\(.file)", format: "1", "sector-size": .sector_size,
    capacity: .data_bytes, producer: .producer, consumer: .consumer,
    used: (.producer - .consumer),
    free: (.data_bytes - .producer + .consumer),
    items: ($l | length), "unread-bytes": ($l | add // 0),
    "smallest-unread": ($l | min // 0), "largest-unread": ($l | max // 0),
    "largest-item": (.data_bytes - 4),
    suspend: (if .suspend then
        if .suspend_ack then "suspended" else "suspend-requested" end
      else
        if .suspend_ack then "resume-requested" else "running" end end),
    "producer-text": .producer_text, "consumer-text": .consumer_text
    }' >wanted
  diff wanted found
  unchanged
}

@test "info: what is not UTF-8 in the texts is shown as ?" {
  fixture b1-six-items
  poke ring $((512 + 128)) '\377\303'
  must_be producer-text \
    '??st used by test; producer = 3556; suspend_ack = false'
  fixture b1-six-items
  poke ring $((512 + 128)) '\303\251'
  must_be producer-text \
    'ést used by test; producer = 3556; suspend_ack = false'
}

@test "map: JSON covers every fixture without gaps, and adds up" {
  local name
  copy_fixtures
  for name in "${copies[@]}"; do
    succeeds map --output=json "$name"
    cat out >>all
  done
  jq -n --slurpfile maps all --slurpfile m "$fixtures/manifest.json" '
    range ($maps | length) | $m[0].fixtures[.] as $f | $maps[.]
    | select ((
      all (keys == ["length", "offset", "type", "wrapped"]
        and .length > 0 and (.wrapped | type) == "boolean") and
      (.[:3] | map (.type) == ["signature", "producer", "consumer"]
        and map (.length) == [range (3) | $f.sector_size]) and
      (.[3:] | all (.type == "unread" or .type == "free")) and
      (reduce .[] as $r (0; if . == $r.offset then . + $r.length
                            else -1 end) == $f.file_size) and
      ([.[] | select (.type == "unread") | .length] | add // 0)
        == $f.producer - $f.consumer) | not)
    | $f.file, .' >wrong
  [ ! -s wrong ] || fail "$(cat wrong)"
  unchanged
}

@test "dump shows the items of every fixture, and leaves them" {
  local name
  copy_fixtures
  for name in "${copies[@]}"; do
    succeeds dump --output=json "$name"
    cat out >>json
    succeeds dump --output=raw "$name"
    cat out >>raw
  done
  jq -c '[.position, ."next-position", .length]' json >found
  manifest -c '.fixtures[] | .items as $i | .consumer as $c
    | range ($i | length)
    | [if . == 0 then $c else $i[. - 1].next_position end,
       $i[.].next_position, $i[.].length]' >wanted
  diff wanted found
  manifest '.fixtures[].items[].hex' | perl -ne 'chomp; print pack "H*", $_' |
    cmp - raw
  unchanged
}

@test "state prints one word" {
  local name
  declare -A words=(
    [a1-empty]=running [e1-suspended-acked]=suspended
    [e2-suspend-requested]=suspend-requested
    [e3-resume-requested]=resume-requested)
  for name in "${!words[@]}"; do
    fixture "$name"
    succeeds state ring
    [ "$(cat out)" = "${words[$name]}" ]
    must_be suspend "${words[$name]}"
    cmp ring "$fixtures/$name.img"
  done
}

@test "produce goes on behind what is in the ring" {
  local name
  for name in d1-pushed-not-advanced c1-wrap c2-wrap-header-last-word \
    h2-4k-wrap; do
    fixture $name
    { framed $name; frame one two; } >wanted
    printf 'one\ntwo\n' | succeeds produce ring
    contents | cmp - wanted
    succeeds check ring
  done
}

@test "produce: an empty input stores nothing" {
  new_ring 10K
  local f
  for f in line null length; do
    succeeds produce --framing=$f ring </dev/null
    cmp ring "$fixtures/a1-empty.img"
  done
}

@test "produce: the largest item fits, one byte more is refused" {
  local n
  new_ring 10K
  head -c 8701 /dev/zero >input
  fails 1 'ring: .*8701.*8700' produce --framing=file ring <input
  fails 1 'ring: .*line 1 .*8701.*8700.* 0 items' produce ring <input
  truncate -s 8700 input
  succeeds produce --framing=file ring <input
  cmp <(tail -c +1541 ring) input
  must_be free 0
  new_ring 10K --force
  succeeds produce ring <input
  must_be largest-unread 8700
  rm ring
  new_ring 16K --sector-size=4096
  head -c 4093 /dev/zero >input
  fails 1 'ring: .*4093.*4092' produce ring <input
  truncate -s 4092 input
  succeeds produce ring <input
  must_be largest-unread 4092
}

@test "consume --until-empty: every fixture, byte for byte" {
  local name
  copy_fixtures
  for name in "${copies[@]}"; do
    succeeds consume --until-empty --framing=length "$name"
    cat out >>all
    succeeds check "$name"
    blkring-img info --output=json "$name" >>left
  done
  jq -se 'all (.items == 0 and .used == 0)' left
  manifest '.fixtures[].items[].hex' | perl -ne 'chomp;
    $_ = pack "H*", $_; print pack ("V", length), $_' | cmp - all
}

@test "names and positions stand in the texts" {
  fixture a1-empty
  echo a >input
  tool produce --trace --queue=jobs --client='node 7' ring <input
  [ "$status" = 0 ]
  grep -qE '^blkring-img: ring: .*set .*producer = 8 .*jobs.*node 7' err
  must_be consumer-text '' producer-text \
    'jobs used by node 7; producer = 8; suspend_ack = false'
  succeeds consume --queue=other --client=reader --count=1 ring
  must_be consumer-text \
    'other used by reader; consumer = 8; suspend = false'
  succeeds info ring
  grep -qF 'jobs used by node 7; producer = 8; suspend_ack = false' out
  grep -qF 'other used by reader; consumer = 8; suspend = false' out
}

@test "suspend keeps the names of who asked, as a consumer does" {
  new_ring 10K
  succeeds suspend --queue=jobs --client=admin ring
  must_be consumer-text \
    'jobs used by admin; consumer = 0; suspend = true'
  must_be producer-text ''
}

@test "suspend leaves the text of the consumer as it is" {
  new_ring 64K
  printf 'one\ntwo\n' | blkring-img produce ring
  succeeds consume --count=1 --queue=Q --client=HOLDER ring
  succeeds suspend ring
  succeeds info --output=json ring
  [ "$(jq -r '."consumer-text"' out)" = \
    'Q used by HOLDER; consumer = 8; suspend = true' ]
}

@test "a producer on sectors of 4096 bytes acknowledges" {
  new_ring 64K --sector-size=4096
  idle_producer
  succeeds suspend --wait=10 ring
  state_is suspended
  succeeds resume --wait=10 ring
  state_is running
}
