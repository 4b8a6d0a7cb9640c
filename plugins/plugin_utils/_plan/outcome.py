# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The outcome of a plan: of each move by the result of its module, of the fleet by a new snapshot."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import replace

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.explain import host_state, spread_of
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.served import outcome_of
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._run.outcomes import KINDS
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.domain_health import not_running
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.interrupted_restarts import interrupted_notes
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import SCHEMA, Snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.unknown_hosts import too_few, unknown_hosts

Json = t.Mapping[str, t.Any]

_MIB = 1024 * 1024
_EARLIER = "an earlier step or move was not carried out"


def outcome(plan: t.Any, results: t.Any, snapshot: t.Any) -> dict[str, t.Any]:
    """Compare a plan with the present state.

    ``results`` are results of domain_migrate, each with the planned move it belongs to under ``move``; a move without
    one was not started. Results of domain_state, for the plan of an allocation, have theirs under ``step``, those of
    domain_restart the restart under ``restart``.
    ``snapshot`` was taken afterwards. Returns the outcome as data_model.rst has it. Raises
    BalanceError for anything else than a plan, SnapshotError for a bad snapshot.
    """
    if not isinstance(plan, Mapping) or "waves" not in plan or "hosts" not in plan:
        raise BalanceError("outcome needs a plan of the filter plan.")
    facts = Snapshot.from_mapping(snapshot)
    # A domain that has ended since the plan was made is no mistake in the policy.
    fleet = Fleet(facts, replace(Policy.from_mapping(plan["policy"]), strict_selectors=False))
    by_move = {_key(result["move"]): result for result in results or [] if "move" in result}
    by_number = {result["step"]["number"]: result for result in results or [] if "step" in result}
    restarted = {result["restart"]["domain"]: result for result in results or [] if "restart" in result}
    gone = {
        host.name: f"{host.name} is unknown ({host.problem})"
        for host in facts.hosts.values()
        if host.state == "unknown"
    }
    moves = [_move(move, by_move.get(_key(move)), gone) for wave in plan["waves"] for move in wave["moves"]]
    moves += [_move(move, restarted.get(move["domain"]), gone, "restarted") for move in plan.get("restarts") or ()]
    steps = [_step(step, by_number.get(step["number"]), gone) for step in plan.get("steps") or ()]
    still = not_running(facts.raw)
    begun = [str(result.get("msg")) for result in results or [] if result.get("failed") and not {*KINDS} & {*result}]
    wrong = [*filter(None, [too_few(facts)]), *facts.doubts, *interrupted_notes(facts.raw), *begun]
    count = {
        word: sum(move["outcome"] == word for move in moves) for word in ("moved", "skipped", "failed", "not_started")
    }
    if plan.get("restarts"):
        count["restarted"] = sum(move["outcome"] == "restarted" for move in moves)
    return {
        "schema": SCHEMA,
        "snapshot_taken_at": facts.taken_at,
        "strategy": plan.get("strategy"),
        "not_running": still,
        "unknown_hosts": unknown_hosts(facts, {name: host["state"] for name, host in plan["hosts"].items()}),
        "problem": _problem([*moves, *steps], [*(found["why"] for found in still), *wrong], gone),
        "failure": _problem([*moves, *steps], wrong, gone),
        "count": count,
        "moves": moves,
        "steps": steps,
        "spread": spread_of(fleet),
        "hosts": {
            host.name: {
                "state": host.state,
                "before": plan["hosts"].get(host.name, {}).get("before"),
                "after": host_state(host),
            }
            for host in fleet.hosts
        },
        "score": {"before": plan["score"]["before"], "after": round(fleet.score.value(), 6)},
        "served": outcome_of(fleet, plan),
        "doubts": list(facts.doubts),
    }


def _key(move: Json) -> tuple[t.Any, str]:
    """Return what tells a move of a plan from the others: a domain may move twice."""
    return move.get("number"), str(move["domain"])


def _problem(moves: t.Sequence[Json], wrong: t.Sequence[str], gone: t.Mapping[str, str]) -> str | None:
    """Sentences about what the user has to know or repair; None if there is no problem."""
    failed = [move for move in moves if move["outcome"] == "failed"]
    sentences = [*wrong, *(str(move["reason"]) for move in failed)]
    left = [move for move in moves if move["outcome"] == "not_started"]
    lost = [move for move in left if move["reason"] in gone.values()]
    sentences += [f"{move['name']} was not acted on: {move['reason']}." for move in lost]
    if not sentences:
        return None
    waiting = len(left) - len(lost)
    if waiting:
        what = "step" if any("state" in move for move in moves) else "move"
        sentences.append(
            f"{waiting} more planned {what}{'s were' if waiting > 1 else ' was'} not started; run it again."
        )
    return " ".join(sentences)


def _not_started(hosts: t.Iterable[str], gone: t.Mapping[str, str]) -> dict[str, str]:
    return {"outcome": "not_started", "reason": next((gone[host] for host in hosts if host in gone), _EARLIER)}


def _move(move: Json, result: Json | None, gone: t.Mapping[str, str], done: str = "moved") -> dict[str, t.Any]:
    told = {key: move[key] for key in ("domain", "name", "source", "destination")}
    if result is None:
        return {**told, **_not_started((move["source"], move["destination"]), gone)}
    if result.get("left_out"):
        return {**told, "outcome": "not_started", "reason": str(result["left_out"])}
    size = result.get("bytes")
    told.update(
        seconds=result.get("seconds"),
        mib=None if size is None else round(size / _MIB, 1),
        downtime_ms=result.get("downtime_ms"),
    )
    if result.get("failed") or result.get("unreachable"):
        return {**told, "outcome": "failed", "reason": str(result.get("msg") or "no reason was given")}
    if result.get("skipped"):
        return {**told, "outcome": "skipped", "reason": str(result.get("reason") or result.get("skip_reason") or "")}
    return {**told, "outcome": done, "reason": None}


def _step(step: Json, result: Json | None, gone: t.Mapping[str, str]) -> dict[str, t.Any]:
    told = {key: step[key] for key in ("number", "state", "domain", "name", "host")}
    if result is None:
        return {**told, **_not_started((step["host"],), gone)}
    if result.get("failed") or result.get("unreachable"):
        return {**told, "outcome": "failed", "reason": str(result.get("msg") or "no reason was given")}
    # The domain is no longer where the plan expects it.
    if result.get("action") in ("wait", "none") and step["state"] != "stop":
        return {**told, "outcome": "skipped", "reason": str(result.get("why") or "")}
    return {**told, "outcome": "done" if result.get("changed") else "unchanged", "reason": None}
