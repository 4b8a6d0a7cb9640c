# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Domains in flight: a domain with a libvirt job or a migration under way is not moved."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("in_flight", scope="domain")
def in_flight(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """No job and no migration is under way."""
    if domain.facts.destination is not None:
        return Reason("in_flight", f"is being migrated to {domain.facts.destination}")
    if domain.facts.job is not None:
        return Reason("in_flight", f"has a job under way ({domain.facts.job.get('operation') or 'of an unknown kind'})")
    return None
