# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter plan_objections: a plan of earlier and the fleet as it is now -> what stands against carrying it out."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.revalidate import objections


def plan_objections(plan: t.Any, snapshot: t.Any) -> list[str]:
    """Look, see the documentation beside this file."""
    try:
        return objections(document(plan, "The approved plan"), document(snapshot, "The snapshot"))
    except BalanceError as error:
        # What cannot be looked at cannot be carried out either.
        return [str(error)]


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"plan_objections": plan_objections}
