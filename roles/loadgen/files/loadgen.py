# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Keep the CPU utilisation of this machine inside a range, whatever else runs on it.

    loadgen.py run           generate load until SIGTERM or the end of the time limit; what a service manager calls
    loadgen.py start         the same in the background, unless it runs already
    loadgen.py stop          end it, whoever started it
    loadgen.py restart       both
    loadgen.py show          print how it is, one line of JSON
    loadgen.py check         read the settings and say what is wrong with them

Once a period it reads the utilisation of the whole machine from /proc/stat, and gives its workers the duty cycle that
closes the gap. It reads its settings again when the file has changed. It needs nothing but Python 3.9 and Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import collections
import contextlib
import csv
import ctypes
import dataclasses
import datetime
import fcntl
import functools
import hashlib
import itertools
import json
import math
import mmap
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing as t

SETTINGS = "/var/lib/virtops.balance/loadgen.json"
RUNTIME = "/run/virtops-loadgen"

PERIOD = 1.0
# A duty cycle is shorter than a period, so that each period has several. A long sleep makes it longer.
CYCLE = 0.1
WORKERS_MOST = 1024
WORKERS_PER_CPU = 8
# What of the gap a period closes. Outside the range all but a little; inside it, mostly noise would be followed.
GAIN_OUTSIDE = 0.9
GAIN_INSIDE = 0.3
STEADY_PERIODS = 5
STATUS_BYTES = 1024 * 1024
PAGE = 4096
# What is left to the machine when memory is taken.
MEMORY_SPARE_MIB = 64
CLIENT_SECONDS = 2.0
CLIENTS_MOST = 32
START_SECONDS = 10.0
STOP_SECONDS = 5.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

# Fields of what parent and workers share, each a 64-bit integer.
BEAT, DUTY, DIRTY_RATE, DIRTIED, FIELDS = range(5)
PER_UNIT = 1_000_000


class LoadgenError(Exception):
    """One sentence for the person who started the generator."""


# --- Settings -------------------------------------------------------------------------------------------------------


class Phase(t.NamedTuple):
    """What the machine's utilisation shall be, in percent of all its CPUs, and for how many seconds (inf: for ever)."""

    minimum: float
    maximum: float
    seconds: float

    @property
    def target(self) -> float:
        """The middle: the place with the most room for noise on both sides."""
        return (self.minimum + self.maximum) / 2


