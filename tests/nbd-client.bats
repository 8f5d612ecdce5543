#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Rings on real NBD servers: every subcommand, TLS, what goes over the wire,
# and servers that are stopped or killed under load.  What a server can be
# told to do at a certain request is in test-nbd.c.

load nbd-helpers

# Real text, larger than the ring, so that it goes around many times.
journal () {
  perl -e 'srand 3; for (1 .. $ARGV[0]) { print "line $_ ",
    "x" x int rand 200, "\n" }' "$1"
}

# --- any server -------------------------------------------------------------

# From one process to another, at the same time, on a small ring.
through () {
  local n=6000
  journal $n >in
  start consume --count=$n "$uri" >out
  blkring-img produce "$uri" <in
  finish
  [ "$status" = 0 ]
  cmp in out
  blkring-img check "$uri"
}

@test "a journal goes through nbdkit memory, format 2" {
  serve memory 256K
  create 2
  through
}

@test "a journal goes through nbdkit memory, format 1" {
  serve memory 64K
  create 1
  through
}

@test "a journal goes through nbdkit file, and the file is a ring" {
  truncate -s 256K ring
  serve file ring
  create 2
  through
  kill_server
  blkring-img check ring
}

@test "a journal goes through qemu-nbd" {
  truncate -s 256K ring
  serve_qemu ring
  create 2
  through
}

@test "a journal goes through qemu-nbd, format 1, larger sectors" {
  truncate -s 256K ring
  serve_qemu ring
  create 1 --sector-size=4096
  through
}

@test "a journal goes through qemu-storage-daemon" {
  command -v qemu-storage-daemon || skip "qemu-storage-daemon is not there"
  truncate -s 256K ring
  qemu-storage-daemon \
    --blockdev driver=file,node-name=ring,filename=ring \
    --nbd-server addr.type=unix,addr.path=socket,max-connections=8 \
    --export type=nbd,id=ring,node-name=ring,name=,writable=on \
    2>server.log 3>&- &
  started+=("$!")
  uri="nbd+unix:///?socket=$PWD/socket"
  eventually [ -S socket ]
  create 2
  through
}

# A port that is free on this address, or was a moment ago.
free_port () {
  perl -MIO::Socket -MIO::Socket::IP -e 'print IO::Socket::IP->new (
    Listen => 1, LocalHost => $ARGV[0])->sockport' "$1"
}

@test "a journal goes over TCP" {
  local port i
  for i in 1 2 3 4 5; do
    port=$(free_port 127.0.0.1)
    nbdkit -f -i 127.0.0.1 -p "$port" memory 256K 2>server.log 3>&- &
    started+=("$!")
    uri="nbd://127.0.0.1:$port"
    if eventually nbdinfo --size "$uri" >/dev/null; then break; fi
  done
  create 2
  through
}

@test "a journal goes over TCP, by IPv6" {
  local i port
  for i in 1 2 3 4 5; do
    port=$(free_port ::1) || skip "no IPv6"
    nbdkit -f -i ::1 -p "$port" memory 256K 2>server.log 3>&- &
    started+=("$!")
    uri="nbd://[::1]:$port"
    if eventually nbdinfo --size "$uri" >/dev/null; then break; fi
  done
  create 2
  through
}

@test "a vsock URI is one" {
  # Nobody listens there, if this machine has such a thing at all.
  fails 1 'nbd\+vsock://1:4711: cannot connect: (socket|connect): ' \
    info --timeout=5 nbd+vsock://1:4711
}

@test "what was stored through the export is in the file, and the other way" {
  truncate -s 1M ring
  serve file ring
  create 2
  printf 'one\ntwo\n' | blkring-img produce "$uri"
  [ "$(blkring-img dump --output=raw ring)" = onetwo ]
  [ "$(blkring-img consume --count=1 ring)" = one ]
  [ "$(blkring-img consume --until-empty "$uri")" = two ]
}

