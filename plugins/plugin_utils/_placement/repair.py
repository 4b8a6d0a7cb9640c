# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Repairs of violated rules: domains on a drained host, on a host that their pin does not name, or beside a domain that
they must avoid.

Each such domain moves, with its bundle, to the host with the best score of those that no constraint refuses. If there
is none, limits that are meant for levelling give way: it moves to the host where they are passed least (see the excess
of Reason). What cannot be repaired is reported once and left alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Iterable, Mapping

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU, MEMORY
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.registry import Placement
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.bundles import (
    Bundle,
    limits_passed,
    score_together,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import remarks
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules

MOST_TOLD = 10

Force = Callable[[Bundle], bool]


def _always(bundle: Bundle) -> bool:
    return True


def repair(fleet: Fleet, rules: Rules, *, force: Force = _always) -> Placement:
    """Move domains that violate a rule, in the projected fleet, of which at most max_moves are then moved; force as in
    repair_some."""
    most = fleet.policy.max_moves
    left = None if most is None else most - sum(domain.moved for domain in fleet.domains)
    return repair_some(fleet, rules, fleet.domains, most=left, force=force)


def repair_again(fleet: Fleet, rules: Rules, result: Placement) -> bool:
    """Try once more what ``result`` left unrepaired: levelling may have made room for it. True if that was so."""
    if not result.unrepaired:
        return False
    again = repair(fleet, rules)
    result.repairs |= again.repairs
    result.forced |= again.forced
    result.unrepaired, result.notes = again.unrepaired, again.notes
    return bool(again.repairs)


def repair_some(
    fleet: Fleet,
    rules: Rules,
    domains: Iterable[ProjectedDomain],
    *,
    most: int | None,
    first: Container[str] = (),
    near: int | None = None,
    force: Force = _always,
    priorities: bool | None = None,
) -> Placement:
    """Move those of the domains that violate a rule, at most ``most``, those with a UUID in ``first`` before others.

    ``near``: try this many of the least loaded hosts first, and the others only if none of these is permitted.
    ``force``: do limits give way for a bundle (or for one domain, as a bundle of one) if nothing else helps?
    ``priorities``: do those with a higher priority get room first? None: yes, unless more are left behind for that.
    """
    violating = [domain for domain in domains if rules.violations(domain)]
    if not violating:
        return Placement()
    places = {member: member.host for domain in violating for member in domain.bundle or (domain,)}

    def attempt(heeded: bool) -> Placement:
        found = _Repair(fleet, rules, Placement(), len(fleet.domains) if most is None else most)
        found.first, found.near, found.priorities = first, near, heeded
        found.run(violating, force=force)
        return found.result

    result = attempt(priorities is not False)
    if priorities is not None or not result.unrepaired or not differ(places):
        return result
    put_back(fleet, places)
    other = attempt(False)
    if len(other.unrepaired) < len(result.unrepaired):
        return other
    put_back(fleet, places)
    return attempt(True)


def differ(domains: Iterable[ProjectedDomain]) -> bool:
    """Have the domains different priorities?"""
    return len({domain.priority for domain in domains}) > 1


def put_back(fleet: Fleet, places: Mapping[ProjectedDomain, ProjectedHost]) -> None:
    """Move domains back to their hosts in ``places``."""
    for domain, host in places.items():
        if domain.host is not host:
            fleet.move(domain, host)


class _Repair:
    """One repair while it is made."""

    def __init__(self, fleet: Fleet, rules: Rules, result: Placement, most: int) -> None:
        self.fleet, self.rules, self.result, self.hosts = fleet, rules, result, fleet.counted()
        self.left = most
        self.first: Container[str] = ()
        self.near: int | None = None
        self.priorities = True
        self.short = False

    def run(self, violating: list[ProjectedDomain], *, force: Force) -> None:
        bundles = list({(bundle := domain.bundle or (domain,))[0].index: bundle for domain in violating}.values())
        bundles.sort(key=self._urgency)
        # Moves of the first pass may have made room for the second.
        for search in (self._within_limits, self._within_limits, self._beyond_limits):
            for bundle in bundles:
                if search == self._beyond_limits and not force(bundle):
                    continue
                broken = self._broken(bundle)
                if broken and not any(domain.moved for domain in bundle):
                    self._move(bundle, broken, search(bundle))
        for domain in violating:
            reasons = self.rules.violations(domain)
            if reasons:
                self.result.unrepaired[domain.facts.uuid] = reasons[0].message
        self._tell()

    def _broken(self, bundle: Bundle) -> list[Reason]:
        return [reason for domain in bundle for reason in self.rules.violations(domain)]

    def _urgency(self, bundle: Bundle) -> tuple[bool, int, bool, float, str]:
        """Those with the highest priority first, and the large ones of these, because they fit on the fewest hosts; if
        one of several must leave, the cheapest."""
        one_of_several = self.rules.one_of_several(self._broken(bundle))
        heeded = self.priorities and not one_of_several
        priority = max(domain.priority for domain in bundle) if heeded else 0
        size = sum(d.copy_mib if one_of_several else -d.committed_mib for d in bundle)
        later = not any(domain.facts.uuid in self.first for domain in bundle)
        return (one_of_several, -priority, later, size, bundle[0].facts.uuid)

    def _within_limits(self, bundle: Bundle) -> ProjectedHost | None:
        """The best host for the bundle of those that no constraint refuses."""
        return self._best_host(bundle, self._nearest(bundle)) or self._best_host(bundle, self.hosts)

    def _beyond_limits(self, bundle: Bundle) -> ProjectedHost | None:
        """The host for the bundle on which limits are passed least."""
        found = [
            (*passed, host.index, host)
            for host in self.hosts
            if 0 < len(self._going(bundle, host)) <= self.left - len(self.result.repairs)
            and (passed := limits_passed(self.fleet, self.rules, bundle, host)) is not None
        ]
        if not found:
            return None
        excess, *_rest, host = min(found)
        if excess > 0.0:
            self.result.forced.update(domain.facts.uuid for domain in bundle if domain.host is not host)
        return host

    def _move(self, bundle: Bundle, broken: list[Reason], host: ProjectedHost | None) -> None:
        if host is not None:
            for domain in bundle:
                if domain.host is not host:
                    reason = next(iter(self.rules.violations(domain)), broken[0])
                    self.result.repairs[domain.facts.uuid] = reason.constraint
            for domain in bundle:
                self.fleet.move(domain, host)

    def _nearest(self, bundle: Bundle) -> list[ProjectedHost]:
        """The hosts to try first; none if all have to be tried anyway, for example because of wishes."""
        if self.near is None or len(self.hosts) <= self.near or len(bundle) > 1 or bundle[0].wishes:
            return []
        return heapq.nsmallest(self.near, self.hosts, key=lambda host: (host.use[CPU] + host.use[MEMORY], host.index))

    def _best_host(self, bundle: Bundle, hosts: list[ProjectedHost]) -> ProjectedHost | None:
        best: tuple[float, ProjectedHost] | None = None
        short = False
        for host in hosts:
            going = self._going(bundle, host)
            if not going:
                continue
            if len(going) > self.left - len(self.result.repairs):
                short = True
                continue
            if len(bundle) == 1:
                cost = self.fleet.score.after(bundle[0].demand, bundle[0].host, host)
                cost += self.rules.penalty(bundle[0], host)
                if (best is None or cost < best[0]) and self.rules.refuses(bundle[0], host) is None:
                    best = (cost, host)
                continue
            together = score_together(self.fleet, self.rules, bundle, host)
            if together is not None:
                paid = sum(domain.price for domain in going)
                if best is None or together + paid < best[0]:
                    best = (together + paid, host)
        if best is None:
            self.short |= short
            return None
        return best[1]

    def _going(self, bundle: Bundle, host: ProjectedHost) -> list[ProjectedDomain]:
        """The domains that have to move for the bundle to be on the host; none if one of them cannot be moved."""
        going = [domain for domain in bundle if domain.host is not host]
        return [] if any(self.rules.fixed(domain, repair=True) is not None for domain in going) else going

    def _tell(self) -> None:
        if not self.result.unrepaired:
            return
        notes = self.result.notes
        unrepaired = [self.fleet[uuid] for uuid in self.result.unrepaired]
        if self.short:
            notes.append(
                f"{len(unrepaired)} domain{'s' * (len(unrepaired) > 1)} still violate{'s' * (len(unrepaired) == 1)} "
                f"a placement rule: max_moves ({self.fleet.policy.max_moves}) is too low to repair that."
            )
        for tell in remarks():
            told = tell(self.fleet, self.hosts, unrepaired)
            notes += told[:MOST_TOLD]
            if len(told) > MOST_TOLD:
                notes.append(f"{len(told) - MOST_TOLD} more rules of this kind are not kept.")
