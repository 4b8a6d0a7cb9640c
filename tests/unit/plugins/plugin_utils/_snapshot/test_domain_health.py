# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Domains that should run and do not are told first, and fail a run; second definitions are named."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation_plan.plan import allocation_plan
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.outcome import outcome
from ansible_collections.virtops.balance.plugins.plugin_utils._plan.plan import plan
from ansible_collections.virtops.balance.plugins.plugin_utils._report.allocation_table import allocation_table
from ansible_collections.virtops.balance.plugins.plugin_utils._report.outcome_table import outcome_table
from ansible_collections.virtops.balance.plugins.plugin_utils._report.plan_table import plan_table
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.domain_health import (
    not_running,
    second_definitions,
)
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils import fleets
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils.fleets import Json


def note(source: str = "a", destination: str = "b", had: str | None = "none") -> Json:
    return {
        "source": source, "destination": destination, "started_at": fleets.TAKEN_AT, "cap": 0, "autostart": False,
        "destination_had": had,
    }  # fmt: skip


def fleet(
    defined_on: str = "", *, state: str = "paused", reason: str = "migration", hosts: Json | None = None, **guest: t.Any
) -> Json:
    """Hosts a, b and c; x is on a, and shut off on those that are named. There are four busy domains on c."""
    known: Json = {
        name: fleets.host(inactive_domains=[{"uuid": "X", "name": "x"}] if name in defined_on else []) for name in "abc"
    }
    known.update(hosts or {})
    busy = [fleets.domain(f"busy-{number}", "c", cores=2.0) for number in range(4)]
    still = fleets.domain("x", "a", cores=0.0, state=state, reason=reason, **guest)
    return fleets.snapshot(known, still, *busy)


def why(snapshot: Json) -> str:
    (found,) = not_running(snapshot)
    assert (found["domain"], found["name"], found["host"]) == ("x", "x", "a")
    return found["why"]


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({}, "x does not run: it is paused (migration) on a by a migration that no longer runs."),
        (
            {"unfinished_move": note()},
            "x does not run: it is paused (migration) on a by a migration from a to b that no longer runs.",
        ),
        ({"reason": "starting_up"}, "x does not run: it is paused (starting_up) on a."),
        ({"reason": "ioerror"}, "x does not run: it is paused (ioerror) on a."),
        ({"reason": "api_error"}, "x does not run: it is paused (api_error) on a by a migration"),
        ({"reason": "postcopy"}, "x does not run: it is paused (postcopy) on a by a migration"),
        ({"reason": "postcopy_failed"}, "x does not run: the post-copy phase of its migration broke"),
        ({"reason": "postcopy_failed", "job": {"operation": "migration_out"}}, "x does not run: the post-copy phase"),
        ({"reason": "postcopy_failed", "state": "running"}, "x does not run: the post-copy phase"),
    ],
)
def test_a_domain_that_stands_still(how: Json, sentence: str) -> None:
    assert why(fleet(**how)).startswith(sentence)


@pytest.mark.parametrize(
    "how",
    [
        {"state": "running", "reason": "booted"},
        {"state": "running", "reason": "migration_canceled"},
        {"reason": "user"},
        {"reason": "user", "unfinished_move": note()},
        {"reason": "snapshot"},
        {"job": {"operation": "migration_out"}},
        {"reason": "starting_up", "job": {"operation": "unknown"}},
        {"destination": "b", "job": {"operation": "migration_out"}},
    ],
)
def test_a_domain_that_runs_or_is_to_stand_still(how: Json) -> None:
    assert not_running(fleet(**how)) == []


SILENT = {"state": "unknown", "problem": "no route to host"}
ASLEEP = {"state": "asleep", "problem": None}


@pytest.mark.parametrize(
    ("snapshot", "advice"),
    [
        (fleet(), "Never resume it before it is certain that it has run nowhere else since."),
        (fleet(unfinished_move=note("b", "a")), "Never resume it: a may not have all of its memory."),
        (fleet(unfinished_move=note("b", "c")), "Never resume it before it is certain that it has run nowhere else"),
        (fleet(unfinished_move=note(), hosts={"b": SILENT}), "Never resume it before b tells whether it has run there"),
        (fleet(unfinished_move=note(), hosts={"b": ASLEEP}), "Never resume it before b tells whether it has run there"),
        (fleet(unfinished_move=note("a", "d")), "Never resume it before d tells whether it has run there."),
        (
            fleet(unfinished_move=note(), hosts={"b": fleets.host(inactive_domains=None)}),
            "Never resume it before b tells whether it has run there.",
        ),
        (fleet("b", unfinished_move=note()), "It may have run on b and ended there. Never resume it if it has"),
        (fleet(unfinished_move=note(had=None)), "It may have run on b and ended there. Never resume it if it has"),
        (fleet("b", unfinished_move=note(had="5eed")), "It may have run on b and ended there. Never resume it if"),
        (fleet(unfinished_move=note(), reason="postcopy"), "It may have run on b and ended there. Never resume it if"),
        (fleet(unfinished_move=note(), reason="api_error"), "It may have run on b and ended there. Never resume it if"),
        (fleet(reason="api_error"), "Never resume it before it is certain that it has run nowhere else since."),
        (fleet(reason="postcopy_failed"), "Destroy it nowhere, and resume the migration"),
        (fleet(reason="ioerror"), "See which disk failed (virsh domblkerror x), and resume it then."),
        (fleet(reason="starting_up"), "see its log there (/var/log/libvirt/qemu/x.log)"),
    ],
)
def test_what_must_not_be_done_about_it(snapshot: Json, advice: str) -> None:
    assert advice in why(snapshot)
    assert "may be resumed" not in why(snapshot)


