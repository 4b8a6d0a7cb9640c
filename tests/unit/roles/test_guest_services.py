# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The service in guests: its figures, its answers, its life; and the module that asks it."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import json
import pathlib
import socket
import subprocess
import sys
import threading
import time
import typing as t

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtops.balance.plugins.module_utils import _guest_measure
from ansible_collections.virtops.balance.plugins.modules import guest_measure

PROGRAM = pathlib.Path(__file__).resolve().parents[3] / "roles" / "guest_services" / "files" / "guest_services.py"


def load_program() -> t.Any:
    spec = importlib.util.spec_from_file_location("guest_services", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


services = load_program()


def make_guest() -> t.Any:
    guest = services.Guest()
    old, new = services.Ticks(0, 0, 0, 0), services.Ticks(30, 5, 10, 100)
    guest.ticks.append((100.0, {"cpu": old, "0": old, "1": old}))
    # CPU 1 stood still, CPU 2 is new.
    guest.ticks.append((105.0, {"cpu": new, "0": new, "1": old, "2": new}))
    guest.responses.extend([0.004, 0.001, 0.003, 0.002])
    return guest


# --- The figures ----------------------------------------------------------------------------------------------------


def test_ticks(tmp_path: pathlib.Path) -> None:
    (tmp_path / "stat").write_text("cpu  10 1 5 80 4 2 3 9 7 0\ncpu0 5 0 0 5\nintr 1 2\n", encoding="ascii")
    ticks = services.read_ticks(str(tmp_path / "stat"))
    # Time of guests (the last two) is part of user time already.
    assert ticks == {"cpu": (21, 4, 9, 114), "0": (5, 0, 0, 10)}


def test_documents() -> None:
    guest = make_guest()
    utilisation, vcpu, response = guest.utilisation(), guest.vcpu(), guest.response()
    assert (utilisation["interval_seconds"], utilisation["usage"]) == (5.0, 0.3)
    assert (utilisation["iowait"], utilisation["steal"]) == (0.05, 0.1)
    assert vcpu["vcpus"] == [
        {"vcpu": 0, "usage": 0.3, "iowait": 0.05, "steal": 0.1},
        {"vcpu": 1, "usage": None, "iowait": None, "steal": None},
    ]
    assert [response[f"{name}_seconds"] for name in ("p50", "p90", "p99", "max")] == [0.002, 0.004, 0.004, 0.004]
    assert response["samples"] == 4


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5), (0.9, 9), (0.91, 10), (1.0, 10), (0.01, 1)])
def test_quantiles_are_of_the_nearest_rank(share: float, expected: int) -> None:
    assert services.quantile(range(1, 11), share) == expected


def test_prometheus() -> None:
    text = services.as_prometheus(make_guest(), ("vcpu", "response"))
    assert text.splitlines() == [
        "# HELP virtops_guest_vcpu_usage_ratio Time in which a virtual CPU was busy.",
        "# TYPE virtops_guest_vcpu_usage_ratio gauge",
        'virtops_guest_vcpu_usage_ratio{vcpu="0"} 0.3',
        "# HELP virtops_guest_vcpu_steal_ratio Time in which a virtual CPU waited for a physical CPU.",
        "# TYPE virtops_guest_vcpu_steal_ratio gauge",
        'virtops_guest_vcpu_steal_ratio{vcpu="0"} 0.1',
        "# HELP virtops_guest_response_seconds How long a fixed piece of work took, from when it was due.",
        "# TYPE virtops_guest_response_seconds gauge",
        'virtops_guest_response_seconds{quantile="0.5"} 0.002',
        'virtops_guest_response_seconds{quantile="0.9"} 0.004',
        'virtops_guest_response_seconds{quantile="0.99"} 0.004',
    ]


