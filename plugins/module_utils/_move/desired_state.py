# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what a host does about a domain that is wanted in some state, here or elsewhere."""

from __future__ import annotations

import contextlib
import threading
import typing as t
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect
from ansible_collections.virtops.balance.plugins.module_utils._domain import cpu_shares
from ansible_collections.virtops.balance.plugins.module_utils._domain import state as domain_state
from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._domain.find import find_domain
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move import libvirt_migration
from ansible_collections.virtops.balance.plugins.module_utils._move.both_hosts import read_side
from ansible_collections.virtops.balance.plugins.module_utils._move.checks import memory
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Known
from ansible_collections.virtops.balance.plugins.module_utils._move.where_it_runs import Side
from ansible_collections.virtops.balance.plugins.module_utils._tuning import domain_cputune as cputune

STATES = ("stop", "create", "run")

SHUT_DOWN = "shut_down"
MARK_RUN = "mark_run"
CREATE = "create"
TUNE = "tune"
WAIT = "wait"
MIGRATE = "migrate"
REPORT_AND_SHUT_DOWN = "report_and_shut_down"
NONE = "none"

# (assigned to this host, wanted, running here): what to do, and why.
_TABLE: dict[tuple[bool, str, bool], tuple[str, str]] = {
    (True, "stop", True): (SHUT_DOWN, "{name} must be stopped and runs here."),
    (True, "stop", False): (NONE, "{name} must be stopped and does not run here."),
    (True, "create", True): (MARK_RUN, "{name} was to be created here and already runs: from now on it must run."),
    (True, "create", False): (CREATE, "{name} must be created here."),
    (True, "run", True): (TUNE, "{name} runs here, as wanted."),
    (True, "run", False): (WAIT, "{name} must run here and does not yet: its migration brings it."),
    (False, "stop", True): (SHUT_DOWN, "{name} must be stopped and runs here, although it belongs to another host."),
    (False, "run", True): (MIGRATE, "{name} runs here and belongs to another host: domain_migrate brings it there."),
    (False, "create", True): (
        REPORT_AND_SHUT_DOWN,
        "{name} must be created on another host, but it runs here.",
    ),
}
_NOTHING = (NONE, "{name} belongs to another host and does not run here.")

# A guest that is still booting, or that shows a question, may not have heard the first request.
_ASK_AGAIN_SECONDS = 10
_LOOK_SECONDS = 1
# States in which a guest does nothing, and libvirt refuses to ask it.
_DEAF = ("paused", "crashed", "pmsuspended")


@dataclass(frozen=True)
class Request:
    """What is wanted. RV(xml) is the definition to create it from; without one it must be defined on the host."""

    uri: str
    domain: str
    assigned: bool
    state: str
    xml: str | None = None
    xml_path: str | None = None
    persistent: bool = True
    weight: float | None = None
    cap: float | None = None
    cgroup_version: int | None = None
    timeout_seconds: int = 180
    force: bool = False
    memory_reserve_mib: int = 256


def decide(*, assigned: bool, state: str, running: bool) -> tuple[str, str]:
    """Return the action of the table's row and a sentence with a place for the name."""
    return _TABLE.get((assigned, state, running), _NOTHING)


def reach(
    api: t.Any, request: Request, *, check_mode: bool, clock: libvirt_migration.Clock = libvirt_migration.SYSTEM_CLOCK
) -> dict[str, t.Any]:
    """Do what the table says and return the result of the module. Raises BalanceError."""
    _check(request)
    with connect(api, request.uri, read_only=check_mode) as connection:
        try:
            return _reach(connection, request, check_mode=check_mode, clock=clock)
        except api.libvirtError as error:
            doing = f"bring {request.domain!r} into the state {request.state}"
            raise _errors.translate(api, error, doing=doing) from error


def _check(request: Request) -> None:
    for name, least in (("timeout_seconds", 1), ("memory_reserve_mib", 0)):
        if not least <= getattr(request, name) <= 1_000_000:
            raise BalanceError(f"{name} must be from {least} to 1000000, but it is {getattr(request, name)}.")


