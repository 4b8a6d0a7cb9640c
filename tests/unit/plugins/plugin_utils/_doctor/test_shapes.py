# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Whatever is wrong deep in an answer is told in one sentence; nothing ends with a traceback."""

from __future__ import annotations

import contextlib
import copy
import json
import typing as t
from collections.abc import Iterator

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.examine import examine
from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.questions import make_questions
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._report.doctor_table import doctor_table
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._doctor.doctor_fleet import (
    CPU,
    PATH,
    DoctorFleet,
    Json,
)

WRONG: tuple[t.Any, ...] = (None, True, -3, 1e300, float("nan"), "x", "", [], [3], ["x"], {}, {"x": 3}, [{}], [["x"]])
Place = tuple[str | int, ...]


def rich() -> DoctorFleet:
    """Two hosts that answer with something everywhere."""
    fleet = DoctorFleet("kvm1", "kvm2")
    fleet.guest("kvm1", "web-1", network="lab", bridge="br0", disk=f"{PATH}/web-1.qcow2", pool="fast", secret="ceph s")
    fleet.guest("kvm1", "web-2", machine="x86_64 pc-q35-9.0", domain_type="x86_64 kvm")
    for number, about in enumerate(fleet.about.values()):
        pool = {"name": "fast", "path": "/srv/fast", "type": "dir", "active": True, "shared": True}
        about["pools"] = [pool, {**pool, "name": "rbd", "path": None, "type": "rbd"}]
        about["secrets"] = [{"uuid": f"0{number}", "type": "ceph", "usage": "s"}]
        about["migrate_uri"] = "tcp://10.0.0.1:49152" if number else None
        about["cpu"]["for_guests"]["kvm"] = CPU.replace("EPYC", f"EPYC-{number}")
    fleet.about["kvm1"]["lease"] = "kvm1"
    fleet.connection("kvm1", "kvm2", cpus_missing=[{"domains": ["web-1"], "missing": "avx"}])
    fleet.connection("kvm2", "kvm1", problem="Connection refused", port=22)
    fleet.address("kvm1", "kvm2", ports={"49152": "timeout", "49215": "open"})
    fleet.baselines = {name: [{"number": 0, "xml": CPU, "problem": None}] for name in fleet.about}
    return fleet


def places(value: t.Any, here: Place = ()) -> Iterator[Place]:
    """Where there are values, at any depth."""
    if here:
        yield here
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*here, key))


LEFT_OUT = object()


def changed(value: t.Any, place: Place, new: t.Any) -> t.Any:
    """The value with another one at this place, or without it."""
    found = inner = copy.deepcopy(value)
    for key in place[:-1]:
        inner = inner[key]
    if new is LEFT_OUT:
        inner.pop(place[-1])
    else:
        inner[place[-1]] = new
    return found


def ways(value: t.Any) -> Iterator[t.Any]:
    """The value with each of its parts left out or replaced."""
    for place in places(value):
        for wrong in (LEFT_OUT, *WRONG):
            yield changed(value, place, wrong)


def run(selves: Json, peers: Json, written: Json) -> list[str]:
    """The sentences of the filters that refuse; anything but a BalanceError is for the test to fail."""
    refused = []
    for work in (lambda: make_questions(selves, "1"), lambda: doctor_table(examine(selves, peers, written))):
        try:
            work()
        except BalanceError as error:
            refused.append(str(error))
    return refused


@pytest.mark.parametrize("what", ["selves", "peers", "written"])
def test_no_value_of_an_answer_ends_with_a_traceback(what: str) -> None:
    fleet = rich()
    given = {
        "selves": {name: {**one, "answer": json.loads(one["answer"])} for name, one in fleet.selves().items()},
        "peers": {
            name: {"answer": {"peers": peers, "paths": fleet.seen[name], "baselines": fleet.baselines[name]}}
            for name, peers in fleet.peers.items()
        },
        "written": {name: {"paths": paths} for name, paths in fleet.written.items()},
    }
    told = [run(**{**given, what: {**given[what], "kvm1": one}}) for one in ways(given[what]["kvm1"])]
    assert len(told) > 50
    assert not [sentence for refused in told for sentence in refused if "\n" in sentence]


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (("cpu", "for_guests"), ["kvm"], "in its answer, cpu.for_guests is ['kvm'] and not a mapping"),
        (("needs", "things"), [{"kind": "pool", "name": "a", "domains": 3}], "needs.things[0].domains is 3 and not a "),
        (("migration", "ports"), [2, 1], "migration.ports is [2, 1] and not a first and a last port"),
        (("libvirt_version",), "new", "libvirt_version is 'new' and not a version"),
        (("clock", "ended_at"), "noon", "clock.ended_at is 'noon' and not a number"),
    ],
)
def test_a_host_whose_answer_cannot_be_read_is_told(place: Place, value: t.Any, sentence: str) -> None:
    fleet = rich()
    fleet.about["kvm1"] = changed(fleet.about["kvm1"], place, value)

    report = fleet.report()

    assert sentence in report["hosts"][0]["problem"]
    assert sentence in report["problems"][0]["sentence"]
    assert list(make_questions(fleet.selves(), "1")["peers"]) == ["kvm2"]


def test_what_is_wrong_about_the_others_is_told() -> None:
    fleet = rich()
    fleet.connection("kvm1", "kvm2", port="ssh")
    assert (
        "kvm1 could not be asked about the others: in its answer, peers.kvm2.connection.port is 'ssh' and not a port."
        in fleet.report()["notes"]
    )
    fleet.written["kvm2"][PATH] = "directory"
    with pytest.raises(
        BalanceError, match=r"test files of kvm2, paths\./srv/images is 'directory' and not a mapping\."
    ):
        fleet.report()


def test_no_value_of_a_report_ends_with_a_traceback() -> None:
    for report in ways(rich().report()):
        with contextlib.suppress(BalanceError):
            doctor_table(report)


def test_a_host_that_wrote_no_files_spoils_nothing() -> None:
    fleet = DoctorFleet("kvm1", "kvm2")
    fleet.written = {"kvm1": {}, "kvm2": {PATH: {"kind": "directory", "written": False, "problem": None}}}
    assert any("was not tried" in note for note in fleet.report()["notes"])
