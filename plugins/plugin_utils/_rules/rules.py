# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""All registered constraints for one fleet, each evaluated no more often than its scope requires."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import UNKEPT_WISH
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import Ask, constraints, preferences


class Rules:
    """May a domain be on a host? Answers that no move can change are cached."""

    __slots__ = (
        "_always",
        "_end",
        "_firm",
        "_fleet",
        "_host",
        "_hosts",
        "_now",
        "_pair",
        "_pairs",
        "_preferences",
        "_repairing",
        "_still",
        "_stuck",
    )

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        asked = [rule for rule in constraints().values() if rule.when(fleet)]

        def of(scope: str) -> list[Ask]:
            return [rule.ask for rule in asked if rule.scope == scope]

        self._host, self._pair, self._always, self._end = of("host"), of("pair"), of("fleet"), of("end")
        self._now = self._always + self._end
        self._repairing = [rule for rule in asked if rule.repair is not None]
        self._preferences = preferences(fleet)
        # Evaluated now, because some of them depend on where domains are before anything moves.
        domain_rules = [rule for rule in asked if rule.scope == "domain"]
        self._firm = [rule.ask for rule in domain_rules if not rule.yields]
        yielding = [rule.ask for rule in domain_rules if rule.yields]
        self._stuck = [self._first(self._firm, domain, domain.home) for domain in fleet.domains]
        self._still = [
            reason or self._first(yielding, domain, domain.home)
            for domain, reason in zip(fleet.domains, self._stuck, strict=True)
        ]
        self._hosts: dict[int, Reason | None] = {}
        self._pairs: dict[int, Reason | None] = {}

    def fixed(self, domain: ProjectedDomain, *, repair: bool = False) -> Reason | None:
        """Why the domain cannot be moved at all; with ``repair``: not even to repair a rule that it violates."""
        return self._stuck[domain.index] if repair else self._still[domain.index]

    def immovable(self, domain: ProjectedDomain) -> list[Reason]:
        """All reasons why the domain cannot be moved, not even to repair a rule."""
        found = [rule(domain, domain.home, self._fleet) for rule in self._firm]
        return [reason for reason in found if reason is not None]

    def closed(self, host: ProjectedHost) -> Reason | None:
        """Why nothing can be moved to the host."""
        if host.index not in self._hosts:
            # Scope "host" does not read the domain, so any domain will do; without one nothing can be moved anyway.
            any_domain = next(iter(self._fleet.domains), None)
            self._hosts[host.index] = None if any_domain is None else self._first(self._host, any_domain, host)
        return self._hosts[host.index]

    def reopen(self, host: ProjectedHost) -> None:
        """Forget whether anything can be moved to the host, after its drained state has changed."""
        self._hosts.pop(host.index, None)

    def suits(self, domain: ProjectedDomain, host: ProjectedHost) -> Reason | None:
        """Why the domain cannot be on the host, wherever all other domains are."""
        key = domain.index * len(self._fleet.hosts) + host.index
        if key not in self._pairs:
            self._pairs[key] = self._first(self._pair, domain, host)
        return self._pairs[key]

    def forbid(self, domain: ProjectedDomain, host: ProjectedHost, reason: Reason) -> None:
        """Let ``suits`` keep the domain off the host from now on."""
        self._pairs[domain.index * len(self._fleet.hosts) + host.index] = reason

    def refuses(self, domain: ProjectedDomain, host: ProjectedHost) -> Reason | None:
        """The first reason against a domain that is not ``fixed`` on the host after the last move, or None."""
        return self.closed(host) or self.suits(domain, host) or self._first(self._now, domain, host)

    def refuses_now(self, domain: ProjectedDomain, host: ProjectedHost) -> Reason | None:
        """The first reason against the domain on the host between moves, or None."""
        return self.closed(host) or self.suits(domain, host) or self._first(self._always, domain, host)

    def passed(self, domain: ProjectedDomain, host: ProjectedHost, *, between: bool = False) -> list[Reason] | None:
        """The limits that would have to give way for the domain on the host, after the last move or ``between`` moves;
        None if there is a reason against it that does not give way."""
        if self.closed(host) is not None or self.suits(domain, host) is not None:
            return None
        answers = (rule(domain, host, self._fleet) for rule in (self._always if between else self._now))
        found = [reason for reason in answers if reason is not None]
        return None if any(reason.excess is None for reason in found) else found

    def reasons(self, domain: ProjectedDomain, host: ProjectedHost) -> list[Reason]:
        """All reasons against the domain on the host, without those of scope "domain"."""
        found = [rule(domain, host, self._fleet) for rule in (*self._host, *self._pair, *self._now)]
        return [reason for reason in found if reason is not None]

    def violations(self, domain: ProjectedDomain) -> list[Reason]:
        """The rules that the domain violates where it is now."""
        found = [rule.ask(domain, domain.host, self._fleet) for rule in self._repairing]
        return [reason for reason in found if reason is not None]

    def violated(self) -> int:
        """How many rules domains violate where they are now; one counts for each domain that violates it."""
        return sum(len(self.violations(domain)) for domain in self._fleet.domains)

    def one_of_several(self, reasons: list[Reason]) -> bool:
        """Would these violations end if another domain left?"""
        known = constraints()
        return all(known[reason.constraint].one_of_several for reason in reasons)

    def penalty(self, domain: ProjectedDomain, host: ProjectedHost) -> float:
        """The cost of the domain on the host by the soft rules, in score."""
        if not domain.wishes:
            return 0.0
        return UNKEPT_WISH * sum(rule(domain, host, self._fleet) for rule in self._preferences.values())

    def unkept(self, domain: ProjectedDomain, host: ProjectedHost) -> list[Reason]:
        """The wishes that the domain does not keep on the host, with the number of them as its excess."""
        if not domain.wishes:
            return []
        found = {name: rule(domain, host, self._fleet) for name, rule in self._preferences.items()}
        said = f"does not come true on {host.name}"
        return [Reason(name, f"a wish ({name}) {said}", float(unkept)) for name, unkept in found.items() if unkept]

    def _first(self, rules: list[Ask], domain: ProjectedDomain, host: ProjectedHost) -> Reason | None:
        for rule in rules:
            reason = rule(domain, host, self._fleet)
            if reason is not None:
                return reason
        return None
