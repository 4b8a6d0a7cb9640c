# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host remembers of the moves away from it."""

from __future__ import annotations

import json
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._host import marks
from ansible_collections.virtops.balance.plugins.module_utils._move import libvirt_migration, restart
from ansible_collections.virtops.balance.plugins.module_utils._move import move as domain_move
from ansible_collections.virtops.balance.plugins.module_utils._move.run import Request
from ansible_collections.virtops.balance.plugins.module_utils._observe import procfs
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils import fake_fleet
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import DISK, UUID, Domain, Fleet
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError

NOW = "2026-01-31T12:00:00Z"
BRIDGE = "<interface type='bridge'><source bridge='br9'/></interface>"
OTHER = {"domain": "u-2", "destination": "kvm2", "reason": "no bridge", "at": "2026-01-31T09:00:00Z", "times": 1}
BEFORE = {"domain": UUID, "destination": "kvm2", "reason": "it was full", "at": "2026-01-31T11:00:00Z", "times": 2}


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(_connection, "_ensure_events", lambda _api: None)
    monkeypatch.setattr(_connection.Connection, "local", True)
    monkeypatch.setattr(procfs, "read_mounts", list)
    monkeypatch.setattr(procfs, "read_cgroup_version", lambda: None)
    monkeypatch.setattr(marks, "PATH", str(tmp_path / "marks.json"))
    return tmp_path / "marks.json"


