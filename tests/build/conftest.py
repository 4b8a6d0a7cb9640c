# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A fleet that stands in for hosts (fleet_stand_in.py), for the playbooks as they are."""

from __future__ import annotations

import json
import os
import shutil
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._host import lease as _lease
from ansible_collections.virtops.balance.plugins.module_utils._host import marks as host_marks
from ansible_collections.virtops.balance.tests.build import fleet_stand_in
from ansible_collections.virtops.balance.tests.long import skip_long
from ansible_collections.virtops.balance.tests.run_ansible import run_ansible

# Tests read what each task did; the ansible.cfg of the checkout leaves that out.
os.environ.setdefault("ANSIBLE_STDOUT_CALLBACK", "ansible.builtin.default")

ROOT = Path(__file__).resolve().parents[2]
HOSTS = ("kvm1", "kvm2", "kvm3")
TIED = {"blockers": [{"code": "host_cpu", "message": "tied to the CPU of this host"}]}
APART = {"anti_affinity": [{"name": name, "domains": {"names": [f"{name}-1", f"{name}-2"]}} for name in ("web", "db")]}
TASKS = """
- name: Be empty while that is done
  ansible.builtin.shell: |
    host={{ inventory_hostname }}
    grep -q '"host": "'$host'"' "$FLEET/fleet.json" && echo "not empty $host" >>"$FLEET/log"
    echo "maintained $host" >>"$FLEET/log"
    ! test -e "$FLEET/break-$host"
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip_long(items)


@pytest.fixture(scope="session")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection, but its modules that touch hosts touch the stand-in."""
    place = tmp_path_factory.mktemp("collections")
    copy = place / "ansible_collections" / "virtops" / "balance"
    copy.mkdir(parents=True)
    for part in ("meta", "playbooks", "plugins", "roles", "tests", "galaxy.yml"):
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, copy / part)
    for name in fleet_stand_in.NAMES:
        shutil.copy(fleet_stand_in.__file__, copy / "plugins" / "action" / f"{name}.py")
    return place


class Fleet:
    """Three hosts with nine domains: two pairs that are kept apart, and five others.

    Playbooks are run by the Ansible of the environment ``python`` belongs to.
    """

    def __init__(self, place: Path, collections: Path, python: Path = Path(sys.executable)) -> None:
        self.place, self.collections, self.python = place, collections, python
        for host in HOSTS:
            (place / host).mkdir()
        (place / "log").touch()
        # How often Ansible looks whether a task has ended: a thousand times a second costs a tenth of all it does here.
        (place / "ansible.cfg").write_text("[defaults]\ninternal_poll_interval = 0.01\n", encoding="utf-8")
        (place / "hosts").write_text("[hypervisors]\n" + "\n".join(HOSTS) + "\n", encoding="utf-8")
        (place / "tasks.yml").write_text(TASKS, encoding="utf-8")
        names = {"web-1": "kvm1", "web-2": "kvm2", "db-1": "kvm2", "db-2": "kvm3"}
        names.update({f"app-{number}": HOSTS[number % 3] for number in range(5)})
        self.set({name: {"host": host, "more": {}} for name, host in names.items()})

    def set(self, guests: dict[str, t.Any]) -> None:
        (self.place / "fleet.json").write_text(json.dumps(guests), encoding="utf-8")

    def guests(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads((self.place / "fleet.json").read_text(encoding="utf-8")))

    def on(self, host: str) -> list[str]:
        return sorted(name for name, guest in self.guests().items() if guest["host"] == host)

    def log(self) -> list[str]:
        return (self.place / "log").read_text(encoding="utf-8").splitlines()

    def drained(self) -> list[str]:
        return [host for host in HOSTS if host_marks.read(root=str(self.place / host))["drained"]]

    def leased(self) -> list[str]:
        return [host for host in HOSTS if _lease.read(root=str(self.place / host))]

    def saved(self, name: str) -> t.Any:
        return json.loads((self.place / "run" / name).read_text(encoding="utf-8"))

    def run(self, playbook: str, *arguments: str, fails: bool = False, **variables: t.Any) -> str:
        """Run a playbook and return its output, on one line; a message in JSON has its quotes as they are meant."""
        return " ".join(self.printed(playbook, *arguments, fails=fails, **variables).split()).replace('\\"', '"')

    def printed(
        self, playbook: str, *arguments: str, fails: bool = False, callback: str | None = None, **variables: t.Any
    ) -> str:
        """Run a playbook and return its output as it is; callback: what prints it, None = as everywhere."""
        given = {
            "ansible_connection": "local",
            "ansible_python_interpreter": str(self.python),
            "balance_run_dir": str(self.place / "run"),
            "balance_policy": APART,
            **variables,
        }
        said = run_ansible(
            *("ansible-playbook", "-i", self.place / "hosts", f"virtops.balance.{playbook}"),
            *("-e", json.dumps(given), *arguments),
            cwd=self.place,
            fails=fails,
            python=self.python,
            environment={
                "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
                "ANSIBLE_DEPRECATION_WARNINGS": "1",
                **({"ANSIBLE_STDOUT_CALLBACK": callback} if callback else {}),
                "FLEET": str(self.place),
            },
        )
        assert self.leased() == [], said
        assert "DEPRECAT" not in said, said
        return said


@pytest.fixture
def fleet(tmp_path: Path, collections: Path) -> Fleet:
    return Fleet(tmp_path, collections)
