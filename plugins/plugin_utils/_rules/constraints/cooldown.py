# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Cooldown: a domain that was moved recently is left alone, so that it does not move to and fro."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse


@constraint("cooldown", scope="domain", yields=True)
def cooldown(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The last move is at least cooldown_seconds ago. Repairs do not wait for the cooldown. Levelling does, even of a
    domain that violates a rule: a rule that cannot be repaired must not send a domain to and fro."""
    moved_at, seconds = domain.facts.last_moved_at, fleet.policy.cooldown_seconds
    if moved_at is None or seconds == 0:
        return None
    moment = parse(moved_at)
    if moment is None or fleet.now is None:
        return Reason("cooldown", f"cannot tell how long ago it was moved ({moved_at!r})")
    age = (fleet.now - moment).total_seconds()
    if age >= seconds:
        return None
    return Reason("cooldown", f"was moved {max(0.0, age):.0f} s ago, the cooldown is {seconds:.0f} s")
