# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: ask the service in guests for figures, and write them to a CSV file.

What a guest answers is data from a machine that somebody else may own: its size and its time are limited, and only
numbers of it get into the file.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
import os
import re
import socket
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import check_number, check_printable

_ANSWER_BYTES = 1 << 20

COLUMNS = (
    "time",
    "guest",
    "address",
    "usage",
    "iowait",
    "steal",
    "vcpus",
    "vcpu_usage_max",
    "vcpu_steal_max",
    "memory_total_mib",
    "memory_available_mib",
    "work_p50_seconds",
    "work_p90_seconds",
    "work_p99_seconds",
    "work_max_seconds",
    "requests",
    "requests_failed",
    "response_p50_seconds",
    "response_p90_seconds",
    "response_p99_seconds",
    "response_max_seconds",
    "problem",
)

Row = dict[str, t.Any]


class GuestError(Exception):
    """Why a guest gave no answer that can be used, in a few words."""


class Guest(t.NamedTuple):
    """A guest and where its service answers."""

    name: str
    address: str
    port: int


def check_options(options: t.Mapping[str, t.Any]) -> None:
    """Raise BalanceError where the module's options make no sense."""
    for name, least, most in (
        ("rounds", 1, 1_000_000),
        ("interval", 0.1, 24 * 3600),
        ("requests", 1, 100_000),
        ("timeout", 0.1, 3600),
        ("parallel", 1, 1000),
    ):
        check_number(name, options[name], least, most)
    check_printable("path", options["path"])


def measure(guests: t.Sequence[Guest], *, requests: int, timeout: float, parallel: int) -> list[Row]:
    """Return one row (see COLUMNS) for each guest, in the same order. One that does not answer has a problem."""
    if not guests:
        return []
    with ThreadPoolExecutor(max_workers=min(parallel, len(guests))) as pool:
        return list(pool.map(lambda guest: measure_guest(guest, requests=requests, timeout=timeout), guests))


def measure_guest(guest: Guest, *, requests: int, timeout: float) -> Row:
    """Return the figures of one guest, and the seconds that its answer took, as measured from here."""
    row: Row = dict.fromkeys(COLUMNS)
    row.update(time=_now(), guest=guest.name, address=f"{guest.address}:{guest.port}")
    seconds: list[float] = []
    try:
        use = fetch(guest, "/utilisation", timeout=timeout)
        vcpus = fetch(guest, "/vcpu", timeout=timeout).get("vcpus")
        work = fetch(guest, "/response", timeout=timeout)
    except GuestError as error:
        row["problem"] = str(error)
        return row
    memory = use.get("memory")
    memory = memory if isinstance(memory, dict) else {}
    vcpus = [vcpu for vcpu in vcpus if isinstance(vcpu, dict)] if isinstance(vcpus, list) else []
    row.update({key: _number(use.get(key)) for key in ("usage", "iowait", "steal")})
    row.update({f"memory_{key}": _number(memory.get(key)) for key in ("total_mib", "available_mib")})
    row.update({f"vcpu_{key}_max": _largest(vcpu.get(key) for vcpu in vcpus) for key in ("usage", "steal")})
    row.update(
        {f"work_{key}": _number(work.get(key)) for key in ("p50_seconds", "p90_seconds", "p99_seconds", "max_seconds")}
    )
    row["vcpus"] = len(vcpus) or None
    failures = []
    for _count in range(requests):
        began = time.monotonic()
        try:
            fetch(guest, "/healthz", timeout=timeout)
        except GuestError as error:
            failures.append(str(error))
        else:
            seconds.append(time.monotonic() - began)
    row.update(requests=requests, requests_failed=len(failures), **percentiles(seconds))
    row["problem"] = failures[-1] if failures else None
    return row


def percentiles(seconds: t.Iterable[float]) -> dict[str, float | None]:
    """Return median, 90th and 99th percentile (nearest rank) and maximum, null where there are none."""
    values = sorted(seconds)
    found: dict[str, float | None] = {
        f"response_p{percent}_seconds": round(values[math.ceil(percent / 100 * len(values)) - 1], 6) if values else None
        for percent in (50, 90, 99)
    }
    found["response_max_seconds"] = round(values[-1], 6) if values else None
    return found


def fetch(guest: Guest, path: str, *, timeout: float) -> dict[str, t.Any]:
    """Return the JSON object that a guest has at RV(path), and wait RV(timeout) seconds at most for the whole of it.

    Raises GuestError.
    """
    deadline = time.monotonic() + timeout
    host = f"[{guest.address}]" if ":" in guest.address else guest.address
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{guest.port}\r\nConnection: close\r\n\r\n"
    answer = b""
    try:
        with socket.create_connection((guest.address, guest.port), timeout=timeout) as connection:
            connection.sendall(request.encode("ascii"))
            while True:
                # A guest that sends byte by byte must not hold up the round.
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                part = connection.recv(65536)
                answer += part
                if not part:
                    break
                if len(answer) > _ANSWER_BYTES:
                    raise GuestError("the answer is too large")
    except socket.timeout as error:
        raise GuestError(f"no answer within {timeout:g} seconds") from error
    except (OSError, UnicodeError) as error:
        raise GuestError(getattr(error, "strerror", None) or "the address cannot be used") from error
    return _parse(answer)


def _parse(answer: bytes) -> dict[str, t.Any]:
    head, _separator, body = answer.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.[01] (\d{3})(?: |\r|$)", head)
    if not status:
        raise GuestError("what answers is no web server")
    if status.group(1) != b"200":
        raise GuestError(f"HTTP status {status.group(1).decode()}")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    if length and len(body) < int(length.group(1)):
        raise GuestError("the answer broke off")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise GuestError("the answer is no JSON") from error
    if not isinstance(document, dict):
        raise GuestError("the answer is no JSON object")
    return document


def _number(value: t.Any) -> float | None:
    """Return a number unchanged, and None for anything else in a guest's answer."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) else None


def _largest(values: t.Iterable[t.Any]) -> float | None:
    return max((number for number in map(_number, values) if number is not None), default=None)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")[:-6] + "Z"


def append(path: str, rows: t.Sequence[Row]) -> None:
    """Add rows to a CSV file, which is made where there is none. Raises BalanceError."""
    header = ",".join(COLUMNS)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writerows(rows)
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path, "a+", encoding="utf-8", newline="") as file:
            file.seek(0)
            first = file.readline().rstrip("\r\n")
            if first and first != header:
                raise BalanceError(f"{path} has other columns. Name another file, or move this one away.")
            # One write, so that a reader finds whole rounds.
            file.write(("" if first else f"{header}\n") + text.getvalue())
    except OSError as error:
        raise BalanceError(f"{path} cannot be written: {error.strerror}.") from error
