# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Level: domains that the policy's overrides keep where they are, always or except for repairs."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


def _overridden(fleet: Fleet) -> bool:
    return bool(fleet.policy.overrides)


@constraint("level_off", scope="domain", when=_overridden)
def level_off(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The overrides do not turn its moves off."""
    return Reason("level_off", "the policy never moves it (overrides, level off)") if domain.level == "off" else None


@constraint("level_repair", scope="domain", yields=True, when=_overridden)
def level_repair(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The overrides permit moves that are no repairs."""
    if domain.level != "repair":
        return None
    return Reason("level_repair", "the policy moves it only where a rule requires that (overrides, level repair)")
