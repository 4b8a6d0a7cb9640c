# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Jobs as AWX runs them: ansible-runner with a private data directory."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from pathlib import Path

from ansible_collections.virtops.balance.tests import tools

Json = dict[str, t.Any]


class Job:
    """One job: a project, an inventory, and extra variables, which is what the answers to a survey become."""

    def __init__(self, directory: Path, project: Path, inventory: Path | str, **extra_vars: t.Any) -> None:
        self.directory = directory
        (directory / "env").mkdir(parents=True)
        (directory / "project").symlink_to(project)
        if isinstance(inventory, Path):
            (directory / "inventory").symlink_to(inventory)
        else:
            (directory / "inventory").mkdir()
            (directory / "inventory" / "hosts").write_text(inventory, encoding="utf-8")
        (directory / "env" / "extravars").write_text(json.dumps(extra_vars), encoding="utf-8")

    def start(self, playbook: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start it; SIGTERM is what cancels it."""
        cmdline = [f"--cmdline={' '.join(arguments)}"] if arguments else []
        return subprocess.Popen(
            [tools.tool("ansible-runner"), "run", self.directory, "--playbook", playbook, "--ident", "1", *cmdline],
            env={**os.environ, "PATH": tools.path(), "LC_ALL": "C.UTF-8", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, playbook: str, *arguments: str, fails: bool = False, **environment: str) -> str:
        """Run it to its end and return its output; ``fails`` says which end is expected."""
        printed = self.start(playbook, *arguments, **environment).communicate(timeout=300)[0]
        assert self.status() == ("failed" if fails else "successful"), printed
        return printed

    def status(self) -> str:
        """How it ended: successful, failed, canceled."""
        return (self.directory / "artifacts" / "1" / "status").read_text(encoding="utf-8")

    def events(self) -> list[Json]:
        """What happened so far, in its order."""
        files = (self.directory / "artifacts" / "1" / "job_events").glob("*-*.json")
        # One that is being written has another name.
        found = [json.loads(file.read_text(encoding="utf-8")) for file in files if "partial" not in file.name]
        return sorted(found, key=lambda event: event["counter"])

    def lines(self) -> list[str]:
        """What was displayed beside the results of tasks."""
        return [event["stdout"] for event in self.events() if event["event"] == "verbose"]

    def artifacts(self) -> Json:
        """What it hands on to the jobs that follow it in a workflow."""
        (end,) = (event for event in self.events() if event["event"] == "playbook_on_stats")
        found: Json = end["event_data"].get("artifact_data", {})
        return found
