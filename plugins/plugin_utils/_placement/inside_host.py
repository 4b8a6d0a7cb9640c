# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Actions inside a host that give its domains what they want, and that are cheaper than a migration.

In the run in which an action is planned, moves that only level the fleet do not leave its host. Within
``cooldown_seconds``, but at least five minutes, the same action is not planned again there, so the next run moves
domains if the action was not enough. Repairs of violated rules are never held back.
"""

from __future__ import annotations

import collections
import math
import typing as t
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ROUNDING, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU, CPU_READY, MEMORY
from ansible_collections.virtops.balance.plugins.plugin_utils._text import percent
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse

MIGRATE = "migrate"

# What the modules do by default: spread vCPUs where a quarter of a CPU is at stake, see host_vcpu_balance; a guest
# starves below the first and gives half of what is above the second, see host_memory_balance.
_WORTH_CORES = 0.25
_STARVES_MIB = 128
_GIVES_ABOVE_MIB = 256
_GIVES = 0.5
# What an important domain may wait for, as a share of what it wants; a weight that libvirt takes on every host.
_WAITS = 0.1
_LARGEST_WEIGHT = 100.0
_LEAST_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Inside:
    """One action on one host. ``holds``: is it expected to make moves out of the host unnecessary?"""

    host: str
    action: str
    why: str
    domains: tuple[str, ...]
    holds: bool = True
    reclaim: bool = False
    weights: t.Mapping[str, float] = field(default_factory=dict)

    def to_mapping(self) -> dict[str, t.Any]:
        """As the plan has it."""
        found: dict[str, t.Any] = {
            "host": self.host,
            "action": self.action,
            "why": self.why,
            "domains": list(self.domains),
            "instead_of_moves": self.holds,
        }
        if self.action == "memory":
            found["reclaim"] = "always" if self.reclaim else "needed"
        if self.action == "weight":
            found["weights"] = dict(self.weights)
        return found


def inside_actions(fleet: Fleet) -> list[Inside]:
    """The actions that help inside the hosts: per host the first of the policy's CPU actions that helps, and memory."""
    found: list[Inside] = []
    for host in fleet.hosts:
        solved: set[str] = set()
        for action in fleet.policy.actions:
            if action == MIGRATE or not host.counted or _tried(fleet, host, action):
                continue
            problem, look = _ACTIONS[action]
            done = None if problem in solved else look(fleet, host)
            if done is not None:
                solved.add(problem)
                found.append(done)
    return found


def holding(fleet: Fleet, actions: t.Sequence[Inside]) -> set[str]:
    """The hosts that domains do not leave merely to level the fleet."""
    order = fleet.policy.actions
    if MIGRATE not in order:
        return {host.name for host in fleet.hosts}
    return {found.host for found in actions if found.holds and order.index(found.action) < order.index(MIGRATE)}


def _tried(fleet: Fleet, host: ProjectedHost, action: str) -> bool:
    then = parse(str(host.facts.inside.get(action)))
    if then is None or fleet.now is None:
        return False
    return abs((fleet.now - then).total_seconds()) < max(fleet.policy.cooldown_seconds, _LEAST_SECONDS)


def _vcpu(fleet: Fleet, host: ProjectedHost) -> Inside | None:
    """Spread vCPUs that are pinned to the same CPUs, if the host has enough CPU for all its domains."""
    if host.use[CPU] > fleet.policy.cpu_limit + ROUNDING:
        return None
    pinned: collections.Counter[int] = collections.Counter()
    for domain in host.domains.values():
        pinned.update(cpus[0] for cpus in (domain.facts.pins or {}).values() if len(cpus) == 1)
    crowded = [
        domain
        for domain in host.domains.values()
        if domain.home is host
        and any(len(cpus) == 1 and pinned[cpus[0]] > 1 for cpus in (domain.facts.pins or {}).values())
    ]
    waiting = sum(domain.demand[CPU_READY] for domain in crowded) / host.facts.speed
    if waiting < _WORTH_CORES:
        return None
    why = (
        f"On {host.name} vCPUs that are pinned to the same CPUs wait for {waiting:.1f} cores while others idle: its "
        f"domains want {percent(host.use[CPU])} of its CPU."
    )
    return Inside(host.name, "vcpu", why, tuple(domain.facts.uuid for domain in crowded))


