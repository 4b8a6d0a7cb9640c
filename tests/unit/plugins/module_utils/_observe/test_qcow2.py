# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._domain import xml as domain_xml
from ansible_collections.virtops.balance.plugins.module_utils._domain.xml import Layer
from ansible_collections.virtops.balance.plugins.module_utils._observe import qcow2

# The first bytes of what "qemu-img create -f qcow2 -o data_file=r.raw rel.qcow2 4M" makes (QEMU 7.2).
IMAGE = bytes.fromhex(
    """
    514649fb00000003000000000000000000000000000000100000000000400000
    0000000000000001000000000003000000000000000100000000000100000000
    0000000000000000000000000000000400000000000000000000000000000000
    000000040000007000000000000000004441544100000005722e726177000000
    6803f85700000180000064697274792062697400000000000000000000000000
    """
)
ABSOLUTE = IMAGE.replace(b"\0\0\0\x05r.raw\0\0\0", b"\0\0\0\x06/r.raw\0\0")


@pytest.mark.parametrize(
    ("head", "data"),
    [
        pytest.param(IMAGE, "r.raw", id="beside the image"),
        pytest.param(ABSOLUTE, "/r.raw", id="somewhere else"),
        pytest.param(IMAGE[:79] + b"\0" + IMAGE[80:], None, id="the image itself has its data"),
        pytest.param(IMAGE[:7] + b"\2" + IMAGE[8:], None, id="an old image, which has no such thing"),
        pytest.param(b"RAW" + IMAGE[3:], None, id="another format"),
        pytest.param(IMAGE[:110], None, id="a broken one"),
        pytest.param(b"", None, id="an empty one"),
    ],
)
def test_where_the_data_of_an_image_is(head: bytes, data: str | None, tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.qcow2").write_bytes(head)
    assert qcow2.read_data_file(str(tmp_path / "a.qcow2")) == (None if data is None else str(tmp_path / data))


def test_an_image_that_cannot_be_read() -> None:
    assert qcow2.read_data_file("/nowhere/a.qcow2") is None


def test_the_data_file_is_a_layer_of_the_disk(tmp_path: pathlib.Path) -> None:
    for name in ("top.qcow2", "base.qcow2", "data.raw"):
        (tmp_path / name).write_bytes(IMAGE)
    xml = domain_xml.parse(
        f"""<domain><devices>
          <disk type='file'><driver type='qcow2'/><source file='{tmp_path}/top.qcow2'/>
            <backingStore type='file'><format type='qcow2'/><source file='{tmp_path}/base.qcow2'/></backingStore></disk>
          <disk type='file'><driver type='raw'/><source file='{tmp_path}/data.raw'/></disk>
        </devices></domain>"""
    )

    found = qcow2.with_data_files(xml)

    assert [[layer.source for layer in disk.layers] for disk in found.disks] == [
        [f"{tmp_path}/top.qcow2", f"{tmp_path}/r.raw", f"{tmp_path}/base.qcow2", f"{tmp_path}/r.raw"],
        # What a guest writes into its raw disk says nothing.
        [f"{tmp_path}/data.raw"],
    ]
    assert found.disks[0].layers[1] == Layer("file", f"{tmp_path}/r.raw", format="raw")


def test_what_the_definition_tells_is_not_told_twice(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.qcow2").write_bytes(IMAGE)
    xml = domain_xml.parse(
        f"""<domain><devices><disk type='file'><driver type='qcow2'/><source file='{tmp_path}/a.qcow2'>
        <dataStore type='file'><source file='{tmp_path}/r.raw'/></dataStore></source></disk></devices></domain>"""
    )
    assert qcow2.with_data_files(xml) == xml
