# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Refused before: a move that failed is not tried again at once, for whatever purpose; another one is taken meanwhile.

Drains and repairs wait too: what they cannot do without is tried again when the wait is over, or when the user says so.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("refused_before", scope="pair", when=lambda fleet: fleet.waits)
def refused_before(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """No move of the domain to the host failed, or the wait after that is over."""
    wait = fleet.waits.get((domain.facts.uuid, host.name))
    if wait is None or fleet.now is None:
        return None
    return Reason("refused_before", f"the move to {host.name} {wait.told(fleet.now)}")
