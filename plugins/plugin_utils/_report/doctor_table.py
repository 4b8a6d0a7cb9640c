# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The report of the doctor as text for a terminal."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.shapes import report_problem
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._text import (
    NAME_WIDTH,
    WIDTH,
    clean,
    padded,
    shown,
    widest,
    wrapped,
)

Json = Mapping[str, t.Any]

# Up to so many hosts there is a space between the columns of the matrix.
_MOST_SPACED = 30
_KEYS = frozenset(("verdict", "hosts", "matrix", "legend", "problems", "warnings", "notes", "cpus"))
_SIGNS = {".": "well", "?": "not known", "-": "the host itself"}


def doctor_table(report: Json) -> str:
    """The verdict first, then the hosts, the matrix, and what to do about each cell that is not well.

    Raises BalanceError for what is no report.
    """
    if not isinstance(report, Mapping) or not set(report) >= _KEYS:
        raise BalanceError(f"The report must be one of the filter doctor_report, not {shown(report)}.")
    problem = report_problem(report)
    if problem is not None:
        raise BalanceError(f"The report must be one of the filter doctor_report, and {problem}.")
    blocks = [
        wrapped(report["verdict"], ""),
        _hosts(report["hosts"]),
        _matrix(report),
        _sentences("PROBLEMS: these make moves fail", report["problems"], first=1),
        _sentences("WARNINGS", report["warnings"], first=1 + len(report["problems"])),
        ["NOTES", *(line for note in report["notes"] for line in wrapped(note, "  "))] if report["notes"] else [],
        _cpus(report["cpus"]),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _hosts(hosts: Sequence[Json]) -> list[str]:
    digits = len(str(len(hosts)))
    rows = [
        [
            f"{number:{digits}d}",
            clean(host["name"], NAME_WIDTH),
            *(
                ["no answer"]
                if host["problem"]
                else [
                    _or_unknown(host["version"] and f"{clean(host['hypervisor'])} {clean(host['version'])}"),
                    _or_unknown(host["libvirt_version"]),
                    _or_unknown(host["cpu"]),
                    _or_unknown(host["available_mib"]),
                    _or_unknown(host["guests"]),
                    _or_unknown(None if host["clock_seconds"] is None else _seconds(host["clock_seconds"])),
                ]
            ),
        ]
        for number, host in enumerate(hosts, 1)
    ]
    head = ["", "HOST", "HYPERVISOR", "LIBVIRT", "CPU", "FREE MIB", "GUESTS", "CLOCK"]
    # A host that does not answer has no figures, and its reason may be long.
    whole = [row for row in [head, *rows] if len(row) == len(head)]
    widths = [widest(row[place] for row in whole) for place in range(len(head))]
    widths[:2] = [widest(row[place] for row in [head, *rows]) for place in (0, 1)]
    return ["  ".join(padded(*pair) for pair in zip(row, widths, strict=False)).rstrip() for row in [head, *rows]]


def _seconds(offset: float) -> str:
    return f"{offset:+.0f} s" if round(offset) else "0 s"


def _or_unknown(value: t.Any) -> str:
    return "?" if value is None else clean(value, NAME_WIDTH)


def _matrix(report: Json) -> list[str]:
    names = list(report["matrix"])
    digits = len(str(len(names)))
    labels = [f"{number:{digits}d} {clean(name, NAME_WIDTH)}" for number, name in enumerate(names, 1)]
    head = "FROM \\ TO"
    width = widest([head, *labels])
    space = " " if len(names) <= _MOST_SPACED else ""
    at_once = (WIDTH - width - 2) // (1 + len(space))
    lines = []
    for start in range(0, len(names), at_once):
        part = names[start : start + at_once]
        numbers = [f"{number:{digits}d}" for number in range(start + 1, start + 1 + len(part))]
        for digit in range(digits):
            title = head if digit == digits - 1 else ""
            lines.append(f"{title:<{width}}  {space.join(number[digit] for number in numbers)}".rstrip())
        for label, name in zip(labels, names, strict=True):
            cells = space.join(report["matrix"][name][other] for other in part)
            lines.append(f"{padded(label, width)}  {cells}")
    return [*lines, *_legend(report)]


def _legend(report: Json) -> list[str]:
    used = {cell for row in report["matrix"].values() for cell in row.values()}
    signs = [f"{sign} {meaning}" for sign, meaning in _SIGNS.items() if sign in used]
    letters = [f"{letter} {name}" for letter, name in report["legend"].items() if used & {letter, letter.lower()}]
    small = ["small letter: only a warning"] if any(cell.islower() for cell in used) else []
    return wrapped("; ".join([*signs, *letters, *small]), "")


def _sentences(title: str, found: Sequence[Json], *, first: int) -> list[str]:
    if not found:
        return []
    lines = [title]
    for number, entry in enumerate(found, first):
        end = ":" if entry["commands"] else "."
        lines += wrapped(f"{number:2d} {entry['topic']} {entry['sentence']}{end}", "  ")
        # Never broken into two, so that they can be copied.
        lines += [f"       {clean(command)}" for command in entry["commands"]]
    return lines


def _cpus(found: Sequence[Json]) -> list[str]:
    lines = []
    for entry in found:
        hosts = ", ".join(entry["hosts"])
        if entry["xml"] is None:
            lines += wrapped(f"BEST COMMON CPU of {hosts}: not known ({entry['problem']}).", "")
            continue
        lines += wrapped(f"BEST COMMON CPU of {hosts}, for guests that are to move between them (virsh edit):", "")
        lines += [f"  {clean(line)}" for line in entry["xml"].splitlines()]
    return lines
