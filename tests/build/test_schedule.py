# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The role schedule with a real cron, which starts real runs; and its units, as systemd reads them."""

from __future__ import annotations

import configparser
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import typing as t

import pytest

from ansible_collections.virtops.balance.tests.build import two_hosts
from ansible_collections.virtops.balance.tests.run_ansible import CONFIGURED, run_ansible

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORLD = ROOT / "tests" / "build" / "schedule_world"
PLAYBOOK = ROOT / "tests" / "build" / "schedule.yml"
SECRET = "of which nobody else may know"

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("cron", "unshare", "systemd-analyze"))), reason="needs cron, unshare and systemd-analyze"
)


def wait_for(what: str, file: pathlib.Path, world: subprocess.Popen[bytes], seconds: float = 180) -> None:
    """Wait until there is something in a file."""
    deadline = time.monotonic() + seconds
    while not (file.exists() and file.read_text()):
        assert world.poll() is None, f"it ended with {world.returncode}"
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What two schedules left that were installed, run by cron every minute until both had run, and removed."""
    directory = tmp_path_factory.mktemp("schedule")
    saved = directory / "snapshot.json"
    saved.write_text(json.dumps(two_hosts.snapshot()), encoding="utf-8")
    tell = directory / "tell"
    tell.write_text(f'#!/bin/sh\necho "$SCHEDULE_NAME $SCHEDULE_CODE" >>"{directory}/told"\ncat >>"{directory}/told"\n')
    tell.chmod(0o755)
    right: dict[str, t.Any] = {"balance_snapshot": str(saved), "balance_policy": {}, "unused": SECRET}
    wrong = {**right, "balance_policy": {"treshold": 0.3}}
    (directory / "inventory").write_text("localhost ansible_connection=local\n", encoding="utf-8")
    variables = {
        "inventory": str(directory / "inventory"),
        "ansible_connection": "local",
        "directory": str(ROOT),
        "logs": str(directory / "100% of the logs"),
        "command": [str(tell), "100%"],
        "schedules": [{"name": "right", "extra_vars": right}, {"name": "wrong_policy", "extra_vars": wrong}],
    }
    (directory / "variables.json").write_text(json.dumps(variables), encoding="utf-8")
    ansible_playbook = pathlib.Path(sys.executable).with_name("ansible-playbook")
    world = subprocess.Popen(
        [
            *([] if os.geteuid() == 0 else ["sudo", "--non-interactive"]),
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", WORLD),
            *(ansible_playbook, PLAYBOOK, directory / "variables.json", directory),
        ],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )
    try:
        for name in ("right", "wrong_policy"):
            result = directory / "100% of the logs" / name / "last" / "result.json"
            wait_for(f"the end of a run of {name}", result, world)
        (directory / "remove").touch()
        assert world.wait(120) == 0
    finally:
        world.kill()
        world.wait()
    return directory


def last(directory: pathlib.Path, name: str, file: str = "result.json") -> t.Any:
    return json.loads((directory / "100% of the logs" / name / "last" / file).read_text(encoding="utf-8"))


def changed(said: pathlib.Path) -> int:
    return sum(map(int, re.findall(r"changed=(\d+)", said.read_text(encoding="utf-8"))))


def test_cron_runs_the_playbook(directory: pathlib.Path) -> None:
    assert last(directory, "right", "plan.json")["verdict"] == "move"
    result = last(directory, "right")
    assert (result["code"], result["result"], result["problem"]) == (0, "done", None)


def test_a_policy_that_is_wrong_refuses_the_run_and_somebody_is_told(directory: pathlib.Path) -> None:
    assert last(directory, "wrong_policy", "refused.json")["reason"] == "plan"
    result = last(directory, "wrong_policy")
    assert (result["code"], result["result"]) == (3, "refused")
    assert "threshold" in result["problem"]
    told = (directory / "told").read_text(encoding="utf-8")
    assert told.startswith("wrong_policy 3\n")
    assert result["problem"] in told
    assert "right 0" not in told


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"schedule_python": "{place}/old"},
            "{place}/old is not Python 3.9 or newer on this host. Set schedule_python",
        ),
        ({"schedule_python": "{place}/none"}, "{place}/none is not Python 3.9 or newer"),
        ({"__schedule_cron_file": "{place}/cron.d/right"}, "There is no {place}/cron.d on this host, so its cron"),
    ],
    ids=["an old Python", "no Python", "a cron that reads no files"],
)
def test_what_a_schedule_lacks_is_told(tmp_path: pathlib.Path, variables: dict[str, str], sentence: str) -> None:
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    given = {name: value.format(place=tmp_path) for name, value in variables.items()}
    known: dict[str, t.Any] = {"entry_point": "main", "inventory": "none", "directory": str(tmp_path), "command": []}
    known.update(logs=str(tmp_path), schedule_with="cron", schedules=[{"name": "right", "extra_vars": {}}])
    said = run_ansible(
        *("ansible-playbook", "-i", "/dev/null", PLAYBOOK, "--check", "-e", json.dumps({**known, **given})),
        cwd=ROOT,
        fails=True,
        environment=CONFIGURED,
    )
    assert sentence.format(place=tmp_path) in " ".join(said.split())


def test_installing_again_changes_nothing(directory: pathlib.Path) -> None:
    assert changed(directory / "first") > 0
    assert changed(directory / "second") == 0


def test_only_their_user_can_read_settings_and_extra_variables(directory: pathlib.Path) -> None:
    lines = (directory / "installed").read_text(encoding="utf-8").splitlines()
    modes = {path: mode for mode, path in (line.split(" ", 1) for line in lines)}
    place = "/var/lib/virtops.balance/schedule-right"
    assert modes[f"{place}/settings.json"] == modes[f"{place}/extra_vars.json"] == "600"
    assert modes["/etc/cron.d/virtops-balance-schedule-right"] == "644"
    said = "".join((directory / name).read_text() for name in ("first", "second", "units", "third"))
    assert SECRET not in said


def test_nothing_but_the_logs_is_left(directory: pathlib.Path) -> None:
    assert len((directory / "installed").read_text().splitlines()) == 8
    assert (directory / "left").read_text() == ""
    assert last(directory, "right")["code"] == 0


def test_systemd_finds_nothing_wrong_with_the_units(directory: pathlib.Path) -> None:
    assert (directory / "verified").read_text() == ""
    unit = configparser.ConfigParser(interpolation=None)
    unit.read([directory / f"virtops-balance-schedule-right.{kind}" for kind in ("service", "timer")])
    assert unit["Timer"]["OnCalendar"] == "*:0/15"
    place = "/var/lib/virtops.balance/schedule-right"
    assert unit["Service"]["ExecStart"] == f"/usr/bin/python3 {place}/scheduled_run.py {place}/settings.json"
