# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A random fleet as a snapshot of the collection's data model, as if it had been observed.

A host that is short of CPU shows it as a real one does: it is busy on all threads, its domains use less than they want,
and the rest is in ``cpu_ready``. Nothing but the load speaks against any move.
"""

from __future__ import annotations

import typing as t

from .fleets import Fleet, loads

Json = dict[str, t.Any]
TAKEN_AT = "2026-01-31T12:00:00Z"


def snapshot(fleet: Fleet) -> Json:
    """The snapshot, plain JSON."""
    carried = loads(fleet, fleet.placement)
    got = [
        min(1.0, host.threads / load.cores) if load.cores else 1.0
        for host, load in zip(fleet.hosts, carried, strict=True)
    ]
    hosts = {
        host.name: _host(host.threads, host.memory_mib, min(1.0, load.cores / host.threads), load.used_mib)
        for host, load in zip(fleet.hosts, carried, strict=True)
    }
    domains = {
        domain.uuid: {
            "uuid": domain.uuid,
            "name": domain.name,
            "host": fleet.hosts[domain.host].name,
            "destination": None,
            "state": "running",
            "reason": "booted",
            "type": "kvm",
            "arch": "x86_64",
            "machine": "q35",
            "vcpus": domain.vcpus,
            "cpu_cores": domain.cores * got[domain.host],
            "cpu_ready": 1.0 - got[domain.host],
            "cap": 0,
            "memory": {
                "maximum_mib": domain.maximum_mib,
                "current_mib": domain.maximum_mib,
                "rss_mib": domain.used_mib,
            },
            "hugepages": False,
            "disks": [{"target": "vda", "source": f"/srv/images/{domain.name}.qcow2", "shared": True}],
            "interfaces": [{"type": "bridge", "source": "br0"}],
            "cpu": {"mode": "custom", "model": "Nehalem", "features": []},
            "tags": [],
            "last_moved_at": None,
            "unfinished_move": None,
            "job": None,
            "blockers": [],
        }
        for domain in fleet.domains
    }
    return {"schema": 1, "taken_at": TAKEN_AT, "hosts": hosts, "domains": domains, "doubts": []}


def _host(threads: int, memory_mib: int, usage: float, used_mib: float) -> Json:
    return {
        "state": "active",
        "problem": None,
        "uuid": None,
        "tags": [],
        "groups": [],
        "cpu": {
            "arch": "x86_64",
            "model": "Haswell",
            "features": [],
            "usable_models": ["Nehalem", "Haswell"],
            "threads": threads,
            "usage": usage,
        },
        "memory": {"total_mib": memory_mib, "available_mib": memory_mib - used_mib, "hugepages": []},
        "networks": [],
        "bridges": ["br0"],
        "storage_pools": [{"path": "/srv/images", "active": True, "shared": True}],
        "machine_types": {"x86_64": ["q35"]},
        "domain_types": ["kvm"],
    }
