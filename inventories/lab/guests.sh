#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
#
# An inventory of the lab's guests that can be logged in to: the running domains of all hosts whose sshd answers, in the
# group "guests". Where a guest is comes from its MAC address, the last four bytes of which are its IPv4 address.
# LAB_DIR is the directory of the lab; LAB_SSH_PORT is the port of the guests.
set -euo pipefail
readonly directory=${LAB_DIR:-/var/lib/virtops-lab} port=${LAB_SSH_PORT:-22}

# Whether something listens. Nobody at an address of the lab may take as long as the kernel likes to find out.
listens() { timeout 1 bash -c ": </dev/tcp/$1/$2" 2>/dev/null; }

# Whether an SSH server greets: a guest that boots may listen before that.
greets() { [ "$(timeout 5 bash -c "head -c 4 </dev/tcp/$1/$2" 2>/dev/null)" = SSH- ]; }

# The running domains of the host at an address, a line each: NAME MAC.
domains() {
  local uri=qemu+tcp://$1/system names
  mapfile -t names < <(virsh --quiet --readonly --connect "$uri" list --name | grep -xE '[A-Za-z0-9_.-]+')
  [ ${#names[@]} -gt 0 ] || return 0
  # All in one call, because each has to connect first. Dumps of those that have just gone are missing.
  virsh --quiet --readonly --connect "$uri" "$(printf 'dumpxml %s; ' "${names[@]}")" 2>/dev/null |
    awk -F"[<>']" '/^  <name>/ { name = $3 } /^ *<mac address=/ { print name, $3 }'
}

# Lines NAME ADDRESS HOST for those that answer.
answering() {
  local host=$1 address=$2 name mac a b c d
  listens "$address" 16509 || return 0
  domains "$address" | while read -r name mac; do
    IFS=: read -r _ _ a b c d <<<"$mac"
    # Of libvirt's own making, which tells nothing.
    [ "$a" != 00 ] || continue
    printf -v address '%d.%d.%d.%d' "0x$a" "0x$b" "0x$c" "0x$d"
    if greets "$address" "$port"; then echo "$name $address $host"; fi &
  done
}

[ "${1:-}" = --list ] || { echo '{}'; exit 0; }
# All are asked at the same time; sort has read to the end when the last one has.
for file in "$directory"/hosts/*/host.env; do
  [ -e "$file" ] || continue
  host=$(basename "$(dirname "$file")")
  answering "$host" "$(sed -n 's|^HOST_CIDR=\(.*\)/.*|\1|p' "$file")" &
done | sort -u -k1,1 | awk '
  { names = names sep "\"" $1 "\""
    vars = vars sep "\"" $1 "\": {\"ansible_host\": \"" $2 "\", \"lab_host\": \"" $3 "\"}"
    sep = ", " }
  END { print "{\"guests\": {\"hosts\": [" names "]}, \"_meta\": {\"hostvars\": {" vars "}}}" }'
