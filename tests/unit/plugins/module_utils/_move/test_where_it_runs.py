# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._domain.metadata import MoveNote
from ansible_collections.virtops.balance.plugins.module_utils._move import where_it_runs
from ansible_collections.virtops.balance.plugins.module_utils._move.where_it_runs import Side

Row = dict[str, t.Any]

ABSENT: Row = {"definition": "none"}
DEFINED: Row = {"persistent": True, "definition": "5eed"}
CHANGED: Row = {"persistent": True, "definition": "feed"}
UNREADABLE: Row = {"persistent": True}
DOWN: Row = {"problem": "no route to host"}


def active(state: str, reason: str, job: str | None = None) -> Row:
    return {"active": True, "state": state, "reason": reason, "job": job}


RUNS = active("running", "booted")
ARRIVED = active("running", "migrated")
RESUMED = active("running", "migration_canceled")
WAITS = active("paused", "migration")
STARTS = active("paused", "starting_up")


def noted(had: str | None, source: str = "kvm1", destination: str = "kvm2", *, restart: bool = False) -> Row:
    """A copy that waits, with the note of the move that it waits for."""
    move = MoveNote(source, destination, "2026-01-31T12:00:00Z", 0, restart=restart, destination_had=had)
    return {**WAITS, "note": move}


def judge(source: Row, destination: Row) -> where_it_runs.Residency:
    return where_it_runs.judge("web-1", Side("kvm1", **source), Side("kvm2", **destination))


