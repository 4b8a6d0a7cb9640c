# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: histories from a Prometheus server, in the form in which hosts themselves return theirs.

Source of the API: https://prometheus.io/docs/prometheus/latest/querying/api/ (range queries).
"""

from __future__ import annotations

import http.client
import json
import math
import re
import time
import typing as t
import urllib.error
import urllib.parse
from dataclasses import dataclass

from ansible.module_utils.urls import open_url

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._history.recorded import Span, last_span
from ansible_collections.virtops.balance.plugins.module_utils._history.recorded import check_options as check_history
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import check_number

# Of the node exporter: everything that a CPU does but being idle.
HOST_CPU = '1 - avg by (instance) (sum by (instance, cpu) (rate(node_cpu_seconds_total{mode=~"idle|iowait"}[$window])))'
# Of the libvirt exporter (Debian: prometheus-libvirt-exporter).
DOMAIN_CPU = "sum by (instance, uuid) (rate(libvirt_domain_info_cpu_time_seconds_total[$window]))"

_PORT = re.compile(r":\d+$")
_LONGEST_WINDOW_SECONDS = 7 * 24 * 3600
_CHUNK_BYTES = 1 << 20
_MOST_QUOTED = 300

Labels = t.Mapping[str, str]
Column = list[t.Optional[float]]


@dataclass(frozen=True)
class Server:
    """Where the server is and how to talk to it. RV(timeout) is in seconds, for each query."""

    url: str
    timeout: float = 30
    username: str | None = None
    password: str | None = None
    token: str | None = None
    validate_certs: bool = True
    ca_path: str | None = None

    def query_range(self, query: str, span: Span) -> list[tuple[Labels, Column]]:
        """Return the labels and values of each series that a query finds. Raises BalanceError."""
        first = span.begin + span.step
        form = {"query": query, "start": first, "end": span.end, "step": span.step, "timeout": f"{self.timeout:g}s"}
        answer = self._post("api/v1/query_range", form)
        try:
            return [(series["metric"], _column(series["values"], span)) for series in answer["data"]["result"]]
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise self._not_prometheus() from error

    def _post(self, path: str, form: t.Mapping[str, t.Any]) -> t.Any:
        url = f"{self.url.rstrip('/')}/{path}"
        if not self.url.lower().startswith(("http://", "https://")):
            raise BalanceError(f"The URL of Prometheus must begin with http:// or https://, but it is {self.url!r}.")
        try:
            text = self._read(url, urllib.parse.urlencode(form).encode())
        except urllib.error.HTTPError as error:
            raise BalanceError(
                f"Prometheus at {self.url} refuses the query: {_reason(error)}. The query is {form['query']!r}."
            ) from error
        except TimeoutError as error:
            raise BalanceError(f"Prometheus at {self.url} did not answer within {self.timeout:g} seconds.") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            # What is behind a URLError, where it is one, is what went wrong.
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, TimeoutError):
                message = f"Prometheus at {self.url} did not answer within {self.timeout:g} seconds."
                raise BalanceError(message) from error
            raise BalanceError(f"Prometheus at {self.url} cannot be asked: {reason}.") from error
        try:
            answer = json.loads(text)
        except ValueError as error:
            raise self._not_prometheus() from error
        if not isinstance(answer, dict) or answer.get("status") != "success":
            raise self._not_prometheus()
        return answer

    def _read(self, url: str, body: bytes) -> bytes:
        deadline = time.monotonic() + self.timeout
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        with open_url(
            url,
            data=body,
            method="POST",
            headers=headers,
            timeout=self.timeout,
            url_username=self.username,
            url_password=self.password,
            force_basic_auth=bool(self.username),
            validate_certs=self.validate_certs,
            ca_path=self.ca_path,
        ) as response:
            chunks = []
            # The timeout above is one of a single read: a server that sends a byte now and then would never end.
            while chunk := response.read1(_CHUNK_BYTES):
                chunks.append(chunk)
                if time.monotonic() > deadline:
                    raise TimeoutError
            return b"".join(chunks)

    def _not_prometheus(self) -> BalanceError:
        return BalanceError(f"The server at {self.url} does not answer as Prometheus does. Check the URL.")


@dataclass(frozen=True)
class Queries:
    """What to ask. $window stands for the time over which a rate is measured, e.g. 60s; None = not asked."""

    host_cpu: str | None = HOST_CPU
    domain_cpu: str | None = DOMAIN_CPU
    domain_ready: str | None = None
    instance_label: str = "instance"
    uuid_label: str = "uuid"


def read(options: t.Mapping[str, t.Any], *, now: float) -> dict[str, dict[str, t.Any]]:
    """Do what the options of the module prometheus_history_info ask for. Raises BalanceError."""
    minutes, step = options["history"], options["history_step"]
    window = options["window_seconds"] if options["window_seconds"] is not None else step
    check_history(minutes=minutes, step=step)
    check_number("window_seconds", window, 1, _LONGEST_WINDOW_SECONDS)
    check_number("timeout", options["timeout"], 0.1, 3600)
    if minutes == 0:
        raise BalanceError("history must be at least 1 minute.")
    hosts = {str(host): names if isinstance(names, list) else [names] for host, names in options["hosts"].items()}
    server = Server(
        url=options["url"],
        timeout=options["timeout"],
        username=options["url_username"],
        password=options["url_password"],
        token=options["token"],
        validate_certs=options["validate_certs"],
        ca_path=options["ca_path"],
    )
    queries = Queries(
        host_cpu=options["host_cpu_query"] or None,
        domain_cpu=options["domain_cpu_query"] or None,
        domain_ready=options["domain_ready_query"] or None,
        instance_label=options["instance_label"],
        uuid_label=options["uuid_label"],
    )
    return read_histories(server, queries, hosts, last_span(now, minutes=minutes, step=step), window_seconds=window)


def read_histories(
    server: Server, queries: Queries, hosts: t.Mapping[str, t.Sequence[str]], span: Span, *, window_seconds: int
) -> dict[str, dict[str, t.Any]]:
    """Return {host: {history, history_problem, domains: {uuid: history}}} for every host.

    RV(hosts) maps the inventory's names to the other names under which the server may know a host. Raises BalanceError
    where the server cannot be asked; what it does not know is None, with a problem.
    """

    def ask(query: str | None) -> list[tuple[Labels, Column]]:
        return server.query_range(query.replace("$window", f"{window_seconds}s"), span) if query else []

    names = {_plain(str(name)): host for host, others in hosts.items() for name in (*others, host) if name}

    def host_of(labels: Labels) -> str | None:
        return names.get(_plain(str(labels.get(queries.instance_label, ""))))

    cpu: dict[str, Column] = {}
    for labels, column in ask(queries.host_cpu):
        host = host_of(labels)
        if host is not None:
            cpu[host] = [None if value is None else round(min(max(value, 0.0), 1.0), 4) for value in column]
    domains: dict[str, dict[str, dict[str, Column]]] = {host: {} for host in hosts}
    for name, query in (("cpu_cores", queries.domain_cpu), ("cpu_ready", queries.domain_ready)):
        for labels, column in ask(query):
            host, uuid = host_of(labels), str(labels.get(queries.uuid_label, "")).lower()
            if host is not None and uuid:
                rounded = [None if value is None else round(max(value, 0.0), 3) for value in column]
                domains[host].setdefault(uuid, {})[name] = rounded
    return {
        host: {
            "history": span.history({"cpu": cpu.get(host, [])}),
            "history_problem": _problem(known=bool(cpu.get(host)), some=bool(cpu), asked=queries.host_cpu is not None),
            "domains": _known({uuid: _complete(columns, span) for uuid, columns in domains[host].items()}),
        }
        for host in hosts
    }


def _known(histories: t.Mapping[str, dict[str, t.Any] | None]) -> dict[str, dict[str, t.Any]]:
    return {uuid: history for uuid, history in sorted(histories.items()) if history is not None}


def _complete(columns: t.Mapping[str, Column], span: Span) -> dict[str, t.Any] | None:
    """Return the history of a domain, where every column is as long as the others."""
    if "cpu_cores" not in columns:
        return None
    return span.history(columns)


def _problem(*, known: bool, some: bool, asked: bool) -> str | None:
    if known or not asked:
        return None
    if some:
        return "Prometheus has no CPU data of this host. Check that it is scraped, and known there by this name."
    return (
        "Prometheus has no CPU data of any host that was asked for. Check host_cpu_query, and that the "
        "window of the rates is at least twice the interval at which hosts are scraped."
    )


def _column(values: t.Any, span: Span) -> Column:
    """Return one value for each step from Prometheus' pairs of time and text, where a gap is left out."""
    column: Column = [None] * span.steps
    for moment, text in values:
        index = round((float(moment) - span.begin) / span.step) - 1
        value = float(text)
        if 0 <= index < span.steps and math.isfinite(value):
            column[index] = value
    return column


def _plain(name: str) -> str:
    """Return the name of a host as it is compared: without the port of an exporter and without capitals."""
    return _PORT.sub("", name).strip("[]").lower() if name.count(":") == 1 or name.startswith("[") else name.lower()


def _reason(error: urllib.error.HTTPError) -> str:
    """Return what the server says of its refusal: Prometheus puts a sentence into JSON."""
    try:
        text = error.read(_CHUNK_BYTES).decode(errors="replace")
    except OSError:
        text = ""
    try:
        said = json.loads(text).get("error")
    except (ValueError, AttributeError):
        said = None
    return f"{said or error.reason} (HTTP status {error.code})"[:_MOST_QUOTED]
