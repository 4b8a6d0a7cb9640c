# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Projects of AWX: one of one-line files as the documentation has it, and this repository; each as AWX uses it."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap
import typing as t

import pytest
import yaml

from ansible_collections.virtops.balance.tests import tools
from ansible_collections.virtops.balance.tests.build import two_hosts
from ansible_collections.virtops.balance.tests.runner import Job

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTATION = (ROOT / "docs/docsite/rst/awx.rst").read_text(encoding="utf-8")
LOCALHOST = "localhost ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'\n"
REPOSITORY = "https://github.com/virtops/balance.git"


def documented() -> dict[str, str]:
    """The files that the documentation shows: the first line of each block names it."""
    blocks = re.findall(r"\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", DOCUMENTATION)
    found = (textwrap.dedent(block).split("\n", 1) for block in blocks)
    return {first[2:]: text for first, text in found if first.startswith("# ")}


def listed(file: pathlib.Path) -> bool:
    """Does AWX offer the file as a playbook? By a line that only a playbook has (awx/main/utils/ansible.py)."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return any(re.match(r"\s*-?\s*(hosts|import_playbook):", line) for line in lines)


def git(directory: pathlib.Path, *arguments: str) -> None:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "safe.directory=*")
    subprocess.run(["git", *who, *arguments], cwd=directory, check=True, stdout=subprocess.PIPE)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """This repository as a clone of it would be, uncommitted work included."""
    copy = tmp_path_factory.mktemp("repository")
    listing = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    git(copy, "init", "--quiet", "--initial-branch=main")
    git(copy, "add", "--all")
    git(copy, "commit", "--quiet", "--message=All of it")
    return copy


@pytest.fixture(scope="module")
def project(repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The project that the documentation shows, with the collection from the clone."""
    directory = tmp_path_factory.mktemp("project")
    for name, text in documented().items():
        if name not in ("awx.yml", "alertmanager.yml"):
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text(text.replace(REPOSITORY, repository.as_uri()), encoding="utf-8")
    assert repository.as_uri() in (directory / "collections" / "requirements.yml").read_text(encoding="utf-8")
    return directory


def installed(project: pathlib.Path, requirements: str, place: pathlib.Path) -> pathlib.Path:
    """Install what the project requires, as AWX does when it updates it: from its root, into a place of AWX's own."""
    galaxy = pathlib.Path(sys.executable).with_name("ansible-galaxy")
    command: list[str | pathlib.Path] = [
        galaxy,
        "collection",
        "install",
        "-r",
        str(project / requirements),
        "--collections-path",
        str(place),
    ]
    subprocess.run(command, cwd=project, check=True, stdout=subprocess.PIPE)
    return place


def planned(project: pathlib.Path, playbook: str, collections: pathlib.Path, directory: pathlib.Path) -> t.Any:
    """Run a job that plans for a saved snapshot; the plan that it hands on."""
    saved = directory / "snapshot.json"
    saved.write_text(json.dumps(two_hosts.snapshot()), encoding="utf-8")
    variables = {"balance_snapshot": str(saved), "balance_run_dir": str(directory / "run")}
    job = Job(directory / "job", project, LOCALHOST, **variables)
    job.run(playbook, "--check", ANSIBLE_COLLECTIONS_PATH=str(collections))
    return job.artifacts()["balance_saved_plan"]


def test_the_documentation_shows_a_whole_project() -> None:
    assert {"rebalance.yml", "consolidate.yml", "collections/requirements.yml", "awx.yml"} <= set(documented())
    assert all(yaml.safe_load(text) for text in documented().values())


def test_awx_offers_the_playbooks_of_a_project_of_ones_own(project: pathlib.Path) -> None:
    files = sorted(project.glob("*.yml"))
    assert len(files) >= 4
    for file in files:
        assert listed(file)
        (entry,) = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert (ROOT / "playbooks" / f"{entry['import_playbook'].rpartition('.')[2]}.yml").is_file()


@pytest.mark.parametrize("file", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda file: file.name)
def test_awx_offers_the_playbooks_of_this_repository(file: pathlib.Path) -> None:
    assert listed(file)


def test_a_project_of_ones_own_runs(project: pathlib.Path, tmp_path: pathlib.Path) -> None:
    collections = installed(project, "collections/requirements.yml", tmp_path / "collections")
    assert planned(project, "rebalance.yml", collections, tmp_path)["strategy"] == "balance"


def test_this_repository_runs_as_a_project(repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    collections = installed(repository, "requirements.yml", tmp_path / "collections")
    assert planned(repository, "playbooks/consolidate.yml", collections, tmp_path)["strategy"] == "consolidate"


def test_the_context_of_the_execution_environment_has_what_is_needed(
    repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    definition = repository / "execution-environment" / "execution-environment.yml"
    builder: list[str | pathlib.Path] = [
        tools.tool("ansible-builder"),
        "create",
        f"--file={definition}",
        f"--context={tmp_path}",
    ]
    subprocess.run(builder, cwd=repository, check=True, stdout=subprocess.PIPE)

    context = tmp_path / "_build"
    (collection,) = yaml.safe_load((context / "requirements.yml").read_text(encoding="utf-8"))["collections"]
    assert collection["name"] == REPOSITORY
    assert "jmespath" in (context / "requirements.txt").read_text(encoding="utf-8")
    assert "openssh-clients" in (context / "bindep.txt").read_text(encoding="utf-8")
    (recipe,) = [file for name in ("Containerfile", "Dockerfile") if (file := tmp_path / name).exists()]
    assert "ansible-core" in recipe.read_text(encoding="utf-8")


def test_the_collection_names_what_it_needs_in_any_execution_environment(
    repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    place = installed(repository, "requirements.yml", tmp_path)
    introspect: list[str | pathlib.Path] = [tools.tool("ansible-builder"), "introspect", place]
    done = subprocess.run(introspect, check=True, stdout=subprocess.PIPE, text=True)
    needed = yaml.safe_load(done.stdout)
    assert any("jmespath" in line for line in needed["python"])
    assert any("openssh-clients" in line for line in needed["system"])
