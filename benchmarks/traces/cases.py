# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""One case: a load, a seed or a file, and who decides. Cases are independent of each other and may run side by side."""

from __future__ import annotations

import time
import typing as t
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.recording import Recording
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.replay import Replay
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.settings import Settings

from . import loads, planetlab, reference
from .policies import BALANCE, CONSOLIDATE, consolidating

Json = dict[str, t.Any]

REFERENCES = {"reference THR": "THR", "reference LR": "LR"}
LIMIT = 0.9


@dataclass(frozen=True, slots=True)
class Case:
    """load: of loads.py, or the path of a trace. seed: 0 for a trace. who: a policy, or the reference."""

    load: str
    seed: int
    who: str
    scale: int = 1

    @property
    def made(self) -> bool:
        """Is it a made load?"""
        return self.load in loads.KINDS


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a case. Fractions; held_full and held_unserved: with demand that is held between two times."""

    load: str
    seed: int
    who: str
    kwh: float | None
    moves: int
    back: int
    most: int
    full: float
    unserved: float
    held_full: float
    held_unserved: float
    cpu_seconds: float

    def to_mapping(self) -> Json:
        """As --json lists it."""
        return asdict(self)


def cases(traces: Sequence[Path], scale: int, seeds: int, kinds: Sequence[str]) -> Iterator[Case]:
    """All cases, those that take longest first."""
    for path in traces:
        for who in [*CONSOLIDATE, *REFERENCES]:
            yield Case(str(path), 0, who, scale)
    for kind in kinds:
        for seed in range(1, seeds + 1):
            for who in BALANCE:
                yield Case(kind, seed, who)


def run(case: Case) -> Row:
    """Replay one case twice: with demand that changes evenly between two times, and with demand that is held."""
    begin = time.process_time()
    if case.made:
        recording = loads.recording(case.load, case.seed)
        settings, policy = Settings(), BALANCE[case.who]
    else:
        recording = planetlab.recording(Path(case.load), case.scale)
        settings = Settings(wake_seconds=0.0, bandwidth_mib_s=planetlab.BANDWIDTH_MIB_S)
        policy = consolidating(case.who, len(recording.hosts))
    if case.who in REFERENCES:
        even, held = (_reference(recording, case.who, held=held) for held in (False, True))
        return _row(case, even, held, time.process_time() - begin)
    even, decided = _replayed(recording, policy, settings)
    spent = time.process_time() - begin
    again = Replay(recording, policy or _IDLE, replace(settings, held=True), decided=decided)
    return _row(case, even, again.result(), spent)


_IDLE: Json = {"cpu_limit": LIMIT}


def _replayed(recording: Recording, policy: Json | None, settings: Settings) -> tuple[Json, list[Json]]:
    found = Replay(recording, policy, settings) if policy is not None else _left_alone(recording, settings)
    decided = [found.step() for _run in range(found.steps)]
    return found.result(), decided


def _left_alone(recording: Recording, settings: Settings) -> Replay:
    nothing = {"verdict": "balanced", "waves": [], "restarts": [], "wake": [], "sleep": [], "marks": {}}
    return Replay(recording, _IDLE, settings, decide=lambda _snapshot, _policy: nothing)


def _reference(recording: Recording, who: str, *, held: bool) -> Json:
    return reference.replay(
        recording, REFERENCES[who], bandwidth_mib_s=planetlab.BANDWIDTH_MIB_S, limit=LIMIT, held=held
    )


def _row(case: Case, even: Json, held: Json, spent: float) -> Row:
    return Row(
        load=case.load if case.made else f"{Path(case.load).name.partition('.')[0]} 1/{case.scale}",
        seed=case.seed,
        who=case.who,
        kwh=even["kwh"],
        moves=even["moves"],
        back=even["moved_back"],
        most=even["most_moves_of_one"],
        full=even["host_time_full"],
        unserved=even["unserved"],
        held_full=held["host_time_full"],
        held_unserved=held["unserved"],
        cpu_seconds=round(spent, 1),
    )
