# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""One sentence about a value that cannot be."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._run.variables import stray_words, wrong_value


@pytest.mark.parametrize(
    ("numbers", "source", "prometheus", "problem"),
    [
        ({"balance_interval": 5, "balance_history": "0"}, "agent", {}, None),
        ({"balance_interval": "2.5"}, "agent", None, None),
        ({"balance_interval": "soon"}, "agent", {}, "balance_interval must be a number of at least 0, not soon."),
        ({"balance_interval": -1}, "agent", {}, "balance_interval must be a number of at least 0, not -1."),
        ({}, "zabbix", {}, "balance_history_source must be agent or prometheus, not zabbix."),
        ({"balance_history": "0"}, "prometheus", {}, None),
        ({"balance_history": "60"}, "prometheus", {"url": "https://p.example.org"}, None),
        ({"balance_history": "60"}, "prometheus", {"url": ""}, "balance_prometheus must have the url of the server"),
        ({"balance_history": "60"}, "prometheus", "p", "balance_prometheus must have the url of the server"),
    ],
)
def test_values(numbers: dict[str, t.Any], source: str, prometheus: t.Any, problem: str | None) -> None:
    found = wrong_value(numbers, source, prometheus)
    assert found == problem or (problem is not None and str(found).startswith(problem))


def test_words_that_were_split_off_at_a_space() -> None:
    assert stray_words(None) is None
    told = stray_words("new disk")
    assert told == (
        "What -e sets ends at a space, and here that leaves over: new disk. "
        """Write it as JSON: -e '{"NAME": "a value"}'."""
    )
