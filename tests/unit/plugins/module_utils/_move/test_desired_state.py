# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What a host does about a domain: the ten rows of the table, and what goes wrong with each."""

from __future__ import annotations

import pathlib
import threading
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move import libvirt_migration
from ansible_collections.virtops.balance.plugins.module_utils._move.desired_state import (
    LeftError,
    Request,
    StillRunsError,
    decide,
    reach,
)
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import UUID, XML, Domain, Fleet
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError

DEFINITION = XML.format(name="web-1", uuid=UUID, memory=512, cputune="", devices="", boot="")
NEVER = float("inf")
# Assigned here, wanted, running here, action, commands that libvirt gets.
ROWS = [
    (True, "stop", True, "shut_down", ["shutdown"]),
    (True, "stop", False, "none", []),
    (True, "create", True, "mark_run", []),
    (True, "create", False, "create", ["create"]),
    (True, "run", True, "tune", ["setSchedulerParametersFlags", "setSchedulerParametersFlags"]),
    (True, "run", False, "wait", []),
    (False, "stop", True, "shut_down", ["shutdown"]),
    (False, "run", True, "migrate", []),
    (False, "create", True, "report_and_shut_down", ["shutdown"]),
    *[(False, state, False, "none", []) for state in ("stop", "create", "run")],
]
IDS = [f"{'here' if row[0] else 'elsewhere'}-{row[1]}-{'runs' if row[2] else 'does not run'}" for row in ROWS]


@pytest.fixture(autouse=True)
def _no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "_ensure_events", lambda _api: None)


