# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Hosts that Ansible enters as a user who may use sudo, as most fleets have it, with ``ansible_become: true``."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import Lab

# It has a file system of its own, and so users of its own.
HOST = "kvm3"
USER = "operator-of-hosts"


@pytest.fixture(scope="module")
def user(whole_lab: Lab) -> t.Iterator[None]:
    whole_lab.shell(HOST, f"useradd --create-home --password '*' --shell /bin/bash {USER}")
    try:
        whole_lab.shell(HOST, f"echo '{USER} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{USER}")
        yield
    finally:
        whole_lab.shell(HOST, f"rm --force /etc/sudoers.d/{USER}; userdel --force --remove {USER}")


@pytest.fixture
def enter(user: None, tmp_path: Path) -> t.Callable[..., tuple[str, str]]:
    """Arguments of a playbook that make Ansible enter the host as that user."""

    def arguments(**variables: t.Any) -> tuple[str, str]:
        inventory = tmp_path / "user.json"
        hosts = {"hosts": {HOST: {"ansible_user": USER, **variables}}}
        inventory.write_text(json.dumps({"hypervisors": hosts}))
        return "--inventory", str(inventory)

    return arguments


def test_moves_to_and_from_a_host_that_is_entered_with_sudo(lab: Lab, enter: t.Callable[..., tuple[str, str]]) -> None:
    with_sudo = enter(ansible_become=True)
    only_two = {"drained_hosts": ["kvm2"]}
    try:
        lab.playbook("drain", *with_sudo, drain_hosts="kvm1", balance_policy={**only_two, "cpu_overcommit": 8})
        assert {guest: hosts for guest, hosts in lab.placement().items() if hosts != [HOST]} == {}
        lab.playbook("undrain", *with_sudo, undrain_hosts="kvm1")

        lab.playbook("drain", *with_sudo, drain_hosts=HOST)
        assert [guest for guest, hosts in lab.placement().items() if HOST in hosts] == []
    finally:
        lab.playbook("undrain", *with_sudo, undrain_hosts=f"kvm1,{HOST}")


def test_a_host_that_is_entered_without_sudo_is_told_and_left_out(
    lab: Lab, enter: t.Callable[..., tuple[str, str]]
) -> None:
    said = " ".join(lab.playbook("rebalance", *enter()).split())

    assert "The lease in /var/lib/virtops.balance/lease.json cannot be used: Permission denied" in said
    assert [guest for guest, hosts in lab.placement().items() if HOST in hosts] == []
