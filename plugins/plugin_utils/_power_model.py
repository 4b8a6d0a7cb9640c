# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The power of a host, modelled from its utilisation: watts at equidistant points, linear in between.

Two points are the idle and the full power, the model of Fan, Weber and Barroso ("Power provisioning for a
warehouse-sized computer", ISCA 2007); eleven are the watts at 0, 10, ... 100 % that results of SPECpower_ssj2008 list.
All values from it are modelled, not measured, and have to be called so wherever a user sees them.
"""

from __future__ import annotations

import itertools
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import number, read, required, sequence

SOURCE = "modelled"
TABLE = 11


@dataclass(frozen=True, slots=True)
class Power:
    """Watts of a host at equally distant utilisations, the first at 0 and the last at 1; at least two."""

    points: tuple[float, ...]

    @property
    def idle(self) -> float:
        """Watts at no load."""
        return self.points[0]

    @property
    def full(self) -> float:
        """Watts at full load."""
        return self.points[-1]

    def watts(self, utilisation: float) -> float:
        """Modelled watts at a utilisation; one below 0 or above 1 counts as 0 or 1."""
        place = min(max(utilisation, 0.0), 1.0) * (len(self.points) - 1)
        index = min(int(place), len(self.points) - 2)
        low, high = self.points[index], self.points[index + 1]
        return low + (high - low) * (place - index)

    def segments(self, cores: float) -> list[tuple[float, float, float, float]]:
        """The linear pieces for a host of ``cores``: from and to (cores in use), watts at from, watts per core."""
        step = cores / (len(self.points) - 1)
        return [
            (index * step, (index + 1) * step, low, (high - low) / step)
            for index, (low, high) in enumerate(itertools.pairwise(self.points))
        ]


@dataclass(frozen=True, slots=True)
class _Pair:
    idle_watts: float = required(number(0))
    max_watts: float = required(number(0))


def power(value: t.Any, key: str) -> Power | None:
    """Read ``{idle_watts, max_watts}``, a list of eleven watts, or null (not known)."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        pair = read(_Pair, value, key)
        points: tuple[float, ...] = (pair.idle_watts, pair.max_watts)
    else:
        points = sequence(number(0))(value, key)
        if len(points) != TABLE:
            raise PolicyError(f"{key} must list the watts at 0, 10, ... 100 % ({TABLE} numbers), not {len(points)}.")
    if any(high < low for low, high in itertools.pairwise(points)):
        raise PolicyError(f"{key} must not fall as the load rises: {', '.join(f'{watts:g}' for watts in points)}.")
    return Power(points)
