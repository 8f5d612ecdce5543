#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Starting a server: parameters, what is served and what is refused.

load helpers
load nbdkit

@test "each parameter with a wrong value is named, with what is right" {
  local p
  new_ring 1M
  for p in guard=maybe sync= guard=2; do
    refused "${prefix}$p: either 'on' or 'off'$" ring "$p"
  done
  for p in format=3 format=x format= format=11; do
    refused "${prefix}$p: there are formats 1 and 2$" ring "$p"
  done
  for p in 0 0.09 -1 1e7 x '' nan 1s; do
    refused "${prefix}owner-timeout=$p: a number of seconds from 0.1 to" \
      ring "owner-timeout=$p"
  done
  refused "${prefix}create=yes: .*'blank'" ring create=yes
  refused "unknown parameter: ${prefix}frobnicate .*--help" ring frobnicate=1
  refused "${prefix}format .*${prefix}create=blank" ring format=$format
}

@test "parameters of the filter alone" {
  [ $by = filter ] || skip "this is the plugin"
  new_ring 1M
  refused "blkring-exports=x: either 'default', .* or 'named'" ring exports=x
}

@test "parameters of the plugin alone" {
  [ $by = plugin ] || skip "this is the filter"
  new_ring 1M
  refused_by_nbdkit 'file=FILENAME or nbd=URI$' "$plugin"
  refused 'file=other: one ring is served, and .*/ring is it already' \
    ring file=other
  refused 'nbd=nbd://x: one ring is served' ring nbd=nbd://x
  refused "direct=maybe: either 'on' or 'off'" ring direct=maybe
  refused "create=-5: .*64M.*'blank'" ring create=-5
  refused_by_nbdkit "socket=nobody: cannot connect" \
    "$plugin" 'nbd=nbd+unix:///?socket=nobody'
}

@test "parameters that are right are taken" {
  local p
  new_ring 1M
  for p in guard=on guard=OFF sync=on sync=off owner-timeout=0.1 \
    owner-timeout=1e6 create=blank; do
    serve ring "$p"
    nbdinfo --size "$uri" >out
    stop_server
    [ "$status" = 0 ]
  done
}

@test "a file that does not exist is refused by its name" {
  refused 'none' none
}

@test "what holds no ring is refused with what to do, and not touched" {
  local file
  truncate -s 1M blank
  head -c 1M /dev/urandom >junk
  for file in blank junk; do
    cp --sparse=never $file before
    refused 'there is no ring: blkring-img create.*create=blank' $file
    cmp $file before
  done
}

@test "a ring that is damaged is refused, and not touched" {
  small_ring
  spoil_producer
  cp ring before
  refused 'blkring-img check' ring
  cmp ring before
}

@test "create=blank makes a ring of the format on what is blank" {
  truncate -s 1M ring
  serve ring create=blank "format=$format"
  seq 10 | succeeds produce "$uri"
  stop_server
  is format $format
  is items 10
}

@test "create=blank without format makes one of format 2" {
  truncate -s 1M ring
  serve ring create=blank
  status_is .format 2
}

@test "create=blank leaves what is not blank as it is" {
  local at
  head -c 1M /dev/urandom >junk
  cp junk before
  refused 'no ring is made where something else is' junk create=blank
  cmp junk before
  for at in 0 4096 524288 1048575; do
    truncate -s 0 junk
    truncate -s 1M junk
    poke junk $at x
    cp --sparse=never junk before
    refused 'no ring is made where something else is' junk create=blank
    cmp junk before
  done
}

@test "create=blank leaves a ring that exists as it is, of either format" {
  local other=$((3 - format))
  new_ring 1M
  seq 10 | succeeds produce ring
  cp ring before
  serve ring create=blank "format=$other"
  status_is .format "$format"
  stop_server
  cmp ring before
}

@test "create=blank refuses a device that is too small for a ring" {
  truncate -s 1000 tiny
  cp tiny before
  refused 'size' tiny create=blank "format=$format"
  cmp tiny before
}

@test "create=SIZE makes the file, and serves one that exists as it is" {
  [ $by = plugin ] || skip "this is the filter"
  serve ring create=2M create=blank "format=$format"
  seq 10 | succeeds produce "$uri"
  stop_server
  [ "$(stat -c %s ring)" = $((2 << 20)) ]
  cp ring before
  serve ring create=5M
  export_is items 10
  stop_server
  cmp ring before
  refused 'size of 100 bytes is too small' new create=100
  [ ! -e new ]
}

@test "-r serves a ring that all may inspect and nobody consume" {
  new_ring 1M
  seq 10 | succeeds produce ring
  cp ring before
  options=(-r)
  serve ring
  nbdinfo --json "$uri" | jq -e '.exports[0].is_read_only'
  export_is items 10
  # shellcheck disable=SC2046
  frame $(seq 10) | cmp - <(contents "$uri")
  tool consume --until-empty "$uri"
  [ "$status" != 0 ]
  [ ! -s out ]
  tool produce "$uri" <<<x
  [ "$status" != 0 ]
  stop_server
  cmp ring before
}

