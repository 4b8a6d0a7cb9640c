# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter drain_left: a plan and a snapshot that was taken after it -> what is still on drained hosts."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document, plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.draining import left


def drain_left(plan: t.Any, snapshot: t.Any, hosts: t.Any) -> list[str]:
    """Look, see the documentation beside this file."""
    try:
        return left(document(plan, "The plan"), document(snapshot, "The snapshot"), plain(hosts))
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"drain_left": drain_left}
