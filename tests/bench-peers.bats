#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# make bench-peers: it measures what is there, names what is not, and leaves
# nothing behind.

load helpers

bench=$abs_top_builddir/bench/blkring-peers
quick=(--dir=d --size=8 --seconds=0.001)

peers () {
  status=0
  timeout -k 1 60 "$bench" "${quick[@]}" "$@" >out 2>err || status=$?
}

# The programs of this machine, without the servers.
hide_servers () {
  mkdir bin
  ln -s /usr/bin/* bin/
  rm -f bin/redis-server bin/beanstalkd
  PATH=$(dirname "$(command -v blkring-img)"):$PWD/bin
}

# Processes that work for a run in the directory d.
workers () {
  find /proc -maxdepth 2 -path '/proc/[0-9]*/cwd' -lname "$PWD/d/*" \
    2>/dev/null || :
}

wait_for () {
  local i
  for ((i = 0; i < 1000; i++)); do
    ! "$@" || return 0
    sleep 0.01
  done
  fail "in vain: $*"
}

are_gone () { [ -z "$(workers)" ]; }
# The one that measures, two of each peer, and the server.
are_at_work () { [ "$(workers | wc -l)" = "$expected" ]; }

start_run () {
  expected=3
  [ -z "$(command -v beanstalkd)" ] || expected=6
  mkdir d
  "$bench" "${quick[@]}" --rounds=10000 --peers=beanstalkd >out 2>err 3>&- &
  started+=($!)
  wait_for are_at_work
}

teardown () {
  local cwd

  # What should not be there.
  for cwd in $(workers); do
    kill -KILL "$(basename "$(dirname "$cwd")")" || :
  done
  kill_all
}

@test "all that was asked for is measured, without a loss" {
  mkdir d
  peers --rounds=1 --peers=blkring-1,bare,sqlite
  [ "$status" = 0 ]
  for peer in blkring blkring-1 bare; do
    [ "$(grep -cE "^ *[0-9]+ +(1|64) $peer +[0-9]" out)" = 4 ]
  done
  grep -qx 'sqlite .*SQLite.*' out || grep -qx 'sqlite .* libsqlite3-dev .*' out
  [ "$(grep -c '^lmdb' out)" = 0 ]
  [ -z "$(ls -A d)" ]
}

@test "a server that is not there is left out, and its package named" {
  mkdir d
  hide_servers
  peers --rounds=1 --peers=beanstalkd
  [ "$status" = 0 ]
  grep -qx 'beanstalkd  *left out: the package beanstalkd is missing' out
  [ "$(grep -cE '^ *[0-9]+ +1 beanstalkd' out)" = 0 ]
}

@test "a server that does not start fails the run, with its last words" {
  mkdir d
  hide_servers
  printf '#!/bin/sh\necho not today\nexit 3\n' >bin/beanstalkd
  chmod +x bin/beanstalkd
  peers --rounds=1 --peers=beanstalkd
  [ "$status" = 1 ]
  grep -q 'beanstalkd ended' err
  grep -qx 'not today' err
  are_gone
  [ -z "$(ls -A d)" ]
}

@test "a run that is interrupted leaves no process and no file" {
  start_run
  kill -TERM "${started[0]}"
  wait_for are_gone
  status=0
  wait "${started[0]}" || status=$?
  [ "$status" = 143 ]
  [ -z "$(ls -A d)" ]
}

@test "a run that is killed leaves no process" {
  start_run
  kill -KILL "${started[0]}"
  wait_for are_gone
}
