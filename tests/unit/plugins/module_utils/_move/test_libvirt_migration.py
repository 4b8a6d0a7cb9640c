# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import threading
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._move import libvirt_migration
from ansible_collections.virtops.balance.plugins.module_utils._move.libvirt_migration import (
    Convergence,
    Transfer,
    Watch,
)
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import UUID, Domain, Fleet, Host
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError

MIB = 1024 * 1024
BASE = Fleet.VIR_MIGRATE_LIVE | Fleet.VIR_MIGRATE_PEER2PEER
MOVE = Fleet.VIR_MIGRATE_PERSIST_DEST | Fleet.VIR_MIGRATE_UNDEFINE_SOURCE
QEMU = BASE | Fleet.VIR_MIGRATE_ABORT_ON_ERROR


@pytest.mark.parametrize(
    ("transfer", "persistent", "flags"),
    [
        pytest.param(Transfer(), True, QEMU | MOVE | Fleet.VIR_MIGRATE_AUTO_CONVERGE, id="default"),
        pytest.param(Transfer(auto_converge=False), False, QEMU, id="transient"),
        pytest.param(
            Transfer(auto_converge=False, post_copy=True), False, QEMU | Fleet.VIR_MIGRATE_POSTCOPY, id="post-copy"
        ),
        pytest.param(Transfer(auto_converge=False, tls=True), False, QEMU | Fleet.VIR_MIGRATE_TLS, id="tls"),
        pytest.param(Transfer(auto_converge=False, parallel_connections=1), False, QEMU, id="one connection"),
        pytest.param(
            Transfer(auto_converge=False, parallel_connections=4),
            False,
            QEMU | Fleet.VIR_MIGRATE_PARALLEL,
            id="parallel",
        ),
        pytest.param(
            Transfer(auto_converge=False, copy_storage="full", copied=["vda"]),
            False,
            QEMU | Fleet.VIR_MIGRATE_NON_SHARED_DISK,
            id="copy",
        ),
        pytest.param(
            Transfer(auto_converge=False, copy_storage="incremental", copied=["vda"]),
            False,
            QEMU | Fleet.VIR_MIGRATE_NON_SHARED_INC,
            id="copy the topmost image",
        ),
        # Without a list of disks libvirt would copy all of them, the shared ones onto themselves.
        pytest.param(Transfer(auto_converge=False, copy_storage="full"), False, QEMU, id="nothing to copy"),
        pytest.param(Transfer(auto_converge=False, unsafe=True), False, QEMU | Fleet.VIR_MIGRATE_UNSAFE, id="unsafe"),
    ],
)
def test_flags(transfer: Transfer, persistent: bool, flags: int) -> None:
    assert libvirt_migration.flags(Fleet, transfer, persistent=persistent, xen=False) == flags


def test_xen_gets_no_flag_that_it_refuses() -> None:
    everything = Transfer(
        post_copy=True, tls=True, parallel_connections=4, unsafe=True, copy_storage="full", copied=["vda"]
    )

    assert libvirt_migration.flags(Fleet, everything, persistent=True, xen=True) == BASE | MOVE


@pytest.mark.parametrize(
    ("transfer", "parameters"),
    [
        (Transfer(), {}),
        (
            Transfer(migrate_uri="tcp://10.0.0.2", bandwidth_mib_s=100),
            {"migrate_uri": "tcp://10.0.0.2", "bandwidth": 100},
        ),
        (Transfer(bandwidth_mib_s=100, post_copy=True), {"bandwidth": 100, "bandwidth.postcopy": 100}),
        (Transfer(post_copy=True), {}),
        (Transfer(parallel_connections=4), {"parallel.connections": 4}),
        (Transfer(parallel_connections=1), {}),
        (Transfer(copy_storage="full", copied=["vda", "vdb"]), {"migrate_disks": ["vda", "vdb"]}),
        (Transfer(copied=["vda"]), {}),
    ],
)
def test_parameters(transfer: Transfer, parameters: dict[str, t.Any]) -> None:
    assert libvirt_migration.parameters(transfer) == parameters


def test_parameters_with_rewritten_definitions() -> None:
    assert libvirt_migration.parameters(Transfer(), destination_xml="<a/>", persistent_xml="<b/>") == {
        "destination_xml": "<a/>",
        "persistent_xml": "<b/>",
    }


@pytest.mark.parametrize(("gib", "seconds"), [(0, 120), (0.1, 120), (1, 800), (16, 12800)])
def test_default_timeout(gib: float, seconds: int) -> None:
    assert libvirt_migration.default_timeout(round(gib * 1024**3)) == seconds


