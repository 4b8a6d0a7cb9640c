# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Histories from a real Prometheus, which scrapes real exporters on the hosts of the lab."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import typing as t
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import ROOT, Lab, wait_for

pytestmark = pytest.mark.long
PACKAGES = ("prometheus", "prometheus-libvirt-exporter", "prometheus-node-exporter")
PORTS = {"prometheus-libvirt-exporter": 9177, "prometheus-node-exporter": 9100}
# A busy host answers late.
SCRAPE_SECONDS = 3
STEP = 10
GUEST = "web-1"


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    """Debian's programs: the installed ones, or unpacked and not installed, so that no service starts."""
    cache = ROOT / ".cache" / "prometheus"
    found = {}
    for package in PACKAGES:
        installed = shutil.which(package)
        unpacked = cache / "usr" / "bin" / package
        if installed is None and not unpacked.exists():
            cache.mkdir(parents=True, exist_ok=True)
            fetch = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package]
            done = subprocess.run(fetch, cwd=cache, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"{package} is not installed, and cannot be fetched: {done.stderr.strip()}")
            (archive,) = cache.glob(f"{package}_*.deb")
            subprocess.run(["dpkg-deb", "--extract", str(archive), str(cache)], check=True)
            archive.unlink()
        found[package] = Path(installed) if installed else unpacked
    return found


class Prometheus:
    """A server of this test's own, and the exporters on the hosts."""

    def __init__(self, lab: Lab, programs: dict[str, Path], directory: Path) -> None:
        self.lab, self.programs, self.directory = lab, programs, directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"

    @contextlib.contextmanager
    def running(self) -> t.Iterator[Prometheus]:
        started = []
        try:
            for package, port in PORTS.items():
                self.lab.task("hypervisors", "copy", f"src={self.programs[package]} dest=/tmp/{package} mode=0755")
                for host, address in self.lab.hosts.items():
                    command = f"/tmp/{package} --web.listen-address={address}:{port}"
                    self.lab.shell(host, f"setsid --fork {command} </dev/null >/tmp/{package}.log 2>&1")
            started.append(self._start_server())
            try:
                wait_for("rates of all hosts and of the guest", self._rates, seconds=180)
            except AssertionError as error:
                logs = [self.lab.shell(host, "tail -n 5 /tmp/prometheus-*.log") for host in self.lab.hosts]
                raise AssertionError("\n".join([self._targets(), *logs])) from error
            yield self
        finally:
            for process in started:
                process.terminate()
                process.wait(30)
            # A process' name is cut after fifteen characters.
            for host in self.lab.hosts:
                self.lab.shell(host, "pkill -x 'prometheus-(lib|nod).*'", check=False)

    def _start_server(self) -> subprocess.Popen[bytes]:
        targets = [f"{address}:{port}" for address in self.lab.hosts.values() for port in PORTS.values()]
        configuration = {
            "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": f"{SCRAPE_SECONDS}s"},
            "scrape_configs": [{"job_name": "lab", "static_configs": [{"targets": targets}]}],
        }
        # JSON is YAML.
        (self.directory / "prometheus.yml").write_text(json.dumps(configuration))
        with (self.directory / "prometheus.log").open("wb") as log:
            return subprocess.Popen(
                [
                    str(self.programs["prometheus"]),
                    f"--config.file={self.directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self.directory / 'data'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, "GOMAXPROCS": "1"},
            )

    def _rates(self) -> bool:
        """Whether there are rates of every host and of the guest, for so long that a step of the history has one."""
        queries = [
            "count(rate(node_cpu_seconds_total{cpu='0',mode='idle'}[30s])) >= 3",
            f"rate(libvirt_domain_info_cpu_time_seconds_total{{domain='{GUEST}'}}[30s] offset {STEP}s)",
        ]
        try:
            return all(self._ask(query) for query in queries)
        except OSError:
            return False

    def _targets(self) -> str:
        """What the server says of what it scrapes."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/targets", timeout=5) as response:
                targets = json.load(response)["data"]["activeTargets"]
        except OSError as error:
            return f"{error}: {(self.directory / 'prometheus.log').read_text()}"
        return "; ".join(f"{target['scrapeUrl']}: {target['health']} {target['lastError']}" for target in targets)

    def _ask(self, query: str) -> t.Any:
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=5) as response:
            return json.load(response)["data"]["result"]


@pytest.fixture(scope="module")
def prometheus(
    whole_lab: Lab, programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[Prometheus]:
    with Prometheus(whole_lab, programs, tmp_path_factory.mktemp("prometheus")).running() as found:
        yield found


def rebalance(lab: Lab, *, fails: bool = False, **prometheus: t.Any) -> str:
    return lab.playbook(
        *("rebalance", "--check"),
        fails=fails,
        balance_history=1,
        balance_history_step=STEP,
        balance_history_source="prometheus",
        balance_prometheus=prometheus,
    )


@pytest.mark.usefixtures("loaded")
def test_histories_of_real_exporters(lab: Lab, prometheus: Prometheus) -> None:
    uuid = lab.virsh("kvm1", "domuuid", GUEST)
    lab.migrate(GUEST, "kvm1", "kvm2")
    moved = time.monotonic()
    wait_for("two steps after the move", lambda: time.monotonic() > moved + 2 * STEP + 5, pause=1)
    said = rebalance(lab, url=prometheus.url)
    found = lab.saved("snapshot.json")
    assert "less history" not in said
    for host in found["hosts"].values():
        assert host["history_problem"] is None
        column = host["history"]["cpu"]
        assert column[-1] is not None
        assert all(0 <= value <= 1 for value in column if value is not None)
    # kvm1 has five guests, kvm3 has none.
    assert found["hosts"]["kvm1"]["history"]["cpu"][-1] > found["hosts"]["kvm3"]["history"]["cpu"][-1]
    domain = found["domains"][uuid]
    assert domain["host"] == "kvm2"
    column = domain["history"]["cpu_cores"]
    known = [value for value in column if value is not None]
    # From before the move until now; what was measured is about what the observation itself has measured.
    assert len(column) >= 3
    assert len(known) >= len(column) - 1, column
    assert 0.02 < sum(known) / len(known) < 0.6, column
    assert abs(column[-1] - domain["cpu_cores"]) < 0.3


def test_what_can_be_wrong_is_said(lab: Lab, prometheus: Prometheus) -> None:
    said = rebalance(lab, fails=True, url=prometheus.url, domain_cpu_query="rate(libvirt[")
    assert "refuses the query: " in said
    assert "parse error" in said
    # Nothing was scraped for long enough: no rate, and the run goes on without a history.
    said = rebalance(lab, url=prometheus.url, window_seconds=1)
    assert "have less history than requested. Prometheus has nothing about the CPU of any host" in said
    assert "cannot be asked: " in rebalance(lab, fails=True, url="http://127.0.0.1:1")
