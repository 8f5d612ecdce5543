# SPDX-License-Identifier: BSD-3-Clause
#
# Hosts for tests: network namespaces without a name, which are joined by veth
# pairs and go with the last process in them.  They need root.

# A host of this name, on which nothing runs but what keeps it: hosts NAME...
hosts () {
  local host
  [ "$(id -u)" = 0 ] || cannot "not root"
  type ip unshare nsenter >/dev/null 2>&1 || cannot "no ip, unshare, nsenter"
  declare -gA host_of=()
  for host in "$@"; do
    unshare --net --mount sleep 600 3>&- &
    host_of[$host]=$!
    started+=("$!")
    eventually is_apart "$!"
    ip_on "$host" link set lo up
  done
}

# The process has its own network by now, or there will be none.
is_apart () {
  if gone "$1"; then cannot "no network namespaces"; fi
  [ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ] &&
    [ "$(cat "/proc/$1/comm")" = sleep ]
}

# A command in front of others that puts them on a host, in $at: at HOST
at () {
  at=(nsenter "--target=${host_of[$1]}" --net --mount "--wd=$PWD" --)
}
on () {
  local at
  at "$1"
  "${at[@]}" "${@:2}"
}
ip_on () {
  on "$1" ip "${@:2}"
}

# A cable between two hosts: join HOST ADDRESS HOST ADDRESS.  Each end is
# named after the host at the other one.
join () {
  ip_on "$1" link add "$3" type veth peer name "$1" \
    netns "${host_of[$3]}" || cannot "no veth"
  ip_on "$1" address add "$2/30" dev "$3"
  ip_on "$3" address add "$4/30" dev "$1"
  plug "$1" "$3"
  ip_on "$3" link set "$1" up
}

# Take the cable from the first to the second out, and put it back.
unplug () {
  ip_on "$1" link set "$2" down
}
plug () {
  ip_on "$1" link set "$2" up
}
