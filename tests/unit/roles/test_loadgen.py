# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The load generator: what it decides, against simulated machines; what its processes do, on a machine whose
utilisation a file says, so that a test takes no CPU that it does not need."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import math
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing as t

import pytest

FILES = pathlib.Path(__file__).resolve().parents[3] / "roles" / "loadgen" / "files"
PROGRAM = FILES / "loadgen.py"


def load_program() -> t.Any:
    spec = importlib.util.spec_from_file_location("loadgen", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses looks its module up there.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


loadgen = load_program()


# --- Settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param({"minimum": 45, "maximum": 55}, [(45, 55, math.inf)], id="range"),
        pytest.param({"minimum": "45", "maximum": "55.5"}, [(45, 55.5, math.inf)], id="text"),
        pytest.param({"target": 50}, [(47, 53, math.inf)], id="target"),
        pytest.param({"target": 50, "tolerance": 5, "minimum": None}, [(45, 55, math.inf)], id="tolerance, null"),
        pytest.param(
            {"schedule": [{"percent": 20, "seconds": 60}, {"percent": 80, "seconds": 30}]},
            [(17, 23, 60), (77, 83, 30)],
            id="schedule",
        ),
    ],
)
def test_phases(data: dict[str, t.Any], expected: list[tuple[float, float, float]]) -> None:
    assert [tuple(phase) for phase in loadgen.parse_settings(data).plan.phases] == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param({}, "Give one of minimum and maximum, target, schedule, trace; given: none.", id="nothing"),
        pytest.param({"target": 50, "minimum": 40, "maximum": 60}, "given: minimum and maximum, target", id="two"),
        pytest.param({"minimum": 40}, "both minimum and maximum", id="half a range"),
        pytest.param({"minimum": 60, "maximum": 60}, "at least 1 above minimum; they are 60 and 60", id="empty range"),
        pytest.param({"minimum": -1, "maximum": 60}, "minimum must be a number from 0 to 100, not -1", id="below 0"),
        pytest.param({"minimum": "a", "maximum": 60}, "not 'a'", id="text"),
        pytest.param({"target": True}, "target must be a number from 0 to 100, not true", id="boolean"),
        pytest.param({"target": float("nan")}, "target must be", id="nan"),
        pytest.param({"target": 50, "initial_workers": 1.5}, "initial_workers must be a whole number", id="1.5"),
        pytest.param({"target": 50, "step": 0}, "step must be a whole number from 1", id="step 0"),
        pytest.param({"target": 50, "sleep_ms": 501}, "sleep_ms must be a number from 0 to 500", id="long sleep"),
        pytest.param({"target": 50, "limit": 0}, "limit must be", id="no limit"),
        pytest.param({"target": 50, "dirty_mib_s": 5}, "dirty_mib_s needs memory_mib", id="dirty nothing"),
        pytest.param({"target": 50, "engine": "burn"}, "engine must be one of python, stress-ng", id="engine"),
        pytest.param({"target": 50, "stressor": "cpu --all 0"}, "stressor cannot be", id="stressor"),
        pytest.param({"target": 50, "port": 0}, "port must be", id="port"),
        pytest.param({"target": 50, "minimun": 4}, "minimun is no setting; there are minimum, maximum", id="typo"),
        pytest.param({"schedule": []}, "schedule must be a list of entries", id="empty schedule"),
        pytest.param({"schedule": [{"percent": 5}]}, "schedule, entry 1: give percent and seconds", id="no seconds"),
        pytest.param(
            {"schedule": [{"percent": 500, "seconds": 5}]}, "schedule, entry 1: percent must be", id="percent 500"
        ),
        pytest.param({"trace": "/nowhere/x.csv"}, "The trace /nowhere/x.csv cannot be read", id="no trace"),
        pytest.param({"trace": "x.csv"}, "trace cannot be 'x.csv'", id="relative trace"),
    ],
)
def test_what_is_wrong_with_settings(data: dict[str, t.Any], message: str) -> None:
    with pytest.raises(loadgen.LoadgenError) as caught:
        loadgen.parse_settings(data)
    assert message in str(caught.value)


