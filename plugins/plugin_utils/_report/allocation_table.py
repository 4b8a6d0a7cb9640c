# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The plan of an allocation as text for a terminal: at most 100 columns, no colour, the verdict first."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._report.plan_table import (
    not_asked_lines,
    not_running_lines,
    notes_lines,
    wave_lines,
)
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

MOST_DOMAINS = 60
_NAME = 24
_WORDS = {"stop": "shut down", "create": "create", "run": "tune"}


def allocation_table(plan: t.Any) -> str:
    """Return the plan of an allocation as lines of text, joined by newlines: what it does, and why.

    Raises BalanceError if ``plan`` is not such a plan.
    """
    needed = ("verdict", "why", "hosts", "waves", "steps", "domains", "refused", "notes")
    if not isinstance(plan, Mapping) or any(key not in plan for key in needed):
        raise BalanceError("allocation_table needs a plan as the allocation_plan filter makes it.")
    check_schema(plan.get("schema"), "The plan")
    parts = [_headline(plan), notes_lines(plan["notes"]), _hosts(plan["hosts"]), _domains(plan["domains"])]
    parts += [not_asked_lines(plan["waves"])]
    parts += [wave_lines(wave) for wave in plan["waves"]]
    parts += [_steps(plan["steps"]), _refused(plan["refused"])]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _headline(plan: Json) -> list[str]:
    moves = sum(len(wave["moves"]) for wave in plan["waves"])
    states = [step["state"] for step in plan["steps"]]
    if plan["verdict"] == "allocated":
        return [*not_running_lines(plan), "ALLOCATED: nothing to do.", *wrapped(plan["why"], "")]
    done = [counted(moves, "move")] if moves else []
    done += [f"{states.count(state)} to {word}" for state, word in _WORDS.items() if state in states]
    return [*not_running_lines(plan), f"ALLOCATE: {', '.join(done)}.", *wrapped(plan["why"], "")]


def _hosts(hosts: Json) -> list[str]:
    width = widest((clean(name, _NAME) for name in hosts), least=4)
    lines = [f"{'HOST':<{width}}  {'CORES':<16} {'MEMORY MIB':<18} {'DOMAINS':<8} WATTS"]
    for name in sorted(hosts):
        state, room = hosts[name]["state"], hosts[name]["allocated"]
        label = padded(clean(name, _NAME), width)
        if room is None:
            lines.append(f"{label}  takes no part ({clean(state)})")
            continue
        cores = f"{room['cpu_cores']:.2f} of {room['cpu_offered_cores']:.2f}"
        memory = f"{room['memory_mib']} of {room['memory_offered_mib']}"
        watts = "" if room["watts"] is None else f"{room['watts']:.0f}"
        lines.append(f"{label}  {cores:<16} {memory:<18} {len(room['domains']):<8} {watts}".rstrip())
    return lines


def _domains(domains: Json) -> list[str]:
    """A line for each domain. If there are too many, domains that change come first."""
    changed = [name for name, told in domains.items() if _changes(told)]
    rest = [name for name in domains if name not in set(changed)]
    shown = sorted((changed + rest)[:MOST_DOMAINS])
    if not shown:
        return []
    width = widest((clean(name, _NAME) for name in shown), least=6)
    lines = [f"{'DOMAIN':<{width}}  {'HOST':<28} {'CORES':>6}  {'WEIGHT':<12} CAP %"]
    for name in shown:
        told = domains[name]
        cores = "" if told["cpu_cores"] is None else f"{told['cpu_cores']:.2f}"
        line = (
            f"{padded(clean(name, _NAME), width)}  {padded(_change(told['host'], 'nowhere'), 28)} {cores:>6}  "
            f"{_change(told['weight'], '-'):<12} {_change(told['cap'], '-')}"
        )
        lines.append(line.rstrip())
    if len(domains) > len(shown):
        lines.append(f"… and {len(domains) - len(shown)} more")
    return lines


def _changes(told: Json) -> bool:
    return any(_change(told[key], "-").find(" -> ") >= 0 for key in ("host", "weight", "cap"))


def _change(pair: Json, nothing: str) -> str:
    before, after = (_shown(pair[key], nothing) for key in ("before", "after"))
    return after if before == after else f"{before} -> {after}"


def _shown(value: t.Any, nothing: str) -> str:
    if value is None:
        return nothing
    return f"{value:g}" if isinstance(value, (int, float)) else clean(value, 12)


def _steps(steps: t.Sequence[Json]) -> list[str]:
    """Domains that are created or shut down; weights and caps are in the table of domains."""
    steps = [step for step in steps if step["state"] != "run"]
    if not steps:
        return []
    lines = ["CREATE AND SHUT DOWN"]
    names = widest(clean(step["name"], _NAME) for step in steps)
    hosts = widest(clean(step["host"], _NAME) for step in steps)
    for step in steps[:MOST_DOMAINS]:
        line = (
            f"  {_WORDS[step['state']]:<9}  {padded(clean(step['name'], _NAME), names)}  "
            f"{padded(clean(step['host'], _NAME), hosts)}"
        )
        why = clean(step["why"])
        lines += [f"{line}  {why}"] if columns(line) + 2 + columns(why) <= WIDTH else [line, *wrapped(why, "      ")]
    if len(steps) > MOST_DOMAINS:
        lines.append(f"… and {len(steps) - MOST_DOMAINS} more")
    return lines


def _refused(refused: t.Sequence[Json]) -> list[str]:
    """Domains that do not get what the allocation asks for."""
    lines = ["NOT ALLOCATED"] if refused else []
    for wish in refused[:MOST_DOMAINS]:
        place = f" on {clean(wish['host'], _NAME)}" if wish["host"] is not None else ""
        messages = "; ".join(reason["message"] for reasons in wish["reasons"].values() for reason in reasons)
        lines += wrapped(f"{clean(wish['name'], _NAME)}{place}: {messages}", "  ")
    if len(refused) > MOST_DOMAINS:
        lines.append(f"… and {len(refused) - MOST_DOMAINS} more")
    return lines
