# SPDX-License-Identifier: BSD-3-Clause
#
# What the tests on NBD servers have in common.  A server listens on a unix
# socket in the test's directory, and is killed with everything else that the
# test has started.

load helpers

# nbdkit with these arguments, on "socket": its number in $server, and the
# URI in $uri.
serve () {
  rm -f socket
  nbdkit -f -U socket "$@" 2>server.log 3>&- 5>&- 6>&- 7>&- &
  server=$!
  started+=("$server")
  uri="nbd+unix:///?socket=$PWD/socket"
  eventually [ -S socket ]
}

# The same with qemu-nbd, of a file.
serve_qemu () {
  rm -f socket
  qemu-nbd --persistent --shared=8 --format=raw --socket="$PWD/socket" "$@" \
    2>server.log 3>&- 5>&- 6>&- 7>&- &
  server=$!
  started+=("$server")
  uri="nbd+unix:///?socket=$PWD/socket"
  eventually [ -S socket ]
}

# kill -9, and gone.
kill_server () {
  kill -KILL "$server" 2>/dev/null
  wait "$server" 2>/dev/null || :
  rm -f socket
}

# A ring of this format on the export.
create () {
  succeeds create -q --format="$1" "${@:2}" "$uri"
}

# How often the log of nbdkit's log filter has this.
requests () {
  grep -c "connection=[0-9]* $1 " "${2-log}" || :
}

fua_writes () {
  grep -c "connection=[0-9]* Write .*fua=1" "${1-log}" || :
}
