# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The surveys of the role awx ask for what people give to a run, and for nothing that there is not."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.virtops.balance.plugins.plugin_utils._role_variables import OPTIONS

ROOT = Path(__file__).resolve().parents[3]

LEFT_OUT = {
    "what the fleet is; it belongs into the inventory": {
        "balance_allocation",
        "balance_domains",
        "balance_history",
        "balance_history_source",
        "balance_history_step",
        "balance_host_speed",
        "balance_hosts",
        "balance_interval",
        "balance_maintenance_wait_seconds",
        "balance_migrate_uri",
        "balance_migration_uri",
        "balance_policy",
        "balance_power_control",
        "balance_power_model",
        "balance_prometheus",
        "balance_prometheus_names",
        "balance_record",
        "balance_settle_seconds",
        "balance_shared_paths",
        "balance_tags",
        "balance_uri",
    },
    "how long runs wait for each other; the same in all of them": {
        "balance_lease_seconds",
        "balance_lease_wait_seconds",
    },
    "a file on the control node, which a job does not have": {
        "balance_approved_plan",
        "balance_file_prefix",
        "balance_run_dir",
        "balance_snapshot",
    },
    "given by the playbooks, of which some have a variable of their own for it": {
        "balance_drain",
        "balance_drain_for",
        "balance_drain_give_back",
        "balance_drain_restart",
        "balance_lease_owner",
        "balance_lease_purpose",
        "balance_maintain",
        "balance_maintenance_most",
        "balance_maintenance_name",
        "balance_maintenance_tasks",
        "balance_named",
        "balance_refusal",
        "balance_states",
    },
}


class Loader(yaml.SafeLoader):
    """Reads !unsafe, which is Ansible's."""


def as_written(loader: Loader, node: yaml.ScalarNode) -> t.Any:
    return loader.construct_scalar(node)


Loader.add_constructor("!unsafe", as_written)
TEMPLATES: dict[str, dict[str, t.Any]] = yaml.load(
    (ROOT / "roles/awx/vars/main.yml").read_text(encoding="utf-8"), Loader
)["__awx_templates"]


def asked(name: str) -> set[str]:
    return {question["variable"] for question in TEMPLATES[name].get("survey", ())}


def test_each_variable_of_the_role_is_asked_for_or_left_out_on_purpose() -> None:
    everything = {variable for name in TEMPLATES for variable in asked(name) if variable.startswith("balance_")}
    left_out = set().union(*LEFT_OUT.values())
    assert sum(map(len, LEFT_OUT.values())) == len(left_out)
    assert everything & left_out == set()
    assert everything | left_out == OPTIONS


@pytest.mark.parametrize("name", ["plan", "rebalance", "consolidate", "allocate", "drain", "maintain"])
def test_what_plans_takes_changes_of_the_policy(name: str) -> None:
    assert "balance_policy_changes" in asked(name)


@pytest.mark.parametrize("name", ["drain", "undrain", "maintain"])
def test_each_variable_of_a_playbook_is_asked_for(name: str) -> None:
    text = (ROOT / "playbooks" / TEMPLATES[name]["playbook"]).read_text(encoding="utf-8")
    taken = {*re.findall(r"-e ([a-z_]+)=", text)} - {"balance_snapshot"}
    assert taken
    assert taken <= asked(name)


@pytest.mark.parametrize("name", ["rebalance", "consolidate"])
def test_what_moves_domains_may_forget_what_failed(name: str) -> None:
    assert "balance_forget" in asked(name)
