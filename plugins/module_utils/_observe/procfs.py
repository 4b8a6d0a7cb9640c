# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what libvirt does not tell about a host, from /proc and /sys.

Every function takes the root directory, so that a test can bring its own, and returns None where the kernel does
not have the information or does not let this user read it.
"""

from __future__ import annotations

import glob
import os
import re
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._domain.xml import parse_cpuset


class Mount(t.NamedTuple):
    """One line of /proc/self/mountinfo (proc(5)). RV(root) is the directory of the file system that is seen there."""

    point: str
    fs_type: str
    source: str
    root: str = "/"


class CpuTicks(t.NamedTuple):
    """How long a CPU was busy, and how long it was there, both cumulative."""

    busy: int
    total: int


def _read(root: str, path: str) -> str | None:
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="surrogateescape") as handle:
            return handle.read()
    except OSError:
        return None


def read_pressure(resource: str, *, root: str = "/") -> float | None:
    """Return the share of the last minute in which some task waited for RV(resource) (cpu or memory), as a fraction.

    Source: Documentation/accounting/psi.rst, field "some avg60", which is in percent.
    """
    match = re.search(r"^some .*?avg60=([0-9.]+)", _read(root, f"proc/pressure/{resource}") or "", re.MULTILINE)
    return round(float(match.group(1)) / 100, 4) if match else None


def read_meminfo(*, root: str = "/") -> dict[str, int]:
    """Return /proc/meminfo in KiB, {} where it cannot be read."""
    figures = re.findall(r"^(\w+):\s+(\d+) kB$", _read(root, "proc/meminfo") or "", re.MULTILINE)
    return {name: int(value) for name, value in figures}


def read_arc_reclaimable_kib(*, root: str = "/") -> int:
    """Return what the ZFS cache would give back under pressure (its size beyond its minimum), 0 without ZFS."""
    text = _read(root, "proc/spl/kstat/zfs/arcstats") or ""
    figures = {name: int(value) for name, value in re.findall(r"^(size|c_min)\s+\d+\s+(\d+)$", text, re.MULTILINE)}
    return max(0, figures.get("size", 0) - figures.get("c_min", 0)) // 1024


def count_cpus(*, root: str = "/") -> int | None:
    """Return how many CPUs /proc/stat accounts for: the ones that a host's usage figures are about.

    Inside a container this can be fewer than /sys says, because lxcfs shows the container's share in /proc only.
    """
    return len(re.findall(r"^cpu\d+ ", _read(root, "proc/stat") or "", re.MULTILINE)) or None


def read_max_mhz(*, root: str = "/") -> int | None:
    """Return the highest clock rate of the CPUs in MHz, the mean of those that are online.

    Source: Documentation/admin-guide/pm/cpufreq.rst, cpuinfo_max_freq, in kHz. A virtual machine has none.
    """
    rates = []
    for path in glob.glob(os.path.join(glob.escape(root), "sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq")):
        text = (_read("/", path) or "").strip()
        if text.isdigit() and int(text):
            rates.append(int(text))
    return round(sum(rates) / len(rates) / 1000) if rates else None


def read_cpu_ticks(*, root: str = "/") -> dict[int, CpuTicks] | None:
    """Return {number: ticks} for each CPU of /proc/stat (proc(5))."""
    found = {}
    for number, text in re.findall(r"^cpu(\d+) ([0-9 ]+)$", _read(root, "proc/stat") or "", re.MULTILINE):
        # user, nice, system, idle, iowait, irq, softirq. What a hypervisor below steals was not there to be used,
        # and the time of guests is part of user.
        ticks = ([int(word) for word in text.split()] + [0] * 7)[:7]
        found[int(number)] = CpuTicks(sum(ticks) - ticks[3] - ticks[4], sum(ticks))
    return found or None


def read_boot_id(*, root: str = "/") -> str | None:
    """Return what tells one boot of the kernel from all others (random(4))."""
    return (_read(root, "proc/sys/kernel/random/boot_id") or "").strip() or None


def read_isolated_cpus(*, root: str = "/") -> frozenset[int] | None:
    """Return the CPUs that the kernel keeps free of everything that was not put there by name (isolcpus)."""
    text = _read(root, "sys/devices/system/cpu/isolated")
    if text is None:
        # A container may not show it: then it is what the kernel was started with, flags before the numbers.
        command_line = _read(root, "proc/cmdline")
        if command_line is None:
            return None
        words = re.findall(r"(?:^|\s)isolcpus=(\S+)", command_line)
        text = ",".join(part for part in (words[-1] if words else "").split(",") if part[:1].isdigit())
    return frozenset(parse_cpuset(text.strip()))


def read_swapped_out_kib(*, root: str = "/") -> int | None:
    """Return how much the machine swapped out since it was started (/proc/vmstat).

    What it reads back tells of a shortage that is over.
    """
    found = re.search(r"^pswpout (\d+)$", _read(root, "proc/vmstat") or "", re.MULTILINE)
    return int(found.group(1)) * os.sysconf("SC_PAGE_SIZE") // 1024 if found else None


def read_cgroup_version(*, root: str = "/") -> int | None:
    """Return which version of cgroups has the CPU controller, 1 or 2."""
    controllers = _read(root, "sys/fs/cgroup/cgroup.controllers")
    if controllers is not None and "cpu" in controllers.split():
        return 2
    if any(os.path.isdir(os.path.join(root, "sys/fs/cgroup", name)) for name in ("cpu", "cpu,cpuacct")):
        return 1
    return None


def read_mounts(*, root: str = "/") -> list[Mount] | None:
    """Return all mounts in the order in which they were made."""
    text = _read(root, "proc/self/mountinfo")
    if text is None:
        return None
    mounts = []
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if separator and len(fields) > 4 and len(tail) > 1:
            mounts.append(Mount(_unescape(fields[4]), tail[0], _unescape(tail[1]), _unescape(fields[3])))
    return mounts


def read_bridges(*, root: str = "/") -> list[str] | None:
    """Return the names of all Linux bridges and Open vSwitch bridges, sorted."""
    try:
        devices = os.listdir(os.path.join(root, "sys/class/net"))
    except OSError:
        return None
    bridges = {name for name in devices if os.path.isdir(os.path.join(root, "sys/class/net", name, "bridge"))}
    try:
        # ovs-vswitchd keeps one management socket per bridge; the kernel does not mark these devices.
        sockets = os.listdir(os.path.join(root, "run/openvswitch"))
    except OSError:
        sockets = []
    bridges.update(name[: -len(".mgmt")] for name in sockets if name.endswith(".mgmt"))
    return sorted(bridges)


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)
