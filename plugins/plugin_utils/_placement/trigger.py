# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Which observations make the strategies that go by the score act (the policy's key ``trigger``)."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._placement import peaks
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.floors import Floors
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.unevenness import overloaded, widest
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import LIMIT, SPREAD


def reason(fleet: Fleet, floors: Floors) -> str | None:
    """A sentence about a limit that is passed, or else about hosts that differ too much; None if there is neither."""
    policy, found = fleet.policy, None
    if LIMIT in policy.trigger:
        found = overloaded(fleet, floors) or peaks.told(fleet)
    if SPREAD in policy.trigger:
        found = found or widest(fleet, floors, policy.threshold)
    return found
