# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter drain_objections: a snapshot and hosts to drain -> what stands against it."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document, plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.draining import objections


def drain_objections(snapshot: t.Any, hosts: t.Any, policy: t.Any = None) -> list[str]:
    """Look, see the documentation beside this file."""
    try:
        return objections(document(snapshot, "The snapshot"), plain(hosts), plain(policy))
    except BalanceError as error:
        # What cannot be looked at cannot be carried out either.
        return [str(error)]


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"drain_objections": drain_objections}
