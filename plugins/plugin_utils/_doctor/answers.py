# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What the hosts of a fleet answered, as the questions of each topic read it."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor import shapes
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown

Json = Mapping[str, t.Any]
_SCHEMA = 1


@dataclass(frozen=True)
class Host:
    """One host. ``about`` is its answer about itself, null where it gave none: then ``problem`` says why.

    ``peers`` are its answers about others by name; ``written`` says what became of its test file in each shared
    directory, ``seen`` whose files it sees there, null where it cannot tell.
    """

    name: str
    about: Json | None
    problem: str | None = None
    reached: bool = True
    """Whether Ansible reached it."""
    peers: Mapping[str, Json] = field(default_factory=dict)
    peers_problem: str | None = None
    written: Mapping[str, Json] = field(default_factory=dict)
    seen: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    baselines: Sequence[Json] = ()
    clock: tuple[float, float] | None = None
    """Between which two figures its clock is ahead of that of the control node, in seconds; null = not known."""


@dataclass(frozen=True)
class Pair:
    """A host and another one to which its domains might move, and what the first one answered about the second."""

    source: Host
    destination: Host

    @property
    def here(self) -> Json:
        """What the source says about itself."""
        return self.source.about or {}

    @property
    def there(self) -> Json:
        """What the destination says about itself."""
        return self.destination.about or {}

    @property
    def answer(self) -> Json | None:
        """What the source says about the destination; null where it was not asked or did not answer."""
        found = self.source.peers.get(self.destination.name)
        return None if found is None or "not_asked" in found else found

    def needs(self, *kinds: str) -> list[tuple[str, list[str]]]:
        """Names of the things of these kinds that domains of the source need, each with these domains."""
        things = (self.here.get("needs") or {}).get("things") or []
        return [(str(thing["name"]), list(thing["domains"])) for thing in things if thing["kind"] in kinds]


def read_hosts(selves: Json, peers: Json, written: Json) -> list[Host]:
    """Read the results of three tasks by the name of the host; raises BalanceError where they are none."""
    for results in (selves, peers, written):
        check_results(results)
    return [_read_host(name, selves[name], peers.get(name) or {}, written.get(name) or {}) for name in sorted(selves)]


def check_results(results: t.Any) -> None:
    """Raise BalanceError for what are no results of a task by the name of the host."""
    if not isinstance(results, Mapping) or not all(isinstance(result, Mapping) for result in results.values()):
        raise BalanceError("The answers must be mappings from the name of each host to the result of a task.")


def about(result: Json | None) -> tuple[Json | None, str | None]:
    """What a host answered about itself, which may be JSON text, and why it gave none."""
    answer, problem = _answer(result or {})
    if answer is None:
        return None, problem
    if answer.get("schema") != _SCHEMA:
        return (
            None,
            f"its answer has the schema {answer.get('schema')}, and this version of the collection reads {_SCHEMA}",
        )
    wrong = shapes.about_problem(answer) or shapes.controller_problem((result or {}).get("controller"))
    return (answer, None) if wrong is None else (None, f"in its answer, {wrong}")


def _read_host(name: str, given: Json, peers: Json, written: Json) -> Host:
    found, problem = about(given)
    answer, peers_problem = _answer(peers)
    wrong = None if answer is None else shapes.peers_problem(answer)
    if wrong is not None:
        answer, peers_problem = None, f"in its answer, {wrong}"
    asked = answer or {}
    wrong = shapes.written_problem(written.get("paths"))
    if wrong is not None:
        raise BalanceError(f"In what became of the test files of {name}, {wrong}.")
    return Host(
        name,
        found,
        problem,
        reached=not given.get("unreachable"),
        peers=asked.get("peers") or {},
        peers_problem=None if asked or found is None else peers_problem or _problem_of(peers),
        written=written.get("paths") or {},
        seen={path: _seen(entry) for path, entry in (asked.get("paths") or {}).items()},
        baselines=asked.get("baselines") or [],
        clock=_clock(found, given.get("controller")),
    )


def _answer(result: Json) -> tuple[Json | None, str | None]:
    """The answer of a result, which may be JSON text, and why there is none."""
    answer = result.get("answer")
    if answer is None:
        return None, _problem_of(result)
    if isinstance(answer, str):
        try:
            answer = json.loads(answer)
        except (ValueError, RecursionError):
            return None, "its answer is no JSON, or not all of it is there"
    if not isinstance(answer, Mapping):
        return None, f"its answer is {shown(answer)}, which is none of this collection"
    return answer, None


def _seen(entry: Json) -> frozenset[str] | None:
    return None if entry["sees"] is None else frozenset(entry["sees"])


def _problem_of(result: Json) -> str:
    return str(result.get("msg") or "it was not asked").strip().rstrip(".")


def _clock(found: Json | None, controller: Json | None) -> tuple[float, float] | None:
    """The host began after it was asked, and ended before its answer was there."""
    if found is None or not controller:
        return None
    clock = found["clock"]
    return clock["ended_at"] - controller["answered_at"], clock["started_at"] - controller["asked_at"]
