# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The states of the last run, from what it saved."""

from __future__ import annotations

import json
import os
import pathlib
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.lookup import last_states
from ansible_collections.virtops.balance.plugins.lookup.last_states import LookupModule


@pytest.fixture
def runs(tmp_path: pathlib.Path) -> t.Callable[..., pathlib.Path]:
    """Save what a run saved, each newer than the one before."""
    count = iter(range(1, 100))

    def save(run: str, states: dict[str, str] | str, name: str = "snapshot.json") -> pathlib.Path:
        (tmp_path / run).mkdir(exist_ok=True)
        hosts = {host: {"state": state} for host, state in states.items()} if isinstance(states, dict) else {}
        path = tmp_path / run / name
        path.write_text(states if isinstance(states, str) else json.dumps({"hosts": hosts}), encoding="utf-8")
        moment = 1_000_000 + next(count)
        os.utime(path, (moment, moment))
        return path

    return save


def found(directory: pathlib.Path) -> dict[str, str]:
    (states,) = LookupModule().run([str(directory)])
    return states


def test_the_newest_counts_wherever_the_next_run_saves_its_own(
    runs: t.Callable[..., pathlib.Path], tmp_path: pathlib.Path
) -> None:
    assert found(tmp_path / "now") == {}
    assert found(tmp_path / "nowhere" / "now") == {}
    runs("z-first", {"kvm1": "unknown"})
    runs("second", {"kvm1": "drained"})
    (tmp_path / "last").symlink_to("second")
    assert found(tmp_path / "now") == {"kvm1": "drained"}
    runs("second", {"kvm1": "unknown"}, "snapshot_after.json")
    assert found(tmp_path / "now") == {"kvm1": "unknown"}
    runs("now", {"kvm1": "active"})
    assert found(tmp_path / "now") == {"kvm1": "active"}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"hosts": []}', '{"hosts": {"kvm1": {}}}', '{"hosts": {"a": 1}}'])
def test_what_a_killed_run_left_does_not_count(
    runs: t.Callable[..., pathlib.Path], tmp_path: pathlib.Path, content: str
) -> None:
    runs("whole", {"kvm1": "active"})
    runs("half", content)
    assert found(tmp_path / "now") == {"kvm1": "active"}


def test_what_somebody_else_saved_does_not_count(
    runs: t.Callable[..., pathlib.Path], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs("theirs", {"kvm1": "active"})
    monkeypatch.setattr(last_states.os, "getuid", lambda: os.stat(tmp_path).st_uid + 1)
    assert found(tmp_path / "now") == {}
