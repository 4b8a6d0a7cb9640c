# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The cheapest way to a target that can be reached.

A descent takes the step that gains most, which moves large domains and overshoots the target. So it is repeated from
the start with a price at which no move pays, and the price is lowered until the target is reached: the moves that gain
most for their price come first (the price is the multiplier of a Lagrangian; this searches the one that just suffices).
Then each move, the most expensive first, is taken back, or replaced by that of a cheaper domain between the same two
hosts, if the fleet stays within the target. Both plans are trimmed in this way, and the cheaper one is kept.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.descent import Descent, Where

_FACTORS = [2 ** (half / 2) for half in range(14, -1, -1)]
"""Factors of the price of a move, from one at which no move pays down to the price of the policy."""

_NOTHING = 1e-12


def cheapen(search: Descent, start: Where) -> None:
    """Replace the moves from ``start`` to the target by cheaper ones, if there are any."""
    _trim(search)
    found, cost = search.placement(), search.cost()
    search.restore(start)
    for factor in _FACTORS:
        search.run(factor)
    _trim(search)
    if not _enough(search) or search.cost() > cost - _NOTHING:
        search.restore(found)


def _enough(search: Descent) -> bool:
    return search.level(search.fleet.policy.goal)


def _trim(search: Descent) -> None:
    """Take moves back, or move cheaper domains instead, as long as the fleet stays within the target."""
    again = _enough(search)
    while again:
        moved = [domain for residents in search.residents for domain in residents if domain.moved]
        moved.sort(key=lambda domain: (-domain.copy_mib, domain.index))
        again = sum(_cheaper(search, domain) for domain in moved) > 0


def _cheaper(search: Descent, domain: ProjectedDomain) -> bool:
    """Take back or replace one move; True if that was possible."""
    home, host = domain.home, domain.host
    if host is home or search.rules.refuses(domain, home) is not None:
        return False
    saved = -search.surcharge(domain, home)
    search.put(domain, home)
    if saved > _NOTHING and _enough(search):
        return True
    others = [other for other in search.residents[home.index] if not other.moved and other.copy_mib < domain.copy_mib]
    for other in sorted(others, key=lambda other: (other.copy_mib, other.index)):
        if search.rules.refuses(other, host) is None and search.surcharge(other, host) < saved - _NOTHING:
            search.put(other, host)
            if _enough(search):
                return True
            search.put(other, home)
    search.put(domain, host)
    return False
