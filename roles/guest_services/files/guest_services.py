# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Report over HTTP the state of a guest: its utilisation, its virtual CPUs, and the time of a fixed piece of work.

    guest_services.py run ADDRESS PORT     serve until SIGTERM; what a service manager calls
    guest_services.py start ADDRESS PORT   the same in the background, unless it runs already
    guest_services.py stop                 end it
    guest_services.py restart ADDRESS PORT both

It only reads, it needs nothing but Python 3.9 and Linux, and it needs no privilege.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import datetime
import fcntl
import hashlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import typing as t

RUNTIME = "/run/virtops-guest-services"
PERIOD = 1.0
# Utilisation is that of the last so many seconds.
WINDOW = 5
# Response times are those of the last so many pieces of work.
REMEMBERED = 60
WORK = bytes(256 * 1024)
CLIENT_SECONDS = 5.0
CLIENTS_MOST = 64
REQUEST_BYTES = 8192
START_SECONDS = 10.0
STOP_SECONDS = 5.0
QUANTILES = (0.5, 0.9, 0.99)
SERVING = "serving"


class ServiceError(Exception):
    """One sentence for the person who started the service."""


# --- Measuring ------------------------------------------------------------------------------------------------------


class Ticks(t.NamedTuple):
    """What a CPU did since the guest was started, in ticks (proc(5))."""

    busy: int
    iowait: int
    steal: int
    total: int


def read_ticks(path: str = "/proc/stat") -> dict[str, Ticks]:
    """Return {"cpu": all together, "0": one, ...}. Raises OSError, ValueError."""
    found = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            match = re.match(r"cpu(\d*) +([0-9 ]+)$", line)
            if match:
                ticks = ([int(word) for word in match.group(2).split()] + [0] * 8)[:8]
                # In total is also what the hypervisor took away, because the guest wanted it.
                found[match.group(1) or "cpu"] = Ticks(
                    sum(ticks) - sum(ticks[3:5]) - ticks[7], ticks[4], ticks[7], sum(ticks)
                )
    return found


def shares(before: Ticks, after: Ticks) -> dict[str, float | None]:
    """Return the fractions of the time between two samples, null where no time passed by the kernel's count."""
    total = after.total - before.total
    return {
        name: round(min(1.0, max(0.0, (getattr(after, field) - getattr(before, field)) / total)), 4)
        if total > 0
        else None
        for name, field in (("usage", "busy"), ("iowait", "iowait"), ("steal", "steal"))
    }


def read_memory(path: str = "/proc/meminfo") -> dict[str, int | None]:
    """Return the guest's memory in MiB."""
    with open(path, encoding="ascii") as file:
        figures = {
            name: int(value) // 1024 for name, value in re.findall(r"^(\w+):\s+(\d+) kB$", file.read(), re.MULTILINE)
        }
    return {"total_mib": figures.get("MemTotal"), "available_mib": figures.get("MemAvailable")}


def quantile(values: t.Sequence[float], share: float) -> float:
    """Return the smallest of sorted values that so many of them do not exceed (nearest rank)."""
    return values[max(0, math.ceil(share * len(values)) - 1)]


class Guest:
    """What was sampled lately."""

    def __init__(self) -> None:
        self.ticks: collections.deque[tuple[float, dict[str, Ticks]]] = collections.deque(maxlen=WINDOW + 1)
        self.responses: collections.deque[float] = collections.deque(maxlen=REMEMBERED)

    async def sample(self) -> None:
        """Sample once a period, for ever."""
        due = time.monotonic()
        while True:
            self.ticks.append((time.monotonic(), read_ticks()))
            hashlib.sha256(WORK).digest()
            # From when it was due: waiting for a CPU is part of what somebody who asks this guest notices.
            self.responses.append(time.monotonic() - due)
            due = max(due + PERIOD, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    def _between(self) -> tuple[float, dict[str, Ticks], dict[str, Ticks]]:
        (began, before), (ended, after) = self.ticks[0], self.ticks[-1]
        return round(ended - began, 3), before, after

    def utilisation(self) -> dict[str, t.Any]:
        seconds, before, after = self._between()
        return {**_now(), "interval_seconds": seconds, **shares(before["cpu"], after["cpu"]), "memory": read_memory()}

    def vcpu(self) -> dict[str, t.Any]:
        seconds, before, after = self._between()
        # A virtual CPU may have come or gone.
        numbers = sorted((name for name in after if name in before and name != "cpu"), key=int)
        return {
            **_now(),
            "interval_seconds": seconds,
            "vcpus": [{"vcpu": int(name), **shares(before[name], after[name])} for name in numbers],
        }

    def response(self) -> dict[str, t.Any]:
        values = sorted(self.responses)
        return {
            **_now(),
            "samples": len(values),
            **{f"p{share * 100:g}_seconds": round(quantile(values, share), 6) for share in QUANTILES},
            "max_seconds": round(values[-1], 6),
        }


def _now() -> dict[str, str]:
    return {"time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")[:-6] + "Z"}


