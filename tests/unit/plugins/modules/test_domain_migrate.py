# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import functools
import json
import pathlib
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._host import lease as _lease
from ansible_collections.virtops.balance.plugins.module_utils._move import move as domain_move
from ansible_collections.virtops.balance.plugins.module_utils._move import run as move_run
from ansible_collections.virtops.balance.plugins.modules import domain_migrate
from ansible_collections.virtops.balance.tests.documented import options
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import (
    FakeLibvirt,
    FakeLibvirtError,
)

ARGUMENTS = {"domain": "web-1", "destination_uri": "qemu+tls://kvm3/system"}
MOVED = {
    "changed": True,
    "outcome": "on_destination",
    "name": "web-1",
    "source": {"host": "kvm1"},
    "destination": {"host": "kvm3"},
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    """Runs main() with an end that is said in advance, and returns what the module prints."""

    def call(end: t.Any = None, **arguments: t.Any) -> dict[str, t.Any]:
        def move(_api: t.Any, request: move_run.Request, **more: t.Any) -> dict[str, t.Any]:
            asked.append((request, more["check_mode"]))
            more["report"]({"phase": "checking"})
            if isinstance(end, Exception):
                raise end
            return dict(MOVED if end is None else end)

        monkeypatch.setattr(_connection, "require_libvirt", lambda _module: FakeLibvirt())
        monkeypatch.setattr(domain_move, "move", move)
        with patch_module_args({**ARGUMENTS, **arguments}), pytest.raises(SystemExit):
            domain_migrate.main()
        return t.cast("dict[str, t.Any]", json.loads(capfd.readouterr().out))

    asked: list[tuple[move_run.Request, bool]] = []
    call.asked = asked  # type: ignore[attr-defined] # the fixture's second result
    return call


def test_the_options_become_the_request(run: t.Any) -> None:
    run(bandwidth_mib_s=100, shared_paths=["/srv"], accept_blockers=["host_cpu"], _ansible_check_mode=True)

    ((request, check_mode),) = run.asked
    assert check_mode
    assert request == move_run.Request(
        uri="qemu:///system",
        domain="web-1",
        destination_uri="qemu+tls://kvm3/system",
        bandwidth_mib_s=100,
        shared_paths=["/srv"],
        accept_blockers=["host_cpu"],
    )


def test_a_move_is_a_change(run: t.Any) -> None:
    result = run()

    assert result["changed"]
    assert "diff" not in result


def test_the_diff_shows_where_it_runs(run: t.Any) -> None:
    assert run(_ansible_diff=True)["diff"] == {
        "before": {"domain": "web-1", "host": "kvm1"},
        "after": {"domain": "web-1", "host": "kvm3"},
    }


def test_there_is_no_diff_where_nothing_moved(run: t.Any) -> None:
    assert "diff" not in run({"changed": False, "skipped": True, "reason": "web-1 is gone."}, _ansible_diff=True)


def test_there_is_no_diff_where_only_an_earlier_move_was_put_right(run: t.Any) -> None:
    left = {"changed": True, "finished_move": {}, "outcome": "on_source"}
    for check_mode in (False, True):
        error = move_run.MoveError("It has a local disk.", left)
        assert "diff" not in run(error, _ansible_diff=True, _ansible_check_mode=check_mode)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BalanceError("One sentence."), "One sentence."),
        (move_run.MoveError("One sentence.", {"outcome": "split"}), "One sentence."),
        pytest.param(
            FakeLibvirtError(38, "end of file"),
            "web-1 was not moved from qemu:///system to qemu+tls://kvm3/system, because the connection to "
            "qemu:///system was lost: end of file.",
        ),
    ],
)
def test_errors_are_translated_once(run: t.Any, error: Exception, message: str) -> None:
    result = run(error)

    assert result["failed"]
    assert result["msg"] == message
    assert result.get("outcome") == getattr(error, "details", {}).get("outcome")


def test_the_progress_file_is_removed_in_the_end(run: t.Any, tmp_path: pathlib.Path) -> None:
    run(progress_path=str(tmp_path / "deep" / "progress.json"))

    assert (tmp_path / "deep").is_dir()
    assert list((tmp_path / "deep").iterdir()) == []


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> str:
    """The root of a host with leases."""
    root = str(tmp_path)
    monkeypatch.setattr(_lease, "kept", functools.partial(_lease.kept, root=root))
    return root


def test_it_moves_under_its_own_lease(run: t.Any, host: str) -> None:
    _lease.take("me", purpose="rebalance", seconds=1, root=host)
    assert run(lease_owner="me", lease_seconds=600)["changed"]
    lease = _lease.read(root=host)
    assert lease is not None
    assert lease.expires_at - lease.since > 500


def test_it_moves_nothing_under_somebody_elses(run: t.Any, host: str) -> None:
    assert "me does not hold a lease on this host any more" in run(lease_owner="me")["msg"]
    _lease.take("you", purpose="drain", seconds=600, root=host)
    result = run(lease_owner="me")
    assert "leased to you (drain)" in result["msg"]
    assert result["lease"]["owner"] == "you"
    assert run.asked == []


def test_check_mode_needs_no_lease(run: t.Any, host: str) -> None:
    assert "failed" not in run(lease_owner="me", _ansible_check_mode=True)


def test_bad_input(run: t.Any) -> None:
    assert "value of copy_storage must be one of: none, full, incremental" in run(copy_storage="all")["msg"]


def test_the_documentation_and_the_arguments_name_the_same_blockers() -> None:
    documented = options()["domain_migrate"]
    assert documented["accept_blockers"]["choices"] == move_run.ACCEPTABLE_BLOCKERS
    assert set(documented) == set(move_run.Request.__dataclass_fields__) | {
        "progress_path",
        "lease_owner",
        "lease_seconds",
    }
