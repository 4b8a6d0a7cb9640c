# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Cheaper than a migration: what can be done inside a host so that its domains get what they want.

An action holds back the moves that would level the fleet out of its host in this run. The next run looks at what became
of it: within ``cooldown_seconds``, five minutes at least, the same action is not tried again there, and then nothing
holds the moves back. Repairs of violated rules are never held back.
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
    """One action on one host. ``holds``: does it make moves out of the host unnecessary, as far as can be seen?"""

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
    """What helps inside the hosts: of the actions about CPU the first of the policy that does, and memory."""
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
    """The hosts that no move leaves that only levels the fleet."""
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
    """vCPUs crowd on a CPU while the host has room for all that its domains want."""
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
    waiting = sum(domain.demand[CPU_READY] for domain in crowded)
    if waiting < _WORTH_CORES:
        return None
    why = (
        f"On {host.name} vCPUs that are pinned to the same CPUs wait for {waiting:.1f} cores while others idle: its "
        f"domains want {percent(host.use[CPU])} of its CPU."
    )
    return Inside(host.name, "vcpu", why, tuple(domain.facts.uuid for domain in crowded))


def _weight(fleet: Fleet, host: ProjectedHost) -> Inside | None:
    """Important domains wait for CPU that a higher weight would give them."""
    important = [domain for domain in host.domains.values() if domain.important and domain.home is host]
    waiting = [domain for domain in important if domain.demand[CPU_READY] > _WAITS * domain.demand[CPU]]
    weights = {domain.index: domain.facts.weight for domain in host.domains.values()}
    if not waiting or any(not weight for weight in weights.values()):
        return None
    wanted, capacity = sum(domain.demand[CPU] for domain in important), float(host.facts.threads or 0)
    first = sum(weights[domain.index] or 0.0 for domain in important)
    rest = sum(weight or 0.0 for weight in weights.values()) - first
    if wanted >= capacity or rest <= 0:
        return None
    # The share of the important ones, factor * first of factor * first + rest, must cover what they want.
    factor = max(1.0, wanted * rest / (first * (capacity - wanted)))
    new = {
        domain.facts.uuid: float(math.ceil(factor * (weights[domain.index] or 0.0) * 10) / 10) for domain in important
    }
    if max(new.values()) > _LARGEST_WEIGHT or all(
        new[domain.facts.uuid] <= (weights[domain.index] or 0.0) + ROUNDING for domain in important
    ):
        return None
    names = ", ".join(domain.name for domain in waiting)
    why = f"On {host.name} {names} must not wait for CPU, and {'does' if len(waiting) == 1 else 'do'}: others can."
    return Inside(host.name, "weight", why, tuple(domain.facts.uuid for domain in waiting), weights=new)


def _memory(fleet: Fleet, host: ProjectedHost) -> Inside | None:
    """Guests starve beside others that have plenty, or the host is too full of memory that guests do not use."""
    own = [domain for domain in host.domains.values() if domain.home is host]
    excess = (host.use[MEMORY] - fleet.policy.memory_limit) * (host.facts.memory_total_mib or 0.0)
    givers = [domain for domain in own if (domain.facts.usable_mib or 0.0) > _GIVES_ABOVE_MIB]
    spare = sum(((domain.facts.usable_mib or 0.0) - _GIVES_ABOVE_MIB) * _GIVES for domain in givers)
    if excess > ROUNDING:
        if spare < excess:
            return None
        why = (
            f"{host.name} uses {percent(host.use[MEMORY])} of its memory; guests that do not need theirs can give "
            f"{spare:.0f} MiB, and {excess:.0f} MiB are too much."
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
    why = f"{names} can hardly use any more memory, and may have more."
    return Inside(host.name, "memory", why, tuple(domain.facts.uuid for domain in starving), holds=False)


_ACTIONS: dict[str, tuple[str, t.Callable[[Fleet, ProjectedHost], Inside | None]]] = {
    "vcpu": ("cpu", _vcpu),
    "weight": ("cpu", _weight),
    "memory": ("memory", _memory),
}
"""What each action is against, and who looks whether it helps."""
