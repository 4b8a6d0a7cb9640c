# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""How long a playbook takes to bring the observations of a large fleet through snapshot, plan and plan_table.

    benchmarks/playbook_scale.py [--hosts 1000] [--domains 20] [--observations mapping text] [--snapshots mapping text]

Runs a real ansible-playbook over recorded observations, so nothing is measured but Ansible's handling of the data and
the filters. Prints one table: seconds of each task, and the largest resident memory of any process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # its ansible.cfg says where the collection is
HERE = ROOT / "benchmarks" / "playbook_scale"
sys.path.insert(0, str(HERE))

import recorded  # noqa: E402  # lies beside the playbook

POLICY = {"max_moves": 50}


def run(directory: Path, observations: str, snapshots: str) -> list[tuple[str, float]]:
    """One run of the playbook; the tasks and their seconds."""
    stages = directory / "stages.jsonl"
    stages.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "STAGES": str(stages),
        "ANSIBLE_ACTION_PLUGINS": str(HERE / "action_plugins"),
        "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
        "ANSIBLE_CALLBACKS_ENABLED": "stages",
        "ANSIBLE_FORKS": "10",
        "ANSIBLE_STDOUT_CALLBACK": "default",
    }
    variables = {
        "recorded_dir": str(directory),
        "observation_shape": observations,
        "snapshot_shape": snapshots,
        "policy": POLICY,
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(directory / "hosts.ini")]
    command += [str(HERE / "scale.yml"), "-e", json.dumps(variables)]
    with open(directory / "output", "w", encoding="utf-8") as output:
        done = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, check=False)
    if done.returncode:
        lines = (directory / "output").read_text(encoding="utf-8").splitlines()
        sys.exit("\n".join([line for line in lines if "ERROR" in line or line.startswith("fatal")][:10]))
    lines = [json.loads(line) for line in stages.read_text(encoding="utf-8").splitlines()]
    return [(line["stage"], line["seconds"]) for line in lines]


def main() -> None:
    """Measure each combination of shapes that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--domains", type=int, default=20)
    parser.add_argument("--observations", nargs="+", default=["mapping", "text"], choices=["mapping", "text"])
    parser.add_argument("--snapshots", nargs="+", default=["mapping", "text"], choices=["mapping", "text"])
    options = parser.parse_args()
    print(f"{options.hosts} hosts x {options.domains} domains; seconds of each task, MiB of the largest process so far")
    header = False
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        recorded.write(directory, options.hosts, options.domains)
        for observations in options.observations:
            for snapshots in options.snapshots:
                stages = run(directory, observations, snapshots)
                if not header:
                    print(
                        f"{'observation':<12}{'snapshot':<10}"
                        + "".join(f"{s[:11]:>12}" for s, _seconds in stages)
                        + f"{'MiB':>8}"
                    )
                    header = True
                peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
                figures = "".join(f"{seconds:>12.1f}" for _stage, seconds in stages)
                print(f"{observations:<12}{snapshots:<10}{figures}{peak:>8}", flush=True)


if __name__ == "__main__":
    main()
