# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move import ask
from ansible_collections.virtops.balance.plugins.module_utils._move import move as domain_move
from ansible_collections.virtops.balance.plugins.module_utils._move.run import MoveError, Request
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils import fake_fleet
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import UUID, Domain, Fleet, Host
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError

OTHER = "6ba7b811-9dad-41d1-80b4-00c04fd430c8"
BRIDGE = "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='{}'/></interface>"


@pytest.fixture(autouse=True)
def _no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "_ensure_events", lambda _api: None)


@pytest.fixture
def fleet() -> Fleet:
    """Three hosts; web-1 runs on kvm1, and so does db-1, which needs a bridge that nobody has."""
    found = Fleet()
    found.hosts["kvm3"] = Host(found, "kvm3", "uuid-of-kvm3")
    found.add(devices=BRIDGE.format("br0"))
    found.add(name_="db-1", uuid=OTHER, devices=BRIDGE.format("br7"))
    return found


def asked(fleet: Fleet, *questions: tuple[str, str] | tuple[str, str, int], **options: t.Any) -> list[t.Any]:
    return ask.ask(
        fleet,
        ask.Asking(**{"uri": "test://kvm1/", **options}),
        [ask.Question(*question) for question in questions],
        [ask.Destination(name, f"test://{name}/") for name in ("kvm1", "kvm2", "kvm3")],
    )


def refusals(answer: dict[str, t.Any]) -> list[tuple[str, str | None, t.Any, str]]:
    return [(c["check"], c["kind"], c["about"], c["message"]) for c in answer["checks"] if c["ok"] is False]


def test_each_question_has_its_answer(fleet: Fleet) -> None:
    answers = asked(fleet, (OTHER, "kvm2"), (UUID, "kvm3"), (UUID, "kvm2"), (OTHER, "kvm3"))

    assert [(one["domain"], one["destination"], one["ok"]) for one in answers] == [
        (OTHER, "kvm2", False),
        (UUID, "kvm3", True),
        (UUID, "kvm2", True),
        (OTHER, "kvm3", False),
    ]
    assert refusals(answers[0]) == [("bridge", "bridge", "br7", "kvm2 has no bridge br7")]
    assert fleet.log == []


def test_asking_makes_the_checks_of_acting(fleet: Fleet) -> None:
    for name, uuid in (("web-1", UUID), ("db-1", OTHER)):
        request = Request(uri="test://kvm1/", domain=uuid, destination_uri="test://kvm2/", destination="kvm2")
        try:
            acted = domain_move.move(fleet, request, check_mode=True, report=lambda _progress: None)
        except MoveError as error:
            acted = error.details
        assert acted["name"] == name
        assert asked(fleet, (uuid, "kvm2"))[0]["checks"] == acted["checks"]


@pytest.mark.parametrize(
    ("prepare", "check", "kind", "message"),
    [
        pytest.param(
            lambda fleet: fleet.add("kvm2", uuid="other", persistent=True, now=None),
            "names_free",
            None,
            "kvm2 already has another domain of this name, with the UUID other",
            id="the name is taken",
        ),
        pytest.param(
            lambda fleet: fleet.hosts["kvm2"].refuses.update(getDomainCapabilities=FakeLibvirtError(8, "not so")),
            "machine",
            "machine",
            "kvm2 does not offer machine type pc-q35-7.2, domain type kvm: not so",
            id="machine type",
        ),
        pytest.param(
            lambda fleet: setattr(fleet.hosts["kvm2"], "lacks", frozenset({"Nehalem"})),
            "cpu",
            "cpu",
            "kvm2 cannot offer its CPU: the CPU is incompatible with host CPU: Host CPU does not provide required "
            "features: Nehalem",
            id="CPU",
        ),
        pytest.param(
            lambda fleet: setattr(fleet.hosts["kvm1"].domains[0], "snapshots", 1),
            "blockers",
            "domain",
            "the domain has snapshots, with which libvirt does not migrate",
            id="a blocker",
        ),
        pytest.param(
            lambda fleet: setattr(fleet.hosts["kvm1"].domains[0], "job", {"type": 2, "operation": 9}),
            "domain",
            "domain",
            "web-1 is busy on kvm1: libvirt runs a job on it (backup)",
            id="busy",
        ),
        pytest.param(
            lambda fleet: fleet.hosts["kvm1"].domains.pop(0),
            "domain",
            "domain",
            f"Neither kvm1 nor kvm2 has a domain {UUID}",
            id="gone",
        ),
        pytest.param(
            lambda fleet: fleet.add("kvm2", now=fake_fleet.MIGRATED),
            "both_hosts",
            None,
            None,
            id="on both hosts",
        ),
        pytest.param(
            lambda fleet: setattr(fleet.hosts["kvm2"], "host_uuid", "uuid-of-kvm1"),
            "both_hosts",
            None,
            None,
            id="two hosts with one UUID",
        ),
    ],
)
def test_a_refusal_says_how_far_it_holds(
    fleet: Fleet, prepare: t.Callable[[Fleet], t.Any], check: str, kind: str | None, message: str | None
) -> None:
    prepare(fleet)

    (answer,) = asked(fleet, (UUID, "kvm2"), source="kvm1")

    assert answer["ok"] is False
    ((found, told, _about, said),) = refusals(answer)
    assert (found, told) == (check, kind)
    if message is not None:
        assert said == message
    assert fleet.log == []


