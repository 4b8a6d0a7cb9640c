# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Stands in for the modules that touch hosts, in a copy of the collection: a fleet that is a directory.

FLEET/fleet.json has who is where, FLEET/HOST/ is the root of the file system of a host, where the real code keeps its
marks and its lease. FLEET/log is what was done, in its order, and FLEET/purposes what hosts were leased for.
FLEET/HOST/down: the host does not answer. FLEET/HOST/full: its disk is full. FLEET/HOST/fills: it is, once the host has
been observed. FLEET/fills-DOMAIN: the disk of the host that this names is full once it has moved.
FLEET/refuse-DOMAIN-HOST: the host refuses it when it is asked, with the JSON of a check in it. FLEET/asked is who was
asked about whom; FLEET/HOST/cannot-ask: the host cannot ask. FLEET/fail-DOMAIN: it can be neither moved nor restarted,
and its host remembers that. A domain with a note (source, destination) and without a host is shut off on both, as a
restart leaves it that was killed. FLEET/HOST/no-key-OTHER: root of the host cannot log in to the other one.
FLEET/images is the directory that all hosts share, FLEET/HOST/unmounted: this one does not.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import tempfile
import typing as t
import unittest.mock
from pathlib import Path

from ansible.plugins.action import ActionBase

from ansible_collections.virtops.balance.plugins.module_utils._doctor import shared_paths
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._host import lease as _lease
from ansible_collections.virtops.balance.plugins.module_utils._host import marks as host_marks
from ansible_collections.virtops.balance.plugins.module_utils._host import refusals
from ansible_collections.virtops.balance.plugins.modules import host_mark
from ansible_collections.virtops.balance.tests.build import two_hosts
from ansible_collections.virtops.balance.tests.unit.plugins.plugin_utils._doctor import doctor_fleet

NAMES = (
    "domain_finish_move",
    "domain_memory",
    "domain_migrate",
    "domain_migrate_info",
    "domain_restart",
    "domain_vcpu_pin",
    "host_doctor_info",
    "host_info",
    "host_lease",
    "host_mark",
    "host_path_test",
    "host_peers_info",
    "host_power",
)
Json = dict[str, t.Any]
TAKEN_AT = "2026-01-31T12:00:00Z"


def observation(host: str, marks: Json, guests: Json) -> Json:
    """What host_info says of a host of 8 threads and 32 GiB with these domains, by name."""
    known = two_hosts.snapshot()
    facts, guest = known["hosts"]["kvm2"], next(iter(known["domains"].values()))
    domains = [
        {**guest, "uuid": name, "name": name, "cpu_cores": 0.2, "job": None, "unfinished_move": None, **more}
        for name, more in sorted(guests.items())
    ]
    used = sum(domain["memory"]["rss_mib"] for domain in domains)
    return {
        "schema": 1,
        "taken_at": TAKEN_AT,
        "host": {
            **facts,
            "uuid": host,
            "cgroup_version": 1,
            "memory": {"total_mib": 32768, "available_mib": 30000 - used},
            "cpu": {**facts["cpu"], "usage": 0.02 + len(domains) * 0.025},
            **marks,
        },
        "domains": domains,
    }


