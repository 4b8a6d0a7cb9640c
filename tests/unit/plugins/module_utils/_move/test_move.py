# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import metadata as domain_metadata
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move import both_hosts, libvirt_migration
from ansible_collections.virtops.balance.plugins.module_utils._move import move as domain_move
from ansible_collections.virtops.balance.plugins.module_utils._move.run import MoveError, Request
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts, procfs
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils import fake_fleet
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import UUID, Domain, Fleet
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError

NOW = "2026-01-31T12:00:00Z"
EARLIER = "2026-01-30T08:00:00Z"


@pytest.fixture(autouse=True)
def _no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "_ensure_events", lambda _api: None)


class Clock:
    """Seconds pass only where somebody waits. RV(later) is done when so many of them have passed."""

    def __init__(self, later: t.Callable[[], None] | None = None, seconds: float = 0) -> None:
        self.now = 0.0
        self.later = later
        self.seconds = seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.now += seconds
        if self.later is not None and self.now >= self.seconds:
            self.later()
            self.later = None
        # The migration's own thread needs a moment of real time to come to its end.
        return event.wait(0.05)

    @property
    def clock(self) -> libvirt_migration.Clock:
        return libvirt_migration.Clock(monotonic=lambda: self.now, wait=self.wait)


def move(
    fleet: Fleet,
    *,
    check_mode: bool = False,
    clock: Clock | None = None,
    report: t.Callable[[dict[str, t.Any]], None] = lambda _progress: None,
    **options: t.Any,
) -> dict[str, t.Any]:
    request = Request(**{"uri": "test://kvm1/", "domain": "web-1", "destination_uri": "test://kvm2/", **options})
    return domain_move.move(
        fleet,
        request,
        check_mode=check_mode,
        report=report,
        now=lambda: NOW,
        clock=(clock or Clock()).clock,
    )


def move_fails(fleet: Fleet, **options: t.Any) -> dict[str, t.Any]:
    with pytest.raises(MoveError) as caught:
        move(fleet, **options)
    return caught.value.to_result()


def places(fleet: Fleet) -> list[str]:
    return [name for name, host in fleet.hosts.items() for domain in host.domains if domain.isActive()]


def state_of(domain: Domain) -> domain_metadata.DomainState:
    return domain_metadata.parse_text(domain.text)


def note(cap: str = "50") -> str:
    return f"<state><tag>web</tag><move source='kvm1' destination='kvm2' started_at='{EARLIER}' cap='{cap}'/></state>"


CAPPED = {"global_period": 100_000, "global_quota": 50_000}
FREE = {"global_period": 100_000, "global_quota": -1}


def test_a_domain_moves_with_everything_it_had() -> None:
    fleet = Fleet()
    fleet.add(text="<state><tag>web</tag></state>", auto=True, scheduler=dict(CAPPED))

    phases: list[str] = []

    result = move(fleet, domain=UUID, report=lambda progress: phases.append(progress["phase"]))

    assert result["changed"]
    assert phases == ["checking", "preparing", "verifying", "finishing"]
    assert result["outcome"] == "on_destination"
    assert places(fleet) == ["kvm2"]
    (arrived,) = fleet.hosts["kvm2"].domains
    assert state_of(arrived) == domain_metadata.DomainState(tags=("web",), last_moved_at=NOW)
    assert arrived.scheduler == CAPPED
    assert arrived.auto
    assert (result["bytes"], result["downtime_ms"], result["iterations"]) == (4096, 50, 4)
    assert result["source"]["active"] is False
    assert result["destination"]["state"] == "running"


def test_the_note_is_written_and_the_cap_lifted_before_it_moves() -> None:
    fleet = Fleet()
    source = fleet.add(scheduler=dict(CAPPED))
    seen: list[t.Any] = []

    def look(domain: Domain, host: fake_fleet.Host) -> None:
        seen.append((state_of(domain).unfinished_move, domain.scheduler["global_quota"]))
        fake_fleet.arrive(domain, host)

    fleet.behaviour = look
    move(fleet)

    assert seen == [(domain_metadata.MoveNote("kvm1", "kvm2", NOW, 50, persistent=True, destination_had="none"), -1)]
    assert source.commands == ["setMetadata", "setSchedulerParametersFlags", "migrate"]


@pytest.mark.parametrize(
    ("names", "says_its_name", "source", "destination"),
    [
        ({"source": "alpha", "destination": "beta"}, True, "alpha", "beta"),
        ({}, True, "kvm1", "kvm2"),
        ({}, False, "test://kvm1/", "test://kvm2/"),
    ],
)
def test_the_inventorys_names_are_used(
    names: dict[str, t.Any], says_its_name: bool, source: str, destination: str
) -> None:
    fleet = Fleet()
    fleet.add()
    for host in fleet.hosts.values():
        host.name = host.name if says_its_name else ""
    told: list[dict[str, t.Any]] = []

    result = move(fleet, check_mode=True, report=told.append, **names)

    assert (result["source"]["host"], result["destination"]["host"]) == (source, destination)
    # Before it is connected nobody knows the destination's own name.
    known = names.get("destination", "test://kvm2/")
    assert told == [{"name": "web-1", "source": source, "destination": known, "phase": "checking"}]


@pytest.mark.parametrize("persistent", [True, False])
def test_it_stays_persistent_or_transient(persistent: bool) -> None:
    fleet = Fleet()
    fleet.add(persistent=persistent)

    move(fleet)

    ((_uri, _parameters, flags),) = fleet.migrations
    both = fleet.VIR_MIGRATE_PERSIST_DEST | fleet.VIR_MIGRATE_UNDEFINE_SOURCE
    assert flags & both == (both if persistent else 0)


def test_check_mode_looks_and_does_nothing() -> None:
    fleet = Fleet()
    fleet.add(text=note(), scheduler=dict(FREE))

    result = move(fleet, check_mode=True)

    assert result["changed"]
    assert result["outcome"] == "on_source"
    assert all(check["ok"] is not False for check in result["checks"])
    assert fleet.log == []


