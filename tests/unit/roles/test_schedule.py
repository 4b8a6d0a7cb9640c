# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The program that starts scheduled runs: how each ends, one at a time, what is kept of them, and who is told."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import typing as t

import pytest

PROGRAM = pathlib.Path(__file__).resolve().parents[3] / "roles" / "schedule" / "files" / "scheduled_run.py"


def load_program() -> t.Any:
    spec = importlib.util.spec_from_file_location("scheduled_run", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


scheduled = load_program()


class Schedule:
    """A schedule whose ansible-playbook is a shell script: ``$RUN`` in it is the directory of the run."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.logs = directory / "logs"
        self.logs.mkdir()
        self.settings: dict[str, t.Any] = {
            "name": "rebalance",
            "playbook": "virtops.balance.rebalance",
            "inventory": ["/etc/balance/one.yml", "/etc/balance/two.yml"],
            "extra_vars_file": None,
            "arguments": ["--check"],
            "directory": str(directory),
            "environment": {},
            "stdout_callback": "virtops.balance.brief",
            "ansible_playbook": str(directory / "ansible-playbook"),
            "log_directory": str(self.logs),
            "keep_runs": 100,
            "keep_mib": 100,
            "report_codes": [1, 2, 3, 4],
            "mail_to": "",
            "command": [],
            "jitter_seconds": 0,
        }

    def program(self, name: str, script: str) -> pathlib.Path:
        """Make a program of a shell script."""
        path = self.directory / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    def playbook(self, script: str) -> None:
        """Say what the run does."""
        find = (
            """for one in "$@"; do case $one in *balance_run_dir*) RUN=${one#*: \\"}; RUN=${RUN%%\\"*};; esac; done"""
        )
        self.program("ansible-playbook", f"{find}\n{script}")

    def saved(self) -> pathlib.Path:
        """Save the settings."""
        path = self.directory / "settings.json"
        path.write_text(json.dumps(self.settings), encoding="utf-8")
        return path

    def run(self, script: str | None = None) -> int:
        """Run once."""
        if script is not None:
            self.playbook(script)
        code: int = scheduled.main([str(self.saved())])
        return code

    def last(self, name: str = "result.json") -> t.Any:
        """What the newest run left."""
        text = (self.logs / "last" / name).read_text(encoding="utf-8")
        return json.loads(text) if name.endswith(".json") else text

    def runs(self) -> list[str]:
        """The directories of the runs that are kept."""
        return sorted(path.name for path in self.logs.iterdir() if path.is_dir() and not path.is_symlink())


@pytest.fixture
def schedule(tmp_path: pathlib.Path) -> Schedule:
    return Schedule(tmp_path)


# --- How a run ended ------------------------------------------------------------------------------------------------

REFUSED = {"refused.json": {"schema": 1, "reason": "lease", "problem": "kvm1 is leased to ops@one."}}
MOVED = {"outcome.json": {"problem": None, "count": {"moved": 2}}}
SILENT = {
    "refused.json": {"reason": "no_answer", "problem": "Lost since the last run: kvm1 (x). None of 1 host can be used."}
}
TOLD = "Lost since the last run: kvm3 (No route to host)."
NEWS = {"lost": ["kvm3"], "others": [], "told": TOLD}
OLD = {"lost": [], "others": ["kvm3"], "told": "Unknown: kvm3 (No route to host)."}
HALF = {"outcome.json": {"problem": "web-1 stays on kvm1.", "count": {"moved": 1, "failed": 1}}}


@pytest.mark.parametrize(
    ("files", "code", "expected", "problem"),
    [
        pytest.param({}, 0, 0, None, id="nothing to do"),
        pytest.param(MOVED, 0, 0, None, id="done"),
        pytest.param(HALF, 2, 2, "web-1 stays on kvm1.", id="moved with failures"),
        pytest.param(HALF, 0, 2, "web-1 stays on kvm1.", id="a playbook that goes on after failures"),
        pytest.param(REFUSED, 2, 3, "kvm1 is leased to ops@one.", id="refused"),
        pytest.param(REFUSED, 0, 0, None, id="refused, and a playbook that is content with it"),
        pytest.param(
            {**MOVED, **REFUSED}, 2, 2, "ansible-playbook ended with 2", id="refused after something was done"
        ),
        pytest.param(MOVED, 2, 2, "ansible-playbook ended with 2", id="failed after the moves"),
        pytest.param({}, 4, 2, "ansible-playbook ended with 4", id="failed, nobody knows where"),
        pytest.param({}, -9, 2, "ansible-playbook was ended by signal 9", id="killed"),
        pytest.param(SILENT, 2, 4, SILENT["refused.json"]["problem"], id="too few hosts answered"),
        pytest.param({**MOVED, **SILENT}, 2, 2, "ansible-playbook ended with 2", id="and something was done before"),
        pytest.param({"refused.json": "half of it"}, 2, 2, "ansible-playbook ended with 2", id="a file cut short"),
    ],
)
def test_judge(files: dict[str, t.Any], code: int, expected: int, problem: str | None, tmp_path: pathlib.Path) -> None:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / name).write_text(text, encoding="utf-8")

    verdict = scheduled.judge(tmp_path, code)

    assert verdict.code == expected
    assert (verdict.problem is None) == (problem is None)
    assert (problem or "") in (verdict.problem or "")


