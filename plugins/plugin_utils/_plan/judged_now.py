# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""One note about whom a plan judges by this moment, although the policy says by the history: too little is known."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.demand import histories
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._text import counted, several
from ansible_collections.virtops.balance.plugins.plugin_utils._times import clock, parse

MOST_NAMED = 5
_MOST_PROBLEMS = 3


def judged_now_notes(fleet: Fleet) -> list[str]:
    """The note, with what hosts say about their histories; no note if all is known that was asked for."""
    told = [*filter(None, [_domains(fleet)]), *_problems(fleet)]
    return [" ".join(told)] if told else []


def _domains(fleet: Fleet) -> str | None:
    demand = fleet.demand
    if not (demand.domain_by.looks_back or demand.host_by.looks_back):
        return None
    judged = [domain for domain in fleet.domains if domain.home.facts.answers and domain.facts.cpu_cores is not None]
    now = sorted(domain.name for domain in judged if domain.judged_now)
    if not now:
        return None
    if demand.steps is None:
        return _out_of_time(fleet)
    why = "because too little of their history is known"
    if len(now) == len(judged):
        return f"All domains are judged by this moment, {why}."
    who = f"{len(now)} of {counted(len(judged), 'domain')} {'is' if len(now) == 1 else 'are'}"
    why = why.replace("their", "its") if len(now) == 1 else why
    return f"{who} judged by this moment, {why}: {several(now, MOST_NAMED)}."


def _out_of_time(fleet: Fleet) -> str | None:
    """A sentence where clocks are wrong, or nothing is recorded any more; None where there is no history at all, as in
    the first runs of every fleet: that is no news, and ``cpu_by`` tells it."""
    snapshot = fleet.snapshot
    taken_at = None if snapshot.taken_at is None else parse(snapshot.taken_at)
    ends = [series.ends_at for series in histories(snapshot) if series.ends_at is not None]
    if not ends or taken_at is None:
        return None
    last = min(ends, key=lambda end: abs(end - taken_at))
    when = "before" if last < taken_at else "after"
    return (
        f"All domains are judged by this moment: their history ends at {clock(last, taken_at)}, "
        f"too long {when} the snapshot ({clock(taken_at, taken_at)})."
    )


def _problems(fleet: Fleet) -> list[str]:
    """What hosts say about histories that are shorter than was asked for: those that say the same, together."""
    found: dict[str, list[str]] = {}
    for host in fleet.hosts:
        if host.facts.state == "active" and host.facts.history_problem:
            found.setdefault(host.facts.history_problem, []).append(host.name)
    groups = sorted(found.items(), key=lambda group: -len(group[1]))
    told = [
        f"{several(hosts, MOST_NAMED)} {'has' if len(hosts) == 1 else 'have'} less history than requested. {why}"
        for why, hosts in groups[:_MOST_PROBLEMS]
    ]
    more = sum(len(hosts) for _why, hosts in groups[_MOST_PROBLEMS:])
    if more:
        has = "host has" if more == 1 else "hosts have"
        told.append(f"{more} more {has} less history than requested.")
    return told
