# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Domains of the projected fleet as items, and its hosts as bins: allocations then work on a running fleet.

Every rule of the fleet is asked with everything where it then is, so what is placed keeps all of them. An item is a
domain with all that must share a host with it. Until it is placed it stays, and counts, where it runs.
"""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import (
    ROUNDING,
    ProjectedDomain,
    ProjectedHost,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.bundles import Bundle, score_together
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules


class FleetItem:
    """Domains that move together, as an item to pack."""

    __slots__ = ("cpu_max", "domains", "memory", "name", "placed", "reason")

    def __init__(self, domains: Bundle) -> None:
        self.domains = domains
        self.name = domains[0].facts.uuid
        self.cpu_max = sum(domain.demand[CPU] for domain in domains)
        self.memory = sum(domain.committed_mib for domain in domains)
        self.placed = False
        self.reason: Reason | None = None


class FleetBin:
    """A host that items may go to, as a bin. A host that sleeps is none: it is woken and observed first."""

    __slots__ = ("asleep", "cores", "name", "power", "projected")

    def __init__(self, projected: ProjectedHost) -> None:
        self.projected, self.name = projected, projected.name
        self.cores, self.power = (projected.facts.threads or 0) * projected.facts.speed, projected.facts.power_model
        self.asleep = False

    @property
    def in_use(self) -> bool:
        """Does it carry a domain?"""
        return bool(self.projected.domains)

    @property
    def cpu_used(self) -> float:
        """Cores that it and its domains want."""
        return self.projected.use[CPU] * self.cores

    def room(self, fill: float, memory_fill: float) -> tuple[float, float]:
        """Free cores and MiB where it is to be filled to these fractions only."""
        total = self.projected.facts.memory_total_mib or 0.0
        return (
            self.cores * fill - self.cpu_used + ROUNDING,
            total * memory_fill - self.projected.committed_mib + ROUNDING,
        )


class FleetPacking:
    """Items that are to leave their hosts, and the bins that they may go to."""

    def __init__(self, fleet: Fleet, rules: Rules, items: Iterable[FleetItem], hosts: Iterable[ProjectedHost]) -> None:
        self._fleet, self._rules = fleet, rules
        self.items = list(items)
        self.bins = [FleetBin(host) for host in hosts]

    def refuses(self, item: FleetItem, bin: FleetBin) -> Reason | None:
        """The first rule against the item on the host, with all other domains where they are now."""
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

    def place(self, item: FleetItem, bin: FleetBin, _cpu: float) -> None:
        """Move the item to the host."""
        item.placed = True
        for domain in item.domains:
            self._fleet.move(domain, bin.projected)

    def remove(self, item: FleetItem) -> None:
        """Move the item back to its host."""
        item.placed = False
        for domain in item.domains:
            self._fleet.move(domain, domain.home)

    def reason(self, item: FleetItem, _cpu: float) -> Reason:
        """Why the item stays on its host."""
        found = [self.refuses(item, bin) for bin in self.bins]
        if not found or None in found:
            return Reason("room", "no host has room for it within cpu_fill and memory_fill")
        said = sorted({reason.message for reason in found if reason is not None})
        return Reason("room", said[0] + (f" (and {len(said) - 1} more reasons)" if len(said) > 1 else ""))


def item_of(domain: ProjectedDomain) -> FleetItem:
    """The domain with all that must share a host with it."""
    return FleetItem(domain.bundle or (domain,))
