# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What people type wrong: the run stops before any host is asked, with one sentence that says what to change."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

import pytest

from ansible_collections.virtops.balance.tests.build import two_hosts
from ansible_collections.virtops.balance.tests.run_ansible import CONFIGURED, start_ansible

# Nothing answers there, so a run that asks a host does not end as these have to.
INVENTORY = "hypervisors:\n  hosts:\n    kvm1: {ansible_host: 192.0.2.1}\n"
UNKNOWN = "There is no variable balance_snapsot: did you mean balance_snapshot? Names that begin with balance_ "
MISSPELT = {"balance_policy": {"exclude": "domains[?Name=='web-1']"}}
BROKEN = "exclude[0] is not valid JMESPath ('domains[?'): "
NO_KEY = "exclude[0] (\"domains[?Name=='web-1']\"): a domain has no key 'Name': did you mean "
NO_SNAPSHOT = "balance_snapshot must be the path of a snapshot.json that a run has saved, and "
STRICT = {"balance_policy": {"exclude": {"names": ["wbe-1"]}, "strict_selectors": True}}
NO_DOMAIN = "exclude[0] names 'wbe-1', and no domain has that name or UUID: did you mean 'web-1'?"


def run(
    directory: pathlib.Path, playbook: str, extra_vars: dict[str, t.Any], *arguments: str, inventory: str = INVENTORY
) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the collection in that directory, as somebody would in a shell."""
    (directory / "hosts.yml").write_text(inventory, encoding="utf-8")
    variables = {"balance_run_dir": str(directory / "run"), **extra_vars}
    arguments = ("-e", json.dumps(variables), *arguments)
    return start_ansible(
        *("ansible-playbook", "-i", "hosts.yml", f"virtops.balance.{playbook}", *arguments),
        cwd=directory,
        environment={**CONFIGURED, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
    )


def failures(said: str) -> list[str]:
    """The message of each task that failed."""
    return [json.loads(line.partition(" => ")[2])["msg"] for line in said.splitlines() if "FAILED! => " in line]


@pytest.mark.parametrize(
    ("playbook", "extra_vars", "sentence"),
    [
        (
            "rebalance",
            {"balance_policy": {"treshold": 1}},
            "The policy has no key 'treshold': did you mean 'threshold'?",
        ),
        ("rebalance", {"balance_policy": ["a"]}, "The policy must be keys with their values, such as 'max_moves: 6', "),
        ("rebalance", {"balance_policy_changes": "max_moves: [6"}, "What changes in the policy is a text that is not "),
        ("rebalance", {"balance_interval": "soon"}, "balance_interval must be a number of at least 0, not soon."),
        ("rebalance", {"balance_history_source": "zabbix"}, "balance_history_source must be agent or prometheus, not "),
        ("rebalance", {"balance_hosts": "none"}, 'No host of the inventory matches "none".'),
        (
            "rebalance",
            {"balance_snapshot": "missing.json"},
            "balance_snapshot must be the path of a snapshot.json that ",
        ),
        (
            "rebalance",
            {"balance_snapshot": "hosts.yml"},
            f"{NO_SNAPSHOT}hosts.yml is none: The snapshot is a text that ",
        ),
        ("rebalance", {"balance_snapshot": "plan.json"}, f"{NO_SNAPSHOT}plan.json is none: A snapshot must have "),
        (
            "allocate",
            {"balance_snapshot": "saved.json", "balance_domains": [1]},
            "balance_domains must be a mapping of ",
        ),
        ("consolidate", {"balance_policy": {"cpu_limit": 90}}, "cpu_limit is a fraction: write 0.9 for 90 %."),
        ("rebalance", {"balance_snapsot": "saved.json"}, UNKNOWN),
        ("rebalance", {"balance_snapsot": "saved.json", "balance_hosts": "none"}, UNKNOWN),
        ("rebalance", {"balance_snapsot": "saved.json", "balance_snapshot": "saved.json"}, UNKNOWN),
        ("undrain", {"balance_snapsot": "saved.json", "undrain_hosts": "kvm1"}, UNKNOWN),
        ("release", {"balance_snapsot": "saved.json"}, UNKNOWN),
        (
            "rebalance",
            {"balance_policy": {"exclude": "appliance"}},
            "exclude[0] is 'appliance', which is no selector: write {names: [appliance]} for domains by name or UUID, ",
        ),
        (
            "rebalance",
            {"balance_policy_changes": "exclude: web-1"},
            "exclude[0] is 'web-1', which is no selector: write {names: [web-1]} for domains by name or UUID, ",
        ),
        ("rebalance", {"balance_policy": {"exclude": "domains[?"}}, BROKEN),
        ("rebalance", {"balance_snapshot": "saved.json", **MISSPELT}, NO_KEY),
        ("maintain", {"balance_snapshot": "saved.json", **MISSPELT, "maintenance_hosts": "kvm2"}, NO_KEY),
        ("drain", {"balance_snapshot": "saved.json", **STRICT, "drain_hosts": "kvm1"}, f"{NO_DOMAIN} Nothing is "),
        (
            "allocate",
            {"balance_snapshot": "saved.json", **STRICT, "balance_domains": {"web-1": {}}},
            f"{NO_DOMAIN} Nothing is ",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_one_sentence(tmp_path: pathlib.Path, playbook: str, extra_vars: dict[str, t.Any], sentence: str) -> None:
    (tmp_path / "saved.json").write_text(json.dumps(two_hosts.snapshot()), encoding="utf-8")
    (tmp_path / "plan.json").write_text('{"schema": 1, "hosts": {}, "waves": []}', encoding="utf-8")

    ended = run(tmp_path, playbook, extra_vars)

    said = (ended.stdout + ended.stderr).replace(f"{tmp_path}/", "")
    assert ended.returncode == 2
    assert [message[: len(sentence)] for message in failures(said)] == [sentence]
    assert "[ERROR]" not in said
    assert "Origin: " not in said
    assert "caused by" not in ended.stderr
    assert "argument_spec_data" not in ended.stdout
    assert "The filter plugin" not in said, "Ansible's own lines hide the sentence"
    assert "Traceback" not in said
    assert "unreachable=0" in ended.stdout


GUESTS = f"{INVENTORY}guests:\n  hosts:\n    web-1: {{ansible_host: 192.0.2.3}}\n"
NOBODY = '--limit guests leaves out every host that matches "hypervisors". Leave --limit out and say which hosts '


@pytest.mark.parametrize(
    ("playbook", "extra_vars", "sentence"),
    [
        ("rebalance", {}, NOBODY),
        ("consolidate", {}, NOBODY),
        ("allocate", {"balance_domains": {"web-1": {}}}, NOBODY),
        ("doctor", {}, NOBODY),
        ("release", {}, NOBODY),
        ("drain", {"drain_hosts": "kvm1"}, NOBODY),
        ("maintain", {"maintenance_hosts": "kvm1"}, NOBODY),
        ("undrain", {"undrain_hosts": "kvm1"}, "--limit guests leaves out every host that matches undrain_hosts, "),
        ("rebalance", {"balance_snapshot": "saved.json"}, "--limit guests leaves out localhost, where a plan from a "),
        ("drain", {"balance_snapshot": "saved.json", "drain_hosts": "kvm1"}, "--limit guests leaves out localhost, "),
    ],
)
def test_a_limit_that_leaves_nothing_to_do_is_refused(
    tmp_path: pathlib.Path, playbook: str, extra_vars: dict[str, t.Any], sentence: str
) -> None:
    (tmp_path / "saved.json").write_text(json.dumps(two_hosts.snapshot()), encoding="utf-8")

    ended = run(tmp_path, playbook, extra_vars, "--limit", "guests", inventory=GUESTS)

    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert [message[: len(sentence)] for message in failures(ended.stdout + ended.stderr)] == [sentence]


@pytest.mark.parametrize(
    ("playbook", "names", "sentence"),
    [
        ("drain", "rack_1", "kvm1 is drained and has 4 domains."),
        ("maintain", "rack_1", "1. kvm1"),
        ("drain", "rack1", "rack1 is not one of the hosts of this run: did you mean rack_1?"),
        ("drain", "kvm*", "kvm* is not one of the hosts of this run. Name hosts or groups: "),
    ],
)
def test_a_saved_snapshot_knows_the_groups_of_its_hosts(
    tmp_path: pathlib.Path, playbook: str, names: str, sentence: str
) -> None:
    saved = two_hosts.snapshot()
    saved["hosts"]["kvm1"]["groups"] = ["rack_1"]
    (tmp_path / "saved.json").write_text(json.dumps(saved), encoding="utf-8")
    variable = {"drain": "drain_hosts", "maintain": "maintenance_hosts"}[playbook]

    ended = run(tmp_path, playbook, {"balance_snapshot": "saved.json", variable: names})

    assert sentence in ended.stdout + ended.stderr
    assert ended.returncode == (2 if "is not one of" in sentence else 0)


def test_a_variable_of_one_host_is_looked_at_too(tmp_path: pathlib.Path) -> None:
    wrong = INVENTORY.replace("192.0.2.1}", "192.0.2.1}\n    kvm2: {ansible_host: 192.0.2.2, balance_tgas: [rack-a]}")

    ended = run(tmp_path, "rebalance", {}, inventory=wrong)

    assert ended.returncode == 2
    assert "There is no variable balance_tgas: did you mean balance_tags?" in ended.stderr + ended.stdout
    refused = json.loads((tmp_path / "run" / "refused.json").read_text(encoding="utf-8"))
    assert refused["reason"] == "variables"


@pytest.mark.parametrize(
    ("playbook", "more"),
    [
        ("rebalance", {}),
        ("allocate", {"balance_domains": {"web-1": {}}}),
        ("maintain", {"maintenance_hosts": "kvm2"}),
    ],
)
def test_what_of_the_policy_matches_no_domain_is_told_at_the_top(
    tmp_path: pathlib.Path, playbook: str, more: dict[str, t.Any]
) -> None:
    (tmp_path / "saved.json").write_text(json.dumps(two_hosts.snapshot()), encoding="utf-8")
    policy = {"exclude": {"names": ["wbe-1"]}}

    ended = run(tmp_path, playbook, {**more, "balance_snapshot": "saved.json", "balance_policy": policy})

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert NO_DOMAIN in ended.stdout
    assert ended.stdout.index(NO_DOMAIN) < ended.stdout.index("1. kvm2" if playbook == "maintain" else "HOST ")


def test_paths_are_meant_from_where_the_run_is_started(tmp_path: pathlib.Path) -> None:
    (tmp_path / "saved.json").write_text(json.dumps(two_hosts.snapshot()), encoding="utf-8")

    planned = run(tmp_path, "rebalance", {"balance_snapshot": "saved.json", "balance_policy": None})
    approved = run(tmp_path, "rebalance", {"balance_snapshot": "saved.json", "balance_approved_plan": "run/plan.json"})

    assert planned.returncode == approved.returncode == 0, planned.stdout + approved.stdout
    assert "MOVE 2 domains" in planned.stdout
    assert "MOVE 2 domains" in approved.stdout


@pytest.mark.parametrize("playbook", ["rebalance", "drain", "undrain"])
def test_a_value_that_the_shell_gave_without_its_quotes(tmp_path: pathlib.Path, playbook: str) -> None:
    # As in -e balance_policy_changes="max_moves: 2", of which Ansible makes no limit and a 2.
    done = run(tmp_path, playbook, {f"{playbook}_hosts": "kvm1"}, "-e", f"{playbook}_for=a new disk")

    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 2
    assert "ends at a space, and here that leaves over: new disk." in said
    assert "UNREACHABLE" not in said
