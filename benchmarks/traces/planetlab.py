# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A day of PlanetLab in the setting of Beloglazov and Buyya (CCPE 2012), as a recording.

A trace is a CSV file, which may be compressed with xz: a row of names, then a row for each five minutes, with the CPU
use of each virtual machine in per cent. 800 hosts, by turns 2 x 1860 and 2 x 2660 MIPS, with the power of two machines
of SPECpower. The machines in four equal parts, by their order: 2500, 2000, 1000, 500 MIPS and 870, 1740, 1740, 613 MB.
They begin where power-aware best fit decreasing puts them by all that they may use, and hosts without one sleep. As in
the published results the memory of the hosts does not limit where they go: it has to be copied, nothing else.
"""

from __future__ import annotations

import csv
import lzma
import typing as t
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.recording import (
    RecordedDomain,
    RecordedHost,
    Recording,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import Power

HOSTS = 800
STEP_SECONDS = 300.0
MIPS = (1860.0, 2660.0)
"""Of a thread of the two kinds of hosts. A thread of speed 1 is one of the first kind."""
POWER = (
    Power((86.0, 89.4, 92.6, 96.0, 99.5, 102.0, 106.0, 108.0, 112.0, 114.0, 117.0)),
    Power((93.7, 97.0, 101.0, 105.0, 110.0, 116.0, 121.0, 125.0, 129.0, 133.0, 135.0)),
)
KINDS = ((2500.0, 870.0), (2000.0, 1740.0), (1000.0, 1740.0), (500.0, 613.0))
"""MIPS and MB of a machine, by its part of the fleet."""
BANDWIDTH_MIB_S = 62.5
"""Half of 1 Gbit/s."""
THREADS = 2
NO_LIMIT_MIB = 2.0**20

HOST_FACTS: dict[str, t.Any] = {
    "cpu": {"arch": "x86_64", "model": "Haswell", "features": [], "usable_models": ["Nehalem", "Haswell"]},
    "networks": [],
    "bridges": ["br0"],
    "storage_pools": [{"path": "/srv/images", "active": True, "shared": True}],
    "machine_types": {"x86_64": ["q35"]},
    "domain_types": ["kvm"],
}
DOMAIN_FACTS: dict[str, t.Any] = {
    "type": "kvm",
    "arch": "x86_64",
    "machine": "q35",
    "disks": [],
    "interfaces": [],
    "cpu": {"mode": "custom", "model": "Nehalem", "features": []},
    "tags": [],
}


def read(path: Path) -> list[list[float]]:
    """The columns of a trace, fractions. Raises ValueError with what is wrong with the file."""
    packed = path.read_bytes()
    text = (lzma.decompress(packed) if path.suffix == ".xz" else packed).decode()
    rows = list(csv.reader(text.splitlines()))[1:]
    if len(rows) < 2 or len({len(row) for row in rows}) != 1:
        raise ValueError(f"{path} is no trace: it needs a row of names and at least two rows of numbers of one length.")
    try:
        return [[float(value) / 100.0 for value in column] for column in zip(*rows, strict=True)]
    except ValueError as error:
        raise ValueError(f"{path} is no trace: {error}.") from error


def recording(path: Path, scale: int) -> Recording:
    """A day with each ``scale``-th machine, and as many hosts less."""
    columns = read(path)[::scale]
    hosts = {
        f"h{index:03}": RecordedHost(
            f"h{index:03}",
            THREADS,
            NO_LIMIT_MIB,
            speed=MIPS[index % 2] / MIPS[0],
            power=POWER[index % 2],
            facts=HOST_FACTS,
        )
        for index in range(HOSTS // scale)
    }
    kinds = [KINDS[index * len(KINDS) // len(columns)] for index in range(len(columns))]
    places = _places(hosts, [mips / MIPS[0] for mips, _mib in kinds])
    domains = {}
    for index, (column, (mips, mib), place) in enumerate(zip(columns, kinds, places, strict=True)):
        uuid = f"{index:08x}-0000-4000-8000-000000000000"
        wanted = [used * mips / MIPS[0] for used in column]
        # As many vCPUs as a host has threads: a virtual machine of that setting is a rate of work, whatever the core.
        domains[uuid] = RecordedDomain(
            uuid, f"vm{index:04}", THREADS, mib, [place] * len(column), wanted, wanted, facts=DOMAIN_FACTS
        )
    times = len(columns[0])
    for name in hosts.keys() - set(places):
        hosts[name] = replace(hosts[name], asleep=[True] * times)
    return Recording(datetime(2011, 3, 3, tzinfo=UTC), STEP_SECONDS, times, hosts, domains)


def _places(hosts: dict[str, RecordedHost], sizes: list[float]) -> list[str]:
    """The host of each machine at first: where it raises the power least, the largest first."""
    used = dict.fromkeys(hosts, 0.0)
    places = [""] * len(sizes)
    for index in sorted(range(len(sizes)), key=lambda index: (-sizes[index], index)):
        best = None
        for name, host in hosts.items():
            cores = host.threads * host.speed
            if used[name] + sizes[index] > cores or sizes[index] > cores or host.power is None:
                continue
            before = host.power.watts(used[name] / cores) if used[name] else 0.0
            rise = host.power.watts((used[name] + sizes[index]) / cores) - before
            if best is None or rise < best[0]:
                best = (rise, name)
        if best is None:
            raise ValueError("The hosts have no room for all machines.")
        places[index] = best[1]
        used[best[1]] += sizes[index]
    return places
