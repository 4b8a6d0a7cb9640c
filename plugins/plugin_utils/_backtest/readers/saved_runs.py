# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A recording in the snapshots that runs have saved, one after the other.

Where a snapshot has a history, the values since the snapshot before are those of the history, which are means over
whole steps; else they are what was observed at that moment, for a few seconds.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from datetime import datetime

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.samples import (
    DomainSample,
    HostSample,
    Samples,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.history import Series
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse

Json = Mapping[str, t.Any]


def taken_at(snapshot: t.Any, what: str) -> datetime:
    """When a snapshot was taken. Raises SnapshotError where it does not say so; ``what`` begins the message."""
    said = snapshot.get("taken_at") if isinstance(snapshot, Mapping) else None
    moment = parse(str(said))
    if moment is None:
        raise SnapshotError(f"{what} has the taken_at {shown(said)}; it must be a time such as 2026-01-31T12:00:00Z.")
    return moment


class SavedRuns:
    """Takes snapshots one by one, from the oldest to the newest, so that no two have to be kept in memory."""

    def __init__(self) -> None:
        """Begin without any."""
        self.samples = Samples()
        self._last = 0.0

    def add(self, snapshot: t.Any, what: str = "The snapshot") -> None:
        """Take the next one. Raises SnapshotError where it is none."""
        fleet = Snapshot.from_mapping(snapshot)
        now = taken_at(snapshot, what).timestamp()
        for name, host in fleet.hosts.items():
            if host.state == "asleep":
                self.samples.hosts.append(HostSample(now, name, None, asleep=True))
            elif host.answers:
                for at, (usage,) in self._since(now, host.usage, [host.history]):
                    self.samples.hosts.append(HostSample(at, name, usage))
        for uuid, domain in fleet.domains.items():
            if domain.state not in ("running", None) or not fleet.hosts[domain.host].answers:
                continue
            memory = domain.maximum_mib
            ready = domain.ready_history
            if ready is not None and domain.history is not None:
                ready = ready.aligned(domain.history)
            for at, (cores, waited) in self._since(now, domain.cpu_cores, [domain.history, ready], domain.cpu_ready):
                self.samples.domains.append(DomainSample(at, domain.host, uuid, domain.name, cores, waited, memory))
        self.samples.know(snapshot)
        self._last = now

    def _since(
        self, now: float, observed: float | None, histories: list[Series | None], *more: float | None
    ) -> list[tuple[float, tuple[float | None, ...]]]:
        """What was measured since the last snapshot, with the times; what was observed now where no history has it."""
        first = histories[0]
        found: list[tuple[float, tuple[float | None, ...]]] = []
        if first is not None and first.ends_at is not None:
            end, count = first.ends_at.timestamp(), len(first.samples)
            for place, value in enumerate(first.samples):
                at = end - first.step * (count - 1 - place)
                if value is not None and self._last < at <= now:
                    others = (None if one is None else one.samples[place] for one in histories[1:])
                    found.append((at, (value, *others)))
        return found or [(now, (observed, *more))]
