# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What hosts answered when they were asked about planned moves (domain_migrate_info), as facts for the next plan.

A refusal holds for the domain and destination that were asked about. Where it is of a kind, it holds as well for every
domain that needs the same from that destination, so that few rounds of questions are enough for a large fleet. What a
destination says about its memory is no refusal but a figure, and limits all that comes to it.
"""

from __future__ import annotations

import posixpath
import sys
import typing as t
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils._domain.uuids import plain_uuid
from ansible_collections.virtops.balance.plugins.module_utils._domain.xml import parse_cpuset
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import FleetError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Domain, Host, Snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown

DOMAIN, CPU, MEMORY, FREE_HUGEPAGES = "domain", "cpu", "memory", "free_hugepages"
"""Kinds with a meaning of their own: the domain itself cannot be moved; a new start would get another CPU; the room for
all domains that come; too few huge pages for this domain and all that need as many."""

Needs = Iterable[Hashable]


def _named(about: t.Any, needs: Needs) -> Needs:
    """What a refusal names, or where it names nothing, all that the domain needs."""
    return needs if about is None else [about]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of refusals that hold for every domain that needs the same.

    ``needs``: what a domain needs of it from a destination, given its host; nothing where that is not known.
    ``lacking``: what a refusal says that there is not, given what it is ``about`` and the needs of the domain that was
    asked about.
    """

    needs: Callable[[Domain, Host | None], Needs]
    lacking: Callable[[t.Any, Needs], Needs] = _named


def _interfaces(kind: str) -> Kind:
    return Kind(lambda domain, _home: [one.source for one in domain.interfaces or () if one.type == kind])


def _volumes(domain: Domain, _home: Host | None) -> list[str]:
    """As "pool/volume"."""
    return [disk.source for disk in domain.disks or () if disk.type == "volume" and disk.source]


def _directories(domain: Domain, home: Host | None) -> list[Hashable]:
    """The directories to whose files it writes, each with what its host has mounted there: under the same path another
    host may have something else."""
    found: list[Hashable] = []
    for disk in domain.disks or ():
        if disk.type == "file" and disk.source and not disk.readonly:
            directory = posixpath.dirname(disk.source)
            above = [
                mount
                for mount in (None if home is None else home.mounts) or ()
                if directory == mount.path or directory.startswith(mount.path.rstrip("/") + "/")
            ]
            if above:
                found.append((directory, max(above, key=lambda mount: len(mount.path))))
    return found


def _mounted_at(about: t.Any, needs: Needs) -> Needs:
    return [need for need in needs if isinstance(need, tuple) and need[0] == about]


def _numbers(about: t.Any, _needs: Needs) -> Needs:
    return parse_cpuset(str(about))


def _cpu(domain: Domain, _home: Host | None) -> Needs:
    mode, model = domain.cpu_mode, domain.cpu_model
    return [(domain.type, domain.arch, mode, model, domain.cpu_features, domain.cpu_disabled)]


