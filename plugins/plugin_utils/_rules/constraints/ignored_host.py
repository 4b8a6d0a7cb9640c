# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Ignored hosts: the policy leaves them alone, as a source and as a destination."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


@constraint("ignored_host", scope="host")
def ignored_host(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """No domain moves to an ignored host."""
    return Reason("ignored_host", f"the policy ignores {host.name}") if host.ignored else None


@constraint("source_host", scope="domain")
def source_host(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """No domain moves away from a host that is ignored or did not answer."""
    home = domain.home
    if home.ignored:
        return Reason("source_host", f"the policy ignores {home.name}")
    if not home.facts.answers:
        return Reason("source_host", f"{home.name} is {home.facts.state}")
    return None
