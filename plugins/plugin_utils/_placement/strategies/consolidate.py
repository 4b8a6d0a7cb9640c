# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The strategy ``consolidate``: keep only as many hosts awake as the load needs.

Three stages, each with the moves of the earlier ones in the projected fleet:

1. Violated rules are repaired (see _placement/repair.py).
2. Of each overloaded host the selection names domains, one after the other, until the host is no longer overloaded
   without them. The placement finds hosts for them among those that are not overloaded. Here and in 3 no host is filled
   so far that it becomes overloaded: a domain without a host stays, and the plan reports it.
3. Underloaded hosts are emptied if the placement finds room for *all* their domains on hosts in use; otherwise they are
   left alone. Those with the most watts per core come first where the power of all is known, then the least used. A
   host that has just received a domain is not emptied. Hosts are emptied only if they may sleep, and if in the end
   more hosts are empty than spare_hosts (or a spare host need not be woken).

What happens to hosts without a domain is decided after the moves, see _placement/sleep_and_wake.py.

Source: the division into four decisions, and emptying a host wholly or not at all, are Beloglazov and Buyya's ("Optimal
online deterministic algorithms and adaptive heuristics for energy and performance efficient dynamic consolidation of
virtual machines in Cloud data centers", CCPE 2012; OpenStack Neat, CCPE 2015). Different here: a domain without room is
not moved, and no more underloaded hosts are emptied than max_moves permits.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation import best_fit
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation import registry as allocations
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.moves import OVERLOAD, UNDERLOAD
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU
from ansible_collections.virtops.balance.plugins.plugin_utils._options import read
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.fleet_as_bins import (
    FleetItem,
    FleetPacking,
    item_of,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.host_load import Judge
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.registry import Placement, placement
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.repair import repair
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.sleep_and_wake import Sleep, watts_per_core
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules
from ansible_collections.virtops.balance.plugins.plugin_utils._selection import registry as _selections

_MOST_NOTED = 10
_MOST_NAMED = 4


@placement("consolidate")
def consolidate(fleet: Fleet, rules: Rules) -> Placement:
    """Relieve overloaded hosts, then empty underloaded ones."""
    return _Consolidating(fleet, rules).run()


class _Consolidating:
    """One consolidation while it is made."""

    def __init__(self, fleet: Fleet, rules: Rules) -> None:
        self.fleet, self.rules = fleet, rules
        self.judge = Judge(fleet)
        # Before anything moves.
        self.judgements = {host.index: self.judge.look(host) for host in fleet.counted()}
        self.sleep = Sleep(fleet, rules, self.judgements)
        for host in fleet.hosts:
            if host.index in self.judgements:
                host.ceiling = self.judgements[host.index].ceiling
            elif host.facts.state == "asleep":
                host.ceiling = self.judge.look(host).ceiling
        self.result = repair(fleet, rules, force=lambda bundle: not self.sleep.will_take(bundle))
        self.purposes: dict[str, str] = {}
        self.result.purposes = self.purposes
        self.left = len(fleet.domains) if fleet.policy.max_moves is None else fleet.policy.max_moves
        self.left -= len(self.result.repairs)
        wanted = fleet.policy.consolidation.placement
        self.pack = t.cast("t.Callable[[t.Any, t.Any], t.Any]", allocations.strategies()[wanted.name][0])
        self.parameters = read(best_fit.Parameters, wanted.parameters, "parameters")

    def run(self) -> Placement:
        """Relieve hosts, empty hosts, and give the reasons."""
        overloaded = [host for host in self.fleet.counted() if self.judgements[host.index].overloaded]
        underloaded = [host for host in self.fleet.counted() if self.judgements[host.index].underloaded]
        self._relieve(sorted(overloaded, key=lambda host: (-host.use[CPU], host.name)))
        # No host is emptied while domains have no room.
        ready = [] if self.result.unplaced else _dearest_first(underloaded)
        emptied = self._empty_all(ready)
        result = self.result
        reasons = [f"{host.name} is overloaded ({self.judgements[host.index].why})." for host in overloaded]
        if len(reasons) > _MOST_NAMED:
            reasons[_MOST_NAMED:] = [f"{len(reasons) - _MOST_NAMED} more hosts are overloaded."]
        if emptied:
            reasons.append(f"{_named(emptied)} can be emptied.")
        result.trigger = " ".join(reasons) or None
        result.content = "No host is overloaded, and none that is underloaded can be emptied."
        blind = [host for host in self.fleet.counted() if not self.judgements[host.index].history]
        if blind and self.fleet.demand.steps is not None:  # if there is no history at all, the plan says that
            result.notes.append(f"Judged by one observation, because there is no history: {_named(blind)}.")
        result.conclude = partial(self.sleep.conclude, result)
        return result

    def _relieve(self, overloaded: list[ProjectedHost]) -> None:
        leaving: list[FleetItem] = []
        for host in overloaded:
            leaving += self._selected(host)
        open_hosts = [
            host
            for host in self.fleet.counted()
            if not self.judgements[host.index].overloaded and self.rules.closed(host) is None
        ]
        self._pack(leaving, open_hosts, self.parameters, OVERLOAD)
        rest = [item for item in leaving if not item.placed]
        if rest and not self.sleep.can_wake():
            # No host can be woken, so hosts are filled up to the point of overload.
            full = replace(self.parameters, cpu_fill=1.0, memory_fill=1.0)
            self._pack(rest, open_hosts, full, OVERLOAD)
        for item in leaving:
            if not item.placed:
                self.left += len(item.domains)
                reason = item.reason or Reason("room", "no host can take it")
                self.result.unplaced.update((domain.facts.uuid, reason) for domain in item.domains)

    def _selected(self, host: ProjectedHost) -> list[FleetItem]:
        """The items that leave an overloaded host."""
        items = {item.name: item for item in self._items(host)}
        wanted, series = self.fleet.policy.consolidation.selection, self.judge.series(host)
        migratable = {name: _migratable(item) for name, item in items.items()}
        leaving: list[FleetItem] = []
        going: list[ProjectedDomain] = []
        state: t.Mapping[str, t.Any] = {}
        while migratable and self.judge.overloaded_without(host, going):
            choice = _selections.select(
                migratable,
                wanted.name,
                wanted.parameters,
                step=60.0 if series is None else series.step,
                migration_time=self.judge.migration_seconds(host),
                state=state,
            )
            if choice.decision is None:
                break
            item, state = items[choice.decision], choice.state
            del migratable[choice.decision]
            if len(item.domains) <= self.left:
                self.left -= len(item.domains)
                leaving.append(item)
                going += item.domains
        for item in leaving[:-1]:
            # A domain that was selected later may be enough.
            others = [domain for domain in going if domain not in item.domains]
            if not self.judge.overloaded_without(host, others):
                self.left += len(item.domains)
                leaving.remove(item)
                going = others
        return leaving

    def _items(self, host: ProjectedHost) -> list[FleetItem]:
        """The items that may leave a host: all their domains may be moved, and none has been moved yet."""
        found = {
            item.name: item
            for item in map(item_of, host.domains.values())
            if all(d.host is host and not d.moved and self.rules.fixed(d) is None for d in item.domains)
        }
        return list(found.values())

    def _pack(
        self,
        items: Iterable[FleetItem],
        hosts: Iterable[ProjectedHost],
        parameters: best_fit.Parameters,
        purpose: str,
    ) -> FleetPacking:
        packing = FleetPacking(self.fleet, self.rules, items, hosts)
        if packing.items:
            self.pack(packing, parameters)
        for item in packing.items:
            if item.placed:
                self.purposes.update((domain.facts.uuid, purpose) for domain in item.domains)
        return packing

    def _empty_all(self, underloaded: list[ProjectedHost]) -> list[ProjectedHost]:
        """Empty the hosts that can be emptied; take that back if no host could be put to sleep in the end."""
        emptied: list[ProjectedHost] = []
        notes: list[str] = []
        if sum(bool(host.domains) for host in self.fleet.counted()) < 2:
            return []
        for host in underloaded:
            if host.domains and not any(domain.moved for domain in host.domains.values()):
                why_not = self._empty(host, emptied)
                if why_not is None:
                    emptied.append(host)
                else:
                    notes.append(f"{host.name} is underloaded and left alone: {why_not}.")
        spare = self.fleet.policy.consolidation.spare_hosts
        empty = sum(not host.domains for host in self.fleet.counted())
        # To have a spare host, emptying one is worth it only if another one would have to be woken instead.
        if emptied and empty <= spare and not self.sleep.can_wake():
            notes.append(f"{_named(emptied)} could be emptied, but would have to stay awake (spare_hosts: {spare}).")
            for domain in self.fleet.domains:
                if self.purposes.get(domain.facts.uuid) == UNDERLOAD:
                    self.fleet.move(domain, domain.home)
                    del self.purposes[domain.facts.uuid]
            self.result.whole, emptied = [], []
        self.result.notes += notes[:_MOST_NOTED]
        if len(notes) > _MOST_NOTED:
            self.result.notes.append(f"{len(notes) - _MOST_NOTED} more underloaded hosts are left alone.")
        return emptied

    def _touched(self, host: ProjectedHost) -> bool:
        """Did a domain come to it a short time ago?"""
        quiet = 60.0 * self.fleet.policy.quiet_minutes
        return any(self.fleet.moved_within(domain, quiet) for domain in host.domains.values())

    def _empty(self, host: ProjectedHost, emptied: list[ProjectedHost]) -> str | None:
        """Move all domains of a host to other hosts. Returns the reason if that is not possible."""
        if not host.facts.may_sleep:
            return "the inventory does not say how to put it to sleep and wake it (balance_power_control)"
        domains = frozenset(host.domains)
        if self._touched(host):
            return "a domain came to it a short time ago (quiet_minutes)"
        if any(domain.home is not host for domain in host.domains.values()):
            return "a domain is on its way to it"
        items = self._items(host)
        staying = domains - {domain.index for item in items for domain in item.domains}
        if staying:
            domain = self.fleet.domains[min(staying)]
            reason = self.rules.fixed(domain)
            return f"{domain.name} has to stay" + (f" ({reason.message})" if reason is not None else "")
        if len(domains) > self.left:
            return f"it has more domains than this run may still move (max_moves: {self.fleet.policy.max_moves})"
        others = [
            other
            for other in self.fleet.counted()
            if other is not host
            and other.domains
            and not self.judgements[other.index].overloaded
            and self.rules.closed(other) is None
        ]
        packing = self._pack(items, others, replace(self.parameters, all_or_nothing=True), UNDERLOAD)
        for item in packing.items:
            if not item.placed and (item.reason is None or item.reason.constraint != "all_or_nothing"):
                message = "no other host has room for it" if item.reason is None else item.reason.message
                return f"{item.domains[0].name} has to stay ({message})"
        self.left -= len(domains)
        self.result.whole.append(domains)
        return None


def _migratable(item: FleetItem) -> _selections.MigratableDomain:
    """The item as selections see it: the sum of its domains, over the steps that all of them have."""
    columns = []
    for domain in item.domains:
        series = domain.facts.history
        columns.append(series.samples if series is not None and series.samples else (domain.facts.cpu_cores,))
    length = min(map(len, columns))
    rows = zip(*(column[len(column) - length :] for column in columns), strict=True)
    cores = tuple(None if None in row else sum(part for part in row if part is not None) for row in rows)
    return _selections.MigratableDomain(sum(domain.copy_mib for domain in item.domains), cores)


def _dearest_first(hosts: list[ProjectedHost]) -> list[ProjectedHost]:
    """The order in which hosts are emptied: by watts per core where those of all are known, then by use."""
    told = all(host.facts.power_model for host in hosts)
    return sorted(hosts, key=lambda host: (-watts_per_core(host) if told else 0.0, host.use[CPU], host.name))


def _named(hosts: list[ProjectedHost]) -> str:
    """The first names of several, and how many more there are."""
    names = [host.name for host in hosts[:_MOST_NAMED]]
    more = len(hosts) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
