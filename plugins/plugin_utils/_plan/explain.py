# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Explanations: the purpose and cost of each move, and why domains could not move."""

from __future__ import annotations

import heapq
import typing as t
from collections.abc import Mapping, Sequence

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.moves import (
    CONTENTION,
    OVERLOAD,
    PARKING,
    PEAK,
    UNDERLOAD,
    Move,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU, MEMORY, RESOURCES, VCPUS
from ansible_collections.virtops.balance.plugins.plugin_utils._placement import contention
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.registry import Placement
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.unevenness import hot
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.copy_estimate import of_move, of_wave
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.figures import figures_of, peaks_of
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.giving_way import passed
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.bundles import reasons_together
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraints
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.domain_health import (
    second_definitions,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.interrupted_restarts import interrupted_notes
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.unknown_hosts import unknown_hosts
from ansible_collections.virtops.balance.plugins.plugin_utils._text import counted, points

MOST_REFUSED = 40
MOST_ASKED = 10 * MOST_REFUSED
"""So many domains are asked what keeps them: of a thousand hosts that stay too full, most domains have no reason."""
MOST_HOSTS = 8
MOST_NOTED = 10
ANY_HOST = "*"

_NOTHING = 1e-9
_NO_OTHER = Reason("no_host", "no other host takes domains")

_WORDS = {"cpu": "CPU", "memory": "memory", "cpu_ready": "CPU wait", "vcpus": "vCPUs per thread"}
_WORDS_OF = {
    PARKING: "makes room for another move",
    OVERLOAD: "relieves an overloaded host",
    PEAK: "relieves a host at its peaks",
    UNDERLOAD: "empties an underloaded host",
}


def host_state(host: ProjectedHost) -> dict[str, t.Any] | None:
    """The load of a host as the plan lists it; None if not known."""
    if not host.known or not host.facts.answers:
        return None
    return {
        # What is left of a sum after all has been taken away from it may be a little below 0.
        "cpu": round(max(0.0, host.use[CPU]), 4),
        "memory": round(max(0.0, host.use[MEMORY]), 4),
        "vcpus": round(host.use[VCPUS] * (host.facts.threads or 0)),
        "domains": len(host.domains),
    }


def spread_of(fleet: Fleet) -> dict[str, float]:
    """The difference between the most and the least used host, as the plan lists it."""
    spread = fleet.spread()
    return {"cpu": round(spread[CPU], 4), "memory": round(spread[MEMORY], 4)}


def explain_moves(fleet: Fleet, rules: Rules, waves: list[list[Move]]) -> list[dict[str, t.Any]]:
    """The waves as the plan lists them. Moves the fleet from the start of the waves to their end."""
    result, number, hosts = [], 0, fleet.counted()
    for count, wave in enumerate(waves, 1):
        moves = []
        easy = heapq.nsmallest(MOST_HOSTS, hosts, key=_load)
        for move in wave:
            number += 1
            limits = _limits(rules, move, easy)
            repairs = move.purpose in constraints()
            given = [one.passed() for one in passed(rules, move.domain, move.destination)] if repairs else []
            moves.append({"number": number, **_explain(fleet, move), "limits": limits, "gives_way": given})
        copied = of_wave(wave, fleet.policy)
        cost = {"seconds": round(copied.seconds, 1), "mib": round(copied.mib)}
        result.append({"number": count, **cost, "moves": moves})
    return result


def _load(host: ProjectedHost) -> tuple[float, int]:
    return (host.use[CPU] + host.use[MEMORY], host.index)


def _limits(rules: Rules, move: Move, easy: list[ProjectedHost]) -> list[dict[str, str]]:
    """What kept a move from less loaded hosts, and out of the previous wave."""
    found: dict[str, Reason] = {}
    for host in easy:
        if host not in (move.source, move.destination) and _load(host) < _load(move.destination):
            reason = rules.refuses(move.domain, host)
            if reason is not None:
                found.setdefault(reason.constraint, reason)
    if move.waits is not None:
        found[move.waits.constraint] = move.waits
    return [reason.to_mapping() for reason in found.values()]


def _explain(fleet: Fleet, move: Move) -> dict[str, t.Any]:
    score, domain, ends = fleet.score, move.domain, (move.source, move.destination)
    before, uses, peaks = score.value(), [host.use for host in ends], peaks_of(fleet, ends)
    fleet.move(domain, move.destination)
    peaks_after = peaks_of(fleet, ends)
    gains = [
        sum(score.part(use, r) - score.part(host.use, r) for host, use in zip(ends, uses, strict=True))
        for r in range(len(RESOURCES))
    ]
    # A move that only makes room gains nothing: it is explained by the resource that changes most.
    r = max(range(len(RESOURCES)), key=lambda i: (gains[i] if gains[i] > _NOTHING else 0.0, abs(gains[i])))
    if move.purpose in (OVERLOAD, UNDERLOAD, PEAK):
        r = CPU  # it is not made for the score; detectors and peaks are about the CPU
    relief = None
    if move.purpose == CONTENTION:
        relief, r = contention.words(fleet, move.source)
    changes = [(use[r], host.use[r]) for host, use in zip(ends, uses, strict=True)]
    words = f"{'' if r == VCPUS else '% '}{_WORDS[RESOURCES[r]]}"
    if move.purpose == PEAK and peaks is not None and peaks_after is not None:
        changes, words = list(zip(peaks, peaks_after, strict=True)), f"% CPU {fleet.demand.host_by.words}"
    shown = ", ".join(f"{host.name} {_change(*change, r)}" for host, change in zip(ends, changes, strict=True))
    why = f"{shown} {words}"
    if move.purpose is not None:
        word = relief or _WORDS_OF.get(move.purpose) or constraints()[move.purpose].repair
        why = str(word) if move.purpose == PARKING else f"{word}; {why}"
    copied = of_move(domain, fleet.policy)
    return {
        "domain": domain.facts.uuid,
        "name": domain.name,
        "source": move.source.name,
        "destination": move.destination.name,
        "resource": move.purpose or RESOURCES[r],
        "priority": domain.priority,
        "migration": domain.migration.given(),
        "why": why,
        "figures": {**figures_of(fleet, move, r), "peaks": _peaks(ends, peaks, peaks_after)},
        "score": {"before": round(before, 6), "after": round(score.value(), 6)},
        "cost": {"mib": round(copied.mib), "seconds": round(copied.seconds, 1)},
    }


def _peaks(
    hosts: Sequence[ProjectedHost], before: Sequence[float] | None, after: Sequence[float] | None
) -> dict[str, dict[str, float]] | None:
    """The peaks of the hosts as the plan lists them."""
    if before is None or after is None:
        return None
    return {
        host.name: {"before": round(old, 4), "after": round(new, 4)}
        for host, old, new in zip(hosts, before, after, strict=True)
    }


def _change(before: float, after: float, resource: int) -> str:
    if resource == VCPUS:
        return f"{max(0.0, before):.2f} -> {max(0.0, after):.2f}"
    return f"{points(max(0.0, before))} -> {points(max(0.0, after))}"


def refusals(
    fleet: Fleet, rules: Rules, placement: Placement, stranded: dict[str, Reason]
) -> tuple[list[dict[str, t.Any]], list[str]]:
    """Domains on hosts that stay too full, that a strategy could not place, or that still violate a rule, with the
    reasons by host ("*": for every host); and a note if there are more than are listed."""
    hosts = sorted(fleet.counted(), key=_load)
    least = tuple(min((host.use[r] for host in hosts), default=0.0) for r in range(len(RESOURCES)))
    by_score = placement.purposes is None
    too_full = {host.index for host in hosts if hot(fleet, host, least)} if by_score else set()
    wanting = [
        domain
        for domain in fleet.domains
        if domain.facts.uuid in stranded
        or domain.facts.uuid in placement.unrepaired
        or domain.facts.uuid in placement.unplaced
        or (domain.host.index in too_full and not domain.moved and domain.excluded is None)
    ]
    wanting.sort(key=lambda d: (d.facts.uuid not in placement.unrepaired, -d.demand[CPU], d.facts.uuid))
    listed: list[dict[str, t.Any]] = []
    more = 0
    for asked, domain in enumerate(wanting):
        if len(listed) >= MOST_REFUSED or asked >= MOST_ASKED:
            more = len(wanting) - asked
            break
        reasons = _reasons(fleet, rules, domain, hosts, stranded.get(domain.facts.uuid))
        if not reasons and domain.facts.uuid in placement.unplaced:
            reasons = {ANY_HOST: [placement.unplaced[domain.facts.uuid].to_mapping()]}
        if (
            not reasons
            and domain.facts.uuid in placement.unrepaired
            and not any(host is not domain.host for host in hosts)
        ):
            reasons = {ANY_HOST: [reason.to_mapping() for reason in [*rules.violations(domain), _NO_OTHER]]}
        if reasons:
            listed.append(
                {"domain": domain.facts.uuid, "name": domain.name, "host": domain.host.name, "reasons": reasons}
            )
    return listed, [f"{more} more domains should move and cannot."] if more else []


def _reasons(
    fleet: Fleet, rules: Rules, domain: ProjectedDomain, hosts: list[ProjectedHost], stranded: Reason | None
) -> dict[str, list[dict[str, str]]]:
    if stranded is not None:
        return {ANY_HOST: [Reason("ordering", f"no safe order of moves: {stranded.message}").to_mapping()]}
    fixed = rules.fixed(domain, repair=bool(rules.violations(domain)))
    if fixed is not None:
        return {ANY_HOST: [fixed.to_mapping()]}
    bundle = domain.bundle
    found = {
        host.name: reasons_together(fleet, rules, bundle, host) if bundle else rules.reasons(domain, host)
        for host in hosts[:MOST_HOSTS]
        if host is not domain.host
    }
    shortest = sorted(
        ((name, reasons) for name, reasons in found.items() if reasons), key=lambda item: (len(item[1]), item[0])
    )
    return {name: [reason.to_mapping() for reason in reasons] for name, reasons in shortest}


def snapshot_notes(fleet: Fleet, stopped: Sequence[Mapping[str, str]]) -> list[str]:
    """Notes for the user: selectors that match nothing, hosts that take no part, and what is not known.

    ``stopped`` are the domains that should run and do not (see ``not_running``): the plan names them before the notes.
    """
    notes = list(fleet.notes)
    silent = [host for host in fleet.hosts if host.facts.state in ("unknown", "asleep")]
    lost = set(unknown_hosts(fleet.snapshot)["lost"])
    silent.sort(key=lambda host: host.name not in lost)
    for host in silent[:MOST_NOTED]:
        problem = f" ({host.facts.problem})" if host.facts.problem else ""
        since = " since the last run" if host.name in lost else ""
        notes.append(f"{host.name} is {host.facts.state}{since}: no domain is moved from or to it.{problem}")
    if len(silent) > MOST_NOTED:
        notes.append(f"{len(silent) - MOST_NOTED} more hosts are unknown or asleep.")
    unclear = [host for host in fleet.hosts if host.facts.marks_problem is not None]
    for host in unclear[:MOST_NOTED]:
        notes.append(
            f"No domain is moved to {host.name}, or away from it to level the fleet. {host.facts.marks_problem}"
        )
    if len(unclear) > MOST_NOTED:
        notes.append(f"{len(unclear) - MOST_NOTED} more hosts may be drained.")
    for host in [h for h in fleet.hosts if h.facts.state == "active" and not h.known and not h.ignored][:MOST_NOTED]:
        notes.append(f"The load of {host.name} is not known: no domain is moved to it.")
    unlimited = [host for host in fleet.hosts if host.unlimited] if fleet.policy.memory_overcommit <= 1.0 else []
    for host in unlimited[:MOST_NOTED]:
        more = f" and {counted(len(host.unlimited) - 1, 'more domain')}" if len(host.unlimited) > 1 else ""
        who = f"{host.unlimited[0]}{more}"
        notes.append(f"No domain is moved to {host.name}: it is not known how far the memory of {who} may grow.")
    if len(unlimited) > MOST_NOTED:
        notes.append(f"{len(unlimited) - MOST_NOTED} more hosts have domains whose maximum memory is not known.")
    still = {found["domain"] for found in stopped}
    open_moves = [
        domain
        for domain in fleet.domains
        if domain.facts.unfinished_move is not None and domain.facts.uuid not in still
    ]
    for domain in open_moves[:MOST_NOTED]:
        unfinished, state = domain.facts.unfinished_move or {}, domain.facts.state
        notes.append(
            f"A move of {domain.name} from {unfinished.get('source')} to {unfinished.get('destination')} was started "
            f"and its end was not recorded; it {'runs' if state in ('running', 'blocked') else f'is {state}'} on "
            f"{domain.home.name}."
        )
    doubled = second_definitions(fleet.snapshot.raw)
    notes += doubled[:MOST_NOTED]
    if len(doubled) > MOST_NOTED:
        notes.append(f"{len(doubled) - MOST_NOTED} more domains are defined on a second host.")
    return notes + interrupted_notes(fleet.snapshot.raw)
