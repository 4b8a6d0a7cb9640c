# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far refusals hold, and what they are about: the planner looks for the same in what was observed."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._move import preflight
from ansible_collections.virtops.balance.plugins.module_utils._move.checks.check import Known, Subject
from ansible_collections.virtops.balance.plugins.module_utils._observe.procfs import Mount
from ansible_collections.virtops.balance.plugins.module_utils._observe.shared_storage import SharedStorage
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.checked import host, subject
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import Fleet

KEY = "1a2b3c4d-0000-4000-8000-000000000001"
VOLUME = "<disk type='volume'><source pool='images' volume='a/web-1.qcow2'/><target dev='vda'/></disk>"
FILE = "<disk type='file'><source file='/srv/images/web-1.qcow2'/><target dev='vda'/></disk>"
AUTH = (
    "<disk type='network'><auth username='u'><secret type='{}' {}/></auth><source protocol='rbd' name='p/i'/>"
    "<target dev='vdb'/></disk>"
)
BACKING = "<memoryBacking><hugepages>{}</hugepages></memoryBacking>"
GIB_PAGES = BACKING.format("<page size='1' unit='G'/>")
NUMA = "<numatune><memory mode='strict' nodeset='{}'/></numatune>"
CELLS = (
    "<topology><cells num='1'><cell id='0'><memory unit='KiB'>4194304</memory><pages unit='KiB' size='4'>1</pages>"
    "<pages unit='KiB' size='2048'>256</pages><cpus num='1'><cpu id='0'/></cpus></cell></cells></topology>"
)
PIN = "<vcpupin vcpu='0' cpuset='{}'/>"
NFS = SharedStorage(mounts=[Mount("/srv/images", "nfs4", "filer:/images")])
NO_MOUNTS: dict[str, t.Any] = {"mounts": []}
PAGES = {"cells": CELLS, "pages": {0: {2048: 256}}}


@pytest.mark.parametrize(
    ("of", "there", "known", "refused"),
    [
        pytest.param(subject(VOLUME), {"pools": {}}, {}, ("volume", "pool", "images"), id="pool"),
        pytest.param(
            subject(VOLUME), {"pools": {"images": ()}}, {}, ("volume", "volume", "images/a/web-1.qcow2"), id="volume"
        ),
        pytest.param(subject(FILE), {}, NO_MOUNTS, ("mounts", "mounts", "/srv/images"), id="mounts"),
        pytest.param(subject(AUTH.format("ceph", f"uuid='{KEY}'")), {}, {}, ("secret", "secret", KEY), id="secret"),
        pytest.param(
            subject(AUTH.format("iscsi", "usage='target'")),
            {},
            {},
            ("secret", "secret", "target (iscsi)"),
            id="secret by usage",
        ),
        pytest.param(
            subject(hugepages=GIB_PAGES), PAGES, {}, ("memory", "hugepages", 1048576), id="no pages of the size"
        ),
        pytest.param(
            subject(hugepages=BACKING.format("")),
            {"cells": CELLS.replace("256", "0"), "pages": {0: {}}},
            {},
            ("memory", "hugepages", None),
            id="no huge pages at all",
        ),
        pytest.param(
            subject(memory=513, hugepages=BACKING.format("<page size='2' unit='M'/>")),
            PAGES,
            {},
            ("memory", "free_hugepages", 2048),
            id="too few pages",
        ),
        pytest.param(
            subject(memory=513, hugepages=BACKING.format("")),
            PAGES,
            {},
            ("memory", "free_hugepages", None),
            id="too few pages of the default size",
        ),
        pytest.param(
            subject(cputune=PIN.format("1,4-6") + "<emulatorpin cpuset='9'/>"),
            {"cpus": (True,) * 4},
            {},
            ("pins", "pins", "4-6,9"),
            id="CPUs",
        ),
        pytest.param(
            subject(hugepages=NUMA.format("0,2-3")), {"cells": CELLS}, {}, ("numa", "numa", "2-3"), id="NUMA cells"
        ),
        pytest.param(
            subject(memory=4000), {}, {"memory_reserve_mib": 0}, ("memory", "memory", 2048), id="ordinary memory"
        ),
    ],
)
def test_a_refusal_says_what_it_is_about(
    of: Subject, there: dict[str, t.Any], known: dict[str, t.Any], refused: tuple[str, str | None, t.Any]
) -> None:
    checks = preflight.check_destination(
        of,
        Connection(api=Fleet(), handle=Fleet().hosts["kvm1"], uri="test:///"),
        Connection(api=Fleet(), handle=host(**there), uri="test://kvm2/"),
        Known(**known),
        storage=NFS,
    )
    found = [one.to_result() for one in checks]
    assert [(one["check"], one["kind"], one["about"]) for one in found if one["ok"] is False] == [refused]


def test_a_cpu_that_another_domain_has_for_itself_is_no_lack_of_the_host() -> None:
    fleet = Fleet()
    fleet.add("kvm2", name_="db-1", uuid="3b2d3d2a-5a0f-4a53-8b6c-0d6d6f2b7a11", cputune=PIN.format("1"))
    checks = preflight.check_destination(
        subject(cputune=PIN.format("1")),
        Connection(api=fleet, handle=fleet.hosts["kvm1"], uri="test:///"),
        Connection(api=fleet, handle=fleet.hosts["kvm2"], uri="test://kvm2/"),
        Known(),
        storage=NFS,
    )
    found = [one.to_result() for one in checks]
    assert [(one["kind"], one["about"]) for one in found if one["ok"] is False] == [(None, None)]
