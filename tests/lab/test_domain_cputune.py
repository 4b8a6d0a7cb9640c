# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What weight and cap are worth to real guests that are busy."""

from __future__ import annotations

import re
import typing as t
import xml.etree.ElementTree as ET

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import Lab, wait_for

HOST = "kvm1"


@pytest.fixture
def busy(lab: Lab) -> t.Iterator[Lab]:
    """Of all guests only web-1 and web-2 do anything, both all that they can, on one physical CPU."""
    lab.loads({"web-1": 100, "web-2": 100})
    for guest in ("web-1", "web-2"):
        lab.virsh(HOST, "vcpupin", guest, "0", "0", "--live")
    try:
        yield lab
    finally:
        lab.rest()
        for guest in ("web-1", "web-2"):
            lab.virsh(HOST, "vcpupin", guest, "0", "r", "--live")
            lab.virsh(HOST, "schedinfo", guest, "--live", "--config", "global_quota=-1")
            lab.virsh(HOST, "schedinfo", guest, "--live", "--config", f"cpu_shares={default_shares(lab)}")


def default_shares(lab: Lab) -> int:
    """Of a guest that nobody tuned: what 1.0 is with this version of cgroups."""
    return int(re.findall(r"cpu_shares\s*: (\d+)", lab.virsh(HOST, "schedinfo", "db-1"))[0])


def tune(lab: Lab, *tunings: dict[str, t.Any], check: bool = False) -> list[dict[str, t.Any]]:
    return [lab.module(HOST, "domain_cputune", check=check, **options) for options in tunings]


def test_a_cap_holds_a_busy_guest(busy: Lab) -> None:
    (would,) = tune(busy, {"domain": "web-1", "cap": 20}, check=True)
    (first,) = tune(busy, {"domain": "web-1", "cap": 20})
    (again,) = tune(busy, {"domain": "web-1", "cap": 20})

    assert (would["changed"], first["changed"], again["changed"]) == (True, True, False)
    assert first["live"]["cap"] == first["definition"]["cap"] == would["live"]["cap"] == 20
    (got,) = busy.cores(HOST, "web-1")
    assert got == pytest.approx(0.20, abs=0.03)
    definition = ET.fromstring(busy.virsh(HOST, "dumpxml", "--inactive", "web-1"))
    assert definition.findtext("cputune/global_quota") == "20000"


def test_weights_share_a_cpu(busy: Lab) -> None:
    tunings = [{"domain": "web-1", "weight": 0.5}, {"domain": "web-2", "weight": 1.5}]
    first, again = tune(busy, *tunings), tune(busy, *tunings)

    assert [result["changed"] for result in first + again] == [True, True, False, False]

    def ratio() -> float:
        lighter, heavier = busy.cores(HOST, "web-1", "web-2")
        return heavier / lighter

    # Ten seconds of a machine that does much beside it are few slices of a CPU for the lighter one.
    wait_for("three times as much CPU", lambda: ratio() == pytest.approx(3, rel=0.15), seconds=120)