class Clock:
    """Seconds pass only where somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.now += seconds
        return event.wait(0.05)

    def clock(self) -> libvirt_migration.Clock:
        return libvirt_migration.Clock(monotonic=lambda: self.now, wait=self.wait)


def move(fleet: Fleet, *, check_mode: bool = False, **options: t.Any) -> dict[str, t.Any]:
    """Returns the result of the module, also where it fails."""
    asked = {"uri": "test://kvm1/", "domain": UUID, "destination_uri": "test://kvm2/", "destination": "kvm2"}
    request = Request(**{**asked, "remember": True, **options})
    with_clock: dict[str, t.Any] = {"now": lambda: NOW, "clock": Clock().clock()}
    try:
        return domain_move.move(fleet, request, check_mode=check_mode, report=lambda _progress: None, **with_clock)
    except BalanceError as error:
        return error.to_result()


def restarted(fleet: Fleet, **options: t.Any) -> dict[str, t.Any]:
    asked: dict[str, t.Any] = {"uri": "test://kvm1/", "domain": UUID, "destination_uri": "test://kvm2/"}
    names = {"source": "kvm1", "destination": "kvm2", "shared_paths": ["/srv/images"]}
    others = {"timeout_seconds": 180, "force": False, "memory_reserve_mib": 256, "finish": None, "remember": True}
    request = restart.Request(**{**asked, **names, **others, **options})
    try:
        return restart.restart(fleet, request, check_mode=False, now=lambda: NOW, clock=Clock().clock())
    except BalanceError as error:
        return error.to_result()


def told() -> list[tuple[str, str, str, int]]:
    return [(one["domain"], one["destination"], one["reason"], one["times"]) for one in marks.read()["refusals"]]


def test_what_the_checks_refuse_is_remembered_beside_what_is_there(path: Path) -> None:
    marks.write({"refusals": [OTHER, BEFORE], "uneven_rounds": 2})
    fleet = Fleet()
    fleet.add(devices=BRIDGE)

    assert "warnings" not in move(fleet)

    found = json.loads(path.read_text())
    newest = found["refusals"][0]
    assert newest == {**BEFORE, "reason": newest["reason"], "at": NOW, "times": 3}
    assert newest["reason"].startswith("kvm2 has no bridge br9")
    assert found["uneven_rounds"] == 2
    assert found["refusals"][1:] == [OTHER]


@pytest.mark.parametrize(
    ("behaviour", "reasons"),
    [
        (fake_fleet.fail, ["Cannot migrate: operation failed"]),
        (fake_fleet.fail_after_pause, ["Cannot migrate: operation failed"]),
        # Nobody knows where it runs, so nothing is moved before that is clear.
        (fake_fleet.lose_the_destination, []),
        (fake_fleet.split, []),
        (fake_fleet.crash, []),
    ],
)
def test_what_fails_on_the_way_is_remembered_where_it_is_certain_that_it_stayed(
    behaviour: t.Callable[[Domain, fake_fleet.Host], None], reasons: list[str]
) -> None:
    fleet = Fleet()
    fleet.add()
    fleet.behaviour = behaviour

    assert "was not moved" in move(fleet)["msg"]

    found = told()
    assert len(found) == len(reasons)
    for (domain, destination, reason, times), begins in zip(found, reasons, strict=True):
        assert (domain, destination, times) == (UUID, "kvm2", 1)
        assert reason.startswith(begins)
        assert "running on" not in reason


def test_a_destination_that_cannot_be_reached_is_remembered() -> None:
    fleet = Fleet()
    fleet.add()
    fleet.down.add("kvm2")
    move(fleet)
    ((domain, destination, reason, _times),) = told()
    assert (domain, destination) == (UUID, "kvm2")
    assert reason.startswith("kvm2 cannot be reached from kvm1: Cannot connect")


def test_a_check_that_breaks_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_domain: Domain) -> t.NoReturn:
        raise FakeLibvirtError(1, "client socket is closed", 7)

    monkeypatch.setattr(Domain, "isPersistent", lost)
    fleet = Fleet()
    fleet.add()
    move(fleet)
    assert [reason for _domain, _destination, reason, _times in told()] == [
        "Cannot check the migration of web-1: client socket is closed"
    ]


def test_a_move_that_succeeds_ends_what_was_remembered_of_the_domain() -> None:
    marks.write({"refusals": [OTHER, BEFORE, {**BEFORE, "destination": "kvm3"}]})
    fleet = Fleet()
    fleet.add()
    assert move(fleet)["outcome"] == "on_destination"
    assert marks.read()["refusals"] == [OTHER]


def test_a_domain_that_arrived_with_a_problem_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    marks.write({"refusals": [BEFORE]})

    def refuses(domain: Domain, host: fake_fleet.Host) -> None:
        fake_fleet.arrive(domain, host)
        host.domains[0].now = (3, 5)  # paused by an error of its disk

    fleet = Fleet()
    fleet.add()
    fleet.behaviour = refuses
    result = move(fleet)
    assert "moved from kvm1 to kvm2, but" in result["msg"]
    assert marks.read()["refusals"] == []


@pytest.mark.parametrize(
    "options",
    [
        {"check_mode": True},
        {"remember": False},
        # Bad input is nobody's refusal.
        {"bandwidth_mib_s": 0},
    ],
)
def test_nothing_is_written(options: dict[str, t.Any], path: Path) -> None:
    fleet = Fleet()
    fleet.add(devices=BRIDGE)
    assert "msg" in move(fleet, **options)
    assert not path.exists()


def test_a_stale_plan_is_no_failure_and_a_move_without_a_refusal_writes_nothing(path: Path) -> None:
    fleet = Fleet()
    fleet.add(memory=4096)
    assert move(fleet)["skipped"]
    fleet = Fleet()
    fleet.add()
    assert move(fleet)["changed"]
    assert not path.exists()


def test_a_host_of_another_machine_has_no_marks_here(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(_connection.Connection, "local", False)
    fleet = Fleet()
    fleet.add(devices=BRIDGE)
    move(fleet)
    assert not path.exists()


@pytest.mark.parametrize("content", ["", '{"schema": 2, "drained": {}}'])
@pytest.mark.parametrize("devices", ["", BRIDGE])
def test_marks_that_nobody_can_read_are_not_written_over(path: Path, content: str, devices: str) -> None:
    path.write_text(content)
    fleet = Fleet()
    fleet.add(devices=devices)

    result = move(fleet)

    assert ("msg" in result) == bool(devices)
    assert [text[:63] for text in result["warnings"]] == [
        "How this move ended is not remembered. It is not known whether "
    ]
    assert path.read_text() == content


def test_a_restart_that_fails_is_remembered_and_one_that_succeeds_ends_that() -> None:
    fleet = Fleet()
    fleet.add(devices=DISK.format(cache="none", path="/srv/images/web-1.qcow2", target="vda"))
    fleet.hosts["kvm2"].refuses["create"] = FakeLibvirtError(1, "internal error: cannot start it here")
    assert "was not started on kvm2" in restarted(fleet)["msg"]
    ((domain, destination, reason, times),) = told()
    assert (domain, destination, times) == (UUID, "kvm2", 1)
    assert reason.startswith("internal error: cannot start it here")

    del fleet.hosts["kvm2"].refuses["create"]
    assert restarted(fleet)["outcome"] == "on_destination"
    assert told() == []