def _weight(fleet: Fleet, host: ProjectedHost) -> Inside | None:
    """Raise the weight of important domains that wait for CPU, if that gives them enough."""
    important = [domain for domain in host.domains.values() if domain.important and domain.home is host]
    waiting = [domain for domain in important if domain.demand[CPU_READY] > _WAITS * domain.demand[CPU]]
    weights = {domain.index: domain.facts.weight for domain in host.domains.values()}
    if not waiting or any(not weight for weight in weights.values()):
        return None
    wanted, capacity = sum(domain.demand[CPU] for domain in important), (host.facts.threads or 0) * host.facts.speed
    first = sum(weights[domain.index] or 0.0 for domain in important)
    rest = sum(weight or 0.0 for weight in weights.values()) - first
    if wanted >= capacity or rest <= 0:
        return None
    # The share of the important domains, factor * first / (factor * first + rest), must cover what they want.
    factor = max(1.0, wanted * rest / (first * (capacity - wanted)))
    new = {
        domain.facts.uuid: float(math.ceil(factor * (weights[domain.index] or 0.0) * 10) / 10) for domain in important
    }
    if max(new.values()) > _LARGEST_WEIGHT or all(
        new[domain.facts.uuid] <= (weights[domain.index] or 0.0) + ROUNDING for domain in important
    ):
        return None
    names = ", ".join(domain.name for domain in waiting)
    why = f"On {host.name} {names} {'waits' if len(waiting) == 1 else 'wait'} for CPU; other domains can wait instead."
    return Inside(host.name, "weight", why, tuple(domain.facts.uuid for domain in waiting), weights=new)


def _memory(fleet: Fleet, host: ProjectedHost) -> Inside | None:
    """Move memory from domains that do not use theirs to domains or a host that lack some."""
    own = [domain for domain in host.domains.values() if domain.home is host]
    excess = (host.use[MEMORY] - fleet.policy.memory_limit) * (host.facts.memory_total_mib or 0.0)
    givers = [domain for domain in own if (domain.facts.usable_mib or 0.0) > _GIVES_ABOVE_MIB]
    spare = sum(((domain.facts.usable_mib or 0.0) - _GIVES_ABOVE_MIB) * _GIVES for domain in givers)
    if excess > ROUNDING:
        if spare < excess:
            return None
        why = (
            f"{host.name} uses {percent(host.use[MEMORY])} of its memory, {excess:.0f} MiB above the limit; "
            f"domains that do not use theirs can give back {spare:.0f} MiB."
        )
        return Inside(host.name, "memory", why, tuple(domain.facts.uuid for domain in givers), reclaim=True)
    starving = [
        domain
        for domain in own
        if domain.facts.usable_mib is not None
        and domain.facts.usable_mib < _STARVES_MIB
        and (domain.facts.current_mib or 0.0) < (domain.facts.maximum_mib or 0.0)
    ]
    if not starving:
        return None
    names = ", ".join(domain.name for domain in starving)
    why = f"{names} {'has' if len(starving) == 1 else 'have'} little memory left, and may get more."
    return Inside(host.name, "memory", why, tuple(domain.facts.uuid for domain in starving), holds=False)


_ACTIONS: dict[str, tuple[str, t.Callable[[Fleet, ProjectedHost], Inside | None]]] = {
    "vcpu": ("cpu", _vcpu),
    "weight": ("cpu", _weight),
    "memory": ("memory", _memory),
}
"""The problem that each action solves, and the function that plans it."""
