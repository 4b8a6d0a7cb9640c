# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What the CPU that a domain gets is worth. To value it otherwise, replace this function: nothing else knows it."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_problem import Demand


def utility(domain: Demand, cpu: float) -> float:
    """The worth of ``cpu`` cores for a domain.

    Below its minimum nothing, because it cannot do its work; from there straight on, each core worth its share;
    above its maximum no more than at it. ``utility_running`` is added for running at all.

    Cardosa et al. (IM 2009) let the utilities at the minimum and at the maximum be anything: here they are
    ``utility_running + share x minimum`` and ``utility_running + share x maximum``. The strategies ask for the worth at
    these two and take it as straight in between; it must not fall. What they report is asked for at the CPU that each
    domain got.
    """
    return 0.0 if cpu < domain.cpu_min else domain.utility_running + domain.share * min(cpu, domain.cpu_max)
