# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What a run does one after the other, on which hosts, and when it goes no further."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._run.steps import Work, may_start, steps

WAVES: list[dict[str, t.Any]] = [
    {"number": 1, "seconds": 4.2, "moves": [{"source": "kvm1", "destination": "kvm2"}]},
    {"number": 2, "seconds": None, "moves": [{"source": "kvm3", "destination": "kvm1"}]},
]
ALL = ["wake", "finish", "remember", "inside", "waves", "restarts", "observe", "outcome", "sleep"]


def listed(kinds: list[str], plan: dict[str, t.Any], **more: t.Any) -> list[tuple[str, list[str]]]:
    return [(step["file"], step["hosts"]) for step in steps(kinds, Work({"waves": [], **plan}, **more))]


def test_where_nothing_is_to_be_done_only_the_outcome_is_left() -> None:
    assert listed(ALL, {}) == [("outcome", [])]


def test_marks_alone_are_no_reason_to_observe_again() -> None:
    assert listed(ALL, {"marks": {"kvm1": {}, "kvm2": {}}}, unleased=["kvm2"]) == [
        ("remember_on_host", ["kvm1"]),
        ("outcome", []),
    ]


def test_steps_concern_the_hosts_that_have_something_to_do() -> None:
    plan = {
        "waves": WAVES,
        "restarts": [{"source": "kvm4", "destination": "kvm1"}, {"source": "kvm4", "destination": "kvm2"}],
        "inside": [{"host": "kvm5", "action": "vcpu"}, {"host": "kvm6", "action": "vcpu"}],
        "sleep": [{"host": "kvm7"}],
    }
    interrupted = [{"source": "kvm9", "finish": "destination"}, {"source": "kvm8", "finish": None}]
    work = {"unfinished": ["kvm6", "kvm1"], "unleased": ["kvm6"], "interrupted": interrupted}
    found = steps(ALL, Work(plan, shutdown_seconds=100, **work))  # type: ignore[arg-type]
    assert [(step["file"], step["hosts"], step["seconds"], step["ordered"]) for step in found] == [
        ("finish_on_host", ["kvm1", "kvm9"], 0, False),
        ("inside_on_host", ["kvm5"], 0, False),
        ("wave", ["kvm1"], 4.2, True),
        ("wave", ["kvm3"], 0, True),
        ("restart_on_host", ["kvm4"], 200, True),
        ("observe", [], 0, False),
        ("outcome", [], 0, False),
        ("sleep", [], 0, False),
    ]
    assert found[2]["wave"] == WAVES[0]
    assert [step["tasks"] for step in found[4:]] == ["step", "observe", "outcome", "sleep"]


def test_hosts_are_woken_before_anything_else_is_decided() -> None:
    assert listed(ALL, {"waves": WAVES, "wake": [{"host": "kvm9"}]}) == [("wake_and_act", [])]


def test_an_allocation_makes_room_before_it_takes_it() -> None:
    planned = [
        {"host": "kvm1", "state": "stop"},
        {"host": "kvm1", "state": "stop"},
        {"host": "kvm2", "state": "create"},
        {"host": "kvm3", "state": "run"},
    ]
    work = Work({"waves": WAVES, "steps": planned}, shutdown_seconds=10)
    found = steps(["stop", "waves", "create"], work)
    assert [(step["states"], step["hosts"], step["seconds"]) for step in found if step["states"]] == [
        (["stop"], ["kvm1"], 20),
        (["create", "run"], ["kvm2", "kvm3"], 10),
    ]
    assert [step["file"] for step in found] == ["states_on_host", "wave", "wave", "states_on_host"]
    assert listed(["create"], {"steps": planned}, states=["run"]) == [("states_on_host", ["kvm3"])]


@pytest.mark.parametrize("key", ["failed", "unreachable", "skipped"])
def test_none_starts_after_a_move_that_did_not_happen(key: str) -> None:
    assert may_start({"waves": WAVES}, [{"changed": True, "failed": False}], gone=[])
    assert not may_start({"waves": WAVES}, [{"changed": True}, {key: True}], gone=[])


@pytest.mark.parametrize(
    ("plan", "missed", "start"),
    [
        ({}, {"move": {"number": 1}, "failed": True}, True),
        ({}, {"move": {"number": 1}, "left_out": "web-1 has not left kvm1"}, True),
        # A host that failed before its first move, and what is no move.
        ({}, {"failed": True, "msg": "No."}, False),
        ({}, {"restart": {"domain": "1"}, "skipped": True}, False),
        # An allocation shuts domains down for its moves and creates others after them.
        ({"steps": []}, {"move": {"number": 1}, "failed": True}, False),
    ],
)
def test_moves_of_a_wave_are_looked_at_one_by_one(
    plan: dict[str, t.Any], missed: dict[str, t.Any], start: bool
) -> None:
    assert may_start({"waves": WAVES, **plan}, [{"changed": True}, missed], gone=[], wave=True) is start
    assert not may_start({"waves": WAVES, **plan}, [{"changed": True}, missed], gone=[])
    assert not may_start({"waves": WAVES, **plan}, [], gone=["kvm1"], wave=True)


@pytest.mark.parametrize(
    ("more", "gone", "start"),
    [
        ({}, [], True),
        ({}, ["kvm4"], True),
        ({}, ["kvm1"], False),
        ({}, ["kvm2"], False),
        ({"steps": [{"host": "kvm4"}]}, ["kvm4"], False),
        ({"restarts": [{"source": "kvm1", "destination": "kvm4"}]}, ["kvm4"], False),
    ],
)
def test_none_starts_without_a_host_that_has_a_part_in_the_plan(
    more: dict[str, t.Any], gone: list[str], start: bool
) -> None:
    assert may_start({"waves": WAVES, **more}, [], gone=gone) is start
