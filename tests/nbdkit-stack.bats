#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# The filter over other plugins, and among other filters.

load helpers
load nbdkit

# A ring of this format behind the filter, by nbdkit with these arguments.
start_blank () {
  start_nbdkit "--filter=$filter" "$@" blkring-create=blank \
    "blkring-format=$format"
}

# Items go in and come out, and no rule is broken.
carries () {
  random_items 300 2000 >items
  succeeds produce --framing=length "$uri" <items
  export_is items 300
  succeeds consume --framing=length --until-empty "$uri"
  cmp items out
  random_items 20 100 >items
  succeeds produce --framing=length "$uri" <items
  cmp items <(contents "$uri")
  succeeds check "$uri"
  status_is .format $format
  status_is .rejected.count 0
}

@test "over memory" {
  start_blank memory 4M
  carries
}

@test "over split, which cannot flush: a warning, and durability none" {
  truncate -s 1M a c
  truncate -s 2M b
  start_blank split a b c
  logged 1 'cannot make writes durable'
  tool produce "$uri" <<<x
  [ "$status" = 1 ]
  seq 20 | succeeds produce --durability=none "$uri"
  stop_server
  cat a b c >ring
  is items 20
}

@test "over a delay of 5 ms a request" {
  start_blank --filter=delay memory 4M rdelay=5ms wdelay=5ms
  seq 20 | succeeds produce "$uri"
  succeeds consume --until-empty "$uri"
  seq 20 | cmp - out
}

@test "over nbd: a proxy of a server that knows no rings" {
  truncate -s 4M ring
  socket=below start_nbdkit file ring
  start_blank nbd "socket=below"
  carries
  stop_server
  is items 20
}

@test "the plugin over another server" {
  new_ring 4M
  socket=below start_nbdkit file ring
  start_nbdkit "$plugin" 'nbd=nbd+unix:///?socket=below'
  carries
  stop_server
  is items 20
}

@test "over cache" {
  local mode
  for mode in writeback writethrough; do
    truncate -s 0 ring
    truncate -s 4M ring
    start_blank --filter=cache file ring cache=$mode
    carries
    stop_server
    is items 20
  done
}

@test "over cow: the file stays as it was" {
  new_ring 4M
  seq 5 | succeeds produce ring
  cp ring before
  start_nbdkit "--filter=$filter" --filter=cow file ring
  succeeds consume --until-empty "$uri"
  seq 5 | cmp - out
  carries
  stop_server
  cmp ring before
}

@test "over offset: a ring in the middle of a file" {
  truncate -s 5M disk
  start_blank --filter=offset file disk offset=512K range=4M
  carries
  stop_server
  dd if=disk of=ring bs=512K skip=1 count=8 status=none
  is items 20
}

@test "over partition: a ring in the second partition of a disk" {
  type sfdisk >/dev/null 2>&1 || PATH=$PATH:/usr/sbin:/sbin
  type sfdisk >/dev/null 2>&1 || skip "no sfdisk"
  truncate -s 8M disk
  printf '%s\n' 'label: gpt' 'start=2048, size=2048' 'start=4096, size=8192' |
    sfdisk -q disk
  start_blank --filter=partition file disk partition=2
  carries
  stop_server
  dd if=disk of=ring bs=512 skip=4096 count=8192 status=none
  is items 20
}

@test "over retry: a device that fails for a while" {
  truncate -s 4M ring
  start_blank --filter=retry --filter=error file ring retry-delay=1 \
    error-rate=1 error-file=fails
  : >fails
  start produce "$uri" <<<x
  eventually grep -q inject log
  rm fails
  finish
  [ "$status" = 0 ]
  succeeds consume --until-empty "$uri"
  [ "$(cat out)" = x ]
  carries
}

@test "a device that fails: the client is told, and the ring stays valid" {
  truncate -s 4M ring
  start_blank --filter=error file ring error-rate=1 error-file=fails
  seq 5 | succeeds produce "$uri"
  : >fails
  tool produce "$uri" <<<x
  [ "$status" != 0 ]
  rm fails
  carries_on=$(seq 5; echo y)
  succeeds produce "$uri" <<<y
  succeeds consume --until-empty "$uri"
  [ "$(cat out)" = "$carries_on" ]
  stop_server
  ring_is_valid
}

@test "over blocksize-policy: what the device asks for is advertised" {
  new_ring 4M
  start_nbdkit "--filter=$filter" --filter=blocksize-policy file ring \
    blocksize-minimum=4096 blocksize-preferred=64K blocksize-maximum=1M \
    blocksize-error-policy=error
  [ $format = 1 ] || carries
  nbdinfo --json "$uri" | jq -e '.exports[0].block_size_minimum == 4096'
}

@test "under log, stats, rate and ip" {
  new_ring 4M
  start_nbdkit --filter=log --filter=stats --filter=rate --filter=ip \
    "--filter=$filter" file ring rate=8G \
    logfile=requests statsfile=stats allow=all
  carries
  grep -q 'Write .* count=0x' requests
  stop_server
  grep -q 'write' stats
}

@test "under cow, each client has a ring of its own, and the file none of it" {
  new_ring 4M
  cp ring before
  start_nbdkit --filter=cow "--filter=$filter" file ring
  seq 5 | succeeds produce "$uri"
  stop_server
  cmp ring before
}

@test "under tls-fallback, a client without TLS does not see the ring" {
  new_ring 4M
  printf 'user:%s\n' "$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')" \
    >keys
  start_nbdkit --tls=on --tls-psk=keys --filter=tls-fallback \
    "--filter=$filter" file ring
  nbdcopy "$uri" - >out
  ! grep -q blkring2 out
  [ "$(wc -c <out)" -lt 4096 ]
  export_is items 0 'nbds+unix://user@/?socket=sock&tls-psk-file=keys'
}

@test "a plugin that cannot write is served read-only" {
  new_ring 1M
  seq 3 | succeeds produce ring
  start_nbdkit "--filter=$filter" --filter=nocache --filter=cow file ring
  stop_server
  chmod a-w ring
  start_nbdkit "--filter=$filter" --filter=readahead split ring -r
  export_is items 3
}
