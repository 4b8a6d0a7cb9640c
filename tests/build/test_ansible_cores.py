# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The playbooks over the fleet of conftest.py, and real modules, with each version of ansible-core that is promised."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._host import marks as host_marks
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.plan import allocation_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.tests import cores
from ansible_collections.virtops.balance.tests.build import two_hosts
from ansible_collections.virtops.balance.tests.build.conftest import APART, HOSTS, Fleet
from ansible_collections.virtops.balance.tests.build.test_hpl import hpl
from ansible_collections.virtops.balance.tests.run_ansible import INSTALLED, run_ansible, start_ansible

VERSIONS = cores.versions()
OLDEST_AND_NEWEST = [VERSIONS[0], VERSIONS[-1]]
# Those between are for the long run: 2.18 templates as 2.17 does, 2.20 as 2.19, and all other files here have 2.19.
EACH = [
    version if version in OLDEST_AND_NEWEST else pytest.param(version, marks=pytest.mark.long) for version in VERSIONS
]
LIBVIRT_PYTHON = "/usr/bin/python3"
ALL_KINDS = r"""
- name: All kinds of tasks
  hosts: all
  gather_facts: false
  tasks:
    - name: Fail, which is ignored
      ansible.builtin.fail: {msg: NEVER 1}
      ignore_errors: true
    - name: Fail, which is none
      ansible.builtin.fail: {msg: NEVER 2}
      failed_when: false
    - name: Be fine
      ansible.builtin.assert: {that: true}
    - name: Be skipped
      ansible.builtin.fail: {msg: NEVER 3}
      when: false
    - name: Say nothing yet
      ansible.builtin.debug: {msg: NEVER 4, verbosity: 2}
    - name: Say something
      ansible.builtin.debug: {msg: "hello\nworld"}
    - name: Change something
      ansible.builtin.command: "true"
      changed_when: true
    - name: Fail in a block
      block:
        - name: Fail in two of three
          ansible.builtin.fail: {msg: "bad {{ item }}"}
          when: item != 2
          loop: [1, 2, 3]
      rescue:
        - name: Go on
          ansible.builtin.debug: {msg: It goes on.}
    - name: Fail
      ansible.builtin.command: sh -c "echo out; echo err >&2; exit 3"
- name: For nobody
  hosts: nobody
  tasks: []
"""


@pytest.fixture(params=EACH)
def python(request: pytest.FixtureRequest) -> Path:
    """The Python of the environment with that version."""
    return cores.environment(request.param)


@pytest.fixture
def fleet(tmp_path: Path, collections: Path, python: Path) -> Fleet:
    return Fleet(tmp_path, collections, python)


def ansible(python: Path, program: str, *arguments: str, cwd: Path) -> str:
    """Run a program of that Ansible on the collection of this checkout and return what it printed."""
    environment = {**INSTALLED, "ANSIBLE_DEPRECATION_WARNINGS": "1"}
    said = run_ansible(program, *arguments, cwd=cwd, fails=None, python=python, environment=environment)
    assert "DEPRECAT" not in said, said
    return said


def test_plans_from_a_saved_snapshot(fleet: Fleet) -> None:
    known = two_hosts.snapshot()
    # A character that JSON has as two escapes.
    next(iter(known["domains"].values()))["name"] = "web-\U0001f600"
    saved = fleet.place / "saved.json"
    saved.write_text(json.dumps(known), encoding="utf-8")

    # It is rebalance.yml with another strategy.
    fleet.run("consolidate", balance_snapshot=str(saved), balance_policy={"max_moves": 1})
    assert fleet.saved("plan.json") == plan(known, {"max_moves": 1, "strategy": "consolidate"})
    assert fleet.saved("snapshot.json") == known

    wanted = {domain["name"]: {"cpu_min": 1, "cpu_max": 2} for domain in known["domains"].values()}
    said = fleet.run(
        "allocate", "--check", "--diff", balance_snapshot=str(saved), balance_policy={}, balance_domains=wanted
    )
    assert fleet.saved("plan.json") == allocation_plan(known, wanted, {}, {})
    assert "web-\U0001f600" in said


