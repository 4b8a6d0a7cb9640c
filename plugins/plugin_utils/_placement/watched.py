# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Which resources a policy compares with its threshold."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU, CPU_READY, MEMORY, VCPUS
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy


def watched(policy: Policy) -> dict[int, float]:
    """The resources that are compared with the threshold, each with the factor that makes a fraction of its use.

    CPU and memory, where they have a weight. Where neither has one, the policy wants something else levelled: CPU wait
    and vCPUs per thread, the latter as a fraction of cpu_overcommit.
    """
    weights = policy.weights
    first = {r: 1.0 for r, weight in ((CPU, weights.cpu), (MEMORY, weights.memory)) if weight > 0}
    if first:
        return first
    others = {CPU_READY: (weights.cpu_ready, 1.0), VCPUS: (weights.vcpus, 1.0 / (policy.cpu_overcommit or 1.0))}
    return {r: factor for r, (weight, factor) in others.items() if weight > 0}
