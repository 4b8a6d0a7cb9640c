# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Pins: domains that belong on certain hosts, as a rule or as a wish."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint, preference


@constraint("pins", scope="pair", repair="goes where it is pinned", when=lambda fleet: fleet.policy.must_keep("pins"))
def pins(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """Every pin that must hold names the host, or an inventory group that it is in."""
    for pin in domain.pins:
        if pin.must and not host.facts.among(pin.hosts):
            return Reason("pins", f"is pinned to {', '.join(pin.hosts)}")
    return None


@preference("pins", when=lambda fleet: fleet.policy.wishes("pins"))
def pins_wished(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> int:
    """One for each unkept wish."""
    return sum(not pin.must and not host.facts.among(pin.hosts) for pin in domain.pins)
