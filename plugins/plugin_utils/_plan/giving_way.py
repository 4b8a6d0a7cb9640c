# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Limits that give way in a plan, because a domain has to leave its host and no host has room for it within them."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._text import counted

Json = t.Mapping[str, t.Any]

MOST_NOTED = 10
WISH = "a wish"
"""How the message about a wish begins, see Rules.unkept."""

_MORE = 0.1
"""A limit that gave way in a plan may be passed by so much more of it later: the load is never the same twice."""


def passed(rules: Rules, domain: ProjectedDomain, host: ProjectedHost) -> list[Reason]:
    """The limits that a domain passes which moves to the host, and the wishes that would not come true there but come
    true where it is now."""
    limits = [reason for reason in rules.reasons(domain, host) if reason.excess is not None]
    before = {wish.constraint: wish.excess or 0.0 for wish in rules.unkept(domain, domain.host)}
    wishes = rules.unkept(domain, host)
    return limits + [wish for wish in wishes if (wish.excess or 0.0) > before.get(wish.constraint, 0.0)]


def notes(fleet: Fleet, rules: Rules, forced: t.Iterable[str], moves: t.Iterable[Json] = ()) -> list[str]:
    """A note for each limit that is passed on a host in the end, and for each wish that does not come true there.

    ``forced``: the UUIDs of the domains that had to go beyond limits; the fleet is as it is after the moves. ``moves``
    are those of the plan: who passes a limit depends on their order, and where they say it, the note names the same.
    """
    said: dict[tuple[str, str], list[str]] = {}
    by_limit: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for move in moves:
        for one in move.get("gives_way") or ():
            key = (one["constraint"], move["destination"])
            said.setdefault(key, []).append(move["name"])
            if one["message"].startswith(WISH):
                by_limit[key] = (one["message"].capitalize(), list(said[key]))
    for domain in sorted((fleet[uuid] for uuid in forced), key=lambda one: one.index):
        host = domain.host
        if not domain.moved:
            continue
        fleet.release(domain, host)
        reasons = [reason for reason in rules.reasons(domain, host) if reason.excess is not None]
        fleet.occupy(domain, host)
        for reason in reasons:
            by_limit.setdefault((reason.constraint, host.name), (reason.message, []))[1].append(domain.name)
    told = []
    for key, (message, names) in by_limit.items():
        who = names if not said.get(key) or set(said[key]) & set(names) else said[key]
        told.append(f"{message}. That {_kind(message)} gives way, because {_nowhere(who)}.")
    return told[:MOST_NOTED] + ([f"Limits give way on {len(told) - MOST_NOTED} more hosts."] * (len(told) > MOST_NOTED))


def _kind(message: str) -> str:
    return "wish" if message.lower().startswith(WISH) else "limit"


def _nowhere(names: list[str]) -> str:
    who = names[0] + (f" and {counted(len(names) - 1, 'more domain')}" if len(names) > 1 else "")
    return f"{who} had to leave, and no host had room within all limits"


def refuses_now(rules: Rules, domain: ProjectedDomain, host: ProjectedHost, move: Json) -> Reason | None:
    """The first reason against the domain on the host between moves, but for the limits that give way in this move of a
    plan and are not passed by much more than it says."""
    found = rules.passed(domain, host, between=True)
    return rules.refuses_now(domain, host) if found is None else beyond(found, move)


def beyond(reasons: t.Iterable[Reason], move: Json) -> Reason | None:
    """The first of the reasons that the move of a plan does not say gives way, or not by that much."""
    limits = {one["constraint"]: float(one["excess"]) for one in move.get("gives_way") or ()}
    for reason in reasons:
        if reason.excess is None or reason.excess > limits.get(reason.constraint, -1.0) + _MORE:
            return reason
    return None
