# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What a host remembers."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _marks
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError

NONE: dict[str, t.Any] = {
    "uneven_rounds": 0,
    "idle_rounds": 0,
    "detection": None,
    "asleep": {},
    "inside": {},
    "drained": None,
    "maintained": None,
}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    marks = {"uneven_rounds": 2, "idle_rounds": 1, "detection": {"detector": "otf"}, "asleep": {"kvm3": {}}}
    marks["inside"] = {"vcpu": "2026-01-31T12:00:00Z"}
    marks["drained"] = {"since": "2026-01-31T12:00:00Z", "purpose": "a new disk"}
    marks["maintained"] = "patches"
    _marks.write(marks, root=str(tmp_path))

    assert _marks.read(root=str(tmp_path)) == marks
    assert [path.name for path in (tmp_path / _marks.PATH).parent.iterdir()] == ["marks.json"]


@pytest.mark.parametrize(
    "content",
    [None, "", "{", "[]", '{"schema": 2, "uneven_rounds": 3}', '{"schema": 1, "uneven_rounds": -1}']
    + [f'{{"schema": 1, "uneven_rounds": {wrong}}}' for wrong in ('"2"', "null", "true", "1.5")],
)
def test_anything_else_counts_as_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / _marks.PATH).parent.mkdir(parents=True)
        (tmp_path / _marks.PATH).write_text(content)

    assert _marks.read(root=str(tmp_path)) == NONE


def test_one_wrong_mark_leaves_the_others(tmp_path: Path) -> None:
    _marks.write(
        {"uneven_rounds": 2, "idle_rounds": -1, "detection": [], "asleep": "kvm3", "inside": 1, "maintained": 1},
        root=str(tmp_path),
    )

    assert _marks.read(root=str(tmp_path)) == {**NONE, "uneven_rounds": 2}


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file where a directory should be")

    with pytest.raises(BalanceError, match="cannot be written"):
        _marks.write({"uneven_rounds": 1}, root=str(tmp_path))
