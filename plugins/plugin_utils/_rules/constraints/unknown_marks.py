# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Unreadable marks: no domain comes to a host if it is not known whether the host is drained.

Such a host is not levelled either, because its domains have to leave if it is drained. Domains leave it only where a
rule or the policy's drained_hosts require that in any case.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("unknown_marks", scope="host")
def unknown_marks(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """It is known that the host is not drained."""
    if host.facts.marks_problem is None:
        return None
    return Reason("unknown_marks", f"it is not known whether {host.name} is drained")
