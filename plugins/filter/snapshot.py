# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Filters that make a snapshot of the fleet and read one."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._ansible_filter import (
    Filter,
    as_filter,
    json_of,
    mapping_of,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot import unknown_hosts as unknown
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.build import build_snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.domains_by_host import (
    residents as list_residents,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.interrupted_restarts import (
    interrupted_restarts as find_interrupted_restarts,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot


@as_filter(
    observations=json_of("Observations"),
    groups=mapping_of("groups"),
    tags=mapping_of("tags"),
    migration_uris=mapping_of("migration_uris"),
    may_sleep=json_of("may_sleep"),
    power_models=mapping_of("power_models"),
    power_states=mapping_of("power_states"),
    histories=mapping_of("histories"),
    leases=mapping_of("leases"),
    last_states=mapping_of("last_states"),
    speeds=mapping_of("speeds"),
)
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
    speeds: t.Any = None,
    as_json: bool = False,
) -> dict[str, t.Any] | str:
    """Join the observations of all hosts into one snapshot."""
    found = build_snapshot(
        observations,
        groups=groups,
        tags=tags,
        migration_uris=migration_uris,
        may_sleep=may_sleep,
        power_models=power_models,
        power_states=power_states,
        histories=histories,
        leases=leases,
        last_states=last_states,
        speeds=speeds,
    )
    return json.dumps(found) if as_json else found


@as_filter(snapshot=json_of("The snapshot"), plan=mapping_of("The plan"))
def residents(snapshot: t.Any, plan: t.Any = None, tuning: bool = False) -> dict[str, list[str]]:
    """List the domains of each host, now or after a plan."""
    return list_residents(snapshot, plan, tuning=tuning)


@as_filter(snapshot=json_of("The snapshot"))
def interrupted_restarts(snapshot: t.Any, drained: t.Any = ()) -> list[dict[str, t.Any]]:
    """Find restarts between hosts that were interrupted."""
    return find_interrupted_restarts(snapshot, drained)


@as_filter(snapshot=json_of("The snapshot"), problem_as_data=True)
def unknown_hosts(snapshot: t.Any) -> dict[str, t.Any]:
    """Name the hosts of which nothing is known, and say whether enough others are left."""
    facts = Snapshot.from_mapping(snapshot)
    found, few = unknown.unknown_hosts(facts), unknown.too_few(facts)
    problem = few and " ".join(filter(None, [found["told"], few]))
    return {**found, "problem": problem, "shown": unknown.too_few_shown(facts)}


class FilterModule:
    """Filters of snapshots."""

    def filters(self) -> dict[str, Filter]:
        """Return the filters by name."""
        return {
            "snapshot": snapshot,
            "residents": residents,
            "interrupted_restarts": interrupted_restarts,
            "unknown_hosts": unknown_hosts,
        }
