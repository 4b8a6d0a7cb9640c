# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.benchmarks.planner import hbal_format
from ansible_collections.virtops.balance.benchmarks.planner.fleets import KINDS, Domain, Fleet, Host, generate

FLEET = Fleet(
    "spread",
    1,
    (Host("kvm1", 8, 16384, 1024), Host("kvm2", 8, 16384, 1024)),
    (Domain("web", "u1", 0, 2, 1.0, 4096, 3000), Domain("db", "u2", 1, 4, 4.0, 8192, 8000)),
)
GOLDEN = """\
default|11111111-1111-4111-8111-111111111111|preferred||

kvm1|15564|1024|2252|0|0|8|M|11111111-1111-4111-8111-111111111111|1
kvm2|15564|1024|14540|0|0|8|N|11111111-1111-4111-8111-111111111111|1

web|4096|0|2|running|Y|kvm1||ext||0
db|8192|0|4|running|Y|kvm1||ext||0



|0,1,0,1,1,0|0,1,0,1,1,0;1048576,1024,1048576,16,16,0|ext|4.0|1000000.0
default|0,1,0,1,1,0|0,1,0,1,1,0;1048576,1024,1048576,16,16,0|ext|4.0|1000000.0
"""
PRINTED = """\
Loaded 10 nodes, 100 instances
Initial check done: 0 bad nodes, 0 bad instances.
Initial score: 1.34903396
Trying to minimize the CV...
    1. vm00001 host0006          => host0005            0.97682377 a=fa:host0005
   20. vm00034 host0008          => host0009            0.72636208 a=fa:host0009
Cluster score improved from 1.34903396 to 0.72636208
Solution length=2
"""


def test_text_format() -> None:
    assert hbal_format.cluster(FLEET, [0, 0]) == GOLDEN


def test_utilisation_is_a_fraction_of_a_host() -> None:
    assert hbal_format.utilisation(FLEET) == "web 0.12500000 0 0 0\ndb 0.50000000 0 0 0\n"


def test_score_by_hand() -> None:
    # Two hosts: a standard deviation is half of the difference. Memory 12 GiB of 95 % of 16, vCPUs 6/8, CPU 5/8.
    assert hbal_format.score(FLEET, [0, 0]) == pytest.approx((12288 / 15564 + 0.75 + 0.625) / 2)
    assert hbal_format.score(FLEET, [0, 1]) == pytest.approx((4096 / 15564 + 0.25 + 0.375) / 2)


def test_printed_steps_and_score() -> None:
    assert hbal_format.initial_score(PRINTED) == 1.34903396
    assert hbal_format.steps(PRINTED) == [("vm00001", "host0006", "host0005"), ("vm00034", "host0008", "host0009")]


def test_an_error_of_hbal_is_shown() -> None:
    with pytest.raises(ValueError, match="printed no score but: 'Error: bad line'"):
        hbal_format.initial_score("Error: bad line\n")


@pytest.mark.skipif(shutil.which("hbal") is None, reason="needs Ganeti's htools (Debian: ganeti-htools)")
@pytest.mark.parametrize("crowded", [False, True])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "unequal"])
def test_hbal_itself_gives_the_same_score(tmp_path: Path, kind: str, crowded: bool) -> None:
    fleet = generate(10, 100, kind, 1)
    placement = [0 if crowded else domain.host for domain in fleet.domains]
    (tmp_path / "cluster").write_text(hbal_format.cluster(fleet, placement), encoding="utf-8")
    (tmp_path / "utilisation").write_text(hbal_format.utilisation(fleet), encoding="utf-8")
    command = ["hbal", "-t", str(tmp_path / "cluster"), "-U", str(tmp_path / "utilisation"), "--max-length=0"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    printed = hbal_format.initial_score(said.stdout + said.stderr)
    assert hbal_format.score(fleet, placement) == pytest.approx(printed, abs=1e-6)
