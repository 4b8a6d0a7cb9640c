# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What is wrong with the values of the role's variables, in one sentence and before any host is reached."""

from __future__ import annotations

import json
import re
import shlex
import typing as t
from collections.abc import Mapping

_NUMBER = re.compile(r"[0-9]+([.][0-9]+)?")


def stray_words(raw: object) -> str | None:
    """Return a sentence about the words that Ansible split off a value of -e at a space; null where there are none."""
    if raw is None:
        return None
    example = shlex.quote(json.dumps({"NAME": "a value"}))
    return f"What -e sets ends at a space, and here that leaves over: {raw}. Write it as JSON: -e {example}."


def wrong_value(numbers: Mapping[str, t.Any], history_source: object, prometheus: object) -> str | None:
    """Return a sentence about the first value that cannot be; null where there is none.

    ``numbers`` are variables that must be numbers of at least 0. What is typed after -e is text, so they are looked
    at as text.
    """
    for name, value in numbers.items():
        if not _NUMBER.fullmatch(str(value)):
            return f"{name} must be a number of at least 0, not {value}."
    if history_source not in ("agent", "prometheus"):
        return f"balance_history_source must be agent or prometheus, not {history_source}."
    url = prometheus.get("url") if isinstance(prometheus, Mapping) else None
    if history_source == "prometheus" and float(str(numbers.get("balance_history", 0))) > 0 and not url:
        return 'balance_prometheus must have the url of the server, such as {url: "https://prometheus.example.org"}.'
    return None
