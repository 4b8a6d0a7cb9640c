# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: cap and weight of a domain, in the way of each hypervisor.

A cap is a ceiling for the whole domain in percent of one physical CPU, 0 = none. A weight is relative, 1.0 = what
every domain has by default.

- QEMU: the cap is global_quota of global_period (from 1000 microseconds, -1 = none; 0 is silently ignored by libvirt),
  the weight cpu_shares, which libvirt writes as it is: cgroup version 1 has 2 up to 262144 with 1024 as the default,
  version 2 has 1 up to 10000 with 100. Source: https://libvirt.org/formatdomain.html#cpu-tuning.
- Xen (schedulers credit and credit2): cap in percent of one CPU and weight 1 up to 65535 with 256 as the default.
  They are not part of the definition, so they are lost by a migration, and the calls take no flags.
  Source: https://libvirt.org/manpages/virsh.html#schedinfo.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError

DEFAULT_PERIOD = 100_000
_NO_QUOTA = -1
_SMALLEST_QUOTA = 1_000
# What libvirt shows for "max" of cgroup version 2, which is no quota: ULLONG_MAX >> 20, in old releases the larger
# ULLONG_MAX / 1000. Source: virCgroupV2GetCpuCfsQuota in src/util/vircgroupv2.c.
_SHOWN_FOR_NONE = 17_592_186_044_415

_DEFAULT_SHARES = {1: 1024, 2: 100}
# Libvirt before 9.1 refuses 1 with cgroup version 2 too, so 2 is the least that works everywhere.
_SHARES_RANGE = {1: (2, 262_144), 2: (2, 10_000)}

_XEN_DEFAULT_WEIGHT = 256
_XEN_LARGEST = 65_535

# What holds for every hypervisor. A cap below the least quota that the kernel takes would silently be more.
LEAST_WEIGHT, MOST_WEIGHT = 0.02, 100.0
LEAST_CAP, MOST_CAP = 1.0, 1_000_000.0

Values = t.Mapping[str, t.Optional[int]]

# What libvirt says where there is no CPU controller: a session daemon, or a kernel without one.
_CANNOT_BE_CAPPED = (
    _errors.NO_SUPPORT,
    _errors.OPERATION_INVALID,
    _errors.CONFIG_UNSUPPORTED,
    _errors.OPERATION_UNSUPPORTED,
)


@dataclass(frozen=True)
class Tuning:
    """What a domain had before it moved and must have again. RV(weight) is only set where it does not travel."""

    cap: float = 0
    weight: int | None = None


def read(api: t.Any, domain: t.Any, *, xen: bool) -> Tuning:
    """Read the tuning of a running domain. Raises libvirtError."""
    if xen:
        values = domain.schedulerParameters()
        return Tuning(cap=values.get("cap", 0), weight=values.get("weight"))
    try:
        values = domain.schedulerParametersFlags(api.VIR_DOMAIN_AFFECT_LIVE)
    except api.libvirtError as error:
        if _errors.code_of(error) in _CANNOT_BE_CAPPED:
            return Tuning()
        raise
    return Tuning(cap=percent(values.get("global_quota"), values.get("global_period")))


def limits(quota: int | None) -> bool:
    """Return whether a quota is a ceiling at all.

    >>> limits(50000), limits(-1), limits(17592186044415), limits(None)
    (True, False, False, False)
    """
    return quota is not None and 0 < quota < _SHOWN_FOR_NONE


def percent(quota: int | None, period: int | None) -> float:
    """Return the cap that a quota of a period means.

    >>> percent(50000, 100000), percent(-1, 100000), percent(12500, 50000), percent(None, None)
    (50, 0, 25, 0)
    """
    if quota is None or not limits(quota) or not period or period < 0:
        return 0
    cap = round(100 * quota / period, 3)
    return int(cap) if cap == int(cap) else cap


def quota_for(cap: float, period: int) -> int:
    """Return the quota for a cap, the least that the kernel takes where it would be smaller."""
    return max(_SMALLEST_QUOTA, round(cap * period / 100)) if cap > 0 else _NO_QUOTA


def check(*, weight: float | None, cap: float | None, xen: bool) -> None:
    """Raise BalanceError where a weight or a cap cannot be set."""
    if weight is not None and not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
        raise BalanceError(f"weight must be a number from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}, but it is {weight:g}.")
    most = _XEN_LARGEST if xen else MOST_CAP
    if cap is not None and cap != 0 and not LEAST_CAP <= cap <= most:
        raise BalanceError(f"cap must be 0 (none) or a number from {LEAST_CAP:g} to {most:.0f}, but it is {cap:g}.")


def changes(
    values: Values, *, weight: float | None, cap: float | None, xen: bool, cgroup_version: int | None
) -> dict[str, int]:
    """Return what has to be set, by libvirt's names and in this order, for a weight and a cap (None = as it is).

    RV(values) is what the domain has now; a value that it lacks is the default one. A weight or a cap that the
    hypervisor's own numbers cannot tell from the present one is no change.
    """
    wanted: dict[str, int] = {}
    if weight is not None:
        wanted.update(_native_weight(weight, xen=xen, cgroup_version=cgroup_version))
    if cap is not None:
        wanted.update(_native_cap(cap, values, xen=xen))
    return {name: value for name, value in wanted.items() if not _same(name, values.get(name), value, cgroup_version)}


