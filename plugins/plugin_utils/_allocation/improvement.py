# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A last pass over an expansion (our own, not from its sources) with steps that raise the total value.

A greedy expansion never revises a choice: it fills a host before the domain comes that would have used it better, and
does not bring a host into use that one domain is not worth but two are. So, in rounds until nothing is gained: every
domain goes where it gains most; a host comes into use for all left-out domains together; a host is emptied; a domain
replaces another one, which goes where it gains most; a host is filled anew, in use or not, from all left-out domains
and those of other hosts. A step is kept only if the total rises, so the answer is never worse than without this pass.

Complexity of one round, for D domains and H hosts: O(H D^2 log D), that of the published expansion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.bins import AllocationPacking, Item
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.expansion import (
    GAIN,
    NO_ROOM,
    Expansion,
    ValuedBin,
)

Order = Callable[[Item], tuple[float, str]]

_ORDERS: tuple[Order, ...] = (
    lambda item: (-round(item.density_max, 9), item.name),
    lambda item: (-round(item.worth_max, 9), item.name),
)
"""In which order a host is filled anew: what is worth most for each core first, and what is worth most in all."""


def expand(packing: AllocationPacking, weight: float, rounds: int) -> None:
    """Expand with a weight on watts, then improve."""
    expansion = Expansion(packing, weight)
    for item in expansion.items:
        expansion.add(item)
    improve(expansion, rounds)
    expansion.finish()


def improve(expansion: Expansion, rounds: int) -> None:
    """Improve in at most ``rounds`` rounds."""
    for _round in range(rounds):
        before = expansion.value
        for item in expansion.items:
            _relocate(expansion, item)
        while _open(expansion):
            pass
        for valued in expansion.bins:
            _close(expansion, valued)
        if expansion.value <= before + GAIN:
            # The expensive steps, only when the cheap ones find nothing more.
            _Exchange(expansion).run()
        if expansion.value <= before + GAIN:
            _Refill(expansion).run()
        if expansion.value <= before + GAIN:
            return


def _restore(expansion: Expansion, at: dict[str, ValuedBin], items: list[Item]) -> None:
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


def _open(expansion: Expansion, avoid: ValuedBin | None = None) -> bool:
    """Bring the host into use that gains most from all left-out domains together. True if there is one."""
    out = [item for item in expansion.items if item.name not in expansion.at]
    best, found = GAIN, None
    for valued in expansion.bins:
        if valued.items or valued is avoid or not out:
            continue
        # The cost of opening is paid first, so that the sum of all domains decides and not the first one.
        expansion.open(valued)
        for item in out:
            if valued.gain(item) > GAIN and expansion.allows(item, valued):
                expansion.put(item, valued)
        worth = valued.value
        came = expansion.clear(valued)
        if worth > best:
            best, found = worth, (valued, came)
    if found is not None:
        for item in found[1]:
            expansion.put(item, found[0])
    return found is not None


def _close(expansion: Expansion, valued: ValuedBin) -> None:
    """Empty the host, if its domains are worth more on other hosts, including one that they bring into use."""
    before, at, items = expansion.value, dict(expansion.at), [item for item in expansion.items if item in valued.items]
    if not items or not valued.opening:
        return
    expansion.clear(valued)
    for item in items:
        expansion.add(item, avoid=valued)
    _open(expansion, avoid=valued)
    if expansion.value <= before + GAIN:
        _restore(expansion, at, expansion.items)