@test "blocks of 4096 bytes and requests of 64 KiB are kept" {
  serve --filter=log --filter=blocksize-policy memory 8M logfile=log \
    blocksize-minimum=4096 blocksize-preferred=4096 blocksize-maximum=64K \
    blocksize-error-policy=error
  create 2
  head -c 3000000 /dev/zero | tr '\0' x >in
  blkring-img produce --framing=file "$uri" in
  blkring-img consume --count=1 --framing=none "$uri" | cmp - in
  ! grep -E 'count=0x([1-9a-f][0-9a-f]{5,}|[2-9a-f][0-9a-f]{4}) ' log
  grep -q 'count=0x10000 ' log
  ! grep -q 'return=-1' log
  fails 1 '.*4096' create -f --format=2 --block-size=512 "$uri"
  create 1 -f
  printf 'x\n' | blkring-img produce "$uri"
  [ "$(blkring-img info --output=json "$uri" | jq '."sector-size"')" = 4096 ]
}

# --- every subcommand -------------------------------------------------------

@test "every subcommand takes a URI" {
  serve memory 1M
  succeeds create --consumers=2 --format=2 "$uri"
  grep -qF "$uri: created" out
  printf 'one\ntwo\nthree\n' >items
  succeeds produce --reconnect=5 --timeout=5 "$uri" items
  for c in info check map state "consumer list" dump; do
    # shellcheck disable=SC2086
    succeeds $c --reconnect=5 --timeout=5 "$uri"
    [ -s out ]
  done
  [ "$(blkring-img info --output=json "$uri" | jq -r .filename)" = "$uri" ]
  succeeds consumer disable "$uri" 1
  succeeds suspend --timeout=5 "$uri"
  [ "$(blkring-img state "$uri")" = suspend-requested ]
  blkring-img produce "$uri" </dev/null
  [ "$(blkring-img state "$uri")" = suspended ]
  succeeds resume "$uri"
  succeeds consume --count=3 --reconnect=0 "$uri"
  cmp out items
  succeeds erase "$uri"
  fails 63 '.*no ring' check "$uri"
}

@test "create takes the export's size, and no other" {
  serve memory 1M
  fails 1 '.*export has 1048576 bytes, not 2097152' create --format=2 "$uri" 2M
  succeeds create --format=2 "$uri" 1M
  succeeds create --format=2 "$uri"
  [ ! -e "$uri" ]
}

@test "create does not format an export that is not blank" {
  head -c 1M /dev/urandom >ring
  serve file ring
  fails 1 '.*not blank' create --format=2 "$uri"
}

@test "a second producer is refused, and follows one that was killed" {
  serve memory 1M
  create 2
  input_pipe
  start produce --queue=first "$uri" <input
  echo one >&5
  eventually eval '[ "$(blkring-img dump --output=raw "$uri")" = one ]'
  fails 1 '.*first' produce "$uri" </dev/null
  kill -KILL "$pid"
  finish
  printf 'two\n' | blkring-img produce "$uri"
  [ "$(blkring-img dump --output=raw "$uri")" = onetwo ]
}

@test "a server that cannot be written to can be looked at" {
  truncate -s 1M ring
  blkring-img create -q ring
  echo one | blkring-img produce ring
  serve -r file ring
  succeeds dump "$uri"
  succeeds info "$uri"
  fails 1 '.*read-only' produce "$uri" </dev/null
  fails 1 '.*read-only' consume --count=1 "$uri"
}

@test "a server that can neither flush nor FUA takes durability none alone" {
  serve eval get_size='echo 1048576' \
    pread='dd if=ring bs=65536 iflag=skip_bytes,count_bytes skip=$4 count=$3 status=none' \
    pwrite='dd of=ring bs=65536 oflag=seek_bytes seek=$4 conv=notrunc status=none' \
    can_write='exit 0' can_flush='exit 3' can_fua='echo none'
  truncate -s 1M ring
  create 2
  fails 1 '.*cannot make writes durable' produce "$uri" </dev/null
  echo one >items
  succeeds produce --durability=none "$uri" items
}

# --- errors -----------------------------------------------------------------

@test "no server, and an export that is not there, are errors that say so" {
  uri="nbd+unix:///?socket=$PWD/socket"
  fails 1 '.*cannot connect: .*No such file' info "$uri"
  mkdir dir
  truncate -s 1M dir/here
  serve file dir=dir
  fails 1 '.*no export named .not-here' info \
    "nbd+unix:///not-here?socket=$PWD/socket"
  kill_server
  nbdkit -f -U socket memory 1M 3>&- &
  server=$!
  eventually [ -S socket ]
  kill -KILL $server
  wait $server || :
  fails 1 '.*cannot connect: .*Connection refused' info "$uri"
  fails 1 '.*unknown NBD URI scheme' info nbd+pigeon://host/
  fails 1 '.*socket parameter' info nbd+unix:///
}

