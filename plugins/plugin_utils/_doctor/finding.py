# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What is not well with a pair of hosts, and what to do about it; equal findings of many pairs become one sentence."""

from __future__ import annotations

import shlex
import typing as t
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# They stand for the names of the hosts, so that the same trouble of several pairs is told once.
SOURCES = "\0sources\0"
DESTINATIONS = "\0destinations\0"

MOST_NAMED = 3
MOST_COMMANDS = 5

Pairs = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Finding:
    """``problem`` and ``advice`` are parts of a sentence, with SOURCES and DESTINATIONS in place of names.

    A ``serious`` one makes moves fail. ``command`` is what to run where ``advice`` says it. A ``mutual`` one holds for
    both directions, and is told once.
    """

    problem: str
    advice: str = ""
    command: str = ""
    serious: bool = True
    mutual: bool = False


@dataclass(frozen=True)
class Sentence:
    """A finding with its hosts: ``pairs`` are (source, destination)."""

    topic: str
    serious: bool
    text: str
    commands: list[str]
    pairs: list[tuple[str, str]]

    def to_result(self) -> dict[str, t.Any]:
        """As it is in the report."""
        return {
            "topic": self.topic,
            "serious": self.serious,
            "sentence": self.text,
            "commands": self.commands,
            "pairs": [list(pair) for pair in self.pairs],
        }


def named(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """Names in a sentence: web-1, web-2, db-1 and 4 more."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def quoted(text: object) -> str:
    """A word of a command, whatever it is made of."""
    return shlex.quote(str(text))


def sentences(topic: str, found: Iterable[tuple[str, str, Finding]], hosts: Sequence[str]) -> list[Sentence]:
    """Join equal findings of a topic, given as (source, destination, finding). ``hosts`` are those that answered."""
    kinds: dict[tuple[t.Any, ...], dict[tuple[str, str], Finding]] = {}
    for source, destination, finding in found:
        key = (finding.problem, finding.advice, finding.serious, finding.mutual)
        kinds.setdefault(key, {})[source, destination] = finding
    return [
        _sentence(topic, pairs, group, hosts)
        for pairs in kinds.values()
        for group in _groups(frozenset(pairs), hosts, mutual=next(iter(pairs.values())).mutual)
    ]


def _groups(pairs: Pairs, hosts: Sequence[str], *, mutual: bool) -> list[Pairs]:
    """Divide the pairs into groups of which each is all of some sources with all of some destinations.

    Hosts that have it with all others come first: it is their trouble.
    """
    others = len(hosts) - 1
    if len(pairs) == len(hosts) * others:
        return [pairs]
    found: list[Pairs] = []
    left = set(pairs)
    # A host that has it with every other one in both directions, then in one.
    for end in (1, 0):
        whole = [name for name in hosts if others > 1 and len({pair for pair in pairs if pair[end] == name}) == others]
        group = frozenset(pair for pair in left if pair[end] in whole)
        if group:
            # One sentence for each: several hosts that no other one reaches are not reached by each other either.
            found += [frozenset(pair for pair in group if pair[end] == name) for name in whole]
            found = [one for one in found if one]
            left -= group
            if mutual:
                left -= {(destination, source) for source, destination in group}
    if mutual:
        left = {pair for pair in left if pair[0] < pair[1] or (pair[1], pair[0]) not in left}
    by_destination: dict[str, set[str]] = {}
    for source, destination in left:
        by_destination.setdefault(destination, set()).add(source)
    same: dict[frozenset[str], list[str]] = {}
    for destination, sources in sorted(by_destination.items()):
        same.setdefault(frozenset(sources), []).append(destination)
    rest = [
        frozenset((source, destination) for source in sources for destination in destinations)
        for sources, destinations in same.items()
    ]
    return [*found, *sorted(rest, key=sorted)]


def _sentence(topic: str, findings: dict[tuple[str, str], Finding], group: Pairs, hosts: Sequence[str]) -> Sentence:
    ordered = sorted(group, key=lambda pair: (pair[1], pair[0]))
    finding = findings[ordered[0]]
    sources = sorted({source for source, _destination in ordered})
    destinations = sorted({destination for _source, destination in ordered})
    everywhere = len(hosts) > 2 and len(group) == len(hosts) * (len(hosts) - 1)
    all_sources = len(sources) > 1 and len(sources) == len(hosts) - 1 and len(destinations) == 1
    all_destinations = len(destinations) > 1 and len(destinations) == len(hosts) - 1 and len(sources) == 1
    who = "every host" if everywhere else "every other host" if all_sources else named(sources, most=10)
    whom = "every other host" if everywhere or all_destinations else named(destinations, most=10)
    text = finding.problem
    # "No other host can reach kvm2", and not "every other host cannot".
    if (everywhere or all_sources) and text.startswith(f"{SOURCES} cannot "):
        text = text.replace(f"{SOURCES} cannot ", f"No {'' if everywhere else 'other '}host can ", 1)
        if everywhere:
            text = text.replace(DESTINATIONS, "any other host")
    if all_destinations and text.startswith(f"{SOURCES} cannot "):
        text = text.replace(DESTINATIONS, "any other host")
    commands = list(dict.fromkeys(findings[pair].command for pair in ordered if findings[pair].command))
    advice = finding.advice
    if len(commands) > MOST_COMMANDS:
        advice += f" (the first {MOST_COMMANDS} of {len(commands)})"
    text = f"{text}: {advice}" if advice else text
    text = text.replace(SOURCES, who).replace(DESTINATIONS, whom)
    text = text[:1].upper() + text[1:] if text.startswith("every ") else text
    both = {*ordered, *((destination, source) for source, destination in ordered)} if finding.mutual else ordered
    return Sentence(topic, finding.serious, text, commands[:MOST_COMMANDS], sorted(both))
