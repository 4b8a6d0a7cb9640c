# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What one host says about a domain when it does not answer everything."""

from __future__ import annotations

import threading
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._move import both_hosts, libvirt_migration, where_it_runs
from ansible_collections.virtops.balance.plugins.module_utils._move.where_it_runs import NO_DEFINITION, Side
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import UUID, Domain, Fleet
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError


@pytest.fixture(autouse=True)
def _no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "_ensure_events", lambda _api: None)


@pytest.mark.parametrize(
    ("error", "side"),
    [
        (FakeLibvirtError(42, "no domain"), Side("kvm1", definition=NO_DEFINITION)),
        (FakeLibvirtError(1, "client socket is closed.", 7), Side("kvm1", problem="client socket is closed")),
        (FakeLibvirtError(38, "cannot recv data", 7), Side("kvm1", problem="cannot recv data")),
        (FakeLibvirtError(1, "internal error"), Side("kvm1", persistent=True)),
    ],
)
def test_a_definition_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, error: FakeLibvirtError, side: Side) -> None:
    def description(_domain: Domain, _flags: int) -> t.NoReturn:
        raise error

    monkeypatch.setattr(Domain, "XMLDesc", description)
    fleet = Fleet()
    fleet.add(now=None)
    assert both_hosts.look(fleet, "test://kvm1/", UUID, "kvm1") == side


def test_a_host_that_is_down() -> None:
    fleet = Fleet()
    fleet.down.add("kvm1")
    side = both_hosts.look(fleet, "test://kvm1/", UUID, "kvm1")
    assert side.problem is not None
    assert side.problem.endswith("unable to connect to server at 'kvm1'")


def test_what_is_bad_is_believed_when_it_has_not_changed_for_some_time() -> None:
    now = [0.0]

    def wait(_event: threading.Event, seconds: float) -> bool:
        now[0] += seconds
        return False

    def sides() -> tuple[Side, Side]:
        runs: dict[str, t.Any] = {"active": True, "state": "running"} if now[0] >= 3 else {}
        return Side("kvm1", **runs), Side("kvm2", **runs)

    clock = libvirt_migration.Clock(monotonic=lambda: now[0], wait=wait)
    residency, _here, _there = both_hosts.settle("web-1", sides, patience=60, clock=clock)
    assert (residency.outcome, now[0]) == (where_it_runs.SPLIT, 3 + both_hosts._STEADY_SECONDS)
