# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The collection under ansible-runner, which is what AWX runs jobs with: a plan, and a plan that was approved."""

from __future__ import annotations

import copy
import json
import pathlib
import typing as t

import pytest

from ansible_collections.virtops.balance.tests.build import two_hosts
from ansible_collections.virtops.balance.tests.runner import Job

ROOT = pathlib.Path(__file__).resolve().parents[2]
# As AWX has it in an inventory where a control node is to be a host.
LOCALHOST = "localhost ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'\n"
PLAYBOOK = "playbooks/rebalance.yml"
Json = dict[str, t.Any]


def moves(plan: Json) -> list[str]:
    return [move["name"] for wave in plan["waves"] for move in wave["moves"]]


class Jobs:
    """Jobs of one workflow: each has the artifacts of those before it as extra variables, as in AWX."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.artifacts: Json = {}
        self.count = 0

    def job(self, fleet: Json, **extra_vars: t.Any) -> Job:
        """The next job, which sees this snapshot instead of hosts."""
        self.count += 1
        saved = self.directory / f"snapshot-{self.count}.json"
        saved.write_text(json.dumps(fleet), encoding="utf-8")
        run_dir = str(self.directory / f"run-{self.count}")
        variables = {**self.artifacts, **extra_vars, "balance_snapshot": str(saved), "balance_run_dir": run_dir}
        return Job(self.directory / f"job-{self.count}", ROOT, LOCALHOST, **variables)

    def saved(self, name: str) -> Json:
        """A file that the last job saved."""
        found: Json = json.loads((self.directory / f"run-{self.count}" / name).read_text(encoding="utf-8"))
        return found


@pytest.fixture
def jobs(tmp_path: pathlib.Path) -> Jobs:
    return Jobs(tmp_path)


def test_a_plan_with_the_answers_to_a_survey(jobs: Jobs) -> None:
    answers = {"balance_policy_changes": "max_moves: 1\n", "balance_strategy": "balance"}
    job = jobs.job(two_hosts.snapshot(), balance_policy={"move_cost": 0.001}, **answers)

    job.run(PLAYBOOK, "--check", "--diff")

    plan = job.artifacts()["balance_saved_plan"]
    assert plan == jobs.saved("plan.json")
    assert (plan["policy"]["max_moves"], plan["policy"]["move_cost"]) == (1, 0.001)
    (name,) = moves(plan)
    table = "\n".join(job.lines())
    assert "MOVE 1 domain" in table
    assert name in table


@pytest.mark.parametrize("answer", ["fewer, please", "- max_moves"])
def test_an_answer_that_is_no_policy(answer: str, jobs: Jobs) -> None:
    printed = jobs.job(two_hosts.snapshot(), balance_policy_changes=answer).run(PLAYBOOK, fails=True)

    assert "What changes in the policy must be keys with their values" in printed
    assert jobs.saved("refused.json")["reason"] == "plan"


def test_the_plan_that_was_approved_is_carried_out_and_no_other(jobs: Jobs) -> None:
    first = jobs.job(two_hosts.snapshot(), balance_policy={"max_moves": 1})
    first.run(PLAYBOOK, "--check")
    jobs.artifacts = first.artifacts()
    approved = jobs.artifacts["balance_saved_plan"]

    # What AWX adds for the job template that applies it. The load has changed a little, and so has the policy.
    later = two_hosts.snapshot()
    later["domains"][min(later["domains"])]["cpu_cores"] = 1.9
    second = jobs.job(later, balance_approved_plan="{{ balance_saved_plan }}", balance_policy={"max_moves": 2})
    second.run(PLAYBOOK)

    assert jobs.saved("plan.json") == approved
    assert len(moves(approved)) == 1
    # A job after that one, which plans anew, is not led astray by the artifacts of the others.
    jobs.artifacts.update(second.artifacts())
    jobs.job(later, balance_policy={"max_moves": 2}).run(PLAYBOOK, "--check")
    assert len(moves(jobs.saved("plan.json"))) == 2


def test_the_approved_plan_may_be_a_file(jobs: Jobs) -> None:
    jobs.job(two_hosts.snapshot()).run(PLAYBOOK, "--check")
    approved = jobs.directory / "run-1" / "plan.json"

    jobs.job(two_hosts.snapshot(), balance_approved_plan=str(approved), balance_policy={"max_moves": 1}).run(PLAYBOOK)

    assert jobs.saved("plan.json") == json.loads(approved.read_text(encoding="utf-8"))


def test_an_approved_plan_that_does_not_fit_any_more_is_refused(jobs: Jobs) -> None:
    first = jobs.job(two_hosts.snapshot(), balance_policy={"max_moves": 1})
    first.run(PLAYBOOK, "--check")
    jobs.artifacts = first.artifacts()
    (move,) = jobs.artifacts["balance_saved_plan"]["waves"][0]["moves"]
    later = copy.deepcopy(two_hosts.snapshot())
    later["domains"][move["domain"]]["host"] = "kvm2"

    printed = jobs.job(later, balance_approved_plan="{{ balance_saved_plan }}").run(PLAYBOOK, fails=True)

    sentence = f"{move['name']} is on kvm2, not on kvm1 as the plan expects."
    refused = jobs.saved("refused.json")
    assert refused["reason"] == "approved_plan"
    assert sentence in refused["problem"]
    assert move["name"] in printed
    assert not (jobs.directory / "run-2" / "plan.json").exists()


@pytest.mark.parametrize("given", ["{{ balance_saved_plan | default(['no earlier job']) }}", "", "/nowhere/plan.json"])
def test_where_there_is_no_approved_plan_nothing_is_done(given: str, jobs: Jobs) -> None:
    jobs.job(two_hosts.snapshot(), balance_approved_plan=given).run(PLAYBOOK, fails=True)

    assert not (jobs.directory / "run-1" / "plan.json").exists()
