# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Is a host overloaded, is it underloaded? The policy's detectors decide by its history.

They get what the present domains of the host wanted before, wherever they then were: a detector that saw what the host
itself did would take each move for a rise or a fall of the load, and cause the next move. If nothing is known of that,
or it is too short for the detector, ``threshold`` judges by the CPU that the domains demand (see _fleet/demand.py).

A detector whose threshold follows the past has none below cpu_fill: it would empty what the placement has just filled.

An overloaded host hides demand: measured CPU use cannot exceed 100 %. Therefore a host whose domains demand more than
cpu_limit or memory_limit is overloaded whatever the detector says.
"""

from __future__ import annotations

import math
import typing as t
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation import best_fit
from ansible_collections.virtops.balance.plugins.plugin_utils._detection import registry as _detectors
from ansible_collections.virtops.balance.plugins.plugin_utils._detection.registry import Verdict
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    ROUNDING,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU, MEMORY
from ansible_collections.virtops.balance.plugins.plugin_utils._options import read
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.algorithm import Algorithm
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.consolidation import Consolidation
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.history import STEP_SECONDS, Samples, Series
from ansible_collections.virtops.balance.plugins.plugin_utils._text import percent
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse, stamp

_FALLBACK = "threshold"
_DIGITS = 9
"""Uses are sums of many parts, so they are rounded to this many digits before they are compared with a threshold."""


@dataclass(slots=True)
class Judgement:
    """What the detectors say about one host. why: for the user, if it is overloaded. history: was its history used?
    mark: what the host stores for the detector, {} = nothing. ceiling: up to this use of its CPU it is not
    overloaded."""

    overloaded: bool
    underloaded: bool
    why: str
    history: bool
    overload: dict[str, t.Any]
    underload: dict[str, t.Any]
    mark: dict[str, t.Any]
    ceiling: float

    def to_mapping(self) -> dict[str, t.Any]:
        """As the plan has it."""
        return {
            "overloaded": self.overloaded,
            "underloaded": self.underloaded,
            "history": self.history,
            "why": self.why,
            "overload": self.overload,
            "underload": self.underload,
        }


class Judge:
    """The detectors of the policy, with their parameters and the state that hosts store for them."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        wanted = fleet.policy.consolidation
        self._wanted = {"overload": _not_below(_filled(wanted), wanted.overload), "underload": wanted.underload}

    def look(self, host: ProjectedHost) -> Judgement:
        """Judge a host with its present domains."""
        over, with_history = self._ask("overload", host, ())
        under, under_with_history = self._ask("underload", host, ())
        limit = self._limit(host, ())
        series, state = self.series(host), over.state
        mark: dict[str, t.Any] = {}
        if state and series is not None and series.ends_at is not None:
            ends_at = stamp(series.ends_at)
            mark = {"detector": self._wanted["overload"].name, "ends_at": ends_at, "state": state}
        return Judgement(
            overloaded=bool(over.decision) or limit is not None,
            underloaded=bool(under.decision) and not over.decision and limit is None,
            why=self._why(over.numbers) if over.decision else limit or "",
            history=with_history and under_with_history,
            overload=over.numbers,
            underload=under.numbers,
            mark=mark,
            # As if the domains that come had always been there.
            ceiling=min(self._fleet.policy.cpu_limit, host.use[CPU] + (math.inf if over.room is None else over.room)),
        )

    def overloaded_without(self, host: ProjectedHost, leaving: Sequence[ProjectedDomain]) -> bool:
        """Would the host be overloaded without these domains, in its history too?"""
        if self._limit(host, leaving) is not None:
            return True
        return bool(self._ask("overload", host, leaving)[0].decision)

    def series(self, host: ProjectedHost) -> Series | None:
        """The fractions of its CPU that would have been wanted on the host in each step if its domains had always been
        there; None if nothing is known of it."""
        steps = self._fleet.demand.steps
        if steps is None or host.judged_now:
            return None
        scale = host.scale[CPU]
        return replace(steps, samples=tuple([cores * scale for cores in host.past]))

    def migration_seconds(self, host: ProjectedHost) -> float:
        """The mean time that the migration of one of its domains takes."""
        domains = list(host.domains.values())
        if not domains:
            return 0.0
        return sum(domain.copy_mib for domain in domains) / len(domains) / self._fleet.policy.bandwidth_mib_s

    def _ask(self, kind: str, host: ProjectedHost, leaving: Sequence[ProjectedDomain]) -> tuple[Verdict, bool]:
        """The verdict, and whether it is based on the history."""
        wanted, series = self._wanted[kind], self.series(host)
        if series is not None:
            state, new = self._remembered(host, series) if kind == "overload" else ({}, None)
            verdict = _detectors.detect(
                _detectors.History.of(_without(series, host, leaving), new),
                wanted.name,
                wanted.parameters,
                kind=kind,
                step=series.step,
                migration_time=self.migration_seconds(host),
                state=state,
            )
            if verdict.decision is not None:
                return verdict._replace(numbers={"detector": wanted.name, **verdict.numbers}), True
        now = host.use[CPU] - sum(domain.demand[CPU] for domain in leaving) * host.scale[CPU]
        now = max(0.0, round(now, _DIGITS))
        simple = wanted.parameters if wanted.name == _FALLBACK else {}
        verdict = _detectors.detect(_detectors.History.of((now,)), _FALLBACK, simple, kind=kind, step=STEP_SECONDS)
        return verdict._replace(numbers={"detector": _FALLBACK, **verdict.numbers}), False

    def _remembered(self, host: ProjectedHost, series: Series) -> tuple[t.Mapping[str, t.Any], int | None]:
        """The state that the host stores for this detector, and how many samples are newer."""
        mark = host.facts.detection or {}
        before = parse(str(mark.get("ends_at")))
        state = mark.get("state")
        fits = mark.get("detector") == self._wanted["overload"].name and isinstance(state, dict)
        if not fits or before is None or series.ends_at is None:
            return {}, None
        return state or {}, max(0, round((series.ends_at - before).total_seconds() / series.step))

    def _limit(self, host: ProjectedHost, leaving: Iterable[ProjectedDomain]) -> str | None:
        """A clause if the host is above a limit of the policy without these domains, else None."""
        cpu, memory, policy = host.use[CPU], host.use[MEMORY], self._fleet.policy
        for domain in leaving:
            cpu -= domain.demand[CPU] * host.scale[CPU]
            memory -= domain.demand[MEMORY] * host.scale[MEMORY]
        if cpu > policy.cpu_limit + ROUNDING:
            return f"its domains want {percent(cpu)} of its CPU, the limit is {percent(policy.cpu_limit)}"
        if memory > policy.memory_limit + ROUNDING:
            return f"it uses {percent(memory)} of its memory, the limit is {percent(policy.memory_limit)}"
        return None

    @staticmethod
    def _why(numbers: t.Mapping[str, t.Any]) -> str:
        figures = ", ".join(
            f"{name.replace('_', ' ')} {value:.3g}"
            for name, value in numbers.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        )
        return f"{numbers['detector']}: {figures}"


def _filled(wanted: Consolidation) -> float:
    """The use of its CPU up to which the placement fills a host."""
    return read(best_fit.Parameters, wanted.placement.parameters, "parameters").cpu_fill


def _not_below(least: float, wanted: Algorithm) -> Algorithm:
    """A detector of overload with a floor of at least ``least``, if it has one."""
    kind = _detectors.detectors("overload")[wanted.name][1]
    if all(field.name != "floor" for field in fields(kind)):
        return wanted
    floor = max(least, read(kind, wanted.parameters, "parameters").floor)
    return replace(wanted, parameters={**wanted.parameters, "floor": floor})


def _without(series: Series, host: ProjectedHost, leaving: Iterable[ProjectedDomain]) -> Samples:
    """The samples of a series of the host without some of its domains."""
    samples: Iterable[float] = [sample or 0.0 for sample in series.samples]
    for domain in leaving:
        samples = [sample - cores * host.scale[CPU] for sample, cores in zip(samples, domain.past, strict=True)]
    return tuple([max(0.0, round(sample, _DIGITS)) for sample in samples])
