#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# systemd's units, as they are installed, and the plugin on a socket that was
# opened for it.

load helpers
load nbdkit

unit=$abs_top_builddir/systemd/nbdkit-blkring@.service

# The units of one ring, "x".
units () {
  type systemd-analyze >/dev/null 2>&1 || skip "no systemd-analyze"
  cp "$unit" nbdkit-blkring@x.service
  cp "$abs_top_srcdir/systemd/nbdkit-blkring@.socket" nbdkit-blkring@x.socket
}

# What the unit runs, on "ring" and with the plugin that was just built.
unit_command () {
  local line
  line=$(sed -n 's/^ExecStart=//p' "$unit")
  line=${line/ blkring / $plugin }
  line=${line//\/var\/lib\/blkring\/%i.img/ring}
  [[ $line = */nbdkit\ * && $line = *file=ring* ]]
  read -ra command <<<"${line#*/nbdkit }"
}

# A server that is started by its first client.  The socket is there before.
activated () {
  local command
  type systemd-socket-activate >/dev/null 2>&1 ||
    skip "no systemd-socket-activate"
  unit_command
  systemd-socket-activate -E LD_PRELOAD -E ASAN_OPTIONS \
    "--listen=$PWD/sock" "${nbdkit[@]}" "${command[@]}" \
    </dev/null >>log 2>&1 3>&- &
  server=$!
  started+=("$server")
  eventually test -S sock
}

@test "systemd has nothing to say against the units" {
  units
  SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no \
    "$PWD/nbdkit-blkring@x.service" "$PWD/nbdkit-blkring@x.socket" \
    >out 2>&1 || fail "$(cat out)"
  [ ! -s out ] || fail "$(cat out)"
  # It sees what is wrong.
  sed 's/^Restart=.*/Restart=now and then/' -i nbdkit-blkring@x.service
  systemd-analyze verify --man=no "$PWD/nbdkit-blkring@x.service" \
    >out 2>&1 || :
  grep -q restart out
}

@test "the service is confined: an exposure of 1 of 10 at most" {
  units
  systemd-analyze security --no-pager --offline=yes --threshold=10 \
    "$PWD/nbdkit-blkring@x.service" >out 2>&1 || {
    grep -q 'offline' out && skip "systemd is too old"
    fail "$(cat out)"
  }
  sed '/^PrivateNetwork=/d; /^SystemCallFilter=/d' -i nbdkit-blkring@x.service
  run -1 systemd-analyze security --no-pager --offline=yes --threshold=10 \
    "$PWD/nbdkit-blkring@x.service"
}

@test "the first client starts the server, which serves on" {
  new_ring 1M
  activated
  seq 10 | succeeds produce "$uri"
  export_is items 10
  status_is .producer.pushed.items 10
  stop_server
  [ "$status" = 0 ]
  is items 10
}

@test "a server that is killed leaves all items to the next" {
  local i
  new_ring 1M
  for i in 1 2 3; do
    rm -f sock
    activated
    echo "$i" | succeeds produce "$uri"
    kill -KILL "$server"
    finish "$server"
  done
  ring_is_valid
  seq 3 | cmp - <(blkring-img consume --until-empty ring)
}
