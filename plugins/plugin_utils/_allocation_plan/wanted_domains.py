# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The settings of an allocation, and those of each domain."""

from __future__ import annotations

import math
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils._domain.uuids import plain_uuid
from ansible_collections.virtops.balance.plugins.plugin_utils._allocation import registry as allocations
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import (
    choice,
    flag,
    number,
    option,
    read,
    sequence,
    text,
    whole,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import Power, power
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Domain, Snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown

RUN, STOP = "run", "stop"

# What a domain can have as its weight, see the module domain_cputune.
_LEAST_WEIGHT, _MOST_WEIGHT = 0.02, 100.0


def _strategy(value: t.Any, key: str) -> str:
    return t.cast(str, choice(*allocations.strategies())(value, key))


def _parameters(value: t.Any, key: str) -> Mapping[str, t.Any]:
    if not isinstance(value, Mapping):
        raise PolicyError(f"{key} must be a mapping, not {shown(value)}.")
    return value


def _text_or_null(value: t.Any, key: str) -> str | None:
    return None if value is None else text(value, key)


@dataclass(frozen=True, slots=True)
class AllocationSettings:
    """How domains are allocated.

    strategy, parameters: of the filter allocate. power_weight: what one watt costs, in units of utility.
    power: what a host draws for which the snapshot has no power_model; null = not known.
    move_gain: what a new allocation must be worth more for each domain that it moves, in units of utility.
    """

    strategy: str = option("power_expand_min_max", _strategy)
    parameters: Mapping[str, t.Any] | None = option(None, _parameters)
    power_weight: float = option(0.0, number(0))
    power: Power | None = option(None, power)  # noqa: RUF009  # makes a dataclasses.field
    move_gain: float = option(0.01, number(0))


@dataclass(frozen=True, slots=True)
class DomainSettings:
    """What one domain gets.

    cpu_min, cpu_max: cores; a null maximum is all its vCPUs. share: what one core is worth in it, and its weight.
    state: run, or stop for one that is to be shut down. must_run: false lets it be shut down where it is not worth it.
    memory_mib: its maximum, needed where it does not run. vcpus: of one that does not run; null = cpu_max, rounded up.
    hosts: the only ones that it may be on; null = any. apart: groups of which no two domains share a host.
    xml_path, template: where the definition is of a domain that does not run: a file on the host, or a template on the
      control node. With neither it is started where it is defined.
    """

    cpu_min: float = option(0.0, number(0))
    cpu_max: float | None = option(None, number(0, nullable=True, above=True))
    share: float = option(1.0, number(_LEAST_WEIGHT, _MOST_WEIGHT))
    state: str = option(RUN, choice(RUN, STOP))
    must_run: bool = option(True, flag)
    memory_mib: float | None = option(None, number(0, nullable=True, above=True))
    vcpus: int | None = option(None, whole(1, nullable=True))
    hosts: tuple[str, ...] | None = option(
        None, lambda value, key: None if value is None else sequence(text, empty=False)(value, key)
    )
    apart: tuple[str, ...] = option((), sequence(text))
    xml_path: str | None = option(None, _text_or_null)
    template: str | None = option(None, _text_or_null)


@dataclass(frozen=True, slots=True)
class WantedDomain:
    """A domain to allocate. ``key``: its UUID if it runs, else its name in the inventory."""

    key: str
    name: str
    settings: DomainSettings
    domain: Domain | None = None

    @property
    def vcpus(self) -> int | None:
        """Its vCPUs now, or once it runs; None if not known."""
        if self.domain is not None:
            return self.domain.vcpus
        return self.settings.vcpus or (None if self.settings.cpu_max is None else math.ceil(self.settings.cpu_max))

    @property
    def memory_mib(self) -> float | None:
        """Its maximum memory; None if not known."""
        return self.settings.memory_mib if self.domain is None else self.domain.maximum_mib

    @property
    def cpu_max(self) -> float | None:
        """The most cores that it can use; None if not known."""
        known = [float(most) for most in (self.settings.cpu_max, self.vcpus) if most is not None]
        return min(known) if self.vcpus is not None else None


def read_settings(data: t.Any) -> AllocationSettings:
    """Read the settings; null or an empty mapping is all defaults. Raises PolicyError."""
    return read(AllocationSettings, {} if data is None else data, "balance_allocation")


def read_domains(domains: t.Any, snapshot: Snapshot) -> list[WantedDomain]:
    """All domains to allocate: those that the inventory names, and those with settings in their own metadata.

    ``domains`` maps names or UUIDs to settings, which replace those in the metadata. Raises PolicyError.
    """
    if domains is not None and not isinstance(domains, Mapping):
        raise PolicyError(f"balance_domains must be a mapping of domains by name, not {shown(domains)}.")
    by_name: dict[str, list[Domain]] = {}
    for domain in snapshot.domains.values():
        by_name.setdefault(domain.name, []).append(domain)
    found: dict[str, WantedDomain] = {}
    for name in sorted(domains or {}, key=str):
        where = f"balance_domains.{name}"
        said = (domains or {})[name]
        settings = read(DomainSettings, {} if said is None else said, where)
        running = _running(str(name), snapshot, by_name)
        typed = plain_uuid(str(name))
        wanted = WantedDomain(running.uuid if running else typed, running.name if running else typed, settings, running)
        if wanted.key in found:
            raise PolicyError(f"balance_domains names the domain {wanted.name!r} twice, by its name and by its UUID.")
        found[wanted.key] = wanted
        _check(wanted, where, snapshot)
    for domain in snapshot.domains.values():
        noted = snapshot.raw["domains"][domain.uuid].get("allocation")
        if domain.uuid not in found and isinstance(noted, Mapping):
            where = f"The allocation in the metadata of {domain.name!r}"
            wanted = WantedDomain(domain.uuid, domain.name, read(DomainSettings, noted, where), domain)
            _check(wanted, where, snapshot)
            found[wanted.key] = wanted
    return [found[key] for key in sorted(found)]


def _running(name: str, snapshot: Snapshot, by_name: Mapping[str, list[Domain]]) -> Domain | None:
    if plain_uuid(name) in snapshot.domains:
        return snapshot.domains[plain_uuid(name)]
    same = by_name.get(name, [])
    if len(same) > 1:
        places = ", ".join(f"{domain.uuid} on {domain.host}" for domain in same)
        raise PolicyError(
            f"balance_domains.{name}: {len(same)} domains have this name; name one by its UUID ({places})."
        )
    return same[0] if same else None


def _check(wanted: WantedDomain, where: str, snapshot: Snapshot) -> None:
    settings = wanted.settings
    if settings.state == STOP:
        return
    if settings.xml_path is not None and settings.template is not None:
        raise PolicyError(f"{where} has both xml_path and template: give one of them.")
    for host in settings.hosts or ():
        if host not in snapshot.hosts:
            raise PolicyError(f"{where}.hosts names {host!r}, which is not in the snapshot.")
    if wanted.domain is None:
        if settings.cpu_max is None:
            raise PolicyError(f"{where} does not run, so it needs the key 'cpu_max'.")
        if settings.memory_mib is None:
            raise PolicyError(f"{where} does not run, so it needs the key 'memory_mib'.")
    if settings.cpu_max is not None and settings.cpu_min > settings.cpu_max:
        raise PolicyError(f"{where}: cpu_min ({settings.cpu_min:g}) must not be above cpu_max ({settings.cpu_max:g}).")
    if wanted.vcpus is not None and settings.cpu_min > wanted.vcpus:
        raise PolicyError(f"{where}: cpu_min ({settings.cpu_min:g}) must not be above its {wanted.vcpus} vCPUs.")
