# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of checks before a migration share: the domain that is to move, and the hosts that are asked."""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._move import preflight
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Known, Subject
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import UUID, Fleet, Host
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError

NOTHING_SHARED = SharedStorage(mounts=[])
# What a test may have otherwise.
PARTS = {"cpu_xml": "<cpu mode='custom' match='exact'><model>Nehalem</model></cpu>", "cpu_set": "<vcpu>1</vcpu>"}


def subject(
    devices: str = "", *, memory: int = 512, hugepages: str = "", cputune: str = "", **replaced: str
) -> Subject:
    text = Fleet().add(devices=devices, memory=memory, cputune=cputune).XMLDesc(0)
    text = text.replace("<devices>", f"{hugepages}<devices>")
    for old, new in replaced.items():
        text = text.replace(PARTS[old], new)
    root = ET.fromstring(text)
    return Subject("web-1", UUID, "kvm1", "kvm2", root, domain_xml.parse(text), root.find("cpu"))


def check(
    of: Subject,
    name: str,
    *,
    source: Host | None = None,
    host: Host | None = None,
    storage: SharedStorage | None = None,
    copied: t.Collection[str] = (),
    **known: t.Any,
) -> list[tuple[t.Any, str]]:
    fleet = Fleet()
    here = Connection(api=fleet, handle=source or fleet.hosts["kvm1"], uri="test:///")
    there = Connection(api=fleet, handle=host or fleet.hosts["kvm2"], uri="test://kvm2/")
    checks = preflight.check_destination(
        of, here, there, Known(**known), storage=storage or NOTHING_SHARED, copied=copied
    )
    return [(one.ok, one.message) for one in checks if one.name == name]


def host(**values: t.Any) -> Host:
    return Host(Fleet(), "kvm2", "uuid-of-kvm2", **values)


def refusing(call: str, code: int, message: str = "no", domain: int = 10) -> Host:
    return host(refuses={call: FakeLibvirtError(code, message, domain)})
