# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The best host for a domain that does not run yet, by the score and the rules of a plan.

A new domain goes to the host where the score of the fleet plus the cost of unkept wishes is lowest, of those that no
rule refuses. Moving it alone cannot improve the score afterwards, so a plan does not undo the choice. Rules about
moving (cooldown, blockers, exclude) do not apply to a domain that does not run.

Complexity, for N domains, H hosts and C constraints: N H C.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import UNKEPT_WISH
from ansible_collections.virtops.balance.plugins.plugin_utils._options import (
    flag,
    nested,
    number,
    option,
    read,
    required,
    sequence,
    text,
    whole,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.explain import host_state
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import (
    Disk,
    Domain,
    Interface,
    Snapshot,
    check,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown

MOST_CANDIDATES = 10
MOST_REFUSED = 40


def _text_or_null(value: t.Any, key: str) -> str | None:
    return None if value is None else text(value, key)


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """pool: name or path of a storage pool of the host. mib: the room that the disk needs in it."""

    pool: str = required(text)
    mib: float = required(number(0, above=True))


@dataclass(frozen=True, slots=True)
class DomainSpec:
    """A domain to find a host for.

    memory_mib: its maximum memory. memory_used_mib: the memory that it will use; null = all of it.
    vcpus: virtual CPUs. cpu_cores: the CPU that it will want (1.0 = one thread busy); null = all of its vCPUs.
    hugepages: is its memory in huge pages?
    name, tags: as selectors of the policy see them.
    networks, bridges: libvirt networks and bridges that it is connected to. disks: the disks to create for it.
    type, arch, machine, cpu_model: required properties (kvm, x86_64, pc-q35-7.2, Haswell); null = any.
    """

    memory_mib: float = required(number(0, above=True))
    vcpus: int = required(whole(1))
    name: str = option("the new domain", text)
    cpu_cores: float | None = option(None, number(0, nullable=True))
    memory_used_mib: float | None = option(None, number(0, nullable=True))
    hugepages: bool = option(False, flag)
    tags: tuple[str, ...] = option((), sequence(text))
    networks: tuple[str, ...] = option((), sequence(text))
    bridges: tuple[str, ...] = option((), sequence(text))
    disks: tuple[DiskSpec, ...] = option((), sequence(nested(DiskSpec)))
    type: str | None = option(None, _text_or_null)
    arch: str | None = option(None, _text_or_null)
    machine: str | None = option(None, _text_or_null)
    cpu_model: str | None = option(None, _text_or_null)

    @property
    def cores(self) -> float:
        """The CPU that it will want."""
        return float(self.vcpus) if self.cpu_cores is None else min(self.cpu_cores, float(self.vcpus))

    @property
    def used_mib(self) -> float:
        """The memory that it will use."""
        return self.memory_mib if self.memory_used_mib is None else min(self.memory_used_mib, self.memory_mib)

    def to_domain(self, uuid: str) -> Domain:
        """As a domain of the snapshot, but on no host."""
        return Domain(
            uuid=uuid,
            name=self.name,
            host="",
            destination=None,
            state=None,
            type=self.type,
            arch=self.arch,
            machine=self.machine,
            vcpus=self.vcpus,
            cpu_cores=self.cores,
            cpu_ready=0.0,
            cap=None,
            maximum_mib=self.memory_mib,
            current_mib=self.memory_mib,
            rss_mib=self.used_mib,
            hugepages=self.hugepages,
            disks=tuple(Disk(target=None, source=disk.pool, shared=None, new_mib=disk.mib) for disk in self.disks),
            interfaces=(
                *(Interface("network", name) for name in self.networks),
                *(Interface("bridge", name) for name in self.bridges),
            ),
            cpu_mode=None,
            cpu_model=self.cpu_model,
            cpu_features=None,
            cpu_disabled=None,
            tags=frozenset(self.tags),
            last_moved_at=None,
            unfinished_move=None,
            job=None,
            blockers=(),
        )

    def to_mapping(self) -> dict[str, t.Any]:
        """As selectors see it: the keys of a domain in the snapshot, as far as they are known."""
        return {
            "name": self.name,
            "host": "",
            "vcpus": self.vcpus,
            "cpu_cores": self.cores,
            "memory": {"maximum_mib": self.memory_mib, "current_mib": self.memory_mib, "rss_mib": self.used_mib},
            "hugepages": self.hugepages,
            "tags": list(self.tags),
            "interfaces": [
                *({"type": "network", "source": name} for name in self.networks),
                *({"type": "bridge", "source": name} for name in self.bridges),
            ],
            "disks": [],
            "type": self.type,
            "arch": self.arch,
            "machine": self.machine,
        }


def best_host(snapshot: t.Any, domains: t.Any, policy: t.Any = None) -> t.Any:
    """Find the best hosts for new domains.

    ``snapshot`` and ``policy`` are plain JSON data (null policy = all defaults); ``domains`` is a DomainSpec as a
    mapping, or a list of them; each counts as placed for the next. The answer for each (a list for a list) is
    ``{name, host, why, score: {before, after}, candidates: [{host, score, wishes, cpu, memory}],
    refused: {host: [{constraint, message}]}, notes}``: host is None where no host may take it, candidates are the best
    hosts, best first, with what the fleet and the host would be, notes are sentences about the policy. Raises
    SnapshotError, PolicyError or FleetError with one sentence.
    """
    wanted = Policy.from_mapping(policy)
    facts = Snapshot.from_mapping(snapshot)
    check(facts, least=1)
    lone = isinstance(domains, Mapping)
    if not lone and not isinstance(domains, (list, tuple)):
        raise PolicyError(f"The new domain must be a mapping, or a list of such, not {shown(domains)}.")
    new = [
        read(DomainSpec, domain, "The new domain" if lone else f"domains[{index}]")
        for index, domain in enumerate([domains] if lone else domains)
    ]
    uuids = [f"new-{index}" for index in range(len(new))]
    known = {uuid: domain.to_mapping() for uuid, domain in zip(uuids, new, strict=True)}
    fleet = Fleet(
        facts,
        wanted,
        arriving=[domain.to_domain(uuid) for uuid, domain in zip(uuids, new, strict=True)],
        document={**facts.raw, "domains": {**facts.raw["domains"], **known}},
    )
    rules = Rules(fleet)
    answers = [{**_place(fleet, rules, domain), "notes": fleet.notes} for domain in fleet.arriving]
    return answers[0] if lone else answers


def _place(fleet: Fleet, rules: Rules, domain: ProjectedDomain) -> dict[str, t.Any]:
    """Place one domain on the best host and return the answer."""
    before = fleet.score.value()
    fits: list[tuple[float, float, ProjectedHost]] = []
    refused: dict[str, list[dict[str, str]]] = {}
    for host in fleet.hosts:
        reasons = rules.reasons(domain, host)
        if reasons:
            refused[host.name] = [reason.to_mapping() for reason in reasons]
        else:
            after = fleet.score.after(domain.demand, domain.home, host)
            fits.append((after + rules.penalty(domain, host), after, host))
    fits.sort(key=lambda fit: (fit[0], fit[2].index))
    candidates = []
    for cost, after, host in fits[:MOST_CANDIDATES]:
        fleet.occupy(domain, host)
        state = host_state(host) or {}
        fleet.release(domain, host)
        wishes = round((cost - after) / UNKEPT_WISH, 6)
        candidates.append(
            {
                "host": host.name,
                "score": round(after, 6),
                "wishes": wishes,
                "cpu": state["cpu"],
                "memory": state["memory"],
            }
        )
    if not fits:
        return {
            "name": domain.name,
            "host": None,
            "why": f"None of the {len(fleet.hosts)} hosts can take {domain.name}.",
            "score": {"before": round(before, 6), "after": round(before, 6)},
            "candidates": [],
            "refused": _shortest(refused),
        }
    _cost, after, best = fits[0]
    fleet.place(domain, best)
    return {
        "name": domain.name,
        "host": best.name,
        "why": f"{best.name} is the best of {len(fits)} hosts that can take {domain.name}: with it the host is at "
        f"{candidates[0]['cpu'] * 100:.0f} % CPU and {candidates[0]['memory'] * 100:.0f} % memory.",
        "score": {"before": round(before, 6), "after": round(after, 6)},
        "candidates": candidates,
        "refused": _shortest(refused),
    }


def _shortest(refused: dict[str, list[dict[str, str]]]) -> dict[str, list[dict[str, str]]]:
    """At most MOST_REFUSED hosts, those with the fewest reasons first."""
    return dict(sorted(refused.items(), key=lambda item: (len(item[1]), item[0]))[:MOST_REFUSED])
