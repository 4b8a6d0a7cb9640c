# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Unknown hosts: no domain moves to a host that is asleep, did not answer, or has an unknown load."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("unknown_host", scope="host")
def unknown_host(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The host answered and its load is known."""
    if not host.facts.answers:
        return Reason("unknown_host", f"{host.name} is {host.facts.state}")
    return None if host.known else Reason("unknown_host", f"the load of {host.name} is not known")
