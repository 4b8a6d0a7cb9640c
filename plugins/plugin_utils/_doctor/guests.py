# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Can the destination run what runs on the source: virtualization, machine types, CPUs, and its memory?"""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.answers import Pair
from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.finding import (
    DESTINATIONS,
    SOURCES,
    Finding,
    named,
)

LETTER = "G"
NAME = "what guests need: CPU, machine type, memory"


def find(pair: Pair) -> Iterator[Finding]:
    """What running domains of the source would lack on the destination."""
    yield from _domain_types(pair)
    yield from _machine_types(pair)
    if pair.answer is not None:
        for lack in pair.answer["connection"].get("cpus_missing") or []:
            yield Finding(
                f"{named(lack['domains'])} cannot move from {SOURCES} to {DESTINATIONS}, which cannot offer the CPU "
                f"({lack['missing']})",
                "give such guests a CPU that all hosts can offer, and restart them (BEST COMMON CPU, below)",
            )
    yield from _memory(pair)


def _domain_types(pair: Pair) -> Iterator[Finding]:
    offered, own = pair.there.get("domain_types"), pair.here.get("domain_types")
    if offered is None:
        return
    wanted: dict[str, list[str]] = {}
    for name, domains in pair.needs("domain_type"):
        wanted.setdefault(name.rpartition(" ")[2], []).extend(domains)
    for kind in sorted({*wanted, *(own or ())} - set(offered)):
        domains = wanted.get(kind, [])
        who = f"{named(domains)} cannot" if domains else f"Guests of the type {kind} could not"
        yield Finding(
            f"{who} move from {SOURCES} to {DESTINATIONS}, which does not offer the domain type {kind}",
            f"switch on virtualization in the firmware of {DESTINATIONS}, and load the module there"
            if kind == "kvm"
            else f"install the emulator on {DESTINATIONS}",
            "modprobe kvm_intel || modprobe kvm_amd" if kind == "kvm" else "",
            serious=bool(domains),
        )


def _machine_types(pair: Pair) -> Iterator[Finding]:
    offered = pair.there.get("machine_types")
    if offered is None:
        return
    for name, domains in pair.needs("machine"):
        arch, _space, machine = name.partition(" ")
        if machine not in offered.get(arch, ()):
            yield Finding(
                f"{named(domains)} cannot move from {SOURCES} to {DESTINATIONS}, which has no machine type {machine}",
                "give such guests one that all hosts have, and restart them; list those of a host with",
                "virsh capabilities | grep '<machine'",
            )


def _memory(pair: Pair) -> Iterator[Finding]:
    free = (pair.there.get("memory") or {}).get("available_mib")
    wanted = (pair.here.get("needs") or {}).get("memory_mib") or {}
    if free is None or not wanted:
        return
    smallest = min(wanted.values())
    if free < smallest:
        yield Finding(
            f"No guest of {SOURCES} fits on {DESTINATIONS} now: {free} MiB are available there, and the smallest may "
            f"use {smallest} MiB",
            serious=False,
        )
