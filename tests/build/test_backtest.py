# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The playbook backtest from files to reports, without any host."""

from __future__ import annotations

import csv
import http.server
import json
import pathlib
import subprocess
import threading
import typing as t
import urllib.parse

import pytest

from ansible_collections.virtops.balance.tests.browser import read_back
from ansible_collections.virtops.balance.tests.build import two_hosts
from ansible_collections.virtops.balance.tests.run_ansible import CONFIGURED, start_ansible

# Nothing answers there.
INVENTORY = """\
hypervisors:
  hosts:
    kvm1: {ansible_host: 192.0.2.1}
    kvm2: {ansible_host: 192.0.2.2}
  vars:
    balance_policy: {threshold: 0.15, important: {names: [web-1]}}
"""
HEAD = "time,host,domain,cores,ready,memory_mib,vcpus\n"
HOSTS = "host,threads,memory_mib,idle_watts,max_watts\nkvm1,4,16384,50,150\nkvm2,4,16384,50,150\n"


def rows(steps: int) -> str:
    """Four domains that want 5.6 cores of a host with 4, and one that has a host for itself."""
    lines = []
    for step in range(steps):
        at = f"2026-01-31T{12 + step // 12}:{step % 12 * 5:02}:00Z"
        lines += [f"{at},kvm1,web-{number},1.0,{1 - 4 / 5.6:.4f},2048,2\n" for number in range(1, 5)]
        lines.append(f"{at},kvm2,db-1,0.2,0,2048,2\n")
    return HEAD + "".join(lines)


