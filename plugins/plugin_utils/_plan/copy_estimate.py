# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What a live migration copies and how long it takes, roughly: from memory, dirty rate and bandwidth.

First all of the memory is copied, then what was written meanwhile, and so on: with a domain that writes at d and a copy
at b, each round is d/b of the one before, together memory / (1 - d/b) (Clark et al., Live Migration of Virtual
Machines, NSDI 2005). Where d comes near b a migration is not left to itself but slows the domain down or switches to
post-copy; that is why d/b counts as 3/4 at most.

The dirty rate is what was observed of the domain, and where that is not known, the policy's dirty_mib_s_per_core for
each core that it wants.
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
    """What goes over the wire, in MiB, and for how long."""

    mib: float
    seconds: float


def of_move(domain: ProjectedDomain, policy: Policy) -> Copying:
    """One migration."""
    bandwidth = min(policy.bandwidth_mib_s, policy.migration.bandwidth_mib_s or policy.bandwidth_mib_s)
    dirty = domain.facts.dirty_mib_s
    if dirty is None:
        dirty = policy.dirty_mib_s_per_core * domain.demand[CPU]
    mib = domain.copy_mib / (1.0 - min(_MOST, dirty / bandwidth))
    return Copying(mib, mib / bandwidth)


def of_wave(wave: Iterable[Move], policy: Policy) -> Copying:
    """All of them: moves out of one host go one after the other, hosts side by side."""
    total, by_source = 0.0, {0: 0.0}
    for move in wave:
        mib, seconds = of_move(move.domain, policy)
        total += mib
        by_source[move.source.index] = by_source.get(move.source.index, 0.0) + seconds
    return Copying(total, max(by_source.values()))
