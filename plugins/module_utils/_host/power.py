# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the part of going to sleep that happens on the host, and the options of host_power."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils import _connection, _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect
from ansible_collections.virtops.balance.plugins.module_utils._domain import state as domain_state
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._host import lease as _lease
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import check_number

# Between the look at the host and its end nobody else may begin something on it. A host that is woken again is free
# after this time at the latest. It is longer than a command of the control node may take to end it (120 s by default).
_LEASE_SECONDS = 180
_PURPOSE = "putting the host to sleep"
_COMMAND_SECONDS = 30
_ANSWER_SECONDS = 15
_LONGEST_SECONDS = 24 * 3600
_XEN_HOST_ID = 0


def argument_spec() -> dict[str, dict[str, t.Any]]:
    """Return the options of host_power. What the methods need is checked where they are used, on the control node."""
    argv = {"type": "list", "elements": "str"}
    bmc = {"user": {"type": "str"}, "password": {"type": "str", "no_log": True}}
    methods: dict[str, dict[str, t.Any]] = {
        "ipmi": {
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 623},
            **bmc,
            "interface": {"type": "str", "default": "lanplus"},
            "cipher_suite": {"type": "int"},
        },
        "redfish": {
            "url": {"type": "str", "required": True},
            "system": {"type": "str"},
            **bmc,
            "validate_certs": {"type": "bool", "default": True},
            "ca_path": {"type": "path"},
        },
        "wake_on_lan": {
            "mac": {"type": "str", "required": True},
            "address": {"type": "str", "default": "255.255.255.255"},
            "port": {"type": "int", "default": 9},
        },
        "command": {
            "sleep": argv,
            "wake": argv,
            "status": argv,
            "timeout_seconds": {"type": "float", "default": 120},
        },
    }
    control: dict[str, dict[str, t.Any]] = {
        "sleep": {
            "type": "str",
            "choices": ["poweroff", "suspend", "ipmi", "redfish", "command"],
            "default": "poweroff",
        },
        "wake": {"type": "str", "choices": ["wake_on_lan", "ipmi", "redfish", "command"], "required": True},
        "hard": {"type": "bool", "default": False},
        "wake_after_seconds": {"type": "int"},
        **{name: {"type": "dict", "options": options} for name, options in methods.items()},
    }
    return _connection.argument_spec(
        state={"type": "str", "choices": ["awake", "asleep", "query"], "required": True},
        control={"type": "dict", "required": True, "options": control},
        lease_owner={"type": "str"},
        timeout_seconds={"type": "float", "default": 600},
    )


def check_options(options: t.Mapping[str, t.Any]) -> None:
    """Raise BalanceError where numbers of the module's options make no sense."""
    check_number("timeout_seconds", options["timeout_seconds"], 0, _LONGEST_SECONDS)
    control = options["control"]
    if control["command"] is not None:
        check_number("control.command.timeout_seconds", control["command"]["timeout_seconds"], 1, _LONGEST_SECONDS)
    if control["wake_after_seconds"] is not None:
        check_number("control.wake_after_seconds", control["wake_after_seconds"], 1, 365 * _LONGEST_SECONDS)


def answer(api: t.Any, uri: str) -> None:
    """Check that libvirt answers. Raises BalanceError if it does not."""
    with connect(api, uri, read_only=True) as connection:
        _active_domains(connection)


def wake_up(api: t.Any, uri: str, *, root: str = "/") -> None:
    """Check that libvirt answers, and end the lease under which the host was put to sleep. Raises BalanceError."""
    answer(api, uri)
    held = _lease.read(root=root)
    if held is not None and held.purpose == _PURPOSE:
        _lease.release(held.owner, root=root)


def go_to_sleep(
    api: t.Any,
    uri: str,
    *,
    method: str,
    wake_after_seconds: int | None = None,
    lease_owner: str | None = None,
    check_mode: bool,
    root: str = "/",
) -> None:
    """Check for obstacles and, if the host itself has the method, put it to sleep at once.

    Raises BalanceError where a domain is active, where somebody else holds the lease, or where it does not work.
    """
    # Above all nobody else may begin something on it from now on.
    with connect(api, uri, read_only=True) as connection, _leased(lease_owner, check_mode=check_mode, root=root):
        obstacles = [_describe(api, domain) for domain in _active_domains(connection)]
        if obstacles:
            raise BalanceError(f"The host is not put to sleep: {', '.join(obstacles)}.")
        if not check_mode:
            for command in _commands(method, wake_after_seconds):
                _run(command)


def _active_domains(connection: Connection) -> list[t.Any]:
    """Return every domain that is there in any way, one that is arriving too. Raises BalanceError."""
    api = connection.api
    try:
        found = connection.call(
            lambda: connection.handle.listAllDomains(api.VIR_CONNECT_LIST_DOMAINS_ACTIVE),
            _ANSWER_SECONDS,
            doing="list the domains",
        )
        # Xen's domain 0 is the host itself.
        xen = connection.xen
        return [domain for domain in found if not (xen and domain.ID() == _XEN_HOST_ID)]
    except api.libvirtError as error:
        raise _errors.translate(api, error, doing="list the domains") from error


def _describe(api: t.Any, domain: t.Any) -> str:
    try:
        state, reason = domain.state()
        name = domain.name()
    except api.libvirtError:
        # It goes or comes just now; next time it is clear.
        return "a domain is changing its state"
    if domain_state.reason_name(state, reason) in ("migration", "starting_up"):
        return f"{name} is arriving or being started"
    return f"{name} is {domain_state.state_name(state)}"


@contextlib.contextmanager
def _leased(owner: str | None, *, check_mode: bool, root: str) -> t.Iterator[None]:
    """Hold the lease of the host, and leave a short one that covers its end. Raises BalanceError.

    One's own becomes short too: a host that sleeps cannot give it back.
    """
    held = _lease.read(root=root)
    if held is not None and held.owner != owner:
        raise _lease.HeldError(held)
    if owner is not None and held is None:
        raise BalanceError(f"{owner} does not hold a lease on this host any more, so it must not put it to sleep.")
    if check_mode:
        yield
        return
    mine = owner or f"host_power {secrets.token_hex(4)}"
    if owner is None:
        _lease.take(mine, purpose=_PURPOSE, seconds=_LEASE_SECONDS, root=root)
    try:
        yield
    except BaseException:
        if owner is None:
            _lease.release(mine, root=root)
        raise
    _lease.take(mine, purpose=_PURPOSE, seconds=_LEASE_SECONDS, root=root)


def _commands(method: str, wake_after_seconds: int | None) -> list[list[str]]:
    """Return what the host itself has to run. Sources: systemctl(1), rtcwake(8)."""
    commands = []
    if wake_after_seconds is not None:
        # "no" only sets the alarm: how the host goes to sleep is systemd's business.
        commands.append(["rtcwake", "--mode", "no", "--seconds", str(wake_after_seconds)])
    if method in ("poweroff", "suspend"):
        # It must not wait, because the answer has to get out before the network goes.
        commands.append(["systemctl", "--no-block", method])
    return commands


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            # What a command says in the language of the host need not be in the encoding of this process.
            errors="replace",
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except OSError as error:
        raise BalanceError(f"{command[0]} cannot be run: {error.strerror}.") from error
    except subprocess.TimeoutExpired as error:
        raise BalanceError(f"{' '.join(command)} did not end within {_COMMAND_SECONDS} seconds.") from error
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()) or f"it ended with {done.returncode}"
        raise BalanceError(f"{' '.join(command)} failed: {reason.rstrip('.')}.")
