# SPDX-License-Identifier: BSD-3-Clause
#
# A relay between two unix sockets, for tests: relay.py FRONT BACK.  At SIGUSR1
# it closes the connections of the clients that there are, and keeps those that
# it has made for them, without a word: so a server sees a host that vanished.
# Then there is a file FRONT.cut.

import selectors
import signal
import socket
import sys

front_name, back_name = sys.argv[1:]
wait = selectors.DefaultSelector ()
cut = []
kept = []


def accept (front):
    client, _ = front.accept ()
    server = socket.socket (socket.AF_UNIX)
    server.connect (back_name)
    wait.register (client, selectors.EVENT_READ, ("client", server))
    wait.register (server, selectors.EVENT_READ, ("server", client))


def close (s):
    wait.unregister (s)
    s.close ()


def pass_on (source, to):
    data = b""
    try:
        data = source.recv (65536)
        to.sendall (data)
    except OSError:
        pass
    if not data:
        close (source)
        close (to)


def vanish ():
    cut.clear ()
    for key in list (wait.get_map ().values ()):
        if key.data[0] == "server":
            wait.unregister (key.fileobj)
            kept.append (key.fileobj)
        elif key.data[0] == "client":
            close (key.fileobj)
    open (front_name + ".cut", "x").close ()


signal.signal (signal.SIGUSR1, lambda *_: cut.append (True))
front = socket.socket (socket.AF_UNIX)
front.bind (front_name)
front.listen ()
wait.register (front, selectors.EVENT_READ, ("front", None))
while True:
    for key, _ in wait.select (0.02):
        kind, other = key.data
        if kind == "front":
            accept (front)
        elif key.fileobj.fileno () != -1:
            pass_on (key.fileobj, other)
    if cut:
        vanish ()
