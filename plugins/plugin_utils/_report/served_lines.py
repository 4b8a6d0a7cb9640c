# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The domains that get the least of the CPU that they want, as lines of a plan or an outcome."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._text import clean, padded, points, span, widest

Json = t.Mapping[str, t.Any]

_NAME, _HOST, _SHARE = 20, 19, 8
_TITLE = "WORST SERVED: how much of the CPU that they want they get"


def served_in_plan(plan: Json) -> list[str]:
    """The lines of a plan: now, over its history, and after its moves; [] = all domains get nearly all."""
    served = plan.get("served") or {}
    columns = [("NOW", "now")]
    if served.get("minutes") is not None:
        columns.append((f"LAST {span(served['minutes'])}".upper(), "past"))
    moves = any(wave["moves"] for wave in plan["waves"])
    if moves:
        columns.append(("AFTER", "after"))
    return _lines(_TITLE + ("; after the plan as projected" if moves else ""), served.get("worst") or (), columns)


def served_in_outcome(outcome: Json) -> list[str]:
    """The lines of an outcome: before and after, as observed; [] = all domains got and get nearly all."""
    worst = (outcome.get("served") or {}).get("worst") or ()
    return _lines(_TITLE, worst, [("BEFORE", "before"), ("AFTER", "after")])


def _lines(title: str, worst: t.Sequence[Json], columns: t.Sequence[tuple[str, str]]) -> list[str]:
    if not worst:
        return []
    names, ways = [clean(one["name"], _NAME) for one in worst], [_way(one) for one in worst]
    name, way = widest(names, least=len("DOMAIN")), widest(ways, least=len("HOST"))
    head = "".join(f"  {word:>{_SHARE}}" for word, _key in columns)
    lines = [title, f"  {padded('DOMAIN', name)}  {padded('HOST', way)}{head}"]
    for one, label, place in zip(worst, names, ways, strict=True):
        shares = "".join(f"  {_percent(one[key]):>{max(_SHARE, len(word))}}" for word, key in columns)
        lines.append(f"  {padded(label, name)}  {padded(place, way)}{shares}")
    return lines


def _way(one: Json) -> str:
    host, destination = clean(one["host"], _HOST), one.get("destination")
    return host if destination is None else f"{host} -> {clean(destination, _HOST)}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{points(share)} %"