def test_stress_ng_must_be_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(loadgen.LoadgenError, match="stress-ng is not installed here"):
        loadgen.parse_settings({"target": 50, "engine": "stress-ng"})


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        pytest.param("24\n34\n 12\n", None, [24, 34, 12], id="planetlab"),
        pytest.param("\n24\n\n34", None, [24, 34], id="empty lines"),
        pytest.param("percent\n1.5\n2\n", None, [1.5, 2], id="one titled column"),
        pytest.param("time,cpu\n0,5\n60,7\n", "cpu", [5, 7], id="named column"),
        pytest.param("0,5\n60,7\n", "2", [5, 7], id="numbered column"),
    ],
)
def test_traces(tmp_path: pathlib.Path, text: str, column: str | None, expected: list[float]) -> None:
    (tmp_path / "trace").write_text(text, encoding="utf-8")
    assert loadgen.read_trace(str(tmp_path / "trace"), column=column) == expected


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        pytest.param("", None, "is empty", id="empty"),
        pytest.param("cpu\n", None, "no values", id="title only"),
        pytest.param("1,2\n", None, "has 2 columns: name one with trace_column", id="which"),
        pytest.param("time,cpu\n1,2\n", "memory", "has no column memory", id="missing"),
        pytest.param("1,2\n", "3", "has no column 3", id="third of two"),
        pytest.param("5\n101\n", None, "row 2: there must be a percentage from 0 to 100", id="101"),
        pytest.param("a,b\n5\n", "b", "row 2", id="short row"),
        pytest.param("5\nnan\n", None, "row 2", id="nan"),
    ],
)
def test_what_is_wrong_with_traces(tmp_path: pathlib.Path, text: str, column: str | None, message: str) -> None:
    (tmp_path / "trace").write_text(text, encoding="utf-8")
    with pytest.raises(loadgen.LoadgenError) as caught:
        loadgen.read_trace(str(tmp_path / "trace"), column=column)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("elapsed", "repeat", "expected"),
    [(0, False, 0), (9.9, False, 0), (10, False, 1), (14.9, False, 1), (15, False, None), (15, True, 0), (26, True, 1)],
)
def test_plan(elapsed: float, repeat: bool, expected: int | None) -> None:
    phases = [loadgen.Phase(1, 2, 10), loadgen.Phase(3, 4, 5)]
    phase = loadgen.Plan(phases, repeat=repeat).at(elapsed)
    assert phase == (None if expected is None else phases[expected])


# --- Measuring ------------------------------------------------------------------------------------------------------


def test_ticks(tmp_path: pathlib.Path) -> None:
    text = "cpu  10 1 5 80 4 2 3 9 7 0\ncpu0 5 0 0 0\ncpu1 5 0 0 0\nintr 1\n"
    (tmp_path / "stat").write_text(text, encoding="ascii")
    # Busy is all but idle and iowait; what was stolen is no time of this machine.
    assert loadgen.read_ticks(str(tmp_path / "stat")) == (21, 105, 2)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param((60, 300, 2), 25.0, id="a quarter"),
        pytest.param((10, 100, 2), None, id="no time"),
        pytest.param((5, 200, 2), 0.0, id="backwards"),
    ],
)
def test_percent_busy(after: tuple[int, int, int], expected: float | None) -> None:
    assert loadgen.percent_busy(loadgen.Ticks(10, 100, 2), loadgen.Ticks(*after)) == expected


# --- Deciding -------------------------------------------------------------------------------------------------------


def simulate(
    phases: t.Sequence[t.Any],
    *,
    others: t.Callable[[int], float],
    effect: float = 1.0,
    noise: float = 0.0,
    limit: float = 100.0,
) -> tuple[list[float], list[float]]:
    """Return the utilisation and the load made in each period, one phase for each."""
    generator = random.Random(1)
    controller = loadgen.Controller()
    busy, own = [], []
    load = 0.0
    for number, phase in enumerate(phases):
        measured = min(100.0, max(0.0, others(number) + effect * load + generator.gauss(0, noise)))
        busy.append(measured)
        own.append(load)
        load = controller.step(measured, phase, limit=limit)
    return busy, own


