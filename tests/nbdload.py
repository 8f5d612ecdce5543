# SPDX-License-Identifier: BSD-3-Clause
"""Load on a server beside a producer and a consumer: a process each, with a
connection of its own, until there is a file "stop".  nbdload.py WORKER...

What the server refuses to a worker is what it should; what it answers, has to
be right."""

import os
import random
import sys

from nbdring import EINVAL, EPERM, FUA, connect, json, nbd, ring

DEPTH = 16                   # requests in flight
CHUNK = 65536


def watch(h):
    """The status is of one moment."""
    s = json.loads(h.pread(h.get_size(), 0))
    consumer, = s["consumers"]
    assert s["used"] + s["free"] == s["capacity"], s
    assert s["producer"]["position"] - consumer["position"] >= 0, s
    assert s["rejected"]["count"] == 0 or s["rejected"]["reason"], s


def read(h):
    """The whole ring, and which part of it is a hole."""
    size = h.get_size()
    at = range(0, size, CHUNK)
    buffers = [nbd.Buffer(min(CHUNK, size - o)) for o in at]
    extents = []
    pending = []
    for o, b in zip(at, buffers):
        pending.append(h.aio_pread(b, o))
        finish(h, pending, DEPTH)
    finish(h, pending, 1)
    h.block_status(size, 0, lambda *a: extents.append(a[2]))
    lengths = sum(extents[0][::2])
    assert 0 < lengths <= size, extents


def finish(h, pending, limit):
    while len(pending) >= limit:
        while not h.aio_command_completed(pending[0]):
            h.poll(-1)
        pending.pop(0)


def vandalise(h):
    """Whatever comes to mind, DEPTH of it at once.  A producer is at work, so
    that nothing of it is let in but what changes nothing."""
    size = h.get_size()
    pending = []
    refused = 0

    def one():
        o = random.choice((0, 512, 1024, 4096, 8192, random.randrange(size)))
        n = random.choice((1, 8, 512, 4096, 100000))
        n = min(n, size - o)
        flags = random.choice((0, FUA))
        kind = random.randrange(4)
        if kind == 0:
            return h.aio_zero(n, o, flags=flags)
        if kind == 1:
            return h.aio_trim(n, o, flags=flags)
        if kind == 2:
            return h.aio_flush()
        return h.aio_pwrite(nbd.Buffer.from_bytearray(
            bytearray(random.randbytes(n))), o, flags=flags)

    for _ in range(4 * DEPTH):
        pending.append(one())
        while len(pending) >= DEPTH:
            try:
                finish(h, pending, DEPTH)
            except nbd.Error as e:
                pending.pop(0)
                refused += 1
                assert e.errnum in (EINVAL, EPERM), e
    while pending:
        try:
            finish(h, pending, 1)
        except nbd.Error as e:
            pending.pop(0)
            refused += 1
            assert e.errnum in (EINVAL, EPERM), e
    assert refused, "the guard sleeps"


def usurp(h):
    """Try to be the producer, and the consumer."""
    r = ring(h)
    for side in 0, 1:
        try:
            if os.environ["format"] == "1":
                r.set_pointer(1 + side, r.pointer(1 + side)[0],
                              text=os.urandom(8).hex())
            else:
                r.put((r.PRODUCER, r.CONSUMER)[side], epoch=1 << 40,
                      sequence=1)
        except nbd.Error as e:
            assert e.errnum in (EINVAL, EPERM), e
        else:
            raise AssertionError("a second owner was let in")


def come_and_go(_):
    h = connect(random.choice(("", "status")))
    h.pread(512, 0)


WORKERS = {"watch": watch, "read": read, "vandalise": vandalise,
           "usurp": usurp, "come-and-go": come_and_go}


def work(name, seed):
    random.seed(seed)
    h = connect("status" if name == "watch" else "")
    rounds = 0
    while not os.path.exists("stop"):
        WORKERS[name](h)
        rounds += 1
    print(name, rounds)
    assert rounds


def main():
    children = []
    for k, name in enumerate(sys.argv[1:]):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            work(name, k)
            sys.stdout.flush()
            os._exit(0)
        children.append(pid)
    failed = [pid for pid in children if os.waitpid(pid, 0)[1]]
    if failed:
        sys.exit(f"{len(failed)} of {len(children)} failed")


if __name__ == "__main__":
    main()
