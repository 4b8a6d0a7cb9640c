#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
#
# The load generator where there is only busybox: keeps the machine's CPU utilisation inside a range.
#   loadgen.sh start|stop|show|check|run DIRECTORY
# DIRECTORY holds the settings, lines of NAME=NUMBER in the file "settings", and the status. New settings are taken up
# while it runs. All arithmetic is in tenths of a percent of the machine, and in hundredths of a second.
set -u

usage() {
  echo "usage: loadgen.sh start|stop|show|check|run DIRECTORY" >&2
  exit 64
}

fail() {
  echo "loadgen: $1" >&2
  return 1
}

# Reads the settings into variables; where they are not good, says why and leaves the old ones.
read_settings() {
  new_minimum='' new_maximum='' new_limit=100 new_workers=0 new_step=1 new_sleep=10 new_seconds=0
  while IFS='=' read -r name value; do
    case $name in
      '' | '#'*) continue ;;
      minimum | maximum | limit | initial_workers | step | sleep_ms | seconds) ;;
      *) fail "$name is no setting here; there are minimum, maximum, limit, initial_workers, step, sleep_ms, seconds." || return 1 ;;
    esac
    case $value in
      '' | *[!0-9]* | ????????*) fail "$name must be a whole number, not '$value'." || return 1 ;;
    esac
    # 08 would be read as octal
    while [ "${#value}" -gt 1 ] && [ "${value#0}" != "$value" ]; do value=${value#0}; done
    case $name in
      minimum) new_minimum=$value ;;
      maximum) new_maximum=$value ;;
      limit) new_limit=$value ;;
      initial_workers) new_workers=$value ;;
      step) new_step=$value ;;
      sleep_ms) new_sleep=$value ;;
      seconds) new_seconds=$value ;;
    esac
  done <"$directory/settings" || return 1
  [ -n "$new_minimum" ] && [ -n "$new_maximum" ] || fail "Give both minimum and maximum." || return 1
  [ "$new_maximum" -le 100 ] && [ "$new_minimum" -lt "$new_maximum" ] || fail "minimum must be below maximum, and maximum at most 100." || return 1
  [ "$new_limit" -ge 1 ] && [ "$new_limit" -le 100 ] || fail "limit must be from 1 to 100." || return 1
  [ "$new_workers" -le 1024 ] || fail "initial_workers must be at most 1024." || return 1
  [ "$new_step" -ge 1 ] && [ "$new_step" -le 1024 ] || fail "step must be from 1 to 1024." || return 1
  [ "$new_sleep" -le 500 ] || fail "sleep_ms must be at most 500." || return 1
  minimum=$new_minimum maximum=$new_maximum limit=$new_limit initial=$new_workers step=$new_step sleep_ms=$new_sleep seconds=$new_seconds
}

# Sets now: hundredths of a second since the machine was started.
clock() {
  read -r now _ </proc/uptime
  now=${now%.*}${now#*.}
}

# Sets busy, total and cpus from the first lines of /proc/stat. Stolen time was not there to be used.
read_ticks() {
  cpus=0
  while read -r name user nice system idle iowait irq softirq _; do
    case $name in
      cpu) busy=$((user + nice + system + irq + softirq)) total=$((user + nice + system + irq + softirq + idle + iowait)) ;;
      cpu[0-9]*) cpus=$((cpus + 1)) ;;
      *) break ;;
    esac
  done </proc/stat
  [ "$cpus" -gt 0 ] || cpus=1
}

# Sets ppid: of this process, from the kernel, because a subshell keeps the variable of its parent.
parent_of_self() {
  read -r _ _ _ ppid _ </proc/self/stat
}

