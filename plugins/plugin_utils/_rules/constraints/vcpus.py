# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""vCPUs: a domain has at most as many as the host has threads, so that no two of them share a thread."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("vcpus", scope="pair")
def vcpus(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The host has a thread for each vCPU of the domain."""
    wanted, threads = domain.facts.vcpus or 0, host.facts.threads or 0
    return Reason("vcpus", f"has {wanted} vCPUs, {host.name} has {threads} threads") if wanted > threads else None
