# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Observations as host_info returns them, made up from a seed: a fleet with a few loaded hosts and many domains."""

from __future__ import annotations

import json
import random
import typing as t
from pathlib import Path

MODELS = ["Nehalem", "Westmere", "SandyBridge", "IvyBridge", "Haswell", "Broadwell", "Skylake-Server"]


def name(number: int) -> str:
    """Return the name of a host."""
    return f"kvm{number:04d}"


def observation(number: int, domains: int, seed: int = 1, *, level: bool = False) -> dict[str, t.Any]:
    """One host; every tenth is nearly empty of load, every tenth is hot. In a level fleet all are alike."""
    chance = random.Random(f"{seed}-{0 if level else number}")
    threads, total = 32, 131072
    heat = 0.8 if level else {0: 0.1, 1: 1.6}.get(number % 10, 0.8)
    guests = [_domain(number, index, heat, chance) for index in range(domains)]
    busy = sum(guest["cpu_cores"] for guest in guests)
    used = sum(guest["memory"]["rss_mib"] for guest in guests)
    return {
        "schema": 1,
        "taken_at": "2026-01-31T12:00:00Z",
        "interval_seconds": 5.0,
        "host": {
            "hostname": name(number),
            "uuid": f"{number:08x}-0000-4000-8000-000000000000",
            "hypervisor": {"type": "QEMU", "version": "7.2.22"},
            "libvirt_version": "9.0.0",
            "cgroup_version": 2,
            "cpu": {
                "arch": "x86_64",
                "model": "Skylake-Server",
                "vendor": "Intel",
                "features": [f"feature{i:02d}" for i in range(24)],
                "usable_models": MODELS,
                "threads": threads,
                "mhz": 2400,
                "usage": min(1.0, busy / threads + 0.02),
                "iowait": 0.01,
                "pressure": 0.0,
            },
            "memory": {
                "total_mib": total,
                "available_mib": total - used - 2048,
                "swap_used_mib": 0,
                "pressure": 0.0,
                "hugepages": [],
            },
            "numa": [{"id": 0, "total_mib": total, "free_mib": total // 2, "cpus": list(range(threads))}],
            "networks": [{"name": "default", "bridge": "virbr0", "active": True}],
            "bridges": ["br0", "virbr0"],
            "storage_pools": [
                {"name": "images", "uuid": "a", "type": "netfs", "path": "/srv/images", "active": True, "shared": True}
            ],
            "machine_types": {"x86_64": ["pc-i440fx-7.2", "pc-q35-7.1", "pc-q35-7.2"]},
            "domain_types": ["kvm", "qemu"],
            "power": {"watts": None, "source": None, "cpu_watts": None, "cpu_source": None},
        },
        "domains": guests,
        "inactive_domains": [],
    }


def _domain(host: int, index: int, heat: float, chance: random.Random) -> dict[str, t.Any]:
    vcpus = chance.choice([1, 2, 2, 4])
    size = vcpus * 1024
    return {
        "uuid": f"{host:08x}-{index:04x}-4000-8000-000000000001",
        "name": f"guest-{host:04d}-{index:02d}",
        "state": "running",
        "reason": "booted",
        "persistent": True,
        "type": "kvm",
        "arch": "x86_64",
        "machine": "pc-q35-7.2",
        "vcpus": vcpus,
        "cpu_cores": round(min(0.95, heat * chance.random()) * vcpus, 3),
        "cpu_ready": 0.01,
        "memory": {
            "maximum_mib": size,
            "current_mib": size,
            "rss_mib": round(size * 0.8),
            "usable_mib": None,
            "available_mib": None,
            "fresh": None,
        },
        "disks": [
            {
                "target": "vda",
                "device": "disk",
                "type": "file",
                "source": f"/srv/images/guest-{host:04d}-{index:02d}.qcow2",
                "shared": True,
                "readonly": False,
            }
        ],
        "interfaces": [{"type": "bridge", "source": "br0", "mac": f"52:54:00:{host % 256:02x}:{index:02x}:01"}],
        "cpu": {"mode": "custom", "model": "Haswell", "features": []},
        "weight": 1.0,
        "cap": 0,
        "pins": {},
        "hugepages": False,
        "tags": [],
        "last_moved_at": None,
        "unfinished_move": None,
        "job": None,
        "blockers": [],
    }


def write(directory: Path, hosts: int, domains: int, *, level: bool = False) -> None:
    """One file for each host, and the inventory of them all."""
    names = [name(number) for number in range(hosts)]
    for number, known_as in enumerate(names):
        (directory / f"{known_as}.json").write_text(json.dumps(observation(number, domains, level=level)))
    (directory / "hosts.ini").write_text("[hypervisors]\n" + "".join(f"{known_as}\n" for known_as in names))
