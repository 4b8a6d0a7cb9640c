# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The allocation problem: hosts that offer CPU and memory, and domains that request them."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import (
    Reader,
    flag,
    nearest,
    number,
    option,
    read,
    required,
    sequence,
    text,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import Power, power
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown


@dataclass(frozen=True, slots=True)
class HostOffer:
    """What a host offers.

    cores, memory_mib: what domains may have; the reserve of the host is already subtracted.
    power: watts, ``{idle_watts, max_watts}`` or eleven at 0, 10, ... 100 %; null = not known.
    cpu_used, memory_used_mib: what domains have that are not part of the problem. A host with such domains is in use.
    asleep: the host would have to be woken first, so hosts that are awake come before it.
    apart: groups of those domains, see DomainRequest.
    """

    cores: float = required(number(0, above=True))
    memory_mib: float = required(number(0, above=True))
    power: Power | None = option(None, power)  # noqa: RUF009  # makes a dataclasses.field
    cpu_used: float = option(0.0, number(0))
    memory_used_mib: float = option(0.0, number(0))
    asleep: bool = option(False, flag)
    apart: tuple[str, ...] = option((), sequence(text))

    @property
    def in_use(self) -> bool:
        """Does it have domains that are not part of the problem?"""
        return self.cpu_used > 0.0 or self.memory_used_mib > 0.0


@dataclass(frozen=True, slots=True)
class DomainRequest:
    """What a domain requests.

    cpu_min, cpu_max: the cores that it needs to run, and the most that it can use.
    share, utility_running: the utility of one core, and of running at all; see ``utility``.
    memory_mib: its maximum memory.
    hosts: the only hosts that it may be on; null = any.
    apart: names of groups. Two domains with one in common are not on the same host.
    """

    cpu_max: float = required(number(0, above=True))
    memory_mib: float = required(number(0, above=True))
    cpu_min: float = option(0.0, number(0))
    share: float = option(1.0, number(0, above=True))
    utility_running: float = option(0.0, number(0))
    hosts: tuple[str, ...] | None = option(
        None, lambda value, key: None if value is None else sequence(text, empty=False)(value, key)
    )
    apart: tuple[str, ...] = option((), sequence(text))


Refuses = Callable[[str, str], Reason | None]
Utility = Callable[["DomainRequest", float], float]


def _anywhere(_domain: str, _host: str) -> Reason | None:
    return None


def _by_name(cls: type[t.Any]) -> Reader:
    def reader(value: t.Any, key: str) -> dict[str, t.Any]:
        if not isinstance(value, Mapping):
            raise PolicyError(f"{key} must be a mapping by name, not {shown(value)}.")
        return {text(name, f"A name in {key}"): read(cls, entry, f"{key}.{name}") for name, entry in value.items()}

    return reader


_KEYS: dict[str, Reader] = {"hosts": _by_name(HostOffer), "domains": _by_name(DomainRequest), "power_weight": number(0)}


def utility(domain: DomainRequest, cpu: float) -> float:
    """The utility of ``cpu`` cores for a domain.

    Below the minimum it is 0, because the domain cannot do its work; from there each core adds ``share``; above the
    maximum nothing is added. ``utility_running`` is added for running at all. To value CPU differently, replace this
    function: nothing else depends on its form.

    Cardosa et al. (IM 2009) let the utilities at the minimum and at the maximum be anything: here they are
    ``utility_running + share x minimum`` and ``utility_running + share x maximum``. The strategies use the utility at
    these two points and interpolate linearly; it must not fall. The answer reports the utility of the CPU that each
    domain gets.
    """
    return 0.0 if cpu < domain.cpu_min else domain.utility_running + domain.share * min(cpu, domain.cpu_max)


@dataclass(frozen=True, slots=True)
class Problem:
    """Hosts and domains by name.

    power_weight: the cost of one watt in units of utility; 0 = power does not matter.
    refuses: hard rules: why a domain may not be on a host (both by name), or None. Called at most once for each pair.
    utility: see ``utility``.
    """

    hosts: Mapping[str, HostOffer]
    domains: Mapping[str, DomainRequest]
    power_weight: float = 0.0
    refuses: Refuses = field(default=_anywhere)
    utility: Utility = field(default=utility)

    @classmethod
    def from_mapping(cls, data: t.Any) -> Problem:
        """Read ``{hosts: {name: {...}}, domains: {name: {...}}, power_weight}``; PolicyError says what is wrong."""
        if not isinstance(data, Mapping):
            raise PolicyError(f"The problem must be a mapping with hosts and domains, not {shown(data)}.")
        values: dict[str, t.Any] = {}
        for key, value in data.items():
            if key not in _KEYS:
                raise PolicyError(f"The problem has no key {str(key)!r}: {nearest(str(key), _KEYS)}")
            values[key] = _KEYS[key](value, key)
        for key in ("hosts", "domains"):
            if key not in values:
                raise PolicyError(f"The problem needs the key {key!r}.")
        problem = cls(**values)
        problem.check()
        return problem

    def worth(self, name: str, cpu: float) -> float:
        """The utility of ``cpu`` cores for a domain."""
        return self.utility(self.domains[name], cpu)

    def check(self) -> None:
        """Raise PolicyError where values contradict each other."""
        if not self.hosts:
            raise PolicyError("The problem has no host.")
        for name, host in self.hosts.items():
            for used, offered, word in (
                (host.cpu_used, host.cores, "cpu_used ({:g}) must not be above cores ({:g})"),
                (host.memory_used_mib, host.memory_mib, "memory_used_mib ({:g}) must not be above memory_mib ({:g})"),
            ):
                if used > offered:
                    raise PolicyError(f"hosts.{name}: {word.format(used, offered)}.")
            if host.power is None and self.power_weight > 0.0:
                raise PolicyError(f"hosts.{name} needs the key 'power', because power_weight is above 0.")
        for name, domain in self.domains.items():
            if domain.cpu_min > domain.cpu_max:
                raise PolicyError(
                    f"domains.{name}: cpu_min ({domain.cpu_min:g}) must not be above cpu_max ({domain.cpu_max:g})."
                )
            for host_name in domain.hosts or ():
                if host_name not in self.hosts:
                    raise PolicyError(
                        f"domains.{name}.hosts names {host_name!r}, which is not a host of the problem: "
                        f"{nearest(host_name, self.hosts)}"
                    )
