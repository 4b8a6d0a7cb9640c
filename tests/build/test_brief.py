# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What a run prints with the callback brief, over the fleet of conftest.py: few lines, and all that has to be known."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.virtops.balance.tests.build.conftest import APART, Fleet

BRIEF = "virtops.balance.brief"
EAGER: dict[str, t.Any] = {"threshold": 0.01, "minimum_gain": 0, "move_cost": 0}
PHASE = re.compile(r"^([a-z]+) +\d+\.\d s$")


def phases(lines: list[str]) -> list[str]:
    return [found[1] for line in lines if (found := PHASE.match(line))]


def test_a_run_that_moves_four_domains_fits_on_a_screen(fleet: Fleet) -> None:
    guests = fleet.guests()
    for number in range(7):
        guests[f"app-{number}"] = {"host": "kvm1", "more": {}}
    fleet.set(guests)

    lines = fleet.printed("rebalance", callback=BRIEF, balance_policy=EAGER).splitlines()

    assert len(fleet.log()) == 4
    assert len(lines) <= 45, "\n".join(lines)
    assert any(line.startswith("MOVE ") for line in lines)
    assert any(line.startswith("DONE: ") for line in lines)
    told = [phase for phase in phases(lines) if phase in ("observe", "plan", "migrate")]
    assert told[:3] == ["observe", "plan", "migrate"]
    assert not any("TASK" in line or "PLAY" in line or "RECAP" in line for line in lines)


def test_a_run_with_nothing_to_do_is_a_few_lines(fleet: Fleet) -> None:
    lines = fleet.printed("rebalance", callback=BRIEF).splitlines()
    assert any(line.startswith("BALANCED") for line in lines)
    assert len(lines) <= 15, "\n".join(lines)


def test_a_failure_is_its_host_and_one_message(fleet: Fleet) -> None:
    (fleet.place / "fail-web-1").touch()
    said = fleet.printed("drain", callback=BRIEF, drain_hosts="kvm1", fails=True)
    assert re.findall(r"^FAILED kvm1.*: (.*)$", said, re.MULTILINE) == ["web-1 could not leave kvm1."]
    assert re.search(r"^FAILED: kvm1\b.*\. The run took ", said, re.MULTILINE)


def test_a_refusal_is_said_once(fleet: Fleet) -> None:
    policy = {**APART, "treshold": 1}
    said = fleet.printed("rebalance", callback=BRIEF, balance_policy=policy, fails=True)
    assert said.count("The policy has no key 'treshold'") == 1
    assert said.startswith("REFUSED: ")
    assert "Origin" not in said
    assert len(said.splitlines()) <= 3


@pytest.mark.parametrize("given", ["balance_snapshot", "balance_approved_plan"])
def test_a_file_that_is_none_is_a_refusal(fleet: Fleet, given: str) -> None:
    said = fleet.printed("rebalance", callback=BRIEF, fails=True, **{given: "nowhere.json"})
    assert re.findall(rf"^REFUSED: {given} must be .*", said, re.MULTILINE), said
    assert "FAILED" not in said


def test_a_host_that_does_not_answer_is_told(fleet: Fleet) -> None:
    (fleet.place / "kvm3" / "down").touch()
    said = fleet.printed("rebalance", callback=BRIEF)
    assert said.count("UNREACHABLE kvm3: kvm3 is down") == 1


def test_with_v_it_is_the_usual_output(fleet: Fleet) -> None:
    assert "TASK [" in fleet.printed("undrain", "-v", callback=BRIEF, undrain_hosts="kvm1")


def test_check_mode_says_so_and_shows_who_would_go(fleet: Fleet) -> None:
    guests = fleet.guests()
    for name in ("app-0", "app-1", "app-2", "app-3"):
        guests[name]["host"] = "kvm1"
    fleet.set(guests)
    said = fleet.printed("rebalance", "--check", "--diff", callback=BRIEF, balance_policy=EAGER)
    assert said.startswith("CHECK MODE: nothing is changed.\n")
    assert re.search(r"^[-+].*app-", said, re.MULTILINE)
    assert fleet.log() == []
