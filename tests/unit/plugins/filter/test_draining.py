# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The filters about drained hosts and maintenance, with data and with its JSON text."""

from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.virtops.balance.plugins.filter.draining import drain_left as left
from ansible_collections.virtops.balance.plugins.filter.draining import drain_objections as objections
from ansible_collections.virtops.balance.plugins.filter.draining import maintenance_rounds as rounds
from ansible_collections.virtops.balance.plugins.filter.plan import plan
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import domain, host, snapshot

FLEET = snapshot({"a": host(), "b": host()}, domain("x", "a"))
TEXT = json.dumps(FLEET)


def test_objections() -> None:
    assert objections(FLEET, ["a"], {}) == objections(TEXT, ["a"]) == []
    assert objections(TEXT, ["a", "b"]) == ["With a, b drained, no host would be left to take domains."]
    # What cannot be looked at is one of them.
    assert "threshold" in objections(TEXT, ["a"], {"treshold": 1})[0]


def test_left() -> None:
    made = plan(TEXT, {"strategy": "drain", "drained_hosts": ["a"]})
    assert left(made, TEXT, ["a"]) == left(json.dumps(made), FLEET, ["a"]) == ["x is still on a: it was not moved."]
    assert left(made, TEXT, ["b"]) == []
    with pytest.raises(AnsibleFilterError, match="with a plan"):
        left({}, TEXT, ["a"])


def test_rounds() -> None:
    found = rounds(TEXT, ["a", "b"])
    assert found == rounds(FLEET, ["a", "b"], {}, name="patches", most=2)
    assert found["rounds"] == [["a"], ["b"]]
    assert rounds(TEXT, ["c"], problem_as_data=True) == {"problem": "c is not one of the hosts of this run."}
    with pytest.raises(AnsibleFilterError, match="not one of the hosts"):
        rounds(TEXT, ["c"])
