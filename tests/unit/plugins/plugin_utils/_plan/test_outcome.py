# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What became of a plan, and how it is shown."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.plan import allocation_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.outcome import outcome
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._report.outcome_table import outcome_table
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.domains_by_host import residents
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils import fleets
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import Json


def snapshot(*, moved: bool = False, doubts: list[Json] | None = None) -> Json:
    """Two hosts; a is full of four domains, or two of them have gone to b."""
    places = "aabb" if moved else "aaaa"
    domains = [fleets.domain(f"name-{number}", on, 0.9, 1024, vcpus=2) for number, on in enumerate(places)]
    hosts = {name: fleets.host(threads=4, total=16000, used=300) for name in "ab"}
    return fleets.snapshot(hosts, *domains, doubts=doubts or [])


@pytest.fixture
def planned() -> Json:
    made = plan(snapshot(), {"accept_blockers": []})
    assert len([move for wave in made["waves"] for move in wave["moves"]]) == 2
    return made


def results(planned: Json, **second: t.Any) -> list[Json]:
    """Results of domain_migrate: the first move went well, the second as told."""
    moves = [move for wave in planned["waves"] for move in wave["moves"]]
    good = {"changed": True, "seconds": 2.0, "bytes": 80 * 1024 * 1024, "downtime_ms": 40}
    return [{"move": moves[0], **good}, {"move": moves[1], **second}]


def test_all_moved(planned: Json) -> None:
    found = outcome(
        planned, results(planned, changed=True, seconds=1.0, bytes=1048576, downtime_ms=3), snapshot(moved=True)
    )

    assert found["problem"] is None
    assert found["count"] == {"moved": 2, "skipped": 0, "failed": 0, "not_started": 0}
    assert found["moves"][0]["mib"] == 80.0
    assert found["spread"]["cpu"] == pytest.approx(0.0)
    assert found["hosts"]["a"]["before"]["domains"] == 4
    assert found["hosts"]["a"]["after"]["domains"] == 2
    assert outcome_table(found).startswith("DONE: 2 moved.")


@pytest.mark.parametrize(
    ("second", "word", "problem"),
    [
        ({"failed": True, "msg": "b is gone."}, "failed", "b is gone."),
        ({"unreachable": True, "msg": "no route"}, "failed", "no route"),
        ({"skipped": True, "reason": "It was stopped."}, "skipped", None),
    ],
)
def test_a_move_that_did_not_happen(planned: Json, second: Json, word: str, problem: str | None) -> None:
    found = outcome(planned, results(planned, **second), snapshot())

    assert found["moves"][1]["outcome"] == word
    assert found["problem"] == problem
    assert (second.get("msg") or second["reason"]) in outcome_table(found)


def test_a_move_without_a_result_was_not_started(planned: Json) -> None:
    failed = results(planned, failed=True, msg="b is gone.")[1:]

    found = outcome(planned, failed, snapshot())

    assert found["count"] == {"moved": 0, "skipped": 0, "failed": 1, "not_started": 1}
    assert found["problem"] == "b is gone. 1 more planned move was not started; run it again."


def test_a_domain_that_moves_twice_has_two_results(planned: Json) -> None:
    first, second = (move for wave in planned["waves"] for move in wave["moves"])
    second.update({key: first[key] for key in ("domain", "name")})

    found = outcome(planned, results(planned, failed=True, msg="b is gone."), snapshot())

    assert [move["outcome"] for move in found["moves"]] == ["moved", "failed"]


def test_a_host_that_failed_before_its_first_move_is_a_problem(planned: Json) -> None:
    found = outcome(planned, [{"failed": True, "msg": "'kvm9' is undefined"}], snapshot())

    assert found["problem"] == "'kvm9' is undefined 2 more planned moves were not started; run it again."


def test_a_doubt_afterwards_is_a_problem(planned: Json) -> None:
    doubt = {"kind": "domain_on_two_hosts", "message": "1 runs on a and b.", "hosts": ["a", "b"], "domain": "1"}

    found = outcome(planned, results(planned, changed=True), snapshot(moved=True, doubts=[doubt]))

    assert found["problem"] == "1 runs on a and b."
    assert outcome_table(found).startswith("FAILED: 2 moved.")


def test_nothing_had_to_move() -> None:
    balanced = snapshot(moved=True)

    found = outcome(plan(balanced), [], balanced)

    assert found["problem"] is None
    assert outcome_table(found).startswith("NOTHING HAD TO MOVE.")


def test_names_cannot_reach_the_terminal(planned: Json) -> None:
    found = outcome(planned, results(planned, failed=True, msg="\x1b[31mred"), snapshot())
    found["moves"][0]["name"] = "a\x1b[2J"

    assert "\x1b" not in outcome_table(found)


ALLOCATED = {"changed": True, "action": "create"}


@pytest.mark.parametrize(
    ("second", "word", "problem"),
    [
        ({"changed": True, "action": "tune"}, "done", None),
        ({"changed": False, "action": "tune"}, "unchanged", None),
        ({"changed": False, "action": "wait", "why": "It is not here."}, "skipped", None),
        ({"failed": True, "msg": "b has no room."}, "failed", "b has no room."),
        ({"unreachable": True, "msg": "no route"}, "failed", "no route"),
        (None, "not_started", None),
    ],
)
def test_the_steps_of_an_allocation(second: Json | None, word: str, problem: str | None) -> None:
    figures = {"new": {"cpu_max": 1, "memory_mib": 10, "template": "x"}, "name-0": {"cpu_max": 1, "hosts": ["a"]}}
    planned = allocation_plan(snapshot(), figures)
    create, run = planned["steps"]

    found = outcome(
        planned, [{"step": create, **ALLOCATED}] + ([] if second is None else [{"step": run, **second}]), snapshot()
    )

    assert [step["outcome"] for step in found["steps"]] == ["done", word]
    assert found["problem"] == problem
    lines = outcome_table(found).splitlines()
    assert lines[0].startswith("FAILED: " if problem else "DONE: ")
    assert "  tune       name-0  a  " + word.replace("_", " ") in lines


def test_a_step_that_failed_keeps_others_from_starting() -> None:
    planned = allocation_plan(snapshot(), {f"name-{number}": {"cpu_max": 1, "hosts": ["a"]} for number in range(3)})

    found = outcome(planned, [{"step": planned["steps"][0], "failed": True, "msg": "No."}], snapshot())

    assert found["problem"] == "No. 2 more planned steps were not started; run it again."


@pytest.mark.parametrize("wrong", [None, [], {"waves": []}])
def test_anything_else_than_a_plan(wrong: t.Any) -> None:
    with pytest.raises(BalanceError, match="needs a plan"):
        outcome(wrong, [], snapshot())


def test_residents_before_and_after(planned: Json) -> None:
    assert residents(snapshot()) == {"a": ["name-0", "name-1", "name-2", "name-3"], "b": []}
    after = residents(snapshot(), planned)
    assert [len(names) for names in after.values()] == [2, 2]
