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
from ansible_collections.virtops.balance.plugins.module_utils._host import lease as _lease
from ansible_collections.virtops.balance.plugins.module_utils._move import restart as _restart
from ansible_collections.virtops.balance.plugins.modules import domain_restart
from ansible_collections.virtops.balance.tests.documented import options
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirt

Run = t.Callable[..., dict[str, t.Any]]
ASKED: list[tuple[_restart.Request, bool]] = []
SIDES = {"source": {"host": "kvm1"}, "destination": {"host": "kvm2"}}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs main() and returns what the module prints."""

    def call(error: BalanceError | None = None, changed: bool = True, **arguments: t.Any) -> dict[str, t.Any]:
        def restart(_api: t.Any, request: _restart.Request, *, check_mode: bool) -> dict[str, t.Any]:
            ASKED.append((request, check_mode))
            if error is not None:
                raise error
            return {"changed": changed, "destroyed": False, "name": "web-1", **SIDES}

        monkeypatch.setattr(_connection, "require_libvirt", lambda _module: FakeLibvirt())
        monkeypatch.setattr(_restart, "restart", restart)
        with (
            patch_module_args({"domain": "web-1", "destination_uri": "test://kvm2/", **arguments}),
            pytest.raises(SystemExit),
        ):
            domain_restart.main()
        return t.cast("dict[str, t.Any]", json.loads(capfd.readouterr().out))

    ASKED.clear()
    return call


def test_the_options_become_the_request(run: Run) -> None:
    result = run(force="yes", timeout_seconds=30)
    wanted = _restart.Request(
        uri="qemu:///system",
        domain="web-1",
        destination_uri="test://kvm2/",
        source=None,
        destination=None,
        shared_paths=[],
        force=True,
        timeout_seconds=30,
        memory_reserve_mib=256,
        finish=None,
    )
    assert [(wanted, False)] == ASKED
    assert result["diff"]["after"] == {"domain": "web-1", "host": "kvm2"}
    assert result["seconds"] >= 0


def test_check_mode_and_nothing_to_do(run: Run) -> None:
    assert "seconds" not in run(_ansible_check_mode=True)
    assert ASKED[0][1] is True
    assert "diff" not in run(changed=False)


def test_finishing_takes_a_note_away_and_need_not_change_the_host(run: Run) -> None:
    diff = run(finish="source")["diff"]
    assert ASKED[0][0].finish == "source"
    assert diff["before"] == {"domain": "web-1", "interrupted_restart": True}


def test_an_error_is_one_sentence_with_its_details(run: Run) -> None:
    result = run(BalanceError("One sentence.", details={"changed": False, "outcome": "unknown"}))
    assert (result["failed"], result["msg"], result["outcome"]) == (True, "One sentence.", "unknown")


def test_nothing_is_done_without_the_lease(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def renew(*_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
        raise BalanceError("The host is leased to somebody else.")

    monkeypatch.setattr(_lease, "renew", renew)
    assert run(lease_owner="me")["msg"] == "The host is leased to somebody else."
    assert ASKED == []


def test_the_documentation_has_all_options() -> None:
    documented = set(options()["domain_restart"])
    assert documented - {"lease_owner", "lease_seconds"} == set(_restart.Request.__dataclass_fields__)
