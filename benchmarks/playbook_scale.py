# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What a run of rebalance.yml costs the control node, by the number of hosts.

    benchmarks/playbook_scale.py [--hosts 10 100 300 1000] [--cases nothing moves] [--domains 20] [--checkout DIR]

Runs the real playbook on one core, with recorded observations in place of the modules that touch hosts. One line for
each run: CPU seconds and wall seconds of ansible-playbook and all its workers, the largest resident memory of any of
them, task executions (worker processes, for skipped tasks too) on the host with the most of them and on average, lines
printed, and moves. ``nothing`` is a fleet that is level, ``moves`` one with hot hosts and a plan of at most 20 moves.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "benchmarks" / "playbook_scale"
sys.path.insert(0, str(HERE))

import recorded  # noqa: E402  # lies in the directory of this program
import stand_in  # noqa: E402

PARTS = ("meta", "playbooks", "plugins", "roles", "galaxy.yml")
COLUMNS = ("hosts", "case", "cpu_seconds", "wall_seconds", "peak_mib", "tasks_most", "tasks_mean", "lines", "moves")


def collection(checkout: Path, place: Path) -> None:
    """Copy the collection of a checkout, with the stand-in under the names of the modules that touch hosts."""
    copy = place / "ansible_collections" / "virtops" / "balance"
    copy.mkdir(parents=True)
    for part in PARTS:
        (shutil.copytree if (checkout / part).is_dir() else shutil.copy)(checkout / part, copy / part)
    for name in stand_in.NAMES:
        shutil.copy(stand_in.__file__, copy / "plugins" / "action" / f"{name}.py")


def run(fleet: Path, collections: Path) -> dict[str, t.Any]:
    """Run the playbook over the fleet in that directory and return what it took."""
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    variables["balance_run_dir"] = str(fleet / "run")
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(fleet / "hosts.ini")]
    command += ["virtops.balance.rebalance", "-e", json.dumps(variables)]
    environment = {
        **os.environ,
        "ANSIBLE_CALLBACKS_ENABLED": "counter",
        "ANSIBLE_CALLBACK_PLUGINS": str(HERE),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_FORKS": "50",
        "COUNTS": str(fleet / "counts.json"),
        "FLEET": str(fleet),
        "LC_ALL": "C.UTF-8",
    }
    began = time.monotonic()
    with open(fleet / "output", "w", encoding="utf-8") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=fleet)
        os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0))})
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    lines = (fleet / "output").read_text(encoding="utf-8").splitlines()
    if process.returncode:
        sys.exit("\n".join(lines[-30:]))
    return {
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "wall_seconds": round(time.monotonic() - began, 1),
        "peak_mib": usage.ru_maxrss // 1024,
        "lines": len(lines),
        **tasks(json.loads((fleet / "counts.json").read_text(encoding="utf-8"))),
        "moves": json.loads((fleet / "run" / "outcome.json").read_text(encoding="utf-8"))["count"]["moved"],
    }


def tasks(counts: dict[str, int]) -> dict[str, float]:
    """Return the task executions of the host with the most of them, and the mean of all hypervisors.

    The first host has those besides that are made once a run, so it is left out.
    """
    others = sorted(count for name, count in counts.items() if name not in ("localhost", recorded.name(0)))
    return {"tasks_most": others[-1], "tasks_mean": round(sum(others) / len(others), 1)}


def main() -> None:
    """Measure each number of hosts in each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 100, 300, 1000])
    parser.add_argument("--domains", type=int, default=20)
    parser.add_argument("--cases", nargs="+", default=["nothing", "moves"], choices=["nothing", "moves"])
    parser.add_argument("--checkout", type=Path, default=ROOT, help="measure the collection of another checkout")
    parser.add_argument("--json", action="store_true", help="one JSON object on each line")
    options = parser.parse_args()
    if not options.json:
        print("".join(f"{name:>14}" for name in COLUMNS))
    with tempfile.TemporaryDirectory() as name:
        collections = Path(name) / "collections"
        collection(options.checkout, collections)
        for hosts in options.hosts:
            for case in options.cases:
                fleet = Path(name) / f"{case}-{hosts}"
                (fleet / "moves").mkdir(parents=True)
                recorded.write(fleet, hosts, options.domains, level=case == "nothing")
                row = {"hosts": hosts, "case": case, **run(fleet, collections)}
                text = json.dumps(row) if options.json else "".join(f"{row[column]!s:>14}" for column in COLUMNS)
                print(text, flush=True)


if __name__ == "__main__":
    main()
