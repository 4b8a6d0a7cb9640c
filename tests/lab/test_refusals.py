# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A move that fails on the way: the next run makes another one, and says what it waits for."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.tests.lab.lab import Lab

# The memory is sent to the source itself, where nobody listens. No check can know that before.
NOWHERE = "{{ 'tcp://127.0.0.1' if inventory_hostname in ['kvm2', 'kvm3'] else '' }}"


def policy(*names: str, hosts: t.Sequence[str] = ("kvm2", "kvm3")) -> dict[str, t.Any]:
    """These have to leave kvm1, and nothing else moves."""
    return {
        "pins": [{"domains": {"names": [name]}, "hosts": list(hosts)} for name in names],
        "cooldown_seconds": 0,
        "retry_after_seconds": 600,
        "threshold": 1.0,
        "cpu_limit": 10,
    }


def ways(lab: Lab) -> dict[str, str]:
    """Where the last plan has each domain go."""
    return {move["name"]: move["destination"] for wave in lab.saved("plan.json")["waves"] for move in wave["moves"]}


def remembered(lab: Lab, snapshot: str = "snapshot.json") -> dict[tuple[str, str], int]:
    """How often which move away from kvm1 failed."""
    found = lab.saved(snapshot)
    names = {uuid: domain["name"] for uuid, domain in found["domains"].items()}
    refusals = found["hosts"]["kvm1"]["marks"]["refusals"]
    return {(names[one["domain"]], one["destination"]): one["times"] for one in refusals}


def test_a_failing_move_is_not_tried_again_before_another_one_and_can_be_forgotten(lab: Lab) -> None:
    output = lab.playbook(
        "rebalance", balance_policy=policy("web-1", "batch-1"), balance_migrate_uri=NOWHERE, fails=True
    )
    failed = ways(lab)
    assert set(failed) == {"web-1", "batch-1"}
    assert "web-1 was not moved from kvm1" in output
    assert lab.placement()["web-1"] == lab.placement()["batch-1"] == ["kvm1"]
    assert remembered(lab, "snapshot_after.json") == dict.fromkeys(failed.items(), 1)

    # Nothing is broken any more, but nobody knows that.
    output = lab.playbook("rebalance", balance_policy=policy("web-1"))
    (other,) = {"kvm2", "kvm3"} - {failed["web-1"]}
    assert ways(lab) == {"web-1": other}
    assert lab.placement()["web-1"] == [other]
    told = " ".join(output.split())
    assert f"web-1 to {failed['web-1']} (after " in told
    assert f"batch-1 to {failed['batch-1']} (after " in told
    assert remembered(lab, "snapshot_after.json") == {("batch-1", failed["batch-1"]): 1}

    only = policy("batch-1", hosts=[failed["batch-1"]])
    output = " ".join(lab.playbook("rebalance", "--check", balance_policy=only).split())
    assert (lab.saved("plan.json")["verdict"], ways(lab)) == ("stuck", {})
    assert "what failed before is tried again after " in output
    assert f"the move to {failed['batch-1']} failed at " in output

    lab.playbook("rebalance", balance_policy=only, balance_forget=True)
    assert lab.placement()["batch-1"] == [failed["batch-1"]]
    assert remembered(lab, "snapshot_after.json") == {}
