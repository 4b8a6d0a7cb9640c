# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The affinity of one domain's vCPUs: what is set, what is remembered, and when nothing is touched."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import original_settings
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._tuning.domain_vcpu_pin import Request, pin
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_inside import (
    CONFIG,
    LIVE,
    Guest,
    InsideHost,
    api_for,
)
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError

NASTY = ("nobody", "a'b\"c", "$(reboot)", "; rm -rf /", "../../etc/passwd", "\u00fc\u4e2d\U0001f600", "a" * 5000)

NO_CPUS: tuple[t.Any, ...] = (
    "", "x", "0-", "-1", "\u0661", "0;reboot", "0-99999999999", "a" * 9999, -1, True, 1.5, float("nan"), 10**12, None,
    {}, [], [0, "1"], [1.5],
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "_ensure_events", lambda _api: None)


@pytest.fixture
def host() -> InsideHost:
    return InsideHost(8)


def run(host: InsideHost, *, check_mode: bool = False, **options: t.Any) -> dict[str, t.Any]:
    request = Request(uri="qemu:///system", **{"domain": "web-1", **options})
    return pin(api_for(host), request, check_mode=check_mode)


def two(host: InsideHost, name: str = "web-1", **values: t.Any) -> Guest:
    return host.add(name, wants=[0.0, 0.0], **values)


def remembered(guest: Guest, place: int) -> t.Mapping[int, str]:
    return original_settings.parse_text(guest.texts.get(place)).pins


def test_on_xen_nothing_is_pinned_and_nothing_has_to_be_released(host: InsideHost) -> None:
    guest = two(host)
    # The library asks for it to read and to write pins, and Xen's driver does not have it.
    host.kind, host.answers["getCPUMap"] = "Xen", FakeLibvirtError(3)
    with pytest.raises(BalanceError, match=r"cannot pin vCPUs on Xen\. For web-1 use xl vcpu-pin"):
        run(host, cpus="0")
    released = run(host, state="released")
    assert (released["changed"], released["live"], guest.commands) == (False, None, [])


@pytest.mark.parametrize(
    ("options", "live"),
    [
        ({"cpus": "all"}, {"0": "all", "1": "all"}),
        ({"cpus": "0-3,^2"}, {"0": "0-1,3", "1": "0-1,3"}),
        ({"cpus": 5}, {"0": "5", "1": "5"}),
        ({"cpus": [7, 0, 1]}, {"0": "0-1,7", "1": "0-1,7"}),
        ({"cpus": "0-7"}, {"0": "all", "1": "all"}),
        ({"pins": {"1": "2"}}, {"0": "all", "1": "2"}),
        ({"pins": {0: 3, 1: "all"}}, {"0": "3", "1": "all"}),
        ({"pins": {}}, {"0": "all", "1": "all"}),
    ],
)
def test_what_is_asked_for_is_set(host: InsideHost, options: dict[str, t.Any], live: dict[str, str]) -> None:
    guest = two(host)
    before = guest.pins[LIVE].copy()

    would = run(host, check_mode=True, **options)
    assert guest.pins[LIVE] == before
    assert guest.commands == []
    done, again = run(host, **options), run(host, **options)

    assert done == would
    assert done["live"] == live
    assert done["definition"] is None
    assert done["changed"] == (set(live.values()) != {"all"})
    assert done["diff"] == {"before": {"live": {"0": "all", "1": "all"}}, "after": {"live": live}}
    assert not again["changed"]
    assert guest.pins[CONFIG][0] == frozenset(range(8)), "the definition was not asked for"


def test_the_first_state_is_remembered_and_set_back(host: InsideHost) -> None:
    guest = two(host, pins={LIVE: {1: frozenset({6})}})

    run(host, pins={"1": 2})
    run(host, pins={"0": 3, "1": 4}, persistent=True)

    assert remembered(guest, LIVE) == {0: "all", 1: "6"}
    assert remembered(guest, CONFIG) == {0: "all", 1: "all"}
    assert run(host, state="released", check_mode=True)["live"] == {"0": "all", "1": "6"}
    released = run(host, state="released")
    assert released["changed"]
    assert guest.pins == {
        LIVE: {0: frozenset(range(8)), 1: frozenset({6})},
        CONFIG: dict.fromkeys((0, 1), frozenset(range(8))),
    }
    assert remembered(guest, LIVE) == remembered(guest, CONFIG) == {}
    assert not run(host, state="released")["changed"]


def test_what_another_host_remembered_is_set_as_far_as_this_one_has_it(host: InsideHost) -> None:
    guest = two(host)
    note = original_settings.Remembered(pins={0: "2-40", 1: "40-41"})
    guest.texts[LIVE] = original_settings.render(note, previous="<state><tag>web</tag></state>")
    run(host, state="released")
    assert guest.pins[LIVE] == {0: frozenset(range(2, 8)), 1: frozenset(range(8))}
    assert guest.texts[LIVE] == "<state><tag>web</tag></state>"


def test_only_what_was_changed_is_released(host: InsideHost) -> None:
    guest = two(host)
    run(host, pins={"0": 1})
    guest.pins[LIVE][1] = frozenset({5})
    run(host, state="released")
    assert guest.pins[LIVE] == {0: frozenset(range(8)), 1: frozenset({5})}


