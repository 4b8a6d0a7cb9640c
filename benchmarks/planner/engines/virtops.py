# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""This collection's engine, with the policies that make it comparable.

virtops: the default policy, which stops when the fleet is level enough and after max_moves.
virtops-onward: the default weights, but going on as long as a move gains its price.
virtops-as-hbal: going on as well, with what hbal looks at (see hbal_format): memory counted by its maximum, CPU, vCPUs
per thread (which the score takes as a fraction of the ratio, therefore times the ratio), all of the same weight;
nothing for CPU that was waited for or for hosts above a limit.
virtops-hbal-moves: the same, with as many moves as hbal made in the row before (max_moves) and no more.
virtops-as-proxlb: what ProxLB looks at: memory in use alone, until the spread is the one that ProxLB reached
in the row before. What is compared is how much memory that copies, so a move costs that and nothing beside it.

All but the first fill hosts as far as the fleets are filled: 95 % of memory, all threads.
"""

from __future__ import annotations

import importlib
import typing as t

from ..checker import Step
from ..fleets import MEMORY_FILL, VCPU_RATIO, Fleet
from ..meter import Meter
from ..snapshot import snapshot
from . import Engine, Outcome, Request, register

_PLAN = "ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan"
_FULL: dict[str, t.Any] = {"memory_limit": MEMORY_FILL, "cpu_limit": 1.0, "cpu_overcommit": VCPU_RATIO}
_ONWARD: dict[str, t.Any] = {**_FULL, "threshold": 0, "target": 0, "max_moves": None, "minimum_gain": 0}
AS_HBAL: dict[str, t.Any] = {
    **_ONWARD,
    "memory_basis": "maximum",
    "weights": {"cpu": 1.0, "memory": 1.0, "vcpus": VCPU_RATIO, "cpu_ready": 0.0, "overload": 0.0},
}
AS_PROXLB: dict[str, t.Any] = {
    **_ONWARD,
    "cpu_limit": 10.0,  # ProxLB does not look at it
    "move_cost": 0,
    "weights": {"cpu": 0.0, "memory": 1.0, "vcpus": 0.0, "cpu_ready": 0.0, "overload": 0.0},
}


def _with(policy: t.Mapping[str, t.Any]) -> t.Callable[[Fleet, Request], Outcome]:
    def run(fleet: Fleet, _request: Request) -> Outcome:
        return planned(fleet, policy)

    return run


def hbal_moves(fleet: Fleet, request: Request) -> Outcome:
    """As hbal, within its number of moves."""
    return planned(fleet, {**AS_HBAL, "max_moves": max(1, request.options["row"]["moves"])})


def as_proxlb(fleet: Fleet, request: Request) -> Outcome:
    """Level memory in use to the spread that is asked for."""
    spread = request.options["row"]["memory_spread"]
    return planned(fleet, {**AS_PROXLB, "threshold": spread, "target": spread})


def planned(fleet: Fleet, policy: t.Mapping[str, t.Any]) -> Outcome:
    """Plan with a policy; the plan is checked as the JSON that it is."""
    plan = importlib.import_module(_PLAN).plan
    seen, meter = snapshot(fleet), Meter()
    with meter:
        found = plan(seen, policy)
    domains = {domain.uuid: index for index, domain in enumerate(fleet.domains)}
    hosts = {host.name: index for index, host in enumerate(fleet.hosts)}
    waves = [
        [Step(domains[move["domain"]], hosts[move["source"]], hosts[move["destination"]]) for move in wave["moves"]]
        for wave in found["waves"]
    ]
    note = f"{len(waves)} waves" if waves else found["verdict"]
    return Outcome(waves, ordered=True, cpu_seconds=meter.cpu_seconds, note=note)


register(Engine("virtops", _with({})))
register(Engine("virtops-onward", _with(_ONWARD)))
register(Engine("virtops-as-hbal", _with(AS_HBAL)))
register(Engine("virtops-hbal-moves", hbal_moves, follows="hbal"))
register(Engine("virtops-as-proxlb", as_proxlb, follows="proxlb"))
