# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""ProxLB's own calculation (PyPI proxlb), called without Proxmox: its defaults, that is method memory, mode used,
balanciness 10. It runs as its main program does; only the objects that it reads from the API are made here.
"""

from __future__ import annotations

import importlib
import logging
import typing as t

from ..checker import Step, Waves
from ..fleets import Fleet, loads
from ..meter import Meter
from . import Engine, Outcome, Request, register

_MIB = 1024 * 1024
_MOST_PASSES = 100
_CALM: dict[str, t.Any] = {
    "pressure_some_percent": 0.0,
    "pressure_full_percent": 0.0,
    "pressure_some_spikes_percent": 0.0,
    "pressure_full_spikes_percent": 0.0,
    "pressure_hot": False,
}
_NO_DISK = {"total": 1, "used": 0.0}


def once(fleet: Fleet, _request: Request) -> Outcome:
    """One run of ProxLB."""
    return _passes(fleet, 1)


def repeated(fleet: Fleet, _request: Request) -> Outcome:
    """One run after the other, each seeing what the one before has done, until one moves nothing."""
    return _passes(fleet, _MOST_PASSES)


def _passes(fleet: Fleet, most: int) -> Outcome:
    calculations = importlib.import_module("proxlb.models.calculations")
    data = importlib.import_module("proxlb.utils.proxlb_data").ProxLbData
    logging.disable(logging.CRITICAL)
    indices = {domain.name: index for index, domain in enumerate(fleet.domains)}
    names = {host.name: index for index, host in enumerate(fleet.hosts)}
    placement, meter = fleet.placement, Meter()
    waves: Waves = []
    settled = False
    while not settled and len(waves) < most:
        seen = _data(data, fleet, placement)
        with meter:
            _run(calculations.Calculations, seen)
        steps = [
            Step(indices[name], names[guest.node_current], names[guest.node_target])
            for name, guest in seen.guests.items()
            if guest.node_target != guest.node_current
        ]
        settled = not steps
        waves.append(steps)
        for step in steps:
            placement[step.domain] = step.destination
    note = "" if most == 1 else f"{len(waves)} passes" + ("" if settled else ", not settled")
    return Outcome(waves, ordered=False, cpu_seconds=meter.cpu_seconds, note=note)


def _run(calculations: t.Any, data: t.Any) -> None:
    """The calls of ProxLB's main program between reading from and writing to the API."""
    calculations.set_node_assignments(data)
    calculations.set_node_hot(data)
    calculations.set_guest_hot(data)
    if calculations.get_most_free_node(data) is not None:
        calculations.validate_affinity_map(data)
        calculations.relocate_guests_on_maintenance_nodes(data)
        calculations.get_balanciness(data)
        calculations.relocate_guests(data)


def _data(data: t.Any, fleet: Fleet, placement: t.Sequence[int]) -> t.Any:
    guests, groups = {}, {}
    for index, (domain, host) in enumerate(zip(fleet.domains, placement, strict=True)):
        cpu = {"total": domain.vcpus, "used": domain.cores}
        memory = {"total": domain.maximum_mib * _MIB, "used": domain.used_mib * _MIB}
        guests[domain.name] = {
            "name": domain.name,
            "id": index + 100,
            "node_current": fleet.hosts[host].name,
            "node_target": fleet.hosts[host].name,
            "cpu": {**cpu, **_CALM},
            "disk": {**_NO_DISK, **_CALM},
            "memory": {**memory, **_CALM},
            "processed": False,
            "pressure_hot": False,
            "tags": [],
            "pools": [],
            "ha_rules": [],
            "affinity_groups": [],
            "anti_affinity_groups": [],
            "ignore": False,
            "node_relationships": [],
            "node_relationships_strict": True,
            "type": "vm",
        }
        groups[f"group_{domain.name}"] = {"guests": [domain.name], "cpu": cpu, "disk": _NO_DISK, "memory": memory}
    nodes = {
        host.name: {
            "name": host.name,
            "pve_version": "9.0.0",
            "pressure_hot": False,
            "maintenance": False,
            "cpu": _metric(host.threads, load.cores),
            "disk": _metric(len(fleet.domains), 0.0),
            "memory": _metric(host.memory_mib * _MIB, load.used_mib * _MIB),
        }
        for host, load in zip(fleet.hosts, loads(fleet, placement), strict=True)
    }
    return data(
        meta={"proxmox_api": {"hosts": [], "user": ""}, "cluster_non_pve9": False},
        nodes=nodes,
        guests=guests,
        pools={},
        ha_rules={},
        groups={"affinity": groups},
    )


def _metric(total: int, used: float) -> dict[str, t.Any]:
    return {
        "total": total,
        "assigned": 0,
        "used": used,
        "free": max(0.0, total - used),
        "assigned_percent": 0.0,
        "free_percent": 100.0 * max(0.0, total - used) / total,
        "used_percent": 100.0 * used / total,
        **_CALM,
    }


_INSTALL = "pip install proxlb, and name its interpreter with --proxlb-python if it is not this one"
register(Engine("proxlb", once, peer="proxlb", module="proxlb", install=_INSTALL))
register(Engine("proxlb-repeated", repeated, peer="proxlb", module="proxlb", install=_INSTALL))
