# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""An estimate of what a live migration copies and how long that takes, by memory, dirty rate and bandwidth.

First all of the memory is copied, then what was written meanwhile, and so on: with the dirty rate d and the bandwidth
b, each round copies d/b of the one before, together memory / (1 - d/b) (Clark et al., Live Migration of Virtual
Machines, NSDI 2005). If d comes near b, a migration slows the domain down or switches to post-copy; therefore d/b
counts as 3/4 at most.

The dirty rate is the observed one, or if that is not known, the policy's dirty_mib_s_per_core times the CPU demand.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.moves import Move
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy

_MOST = 0.75


class Copying(t.NamedTuple):
    """MiB copied, and the seconds that this takes."""

    mib: float
    seconds: float


def of_move(domain: ProjectedDomain, policy: Policy) -> Copying:
    """One migration."""
    bandwidth = min(policy.bandwidth_mib_s, domain.migration.bandwidth_mib_s or policy.bandwidth_mib_s)
    dirty = domain.facts.dirty_mib_s
    if dirty is None:
        dirty = policy.dirty_mib_s_per_core * domain.demand[CPU]
    mib = domain.copy_mib / (1.0 - min(_MOST, dirty / bandwidth))
    return Copying(mib, mib / bandwidth)


def of_wave(wave: Iterable[Move], policy: Policy) -> Copying:
    """All moves of a wave: those out of one host run one after the other, different hosts at the same time."""
    total, by_source = 0.0, {0: 0.0}
    for move in wave:
        mib, seconds = of_move(move.domain, policy)
        total += mib
        by_source[move.source.index] = by_source.get(move.source.index, 0.0) + seconds
    return Copying(total, max(by_source.values()))
