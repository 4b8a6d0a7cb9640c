# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: does the destination have the secrets that the disks and the TPM of the domain need?

Only whether there is a secret is asked, never for its value.
"""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import required
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Check, Subject

# What libvirt looks a secret up by that is named by its usage: virSecretUsageType. A passphrase is that of a volume.
_USAGES = {"passphrase": "VOLUME", "ceph": "CEPH", "iscsi": "ISCSI"}


def check_secrets(subject: Subject, destination: Connection) -> t.Iterator[Check]:
    """Make one check for each secret that the domain names."""
    for secret in sorted(required.secrets(subject.migratable)):
        yield _check(subject, destination, secret)


def _check(subject: Subject, destination: Connection, secret: required.Secret) -> Check:
    api, handle = destination.api, destination.handle
    by_uuid = secret.key == "uuid"
    what, about = f"secret {secret.text}" if by_uuid else f"secret for {secret.text}", secret.text
    usage = getattr(api, f"VIR_SECRET_USAGE_TYPE_{_USAGES.get(secret.type, '')}", None)
    if not by_uuid and usage is None:
        return Check("secret", None, f"{subject.destination} cannot be asked for the {what}", about=about)
    try:
        if by_uuid:
            handle.secretLookupByUUIDString(secret.value)
        else:
            handle.secretLookupByUsage(usage, secret.value)
    except api.libvirtError as error:
        if _errors.code_of(error) == _errors.NO_SECRET:
            return Check("secret", False, f"{subject.destination} does not have the {what}", about=about)
        if destination.lost(error):
            raise
        return Check("secret", None, f"{subject.destination} cannot be asked for the {what}", about=about)
    return Check("secret", True, f"{subject.destination} has the {what}", about=about)
