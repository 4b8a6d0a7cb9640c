# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A move whose end nobody saw, on the host where the domain now is."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _connection, _metadata
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._finish_move import finish_move
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import UUID, Domain, Fleet

NOTE = (
    '<state><balance:move xmlns:balance="urn:virtops:balance:1" source="kvm2" destination="kvm1" '
    'started_at="2026-01-01T00:00:00Z" cap="50"/></state>'
)


@pytest.fixture(autouse=True)
def _no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "_ensure_events", lambda _api: None)


def finish(fleet: Fleet, *, domain: str = "web-1", host: str = "kvm1", check_mode: bool = False) -> dict[str, t.Any]:
    return finish_move(fleet, uri="test://kvm1/", domain=domain, host=host, check_mode=check_mode)


def state_of(domain: Domain) -> _metadata.DomainState:
    return _metadata.parse_text(domain.text)


@pytest.mark.parametrize(("host", "moved"), [("kvm1", True), ("kvm2", False)])
@pytest.mark.parametrize("key", ["web-1", UUID])
def test_cap_and_note_are_put_right(host: str, moved: bool, key: str) -> None:
    fleet = Fleet()
    domain = fleet.add(text=NOTE)

    found = finish(fleet, domain=key, host=host)

    assert found["changed"]
    assert found["finished_move"]["cap"] == 50
    assert domain.scheduler["global_quota"] == 50_000
    assert state_of(domain).unfinished_move is None
    assert (state_of(domain).last_moved_at is not None) == moved
    assert finish(fleet) == {"changed": False, "finished_move": None}


def test_check_mode_changes_nothing() -> None:
    fleet = Fleet()
    domain = fleet.add(text=NOTE)

    assert finish(fleet, check_mode=True)["changed"]
    assert domain.text == NOTE
    assert domain.scheduler["global_quota"] == -1


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"now": (3, 2)}, "A migration of web-1 is under way, or was left in the middle."),
        ({"now": None}, "web-1 is not running here."),
        ({"job": {"type": 2, "operation": 5}}, "Libvirt runs a job on web-1 (migration_out)."),
    ],
)
def test_a_domain_that_is_held_is_left_alone(how: dict[str, t.Any], reason: str) -> None:
    fleet = Fleet()
    domain = fleet.add(text=NOTE, **how)

    found = finish(fleet)

    assert (found["changed"], found["reason"]) == (False, reason)
    assert domain.text == NOTE


@pytest.mark.parametrize("key", ["web-2", UUID.replace("6", "7")])
def test_a_domain_that_is_not_there(key: str) -> None:
    with pytest.raises(BalanceError, match=r"There is no domain '.*' on this host\."):
        finish(Fleet(), domain=key)
