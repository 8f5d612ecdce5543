#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# What the server takes of memory: little, and no more for a larger ring.

load helpers
load nbdkit

# The most that the server had so far, in KiB, of everything.
peak () {
  awk '/^VmHWM:/ { print $2 }' "/proc/$(cat sock.pid)/status"
}

uninstrumented () {
  [[ ${nbdkit[*]} != *san.so* && ${nbdkit[*]} != *valgrind* ]] ||
    skip "the sanitizer takes more"
}

# A stream goes through, and then eight connections read the beginning, in
# requests of 64 KiB at most, and the block status.
use () {
  seq 20000 | succeeds produce "$uri"
  succeeds consume --count=20000 "$uri"
  nbd <<'EOF'
from nbdring import *
handles = [connect() for _ in range(6)] + [connect("status") for _ in "ab"]
for h in handles:
    for at in range(0, min(h.get_size(), 1 << 20), 65536):
        h.pread(min(65536, h.get_size() - at), at)
for h in handles[:6]:
    h.block_status(min(1 << 30, h.get_size()), 0, lambda *_: 0)
EOF
}

# The peak of a server of a ring of this size.
peak_of () {
  rm -f ring
  new_ring "$1" --sparse
  serve ring
  use
  peak
  stop_server
}

@test "16 MiB beside nbdkit's own are enough, whatever the size of the ring" {
  uninstrumented
  truncate -s 1M blank
  start_nbdkit file blank
  is_up
  own=$(peak)
  stop_server
  small=$(peak_of 1M)
  large=$(peak_of 100G)
  echo "# nbdkit $own KiB, with a ring of 1 MiB $small, 100 GiB $large" >&3
  [ "$large" -lt $((own + 16384)) ]
  [ "$large" -lt $((small + 2048)) ]
}

@test "nothing is kept of connections and requests that are over" {
  uninstrumented
  new_ring 1M
  serve ring
  crowd () {
    nbd "$1" <<'EOF'
import sys
from nbdring import *
for n in range(int(sys.argv[1])):
    h = connect(("", "status")[n % 2])
    h.pread(512, 0)
    try:
        h.pwrite(b"x" * 512, 0)
    except nbd.Error:
        pass
EOF
  }
  crowd 300
  before=$(peak)
  crowd 2000
  after=$(peak)
  echo "# $before KiB, $after after 2000 more" >&3
  [ "$after" -lt $((before + 1024)) ]
}
