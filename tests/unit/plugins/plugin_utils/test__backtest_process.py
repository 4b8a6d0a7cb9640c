# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t
from datetime import UTC, datetime

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils import _backtest_process
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.recording import (
    RecordedDomain,
    RecordedHost,
    Recording,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.replay import Replay
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.settings import Settings
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest_process import (
    Job,
    Progress,
    replay_all,
    work,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError

SUITS = {"type": "kvm", "cpu": {"mode": "custom"}}
# It moves at once and often, so that a decision that was lost would be seen.
EAGER = {
    "demand": {"name": "observation"},
    "host_demand": {"name": "observation"},
    "threshold": 0.05,
    "cooldown_seconds": 0,
}


def recording(steps: int = 12) -> Recording:
    """Domains of which another one is busy at each time."""
    domains = {
        name: RecordedDomain(
            uuid=name,
            name=name,
            vcpus=4,
            memory_mib=1024.0,
            where=["kvm1"] * steps,
            wanted=[3.0 if step % 4 == number else 0.5 for step in range(steps)],
            facts=SUITS,
        )
        for number, name in enumerate(("a", "b", "c", "d"))
    }
    hosts = {name: RecordedHost(name=name, threads=4, memory_mib=16384.0) for name in ("kvm1", "kvm2")}
    return Recording(datetime(2026, 1, 31, 12, tzinfo=UTC), 300.0, steps, hosts, domains)


def job(directory: pathlib.Path) -> Job:
    return Job("eager", EAGER, directory / "a.journal", directory / "a.json")


def result(path: pathlib.Path) -> dict[str, t.Any]:
    found: dict[str, t.Any] = json.loads(path.read_text(encoding="utf-8"))
    assert found.pop("cpu_seconds") >= 0
    return found


def test_a_replay_that_was_killed_goes_on_where_it_ended(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    work(job(whole), recording(), Settings())

    made: list[int] = []
    step = Replay.step

    def killed_at(run: int) -> t.Callable[[Replay], dict[str, t.Any]]:
        def counted(self: Replay) -> dict[str, t.Any]:
            if self.done == run:
                raise KeyboardInterrupt
            made.append(self.done)
            return step(self)

        return counted

    for run in (5, 8):
        monkeypatch.setattr(Replay, "step", killed_at(run))
        with pytest.raises(KeyboardInterrupt):
            work(job(parts), recording(), Settings())
        # The next line was being written.
        with (parts / "a.journal").open("a", encoding="utf-8") as file:
            file.write('{"cpu_seconds": 1.0, "decis')
    monkeypatch.setattr(Replay, "step", killed_at(99))
    work(job(parts), recording(), Settings())

    assert made == list(range(11)), "nothing is planned twice"
    assert result(parts / "a.json") == result(whole / "a.json")
    assert result(parts / "a.json")["moves"] > 3, "nothing that could have been lost"
    assert not (parts / "a.journal").exists()


def test_processes_find_the_same_and_nothing_is_replayed_twice(tmp_path: pathlib.Path) -> None:
    told: list[str] = []
    policies = {"eager": EAGER, "default": {}}
    (tmp_path / "alone").mkdir()
    work(job(tmp_path / "alone"), recording(), Settings())

    first = replay_all(recording(), policies, Settings(), tmp_path, tell=told.append)
    assert list(first) == ["eager", "default"]
    assert {**first["eager"], "cpu_seconds": None} == {**result(tmp_path / "alone" / "a.json"), "cpu_seconds": None}
    assert told == []

    again = replay_all(recording(), policies, Settings(), tmp_path, tell=told.append)
    assert again == first
    assert told == ["backtest: the results of 2 of 2 policies are known from an earlier one"]
    files = set(tmp_path.glob("*.json"))
    replay_all(recording(11), {"eager": EAGER}, Settings(), tmp_path)
    replay_all(recording(), {"eager": EAGER}, Settings(history_minutes=0), tmp_path)
    assert len(set(tmp_path.glob("*.json")) - files) == 2, "another recording, and other settings, begin anew"


def test_what_is_wrong_in_a_process_is_one_sentence(tmp_path: pathlib.Path) -> None:
    with pytest.raises(BalanceError, match=r"^Policy 'odd' cannot be replayed: .*threshold must be a number"):
        replay_all(recording(), {"odd": {"threshold": "high"}}, Settings(), tmp_path)


def test_two_at_the_same_journal_do_not_mix(tmp_path: pathlib.Path) -> None:
    import fcntl

    with (tmp_path / "a.journal").open("ab") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        with pytest.raises(BalanceError, match=r"^another backtest is at it\."):
            work(job(tmp_path), recording(), Settings())


def test_a_process_ends_when_nobody_waits_for_it_any_more(tmp_path: pathlib.Path) -> None:
    data = _backtest_process.pickle.dumps((recording(50_000), Settings()))
    worker = _backtest_process._Worker(job(tmp_path), data)
    try:
        assert not worker.ended()
        worker._close()
        assert worker._process.wait(60) == 1
    except subprocess.TimeoutExpired:
        pytest.fail("it goes on")
    finally:
        worker.kill()


def test_progress_says_how_far_it_is_and_how_long_it_takes(tmp_path: pathlib.Path) -> None:
    jobs = [Job(name, {}, tmp_path / name, tmp_path / f"{name}.json") for name in ("calm", "eager")]
    jobs[0].journal.write_bytes(b"{}\n" * 10)
    progress = Progress(jobs, 100)
    assert progress.line(0.0) is None
    jobs[0].journal.write_bytes(b"{}\n" * 50)
    jobs[1].journal.write_bytes(b"{}\n" * 10)
    assert progress.line(4.0) is None
    assert progress.line(5.0) == (
        "backtest: 0 of 2 policies are done, at work on calm (50 %), eager (10 %), about 14 s left"
    )
    assert progress.line(6.0) is None


def test_a_policy_that_is_done_counts_with_all_its_runs(tmp_path: pathlib.Path) -> None:
    jobs = [Job(name, {}, tmp_path / name, tmp_path / f"{name}.json") for name in ("calm", "eager")]
    progress = Progress(jobs, 100)
    assert progress.line(0.0) is None
    jobs[0].journal.write_bytes(b"{}\n" * 5)
    assert progress.line(5.0) == "backtest: 0 of 2 policies are done, at work on calm (5 %), about 3 min left"
    # Its journal goes with its end, whatever was read of it.
    jobs[0].journal.unlink()
    progress.end(jobs[0])
    jobs[1].journal.write_bytes(b"{}\n" * 50)
    assert progress.line(15.0) == "backtest: 1 of 2 policies are done, at work on eager (50 %), about 5 s left"


def test_one_policy_alone_is_told_by_its_runs(tmp_path: pathlib.Path) -> None:
    alone = job(tmp_path)
    alone.journal.write_bytes(b"{}\n" * 10)
    progress = Progress([alone], 40)
    assert progress.going_on() == ["eager (25 %)"]
    assert progress.line(0.0) is None
    alone.journal.write_bytes(b"{}\n" * 20)
    assert progress.line(5.0) == "backtest: 20 of 40 runs, about 10 s left"