@pytest.mark.parametrize(
    ("file", "content", "code", "expected", "problem"),
    [
        ("outcome.json", {"problem": None}, 0, 0, None),
        ("plan.json", {}, 0, 0, None),
        ("outcome.json", {"problem": "web-1 stays on kvm1."}, 2, 2, "web-1 stays on kvm1."),
        ("refused.json", {"reason": "plan", "problem": "The policy is none."}, 2, 3, "The policy is none."),
        ("plan.json", {}, 2, 2, "ansible-playbook ended with 2"),
    ],
)
def test_lost_hosts_are_told_first_however_the_run_ended(
    file: str, content: dict[str, t.Any], code: int, expected: int, problem: str | None, tmp_path: pathlib.Path
) -> None:
    for unknown, lost in ((NEWS, ["kvm3"]), (OLD, []), (None, [])):
        (tmp_path / file).write_text(json.dumps({**content, "unknown_hosts": unknown}), encoding="utf-8")
        verdict = scheduled.judge(tmp_path, code)
        assert (verdict.code, verdict.lost) == (expected, lost) or (not lost and not verdict.lost)
        first = "" if unknown is None else unknown["told"]
        if problem is None:
            # Of what was told before and changes nothing, nobody is told again.
            assert verdict.problem == (first if lost else None)
        else:
            assert verdict.problem.startswith(f"{first} {problem}".strip())


def test_a_run_has_a_directory_with_its_log_and_its_end(schedule: Schedule) -> None:
    code = schedule.run(
        """printf '%s\\n' "$@"; printf '%s' '{"problem": null, "count": {"moved": 2}}' >"$RUN/outcome.json" """
    )

    assert code == 0
    (run,) = schedule.runs()
    assert schedule.last("log").splitlines() == [
        "--inventory=/etc/balance/one.yml",
        "--inventory=/etc/balance/two.yml",
        f'--extra-vars={{"balance_run_dir": "{schedule.logs / run}"}}',
        "--check",
        "virtops.balance.rebalance",
    ]
    result = schedule.last()
    assert (result["code"], result["result"], result["problem"]) == (0, "done", None)
    assert result["count"] == {"moved": 2}
    assert result["began_at"] <= result["ended_at"]
    assert (schedule.logs / run).stat().st_mode & 0o777 == 0o700


def test_extra_variables_are_passed_as_a_file(schedule: Schedule) -> None:
    schedule.settings["extra_vars_file"] = "/somewhere/extra_vars.json"
    schedule.run("""printf '%s\\n' "$@" """)
    assert "--extra-vars=@/somewhere/extra_vars.json" in schedule.last("log").splitlines()


def test_a_run_has_the_environment_that_ansible_needs(schedule: Schedule) -> None:
    schedule.settings["environment"] = {"ANSIBLE_COLLECTIONS_PATH": "/srv/collections"}
    schedule.playbook("env; pwd")
    # As cron starts a job.
    bare = {"PATH": "/usr/bin:/bin", "HOME": "/", "SHELL": "/bin/sh"}
    subprocess.run([sys.executable, PROGRAM, schedule.saved()], env=bare, check=True, stdout=subprocess.DEVNULL)
    said = schedule.last("log").splitlines()
    assert {"LC_ALL=C.UTF-8", "ANSIBLE_COLLECTIONS_PATH=/srv/collections", str(schedule.directory)} <= set(said)


def test_what_cannot_be_run_is_told(schedule: Schedule, capsys: pytest.CaptureFixture[str]) -> None:
    schedule.settings["ansible_playbook"] = "/nowhere/ansible-playbook"
    assert schedule.run() == 1
    assert "/nowhere/ansible-playbook could not be started" in schedule.last()["problem"]
    assert "/nowhere/ansible-playbook could not be started" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["{", "{}", '{"jitter_seconds": 0}'])
