# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The rulebook with a real ansible-rulebook: alerts in the format of Alertmanager start runs, and not too many."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import typing as t
import urllib.error
import urllib.request

import pytest

from ansible_collections.virtops.balance.tests import tools
from ansible_collections.virtops.balance.tests.build import two_hosts

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULEBOOK = ROOT / "extensions" / "eda" / "rulebooks" / "rebalance.yml"
TOKEN = "alertmanager-has-it-too"
# As shipped it is a quarter of an hour.
SECONDS = 6

pytestmark = pytest.mark.skipif(
    shutil.which("java") is None, reason="ansible-rulebook needs Java (openjdk-17-jre-headless)"
)


def alert(status: str, name: str) -> dict[str, t.Any]:
    """What Alertmanager sends to a webhook, version 4 of the format. ``name`` tells it from others."""
    labels = {"alertname": "HostOverloaded", "severity": "warning", "instance": "kvm1:9100"}
    annotations = {"summary": "kvm1 is overloaded"}
    return {
        "version": "4",
        "groupKey": name,
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "rebalance",
        "groupLabels": {"alertname": "HostOverloaded"},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "http://alertmanager.example.org:9093",
        "alerts": [
            {
                "status": status,
                "labels": labels,
                "annotations": annotations,
                "startsAt": "2026-01-31T12:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else "2026-01-31T12:05:00Z",
                "generatorURL": "http://prometheus.example.org:9090/graph",
                "fingerprint": "c5cfa7a7b1d4e9f0",
            }
        ],
    }


class Receiver:
    """ansible-rulebook with the rulebook, whose runs plan from a saved snapshot."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.runs = directory / "runs"
        saved, inventory = directory / "snapshot.json", directory / "inventory"
        saved.write_text(json.dumps(two_hosts.snapshot()), encoding="utf-8")
        local = "localhost ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'"
        inventory.write_text(f"{local}\n[hypervisors]\nkvm1\nkvm2\n", encoding="utf-8")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (directory / "variables.yml").write_text(f"balance_event_port: {self.port}\n", encoding="utf-8")
        shipped = RULEBOOK.read_text(encoding="utf-8")
        wait = "            balance_lease_wait_seconds: 600\n"
        text = shipped.replace("once_within: 15 minutes", f"once_within: {SECONDS} seconds").replace(
            wait,
            f"{wait}            balance_snapshot: {saved}\n"
            f'            balance_run_dir: "{self.runs}/{{{{ event.payload.groupKey }}}}"\n',
        )
        assert len(text.splitlines()) == len(shipped.splitlines()) + 2
        assert "15 minutes" not in text
        (directory / "rulebook.yml").write_text(text, encoding="utf-8")
        self.log = directory / "log"
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [
                    tools.tool("ansible-rulebook"),
                    f"--rulebook={directory / 'rulebook.yml'}",
                    f"--inventory={inventory}",
                    f"--vars={directory / 'variables.yml'}",
                    "--env-vars=BALANCE_EVENT_TOKEN",
                ],
                cwd=directory,
                env={
                    **os.environ,
                    "PATH": tools.path(),
                    "HOME": str(directory / "home"),
                    "LC_ALL": "C.UTF-8",
                    "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
                    "BALANCE_EVENT_TOKEN": TOKEN,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def send(self, status: str, name: str, token: str = TOKEN) -> int:
        """Send an alert and return the HTTP status; 0 where nobody listens."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/alerts",
            json.dumps(alert(status, name)).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def planned(self) -> set[str]:
        """The alerts whose runs have made a plan."""
        return {path.parent.name for path in self.runs.glob("*/plan.json")}

    def has_planned(self, name: str) -> bool:
        return name in self.planned()

    def wait_for(self, what: str, probe: t.Callable[[], bool], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not probe():
            text = self.log.read_text(encoding="utf-8")
            assert self.process.poll() is None, text
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{text}"
            time.sleep(0.1)


def passed(moment: float) -> bool:
    return time.monotonic() > moment


@pytest.fixture
def receiver(tmp_path: pathlib.Path) -> t.Iterator[Receiver]:
    receiver = Receiver(tmp_path)
    try:
        yield receiver
    finally:
        os.killpg(receiver.process.pid, signal.SIGKILL)
        receiver.process.wait()


def test_an_alert_rebalances_the_fleet_once_in_a_while(receiver: Receiver) -> None:
    receiver.wait_for("somebody who listens", lambda: receiver.send("firing", "stranger", "another token") == 401)
    assert receiver.send("resolved", "over") == 200

    # Alertmanager repeats what goes on firing. Each time the first one after the time is over starts a run.
    for names in (["1", "2", "3"], ["4", "5"], ["6"]):
        assert [receiver.send("firing", name) for name in names] == [200] * len(names)
        receiver.wait_for(f"the run of alert {names[0]}", functools.partial(receiver.has_planned, names[0]))
        over = time.monotonic() + SECONDS
        receiver.wait_for("the end of the time", functools.partial(passed, over))

    # Events are looked at in their order, so all that came before the last have been.
    assert receiver.planned() == {"1", "4", "6"}
