# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import logging
import pathlib
import sqlite3
import threading
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._agent import loops as agent_loops
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError, DeadlineError
from ansible_collections.virtops.balance.plugins.module_utils._history import agent_status
from ansible_collections.virtops.balance.plugins.module_utils._history import store as _store
from ansible_collections.virtops.balance.plugins.module_utils._host import lease as _lease
from ansible_collections.virtops.balance.plugins.module_utils._observe import host as observed_host
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    FakeConnection,
    FakeDomain,
    FakeLibvirt,
    FakeLibvirtError,
)

SECOND = 1_000_000_000
START = 1_769_860_800.0
QUIET = {"quantum": 10, "balance": [], "vcpu_options": {}, "memory_options": {}}
SETTINGS: dict[str, t.Any] = {"uri": "qemu:///system", "interval": 10, "keep_hours": 1, "max_mib": 64, **QUIET}


class FakeClock:
    """A wall clock and a monotonic one, which only tests move."""

    def __init__(self) -> None:
        self.wall, self.steady = START, 100.0

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def clock(self) -> observed_host.Clock:
        return observed_host.Clock(now=lambda: self.wall, monotonic=lambda: self.steady)


def stats(cpu: float, *, ready: float = 0, **more: t.Any) -> dict[str, t.Any]:
    return {
        "state.state": 1,
        "state.reason": 1,
        "cpu.time": int(cpu * SECOND),
        "balloon.current": 98304,
        "balloon.maximum": 98304,
        "balloon.rss": 217280,
        "vcpu.current": 1,
        "vcpu.0.time": int(cpu * SECOND),
        "vcpu.0.delay": int(ready * SECOND),
        **more,
    }


def incoming() -> dict[str, t.Any]:
    """A domain that is on its way here: paused, and held by the migration."""
    return {"state.state": 3, "state.reason": 2, "cpu.time": 0, "balloon.current": 98304, "balloon.maximum": 98304}


class Bench:
    """An agent's recorder on a clock of its own."""

    made: t.ClassVar[list[Bench]] = []

    def __init__(self, root: pathlib.Path, connection: FakeConnection, **options: t.Any) -> None:
        self.root, self.time = root, FakeClock()
        self.api = FakeLibvirt(connection)
        self.kept = agent_loops.KeptConnection(self.api, "qemu:///system", read_only=True)
        values = {"interval": 10, "keep_hours": 1, "max_mib": 64, **options}
        self.recorder = agent_loops.Recorder(self.kept, root=str(root), clock=self.time.clock(), **values)
        self.made.append(self)

    def rounds(self, count: int, *, seconds: float = 10) -> None:
        for _number in range(count):
            self.recorder()
            self.time.advance(seconds)

    @property
    def path(self) -> pathlib.Path:
        return self.root / _store.PATH

    def rows(self) -> list[_store.Row]:
        """What is stored, oldest first."""
        return list(_store.read(str(self.path), since=0))[::-1]


@pytest.fixture(autouse=True)
def _close_what_was_stored() -> t.Iterator[None]:
    yield
    # Since Python 3.13 a database that nobody closes is a warning.
    while Bench.made:
        Bench.made.pop().recorder.close()


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    for path, text in {
        "proc/stat": "cpu  1\ncpu0 1\n",
        "proc/meminfo": "MemAvailable: 3145728 kB\nSwapTotal: 4096 kB\nSwapFree: 1024 kB\n",
    }.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path