@pytest.mark.parametrize("bounds", [(20, 30), (45, 55), (70, 80), (5, 11), (94, 100)])
@pytest.mark.parametrize("effect", [0.7, 1.0, 1.3])
@pytest.mark.parametrize("before", [0.0, 4.0])
def test_settles_and_stays(bounds: tuple[float, float], effect: float, before: float) -> None:
    phases = [loadgen.Phase(*bounds, math.inf)] * 75
    busy, _own = simulate(phases, others=lambda _number: before, effect=effect, noise=1.0)
    reachable = min(phases[0].target, before + 100 * effect)
    mean_error = [abs(sum(busy[start : start + 5]) / 5 - reachable) for start in range(10, 70)]
    assert max(mean_error) <= 3


@pytest.mark.parametrize("effect", [0.9, 1.1])
@pytest.mark.parametrize("disturbance", [15.0, 30.0, 60.0])
def test_disturbance_is_answered_within_two_periods(effect: float, disturbance: float) -> None:
    phase = loadgen.Phase(45, 55, math.inf)

    def others(number: int) -> float:
        return 5.0 + (disturbance if 20 <= number < 40 else 0.0)

    busy, own = simulate([phase] * 60, others=others, effect=effect)
    outside = [number for number in range(10, 60) if not phase.minimum <= busy[number] <= phase.maximum]
    if others(20) < phase.maximum:
        assert set(outside) <= {20, 21, 40, 41}
    else:
        # Others alone are above it: all that can be done is to take nothing, and that from the second period on.
        assert max(own[22:40]) == 0.0
        assert set(outside) <= {*range(20, 40), 40, 41}


@pytest.mark.parametrize("limit", [10.0, 40.0])
def test_never_beyond_the_limit(limit: float) -> None:
    _busy, own = simulate([loadgen.Phase(70, 80, math.inf)] * 30, others=lambda _number: 0.0, limit=limit)
    assert max(own) == limit


def test_nothing_piles_up_while_the_target_is_out_of_reach() -> None:
    phase = loadgen.Phase(70, 80, math.inf)
    # The machine gives nothing for 20 periods (a quota for example), then everything.
    busy, _own = simulate([phase] * 40, others=lambda number: 0.0 if number < 20 else 30.0, limit=60.0)
    assert all(value <= phase.maximum for value in busy[22:])


def test_new_target_is_reached_in_the_next_period() -> None:
    phases = [loadgen.Phase(17, 23, 10)] * 10 + [loadgen.Phase(77, 83, 10)] * 10 + [loadgen.Phase(37, 43, 10)] * 5
    busy, _own = simulate(phases, others=lambda _number: 3.0)
    assert [round(busy[number]) for number in (9, 10, 11, 19, 20, 21)] == [20, 20, 80, 80, 80, 40]


@pytest.mark.parametrize(
    ("now", "cores", "data", "expected"),
    [
        pytest.param(2, 1.0, {}, 2, id="enough"),
        pytest.param(2, 1.9, {}, 3, id="a worker sleeps a tenth of its time"),
        pytest.param(2, 1.9, {"sleep_ms": 50}, 4, id="long sleeps need more"),
        pytest.param(2, 1.9, {"step": 4}, 6, id="in steps"),
        pytest.param(2, 16.0, {}, 12, id="not beyond the most"),
        pytest.param(8, 3.0, {}, 6, id="fewer, with some to spare"),
        pytest.param(8, 3.0, {"step": 4}, 8, id="no whole step fewer"),
        pytest.param(8, 0.0, {}, 2, id="not below the least"),
    ],
)
def test_workers(now: int, cores: float, data: dict[str, t.Any], expected: int) -> None:
    settings = loadgen.parse_settings({"target": 50, **data})
    assert loadgen.count_workers(now, cores, settings, least=2, most=12) == expected


@pytest.mark.parametrize(
    ("recent", "own", "expected"),
    [
        pytest.param([44, 56, 50], 40, "steady", id="on average"),
        pytest.param([30, 40], 20, "settling", id="below"),
        pytest.param([30, 40], 60, "limit_reached", id="at the limit"),
        pytest.param([70, 80], 20, "settling", id="above"),
        pytest.param([70, 80], 0, "others_above", id="others"),
    ],
)
def test_states(recent: list[float], own: float, expected: str) -> None:
    assert loadgen.describe_state(recent, loadgen.Phase(45, 55, math.inf), own=own, limit=60) == expected


