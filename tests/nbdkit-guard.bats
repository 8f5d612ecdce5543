#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Who owns which side of a ring that is served; and a server without guard.

load helpers
load nbdkit

# Own the producer's side in python, from a connection h with a ring r.
own='
from nbdring import *
import sys, time
def producer(h=None):
    r = ring(h or connect())
    if isinstance(r, Ring2):
        r.claim(r.PRODUCER)
    r.append([b"x"])
    return r
def consumer():
    r = ring(connect())
    if isinstance(r, Ring2):
        r.claim(r.CONSUMER)
    else:
        r.set_pointer(2, r.pointer(2)[0], text=os.urandom(8).hex())
    return r
'
by_hand () {
  nbd <<<"$own$1"
}

@test "each side has one owner, and the second is told who it is" {
  new_ring 1M
  serve ring
  by_hand '
r, c = producer(), consumer()
for call, side in (producer, "producer"), (consumer, "consumer"):
    refused(EPERM, call, why="belongs to process " + str(os.getpid()))
s = status()
assert s["producer"]["owner"]["peer"].startswith("process "), s
assert s["consumers"][0]["owner"]["since"].startswith("20"), s
r.append([b"y"])
# Who ends, leaves the side at once.
del r.h
r.image = None
deadline = time.monotonic() + 10
while status()["producer"]["owner"]:
    assert time.monotonic() < deadline
producer()
'
}

@test "a second producer or consumer is refused while the first is at work" {
  new_ring 1M
  serve ring
  input_pipe
  start produce "$uri" <input
  echo 1 >&5
  eventually export_is items 1
  tool produce --no-wait "$uri" <<<2
  [ "$status" != 0 ]
  says '.*another'
  start consume --follow "$uri" >copy
  eventually export_is items 0
  # It owns its side, and can take nothing now.
  kill -STOP "$pid"
  echo 2 >&5
  eventually export_is items 1
  tool consume --until-empty "$uri"
  [ "$status" != 0 ]
  says '.*another'
}

@test "an owner that is killed frees its side at once, without --takeover" {
  local i
  new_ring 1M
  serve ring
  input_pipe
  for i in 1 2 3; do
    start produce "$uri" <input
    echo "$i" >&5
    eventually export_is items "$i"
    kill -KILL "$pid"
    finish
    eventually status_is .producer.owner null
  done
  succeeds consume --until-empty "$uri"
  seq 3 | cmp - out
}

@test "a silent owner can be replaced after owner-timeout, and not before" {
  new_ring 1M
  serve ring owner-timeout=0.5
  by_hand '
r = producer()
refused(EPERM, producer, why="belongs to")
deadline = time.monotonic() + 10
while status()["producer"]["owner"]["silent-ms"] < 500:
    assert time.monotonic() < deadline
    time.sleep(0.02)
other = producer()
if isinstance(r, Ring2):
    r.look()
refused(EPERM, r.append, [b"late"], why="was taken by another")
other.append([b"y"])
'
  export_is items 3
}

@test "an administrator suspends and resumes beside both sides" {
  new_ring 1M
  serve ring
  input_pipe
  start produce "$uri" <input
  start consume --follow "$uri" >copy
  echo 1 >&5
  eventually lines_are copy 1
  succeeds suspend --wait "$uri"
  status_is .state suspended
  succeeds resume --wait "$uri"
  status_is .state running
  echo 2 >&5
  eventually lines_are copy 2
  seq 2 | cmp - copy
}

@test "guard=off: anything can be written, the log says so" {
  new_ring 1M
  serve ring guard=off
  logged 0 'refused'
  status_is .guard false
  nbd <<'EOF'
from nbdring import *
h = connect()
h.pwrite(b"x" * 4096, 0)
assert h.pread(4096, 0) == b"x" * 4096
EOF
  [ "$(head -c 4 ring)" = xxxx ]
  logged 0 'refused'
}

@test "guard=off: the tool works as on the file, repair and all" {
  new_ring 1M
  serve ring guard=off
  seq 5 | succeeds produce "$uri"
  succeeds consume --count=2 "$uri"
  succeeds check -q "$uri"
  export_is items 3
}

# The requests that reach what is below, while one pointer is written that
# does not ask for durability.
durable_requests () {
  start_nbdkit "--filter=$filter" --filter=log file ring logfile=requests \
    "$@"
  : >requests
  nbd <<<"$own"'
h = connect()
r = ring(h)
if isinstance(r, Ring2):
    r.claim(r.PRODUCER)
open("requests", "w").close()
r.append([b"x"])
'
  grep -cE ' Flush |fua=1' requests || :
}

@test "sync: pointers are durable though the client does not ask" {
  [ $by = filter ] || skip "seen by a filter below"
  new_ring 1M
  [ "$(durable_requests)" -gt 0 ]
}

@test "sync=off: durable is what the client asks for" {
  [ $by = filter ] || skip "seen by a filter below"
  new_ring 1M
  # In format 1 the hand-written producer flushes its data.
  [ "$(durable_requests blkring-sync=off)" = $((format == 1)) ]
}

@test "create, erase and repair are refused through the guard" {
  new_ring 1M
  seq 3 | succeeds produce ring
  serve ring
  cp ring before
  for command in 'create --force' 'create --force --erase' erase \
    'erase --force' 'check -r leaks' 'check -r all'; do
    # shellcheck disable=SC2086
    tool $command "$uri"
    [ "$status" != 0 ] || report "not refused: $command"
    grep -q 'stop the server' err || report "message: $command"
  done
  # Who knows nothing of guards is told by the log.
  qemu-io -f raw -c 'write -z 0 512' "$uri" >out 2>&1 || :
  grep -q 'Invalid argument' out
  grep -q 'stop the server' log
  # What changes nothing is let in: here is a ring.
  tool create "$uri"
  [ "$status" = 0 ]
  cmp ring before
}