class _Exchange:
    """Replaces domains by others. The values of bins without one of their items are cached, so that judging a pair is
    O(log D), and only replacements with a gain are carried out."""

    def __init__(self, expansion: Expansion) -> None:
        self._expansion = expansion
        self._without: dict[str, ValuedBin] = {}
        self._elsewhere: dict[str, float] = {}

    def run(self) -> None:
        """For each domain, carry out the first replacement with a gain."""
        for item in self._expansion.items:
            self._place(item)

    def _place(self, item: Item) -> None:
        home = self._expansion.at.get(item.name)
        for valued in self._expansion.bins:
            if valued is home or self._expansion.never(item, valued):
                continue
            for other in list(valued.items):
                if self._promises(item, home, other, valued) and self._replace(item, other, valued):
                    self._forget((home, valued, self._expansion.at.get(other.name)))
                    self._without.pop(other.name, None)
                    return

    def _forget(self, changed: Iterable[ValuedBin | None]) -> None:
        self._elsewhere.clear()
        for valued in changed:
            for item in valued.items if valued is not None else ():
                self._without.pop(item.name, None)

    def _rest(self, item: Item, valued: ValuedBin) -> ValuedBin:
        if item.name not in self._without:
            self._without[item.name] = valued.without(item)
        return self._without[item.name]

    def _promises(self, item: Item, home: ValuedBin | None, other: Item, valued: ValuedBin) -> bool:
        """Does the total rise if the item replaces the other one, which goes where it gains most?"""
        rest = self._rest(other, valued)
        gain = rest.gain(item)
        if gain == NO_ROOM:
            return False
        total = rest.value + gain - valued.value
        left = None
        if home is not None:
            left = self._rest(item, home)
            total += left.value - home.value
        # The other item gains at most its utility at the maximum.
        if total + other.worth_max <= GAIN:
            return False
        if other.name not in self._elsewhere:
            self._elsewhere[other.name] = self._expansion.best(other, avoid=valued)[0]
        most = max(0.0, self._elsewhere[other.name])
        if left is not None and home is not None and not self._expansion.never(other, home):
            most = max(most, left.gain(other))
        return total + most > GAIN

    def _replace(self, item: Item, other: Item, valued: ValuedBin) -> bool:
        """Replace the other item; undo that if the total does not rise, because rules about other items refuse it."""
        expansion = self._expansion
        before, home = expansion.value, expansion.take(item)
        expansion.take(other)
        if expansion.allows(item, valued):
            expansion.put(item, valued)
            expansion.add(other)
            if expansion.value > before + GAIN:
                return True
            expansion.take(other)
            expansion.take(item)
        expansion.put(other, valued)
        if home is not None:
            expansion.put(item, home)
        return False


class _Refill:
    """Fills hosts anew, in use or not, also with domains of other hosts that are worth more there.

    What a host had before and has no room for goes where it gains most; domains that were left out take the room that
    others have left. What each domain is worth where it is now is cached, so that judging one is O(log D).
    """

    def __init__(self, expansion: Expansion) -> None:
        self._expansion = expansion
        self._orders = [sorted(expansion.items, key=order) for order in _ORDERS]
        self._losses: dict[str, float] = {}

    def run(self) -> None:
        """Fill each host anew, where that is a gain."""
        for valued in self._expansion.bins:
            for items in self._orders:
                self._fill(valued, items)

    def _fill(self, valued: ValuedBin, items: list[Item]) -> None:
        expansion = self._expansion
        before, at = expansion.value, dict(expansion.at)
        left: dict[int, ValuedBin] = {}
        gone = expansion.clear(valued)
        for item in gone:
            self._losses.pop(item.name, None)
        # The cost of opening is paid first, so that the sum of all domains decides and not the first one.
        expansion.open(valued)
        for item in items:
            gain = valued.gain(item)
            if gain > GAIN and gain - self._loss(item) > GAIN and expansion.allows(item, valued):
                home = expansion.take(item)
                self._forget(item, home)
                expansion.put(item, valued)
                if home is not None:
                    left[home.bin.index] = home
        if not valued.items:
            expansion.clear(valued)
        for item in gone:
            if item.name not in expansion.at:
                expansion.add(item)
        for home in left.values():
            for item in items:
                if item.name not in expansion.at and home.gain(item) > GAIN and expansion.allows(item, home):
                    expansion.put(item, home)
        changed = [item for item in expansion.items if expansion.at.get(item.name) is not at.get(item.name)]
        touched = [(item, home) for item in changed for home in (at.get(item.name), expansion.at.get(item.name))]
        if expansion.value <= before + GAIN:
            _restore(expansion, at, changed)
        for item, home in [*touched, *((item, valued) for item in valued.items)]:
            self._forget(item, home)

    def _loss(self, item: Item) -> float:
        """What its host is worth less without the item; 0 if it is on none."""
        home = self._expansion.at.get(item.name)
        if home is None:
            return 0.0
        if item.name not in self._losses:
            self._losses[item.name] = home.value - home.without(item).value
        return self._losses[item.name]

    def _forget(self, item: Item, home: ValuedBin | None) -> None:
        """The item and those of its host, the host that it was on or is on, have to be judged again."""
        self._losses.pop(item.name, None)
        for other in home.items if home is not None else ():
            self._losses.pop(other.name, None)