# --- Status over HTTP -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "200"),
        (b"GET /?x=1 HTTP/1.0\r\n\r\n", "200"),
        (b"HEAD / HTTP/1.1\r\n\r\n", "200"),
        (b"POST / HTTP/1.1\r\n\r\n", "405"),
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", "404"),
        (b"GET / HTTP/2\r\n\r\n", "400"),
        (b"\x16\x03\x01\r\n\r\n", "400"),
        (b"", "400"),
    ],
)
def test_answers(tmp_path: pathlib.Path, head: bytes, code: str) -> None:
    status = tmp_path / "status"
    status.write_text('{"old": 1}\n{"new": 2}\n{"half', encoding="utf-8")
    line, body = loadgen.respond(head, str(status))
    assert line.split()[0] == code
    assert json.loads(body) == {"new": 2} or code != "200"


def test_no_status_yet(tmp_path: pathlib.Path) -> None:
    assert loadgen.respond(b"GET / HTTP/1.1\r\n\r\n", str(tmp_path / "none"))[0] == "503 Service Unavailable"


# --- Workers --------------------------------------------------------------------------------------------------------


def test_nobody_works_when_the_parent_has_not_decided_for_two_periods() -> None:
    shared = loadgen.Shared()
    shared.beat()
    assert shared.alive()
    shared[loadgen.BEAT] = time.monotonic_ns() - int(2.1 * loadgen.PERIOD * 1e9)
    assert not shared.alive()


# --- Processes ------------------------------------------------------------------------------------------------------


class Machine:
    """A load generator on a machine whose /proc/stat is a file."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.settings, self.stat, self.runtime = directory / "settings", directory / "stat", directory / "runtime"
        self.status = self.runtime / "status.jsonl"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.be_busy(100, 0)

    def be_busy(self, busy: int, idle: int) -> None:
        # Renamed into its place, because a file that is being written may be read half.
        new = self.stat.with_suffix(".new")
        new.write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0\ncpu0 {busy} 0 0 {idle} 0 0 0 0\n", encoding="ascii")
        new.replace(self.stat)

    def tell(self, **settings: t.Any) -> None:
        new = self.settings.with_suffix(".new")
        new.write_text(json.dumps({"port": self.port, **settings}), encoding="utf-8")
        new.replace(self.settings)

    def call(self, command: str) -> subprocess.CompletedProcess[str]:
        arguments = ["--settings", str(self.settings), "--runtime", str(self.runtime), "--stat", str(self.stat)]
        return subprocess.run(
            [sys.executable, str(PROGRAM), command, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def start(self) -> int:
        done = self.call("start")
        assert done.stdout == "changed\n", done.stderr
        return int((self.runtime / "lock").read_text(encoding="ascii"))

    def wait_for(self, condition: t.Callable[[dict[str, t.Any]], bool]) -> dict[str, t.Any]:
        """Let time pass on the machine, all of it busy, until a line of the status is as wanted."""
        ticks = 100

        def found() -> dict[str, t.Any] | None:
            nonlocal ticks
            ticks += 100
            self.be_busy(ticks, 0)
            text = loadgen.last_line(str(self.status))
            status = json.loads(text) if text else None
            return status if status and condition(status) else None

        return wait_until(found)


T = t.TypeVar("T")


def wait_until(condition: t.Callable[[], T | None]) -> T:
    deadline = time.monotonic() + 30
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "it did not happen within 30 seconds"
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def state_of(pid: int) -> str:
    """Return the letter that the kernel has for it, Z for one that is gone as well."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def runs(pid: int) -> bool:
    return state_of(pid) != "Z"


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> t.Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.call("stop")


