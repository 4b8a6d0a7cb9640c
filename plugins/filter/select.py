# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter select: domains of an overloaded host -> the one that is to leave."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._selection import registry as _selections


def select(
    candidates: t.Any, selection: t.Any = _selections.FALLBACK, parameters: t.Any = None, state: t.Any = None
) -> dict[str, t.Any]:
    """Select, see the documentation beside this file."""
    try:
        found = _selections.select(
            _selections.candidates_from(plain(candidates)), plain(selection), plain(parameters), state=plain(state)
        )
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error
    return found._asdict()


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"select": select}
