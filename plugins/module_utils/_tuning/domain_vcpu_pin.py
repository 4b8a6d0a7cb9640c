# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the affinity of one domain's vCPUs, in the running domain and in its definition."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect
from ansible_collections.virtops.balance.plugins.module_utils._domain import each, original_settings, vcpu_affinity
from ansible_collections.virtops.balance.plugins.module_utils._domain import state as domain_state
from ansible_collections.virtops.balance.plugins.module_utils._domain.find import need_domain
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError

LIVE, DEFINITION = "live", "definition"
PINNED, RELEASED = "pinned", "released"


@dataclass(frozen=True)
class Request:
    """What is wanted: RV(cpus) for all vCPUs, or RV(pins) by vCPU. Without RV(domain) every one is released."""

    uri: str
    domain: str | None = None
    state: str = PINNED
    cpus: t.Any = None
    pins: t.Mapping[str, t.Any] | None = None
    persistent: bool = False


def pin(api: t.Any, request: Request, *, check_mode: bool) -> dict[str, t.Any]:
    """Set what is wanted and read it again; return the result of the module. Raises BalanceError."""
    with connect(api, request.uri, read_only=check_mode) as connection:
        try:
            if request.domain is None:
                return each.each(
                    connection,
                    lambda domain: _pin(connection, domain, request, check_mode=check_mode),
                    doing="release the vCPUs of",
                )
            domain = need_domain(connection, request.domain)
            return _pin(connection, domain, request, check_mode=check_mode)
        except api.libvirtError as error:
            raise _errors.translate(api, error, doing=f"pin the vCPUs of {request.domain or request.uri!r}") from error


def _pin(connection: Connection, domain: t.Any, request: Request, *, check_mode: bool) -> dict[str, t.Any]:
    api = connection.api
    if connection.xen:
        return _leave_xen_alone(domain, request)
    cpus = vcpu_affinity.HostCpus.read(connection)
    before: dict[str, dict[str, str]] = {}
    after: dict[str, dict[str, str]] = {}
    todo: list[tuple[int, dict[int, vcpu_affinity.Affinity]]] = []
    for place, flags in _places(api, domain, request):
        found = vcpu_affinity.read(api, domain, cpus, flags=flags)
        wanted = _wanted(api, domain, request, cpus, found, flags=flags)
        changes = {number: affinity for number, affinity in wanted.items() if found[number] != affinity}
        before[place] = {str(number): cpus.text(affinity) for number, affinity in found.items()}
        after[place] = {str(number): cpus.text(affinity) for number, affinity in {**found, **wanted}.items()}
        # A note that is all that is left of a change is taken away as well.
        if changes or (request.state == RELEASED and wanted):
            todo.append((flags, changes))
    if todo:
        held = domain_state.why_held(api, domain) if domain.isActive() else None
        if held is not None:
            raise BalanceError(f"{held} Its vCPUs are not pinned meanwhile.")
        if not check_mode:
            for flags, changes in todo:
                vcpu_affinity.change(api, domain, cpus, changes, flags=flags, forget=request.state == RELEASED)
    return {
        "changed": bool(todo),
        "name": domain.name(),
        "uuid": domain.UUIDString(),
        LIVE: after.get(LIVE),
        DEFINITION: after.get(DEFINITION),
        "diff": {"before": before, "after": after},
    }


def _leave_xen_alone(domain: t.Any, request: Request) -> dict[str, t.Any]:
    """Return that there is nothing to release; raise BalanceError for everything else.

    To pin and to read pins, libvirt for Python asks for the map of the host's CPUs (virNodeGetCPUMap), which the
    driver for Xen does not have.
    """
    if request.state != RELEASED:
        raise BalanceError(f"Libvirt for Python cannot pin vCPUs on Xen. For {domain.name()} use xl vcpu-pin.")
    return {
        "changed": False,
        "name": domain.name(),
        "uuid": domain.UUIDString(),
        LIVE: None,
        DEFINITION: None,
        "diff": {"before": {}, "after": {}},
    }


def _places(api: t.Any, domain: t.Any, request: Request) -> list[tuple[str, int]]:
    """Return where to set it, each with libvirt's flag. Raises BalanceError where that is nowhere."""
    live, definition = (LIVE, api.VIR_DOMAIN_AFFECT_LIVE), (DEFINITION, api.VIR_DOMAIN_AFFECT_CONFIG)
    active, defined = bool(domain.isActive()), bool(domain.isPersistent())
    if request.state == RELEASED:
        return [place for place, there in ((live, active), (definition, defined)) if there]
    if not active and not request.persistent:
        raise BalanceError(f"{domain.name()} is not running here: set persistent to true to change its definition.")
    if request.persistent and not defined:
        raise BalanceError(f"{domain.name()} has no definition that could be changed (it is transient).")
    return [place for place, there in ((live, active), (definition, request.persistent)) if there]


def _wanted(
    api: t.Any,
    domain: t.Any,
    request: Request,
    cpus: vcpu_affinity.HostCpus,
    found: t.Mapping[int, vcpu_affinity.Affinity],
    *,
    flags: int,
) -> dict[int, vcpu_affinity.Affinity]:
    if request.state == RELEASED:
        remembered = original_settings.read(api, domain, flags=flags).pins
        return {number: cpus.numbers(text) for number, text in remembered.items() if number in found}
    if request.pins is None:
        affinity = cpus.parse(request.cpus, what="cpus")
        return dict.fromkeys(found, affinity)
    wanted = {}
    for key, value in request.pins.items():
        number = int(key) if str(key).isascii() and str(key).isdigit() and len(str(key)) < 9 else None
        if number is None or number not in found:
            there = ", ".join(map(str, found))
            raise BalanceError(f"pins names the vCPU {key!a:.60}, but {domain.name()} has {there}.")
        wanted[number] = cpus.parse(value, what=f"pins.{number}")
    return wanted
