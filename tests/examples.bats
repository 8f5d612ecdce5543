#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# The programs of examples/, and those in libblkring(3), do what they say.

build=$PWD

setup () {
  cd "$BATS_TEST_TMPDIR"
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
