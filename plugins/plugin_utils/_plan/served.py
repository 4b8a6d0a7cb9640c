# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""How much of the CPU that a domain wants it gets: the figure that VMware's DRS calls the score of a VM, CPU alone.

A domain gets all that it wants unless it waits for a physical CPU (cpu_ready): the share is 1 - cpu_ready, where
neither its vCPUs nor its cap bound it before. After a plan it is projected: all on a host get the same share, 1 up to
the point where they together want more than the host has.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.demand import got_now
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    ROUNDING,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU, CPU_READY

MOST_NAMED = 5
ENOUGH = 0.99
"""A domain that gets this share of what it wants gets nearly all of it."""
_LEAST_MISSED = 0.05
"""A domain that misses less than so many cores is at rest, and waits now and then as all do."""

Share = float | None


class Served:
    """What the domains of a fleet get before its plan is made; ``plan`` tells it afterwards."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._wanted = {host.index: host.now for host in fleet.hosts}
        self._domains = [domain for domain in fleet.domains if domain.home.facts.answers]
        self._now = {domain.index: _rounded(got_now(domain.facts)) for domain in self._domains}

    def plan(self) -> dict[str, t.Any]:
        """As the plan has it, with its moves made."""
        steps = self._fleet.demand.steps
        found, candidates = {}, []
        for domain in self._domains:
            now, past, after = self._now[domain.index], self._past(domain), self._after(domain)
            found[domain.facts.uuid] = {"now": now, "past": past, "after": after}
            if matters(domain, (now, past, after)):
                told = {"domain": domain.facts.uuid, "name": domain.name}
                ways = {"host": domain.home.name, "destination": domain.host.name if domain.moved else None}
                candidates.append({**told, **ways, **found[domain.facts.uuid]})
        minutes = None
        if steps is not None and any(shares["past"] is not None for shares in found.values()):
            minutes = round(len(steps.samples) * steps.step / 60.0, 1)
        return {"minutes": minutes, "worst": worst(candidates, ("now", "past")), "domains": found}

    def _past(self, domain: ProjectedDomain) -> Share:
        if domain.judged_now:
            return None
        return _rounded(self._fleet.demand.got(domain.facts, domain.past, domain.demand[CPU_READY]))

    def _after(self, domain: ProjectedDomain) -> Share:
        """What nothing changes for stays as it is: it may wait for CPUs that it is pinned to, while others idle."""
        host, now = domain.host, self._now[domain.index]
        if now is None or not host.known:
            return None
        if not domain.moved and abs(host.now - self._wanted[host.index]) <= ROUNDING:
            return now
        return _rounded(_room(host))


def _room(host: ProjectedHost) -> float:
    """The share that all on a host get, if all get the same."""
    full = host.now * host.scale[CPU]
    return 1.0 if full <= 1.0 else 1.0 / full


def matters(domain: ProjectedDomain, shares: Iterable[Share]) -> bool:
    """Does the domain get clearly less than it wants? One that is nearly idle does not count."""
    least = min((share for share in shares if share is not None), default=1.0)
    wanted = max(domain.now, domain.demand[CPU]) / domain.home.facts.speed
    return least < ENOUGH and wanted * (1.0 - least) >= _LEAST_MISSED


def worst(found: Iterable[Mapping[str, t.Any]], keys: tuple[str, ...]) -> list[dict[str, t.Any]]:
    """The few that get the least by any of these shares, the least first."""

    def order(one: Mapping[str, t.Any]) -> tuple[float, str]:
        return min((one[key] for key in keys if one[key] is not None), default=1.0), str(one["domain"])

    return [dict(one) for one in sorted(found, key=order)[:MOST_NAMED]]


def outcome_of(fleet: Fleet, plan: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What domains got when the plan was made, and what they get now, as the outcome has it."""
    planned = plan.get("served") or {}
    before = {uuid: shares["now"] for uuid, shares in (planned.get("domains") or {}).items()}
    listed = {one["domain"] for one in planned.get("worst") or ()}
    found, candidates = {}, []
    for domain in fleet.domains:
        if not domain.home.facts.answers:
            continue
        uuid = domain.facts.uuid
        shares = {"before": before.get(uuid), "after": _rounded(got_now(domain.facts))}
        found[uuid] = shares
        if uuid in listed or matters(domain, [shares["after"]]):
            candidates.append({"domain": uuid, "name": domain.name, "host": domain.home.name, **shares})
    return {"worst": worst(candidates, ("before", "after")), "domains": found}


def _rounded(share: Share) -> Share:
    return None if share is None else round(share, 4)