class Plan:
    """Phases one after the other, and again from the start where they repeat."""

    def __init__(self, phases: t.Sequence[Phase], *, repeat: bool) -> None:
        self.phases = tuple(phases)
        self.repeat = repeat
        self._ends = list(itertools.accumulate(phase.seconds for phase in phases))

    def at(self, elapsed: float) -> Phase | None:
        """Return the phase after so many seconds, None when all are over."""
        whole = self._ends[-1]
        if self.repeat and math.isfinite(whole):
            elapsed %= whole
        index = bisect.bisect_right(self._ends, elapsed)
        return self.phases[index] if index < len(self.phases) else None


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a settings file says, checked."""

    plan: Plan
    limit: float
    initial_workers: int
    step: int
    sleep: float
    engine: str
    stressor: str
    memory_mib: int
    dirty_mib_s: float
    seconds: float
    address: str
    port: int
    trace: str | None
    digest: str | None

    @property
    def cycle(self) -> float:
        """Seconds of one duty cycle: the sleep is at most half of it."""
        return max(CYCLE, 2 * self.sleep)

    @property
    def capacity(self) -> float:
        """The share of a CPU that one worker takes at most."""
        return 1 - self.sleep / self.cycle


DEFAULTS: dict[str, t.Any] = {
    "minimum": None,
    "maximum": None,
    "target": None,
    "tolerance": 3,
    "schedule": None,
    "trace": None,
    "trace_interval": 300,
    "trace_column": None,
    "repeat": False,
    "limit": 100,
    "initial_workers": 0,
    "step": 1,
    "sleep_ms": 10,
    "engine": "python",
    "stressor": "cpu",
    "memory_mib": 0,
    "dirty_mib_s": 0,
    "seconds": 0,
    "address": "127.0.0.1",
    "port": 8810,
}


def read_settings(path: str) -> Settings:
    """Return the settings of a file. Raises LoadgenError."""
    try:
        with open(path, "rb") as file:
            text = file.read()
        data = json.loads(text)
    except (OSError, ValueError) as error:
        raise LoadgenError(f"{path} cannot be read: {error}.") from error
    if not isinstance(data, dict):
        raise LoadgenError(f"{path} must hold a mapping.")
    # The sum with which Ansible tells files apart.
    digest = hashlib.sha1(text, usedforsecurity=False).hexdigest()
    return dataclasses.replace(parse_settings(data), digest=digest)


def parse_settings(data: dict[str, t.Any]) -> Settings:
    """Return checked settings. A key that is null counts as not given. Raises LoadgenError."""
    unknown = sorted(set(data) - set(DEFAULTS))
    if unknown:
        raise LoadgenError(f"{unknown[0]} is no setting; there are {', '.join(DEFAULTS)}.")
    values = {**DEFAULTS, **{key: value for key, value in data.items() if value is not None}}
    engine = _choice(values, "engine", ("python", "stress-ng"))
    if engine == "stress-ng" and shutil.which("stress-ng") is None:
        raise LoadgenError("engine is stress-ng, but stress-ng is not installed here.")
    memory_mib = int(_number(values, "memory_mib", 0, 1 << 24, whole=True))
    dirty_mib_s = _number(values, "dirty_mib_s", 0, 1 << 20)
    if dirty_mib_s and not memory_mib:
        raise LoadgenError("dirty_mib_s needs memory_mib: say how much memory to write to.")
    return Settings(
        plan=_plan(values),
        limit=_number(values, "limit", 1, 100),
        initial_workers=int(_number(values, "initial_workers", 0, WORKERS_MOST, whole=True)),
        step=int(_number(values, "step", 1, WORKERS_MOST, whole=True)),
        sleep=_number(values, "sleep_ms", 0, 500) / 1000,
        engine=engine,
        stressor=_text(values, "stressor", r"[a-z][a-z0-9-]*"),
        memory_mib=memory_mib,
        dirty_mib_s=dirty_mib_s,
        seconds=_number(values, "seconds", 0, 1e9) or math.inf,
        address=_text(values, "address", r"[0-9A-Za-z.:%-]*"),
        port=int(_number(values, "port", 1, 65535, whole=True)),
        trace=values["trace"],
        digest=None,
    )


def _plan(values: dict[str, t.Any]) -> Plan:
    ways = {
        "minimum and maximum": values["minimum"] is not None or values["maximum"] is not None,
        "target": values["target"] is not None,
        "schedule": values["schedule"] is not None,
        "trace": values["trace"] is not None,
    }
    given = [way for way, there in ways.items() if there]
    if len(given) != 1:
        raise LoadgenError(f"Give one of {', '.join(ways)}; given: {', '.join(given) or 'none'}.")
    repeat = values["repeat"]
    if not isinstance(repeat, bool):
        raise LoadgenError("repeat must be true or false.")
    tolerance = _number(values, "tolerance", 0.5, 50)
    if given == ["target"]:
        return Plan([_around(_number(values, "target", 0, 100), tolerance, math.inf)], repeat=False)
    if given == ["schedule"]:
        return Plan(list(_schedule(values["schedule"], tolerance)), repeat=repeat)
    if given == ["trace"]:
        interval = _number(values, "trace_interval", 1, 1e6)
        column = values["trace_column"]
        percents = read_trace(_text(values, "trace", r"/.+"), column=None if column is None else str(column))
        return Plan([_around(percent, tolerance, interval) for percent in percents], repeat=repeat)
    if values["minimum"] is None or values["maximum"] is None:
        raise LoadgenError("Give both minimum and maximum.")
    minimum, maximum = _number(values, "minimum", 0, 100), _number(values, "maximum", 0, 100)
    if maximum - minimum < 1:
        raise LoadgenError(f"maximum must be at least 1 above minimum; they are {maximum:g} and {minimum:g}.")
    return Plan([Phase(minimum, maximum, math.inf)], repeat=False)


def _schedule(entries: t.Any, tolerance: float) -> t.Iterator[Phase]:
    if not isinstance(entries, list) or not entries:
        raise LoadgenError("schedule must be a list of entries with percent and seconds.")
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or set(entry) != {"percent", "seconds"}:
            raise LoadgenError(f"schedule, entry {number}: give percent and seconds, and nothing else.")
        where = f"schedule, entry {number}: "
        yield _around(
            _number(entry, "percent", 0, 100, where=where), tolerance, _number(entry, "seconds", 1, 1e9, where=where)
        )


def _around(percent: float, tolerance: float, seconds: float) -> Phase:
    # Not cut at 0 and 100: the middle stays what was asked for.
    return Phase(percent - tolerance, percent + tolerance, seconds)


def read_trace(path: str, *, column: str | None = None) -> list[float]:
    """Return the percents of a trace: one number a line (as the PlanetLab traces have it), or a column of a CSV file.

    RV(column) is a name of the first line, or a number that counts from 1; a file of one column needs none.
    Raises LoadgenError.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if any(field.strip() for field in row)]
    except (OSError, ValueError, csv.Error) as error:
        raise LoadgenError(f"The trace {path} cannot be read: {error}.") from error
    if not rows:
        raise LoadgenError(f"The trace {path} is empty.")
    header = [field.strip() for field in rows[0]]
    titled = any(_as_float(field) is None for field in header)
    if column is None:
        if len(header) > 1:
            raise LoadgenError(f"The trace {path} has {len(header)} columns: name one with trace_column.")
        index = 0
    elif titled and column in header:
        index = header.index(column)
    elif column.isdigit() and 1 <= int(column) <= len(header):
        index = int(column) - 1
    else:
        raise LoadgenError(f"The trace {path} has no column {column}.")
    percents = []
    for number, row in enumerate(rows[1:] if titled else rows, start=2 if titled else 1):
        value = _as_float(row[index]) if index < len(row) else None
        if value is None or not 0 <= value <= 100:
            raise LoadgenError(f"The trace {path}, row {number}: there must be a percentage from 0 to 100.")
        percents.append(value)
    if not percents:
        raise LoadgenError(f"The trace {path} has a first line and no values.")
    return percents


