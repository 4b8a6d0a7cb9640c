# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
import random
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._history import agent_status
from ansible_collections.virtops.balance.plugins.module_utils._history import store as _store
from ansible_collections.virtops.balance.plugins.module_utils._history.recorded import (
    Span,
    check_options,
    last_span,
    remember,
    resample,
)
from ansible_collections.virtops.balance.plugins.module_utils._history.store import DomainRow, Row

# Four steps of ten seconds up to 1000.
SPAN = Span(end=1000, step=10, steps=4)


def row(at: float, usage: float | None, elapsed: float = 10, **cores: float | None) -> Row:
    domains = [DomainRow(uuid, uuid, used, None if used is None else 0.1) for uuid, used in cores.items()]
    return Row(at=at, elapsed=elapsed, usage=usage, domains=domains)


def host(*rows: Row) -> list[float | None] | None:
    """The column of the host, from samples in the order in which they were stored."""
    history, _domains = resample(reversed(rows), SPAN)
    return None if history is None else history["cpu"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([row(at, at / 1000) for at in (970, 980, 990, 1000)], [0.97, 0.98, 0.99, 1.0], id="aligned"),
        pytest.param([row(980, 0.2), row(1000, 0.4)], [0.2, None, 0.4], id="a gap inside, none before the first"),
        pytest.param([row(970, 0.2), row(980, 0.4)], [0.2, 0.4, None, None], id="it ended"),
        pytest.param([row(960, 0.2), row(1010, 0.4)], None, id="all outside"),
        pytest.param([row(985, 0.2), row(995, 0.4)], [0.2, 0.3, 0.4], id="between two steps, by time"),
        pytest.param([row(1000, 0.5, elapsed=40)], [0.5] * 4, id="one sample over all steps"),
        pytest.param([row(1000, 0.5, elapsed=4)], None, id="less than half of a step is a gap"),
        pytest.param([row(1000, 0.5, elapsed=5)], [0.5], id="half of a step is enough"),
        pytest.param([row(990, None), row(1000, 0.4)], [0.4], id="not known is a gap"),
    ],
)
def test_host(rows: list[Row], expected: list[float | None] | None) -> None:
    assert host(*rows) == expected


def test_form() -> None:
    history, domains = resample([row(1000, 0.5, a=0.7), row(990, 0.25, a=None, b=0.3)], SPAN)
    steps = {"step_seconds": 10, "ends_at": "1970-01-01T00:16:40Z"}
    assert history == {**steps, "cpu": [0.25, 0.5]}
    assert domains == {
        "a": {**steps, "cpu_cores": [0.7], "cpu_ready": [0.1]},
        "b": {
            "step_seconds": 10,
            "ends_at": "1970-01-01T00:16:40Z",
            "cpu_cores": [0.3, None],
            "cpu_ready": [0.1, None],
        },
    }


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(
            [row(980, 0.1), row(990, 0.2), row(1000, 0.3), row(985, 0.7), row(995, 0.9)],
            [0.4, 0.8, 0.9],
            id="set back: what came later counts, and the rest of what was before",
        ),
        pytest.param([row(970, 0.1), row(1000, 0.2)], [0.1, None, None, 0.2], id="set ahead: a gap"),
        pytest.param([row(980, 0.1), row(5000, 0.2), row(990, 0.3)], [0.1, 0.3, None], id="ahead and back again"),
        pytest.param([row(980, 0.1), row(989.9, 0.3), row(1000, 0.5)], [0.102, 0.3, 0.5], id="a little"),
    ],
)
def test_a_clock_that_is_set(rows: list[Row], expected: list[float | None]) -> None:
    found = host(*rows)
    assert found is not None
    assert [None if value is None else round(value, 3) for value in found] == expected


def test_no_moment_counts_twice() -> None:
    """Whatever the clock did: each step is at most as long as it is, so a constant stays what it is."""
    source = random.Random(5)
    for _case in range(300):
        at, rows = 950.0, []
        for _sample in range(20):
            at += source.choice([3, 5, 10, 12, 30, -10, -25, 0.5])
            rows.append(row(at, 0.5, elapsed=source.choice([1, 5, 10, 20])))
        assert set(host(*rows) or []) <= {0.5, None}


def test_the_sum_is_kept() -> None:
    """CPU seconds of samples without a gap are CPU seconds of the steps, wherever the samples fall."""
    source = random.Random(7)
    at, rows, used = 960.0, [], 0.0
    while at < 1000:
        elapsed = min(source.uniform(1, 9), 1000 - at)
        at += elapsed
        usage = source.random()
        used += usage * elapsed
        rows.append(row(at, usage, elapsed=elapsed))
    column = host(*rows)
    assert column is not None
    assert len(column) == 4
    assert sum(value * 10 for value in column if value is not None) == pytest.approx(used, abs=0.01)


