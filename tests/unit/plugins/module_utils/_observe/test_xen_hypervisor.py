# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._observe import xen_hypervisor
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeConnection, FakeLibvirt

# Of Xen 4.20 in Debian 13.
INFO = """host                   : xen1
virt_caps              : {capabilities}
xen_major              : 4
"""


def ask(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, script: str | None, **of: str) -> bool | None:
    if script is not None:
        (tmp_path / "xl").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "xl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    fake = FakeConnection(kind=of.get("kind", "Xen"))
    connection = Connection(FakeLibvirt(fake), fake, of.get("uri", "xen:///system"))
    return xen_hypervisor.has_shadow_paging(connection)


@pytest.mark.parametrize(
    ("capabilities", "has"),
    [
        ("pv hvm hap gnttab-v1 gnttab-v2", False),
        ("pv hvm hap shadow gnttab-v1 gnttab-v2", True),
        ("pv shadow", True),
        pytest.param("hvm", None, id="an older Xen names neither"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_xen_names_what_it_has(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capabilities: str, has: bool | None
) -> None:
    said = INFO.format(capabilities=capabilities)
    assert ask(tmp_path, monkeypatch, f"cat <<'END'\n{said}END") is has


@pytest.mark.parametrize("script", [None, "echo no permission >&2; exit 1"])
def test_what_cannot_be_asked_is_not_known(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    assert ask(tmp_path, monkeypatch, script) is None


@pytest.mark.parametrize("of", [{"kind": "QEMU", "uri": "qemu:///system"}, {"uri": "xen+ssh://root@xen2/system"}])
def test_no_other_host_is_asked(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, of: dict[str, str]) -> None:
    said = INFO.format(capabilities="pv shadow")
    assert ask(tmp_path, monkeypatch, f"cat <<'END'\n{said}END", **of) is None
