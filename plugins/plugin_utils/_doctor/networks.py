# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Has the destination the networks and bridges that the source has?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.answers import Pair
from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.finding import (
    DESTINATIONS,
    SOURCES,
    Finding,
    named,
    quoted,
)

LETTER = "N"
NAME = "networks and bridges"

# What container engines make for themselves.
_NOT_FOR_GUESTS = re.compile(r"docker\d|br-[0-9a-f]{12}$|podman\d|cni|lxcbr\d|lxdbr\d|flannel|kube")


def find(pair: Pair) -> Iterator[Finding]:
    """Networks and bridges that are missing: those that running domains use make moves fail."""
    yield from _networks(pair)
    yield from _bridges(pair)


def _networks(pair: Pair) -> Iterator[Finding]:
    there = pair.there.get("networks")
    if there is None:
        return
    used = dict(pair.needs("network"))
    active = {network["name"]: network["active"] for network in there}
    own = {network["name"] for network in pair.here.get("networks") or () if network["active"]}
    for name in sorted({*used, *own}):
        if name not in active:
            advice = f"define it on {DESTINATIONS} from what {SOURCES} prints with"
            yield _lack(used.get(name), f"network {name}", "missing", advice, f"virsh net-dumpxml {quoted(name)}")
        elif not active[name]:
            advice = f"on {DESTINATIONS} run"
            yield _lack(used.get(name), f"network {name}", "not active", advice, f"virsh net-start {quoted(name)}")


def _bridges(pair: Pair) -> Iterator[Finding]:
    there = pair.there.get("bridges")
    if there is None:
        return
    used = dict(pair.needs("bridge"))
    # Those of networks come with them.
    of_networks = {network["bridge"] for network in pair.here.get("networks") or ()}
    own = {name for name in pair.here.get("bridges") or () if not _NOT_FOR_GUESTS.match(name)} - of_networks
    for name in sorted(({*used} | own) - set(there)):
        advice = f"make it on {DESTINATIONS} as it is on {SOURCES}; look at it there with"
        yield _lack(used.get(name), f"bridge {name}", "missing", advice, f"ip -d link show {quoted(name)}")


def _lack(domains: list[str] | None, what: str, state: str, advice: str, command: str) -> Finding:
    move = f"move from {SOURCES} to {DESTINATIONS}, where"
    if domains:
        return Finding(f"{named(domains)} cannot {move} the {what} is {state}", advice, command)
    return Finding(f"Guests on the {what} could not {move} it is {state}", advice, command, serious=False)
