# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Networks: the destination has every bridge and libvirt network that the domain is connected to."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("networks", scope="pair")
def networks(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The host has each bridge and each active libvirt network by name; user-mode networking needs nothing."""
    if domain.facts.interfaces is None:
        return Reason("networks", "its network interfaces are not known")
    for interface in domain.facts.interfaces:
        if interface.type in ("bridge", "network"):
            offered = host.facts.bridges if interface.type == "bridge" else host.facts.networks
            if offered is None or interface.source is None:
                return Reason(
                    "networks",
                    f"cannot tell whether {host.name} has the {interface.type} {interface.source or 'that it uses'}",
                )
            if interface.source not in offered:
                return Reason("networks", f"{host.name} has no {_ACTIVE[interface.type]} {interface.source}")
        elif interface.type != "user" and "network_device" not in fleet.policy.accept_blockers:
            return Reason(
                "networks",
                f"cannot tell whether {host.name} has what its {interface.type or 'unknown'} interface needs",
            )
    return None


_ACTIVE = {"bridge": "bridge", "network": "active network"}
