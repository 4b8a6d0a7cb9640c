# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Helper of meter.py: run a program from a process that is small. spawn.py REPORT OUTPUT PROGRAM [ARGUMENT ...]"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Write the program's output (both streams) to OUTPUT, and how it ended and what it used to REPORT as JSON."""
    report, output, *command = sys.argv[1:]
    actions = [
        (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    child = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    _child, status, used = os.wait4(child, 0)
    found = {
        "status": os.waitstatus_to_exitcode(status),
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / 1024,
    }
    with open(report, "w", encoding="utf-8") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
