# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A migration that breaks at its switch-over: where the guest may run afterwards, and what every later run says."""

from __future__ import annotations

import subprocess
import typing as t

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import Lab, wait_for
from ansible_collections.virtops.balance.tests.lab.test_domain_migrate import HERE, NAME, SLOW, THERE, Mover

pytestmark = pytest.mark.fault

# Prints the ids of processes of a host as the machine has them.
_PROCESSES = 'for pid in $(ip netns pids virtops-lab-{host}); do {test} && echo "$pid"; done'
_DAEMON = '[ "$(cat "/proc/$pid/comm")" = libvirtd ]'
_GUEST = f'tr "\\0" " " <"/proc/$pid/cmdline" | grep -q "guest={NAME}[, ]"'
_TRIES = 5


@pytest.fixture
def mover(whole_lab: Lab) -> t.Iterator[Mover]:
    made = Mover(whole_lab)
    try:
        made.create()
        yield made
    finally:
        for host in (HERE, THERE):
            whole_lab.machine(f"kill -CONT {daemon(whole_lab, host)}")
        made.remove()


def daemon(lab: Lab, host: str) -> str:
    return wait_for(f"libvirtd on {host}", lambda: lab.machine(_PROCESSES.format(host=host, test=_DAEMON)))


def qemu(lab: Lab, host: str) -> str:
    return lab.machine(_PROCESSES.format(host=host, test=_GUEST))


def answers(lab: Lab, host: str) -> None:
    wait_for(f"an answer of {host}", lambda: lab.virsh(host, "list", "--all", "--name", check=False))


def reason(lab: Lab, host: str) -> str:
    return lab.virsh(host, "domstate", "--reason", NAME, check=False)


def break_off(mover: Mover) -> subprocess.Popen[str]:
    """Have the daemon of the destination stopped, and that of the source killed, between the pause of the guest on the
    source and its start on the destination. Returns the module's run."""
    lab = mover.lab
    for _try in range(_TRIES):
        mover.reset()
        # What is left to send when the guest is paused gives the time to do it.
        lab.load(NAME, percent=50, dirty=2)
        events = (
            f"stdbuf -oL virsh --connect {lab.uri(HERE)} event --domain {NAME} --event lifecycle --loop --timeout 120"
        )
        # No pipe: the shell would wait for the end of virsh as well.
        stop = f"grep --quiet --max-count=1 Suspended < <({events}) && kill -STOP {daemon(lab, THERE)}"
        watch = subprocess.Popen([*lab.as_root, "bash", "-c", stop])
        run = lab.start_playbook("tests/lab/migrate.yml", domain=NAME, at=HERE, destination=THERE, **SLOW)
        try:
            assert watch.wait(120) == 0
        finally:
            watch.kill()
        if reason(lab, HERE).startswith("paused"):
            lab.machine(f"kill -KILL {daemon(lab, HERE)}")
            return run
        # It was too late.
        lab.machine(f"kill -CONT {daemon(lab, THERE)}")
        run.communicate(timeout=180)
    raise AssertionError(f"the switch-over was missed {_TRIES} times")


def test_a_guest_that_ran_on_the_destination_and_ended_there_is_never_resumed(mover: Mover) -> None:
    lab = mover.lab
    run = break_off(mover)
    lab.machine(f"kill -CONT {daemon(lab, THERE)}")
    answers(lab, HERE)
    wait_for("the guest on the destination", lambda: reason(lab, THERE).startswith("running"))
    output, _none = run.communicate(timeout=180)
    assert run.returncode != 0, output
    assert lab.saved("migrated.json")["outcome"] == "finished_unconfirmed", output
    assert reason(lab, HERE) == "paused (migrating)"

    # Two copies: no run plans anything, and each tells which one is stale.
    said = lab.playbook("rebalance", fails=True)
    assert f"runs on {THERE}, and {HERE} still holds the paused copy of it" in " ".join(said.split())

    lab.virsh(THERE, "destroy", NAME)
    result = mover.migrate(fails=True)

    assert result["outcome"] == "may_have_run"
    assert "may be resumed" not in result["msg"]
    assert f"its definition on {THERE} is not what it was before the migration" in result["msg"]
    for _run in range(2):
        said = " ".join(lab.playbook("rebalance", fails=True).split())
        assert f"{NAME} does not run: it is paused (migration) on {HERE} by a migration from {HERE} to {THERE}" in said
        assert f"It may have run on {THERE} and ended there." in said
        outcome = lab.saved("outcome.json")
        assert outcome["problem"].startswith(f"{NAME} does not run: ")
        assert [found["name"] for found in outcome["not_running"]] == [NAME]
    assert reason(lab, HERE) == "paused (migrating)"


def test_a_guest_that_never_ran_on_the_destination_goes_on(mover: Mover) -> None:
    lab = mover.lab
    before = lab.status(NAME)
    run = break_off(mover)
    lab.machine(f"kill -KILL {qemu(lab, THERE)} {daemon(lab, THERE)}")
    output, _none = run.communicate(timeout=180)

    assert run.returncode != 0, output
    result = lab.saved("migrated.json")
    assert (result["outcome"], result["resumed"]) == ("on_source", True), output
    assert mover.hosts() == [HERE]
    assert lab.status(NAME)["boot_id"] == before["boot_id"]
    # And it can be done again.
    assert mover.migrate()["changed"]
