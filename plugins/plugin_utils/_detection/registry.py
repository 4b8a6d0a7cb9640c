# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Detection: is a host overloaded, is it underloaded? The detectors by name, and what they answer.

A detector is a function ``(history, step, migration_time, parameters, state) -> Verdict``:
the history of the host's CPU use, the seconds between its samples, the seconds that one migration takes, the detector's
own parameters (a frozen dataclass whose fields _options reads), and the state that it returned in the round before (at
first empty). It registers by name, in a file of its own in _detection/: ``@detector("overload", "mad", Parameters)``.
"""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._discovery import load
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import choice, mapping, read

KINDS = ("overload", "underload")
SHORT = 1e-8
"""The room ends so far before a use that must not be reached, as against one that must not be passed."""


@dataclass(frozen=True, slots=True)
class History:
    """Equal steps, oldest first; None where a sample is missing. CPU of a host as a fraction.

    new: how many of the last samples no earlier round has seen, for detectors that count.
    """

    samples: tuple[float | None, ...]
    new: int

    @classmethod
    def of(cls, samples: Sequence[float | None], new: int | None = None) -> History:
        """A history of which nothing (or all but the last ``new`` samples) was seen before."""
        return cls(tuple(samples), len(samples) if new is None else max(0, min(new, len(samples))))

    @property
    def known(self) -> list[float]:
        """The samples that are there, oldest first."""
        return [sample for sample in self.samples if sample is not None]

    @property
    def latest(self) -> float | None:
        """The last sample."""
        return self.samples[-1] if self.samples else None


class Verdict(t.NamedTuple):
    """The answer of a detector. decision: None if the history is too short, or its last sample is missing. state: for
    the next round, plain JSON. numbers: the values behind the decision, plain JSON. room: how much more CPU, as a
    fraction, the host may use in every step before it is overloaded; negative if it is. None without a decision, and
    for underload."""

    decision: bool | None
    state: dict[str, t.Any]
    numbers: dict[str, t.Any]
    room: float | None = None


Detector = Callable[[History, float, float, t.Any, Mapping[str, t.Any]], Verdict]

_detectors: dict[tuple[str, str], tuple[Detector, type[t.Any]]] = {}


def detector(kind: str, name: str, parameters: type[t.Any]) -> Callable[[Detector], Detector]:
    """Register a detector of ``kind`` (see KINDS) and the dataclass of its parameters."""

    def register(function: Detector) -> Detector:
        if kind not in KINDS:
            raise ValueError(f"detector {name!r} has the unknown kind {kind!r}")
        _detectors[kind, name] = (function, parameters)
        return function

    return register


def detectors(kind: str) -> dict[str, tuple[Detector, type[t.Any]]]:
    """All detectors of a kind with their parameters, by name."""
    load("_detection.detectors")
    return {name: entry for (of, name), entry in sorted(_detectors.items()) if of == kind}


def parameters_of(kind: str, name: str, data: Mapping[str, t.Any] | None, where: str = "parameters") -> t.Any:
    """Read the parameters of a detector; PolicyError says what is wrong."""
    known = detectors(kind)
    return read(known[choice(*known)(name, f"{kind} detector")][1], {} if data is None else data, where)


def detect(
    history: History,
    name: str = "threshold",
    parameters: Mapping[str, t.Any] | None = None,
    *,
    kind: str = "overload",
    step: float = 60.0,
    migration_time: float = 0.0,
    state: Mapping[str, t.Any] | None = None,
) -> Verdict:
    """Ask one detector. ``step`` and ``migration_time`` are seconds. Raises PolicyError where something is wrong."""
    choice(*KINDS)(kind, "kind")
    if step <= 0.0 or migration_time < 0.0:
        raise PolicyError(
            f"The step must be above 0 seconds and the migration time at least 0, not {step:g} and {migration_time:g}."
        )
    wanted = parameters_of(kind, name, parameters)
    return detectors(kind)[name][0](history, step, migration_time, wanted, mapping(state, "state"))


def too_short(history: History, needed: int, state: Mapping[str, t.Any] | None = None) -> Verdict | None:
    """The verdict of a detector that cannot answer: fewer known samples than it needs, or the last one missing."""
    samples = len(history.known)
    if samples >= needed and history.latest is not None:
        return None
    return Verdict(None, dict(state or {}), {"samples": samples, "needed": needed})


def overload_time(history: History, threshold: float, state: Mapping[str, t.Any]) -> tuple[int, int]:
    """Steps since the counting began, and those with at least ``threshold``: what the state has and the new samples."""
    new = history.samples[len(history.samples) - history.new :] if state else history.samples
    known = [sample for sample in new if sample is not None]
    steps, over = _counter(state, "steps"), _counter(state, "overloaded_steps")
    return steps + len(known), over + sum(sample >= threshold for sample in known)


def _counter(state: Mapping[str, t.Any], key: str) -> int:
    """A counter of a state; what is no counter (somebody wrote it by hand) counts as 0."""
    value = state.get(key, 0)
    return value if isinstance(value, int) and value >= 0 else 0
