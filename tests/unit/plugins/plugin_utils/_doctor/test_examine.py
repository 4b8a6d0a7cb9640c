# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Each topic as a table: what the hosts answered, and what is said about it."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.examine import examine
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._doctor.doctor_fleet import PATH, DoctorFleet


@pytest.fixture
def fleet() -> DoctorFleet:
    return DoctorFleet("kvm1", "kvm2", "kvm3")


def test_all_is_well(fleet: DoctorFleet) -> None:
    fleet.guest("kvm1", "web-1", network="lab", bridge="br0", machine="x86_64 pc-q35-7.2", disk=f"{PATH}/web-1")
    report = fleet.report()
    assert report["verdict"] == "WELL: guests can move in all 6 directions."
    assert fleet.rows() == ["-..", ".-.", "..-"]
    assert (report["problem"], report["problems"], report["warnings"], report["notes"], report["cpus"]) == (
        None,
        [],
        [],
        [],
        [],
    )


# As libvirt 9.0 and 11.3 with OpenSSH 9.2 and 10.0 said it on the lab.
CONNECTIONS = [
    (
        "Cannot recv data: Host key verification failed.: Connection reset by peer",
        (
            "kvm1 cannot verify kvm2, whose host key is not known there: on kvm1 run as root, and compare the key with "
            "that of kvm2: ssh-keyscan kvm2 >> ~/.ssh/known_hosts"
        ),
    ),
    (
        "Cannot recv data: root@kvm2: Permission denied (publickey).: Connection reset by peer",
        (
            "kvm1 cannot log in to kvm2 as root (Permission denied (publickey)): on kvm1 run as root, after ssh-keygen "
            "-t ed25519 where there is no key, and append what it prints to ~root/.ssh/authorized_keys of kvm2: "
            "cat ~/.ssh/id_*.pub"
        ),
    ),
    (
        (
            "Cannot recv data: ssh: Could not resolve hostname kvm2: Temporary failure in name resolution: Connection "
            "reset by peer"
        ),
        (
            "kvm1 cannot resolve the name kvm2 of kvm2: add it to the DNS or to /etc/hosts of kvm1, or give kvm2 "
            "another balance_migration_uri; look with: getent hosts kvm2"
        ),
    ),
    (
        "Cannot recv data: ssh: connect to host kvm2 port 22: Connection refused: Connection reset by peer",
        (
            "kvm1 cannot connect to kvm2: nothing listens on port 22 of kvm2: start sshd on kvm2, or correct its "
            "balance_migration_uri; look on kvm2 with: ss -ltnp 'sport = :22'"
        ),
    ),
    (
        "Cannot recv data: ssh: connect to host kvm2 port 22: No route to host: Connection reset by peer",
        (
            "kvm1 cannot reach kvm2 on port 22 (ssh: connect to host kvm2 port 22: No route to host): open the port in "
            "the firewalls between them, or correct balance_migration_uri of kvm2; try on kvm1: nc -vz -w 5 kvm2 22"
        ),
    ),
    (
        (
            "Cannot recv data: @@@@@@@@@@@\r; @    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r; Host key "
            "for kvm2 has changed and you have requested strict checking.\r; Host key verification failed.: Connection "
            "reset by peer"
        ),
        (
            "kvm1 cannot trust kvm2: its host key is another one than before: if kvm2 was installed anew, run on kvm1 "
            "as root: ssh-keygen -R kvm2; ssh-keyscan kvm2 >> ~/.ssh/known_hosts"
        ),
    ),
    (
        (
            "End of file while reading data: virt-ssh-helper: cannot connect to '/var/run/libvirt/libvirt-sock': "
            "Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory: Input/output error"
        ),
        (
            "kvm1 cannot open libvirt of kvm2, where the daemon does not run: on kvm2 run (with modular daemons "
            "virtqemud.socket): systemctl enable --now libvirtd"
        ),
    ),
    (
        "Cannot read CA certificate '/etc/pki/CA/cacert.pem': No such file or directory",
        (
            "kvm1 cannot open libvirt of kvm2 with TLS (Cannot read CA certificate '/etc/pki/CA/cacert.pem': No such "
            "file or directory): see what the certificates of kvm1 and kvm2 lack; run on each: virt-pki-validate"
        ),
    ),
    (
        "no connection driver available for xen:///system",
        (
            "kvm1 cannot open libvirt of kvm2 (no connection driver available for xen:///system): try on kvm1 as root: "
            "virsh --connect 'qemu+ssh://root@kvm2/system?no_tty=1' list"
        ),
    ),
]


