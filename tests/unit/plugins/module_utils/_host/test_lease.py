# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Never two holders."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import stat
import tempfile
import threading
import typing as t
from pathlib import Path
from time import sleep as pause

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._host import lease as _lease

NOON = 1_800_000_000.0


class Time:
    """Seconds that pass only when somebody sleeps or says so."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.step = 0.0
        self.boot: str | None = "boot-1"
        self.slept: list[float] = []

    def clock(self) -> _lease.Clock:
        return _lease.Clock(
            now=lambda: NOON + self.passed + self.step,
            boottime=lambda: 100 + self.passed,
            boot_id=lambda: self.boot,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passed += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def host(tmp_path: Path, time: Time) -> dict[str, t.Any]:
    return {"root": str(tmp_path), "clock": time.clock()}


def test_one_takes_it_and_the_other_is_told_who_acts_and_since_when(host: dict[str, t.Any]) -> None:
    assert _lease.read(**host) is None
    taken = _lease.take("cron@control", purpose="rebalance", seconds=60, **host)
    assert (taken.before, taken.taken_over) == (None, None)

    with pytest.raises(_lease.HeldError) as caught:
        _lease.take("awx", purpose="rebalance", seconds=60, **host)

    assert "cron@control (rebalance) since 2027-01-15T08:00:00Z, until 2027-01-15T08:01:00Z" in caught.value.message
    assert taken.lease is not None
    assert caught.value.to_result()["lease"] == taken.lease.to_result()
    assert _lease.read(**host) == taken.lease


def test_its_holder_may_take_it_again_and_renew_it(host: dict[str, t.Any], time: Time) -> None:
    first = _lease.take("me", purpose="rebalance", seconds=60, **host)
    time.passed = 50
    again = _lease.take("me", purpose="report", seconds=60, **host)
    assert again.before == first.lease
    assert again.lease is not None
    assert first.lease is not None
    assert (again.lease.since, again.lease.purpose) == (first.lease.since, "report")
    time.passed = 100
    _lease.renew("me", seconds=60, **host)
    time.passed = 159
    with pytest.raises(_lease.HeldError):
        _lease.take("you", purpose="drain", seconds=60, **host)


def test_an_expired_one_is_taken_over_and_said_so(host: dict[str, t.Any], time: Time) -> None:
    old = _lease.take("killed", purpose="rebalance", seconds=60, **host)
    time.passed = 60
    assert _lease.read(**host) is None

    taken = _lease.take("me", purpose="rebalance", seconds=60, **host)

    assert taken.taken_over == old.lease
    with pytest.raises(_lease.HeldError, match="leased to me"):
        _lease.renew("killed", seconds=60, **host)
    assert _lease.release("killed", **host).lease == taken.lease
    assert _lease.read(**host) == taken.lease


def test_one_that_was_not_taken_over_can_still_be_renewed(host: dict[str, t.Any], time: Time) -> None:
    _lease.take("me", purpose="rebalance", seconds=60, **host)
    time.passed = 1000
    _lease.renew("me", seconds=60, **host)
    assert _lease.read(**host) is not None


def test_it_is_never_renewed_for_less(host: dict[str, t.Any], time: Time) -> None:
    _lease.take("me", purpose="rebalance", seconds=900, **host)
    time.passed = 100
    _lease.renew("me", seconds=60, **host)
    time.passed = 899
    assert _lease.read(**host) is not None
    time.passed = 900
    assert _lease.read(**host) is None


def test_it_is_given_back_by_its_holder_only(host: dict[str, t.Any]) -> None:
    taken = _lease.take("me", purpose="rebalance", seconds=60, **host)
    assert _lease.release("you", **host).lease == taken.lease
    assert _lease.release("me", **host) == _lease.Taken(None, taken.lease, None)
    assert _lease.release("me", **host) == _lease.Taken(None, None, None)
    with pytest.raises(BalanceError, match="does not hold a lease"):
        _lease.renew("me", seconds=60, **host)


@pytest.mark.parametrize(
    ("taken_in", "step", "boot", "held"),
    [
        ("boot-1", 3600, "boot-1", True),
        ("boot-1", 3600, "boot-2", False),
        ("boot-1", 59, "boot-2", True),
        ("boot-1", 60, "boot-2", False),
        # Where nobody knows it, it may be another one.
        (None, 3600, None, False),
        (None, 0, None, True),
    ],
)
def test_the_time_of_day_counts_only_after_a_new_start_of_the_host(
    host: dict[str, t.Any], time: Time, taken_in: str | None, step: float, boot: str | None, held: bool
) -> None:
    time.boot = taken_in
    _lease.take("me", purpose="rebalance", seconds=60, **host)
    time.step, time.boot = step, boot
    assert (_lease.read(**host) is not None) is held


def test_it_waits_as_long_as_it_may(host: dict[str, t.Any], time: Time) -> None:
    _lease.take("me", purpose="rebalance", seconds=4.5, **host)
    with pytest.raises(_lease.HeldError):
        _lease.take("you", purpose="drain", seconds=60, wait_seconds=2.5, **host)
    assert time.slept == [1, 1, 0.5]

    taken = _lease.take("you", purpose="drain", seconds=60, wait_seconds=3, **host)
    assert taken.lease is not None
    assert taken.lease.owner == "you"


NEVER = (
    '{"schema": 1, "owner": "a", "purpose": "b", "since": 0, "expires_at": %s, "boot_id": "x", "expires_boottime": 0}'
)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        "{}",
        '{"schema": 2}',
        '{"schema": 1, "owner": "a"}',
        '{"schema": 1, "since": null}',
        "\xff",
        NEVER % "NaN",
        NEVER % "1e300",
        NEVER % ("9" * 400),
        NEVER.replace('"schema": 1', '"schema": 2') % "1900000000",
    ],
)
def test_a_file_that_cannot_be_understood_may_be_anybodys(host: dict[str, t.Any], content: str) -> None:
    path = Path(host["root"], _lease.DIRECTORY)
    path.mkdir(parents=True)
    (path / "lease.json").write_text(content, encoding="latin-1")
    for act in (
        lambda: _lease.read(**host),
        lambda: _lease.take("me", purpose="x", seconds=1, **host),
        lambda: _lease.renew("me", seconds=1, **host),
        lambda: _lease.release("me", **host),
    ):
        with pytest.raises(BalanceError, match="remove the file"):
            act()


def test_a_file_of_another_process_is_understood(host: dict[str, t.Any]) -> None:
    path = Path(host["root"], _lease.DIRECTORY)
    path.mkdir(parents=True)
    (path / "lease.json").write_text(NEVER % "1900000000", encoding="utf-8")
    assert _lease.read(**host) == _lease.Lease("a", "b", 0, 1_900_000_000, "x", 0)


def test_a_place_that_cannot_be_written_is_one_sentence(host: dict[str, t.Any]) -> None:
    Path(host["root"], "var").write_text("a file where a directory should be")
    with pytest.raises(_lease.UnusableError, match="cannot be used: Not a directory") as caught:
        _lease.take("me", purpose="x", seconds=1, **host)
    assert caught.value.to_result()["unusable"] is True


def test_a_full_disk_is_nobody_elses_lease(host: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_where: t.Any) -> t.NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = _lease.take("me", purpose="x", seconds=60, **host).lease
    monkeypatch.setattr(tempfile, "mkstemp", full)
    for act in (
        lambda: _lease.take("me", purpose="x", seconds=90, **host),
        lambda: _lease.renew("me", seconds=90, **host),
    ):
        with pytest.raises(_lease.UnusableError, match="cannot be used: No space left on device"):
            act()
    assert _lease.read(**host) == before
    # Who has it is told first, and it can be given back.
    with pytest.raises(_lease.HeldError):
        _lease.take("you", purpose="x", seconds=1, **host)
    assert _lease.release("me", **host).lease is None


def test_what_was_not_written_whole_leaves_nothing(host: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_paths: str) -> t.NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(_lease.UnusableError, match="cannot be used: Input/output error"):
        _lease.take("me", purpose="x", seconds=60, **host)
    assert [path.name for path in Path(host["root"], _lease.DIRECTORY).iterdir()] == ["lease.lock"]


def test_everybody_may_read_it_and_it_is_on_the_disk(host: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: on_disk.append(os.fstat(handle).st_size))
    before = os.umask(0o022)
    try:
        _lease.take("me", purpose="x", seconds=60, **host)
    finally:
        os.umask(before)
    place = Path(host["root"], _lease.DIRECTORY)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (place, *place.iterdir())}
    assert modes == {place.name: 0o755, "lease.json": 0o644, "lease.lock": 0o600}
    assert on_disk == [(place / "lease.json").stat().st_size]


def test_the_boot_is_told_by_the_kernel() -> None:
    assert _lease.Clock().boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def test_a_process_that_keeps_the_lock_is_told_of_after_some_seconds(host: dict[str, t.Any], time: Time) -> None:
    with _lease._locked(**host), pytest.raises(_lease.UnusableError, match="has locked"):
        _lease.take("me", purpose="x", seconds=1, **host)
    assert time.passed == pytest.approx(10, abs=0.1)


def test_it_is_kept_while_something_runs(tmp_path: Path) -> None:
    root = str(tmp_path)
    _lease.take("me", purpose="x", seconds=0.05, root=root)
    path = tmp_path / _lease.DIRECTORY / "lease.json"
    renewed = threading.Event()

    def look() -> None:
        first = json.loads(path.read_text())["expires_boottime"]
        while json.loads(path.read_text())["expires_boottime"] == first:
            pass
        renewed.set()

    with _lease.kept("me", seconds=0.05, root=root):
        threading.Thread(target=look, daemon=True).start()
        assert renewed.wait(10)
    assert not any(thread.name == "lease" for thread in threading.enumerate())


def test_it_is_renewed_well_before_its_time_is_over(host: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if timeout is not None:
                waits.append(timeout)
            return super().wait(timeout)

    monkeypatch.setattr(threading, "Event", Event)
    _lease.take("me", purpose="x", seconds=60, **host)
    with _lease.kept("me", seconds=60, **host):
        pass
    assert waits == [20]


@pytest.mark.parametrize("seconds", [0, 604_801, float("nan")])
@pytest.mark.parametrize("owner", ["me", None])
def test_a_time_that_makes_no_sense_is_not_kept(host: dict[str, t.Any], owner: str | None, seconds: float) -> None:
    with pytest.raises(BalanceError, match="lease_seconds must be"), _lease.kept(owner, seconds=seconds, **host):
        pytest.fail("it ran")


def test_nothing_starts_without_the_lease(host: dict[str, t.Any]) -> None:
    with pytest.raises(BalanceError, match="does not hold"), _lease.kept("me", seconds=60, **host):
        pytest.fail("it ran")


def _race(root: str, name: str, start: t.Any, results: t.Any) -> None:
    start.wait()
    try:
        _lease.take(name, purpose="race", seconds=600, root=root)
    except _lease.HeldError as error:
        results.put((name, error.lease.owner))
    else:
        results.put((name, name))


_HOSTS = ("kvm1", "kvm2", "kvm3")


def _run(place: str, name: str, order: list[str], start: t.Any, acting: t.Any, results: t.Any) -> None:
    """What a run does with leases, as the role balance does it: all hosts at once, and who has not got the first one
    by name gives back what it has; who has it waits for the others."""
    roots = {host: f"{place}/{host}" for host in _HOSTS}
    start.wait()
    held = [host for host in order if _takes(name, roots[host])]
    if len(held) < len(_HOSTS):
        if _HOSTS[0] not in held:
            for host in held:
                _lease.release(name, root=roots[host])
            results.put((name, False, 0))
            return
        impatient = _lease.Clock(sleep=lambda _seconds: pause(0.002))
        for host in set(_HOSTS) - set(held):
            _lease.take(name, purpose="race", seconds=600, wait_seconds=30, root=roots[host], clock=impatient)
    with acting.get_lock():
        acting.value += 1
        most = acting.value
    _lease.renew(name, seconds=600, root=roots[_HOSTS[-1]])
    with acting.get_lock():
        acting.value -= 1
    results.put((name, True, most))


def _takes(name: str, root: str) -> bool:
    try:
        _lease.take(name, purpose="race", seconds=600, root=root)
    except _lease.HeldError:
        return False
    return True


def test_of_two_runs_over_several_hosts_at_the_same_moment_one_acts_fifty_times_over(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for number in range(50):
        start, acting, results = context.Barrier(2), context.Value("i", 0), context.Queue()
        # Forks do not reach hosts in the order of their names.
        orders = {"cron": list(_HOSTS), "awx": [*_HOSTS[number % 3 :], *_HOSTS[: number % 3]][::-1]}
        runs = [
            context.Process(target=_run, args=(str(tmp_path / str(number)), name, order, start, acting, results))
            for name, order in orders.items()
        ]
        for run in runs:
            run.start()
        told = [results.get(timeout=60) for _run_ in runs]
        for run in runs:
            run.join()
        assert sorted((acted, most) for _name, acted, most in told) == [(False, 0), (True, 1)]


def test_of_many_processes_at_the_same_moment_one_gets_it_fifty_times_over(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for number in range(50):
        root = tmp_path / str(number)
        start, results = context.Barrier(8), context.Queue()
        names = [f"run-{contender}" for contender in range(8)]
        contenders = [context.Process(target=_race, args=(str(root), name, start, results)) for name in names]
        for contender in contenders:
            contender.start()
        told = dict(results.get(timeout=60) for _name in names)
        for contender in contenders:
            contender.join()
        assert sorted(told) == names
        holders = [name for name in names if told[name] == name]
        assert len(holders) == 1
        assert set(told.values()) == set(holders), "everybody was told of the one who acts"
