# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""AWX as code: the modules of awx.awx themselves, and a server that stands in for the API and keeps what it is sent."""

from __future__ import annotations

import json
import os
import pathlib
import re
import typing as t

import pytest
import yaml

from ansible_collections.virtops.balance.tests import tools
from ansible_collections.virtops.balance.tests.build.awx_stand_in import Server, Stand
from ansible_collections.virtops.balance.tests.run_ansible import run_ansible

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-which-nothing-may-be-seen"
VARIABLES: dict[str, t.Any] = {
    "awx_project_url": "https://git.example.org/balance.git",
    "awx_playbook_directory": "playbooks",
    "awx_inventory_path": "inventories/example/hosts.yml",
    "awx_image": "registry.example.org/balance:1",
    "awx_credentials": ["ssh to the hosts"],
}
Json = dict[str, t.Any]


class Loader(yaml.SafeLoader):
    """Reads !unsafe, which is Ansible's."""


def as_written(loader: Loader, node: yaml.ScalarNode) -> t.Any:
    return loader.construct_scalar(node)


Loader.add_constructor("!unsafe", as_written)
DEFINED = yaml.load((ROOT / "roles/awx/vars/main.yml").read_text(encoding="utf-8"), Loader)["__awx_templates"]


def playbook(url: str, *collections: pathlib.Path, fails: bool = False, **variables: t.Any) -> str:
    """Run playbooks/awx.yml and return its output."""
    said = run_ansible(
        *("ansible-playbook", "virtops.balance.awx", "--extra-vars", json.dumps(variables)),
        fails=fails,
        environment={
            "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(map(str, [ROOT / ".cache" / "collections", *collections])),
            "CONTROLLER_HOST": url,
            "CONTROLLER_OAUTH_TOKEN": TOKEN,
        },
    )
    assert TOKEN not in said
    return said


@pytest.fixture(scope="module")
def server() -> t.Iterator[Server]:
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def stand(server: Server) -> Stand:
    """What AWX has after the playbook has run."""
    server.stand.add("credentials", {"name": "ssh to the hosts"})
    playbook(server.url, tools.awx_collection(), **VARIABLES)
    return server.stand


def test_without_the_collection_it_says_what_is_missing() -> None:
    said = playbook("http://127.0.0.1:9", fails=True, **VARIABLES)
    assert "ansible-galaxy collection install awx.awx" in " ".join(said.split())


def test_a_schedule_of_nothing_is_refused_before_anything_is_made(server: Server) -> None:
    before = len(server.stand.changes)
    schedule = {"name": "hourly", "template": "consolidate", "rrule": "DTSTART:20260101T000000Z RRULE:FREQ=HOURLY"}
    said = playbook(
        server.url,
        tools.awx_collection(),
        fails=True,
        **{**VARIABLES, "awx_templates": ["rebalance"], "awx_schedules": [schedule]},
    )
    assert "awx_schedules names consolidate, which awx_templates does not have." in " ".join(said.split())
    assert len(server.stand.changes) == before


def test_all_of_it_is_there(stand: Stand) -> None:
    project, inventory = stand.named("projects")["virtops.balance"], stand.named("inventories")["virtops.balance"]
    assert project["scm_url"] == VARIABLES["awx_project_url"]
    source = stand.named("inventory_sources")["virtops.balance"]
    assert (source["source_project"], source["inventory"]) == (project["id"], inventory["id"])
    image = stand.named("execution_environments")["virtops.balance"]
    assert image["image"] == VARIABLES["awx_image"]
    templates = stand.named("job_templates")
    assert set(templates) == {f"virtops.balance {name}" for name in DEFINED}
    (credential,) = stand.objects["credentials"]
    for name, defined in DEFINED.items():
        template = templates[f"virtops.balance {name}"]
        assert template["playbook"] == f"playbooks/{defined['playbook']}"
        assert (template["project"], template["inventory"]) == (project["id"], inventory["id"])
        assert template["execution_environment"] == image["id"]
        assert template["survey_enabled"] == ("survey" in defined)
        assert stand.surveys.get(template["related"]["survey_spec"], {}).get("spec") == defined.get("survey")
        assert stand.related[f"{template['url']}credentials/"] == [credential]
    assert (templates["virtops.balance plan"]["job_type"], templates["virtops.balance plan"]["diff_mode"]) == (
        "check",
        True,
    )
    assert stand.tokens == {f"Bearer {TOKEN}"}


def test_the_workflow_plans_asks_and_carries_out_what_was_approved(stand: Stand) -> None:
    workflow = stand.named("workflow_job_templates")["virtops.balance approve"]
    nodes = stand.named("workflow_job_template_nodes")
    assert {node["workflow_job_template"] for node in nodes.values()} == {workflow["id"]}
    follows = {
        name: [other for other in nodes if nodes[other]["id"] in stand.related.get(f"{node['url']}success_nodes/", [])]
        for name, node in nodes.items()
    }
    assert follows == {"plan": ["approve"], "approve": ["carry out"], "carry out": []}
    approval = stand.named("workflow_approval_templates")["virtops.balance: carry out this plan?"]
    assert approval["timeout"] == 86400
    templates = stand.named("job_templates")
    jobs = {name: node["unified_job_template"] for name, node in nodes.items()}
    assert jobs == {
        "plan": templates["virtops.balance plan"]["id"],
        "approve": approval["id"],
        "carry out": templates["virtops.balance approved"]["id"],
    }
    # It reaches AWX as it is written, not filled in.
    assert (
        "{{ balance_saved_plan"
        in json.loads(templates["virtops.balance approved"]["extra_vars"])["balance_approved_plan"]
    )


def test_the_schedule_is_there_and_does_not_act_until_somebody_enables_it(stand: Stand) -> None:
    (schedule,) = stand.objects["schedules"].values()
    assert schedule["unified_job_template"] == stand.named("job_templates")["virtops.balance rebalance"]["id"]
    assert schedule["rrule"] == "DTSTART:20260101T000000Z RRULE:FREQ=MINUTELY;INTERVAL=15"
    assert schedule["enabled"] is False


def test_a_second_run_changes_nothing(stand: Stand, server: Server) -> None:
    before = json.dumps([stand.objects, stand.related, stand.surveys])
    said = playbook(server.url, tools.awx_collection(), **VARIABLES)
    assert json.dumps([stand.objects, stand.related, stand.surveys]) == before
    assert re.findall(r"changed=(\d+)", said) == ["0"]


@pytest.mark.parametrize("name", DEFINED)
def test_a_job_template_fits_its_playbook(name: str) -> None:
    file = ROOT / "playbooks" / DEFINED[name]["playbook"]
    roles = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
    options = {
        name for role in roles for entry in role["argument_specs"].values() for name in (entry.get("options") or {})
    }
    text = file.read_text(encoding="utf-8")
    for question in DEFINED[name].get("survey", []):
        assert question["variable"] in options or question["variable"] in text
        if question["type"] == "multiplechoice":
            assert question["default"] in ([] if question["required"] else [""]) + question["choices"]