@pytest.mark.parametrize(("problem", "told"), CONNECTIONS)
def test_what_keeps_a_host_from_anothers_libvirt(fleet: DoctorFleet, problem: str, told: str) -> None:
    uri = "qemu+ssh://root@kvm2/system?no_tty=1"
    fleet.connection("kvm1", "kvm2", problem=f"Cannot connect to {uri}: {problem}.", hostname=None)
    assert fleet.told() == [told]
    assert fleet.rows() == ["-C.", ".-.", "..-"]
    assert fleet.report()["problem"] == ("Moves would fail in 1 of 6 directions; the report above says what to do.")


def test_names_in_commands_are_words(fleet: DoctorFleet) -> None:
    fleet.connection("kvm1", "kvm2", problem="Host key verification failed", host="$(reboot) b", port=2222)
    assert fleet.told()[0].endswith("ssh-keyscan -p 2222 '$(reboot) b' >> ~/.ssh/known_hosts")


def test_the_key_goes_to_the_user_of_the_migration_uri(fleet: DoctorFleet) -> None:
    fleet.connection("kvm1", "kvm2", problem="Permission denied", user="virt", port=2222)
    assert "append what it prints to ~virt/.ssh/authorized_keys of kvm2" in fleet.told()[0]


def test_a_silent_host_is_told_once(fleet: DoctorFleet) -> None:
    for source in ("kvm1", "kvm3"):
        fleet.connection(source, "kvm2", problem="Cannot connect to x: libvirt did not answer.", timeout=True)
    told = fleet.told()
    assert len(told) == 1
    assert told[0].startswith("No other host can reach kvm2 on port 22 (libvirt did not answer): open the port")
    assert fleet.rows() == ["-C.", ".-.", ".C-"]


def test_no_keys_at_all_is_one_sentence(fleet: DoctorFleet) -> None:
    for source, peers in fleet.peers.items():
        for destination in peers:
            fleet.connection(source, destination, problem=f"root@{destination}: Permission denied (publickey).")
    told = fleet.told()
    assert len(told) == 1
    assert told[0].startswith(
        "No host can log in to any other host as root (Permission denied (publickey)): on every host"
    )
    assert told[0].endswith("~root/.ssh/authorized_keys of every other host: cat ~/.ssh/id_*.pub")


def test_a_host_without_a_key_is_one_sentence(fleet: DoctorFleet) -> None:
    for destination in ("kvm1", "kvm3"):
        fleet.connection("kvm2", destination, problem=f"root@{destination}: Permission denied (publickey).")
    assert fleet.told() == [
        (
            "kvm2 cannot log in to any other host as root (Permission denied (publickey)): on kvm2 run as root, after "
            "ssh-keygen -t ed25519 where there is no key, and append what it prints to ~root/.ssh/authorized_keys of "
            "every other host: cat ~/.ssh/id_*.pub"
        )
    ]


def test_two_hosts_are_told_of_by_name() -> None:
    fleet = DoctorFleet("kvm1", "kvm2")
    for source, destination in (("kvm1", "kvm2"), ("kvm2", "kvm1")):
        fleet.connection(source, destination, problem="Permission denied")
    assert [line.partition(" (")[0] for line in fleet.told()] == [
        "kvm1 cannot log in to kvm2 as root",
        "kvm2 cannot log in to kvm1 as root",
    ]
    fleet.about["kvm2"]["uuid"] = fleet.about["kvm1"]["uuid"]
    assert sum("kvm1 and kvm2 cannot exchange guests" in line for line in fleet.told()) == 1


def test_two_kinds_of_hosts_are_one_sentence() -> None:
    fleet = DoctorFleet("kvm1", "kvm2", "kvm3", "kvm4", "kvm5")
    for name in ("kvm4", "kvm5"):
        fleet.about[name]["hypervisor"]["version"] = "10.0.2"
    assert len(fleet.told()) == 1
    assert fleet.told()[0].startswith("Guests may be refused on the way from kvm4, kvm5 to kvm1, kvm2, kvm3, which has")


def test_a_uri_that_leads_elsewhere(fleet: DoctorFleet) -> None:
    fleet.connection("kvm1", "kvm2", hostname="kvm3")
    assert "by its migration URI, which leads to kvm3" in fleet.told()[0]


