# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: rates from two samples of libvirt's cumulative counters.

Counters and units: virConnectGetAllDomainStats and virNodeGetCPUStats, all in nanoseconds.
A counter that is missing in one of the samples, or that went backwards (the domain was started anew), gives None.
"""

from __future__ import annotations

import re
import typing as t

Counters = t.Mapping[str, t.Any]

Ticks = tuple[int, int]

NANOSECONDS = 1_000_000_000
# The times of vCPUs come from stat of proc(5): user and system time, each cut to a hundredth of a second.
_VCPU_TIME_ERROR = 2 * NANOSECONDS // 100
_VCPU_KEY = re.compile(r"^vcpu\.(\d+)\.time$")


def increase(before: Counters, after: Counters, key: str) -> int | None:
    """Return how much a counter grew, or None where that is not known."""
    first, second = before.get(key), after.get(key)
    if first is None or second is None or second < first:
        return None
    return int(second - first)


def cpu_cores(before: Counters, after: Counters, elapsed_seconds: float) -> float | None:
    """Return the CPU that a domain used, in cores (1.0 = one physical thread busy), emulator threads included."""
    used = increase(before, after, "cpu.time")
    if used is None or elapsed_seconds <= 0:
        return None
    return round(used / NANOSECONDS / elapsed_seconds, 3)


def cpu_ready(before: Counters, after: Counters) -> float | None:
    """Return the share (0..1) of the time wanted by a domain's vCPUs that they spent waiting for a physical CPU.

    RV(vcpu.N.delay) is the run queue delay of the vCPU's thread (/proc/PID/task/TID/schedstat), which is what the
    guest sees as steal. vCPUs that are in only one of the samples (hot plugged or unplugged meanwhile) do not count.

    The time that a vCPU ran is rounded down, the delay is exact: a domain at rest would seem to do nothing but wait. It
    is taken as long as it may have been, but not longer than the whole domain ran, which is exact as well.
    """
    ran = waited = vcpus = 0
    for key in after:
        match = _VCPU_KEY.match(key)
        if match is None or key not in before:
            continue
        vcpu_ran = increase(before, after, key)
        vcpu_waited = increase(before, after, f"vcpu.{match.group(1)}.delay")
        if vcpu_ran is None or vcpu_waited is None:
            return None
        ran += vcpu_ran
        waited += vcpu_waited
        vcpus += 1
    if not vcpus:
        return None
    longest = ran + vcpus * _VCPU_TIME_ERROR
    used = increase(before, after, "cpu.time")
    ran = max(ran, longest if used is None else min(used, longest))
    return round(waited / (ran + waited), 3) if ran + waited else 0.0


def cpu_loads(before: t.Mapping[int, Ticks] | None, after: t.Mapping[int, Ticks] | None) -> dict[int, float] | None:
    """Return by number how busy (0..1) each CPU was that is in both samples of (busy, total) ticks."""
    if before is None or after is None:
        return None
    loads = {}
    for number, (busy, total) in after.items():
        earlier = before.get(number)
        if earlier is not None and total > earlier[1] and busy >= earlier[0]:
            loads[number] = min(1.0, (busy - earlier[0]) / (total - earlier[1]))
    return loads


def host_cpu(before: Counters | None, after: Counters | None) -> dict[str, float | None]:
    """Return {usage, iowait} of a host as fractions (0..1) from two results of virNodeGetCPUStats.

    Idle and iowait are taken together for the usage: the kernel lets iowait alone go backwards (proc(5)).
    """
    unknown: dict[str, float | None] = {"usage": None, "iowait": None}
    if before is None or after is None:
        return unknown
    busy = [increase(before, after, key) for key in ("kernel", "user")]
    quiet = increase(_quiet(before), _quiet(after), "quiet")
    if quiet is None or None in busy:
        return unknown
    worked = sum(part for part in busy if part is not None)
    total = worked + quiet
    if total == 0:
        return unknown
    iowait = increase(before, after, "iowait")
    return {
        "usage": round(worked / total, 4),
        "iowait": None if iowait is None else round(min(iowait, total) / total, 4),
    }


def _quiet(sample: Counters) -> dict[str, t.Any]:
    idle = sample.get("idle")
    return {} if idle is None else {"quiet": idle + (sample.get("iowait") or 0)}