def test_a_rebalance_moves_and_reports(fleet: Fleet) -> None:
    guests = fleet.guests()
    for name in guests:
        if name.startswith("app"):
            guests[name]["host"] = "kvm1"
    fleet.set(guests)

    said = fleet.run("rebalance", balance_policy={**APART, "threshold": 0.01, "minimum_gain": 0, "move_cost": 0})

    moved = [line.split() for line in fleet.log()]
    assert [(how, source) for how, _name, source, _destination in moved] == [("moved", "kvm1")] * 3
    assert f"DONE: {len(moved)} moved." in said
    outcome = fleet.saved("outcome.json")
    assert (outcome["count"]["moved"], outcome["problem"]) == (3, None)
    assert {len(fleet.on(host)) for host in HOSTS} == {3}


@pytest.mark.parametrize("python", OLDEST_AND_NEWEST, indirect=True)
def test_a_drain_that_fails_says_so_and_gives_the_mark_back(fleet: Fleet) -> None:
    (fleet.place / "fail-web-1").touch()
    said = fleet.run("drain", drain_hosts="kvm1", drain_give_back=True, fails=True)
    assert "web-1 could not leave kvm1." in said
    assert fleet.log()[0] == "drained kvm1"
    assert fleet.drained() == []


@pytest.mark.parametrize("python", OLDEST_AND_NEWEST, indirect=True)
def test_a_host_is_maintained(fleet: Fleet) -> None:
    fleet.run("maintain", maintenance_hosts="kvm1", maintenance_tasks="tasks.yml", maintenance_name="patches")
    did = [line.split()[0] for line in fleet.log()]
    assert did == ["drained", *["moved"] * (len(did) - 3), "maintained", "open"]
    assert len(did) > 3
    assert fleet.saved("round-1-outcome.json")["problem"] is None


@pytest.mark.parametrize("python", OLDEST_AND_NEWEST, indirect=True)
def test_the_doctor_asks_every_host_about_every_other_one(fleet: Fleet) -> None:
    (fleet.place / "images").mkdir()
    (fleet.place / "kvm1" / "no-key-kvm2").touch()
    said = fleet.run("doctor", fails=True)
    assert "1 kvm1 - C . 2 kvm2 . - . 3 kvm3 . . - . well;" in said
    assert "~root/.ssh/authorized_keys of kvm2: cat ~/.ssh/id_*.pub" in said


@pytest.mark.parametrize("python", OLDEST_AND_NEWEST, indirect=True)
def test_a_host_is_open_again(fleet: Fleet) -> None:
    root = str(fleet.place / "kvm2")
    host_marks.write(
        {**host_marks.read(root=root), "drained": {"since": "2026-01-31T12:00:00Z", "purpose": "disk"}}, root=root
    )
    fleet.run("undrain", undrain_hosts="kvm2")
    assert (fleet.drained(), fleet.log()) == ([], ["open kvm2"])


@pytest.mark.parametrize("python", OLDEST_AND_NEWEST, indirect=True)
@pytest.mark.parametrize(
    ("playbook", "more"),
    [
        ("rebalance", {}),
        ("allocate", {"balance_domains": {"app-0": {"cpu_min": 0.5}}}),
        ("drain", {"drain_hosts": "kvm1"}),
        ("maintain", {"maintenance_hosts": "kvm1"}),
        ("release", {}),
    ],
)
def test_the_inventory_may_name_the_fleet(fleet: Fleet, playbook: str, more: dict[str, t.Any]) -> None:
    """Ansible does not look into the inventory for the hosts of a play; localhost does."""
    hosts = (fleet.place / "hosts").read_text(encoding="utf-8").replace("[hypervisors]", "[kvm]")
    (fleet.place / "hosts").write_text(f"{hosts}[all:vars]\nbalance_hosts=kvm\n[hypervisors]\nkvm9\n", encoding="utf-8")
    said = fleet.run(playbook, "--check", **more)
    assert "kvm2" in said
    assert "kvm9" not in said