def backtest(directory: pathlib.Path, *arguments: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
    (directory / "hosts.yml").write_text(INVENTORY, encoding="utf-8")
    extra = {"backtest_dir": "out", **variables}
    return start_ansible(
        *("ansible-playbook", "-i", "hosts.yml", "virtops.balance.backtest", "-e", json.dumps(extra), *arguments),
        cwd=directory,
        environment={**CONFIGURED, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "HOME": str(directory)},
    )


def figures(directory: pathlib.Path) -> dict[str, dict[str, str]]:
    with (directory / "out" / "backtest.csv").open(encoding="utf-8") as file:
        return {row["policy"]: row for row in csv.DictReader(file)}


@pytest.fixture
def recorded(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "load.csv").write_text(rows(18), encoding="utf-8")
    (tmp_path / "sizes.csv").write_text(HOSTS, encoding="utf-8")
    return tmp_path


def test_policies_are_beside_what_really_happened(recorded: pathlib.Path) -> None:
    ended = backtest(
        recorded,
        backtest_source="load.csv",
        backtest_hosts="sizes.csv",
        backtest_changes={"nothing": {"actions": []}},
        balance_policy_changes={"max_moves": 3},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    shown = ended.stdout.split("BACKTEST of ")[1].split("Saved as ")[0]
    assert max(map(len, shown.splitlines())) <= 100
    assert "BACKTEST of 2 hosts, 5 domains, 2026-01-31 12:00 to 13:25 UTC, a run every 5 minutes" in ended.stdout
    assert "\npolicy: that of kvm1 in the inventory, with balance_policy_changes\n" in shown
    assert f"Saved as backtest.html and backtest.csv and backtest.json in\n{recorded / 'out'}\n" in ended.stdout
    found = figures(recorded)
    assert list(found) == ["what really happened", "policy", "nothing"]
    real, policy, nothing = found.values()
    assert float(real["unserved"]) == pytest.approx(1 - 4.2 / 5.8, abs=0.001)
    assert float(nothing["unserved"]) == pytest.approx(1.6 / 5.8, abs=0.001)
    assert (real["moves"], nothing["moves"]) == ("0", "0")
    assert 1 <= int(policy["moves"]) <= 3
    assert float(policy["unserved"]) < 0.05
    results = json.loads((recorded / "out" / "backtest.json").read_text(encoding="utf-8"))
    assert results["results"][1]["differs"]["threshold"] == 0.15, "the policy of the inventory"
    assert results["results"][1]["differs"]["max_moves"] == 3
    assert "PLAY RECAP" not in ended.stdout or "changed=0" in ended.stdout


def test_the_page_opens_without_network(recorded: pathlib.Path) -> None:
    ended = backtest(recorded, backtest_source="load.csv", backtest_hosts="sizes.csv")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    page = read_back(recorded / "out" / "backtest.html", recorded, width=1100)
    assert page["heading"] == "Backtest"
    assert (page["errors"], page["requests"]) == ([], [])
    assert page["scroll_width"] <= page["width"]
    (rows_of,) = (table["rows"] for table in page["tables"] if table["id"] == "figures")
    assert [row[0] for row in rows_of] == ["", "what happened", "policy"]


def test_saved_runs_are_found_where_rebalance_saves_them(tmp_path: pathlib.Path) -> None:
    runs = tmp_path / ".local" / "state" / "virtops.balance"
    for step in range(12):
        saved = {**two_hosts.snapshot(), "taken_at": f"2026-01-31T12:{step * 5:02}:00Z"}
        (runs / f"20260131T12{step * 5:02}00Z").mkdir(parents=True)
        (runs / f"20260131T12{step * 5:02}00Z" / "snapshot.json").write_text(json.dumps(saved), encoding="utf-8")
    ended = backtest(tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = figures(tmp_path)
    assert int(found["what really happened"]["moves"]) == 0
    assert int(found["policy"]["moves"]) >= 1
    results = json.loads((tmp_path / "out" / "backtest.json").read_text(encoding="utf-8"))
    assert results["recording"]["source"] == f"12 snapshots of runs in {runs}"
    again = backtest(tmp_path)
    assert "the results of 1 of 1 policies are known from an earlier one" in again.stdout


class Prometheus(http.server.BaseHTTPRequestHandler):
    """Answers range queries about the hosts and domains of two_hosts.py: kvm1 is busy, kvm2 has nothing to do."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {key: value[0] for key, value in urllib.parse.parse_qs(body).items()}
        times = range(int(float(form["start"])), int(float(form["end"])) + 1, int(float(form["step"])))
        if "node_cpu" in form["query"]:
            found = [({"instance": "192.0.2.1:9100"}, "0.95"), ({"instance": "kvm2:9100"}, "0.02")]
        else:
            found = [({"instance": "kvm1:9177", "uuid": uuid}, "1.8") for uuid in two_hosts.snapshot()["domains"]]
        result = [{"metric": labels, "values": [[at, value] for at in times]} for labels, value in found]
        answer = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: t.Any) -> None:
        """Say nothing."""


def test_prometheus_is_asked_and_the_snapshot_says_the_rest(tmp_path: pathlib.Path) -> None:
    (tmp_path / "snapshot.json").write_text(json.dumps(two_hosts.snapshot()), encoding="utf-8")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Prometheus) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        ended = backtest(
            tmp_path,
            backtest_source="prometheus",
            backtest_snapshot="snapshot.json",
            backtest_minutes=60,
            balance_prometheus={"url": url},
        )
        server.shutdown()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = json.loads((tmp_path / "out" / "backtest.json").read_text(encoding="utf-8"))
    assert results["recording"]["source"] == f"Prometheus at {url}"
    assert (results["recording"]["steps"], results["recording"]["domains"]) == (12, 4)
    real, policy = results["results"]
    assert real["unserved"] is None
    assert set(real["hosts"]["kvm1"]) == {0.95}
    assert policy["moves"] == 2


def test_suggestions_name_what_nothing_else_beats(recorded: pathlib.Path) -> None:
    (recorded / "load.csv").write_text(rows(6), encoding="utf-8")
    ended = backtest(recorded, "-e", "suggest=true", backtest_source="load.csv", backtest_hosts="sizes.csv")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "No policy was changed." in ended.stdout
    results = json.loads((recorded / "out" / "backtest.json").read_text(encoding="utf-8"))
    assert len(results["results"]) == 26
    known = {result["policy"]: (result["moves"], result["unserved"]) for result in results["results"][1:]}
    for name in results["suggested"]:
        moves, unserved = known[name]
        assert not any(other[0] <= moves and other[1] < unserved for other in known.values()), name


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {},
            "There are no saved runs of rebalance in HOME/.local/state/virtops.balance yet. Name what to replay with ",
        ),
        ({"backtest_sourc": "load.csv"}, "There is no variable backtest_sourc: did you mean 'backtest_source'?"),
        ({"backtest_source": "nowhere.csv"}, "backtest_source is HOME/nowhere.csv, and there is nothing of that name."),
        ({"backtest_source": "sizes.csv"}, "sizes.csv, line 1: the columns must be time,host,domain,cores,ready,"),
        ({"backtest_source": "load.csv"}, "The threads and the memory of kvm1, kvm2 are not known. Name a saved "),
        ({"backtest_source": "load.csv", "backtest_step": 0}, "backtest_step must be at least 1, not 0."),
        (
            {"backtest_source": "load.csv", "backtest_changes": {"calm": {"treshold": 1}}},
            "Policy 'calm': The policy has no key 'treshold': did you mean 'threshold'?",
        ),
        (
            {"backtest_source": "load.csv", "backtest_changes": {"threshold": 0.3}},
            "Give the changes a name first: {calm: {threshold: 0.3}}, not {threshold: 0.3}.",
        ),
        (
            {"backtest_source": "load.csv", "backtest_settings": {"evry": 2}},
            "backtest_settings has no key 'evry': did you mean 'every'?",
        ),
        (
            {
                "backtest_source": "load.csv",
                "backtest_hosts": "sizes.csv",
                "backtest_changes": {"a": {}},
                "suggest": True,
            },
            "Suggestions are changes of one policy, and there are several. ",
        ),
        (
            {
                "backtest_source": "load.csv",
                "backtest_hosts": "sizes.csv",
                "backtest_changes": {"a": {"ignore_hosts": ["kvm9"]}},
            },
            "Policy 'a': ignore_hosts names the host 'kvm9', which is not in the recording, ",
        ),
        ({"backtest_source": "prometheus"}, "Where Prometheus is has to be said with balance_prometheus, such as "),
        (
            {"backtest_source": "prometheus", "balance_prometheus": {"url": "http://127.0.0.1:1"}},
            "Prometheus does not know how many threads hosts have and what suits them: name a saved snapshot with ",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(recorded: pathlib.Path, variables: dict[str, t.Any], sentence: str) -> None:
    ended = backtest(recorded, **variables)
    said = (ended.stdout + ended.stderr).replace(str(recorded), "HOME")
    told = [json.loads(line.partition(" => ")[2])["msg"] for line in said.splitlines() if "FAILED! => " in line]
    assert ended.returncode == 2
    assert [one[: len(sentence)] for one in told] == [sentence]
    assert "Traceback" not in said
    assert not (recorded / "out" / "backtest.json").exists()
