# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""All registered constraints over one fleet, each asked no more often than its scope needs."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils import _registry
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet import Fleet, ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._registry import Reason


class Rules:
    """May a domain be on a host? Answers that no move can change are remembered."""

    __slots__ = (
        "_domain",
        "_fleet",
        "_host",
        "_hosts",
        "_movable",
        "_now",
        "_pair",
        "_pairs",
        "_preferences",
        "_repair",
    )

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._domain = list(_registry.constraints("domain").values())
        self._host = list(_registry.constraints("host").values())
        self._pair = list(_registry.constraints("pair").values())
        self._now = list(_registry.constraints("fleet").values())
        self._repair = list(_registry.repairing().items())
        wishes = any(domain.wishes for domain in fleet.domains)
        self._preferences = list(_registry.preferences().values()) if wishes else []
        # Asked now, because some answers look at where domains are before anything moves.
        self._movable = [self._first(self._domain, domain, domain.home) for domain in fleet.domains]
        self._hosts: dict[int, Reason | None] = {}
        self._pairs: dict[int, Reason | None] = {}

    def fixed(self, domain: ProjectedDomain) -> Reason | None:
        """Why the domain can be moved nowhere."""
        return self._movable[domain.index]

    def closed(self, host: ProjectedHost) -> Reason | None:
        """Why nothing can be moved to the host."""
        if host.index not in self._hosts:
            # Scope "host": the domain is not looked at, so any will do; without one nothing can be moved anyway.
            any_domain = next(iter(self._fleet.domains), None)
            self._hosts[host.index] = None if any_domain is None else self._first(self._host, any_domain, host)
        return self._hosts[host.index]

    def suits(self, domain: ProjectedDomain, host: ProjectedHost) -> Reason | None:
        """Why the domain and the host do not go together, wherever everything else is."""
        key = domain.index * len(self._fleet.hosts) + host.index
        if key not in self._pairs:
            self._pairs[key] = self._first(self._pair, domain, host)
        return self._pairs[key]

    def refuses(self, domain: ProjectedDomain, host: ProjectedHost) -> Reason | None:
        """The first reason against the domain on the host, or None."""
        return (
            self.fixed(domain) or self.closed(host) or self.suits(domain, host) or self._first(self._now, domain, host)
        )

    def reasons(self, domain: ProjectedDomain, host: ProjectedHost) -> list[Reason]:
        """All reasons against the domain on the host, those of the domain itself left out."""
        found = [rule(domain, host, self._fleet) for rule in (*self._host, *self._pair, *self._now)]
        return [reason for reason in found if reason is not None]

    def violations(self, domain: ProjectedDomain) -> list[Reason]:
        """Rules that must hold and do not, with the domain where it is now."""
        found = [rule(domain, domain.host, self._fleet) for _name, rule in self._repair]
        return [reason for reason in found if reason is not None]

    def penalty(self, domain: ProjectedDomain, host: ProjectedHost) -> float:
        """What soft rules say that it costs to have the domain on the host (score times hosts)."""
        if not domain.wishes:
            return 0.0
        return sum(rule(domain, host, self._fleet) for rule in self._preferences)

    def _first(self, rules: list[_registry.Constraint], domain: ProjectedDomain, host: ProjectedHost) -> Reason | None:
        for rule in rules:
            reason = rule(domain, host, self._fleet)
            if reason is not None:
                return reason
        return None
