# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The playbook hpl on this machine alone. (tests/lab runs it over several guests.)"""

from __future__ import annotations

import csv
import json
import pathlib
import shutil
import sys
import typing as t

import pytest

from ansible_collections.virtops.balance.tests.run_ansible import CONFIGURED, run_ansible

ROOT = pathlib.Path(__file__).resolve().parents[2]
INVENTORY = "this-machine ansible_connection=local ansible_host=127.0.0.1 ansible_python_interpreter=/usr/bin/python3\n"

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("hpcc", "mpirun"))), reason="needs the packages hpcc and openmpi-bin"
)


def hpl(
    directory: pathlib.Path,
    *arguments: str,
    fails: bool = False,
    python: pathlib.Path = pathlib.Path(sys.executable),
    **variables: t.Any,
) -> str:
    """Run the playbook with small problems and return its output; ``fails`` says which end is expected.

    It is run by the Ansible of the environment ``python`` belongs to.
    """
    hosts = directory / "hosts"
    hosts.write_text(INVENTORY, encoding="utf-8")
    extra = {"hpl_hosts": "this-machine", "hpl_n": 200, "hpl_block": 32, "hpl_path": str(directory / "hpl.csv")}
    return run_ansible(
        *("ansible-playbook", "--inventory", hosts, "virtops.balance.hpl"),
        *("--extra-vars", json.dumps({**extra, **variables}), *arguments),
        fails=fails,
        python=python,
        environment={**CONFIGURED, "TMPDIR": str(directory)},
    )


def test_a_run_is_shown_and_kept(tmp_path: pathlib.Path) -> None:
    rows = tmp_path / "hpl.csv"
    # What is there stays there.
    rows.write_text(
        "time,hosts,processes,n,nb,p,q,seconds,gflops,residual,passed\n,before,,,,,,,,,\n", encoding="utf-8"
    )
    assert "Gflop/s by" in hpl(tmp_path)
    with rows.open(encoding="utf-8") as file:
        before, row = csv.DictReader(file)
    assert before["hosts"] == "before"
    assert (row["hosts"], row["n"], row["nb"], row["passed"]) == ("this-machine", "200", "32", "true")
    assert float(row["gflops"]) > 0
    assert not list(tmp_path.glob("tmp.*"))


def test_check_mode_runs_nothing(tmp_path: pathlib.Path) -> None:
    assert "Gflop/s" not in hpl(tmp_path, "--check")
    assert not (tmp_path / "hpl.csv").exists()


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"hpl_program": "no-such-xhpl"}, "this-machine has no no-such-xhpl (in Debian"),
        ({"hpl_seconds": 1, "hpl_n": 6000}, "HPL did not end within 1 seconds."),
        ({"hpl_mpirun_arguments": ["--no-such-option"]}, "HPL failed: "),
        ({"hpl_n": 10**6}, "A problem of 1000000 needs"),
        ({"hpl_memory_share": 2.0}, "share must be a number above 0 and at most 1"),
        ({"hpl_hosts": "nobody"}, "The inventory has no host that matches nobody."),
    ],
)
def test_a_failure_is_a_sentence(tmp_path: pathlib.Path, variables: dict[str, t.Any], sentence: str) -> None:
    assert sentence in " ".join(hpl(tmp_path, fails=True, **variables).split())
    assert not (tmp_path / "hpl.csv").exists()
    assert not list(tmp_path.glob("tmp.*"))