_KINDS: dict[str, Kind] = {
    "machine": Kind(lambda domain, _home: [(domain.type, domain.arch, domain.machine)]),
    CPU: Kind(_cpu),
    "bridge": _interfaces("bridge"),
    "network": _interfaces("network"),
    "pool": Kind(lambda domain, home: [volume.partition("/")[0] for volume in _volumes(domain, home)]),
    "volume": Kind(_volumes),
    "mounts": Kind(_directories, _mounted_at),
    "secret": Kind(lambda domain, _home: sorted(domain.secrets or ())),
    # Without a size in its definition a domain needs pages of the default size, None, and no others.
    "hugepages": Kind(lambda domain, _home: domain.hugepage_sizes or ()),
    "pins": Kind(lambda domain, _home: sorted(domain.bound_cpus or ()), _numbers),
    "numa": Kind(lambda domain, _home: sorted(domain.bound_cells or ()), _numbers),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One check. ``kind``: how far a refusal holds, see above; None: for this domain and destination. ``about``: the
    name of the thing, or for the memory how many MiB domains may bring there."""

    ok: bool | None
    message: str
    kind: str | None
    about: t.Any


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to the question whether a domain can be moved to a destination; ``ok`` is None where none was got."""

    domain: str
    destination: str
    ok: bool | None
    checks: tuple[Check, ...]

    @property
    def unknown(self) -> list[str]:
        """What could not be asked, as clauses."""
        return [check.message for check in self.checks if check.ok is None]

    @property
    def refusals(self) -> list[Check]:
        """The checks that did not pass."""
        return [check for check in self.checks if check.ok is False]


ByQuestion = dict[tuple[str, str], Answer]
"""The answers by domain and destination."""


def read_answers(data: t.Any) -> ByQuestion:
    """Read a list of answers of domain_migrate_info. Raises FleetError."""
    if not isinstance(data, Sequence) or isinstance(data, (str, bytes)):
        raise FleetError(f"The answers must be a list of what domain_migrate_info returned, not {shown(data)}.")
    # Whoever answered first, the plan and its reasons are the same.
    found = sorted(map(_read, data), key=lambda answer: (answer.domain, answer.destination))
    return {(answer.domain, answer.destination): answer for answer in found}


class Answers:
    """All answers of a run. Looking one up takes the same time however many there are.

    ``given`` are the answers themselves, None where nobody was asked. What is against a move is the sentence of the
    host that refused it. Where that was asked about another domain, the sentence says about which one.
    """

    __slots__ = ("_domains", "_everywhere", "_homes", "_hosts", "_learned", "_needs", "_refused", "_room", "given")

    def __init__(self, given: ByQuestion | None, facts: Snapshot) -> None:
        self.given = given
        self._domains, self._hosts = facts.domains, facts.hosts
        self._everywhere: dict[str, str] = {}
        self._refused: dict[tuple[str, str, bool], str] = {}
        self._learned: dict[str, dict[str, dict[Hashable, str]]] = {}
        self._needs: dict[tuple[str, str], tuple[Hashable, ...]] = {}
        self._room: dict[str, float] = {}
        self._homes: dict[str, list[ProjectedDomain]] = {}
        # A domain may have gone since, and its refusal says nothing about the others then.
        known = [answer for answer in (given or {}).values() if answer.domain in facts.domains]
        for answer in known:
            self._note(answer, facts.domains[answer.domain])
        for answer in known:
            self._learn(answer, facts.domains[answer.domain])

    @classmethod
    def from_data(cls, data: t.Any, facts: Snapshot) -> Answers:
        """Read a list of answers of domain_migrate_info; null = nobody was asked. Raises FleetError."""
        return cls(None if data is None else read_answers(data), facts)

    def _note(self, answer: Answer, domain: Domain) -> None:
        """Take in what an answer says of the domain that it is about, and of the room for all."""
        host = answer.destination
        for check in answer.checks:
            if check.kind == MEMORY and isinstance(check.about, (int, float)):
                self._room[host] = min(self._room.get(host, check.about), check.about)
            if check.ok is False:
                if check.kind == DOMAIN:
                    self._everywhere.setdefault(domain.uuid, check.message)
                self._refused.setdefault((domain.uuid, host, check.kind == CPU), check.message)

    def _learn(self, answer: Answer, domain: Domain) -> None:
        """Take in what it says of all that need the same."""
        host = answer.destination
        for check in answer.refusals:
            told = f"{host} answered about {domain.name}: {check.message}"
            if check.kind in _KINDS:
                learned = self._learned.setdefault(host, {}).setdefault(check.kind, {})
                for need in _KINDS[check.kind].lacking(check.about, self._needed(check.kind, domain)):
                    learned.setdefault(need, told)
            if check.kind == FREE_HUGEPAGES:
                for other in self._that_need_as_many(domain, check.about):
                    self._refused.setdefault((other.uuid, host, False), told)

    def _that_need_as_many(self, asked: Domain, size: t.Any) -> Iterable[Domain]:
        """The domains that need as many huge pages of a size as the domain that was asked about, or more."""
        least = (asked.hugepage_sizes or {}).get(size)
        return (
            other
            for other in self._domains.values()
            if least is not None and other.hugepage_sizes and other.hugepage_sizes.get(size, -1.0) >= least
        )

    def against_moving(self, domain: Domain) -> str | None:
        """Why the domain itself cannot be moved, wherever to."""
        return self._everywhere.get(domain.uuid)

    def against(self, domain: Domain, host: str) -> str | None:
        """Why the domain cannot run on the host, because it or one that needs the same was refused there."""
        own = self._refused.get((domain.uuid, host, False))
        if own is not None:
            return own
        kinds = (kind for kind in self._learned.get(host, ()) if kind != CPU)
        return next((found for kind in kinds if (found := self._known(kind, domain, host)) is not None), None)

    def against_cpu(self, domain: Domain, host: str) -> str | None:
        """Why the domain cannot be moved to the host with the CPU that it has now."""
        own = self._refused.get((domain.uuid, host, True))
        return self._known(CPU, domain, host) if own is None else own

    def _known(self, kind: str, domain: Domain, host: str) -> str | None:
        learned = self._learned.get(host, {}).get(kind)
        if learned is None:
            return None
        return next((learned[need] for need in self._needed(kind, domain) if need in learned), None)

    def _needed(self, kind: str, domain: Domain) -> tuple[Hashable, ...]:
        key = (kind, domain.uuid)
        if key not in self._needs:
            self._needs[key] = tuple(_KINDS[kind].needs(domain, self._hosts.get(domain.host)))
        return self._needs[key]

    def against_room(
        self, domain: ProjectedDomain, host: ProjectedHost, domains: Iterable[ProjectedDomain]
    ) -> str | None:
        """Why the domain has no room on the projected host by that host's own figure; ``domains`` are all of the fleet.

        What was moved there counts with all that it may take, what has left with what it held.
        """
        room = self._room.get(host.name)
        if room is None or not domain.committed_mib:
            return None
        if not self._homes:
            for one in domains:
                # Not its home: later stages of a plan begin where the domain is by then, after the hosts answered.
                if one.facts.host in self._room:
                    self._homes.setdefault(one.facts.host, []).append(one)
        held = [one.facts.rss_mib or 0.0 for one in self._homes.get(host.name, ()) if _left(one, host)]
        brought = [one.committed_mib for one in host.domains.values() if one.facts.host != host.name]
        room += sum(held) - sum(brought)
        if domain.committed_mib <= room:
            return None
        return (
            f"may grow to {domain.committed_mib:.0f} MiB of memory, and {host.name} answered that it has "
            f"{max(0.0, room):.0f} MiB for it"
        )


def _left(domain: ProjectedDomain, host: ProjectedHost) -> bool:
    """Has the domain, whose home the host is, left it? One in flight is still there."""
    return domain.index not in host.domains and not domain.huge_mib


def _read(data: t.Any) -> Answer:
    if not isinstance(data, Mapping) or not {"domain", "destination", "ok", "checks"} <= set(data):
        raise FleetError(f"One of the answers is none of domain_migrate_info: {shown(data)}.")
    domain = plain_uuid(str(data["domain"]))
    whose = f"The answer about {domain}"
    if not isinstance(data["checks"], (list, tuple)):
        raise FleetError(f"{whose} must have a list of checks, not {shown(data['checks'])}.")
    ok, checks = _ok(data["ok"], whose), tuple(_check(check, whose) for check in data["checks"])
    refused = any(check.ok is False for check in checks)
    if ok is False and not refused:
        raise FleetError(f"{whose} says no, and none of its checks does: {shown(data)}.")
    if ok and refused:
        raise FleetError(f"{whose} says yes, and one of its checks says no: {shown(data)}.")
    return Answer(domain, str(data["destination"]), ok, checks)


def _ok(value: t.Any, whose: str) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise FleetError(f"{whose} has the ok {shown(value)}; it must be true, false or null.")


def _check(data: t.Any, whose: str) -> Check:
    if not isinstance(data, Mapping) or not {"ok", "message"} <= set(data):
        raise FleetError(f"One of the checks of the answers is none: {shown(data)}.")
    kind, about = data.get("kind"), data.get("about")
    figure = isinstance(about, (int, float)) and not isinstance(about, bool) and abs(about) <= sys.float_info.max
    if about is not None and not isinstance(about, str) and not figure:
        raise FleetError(f"{whose} has a check about {shown(about)}; that must be a text, a number or null.")
    return Check(_ok(data["ok"], whose), str(data["message"]), None if kind is None else str(kind), about)
