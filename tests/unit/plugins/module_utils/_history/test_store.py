# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The database of the agent, with a real SQLite and real processes that are killed or find the disk full."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._history.store import DomainRow, Row, Store, read

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
    sqlite3.connect(path).close()
    with pytest.raises(BalanceError, match="not made by this version"):
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
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_another_user_reads_it_whether_the_agent_runs_or_not(somebody: pathlib.Path) -> None:
    path = str(somebody / "history.sqlite")
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
