# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Which moves of a wave, or restarts, are left out because of moves that did not happen, and which can go on."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.giving_way import beyond, refuses_now
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._run.steps import did_not_happen, moves_of
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot

Json = t.Mapping[str, t.Any]

_ON_SOURCE = "on_source"


def left_out(plan: Json, results: t.Iterable[Json], snapshot: t.Any, number: int) -> dict[int, str]:
    """Say by its number why a move of wave ``number`` must not start, or after the last wave a restart.

    ``results`` are those of the moves of all earlier waves, ``snapshot`` is the one that the plan was made from.

    A move is left out where its domain is not where the plan expects it, or has to stay with one that did not move;
    where it goes to a host that a domain has not left, or leaves one that a domain has not reached; and where a rule
    forbids it in the fleet as it is now. A domain of which it is not known where it runs counts on both hosts.
    """
    known = {result["move"]["number"]: result for result in results if "move" in result}
    earlier = [move for wave in plan["waves"] if wave["number"] < number for move in wave["moves"]]
    if all(_happened(known.get(move["number"])) for move in earlier):
        return {}
    # A selector that matches nothing was no reason not to begin.
    policy = replace(Policy.from_mapping(plan["policy"]), strict_selectors=False)
    now = _Now(Fleet(Snapshot.from_mapping(snapshot), policy))
    for move in earlier:
        now.take(move, known.get(move["number"]))
    kind, moves = moves_of(plan, number)
    against = ((move["number"], now.against(move, restart=kind == "restart")) for move in moves)
    return {move: why for move, why in against if why is not None}


def _happened(result: Json | None) -> bool:
    return result is not None and not did_not_happen(result)


class _Now:
    """The fleet after the moves so far."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.rules = fleet, Rules(fleet)
        self.hosts = {host.name: host for host in fleet.hosts}
        self.lost: set[str] = set()
        self.missed: set[str] = set()
        # By host, who has not left it, and who has not reached it.
        self.not_left: dict[str, str] = {}
        self.not_reached: dict[str, str] = {}

    def take(self, move: Json, result: Json | None) -> None:
        """Count a move of an earlier wave as what became of it."""
        domain, destination = self.fleet[move["domain"]], self.hosts[move["destination"]]
        if _happened(result):
            self.fleet.move(domain, destination)
            return
        self.missed.add(move["domain"])
        self.not_left.setdefault(move["source"], move["name"])
        self.not_reached.setdefault(move["destination"], move["name"])
        # A move without a result may have begun.
        if result is None or (not result.get("left_out") and result.get("outcome") != _ON_SOURCE):
            self.lost.add(move["domain"])
            self.not_left.setdefault(move["destination"], move["name"])
            if domain.index not in destination.domains:
                self.fleet.occupy(domain, destination)

    def against(self, move: Json, *, restart: bool) -> str | None:
        """Return why the move must not start; if it may, its domain counts on both hosts.

        With ``restart`` the domain is shut down for it, so it need not keep its CPU model.
        """
        domain: ProjectedDomain = self.fleet[move["domain"]]
        name, source, destination = (str(move[key]) for key in ("name", "source", "destination"))
        if move["domain"] in self.lost:
            return f"it is not known where {name} runs"
        if domain.host.name != source:
            return f"{name} is not on {source}, because an earlier move of it did not happen"
        apart = next((other for other in domain.bundle if other.facts.uuid in self.missed), None)
        if apart is not None:
            return f"it has to stay with {apart.name}, which did not move"
        if destination in self.not_left:
            return f"{self.not_left[destination]} has not left {destination}"
        if source in self.not_reached:
            return f"it was to leave {source}, and {self.not_reached[source]} has not arrived there"
        host = self.hosts[destination]
        if restart:
            found = (one for one in self.rules.reasons(domain, host) if one.constraint != "cpu_model")
            reason = beyond(found, move)
        else:
            reason = refuses_now(self.rules, domain, host, move)
        if reason is not None:
            return f"{destination} cannot take it now: {reason.message}"
        self.fleet.occupy(domain, host)
        return None