def stats(iteration: int, dirty_pages: int, bps: int = 10 * MIB) -> dict[str, int]:
    return {
        "memory_iteration": iteration,
        "memory_dirty_rate": dirty_pages,
        "memory_page_size": 4096,
        "memory_bps": bps,
    }


FAST, SLOW = 10_000, 100  # pages a second: 39 MiB/s and 0.4 MiB/s


@pytest.mark.parametrize(
    ("seen", "converging"),
    [
        pytest.param([], None, id="nothing yet"),
        pytest.param([stats(1, 0)], None, id="the first iteration says nothing"),
        pytest.param([stats(1, 0), stats(2, SLOW)], True, id="a quiet guest"),
        pytest.param([stats(2, FAST)], True, id="one iteration is no trend"),
        pytest.param([stats(2, FAST)] * 5, True, id="the same iteration is counted once"),
        pytest.param([stats(2, FAST), stats(3, FAST)], False, id="two in a row"),
        pytest.param([stats(2, 2350), stats(3, 2350)], False, id="the same few pages again and again"),
        pytest.param([stats(2, 2200), stats(3, 2200)], True, id="a little less each time"),
        pytest.param([stats(2, FAST), stats(3, SLOW), stats(4, FAST)], True, id="not in a row"),
        pytest.param([stats(2, FAST), stats(3, FAST), stats(4, SLOW)], True, id="auto-converge did its work"),
        pytest.param([stats(2, FAST, bps=0)], None, id="nothing was sent yet"),
        pytest.param([{}], None, id="a hypervisor that tells nothing"),
    ],
)
def test_convergence(seen: list[dict[str, int]], converging: bool | None) -> None:
    convergence = Convergence()
    for one in seen:
        convergence.feed(one)
    assert convergence.converging is converging


def decisions(watch: Watch, *moments: tuple[float, bool | None]) -> list[str | None]:
    return [watch.decide(elapsed, converging) for elapsed, converging in moments]


def test_a_deadline_ends_it_once() -> None:
    watch = Watch(timeout_seconds=100)

    assert decisions(watch, (99.9, False), (100, None), (101, None), (159, None), (160, None)) == [
        None, "abort", None, None, "give_up",
    ]  # fmt: skip


def test_post_copy_where_it_does_not_converge() -> None:
    watch = Watch(timeout_seconds=100, post_copy=True)

    assert decisions(watch, (5, None), (6, True), (7, False), (8, False)) == [None, None, "post_copy", None]


def test_post_copy_after_half_of_the_time() -> None:
    watch = Watch(timeout_seconds=100, post_copy=True)

    assert decisions(watch, (49, True), (50, True), (51, None)) == [None, "post_copy", None]


def test_a_domain_in_post_copy_is_never_aborted() -> None:
    watch = Watch(timeout_seconds=100, post_copy=True)
    assert watch.decide(50, None, 900) == "post_copy"

    # As long as something is sent it goes on, also past the deadline.
    assert [watch.decide(second, None, 1000 - second) for second in range(51, 400)] == [None] * 349
    assert [watch.decide(second, None, 601) for second in (458, 459)] == [None, "give_up"]


def test_a_refused_post_copy_leaves_the_deadline() -> None:
    watch = Watch(timeout_seconds=100, post_copy=True)
    watch.decide(50, None)
    watch.post_copy_refused()

    assert decisions(watch, (51, False), (100, None)) == [None, "abort"]


def test_what_cannot_be_aborted_is_given_up() -> None:
    assert decisions(Watch(timeout_seconds=100, can_abort=False), (100, None)) == ["give_up"]


def test_progress() -> None:
    now = {"data_total": 100 * MIB, "data_remaining": 25 * MIB, "data_processed": 80 * MIB, **stats(2, SLOW)}

    assert libvirt_migration.progress(now, Convergence()) == {
        "percent": 75.0,
        "total_mib": 100.0,
        "sent_mib": 80.0,
        "remaining_mib": 25.0,
        "mib_per_second": 10.0,
        "remaining_seconds": 2.5,
        "iteration": 2,
        "converging": None,
    }


def test_progress_knows_what_it_does_not_know() -> None:
    assert set(libvirt_migration.progress({"type": 2}, Convergence()).values()) == {None}
    assert libvirt_migration.progress({"data_total": 0, "data_remaining": 0}, Convergence())["percent"] is None