def _as_float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _shown(value: t.Any) -> str:
    """A value as YAML has it."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _number(
    values: dict[str, t.Any], key: str, least: float, most: float, *, whole: bool = False, where: str = ""
) -> float:
    value = values[key]
    # What is given on Ansible's command line arrives as text.
    number = _as_float(value) if isinstance(value, str) else value
    if (
        isinstance(number, bool)
        or not isinstance(number, (int, float))
        or not least <= number <= most
        or (whole and number != int(number))
    ):
        kind = "a whole number" if whole else "a number"
        raise LoadgenError(f"{where}{key} must be {kind} from {least:g} to {most:g}, not {_shown(value)}.")
    return float(number)


def _text(values: dict[str, t.Any], key: str, pattern: str) -> str:
    value = values[key]
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise LoadgenError(f"{key} cannot be {value!r}.")
    return value


def _choice(values: dict[str, t.Any], key: str, choices: t.Sequence[str]) -> str:
    value = values[key]
    if value not in choices:
        raise LoadgenError(f"{key} must be one of {', '.join(choices)}, not {value!r}.")
    return str(value)


# --- Measuring ------------------------------------------------------------------------------------------------------


class Ticks(t.NamedTuple):
    """The first line of /proc/stat (proc(5)): time busy and in all, cumulative, of so many CPUs."""

    busy: int
    total: int
    cpus: int


def read_ticks(path: str) -> Ticks:
    """Return what the CPUs did since the machine was started. Raises OSError, ValueError."""
    with open(path, encoding="ascii") as file:
        lines = file.read().splitlines()
    # user, nice, system, idle, iowait, irq, softirq. What a hypervisor below steals was not there to be used.
    ticks = [int(word) for word in lines[0].split()[1:8]]
    cpus = sum(1 for line in lines[1:] if re.match(r"cpu\d+ ", line))
    return Ticks(sum(ticks) - ticks[3] - ticks[4], sum(ticks), max(1, cpus))


def percent_busy(before: Ticks, after: Ticks) -> float | None:
    """Return the utilisation between two samples, None where no time passed by the kernel's count."""
    total = after.total - before.total
    if total <= 0:
        return None
    # The count of idle time may go back a little (proc(5)).
    return min(100.0, max(0.0, 100 * (after.busy - before.busy) / total))


def available_mib(path: str = "/proc/meminfo") -> int | None:
    """Return how much memory processes could still have, None where the kernel does not say."""
    with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
        match = re.search(r"^MemAvailable:\s+(\d+) kB$", file.read(), re.MULTILINE)
        return int(match.group(1)) // 1024 if match else None
    return None


