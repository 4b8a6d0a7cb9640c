# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The playbook as it is, over the fleet of conftest.py."""

from __future__ import annotations

import json

import pytest

from ansible_collections.virtops.balance.tests.build.conftest import HOSTS, Fleet

BRIEF = "virtops.balance.brief"


@pytest.fixture
def images(fleet: Fleet) -> Fleet:
    """The fleet with a directory that all hosts share."""
    for place in (fleet.place, *(fleet.place / host for host in HOSTS)):
        (place / "images").mkdir()
    return fleet


def files(fleet: Fleet) -> list[str]:
    return [path.name for path in fleet.place.rglob(".virtops-balance-doctor*")]


def test_all_is_well_and_no_file_is_left(images: Fleet) -> None:
    said = images.printed("doctor", callback=BRIEF)
    assert "WELL: guests can move in all 6 directions.\n" in said
    assert "1 kvm1     - . .\n2 kvm2     . - .\n3 kvm3     . . -\n" in said
    assert "images is not" not in said
    assert files(images) == []


def test_a_broken_pair_fails_the_run_with_the_command_that_mends_it(images: Fleet) -> None:
    (images.place / "kvm1" / "no-key-kvm2").touch()
    said = images.printed("doctor", callback=BRIEF, fails=True)
    assert "1 kvm1     - C .\n" in said
    assert "kvm1 cannot log in to kvm2 as root (Permission denied (publickey)):" in said
    assert "append what it prints to ~root/.ssh/authorized_keys of kvm2:" in " ".join(said.split())
    assert "\n       cat ~/.ssh/id_*.pub\n" in said
    assert said.count("Moves would fail in 1 of 6 directions; the report above says what to do.") == 1
    assert "Traceback" not in said
    assert files(images) == []


def test_a_share_that_one_host_does_not_have(images: Fleet) -> None:
    (images.place / "kvm3" / "unmounted").touch()
    said = " ".join(images.printed("doctor", callback=BRIEF, fails=True).split())
    assert "Every other host and kvm3 do not share" in said
    assert "1 kvm1 - . S 2 kvm2 . - S 3 kvm3 S S -" in said
    assert files(images) == []


def test_check_mode_writes_no_file_and_says_so(images: Fleet) -> None:
    (images.place / "kvm3" / "unmounted").touch()
    said = " ".join(images.printed("doctor", "--check", callback=BRIEF).split())
    assert "WELL: guests can move in all 6 directions." in said
    assert "was not tried: a run with --check writes no files." in said


def test_a_host_that_does_not_answer_stops_nobody(images: Fleet) -> None:
    (images.place / "kvm2" / "down").touch()
    said = images.run("doctor", fails=True)
    assert "NOT WELL: 1 host does not answer." in said
    assert "? kvm2 does not answer (kvm2 is down)" in said
    assert "1 kvm1 - ? . 2 kvm2 ? - ? 3 kvm3 . ? -" in said
    assert "Moves would fail" not in said
    assert files(images) == []


def test_that_nobody_answers_is_no_success(images: Fleet) -> None:
    for host in HOSTS:
        (images.place / host / "down").touch()
    assert "3 hosts do not answer; the report above says what to do." in images.run("doctor", fails=True)


def test_the_report_is_saved_with_the_run(images: Fleet) -> None:
    (images.place / "kvm1" / "no-key-kvm2").touch()
    run = images.place / "doctor-run"
    said = images.printed("doctor", callback=BRIEF, fails=True, balance_run_dir=str(run))
    saved = json.loads((run / "doctor.json").read_text(encoding="utf-8"))
    assert saved["matrix"]["kvm1"]["kvm2"] == "C"
    assert saved["verdict"] == "NOT WELL: moves would fail in 1 of 6 directions."
    assert (run / "doctor.txt").read_text(encoding="utf-8") in said
    assert (run / "doctor.txt").stat().st_mode & 0o077 == 0


def test_a_wrong_policy_is_told_before_any_host_is_asked(images: Fleet) -> None:
    said = images.run("doctor", fails=True, balance_policy={"treshold": 0.1})
    assert "The policy has no key 'treshold': did you mean 'threshold'?" in said
    assert "WELL" not in said


def test_a_misspelt_variable_is_told_before_any_host_is_asked(images: Fleet) -> None:
    said = images.run("doctor", fails=True, balance_shared_path=["/srv"])
    assert "There is no variable balance_shared_path: did you mean balance_shared_paths?" in said
    assert "WELL" not in said