@pytest.mark.parametrize("python", OLDEST_AND_NEWEST, indirect=True)
def test_what_filters_import_is_imported_once(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible's own process has it, which those of the tasks are copies of."""
    there = fleet.place / "there"
    # Processes of tasks end without it.
    (fleet.place / "sitecustomize.py").write_text(
        "import atexit, os, pathlib, sys\n"
        "atexit.register(lambda: pathlib.Path(os.environ['FLEET'], 'there').write_text(repr(set(sys.modules))))\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(fleet.place))
    for host in HOSTS:
        (fleet.place / host / "down").touch()
    fleet.run("drain", drain_hosts="kvm1", fails=True)
    plugins = fleet.collections / "ansible_collections" / "virtops" / "balance" / "plugins"
    wanted = {*plugins.glob("filter/*.py"), *plugins.glob("plugin_utils/_*/*s/*.py")}
    # What reads the past for a backtest is no algorithm that is found by name, and no run needs it.
    wanted -= {*plugins.glob("plugin_utils/_backtest/readers/*.py")}
    assert len(wanted) > 50
    names = {".".join(file.relative_to(fleet.collections).with_suffix("").parts) for file in wanted}
    assert names - ast.literal_eval(there.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("python", OLDEST_AND_NEWEST, indirect=True)
def test_what_is_typed_wrong_is_told(fleet: Fleet) -> None:
    said = fleet.run("rebalance", "-e", "drain_for=a new disk", fails=True)
    assert """leaves over: new disk. Write it as JSON: -e '{"NAME": "a value"}'.""" in said
    assert fleet.log() == []


@pytest.mark.parametrize("python", OLDEST_AND_NEWEST, indirect=True)
def test_the_callback_brief_prints_what_has_to_be_known(python: Path, tmp_path: Path) -> None:
    (tmp_path / "all_kinds.yml").write_text(ALL_KINDS, encoding="utf-8")
    done = start_ansible(
        *("ansible-playbook", "-i", "kvm1,kvm2,", "all_kinds.yml", "--forks=1"),
        *("-e", "ansible_connection=local", "-e", f"ansible_python_interpreter={python}"),
        cwd=tmp_path,
        python=python,
        environment={**INSTALLED, "ANSIBLE_STDOUT_CALLBACK": "virtops.balance.brief"},
    )
    assert done.returncode == 2
    lines = [re.sub(r" +(\d+ min )?\d+(\.\d)? s\b", " TIME", line) for line in done.stdout.splitlines()]
    failed = next(number for number, line in enumerate(lines) if line.startswith("FAILED kvm1, Fail: "))
    # The words are those of ansible-core, and not of every version the same.
    assert "non-zero return code" in lines.pop(failed)
    assert lines == [
        "hello",
        "world",
        "  Change something (kvm1, kvm2) TIME",
        *("FAILED kvm1, Fail in two of three (1): bad 1", "FAILED kvm1, Fail in two of three (3): bad 3"),
        "FAILED kvm2, Fail in two of three (1): the same as on kvm1",
        "FAILED kvm2, Fail in two of three (3): the same as on kvm1",
        "It goes on.",
        *("err", "out", "FAILED kvm2, Fail: the same as on kvm1"),
        "  Fail (kvm1, kvm2) TIME",
        "All kinds of tasks TIME",
        "FAILED: kvm1, kvm2. The run took TIME; with -v it tells of each task.",
    ]


@pytest.mark.parametrize("python", OLDEST_AND_NEWEST, indirect=True)
@pytest.mark.skipif(not all(map(shutil.which, ("hpcc", "mpirun"))), reason="needs the packages hpcc and openmpi-bin")
def test_numbers_in_variables_are_numbers(python: Path, tmp_path: Path) -> None:
    # Before 2.19 a template that is a number is its text.
    assert "Gflop/s by" in hpl(tmp_path, python=python)


@pytest.mark.parametrize("python", OLDEST_AND_NEWEST, indirect=True)
def test_modules_run_with_the_python_that_has_libvirt(python: Path, tmp_path: Path) -> None:
    """The environment has no libvirt, so they are run again by the system's Python; one runs in the background."""
    if subprocess.run([LIBVIRT_PYTHON, "-c", "import libvirt"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("needs the package python3-libvirt")
    there = "uri=test:///default"

    def module(name: str, arguments: str) -> dict[str, t.Any]:
        more = ("-e", f"ansible_python_interpreter={python}", "-e", "ansible_connection=local")
        said = ansible(
            python, "ansible", "localhost", "-m", f"virtops.balance.{name}", "-a", arguments, *more, cwd=tmp_path
        )
        found = re.search(r"^localhost \| \S+ => (\{.*^\})", said, re.DOTALL | re.MULTILINE)
        assert found, said
        return t.cast("dict[str, t.Any]", json.loads(found[1]))

    seen = module("host_info", f"{there} interval=0.1")
    assert [domain["name"] for domain in seen["observation"]["domains"]] == ["test"]
    # The driver has the same domain at both ends, which no migration can make better.
    refused = module("domain_migrate", f"{there} domain=test source=localhost destination=x destination_{there}")
    assert refused["sentence"].startswith("test is active on localhost (running) and on x (running)")
