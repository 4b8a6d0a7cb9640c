# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The plan as text for a terminal: at most 100 columns, no colour, the verdict first."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._report.served_lines import served_in_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import check_schema
from ansible_collections.virtops.balance.plugins.plugin_utils._text import (
    WIDTH,
    clean,
    columns,
    counted,
    padded,
    widest,
    wrapped,
)

MOST_HOSTS = 40
_BAR = 10
_NAME = 24
_CONTENT = {"consolidate": "CONSOLIDATED"}
"""The word for a fleet in which a strategy has nothing to do, if it is not BALANCED."""

Json = t.Mapping[str, t.Any]


def plan_table(plan: t.Any) -> str:
    """Return a plan as lines of text, joined by newlines: what it does, and why.

    Raises BalanceError if ``plan`` is not a plan.
    """
    needed = ("verdict", "why", "hosts", "waves", "refused", "notes", "score")
    if not isinstance(plan, Mapping) or any(key not in plan for key in needed):
        raise BalanceError("plan_table needs a plan as the plan filter makes it.")
    check_schema(plan.get("schema"), "The plan")
    parts = [_headline(plan), notes_lines(plan["notes"]), hosts_table(plan), served_in_plan(plan)]
    parts += [_power("WAKE FIRST, then plan again", plan.get("wake"))]
    parts += [_inside(plan.get("inside"))]
    parts += [not_asked_lines(plan["waves"])]
    parts += [wave_lines(wave) for wave in plan["waves"]]
    parts += [_restarts(plan.get("restarts"))]
    parts += [_power("PUT TO SLEEP at the end", plan.get("sleep"))]
    parts += [_refused(plan["refused"])]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _headline(plan: Json) -> list[str]:
    moves = [move for wave in plan["waves"] for move in wave["moves"]]
    if plan["verdict"] == "move":
        seconds, mib = sum(wave["seconds"] for wave in plan["waves"]), sum(wave["mib"] for wave in plan["waves"])
        waves = counted(len(plan["waves"]), "wave")
        first = f"MOVE {counted(len(moves), 'domain')} in {waves}: about {_duration(seconds)}, {_size(mib)} to copy."
        restarts = counted(len(plan.get("restarts") or ()), "domain")
        if plan.get("restarts"):
            first = f"{first} RESTART {restarts} elsewhere." if moves else f"RESTART {restarts} elsewhere."
        if _powers(plan):
            first = f"{first} POWER: {_powers(plan)}."
    else:
        first = {
            "balanced": f"{_CONTENT.get(str(plan.get('strategy')), 'BALANCED')}: nothing to move.",
            "hold": "WAITING: nothing moves yet.",
            "small_gain": "NOTHING TO MOVE: the gain is too small.",
            "stuck": "STUCK: nothing can be moved.",
            "inside": "INSIDE HOSTS: nothing to move for now.",
            "power": f"POWER: {_powers(plan)}.",
        }.get(plan["verdict"], clean(plan["verdict"]))
    return [*not_running_lines(plan), *wrapped(first, ""), *wrapped(plan["why"], "")]


def not_running_lines(plan: Json) -> list[str]:
    """The domains that should run and do not; they come before everything else. [] = there are none."""
    return [line for found in plan.get("not_running") or () for line in wrapped(found["why"], "")]


def _powers(plan: Json) -> str:
    acts = [("wake", plan.get("wake") or ()), ("put to sleep", plan.get("sleep") or ())]
    return " and ".join(f"{word} {counted(len(hosts), 'host')}" for word, hosts in acts if hosts)


def _power(title: str, acts: t.Sequence[Json] | None) -> list[str]:
    if not acts:
        return []
    lines = [title]
    for act in acts:
        lines += wrapped(f"{clean(act['host'], _NAME)}: {act['why']}", "  ")
    return lines


def _restarts(restarts: t.Sequence[Json] | None) -> list[str]:
    if not restarts:
        return []
    lines = ["SHUT DOWN AND START ELSEWHERE, after all moves"]
    for found in restarts:
        way = f"{clean(found['source'], _NAME)} -> {clean(found['destination'], _NAME)}"
        lines += wrapped(f"{clean(found['name'], _NAME)}  {way}: {found['why']}", "  ")
    return lines


def _inside(actions: t.Sequence[Json] | None) -> list[str]:
    if not actions:
        return []
    lines = ["INSIDE HOSTS, before anything moves"]
    for act in actions:
        lines += wrapped(f"{clean(act['host'], _NAME)}: {act['action']}. {act['why']}", "  ")
    return lines


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _size(mib: float) -> str:
    return f"{mib:.0f} MiB" if mib < 10240 else f"{mib / 1024:.0f} GiB"


