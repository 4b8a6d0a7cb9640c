# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Sizes, grids, and the output of hpcc 1.5.0 with Open MPI 4.1.4 (its section HPL, as it was written)."""

from __future__ import annotations

import math
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtops.balance.plugins.filter.hpl import hpl_input, hpl_result

OUTPUTS = Path(__file__).with_name("hpl")


def node(number: int = 1, vcpus: int = 1, memory_mib: float = 1024.0) -> dict[str, t.Any]:
    return {"address": f"10.0.0.{number}", "vcpus": vcpus, "memory_mib": memory_mib}


def output(name: str) -> str:
    return (OUTPUTS / f"{name}.txt").read_text(encoding="utf-8")


def test_the_files_for_two_nodes() -> None:
    made = hpl_input([node(1, 2), node(2, 2)], share=0.5, block=64)
    assert made["host_file"] == "10.0.0.1 slots=2\n10.0.0.2 slots=2\n"
    lines = [line.split()[0] for line in made["input"].splitlines()]
    # Lines count by their place: 6 is N, 8 is NB, 11 and 12 are the grid.
    assert len(lines) == 31
    assert [int(lines[index - 1]) for index in (6, 8, 11, 12)] == [made["n"], 64, 2, 2]
    # (1024 - 2 * 32) MiB on each node, half of them for doubles.
    assert (made["n"], made["matrix_mib"]) == (11200, 957.0)


def test_the_tightest_node_decides() -> None:
    alike = hpl_input([node(1, 1, 200), node(2, 1, 200)])
    assert hpl_input([node(1, 1, 9000), node(2, 1, 200)])["n"] == alike["n"]


@given(
    nodes=st.lists(st.tuples(st.integers(1, 16), st.floats(512, 65536)), min_size=1, max_size=6),
    share=st.floats(0.1, 1.0),
    block=st.integers(8, 64),
)
def test_it_fits_and_every_process_has_its_place(nodes: list[tuple[int, float]], share: float, block: int) -> None:
    known = [node(index, vcpus, vcpus * memory) for index, (vcpus, memory) in enumerate(nodes)]
    made = hpl_input(known, share, block)
    least = min(memory for _vcpus, memory in nodes)
    assert made["p"] * made["q"] == made["processes"] == sum(vcpus for vcpus, _memory in nodes)
    assert made["p"] <= made["q"]
    assert made["n"] % block == 0
    assert made["matrix_mib"] <= share * least * made["processes"]
    # One block more would not have fitted.
    assert (made["n"] + block) ** 2 * 8 / 2**20 > share * (least - 32) * made["processes"] * (1 - 1e-9)


def test_a_size_that_is_given() -> None:
    assert (hpl_input([node()], n=1000)["n"], hpl_input([node()], n=10)["nb"]) == (1000, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "needs a list of nodes"),
        ((None,), "needs a list of nodes"),
        (([{"address": "a", "vcpus": 1}],), "nodes[0] needs the key 'memory_mib'"),
        (([{**node(), "vcpus": 0}],), "nodes[0].vcpus must be a whole number of at least 1"),
        (([{**node(), "memory_mib": None}],), "nodes[0].memory_mib must be a number above 0"),
        (([{**node(), "memory_mib": math.nan}],), "nodes[0].memory_mib must be a number above 0"),
        (([node(), node()],), "another address"),
        (([node()], 1.5), "share must be a number above 0 and at most 1"),
        (([node()], 0.5, 0), "block must be a whole number of at least 1"),
        (([node()], 0.5, 128, 0), "n must be a whole number of at least 1 or null"),
        (([node(), node(2, 4, 100)],), "10.0.0.2 has 100 MiB for 4 processes: not enough for one block of 128."),
        (([node(1, 2, 200)], 0.5, 128, 5000), "needs 95 MiB in each of 2 processes, and 10.0.0.1 has 68."),
    ],
)
def test_bad_input_is_one_sentence(arguments: tuple[t.Any, ...], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        hpl_input(*arguments)
    assert message in str(caught.value)


def test_a_run_that_passed() -> None:
    assert hpl_result(output("passed")) == {
        "n": 256,
        "nb": 32,
        "p": 1,
        "q": 2,
        "processes": 2,
        "seconds": 0.04,
        "gflops": 0.2658,
        "residual": 0.0112392,
        "passed": True,
    }


def test_the_fastest_of_several() -> None:
    failed = hpl_result(output("failed"))
    assert (failed["passed"], failed["n"]) == (False, 256)
    # One that passed is better than a faster one that did not.
    both = hpl_result(output("failed") + output("passed"))
    assert both == hpl_result(output("passed"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (output("no_input"), "HPL gave no result: cannot open file hpccinf.txt."),
        (output("too_few_processes"), "HPL gave no result: Need at least 2 processes for these tests."),
        ("", "HPL gave no result, and does not say why."),
        (output("passed").replace("2.658e-01", "inf"), "HPL gave no result"),
        (None, "needs the output of HPL"),
    ],
)
def test_no_result(text: str | None, message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        hpl_result(text)
    assert message in str(caught.value)


def test_a_residual_that_is_no_number() -> None:
    text = output("passed").replace("0.0112392 ...... PASSED", "      nan ...... FAILED")
    assert (hpl_result(text)["residual"], hpl_result(text)["passed"]) == (None, False)
