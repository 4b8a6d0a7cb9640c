# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The groups of domains that the policy keeps together or apart."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    Group,
    Place,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.domain_selectors import Document, Missing
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import FailureDomains, GroupRule, Policy


def groups_of(
    policy: Policy,
    document: Document,
    domains: t.Mapping[str, ProjectedDomain],
    hosts: t.Sequence[ProjectedHost],
    missing: list[Missing],
) -> list[Group]:
    """The groups of all rules of the policy. ``document`` is what selectors see, ``domains`` are by UUID. Selectors and
    tags that match no domain are added to ``missing``."""
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
    """The one tag or group of the host with this prefix; None if there is none, or more than one."""
    names = [name for name in host.facts.tags | host.facts.groups if name.startswith(prefix)]
    return names[0] if len(names) == 1 else None


def _members(rule: GroupRule, key: str, document: Document, missing: list[Missing]) -> dict[str, t.Iterable[str]]:
    """The UUIDs of the members of each group that the rule defines, by the name of the group."""
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
    """Domains that have to share a host, directly or through a third domain. Each is in one bundle at most."""
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
