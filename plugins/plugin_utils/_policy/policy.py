# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The policy: what a person wants from balancing. One dataclass, every key with its default and its meaning."""

from __future__ import annotations

import math
import typing as t
from collections.abc import Mapping, Set
from dataclasses import dataclass, fields, replace

from ansible_collections.virtops.balance.plugins.plugin_utils._demand.registry import predictors
from ansible_collections.virtops.balance.plugins.plugin_utils._discovery import names
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import (
    Problems,
    Reader,
    choice,
    flag,
    fraction,
    nearest,
    nested,
    number,
    option,
    read,
    required,
    sequence,
    text,
    whole,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.algorithm import Algorithm, algorithm
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.consolidation import Consolidation
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.domain_selectors import Selector, selector

BLOCKERS = (
    "host_device",
    "local_disk",
    "local_media",
    "block_disk",
    "unknown_storage",
    "host_cpu",
    "virtiofs",
    "shared_memory",
    "tpm",
    "transient_disk",
    "accelerated_video",
    "shadow_paging",
    "snapshot",
    "network_device",
    "not_running",
    "interrupted_migration",
    "job",
)
ACTIONS = ("vcpu", "weight", "memory", "migrate")
LIMIT, SPREAD, CONTENTION = TRIGGERS = ("limit", "spread", "contention")
LEVELS = ("full", "repair", "off")
NEVER_ACCEPTED = ("transient_disk", "accelerated_video", "shadow_paging", "not_running", "interrupted_migration", "job")


def _strategy(value: t.Any, key: str) -> str:
    return t.cast(str, choice(*names("_placement.strategies"))(value, key))


def _predictor(name: str, key: str) -> type[t.Any]:
    known = predictors()
    return known[t.cast(str, choice(*known)(name, key))].parameters


def _blocker(value: t.Any, key: str) -> str:
    if value in NEVER_ACCEPTED:
        raise PolicyError(f"{key}: {value!r} cannot be accepted, no live migration is possible with it.")
    return t.cast(str, choice(*(code for code in BLOCKERS if code not in NEVER_ACCEPTED))(value, key))


def _selector_or_null(value: t.Any, key: str) -> Selector | None:
    return None if value is None else selector(value, key)


def _group(cls: type[GroupRule]) -> Reader:
    read_rule = nested(cls)

    def reader(value: t.Any, key: str) -> GroupRule:
        rule = t.cast(GroupRule, read_rule(value, key))
        if (rule.domains is None) == (rule.tag_prefix is None):
            raise PolicyError(f"{key} must have one of the keys 'domains' and 'tag_prefix'.")
        return rule

    return reader


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part of the score counts (0 = not at all).

    cpu: spread of the CPU that domains want, as a fraction of each host's threads.
    memory: spread of memory in use (see memory_basis), as a fraction of each host's memory.
    cpu_ready: spread of the CPU that domains wanted and did not get, as a fraction of each host's threads.
    vcpus: spread of vCPUs per thread.
    overload: how far hosts are above cpu_limit and memory_limit.
    """

    cpu: float = option(1.0, number(0))
    memory: float = option(0.5, number(0))
    cpu_ready: float = option(0.25, number(0))
    vcpus: float = option(0.1, number(0))
    overload: float = option(1.0, number(0))


@dataclass(frozen=True, slots=True)
class Pin:
    """Domains that belong on certain hosts.

    domains: selector. hosts: names, also of inventory groups.
    must: true = a rule that always holds, false = a wish that has a price.
    """

    domains: Selector = required(selector)  # noqa: RUF009  # makes a dataclasses.field
    hosts: tuple[str, ...] = required(sequence(text, empty=False))
    must: bool = option(True, flag)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRule:
    """Domains that belong together (affinity) or of which no two belong on the same host (anti_affinity).

    name: for messages. domains: selector. tag_prefix: instead of domains; each tag with this prefix makes a group.
    must: true = a rule that always holds, false = a wish that has a price.
    """

    name: str = required(text)
    domains: Selector | None = option(None, _selector_or_null)  # noqa: RUF009  # makes a dataclasses.field
    tag_prefix: str | None = option(None, lambda value, key: None if value is None else text(value, key))
    must: bool = option(True, flag)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureDomains(GroupRule):
    """Domains of which only a few may be in one failure domain, such as a rack.

    per: the prefix of the tags and groups of hosts that name failure domains: rack- for rack-a and rack-b. Each host
    is in one failure domain. most: how many of the domains may be in one. The other keys are those of affinity.
    """

    per: str = required(text)
    most: int = option(1, whole(1))


@dataclass(frozen=True, slots=True)
class Reserve:
    """What some hosts reserve for themselves, if it differs from the other hosts.

    hosts: names, also of inventory groups; if several entries have the same host, the last counts.
    memory_mib, cpu_cores: null = memory_reserve_mib, cpu_reserve_cores of the policy.
    """

    hosts: tuple[str, ...] = required(sequence(text, empty=False))
    memory_mib: float | None = option(None, number(0, nullable=True))
    cpu_cores: float | None = option(None, number(0, nullable=True))


@dataclass(frozen=True, slots=True)
class Migration:
    """How domains are moved: options of the module domain_migrate; null leaves each to the module.

    bandwidth_mib_s: limit of one migration. timeout_seconds: a migration that takes longer is given up.
    auto_converge, post_copy: whether these may be used if a domain writes memory faster than it can be copied.
    parallel_connections: streams of one migration. tls: encrypt the copy.
    """

    bandwidth_mib_s: int | None = option(None, whole(1, nullable=True))
    timeout_seconds: int | None = option(None, whole(1, nullable=True))
    auto_converge: bool | None = option(None, lambda value, key: None if value is None else flag(value, key))
    post_copy: bool | None = option(None, lambda value, key: None if value is None else flag(value, key))
    parallel_connections: int | None = option(None, whole(1, nullable=True))
    tls: bool | None = option(None, lambda value, key: None if value is None else flag(value, key))

    def over(self, other: Migration) -> Migration:
        """These options, and where they are null those of ``other``."""
        return replace(other, **self.given())

    def given(self) -> dict[str, t.Any]:
        """The options that are not null, by name."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}


def _level(value: t.Any, key: str) -> str | None:
    # YAML reads the bare word off as false.
    return None if value is None else t.cast(str, choice(*LEVELS)("off" if value is False else value, key))


@dataclass(frozen=True, slots=True)
class Override:
    """Domains that are treated differently from the others. If several entries have the same domain, the last that
    gives a key counts for that key.

    domains: selector. level: full = like the others; repair = moved only where a rule requires it (a drained host, a
      violated rule), not to level, relieve or empty hosts; off = never moved. null = nothing is said about it.
    priority: a whole number from -1000 to 1000; of the domains that are to move, those with a higher one get room first
      and start first. It does not decide which domains move, and a drain leaves nobody behind for it. All others
      have 0. null = nothing is said about it.
    migration: how they are moved; null keys as in the policy's own migration.
    """

    domains: Selector = required(selector)  # noqa: RUF009  # makes a dataclasses.field
    level: str | None = option(None, _level)
    priority: int | None = option(None, whole(-1000, 1000, nullable=True))
    migration: Migration = option(Migration(), nested(Migration))  # noqa: RUF009  # makes a dataclasses.field


def _override(value: t.Any, key: str) -> Override:
    found = read(Override, value, key)
    if found.level is None and found.priority is None and not found.migration.given():
        raise PolicyError(f"{key} must have one of the keys 'level', 'priority' and 'migration'.")
    return found


@dataclass(frozen=True, slots=True)
class Policy:
    """All keys of a policy. Fractions are 0..1 unless a key says otherwise.

    strategy: decides where domains go. balance levels the fleet with few and cheap moves. consolidate empties hosts
      with little load, so that they can sleep. optimal finds the plan with the lowest sum of score and price of the
      moves, for small fleets; it needs the Python package ortools. drain moves only domains that have to leave drained
      hosts.
    weights: how much each part of the score counts, see Weights.
    demand: how much CPU a domain will want, by what it wanted before. A name, or a mapping with name and parameters:
      observation (what was observed at this moment), mean, quantile, n_sigma (mean and standard deviations) or peak
      (the larger of the two). Where there is no history of a domain, the observation counts.
    host_demand: how much CPU all that is on a host will want together, by the sum of what they wanted at the same
      times; named as for demand. No move brings a host above cpu_limit by this figure either, with the same exceptions.
      observation: only the sum of the demands of the domains counts.
    quiet_minutes: a host that a domain came to or left is not emptied for this long.
    trigger: which observations make the strategies balance and optimal act. limit: a host is above cpu_limit or
      memory_limit, or its domains want more than it has at their peaks. spread: hosts differ by more than threshold.
      contention: the domains of a host wait for CPU although it is below its limits, or it is short of memory. Violated
      rules and drains make them act in any case. Without spread, a run that acts ends when no host is above a limit.
    threshold: the run acts when CPU or memory use differs by more than this fraction between two hosts (see trigger).
      Where neither has a weight, CPU wait and vCPUs per thread are compared, the latter as a fraction of
      cpu_overcommit.
    target: a run that acts continues until the difference is at most this; null = half of the threshold, so that the
      fleet does not end right below the threshold. One that is named is reached with the fewest moves that are found.
    hold: in how many runs in a row the fleet must be uneven before domains move; 1 = at once. The hosts store the
      number between runs (host_mark). Violated rules are repaired at once.
    minimum_gain: the whole plan must lower the score by this fraction, else nothing moves. In a large fleet the
      fraction is of the share of the score that belongs to the hosts of the plan.
    max_moves: domains moved in one run; null = no limit.
    move_cost: what one move must gain, in score (0.01 = one percent of one host beyond the target).
    move_cost_per_gib: what it must gain in addition for each GiB of memory that it copies.
    cooldown_seconds: a domain that was moved is left alone for this long, unless it violates a rule.
    retry_after_seconds: a move that failed is not tried again for this long, twice as long after each further failure,
      and at most for a day; 0 = it is tried again at once, null = cooldown_seconds. Others are made meanwhile.
    cpu_limit: no move brings a host above this fraction of its threads. There are two exceptions, unless
      cpu_limit_strict is true: a move from a host that was fuller than the other is afterwards, and a domain that has
      to leave its host and has no better place to go.
    cpu_limit_strict: no move brings a host above cpu_limit, or adds load to a host above it, without exception.
    memory_limit: no move brings a host above this fraction of its memory, counted by the maximum of its domains.
    memory_reserve_mib: memory of each host that domains never get. It includes what the host itself uses.
    cpu_reserve_cores: threads of each host that domains never get. They include what the host itself uses.
    reserves: hosts that reserve more or less than the others, see Reserve.
    memory_overcommit: how many times the memory may be promised. Above 1, the memory in use still stays below
      memory_limit.
    memory_basis: the memory of a domain that balancing levels: used (resident on the host), current (balloon) or
      maximum.
    cpu_overcommit: no move brings a host above this number of vCPUs per thread, but for a domain that has to leave its
      host and has no better place to go; null = no limit.
    include: selectors of domains that may be moved; empty = all.
    exclude: selectors of domains that are never moved.
    strict_selectors: a name, a tag or a selector that matches no domain now is an error instead of a note.
    drained_hosts: hosts that all domains leave, by name; the name of an inventory group stands for all its hosts.
    restart: selectors of domains that the strategy drain may shut down and start on another host if they cannot be
      migrated live; empty = none.
    ignore_hosts: hosts that are neither a source nor a destination, also by the name of an inventory group.
    accept_blockers: codes of blockers that do not stop a move (host_cpu still needs two equal hosts).
    pins: domains and the hosts where they belong, see Pin.
    affinity: domains that share a host, see GroupRule. With must, they move together or not at all.
    anti_affinity: domains of which no two share a host, see GroupRule.
    failure_domains: domains of which only a few may share a failure domain, such as a rack, see FailureDomains.
    overrides: domains that are treated differently, see Override.
    max_moves_out: moves out of one host in one wave; they run one after the other.
    max_moves_in: moves into one host in one wave.
    max_moves_per_wave: moves in one wave; null = no limit.
    bandwidth_mib_s: how much one migration copies in a second, for estimates.
    dirty_mib_s_per_core: how much memory a domain writes in a second for each core that it uses, for estimates where
      this was not observed.
    agree_rounds: how often the hosts are asked about the moves of a plan, and the plan is made again with what they
      refuse, before it is shown or carried out; 0 = each host is asked only when its move begins.
    actions: the actions that are allowed, cheapest first: vcpu, weight and memory inside a host, migrate between hosts.
      An action before migrate delays moves out of its host by one run. Without migrate, domains move only because of
      violated rules.
    important: selectors of domains that must not wait for CPU. One that waits gets a higher weight than the others.
    migration: how domains are moved, see Migration.
    optimal_seconds: how long the strategy optimal searches, in CP-SAT's deterministic time (about a second each).
    consolidation: how the strategy consolidate works, see Consolidation.
    """

    strategy: str = option("balance", _strategy)
    weights: Weights = option(Weights(), nested(Weights))  # noqa: RUF009  # makes a dataclasses.field
    demand: Algorithm = option(Algorithm("mean", {}), algorithm(_predictor))  # noqa: RUF009  # makes a dataclasses.field
    host_demand: Algorithm = option(Algorithm("peak", {}), algorithm(_predictor))  # noqa: RUF009  # makes a field
    quiet_minutes: float = option(30.0, number(0))
    trigger: tuple[str, ...] = option(TRIGGERS, sequence(choice(*TRIGGERS)))
    threshold: float = option(0.20, fraction())
    target: float | None = option(None, fraction(nullable=True))
    hold: int = option(1, whole(1))
    minimum_gain: float = option(0.1, fraction())
    max_moves: int | None = option(20, whole(1, nullable=True))
    move_cost: float = option(0.005, number(0))
    move_cost_per_gib: float = option(0.0005, number(0))
    cooldown_seconds: float = option(1800.0, number(0))
    retry_after_seconds: float | None = option(None, number(0, nullable=True))
    cpu_limit: float = option(0.9, fraction(10, above=True))
    cpu_limit_strict: bool = option(False, flag)
    memory_limit: float = option(0.9, fraction(above=True))
    memory_reserve_mib: float = option(0.0, number(0))
    cpu_reserve_cores: float = option(0.0, number(0))
    reserves: tuple[Reserve, ...] = option((), sequence(nested(Reserve)))
    memory_overcommit: float = option(1.0, number(1))
    memory_basis: str = option("used", choice("used", "current", "maximum"))
    cpu_overcommit: float | None = option(4.0, number(0, nullable=True, above=True))
    include: tuple[Selector, ...] = option((), sequence(selector, lone=True))
    exclude: tuple[Selector, ...] = option((), sequence(selector, lone=True))
    strict_selectors: bool = option(False, flag)
    drained_hosts: tuple[str, ...] = option((), sequence(text))
    restart: tuple[Selector, ...] = option((), sequence(selector, lone=True))
    ignore_hosts: tuple[str, ...] = option((), sequence(text))
    accept_blockers: tuple[str, ...] = option((), sequence(_blocker))
    pins: tuple[Pin, ...] = option((), sequence(nested(Pin)))
    affinity: tuple[GroupRule, ...] = option((), sequence(_group(GroupRule)))
    anti_affinity: tuple[GroupRule, ...] = option((), sequence(_group(GroupRule)))
    failure_domains: tuple[FailureDomains, ...] = option((), sequence(_group(FailureDomains)))
    overrides: tuple[Override, ...] = option((), sequence(_override))
    max_moves_out: int = option(4, whole(1))
    max_moves_in: int = option(2, whole(1))
    max_moves_per_wave: int | None = option(20, whole(1, nullable=True))
    bandwidth_mib_s: float = option(100.0, number(0, above=True))
    dirty_mib_s_per_core: float = option(10.0, number(0))
    agree_rounds: int = option(3, whole(0))
    actions: tuple[str, ...] = option(ACTIONS, sequence(choice(*ACTIONS)))
    important: tuple[Selector, ...] = option((), sequence(selector, lone=True))
    migration: Migration = option(Migration(), nested(Migration))  # noqa: RUF009  # makes a dataclasses.field
    optimal_seconds: float = option(10.0, number(0, above=True))
    consolidation: Consolidation = option(  # noqa: RUF009  # makes a dataclasses.field
        Consolidation(), nested(Consolidation)
    )

    @classmethod
    def from_mapping(cls, data: t.Any) -> Policy:
        """Read a policy; null or an empty mapping is the default policy. Raise PolicyError with all
        mistakes, one a line."""
        policy = read(cls, {} if data is None else data, "The policy")
        if policy.target is not None and policy.target > policy.threshold:
            raise PolicyError(f"target ({policy.target:g}) must not be above threshold ({policy.threshold:g}).")
        return policy

    def check_hosts(self, hosts: t.Iterable[str], groups: t.Iterable[str] = ()) -> None:
        """Raise PolicyError where the policy names what is neither a host nor a group of the snapshot."""
        known, problems = {*hosts, *groups}, Problems()
        given = [("drained_hosts", self.drained_hosts), ("ignore_hosts", self.ignore_hosts)]
        given += [(f"pins[{index}].hosts", pin.hosts) for index, pin in enumerate(self.pins)]
        given += [(f"reserves[{index}].hosts", reserve.hosts) for index, reserve in enumerate(self.reserves)]
        for key, named in given:
            for name in named:
                if name not in known:
                    problems.add(
                        f"{key} names the host {name!r}, which is not in the snapshot, and neither is a group of that "
                        f"name: {nearest(name, known)}"
                    )
        problems.stop()

    @property
    def accepted(self) -> float:
        """The difference between hosts up to which a run does nothing; any, where that is no reason to act."""
        return self.threshold if SPREAD in self.trigger else math.inf

    @property
    def goal(self) -> float:
        """The difference between hosts at which a run ends that acts; any, where only limits are a reason to act."""
        return self.levelled if SPREAD in self.trigger else math.inf

    @property
    def levelled(self) -> float:
        """The difference between hosts at which a run that acts stops."""
        return self.threshold / 2 if self.target is None else self.target

    @property
    def retry_after(self) -> float:
        """For how many seconds a move that failed once is not tried again."""
        return self.cooldown_seconds if self.retry_after_seconds is None else self.retry_after_seconds

    def reserve(self, host: str, groups: Set[str] = frozenset()) -> tuple[float, float]:
        """The memory (MiB) and the CPU (threads) of a host, with the inventory groups that it is in, that domains never
        get."""
        memory, cores = self.memory_reserve_mib, self.cpu_reserve_cores
        for reserve in self.reserves:
            if host in reserve.hosts or not groups.isdisjoint(reserve.hosts):
                memory = self.memory_reserve_mib if reserve.memory_mib is None else reserve.memory_mib
                cores = self.cpu_reserve_cores if reserve.cpu_cores is None else reserve.cpu_cores
        return memory, cores

    def group_rules(self) -> dict[str, tuple[GroupRule, ...]]:
        """The rules about groups of domains, by key."""
        return {
            "affinity": self.affinity,
            "anti_affinity": self.anti_affinity,
            "failure_domains": self.failure_domains,
        }

    def wishes(self, key: str) -> bool:
        """Whether the key has a wish (a rule with must: false)."""
        return any(not rule.must for rule in getattr(self, key))

    def must_keep(self, key: str) -> bool:
        """Whether the key has a rule that must hold."""
        return any(rule.must for rule in getattr(self, key))

    def to_mapping(self) -> dict[str, t.Any]:
        """The complete policy as plain JSON, which from_mapping reads back."""
        return t.cast("dict[str, t.Any]", _plain(self))


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, Selector):
        return value.source
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return value
