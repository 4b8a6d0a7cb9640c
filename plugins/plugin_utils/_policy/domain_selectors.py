# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Selectors of a policy: which domains a rule or a key is about. There are three forms:

``{tag: db}``: domains with the tag. ``{names: [db-1, db-2]}``: domains by name or UUID. A text: JMESPath
(https://jmespath.org/specification.html) over the snapshot, returning domains.

All are evaluated over ``{taken_at, hosts: [...], domains: [...]}``: both are lists, each host has its ``name``, each
domain its ``uuid``, and otherwise they are exactly as in the snapshot.

A selector that cannot select domains raises PolicyError: at once if that is clear from the selector itself, else when
it is evaluated. A selector that matches no domain now may be right, because domains come and go: it is ``Missing``.
"""

from __future__ import annotations

import json
import re
import typing as t
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils._domain.uuids import plain_uuid
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import (
    near,
    nearest,
    option,
    read,
    sequence,
    text,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._policy import query
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown

Document = t.Mapping[str, t.Any]

MOST_MISSING = 10

_WHOLE_DOMAINS = "must select whole domains, as in \"domains[?starts_with(name, 'db-')]\""
# A text with one of these is meant to be JMESPath. Names of domains have none of them, or hardly ever.
_QUERY_SIGNS = frozenset("[](){}?|&@'\"`=<>!")
_PLAIN_YAML = re.compile(r"[A-Za-z_][\w.-]*")


@dataclass(frozen=True, slots=True)
class Missing:
    """A part of a selector that matches no domain now.

    ``key``: its place in the policy. ``kind``: name, tag, tag_prefix or query.
    """

    key: str
    kind: str
    word: str


@dataclass(frozen=True, slots=True)
class Selected:
    """The UUIDs of the selected domains, and the parts of the selector that match no domain."""

    uuids: frozenset[str]
    missing: tuple[Missing, ...] = ()


class Selector:
    """Selects domains.

    ``text``: for messages. ``source``: the selector as the policy has it. ``key``: its place in the policy.
    """

    __slots__ = ("key", "source", "text")

    def __init__(self, source: t.Any, text: str, key: str) -> None:
        self.source, self.text, self.key = source, text, key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and (self.text, self.key) == (other.text, other.key)

    def __hash__(self) -> int:
        return hash((self.text, self.key))

    def __repr__(self) -> str:
        return f"Selector({self.text!r})"

    def select(self, document: Document) -> Selected:
        """Return the selected domains of a document made by selector_document. Raises PolicyError."""
        raise NotImplementedError

    def _selected(self, uuids: t.Iterable[str], kind: str, word: str) -> Selected:
        found = frozenset(uuids)
        return Selected(found, () if found else (Missing(self.key, kind, word),))


class _Tagged(Selector):
    """Domains with a tag."""

    __slots__ = ("_tag",)

    def __init__(self, tag: str, key: str) -> None:
        super().__init__({"tag": tag}, f"tag {tag}", key)
        self._tag = tag

    def select(self, document: Document) -> Selected:
        tagged = (domain["uuid"] for domain in document["domains"] if self._tag in (domain.get("tags") or ()))
        return self._selected(tagged, "tag", self._tag)


class _Named(Selector):
    """Domains by name or UUID."""

    __slots__ = ("_names",)

    def __init__(self, names: tuple[str, ...], key: str) -> None:
        super().__init__({"names": list(names)}, f"names {', '.join(names)}", key)
        self._names = {name: frozenset((name, plain_uuid(name))) for name in names}

    def select(self, document: Document) -> Selected:
        wanted = frozenset().union(*self._names.values())
        uuids: set[str] = set()
        seen: set[str] = set()
        for domain in document["domains"]:
            matched = wanted.intersection(_names_of(domain))
            if matched:
                uuids.add(str(domain["uuid"]))
                seen |= matched
        missing = (name for name, forms in self._names.items() if seen.isdisjoint(forms))
        return Selected(frozenset(uuids), tuple(Missing(self.key, "name", name) for name in missing))


def _names_of(domain: t.Mapping[str, t.Any]) -> tuple[str, str]:
    return str(domain.get("uuid")).lower(), str(domain.get("name"))


class _Query(Selector):
    """JMESPath, compiled."""

    __slots__ = ("_asked", "_compiled")

    def __init__(self, text: str, key: str) -> None:
        # Imported here, because a policy without selectors must work where jmespath is not installed.
        try:
            import jmespath
            from jmespath.exceptions import JMESPathError
            from jmespath.parser import ParsedResult
        except ImportError:
            raise PolicyError(
                f"{key} is a JMESPath selector and needs the Python package jmespath on the control node."
            ) from None
        super().__init__(text, text, key)
        if not _QUERY_SIGNS.intersection(text) and text.strip().split(".")[0] not in query.ROOT:
            raise PolicyError(f"{key} is {text!r}, which is no selector: {_named(text)}")
        try:
            parsed = jmespath.compile(text).parsed
        except JMESPathError as error:
            reason = " ".join(str(error).split())
            meant = "" if any(root in text for root in query.ROOT) else f" Or {_named(text)}"
            raise PolicyError(f"{key} is not valid JMESPath ({text!r}): {reason}{meant}") from None
        self._compiled = ParsedResult(text, query.with_plain_uuids(parsed))
        self._asked = query.Query(parsed)
        for unknown in self._asked.unknown:
            # The snapshot has no more of these, whoever made it; of hosts and domains it may know more.
            if unknown.where is query.DOCUMENT:
                raise PolicyError(self._unknown(unknown))
        for name, value in self._asked.lists:
            raise PolicyError(f"{key} ({text!r}): {name} is a list, so write contains({name}, '{value}').")
        if not self._asked.may_select_domains:
            raise PolicyError(f"{key} {_WHOLE_DOMAINS}, and {text!r} selects something else.")

    def select(self, document: Document) -> Selected:
        from jmespath.exceptions import JMESPathError

        for unknown in self._asked.unknown:
            if not unknown.is_in(document):
                raise PolicyError(self._unknown(unknown))
        for value, inner in self._asked.values:
            raise PolicyError(f"{self.key} ({self.text!r}): {value} is a single value and has no key {inner!r}.")
        for mapping in self._asked.mappings:
            raise PolicyError(
                f"{self.key} ({self.text!r}): {mapping.what} is no single value, it has the keys "
                f"{', '.join(sorted(mapping.keys or ()))}."
            )
        try:
            found = self._compiled.search(document)
        except TypeError:
            # JMESPath says null there, and the library has a mistake.
            raise PolicyError(
                f"{self.key} ({self.text!r}) compares a number with a text. Numbers are written in backticks, as in "
                "`4`."
            ) from None
        except JMESPathError as error:
            raise PolicyError(
                f"{self.key} fails on this snapshot ({self.text!r}): {' '.join(str(error).split())}"
            ) from None
        if found is None and self._asked.returns is query.DOMAIN:
            found = []  # the first of none
        uuids = set()
        for domain in found if isinstance(found, list) else [found]:
            if not isinstance(domain, Mapping) or "uuid" not in domain or "host" not in domain:
                kind = "null" if domain is None else type(domain).__name__
                raise PolicyError(f"{self.key} {_WHOLE_DOMAINS}, but {self.text!r} returns {kind}.")
            uuids.add(str(domain["uuid"]))
        return self._selected(uuids, "query", self.text)

    def _unknown(self, unknown: query.UnknownKey) -> str:
        key, where = unknown.key, unknown.where
        problem = f"{self.key} ({self.text!r}): {where.what} has no key {key!r}"
        if where.element is not None:
            return f"{problem}; its elements are asked with [].{key}."
        if where is query.DOCUMENT and key in query.DOMAIN_KEYS:
            return f"{problem}, a domain has: did you mean {f'domains[?{self.text}]'!r}?"
        if key in ("true", "false"):
            return f"{problem}. Write {_replaced(self.text, key, f'`{key}`')!r}."
        meant = near(key, where.keys or ())
        quoted = f'"{key}"'
        if unknown.compared and where is not query.DOCUMENT and (quoted in self.text or meant is None):
            right = _replaced(self.text, quoted if quoted in self.text else key, f"'{key}'")
            return f"{problem}. A text is written in single quotes: {right!r}."
        if meant is not None and (where.keys or {})[meant].element is query.VALUE:
            return f"{problem}: did you mean {meant!r}, a list, as in contains({meant}, '...')?"
        if meant is not None:
            return f"{problem}: did you mean {_replaced(self.text, key, meant)!r}?"
        return f"{problem}: {nearest(key, where.keys or ())}"


def _replaced(text: str, word: str, new: str) -> str:
    """Return the text with the word replaced where it is not a part of another word."""
    return re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", lambda _match: new, text)


def _named(text: str) -> str:
    """Return the selectors that somebody probably meant who wrote a name of domains."""
    word = text.strip()
    if re.fullmatch(r"[\w.-]+\*", word):
        return f'write "domains[?starts_with(name, {word[:-1]!r})]" for the domains whose names begin so.'
    names = [one if _PLAIN_YAML.fullmatch(one) else json.dumps(one) for one in re.split(r"\s*,\s*", word) if one]
    by_name = f"write {{names: [{', '.join(names)}]}} for domains by name or UUID"
    return f"{by_name}, {{tag: {names[0]}}} for those with a tag." if len(names) == 1 else f"{by_name}."


@dataclass(frozen=True, slots=True)
class _Form:
    """The two forms of a selector that are mappings."""

    tag: str | None = option(None, text)
    names: tuple[str, ...] = option((), sequence(text, empty=False))


def selector(value: t.Any, key: str) -> Selector:
    """Read one selector of a policy."""
    if isinstance(value, Mapping):
        form = read(_Form, value, key)
        if (form.tag is None) == (not form.names):
            raise PolicyError(f"{key} must have one of the keys 'tag' and 'names'.")
        return _Named(form.names, key) if form.tag is None else _Tagged(form.tag, key)
    if not isinstance(value, str) or not value.strip():
        raise PolicyError(
            f"{key} must be a JMESPath selector such as \"domains[?starts_with(name, 'db-')]\", "
            f"{{tag: ...}} or {{names: [...]}}, not {shown(value)}."
        )
    return _Query(value, key)


def selector_document(snapshot: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the document over which selectors are evaluated."""
    return {
        "taken_at": snapshot.get("taken_at"),
        "hosts": [{**snapshot["hosts"][name], "name": name} for name in sorted(snapshot["hosts"])],
        "domains": [{**snapshot["domains"][uuid], "uuid": uuid} for uuid in sorted(snapshot["domains"])],
    }


_NOTES = {
    "name": "{} names {!r}, and no domain has that name or UUID",
    "tag": "{} names the tag {!r}, and no domain has it now",
    "tag_prefix": "{} is {!r}, and no domain has a tag now that begins so",
    "query": "{} matches no domain now: {}",
}


def missing_notes(missing: Sequence[Missing], document: Document, expected: Collection[str] = ()) -> list[str]:
    """Return sentences about parts of selectors that match no domain. There is no sentence about the name of a domain
    that is shut off or ``expected``, and none at all if there are no domains."""
    domains = document["domains"]
    if not missing or not domains:
        return []
    off = [domain for host in document["hosts"] for domain in host.get("inactive_domains") or ()]
    others = {name for domain in off for name in _names_of(domain)}.union(expected)
    missed = [one for one in missing if one.kind != "name" or others.isdisjoint((one.word, plain_uuid(one.word)))]
    known: dict[str, set[str]] = {
        "name": others.union(str(domain.get("name")) for domain in domains),
        "tag": {str(tag) for domain in domains for tag in domain.get("tags") or ()},
    }
    notes = []
    for one in missed[:MOST_MISSING]:
        meant = near(one.word, known.get(one.kind, ()))
        end = "" if one.kind == "query" else "." if meant is None else f": did you mean {meant!r}?"
        notes.append(f"{_NOTES[one.kind].format(one.key, one.word)}{end}")
    if len(missed) > MOST_MISSING:
        notes.append(f"{len(missed) - MOST_MISSING} more names, tags and selectors of the policy match no domain.")
    return notes
