# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The database of the agent, with a real SQLite and real processes that are killed or find the disk full."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import pathlib
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._history.store import (
    DomainRow,
    Event,
    LastRun,
    NewerError,
    Row,
    Store,
    is_busy,
    read,
    read_events,
)

MIB = 1024 * 1024
WEB = DomainRow("uuid-web", "web-1", 0.631, 0.12, 4096, 3100, 1200)
BARE = DomainRow("uuid-bare", "bare")


def row(at: float, *domains: DomainRow, elapsed: float = 10, **more: t.Any) -> Row:
    return Row(at=at, elapsed=elapsed, domains=list(domains), **more)


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "history.sqlite")


@contextlib.contextmanager
def store(path: str, *, keep_samples: int = 1000, max_bytes: int = 100 * MIB) -> t.Iterator[Store]:
    opened = Store(path, keep_samples=keep_samples, max_bytes=max_bytes)
    try:
        yield opened
    finally:
        opened.close()


def count(path: str, table: str) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return found


def integrity(path: str) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        answer: str = connection.execute("PRAGMA integrity_check").fetchone()[0]
        return answer


def test_what_is_stored_is_read_newest_first(path: str) -> None:
    first = row(100.5, WEB, BARE, usage=0.4123, iowait=0.0, total_mib=3072, available_mib=2000, swap_used_mib=0)
    second = row(110.5, WEB._replace(name="renamed"), usage=None)
    with store(path) as opened:
        opened.add(first)
        opened.add(second)
        assert list(read(path, since=0)) == [
            second,
            first._replace(domains=[WEB._replace(name="renamed"), BARE]),
        ]
        assert [found.at for found in read(path, since=100.5)] == [110.5]


def test_reading_changes_nothing_and_needs_no_agent(path: str) -> None:
    with store(path) as opened:
        opened.add(row(1, WEB))
    before = pathlib.Path(path).read_bytes()
    assert len(list(read(path, since=0))) == 1
    assert pathlib.Path(path).read_bytes() == before


def test_a_reader_sees_one_moment(path: str) -> None:
    with store(path, keep_samples=3) as opened:
        for at in range(3):
            opened.add(row(at + 1, WEB))
        reader = read(path, since=0)
        next(reader)
        # Meanwhile the agent forgets what the reader has not read yet.
        for at in range(3):
            opened.add(row(at + 11, WEB))
        assert [found.at for found in reader] == [2, 1]


def test_age_is_counted_in_samples(path: str) -> None:
    with store(path, keep_samples=5) as opened:
        for number in range(20):
            # A clock that jumps a year ahead and back makes nothing old.
            opened.add(row(1000 + number + (31_536_000 if number in (16, 17) else 0), WEB))
        assert [round(found.at) % 31_536_000 for found in read(path, since=0)] == [1019, 1018, 1017, 1016, 1015]
    assert count(path, "domain_samples") == 5


def test_a_domain_that_is_gone_is_forgotten_with_its_last_sample(path: str) -> None:
    with store(path, keep_samples=3) as opened:
        opened.add(row(1, WEB, BARE))
        for at in range(2, 4):
            opened.add(row(at, BARE))
        assert count(path, "domains") == 2
        opened.add(row(4, BARE))
        assert count(path, "domains") == 1
        # It may come back.
        opened.add(row(5, WEB))
        assert next(read(path, since=0)).domains == [WEB]


def test_the_size_is_limited(path: str) -> None:
    domains = [DomainRow(f"uuid-{number}", f"guest-{number}", 0.5, 0.1, 1, 2, 3) for number in range(100)]
    limit = 256 * 1024
    with store(path, max_bytes=limit) as opened:
        for at in range(300):
            opened.add(row(at + 1, *domains))
        kept = [found.at for found in read(path, since=0)]
    assert os.path.getsize(path) <= limit + 64 * 1024
    # The newest, without a hole.
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == 300
    assert len(kept) == kept[0] - kept[-1] + 1
    assert len(kept) > 30


