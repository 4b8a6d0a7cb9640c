# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what Xen itself tells and libvirt does not.

Source: xl(1), "info", as Xen 4.20 prints it.
"""

from __future__ import annotations

import re
import subprocess

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection

_SECONDS = 10
_VIRT_CAPS = re.compile(r"^virt_caps *:(.*)$", re.MULTILINE)


def has_shadow_paging(connection: Connection) -> bool | None:
    """Return whether Xen can log which pages a PV guest writes; None = not known, or no Xen.

    Since 4.13 Xen names this kind of paging and the other one (hap), so one that names only the other does not have it.
    """
    if not (connection.xen and connection.local):
        return None
    try:
        done = subprocess.run(
            ["xl", "info"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VIRT_CAPS.search(done.stdout)
    capabilities = found[1].split() if found else []
    if "shadow" in capabilities:
        return True
    return False if "hap" in capabilities else None
