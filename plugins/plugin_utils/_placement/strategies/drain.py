# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The strategy ``drain``: empty the drained hosts, and leave everything else in place.

The number of moves is not limited: max_moves applies to levelling. A domain that cannot be moved live is restarted on
another host after all moves, if the policy permits that (restart); the others are reported with their reasons.
"""

from __future__ import annotations

from functools import partial

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.moves import Move
from ansible_collections.virtops.balance.plugins.plugin_utils._placement import draining
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.registry import (
    Conclusion,
    Placement,
    placement,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules


@placement("drain")
def drain(fleet: Fleet, rules: Rules) -> Placement:
    """Move all domains away from drained hosts."""
    leaving = [domain for domain in fleet.domains if domain.host.drained]
    cause = " ".join(
        f"{host.name} is drained and has {len(host.domains)} domain{'s' * (len(host.domains) > 1)}."
        for host in {domain.home.index: domain.home for domain in leaving}.values()
    )
    result = draining.empty(fleet, rules, leaving)
    result.purposes, result.cause = {}, cause
    result.content = "No domain is on a drained host."
    result.conclude = partial(_conclude, fleet, rules, result)
    return result


def _conclude(fleet: Fleet, rules: Rules, result: Placement, waves: list[list[Move]], holding: bool) -> Conclusion:
    """Restart remaining domains elsewhere, where the policy permits it. The fleet must be as it is after the waves."""
    stuck = [fleet[uuid] for uuid in result.unrepaired]
    restarted = draining.restart(fleet, rules, stuck)
    for found in restarted:
        del result.unrepaired[found["domain"]]
    return Conclusion(restarts=restarted)
