# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The lab itself: its network, and all of it after it was killed. (That nothing is left of it, the fixture sees to.)"""

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import Lab, wait_for


@pytest.mark.parametrize(
    ("namespace", "bridge"), [("", Lab.bridge), *((f"-n virtops-lab-{host}", "br0") for host in Lab.hosts)]
)
def test_a_bridge_keeps_its_address_whatever_joins_it(whole_lab: Lab, namespace: str, bridge: str) -> None:
    # By itself Linux takes the lowest address of all ports. Both ends of a migration have a port with one address.
    def address() -> str:
        return whole_lab.machine(f"ip {namespace} -brief link show {bridge}").split()[2]

    before = address()
    try:
        whole_lab.machine(
            f"ip {namespace} link add lowest address 00:00:00:00:00:01 type veth peer name other &&"
            f" ip {namespace} link set lowest master {bridge}"
        )
        assert "lowest" in whole_lab.machine(f"ip {namespace} -brief link show master {bridge}")
        assert address() == before
    finally:
        whole_lab.machine(f"ip {namespace} link del lowest")


@pytest.mark.long
def test_a_lab_that_was_killed_comes_up_again(whole_lab: Lab) -> None:
    # As when its user logs out of a container: every process is gone; mounts, links and cgroups are not.
    whole_lab.machine(
        "kill -KILL $(cat /var/lib/virtops-lab/lxcfs.pid)"
        " $(grep --no-messages --files-with-matches virtops-lab /proc/[0-9]*/cgroup | cut -d/ -f3)"
    )
    wait_for("the end of all processes", lambda: "/proc/" not in whole_lab.traces())

    whole_lab.playbook("lab_up")

    assert whole_lab.placement() == {guest: ["kvm1"] for guest in whole_lab.guests}
    assert whole_lab.playbook("lab_up").count("changed=0") == len(whole_lab.hosts)
