# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A saved snapshot of two hosts, for runs that need no host."""

from __future__ import annotations

import typing as t


def snapshot() -> dict[str, t.Any]:
    """Return a saved snapshot: kvm1 is busy with four domains, kvm2 has nothing to do."""
    cpu = {
        "arch": "x86_64",
        "model": "Nehalem",
        "features": [],
        "usable_models": ["Nehalem"],
        "threads": 8,
        "mhz": 2400,
    }
    host = {
        "state": "active",
        "hypervisor": {"type": "QEMU", "version": "7.2.0"},
        "networks": [{"name": "default", "bridge": "virbr0", "active": True}],
        "machine_types": {"x86_64": ["pc-q35-7.2"]},
        "domain_types": ["kvm"],
    }
    domain = {
        "host": "kvm1",
        "state": "running",
        "persistent": True,
        "type": "kvm",
        "arch": "x86_64",
        "machine": "pc-q35-7.2",
        "vcpus": 2,
        "cpu_cores": 1.8,
        "memory": {"maximum_mib": 2048, "current_mib": 2048, "rss_mib": 2000},
        "disks": [],
        "interfaces": [{"type": "network", "source": "default"}],
        "cpu": {"mode": "custom", "model": "Nehalem", "features": []},
        "weight": 1.0,
        "cap": 0,
        "pins": {},
        "hugepages": False,
        "tags": [],
        "blockers": [],
    }
    return {
        "schema": 1,
        "taken_at": "2026-01-31T12:00:00Z",
        "hosts": {
            "kvm1": {
                **host,
                "uuid": "00000000-0000-4000-8000-00000000000a",
                "cpu": {**cpu, "usage": 0.95},
                "memory": {"total_mib": 32768, "available_mib": 16384},
            },
            "kvm2": {
                **host,
                "uuid": "00000000-0000-4000-8000-00000000000b",
                "cpu": {**cpu, "usage": 0.02},
                "memory": {"total_mib": 32768, "available_mib": 30000},
            },
        },
        "domains": {
            f"00000000-0000-4000-8000-{number:012}": {
                **domain,
                "uuid": f"00000000-0000-4000-8000-{number:012}",
                "name": f"web-{number}",
            }
            for number in range(1, 5)
        },
        "doubts": [],
    }