class ActionModule(ActionBase):
    """All of them."""

    def run(self, tmp: str | None = None, task_vars: Json | None = None) -> Json:
        """Do what the module of this name does."""
        self.host, self.options = str((task_vars or {})["inventory_hostname"]), dict(self._task.args)
        self.fleet = Path(os.environ["FLEET"])
        self.root = str(self.fleet / self.host)
        self.check = bool(self._task.check_mode)
        asked = self._task.action.rpartition(".")[2]
        if (self.fleet / self.host / "down").exists() and asked != "host_power":
            return {"unreachable": True, "msg": f"{self.host} is down"}
        try:
            with open(self.fleet / "lock", "w", encoding="ascii") as lock:
                if not self._task.action.endswith("host_lease"):  # may wait
                    fcntl.flock(lock, fcntl.LOCK_EX)
                with self._disk():
                    found: Json = getattr(self, "_" + asked)(**self.options)
                return found
        except BalanceError as error:
            return {"failed": True, **error.to_result()}

    def _disk(self) -> contextlib.AbstractContextManager[t.Any]:
        """Where it is full, no file can be begun."""
        if not (self.fleet / self.host / "full").exists():
            return contextlib.nullcontext()
        full = OSError(errno.ENOSPC, "No space left on device")
        return unittest.mock.patch.object(tempfile, "mkstemp", side_effect=full)

    def _log(self, *words: str) -> None:
        with open(self.fleet / "log", "a", encoding="utf-8") as log:
            log.write(" ".join(words) + "\n")

    def _host_info(self, **_options: t.Any) -> Json:
        guests = json.loads((self.fleet / "fleet.json").read_text(encoding="utf-8"))
        here = {name: guest["more"] for name, guest in guests.items() if guest["host"] == self.host}
        seen = observation(self.host, host_marks.observe(root=self.root), here)
        seen["host"]["interrupted_restarts"] = [
            {"uuid": name, "name": name, "started_at": "2026-01-31T12:00:00Z", **guest["note"]}
            for name, guest in guests.items()
            if guest["host"] is None and self.host in guest["note"].values()
        ]
        if (self.fleet / self.host / "fills").exists():
            (self.fleet / self.host / "full").touch()
        return {
            "changed": False,
            "observation": json.dumps(seen),
            "brief": {
                "cgroup_version": 1,
                "bridges": seen["host"].get("bridges"),
                "mounts": None,
                "migrations": [],
                "unfinished_moves": [
                    {"uuid": name, "name": name} for name, more in here.items() if more.get("unfinished_move")
                ],
            },
        }

    def _host_doctor_info(self, *, migration_uri: str, **_options: t.Any) -> Json:
        assert migration_uri == f"qemu+ssh://root@{self.host}/system?no_tty=1"
        found = {
            **doctor_fleet.about(self.host, int(self.host[-1])),
            "migration_uri": migration_uri,
            "shared_paths": [str(self.fleet / "images")],
        }
        moment = {"asked_at": 100.0, "answered_at": 101.0}
        return {"changed": False, "answer": json.dumps(found), "controller": moment}

    def _shared(self, path: str) -> str:
        return f"{self.root}/images" if os.path.exists(f"{self.root}/unmounted") else path

    def _host_path_test(
        self, *, name: str, run: str, paths: list[str], state: str = "present", **_options: t.Any
    ) -> Json:
        files: Json = {"host": name, "run": run, "dry": self.check}
        if state == "absent":
            removed = shared_paths.remove([self._shared(path) for path in paths], **files)
            return {"changed": bool(removed), "removed": removed}
        found = {}
        with unittest.mock.patch.object(shared_paths, "_watch"):
            for path in paths:
                found[path] = shared_paths.write([self._shared(path)], lifetime_seconds=60, **files)[self._shared(path)]
        return {"changed": True, "paths": found}

    def _host_peers_info(self, *, name: str, questions: Json, **_options: t.Any) -> Json:
        others = [other for other in questions["peers"] if other != name]
        peers = {other: doctor_fleet.peer(other) for other in others}
        for other in others:
            if (self.fleet / name / f"no-key-{other}").exists():
                peers[other]["connection"].update(problem=f"root@{other}: Permission denied (publickey).")
        paths = {
            path: shared_paths.seen([self._shared(path)], hosts=others, run=questions["run"])[self._shared(path)]
            for path in questions["paths"]
        }
        return {"changed": False, "answer": json.dumps({"peers": peers, "paths": paths, "baselines": []})}

    def _host_mark(self, drained: t.Any = None, drained_for: t.Any = None, **given: t.Any) -> Json:
        before = host_marks.read(root=self.root)
        after = {**before, **given, "drained": host_mark._drained(before["drained"], drained, drained_for)}
        if before != after and not self.check:
            host_marks.write(after, root=self.root)
            self._log("drained" if after["drained"] else "open", self.host)
        return {"changed": before != after, "marks": after}

    def _host_lease(self, owner: str, state: str = "present", purpose: str = "test", **seconds: t.Any) -> Json:
        taken = _lease.act(
            state=state,
            owner=owner,
            purpose=purpose,
            lease_seconds=float(seconds.get("lease_seconds", 300)),
            wait_seconds=float(seconds.get("wait_seconds", 0)),
            check_mode=self.check,
            root=self.root,
        )
        if state == "present":
            with open(self.fleet / "purposes", "a", encoding="utf-8") as purposes:
                purposes.write(f"{self.host} {purpose}\n")
        return {"changed": False, "lease": None if taken.lease is None else taken.lease.to_result()}

    def _host_power(self, state: str, **_options: t.Any) -> Json:
        down = self.fleet / self.host / "down"
        before = "asleep" if down.exists() else "awake"
        after = before if state == "query" else state
        if before != after:
            down.touch() if after == "asleep" else down.unlink()
            self._log(after, self.host)
        return {"changed": before != after, "power": {"state": after, "seen_by": "bmc", "problem": None}}

    def _domain_finish_move(self, *, domain: str, **_options: t.Any) -> Json:
        if (self.fleet / f"fail-{domain}").exists():
            return {"failed": True, "msg": f"The cap of {domain} could not be set."}
        guests = json.loads((self.fleet / "fleet.json").read_text(encoding="utf-8"))
        if guests[domain]["more"].get("state") == "paused":
            return {"failed": True, "stands_still": True, "msg": f"{domain} does not run."}
        return {"changed": False}

    def _domain_vcpu_pin(self, state: str, **_options: t.Any) -> Json:
        self._log(state, "vcpus", self.host)
        return {"changed": True}

    def _domain_memory(self, state: str, **_options: t.Any) -> Json:
        self._log(state, "memory", self.host)
        return {"changed": True}

    def _domain_migrate(self, **options: t.Any) -> Json:
        return self._go("moved", **options)

    def _domain_migrate_info(self, questions: list[Json], source: str, **_options: t.Any) -> Json:
        answers = []
        if (self.fleet / self.host / "cannot-ask").exists():
            return {"failed": True, "msg": "libvirt-python is missing."}
        for question in questions:
            domain, destination = question["domain"], question["destination"]
            with open(self.fleet / "asked", "a", encoding="utf-8") as asked:
                asked.write(f"{source} {domain} {destination} {question['room_mib']}\n")
            refuses = self.fleet / f"refuse-{domain}-{destination}"
            checks = [json.loads(refuses.read_text(encoding="utf-8"))] if refuses.exists() else []
            ok = all(check["ok"] for check in checks) if all(check["ok"] is not None for check in checks) else None
            answers.append({"domain": domain, "destination": destination, "ok": ok, "checks": checks})
        return {"changed": False, "answers": answers}

    def _domain_restart(self, **options: t.Any) -> Json:
        return self._go("restarted", **options)

    def _remember(self, domain: str, destination: str, *, wanted: bool) -> None:
        marks, reason = host_marks.read(root=self.root), "it could not leave"
        known = refusals.after_failure(
            marks["refusals"], domain=domain, destination=destination, reason=reason, at=TAKEN_AT
        )
        if wanted:
            host_marks.write({**marks, "refusals": known}, root=self.root)

    def _go(self, how: str, *, domain: str, source: str, destination: str, lease_owner: str, **more: t.Any) -> Json:
        for host in (source, destination):
            _lease.renew(lease_owner, seconds=300, root=str(self.fleet / host))
        guests = json.loads((self.fleet / "fleet.json").read_text(encoding="utf-8"))
        if "finish" in more:
            how, destination = "finished", {"source": source, "destination": destination}[more["finish"]]
        elif guests[domain]["host"] != source:
            return {"changed": False, "skipped": True, "reason": f"{domain} is not on {source}."}
        if (self.fleet / f"fail-{domain}").exists():
            self._remember(domain, destination, wanted=more["remember"])
            return {"failed": True, "outcome": "on_source", "msg": f"{domain} could not leave {source}."}
        guests[domain]["host"] = destination
        (self.fleet / "fleet.json").write_text(json.dumps(guests), encoding="utf-8")
        self._log(how, domain, source, destination)
        with contextlib.suppress(FileNotFoundError):
            (self.fleet / (self.fleet / f"fills-{domain}").read_text(encoding="utf-8") / "full").touch()
        return {"changed": True, "seconds": 1.0}
