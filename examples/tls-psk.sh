#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Keys for TLS with a shared secret: server's and client's file, the same.
#
#   tls-psk.sh DIRECTORY USER
set -eu
dir=$1 user=$2
umask 077
mkdir -p "$dir"
psktool -u "$user" -p "$dir/keys.psk" >/dev/null
echo "$dir/keys.psk: copy it to the other host, and let nobody else read it"