# Busy for as many hundredths of each cycle as the file "duty" says: DUTY CYCLE SLEEP_MS, written by the parent as a whole.
work() {
  parent_of_self
  parent=$ppid owed=0
  while [ "$ppid" = "$parent" ] && read -r duty cycle pause beat <"$directory/duty"; do
    clock
    # A parent that has not decided for two seconds is stopped: then nobody works.
    [ $((${now#0} - beat)) -le 200 ] || duty=0
    # What is too little for the steps of the clock is kept for the next cycle.
    owed=$((owed % 1000 + cycle * duty))
    end=$((${now#0} + owed / 1000))
    while [ "${now#0}" -lt "$end" ]; do clock; done
    rest=$((cycle * (1000 - duty) / 100))
    [ "$rest" -ge "$pause" ] || rest=$pause
    usleep $((rest * 1000))
    parent_of_self
  done
}

say() {
  line="{\"state\": \"$1\", \"cpu_percent\": $((measured / 10)).$((measured % 10)), \"minimum\": $minimum, \"maximum\": $maximum"
  line="$line, \"own_percent\": $((own / 10)).$((own % 10)), \"workers\": $count, \"seconds\": $(((${now#0} - since) / 100)), \"problem\": $problem, \"pid\": $$}"
  echo "$line" >"$directory/status.new" && mv "$directory/status.new" "$directory/status"
}

# Tells the time at which a process was started, which together with its number no other process has.
identity() {
  [ -r "/proc/$1/stat" ] || return 1
  read -r stat <"/proc/$1/stat" || return 1
  # shellcheck disable=SC2086  # words are what is wanted
  set -- ${stat##*) }
  # A zombie runs no more.
  [ "$1" != Z ] || return 1
  echo "${20}"
}

running() {
  [ -r "$directory/pid" ] && read -r pid born <"$directory/pid" && [ "$(identity "$pid" 2>/dev/null)" = "$born" ]
}

run() {
  running && { fail "A load generator runs here already (process $pid)."; exit 1; }
  # A directory is made by one process only, however many try; what is left of a dead one is taken over.
  mkdir "$directory/lock" 2>/dev/null || { sleep 1; running && { fail "A load generator runs here already (process $pid)."; exit 1; }; }
  read_settings || exit 1
  rm -f "$directory/status"
  echo "$$ $(identity $$)" >"$directory/pid"
  workers='' count=0 own=0 target='' problem=null measured=0
  trap 'finish 0' TERM INT
  read_ticks
  busy_before=$busy total_before=$total
  clock
  since=${now#0}
  seen=$(cat "$directory/settings")
  while :; do
    sleep 1 &
    wait $!
    clock
    text=$(cat "$directory/settings" 2>/dev/null)
    if [ "$text" != "$seen" ]; then
      seen=$text
      if message=$(read_settings 2>&1); then
        read_settings
        problem=null since=${now#0}
      else
        # What comes from a file must not end the string that it is put into.
        problem="\"The new settings are not used: $(echo "${message#loadgen: }" | tr -cd 'a-zA-Z0-9 .,_-')\""
      fi
    fi
    [ "$seconds" -eq 0 ] || [ $((${now#0} - since)) -lt $((seconds * 100)) ] || finish 0
    read_ticks
    [ "$total" -gt "$total_before" ] || continue
    measured=$((1000 * (busy - busy_before) / (total - total_before)))
    [ "$measured" -ge 0 ] || measured=0
    [ "$measured" -le 1000 ] || measured=1000
    busy_before=$busy total_before=$total
    decide
    employ
    state=settling
    [ "$measured" -ge $((minimum * 10)) ] && [ "$measured" -le $((maximum * 10)) ] && state=steady
    [ "$measured" -gt $((maximum * 10)) ] && [ "$own" -eq 0 ] && state=others_above
    [ "$measured" -lt $((minimum * 10)) ] && [ "$own" -ge $((limit * 10)) ] && state=limit_reached
    say "$state"
  done
}

# Sets own, the load for the next period: what of the gap was seen is closed, less of it inside the range.
decide() {
  wanted=$(((minimum + maximum) * 5))
  if [ -z "$target" ]; then
    own=$((wanted - measured))
  else
    gain=9
    [ "$measured" -ge "$low" ] && [ "$measured" -le "$high" ] && gain=3
    own=$((own + gain * (target - measured) / 10 + wanted - target))
  fi
  target=$wanted low=$((minimum * 10)) high=$((maximum * 10))
  [ "$own" -ge 0 ] || own=0
  [ "$own" -le $((limit * 10)) ] || own=$((limit * 10))
}

# Has as many workers as it takes, and tells them their share.
employ() {
  least=$initial
  [ "$least" -gt 0 ] || least=$cpus
  cycle=20
  [ $((sleep_ms / 5)) -le "$cycle" ] || cycle=$((sleep_ms / 5))
  capacity=$((1000 - 100 * sleep_ms / cycle))
  cores=$((own * cpus))
  most=$((8 * cpus > least ? 8 * cpus : least))
  number=$count
  [ "$number" -ge "$least" ] || number=$least
  while [ $((number * capacity)) -lt "$cores" ] && [ $((number + step)) -le "$most" ]; do number=$((number + step)); done
  while [ $((number - step)) -ge "$least" ] && [ $(((number - step) * capacity * 2)) -gt $((cores * 3)) ]; do number=$((number - step)); done
  duty=$((cores / number))
  [ "$duty" -le "$capacity" ] || duty=$capacity
  # Only a rename makes sure that nobody reads half a line.
  echo "$duty $cycle $sleep_ms ${now#0}" >"$directory/duty.new" && mv "$directory/duty.new" "$directory/duty"
  while [ "$count" -lt "$number" ]; do
    work &
    workers="$! $workers"
    count=$((count + 1))
  done
  while [ "$count" -gt "$number" ]; do
    kill "${workers%% *}"
    workers=${workers#* }
    count=$((count - 1))
  done
}

finish() {
  trap - TERM INT
  for worker in $workers; do kill "$worker" 2>/dev/null; done
  wait
  rm -rf "$directory/lock" "$directory/pid" "$directory/duty" "$directory/status"
  exit "$1"
}

start() {
  if running; then
    echo unchanged
    return
  fi
  read_settings || exit 1
  # A session of its own, so that it does not end with the one that asked for it.
  setsid sh "$0" run "$directory" </dev/null >/dev/null 2>"$directory/log" &
  tries=0
  while ! running; do
    tries=$((tries + 1))
    [ "$tries" -le 50 ] || { fail "It did not start: $(cat "$directory/log")"; exit 1; }
    usleep 100000
  done
  echo changed
}

stop() {
  if ! running; then
    echo unchanged
    return
  fi
  kill "$pid"
  tries=0
  while running; do
    tries=$((tries + 1))
    [ "$tries" -le 50 ] || { fail "Process $pid did not end within 5 seconds."; exit 1; }
    usleep 100000
  done
  echo changed
}

[ $# -eq 2 ] || usage
directory=$2
case $1 in
  run) run ;;
  start) start ;;
  stop) stop ;;
  check) read_settings || exit 1 ;;
  show) if running && [ -r "$directory/status" ]; then cat "$directory/status"; else echo '{"state": "stopped"}'; fi ;;
  *) usage ;;
esac
