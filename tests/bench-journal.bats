#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# make bench, its section on the journal: it measures all that is there, and
# leaves nothing behind.  How fast anything is, is not looked at.

load helpers

bench=$abs_top_builddir/bench/blkring-bench
quick=(--dir=d --only=journal --rounds=1 --seconds=0.001)

@test "pushes of 1, 2 and 8 threads are measured, beside what was built in" {
  mkdir d
  timeout 60 "$bench" "${quick[@]}" --output=json >out
  [ "$(jq -c '[.journal[].threads]' out)" = '[1,2,8]' ]
  jq -e '.journal | all (.pushes.median > 0 and .limit.median > 0 and
    .pushes_per_advance > 0 and .ratio_to_limit.median > 0)' out
  if grep -qx '#define HAVE_SQLITE3 1' "${bench%/bench/*}/config.h"; then
    jq -e '.journal | all (.sqlite.median > 0)' out
    jq -e '.targets | length == 4' out
  else
    jq -e '.journal | all (.sqlite == null)' out
    jq -e '.targets | length == 2' out
  fi
  jq -e 'has ("tests") or has ("durable_writes") | not' out
  [ -z "$(ls -A d)" ]
}

@test "the table names what a target is about" {
  mkdir d
  timeout 60 "$bench" "${quick[@]}" >out
  grep -qx 'journal, format 2/4096: durable pushes of 128 bytes.*' out
  [ "$(grep -cE '^ +(1|2|8) +[0-9]+ ' out)" = 3 ]
  grep -qE '^  2: journal, 1 thread: pushes / limit .* >= 0.85 ' out
  grep -qE '^  2: journal, 8 threads: pushes / of 1 thread .* >= 3.00 ' out
}

@test "a section that is not known is refused" {
  run "$bench" --only=queue
  [ "$status" = 1 ]
  [[ "$output" = *'--only=queue: neither ring, writes nor journal'* ]]
}