class Steps:
    """A clock on which a second passes with every look; the call comes back after some of them."""

    def __init__(self, last: int) -> None:
        self.now = 0.0
        self.last = last
        self.release = threading.Event()

    def monotonic(self) -> float:
        return self.now

    def wait(self, done: threading.Event, seconds: float) -> bool:
        self.now += seconds
        if self.now > self.last:
            self.release.set()
            assert done.wait(10)
        return done.is_set()

    def hold(self) -> None:
        """The call."""
        assert self.release.wait(10)

    @property
    def clock(self) -> libvirt_migration.Clock:
        return libvirt_migration.Clock(monotonic=self.monotonic, wait=self.wait)


class Direct(libvirt_migration.Control):
    """Asks the domain itself, on no connection."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain

    def ask(self, call: t.Callable[[t.Any], t.Any], seconds: float, *, doing: str) -> t.Any:
        return call(self.domain)


def run(
    steps: Steps, domain: Domain, watch: Watch, error: Exception | None = None
) -> tuple[libvirt_migration.Outcome, list[t.Any]]:
    told: list[t.Any] = []

    def call() -> None:
        steps.hold()
        if error is not None:
            raise error

    outcome = libvirt_migration.run(Fleet, Direct(domain), call, watch=watch, report=told.append, clock=steps.clock)
    return outcome, told


def busy() -> Domain:
    domain = Fleet().add()
    domain.job = {"type": 2, "data_total": 100 * MIB, "data_remaining": 50 * MIB, **stats(3, FAST)}
    return domain


def test_a_run_reports_while_the_call_blocks() -> None:
    outcome, told = run(Steps(3), busy(), Watch(timeout_seconds=100))

    assert outcome.returned
    assert outcome.error is None
    assert outcome.seconds == 4
    assert [one["elapsed_seconds"] for one in told] == [1, 2, 3]
    assert {one["phase"] for one in told} == {"migrating"}
    assert told[0]["percent"] == 50


def test_a_run_keeps_the_error_as_a_sentence() -> None:
    outcome, _told = run(Steps(1), busy(), Watch(timeout_seconds=100), FakeLibvirtError(9, "it broke"))

    assert outcome.error is not None
    assert outcome.error.message == "Cannot migrate: it broke."
    assert outcome.returned


def test_a_mistake_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run(Steps(1), busy(), Watch(timeout_seconds=100), ZeroDivisionError())


def test_a_run_that_is_too_long_is_aborted() -> None:
    domain = busy()

    outcome, told = run(Steps(9), domain, Watch(timeout_seconds=5), FakeLibvirtError(78))

    assert domain.commands == ["abortJob"]
    assert outcome.aborted
    assert told[-1]["phase"] == "aborting"


def test_an_abort_is_tried_again_until_it_is_taken() -> None:
    domain = busy()
    domain.refuses["abortJob"] = FakeLibvirtError(55, "no job is active")

    outcome, _told = run(Steps(8), domain, Watch(timeout_seconds=5))

    assert domain.commands == ["abortJob"] * 4
    assert not outcome.aborted


def test_a_call_that_does_not_come_back_is_left_alone() -> None:
    steps = Steps(10_000)

    outcome, _told = run(steps, busy(), Watch(timeout_seconds=5))

    assert not outcome.returned
    assert outcome.seconds == 5 + libvirt_migration.ABORT_GRACE_SECONDS
    steps.release.set()


def test_a_run_switches_to_post_copy() -> None:
    domain = busy()

    outcome, told = run(Steps(6), domain, Watch(timeout_seconds=10, post_copy=True))

    assert domain.commands == ["migrateStartPostCopy"]
    assert outcome.post_copied
    assert told[-1]["phase"] == "post_copy"


def test_what_made_it_switch_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    domain = busy()
    steps = Steps(6)
    ahead = [stats(iteration, rate) for iteration, rate in ((2, FAST), (3, FAST), (4, 0), (5, 0), (6, 0), (7, 0))]
    monkeypatch.setattr(domain, "jobStats", lambda: {"type": 2, **ahead.pop(0)})

    outcome, _told = run(steps, domain, Watch(timeout_seconds=100, post_copy=True))

    assert outcome.post_copied
    assert outcome.convergence.converging is False


def test_a_refused_post_copy_is_asked_for_once() -> None:
    domain = busy()
    domain.refuses["migrateStartPostCopy"] = FakeLibvirtError(55)

    outcome, _told = run(Steps(8), domain, Watch(timeout_seconds=10, post_copy=True))

    assert domain.commands == ["migrateStartPostCopy"]
    assert not outcome.post_copied


@pytest.fixture
def controlled(monkeypatch: pytest.MonkeyPatch) -> tuple[Fleet, Domain, list[str]]:
    """A fleet with a domain in a migration, and what happens to connections to its host."""
    monkeypatch.setattr(_connection, "_ensure_events", lambda _api: None)
    monkeypatch.setattr(libvirt_migration, "_STATS_SECONDS", 0.01)
    monkeypatch.setattr(libvirt_migration, "_COMMAND_SECONDS", 0.01)
    fleet = Fleet()
    domain = fleet.add()
    domain.job = busy().job
    happened: list[str] = []
    opener = fleet.open

    def open_(uri: str) -> Host:
        happened.append("open")
        return opener(uri)

    monkeypatch.setattr(fleet, "open", open_)
    monkeypatch.setattr(fleet.hosts["kvm1"], "close", lambda: happened.append("close"))
    return fleet, domain, happened


def test_a_daemon_that_hangs_is_asked_once(
    controlled: tuple[Fleet, Domain, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, domain, happened = controlled
    answer, asked = threading.Event(), []

    def job_stats() -> dict[str, t.Any]:
        asked.append(threading.current_thread())
        answer.wait()
        return domain.job

    monkeypatch.setattr(domain, "jobStats", job_stats)
    control = libvirt_migration.Control(fleet, "test://kvm1/", UUID)
    steps = Steps(30)

    def call() -> None:
        steps.hold()
        raise FakeLibvirtError(1, "internal error: connection closed due to keepalive timeout", 7)

    # The timeout falls into that time, too: there is no way to tell the daemon.
    outcome = libvirt_migration.run(
        fleet, control, call, watch=Watch(timeout_seconds=20), report=lambda _told: None, clock=steps.clock
    )
    control.close()

    assert outcome.returned
    assert outcome.error is not None
    assert not outcome.aborted
    assert domain.commands == []
    assert len(asked) == 1
    assert happened == ["open"]

    # Once it has answered, it can be asked again.
    answer.set()
    asked[0].join(10)
    assert control.ask(lambda domain: domain.jobStats(), 10, doing="ask") == domain.job
    control.close()
    assert happened == ["open", "close"]


def test_a_daemon_that_has_begun_to_answer_again_is_told_to_abort(
    controlled: tuple[Fleet, Domain, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, domain, _happened = controlled
    steps = Steps(20)
    answer = threading.Event()
    left_alone: list[t.Any] = []

    def job_stats() -> dict[str, t.Any]:
        if steps.now < 10:
            left_alone.append(threading.current_thread())
            answer.wait()
        return domain.job

    def wait(done: threading.Event, seconds: float) -> bool:
        if steps.now == 10:
            answer.set()
            assert left_alone[0].done.wait(10)
        return steps.wait(done, seconds)

    monkeypatch.setattr(domain, "jobStats", job_stats)
    control = libvirt_migration.Control(fleet, "test://kvm1/", UUID)
    outcome = libvirt_migration.run(
        fleet,
        control,
        steps.hold,
        watch=Watch(timeout_seconds=5),
        report=lambda _told: None,
        clock=libvirt_migration.Clock(monotonic=steps.monotonic, wait=wait),
    )

    assert outcome.aborted
    assert domain.commands == ["abortJob"]


def test_a_connection_that_broke_is_opened_anew(
    controlled: tuple[Fleet, Domain, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, domain, happened = controlled
    answers: list[Exception | None] = [
        None,
        FakeLibvirtError(1, "internal error: client socket is closed", 7),
        None,
        FakeLibvirtError(55, "domain is not running"),
        None,
    ]

    def job_stats() -> dict[str, t.Any]:
        error = answers.pop(0)
        if error is not None:
            raise error
        return domain.job

    monkeypatch.setattr(domain, "jobStats", job_stats)
    monkeypatch.setattr(libvirt_migration, "_STATS_SECONDS", 10)
    told: list[t.Any] = []
    steps = Steps(5)
    with contextlib.closing(libvirt_migration.Control(fleet, "test://kvm1/", UUID)) as control:
        libvirt_migration.run(
            fleet,
            control,
            steps.hold,
            watch=Watch(timeout_seconds=100),
            report=told.append,
            clock=steps.clock,
        )

    assert [one["elapsed_seconds"] for one in told] == [1, 3, 5]
    assert happened == ["open", "close", "open", "close"]
