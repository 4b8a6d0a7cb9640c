# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What a host remembers."""

from __future__ import annotations

import errno
import json
import os
import stat
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
    "refusals": [],
    "drained": None,
    "maintained": None,
}

REFUSAL: dict[str, t.Any] = {
    "domain": "u-1",
    "destination": "kvm2",
    "reason": "no bridge",
    "at": "2026-01-31T12:00:00Z",
    "times": 2,
}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    marks = {"uneven_rounds": 2, "idle_rounds": 1, "detection": {"detector": "otf"}, "asleep": {"kvm3": {}}}
    marks["inside"] = {"vcpu": "2026-01-31T12:00:00Z"}
    marks["drained"] = {"since": "2026-01-31T12:00:00Z", "purpose": "a new disk"}
    marks["refusals"] = [REFUSAL]
    marks["maintained"] = "patches"
    host_marks.write(marks, root=str(tmp_path))

    assert host_marks.read(root=str(tmp_path)) == marks
    assert [path.name for path in (tmp_path / host_marks.PATH).parent.iterdir()] == ["marks.json"]


def test_a_host_without_the_file_was_never_marked(tmp_path: Path) -> None:
    assert host_marks.read(root=str(tmp_path)) == NONE
    (tmp_path / "var").touch()  # where there is no directory there is no file either
    assert host_marks.observe(root=str(tmp_path)) == {"marks": NONE, "marks_problem": None}


def test_a_mark_of_a_newer_version_with_the_same_schema_is_not_lost(tmp_path: Path) -> None:
    host_marks.write({"colour": {"since": "2026"}, "idle_rounds": 1}, root=str(tmp_path))
    host_marks.write({**host_marks.read(root=str(tmp_path)), "idle_rounds": 2}, root=str(tmp_path))
    assert host_marks.read(root=str(tmp_path)) == {**NONE, "idle_rounds": 2, "colour": {"since": "2026"}}


def test_a_refusal_may_have_keys_of_a_newer_version(tmp_path: Path) -> None:
    newer = {**REFUSAL, "kind": "bridge"}
    host_marks.write({"refusals": [newer]}, root=str(tmp_path))
    assert host_marks.read(root=str(tmp_path))["refusals"] == [newer]


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
        ('{"schema": 0}', "has no valid schema"),
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
                *(("refusals", wrong) for wrong in ("{}", '"kvm2"', "[1]", "[{}]")),
                *(
                    ("refusals", json.dumps([{**REFUSAL, **wrong}]))
                    for wrong in t.cast(
                        "list[dict[str, t.Any]]",
                        [
                            {"domain": None},
                            {"destination": 2},
                            {"reason": []},
                            {"at": "yesterday"},
                            {"at": "2026-01-31T12:00:00"},
                            {"times": 0},
                            {"times": True},
                            {"times": "2"},
                        ],
                    )
                ),
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


@pytest.mark.parametrize(
    ("drained", "read"),
    [
        ({}, None),
        (False, None),
        (True, {"since": "", "purpose": ""}),
        ("for a new disk", {"since": "", "purpose": ""}),
        ({"since": None, "by": "me"}, {"since": "", "purpose": ""}),
        ({"purpose": 7}, {"since": "", "purpose": "7"}),
    ],
)
def test_whatever_is_not_empty_means_that_it_is_drained(
    tmp_path: Path, drained: t.Any, read: dict[str, str] | None
) -> None:
    host_marks.write({"drained": drained, "idle_rounds": 0}, root=str(tmp_path))
    assert host_marks.read(root=str(tmp_path)) == {**NONE, "drained": read}


def test_a_file_that_cannot_be_read_is_not_one_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / host_marks.PATH).mkdir(parents=True)
    with pytest.raises(host_marks.MarksError, match=r"marks\.json cannot be read \(Is a directory\)\. Repair the file"):
        host_marks.read(root=str(tmp_path))


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file where a directory should be")

    with pytest.raises(BalanceError, match="cannot be written"):
        host_marks.write({"uneven_rounds": 1}, root=str(tmp_path))


def test_what_was_not_written_whole_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_paths: str) -> t.NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    host_marks.write({"uneven_rounds": 1}, root=str(tmp_path))
    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(BalanceError, match="cannot be written"):
        host_marks.write({"uneven_rounds": 2}, root=str(tmp_path))
    assert host_marks.read(root=str(tmp_path))["uneven_rounds"] == 1
    assert [path.name for path in (tmp_path / host_marks.PATH).parent.iterdir()] == ["marks.json"]


def test_everybody_may_read_them_and_they_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: on_disk.append(os.fstat(handle).st_size))
    before = os.umask(0o022)
    try:
        host_marks.write({"uneven_rounds": 1}, root=str(tmp_path))
    finally:
        os.umask(before)
    path = tmp_path / host_marks.PATH
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path.parent, path)] == [0o755, 0o644]
    assert on_disk == [path.stat().st_size]
