# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter unknown_variables: names of variables -> sentences about those that the collection does not have."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils import _role_variables


def unknown_variables(names: t.Any) -> list[str]:
    """Look, see the documentation beside this file."""
    return _role_variables.unknown_variables(str(names).split())


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"unknown_variables": unknown_variables}
