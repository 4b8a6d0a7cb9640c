# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._report import brief
from ansible_collections.virtops.balance.plugins.plugin_utils._report.brief import BALANCE_ROLE, Place

TASKS = pathlib.Path(__file__).resolve().parents[5] / "roles" / "balance" / "tasks"


def places(*files: str, role: str | None = BALANCE_ROLE) -> list[Place]:
    return [*(Place(role, file) for file in files), Place(None, "rebalance")]


@pytest.mark.parametrize(
    ("files", "phase"),
    [
        (["observe"], "observe"),
        (["save", "answered", "plan"], "plan"),
        (["lease", "drain"], "lease"),
        (["observe", "report", "drain", "round"], "verify"),
        (["finish_on_host", "step"], "repair"),
        (["save"], None),
        ([], None),
    ],
)
def test_the_outermost_file_that_is_a_phase_names_it(files: list[str], phase: str | None) -> None:
    assert brief.phase_of(places(*files)) == phase


def test_files_of_other_roles_are_no_phase() -> None:
    assert brief.phase_of(places("observe", role="example.other.role")) is None


@pytest.mark.parametrize(
    ("given", "phase"),
    [
        ("backup", "backup"),
        (" two words ", "two words"),
        ("{{ name }}", "plan"),
        ("", "plan"),
        (None, "plan"),
        (3, "plan"),
    ],
)
def test_what_a_block_is_called_comes_first(given: object, phase: str) -> None:
    assert brief.phase_of(places("plan"), given) == phase


def test_every_phase_is_a_file_of_the_role() -> None:
    assert set(brief.PHASES) <= {path.stem for path in TASKS.glob("*.yml")}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (3.14, "3.1 s"), (59.94, "59.9 s"), (125, "2 min 5 s"), (3600, "1 h 0 min"), (7384, "2 h 3 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert brief.duration(seconds) == text


def test_phases_are_a_table() -> None:
    assert [brief.timed("plan", 3), brief.timed("observe", 125)] == [
        "plan             3.0 s",
        "observe      2 min 5 s",
    ]


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"msg": "kvm1 is full."}, "kvm1 is full."),
        ({"msg": "Task failed: Action failed: kvm1 is full."}, "kvm1 is full."),
        ({"msg": "'a' is undefined\n\nThe error appears to be in '/p.yml': line 2"}, "'a' is undefined"),
        ({"msg": ["one", "two"]}, "one\ntwo"),
        ({"msg": "one\ntwo"}, "one\ntwo"),
        ({"msg": "non-zero return code", "stdout": "out\n", "stderr": "bad\n"}, "non-zero return code\nbad\nout"),
        ({"msg": "failed: bad", "stderr": "bad"}, "failed: bad"),
        ({"reason": "no such file"}, "no such file"),
        ({"censored": "hidden"}, "hidden"),
        ({"msg": "\x1b[31mred\x07"}, "\\x1b[31mred\\x07"),
        ({}, "it failed without a message"),
    ],
)
def test_a_failure_is_its_message_in_full(result: dict[str, t.Any], text: str) -> None:
    assert brief.message(result) == text


def test_many_hosts_are_a_number() -> None:
    assert brief.named(["a", "b"]) == "a, b"
    assert brief.named([f"kvm{number}" for number in range(6)]) == "6 hosts"


def test_a_text_is_found_again_where_it_was_wrapped() -> None:
    assert brief.squeezed("web-1 could not leave") in brief.squeezed("DONE.\nweb-\n  1 could  not\nleave kvm1")
