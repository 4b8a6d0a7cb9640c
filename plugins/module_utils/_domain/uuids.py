# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: UUIDs as people type them."""

from __future__ import annotations

import re

_UUID = re.compile(r"[0-9a-f]{8}(-?)(?:[0-9a-f]{4}\1){3}[0-9a-f]{12}", re.IGNORECASE)


def plain_uuid(text: str) -> str:
    """Return a UUID as libvirt prints it, however it is written: in capitals, or without its dashes. Other text is
    returned as it is.
    """
    if _UUID.fullmatch(text) is None:
        return text
    digits = text.replace("-", "").lower()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
