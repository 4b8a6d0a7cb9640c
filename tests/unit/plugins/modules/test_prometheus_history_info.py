# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module against a small HTTP server that answers as Prometheus does, or as something else."""

from __future__ import annotations

import base64
import http.server
import json
import threading
import typing as t
import urllib.parse

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.virtops.balance.plugins.module_utils._history import prometheus
from ansible_collections.virtops.balance.plugins.modules import prometheus_history_info

# The last step that is complete ends at 12:00:00.
NOW = 1_769_860_830.0
END = 1_769_860_800
Json = dict[str, t.Any]


class Server(http.server.ThreadingHTTPServer):
    """Answers each query by its text; what it was asked is kept."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, t.Any] = {}
        self.asked: list[tuple[str, dict[str, str], t.Mapping[str, str]]] = []
        # A handler that is to be late waits for this.
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = dict(urllib.parse.parse_qsl(body))
        self.server.asked.append((self.path, form, dict(self.headers)))
        answer = self.server.answers.get(form.get("query", ""), [])
        if isinstance(answer, list):
            answer = (200, {"status": "success", "data": {"resultType": "matrix", "result": answer}})
        status, content = answer
        if status == "late":
            self.send_response(200)
            self.end_headers()
            while not self.server.ended.wait(0.05):
                self.wfile.write(b" ")
                self.wfile.flush()
            return
        payload = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *arguments: t.Any) -> None:
        pass


@pytest.fixture
def server() -> t.Iterator[Server]:
    found = Server()
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.ended.set()
    found.shutdown()
    thread.join()
    found.server_close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, server: Server) -> t.Callable[..., Json]:
    monkeypatch.setattr(prometheus_history_info.time, "time", lambda: NOW)

    def call(**options: t.Any) -> Json:
        values = {
            "url": server.url,
            "hosts": {"kvm1": ["10.0.0.1"], "kvm2": []},
            "history": 4,
            "host_cpu_query": "host[$window]",
            "domain_cpu_query": "domain[$window]",
            **options,
        }
        with patch_module_args(values), pytest.raises(SystemExit):
            prometheus_history_info.main()
        result: Json = json.loads(capsys.readouterr().out)
        return result

    return call


def series(values: dict[int, str], **labels: str) -> Json:
    """One series; ``values`` by the number of steps before the last one."""
    return {
        "metric": labels,
        "values": [[END - 60 * back, value] for back, value in sorted(values.items(), reverse=True)],
    }


def test_histories(server: Server, run: t.Callable[..., Json]) -> None:
    server.answers = {
        "host[60s]": [
            series({3: "0.25", 1: "0.5", 0: "1.02"}, instance="10.0.0.1:9100"),
            series({0: "NaN"}, instance="KVM2:9100"),
            series({0: "0.5"}, instance="elsewhere:9100"),
        ],
        "domain[60s]": [
            series({2: "0.63149", 0: "0.7"}, instance="10.0.0.1:9177", uuid="AAA"),
            series({1: "0.1"}, instance="kvm2:9177", uuid="aaa"),
            series({1: "+Inf"}, instance="kvm2:9177", uuid="bbb"),
            series({1: "0.1"}, instance="kvm2:9177"),
            series({1: "0.1"}, uuid="ccc"),
        ],
    }
    result = run()
    steps = {"step_seconds": 60, "ends_at": "2026-01-31T12:00:00Z"}
    assert result["changed"] is False
    assert result["histories"] == {
        "kvm1": {
            "history": {**steps, "cpu": [0.25, None, 0.5, 1.0]},
            "history_problem": None,
            "domains": {"aaa": {**steps, "cpu_cores": [0.631, None, 0.7]}},
        },
        "kvm2": {"history": None, "history_problem": None, "domains": {"aaa": {**steps, "cpu_cores": [0.1, None]}}},
    }
    assert [(path, form["start"], form["end"], form["step"]) for path, form, _headers in server.asked] == [
        ("/api/v1/query_range", str(END - 180), str(END), "60")
    ] * 2
    assert json.loads(run(as_json=True)["histories"]) == result["histories"]


def test_a_ready_column_and_other_labels(server: Server, run: t.Callable[..., Json]) -> None:
    server.answers = {
        "domain[120s]": [series({1: "0.5", 0: "0.6"}, node="kvm1", vm="aaa")],
        "ready[120s]": [series({0: "0.1"}, node="kvm1", vm="aaa"), series({0: "0.1"}, node="kvm1", vm="bbb")],
    }
    found = run(
        host_cpu_query="",
        domain_ready_query="ready[$window]",
        window_seconds=120,
        instance_label="node",
        uuid_label="vm",
    )["histories"]["kvm1"]
    assert found["history"] is None
    assert found["history_problem"] is None
    (history,) = found["domains"].values()
    assert (history["cpu_cores"], history["cpu_ready"]) == ([0.5, 0.6], [None, 0.1])
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("known", "problem"),
    [
        ({}, "Prometheus has no CPU data of any host that was asked for."),
        ({"kvm1": "0.5"}, "Prometheus has no CPU data of this host."),
    ],
)
def test_an_empty_answer_is_said(
    server: Server, run: t.Callable[..., Json], known: dict[str, str], problem: str
) -> None:
    server.answers = {"host[60s]": [series({0: value}, instance=name) for name, value in known.items()]}
    found = run()["histories"]
    assert found["kvm2"]["history_problem"].startswith(problem)
    assert found["kvm2"]["domains"] == {}
    assert (found["kvm1"]["history_problem"] is None) == bool(known)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            (400, {"status": "error", "errorType": "bad_data", "error": "parse error: unexpected end of input"}),
            "refuses the query: parse error: unexpected end of input (HTTP status 400). The query is 'host[60s]'.",
        ),
        ((503, b"<html>busy</html>"), "refuses the query: Service Unavailable (HTTP status 503)."),
        ((401, b""), "refuses the query: Unauthorized (HTTP status 401)."),
        ((200, b"<html>hello</html>"), "does not answer as Prometheus does. Check the URL."),
        ((200, {"status": "error"}), "does not answer as Prometheus does."),
        ((200, [1]), "does not answer as Prometheus does."),
        ((200, {"status": "success", "data": None}), "does not answer as Prometheus does."),
        ((200, {"status": "success", "data": {"result": [{"metric": {}}]}}), "does not answer as Prometheus does."),
        ([{"metric": {}, "values": [["x", "1"]]}], "does not answer as Prometheus does."),
        ([{"metric": {}, "values": [[1]]}], "does not answer as Prometheus does."),
        ([{"metric": {}, "values": 5}], "does not answer as Prometheus does."),
    ],
)
def test_answers_of_another_kind(server: Server, run: t.Callable[..., Json], answer: t.Any, expected: str) -> None:
    server.answers = {"host[60s]": answer}
    result = run()
    assert result["failed"] is True
    assert expected in result["msg"]
    assert server.url in result["msg"]
    assert "\n" not in result["msg"]


def test_a_server_that_never_ends_its_answer(server: Server, run: t.Callable[..., Json]) -> None:
    server.answers = {"host[60s]": ("late", b"")}
    assert run(timeout=0.3)["msg"] == f"Prometheus at {server.url} did not answer within 0.3 seconds."


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"url": "prometheus:9090"}, "must begin with http:// or https://, but it is 'prometheus:9090'."),
        ({"url": "file:///etc/passwd"}, "must begin with http:// or https://"),
        ({"url": "http://127.0.0.1:1"}, "cannot be asked: [Errno 111] Connection refused."),
        ({"url": "http://[::1"}, "cannot be asked:"),
        ({"history": 0}, "history must be at least 1 minute."),
        ({"history": -1}, "history must be a number from 0 to"),
        ({"history_step": 0}, "history_step must be a number from 1 to"),
        ({"window_seconds": 0}, "window_seconds must be a number from 1 to"),
        ({"timeout": "nan"}, "timeout must be a number from 0.1 to"),
        (
            {"token": "secret-1", "url_username": "user", "url_password": "secret-2"},
            "mutually exclusive: token|url_username",
        ),
    ],
)
def test_options_that_are_wrong(run: t.Callable[..., Json], options: Json, expected: str) -> None:
    result = run(**options)
    assert result["failed"] is True
    assert expected in result["msg"]


def test_credentials(server: Server, run: t.Callable[..., Json]) -> None:
    run(url_username="user", url_password="secret-1")
    assert server.asked[0][2]["Authorization"] == f"Basic {base64.b64encode(b'user:secret-1').decode()}"
    said = run(token="secret-2")
    assert server.asked[-1][2]["Authorization"] == "Bearer secret-2"
    assert "secret" not in json.dumps(said["histories"])


def test_the_documented_queries_are_the_real_ones() -> None:
    options = yaml.safe_load(prometheus_history_info.DOCUMENTATION)["options"]
    assert options["host_cpu_query"]["default"] == prometheus.HOST_CPU
    assert options["domain_cpu_query"]["default"] == prometheus.DOMAIN_CPU


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("KVM1:9177", "kvm1"),
        ("kvm1.example.org", "kvm1.example.org"),
        ("[2001:db8::1]:9177", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("10.0.0.1:80", "10.0.0.1"),
    ],
)
def test_names_are_compared_without_ports(name: str, plain: str) -> None:
    assert prometheus._plain(name) == plain
