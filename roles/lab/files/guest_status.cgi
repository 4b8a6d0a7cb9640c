#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
#
# How the guest is. An uptime that goes on and a boot_id that stays show that it was never restarted.
read -r uptime _ </proc/uptime
printf 'Content-Type: application/json\r\n\r\n'
printf '{"name": "%s", "uptime_seconds": %s, "boot_id": "%s", "load_percent": %s, "dirty_mib": %s}\n' \
  "$(hostname)" "$uptime" "$(cat /proc/sys/kernel/random/boot_id)" "$(cat /tmp/load)" "$(cat /tmp/dirty)"
