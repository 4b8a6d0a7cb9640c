# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: one round of taking memory from domains and giving it to others, decided from figures.

The rule is that of the predecessor: a domain that could still use more than RV(high_mib) gives RV(factor) of what is
above, one that could use less than RV(low_mib) gets what it uses and RV(step_mib) more, as far as the host has it. What
is added is when not to: see decide(). All amounts are MiB. No I/O, no clock: same figures, same decision.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

NEEDED, ALWAYS = "needed", "always"
RECLAIM = (NEEDED, ALWAYS)

# Less than this is not worth the trouble, and it keeps the balloon still while the guest breathes.
SMALLEST_CHANGE_MIB = 16


@dataclass(frozen=True)
class DomainMemory:
    """The memory of one domain. RV(obstacle) says why its balloon must not be touched: a code and a sentence.

    RV(usable_mib) is what the guest could still use (its MemAvailable). RV(swapping) is None where it is not known.
    """

    uuid: str
    name: str
    maximum_mib: int
    current_mib: int
    usable_mib: int | None = None
    swapping: bool | None = None
    obstacle: tuple[str, str] | None = None


@dataclass(frozen=True)
class HostMemory:
    """The memory of the host. RV(pressure) (0..1, PSI "some avg60") and RV(swapping) are None if not known."""

    available_mib: int | None
    pressure: float | None = None
    swapping: bool | None = None


@dataclass(frozen=True)
class Options:
    """How to decide; see the documentation of the module host_memory_balance."""

    low_mib: int = 128
    high_mib: int = 256
    factor: float = 0.5
    step_mib: int = 256
    reclaim: str = NEEDED
    minimum_mib: int = 128
    margin_mib: int = 64
    max_change_mib: int = 1024
    host_reserve_mib: int = 512
    max_pressure: float = 0.1


class Change(t.NamedTuple):
    """Set the balloon of RV(domain) to RV(target_mib)."""

    domain: DomainMemory
    target_mib: int
    why: str


@dataclass(frozen=True)
class Decision:
    """What to do. RV(starving) are domains that get nothing although they need it, with the reason."""

    changes: tuple[Change, ...]
    left_alone: tuple[tuple[DomainMemory, str, str], ...]
    starving: tuple[tuple[DomainMemory, str], ...]
    why: str


def floor_mib(*, current_mib: int, usable_mib: int, margin_mib: int, minimum_mib: int) -> int:
    """Return the smallest size that leaves the guest what it uses now and a margin.

    Taking memory away lowers what it could use by as much, so the kernel's own share needs no estimate.
    """
    return max(minimum_mib, current_mib - usable_mib + margin_mib)


def decide(domains: t.Sequence[DomainMemory], host: HostMemory, options: Options) -> Decision:
    """Decide one round.

    - A domain with an obstacle is left alone. One that swaps gives nothing, and counts as starving up to high_mib.
    - Nothing is given while the host is short: below its reserve, under memory pressure, swapping, or not known.
      What this round takes can only be given in the next one, when the host really has it.
    - Memory is taken where the host is short or cannot give what starving domains need; with C(always) from everyone.
    """
    free = [domain for domain in domains if domain.obstacle is None and domain.usable_mib is not None]
    left_alone = [(domain, *domain.obstacle) for domain in domains if domain.obstacle is not None]
    left_alone += [
        (domain, "no_statistics", f"{domain.name} does not report how much memory it could still use.")
        for domain in domains
        if domain.obstacle is None and domain.usable_mib is None
    ]
    short = _why_short(host, options)
    pool = 0 if short is not None or host.available_mib is None else host.available_mib - options.host_reserve_mib

    grants, starving, unmet = _grants(free, pool, short, options)
    changes = list(grants)
    if options.reclaim == ALWAYS or short is not None or unmet > 0:
        wanted = None if options.reclaim == ALWAYS or short is not None else unmet
        changes += _reclaims(free, wanted, options)
    changes.sort(key=lambda change: (change.domain.name, change.domain.uuid))
    return Decision(tuple(changes), tuple(left_alone), tuple(starving), _why(changes, starving, short))