def _reach(
    connection: Connection, request: Request, *, check_mode: bool, clock: libvirt_migration.Clock
) -> dict[str, t.Any]:
    cpu_shares.check(weight=request.weight, cap=request.cap, xen=connection.xen)
    domain = find_domain(connection, request.domain)
    side = Side("this host") if domain is None else read_side(connection, domain.UUIDString(), "this host")
    # A copy that a migration fills does not run here, or not yet.
    running = side.running
    if side.active and not running and request.assigned and request.state != "run":
        _leave_alone(connection.api, domain)
    action, why = decide(assigned=request.assigned, state=request.state, running=running)
    result: dict[str, t.Any] = {
        "changed": False,
        "action": action,
        "why": why.format(name=request.domain),
        "running": running,
        # What is to be wanted from now on, for whoever keeps the list.
        "state": "run" if action in (MARK_RUN, CREATE) else request.state,
        "destroyed": False,
        "tuned": None,
    }
    after = running
    if action in (SHUT_DOWN, REPORT_AND_SHUT_DOWN):
        _leave_alone(connection.api, domain)
        if not check_mode:
            result["destroyed"] = shut_down(
                connection.api, domain, seconds=request.timeout_seconds, force=request.force, clock=clock
            )
        after = False
    elif action == CREATE:
        _create(connection, domain, request, check_mode=check_mode)
        after = True
    result.update(changed=after != running, running=after)
    if action in (CREATE, MARK_RUN, TUNE) and not (check_mode and not running):
        result["tuned"] = _tune(connection.api, request, check_mode=check_mode)
        result["changed"] |= result["tuned"] is not None and result["tuned"]["changed"]
    result["diff"] = _diff(running, after, result["tuned"])
    if action == REPORT_AND_SHUT_DOWN:
        how = "would be shut down" if check_mode else "was shut down"
        raise BalanceError(f"{result['why']} It {how} here.", details=result)
    return result


def _leave_alone(api: t.Any, domain: t.Any) -> None:
    """Raise BalanceError where libvirt or a migration holds the domain."""
    held = domain_state.why_held(api, domain)
    if held is not None:
        raise BalanceError(f"{held} Nothing is done to it meanwhile.")


class StillRunsError(BalanceError):
    """The guest was asked to shut down. It runs, and may still do so."""


class LeftError(BalanceError):
    """The domain was not shut down: somebody has migrated it to another host meanwhile."""


def shut_down(api: t.Any, domain: t.Any, *, seconds: float, force: bool, clock: libvirt_migration.Clock) -> bool:
    """Ask the guest to shut down and wait for it. Returns whether it had to be ended by force, where that is allowed.

    Raises StillRunsError, LeftError, BalanceError where nobody asked, and libvirtError where it could not be asked.
    """
    persistent = bool(domain.isPersistent())
    state = domain_state.state_name(domain.state()[0])
    error: type[BalanceError] = BalanceError
    if state in _DEAF:
        problem = f"{domain.name()} is {state}, so its guest cannot shut down by itself."
    elif _ends_when_asked(api, domain, seconds=seconds, clock=clock):
        if _has_left(api, domain, persistent=persistent):
            raise LeftError(f"{domain.name()} was moved to another host while its guest was to shut down.")
        return False
    else:
        error = StillRunsError
        waited = f"after {seconds:g} seconds (timeout_seconds)"
        problem = f"{domain.name()} was asked to shut down and still runs {waited}."
    if not force:
        more = "Set force to true to power it off; unwritten data of its guest is then lost."
        raise error(f"{problem} {more}")
    _unless_gone(api, domain, domain.destroy)
    if _active(api, domain):
        raise StillRunsError(f"{domain.name()} still runs although libvirt has ended it.")
    if _has_left(api, domain, persistent=persistent):
        raise LeftError(f"{domain.name()} was moved to another host before it was ended.")
    return True


def _ends_when_asked(api: t.Any, domain: t.Any, *, seconds: float, clock: libvirt_migration.Clock) -> bool:
    never = threading.Event()
    ask_at = clock.monotonic()
    end = ask_at + seconds
    while _active(api, domain):
        moment = clock.monotonic()
        if moment >= end:
            return False
        if moment >= ask_at:
            _unless_gone(api, domain, domain.shutdown)
            ask_at = moment + _ASK_AGAIN_SECONDS
        clock.wait(never, _LOOK_SECONDS)
    return True