class Clock:
    """Seconds pass only where somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def wait(self, _event: threading.Event, seconds: float) -> bool:
        self.now += seconds
        return False

    def clock(self) -> libvirt_migration.Clock:
        return libvirt_migration.Clock(monotonic=lambda: self.now, wait=self.wait)


def call(fleet: Fleet, *, check_mode: bool = False, clock: Clock | None = None, **asked: t.Any) -> dict[str, t.Any]:
    request = Request(**{"uri": "test://kvm1/", "domain": "web-1", "assigned": True, "cgroup_version": 1, **asked})
    return reach(fleet, request, check_mode=check_mode, clock=(clock or Clock()).clock())


def domain(**values: t.Any) -> Domain:
    return Fleet().add(**values)


def outcome(found: Domain, **asked: t.Any) -> dict[str, t.Any]:
    """The result, of a failure its details."""
    try:
        return call(found.fleet, **asked)
    except BalanceError as error:
        return {**error.to_result(), "failed": True}


@pytest.mark.parametrize(("assigned", "state", "running", "action", "commands"), ROWS, ids=IDS)
def test_the_rows_of_the_table(assigned: bool, state: str, running: bool, action: str, commands: list[str]) -> None:
    found = domain(now=(1, 1) if running else None)
    asked: dict[str, t.Any] = {"assigned": assigned, "state": state}
    if action == "tune":
        asked["cap"] = 50

    would = outcome(found, check_mode=True, **asked)
    assert would["action"] == action
    assert found.commands == []

    result = outcome(found, **asked)

    assert result["action"] == action
    assert found.commands == commands
    assert result["changed"] == would["changed"] == bool(commands)
    assert result["running"] == would["running"] == (found.now is not None)
    assert result["diff"] == would["diff"]
    assert result["state"] == ("run" if action in ("mark_run", "create") else state)
    assert result.get("failed", False) == (action == "report_and_shut_down")
    # A second time nothing is left to do, and whoever keeps the list asks for what he was told.
    again = outcome(found, **{**asked, "state": result["state"]})
    assert (again["changed"], again.get("failed", False)) == (False, False)


def test_every_case_has_a_row() -> None:
    assert {decide(assigned=a, state=s, running=r)[0] for a, s, r, *_more in ROWS} == {row[3] for row in ROWS}
    assert len(ROWS) == 12


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_domain_that_is_created_elsewhere_and_runs_here_is_reported(check_mode: bool) -> None:
    found = domain()

    with pytest.raises(BalanceError) as caught:
        call(found.fleet, assigned=False, state="create", check_mode=check_mode)

    done = "would be shut down" if check_mode else "was shut down"
    assert caught.value.message == f"web-1 must be created on another host, but it runs here. It {done} here."
    assert (found.now is None) == (not check_mode)


# Shutting down


@pytest.mark.parametrize("persistent", [True, False])
def test_a_guest_that_is_deaf_is_asked_again(persistent: bool) -> None:
    found, clock = domain(deaf=2, persistent=persistent), Clock()

    result = call(found.fleet, state="stop", clock=clock)

    assert (result["changed"], result["destroyed"]) == (True, False)
    assert found.commands == ["shutdown"] * 3
    assert 20 <= clock.now < 25


@pytest.mark.parametrize("persistent", [True, False])
def test_force_ends_what_does_not_end_by_itself(persistent: bool) -> None:
    found, clock = domain(deaf=NEVER, persistent=persistent), Clock()

    result = call(found.fleet, state="stop", timeout_seconds=30, force=True, clock=clock)

    assert result["destroyed"]
    assert found.now is None
    assert found.commands == ["shutdown"] * 3 + ["destroy"]
    assert clock.now == 30


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("shutdown", "web-1 was moved to another host while its guest was to shut down."),
        ("destroy", "web-1 was moved to another host before it was ended."),
    ],
)
def test_a_domain_that_is_no_more_although_it_was_defined_has_left(
    monkeypatch: pytest.MonkeyPatch, command: str, told: str
) -> None:
    found = domain(deaf=NEVER)

    def migrated(self: Domain) -> None:
        self.connect().domains.remove(self)
        raise FakeLibvirtError(42, "no domain")

    monkeypatch.setattr(Domain, command, migrated)
    with pytest.raises(LeftError, match=told):
        call(found.fleet, state="stop", force=True)


def test_a_domain_that_is_not_ended_by_force_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = domain(deaf=NEVER, refuses={"destroy": FakeLibvirtError(38, "Failed to terminate process")})
    with pytest.raises(BalanceError, match="into the state stop: Failed to terminate process"):
        call(refused.fleet, state="stop", force=True)

    monkeypatch.setattr(Domain, "destroy", lambda _domain: None)
    with pytest.raises(StillRunsError, match="web-1 still runs although libvirt has ended it"):
        call(domain(deaf=NEVER).fleet, state="stop", force=True)


def test_without_force_it_runs_on() -> None:
    found = domain(deaf=NEVER)

    with pytest.raises(BalanceError, match=r"still runs after 30 seconds \(timeout_seconds\)\. Set force to true"):
        call(found.fleet, state="stop", timeout_seconds=30)

    assert found.now is not None
    assert "destroy" not in found.commands


def test_a_paused_guest_is_not_asked() -> None:
    found, clock = domain(now=(3, 1)), Clock()

    with pytest.raises(BalanceError, match=r"web-1 is paused, so its guest cannot shut down by itself\. Set force"):
        call(found.fleet, state="stop", clock=clock)

    assert call(found.fleet, state="stop", force=True, clock=clock)["destroyed"]
    assert (found.commands, clock.now) == (["destroy"], 0)


def test_a_guest_that_ends_while_it_is_asked_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    found = domain()

    def too_late(self: Domain) -> None:
        self.now = None
        raise FakeLibvirtError(55, "domain is not running")

    monkeypatch.setattr(Domain, "shutdown", too_late)

    assert call(found.fleet, state="stop")["changed"]


def test_a_request_that_is_refused_is_told() -> None:
    found = domain(refuses={"shutdown": FakeLibvirtError(84, "no ACPI")})

    with pytest.raises(BalanceError, match="Cannot bring 'web-1' into the state stop: no ACPI"):
        call(found.fleet, state="stop")


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        ({"job": {"type": 2, "operation": 5}}, {"state": "stop"}),
        ({"job": {"type": 2, "operation": 5}}, {"state": "stop", "assigned": False}),
        ({"now": (3, 2)}, {"state": "stop"}),
        ({"now": (3, 11)}, {"state": "create"}),
    ],
)
def test_a_domain_that_is_held_is_left_alone(values: dict[str, t.Any], asked: dict[str, t.Any]) -> None:
    found = domain(**values)

    for check_mode in (True, False):
        with pytest.raises(BalanceError, match="Nothing is done to it meanwhile"):
            call(found.fleet, check_mode=check_mode, **asked)

    assert found.commands == []


@pytest.mark.parametrize(
    ("assigned", "state", "action"),
    [(True, "run", "wait"), (False, "run", "none"), (False, "stop", "none"), (False, "create", "none")],
)
def test_a_copy_that_is_still_being_filled_does_not_run_here(assigned: bool, state: str, action: str) -> None:
    found = domain(now=(3, 2))

    assert call(found.fleet, state=state, assigned=assigned, cap=50)["action"] == action
    assert found.commands == []


# Creating


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("as_file", [True, False])
def test_it_is_created_from_a_definition(persistent: bool, as_file: bool, tmp_path: pathlib.Path) -> None:
    fleet, path = Fleet(), tmp_path / "$(a) définition.xml"
    path.write_text(DEFINITION, encoding="utf-8")
    source: dict[str, t.Any] = {"xml_path": str(path)} if as_file else {"xml": DEFINITION}

    would = call(fleet, state="create", persistent=persistent, check_mode=True, weight=2, **source)
    assert (would["changed"], would["action"], would["tuned"]) == (True, "create", None)
    assert fleet.log == []

    result = call(fleet, state="create", persistent=persistent, weight=1, cap=25, **source)

    (found,) = fleet.hosts["kvm1"].domains
    assert (found.name(), found.now is not None, found.persistent) == ("web-1", True, persistent)
    assert result["tuned"]["live"]["cap"] == 25
    assert result["state"] == "run"


def test_what_cannot_be_started_is_not_left_defined() -> None:
    fleet = Fleet()
    fleet.hosts["kvm1"].refuses["create"] = FakeLibvirtError(38, "no such disk")

    with pytest.raises(BalanceError, match="Cannot bring 'web-1' into the state create: no such disk"):
        call(fleet, state="create", xml=DEFINITION)

    assert fleet.hosts["kvm1"].domains == []


def test_what_keeps_it_from_starting_is_told_even_where_its_definition_cannot_be_removed() -> None:
    fleet = Fleet()
    fleet.hosts["kvm1"].refuses["create"] = FakeLibvirtError(38, "no such disk")
    fleet.hosts["kvm1"].refuses["undefine"] = FakeLibvirtError(55, "cannot undefine domain with nvram")

    with pytest.raises(BalanceError, match="Cannot bring 'web-1' into the state create: no such disk"):
        call(fleet, state="create", xml=DEFINITION)


def test_a_definition_that_was_there_stays() -> None:
    found = domain(now=None, refuses={"create": FakeLibvirtError(38, "no such disk")})

    with pytest.raises(BalanceError, match="no such disk"):
        call(found.fleet, state="create", xml=DEFINITION)

    assert found.fleet.hosts["kvm1"].domains == [found]


@pytest.mark.parametrize("check_mode", [True, False])
def test_there_must_be_room(check_mode: bool) -> None:
    fleet = Fleet()
    asked: dict[str, t.Any] = {"state": "create", "xml": DEFINITION.replace("512", "4096"), "check_mode": check_mode}

    with pytest.raises(BalanceError, match=r"web-1 is not created, because this host has 2048 MiB available; .* 4096"):
        call(fleet, **asked)

    assert fleet.log == []
    with pytest.raises(BalanceError, match=r"1900 MiB must remain"):
        call(fleet, state="create", xml=DEFINITION, memory_reserve_mib=1900, check_mode=check_mode)


def test_a_host_that_tells_nothing_has_no_room() -> None:
    fleet = Fleet()
    for name in ("getMemoryStats", "getFreeMemory"):
        fleet.hosts["kvm1"].refuses[name] = FakeLibvirtError(3)

    with pytest.raises(BalanceError, match="does not say how much memory it has available"):
        call(fleet, state="create", xml=DEFINITION)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        pytest.param({}, "web-1 is not defined on this host. Give its definition", id="no definition"),
        pytest.param({"xml": ""}, "is not valid XML", id="empty"),
        pytest.param({"xml": "<domain"}, "is not valid XML", id="broken"),
        pytest.param({"xml": "<domain>\0</domain>"}, "is not valid XML", id="NUL"),
        pytest.param({"xml": "<network/>"}, "that of '<network>', not of 'web-1'", id="no domain"),
        pytest.param({"xml": "<domain/>"}, "that of '<domain>', not of 'web-1'", id="nameless"),
        pytest.param({"xml": DEFINITION.replace("web-1", "web-2")}, "that of 'web-2', not of 'web-1'", id="another"),
        pytest.param({"xml": "<domain><name>web-1</name></domain>"}, "maximum memory is not known", id="no memory"),
        pytest.param({"xml_path": "/nowhere/$(reboot)"}, r"path '/nowhere/\$\(reboot\)' cannot be read", id="no file"),
        pytest.param({"xml_path": "/"}, "cannot be read: Is a directory", id="directory"),
        pytest.param({"domain": "a\0b"}, "domain must be the UUID or the name", id="NUL in the name"),
        pytest.param({"domain": "; reboot", "xml": DEFINITION}, "not of '; reboot'", id="shell"),
        pytest.param({"cap": -1}, "cap must be 0", id="negative"),
        pytest.param({"weight": float("nan")}, "weight must be", id="not a number"),
        pytest.param({"cap": 1e12}, "cap must be 0", id="huge"),
        pytest.param({"timeout_seconds": 0}, "timeout_seconds must be from 1 to 1000000", id="no time"),
        pytest.param({"timeout_seconds": 10**12}, "timeout_seconds must be from 1", id="endless"),
        pytest.param({"memory_reserve_mib": -1}, "memory_reserve_mib must be from 0", id="less than nothing"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_no_action(asked: dict[str, t.Any], sentence: str) -> None:
    fleet = Fleet()

    for check_mode in (True, False):
        with pytest.raises(BalanceError, match=sentence):
            call(fleet, state="create", check_mode=check_mode, **asked)

    assert fleet.log == []
    assert fleet.hosts["kvm1"].domains == []
