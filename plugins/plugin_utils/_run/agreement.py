# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The questions that hosts are asked about the moves of a plan before it is shown or carried out, and their answers."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping, Sequence

Json = Mapping[str, t.Any]

Questions = dict[str, list[dict[str, t.Any]]]
"""The questions that each host has to ask, by its name: a domain that runs there, a destination, and the memory (MiB)
that other moves will have freed there before."""

# What of the way in which a domain is moved its destination has to be able to do.
_HOW = ("post_copy", "parallel_connections")


def questions(plan: Json, domains: Mapping[str, Json], answers: Sequence[Json]) -> Questions:
    """Return what has to be asked about the moves of the plan; what was answered is not asked again.

    ``domains`` are those of the snapshot, by UUID. A domain is asked about by the host on which it runs now, also where
    the move would begin on another one.
    """
    asked = {(answer["domain"], answer["destination"]) for answer in answers}
    found: Questions = {}
    room = _Room(domains)
    for wave in plan["waves"]:
        for move in wave["moves"]:
            pair = (move["domain"], move["destination"])
            if pair not in asked:
                asked.add(pair)
                found.setdefault(str(domains[move["domain"]]["host"]), []).append(
                    {
                        "domain": pair[0],
                        "destination": pair[1],
                        "room_mib": room.at(move["destination"]),
                        **{key: how for key, how in (move.get("migration") or {}).items() if key in _HOW and how},
                    }
                )
            # Moves of one wave have no order between hosts: what comes may come first, what leaves may leave last.
            room.bring(move)
        for move in wave["moves"]:
            room.take(move)
    return found


class _Room:
    """The memory that moves have freed on each host so far."""

    def __init__(self, domains: Mapping[str, Json]) -> None:
        self._domains = domains
        self._mib: dict[str, float] = {}

    def at(self, host: str) -> int:
        """The memory in MiB, negative where the moves have brought more than they freed."""
        return int(self._mib.get(host, 0.0) // 1)

    def bring(self, move: Json) -> None:
        """Count the domain on its destination with all that it may take."""
        self._add(move["destination"], -self._memory(move["domain"], "maximum_mib"))

    def take(self, move: Json) -> None:
        """Count what the domain held on its source, or what was counted for it when a move brought it there."""
        home = move["source"] == self._domains[move["domain"]]["host"]
        self._add(move["source"], self._memory(move["domain"], "rss_mib" if home else "maximum_mib"))

    def _add(self, host: str, mib: float) -> None:
        self._mib[host] = self._mib.get(host, 0.0) + mib

    def _memory(self, uuid: str, measure: str) -> float:
        domain = self._domains[uuid]
        # Huge pages are no part of the memory that a host has available.
        return 0.0 if domain.get("hugepages") else float((domain.get("memory") or {}).get(measure) or 0.0)


def answered(asked: Questions, results: Mapping[str, Json | None]) -> list[dict[str, t.Any]]:
    """Return an answer to each question that was asked, in an order that does not depend on who was first.

    ``results`` is what each host that was to ask returned; null, or no answers in it, is none: nothing is known then.
    """
    found: list[dict[str, t.Any]] = []
    for source in sorted(asked):
        result = results.get(source) or {}
        given = result.get("answers")
        # A host that has failed has registered what it was asked about an earlier plan.
        if isinstance(given, list) and list(map(_pair, given)) == list(map(_pair, asked[source])):
            found += [dict(answer) for answer in given]
            continue
        problem = str(result.get("msg") or "it did not answer").strip().rstrip(".")
        found += [_silent(question, f"{source} could not ask: {problem}") for question in asked[source]]
    return found


def _pair(question: Json) -> tuple[str, str]:
    return str(question["domain"]), str(question["destination"])


def without_a_connection(
    asked: Questions, answers: Sequence[Json], domains: Mapping[str, Json]
) -> tuple[Questions, list[dict[str, t.Any]]]:
    """Return the questions without those to a destination that their host could not connect to before, and the answers
    to these: the earlier attempt has taken its time, and holds for all domains of the host."""
    broken = {
        (str(domains[answer["domain"]]["host"]), str(answer["destination"])): str(check["message"])
        for answer in answers
        for check in answer["checks"]
        if check.get("check") == "connection" and answer["domain"] in domains
    }
    left: Questions = {}
    silent = []
    for source in sorted(asked):
        for question in asked[source]:
            pair = (source, question["destination"])
            if pair in broken:
                silent.append(_silent(question, broken[pair]))
            else:
                left.setdefault(source, []).append(question)
    return left, silent


def _silent(question: Json, message: str) -> dict[str, t.Any]:
    check = {"check": "connection", "ok": None, "message": message, "kind": None, "about": None}
    return {"domain": question["domain"], "destination": question["destination"], "ok": None, "checks": [check]}


def refused(plan: Json, answers: Iterable[Json]) -> bool:
    """Return whether one of the moves of the plan was refused."""
    no = {(answer["domain"], answer["destination"]) for answer in answers if answer["ok"] is False}
    return any((move["domain"], move["destination"]) in no for wave in plan["waves"] for move in wave["moves"])


def migration_uri(name: str, own: Json) -> str:
    """Return the URI by which other hosts reach the libvirt of a host, from its variables in the inventory.

    The role has the same for the moves themselves: __balance_default_migration_uri in vars/main.yml.
    """
    if own.get("balance_migration_uri") is not None:
        return str(own["balance_migration_uri"])
    address = str(own.get("ansible_host") or name)
    return f"qemu+ssh://root@{f'[{address}]' if ':' in address else address}/system?no_tty=1"
