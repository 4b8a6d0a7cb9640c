# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Checks a JMESPath query without running it: which keys of a snapshot it reads, and what it returns.

JMESPath gives null for a key that does not exist, and an empty list where null was filtered, so a mistake in spelling
looks like a query that matches nothing now. Parts whose result cannot be known before, such as most functions, are not
checked.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils._domain.uuids import plain_uuid

Node = t.Mapping[str, t.Any]
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A mapping with ``keys``, or a list of ``element``, or neither: a value, or something not known.

    ``path``: its place in the document; keys of lists are those of their elements.
    """

    path: Path = ()
    keys: Mapping[str, Shape] | None = None
    element: Shape | None = None

    @property
    def what(self) -> str:
        """What it is, in words for messages."""
        if self.element is not None:
            return "a list"
        places = {"": "the snapshot", "hosts": "a host", "domains": "a domain"}
        first, *rest = self.path or ("",)
        return f"{' '.join(rest)} of {places[first]}" if rest else places[first]


VALUE, UNKNOWN = Shape(), Shape()


def _values(keys: str) -> dict[str, t.Any]:
    """Make keys whose values are texts, numbers or flags."""
    return dict.fromkeys(keys.split(), VALUE)


def _lists(keys: str) -> dict[str, t.Any]:
    """Make keys whose values are lists of texts, numbers or flags."""
    return {key: [VALUE] for key in keys.split()}


def _open(keys: str) -> dict[str, t.Any]:
    """Make keys whose values are not checked."""
    return dict.fromkeys(keys.split(), UNKNOWN)


# What selectors see, see data_model.rst: the keys of mappings, and the one kind of element that a list has.
_DOCUMENT: dict[str, t.Any] = {
    **_values("taken_at"),
    "hosts": [
        {
            **_values("name state problem migration_uri may_sleep speed history_problem marks_problem"),
            **_values("hostname uuid libvirt_version cgroup_version"),
            **_lists("tags groups bridges domain_types"),
            **_open("power_model asleep marks history machine_types"),
            "hypervisor": _values("type version"),
            "cpu": {
                **_values("arch model vendor threads mhz max_mhz usage iowait pressure"),
                **_lists("features usable_models"),
            },
            "memory": {
                **_values("total_mib available_mib swap_used_mib zfs_cache_mib shared_mib pressure"),
                "hugepages": [_values("size_kib total free")],
            },
            "numa": [{**_values("id total_mib free_mib"), **_lists("cpus")}],
            "networks": [_values("name bridge active")],
            "storage_pools": [_values("name uuid type path active shared total_mib available_mib")],
            "mounts": [_values("path type source root identity")],
            "power": _values("watts source cpu_watts cpu_source"),
            "interrupted_restarts": [_values("uuid name source destination started_at")],
            "inactive_domains": [_values("uuid name")],
        }
    ],
    "domains": [
        {
            **_values("uuid name host destination state reason persistent type arch machine"),
            **_values("vcpus cpu_cores cpu_ready weight cap hugepages last_moved_at"),
            **_lists("tags secrets"),
            "hugepage_sizes": [_values("size_kib mib")],
            "bound": _lists("cpus cells"),
            **_open("pins allocation unfinished_move job history"),
            "memory": _values("maximum_mib current_mib rss_mib usable_mib available_mib fresh dirty_mib_s"),
            "disks": [_values("target device type source shared readonly")],
            "interfaces": [_values("type source mac")],
            "cpu": {**_values("mode model"), **_lists("features disabled")},
            "blockers": [_values("code message")],
        }
    ],
}


def _shape(declared: t.Any, path: Path = ()) -> Shape:
    if isinstance(declared, dict):
        return Shape(path, {key: _shape(value, (*path, key)) for key, value in declared.items()})
    if isinstance(declared, list):
        return Shape(path, element=_shape(declared[0], path))
    return t.cast(Shape, declared)


DOCUMENT = _shape(_DOCUMENT)
ROOT = frozenset(_DOCUMENT)
DOMAIN = t.cast(Shape, (DOCUMENT.keys or {})["domains"].element)
DOMAIN_KEYS = frozenset(DOMAIN.keys or ())


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """A key that ``where`` never has. ``compared``: it is compared with something, so a text may have been meant."""

    where: Shape
    key: str
    compared: bool

    def is_in(self, document: t.Any) -> bool:
        """Whether a document has the key nevertheless: a document of another version may have more keys."""
        found = [document]
        for step in self.where.path:
            inner = [one[step] for one in found if isinstance(one, Mapping) and step in one]
            found = [one for value in inner for one in (value if isinstance(value, list) else [value])]
        return self.where.element is None and any(isinstance(one, Mapping) and self.key in one for one in found)


class Query:
    """What a compiled query asks for.

    ``returns``: its result for DOCUMENT. ``unknown``: keys in it that do not exist. ``lists``: keys of lists that it
    compares with a text (they are never equal), each with the text. ``mappings``: mappings that it compares with a text
    or a number. ``values``: keys of single values in which it looks for a key, each with that key.
    """

    __slots__ = ("lists", "mappings", "returns", "unknown", "values")

    def __init__(self, parsed: Node) -> None:
        self.unknown: list[UnknownKey] = []
        self.lists: list[tuple[str, str]] = []
        self.mappings: list[Shape] = []
        self.values: list[tuple[str, str]] = []
        self.returns = self._visit(parsed, DOCUMENT)

    @property
    def may_select_domains(self) -> bool:
        """Whether the query can return a domain or a list of domains."""
        return self.returns in (DOMAIN, UNKNOWN) or self.returns.element in (DOMAIN, UNKNOWN)

    def _visit(self, node: Node, at: Shape, *, compared: bool = False) -> Shape:
        """Return what a part of the query gives when it is evaluated ``at`` something."""
        children = node["children"]
        match node["type"]:
            case "field":
                return self._key(node["value"], at, compared)
            case "current" | "identity" | "slice":
                return at
            case "subexpression" | "pipe" | "index_expression":
                before = None
                for child in children:
                    asked = _first_key(child)
                    if at is VALUE and before is not None and asked is not None:
                        self.values.append((before, asked))
                    at, before = self._visit(child, at), asked if child["type"] == "field" else None
                return at
            case "index":
                return _element(at)
            case "projection":
                return Shape(element=self._visit(children[1], _element(self._visit(children[0], at))))
            case "filter_projection":
                element = _element(self._visit(children[0], at))
                self._visit(children[2], element)
                return Shape(element=self._visit(children[1], element))
            case "flatten":
                found = self._visit(children[0], at)
                return found.element if found.element is not None and found.element.element is not None else found
            case "function_expression":
                return self._function(node["value"], children, at)
            case "and_expression" | "or_expression" | "multi_select_list":
                shapes = [self._visit(child, at) for child in children]
                same = shapes[0] if all(shape is shapes[0] for shape in shapes) else UNKNOWN
                return Shape(element=same) if node["type"] == "multi_select_list" else same
            case "comparator":
                self._compare(children, at)
                return VALUE
            case "not_expression":
                self._visit(children[0], at)
                return VALUE
            case "value_projection":
                self._visit(children[0], at)
                return UNKNOWN
            case "multi_select_dict" | "key_val_pair":
                for child in children:
                    self._visit(child, at)
        return UNKNOWN

    def _compare(self, sides: t.Sequence[Node], at: Shape) -> None:
        for side, other in (sides, sides[::-1]):
            literal = other["type"] == "literal"
            shape = self._visit(side, at, compared=not literal)
            if shape.element is VALUE and shape.path and literal and isinstance(other["value"], str):
                self.lists.append((shape.path[-1], other["value"]))
            if shape.keys is not None and literal and isinstance(other["value"], str | int | float):
                self.mappings.append(shape)

    def _key(self, key: str, at: Shape, compared: bool) -> Shape:
        if at.keys is not None and key in at.keys:
            return at.keys[key]
        if key == "null":
            return UNKNOWN  # a literal without its backticks, and null all the same
        if at.keys is not None or at.element is not None:
            self.unknown.append(UnknownKey(at, key, compared))
        return UNKNOWN

    def _function(self, name: str, children: t.Sequence[Node], at: Shape) -> Shape:
        given = [
            self._visit(child, at, compared=number > 0)
            for number, child in enumerate(children)
            if child["type"] != "expref"
        ]
        first = given[0] if given else UNKNOWN
        for child in children:
            if child["type"] == "expref":
                self._visit(child["children"][0], _element(first))
        if name in ("sort_by", "reverse"):
            return first
        return _element(first) if name in ("max_by", "min_by") else UNKNOWN


def with_plain_uuids(node: Node) -> t.Any:
    """Return the query with all UUIDs that it looks for written as snapshots have them, whatever their case."""
    children = [with_plain_uuids(child) if isinstance(child, Mapping) else child for child in node["children"]]
    if node["type"] in ("comparator", "function_expression") and "uuid" in map(_last_key, children):
        children = [_plain(child) if child["type"] == "literal" else child for child in children]
    return {**node, "children": children}


def _plain(literal: Node) -> Node:
    value = literal["value"]
    if isinstance(value, list):
        return {**literal, "value": [plain_uuid(one) if isinstance(one, str) else one for one in value]}
    return {**literal, "value": plain_uuid(value)} if isinstance(value, str) else literal


def _last_key(node: Node) -> str | None:
    """Return the last key in a part of the query, None if it has none."""
    if node["type"] == "subexpression":
        return _last_key(node["children"][-1])
    return node["value"] if node["type"] == "field" else None


def _first_key(node: Node) -> str | None:
    """Return the first key in a part of the query, None if it has none."""
    if node["type"] in ("index_expression", "projection", "filter_projection", "flatten"):
        return _first_key(node["children"][0])
    return node["value"] if node["type"] == "field" else None


def _element(shape: Shape) -> Shape:
    return UNKNOWN if shape.element is None else shape.element