def test_a_life(machine: Machine) -> None:
    machine.tell(minimum=20, maximum=30, initial_workers=3)
    pid = machine.start()
    status = machine.wait_for(lambda status: status["workers"] == 3)
    assert status["settings"] == hashlib.sha1(machine.settings.read_bytes()).hexdigest()
    assert (status["pid"], status["minimum"], status["maximum"], status["problem"]) == (pid, 20, 30, None)
    children = children_of(pid)
    assert len(children) == 4  # and one for HTTP

    # A second one says so.
    assert machine.call("start").stdout == "unchanged\n"
    second = machine.call("run")
    assert second.returncode == 1
    assert second.stderr == f"loadgen: A load generator runs here already (process {pid}).\n"

    # New bounds reach the one that runs.
    machine.tell(target=60, initial_workers=3)
    status = machine.wait_for(lambda status: status["minimum"] == 57)
    assert (status["pid"], status["maximum"]) == (pid, 63)

    # Bounds that cannot be used change nothing and are told about.
    machine.tell(target=600)
    status = machine.wait_for(lambda status: status["problem"] is not None)
    assert status["problem"].startswith("The new settings are not used: target must be a number from 0 to 100")
    assert status["minimum"] == 57

    # A worker that was killed is replaced.
    os.kill(children[1], signal.SIGKILL)
    wait_until(lambda: not runs(children[1]))
    machine.wait_for(lambda status: status["problem"] == "A worker ended by itself and was replaced.")
    assert len(wait_until(lambda: children_of(pid) if len(children_of(pid)) == 4 else None)) == 4

    # SIGTERM ends all of them.
    children = children_of(pid)
    assert json.loads(machine.call("show").stdout)["pid"] == pid
    assert machine.call("stop").stdout == "changed\n"
    assert wait_until(lambda: not [child for child in [pid, *children] if runs(child)])
    assert machine.call("stop").stdout == "unchanged\n"
    assert json.loads(machine.call("show").stdout) == {"state": "stopped"}


def test_crash_of_the_parent_leaves_nobody_behind(machine: Machine) -> None:
    machine.tell(minimum=20, maximum=30, memory_mib=4, dirty_mib_s=10)
    pid = machine.start()
    machine.wait_for(lambda status: status["dirtied_mib"] > 0)
    children = children_of(pid)
    assert len(children) == 3
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not [child for child in children if runs(child)])
    # And with the last of them the lock is free.
    assert machine.start() != pid


@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGKILL])
def test_stress_ng_stands_still_and_ends_with_its_worker(
    machine: Machine, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, way: signal.Signals
) -> None:
    (tmp_path / "stress-ng").write_text(
        '#!/bin/sh\necho "$@" >"${0%/*}/arguments"\nwhile :; do :; done\n', encoding="utf-8"
    )
    (tmp_path / "stress-ng").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    machine.tell(target=20, engine="stress-ng", stressor="matrix", initial_workers=1, address="")
    pid = machine.start()
    # The machine is busy, so nothing is to be done.
    machine.wait_for(lambda status: status["workers"] == 1)
    stressor = wait_until(lambda: [child for worker in children_of(pid) for child in children_of(worker)])[0]
    assert wait_until(lambda: state_of(stressor) == "T")
    # It is let run when there is something to do.
    machine.be_busy(10**6, 10**9)
    wait_until(lambda: (tmp_path / "arguments").exists() and (tmp_path / "arguments").read_text(encoding="utf-8"))
    assert (tmp_path / "arguments").read_text(encoding="utf-8") == "--matrix 1 --timeout 0\n"
    os.kill(pid, way)
    assert wait_until(lambda: not runs(stressor))


def test_time_limit(machine: Machine) -> None:
    machine.tell(target=20, seconds=2.5)
    pid = machine.start()
    machine.wait_for(lambda status: status["seconds_left"] < 2)
    assert wait_until(lambda: not runs(pid))


def test_memory_that_is_not_there(machine: Machine) -> None:
    machine.tell(target=20, memory_mib=1 << 24)
    failed = machine.call("start")
    assert failed.returncode == 1
    assert failed.stderr.startswith("loadgen: memory_mib is 16777216, but only ")