def _native_weight(weight: float, *, xen: bool, cgroup_version: int | None) -> dict[str, int]:
    if xen:
        return {"weight": min(_XEN_LARGEST, max(1, round(_XEN_DEFAULT_WEIGHT * weight)))}
    if cgroup_version not in _DEFAULT_SHARES:
        raise BalanceError(
            "The number for a weight depends on the cgroup version of the hypervisor, which cannot be read from here. "
            "Set cgroup_version, or run the module on the hypervisor itself."
        )
    lowest, highest = _SHARES_RANGE[cgroup_version]
    return {"cpu_shares": min(highest, max(lowest, round(_DEFAULT_SHARES[cgroup_version] * weight)))}


def _native_cap(cap: float, values: Values, *, xen: bool) -> dict[str, int]:
    if xen:
        return {"cap": round(cap)}
    # A ceiling for each virtual CPU would hold besides, and version 1 refuses one above that of the whole domain.
    wanted = {"vcpu_quota": _NO_QUOTA}
    period = values.get("global_period") or DEFAULT_PERIOD
    if cap and cap * period / 100 < _SMALLEST_QUOTA:
        period = wanted["global_period"] = DEFAULT_PERIOD
    wanted["global_quota"] = quota_for(cap, period)
    return wanted


def _same(name: str, found: int | None, wanted: int, cgroup_version: int | None) -> bool:
    if name.endswith("_quota"):
        return found == wanted if limits(found) else wanted == _NO_QUOTA
    if name == "cpu_shares" and found is None:
        found = _DEFAULT_SHARES.get(cgroup_version or 0)
    return found == wanted


def describe(values: Values, *, vcpus: int, xen: bool, cgroup_version: int | None) -> dict[str, float | None]:
    """Return the weight (None = not known) and the cap that libvirt's values mean.

    Where there is only a ceiling for each virtual CPU, the cap is the sum for RV(vcpus) of them.
    """
    if xen:
        share, default = values.get("weight"), _XEN_DEFAULT_WEIGHT
        cap: float = values.get("cap") or 0
    else:
        default = _DEFAULT_SHARES.get(cgroup_version or 0, 0)
        share = values.get("cpu_shares") or default
        cap = percent(values.get("global_quota"), values.get("global_period") or DEFAULT_PERIOD)
        cap = cap or vcpus * percent(values.get("vcpu_quota"), values.get("vcpu_period") or DEFAULT_PERIOD)
    return {"weight": round(share / default, 3) if share and default else None, "cap": cap}


def shares_for(shares: int, *, source_version: int, destination_version: int) -> int:
    """Return cpu_shares that mean at the destination what RV(shares) mean at the source.

    >>> shares_for(1024, source_version=1, destination_version=2)
    100
    """
    lowest, highest = _SHARES_RANGE[destination_version]
    wanted = round(shares * _DEFAULT_SHARES[destination_version] / _DEFAULT_SHARES[source_version])
    return min(highest, max(lowest, wanted))


def lift_cap(api: t.Any, domain: t.Any, *, xen: bool) -> None:
    """Remove the cap of the running domain; its definition keeps it. Raises libvirtError or BalanceError.

    The quota holds for QEMU as a whole, so it would throttle the very threads that send the memory.
    """
    write_cap(api, domain, 0, xen=xen)


def write_cap(api: t.Any, domain: t.Any, cap: float, *, xen: bool) -> None:
    """Set the cap of the running domain, and read it again. Raises libvirtError, or BalanceError where it did not take.

    While a job runs on the domain libvirt makes this wait 30 seconds and then fails.
    """
    if xen:
        domain.setSchedulerParameters({"cap": round(cap)})
        found = domain.schedulerParameters().get("cap", 0)
        wanted: float = round(cap)
    else:
        live = api.VIR_DOMAIN_AFFECT_LIVE
        period = domain.schedulerParametersFlags(live).get("global_period") or DEFAULT_PERIOD
        quota = quota_for(cap, period)
        domain.setSchedulerParametersFlags({"global_quota": quota}, live)
        found = percent(domain.schedulerParametersFlags(live).get("global_quota"), period)
        wanted = percent(quota, period)
    if found != wanted:
        raise BalanceError(f"The hypervisor accepted a cap of {wanted:g} %, but reports {found:g} %.")


def restore(api: t.Any, domain: t.Any, tuning: Tuning, *, xen: bool) -> None:
    """Restore the tuning of a domain after a move that succeeded or failed. Raises libvirtError or BalanceError."""
    if xen and tuning.weight is not None:
        domain.setSchedulerParameters({"weight": tuning.weight})
    if tuning.cap:
        write_cap(api, domain, tuning.cap, xen=xen)