def test_already_there_is_fine() -> None:
    fleet = Fleet()
    fleet.add("kvm2")

    result = move(fleet)

    assert not result["changed"]
    assert "skipped" not in result
    assert result["reason"] == "web-1 is already on kvm2."
    assert fleet.log == []


def test_an_inactive_definition_on_the_source_does_not_hide_that() -> None:
    fleet = Fleet()
    fleet.add("kvm2")
    fleet.add("kvm1", now=None)

    assert move(fleet)["reason"] == "web-1 is already on kvm2."


def test_a_move_that_nobody_saw_the_end_of_is_finished_where_it_arrived() -> None:
    fleet = Fleet()
    arrived = fleet.add("kvm2", text=note(), scheduler=dict(FREE))

    would = move(fleet, check_mode=True)
    assert fleet.log == []
    result = move(fleet)

    assert result["changed"]
    assert result["reason"] == "web-1 is already on kvm2."
    assert result["finished_move"] == {
        "source": "kvm1", "destination": "kvm2", "started_at": EARLIER, "cap": 50, "autostart": False,
        "destination_had": None,
    }  # fmt: skip
    assert would == result
    assert arrived.scheduler == CAPPED
    assert not move(fleet)["changed"]
    assert state_of(arrived) == domain_metadata.DomainState(tags=("web",), last_moved_at=NOW)


def killed_after_the_migration(progress: dict[str, t.Any]) -> None:
    if progress["phase"] == "verifying":
        raise KeyboardInterrupt


def lose_the_definition(domain: Domain, host: fake_fleet.Host) -> None:
    """Libvirt's error 69: it moved, and its definition could not be written."""
    fake_fleet.arrive(domain, host)
    host.domains[0].persistent = False


@pytest.mark.parametrize("behaviour", [fake_fleet.arrive, lose_the_definition])
def test_a_run_that_was_killed_costs_neither_autostart_nor_the_definition(
    behaviour: t.Callable[[Domain, fake_fleet.Host], None],
) -> None:
    fleet = Fleet()
    fleet.add(auto=True, scheduler=dict(CAPPED))
    fleet.behaviour = behaviour
    with pytest.raises(KeyboardInterrupt):
        move(fleet, report=killed_after_the_migration)

    result = move(fleet)

    (arrived,) = fleet.hosts["kvm2"].domains
    assert (arrived.persistent, arrived.auto, arrived.scheduler) == (True, True, CAPPED)
    assert result["finished_move"]["autostart"]
    assert state_of(arrived) == domain_metadata.DomainState(last_moved_at=NOW)


@pytest.mark.parametrize(("persistent", "auto"), [(False, False), (True, False)])
def test_a_run_that_was_killed_adds_none_either(persistent: bool, auto: bool) -> None:
    fleet = Fleet()
    fleet.add(persistent=persistent, auto=auto)
    with pytest.raises(KeyboardInterrupt):
        move(fleet, report=killed_after_the_migration)

    move(fleet)

    (arrived,) = fleet.hosts["kvm2"].domains
    assert (arrived.persistent, arrived.auto) == (persistent, auto)


def test_a_move_that_nobody_saw_the_end_of_is_finished_where_it_stayed() -> None:
    fleet = Fleet()
    fleet.hosts["kvm2"].memory["free"] = 0
    stayed = fleet.add(text=note(), scheduler=dict(FREE))

    would = move(fleet, check_mode=True)
    assert fleet.log == []
    result = move(fleet)

    assert (result["skipped"], result["changed"]) == (True, True)
    assert would == result
    assert stayed.scheduler == CAPPED
    assert state_of(stayed) == domain_metadata.DomainState(tags=("web",))


def test_a_left_over_cap_is_kept_on_the_next_move() -> None:
    fleet = Fleet()
    fleet.add(text=note(), scheduler=dict(FREE))

    move(fleet)

    (arrived,) = fleet.hosts["kvm2"].domains
    assert arrived.scheduler == CAPPED


def test_a_cap_that_somebody_set_meanwhile_is_not_overwritten() -> None:
    fleet = Fleet()
    arrived = fleet.add("kvm2", text=note(), scheduler={"global_period": 100_000, "global_quota": 30_000})

    move(fleet)

    assert arrived.scheduler["global_quota"] == 30_000
    assert state_of(arrived).unfinished_move is None


@pytest.mark.parametrize(
    ("here", "there", "reason"),
    [
        pytest.param(None, None, "Neither kvm1 nor kvm2 has a domain web-1.", id="gone"),
        pytest.param({"now": None}, None, "web-1 is active neither on kvm1 nor on kvm2", id="stopped"),
        pytest.param({"now": fake_fleet.IOERROR}, None, "web-1 is paused (ioerror) on kvm1.", id="stands still"),
        pytest.param(
            {"job": {"type": 2, "operation": 9}}, None, "web-1 is busy on kvm1: libvirt runs a job on it", id="busy"
        ),
        pytest.param(
            {"job": {"type": 2, "operation": 5}},
            {"now": fake_fleet.WAITING},
            "web-1 is being migrated between kvm1 and kvm2.",
            id="under way",
        ),
        pytest.param(
            {"job": {"type": 2, "operation": 5}}, None, "web-1 is being migrated between kvm1 and kvm2.", id="elsewhere"
        ),
    ],
)  # fmt: skip
def test_a_stale_plan_is_skipped(here: dict[str, t.Any] | None, there: dict[str, t.Any] | None, reason: str) -> None:
    fleet = Fleet()
    if here is not None:
        fleet.add("kvm1", **here)
    if there is not None:
        fleet.add("kvm2", **there)

    result = move(fleet)

    assert result["skipped"]
    assert not result["changed"]
    assert result["reason"].startswith(reason)
    assert fleet.log == []