def test_a_sample_is_what_an_observation_says(root: pathlib.Path) -> None:
    web = FakeDomain("web-1", "uuid-web", stats=[stats(100), stats(106, ready=1.5)])
    bench = Bench(root, FakeConnection(domains=[web]))
    bench.rounds(2)
    expected = observed_host.observe(
        agent_loops.KeptConnection(
            FakeLibvirt(
                FakeConnection(domains=[FakeDomain("web-1", "uuid-web", stats=[stats(100), stats(106, ready=1.5)])])
            ),
            "qemu:///system",
            read_only=True,
        ).get(),
        interval=10,
        clock=observed_host.Clock(now=lambda: START, monotonic=bench.time.clock().monotonic, sleep=bench.time.advance),
        root=str(root),
    )
    (row,) = bench.rows()
    assert (row.at, row.elapsed) == (START + 10, 10)
    assert (row.usage, row.available_mib) == (
        expected["host"]["cpu"]["usage"],
        expected["host"]["memory"]["available_mib"],
    )
    (domain,) = expected["domains"]
    assert row.domains == [
        _store.DomainRow(
            "uuid-web",
            "web-1",
            domain["cpu_cores"],
            domain["cpu_ready"],
            domain["memory"]["current_mib"],
            domain["memory"]["rss_mib"],
            domain["memory"]["usable_mib"],
            domain["vcpus"],
            domain["memory"]["maximum_mib"],
        )
    ]
    assert domain["cpu_cores"] == 0.6
    assert domain["cpu_ready"] == 0.2


def test_one_connection_and_one_call_per_sample(root: pathlib.Path) -> None:
    connection = FakeConnection(domains=[FakeDomain(f"d-{n}", f"uuid-{n}", stats=[stats(1)]) for n in range(50)])
    bench = Bench(root, connection)
    bench.rounds(5)
    assert bench.api.opened == [("openReadOnly", "qemu:///system")]
    assert connection.calls["getAllDomainStats"] == 5
    assert all(
        flags & FakeLibvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT for _groups, flags in connection.stats_arguments
    )
    # Nothing is asked of a single domain.
    assert all(not domain.calls for domain in connection.domains)


def test_domains_come_and_go(root: pathlib.Path) -> None:
    stays = FakeDomain("stays", "uuid-1", stats=[stats(0), stats(5), stats(10), stats(15)])
    leaves = FakeDomain("leaves", "uuid-2", stats=[stats(0), stats(1), None])
    comes = FakeDomain("comes", "uuid-3", stats=[None, None, stats(90), stats(92)])
    bench = Bench(root, FakeConnection(domains=[stays, leaves, comes]))
    bench.rounds(4)
    found = [{domain.name: domain.cpu_cores for domain in row.domains} for row in bench.rows()]
    assert found == [{"stays": 0.5, "leaves": 0.1}, {"stays": 0.5, "comes": None}, {"stays": 0.5, "comes": 0.2}]


def test_an_incoming_domain_counts_from_when_it_runs_here(root: pathlib.Path) -> None:
    guest = FakeDomain("guest", "uuid", stats=[None, incoming(), stats(1), stats(4)])
    bench = Bench(root, FakeConnection(domains=[guest]))
    bench.rounds(4)
    assert [[domain.cpu_cores for domain in row.domains] for row in bench.rows()] == [[], [None], [0.3]]


def test_a_domain_that_was_started_anew_counts_from_zero(root: pathlib.Path) -> None:
    guest = FakeDomain("guest", "uuid", stats=[stats(1), stats(9), stats(10)])
    connection = FakeConnection(domains=[guest])
    bench = Bench(root, connection)
    bench.rounds(1)
    again = FakeDomain("guest", "uuid", stats=guest.stats, domain_id=2)
    connection.domains = [again]
    bench.rounds(2)
    assert [[domain.cpu_cores for domain in row.domains] for row in bench.rows()] == [[None], [0.1]]


def test_a_restart_of_libvirt_loses_at_most_its_own_time(root: pathlib.Path) -> None:
    web = FakeDomain("web", "uuid", stats=[stats(0), stats(5), stats(15), stats(20)])
    connection = FakeConnection(domains=[web])
    bench = Bench(root, connection)
    bench.rounds(2)
    # It is down in one round: the domain's counters go on, and the next sample covers both intervals.
    bench.kept.drop()
    bench.time.advance(10)
    bench.rounds(2)
    assert [(row.elapsed, row.domains[0].cpu_cores) for row in bench.rows()] == [(10, 0.5), (20, 0.5), (10, 0.5)]
    assert len(bench.api.opened) == 2


def test_a_long_pause_is_a_gap(root: pathlib.Path) -> None:
    web = FakeDomain("web", "uuid", stats=[stats(0), stats(5), stats(15), stats(20)])
    bench = Bench(root, FakeConnection(domains=[web]))
    bench.rounds(2)
    bench.time.advance(3600)
    bench.rounds(2)
    assert [row.at - START for row in bench.rows()] == [10, 3630]


