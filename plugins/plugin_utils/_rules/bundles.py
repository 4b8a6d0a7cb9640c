# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Bundles: domains that have to share a host move together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import Vector
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules

MOST_REASONS = 5

Bundle = tuple[ProjectedDomain, ...]
Step = tuple[float, list[tuple[ProjectedDomain, ProjectedHost]]]


def score_together(fleet: Fleet, rules: Rules, bundle: Bundle, host: ProjectedHost) -> float | None:
    """The score with the whole bundle on the host, plus the cost of its unkept wishes; None if a rule refuses one of
    the domains there."""
    with _together(fleet, bundle, host) as going:
        cost = fleet.score.value() + _wishes(rules, bundle, host)
        if any(rules.violations(domain) for domain in bundle if domain.host is host):
            return None
        for domain in going:
            with fleet.away(domain, host):
                refused = rules.refuses(domain, host)
            if refused is not None:
                return None
    return cost


def limits_passed(fleet: Fleet, rules: Rules, bundle: Bundle, host: ProjectedHost) -> tuple[float, float] | None:
    """By how much limits would have to give way for the whole bundle on the host, and the score plus the cost of its
    unkept wishes; None if there is a reason against it that does not give way."""
    excess = 0.0
    with _together(fleet, bundle, host) as going:
        cost = fleet.score.value() + _wishes(rules, bundle, host)
        if any(rules.violations(domain) for domain in bundle if domain.host is host):
            return None
        for domain in going:
            with fleet.away(domain, host):
                passed = rules.passed(domain, host)
            if passed is None:
                return None
            excess = max(excess, sum(reason.excess or 0.0 for reason in passed))
    return excess, cost


def reasons_together(fleet: Fleet, rules: Rules, bundle: Bundle, host: ProjectedHost) -> list[Reason]:
    """The reasons against the whole bundle on the host, each with the name of its domain: at most MOST_REASONS, and how
    many more there are."""
    found = []
    with _together(fleet, bundle, host):
        for domain in bundle:
            fixed = rules.fixed(domain, repair=True)
            if domain.host is host:
                reasons = rules.violations(domain)
            elif fixed is not None:
                reasons = [fixed]
            else:
                with fleet.away(domain, host):
                    reasons = rules.reasons(domain, host)
            found += [Reason(reason.constraint, f"{domain.name}: {reason.message}") for reason in reasons]
    more = len(found) - MOST_REASONS
    return found[:MOST_REASONS] + ([Reason("more", f"and {more} more")] if more > 0 else [])


@contextmanager
def _together(fleet: Fleet, bundle: Bundle, host: ProjectedHost) -> Iterator[list[ProjectedDomain]]:
    """Count the whole bundle on the host for a while; yields the domains that have to move for it.

    A domain in flight counts on its destination already.
    """
    going = [domain for domain in bundle if domain.index not in host.domains]
    for domain in going:
        fleet.release(domain, domain.host)
        fleet.occupy(domain, host)
    try:
        yield going
    finally:
        for domain in going:
            fleet.release(domain, host)
            fleet.occupy(domain, domain.host)


def both_permitted(
    fleet: Fleet,
    rules: Rules,
    domain: ProjectedDomain,
    host: ProjectedHost,
    other: ProjectedDomain,
    there: ProjectedHost,
) -> bool:
    """May one domain be on ``host`` and the other one ``there``, neither counted on its present host?"""
    ends = ((domain, domain.host), (other, other.host))
    for one, end in ends:
        fleet.release(one, end)
    permitted = rules.refuses(domain, host) is None and rules.refuses(other, there) is None
    for one, end in ends:
        fleet.occupy(one, end)
    return permitted


def best_move(
    fleet: Fleet,
    rules: Rules,
    source: ProjectedHost,
    destinations: Iterable[ProjectedHost],
    *,
    price: Callable[[ProjectedDomain, ProjectedHost], float],
    most: int,
    least: float,
) -> Step | None:
    """The move of a bundle away from ``source`` that gains most, and more than ``least``.

    price: the cost of moving a domain. most: how many domains that have not moved yet may move.
    """
    score = fleet.score
    best: Step | None = None
    for bundle in [domain.bundle for domain in source.domains.values() if domain.bundle and domain is domain.bundle[0]]:
        if sum(not domain.moved for domain in bundle) > most or any(
            domain.host is not source or rules.fixed(domain) is not None for domain in bundle
        ):
            continue
        demand = _demand(bundle)
        now = score.value() + _wishes(rules, bundle, source)
        for host in destinations:
            if host is source:
                continue
            bound = least if best is None else best[0]
            paid = sum(price(domain, host) for domain in bundle)
            if now - score.after(demand, source, host) - paid <= bound:
                continue  # not even if all wishes came true
            cost = score_together(fleet, rules, bundle, host)
            if cost is not None and now - cost - paid > bound:
                best = (now - cost - paid, [(domain, host) for domain in bundle])
    return best


def _wishes(rules: Rules, bundle: Bundle, host: ProjectedHost) -> float:
    """The cost of the wishes that the bundle breaks on the host."""
    return sum(rules.penalty(domain, host) for domain in bundle)


def _demand(bundle: Bundle) -> Vector:
    cores, memory, ready, vcpus = (sum(parts) for parts in zip(*(domain.demand for domain in bundle), strict=True))
    return (cores, memory, ready, vcpus)
