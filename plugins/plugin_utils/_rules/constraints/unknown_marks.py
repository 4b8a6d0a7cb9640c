# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Hosts of which nobody knows whether they are drained: nothing arrives.

Such a host is not levelled either: what it carries has to leave if it is drained, and to be levelled if it is not.
What holds either way does leave: where a rule or the policy's drained_hosts want it.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("unknown_marks", scope="host")
def unknown_marks(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """Only a host that is known not to be drained."""
    if host.facts.marks_problem is None:
        return None
    return Reason("unknown_marks", f"nobody knows whether {host.name} is drained")
