# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what people keep in a domain's metadata, its tags and its share of an allocation.

The running domain and its definition have an element each. Both are changed, and whatever else is in them stays.
"""

from __future__ import annotations

import math
import typing as t
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect
from ansible_collections.virtops.balance.plugins.module_utils._domain import metadata as domain_metadata
from ansible_collections.virtops.balance.plugins.module_utils._domain import state as domain_state
from ansible_collections.virtops.balance.plugins.module_utils._domain.find import need_domain
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import is_printable

LIVE, DEFINITION = "live", "definition"
PRESENT, ABSENT, EXACT = "present", "absent", "exact"
ALLOCATION = ("cpu_min", "cpu_max", "share")

Kept = dict[str, t.Any]


@dataclass(frozen=True)
class Request:
    """What is wanted. RV(tags) None leaves the tags alone, RV(allocation) None what it is about."""

    uri: str
    domain: str
    state: str = PRESENT
    tags: t.Sequence[str] | None = None
    allocation: t.Mapping[str, float | None] | None = None


def tag(api: t.Any, request: Request, *, check_mode: bool) -> dict[str, t.Any]:
    """Change what is not as it is wanted; return the result of the module. Raises BalanceError."""
    _check(request)
    with connect(api, request.uri, read_only=check_mode) as connection:
        try:
            domain = need_domain(connection, request.domain)
            return _tag(connection, domain, request, check_mode=check_mode)
        except api.libvirtError as error:
            raise _errors.translate(api, error, doing=f"tag {request.domain}") from error


def _check(request: Request) -> None:
    for text in request.tags or ():
        if not text.strip() or text != text.strip() or not is_printable(text):
            raise BalanceError(
                f"A tag must be a text without control characters and without spaces around it, not {text!a:.60}."
            )
    for key, value in (request.allocation or {}).items():
        if value is not None and (not math.isfinite(value) or value < 0):
            raise BalanceError(f"allocation.{key} must be a number of at least 0, not {value:g}.")


def _tag(connection: Connection, domain: t.Any, request: Request, *, check_mode: bool) -> dict[str, t.Any]:
    api = connection.api
    before: dict[str, Kept] = {}
    after: dict[str, Kept] = {}
    todo: list[tuple[str, int, str]] = []
    for place, flags in _places(api, domain):
        previous = domain_metadata.read_text(api, domain, flags=flags)
        before[place] = _kept(previous)
        after[place] = _wanted(before[place], request)
        if after[place] != before[place]:
            todo.append((place, flags, _text(previous, after[place])))
    if todo:
        held = domain_state.why_held(api, domain) if domain.isActive() else None
        if held is not None:
            raise BalanceError(f"{held} Its tags are not changed meanwhile.")
        if not check_mode:
            for place, flags, text in todo:
                domain_metadata.write_text(api, domain, text, flags=flags)
                if _kept(domain_metadata.read_text(api, domain, flags=flags)) != after[place]:
                    raise BalanceError(
                        f"The metadata of {domain.name()} was written, and libvirt shows something else."
                    )
    return {
        "changed": bool(todo),
        "name": domain.name(),
        "uuid": domain.UUIDString(),
        LIVE: after.get(LIVE),
        DEFINITION: after.get(DEFINITION),
        "diff": {"before": before, "after": after},
    }


def _places(api: t.Any, domain: t.Any) -> list[tuple[str, int]]:
    """Return where it has metadata, each with libvirt's flag."""
    places = [
        (LIVE, api.VIR_DOMAIN_AFFECT_LIVE, bool(domain.isActive())),
        (DEFINITION, api.VIR_DOMAIN_AFFECT_CONFIG, bool(domain.isPersistent())),
    ]
    return [(place, flags) for place, flags, there in places if there]


def _kept(text: str | None) -> Kept:
    state = domain_metadata.parse_text(text)
    return {"tags": list(state.tags), "allocation": state.allocation}


def _wanted(found: Kept, request: Request) -> Kept:
    tags, given = list(found["tags"]), list(dict.fromkeys(request.tags or ()))
    if request.tags is not None:
        if request.state == ABSENT:
            tags = [one for one in tags if one not in given]
        elif request.state == EXACT:
            # The order means nothing.
            tags = tags if set(tags) == set(given) else given
        else:
            tags += [one for one in given if one not in tags]
    allocation = found["allocation"]
    if request.allocation is not None:
        allocation = {key: float(value) for key, value in request.allocation.items() if value is not None} or None
    return {"tags": tags, "allocation": allocation}


def _text(previous: str | None, wanted: Kept) -> str:
    """Return the element with the tags and the allocation that are wanted, and all else that it had."""
    root = domain_metadata.state_element(previous)
    for child in root.findall("tag"):
        root.remove(child)
    for place, text in enumerate(wanted["tags"]):
        child = ET.Element("tag")
        child.text = text
        root.insert(place, child)
    allocation = root.find("allocation")
    values = wanted["allocation"] or {}
    if allocation is None and values:
        allocation = ET.SubElement(root, "allocation")
    if allocation is not None:
        for key in ALLOCATION:
            allocation.attrib.pop(key, None)
        allocation.attrib.update({key: format(value, ".15g") for key, value in values.items()})
        if not allocation.attrib and not len(allocation):
            root.remove(allocation)
    return ET.tostring(root, encoding="unicode")