@test "the URI is in the messages, and a password in it is not" {
  local secret='nbds://me:secret@localhost:1/'
  fails 1 'nbds://me@localhost:1/: cannot connect' info "$secret"
  ! grep secret err
  tool produce "$secret" </dev/null
  ! grep secret out err
}

@test "bad times are refused" {
  misused '--timeout' info --timeout=never nbd://localhost
  misused '--reconnect' info --reconnect=-1 nbd://localhost
  misused '--timeout' info --timeout= nbd://localhost
}

@test "--direct is not for a URI" {
  serve memory 1M
  fails 1 '.*O_DIRECT' info --direct=on "$uri"
}

# --- TLS --------------------------------------------------------------------

tls_uri () {
  printf 'nbds+unix://%s@/?socket=%s/socket&tls-psk-file=%s' "$1" "$PWD" "$2"
}

keys () {
  printf 'alice:%s\n' "$(openssl rand -hex 32)" >keys
  printf 'alice:%s\n' "$(openssl rand -hex 32)" >wrong
}

@test "TLS with a shared key: a journal goes through" {
  keys
  serve --tls=require --tls-psk=keys memory 256K
  uri=$(tls_uri alice keys)
  create 2
  through
}

@test "TLS with a shared key: wrong key, wrong name, no TLS are refused" {
  keys
  serve --tls=require --tls-psk=keys memory 256K
  fails 1 '.*wrong key' info "$(tls_uri alice wrong)"
  fails 1 '.*bob' info "$(tls_uri bob keys)"
  fails 1 '.*the server wants TLS' info "nbd+unix:///?socket=$PWD/socket"
  fails 1 '.*' info "$(tls_uri alice no-such-file)"
}

@test "TLS that the server does not have is refused" {
  keys
  serve --tls=off memory 256K
  fails 1 '.*the server has no TLS' info "$(tls_uri alice keys)"
}

certificates () {
  local who
  mkdir pki
  for who in ca server client; do
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
      -out "pki/$who-key.pem"
  done
  openssl req -x509 -new -key pki/ca-key.pem -subj /CN=ca -days 2 \
    -out pki/ca-cert.pem -addext basicConstraints=critical,CA:TRUE \
    -addext keyUsage=keyCertSign
  printf 'subjectAltName=DNS:localhost\nkeyUsage=digitalSignature\n' >extensions
  for who in server client; do
    openssl req -new -key "pki/$who-key.pem" -subj /CN=localhost -out request
    openssl x509 -req -in request -CA pki/ca-cert.pem -CAkey pki/ca-key.pem \
      -CAcreateserial -days 2 -extfile extensions -out "pki/$who-cert.pem"
  done
} 2>openssl.log >&2

@test "TLS with certificates: they are needed, and the host's name counts" {
  local port i
  certificates
  for i in 1 2 3 4 5; do
    port=$(free_port 127.0.0.1)
    nbdkit -f -i localhost -p "$port" --tls=require --tls-certificates=pki \
      --tls-verify-peer memory 1M 2>server.log 3>&- &
    started+=("$!")
    uri="nbds://localhost:$port/?tls-certificates=$PWD/pki"
    if eventually nbdinfo --size "$uri" >/dev/null; then break; fi
  done
  create 2
  echo one | blkring-img produce "$uri"
  [ "$(blkring-img consume --count=1 "$uri")" = one ]
  fails 1 '.*certificate' info "${uri/localhost/127.0.0.1}"
  HOME=$PWD fails 1 '.*certificate' info "nbds://localhost:$port/"
}

# --- what goes over the wire ------------------------------------------------

# Requests of this kind for each of 40 more items: cost KIND OPTION...
cost () {
  local kind=$1 n before after
  shift
  for n in 20 60; do
    : >log
    seq $n | blkring-img produce --batch=1 "$@" "$uri"
    if [ $n = 20 ]; then before=$($kind); else after=$($kind); fi
  done
  echo "$(((after - before) / 40)) $(((after - before) % 40))"
}
writes () { requests Write; }
reads () { requests Read; }
flushes () { requests Flush; }

