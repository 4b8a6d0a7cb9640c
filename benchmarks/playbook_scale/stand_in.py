# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Stands in for the modules that touch hosts, as an action plugin under the name of each; the fleet is a directory.

FLEET/HOST.json is the recorded observation of a host, FLEET/moves/DOMAIN says where a domain went since. An action
plugin starts no module, so what remains to be measured is what Ansible and the collection do on the control node.
"""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase

NAMES = ("domain_migrate", "domain_migrate_info", "host_info", "host_lease", "host_mark")
Json = dict[str, t.Any]


class ActionModule(ActionBase):
    """All of them."""

    def run(self, tmp: str | None = None, task_vars: Json | None = None) -> Json:
        """Answer as the module of this name would."""
        self.host, self.fleet = str((task_vars or {})["inventory_hostname"]), Path(os.environ["FLEET"])
        answer = getattr(self, self._task.action.rpartition(".")[2])
        return t.cast("Json", answer(dict(self._task.args)))

    def host_info(self, _options: Json) -> Json:
        """Return the recorded observation, with the domains that came and without those that left."""
        text = (self.fleet / f"{self.host}.json").read_text(encoding="utf-8")
        moves = [json.loads(path.read_text(encoding="utf-8")) for path in (self.fleet / "moves").iterdir()]
        if any(self.host in (move["source"], move["destination"]) for move in moves):
            text = json.dumps(self._after(json.loads(text), moves))
        brief = {"cgroup_version": 2, "bridges": None, "mounts": None, "migrations": [], "unfinished_moves": []}
        return {"changed": False, "observation": text, "brief": brief}

    def _after(self, seen: Json, moves: list[Json]) -> Json:
        gone = {move["domain"] for move in moves if move["source"] == self.host}
        domains = [domain for domain in seen["domains"] if domain["uuid"] not in gone]
        for move in moves:
            if move["destination"] == self.host:
                there = json.loads((self.fleet / f"{move['source']}.json").read_text(encoding="utf-8"))
                domains += [domain for domain in there["domains"] if domain["uuid"] == move["domain"]]
        return {**seen, "domains": domains}

    def host_lease(self, options: Json) -> Json:
        """Grant it."""
        lease = {"owner": options["owner"], "purpose": options.get("purpose")}
        return {"changed": False, "lease": None if options.get("state") == "absent" else lease, "taken_over": None}

    def host_mark(self, options: Json) -> Json:
        """Forget it."""
        return {"changed": True, "marks": options}

    def domain_migrate_info(self, options: Json) -> Json:
        """Agree."""
        questions = [{key: one[key] for key in ("domain", "destination")} for one in options["questions"]]
        return {"changed": False, "answers": [{**one, "ok": True, "checks": []} for one in questions]}

    def domain_migrate(self, options: Json) -> Json:
        """Take no time."""
        move = {key: options[key] for key in ("domain", "source", "destination")}
        (self.fleet / "moves" / move["domain"]).write_text(json.dumps(move), encoding="utf-8")
        return {"changed": True, "seconds": 0.0}
