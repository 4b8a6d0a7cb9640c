# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._observe import capabilities as host_capabilities
from ansible_collections.virtops.balance.plugins.module_utils._observe.capabilities import Capabilities, Cell
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import fixture


def test_a_real_host() -> None:
    assert host_capabilities.parse(fixture("capabilities_qemu.xml")) == Capabilities(
        uuid="df686e8e-a0b8-54ba-bc2a-9ae8669e3718",
        arch="x86_64",
        cpu_model="kvm64",
        cpu_vendor="AMD",
        cpu_features=("aes", "avx2", "hypervisor"),
        cells=(Cell(0, 7301332, (0, 1), {4: 1825333, 2048: 0, 1048576: 0}, {0: (0,), 1: (1,)}),),
        machine_types={"i686": ["pc-i440fx-7.2", "pc-q35-7.2"], "x86_64": ["pc-i440fx-7.2", "pc-q35-7.2"]},
        domain_types=("kvm", "qemu"),
    )


def test_a_real_host_with_xen() -> None:
    found = host_capabilities.parse(fixture("capabilities_xen.xml"))
    assert (found.uuid, found.arch, found.cpu_model, found.cpu_vendor) == (None, "x86_64", "pentium-v1", None)
    assert found.domain_types == ("xen",)
    assert found.machine_types == {"i686": ["xenfv", "xenpvh"], "x86_64": ["xenfv", "xenpv", "xenpvh"]}
    assert found.cells == (Cell(0, 2621288, (0, 1), {}, {0: (0,), 1: (1,)}),)


def test_what_is_not_said_is_not_known() -> None:
    text = "<capabilities><host><cpu><arch>i686</arch></cpu></host><guest><arch name='i686'/></guest></capabilities>"
    assert host_capabilities.parse(text) == Capabilities(arch="i686")


@pytest.mark.parametrize("text", ["", "<capabilities>"])
def test_no_xml(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        host_capabilities.parse(text)