@pytest.mark.parametrize(
    ("head", "code", "kind"),
    [
        (b"GET /utilisation HTTP/1.1\r\n\r\n", "200", "application/json"),
        (b"GET /vcpu?format=json HTTP/1.0\r\n\r\n", "200", "application/json"),
        (b"HEAD /response HTTP/1.1\r\n\r\n", "200", "application/json"),
        (b"GET /healthz HTTP/1.1\r\n\r\n", "200", "application/json"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", "200", "text/plain; version=0.0.4; charset=utf-8"),
        (b"GET /vcpu?format=prometheus HTTP/1.1\r\n\r\n", "200", "text/plain; version=0.0.4; charset=utf-8"),
        (b"GET /vcpu?format=xml HTTP/1.1\r\n\r\n", "400", "application/json"),
        (b"GET / HTTP/1.1\r\n\r\n", "404", "application/json"),
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", "404", "application/json"),
        (b"PUT /vcpu HTTP/1.1\r\n\r\n", "405", "application/json"),
        (b"GET vcpu HTTP/1.1\r\n\r\n", "400", "application/json"),
        (b"GET /\xff HTTP/1.1\r\n\r\n", "400", "application/json"),
        (b"", "400", "application/json"),
    ],
)
def test_answers(head: bytes, code: str, kind: str) -> None:
    status, content_type, body = services.respond(make_guest(), head)
    assert (status.split()[0], content_type) == (code, kind)
    assert kind != "application/json" or json.loads(body)


def test_before_the_first_second_is_over() -> None:
    guest = services.Guest()
    assert services.respond(guest, b"GET /vcpu HTTP/1.1\r\n\r\n")[0] == "503 Service Unavailable"
    assert services.respond(guest, b"GET /healthz HTTP/1.1\r\n\r\n")[0] == "200 OK"


# --- The process, asked by the module -------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def call(runtime: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), "--runtime", str(runtime), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


# For each test anew: ansible-test runs each in a process of its own, which ends nothing that is meant for several.
@pytest.fixture
def service(tmp_path: pathlib.Path) -> t.Iterator[int]:
    """The port of a service that has sampled."""
    runtime, port = tmp_path / "service", free_port()
    started = call(runtime, "start", "127.0.0.1", str(port))
    assert started.stdout == "changed\n", started.stderr
    assert call(runtime, "start", "127.0.0.1", str(port)).stdout == "unchanged\n"
    guest = _guest_measure.Guest("g", "127.0.0.1", port)
    deadline = time.monotonic() + 30
    while True:
        try:
            _guest_measure.fetch(guest, "/vcpu", timeout=5)
            break
        except _guest_measure.GuestError:
            # 503 until it has two samples.
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield port
    assert call(runtime, "stop").stdout == "changed\n"
    assert call(runtime, "stop").stdout == "unchanged\n"


def test_address_that_is_taken(tmp_path: pathlib.Path, service: int) -> None:
    failed = call(tmp_path, "start", "127.0.0.1", str(service))
    assert failed.returncode == 1
    assert failed.stderr.startswith("guest_services: ")
    assert "address already in use" in failed.stderr


def test_slow_clients_are_dropped_and_hold_up_nobody(service: int) -> None:
    with socket.create_connection(("127.0.0.1", service), timeout=20) as slow:
        slow.sendall(b"GET /vcpu HT")
        guest = _guest_measure.Guest("g", "127.0.0.1", service)
        assert _guest_measure.fetch(guest, "/healthz", timeout=4)["status"] == "ok"
        # A reset is how the kernel may say the same.
        with contextlib.suppress(ConnectionResetError):
            assert slow.recv(1) == b""


def run(capsys: pytest.CaptureFixture[str], **options: t.Any) -> dict[str, t.Any]:
    with patch_module_args(options), pytest.raises(SystemExit):
        guest_measure.main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result


def read(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_measures(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, service: int) -> None:
    path = tmp_path / "new" / "measures.csv"
    guests = [
        {"name": "web-1", "address": "127.0.0.1", "port": service},
        {"name": 'gone, "really"', "address": "127.0.0.1", "port": free_port()},
    ]
    options = {"guests": guests, "path": str(path), "requests": 3, "interval": 0.1, "timeout": 5}
    result = run(capsys, **options, rounds=2)
    assert (result["changed"], result["rows_written"]) == (True, 4)
    assert result["unanswered"] == {'gone, "really"': "Connection refused"}
    rows = read(path)
    assert [row["guest"] for row in rows] == ["web-1", 'gone, "really"'] * 2
    good, bad = rows[0], rows[1]
    assert (good["problem"], good["requests"], good["requests_failed"]) == ("", "3", "0")
    assert 0 <= float(good["usage"]) <= 1
    assert 0 < float(good["response_p50_seconds"]) <= float(good["response_max_seconds"])
    assert int(good["vcpus"]) >= 1
    # What is not known is empty, never 0.
    assert (bad["usage"], bad["requests"], bad["response_p50_seconds"]) == ("", "", "")
    assert bad["problem"] == "Connection refused"

    # Check mode asks and writes nothing; the next run appends.
    assert run(capsys, **options, _ansible_check_mode=True)["rows_written"] == 0
    assert len(read(path)) == 4
    run(capsys, **options)
    assert len(read(path)) == 6


def test_file_with_other_columns(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    guests = [{"name": "g", "address": "127.0.0.1", "port": free_port()}]
    result = run(capsys, guests=guests, path=str(tmp_path / "x.csv"))
    assert result["failed"]
    assert result["msg"] == f"{tmp_path}/x.csv has other columns. Name another file, or move this one away."


@pytest.mark.parametrize("name", ["rounds", "interval", "requests", "timeout", "parallel"])
def test_what_must_be_more_than_0(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, name: str) -> None:
    result = run(capsys, guests=[], path=str(tmp_path / "x.csv"), **{name: 0})
    assert result["msg"].startswith(f"{name} must be a number from ")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param(b"", "what answers is no web server", id="nothing"),
        pytest.param(b"SSH-2.0-x\r\n", "what answers is no web server", id="ssh"),
        pytest.param(b"HTTP/1.1 503 Service Unavailable\r\n\r\n{}", "HTTP status 503", id="503"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "the answer broke off", id="short"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n<html>", "the answer is no JSON", id="html"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n[1]", "the answer is no JSON object", id="list"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100000, "the answer is no JSON", id="deep"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (1 << 21), "the answer is too large", id="large"),
        pytest.param(None, "no answer within 0.3 seconds", id="silent"),
    ],
)
def test_guests_that_answer_badly(answer: bytes | None, problem: str) -> None:
    over = threading.Event()

    def be_bad(listener: socket.socket) -> None:
        connection, _address = listener.accept()
        with connection:
            connection.recv(4096)
            if answer is None:
                over.wait(20)
            else:
                # The module may have seen enough before the end.
                with contextlib.suppress(OSError):
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=be_bad, args=(listener,))
        thread.start()
        try:
            guest = _guest_measure.Guest("g", *listener.getsockname())
            with pytest.raises(_guest_measure.GuestError) as caught:
                _guest_measure.fetch(guest, "/vcpu", timeout=0.3 if answer is None else 10)
        finally:
            over.set()
            thread.join()
    assert str(caught.value) == problem


@pytest.mark.parametrize("value", ["=cmd()", True, [1], {}, float("nan"), None])
def test_only_numbers_of_a_guest_get_into_the_file(monkeypatch: pytest.MonkeyPatch, value: t.Any) -> None:
    document = {"usage": value, "memory": value, "vcpus": [{"usage": value}, value], "p50_seconds": value}
    monkeypatch.setattr(_guest_measure, "fetch", lambda *_arguments, **_options: document)
    row = _guest_measure.measure_guest(_guest_measure.Guest("g", "a", 1), requests=1, timeout=1)
    assert {row[key] for key in ("usage", "memory_total_mib", "vcpu_usage_max", "work_p50_seconds")} == {None}


def test_columns_are_documented() -> None:
    documented = yaml.safe_load(guest_measure.RETURN)["measures"]["contains"]
    assert tuple(documented) == _guest_measure.COLUMNS