@test "the exports are listed with what they are" {
  new_ring 1M
  serve ring
  nbdinfo --list --json "$uri" >list
  [ "$(jq -r '.exports[]."export-name"' list)" = $'\nstatus' ]
  [ "$(jq -r '.exports[0].description' list)" = \
    "the ring: producers and consumers attach here" ]
  [ "$(jq -r '.exports[1].description' list)" = \
    "how the ring stands, as JSON" ]
  [ "$(jq -r '.exports[0]."export-size"' list)" = 1048576 ]
  jq -e '.exports[1].is_read_only' list
  jq -e '.exports[0].can_multi_conn and .exports[1].can_multi_conn' list
  jq -e '.exports[0] | .can_flush and .can_fua and .can_trim and .can_zero
    and (.is_read_only | not)' list
}

@test "an export that does not exist is refused with ENOENT" {
  new_ring 1M
  serve ring
  nbd <<'EOF'
import errno, nbd
for name in "none", "status/status", "/", "a/status", "x" * 300:
    h = nbd.NBD()
    h.set_export_name(name)
    try:
        h.connect_unix("sock")
    except nbd.Error as e:
        assert e.errnum == errno.ENOENT, (name, e)
    else:
        assert False, name
EOF
  is_up
}

@test "the size is that of the file" {
  local size
  for size in 64K 1000448 1G; do
    rm -f ring
    new_ring $size --sparse
    serve ring
    [ "$(nbdinfo --size "$uri")" = "$(stat -c %s ring)" ]
    stop_server
  done
}

@test "block sizes: the device's, and what the ring prefers" {
  new_ring 1M
  serve ring
  nbdinfo --json "$uri" | jq -e '.exports[0] |
    .block_size_minimum == 1 and .block_size_preferred == 4096'
  stop_server
  [ $format = 1 ] && return
  rm ring
  new_ring 1M --block-size=16384
  serve ring
  nbdinfo --json "$uri" | jq -e '.exports[0].block_size_preferred == 16384'
}

@test "--help lists every parameter" {
  local p
  serving ring
  "${nbdkit[@]}" "${command[@]}" --help >out
  for p in guard=off sync=off create=blank 'format=1.2' owner-timeout=; do
    grep -qE "^$prefix$p(SECS)? +[A-Z…]" out || report "no $p"
  done
}

@test "--dump-plugin tells version, formats and views" {
  [ $by = plugin ] || skip "this is the filter"
  "${nbdkit[@]}" --dump-plugin "$plugin" >out
  grep -qx "blkring_version=$(blkring-img --version | cut -d' ' -f2)" out
  grep -qx 'blkring_formats=1 2' out
  grep -qx 'blkring_views="" "status"' out
  grep -q '^thread_model=' out
}

@test "one connection's requests are serialised where nbdkit needs that" {
  local version model=parallel
  version=$(command nbdkit --version | grep -o '[0-9]*\.[0-9]*' | head -n 1)
  [ "${version#1.}" -ge 34 ] || model=serialize_requests
  new_ring 1M
  options=(-v)
  serve ring
  grep -qE "thread.model.*$model" log
}

@test "-D blkring.requests=1 logs each request" {
  new_ring 1M
  options=(-v -D blkring.requests=1)
  serve ring
  nbd <<'EOF'
import nbd
h = nbd.NBD()
h.add_meta_context("base:allocation")
h.connect_unix("sock")
h.pread(512, 1024)
h.pwrite(h.pread(10, 0), 0, nbd.CMD_FLAG_FUA)
h.zero(4096, 900000)
h.trim(4096, 900000)
h.flush()
h.block_status(1048576, 0, lambda *_: 0)
EOF
  local r
  for r in 'pread count=512 offset=1024' 'pwrite count=10 offset=0' \
    'zero count=4096 offset=900000' 'trim count=4096 offset=900000' \
    'flush count=0 offset=0' 'extents count=1048576 offset=0'; do
    logged 1 "blkring: $r flags="
  done
}

@test "a file that cannot be written is served read-only" {
  [ $by = plugin ] || skip "this is the filter"
  [ "$(id -u)" != 0 ] || skip "root can write everything"
  new_ring 1M
  chmod a-w ring
  serve ring
  status_is '."read-only"' true
}

@test "the plugin locks the ring: nobody attaches beside it" {
  [ $by = plugin ] || skip "this is the filter"
  small_ring
  idle_producer
  refused 'used by a producer or a consumer on this host' ring
  exec 5>&-
  finish "$producer"
  serve ring
  fails 1 '.*another producer is attached' produce --no-wait ring <<<x
  refused 'used by' ring
}
