# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent as a real process: the one file that the role installs, with a stand-in for libvirt and without Ansible."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._agent import process as agent_process
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._history import agent_status
from ansible_collections.virtops.balance.plugins.module_utils._history import store as _store

ROOT = pathlib.Path(__file__).resolve().parents[5]
BUILD = ROOT / "roles" / "agent" / "files" / "build_agent.py"
FAKE = pathlib.Path(__file__).parents[1] / "fake_libvirt.py"
QUIET = {"quantum": 10, "balance": [], "vcpu_options": {}, "memory_options": {}}
SETTINGS: dict[str, t.Any] = {"uri": "qemu:///system", "interval": 0.01, "keep_hours": 1, "max_mib": 64, **QUIET}

# `import libvirt` gives what a module puts into its own place.
LIBVIRT = f"""
    import importlib.util, itertools, sys

    spec = importlib.util.spec_from_file_location("fake_libvirt", {str(FAKE)!r})
    fake = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fake)
    stats = [{{"state.state": 1, "cpu.time": n * 10**6, "balloon.rss": 1, "balloon.maximum": 1}} for n in range(9999)]
    sys.modules["libvirt"] = fake.FakeLibvirt(
        fake.FakeConnection(domains=[fake.FakeDomain("web", "uuid-web", stats=stats)])
    )
"""


class Agent:
    """The agent below a directory of its own instead of /."""

    def __init__(self, root: pathlib.Path, archive: pathlib.Path) -> None:
        self.root, self.archive = root, archive
        library = root / "library"
        library.mkdir()
        (library / "libvirt.py").write_text(textwrap.dedent(LIBVIRT))
        self.environment = {**os.environ, "PYTHONPATH": str(library)}
        self.set(**SETTINGS)

    def set(self, **settings: t.Any) -> None:
        path = self.root / agent_process.SETTINGS
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))

    def command(self, command: str) -> list[str]:
        # Without site-packages there is no Ansible.
        return [sys.executable, "-S", str(self.archive), command, "--root", str(self.root)]

    def call(self, command: str) -> tuple[int, str, str]:
        done = subprocess.run(
            self.command(command), env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout, done.stderr

    def pid(self) -> int | None:
        return agent_process.holder(root=str(self.root))

    def samples(self) -> int:
        try:
            return len(list(_store.read(str(self.root / _store.PATH), since=0)))
        except (FileNotFoundError, BalanceError):
            # Not there yet, or only just made.
            return 0

    def wait(self, condition: t.Callable[[], bool]) -> None:
        assert agent_process._wait_until(condition, 30)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("agent") / "agent.pyz"
    subprocess.run([sys.executable, "-S", str(BUILD), str(path)], check=True)
    return path


@pytest.fixture
def agent(tmp_path: pathlib.Path, archive: pathlib.Path) -> t.Iterator[Agent]:
    found = Agent(tmp_path, archive)
    yield found
    if found.pid():
        found.call("stop")


def test_the_archive_is_always_the_same(archive: pathlib.Path, tmp_path: pathlib.Path) -> None:
    again = tmp_path / "new" / "agent.pyz"
    subprocess.run([sys.executable, str(BUILD), str(again)], check=True)
    assert again.read_bytes() == archive.read_bytes()
    assert [path.name for path in again.parent.iterdir()] == ["agent.pyz"]


def test_a_life(agent: Agent) -> None:
    assert agent.call("stop") == (0, "unchanged\n", "")
    assert agent.call("start") == (0, "changed\n", "")
    first = agent.pid()
    assert first
    agent.wait(lambda: agent.samples() >= 3)
    assert agent.call("start") == (0, "unchanged\n", "")
    assert agent.call("run") == (1, "", "agent: The agent is already running.\n")

    # Killed at any moment: nothing that was stored is lost, and whoever asks next finds out.
    before = agent.samples()
    os.kill(first, signal.SIGKILL)
    agent.wait(lambda: agent.pid() is None)
    assert agent.samples() >= before
    assert agent.call("start") == (0, "changed\n", "")
    second = agent.pid()
    assert second
    assert second != first
    agent.wait(lambda: agent.samples() > before + 3)

    assert agent.call("stop") == (0, "changed\n", "")
    assert agent.pid() is None
    log = (agent.root / agent_process.LOG).read_text()
    assert log.count("started: history every 0.01 s") == 2
    assert log.count("stopped") == 1
    assert agent_status.read(root=str(agent.root))["pid"] == second


def test_a_service_manager_ends_it(agent: Agent) -> None:
    with subprocess.Popen(agent.command("run"), env=agent.environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            agent.wait(lambda: agent.samples() >= 2)
            process.terminate()
            _out, log = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
    assert log == "started: history every 0.01 s\nstopped\n"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("no json", "agent.json cannot be read"),
        ("[]", "agent.json must hold a mapping."),
        ("{}", "agent.json: balance is missing."),
    ],
)
def test_settings_that_are_wrong(agent: Agent, settings: str, problem: str) -> None:
    (agent.root / agent_process.SETTINGS).write_text(settings)
    status, out, error = agent.call("run")
    assert (status, out) == (1, "")
    assert problem in error
    assert error.startswith("agent: ")
    assert error.count("\n") == 1
    assert agent.call("check") == (1, "", error)
    status, _out, error = agent.call("start")
    assert status == 1
    assert "The agent ended with status 1; see " in error


def test_settings_are_checked_before_they_are_installed(agent: Agent) -> None:
    assert agent.call("check") == (0, "", "")
    other = agent.root / "other.json"
    other.write_text(json.dumps({**SETTINGS, "vcpu_options": {"algorithm": "fast"}}))
    done = subprocess.run(
        [*agent.command("check")[:-2], str(other)], env=agent.environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"agent: {other}: algorithm must be one of")


def test_without_libvirt(agent: Agent) -> None:
    (agent.root / "library" / "libvirt.py").unlink()
    status, _out, error = agent.call("run")
    assert status == 1
    assert error == f"agent: {sys.executable} has no libvirt module. Install the package python3-libvirt.\n"
