# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What the best-fit strategies share: how far hosts are filled, which hosts come first, all or nothing."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._options import flag, number, option
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import Power
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason

TIERS = 3


class Piece(t.Protocol):
    """What is packed: the cores and MiB that it takes, and why it is nowhere."""

    name: str
    cpu_max: float
    memory: float
    reason: Reason | None

    @property
    def placed(self) -> bool:
        """Is it on a host?"""


class Size(t.Protocol):
    """What of a host does not depend on what is on it."""

    @property
    def cores(self) -> float:
        """All that it has."""

    @property
    def power(self) -> Power | None:
        """Modelled watts."""

    @property
    def asleep(self) -> bool:
        """Would it have to be woken first?"""


class Box(t.Protocol):
    """Where pieces go."""

    name: str

    @property
    def capacity(self) -> Size:
        """Its size."""

    @property
    def cpu_used(self) -> float:
        """Cores that are taken."""

    @property
    def in_use(self) -> bool:
        """Does it carry anything?"""

    def room(self, fill: float, memory_fill: float, /) -> tuple[float, float]:
        """Free cores and MiB where it is to be filled to these fractions only."""


P = t.TypeVar("P", bound=Piece)
B = t.TypeVar("B", bound=Box)


class Packing(t.Protocol[P, B]):
    """What is packed into what: an allocation (bins.py), or domains that change hosts (_placement/fleet_as_bins.py)."""

    @property
    def items(self) -> Sequence[P]:
        """All pieces."""

    @property
    def bins(self) -> Sequence[B]:
        """All boxes."""

    def refuses(self, item: P, bin: B, /) -> Reason | None:
        """Why the piece may not be in the box, whatever room there is."""

    def place(self, item: P, bin: B, cpu: float, /) -> None:
        """Have the piece, which is nowhere, in the box."""

    def remove(self, item: P, /) -> None:
        """Have the piece nowhere."""

    def reason(self, item: P, cpu: float, /) -> Reason:
        """Why the piece, which is nowhere, is left out."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """cpu_fill, memory_fill: the fraction of a host that is given away. all_or_nothing: where one domain does not fit,
    place none, as is wanted where a host is emptied only if it can be emptied wholly."""

    cpu_fill: float = option(0.8, number(0, 1, above=True))
    memory_fill: float = option(0.95, number(0, 1, above=True))
    all_or_nothing: bool = option(False, flag)


def tier(bin: Box) -> int:
    """Hosts in use come first (0), then those awake (1), then those asleep (2)."""
    return 0 if bin.in_use else 2 if bin.capacity.asleep else 1


def decreasing(work: Packing[P, B]) -> list[P]:
    """The items by maximum and memory, descending."""
    return sorted(work.items, key=lambda item: (-item.cpu_max, -item.memory, item.name))


def conclude(work: Packing[P, B], parameters: Parameters) -> None:
    """Say why items are nowhere, and take the others back where it was all or nothing."""
    out = [item for item in work.items if not item.placed]
    for item in out:
        item.reason = work.reason(item, item.cpu_max)
    if out and parameters.all_or_nothing:
        names = ", ".join(item.name for item in out)
        for item in work.items:
            if item.placed:
                work.remove(item)
                item.reason = Reason("all_or_nothing", f"It would fit, but without {names} nothing is to be placed.")
