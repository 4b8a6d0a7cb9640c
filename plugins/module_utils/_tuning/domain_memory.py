# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the memory of one domain by its balloon, in steps, never below what the guest needs."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils import _errors, _option_checks
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect
from ansible_collections.virtops.balance.plugins.module_utils._domain import each, original_settings
from ansible_collections.virtops.balance.plugins.module_utils._domain import state as domain_state
from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._domain.find import need_domain
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._observe import domain as observed_domain
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts
from ansible_collections.virtops.balance.plugins.module_utils._observe.host import Clock
from ansible_collections.virtops.balance.plugins.module_utils._tuning import balloon, memory_decision

LIVE, DEFINITION = "live", "definition"
SIZED, RELEASED = "sized", "released"
_MOST_MIB = 1 << 30
_CLOCK = Clock()
_KIB = 1024


@dataclass(frozen=True)
class Request:
    """What is wanted; see the documentation of the module domain_memory. Without RV(domain) every one is released."""

    uri: str
    domain: str | None = None
    state: str = SIZED
    memory_mib: int | None = None
    minimum_mib: int = 128
    margin_mib: int = 64
    step_mib: int = 256
    host_reserve_mib: int = 512
    timeout_seconds: float = 60
    stats_period_seconds: int = 5
    persistent: bool = False

    def check(self) -> None:
        """Raise BalanceError where an option makes no sense."""
        if self.memory_mib is not None:
            _option_checks.check_number("memory_mib", self.memory_mib, 1, _MOST_MIB)
        _option_checks.check_number("minimum_mib", self.minimum_mib, 1, _MOST_MIB)
        _option_checks.check_number("margin_mib", self.margin_mib, 0, _MOST_MIB)
        _option_checks.check_number("step_mib", self.step_mib, 1, _MOST_MIB)
        _option_checks.check_number("host_reserve_mib", self.host_reserve_mib, 0, _MOST_MIB)
        _option_checks.check_number("timeout_seconds", self.timeout_seconds, 1, 3600)
        _option_checks.check_number("stats_period_seconds", self.stats_period_seconds, 1, 3600)
        if self.memory_mib is not None and self.memory_mib < self.minimum_mib:
            raise BalanceError(f"memory_mib is {self.memory_mib}, but minimum_mib is {self.minimum_mib}.")


def size(api: t.Any, request: Request, *, check_mode: bool, clock: Clock = _CLOCK, root: str = "/") -> dict[str, t.Any]:
    """Bring the memory of a domain to the wanted size and return the result of the module. Raises BalanceError."""
    request.check()
    with connect(api, request.uri, read_only=check_mode) as connection:

        def act(domain: t.Any) -> dict[str, t.Any]:
            return _Sizing(connection, domain, request, check_mode=check_mode, clock=clock, root=root).run()

        try:
            if request.domain is None:
                return each.each(connection, act, doing="release the memory of")
            domain = need_domain(connection, request.domain)
            return act(domain)
        except api.libvirtError as error:
            raise _errors.translate(
                api, error, doing=f"change the memory of {request.domain or request.uri!r}"
            ) from error


