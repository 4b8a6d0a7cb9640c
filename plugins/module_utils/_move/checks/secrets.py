# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: does the destination have the secrets that the disks and the TPM of the domain need?

Only whether there is a secret is asked, never for its value.
"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Check, Subject

# What libvirt looks a secret up by that is named by its usage: virSecretUsageType. A passphrase is that of a volume.
_USAGES = {"passphrase": "VOLUME", "ceph": "CEPH", "iscsi": "ISCSI"}


def check_secrets(subject: Subject, destination: Connection) -> t.Iterator[Check]:
    """Make one check for each secret that the domain names."""
    for key, value, kind in sorted(_secrets(subject.migratable)):
        yield _check(subject, destination, key, value, kind)


def _secrets(root: ET.Element) -> set[tuple[str, str, str]]:
    """Return (uuid or usage, its value, type) of each secret."""
    found = set()
    for secret in root.iter("secret"):
        for key in ("uuid", "usage"):
            if secret.get(key):
                found.add((key, secret.get(key, ""), secret.get("type", "")))
    for encryption in root.findall("devices/tpm/backend/encryption"):
        if encryption.get("secret"):
            found.add(("uuid", encryption.get("secret", ""), ""))
    return found


def _check(subject: Subject, destination: Connection, key: str, value: str, kind: str) -> Check:
    api, handle = destination.api, destination.handle
    what = f"secret {value}" if key == "uuid" else f"secret for {value} ({kind})"
    usage = getattr(api, f"VIR_SECRET_USAGE_TYPE_{_USAGES.get(kind, '')}", None)
    if key == "usage" and usage is None:
        return Check("secret", None, f"{subject.destination} cannot be asked for the {what}")
    try:
        if key == "uuid":
            handle.secretLookupByUUIDString(value)
        else:
            handle.secretLookupByUsage(usage, value)
    except api.libvirtError as error:
        if _errors.code_of(error) == _errors.NO_SECRET:
            return Check("secret", False, f"{subject.destination} does not have the {what}")
        if destination.lost(error):
            raise
        return Check("secret", None, f"{subject.destination} cannot be asked for the {what}")
    return Check("secret", True, f"{subject.destination} has the {what}")