def test_memory_counts_what_happens_before(fleet: Fleet) -> None:
    # kvm2 has 2048 MiB available, and 256 must remain; the domain may use 64.
    fleet.hosts["kvm1"].domains[0].memory = 1900
    ok = [asked(fleet, (UUID, "kvm2", room))[0] for room in (0, 107, 108, -1)]

    assert [answer["ok"] for answer in ok] == [False, False, True, False]
    memory = [check for answer in ok for check in answer["checks"] if check["check"] == "memory"]
    # What it has now is told whatever will have happened.
    assert {(check["kind"], check["about"]) for check in memory} == {("memory", 1792)}


def test_what_cannot_be_asked_is_no_refusal(fleet: Fleet) -> None:
    fleet.hosts["kvm2"].refuses["compareHypervisorCPU"] = FakeLibvirtError(3, "not supported by the driver")

    (answer,) = asked(fleet, (UUID, "kvm2"))

    assert answer["ok"] is True
    assert [c["message"] for c in answer["checks"] if c["ok"] is None] == [
        "kvm2 cannot compare CPUs: not supported by the driver"
    ]


def test_a_destination_that_cannot_be_reached_does_not_keep_others_from_being_asked(fleet: Fleet) -> None:
    fleet.down.add("kvm2")

    first, second = asked(fleet, (UUID, "kvm2"), (UUID, "kvm3"))

    assert first == {
        "domain": UUID,
        "destination": "kvm2",
        "ok": None,
        "checks": [
            {
                "check": "connection",
                "ok": None,
                "message": "Cannot connect to test://kvm2/: unable to connect to server at 'kvm2'",
                "kind": None,
                "about": None,
            }
        ],
    }
    assert second["ok"] is True


def test_nor_does_one_that_hangs_and_what_it_answered_before_counts(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()
    plain = Host.lookupByName

    def hang(host: Host, name: str) -> Domain:
        if host.name == "kvm2" and name == "db-1":
            never.wait(30)
        return plain(host, name)

    monkeypatch.setattr(Host, "lookupByName", hang)
    answers = asked(fleet, (UUID, "kvm2"), (OTHER, "kvm2"), (UUID, "kvm3"), timeout_seconds=0.5)
    never.set()

    assert [answer["ok"] for answer in answers] == [True, None, True]
    assert answers[1]["checks"][0]["message"] == "Cannot ask kvm2: libvirt did not answer within 0.5 seconds"


def test_a_connection_that_is_lost_ends_the_questions_about_one_destination(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Host.lookupByName

    def lose(host: Host, name: str) -> Domain:
        if host.name == "kvm2":
            raise FakeLibvirtError(1, "client socket is closed", 7)
        return plain(host, name)

    monkeypatch.setattr(Host, "lookupByName", lose)
    answers = asked(fleet, (UUID, "kvm2"), (OTHER, "kvm2"), (UUID, "kvm3"))

    assert [answer["ok"] for answer in answers] == [None, None, True]
    assert answers[1]["checks"][0]["message"] == "Cannot ask kvm2: client socket is closed"


def test_a_domain_that_cannot_be_asked_about_does_not_keep_others_from_it(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Domain.isPersistent

    def refuse(domain: Domain) -> bool:
        if domain.uuid == UUID:
            raise FakeLibvirtError(68, "cannot acquire state change lock")
        return plain(domain)

    monkeypatch.setattr(Domain, "isPersistent", refuse)
    first, second = asked(fleet, (UUID, "kvm2"), (OTHER, "kvm2"))

    assert (first["ok"], second["ok"]) == (None, False)
    assert first["checks"][0]["message"] == "cannot acquire state change lock"


def test_more_destinations_than_are_asked_at_once(fleet: Fleet) -> None:
    names = [f"kvm{number}" for number in range(4, 30)]
    for name in names:
        fleet.hosts[name] = Host(fleet, name, f"uuid-of-{name}")
    answers = ask.ask(
        fleet,
        ask.Asking("test://kvm1/"),
        [ask.Question(UUID, name) for name in names],
        [ask.Destination(name, f"test://{name}/") for name in names],
    )

    assert [(answer["destination"], answer["ok"]) for answer in answers] == [(name, True) for name in names]


def test_a_question_about_an_unknown_destination(fleet: Fleet) -> None:
    with pytest.raises(BalanceError, match="A question is about kvm9, which is not one of the destinations"):
        asked(fleet, (UUID, "kvm9"))
