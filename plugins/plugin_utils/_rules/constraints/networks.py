# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Networks: the destination has every bridge and libvirt network that the domain is connected to.

What is not known of a running domain or of the host is left to the hosts: they are asked before the domain is moved.
Interfaces of other types need nothing that a host could have, or are a blocker.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("networks", scope="pair")
def networks(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The host has each bridge and each active libvirt network by name."""
    for interface in domain.facts.interfaces or ():
        if interface.type not in _ACTIVE:
            continue
        offered = host.facts.bridges if interface.type == "bridge" else host.facts.networks
        if offered is None or interface.source is None:
            if domain.new:
                return Reason(
                    "networks", f"cannot tell whether {host.name} has the {interface.type} {interface.source}"
                )
        elif interface.source not in offered:
            return Reason("networks", f"{host.name} has no {_ACTIVE[interface.type]} {interface.source}")
    return None


_ACTIVE = {"bridge": "bridge", "network": "active network"}
