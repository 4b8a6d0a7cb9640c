# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A move whose end nobody saw, on the host where the domain now is."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import metadata as domain_metadata
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move.finish import finish_move
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import UUID, Domain, Fleet
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError

NOTE = (
    '<state><balance:move xmlns:balance="urn:virtops:balance:1" source="kvm2" destination="kvm1" '
    'started_at="2026-01-01T00:00:00Z" cap="50"/></state>'
)


@pytest.fixture(autouse=True)
def _no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "_ensure_events", lambda _api: None)


def finish(fleet: Fleet, *, domain: str = "web-1", host: str = "kvm1", check_mode: bool = False) -> dict[str, t.Any]:
    return finish_move(fleet, uri="test://kvm1/", domain=domain, host=host, check_mode=check_mode)


def state_of(domain: Domain) -> domain_metadata.DomainState:
    return domain_metadata.parse_text(domain.text)


# A note that was written under another name of the destination still tells that it moved.
@pytest.mark.parametrize(("host", "moved"), [("kvm1", True), ("kvm2", False), ("kvm1.example.org", True)])
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
        ({"now": (3, 2), "job": {"type": 2, "operation": 5}}, "A migration of web-1 is under way, or was left"),
        ({"now": None}, "web-1 is not running here."),
        ({"job": {"type": 2, "operation": 5}}, "Libvirt runs a job on web-1 (migration_out)."),
    ],
)
def test_a_domain_that_is_held_is_left_alone(how: dict[str, t.Any], reason: str) -> None:
    fleet = Fleet()
    domain = fleet.add(text=NOTE, **how)

    found = finish(fleet)

    assert not found["changed"]
    assert found["reason"].startswith(reason)
    assert domain.text == NOTE


@pytest.mark.parametrize(
    ("now", "job"),
    [((3, 2), {}), ((3, 11), {}), ((3, 12), {}), ((3, 13), {}), ((3, 13), {"type": 2, "operation": 5})],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_domain_that_stands_still_is_an_error(now: tuple[int, int], job: dict[str, t.Any], check_mode: bool) -> None:
    fleet = Fleet()
    domain = fleet.add(text=NOTE, now=now, job=job)

    with pytest.raises(
        BalanceError, match=r"web-1 does not run: it is paused here .* move from kvm2 to kvm1"
    ) as caught:
        finish(fleet, check_mode=check_mode)
    assert caught.value.details["finished_move"]["source"] == "kvm2"
    assert caught.value.details["stands_still"] is True
    assert (domain.text, domain.now) == (NOTE, now)


def test_a_host_that_is_lost_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_domain: Domain) -> t.NoReturn:
        raise FakeLibvirtError(1, "client socket is closed", 7)

    fleet = Fleet()
    fleet.add(text=NOTE)
    monkeypatch.setattr(Domain, "isActive", lost)
    with pytest.raises(BalanceError, match="Cannot finish the move of 'web-1': client socket is closed"):
        finish(fleet)


def test_a_domain_that_its_user_paused_is_none() -> None:
    fleet = Fleet()
    fleet.add(text=NOTE, now=(3, 1))

    assert finish(fleet)["changed"]


def test_a_name_that_is_not_there_is_an_error() -> None:
    with pytest.raises(BalanceError, match=r"There is no domain 'web-2' on this host\."):
        finish(Fleet(), domain="web-2")


def test_a_domain_that_is_gone_since_it_was_observed_is_none() -> None:
    assert finish(Fleet(), domain=UUID) == {
        "changed": False,
        "finished_move": None,
        "reason": f"There is no domain {UUID} on this host any more.",
    }


@pytest.mark.parametrize("cap", ["inf", "nan", "-5", "1e300"])
def test_a_note_that_somebody_garbled_sets_no_cap(cap: str) -> None:
    fleet = Fleet()
    domain = fleet.add(text=NOTE.replace("50", cap))

    assert finish(fleet)["finished_move"]["cap"] is None
    assert domain.scheduler["global_quota"] == -1
    assert state_of(domain).unfinished_move is None


def test_a_domain_gets_back_what_it_had_on_the_source() -> None:
    fleet = Fleet()
    domain = fleet.add(text=NOTE.replace("cap=", "persistent='true' autostart='true' cap="), persistent=False)

    assert finish(fleet)["finished_move"]["autostart"]
    assert (domain.persistent, domain.auto) == (True, True)


def test_autostart_stays_off_where_the_move_ended_on_the_source_itself() -> None:
    fleet = Fleet()
    domain = fleet.add(text=NOTE.replace("cap=", "persistent='true' autostart='true' cap="))

    finish(fleet, host="kvm2")
    assert not domain.auto, "there it was never lost; somebody switched it off"
