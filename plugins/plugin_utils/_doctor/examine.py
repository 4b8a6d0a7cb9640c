# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""From the answers of all hosts to a report: a matrix of pairs, and sentences about what is not well."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Iterator, Sequence

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor import (
    address,
    clocks,
    connection,
    cpus,
    guests,
    networks,
    secrets,
    software,
    storage,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.answers import Host, Json, Pair, read_hosts
from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.finding import Finding, named, quoted
from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.sentences import Sentence, sentences
from ansible_collections.virtops.balance.plugins.plugin_utils._text import counted

SCHEMA = 1
WELL, UNKNOWN, ITSELF = ".", "?", "-"

# In the order in which they are to be put right: each may hide what comes after it.
TOPICS: tuple[tuple[str, str, Callable[[Pair], Iterator[Finding]]], ...] = (
    (connection.LETTER, connection.NAME, connection.find),
    (address.LETTER, address.NAME, address.find),
    (storage.LETTER, storage.NAME, storage.find),
    (networks.LETTER, networks.NAME, networks.find),
    (secrets.LETTER, secrets.NAME, secrets.find),
    (guests.LETTER, guests.NAME, guests.find),
    (software.LETTER, software.NAME, software.find),
)
_LETTERS = [letter for letter, _name, _find in TOPICS] + [clocks.LETTER]
_ORDER = [UNKNOWN, *_LETTERS]


def examine(selves: Json, peers: Json, written: Json) -> dict[str, t.Any]:
    """Return the report; its keys are those of the filter C(doctor_report).

    Each of the arguments has the results of a module by the name of the host. Raises BalanceError.
    """
    hosts = read_hosts(selves, peers, written)
    present = [host for host in hosts if host.about is not None]
    names = [host.name for host in present]
    found: list[Sentence] = []
    for letter, _name, find in TOPICS:
        told = (
            (source.name, destination.name, finding)
            for source in present
            for destination in present
            if source is not destination
            for finding in find(Pair(source, destination))
        )
        found += sentences(letter, told, names)
    found += clocks.find(present)
    asleep = {name for host in present if host.about is not None for name in host.about["asleep"]}
    silent = [host for host in hosts if host.about is None and (host.reached or host.name not in asleep)]
    found += [_silent(host, hosts) for host in silent]
    found.sort(key=lambda sentence: (not sentence.serious, _ORDER.index(sentence.topic)))
    matrix = _matrix(hosts, found)
    objections = _objections(silent, present, matrix)
    return {
        "schema": SCHEMA,
        "hosts": [_host(host) for host in hosts],
        "matrix": matrix,
        "legend": {letter: name for letter, name, _find in TOPICS} | {clocks.LETTER: clocks.NAME},
        "problems": [sentence.to_result() for sentence in found if sentence.serious],
        "warnings": [sentence.to_result() for sentence in found if not sentence.serious],
        "notes": [*_asleep(hosts, silent), *_notes(present)],
        "cpus": cpus.answers(
            {host.name: host.about for host in present if host.about is not None},
            {host.name: host.baselines for host in present},
        ),
        "verdict": _verdict(objections, present, sum(not sentence.serious for sentence in found)),
        "problem": _problem(objections),
    }


def _silent(host: Host, hosts: Sequence[Host]) -> Sentence:
    """About a host that said nothing about itself: what others say about it was not asked for."""
    if host.reached:
        text = f"{host.name} answers Ansible and cannot be asked ({host.problem}): see there whether libvirt runs, with"
        command = "systemctl status libvirtd virtqemud"
    else:
        text = f"{host.name} does not answer ({host.problem}): try it with the same inventory (-i)"
        command = f"ansible -m ansible.builtin.ping {quoted(host.name)}"
    pairs = [
        pair for other in hosts if other is not host for pair in ((host.name, other.name), (other.name, host.name))
    ]
    return Sentence(UNKNOWN, serious=True, text=text, commands=[command], pairs=sorted(pairs))


def _host(host: Host) -> dict[str, t.Any]:
    about = host.about or {}
    hypervisor, memory, needs = (about.get(key) or {} for key in ("hypervisor", "memory", "needs"))
    return {
        "name": host.name,
        "problem": host.problem,
        "hypervisor": hypervisor.get("type"),
        "version": hypervisor.get("version"),
        "libvirt_version": about.get("libvirt_version"),
        "cpu": (about.get("cpu") or {}).get("model"),
        "available_mib": memory.get("available_mib"),
        "guests": len(needs["memory_mib"]) if needs else None,
        "clock_seconds": clocks.offset(host),
    }


def _matrix(hosts: Sequence[Host], found: Sequence[Sentence]) -> dict[str, dict[str, str]]:
    """A character for each pair: the letter of its first problem, small for a warning."""
    cells = {
        source.name: {destination.name: _unfilled(source, destination) for destination in hosts} for source in hosts
    }
    for sentence in reversed(found):
        letter = sentence.topic if sentence.serious else sentence.topic.lower()
        for source, destination in sentence.pairs:
            cells[source][destination] = letter
    return cells


def _unfilled(source: Host, destination: Host) -> str:
    if source is destination:
        return ITSELF
    return UNKNOWN if destination.about is None or Pair(source, destination).answer is None else WELL


def _asleep(hosts: Sequence[Host], silent: Sequence[Host]) -> list[str]:
    names = [host.name for host in hosts if host.about is None and host not in silent]
    return [f"Not asked, because a run has put them to sleep: {named(names, most=10)}."] if names else []


def _notes(present: Sequence[Host]) -> list[str]:
    """What could not be tried, and why."""
    notes = [
        f"{host.name} could not be asked about the others: {host.peers_problem}."
        for host in present
        if host.peers_problem is not None
    ]
    for host in present:
        left_out = {name: answer["not_asked"] for name, answer in host.peers.items() if "not_asked" in answer}
        if left_out:
            notes.append(f"{host.name} was not asked about {named(sorted(left_out))}: {next(iter(left_out.values()))}.")
    leased = [host for host in present if host.about is not None and host.about["lease"] is not None]
    if leased:
        notes.append(
            f"The ports of {named([host.name for host in leased])} were not tried, because a run is acting there "
            f"({(leased[0].about or {})['lease']})."
        )
    paths = sorted({path for host in present for path in host.written})
    for path in paths:
        problems = {
            host.name: str(host.written[path]["problem"])
            for host in present
            if host.written.get(path, {}).get("problem")
        }
        if problems:
            why = next(iter(problems.values()))
            notes.append(
                f"{named(sorted(problems))} could not write to {path} ({why}), so nobody looked for a file there."
            )
        writers = [host for host in present if host.written.get(path, {}).get("written")]
        if (
            not writers
            and not problems
            and any(host.written.get(path, {}).get("kind") == "directory" for host in present)
        ):
            notes.append(f"Whether {path} is the same on all hosts was not tried: a run with --check writes no files.")
    return notes


def _objections(silent: Sequence[Host], present: Sequence[Host], matrix: dict[str, dict[str, str]]) -> list[str]:
    """What is so wrong that the run is to fail, in parts of a sentence."""
    cells = [matrix[source.name][destination.name] for source in present for destination in present]
    directions = len(present) * (len(present) - 1)
    broken, unknown = sum(cell in _LETTERS for cell in cells), cells.count(UNKNOWN)
    found = []
    if broken:
        found.append(f"moves would fail in {broken} of {directions} directions")
    if unknown:
        found.append(f"{counted(unknown, 'direction')} could not be asked")
    if silent:
        found.append(f"{counted(len(silent), 'host')} {'does' if len(silent) == 1 else 'do'} not answer")
    elif len(present) < 2:
        found.append("there are fewer than two hosts")
    return found


def _verdict(objections: Sequence[str], present: Sequence[Host], warnings: int) -> str:
    if objections:
        return f"NOT WELL: {'; '.join(objections)}."
    directions = len(present) * (len(present) - 1)
    told = f", with {counted(warnings, 'warning')}" if warnings else ""
    return f"WELL: guests can move in all {directions} directions{told}."


def _problem(objections: Sequence[str]) -> str | None:
    """Why the run is to fail, in one sentence; null where it is not."""
    if not objections:
        return None
    text = " and ".join(objections)
    return f"{text[0].upper()}{text[1:]}; the report above says what to do."
