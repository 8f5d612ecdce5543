#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# One ring, through the export and on the file, and by the tools of others.

load helpers
load format1
load nbdkit

@test "what is filled through the export is read on the file" {
  new_ring 1M
  random_items 500 1500 >items
  serve ring
  succeeds produce --framing=length "$uri" <items
  stop_server
  succeeds consume --framing=length --until-empty ring
  cmp items out
}

@test "what is filled on the file is consumed through the export" {
  new_ring 1M
  random_items 500 1500 >items
  succeeds produce --framing=length ring <items
  serve ring
  succeeds consume --framing=length --until-empty "$uri"
  cmp items out
  stop_server
  is items 0
}

@test "producer and consumer meet only through the export" {
  new_ring 64K
  random_items 3000 300 >items
  serve ring
  start produce --framing=length "$uri" <items
  succeeds consume --framing=length --count=3000 "$uri"
  finish
  [ "$status" = 0 ]
  cmp items out
  stop_server
  ring_is_valid
}

@test "rings that the original wrote are served, and consumed" {
  local f name
  [ $format = 1 ] || skip "the original knows format 1"
  copy_fixtures
  for f in "${copies[@]}"; do
    name=$(basename "$f" .img)
    contents "$f" >wanted 2>/dev/null || continue
    cp "$f" ring
    serve "$f"
    cmp wanted <(contents "$uri") || fail "$name"
    if succeeds consume --framing=length --until-empty "$uri"; then
      cmp wanted out || fail "$name"
    fi
    stop_server
    served+=("$name")
  done
  [ ${#served[@]} -gt 10 ] || fail "only ${served[*]}"
}

@test "a hand-written producer fills it, blkring-img consumes it" {
  new_ring 1M
  serve ring
  nbd <<'EOF'
from nbdring import *
r = ring(connect())
if isinstance(r, Ring2):
    r.claim(r.PRODUCER)
for n in range(200):
    r.append([b"%d" % n])
EOF
  succeeds consume --until-empty "$uri"
  seq 0 199 | cmp - out
  status_is .rejected.count 0
  stop_server
  ring_is_valid
}

@test "blkring-img fills it, a hand-written consumer takes it" {
  new_ring 64K
  serve ring
  seq 200 | succeeds produce "$uri"
  nbd <<'EOF'
from nbdring import *
r = ring(connect())
wanted = [b"%d" % n for n in range(1, 201)]
if isinstance(r, Ring1):
    assert r.pop() == wanted
else:
    assert [i["data"] for i in r.items] == wanted
    r.claim(r.CONSUMER)
    r.free(r.tail)
EOF
  status_is .rejected.count 0
  export_is items 0
}

@test "nbdcopy and qemu-img take a copy that is a ring with the same items" {
  new_ring 4M
  random_items 100 3000 >items
  succeeds produce --framing=length ring <items
  serve ring
  nbdcopy "$uri" copy
  cmp items <(contents copy)
  ring_is_valid copy
  qemu-img convert -f raw -O raw "$uri" copy2
  cmp items <(contents copy2)
  qemu-img convert -f raw -O qcow2 "$uri" copy.qcow2
  qemu-img convert -f qcow2 -O raw copy.qcow2 copy3
  cmp items <(contents copy3)
}

@test "nbdcopy writes a copy back to a server without guard" {
  new_ring 1M
  seq 50 | succeeds produce ring
  cp ring image
  : >ring
  truncate -s 1M ring
  blkring-img create -q --format=$format --force ring
  serve ring guard=off
  nbdcopy --flush image "$uri"
  stop_server
  is items 50
}

@test "nbdcopy onto a ring that holds other items is refused" {
  new_ring 1M
  seq 50 | succeeds produce ring
  head -c 1M /dev/urandom >image
  serve ring
  cp ring before
  run -1 nbdcopy image "$uri"
  cmp -n 100 ring before
  export_is items 50
}

@test "qemu-io reads the ring, and the guard holds against it" {
  new_ring 1M
  seq 50 | succeeds produce ring
  serve ring
  qemu-io -f raw -c 'read 0 1M' "$uri" >out
  grep -q 'read 1048576/1048576' out
  qemu-io -f raw -c 'write -P 85 0 4k' "$uri" >out 2>&1 || :
  grep -q 'Invalid argument' out
  qemu-io -f raw -c 'write -P 85 512k 64k' -c 'read -P 85 512k 64k' \
    -c flush "$uri" >out
  grep -q 'wrote 65536/65536' out
  grep -q 'Pattern verification failed' out && fail "$(cat out)"
  export_is items 50
}

@test "nbdfuse mounts the export, and blkring-img works on the file" {
  type nbdfuse >/dev/null 2>&1 || skip "no nbdfuse"
  [ "$(id -u)" = 0 ] || cannot "not root"
  [ -w /dev/fuse ] || cannot "no /dev/fuse"
  new_ring 1M
  serve ring
  mkdir mount
  # Who owns a side is a connection.
  nbdfuse -C 1 mount "$uri" 3>&- &
  started+=($!)
  eventually test -s mount/nbd
  mounted=$PWD/mount
  seq 20 | succeeds produce mount/nbd
  succeeds consume --count=5 mount/nbd
  succeeds check -q mount/nbd
  umount mount
  mounted=
  export_is items 15
}

teardown () {
  [ -z "${mounted-}" ] || umount -l "$mounted"
  kill_all
}
