# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What a host remembers."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._host import marks as host_marks

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
    host_marks.write(marks, root=str(tmp_path))

    assert host_marks.read(root=str(tmp_path)) == marks
    assert [path.name for path in (tmp_path / host_marks.PATH).parent.iterdir()] == ["marks.json"]


def test_a_host_without_the_file_was_never_marked(tmp_path: Path) -> None:
    assert host_marks.read(root=str(tmp_path)) == NONE
    (tmp_path / "var").touch()  # where there is no directory there is no file either
    assert host_marks.observe(root=str(tmp_path)) == {"marks": NONE, "marks_problem": None}


def test_a_mark_that_is_null_was_never_made(tmp_path: Path) -> None:
    host_marks.write(dict.fromkeys(NONE), root=str(tmp_path))
    assert host_marks.read(root=str(tmp_path)) == NONE


WHOLE = '{"schema": 1, "drained": {"since": "2026-01-31T12:00:00Z", "purpose": "a new disk"}}'


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "is not valid JSON"),
        (WHOLE[:-1], "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        (b"\xff\xfe" + WHOLE.encode(), "is not valid JSON"),
        ("[]", "has no valid schema"),
        ("null", "has no valid schema"),
        ("{}", "has no valid schema"),
        ('{"schema": true}', "has no valid schema"),
        ('{"schema": "1"}', "has no valid schema"),
        ('{"schema": 2, "uneven_rounds": 3}', "is of a newer version of the collection (schema 2, this one knows 1)"),
        *(
            (f'{{"schema": 1, "{name}": {wrong}}}', f"has a value for {name} that is not valid")
            for name, wrong in [
                *(("uneven_rounds", wrong) for wrong in ("-1", '"2"', "true", "1.5", "[]")),
                ("idle_rounds", "-1"),
                ("detection", "[]"),
                ("asleep", '"kvm3"'),
                ("inside", "1"),
                ("maintained", "1"),
            ]
        ),
    ],
)
def test_what_nobody_knows_counts_as_that_and_not_as_none(tmp_path: Path, content: str | bytes, why: str) -> None:
    path = tmp_path / host_marks.PATH
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)

    with pytest.raises(host_marks.MarksError) as caught:
        host_marks.read(root=str(tmp_path))

    assert str(caught.value).startswith(f"It is not known whether this host is drained: {path} {why}")
    assert host_marks.observe(root=str(tmp_path)) == {"marks": None, "marks_problem": str(caught.value)}


def test_a_file_that_cannot_be_read_is_not_one_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / host_marks.PATH).mkdir(parents=True)
    with pytest.raises(host_marks.MarksError, match=r"marks\.json cannot be read \(Is a directory\)\. Repair the file"):
        host_marks.read(root=str(tmp_path))


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file where a directory should be")

    with pytest.raises(BalanceError, match="cannot be written"):
        host_marks.write({"uneven_rounds": 1}, root=str(tmp_path))