def test_even_the_smallest_limit_keeps_the_newest(path: str) -> None:
    with store(path, max_bytes=0) as opened:
        for at in (1, 2, 3):
            opened.add(row(at, WEB))
        assert [found.at for found in read(path, since=0)] == [3]


def test_a_sample_that_cannot_be_stored_leaves_no_part(path: str) -> None:
    with store(path) as opened:
        opened.add(row(1, WEB))
        # The sample itself is written before the second domain of the same name breaks the table's key.
        with pytest.raises(sqlite3.IntegrityError):
            opened.add(row(2, WEB, WEB))
        opened.add(row(3, WEB))
        assert [found.at for found in read(path, since=0)] == [3, 1]


# A writer as the agent is one: it says which sample is in the database, and is killed at any moment.
WRITER = """
    import resource, sqlite3, sys
    from ansible_collections.virtops.balance.plugins.module_utils._history.store import DomainRow, Row, Store

    path, limit = sys.argv[1], int(sys.argv[2])
    store = Store(path, keep_samples=10**6 if limit else 300, max_bytes=10**9)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    domains = [DomainRow(f"uuid-{number}", f"guest-{number}", 0.5, 0.1, 1, 2, 3) for number in range(40)]
    while True:
        try:
            print(store.add(Row(1.0, 1.0, domains=domains)), flush=True)
        except sqlite3.OperationalError as error:
            print(f"full: {error}", flush=True)
"""


@contextlib.contextmanager
def writer(path: str, *, limit: int = 0) -> t.Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", textwrap.dedent(WRITER), path, str(limit)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def test_killed_at_any_moment(path: str) -> None:
    last = 0
    for round_number in range(12):
        with writer(path) as process:
            assert process.stdout is not None
            # Another number of samples each time; the kill falls somewhere into one of those that follow.
            for line in process.stdout:
                last = int(line)
                if last % 31 == round_number * 2:
                    break
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split()
        last = int(rest[-1]) if rest else last
        assert integrity(path) == "ok"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            newest = connection.execute("SELECT max(id) FROM samples").fetchone()[0]
            per_sample = set(connection.execute("SELECT count(*) FROM domain_samples GROUP BY sample"))
        # What was said to be stored is stored, and nothing is stored by halves.
        assert newest >= last
        assert per_sample == {(40,)}
        last = newest


def test_a_full_disk_costs_no_old_sample(path: str) -> None:
    with store(path) as opened:
        opened.add(row(1, WEB, usage=0.5))
    # No file of the process may grow beyond this: what the kernel says of a quota.
    limit = 300_000
    with writer(path, limit=limit) as process:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line)
            # Now and then it is the log that is full, which is over with the next sample.
            if len(said) > 5 and all(text.startswith("full") for text in said[-5:]):
                break
        assert process.poll() is None
    stored = [int(text) for text in said if text.strip().isdigit()]
    assert integrity(path) == "ok"
    # It did not give up before the database itself was as large as it may be.
    assert os.path.getsize(path) > limit * 0.9
    assert len(stored) > 100
    found = list(read(path, since=0))
    assert found[-1] == row(1, WEB, usage=0.5)
    assert len(found) == len(stored) + 1
    # There is room again.
    with store(path) as opened:
        opened.add(row(2, WEB))
    assert next(read(path, since=0)).at == 2


def test_sqlite_says_that_the_disk_is_full(path: str) -> None:
    with store(path) as opened:
        opened.add(row(1, WEB))
        opened._connection.execute("PRAGMA max_page_count = 9")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            _fill(opened)
        kept = len(list(read(path, since=0)))
        opened._connection.execute("PRAGMA max_page_count = 1000")
        opened.add(row(9999, WEB))
        assert len(list(read(path, since=0))) == kept + 1


def _fill(opened: Store) -> None:
    for at in range(2, 1000):
        opened.add(row(at, WEB, BARE))


