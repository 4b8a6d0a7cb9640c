# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Drained hosts: all domains leave, and none comes."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("drained_host", scope="host", repair="leaves the drained host")
def drained_host(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """No domain belongs on a drained host."""
    return Reason("drained_host", f"{host.name} is drained") if host.drained else None
