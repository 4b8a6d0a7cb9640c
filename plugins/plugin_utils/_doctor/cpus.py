# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Which hosts can share one CPU for guests, who is asked for the best one, and what the answers are."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.answers import Json

Group = tuple[str, str, str]


@dataclass(frozen=True)
class Question:
    """What is asked of libvirt: the best CPU that ``hosts`` can offer. ``asked`` are the hosts that are to answer, the
    one with the oldest libvirt first, because a newer one knows CPUs that it does not."""

    hosts: list[str]
    arch: str
    domain_type: str
    cpus: list[str]
    asked: list[str]

    def to_result(self) -> dict[str, Any]:
        """As the module takes it."""
        return {"arch": self.arch, "domain_type": self.domain_type, "cpus": self.cpus, "asked": self.asked}


def questions(abouts: Mapping[str, Json]) -> list[Question]:
    """One question for each group of hosts; none where all hosts are known to offer the same CPU.

    Libvirt has no common CPU for two architectures, domain types or vendors.
    """
    groups: dict[Group, dict[str, str]] = {}
    domain_type = _domain_type(abouts.values())
    for name, about in sorted(abouts.items()):
        xml = about["cpu"]["for_guests"].get(domain_type)
        if xml is not None:
            groups.setdefault((str(about["cpu"]["arch"]), domain_type, _vendor(xml)), {})[name] = xml
    if len(groups) < 2 and all(len(set(group.values())) < 2 for group in groups.values()):
        return []
    return [
        Question(sorted(group), arch, kind, sorted(set(group.values())), _one_of_each_version(group, abouts))
        for (arch, kind, _vendor_name), group in sorted(groups.items())
        if len(group) > 1
    ]


def answers(abouts: Mapping[str, Json], baselines: Mapping[str, Sequence[Json]]) -> list[dict[str, Any]]:
    """``[{hosts, xml, problem}]`` for each question; ``baselines`` are what each host answered to all of them."""
    found = []
    for number, question in enumerate(questions(abouts)):
        said = list(_said(question.asked, baselines, number))
        best = next((answer for answer in said if answer["xml"]), said[0] if said else None)
        problem = "it was not asked" if best is None else best["problem"]
        found.append({"hosts": question.hosts, "xml": None if best is None else best["xml"], "problem": problem})
    return found


def _domain_type(abouts: Iterable[Json]) -> str:
    """The domain type whose CPUs matter: kvm, unless all guests of the fleet are emulated."""
    things = [thing for about in abouts for thing in (about["needs"] or {}).get("things") or ()]
    used = {str(thing["name"]).rpartition(" ")[2] for thing in things if thing["kind"] == "domain_type"}
    return "qemu" if used == {"qemu"} else "kvm"


def _said(asked: Iterable[str], baselines: Mapping[str, Sequence[Json]], number: int) -> Iterable[Json]:
    for name in asked:
        for answer in baselines.get(name) or ():
            if answer["number"] == number:
                yield answer


def _one_of_each_version(hosts: Iterable[str], abouts: Mapping[str, Json]) -> list[str]:
    first: dict[tuple[int, ...], str] = {}
    for name in sorted(hosts):
        version = tuple(int(part) for part in str(abouts[name].get("libvirt_version") or "0").split("."))
        first.setdefault(version, name)
    return [first[version] for version in sorted(first)]


def _vendor(xml: str) -> str:
    try:
        return ET.fromstring(xml).findtext("vendor") or ""
    except ET.ParseError:
        return ""
