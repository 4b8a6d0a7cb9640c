# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._domain import metadata as domain_metadata
from ansible_collections.virtops.balance.plugins.module_utils._domain.metadata import DomainState, MoveNote
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    FakeDomain,
    FakeLibvirt,
    FakeLibvirtError,
)

TIME = "2026-01-31T12:00:00Z"
FULL = DomainState(("web", 'a <b> & "c" ü'), TIME, MoveNote("kvm1", "kvm2", TIME, 150, persistent=True, autostart=True))


@pytest.mark.parametrize(
    "state",
    [
        DomainState(),
        DomainState(tags=("web",)),
        DomainState(last_moved_at=TIME),
        DomainState(unfinished_move=MoveNote("a", "b", TIME)),
        DomainState(unfinished_move=MoveNote("a", "b", TIME, 12.5)),
        FULL,
    ],
)
def test_what_is_written_is_read(state: DomainState) -> None:
    assert domain_metadata.parse_text(domain_metadata.render(state)) == state


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, DomainState()),
        ("", DomainState()),
        ("<state", DomainState()),
        ("<other/>", DomainState()),
        ("<state last_moved_at='yesterday'/>", DomainState()),
        ("<state last_moved_at='2026-02-30T00:00:00Z'/>", DomainState()),
        ("<state last_moved_at='2026-01-31T12:00:00+01:00'/>", DomainState()),
        ("<state><tag/><tag>  </tag><tag>x</tag><tag>x</tag></state>", DomainState(tags=("x",))),
        ("<state><move source='a'/></state>", DomainState()),
        (
            "<state><allocation cpu_min='0.5' cpu_max='2' share='3' other='4'/></state>",
            DomainState(allocation={"cpu_min": 0.5, "cpu_max": 2, "share": 3}),
        ),
        (
            "<state><allocation cpu_min='-1' cpu_max='nan' share='3'/></state>",
            DomainState(allocation={"share": 3}),
        ),
        ("<state><allocation cpu_min='inf' cpu_max='many' share='1e999'/></state>", DomainState()),
        (
            f"<state><move source='a' destination='b' started_at='{TIME}' cap='much'/></state>",
            DomainState(unfinished_move=MoveNote("a", "b", TIME)),
        ),
        (
            f"<b:state xmlns:b='urn:virtops:balance:1' last_moved_at='{TIME}'><b:tag>x</b:tag></b:state>",
            DomainState(("x",), TIME),
        ),
    ],
)
def test_malformed_is_absent(text: str | None, expected: DomainState) -> None:
    assert domain_metadata.parse_text(text) == expected


@pytest.mark.parametrize(
    "previous",
    [
        "<state a='1' last_moved_at='old'><tag>old</tag><new x='y'>t<z/></new><move source='old'/></state>",
        "<b:state xmlns:b='urn:virtops:balance:1' a='1'><b:new x='y'>t<b:z/></b:new></b:state>",
    ],
)
def test_what_is_not_known_is_kept(previous: str) -> None:
    root = ET.fromstring(domain_metadata.render(FULL, previous=previous))
    assert root.tag == "state"
    assert root.attrib == {"a": "1", "last_moved_at": TIME}
    assert [child.tag for child in root] == ["new", "tag", "tag", "move"]
    assert ET.tostring(root[0]).strip() == b'<new x="y">t<z /></new>'


def test_elements_of_others_are_kept() -> None:
    root = ET.fromstring(
        domain_metadata.render(DomainState(), previous="<state><o:x xmlns:o='urn:o' o:y='1'/></state>")
    )
    assert root[0].tag == "{urn:o}x"


def test_what_is_forgotten_is_removed() -> None:
    assert domain_metadata.render(DomainState(), previous=domain_metadata.render(FULL)) == "<state />"


def test_malformed_previous_text_is_replaced() -> None:
    assert domain_metadata.render(DomainState(("x",)), previous="<state") == "<state><tag>x</tag></state>"


@pytest.mark.parametrize(("persistent", "flags"), [(True, 3), (False, 1)])
def test_write(persistent: bool, flags: int) -> None:
    domain = FakeDomain("web-1", "u", persistent=persistent, metadata="<state a='1'/>")
    domain_metadata.write(FakeLibvirt(), domain, DomainState(last_moved_at=TIME))
    assert domain.written == [(2, f'<state a="1" last_moved_at="{TIME}" />', "balance", "urn:virtops:balance:1", flags)]


def test_live_and_definition_keep_what_only_one_of_them_has() -> None:
    domain = FakeDomain("web-1", "u", metadata={1: "<state a='live'/>", 2: "<state a='defined'/>"})
    domain_metadata.write(FakeLibvirt(), domain, DomainState(tags=("x",)))
    assert [(written[1], written[-1]) for written in domain.written] == [
        ('<state a="live"><tag>x</tag></state>', 1),
        ('<state a="defined"><tag>x</tag></state>', 2),
    ]


def test_of_a_domain_that_is_shut_off_there_is_only_the_definition() -> None:
    domain = FakeDomain("web-1", "u", active=False)
    domain_metadata.write(FakeLibvirt(), domain, DomainState(tags=("x",)))
    assert [(written[1], written[-1]) for written in domain.written] == [("<state><tag>x</tag></state>", 2)]


def test_a_domain_without_metadata() -> None:
    assert domain_metadata.read_text(FakeLibvirt(), FakeDomain("web-1", "u")) is None


def test_other_errors_rise() -> None:
    with pytest.raises(FakeLibvirtError):
        domain_metadata.read_text(
            FakeLibvirt(), FakeDomain("web-1", "u", metadata=t.cast("t.Any", FakeLibvirtError(38)))
        )


def test_what_an_administrator_wrote_stays() -> None:
    text = domain_metadata.render(FULL, previous="<state><allocation cpu_max='2'/></state>")

    assert domain_metadata.parse_text(text).allocation == {"cpu_max": 2}
