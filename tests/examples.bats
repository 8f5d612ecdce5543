#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# The programs of examples/, and those in libblkring(3), do what they say.

build=$PWD

setup () {
  cd "$BATS_TEST_TMPDIR"
  pid=
}

teardown () {
  [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || :
}

@test "lines go through a ring from the example producer to the consumer" {
  blkring-img create -q ring 1M
  seq 1 2000 > in
  producer ring < in &
  pid=$!
  timeout 60 consumer ring 2000 > out
  wait "$pid"
  cmp in out
}

@test "the example consumer ends when the ring is empty" {
  blkring-img create -q ring 1M
  printf 'one\ntwo\n' | producer ring
  run consumer ring
  [ "$status" = 0 ]
  [ "$output" = $'one\ntwo' ]
}

@test "the device in memory goes through the whole suspend protocol" {
  run memory
  [ "$status" = 0 ]
}

@test "the programs of the manual put items into a new ring and get them out" {
  "$build/tests/manual-put" ring hello world
  "$build/tests/manual-put" ring again
  run "$build/tests/manual-get" ring
  [ "$status" = 0 ]
  [ "$output" = $'hello\nworld\nagain' ]
  run "$build/tests/manual-get" ring
  [ "$status" = 0 ]
  [ "$output" = "" ]
}

@test "the journal of the manual makes each directory, some of them later" {
  printf 'a\na/b\na\nc\n' | "$build/tests/manual-mkdirs" journal
  [ -d a/b ]
  [ -d c ]
  # What is below d waits until there is a d, and what comes later waits too.
  status=0
  printf 'd/e\nd/e/f\ng\n' | "$build/tests/manual-mkdirs" journal 2>err ||
    status=$?
  [ "$status" = 1 ]
  grep -q 'd/e: No such file' err
  grep -q 'journal: the drain has left items' err
  [ ! -e g ]
  mkdir d
  "$build/tests/manual-mkdirs" journal </dev/null
  [ -d d/e/f ]
  [ -d g ]
}

@test "the journal of the manual is killed, and the next one makes the rest" {
  mkfifo names
  "$build/tests/manual-mkdirs" journal <names 2>err 3>&- &
  pid=$!
  exec 5>names
  printf 'here\nmissing/x\nmissing/y\nz\n' >&5
  until [ -d here ] && grep -q missing/x err; do sleep 0.01; done
  # The first attempt is over, and the last line is in the journal (whether the
  # first one is gone depends on what was one batch).
  until [ "$(blkring-img dump --output=json journal |
    jq -rs 'last | .data | @base64d')" = z ]; do sleep 0.01; done
  kill -KILL "$pid"
  wait "$pid" || :
  exec 5>&-
  [ ! -e z ]
  mkdir missing
  "$build/tests/manual-mkdirs" journal </dev/null
  [ -d missing/x ]
  [ -d missing/y ]
  [ -d z ]
}
