# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A recording in the histories that the module prometheus_history_info reads."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.samples import (
    DomainSample,
    HostSample,
    Samples,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.history import read_history

Column = list[tuple[float, float | None]]


def read_histories(histories: Mapping[str, t.Any], snapshot: Mapping[str, t.Any]) -> Samples:
    """Join the histories of hosts with what the snapshot says of them. Raises SnapshotError where none has a value."""
    samples = Samples()
    samples.know(snapshot)
    problems = []
    for host, found in histories.items():
        if found.get("history_problem"):
            problems.append(f"{host}: {found['history_problem']}")
        for at, usage in _column(found.get("history"), "cpu", f"The history of {host}"):
            samples.hosts.append(HostSample(at, host, usage))
        for uuid, history in found["domains"].items():
            facts = snapshot["domains"].get(uuid) or {}
            what = f"The history of {uuid}"
            ready = dict(_column(history, "cpu_ready", what, optional=True))
            for at, cores in _column(history, "cpu_cores", what):
                if cores is not None:
                    name = str(facts.get("name") or uuid)
                    samples.domains.append(DomainSample(at, host, uuid, name, cores, ready.get(at)))
    if not samples.domains:
        told = f" {problems[0]}" if problems else ""
        raise SnapshotError(f"Prometheus has no CPU of any domain in that time.{told}")
    return samples


def _column(history: t.Any, name: str, what: str, *, optional: bool = False) -> Column:
    series = read_history(history, name, what, optional=optional)
    if series is None or series.ends_at is None:
        return []
    end, last = series.ends_at.timestamp(), len(series.samples) - 1
    return [(end - series.step * (last - place), value) for place, value in enumerate(series.samples)]
