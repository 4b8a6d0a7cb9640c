# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Selectors of a policy: JMESPath (https://jmespath.org/specification.html) over the snapshot, returning domains.

A selector sees ``{taken_at, hosts: [...], domains: [...]}``: both as lists, each host with its ``name``, each domain
with its ``uuid``, and otherwise exactly what the snapshot says about them.
"""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError


class Selector:
    """One compiled selector; ``text`` is what the policy says, ``key`` where it says it."""

    __slots__ = ("_compiled", "key", "text")

    def __init__(self, text: str, key: str) -> None:
        # Imported here, because a policy without selectors must work where jmespath is not installed.
        try:
            import jmespath
            from jmespath.exceptions import JMESPathError
        except ImportError:
            raise PolicyError(
                f"{key} is a JMESPath selector and needs the Python package jmespath on the control node."
            ) from None
        self.text, self.key = text, key
        try:
            self._compiled = jmespath.compile(text)
        except JMESPathError as error:
            reason = " ".join(str(error).split())
            raise PolicyError(f"{key} is not valid JMESPath ({text!r}): {reason}") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and (self.text, self.key) == (other.text, other.key)

    def __hash__(self) -> int:
        return hash((self.text, self.key))

    def __repr__(self) -> str:
        return f"Selector({self.text!r})"

    def select(self, document: t.Mapping[str, t.Any]) -> frozenset[str]:
        """The UUIDs of the domains that the selector returns for a document made by selector_document."""
        from jmespath.exceptions import JMESPathError

        try:
            found = self._compiled.search(document)
        except JMESPathError as error:
            raise PolicyError(
                f"{self.key} fails on this snapshot ({self.text!r}): {' '.join(str(error).split())}"
            ) from None
        uuids = set()
        for domain in [] if found is None else found if isinstance(found, list) else [found]:
            if not isinstance(domain, Mapping) or "uuid" not in domain or domain.get("host") is None:
                raise PolicyError(
                    f"{self.key} must select whole domains, as in \"domains[?starts_with(name, 'db-')]\", "
                    f"but {self.text!r} returns {type(domain).__name__}."
                )
            uuids.add(str(domain["uuid"]))
        return frozenset(uuids)


def selector(value: t.Any, key: str) -> Selector:
    """Read one selector of a policy."""
    if not isinstance(value, str) or not value.strip():
        raise PolicyError(
            f"{key} must be a JMESPath selector such as \"domains[?starts_with(name, 'db-')]\", not {value!r}."
        )
    return Selector(value, key)


def selector_document(snapshot: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What selectors are evaluated over."""
    return {
        "taken_at": snapshot.get("taken_at"),
        "hosts": [{**snapshot["hosts"][name], "name": name} for name in sorted(snapshot["hosts"])],
        "domains": [{**snapshot["domains"][uuid], "uuid": uuid} for uuid in sorted(snapshot["domains"])],
    }