def test_bad_settings_are_told(content: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "settings.json"
    path.write_text(content, encoding="utf-8")
    assert scheduled.main([str(path)]) == 1
    assert str(path) in capsys.readouterr().err


# --- One at a time --------------------------------------------------------------------------------------------------


def wait_for(what: str, probe: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not probe():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.02)


def test_a_run_that_still_goes_on_keeps_the_next_from_starting(
    schedule: Schedule, capsys: pytest.CaptureFixture[str]
) -> None:
    go_on = schedule.directory / "go on"
    # It ends by itself, should the test fail.
    schedule.playbook(f"echo started; for _ in $(seq 1500); do [ ! -e '{go_on}' ] || break; sleep 0.02; done")
    first = subprocess.Popen([sys.executable, PROGRAM, schedule.saved()], stdout=subprocess.DEVNULL)
    try:
        wait_for("the first run", lambda: (schedule.logs / "last" / "log").exists() and bool(schedule.last("log")))
        (running,) = schedule.runs()

        assert schedule.run() == 3

        assert "The run before this one still goes on" in capsys.readouterr().out
        (refused,) = set(schedule.runs()) - {running}
        assert json.loads((schedule.logs / refused / "result.json").read_text())["result"] == "refused"
        assert not (schedule.logs / refused / "log").exists(), "the playbook was started"
        assert (schedule.logs / "last").readlink() == pathlib.Path(running)

        # The playbook outlives its parent, and counts as long as it runs.
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert schedule.run() == 3
    finally:
        go_on.touch()
        first.kill()
        first.wait()
    wait_for("the end of the first run", lambda: schedule.run() == 0)


# --- What is kept ---------------------------------------------------------------------------------------------------


def make_runs(schedule: Schedule, *sizes: int) -> list[str]:
    """Make runs of a past day, each with a file of so many bytes; return their names, oldest first."""
    names = ["20200101T000000Z", *(f"20200101T000000Z-{number}" for number in range(2, 20))][: len(sizes)]
    for name, size in zip(names, sizes, strict=True):
        (schedule.logs / name).mkdir()
        (schedule.logs / name / "snapshot.json").write_bytes(b" " * size)
    return names


def test_only_the_newest_runs_are_kept(schedule: Schedule) -> None:
    names = make_runs(schedule, *[1] * 12)
    (schedule.logs / "kept by hand").mkdir()
    schedule.settings["keep_runs"] = 4

    schedule.run("exit 0")

    assert schedule.runs() == sorted([*names[-3:], (schedule.logs / "last").readlink().name, "kept by hand"])


def test_the_oldest_runs_go_when_all_are_too_large(schedule: Schedule) -> None:
    names = make_runs(schedule, 10, 600_000, 600_000)
    schedule.settings["keep_mib"] = 1

    schedule.run("exit 0")

    assert schedule.runs() == [names[-1], (schedule.logs / "last").readlink().name]


def test_the_newest_run_stays_however_large_it_is(schedule: Schedule) -> None:
    make_runs(schedule, 10)
    schedule.settings["keep_mib"] = 1

    schedule.run('head -c 2000000 /dev/zero >"$RUN/snapshot.json"')

    assert schedule.runs() == [(schedule.logs / "last").readlink().name]


# --- Who is told ----------------------------------------------------------------------------------------------------


def test_a_refusal_is_mailed(schedule: Schedule, monkeypatch: pytest.MonkeyPatch) -> None:
    mail = schedule.directory / "mail"
    schedule.program("sendmail", f'echo "$@" >"{mail}"; cat >>"{mail}"')
    monkeypatch.setenv("PATH", f"{schedule.directory}:{os.environ['PATH']}")
    schedule.settings["mail_to"] = "ops@example.org"

    code = schedule.run("""printf '{"problem": "kvm1 is leased to zoë@one."}' >"$RUN/refused.json"; exit 2""")

    assert code == 3
    arguments, text = mail.read_text(encoding="utf-8").split("\n", 1)
    assert arguments == "-oi -t"
    parsed = scheduled.email.message_from_string(text)
    assert parsed["To"] == "ops@example.org"
    assert parsed["Subject"].startswith("rebalance on ")
    assert parsed["Subject"].endswith(": refused")
    assert "kvm1 is leased to zoë@one." in parsed.get_payload(decode=True).decode()


def told_of(schedule: Schedule, script: str) -> str:
    """What somebody is told of a run."""
    told = schedule.directory / "told"
    schedule.settings["command"] = [str(schedule.program("tell", f'cat >"{told}"'))]
    schedule.run(script)
    return told.read_text(encoding="utf-8")


def test_the_log_is_short_and_its_end_is_told(schedule: Schedule) -> None:
    text = told_of(schedule, 'echo "by $ANSIBLE_STDOUT_CALLBACK"; echo "FAILED kvm1: no room"; exit 2')
    assert text.endswith("\n\nby virtops.balance.brief\nFAILED kvm1: no room\n")


@pytest.mark.parametrize(
    "script",
    ["seq 200; exit 2", "echo a; head -c 30000 /dev/zero | tr '\\0' x; echo; seq 200; exit 2"],
    ids=["many lines", "many bytes"],
)
def test_of_a_long_log_the_last_lines_are_told(schedule: Schedule, script: str) -> None:
    text = told_of(schedule, script)
    assert text.endswith("\n\nWhat it printed last:\n" + "".join(f"{number}\n" for number in range(101, 201)))


def test_a_run_without_this_collection_prints_as_its_ansible_cfg_says(
    schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANSIBLE_STDOUT_CALLBACK", raising=False)
    schedule.settings["stdout_callback"] = ""
    assert told_of(schedule, 'echo "by ${ANSIBLE_STDOUT_CALLBACK-nobody}"; exit 2').endswith("\nby nobody\n")


@pytest.mark.parametrize(
    ("unknown", "codes", "told"),
    [(NEWS, [1, 2, 3, 4], True), (NEWS, [2], True), (NEWS, [], False), (OLD, [1, 2, 3, 4], False)],
)
def test_lost_hosts_are_mailed_although_the_run_is_done(
    schedule: Schedule, monkeypatch: pytest.MonkeyPatch, unknown: dict[str, t.Any], codes: list[int], told: bool
) -> None:
    mail = schedule.directory / "mail"
    schedule.program("sendmail", f'cat >"{mail}"')
    monkeypatch.setenv("PATH", f"{schedule.directory}:{os.environ['PATH']}")
    schedule.settings.update(mail_to="ops@example.org", report_codes=codes)
    outcome = json.dumps({"problem": None, "count": {"moved": 0}, "unknown_hosts": unknown})

    assert schedule.run(f"""printf '%s' '{outcome}' >"$RUN/outcome.json" """) == 0

    assert mail.exists() == told
    if told:
        text = scheduled.email.message_from_string(mail.read_text(encoding="utf-8")).get_payload(decode=True).decode()
        assert text.startswith(f"rebalance: done (0). {TOLD}\n")
    assert schedule.last()["lost"] == unknown["lost"]


def test_that_too_few_answer_is_mailed(schedule: Schedule) -> None:
    told = schedule.directory / "told"
    schedule.settings["command"] = [str(schedule.program("tell", f'echo "$SCHEDULE_CODE" >"{told}"; cat >>"{told}"'))]
    refused = json.dumps(SILENT["refused.json"])

    assert schedule.run(f"""printf '%s' '{refused}' >"$RUN/refused.json"; exit 2""") == 4

    assert told.read_text(encoding="utf-8").startswith(
        f"4\nrebalance: no answer (4). {SILENT['refused.json']['problem']}"
    )
    assert (schedule.last()["code"], schedule.last()["result"]) == (4, "no answer")


def test_a_failure_is_told_to_a_command(schedule: Schedule) -> None:
    told = schedule.directory / "told"
    script = f'echo "$1 $SCHEDULE_NAME $SCHEDULE_CODE $SCHEDULE_RESULT" >"{told}"; cat >>"{told}"'
    schedule.settings["command"] = [str(schedule.program("tell", script)), "now; really"]

    assert schedule.run("exit 2") == 2

    first, text = told.read_text(encoding="utf-8").split("\n", 1)
    (run,) = schedule.runs()
    assert first == f"now; really rebalance 2 {schedule.logs / run / 'result.json'}"
    assert "ansible-playbook ended with 2" in text


@pytest.mark.parametrize(("script", "codes"), [("exit 0", [1, 2, 3]), ("exit 2", [3])])
def test_only_what_was_asked_for_is_told(schedule: Schedule, script: str, codes: list[int]) -> None:
    told = schedule.directory / "told"
    schedule.settings.update(command=[str(schedule.program("tell", f'touch "{told}"'))], report_codes=codes)
    schedule.run(script)
    assert not told.exists()


def test_who_cannot_be_told_changes_nothing_about_the_end(
    schedule: Schedule, capsys: pytest.CaptureFixture[str]
) -> None:
    schedule.settings["command"] = [str(schedule.program("tell", "echo no such channel >&2; exit 7"))]
    assert schedule.run("exit 2") == 2
    assert "it ended with 7. no such channel" in capsys.readouterr().err
    schedule.settings["command"] = ["/nowhere/tell"]
    assert schedule.run("exit 0") == 0
    assert schedule.run("exit 2") == 2
    assert "/nowhere/tell could not be told" in capsys.readouterr().err
