#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Clients that are careless, broken or worse: the ring stays valid, and the
# server up.

load helpers
load nbdkit

start_ring () {
  new_ring 1M
  seq 10 | succeeds produce ring
  serve ring "$@"
}

# After whatever was done: up, valid, with its items.
unharmed () {
  ! gone "$server" || fail "the server is gone: $(tail -n 5 log)"
  export_is items "${1-10}"
  eventually is_idle
  stop_server
  [ "$status" = 0 ] || 
    fail "it ends with $status: $(grep -v refused log | tail -n 50)"
  ring_is_valid
  is items "${1-10}"
}

@test "garbage instead of the protocol" {
  start_ring
  nbd <<'EOF'
import random, socket, struct
random.seed(1)
for n in range(100):
    s = socket.socket(socket.AF_UNIX)
    s.connect("sock")
    s.settimeout(10)
    try:
        s.recv(18)
        if n % 2:
            s.sendall(struct.pack(">I", 3))
            if n % 4 == 1:
                s.sendall(b"IHAVEOPT" + struct.pack(">II", n, n * 1000))
        s.sendall(random.randbytes(random.randrange(1, 5000)))
    except OSError:
        pass
    s.close()
EOF
  unharmed
}

@test "requests beyond the end, of no bytes, with flags that were not offered" {
  start_ring
  nbd <<'EOF'
import random
from nbdring import *
random.seed(2)
def connected():
    h = connect()
    h.set_strict_mode(0)
    return h
h = connected()
size = h.get_size()
def offset():
    return random.choice((0, 1, size - 1, size, size + 1, 1 << 32, 1 << 63,
                          (1 << 64) - 512, random.randrange(size)))
done = 0
for n in range(400):
    o = offset()
    if o < size:
        o = size - 4
    c = random.choice((0, 5, 512, 1 << 20))
    f = random.choice((0, 1, 2, 4, 8, 16, 31))
    for call in (lambda: h.pread(c or 1, o, flags=f),
                 lambda: h.pwrite(bytes(c), o, f), lambda: h.zero(c, o, f),
                 lambda: h.trim(c, o, f), lambda: h.cache(c, o, f),
                 lambda: h.flush(f),
                 lambda: h.block_status(c or 1, o, lambda *_: 0, f)):
        try:
            call()
        except nbd.Error:
            pass
        done += 1
        if h.aio_is_dead() or h.aio_is_closed():
            h = connected()
assert done == 2800
assert connect().get_size() == size
EOF
  unharmed
}

@test "writes of 64 MiB, onto everything" {
  new_ring 65M
  seq 10 | succeeds produce ring
  serve ring
  nbd <<'EOF'
from nbdring import *
h = connect()
big = b"\xff" * (64 << 20)
refused(EINVAL, h.pwrite, big, 0)
refused(EINVAL, h.pwrite, big, 512)
h.pwrite(big, h.get_size() - len(big))
h.zero(len(big), h.get_size() - len(big))
EOF
  unharmed
}

@test "thousands of connections that are opened and dropped" {
  start_ring
  nbd "$((${BLKRING_ROUNDS-10} * 300))" <<'EOF'
import socket, sys
import nbd
for n in range(int(sys.argv[1])):
    if n % 10:
        s = socket.socket(socket.AF_UNIX)
        s.connect("sock")
        s.close()
    else:
        h = nbd.NBD()
        h.connect_unix("sock")
        del h
EOF
  eventually status_is .connections 1
  unharmed
}

@test "a client that stops reading does not stop others" {
  start_ring
  nbd <<'EOF'
import socket, struct
import nbd
s = socket.socket(socket.AF_UNIX)
s.connect("sock")
s.recv(18)
s.sendall(struct.pack(">I", 3) + b"IHAVEOPT" +
          struct.pack(">IIIH", 7, 6, 0, 0))
s.recv(20)
for n in range(64):
    s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, n, 0, 1 << 20))
h = nbd.NBD()
h.connect_unix("sock")
for n in range(100):
    h.pread(65536, 0)
EOF
  unharmed
}

@test "clients that are killed with 64 requests in flight" {
  local i
  start_ring
  for ((i = 0; i < ${BLKRING_ROUNDS-10}; i++)); do
    nbd <<'EOF' || :
import os, signal
import nbd
h = nbd.NBD()
h.connect_unix("sock")
free = h.get_size() // 2
b = nbd.Buffer.from_bytearray(bytearray(b"x" * 65536))
for n in range(64):
    if n % 2:
        h.aio_pwrite(b, free, flags=nbd.CMD_FLAG_FUA)
    else:
        h.aio_pread(nbd.Buffer(65536), 0)
os.kill(os.getpid(), signal.SIGKILL)
EOF
  done
  eventually status_is .connections 1
  unharmed
}

@test "two producers that race: one of them stores all, the other nothing" {
  local a b sum
  start_ring
  for _ in 1 2 3; do
    start produce --no-wait "$uri" < <(seq 100 199)
    a=$pid
    start produce --no-wait "$uri" < <(seq 200 299)
    b=$pid
    finish "$a"
    sum=$status
    finish "$b"
    [ "$sum" = 0 ] || [ "$status" = 0 ]
  done
  succeeds check -q "$uri"
  ! gone "$server"
  stop_server
  ring_is_valid
}

@test "a producer that dies between data and pointer" {
  start_ring
  nbd <<'EOF'
from nbdring import *
import signal
r = ring(connect())
if isinstance(r, Ring1):
    r.push([b"never advanced"])
else:
    r.claim(r.PRODUCER)
    r.append([b"staged"], flags=0)
EOF
  export_is items 10
  echo 11 | succeeds produce "$uri"
  succeeds consume --until-empty "$uri"
  seq 11 | cmp - out
  unharmed 0
}

@test "SIGTERM, without clients and with those that come and go" {
  start_ring
  stop_server
  [ "$status" = 0 ]
  ring_is_valid
  serve ring
  start produce --reconnect=1 "$uri" < <(seq 1000)
  eventually is_up
  kill -TERM "$server"
  finish "$pid"
  kill -KILL "$server" 2>/dev/null || :
  finish "$server"
  ring_is_valid
}

@test "SIGKILL of the server at any moment under load" {
  local i
  new_ring 1M
  for ((i = 0; i < ${BLKRING_ROUNDS-10}; i++)); do
    serve ring
    start produce --batch=1 "$uri" < <(yes "line of a log")
    producer=$pid
    start consume --follow "$uri" >copy
    eventually test -s copy
    perl -e 'select undef, undef, undef, rand 0.05'
    kill -KILL "$server"
    finish "$server"
    kill -KILL "$producer" "$pid" 2>/dev/null || :
    finish "$producer"
    finish "$pid"
    ring_is_valid
  done
}
