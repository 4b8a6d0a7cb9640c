# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What no plan may do, counted without a line of any engine.

For each host: memory by the maximum of its domains and of the host itself above 95 % (not every peer knows a limit; a
host above its size is also counted by itself), vCPUs per thread above 4, wanted CPU above its threads. For an engine
that orders its moves into waves the same is looked at during every wave, with each moving domain on both ends, at the
hosts that take domains in; there a move must also start where the domain is, and no domain may be in a wave twice.
"""

from __future__ import annotations

import typing as t
from collections import Counter

from .fleets import MEMORY_FILL, VCPU_RATIO, Fleet, Host, Load, loads

ROUNDING = 1e-6
"""Sums of many fractions: what is above a limit by less is at the limit."""


class Step(t.NamedTuple):
    """One migration; indices of the domain and of two hosts."""

    domain: int
    source: int
    destination: int


Waves = list[list[Step]]
Violations = Counter[str]
"""How often each rule is broken."""


def final(fleet: Fleet, placement: t.Sequence[int]) -> Violations:
    """Broken rules of a placement; ``memory_over_size`` is not counted again in the total, see ``total``."""
    found: Violations = Counter()
    for host, load in zip(fleet.hosts, loads(fleet, placement), strict=True):
        found.update(_broken(host, load))
    return found


def on_the_way(fleet: Fleet, waves: Waves) -> Violations:
    """Broken rules while the waves run, each rule with the prefix ``wave_``."""
    found: Violations = Counter()
    placement = fleet.placement
    carried = loads(fleet, placement)
    for wave in waves:
        moving = Counter(step.domain for step in wave)
        found["wave_same_domain_twice"] += sum(times - 1 for times in moving.values())
        for step in wave:
            found["wave_wrong_source"] += placement[step.domain] != step.source
            carried[step.destination] = _with(carried[step.destination], fleet, step.domain, 1)
        for index in {step.destination for step in wave}:
            found.update(f"wave_{rule}" for rule in _broken(fleet.hosts[index], carried[index]))
        for step in wave:
            carried[step.source] = _with(carried[step.source], fleet, step.domain, -1)
            placement[step.domain] = step.destination
    return +found


def total(violations: Violations) -> int:
    """All of them; a host above its size is one violation although it is above 95 % as well."""
    return sum(count for rule, count in violations.items() if not rule.endswith("memory_over_size"))


def _with(load: Load, fleet: Fleet, domain: int, sign: int) -> Load:
    guest = fleet.domains[domain]
    return Load(
        load.cores + sign * guest.cores,
        load.maximum_mib + sign * guest.maximum_mib,
        load.used_mib + sign * guest.used_mib,
        load.vcpus + sign * guest.vcpus,
        load.domains + sign,
    )


def _broken(host: Host, load: Load) -> t.Iterator[str]:
    if load.maximum_mib > host.memory_mib * MEMORY_FILL + ROUNDING:
        yield "memory_over_95"
    if load.maximum_mib > host.memory_mib + ROUNDING:
        yield "memory_over_size"
    if load.vcpus > host.threads * VCPU_RATIO + ROUNDING:
        yield "vcpus"
    if load.cores > host.threads + ROUNDING:
        yield "cpu"
