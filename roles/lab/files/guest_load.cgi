#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
#
# /cgi-bin/load?percent=40&dirty=0 gives the guest a new load while it runs.

# Written as a whole: who reads it never finds it empty, which would be the end of the load.
tell() {
  echo "$2" >"/tmp/$1.$$"
  mv "/tmp/$1.$$" "/tmp/$1"
}

number() {
  case $1 in '' | *[!0-9]*) return 1 ;; esac
  [ "$1" -le "$2" ]
}
for pair in $(echo "$QUERY_STRING" | tr '&' ' '); do
  value=${pair#*=}
  case $pair in
    percent=*) number "$value" 100 && tell load "$value" ;;
    dirty=*)
      # What is being written for the figure before would take a busy guest a minute.
      number "$value" 4096 && tell dirty "$value" && { killall -q dd || true; }
      ;;
    *) false ;;
  esac || { printf 'Status: 400 Bad Request\r\n\r\nuse percent=0..100 and dirty=0..4096 (MiB)\n'; exit 0; }
done
# Who rests looks at the new load at once.
killall -q usleep || true
exec /lab/www/cgi-bin/status
