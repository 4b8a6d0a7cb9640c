# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Shared by the best-fit strategies: how far hosts are filled, which hosts come first, all or nothing."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._options import flag, number, option
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import Power
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason

TIERS = 3


class AnyItem(t.Protocol):
    """An item to pack: the cores and MiB that it needs, and why it is in no bin."""

    name: str
    cpu_max: float
    memory: float
    reason: Reason | None

    @property
    def placed(self) -> bool:
        """Is it in a bin?"""


class AnyBin(t.Protocol):
    """A host that items are packed into."""

    name: str

    @property
    def cores(self) -> float:
        """All cores of the host."""

    @property
    def power(self) -> Power | None:
        """Modelled watts of the host; None where they are not known."""

    @property
    def asleep(self) -> bool:
        """Would the host have to be woken first?"""

    @property
    def cpu_used(self) -> float:
        """Cores that are taken."""

    @property
    def in_use(self) -> bool:
        """Does it hold anything?"""

    def room(self, fill: float, memory_fill: float, /) -> tuple[float, float]:
        """Free cores and MiB if the host is filled no further than these fractions."""


ItemT = t.TypeVar("ItemT", bound=AnyItem)
BinT = t.TypeVar("BinT", bound=AnyBin)


class Packing(t.Protocol[ItemT, BinT]):
    """Items and bins: of an allocation (bins.py), or of a running fleet (_placement/fleet_as_bins.py)."""

    @property
    def items(self) -> Sequence[ItemT]:
        """All items."""

    @property
    def bins(self) -> Sequence[BinT]:
        """All bins."""

    def refuses(self, item: ItemT, bin: BinT, /) -> Reason | None:
        """Why the item may not be in the bin, however much room it has."""

    def place(self, item: ItemT, bin: BinT, cpu: float, /) -> None:
        """Put an unplaced item into the bin."""

    def remove(self, item: ItemT, /) -> None:
        """Take the item out of its bin."""

    def reason(self, item: ItemT, cpu: float, /) -> Reason:
        """Why the item is in no bin."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """cpu_fill, memory_fill: up to this fraction a host is filled. all_or_nothing: if one domain does not fit, place
    none, for example because a host is emptied completely or not at all."""

    cpu_fill: float = option(0.8, number(0, 1, above=True))
    memory_fill: float = option(0.95, number(0, 1, above=True))
    all_or_nothing: bool = option(False, flag)


def tier(bin: AnyBin) -> int:
    """Hosts in use come first (0), then those awake (1), then those asleep (2)."""
    return 0 if bin.in_use else 2 if bin.asleep else 1


def decreasing(packing: Packing[ItemT, BinT]) -> list[ItemT]:
    """The items by maximum CPU and memory, descending."""
    return sorted(packing.items, key=lambda item: (-item.cpu_max, -item.memory, item.name))


def conclude(packing: Packing[ItemT, BinT], parameters: Parameters) -> None:
    """Note why items are in no bin; with all_or_nothing, remove the others too."""
    out = [item for item in packing.items if not item.placed]
    for item in out:
        item.reason = packing.reason(item, item.cpu_max)
    if out and parameters.all_or_nothing:
        names = ", ".join(item.name for item in out)
        for item in packing.items:
            if item.placed:
                packing.remove(item)
                item.reason = Reason("all_or_nothing", f"It would fit, but {names} would not (all_or_nothing).")
