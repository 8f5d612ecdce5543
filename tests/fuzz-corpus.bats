#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# The fuzz targets run on the inputs of fuzzing/corpus, among them each that
# ever failed, on the images of other programs, and on some random ones.

bats_require_minimum_version 1.5.0

fuzzing=$PWD/fuzzing

setup () {
  cd "$BATS_TEST_TMPDIR"
  mkdir image patch arguments
  "$fuzzing/make-seeds" .
}

# replay TARGET FILE...
replay () {
  local target=$1
  shift
  "$fuzzing/replay-$target" "$@" 2> log || {
    tail -3 log
    return 1
  }
}

# The files of fuzzing/corpus for a target.
unpack () {
  local file nr=0
  for file in "$abs_top_srcdir/fuzzing/corpus/$1"*.txt; do
    mkdir "$1/$((++nr))"
    perl "$abs_top_srcdir/fuzzing/corpus.pl" unpack "$file" "$1/$nr"
  done
}

@test "rings as they are" {
  replay image image/* "$abs_top_srcdir"/tests/data/v1/*.img
}

@test "rings that were changed" {
  unpack patch
  find patch -type f -print0 | xargs -0 "$fuzzing/replay-patch" 2> log ||
    { tail -3 log; false; }
}

@test "rings that are changed at random" {
  replay patch --random=4000
}

@test "arguments and input" {
  unpack arguments
  find arguments -type f -print0 | xargs -0 "$fuzzing/replay-arguments" \
    2> log || { tail -3 log; false; }
  replay arguments --random=4000
}
