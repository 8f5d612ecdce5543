#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Files that let the tool down: without room on the disk, behind a limit of the
# process, read-only, and shrunk while somebody works on them.  Each time a
# message that says so, and soon; and what was stored is there when the file
# is well again.  NAME-format1.bats runs the same on format 1.

load helpers

setup () {
  cd "$BATS_TEST_TMPDIR" || return
  started=()
  # Who spins is ended by SIGXCPU, and has not status 1 then.
  ulimit -S -t 10
}

teardown () {
  kill_all
  ! mountpoint -q small || umount small
}

# A small file system in the folder "small".
small_disk () {
  mkdir small
  mount -t tmpfs -o size="$1" tmpfs small 2>err || {
    [ "${BLKRING_REQUIRE_ROOT-}" != 1 ] || fail "$(cat err)"
    skip "no tmpfs can be mounted (not root?)"
  }
}

lines () {
  seq -f "line %05g of some length" "$1" "$2"
}

# All that the ring $1 holds are the first lines, at least $2 of them.
holds_first_lines () {
  local n
  timeout 20 blkring-img dump --output=json "$1" | jq -r '.data | @base64d' \
    >got
  n=$(wc -l <got)
  [ "$n" -ge "$2" ] || fail "$n items, and $2 were stored"
  [ "$n" = 0 ] || lines 1 "$n" | cmp - got
}

# The process that was started last ends soon, with status 1 and this in its
# message.
fails_soon () {
  local pattern=$1 log=$2
  finish
  [ "$status" = 1 ] || fail "status $status" "$(cat "$log")"
  says "$pattern" "$log" || fail "$(cat "$log")"
}

@test "create on a disk that is too small: an error, and no file is left" {
  small_disk 1M
  fails 1 '.*No space left on device' create small/ring 4M
  [ ! -s small/ring ]
  succeeds create -q small/ring 512K
}

@test "a sparse ring on a disk that fills up: an error, and what was stored is there" {
  small_disk 2M
  succeeds create -q --sparse small/ring 8M
  lines 1 300 >input
  succeeds produce small/ring <input
  status=0
  dd if=/dev/zero of=small/filler bs=4k status=none 2>/dev/null || :
  lines 301 100000 >more
  timeout 20 blkring-img produce --batch=16 small/ring <more >out 2>err ||
    status=$?
  [ "$status" = 1 ] || fail "status $status" "$(cat err)"
  says '.*No space left on device' || fail "$(cat err)"
  holds_first_lines small/ring 300
  rm small/filler
  succeeds check small/ring
  lines $((1 + $(wc -l <got))) 5000 >more
  succeeds produce small/ring <more
  holds_first_lines small/ring 5000
  succeeds consume --until-empty small/ring
  lines 1 5000 | cmp - out
}

@test "a limit on the size of files: an error, and what was stored is there" {
  local limit=40
  new_ring 1M
  lines 1 10 >input
  succeeds produce ring <input
  lines 11 100000 >more
  status=0
  # Blocks of 1024 bytes.
  (
    ulimit -f "$limit"
    exec env --ignore-signal=XFSZ timeout 20 blkring-img produce --batch=16 \
      ring <more >out 2>err
  ) || status=$?
  [ "$status" = 1 ] || fail "status $status" "$(cat err)"
  says '.*File too large' || fail "$(cat err)"
  holds_first_lines ring 10
  succeeds check ring
  lines $((1 + $(wc -l <got))) 5000 >more
  succeeds produce ring <more
  holds_first_lines ring 5000
}

@test "a read-only file can be looked at, and all else says that it cannot" {
  local as=() command
  new_ring 64K
  lines 1 3 >input
  succeeds produce ring <input
  chmod 444 ring
  if [ "$(id -u)" = 0 ]; then
    command -v setpriv >/dev/null || skip "root, and no setpriv"
    as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    cp ring "$BATS_RUN_TMPDIR/read-only-$format"
    chmod 755 "$BATS_RUN_TMPDIR"
    "${as[@]}" test -r "$BATS_RUN_TMPDIR/read-only-$format" -a \
      -x "$(command -v blkring-img)" || skip "nobody cannot get there"
    mv "$BATS_RUN_TMPDIR/read-only-$format" .
    ln -sf "read-only-$format" ring.ro
  fi
  [ "$(id -u)" = 0 ] || ln -sf ring ring.ro
  for command in info check map dump state; do
    timeout 20 "${as[@]}" blkring-img $command ring.ro >out 2>err ||
      fail "$command: $(cat err)"
  done
  for command in 'produce' 'consume --until-empty' suspend resume erase \
    'check -r all'; do
    status=0
    # shellcheck disable=SC2086
    timeout 20 "${as[@]}" blkring-img $command ring.ro <input >out 2>err ||
      status=$?
    [ "$status" = 1 ] || fail "$command: status $status"
    says '.*(Permission denied|Read-only file system)' ||
      fail "$command: $(cat err)"
  done
}

@test "a ring that shrinks under a consumer that waits" {
  new_ring 256K
  lines 1 3 >input
  succeeds produce ring <input
  start consume --follow ring >copy 2>log
  eventually lines_are copy 3
  eventually is items 0
  cp ring whole
  truncate -s 1K ring
  fails_soon '.*(shrunk|ends|is beyond)' log
  cp whole ring
  succeeds check ring
}

@test "a ring that shrinks under a producer that is idle" {
  new_ring 256K
  input_pipe
  start produce ring <input 2>log
  producer=$pid
  lines 1 3 >&5
  eventually is items 3
  cp ring whole
  truncate -s 1K ring
  # It looks once in a poll interval.
  eventually eval 'echo more >&5; gone "$producer"'
  exec 5>&-
  fails_soon '.*(shrunk|ends|is beyond|corrupt)' log
  cp whole ring
  [ "$(items_in ring)" = 3 ]
}

@test "a ring that shrinks under a stream, producer and consumer" {
  new_ring 256K
  lines 1 2000000 >input
  start produce ring <input 2>producer.log
  producer=$pid
  start consume --follow ring >copy 2>log
  consumer=$pid
  eventually test -s copy
  truncate -s 512 ring
  pid=$consumer
  fails_soon '.*(shrunk|ends|is beyond|corrupt)' log
  pid=$producer
  fails_soon '.*(shrunk|ends|is beyond|corrupt)' producer.log
  # What came is what was sent.
  head -n -1 copy >whole
  head -n "$(wc -l <whole)" input | cmp - whole
}

@test "processes that are stopped and woken by signals lose nothing" {
  local i signal
  new_ring 64K
  lines 1 60000 >input
  start produce --batch=4 ring <input 2>producer.log
  producer=$pid
  start consume --follow ring >copy 2>log
  consumer=$pid
  for ((i = 0; i < 100; i++)); do
    for signal in STOP WINCH CONT; do
      kill -$signal "$producer" "$consumer" 2>/dev/null || break 2
    done
  done
  kill -CONT "$producer" "$consumer" 2>/dev/null || :
  pid=$producer
  finish
  [ "$status" = 0 ] || fail "$(cat producer.log)"
  eventually lines_are copy 60000
  cmp input copy
  kill -TERM "$consumer"
  finish "$consumer"
  [ "$status" = 0 ]
}

items_in () {
  blkring-img info --output=json "$1" | jq .items
}
