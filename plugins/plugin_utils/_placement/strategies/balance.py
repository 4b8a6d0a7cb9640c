# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The strategy ``balance``: level the fleet with few and cheap moves.

First all violated rules are repaired (see _placement/repair.py), and hosts that want more than they have at their peaks
are relieved (see _placement/peaks.py). Then, if the fleet is uneven enough, a descent lowers the score as long as a
step gains more than its price, or until the fleet is within the target (_placement/descent.py). If it reaches the
target, the cheapest way to the target is searched (_placement/cheapest_plan.py), and if the policy names a target, the
fewest moves to it (_placement/fewer_moves.py): they end close to the target. Where it names none, half the threshold is
aimed at to leave room for noise, and fewer moves would only have more of them follow later. At last, hosts whose
domains have to wait all the same are relieved (_placement/contention.py).
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._placement import contention, peaks, trigger
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.cheapest_plan import cheapen
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.descent import Descent
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.fewer_moves import fewer
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.floors import Floors
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.registry import Placement, placement
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.repair import repair, repair_again
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.spend_again import spend_again
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import CONTENTION, LIMIT, SPREAD
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules


@placement("balance")
def balance(fleet: Fleet, rules: Rules) -> Placement:
    """Repair, then level the fleet until it is within the target, no step gains its price, or max_moves is reached; and
    repair what that has made room for."""
    policy, floors = fleet.policy, Floors(fleet, rules)
    why = trigger.reason(fleet, floors)
    result = repair(fleet, rules)
    result.trigger, result.again = why, True
    if LIMIT in policy.trigger:
        peaks.relieve(fleet, rules, result)
    result.unreachable = floors.notes()
    result.least_score = floors.least_score(fleet)
    _level(fleet, rules, floors)
    while repair_again(fleet, rules, result):
        _level(fleet, rules, floors)
    if policy.target is not None and SPREAD in policy.trigger and not result.unreachable:
        fewer(Descent(fleet, rules, floors), result.repairs | result.reliefs)
    if CONTENTION in policy.trigger:
        contention.relieve(fleet, rules, floors, result)
    return result


def _level(fleet: Fleet, rules: Rules, floors: Floors) -> None:
    """Level the fleet, if it is uneven enough."""
    policy, search = fleet.policy, Descent(fleet, rules, floors)
    if len(search.hosts) > 1 and not search.level(policy.accepted):
        start = search.placement()
        search.run()
        if policy.goal > 0 and search.level(policy.goal):
            cheapen(search, start)
        else:
            spend_again(search)
