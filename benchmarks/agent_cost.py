# Copyright: the virtops.balance authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agent costs its host: CPU time per sample, and bytes of its database per day.

    python3 agent_cost.py [--agent /var/lib/virtops.balance/agent.pyz] [--uri qemu:///system] [--samples 60]

Run it on a hypervisor, with the interpreter that has libvirt's binding, after the role agent has installed the agent
there (it need not be running). The samples are real ones, of all domains that are active there, and go into a database
of the benchmark's own. CPU time is that of this process, which does what the agent does, and that of libvirt's daemon,
which answers it. The size is that of a day's samples, made of the real ones over and over.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
import typing as t
from pathlib import Path

DAY_SECONDS = 86_400
# Libvirt's daemons, the modular ones and the monolithic one.
DAEMONS = ("virtqemud", "libvirtd", "virtxend")


def main() -> None:
    arguments = parse_arguments()
    sys.path.insert(0, arguments.agent)
    # Only now there is where they come from.
    from ansible_collections.virtops.balance.plugins.module_utils import _connection
    from ansible_collections.virtops.balance.plugins.module_utils._agent import loops as agent_loops
    from ansible_collections.virtops.balance.plugins.module_utils._history import store as _store
    from ansible_collections.virtops.balance.plugins.module_utils._observe import host as observed_host

    if _connection.libvirt is None:
        sys.exit(f"{sys.executable} has no libvirt module; take the distribution's own Python 3.")
    daemon = find_daemon()
    with tempfile.TemporaryDirectory(prefix="agent_cost-") as directory:
        store = open_store(_store, directory, "samples.sqlite")
        with _connection.connect(_connection.libvirt, arguments.uri, read_only=True) as connection:
            sampler = observed_host.choose_sampler(connection)
            before = sampler.sample()
            own, daemons, rows = [], [], []
            for _number in range(arguments.samples):
                time.sleep(arguments.pause)
                began, daemon_began = time.process_time(), daemon_seconds(daemon)
                after = sampler.sample()
                row = agent_loops.describe(sampler, before, after, at=time.time())
                store.add(row)
                own.append(time.process_time() - began)
                daemons.append(daemon_seconds(daemon) - daemon_began)
                before = after
                rows.append(row)
        store.close()
        count = len(rows[-1].domains)
        print(f"{count} domains, {arguments.samples} samples, CPU milliseconds per sample:")
        print(f"  agent    median {statistics.median(own) * 1000:7.2f}   mean {statistics.mean(own) * 1000:7.2f}")
        # The kernel counts the time of another process in steps of 10 ms, so only the mean says anything.
        print(f"  libvirt                  mean {statistics.mean(daemons) * 1000:7.2f}")
        for interval in arguments.intervals:
            size = day_bytes(_store, directory, rows, DAY_SECONDS // interval)
            print(
                f"  every {interval} s: {size / 1e6:.2f} MB a day, "
                f"{statistics.mean(own) / interval * 100:.3f} % of a CPU in the agent"
            )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agent", default="/var/lib/virtops.balance/agent.pyz", help="the agent that is installed")
    parser.add_argument("--uri", default="qemu:///system", help="connection URI (qemu:///system)")
    parser.add_argument("--samples", type=int, default=60, help="how many samples (60)")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two of them (0.5)")
    parser.add_argument("--intervals", type=int, nargs="+", default=[30, 10], help="for the figures of a day (30 10)")
    arguments: argparse.Namespace = parser.parse_args()
    if arguments.samples < 2 or arguments.pause <= 0 or min(arguments.intervals) < 1:
        parser.error("--samples must be at least 2, --pause more than 0, and --intervals at least 1")
    if not os.path.exists(arguments.agent):
        parser.error(f"there is no {arguments.agent}; the role virtops.balance.agent installs it")
    return arguments


def find_daemon() -> int | None:
    """Return the process id of libvirt's daemon."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if (directory / "comm").read_text(encoding="utf-8").strip() in DAEMONS:
                return int(directory.name)
        except OSError:
            continue
    return None


def daemon_seconds(pid: int | None) -> float:
    """Return the CPU time of a process, user and system (proc(5)), NaN where there is no process."""
    if pid is None:
        return float("nan")
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_store(history_store: t.Any, directory: str, name: str) -> t.Any:
    return history_store.Store(os.path.join(directory, name), keep_samples=10**9, max_bytes=10**12)


def day_bytes(history_store: t.Any, directory: str, rows: t.Sequence[t.Any], count: int) -> int:
    """Return the size of a database with so many samples, its write-ahead log written back."""
    path = os.path.join(directory, f"day-{count}.sqlite")
    store = open_store(history_store, directory, os.path.basename(path))
    for row in itertools.islice(itertools.cycle(rows), count):
        store.add(row)
    store.close()
    return os.path.getsize(path)


if __name__ == "__main__":
    main()
