# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The outcome of a run as text for a terminal, in the form of the plan's table."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._report.plan_table import hosts_table
from ansible_collections.virtops.balance.plugins.plugin_utils._report.served_lines import served_in_outcome
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

Json = t.Mapping[str, t.Any]

_NAME = 24
_WORDS = {"stop": "shut down", "create": "create", "run": "tune"}
_ENDS = ("done", "unchanged", "skipped", "failed", "not_started")


def outcome_table(outcome: t.Any) -> str:
    """Return the outcome as lines of text, joined by newlines. Raises BalanceError if ``outcome`` is not one."""
    if not isinstance(outcome, Mapping) or any(key not in outcome for key in ("moves", "hosts", "count", "problem")):
        raise BalanceError("outcome_table needs an outcome as the outcome filter makes it.")
    check_schema(outcome.get("schema"), "The outcome")
    parts = [_headline(outcome)]
    if outcome["moves"] or outcome.get("steps") or outcome["problem"]:
        # If nothing was done, the table of the plan is enough.
        parts += [hosts_table(outcome), served_in_outcome(outcome)]
    if outcome["moves"]:
        parts.append(_moves(outcome["moves"]))
    if outcome.get("steps"):
        parts.append(_steps(outcome["steps"]))
    return "\n\n".join("\n".join(part) for part in parts if part)


def _headline(outcome: Json) -> list[str]:
    count = outcome["count"]
    steps = [step["outcome"] for step in outcome.get("steps") or ()]
    words = [f"{count['moved']} moved"] if count["moved"] or (outcome["moves"] and not count.get("restarted")) else []
    words += [f"{count['restarted']} restarted elsewhere"] if count.get("restarted") else []
    words += [f"{count[word]} {word.replace('_', ' ')}" for word in ("skipped", "failed", "not_started") if count[word]]
    words += [f"{counted(steps.count(word), 'step')} {word.replace('_', ' ')}" for word in _ENDS if word in steps]
    first = (
        "NOTHING HAD TO MOVE."
        if not outcome["moves"] and not steps
        else f"{'FAILED' if outcome['problem'] else 'DONE'}: {', '.join(words)}."
    )
    told, problem = (outcome.get("unknown_hosts") or {}).get("told"), outcome["problem"]
    # The problem begins with the domains that should run and do not: nothing is more urgent.
    texts = (problem, told, first) if outcome.get("not_running") else (told, first, problem)
    return [line for text in texts if text for line in wrapped(text, "")]


def _moves(moves: t.Sequence[Json]) -> list[str]:
    lines = [counted(len(moves), "move").upper()]
    names = widest(clean(move["name"], _NAME) for move in moves)
    ways = [f"{clean(move['source'], _NAME)} -> {clean(move['destination'], _NAME)}" for move in moves]
    longest = widest(ways)
    for move, way in zip(moves, ways, strict=True):
        name = padded(clean(move["name"], _NAME), names)
        line = f"  {name}  {padded(way, longest)}  {move['outcome'].replace('_', ' ')}"
        more = _figures(move) if move["outcome"] in ("moved", "restarted") else ""
        if columns(line) + columns(more) <= WIDTH:
            lines.append(line + more)
        else:
            lines += [line, *wrapped(more, "    ")]
        if move["outcome"] not in ("moved", "restarted"):
            lines += wrapped(move["reason"], "    ")
    return lines


def _figures(move: Json) -> str:
    shown = [("seconds", "{:.1f} s"), ("mib", "{:.0f} MiB"), ("downtime_ms", "downtime {:.0f} ms")]
    told = [form.format(move[key]) for key, form in shown if move.get(key) is not None]
    return f" in {', '.join(told)}" if told else ""


def _steps(steps: t.Sequence[Json]) -> list[str]:
    lines = [counted(len(steps), "step").upper()]
    names = widest(clean(step["name"], _NAME) for step in steps)
    hosts = widest(clean(step["host"], _NAME) for step in steps)
    for step in steps:
        what = f"{_WORDS.get(step['state'], clean(step['state'])):<9}  {padded(clean(step['name'], _NAME), names)}"
        lines.append(f"  {what}  {padded(clean(step['host'], _NAME), hosts)}  {step['outcome'].replace('_', ' ')}")
        if step["reason"]:
            lines += wrapped(step["reason"], "    ")
    return lines
