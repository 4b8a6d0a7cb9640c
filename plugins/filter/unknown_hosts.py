# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter unknown_hosts: a snapshot -> the hosts of which nothing is known, and whether enough others are left."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot import unknown_hosts as unknown
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot


def unknown_hosts(snapshot: t.Any, problem_as_data: bool = False) -> dict[str, t.Any]:
    """Look, see the documentation beside this file."""
    try:
        facts = Snapshot.from_mapping(document(snapshot, "The snapshot"))
        found = unknown.unknown_hosts(facts)
        few = unknown.too_few(facts)
    except BalanceError as error:
        if problem_as_data:
            return {"problem": str(error)}
        raise AnsibleFilterError(str(error)) from error
    return {**found, "problem": few and " ".join(filter(None, [found["told"], few]))}


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"unknown_hosts": unknown_hosts}
