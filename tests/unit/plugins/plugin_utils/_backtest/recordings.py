# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Small recordings for tests."""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.recording import (
    RecordedDomain,
    RecordedHost,
    Recording,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import Power

STEP = 300.0
WATTS = Power((100.0, 200.0))
HOST_FACTS: dict[str, t.Any] = {
    "cpu": {"arch": "x86_64", "model": "Haswell", "features": [], "usable_models": ["Nehalem"]},
    "networks": [],
    "bridges": ["br0"],
    "storage_pools": [],
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


def host(name: str, threads: int = 4, **facts: t.Any) -> RecordedHost:
    return RecordedHost(name, threads, **{"memory_mib": 65536.0, "power": WATTS, "facts": HOST_FACTS, **facts})


def domain(
    name: str, where: str | t.Sequence[str | None], wanted: t.Sequence[float | None], **facts: t.Any
) -> RecordedDomain:
    places = [where] * len(wanted) if isinstance(where, str) else where
    return RecordedDomain(
        name, name, where=places, wanted=wanted, **{"vcpus": 4, "memory_mib": 1000.0, "facts": DOMAIN_FACTS, **facts}
    )


def recording(hosts: t.Iterable[RecordedHost], *domains: RecordedDomain, steps: int = 2) -> Recording:
    steps = len(domains[0].wanted) if domains else steps
    begins_at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    return Recording(begins_at, STEP, steps, {one.name: one for one in hosts}, {one.uuid: one for one in domains})
