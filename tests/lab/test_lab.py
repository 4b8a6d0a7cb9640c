# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The lab itself, after all of it was killed. (That nothing is left of it in the end, the fixture sees to.)"""

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import Lab, wait_for

pytestmark = pytest.mark.long


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
