# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Pins: domains that belong on certain hosts, as a rule or as a wish."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import (
    constraint,
    preference,
    remark,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._text import several

_MOST_NAMED = 3


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


@remark("pins")
def pins_told(fleet: Fleet, hosts: list[ProjectedHost], unrepaired: list[ProjectedDomain]) -> list[str]:
    """Notes about pins that must hold and name only hosts that take no domain."""
    told = []
    for index, pin in enumerate(fleet.policy.pins):
        kept = [domain.name for domain in unrepaired if pin.must and pin in domain.pins]
        named = [host for host in fleet.hosts if host.facts.among(pin.hosts)]
        if kept and not any(host.counted for host in named):
            closed = [_closed(host) for host in named]
            told.append(
                f"{several(kept, _MOST_NAMED)} cannot move, because pins[{index}] names only hosts that take no "
                f"domain: {several([why for why, _advice in closed], _MOST_NAMED)}. Name another host in "
                f"pins[{index}].hosts, or {closed[0][1]}."
            )
    return told


def _closed(host: ProjectedHost) -> tuple[str, str]:
    """Why the host takes no domain, and what would change that, as clauses."""
    name, state = host.name, host.state
    if state == "drained":
        end = f"undrain {name} (undrain.yml)" if host.facts.state == "drained" else f"do not drain {name}"
        return f"{name} is drained", end
    ends = {
        "ignored": f"do not ignore {name} (ignore_hosts)",
        "asleep": f"wake {name}",
        "unknown": f"see why {name} does not answer",
    }
    if state in ends:
        return f"{name} is {state}", ends[state]
    return f"not enough is known about {name}", f"see what the notes say about {name}"
