# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: find a domain by its UUID or name."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import is_printable

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def check_name(key: str | None) -> None:
    """Raise BalanceError for what cannot be the name of a domain; libvirt's binding would fail in ways of its own."""
    if not key or not key.strip() or not is_printable(key):
        raise BalanceError(
            f"domain must be the UUID or the name of a domain, a text without control characters, not {key!a:.60}."
        )


def is_uuid(key: str) -> bool:
    return _UUID.fullmatch(key) is not None


def find_domain(connection: Connection, key: str) -> t.Any | None:
    """Return the domain of this UUID or name, None where the host has none. Raises BalanceError."""
    check_name(key)
    api, handle = connection.api, connection.handle
    lookup = handle.lookupByUUIDString if is_uuid(key) else handle.lookupByName
    try:
        return lookup(key)
    except api.libvirtError as error:
        if _errors.code_of(error) == _errors.NO_DOMAIN:
            return None
        raise _errors.translate(api, error, doing=f"look for {key!r}") from error


def need_domain(connection: Connection, key: str) -> t.Any:
    """Return the domain of this UUID or name. Raises BalanceError, also where the host has none."""
    domain = find_domain(connection, key)
    if domain is None:
        raise BalanceError(f"There is no domain {key!r} on this host.")
    return domain