@test "format 1: an item is two writes with FUA, and no flush" {
  serve --filter=log memory 16M logfile=log logappend=true
  create 1
  [ "$(cost writes)" = "2 0" ]
  [ "$(cost fua_writes)" = "2 0" ]
  [[ $(cost reads) = "0 "[0-3] ]]
  [ "$(cost flushes)" = "0 0" ]
}

@test "format 2: an item is one write with FUA, and no flush" {
  serve --filter=log memory 16M logfile=log logappend=true
  create 2
  [ "$(cost writes)" = "1 0" ]
  [ "$(cost fua_writes)" = "1 0" ]
  [[ $(cost reads) = "0 "[0-3] ]]
  [ "$(cost flushes)" = "0 0" ]
}

@test "without FUA a write is followed by a flush" {
  serve --filter=log --filter=fua memory 16M logfile=log logappend=true
  create 2
  [ "$(cost writes)" = "1 0" ]
  [ "$(cost fua_writes)" = "0 0" ]
  [ "$(cost flushes)" = "1 0" ]
  create 1 -f
  [ "$(cost flushes)" = "2 0" ]
}

@test "with durability none there is neither" {
  serve --filter=log memory 16M logfile=log logappend=true
  create 2
  [ "$(cost fua_writes --durability=none)" = "0 0" ]
  [ "$(cost flushes --durability=none)" = "0 0" ]
}

@test "a batch costs what an item does" {
  serve --filter=log memory 16M logfile=log logappend=true
  for format in 1 2; do
    create $format -f
    seq 200 >items
    : >log
    blkring-img produce "$uri" items
    batch=$(writes)
    : >log
    echo one | blkring-img produce "$uri"
    [ "$batch" = "$(writes)" ]
  done
}

@test "LIBNBD_DEBUG=1 shows what libnbd does in the log" {
  serve memory 1M
  create 2
  LIBNBD_DEBUG=1 tool state -v "$uri"
  grep -q "^blkring-img: .*: debug: libnbd: " err
  succeeds state "$uri"
}

# --- servers that stop ------------------------------------------------------

# Between these two numbers of milliseconds.
takes () {
  local begin took from=$1 to=$2
  shift 2
  begin=$(milliseconds)
  "$@"
  took=$(($(milliseconds) - begin))
  [ "$took" -ge "$from" ] && [ "$took" -lt "$to" ] || fail "$took ms: $*"
}

# All subcommands, at the same time.
all_fail () {
  local c waiting=()
  for c in create info check map produce consume dump suspend resume state \
    erase; do
    timeout -k 1 20 blkring-img $c --timeout=1 "$uri" >$c.out 2>$c.err \
      </dev/null 3>&- &
    waiting+=("$!")
  done
  for c in "${waiting[@]}"; do
    status=0
    wait "$c" || status=$?
    [ "$status" = 1 ]
  done
  for c in *.err; do
    grep -q '^blkring-img: .*does not answer' "$c" || fail "$c: $(cat "$c")"
    [ ! -s "${c%.err}.out" ]
  done
}

@test "no subcommand waits for a server that is stopped after --timeout" {
  serve memory 1M
  create 2
  kill -STOP "$server"
  takes 950 6000 all_fail
}

@test "nor for a host that does not even take the connection" {
  # Who does not accept anybody, and has more than it lets wait.
  python3 - >port 3>&- <<'END' &
import socket, time
server = socket.socket ()
server.bind (("127.0.0.1", 0))
server.listen (0)
clients = []
for _ in range (4):
    clients.append (socket.socket ())
    clients[-1].setblocking (False)
    clients[-1].connect_ex (server.getsockname ())
print (server.getsockname ()[1], flush = True)
time.sleep (60)
END
  started+=("$!")
  eventually [ -s port ]
  uri=nbd://127.0.0.1:$(cat port)
  takes 950 6000 fails 1 '.*cannot connect: the server does not answer' \
    info --timeout=1 "$uri"
}

@test "a write that is not answered in time is said to be in doubt" {
  blkring-img create -q --format=1 ring 1M
  serve --filter=delay file ring wdelay=30
  echo one >items
  fails 1 '.*does not answer; whether the write under way has arrived is not known' \
    produce --timeout=1 --reconnect=0 "$uri" items
}

