# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the few things that runs remember about a host, in a file on the host itself.

Whichever control node runs next finds them there, so none needs a memory of its own.
"""

from __future__ import annotations

import json
import os
import tempfile
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError

PATH = "var/lib/virtops.balance/marks.json"
SCHEMA = 1


def read(*, root: str = "/") -> dict[str, t.Any]:
    """Return the marks, the defaults for what was never marked or is not valid. No file that can be read means none."""
    try:
        with open(os.path.join(root, PATH), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        found = {}
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        found = {}
    detection, asleep, inside = found.get("detection"), found.get("asleep"), found.get("inside")
    maintained = found.get("maintained")
    return {
        "uneven_rounds": _count(found.get("uneven_rounds")),
        "idle_rounds": _count(found.get("idle_rounds")),
        "detection": detection if isinstance(detection, dict) else None,
        "asleep": asleep if isinstance(asleep, dict) else {},
        "inside": inside if isinstance(inside, dict) else {},
        "drained": _drained(found.get("drained")),
        "maintained": maintained if isinstance(maintained, str) else None,
    }


def _drained(value: t.Any) -> dict[str, str] | None:
    """Since when and what for; whatever stands there that is not nothing means that the host is drained."""
    if not value:
        return None
    known = value if isinstance(value, dict) else {}
    return {name: str(known.get(name) or "") for name in ("since", "purpose")}


def _count(value: t.Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def write(marks: t.Mapping[str, t.Any], *, root: str = "/") -> None:
    """Replace the file as a whole, so that a reader sees the old marks or the new ones. Raises BalanceError."""
    path = os.path.join(root, PATH)
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path))
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"schema": SCHEMA, **marks}, file)
                file.flush()
                # A host that loses its power in maintenance must not have forgotten that it is drained.
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise BalanceError(f"The marks of the host cannot be written to {path}: {error.strerror}.") from error
