# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter interrupted_restarts: a snapshot -> the restarts that somebody has to bring to their end."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document, plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.interrupted_restarts import (
    interrupted_restarts as find,
)


def interrupted_restarts(snapshot: t.Any, drained: t.Any = ()) -> list[dict[str, t.Any]]:
    """Find them, see the documentation beside this file."""
    try:
        return find(document(snapshot, "The snapshot"), plain(drained))
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"interrupted_restarts": interrupted_restarts}
