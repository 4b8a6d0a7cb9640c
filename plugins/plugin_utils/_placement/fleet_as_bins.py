# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Domains of the projected fleet as pieces to pack, and its hosts as boxes: allocations then work on a running fleet.

Every rule of the fleet is asked with everything where it then is, so what is placed keeps all of them. A piece is a
domain with all that must share a host with it. Until it is placed it stays, and counts, where it runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    ROUNDING,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import Power
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.bundles import Bundle, score_together
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules


@dataclass(frozen=True, slots=True)
class Extent:
    """The size of a host. One that sleeps is no box: it is woken and looked at first."""

    cores: float
    power: Power | None
    asleep: bool = False


class Unit:
    """Domains that move together."""

    __slots__ = ("cpu_max", "domains", "memory", "name", "placed", "reason")

    def __init__(self, domains: Bundle) -> None:
        self.domains = domains
        self.name = domains[0].facts.uuid
        self.cpu_max = sum(domain.demand[0] for domain in domains)
        self.memory = sum(domain.committed_mib for domain in domains)
        self.placed = False
        self.reason: Reason | None = None


class Host:
    """A host that units may go to."""

    __slots__ = ("capacity", "name", "projected")

    def __init__(self, projected: ProjectedHost) -> None:
        self.projected, self.name = projected, projected.name
        self.capacity = Extent(float(projected.facts.threads or 0), projected.facts.power_model)

    @property
    def in_use(self) -> bool:
        """Does it carry a domain?"""
        return bool(self.projected.domains)

    @property
    def cpu_used(self) -> float:
        """Cores that it and its domains want."""
        return self.projected.use[0] * self.capacity.cores

    def room(self, fill: float, memory_fill: float) -> tuple[float, float]:
        """Free cores and MiB where it is to be filled to these fractions only."""
        total = self.projected.facts.memory_total_mib or 0.0
        return (
            self.capacity.cores * fill - self.cpu_used + ROUNDING,
            total * memory_fill - self.projected.committed_mib + ROUNDING,
        )


class Repacking:
    """Units that are to leave where they run, and the hosts that they may go to."""

    def __init__(self, fleet: Fleet, rules: Rules, units: Iterable[Unit], hosts: Iterable[ProjectedHost]) -> None:
        self._fleet, self._rules = fleet, rules
        self.items = list(units)
        self.bins = [Host(host) for host in hosts]

    def refuses(self, item: Unit, bin: Host) -> Reason | None:
        """The first rule against the unit on the host, with all others where they are now."""
        host = bin.projected
        if len(item.domains) == 1:
            return self._rules.refuses(item.domains[0], host)
        if score_together(self._fleet, self._rules, item.domains, host) is not None:
            return None
        found = (self._rules.refuses_now(domain, host) for domain in item.domains)
        return next(
            (reason for reason in found if reason is not None),
            Reason("affinity", f"{host.name} cannot take all that must share a host with it"),
        )

    def place(self, item: Unit, bin: Host, _cpu: float) -> None:
        """Move the unit to the host."""
        item.placed = True
        for domain in item.domains:
            self._fleet.move(domain, bin.projected)

    def remove(self, item: Unit) -> None:
        """Move the unit back to where it runs."""
        item.placed = False
        for domain in item.domains:
            self._fleet.move(domain, domain.home)

    def reason(self, item: Unit, _cpu: float) -> Reason:
        """Why the unit stays where it is."""
        found = [self.refuses(item, bin) for bin in self.bins]
        if not found or None in found:
            return Reason("room", "no host has room for it within cpu_fill and memory_fill")
        said = sorted({reason.message for reason in found if reason is not None})
        return Reason("room", said[0] + (f" (and {len(said) - 1} more reasons)" if len(said) > 1 else ""))


def unit_of(domain: ProjectedDomain) -> Unit:
    """The domain with all that must share a host with it."""
    return Unit(domain.bundle or (domain,))
