# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Machine type: the destination's emulator must support the machine type of the domain.

What is not known of a running domain or of the host is left to the hosts: they are asked before the domain is moved.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("machine_type", scope="pair")
def machine_type(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The host has the machine type of the domain for its architecture."""
    machine, arch, offered = domain.facts.machine, domain.facts.arch, host.facts.machine_types
    if domain.new:
        if machine is None:
            return None  # the host's own default
        arch = arch or host.facts.arch
    if machine is None or arch is None or offered is None:
        if not domain.new:
            return None
        return Reason("machine_type", f"cannot tell whether {host.name} has the machine type {machine}")
    if machine not in offered.get(arch, ()):
        return Reason("machine_type", f"{host.name} does not have the machine type {machine} for {arch}")
    return None