@pytest.mark.parametrize("content", [b"no database at all " * 400, "other version"])
def test_an_unusable_file_is_set_aside(path: str, content: bytes | str) -> None:
    if isinstance(content, bytes):
        pathlib.Path(path).write_bytes(content)
    else:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE other (a)")
    before = pathlib.Path(path).read_bytes()
    with store(path) as opened:
        assert opened.set_aside == path + ".unusable"
        assert pathlib.Path(opened.set_aside).read_bytes() == before
        opened.add(row(1, WEB))
    assert len(list(read(path, since=0))) == 1


def test_reading_says_what_is_wrong(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        next(read(path, since=0))
    pathlib.Path(path).write_bytes(b"no database")
    with pytest.raises(BalanceError, match="cannot be read: file is not a database"):
        next(read(path, since=0))
    pathlib.Path(path).unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (a)")
    with pytest.raises(BalanceError, match="cannot be read: it is not a history of this collection"):
        next(read(path, since=0))
    pathlib.Path(path).unlink()
    with store(path) as opened:
        opened.add(row(1, WEB))
        opened._connection.execute("UPDATE samples SET elapsed_ms = 'x'")
    with pytest.raises(BalanceError, match="cannot be read: unsupported operand"):
        next(read(path, since=0))


@pytest.fixture
def somebody() -> t.Iterator[pathlib.Path]:
    """A directory that belongs to another user than the one of the test."""
    place = pathlib.Path(tempfile.mkdtemp())
    yield place
    place.chmod(0o755)
    shutil.rmtree(place)


@contextlib.contextmanager
def not_root(place: pathlib.Path, mode: int) -> t.Iterator[None]:
    place.chmod(mode)
    if os.geteuid() != 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def test_another_user_reads_it_where_the_administrator_wants_that(somebody: pathlib.Path) -> None:
    path = str(somebody / "history.sqlite")
    with store(path):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    with not_root(somebody, 0o555), pytest.raises(BalanceError, match="cannot be read"):
        next(read(path, since=0))
    os.chmod(path, 0o644)
    with store(path) as opened:
        opened.add(row(1, WEB))
        with not_root(somebody, 0o555):
            assert len(list(read(path, since=0))) == 1
    assert not os.path.exists(f"{path}-wal")
    with not_root(somebody, 0o555):
        assert len(list(read(path, since=0))) == 1


def test_what_another_user_must_not_see_is_no_missing_history(somebody: pathlib.Path) -> None:
    path = str(somebody / "history.sqlite")
    with store(path) as opened:
        opened.add(row(1, WEB))
    with not_root(somebody, 0o000), pytest.raises(BalanceError, match="cannot be read: Permission denied"):
        next(read(path, since=0))


def test_names_are_data(path: str) -> None:
    strange = WEB._replace(name="'; DROP TABLE samples; -- \N{SNOWMAN}", uuid="a'b")
    odd_path = path.replace("history", "odd ?#%20 name")
    with store(odd_path) as opened:
        opened.add(row(1, strange))
    assert next(read(odd_path, since=0)).domains == [strange]


# The tables as version 1 made them, with two samples of an agent.
VERSION_1 = """
PRAGMA application_id = 1986163249;
PRAGMA user_version = 1;
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
INSERT INTO samples VALUES (1, 100500, 10000, 4123, 0, 3072, 2000, 0), (2, 110500, 10000, NULL, NULL, 3072, NULL, 1);
INSERT INTO domains VALUES (1, 'uuid-web', 'web-1', 2), (2, 'uuid-bare', 'bare', 1);
INSERT INTO domain_samples VALUES (1, 1, 631, 120, 4096, 3100, 1200), (1, 2, NULL, NULL, NULL, NULL, NULL),
    (2, 1, 500, NULL, 4096, 3100, NULL);
"""
OLD_ROWS = [
    Row(110.5, 10, None, None, 3072, None, 1, [DomainRow("uuid-web", "web-1", 0.5, None, 4096, 3100, None)]),
    Row(100.5, 10, 0.4123, 0.0, 3072, 2000, 0, [WEB, BARE]),
]


@pytest.fixture
def old(path: str) -> str:
    """A store that version 1 has left, in the mode in which everybody could read it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
        connection.execute("PRAGMA journal_mode = WAL")
    os.chmod(path, 0o644)
    return path


def tables(path: str) -> dict[str, list[tuple[str, str]]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: [(column[1], column[2]) for column in connection.execute(f"PRAGMA table_info({name})")]
            for name in names
        }


def version(path: str) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return found


def test_version_1_is_read_as_it_is(old: str) -> None:
    assert list(read(old, since=0)) == OLD_ROWS
    assert read_events(old) == []
    assert version(old) == 1


def test_version_1_is_upgraded_by_whoever_writes(old: str, tmp_path: pathlib.Path) -> None:
    new = Row(120, 9.5, usage=0.5, domains=[WEB._replace(vcpus=2, dirty_mib_s=1.5, elapsed=5)], threads=4, watts=213)
    with store(old) as opened:
        assert opened.set_aside is None
        opened.add(new, [Event(119, "drained")])
    vcpus = [
        row._replace(domains=[one._replace(vcpus=2 if one.uuid == "uuid-web" else None) for one in row.domains])
        for row in OLD_ROWS
    ]
    assert list(read(old, since=0)) == [new, *vcpus]
    assert read_events(old) == [Event(119, "drained")]
    assert stat.S_IMODE(os.stat(old).st_mode) == 0o640
    with store(str(tmp_path / "fresh.sqlite")):
        pass
    assert tables(old) == tables(str(tmp_path / "fresh.sqlite"))


# Killed in the middle of the upgrade, with half of the tables altered.
UPGRADER = """
    import os, signal, sqlite3, sys
    from ansible_collections.virtops.balance.plugins.module_utils._history import store

    class Killed(sqlite3.Connection):
        def execute(self, sql, *arguments):
            if "CREATE TABLE events" in sql:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().execute(sql, *arguments)

    connect = sqlite3.connect
    sqlite3.connect = lambda *arguments, **options: connect(*arguments, factory=Killed, **options)
    store.Store(sys.argv[1], keep_samples=10, max_bytes=10**9)
"""


def test_an_upgrade_that_is_killed_has_not_begun(old: str) -> None:
    done = run(UPGRADER, old)
    assert done.returncode == -signal.SIGKILL
    assert list(read(old, since=0)) == OLD_ROWS
    assert version(old) == 1
    assert len(tables(old)["samples"]) == 8
    with store(old) as opened:
        opened.add(row(120, WEB))
    assert len(list(read(old, since=0))) == 3


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", textwrap.dedent(program), *arguments]
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False)


ADDER = """
    import sys
    from ansible_collections.virtops.balance.plugins.module_utils._history.store import DomainRow, Row, Store

    for number in range(20):
        store = Store(sys.argv[1], keep_samples=1000, max_bytes=10**9)
        store.add(Row(1000.0 + number, 1.0, domains=[DomainRow("uuid", "guest", 0.5)]))
        store.close()
"""


@pytest.mark.parametrize("begin", ["nothing", "version 1"])
def test_two_who_begin_at_once_lose_nothing(path: str, begin: str, request: pytest.FixtureRequest) -> None:
    if begin == "version 1":
        request.getfixturevalue("old")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for done in pool.map(lambda _number: run(ADDER, path), range(3)):
            assert done.returncode == 0, done.stderr
    assert integrity(path) == "ok"
    assert version(path) == 2
    assert len(list(read(path, since=500))) == 60


def test_who_does_not_wait_is_told_that_another_one_writes(path: str) -> None:
    with store(path) as first, first.alone():
        hasty = Store(path, keep_samples=10, max_bytes=MIB, wait_seconds=0)
        with contextlib.closing(hasty), pytest.raises(sqlite3.OperationalError) as raised:
            hasty.add(row(1, WEB))
        assert is_busy(raised.value)
        assert first.add(row(2, WEB)) == 1
    assert [found.at for found in read(path, since=0)] == [2]


def test_an_old_agent_that_runs_goes_on_in_the_new_store(old: str) -> None:
    with contextlib.closing(sqlite3.connect(old)) as agent:
        assert agent.execute("SELECT count(*) FROM samples").fetchone() == (2,)
        with store(old) as opened:
            opened.add(row(120, WEB))
        # These are the statements of version 1.
        with agent:
            agent.execute(
                "INSERT INTO samples (at_ms, elapsed_ms, usage, iowait, total_mib, available_mib, swap_used_mib)"
                " VALUES (130000, 10000, 5000, NULL, NULL, NULL, NULL)"
            )
            agent.execute(
                "INSERT INTO domains (uuid, name, last_sample) VALUES ('uuid-web', 'web-1', 4)"
                " ON CONFLICT (uuid) DO UPDATE SET name = excluded.name, last_sample = excluded.last_sample"
            )
            agent.execute(
                "INSERT INTO domain_samples (sample, domain, cores, ready, current_mib, rss_mib, usable_mib)"
                " SELECT 4, id, 631, 120, 4096, 3100, 1200 FROM domains WHERE uuid = 'uuid-web'"
            )
    assert list(read(old, since=115)) == [row(130, WEB, usage=0.5), row(120, WEB)]


def test_a_newer_store_is_left_alone(path: str) -> None:
    with store(path) as opened:
        opened.add(row(1, WEB))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 3")
    before = pathlib.Path(path).read_bytes()
    with pytest.raises(NewerError, match=r"a newer version of the collection made it \(version 3, this one knows 2\)"):
        Store(path, keep_samples=10, max_bytes=MIB)
    assert pathlib.Path(path).read_bytes() == before
    assert not os.path.exists(f"{path}.unusable")
    with pytest.raises(BalanceError, match="cannot be read: a newer version of the collection made it"):
        next(read(path, since=0))


def test_only_root_and_its_group_read_it(path: str) -> None:
    before = os.umask(0)
    try:
        with store(path) as opened:
            opened.add(row(1, WEB))
            modes = {name: stat.S_IMODE(os.stat(path + name).st_mode) for name in ("", "-wal", "-shm")}
    finally:
        os.umask(before)
    assert modes == {"": 0o640, "-wal": 0o640, "-shm": 0o640}


def test_the_last_run(path: str) -> None:
    domains = {"uuid-web": (7, {"cpu.time": 10**18, "vcpu.0.time": 5})}
    with store(path) as opened:
        assert opened.last_run() is None
        opened.keep_run(LastRun("boot", 1_769_860_800.25, 99.5, {"user": 1}, domains))
        opened.keep_run(LastRun("boot", 1_769_861_100.25, 399.5, None, domains))
        assert opened.last_run() == LastRun("boot", 1_769_861_100.25, 399.5, None, domains)
        opened._connection.execute("UPDATE last_run SET counters = '{\"host\": 5'")
        assert opened.last_run() is None


def test_age_in_seconds_where_samples_come_as_they_like(path: str) -> None:
    with contextlib.closing(Store(path, keep_samples=1000, max_bytes=100 * MIB, keep_seconds=3600)) as opened:
        for at in range(0, 7200, 300):
            opened.add(row(at + 1, WEB, elapsed=300))
        assert [found.at for found in read(path, since=0)] == [float(at) + 1 for at in range(6900, 3000, -300)]
        # A clock that jumps a year ahead and back costs a few of the oldest.
        opened.add(row(31_536_000, WEB))
        opened.add(row(7201, WEB))
        kept = [found.at for found in read(path, since=0)]
    assert kept == [7201, 31_536_000, 6901, 6601, 6301]


def test_events_age_with_their_samples_but_the_last_of_each_host(path: str) -> None:
    with store(path, keep_samples=3) as opened:
        opened.add(row(1), [Event(0.5, "drained"), Event(0.25, "asleep", "kvm3")])
        opened.add(row(2), [Event(2, "undrained")])
        assert opened.states() == {None: "undrained", "kvm3": "asleep"}
        for at in range(3, 9):
            opened.add(row(at))
        assert opened.states() == {None: "undrained", "kvm3": "asleep"}
    assert read_events(path) == [Event(0.25, "asleep", "kvm3"), Event(2, "undrained")]
