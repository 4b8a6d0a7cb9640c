# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: what is remembered of a host and its domains, in one SQLite file on the host.

Whoever observes the host writes: its agent, or where there is none, every run. One writes at a time, any number read.
With the write-ahead log a writer that is killed at any moment leaves the file as it was after the last whole sample
(https://www.sqlite.org/wal.html, https://www.sqlite.org/atomiccommit.html).

Numbers are stored as integers, which SQLite keeps in as few bytes as they need. NULL = not known. The tables:

samples         the host. It stands for the time from at_ms - elapsed_ms to at_ms (milliseconds since 1970, UTC, by the
                clock of the host): usage and iowait are means of that time, all others are of its end.
                usage, iowait (ten-thousandths of all CPUs), threads, total_mib, available_mib, swap_used_mib,
                watts (tenths of a watt, the whole machine, measured), cpu_watts (the same of CPUs and their memory).
domains         every domain that a sample names: uuid, name, vcpus, maximum_mib as they were last, last_sample.
domain_samples  a domain in a sample, so it ran on this host then: cores and ready (thousandths, means of the time of
                the sample, or of its last elapsed_ms milliseconds where the domain has that), current_mib, rss_mib,
                usable_mib (at the end), dirty_mib_s (tenths of MiB in a second, where a migration measured it).
events          what became of a host, at_ms by the clock of whoever did it: kind is drained or undrained, of this host
                (host is NULL), or asleep or awake, of another host by its name in the inventory. The ends (undrained,
                awake) are seen by the next sample; of a host that woke, its own samples begin earlier.
                sample = by which sample it was noticed.
last_run        one row: the counters of the last run, from which the next one calculates means, see LastRun.

Version 1 had no threads, watts, cpu_watts, vcpus, maximum_mib, elapsed_ms of a domain, dirty_mib_s, events and
last_run. It can be read, and whoever writes makes it version 2.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import typing as t
import urllib.parse

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError

PATH = "var/lib/virtops.balance/history.sqlite"
VERSION = 2
# Names and figures of guests are nobody's business but that of root and its group.
MODE = 0o640
_APPLICATION = 0x76627231

_SCHEMA_1 = (
    """CREATE TABLE samples (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    elapsed_ms INTEGER NOT NULL,
    usage INTEGER,
    iowait INTEGER,
    total_mib INTEGER,
    available_mib INTEGER,
    swap_used_mib INTEGER
)""",
    """CREATE TABLE domains (
    id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    last_sample INTEGER NOT NULL
)""",
    """CREATE TABLE domain_samples (
    sample INTEGER NOT NULL,
    domain INTEGER NOT NULL,
    cores INTEGER,
    ready INTEGER,
    current_mib INTEGER,
    rss_mib INTEGER,
    usable_mib INTEGER,
    PRIMARY KEY (sample, domain)
) WITHOUT ROWID""",
)
_SCHEMA_2 = (
    "ALTER TABLE samples ADD COLUMN threads INTEGER",
    "ALTER TABLE samples ADD COLUMN watts INTEGER",
    "ALTER TABLE samples ADD COLUMN cpu_watts INTEGER",
    "ALTER TABLE domains ADD COLUMN vcpus INTEGER",
    "ALTER TABLE domains ADD COLUMN maximum_mib INTEGER",
    "ALTER TABLE domain_samples ADD COLUMN elapsed_ms INTEGER",
    "ALTER TABLE domain_samples ADD COLUMN dirty_mib_s INTEGER",
    """CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    sample INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    host TEXT
)""",
    """CREATE TABLE last_run (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    boot_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    monotonic_ms INTEGER NOT NULL,
    counters TEXT NOT NULL
)""",
)
# What leads from each version to the next one. A new file goes all the way, so that both ways end at the same tables.
_STEPS = (_SCHEMA_1, _SCHEMA_2)

_FOREIGN = "it is not a history of this collection"
# What the size of the file is reduced by when it is at its limit.
_SHED = 10
# How many pages the write-ahead log has before they are written back.
_LOG_PAGES = 200
# A writer waits this long for another one, which is there for a moment at most when the agent is replaced.
_BUSY_SECONDS = 5.0


class DomainRow(t.NamedTuple):
    """One domain in one sample. None = not known.

    RV(elapsed) is in seconds, where its rates are of a shorter time than those of the host.
    """

    uuid: str
    name: str
    cpu_cores: float | None = None
    cpu_ready: float | None = None
    current_mib: int | None = None
    rss_mib: int | None = None
    usable_mib: int | None = None
    vcpus: int | None = None
    maximum_mib: int | None = None
    dirty_mib_s: float | None = None
    elapsed: float | None = None


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
    threads: int | None = None
    watts: float | None = None
    cpu_watts: float | None = None


class Event(t.NamedTuple):
    """What became of a host, in seconds since 1970. RV(host) = another one by its name, None = the one of the store."""

    at: float
    kind: str
    host: str | None = None


class LastRun(t.NamedTuple):
    """The counters of a run, for the next one. Both times are in seconds; the monotonic one is that of the boot.

    RV(host) has the counters of the host, RV(domains) by UUID the number of the domain in libvirt and its counters.
    """

    boot_id: str
    at: float
    monotonic: float
    host: t.Mapping[str, int] | None
    domains: t.Mapping[str, tuple[int, t.Mapping[str, int]]]


class NewerError(sqlite3.DatabaseError):
    """A newer version of the collection made the file: it is as it should be, and left alone."""


class Store:
    """The file, for whoever writes it."""

    def __init__(
        self,
        path: str,
        *,
        keep_samples: int,
        max_bytes: int,
        keep_seconds: float | None = None,
        wait_seconds: float = _BUSY_SECONDS,
    ) -> None:
        """Open RV(path), which is made where there is none, and brought to this version where it is older.

        RV(keep_seconds) is for samples that do not come at equal intervals. RV(wait_seconds) is how long to wait for
        another writer. A file that is no database of the collection is set aside under another name (RV(set_aside)),
        not lost. Raises sqlite3.Error where nothing can be opened, for example on a full disk, and NewerError.
        """
        self._keep_samples, self._max_bytes, self._keep_seconds = keep_samples, max_bytes, keep_seconds
        self.set_aside: str | None = None
        try:
            self._connection = _open_to_write(path, wait_seconds)
        except (sqlite3.OperationalError, NewerError):
            raise
        except sqlite3.DatabaseError:
            self.set_aside = set_aside(path)
            self._connection = _open_to_write(path, wait_seconds)

    def close(self) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def alone(self) -> t.Iterator[None]:
        """Write all that is done in the block, or nothing of it; nobody else writes meanwhile. Raises sqlite3.Error."""
        try:
            with _transaction(self._connection):
                yield
        except sqlite3.OperationalError:
            # Where the disk is full, the log may be what fills it: written back it gives room to the next sample.
            with contextlib.suppress(sqlite3.OperationalError):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            raise

    def add(self, row: Row, events: t.Iterable[Event] = ()) -> int:
        """Store one sample, or nothing of it, and forget what is too old or too much. Returns the sample's number.

        Raises sqlite3.Error, and then nothing has changed.
        """
        if self._connection.in_transaction:
            return self._add(row, events)
        with self.alone():
            return self._add(row, events)

    def states(self) -> dict[str | None, str]:
        """Return the kind of the last event of each host that has one."""
        rows = self._connection.execute("SELECT host, kind FROM events ORDER BY id")
        return {host: str(kind) for host, kind in rows}

    def last_run(self) -> LastRun | None:
        """Return what the last run left, None where there was none, or its counters make no sense."""
        found = self._connection.execute("SELECT boot_id, at_ms, monotonic_ms, counters FROM last_run").fetchone()
        if found is None:
            return None
        boot_id, at_ms, monotonic_ms, text = found
        try:
            counters = json.loads(text)
            domains = {uuid: (int(number), dict(stats)) for uuid, (number, stats) in counters["domains"].items()}
            return LastRun(str(boot_id), at_ms / 1000, monotonic_ms / 1000, counters["host"], domains)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def keep_run(self, run: LastRun) -> None:
        """Replace what the last run left. Raises sqlite3.Error."""
        counters = json.dumps({"host": run.host, "domains": run.domains}, separators=(",", ":"))
        self._connection.execute(
            "INSERT OR REPLACE INTO last_run (id, boot_id, at_ms, monotonic_ms, counters) VALUES (1, ?, ?, ?, ?)",
            (run.boot_id, round(run.at * 1000), round(run.monotonic * 1000), counters),
        )

    def _add(self, row: Row, events: t.Iterable[Event]) -> int:
        connection = self._connection
        sample = connection.execute(
            "INSERT INTO samples (at_ms, elapsed_ms, usage, iowait, total_mib, available_mib, swap_used_mib, threads,"
            " watts, cpu_watts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                round(row.at * 1000),
                round(row.elapsed * 1000),
                _scaled(row.usage, 10_000),
                _scaled(row.iowait, 10_000),
                row.total_mib,
                row.available_mib,
                row.swap_used_mib,
                row.threads,
                _scaled(row.watts, 10),
                _scaled(row.cpu_watts, 10),
            ),
        ).lastrowid
        connection.executemany(
            "INSERT INTO domains (uuid, name, last_sample, vcpus, maximum_mib) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (uuid) DO UPDATE SET name = excluded.name, last_sample = excluded.last_sample,"
            " vcpus = excluded.vcpus, maximum_mib = excluded.maximum_mib",
            [(domain.uuid, domain.name, sample, domain.vcpus, domain.maximum_mib) for domain in row.domains],
        )
        connection.executemany(
            "INSERT INTO domain_samples (sample, domain, cores, ready, current_mib, rss_mib, usable_mib, elapsed_ms,"
            " dirty_mib_s) SELECT ?, id, ?, ?, ?, ?, ?, ?, ? FROM domains WHERE uuid = ?",
            [
                (
                    sample,
                    _scaled(domain.cpu_cores, 1000),
                    _scaled(domain.cpu_ready, 1000),
                    domain.current_mib,
                    domain.rss_mib,
                    domain.usable_mib,
                    _scaled(domain.elapsed, 1000),
                    _scaled(domain.dirty_mib_s, 10),
                    domain.uuid,
                )
                for domain in row.domains
            ],
        )
        connection.executemany(
            "INSERT INTO events (sample, at_ms, kind, host) VALUES (?, ?, ?, ?)",
            [(sample, round(event.at * 1000), event.kind, event.host) for event in events],
        )
        self._forget(sample or 0, now=row.at)
        return sample or 0

    def _forget(self, newest: int, *, now: float) -> None:
        connection = self._connection
        # Age is counted in samples: a clock that jumps ahead must not make everything old.
        last = newest - self._keep_samples
        if self._keep_seconds is not None:
            # Where it cannot be counted so, a jump costs a few of the oldest.
            oldest = connection.execute("SELECT id, at_ms FROM samples ORDER BY id LIMIT ?", (_SHED,)).fetchall()
            too_old = (now - self._keep_seconds) * 1000
            last = max([last, *(number for number, at_ms in oldest if at_ms < too_old and number < newest)])
        if _used_bytes(connection) > self._max_bytes:
            first = connection.execute("SELECT min(id) FROM samples").fetchone()[0]
            last = max(last, min(newest - 1, first + (newest - first) // _SHED))
        connection.execute("DELETE FROM samples WHERE id <= ?", (last,))
        connection.execute("DELETE FROM domain_samples WHERE sample <= ?", (last,))
        connection.execute("DELETE FROM domains WHERE last_sample <= ?", (last,))
        # The last of each host tells its state.
        connection.execute(
            "DELETE FROM events WHERE sample <= ? AND id NOT IN (SELECT max(id) FROM events GROUP BY host)", (last,)
        )


def read(path: str, *, since: float) -> t.Iterator[Row]:
    """Yield the samples that end after RV(since), the one stored last first.

    The file is opened read-only. Raises BalanceError where it cannot be read; FileNotFoundError where there is none.
    """
    with _reading(path) as (connection, version):
        more = "threads, watts, cpu_watts" if version > 1 else "NULL, NULL, NULL"
        samples = connection.execute(
            f"SELECT id, at_ms, elapsed_ms, usage, iowait, total_mib, available_mib, swap_used_mib, {more}"
            " FROM samples WHERE at_ms > ? ORDER BY id DESC",
            (round(since * 1000),),
        )
        more = "vcpus, maximum_mib, dirty_mib_s, elapsed_ms" if version > 1 else "NULL, NULL, NULL, NULL"
        for number, at_ms, elapsed_ms, usage, iowait, total, available, swap, threads, watts, cpu_watts in samples:
            # The statement above is open: this one sees the same moment, whatever a writer forgets meanwhile.
            rows = connection.execute(
                f"SELECT uuid, name, cores, ready, current_mib, rss_mib, usable_mib, {more} FROM domain_samples"
                " JOIN domains ON domains.id = domain WHERE sample = ? ORDER BY domain",
                (number,),
            )
            domains = [
                DomainRow(
                    uuid,
                    name,
                    _unscaled(cores, 1000),
                    _unscaled(ready, 1000),
                    current,
                    rss,
                    usable,
                    vcpus,
                    maximum,
                    _unscaled(dirty, 10),
                    _unscaled(elapsed, 1000),
                )
                for uuid, name, cores, ready, current, rss, usable, vcpus, maximum, dirty, elapsed in rows
            ]
            yield Row(
                at=at_ms / 1000,
                elapsed=elapsed_ms / 1000,
                usage=_unscaled(usage, 10_000),
                iowait=_unscaled(iowait, 10_000),
                total_mib=total,
                available_mib=available,
                swap_used_mib=swap,
                domains=domains,
                threads=threads,
                watts=_unscaled(watts, 10),
                cpu_watts=_unscaled(cpu_watts, 10),
            )


def read_events(path: str) -> list[Event]:
    """Return all events in the order in which they were noticed. Raises as read() does."""
    with _reading(path) as (connection, version):
        if version == 1:
            return []
        rows = connection.execute("SELECT at_ms, kind, host FROM events ORDER BY id")
        return [Event(at_ms / 1000, kind, host) for at_ms, kind, host in rows]


@contextlib.contextmanager
def _reading(path: str) -> t.Iterator[tuple[sqlite3.Connection, int]]:
    """Give the file, opened read-only, and its version. Raises BalanceError and FileNotFoundError."""
    try:
        os.stat(path)
    except NotADirectoryError as error:
        raise FileNotFoundError(path) from error
    except PermissionError as error:
        raise BalanceError(f"The history in {path} cannot be read: {error.strerror}.") from error
    try:
        with contextlib.closing(_connect(path, _mode_to_read(path))) as connection:
            version = _version(connection)
            if version == 0 and _is_empty(connection):
                # Somebody begins to write just now, or was killed while beginning.
                raise FileNotFoundError(path)
            if version == 0:
                raise sqlite3.DatabaseError(_FOREIGN)
            yield connection, version
    except (sqlite3.Error, TypeError) as error:  # a text where a number has to be
        raise BalanceError(f"The history in {path} cannot be read: {error}.") from error


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether an error says only that somebody else writes (SQLITE_BUSY; it has no code before Python 3.11)."""
    return isinstance(error, sqlite3.OperationalError) and str(error) == "database is locked"


def _mode_to_read(path: str) -> str:
    """Return the mode to open the file with, which nothing is written to.

    Without a log nobody writes, and who may not make one could not read the file: https://www.sqlite.org/wal.html
    (read-only databases). It cannot change meanwhile but by a writer that starts and writes its first pages back.
    """
    if os.path.exists(f"{path}-wal") or os.access(os.path.dirname(path), os.W_OK, effective_ids=True):
        return "ro"
    return "ro&immutable=1"


def _connect(path: str, mode: str, wait_seconds: float = _BUSY_SECONDS) -> sqlite3.Connection:
    uri = f"file:{urllib.parse.quote(os.path.abspath(path))}?mode={mode}"
    # The agent opens the file in one thread and writes it in another, one at a time. Transactions begin where this
    # module says so, and not by themselves.
    return sqlite3.connect(uri, uri=True, timeout=wait_seconds, check_same_thread=False, isolation_level=None)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> t.Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After some errors, such as a full disk, SQLite has taken everything back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _open_to_write(path: str, wait_seconds: float) -> sqlite3.Connection:
    connection = _connect(path, "rwc", wait_seconds)
    try:
        _upgrade(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        # A power failure may cost the last samples, never the file (https://www.sqlite.org/pragma.html).
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _upgrade(connection: sqlite3.Connection, path: str) -> None:
    """Make the tables of this version where there are none, or older ones, all at once. Raises sqlite3.Error."""
    if _version(connection) == VERSION:
        return
    with _transaction(connection):
        # Somebody else may have done it meanwhile.
        found = _version(connection)
        # A file of somebody else is not touched.
        if found == 0 and not _is_empty(connection):
            raise sqlite3.DatabaseError(_FOREIGN)
        for step in _STEPS[found:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    # Before there is anything in it; the log gets the mode of the file. Those of version 1 could be read by everybody.
    # Not again later: then another mode is the wish of an administrator.
    with contextlib.suppress(OSError):
        os.chmod(path, MODE)


def _is_empty(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0


def _version(connection: sqlite3.Connection) -> int:
    """Return the version of the tables, 0 where there are none of this collection. Raises sqlite3.Error, NewerError."""
    application, version = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version")
    )
    if application != _APPLICATION or version < 1:
        return 0
    if version > VERSION:
        raise NewerError(f"a newer version of the collection made it (version {version}, this one knows {VERSION})")
    return version


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
