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
from ansible_collections.virtops.balance.plugins.module_utils._host import refusals

PATH = "var/lib/virtops.balance/marks.json"
SCHEMA = 1


class MarksError(BalanceError):
    """The marks exist and cannot be read."""


def read(*, root: str = "/") -> dict[str, t.Any]:
    """Return the marks, the defaults for what was never marked. Raises MarksError where they cannot be known.

    The host may be drained then, so it must not count as one that is not, and what stands there must not be written
    over. A mark of a newer version that kept the schema is returned as it is, so that whoever writes the marks back
    does not lose it.
    """
    path = os.path.join(root, PATH)
    found = _load(path)
    for name, fits in _FITS.items():
        if found.get(name) is not None and not fits(found[name]):
            raise _unclear(f"{path} has a value for {name} that is not valid")
    return {
        **{name: value for name, value in found.items() if name != "schema"},
        "uneven_rounds": found.get("uneven_rounds") or 0,
        "idle_rounds": found.get("idle_rounds") or 0,
        "detection": found.get("detection"),
        "asleep": found.get("asleep") or {},
        "inside": found.get("inside") or {},
        "refusals": found.get("refusals") or [],
        "drained": _drained(found.get("drained")),
        "maintained": found.get("maintained"),
    }


def observe(*, root: str = "/") -> dict[str, t.Any]:
    """Return the marks and None, or None and why they cannot be read, in the form of an observation."""
    try:
        return {"marks": read(root=root), "marks_problem": None}
    except MarksError as error:
        return {"marks": None, "marks_problem": error.message}


def _load(path: str) -> dict[str, t.Any]:
    """Return the content of the file, {} where there is none. Raises MarksError."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise _unclear(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise _unclear(f"{path} is not valid JSON") from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise _unclear(f"{path} has no valid schema")
    if schema > SCHEMA:
        raise MarksError(
            f"It is not known whether this host is drained: {path} is of a newer version of the collection "
            f"(schema {schema}, this one knows {SCHEMA}). Use that version."
        )
    return dict(found)


def _unclear(why: str) -> MarksError:
    return MarksError(
        f"It is not known whether this host is drained: {why}. "
        "Repair the file, or remove it and then drain the host again if it was drained."
    )


def _drained(value: t.Any) -> dict[str, str] | None:
    """Since when and why the host is drained; any content that is not empty means that it is."""
    if not value:
        return None
    known = value if isinstance(value, dict) else {}
    return {name: str(known.get(name) or "") for name in ("since", "purpose")}


def _is_count(value: t.Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_mapping(value: t.Any) -> bool:
    return isinstance(value, dict)


def _are_refusals(value: t.Any) -> bool:
    return isinstance(value, list) and all(map(refusals.is_refusal, value))


_FITS: dict[str, t.Callable[[t.Any], bool]] = {
    "uneven_rounds": _is_count,
    "idle_rounds": _is_count,
    "detection": _is_mapping,
    "asleep": _is_mapping,
    "inside": _is_mapping,
    "refusals": _are_refusals,
    "maintained": lambda value: isinstance(value, str),
}
"""What the values are that are written here. Who wrote another one may have changed more than that."""


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
