# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what went wrong, as one sentence that a person can act on."""

from __future__ import annotations

import typing as t

# virErrorNumber and virErrorDomain are append-only, so the numbers are safe to write down:
# libvirt/virterror.h. Only those that the collection decides by are here.
INTERNAL_ERROR = 1
NO_SUPPORT = 3
OPERATION_DENIED = 29
SYSTEM_ERROR = 38
NO_DOMAIN = 42
NO_NETWORK = 43
AUTH_FAILED = 45
NO_STORAGE_POOL = 49
NO_STORAGE_VOL = 50
OPERATION_INVALID = 55
NO_INTERFACE = 57
NO_SECRET = 66
CONFIG_UNSUPPORTED = 67
AUTH_CANCELLED = 79
NO_DOMAIN_METADATA = 80
MIGRATE_UNSAFE = 81
OPERATION_UNSUPPORTED = 84
ACCESS_DENIED = 88
CPU_INCOMPATIBLE = 91
AUTH_UNAVAILABLE = 94

DOMAIN_RPC = 7

MAY_THIS_USER = "may this user use libvirt? Run as root or put the user into the group libvirt"

_HINTS: dict[int, str] = {
    OPERATION_DENIED: "the connection is read-only",
    AUTH_FAILED: MAY_THIS_USER,
    AUTH_CANCELLED: MAY_THIS_USER,
    # As polkit says it where nobody could be asked for a password.
    AUTH_UNAVAILABLE: MAY_THIS_USER,
    ACCESS_DENIED: "libvirt's access rules (polkit) do not allow it to this user",
}


class BalanceError(Exception):
    """One sentence for a person, with libvirt's own numbers kept where libvirt caused it.

    Modules let it rise to their main(), where C(fail_json(**error.to_result())) says it once.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        code_name: str | None = None,
        domain: int | None = None,
        details: t.Mapping[str, t.Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = dict(details or {})
        self.code = code
        self.code_name = code_name
        self.domain = domain

    def to_result(self) -> dict[str, t.Any]:
        """Arguments for fail_json: msg, details, and libvirt's code, its name and its domain where there are any."""
        result: dict[str, t.Any] = {**self.details, "msg": self.message}
        if self.code is not None:
            result["libvirt_error"] = {"code": self.code, "name": self.code_name, "domain": self.domain}
        return result


class DeadlineError(BalanceError):
    """A call into libvirt did not come back in time. It may still be running in its thread."""


def code_of(error: Exception) -> int | None:
    """Return libvirt's error number (virErrorNumber), or None where the error carries none."""
    getter = getattr(error, "get_error_code", None)
    return getter() if getter is not None else None


def is_connection_lost(error: Exception) -> bool:
    """Return whether the connection itself is gone, so that every later call would fail as well.

    Of what one daemon gets from another (networks, interfaces, storage) only Connection.lost() can tell.
    """
    getter = getattr(error, "get_error_domain", None)
    return getter is not None and getter() == DOMAIN_RPC and code_of(error) in (INTERNAL_ERROR, SYSTEM_ERROR)


def code_name(api: t.Any, code: int | None) -> str | None:
    """Return the name of an error number as libvirt's own binding spells it, e.g. 55 -> OPERATION_INVALID."""
    prefix = "VIR_ERR_"
    # These three are virErrorLevel, which shares the prefix and the low numbers.
    levels = {"VIR_ERR_NONE", "VIR_ERR_WARNING", "VIR_ERR_ERROR"}
    for name in dir(api):
        if name.startswith(prefix) and name not in levels and getattr(api, name) == code:
            return name[len(prefix) :]
    return None


def translate(api: t.Any, error: Exception, *, doing: str, hint: str | None = None) -> BalanceError:
    """Make one sentence of a libvirtError.

    RV(doing) completes "Cannot ...", e.g. "connect to qemu:///system". RV(hint) is for an error without one.
    """
    code = code_of(error)
    name = code_name(api, code)
    detail = getattr(error, "get_error_message", lambda: None)() or str(error) or "no reason given"
    # Libvirt puts the last lines of a QEMU that ended behind its own.
    told = "; ".join(line.strip() for line in detail.splitlines() if line.strip()).replace(":; ", ": ")
    sentence = f"Cannot {doing}: {told.rstrip('.')}"
    hint = _HINTS.get(code, hint) if code is not None else hint
    if hint:
        sentence = f"{sentence} ({hint})"
    domain_getter = getattr(error, "get_error_domain", None)
    return BalanceError(
        f"{sentence}.", code=code, code_name=name, domain=domain_getter() if domain_getter is not None else None
    )
