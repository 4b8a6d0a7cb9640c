# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Small snapshots for tests: hosts with nothing of their own running unless said otherwise."""

from __future__ import annotations

import copy
import typing as t

Json = dict[str, t.Any]
TAKEN_AT = "2026-01-31T12:00:00Z"


def host(*, threads: int = 10, total: int = 10000, usage: float = 0.0, used: float = 0.0, **more: t.Any) -> Json:
    """``used``: memory in use in MiB, its domains included."""
    found: Json = {
        "state": "active",
        "problem": None,
        "uuid": None,
        "tags": [],
        "groups": [],
        "cpu": {
            "arch": "x86_64",
            "model": "Haswell",
            "features": ["vmx"],
            "usable_models": ["Nehalem", "Haswell"],
            "threads": threads,
            "usage": usage,
        },
        "memory": {"total_mib": total, "available_mib": total - used, "hugepages": []},
        "networks": [{"name": "default", "active": True}],
        "bridges": ["br0"],
        "storage_pools": [{"path": "/srv/images", "active": True, "shared": True}],
        "machine_types": {"x86_64": ["q35"]},
        "domain_types": ["kvm", "qemu"],
    }
    for key, value in more.items():
        found[key] = {**found[key], **value} if isinstance(value, dict) and key in ("cpu", "memory") else value
    return found


def domain(name: str, on: str, cores: float | None = 1.0, mib: int | None = 100, **more: t.Any) -> Json:
    """A domain whose UUID is its name."""
    found: Json = {
        "uuid": name,
        "name": name,
        "host": on,
        "destination": None,
        "state": "running",
        "reason": "booted",
        "type": "qemu",
        "arch": "x86_64",
        "machine": "q35",
        "vcpus": 4,
        "cpu_cores": cores,
        "cpu_ready": 0.0,
        "memory": {"maximum_mib": mib, "current_mib": mib, "rss_mib": mib},
        "disks": [{"target": "vda", "source": f"/srv/images/{name}.qcow2", "shared": True}],
        "interfaces": [{"type": "bridge", "source": "br0"}],
        "cpu": {"mode": "custom", "model": "Nehalem", "features": []},
        "cap": 0,
        "tags": [],
        "last_moved_at": None,
        "unfinished_move": None,
        "job": None,
        "blockers": [],
    }
    return {**found, **more}


def snapshot(hosts: dict[str, Json], *domains: Json, **more: t.Any) -> Json:
    """Hosts carry what their domains use, on top of their own usage and memory."""
    for guest in domains:
        carrier = hosts[guest["host"]]
        carrier["cpu"]["usage"] += (guest["cpu_cores"] or 0.0) / carrier["cpu"]["threads"]
        if not guest.get("hugepages"):
            carrier["memory"]["available_mib"] -= guest["memory"]["rss_mib"] or 0
    return {
        "schema": 1,
        "taken_at": TAKEN_AT,
        "hosts": hosts,
        "domains": {guest["uuid"]: guest for guest in domains},
        "doubts": [],
        **more,
    }


def answer(guest: str, destination: str, ok: bool | None = True, *checks: Json) -> Json:
    """What domain_migrate_info answered to one question."""
    return {"domain": guest, "destination": destination, "ok": ok, "checks": list(checks)}


def refusal(guest: str, destination: str, message: str, *, kind: str | None = None, about: t.Any = None) -> Json:
    """The answer with one check that did not pass."""
    check = {"check": kind or "names_free", "ok": False, "message": message, "kind": kind, "about": about}
    return answer(guest, destination, False, check)


def moves(plan: Json) -> list[Json]:
    """All moves of a plan in their order."""
    return [move for wave in plan["waves"] for move in wave["moves"]]


def ways(plan: Json) -> list[tuple[str, str, str]]:
    """Who moves from where to where."""
    return [(move["name"], move["source"], move["destination"]) for move in moves(plan)]


def carried_out(data: Json, plan: Json) -> Json:
    """The snapshot as it would be taken after the plan, with every domain using what it used before."""
    after = copy.deepcopy(data)
    for move in moves(plan):
        guest = after["domains"][move["domain"]]
        ends = ((after["hosts"][guest["host"]], -1), (after["hosts"][move["destination"]], 1))
        for carrier, sign in ends:
            cpu, memory = carrier["cpu"], carrier["memory"]
            cpu["usage"] = max(0.0, cpu["usage"] + sign * guest["cpu_cores"] / cpu["threads"])
            memory["available_mib"] -= sign * guest["memory"]["rss_mib"]
        guest["host"] = move["destination"]
    return after
