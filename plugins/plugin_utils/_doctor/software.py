# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Hypervisors, their versions, and who the hosts are."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.answers import Json, Pair
from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.finding import DESTINATIONS, SOURCES, Finding

LETTER = "V"
NAME = "hypervisor and version"


def find(pair: Pair) -> Iterator[Finding]:
    """What differs between the software of the two, and matters."""
    here, there = pair.here, pair.there
    if here.get("uuid") and here.get("uuid") == there.get("uuid"):
        yield Finding(
            f"{SOURCES} and {DESTINATIONS} cannot exchange guests, because libvirt takes them for one host: both have "
            f"the host UUID {here['uuid']}",
            "give each its own (host_uuid in libvirtd.conf or virtqemud.conf) and restart libvirt; make one with",
            "uuidgen",
            mutual=True,
        )
    if pair.source.about is not None and here.get("user") not in (None, "root"):
        yield Finding(
            f"{SOURCES} was asked as {here['user']}, and not as root, whose keys migrations use",
            "set ansible_become: true",
            serious=False,
        )
    kinds = here["hypervisor"]["type"], there["hypervisor"]["type"]
    archs = here["cpu"]["arch"], there["cpu"]["arch"]
    if None not in kinds and kinds[0] != kinds[1]:
        yield _apart(
            f"one has {kinds[0]} and the other {kinds[1]}"
            if kinds[0] < kinds[1]
            else f"one has {kinds[1]} and the other {kinds[0]}"
        )
    elif None not in archs and archs[0] != archs[1]:
        first, second = sorted(archs)
        yield _apart(f"one has CPUs of {first} and the other of {second}")
    else:
        yield from _older(here, there)


def _apart(why: str) -> Finding:
    return Finding(
        f"{SOURCES} and {DESTINATIONS} cannot exchange guests: {why}",
        "make an inventory group of each kind, and run the playbooks for each with -e balance_hosts=GROUP",
        mutual=True,
    )


def _older(here: Json, there: Json) -> Iterator[Finding]:
    kind = here["hypervisor"]["type"]
    for what, mine, other in (
        (kind, here["hypervisor"]["version"], there["hypervisor"]["version"]),
        ("libvirt", here["libvirt_version"], there["libvirt_version"]),
    ):
        if mine is None or other is None or _number(other) >= _number(mine):
            continue
        yield Finding(
            f"Guests may be refused on the way from {SOURCES} to {DESTINATIONS}, which has the older {what} ({other}, "
            f"and not {mine})",
            f"update {DESTINATIONS}, or let guests go only to the newer ones",
            serious=False,
        )
        return


def _number(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
