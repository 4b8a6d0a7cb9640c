# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Unknown maximum: no domain comes to a host with a domain of which nobody knows how far its memory may grow.

Memory is promised by the maximum of every domain, so such a host has an unknown amount left. With memory_overcommit
above 1 the policy accepts more promises than there is memory, and the domain counts with what it uses.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


def _unknown(fleet: Fleet) -> bool:
    return fleet.policy.memory_overcommit <= 1.0 and any(host.unlimited for host in fleet.hosts)


@constraint("unknown_maximum", scope="pair", when=_unknown)
def unknown_maximum(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The maximum memory of every domain on the host is known. A domain in huge pages takes none of that memory."""
    if not host.unlimited or host is domain.home or domain.huge_mib:
        return None
    return Reason(
        "unknown_maximum", f"it is not known how far the memory of {host.unlimited[0]} on {host.name} may grow"
    )
