# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Rounds of questions about a plan; tests/build/test_agreement.py has them in whole runs."""

from __future__ import annotations

import json
import types
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.plugins.action import run_agree
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import (
    Json,
    answer,
    domain,
    host,
    moves,
    refusal,
    snapshot,
    ways,
)

SEEN = {"bridges": ["br0"], "mounts": [], "zfs_cache_mib": None, "shared_memory_mib": 5}
ARGUMENTS = {"begin": False, "allocate": False}


class Run:
    """A run over hosts a (full), b and c; what its tasks register is in ``variables``."""

    def __init__(self, place: Path, policy: Json | None = None) -> None:
        guests = [domain(f"d{i}", "a", cores=2.0) for i in range(3)]
        fleet = snapshot({"a": host(), "b": host(), "c": host()}, *guests)
        brief = {**SEEN, "cgroup_version": 2}
        hosts: Json = {name: {"balance_observation": {"brief": brief}} for name in fleet["hosts"]}
        hosts["c"]["balance_migration_uri"] = "qemu+tls://c/system"
        self.variables: Json = {
            "balance_run_dir": str(place),
            "balance_file_prefix": "",
            "balance_fleet": json.dumps(fleet),
            "balance_plan": plan(fleet, policy),
            "ansible_play_hosts_all": list(hosts),
            "hostvars": hosts,
        }

    def act(self, **arguments: bool) -> Json:
        made = run_agree.ActionModule.__new__(run_agree.ActionModule)
        made._templar = types.SimpleNamespace(template=lambda value: value)
        result: Json = made.act({**ARGUMENTS, **arguments}, self.variables)
        self.variables["balance_agree"] = result
        return result

    def answers(self, *answers: Json) -> None:
        self.variables["hostvars"]["a"]["balance_asked"] = {"answers": list(answers)}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_each_host_asks_about_what_leaves_it(run: Run) -> None:
    begun = run.act(begin=True)
    assert ways(begun["plan"]) == [("d0", "a", "b"), ("d1", "a", "c")]
    assert begun["ask"] == {
        "a": {
            "questions": [
                {"domain": "d0", "destination": "b", "room_mib": 0},
                {"domain": "d1", "destination": "c", "room_mib": 0},
            ],
            "destinations": [
                {"name": "b", "uri": "qemu+ssh://root@b/system?no_tty=1", **SEEN},
                {"name": "c", "uri": "qemu+tls://c/system", **SEEN},
            ],
        }
    }


def test_a_plan_to_which_all_agree_is_not_made_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.act(begin=True)
    run.answers(answer("d0", "b"), answer("d1", "c"))
    monkeypatch.setattr(run_agree, "make_plan", None)
    ended = run.act()
    assert (ended["ask"], ended["rounds"]) == ({}, 1)
    assert [move["agreed"] for move in moves(ended["plan"])] == [True, True]


def test_refusals_lead_to_another_plan_and_only_what_is_new_in_it_is_asked(run: Run, tmp_path: Path) -> None:
    run.act(begin=True)
    run.answers(refusal("d0", "b", "b has no bridge br0", kind="bridge", about="br0"), answer("d1", "c"))
    second = run.act()
    assert {move["destination"] for move in moves(second["plan"])} == {"c"}
    asked = second["ask"]["a"]["questions"]
    assert {one["destination"] for one in asked} == {"c"}
    assert "d1" not in {one["domain"] for one in asked}
    assert [one["name"] for one in second["ask"]["a"]["destinations"]] == ["c"]

    run.answers(*(answer(one["domain"], "c") for one in asked))
    third = run.act()
    assert (third["ask"], third["rounds"]) == ({}, 2)
    assert {move["agreed"] for move in moves(third["plan"])} == {True}
    assert json.loads((tmp_path / "answers.json").read_text(encoding="utf-8")) == third["answers"]


@pytest.mark.parametrize("rounds", [0, 1])
def test_the_rounds_of_the_policy(tmp_path: Path, rounds: int) -> None:
    run = Run(tmp_path, {"agree_rounds": rounds})
    begun = run.act(begin=True)
    assert bool(begun["ask"]) == bool(rounds)
    if rounds:
        run.answers(refusal("d0", "b", "no"), answer("d1", "c"))
        ended = run.act()
        assert ended["ask"] == {}
        assert None in {move["agreed"] for move in moves(ended["plan"])}


def test_a_pair_of_hosts_without_a_connection_is_asked_once(run: Run) -> None:
    run.act(begin=True)
    silent = {"check": "connection", "ok": None, "message": "no route to c", "kind": None, "about": None}
    run.answers(refusal("d0", "b", "no", kind="cpu"), answer("d1", "c", None, silent))
    ended = run.act()
    assert ended["ask"] == {}
    assert {(move["destination"], move["agreed"]) for move in moves(ended["plan"])} == {("c", None)}
    assert {told for move in moves(ended["plan"]) for told in move["not_known"]} == {"no route to c"}


def test_a_new_plan_forgets_the_answers_about_the_one_before(run: Run) -> None:
    run.act(begin=True)
    run.answers(refusal("d0", "b", "no"), answer("d1", "c"))
    run.act()
    again = run.act(begin=True)
    assert (again["answers"], again["rounds"]) == ([], 0)
    assert ways(again["plan"]) == [("d0", "a", "b"), ("d1", "a", "c")]


def test_where_there_is_no_plan_nobody_is_asked(run: Run) -> None:
    run.variables["balance_plan"] = {"problem": "The policy is wrong."}
    begun: t.Any = run.act(begin=True)
    assert (begun["plan"], begun["ask"]) == ({"problem": "The policy is wrong."}, {})
