# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Which domains each host has, by name: what a person compares before and after."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._model import Snapshot


def residents(snapshot: t.Any, plan: t.Mapping[str, t.Any] | None = None) -> dict[str, list[str]]:
    """Host -> sorted names of its domains, as the snapshot has them or, with a plan, as they will be.

    Raises SnapshotError for a bad snapshot.
    """
    facts = Snapshot.from_mapping(snapshot)
    host_of = {uuid: domain.host for uuid, domain in facts.domains.items()}
    for wave in (plan or {}).get("waves", ()):
        host_of.update({move["domain"]: move["destination"] for move in wave["moves"]})
    names: dict[str, list[str]] = {host: [] for host in sorted(facts.hosts)}
    for uuid, host in host_of.items():
        names[host].append(facts.domains[uuid].name)
    return {host: sorted(found) for host, found in names.items()}