@test "a server that stops under a producer is waited for, and no longer" {
  serve memory 1M
  create 2
  input_pipe
  start produce --timeout=1 "$uri" <input 2>err
  echo one >&5
  eventually eval '[ "$(blkring-img dump --output=raw "$uri")" = one ]'
  kill -STOP "$server"
  finish
  [ "$status" = 1 ]
  grep -q 'does not answer' err
  # Nothing is wrong with the ring.
  kill -CONT "$server"
  blkring-img check "$uri"
  echo two | blkring-img produce "$uri"
  [ "$(blkring-img dump --output=raw "$uri")" = onetwo ]
}

@test "a server that does not come back is given up after --reconnect" {
  serve memory 1M
  create 2
  input_pipe
  start produce --reconnect=0.5 "$uri" <input 2>err
  echo one >&5
  eventually eval '[ "$(blkring-img dump --output=raw "$uri")" = one ]'
  kill_server
  finish
  [ "$status" = 1 ]
  grep -q 'connection to the server was lost' err
  grep -q '1 items were stored' err
}

# More than this many bytes have come through, or will not any more.
has_come () {
  [ "$(stat -c %s result)" -gt "$1" ] || gone "$producer" || gone "$consumer"
}

# A server is killed and started again under a producer and a consumer, so
# many times: killed FORMAT ROUNDS OPTION...
killed () {
  local format=$1 rounds=$2 i consumer producer feeder
  shift 2
  blkring-img create -q --format="$format" ring 512K
  serve "$@" file ring
  uri=${tls-$uri}
  start consume "$uri" >result 2>consumer.err
  consumer=$pid
  input_pipe
  start produce --batch=8 "$uri" <input 2>producer.err
  producer=$pid
  # Without an end, until it is told.
  perl -e '$| = 1; $SIG{TERM} = sub { exit }; for ($n = 1;; $n++) {
    print "line $n ", "x" x ($n * 37 % 300), "\n" }' >&5 3>&- 5>&- &
  feeder=$!
  started+=("$feeder")
  for ((i = 0; i < rounds; i++)); do
    eventually has_come $(($(stat -c %s result) + 20000))
    kill_server
    serve "$@" file ring
  done
  eventually has_come $(($(stat -c %s result) + 20000))
  if gone "$producer" || gone "$consumer"; then
    fail "$(cat producer.err consumer.err)"
  fi
  # The end of the input, perhaps in a line.
  kill -TERM "$feeder"
  wait "$feeder" || :
  exec 5>&-
  finish "$producer"
  [ "$status" = 0 ] || fail "$(cat producer.err)"
  eventually eval '[ "$(blkring-img info --output=json ring | jq .items)" = 0 ]'
  kill -TERM "$consumer"
  finish "$consumer"
  [ "$status" = 0 ] || fail "$(cat consumer.err)"
  perl -ne '$n++; $line = "line $n " . "x" x ($n * 37 % 300);
    chomp; eof ? index ($line, $_) == 0 : $_ eq $line or die "line $n: $_"
    ' result
  blkring-img check ring
}

@test "a server that is killed and started again: nothing is lost or doubled" {
  killed 2 "${BLKRING_ROUNDS-10}"
}

@test "a server that is killed and started again, format 1: the same" {
  killed 1 "${BLKRING_ROUNDS-10}"
}

@test "a server that is killed and started again, over TLS: the same" {
  keys
  tls=$(tls_uri alice keys)
  killed 2 3 --tls=require --tls-psk=keys
}

# The filter that was built.
guard () {
  filter=$abs_top_builddir/filter/.libs/nbdkit-blkring-filter.so
  [ -e "$filter" ] || skip "there is no filter"
  if ldd "$filter" | grep -q 'lib[at]san'; then skip "a sanitizer"; fi
}

@test "a server that is killed and started again, with a guard: the same" {
  guard
  killed 2 "${BLKRING_ROUNDS-3}" "--filter=$filter"
}

@test "a guarded server that is killed and started again, format 1: the same" {
  guard
  killed 1 "${BLKRING_ROUNDS-3}" "--filter=$filter"
}