def test_what_tells_whether_it_ran_elsewhere_is_to_stay() -> None:
    """Without the definition on b the next run would call it resumable."""
    assert "Until that is clear, undefine it nowhere." in why(fleet("b", unfinished_move=note()))


def test_it_may_be_resumed_where_it_is_certain_that_it_never_ran_elsewhere() -> None:
    assert why(fleet(unfinished_move=note())).endswith(
        "b has nothing of it: unless somebody has moved it on or undefined it there since, it was never started there "
        "and may be resumed (virsh resume x)."
    )


def test_its_definitions_elsewhere_are_named() -> None:
    assert why(fleet("b", unfinished_move=note())).endswith(" b has a definition of it too.")
    assert why(fleet("bc", reason="ioerror")).endswith(" b and c have a definition of it too.")


def test_it_is_the_first_line_of_the_plan_and_the_rest_is_balanced() -> None:
    made = plan(fleet("b", unfinished_move=note()))
    assert plan_table(made).startswith("x does not run: it is paused (migration) on a by a migration from a to b")
    assert not any("its end was not recorded" in line for line in made["notes"])
    assert {way[1] for way in fleets.ways(made)} == {"c"}


def test_it_is_the_first_line_where_nothing_is_to_be_moved() -> None:
    snapshot = fleet(unfinished_move=note())
    for uuid in [uuid for uuid in snapshot["domains"] if uuid != "x"]:
        del snapshot["domains"][uuid]
    snapshot["hosts"]["c"]["cpu"]["usage"] = 0.0
    lines = plan_table(plan(snapshot)).splitlines()
    assert lines[0].startswith("x does not run:")
    assert "BALANCED: nothing to move." in lines


def test_and_of_the_plan_of_an_allocation() -> None:
    made = allocation_plan(fleet(), {"busy-0": {"cpu_max": 1}})
    assert allocation_table(made).startswith("x does not run:")


def test_it_fails_the_run_until_it_is_over() -> None:
    snapshot = fleet(unfinished_move=note())
    made = plan(snapshot, {"max_moves": 1})
    for _run in range(2):
        found = outcome(made, [], snapshot)
        assert found["problem"].startswith(why(snapshot))
        assert found["not_running"] == not_running(snapshot)
        assert outcome_table(found).startswith("x does not run:")
    snapshot["domains"]["x"].update(state="running", reason="unpaused")
    over = outcome({**made, "waves": []}, [], snapshot)
    assert (over["problem"], over["not_running"]) == (None, [])
    assert outcome_table(over).startswith("NOTHING HAD TO MOVE.")


def test_a_plan_that_was_saved_before_there_was_such_a_thing_is_shown() -> None:
    made = plan(fleet())
    del made["not_running"]
    assert plan_table(made).startswith("MOVE ")


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"state": "running", "reason": "booted"}, "it runs on a."),
        ({"state": "blocked", "reason": None}, "it runs on a."),
        ({"state": "paused", "reason": "user"}, "it is paused on a."),
    ],
)
def test_a_note_of_a_move_tells_how_the_domain_is(how: Json, told: str) -> None:
    (line,) = [
        line for line in plan(fleet(unfinished_move=note(), **how))["notes"] if "its end was not recorded" in line
    ]
    assert line.endswith(told)


def test_a_second_definition_of_a_domain_that_runs_is_named_and_no_failure() -> None:
    snapshot = fleet("ab", state="running", reason="booted")
    (told,) = second_definitions(snapshot)
    assert told.startswith("x is active on a, and b has a definition of it too: undefine it there")
    made = plan(snapshot)
    assert told in made["notes"]
    assert outcome({**made, "waves": []}, [], snapshot)["problem"] is None


def test_what_an_interrupted_restart_left_is_told_once() -> None:
    snapshot = fleet("b", state="running", reason="booted")
    restart = {"uuid": "X", "name": "x", "source": "a", "destination": "b", "started_at": fleets.TAKEN_AT}
    snapshot["hosts"]["b"]["interrupted_restarts"] = [restart]
    assert second_definitions(snapshot) == []


def test_domains_that_are_kept_defined_everywhere_do_not_hide_all_other_notes() -> None:
    domains = [fleets.domain(f"d{number:02}", "a", cores=0.1) for number in range(30)]
    hosts = {name: fleets.host(inactive_domains=[{"uuid": d["uuid"]} for d in domains]) for name in "ab"}
    notes = plan(fleets.snapshot(hosts, *domains))["notes"]
    assert len(notes) == 11
    assert notes[-1] == "20 more domains are defined on a second host."


def test_a_name_is_data_in_a_command_that_somebody_copies() -> None:
    snapshot = fleet(reason="ioerror")
    snapshot["domains"]["x"]["name"] = "x; reboot"
    (found,) = not_running(snapshot)
    assert "(virsh domblkerror 'x; reboot')" in found["why"]
