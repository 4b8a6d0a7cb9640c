# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The examples of filters work when they are copied."""

from __future__ import annotations

import json
import pathlib
import sys

import yaml

from ansible_collections.virtops.balance.tests.build import two_hosts
from ansible_collections.virtops.balance.tests.run_ansible import CONFIGURED, run_ansible

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What examples take as given, as far as nothing has to be observed or moved for it.
GIVEN = {
    "balance_snapshot": two_hosts.snapshot(),
    "balance_fleet": two_hosts.snapshot(),
    "balance_policy": {},
    "migrated": {"results": []},
    "policy": {},
}
FIRST = [
    {"name": "Plan", "ansible.builtin.set_fact": {"balance_plan": "{{ balance_fleet | virtops.balance.plan }}"}},
]
# These need results of modules, the file of a backtest, a page of 5 MB, the plan of an allocation, an experiment, a
# demo, or a file of HPL.
NOT_ALONE = {
    "backtest_table",
    "allocation_table",
    "doctor_questions",
    "doctor_report",
    "doctor_table",
    "experiment_measured",
    "experiment_report",
    "hpl_result",
    "outcome_table",
    "snapshot",
    "timeline_report",
}


def test_examples_of_filters(tmp_path: pathlib.Path) -> None:
    plays = []
    for path in sorted((ROOT / "plugins" / "filter").glob("*.yml")):
        if path.stem in NOT_ALONE:
            continue
        examples = yaml.safe_load(yaml.safe_load(path.read_text(encoding="utf-8"))["EXAMPLES"])
        # What is done on some other host is no filter. What fails tells that a plan which is none is none.
        tasks = [{**task, "ignore_errors": True} for task in examples if "delegate_to" not in task]
        for task in tasks:
            task["ignore_errors"] = "ansible.builtin.fail" in task
        # A host for each, because facts that one example sets are not those of another one.
        plays.append(
            {"name": path.stem, "hosts": path.stem, "gather_facts": False, "vars": GIVEN, "tasks": FIRST + tasks}
        )
    hosts = {play["hosts"]: {"ansible_connection": "local"} for play in plays}
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    (tmp_path / "plan.json").write_text("{}", encoding="utf-8")
    (tmp_path / "try.yml").write_text(json.dumps(plays), encoding="utf-8")

    # The interpreter is no matter here, but looking for one takes long.
    environment = {**CONFIGURED, "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    run_ansible("ansible-playbook", "-i", "hosts.yml", "--check", "try.yml", cwd=tmp_path, environment=environment)
    assert len(plays) > 10
