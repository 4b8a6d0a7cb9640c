# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The cheapest way to a target that can be reached.

A descent takes the step that gains most, which moves a large domain, and overshoots. So it is done again from the
start with moves that are far too dear, and the price lowered until the target is reached: what gains most for its price
comes first (the price of moves is the multiplier of a Lagrangian, and this a search for the one that just suffices).
Then each move, the dearest first, is taken back, or replaced by that of a cheaper domain between the same two hosts,
where the fleet stays within the target. The cheaper of both plans, each so trimmed, is kept.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.descent import Descent, Where

_FACTORS = [2 ** (half / 2) for half in range(14, -1, -1)]
"""How dear moves are, from prices at which none pays to those of the policy."""

_NOTHING = 1e-12


def cheapen(search: Descent, start: Where) -> None:
    """Replace what brought the fleet from ``start`` to the target by what costs less, where such is found."""
    _trim(search)
    found, cost = search.placement(), search.cost()
    search.restore(start)
    for factor in _FACTORS:
        search.run(factor)
    _trim(search)
    if not _enough(search) or search.cost() > cost - _NOTHING:
        search.restore(found)


def _enough(search: Descent) -> bool:
    return search.level(search.fleet.policy.levelled)


def _trim(search: Descent) -> None:
    """Take moves back, or have cheaper domains move in their place, as long as the fleet stays within the target."""
    again = _enough(search)
    while again:
        moved = [domain for residents in search.residents for domain in residents if domain.moved]
        moved.sort(key=lambda domain: (-domain.copy_mib, domain.index))
        again = sum(_cheaper(search, domain) for domain in moved) > 0


def _cheaper(search: Descent, domain: ProjectedDomain) -> bool:
    """Take back one move, or replace it; was it possible?"""
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
