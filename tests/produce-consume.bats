#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# blkring-img produce and consume: what goes in comes out, and what happens
# when one side waits, fails or is stopped.

load helpers

# What is in the ring, each item behind its length.
contents () {
  blkring-img dump --output=json ring | jq -r .data | perl -MMIME::Base64 \
    -ne '$_ = decode_base64 ($_); print pack ("V", length), $_'
}

# The same of arguments.
frame () {
  perl -e 'print pack ("V", length), $_ for @ARGV' -- "$@"
}

holds () {
  frame "$@" | cmp - <(contents)
}

# produce: framings ------------------------------------------------------

@test "produce: lines of stdin, also an empty one and one without newline" {
  new_ring 10K
  printf 'one\n\n two \r\nlast' | succeeds produce ring
  [ ! -s out ]
  holds one '' $' two \r' last
  printf 'x\n\n' | succeeds produce --framing=line ring
  holds one '' $' two \r' last x ''
}

@test "produce: a line keeps NUL bytes" {
  new_ring 10K
  printf 'a\0b\n\0\n' | succeeds produce ring
  contents | cmp - <(printf '\3\0\0\0a\0b\1\0\0\0\0')
}

@test "produce --framing=null: items keep newlines" {
  new_ring 10K
  printf 'a\nb\0\0\n\0last' | succeeds produce --framing=null ring
  holds $'a\nb' '' $'\n' last
}

@test "produce --framing=length: items keep every byte" {
  new_ring 10K
  {
    frame '' $'\n' x
    printf '\4\0\0\0\0\n\377\0'
  } >input
  succeeds produce --framing=length ring <input
  contents | cmp - input
}

@test "produce --framing=file: each file is an item, stdin too" {
  new_ring 10K
  printf 'one\n\0two' >a
  : >b
  printf 'all\nof\nstdin\n' | succeeds produce --framing=file ring a - b
  { printf '\10\0\0\0one\n\0two'; frame $'all\nof\nstdin\n' ''; } |
    cmp - <(contents)
  new_ring 10K --force
  printf 'all\nof it' | succeeds produce --framing=file ring
  holds $'all\nof it'
}

@test "produce: an empty input stores nothing" {
  new_ring 10K
  local f
  for f in line null length; do
    succeeds produce --framing=$f ring </dev/null
    cmp ring "$fixtures/a1-empty.img"
  done
}

@test "produce --framing=file: an empty stdin is an empty item" {
  new_ring 10K
  succeeds produce --framing=file ring </dev/null
  holds ''
}

@test "produce: FILEs in their order, - is stdin" {
  new_ring 10K
  printf '1\n2\n' >a
  printf '5' >b
  printf '6\n' >c
  printf '3\n4\n' | succeeds produce ring a - b c
  holds 1 2 3 4 5 6
}

