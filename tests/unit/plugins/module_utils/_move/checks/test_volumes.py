# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.checked import check, host, refusing, subject

VOLUME = "<disk type='volume'><source pool='images' volume='web-1.qcow2'/><target dev='vda'/></disk>"
REFRESH = "(if another host made it, run virsh pool-refresh images there)"


@pytest.mark.parametrize(
    ("pools", "copied", "ok", "message"),
    [
        ({"images": ("web-1.qcow2",)}, [], True, "kvm2 has the volume web-1.qcow2 of its storage pool images"),
        ({"images": ()}, [], False, f"kvm2 knows no volume web-1.qcow2 in its storage pool images {REFRESH}"),
        ({"images": ()}, ["vda"], True, "kvm2 has the storage pool images"),
        ({}, [], False, "kvm2 has no storage pool images"),
        ({}, ["vda"], False, "kvm2 has no storage pool images"),
    ],
)
def test_volumes(pools: dict[str, tuple[str, ...]], copied: list[str], ok: bool, message: str) -> None:
    assert check(subject(VOLUME), "volume", host=host(pools=pools), copied=copied) == [(ok, message)]


def test_a_pool_that_is_not_active() -> None:
    devices = VOLUME.replace("'images'", "'off-images'")
    found = check(subject(devices), "volume", host=host(pools={"images": ("web-1.qcow2",)}))
    assert found == [(False, "the storage pool off-images is not active on kvm2")]


def test_a_host_without_the_driver_for_storage() -> None:
    found: list[tuple[t.Any, str]] = check(subject(VOLUME), "volume", host=refusing("storagePoolLookupByName", 3))
    assert found == [(None, "kvm2 cannot be asked for its storage pools")]


def test_other_disks_name_no_pool() -> None:
    assert check(subject("<disk type='file'><source file='/srv/a'/><target dev='vda'/></disk>"), "volume") == []
