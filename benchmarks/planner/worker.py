# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""One engine on one fleet in a process of its own: python -m planner.worker REQUEST.json RESULT.json"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
import typing as t
from pathlib import Path

from .engines import NotFinishedError, Request, every
from .fleets import generate


def main(request: Path, result: Path) -> None:
    """Run what the request asks for, under a limit of CPU seconds that what it starts inherits."""
    wanted = json.loads(request.read_text(encoding="utf-8"))
    resource.setrlimit(resource.RLIMIT_CPU, (wanted["limit_seconds"], resource.RLIM_INFINITY))
    fleet = generate(*wanted["fleet"])
    found: dict[str, t.Any] = {"digest": fleet.digest()}
    try:
        asked = Request(wanted["limit_seconds"], request.parent, wanted["options"])
        outcome = every()[wanted["engine"]].run(fleet, asked)
    except NotFinishedError as error:
        found["not_finished"] = str(error)
    else:
        found.update(dataclasses.asdict(outcome))
    result.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
