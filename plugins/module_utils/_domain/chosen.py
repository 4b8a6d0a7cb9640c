# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: which domains of a host a round is about."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils._domain.uuids import plain_uuid


@dataclass(frozen=True)
class Chosen:
    """RV(domains) and RV(exclude) are names or UUIDs; no RV(domains) = all."""

    domains: t.Sequence[str] = ()
    exclude: t.Sequence[str] = ()

    def concerns(self, uuid: str, name: str) -> bool:
        """Return whether a domain is chosen."""
        return (not self.domains or _names(self.domains, uuid, name)) and not _names(self.exclude, uuid, name)


def _names(keys: t.Sequence[str], uuid: str, name: str) -> bool:
    return any(key == name or plain_uuid(key) == plain_uuid(uuid) for key in keys)
