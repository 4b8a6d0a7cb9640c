# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._domain.chosen import Chosen
from ansible_collections.virtops.balance.plugins.module_utils._domain.uuids import plain_uuid

UUID = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"


@pytest.mark.parametrize("written", [UUID, UUID.upper(), UUID.replace("-", ""), UUID.replace("-", "").upper()])
def test_a_uuid_is_one_however_it_is_written(written: str) -> None:
    assert plain_uuid(written) == UUID
    assert not Chosen(exclude=[written]).concerns(UUID, "web-1")
    assert Chosen(domains=[written]).concerns(UUID, "web-1")
    assert Chosen(domains=[written]).concerns(UUID.upper(), "web-1")


@pytest.mark.parametrize("name", ["", "web-1", "WEB-1", UUID[1:], f"{UUID}\n", UUID.replace("-", "", 2), f"{{{UUID}}}"])
def test_all_else_is_a_name(name: str) -> None:
    assert plain_uuid(name) == name
    assert not Chosen(domains=[name]).concerns(UUID, "web-2")
    assert Chosen(exclude=[name]).concerns(UUID, "web-2")
    assert not Chosen(exclude=[name]).concerns(UUID, name)
