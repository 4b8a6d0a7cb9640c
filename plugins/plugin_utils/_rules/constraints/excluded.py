# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Excluded domains: the policy's include and exclude."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("excluded", scope="domain")
def excluded(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The policy includes the domain and does not exclude it."""
    return Reason("excluded", domain.excluded) if domain.excluded else None
