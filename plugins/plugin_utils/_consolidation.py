# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What the best-fit strategies share: how far hosts are filled, which hosts come first, all or nothing."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_work import Bin, Item, Work
from ansible_collections.virtops.balance.plugins.plugin_utils._options import flag, number, option
from ansible_collections.virtops.balance.plugins.plugin_utils._registry import Reason

TIERS = 3


@dataclass(frozen=True, slots=True)
class Parameters:
    """cpu_fill, memory_fill: the fraction of a host that is given away. all_or_nothing: where one domain does not fit,
    place none, as is wanted where a host is emptied only if it can be emptied wholly."""

    cpu_fill: float = option(0.8, number(0, 1, above=True))
    memory_fill: float = option(0.95, number(0, 1, above=True))
    all_or_nothing: bool = option(False, flag)


def tier(bin: Bin) -> int:
    """Hosts in use come first (0), then those awake (1), then those asleep (2)."""
    return 0 if bin.in_use else 2 if bin.capacity.asleep else 1


def decreasing(work: Work) -> list[Item]:
    """The items by maximum and memory, descending."""
    return sorted(work.items, key=lambda item: (-item.cpu_max, -item.memory, item.name))


def conclude(work: Work, parameters: Parameters) -> None:
    """Say why items are nowhere, and take the others back where it was all or nothing."""
    out = [item for item in work.items if item.bin is None]
    for item in out:
        item.reason = work.reason(item, item.cpu_max)
    if out and parameters.all_or_nothing:
        names = ", ".join(item.name for item in out)
        for item in work.items:
            if item.bin is not None:
                work.remove(item)
                item.reason = Reason("all_or_nothing", f"It would fit, but without {names} nothing is to be placed.")
