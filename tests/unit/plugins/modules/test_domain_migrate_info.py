# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move import ask, run
from ansible_collections.virtops.balance.plugins.modules import domain_migrate_info
from ansible_collections.virtops.balance.tests.documented import options
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirt

ARGUMENTS = {
    "source": "kvm1",
    "questions": [
        {"domain": "web-1", "destination": "kvm3"},
        {"domain": "db-1", "destination": "kvm3", "room_mib": -5},
    ],
    "destinations": [{"name": "kvm3", "uri": "qemu+tls://kvm3/system", "bridges": ["br0"]}],
    "accept_blockers": ["host_cpu"],
}
ANSWERS = [{"domain": "web-1", "destination": "kvm3", "ok": True, "checks": []}]


def call(capfd: pytest.CaptureFixture[str], arguments: dict[str, t.Any]) -> dict[str, t.Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        domain_migrate_info.main()
    return t.cast("dict[str, t.Any]", json.loads(capfd.readouterr().out))


def test_the_options_become_questions(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    asked: list[t.Any] = []

    def answer(_api: t.Any, *what: t.Any) -> list[dict[str, t.Any]]:
        asked.extend(what)
        return ANSWERS

    monkeypatch.setattr(_connection, "require_libvirt", lambda _module: FakeLibvirt())
    monkeypatch.setattr(ask, "ask", answer)
    result = call(capfd, {**ARGUMENTS, "_ansible_check_mode": True})

    assert (result["changed"], result["answers"]) == (False, ANSWERS)
    assert asked == [
        ask.Asking("qemu:///system", source="kvm1", shared_paths=[], accept_blockers=["host_cpu"]),
        [ask.Question("web-1", "kvm3"), ask.Question("db-1", "kvm3", -5)],
        [ask.Destination("kvm3", "qemu+tls://kvm3/system", bridges=["br0"])],
    ]


def test_an_error_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(*_what: t.Any) -> t.NoReturn:
        raise BalanceError("One sentence.")

    monkeypatch.setattr(_connection, "require_libvirt", lambda _module: FakeLibvirt())
    monkeypatch.setattr(ask, "ask", refuse)
    result = call(capfd, ARGUMENTS)

    assert (result["failed"], result["msg"]) == (True, "One sentence.")


def test_what_is_accepted_is_what_a_move_accepts() -> None:
    mine, other = (options()[module] for module in ("domain_migrate_info", "domain_migrate"))
    assert mine["accept_blockers"]["choices"] == other["accept_blockers"]["choices"] == run.ACCEPTABLE_BLOCKERS
    assert mine["memory_reserve_mib"]["default"] == other["memory_reserve_mib"]["default"]
