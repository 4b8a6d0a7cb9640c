# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Selectors of a policy: which domains are meant. There are three forms:

``{tag: db}``: domains with the tag. ``{names: [db-1, db-2]}``: domains by name or UUID. A text: JMESPath
(https://jmespath.org/specification.html) over the snapshot, returning domains.

All see ``{taken_at, hosts: [...], domains: [...]}``: both as lists, each host with its ``name``, each domain with its
``uuid``, and otherwise exactly what the snapshot says about them.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import option, read, sequence, text

Document = t.Mapping[str, t.Any]


class Selector:
    """Selects domains; ``text`` is for messages, ``source`` what the policy says, ``key`` where it says it."""

    __slots__ = ("key", "source", "text")

    def __init__(self, source: t.Any, text: str, key: str) -> None:
        self.source, self.text, self.key = source, text, key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and (self.text, self.key) == (other.text, other.key)

    def __hash__(self) -> int:
        return hash((self.text, self.key))

    def __repr__(self) -> str:
        return f"Selector({self.text!r})"

    def select(self, document: Document) -> frozenset[str]:
        """The UUIDs of the domains that are meant, in a document made by selector_document."""
        raise NotImplementedError


class _Tagged(Selector):
    """Domains with a tag."""

    __slots__ = ("_tag",)

    def __init__(self, tag: str, key: str) -> None:
        super().__init__({"tag": tag}, f"tag {tag}", key)
        self._tag = tag

    def select(self, document: Document) -> frozenset[str]:
        return frozenset(domain["uuid"] for domain in document["domains"] if self._tag in (domain.get("tags") or ()))


class _Named(Selector):
    """Domains by name or UUID."""

    __slots__ = ("_names",)

    def __init__(self, names: tuple[str, ...], key: str) -> None:
        super().__init__({"names": list(names)}, f"names {', '.join(names)}", key)
        self._names = frozenset(names)

    def select(self, document: Document) -> frozenset[str]:
        return frozenset(
            domain["uuid"] for domain in document["domains"] if not self._names.isdisjoint(_names_of(domain))
        )


def _names_of(domain: t.Mapping[str, t.Any]) -> tuple[str, str]:
    return str(domain["uuid"]), str(domain.get("name"))


class _Query(Selector):
    """JMESPath, compiled."""

    __slots__ = ("_compiled",)

    def __init__(self, text: str, key: str) -> None:
        # Imported here, because a policy without selectors must work where jmespath is not installed.
        try:
            import jmespath
            from jmespath.exceptions import JMESPathError
        except ImportError:
            raise PolicyError(
                f"{key} is a JMESPath selector and needs the Python package jmespath on the control node."
            ) from None
        super().__init__(text, text, key)
        try:
            self._compiled = jmespath.compile(text)
        except JMESPathError as error:
            reason = " ".join(str(error).split())
            raise PolicyError(f"{key} is not valid JMESPath ({text!r}): {reason}") from None

    def select(self, document: Document) -> frozenset[str]:
        from jmespath.exceptions import JMESPathError

        try:
            found = self._compiled.search(document)
        except JMESPathError as error:
            raise PolicyError(
                f"{self.key} fails on this snapshot ({self.text!r}): {' '.join(str(error).split())}"
            ) from None
        uuids = set()
        for domain in [] if found is None else found if isinstance(found, list) else [found]:
            if not isinstance(domain, Mapping) or "uuid" not in domain or "host" not in domain:
                raise PolicyError(
                    f"{self.key} must select whole domains, as in \"domains[?starts_with(name, 'db-')]\", "
                    f"but {self.text!r} returns {type(domain).__name__}."
                )
            uuids.add(str(domain["uuid"]))
        return frozenset(uuids)


@dataclass(frozen=True, slots=True)
class _Form:
    """The forms of a selector that are mappings."""

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
            f"{{tag: ...}} or {{names: [...]}}, not {value!r}."
        )
    return _Query(value, key)


def selector_document(snapshot: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What selectors are evaluated over."""
    return {
        "taken_at": snapshot.get("taken_at"),
        "hosts": [{**snapshot["hosts"][name], "name": name} for name in sorted(snapshot["hosts"])],
        "domains": [{**snapshot["domains"][uuid], "uuid": uuid} for uuid in sorted(snapshot["domains"])],
    }