# --- Deciding -------------------------------------------------------------------------------------------------------


class Controller:
    """How much load to make, in percent of the machine, from nothing but the machine's utilisation."""

    def __init__(self) -> None:
        self.own = 0.0
        self._phase: Phase | None = None

    def step(self, measured: float, phase: Phase, *, limit: float) -> float:
        """Return the load for the next period, after one in which the machine was busy for RV(measured) percent."""
        was = self._phase
        if was is None:
            # Nothing was made yet, so what was measured is what others do.
            self.own = phase.target - measured
        else:
            gain = GAIN_INSIDE if was.minimum <= measured <= was.maximum else GAIN_OUTSIDE
            # What was measured answers to the old target; a new one is simply added.
            self.own += gain * (was.target - measured) + phase.target - was.target
        self._phase = phase
        # Never beyond: where others take so much that the target is out of reach, nothing piles up.
        self.own = min(max(self.own, 0.0), limit)
        return self.own


def count_workers(now: int, cores: float, settings: Settings, *, least: int, most: int) -> int:
    """Return how many workers are to carry the load of so many CPUs, in steps."""
    while now * settings.capacity < cores and now + settings.step <= most:
        now += settings.step
    # Those that go must not be needed again at the next change.
    while now - settings.step >= least and (now - settings.step) * settings.capacity > 1.5 * cores:
        now -= settings.step
    return now


def describe_state(recent: t.Sequence[float], phase: Phase, *, own: float, limit: float) -> str:
    """Return in one word how the last periods went."""
    mean = sum(recent) / len(recent)
    if phase.minimum <= mean <= phase.maximum:
        return "steady"
    if mean > phase.maximum and own <= 0:
        return "others_above"
    if mean < phase.minimum and own >= limit:
        return "limit_reached"
    return "settling"


# --- Workers --------------------------------------------------------------------------------------------------------


class Shared:
    """Integers that the parent and its workers see at the same time."""

    def __init__(self) -> None:
        # An aligned integer of 64 bits is written and read whole on every machine with 64 bits.
        self._view = memoryview(mmap.mmap(-1, 8 * FIELDS)).cast("Q")

    def __getitem__(self, field: int) -> int:
        return self._view[field]

    def __setitem__(self, field: int, value: int) -> None:
        self._view[field] = value

    def beat(self) -> None:
        """The parent is there and has decided."""
        self[BEAT] = time.monotonic_ns()

    def alive(self) -> bool:
        """Return False when the parent has not decided for two periods, stopped for example: then nobody works."""
        return time.monotonic_ns() - self[BEAT] < 2 * PERIOD * 1e9


def spin(until: float) -> None:
    """Keep one CPU busy until that time of the monotonic clock."""
    while time.monotonic() < until:
        pass


class StressNg:
    """One stressor of stress-ng that runs and stands still as the duty cycle wants it."""

    def __init__(self, stressor: str) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.pid = os.fork()
        if self.pid == 0:
            os.setpgid(0, 0)
            # PR_SET_PDEATHSIG, prctl(2): whatever becomes of the worker, this ends with it.
            libc.prctl(1, signal.SIGKILL, 0, 0, 0)
            null = os.open(os.devnull, os.O_RDWR)
            for number in range(3):
                os.dup2(null, number)
            try:
                os.execvp("stress-ng", ["stress-ng", f"--{stressor}", "1", "--timeout", "0"])
            finally:
                os._exit(127)
        with contextlib.suppress(PermissionError):
            # In both processes, because either may be first.
            os.setpgid(self.pid, self.pid)
        # Nothing runs before it is wanted.
        os.killpg(self.pid, signal.SIGSTOP)

    def burn(self, until: float) -> None:
        """Let it run until that time of the monotonic clock. Raises LoadgenError when it has ended."""
        if os.waitpid(self.pid, os.WNOHANG)[0]:
            raise LoadgenError("stress-ng has ended.")
        os.killpg(self.pid, signal.SIGCONT)
        time.sleep(max(0.0, until - time.monotonic()))
        os.killpg(self.pid, signal.SIGSTOP)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def work(shared: Shared, number: int, settings: Settings, *, parent: int) -> None:
    """Be busy for the share of each cycle that the parent wants, as long as the parent lives."""
    stress = StressNg(settings.stressor) if settings.engine == "stress-ng" else None
    burn = stress.burn if stress else spin
    cycle, longest = settings.cycle, settings.cycle - settings.sleep
    try:
        # Workers do not all begin their cycles at the same time: the golden ratio spreads any number of them.
        start = time.monotonic() + cycle * (number * 0.618 % 1)
        while os.getppid() == parent:
            time.sleep(max(0.0, start - time.monotonic()))
            now = time.monotonic()
            busy = min(shared[DUTY] / PER_UNIT * cycle, longest) if shared.alive() else 0.0
            if busy > 0:
                burn(now + busy)
                time.sleep(settings.sleep)
            # A worker that had to wait for its CPU does not make up for it.
            start = max(start + cycle, time.monotonic() - cycle)
    finally:
        if stress:
            stress.end()


