# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What a run changes in a policy."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._run.policy import for_run


@pytest.mark.parametrize(
    ("run", "changed"),
    [
        ({}, {}),
        ({"strategy": "consolidate"}, {"strategy": "consolidate"}),
        ({"drain": ["kvm2", "kvm1"]}, {"strategy": "drain", "drained_hosts": ["kvm1", "kvm2"]}),
        ({"strategy": "consolidate", "drain": ["kvm1"]}, {"strategy": "drain", "drained_hosts": ["kvm1"]}),
        ({"restart": True}, {"restart": "domains"}),
    ],
)
def test_for_run(run: dict[str, t.Any], changed: dict[str, t.Any]) -> None:
    policy = {"strategy": "balance", "drained_hosts": ["kvm1"], "restart": [], "max_moves": 2}
    assert for_run(policy, **run) == {**policy, **changed}
