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
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import UUID, Domain, Fleet, Host
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


def test_a_connection_may_take_longer_than_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """As over ssh to a host under emulation, where it took 25 seconds."""
    monkeypatch.setattr(both_hosts, "_LOOK_SECONDS", 0.2)
    fleet = Fleet()
    fleet.add()
    at_once = fleet.open

    def slowly(uri: str) -> Host:
        threading.Event().wait(0.5)
        return at_once(uri)

    monkeypatch.setattr(fleet, "open", slowly)
    assert both_hosts.look(fleet, "test://kvm1/", UUID, "kvm1").running


def test_a_host_that_takes_the_connection_and_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(both_hosts, "_LOOK_SECONDS", 0.05)
    fleet = Fleet()
    domain, answer = fleet.add(), threading.Event()
    closed = []
    monkeypatch.setattr(domain, "isPersistent", answer.wait)
    monkeypatch.setattr(fleet.hosts["kvm1"], "close", lambda: closed.append("kvm1"), raising=False)

    side = both_hosts.look(fleet, "test://kvm1/", UUID, "kvm1")

    assert side.problem == "Cannot ask kvm1 about the domain: libvirt did not answer within 0.05 seconds"
    # Libvirt is still inside.
    assert closed == []
    answer.set()


RUNS, STARTS, OFF = ((True, "running", "booted"), (True, "paused", "starting_up"), (False, None, None))


@pytest.mark.parametrize(
    ("here", "there", "outcome", "seconds"),
    [
        ([RUNS], [OFF], where_it_runs.ON_SOURCE, 0),
        # What is bad has to last, and what is not clear may become so.
        ([OFF], [OFF], where_it_runs.GONE, 5),
        ([OFF, OFF, OFF, RUNS], [OFF, OFF, OFF, RUNS], where_it_runs.SPLIT, 3 + 5),
        ([OFF], [STARTS], where_it_runs.IN_FLIGHT, 60),
        ([OFF], [STARTS, STARTS, RUNS], where_it_runs.ON_DESTINATION, 2),
    ],
)
def test_how_long_both_are_watched(here: list[t.Any], there: list[t.Any], outcome: str, seconds: int) -> None:
    """``here`` and ``there``: what the hosts say in each second, and from then on."""
    now = [0]

    def wait(_event: threading.Event, seconds: float) -> bool:
        now[0] += int(seconds)
        return False

    def side(host: str, said: list[t.Any]) -> Side:
        active, state, reason = said[min(now[0], len(said) - 1)]
        return Side(host, active=active, state=state, reason=reason)

    residency, _here, _there = both_hosts.settle(
        "web-1",
        lambda: (side("kvm1", here), side("kvm2", there)),
        patience=60,
        clock=libvirt_migration.Clock(monotonic=lambda: now[0], wait=wait),
    )
    assert (residency.outcome, now[0]) == (outcome, seconds)
