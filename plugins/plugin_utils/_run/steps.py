# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A plan as steps of a run: what is done one after the other, on which hosts, and whether the next one may start."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field

Json = Mapping[str, t.Any]


@dataclass(frozen=True)
class Step:
    """``file`` is the tasks file of the role that does it on each of the ``hosts``, ``seconds`` how long it is expected
    to take. ``ordered`` steps count on the room that earlier ones made, so none starts after one that failed; of a wave
    of a plan without other steps, and of its restarts, only those moves that need what failed are left out.
    ``tasks`` is the tasks file that all hosts include: ``step`` decides who has to do what, others are for all hosts.
    """

    file: str
    title: str
    hosts: list[str] = field(default_factory=list)
    seconds: float = 0.0
    ordered: bool = False
    wave: Json = field(default_factory=dict)
    states: list[str] = field(default_factory=list)
    tasks: str = "step"


@dataclass(frozen=True)
class Work:
    """What steps are made from. ``unfinished`` are hosts with moves that an earlier run did not finish, ``interrupted``
    the restarts that it did not bring to their end, ``unleased`` the hosts on which this run must not act. Of the steps
    of an allocation only those into ``states`` are wanted.
    """

    plan: Json
    unfinished: Collection[str] = ()
    interrupted: Sequence[Json] = ()
    unleased: Collection[str] = ()
    shutdown_seconds: float = 0.0
    states: Collection[str] = ("stop", "create", "run")


def steps(kinds: Sequence[str], work: Work) -> list[dict[str, t.Any]]:
    """Return the steps of these kinds, in this order, without those that concern no host.

    Of hosts that have to be woken the plan knows too little, so ``wake`` stands for all that would follow. ``observe``
    is left out where nothing was done that could have changed the fleet.
    """
    if "wake" in kinds and work.plan.get("wake"):
        return [asdict(_for_all("wake_and_act", "Wake hosts and plan again"))]
    found: list[Step] = []
    for kind in kinds:
        if kind in _KINDS:
            found += [step for step in _KINDS[kind](work) if step.hosts]
        elif kind == "outcome" or (kind == "sleep" and work.plan.get("sleep")):
            found.append(_for_all(kind, kind.capitalize()))
        elif kind == "observe" and any(step.file not in _HARMLESS for step in found):
            found.append(_for_all(kind, "Observe the fleet again"))
    return [asdict(step) for step in found]


def may_start(plan: Json, outcomes: Sequence[Json], *, gone: Collection[str], wave: bool = False) -> bool:
    """Return whether an ordered step may start: every move so far happened, and no host with a part in the plan is
    ``gone``, because it failed in something else or its lease was lost.

    Moves of a ``wave``, and restarts, may start by themselves, unless what has to happen beside the moves of the plan
    did not.
    """
    if set(gone) & _parts(plan):
        return False
    return not any(did_not_happen(outcome) and not (wave and single(plan, outcome)) for outcome in outcomes)


def single(plan: Json, outcome: Json) -> bool:
    """Return whether this is the result of a move that others of its plan need not wait for."""
    return "move" in outcome and "steps" not in plan


def moves_of(plan: Json, number: int) -> tuple[str, list[Json]]:
    """Return the moves of the wave of this number, or the restarts of the plan for the number after the last wave; and
    what a result of one has it under.
    """
    for wave in plan["waves"]:
        if wave["number"] == number:
            return "move", list(wave["moves"])
    return "restart", list(plan.get("restarts") or ())


def did_not_happen(outcome: Json) -> bool:
    """Return whether this is the result of something that did not happen."""
    return any(outcome.get(key) for key in ("failed", "unreachable", "skipped", "left_out"))


def _moves(plan: Json) -> list[Json]:
    return [*(move for wave in plan["waves"] for move in wave["moves"]), *(plan.get("restarts") or ())]


def _parts(plan: Json) -> set[str]:
    ends = {str(move[end]) for move in _moves(plan) for end in ("source", "destination")}
    return ends | {str(step["host"]) for step in plan.get("steps") or ()}


def _for_all(tasks: str, title: str) -> Step:
    return Step(tasks, title, tasks=tasks)


def _finish(work: Work) -> list[Step]:
    begun = {str(one["source"]) for one in work.interrupted if one["finish"] is not None}
    hosts = sorted({name for name in work.unfinished if name not in work.unleased} | begun)
    return [Step("finish_on_host", "Finish earlier moves", hosts)]


def _remember(work: Work) -> list[Step]:
    return [Step("remember_on_host", "Mark the hosts", _leased(work, work.plan.get("marks") or {}))]


def _inside(work: Work) -> list[Step]:
    hosts = [str(one["host"]) for one in work.plan.get("inside") or ()]
    return [Step("inside_on_host", "Tune inside the hosts", _leased(work, hosts))]


def _waves(work: Work) -> list[Step]:
    waves = work.plan["waves"]
    return [
        Step(
            "wave",
            f"Migrate, wave {wave['number']} of {len(waves)}",
            sorted({str(move["source"]) for move in wave["moves"]}),
            seconds=float(wave.get("seconds") or 0),
            ordered=True,
            wave=wave,
        )
        for wave in waves
    ]


def _restarts(work: Work) -> list[Step]:
    sources = [str(move["source"]) for move in work.plan.get("restarts") or ()]
    seconds = _longest(sources) * work.shutdown_seconds
    last = {"number": 1 + max((wave["number"] for wave in work.plan["waves"]), default=0)}
    title = "Restart domains on other hosts"
    return [Step("restart_on_host", title, sorted({*sources}), seconds, ordered=True, wave=last)]


def _states(work: Work, wanted: list[str], title: str) -> list[Step]:
    wanted = [state for state in wanted if state in work.states]
    found = [step for step in work.plan.get("steps") or () if step["state"] in wanted]
    # Who only runs, and gets another weight, need not shut down.
    slow = [str(step["host"]) for step in found if step["state"] != "run"]
    hosts = sorted({str(step["host"]) for step in found})
    return [Step("states_on_host", title, hosts, _longest(slow) * work.shutdown_seconds, ordered=True, states=wanted)]


def _stop(work: Work) -> list[Step]:
    return _states(work, ["stop"], "Shut down domains")


def _create(work: Work) -> list[Step]:
    return _states(work, ["create", "run"], "Create and tune domains")


def _leased(work: Work, hosts: t.Iterable[str]) -> list[str]:
    return sorted({str(name) for name in hosts} - set(work.unleased))


def _longest(hosts: Sequence[str]) -> int:
    """Hosts work at the same time, each on one domain after the other."""
    return max((hosts.count(name) for name in set(hosts)), default=0)


_KINDS: dict[str, Callable[[Work], list[Step]]] = {
    "finish": _finish,
    "remember": _remember,
    "inside": _inside,
    "stop": _stop,
    "waves": _waves,
    "restarts": _restarts,
    "create": _create,
}
_HARMLESS = ("remember_on_host",)
KINDS = ("wake", *_KINDS, "observe", "outcome", "sleep")
