# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.questions import make_questions
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._doctor.doctor_fleet import PATH, DoctorFleet

INTEL = "<cpu><model>Broadwell</model><vendor>Intel</vendor></cpu>"
NEWER = "<cpu><model>EPYC</model><vendor>AMD</vendor><feature policy='require' name='fsrm'/></cpu>"


@pytest.fixture
def fleet() -> DoctorFleet:
    return DoctorFleet("kvm1", "kvm2", "kvm3")


def questions(fleet: DoctorFleet) -> t.Any:
    return make_questions(fleet.selves(), "7")


def test_every_host_is_asked_about_with_what_migrations_use(fleet: DoctorFleet) -> None:
    asked = questions(fleet)
    assert asked["run"] == "7"
    assert asked["paths"] == [PATH]
    assert asked["peers"]["kvm2"] == {
        "uri": "qemu+ssh://root@kvm2/system?no_tty=1",
        "host": "kvm2",
        "ports": [49152, 49215],
    }


def test_who_does_not_answer_is_not_asked_about(fleet: DoctorFleet) -> None:
    fleet.silent["kvm2"] = "timed out"
    assert list(questions(fleet)["peers"]) == ["kvm1", "kvm3"]


@pytest.mark.parametrize("selves", [None, 5, ["kvm1"], {"kvm1": 5}, {"kvm1": None}])
def test_what_is_no_answer_is_told(selves: t.Any) -> None:
    with pytest.raises(BalanceError, match="The answers must be mappings"):
        make_questions(selves, "7")


@pytest.mark.parametrize(
    ("migrate_uri", "migration_host", "host", "ports"),
    [
        (None, None, "kvm2", [49152, 49215]),
        (None, "10.0.0.2", "10.0.0.2", [49152, 49215]),
        ("tcp://10.20.0.2", "10.0.0.2", "10.20.0.2", [49152, 49215]),
        ("tcp:10.20.0.2", None, "10.20.0.2", [49152, 49215]),
        ("tcp://[fd00::2]:49300", None, "fd00::2", [49300]),
        ("rdma://10.20.0.2", None, "10.20.0.2", []),
    ],
)
def test_the_address_of_the_memory(
    fleet: DoctorFleet, migrate_uri: str | None, migration_host: str | None, host: str, ports: list[int]
) -> None:
    fleet.about["kvm2"]["migrate_uri"] = migrate_uri
    fleet.about["kvm2"]["migration"]["host"] = migration_host
    asked = questions(fleet)["peers"]["kvm2"]
    assert (asked["host"], asked["ports"]) == (host, ports)


def test_a_port_that_may_wait_for_memory_is_left_alone(fleet: DoctorFleet) -> None:
    fleet.about["kvm1"]["migration"]["listening"] = [49152, 49153, 49215]
    fleet.about["kvm2"]["migration"]["listening"] = None
    fleet.about["kvm3"]["lease"] = "cron@control"
    peers = questions(fleet)["peers"]
    assert [peers[name]["ports"] for name in peers] == [[49154, 49214], [], []]


def test_pools_that_libvirt_takes_for_shared_are_tried(fleet: DoctorFleet) -> None:
    pool = {"name": "nfs", "type": "netfs", "path": "/mnt/nfs/", "active": True, "shared": True}
    fleet.about["kvm1"]["pools"] = [
        pool,
        {**pool, "name": "own", "path": "/own", "shared": False},
        {**pool, "name": "off", "path": "/off", "active": False},
        {**pool, "name": "rbd", "type": "rbd", "path": None},
    ]
    assert questions(fleet)["paths"] == ["/mnt/nfs", PATH]


def test_equal_cpus_are_no_question(fleet: DoctorFleet) -> None:
    assert questions(fleet)["baselines"] == []


def test_the_oldest_libvirt_is_asked_first_for_the_best_common_cpu(fleet: DoctorFleet) -> None:
    for name, version in (("kvm1", "11.3.0"), ("kvm2", "9.0.0"), ("kvm3", "11.3.0")):
        fleet.about[name]["libvirt_version"] = version
    fleet.about["kvm3"]["cpu"]["for_guests"]["kvm"] = NEWER
    asked = questions(fleet)["baselines"]
    assert [(question["asked"], len(question["cpus"])) for question in asked] == [(["kvm2", "kvm1"], 2)]
    fleet.baselines = {
        "kvm1": [{"number": 0, "xml": "<cpu>newer</cpu>", "problem": None}],
        "kvm2": [{"number": 0, "xml": "<cpu>older</cpu>", "problem": None}],
    }
    assert fleet.report()["cpus"] == [{"hosts": ["kvm1", "kvm2", "kvm3"], "xml": "<cpu>older</cpu>", "problem": None}]
    fleet.baselines["kvm2"][0].update(xml=None, problem="no")
    assert fleet.report()["cpus"][0]["xml"] == "<cpu>newer</cpu>"


def test_two_vendors_share_no_cpu() -> None:
    fleet = DoctorFleet("kvm1", "kvm2", "kvm3", "kvm4", "kvm5")
    for name in ("kvm2", "kvm4"):
        fleet.about[name]["cpu"]["for_guests"]["kvm"] = INTEL
    fleet.about["kvm5"]["cpu"]["for_guests"] = {}
    fleet.baselines = {"kvm2": [{"number": 1, "xml": None, "problem": "it is not supported"}]}
    assert fleet.report()["cpus"] == [
        {"hosts": ["kvm1", "kvm3"], "xml": None, "problem": "it was not asked"},
        {"hosts": ["kvm2", "kvm4"], "xml": None, "problem": "it is not supported"},
    ]


def test_where_all_guests_are_emulated_their_cpus_count(fleet: DoctorFleet) -> None:
    fleet.about["kvm1"]["cpu"]["for_guests"] = {"kvm": NEWER, "qemu": INTEL}
    for name in ("kvm2", "kvm3"):
        fleet.about[name]["cpu"]["for_guests"]["qemu"] = INTEL
    assert len(questions(fleet)["baselines"]) == 1
    fleet.guest("kvm1", "web-1", domain_type="x86_64 qemu")
    assert questions(fleet)["baselines"] == []
