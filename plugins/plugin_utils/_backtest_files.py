# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Reads what a backtest replays from files, whichever kind they are, and saves its reports."""

from __future__ import annotations

import json
import math
import os
import pathlib
import re
import tempfile
import typing as t
from collections.abc import Iterable, Mapping

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError as StoreError
from ansible_collections.virtops.balance.plugins.module_utils._history import store
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.readers.csv_rows import (
    name_domains,
    read_csv,
    read_hosts_csv,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.readers.saved_runs import SavedRuns
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.samples import (
    DomainSample,
    HostSample,
    Samples,
)
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Snapshot
from ansible_collections.virtops.balance.plugins.plugin_utils._text import counted

Json = dict[str, t.Any]

SNAPSHOTS = "*snapshot*.json"
"""The snapshots of a run: that of its beginning and that of its end, and those of the rounds of a maintenance."""
_TAKEN = re.compile(r'"taken_at":\s*"([^"]+)"')


class Source(t.NamedTuple):
    """What was measured, where it came from in words, and a sentence about each thing that has to be known of it."""

    samples: Samples
    told: str
    notes: list[str]
    rows: bool = False
    """Is it CSV?"""


def read_files(
    path: pathlib.Path, *, hosts: pathlib.Path | None, snapshot: pathlib.Path | None, runs: pathlib.Path
) -> Source:
    """Read stores (a directory of HOST.sqlite, or one), saved runs (a directory, or one snapshot) or CSV.

    ``hosts``: CSV about the hosts. ``snapshot``: what is known of hosts and domains, None = the last one in the
    directory ``runs`` that knows all the hosts. Raises BalanceError.
    """
    try:
        path.stat()
    except FileNotFoundError:
        raise BalanceError(f"backtest_source is {path}, and there is nothing of that name.") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "that is no path"
        raise BalanceError(f"backtest_source is {path}, which cannot be read: {why}.") from None
    if path.is_dir():
        found = sorted(path.glob("*.sqlite"))
        source = _stores(found, path) if found else _saved_runs(path)
    elif path.suffix == ".sqlite":
        source = _stores([path], path)
    elif path.suffix == ".json":
        source = _saved_runs(path)
    else:
        source = Source(read_csv(read_text(path, "backtest_source"), path.name), f"the rows of {path}", [], rows=True)
    samples = source.samples
    if snapshot is not None:
        samples.know(read_snapshot(snapshot))
    elif not samples.domain_facts:
        last = _last_snapshot(runs, samples)
        if last is not None:
            samples.know(read_snapshot(last))
            source.notes.append(f"What hosts and domains are like is taken from the last saved run, {last}.")
    if hosts is not None:
        for name, facts in read_hosts_csv(read_text(hosts, "backtest_hosts"), hosts.name).items():
            samples.host_facts[name] = {**samples.host_facts.get(name, {}), **facts}
    name_domains(samples)
    return source


def read_text(path: pathlib.Path, what: str) -> str:
    """The text of a file; ``what`` is the variable that names it. Raises BalanceError."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BalanceError(f"{what} is {path}, which is no text.") from None
    except OSError as error:
        raise BalanceError(f"{what} is {path}, which cannot be read: {error.strerror}.") from None


def read_snapshot(path: pathlib.Path) -> Json:
    """A snapshot that a run has saved. Raises BalanceError."""
    text = read_text(path, "backtest_snapshot")
    try:
        found: Json = json.loads(text)
        Snapshot.from_mapping(found)
    except (ValueError, RecursionError, BalanceError) as error:
        raise BalanceError(f"{path} must be a snapshot that a run has saved, and is none: {error}") from None
    return found


def _stores(paths: list[pathlib.Path], where: pathlib.Path) -> Source:
    samples, notes = Samples(), []
    for path in paths:
        later, ahead = math.inf, 0
        try:
            for row in store.read(str(path), since=0):
                # The row that was stored last comes first: one that ends later than it had a clock that ran ahead.
                if row.at < later:
                    _add_row(samples, path.stem, row)
                    later = row.at
                else:
                    ahead += 1
            for event in store.read_events(str(path)):
                # A host that sleeps keeps no store meanwhile: another one has noted it.
                if event.kind == "asleep" and event.host is not None:
                    samples.hosts.append(HostSample(event.at, event.host, None, asleep=True))
        except FileNotFoundError:
            notes.append(f"Left out, because nothing is stored in it: {path}.")
        except StoreError as error:
            raise BalanceError(str(error)) from None
        if ahead:
            notes.append(f"Left out, because the clock of {path.stem} was set back after them: {ahead} of its samples.")
    return Source(samples, f"{counted(len(paths), 'store')} in {where}", notes)


def _add_row(samples: Samples, host: str, row: store.Row) -> None:
    samples.hosts.append(HostSample(row.at, host, row.usage))
    # The row that was stored last is read first.
    samples.host_facts.setdefault(host, {"cpu": {"threads": row.threads}, "memory": {"total_mib": row.total_mib}})
    for domain in row.domains:
        memory = domain.current_mib if domain.maximum_mib is None else domain.maximum_mib
        samples.domains.append(
            DomainSample(
                *(row.at, host, domain.uuid, domain.name, domain.cpu_cores, domain.cpu_ready),
                memory_mib=None if memory is None else float(memory),
                vcpus=domain.vcpus,
            )
        )


def _saved_runs(path: pathlib.Path) -> Source:
    texts = sorted((_taken(found), found) for found in _snapshots(path)) if path.is_dir() else [("", path)]
    runs, notes, known = SavedRuns(), [], 0
    for _at, found in texts:
        try:
            runs.add(json.loads(read_text(found, "backtest_source")), str(found))
            known += 1
        except (ValueError, RecursionError, BalanceError) as error:
            if not path.is_dir():
                raise BalanceError(f"backtest_source is {path}, which is no snapshot: {error}") from None
            notes.append(f"Left out, because it is no snapshot: {found}.")
    if not known:
        raise BalanceError(
            f"backtest_source is {path}, and there is no HOST.sqlite and no run with a snapshot.json. "
            "Name a directory of stores or of saved runs, or a CSV file."
        )
    return Source(runs.samples, f"{counted(known, 'snapshot')} of runs in {path}", notes)


def _snapshots(directory: pathlib.Path) -> Iterable[pathlib.Path]:
    """Of one run, or of all runs that are beside each other."""
    found = [*directory.glob(SNAPSHOTS), *directory.glob(f"*/{SNAPSHOTS}")]
    # Links may lead to nothing.
    return [path for path in found if path.is_file()]


def _taken(path: pathlib.Path) -> str:
    """When a snapshot was taken, without reading it as JSON: there may be hundreds, and they must come in order."""
    try:
        found = _TAKEN.search(read_text(path, "backtest_source"))
    except BalanceError:
        return ""
    return found[1] if found else ""


def _last_snapshot(runs: pathlib.Path, samples: Samples) -> pathlib.Path | None:
    """The last saved snapshot of the same fleet: it knows all the hosts that have domains, and half of the domains."""
    hosts = {sample.host for sample in samples.domains}
    domains = {sample.uuid for sample in samples.domains}
    for path in sorted(_snapshots(runs), key=lambda one: (one.stat().st_mtime, one), reverse=True):
        try:
            snapshot = read_snapshot(path)
        except BalanceError:
            continue
        known = {*snapshot["domains"], *(str(domain.get("name")) for domain in snapshot["domains"].values())}
        if hosts <= snapshot["hosts"].keys() and 2 * len(domains & known) >= len(domains):
            return path
    return None


def make_directory(directory: pathlib.Path) -> None:
    """Make it, and those above it that are missing, for its owner alone. Raises OSError."""
    mask = os.umask(0o077)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    finally:
        os.umask(mask)


def save(directory: pathlib.Path, files: Mapping[str, str]) -> dict[str, str]:
    """Save texts by the names of their files, each as a whole or not at all, and return their paths. Raises OSError."""
    paths = {}
    for name, text in files.items():
        handle, temporary = tempfile.mkstemp(dir=directory, prefix=f".{name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, directory / name)
        except BaseException:
            pathlib.Path(temporary).unlink(missing_ok=True)
            raise
        paths[name] = str(directory / name)
    return paths
