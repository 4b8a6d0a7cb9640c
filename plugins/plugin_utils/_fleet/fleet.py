# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The projected fleet: the load of every host, with domains where a plan puts them.

CPU demand of a domain: see demand.py. What a move adds to the peak of a host is O(samples); all else is O(1).

Load of a host. CPU: the busy threads that were measured, less what its domains used (the rest is the host's own use: at
least 0, and at least its reserve), plus what its domains demand. Memory: what is in use, less what its domains hold
(again at least the reserve), plus their memory by the policy's memory_basis. Committed memory, which the memory
constraint compares with the limit, counts the maximum of each domain; of one whose maximum is not known, its memory.

A domain in flight counts on both hosts.
"""

from __future__ import annotations

import typing as t
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from operator import add, sub

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.answers import Answers
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.demand import Demand
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.groups import bundles, groups_of
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    ROUNDING,
    Group,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import (
    CPU,
    MEMORY,
    RESOURCES,
    Score,
    Vector,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.waits import waits
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.domain_selectors import (
    Missing,
    Selector,
    missing_notes,
    selector_document,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import NOWHERE, Domain, Snapshot


class Fleet:
    """All hosts and domains, projected. ``now`` is the time up to which the cooldown counts. ``waits`` are the moves
    that failed and are not tried again yet.

    ``arriving`` are domains that do not run yet: they are on no host until they are placed, and ``document``, which
    selectors see, contains them too. ``expected`` are further names that the policy may use. ``answers`` are those of
    hosts that were asked about planned moves, None = nobody was asked. ``notes`` name the selectors that match no
    domain; with strict_selectors such a selector is a PolicyError, unless the domain may be on a host that did not
    answer.
    """

    __slots__ = (
        "_by_uuid",
        "_document",
        "answers",
        "arriving",
        "demand",
        "domains",
        "groups",
        "hosts",
        "notes",
        "now",
        "policy",
        "score",
        "snapshot",
        "waits",
    )

    def __init__(
        self,
        snapshot: Snapshot,
        policy: Policy,
        now: datetime | None = None,
        *,
        arriving: Sequence[Domain] = (),
        document: Mapping[str, t.Any] | None = None,
        expected: Collection[str] = (),
        answers: Answers | None = None,
    ) -> None:
        policy.check_hosts(snapshot.hosts, {group for host in snapshot.hosts.values() for group in host.groups})
        self.snapshot, self.policy, self.now = snapshot, policy, now
        self.answers = Answers(None, snapshot) if answers is None else answers
        self.waits = waits(snapshot, policy, now)
        self.hosts = [
            ProjectedHost(
                host,
                index,
                drained=host.state == "drained" or host.among(policy.drained_hosts),
                ignored=host.among(policy.ignore_hosts),
            )
            for index, host in enumerate(snapshot.hosts.values())
        ]
        by_name = {host.name: host for host in self.hosts}
        self.domains = [
            ProjectedDomain(domain, index, by_name[domain.host], policy)
            for index, domain in enumerate(snapshot.domains.values())
        ]
        nowhere = ProjectedHost(NOWHERE, len(self.hosts), drained=False, ignored=False)
        self.arriving = [
            ProjectedDomain(domain, index, nowhere, policy) for index, domain in enumerate(arriving, len(self.domains))
        ]
        self.domains += self.arriving
        self.demand = Demand(snapshot, policy)
        if self.demand.steps is not None:
            for domain in self.domains:
                domain.remember(self.demand)
        self._document = snapshot.raw if document is None else document
        self._by_uuid = {domain.facts.uuid: domain for domain in self.domains}
        self.groups: list[Group] = []
        self.notes: list[str] = []
        self._select(expected)
        self._load(by_name)
        weights, limits = policy.weights, (policy.cpu_limit, policy.memory_limit)
        self.score = Score(
            (weights.cpu, weights.memory, weights.cpu_ready, weights.vcpus),
            weights.overload,
            limits,
            target=policy.levelled,
            unit=1.0 / (policy.cpu_overcommit or 1.0),
        )
        self._recount()

    def __getitem__(self, uuid: str) -> ProjectedDomain:
        return self._by_uuid[uuid]

    def _select(self, expected: Collection[str]) -> None:
        """Evaluate every selector of the policy once, and store the result in the domains."""
        policy = self.policy
        selectors = (policy.include, policy.exclude, policy.pins, policy.important, policy.restart, policy.overrides)
        if not any(selectors) and not any(policy.group_rules().values()):
            return
        document = selector_document(self._document)
        missing: list[Missing] = []

        def selected(selector: Selector) -> Iterable[ProjectedDomain]:
            found = selector.select(document)
            missing.extend(found.missing)
            return [self._by_uuid[uuid] for uuid in found.uuids if uuid in self._by_uuid]

        if policy.include:
            included = {domain.index for selector in policy.include for domain in selected(selector)}
            for domain in self.domains:
                if domain.index not in included:
                    domain.excluded = "the policy does not include it"
        for selector in policy.exclude:
            for domain in selected(selector):
                domain.excluded = f"the policy excludes it ({selector.text})"
        for selector in policy.important:
            for domain in selected(selector):
                domain.important = True
        for selector in policy.restart:
            for domain in selected(selector):
                domain.may_restart = True
        for override in policy.overrides:
            for domain in selected(override.domains):
                domain.level = override.level or domain.level
                domain.priority = domain.priority if override.priority is None else override.priority
                domain.migration = override.migration.over(domain.migration)
        for pin in policy.pins:
            for domain in selected(pin.domains):
                domain.pins += (pin,)
                domain.wishes |= not pin.must
        self.groups = groups_of(policy, document, self._by_uuid, self.hosts, missing)
        for group in self.groups:
            for domain in group.members:
                domain.groups += (group,)
                domain.wishes |= not group.must
        for bundle in bundles(self.groups):
            for domain in bundle:
                domain.bundle = bundle
        self.notes = missing_notes(missing, document, expected)
        if self.notes and policy.strict_selectors:
            silent = [host.name for host in self.hosts if host.facts.state == "unknown"]
            if not silent:
                raise PolicyError(f"{' '.join(self.notes)} Nothing is planned for that (strict_selectors).")
            self.notes.append(f"That does not stop the run (strict_selectors): {silent[0]} is unknown and may have it.")

    def _load(self, by_name: dict[str, ProjectedHost]) -> None:
        used_cores, held_mib = [0.0] * len(self.hosts), [0.0] * len(self.hosts)
        residents: list[list[ProjectedDomain]] = [[] for _host in self.hosts]
        running = [domain for domain in self.domains if not domain.new]
        for domain in running:
            home = domain.home.index
            residents[home].append(domain)
            used_cores[home] += domain.facts.cpu_cores or 0.0
            held_mib[home] += 0.0 if domain.huge_mib else domain.facts.rss_mib or 0.0
        for host in self.hosts:
            facts = host.facts
            own_cores = max(0.0, (facts.usage or 0.0) * (facts.threads or 0) - used_cores[host.index])
            in_use = (facts.memory_total_mib or 0.0) - (facts.memory_available_mib or 0.0)
            own_mib = max(0.0, in_use - held_mib[host.index])
            # The reserve counts as used, so that everything that reads the load of the host takes it into account.
            reserved_mib, host.reserved_cores = self.policy.reserve(host.name, facts.groups)
            own_cores, own_mib = max(own_cores, host.reserved_cores), max(own_mib, reserved_mib)
            host.now = own_cores * facts.speed
            host.use = [host.now * host.scale[CPU], own_mib * host.scale[MEMORY], 0.0, 0.0]
            host.committed_mib = own_mib
            own = self.demand.own(facts, [domain.facts for domain in residents[host.index]], host.now)
            host.past = self.demand.steady(host.now) if own is None else own
            host.judged_now = own is None and all(domain.judged_now for domain in residents[host.index])
        for domain in running:
            # The host's free huge pages are measured without those that its domains already hold.
            domain.home.huge_mib += domain.huge_mib
            self._carry(domain, domain.home, 1.0)
            ends = [domain.home]
            if domain.facts.destination is not None:
                ends.append(by_name[domain.facts.destination])
                self._carry(domain, ends[1], 1.0)
            if domain.facts.maximum_mib is None and domain.facts.hugepages is not True:
                for end in ends:
                    end.unlimited.append(domain.name)

    def _carry(self, domain: ProjectedDomain, host: ProjectedHost, sign: float) -> None:
        host.use = [
            use + sign * demand * scale for use, demand, scale in zip(host.use, domain.demand, host.scale, strict=True)
        ]
        host.committed_mib += sign * domain.committed_mib
        host.huge_mib -= sign * domain.huge_mib
        host.now += sign * domain.now
        if domain.past:
            host.past = list(map(add if sign > 0 else sub, host.past, domain.past))
            host.peak = None
        if sign > 0:
            host.domains[domain.index] = domain
        else:
            del host.domains[domain.index]
        for group in domain.groups:
            (group.enter if sign > 0 else group.leave)(domain, host)

    def occupy(self, domain: ProjectedDomain, host: ProjectedHost) -> None:
        """Count the domain on this host too: a move to it begins."""
        old = host.use
        self._carry(domain, host, 1.0)
        if host.counted:
            self.score.change(old, host.use)

    def release(self, domain: ProjectedDomain, host: ProjectedHost) -> None:
        """Stop counting the domain on this host: a move away from it has ended."""
        old = host.use
        self._carry(domain, host, -1.0)
        if host.counted:
            self.score.change(old, host.use)

    @contextmanager
    def away(self, domain: ProjectedDomain, host: ProjectedHost) -> Iterator[None]:
        """Do not count the domain on this host for a while, so that rules can be asked about it there."""
        self.release(domain, host)
        try:
            yield
        finally:
            self.occupy(domain, host)

    def move(self, domain: ProjectedDomain, host: ProjectedHost) -> None:
        """Move the domain to ``host``. Moving it back undoes this."""
        self.release(domain, domain.host)
        self.occupy(domain, host)
        domain.host = host

    def place(self, domain: ProjectedDomain, host: ProjectedHost) -> None:
        """Put a domain that was on no host on ``host``."""
        self.occupy(domain, host)
        domain.host = host

    def drain(self, host: ProjectedHost, drained: bool) -> None:
        """Mark the host as drained, or as not drained. Call Rules.reopen afterwards."""
        counted = host.counted
        host.drain(drained)
        if counted != host.counted:
            self._recount()

    def _recount(self) -> None:
        """Score the hosts as they are now. They have to take what drained hosts carry, and the new domains."""
        drained = [host for host in self.hosts if host.drained and not host.ignored]
        leaving = [domain for host in drained for domain in host.domains.values()]
        self.score.count(self.counted(), [domain.demand for domain in (*leaving, *self.arriving)])

    def counted(self) -> list[ProjectedHost]:
        """The hosts that are levelled."""
        return [host for host in self.hosts if host.counted]

    def spread(self) -> Vector:
        """The difference between the most and the least used host, for each resource."""
        uses = [host.use for host in self.hosts if host.counted]
        if not uses:
            return (0.0, 0.0, 0.0, 0.0)
        cpu, memory, ready, vcpus = ([use[r] for use in uses] for r in range(len(RESOURCES)))
        return (max(cpu) - min(cpu), max(memory) - min(memory), max(ready) - min(ready), max(vcpus) - min(vcpus))

    def peak(self, host: ProjectedHost) -> float:
        """The use of its CPU that the host will come to, by what its domains wanted at the same times, a fraction."""
        if not self.demand.sums:
            return host.use[CPU]
        if host.peak is None:
            host.peak = self.demand.of_host(host.past, host.now) * host.scale[CPU]
        return host.peak

    def peak_if(self, host: ProjectedHost, comes: ProjectedDomain | None, goes: ProjectedDomain | None = None) -> float:
        """The same if one domain came to it, and one left it. O(samples)."""
        if not self.demand.sums:
            cores = 0.0 if comes is None else comes.demand[CPU]
            cores -= 0.0 if goes is None else goes.demand[CPU]
            return host.use[CPU] + cores * host.scale[CPU]
        past, now = host.past, host.now
        if comes is not None:
            past, now = list(map(add, past, comes.past)), now + comes.now
        if goes is not None:
            past, now = list(map(sub, past, goes.past)), now - goes.now
        return self.demand.of_host(past, now) * host.scale[CPU]

    def moved_within(self, domain: ProjectedDomain, seconds: float) -> bool:
        """Did the domain come to its host less than this long before the snapshot?"""
        came = domain.facts.moved_at
        return came is not None and self.now is not None and (self.now - came).total_seconds() < seconds

    def over_limit(self, host: ProjectedHost) -> bool:
        """Is the host above cpu_limit or memory_limit?"""
        return (
            host.use[CPU] > self.policy.cpu_limit + ROUNDING or host.use[MEMORY] > self.policy.memory_limit + ROUNDING
        )
