# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: which secrets libvirt keeps on a host. Their values are never asked for."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts


def read(connection: Connection) -> list[dict[str, t.Any]] | None:
    """Return [{uuid, type, usage}], sorted, None where they cannot be listed; RV(usage) None = it has none.

    Raises libvirtError where the connection is lost.
    """
    api = connection.api
    # As virSecretUsageTypeTypeFromString names them: libvirt's src/conf/virsecret.c and docs/formatsecret.
    names = {
        getattr(api, f"VIR_SECRET_USAGE_TYPE_{name.upper()}", None): name
        for name in ("none", "volume", "ceph", "iscsi", "tls", "vtpm")
    }
    secrets = host_facts.ask(connection, connection.handle.listAllSecrets, 0)
    if secrets is None:
        return None
    found = [
        {
            "uuid": secret.UUIDString(),
            "type": names.get(secret.usageType(), "unknown"),
            "usage": secret.usageID() or None,
        }
        for secret in secrets
    ]
    return sorted(found, key=lambda secret: secret["uuid"])