@pytest.mark.parametrize(
    ("source", "destination", "outcome"),
    [
        # Before, and after a failure that libvirt rolled back
        pytest.param(RUNS, ABSENT, "on_source", id="never asked for"),
        pytest.param(RESUMED, ABSENT, "on_source", id="rolled back after the pause"),
        pytest.param(RUNS, DEFINED, "on_source", id="destination has an inactive definition"),
        pytest.param(active("paused", "user"), ABSENT, "on_source", id="paused by its user"),
        pytest.param(active("running", "booted", "backup"), ABSENT, "on_source", id="another job runs"),
        pytest.param(active("paused", "ioerror"), ABSENT, "on_source", id="an I/O error"),
        # Done
        pytest.param(ABSENT, ARRIVED, "on_destination", id="done"),
        pytest.param(DEFINED, ARRIVED, "on_destination", id="done, a definition is left behind"),
        pytest.param(ABSENT, active("paused", "user"), "on_destination", id="done, paused as it was"),
        pytest.param(ABSENT, active("running", "booted", "migration_out"), "on_destination", id="done, it moves on"),
        # Under way
        pytest.param(active("running", "booted", "migration_out"), WAITS, "in_flight", id="copying"),
        pytest.param(
            active("running", "booted", "migration_out"), active("paused", "starting_up"), "in_flight", id="very early"
        ),
        pytest.param(active("running", "booted", "migration_out"), ABSENT, "in_flight", id="not yet prepared"),
        pytest.param(active("paused", "migration", "migration_out"), WAITS, "in_flight", id="handing over"),
        pytest.param(active("paused", "migration", "migration_out"), ARRIVED, "in_flight", id="waiting to confirm"),
        pytest.param(active("paused", "migration", "unknown"), ARRIVED, "in_flight", id="libvirt could not look"),
        pytest.param(active("paused", "postcopy"), active("running", "postcopy"), "in_flight", id="post-copy"),
        # Ended without a witness
        pytest.param(WAITS, ARRIVED, "finished_unconfirmed", id="confirmation lost"),
        pytest.param(noted("none"), ABSENT, "never_finished", id="finish never ran"),
        pytest.param(noted("5eed"), DEFINED, "never_finished", id="finish never ran, it was defined there before"),
        # It may have run there, and ended
        pytest.param(noted("none"), DEFINED, "may_have_run", id="defined there by this migration"),
        pytest.param(noted("5eed"), CHANGED, "may_have_run", id="its definition there is another one by now"),
        pytest.param(noted("5eed"), ABSENT, "may_have_run", id="its definition there was taken away"),
        pytest.param(noted("5eed"), UNREADABLE, "may_have_run", id="its definition there cannot be read"),
        pytest.param(noted(None), ABSENT, "may_have_run", id="transient, so nothing of it would have stayed"),
        pytest.param(noted(None), DEFINED, "may_have_run", id="nobody wrote down what was there"),
        pytest.param(noted("none", destination="kvm3"), ABSENT, "may_have_run", id="it was to go to another host"),
        pytest.param(noted("none", source="kvm3"), ABSENT, "may_have_run", id="it was to come from another host"),
        pytest.param(noted("none", restart=True), ABSENT, "may_have_run", id="the note of a restart"),
        pytest.param(WAITS, ABSENT, "may_have_run", id="no note"),
        pytest.param(WAITS, DEFINED, "may_have_run", id="no note, inactive definition"),
        pytest.param(WAITS, WAITS, "unknown", id="both paused and no job"),
        pytest.param(RESUMED, WAITS, "unknown", id="rolled back but the copy is still there"),
        pytest.param(
            active("paused", "postcopy_failed"),
            active("running", "postcopy_failed"),
            "postcopy_failed",
            id="post-copy broke",
        ),
        pytest.param(
            active("paused", "postcopy_failed"), ABSENT, "postcopy_failed", id="post-copy broke, one half left"
        ),
        # Never allowed to happen
        pytest.param(RESUMED, ARRIVED, "split", id="both run"),
        pytest.param(RUNS, RUNS, "split", id="both run, started by hand"),
        pytest.param(active("running", "booted", "migration_out"), ARRIVED, "split", id="both run, job or not"),
        pytest.param(active("paused", "user"), ARRIVED, "split", id="one of two copies paused by hand"),
        # Gone
        pytest.param(ABSENT, ABSENT, "gone", id="nowhere"),
        pytest.param(DEFINED, ABSENT, "gone", id="shut off"),
        # Active in whatever state is not gone
        pytest.param(ABSENT, WAITS, "unknown", id="the source died in the middle"),
        pytest.param(ABSENT, active("paused", "migration", "migration_in"), "in_flight", id="it comes from elsewhere"),
        pytest.param(DEFINED, STARTS, "in_flight", id="it is being started there"),
        pytest.param(DEFINED, active("paused", "starting_up", "start"), "in_flight", id="started, with its job"),
        pytest.param(STARTS, DEFINED, "in_flight", id="it is being started here"),
        pytest.param(STARTS, RUNS, "unknown", id="it is being started here and runs there"),
        # A side is missing
        pytest.param(RUNS, DOWN, "on_source", id="destination lost, source was never stopped"),
        pytest.param(ARRIVED, DOWN, "on_source", id="destination lost, source once arrived by migration itself"),
        pytest.param(active("running", "postcopy"), DOWN, "on_source", id="destination lost, came by post-copy itself"),
        pytest.param(RESUMED, DOWN, "unknown", id="destination lost, source was stopped and went on"),
        pytest.param(WAITS, DOWN, "unknown", id="destination lost, source paused"),
        pytest.param(active("paused", "postcopy"), DOWN, "unknown", id="the other half lost"),
        pytest.param(active("paused", "postcopy_failed"), DOWN, "unknown", id="the other half lost, post-copy broke"),
        pytest.param(active("running", "booted", "migration_out"), DOWN, "unknown", id="destination lost, job runs"),
        pytest.param(ABSENT, DOWN, "unknown", id="destination lost, not on the source"),
        pytest.param(DOWN, ARRIVED, "unknown", id="source lost, destination runs"),
        pytest.param(DOWN, ABSENT, "unknown", id="source lost"),
        pytest.param(DOWN, DOWN, "unknown", id="both lost"),
    ],
)
def test_every_row_of_the_table(source: Row, destination: Row, outcome: str) -> None:
    residency = judge(source, destination)

    assert residency.outcome == outcome
    assert residency.certain == (outcome in ("on_source", "on_destination"))
    assert "web-1" in residency.sentence
    assert residency.sentence.endswith(".")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (RUNS, "web-1 is running on kvm1."),
        (active("paused", "user"), "web-1 is paused (user) on kvm1."),
        ({"active": True, "state": "paused"}, "web-1 is paused on kvm1."),
        ({"active": True}, "web-1 is active on kvm1."),
    ],
)
def test_how_it_is_told(source: Row, sentence: str) -> None:
    assert judge(source, ABSENT).sentence == sentence