def test_the_wall_clock_does_not_enter_rates(root: pathlib.Path) -> None:
    web = FakeDomain("web", "uuid", stats=[stats(5.0 * number) for number in range(6)])
    bench = Bench(root, FakeConnection(domains=[web]))
    bench.rounds(2)
    for step in (86_400, -90_000, 3_600):
        bench.time.wall += step
        bench.rounds(1)
    assert [(row.elapsed, row.domains[0].cpu_cores) for row in bench.rows()] == [(10, 0.5)] * 4
    # The times are those of the clock as it was.
    assert [round(row.at - START) for row in bench.rows()] == [10, 86_420, -3_570, 40]


def test_a_full_disk_is_said_and_waited_for(root: pathlib.Path) -> None:
    bench = Bench(root, FakeConnection(domains=[FakeDomain("web", "uuid", stats=[stats(1)])]))
    bench.rounds(3)
    store = bench.recorder._store
    assert store is not None
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(BalanceError, match=r"Cannot store a sample in .*: database or disk is full\. What is stored"):
        bench.rounds(500)
    kept = len(bench.rows())
    assert kept >= 2
    store._connection.execute("PRAGMA max_page_count = 100000")
    bench.rounds(1)
    assert len(bench.rows()) == kept + 1


def test_no_room_to_begin_with(root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(root, FakeConnection())
    bench.rounds(1)
    (root / "var").write_text("in the way")
    with pytest.raises(BalanceError, match=r"Cannot store a sample in .*Not a directory"):
        bench.rounds(1)
    (root / "var").unlink()
    bench.rounds(1)
    assert len(bench.rows()) == 1


def test_a_damaged_file_is_set_aside(root: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(root, FakeConnection())
    bench.rounds(2)
    bench.recorder.close()
    bench.path.write_bytes(b"damaged " * 1000)
    bench.rounds(2)
    assert len(bench.rows()) == 2
    assert bench.path.with_name("history.sqlite.unusable").read_bytes().startswith(b"damaged")
    assert "could not be used" in caplog.text


def test_damage_that_shows_later_is_set_aside(root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(root, FakeConnection())
    bench.rounds(2)

    def malformed(_store: _store.Store, _row: _store.Row, _events: t.Iterable[_store.Event]) -> int:
        raise sqlite3.DatabaseError("database disk image is malformed")

    with monkeypatch.context() as patch:
        patch.setattr(_store.Store, "add", malformed)
        with pytest.raises(BalanceError, match=r"is damaged \(database disk image is malformed\)\. It is now"):
            bench.rounds(1)
    bench.rounds(2)
    assert len(bench.rows()) == 2


def test_a_file_that_was_removed_is_made_anew(root: pathlib.Path) -> None:
    bench = Bench(root, FakeConnection())
    bench.rounds(3)
    for file in bench.path.parent.glob("history.sqlite*"):
        file.unlink()
    bench.rounds(2)
    assert len(bench.rows()) == 2


@pytest.mark.parametrize(
    ("now", "period", "expected"),
    [
        (1000.0, 10, 10),
        (1000.01, 10, 9.99),
        (1004.9, 10, 5.1),
        # A round that took long, or woke a moment too early, must not be followed by another at once.
        (1009.99, 10, 10.01),
        (1005.1, 10, 14.9),
    ],
)
def test_waiting_for_the_next_multiple(now: float, period: float, expected: float) -> None:
    assert agent_loops.seconds_to_next(now, period) == pytest.approx(expected)


class Loops:
    """One loop whose work is a list of what happens, a round each; the last round ends it."""

    def __init__(self, root: pathlib.Path, *rounds: Exception | None) -> None:
        self.rounds = list(rounds)
        self.api = FakeLibvirt()
        self.stopping = threading.Event()
        self.connection = agent_loops.KeptConnection(self.api, "qemu:///system", read_only=True)
        self.times = FakeClock()
        self.loop = agent_loops.Loop(
            "history",
            self.work,
            period=0.001,
            api=self.api,
            connection=self.connection,
            status=agent_status.Status(root=str(root), now=self.times.clock().now),
            stopping=self.stopping,
            now=self.times.clock().now,
        )

    def work(self) -> None:
        self.connection.get()
        outcome = self.rounds.pop(0)
        if not self.rounds:
            self.stopping.set()
        if outcome is not None:
            raise outcome

    def run(self) -> None:
        self.loop.start()
        self.loop.join(10)
        assert not self.loop.is_alive()


def test_problems_are_said_once_and_the_work_goes_on(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    full = BalanceError("The disk is full.")
    gone = FakeLibvirtError(38, "End of file while reading data", 7)
    loops = Loops(tmp_path, None, full, full, full, None, gone, DeadlineError("No answer."), None)
    loops.run()
    assert [record.getMessage() for record in caplog.records] == [
        "history: The disk is full.",
        "history: works again",
        "history: Cannot do the work of history: End of file while reading data.",
        "history: No answer.",
        "history: works again",
    ]
    # A new connection after every failure, and only then.
    assert len(loops.api.opened) == 6
    assert agent_status.read(root=str(tmp_path))["loops"] == {"history": {"at": START, "problem": None}}


def test_the_status_tells_of_a_problem(tmp_path: pathlib.Path) -> None:
    Loops(tmp_path, None, BalanceError("The disk is full.")).run()
    assert agent_status.read(root=str(tmp_path))["loops"]["history"]["problem"] == "The disk is full."


def test_a_status_that_cannot_be_written_stops_nothing(tmp_path: pathlib.Path) -> None:
    (tmp_path / "run").write_text("in the way")
    Loops(tmp_path, None, None).run()
    assert agent_status.read(root=str(tmp_path)) == {}


def test_an_error_in_the_agent_ends_it(tmp_path: pathlib.Path) -> None:
    loops = Loops(tmp_path, ZeroDivisionError(), None)
    loops.run()
    assert isinstance(loops.loop.failure, ZeroDivisionError)
    assert loops.stopping.is_set()


@pytest.mark.parametrize("content", ["[]", '{"loops": []}', "no json", None])
def test_no_status(tmp_path: pathlib.Path, content: str | None) -> None:
    path = tmp_path / agent_status.PATH
    if content is not None:
        path.parent.mkdir(parents=True)
        path.write_text(content)
    assert agent_status.read(root=str(tmp_path)) == {}


def settings(**more: t.Any) -> agent_loops.Settings:
    return agent_loops.check_settings({**SETTINGS, **more})


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ["history every 10 s"]),
        ({"quantum": 5, "balance": ["vcpu"]}, ["history every 10 s", "vcpu every 5 s"]),
        (
            {"quantum": 5, "balance": ["vcpu", "memory"], "memory_options": {"exclude": ["db-1"]}},
            ["history every 10 s", "memory every 5 s", "vcpu every 5 s"],
        ),
    ],
)
def test_settings_make_loops(root: pathlib.Path, more: dict[str, t.Any], expected: list[str]) -> None:
    clock = FakeClock().clock()
    loops = agent_loops.make_loops(
        FakeLibvirt(), settings(**more), stopping=threading.Event(), root=str(root), clock=clock
    )
    assert [loop.describe() for loop in loops] == expected


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"uri": 5}, "uri must be a text, but it is 5."),
        ({"interval": 0}, "interval must be a number from 0.01 to 1,000,000, but it is 0."),
        ({"interval": "10"}, "interval must be a number, but it is '10'."),
        ({"max_mib": None}, "max_mib must be a number, but it is None."),
        ({"quantum": -1}, "quantum must be a number from 0.01"),
        ({"vcpu_options": True}, "vcpu_options must be a mapping, but it is True."),
        ({"balance": "vcpu"}, "balance must be a list of vcpu, memory, but it is 'vcpu'."),
        ({"balance": ["cpu"]}, "balance must be a list of vcpu, memory, but it is ['cpu']."),
        ({"balance": [{}]}, "balance must be a list of vcpu, memory"),
        ({"vcpu_options": {"speed": 1}}, "vcpu_options has an option that is not known, or one of the wrong type:"),
        ({"vcpu_options": {"algorithm": "fast"}}, "algorithm must be one of"),
        ({"memory_options": {"factor": 2}}, "factor must be a number from 0 to 1"),
        ({"colour": "red"}, "colour is not known."),
    ],
)
def test_settings_that_are_wrong(more: dict[str, t.Any], message: str) -> None:
    with pytest.raises(BalanceError) as raised:
        settings(**more)
    assert raised.value.message.startswith(message)