@pytest.mark.parametrize(
    ("now", "end"), [(1200.0, 1140), (1204.9, 1140), (1205.0, 1200), (1259.9, 1200)], ids=["0", "4.9", "5", "59.9"]
)
def test_the_last_step_is_complete(now: float, end: int) -> None:
    assert last_span(now, minutes=10, step=60) == Span(end=end, step=60, steps=10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": -1, "step": 60}, "history must be a number from 0 to 10,080, but it is -1."),
        ({"minutes": 10**12, "step": 60}, "history must be a number from 0 to 10,080, but it is 1e+12."),
        ({"minutes": 1, "step": 0}, "history_step must be a number from 1 to 604,800, but it is 0."),
        ({"minutes": 1, "step": 61}, "history_step must not be longer than history, but it is 61 seconds."),
    ],
)
def test_options(options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(BalanceError) as raised:
        check_options(**options)
    assert raised.value.message == message
    check_options(minutes=0, step=60)
    check_options(minutes=10, step=60)


class Kept:
    """A host whose agent has stored two samples, the last one at 1000."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.path = root / _store.PATH
        self.path.parent.mkdir(parents=True)
        store = _store.Store(str(self.path), keep_samples=100, max_bytes=10**6)
        for sample in (row(990, 0.25, a=0.5), row(1000, 0.5, b=0.75)):
            store.add(sample)
        store.close()

    def say(self, status: t.Any) -> None:
        file = self.root / agent_status.PATH
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(status))

    def problem(self, now: float) -> str | None:
        return remember(SPAN, now=now, root=str(self.root)).problem


@pytest.fixture
def kept(tmp_path: pathlib.Path) -> Kept:
    return Kept(tmp_path)


def test_what_is_remembered(kept: Kept) -> None:
    found = remember(SPAN, now=1006, root=str(kept.root))
    assert found.problem is None
    assert found.host is not None
    assert found.host["cpu"] == [0.25, 0.5]
    assert {uuid: history["cpu_cores"] for uuid, history in found.domains.items()} == {"a": [0.5, None], "b": [0.75]}


def test_an_agent_that_stopped(kept: Kept) -> None:
    assert kept.problem(1035) is None
    assert kept.problem(1036) == (
        "Nothing was recorded since 1970-01-01T00:16:40Z: the agent does not run, and runs do not record."
    )


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ({"loops": {"history": {"at": 1, "problem": "The disk is full."}}}, "The disk is full."),
        ({"loops": {"history": {"at": 1, "problem": None}}}, None),
        ({"loops": {"history": 5}}, None),
        ({"loops": {}}, None),
    ],
)
def test_an_agent_that_says_something(kept: Kept, status: t.Any, problem: str | None) -> None:
    kept.say(status)
    assert kept.problem(1006) == problem


def test_nothing_of_that_time(kept: Kept) -> None:
    found = remember(Span(end=9000, step=10, steps=4), now=9006, root=str(kept.root))
    assert found == (None, {}, "Nothing was recorded in the requested time.")


def test_no_agent(tmp_path: pathlib.Path) -> None:
    problem = (
        "This host keeps no history. Let runs record (balance_record), or install the agent with the role "
        "virtops.balance.agent."
    )
    assert remember(SPAN, now=1006, root=str(tmp_path)) == (None, {}, problem)


def test_where_runs_record_a_beginning_is_no_problem(kept: Kept, tmp_path: pathlib.Path) -> None:
    nothing = tmp_path / "new"
    assert remember(SPAN, now=1006, recorded=True, root=str(nothing)) == (None, {}, None)
    # The last run was an hour ago.
    assert remember(SPAN, now=4600, recorded=True, root=str(kept.root)).problem is None
    # Somebody has just begun to write.
    empty = tmp_path / "empty" / _store.PATH
    empty.parent.mkdir(parents=True)
    empty.touch()
    assert remember(SPAN, now=1006, recorded=True, root=str(tmp_path / "empty")) == (None, {}, None)


def test_an_agent_that_does_not_run_where_runs_record(kept: Kept) -> None:
    (kept.root / agent_status.SETTINGS).write_text("{}")
    problem = "The agent does not run. Runs record in its place, the mean of the time between them."
    assert remember(SPAN, now=1006, recorded=True, root=str(kept.root)).problem == problem


def test_a_row_of_a_run_fills_all_the_steps_of_its_time() -> None:
    span = Span(end=600, step=60, steps=10)
    rows = [Row(at=312, elapsed=300, usage=0.2), Row(at=612, elapsed=300, usage=0.6)]
    history, _domains = resample(reversed(rows), span)
    assert history is not None
    # In the step from 300 to 360, 12 seconds belong to the first.
    assert history["cpu"] == [0.2] * 5 + [0.52] + [0.6] * 4


def test_a_domain_that_came_in_between_is_known_for_its_own_time() -> None:
    span = Span(end=600, step=60, steps=10)
    new = DomainRow("new", "new", 0.4, 0.1, elapsed=5)
    since = DomainRow("since", "since", 0.8, 0.0, elapsed=100)
    stays = DomainRow("stays", "stays", 0.5, 0.0)
    _history, domains = resample([Row(at=600, elapsed=300, usage=0.2, domains=[new, since, stays])], span)
    assert {uuid: history["cpu_cores"] for uuid, history in domains.items()} == {
        "since": [0.8, 0.8],
        "stays": [0.5] * 5,
    }


def test_a_history_that_cannot_be_read(kept: Kept) -> None:
    kept.path.write_bytes(b"damaged")
    problem = kept.problem(1006)
    assert problem is not None
    assert problem.endswith("cannot be read: file is not a database.")
