# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The engines that are measured: one small file each, which registers by name. Adding one touches no other file."""

from __future__ import annotations

import importlib
import pkgutil
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ..checker import Waves
from ..fleets import Fleet


class NotFinishedError(Exception):
    """The engine was stopped by its limit, or the fleet is beyond what it is tried with; says which."""


@dataclass(frozen=True, slots=True)
class Request:
    """What an engine may know beside the fleet.

    limit_seconds: CPU seconds after which it is stopped. directory: for files of its own. options: what a row asks of
    one engine only.
    """

    limit_seconds: int
    directory: Path
    options: t.Mapping[str, t.Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an engine decided and what that took (see meter.py).

    waves: all migrations. ordered: are they waves that may run side by side? Otherwise only where they end is looked
    at. peak_mib: of a program of its own; None = the process that the engine runs in.
    """

    waves: Waves
    ordered: bool
    cpu_seconds: float
    peak_mib: float | None = None
    note: str = ""

    def placement(self, fleet: Fleet) -> list[int]:
        """Where the domains end."""
        found = fleet.placement
        for wave in self.waves:
            for step in wave:
                found[step.domain] = step.destination
        return found


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine.

    peer: what it is chosen by on the command line; "" = always measured. follows: it is measured once after each engine
    of that peer, with the row of it as the option ``row``. module, program: what it needs, of Python or an executable.
    install: what to say where that is missing.
    """

    name: str
    run: t.Callable[[Fleet, Request], Outcome]
    peer: str = ""
    follows: str = ""
    module: str | None = None
    program: str | None = None
    install: str = ""


_engines: dict[str, Engine] = {}


def register(engine: Engine) -> None:
    """Have an engine measured, after those of files that sort before its own."""
    if engine.name in _engines:
        raise ValueError(f"There are two engines of the name {engine.name!r}.")
    _engines[engine.name] = engine


def every() -> dict[str, Engine]:
    """All engines by name."""
    for found in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{found.name}")
    return dict(_engines)
