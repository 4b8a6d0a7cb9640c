# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from functools import partial
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtops.balance.plugins.module_utils._host import marks as host_marks
from ansible_collections.virtops.balance.plugins.modules import host_mark

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


class Host:
    """A host on which the module runs; its files are in a directory."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.capsys = root, capsys

    def run(self, **options: t.Any) -> dict[str, t.Any]:
        with patch_module_args(options), pytest.raises(SystemExit):
            host_mark.main()
        result: dict[str, t.Any] = json.loads(self.capsys.readouterr().out)
        return result


@pytest.fixture
def host(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(host_mark, "host_marks", _At(tmp_path))
    return Host(tmp_path, capsys)


class _At:
    def __init__(self, root: Path) -> None:
        self.read, self.write = partial(host_marks.read, root=str(root)), partial(host_marks.write, root=str(root))


def test_what_is_not_given_stays(host: Host) -> None:
    first = host.run(idle_rounds=2, detection={"detector": "otf"}, asleep={"kvm3": {"threads": 8}})
    assert first["changed"] is True
    assert first["marks"] == {
        **NONE,
        "idle_rounds": 2,
        "detection": {"detector": "otf"},
        "asleep": {"kvm3": {"threads": 8}},
    }
    second = host.run(uneven_rounds=1)
    assert second["marks"] == {**first["marks"], "uneven_rounds": 1}
    assert second["diff"] == {"before": first["marks"], "after": second["marks"]}
    assert host.run(uneven_rounds=1)["changed"] is False


def test_what_is_empty_is_forgotten(host: Host) -> None:
    host.run(detection={"detector": "otf"}, asleep={"kvm3": {}})
    assert host.run(detection={}, asleep={})["marks"] == NONE
    assert host_marks.read(root=str(host.root)) == NONE


REFUSAL = {"domain": "u-1", "destination": "kvm2", "reason": "no bridge", "at": "2026-01-31T12:00:00Z", "times": 2}


def test_refusals_are_replaced_and_forgotten(host: Host) -> None:
    assert host.run(refusals=[REFUSAL], idle_rounds=1)["marks"]["refusals"] == [REFUSAL]
    assert host.run(uneven_rounds=1)["marks"]["refusals"] == [REFUSAL]
    assert host.run(refusals=[REFUSAL])["changed"] is False
    assert host.run(refusals=[])["marks"] == {**NONE, "idle_rounds": 1, "uneven_rounds": 1}
    assert host.run(refusals=[])["changed"] is False


@pytest.mark.parametrize("wrong", [{"at": "noon"}, {"times": 0}])
def test_a_refusal_that_no_later_run_could_read_is_not_written(host: Host, wrong: dict[str, t.Any]) -> None:
    found = host.run(refusals=[{**REFUSAL, **wrong}])
    assert "at must be a time such as 2026-01-31T12:00:00Z, and times at least 1" in found["msg"]
    assert not (host.root / host_marks.PATH).exists()


def test_a_mark_of_a_newer_version_stays(host: Host) -> None:
    host_marks.write({"colour": "red"}, root=str(host.root))
    assert host.run(idle_rounds=1)["marks"] == {**NONE, "idle_rounds": 1, "colour": "red"}


def test_check_mode_writes_nothing(host: Host) -> None:
    found = host.run(idle_rounds=3, _ansible_check_mode=True)
    assert (found["changed"], found["marks"]["idle_rounds"]) == (True, 3)
    assert list(host.root.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, f"one of the following is required: {', '.join(NONE)}"),
        ({"drained_for": "a new disk", "idle_rounds": 1}, "missing parameter(s) required by 'drained_for': drained"),
        ({"uneven_rounds": -1}, "uneven_rounds must be a number from 0 to 1,000,000, but it is -1."),
        ({"idle_rounds": -1}, "idle_rounds must be a number from 0 to 1,000,000, but it is -1."),
    ],
)
def test_mistakes(host: Host, options: dict[str, t.Any], message: str) -> None:
    found = host.run(**options)
    assert found["failed"] is True
    assert found["msg"] == message


def test_a_drained_host_stays_drained_for_what_it_was_first(host: Host) -> None:
    first = host.run(drained=True, drained_for="a new disk")
    assert first["changed"] is True
    assert first["marks"]["drained"]["purpose"] == "a new disk"
    assert first["marks"]["drained"]["since"].endswith("Z")
    again = host.run(drained=True, drained_for="maintenance")
    assert (again["changed"], again["marks"]) == (False, first["marks"])
    assert host.run(idle_rounds=1)["marks"]["drained"] == first["marks"]["drained"]
    # Who drained it for something else gives back nothing.
    assert host.run(drained=False, drained_for="maintenance")["changed"] is False
    assert host.run(drained=False, drained_for="a new disk")["marks"]["drained"] is None
    assert host.run(drained=False)["changed"] is False


def test_the_last_maintenance_is_remembered_until_it_is_forgotten(host: Host) -> None:
    assert host.run(maintained="patches")["marks"]["maintained"] == "patches"
    assert host.run(maintained="patches")["changed"] is False
    assert host.run(maintained="")["marks"]["maintained"] is None


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (True, {"since": "", "purpose": ""}),
        ("yes", {"since": "", "purpose": ""}),
        ({"since": "2026-01-31T12:00:00Z"}, {"since": "2026-01-31T12:00:00Z", "purpose": ""}),
        ({}, None),
        (False, None),
    ],
)
def test_a_mark_that_is_not_understood_still_means_drained(
    host: Host, found: t.Any, expected: dict[str, str] | None
) -> None:
    path = host.root / host_marks.PATH
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"schema": 1, "drained": found}))
    assert host_marks.read(root=str(host.root))["drained"] == expected


@pytest.mark.parametrize(
    "options",
    [{"drained": False}, {"drained": True}, {"idle_rounds": 1}, {"maintained": "patches", "drained": False}],
)
@pytest.mark.parametrize(
    "content", ["", '{"schema": 1, "drained": {"since": ', '{"schema": 2}', '{"schema": 1, "asleep": 1}']
)
def test_what_nobody_knows_is_not_written_over(host: Host, options: dict[str, t.Any], content: str) -> None:
    path = host.root / host_marks.PATH
    path.parent.mkdir(parents=True)
    path.write_text(content)
    for check in (True, False):
        found = host.run(**options, _ansible_check_mode=check)
        assert found["failed"] is True
        assert found["msg"].startswith(f"It is not known whether this host is drained: {path} ")
    assert path.read_text() == content


def test_a_place_that_cannot_be_written(host: Host) -> None:
    (host.root / "var").write_text("a file where a directory should be")
    assert "cannot be written" in host.run(idle_rounds=1)["msg"]
