# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A last pass over an expansion, which is ours and in none of its sources: steps that make the total higher.

A greedy expansion never takes back a choice. It packs a host before the domain comes that would have used it better,
and it does not bring a host into use where one domain is not worth its watts but two are. So, in rounds until nothing
is gained: every domain goes where it gains most; a host comes into use for all left-out domains together; a host is
emptied; a domain takes the place of another, which goes where it gains most. Each step is kept only if the total rises,
so the answer is never worse than without.

Complexity of one round, for D domains and H hosts: O(H D^2 log D), that of the published expansion.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_work import Item, Work
from ansible_collections.virtops.balance.plugins.plugin_utils._expansion import GAIN, NO_ROOM, Expansion, Host


def expand(work: Work, weight: float, rounds: int) -> None:
    """Expand with a weight on watts, then improve."""
    expansion = Expansion(work, weight)
    for item in expansion.items:
        expansion.add(item)
    improve(expansion, rounds)
    expansion.finish()


def improve(expansion: Expansion, rounds: int) -> None:
    """At most so many rounds."""
    for _round in range(rounds):
        before = expansion.value
        for item in expansion.items:
            _relocate(expansion, item)
        while _open(expansion):
            pass
        for host in expansion.hosts:
            _close(expansion, host)
        if expansion.value <= before + GAIN:
            # The costly step only where the cheap ones find nothing more.
            for item in expansion.items:
                _exchange(expansion, item)
        if expansion.value <= before + GAIN:
            return


def _restore(expansion: Expansion, at: dict[str, Host], items: list[Item]) -> None:
    changed = [item for item in items if expansion.at.get(item.name) is not at.get(item.name)]
    for item in changed:
        expansion.take(item)
    for item in changed:
        if item.name in at:
            expansion.put(item, at[item.name])


def _relocate(expansion: Expansion, item: Item) -> None:
    before = expansion.value
    home = expansion.take(item)
    expansion.add(item)
    if expansion.value <= before + GAIN and expansion.at.get(item.name) is not home:
        expansion.take(item)
        if home is not None:
            expansion.put(item, home)


def _open(expansion: Expansion, avoid: Host | None = None) -> bool:
    """Bring the host into use that gains most by all left-out domains together. Was there one?"""
    out = [item for item in expansion.items if item.name not in expansion.at]
    best, found = GAIN, None
    for host in expansion.hosts:
        if host.items or host is avoid or not out:
            continue
        # The opening is paid first, else no domain would begin; what all are worth decides.
        expansion.open(host)
        for item in out:
            if host.gain(item) > GAIN and expansion.allows(item, host):
                expansion.put(item, host)
        worth = host.value
        came = expansion.clear(host)
        if worth > best:
            best, found = worth, (host, came)
    if found is not None:
        for item in found[1]:
            expansion.put(item, found[0])
    return found is not None


def _close(expansion: Expansion, host: Host) -> None:
    """Empty the host, if its domains and a host that they open are worth more elsewhere."""
    before, at, items = expansion.value, dict(expansion.at), [item for item in expansion.items if item in host.items]
    if not items or not host.opening:
        return
    expansion.clear(host)
    for item in items:
        expansion.add(item, avoid=host)
    _open(expansion, avoid=host)
    if expansion.value <= before + GAIN:
        _restore(expansion, at, expansion.items)


def _exchange(expansion: Expansion, item: Item) -> None:
    """Have the item in the place of the first other one by which the total rises."""
    home = expansion.at.get(item.name)
    for host in expansion.hosts:
        if host is home:
            continue
        for other in list(host.items):
            if _replaced(expansion, item, other, host):
                return


def _replaced(expansion: Expansion, item: Item, other: Item, host: Host) -> bool:
    before = expansion.value
    home = expansion.take(item)
    expansion.take(other)
    gain = host.gain(item) if expansion.allows(item, host) else NO_ROOM
    # Nothing can make more of the other than its utility at the maximum.
    if expansion.value + gain + other.worth_max > before + GAIN:
        expansion.put(item, host)
        expansion.add(other)
        if expansion.value > before + GAIN:
            return True
        expansion.take(other)
        expansion.take(item)
    expansion.put(other, host)
    if home is not None:
        expansion.put(item, home)
    return False
