# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._doctor import shared_paths
from ansible_collections.virtops.balance.plugins.module_utils._doctor.deadline import NoAnswerError, within
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of the processes that would watch over the files."""
    started: list[list[str]] = []
    monkeypatch.setattr(shared_paths.subprocess, "Popen", lambda arguments, **_options: started.append(arguments))
    return started


def write(path: Path, host: str = "kvm1", run: str = "1", **options: t.Any) -> dict[str, dict[str, t.Any]]:
    return shared_paths.write([str(path)], host=host, run=run, lifetime_seconds=900, **options)


def test_a_file_is_seen_by_its_host_and_run_and_is_removed(tmp_path: Path, watched: list[list[str]]) -> None:
    (tmp_path / "disk.qcow2").write_text("disk")
    assert write(tmp_path) == {str(tmp_path): {"kind": "directory", "written": True, "problem": None}}
    look, hosts = [str(tmp_path)], ["kvm1", "kvm2"]
    assert shared_paths.seen(look, hosts=hosts, run="1") == {str(tmp_path): {"kind": "directory", "sees": ["kvm1"]}}
    assert shared_paths.seen(look, hosts=hosts, run="2")[str(tmp_path)]["sees"] == []
    name = shared_paths.file_name("1", "kvm1")
    assert watched[0][-3:] == ["900", "5", str(tmp_path / name)]
    assert shared_paths.remove([str(tmp_path)], host="kvm1", run="1") == [str(tmp_path)]
    assert shared_paths.remove([str(tmp_path)], host="kvm1", run="1") == []
    assert os.listdir(tmp_path) == ["disk.qcow2"]


def test_names_need_not_be_fit_for_files() -> None:
    name = shared_paths.file_name("../run", "../../etc/passwd")
    assert name.startswith(".virtops-balance-doctor.")
    assert "/" not in name


def test_check_mode_writes_and_removes_nothing(tmp_path: Path, watched: list[list[str]]) -> None:
    found = write(tmp_path, dry=True)[str(tmp_path)]
    assert (found["kind"], found["written"]) == ("directory", False)
    assert (os.listdir(tmp_path), watched) == ([], [])
    write(tmp_path)
    assert shared_paths.remove([str(tmp_path)], host="kvm1", run="1", dry=True) == [str(tmp_path)]
    assert len(os.listdir(tmp_path)) == 1


def test_the_same_run_again_writes_again(tmp_path: Path, watched: list[list[str]]) -> None:
    write(tmp_path)
    assert write(tmp_path)[str(tmp_path)]["written"] is True
    assert len(os.listdir(tmp_path)) == 1


def test_a_link_that_somebody_put_there_is_not_followed(tmp_path: Path, watched: list[list[str]]) -> None:
    victim = tmp_path / "victim"
    victim.write_text("keep")
    (tmp_path / shared_paths.file_name("1", "kvm1")).symlink_to(victim)
    write(tmp_path)
    assert victim.read_text() == "keep"


def test_a_link_that_somebody_puts_there_at_that_moment_is_not_followed_either(
    tmp_path: Path, watched: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("keep")
    (tmp_path / shared_paths.file_name("1", "kvm1")).symlink_to(victim)
    monkeypatch.setattr(shared_paths, "_unlink", lambda _path: False)
    assert write(tmp_path)[str(tmp_path)]["problem"] == "File exists"
    assert victim.read_text() == "keep"


def test_what_a_host_left_when_it_was_switched_off_is_removed_by_its_next_run(
    tmp_path: Path, watched: list[list[str]]
) -> None:
    for host in ("kvm1", "kvm2"):
        for run, age in (("old", 2000), ("other", 100)):
            path = tmp_path / shared_paths.file_name(run, host)
            path.touch()
            os.utime(path, (path.stat().st_mtime - age,) * 2)
    write(tmp_path, "kvm1", "new")
    left = {(host, run) for host in ("kvm1", "kvm2") for run in ("old", "other", "new")}
    left = {pair for pair in left if (tmp_path / shared_paths.file_name(pair[1], pair[0])).exists()}
    assert left == {("kvm1", "other"), ("kvm1", "new"), ("kvm2", "old"), ("kvm2", "other")}


def test_what_is_no_directory_gets_no_file(tmp_path: Path, watched: list[list[str]]) -> None:
    (tmp_path / "device").write_text("")
    found = shared_paths.write(
        [str(tmp_path / "device"), str(tmp_path / "none")], host="kvm1", run="1", lifetime_seconds=900
    )
    assert [entry["kind"] for entry in found.values()] == ["other", "missing"]
    assert watched == []


def test_a_directory_that_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch, watched: list[list[str]]) -> None:
    found = write(Path("/proc"))["/proc"]
    assert (found["kind"], found["written"]) == ("directory", False)
    assert found["problem"]
    assert watched == []


def test_a_file_server_that_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, watched: list[list[str]]) -> None:
    def no_answer(_seconds: float, _call: t.Any) -> t.Any:
        raise NoAnswerError

    monkeypatch.setattr(shared_paths, "within", no_answer)
    assert write(tmp_path)[str(tmp_path)] == {"kind": None, "written": False, "problem": None}
    assert shared_paths.seen([str(tmp_path)], hosts=["kvm2"], run="1") == {str(tmp_path): {"kind": None, "sees": None}}
    assert shared_paths.remove([str(tmp_path)], host="kvm1", run="1") == []


@pytest.mark.parametrize("lifetime", ["0", "3600"])
def test_the_process_that_watches_removes_a_file_and_ends(tmp_path: Path, lifetime: str) -> None:
    """When its time is over, or when the file is gone."""
    path = tmp_path / "file"
    if lifetime == "0":
        path.touch()
    subprocess.run([sys.executable, "-c", shared_paths._WATCH, lifetime, "0.01", str(path)], check=True, timeout=60)
    assert not path.exists()


@pytest.mark.parametrize("paths", [["images"], [""]])
def test_paths_are_absolute(paths: list[str]) -> None:
    with pytest.raises(BalanceError, match="paths must be absolute"):
        shared_paths.check_paths(paths)


def test_within() -> None:
    assert within(60, lambda: 1) == 1
    with pytest.raises(FileNotFoundError):
        within(60, lambda: os.stat("/no/such/file"))
