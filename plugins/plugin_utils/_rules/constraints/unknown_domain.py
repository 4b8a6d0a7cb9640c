# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Unknown demand: a domain with unknown CPU use, vCPUs or memory is not moved."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("unknown_domain", scope="domain")
def unknown_domain(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """CPU use, vCPUs and maximum memory are known."""
    facts = domain.facts
    values = {"CPU use": facts.cpu_cores, "vCPUs": facts.vcpus, "maximum memory": facts.maximum_mib}
    missing = [name for name, value in values.items() if value is None]
    return Reason("unknown_domain", f"its {' and '.join(missing)} is not known") if missing else None
