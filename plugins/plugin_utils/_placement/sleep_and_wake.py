# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Which hosts are put to sleep and which are woken after the moves of a consolidation.

A host is put to sleep if it has no domain, may sleep, and had no domain in idle_rounds runs in a row. At least
spare_hosts hosts without a domain stay awake, and so does the last host. No host is put to sleep while domains lack
room or moves wait for ``hold``.

Hosts are woken if domains have to leave a host and find no room on hosts that are awake, and if fewer than spare_hosts
hosts without a domain are awake: those with the fewest watts per core first, or the smallest where watts are not known.
Little is known about a host that sleeps, so no move to it is planned: it is woken and observed first.

Before any host is put to sleep, the hosts that stay awake store its name: a host that does not answer and that no host
knows to be asleep is broken.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.best_fit import Parameters
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.moves import OVERLOAD, Move
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ROUNDING, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.score import CPU
from ansible_collections.virtops.balance.plugins.plugin_utils._options import read
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.fleet_as_bins import FleetItem, item_of
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.host_load import Judgement
from ansible_collections.virtops.balance.plugins.plugin_utils._placement.registry import Conclusion, Placement
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import SOURCE
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.bundles import Bundle
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.rules import Rules


class Sleep:
    """Decides about power and marks. Made before anything moves; ``conclude`` is called after the moves are decided."""

    def __init__(self, fleet: Fleet, rules: Rules, judgements: t.Mapping[int, Judgement]) -> None:
        self._fleet, self._rules, self._judgements = fleet, rules, judgements
        self._wanted = fleet.policy.consolidation
        busy = {end for domain in fleet.domains for end in (domain.home.name, domain.facts.destination)}
        self._idle = {host.index for host in fleet.counted() if host.name not in busy}
        self._asleep = [host for host in fleet.hosts if host.facts.state == "asleep"]
        self._watts_before = self._watts((), ())

    def conclude(self, placement: Placement, waves: list[list[Move]], holding: bool) -> Conclusion:
        """The hosts to wake and to put to sleep. The fleet must be as it is after the waves."""
        end = Conclusion(detection={host.name: self._said(host) for host in self._fleet.counted()})
        missing = [] if holding else self._missing(placement)
        empty = [host for host in self._fleet.counted() if not host.domains]
        sleeping = [] if holding or missing else self._sleeping(empty)
        waking = {} if holding else self._waking(missing, len(empty) - len(sleeping), end)
        end.wake = [{"host": host.name, "why": why} for host, why in waking.items()]
        end.sleep = [{"host": host.name, "why": self._why(host)} for host in sleeping]
        end.marks = self._marks(waves, sleeping)
        after = self._watts(sleeping, waking)
        if self._watts_before is not None and after is not None:
            end.watts = {"before": round(self._watts_before, 1), "after": round(after, 1), "source": SOURCE}
        return end

    def _said(self, host: ProjectedHost) -> dict[str, t.Any]:
        return self._judgements[host.index].to_mapping()

    def _missing(self, placement: Placement) -> list[FleetItem]:
        """The domains that have to leave an overloaded or drained host and found no room."""
        items = {}
        for domain in self._fleet.domains:
            drained = domain.host.drained and domain.facts.uuid in placement.unrepaired
            wants = drained or domain.facts.uuid in placement.unplaced
            if wants and not domain.moved and self._rules.fixed(domain, repair=drained) is None:
                item = item_of(domain)
                items[item.name] = item
        return sorted(items.values(), key=lambda item: (-item.cpu_max, -item.memory, item.name))

    def _rounds(self, host: ProjectedHost) -> int:
        """The number of runs in a row, this one included, in which the host had no domain."""
        return (host.facts.idle_rounds or 0) + 1 if host.index in self._idle else 0

    def _sleeping(self, empty: list[ProjectedHost]) -> list[ProjectedHost]:
        """The hosts to put to sleep, the one with the highest idle power first."""
        ready = [host for host in empty if host.facts.may_sleep and self._rounds(host) >= self._wanted.idle_rounds]
        ready.sort(key=lambda host: (-(host.facts.power_model.idle if host.facts.power_model else 0.0), host.name))
        awake = len(self._fleet.counted())
        keep = max(self._wanted.spare_hosts, 0 if awake > len(empty) else 1)
        return ready[: max(0, len(empty) - keep)]

    def _why(self, host: ProjectedHost) -> str:
        rounds = self._rounds(host)
        if not rounds:
            return "this run empties it."
        return f"it had no domain in {'this run' if rounds == 1 else f'{rounds} runs in a row'}."

    def _waking(self, missing: list[FleetItem], spare: int, end: Conclusion) -> dict[ProjectedHost, str]:
        """The hosts to wake, and why."""
        ready = self._wakeable()
        told = all(host.facts.power_model for host in ready)
        ready.sort(key=lambda host: _dear(host, watts_known=told))
        room = {host: self._room(host) for host in ready}
        served: dict[ProjectedHost, list[str]] = {}
        for item in missing:
            # Hosts that are to be woken anyway come first.
            host = next((host for host in [*served, *ready] if _fits(item, host, room[host])), None)
            if host is None:
                domain = item.domains[0]
                if ready or served:
                    end.notes.append(
                        f"{domain.name} has to leave {domain.host.name}, and no sleeping host has room for it."
                    )
                continue
            room[host] = (room[host][0] - item.cpu_max, room[host][1] - item.memory)
            served.setdefault(host, []).extend(domain.name for domain in item.domains)
            if host in ready:
                ready.remove(host)
        waking = {host: f"no host that is awake has room for {_listed(names)}." for host, names in served.items()}
        wanted = self._wanted.spare_hosts
        reserve = f"{spare} of the {wanted} spare hosts that the policy asks for (spare_hosts) are awake."
        waking.update((host, reserve) for host in ready[: max(0, wanted - spare)])
        return waking

    def can_wake(self) -> bool:
        """Is there a host that can be woken?"""
        return bool(self._wakeable())

    def will_take(self, bundle: Bundle) -> bool:
        """Would a host be woken for the bundle, because it has to leave a drained host?"""
        item = FleetItem(bundle)
        return any(domain.host.drained for domain in bundle) and any(
            _fits(item, host, self._room(host)) for host in self._wakeable()
        )

    def _wakeable(self) -> list[ProjectedHost]:
        return [host for host in self._asleep if host.facts.may_sleep and not host.drained and not host.ignored]

    def _room(self, host: ProjectedHost) -> tuple[float, float]:
        """Free cores and MiB of a host that sleeps; unknown values count as 0."""
        policy = self._fleet.policy
        reserved_mib, reserved_cores = policy.reserve(host.name, host.facts.groups)
        fill = read(Parameters, self._wanted.placement.parameters, "parameters")
        cores = ((host.facts.threads or 0) * min(fill.cpu_fill, host.ceiling) - reserved_cores) * host.facts.speed
        memory = (host.facts.memory_total_mib or 0.0) * policy.memory_limit * policy.memory_overcommit
        return cores + ROUNDING, memory - reserved_mib + ROUNDING

    def _marks(self, waves: list[list[Move]], sleeping: list[ProjectedHost]) -> dict[str, dict[str, t.Any]]:
        """The marks of hosts that have to change."""
        relieved = {move.source.index for wave in waves for move in wave if move.purpose == OVERLOAD}
        sleepers = {host.name: self._known(host) for host in [*self._asleep, *sleeping]}
        marks = {}
        for host in self._fleet.hosts:
            facts, judgement = host.facts, self._judgements.get(host.index)
            forget = judgement is None or host.index in relieved
            wanted = {
                "idle_rounds": 0 if host in sleeping else self._rounds(host),
                "detection": {} if forget or judgement is None else judgement.mark,
                # What a sleeping host stores about others would be outdated when it wakes.
                "asleep": {} if host in sleeping else sleepers,
            }
            now = {
                "idle_rounds": facts.idle_rounds or 0,
                "detection": facts.detection or {},
                "asleep": facts.sleepers,
            }
            changed = {key: value for key, value in wanted.items() if value != now[key]}
            if changed:
                marks[host.name] = changed
        return marks

    def _known(self, host: ProjectedHost) -> dict[str, t.Any]:
        """What the other hosts store about a host that sleeps."""
        since = self._fleet.snapshot.taken_at
        if host.facts.state == "asleep":
            since = (self._fleet.snapshot.raw["hosts"][host.name].get("asleep") or {}).get("since")
        facts = host.facts
        known = {"since": since, "threads": facts.threads, "memory_total_mib": facts.memory_total_mib}
        return known if facts.max_mhz is None else {**known, "max_mhz": facts.max_mhz}

    def _watts(self, sleeping: Iterable[ProjectedHost], waking: Iterable[ProjectedHost]) -> float | None:
        """The modelled power of the hosts that are awake; None if one has no power model."""
        total = 0.0
        awake = [host for host in self._fleet.hosts if host.known and host.facts.answers]
        for host in [*awake, *waking]:
            if host not in sleeping:
                if host.facts.power_model is None:
                    return None
                total += host.facts.power_model.watts(host.use[CPU])
        return total


def watts_per_core(host: ProjectedHost) -> float:
    """The watts at full load for each core of speed 1; 0 where they are not known."""
    model, cores = host.facts.power_model, _cores(host)
    return model.full / cores if model is not None and cores else 0.0


def _cores(host: ProjectedHost) -> float:
    return (host.facts.threads or 0) * host.facts.speed


def _dear(host: ProjectedHost, *, watts_known: bool) -> tuple[float, float, float, str]:
    """What hosts are woken by, the lowest first: watts per core at full load if those of all are known, then size."""
    watts = watts_per_core(host) if watts_known else 0.0
    return (watts, _cores(host), host.facts.memory_total_mib or 0.0, host.name)


def _fits(item: FleetItem, host: ProjectedHost, room: tuple[float, float]) -> bool:
    """Does the sleeping host have room, and do the pins permit it?"""
    pins = [pin for domain in item.domains for pin in domain.pins if pin.must]
    return item.cpu_max <= room[0] and item.memory <= room[1] and all(host.facts.among(pin.hosts) for pin in pins)


def _listed(names: list[str]) -> str:
    """web-1; web-1 (and 3 more)."""
    return names[0] + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")
