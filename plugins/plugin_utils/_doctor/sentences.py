# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Equal findings of many pairs of hosts become one sentence."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.finding import (
    DESTINATIONS,
    SOURCES,
    Finding,
    named,
)

MOST_HOSTS = 10
MOST_COMMANDS = 5

Pair = tuple[str, str]
Pairs = frozenset[Pair]


@dataclass(frozen=True)
class Sentence:
    """A finding with its hosts: ``pairs`` are (source, destination)."""

    topic: str
    serious: bool
    text: str
    commands: list[str]
    pairs: list[Pair]

    def to_result(self) -> dict[str, t.Any]:
        """As it is in the report."""
        return {
            "topic": self.topic,
            "serious": self.serious,
            "sentence": self.text,
            "commands": self.commands,
            "pairs": [list(pair) for pair in self.pairs],
        }


def sentences(topic: str, found: Iterable[tuple[str, str, Finding]], hosts: Sequence[str]) -> list[Sentence]:
    """Join equal findings of a topic, given as (source, destination, finding). ``hosts`` are those that answered."""
    kinds: dict[tuple[t.Any, ...], dict[Pair, Finding]] = {}
    for source, destination, finding in found:
        key = (finding.problem, finding.advice, finding.serious, finding.mutual)
        kinds.setdefault(key, {})[source, destination] = finding
    return [_sentence(topic, kind, group, hosts) for kind in kinds.values() for group in _groups(kind, hosts)]


def _groups(kind: Mapping[Pair, Finding], hosts: Sequence[str]) -> list[Pairs]:
    """Divide the pairs into groups, each of them all of some sources with all of some destinations.

    A host that has it with every other one comes first, because it is the trouble of that host alone.
    """
    others = len(hosts) - 1
    if others > 1 and len(kind) == len(hosts) * others:
        return [frozenset(kind)]
    mutual = next(iter(kind.values())).mutual
    left, found = set(kind), []
    for end in (1, 0) if others > 1 else ():
        for name in hosts:
            group = {pair for pair in kind if pair[end] == name}
            if len(group) == others and group & left:
                found.append(frozenset(group & left))
                left -= group | (_turned(group) if mutual else set())
    if mutual:
        left = {pair for pair in left if pair[0] < pair[1] or pair[::-1] not in left}
    return [*found, *_blocks(left)]


def _blocks(pairs: Iterable[Pair]) -> list[Pairs]:
    """Destinations that have the same sources are together."""
    sources: dict[str, set[str]] = {}
    for source, destination in pairs:
        sources.setdefault(destination, set()).add(source)
    blocks: dict[frozenset[str], set[Pair]] = {}
    for destination, group in sources.items():
        blocks.setdefault(frozenset(group), set()).update((source, destination) for source in group)
    return sorted(map(frozenset, blocks.values()), key=sorted)


def _turned(pairs: Iterable[Pair]) -> set[Pair]:
    return {(destination, source) for source, destination in pairs}


def _sentence(topic: str, kind: Mapping[Pair, Finding], group: Pairs, hosts: Sequence[str]) -> Sentence:
    ordered = sorted(group, key=lambda pair: (pair[1], pair[0]))
    finding = kind[ordered[0]]
    commands = list(dict.fromkeys(kind[pair].command for pair in ordered if kind[pair].command))
    advice = finding.advice
    if len(commands) > MOST_COMMANDS:
        advice += f" (the first {MOST_COMMANDS} of {len(commands)})"
    text = _named(finding.problem, advice, ordered, others=len(hosts) - 1)
    pairs = group | _turned(group) if finding.mutual else group
    return Sentence(topic, finding.serious, text, commands[:MOST_COMMANDS], sorted(pairs))


def _named(problem: str, advice: str, pairs: Sequence[Pair], *, others: int) -> str:
    """Put the names of the hosts into the sentence, or that it is all of them."""
    sources, destinations = (sorted({pair[end] for pair in pairs}) for end in (0, 1))
    everywhere = len(sources) == len(destinations) == others + 1
    every_source = 1 < len(sources) == others and len(destinations) == 1
    every_destination = 1 < len(destinations) == others and len(sources) == 1
    who = "every host" if everywhere else "every other host" if every_source else named(sources, MOST_HOSTS)
    whom = "every other host" if everywhere or every_destination else named(destinations, MOST_HOSTS)
    cannot = f"{SOURCES} cannot "
    if problem.startswith(cannot):
        # "No other host can reach kvm2", and "kvm2 cannot reach any other host".
        if everywhere or every_destination:
            problem = problem.replace(DESTINATIONS, "any other host")
        if everywhere or every_source:
            problem = problem.replace(cannot, "No host can " if everywhere else "No other host can ", 1)
    text = f"{problem}: {advice}" if advice else problem
    if text.startswith(SOURCES) and (everywhere or every_source):
        text = text.replace(SOURCES, who.capitalize(), 1)
    return text.replace(SOURCES, who).replace(DESTINATIONS, whom)