def test_a_domain_that_does_not_run(host: InsideHost) -> None:
    guest = two(host, active=False)
    with pytest.raises(BalanceError, match="is not running here: set persistent to true"):
        run(host, cpus=1)
    done = run(host, cpus=1, persistent=True)
    assert (done["live"], done["definition"]) == (None, {"0": "1", "1": "1"})
    assert guest.pins[LIVE][0] == frozenset(range(8))
    assert run(host, state="released")["definition"] == {"0": "all", "1": "all"}


def test_a_transient_domain_has_no_definition(host: InsideHost) -> None:
    two(host, persistent=False)
    with pytest.raises(BalanceError, match="no definition"):
        run(host, cpus=1, persistent=True)
    assert run(host, cpus=1)["changed"]


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"job": {"type": 2, "operation": 5}}, r"Libvirt runs a job on web-1 \(migration_out\)"),
        ({"state_": (3, 2)}, "A migration of web-1 is under way"),
    ],
)
def test_a_domain_that_is_held_is_left_alone(host: InsideHost, how: dict[str, t.Any], sentence: str) -> None:
    guest = two(host, **how)
    with pytest.raises(BalanceError, match=sentence):
        run(host, cpus=1)
    assert guest.commands == []
    assert not run(host, cpus="all")["changed"], "nothing to do is no error"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        *(({"cpus": bad}, "cpus must be") for bad in NO_CPUS),
        ({"cpus": 8}, "cpus names CPU 8, but the host has 0-7"),
        ({"cpus": 99_999}, "cpus names CPU 99999, but the host has 0-7"),
        ({"cpus": "6-9"}, "cpus names CPU 8, but the host has 0-7"),
        ({"pins": {"2": 1}}, "pins names the vCPU '2', but web-1 has 0, 1"),
        ({"pins": {"-1": 1}}, "pins names the vCPU '-1'"),
        ({"pins": {"all": 1}}, "pins names the vCPU 'all'"),
        ({"pins": {"\u0662": 1}}, "pins names the vCPU"),
        ({"pins": {"9" * 5000: 1}}, "pins names the vCPU"),
        ({"pins": {"0": "x"}}, "pins.0 must be"),
        *(({"domain": name, "cpus": 0}, "There is no domain") for name in NASTY),
        *(({"domain": name, "cpus": 0}, "domain must be") for name in ("", " ", "a\nb", "\ud800")),
    ],
)
def test_bad_input_is_one_sentence_and_no_action(host: InsideHost, options: dict[str, t.Any], sentence: str) -> None:
    guest = two(host)
    with pytest.raises(BalanceError) as raised:
        run(host, **options)
    assert sentence in raised.value.message
    assert "\n" not in raised.value.message
    assert guest.commands == []


def test_libvirt_shows_something_else(host: InsideHost) -> None:
    two(host, ignores={"pinVcpuFlags"})
    with pytest.raises(BalanceError, match="Libvirt accepted the CPUs 1 for vCPU 0 of web-1, but reports all"):
        run(host, cpus=1)


def test_libvirt_refuses(host: InsideHost) -> None:
    guest = two(host, refuses={"pinVcpuFlags": FakeLibvirtError(38, "cannot set CPU affinity")})
    with pytest.raises(BalanceError, match="Cannot pin the vCPUs of 'web-1': cannot set CPU affinity"):
        run(host, cpus=1)
    assert remembered(guest, LIVE) == {0: "all", 1: "all"}, "noted before the attempt, so that a release still works"


def test_all_domains_of_a_host_are_released(host: InsideHost) -> None:
    guests = [two(host, f"web-{number}") for number in (3, 2, 1)]
    guests[2].active = False
    run(host, domain="web-3", cpus=1)
    run(host, domain="web-1", cpus=2, persistent=True)

    would = run(host, domain=None, state="released", check_mode=True)
    done = run(host, domain=None, state="released")

    assert done == would
    assert [(found["name"], found["live"], found["definition"]) for found in done["domains"]] == [
        ("web-1", None, {"0": "all", "1": "all"}),
        ("web-3", {"0": "all", "1": "all"}, {"0": "all", "1": "all"}),
    ]
    assert all(
        pins == frozenset(range(8)) for guest in guests for place in guest.pins.values() for pins in place.values()
    )
    assert run(host, domain=None, state="released") == {
        "changed": False, "domains": [], "diff": {"before": {}, "after": {}}
    }  # fmt: skip


def test_one_that_cannot_be_released_keeps_no_other(host: InsideHost) -> None:
    first, second, third = (two(host, f"web-{number}") for number in (1, 2, 3))
    for guest in (first, second, third):
        run(host, domain=guest.name_, cpus=1)
    first.job = {"type": 2, "operation": 5}
    second.refuses = {"pinVcpuFlags": FakeLibvirtError(38, "cannot set CPU affinity")}
    with pytest.raises(BalanceError) as raised:
        run(host, domain=None, state="released")
    assert raised.value.message == (
        "Libvirt runs a job on web-1 (migration_out). Its vCPUs are not pinned meanwhile. "
        "Cannot release the vCPUs of web-2: cannot set CPU affinity."
    )
    assert third.pins[LIVE][0] == frozenset(range(8))
