# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._domain import required
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import fixture

GIB = 1024**2
KEY, OTHER = "1a2b3c4d-0000-4000-8000-000000000001", "1a2b3c4d-0000-4000-8000-000000000002"
LUKS = "<encryption format='luks'><secret type='passphrase' uuid='{}'/></encryption>"
STATE = (
    "<metadata><b:state xmlns:b='urn:virtops:balance:1'><b:before><b:pin vcpu='0' cpus='{}'/></b:before></b:state>"
    "</metadata>"
)
BACKED = (
    f"<disk type='file'><source file='/a'>{LUKS.format(OTHER)}</source><backingStore type='file'>"
    f"<source file='/b'>{LUKS.format(KEY)}</source></backingStore></disk>"
)


def read(inside: str, cpus: t.Collection[int] | None = range(8)) -> required.Required:
    return required.read(ET.fromstring(f"<domain>{inside}</domain>"), 4 * GIB, cpus)


def test_domain_of_a_real_host() -> None:
    found = required.read(ET.fromstring(fixture("domain_qemu.xml")), 98304, range(8))
    assert found == required.Required((), {}, frozenset({0}), frozenset())


def test_everything() -> None:
    found = required.read(ET.fromstring(fixture("domain_rich.xml")), 4 * GIB, range(16))
    assert found == required.Required((), {None: 4 * GIB}, frozenset({0, 1, 3, 8}), frozenset())


@pytest.mark.parametrize(
    ("devices", "secrets"),
    [
        ("", ()),
        (f"<disk type='file'><source file='/a'>{LUKS.format(KEY)}</source></disk>", (KEY,)),
        # Before libvirt 3.9 it stands beside the source.
        (f"<disk type='file'><source file='/a'/>{LUKS.format(KEY)}</disk>", (KEY,)),
        (BACKED, (KEY, OTHER)),
        (
            "<disk type='network'><auth username='u'><secret type='ceph' usage='client.libvirt secret'/></auth></disk>",
            ("client.libvirt secret (ceph)",),
        ),
        (
            f"<tpm model='tpm-crb'><backend type='emulator' version='2.0'><encryption secret='{KEY}'/></backend></tpm>",
            (KEY,),
        ),
    ],
)
def test_secrets(devices: str, secrets: tuple[str, ...]) -> None:
    assert read(f"<devices>{devices}</devices>").secrets == secrets


CELLS = (
    "<cpu><numa><cell id='0' cpus='0' memory='1048576' unit='KiB'/><cell id='1' cpus='1' memory='3' unit='GiB'/></numa>"
    "</cpu>"
)


@pytest.mark.parametrize(
    ("backing", "cpu", "pages"),
    [
        ("<locked/>", "", {}),
        ("<hugepages/>", "", {None: 4 * GIB}),
        ("<hugepages/>", CELLS, {None: 4 * GIB}),
        ("<hugepages><page size='1' unit='G'/></hugepages>", "", {GIB: 4 * GIB}),
        ("<hugepages><page size='2048' unit='KiB' nodeset='0'/></hugepages>", CELLS, {2048: GIB}),
        (
            "<hugepages><page size='2048' unit='KiB' nodeset='0'/><page size='1048576' unit='KiB'/></hugepages>",
            CELLS,
            {2048: GIB, GIB: 3 * GIB},
        ),
    ],
)
def test_huge_pages(backing: str, cpu: str, pages: dict[int | None, int]) -> None:
    assert read(f"<memoryBacking>{backing}</memoryBacking>{cpu}").pages == pages


def test_without_the_memory_the_huge_pages_are_not_known() -> None:
    root = ET.fromstring("<domain><memoryBacking><hugepages/></memoryBacking></domain>")
    assert required.read(root, None, None).pages == {}


@pytest.mark.parametrize(
    ("inside", "cpus"),
    [
        ("<vcpu cpuset='2-3'>4</vcpu>", {2, 3}),
        ("<vcpu cpuset='0-7'>4</vcpu>", set()),
        ("<cputune><vcpupin vcpu='0' cpuset='0-9'/><emulatorpin cpuset='5'/></cputune>", {5}),
        ("<cputune><iothreadpin iothread='1' cpuset='6'/></cputune>", {6}),
        ("<cputune><vcpupin vcpu='0' cpuset='4'/></cputune>", {4}),
        # What the collection pinned is where a person had it before.
        (STATE.format("all") + "<cputune><vcpupin vcpu='0' cpuset='4'/></cputune>", set()),
        (STATE.format("1-2") + "<cputune><vcpupin vcpu='0' cpuset='4'/></cputune>", {1, 2}),
    ],
)
def test_cpus(inside: str, cpus: set[int]) -> None:
    assert read(inside).cpus == cpus


def test_where_the_cpus_of_the_host_are_not_known_all_counts() -> None:
    assert read("<vcpu cpuset='0-7'>4</vcpu>", None).cpus == set(range(8))


def test_cells() -> None:
    tune = "<memory mode='preferred' nodeset='0'/><memnode cellid='0' mode='strict' nodeset='2-3'/>"
    assert read(f"<numatune>{tune}</numatune>").cells == {0, 2, 3}
    assert read("<numatune><memory mode='strict' placement='auto'/></numatune>").cells == set()
