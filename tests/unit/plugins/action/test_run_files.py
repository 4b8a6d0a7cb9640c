# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The files of a run: what run_save and run_refuse save, what run_load and run_approve read."""

from __future__ import annotations

import json
import os
import stat
import types
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.virtops.balance.plugins.action import run_approve, run_load, run_refuse, run_save


def action(plugin: t.Any, *, diff: bool = False) -> t.Any:
    made = plugin.ActionModule.__new__(plugin.ActionModule)
    made._task = types.SimpleNamespace(diff=diff)
    made._loader = DataLoader()
    made._templar = types.SimpleNamespace(template=lambda value: value)
    return made


def variables(place: Path, **more: t.Any) -> dict[str, t.Any]:
    return {"balance_run_dir": str(place), "balance_file_prefix": "round-1-", **more}


def save(place: Path, *, diff: bool = False, **arguments: t.Any) -> t.Any:
    given = {"name": "plan.json", "content": None, "before": None, **arguments}
    return action(run_save, diff=diff).act(given, variables(place))


def failure(run: t.Callable[[], t.Any]) -> str:
    """The message of a failure: an exception since ansible-core 2.19, a result before."""
    try:
        result = run()
    except AnsibleActionFail as error:
        return error.message
    assert result["failed"]
    return str(result["msg"])


def refuse(place: Path, **more: t.Any) -> str:
    given = {"reason": "plan", "problem": "It is none."}
    return failure(lambda: action(run_refuse).act(given, variables(place, **more)))


def test_a_file_is_for_its_owner_alone_and_replaces_the_one_before(tmp_path: Path) -> None:
    for content in ("first", "second"):
        assert save(tmp_path, content=content) == {"dest": str(tmp_path / "round-1-plan.json"), "changed": False}
    (file,) = tmp_path.iterdir()
    assert file.read_text(encoding="utf-8") == "second"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("content", "text"),
    [('{"a":1}', '{"a":1}'), ({"b": [1], "a": None}, '{\n    "a": null,\n    "b": [\n        1\n    ]\n}')],
)
def test_text_stays_as_it_is_and_data_become_json(tmp_path: Path, content: t.Any, text: str) -> None:
    assert Path(save(tmp_path, content=content)["dest"]).read_text(encoding="utf-8") == text


def test_what_differs_from_before_is_changed_and_shown(tmp_path: Path) -> None:
    assert not save(tmp_path, diff=True, content="a\n", before="a\n")["changed"]
    found = save(tmp_path, diff=True, content="b\n", before="a\n")
    assert found["changed"]
    assert (found["diff"]["before"], found["diff"]["after"]) == ("a\n", "b\n")
    assert "diff" not in save(tmp_path, content="b\n", before="a\n")


def test_the_directory_is_made_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", str(tmp_path))
    place = tmp_path / "state" / "run"
    for _again in range(2):
        assert save(Path("$PLACE/state/run"), name=None) == {}
    assert {stat.S_IMODE(made.stat().st_mode) for made in (place, place.parent)} == {0o700}
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_directory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: str | None) -> None:
    monkeypatch.chdir(tmp_path)
    known = {"balance_run_dir": empty, "balance_file_prefix": ""}
    given = {"name": "plan.json", "content": "x", "before": None}
    assert failure(lambda: action(run_save).act(given, known)).startswith("balance_run_dir is empty.")
    assert failure(lambda: action(run_refuse).act({"reason": "plan", "problem": "It is none."}, known)) == "It is none."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["plan.json", None])
def test_a_directory_that_cannot_be_written_is_one_sentence(tmp_path: Path, name: str | None) -> None:
    (tmp_path / "run").touch()
    said = failure(lambda: save(tmp_path / "run", name=name, content="x"))
    assert said.startswith(f"The files of the run cannot be saved in {tmp_path}/run: ")
    assert said.endswith(". Name another directory with -e balance_run_dir=DIRECTORY.")


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "round-1-plan.json").mkdir()
    assert "Is a directory" in failure(lambda: save(tmp_path, content="x"))
    assert refuse(tmp_path, balance_file_prefix="") == "It is none."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["refused.json", "round-1-plan.json"]