def test_too_little_memory_is_a_stale_plan() -> None:
    fleet = Fleet()
    fleet.add(memory=4096)

    result = move(fleet)

    assert result["skipped"]
    assert "kvm2 has 2048 MiB available; the domain may use 4096 MiB and 256 MiB must remain" in result["reason"]


def test_a_domain_that_its_user_paused_moves() -> None:
    fleet = Fleet()
    fleet.add(now=fake_fleet.PAUSED)

    assert move(fleet)["changed"]


@pytest.mark.parametrize(
    ("here", "there", "outcome"),
    [
        pytest.param(fake_fleet.RUNNING, fake_fleet.MIGRATED, "split", id="both run"),
        pytest.param(fake_fleet.WAITING, fake_fleet.MIGRATED, "finished_unconfirmed", id="confirmation lost"),
        pytest.param(fake_fleet.WAITING, None, "may_have_run", id="left paused by somebody"),
        pytest.param(fake_fleet.RUNNING, fake_fleet.WAITING, "unknown", id="a left-over copy"),
        pytest.param((3, 13), None, "postcopy_failed", id="post-copy broke"),
    ],
)
def test_doubt_stops_it(here: tuple[int, int], there: tuple[int, int] | None, outcome: str) -> None:
    fleet = Fleet()
    fleet.add("kvm1", now=here)
    if there is not None:
        fleet.add("kvm2", now=there)

    result = move_fails(fleet)

    assert result["outcome"] == outcome
    assert result["msg"].startswith("Nothing was done. ")
    assert fleet.log == []


@pytest.mark.parametrize(("names", "where"), [({"destination": "beta"}, "beta"), ({}, "test://kvm2/")])
def test_a_destination_that_cannot_be_reached(names: dict[str, t.Any], where: str) -> None:
    fleet = Fleet()
    fleet.add()
    fleet.down.add("kvm2")

    assert move_fails(fleet, **names)["msg"] == (
        f"web-1 was not moved from kvm1 to {where}, because {where} cannot be reached from kvm1: Cannot connect to "
        "test://kvm2/: unable to connect to server at 'kvm2'."
    )
    assert fleet.log == []


def test_a_host_that_is_lost_while_it_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_domain: Domain) -> t.NoReturn:
        raise FakeLibvirtError(1, "client socket is closed", 7)

    fleet = Fleet()
    fleet.add()
    monkeypatch.setattr(Domain, "isPersistent", lost)
    with pytest.raises(BalanceError, match="Cannot check the migration of web-1: client socket is closed"):
        move(fleet)
    assert fleet.log == []


def test_a_source_that_cannot_be_reached() -> None:
    fleet = Fleet()
    fleet.down.add("kvm1")

    with pytest.raises(BalanceError, match="Cannot connect to test://kvm1/"):
        move(fleet)


def test_the_host_itself_is_no_destination() -> None:
    fleet = Fleet()
    fleet.add()

    assert "is kvm1 itself" in move_fails(fleet, destination_uri="test://kvm1/")["msg"]


def test_an_earlier_move_that_cannot_be_finished_is_told() -> None:
    fleet = Fleet()
    fleet.add("kvm2", text=note(), refuses={"setMetadata": FakeLibvirtError(55, "domain is busy")})

    with pytest.raises(BalanceError, match="Cannot finish an earlier move of web-1: domain is busy"):
        move(fleet)


def test_two_hosts_that_tell_no_uuid_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_fleet.Host, "getCapabilities", lambda _host: "<capabilities><host/></capabilities>")
    fleet = Fleet()
    fleet.add()

    assert move(fleet, check_mode=True)["changed"]


def test_two_hosts_with_one_uuid() -> None:
    fleet = Fleet()
    fleet.add()
    fleet.hosts["kvm2"].host_uuid = fleet.hosts["kvm1"].host_uuid

    assert move_fails(fleet)["msg"].startswith("kvm1 and kvm2 have the same host UUID uuid-of-kvm1, so libvirt")


@pytest.mark.parametrize(
    ("kind", "snapshots", "moves"),
    [("QEMU", 0, True), ("QEMU", 1, False), ("QEMU", None, False), ("Xen", None, True)],
)
def test_snapshots_are_no_surprise(kind: str, snapshots: int | None, moves: bool) -> None:
    fleet = Fleet()
    for host in fleet.hosts.values():
        host.kind = kind
    fleet.add(snapshots=snapshots, scheduler={"cap": 50, "weight": 512} if kind == "Xen" else dict(CAPPED))

    if moves:
        assert move(fleet)["changed"]
    else:
        assert "snapshots" in move_fails(fleet)["msg"]


def test_on_xen_cap_and_weight_are_set_again() -> None:
    fleet = Fleet()
    for host in fleet.hosts.values():
        host.kind = "Xen"
    fleet.add(scheduler={"cap": 50, "weight": 512})

    def arrive(domain: Domain, host: fake_fleet.Host) -> None:
        fake_fleet.arrive(domain, host)
        host.domains[0].scheduler = {"cap": 0, "weight": 256}

    fleet.behaviour = arrive
    move(fleet)

    assert fleet.hosts["kvm2"].domains[0].scheduler == {"cap": 50, "weight": 512}
    ((_uri, _parameters, flags),) = fleet.migrations
    assert not flags & (fleet.VIR_MIGRATE_AUTO_CONVERGE | fleet.VIR_MIGRATE_ABORT_ON_ERROR)


def test_everything_that_speaks_against_it_is_said_at_once() -> None:
    fleet = Fleet()
    fleet.add(devices="<interface type='bridge'><source bridge='br9'/></interface>", memory=4096)

    result = move_fails(fleet)

    assert "kvm2 has no bridge br9" in result["msg"]
    assert "kvm2 has 2048 MiB available" in result["msg"]
    assert fleet.log == []


