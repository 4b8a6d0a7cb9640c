# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Blockers: what the observation says stops a live migration, unless the policy accepts it."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("blockers", scope="domain")
def blockers(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """No blocker but those in accept_blockers."""
    found = [message for code, message in domain.facts.blockers if code not in fleet.policy.accept_blockers]
    return Reason("blockers", "; ".join(found)) if found else None
