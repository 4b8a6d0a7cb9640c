# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._run import agreement

Json = dict[str, t.Any]


def guest(host: str, rss: int | None = 100, maximum: int = 400, **more: t.Any) -> Json:
    return {"host": host, "memory": {"rss_mib": rss, "maximum_mib": maximum}, **more}


def plan(*waves: str) -> Json:
    """Waves of moves, each as "domain source destination"."""
    moves = [
        [dict(zip(("domain", "source", "destination"), move.split(), strict=True)) for move in wave.split(", ")]
        for wave in waves
    ]
    return {"waves": [{"moves": wave} for wave in moves]}


def answer(domain: str, destination: str, ok: bool | None = True, *checks: Json) -> Json:
    return {"domain": domain, "destination": destination, "ok": ok, "checks": list(checks)}


NO_CONNECTION = {"check": "connection", "ok": None, "message": "no route to host"}
DOMAINS = {
    "x": guest("a"),
    "y": guest("a", maximum=1000),
    "z": guest("b", rss=300),
    "h": guest("b", hugepages=True),
    "n": guest("b", rss=None),
}


def rooms(found: agreement.Questions) -> dict[tuple[str, str], int]:
    return {(one["domain"], one["destination"]): one["room_mib"] for many in found.values() for one in many}


def test_each_source_asks_about_its_moves() -> None:
    found = agreement.questions(plan("x a b, z b c", "y a c"), DOMAINS, [])
    assert {source: [one["domain"] for one in many] for source, many in found.items()} == {"a": ["x", "y"], "b": ["z"]}


def test_room_is_what_earlier_moves_free_less_what_they_bring() -> None:
    # What comes in the same wave may come first, what leaves in it may leave last.
    assert rooms(agreement.questions(plan("z b c, x a b, y a b"), DOMAINS, [])) == {
        ("z", "c"): 0,
        ("x", "b"): 0,
        ("y", "b"): -400,
    }
    assert rooms(agreement.questions(plan("z b c", "x a b", "y a b"), DOMAINS, [])) == {
        ("z", "c"): 0,
        ("x", "b"): 300,
        ("y", "b"): -100,
    }


def test_huge_pages_and_what_is_not_known_free_nothing() -> None:
    found = agreement.questions(plan("h b c, n b c", "x a b", "y a c"), DOMAINS, [])
    assert rooms(found) == {("h", "c"): 0, ("n", "c"): 0, ("x", "b"): 0, ("y", "c"): -400}


def test_a_detour_is_asked_about_by_the_host_where_the_domain_is_and_leaves_no_trace() -> None:
    found = agreement.questions(plan("x a c", "y a b", "x c b", "z b c"), DOMAINS, [])
    assert {source: [(one["domain"], one["destination"]) for one in many] for source, many in found.items()} == {
        "a": [("x", "c"), ("y", "b"), ("x", "b")],
        "b": [("z", "c")],
    }
    assert rooms(found)["z", "c"] == 0


def test_a_question_is_about_the_way_in_which_the_domain_is_moved() -> None:
    asked_about = plan("x a b, y a b")
    first, second = asked_about["waves"][0]["moves"]
    first["migration"] = {"post_copy": True, "parallel_connections": 4, "bandwidth_mib_s": 10}
    second["migration"] = {"post_copy": None}
    (one, other) = agreement.questions(asked_about, DOMAINS, [])["a"]
    assert one == {"domain": "x", "destination": "b", "room_mib": 0, "post_copy": True, "parallel_connections": 4}
    assert other == {"domain": "y", "destination": "b", "room_mib": -400}


def test_what_was_answered_is_not_asked_again() -> None:
    found = agreement.questions(plan("x a b, y a b"), DOMAINS, [answer("x", "b", None), answer("y", "c")])
    assert [one["domain"] for one in found["a"]] == ["y"]
    # It counts all the same.
    assert rooms(found) == {("y", "b"): -400}


def test_answers_are_those_to_the_questions() -> None:
    asked = {"b": [{"domain": "z", "destination": "c"}], "a": [{"domain": "x", "destination": "b"}]}
    results: dict[str, Json | None] = {
        "a": {"answers": [answer("x", "b")]},
        "b": {"answers": [answer("z", "c", False)]},
        "c": {"skipped": True},
    }
    assert agreement.answered(asked, results) == [answer("x", "b"), answer("z", "c", False)]


def test_who_did_not_answer_has_left_the_questions_open() -> None:
    asked = {name: [{"domain": name, "destination": "z"}] for name in "abcd"}
    results: dict[str, Json | None] = {
        "a": {"unreachable": True, "msg": "ssh: timed out."},
        "b": None,
        # What it answered about an earlier plan: it has failed since.
        "c": {"answers": [answer("c", "y")]},
        "d": {"answers": []},
    }
    found = agreement.answered(asked, results)
    assert [(one["domain"], one["ok"], one["checks"][0]["message"]) for one in found] == [
        ("a", None, "a could not ask: ssh: timed out"),
        ("b", None, "b could not ask: it did not answer"),
        ("c", None, "c could not ask: it did not answer"),
        ("d", None, "d could not ask: it did not answer"),
    ]


def test_a_connection_that_could_not_be_made_is_not_tried_again() -> None:
    asked = {
        "a": [{"domain": "y", "destination": "b"}, {"domain": "y", "destination": "c"}],
        "b": [{"domain": "z", "destination": "c"}],
    }
    left, silent = agreement.without_a_connection(asked, [answer("x", "b", None, NO_CONNECTION)], DOMAINS)
    assert left == {"a": [{"domain": "y", "destination": "c"}], "b": [{"domain": "z", "destination": "c"}]}
    assert [(one["domain"], one["destination"], one["ok"]) for one in silent] == [("y", "b", None)]
    assert silent[0]["checks"][0]["message"] == "no route to host"


def test_only_a_refusal_of_a_planned_move_is_a_reason_to_plan_again() -> None:
    no = answer("x", "b", False, {"check": "names_free", "ok": False, "message": "no"})
    assert agreement.refused(plan("x a b"), [no])
    assert not agreement.refused(plan("x a c, y a b"), [no])
    assert not agreement.refused(plan("x a b"), [answer("x", "b", None, NO_CONNECTION)])