def test_a_name_that_is_not_known_leads_nowhere_else(fleet: DoctorFleet) -> None:
    fleet.about["kvm1"]["hostname"] = None
    fleet.connection("kvm1", "kvm2", hostname=None)
    assert fleet.told() == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("", "its answer is no JSON, or not all of it is there"),
        ('{"schema": 1, "hostn', "its answer is no JSON, or not all of it is there"),
        (True, "its answer is true, which is none of this collection"),
        ("5", "its answer is 5, which is none of this collection"),
    ],
)
def test_an_answer_that_cannot_be_read_is_none(fleet: DoctorFleet, answer: t.Any, told: str) -> None:
    selves = fleet.selves()
    peers = {name: {"answer": json.dumps({"peers": fleet.peers[name]})} for name in fleet.peers}
    report = examine({**selves, "kvm1": {"answer": answer}}, peers, {})
    assert report["hosts"][0]["problem"] == told
    report = examine(selves, {**peers, "kvm1": {"answer": answer}}, {})
    assert f"kvm1 could not be asked about the others: {told}." in report["notes"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"resolved": [], "problem": "Name or service not known", "ports": {}},
            "kvm1 cannot resolve kvm2, which kvm2 is called by its libvirt (Name or service not known): add it to",
        ),
        ({"resolved": ["127.0.1.1"], "loopback": True}, "kvm1 cannot send memory to kvm2: kvm2 is 127.0.1.1 there"),
        (
            {"host": "localhost.localdomain"},
            "kvm1 cannot send memory to kvm2, which calls itself localhost.localdomain:",
        ),
        (
            {"ports": {"49152": "timeout", "49215": "timeout"}},
            (
                "kvm1 cannot send memory to kvm2: port 49152 of kvm2 is not reached (no answer, as behind a firewall "
                "that drops packets): open TCP ports 49152-49215 in the firewall of kvm2; with firewalld run there: "
                "firewall-cmd --permanent --add-port=49152-49215/tcp && firewall-cmd --reload"
            ),
        ),
        (
            {"ports": {"49152": "rejected"}},
            "kvm1 cannot send memory to kvm2: port 49152 of kvm2 is not reached (a firewall",
        ),
        (
            {"ports": {"49152": "no_route"}},
            "kvm1 cannot send memory to kvm2: port 49152 of kvm2 is not reached (no route",
        ),
    ],
)
def test_the_way_of_the_memory(fleet: DoctorFleet, changes: dict[str, t.Any], told: str) -> None:
    fleet.address("kvm1", "kvm2", **changes)
    assert len(fleet.told()) == 1
    assert fleet.told()[0].startswith(told)
    assert fleet.rows()[0] == "-A."


def test_a_range_of_ports_that_is_half_open_is_a_warning(fleet: DoctorFleet) -> None:
    fleet.address("kvm1", "kvm2", ports={"49152": "refused", "49215": "timeout"})
    assert "many moves at once may fail: port 49215" in fleet.told()[0]
    assert fleet.rows()[0] == "-a."
    assert fleet.report()["problem"] is None


def test_a_share_that_is_not_mounted(fleet: DoctorFleet) -> None:
    """There is a directory, and it is another one."""
    fleet.seen["kvm3"][PATH]["sees"] = []
    for other in ("kvm1", "kvm2"):
        fleet.seen[other][PATH]["sees"].remove("kvm3")
    assert fleet.told() == [
        (
            f"Every other host and kvm3 do not share {PATH}, where one does not see a file that the other writes: "
            f"mount the same share on all hosts; compare on both: findmnt --target {PATH}"
        )
    ]
    assert fleet.rows() == ["-.S", ".-S", "SS-"]


def test_a_file_that_one_of_the_two_sees_is_enough(fleet: DoctorFleet) -> None:
    """The other may be slow to see it, or may not be allowed to write."""
    fleet.seen["kvm3"][PATH]["sees"] = []
    assert fleet.told() == []


def test_a_path_that_is_missing(fleet: DoctorFleet) -> None:
    fleet.guest("kvm1", "web-1", disk=f"{PATH}/web-1.qcow2")
    fleet.written["kvm3"][PATH] = {"kind": "missing", "written": False, "problem": None}
    fleet.seen["kvm3"][PATH] = {"kind": "missing", "sees": []}
    told = fleet.told()
    assert told[0].startswith(
        f"Guests with disks in {PATH} (web-1 among them) cannot move from kvm1 to kvm3, which has no"
    )
    assert fleet.rows() == ["-.S", ".-S", "..-"]


def test_that_nobody_may_write_is_a_note(fleet: DoctorFleet) -> None:
    for name in fleet.about:
        fleet.written[name][PATH] = {"kind": "directory", "written": False, "problem": "Permission denied"}
        fleet.seen[name][PATH]["sees"] = []
    report = fleet.report()
    assert (report["problem"], report["problems"]) == (None, [])
    assert report["notes"] == [
        f"kvm1, kvm2, kvm3 could not write to {PATH} (Permission denied), so nobody looked for a file there."
    ]


