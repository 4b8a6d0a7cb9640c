# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The selection ``random`` (RS): any domain, each as likely as the others.

Source: Beloglazov and Buyya (CCPE 2012). Chance would make a plan that nobody can repeat, so it is drawn from the seed,
the number of the draw (the state) and the names of the domains: the same input selects the same domain.
"""

from __future__ import annotations

import random as chance
import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._options import option, whole
from ansible_collections.virtops.balance.plugins.plugin_utils._selection.registry import (
    Choice,
    MigratableDomains,
    selection,
)


@dataclass(frozen=True, slots=True)
class Parameters:
    """seed: another one selects other domains."""

    seed: int = option(0, whole(0))


@selection("random", Parameters)
def random(
    domains: MigratableDomains, step: float, migration_time: float, parameters: Parameters, state: t.Mapping[str, t.Any]
) -> Choice:
    """Select any domain, by the seed."""
    draw = state.get("draw", 0)
    names = sorted(domains)
    generator = chance.Random("\0".join([str(parameters.seed), str(draw), *names]))
    return Choice(generator.choice(names) if names else None, {"draw": draw + 1}, {"draw": draw})
