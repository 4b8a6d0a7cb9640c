# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filter snapshot: observations of hosts -> one snapshot of the fleet."""

from __future__ import annotations

import json
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_data import document
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.build import build_snapshot


def snapshot(
    observations: t.Any,
    groups: t.Any = None,
    tags: t.Any = None,
    migration_uris: t.Any = None,
    may_sleep: t.Any = None,
    power_models: t.Any = None,
    power_states: t.Any = None,
    histories: t.Any = None,
    leases: t.Any = None,
    last_states: t.Any = None,
    as_json: bool = False,
) -> dict[str, t.Any] | str:
    """Join observations, see the documentation beside this file."""
    try:
        found = build_snapshot(
            document(observations, "Observations"),
            groups=document(groups, "groups"),
            tags=document(tags, "tags"),
            migration_uris=document(migration_uris, "migration_uris"),
            may_sleep=document(may_sleep, "may_sleep"),
            power_models=document(power_models, "power_models"),
            power_states=document(power_states, "power_states"),
            histories=document(histories, "histories"),
            leases=document(leases, "leases"),
            last_states=document(last_states, "last_states"),
        )
    except BalanceError as error:
        raise AnsibleFilterError(str(error)) from error
    return json.dumps(found) if as_json else found


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"snapshot": snapshot}
