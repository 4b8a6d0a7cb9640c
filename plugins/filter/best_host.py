# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter best_host: a snapshot and a domain that does not run yet -> where it goes best, and why not elsewhere."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document, plain
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.best_host import best_host as find


def best_host(snapshot: t.Any, domain: t.Any, policy: t.Any = None) -> t.Any:
    """Find it, see the documentation beside this file."""
    try:
        return find(document(snapshot, "The snapshot"), plain(domain), plain(policy))
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"best_host": best_host}