def hold_memory(shared: Shared, mib: int, *, parent: int) -> None:
    """Touch so much memory, then change a byte in as many of its pages a second as the rate asks for."""
    memory = mmap.mmap(-1, mib << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages = len(memory) // PAGE
    position, value, owed = 0, 1, 0.0
    per_round = 16 << 20
    for start in range(0, len(memory), per_round):
        if os.getppid() != parent:
            return
        end = min(start + per_round, len(memory))
        memory[start:end:PAGE] = bytes([value]) * ((end - start) // PAGE)
    before = time.monotonic()
    while os.getppid() == parent:
        time.sleep(CYCLE)
        now = time.monotonic()
        rate = shared[DIRTY_RATE] / PER_UNIT * (1 << 20) / PAGE if shared.alive() else 0.0
        # At most two cycles at once: a late start is not made up for.
        owed = min(owed + rate * (now - before), 2 * rate * CYCLE)
        before = now
        while owed >= 1:
            if position == pages:
                # Another value on each pass, or nothing would change.
                position, value = 0, value % 255 + 1
            count = min(int(owed), pages - position)
            memory[position * PAGE : (position + count) * PAGE : PAGE] = bytes([value]) * count
            position += count
            owed -= count
            shared[DIRTIED] += count


def start_child(job: t.Callable[[], None]) -> int:
    """Run RV(job) in a new process, and return its id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        # SIGTERM ends a child at once, but lets it clean up.
        signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            # Where memory runs out, these go first.
            file.write("1000")
        job()
        status = 0
    except SystemExit:
        status = 0
    except BaseException as error:  # noqa: BLE001  # whatever it is, the child must end here and not go on as its parent
        sys.stderr.write(f"loadgen: a worker ended: {error}\n")
    finally:
        os._exit(status)


# --- Status over HTTP -----------------------------------------------------------------------------------------------


def listen(address: str, port: int) -> socket.socket:
    """Return a socket that listens there. Raises LoadgenError."""
    try:
        family, kind, protocol, _name, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(CLIENTS_MOST)
    except OSError as error:
        raise LoadgenError(f"The status cannot be offered on {address} port {port}: {error}.") from error
    listener.setblocking(False)
    return listener


def serve(listener: socket.socket, status: str, *, parent: int) -> None:
    """Answer requests with the last line of the status, as long as the parent lives."""
    clients: set[t.Any] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.add(writer)
        try:
            if len(clients) <= CLIENTS_MOST:
                await asyncio.wait_for(converse(reader, writer), CLIENT_SECONDS)
        except (asyncio.TimeoutError, asyncio.IncompleteReadError, OSError):
            # Too slow, or gone: nobody is there to be told.
            pass
        finally:
            clients.discard(writer)
            writer.transport.abort()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            head = b""
        code, body = respond(head, status)
        writer.write(
            f"HTTP/1.1 {code}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode()
            + (b"" if head.startswith(b"HEAD ") else body)
        )
        await writer.drain()
        writer.write_eof()
        # Closing while the client still sends would destroy the answer on its way.
        while await reader.read(4096):
            pass

    async def main() -> None:
        server = await asyncio.start_server(answer, sock=listener, limit=8192)
        async with server:
            while os.getppid() == parent:
                await asyncio.sleep(PERIOD / 2)

    asyncio.run(main())


def respond(head: bytes, status: str) -> tuple[str, bytes]:
    """Return the status line and the body for the head of a request."""
    match = re.match(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r\n", head)
    if not match:
        return "400 Bad Request", b'{"error": "This is no request, or one that is too long."}\n'
    method, path = match.groups()
    if method not in (b"GET", b"HEAD"):
        return "405 Method Not Allowed", b'{"error": "Only GET and HEAD are answered."}\n'
    if path.partition(b"?")[0] != b"/":
        return "404 Not Found", b'{"error": "There is only /."}\n'
    line = last_line(status)
    return ("200 OK", line.encode()) if line else ("503 Service Unavailable", b'{"error": "No status yet."}\n')


def last_line(path: str) -> str | None:
    """Return the last whole line of a file, None where there is none."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 8192))
            lines = file.read().decode("utf-8", "replace").splitlines(keepends=True)
    except OSError:
        return None
    return next((line for line in reversed(lines) if line.endswith("\n")), None)


# --- The generator --------------------------------------------------------------------------------------------------


class Generator:
    """The parent: measures, decides, and has its workers do it."""

    def __init__(self, settings_path: str, runtime: str, *, stat: str) -> None:
        self.settings_path = settings_path
        self.stat_path = stat
        self.status_path = os.path.join(runtime, "status.jsonl")
        self.shared = Shared()
        self.controller = Controller()
        self.workers: list[int] = []
        self.memory: int | None = None
        self.server: int | None = None
        self.listener: socket.socket | None = None
        self.problem: str | None = None
        self.settings = read_settings(settings_path)
        # Read once more at the first tick, in case that they changed in between.
        self._seen: t.Any = None
        self._phase: Phase | None = None
        self._since = time.monotonic()
        self._recent: collections.deque[float] = collections.deque(maxlen=STEADY_PERIODS)

    def run(self) -> None:
        """Generate load until a signal or the end of the plan."""
        self._check_memory(self.settings)
        self.shared.beat()
        self._take_up(None)
        before, dirtied = read_ticks(self.stat_path), 0
        tick = time.monotonic() + PERIOD
        while True:
            if self._wait_until(tick):
                return
            # A tick that was missed is not caught up with: its period was simply longer.
            tick = max(tick + PERIOD, time.monotonic() + PERIOD / 2)
            self._read_again()
            after = read_ticks(self.stat_path)
            measured = percent_busy(before, after)
            elapsed = time.monotonic() - self._since
            phase = self.settings.plan.at(elapsed) if elapsed < self.settings.seconds else None
            if phase is None:
                return
            self.shared.beat()
            if measured is None:
                continue
            before = after
            own = self.controller.step(measured, phase, limit=self.settings.limit)
            self._employ(own / 100 * after.cpus, after.cpus)
            if phase != self._phase:
                self._phase = phase
                self._recent.clear()
            self._recent.append(measured)
            pages, dirtied = self.shared[DIRTIED] - dirtied, self.shared[DIRTIED]
            self._report(
                {
                    "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")[:-6] + "Z",
                    "state": describe_state(self._recent, phase, own=own, limit=self.settings.limit),
                    "cpu_percent": round(measured, 2),
                    "minimum": phase.minimum,
                    "maximum": phase.maximum,
                    "own_percent": round(own, 2),
                    "workers": len(self.workers),
                    "memory_mib": self.settings.memory_mib if self.memory else 0,
                    "dirtied_mib": round(max(0, pages) * PAGE / (1 << 20), 1),
                    "seconds": round(elapsed, 1),
                    "seconds_left": None
                    if math.isinf(self.settings.seconds)
                    else round(self.settings.seconds - elapsed, 1),
                    "problem": self.problem,
                    "settings": self.settings.digest,
                    "pid": os.getpid(),
                }
            )

    def end(self) -> None:
        """End every child, and wait for it."""
        _end(*self.workers, *_known(self.memory, self.server))
        self.workers, self.memory, self.server = [], None, None

    def _wait_until(self, tick: float) -> bool:
        """Wait for the time of the next decision. Returns True when the end was asked for."""
        while True:
            left = tick - time.monotonic()
            if left <= 0:
                return False
            came = signal.sigtimedwait(SIGNALS, left)
            if came is None:
                return False
            if came.si_signo in (signal.SIGTERM, signal.SIGINT):
                return True
            if came.si_signo == signal.SIGHUP:
                self._seen = None
            else:
                self._bury()

    def _bury(self) -> None:
        for pid in list(self.workers):
            if _reaped(pid):
                self.workers.remove(pid)
                self.problem = "A worker ended by itself and was replaced."
        if self.memory and _reaped(self.memory):
            self.memory = None
            # Most likely the kernel took it because memory ran out: what was asked for is too much here.
            self.problem = "What held the memory ended by itself. It is started again when the settings change."
        if self.server and _reaped(self.server):
            self.server = None
            self.problem = "The status over HTTP ended by itself. It is started again when the settings change."

    def _signature(self) -> t.Any:
        """Return what changes when somebody writes the settings or the trace, None where they cannot be read."""
        try:
            files = [os.stat(path) for path in (self.settings_path, self.settings.trace) if path]
        except OSError:
            return None
        return [(file.st_mtime_ns, file.st_size, file.st_ino) for file in files]

    def _read_again(self) -> None:
        seen = self._signature()
        if seen == self._seen and seen is not None:
            return
        self._seen = seen
        try:
            settings = read_settings(self.settings_path)
            self._check_memory(settings)
            before, self.settings = self.settings, settings
            try:
                self._take_up(before)
            except LoadgenError:
                self.settings = before
                raise
        except LoadgenError as error:
            # What runs goes on as it was told before.
            self.problem = f"The new settings are not used: {error}"
            return
        self.problem = None
        self._since = time.monotonic()
        if settings.trace != before.trace:
            # Not the file that was looked at above.
            self._seen = None

    def _check_memory(self, settings: Settings) -> None:
        available = available_mib()
        held = self.settings.memory_mib if self.memory else 0
        if available is not None and settings.memory_mib > max(0, available + held - MEMORY_SPARE_MIB):
            raise LoadgenError(
                f"memory_mib is {settings.memory_mib}, but only {available + held} MiB are available here,"
                f" and {MEMORY_SPARE_MIB} of them are left alone."
            )

    def _take_up(self, before: Settings | None) -> None:
        """Bring everything that is not decided each period in line with the settings."""
        now, me = self.settings, os.getpid()
        if before is None or (before.address, before.port) != (now.address, now.port) or self.server is None:
            # The new place first: where it cannot be had, the old one goes on.
            listener = listen(now.address, now.port) if now.address else None
            _end(*_known(self.server))
            if self.listener:
                self.listener.close()
            self.listener, self.server = listener, None
            if listener:
                self.server = start_child(lambda: serve(listener, self.status_path, parent=me))
        self.shared[DIRTY_RATE] = int(now.dirty_mib_s * PER_UNIT)
        if before is None or before.memory_mib != now.memory_mib or self.memory is None:
            _end(*_known(self.memory))
            self.memory = None
            if now.memory_mib:
                self.memory = start_child(lambda: hold_memory(self.shared, now.memory_mib, parent=me))
        if before and (before.sleep, before.engine, before.stressor) != (now.sleep, now.engine, now.stressor):
            while self.workers:
                _end(self.workers.pop())

    def _employ(self, cores: float, cpus: int) -> None:
        """Run as many workers as needed, and share the load between them."""
        most = min(WORKERS_MOST, max(WORKERS_PER_CPU * cpus, self.settings.initial_workers))
        least = min(most, self.settings.initial_workers or cpus)
        wanted = count_workers(max(least, len(self.workers)), cores, self.settings, least=least, most=most)
        while len(self.workers) > wanted:
            _end(self.workers.pop())
        self.shared[DUTY] = int(min(cores / wanted, self.settings.capacity) * PER_UNIT)
        me = os.getpid()
        while len(self.workers) < wanted:
            number = len(self.workers)
            job = functools.partial(work, self.shared, number, self.settings, parent=me)
            self.workers.append(start_child(job))

    def _report(self, status: dict[str, t.Any]) -> None:
        try:
            with contextlib.suppress(FileNotFoundError):
                if os.stat(self.status_path).st_size > STATUS_BYTES:
                    os.replace(self.status_path, f"{self.status_path}.1")
            with open(self.status_path, "a", encoding="utf-8") as file:
                file.write(json.dumps(status) + "\n")
        except OSError as error:
            self.problem = f"The status cannot be written: {error}."


def _known(*pids: int | None) -> list[int]:
    return [pid for pid in pids if pid]


def _end(*pids: int) -> None:
    """End children and wait for them; those that cannot end by themselves, stopped ones for example, are killed."""
    for pid in pids:
        _kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + PERIOD
    for pid in pids:
        while not _reaped(pid):
            if time.monotonic() > deadline:
                _kill(pid, signal.SIGKILL)
            time.sleep(0.005)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


# --- The process ----------------------------------------------------------------------------------------------------


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Do what the command line says. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="loadgen.py", description="Keeps the CPU utilisation of this machine inside a range."
    )
    parser.add_argument("command", choices=("run", "start", "stop", "restart", "show", "check"))
    parser.add_argument("--settings", default=SETTINGS, help=f"file with the settings, JSON (default: {SETTINGS})")
    parser.add_argument("--runtime", default=RUNTIME, help=f"directory of the status and the lock (default: {RUNTIME})")
    parser.add_argument("--stat", default="/proc/stat", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        if options.command == "run":
            run(options.settings, options.runtime, stat=options.stat)
        elif options.command in ("start", "restart"):
            if options.command == "restart":
                stop(options.runtime)
            done = start(options.settings, options.runtime, stat=options.stat)
            sys.stdout.write("changed\n" if done else "unchanged\n")
        elif options.command == "stop":
            sys.stdout.write("changed\n" if stop(options.runtime) else "unchanged\n")
        elif options.command == "show":
            sys.stdout.write(show(options.runtime))
        else:
            read_settings(options.settings)
    except (LoadgenError, OSError) as error:
        sys.stderr.write(f"loadgen: {error}\n")
        return 1
    return 0


def run(settings: str, runtime: str, *, stat: str) -> None:
    """Generate load in this process. Raises LoadgenError."""
    # Signals are waited for, so that none comes between two steps.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    with locked(runtime):
        generator = Generator(settings, runtime, stat=stat)
        try:
            generator.run()
        finally:
            generator.end()


def start(settings: str, runtime: str, *, stat: str) -> bool:
    """Start the generator in the background. Returns False where one runs already. Raises LoadgenError."""
    if holder(runtime) is not None:
        return False
    os.makedirs(runtime, mode=0o755, exist_ok=True)
    path = os.path.join(runtime, "loadgen.log")
    program = [sys.executable, os.path.abspath(__file__), "run"]
    command = [*program, "--settings", settings, "--runtime", runtime, "--stat", stat]
    with open(path, "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
        )
    _wait_until(lambda: process.poll() is not None or bool(holder(runtime)), START_SECONDS)
    # Settings that it cannot use show after it has the lock.
    _wait_until(lambda: process.poll() is not None, 0.5)
    if process.poll() is None:
        return True
    with open(path, encoding="utf-8") as log:
        lines = log.read().strip().splitlines()
    raise LoadgenError(lines[-1].partition("loadgen: ")[2] or lines[-1] if lines else "It ended without a word.")


def stop(runtime: str) -> bool:
    """End the generator and wait until it and its workers are gone. Returns False where none runs."""
    # A signal to process 0 would go to this process and all of its group.
    _wait_until(lambda: holder(runtime) != 0, START_SECONDS)
    pid = holder(runtime)
    if not pid:
        return False
    _kill(pid, signal.SIGTERM)
    # The workers hold the lock as well, so that it is free when the last of them is gone.
    if not _wait_until(lambda: holder(runtime) != pid, STOP_SECONDS):
        raise LoadgenError(f"Process {pid} did not end within {STOP_SECONDS:g} seconds.")
    return True


def show(runtime: str) -> str:
    """Return the last line of the status, or one that says that nothing runs."""
    pid = holder(runtime)
    if pid is None:
        return json.dumps({"state": "stopped"}) + "\n"
    line = last_line(os.path.join(runtime, "status.jsonl"))
    # Before its first second is over, the last line is of an earlier one.
    return line if line and json.loads(line)["pid"] == pid else json.dumps({"state": "settling"}) + "\n"


def holder(runtime: str) -> int | None:
    """Return the process id of the generator that runs, 0 where it has not said it yet, None where none runs."""
    try:
        with open(os.path.join(runtime, "lock"), encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdigit() else 0
    except FileNotFoundError:
        pass
    return None


@contextlib.contextmanager
def locked(runtime: str) -> t.Iterator[None]:
    """Hold the lock that tells that a generator runs. The kernel gives it back, however the process ends."""
    os.makedirs(runtime, mode=0o755, exist_ok=True)
    with open(os.path.join(runtime, "lock"), "a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LoadgenError(f"A load generator runs here already (process {holder(runtime) or '?'}).") from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _wait_until(condition: t.Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


if __name__ == "__main__":
    sys.exit(main())
