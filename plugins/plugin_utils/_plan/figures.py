# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""By which figures a move was decided: what its domain wants now, what it will want by its history, and its peak.

Cores are those of the host that the domain runs on now, as in the snapshot.
"""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.demand import Chosen, histories
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.moves import (
    CONTENTION,
    PARKING,
    PEAK,
    UNDERLOAD,
    Move,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraints
from ansible_collections.virtops.balance.plugins.plugin_utils._text import span

_LEAST = 0.1
"""Figures that differ by less than this, in cores or as a share of the larger one, say the same."""


def figures_of(fleet: Fleet, move: Move, resource: int) -> dict[str, t.Any]:
    """The figures of the domain as the plan lists them, and ``told``, a sentence; None if they say no more than what it
    wants now, or if the move is made for something else than its CPU. ``resource``: what the move changes most."""
    demand, domain = fleet.demand, move.domain
    speed, by, past = domain.home.facts.speed, demand.domain_by, not domain.judged_now
    known, reach = domain.facts.cpu_cores is not None, demand.reach(domain.facts) if past else 0.0
    now, later, highest = domain.now / speed, domain.demand[CPU] / speed, None
    if past and demand.sums:
        highest = demand.of_host(domain.past, domain.now) / speed
    told: list[tuple[float, Chosen]] = []
    if past and by.looks_back and _differ(later, now):
        told.append((later, by))
    if move.purpose == PEAK and highest is not None and _differ(highest, told[-1][0] if told else now):
        told.append((highest, demand.host_by))
    elsewhere = (PARKING, UNDERLOAD, *constraints())
    for_cpu = resource == CPU if move.purpose in (None, CONTENTION) else move.purpose not in elsewhere
    return {
        "now": round(now, 3) if known else None,
        "demand": round(later, 3) if known else None,
        "predictor": by.name if past else "observation",
        "minutes": round(by.minutes(reach), 1) if past and by.looks_back else None,
        "peak": None if highest is None else round(highest, 3),
        "told": _sentence(domain.name, now, told, reach) if known and for_cpu and told else None,
    }


def _sentence(name: str, now: float, told: list[tuple[float, Chosen]], reach: float) -> str:
    spans = [f" in the last {span(by.minutes(reach))}" for _cores, by in told]
    if len(set(spans)) == 1:
        spans = [*[""] * (len(spans) - 1), spans[0]]
    later = " and ".join(f"{_shown(cores)} {by.words}{when}" for (cores, by), when in zip(told, spans, strict=True))
    return f"{name} wants {_shown(now)} cores now, {later}"


def _differ(one: float, other: float) -> bool:
    return abs(one - other) >= _LEAST * max(1.0, one, other)


def _shown(cores: float) -> str:
    return f"{cores:.1f}" if cores >= _LEAST or not cores else f"{cores:.2f}"


def peaks_of(fleet: Fleet, hosts: t.Iterable[ProjectedHost]) -> list[float] | None:
    """The uses of their CPUs that these hosts will come to, fractions; None if nothing is known of the past."""
    return [fleet.peak(host) for host in hosts] if fleet.demand.sums else None


def cpu_by(fleet: Fleet) -> str | None:
    """What the use of CPUs in a plan is, in words; None if it is what domains want now, and the policy wants that, or
    a note says why."""
    demand = fleet.demand
    by, steps = demand.domain_by, demand.steps
    if steps is None:
        awaited = (by.looks_back or demand.host_by.looks_back) and not histories(fleet.snapshot)
        return "what domains want now: no history is known" if awaited else None
    if not by.looks_back:
        return None
    reach, longest = 0.0, len(steps.samples) * steps.step / 60.0
    for domain in fleet.domains:
        if not domain.judged_now:
            reach = max(reach, demand.reach(domain.facts))
        if reach >= longest:
            break
    return f"what domains wanted {by.words} in the last {span(by.minutes(reach))}" if reach else None