def test_check_mode_says_that_it_tried_no_paths(fleet: DoctorFleet) -> None:
    for name in fleet.about:
        fleet.written[name][PATH]["written"] = False
        fleet.seen[name][PATH]["sees"] = []
    assert fleet.report()["notes"] == [
        f"Whether {PATH} is the same on all hosts was not tried: a run with --check writes no files."
    ]
    assert fleet.rows() == ["-..", ".-.", "..-"]


@pytest.mark.parametrize("used", [True, False])
def test_a_bridge_that_is_missing(fleet: DoctorFleet, used: bool) -> None:
    fleet.about["kvm1"]["bridges"] = ["br0", "br7", "docker0", "br-0123456789ab"]
    if used:
        fleet.guest("kvm1", "web-1", bridge="br7")
    move = "move from kvm1 to every other host, where"
    lack = f"web-1 cannot {move} the bridge br7" if used else f"Guests on the bridge br7 could not {move} it"
    assert fleet.told() == [
        f"{lack} is missing: make it on every other host as it is on kvm1; look at it there with: ip -d link show br7"
    ]
    assert fleet.rows()[0] == ("-NN" if used else "-nn")


def test_a_network_that_is_not_active(fleet: DoctorFleet) -> None:
    fleet.guest("kvm1", "web-1", network="lab")
    fleet.about["kvm2"]["networks"][0]["active"] = False
    on = "on kvm2 run: virsh net-start lab"
    assert fleet.told() == [
        f"web-1 cannot move from kvm1 to kvm2, where the network lab is not active: {on}",
        f"Guests on the network lab could not move from kvm3 to kvm2, where it is not active: {on}",
    ]


def test_secrets_by_uuid_and_by_usage(fleet: DoctorFleet) -> None:
    uuid = "0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f"
    fleet.guest("kvm1", "web-1", secret=uuid)
    fleet.guest("kvm1", "web-2", secret="ceph client.libvirt secret")
    for name in ("kvm1", "kvm2"):
        fleet.about[name]["secrets"] = [{"uuid": uuid.upper(), "type": "ceph", "usage": "client.libvirt secret"}]
    told = fleet.told()
    assert [line.partition(",")[0] for line in told] == [
        "web-1 cannot move from kvm1 to kvm3",
        "web-2 cannot move from kvm1 to kvm3",
        "Guests that use a secret could not move from kvm2 to kvm3",
    ]
    assert f"no secret {uuid}: define it on kvm3" in told[0]


def test_what_guests_run_on(fleet: DoctorFleet) -> None:
    fleet.guest("kvm1", "web-1", machine="x86_64 pc-q35-10.0", domain_type="x86_64 kvm")
    fleet.about["kvm1"]["machine_types"]["x86_64"].append("pc-q35-10.0")
    fleet.about["kvm2"]["machine_types"]["x86_64"].append("pc-q35-10.0")
    fleet.about["kvm2"]["domain_types"] = ["qemu"]
    missing = "the CPU is incompatible with host CPU: missing features: avx512f"
    fleet.connection("kvm1", "kvm3", cpus_missing=[{"domains": ["web-1"], "missing": missing}])
    told = fleet.told()
    assert told[0].startswith(
        "web-1 cannot move from kvm1 to kvm2, which does not offer the domain type kvm: switch on"
    )
    assert told[1].startswith("web-1 cannot move from kvm1 to kvm3, which has no machine type pc-q35-10.0: give such")
    assert told[2].startswith(f"web-1 cannot move from kvm1 to kvm3, which cannot offer the CPU ({missing}): give such")
    assert told[3].startswith("Guests of the type kvm could not move from kvm3 to kvm2")
    assert fleet.rows() == ["-GG", ".-.", ".g-"]


def test_no_room_is_a_warning(fleet: DoctorFleet) -> None:
    fleet.guest("kvm1", "web-1", mib=4000)
    fleet.about["kvm2"]["memory"]["available_mib"] = None
    assert fleet.told() == [
        "No guest of kvm1 fits on kvm3 now: 2048 MiB are available there, and the smallest may use 4000 MiB"
    ]
    assert fleet.rows()[0] == "-.g"


def test_older_software_is_a_warning(fleet: DoctorFleet) -> None:
    fleet.about["kvm3"].update(hypervisor={"type": "QEMU", "version": "10.0.2"}, libvirt_version="11.3.0")
    assert fleet.told() == [
        (
            "Guests may be refused on the way from kvm3 to every other host, which has the older QEMU (7.2.22, and not "
            "10.0.2): update every other host, or let guests go only to the newer ones"
        )
    ]
    assert fleet.rows() == ["-..", ".-.", "vv-"]
    assert fleet.report()["verdict"] == "WELL: guests can move in all 6 directions, with 1 warning."