def _usable(domain: DomainMemory) -> int:
    return domain.usable_mib or 0


def _why_short(host: HostMemory, options: Options) -> str | None:
    if host.available_mib is None:
        return "It is not known how much memory the host has available."
    if host.available_mib <= options.host_reserve_mib:
        return f"The host has {host.available_mib} MiB available; {options.host_reserve_mib} MiB are its reserve."
    if host.pressure is not None and host.pressure > options.max_pressure:
        return f"Tasks of the host waited for memory during {host.pressure * 100:.0f} % of the last minute."
    return "The host swaps." if host.swapping else None


def _is_starving(domain: DomainMemory, options: Options) -> bool:
    return _usable(domain) < (options.high_mib if domain.swapping else options.low_mib)


def _grants(
    domains: t.Sequence[DomainMemory], pool: int, short: str | None, options: Options
) -> tuple[list[Change], list[tuple[DomainMemory, str]], int]:
    """Return what is given, who gets nothing, and how much of what is needed the host does not have."""
    grants, starving, unmet = [], [], 0
    for domain in sorted(domains, key=lambda domain: (_usable(domain), domain.name, domain.uuid)):
        if not _is_starving(domain, options):
            continue
        target = min(domain.maximum_mib, domain.current_mib - _usable(domain) + options.step_mib)
        need = min(target - domain.current_mib, options.max_change_mib)
        if need < SMALLEST_CHANGE_MIB:
            if domain.current_mib + SMALLEST_CHANGE_MIB > domain.maximum_mib:
                starving.append((domain, f"{domain.name} has its maximum of {domain.maximum_mib} MiB."))
            continue
        amount = min(need, pool)
        unmet += need - max(0, amount)
        if amount < SMALLEST_CHANGE_MIB:
            starving.append((domain, short or "The host has no memory left to give."))
            continue
        pool -= amount
        why = f"{domain.name} could use {_usable(domain)} MiB more"
        why += ", and it swaps." if domain.swapping else f", less than {options.low_mib} MiB."
        grants.append(Change(domain, domain.current_mib + amount, why))
    return grants, starving, unmet


def _reclaims(domains: t.Sequence[DomainMemory], wanted: int | None, options: Options) -> list[Change]:
    """Return what is taken, from the richest first, until RV(wanted) is reached; None = from all."""
    changes, taken = [], 0
    for domain in sorted(domains, key=lambda domain: (-_usable(domain), domain.name, domain.uuid)):
        usable = _usable(domain)
        if domain.swapping or usable <= options.high_mib:
            continue
        lowest = floor_mib(
            current_mib=domain.current_mib,
            usable_mib=usable,
            margin_mib=options.margin_mib,
            minimum_mib=options.minimum_mib,
        )
        amount = min(
            int((usable - options.high_mib) * options.factor), options.max_change_mib, domain.current_mib - lowest
        )
        if wanted is not None:
            amount = min(amount, max(wanted - taken, SMALLEST_CHANGE_MIB))
        if amount < SMALLEST_CHANGE_MIB:
            continue
        why = f"{domain.name} could use {usable} MiB more, above {options.high_mib} MiB."
        changes.append(Change(domain, domain.current_mib - amount, why))
        taken += amount
        if wanted is not None and taken >= wanted:
            break
    return changes


def _why(changes: t.Sequence[Change], starving: t.Sequence[tuple[DomainMemory, str]], short: str | None) -> str:
    given = sum(max(0, change.target_mib - change.domain.current_mib) for change in changes)
    taken = sum(max(0, change.domain.current_mib - change.target_mib) for change in changes)
    if changes:
        return f"{given} MiB are given and {taken} MiB taken." + (f" {short}" if short else "")
    if starving:
        return starving[0][1]
    return short or "No domain needs memory."
