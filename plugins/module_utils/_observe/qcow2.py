# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the external data files of qcow2 images, which libvirt shows (dataStore) since 10.10 only.

Source: docs/interop/qcow2.rst of QEMU. Read with care: an image is written by a guest, and this by root.
"""

from __future__ import annotations

import dataclasses
import os
import struct
import typing as t

from ansible_collections.virtops.balance.plugins.module_utils._domain.xml import DomainXml, Layer

_MAGIC = b"QFI\xfb"
_HEADER_BYTES = 64 * 1024
_EXTERNAL_DATA_FILE = 1 << 2
_NAME_OF_DATA_FILE = 0x44415441


def with_data_files(xml: DomainXml) -> DomainXml:
    """Return the domain with the data files of its images as layers, where the definition has none. It has to run, or
    be defined, on this machine."""
    disks = [dataclasses.replace(disk, layers=tuple(_layers(disk.layers))) for disk in xml.disks]
    return dataclasses.replace(xml, disks=tuple(disks))


def _layers(layers: t.Sequence[Layer]) -> t.Iterator[Layer]:
    for layer in layers:
        yield layer
        if layer.format == "qcow2" and layer.type == "file" and layer.source:
            data = read_data_file(layer.source)
            known = {other.source for other in layers}
            if data is not None and data not in known:
                yield Layer("file", data, format="raw")


def read_data_file(path: str) -> str | None:
    """Return the path of the file that has the data of a qcow2 image. None = the image itself has it, or that cannot be
    read."""
    try:
        with open(path, "rb") as image:
            head = image.read(_HEADER_BYTES)
        name = _name(head)
    except (OSError, ValueError, struct.error):
        return None
    return None if name is None else os.path.normpath(os.path.join(os.path.dirname(path), name))


def _name(head: bytes) -> str | None:
    magic, version = struct.unpack_from(">4sI", head)
    if magic != _MAGIC or version < 3 or not struct.unpack_from(">Q", head, 72)[0] & _EXTERNAL_DATA_FILE:
        return None
    (at,) = struct.unpack_from(">I", head, 100)
    while True:
        kind, length = struct.unpack_from(">II", head, at)
        if kind == 0:
            return None
        if kind == _NAME_OF_DATA_FILE:
            return head[at + 8 : at + 8 + length].decode("utf-8", "surrogateescape")
        at += 8 + (length + 7) // 8 * 8
