# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the power that a host draws, where something measures it.

The BMC measures the whole machine (DCMI). The counters of the CPU (RAPL) are about the CPU packages and, where the
processor has them, the memory beside them. The one is never taken for the other.

Sources: ipmitool(1), "dcmi power reading"; Documentation/power/powercap/powercap.rst of the kernel.
"""

from __future__ import annotations

import os
import re
import subprocess
import typing as t

_ZONES = "sys/class/powercap"
_BMC_DEVICES = ("dev/ipmi0", "dev/ipmi/0", "dev/ipmidev/0")
_BMC_SECONDS = 10


class Energy(t.NamedTuple):
    """A counter of one zone, and the value after which it starts again at 0, in microjoule."""

    used: int
    range: int


def read_energy(*, root: str = "/") -> dict[str, Energy]:
    """Return the counters of CPU packages and their memory, {} where there are none or this user may not read them."""
    found = {}
    directory = os.path.join(root, _ZONES)
    try:
        zones = os.listdir(directory)
    except OSError:
        return {}
    for zone in zones:
        # Of a package (intel-rapl:0) the cores are a part already, its memory (intel-rapl:0:2, "dram") is not.
        # "psys" counts the packages once more.
        match = re.fullmatch(r"intel-rapl(:\d+){1,2}", zone)
        name = _read(os.path.join(directory, zone, "name"))
        wanted = name is not None and (name.startswith("package-") if zone.count(":") == 1 else name == "dram")
        used = _read(os.path.join(directory, zone, "energy_uj"))
        limit = _read(os.path.join(directory, zone, "max_energy_range_uj"))
        if match and wanted and used is not None and limit is not None and used.isdigit() and limit.isdigit():
            found[zone] = Energy(int(used), int(limit))
    return found


def cpu_watts(before: t.Mapping[str, Energy], after: t.Mapping[str, Energy], seconds: float) -> float | None:
    """Return what CPU packages and their memory drew between two readings, None where that is not known."""
    if seconds <= 0 or not before or before.keys() != after.keys():
        return None
    # A counter that starts again does so after minutes at the earliest, so at most once between two readings.
    used = sum((after[zone].used - before[zone].used) % (before[zone].range + 1) for zone in before)
    return round(used / seconds / 1e6, 1)


def read_watts(*, root: str = "/") -> float | None:
    """Ask the host's own BMC what the machine draws now, None where there is no BMC that tells."""
    if not any(os.path.exists(os.path.join(root, device)) for device in _BMC_DEVICES):
        return None
    try:
        done = subprocess.run(
            ["ipmitool", "dcmi", "power", "reading"],
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_BMC_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    watts = re.search(r"^\s*Instantaneous power reading:\s*(\d+) Watts", done.stdout, re.MULTILINE)
    active = re.search(r"^\s*Power reading state is:\s*activated", done.stdout, re.MULTILINE)
    # A BMC without a sensor reports 0; a machine that answers draws more.
    return float(watts.group(1)) if watts and active and int(watts.group(1)) > 0 else None


def describe(watts: float | None, cpu: float | None) -> dict[str, t.Any]:
    """Return both figures in the form of the observation, each with where it comes from."""
    return {
        "watts": watts,
        "source": None if watts is None else "measured",
        "cpu_watts": cpu,
        "cpu_source": None if cpu is None else "measured",
    }


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None
