# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The archive that users install: what is in it, and that it works where nothing else of the checkout is."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

import pytest

from ansible_collections.virtops.balance.tests import tools
from ansible_collections.virtops.balance.tests.build import two_hosts

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What a person may have lying about; every pattern of .gitignore is hit by at least one of them.
LITTER = (
    ".ansible/roles/x",
    ".cache/mypy/x",
    ".coverage",
    ".hypothesis/examples/x",
    ".mypy_cache/x",
    ".nox/lint/x",
    ".pytest_cache/x",
    ".ruff_cache/x",
    ".venv/bin/python",
    "balance.egg-info/x",
    "changelogs/.plugin-cache.yaml",
    "collections/ansible_collections/x",
    "playbooks/rebalance.retry",
    "plugins/filter/.plan.py.swp",
    "plugins/filter/__pycache__/x.cpython-311.pyc",
    "plugins/filter/plan.py~",
    "plugins/filter/plan.pyc",
    "tests/integration/inventory",
    "tests/output/junit/x.xml",
    "virtops-balance-0.0.9.tar.gz",
)
# What Galaxy's importer says of an archive with which everything is all right. It unpacks the archive where
# ansible-lint does not find by their names the playbooks that others import.
SAID_BY_IMPORTER = re.compile(
    r"Importing with galaxy-importer [0-9.]+|Getting doc strings via ansible-doc|"
    r"Finding content inside collection|"
    r"WARNING: ERROR    Failed to find virtops\.balance\.(rebalance|lab_up) playbook\.|"
    r"Linting collection via ansible-lint [0-9.]+\.\.\.|\.\.\.ansible-lint run complete|Collection loading complete|"
    r"Importer processing completed successfully"
)


def run(*command: str | pathlib.Path, cwd: pathlib.Path, collections: pathlib.Path) -> str:
    """Run a command that sees only one place for collections; return what it printed."""
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ANSIBLE_COLLECTIONS_PATH": str(collections)}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def files_of_git(*options: str) -> list[str]:
    """Return the files of the checkout that git tells of, deleted ones left out."""
    # In a checkout of another user, git works only where it is told that this is fine.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", *options]
    listed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.split("\0")
    return [name for name in listed if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def littered(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A copy of the checkout, uncommitted work included, with something at every place that git ignores."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in (*files_of_git("--cached", "--others", "--exclude-standard"), *LITTER):
        file = copy / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if name in LITTER:
            file.touch()
        else:
            shutil.copy(ROOT / name, file)
    return copy


@pytest.fixture(scope="module")
def archive(littered: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The archive, built there."""
    output = tmp_path_factory.mktemp("archive")
    run("ansible-galaxy", "collection", "build", "--output-path", output, cwd=littered, collections=output)
    (built,) = output.glob("virtops-balance-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def installed(archive: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A path for collections that has only this one, installed from the archive."""
    path = tmp_path_factory.mktemp("installed")
    install = ("ansible-galaxy", "collection", "install", "--offline", "--no-deps", "--collections-path", path, archive)
    run(*install, cwd=path, collections=path)
    return path


def test_litter_hits_every_pattern_of_gitignore(littered: pathlib.Path) -> None:
    lines = (littered / ".gitignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    subprocess.run(["git", "init", "--quiet"], cwd=littered, check=True)
    checked = subprocess.run(
        ["git", "check-ignore", "--verbose", *LITTER], cwd=littered, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()
    hit = {line.split("\t")[0].split(":", 2)[2] for line in checked}
    assert len(checked) == len(LITTER)
    assert sorted(hit) == sorted(patterns)


def test_archive_has_no_litter(archive: pathlib.Path) -> None:
    with tarfile.open(archive) as content:
        names = {member.name for member in content if member.isfile()}
    kept = set(files_of_git("--cached", "--others", "--exclude-standard"))
    assert names - kept == {"FILES.json", "MANIFEST.json"}
    assert {"README.md", "LICENSE", "meta/runtime.yml", "tests/config.yml"} <= names


def test_playbook_runs_by_name(installed: pathlib.Path, tmp_path: pathlib.Path) -> None:
    saved = tmp_path / "snapshot.json"
    saved.write_text(json.dumps(two_hosts.snapshot()), encoding="utf-8")
    variables = {"balance_snapshot": str(saved), "balance_run_dir": str(tmp_path / "run")}
    command = ("ansible-playbook", "virtops.balance.rebalance", "--extra-vars", json.dumps(variables))
    printed = run(*command, cwd=tmp_path, collections=installed)
    plan = json.loads((tmp_path / "run" / "plan.json").read_text(encoding="utf-8"))
    assert plan["verdict"] == "move", plan["why"]
    moves = [move for wave in plan["waves"] for move in wave["moves"]]
    assert {(move["source"], move["destination"]) for move in moves} == {("kvm1", "kvm2")}
    assert [move["name"] for move in moves if move["name"] not in printed] == []


@pytest.mark.parametrize(
    ("kind", "path"),
    [("module", "plugins/modules/*.py"), ("filter", "plugins/filter/*.yml"), ("role", "roles/*/meta/main.yml")],
)
def test_documentation_is_found(kind: str, path: str, installed: pathlib.Path, tmp_path: pathlib.Path) -> None:
    files = (installed / "ansible_collections/virtops/balance").glob(path)
    names = [f"virtops.balance.{file.parts[-3] if kind == 'role' else file.stem}" for file in files]
    assert names
    printed = run("ansible-doc", "--type", kind, *names, cwd=tmp_path, collections=installed)
    assert [name for name in names if name not in printed] == []


@pytest.mark.long
def test_galaxy_imports_it(archive: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Galaxy's own importer, which also runs ansible-doc and ansible-lint on what is in the archive."""
    importer = tools.tool("python")
    # It finds ansible-doc and ansible-lint by PATH, and unpacks the archive into a temporary directory.
    environment = {
        **os.environ,
        "PATH": f"{importer.parent}{os.pathsep}{os.environ['PATH']}",
        "GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "true",
        "TMPDIR": str(tmp_path),
        "ANSIBLE_COLLECTIONS_PATH": str(tmp_path),
    }
    imported = subprocess.run(
        [importer, "-m", "galaxy_importer.main", archive],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = imported.stdout.splitlines()
    said = [line for line in lines if not line.startswith("Loading ")]

    assert imported.returncode == 0, imported.stdout
    assert said[-1] == "Importer processing completed successfully", imported.stdout
    # Whatever it has to say besides (warnings, errors, what ansible-lint found) is a line of its own.
    assert [line for line in said if not SAID_BY_IMPORTER.fullmatch(line)] == []
    found = {line for line in lines if line.startswith("Loading ")}
    for kind, path in (
        ("module", "plugins/modules/*.py"),
        ("filter", "plugins/filter/*.yml"),
        ("role", "roles/*/meta/main.yml"),
    ):
        for file in ROOT.glob(path):
            assert f"Loading {kind} {file.parts[-3] if kind == 'role' else file.stem}" in found
