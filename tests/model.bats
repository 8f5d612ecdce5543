#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# docs/model: spin searches each model, and finds each rule that is left out.
# MODEL_LONG=1 makes the search larger (make check-long).

setup () {
  command -v spin > /dev/null || skip "spin is not installed"
  command -v "${CC:=cc}" > /dev/null || skip "there is no C compiler"
  cd "$BATS_TEST_TMPDIR"
}

# search MODEL 'OPTIONS OF CC' 'OPTIONS OF PAN' [-DNAME=VALUE...]
# In $output what pan says of the whole search; 0: no error was found.
search () {
  local model=$1 cc_options=$2 pan_options=$3
  shift 3
  cp "$abs_top_srcdir/docs/model/$model.pml" model.pml
  spin -a "$@" model.pml
  # shellcheck disable=SC2086
  $CC -w $cc_options -o pan pan.c
  # shellcheck disable=SC2086
  output=$(./pan -m100000 $pan_options)
  echo "$output"
  # Nothing that could hide an error.
  [[ $output != *"max search depth too small"* ]]
  [[ $output != *"out of memory"* ]]
  [[ $output != *"Search not completed"* || $output != *"errors: 0"* ]]
  echo "# $model $*:$(grep 'states, stored' <<< "$output")" >&3
  [[ $output == *"errors: 0"* ]]
}

# A broken model: spin says that the assertion, or the cycle, is there.
finds () {
  local expected=$1
  shift
  if search "$@"; then
    echo "not found: $*"
    return 1
  fi
  [[ $output == *"$expected"* ]]
}

long () {
  if [ -n "${MODEL_LONG-}" ]; then echo "$1"; else echo "$2"; fi
}

safety="-O1 -DSAFETY"
progress="-O1 -DNP"

@test "suspend: no deadlock, no push in a ring seen suspended, no request lost" {
  search suspend "$safety" "" -DCRASHES="$(long 4 2)"
}

@test "suspend: each request is answered in the end" {
  search suspend "$progress" "-l -f" -DCRASHES="$(long 2 1)" \
    -DCHANGES=1
}

@test "suspend: a push that does not mind the flag is found" {
  finds "assertion violated  !(seen)" suspend "-DSAFETY" "" -DBROKEN=1
}

@test "suspend: a producer that forgets the request at attach is found" {
  finds "assertion violated  !(seen)" suspend "-DSAFETY" "" -DBROKEN=2
}

@test "suspend: a producer that never looks is found" {
  finds "non-progress cycle" suspend "-DNP" "-l -f" -DBROKEN=3 -DCRASHES=0
}

@test "suspend: an answer to what is in a cache alone is found" {
  finds "assertion violated  !(seen)" suspend "-DSAFETY" "" -DBROKEN=4
}

@test "suspend: a repeated request that is in a cache alone is found" {
  finds "(suspend_on_disk==wanted)" suspend "-DSAFETY" "" -DBROKEN=5
}

@test "suspend: a request before the answer to the last one is found" {
  finds "assertion violated  !(seen)" suspend "-DSAFETY" "" -DBROKEN=6
}

@test "suspend: a consumer's sector without a lock is found" {
  finds "assertion violated" suspend "-DSAFETY" "" -DBROKEN=7
}

@test "suspend: a consumer that writes the flag as it was is found" {
  finds "assertion violated" suspend "-DSAFETY" "" -DBROKEN=8
}

@test "suspend: the flags of two moments are found" {
  finds "assertion violated  !(seen)" suspend "-DSAFETY" "" -DBROKEN=9
}

@test "suspend: a late write of one that is dead is found" {
  finds "assertion violated" suspend "-DSAFETY" "" -DBROKEN=10
}

loss="((told||(acknowledged[id]==0))||(acknowledged[id]==freed[id]))"

@test "takeover: what was acknowledged is delivered, or somebody is told" {
  search takeover "$safety" ""
  search takeover "$safety" "" -DTAKERS=1 -DAPPENDS="$(long 3 2)"
}

@test "takeover: a taker that does not wait is found" {
  finds "$loss" takeover "-DSAFETY" "" -DBROKEN=1
}

@test "takeover: a taker that reads before it claims is found" {
  finds "$loss" takeover "-DSAFETY" "" -DBROKEN=2
}

@test "takeover: no look behind a write that took long is found" {
  finds "$loss" takeover "-DSAFETY" "" -DBROKEN=3
}

@test "takeover: frames of an epoch that is over are found" {
  finds "$loss" takeover "-DSAFETY" "" -DBROKEN=4
}

@test "takeover: frames without a chain are found" {
  finds "$loss" takeover "-DSAFETY" "" -DBROKEN=5
}

@test "takeover: a taker that does not look back is found" {
  finds "$loss" takeover "-DSAFETY" "" -DBROKEN=6
}

@test "takeover: a consumer that does not look after a late write is found" {
  finds "$loss" takeover "-DSAFETY" "" -DBROKEN=7
}

@test "takeover: two at the same time are found" {
  finds "$loss" takeover "-DSAFETY" "" -DBROKEN=8
}