@pytest.mark.parametrize(
    ("behaviour", "outcome", "sentence"),
    [
        pytest.param(fake_fleet.fail, "on_source", "web-1 is running on kvm1.", id="rolled back"),
        pytest.param(fake_fleet.fail_after_pause, "on_source", "web-1 is running on kvm1.", id="rolled back late"),
        pytest.param(
            fake_fleet.lose_the_destination_early,
            "on_source",
            "web-1 is running on kvm1; kvm2 does not answer.",
            id="destination died",
        ),
        pytest.param(fake_fleet.lose_the_destination, "unknown", "It cannot be known where web-1 runs", id="died late"),
        pytest.param(fake_fleet.lose_confirm, "finished_unconfirmed", "Never resume that copy", id="confirm lost"),
        pytest.param(fake_fleet.split, "split", "at the same time", id="both run"),
        pytest.param(fake_fleet.crash, "gone", "was stopped or crashed", id="the guest died"),
    ],
)
def test_how_it_ended_is_judged_from_both_hosts(
    behaviour: t.Callable[[Domain, fake_fleet.Host], None], outcome: str, sentence: str
) -> None:
    fleet = Fleet()
    source = fleet.add(scheduler=dict(CAPPED), text=f"<state last_moved_at='{EARLIER}'/>")
    fleet.behaviour = behaviour

    result = move_fails(fleet)

    assert result["outcome"] == outcome
    assert not result["changed"]
    assert result["msg"].startswith("web-1 was not moved from kvm1 to kvm2: Cannot migrate: operation failed")
    assert sentence in result["msg"]
    assert result["libvirt_error"]["code"] == 9
    if outcome == "on_source":
        assert source.scheduler == CAPPED
        assert state_of(source) == domain_metadata.DomainState(last_moved_at=EARLIER)
    else:
        # Somebody has to look, and the note tells what there is to put right.
        assert source.commands == ["setMetadata", "setSchedulerParametersFlags", "migrate"]
        assert state_of(source).unfinished_move is not None


def leave_a_copy(domain: Domain, host: fake_fleet.Host) -> None:
    """Both sides are there, and it is not clear which of them goes on."""
    fake_fleet.copy_to(domain, host, now=fake_fleet.WAITING)
    fake_fleet.fail_after_pause(domain, host)


def test_what_is_not_clear_is_given_time() -> None:
    fleet = Fleet()
    source = fleet.add(scheduler=dict(CAPPED))
    fleet.behaviour = leave_a_copy
    clock = Clock(later=fleet.hosts["kvm2"].domains.clear, seconds=40)

    result = move_fails(fleet, clock=clock)

    assert result["outcome"] == "on_source"
    assert source.scheduler == CAPPED


def test_but_not_for_ever() -> None:
    fleet = Fleet()
    fleet.add()
    fleet.behaviour = leave_a_copy
    clock = Clock()

    assert move_fails(fleet, clock=clock)["outcome"] == "unknown"
    assert 60 <= clock.now < 70


def test_a_situation_that_is_bad_is_believed_when_it_lasts() -> None:
    fleet = Fleet()
    fleet.add()
    fleet.behaviour = fake_fleet.split
    clock = Clock()

    assert move_fails(fleet, clock=clock)["outcome"] == "split"
    assert 5 <= clock.now < 15


def test_a_lost_answer_is_no_failure() -> None:
    fleet = Fleet()
    fleet.add(scheduler=dict(CAPPED))
    fleet.behaviour = fake_fleet.lose_the_answer

    result = move(fleet)

    assert result["changed"]
    assert fleet.hosts["kvm2"].domains[0].scheduler == CAPPED


def test_a_domain_left_paused_by_this_migration_is_resumed() -> None:
    fleet = Fleet()
    source = fleet.add(scheduler=dict(CAPPED))
    fleet.behaviour = fake_fleet.lose_finish

    result = move_fails(fleet)

    assert result["resumed"]
    assert result["outcome"] == "on_source"
    assert "It had been left paused and was resumed on kvm1." in result["msg"]
    assert source.now == (1, 5)
    assert source.scheduler == CAPPED
    assert state_of(source).unfinished_move is None


def test_a_definition_that_the_destination_had_before_is_no_sign_that_it_ran_there() -> None:
    fleet = Fleet()
    fleet.add()
    fleet.add("kvm2", now=None, memory=256)
    fleet.behaviour = fake_fleet.lose_finish

    assert move_fails(fleet)["resumed"]


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("defined_before", [True, False])
def test_a_domain_that_may_have_run_on_the_destination_is_never_resumed(persistent: bool, defined_before: bool) -> None:
    fleet = Fleet()
    source = fleet.add(persistent=persistent)
    if defined_before:
        fleet.add("kvm2", now=None, memory=256)
    fleet.behaviour = fake_fleet.run_there_and_end

    first = move_fails(fleet)
    again = move_fails(fleet)

    for result in (first, again):
        assert result["outcome"] == "may_have_run"
        assert "it may have run on kvm2 and ended there" in result["msg"]
        assert "may be resumed" not in result["msg"]
    assert "resume" not in source.commands
    assert source.now == fake_fleet.WAITING


def test_not_even_when_what_ran_there_has_lost_its_note() -> None:
    fleet = Fleet()
    fleet.add()
    fleet.behaviour = fake_fleet.run_there_and_end
    move_fails(fleet)
    fleet.hosts["kvm2"].domains[0].text = None

    assert move_fails(fleet)["outcome"] == "may_have_run"


def test_a_move_to_a_third_host_does_not_hide_where_it_may_have_run() -> None:
    fleet = Fleet()
    fleet.add()
    fleet.hosts["kvm3"] = fake_fleet.Host(fleet, "kvm3", "uuid-of-kvm3")
    fleet.behaviour = fake_fleet.lose_finish
    fleet.hosts["kvm1"].domains[0].refuses["resume"] = FakeLibvirtError(1, "no")
    move_fails(fleet)

    result = move_fails(fleet, destination_uri="test://kvm3/")

    assert result["outcome"] == "may_have_run"
    assert "the note on it is of a move from kvm1 to kvm2" in result["msg"]