class _Sizing:
    def __init__(
        self, connection: Connection, domain: t.Any, request: Request, *, check_mode: bool, clock: Clock, root: str
    ) -> None:
        self._connection, self._domain, self._request = connection, domain, request
        self._check_mode, self._clock, self._root = check_mode, clock, root
        self._api = connection.api
        self._name: str = domain.name()

    def run(self) -> dict[str, t.Any]:
        active, defined = bool(self._domain.isActive()), bool(self._domain.isPersistent())
        persistent = defined if self._request.state == RELEASED else self._request.persistent
        if not active and not persistent:
            if self._request.state == SIZED:
                raise BalanceError(
                    f"{self._name} is not running here: set persistent to true to change its definition."
                )
        elif persistent and not defined:
            raise BalanceError(f"{self._name} has no definition that could be changed (it is transient).")
        places = {}
        if active:
            places[LIVE] = self._size_live()
        if persistent:
            places[DEFINITION] = self._size_definition()
        sides = {
            side: {place: sizes[number] for place, sizes in places.items()}
            for number, side in enumerate(("before", "after"))
        }
        return {
            "changed": any(changed for _before, _after, changed in places.values()),
            "name": self._name,
            "uuid": self._domain.UUIDString(),
            LIVE: sides["after"].get(LIVE),
            DEFINITION: sides["after"].get(DEFINITION),
            "diff": sides,
        }

    # Each of the two returns the sizes before and after in MiB, and whether that is a change.

    def _size_definition(self) -> tuple[int, int, bool]:
        flags = self._api.VIR_DOMAIN_AFFECT_CONFIG
        xml = domain_xml.parse(self._domain.XMLDesc(self._api.VIR_DOMAIN_XML_INACTIVE))
        maximum = xml.memory_kib or 0
        current = maximum if xml.current_memory_kib is None else xml.current_memory_kib
        target = self._target(flags)
        if target is None:
            return current // _KIB, current // _KIB, False
        self._check_maximum(target, maximum)
        changed = not balloon.is_at(current, target)
        if not self._check_mode:
            if changed:
                balloon.remember(self._api, self._domain, current, flags=flags)
                self._domain.setMemoryFlags(target, flags)
            if self._request.state == RELEASED:
                balloon.forget(self._api, self._domain, flags=flags)
        return current // _KIB, target // _KIB, changed or self._request.state == RELEASED

    def _size_live(self) -> tuple[int, int, bool]:
        flags = self._api.VIR_DOMAIN_AFFECT_LIVE
        stats = self._stats()
        current, target = stats["balloon.current"], self._target(flags)
        if target is None:
            return current // _KIB, current // _KIB, False
        self._check_maximum(target, stats["balloon.maximum"])
        changed = not balloon.is_at(current, target)
        reached = target
        if changed:
            obstacle = balloon.obstacle_in(domain_xml.parse(self._domain.XMLDesc(0)), self._name)
            if obstacle is not None:
                raise BalanceError(f"{obstacle[1]} Its memory cannot be changed while it runs.")
            held = domain_state.why_held(self._api, self._domain)
            if held is not None:
                raise BalanceError(f"{held} Its memory is not changed meanwhile.")
            if target > current:
                self._check_host(target - current)
            elif not self._check_mode or self._period() is not None:
                # Those that are there may be from before an earlier change, which took what they tell of.
                self._check_floor(target, self._fresh_stats(after=stats.get("balloon.last-update")))
            if not self._check_mode:
                balloon.remember(self._api, self._domain, current, flags=flags)
                reached = self._move(current, target)
        if not self._check_mode and self._request.state == RELEASED:
            balloon.forget(self._api, self._domain, flags=flags)
        return current // _KIB, reached // _KIB, changed or self._request.state == RELEASED

    def _target(self, flags: int) -> int | None:
        if self._request.state == RELEASED:
            return original_settings.read(self._api, self._domain, flags=flags).balloon_kib
        return None if self._request.memory_mib is None else self._request.memory_mib * _KIB

    def _check_maximum(self, target: int, maximum: int) -> None:
        if target > maximum:
            raise BalanceError(
                f"{self._name} can have {maximum // _KIB} MiB at most (its maximum memory), not {target // _KIB} MiB."
            )

    def _check_host(self, more: int) -> None:
        available = host_facts.read_memory(self._connection, root=self._root)["available_mib"]
        reserve = self._request.host_reserve_mib
        if available is None or available - more // _KIB < reserve:
            has = "It is not known what memory the host has" if available is None else f"The host has {available} MiB"
            raise BalanceError(
                f"{has} available: {more // _KIB} MiB more for {self._name} would not leave a reserve of {reserve} MiB."
            )

    def _check_floor(self, target: int, stats: balloon.Stats) -> None:
        current, usable = stats["balloon.current"] // _KIB, stats["balloon.usable"] // _KIB
        lowest = memory_decision.floor_mib(
            current_mib=current,
            usable_mib=usable,
            margin_mib=self._request.margin_mib,
            minimum_mib=self._request.minimum_mib,
        )
        if target // _KIB < lowest:
            raise BalanceError(
                f"{target // _KIB} MiB are too little for {self._name}, which needs {lowest} MiB: of its {current} MiB "
                f"it could still use {usable} MiB, and a margin of {self._request.margin_mib} MiB must stay."
            )

    def _move(self, current: int, target: int) -> int:
        """Move the balloon step by step and return where it arrived, which is the target."""
        deadline = self._clock.monotonic() + self._request.timeout_seconds
        moved_at: float | None = None
        while not balloon.is_at(current, target):
            if moved_at is not None and target < current:
                self._check_floor(target, self._fresh_stats(after=moved_at))
            step = self._request.step_mib * _KIB
            goal = max(target, current - step) if target < current else min(target, current + step)
            self._domain.setMemoryFlags(goal, self._api.VIR_DOMAIN_AFFECT_LIVE)
            left = max(0.0, deadline - self._clock.monotonic())
            sizes = balloon.watch(self._connection, {self._domain: goal}, left, self._clock)
            reached = sizes.get(self._domain.UUIDString())
            if reached is None:
                raise BalanceError(f"{self._name} ended while its memory was changed.")
            if not balloon.is_at(reached, goal):
                # Else a driver that comes later would still go there.
                self._domain.setMemoryFlags(reached, self._api.VIR_DOMAIN_AFFECT_LIVE)
                raise BalanceError(self._why_not(current, reached, goal))
            current, moved_at = reached, self._clock.now()
        return current

    def _why_not(self, before: int, reached: int, goal: int) -> str:
        within = f"within {self._request.timeout_seconds:g} seconds"
        if balloon.is_at(reached, before):
            return (
                f"The balloon of {self._name} did not move {within}: the driver (virtio_balloon) in the guest is not "
                f"loaded, or does not answer."
            )
        return (
            f"The balloon of {self._name} went from {before // _KIB} to {reached // _KIB} MiB {within}, not to "
            f"{goal // _KIB} MiB; it stays there."
        )

    def _stats(self) -> balloon.Stats:
        stats = balloon.read(self._connection, [self._domain]).get(self._domain.UUIDString())
        if stats is None or "balloon.current" not in stats or "balloon.maximum" not in stats:
            raise BalanceError(f"Libvirt reports nothing about the memory of {self._name}.")
        return stats

    def _period(self) -> int | None:
        return domain_xml.parse(self._domain.XMLDesc(0)).stats_period_seconds or None

    def _fresh_stats(self, *, after: float | None) -> balloon.Stats:
        """Return figures of the guest that are recent, and younger than RV(after) (seconds since 1970).

        Where nobody collects them this is switched on, for as long as the domain runs.
        """
        if self._connection.xen:
            raise BalanceError(
                f"Libvirt does not tell how much memory guests of Xen could still use: none is taken from {self._name}."
            )
        period = self._period()
        if period is None:
            period = self._request.stats_period_seconds
            self._domain.setMemoryStatsPeriod(period, self._api.VIR_DOMAIN_AFFECT_LIVE)
        deadline = self._clock.monotonic() + 2 * period + 1
        while True:
            stats = self._stats()
            recent = observed_domain.freshness({}, stats, period, now=self._clock.now())
            # The time of the figures is in whole seconds.
            young = after is None or stats.get("balloon.last-update", 0) >= int(after) + 1
            if recent and young and "balloon.usable" in stats:
                return stats
            if self._clock.monotonic() >= deadline:
                raise BalanceError(
                    f"{self._name} does not report how much memory it could still use, or its last report is older "
                    f"than {observed_domain.fresh_seconds(period)} s: no memory is taken from it."
                )
            self._clock.sleep(min(1.0, period / 2))
