# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What the callback brief says: the phases of a run, and one message for each failure. Text and numbers only."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._text import clean, padded

BALANCE_ROLE = "virtops.balance.balance"
PHASES = {
    "check": "prepare",
    "check_named": "prepare",
    "start": "prepare",
    "lease": "lease",
    "observe": "observe",
    "load": "load",
    "plan": "plan",
    "approved": "plan",
    "allocate": "plan",
    "wake": "wake",
    "finish": "repair",
    "remember": "remember",
    "inside": "inside",
    "migrate": "migrate",
    "wave": "migrate",
    "restart": "restart",
    "states": "states",
    "report": "verify",
    "sleep": "sleep",
    "end_lease": "release",
}
"""Task files of the role balance, and the phase that begins with each. Other files belong to the phase around them."""

ON_CONTROL_NODE = ("load", "plan")
"""Phases that have a line although nothing is done on a host."""

# The names of files with the part of a phase that each host does end with this.
_PART = "_on_host"
_LABEL = 12
_NO_MESSAGE = "it failed without a message"
# What versions of Ansible put before the message of a task.
_PREFIXES = ("Task failed: ", "Action failed: ", "Module failed: ")
_SOURCE = "\n\nThe error appears to be in '"
_OUTPUTS = ("module_stderr", "module_stdout", "stderr", "stdout")

Result = t.Mapping[str, t.Any]


class Place(t.NamedTuple):
    """A file of tasks. role: the full name of its role, None = no role. file: its name without the suffix."""

    role: str | None
    file: str


def phase_of(places: t.Sequence[Place], given: object = None) -> str | None:
    """Return the name of the phase of a task; None if it belongs to the phase before it.

    places: the file of the task and the files that include it, from the inside out. given: the variable
    ``balance_phase`` of the task or a block around it, which has priority.
    """
    if isinstance(given, str) and given.strip() and "{{" not in given:
        return clean(given.strip())
    files = [at.file.removesuffix(_PART) for at in reversed(places) if at.role == BALANCE_ROLE]
    return next((PHASES[file] for file in files if file in PHASES), None)


def timed(label: str, seconds: float) -> str:
    """Return a line with a label and its time, such as 'observe          3.1 s'."""
    return f"{padded(clean(label), _LABEL)} {duration(seconds):>9}"


def duration(seconds: float) -> str:
    """Return a time as 3.1 s, 2 min 5 s or 1 h 20 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def named(hosts: t.Collection[str], most: int = 5) -> str:
    """Return the names of the hosts, or their number if there are more than ``most``."""
    return ", ".join(map(clean, hosts)) if len(hosts) <= most else f"{len(hosts)} hosts"


def message(result: Result) -> str:
    """Return all that a result says about its failure: its message, and the output of a program that failed."""
    first = result.get("msg") or result.get("reason") or result.get("censored")
    parts = [_plain(lines_of(first))] if first else []
    parts += [text for text in (lines_of(result.get(key) or "") for key in _OUTPUTS) if text]
    shown: list[str] = []
    for part in parts:
        if not any(squeezed(part) in squeezed(other) for other in shown):
            shown.append(part)
    return "\n".join(shown) or _NO_MESSAGE


def _plain(text: str) -> str:
    """Return the message without the words and lines of the playbook that versions of Ansible put around it."""
    text = text.partition(_SOURCE)[0].rstrip()
    for prefix in _PREFIXES:
        text = text.removeprefix(prefix)
    return text


def lines_of(text: object) -> str:
    """Return a text of several lines in a form that cannot harm a terminal."""
    lines = text if isinstance(text, list) else str(text).expandtabs().splitlines()
    return "\n".join(clean(line) for line in lines).strip()


def squeezed(text: str) -> str:
    """Return the text without white space, to find it in a table in which it was wrapped."""
    return "".join(text.split())
