# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Agreement: what hosts answered when they were asked about planned moves; the reason is the host's own sentence."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint


def _asked(fleet: Fleet) -> bool:
    return fleet.answers.given is not None


def _reason(name: str, against: str | None) -> Reason | None:
    return None if against is None else Reason(name, against)


@constraint("agreement", scope="pair", when=_asked)
def agreement(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The host did not refuse the domain, nor one that needs the same."""
    return _reason("agreement", fleet.answers.against(domain.facts, host.name))


@constraint("agreement_about_cpu", scope="pair", when=_asked)
def agreement_about_cpu(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The host did not refuse the CPU of the domain."""
    return _reason("agreement_about_cpu", fleet.answers.against_cpu(domain.facts, host.name))


@constraint("agreement_about_memory", scope="fleet", when=_asked)
def agreement_about_memory(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The memory that the host said it has is enough for all domains that come to it."""
    return _reason("agreement_about_memory", fleet.answers.against_room(domain, host, fleet.domains))


@constraint("agreement_of_source", scope="domain", when=_asked)
def agreement_of_source(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The domain's own host found nothing in it that prevents a live migration."""
    return _reason("agreement_of_source", fleet.answers.against_moving(domain.facts))
