# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What each host is asked about all others, made of what the hosts said about themselves."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.virtops.balance.plugins.plugin_utils._doctor import cpus
from ansible_collections.virtops.balance.plugins.plugin_utils._doctor.answers import Json, about, check_results

_URI = re.compile(r"(?P<scheme>\w+):(?://)?(?P<host>\[[^\]]*\]|[^:/?]*)(?::(?P<port>\d+))?")


def make_questions(selves: Mapping[str, Json], run: str) -> dict[str, Any]:
    """Return ``{run, peers, paths, baselines}`` for the module; ``selves`` are the results of the first question.

    Hosts that did not answer are not asked about: none of their domains would be moved, and nothing would go there.
    Raises BalanceError for what are no results.
    """
    check_results(selves)
    abouts = {name: found for name, found in ((name, about(selves[name])[0]) for name in sorted(selves)) if found}
    paths = {posixpath.normpath(path) for found in abouts.values() for path in found["shared_paths"]}
    for found in abouts.values():
        # Ansible's fleet and libvirt itself take these for shared.
        paths |= {
            posixpath.normpath(pool["path"])
            for pool in found["pools"] or ()
            if pool["active"]
            and pool["shared"]
            and str(pool["path"] or "").startswith("/")
            and pool["type"] in ("dir", "fs", "netfs")
        }
    return {
        "run": run,
        "peers": {name: _peer(found) for name, found in abouts.items()},
        "paths": sorted(paths),
        "baselines": [question.to_result() for question in cpus.questions(abouts)],
    }


def _peer(found: Json) -> dict[str, Any]:
    """How to reach a host, and which of its ports to try.

    A port on which something listens is left alone: it may be QEMU, which would mistake a test connection for the
    migration that it waits for. So are all ports of a host on which a run is acting.
    """
    migration = found["migration"] or {}
    given = _URI.match(found["migrate_uri"] or "")
    host = given["host"].strip("[]") if given and given["host"] else migration.get("host") or found["hostname"]
    ports: list[int] = []
    if found["lease"] is None and migration.get("listening") is not None and (not given or given["scheme"] == "tcp"):
        first, last = migration["ports"]
        wanted = [int(given["port"])] if given and given["port"] else range(first, last + 1)
        free = [port for port in wanted if port not in migration["listening"]]
        ports = sorted({*free[:1], *free[-1:]})
    return {"uri": found["migration_uri"], "host": host, "ports": ports}