def test_port_that_is_taken(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        machine.port = taken.getsockname()[1]
        machine.tell(target=20)
        failed = machine.call("start")
    assert failed.stderr.startswith(f"loadgen: The status cannot be offered on 127.0.0.1 port {machine.port}: ")


def test_http(machine: Machine) -> None:
    machine.tell(target=20)
    machine.start()
    status = machine.wait_for(lambda _status: True)

    def ask(text: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", machine.port), timeout=20) as client:
            client.sendall(text)
            with contextlib.suppress(ConnectionResetError):
                return b"".join(iter(lambda: client.recv(4096), b""))
        return b""

    slow = socket.create_connection(("127.0.0.1", machine.port), timeout=20)
    slow.sendall(b"GET / HT")
    head, _empty, body = ask(b"GET / HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(body)["pid"] == status["pid"]
    assert ask(b"DELETE / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 405 ")
    assert ask(b"GET /" + b"x" * 20000).startswith(b"HTTP/1.1 400 ")
    # The slow one is dropped without a word.
    with slow, contextlib.suppress(ConnectionResetError):
        assert slow.recv(1) == b""


# --- The reduced version for busybox --------------------------------------------------------------------------------


class SmallMachine:
    """The reduced load generator, with busybox and nothing else."""

    def __init__(self, directory: pathlib.Path) -> None:
        busybox = shutil.which("busybox")
        assert busybox, "busybox is not installed"
        self.tools, self.directory = directory / "tools", directory / "loadgen"
        self.tools.mkdir()
        self.directory.mkdir()
        for name in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
            (self.tools / name).symlink_to(busybox)

    def tell(self, text: str) -> None:
        (self.directory / "new").write_text(text, encoding="ascii")
        (self.directory / "new").replace(self.directory / "settings")

    def call(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.tools / "sh", FILES / "loadgen.sh", command, self.directory],
            env={"PATH": str(self.tools)},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def wait_for(self, condition: t.Callable[[dict[str, t.Any]], bool]) -> dict[str, t.Any]:
        def found() -> dict[str, t.Any] | None:
            status = json.loads(self.call("show").stdout)
            return status if "pid" in status and condition(status) else None

        return wait_until(found)


@pytest.fixture
def small_machine(tmp_path: pathlib.Path) -> t.Iterator[SmallMachine]:
    machine = SmallMachine(tmp_path)
    yield machine
    machine.call("stop")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Give both minimum and maximum."),
        ("minimum=5\nmaximum=5\n", "minimum must be below maximum, and maximum at most 100."),
        ("minimum=5\nmaximum=101\n", "minimum must be below maximum, and maximum at most 100."),
        ("minimum=5\nmaximum=$(reboot)\n", "maximum must be a whole number, not '$(reboot)'."),
        ("minimum=5\nmaximum=\n", "maximum must be a whole number, not ''."),
        ("minimum=5\nmaximum=8\nstep=0\n", "step must be from 1 to 1024."),
        ("minimum=5\nmaximum=8\nsleep_ms=501\n", "sleep_ms must be at most 500."),
        ("minimum=5\nmaximum=8\nlimit=0\n", "limit must be from 1 to 100."),
        ("PATH=5\n", "PATH is no setting here; there are minimum,"),
    ],
)
def test_what_is_wrong_with_settings_of_the_reduced_version(
    small_machine: SmallMachine, text: str, message: str
) -> None:
    small_machine.tell(text)
    done = small_machine.call("check")
    assert done.returncode == 1
    assert done.stderr.startswith(f"loadgen: {message}")


def test_a_life_of_the_reduced_version(small_machine: SmallMachine) -> None:
    # A limit of 1 % takes nothing from whoever else uses the machine.
    small_machine.tell("minimum=08\nmaximum=20\nlimit=1\ninitial_workers=2\n")
    assert small_machine.call("start").stdout == "changed\n"
    assert small_machine.call("start").stdout == "unchanged\n"
    status = small_machine.wait_for(lambda status: status["workers"] == 2)
    assert (status["minimum"], status["maximum"], status["problem"]) == (8, 20, None)
    pid = status["pid"]

    small_machine.tell("minimum=30\nmaximum=40\nlimit=1\ninitial_workers=2\n")
    assert small_machine.wait_for(lambda status: status["minimum"] == 30)["pid"] == pid
    small_machine.tell('minimum="}\n')
    status = small_machine.wait_for(lambda status: status["problem"] is not None)
    assert status["problem"] == "The new settings are not used: minimum must be a whole number, not ."

    # A crash leaves nobody behind, and the next one can start.
    children = children_of(pid)
    assert len(children) >= 2
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not [child for child in children if runs(child)])
    assert json.loads(small_machine.call("show").stdout) == {"state": "stopped"}
    small_machine.tell("minimum=8\nmaximum=20\nlimit=1\n")
    assert small_machine.call("start").stdout == "changed\n"
    pid = small_machine.wait_for(lambda status: status["workers"] > 0)["pid"]

    children = children_of(pid)
    assert small_machine.call("stop").stdout == "changed\n"
    assert wait_until(lambda: not [child for child in [pid, *children] if runs(child)])
    assert small_machine.call("stop").stdout == "unchanged\n"