def _has_left(api: t.Any, domain: t.Any, *, persistent: bool) -> bool:
    """Whether it is not active here because somebody has migrated it. A transient domain never leaves a trace."""
    try:
        state, reason = domain.state()[:2]
    except api.libvirtError as error:
        if _errors.code_of(error) == _errors.NO_DOMAIN:
            return persistent
        raise
    return domain_state.left_by_migration(state, reason)


def _active(api: t.Any, domain: t.Any) -> bool:
    try:
        return bool(domain.isActive())
    except api.libvirtError as error:
        # A transient domain that has ended is no more.
        if _errors.code_of(error) == _errors.NO_DOMAIN:
            return False
        raise


def _unless_gone(api: t.Any, domain: t.Any, call: t.Callable[[], object]) -> None:
    """Make a call that fails where the domain has ended meanwhile, which is what is wanted."""
    try:
        call()
    except api.libvirtError:
        if _active(api, domain):
            raise


def _create(connection: Connection, domain: t.Any, request: Request, *, check_mode: bool) -> None:
    """Start the domain, from the definition that is given or from that of the host."""
    api, handle = connection.api, connection.handle
    given = _definition(request)
    if given is None and domain is None:
        raise BalanceError(f"{request.domain} is not defined on this host. Give its definition with xml or xml_path.")
    text = domain.XMLDesc(api.VIR_DOMAIN_XML_INACTIVE) if given is None else given
    root = _parse(text, request)
    known = Known(memory_reserve_mib=request.memory_reserve_mib)
    room = memory.check_memory(domain_xml.parse(text), root, connection, known, host="this host")
    if not room.ok:
        raise BalanceError(f"{request.domain} is not created, because {room.message}.")
    if check_mode:
        return
    if given is None:
        domain.create()
    elif request.persistent:
        _define_and_start(api, handle, text, new=domain is None)
    else:
        handle.createXML(text, 0)


def _define_and_start(api: t.Any, handle: t.Any, text: str, *, new: bool) -> None:
    defined = handle.defineXML(text)
    try:
        defined.create()
    except api.libvirtError:
        # What cannot be started must not be left behind, where a restart of the host might try it.
        if new:
            _undefine(api, defined)
        raise


def _undefine(api: t.Any, domain: t.Any) -> None:
    # Why it did not start is what has to be told. One with NVRAM is only removed when it is said what becomes of that.
    with contextlib.suppress(api.libvirtError):
        domain.undefineFlags(api.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)
        return
    with contextlib.suppress(api.libvirtError):
        domain.undefine()


def _definition(request: Request) -> str | None:
    if request.xml_path is None:
        return request.xml
    try:
        with open(request.xml_path, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BalanceError(f"xml_path {request.xml_path!r} cannot be read: {why}.") from error


def _parse(text: str, request: Request) -> ET.Element:
    """Parse a definition, and see that it is that of the domain that is asked for."""
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise BalanceError(f"The definition of {request.domain} is not valid XML: {error}.") from error
    names = [(root.findtext(tag) or "").strip() for tag in ("name", "uuid")]
    if root.tag != "domain" or (request.domain != names[0] and request.domain.lower() != names[1].lower()):
        raise BalanceError(
            f"The definition is that of {names[0] or names[1] or f'<{root.tag}>'!r}, not of {request.domain!r}."
        )
    return root


def _tune(api: t.Any, request: Request, *, check_mode: bool) -> dict[str, t.Any] | None:
    if request.weight is None and request.cap is None:
        return None
    wanted = cputune.Request(
        uri=request.uri,
        domain=request.domain,
        weight=request.weight,
        cap=request.cap,
        cgroup_version=request.cgroup_version,
    )
    return cputune.tune(api, wanted, check_mode=check_mode)


def _diff(before: bool, after: bool, tuned: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
    shown = tuned["diff"] if tuned is not None else {"before": {}, "after": {}}
    return {"before": {"running": before, **shown["before"]}, "after": {"running": after, **shown["after"]}}
