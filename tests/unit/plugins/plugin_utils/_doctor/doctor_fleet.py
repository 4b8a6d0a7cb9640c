# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A fleet in which all is well, as its hosts answer. Tests break it."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.examine import examine

Json = dict[str, t.Any]
PATH = "/srv/images"
CPU = "<cpu><model>EPYC</model><vendor>AMD</vendor></cpu>"


class DoctorFleet:
    """What the three modules returned, by host: change it, and have it examined."""

    def __init__(self, *names: str) -> None:
        self.about: dict[str, Json] = {name: about(name, number) for number, name in enumerate(names, 1)}
        self.peers: dict[str, Json] = {
            source: {destination: peer(destination) for destination in names if destination != source}
            for source in names
        }
        self.written: dict[str, Json] = {
            name: {PATH: {"kind": "directory", "written": True, "problem": None}} for name in names
        }
        self.seen: dict[str, Json] = {
            name: {PATH: {"kind": "directory", "sees": [other for other in names if other != name]}} for name in names
        }
        self.baselines: dict[str, list[Json]] = {}
        self.silent: dict[str, str] = {}

    def guest(self, host: str, name: str, *, mib: int = 512, **needs: str) -> None:
        """Have a guest on a host that needs things, by their kind."""
        wanted = self.about[host]["needs"]
        wanted["memory_mib"][name] = mib
        for kind, what in needs.items():
            wanted["things"].append({"kind": kind, "name": what, "domains": [name]})

    def connection(self, source: str, destination: str, **changes: t.Any) -> None:
        self.peers[source][destination]["connection"].update(changes)

    def address(self, source: str, destination: str, **changes: t.Any) -> None:
        self.peers[source][destination]["address"].update(changes)

    def selves(self) -> Json:
        return {
            name: {"unreachable": True, "msg": self.silent[name]}
            if name in self.silent
            else {"answer": json.dumps(found), "controller": {"asked_at": 100.0, "answered_at": 101.0}}
            for name, found in self.about.items()
        }

    def report(self) -> Json:
        answers = {
            name: {
                "answer": json.dumps(
                    {"peers": self.peers[name], "paths": self.seen[name], "baselines": self.baselines.get(name, [])}
                )
            }
            for name in self.about
            if name not in self.silent
        }
        return examine(self.selves(), answers, {name: {"paths": paths} for name, paths in self.written.items()})

    def told(self) -> list[str]:
        """All sentences, the problems first, each with its commands."""
        report = self.report()
        return [
            ": ".join([entry["sentence"], *(["; ".join(entry["commands"])] if entry["commands"] else [])])
            for entry in [*report["problems"], *report["warnings"]]
        ]

    def rows(self) -> list[str]:
        """The matrix, a text for each host."""
        return ["".join(row.values()) for row in self.report()["matrix"].values()]


def about(name: str, number: int) -> Json:
    return {
        "schema": 1,
        "hostname": name,
        "uuid": f"00000000-0000-0000-0000-{number:012d}",
        "user": "root",
        "hypervisor": {"type": "QEMU", "version": "7.2.22"},
        "libvirt_version": "9.0.0",
        "cpu": {"arch": "x86_64", "model": "EPYC", "for_guests": {"kvm": CPU}},
        "domain_types": ["kvm", "qemu"],
        "machine_types": {"x86_64": ["pc-q35-7.2"]},
        "networks": [{"name": "lab", "bridge": "br0", "active": True}],
        "bridges": ["br0"],
        "pools": [],
        "secrets": [],
        "memory": {"total_mib": 4096, "available_mib": 2048},
        "needs": {"things": [], "memory_mib": {}},
        "migration": {"host": None, "ports": [49152, 49215], "listening": []},
        "lease": None,
        "asleep": [],
        "migration_uri": f"qemu+ssh://root@{name}/system?no_tty=1",
        "migrate_uri": None,
        "shared_paths": [PATH],
        "clock": {"started_at": 100.4, "ended_at": 100.8},
    }


def peer(name: str) -> Json:
    return {
        "connection": {
            "uri": f"qemu+ssh://root@{name}/system?no_tty=1",
            "transport": "ssh",
            "user": "root",
            "host": name,
            "port": None,
            "default_port": 22,
            "problem": None,
            "timeout": False,
            "hostname": name,
            "cpus_missing": [],
        },
        "address": {
            "host": name,
            "resolved": ["10.0.0.1"],
            "problem": None,
            "loopback": False,
            "ports": {"49152": "refused", "49215": "refused"},
        },
    }
