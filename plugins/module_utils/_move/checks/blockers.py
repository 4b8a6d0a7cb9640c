# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: can the domain be migrated live at all?"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Check, Subject
from ansible_collections.virtops.balance.plugins.module_utils._observe import migration_blockers
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage


def check_blockers(
    subject: Subject,
    storage: SharedStorage,
    *,
    state: str,
    reason: str | None,
    has_snapshot: bool | None,
    accepted: t.Collection[str],
    copied: t.Collection[str],
    shadow_paging: bool | None = None,
    starts_anew: bool = False,
) -> Check:
    """Check whether the domain itself can be migrated live.

    RV(copied) are the targets of the disks that are copied, which therefore need not be shared. A domain that its
    user paused moves and stays paused, so that alone is no obstacle. RV(starts_anew): see find_blockers().
    """
    kept = [disk for disk in subject.live.disks if disk.target not in copied]
    found = migration_blockers.find_blockers(
        dataclasses.replace(subject.live, disks=tuple(kept)),
        storage,
        state=state,
        reason=reason,
        job=None,
        has_snapshot=has_snapshot,
        shadow_paging=shadow_paging,
        starts_anew=starts_anew,
    )
    left = [
        blocker["message"] for blocker in found if blocker["code"] not in accepted and blocker["code"] != "not_running"
    ]
    if left:
        return Check("blockers", False, "; ".join(left))
    return Check("blockers", True, "nothing in the domain prevents a live migration")
