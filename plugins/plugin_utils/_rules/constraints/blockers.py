# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Blockers: observed obstacles to a live migration, unless the policy accepts them."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("blockers", scope="domain")
def blockers(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """All blockers are in accept_blockers."""
    found = [message for code, message in domain.facts.blockers if code not in fleet.policy.accept_blockers]
    return Reason("blockers", "; ".join(found)) if found else None