@pytest.mark.parametrize(
    ("source", "destination", "silent", "other"),
    [
        (RESUMED, DOWN, "kvm2", "kvm1 says: running"),
        (ABSENT, DOWN, "kvm2", "kvm1 says: not active"),
        (DOWN, ARRIVED, "kvm1", "kvm2 says: running"),
        (DOWN, DOWN, "kvm1", "kvm2 does not answer either"),
    ],
)
def test_who_does_not_answer_is_told(source: Row, destination: Row, silent: str, other: str) -> None:
    sentence = judge(source, destination).sentence
    assert f"{silent} does not answer (no route to host), and {other}. Do not start" in sentence
    assert sentence.endswith(f"before {silent} is back or known to be off.")


STATES: list[Row] = [
    ABSENT, DEFINED, UNREADABLE, DOWN, RUNS, ARRIVED, RESUMED, WAITS, noted(None), noted("none"), noted("5eed"),
    *(
        active(state, reason, job)
        for state, reason in [
            ("running", "postcopy"), ("paused", "postcopy"), ("paused", "postcopy_failed"), ("paused", "user"),
            ("paused", "starting_up"), ("blocked", ""), ("crashed", "panicked"), ("pmsuspended", ""),
        ]
        for job in (None, "migration_out", "backup", "unknown")
    ),
]  # fmt: skip


def test_certain_only_where_exactly_one_is_active() -> None:
    for source, destination in itertools.product(STATES, STATES):
        residency = judge(source, destination)

        assert residency.outcome in where_it_runs.OUTCOMES
        if residency.outcome == "on_destination":
            assert destination.get("active")
            assert not source.get("active")
            assert "problem" not in source
        if residency.outcome == "on_source":
            assert source.get("active")
            assert not destination.get("active")
            assert source.get("reason") != "migration"


def test_gone_only_where_both_say_that_it_is_not_active() -> None:
    for source, destination in itertools.product(STATES, STATES):
        if judge(source, destination).outcome == "gone":
            assert not source.get("active")
            assert not destination.get("active")
            assert "problem" not in {**source, **destination}


def test_it_may_be_resumed_only_where_the_destination_has_what_it_had_before() -> None:
    for source, destination in itertools.product(STATES, STATES):
        residency = judge(source, destination)
        allowed = residency.outcome == "never_finished"

        assert ("may be resumed" in residency.sentence) == allowed
        if allowed:
            had = source["note"].destination_had
            assert had is not None
            assert destination.get("definition") == had


def test_what_a_person_must_not_do_is_said() -> None:
    assert "Never resume" in judge(WAITS, ARRIVED).sentence
    assert "virsh undefine --keep-nvram web-1" in judge(WAITS, ARRIVED).sentence
    ended = judge(noted("none"), DEFINED).sentence
    assert "Never resume it on kvm1 if it has" in ended
    assert "/var/log/libvirt/qemu/web-1.log on kvm2" in ended
    assert "kvm2 does not answer (no route to host)" in judge(WAITS, DOWN).sentence
    assert "destroy neither" in judge(active("paused", "postcopy_failed"), ABSENT).sentence


def test_the_result_says_unknown_where_the_host_did_not_answer() -> None:
    assert Side("kvm2", problem="x").to_result()["active"] is None
    assert Side("kvm2").to_result()["active"] is False


@pytest.mark.parametrize(("source", "destination"), [(WAITS, ARRIVED), (WAITS, CHANGED)])
def test_a_name_is_data_in_a_command_that_somebody_copies(source: Row, destination: Row) -> None:
    residency = where_it_runs.judge("a; reboot", Side("kvm1", **source), Side("kvm2", **destination))
    assert "(virsh destroy 'a; reboot')" in residency.sentence
