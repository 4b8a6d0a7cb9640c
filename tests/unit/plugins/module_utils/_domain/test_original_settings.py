# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._domain import metadata as domain_metadata
from ansible_collections.virtops.balance.plugins.module_utils._domain import original_settings
from ansible_collections.virtops.balance.plugins.module_utils._domain.original_settings import Remembered

TIME = "2026-01-31T12:00:00Z"
FULL = Remembered({0: "all", 12: "0-3,8"}, 524288, "no_driver", TIME)


@pytest.mark.parametrize(
    "remembered", [Remembered(), Remembered({1: "2"}), Remembered(balloon_kib=0), Remembered(balloon_problem="x"), FULL]
)
@pytest.mark.parametrize("previous", [None, "<state", "<state><tag>web</tag></state>"])
def test_what_is_written_is_read(remembered: Remembered, previous: str | None) -> None:
    text = original_settings.render(remembered, previous=previous)
    assert original_settings.parse_text(text) == remembered
    assert domain_metadata.parse_text(text) == domain_metadata.parse_text(previous)


def test_it_outlives_what_else_is_written() -> None:
    text = original_settings.render(FULL, previous=None)
    state = domain_metadata.DomainState(tags=("web",), last_moved_at=TIME)
    assert original_settings.parse_text(domain_metadata.render(state, previous=text)) == FULL


def test_what_is_forgotten_is_removed() -> None:
    text = original_settings.render(FULL, previous="<state><tag>web</tag></state>")
    assert original_settings.render(Remembered(), previous=text) == "<state><tag>web</tag></state>"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "<before/>",
        "<state><before balloon_kib='much'/></state>",
        "<state><before balloon_kib='-1'/></state>",
        "<state><before balloon_kib='\u0661'/></state>",
        f"<state><before balloon_kib='{'9' * 5000}'/></state>",
        "<state><before><pin/><pin vcpu='x' cpus='1'/><pin vcpu='1'/></before></state>",
    ],
)
def test_malformed_is_absent(text: str | None) -> None:
    assert original_settings.parse_text(text) == Remembered()