def test_people_may_read_a_refusal_in_another_shape_than_programs(tmp_path: Path) -> None:
    given = {"reason": "no_answer", "problem": "Unknown: kvm1. It is none.", "shown": "It is none.\n  kvm1"}
    assert failure(lambda: action(run_refuse).act(given, variables(tmp_path))) == given["shown"]
    saved = json.loads((tmp_path / "round-1-refused.json").read_text(encoding="utf-8"))
    assert saved["problem"] == given["problem"]


def test_a_refusal_is_saved_with_the_hosts_that_nobody_knows(tmp_path: Path) -> None:
    unknown = {"lost": ["kvm1"], "problem": None}
    assert refuse(tmp_path, balance_unknown_hosts=unknown) == "It is none."
    saved = json.loads((tmp_path / "round-1-refused.json").read_text(encoding="utf-8"))
    assert saved == {"schema": 1, "reason": "plan", "problem": "It is none.", "unknown_hosts": unknown}


@pytest.mark.parametrize("touched", ["balance_woken", "balance_touched"])
def test_a_run_that_has_touched_something_is_not_refused(tmp_path: Path, touched: str) -> None:
    assert refuse(tmp_path, **{touched: True}) == "It is none."
    assert list(tmp_path.iterdir()) == []


def test_no_directory_is_made_for_a_refusal(tmp_path: Path) -> None:
    assert refuse(tmp_path / ("x" * 300)) == refuse(tmp_path / "none") == "It is none."
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, " no file."),
        (b"{", " none: The snapshot is a text that is not valid JSON: "),
        (b"{}", " none: "),
        (b"[" * 200000, " none: The snapshot is a text that is not valid JSON: "),
        (b"\xff", " not readable: 'utf-8' codec can't decode byte 0xff"),
        (b"$ANSIBLE_VAULT;1.1;AES256\n00", " not readable: "),
    ],
)
def test_a_file_that_is_no_snapshot_is_refused(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "snapshot.json"
    if content is not None:
        path.write_bytes(content)
    said = failure(lambda: action(run_load).act({"path": str(path)}, variables(tmp_path)))
    wanted = "balance_snapshot must be the path of a snapshot.json that a run has saved, and "
    assert said.startswith(f"{wanted}{path} is{why}")
    assert json.loads((tmp_path / "round-1-refused.json").read_text(encoding="utf-8"))["reason"] == "snapshot"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("x" * 300, " is no file."),
        ("nowhere.json", "and {place}/nowhere.json is no file."),
        ("broken.json", "is not readable: 'utf-8' codec can't decode byte 0xff"),
        ("", "The approved plan is a text that is not valid JSON: "),
        (["no plan"], "The approved plan is not a plan of rebalance"),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: t.Any, why: str) -> None:
    (tmp_path / "broken.json").write_bytes(b"\xff")
    monkeypatch.chdir(tmp_path)
    known = variables(tmp_path, balance_fleet='{"schema": 1, "hosts": {}, "domains": {}}')
    said = failure(lambda: action(run_approve).act({"plan": given}, known))
    assert why.format(place=os.path.realpath(tmp_path)) in said
    assert json.loads((tmp_path / "round-1-refused.json").read_text(encoding="utf-8"))["reason"] == "approved_plan"


def test_a_snapshot_may_be_encrypted(tmp_path: Path) -> None:
    text = json.dumps({"schema": 1, "taken_at": "2026-01-31T12:00:00Z", "hosts": {}, "domains": {}})
    secrets = [("default", VaultSecret(b"of which nobody else may know"))]
    path = tmp_path / "snapshot.json"
    path.write_bytes(VaultLib(secrets).encrypt(text))
    loads = action(run_load)
    loads._loader.set_vault_secrets(secrets)
    assert loads.act({"path": str(path)}, variables(tmp_path))["snapshot"] == text