def test_hosts_that_can_never_exchange_guests(fleet: DoctorFleet) -> None:
    fleet.about["kvm3"]["hypervisor"]["type"] = "Xen"
    fleet.about["kvm2"]["uuid"] = fleet.about["kvm1"]["uuid"]
    told = fleet.told()
    assert told[0].startswith("kvm1 and kvm2 cannot exchange guests, because libvirt takes them for one host")
    assert told[1].startswith("Every other host and kvm3 cannot exchange guests: one has QEMU and the other Xen")
    assert len(told) == 2
    assert fleet.rows() == ["-VV", "V-V", "VV-"]


def test_a_clock_that_is_off_for_certain(fleet: DoctorFleet) -> None:
    fleet.about["kvm2"]["clock"] = {"started_at": 140.4, "ended_at": 140.8}
    assert fleet.told() == [
        (
            "The clock of kvm2 is at least 39 seconds ahead of that of kvm1, kvm3: synchronise it; see on kvm2 whether "
            "that works with: timedatectl"
        )
    ]
    assert fleet.rows() == ["-t.", "t-t", ".t-"]
    assert [host["clock_seconds"] for host in fleet.report()["hosts"]] == [0, 39.8, 0]
    # That the question was long on its way is no reason.
    fleet.about["kvm2"]["clock"] = {"started_at": 101.4, "ended_at": 101.8}
    assert fleet.told() == []


def test_who_does_not_answer_is_told_and_stops_nobody(fleet: DoctorFleet) -> None:
    fleet.silent["kvm2"] = "Failed to connect to the host via ssh: timed out"
    fleet.connection("kvm1", "kvm3", problem="Permission denied")
    report = fleet.report()
    assert report["verdict"] == ("NOT WELL: moves would fail in 1 of 2 directions; 1 host does not answer.")
    assert report["hosts"][1]["problem"] == "Failed to connect to the host via ssh: timed out"
    assert fleet.rows() == ["-?C", "?-?", ".?-"]


def test_a_host_that_sleeps_is_no_trouble(fleet: DoctorFleet) -> None:
    fleet.silent["kvm2"] = "timed out"
    fleet.about["kvm1"]["asleep"] = ["kvm2"]
    report = fleet.report()
    assert (report["problem"], report["problems"]) == (None, [])
    assert report["notes"] == ["Not asked, because a run has put them to sleep: kvm2."]
    assert fleet.rows() == ["-?.", "?-?", ".?-"]


def test_a_host_without_libvirt_is_told_from_one_that_is_gone(fleet: DoctorFleet) -> None:
    selves = fleet.selves()
    selves["kvm2"] = {"failed": True, "msg": "Cannot connect to x: no."}
    selves["kvm3"] = {"unreachable": True, "msg": "timed out"}
    told = [(entry["sentence"], entry["commands"]) for entry in examine(selves, {}, {})["problems"]]
    assert told == [
        (
            "kvm2 answers Ansible and cannot be asked (Cannot connect to x: no): see there whether libvirt runs, with",
            ["systemctl status libvirtd virtqemud"],
        ),
        (
            "kvm3 does not answer (timed out): try it with the same inventory (-i)",
            ["ansible -m ansible.builtin.ping kvm3"],
        ),
    ]


def test_a_host_that_cannot_be_asked_about_the_others_is_no_success(fleet: DoctorFleet) -> None:
    report = examine(fleet.selves(), {"kvm1": {"failed": True, "msg": "out of memory."}}, {})
    assert report["problem"].startswith("6 directions could not be asked;")
    assert "kvm1 could not be asked about the others: out of memory." in report["notes"]


def test_whom_a_host_did_not_ask_about_is_told(fleet: DoctorFleet) -> None:
    fleet.peers["kvm1"]["kvm3"] = {"not_asked": "8 other hosts did not answer"}
    report = fleet.report()
    assert report["notes"] == ["kvm1 was not asked about kvm3: 8 other hosts did not answer."]
    assert fleet.rows()[0] == "-.?"


def test_one_host_alone_is_no_fleet() -> None:
    assert (
        DoctorFleet("kvm1").report()["problem"] == "There are fewer than two hosts; the report above says what to do."
    )


def test_answers_that_are_none() -> None:
    with pytest.raises(BalanceError, match="must be mappings from the name of each host"):
        examine({"kvm1": "yes"}, {}, {})
