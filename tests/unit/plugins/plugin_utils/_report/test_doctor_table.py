# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._report.doctor_table import doctor_table
from ansible_collections.virtops.balance.plugins.plugin_utils._text import WIDTH, columns
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._doctor.doctor_fleet import DoctorFleet

GOLDEN = """\
NOT WELL: moves would fail in 1 of 2 directions; 1 host does not answer.

   HOST  HYPERVISOR   LIBVIRT  CPU   FREE MIB  GUESTS  CLOCK
1  kvm1  QEMU 7.2.22  9.0.0    EPYC  2048      1       0 s
2  kvm2  no answer
3  kvm3  QEMU 10.0.2  11.3.0   EPYC  2048      0       0 s

FROM \\ TO  1 2 3
1 kvm1     - ? C
2 kvm2     ? - ?
3 kvm3     v ? -
? not known; - the host itself; C connection of libvirt; V hypervisor and version; small letter:
only a warning

PROBLEMS: these make moves fail
   1 ? kvm2 does not answer (timed out): try it with the same inventory (-i):
       ansible -m ansible.builtin.ping kvm2
   2 C kvm1 cannot log in to kvm3 as root (Permission denied (publickey)): on kvm1 run as root,
    after ssh-keygen -t ed25519 where there is no key, and append what it prints to
    ~root/.ssh/authorized_keys of kvm3:
       cat ~/.ssh/id_*.pub

WARNINGS
   3 V Guests may be refused on the way from kvm3 to kvm1, which has the older QEMU (7.2.22, and not
    10.0.2): update kvm1, or let guests go only to the newer ones.

NOTES
  The ports of kvm1 were not tried, because a run is acting there (cron@control).

BEST COMMON CPU of kvm1, kvm3, for guests that are to move between them (virsh edit):
  <cpu mode='custom' match='exact'>
    <model fallback='forbid'>EPYC</model>
  </cpu>"""


def test_golden() -> None:
    fleet = DoctorFleet("kvm1", "kvm2", "kvm3")
    fleet.silent["kvm2"] = "timed out"
    fleet.guest("kvm1", "web-1")
    fleet.about["kvm1"]["lease"] = "cron@control"
    fleet.about["kvm3"].update(hypervisor={"type": "QEMU", "version": "10.0.2"}, libvirt_version="11.3.0")
    fleet.about["kvm3"]["cpu"]["for_guests"]["kvm"] = "<cpu><vendor>AMD</vendor></cpu>"
    fleet.connection("kvm1", "kvm3", problem="root@kvm3: Permission denied (publickey).")
    xml = "<cpu mode='custom' match='exact'>\n  <model fallback='forbid'>EPYC</model>\n</cpu>"
    fleet.baselines["kvm1"] = [{"number": 0, "xml": xml, "problem": None}]
    assert doctor_table(fleet.report()) == GOLDEN


@pytest.mark.parametrize(("report", "told"), [(None, "null"), ({}, "{}"), ([], "[]"), (5, "5")])
def test_what_is_no_report_is_told(report: t.Any, told: str) -> None:
    with pytest.raises(BalanceError) as caught:
        doctor_table(report)
    assert str(caught.value) == f"The report must be one of the filter doctor_report, not {told}."


def test_fifty_hosts_are_readable() -> None:
    names = [f"kvm{number:02d}.example.org" for number in range(1, 51)]
    fleet = DoctorFleet(*names)
    for source in names:
        if source != names[8]:
            fleet.connection(source, names[8], problem="libvirt did not answer within 20 seconds", timeout=True)
    text = doctor_table(fleet.report())
    assert max(columns(line) for line in text.splitlines()) <= WIDTH
    # Each host has one line in each of the two tables.
    assert sum(".example.org  " in line for line in text.splitlines()) == 2 * 50
    assert text.count(" C ") == 2
    assert "No other host can reach kvm09.example.org on port 22" in text
    assert f" 1 {names[0]}  -{'.' * 7}C{'.' * 41}\n" in text


def test_many_hosts_are_in_several_parts() -> None:
    fleet = DoctorFleet(*(f"kvm{number:03d}" for number in range(1, 121)))
    text = doctor_table(fleet.report())
    assert max(columns(line) for line in text.splitlines()) <= WIDTH
    assert text.count("FROM \\ TO") == 2


def test_names_cannot_harm_a_terminal() -> None:
    fleet = DoctorFleet("kvm1", "kvm2")
    fleet.guest("kvm1", "web\x1b[2J", bridge="br\x1b7")
    text = doctor_table(fleet.report())
    assert "\x1b" not in text
    assert "web\\x1b[2J cannot move from kvm1 to kvm2" in text
