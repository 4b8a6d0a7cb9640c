# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that record: observations of one host, minutes apart, that leave their counters to each other in a store."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import resource
import sqlite3
import stat
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._history import agent_status
from ansible_collections.virtops.balance.plugins.module_utils._history import store as _store
from ansible_collections.virtops.balance.plugins.module_utils._host import marks as host_marks
from ansible_collections.virtops.balance.plugins.module_utils._observe import host as observed_host
from ansible_collections.virtops.balance.plugins.module_utils._observe import power_meter
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    FakeConnection,
    FakeDomain,
    FakeLibvirt,
)

SECOND = 1_000_000_000
START = 1_769_860_800.0
INTERVAL = 5.0


class Guest:
    """A domain that uses a share of a core, another one from some time on, and may wait for it as long as it runs."""

    def __init__(self, name: str = "web", cores: float = 0.5, *, waits: bool = False, number: int = 7) -> None:
        self.name, self.cores, self.waits, self.number = name, cores, waits, number
        self.used = 1000.0
        self.job: dict[str, t.Any] | None = None
        self.incoming = False

    def domain(self) -> FakeDomain:
        stats = {
            "state.state": 3 if self.incoming else 1,
            "state.reason": 2 if self.incoming else 1,
            "cpu.time": int(self.used * SECOND),
            "balloon.current": 98304,
            "balloon.maximum": 196608,
            "vcpu.current": 2,
            "vcpu.0.time": int(self.used * SECOND),
            "vcpu.0.delay": int(self.used * SECOND) if self.waits else 0,
            **({} if self.incoming else {"balloon.rss": 217280}),
        }
        return FakeDomain(
            self.name, f"uuid-{self.name}", stats=[stats], domain_id=self.number, job=self.job or {"type": 0}
        )


