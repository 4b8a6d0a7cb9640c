# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""One lab for all tests.

LAB_KEEP=1 leaves it up at the end, for a look or for the next run with LAB_KEEP=1; LAB_LONG=1 runs the tests marked
"long" or "fault" as well; LAB_KIND=machines and LAB_KIND=xen have system VMs as hosts, for the tests that
`make test-machines` and `make test-xen` name.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import AGENT_INTERVAL, KINDS, Lab
from ansible_collections.virtops.balance.tests.long import skip_long

# Tests read what each task did; the ansible.cfg of the checkout leaves that out.
os.environ.setdefault("ANSIBLE_STDOUT_CALLBACK", "ansible.builtin.default")


KIND = os.environ.get("LAB_KIND", "namespaces")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip_long(items)
    for item in items:
        for kind in ("machines", "xen"):
            if item.get_closest_marker(kind) and kind != KIND:
                item.add_marker(pytest.mark.skip(reason=f"wants system VMs; make test-{kind} runs it"))


@pytest.fixture(scope="session")
def whole_lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    lab = KINDS[KIND](tmp_path_factory.mktemp("run"))
    # This machine has one lab: a second session of tests waits for its turn.
    with open(Path(tempfile.gettempdir()) / f"virtops-{KIND}-tests.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield from _up(lab)


def _up(lab: Lab) -> t.Iterator[Lab]:
    try:
        if not os.environ.get("LAB_KEEP") and lab.traces():
            # Tests that were killed have left it, with guests and definitions of their own.
            lab.playbook("lab_down")
        lab.playbook("lab_up")
        lab.gather()
        yield lab
    finally:
        if not os.environ.get("LAB_KEEP"):
            lab.playbook("lab_down")
            left = lab.traces()
            assert not left, f"the lab left behind:\n{left}"


@pytest.fixture(scope="module")
def agents(whole_lab: Lab) -> t.Iterator[Lab]:
    """The lab with agents that sample every two seconds."""
    try:
        for host in whole_lab.hosts:
            # What runs of other tests have stored is no sample of an agent.
            whole_lab.shell(host, "rm -f /var/lib/virtops.balance/history.sqlite*")
        whole_lab.playbook("tests/lab/agent.yml", agent_interval=AGENT_INTERVAL)
        yield whole_lab
    finally:
        whole_lab.playbook("tests/lab/agent.yml", absent=True)


@pytest.fixture
def lab(whole_lab: Lab) -> Lab:
    """The lab with every guest on kvm1, at rest, so that tests are quick."""
    whole_lab.gather()
    return whole_lab


@pytest.fixture
def loaded(lab: Lab) -> t.Iterator[Lab]:
    """The lab with the load that the inventory describes: more than kvm1 has."""
    lab.loads({guest: declared["load"] for guest, declared in lab.guests.items()})
    yield lab
    lab.rest()


@pytest.fixture
def quiet(lab: Lab) -> t.Iterator[Lab]:
    """The lab with every guest paused: at rest they still take half of a machine that is emulated."""
    names = list(lab.guests)
    for guest in names:
        lab.virsh(lab.first, "suspend", guest)
    yield lab
    for guest in names:
        lab.virsh(lab.first, "resume", guest)


@pytest.fixture(scope="module")
def two_cpus(whole_lab: Lab) -> t.Iterator[Lab]:
    """The lab with a kvm1 of two CPUs, which is what takes to spread vCPUs over. It starts anew with its guests."""
    whole_lab.gather()
    whole_lab.playbook("lab_up", "--limit", "kvm1", lab_cpus=2.0)
    yield whole_lab
    whole_lab.gather()
    whole_lab.playbook("lab_up", "--limit", "kvm1")
