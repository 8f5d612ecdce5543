#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# The commands of the README's section on TLS, as they stand there, from an
# empty directory to two hosts that talk.  Who is refused is in
# nbdkit-tls.bats.

load helpers
load nbdkit
load hosts

# The commands of the section, a block of lines each: 1 and 3 for the server, 2
# and 4 for the client.
block () {
  awk -v wanted="$1" '
    /^#/ { inside = $0 == "### TLS"; next }
    inside && /^    / { if (!before) n++; if (n == wanted) print substr ($0, 5) }
    { before = /^    / }' "$abs_top_srcdir/README.md"
}

# Two hosts, whose directories are empty but for what the README takes from the
# source.  The one named nbdkit finds the filter that was built, and says what
# its process is.
two_hosts () {
  type psktool certtool >/dev/null 2>&1 || skip "no psktool, certtool"
  hosts server client
  join server 192.0.2.1 client 192.0.2.2
  mkdir server client bin
  ln -s "$abs_top_srcdir/examples" server/examples
  echo '192.0.2.1 server server.example' >names
  on client mount --bind names /etc/hosts
  {
    printf '#!/bin/bash\nexec '
    printf '%q ' "${nbdkit[@]/%nbdkit/$(command -v nbdkit)}" -P "$PWD/pid"
    printf '"${@/#--filter=blkring/--filter=%s}"\n' "$filter"
  } >bin/nbdkit
  chmod +x bin/nbdkit
}

# run_at HOST COMMANDS: in its directory.
run_at () {
  local at
  cd "$1"
  at "$1"
  PATH=$BATS_TEST_TMPDIR/bin:$PATH "${at[@]}" bash -euc "$2" 3>&-
  cd ..
}
serve_block () {
  rm -f pid
  run_at server "$(block "$1")" >server.out 2>server.err ||
    fail "$(cat server.err)"
  eventually [ -s pid ]
  server=$(cat pid)
  started+=("$server")
}
# What the client consumes is what it has stored.
talk () {
  local commands at
  commands=$(block "$1")
  cd client
  at client
  "${at[@]}" bash -euc "exec $commands" >../items 2>../client.err 3>&- &
  pid=$!
  started+=("$pid")
  cd ..
  seq 1000 >client/in
  run_at client "${commands/consume --follow/produce} <in" >/dev/null \
    2>producer.err || fail "$(cat producer.err)"
  eventually lines_are items 1000 || fail "$(cat client.err)"
  cmp client/in items
  kill -TERM "$pid"
  finish "$pid"
  [ "$status" = 0 ] || fail "$(cat client.err)"
  kill -TERM "$server"
  eventually gone "$server"
}

@test "README: TLS with a shared secret" {
  two_hosts
  serve_block 1
  cp server/keys/keys.psk client
  talk 2
}

@test "README: TLS with certificates" {
  two_hosts
  (cd server && blkring-img create -q ring.img 64M)
  serve_block 3
  mkdir client/certificates
  cp -r server/certificates/client client/certificates
  talk 4
}

@test "README: there are four blocks of commands on TLS" {
  local i
  for i in 1 2 3 4; do
    [ -n "$(block $i)" ]
  done
  [ -z "$(block 5)" ]
}