@pytest.mark.parametrize("call", ["metadata", "XMLDesc"])
def test_what_cannot_be_read_is_no_proof(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet()
    source = fleet.add()
    copy = fleet.add("kvm2", now=None)
    read = getattr(Domain, call)

    def unreadable(domain: Domain, *arguments: t.Any) -> t.Any:
        if source.now == fake_fleet.WAITING and domain is {"metadata": source, "XMLDesc": copy}[call]:
            raise FakeLibvirtError(1, "cannot read")
        return read(domain, *arguments)

    monkeypatch.setattr(Domain, call, unreadable)
    fleet.behaviour = fake_fleet.lose_finish

    assert move_fails(fleet)["outcome"] == "may_have_run"
    assert "resume" not in source.commands


def test_xen_starts_before_it_defines_so_nothing_is_proved() -> None:
    fleet = Fleet()
    for host in fleet.hosts.values():
        host.kind = "Xen"
    source = fleet.add(scheduler={"cap": 50, "weight": 512})
    fleet.behaviour = fake_fleet.lose_finish

    assert move_fails(fleet)["outcome"] == "may_have_run"
    assert "resume" not in source.commands


def test_a_domain_that_cannot_be_resumed_is_reported() -> None:
    fleet = Fleet()
    source = fleet.add()
    source.refuses["resume"] = FakeLibvirtError(1, 'Failed to get "write" lock')
    fleet.behaviour = fake_fleet.lose_finish

    result = move_fails(fleet)

    assert result["outcome"] == "never_finished"
    assert 'it could not be resumed (Failed to get "write" lock)' in result["msg"]


def test_a_deadline_ends_it_and_nothing_is_lost() -> None:
    fleet = Fleet()
    source = fleet.add(scheduler=dict(CAPPED))
    fleet.behaviour = fake_fleet.run_until_aborted

    result = move_fails(fleet, timeout_seconds=3)

    assert result["aborted"]
    assert (
        "it did not finish within 3 seconds (timeout_seconds), 256.0 of 512.0 MiB being left at 1.0 MiB/s"
        in result["msg"]
    )
    assert result["msg"].endswith("web-1 is running on kvm1.")
    assert source.scheduler == CAPPED


def test_a_migration_that_is_stuck_is_left_alone() -> None:
    fleet = Fleet()
    source = fleet.add(scheduler=dict(CAPPED))
    source.refuses["abortJob"] = FakeLibvirtError(68)
    fleet.behaviour = fake_fleet.run_until_aborted

    result = move_fails(fleet, timeout_seconds=3)
    fleet.aborted.set()

    assert result["outcome"] == "in_flight"
    assert "it is stuck and was left alone" in result["msg"]
    assert "resume" not in source.commands
    assert source.scheduler == FREE


def test_what_cannot_be_put_right_on_the_source_is_told() -> None:
    fleet = Fleet()
    source = fleet.add(scheduler=dict(CAPPED))

    def fail_for_good(domain: Domain, host: fake_fleet.Host) -> None:
        domain.refuses["setSchedulerParametersFlags"] = FakeLibvirtError(1, "cannot set it")
        fake_fleet.fail(domain, host)

    fleet.behaviour = fail_for_good
    result = move_fails(fleet)

    assert result["outcome"] == "on_source"
    assert "its cap of 50 % and the note of the move could not be restored (cannot set it)" in result["msg"]
    assert state_of(source).unfinished_move is not None


def test_a_destination_that_is_lost_before_all_is_put_right_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet()
    fleet.add(scheduler=dict(CAPPED))
    job_stats = Domain.jobStats

    def lost(_domain: Domain) -> bool:
        raise FakeLibvirtError(38, "the connection broke")

    def stats_and_the_end(domain: Domain, flags: int = 0) -> dict[str, t.Any]:
        if flags and domain.host == "kvm2":
            monkeypatch.setattr(Domain, "isPersistent", lost)
        return job_stats(domain, flags)

    monkeypatch.setattr(Domain, "jobStats", stats_and_the_end)
    result = move_fails(fleet)

    assert result["msg"] == "web-1 moved from kvm1 to kvm2, but: the connection broke."


def test_a_domain_that_was_left_paused_is_not_resumed_while_the_call_may_still_start_it_there() -> None:
    fleet = Fleet()
    source = fleet.add(scheduler=dict(CAPPED))
    source.refuses["abortJob"] = FakeLibvirtError(55, "no job is active on the domain")
    comes_back = threading.Event()

    def pause_and_stay(domain: Domain, host: fake_fleet.Host) -> None:
        domain.now = fake_fleet.WAITING
        comes_back.wait(300)
        fake_fleet.fail(domain, host)

    fleet.behaviour = pause_and_stay
    result = move_fails(fleet, timeout_seconds=3)
    comes_back.set()

    assert result["outcome"] == "never_finished"
    assert "it is stuck and was left alone" in result["msg"]
    assert "resume" not in source.commands
    assert source.now == fake_fleet.WAITING
    assert state_of(source).unfinished_move is not None


def test_a_call_that_never_came_back_leaves_the_note() -> None:
    """Libvirt has not begun yet, and may still: what it finds then has to be put right on the destination."""
    fleet = Fleet()
    source = fleet.add(scheduler=dict(CAPPED), auto=True)
    source.refuses["abortJob"] = FakeLibvirtError(55, "no job is active on the domain")
    begins, arrived = threading.Event(), threading.Event()

    def connect_for_ever(domain: Domain, host: fake_fleet.Host) -> None:
        begins.wait(300)
        fake_fleet.arrive(domain, host)
        arrived.set()

    fleet.behaviour = connect_for_ever
    result = move_fails(fleet, timeout_seconds=3)

    assert result["outcome"] == "on_source"
    assert "it is stuck and was left alone" in result["msg"]
    assert source.scheduler == CAPPED
    begins.set()
    assert arrived.wait(60)
    move(fleet)
    assert fleet.hosts["kvm2"].domains[0].auto


# As QEMU 11.1 of forky ends while it loads what QEMU 10.0 of trixie sends.
REFUSED_WHILE_LOADING = """internal error: QEMU unexpectedly closed the monitor (vm='web-1'): \
2026-01-31T12:00:00.1Z qemu-system-x86_64: Failed to load element of type virtio for virtio: -1
2026-01-31T12:00:00.2Z qemu-system-x86_64: load of migration failed: Operation not permitted
"""


@pytest.mark.parametrize(
    ("versions", "way"),
    [
        (
            (11_001_000, 12_008_000),
            "from kvm1 (QEMU 10.0.2, libvirt 11.3.0) to kvm2 (QEMU 11.1.0, libvirt 12.8.0)",
        ),
        ((10_000_002, 11_003_000), "from kvm1 to kvm2"),
        (None, "from kvm1 to kvm2"),
    ],
)
def test_what_only_qemu_refuses_is_told_in_one_sentence_with_both_versions(
    versions: tuple[int, int] | None, way: str
) -> None:
    fleet = Fleet()
    fleet.add()
    fleet.hosts["kvm1"].versions = (10_000_002, 11_003_000)
    if versions is None:
        fleet.hosts["kvm2"].refuses["getVersion"] = FakeLibvirtError(88)
    else:
        fleet.hosts["kvm2"].versions = versions

    def refuse(_domain: Domain, _host: fake_fleet.Host) -> None:
        raise FakeLibvirtError(1, REFUSED_WHILE_LOADING)

    fleet.behaviour = refuse
    result = move_fails(fleet)

    assert result["outcome"] == "on_source"
    assert result["msg"] == (
        f"web-1 was not moved {way}: Cannot migrate: internal error: QEMU unexpectedly closed the monitor "
        "(vm='web-1'): 2026-01-31T12:00:00.1Z qemu-system-x86_64: Failed to load element of type virtio for virtio: -1;"
        " 2026-01-31T12:00:00.2Z qemu-system-x86_64: load of migration failed: Operation not permitted. "
        "web-1 is running on kvm1."
    )


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_source_whose_daemon_hangs(comes_back: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers nothing, until libvirt gives the connections up and for some time after that."""
    monkeypatch.setattr(libvirt_migration, "_STATS_SECONDS", 0.01)
    # Real seconds, in which a host that does not hang has to answer on a busy machine as well.
    monkeypatch.setattr(both_hosts, "_LOOK_SECONDS", 0.3)
    monkeypatch.setattr(domain_move, "_PATIENCE_SECONDS", 4)
    fleet = Fleet()
    source = fleet.add(scheduler=dict(CAPPED))
    hangs, asked, answer = threading.Event(), threading.Event(), threading.Event()

    def job_stats(_flags: int = 0) -> dict[str, t.Any]:
        if hangs.is_set():
            asked.set()
            answer.wait()
        return {"type": 0}

    def lose_the_connection(_domain: Domain, _host: fake_fleet.Host) -> None:
        hangs.set()
        assert asked.wait(10)
        raise FakeLibvirtError(1, "internal error: connection closed due to keepalive timeout", 7)

    monkeypatch.setattr(source, "jobStats", job_stats)
    fleet.behaviour = lose_the_connection

    result = move_fails(fleet, clock=Clock(answer.set, seconds=2 if comes_back else 1000))

    told = "web-1 was not moved from kvm1 to kvm2: Cannot migrate: internal error: connection closed due to keepalive"
    assert result["msg"].startswith(told)
    if comes_back:
        assert result["msg"].endswith("web-1 is running on kvm1.")
    else:
        assert "It cannot be known where web-1 runs: kvm1 does not answer" in result["msg"]
        # The next run finds it by the note.
        assert state_of(source).unfinished_move is not None
        answer.set()
        fleet.behaviour = fake_fleet.arrive
        assert move(fleet)["finished_move"]["cap"] == 50
        (source,) = fleet.hosts["kvm2"].domains
    assert source.scheduler == CAPPED
    assert state_of(source).unfinished_move is None


def test_what_was_prepared_is_taken_back() -> None:
    fleet = Fleet()
    source = fleet.add(scheduler=dict(CAPPED))
    source.refuses["setSchedulerParametersFlags"] = FakeLibvirtError(68, "cannot acquire state change lock")

    result = move_fails(fleet)

    assert "could not be prepared: cannot acquire state change lock" in result["msg"]
    assert fleet.migrations == []


def test_a_cap_that_cannot_be_set_again_fails_although_it_moved() -> None:
    fleet = Fleet()
    source = fleet.add(scheduler=dict(CAPPED))

    def arrive(domain: Domain, host: fake_fleet.Host) -> None:
        domain.refuses = {"setSchedulerParametersFlags": FakeLibvirtError(55, "no CPU controller")}
        fake_fleet.arrive(domain, host)

    fleet.behaviour = arrive
    result = move_fails(fleet)

    assert result["changed"]
    assert result["msg"] == (
        "web-1 moved from kvm1 to kvm2, but: cannot set its cap and weight again (no CPU controller)."
    )
    # The next run finds the note and tries again.
    assert state_of(fleet.hosts["kvm2"].domains[0]).unfinished_move is not None
    assert source not in fleet.hosts["kvm2"].domains


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (fake_fleet.IOERROR, "paused (ioerror)"),
        ((3, 14), "paused (api_error)"),
        ((3, 99), "paused"),
        ((6, 1), "crashed"),
    ],
)
def test_a_domain_that_stands_still_where_it_arrived_is_no_success(now: tuple[int, int], told: str) -> None:
    fleet = Fleet()
    fleet.add(scheduler=dict(CAPPED))

    def arrive(domain: Domain, host: fake_fleet.Host) -> None:
        fake_fleet.copy_to(domain, host, now=now)
        fleet.hosts["kvm1"].domains.remove(domain)

    fleet.behaviour = arrive
    result = move_fails(fleet)

    assert (result["changed"], result["outcome"]) == (True, "on_destination")
    assert result["msg"] == (
        f"web-1 moved from kvm1 to kvm2, but: it is {told} there: find the reason "
        "(virsh domstate --reason) and resume it."
    )
    (arrived,) = fleet.hosts["kvm2"].domains
    assert arrived.scheduler == CAPPED
    assert "resume" not in arrived.commands


def test_a_domain_that_its_user_paused_stays_so() -> None:
    fleet = Fleet()
    fleet.add(now=fake_fleet.PAUSED)

    def arrive(domain: Domain, host: fake_fleet.Host) -> None:
        fake_fleet.copy_to(domain, host, now=fake_fleet.PAUSED)
        fleet.hosts["kvm1"].domains.remove(domain)

    fleet.behaviour = arrive
    assert move(fleet)["destination"]["reason"] == "user"


def test_a_definition_that_did_not_arrive_is_written_again() -> None:
    fleet = Fleet()
    fleet.add()

    def arrive(domain: Domain, host: fake_fleet.Host) -> None:
        fake_fleet.arrive(domain, host)
        host.domains[0].persistent = False

    fleet.behaviour = arrive
    move(fleet)

    assert fleet.hosts["kvm2"].domains[0].persistent


def test_a_definition_that_is_written_again_keeps_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "read_cgroup_version", lambda: 1)
    monkeypatch.setattr(_connection.Connection, "local", True)
    fleet = Fleet()
    fleet.add(cputune="<shares>2048</shares>")

    def arrive(domain: Domain, host: fake_fleet.Host) -> None:
        fake_fleet.arrive(domain, host)
        host.domains[0].persistent = False

    fleet.behaviour = arrive
    move(fleet, destination_cgroup_version=2)

    assert ["<shares>200</shares>" in text for text in fleet.hosts["kvm2"].definitions] == [True]


def test_a_definition_that_was_left_behind_is_reported() -> None:
    fleet = Fleet()
    source = fleet.add()

    def arrive(domain: Domain, host: fake_fleet.Host) -> None:
        fake_fleet.copy_to(domain, host)
        domain.now = None

    fleet.behaviour = arrive
    result = move_fails(fleet)

    assert "kvm1 still has a definition of it: undefine it there" in result["msg"]
    assert source in fleet.hosts["kvm1"].domains


@pytest.mark.parametrize(
    ("shares", "source", "destination", "sent"),
    [
        ("1024", 1, 2, "100"),
        ("200", 2, 1, "2048"),
        ("1024", 1, 1, None),
        ("1024", 1, None, None),
        ("1024", None, 2, None),
        ("", 1, 2, None),
    ],
)
def test_the_weight_keeps_its_meaning(
    shares: str, source: int | None, destination: int | None, sent: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procfs, "read_cgroup_version", lambda: source)
    monkeypatch.setattr(_connection.Connection, "local", True)
    fleet = Fleet()
    fleet.add(cputune=f"<shares>{shares}</shares>" if shares else "")

    move(fleet, destination_cgroup_version=destination)

    ((_uri, parameters, _flags),) = fleet.migrations
    if sent is None:
        assert parameters == {}
    else:
        assert set(parameters) == {"destination_xml", "persistent_xml"}
        assert all(f"<shares>{sent}</shares>" in text for text in parameters.values())


@pytest.mark.parametrize("shares", ["<shares/>", "<shares>auto</shares>"])
def test_a_weight_that_is_no_number_is_left_as_it_is(shares: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "read_cgroup_version", lambda: 1)
    monkeypatch.setattr(_connection.Connection, "local", True)
    fleet = Fleet()
    fleet.add(cputune=shares)

    move(fleet, destination_cgroup_version=2)

    assert [parameters for _uri, parameters, _flags in fleet.migrations] == [{}]


@pytest.mark.parametrize("quota", [fake_fleet.MAX_QUOTA, 50_000])
def test_no_quota_is_sent_that_the_other_cgroup_version_refuses(quota: int) -> None:
    fleet = Fleet()
    source = fleet.add(scheduler={**FREE, "global_quota": quota}, unified=True)
    source.cputune = "<quota>17592186044415</quota><shares>100</shares>"

    move(fleet)

    ((_uri, parameters, _flags),) = fleet.migrations
    assert set(parameters) == {"destination_xml", "persistent_xml"}
    assert all("<shares>100</shares>" in text and "quota" not in text for text in parameters.values())
    (arrived,) = fleet.hosts["kvm2"].domains
    assert arrived.scheduler["global_quota"] == quota


OURS = "<state><tag>web</tag><before><pin vcpu='0' cpus='all'/></before></state>"
PIN = "<vcpupin vcpu='0' cpuset='{}'/>"


def test_what_the_collection_pinned_is_not_sent() -> None:
    fleet = Fleet()
    source = fleet.add(cputune=PIN.format("9"), text=OURS)

    move(fleet)

    ((_uri, parameters, _flags),) = fleet.migrations
    assert set(parameters) == {"destination_xml", "persistent_xml"}
    for text in parameters.values():
        assert "vcpupin" not in text
        assert "<balance:pin" not in text
        assert "<balance:tag>web</balance:tag>" in text
    # Where it stays if it does not get there, it is as it was.
    assert source.cputune == PIN.format("9")
    assert "<pin" in source.texts[fake_fleet.LIVE]


def test_what_a_person_pinned_is_a_reason_to_stay() -> None:
    fleet = Fleet()
    fleet.add(cputune=PIN.format("9"))
    message = "it is pinned (vCPU 0) to CPUs which kvm2 does not have: 9"
    assert move_fails(fleet)["msg"] == f"web-1 cannot be moved from kvm1 to kvm2: {message}."
    assert fleet.migrations == []


def test_memory_that_is_promised_more_than_once_is_no_reason_to_stay() -> None:
    fleet = Fleet()
    fleet.add(memory=3000)
    assert move(fleet, check_mode=True)["skipped"]
    assert move(fleet, check_mode=True, memory_overcommit=2)["changed"]


@pytest.mark.parametrize(("now", "asked_for"), [(fake_fleet.RUNNING, True), (fake_fleet.PAUSED, False)])
def test_a_guest_that_stands_still_needs_no_post_copy(now: tuple[int, int], asked_for: bool) -> None:
    """Libvirt: post-copy migration is not supported with non-live or paused migration."""
    fleet = Fleet()
    fleet.add(now=now)

    move(fleet, post_copy=True)

    ((_uri, _parameters, flags),) = fleet.migrations
    assert bool(flags & Fleet.VIR_MIGRATE_POSTCOPY) is asked_for


def test_post_copy_over_several_connections_is_told_before() -> None:
    fleet = Fleet()
    fleet.add()
    assert (
        "cannot have post_copy and parallel_connections together"
        in move_fails(fleet, post_copy=True, parallel_connections=2)["msg"]
    )
    assert fleet.migrations == []


def test_what_is_sent_or_written_again_has_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet()
    fleet.add(cputune="<quota>17592186044415</quota>")
    description, define = Domain.XMLDesc, fake_fleet.Host.defineXML
    written: list[str] = []

    def arrive(domain: Domain, host: fake_fleet.Host) -> None:
        fake_fleet.arrive(domain, host)
        host.domains[0].persistent = False

    def with_its_flags(domain: Domain, flags: int) -> str:
        return description(domain, flags).replace("<devices>", f"<devices><flags>{flags}</flags>")

    def noted(host: fake_fleet.Host, text: str) -> Domain:
        written.append(text)
        return define(host, text)

    fleet.behaviour = arrive
    monkeypatch.setattr(Domain, "XMLDesc", with_its_flags)
    monkeypatch.setattr(fake_fleet.Host, "defineXML", noted)
    move(fleet)

    ((_uri, parameters, _flags),) = fleet.migrations
    live = f"<flags>{Fleet.VIR_DOMAIN_XML_MIGRATABLE | Fleet.VIR_DOMAIN_XML_SECURE}</flags>"
    definition = f"<flags>{Fleet.VIR_DOMAIN_XML_INACTIVE | Fleet.VIR_DOMAIN_XML_SECURE}</flags>"
    assert live in parameters["destination_xml"]
    assert definition in parameters["persistent_xml"]
    assert [definition in text for text in written] == [True]


def test_without_a_cap_nothing_is_tuned_on_the_way() -> None:
    fleet = Fleet()
    source = fleet.add(scheduler={**FREE, "global_quota": fake_fleet.MAX_QUOTA}, unified=True)

    move(fleet)

    assert source.commands == ["setMetadata", "migrate"]
    assert [parameters for _uri, parameters, _flags in fleet.migrations] == [{}]


@pytest.mark.parametrize(("uri", "mounted"), [("test:///system", True), ("test://kvm1/", False)])
def test_mounts_of_this_host_tell_only_of_its_own_domains(
    monkeypatch: pytest.MonkeyPatch, uri: str, mounted: bool
) -> None:
    nfs = procfs.Mount("/srv", "nfs4", "nas:/srv")
    monkeypatch.setattr(procfs, "read_mounts", lambda: [procfs.Mount("/", "ext4", "/dev/sda1"), nfs])
    fleet = Fleet()
    fleet.hosts[""] = fleet.hosts["kvm1"]
    fleet.add(devices=fake_fleet.DISK.format(cache="none", path="/srv/images/web-1.qcow2", target="vda"))
    if mounted:
        assert move(fleet, uri=uri, check_mode=True)["changed"]
    else:
        assert "it is not known whether other hosts see it" in move_fails(fleet, uri=uri)["msg"]


VOLUME = "<disk type='volume' device='disk'><source pool='p' volume='v'/><target dev='vda' bus='virtio'/></disk>"


@pytest.mark.parametrize(
    ("pools", "sentence"),
    [
        ([{"name": "p", "type": "dir", "path": "/pool", "shared": True}], None),
        ([{"name": "p", "type": "dir", "path": "/pool", "shared": False}], "p/v is not on shared storage"),
        (None, "it is not known whether other hosts see it"),
    ],
)
def test_a_volume_is_shared_where_its_pool_is(
    monkeypatch: pytest.MonkeyPatch, pools: list[dict[str, t.Any]] | None, sentence: str | None
) -> None:
    monkeypatch.setattr(host_facts, "read_pools", lambda _connection, _storage: pools)
    fleet = Fleet()
    fleet.add(devices=VOLUME)
    if sentence is None:
        assert move(fleet, check_mode=True)["changed"]
    else:
        assert sentence in move_fails(fleet)["msg"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"timeout_seconds": 0}, "timeout_seconds must be a number from 1 to 604,800, but it is 0."),
        ({"bandwidth_mib_s": -5}, "bandwidth_mib_s must be a number from 1 to 1,000,000, but it is -5."),
        ({"parallel_connections": 0}, "parallel_connections must be a number from 1 to 255, but it is 0."),
        ({"memory_reserve_mib": -1}, "memory_reserve_mib must be a number from 0 to 1,000,000,000, but it is -1."),
        ({"shared_paths": ["images"]}, "shared_paths must be absolute paths, but one is 'images'."),
        ({"copy_disks": ["vda"]}, "copy_disks needs copy_storage to be full or incremental."),
    ],
)
def test_bad_input_is_one_sentence(options: dict[str, t.Any], sentence: str) -> None:
    with pytest.raises(BalanceError) as caught:
        move(Fleet(), **options)
    assert caught.value.message == sentence


def test_names_with_control_characters_are_escaped() -> None:
    fleet = Fleet()
    fleet.add(name_="a\u202eb")

    assert move(fleet, domain=UUID, destination_uri="test://kvm2/")["sentence"] == "'a\\u202eb' is running on kvm2."