def hosts_table(document: Json) -> list[str]:
    """Return the table of a plan or an outcome: a line for each host, before -> after, and one for the whole fleet.

    If there are too many hosts, those that changed come first.
    """
    hosts = document["hosts"]
    changed = [name for name, host in hosts.items() if host["before"] != host["after"]]
    rest = sorted((name for name in hosts if name not in set(changed)), key=lambda name: -_load(hosts[name]))
    shown = sorted((changed + rest)[:MOST_HOSTS])
    width = widest((clean(name, _NAME) for name in shown), least=4)
    lines = [f"{'HOST':<{width}}  {'CPU %':<24} {'MEMORY %':<24} DOMAINS"]
    for name in shown:
        before, after, label = hosts[name]["before"], hosts[name]["after"], padded(clean(name, _NAME), width)
        state = "" if hosts[name]["state"] == "active" else f"  {clean(hosts[name]['state'])}"
        if before is None or after is None:
            lines.append(f"{label}{state or '  load not known'}")
            continue
        domains = f"{before['domains']:3d}" + (
            f" ->{after['domains']:3d}" if after["domains"] != before["domains"] else ""
        )
        cpu, memory = _change(before["cpu"], after["cpu"]), _change(before["memory"], after["memory"])
        line = f"{label}  {cpu} {memory} {domains}{state}"
        lines.append(line.rstrip())
    if len(hosts) > len(shown):
        lines.append(f"… and {len(hosts) - len(shown)} more")
    score, watts = document["score"], document.get("watts")
    if watts is not None:
        lines.append(f"{'power':<{width}}  {watts['before']:.0f} -> {watts['after']:.0f} W ({clean(watts['source'])})")
    if document.get("strategy") not in ("consolidate", "drain"):  # their aim is not that hosts are alike
        lines.append(
            f"{'score':<{width}}  {score['before']:.3f} -> {score['after']:.3f} "
            "(0 = all hosts alike, below every limit)"
        )
    # A run that moves nothing is told in few lines.
    if document.get("cpu_by") and document["waves"]:
        lines += wrapped(f"CPU % is {document['cpu_by']}.", "")
    return lines


def _load(host: Json) -> float:
    return 0.0 if host["after"] is None else host["after"]["cpu"] + host["after"]["memory"]


def _change(before: float, after: float) -> str:
    """Percent before and after, and a bar for the value after; 23 columns."""
    full = min(_BAR, round(max(0.0, after) * _BAR))
    level = f"[{'#' * full}{'.' * (_BAR - full)}]"
    first, second = f"{before * 100:.0f}", f"{after * 100:.0f}"
    return f"{first:>3} ->{second:>4} {level}".ljust(24) if first != second else f"{second:>10} {level}".ljust(24)


def wave_lines(wave: Json) -> list[str]:
    moves = wave["moves"]
    cost = f"about {_duration(wave['seconds'])}, {_size(wave['mib'])}"
    lines = [f"WAVE {wave['number']}: {counted(len(moves), 'move')}, {cost}"]
    names = widest(clean(move["name"], _NAME) for move in moves)
    ways = [f"{clean(move['source'], _NAME)} -> {clean(move['destination'], _NAME)}" for move in moves]
    longest = widest(ways)
    for move, way in zip(moves, ways, strict=True):
        cost = f"{move['cost']['mib']:.0f} MiB {move['cost']['seconds']:.1f} s"
        line = f"{move['number']:4d}  {padded(clean(move['name'], _NAME), names)}  {padded(way, longest)}"
        why = clean(move["why"])
        if columns(line) + 20 + columns(why) <= WIDTH:
            lines.append(f"{line}  {cost:>16}  {why}")
        elif columns(line) + 18 <= WIDTH:
            lines += [f"{line}  {cost:>16}", *wrapped(why, "      ")]
        else:
            lines += [line, *wrapped(f"{cost}, {why}", "      ")]
        figures = (move.get("figures") or {}).get("told")
        if figures:
            lines += wrapped(figures, "      ")
        if move["limits"]:
            lines += wrapped(f"not elsewhere or earlier: {_messages(move['limits'])}", "      ")
        if move.get("gives_way"):
            lines += wrapped(f"gives way: {_messages(move['gives_way'])}", "      ")
        if move.get("not_known") and move.get("agreed") is None:
            lines += wrapped(f"could not be asked: {'; '.join(map(str, move['not_known']))}", "      ")
    return lines


def not_asked_lines(waves: t.Sequence[Json]) -> list[str]:
    """Return one line where the plan has moves and no host was asked about any of them."""
    moves = [move for wave in waves for move in wave["moves"]]
    if not moves or any(move.get("agreed") is not None or move.get("not_known") for move in moves):
        return []
    return wrapped("NOT ASKED: no host was asked whether these moves can be made.", "")


def _refused(refused: t.Sequence[Json]) -> list[str]:
    if not refused:
        return []
    lines = ["NOT MOVED"]
    for wish in refused:
        label = f"{clean(wish['name'], _NAME)} on {clean(wish['host'], _NAME)}"
        reasons = wish["reasons"]
        if list(reasons) == ["*"]:
            lines += wrapped(f"{label}: {_messages(reasons['*'])}", "  ")
            continue
        lines.append(f"  {label}")
        for host, why in reasons.items():
            lines += wrapped(f"{clean(host, _NAME)}: {_messages(why)}", "    ")
    return lines


def _messages(reasons: t.Sequence[Json]) -> str:
    return "; ".join(str(reason["message"]) for reason in reasons)


def notes_lines(notes: t.Sequence[str]) -> list[str]:
    return ["NOTES", *(line for note in notes for line in wrapped(note, "  "))] if notes else []
