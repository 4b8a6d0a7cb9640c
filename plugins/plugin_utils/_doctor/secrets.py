# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Has the destination the secrets that disks of the source need? Their values are never looked at."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.answers import Json, Pair
from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.finding import (
    DESTINATIONS,
    SOURCES,
    Finding,
    named,
    quoted,
)

LETTER = "K"
NAME = "secrets (keys of storage)"


def find(pair: Pair) -> Iterator[Finding]:
    """Secrets that are missing: those that running domains use make moves fail."""
    there = pair.there.get("secrets")
    if there is None:
        return
    known = {name for secret in there for name in _names(secret)}
    used = dict(pair.needs("secret"))
    unused = [secret for secret in pair.here.get("secrets") or () if not set(_names(secret)) & set(used)]
    for name in sorted(used):
        if name not in known:
            yield _missing(name, used[name])
    for secret in unused:
        if not set(_names(secret)) & known:
            yield _missing(_names(secret)[-1], [])


def _missing(name: str, domains: list[str]) -> Finding:
    who = f"{named(domains)} cannot" if domains else "Guests that use a secret could not"
    return Finding(
        f"{who} move from {SOURCES} to {DESTINATIONS}, where libvirt has no secret {name}",
        f"define it on {DESTINATIONS} (virsh secret-define, secret-set-value) as on {SOURCES}; look at it there with",
        f"virsh secret-dumpxml {quoted(name)}" if " " not in name else "virsh secret-list",
        serious=bool(domains),
    )


def _names(secret: Json) -> list[str]:
    """By what a definition may name it: its UUID, or its type and what it is used for."""
    uuid = str(secret["uuid"]).lower()
    return [uuid, f"{secret['type']} {secret['usage']}"] if secret["usage"] else [uuid]
