# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: the samples that the agent of a host keeps, in one SQLite file.

One process writes, any number read. With the write-ahead log a writer that is killed at any moment leaves the file as
it was after the last whole sample (https://www.sqlite.org/wal.html, https://www.sqlite.org/atomiccommit.html).

Numbers are stored as integers, which SQLite keeps in as few bytes as they need: times in milliseconds, CPU and ready
time in thousandths, the use of the host in ten-thousandths, memory in MiB.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import typing as t
import urllib.parse

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError

PATH = "var/lib/virtops.balance/history.sqlite"
VERSION = 1
_APPLICATION = 0x76627231

_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE samples (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    elapsed_ms INTEGER NOT NULL,
    usage INTEGER,
    iowait INTEGER,
    total_mib INTEGER,
    available_mib INTEGER,
    swap_used_mib INTEGER
);
CREATE TABLE domains (
    id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    last_sample INTEGER NOT NULL
);
CREATE TABLE domain_samples (
    sample INTEGER NOT NULL,
    domain INTEGER NOT NULL,
    cores INTEGER,
    ready INTEGER,
    current_mib INTEGER,
    rss_mib INTEGER,
    usable_mib INTEGER,
    PRIMARY KEY (sample, domain)
) WITHOUT ROWID;
"""

# What the size of the file is reduced by when it is at its limit.
_SHED = 10
# How many pages the write-ahead log has before they are written back.
_LOG_PAGES = 200
# A writer waits this long for another one, which is there for a moment at most when the agent is replaced.
_BUSY_SECONDS = 5.0


class DomainRow(t.NamedTuple):
    """One domain in one sample. None = not known."""

    uuid: str
    name: str
    cpu_cores: float | None = None
    cpu_ready: float | None = None
    current_mib: int | None = None
    rss_mib: int | None = None
    usable_mib: int | None = None


class Row(t.NamedTuple):
    """One sample. RV(at) is in seconds since 1970, and the rates are those of the RV(elapsed) seconds before it."""

    at: float
    elapsed: float
    usage: float | None = None
    iowait: float | None = None
    total_mib: int | None = None
    available_mib: int | None = None
    swap_used_mib: int | None = None
    domains: t.Sequence[DomainRow] = ()


class Store:
    """The file, for its one writer."""

    def __init__(self, path: str, *, keep_samples: int, max_bytes: int) -> None:
        """Open RV(path), which is made where there is none.

        A file that is no database of this version is set aside under another name (RV(set_aside)), not lost.
        Raises sqlite3.Error where nothing can be opened, for example on a full disk.
        """
        self._keep_samples, self._max_bytes = keep_samples, max_bytes
        self.set_aside: str | None = None
        try:
            self._connection = _open_to_write(path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            self.set_aside = set_aside(path)
            self._connection = _open_to_write(path)

    def close(self) -> None:
        self._connection.close()

    def add(self, row: Row) -> int:
        """Store one sample, or nothing of it, and forget what is too old or too much. Returns the sample's number.

        Raises sqlite3.Error, and then nothing has changed.
        """
        try:
            return self._add(row)
        except sqlite3.OperationalError:
            # Where the disk is full, the log may be what fills it: written back it gives room to the next sample.
            with contextlib.suppress(sqlite3.OperationalError):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            raise

    def _add(self, row: Row) -> int:
        # The module begins a transaction before INSERT; the block commits it or takes all of it back.
        with self._connection as connection:
            sample = connection.execute(
                "INSERT INTO samples (at_ms, elapsed_ms, usage, iowait, total_mib, available_mib, swap_used_mib)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    round(row.at * 1000),
                    round(row.elapsed * 1000),
                    _scaled(row.usage, 10_000),
                    _scaled(row.iowait, 10_000),
                    row.total_mib,
                    row.available_mib,
                    row.swap_used_mib,
                ),
            ).lastrowid
            connection.executemany(
                "INSERT INTO domains (uuid, name, last_sample) VALUES (?, ?, ?)"
                " ON CONFLICT (uuid) DO UPDATE SET name = excluded.name, last_sample = excluded.last_sample",
                [(domain.uuid, domain.name, sample) for domain in row.domains],
            )
            connection.executemany(
                "INSERT INTO domain_samples (sample, domain, cores, ready, current_mib, rss_mib, usable_mib)"
                " SELECT ?, id, ?, ?, ?, ?, ? FROM domains WHERE uuid = ?",
                [
                    (
                        sample,
                        _scaled(domain.cpu_cores, 1000),
                        _scaled(domain.cpu_ready, 1000),
                        domain.current_mib,
                        domain.rss_mib,
                        domain.usable_mib,
                        domain.uuid,
                    )
                    for domain in row.domains
                ],
            )
            self._forget(connection, sample or 0)
        return sample or 0

    def _forget(self, connection: sqlite3.Connection, newest: int) -> None:
        # Age is counted in samples: a clock that jumps ahead must not make everything old.
        last = newest - self._keep_samples
        if _used_bytes(connection) > self._max_bytes:
            oldest = connection.execute("SELECT min(id) FROM samples").fetchone()[0]
            last = max(last, min(newest - 1, oldest + (newest - oldest) // _SHED))
        connection.execute("DELETE FROM samples WHERE id <= ?", (last,))
        connection.execute("DELETE FROM domain_samples WHERE sample <= ?", (last,))
        connection.execute("DELETE FROM domains WHERE last_sample <= ?", (last,))


def read(path: str, *, since: float) -> t.Iterator[Row]:
    """Yield the samples that end after RV(since), the one stored last first.

    The file is opened read-only. Raises BalanceError where it cannot be read; FileNotFoundError where there is none.
    """
    try:
        os.stat(path)
    except NotADirectoryError as error:
        raise FileNotFoundError(path) from error
    except PermissionError as error:
        raise BalanceError(f"The history in {path} cannot be read: {error.strerror}.") from error
    try:
        with contextlib.closing(_connect(path, _mode_to_read(path))) as connection:
            _check_version(connection)
            samples = connection.execute(
                "SELECT id, at_ms, elapsed_ms, usage, iowait, total_mib, available_mib, swap_used_mib"
                " FROM samples WHERE at_ms > ? ORDER BY id DESC",
                (round(since * 1000),),
            )
            for number, at_ms, elapsed_ms, usage, iowait, total_mib, available_mib, swap_used_mib in samples:
                # The statement above is open: this one sees the same moment, whatever the agent forgets meanwhile.
                domains = [
                    DomainRow(uuid, name, _unscaled(cores, 1000), _unscaled(ready, 1000), *sizes)
                    for uuid, name, cores, ready, *sizes in connection.execute(
                        "SELECT uuid, name, cores, ready, current_mib, rss_mib, usable_mib FROM domain_samples"
                        " JOIN domains ON domains.id = domain WHERE sample = ? ORDER BY domain",
                        (number,),
                    )
                ]
                yield Row(
                    at=at_ms / 1000,
                    elapsed=elapsed_ms / 1000,
                    usage=_unscaled(usage, 10_000),
                    iowait=_unscaled(iowait, 10_000),
                    total_mib=total_mib,
                    available_mib=available_mib,
                    swap_used_mib=swap_used_mib,
                    domains=domains,
                )
    except sqlite3.Error as error:
        raise BalanceError(f"The history in {path} cannot be read: {error}.") from error


def _mode_to_read(path: str) -> str:
    """Return the mode to open the file with, which nothing is written to.

    Without a log the agent does not run, and who may not make one could not read the file: https://www.sqlite.org/wal.html
    (read-only databases). It cannot change meanwhile but by an agent that starts and writes its first pages back.
    """
    if os.path.exists(f"{path}-wal") or os.access(os.path.dirname(path), os.W_OK, effective_ids=True):
        return "ro"
    return "ro&immutable=1"


def _connect(path: str, mode: str) -> sqlite3.Connection:
    uri = f"file:{urllib.parse.quote(os.path.abspath(path))}?mode={mode}"
    # The agent opens the file in one thread and writes it in another, one at a time.
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False)


def _open_to_write(path: str) -> sqlite3.Connection:
    connection = _connect(path, "rwc")
    try:
        # A file of somebody else is not touched.
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        _check_version(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        # A power failure may cost the last samples, never the file (https://www.sqlite.org/pragma.html).
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_version(connection: sqlite3.Connection) -> None:
    found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    if found != [_APPLICATION, VERSION]:
        raise sqlite3.DatabaseError("it was not made by this version of the agent")


def set_aside(path: str) -> str:
    """Rename a file that cannot be used, and return its new name. Its write-ahead log belongs to it."""
    aside = f"{path}.unusable"
    for end in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.replace(path + end, aside + end)
    return aside


def _used_bytes(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _scaled(value: float | None, scale: int) -> int | None:
    return None if value is None else round(value * scale)


def _unscaled(value: int | None, scale: int) -> float | None:
    return None if value is None else value / scale