class Rounds:
    """A balancer whose round only notes by which samples it was to decide."""

    def __init__(self, root: pathlib.Path) -> None:
        self.time = FakeClock()
        self.api = FakeLibvirt(FakeConnection(domains=[FakeDomain("web", "uuid", stats=[stats(n) for n in range(9)])]))
        self.kept = agent_loops.KeptConnection(self.api, "qemu:///system", read_only=False)
        self.seen: list[tuple[int, int]] = []
        self.checked: list[t.Any] = []
        self.result: dict[str, t.Any] = {"changed": False, "why": "All is even."}
        self.balancer = agent_loops.Balancer(
            self.kept,
            self.run_round,
            check_host=self.checked.append,
            quantum=10,
            name="vcpu",
            root=str(root),
            clock=self.time.clock(),
        )

    def run_round(self, _connection: t.Any, before: t.Any, after: t.Any) -> dict[str, t.Any]:
        cpu = [sample.domains["uuid"].stats["cpu.time"] // SECOND for sample in (before, after)]
        self.seen.append((cpu[0], cpu[1]))
        return self.result

    def rounds(self, count: int) -> None:
        for _number in range(count):
            self.balancer()
            self.time.advance(10)


def test_each_round_of_balancing_goes_by_what_happened_since_the_one_before(root: pathlib.Path) -> None:
    rounds = Rounds(root)
    rounds.rounds(3)
    assert rounds.seen == [(0, 1), (1, 2)]
    assert rounds.api.opened == [("open", "qemu:///system")]
    assert len(rounds.checked) == 1
    # A new connection, and a long pause: nothing is decided by what was long ago.
    rounds.kept.drop()
    rounds.rounds(2)
    rounds.time.advance(3600)
    rounds.rounds(2)
    assert rounds.seen == [(0, 1), (1, 2), (3, 4), (5, 6)]
    assert len(rounds.checked) == 2


def test_it_pauses_while_somebody_acts_on_the_host(root: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rounds = Rounds(root)
    rounds.rounds(2)
    _lease.take("cron@control", purpose="rebalance", seconds=600, root=str(root))
    rounds.rounds(3)
    assert rounds.seen == [(0, 1)]
    _lease.release("cron@control", root=str(root))
    rounds.rounds(2)
    # What was before the pause is not compared with what is after it.
    assert rounds.seen == [(0, 1), (2, 3)]
    assert [message.partition(" since ")[0] for message in caplog.messages] == [
        "vcpu: pauses while the host is leased to cron@control (rebalance)",
        "vcpu: goes on",
    ]


def test_a_lease_of_which_nobody_knows_whose_it_is_keeps_it_from_acting(root: pathlib.Path) -> None:
    path = root / _lease.DIRECTORY / "lease.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(BalanceError, match="is not a lease"):
        Rounds(root).rounds(1)


def test_what_a_round_changes_is_in_the_log(root: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rounds = Rounds(root)
    rounds.rounds(2)
    assert caplog.messages == []
    rounds.result = {
        "changed": True,
        "why": "CPU 0 was fuller.",
        "repinned": [{"name": "web-1", "vcpu": 0, "from": "0-1", "to": "1"}],
    }
    rounds.rounds(1)
    rounds.result = {
        "changed": True,
        "why": "web-1 starves.",
        "changes": [{"name": "web-1", "before_mib": 512, "after_mib": 640}],
        "warnings": ["db-1 has no balloon device. It is left alone."],
    }
    rounds.rounds(1)
    assert caplog.messages == [
        "vcpu: web-1 vCPU 0 0-1 -> 1. CPU 0 was fuller.",
        "vcpu: web-1 512 -> 640 MiB. web-1 starves.",
        "vcpu: db-1 has no balloon device. It is left alone.",
    ]
