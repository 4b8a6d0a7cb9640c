# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: weight and cap of one domain, in the running one and in its definition."""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect
from ansible_collections.virtops.balance.plugins.module_utils._domain import cpu_shares
from ansible_collections.virtops.balance.plugins.module_utils._domain import state as domain_state
from ansible_collections.virtops.balance.plugins.module_utils._domain.find import need_domain
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._observe import procfs

LIVE, DEFINITION = "live", "definition"

# How the definition calls what the calls for the scheduler call otherwise.
_IN_DEFINITION = {
    "cpu_shares": "shares",
    "global_period": "global_period",
    "global_quota": "global_quota",
    "vcpu_period": "period",
    "vcpu_quota": "quota",
}


@dataclass(frozen=True)
class Request:
    """What is wanted. RV(weight) and RV(cap) are None where they are to stay as they are."""

    uri: str
    domain: str
    weight: float | None = None
    cap: float | None = None
    live: bool = True
    persistent: bool = True
    cgroup_version: int | None = None


@dataclass(frozen=True)
class _Place:
    """The running domain or its definition: where values are read and written."""

    api: t.Any
    domain: t.Any
    name: str
    xen: bool
    cgroup_version: int | None

    def read(self) -> dict[str, int | None]:
        if self.xen:
            return dict(self.domain.schedulerParameters())
        if self.name == LIVE:
            return dict(self.domain.schedulerParametersFlags(self.api.VIR_DOMAIN_AFFECT_LIVE))
        # Of an absent value the call for the scheduler invents one.
        root = ET.fromstring(self.domain.XMLDesc(self.api.VIR_DOMAIN_XML_INACTIVE))
        found = {key: root.findtext(f"cputune/{tag}") for key, tag in _IN_DEFINITION.items()}
        return {key: None if text is None else int(text) for key, text in found.items()}

    def write(self, name: str, value: int) -> None:
        # One at a time: of several libvirt keeps the first ones where it refuses a later one.
        if self.xen:
            self.domain.setSchedulerParameters({name: value})
        elif self.name == LIVE:
            self.domain.setSchedulerParametersFlags({name: value}, self.api.VIR_DOMAIN_AFFECT_LIVE)
        else:
            # Zero takes a quota out of a definition; -1 would stay there.
            self.domain.setSchedulerParametersFlags({name: max(0, value)}, self.api.VIR_DOMAIN_AFFECT_CONFIG)

    def describe(self, values: cpu_shares.Values) -> dict[str, float | None]:
        vcpus = self.domain.info()[3]
        return cpu_shares.describe(values, vcpus=vcpus, xen=self.xen, cgroup_version=self.cgroup_version)


def tune(api: t.Any, request: Request, *, check_mode: bool) -> dict[str, t.Any]:
    """Set what is wanted and read it again; return the result of the module. Raises BalanceError."""
    if not request.live and not request.persistent:
        raise BalanceError("live and persistent are both false, so there is nothing to set: make one of them true.")
    with connect(api, request.uri, read_only=check_mode) as connection:
        try:
            return _tune(connection, request, check_mode=check_mode)
        except api.libvirtError as error:
            raise _errors.translate(api, error, doing=f"tune the CPU of {request.domain!r}") from error


def _tune(connection: Connection, request: Request, *, check_mode: bool) -> dict[str, t.Any]:
    xen = connection.xen
    cpu_shares.check(weight=request.weight, cap=request.cap, xen=xen)
    domain = need_domain(connection, request.domain)
    version = request.cgroup_version
    if version is None and connection.local and not xen:
        version = procfs.read_cgroup_version()
    places = [_Place(connection.api, domain, name, xen, version) for name in _places(domain, request, xen=xen)]
    result: dict[str, t.Any] = {
        "changed": False,
        "name": domain.name(),
        "uuid": domain.UUIDString(),
        LIVE: None,
        DEFINITION: None,
    }
    before, after = {}, {}
    todo = []
    for place in places:
        values = place.read()
        wanted = cpu_shares.changes(values, weight=request.weight, cap=request.cap, xen=xen, cgroup_version=version)
        before[place.name] = place.describe(values)
        after[place.name] = place.describe({**values, **wanted})
        if wanted:
            todo.append((place, wanted))
    if todo:
        held = domain_state.why_held(connection.api, domain) if domain.isActive() else None
        if held is not None:
            raise BalanceError(f"{held} Its CPU is not tuned meanwhile.")
        if not check_mode:
            for place, wanted in todo:
                after[place.name] = _write(place, wanted, request)
    return {**result, **after, "changed": bool(todo), "diff": {"before": before, "after": after}}


def _places(domain: t.Any, request: Request, *, xen: bool) -> list[str]:
    """Where to set it: whatever of the two was asked for and exists, at least one."""
    active, defined = domain.isActive(), domain.isPersistent() and not xen
    if request.live and active:
        return [LIVE, DEFINITION] if request.persistent and defined else [LIVE]
    if request.persistent and defined:
        return [DEFINITION]
    if not active:
        raise BalanceError(f"{domain.name()} is not running here, and it has no definition that could be changed.")
    why = "Xen keeps no weight and no cap in a definition" if xen else "it is transient"
    raise BalanceError(f"{domain.name()} has no definition that could be changed ({why}): set live to true.")


def _write(place: _Place, wanted: t.Mapping[str, int], request: Request) -> dict[str, float | None]:
    """Write the values and read them again. Raises libvirtError, or BalanceError where one did not take."""
    for name, value in wanted.items():
        place.write(name, value)
    values = place.read()
    left = cpu_shares.changes(
        values, weight=request.weight, cap=request.cap, xen=place.xen, cgroup_version=place.cgroup_version
    )
    if left:
        told = ", ".join(f"{name} {value}, but reports {values.get(name)}" for name, value in left.items())
        raise BalanceError(f"The hypervisor accepted for {place.domain.name()} ({place.name}) {told}.")
    return place.describe(values)
