# Copyright: the virtops.balance authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long virtops.balance.host_info takes, as a ratio to ansible.builtin.ping over the same hosts.

    benchmarks/host_info_vs_ping.py INVENTORY [--hosts PATTERN] [--rounds 5] [--aliases 100] [--forks 50]

Each round runs three playbooks one after the other: one that does nothing, one with ping, one with host_info. Ping and
host_info are compared within their round, so that a machine that is slow for a while is slow for both. What the empty
playbook took is Ansible's own start and is subtracted from both; the interval that host_info was told to wait is
subtracted from it once per batch of forks, because waiting is not work. The plain times are printed as well.

With --aliases N the inventory becomes N names of the same hosts, each with an ssh connection of its own: what Ansible
and the network do for N hosts is real, what the hosts themselves do is N times as much on the few that there are.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# sshd drops connections beyond ten that have not logged in yet (MaxStartups).
WARM_UP_FORKS = 5

Task = dict[str, t.Any]


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="host_info_vs_ping-") as name:
        directory = Path(name)
        originals = read_hosts(arguments.inventory, arguments.hosts, directory)
        hosts = make_aliases(originals, arguments.aliases) if arguments.aliases else originals
        inventory = write_inventory(directory / "hosts.json", hosts)
        tasks: dict[str, Task] = {
            "empty": {"ansible.builtin.meta": "noop"},
            "ping": {"ansible.builtin.ping": {}},
            "host_info": {
                "virtops.balance.host_info": {
                    "uri": arguments.uri,
                    "interval": arguments.interval,
                    "shared_paths": arguments.shared_path,
                },
                "register": "observed",
            },
        }
        for kind, task in tasks.items():
            write_playbook(directory / f"{kind}.json", [task])
        answers = count_answers(directory, write_inventory(directory / "originals.json", originals), tasks["host_info"])
        # Opens every connection, so that no round pays for that.
        run(directory / "ping.json", inventory, WARM_UP_FORKS)
        forks = min(arguments.forks, len(hosts))
        batches = math.ceil(len(hosts) / forks)
        lines = sum(answers[number % len(answers)][1] for number in range(len(hosts)))
        print(
            f"{len(hosts)} hosts, {sum(domains for domains, _lines in answers)} domains on {len(originals)} of them, "
            f"{lines} lines of facts, {forks} forks, interval {arguments.interval:g} s"
        )
        ratios = compare(directory, inventory, tasks, arguments.rounds, forks, waited=arguments.interval * batches)
    report(ratios, arguments.interval)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("inventory", help="inventory with the hypervisors, or names to make aliases of")
    parser.add_argument("--hosts", default="all", help="pattern of hosts (all)")
    parser.add_argument("--uri", default="qemu:///system", help="connection URI (qemu:///system)")
    parser.add_argument("--interval", type=float, default=1, help="seconds between the two samples (1)")
    parser.add_argument("--shared-path", action="append", default=[], help="option shared_paths, can be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="paired runs (5)")
    parser.add_argument("--aliases", type=int, default=0, help="make this many names of the hosts (0 = as they are)")
    parser.add_argument("--forks", type=int, default=50, help="hosts at once (50)")
    arguments: argparse.Namespace = parser.parse_args()
    for name in ("rounds", "forks"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return arguments


def _program(name: str) -> str:
    """Ansible beside this very Python."""
    return str(Path(sys.executable).with_name(name))


def read_hosts(inventory: str, pattern: str, directory: Path) -> dict[str, Task]:
    """Return how to reach the chosen hosts: their connection variables, as Ansible has filled them in."""
    result = directory / "reach.json"
    playbook = directory / "reach.yml"
    reach = (
        "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars) | map('dict2items')"
        " | map('selectattr', 'key', 'match', 'ansible_(host|port|user|connection|ssh_|become|python_interpreter)')"
        " | map('items2dict'))) | to_json }}"
    )
    write = {"ansible.builtin.copy": {"content": reach, "dest": str(result), "mode": "0600"}}
    task = {**write, "delegate_to": "localhost", "run_once": True, "become": False}
    playbook.write_text(json.dumps([{"hosts": pattern, "gather_facts": False, "tasks": [task]}]), encoding="utf-8")
    run(playbook, inventory, WARM_UP_FORKS)
    if not result.exists():
        sys.exit(f"No host of {inventory} matches {pattern!r}.")
    hosts: dict[str, Task] = json.loads(result.read_text(encoding="utf-8"))
    return hosts


def make_aliases(hosts: dict[str, Task], count: int) -> dict[str, Task]:
    """Return so many names for the hosts, taking turns. Each has a control socket, so a connection, of its own."""
    originals = list(hosts.items())
    aliases = {}
    for number in range(count):
        name, variables = originals[number % len(originals)]
        alias = f"alias-{number:04d}"
        aliases[alias] = {"ansible_host": name, **variables, "ansible_control_path": f"%(directory)s/{alias}"}
    return aliases


def write_playbook(path: Path, tasks: list[Task]) -> None:
    path.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")


def write_inventory(path: Path, hosts: dict[str, Task]) -> Path:
    path.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    return path


def count_answers(directory: Path, inventory: Path, task: Task) -> list[tuple[int, int]]:
    """Return for each host how many domains it has, and how many lines all that it answers are as indented JSON."""
    playbook = directory / "count.json"
    result = directory / "answers.json"
    content = "{{ ansible_play_hosts | map('extract', hostvars, ['observed', 'observation']) | to_json }}"
    write = {"ansible.builtin.copy": {"content": content, "dest": str(result), "mode": "0600"}}
    write_playbook(playbook, [task, {**write, "delegate_to": "localhost", "run_once": True}])
    run(playbook, inventory, WARM_UP_FORKS)
    answers = json.loads(result.read_text(encoding="utf-8"))
    return [(len(answer["domains"]), json.dumps(answer, indent=4).count("\n") + 1) for answer in answers]


def run(playbook: Path, inventory: Path | str, forks: int) -> float:
    """Return the seconds that a playbook took; ends the benchmark where a host failed."""
    command = [
        _program("ansible-playbook"),
        "--inventory",
        str(inventory),
        "--forks",
        str(forks),
        str(playbook),
    ]
    environment = {
        **os.environ,
        # A connection must outlive the slowest round.
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=600s",
        "ANSIBLE_PIPELINING": "true",
    }
    begin = time.monotonic()
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment)
    seconds = time.monotonic() - begin
    if done.returncode:
        sys.exit(f"{playbook.stem} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return seconds


def compare(
    directory: Path, inventory: Path, tasks: t.Iterable[str], rounds: int, forks: int, *, waited: float
) -> list[float]:
    """Run every playbook once a round and print a line for each; return host_info's time by ping's."""
    print(f"{'round':>5} {'empty s':>9} {'ping s':>9} {'host_info s':>12} {'ratio':>7} {'plain ratio':>12}", flush=True)
    ratios = []
    for number in range(1, rounds + 1):
        seconds = {kind: run(directory / f"{kind}.json", inventory, forks) for kind in tasks}
        ping = seconds["ping"] - seconds["empty"]
        info = seconds["host_info"] - seconds["empty"] - waited
        # Below this the difference of two runs is noise.
        ratio = info / ping if ping > 0.05 else math.nan
        ratios.append(ratio)
        plain = seconds["host_info"] / seconds["ping"]
        print(
            f"{number:>5} {seconds['empty']:>9.2f} {seconds['ping']:>9.2f} {seconds['host_info']:>12.2f} "
            f"{ratio:>7.2f} {plain:>12.2f}",
            flush=True,
        )
    return ratios


def report(ratios: list[float], interval: float) -> None:
    usable = [ratio for ratio in ratios if not math.isnan(ratio)]
    if not usable:
        sys.exit("Ping took no measurable time; use more hosts or --aliases.")
    print(
        f"host_info takes {statistics.median(usable):.2f} times as long as ping (median of {len(usable)}, "
        f"{min(usable):.2f} to {max(usable):.2f}), without the {interval:g} s that it was told to wait."
    )


if __name__ == "__main__":
    main()
