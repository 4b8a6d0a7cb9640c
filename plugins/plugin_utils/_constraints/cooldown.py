# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Cooldown: a domain that was moved a short while ago is left alone, so that nothing ping-pongs."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet import Fleet, ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._registry import Reason, constraint, repairing
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse


@constraint("cooldown", scope="domain")
def cooldown(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """Moved at least cooldown_seconds ago, or in a place where a rule says that it must not be."""
    moved_at, seconds = domain.facts.last_moved_at, fleet.policy.cooldown_seconds
    if moved_at is None or seconds == 0:
        return None
    moment = parse(moved_at)
    if moment is None or fleet.now is None:
        reason = Reason("cooldown", f"cannot tell how long ago it was moved ({moved_at!r})")
    else:
        age = (fleet.now - moment).total_seconds()
        if age >= seconds:
            return None
        reason = Reason("cooldown", f"was moved {max(0.0, age):.0f} s ago, the cooldown is {seconds:.0f} s")
    violated = any(rule(domain, domain.home, fleet) for rule in repairing().values())
    return None if violated else reason