# --- Answering ------------------------------------------------------------------------------------------------------

PREFIX = "virtops_guest"


def as_prometheus(guest: Guest, names: t.Iterable[str]) -> str:
    """Return documents in Prometheus' text format: fractions as ratios, everything in base units."""
    lines: list[str] = []

    def metric(name: str, help_text: str, samples: t.Iterable[tuple[str, float | None]]) -> None:
        # What is not known has no line; it is never 0.
        known = [(labels, value) for labels, value in samples if value is not None]
        if known:
            lines.extend([f"# HELP {PREFIX}_{name} {help_text}", f"# TYPE {PREFIX}_{name} gauge"])
            lines.extend(f"{PREFIX}_{name}{labels} {value}" for labels, value in known)

    if "utilisation" in names:
        document = guest.utilisation()
        metric("usage_ratio", "Time in which the virtual CPUs were busy.", [("", document["usage"])])
        metric("iowait_ratio", "Time in which they were idle and waited for a disk.", [("", document["iowait"])])
        metric("steal_ratio", "Time in which they waited for a physical CPU.", [("", document["steal"])])
        for key, text in (("total", "The memory of the guest."), ("available", "What of it can still be used.")):
            value = document["memory"][f"{key}_mib"]
            metric(f"memory_{key}_bytes", text, [("", None if value is None else value << 20)])
    if "vcpu" in names:
        vcpus = guest.vcpu()["vcpus"]
        for key, text in (("usage", "was busy"), ("steal", "waited for a physical CPU")):
            samples = [(f'{{vcpu="{vcpu["vcpu"]}"}}', vcpu[key]) for vcpu in vcpus]
            metric(f"vcpu_{key}_ratio", f"Time in which a virtual CPU {text}.", samples)
    if "response" in names:
        document = guest.response()
        samples = [(f'{{quantile="{share:g}"}}', document[f"p{share * 100:g}_seconds"]) for share in QUANTILES]
        metric("response_seconds", "How long a fixed piece of work took, from when it was due.", samples)
    return "\n".join(lines) + "\n"


def respond(guest: Guest, head: bytes) -> tuple[str, str, str]:
    """Return status line, content type and body for the head of a request."""
    match = re.match(rb"([A-Z]+) (/[!-~]*) HTTP/1\.[01]\r\n", head)
    if not match:
        return _error("400 Bad Request", "This is no request, or one that is too long.")
    method, target = match.group(1).decode(), match.group(2).decode()
    if method not in ("GET", "HEAD"):
        return _error("405 Method Not Allowed", "Only GET and HEAD are answered.")
    path, _mark, query = target.partition("?")
    documents = {"/utilisation": guest.utilisation, "/vcpu": guest.vcpu, "/response": guest.response}
    if query not in ("", "format=json", "format=prometheus"):
        return _error("400 Bad Request", "The only parameter is format, which is json or prometheus.")
    if path == "/healthz":
        return "200 OK", "application/json", json.dumps({"status": "ok", **_now()}) + "\n"
    if path != "/metrics" and path not in documents:
        return _error("404 Not Found", f"There are {', '.join(documents)}, /metrics and /healthz.")
    if len(guest.ticks) < 2:
        return _error("503 Service Unavailable", "The first second is not over yet.")
    if path == "/metrics" or query == "format=prometheus":
        names = ("utilisation", "vcpu", "response") if path == "/metrics" else (path[1:],)
        return "200 OK", "text/plain; version=0.0.4; charset=utf-8", as_prometheus(guest, names)
    return "200 OK", "application/json", json.dumps(documents[path]()) + "\n"


def _error(status: str, message: str) -> tuple[str, str, str]:
    return status, "application/json", json.dumps({"error": message}) + "\n"


