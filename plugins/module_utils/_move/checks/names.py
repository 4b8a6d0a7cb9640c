# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: are the name and the UUID of the domain free on the destination?"""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Check, Subject


def check_names(subject: Subject, destination: Connection) -> Check:
    api, handle = destination.api, destination.handle
    by_uuid = _lookup(api, handle.lookupByUUIDString, subject.uuid)
    if by_uuid is not None and by_uuid.name() != subject.name:
        return Check(
            "names_free", False, f"{subject.destination} already has a domain with this UUID, named {by_uuid.name()}"
        )
    by_name = _lookup(api, handle.lookupByName, subject.name)
    if by_name is not None and by_name.UUIDString() != subject.uuid:
        return Check(
            "names_free",
            False,
            f"{subject.destination} already has another domain of this name, with the UUID {by_name.UUIDString()}",
        )
    return Check("names_free", True, f"its name and UUID are free on {subject.destination}")


def _lookup(api: t.Any, call: t.Callable[[str], t.Any], key: str) -> t.Any | None:
    try:
        return call(key)
    except api.libvirtError as error:
        if _errors.code_of(error) == _errors.NO_DOMAIN:
            return None
        raise
