# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._observe import domain as observed_domain
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import fixture

NOW = 1_000_000.0
XML = domain_xml.parse(fixture("domain_qemu.xml"))
XML_WITHOUT_PERIOD = dataclasses.replace(XML, stats_period_seconds=None)
XML_WITH_LONG_PERIOD = dataclasses.replace(XML, stats_period_seconds=300)
GUEST = {"balloon.available": 62016, "balloon.usable": 39260, "balloon.unused": 32784}
SIZES = {"balloon.current": 81920, "balloon.maximum": 98304, "balloon.rss": 217280}


def balloon(updated: float | None, guest: t.Mapping[str, int] | None = None) -> dict[str, t.Any]:
    return {
        **SIZES,
        **(GUEST if guest is None else guest),
        **({} if updated is None else {"balloon.last-update": int(updated)}),
    }


@pytest.mark.parametrize(
    ("before", "after", "xml", "fresh"),
    [
        pytest.param(balloon(NOW - 5), balloon(NOW - 5), XML, True, id="two periods and a second"),
        pytest.param(balloon(NOW - 6), balloon(NOW - 6), XML, False, id="older than two periods"),
        pytest.param(
            balloon(NOW - 61), balloon(NOW - 61), XML_WITH_LONG_PERIOD, False, id="long period, more than a minute"
        ),
        pytest.param(balloon(NOW - 60), balloon(NOW - 60), XML_WITHOUT_PERIOD, True, id="no period, a minute"),
        pytest.param(balloon(NOW - 61), balloon(NOW - 61), XML_WITHOUT_PERIOD, False, id="no period, more"),
        pytest.param(balloon(NOW - 30), balloon(NOW - 30), None, True, id="no definition"),
        pytest.param(balloon(NOW - 999), balloon(NOW - 997), XML, True, id="came between the samples"),
        pytest.param(balloon(NOW + 999), balloon(NOW + 999), XML, False, id="from the future"),
        pytest.param({}, balloon(NOW), XML, True, id="new"),
        pytest.param(balloon(0, {}), balloon(0, {}), XML, None, id="no balloon driver"),
        pytest.param(balloon(NOW, {}), balloon(NOW, {}), XML, None, id="figures without the guest's own"),
        pytest.param(balloon(None, {}), balloon(None, {}), XML, None, id="held"),
    ],
)
def test_freshness(
    before: dict[str, t.Any], after: dict[str, t.Any], xml: domain_xml.DomainXml | None, fresh: bool | None
) -> None:
    memory = observed_domain.describe_memory(before, after, xml, now=NOW)
    assert memory == {
        "maximum_mib": 96,
        "current_mib": 80,
        "rss_mib": 212,
        "usable_mib": 38 if fresh else None,
        "available_mib": 60 if fresh else None,
        "fresh": fresh,
    }


@pytest.mark.parametrize(("xml", "size"), [(XML, 96), (None, None)])
def test_sizes_are_in_the_definition_as_well(xml: domain_xml.DomainXml | None, size: int | None) -> None:
    memory = observed_domain.describe_memory({}, {}, xml, now=NOW)
    assert (memory["maximum_mib"], memory["current_mib"]) == (size, size)
    assert (memory["rss_mib"], memory["usable_mib"], memory["fresh"]) == (None, None, None)


def test_an_old_guest_that_does_not_tell_what_is_usable() -> None:
    memory = observed_domain.describe_memory({}, balloon(NOW, {"balloon.available": 62016}), XML, now=NOW)
    assert (memory["fresh"], memory["usable_mib"], memory["available_mib"]) == (True, None, 60)
