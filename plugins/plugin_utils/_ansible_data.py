# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Converts data of Ansible to plain Python: its containers template lazily, and its texts have tags.

All data is converted once, so that each value is templated once and not at every access, and so that jmespath, which
checks exact types, sees plain texts.
"""

from __future__ import annotations

import json
import typing as t
from collections.abc import Mapping, Sequence

import yaml

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown


def plain(value: t.Any) -> t.Any:
    """A copy of JSON-like data made of exactly dict, list, str, int, float, bool and None."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {_text(key) if isinstance(key, str) else str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [plain(item) for item in value]
    return str(value)


def _text(value: str) -> str:
    """The text without its tags.

    Before 2.19 Ansible reads JSON in a variable as if it were Python, and a character that JSON has as two escapes,
    such as an emoji in a domain's name, is then two halves that nothing can print.
    """
    text = str.__str__(value)
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def document(value: t.Any, what: str) -> t.Any:
    """Plain data; a text is read as the JSON of it, which is how large documents travel through Ansible quickly."""
    if not isinstance(value, str):
        return plain(value)
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise BalanceError(f"{what} is a text that is not valid JSON: {error}.") from None


def settings(value: t.Any, what: str) -> dict[str, t.Any]:
    """A mapping of plain data; a text is read as the YAML of it, which is what people type; null is an empty one."""
    found = plain(value)
    if isinstance(found, str):
        try:
            found = plain(yaml.safe_load(found))
        except yaml.YAMLError as error:
            mark, reason = getattr(error, "problem_mark", None), getattr(error, "problem", None) or "it cannot be read"
            where = f" in line {mark.line + 1}" if mark else ""
            raise BalanceError(f"{what} is a text that is not valid YAML: {reason}{where}.") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BalanceError(
            f"{what} must be keys with their values, such as 'max_moves: 6', one a line, not {shown(found)}."
        )
    return found