class World:
    """A host with its clocks and its guests. Time passes only here."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.wall, self.steady = START, 5000.0
        self.busy, self.idle = 0.0, 0.0
        self.usage = 0.25
        self.guests: list[Guest] = []
        self.boot("boot-1")

    def boot(self, name: str) -> None:
        self.write("proc/sys/kernel/random/boot_id", f"{name}\n")
        self.write("proc/stat", "cpu  1\ncpu0 1\ncpu1 1\n")
        self.write("proc/meminfo", "MemAvailable: 3145728 kB\nSwapTotal: 4096 kB\nSwapFree: 1024 kB\n")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds
        self.busy += seconds * self.usage
        self.idle += seconds * (1 - self.usage)
        for guest in self.guests:
            guest.used += seconds * guest.cores

    def run(self, *, interval: float = INTERVAL, store: bool = True, uri: str = "qemu:///system") -> dict[str, t.Any]:
        """One observation, with what the history of an hour before it is."""
        world = self

        class Now(FakeConnection):
            def getAllDomainStats(self, groups: int, flags: int) -> list[tuple[FakeDomain, dict[str, t.Any]]]:  # noqa: N802
                self.domains = [guest.domain() for guest in world.guests]
                return super().getAllDomainStats(groups, flags)

            def getCPUStats(self, *_arguments: t.Any) -> dict[str, int]:  # noqa: N802
                counted = {"kernel": 0.0, "user": world.busy, "idle": world.idle, "iowait": 0.0}
                return {name: int(value * SECOND) for name, value in counted.items()}

        fake = Now()
        return observed_host.observe(
            Connection(FakeLibvirt(fake), fake, uri),
            interval=interval,
            lookback=observed_host.Lookback(minutes=60, step=60, recorded=True),
            store=store,
            clock=observed_host.Clock(now=lambda: self.wall, monotonic=lambda: self.steady, sleep=self.passes),
            root=str(self.root),
        )

    def problem(self) -> str | None:
        """What a run says of the history."""
        told: str | None = self.run()["host"]["history_problem"]
        return told

    @property
    def path(self) -> pathlib.Path:
        return self.root / _store.PATH

    def rows(self) -> list[_store.Row]:
        """What is stored, oldest first."""
        return list(_store.read(str(self.path), since=0))[::-1]

    def spans(self) -> list[tuple[float, float | None]]:
        """How many seconds each sample is about, and how busy the host was."""
        return [(row.elapsed, row.usage) for row in self.rows()]

    def cores(self, name: str = "web") -> list[tuple[float | None, float | None]]:
        """What a domain used, and over how many seconds where not over all of the sample."""
        return [
            (domain.cpu_cores, domain.elapsed) for row in self.rows() for domain in row.domains if domain.name == name
        ]

    @contextlib.contextmanager
    def agent(self, *, last_round: float | None = None) -> t.Iterator[None]:
        """An agent that runs, and has sampled so many seconds ago; None = it has just been started."""
        lock = self.root / agent_status.LOCK
        lock.parent.mkdir(parents=True, exist_ok=True)
        if last_round is not None:
            said = {"pid": 42, "loops": {"history": {"at": self.wall - last_round, "problem": None}}}
            self.write(agent_status.PATH, json.dumps(said))
        with open(lock, "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write("42\n")
            file.flush()
            yield


@pytest.fixture
def world(tmp_path: pathlib.Path) -> World:
    return World(tmp_path)


def test_a_sample_is_the_mean_since_the_last_run(world: World) -> None:
    world.guests = [Guest(cores=0.5, waits=True)]
    world.run()
    world.usage, world.guests[0].cores = 0.75, 1.5
    world.passes(295)
    # The seconds of the run itself are unlike all that was before.
    world.usage, world.guests[0].cores = 0.0, 0.0
    observed = world.run()
    assert observed["host"]["cpu"]["usage"] == 0.0
    assert observed["domains"][0]["cpu_cores"] == 0.0
    assert world.spans() == [(5, 0.25), (300, round(0.75 * 295 / 300, 4))]
    assert world.cores() == [(0.5, None), (round(1.5 * 295 / 300, 3), None)]
    (first, second) = world.rows()
    assert (first.at, second.at) == (START + 5, START + 305)
    assert (second.threads, second.available_mib) == (2, 3072)
    (domain,) = second.domains
    assert (domain.vcpus, domain.maximum_mib, domain.current_mib, domain.rss_mib) == (2, 192, 96, 212)
    assert domain.cpu_ready == 0.5


def test_five_runs_are_a_history_without_a_gap(world: World) -> None:
    world.guests = [Guest()]
    for number in range(5):
        world.usage = number / 10
        observed = world.run()
        world.passes(295)
    history = observed["host"]["history"]
    assert len(history["cpu"]) == 20
    assert None not in history["cpu"]
    # 295 seconds of 30 %, and the 5 of the last run itself.
    assert history["cpu"][-1] == round((295 * 0.3 + 5 * 0.4) / 300, 4)
    assert observed["domains"][0]["history"]["cpu_cores"] == [0.5] * 20
    assert observed["host"]["history_problem"] is None


def test_the_first_run_says_nothing_of_a_history(world: World) -> None:
    assert (world.run()["host"]["history"], world.problem()) == (None, None)


def after_too_long(world: World) -> None:
    world.passes(65 * 60)


def after_a_reboot(world: World) -> None:
    world.passes(600)
    world.boot("boot-2")


def after_the_clock_was_set(world: World) -> None:
    world.passes(300)
    world.wall += 60


def after_a_suspend(world: World) -> None:
    # CLOCK_MONOTONIC stands still meanwhile, and so do the counters.
    world.wall += 1200


def after_counters_began_anew(world: World) -> None:
    world.passes(100)
    world.busy = world.idle = 0


@pytest.mark.parametrize("event", [after_too_long, after_a_reboot, after_the_clock_was_set, after_a_suspend])
def test_what_cannot_be_one_stretch_is_the_seconds_of_the_run_only(
    world: World, event: t.Callable[[World], None]
) -> None:
    world.guests = [Guest()]
    world.run()
    event(world)
    world.usage = 0.5
    world.run()
    assert world.spans() == [(5, 0.25), (5, 0.5)]
    assert world.cores() == [(0.5, None), (0.5, None)]
    # And the next run goes on from there.
    world.passes(295)
    world.run()
    assert world.spans()[-1] == (300, 0.5)


def test_counters_of_the_host_that_began_anew_are_not_known(world: World) -> None:
    world.run()
    after_counters_began_anew(world)
    world.run()
    assert world.spans() == [(5, 0.25), (105, None)]


def test_an_hourly_run_that_is_late_has_its_hour(world: World) -> None:
    world.run()
    world.passes(3700)
    world.run()
    assert world.spans()[-1] == (3705, 0.25)


def test_domains_that_came_or_were_started_since_are_known_for_the_run_only(world: World) -> None:
    world.guests = [Guest("stays", 0.5), Guest("again", 0.5, number=8), Guest("left", 0.5, number=9)]
    world.run()
    world.guests = [Guest("stays", 0.5), Guest("again", 1.0, number=18), Guest("came", 2.0, number=19)]
    world.guests[0].used = 1000 + INTERVAL * 0.5
    world.passes(295)
    world.run()
    assert world.cores("stays") == [(0.5, None), (0.5, None)]
    assert world.cores("again") == [(0.5, None), (1.0, 5)]
    assert world.cores("came") == [(2.0, 5)]
    assert world.cores("left") == [(0.5, None)]


def test_a_domain_on_its_way_here_is_nobodys(world: World) -> None:
    guest = Guest("guest")
    guest.incoming = True
    world.guests = [guest]
    world.run()
    assert world.cores("guest") == []
    guest.incoming = False
    world.passes(295)
    world.run()
    assert world.cores("guest") == [(0.5, 5)]


def test_a_domain_that_left_keeps_its_past_until_it_is_old(world: World) -> None:
    world.guests = [Guest("left")]
    for _number in range(3):
        world.run()
        world.passes(295)
    world.guests = []
    departed = world.run()["departed_domains"]
    assert departed["uuid-left"]["cpu_cores"][:10] == [0.5] * 10
    for _number in range(12):
        world.passes(295)
        departed = world.run()["departed_domains"]
    assert departed == {}


def test_one_sample_without_an_interval(world: World) -> None:
    world.guests = [Guest()]
    world.run(interval=0)
    assert world.rows() == []
    world.passes(300)
    world.run(interval=0)
    assert world.spans() == [(300, 0.25)]
    assert world.cores() == [(0.5, None)]


def test_it_is_stored_only_where_asked_for_and_on_the_host_itself(world: World) -> None:
    world.run(store=False)
    world.run(uri="qemu+ssh://kvm2/system")
    assert not world.path.parent.exists()


def test_on_xen(world: World) -> None:
    # The sampler of Xen has counters by UUID, Domain-0 among them.
    info = {"state": 1, "maximum": 4194304, "current": 2097152, "vcpus": 2}
    for at in (0, 300):
        domain0, web = (
            FakeDomain(name, uuid, domain_id=number, stats=[{**info, "time": int(seconds * SECOND)}] * 9)
            for name, uuid, number, seconds in (("Domain-0", "0", 0, at * 0.1), ("web", "w", 3, at * 0.5))
        )
        fake = FakeConnection(domains=[domain0, web], kind="Xen", getInfo=["x86_64", 65536, 4, 2400, 1, 1, 4, 1])
        world.wall, world.steady = START + at, at
        observed_host.observe(
            Connection(FakeLibvirt(fake), fake, "xen:///system"),
            interval=0,
            store=True,
            clock=observed_host.Clock(
                now=lambda: world.wall, monotonic=lambda: world.steady, sleep=lambda _seconds: None
            ),
            root=str(world.root),
        )
    assert world.spans() == [(300, 0.15)]
    assert world.cores() == [(0.5, None)]


def test_watts_and_the_rate_of_writing_are_kept_where_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power_meter, "read_watts", lambda root: 213.0)
    moving, stays = Guest("moving"), Guest("stays", number=8)
    moving.job = {"type": 2, "operation": 5, "memory_dirty_rate": 640, "memory_page_size": 4096}
    world.guests = [moving, stays]
    world.run()
    (row,) = world.rows()
    assert (row.watts, row.cpu_watts) == (213.0, None)
    assert {domain.name: domain.dirty_mib_s for domain in row.domains} == {"moving": 2.5, "stays": None}


def test_drain_and_sleep_are_kept_with_their_times(world: World) -> None:
    def mark(**changes: t.Any) -> list[_store.Event]:
        host_marks.write({**host_marks.read(root=str(world.root)), **changes}, root=str(world.root))
        world.run()
        found = _store.read_events(str(world.path))
        world.passes(295)
        return found

    assert mark() == []
    mark(
        drained={"since": "2026-01-31T12:03:00Z", "purpose": "disks"},
        asleep={"kvm3": {"since": "2026-01-31T12:04:00Z", "threads": 32}, "kvm4": {"threads": 32}},
    )
    noticed = START + 305
    down = [
        _store.Event(START + 180, "drained"),
        _store.Event(START + 240, "asleep", "kvm3"),
        _store.Event(noticed, "asleep", "kvm4"),
    ]
    assert _store.read_events(str(world.path)) == down
    assert mark() == down
    up = [_store.Event(noticed + 600, "undrained"), _store.Event(noticed + 600, "awake", "kvm3")]
    assert mark(drained=None, asleep={"kvm4": {"threads": 32}}) == down + up


def test_marks_that_cannot_be_read_say_nothing(world: World) -> None:
    host_marks.write({"drained": {"since": "2026-01-31T12:00:00Z", "purpose": ""}, "asleep": {}}, root=str(world.root))
    world.run()
    world.write(host_marks.PATH, "damaged")
    world.run()
    assert [event.kind for event in _store.read_events(str(world.path))] == ["drained"]


def test_where_an_agent_works_runs_do_not_store(world: World) -> None:
    # The run itself takes five seconds, and longer ago than 90 is too long.
    for last_round in (None, 0, 85):
        with world.agent(last_round=last_round):
            world.run()
            assert not world.path.exists()
    # It hangs, or libvirt did not answer it.
    with world.agent(last_round=86):
        world.run()
        assert len(world.rows()) == 1
    # It was ended, and is still installed.
    world.write(agent_status.SETTINGS, json.dumps({"interval": 30}))
    told = "The agent does not run. Runs record in its place, the mean of the time between them."
    assert world.problem() == told
    assert len(world.rows()) == 2


def test_the_interval_of_the_agent_says_how_long_ago_is_lately(world: World) -> None:
    world.write(agent_status.SETTINGS, json.dumps({"interval": 600}))
    with world.agent(last_round=1700):
        world.run()
    assert not world.path.exists()


def test_the_limits_of_the_agent_count_where_there_are_any(world: World) -> None:
    assert agent_status.settings(root=str(world.root)) == {"interval": 30, "keep_hours": 168, "max_mib": 256}
    world.write(agent_status.SETTINGS, json.dumps({"interval": 10, "keep_hours": 0.5, "max_mib": "many"}))
    assert agent_status.settings(root=str(world.root)) == {"interval": 10, "keep_hours": 0.5, "max_mib": 256}
    for _number in range(12):
        world.run()
        world.passes(295)
    assert [row.at - START for row in world.rows()] == [305 + 300 * number for number in range(4, 11)]


def test_only_root_and_its_group_read_it(world: World) -> None:
    world.run()
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in world.path.parent.iterdir()}
    assert "history.sqlite" in modes
    assert set(modes.values()) == {0o640}


def test_another_run_at_the_same_moment_does_not_store_and_does_not_fail(world: World) -> None:
    world.run()
    world.passes(295)
    with contextlib.closing(sqlite3.connect(world.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert world.problem() is None
        other.execute("ROLLBACK")
    assert len(world.rows()) == 1
    world.passes(295)
    world.run()
    # Nothing of that time is lost.
    assert world.spans()[-1] == (600, 0.25)


def test_a_full_disk_is_told_and_what_is_stored_is_kept(world: World) -> None:
    world.guests = [Guest(f"guest-{number}") for number in range(50)]
    world.run()
    world.passes(295)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (world.path.stat().st_size - 1, limits[1]))
    try:
        observed = world.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    told = observed["host"]["history_problem"]
    assert told.startswith(f"Nothing is recorded: {world.path} cannot be written (")
    assert len(observed["domains"]) == 50
    assert len(world.rows()) == 1
    assert world.problem() is None
    assert len(world.rows()) == 2


def test_no_directory_to_write_to_is_told(world: World) -> None:
    (world.root / "var").write_text("in the way")
    told = world.problem()
    assert told is not None
    assert told.startswith(f"Nothing is recorded: {world.path} cannot be written (")
    assert "Not a directory" in told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_who_may_not_write_is_told(world: World) -> None:
    world.run()
    world.path.chmod(0o644)
    for place in (world.root, *world.root.parents):
        # The directories of pytest belong to root alone.
        if place.stat().st_uid == 0 and str(place).startswith("/tmp/"):
            place.chmod(0o755)
    os.seteuid(65534)
    try:
        told = world.problem()
    finally:
        os.seteuid(0)
    assert told is not None
    assert told.startswith(f"Nothing is recorded: {world.path} cannot be written (")
    assert len(world.rows()) == 1


def test_a_damaged_store_is_set_aside_and_the_history_begins_anew(world: World) -> None:
    world.run()
    world.path.write_bytes(b"damaged " * 1000)
    assert world.problem() == (
        f"{world.path} could not be used and is now {world.path}.unusable. The history begins anew."
    )
    assert world.problem() is None
    assert len(world.rows()) == 2


def test_damage_that_shows_while_writing_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run()

    def malformed(*_arguments: t.Any) -> int:
        raise sqlite3.DatabaseError("database disk image is malformed")

    with monkeypatch.context() as patch:
        patch.setattr(_store.Store, "add", malformed)
        assert world.problem() == (
            f"{world.path} is damaged (database disk image is malformed). It is now {world.path}.unusable, and the "
            "history begins anew."
        )
    assert world.problem() is None
    assert len(world.rows()) == 1


@pytest.mark.parametrize("error", [OverflowError("int too large"), TypeError("no number"), ValueError("nan")])
def test_what_makes_no_sense_fails_no_run(world: World, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    world.run()

    def senseless(*_arguments: t.Any) -> int:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(_store.Store, "add", senseless)
        assert world.problem() == (
            f"Nothing is recorded: what is to be stored in {world.path}, or is there already, makes no sense ({error})."
        )
    assert world.problem() is None


def test_a_newer_store_is_left_alone_and_told(world: World) -> None:
    world.run()
    with contextlib.closing(sqlite3.connect(world.path)) as connection:
        connection.execute("PRAGMA user_version = 3")
    before = world.path.read_bytes()
    assert world.problem() == (
        f"Nothing is recorded: {world.path} is left alone, because a newer version of the collection made it "
        "(version 3, this one knows 2)."
    )
    assert world.path.read_bytes() == before