async def serve(guest: Guest, address: str, port: int) -> None:
    """Answer until SIGTERM. Raises OSError where the address cannot be had."""
    clients: set[asyncio.StreamWriter] = set()

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
        status, kind, text = respond(guest, head)
        body = text.encode()
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
        lines += ["Cache-Control: no-store", "X-Content-Type-Options: nosniff", "Connection: close", "", ""]
        writer.write("\r\n".join(lines).encode() + (b"" if head.startswith(b"HEAD ") else body))
        await writer.drain()
        writer.write_eof()
        # Closing while the client still sends would destroy the answer on its way.
        while await reader.read(4096):
            pass

    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    server = await asyncio.start_server(answer, address, port, limit=REQUEST_BYTES)
    sys.stdout.write(f"{SERVING} on {address} port {port}\n")
    sys.stdout.flush()
    async with server:
        sampling = asyncio.ensure_future(guest.sample())
        waiting = asyncio.ensure_future(ending.wait())
        # Sampling ends only with an error, which must not go by unseen.
        await asyncio.wait({sampling, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if sampling.done():
            sampling.result()
        for task in (sampling, waiting):
            task.cancel()


# --- The process ----------------------------------------------------------------------------------------------------


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Do what the command line says. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="guest_services.py", description="Tells over HTTP how a guest is.")
    parser.add_argument("--runtime", default=RUNTIME, help=f"directory of the lock (default: {RUNTIME})")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "start", "restart"):
        command = commands.add_parser(name)
        command.add_argument("address")
        command.add_argument("port", type=int)
    commands.add_parser("stop")
    options = parser.parse_args(arguments)
    try:
        if options.command == "run":
            with locked(options.runtime):
                asyncio.run(serve(Guest(), options.address, options.port))
            return 0
        done = stop(options.runtime) if options.command in ("stop", "restart") else False
        if options.command != "stop":
            done = start(options.runtime, options.address, options.port)
    except (ServiceError, OSError) as error:
        sys.stderr.write(f"guest_services: {error}\n")
        return 1
    sys.stdout.write("changed\n" if done else "unchanged\n")
    return 0


def start(runtime: str, address: str, port: int) -> bool:
    """Start the service in the background. Returns False where it runs already. Raises ServiceError."""
    if holder(runtime) is not None:
        return False
    command = [sys.executable, os.path.abspath(__file__), "--runtime", runtime, "run", address, str(port)]
    os.makedirs(runtime, mode=0o755, exist_ok=True)
    path = os.path.join(runtime, "log")
    with open(path, "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    # It says one line, either way.
    wait_until(lambda: process.poll() is not None or os.path.getsize(path) > 0, START_SECONDS)
    with open(path, encoding="utf-8") as log:
        lines = log.read().strip().splitlines()
    if lines and lines[-1].startswith(SERVING):
        return True
    process.terminate()
    raise ServiceError(
        lines[-1].partition(": ")[2] if lines else f"The service did not start within {START_SECONDS:g} seconds."
    )


def stop(runtime: str) -> bool:
    """End the service and wait for its end. Returns False where it does not run. Raises ServiceError."""
    # A signal to process 0 would go to this process and all of its group.
    wait_until(lambda: holder(runtime) != 0, START_SECONDS)
    pid = holder(runtime)
    if not pid:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    if not wait_until(lambda: holder(runtime) != pid, STOP_SECONDS):
        raise ServiceError(f"Process {pid} did not end within {STOP_SECONDS:g} seconds.")
    return True


def holder(runtime: str) -> int | None:
    """Return the process id of the service that runs, 0 where it has not said it yet, None where none runs."""
    with contextlib.suppress(FileNotFoundError), open(os.path.join(runtime, "lock"), encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = file.read().strip()
            return int(text) if text.isdigit() else 0
    return None


@contextlib.contextmanager
def locked(runtime: str) -> t.Iterator[None]:
    """Hold the lock that tells that the service runs. The kernel gives it back, however the process ends."""
    os.makedirs(runtime, mode=0o755, exist_ok=True)
    with open(os.path.join(runtime, "lock"), "a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServiceError("The service is already running.") from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def wait_until(condition: t.Callable[[], bool], seconds: float) -> bool:
    """Return whether the condition came true in that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


if __name__ == "__main__":
    sys.exit(main())
