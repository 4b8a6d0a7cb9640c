# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""How long a host remembers which moves failed, and how many."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._host import refusals

NOW = "2026-01-31T12:00:00Z"


def refusal(domain: str, destination: str = "kvm2", **values: t.Any) -> refusals.Refusal:
    return {"domain": domain, "destination": destination, "reason": "", "at": NOW, "times": 1, **values}


def failed(known: list[refusals.Refusal], **values: t.Any) -> list[refusals.Refusal]:
    asked: dict[str, t.Any] = {"domain": "a", "destination": "kvm2", "reason": "no bridge", "at": NOW, **values}
    return refusals.after_failure(known, **asked)


def test_each_failure_of_a_pair_counts() -> None:
    first = failed([refusal("a", "kvm3"), refusal("b")])
    assert first[0] == refusal("a", reason="no bridge")
    assert first[1:] == [refusal("a", "kvm3"), refusal("b")]
    assert failed(first)[0]["times"] == 2
    assert len(failed(first)) == 3


@pytest.mark.parametrize(
    ("at", "kept"),
    [
        ("2026-01-29T12:00:00Z", True),
        ("2026-01-29T11:59:59Z", False),
        ("2026-01-31T12:00:01Z", False),
        ("2026-01-31T13:00:00+02:00", True),
    ],
)
def test_what_is_over_is_dropped(at: str, kept: bool) -> None:
    old = refusal("b", at=at)
    assert failed([old])[1:] == [old] * kept
    assert refusals.after_success([old], domain="a", at=NOW) == [old] * kept


def test_an_old_failure_of_the_same_pair_does_not_count_any_more() -> None:
    assert failed([refusal("a", at="2026-01-20T12:00:00Z", times=7)])[0]["times"] == 1


def test_a_success_ends_all_of_the_domain_and_nothing_else() -> None:
    known = [refusal("a"), refusal("b"), refusal("a", "kvm3")]
    assert refusals.after_success(known, domain="a", at=NOW) == [refusal("b")]


@pytest.mark.parametrize(
    ("at", "good"),
    [
        (NOW, True),
        ("2026-01-31T13:00:00+02:00", True),
        ("2026-01-31T12:00:00", False),
        ("noon", False),
        # Nothing can be added to these, or they are before the first year in UTC.
        ("9999-12-31T23:59:59Z", False),
        ("9999-12-30T23:59:59-14:00", False),
        ("0001-01-01T00:00:00+14:00", False),
    ],
)
def test_a_time_can_be_calculated_with(at: str, good: bool) -> None:
    assert refusals.is_refusal(refusal("a", at=at)) is good


def test_there_is_a_bound() -> None:
    known = [refusal(f"d{number}") for number in range(refusals.MOST + 50)]
    found = failed(known, reason="x" * 1000)
    assert (len(found), found[0]["domain"], found[1]) == (refusals.MOST, "a", known[0])
    assert len(found[0]["reason"]) == refusals.MOST_CHARACTERS
