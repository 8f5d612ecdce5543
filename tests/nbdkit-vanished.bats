#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Owners that vanished and left their connection behind: stopped processes,
# and hosts that can no longer be reached.  Another gets the side after the
# time that owner-timeout says, and what the old one wrote before or writes
# later does no harm.

load helpers
load nbdkit

teardown () {
  [ -z "${space-}" ] || ip netns pids "$space-a" | xargs -r kill -KILL || :
  kill_all
  [ -z "${space-}" ] || for s in a b; do
    ip netns del "$space-$s" 2>/dev/null || :
  done
}

# A command of blkring-img, until the server lets it have the side.  What a
# producer stores is 2.
in_the_end () {
  local i
  echo 2 >two
  for ((i = 0; i < 100; ++i)); do
    ! "$@" <two 2>refused || return 0
    grep -q 'another' refused || break
    sleep 0.2
  done
  fail "not let in: $*" "$(cat refused)"
}

@test "a producer that is stopped: another takes its side, and it is told" {
  new_ring 1M
  serve ring owner-timeout=2
  input_pipe
  start produce "$uri" <input 2>old
  echo 1 >&5
  eventually export_is items 1
  kill -STOP "$pid"
  # It is stopped in the middle of something, or before it.
  echo late >&5
  in_the_end blkring-img produce --no-wait "$uri"
  kill -CONT "$pid"
  finish
  [ "$status" != 0 ]
  says '.*another' old || fail "$(cat old)"
  succeeds consume --until-empty "$uri"
  seq 2 | cmp - out
  stop_server
  ring_is_valid
}

@test "a consumer that is stopped: another goes on where it was" {
  new_ring 1M
  serve ring owner-timeout=2
  seq 3 | succeeds produce "$uri"
  start consume --follow "$uri" >copy 2>old
  eventually export_is items 0
  kill -STOP "$pid"
  seq 4 6 | succeeds produce "$uri"
  in_the_end blkring-img consume --until-empty "$uri" >out
  # In format 1 who is refused has read them, too.
  seq 4 6 | cmp - <(tail -n 3 out)
  kill -CONT "$pid"
  finish
  [ "$status" != 0 ]
  says '.*another' old || fail "$(cat old)"
  stop_server
  ring_is_valid
}

# Two hosts: the server and those beside it are $space-a; $space-b reaches it
# by a link.
hosts () {
  [ "$(id -u)" = 0 ] || cannot "not root"
  type ip >/dev/null 2>&1 || cannot "no ip (iproute2)"
  space=blkring-$$
  ip netns add "$space-a" 2>err && ip netns add "$space-b" 2>>err &&
    ip link add veth-a netns "$space-a" type veth \
      peer name veth-b netns "$space-b" 2>>err ||
    cannot "no network namespaces: $(cat err)"
  at a ip link set lo up
  at a ip addr add 192.0.2.1/30 dev veth-a
  at b ip addr add 192.0.2.2/30 dev veth-b
  at a ip link set veth-a up
  at b ip link set veth-b up
}
at () {
  ip netns exec "$space-$1" "${@:2}"
}

# In b a client does by hand what standard input says, as "r".  It goes on at
# each pause () when the file of that name is there.
far () {
  {
    cat <<'EOF'
import os, sys, time
from nbdring import *
def pause(name):
    print(name, flush=True)
    deadline = time.monotonic() + 60
    while not os.path.exists(name):
        assert time.monotonic() < deadline, name
        time.sleep(0.05)
h = nbd.NBD()
h.set_strict_mode(0)
h.connect_tcp("192.0.2.1", "10809")
r = ring(h)
def late(buffers):
    "Sent into the dark; what the server says in the end."
    commands = [h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(p)), at)
                for p, at in buffers]
    pause("up")
    errors = []
    for c in commands:
        try:
            while not h.aio_command_completed(c):
                h.poll(-1)
            errors.append(0)
        except nbd.Error as e:
            errors.append(e.errnum)
    return errors
EOF
    cat
  } >far.py
  PYTHONPATH=$abs_top_srcdir/tests PYTHONDONTWRITEBYTECODE=1 format=$format \
    at b timeout -k 1 120 $python far.py >said 2>far.err 3>&- &
  far=$!
  started+=("$far")
}
said () {
  grep -qx "$1" said || { gone "$far" && cat far.err; }
}

@test "a host that is cut off: what it sent arrives late, and is refused" {
  local command
  hosts
  new_ring 1M
  serving ring owner-timeout=2
  nbdkit=(ip netns exec "$space-a" "${nbdkit[@]}")
  launch_nbdkit -p 10809 "${command[@]}"
  is_ready sock
  far <<'EOF'
if isinstance(r, Ring2):
    r.claim(r.PRODUCER)
r.append([b"1"])
if isinstance(r, Ring1):
    # Data of an item, and the pointer to it.
    p = r.pointers()[0]
    pointer = bytearray(h.pread(512, 512))
    struct.pack_into("<Q", pointer, 0, p + 8)
    parts = [(padded(b"late"), r.at(p)), (pointer, 512)]
else:
    offset, record = r.encode(r.PRODUCER)
    parts = [(r.encode_frame([b"late"]), r.at(r.tail)), (record, offset)]
pause("cut")
errors = late(parts)
assert errors == [EPERM, EPERM], errors
# For as long as this connection lasts.
pause("free")
try:
    h.pwrite(parts[0][0], parts[0][1])
    assert False
except nbd.Error as e:
    assert e.errnum == EPERM, e
EOF
  eventually said cut
  at a ip link set veth-a down
  : >cut
  eventually said up
  # Beside the server, where the link is none.
  in_the_end at a "$(command -v blkring-img)" produce --no-wait \
    nbd://127.0.0.1
  at a ip link set veth-a up
  : >up
  eventually said free
  : >free
  finish "$far"
  [ "$status" = 0 ] || fail "$(cat far.err)" "$(cat log)"
  logged 3 'was taken by another'
  stop_server
  [ "$status" = 0 ]
  seq 2 | cmp - <(blkring-img consume --until-empty ring)
  ring_is_valid
}
