# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._domain import original_settings, portable
from ansible_collections.virtops.balance.plugins.module_utils._domain.xml import parse_cpuset


@pytest.mark.parametrize("none", ["17592186044415", "18446744073709551", "-1", "0"])
@pytest.mark.parametrize("name", ["quota", "global_quota", "emulator_quota", "iothread_quota"])
def test_a_quota_that_limits_nothing_is_not_sent(name: str, none: str) -> None:
    kept = "<shares>100</shares><global_period>50000</global_period>"
    text = f"<domain><name>web-1</name><cputune>{kept}<{name}>{none}</{name}></cputune></domain>"

    assert portable.portable(text) == f"<domain><name>web-1</name><cputune>{kept}</cputune></domain>"


@pytest.mark.parametrize(
    "text",
    [
        "<domain><name>web-1</name></domain>",
        "<domain><cputune>\n  <quota>5000</quota> <global_quota>20000</global_quota>\n</cputune></domain>",
    ],
)
def test_what_needs_no_change_is_sent_as_it_is(text: str) -> None:
    assert portable.portable(text) == text


STATE = (
    "<metadata><b:state xmlns:b='urn:virtops:balance:1' last_moved_at='2026-01-31T12:00:00Z'><b:tag>web</b:tag>{}"
    "</b:state></metadata>"
)
EIGHT = range(8)


def definition(pins: str, before: str = "") -> ET.Element:
    return ET.fromstring(f"<domain>{STATE.format(before)}<vcpu>4</vcpu><cputune>{pins}</cputune></domain>")


def before(pins: str, attributes: str = "") -> str:
    return f"<b:before {attributes}>{pins}</b:before>"


def pin(number: int, cpus: str) -> str:
    return f"<vcpupin vcpu='{number}' cpuset='{cpus}'/>"


def ours(number: int, cpus: str) -> str:
    return f"<b:pin vcpu='{number}' cpus='{cpus}'/>"


@pytest.mark.parametrize(
    ("pins", "note", "left"),
    [
        pytest.param(pin(0, "2"), "", {"0": [2]}, id="by a person"),
        pytest.param(pin(0, "2"), before(ours(0, "all")), {}, id="by the collection, free before"),
        pytest.param(pin(0, "2"), before(ours(0, "0-3")), {"0": [0, 1, 2, 3]}, id="by the collection, bound before"),
        pytest.param(pin(0, "2") + pin(1, "3"), before(ours(0, "all")), {"1": [3]}, id="one by each"),
        pytest.param(pin(0, "0-7"), "", {}, id="all CPUs of the host: free"),
        pytest.param(pin(0, "0-9"), "", {}, id="more than these, some being offline"),
        pytest.param("", "", {}, id="nothing"),
    ],
)
def test_pins_of_the_collection_are_released(pins: str, note: str, left: dict[str, list[int]]) -> None:
    root = definition(pins, note)

    changed = portable.release_pins(root, EIGHT)

    assert {found.get("vcpu"): parse_cpuset(found.get("cpuset")) for found in root.iter("vcpupin")} == left
    assert changed is (bool(note) or bool(pins and not left))
    # What is forgotten is the pins, and nothing else.
    state = root.find("metadata/{urn:virtops:balance:1}state")
    assert state is not None
    assert original_settings.parse_text(ET.tostring(state, encoding="unicode")).pins == {}
    assert [(child.tag.rpartition("}")[2], child.text) for child in state] == [("tag", "web")]


def test_what_else_is_remembered_stays() -> None:
    root = definition(pin(0, "2"), before(ours(0, "all"), "balloon_kib='524288'"))

    assert portable.release_pins(root, EIGHT)

    state = root.find("metadata/{urn:virtops:balance:1}state")
    assert state is not None
    assert original_settings.parse_text(ET.tostring(state, encoding="unicode")).balloon_kib == 524288


def test_threads_of_the_emulator_that_may_run_anywhere_are_free_too() -> None:
    root = definition("<emulatorpin cpuset='0-7'/><iothreadpin iothread='1' cpuset='0-6'/>")

    assert portable.release_pins(root, EIGHT)
    assert [child.tag for child in root.iter() if child.tag.endswith("pin")] == ["iothreadpin"]


@pytest.mark.parametrize(("cpus", "left"), [("0-7", None), ("0-6", "0-6")])
def test_a_cpuset_with_all_cpus_binds_nothing(cpus: str, left: str | None) -> None:
    root = ET.fromstring(f"<domain><vcpu placement='static' cpuset='{cpus}'>2</vcpu></domain>")

    assert portable.release_pins(root, EIGHT) is (left is None)
    (vcpu,) = root
    assert (vcpu.get("cpuset"), vcpu.get("placement"), vcpu.text) == (left, "static", "2")


def test_where_the_cpus_of_the_host_are_not_known_nothing_counts_as_free() -> None:
    root = definition(pin(0, "0-7"))
    assert not portable.release_pins(root, None)
