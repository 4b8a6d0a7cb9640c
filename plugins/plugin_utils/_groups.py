# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Groups of domains that belong together or apart, and where their members are. Each change is O(1).

A rule counts members by place: a place is a host, or the failure domain that a host is in. A member in flight is in
the places of both its hosts, and where that is the same place it is there once.
"""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._policy import FailureDomains, GroupRule, Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._selectors import Document, Missing

if t.TYPE_CHECKING:
    from ansible_collections.virtops.balance.plugins.plugin_utils._fleet import ProjectedDomain, ProjectedHost

Place = int | str


class Group:
    """The domains of one rule. ``kind`` is the policy's key, ``most`` how many may be in one place (of kinds that keep
    domains apart), ``places`` the place of each host by its index, None where it is not known."""

    __slots__ = ("_inside", "_placed", "kind", "members", "most", "must", "name", "places")

    def __init__(
        self, kind: str, name: str, rule: GroupRule, members: list[ProjectedDomain], places: list[Place | None]
    ):
        self.kind, self.name, self.must, self.members, self.places = kind, name, rule.must, members, places
        self.most = rule.most if isinstance(rule, FailureDomains) else 1
        self._inside: dict[Place | None, dict[int, int]] = {}
        self._placed: dict[int, int] = {}

    def enter(self, domain: ProjectedDomain, host: ProjectedHost) -> None:
        """A member is on a host as well."""
        inside = self._inside.setdefault(self.places[host.index], {})
        inside[domain.index] = inside.get(domain.index, 0) + 1
        self._placed[domain.index] = self._placed.get(domain.index, 0) + 1

    def leave(self, domain: ProjectedDomain, host: ProjectedHost) -> None:
        """A member is on a host no longer."""
        for counts in (self._inside[self.places[host.index]], self._placed):
            counts[domain.index] -= 1
            if not counts[domain.index]:
                del counts[domain.index]

    def others(self, domain: ProjectedDomain, host: ProjectedHost) -> int:
        """How many other members are in the place of the host."""
        inside = self._inside.get(self.places[host.index])
        return len(inside) - (domain.index in inside) if inside else 0

    def elsewhere(self, domain: ProjectedDomain, host: ProjectedHost) -> int:
        """How many other members are on hosts, but not in the place of this one."""
        return len(self._placed) - (domain.index in self._placed) - self.others(domain, host)

    def neighbour(self, domain: ProjectedDomain, host: ProjectedHost) -> ProjectedDomain | None:
        """The first of the other members in the place of the host."""
        inside = self._inside.get(self.places[host.index]) or ()
        return next((member for member in self.members if member is not domain and member.index in inside), None)

    def absent(self, domain: ProjectedDomain, host: ProjectedHost) -> ProjectedDomain:
        """The first of the members ``elsewhere``; there must be one."""
        inside = self._inside.get(self.places[host.index]) or ()
        return next(
            member
            for member in self.members
            if member is not domain and member.index in self._placed and member.index not in inside
        )

    def crowded(self) -> bool:
        """Are there too many in one place?"""
        return any(len(inside) > self.most for place, inside in self._inside.items() if place is not None)

    def taken(self) -> list[Place | None]:
        """The places that members are in."""
        return [place for place, inside in self._inside.items() if inside]

    def parted(self) -> bool:
        """Are there members that are not where the others are?"""
        return all(len(inside) < len(self._placed) for inside in self._inside.values())

    def concerns(self, domains: t.Iterable[ProjectedDomain]) -> bool:
        """Is one of the domains a member?"""
        return any(self in domain.groups for domain in domains)


def groups_of(
    policy: Policy,
    document: Document,
    domains: t.Mapping[str, ProjectedDomain],
    hosts: t.Sequence[ProjectedHost],
    missing: list[Missing],
) -> list[Group]:
    """The groups of all rules of the policy; ``document`` is what selectors see, ``domains`` are by UUID. What the
    rules name and no domain has is added to ``missing``."""
    found = []
    for kind, rules in policy.group_rules().items():
        for index, rule in enumerate(rules):
            places: list[Place | None] = [host.index for host in hosts]
            if isinstance(rule, FailureDomains):
                places = [failure_domain(host, rule.per) for host in hosts]
                if not any(places):
                    key = f"{kind}[{index}].per"
                    raise PolicyError(f"{key}: no host of the snapshot has one tag or group that starts {rule.per!r}.")
            for name, uuids in _members(rule, f"{kind}[{index}]", document, missing).items():
                members = [domains[uuid] for uuid in sorted(uuids) if uuid in domains]
                found.append(Group(kind, name, rule, members, places))
    return found


def failure_domain(host: ProjectedHost, prefix: str) -> str | None:
    """The one tag or group of the host that begins so; None where there is none, or more than one."""
    names = [name for name in host.facts.tags | host.facts.groups if name.startswith(prefix)]
    return names[0] if len(names) == 1 else None


def _members(rule: GroupRule, key: str, document: Document, missing: list[Missing]) -> dict[str, t.Iterable[str]]:
    """The UUIDs of the members of each group that the rule makes, by the name of the group."""
    if rule.domains is not None:
        selected = rule.domains.select(document)
        missing += selected.missing
        return {rule.name: selected.uuids}
    prefix = rule.tag_prefix or ""
    found: dict[str, t.Any] = {}
    for domain in document["domains"]:
        for tag in sorted({str(tag) for tag in domain.get("tags") or () if str(tag).startswith(prefix)}):
            found.setdefault(tag, []).append(domain["uuid"])
    if not found:
        missing.append(Missing(f"{key}.tag_prefix", "tag_prefix", prefix))
    return dict(sorted(found.items()))


def bundles(groups: t.Iterable[Group]) -> list[tuple[ProjectedDomain, ...]]:
    """Domains that a rule wants on one host, directly or through a third; each domain is in one bundle at most."""
    by_domain: dict[int, list[ProjectedDomain]] = {}
    for group in groups:
        if group.kind != "affinity" or not group.must or len(group.members) < 2:
            continue
        joined: dict[int, ProjectedDomain] = {}
        for member in group.members:
            joined.update((domain.index, domain) for domain in by_domain.get(member.index, [member]))
        bundle = [joined[index] for index in sorted(joined)]
        by_domain.update((domain.index, bundle) for domain in bundle)
    return list({bundle[0].index: tuple(bundle) for bundle in by_domain.values()}.values())
