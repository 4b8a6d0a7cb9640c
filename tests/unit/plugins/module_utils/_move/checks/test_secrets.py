# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.checked import check, host, refusing, subject

KEY = "1a2b3c4d-0000-4000-8000-000000000001"
LUKS = (
    "<disk type='file'><source file='/srv/a'><encryption format='luks'><secret type='passphrase' {}/></encryption>"
    "</source><target dev='vda'/></disk>"
)
CEPH = (
    "<disk type='network'><auth username='libvirt'><secret type='ceph' {}/></auth><source protocol='rbd' name='p/i'/>"
    "<target dev='vdb'/></disk>"
)
TPM = f"<tpm model='tpm-crb'><backend type='emulator' version='2.0'><encryption secret='{KEY}'/></backend></tpm>"
BY_UUID, BY_USAGE = f"uuid='{KEY}'", "usage='client.libvirt secret'"


def test_most_domains_have_none() -> None:
    assert check(subject(), "secret") == []


@pytest.mark.parametrize(
    ("devices", "what"),
    [
        (LUKS.format(BY_UUID), f"secret {KEY}"),
        (LUKS.format("usage='/srv/a'"), "secret for /srv/a (passphrase)"),
        (CEPH.format(BY_UUID), f"secret {KEY}"),
        (CEPH.format(BY_USAGE), "secret for client.libvirt secret (ceph)"),
        (TPM, f"secret {KEY}"),
    ],
)
def test_a_secret_that_the_destination_has_or_has_not(devices: str, what: str) -> None:
    there = host(secrets=(KEY, "/srv/a", "client.libvirt secret"))
    assert check(subject(devices), "secret", host=there) == [(True, f"kvm2 has the {what}")]
    assert check(subject(devices), "secret") == [(False, f"kvm2 does not have the {what}")]
    assert check(subject(devices), "secret", host=refusing("secretLookup", 3)) == [
        (None, f"kvm2 cannot be asked for the {what}")
    ]


def test_each_secret_is_asked_for_once() -> None:
    devices = LUKS.format(BY_UUID) + CEPH.format(BY_UUID).replace("ceph", "iscsi") + TPM
    assert len(check(subject(devices), "secret")) == 3
    assert len(check(subject(TPM + LUKS.format(BY_UUID) * 2), "secret")) == 2


def test_a_kind_that_nobody_knows() -> None:
    devices = CEPH.format(BY_USAGE).replace("'ceph'", "'new'")
    assert check(subject(devices), "secret") == [
        (None, "kvm2 cannot be asked for the secret for client.libvirt secret (new)")
    ]
