# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Entry points of the role balance in ways in which the playbooks of the collection do not use them."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.virtops.balance.tests.run_ansible import INSTALLED, run_ansible

PLAN = "{{ lookup('ansible.builtin.file', 'plan.json') | from_json }}"


def test_only_the_wanted_states_of_a_plan_that_a_template_reads(tmp_path: Path) -> None:
    # On a host that is not there, so that nobody does it.
    steps = [{"host": "kvm9", "state": state} for state in ("stop", "create", "run")]
    (tmp_path / "plan.json").write_text(json.dumps({"waves": [], "steps": steps}), encoding="utf-8")
    tasks = []
    for states in (["run"], ["stop", "create"], ["create", "run"]):
        role = {"name": "virtops.balance.balance", "tasks_from": "states"}
        tasks += [
            {"ansible.builtin.include_role": role, "vars": {"balance_states": states}},
            {"virtops.balance.show": {"text": "STATES {{ balance_work.steps | map(attribute='states') | to_json }}"}},
        ]
    play = {"hosts": "localhost", "gather_facts": False, "vars": {"balance_plan": PLAN}, "tasks": tasks}
    (tmp_path / "play.yml").write_text(json.dumps([play]), encoding="utf-8")

    said = run_ansible("ansible-playbook", "play.yml", cwd=tmp_path, environment=INSTALLED)

    told = [json.loads(line[7:]) for line in said.splitlines() if line.startswith("STATES ")]
    assert told == [[["run"]], [["stop"], ["create"]], [["create", "run"]]]
