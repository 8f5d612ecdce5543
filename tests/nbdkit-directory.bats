#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# One server, a directory of rings: "file dir=".

load helpers
load nbdkit

# Rings a and b, and what is none.
start_directory () {
  mkdir rings
  succeeds create -q rings/a 1M
  succeeds create -q rings/b 1M
  head -c 1M /dev/urandom >rings/junk
  truncate -s 1M rings/blank
  start_nbdkit "--filter=$filter" file dir=rings "$@"
}

of () {
  echo "nbd+unix:///$1?socket=sock"
}

@test "each file is a ring of its own, with its own status" {
  start_directory
  seq 3 | succeeds produce "$(of a)"
  seq 100 105 | succeeds produce "$(of b)"
  export_is items 3 "$(of a)"
  export_is items 6 "$(of b)"
  succeeds consume --until-empty "$(of b)"
  seq 100 105 | cmp - out
  export_is items 3 "$(of a)"
  nbdcopy "$(of a/status)" - | jq -e ".format == $format and .connections == 1"
  stop_server
  export_is items 3 rings/a
  export_is items 0 rings/b
}

@test "what one ring's status counts, another's does not" {
  start_directory
  nbd <<'EOF'
import json, nbd
def connect(name):
    h = nbd.NBD()
    h.set_export_name(name)
    h.connect_unix("sock")
    return h
a, b, sa, sb = map(connect, ("a", "b", "a/status", "b/status"))
def count(h):
    return json.loads(h.pread(h.get_size(), 0))["rejected"]["count"]
try:
    a.pwrite(b"x" * 512, 0)
    assert False
except nbd.Error:
    pass
assert count(sa) == 1 and count(sb) == 0
EOF
}

@test "two connections to one name share its state: one owner" {
  start_directory
  input_pipe
  start produce "$(of a)" <input
  echo 1 >&5
  eventually export_is items 1 "$(of a)"
  tool produce --no-wait "$(of a)" <<<2
  [ "$status" != 0 ]
  grep -q 'another' err
  succeeds produce --no-wait "$(of b)" <<<2
}

@test "all names are listed, each with its status" {
  start_directory
  rm rings/junk rings/blank
  nbdinfo --list --json "$uri" | jq -r '.exports[]."export-name"' |
    sort >list
  printf '%s\n' a a/status b b/status | cmp - list
}

@test "what is no ring is listed in nobody's way, and refused when opened" {
  local name
  start_directory
  nbd <<'EOF'
import nbd
h = nbd.NBD()
h.set_opt_mode(True)
h.connect_unix("sock")
names = []
h.opt_list(lambda name, description: names.append(name))
assert {"a", "b", "a/status"} <= set(names), names
EOF
  for name in junk blank junk/status; do
    tool info "$(of $name)"
    [ "$status" != 0 ]
  done
  grep -q 'there is no ring' log
  succeeds info "$(of a)"
}

@test "an unknown name is refused" {
  local name
  start_directory
  for name in none none/status a/none ../ring a/../b '' status; do
    tool info "$(of "$name")"
    [ "$status" != 0 ] || fail "$name"
  done
  succeeds info "$(of a)"
}

@test "create=blank makes a ring on a blank file when it is opened" {
  start_directory blkring-create=blank "blkring-format=$format"
  cp rings/junk before
  seq 4 | succeeds produce "$(of blank)"
  export_is items 4 "$(of blank)"
  export_is format $format "$(of blank)"
  tool info "$(of junk)"
  [ "$status" != 0 ]
  cmp before rings/junk
}