@test "produce: a FILE alone leaves stdin unread" {
  new_ring 10K
  echo a >a
  { succeeds produce ring a; cat >rest; } <<<stdin
  [ "$(cat rest)" = stdin ]
  holds a
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

@test "produce: many items, in batches of the default size" {
  new_ring 1M
  seq 1 20000 >input
  succeeds produce ring <input
  must_be items 20000
  succeeds consume --until-empty ring
  cmp out input
}

@test "produce --batch=N stores at most N items in one write" {
  local n
  seq 1 12 >input
  for n in 1:12 5:3 65536:1; do
    new_ring 10K --force
    tool produce --batch=${n%:*} --trace ring <input
    [ "$status" = 0 ]
    # Each durable write is followed by one of the position.
    [ "$(grep -c 'set producer' err)" -ge ${n#*:} ]
    must_be items 12
  done
}

@test "produce --durability=none and full store the same" {
  local d
  for d in none full; do
    new_ring 10K --force
    printf 'a\nb\n' | succeeds produce --durability=$d ring
    holds a b
  done
}

@test "produce -p shows the progress on stderr where the size is known" {
  new_ring 10K
  seq 1 100 >input
  tool produce -p ring <input
  [ "$status" = 0 ]
  grep -q 100 err
  [ ! -s out ]
  seq 1 100 >more
  tool produce -p ring input more
  [ "$status" = 0 ]
  grep -q 100 err
  seq 1 100 | succeeds produce -p ring
  must_be items 400
}

@test "produce -q and consume -q say nothing" {
  new_ring 10K
  printf 'a\nb\n' | succeeds produce -q ring
  succeeds consume -q --until-empty ring
}

# produce: errors --------------------------------------------------------

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

@test "produce: too large a line in the middle is named, those before stored" {
  new_ring 2K
  { printf 'one\ntwo\n'; head -c 509 /dev/zero; printf '\nfour\n'; } >input
  tool produce ring <input
  [ "$status" = 1 ]
  [ ! -s out ]
  says 'ring: .*line 3 .*509.*508.* 2 items' || report message
  holds one two
}

@test "produce: too large an item is named in every framing" {
  new_ring 2K
  head -c 600 /dev/zero | tr '\0' x >large
  { printf 'one\0'; cat large; printf '\0three\0'; } >input
  tool produce --framing=null ring <input
  [ "$status" = 1 ]
  says 'ring: .*2 .*600.*508.* 1 items' || report message
  holds one
  { frame two; printf '\130\2\0\0'; cat large; frame three; } >input
  tool produce --framing=length ring <input
  [ "$status" = 1 ]
  says 'ring: .*2 .*600.*508.* 1 items' || report message
  holds one two
  echo three >small
  tool produce --framing=file ring small large small
  [ "$status" = 1 ]
  says 'ring: .*large.*600.*508.* 1 items' || report message
  holds one two $'three\n'
}

@test "produce: too large a line of a later file is named with the file" {
  new_ring 2K
  seq 1 3 >a
  { seq 4 5; head -c 600 /dev/zero; } >b
  tool produce ring a b
  [ "$status" = 1 ]
  says 'ring: .*\<b\>.*line 3 .*600.*508.* 5 items' || report message
  holds 1 2 3 4 5
}

@test "produce: a large line is refused though its end never comes" {
  new_ring 2K
  input_pipe
  start produce ring <input 2>log
  head -c 40000 /dev/zero >&5
  finish
  [ "$status" = 1 ]
  says 'ring: .*line 1 .*508' log || fail "$(cat log)"
}

@test "produce --framing=length: an impossible length is refused at once" {
  new_ring 2K
  input_pipe
  start produce --framing=length ring <input 2>log
  printf '\377\377\377\377' >&5
  finish
  [ "$status" = 1 ]
  says 'ring: .*4294967295.*508' log || fail "$(cat log)"
  must_be items 0
}

@test "produce --framing=length: a truncated input, the items before stored" {
  new_ring 10K
  local rest
  for rest in '\4' '\4\0\0' '\4\0\0\0' '\4\0\0\0abc'; do
    new_ring 10K --force
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
  new_ring 10K
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
  fixture f1-full-exact
  echo a >input
  fails 3 'ring: .*full.* 0 items' produce --no-wait ring <input
  : >input
  succeeds produce --no-wait ring <input
}

@test "produce --no-wait: what fits is stored, and the message counts it" {
  new_ring 2K
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
  new_ring 10K
  printf 'a\nb\n' | succeeds produce --no-wait ring
  holds a b
}

@test "produce --no-wait: status 3 when suspended" {
  fixture e1-suspended-acked
  echo a >input
  fails 3 'ring: .*suspended.* 0 items' produce --no-wait ring <input
  fixture e2-suspend-requested
  tool produce --no-wait ring <input
  [ "$status" = 3 ]
  says 'ring: .*suspended.* 0 items' || report message
  must_be items 2
  state_is suspended
}

@test "a second producer is refused, with the text of the first" {
  fixture a3-example-produced
  input_pipe
  start produce --queue=jobs --client=first ring <input
  echo a >&5
  eventually is items 5
  fails 1 'ring: .*producer.*jobs used by first' produce ring </dev/null
  # It has to go away.
  exec 5>&-
  finish
  [ "$status" = 0 ]
  succeeds produce ring </dev/null
}

# produce: waiting and being stopped -------------------------------------

@test "produce: the lines of a slow writer are stored at once" {
  new_ring 10K
  input_pipe
  start produce ring <input
  local i
  for i in 1 2 3; do
    printf 'line %s\n' $i >&5
    eventually is items $i
  done
  # It is not waiting for the end of a line that it has no end of.
  printf 'a\nb\nc\nrest' >&5
  eventually is items 6
  exec 5>&-
  finish
  [ "$status" = 0 ]
  holds 'line 1' 'line 2' 'line 3' a b c rest
}

@test "produce waits while the ring is full until a consumer frees" {
  fixture f1-full-exact
  echo more >input
  start produce --wait ring <input 2>log
  eventually attached
  must_be items 17
  succeeds consume --count=1 --framing=none ring
  finish
  [ "$status" = 0 ]
  [ ! -s log ]
  must_be items 17
  succeeds dump --from=8704 --output=raw ring
  [ "$(cat out)" = more ]
}

@test "produce waits while suspended until resume" {
  fixture e1-suspended-acked
  echo more >input
  start produce ring <input
  eventually attached
  state_is suspended
  must_be items 2
  succeeds resume --wait=20 ring
  finish
  [ "$status" = 0 ]
  must_be items 3
  state_is running
}

@test "produce: on a signal it stores the whole items that it read, status 0" {
  local signal
  for signal in TERM INT; do
    rm -f ring input
    new_ring 10K
    input_pipe
    start produce ring <input >copy 2>log
    printf 'a\nb\n' >&5
    eventually is items 2
    kill -$signal "$pid"
    finish
    [ "$status" = 0 ] || fail "status after $signal"
    [ ! -s copy ]
    [ ! -s log ] || fail "message after $signal"
    holds a b
    exec 5>&-
  done
}

@test "produce: on a signal with a part of an item read, status 1" {
  new_ring 10K
  input_pipe
  start produce ring <input >copy 2>log
  # In one write, which it reads at once.
  printf 'a\nb\npart' >whole
  cat whole >&5
  eventually is items 2
  kill -TERM "$pid"
  finish
  [ "$status" = 1 ] || fail "status $status"
  [ ! -s copy ]
  says 'ring: .*2 items' log || fail "$(cat log)"
  holds a b
}

@test "produce: a signal while it waits, full or suspended: status 1" {
  local name
  echo more >input
  for name in f1-full-exact e1-suspended-acked; do
    fixture $name
    start produce ring <input >copy 2>log
    eventually attached
    # It has taken its input, and waits for the ring.
    eventually waits_with_input_read
    kill -TERM "$pid"
    finish
    [ "$status" = 1 ] || fail "status $status"
    says 'ring: .*0 items' log || fail "$(cat log)"
    contents | cmp - <(framed $name)
  done
}

# The file offset of its stdin is not 0 any more.
waits_with_input_read () {
  grep -q '^pos:.*[1-9]' "/proc/$pid/fdinfo/0"
}

@test "produce: after SIGKILL the ring is whole and free for another" {
  new_ring 64K
  input_pipe
  start produce ring <input
  seq 1 3000 >&5
  eventually is items 3000
  kill -KILL "$pid"
  finish || :
  succeeds check ring
  echo next | succeeds produce ring
  { seq 1 3000; echo next; } >wanted
  succeeds consume --until-empty ring
  cmp out wanted
}

# consume: what comes out ------------------------------------------------

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

@test "consume: framings line, null and none" {
  local f
  for f in '' --framing=line; do
    fixture a1-empty
    store one '' two
    # shellcheck disable=SC2086
    succeeds consume --until-empty $f ring
    printf 'one\n\ntwo\n' | cmp - out
  done
  store one '' $'t\nwo'
  succeeds consume --until-empty --framing=null ring
  printf 'one\0\0t\nwo\0' | cmp - out
  store one '' $'t\nwo'
  succeeds consume --until-empty --framing=none ring
  printf 'onet\nwo' | cmp - out
  must_be items 0
}

@test "consume: an item with the separator is written as it is, one warning" {
  new_ring 10K
  store $'a\nb' plain $'c\n' $'\nd'
  tool consume --until-empty ring
  [ "$status" = 0 ]
  says 'ring: warning: .*--framing=length' || report warning
  printf 'a\nb\nplain\nc\n\n\nd\n' | cmp - out
  printf '\3\0\0\0a\0b\1\0\0\0\0' >input
  succeeds produce --framing=length ring <input
  tool consume --until-empty --framing=null ring
  [ "$status" = 0 ]
  says 'ring: warning: .*--framing=length' || report warning
  printf 'a\0b\0\0\0' | cmp - out
}

@test "consume: no warning where items stay apart, nor with --quiet" {
  new_ring 10K
  local options
  for options in --framing=length --framing=none --framing=null \
    --output=json --quiet; do
    store $'a\nb'
    succeeds consume --until-empty $options ring
  done
}

@test "consume --output=json: keys, positions and exact base64" {
  fixture c2-wrap-header-last-word
  succeeds consume --until-empty --output=json ring
  lines_are out 3
  jq -se 'all (keys == ["data", "length", "next-position", "position"])' out
  [ "$(jq -c '[.position, ."next-position", .length]' out |
    paste -sd ' ')" = '[8700,8716,10] [8716,9320,600] [9320,9328,3]' ]
  jq -r .data out | while read -r line; do
    printf %s "$line" | base64 -d
  done >found
  fixture c2-wrap-header-last-word
  succeeds consume --until-empty --framing=none ring
  cmp out found
}

@test "consume --count=N takes N items" {
  fixture b1-six-items
  succeeds consume --count=2 --framing=length ring
  frame '' J | cmp - out
  must_be items 4 consumer 12
  succeeds consume --count=4 --framing=none ring
  must_be items 0
}

@test "consume --count=N waits for what is missing" {
  new_ring 10K
  store a
  start consume --count=3 ring >copy
  eventually lines_are copy 1
  store b
  eventually lines_are copy 2
  store c d
  finish
  [ "$status" = 0 ]
  [ "$(paste -sd ' ' copy)" = 'a b c' ]
  holds d
}

@test "consume --until-empty of an empty ring ends with nothing" {
  fixture a1-empty
  succeeds consume --until-empty ring
  [ ! -s out ]
  cmp ring "$fixtures/a1-empty.img"
}

@test "consume goes on without options, and with --follow" {
  local o
  for o in '' --follow; do
    new_ring 10K --force
    # shellcheck disable=SC2086
    start consume $o ring >copy
    store a
    eventually lines_are copy 1
    store b c
    eventually lines_are copy 3
    eventually is items 0
    kill -TERM "$pid"
    finish
    [ "$status" = 0 ]
    [ "$(paste -sd ' ' copy)" = 'a b c' ]
  done
}

@test "consume wakes up at once on what another process wrote" {
  new_ring 10K
  start consume --framing=line ring >copy
  store first
  eventually lines_are copy 1
  local i begin end
  for i in 2 3 4 5; do
    store item
    begin=$(milliseconds)
    eventually lines_are copy $i
    end=$(milliseconds)
    [ $((end - begin)) -lt 1000 ] ||
      fail "item $i came after $((end - begin)) ms"
  done
}

@test "consume appends to a file" {
  new_ring 10K
  echo before >copy
  store a b
  blkring-img consume --until-empty ring >>copy
  [ "$(paste -sd ' ' copy)" = 'before a b' ]
}

@test "a second consumer is refused, with the text of the first" {
  new_ring 10K
  store a b
  start consume --queue=jobs --client=first ring >copy
  eventually lines_are copy 2
  eventually is items 0
  fails 1 'ring: .*consumer.*jobs used by first' consume --until-empty ring
  kill -TERM "$pid"
  finish
  succeeds consume --until-empty ring
}

# consume: errors and being stopped --------------------------------------

# A pipe that nobody reads any more, on fd 6.
closed_pipe () {
  mkfifo closed
  exec 5<>closed 6>closed 5>&-
}

@test "consume: a closed pipe is an error, and nothing is taken" {
  fixture a3-example-produced
  closed_pipe
  cp ring before
  local options
  for options in --framing=line --framing=length --output=json; do
    status=0
    timeout 20 env --default-signal=PIPE blkring-img consume --until-empty \
      $options ring 2>err >&6 || status=$?
    [ "$status" = 1 ] || fail "status $status"
    says 'ring: .*Broken pipe' || fail "$(cat err)"
    cmp ring before
  done
}

@test "consume: a reader that closes keeps what it did not get" {
  new_ring 10K
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
  fixture a3-example-produced
  cp ring before
  local options
  for options in --framing=line --framing=length --output=json; do
    status=0
    timeout 20 blkring-img consume --until-empty $options ring \
      >/dev/full 2>err || status=$?
    [ "$status" = 1 ]
    says 'ring: .*No space left on device' || fail "$(cat err)"
    cmp ring before
  done
}

@test "consume: a closed stdout is an error, and nothing is taken" {
  fixture a3-example-produced
  cp ring before
  status=0
  timeout 20 blkring-img consume --until-empty ring 2>err >&- || status=$?
  cmp ring before
  [ "$status" = 1 ]
  says 'ring: ' || fail "$(cat err)"
}

@test "a closed stdin, stdout or stderr is not mistaken for the ring" {
  fixture a3-example-produced
  cp ring before
  timeout 20 blkring-img produce --framing=length ring <&- >out 2>err || :
  cmp ring before
  timeout 20 blkring-img produce ring missing 2>&- || :
  cmp ring before
  timeout 20 blkring-img create --format=1 new 10K >&- 2>err || :
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
    new_ring 10K --force
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
  fixture b1-six-items
  poke ring 1548 '\0\020'
  tool consume --until-empty --framing=length ring
  [ "$status" = 1 ]
  says 'ring: corrupt: .*12.*1548.*4096.*3544' || report message
  frame '' J | cmp - out
  [ "$(od -An -tu8 -j 1024 -N 8 ring | tr -d ' ')" = 12 ]
}

# Both -------------------------------------------------------------------

# Through a ring of $1 bytes and sectors of $2 goes the stream "input".
round_trip () {
  local producer
  rm -f ring
  new_ring "$1" --sector-size="$2"
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
  round_trip 64K 512 400
  round_trip 64K 4096 400
}

@test "random items go through the smallest rings" {
  random_items 25 508 >input
  round_trip 2K 512 25
  random_items 25 4092 >input
  round_trip 16K 4096 25
}

@test "small items go through the smallest ring, and empty ones" {
  random_items 1000 5 >input
  round_trip 2K 512 1000
}

@test "info, check, map and dump beside a running stream find no fault" {
  local producer consumer i
  new_ring 16K
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

@test "produce: a pipe as a later FILE delays nothing that came before" {
  new_ring 64K
  mkfifo later
  printf 'one\ntwo\n' >first
  start produce ring first later
  eventually has_items 2
  # It looks at the ring while it waits for a writer of the pipe.
  succeeds suspend --wait=20 ring
  succeeds resume --wait=20 ring
  echo three >later
  finish "$pid"
  [ "$status" = 0 ]
  succeeds consume --until-empty ring
  [ "$(cat out)" = $'one\ntwo\nthree' ]
}

@test "produce: a failure tells how many items were stored" {
  new_ring 64K
  input_pipe
  start produce ring <input 2>said
  echo one >&5
  eventually has_items 1
  poke ring 1032 '\0'
  echo two >&5
  finish "$pid"
  [ "$status" = 1 ]
  grep -Eq 'corrupt: .*: [12] items were stored' said
}
